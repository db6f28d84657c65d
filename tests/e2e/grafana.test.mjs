/* The requests that Grafana's Tempo data source makes, in its order: test of the connection, version,
 * attribute names and values for the editor, search, the trace, metrics. Its decoder refuses members
 * that it does not know and 64-bit numbers that are no strings, so answers are held to the messages'
 * members and types. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { request } from './lib/http.mjs';
import { flat, fromInput, fromTraceByIdResponse, sendHttp } from './lib/otlp.mjs';
import { built } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

const local = drivers.find((d) => d.kind === 'local');

/* ---- the messages, as protobuf's JSON has them ---- */

const text = (v) => typeof v === 'string';
const u32 = (v) => Number.isInteger(v) && v > 0; /* zero is left out */
const u64 = (v) => text(v) && /^[1-9]\d*$/.test(v);
const real = (v) => typeof v === 'number';
const list = (of) => (v, at) => Array.isArray(v) && v.every((x, i) => holds(of, x, `${at}[${i}]`));
const map = (of) => (v, at) => Object.entries(v).every(([k, x]) => holds(of, x, `${at}.${k}`));

function holds(type, v, at) {
    if (typeof type === 'function') {
        assert.ok(type(v, at), `${at}: ${JSON.stringify(v)}`);
        return true;
    }
    assert.ok(v !== null && typeof v === 'object' && !Array.isArray(v), at);
    for (const [k, x] of Object.entries(v)) {
        assert.ok(k in type, `${at} has ${k}`);
        holds(type[k], x, `${at}.${k}`);
    }
    return true;
}

const anyValue = { stringValue: text, boolValue: (v) => typeof v === 'boolean', doubleValue: real,
    intValue: (v) => text(v) && /^-?\d+$/.test(v), arrayValue: { values: (v, at) => list(anyValue)(v, at) } };
const keyValue = { key: text, value: anyValue };
const spanSet = { matched: u32, attributes: list(keyValue),
    spans: list({ spanID: text, name: text, startTimeUnixNano: u64, durationNanos: u64, attributes: list(keyValue) }) };
const searchMetrics = { inspectedTraces: u32, inspectedBytes: u64, totalBlocks: u32, completedJobs: u32,
    totalJobs: u32, totalBlockBytes: u64, inspectedSpans: u64 };
const searchResponse = { metrics: searchMetrics, traces: list({ traceID: text, rootServiceName: text,
    rootTraceName: text, startTimeUnixNano: u64, durationMs: u32, spanSet, spanSets: list(spanSet),
    serviceStats: map({ spanCount: u32, errorCount: u32 }) }) };
const tagMetrics = { inspectedBytes: u64, totalJobs: u32, completedJobs: u32, totalBlocks: u32, totalBlockBytes: u64 };
const tagsResponse = { scopes: list({ name: text, tags: list(text) }), metrics: tagMetrics };
const valuesResponse = { tagValues: list({ type: text, value: text }), metrics: tagMetrics };
const sample = { timestampMs: (v) => text(v) && /^\d+$/.test(v), value: real };
const rangeResponse = { metrics: searchMetrics, series: list({ labels: list(keyValue), samples: list(sample),
    exemplars: list({ labels: list(keyValue), value: real, timestampMs: u64 }) }) };
const instantResponse = { metrics: searchMetrics, series: list({ labels: list(keyValue), value: real }) };

/* ---- the data source ---- */

class Grafana {
    /* url: of the data source, perhaps with a path. */
    constructor(url, headers = {}) {
        this.url = url;
        this.headers = { 'user-agent': 'Grafana/12.0.0', 'accept-encoding': 'gzip', ...headers };
    }

    async get(path, params = {}, headers = {}) {
        const query = new URLSearchParams(params).toString();
        const r = await request(`${this.url}${path}${query && `?${query}`}`, { headers: { ...this.headers, ...headers } });
        assert.equal(r.status, 200, `${path}: ${r.text}`);
        return r;
    }

    async json(path, params, type) {
        const r = await this.get(path, params, { accept: 'application/json' });
        assert.match(r.headers['content-type'], /^application\/json/);
        const body = JSON.parse(r.text);
        holds(type, body, path);
        return body;
    }

    tags = (params) => this.json('/api/v2/search/tags', { limit: '5000', ...params }, tagsResponse);

    /* The editor encodes a tag twice, and skips values that are empty. */
    async values(tag, params) {
        const name = encodeURIComponent(encodeURIComponent(tag));
        const { tagValues } = await this.json(`/api/v2/search/tag/${name}/values`, { limit: '5000', ...params }, valuesResponse);
        return tagValues.filter((v) => v.value);
    }
}

