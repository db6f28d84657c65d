/* What the tests of bad input and of failing stores share: a server of their own, requests that no
 * library would send, and the look inside the process that tells harm from a refusal.
 *
 * Bytes are put together by hand on purpose: a client library would not let a request through that
 * is broken in the way a test wants. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const build = path.resolve(root, process.env.B || 'build/release');

/* Under a sanitizer everything is slower and larger; bounds of time and memory are this much wider. */
export const sanitized = /address|thread|undefined/.test(path.basename(build));
export const slack = sanitized ? 4 : 1;

export const MiB = 1 << 20;

/* ---- waiting ---- */

/* Waits until probe() gives a truthy value and returns it; fails with the last error after ms. */
export async function until(what, probe, ms = 10000) {
    const end = Date.now() + ms * slack;
    let last;
    for (;;) {
        try {
            const value = await probe();
            if (value) return value;
            last = undefined;
        } catch (e) {
            last = e;
        }
        if (Date.now() > end)
            assert.fail(`${what}: not within ${ms * slack} ms${last ? `: ${last.message}` : ''}`);
        await pause(10);
    }
}

/* The promise's value, or a failure that says what did not come in time. */
export function within(what, promise, ms = 10000) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(
            () => reject(new assert.AssertionError({ message: `${what}: not within ${ms * slack} ms` })),
            ms * slack);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/* ---- the server ---- */

export function tempDir(name) {
    return fs.mkdtempSync(path.join(os.tmpdir(), `rubato-${name}-`));
}

function merge(into, from) {
    for (const [key, value] of Object.entries(from)) {
        if (value && typeof value === 'object' && !Array.isArray(value))
            into[key] = merge(into[key] ?? {}, value);
        else into[key] = value;
    }
    return into;
}

/* JSON is YAML. Port 0 everywhere: the server tells what it got, so no port is guessed. */
function configOf(dir, over) {
    const any = '127.0.0.1:0';
    return merge({
        server: {
            http_listen_address: '127.0.0.1', http_listen_port: 0,
            grpc_listen_address: '127.0.0.1', grpc_listen_port: 0,
            graceful_shutdown_timeout: '5s',
        },
        distributor: {
            receivers: { otlp: { protocols: { grpc: { endpoint: any }, http: { endpoint: any } } } },
        },
        ingest: { flush_window: '20ms' },
        block_builder: { window: '500ms' },
        storage: { trace: { backend: 'local', local: { path: path.join(dir, 'data') } } },
    }, over);
}

function environment() {
    const env = { ...process.env };
    for (const name of Object.keys(env)) {
        if (name.startsWith('AWS_')) delete env[name]; /* keys come from the configuration alone */
    }
    env.ASAN_OPTIONS = `quarantine_size_mb=8:${env.ASAN_OPTIONS ?? ''}`;
    env.UBSAN_OPTIONS = `print_stacktrace=1:${env.UBSAN_OPTIONS ?? ''}`;
    return env;
}

export class Server {
    /* over is merged into the configuration; wrap stands before the program on the command line and
     * must exec it, so that the pid is the server's. */
    static async start({ dir, config = {}, wrap = [], ready = true }) {
        const s = new Server();
        const file = path.join(dir, 'rubato.yaml');
        fs.writeFileSync(file, JSON.stringify(configOf(dir, config)));
        const argv = [...wrap, path.join(build, 'bin/rubato'), `-config.file=${file}`];
        s.out = s.log = '';
        s.exit = null;
        s.child = spawn(argv[0], argv.slice(1), {
            cwd: dir, env: environment(), stdio: ['ignore', 'pipe', 'pipe'],
        });
        s.pid = s.child.pid;
        s.child.stdout.on('data', (d) => { s.out += d; });
        s.child.stderr.on('data', (d) => { s.log += d; });
        s.exited = new Promise((resolve) => {
            s.child.on('close', (code, signal) => {
                s.exit = { code, signal };
                resolve(s.exit);
            });
            s.child.on('error', (e) => {
                s.exit = { code: -1, signal: e.message };
                resolve(s.exit);
            });
        });
        try {
            await s.#listens();
            if (ready)
                await until('/ready', async () => (await s.api('/ready')).status === 200);
        } catch (e) {
            s.child.kill('SIGKILL');
            e.message += `\nlog:\n${s.log}`;
            throw e;
        }
        return s;
    }

