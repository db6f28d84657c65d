/* The OpenTelemetry JavaScript SDK as an application would set it up, and what its spans must look
 * like when they come back: written from the SDK's spans, not from the bytes it sends. */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { Resource } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { sorted } from './otlp.mjs';

const exporters = {
    'http/protobuf': (rubato, compression) =>
        new ProtoExporter({ url: rubato.otlpHttp, compression }),
    'http/json': (rubato, compression) => new JsonExporter({ url: rubato.otlpHttp, compression }),
    grpc: (rubato, compression) =>
        new GrpcExporter({ url: `http://${rubato.otlpGrpc}`, compression }),
};

export const ways = Object.keys(exporters).flatMap((protocol) =>
    [CompressionAlgorithm.NONE, CompressionAlgorithm.GZIP].map((compression) => ({
        protocol,
        compression,
        name: `${protocol}, ${compression}`,
    })),
);

/* Keeps what was sent and how each export ended. */
class Recorder {
    constructor(exporter) {
        Object.assign(this, { exporter, spans: [], results: [] });
    }
    export(spans, done) {
        this.spans.push(...spans);
        this.exporter.export(spans, (result) => {
            this.results.push(result);
            done(result);
        });
    }
    forceFlush() {
        return this.exporter.forceFlush?.() ?? Promise.resolve();
    }
    shutdown() {
        return this.exporter.shutdown();
    }
}

const ms = (at, more) => new Date(at + more);

/* A trace with everything the SDK can say: two scopes, attributes of every kind, events, links,
 * each status, each kind, limits that drop something. */
function act(provider, at) {
    const web = provider.getTracer('web', '1.2.3');
    const db = provider.getTracer('db');
    const under = (parent) => trace.setSpan(ROOT_CONTEXT, parent);
    const other = {
        traceId: '0af7651916cd43dd8448eb211c80319c',
        spanId: 'b7ad6b7169203331',
        traceFlags: 1,
    };
    const root = web.startSpan('GET /checkout', {
        kind: SpanKind.SERVER,
        startTime: ms(at, 0),
        root: true,
        attributes: {
            'http.method': 'GET',
            'http.url': 'https://shop.example/checkout?a=1&b=<2>',
            'http.status_code': 200,
            string: 'ärger \u0001 "quoted" \\ 漢字 🛒',
            empty: '',
            int: 42,
            'int.negative': -7,
            'int.large': Number.MAX_SAFE_INTEGER,
            zero: 0,
            double: 0.1,
            'double.small': 5e-324,
            /* A whole one would be sent as an integer. */
            'double.large': 123456789.125,
            yes: true,
            no: false,
        },
        links: [
            { context: other, attributes: { why: 'retry of', attempt: 2 } },
            { context: { ...other, spanId: '00f067aa0ba902b7' } },
        ],
    });
    root.addEvent('cache miss', { key: 'cart-17', tries: 3, ratio: 0.25, hot: false }, ms(at, 10));
    root.addEvent('', ms(at, 11));
    root.setStatus({ code: SpanStatusCode.OK });

    const query = db.startSpan(
        'SELECT cart',
        { kind: SpanKind.CLIENT, startTime: ms(at, 20) },
        under(root),
    );
    query.setAttributes({
        strings: ['a', '', 'ü'],
        ints: [1, 2, 3],
        doubles: [1.5, -2.25],
        bools: [true, false],
        none: [],
    });
    query.recordException(
        { name: 'Timeout', message: 'gave up', stack: 'at db\n  at web' },
        ms(at, 60),
    );
    query.setStatus({ code: SpanStatusCode.ERROR, message: 'gave up after 40 ms' });
    query.end(ms(at, 65));

    const send = web.startSpan(
        'enqueue',
        { kind: SpanKind.PRODUCER, startTime: ms(at, 70) },
        under(root),
    );
    send.end(ms(at, 70)); /* of no length */
    const take = web.startSpan(
        'dequeue',
        { kind: SpanKind.CONSUMER, startTime: ms(at, 80) },
        under(send),
    );
    for (let i = 0; i < 20; i++) take.setAttribute(`many.${i}`, i);
    for (let i = 0; i < 20; i++) take.addEvent(`event ${i}`, ms(at, 81 + i));
    take.end(ms(at, 1400));
    root.end(ms(at, 1500));
}

