/* OTLP as bytes and as one canonical form, so that what was sent and what came back in whatever
 * encoding can be compared whole: ids in hex, 64-bit numbers as decimal text, enums as numbers,
 * defaults left out, attributes in the order of their keys (blocks keep some apart from the
 * others). */
import { createRequire } from 'node:module';
import zlib from 'node:zlib';
import grpc from '@grpc/grpc-js';
import { request } from './http.mjs';

const require = createRequire(import.meta.url);
/* The SDK's own generated codec; it is not among the package's public names. */
const generated = require('@opentelemetry/otlp-transformer/build/src/generated/root.js');
const protobuf = require('protobufjs/minimal');
const { TracesData } = generated.opentelemetry.proto.trace.v1;
const { ExportTraceServiceRequest, ExportTraceServiceResponse } =
    generated.opentelemetry.proto.collector.trace.v1;

const kinds = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const codes = ['UNSET', 'OK', 'ERROR'];

const hexOf = (base64) => Buffer.from(base64 ?? '', 'base64').toString('hex');
const lower = (hex) => (hex ?? '').toLowerCase();
const byName = (prefix, names) => (v) => {
    if (v === undefined) return 0;
    const n = typeof v === 'number' ? v : names.indexOf(v.replace(prefix, ''));
    if (n < 0) throw new Error(`no such enum value: ${v}`);
    return n;
};
const kindOf = byName('SPAN_KIND_', kinds);
const codeOf = byName('STATUS_CODE_', codes);

/* A missing field and one that says its default are the same; an unknown field is an error. */
function fields(message, known) {
    const out = {};
    for (const [name, value] of Object.entries(message ?? {})) {
        if (!known[name]) throw new Error(`unexpected field ${name}: ${JSON.stringify(value)}`);
        const v = known[name](value);
        const empty =
            v === 0 || v === '' || v === '0' || v === false || (Array.isArray(v) && !v.length);
        if (!empty) out[name] = v;
    }
    return out;
}

const text = (v) => v;
const long = (v) => BigInt(v).toString();
const count = (v) => Number(v);
const list = (fn) => (v) => v.map(fn);
const double = (v) => (typeof v === 'number' ? v : Number(v));

function anyValue(v) {
    const set = Object.entries(v ?? {});
    if (set.length > 1) throw new Error(`a value of several kinds: ${JSON.stringify(v)}`);
    if (set.length === 0) return {};
    const [[kind, x]] = set;
    switch (kind) {
        case 'stringValue':
            return { stringValue: x };
        case 'boolValue':
            return { boolValue: x };
        case 'intValue':
            return { intValue: long(x) };
        case 'doubleValue':
            return { doubleValue: double(x) };
        case 'bytesValue':
            return { bytesValue: Buffer.from(x, 'base64').toString('hex') };
        case 'arrayValue':
            return { arrayValue: (x.values ?? []).map(anyValue) };
        case 'kvlistValue':
            return { kvlistValue: pairs(x.values ?? []) };
        default:
            throw new Error(`a value of unknown kind ${kind}`);
    }
}

function pairs(list) {
    return list.map(({ key, value, ...rest }) => {
        if (Object.keys(rest).length)
            throw new Error(`unexpected in an attribute: ${JSON.stringify(rest)}`);
        return [key ?? '', anyValue(value)];
    });
}

const byFirst = ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0);

/* The sort is stable: repeated keys stay in order. */
const attributes = (list) => pairs(list).sort(byFirst);

function canonical(resourceSpans, id) {
    const event = (e) =>
        fields(e, {
            timeUnixNano: long,
            name: text,
            attributes,
            droppedAttributesCount: count,
        });
    const link = (l) =>
        fields(l, {
            traceId: id,
            spanId: id,
            traceState: text,
            attributes,
            droppedAttributesCount: count,
        });
    const status = (s) => fields(s, { code: codeOf, message: text });
    const span = (s) => {
        const { status: st = {}, ...rest } = s;
        const out = fields(rest, {
            traceId: id,
            spanId: id,
            parentSpanId: id,
            traceState: text,
            name: text,
            kind: kindOf,
            startTimeUnixNano: long,
            endTimeUnixNano: long,
            attributes,
            droppedAttributesCount: count,
            events: list(event),
            droppedEventsCount: count,
            links: list(link),
            droppedLinksCount: count,
        });
        return { ...out, status: status(st) };
    };
    const scope = (s) =>
        fields(s, {
            name: text,
            version: text,
            attributes,
            droppedAttributesCount: count,
        });
    const resource = (r) => fields(r, { attributes, droppedAttributesCount: count });
    return resourceSpans.map((rs) => ({
        resource: resource(rs.resource),
        scopeSpans: (rs.scopeSpans ?? []).map((ss) => ({
            scope: scope(ss.scope),
            spans: sorted((ss.spans ?? []).map(span)),
        })),
    }));
}

