/* The main job: a span that a real OpenTelemetry SDK sent comes back from the store, whole, at once
 * and for good; the same on a directory and on a real S3 server. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sendHttp, sorted, spansOf, unordered } from './lib/otlp.mjs';
import { assertTrace, built, get, search, spanIds, trace } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { sendBySdk, wanted, ways } from './lib/sdk.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

/* Large enough for all that the test sends, so that it decides itself when the block is built: by
 * a request that passes it. */
const blockBytes = 256 << 10;
const config = { block_builder: { window: '1h', max_bytes: blockBytes } };

const long = 1000000000n;
const durationOf = (s) => BigInt(s.endTimeUnixNano) - BigInt(s.startTimeUnixNano);
const is = {
    any: () => true,
    named: (name) => (s) => s.name === name,
    failed: (s) => s.status.code === 2,
    slow: (s) => durationOf(s) > long,
};

/* What each question must find: q, which spans, which attributes the answer shows with them. */
function questions(services) {
    const [first] = services;
    const of = (service) => (s, rs) => rs.service === service;
    const status = () => [['status', 'error']];
    const name = (service) => () => [['service.name', service]];
    return [
        { q: '{}', spans: is.any },
        { q: `{ resource.service.name = "${first}" }`, spans: of(first), shown: name(first) },
        { q: '{ resource.service.name = "nobody" }', spans: () => false },
        { q: '{ name = "SELECT cart" }', spans: is.named('SELECT cart'), named: true },
        { q: '{ status = error }', spans: is.failed, shown: status },
        { q: '{ duration > 1s }', spans: is.slow },
        {
            q: '{ duration > 1s && name = "dequeue" }',
            spans: (s) => is.slow(s) && s.name === 'dequeue',
            named: true,
        },
        { q: '{ status = error && duration > 1s }', spans: () => false },
        {
            q: `{ resource.service.name = "${first}" && status = error }`,
            spans: (s, rs) => of(first)(s, rs) && is.failed(s),
            shown: () => [...name(first)(), ...status()],
        },
        {
            /* Both in one trace: the spans of both, each with what its condition was about. */
            q: '{ status = error } && { name = "dequeue" }',
            spans: (s) => is.failed(s) || s.name === 'dequeue',
            shown: (s) => (is.failed(s) ? [['status', 'error']] : []),
            /* As Tempo does: a name is shown where a condition on names has let it through. */
            named: is.named('dequeue'),
        },
        {
            q: `{ resource.service.name = "${first}" && name = "GET /checkout" && duration > 1s }`,
            spans: (s, rs) => of(first)(s, rs) && s.name === 'GET /checkout' && is.slow(s),
            shown: name(first),
            named: true,
        },
    ];
}

const attributes = (pairs) =>
    pairs.length
        ? { attributes: pairs.map(([key, stringValue]) => ({ key, value: { stringValue } })) }
        : {};

function expectedOf(question, traces) {
    const out = [];
    for (const t of traces) {
        const all = spansOf(t.want);
        const spans = all.filter((s) => question.spans(s, t));
        if (!spans.length) continue;
        const start = all.map((s) => BigInt(s.startTimeUnixNano)).reduce((a, b) => (a < b ? a : b));
        const end = all.map((s) => BigInt(s.endTimeUnixNano)).reduce((a, b) => (a > b ? a : b));
        const root = all.find((s) => !s.parentSpanId);
        const errors = all.filter(is.failed).length;
        const spanSet = {
            matched: spans.length,
            spans: sorted(
                spans.map((s) => ({
                    spanID: s.spanId,
                    startTimeUnixNano: s.startTimeUnixNano,
                    ...(durationOf(s) && { durationNanos: String(durationOf(s)) }),
                    ...((question.named === true || question.named?.(s)) && { name: s.name }),
                    ...attributes(question.shown?.(s) ?? []),
                })),
            ),
        };
        out.push({
            traceID: t.id,
            rootServiceName: t.service,
            rootTraceName: root.name,
            startTimeUnixNano: String(start),
            durationMs: Number((end - start) / 1000000n),
            spanSet,
            spanSets: [spanSet],
            serviceStats: { [t.service]: { spanCount: all.length, errorCount: errors } },
        });
    }
    return sorted(out);
}

