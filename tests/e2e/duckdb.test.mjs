/* Two other readers of Parquet, DuckDB and Arrow's (arrow-rs, as parquet-wasm), open the blocks
 * that Rubato writes: they find what was sent, and the schema and metadata that Tempo writes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import * as arrow from 'apache-arrow';
import { request } from './lib/http.mjs';
import { flat, fromInput, fromProtobuf, sendHttp, spansOf } from './lib/otlp.mjs';
import { built } from './lib/query.mjs';
import { Rubato, root, tempDir } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

const parquetWasm = createRequire(import.meta.url)('parquet-wasm/node');
const data = path.join(root, 'tests/data');
const fixtures = path.join(data, 'fixtures');

const duck = await (await DuckDBInstance.create(':memory:')).connect();
const sql = async (text) => (await duck.runAndReadAll(text)).getRowObjectsJS();

/* ---- blocks ---- */

/* As the fixtures' blocks were written. */
const dedicated = [
    { scope: 'resource', name: 'deployment.environment', type: 'string' },
    { scope: 'resource', name: 'host.name', type: 'string' },
    { scope: 'span', name: 'db.statement', type: 'string' },
    { scope: 'span', name: 'messaging.system', type: 'string' },
    { scope: 'span', name: 'enduser.id', type: 'string' },
];
const settings = {
    acme: { parquet_dedicated_columns: dedicated },
    sharded: { parquet_row_group_size_bytes: 4000 },
};

function framesOf(name) {
    const all = fs.readFileSync(path.join(data, 'otlp', `${name}.frames`));
    const out = [];
    for (let at = 0; at < all.length; at += 4 + all.readUInt32BE(at))
        out.push(all.subarray(at + 4, at + 4 + all.readUInt32BE(at)));
    return out;
}

const inputsOf = (tenant) =>
    fs
        .readdirSync(path.join(fixtures, 'input', tenant))
        .filter((f) => f !== 'trace-ids.json')
        .sort()
        .map((f) => fs.readFileSync(path.join(fixtures, 'input', tenant, f), 'utf8'));

/* The one block of what send sends, as a file and its meta. */
async function blockOf(name, send, spans) {
    const store = await drivers[0].open();
    const rubato = await Rubato.start({
        store,
        config: {
            multitenancy_enabled: true,
            /* Built when the filler passes it. */
            block_builder: { window: '1h', max_bytes: 512 << 10 },
            storage: { trace: { block: settings[name] ?? {} } },
        },
    });
    try {
        await send(rubato);
        const filler = makeRequest({ service: 'filler', spans: 600, filler: 'x'.repeat(1000) });
        await sendHttp(rubato, filler.body, { tenant: 'filler' });
        await built(rubato, spans + filler.spanIds.length);
        const keys = await store.list(`${name}/`);
        const metas = keys.filter((k) => k.endsWith('/meta.json'));
        assert.equal(metas.length, 1);
        const file = path.join(tempDir('duckdb'), `${name}.parquet`);
        const bytes = await store.get(metas[0].replace('meta.json', 'data.parquet'));
        fs.writeFileSync(file, bytes);
        return { file, meta: JSON.parse(await store.get(metas[0])) };
    } finally {
        await rubato.cleanUp();
    }
}

function blockOfInputs(tenant) {
    const texts = inputsOf(tenant);
    const spans = texts.flatMap((t) => spansOf(fromInput(JSON.parse(t)))).length;
    const send = (rubato) =>
        Promise.all(texts.map((text) => sendHttp(rubato, text, { tenant, json: true })));
    return blockOf(tenant, send, spans);
}

function blockOfFrames(name) {
    const frames = framesOf(name);
    const spans = frames.flatMap((f) => spansOf(fromProtobuf(f))).length;
    const send = async (rubato) => {
        for (const body of frames) {
            const headers = { 'content-type': 'application/x-protobuf', 'x-scope-orgid': name };
            const r = await request(rubato.otlpHttp, { method: 'POST', body, headers });
            assert.equal(r.status, 200, r.text);
        }
    };
    return blockOf(name, send, spans);
}

