/* The conformance questions, for tests that ask some or all of them. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { request } from './http.mjs';
import { root, tempDir } from './rubato.mjs';
import { forEachOf } from './wait.mjs';

export const data = path.join(root, 'tests/data/conformance');
const expected = path.join(data, 'expected.jsonl.xz');

/* The reference servers were asked with spss=1000 and over all time. */
export const config = {
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

export async function sendFrames(rubato, tenant) {
    await forEachOf(frames(tenant), 16, async (body) => {
        const r = await request(rubato.otlpHttp, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': tenant },
        });
        assert.equal(r.status, 200, r.text);
    });
}

/* Every nth question, perhaps of one tenant: a file for check. */
export function questions(nth, tenant) {
    const file = path.join(tempDir('questions'), 'expected.jsonl');
    const lines = execFileSync('xz', ['-dc', expected], { maxBuffer: 1 << 30 })
        .toString()
        .trim()
        .split('\n')
        .filter((l) => !tenant || JSON.parse(l).tenant === tenant)
        .filter((_, i) => i % nth === 0);
    fs.writeFileSync(file, lines.map((l) => `${l}\n`).join(''));
    return { file, count: lines.length };
}

/* Asks them, or all. */
export async function check(rubato, { file, count } = { file: expected, count: 552 }) {
    const script = path.join(root, 'tests/conformance/conformance.py');
    const said = await promisify(execFile)(
        'python3',
        [script, 'check', file, rubato.api, '-v'],
        { maxBuffer: 1 << 28 },
    ).catch((e) => e);
    assert.match(
        said.stdout,
        new RegExp(`^${count} passed, 0 failed$`, 'm'),
        `${said.stdout}${said.stderr}`,
    );
}
