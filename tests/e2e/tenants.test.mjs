/* Tenants: limits of their own that change while the program runs, and questions over several. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, after, describe, test } from 'node:test';
import { sendHttp, spansOf } from './lib/otlp.mjs';
import { get, search, trace } from './lib/query.mjs';
import { Rubato, tempDir, toYaml } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest, newTraceId } from './lib/traces.mjs';
import { until } from './lib/wait.mjs';

const local = drivers.find((d) => d.kind === 'local');

/* ---- blocks ---- */

test('a tenant has dedicated columns of its own', async () => {
    const column = (scope, name, type = 'string') => ({ scope, name, type });
    const file = path.join(tempDir('overrides'), 'columns.yaml');
    const own = [
        column('span', 'a'),
        column('span', 'http.url'), /* has a column anyway */
        column('span', 'n', 'int'), /* not in vParquet4 */
        column('resource', 'b'),
    ];
    const overrides = { own: { storage: { parquet_dedicated_columns: own } } };
    fs.writeFileSync(file, toYaml({ overrides }));
    const store = await local.open();
    const rubato = await Rubato.start({
        store,
        config: {
            multitenancy_enabled: true,
            block_builder: { window: '100ms' },
            overrides: { per_tenant_override_config: file },
            storage: {
                trace: { block: { parquet_dedicated_columns: [column('resource', 'host.name')] } },
            },
        },
    });
    try {
        for (const [tenant, want] of [
            ['own', [{ n: 'a' }, { s: 'resource', n: 'b' }]],
            ['other', [{ s: 'resource', n: 'host.name' }]],
        ]) {
            await sendHttp(rubato, makeRequest({ service: tenant, spans: 2 }).body, { tenant });
            const key = await until(`a block of ${tenant}`, 20000, async () => {
                const keys = await store.list(`${tenant}/`);
                const meta = keys.find((k) => k.endsWith('/meta.json'));
                if (!meta) throw new Error('not yet');
                return meta;
            });
            assert.deepEqual(JSON.parse(await store.get(key)).dedicatedColumns, want);
        }
    } finally {
        await rubato.cleanUp();
    }
});

/* ---- limits ---- */