    async #listens() {
        const port = (text, re) => Number(re.exec(text)?.[1]);
        await until('the server listens', () => {
            if (this.exit) throw new Error(`ended with ${JSON.stringify(this.exit)}`);
            this.grpcPort = port(this.log, /receiver=otlp\/grpc .*port=(\d+)/);
            this.httpPort = port(this.log, /receiver=otlp\/http .*port=(\d+)/);
            this.apiPort = port(this.out, /^ask .*127\.0\.0\.1:(\d+)/m);
            return this.grpcPort && this.httpPort && this.apiPort;
        });
    }

    api(target, headers = {}) {
        return request(this.apiPort, { method: 'GET', path: target, headers });
    }

    #status(name) {
        const text = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
        return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)[1]) * 1024;
    }

    /* Resident bytes now, and the most there were since peakReset. */
    rss() { return this.#status('VmRSS'); }
    peak() { return this.#status('VmHWM'); }
    peakReset() { fs.writeFileSync(`/proc/${this.pid}/clear_refs`, '5'); }
    /* CPU time spent so far; the kernel counts it in hundredths of a second. */
    cpuMs() {
        const stat = fs.readFileSync(`/proc/${this.pid}/stat`, 'utf8');
        const [utime, stime] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13).map(Number);
        return (utime + stime) * 10;
    }

    fds() { return fs.readdirSync(`/proc/${this.pid}/fd`).length; }

    /* The process is the one that was started, and no sanitizer has spoken. */
    assertAlive() {
        this.assertSilent();
        if (this.exit) assert.fail(`the process has ended: ${JSON.stringify(this.exit)}\n${this.log.slice(-4000)}`);
        process.kill(this.pid, 0);
    }

    /* After something went wrong: throws the better explanation, if there is one, else the error. */
    async explain(error) {
        await Promise.race([this.exited, pause(200 * slack)]);
        if (!this.killed) this.assertAlive();
        throw error;
    }

    assertSilent() {
        const report = /^.*(ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer)[^]{0,8000}/m.exec(this.log);
        if (report) assert.fail(report[0]);
    }

    async stop() {
        if (!this.exit) this.child.kill('SIGTERM');
        try {
            await within('the orderly end', this.exited, 20000);
        } catch (e) {
            await this.kill();
            e.message += `\nlog:\n${this.log.slice(-4000)}`;
            throw e;
        }
        this.assertSilent();
        assert.deepEqual(this.exit, { code: 0, signal: null }, this.log.slice(-4000));
    }

    async kill() {
        this.killed = true;
        if (!this.exit) this.child.kill('SIGKILL');
        await this.exited;
    }
}

/* ---- HTTP ---- */

/* One request with its answer. chunks: sent with chunked coding instead of body. */
export function request(port, { method = 'POST', path: target = '/v1/traces', headers = {}, body,
    chunks, agent, ms = 30000 }) {
    return new Promise((resolve, reject) => {
        const req = http.request({
            host: '127.0.0.1', port, method, path: target, headers, agent: agent ?? false,
        });
        req.setTimeout(ms * slack, () => req.destroy(new Error(`${method} ${target.slice(0, 80)}: no answer in ${ms * slack} ms`)));
        req.on('error', reject);
        req.on('response', (res) => {
            const parts = [];
            res.on('data', (d) => parts.push(d));
            res.on('error', reject);
            res.on('end', () => resolve({
                status: res.statusCode, headers: res.headers, body: Buffer.concat(parts),
                text: Buffer.concat(parts).toString(),
            }));
        });
        if (chunks) {
            (async () => {
                for (const chunk of chunks) {
                    if (req.destroyed) return;
                    if (!req.write(chunk)) await new Promise((r) => req.once('drain', r));
                }
                req.end();
            })().catch(reject);
        } else {
            req.end(body);
        }
    });
}

export const PROTO = 'application/x-protobuf';
export const JSON_TYPE = 'application/json';

