/* The query API over gRPC, by the client that Node programs use: the same answers as over HTTP,
 * differences on the way there, and clients that are slow, many, or leave. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import { describe, test } from 'node:test';
import { FAULTS, FakeS3, isBlock } from './lib/fake-s3.mjs';
import { get, metric } from './lib/query.mjs';
import { Rubato, root } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';
import { ask, asCall, begin, check, health, joined, plain, querier } from './lib/streaming.mjs';
import { forEachOf, until } from './lib/wait.mjs';

const data = path.join(root, 'tests/data/conformance');
const local = drivers.find((d) => d.kind === 'local');
const config = {
    multitenancy_enabled: true,
    stream_over_http_enabled: true,
    query_frontend: { search: { max_spans_per_span_set: 100000, max_duration: '0s' } },
};
const range = { start: 1795132800, end: 1795137000 };

/* Codes of gRPC. */
const CANCELLED = 1, UNKNOWN = 2, INVALID = 3, DEADLINE = 4, UNIMPLEMENTED = 12;

async function overBlocks(t, change = {}) {
    const store = await local.open();
    await putTree(store, path.join(data, 'blocks'));
    const rubato = await Rubato.start({ store, config: { ...config, ...change } });
    t.after(() => rubato.cleanUp());
    const client = querier(rubato.queryGrpc);
    t.after(() => client.close());
    return { rubato, client };
}

/* The questions of the conformance set that there is a call for. */
function questions() {
    const lines = execFileSync('xz', ['-dc', path.join(data, 'expected.jsonl.xz')], {
        maxBuffer: 1 << 30,
    });
    return lines
        .toString()
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l))
        .map((q) => ({ ...q, call: asCall(q.path, q.params) }))
        .filter((q) => q.call);
}

/* One question in both ways. */
async function compare(rubato, client, q) {
    const http = await get(rubato, q.path, { params: q.params, tenant: q.tenant });
    const grpc = await ask(client, q.call.method, q.call.message, { tenant: q.tenant });
    if (http.status !== 200) {
        const code = http.text === 'not a metrics query' ? UNKNOWN : INVALID;
        assert.equal(http.status, 400, q.id);
        assert.deepEqual([grpc.code, grpc.details], [code, http.text], q.id);
        assert.deepEqual(grpc.messages, [], q.id);
        return 'refused';
    }
    assert.equal(grpc.code, 0, `${q.id}: ${grpc.details}`);
    assert.deepEqual(plain(joined(grpc.messages)), plain(JSON.parse(http.text)), q.id);
    return grpc.messages.length > 1 ? 'split' : 'whole';
}

test('the conformance questions have the same answers as over HTTP', async (t) => {
    const { rubato, client } = await overBlocks(t);
    const over = querier(rubato.api.replace('http://', ''));
    t.after(() => over.close());
    const all = questions();
    assert.ok(all.length > 380, `${all.length} questions`);
    const ways = { whole: 0, split: 0, refused: 0 };
    /* By turns over the gRPC port and over the API's. */
    await forEachOf(all.entries(), 4, async ([i, q]) => {
        ways[await compare(rubato, i % 2 ? client : over, q)]++;
    });
    t.diagnostic(JSON.stringify(ways));
    assert.ok(ways.refused > 40 && ways.whole > 300);
    const counted = await metric(rubato, 'tempo_request_duration_seconds_count');
    assert.ok(counted >= 2 * all.length, `${counted} requests`);
    assert.deepEqual(rubato.errorLines(), []);
});

test('in small packets the answers are the same', async (t) => {
    const small = { ...config.query_frontend, max_grpc_streaming_packet_size: '1000' };
    const { rubato, client } = await overBlocks(t, { query_frontend: small });
    const ways = { whole: 0, split: 0, refused: 0 };
    const some = questions().filter((_, i) => i % 5 === 0);
    await forEachOf(some, 4, async (q) => ways[await compare(rubato, client, q)]++);
    t.diagnostic(JSON.stringify(ways));
    assert.ok(ways.split > 30, 'many are split');
});

