/* rubato query: the same answers from a server and straight from its store, on a directory and on
 * S3, from segments and from blocks; and a store that is only looked at stays as it is. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { request } from './lib/http.mjs';
import { sendHttp } from './lib/otlp.mjs';
import { built } from './lib/query.mjs';
import { Rubato, program, root, run, tempDir } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';

const local = drivers.find((d) => d.kind === 'local');

async function query(args, env = {}) {
    const p = run(program('rubato'), ['query', ...args],
        { cwd: root, env: { AWS_ENDPOINT_URL: '', AWS_ENDPOINT_URL_S3: '', NO_COLOR: '', COLUMNS: '', ...env } });
    const { code, signal } = await p.end;
    assert.equal(signal, null, p.stderr);
    return { status: code, out: p.stdout, err: p.stderr };
}

async function works(args, env) {
    const r = await query(args, env);
    assert.equal(r.status, 0, `${args.join(' ')}: ${r.err}`);
    assert.equal(r.err, '', 'progress is for terminals');
    return r.out;
}

/* The options, and the environment, that name a store. */
function naming(store) {
    const { config } = store;
    if (config.backend === 'local') return [['--store', config.local.path], {}];
    const { bucket, prefix, endpoint, region, access_key, secret_key } = config.s3;
    return [
        ['--store', `s3://${bucket}${prefix ? `/${prefix}` : ''}`, '--endpoint', `http://${endpoint}`],
        { AWS_ACCESS_KEY_ID: access_key, AWS_SECRET_ACCESS_KEY: secret_key, AWS_REGION: region },
    ];
}

async function fingerprint(store) {
    const out = {};
    for (const key of (await store.list()).sort())
        out[key] = createHash('sha256').update(await store.get(key)).digest('hex');
    return out;
}

function questions(traceId) {
    const now = Math.floor(Date.now() / 1000);
    const range = ['--start', String(now - 600), '--end', String(now + 60)];
    return {
        search: ['search', ...range, '--limit', '3', '--spss', '2', '{ status = error }'],
        'search over all time': ['search', '{ resource.service.name =~ "c.*" } | select(span.n)'],
        'search for nothing': ['search', '{ name = "nobody" }'],
        range: ['range', ...range, '--step', '15s', '{} | rate() by (resource.service.name, status)'],
        instant: ['instant', ...range, '{} | quantile_over_time(duration, .5, .9) by (name)'],
        tags: ['tags'],
        'tags of a scope': ['tags', '--scope', 'resource', '{ resource.service.name = "cart" }'],
        values: ['values', 'resource.service.name'],
        'values of some': ['values', 'name', '{ span.n > 10 }'],
        trace: ['trace', traceId],
    };
}

async function assertSame(rubato, store, traceId) {
    const [named, env] = naming(store);
    for (const [name, args] of Object.entries(questions(traceId))) {
        for (const form of [['--json'], []]) {
            const fromServer = await works(['--addr', rubato.api, ...args, ...form]);
            const fromStore = await works([...named, ...args, ...form], env);
            assert.equal(fromStore, fromServer, `${name} ${form}`);
            assert.notEqual(fromServer, '');
        }
    }
}