/* Spans stand in the order of their ids, which keeps a difference readable. */
const byText = (x) =>
    (x.spanId ?? x.span?.spanId ?? '') + JSON.stringify(x, (k, v) => (Object.is(v, -0) ? '-0' : v));
export const sorted = (list) =>
    list
        .map((x) => [byText(x), x])
        .sort(byFirst)
        .map(([, x]) => x);

/* Whole, but without an order of fragments, scopes and spans. */
export const unordered = (trace) =>
    sorted(trace.map((rs) => ({ resource: rs.resource, scopeSpans: sorted(rs.scopeSpans) })));

/* Each span with its resource and scope: equal for answers that only group spans differently. */
export const flat = (trace) =>
    sorted(
        trace.flatMap((rs) =>
            rs.scopeSpans.flatMap((ss) =>
                ss.spans.map((span) => ({ resource: rs.resource, scope: ss.scope, span })),
            ),
        ),
    );

export const spansOf = (trace) => trace.flatMap((rs) => rs.scopeSpans.flatMap((ss) => ss.spans));

/* From OTLP/JSON as clients send it: ids in hex. */
export const fromInput = (request) => canonical(request.resourceSpans, lower);

/* From the API's JSON: ids in base64. */
export const fromAnswer = (resourceSpans) => canonical(resourceSpans, hexOf);

/* From a protobuf TracesData. */
export function fromProtobuf(bytes) {
    const all = TracesData.decode(bytes);
    const plain = TracesData.toObject(all, { longs: String, bytes: String, json: true });
    return canonical(plain.resourceSpans ?? [], hexOf);
}

/* TraceByIDResponse: field 1 is the trace, and here nothing else is expected. */
export function fromTraceByIdResponse(bytes) {
    const r = protobuf.Reader.create(bytes);
    const tag = r.uint32();
    if (tag !== 0x0a) throw new Error(`first tag is ${tag}, expected that of the trace`);
    const trace = r.bytes();
    if (r.pos !== r.len) throw new Error(`${r.len - r.pos} bytes after the trace`);
    return fromProtobuf(trace);
}

/* ---- sending ---- */

const toBytes = (hex) => Buffer.from(hex ?? '', 'hex');

function idsToBytes(key, value) {
    if (['traceId', 'spanId', 'parentSpanId'].includes(key)) return toBytes(value);
    return value;
}

function replace(value, key) {
    if (Array.isArray(value)) return value.map((v) => replace(v));
    if (value && typeof value === 'object')
        return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, replace(v, k)]));
    if (key === 'bytesValue') return Buffer.from(value, 'base64');
    if (key === 'doubleValue') return Number(value);
    return idsToBytes(key, value);
}

export const encode = (request) =>
    Buffer.from(
        ExportTraceServiceRequest.encode(
            ExportTraceServiceRequest.fromObject(replace(request)),
        ).finish(),
    );

/* Resolves once it is acknowledged; an answer other than 200 is an error with .status. A body that
 * is text already goes as it is. */
export async function sendHttp(rubato, body, { json = false, gzip = false, tenant, agent } = {}) {
    const plain = !json ? encode(body) : typeof body === 'string' ? body : JSON.stringify(body);
    const r = await request(rubato.otlpHttp, {
        method: 'POST',
        agent,
        body: gzip ? zlib.gzipSync(plain) : plain,
        headers: {
            'content-type': json ? 'application/json' : 'application/x-protobuf',
            ...(gzip && { 'content-encoding': 'gzip' }),
            ...(tenant && { 'x-scope-orgid': tenant }),
        },
    });
    if (r.status !== 200)
        throw Object.assign(new Error(`OTLP/HTTP: ${r.status} ${r.text}`), { status: r.status });
    if (json ? r.text !== '{"partialSuccess":{}}' : r.bytes.toString('hex') !== '0a00')
        throw new Error(`OTLP/HTTP: acknowledged with ${r.text} (${r.bytes.toString('hex')})`);
}

const exportPath = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

export async function sendGrpc(rubato, body, { gzip = false, tenant } = {}) {
    const client = new grpc.Client(rubato.otlpGrpc, grpc.credentials.createInsecure(), {
        'grpc.default_compression_algorithm': gzip ? 2 : 0,
    });
    const metadata = new grpc.Metadata();
    if (tenant) metadata.set('x-scope-orgid', tenant);
    try {
        return await new Promise((resolve, reject) =>
            client.makeUnaryRequest(
                exportPath,
                (b) => b,
                (b) => ExportTraceServiceResponse.decode(b),
                encode(body),
                metadata,
                { deadline: Date.now() + 20000 },
                (err, answer) => (err ? reject(err) : resolve(answer)),
            ),
        );
    } finally {
        client.close();
    }
}
