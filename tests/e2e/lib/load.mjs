/* Clients that send and clients that ask, at the same time, with a ledger of what was acknowledged:
 * what was is there, exactly once, whenever it is asked for, and whatever happens to the process. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { sendHttp } from './otlp.mjs';
import { search, spanIds, trace } from './query.mjs';
import { makeRequest } from './traces.mjs';
import { forEachOf, until } from './wait.mjs';

/* A trace of one request has this many spans, and a search must count so many. */
const spansOfOne = 8;
const partsOfOne = 5;

/* What was sent and what of it was acknowledged, by trace id. */
class Ledger {
    constructor() {
        this.sent = new Map(); /* sets of span ids */
        this.acked = new Map(); /* span id to time */
        this.service = new Map();
        this.spans = 0; /* acknowledged */
    }
    sending(service, r) {
        this.service.set(r.traceId, service);
        if (!this.sent.has(r.traceId)) this.sent.set(r.traceId, new Set());
        for (const id of r.spanIds) this.sent.get(r.traceId).add(id);
    }
    ack(r) {
        if (!this.acked.has(r.traceId)) this.acked.set(r.traceId, new Map());
        const spans = this.acked.get(r.traceId);
        const before = spans.size;
        for (const id of r.spanIds) if (!spans.has(id)) spans.set(id, performance.now());
        this.spans += spans.size - before;
    }
    /* Acknowledged at that time or earlier. */
    spansOf(id, time) {
        return [...(this.acked.get(id) ?? [])].filter(([, at]) => at <= time).map(([span]) => span);
    }
    tracesOf(service, time) {
        return [...this.acked.keys()].filter(
            (id) =>
                this.service.get(id) === service && this.spansOf(id, time).length === spansOfOne,
        );
    }
}

export class Load {
    /* reader: the process to ask, when it is another; it may know what was acknowledged lagMs ago. */
    constructor(rubato, random, { reader = rubato, lagMs = 0 } = {}) {
        Object.assign(this, { rubato, reader, random, lagMs });
        Object.assign(this, { ledger: new Ledger(), up: 1, over: false, polls: 0 });
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
            if (connection && (await this.diedSoon(life, e))) return null;
            throw e;
        }
    }

    async diedSoon(life, cause) {
        try {
            await until('a kill', 2000, () => this.up !== life, 5);
            return true;
        } catch {
            const end = JSON.stringify(this.rubato.process.ended);
            throw new Error(`${cause.message}, but nobody killed the process; its end: ${end}`);
        }
    }

    /* One client; again: sends the same request until it is acknowledged, and at times once more, as
     * exporters do when the acknowledgement was lost on its way. */
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
                const way = { ...how, agent, tenant: service };
                await this.sendUntilDone(rest, again, way);
                if (again && this.random.next() < 0.3) await this.sendUntilDone(rest, again, way);
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
        const acked = this.ledger.spansOf(id, performance.now() - this.lagMs);
        const tenant = this.ledger.service.get(id);
        const answer = await this.ask(
            async () => (await trace(this.reader, id, { params, tenant })) ?? [],
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
        const acked = this.ledger.tracesOf(service, performance.now() - this.lagMs);
        const params = { q: `{ resource.service.name = "${service}" }`, limit: 262144, spss: 1 };
        const found = await this.ask(() => search(this.reader, params, { tenant: service }));
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

    async acknowledgements(more) {
        const goal = this.ledger.spans + more;
        await until(
            'more acknowledged spans',
            30000,
            () => this.ledger.spans >= goal || this.over,
            5,
        );
    }

    /* Sends and asks until what leads is done, or something fails. leading: a promise's function;
     * it must end soon once over is set. */
    async during(leading, { sending = true } = {}) {
        this.over = false;
        const senders = [
            ['once', { json: true }],
            ['once', { gzip: true }],
            ['again', { again: true }],
            ['again', { again: true, json: true, gzip: true }],
            ['parts', { again: true, parts: 4 }],
        ];
        const others = [this.pollTraces(), this.pollTraces(), this.pollSearch()];
        if (sending) others.push(...senders.map(([service, how]) => this.sender(service, how)));
        const first = leading();
        try {
            await Promise.race([first, Promise.all(others)]);
        } finally {
            this.over = true;
            await Promise.allSettled([first, ...others]);
        }
        await Promise.all([first, ...others]);
    }

    toString() {
        const { acked, spans } = this.ledger;
        return `${acked.size} traces, ${spans} spans acknowledged, ${this.polls} polls`;
    }

    async checkAll(params) {
        await forEachOf(this.ledger.acked.keys(), 8, (id) => this.checkTrace(id, params));
        for (const service of ['once', 'again']) await this.checkSearch(service);
    }
}
