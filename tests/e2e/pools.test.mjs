/* The same questions, wherever the jobs run: in child processes, on workers that have connected, and
 * on a mixture of both of which one is killed every second. A part of the conformance set in the
 * short tier, all of it at night. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { check, config, data, questions, sendFrames } from './lib/conformance.mjs';
import { request } from './lib/http.mjs';
import { get, metric, search } from './lib/query.mjs';
import { merge, Rubato } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';
import { until } from './lib/wait.mjs';

const nightly = process.env.TIER === 'nightly';
const some = questions(nightly ? 1 : 12);
const few = questions(nightly ? 4 : 60);
const edge = questions(nightly ? 1 : 12, 'edge');
const local = drivers.find((d) => d.kind === 'local');
const workers = (settings) => merge(config, { query_frontend: { workers: settings } });
const jobs = (rubato, kind, result) =>
    metric(rubato, `rubato_jobs_total{kind="${kind}",result="${result}"}`).catch(() => 0);
const idle = (rubato, kind) =>
    metric(rubato, `rubato_workers{kind="${kind}",state="idle"}`).catch(() => 0);

/* Pids of a process's children; those that have ended but are not reaped yet do not count. */
function childrenOf(pid) {
    return fs
        .readdirSync(`/proc/${pid}/task`)
        .flatMap((t) => {
            try {
                return fs.readFileSync(`/proc/${pid}/task/${t}/children`, 'utf8').split(' ');
            } catch {
                return []; /* a thread that has ended */
            }
        })
        .filter(Boolean)
        .map(Number)
        .filter(isAlive);
}

function isAlive(pid) {
    try {
        return !/^State:\s*Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
        return false;
    }
}

