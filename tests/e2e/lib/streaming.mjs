/* The query API over gRPC, as Grafana asks it: a client, the questions of the HTTP API as messages,
 * and what a client makes of the messages that come back. */
import path from 'node:path';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { root } from './rubato.mjs';

const load = (name) =>
    grpc.loadPackageDefinition(
        loader.loadSync(path.join(root, 'tests/e2e/lib', name), {
            keepCase: true,
            longs: String,
            enums: String,
        }),
    );
const { StreamingQuerier } = load('tempo.proto').tempopb;
const { Health } = load('health.proto').grpc.health.v1;

/* A connection of its own to host:port. */
const options = { 'grpc.use_local_subchannel_pool': 1 };
export const querier = (address) =>
    new StreamingQuerier(address, grpc.credentials.createInsecure(), options);
export const health = (address) =>
    new Health(address, grpc.credentials.createInsecure(), options);

function metadata(tenant) {
    const m = new grpc.Metadata();
    if (tenant) m.set('x-scope-orgid', tenant);
    return m;
}

/* Starts a call: {call, done}, done a promise of {messages, times, code, details}. */
export function begin(client, method, message, { tenant, timeoutMs = 60000 } = {}) {
    const call = client[method](message, metadata(tenant), { deadline: Date.now() + timeoutMs });
    const messages = [],
        times = [];
    call.on('data', (m) => {
        messages.push(m);
        times.push(performance.now());
    });
    const done = new Promise((resolve) => {
        let end;
        call.on('status', (s) => (end = s));
        call.on('error', () => {});
        call.on('close', () =>
            resolve({ messages, times, code: end.code, details: end.details }),
        );
    });
    return { call, done };
}

export const ask = (client, method, message, opts) => begin(client, method, message, opts).done;

export function check(client, tenant) {
    return new Promise((resolve) => {
        client.Check({}, metadata(tenant), (e, answer) =>
            resolve(e ? { code: e.code, details: e.details } : { code: 0, status: answer.status }),
        );
    });
}

/* ---- questions ---- */

const count = (v) => (v === undefined ? undefined : Number(v));
const nanos = (v) => (v === undefined ? undefined : `${v}000000000`);
/* A duration, "1m30s", or seconds. */
const unit = { ms: 1, s: 1000, m: 60000, '': 1000 };
const millis = (text) =>
    text && [...text.matchAll(/(\d+)(ms|s|m|$)/g)].reduce((sum, [, n, u]) => sum + n * unit[u], 0);
const logfmt = (text) =>
    text && Object.fromEntries([...text.matchAll(/([^ =]+)=(?:"([^"]*)"|(\S*))/g)].map((m) => [m[1], m[2] ?? m[3]]));

const tags = (p) => ({
    scope: p.scope, query: p.q, start: count(p.start), end: count(p.end),
    maxTagsPerScope: count(p.limit), staleValuesThreshold: count(p.maxStaleValues),
});
const values = (p, tagName) => ({
    tagName: decodeURIComponent(tagName), query: p.q, start: count(p.start), end: count(p.end),
    maxTagValues: count(p.limit), staleValueThreshold: count(p.maxStaleValues),
});

const questions = [
    [/^\/api\/search$/, 'Search', (p) => ({
        Query: p.q, Tags: logfmt(p.tags), Limit: count(p.limit), SpansPerSpanSet: count(p.spss),
        start: count(p.start), end: count(p.end),
        MinDurationMs: millis(p.minDuration), MaxDurationMs: millis(p.maxDuration),
    })],
    [/^\/api\/search\/tags$/, 'SearchTags', tags],
    [/^\/api\/v2\/search\/tags$/, 'SearchTagsV2', tags],
    [/^\/api\/search\/tag\/(.*)\/values$/, 'SearchTagValues', values],
    [/^\/api\/v2\/search\/tag\/(.*)\/values$/, 'SearchTagValuesV2', values],
    [/^\/api\/metrics\/query_range$/, 'MetricsQueryRange', (p) => ({
        query: p.q, start: nanos(p.start), end: nanos(p.end), exemplars: count(p.exemplars),
        step: p.step && `${millis(p.step)}000000`,
    })],
    [/^\/api\/metrics\/query$/, 'MetricsQueryInstant', (p) => ({
        query: p.q, start: nanos(p.start), end: nanos(p.end),
    })],
];

/* {method, message} for a question of the HTTP API; undefined: there is no such call. */
export function asCall(urlPath, params) {
    for (const [re, method, make] of questions) {
        const m = re.exec(urlPath);
        if (!m) continue;
        const message = make(params, m[1]);
        for (const [k, v] of Object.entries(message)) if (v === undefined) delete message[k];
        return { method, message };
    }
    return undefined;
}

/* ---- answers ---- */

/* Lists of messages are joined by what tells their elements apart: a later one replaces, in place.
 * The last message is the whole answer, so the result is in its order too. */
const lists = {
    traces: (t) => t.traceID,
    tagNames: (n) => n,
    tagValues: (v) => (typeof v === 'string' ? v : `${v.type} ${v.value ?? ''}`),
    series: (s) => JSON.stringify(s.labels),
};

function joinScopes(messages) {
    const scopes = new Map();
    for (const { name, tags: names = [] } of messages.flatMap((m) => m.scopes ?? [])) {
        if (!scopes.has(name)) scopes.set(name, new Set());
        for (const n of names) scopes.get(name).add(n);
    }
    return [...scopes].map(([name, set]) => ({ name, tags: [...set] }));
}

/* What a client knows after those messages. */
export function joined(messages) {
    const out = {};
    for (const m of messages)
        for (const [k, v] of Object.entries(m)) if (!lists[k] && k !== 'scopes') out[k] = v;
    for (const [name, key] of Object.entries(lists)) {
        const all = new Map();
        for (const x of messages.flatMap((m) => m[name] ?? [])) all.set(key(x), x);
        if (all.size) out[name] = [...all.values()];
    }
    const scopes = joinScopes(messages);
    if (scopes.length) out.scopes = scopes;
    return out;
}

/* The JSON of the HTTP API in the form in which messages come: without empty lists, with NaN as a
 * number. How much was read depends on what had been read before. */
export function plain(answer) {
    const walk = (v) => {
        if (Array.isArray(v)) return v.map(walk);
        if (v === null || typeof v !== 'object') return v;
        return Object.fromEntries(
            Object.entries(v)
                .filter(([k, x]) => k !== 'inspectedBytes' && !(Array.isArray(x) && !x.length))
                .map(([k, x]) => [k, k === 'doubleValue' ? Number(x) : walk(x)]),
        );
    };
    return walk(answer);
}
