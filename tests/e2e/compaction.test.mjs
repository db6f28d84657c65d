/* Blocks are compacted, kept and deleted while spans come in and questions are asked, by one process
 * or several, some of which are killed: each acknowledged span is found exactly once, all the time, by
 * id, by search and by counting. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Load } from './lib/load.mjs';
import { get, metric } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { seeded, until } from './lib/wait.mjs';

const kills = process.env.TIER === 'nightly' ? 30 : 3;
const inputs = process.env.TIER === 'nightly' ? 120 : 12;
const seed = Number(process.env.SEED ?? Date.now() % 1000000);

/* An hour in a few seconds. */
const config = {
    multitenancy_enabled: true,
    ingest: { flush_window: '50ms' },
    block_builder: { window: '1s', max_bytes: 64 << 10, linger: '6s' },
    storage: { trace: { blocklist_poll: '2s' } },
    compactor: {
        compaction: {
            compaction_window: '10s',
            compaction_cycle: '200ms',
            max_input_blocks: 4,
            compacted_block_retention: '15s',
        },
    },
};

/* Spans of the service that counting finds. */
async function counted(load, service) {
    const now = Math.floor(Date.now() / 1000);
    const params = {
        q: `{ resource.service.name = "${service}" } | count_over_time()`,
        start: now - 3600,
        end: now + 60,
        step: '3660s',
    };
    const r = await get(load.reader, '/api/metrics/query_range', { params, tenant: service });
    if (r.status !== 200) throw new Error(`query_range: ${r.status} ${r.text}`);
    const { series } = JSON.parse(r.text);
    return series
        .flatMap((s) => s.samples)
        .reduce((sum, s) => sum + Number(s.value ?? 0), 0);
}

const sentBy = (load, service) =>
    [...load.ledger.sent]
        .filter(([id]) => load.ledger.service.get(id) === service)
        .reduce((sum, [, spans]) => sum + spans.size, 0);

/* What was acknowledged some time ago is counted; what was never sent is not, nor is anything
 * twice. */
async function checkCount(load, service) {
    const time = performance.now() - load.lagMs;
    const least = [...load.ledger.acked.keys()]
        .filter((id) => load.ledger.service.get(id) === service)
        .reduce((sum, id) => sum + load.ledger.spansOf(id, time).length, 0);
    const n = await load.ask(() => counted(load, service));
    const most = sentBy(load, service);
    if (n === null) return;
    assert.ok(n >= least, `${n} spans of ${service} are counted, ${least} were acknowledged`);
    assert.ok(n <= most, `${n} spans of ${service} are counted, ${most} were sent`);
    load.polls++;
}

/* load.during, and counting beside it. */
async function during(load, leading, options) {
    const counting = async () => {
        while (load.over) await pause(5);
        while (!load.over) {
            if (load.up) await checkCount(load, 'once');
            await pause(150);
        }
    };
    await load.during(async () => {
        let counts = counting();
        await Promise.race([leading(), counts]);
        load.over = true;
        await counts;
    }, options);
}

async function metasOf(store, tenant) {
    const metas = [];
    for (const key of await store.list(`${tenant}/`)) {
        if (!key.endsWith('/meta.json')) continue;
        try {
            metas.push(JSON.parse(await store.get(key)));
        } catch {
            /* it has just been marked */
        }
    }
    return metas;
}

const merged = async (store) => {
    const keys = await store.list('once/');
    return keys.filter((k) => k.endsWith('/meta.compacted.json')).length;
};

const noneLeft = (load, prefix, boundMs) =>
    until(`no ${prefix} is left`, boundMs, async () => {
        const left = await load.rubato.store.list(prefix);
        if (left.length && !load.over) throw new Error(`${left.length} are left`);
        return true;
    });

/* Traces of the service were sent once, so each is in one block. */
async function assertBlocksHoldOnce(load) {
    const found = await load.checkSearch('once');
    const metas = await until('the list of blocks stands still', 10000, async () => {
        const some = await metasOf(load.rubato.store, 'once');
        const traces = some.reduce((sum, m) => sum + m.totalObjects, 0);
        assert.equal(traces, found, 'traces in blocks, traces found');
        return some;
    });
    assert.ok(Math.max(...metas.map((m) => m.compactionLevel)) >= 1);
    return metas;
}

async function step(name, fn) {
    try {
        await fn();
    } catch (e) {
        e.message = `${name}: ${e.message}`;
        throw e;
    }
}

