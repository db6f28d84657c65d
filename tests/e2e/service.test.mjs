/* The program as a service: how it starts, what it says, how it stops, what it makes of its
 * configuration, and its roles as processes of their own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { request } from './lib/http.mjs';
import { encode, flat, fromInput, sendGrpc, sendHttp } from './lib/otlp.mjs';
import { assertTrace, built, metric, search, spanIds, trace } from './lib/query.mjs';
import { Rubato, freePort, portIsFree, program, root, run, tempDir } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';
import { forEachOf, until } from './lib/wait.mjs';

const local = drivers.find((d) => d.kind === 'local');

test('without arguments it serves everything from ./rubato-data and says where', async (t) => {
    /* The one test that needs the default ports; somebody else's may be there for a while. */
    await until('the default ports are free', 30000, async () => {
        for (const port of [3200, 4317, 4318, 9095])
            if (!(await portIsFree(port))) throw new Error(`somebody else listens on port ${port}`);
        return true;
    });
    const dir = tempDir('empty');
    const p = run(program('rubato'), [], { cwd: dir });
    t.after(() => p.child.kill('SIGKILL'));
    await until(
        'three lines',
        10000,
        () => {
            assert.equal(p.ended, null, p.stderr);
            return p.stdout.split('\n').length === 4;
        },
        1,
    );
    const saidMs = performance.now() - p.startedAt;
    assert.equal(
        p.stdout,
        [
            'send  OTLP/gRPC localhost:4317, OTLP/HTTP http://localhost:4318/v1/traces',
            'ask   http://localhost:3200/api/search?q={}',
            'data  ./rubato-data (local)',
            '',
        ].join('\n'),
    );
    const ready = await request('http://127.0.0.1:3200/ready');
    assert.equal(`${ready.status} ${ready.text}`, '200 ready\n', 'ready when it says so');
    t.diagnostic(
        `the lines came ${saidMs.toFixed(1)} ms after exec; ${/msg=ready .*/.exec(p.stderr)?.[0]}`,
    );
    assert.ok(saidMs < 5000, `${saidMs} ms`);

    /* What the README shows: curl's JSON in, the trace and the search out. */
    const here = {
        otlpHttp: 'http://localhost:4318/v1/traces',
        otlpGrpc: 'localhost:4317',
        api: 'http://localhost:3200',
    };
    const first = makeRequest({ service: 'hello', spans: 1 });
    await sendHttp(here, first.body, { json: true });
    const second = makeRequest({ service: 'hello', spans: 2 });
    await sendGrpc(here, second.body);
    for (const r of [first, second])
        await assertTrace(here, r.traceId, fromInput(r.body), {}, flat);
    const found = await search(here, { q: '{ resource.service.name = "hello" }' });
    assert.deepEqual(found.map((x) => x.traceID).sort(), [first.traceId, second.traceId].sort());
    assert.deepEqual(fs.readdirSync(dir), ['rubato-data'], 'all it writes is there');
    p.child.kill('SIGTERM');
    assert.deepEqual(await p.end, { code: 0, signal: null });
});

