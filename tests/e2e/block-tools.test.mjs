/* rubato block: what the tools print of Tempo's blocks (golden files in tests/data/block-tools;
 * GOLDEN=1 writes them anew, read their diff), what check finds, and blocks made by the tools. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { FakeS3 } from './lib/fake-s3.mjs';
import { program, root, run, tempDir } from './lib/rubato.mjs';

const fixtures = 'tests/data/fixtures/blocks';
const golden = path.join(root, 'tests/data/block-tools');
const single = 'eef1d7f3-51c2-4dad-a864-70817cd81149';
const acme = 'ff2a1b95-f4c1-44b9-87d1-341455ab6a9e';
const levelOne = '55caf628-0797-436a-b740-edf6b5a1f521';
const levelZero = ['a5a71843-7c6a-4874-a76f-be369689c621', 'e27600b3-9106-4fc3-8d6c-a0004142a813'];

function tool(...args) {
    const r = spawnSync(program('rubato'), ['block', ...args], {
        cwd: root,
        encoding: 'utf8',
        maxBuffer: 1 << 28,
        env: { ...process.env, AWS_ENDPOINT_URL: '', AWS_ENDPOINT_URL_S3: '' },
    });
    assert.equal(r.signal, null);
    return { status: r.status, out: r.stdout, err: r.stderr };
}

function works(...args) {
    const r = tool(...args);
    assert.equal(r.status, 0, `${args.join(' ')}: ${r.err}`);
    assert.equal(r.err, '', 'progress is for terminals');
    return r.out;
}

const lines = (text) => text.trim().split('\n').map((l) => JSON.parse(l));

function matchesGolden(name, text) {
    const file = path.join(golden, name);
    if (process.env.GOLDEN) {
        fs.mkdirSync(golden, { recursive: true });
        fs.writeFileSync(file, text);
    }
    assert.equal(text, fs.readFileSync(file, 'utf8'), name);
}

test('what the tools print is what it was', () => {
    const commands = {
        'help.txt': ['--help'],
        'list-tenants.txt': ['list', fixtures],
        'list-sharded.txt': ['list', fixtures, 'sharded'],
        'list-sharded.json': ['list', '--json', fixtures, 'sharded'],
        'info-acme.txt': ['info', fixtures, 'acme'],
        'info-acme.json': ['info', '--json', fixtures, 'acme', acme],
        'info-compacted.txt': ['info', fixtures, 'sharded', levelZero[0]],
        'columns-acme.txt': ['columns', fixtures, 'acme'],
        'columns-acme.json': ['columns', '--json', fixtures, 'acme'],
        'dump-single.txt': ['dump', fixtures, 'single-tenant'],
        'dump-single.json': ['dump', '--json', fixtures, 'single-tenant', single],
        'dump-column.txt': ['dump', '--column', 'rs.list.element.Resource.Attrs.list.element.Value.list.element', fixtures, 'acme'],
        'dump-column.json': ['dump', '--json', '--column', 'TraceID', fixtures, 'acme'],
        'check-sharded.txt': ['check', fixtures, 'sharded'],
        'check-sharded.json': ['check', '--json', fixtures, 'sharded', levelZero[0]],
    };
    for (const name of ['list', 'info', 'columns', 'dump', 'check', 'rewrite', 'from-otlp'])
        commands[`help-${name}.txt`] = [name, '--help'];
    for (const [name, args] of Object.entries(commands)) matchesGolden(name, works(...args));
});

test('the status tells usage from failure', () => {
    for (const args of [[], ['nonsense'], ['list'], ['info', fixtures], ['info', '--bogus', fixtures, 'acme'],
        ['info', fixtures, 'acme', 'no-uuid'], ['list', '--limit', '3', fixtures],
        ['dump', '--trace', 'xyz', fixtures, 'acme'], ['dump', '--column', 'Nope', fixtures, 'acme'],
        ['rewrite', fixtures, 'acme'], ['from-otlp'], ['from-otlp', '--dedicated', 'event.x', 'f'],
        ['from-otlp', '--id', 'x', '--out', tempDir('usage'), path.join(fixtures, '../input/acme/kitchen.json')]]) {
        const r = tool(...args);
        assert.equal(r.status, 2, args.join(' '));
        assert.notEqual(r.err, '');
    }
    for (const args of [['list', '/nowhere/at/all'], ['check', fixtures, 'nobody'],
        ['info', fixtures, 'acme', single], ['dump', '--trace', 'abcdef', fixtures, 'acme'],
        ['from-otlp', '--out', tempDir('usage'), '/nowhere/at/all']]) {
        const r = tool(...args);
        assert.equal(r.status, 1, args.join(' '));
        assert.match(r.err, /^rubato block [a-z-]+: /);
    }
    assert.equal(fs.existsSync('/nowhere'), false);
});

test('a trace is dumped alone', () => {
    const [one] = lines(works('dump', '--json', '--trace', 'a0b0c0d0e0f00102', fixtures, 'single-tenant'));
    assert.equal(one.traceID, '0000000000000000a0b0c0d0e0f00102');
    assert.equal(one.rootServiceName, 'tiny');
    assert.equal(lines(works('dump', '--json', '--limit', '3', fixtures, 'sharded')).length, 3);
});

/* ---- check ---- */