/* Answers have an order of spans and attributes, but promise none. */
function tidy(found) {
    const span = (s) => ({ ...s, ...(s.attributes && { attributes: sorted(s.attributes) }) });
    const set = (s) => ({ ...s, spans: sorted(s.spans.map(span)) });
    return sorted(
        found.map((t) => ({ ...t, spanSet: set(t.spanSet), spanSets: t.spanSets.map(set) })),
    );
}

async function assertSearches(rubato, traces) {
    const services = traces.map((t) => t.service);
    for (const question of questions(services)) {
        const found = await search(rubato, { q: question.q, limit: 100, spss: 100 });
        const mine = found.filter((t) => traces.some((x) => x.id === t.traceID));
        const want = expectedOf(question, traces);
        assert.deepStrictEqual(tidy(mine), tidy(want), question.q);
    }
}

async function assertAll(rubato, traces) {
    for (const t of traces) await assertTrace(rubato, t.id, t.want);
    await assertSearches(rubato, traces);
}

describe('spans of the OpenTelemetry SDK come back', { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}`, async (t) => {
            const store = await driver.open();
            const rubato = await Rubato.start({ store, config });
            t.after(() => rubato.cleanUp());
            const traces = [];
            const at = Date.now() - 5000;
            for (const [i, way] of ways.entries()) {
                await t.test(`${way.name}: at once, from its segment`, async () => {
                    const service = `sdk-${way.protocol}-${way.compression}`;
                    const spans = await sendBySdk(rubato, way, service, at + i);
                    const mine = {
                        id: spans[0].spanContext().traceId,
                        service,
                        want: wanted(spans),
                    };
                    traces.push(mine);
                    await assertTrace(rubato, mine.id, mine.want);
                });
            }
            await t.test('searched from segments', async () => {
                await assertSearches(rubato, traces);
                const objects = await store.list();
                assert.ok(
                    objects.some((k) => k.startsWith('_rubato.wal.')),
                    'segments are there',
                );
                assert.ok(!objects.some((k) => k.endsWith('meta.json')), 'and no block yet');
            });
            await t.test('read and searched from the block', async () => {
                const filler = makeRequest({
                    service: 'filler',
                    spans: 300,
                    filler: 'x'.repeat(1000),
                });
                await sendHttp(rubato, filler.body);
                await built(
                    rubato,
                    filler.spanIds.length + traces.flatMap((x) => spansOf(x.want)).length,
                );
                assert.ok(
                    (await store.list()).some((k) => k.endsWith('meta.json')),
                    'a block is there',
                );
                await assertAll(rubato, traces);
                for (const x of traces) {
                    const only = await trace(rubato, x.id, { params: { mode: 'blocks' } });
                    assert.deepStrictEqual(unordered(only), unordered(x.want), 'from blocks alone');
                }
                const filled = await trace(rubato, filler.traceId);
                assert.deepEqual(spanIds(filled, filler.traceId), new Set(filler.spanIds));
            });
            await t.test('read and searched after a restart', async () => {
                assert.equal(await rubato.stop(), 0);
                await rubato.start();
                await assertAll(rubato, traces);
            });
            await t.test('a trace that nobody sent is not found', async () => {
                const id = '0123456789abcdef0123456789abcdef';
                assert.equal(await trace(rubato, id), null);
                const v2 = await get(rubato, `/api/v2/traces/${id}`);
                assert.equal(`${v2.status} ${v2.text}`, '200 {"trace":{}}');
                const bytes = await get(rubato, `/api/v2/traces/${id}`, {
                    headers: { accept: 'application/protobuf' },
                });
                assert.equal(bytes.bytes.toString('hex'), '0a00');
            });
            assert.equal(await rubato.stop(), 0);
            assert.deepEqual(rubato.errorLines(), []);
        });
    }
});