describe('SIGTERM', { concurrency: true }, () => {
    for (const driver of drivers) {
        test(`on ${driver.kind}: what is under way is finished, nothing is lost, the status is 0`, async (t) => {
            const store = await driver.open();
            /* Long enough for requests to be waiting for their segment when the signal comes. */
            const rubato = await Rubato.start({
                store,
                config: { ingest: { flush_window: '4s' } },
            });
            t.after(() => rubato.cleanUp());
            const requests = Array.from({ length: 20 }, (_, i) =>
                makeRequest({ service: 'drain', spans: i + 1 }),
            );
            const acks = requests.map((r, i) =>
                (i % 2 ? sendGrpc(rubato, r.body) : sendHttp(rubato, r.body)).then(
                    () => 'acknowledged',
                    (e) => e,
                ),
            );
            const bytes = requests.reduce((sum, r) => sum + encode(r.body).length, 0);
            await until('all requests wait in the buffer', 4000, async () => {
                return (await metric(rubato, 'ingest_buffer_bytes')) === bytes;
            });
            assert.equal(await rubato.stop(), 0);
            assert.deepEqual([...new Set(await Promise.all(acks))], ['acknowledged']);
            assert.deepEqual(rubato.errorLines(), []);

            await rubato.start();
            for (const r of requests) {
                const answer = await trace(rubato, r.traceId);
                assert.ok(answer, `trace ${r.traceId} of an acknowledged request is there`);
                assert.deepEqual(spanIds(answer, r.traceId), new Set(r.spanIds));
            }
            assert.equal(await rubato.stop(), 0);
        });

        test(`on ${driver.kind}: under load every request is either stored or refused`, async (t) => {
            const store = await driver.open();
            const rubato = await Rubato.start({
                store,
                config: { block_builder: { window: '1s', max_bytes: 64 << 10 } },
            });
            t.after(() => rubato.cleanUp());
            const acked = [];
            let over = false;
            const sender = async () => {
                while (!over) {
                    const r = makeRequest({ service: 'load' });
                    const ok = await sendHttp(rubato, r.body).then(
                        () => true,
                        (e) => {
                            /* Refused in words, or not reached: never a wrong status. */
                            assert.ok(
                                e.status === 503 || e.code || /hang up|cut off/.test(e.message),
                                `refused with: ${e.message}`,
                            );
                            return false;
                        },
                    );
                    if (ok) acked.push(r);
                }
            };
            const senders = [sender(), sender(), sender(), sender()];
            try {
                await until('a load', 20000, () => acked.length >= 100, 5);
                assert.equal(await rubato.stop(), 0);
            } finally {
                over = true;
            }
            await Promise.all(senders);
            assert.deepEqual(rubato.errorLines(), []);
            await rubato.start();
            await forEachOf(acked, 4, async (r) => {
                const answer = await trace(rubato, r.traceId);
                assert.ok(answer, `trace ${r.traceId} of an acknowledged request is there`);
                assert.deepEqual(spanIds(answer, r.traceId), new Set(r.spanIds));
            });
            assert.equal(await rubato.stop(), 0);
        });
    }
});

