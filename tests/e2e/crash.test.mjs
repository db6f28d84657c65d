/* kill -9 during load, again and again: what was acknowledged is there, exactly once, at any time,
 * by id and by search, from segments and from blocks. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { sendHttp } from './lib/otlp.mjs';
import { metric, search, spanIds, trace } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';
import { forEachOf, seeded, until } from './lib/wait.mjs';

const kills = process.env.TIER === 'nightly' ? 40 : 10;
const seed = Number(process.env.SEED ?? Date.now() % 1000000);

/* Small and frequent, so that kills land in every step. A tenant a service: some tenants of a build
 * have their block when the kill comes, others not. */
const config = {
    multitenancy_enabled: true,
    ingest: { flush_window: '50ms' },
    block_builder: { window: '1s', max_bytes: 64 << 10 },
};

/* A trace of one request has this many spans, and a search must count so many. */
const spansOfOne = 8;
const partsOfOne = 5;

/* What was sent and what of it was acknowledged, by trace id: sets of span ids. */
class Ledger {
    constructor() {
        this.sent = new Map();
        this.acked = new Map();
        this.service = new Map();
        this.spans = 0; /* acknowledged */
    }
    note(map, r) {
        if (!map.has(r.traceId)) map.set(r.traceId, new Set());
        for (const id of r.spanIds) map.get(r.traceId).add(id);
    }
    sending(service, r) {
        this.service.set(r.traceId, service);
        this.note(this.sent, r);
    }
    ack(r) {
        this.note(this.acked, r);
        this.spans += r.spanIds.length;
    }
    snapshot(id) {
        return new Set(this.acked.get(id));
    }
    tracesOf(service) {
        return [...this.acked.keys()].filter((id) => this.service.get(id) === service);
    }
}

class Run {
    constructor(rubato, random) {
        Object.assign(this, { rubato, random, ledger: new Ledger(), up: 1, over: false, polls: 0 });
    }

