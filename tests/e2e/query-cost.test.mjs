/* What a query costs: explain=true tells it, and what it may take is bounded. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { Rubato, root } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';

const blocks = path.join(root, 'tests/data/conformance/blocks');

async function ask(rubato, route, params) {
    const r = await fetch(`${rubato.api}${route}?${new URLSearchParams(params)}`, {
        headers: { 'X-Scope-OrgID': 'shop' },
    });
    assert.equal(r.status, 200, await r.clone().text());
    return r.json();
}

test('explain=true tells the plan, the sums and each job; without it nothing changes', async (t) => {
    const store = await drivers[0].open();
    await putTree(store, blocks);
    const rubato = await Rubato.start({ store, config: { multitenancy_enabled: true } });
    t.after(() => rubato.cleanUp());

    const q = '{ span.http.status_code = 503 }';
    const plain = await ask(rubato, '/api/search', { q });
    const { explain, ...rest } = await ask(rubato, '/api/search', { q, explain: 'true' });
    assert.equal('explain' in plain, false);
    assert.deepEqual(rest.traces, plain.traces);
    assert.deepEqual(explain.conditions, ['span.http.status_code = 503']);
    assert.equal(explain.allConditions, true);
    assert.equal(explain.jobsRun, explain.jobs.length);
    assert.match(explain.jobs[0].block, /^[0-9a-f-]{36}$/);
    const sum = (f) => explain.jobs.reduce((n, j) => n + f(j), 0);
    assert.ok(explain.total.spans.read > 1000);
    assert.equal(explain.total.spans.read, sum((j) => j.spans.read));
    assert.equal(explain.total.bytes.read, sum((j) => j.bytes.read));
    assert.ok(explain.total.milliseconds.evaluate >= 0);

    /* What cannot be there is found out from little. */
    const none = await ask(rubato, '/api/search', { q: '{ name = "no such name" }', explain: '1' });
    assert.deepEqual(none.traces, []);
    assert.ok(none.explain.total.bytes.read < explain.total.bytes.read / 2);

    /* Blocks outside of the time are not looked at. */
    const early = await ask(rubato, '/api/search', { q, start: 1000, end: 2000, explain: 'true' });
    assert.equal(early.explain.jobsRun, 0);
    assert.ok(early.explain.blocksOutsideOfTime > 0);

    for (const route of ['/api/metrics/query_range', '/api/metrics/query']) {
        const params = { q: '{ } | rate() by (resource.service.name)', start: 1763596800, end: 1763600400 };
        const without = await ask(rubato, route, params);
        const got = await ask(rubato, route, { ...params, explain: 'true' });
        assert.equal('explain' in without, false);
        assert.deepEqual(got.series, without.series);
        assert.equal(got.explain.jobsRun + got.explain.blocksOutsideOfTime > 0, true);
    }
});

test('a query that needs more memory than it may is refused, with the setting and the number', async (t) => {
    const store = await drivers[0].open();
    await putTree(store, blocks);
    const rubato = await Rubato.start({
        store,
        config: { multitenancy_enabled: true, query_frontend: { max_query_memory_bytes: 1 << 20 } },
    });
    t.after(() => rubato.cleanUp());
    const url = (q, limit) => `${rubato.api}/api/search?${new URLSearchParams({ q, limit, spss: 100 })}`;
    const headers = { 'X-Scope-OrgID': 'shop' };
    const refused = await fetch(url('{ }', 1000), { headers });
    assert.equal(refused.ok, false);
    assert.match(await refused.text(), /of 1048576 bytes are in use \(query_frontend\.max_query_memory_bytes\)/);
    /* It harms nobody else. */
    const small = await fetch(url('{ name = "no such name" }', 5), { headers });
    assert.equal(small.status, 200);
});