describe('limits of a tenant', () => {
    let rubato, file;
    /* In one step, or a reader may meet half a file. */
    const writeText = (text) => {
        fs.writeFileSync(`${file}.new`, text);
        fs.renameSync(`${file}.new`, file);
    };
    const write = (overrides) => writeText(toYaml({ overrides }));

    before(async () => {
        file = path.join(tempDir('overrides'), 'limits.yaml');
        write({
            small: { ingestion: { rate_limit_bytes: 10, burst_size_bytes: 10 } },
            '"*"': { ingestion: { max_attribute_bytes: 16 } },
        });
        rubato = await Rubato.start({
            store: await local.open(),
            config: {
                multitenancy_enabled: true,
                overrides: { per_tenant_override_config: file, per_tenant_override_period: '50ms' },
            },
        });
    });
    after(() => rubato.cleanUp());

    const send = (tenant, options = {}) => {
        const r = makeRequest({ service: tenant, spans: 2, ...options });
        return sendHttp(rubato, r.body, { tenant }).then(
            () => r,
            (e) => e,
        );
    };

    test('hold for it alone and change with the file', async () => {
        assert.ok((await send('large')).traceId);
        const refused = await send('small');
        assert.equal(refused.status, 429, refused.message);
        write({ small: { global: { max_bytes_per_trace: 200 } } });
        const r = await until('the tenant may send', 10000, async () => {
            const sent = await send('small', { filler: 'x'.repeat(40) });
            if (!sent.traceId) throw sent;
            return sent;
        });
        /* What is stored is whole; an answer has what the limit allows. */
        const v1 = await get(rubato, `/api/traces/${r.traceId}`, { tenant: 'small' });
        assert.equal(`${v1.status} ${v1.text}`, '422 trace exceeds max size (max bytes: 200)');
        const v2 = await get(rubato, `/api/v2/traces/${r.traceId}`, { tenant: 'small' });
        assert.equal(JSON.parse(v2.text).status, 'PARTIAL');
    });

    test('of searches and metrics', async () => {
        write({ brief: { read: { max_search_duration: '1h', max_metrics_duration: '30m' } } });
        const range = { start: 1000, end: 5000 };
        const ask = (p, params, tenant) =>
            get(rubato, p, { params, tenant }).then((r) => `${r.status} ${r.text}`);
        await until('the limit is read', 10000, async () => {
            assert.equal(
                await ask('/api/search', { q: '{}', ...range }, 'brief'),
                '400 range specified by start and end exceeds 1h0m0s. received start=1000 end=5000',
            );
            return true;
        });
        const metrics = { q: '{} | rate()', ...range };
        const tooLong = /^400 .*metrics query time range exceeds the maximum allowed duration of 30m0s/;
        assert.match(await ask('/api/metrics/query_range', metrics, 'brief'), tooLong);
        assert.match(await ask('/api/v2/search/tags', range, 'brief'), /^400 range/);
        /* The strictest of all that are asked. */
        assert.match(await ask('/api/metrics/query_range', metrics, 'other|brief'), tooLong);
        assert.match(await ask('/api/search', { q: '{}', ...range }, 'other'), /^200/);
    });

    test('that cannot be read change nothing, and the log and a metric say so', async () => {
        write({ small: { ingestion: { rate_limit_bytes: 10, burst_size_bytes: 10 } } });
        await until('the tenant is limited', 10000, async () => {
            const e = await send('small');
            assert.equal(e.status, 429);
            return true;
        });
        writeText('overrides:\n  small: {ingestion: {rate_limit_bytes: lots}}\n');
        const reloaded = async (value) => {
            const { text } = await get(rubato, '/metrics');
            assert.match(
                text,
                new RegExp(
                    `tempo_runtime_config_last_reload_successful{config="overrides"} ${value}\n`,
                ),
            );
            return true;
        };
        await until('the fault is seen', 10000, () => reloaded(0));
        assert.equal((await send('small')).status, 429);
        assert.match(
            rubato.stderr,
            /level=error room=overrides msg="limits of tenants" note="limits.yaml:2: overrides.small.ingestion.rate_limit_bytes: expected a size/,
        );
        write({});
        await until('the file is good again', 10000, () => reloaded(1));
        assert.ok((await send('small')).traceId);
    });

    test('are shown', async () => {
        write({ 'a.b': { ingestion: { rate_limit_bytes: 7 } } });
        const json = { accept: 'application/json' };
        const page = (p, headers) => get(rubato, p, { headers });
        await until('the list has it', 10000, async () => {
            const { tenants } = JSON.parse((await page('/status/overrides', json)).text);
            assert.deepEqual(tenants, [
                {
                    name: 'a.b',
                    has_runtime_overrides: true,
                    has_user_configurable_overrides: false,
                },
            ]);
            return true;
        });
        const html = await page('/status/overrides');
        assert.equal(html.headers['content-type'], 'text/html; charset=utf-8');
        assert.match(html.text, /<a href="overrides\/a\.b">a\.b<\/a>/);
        const one = JSON.parse((await page('/status/overrides/a%2eb', json)).text);
        assert.equal(one.using_default_or_wildcard_runtime_overrides, false);
        assert.match(one.runtime_overrides, /rate_limit_bytes: 7 # tenant\n/);
        const other = await page('/status/overrides/nobody');
        assert.match(other.text, /rate_limit_bytes: 30000000 # defaults\n/);
        assert.equal((await page('/status/overrides/a%2')).status, 400);
        const diff = await page('/status/runtime_config?mode=diff');
        assert.equal(
            diff.text,
            'GET /status/runtime_config\n---\noverrides:\n  "a.b":\n    ingestion:\n' +
                '        rate_limit_bytes: 7\nuser_configurable_overrides: {}\n\n',
        );
    });
});

/* ---- several in one question ---- */

describe('a question over several tenants', () => {
    let rubato;
    const shared = newTraceId();
    const requests = {
        a: makeRequest({ service: 'shop', spans: 3 }),
        b: makeRequest({ service: 'shop', spans: 5 }),
        c: makeRequest({ service: 'bank', spans: 2 }),
    };
    const halves = {
        a: makeRequest({ service: 'left', traceId: shared, spans: 2 }),
        b: makeRequest({ service: 'right', traceId: shared, spans: 4 }),
    };

    before(async () => {
        rubato = await Rubato.start({
            store: await local.open(),
            config: { multitenancy_enabled: true },
        });
        for (const [tenant, r] of [...Object.entries(requests), ...Object.entries(halves)])
            await sendHttp(rubato, r.body, { tenant });
    });
    after(() => rubato.cleanUp());

    const ids = async (tenant, params = {}) =>
        (await search(rubato, { q: '{ resource.service.name =~ "shop|bank" }', ...params }, { tenant }))
            .map((x) => x.traceID)
            .sort();

    test('finds what each of them has, once', async () => {
        const { a, b, c } = requests;
        assert.deepEqual(await ids('a'), [a.traceId]);
        assert.deepEqual(await ids('a|b'), [a.traceId, b.traceId].sort());
        assert.deepEqual(await ids('c|a|a|c|b'), [a.traceId, b.traceId, c.traceId].sort());
        assert.equal((await ids('a|b|c', { limit: 2 })).length, 2);
        assert.deepEqual(await ids('a|nobody'), [a.traceId]);
    });

    test('puts a trace together', async () => {
        const answer = await trace(rubato, shared, { tenant: 'b|a' });
        assert.deepEqual(
            new Set(spansOf(answer).map((s) => s.spanId)),
            new Set([...halves.a.spanIds, ...halves.b.spanIds]),
        );
        assert.equal(spansOf(await trace(rubato, shared, { tenant: 'a' })).length, 2);
        assert.equal(await trace(rubato, requests.c.traceId, { tenant: 'a|b' }), null);
        const [found] = await search(
            rubato,
            { q: `{ trace:id = "${shared}" }`, spss: 100 },
            { tenant: 'a|b' },
        );
        assert.deepEqual(Object.keys(found.serviceStats).sort(), ['left', 'right']);
    });

    test('collects tags and values, and adds numbers up', async () => {
        const json = async (p, tenant, params) => {
            const r = await get(rubato, p, { tenant, params });
            assert.equal(r.status, 200, r.text);
            return JSON.parse(r.text);
        };
        const values = async (tenant) =>
            (await json('/api/search/tag/service.name/values', tenant)).tagValues.sort();
        assert.deepEqual(await values('a|c'), ['bank', 'left', 'shop']);
        assert.deepEqual(await values('c'), ['bank']);
        const { tagNames } = await json('/api/search/tags', 'a|b|c');
        assert.ok(tagNames.includes('filler'));
        const end = Math.ceil(Date.now() / 1000) + 60;
        const { series } = await json('/api/metrics/query_range', 'a|b|c', {
            q: '{} | count_over_time() by (resource.service.name)',
            start: end - 600,
            end,
            step: '60s',
        });
        const sums = Object.fromEntries(
            series.map((s) => [
                s.labels[0].value.stringValue,
                s.samples.reduce((n, x) => n + (x.value ?? 0), 0),
            ]),
        );
        assert.deepEqual(sums, { shop: 8, bank: 2, left: 2, right: 4 });
    });

    test('is refused when a name is no name, and nobody writes to several', async () => {
        const ask = (tenant) =>
            get(rubato, '/api/search', { tenant }).then((r) => `${r.status} ${r.text}`);
        assert.equal(await ask('a|b/c'), "400 tenant ID 'b/c' contains unsupported character '/'");
        assert.match(await ask('a||b'), /^400 tenant ID is empty/);
        assert.equal(await ask(''), '401 no org id\n');
        await assert.rejects(
            sendHttp(rubato, requests.a.body, { tenant: 'a|b' }),
            /400.*tenant ID 'a\|b' contains unsupported character '\|'/s,
        );
    });

    test('is refused where that is turned off', async (t) => {
        const strict = await Rubato.start({
            store: await local.open(),
            config: {
                multitenancy_enabled: true,
                query_frontend: { multi_tenant_queries_enabled: false },
            },
        });
        t.after(() => strict.cleanUp());
        const r = await get(strict, '/api/search', { tenant: 'a|b' });
        assert.equal(
            `${r.status} ${r.text}`,
            "400 tenant ID 'a|b' contains unsupported character '|'",
        );
    });
});