test('what is asked of the API in general is so here too', async (t) => {
    const { rubato, client } = await overBlocks(t, { http_api_prefix: '/tempo' });
    const shop = { tenant: 'shop' };
    const refused = async (method, message, code, details, opts = shop) => {
        const r = await ask(client, method, message, opts);
        assert.deepEqual([r.code, r.messages], [code, []], `${method}: ${r.details}`);
        assert[details instanceof RegExp ? 'match' : 'equal'](r.details, details);
    };
    await refused('Search', { Query: '{}' }, UNKNOWN, 'no org id', {});
    await refused('Search', { Query: '{}' }, INVALID,
        "tenant ID 'a/b' contains unsupported character '/'", { tenant: 'a/b' });
    await refused('Search', { Query: '{ . }' }, INVALID, /^invalid TraceQL query: parse error at line 1, col /);
    await refused('Search', { Query: '{}', start: 10, end: 5 }, INVALID,
        'http parameter start must be before end. received start=10 end=5');
    await refused('Search', { Query: '{}', Limit: 1000000 }, INVALID,
        'adjust limit: limit 1000000 exceeds max limit 262144');
    await refused('Search', { Query: '{}', SpansPerSpanSet: 200000 }, INVALID,
        'spans per span set exceeds 100000. received 200000');
    await refused('SearchTags', { scope: 'bogus' }, INVALID, 'invalid scope: bogus');
    await refused('SearchTagValuesV2', { tagName: 'service.name' }, INVALID, /^please provide a valid tagName/);
    await refused('MetricsQueryRange', { query: '{}' }, UNKNOWN, 'not a metrics query');
    await refused('MetricsQueryRange', { query: '{} | rate(' }, INVALID, /^compiling query: parse error/);
    await refused('MetricsQueryRange', { query: '{} | rate()', start: '1000000000', end: '90000000000000000' },
        INVALID, /^metrics query time range exceeds the maximum/);
    await refused('Nope', {}, UNIMPLEMENTED, 'unknown method Nope for service tempopb.StreamingQuerier');
    await refused('Search', { Query: '{}' }, DEADLINE, /deadline/i, { ...shop, timeoutMs: -1 });

    const found = await ask(client, 'Search', { Query: '{}', Limit: 3, ...range }, shop);
    assert.equal(found.code, 0, found.details);
    assert.equal(found.messages[0].traces.length, 3, 'the prefix is not for gRPC');
    const status = health(rubato.queryGrpc);
    t.after(() => status.close());
    assert.deepEqual(await check(status), { code: UNKNOWN, details: 'no org id' });
    assert.deepEqual(await check(status, 'shop'), { code: 0, status: 'SERVING' });

    const text = (await get(rubato, '/metrics')).text; /* has no prefix; its tenant is nobody's */
    assert.match(text, /tempo_request_duration_seconds_count\{method="gRPC",route="\/tempopb\.StreamingQuerier\/Search",status_code="success",ws="false"\} 1\n/);
    assert.match(text, /route="\/tempopb\.StreamingQuerier\/MetricsQueryRange",status_code="error",ws="false"\} 3\n/);
    assert.match(text, /method="gRPC",route="other",status_code="error",ws="false"\} 1\n/);
});

test("plain questions over HTTP/2 on the API's port", async (t) => {
    const { rubato } = await overBlocks(t);
    const session = http2.connect(rubato.api);
    t.after(() => session.close());
    const ask2 = (target, headers) =>
        new Promise((resolve, reject) => {
            const parts = [];
            let head;
            const stream = session.request({ ':path': target, 'x-scope-orgid': 'shop', ...headers });
            stream.on('response', (h) => (head = h));
            stream.on('data', (d) => parts.push(d));
            stream.on('error', reject);
            stream.on('end', () => resolve({ head, bytes: Buffer.concat(parts) }));
            stream.end();
        });
    const query = new URLSearchParams({ q: '{ status = error }', limit: 7, ...range });
    const two = await ask2(`/api/search?${query}`);
    assert.equal(two.head[':status'], 200);
    assert.equal(two.head['content-type'], 'application/json');
    assert.equal(Number(two.head['content-length']), two.bytes.length);
    const one = await get(rubato, `/api/search?${query}`, { tenant: 'shop' });
    assert.deepEqual(plain(JSON.parse(two.bytes)), plain(JSON.parse(one.text)));
    assert.equal((await ask2('/api/echo')).bytes.toString(), 'echo\n');
    assert.equal((await ask2('/ready', { ':method': 'HEAD' })).bytes.length, 0);
    const none = await ask2('/api/nope');
    assert.deepEqual([none.head[':status'], none.bytes.toString()], [404, '404 page not found\n']);
});

