/* kill -9 during load, again and again: what was acknowledged is there, exactly once, at any time,
 * by id and by search, from segments and from blocks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Load } from './lib/load.mjs';
import { metric } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { seeded, until } from './lib/wait.mjs';

const kills = process.env.TIER === 'nightly' ? 40 : 10;
const builds = process.env.TIER === 'nightly' ? 100 : 10;
const seed = Number(process.env.SEED ?? Date.now() % 1000000);

/* Small and frequent, so that kills land in every step. A tenant a service: some tenants of a build
 * have their block when the kill comes, others not. */
const config = {
    multitenancy_enabled: true,
    ingest: { flush_window: '50ms' },
    block_builder: { window: '1s', max_bytes: 64 << 10 },
};

/* Kills after some more acknowledgements, and starts anew at the same place. */
async function killAgainAndAgain(load, random) {
    for (let i = 0; i < kills; i++) {
        await load.acknowledgements(50 + random.below(1500));
        if (load.over) return;
        await load.rubato.kill();
        load.up = 0;
        await load.rubato.start();
        load.up = i + 2;
    }
    await load.acknowledgements(200);
}

/* Waits until all is in blocks; gives up when something else has failed. */
const noSegments = (load, boundMs) =>
    until('no segment is left', boundMs, async () => {
        const left = await load.rubato.store.list('_rubato.wal.');
        if (left.length && !load.over) throw new Error(`${left.length} are left`);
        return true;
    });

/* Answers leave out what is there twice; objects do not. These traces were sent once, in one request
 * each, so each is in one block. */
async function assertBlocksHoldOnce(load) {
    const { store } = load.rubato;
    let traces = 0;
    for (const key of await store.list('once/'))
        if (key.endsWith('/meta.json')) traces += JSON.parse(await store.get(key)).totalObjects;
    assert.equal(traces, await load.checkSearch('once'), 'traces in blocks, traces found');
}

async function step(name, fn) {
    try {
        await fn();
    } catch (e) {
        e.message = `${name}: ${e.message}`;
        throw e;
    }
}

describe(`kill -9, ${kills} times during load (SEED=${seed})`, { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: every acknowledged span is there exactly once`, async (t) => {
            const store = await driver.open();
            const rubato = await Rubato.start({ store, config });
            t.after(() => rubato.cleanUp());
            const random = seeded(seed);
            const load = new Load(rubato, random);

            await step('while processes die', async () => {
                await load.during(() => killAgainAndAgain(load, random));
                assert.ok(load.ledger.spans > kills * 100, `a load: ${load}`);
                assert.ok(load.polls > kills * 5, `a look: ${load}`);
            });
            t.diagnostic(String(load));
            await step('after the last restart', async () => {
                assert.ok((await store.list('_rubato.wal.')).length, 'the dead have left segments');
                await load.checkAll();
            });
            await step('while what the dead have left is taken over', async () => {
                /* 30 s until a segment or a build counts as left, then the builds. */
                await load.during(() => noSegments(load, 90000), { sending: false });
                assert.ok((await metric(rubato, 'block_builder_spans_total')) > 0);
            });
            await step('from blocks', async () => {
                await load.checkAll();
                await load.checkAll({ mode: 'blocks' });
                await assertBlocksHoldOnce(load);
            });
            await step('in a process that has seen nothing of it', async () => {
                assert.equal(await rubato.stop(), 0);
                await rubato.start();
                await load.checkAll();
                assert.equal(await rubato.stop(), 0);
                assert.deepEqual(rubato.errorLines(), []);
            });
        });
    }
});

describe('segments become blocks while they are asked', { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: each question is answered, and right`, async (t) => {
            const store = await driver.open();
            const writer = await Rubato.start({ store, config, args: ['-target=ingest'] });
            t.after(() => writer.cleanUp());
            /* In another process, which learns late of what is retired; and with so little memory
             * for segments that it reads them from the store. */
            const little = { block_builder: { max_bytes: 1 << 10 } };
            const reader = await Rubato.start({
                store,
                config: { ...config, ...little },
                args: ['-target=frontend'],
            });
            t.after(() => reader.cleanUp());
            const load = new Load(writer, seeded(seed), { reader, lagMs: 4000 });
            const blocks = async () =>
                (await store.list('once/')).filter((k) => k.endsWith('/meta.json')).length;
            await load.during(() =>
                until('enough blocks', 90000, async () => load.over || (await blocks()) >= builds),
            );
            await load.during(() => noSegments(load, 30000), { sending: false });
            t.diagnostic(String(load));
            await until('the reader knows all blocks', 10000, async () => {
                await load.checkAll({ mode: 'blocks' });
                return true;
            });
            await assertBlocksHoldOnce(load);
            for (const r of [reader, writer]) {
                assert.equal(await r.stop(), 0);
                const said = r
                    .errorLines()
                    .filter((l) => driver.kind !== 'local' || !l.includes('share the directory'));
                assert.deepEqual(said, []);
            }
        });
    }
});