/* Sends such a trace; resolves to its spans when it has been acknowledged. */
export async function sendBySdk(rubato, { protocol, compression }, service, at) {
    const recorder = new Recorder(exporters[protocol](rubato, compression));
    const provider = new NodeTracerProvider({
        resource: new Resource({
            'service.name': service,
            'process.pid': 4711,
            'host.names': ['a', 'b'],
        }),
        spanProcessors: [new BatchSpanProcessor(recorder)],
        spanLimits: { attributeCountLimit: 16, eventCountLimit: 5 },
    });
    act(provider, at);
    await provider.forceFlush();
    await provider.shutdown();
    if (recorder.results.length !== 1 || recorder.results[0].code !== 0)
        throw new Error(
            `the SDK's export ended with ${JSON.stringify(recorder.results, errorText)}`,
        );
    return recorder.spans;
}

const errorText = (_, v) => (v instanceof Error ? v.message : v);

/* ---- what must come back, in the canonical form of otlp.mjs ---- */

const ns = ([s, n]) => String(BigInt(s) * 1000000000n + BigInt(n));

function anyValue(v) {
    if (Array.isArray(v)) return { arrayValue: v.map(anyValue) };
    if (typeof v === 'string') return { stringValue: v };
    if (typeof v === 'boolean') return { boolValue: v };
    return Number.isInteger(v) ? { intValue: String(v) } : { doubleValue: v };
}

const attributes = (map = {}) =>
    Object.keys(map)
        .sort()
        .map((key) => [key, anyValue(map[key])]);

const dense = (o) =>
    Object.fromEntries(Object.entries(o).filter(([, v]) => v && (!Array.isArray(v) || v.length)));

const spanOf = (s) => ({
    ...dense({
        traceId: s.spanContext().traceId,
        spanId: s.spanContext().spanId,
        parentSpanId: s.parentSpanId,
        name: s.name,
        kind: s.kind + 1,
        startTimeUnixNano: ns(s.startTime),
        endTimeUnixNano: ns(s.endTime),
        attributes: attributes(s.attributes),
        droppedAttributesCount: s.droppedAttributesCount,
        events: s.events.map((e) =>
            dense({
                timeUnixNano: ns(e.time),
                name: e.name,
                attributes: attributes(e.attributes),
                droppedAttributesCount: e.droppedAttributesCount,
            }),
        ),
        droppedEventsCount: s.droppedEventsCount,
        links: s.links.map((l) =>
            dense({
                traceId: l.context.traceId,
                spanId: l.context.spanId,
                attributes: attributes(l.attributes),
                droppedAttributesCount: l.droppedAttributesCount,
            }),
        ),
        droppedLinksCount: s.droppedLinksCount,
    }),
    status: dense({ code: s.status.code, message: s.status.message }),
});

/* The SDK sends one ResourceSpans with a ScopeSpans for each tracer. */
export function wanted(spans) {
    const scopes = new Map();
    for (const s of spans) {
        const { name, version } = s.instrumentationLibrary;
        const key = JSON.stringify([name, version]);
        if (!scopes.has(key)) scopes.set(key, { scope: dense({ name, version }), spans: [] });
        scopes.get(key).spans.push(spanOf(s));
    }
    return [
        {
            resource: dense({ attributes: attributes(spans[0].resource.attributes) }),
            scopeSpans: [...scopes.values()].map(({ scope, spans: some }) => ({
                scope,
                spans: sorted(some),
            })),
        },
    ];
}