/* Tempo's block of the same input, the newest if there are several. */
function tempoBlock(tenant) {
    const dir = path.join(fixtures, 'blocks', tenant);
    const id = fs.readdirSync(dir).find((d) => fs.existsSync(path.join(dir, d, 'meta.json')));
    return {
        file: path.join(dir, id, 'data.parquet'),
        meta: JSON.parse(fs.readFileSync(path.join(dir, id, 'meta.json'), 'utf8')),
    };
}

/* ---- rows as OTLP ---- */

/* Vectors and rows of Arrow, values of DuckDB: both as plain objects. */
function plain(v) {
    if (v === null || v === undefined || typeof v !== 'object') return v;
    if (v instanceof Uint8Array) return Buffer.from(v).toString('hex');
    if (v instanceof arrow.Vector || Array.isArray(v)) return Array.from(v, plain);
    return Object.fromEntries(Object.entries(v.toJSON?.() ?? v).map(([k, x]) => [k, plain(x)]));
}

const wrap = BigInt.asUintN.bind(null, 64);
const long = (v) => String(BigInt(v));

function valueOf(attr) {
    const kinds = [
        ['Value', (x) => ({ stringValue: x })],
        ['ValueInt', (x) => ({ intValue: long(x) })],
        ['ValueDouble', (x) => ({ doubleValue: x })],
        ['ValueBool', (x) => ({ boolValue: x })],
    ];
    const found = kinds.filter(([column]) => attr[column].length > 0);
    assert.ok(found.length <= 1, `attribute ${attr.Key} has values of several kinds`);
    const values = found.flatMap(([column, make]) => attr[column].map(make));
    if (attr.IsArray) return { arrayValue: { values } };
    assert.ok(values.length <= 1, `attribute ${attr.Key} has ${values.length} values`);
    return values[0] ?? JSON.parse(attr.ValueUnsupported ?? '{}');
}

const attributesOf = (group) => group.Attrs.map((a) => ({ key: a.Key, value: valueOf(a) }));

/* Columns of their own: by name, and those that the block dedicates. */
function columnsOf(group, names, scope, meta) {
    const own = (meta.dedicatedColumns ?? []).filter((c) => (c.s ?? 'span') === scope);
    const all = [
        ...names.map(([column, key]) => [group[column], key]),
        ...own.map((c, i) => [
            group.DedicatedAttributes[`String${String(i + 1).padStart(2, '0')}`],
            c.n,
        ]),
    ];
    return all
        .filter(([v]) => v !== null)
        .map(([v, key]) => ({
            key,
            value: typeof v === 'string' ? { stringValue: v } : { intValue: long(v) },
        }));
}

const resourceColumns = [
    ['Cluster', 'cluster'],
    ['Namespace', 'namespace'],
    ['Pod', 'pod'],
    ['Container', 'container'],
    ['K8sClusterName', 'k8s.cluster.name'],
    ['K8sNamespaceName', 'k8s.namespace.name'],
    ['K8sPodName', 'k8s.pod.name'],
    ['K8sContainerName', 'k8s.container.name'],
];
const spanColumns = [
    ['HttpMethod', 'http.method'],
    ['HttpUrl', 'http.url'],
    ['HttpStatusCode', 'http.status_code'],
];

function resourceOf(r, meta) {
    const service = r.ServiceName ? [['ServiceName', 'service.name']] : [];
    const named = [...service, ...resourceColumns];
    return {
        attributes: [...attributesOf(r), ...columnsOf(r, named, 'resource', meta)],
        droppedAttributesCount: r.DroppedAttributesCount,
    };
}

const scopeOf = (s) => ({
    name: s.Name,
    version: s.Version,
    attributes: attributesOf(s),
    droppedAttributesCount: s.DroppedAttributesCount,
});