function copyOf(tenant, id) {
    const dir = tempDir('check');
    const to = path.join(dir, tenant, id);
    fs.cpSync(path.join(root, fixtures, tenant, id), to, { recursive: true });
    return {
        dir,
        file: (name) => path.join(to, name),
        check: () => {
            const r = tool('check', '--json', dir, tenant, id);
            assert.ok(r.status < 2, r.err);
            const [told] = lines(r.out);
            assert.equal(told.whole, r.status === 0);
            return told;
        },
    };
}

test('check says which object is wrong', () => {
    const changes = [
        ['data.parquet', (b) => b.subarray(0, b.length - 1), /bytes, meta.json says/],
        ['data.parquet', (b) => Buffer.concat([b, Buffer.from([0])]), /bytes, meta.json says/],
        ['data.parquet', () => null, /missing/],
        ['bloom-0', () => null, /missing/],
        ['bloom-0', (b) => b.subarray(0, 100), /./],
        ['bloom-0', (b) => Buffer.concat([b.subarray(0, 24), Buffer.alloc(b.length - 24)]), /is not there/],
        ['index', (b) => Buffer.from(b.toString().replace(/":\["./, '":["A')), /ends with trace/],
        ['index', () => Buffer.from('{"rowGroups":[]}'), /0 row groups/],
        ['index', () => Buffer.from('{'), /JSON/],
        ['meta.json', () => Buffer.from('{'), /JSON/],
        ['meta.json', (b) => Buffer.from(b.toString().replace('"totalObjects":11', '"totalObjects":12')), /totalObjects is 12, there are 11/],
        ['meta.json', (b) => Buffer.from(b.toString().replace('"totalRecords":1', '"totalRecords":3')), /totalRecords is 3/],
        ['meta.json', (b) => Buffer.from(b.toString().replace('"tenantID":"single', '"tenantID":"double')), /tenantID/],
        ['meta.json', (b) => Buffer.from(b.toString().replace(single, acme)), /blockID/],
    ];
    for (const [object, change, problem] of changes) {
        const copy = copyOf('single-tenant', single);
        const now = change(fs.readFileSync(copy.file(object)));
        if (now) fs.writeFileSync(copy.file(object), now);
        else fs.rmSync(copy.file(object));
        const told = copy.check();
        assert.equal(told.whole, false, `${object}: ${problem}`);
        assert.equal(told.object, object);
        assert.match(told.problem, problem);
    }
    const copy = copyOf('single-tenant', single);
    fs.rmSync(copy.file('index')); /* readers do without */
    assert.equal(copy.check().whole, true);
});

/* Every 13th byte, one at a time. Where a checksum or a count covers it, check must say so, and the
 * byte must lie in the page that is named. */
