/* An S3 server in memory that fails when it is told to.
 *
 * It knows what the driver of objstore/ uses: PUT with If-None-Match, GET with ranges, HEAD, DELETE,
 * ListObjectsV2 in pages, multipart. A signature must be there and is not checked; the published test
 * vectors and a real server do that elsewhere. Rules decide which requests go wrong, and how. */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

const xml = (s) => s.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

/* Which requests a rule is about. */
export const ANY = () => true;
export const isWrite = (r) => r.method === 'PUT' || r.method === 'POST';
export const isList = (r) => r.method === 'GET' && !r.key;
export const isRead = (r) => (r.method === 'GET' || r.method === 'HEAD') && Boolean(r.key);
export const isBlock = (r) => /^[^/]+\/[0-9a-f-]{36}\//.test(r.key);
export const isSegment = (r) => r.key.startsWith('_rubato.wal.');

/* What may happen to a request instead of its answer. */
export const FAULTS = {
    /* An S3 error; the request has no effect. */
    error: (status, code) => ({ before: () => ({ status, code }) }),
    /* The connection is torn down before there is an effect. */
    reset: () => ({ before: (r) => { r.socket.resetAndDestroy(); return 'gone'; } }),
    /* The answer takes its time. */
    slow: (ms) => ({ before: async () => { await pause(ms); } }),
    /* Nothing, for ever. */
    hang: () => ({ before: () => 'gone' }),
    /* Nothing until the rule ends; then it is done, and nobody is told. */
    late: () => {
        const held = [];
        return { before: (r) => { held.push(r); return 'gone'; }, ended: (s3) => held.splice(0).forEach((r) => s3.do(r)) };
    },
    /* Done, but nobody is told. */
    lostAnswer: () => ({ after: (r) => { r.socket.destroy(); return 'gone'; } }),
    /* The body ends in its middle, and with it the connection. */
    cut: () => ({ after: (r, a) => ({ ...a, send: a.body.subarray(0, a.body.length >> 1), close: true }) }),
    /* Content-Length promises more than there is. */
    longer: () => ({ after: (r, a) => ({ ...a, length: a.body.length + 1000, send: a.body, close: true }) }),
    /* Content-Length, and the body, are less than what the range says. */
    shorter: () => ({ after: (r, a) => {
        const half = a.body.subarray(0, a.body.length >> 1);
        return { ...a, length: half.length, send: half };
    } }),
};

export class FakeS3 {
    constructor({ bucket = 'traces', createIfAbsent = true, pageKeys = 1000 } = {}) {
        this.bucket = bucket;
        this.createIfAbsent = createIfAbsent;
        this.pageKeys = pageKeys;
        this.objects = new Map(); /* key -> {body, etag, modified} */
        this.uploads = new Map();
        this.requests = []; /* {method, key, query, status}; status 0: none was sent */
        this.rules = [];
        this.clockMs = null; /* set: our clock is that far ahead, and a signature must agree */
        this.sockets = new Set();
        this.port = 0;
    }

    /* From now on requests for which match holds meet the fault, the first `times` of each kind that
     * per() tells apart. Returns the rule: rule.end() lifts it, rule.hits counts. */
    fail(fault, { match = ANY, times = Infinity, per = () => '' } = {}) {
        const rule = { fault, match, times, per, seen: new Map(), hits: 0, end: () => {
            this.rules = this.rules.filter((r) => r !== rule);
            fault.ended?.(this);
        } };
        this.rules.push(rule);
        return rule;
    }

    async start() {
        this.server = http.createServer((req, res) => this.#take(req, res));
        this.server.keepAliveTimeout = 60000;
        this.server.on('connection', (socket) => {
            this.sockets.add(socket);
            socket.on('close', () => this.sockets.delete(socket));
            socket.on('error', () => {});
        });
        await new Promise((resolve, reject) => {
            this.server.once('error', reject);
            this.server.listen(this.port, '127.0.0.1', resolve); /* after a stop: the same port */
        });
        this.port = this.server.address().port;
        return this;
    }

    async stop() {
        if (!this.server) return;
        const closed = new Promise((resolve) => this.server.close(resolve));
        for (const socket of this.sockets) socket.destroy();
        await closed;
        this.server = null;
    }

    keys(prefix = '') {
        return [...this.objects.keys()].filter((k) => k.startsWith(prefix)).sort();
    }

    get config() {
        return { backend: 's3', s3: { bucket: this.bucket, endpoint: `127.0.0.1:${this.port}`,
            insecure: true, forcepathstyle: true, access_key: 'test', secret_key: 'secret' } };
    }

    /* ---- one request ---- */

    #rule(r) {
        for (const rule of this.rules) {
            if (!rule.match(r)) continue;
            const kind = rule.per(r);
            const seen = rule.seen.get(kind) ?? 0;
            if (seen >= rule.times) continue;
            rule.seen.set(kind, seen + 1);
            rule.hits++;
            return rule.fault;
        }
        return {};
    }