export const sendProto = (s, body, headers = {}, more = {}) =>
    request(s.httpPort, { headers: { 'content-type': PROTO, ...headers }, body, ...more });
export const sendJson = (s, body, headers = {}, more = {}) =>
    request(s.httpPort, {
        headers: { 'content-type': JSON_TYPE, ...headers },
        body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        ...more,
    });

/* Bytes as they are, then what came back until the server closed. end: our side is closed with the
 * last byte; otherwise it stays open, and only the server can end it, or we do when our patience (ms)
 * is over. */
export function raw(port, bytes, { patience = 0, end = !patience, ms = 10000 } = {}) {
    const socket = net.connect(port, '127.0.0.1');
    const parts = [];
    const start = Date.now();
    const done = new Promise((resolve) => {
        socket.on('data', (d) => parts.push(d));
        socket.on('error', () => {}); /* a reset is a way to close */
        socket.on('close', () => resolve({
            data: Buffer.concat(parts), text: Buffer.concat(parts).toString('latin1'),
            ms: Date.now() - start,
        }));
    });
    for (const part of Array.isArray(bytes) ? bytes : [bytes]) socket.write(part);
    if (end) socket.end();
    const timer = patience ? setTimeout(() => socket.end(), patience) : null;
    return within('the server closes', done, ms).finally(() => {
        clearTimeout(timer);
        socket.destroy();
    });
}

/* A socket that the test drives itself. */
export function open(port) {
    return new Promise((resolve, reject) => {
        const socket = net.connect(port, '127.0.0.1', () => {
            socket.off('error', reject);
            socket.on('error', () => {});
            resolve(socket);
        });
        socket.once('error', reject);
    });
}

/* Status line, headers and body of one raw answer. */
export function parseAnswer(text) {
    const at = text.indexOf('\r\n\r\n');
    assert.ok(at > 0, `no HTTP answer in ${JSON.stringify(text.slice(0, 200))}`);
    const [line, ...lines] = text.slice(0, at).split('\r\n');
    const headers = Object.fromEntries(lines.map((l) => {
        const colon = l.indexOf(':');
        return [l.slice(0, colon).toLowerCase(), l.slice(colon + 1).trim()];
    }));
    return { status: Number(line.split(' ')[1]), headers, text: text.slice(at + 4),
        body: Buffer.from(text.slice(at + 4), 'latin1') };
}

/* ---- gRPC ---- */

export const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

export function frame(message, { packed = 0, claim = message.length } = {}) {
    const head = Buffer.alloc(5);
    head[0] = packed;
    head.writeUInt32BE(claim, 1);
    return Buffer.concat([head, message]);
}

export class Grpc {
    constructor(port) {
        this.session = http2.connect(`http://127.0.0.1:${port}`);
        this.session.on('error', () => {}); /* each call tells */
    }

    /* payload: the bytes of the call's DATA, prefix included. */
    call(payload, { path: target = EXPORT, headers = {}, ms = 30000 } = {}) {
        return within(`gRPC ${target}`, new Promise((resolve) => {
            const stream = this.session.request({
                ':method': 'POST', ':path': target, 'content-type': 'application/grpc',
                te: 'trailers', ...headers,
            });
            const r = { http: 0, data: Buffer.alloc(0), rst: 0 };
            const take = (h) => {
                if (h['grpc-status'] === undefined) return;
                r.status = Number(h['grpc-status']);
                r.message = decodeURIComponent(h['grpc-message'] ?? '');
                const details = h['grpc-status-details-bin'];
                if (details) r.details = decodeStatus(Buffer.from(details, 'base64')).details;
            };
            stream.on('response', (h) => { r.http = h[':status']; r.headers = h; take(h); });
            stream.on('trailers', take);
            stream.on('data', (d) => { r.data = Buffer.concat([r.data, d]); });
            stream.on('error', (e) => { r.error = e; });
            stream.on('close', () => { r.rst = stream.rstCode; resolve(r); });
            stream.end(payload);
        }), ms);
    }

    send(message, options) { return this.call(frame(message), options); }

    close() { this.session.destroy(); }
}

/* One call on a connection of its own. */
export async function grpcCall(s, payload, options) {
    const g = new Grpc(s.grpcPort);
    try {
        return await g.call(payload, options);
    } finally {
        g.close();
    }
}

