/* The whole conformance set: 552 questions on two data sets, with the answers of Tempo 2.7.0 and
 * 3.0.3, over Tempo's own blocks, over spans that are not in blocks yet, and over blocks that
 * Rubato built from the same requests. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { request } from './lib/http.mjs';
import { built } from './lib/query.mjs';
import { Rubato, root } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';
import { forEachOf } from './lib/wait.mjs';

const data = path.join(root, 'tests/data/conformance');
const local = drivers.find((d) => d.kind === 'local');
/* The reference servers were asked with spss=1000 and over all time. */
const config = {
    multitenancy_enabled: true,
    query_frontend: { search: { max_spans_per_span_set: 100000, max_duration: '0s' } },
};

/* The requests of a frame file: a 4-byte big-endian length before each. */
function frames(name) {
    const bytes = execFileSync('zstd', ['-dcq', path.join(data, `${name}.frames.zst`)], {
        maxBuffer: 1 << 30,
    });
    const out = [];
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at))
        out.push(bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at)));
    return out;
}

async function sendFrames(rubato, tenant) {
    await forEachOf(frames(tenant), 16, async (body) => {
        const r = await request(rubato.otlpHttp, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': tenant },
        });
        assert.equal(r.status, 200, r.text);
    });
}

async function check(rubato) {
    const said = await promisify(execFile)(
        'python3',
        [
            path.join(root, 'tests/conformance/conformance.py'),
            'check',
            path.join(data, 'expected.jsonl.xz'),
            rubato.api,
            '-v',
        ],
        { maxBuffer: 1 << 28 },
    ).catch((e) => e);
    assert.match(said.stdout, /^552 passed, 0 failed$/m, `${said.stdout}${said.stderr}`);
}

describe('the conformance set', { concurrency: false }, () => {
    test("over Tempo's blocks", async (t) => {
        const store = await local.open();
        await putTree(store, path.join(data, 'blocks'));
        const rubato = await Rubato.start({ store, config });
        t.after(() => rubato.cleanUp());
        await check(rubato);
        assert.deepEqual(rubato.errorLines(), []);
    });

    test('over segments, and over the blocks built from them', async (t) => {
        const store = await local.open();
        const rubato = await Rubato.start({
            store,
            config: { ...config, block_builder: { window: '1h', max_bytes: '1GiB' } },
        });
        t.after(() => rubato.cleanUp());
        for (const tenant of ['edge', 'shop']) await sendFrames(rubato, tenant);
        await t.test('segments', () => check(rubato));
        await rubato.stop();
        await rubato.start({ block_builder: { window: '1s' } });
        await t.test('blocks', async () => {
            /* A process takes over the segments of another after 30 s. */
            await built(rubato, 1, 90000);
            await check(rubato);
        });
    });
});