describe('pools of workers', { concurrency: false }, () => {
    let store;
    const running = [];

    before(async () => {
        store = await local.open();
        await putTree(store, path.join(data, 'blocks'));
    });
    after(() => Promise.all(running.map((r) => r.cleanUp())));

    async function start(options) {
        const r = await Rubato.start({ store, ...options });
        running.push(r);
        return r;
    }
    const startWorker = (frontend, settings = {}) =>
        start({
            name: 'rubato-worker',
            config: merge(
                {
                    querier: {
                        max_concurrent_queries: 4,
                        frontend_worker: {
                            frontend_address: new URL(frontend.api).host,
                            secret: 'of the workers',
                        },
                    },
                },
                settings,
            ),
        });

    test('child processes', async (t) => {
        const rubato = await start({
            config: workers({ in_process: 0, min_workers: 2, max_workers: 2 }),
        });
        await until('the children are ready', 10000, async () => (await idle(rubato, 'child')) === 8);
        await check(rubato, some);
        const done = await jobs(rubato, 'child', 'ok');
        assert.ok(done > 0);
        assert.equal(await jobs(rubato, 'in_process', 'ok'), 0);

        await t.test('one that is killed is replaced', async () => {
            const [first] = childrenOf(rubato.process.pid);
            process.kill(first, 'SIGKILL');
            await search(rubato, { q: '{}' }, { tenant: 'shop' });
            await until('there are two again', 10000, async () => {
                const now = childrenOf(rubato.process.pid);
                return now.length === 2 && !now.includes(first) && (await idle(rubato, 'child')) === 8;
            });
        });

        await t.test('one that hangs loses its job to another', async () => {
            const stopped = childrenOf(rubato.process.pid);
            for (const pid of stopped) process.kill(pid, 'SIGSTOP');
            const before = await jobs(rubato, 'child', 'lost');
            await search(rubato, { q: '{}' }, { tenant: 'shop' });
            assert.ok((await jobs(rubato, 'child', 'lost')) > before);
            assert.ok(stopped.some((pid) => !isAlive(pid)));
            for (const pid of stopped.filter(isAlive)) process.kill(pid, 'SIGCONT');
        });

        await t.test('they end with the frontend', async () => {
            await until('there are children', 10000, () => childrenOf(rubato.process.pid).length);
            const left = childrenOf(rubato.process.pid);
            assert.equal(await rubato.stop(), 0);
            assert.deepEqual(left.filter(isAlive), []);
        });
    });

    test('children end when the frontend is killed', async () => {
        const rubato = await start({
            config: workers({ in_process: 0, min_workers: 1, max_workers: 1 }),
        });
        await until('the child is ready', 10000, async () => (await idle(rubato, 'child')) === 4);
        const children = childrenOf(rubato.process.pid);
        assert.equal(children.length, 1);
        await rubato.kill();
        await until('it has ended', 5000, () => children.every((pid) => !isAlive(pid)));
    });

    test('children without the memory they need', async () => {
        const one = { in_process: 0, min_workers: 1, max_workers: 1, slots_per_worker: 1 };
        const rubato = await start({ config: workers(one) });
        const ready = () =>
            until('the child is ready', 10000, async () => (await idle(rubato, 'child')) === 1);
        await ready();
        const [pid] = childrenOf(rubato.process.pid);
        const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
        const kib = Number(/^VmSize:\s*(\d+) kB$/m.exec(status)[1]);
        await rubato.stop();
        await rubato.start(workers({ max_memory: `${kib + 3072}KiB` }));
        await ready();
        await check(rubato, few);
        const whole = await search(
            rubato,
            { q: '{}', limit: 100000, spss: 1000 },
            { tenant: 'shop' },
        );
        assert.ok(whole.length > 100);
        const failed = (await jobs(rubato, 'child', 'refused')) + (await jobs(rubato, 'child', 'lost'));
        assert.ok(failed > 0, 'the memory was enough for everything');
    });

    test('workers that connect', async (t) => {
        const frontend = await start({
            name: 'rubato-frontend',
            config: workers({ in_process: 0, remote: true, secret: 'of the workers' }),
        });
        const [first, second] = await Promise.all([startWorker(frontend), startWorker(frontend)]);
        await until('they are there', 10000, async () => (await idle(frontend, 'remote')) === 8);
        await check(frontend, some);
        assert.ok((await jobs(frontend, 'remote', 'ok')) > 0);
        assert.equal(await jobs(frontend, 'in_process', 'ok'), 0);
        const each = await Promise.all([first, second].map((w) => metric(w, 'worker_jobs_total')));
        assert.ok(each[0] + each[1] > 0);

        await t.test('one that is asked to stop leaves without a job lost', async () => {
            assert.equal(await first.stop(), 0);
            await until('it has left', 5000, async () => (await idle(frontend, 'remote')) === 4);
            assert.equal(await jobs(frontend, 'remote', 'lost'), 0);
        });

        await t.test('one that does not know the secret is refused', async () => {
            const stranger = await startWorker(frontend, {
                querier: { frontend_worker: { secret: 'a guess' } },
            });
            await until('it is told', 5000, () => stranger.stderr.includes('401 Unauthorized'));
            assert.equal(await idle(frontend, 'remote'), 4);
            await stranger.kill();
        });

        await t.test('without any the frontend does it, and they come back to it', async () => {
            await second.kill();
            await search(frontend, { q: '{}' }, { tenant: 'shop' });
            assert.ok((await jobs(frontend, 'in_process', 'ok')) > 0);
            await second.start();
            await until('it is back', 15000, async () => (await idle(frontend, 'remote')) === 4);
            await frontend.kill();
            await frontend.start();
            await until('it is back', 15000, async () => (await idle(frontend, 'remote')) === 4);
        });
    });

    test('children come when jobs wait, and who scales from outside can see why', async () => {
        const rubato = await start({
            config: workers({ in_process: 1, max_workers: 2, slots_per_worker: 1 }),
        });
        const scaling = async () => JSON.parse((await request(`${rubato.api}/api/scaling`)).text);
        assert.deepEqual(await scaling(), {
            demand: 0,
            queued: 0,
            running: 0,
            workers: 0,
            slots: 1,
            oldest_age_s: 0,
        });
        let over = false;
        const params = { q: '{} | by(name) | count() > 1', limit: 100000 };
        const asking = Array.from({ length: 6 }, async () => {
            while (!over) await search(rubato, params, { tenant: 'shop' });
        });
        await until('both are there, and the demand for them', 30000, async () => {
            const now = await scaling();
            return now.workers === 2 && now.slots === 3 && now.demand > 0;
        }).finally(() => (over = true));
        await Promise.all(asking);
        assert.equal((await scaling()).queued, 0);
    });

    test('no worker connects unless it is allowed', async () => {
        const frontend = await start({ name: 'rubato-frontend', config });
        const r = await request(`${frontend.api}/internal/worker`, {
            headers: { connection: 'Upgrade', upgrade: 'rubato-worker/1' },
        });
        assert.equal(r.status, 404);
    });

    test('all kinds at once, one killed every second', async () => {
        const frontend = await start({
            config: workers({
                in_process: 1,
                min_workers: 1,
                max_workers: 1,
                slots_per_worker: 1,
                remote: true,
                secret: 'of the workers',
            }),
        });
        const remotes = await Promise.all([startWorker(frontend), startWorker(frontend)]);
        let over = false,
            kills = 0;
        const killing = (async () => {
            for (; !over || kills < 3; kills++) {
                await pause(1000);
                const children = childrenOf(frontend.process.pid);
                if (kills % 2 === 0 && children.length) {
                    process.kill(children[0], 'SIGKILL');
                } else {
                    const remote = remotes[(kills >> 1) % remotes.length];
                    await remote.kill();
                    await remote.start();
                }
            }
        })();
        /* Others ask meanwhile, so that every pool has something to do. */
        const others = Array.from({ length: 8 }, async () => {
            while (!over || kills < 3) {
                const params = { q: '{} | by(name) | count() > 1', limit: 100000 };
                const r = await get(frontend, '/api/search', { params, tenant: 'shop' });
                assert.equal(r.status, 200, r.text);
            }
        });
        await check(frontend, some).finally(() => (over = true));
        await Promise.all(others);
        await killing;
        for (const kind of ['in_process', 'child', 'remote'])
            assert.ok((await jobs(frontend, kind, 'ok')) > 0, `nothing ran in ${kind}`);
    });

    test('spans that are not in blocks yet', async (t) => {
        const own = await local.open();
        const live = { block_builder: { window: '1h', max_bytes: '1GiB' } };
        const rubato = await start({
            store: own,
            config: merge(workers({ in_process: 0, min_workers: 1, max_workers: 1 }), live),
        });
        await sendFrames(rubato, 'edge');
        await until('the child is ready', 10000, async () => (await idle(rubato, 'child')) === 4);
        await t.test('through children', async () => {
            await check(rubato, edge);
            assert.equal(await jobs(rubato, 'in_process', 'ok'), 0);
        });
        await t.test('through a worker that connects', async () => {
            await rubato.stop();
            await rubato.start(
                workers({ min_workers: 0, max_workers: 0, remote: true, secret: 'of the workers' }),
            );
            await startWorker(rubato, { storage: { trace: own.config } });
            await until('it is there', 10000, async () => (await idle(rubato, 'remote')) === 4);
            await check(rubato, edge);
            assert.ok((await jobs(rubato, 'remote', 'ok')) > 0);
            assert.equal(await jobs(rubato, 'in_process', 'ok'), 0);
        });
    });
});