    /* Asks while the process may be killed under it: only then may the answer fail. Null then. */
    async ask(fn) {
        const life = this.up;
        try {
            return await fn();
        } catch (e) {
            const connection =
                ['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(e.code) ||
                /hang up|cut off/.test(e.message);
            /* Dead at the start (0), or dead since. */
            if (connection && (life === 0 || life !== this.up)) return null;
            /* The connection may break a moment before the kill is noted here. */
            if (connection && (await this.diedSoon(life))) return null;
            throw e;
        }
    }

    async diedSoon(life) {
        const what = 'the process that broke the connection is dead';
        return until(what, 2000, () => this.up !== life, 5);
    }

    /* One client; again: sends the same request until it is acknowledged, as exporters do. */
    async sender(service, { parts = 1, again = false, ...how }) {
        const agent = new http.Agent({ keepAlive: true });
        const some = parts > 1 ? partsOfOne : spansOfOne;
        while (!this.over) {
            const first = makeRequest({ service, spans: some });
            let rest = first;
            for (let i = 0; i < parts && !this.over; i++) {
                if (i > 0)
                    rest = makeRequest({
                        service,
                        spans: some,
                        traceId: first.traceId,
                        parent: first.rootId,
                    });
                this.ledger.sending(service, rest);
                await this.sendUntilDone(rest, again, { ...how, agent, tenant: service });
            }
        }
        agent.destroy();
    }

    async sendUntilDone(request, again, how) {
        for (;;) {
            const sent = await this.ask(async () => {
                await sendHttp(this.rubato, request.body, how);
                return true;
            });
            if (sent) return this.ledger.ack(request);
            if (!this.over)
                await until('a process to send to', 30000, () => this.up || this.over, 5);
            if (!again || this.over) return undefined;
        }
    }

    /* No span is missing, none stands twice, none is made up. acked was taken before the asking. */
    async checkTrace(id, params) {
        const acked = this.ledger.snapshot(id);
        const tenant = this.ledger.service.get(id);
        const answer = await this.ask(
            async () => (await trace(this.rubato, id, { params, tenant })) ?? [],
        );
        if (answer === null) return;
        const found = spanIds(answer, id);
        for (const s of acked)
            assert.ok(found.has(s), `span ${s} of trace ${id} was acknowledged and is gone`);
        for (const s of found)
            assert.ok(this.ledger.sent.get(id).has(s), `span ${s} of trace ${id} was never sent`);
        this.polls++;
    }

    async checkSearch(service) {
        const acked = this.ledger.tracesOf(service);
        const params = { q: `{ resource.service.name = "${service}" }`, limit: 262144, spss: 1 };
        const found = await this.ask(() => search(this.rubato, params, { tenant: service }));
        if (found === null) return 0;
        const matched = new Map(found.map((t) => [t.traceID, t.spanSets[0].matched]));
        for (const id of acked)
            assert.equal(matched.get(id), spansOfOne, `matched spans of trace ${id} of ${service}`);
        for (const [id, n] of matched) {
            assert.ok(this.ledger.sent.has(id), `trace ${id} was never sent`);
            assert.equal(
                n,
                spansOfOne,
                `matched spans of trace ${id} of ${service}, unacknowledged`,
            );
        }
        this.polls++;
        return found.length;
    }

    async pollTraces() {
        while (!this.over) {
            const ids = [...this.ledger.acked.keys()];
            /* The newest are where things move; any other once in a while. */
            const back =
                this.random.next() < 0.7
                    ? this.random.below(Math.min(ids.length, 50) + 1)
                    : this.random.below(ids.length + 1);
            const id = ids[ids.length - 1 - back];
            if (this.up && id) await this.checkTrace(id);
            await pause(10);
        }
    }

    async pollSearch() {
        while (!this.over) {
            if (this.up) await this.checkSearch(this.random.next() < 0.5 ? 'once' : 'again');
            await pause(100);
        }
    }

    /* Kills after some more acknowledgements, and starts anew at the same place. */
    async killer() {
        for (let i = 0; i < kills; i++) {
            await this.acknowledgements(50 + this.random.below(1500));
            if (this.over) return;
            await this.rubato.kill();
            this.up = 0;
            await this.rubato.start();
            this.up = i + 2;
        }
        await this.acknowledgements(200);
    }

    async acknowledgements(more) {
        const goal = this.ledger.spans + more;
        await until(
            'more acknowledged spans',
            30000,
            () => this.ledger.spans >= goal || this.over,
            5,
        );
    }

    /* Runs the others until the leading one is done, or one of them fails. */
    async together(others, leading) {
        this.over = false;
        try {
            await Promise.race([leading, Promise.all(others)]);
        } finally {
            this.over = true;
            await Promise.allSettled([leading, ...others]);
        }
        await Promise.all([leading, ...others]);
    }

    async checkAll(params) {
        await forEachOf(this.ledger.acked.keys(), 8, (id) => this.checkTrace(id, params));
        for (const service of ['once', 'again']) await this.checkSearch(service);
    }
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
            const run = new Run(rubato, seeded(seed));

            await step('while processes die', async () => {
                const killer = run.killer();
                await run.together(
                    [
                        run.sender('once', { json: true }),
                        run.sender('once', { gzip: true }),
                        run.sender('again', { again: true }),
                        run.sender('again', { again: true, json: true, gzip: true }),
                        run.sender('parts', { again: true, parts: 4 }),
                        run.pollTraces(),
                        run.pollTraces(),
                        run.pollSearch(),
                    ],
                    killer,
                );
                assert.ok(
                    run.ledger.spans > kills * 100,
                    `${run.ledger.spans} spans are enough of a load`,
                );
                assert.ok(run.polls > kills * 5, `${run.polls} polls are enough of a look`);
            });
            t.diagnostic(
                `${run.ledger.acked.size} traces, ${run.ledger.spans} spans acknowledged, ${run.polls} polls`,
            );

            await step('after the last restart', async () => {
                assert.ok(
                    (await store.list('_rubato.wal.')).length > 0,
                    'dead processes have left segments',
                );
                await run.checkAll();
            });
            await step('while what the dead have left is taken over', async () => {
                /* 30 s until a segment or a build counts as left, then the builds. */
                const taken = until(
                    'no segment is left',
                    90000,
                    async () => {
                        const left = await store.list('_rubato.wal.');
                        if (left.length) throw new Error(`${left.length} are left`);
                        return true;
                    },
                    200,
                );
                await run.together([run.pollTraces(), run.pollSearch()], taken);
                assert.ok((await metric(rubato, 'block_builder_spans_total')) > 0);
            });
            await step('from blocks', async () => {
                await run.checkAll();
                await run.checkAll({ mode: 'blocks' });
                /* Answers leave out what is there twice; objects do not. These traces were sent
                 * once, in one request each, so each is in one block. */
                let traces = 0;
                for (const key of await store.list('once/'))
                    if (key.endsWith('/meta.json'))
                        traces += JSON.parse(await store.get(key)).totalObjects;
                assert.equal(
                    traces,
                    await run.checkSearch('once'),
                    'traces in blocks, traces found',
                );
            });
            await step('in a process that has seen nothing of it', async () => {
                assert.equal(await rubato.stop(), 0);
                await rubato.start();
                await run.checkAll();
                assert.equal(await rubato.stop(), 0);
                assert.deepEqual(rubato.errorLines(), []);
            });
        });
    }
});