function spanOf(s, traceId, meta) {
    const start = BigInt(s.StartTimeUnixNano);
    return {
        traceId,
        spanId: s.SpanID,
        parentSpanId: s.ParentSpanID,
        traceState: s.TraceState,
        name: s.Name,
        kind: Number(s.Kind),
        startTimeUnixNano: long(start),
        endTimeUnixNano: long(wrap(start + BigInt(s.DurationNano))),
        status: { code: Number(s.StatusCode), message: s.StatusMessage },
        attributes: [...attributesOf(s), ...columnsOf(s, spanColumns, 'span', meta)],
        droppedAttributesCount: s.DroppedAttributesCount,
        events: s.Events.map((e) => ({
            timeUnixNano: long(wrap(start + BigInt(e.TimeSinceStartNano))),
            name: e.Name,
            attributes: attributesOf(e),
            droppedAttributesCount: e.DroppedAttributesCount,
        })),
        droppedEventsCount: s.DroppedEventsCount,
        links: s.Links.map((l) => ({
            traceId: l.TraceID,
            spanId: l.SpanID,
            traceState: l.TraceState,
            attributes: attributesOf(l),
            droppedAttributesCount: l.DroppedAttributesCount,
        })),
        droppedLinksCount: s.DroppedLinksCount,
    };
}

/* Rows of (trace id, resource, scope, span), each span with all that belongs to it. */
const spansOfRows = (rows, meta) =>
    flat(
        fromInput({
            resourceSpans: rows.map((r) => ({
                resource: resourceOf(r.resource, meta),
                scopeSpans: [
                    { scope: scopeOf(r.scope), spans: [spanOf(r.span, r.traceId, meta)] },
                ],
            })),
        }),
    );

const unnested = (file) => `
    with resources as (select TraceID, unnest(rs) as r from '${file}'),
         scopes as (select TraceID, r.Resource as resource, unnest(r.ss) as s from resources),
         spans as (select TraceID as traceId, resource, s.Scope as scope, unnest(s.Spans) as span
                   from scopes)`;

async function byDuckdb({ file, meta }) {
    const rows = await sql(`${unnested(file)} select * from spans`);
    return spansOfRows(plain(rows), meta);
}

const arrowRows = (file) =>
    plain(
        arrow
            .tableFromIPC(parquetWasm.readParquet(fs.readFileSync(file)).intoIPCStream())
            .toArray(),
    );

function byArrow({ file, meta }) {
    const rows = arrowRows(file).flatMap((t) =>
        t.rs.flatMap(({ Resource: resource, ss }) =>
            ss.flatMap(({ Scope: scope, Spans }) =>
                Spans.map((span) => ({ traceId: t.TraceID, resource, scope, span })),
            ),
        ),
    );
    return spansOfRows(rows, meta);
}

/* ---- tests ---- */

const durationOf = (s) => BigInt(s.endTimeUnixNano ?? 0) - BigInt(s.startTimeUnixNano ?? 0);

describe('blocks of ordinary traffic', () => {
    const sent = framesOf('shop').flatMap((f) => fromProtobuf(f));
    let block;
    before(async () => (block = await blockOfFrames('shop')));

    test('DuckDB counts spans and sums durations', async () => {
        const [got] = await sql(`${unnested(block.file)}
            select count(*) as spans, sum(span.DurationNano)::varchar as durations,
                   count(distinct span.SpanID) as ids, count(distinct traceId) as traces
            from spans`);
        const spans = spansOf(sent);
        assert.deepEqual(got, {
            spans: BigInt(spans.length),
            durations: String(spans.map(durationOf).reduce((a, b) => a + b)),
            ids: BigInt(new Set(spans.map((s) => s.spanId)).size),
            traces: BigInt(new Set(spans.map((s) => s.traceId)).size),
        });
    });

    test('DuckDB lists the keys of attributes and how often each stands', async () => {
        const rows = await sql(`${unnested(block.file)},
            keys as (select unnest(span.Attrs).Key as key from spans)
            select key, count(*) as n from keys group by key`);
        const own = new Set(spanColumns.map(([, key]) => key));
        const want = new Map();
        for (const [key] of spansOf(sent).flatMap((s) => s.attributes ?? []))
            if (!own.has(key)) want.set(key, (want.get(key) ?? 0n) + 1n);
        assert.deepEqual(new Map(rows.map((r) => [r.key, r.n])), want);
    });

    test('DuckDB reads every span as it was sent', async () => {
        assert.deepStrictEqual(await byDuckdb(block), flat(sent));
    });

    test("Arrow's reader reads every span as it was sent", () => {
        assert.deepStrictEqual(byArrow(block), flat(sent));
    });

    test('a predicate that statistics, indexes and dictionaries serve finds the same', async () => {
        const spans = flat(sent).map((x) => x.span);
        const { name, startTimeUnixNano: start } = spans[spans.length >> 1];
        for (const [where, holds] of [
            [`span.Name = '${name}'`, (s) => s.name === name],
            [`span.StartTimeUnixNano = ${start}`, (s) => s.startTimeUnixNano === start],
            ["span.Name = 'no such name'", () => false],
        ]) {
            const [{ n }] = await sql(
                `${unnested(block.file)} select count(*) as n from spans where ${where}`,
            );
            assert.equal(Number(n), spans.filter(holds).length, where);
        }
        for (const id of new Set(spans.map((s) => s.traceId))) {
            const text = id.replace(/^0+/, '');
            const [{ n }] = await sql(
                `select count(*) as n from '${block.file}' where TraceIDText = '${text}'`,
            );
            assert.equal(Number(n), 1, id);
        }
    });
});