describe('configuration', () => {
    async function startWith(yaml, { args = [], env } = {}) {
        const dir = tempDir('config');
        fs.writeFileSync(path.join(dir, 'tempo.yaml'), yaml);
        const p = run(program('rubato'), ['-config.file=tempo.yaml', ...args], { cwd: dir, env });
        return Object.assign(p, { dir });
    }

    const cases = [
        [
            'a word for a port',
            'server:\n  http_listen_port: eighty\n',
            'tempo.yaml:2: server.http_listen_port: expected a port from 0 to 65535, found "eighty"',
        ],
        [
            'a list for a text',
            '# first\n\nstorage:\n  trace:\n    backend: [local]\n',
            'tempo.yaml:5: storage.trace.backend: expected ',
        ],
        [
            'a number for a switch',
            'multitenancy_enabled: 17\n',
            'tempo.yaml:1: multitenancy_enabled: expected ',
        ],
        [
            'no unit for a duration',
            'ingest:\n  flush_window: soon\n',
            'tempo.yaml:2: ingest.flush_window: expected a duration',
        ],
        [
            'a text for a section',
            'server:\n  http_listen_port: 3200\ndistributor: yes please\n',
            'tempo.yaml:3: distributor: expected ',
        ],
        [
            'an unknown backend',
            'storage:\n  trace:\n    backend: floppy\n',
            'tempo.yaml:3: storage.trace.backend: expected ',
        ],
    ];
    for (const [what, yaml, text] of cases) {
        test(`${what} stops the start with file, line, key and what was expected`, async () => {
            const p = await startWith(yaml);
            const end = await p.end;
            assert.deepEqual(end, { code: 1, signal: null }, p.stderr);
            assert.ok(p.stderr.includes(text), `expected "${text}" in:\n${p.stderr}`);
            assert.equal(p.stdout, '');
            assert.deepEqual(fs.readdirSync(p.dir), ['tempo.yaml'], 'nothing was made');
        });
    }

    test('all faults of a file are told at once', async () => {
        const p = await startWith('server:\n  http_listen_port: x\n  log_level: loud\n');
        assert.equal((await p.end).code, 1);
        assert.match(p.stderr, /tempo\.yaml:2: server\.http_listen_port/);
        assert.match(p.stderr, /tempo\.yaml:3: server\.log_level/);
    });

    test('a file that is not there, or not YAML, is told by its name', async () => {
        const p = run(program('rubato'), ['-config.file=nowhere.yaml'], { cwd: tempDir('config') });
        assert.equal((await p.end).code, 1);
        assert.match(p.stderr, /nowhere\.yaml/);
        const q = await startWith('server: {http_listen_port: 3200\n');
        assert.equal((await q.end).code, 1);
        assert.match(q.stderr, /tempo\.yaml:\d+/);
    });

    test('an unknown flag is a usage error', async () => {
        const p = run(program('rubato'), ['-no.such.flag=1'], { cwd: tempDir('config') });
        assert.equal((await p.end).code, 2);
        assert.match(p.stderr, /no\.such\.flag/);
    });

    test('an unknown key is a warning with its name and line, and it serves', async (t) => {
        const store = await local.open();
        const rubato = await Rubato.start({
            store,
            config: { storage: { trace: { colour: 'blue' } } },
        });
        t.after(() => rubato.cleanUp());
        const line =
            fs
                .readFileSync(rubato.file, 'utf8')
                .split('\n')
                .findIndex((l) => l.includes('colour')) + 1;
        const warnings = rubato.stderr
            .split('\n')
            .filter((l) => l.includes('storage.trace.colour'));
        assert.equal(warnings.length, 1, rubato.stderr);
        assert.match(warnings[0], new RegExp(`rubato\\.yaml:${line}: unknown key`));
        assert.match(warnings[0], / level=warn /);
        assert.equal(await rubato.stop(), 0);
    });

    test('${VAR} is expanded with -config.expand-env, and only then', async (t) => {
        const dir = tempDir('expand');
        const [api, otlp] = [await freePort(), await freePort()];
        const file = path.join(dir, 'tempo.yaml');
        fs.writeFileSync(
            file,
            [
                'server:',
                '  http_listen_address: ${HOST:-127.0.0.1}',
                '  http_listen_port: ${API_PORT}',
                '  grpc_listen_port: 0',
                'distributor: {receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:${OTLP_PORT}"}}}}}',
                'storage: {trace: {backend: local, local: {path: "${DATA}/spans"}}}',
                '',
            ].join('\n'),
        );
        const env = { API_PORT: String(api), OTLP_PORT: String(otlp), DATA: dir };
        const p = run(program('rubato'), [`-config.file=${file}`, '-config.expand-env'], {
            cwd: dir,
            env,
        });
        t.after(() => p.child.kill('SIGKILL'));
        await until('it is ready', 10000, async () => {
            assert.equal(p.ended, null, p.stderr);
            return (await request(`http://127.0.0.1:${api}/ready`)).status === 200;
        });
        const here = {
            api: `http://127.0.0.1:${api}`,
            otlpHttp: `http://127.0.0.1:${otlp}/v1/traces`,
        };
        const r = makeRequest({ service: 'expanded' });
        await sendHttp(here, r.body);
        assert.ok(await trace(here, r.traceId));
        assert.ok(
            fs.readdirSync(path.join(dir, 'spans')).some((n) => n.startsWith('_rubato.wal.')),
        );
        p.child.kill('SIGTERM');
        assert.equal((await p.end).code, 0);

        const q = run(program('rubato'), [`-config.file=${file}`], { cwd: dir, env });
        assert.equal((await q.end).code, 1);
        assert.match(q.stderr, /tempo\.yaml:3: server\.http_listen_port: expected a port/);
    });
});

