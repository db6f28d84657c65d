/* A real S3 server: the one that S3_ENDPOINT names, or a RADOS gateway started here; and a client
 * small enough to be read at once, which shares nothing with the one under test. */
import { execFile, execFileSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { atExit } from './exit.mjs';
import { request } from './http.mjs';

const script = fileURLToPath(new URL('../../support/radosgw', import.meta.url));

let server;

/* Started at the first call of a test file, stopped when that file's process ends. */
export function s3Server() {
    server ??= process.env.S3_ENDPOINT
        ? Promise.resolve({
              endpoint: process.env.S3_ENDPOINT,
              accessKey: process.env.S3_ACCESS_KEY ?? '',
              secretKey: process.env.S3_SECRET_KEY ?? '',
              bucket: process.env.S3_BUCKET,
          })
        : startRadosgw();
    return server;
}

async function startRadosgw() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'rubato-s3-'));
    const stop = () => {
        execFileSync(script, ['stop', dir], { stdio: 'ignore' });
        fs.rmSync(dir, { recursive: true, force: true });
    };
    atExit(stop);
    const { stdout } = await promisify(execFile)(script, ['start', dir]);
    const said = Object.fromEntries(
        stdout
            .trim()
            .split('\n')
            .map((l) => l.split(/=(.*)/s, 2)),
    );
    return {
        endpoint: said.S3_ENDPOINT,
        accessKey: said.S3_ACCESS_KEY,
        secretKey: said.S3_SECRET_KEY,
    };
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => createHmac('sha256', key).update(data).digest();
const quote = (text) =>
    encodeURIComponent(text).replace(
        /[!'()*]/g,
        (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    );

export class Bucket {
    constructor(s3, name) {
        this.s3 = s3;
        this.name = name;
    }

    /* Path style, SigV4, region us-east-1. */
    async ask(method, key, { params = {}, body = Buffer.alloc(0), headers = {}, allow = [] } = {}) {
        const base = new URL(this.s3.endpoint);
        const where = `/${this.name}${key ? `/${key.split('/').map(quote).join('/')}` : ''}`;
        const query = Object.keys(params)
            .sort()
            .map((k) => `${quote(k)}=${quote(params[k])}`)
            .join('&');
        const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
        const scope = `${time.slice(0, 8)}/us-east-1/s3/aws4_request`;
        const signed = {
            host: base.host,
            'x-amz-content-sha256': sha256(body),
            'x-amz-date': time,
        };
        const names = Object.keys(signed).join(';');
        const canonical = [
            method,
            where,
            query,
            ...Object.entries(signed).map(([k, v]) => `${k}:${v}`),
            '',
            names,
            sha256(body),
        ].join('\n');
        const text = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
        const key4 = scope.split('/').reduce(hmac, `AWS4${this.s3.secretKey}`);
        const r = await request(`${base.origin}${where}${query && `?${query}`}`, {
            method,
            body,
            headers: {
                ...headers,
                ...signed,
                authorization:
                    `AWS4-HMAC-SHA256 Credential=${this.s3.accessKey}/${scope}, ` +
                    `SignedHeaders=${names}, Signature=${hmac(key4, text).toString('hex')}`,
            },
        });
        if (r.status >= 300 && !allow.includes(r.status))
            throw new Error(`${method} ${where}: ${r.status} ${r.text}`);
        return r;
    }

    create() {
        return this.ask('PUT', '', { allow: [409] }); /* 409: it is ours already */
    }

    get(key) {
        return this.ask('GET', key);
    }

    put(key, body) {
        return this.ask('PUT', key, { body });
    }

    async list(prefix) {
        const keys = [];
        for (let token; ;) {
            const params = {
                'list-type': '2',
                prefix,
                ...(token && { 'continuation-token': token }),
            };
            const { text } = await this.ask('GET', '', { params });
            keys.push(...[...text.matchAll(/<Key>([^<]*)<\/Key>/g)].map((m) => m[1]));
            token = /<NextContinuationToken>([^<]*)</.exec(text)?.[1];
            if (!token) return keys;
        }
    }
}
