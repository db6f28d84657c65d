/* What an operator sees of queries: objectives kept and missed, lines of log, and those that were
 * refused or given up. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { FAULTS, FakeS3, isBlock, isRead } from './lib/fake-s3.mjs';
import { sendHttp } from './lib/otlp.mjs';
import { built, get } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';
import { until } from './lib/wait.mjs';

const local = drivers.find((d) => d.kind === 'local');

/* Of both counters, by op and result: "2/1" is two queries, one of them within the objective. */
async function counts(rubato) {
    const { text } = await get(rubato, '/metrics');
    const out = {};
    const line =
        /^tempo_query_frontend_queries_(total|within_slo_total)\{tenant="single-tenant",op="(\w+)",result="(\w+)"\} (\d+)$/gm;
    for (const [, name, op, result, n] of text.matchAll(line)) {
        const key = `${op} ${result}`;
        out[key] ??= [0, 0];
        out[key][name === 'total' ? 0 : 1] = Number(n);
    }
    return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, v.join('/')]));
}

describe('queries', () => {
    let rubato, sent;

    before(async () => {
        rubato = await Rubato.start({
            store: await local.open(),
            config: {
                query_frontend: {
                    search: { duration_slo: '1ns', metadata_slo: { duration_slo: '1h' } },
                    metrics: { throughput_bytes_slo: 1e15 },
                    url_deny_list: ['limit=77\\b'],
                },
            },
        });
        sent = makeRequest({ service: 'shop', spans: 3 });
        await sendHttp(rubato, sent.body);
    });
    after(() => rubato.cleanUp());

    const lines = (msg) =>
        rubato.stderr.split('\n').filter((l) => l.includes(` msg=${JSON.stringify(msg)} `));

    test('are counted, within their objective or not', async () => {
        const ask = (path, params) => get(rubato, path, { params }).then((r) => r.status);
        const end = Math.ceil(Date.now() / 1000) + 60;
        const range = { start: end - 600, end };
        assert.equal(await ask('/api/search', { q: '{}' }), 200); /* slower than 1 ns */
        assert.equal(await ask('/api/search', { q: '{' }), 400); /* the asker's own doing */
        assert.equal(await ask('/api/search/tags'), 200);
        assert.equal(await ask('/api/v2/search/tag/a%20b/values'), 400);
        assert.equal(await ask('/api/metrics/query_range', { q: '{} | rate()', ...range }), 200);
        assert.equal(await ask('/api/traces/1'), 404);
        assert.equal(await ask(`/api/v2/traces/${sent.traceId}`), 200);
        assert.equal(await ask('/api/nothing'), 404);
        assert.deepEqual(await counts(rubato), {
            'search completed': '2/1',
            'metadata completed': '2/2',
            'metrics completed': '1/0',
            'traces completed': '2/2',
        });
        const { text } = await get(rubato, '/metrics');
        assert.match(
            text,
            /tempo_query_frontend_bytes_processed_per_second_count\{tenant="single-tenant",op="metrics"\} 1\n/,
        );
        assert.match(
            text,
            /tempo_query_frontend_bytes_inspected_total\{tenant="single-tenant",op="search"\} [1-9]/,
        );
    });

    test('leave two lines each, with what was asked and what it took', async () => {
        await get(rubato, '/api/search', {
            params: { q: '{ name = "a b" }', start: 1000, end: 4600, limit: 5, spss: 2 },
        });
        await until('both are written', 5000, () => {
            assert.match(
                lines('search request').at(-1),
                /level=info room=frontend msg="search request" tenant=single-tenant query="\{ name = \\"a b\\" \}" range_seconds=3600 limit=5 spans_per_spanset=2$/,
            );
            assert.match(
                lines('search response').at(-1),
                /tenant=single-tenant query="\{ name = \\"a b\\" \}" range_seconds=3600 duration_seconds=[\d.e-]+ request_throughput=[\d.e+]+ total_requests=\d+ total_blockBytes=\d+ total_blocks=\d+ completed_requests=\d+ inspected_bytes=\d+ inspected_traces=\d+ inspected_spans=\d+ status_code=200 error=null$/,
            );
            return true;
        });
        await get(rubato, '/api/v2/search/tag/span.n/values', { params: { q: '{}' } });
        await until('the tags are told', 5000, () => lines('search tag values response').length);
        assert.match(
            lines('search tag values response').at(-1),
            /handler=SearchTagValuesV2 tag=span\.n query=\{\} range_seconds=0 duration_seconds=/,
        );
        const before_ = lines('search request').length;
        await get(rubato, '/api/search', { params: { q: '{' } });
        assert.equal(lines('search request').length, before_, 'not understood: not a request');
        for (const msg of ['trace id request', 'trace id response', 'query range request'])
            assert.ok(lines(msg).length, msg);
    });

    test('that are on the list of denied ones are refused', async () => {
        const ask = (limit) => get(rubato, '/api/search', { params: { q: '{}', limit } });
        const denied = await ask(77);
        assert.equal(denied.status, 400);
        assert.match(denied.text, /^Invalid request \/api\/search\?q=%7B%7D&limit=77\. This query/);
        assert.equal((await ask(7)).status, 200);
    });
});

test('a pattern that is none stops the start', async () => {
    const rubato = await Rubato.make({
        store: await local.open(),
        config: { query_frontend: { url_deny_list: ['a('] } },
    });
    await assert.rejects(rubato.start(), /query_frontend.url_deny_list: \\"a\(\\"/);
});

describe('queries that wait for their store', () => {
    let rubato, s3;

    before(async () => {
        s3 = new FakeS3({});
        await s3.start();
        rubato = await Rubato.start({
            store: {
                config: s3.config,
                list: async (prefix) => s3.keys(prefix),
            },
            config: {
                block_builder: { window: '100ms' },
                query_frontend: { max_outstanding_per_tenant: 2 },
            },
        });
        const r = makeRequest({ service: 'shop', spans: 3 });
        await sendHttp(rubato, r.body);
        await built(rubato, 3);
    });
    after(async () => {
        await rubato.cleanUp();
        await s3.stop();
    });

    /* Asks and does not wait; abort() leaves. */
    const start = () => {
        const req = http.get(`${rubato.api}/api/search?q=%7B%7D`, { agent: false });
        req.on('error', () => {});
        return { abort: () => req.destroy() };
    };
    const queue = async () => {
        const { text } = await get(rubato, '/metrics');
        return Number(
            /tempo_query_frontend_queue_length\{user="single-tenant"\} (\d+)/.exec(text)?.[1] ?? 0,
        );
    };

    test('fill their tenant\'s queue, and are counted as given up when nobody waits', async () => {
        const rule = s3.fail(FAULTS.hang(), { match: (r) => isRead(r) && isBlock(r) });
        const asked = [start(), start()];
        await until('both wait', 10000, async () => (await queue()) === 2);
        const third = await get(rubato, '/api/search', { params: { q: '{}' } });
        assert.equal(`${third.status} ${third.text}`, '429 job queue full');
        asked.forEach((q) => q.abort());
        rule.end();
        await until('they are given up', 60000, async () => {
            assert.deepEqual(await counts(rubato), { 'search canceled': '2/2' });
            return true;
        });
        assert.equal(await queue(), 0);
        const { text } = await get(rubato, '/metrics');
        assert.match(
            text,
            /tempo_query_frontend_discarded_requests_total\{user="single-tenant"\} 1\n/,
        );
    });
});