export const sendGrpc = (s, message, options) => grpcCall(s, frame(message), options);

/* ---- protobuf ---- */

export function varint(value) {
    const out = [];
    let v = BigInt.asUintN(64, BigInt(value));
    while (v > 127n) {
        out.push(Number(v & 127n) | 128);
        v >>= 7n;
    }
    out.push(Number(v));
    return Buffer.from(out);
}

export const tag = (number, wire) => varint((BigInt(number) << 3n) | BigInt(wire));
export const len = (number, bytes) => {
    const b = Buffer.from(bytes);
    return Buffer.concat([tag(number, 2), varint(b.length), b]);
};
export const int = (number, value) => Buffer.concat([tag(number, 0), varint(value)]);
export const fixed64 = (number, value) => {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(value));
    return Buffer.concat([tag(number, 1), b]);
};

/* [{number, wire, value}] of one message. */
export function fields(bytes) {
    const out = [];
    let at = 0;
    const number = () => {
        let v = 0n;
        for (let shift = 0n; ; shift += 7n) {
            assert.ok(at < bytes.length, 'protobuf ends inside a number');
            const b = bytes[at++];
            v |= BigInt(b & 127) << shift;
            if (b < 128) return v;
        }
    };
    while (at < bytes.length) {
        const t = Number(number());
        const f = { number: t >> 3, wire: t & 7 };
        if (f.wire === 0) {
            f.value = number();
        } else {
            const n = f.wire === 2 ? Number(number()) : f.wire === 1 ? 8 : 4;
            assert.ok([1, 2, 5].includes(f.wire) && at + n <= bytes.length, 'broken protobuf');
            f.value = bytes.subarray(at, at + n);
            at += n;
        }
        out.push(f);
    }
    return out;
}

/* google.rpc.Status. */
export function decodeStatus(bytes) {
    const s = { code: 0, message: '', details: [] };
    for (const f of fields(bytes)) {
        if (f.number === 1) s.code = Number(f.value);
        if (f.number === 2) s.message = f.value.toString();
        if (f.number === 3) {
            const any = Object.fromEntries(fields(f.value).map((x) => [x.number, x.value]));
            s.details.push({ typeUrl: any[1].toString(), value: any[2] });
        }
    }
    return s;
}

/* The Status of an HTTP answer in either encoding. */
export function statusOf(answer) {
    if (answer.headers['content-type'] !== JSON_TYPE) {
        assert.equal(answer.headers['content-type'], PROTO);
        return decodeStatus(answer.body);
    }
    const s = JSON.parse(answer.text);
    return { code: s.code, message: s.message, details: (s.details ?? []).map((d) => (
        { typeUrl: d.typeUrl, value: Buffer.from(d.value, 'base64') })) };
}

/* Seconds that a RetryInfo among the details asks to wait, or null. */
export function retryDelay(details = []) {
    const d = details.find((x) => x.typeUrl === 'type.googleapis.com/google.rpc.RetryInfo');
    if (!d) return null;
    const duration = fields(d.value).find((f) => f.number === 1);
    let seconds = 0;
    for (const f of fields(duration.value))
        seconds += f.number === 1 ? Number(f.value) : Number(f.value) / 1e9;
    return seconds;
}

/* rejected spans and message of an ExportTraceServiceResponse. */
export function partialOf(bytes) {
    const top = fields(bytes);
    assert.equal(top.length, 1);
    const p = { rejected: 0, message: '' };
    for (const f of fields(top[0].value)) {
        if (f.number === 1) p.rejected = Number(f.value);
        if (f.number === 2) p.message = f.value.toString();
    }
    return p;
}

/* ---- spans ---- */

export const newTraceId = () => { const b = randomBytes(16); b[0] |= 16; return b; };
export const newSpanId = () => { const b = randomBytes(8); b[0] |= 1; return b; };
export const nowNs = () => BigInt(Date.now()) * 1000000n;

export const str = (text) => len(1, text); /* AnyValue */
export const attr = (key, value) => Buffer.concat([len(1, key), len(2, value)]);