test('a hundred streams at once, and idle connections beside them', async (t) => {
    const { rubato } = await overBlocks(t);
    const idle = Array.from({ length: 200 }, () => querier(rubato.queryGrpc));
    t.after(() => idle.forEach((c) => c.close()));
    await Promise.all(idle.map((c) => new Promise((resolve, reject) =>
        c.waitForReady(Date.now() + 20000, (e) => (e ? reject(e) : resolve())))));
    const message = { Query: '{ status = error }', Limit: 50, ...range };
    const one = querier(rubato.queryGrpc);
    t.after(() => one.close());
    const want = plain(joined((await ask(one, 'Search', message, { tenant: 'shop' })).messages));
    assert.equal(want.traces.length, 50);
    const all = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
            ask(i % 2 ? one : idle[i], 'Search', message, { tenant: 'shop' })),
    );
    for (const r of all) {
        assert.equal(r.code, 0, r.details);
        assert.deepEqual(plain(joined(r.messages)), want);
    }
});

test('a client that does not read is waited for, and holds up nobody else', async (t) => {
    const small = { ...config.query_frontend, max_grpc_streaming_packet_size: '100KiB' };
    const { rubato, client } = await overBlocks(t, { query_frontend: small });
    const other = querier(rubato.queryGrpc);
    t.after(() => other.close());
    const message = {
        Query: '{} | select(span:name, resource.service.name, span:kind)', Limit: 3000, SpansPerSpanSet: 1000, ...range,
    };
    const slow = begin(client, 'Search', message, { tenant: 'shop' });
    slow.call.pause();
    await until('the answer is there', 30000, async () => {
        const text = (await get(rubato, '/metrics')).text;
        if (!/route="\/tempopb\.StreamingQuerier\/Search",status_code="success"/.test(text))
            throw new Error('it is not');
        return true;
    });
    const quick = await ask(other, 'Search', { Query: '{}', Limit: 1, ...range }, { tenant: 'shop' });
    assert.equal(quick.code, 0);
    slow.call.resume();
    const r = await slow.done;
    assert.equal(r.code, 0, r.details);
    assert.ok(r.messages.length > 20, `${r.messages.length} messages`);
    const http = await get(rubato, '/api/search', {
        params: { q: message.Query, limit: 3000, spss: 1000, ...range }, tenant: 'shop',
    });
    assert.ok(http.bytes.length > 4 << 20, 'more than the server keeps ready');
    assert.deepEqual(plain(joined(r.messages)), plain(JSON.parse(http.text)));
});

