/* Tempo's own blocks, served in place, give Tempo's own answers; and what Rubato builds from the
 * same input answers the same. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { flat, fromAnswer, fromInput, sendHttp, spansOf, unordered } from './lib/otlp.mjs';
import { assertTrace, built, get, metric, traceInAllForms } from './lib/query.mjs';
import { Rubato, root } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

const data = path.join(root, 'tests/data');
const fixtures = path.join(data, 'fixtures');
const json = (...parts) => JSON.parse(fs.readFileSync(path.join(...parts), 'utf8'));
const tenants = ['single-tenant', 'acme', 'sharded'];

/* What Tempo 2.7 answered, by name: {id, v1, v2}. */
function answersOf(tenant) {
    const ids = json(fixtures, 'input', tenant, 'trace-ids.json');
    return Object.entries(ids).map(([name, id]) => ({
        name,
        id,
        v1: fromAnswer(json(fixtures, 'expected', tenant, `${name}.v1.json`).batches),
        v2: fromAnswer(json(fixtures, 'expected', tenant, `${name}.v2.json`).trace.resourceSpans),
    }));
}

describe("Tempo's blocks in place", { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: the trace cases of the conformance set`, async (t) => {
            const store = await driver.open();
            await putTree(store, path.join(data, 'conformance/blocks'));
            const rubato = await Rubato.start({ store, config: { multitenancy_enabled: true } });
            t.after(() => rubato.cleanUp());
            const cases = path.join(data, 'conformance/trace-cases.jsonl.xz');
            const checker = path.join(root, 'tests/conformance/conformance.py');
            const said = await promisify(execFile)('python3', [
                checker,
                'check',
                cases,
                rubato.api,
                '-v',
            ]).catch((e) => e);
            assert.match(said.stdout, /^153 passed, 0 failed$/m, `${said.stdout}${said.stderr}`);
            assert.equal(said.code ?? 0, 0);
            assert.deepEqual(rubato.errorLines(), []);
        });

        test(`on ${driver.kind}: every kind of column, shards, row groups`, async (t) => {
            const store = await driver.open();
            await putTree(store, path.join(fixtures, 'blocks'));
            const rubato = await Rubato.start({ store, config: { multitenancy_enabled: true } });
            t.after(() => rubato.cleanUp());
            for (const tenant of tenants) {
                await t.test(tenant, async () => {
                    for (const { name, id, v1, v2 } of answersOf(tenant)) {
                        const got = await traceInAllForms(rubato, id, {
                            tenant,
                            params: { mode: 'blocks' },
                        });
                        for (const [form, trace] of Object.entries(got)) {
                            const want = form.startsWith('v1') ? v1 : v2;
                            assert.deepStrictEqual(
                                unordered(trace),
                                unordered(want),
                                `${tenant}/${name}, ${form}`,
                            );
                        }
                    }
                });
            }
            await t.test("no tenant sees another's traces", async () => {
                for (const tenant of tenants) {
                    const other = tenants.find((x) => x !== tenant);
                    const ids = new Set(answersOf(other).map((a) => a.id));
                    for (const { id } of answersOf(tenant)) {
                        if (ids.has(id)) continue;
                        assert.equal(
                            (await get(rubato, `/api/traces/${id}`, { tenant: other })).status,
                            404,
                        );
                    }
                }
                assert.equal((await get(rubato, '/api/search')).status, 401, 'without a tenant');
            });
            assert.deepEqual(rubato.errorLines(), []);
        });
    }
});

/* As the fixtures' blocks were written (README of the fixtures). */
const settings = {
    'single-tenant': {},
    acme: {
        parquet_dedicated_columns: [
            { scope: 'resource', name: 'deployment.environment', type: 'string' },
            { scope: 'resource', name: 'host.name', type: 'string' },
            { scope: 'span', name: 'db.statement', type: 'string' },
            { scope: 'span', name: 'messaging.system', type: 'string' },
            { scope: 'span', name: 'enduser.id', type: 'string' },
        ],
    },
    sharded: { bloom_filter_shard_size_bytes: 50, parquet_row_group_size_bytes: 4000 },
};

/* The requests as text: numbers such as -0 do not survive being written again. */
const inputsOf = (tenant) =>
    fs
        .readdirSync(path.join(fixtures, 'input', tenant))
        .filter((f) => f !== 'trace-ids.json')
        .sort()
        .map((f) => fs.readFileSync(path.join(fixtures, 'input', tenant, f), 'utf8'));

/* Their shared span ids are answered anew, as Tempo does. */
const rewritten = ['zipkin', 'triple'];

/* What the requests say of one trace, each span once. */
function sentOf(requests, id) {
    const seen = new Set();
    return requests
        .flatMap((r) => fromInput(r))
        .flatMap((rs) =>
            rs.scopeSpans.map((ss) => ({
                resource: rs.resource,
                scopeSpans: [
                    {
                        scope: ss.scope,
                        spans: ss.spans.filter((s) => {
                            const key = `${s.spanId} ${s.kind}`;
                            return s.traceId === id && !seen.has(key) && seen.add(key);
                        }),
                    },
                ],
            })),
        );
}

describe('blocks that Rubato builds from the same input', { concurrency: true }, () => {
    for (const driver of drivers) {
        for (const tenant of tenants) {
            test(`on ${driver.kind}: ${tenant}`, async (t) => {
                const store = await driver.open();
                const rubato = await Rubato.start({
                    store,
                    config: {
                        multitenancy_enabled: true,
                        /* Built when a filler passes it: after the segments have been asked. */
                        block_builder: { window: '1h', max_bytes: 512 << 10 },
                        storage: { trace: { block: settings[tenant] } },
                    },
                });
                t.after(() => rubato.cleanUp());
                const texts = inputsOf(tenant);
                const inputs = texts.map((text) => JSON.parse(text));
                const answers = answersOf(tenant);
                await Promise.all(
                    texts.map((text, i) =>
                        sendHttp(rubato, i % 2 === 0 ? text : inputs[i], {
                            tenant,
                            json: i % 2 === 0,
                            gzip: i % 3 === 0,
                        }),
                    ),
                );

                await t.test('from segments nothing is lost', async () => {
                    for (const { name, id } of answers) {
                        if (!rewritten.includes(name))
                            await assertTrace(rubato, id, sentOf(inputs, id), { tenant }, flat);
                    }
                });
                await t.test("from blocks, Tempo's answers", async () => {
                    const filler = makeRequest({
                        service: 'filler',
                        spans: 600,
                        filler: 'x'.repeat(1000),
                    });
                    await sendHttp(rubato, filler.body, { tenant: 'filler' });
                    const spans = inputs.flatMap((r) => spansOf(fromInput(r))).length;
                    await built(rubato, spans + filler.spanIds.length);
                    for (const { id, v1 } of answers)
                        await assertTrace(
                            rubato,
                            id,
                            v1,
                            { tenant, params: { mode: 'blocks' } },
                            flat,
                        );
                });
                await t.test('in one block, with as many shards as asked for', async () => {
                    const objects = await store.list(`${tenant}/`);
                    assert.equal(objects.filter((k) => k.endsWith('/meta.json')).length, 1);
                    const shards = objects.filter((k) => /\/bloom-\d+$/.test(k)).length;
                    if (settings[tenant].bloom_filter_shard_size_bytes)
                        assert.ok(shards > 1, `${shards} shards`);
                    else assert.equal(shards, 1);
                    const meta = JSON.parse(
                        await store.get(objects.find((k) => k.endsWith('/meta.json'))),
                    );
                    assert.equal(
                        meta.totalObjects,
                        new Set(
                            inputs.flatMap((r) =>
                                spansOf(fromInput(r)).map((span) => span.traceId),
                            ),
                        ).size,
                    );
                    assert.deepEqual(
                        meta.dedicatedColumns?.map((c) => c.n),
                        settings[tenant].parquet_dedicated_columns?.map((c) => c.name),
                    );
                    assert.equal(await metric(rubato, 'block_builder_failures_total'), 0);
                });
                assert.deepEqual(rubato.errorLines(), []);
            });
        }
    }
});