/* Span; what is null is left out. more: further bytes of the message. */
export function span({ traceId = newTraceId(), spanId = newSpanId(), name = 'op', attrs = [],
    more = Buffer.alloc(0) } = {}) {
    const end = nowNs();
    return Buffer.concat([
        traceId === null ? Buffer.alloc(0) : len(1, traceId),
        spanId === null ? Buffer.alloc(0) : len(2, spanId),
        len(5, name), int(6, 2), fixed64(7, end - 1000000n), fixed64(8, end),
        ...attrs.map((a) => len(9, a)), more,
    ]);
}

/* ExportTraceServiceRequest of one resource. */
export function traces(spans, service = 'faults') {
    const resource = len(1, attr('service.name', str(service)));
    const scope = Buffer.concat([len(1, Buffer.concat([len(1, 'lib'), len(2, '1')])),
        ...spans.map((s) => len(2, s))]);
    return len(1, Buffer.concat([len(1, resource), len(2, scope)]));
}

/* The same in JSON; ids as given. */
export function tracesJson(spans, service = 'faults') {
    const end = nowNs();
    return { resourceSpans: [{
        resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
        scopeSpans: [{ scope: { name: 'lib' }, spans: spans.map((s) => ({
            name: 'op', kind: 2, startTimeUnixNano: String(end - 1000000n),
            endTimeUnixNano: String(end), ...s })) }],
    }] };
}

/* Ids (hex) of the spans that the server has of a trace, each as often as it is there. */
export async function spansOf(s, traceId, headers = {}) {
    const id = Buffer.isBuffer(traceId) ? traceId.toString('hex') : traceId;
    const a = await s.api(`/api/traces/${id}`, headers);
    if (a.status === 404) return [];
    assert.equal(a.status, 200, `trace ${id}: ${a.status} ${a.text}`);
    return JSON.parse(a.text).batches.flatMap((b) => b.scopeSpans).flatMap((sc) => sc.spans)
        .map((x) => Buffer.from(x.spanId, 'base64').toString('hex')).sort();
}

/* A request of one trace in one of the three ways. Text of bytes random characters is spread over
 * attributes short enough not to be cut: it does not compress, so it takes room where it is stored. */
export class Batch {
    constructor({ spans = 2, bytes = 0, service = 'faults', name = 'op' } = {}) {
        this.traceId = newTraceId();
        this.spanIds = Array.from({ length: spans }, newSpanId);
        this.service = service;
        this.name = name;
        this.attrs = [];
        for (let left = bytes; left > 0; left -= 1500)
            this.attrs.push([`pad.${this.attrs.length}`, randomBytes(1125).toString('base64').slice(0, Math.min(left, 1500))]);
    }

    get ids() { return this.spanIds.map((b) => b.toString('hex')).sort(); }

    proto() {
        return traces(this.spanIds.map((spanId, i) => span({
            traceId: this.traceId, spanId, name: this.name,
            attrs: i === 0 ? this.attrs.map(([k, v]) => attr(k, str(v))) : [],
        })), this.service);
    }

    json() {
        return tracesJson(this.spanIds.map((spanId, i) => ({
            traceId: this.traceId.toString('hex'), spanId: spanId.toString('hex'), name: this.name,
            attributes: i === 0 ? this.attrs.map(([key, v]) => ({ key, value: { stringValue: v } })) : [],
        })), this.service);
    }

    /* {ok} or {ok: false, code, message, retry, after}: the one shape of the three ways' answers. */
    async send(s, way, headers = {}) {
        if (way === 'grpc') {
            const r = await sendGrpc(s, this.proto(), { headers });
            assert.notEqual(r.status, undefined, `no gRPC status: ${r.error}`);
            return { ok: r.status === 0, code: r.status, message: r.message, retry: retryDelay(r.details) };
        }
        const a = way === 'json' ? await sendJson(s, this.json(), headers)
            : await sendProto(s, this.proto(), headers);
        if (a.status === 200) return { ok: true, code: 0 };
        const st = statusOf(a);
        return { ok: false, http: a.status, code: st.code, message: st.message,
            retry: retryDelay(st.details), after: a.headers['retry-after'] };
    }
}

export const WAYS = ['proto', 'json', 'grpc'];