describe('while jobs run', { concurrency: false }, () => {
    /* Copies of one block in a store that takes its time: three waves of jobs. */
    const copies = 33;
    const blockOf = (r) => r.key.split('/')[1];
    async function slowStore(t) {
        const s3 = await new FakeS3().start();
        t.after(() => s3.stop());
        const [id] = fs.readdirSync(path.join(data, 'blocks/edge'));
        const files = fs.readdirSync(path.join(data, 'blocks/edge', id));
        for (let i = 0; i < copies; i++) {
            const copy = randomUUID();
            for (const name of files) {
                let body = fs.readFileSync(path.join(data, 'blocks/edge', id, name));
                if (name === 'meta.json') body = Buffer.from(body.toString().replace(id, copy));
                s3.objects.set(`edge/${copy}/${name}`, {
                    body, etag: `"${createHash('md5').update(body).digest('hex')}"`, modified: new Date(),
                });
            }
        }
        const rubato = await Rubato.start({
            store: { config: s3.config },
            args: ['-target=frontend'], /* nobody compacts the copies */
            config: { ...config, storage: { trace: { ...s3.config, blocklist_poll: '1h' } } },
        });
        t.after(() => rubato.cleanUp());
        await until('the blocks are known', 20000, async () => {
            const r = await get(rubato, '/api/search', {
                params: { q: '{}', limit: 1, ...range }, tenant: 'edge',
            });
            const { metrics } = JSON.parse(r.text);
            if (metrics.totalBlocks !== copies) throw new Error(r.text.slice(-200));
            return true;
        });
        const client = querier(rubato.queryGrpc);
        t.after(() => client.close());
        return { s3, rubato, client };
    }

    /* Rules that hold for every stream with messages before the last. */
    function assertStream(r, rubatoAnswer, { lists }) {
        assert.equal(r.code, 0, r.details);
        assert.ok(r.messages.length >= 3, `${r.messages.length} messages`);
        for (let i = 1; i < r.messages.length; i++) {
            const [a, b] = [r.messages[i - 1].metrics, r.messages[i].metrics];
            assert.ok(b.completedJobs > a.completedJobs, 'progress');
            assert.equal(a.totalJobs, copies);
            if (i < r.messages.length - 1)
                assert.ok(r.times[i] - r.times[i - 1] > 450, 'not more often than every 500 ms');
        }
        const last = r.messages.at(-1);
        assert.equal(last.metrics.completedJobs, copies);
        assert.deepEqual(plain(last), plain(rubatoAnswer), 'the last message is the whole answer');
        assert.ok(lists(r.messages[0]), 'the first one tells of something');
    }

    test('a stream tells of what has changed, and then of everything', async (t) => {
        const { s3, rubato, client } = await slowStore(t);
        const run = async (method, message, httpPath, params, lists) => {
            /* Once a block, so that each wave is longer than the time between two messages. */
            const rule = s3.fail(FAULTS.slow(550), { match: isBlock, times: 1, per: blockOf });
            const r = await ask(client, method, message, { tenant: 'edge' });
            rule.end();
            const http = await get(rubato, httpPath, { params, tenant: 'edge' });
            assertStream(r, JSON.parse(http.text), { lists });
            return r;
        };
        const q = '{ } | select(resource.service.name)';
        const found = await run('Search', { Query: q, Limit: 5000, SpansPerSpanSet: 10, ...range },
            '/api/search', { q, limit: 5000, spss: 10, ...range }, (m) => m.traces.length > 10);
        for (const { traces } of found.messages)
            for (let i = 1; i < traces.length; i++)
                assert.ok(BigInt(traces[i - 1].startTimeUnixNano) >= BigInt(traces[i].startTimeUnixNano), 'newest first');

        const tags = await run('SearchTagsV2', { ...range }, '/api/v2/search/tags', range, (m) => m.scopes.length);
        assert.ok(!tags.messages[1].scopes, 'a name is not told twice before the end');
        const values = await run('SearchTagValuesV2', { tagName: 'name', ...range },
            '/api/v2/search/tag/name/values', range, (m) => m.tagValues.length);
        assert.ok(!values.messages[1].tagValues);

        const rate = '{} | count_over_time() by (resource.service.name)';
        const times = { start: `${range.start}000000000`, end: `${range.end}000000000` };
        const series = await run('MetricsQueryRange', { query: rate, step: '600000000000', ...times },
            '/api/metrics/query_range', { q: rate, step: 600, ...range }, (m) => m.series.length);
        const sum = (m) => m.series.flatMap((s) => s.samples).reduce((n, s) => n + (s.value ?? 0), 0);
        const sums = series.messages.map(sum);
        assert.ok(sums[0] > 0 && sums[0] < sums.at(-1), 'values grow');
        assert.equal(sums.at(-1) / copies, sums[0] / series.messages[0].metrics.completedJobs);
        const top = `${rate} | topk(2)`;
        await run('MetricsQueryInstant', { query: top, ...times },
            '/api/metrics/query', { q: top, ...range }, (m) => !m.series);
    });

    test('a client that leaves ends its query', async (t) => {
        const { s3, rubato, client } = await slowStore(t);
        s3.fail(FAULTS.slow(100), { match: isBlock });
        const counted = async (code) => {
            const text = (await get(rubato, '/metrics')).text;
            const m = new RegExp(`_count\\{method="gRPC",route="/tempopb\\.StreamingQuerier/Search",status_code="${code}",ws="false"\\} (\\d+)`).exec(text);
            return Number(m?.[1] ?? 0);
        };
        const message = { Query: '{ }', Limit: 5000, ...range };
        const one = begin(client, 'Search', message, { tenant: 'edge' });
        one.call.once('data', () => one.call.cancel());
        assert.equal((await one.done).code, CANCELLED);
        await until('it has ended', 20000, async () => {
            if ((await counted('cancel')) !== 1) throw new Error('it runs on');
            return true;
        });
        const before = s3.requests.length;
        /* Over HTTP/1.1 too. */
        const gone = new AbortController();
        const http = fetch(`${rubato.api}/api/search?${new URLSearchParams({ q: '{}', limit: 5000, ...range })}`, {
            signal: gone.signal, headers: { 'x-scope-orgid': 'edge' },
        }).catch((e) => e.name);
        await until('it has begun', 5000, () => s3.requests.length > before, 5);
        gone.abort();
        assert.equal(await http, 'AbortError');
        await until('it has ended', 20000, async () => {
            if (!/route="api_search",status_code="499"/.test((await get(rubato, '/metrics')).text))
                throw new Error('it runs on');
            return true;
        });
        /* And a client's own deadline. */
        const late = await ask(client, 'Search', message, { tenant: 'edge', timeoutMs: 700 });
        assert.equal(late.code, DEADLINE);
        await until('it has ended', 20000, async () => {
            if ((await counted('error')) + (await counted('cancel')) < 2) throw new Error('it runs on');
            return true;
        });
        assert.equal(await counted('success'), 0);
    });
});
