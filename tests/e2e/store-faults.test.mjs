/* The store fails, the spans do not: what was acknowledged is found afterwards, exactly once; what was
 * not is refused so that the client sends it again; and the process goes on by itself.
 *
 * A full disk is a real one, of a few MiB. The S3 server is one that fails as it is told
 * (lib/fake-s3.mjs); healthy S3 is tested against a real server elsewhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { FAULTS, FakeS3, isBlock, isList, isRead, isSegment, isWrite } from './lib/fake-s3.mjs';
import { Batch, MiB, Server, WAYS, slack, spansOf, tempDir, until, within } from './lib/faults.mjs';

const KiB = 1 << 10;
const BUFFERED_MAX = MiB;
const PUT_TIMEOUT_MS = 2000;
const API_TIMEOUT_MS = 3000;
/* A build that failed, and segments of a process that is gone, are taken up after 30 s. */
const TAKE_OVER_MS = 45000;

const config = {
    ingest: { flush_window: '20ms', flush_bytes: 256 * KiB, max_buffered_bytes: BUFFERED_MAX,
        put_timeout: `${PUT_TIMEOUT_MS}ms` },
    block_builder: { window: '300ms' },
    query_frontend: { api_timeout: `${API_TIMEOUT_MS}ms` },
};

/* ---- what was sent, and what became of it ---- */

class Ledger {
    constructor() {
        this.service = `svc-${randomBytes(4).toString('hex')}`;
        this.acked = [];
        this.refused = [];
    }

    async send(s, batch, way) {
        const r = await batch.send(s, way);
        if (r.ok) this.acked.push(batch);
        else this.refused.push({ batch, way, r });
        return r;
    }

    /* All at once, by the three ways in turn. Returns the refusals. */
    async load(s, count, bytes = 0) {
        const before = this.refused.length;
        await Promise.all(Array.from({ length: count }, (_, i) =>
            this.send(s, new Batch({ bytes, service: this.service }), WAYS[i % WAYS.length])));
        return this.refused.slice(before);
    }

    /* Every refusal is of the kind that a client's SDK sends again, and tells when. */
    assertRetryable(cause) {
        for (const { way, r } of this.refused) {
            const what = `${way}: ${r.message}`;
            assert.equal(r.code, 14, what);
            if (way !== 'grpc') {
                assert.equal(r.http, 503, what);
                assert.ok(Number(r.after) >= r.retry, `${what}: Retry-After ${r.after} agrees`);
            }
            assert.ok(r.retry >= 4 && r.retry <= 6, `${what}: RetryInfo ${r.retry}`);
            assert.match(r.message, cause);
        }
    }

    /* As the client's SDK would do it. */
    async sendRefusedAgain(s) {
        const again = this.refused;
        this.refused = [];
        for (const { batch, way } of again) await this.send(s, batch, way);
        assert.deepEqual(this.refused.map((x) => x.r), [], 'all is well again');
    }

    /* Each acknowledged span is there once: by its id, and in a search. */
    async verify(s, when) {
        for (const b of this.acked) assert.deepEqual(await spansOf(s, b.traceId), b.ids, when);
        const q = encodeURIComponent(`{ resource.service.name = "${this.service}" }`);
        const a = await s.api(`/api/search?limit=5000&spss=100&q=${q}`);
        assert.equal(a.status, 200, `${when}: ${a.text}`);
        const found = new Map(JSON.parse(a.text).traces.map((t) => [t.traceID.padStart(32, '0'), t]));
        for (const b of this.acked) {
            const t = found.get(b.traceId.toString('hex'));
            assert.ok(t, `${when}: trace ${b.traceId.toString('hex')} is not found by a search`);
            assert.deepEqual(t.spanSets[0].spans.map((x) => x.spanID).sort(), b.ids, when);
            assert.equal(t.spanSets[0].matched, b.ids.length, when);
        }
    }
}

/* ---- a full disk ---- */

/* A small disk of its own, or, where nothing may be mounted, a limit on the size of files, which
 * fails writes in the same way. */