test('a block of every kind of value reads the same by DuckDB and by Arrow', async () => {
    const block = await blockOfFrames('edge');
    const rows = await byDuckdb(block);
    assert.ok(rows.length > 0);
    assert.deepStrictEqual(byArrow(block), rows);
});

describe("beside Tempo's block of the same input", { concurrency: true }, () => {
    const columns = 'name, type, repetition_type, num_children, converted_type, logical_type';
    /* Tempo 2.7 repeats a resource for each of its scopes, so its entries are more. */
    const repeated = /, (Resource|Scope), /;

    for (const tenant of ['single-tenant', 'acme', 'sharded']) {
        test(tenant, async (t) => {
            const ours = await blockOfInputs(tenant);
            const tempo = tempoBlock(tenant);

            await t.test('the schema is the same, element by element', async () => {
                const of = ({ file }) => sql(`select ${columns} from parquet_schema('${file}')`);
                const got = await of(ours);
                assert.equal(got.length, 181);
                assert.deepEqual(got, await of(tempo));
            });

            /* Bounds: where there is one row group; others may be cut elsewhere. */
            await t.test('each column has the same entries, nulls and bounds', async () => {
                const of = ({ file }) =>
                    sql(`select path_in_schema as path, type, sum(num_values) as entries,
                             sum(coalesce(stats_null_count, 0)) as nulls,
                             if(count(*) = 1, any_value(stats_min_value), null) as min,
                             if(count(*) = 1, any_value(stats_max_value), null) as max
                         from parquet_metadata('${file}')
                         group by path, type, column_id order by column_id`);
                const got = await of(ours);
                const same = (c) =>
                    repeated.test(c.path) ? { ...c, entries: undefined, nulls: undefined } : c;
                assert.equal(got.length, 103);
                assert.deepEqual(got.map(same), (await of(tempo)).map(same));
            });

            await t.test('every span is the same', async () => {
                const want = await byDuckdb(tempo);
                assert.deepStrictEqual(await byDuckdb(ours), want);
                assert.deepStrictEqual(byArrow(ours), want);
            });

            await t.test('row by row, all other columns are the same', async () => {
                const rest = `select * exclude (rs, ServiceStats),
                    list_sort(list_transform(map_entries(ServiceStats), x -> x::varchar)) as stats`;
                const of = ({ file }) => sql(`${rest} from '${file}' order by TraceID`);
                assert.deepStrictEqual(plain(await of(ours)), plain(await of(tempo)));
            });

            /* Of the third, row groups are cut elsewhere, and each has its part of the footer. */
            if (tenant === 'sharded') return;
            await t.test('it is no larger', () => {
                assert.ok(fs.statSync(ours.file).size <= fs.statSync(tempo.file).size);
            });
        });
    }
});