describe('rubato query', { concurrency: false }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: a store answers as its server does`, async (t) => {
            const store = await driver.open();
            const rubato = await Rubato.start({ store, config: { block_builder: { window: '4s' } } });
            t.after(() => rubato.cleanUp());
            const cart = makeRequest({ service: 'cart', spans: 20 });
            for (const r of [makeRequest({ service: 'shop', spans: 40 }), cart, makeRequest({ service: 'checkout' })])
                await sendHttp(rubato, r.body);

            const [named, env] = naming(store);
            const json = JSON.parse(await works([...named, 'search', '--json', '{}'], env));
            assert.equal(json.traces.length, 3, 'spans of segments are found');
            assert.notEqual((await store.list('_rubato.wal.')).length, 0, 'these were segments');
            await built(rubato, 68);
            await assertSame(rubato, store, cart.traceId);

            /* Blocks and segments at once. */
            assert.equal(await rubato.stop(), 0);
            await rubato.start({ block_builder: { window: '1h', max_bytes: 1 << 30 } });
            await sendHttp(rubato, makeRequest({ service: 'cashier', spans: 30, traceId: cart.traceId, parent: cart.rootId }).body);
            await assertSame(rubato, store, cart.traceId);
            const whole = await works([...named, 'trace', cart.traceId], env);
            assert.match(whole, /, 50 spans of 2 services, 12 errors\n/);

            await rubato.kill();
            const before = await fingerprint(store);
            assert.ok(Object.keys(before).some((k) => k.startsWith('_rubato.wal.')));
            for (const args of Object.values(questions(cart.traceId))) await works([...named, ...args], env);
            assert.deepEqual(await fingerprint(store), before, 'the store is as it was');
        });
    }

    test('a directory without write permission, and one that is not there', async () => {
        const store = await local.open();
        const rubato = await Rubato.start({ store });
        const r = makeRequest({ service: 'frozen', spans: 4 });
        await sendHttp(rubato, r.body);
        await rubato.kill();
        const dir = store.config.local.path;
        fs.writeFileSync(path.join(dir, '.rubato-tmp-old'), 'half');
        fs.utimesSync(path.join(dir, '.rubato-tmp-old'), 1, 1);
        fs.chmodSync(dir, 0o555);
        try {
            assert.match(await works(['--store', dir, 'search', '{}']), /frozen/);
            assert.match(await works(['--store', `file://${dir}`, 'trace', r.traceId]), /step 3/);
        } finally {
            fs.chmodSync(dir, 0o755);
        }
        assert.ok(fs.existsSync(path.join(dir, '.rubato-tmp-old')), 'nothing is swept');
        const none = path.join(tempDir('none'), 'x');
        const gone = await query(['--store', none, 'search', '{}']);
        assert.equal(gone.status, 1);
        assert.match(gone.err, /No such file/);
        assert.equal(fs.existsSync(none), false, 'nothing is made');
    });

    test('tenants: each has its own, a wrong name is told', async (t) => {
        const store = await local.open();
        const rubato = await Rubato.start({ store, config: { multitenancy_enabled: true } });
        t.after(() => rubato.cleanUp());
        for (const tenant of ['one', 'two']) {
            const r = await request(rubato.otlpHttp, { method: 'POST', body: JSON.stringify(makeRequest({ service: `of-${tenant}` }).body),
                headers: { 'content-type': 'application/json', 'x-scope-orgid': tenant } });
            assert.equal(r.status, 200, r.text);
        }
        const values = ['values', 'resource.service.name'];
        const want = 'TYPE    VALUE\nstring  of-two\n';
        assert.equal(await works(['--addr', rubato.api, '--tenant', 'two', ...values]), want);
        assert.equal(await works(['--store', store.config.local.path, '--tenant', 'two', ...values]), want);
        const both = 'TYPE    VALUE\nstring  of-one\nstring  of-two\n';
        assert.equal(await works(['--addr', rubato.api, '--tenant', 'two|one', ...values]), both);
        assert.equal(await works(['--store', store.config.local.path, '--tenant', 'two|one', ...values]), both);
        const nobody = await query(['--store', store.config.local.path, ...values]);
        assert.equal(nobody.status, 0);
        assert.equal(nobody.out, 'no values\n');
        assert.match(nobody.err, /tenant single-tenant has no data in .*; there are: one, two\n/);
        const unnamed = await query(['--addr', rubato.api, ...values]);
        assert.equal(unnamed.status, 1);
        assert.equal(unnamed.err, 'rubato query values: no org id\n');
    });

    test('an error of TraceQL shows where it is', async (t) => {
        const store = await local.open();
        const rubato = await Rubato.start({ store });
        t.after(() => rubato.cleanUp());
        for (const whom of [['--addr', rubato.api], ['--store', store.config.local.path]]) {
            const bad = async (...args) => {
                const r = await query([...whom, ...args]);
                assert.equal(r.status, 1);
                assert.equal(r.out, '');
                return r.err.replace(/^rubato query: note: .*\n/, '');
            };
            assert.equal(await bad('search', '{ status = err }'),
                'rubato query search: invalid TraceQL query: parse error at line 1, col 12: syntax error: unexpected IDENTIFIER\n' +
                '  { status = err }\n             ^\n');
            assert.equal(await bad('range', '{}\n  | rat()'),
                'rubato query range: compiling query: parse error at line 2, col 5: syntax error: unexpected IDENTIFIER\n' +
                '    | rat()\n      ^\n');
            assert.equal(await bad('instant', '{}'), 'rubato query instant: not a metrics query\n');
            assert.match(await bad('values', 'x'), /please provide a valid tagName/);
            assert.equal(await bad('trace', 'xyz'),
                "rubato query trace: trace IDs can only contain hex characters: invalid character 'x' at position 1\n");
            assert.equal(await bad('trace', '1234'), 'rubato query trace: there is no such trace\n');
        }
    });

    test('the status tells usage from failure', async () => {
        for (const args of [[], ['nonsense'], ['search'], ['search', '{}', '{}'], ['--bogus', 'search', '{}'],
            ['search', '--step', '5s', '{}'], ['trace', '--limit', '3', 'ab'], ['search', '--since', 'x', '{}'],
            ['search', '--start', 'noon', '{}'], ['search', '--since', '1h', '--start', 'now-1h', '{}'],
            ['search', '--store', '/tmp', '--addr', 'x', '{}'], ['search', '--tenant', 'a b', '{}']]) {
            const r = await query(args);
            assert.equal(r.status, 2, args.join(' '));
            assert.equal(r.out, '');
            assert.match(r.err, /rubato query/);
        }
        for (const args of [['--addr', '127.0.0.1:1', 'search', '{}'], ['--store', '/nowhere/at/all', 'tags'],
            ['--store', 's3://b', '--endpoint', 'http://127.0.0.1:1', '--access-key', 'k', '--secret-key', 's', 'tags']]) {
            const r = await query(args);
            assert.equal(r.status, 1, args.join(' '));
            assert.match(r.err, /^rubato query (search|tags): .*\n$/, 'one line');
        }
        for (const args of [['--help'], ['search', '--help'], ['trace', '-h']]) {
            const out = await works(args);
            assert.match(out, /^usage: rubato query/);
            assert.match(out, /Exit status: 0/);
        }
    });

    test('a server that is none is told', async (t) => {
        const http = await import('node:http');
        const answers = { '/': [200, 'hello'], '/down': [503, 'later\n'], '/list': [200, '[]'] };
        const server = http.createServer((req, res) => {
            const [status, body] = answers[Object.keys(answers).findLast((p) => req.url.startsWith(p))];
            res.writeHead(status).end(body);
        });
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => server.close());
        const addr = `127.0.0.1:${server.address().port}`;
        const said = async (a) => {
            const r = await query(['--addr', a, 'search', '{}']);
            assert.equal(r.status, 1);
            return r.err;
        };
        assert.equal(await said(addr), 'rubato query search: the answer is not JSON of Tempo\'s API\n');
        assert.equal(await said(`${addr}/list/`), 'rubato query search: the answer is not JSON of Tempo\'s API\n');
        assert.equal(await said(`http://${addr}/down`), 'rubato query search: answered with status 503: later\n');
    });
});