function smallDisk(dir) {
    const at = path.join(dir, 'disk');
    fs.mkdirSync(at);
    try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0755', 'rubato-test', at], { stdio: 'pipe' });
    } catch {
        return null;
    }
    const ballast = path.join(at, 'ballast');
    return {
        path: path.join(at, 'data'), wrap: [], cause: /No space left on device/,
        fill() {
            const { bavail, bsize } = fs.statfsSync(at);
            fs.writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - 200 * KiB)));
        },
        free() { fs.rmSync(ballast); },
        close() { execFileSync('umount', [at]); },
    };
}

function fileSizeLimit(dir) {
    let pid;
    const set = (limit) => execFileSync('prlimit', ['--pid', String(pid), `--fsize=${limit}:unlimited`]);
    return {
        path: path.join(dir, 'data'), wrap: [], cause: /File too large/,
        started(s) { pid = s.pid; },
        fill() { set(40 * KiB); },
        free() { set('unlimited'); },
        close() {},
    };
}

const temporaries = (at) => fs.readdirSync(at, { recursive: true }).filter((f) => /(^|\/)\.|tmp/.test(f));

async function fullDisk(make, name) {
    const dir = tempDir(name);
    const disk = make(dir) ?? fileSizeLimit(dir);
    let s;
    try {
        const start = { dir, config: { ...config, storage: { trace: { local: { path: disk.path } } } } };
        s = await Server.start(start);
        disk.started?.(s);
        const ledger = new Ledger();
        assert.deepEqual(await ledger.load(s, 6), []);
        await until('a block', () => fs.readdirSync(disk.path, { recursive: true }).some((f) => f.endsWith('meta.json')));

        disk.fill();
        let refusals = 0;
        for (let i = 0; i < 30; i++) refusals += (await ledger.load(s, 3, 60 * KiB)).length;
        assert.ok(refusals >= 30, `${refusals} of 90 requests were refused`);
        ledger.assertRetryable(disk.cause);
        s.assertAlive();
        await ledger.verify(s, 'while the disk is full');
        assert.ok((await s.api('/metrics')).text.match(/tempo_ingester_failed_flushes_total [1-9]/), 'counted');

        disk.free();
        assert.deepEqual(await ledger.load(s, 3, 60 * KiB), [], 'after space is free again');
        for (const { batch } of ledger.refused) /* refused means that it is not there */
            assert.deepEqual(await spansOf(s, batch.traceId), []);
        ledger.refused.length = 12; /* all of them would not fit a small disk twice */
        await ledger.sendRefusedAgain(s);
        await ledger.verify(s, 'after space is free again');
        await until('the builder goes on', () =>
            !fs.readdirSync(disk.path).some((f) => f.startsWith('_rubato.wal.')), TAKE_OVER_MS);
        await ledger.verify(s, 'in blocks');
        assert.deepEqual(temporaries(disk.path), [], 'nothing half-written is left');
        s.assertAlive();
        await s.stop();
        s = await Server.start(start);
        await ledger.verify(s, 'after a restart');
        await s.stop();
    } catch (e) {
        await s?.explain(e);
        throw e;
    } finally {
        await s?.kill();
        disk.close();
        fs.rmSync(dir, { recursive: true, force: true });
    }
}


/* ---- S3 ---- */

class Bench {
    static async open(name, options) {
        const b = new Bench();
        b.dir = tempDir(name);
        b.s3 = await new FakeS3(options).start();
        b.ledger = new Ledger();
        return b;
    }

    async startServer({ ready = true } = {}) {
        this.s = await Server.start({ dir: this.dir, ready, config: { ...config, storage: { trace: this.s3.config } } });
        return this.s;
    }

    inBlocks() {
        return until('all segments become blocks', () => this.s3.keys('_rubato.wal.').length === 0 &&
            this.s3.keys().some((k) => k.endsWith('meta.json')), TAKE_OVER_MS);
    }

    /* All found now, all found in blocks, all found by a process that knows nothing but the bucket. */
    async settle() {
        await this.ledger.verify(this.s, 'after the fault');
        await this.inBlocks();
        await this.ledger.verify(this.s, 'in blocks');
        this.s.assertAlive();
        await this.s.stop();
        await this.startServer();
        await this.ledger.verify(this.s, 'after a restart');
        await this.s.stop();
    }