test('check finds the page of a wrong byte', () => {
    const copy = copyOf('single-tenant', single);
    const good = fs.readFileSync(copy.file('data.parquet'));
    const bytes = Buffer.from(good);
    const columns = lines(works('columns', '--json', fixtures, 'single-tenant'))[0].columns;
    const end = 4 + columns.reduce((n, c) => n + c.dictionaryBytes + c.dataBytes, 0);
    let found = 0;
    let tried = 0;
    for (let at = 0; at < end; at += 13) {
        bytes[at] ^= 0x55;
        fs.writeFileSync(copy.file('data.parquet'), bytes);
        bytes[at] = good[at];
        const told = copy.check();
        tried++;
        if (told.whole) continue;
        found++;
        assert.equal(told.object, 'data.parquet');
        if (at < 4) {
            assert.equal(told.offset, 0);
            continue;
        }
        /* The pages stand one behind the other from byte 4 on: find the byte's own. */
        let from = 4;
        const mine = columns.find((c) => {
            const next = from + c.dictionaryBytes + c.dataBytes;
            if (at < next) return true;
            from = next;
            return false;
        });
        assert.equal(told.column, mine.path, `byte ${at}: ${JSON.stringify(told)}`);
        const inDictionary = at < from + mine.dictionaryBytes;
        assert.equal(told.page, inDictionary ? 'dictionary' : 0, `byte ${at}: ${JSON.stringify(told)}`);
        assert.equal(told.offset, inDictionary ? from : from + mine.dictionaryBytes);
    }
    /* What is not found stands in page headers that no reader needs. */
    assert.ok(found > tried * 0.8, `${found} of ${tried}`);
});

test('check finds wrong bytes behind the columns', () => {
    const copy = copyOf('sharded', levelOne);
    const good = fs.readFileSync(copy.file('data.parquet'));
    const footer = good.length - 8 - good.readUInt32LE(good.length - 8);
    const broken = Buffer.from(good);
    broken[footer] ^= 0xff;
    fs.writeFileSync(copy.file('data.parquet'), broken);
    let told = copy.check();
    assert.equal(told.object, 'data.parquet');
    assert.equal(told.offset, footer);
    const length = Buffer.from(good);
    length[good.length - 8] ^= 1;
    fs.writeFileSync(copy.file('data.parquet'), length);
    told = copy.check();
    assert.equal(told.offset, good.length - 8);
});

/* ---- making blocks ---- */

const spansOfDump = (text) =>
    lines(text)
        .flatMap((t) => t.trace.resourceSpans)
        .flatMap((r) => r.scopeSpans.flatMap((s) => s.spans.map((span) => JSON.stringify([r.resource, s.scope, span]))))
        .sort();

test('a rewritten block holds the same', () => {
    const out = tempDir('rewrite');
    for (const [tenant, id] of [['single-tenant', single], ['acme', acme], ['sharded', levelOne]]) {
        const fresh = '11111111-2222-4333-8444-555555555555';
        const said = works('rewrite', '--out', out, '--id', fresh, fixtures, tenant, id);
        assert.match(said, /0 repeated spans dropped/);
        assert.match(works('check', out, tenant), /whole/);
        const [info] = lines(works('info', '--json', out, tenant, fresh));
        const [before] = lines(works('info', '--json', fixtures, tenant, id));
        assert.equal(info.meta.totalObjects, before.meta.totalObjects);
        assert.equal(info.meta.compactionLevel, before.meta.compactionLevel + 1);
        assert.deepEqual(info.meta.dedicatedColumns, before.meta.dedicatedColumns);
        assert.equal(works('dump', '--json', out, tenant), works('dump', '--json', fixtures, tenant, id));
    }
});

test('two blocks are merged as Tempo merged them', () => {
    const out = tempDir('merge');
    const said = JSON.parse(works('rewrite', '--json', '--out', out, fixtures, 'sharded', ...levelZero));
    assert.equal(said.meta.totalObjects, 153);
    assert.equal(said.meta.compactionLevel, 1);
    assert.equal(said.meta.startTime, '2026-11-24T22:36:17Z');
    assert.equal(said.meta.endTime, '2026-11-24T22:36:29Z');
    assert.equal(said.rowsRead, 168);
    assert.equal(said.rowsCombined, 15);
    assert.equal(said.spansRead - said.spansDropped, said.spansWritten);
    assert.match(works('check', out, 'sharded'), /whole/);
    const ours = works('dump', '--json', out, 'sharded');
    const tempos = works('dump', '--json', fixtures, 'sharded', levelOne);
    assert.deepEqual(spansOfDump(ours), spansOfDump(tempos));
    const roots = (text) => lines(text).map((t) => [t.traceID, t.rootServiceName, t.rootTraceName]);
    assert.deepEqual(roots(ours), roots(tempos));
    const r = tool('rewrite', '--out', out, fixtures, 'sharded', levelOne, levelOne);
    assert.equal(r.status, 1);
    assert.match(r.err, /merged with itself/);
});

