/* Asking the API, the way Grafana and tempo-cli do. */
import assert from 'node:assert/strict';
import { fromAnswer, fromProtobuf, fromTraceByIdResponse, spansOf, unordered } from './otlp.mjs';
import { request } from './http.mjs';
import { until } from './wait.mjs';

const tenantOf = (tenant) => (tenant ? { 'x-scope-orgid': tenant } : {});

export async function get(rubato, path, { params = {}, headers = {}, tenant } = {}) {
    const query = new URLSearchParams(params).toString();
    return request(`${rubato.api}${path}${query && `?${query}`}`, {
        headers: { ...headers, ...tenantOf(tenant) },
    });
}

async function got(rubato, path, options) {
    const r = await get(rubato, path, options);
    if (r.status !== 200)
        throw Object.assign(new Error(`GET ${path}: ${r.status} ${r.text}`), { status: r.status });
    return r;
}

/* /api/traces/{id} as JSON; null when there is none. */
export async function trace(rubato, id, options) {
    const r = await get(rubato, `/api/traces/${id}`, options);
    if (r.status === 404) {
        assert.equal(r.bytes.length, 0, 'a 404 of the trace API has no body');
        return null;
    }
    if (r.status !== 200)
        throw Object.assign(new Error(`trace ${id}: ${r.status} ${r.text}`), { status: r.status });
    return fromAnswer(JSON.parse(r.text).batches);
}

/* The four forms in which a trace is answered. */
export async function traceInAllForms(rubato, id, { params, tenant } = {}) {
    const ask = (path, accept) =>
        got(rubato, path, { params, tenant, headers: { accept, 'accept-encoding': 'gzip' } });
    const v1 = `/api/traces/${id}`,
        v2 = `/api/v2/traces/${id}`;
    const j1 = await ask(v1, 'application/json'),
        j2 = await ask(v2, 'application/json');
    const p1 = await ask(v1, 'application/protobuf'),
        p2 = await ask(v2, 'application/protobuf');
    for (const r of [j1, j2]) assert.match(r.headers['content-type'], /^application\/json/);
    for (const r of [p1, p2]) assert.match(r.headers['content-type'], /^application\/protobuf/);
    const body1 = JSON.parse(j1.text),
        body2 = JSON.parse(j2.text);
    assert.deepEqual(Object.keys(body1), ['batches']);
    assert.deepEqual(Object.keys(body2), ['trace']);
    return {
        'v1 JSON': fromAnswer(body1.batches),
        'v2 JSON': fromAnswer(body2.trace.resourceSpans ?? []),
        'v1 protobuf': fromProtobuf(p1.bytes),
        'v2 protobuf': fromTraceByIdResponse(p2.bytes),
    };
}

/* The trace comes back whole, in every form. */
export async function assertTrace(rubato, id, want, options, by = unordered) {
    for (const [form, got] of Object.entries(await traceInAllForms(rubato, id, options)))
        assert.deepStrictEqual(by(got), by(want), `trace ${id} as ${form}`);
}

export async function search(rubato, params, options = {}) {
    const r = await got(rubato, '/api/search', { ...options, params });
    const { traces } = JSON.parse(r.text);
    const ids = traces.map((t) => t.traceID);
    assert.equal(
        new Set(ids).size,
        ids.length,
        `a trace stands twice in the answer to ${params.q}`,
    );
    return traces.map((t) => ({ ...t, traceID: t.traceID.padStart(32, '0') }));
}

export async function metric(rubato, name) {
    const { text } = await got(rubato, '/metrics');
    const lines = text
        .split('\n')
        .filter((l) => l.startsWith(`${name} `) || l.startsWith(`${name}{`));
    if (!lines.length) throw new Error(`/metrics has no ${name}`);
    return lines.reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);
}

/* All segments have become blocks. */
export async function built(rubato, spans, boundMs = 30000) {
    await until(
        'all spans are in blocks',
        boundMs,
        async () => {
            const done = await metric(rubato, 'block_builder_spans_total');
            if (done < spans) throw new Error(`${done} of ${spans} spans`);
            const left = await rubato.store.list('_rubato.wal.');
            if (left.length) throw new Error(`${left.length} segments are left`);
            return true;
        },
        50,
    );
}

/* No span id stands twice in the answer; returns them. */
export function spanIds(answer, id) {
    const ids = spansOf(answer).map((s) => s.spanId);
    const twice = ids.find((x, i) => ids.indexOf(x) !== i);
    assert.equal(twice, undefined, `span ${twice} stands twice in trace ${id}`);
    return new Set(ids);
}