    async close() {
        await this.s?.kill();
        await this.s3.stop();
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}

function scenario(name, fn, options) {
    test(`S3 ${name}`, async () => {
        const b = await Bench.open('s3', options);
        try {
            await fn(b);
        } catch (e) {
            await b.s?.explain(e);
            throw e;
        } finally {
            await b.close();
        }
    });
}

/* A question while the store fails: the right answer, or an error that says what could not be had. */
async function assertRightOrNamed(b, known) {
    const id = known.traceId.toString('hex');
    const q = encodeURIComponent(`{ resource.service.name = "${known.service}" && name = "${known.name}" }`);
    const errors = [];
    for (const target of [`/api/traces/${id}`, `/api/v2/traces/${id}`, `/api/search?limit=1000&spss=100&q=${q}`]) {
        const a = await b.s.api(target);
        if (a.status === 200) {
            const j = JSON.parse(a.text);
            const spans = target.includes('search')
                ? j.traces.filter((t) => t.traceID.padStart(32, '0') === id).flatMap((t) => t.spanSets[0].spans.map((x) => x.spanID))
                : (j.batches ?? j.trace.resourceSpans ?? []).flatMap((x) => x.scopeSpans).flatMap((x) => x.spans)
                    .map((x) => Buffer.from(x.spanId, 'base64').toString('hex'));
            assert.deepEqual(spans.sort(), known.ids, `${target}: a wrong answer`);
            continue;
        }
        assert.ok(a.status >= 500, `${target}: ${a.status} ${a.text}`);
        if (a.text !== 'unable to process request in the configured timeout')
            assert.match(a.text, /[0-9a-f]{8}-[0-9a-f-]{27}|_rubato\.|LIST ''/, `${target} names the object`);
        errors.push(a.text);
    }
    return errors;
}

/* Healthy, failing, healthy: the same course for every kind of fault. */
async function course(b, { begin, end, cause, refusesAll = true, failsQueries = true }) {
    const s = await b.startServer();
    assert.deepEqual(await b.ledger.load(s, 6), []);
    await b.inBlocks();
    const known = b.ledger.acked[0];
    const rss = s.rss();
    s.peakReset();

    await begin();
    /* Three times what may be buffered, a question beside it. */
    const [refusals, errors] = await within('answers while the store fails', Promise.all([
        b.ledger.load(s, 48, 64 * KiB), assertRightOrNamed(b, known)]), 4 * API_TIMEOUT_MS + PUT_TIMEOUT_MS);
    if (refusesAll) {
        assert.equal(refusals.length, 48);
        for (const start of ['PUT ', FULL])
            assert.ok(refusals.some(({ r }) => r.message.startsWith(start)), `somebody is told: ${start}`);
    }
    if (failsQueries) assert.ok(errors.length > 0, 'questions could not be answered');
    b.ledger.assertRetryable(cause);
    const grown = s.peak() - rss;
    assert.ok(grown < 48 * MiB * slack, `${BUFFERED_MAX} bytes may be buffered; memory grew by ${Math.round(grown / MiB)} MiB`);
    s.assertAlive();
    assert.equal((await s.api('/api/echo')).text, 'echo\n');

    await end();
    assert.deepEqual(await b.ledger.load(s, 3), [], 'well again at once');
    await b.ledger.sendRefusedAgain(s);
    await b.settle();
}

const FULL = 'ingest buffer is full: the store is slower than the input';
const putFailed = (why) => new RegExp(`^(${FULL}|PUT '_rubato\\.wal\\.[^']+' \\(s3 traces at 127\\.0\\.0\\.1:\\d+\\).*${why}.*)$`);

/* ---- the tests: each has its own server and store and mostly waits, so some run side by side ---- */

describe('a store that fails', { concurrency: 5 }, () => {
    test('a full disk: requests are told to come back, and nothing acknowledged is lost', () =>
        fullDisk(smallDisk, 'disk'));

    test('a file size limit: the process stays up, and goes on when it is lifted', () =>
        fullDisk(fileSizeLimit, 'fsize'));

    const during = (fault, match) => (b) => {
        let rule;
        return { begin: () => { rule = b.s3.fail(fault, { match }); }, end: () => rule.end() };
    };

    scenario('answers 500 to everything for a while', (b) => course(b, {
        ...during(FAULTS.error(500, 'InternalError'))(b), cause: putFailed('status 500 InternalError') }));

    scenario('answers 503 SlowDown to everything for a while', (b) => course(b, {
        ...during(FAULTS.error(503, 'SlowDown'))(b), cause: putFailed('status 503 SlowDown') }));

    scenario('resets every connection for a while', (b) => course(b, {
        ...during(FAULTS.reset())(b), cause: putFailed('') }));

    scenario('does not answer at all for a while', (b) => course(b, {
        ...during(FAULTS.hang())(b), cause: putFailed('') }));

    scenario('does not answer while the process is told to stop: it stops in time, and nothing is lost', async (b) => {
        const s = await b.startServer();
        assert.deepEqual(await b.ledger.load(s, 6), []);
        const rule = b.s3.fail(FAULTS.hang(), { match: (r) => !isSegment(r) });
        await until('a request hangs', () => rule.hits > 0); /* a block's, or the listing's */
        const start = Date.now();
        await s.stop();
        assert.ok(Date.now() - start < 15000 * slack, `it took ${Date.now() - start} ms`);
        rule.end();
        await b.startServer();
        await b.ledger.verify(b.s, 'after the stop');
    });

    scenario('is gone for a while', (b) => course(b, {
        begin: () => b.s3.stop(), end: () => b.s3.start(), cause: putFailed('') }));

    scenario('refuses writes and answers reads', (b) => course(b, {
        ...during(FAULTS.error(403, 'AccessDenied'), isWrite)(b), failsQueries: false,
        cause: putFailed('status 403 AccessDenied') }));

    for (const [what, fault] of [['cuts bodies in the middle', FAULTS.cut()],
        ['promises more bytes than it sends', FAULTS.longer()], ['sends fewer bytes than the range', FAULTS.shorter()]])
        scenario(`${what} when it is read, for a while`, (b) => course(b, {
            ...during(fault, (r) => isRead(r) || isList(r))(b), refusesAll: false, failsQueries: false, cause: putFailed('') }));

    /* ---- faults that no client sees ---- */

    const twice = { times: 2, per: (r) => `${r.method} ${r.key} ${r.query}` };
    for (const [what, fault, match] of [
        ['500', FAULTS.error(500, 'InternalError')], ['503', FAULTS.error(503, 'SlowDown')], ['a reset', FAULTS.reset()],
        ['half a body', FAULTS.cut(), (r) => isRead(r) || isList(r)],
        ['a lost answer', FAULTS.lostAnswer()]])
        scenario(`answers the first two tries of each request with ${what}: nobody notices`, async (b) => {
            const rule = b.s3.fail(fault, { match, ...twice });
            const s = await b.startServer();
            for (let i = 0; i < 3; i++) assert.deepEqual(await b.ledger.load(s, 3), []);
            assert.ok(rule.hits > 0);
            await b.settle();
        });

    scenario('loses the answers of PUTs that it did: acknowledged once stored, and stored once', async (b) => {
        const s = await b.startServer();
        const rule = b.s3.fail(FAULTS.lostAnswer(), { match: (r) => isWrite(r) && isSegment(r), times: 1, per: (r) => r.key });
        const segments = new Set();
        assert.deepEqual(await b.ledger.load(s, 9), []);
        for (const r of b.s3.requests) if (r.method === 'PUT' && r.key.startsWith('_rubato.wal.')) segments.add(r.key);
        assert.equal(rule.hits, segments.size, 'each segment\'s first answer was lost');
        for (const key of segments)
            assert.equal(b.s3.requests.filter((r) => r.method === 'PUT' && r.key === key && r.status === 200).length, 0,
                'the second PUT found the first');
        await b.settle();
    });

    /* The client was refused and sends again; the first copy is, or comes to be, in the bucket too. */
    const twofold = async (b, rules) => {
        const s = await b.startServer();
        for (const [fault, match] of rules) b.s3.fail(fault, { match });
        assert.equal((await b.ledger.load(s, 6)).length, 6);
        b.ledger.assertRetryable(putFailed(''));
        for (const r of [...b.s3.rules]) r.end();
        const first = b.s3.keys('_rubato.wal.');
        assert.ok(first.length > 0, 'they are in the bucket');
        await b.ledger.sendRefusedAgain(s);
        await b.ledger.verify(s, 'after the fault');
        await s.stop();
        await b.startServer(); /* it knows only the bucket, and so both copies */
        await b.ledger.verify(b.s, 'after a restart');
        await b.settle();
    };

    scenario('stores what it does not acknowledge, and cannot be asked: sent again, it is there once', (b) =>
        twofold(b, [[FAULTS.lostAnswer(), (r) => isWrite(r) && isSegment(r)],
            [FAULTS.error(500, 'InternalError'), (r) => isRead(r) && isSegment(r)]]));

    scenario('does late what it did not answer: sent again, it is there once', (b) =>
        twofold(b, [[FAULTS.late(), (r) => isWrite(r) && isSegment(r)]]));

    scenario('has another clock: one refusal, and the requests are signed by its time', async (b) => {
        b.s3.clockMs = 3600 * 1000;
        const s = await b.startServer();
        assert.match(s.log, /clock differs from the store's.*seconds=3(599|600|601)/);
        const refused = () => b.s3.requests.filter((r) => r.status === 403).length;
        const atStart = refused();
        assert.ok(atStart >= 1 && atStart <= 4, `${atStart} requests were refused at the start`);
        assert.deepEqual(await b.ledger.load(s, 6), []);
        assert.equal(refused(), atStart);
        b.s3.clockMs = -3600 * 1000; /* it is set right, or wrong again */
        assert.deepEqual(await b.ledger.load(s, 6), []);
        await b.settle();
    });

    scenario('lacks create-if-absent: the log says so, and it serves', async (b) => {
        const s = await b.startServer();
        await until('the probe\'s word', () => /level=warn .*store lacks create-if-absent/.test(s.log));
        assert.match(s.log, /run one process only on this bucket/);
        assert.deepEqual(await b.ledger.load(s, 6), []);
        /* Also when answers are lost. */
        const rule = b.s3.fail(FAULTS.lostAnswer(), { match: isWrite, times: 1, per: (r) => r.key });
        assert.deepEqual(await b.ledger.load(s, 6), []);
        rule.end();
        await b.settle();
    }, { createIfAbsent: false });

    scenario('has create-if-absent: the log does not say otherwise, and the probe leaves nothing', async (b) => {
        const s = await b.startServer();
        await until('the probe\'s word', () => /msg="store answers"/.test(s.log));
        assert.doesNotMatch(s.log, /create-if-absent/);
        assert.deepEqual(b.s3.keys('rubato-probe'), []);
    });

    scenario('is not there at the start: not ready, clients wait, then all is well without a restart', async (b) => {
        await b.s3.stop();
        const s = await b.startServer({ ready: false });
        assert.equal((await s.api('/ready')).status, 503);
        await until('the log tells', () => /store does not answer/.test(s.log));
        assert.equal((await b.ledger.load(s, 3)).length, 3);
        b.ledger.assertRetryable(putFailed(''));
        const a = await s.api('/api/search?q={}');
        assert.ok(a.status >= 500, `what is not known is no empty answer: ${a.status} ${a.text}`);
        await b.s3.start();
        await until('/ready', async () => (await s.api('/ready')).status === 200, 20000);
        await until('questions are answered', async () => (await s.api('/api/search?q={}')).status === 200, 20000);
        await b.ledger.sendRefusedAgain(s);
        await b.settle();
    });

    scenario('breaks blocks while they are written: segments stay, and the build is taken up again', async (b) => {
        const s = await b.startServer();
        const rule = b.s3.fail(FAULTS.error(403, 'AccessDenied'), { match: (r) => isWrite(r) && isBlock(r) });
        assert.deepEqual(await b.ledger.load(s, 6, 8 * KiB), []);
        await until('a build fails', () => /build failed, its segments stay/.test(s.log));
        await b.ledger.verify(s, 'while no block can be written');
        assert.deepEqual(b.s3.keys().filter((k) => k.endsWith('meta.json')), []);
        rule.end();
        await b.settle();
    });

    scenario('lists in pages of two, the second page fails at first', async (b) => {
        const s = await b.startServer();
        for (let i = 0; i < 5; i++) assert.deepEqual(await b.ledger.load(s, 2), []);
        b.s3.fail(FAULTS.error(500, 'InternalError'), { times: 1, match: (r) => isList(r) && r.query.has('continuation-token') });
        b.s3.fail(FAULTS.cut(), { times: 1, match: (r) => isList(r) && r.query.has('continuation-token') });
        await b.settle();
    }, { pageKeys: 2 });
});