async function session(grafana, { cart, now }) {
    /* Save & test, and what the version switches on. */
    assert.equal((await grafana.get('/api/echo')).text, 'echo\n');
    const { version } = JSON.parse((await grafana.get('/api/status/buildinfo')).text);
    assert.match(version, /^\d+\.\d+\.\d+/);
    const [major, minor] = version.split('.').map(Number);
    assert.ok(major > 2 || (major === 2 && minor >= 7), version);

    /* The editor: names of all scopes and of one, values, and values under the filters chosen so far. */
    const range = { start: String(now - 3600), end: String(now + 60) };
    for (const params of [{}, range]) {
        const { scopes } = await grafana.tags(params);
        const of = Object.fromEntries(scopes.map((s) => [s.name, s.tags]));
        assert.deepEqual(of.resource, ['service.name']);
        assert.deepEqual(of.span, ['filler', 'n', 'odd name/%41']);
        assert.ok(of.intrinsic.includes('span:status') || of.intrinsic.includes('status'));
    }
    assert.deepEqual((await grafana.tags({ scope: 'span', ...range })).scopes.map((s) => s.name), ['span']);
    assert.deepEqual((await grafana.values('resource.service.name', range)).map((v) => v.value).sort(), ['cart', 'shop']);
    assert.deepEqual((await grafana.values('status')).map((v) => v.value).sort(), ['error', 'ok', 'unset']);
    assert.deepEqual(await grafana.values('span."odd name/%41"'), [{ type: 'string', value: 'x' }]);
    const q = '{resource.service.name="cart" && status=error}';
    assert.deepEqual((await grafana.values('name', { q, ...range })).map((v) => v.value).sort(), ['step 3', 'step 7']);
    assert.ok(Array.isArray(await grafana.values('name', { q: '{resource.service.name="cart" && name=}', ...range })),
        'a query that is being typed');

    /* Search, and the trace that is clicked. */
    const found = await grafana.json('/api/search', { q, limit: '20', spss: '3', ...range }, searchResponse);
    assert.equal(found.traces.length, 1);
    const [trace] = found.traces;
    assert.equal(trace.traceID.padStart(32, '0'), cart.traceId);
    assert.equal(trace.spanSets[0].matched, 2);
    assert.deepEqual(trace.spanSet, trace.spanSets[0]);
    assert.deepEqual(trace.serviceStats, { cart: { spanCount: 8, errorCount: 2 } });
    assert.equal(found.metrics.completedJobs, found.metrics.totalJobs);
    for (const params of [{}, range]) {
        const r = await grafana.get(`/api/v2/traces/${trace.traceID}`, params, { accept: 'application/protobuf' });
        assert.match(r.headers['content-type'], /^application\/protobuf/);
        assert.deepEqual(flat(fromTraceByIdResponse(r.bytes)), flat(fromInput(cart.body)));
    }
    const unknown = await grafana.get('/api/v2/traces/0123', {}, { accept: 'application/protobuf' });
    assert.deepEqual([...unknown.bytes], [0x0a, 0], 'no trace is an empty one');

    /* Metrics: a panel, without and with a step, the drilldown's requests, and an instant query. */
    const rate = { q: '{} | rate() by (resource.service.name)', ...range };
    for (const params of [rate, { ...rate, step: '1m' }, { ...rate, step: '60', exemplars: '10' }]) {
        const { series } = await grafana.json('/api/metrics/query_range', params, rangeResponse);
        assert.deepEqual(series.map((s) => s.labels[0].value.stringValue), ['cart', 'shop']);
        const steps = new Set(series[0].samples.slice(1).map((s, i) => s.timestampMs - series[0].samples[i].timestampMs));
        assert.equal(steps.size, 1);
        const step = [...steps][0] / 1000;
        assert.equal(step, params.step ? 60 : 15);
        const spans = series.map((s) => Math.round(s.samples.reduce((sum, x) => sum + (x.value ?? 0), 0) * step));
        assert.deepEqual(spans, [8, 12]);
        assert.equal(series.some((s) => s.exemplars), true);
    }
    for (const fn of ['histogram_over_time(duration)', 'quantile_over_time(duration, .9)', 'compare({ status = error })'])
        await grafana.json('/api/metrics/query_range', { q: `{} | ${fn}`, ...range }, rangeResponse);
    const instant = await grafana.json('/api/metrics/query',
        { q: '{ status = error } | count_over_time() by (resource.service.name)', ...range }, instantResponse);
    assert.deepEqual(instant.series.map((s) => [s.labels[0].value.stringValue, s.value]), [['cart', 2], ['shop', 3]]);

    /* What is wrong with a query is shown under it: by line and column. */
    const bad = await request(`${grafana.url}/api/search?q=${encodeURIComponent('{ status = }')}`, { headers: grafana.headers });
    assert.equal(bad.status, 400);
    assert.match(bad.text, /line 1, col 12/);
}

async function send(rubato, headers = {}) {
    const cart = makeRequest({ service: 'cart', spans: 8 }), shop = makeRequest({ service: 'shop', spans: 12 });
    shop.body.resourceSpans[0].scopeSpans[0].spans[5].attributes.push({ key: 'odd name/%41', value: { stringValue: 'x' } });
    for (const r of [cart, shop]) {
        if (Object.keys(headers).length === 0) {
            await sendHttp(rubato, r.body);
            continue;
        }
        const sent = await request(rubato.otlpHttp, { method: 'POST', body: JSON.stringify(r.body),
            headers: { 'content-type': 'application/json', ...headers } });
        assert.equal(sent.status, 200, sent.text);
    }
    return { cart, now: Math.floor(Date.now() / 1000) };
}

describe("Grafana's data source", { concurrency: true }, () => {
    test('a session over segments, and over blocks', async (t) => {
        const rubato = await Rubato.start({ store: await local.open(), config: { block_builder: { window: '3s' } } });
        t.after(() => rubato.cleanUp());
        const sent = await send(rubato);
        await session(new Grafana(rubato.api), sent);
        await built(rubato, 20);
        await session(new Grafana(rubato.api), sent);
        assert.equal(await rubato.stop(), 0);
        assert.deepEqual(rubato.errorLines(), []);
    });

    test('a session behind a prefix, as a tenant', async (t) => {
        const rubato = await Rubato.start({ store: await local.open(),
            config: { http_api_prefix: '/tempo', multitenancy_enabled: true } });
        t.after(() => rubato.cleanUp());
        const tenant = { 'x-scope-orgid': 'acme' };
        await session(new Grafana(`${rubato.api}/tempo`, tenant), await send(rubato, tenant));
        const other = new Grafana(`${rubato.api}/tempo`, { 'x-scope-orgid': 'other' });
        assert.deepEqual((await other.json('/api/search', { q: '{}', limit: '20' }, searchResponse)).traces, []);
    });
});
