/* Where a test keeps its objects: a directory, or a bucket of a real S3 server. Both fresh. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { atExit } from './exit.mjs';
import { Bucket, s3Server } from './s3.mjs';

function walk(dir, lead, out) {
    let entries;
    try {
        entries = fs.readdirSync(dir, { withFileTypes: true });
    } catch (e) {
        if (e.code === 'ENOENT') return out; /* gone since it was listed */
        throw e;
    }
    for (const e of entries) {
        if (e.isDirectory()) walk(path.join(dir, e.name), `${lead}${e.name}/`, out);
        else out.push(lead + e.name);
    }
    return out;
}

function localStore() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'rubato-store-'));
    atExit(() => fs.rmSync(dir, { recursive: true, force: true }));
    return {
        kind: 'local',
        config: { backend: 'local', local: { path: dir } },
        list: async (prefix = '') => walk(dir, '', []).filter((k) => k.startsWith(prefix)),
        get: async (key) => fs.readFileSync(path.join(dir, key)),
        put: async (key, body) => {
            fs.mkdirSync(path.dirname(path.join(dir, key)), { recursive: true });
            fs.writeFileSync(path.join(dir, key), body);
        },
    };
}

/* A bucket of its own, or, in a bucket that S3_BUCKET names, a prefix of its own. */
async function s3Store({ prefix } = {}) {
    const s3 = await s3Server();
    const fresh = `rubato-e2e-${randomBytes(6).toString('hex')}`;
    const bucket = new Bucket(s3, s3.bucket ?? fresh);
    if (!s3.bucket) await bucket.create();
    const lead = s3.bucket ? [fresh, prefix].filter(Boolean).join('/') : (prefix ?? '');
    const under = (key) => (lead ? `${lead}/${key}` : key);
    const url = new URL(s3.endpoint);
    return {
        kind: 's3',
        config: {
            backend: 's3',
            s3: {
                bucket: bucket.name,
                endpoint: url.host,
                region: 'us-east-1',
                access_key: s3.accessKey,
                secret_key: s3.secretKey,
                insecure: url.protocol === 'http:',
                forcepathstyle: true,
                ...(lead && { prefix: lead }),
            },
        },
        list: async (p = '') =>
            (await bucket.list(under(p))).map((k) => (lead ? k.slice(lead.length + 1) : k)),
        get: async (key) => (await bucket.get(under(key))).bytes,
        put: (key, body) => bucket.put(under(key), body),
    };
}

/* The two drivers that every promise holds on. */
export const drivers = [
    { kind: 'local', open: async () => localStore() },
    { kind: 's3', open: s3Store },
];

/* The files under dir, as objects. */
export async function putTree(store, dir) {
    for (const name of walk(dir, '', []))
        await store.put(name, fs.readFileSync(path.join(dir, name)));
}