describe('roles as processes of their own on one store', { concurrency: true }, () => {
    const roles = [
        [
            'rubato -target=',
            { ingest: { args: ['-target=ingest'] }, frontend: { args: ['-target=frontend'] } },
        ],
        ['rubato-', { ingest: { name: 'rubato-ingest' }, frontend: { name: 'rubato-frontend' } }],
    ];
    for (const driver of drivers) {
        for (const [how, { ingest, frontend }] of roles) {
            test(`${how}ingest and ${how}frontend on ${driver.kind}`, async (t) => {
                /* With a prefix: several installations share a bucket. */
                const store = await driver.open({ prefix: 'one/of/many' });
                const config = {
                    block_builder: { window: '6s' },
                    ingest: { flush_window: '50ms' },
                };
                const writer = await Rubato.start({ store, config, ...ingest });
                t.after(() => writer.cleanUp());
                const reader = await Rubato.start({ store, config, ...frontend });
                t.after(() => reader.cleanUp());
                const sent = makeRequest({ service: 'over there', spans: 20 });
                const asked = async () => {
                    const byId = await trace(reader, sent.traceId);
                    const [bySearch] = await search(reader, {
                        q: '{ resource.service.name = "over there" }',
                    });
                    return {
                        ids: byId && spanIds(byId, sent.traceId),
                        matched: bySearch?.spanSets[0].matched,
                    };
                };
                const seen = async () => {
                    const { ids, matched } = await asked();
                    if (!ids || !matched) return false;
                    assert.deepEqual(ids, new Set(sent.spanIds));
                    assert.equal(matched, sent.spanIds.length);
                    return true;
                };

                await sendHttp(writer, sent.body);
                const at = performance.now();
                await until('the frontend finds the span', 2000, seen, 20);
                t.diagnostic(`found after ${(performance.now() - at).toFixed(0)} ms`);
                assert.ok((await store.list('_rubato.wal.')).length, 'before there is a block');
                assert.ok(!(await store.list()).some((k) => k.endsWith('meta.json')));

                /* While the block is built, and until the frontend has learned of it, always once. */
                const block = built(writer, sent.spanIds.length).then(() => 'built');
                for (let done, left = 0; left < 20; left += done === 'built' ? 1 : 0) {
                    assert.ok(await seen(), 'what was found once stays found');
                    done = await Promise.race([block, new Promise((r) => setTimeout(r, 50))]);
                }
                await until(
                    'the frontend reads it from the block',
                    5000,
                    async () => await trace(reader, sent.traceId, { params: { mode: 'blocks' } }),
                    50,
                );
                assert.ok(await seen());

                const later = makeRequest({
                    service: 'over there',
                    traceId: sent.traceId,
                    parent: sent.rootId,
                });
                await sendHttp(writer, later.body);
                await until(
                    'the frontend joins block and segment',
                    2000,
                    async () => {
                        const ids = spanIds(await trace(reader, sent.traceId), sent.traceId);
                        return ids.size === sent.spanIds.length + later.spanIds.length;
                    },
                    20,
                );
                await assert.rejects(
                    request(reader.otlpHttp, { method: 'POST' }),
                    /ECONNREFUSED/,
                    'no receiver there',
                );
                assert.equal(
                    (await request(`${writer.api}/api/search`)).status,
                    404,
                    'no questions here',
                );
                for (const r of [reader, writer]) {
                    assert.equal(await r.stop(), 0);
                    /* A directory is told to be one that both must share. */
                    const said = r
                        .errorLines()
                        .filter(
                            (l) => driver.kind !== 'local' || !l.includes('share the directory'),
                        );
                    assert.deepEqual(said, []);
                }
            });
        }
    }
});

test('make install PREFIX=… puts the four programs there, and they run', async () => {
    const prefix = path.join(tempDir('install'), 'usr');
    const env = { ...process.env };
    /* What an outer make says to its children is not for this one. */
    for (const name of ['MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES', 'B', 'DESTDIR'])
        delete env[name];
    await promisify(execFile)('make', ['install', `PREFIX=${prefix}`], { cwd: root, env });
    const names = ['rubato', 'rubato-frontend', 'rubato-ingest', 'rubato-worker'];
    assert.deepEqual(fs.readdirSync(path.join(prefix, 'bin')).sort(), names);
    for (const name of names) {
        const { stdout } = await promisify(execFile)(path.join(prefix, 'bin', name), ['-version']);
        assert.match(stdout, new RegExp(`^${name}, version \\d+\\.\\d+\\.\\d+`));
    }
});
