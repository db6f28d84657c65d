/* /api/metrics/summary as Tempo 2.7 has it: the same from segments and from blocks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendHttp } from './lib/otlp.mjs';
import { built, get } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

const local = drivers.find((d) => d.kind === 'local');

async function summary(rubato, params) {
    const r = await get(rubato, '/api/metrics/summary', { params });
    assert.equal(r.status, 200, r.text);
    assert.match(r.headers['content-type'], /^application\/json/);
    return JSON.parse(r.text).summaries;
}

/* Spans of 5 ms, every fourth of a service with an error. */
const all = (spans, errors, service) => ({
    spanCount: String(spans),
    errorSpanCount: String(errors),
    series: [{ key: 'resource.service.name', value: { type: 5, s: service } }],
    p99: '8388608',
    p95: String(Math.floor(2 ** (22 + Math.ceil(spans * 0.95) / spans))),
    p90: String(Math.floor(2 ** (22 + Math.ceil(spans * 0.9) / spans))),
    p50: String(Math.floor(2 ** (22 + Math.ceil(spans * 0.5) / spans))),
});

async function assertAnswers(rubato) {
    const by = { groupBy: 'resource.service.name' };
    assert.deepEqual(await summary(rubato, { q: '{}', ...by }), [all(8, 2, 'cart'), all(40, 10, 'shop')]);
    const failed = await summary(rubato, { q: '{ status = error }', groupBy: ' status , span:kind,.none' });
    assert.deepEqual(failed.map((s) => [s.spanCount, s.errorSpanCount, s.series]), [
        ['12', '12', [{ key: 'status', value: { type: 12 } }, { key: 'kind', value: { type: 13, kind: 1 } },
            { key: '.none', value: {} }]],
    ]);
    assert.deepEqual(await summary(rubato, { q: '{ name = "nobody" }', ...by }), []);

    const now = Math.floor(Date.now() / 1000);
    const within = { q: '{}', ...by, start: now - 600, end: now + 600 };
    assert.equal((await summary(rubato, within)).length, 2);
    assert.deepEqual(await summary(rubato, { ...within, start: now - 600, end: now - 500 }), []);
    assert.equal((await summary(rubato, { q: '{}', ...by, start: now - 600 })).length, 2);
}

test('a summary is the same from segments and from blocks', async (t) => {
    const store = await local.open();
    const rubato = await Rubato.start({ store, config: { block_builder: { window: '3s' } } });
    t.after(() => rubato.cleanUp());
    await sendHttp(rubato, makeRequest({ service: 'shop', spans: 40 }).body);
    await sendHttp(rubato, makeRequest({ service: 'cart', spans: 8 }).body);
    await assertAnswers(rubato);
    assert.notEqual((await store.list('_rubato.wal.')).length, 0, 'these were answers from segments');
    await built(rubato, 48);
    await assertAnswers(rubato);
    assert.equal(await rubato.stop(), 0);
    assert.deepEqual(rubato.errorLines(), []);
});

test('what a summary cannot be made of is refused in words', async (t) => {
    const rubato = await Rubato.start({ store: await local.open() });
    t.after(() => rubato.cleanUp());
    const refused = async (params, want) => {
        const r = await get(rubato, '/api/metrics/summary', { params });
        assert.equal(r.status, 400, JSON.stringify(params));
        assert.equal(r.text, want);
    };
    const attribute = 'parsing groupby attribute: tag name is not valid intrinsic or scoped attribute: ';
    await refused({ q: '{}' }, attribute);
    await refused({ q: '{}', groupBy: 'foo' }, `${attribute}foo`);
    await refused({ q: '{}', groupBy: 'name) | rate(' }, `${attribute}name) | rate(`);
    await refused({ q: '{}', groupBy: 'name,name,name,name,name,name' }, 'max group by 5 attributes exceeded');
    await refused({ q: '{', groupBy: 'name' },
        'compiling query: parse error at line 1, col 2: syntax error: unexpected $end');
    await refused({ q: '{} | rate()', groupBy: 'name' },
        'compiling query: expected a search, got a metrics query');
    await refused({ q: '{}', groupBy: 'name', limit: 'x' },
        'invalid limit: strconv.Atoi: parsing "x": invalid syntax');
    await refused({ q: '{}', groupBy: 'name', start: '1.5' },
        'invalid start: strconv.ParseUint: parsing "1.5": invalid syntax');
    await refused({ q: '{}', groupBy: 'name', start: '10', end: '10' },
        'http parameter start must be before end. received start=10 end=10');
    assert.equal(await rubato.stop(), 0);
});

test('a summary is of one tenant', async (t) => {
    const rubato = await Rubato.start({ store: await local.open(), config: { multitenancy_enabled: true } });
    t.after(() => rubato.cleanUp());
    const ask = (tenant) =>
        get(rubato, '/api/metrics/summary', { params: { q: '{}', groupBy: 'name' }, tenant });
    assert.equal((await ask('a')).text, '{"summaries":[]}');
    const several = await ask('a|b');
    assert.equal(several.status, 400);
    assert.equal(several.text, 'multi-tenant query unsupported');
    assert.equal((await ask()).status, 401);
});