async function assertIndex(store) {
    const keys = await store.list('once/');
    assert.ok(keys.includes('once/index.pb.zst') && keys.includes('once/index.json.gz'));
}

describe(`one process, killed ${kills} times (SEED=${seed})`, { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: each span is there once, whatever is compacted`, async (t) => {
            const store = await driver.open();
            const rubato = await Rubato.start({ store, config });
            t.after(() => rubato.cleanUp());
            const random = seeded(seed);
            const load = new Load(rubato, random);

            await step('while it is killed', () =>
                during(load, async () => {
                    for (let i = 0; i < kills && !load.over; i++) {
                        const before = await merged(store);
                        await load.acknowledgements(200 + random.below(800));
                        /* The first has something to compact, the others are at it perhaps. */
                        await until('compaction', 60000, async () => {
                            return load.over || i > 0 || (await merged(store)) > before;
                        });
                        await pause(random.below(3000));
                        await rubato.kill();
                        load.up = 0;
                        await rubato.start();
                        load.up = i + 2;
                    }
                    await load.acknowledgements(200);
                }),
            );
            t.diagnostic(String(load));
            await step('while what is left is taken over', () =>
                during(
                    load,
                    async () => {
                        await noneLeft(load, '_rubato.wal.', 90000);
                        await noneLeft(load, '_rubato.compact.', 90000);
                    },
                    { sending: false },
                ),
            );
            await load.checkAll();
            await load.checkAll({ mode: 'blocks' });
            await checkCount(load, 'once');
            const metas = await assertBlocksHoldOnce(load);
            t.diagnostic(`${metas.length} blocks are left of tenant once`);
            await until('an index', 10000, async () => {
                await assertIndex(store);
                return true;
            });
            await step('in a process that has seen nothing of it', async () => {
                assert.equal(await rubato.stop(), 0);
                await rubato.start();
                await load.checkAll();
                await checkCount(load, 'once');
                assert.equal(await metric(rubato, 'tempodb_compaction_errors_total'), 0);
                assert.equal(await metric(rubato, 'tempodb_retention_errors_total'), 0);
                assert.equal(await rubato.stop(), 0);
                assert.deepEqual(rubato.errorLines(), []);
            });
        });
    }
});

describe(`several processes, one killed ${kills} times (SEED=${seed})`, { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: two compactors, a reader that learns late`, async (t) => {
            const store = await driver.open();
            /* Segments that live long enough for a reader that looks once a second. */
            const slower = { block_builder: { window: '2s', max_bytes: 1 << 20, linger: '6s' } };
            const start = async (target) => {
                const r = await Rubato.start({
                    store,
                    config: { ...config, ...slower },
                    args: [`-target=${target}`],
                });
                t.after(() => r.cleanUp());
                return r;
            };
            const writer = await start('ingest');
            const reader = await start('frontend');
            const steady = await start('compactor');
            const mortal = await start('compactor');
            const random = seeded(seed);
            const load = new Load(writer, random, { reader, lagMs: 4000 });
            await step('while blocks are compacted', () =>
                during(load, async () => {
                    const killing = (async () => {
                        for (let i = 0; i < kills && !load.over; i++) {
                            await pause(500 + random.below(3000));
                            await mortal.kill();
                            await mortal.start();
                        }
                    })();
                    await until('enough is compacted', 120000, async () => {
                        return load.over || (await merged(store)) >= inputs;
                    });
                    await killing;
                }),
            );
            t.diagnostic(String(load));
            await step('to the end', () =>
                during(
                    load,
                    async () => {
                        await noneLeft(load, '_rubato.wal.', 60000);
                        await noneLeft(load, '_rubato.compact.', 120000);
                    },
                    { sending: false },
                ),
            );
            await until('the reader knows all blocks', 10000, async () => {
                await load.checkAll({ mode: 'blocks' });
                return true;
            });
            await checkCount(load, 'once');
            await assertBlocksHoldOnce(load);
            await until('dead blocks are deleted', 60000, async () => {
                const dead = (await store.list('')).filter((k) => k.endsWith('/meta.compacted.json'));
                if (dead.length) throw new Error(`${dead.length} are left`);
                return true;
            });
            await load.checkAll({ mode: 'blocks' });
            await assertIndex(store);
            for (const r of [reader, writer, steady, mortal]) {
                assert.equal(await r.stop(), 0);
                const said = r
                    .errorLines()
                    .filter((l) => driver.kind !== 'local' || !l.includes('share the directory'));
                assert.deepEqual(said, []);
            }
        });
    }
});