    async #take(req, res) {
        const url = new URL(req.url, 'http://x');
        const [, bucket, ...rest] = url.pathname.split('/');
        const r = { method: req.method, bucket, key: decodeURIComponent(rest.join('/')),
            query: url.searchParams, headers: req.headers, socket: req.socket };
        const entry = { method: r.method, key: r.key, query: url.search, status: 0 };
        this.requests.push(entry);
        const parts = [];
        try {
            for await (const part of req) parts.push(part);
        } catch {
            return; /* the client has gone */
        }
        r.body = Buffer.concat(parts);
        const fault = this.#rule(r);
        let answer = (await fault.before?.(r)) ?? this.do(r);
        if (answer !== 'gone' && fault.after) answer = fault.after(r, this.#whole(r, answer));
        if (answer === 'gone') return;
        entry.status = answer.status;
        this.#send(r, res, this.#whole(r, answer));
    }

    #whole(r, a) {
        if (a.code)
            return { status: a.status, headers: { 'content-type': 'application/xml' }, ...a, code: undefined,
                body: Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${a.code}</Code>` +
                    `<Message>told to fail</Message><Resource>${xml(r.key)}</Resource></Error>`) };
        return { headers: {}, body: Buffer.alloc(0), ...a };
    }

    #send(r, res, a) {
        const none = r.method === 'HEAD' || a.status === 204;
        const body = none ? Buffer.alloc(0) : a.send ?? a.body;
        res.writeHead(a.status, { date: new Date(Date.now() + (this.clockMs ?? 0)).toUTCString(),
            ...(a.status === 204 ? {} : { 'content-length': a.length ?? a.body.length }), ...a.headers });
        if (a.close) {
            res.flushHeaders();
            res.write(body, () => r.socket.destroy());
        } else {
            res.end(body);
        }
    }

    #refusal(r) {
        if (!/^AWS4-HMAC-SHA256 Credential=test\/\d{8}\/[\w-]+\/s3\/aws4_request, ?SignedHeaders=[\w;-]+, ?Signature=[0-9a-f]{64}$/
            .test(r.headers.authorization ?? '') || !r.headers['x-amz-content-sha256'])
            return { status: 403, code: 'AccessDenied' };
        if (this.clockMs !== null) {
            const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(r.headers['x-amz-date']);
            const theirs = Date.UTC(y, mo - 1, d, h, mi, s);
            if (Math.abs(theirs - Date.now() - this.clockMs) > 15 * 60000)
                return { status: 403, code: 'RequestTimeTooSkewed' };
        }
        if (r.bucket !== this.bucket) return { status: 404, code: 'NoSuchBucket' };
        return null;
    }

    /* The request's effect, and its answer. */
    do(r) {
        return this.#refusal(r) ?? this.#serve(r);
    }

    #serve(r) {
        const q = r.query;
        if (r.method === 'GET' && !r.key) return this.#list(q);
        if (r.method === 'GET' || r.method === 'HEAD') return this.#get(r);
        if (r.method === 'PUT' && q.has('uploadId')) return this.#part(r);
        if (r.method === 'PUT') return this.#put(r);
        if (r.method === 'POST' && q.has('uploads')) return this.#begin(r);
        if (r.method === 'POST' && q.has('uploadId')) return this.#complete(r);
        if (r.method === 'DELETE' && q.has('uploadId')) {
            return this.uploads.delete(q.get('uploadId')) ? { status: 204 } : { status: 404, code: 'NoSuchUpload' };
        }
        if (r.method === 'DELETE') {
            this.objects.delete(r.key);
            return { status: 204 };
        }
        return { status: 405, code: 'MethodNotAllowed' };
    }

    /* ---- objects ---- */

    #store(key, body) {
        const etag = `"${createHash('md5').update(body).digest('hex')}"`;
        this.objects.set(key, { body, etag, modified: new Date() });
        return etag;
    }

    #put(r) {
        if (this.createIfAbsent && r.headers['if-none-match'] === '*' && this.objects.has(r.key))
            return { status: 412, code: 'PreconditionFailed' };
        return { status: 200, headers: { etag: this.#store(r.key, r.body) } };
    }

    #get(r) {
        const o = this.objects.get(r.key);
        if (!o) return { status: 404, code: 'NoSuchKey' };
        const size = o.body.length;
        const headers = { etag: o.etag, 'last-modified': o.modified.toUTCString(), 'accept-ranges': 'bytes',
            'content-type': 'application/octet-stream' };
        if (r.headers['if-match'] && r.headers['if-match'] !== o.etag) return { status: 412, code: 'PreconditionFailed' };
        const range = /^bytes=(\d*)-(\d*)$/.exec(r.headers.range ?? '');
        if (!range) return { status: 200, headers, body: o.body };
        let [from, to] = [Number(range[1]), range[2] === '' ? size - 1 : Math.min(Number(range[2]), size - 1)];
        if (range[1] === '') [from, to] = [Math.max(0, size - Number(range[2])), size - 1];
        if (from > to || from >= size)
            return { status: 416, code: 'InvalidRange', headers: { 'content-range': `bytes */${size}` } };
        return { status: 206, headers: { ...headers, 'content-range': `bytes ${from}-${to}/${size}` },
            body: o.body.subarray(from, to + 1) };
    }

    #list(q) {
        const prefix = q.get('prefix') ?? '';
        const delimiter = q.get('delimiter');
        const after = q.has('continuation-token') ? Buffer.from(q.get('continuation-token'), 'base64').toString()
            : q.get('start-after') ?? '';
        const show = (k) => (q.get('encoding-type') === 'url' ? encodeURIComponent(k).replaceAll('%2F', '/') : xml(k));
        const entries = new Map();
        for (const key of this.keys(prefix)) {
            const cut = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
            const name = cut < 0 ? key : key.slice(0, cut + 1);
            if (name > after) entries.set(name, cut < 0 ? this.objects.get(key) : null);
        }
        const names = [...entries.keys()].sort();
        const page = names.slice(0, this.pageKeys);
        const more = names.length > page.length;
        const body = page.map((name) => {
            const o = entries.get(name);
            return o ? `<Contents><Key>${show(name)}</Key><LastModified>${o.modified.toISOString()}</LastModified>` +
                `<ETag>${xml(o.etag)}</ETag><Size>${o.body.length}</Size></Contents>`
                : `<CommonPrefixes><Prefix>${show(name)}</Prefix></CommonPrefixes>`;
        }).join('');
        const token = more ? `<NextContinuationToken>${Buffer.from(page.at(-1)).toString('base64')}</NextContinuationToken>` : '';
        return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
            `<Name>${this.bucket}</Name><Prefix>${show(prefix)}</Prefix><KeyCount>${page.length}</KeyCount>` +
            `<MaxKeys>${this.pageKeys}</MaxKeys><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>` +
            `${token}${body}</ListBucketResult>`) };
    }

    /* ---- multipart ---- */

    #begin(r) {
        const id = randomBytes(12).toString('hex');
        this.uploads.set(id, { key: r.key, parts: new Map() });
        return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(
            `<InitiateMultipartUploadResult><Bucket>${this.bucket}</Bucket><Key>${xml(r.key)}</Key>` +
            `<UploadId>${id}</UploadId></InitiateMultipartUploadResult>`) };
    }

    #part(r) {
        const upload = this.uploads.get(r.query.get('uploadId'));
        if (!upload || upload.key !== r.key) return { status: 404, code: 'NoSuchUpload' };
        const etag = `"${createHash('md5').update(r.body).digest('hex')}"`;
        upload.parts.set(Number(r.query.get('partNumber')), { body: r.body, etag });
        return { status: 200, headers: { etag } };
    }

    #complete(r) {
        const id = r.query.get('uploadId');
        const upload = this.uploads.get(id);
        if (!upload) return { status: 404, code: 'NoSuchUpload' };
        const wanted = [...r.body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map((m) => Number(m[1]));
        if (wanted.length === 0 || wanted.some((n) => !upload.parts.has(n))) return { status: 400, code: 'InvalidPart' };
        const etag = this.#store(r.key, Buffer.concat(wanted.map((n) => upload.parts.get(n).body)));
        this.uploads.delete(id);
        return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(
            `<CompleteMultipartUploadResult><Key>${xml(r.key)}</Key><ETag>${xml(etag)}</ETag></CompleteMultipartUploadResult>`) };
    }
}