function frame(bytes) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
}

test('OTLP files become a block', () => {
    const out = tempDir('otlp');
    const input = path.join(root, fixtures, '../input/acme');
    const files = fs.readdirSync(input).filter((f) => f !== 'trace-ids.json').map((f) => path.join(input, f));
    const columns = ['resource.deployment.environment', 'resource.host.name', 'span.db.statement',
        'span.messaging.system', 'span.enduser.id'].flatMap((c) => ['--dedicated', c]);
    works('from-otlp', '--out', out, '--tenant', 'acme', ...columns, ...files);
    assert.match(works('check', out, 'acme'), /whole: 11 traces, 374 spans/);
    assert.deepEqual(spansOfDump(works('dump', '--json', out, 'acme')),
        spansOfDump(works('dump', '--json', fixtures, 'acme')));

    const frames = path.join(root, 'tests/data/otlp/edge.frames');
    const zst = path.join(out, 'edge.frames.zst');
    assert.equal(spawnSync('zstd', ['-q', frames, '-o', zst]).status, 0);
    const plain = JSON.parse(works('from-otlp', '--json', '--out', out, '--tenant', 'plain', frames));
    const packed = JSON.parse(works('from-otlp', '--json', '--out', out, '--tenant', 'packed', zst));
    assert.ok(plain.meta.totalObjects > 0);
    assert.equal(packed.meta.totalObjects, plain.meta.totalObjects);
    assert.equal(packed.meta.size, plain.meta.size);
    assert.match(works('check', out, 'plain'), /whole/);

    const broken = path.join(out, 'broken.frames');
    fs.writeFileSync(broken, fs.readFileSync(frames).subarray(0, -1));
    let r = tool('from-otlp', '--out', out, '--tenant', 'none', broken);
    assert.equal(r.status, 1);
    assert.match(r.err, /broken.frames: the frames break off at byte \d+/);
    fs.writeFileSync(broken, frame(Buffer.from([0x0a, 0x05, 0x00])));
    r = tool('from-otlp', '--out', out, '--tenant', 'none', broken);
    assert.equal(r.status, 1);
    assert.match(r.err, /broken.frames: request 1: /);
    assert.equal(fs.existsSync(path.join(out, 'none')), false);
});

test('a bucket is a store too', async (t) => {
    const s3 = await new FakeS3({ bucket: 'traces' }).start();
    t.after(() => s3.stop());
    const env = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'secret', AWS_ENDPOINT_URL: '', AWS_ENDPOINT_URL_S3: '' };
    const at = async (...args) => {
        const p = run(program('rubato'), ['block', ...args], { cwd: root, env });
        const { code } = await p.end;
        assert.equal(code, 0, p.stderr);
        return p.stdout;
    };
    const endpoint = ['--endpoint', `http://127.0.0.1:${s3.port}`];
    const tree = path.join(root, fixtures, 'acme', acme);
    for (const f of fs.readdirSync(tree)) {
        const body = fs.readFileSync(path.join(tree, f));
        s3.objects.set(`a/b/acme/${acme}/${f}`, { body, etag: `"${f}"`, modified: new Date() });
    }
    assert.match(await at('check', ...endpoint, 's3://traces/a/b', 'acme'), /whole: 11 traces/);
    assert.match(await at('rewrite', ...endpoint, 's3://traces/a/b', 'acme', acme), /11 traces/);
    assert.equal((await at('list', ...endpoint, 's3://traces/a/b/', 'acme')).match(/ live +vParquet4/g).length, 2);
});
