/* The files of infra/ against what they are for: the tools that read them, the published schemas of
 * the objects they hold, the program they start and the metrics it has. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parse as parseHcl } from '@cdktf/hcl2json';
import YAML from 'yaml';
import { request } from './lib/http.mjs';
import { FakeS3 } from './lib/fake-s3.mjs';
import { actionOf, allows } from './lib/iam.mjs';
import { validateKube } from './lib/kube-schema.mjs';
import { kustomize, readYaml } from './lib/kustomize.mjs';
import { sendHttp } from './lib/otlp.mjs';
import { built, search, trace } from './lib/query.mjs';
import { Rubato, freePort, program, root, run, tempDir } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest } from './lib/traces.mjs';
import { until } from './lib/wait.mjs';

const infra = path.join(root, 'infra');
const at = (...names) => path.join(infra, ...names);
const read = (...names) => fs.readFileSync(at(...names), 'utf8');
const json = (...names) => JSON.parse(read(...names));
const filesBelow = (dir) =>
    fs
        .readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((e) => e.isFile())
        .map((e) => path.join(e.parentPath ?? e.path, e.name));

/* The notes of `rubato -config.verify`; [] when it has nothing to say. */
async function verify(config, { args = [], env = {} } = {}) {
    const file = path.join(tempDir('verify'), 'rubato.yaml');
    fs.writeFileSync(file, config);
    const p = run(program('rubato'), [`-config.file=${file}`, '-config.verify', ...args], { env });
    const { code } = await p.end;
    const notes = p.stderr.split('\n').filter(Boolean);
    assert.equal(code === 0, notes.length === 0, p.stderr);
    /* Until frontends hand out jobs to other processes, the keys about it are not known. */
    const ahead = !(await defaults()).has('query_frontend.workers.remote');
    const early = /querier\.(max_concurrent_queries|frontend_worker\.)|query_frontend\.workers/;
    return notes.filter((line) => !ahead || !early.test(line));
}

const seconds = (duration) => {
    const [, n, unit] = /^(\d+)(ms|s|m|h)$/.exec(duration);
    return Number(n) * { ms: 0.001, s: 1, m: 60, h: 3600 }[unit];
};

/* All values of the configuration of a program, by their path. */
async function defaults() {
    const p = run(program('rubato'), ['-help']);
    await p.end;
    const all = new Map();
    for (const [, key, text] of p.stdout.matchAll(/^ {2}([a-z]\S+\.\S+|[a-z_]+)(?: \w+)?\n\s+(.*)$/gm))
        all.set(key, /\(default (.*)\)$/.exec(text)?.[1]);
    return all;
}

/* What a process may need for its end: see app_drain. */
const ROLES_END_S = 5;
async function secondsToStop(config) {
    const own = YAML.parse(config);
    const drain =
        own.server?.graceful_shutdown_timeout ??
        (await defaults()).get('server.graceful_shutdown_timeout');
    return seconds(own.shutdown_delay ?? '0s') + seconds(drain) + ROLES_END_S;
}

/* ---- the image ---- */

describe('the image', () => {
    const dockerfile = read('docker', 'Dockerfile');
    const final = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));

    test('has the libraries that the programs are linked with', () => {
        const installed = new Set(
            /install -y -q --no-install-recommends((?:[^&]|\n)*)/.exec(final)[1].split(/[\s\\]+/),
        );
        const libraries = new Set();
        for (const name of fs.readdirSync(path.dirname(program('rubato')))) {
            const said = execFileSync('readelf', ['-d', program(name)], { encoding: 'utf8' });
            for (const [, so] of said.matchAll(/NEEDED.*\[(.*)\]/g))
                if (!/^lib(asan|ubsan|tsan)\.so/.test(so)) libraries.add(so);
        }
        assert.ok(libraries.size > 10, [...libraries].join());
        libraries.add('libs3.so.2'); /* loaded by name */
        const needed = new Set(['ca-certificates', '']);
        for (const so of libraries) {
            const owners = execFileSync('dpkg', ['-S', `*/${so}`], { encoding: 'utf8' })
                .split('\n')
                .filter(Boolean)
                .map((line) => line.split(':')[0]);
            if (owners.includes('libc6')) continue; /* in every image */
            assert.ok(
                owners.some((p) => installed.has(p)),
                `${so} of ${owners} is not installed`,
            );
            owners.forEach((p) => needed.add(p));
        }
        for (const p of installed) assert.ok(needed.has(p), `${p} is not needed`);
    });

    test('copies files that are there, and runs as a number that is not root', () => {
        for (const [, file] of final.matchAll(/^COPY (?:--chmod=\d+ )?(infra\S+) /gm))
            assert.ok(fs.existsSync(path.join(root, file)), file);
        const [, uid, gid] = /^USER (\d+):(\d+)$/m.exec(final);
        assert.ok(Number(uid) > 0 && Number(gid) > 0);
        assert.match(final, new RegExp(`useradd --uid ${uid} --user-group `));
    });

    test('has a configuration that serves a directory, and a bucket by the environment', async () => {
        const config = read('docker', 'rubato.yaml');
        const args = ['-config.expand-env'];
        assert.deepEqual(await verify(config, { args }), []);
        const bucket = {
            RUBATO_BACKEND: 's3',
            RUBATO_S3_BUCKET: 'traces',
            RUBATO_S3_ENDPOINT: 'minio:9000',
        };
        assert.deepEqual(await verify(config, { args, env: bucket }), []);
        const [note] = await verify(config, { args, env: { RUBATO_BACKEND: 's3' } });
        assert.match(note, /storage\.trace\.s3\.bucket/);
    });

    test('is healthy when /ready says so, and only then', async (t) => {
        const check = async (port) => {
            const p = run(at('docker', 'healthcheck'), [], { env: { RUBATO_HTTP_PORT: String(port) } });
            return (await p.end).code;
        };
        assert.notEqual(await check(await freePort()), 0, 'nobody is there');
        /* A bucket that does not answer: the process is up and not ready. */
        const s3 = await new FakeS3().start();
        t.after(() => s3.stop());
        const silence = s3.fail({ before: () => 'gone' });
        const rubato = await Rubato.make({ store: { config: s3.config } });
        t.after(() => rubato.cleanUp());
        const started = rubato.start();
        const port = new URL(rubato.api).port;
        await until('it listens', 10000, async () => (await request(`${rubato.api}/metrics`)).text);
        assert.notEqual(await check(port), 0, 'not ready');
        silence.end();
        await started;
        assert.equal(await check(port), 0);
    });
});

/* ---- compose ---- */

describe('compose', () => {
    const dir = at('compose');
    const profiles = ['single', 'roles'];
    /* The services of a profile as the tool reads them. */
    const services = (profile) => {
        const text = execFileSync('docker-compose', ['config'], {
            cwd: dir,
            encoding: 'utf8',
            env: { ...process.env, COMPOSE_PROFILES: profile },
        });
        return Object.entries(YAML.parse(text).services).filter(
            ([, s]) => !s.profiles || s.profiles.includes(profile),
        );
    };
    const config = read('docker', 'rubato.yaml');
    const ours = (profile) => services(profile).filter(([, s]) => s.image === 'rubato');

    test('by default it starts one process', () => {
        const env = Object.fromEntries(
            [...read('compose', '.env').matchAll(/^(\w+)=(.*)$/gm)].map(([, k, v]) => [k, v]),
        );
        assert.equal(env.COMPOSE_PROFILES, 'single');
        assert.equal(ours('single').length, 1);
    });

    for (const profile of profiles) {
        test(`profile ${profile}: every process has a configuration and a target it takes`, async () => {
            const known = new Set([...config.matchAll(/\$\{(\w+)/g)].map((m) => m[1]));
            for (const [name, s] of ours(profile)) {
                const own = Object.keys(s.environment).filter((k) => k.startsWith('RUBATO_'));
                assert.ok(own.length > 3, name);
                for (const key of own) assert.ok(known.has(key), `${name}: ${key}`);
                const args = ['-config.expand-env', ...(s.command ?? [])];
                assert.deepEqual(await verify(config, { args, env: s.environment }), [], name);
                const [, grace] = /^(\d+)s$/.exec(s.stop_grace_period);
                const expanded = config.replace(/\$\{\w+:-(.*?)\}/g, '$1');
                assert.ok(Number(grace) >= (await secondsToStop(expanded)), `${name}: ${grace} s`);
            }
        });

        test(`profile ${profile}: ports are on loopback, once, and are those of the configuration`, () => {
            const listens = new Set(['3200']);
            for (const [, port] of config.matchAll(/endpoint: "0\.0\.0\.0:(\d+)"/g)) listens.add(port);
            const taken = new Set();
            for (const [name, s] of services(profile))
                for (const mapping of s.ports ?? []) {
                    const [, host, inside] = /^127\.0\.0\.1:(\d+):(\d+)(?:\/tcp)?$/.exec(mapping);
                    assert.ok(!taken.has(host), `${host} twice`);
                    taken.add(host);
                    if (s.image === 'rubato') assert.ok(listens.has(inside), `${name}: ${inside}`);
                }
            for (const port of ['3000', '3200', '4317', '4318']) assert.ok(taken.has(port), port);
        });

        test(`profile ${profile}: Grafana and Prometheus find whom they ask`, () => {
            const names = new Map();
            for (const [name, s] of services(profile)) {
                names.set(name, s);
                for (const alias of s.networks?.default?.aliases ?? []) names.set(alias, s);
            }
            const { datasources } = readYaml(
                at('compose/grafana/provisioning/datasources/rubato.yaml'),
            )[0];
            for (const { type, url } of datasources) {
                const { hostname, port } = new URL(url);
                assert.ok(names.has(hostname), `${type}: ${hostname}`);
                const open = { tempo: '3200', prometheus: '9090' }[type];
                assert.equal(port, open, type);
            }
            const [{ dns_sd_configs: [{ names: asked, port }] }] = readYaml(
                at('compose/prometheus.yaml'),
            )[0].scrape_configs;
            assert.equal(port, 3200);
            for (const [name] of ours(profile)) assert.ok(asked.includes(name), name);
        });

        test(`profile ${profile}: what is mounted and waited for is there`, () => {
            const all = new Map(services(profile));
            for (const [name, s] of all) {
                for (const mount of s.volumes ?? []) {
                    const [source] = mount.split(':');
                    if (source.startsWith('/')) assert.ok(fs.existsSync(source), `${name}: ${source}`);
                }
                for (const other of Object.keys(s.depends_on ?? {}))
                    assert.ok(all.has(other), `${name} waits for ${other}`);
            }
            const bucket = all.get('bucket');
            const [, file] = /mc ilm import \S+ < \/bucket\/(\S+)/.exec(bucket.command.join('\n'));
            assert.ok(fs.existsSync(at('bucket', file)));
        });
    }

    test('promtool takes the configuration of Prometheus', () => {
        const dir = tempDir('prometheus');
        fs.copyFileSync(at('compose/prometheus.yaml'), path.join(dir, 'prometheus.yaml'));
        fs.copyFileSync(at('monitoring/rules.yaml'), path.join(dir, 'rules.yaml'));
        execFileSync('promtool', ['check', 'config', path.join(dir, 'prometheus.yaml')]);
    });
});

/* ---- Kubernetes ---- */

describe('Kubernetes', () => {
    const overlay = (name) => kustomize(at('kubernetes', 'overlays', name));
    const overlays = fs.readdirSync(at('kubernetes', 'overlays'));
    const sets = overlays.map((name) => [name, overlay(name)]);
    const of = (objects, kind) => objects.filter((o) => o.kind === kind);
    const named = (objects, kind, name) => of(objects, kind).find((o) => o.metadata.name === name);
    const selects = (selector, labels = {}) =>
        Object.entries(selector).every(([key, value]) => labels[key] === value);
    const pods = (objects) => of(objects, 'Deployment').map((d) => d.spec.template);
    const portsOf = (pod) =>
        new Map(pod.spec.containers.flatMap((c) => c.ports).map((p) => [p.name, p.containerPort]));

    test('the overlays are there', () => {
        assert.deepEqual(overlays.sort(), ['roles', 'roles-keda', 'roles-keda-prometheus', 'single']);
        assert.equal(of(overlay('roles'), 'Deployment').length, 4);
    });

    test('a misspelt key, a wrong type and a missing field are found', () => {
        const spoil = (change) => {
            const d = structuredClone(of(overlay('single'), 'Deployment')[0]);
            change(d, d.spec.template.spec.containers[0]);
            return () => validateKube(d);
        };
        assert.doesNotThrow(spoil(() => {}));
        assert.throws(spoil((d) => (d.spec.replica = 1)), /spec\/replica is not known/);
        assert.throws(spoil((d, c) => (c.imagePolicy = 'x')), /imagePolicy is not known/);
        assert.throws(spoil((d, c) => (c.ports[0].containerPort = '80')), /must be integer/);
        assert.throws(spoil((d) => delete d.spec.selector), /must have required property/);
    });

    for (const [name, objects] of sets) {
        test(`${name}: each object is of its schema, once, in the namespace`, () => {
            const seen = new Set();
            for (const o of objects) {
                const id = `${o.kind} ${o.metadata.name}`;
                assert.ok(!seen.has(id), `${id} twice`);
                seen.add(id);
                assert.doesNotThrow(() => validateKube(o), id);
            }
            const [ns] = of(objects, 'Namespace');
            for (const o of objects)
                if (o !== ns)
                    assert.equal(o.metadata.namespace, ns.metadata.name, o.metadata.name);
        });

        test(`${name}: selectors find their pods, and ports are where they are looked for`, () => {
            for (const d of of(objects, 'Deployment')) {
                assert.ok(selects(d.spec.selector.matchLabels, d.spec.template.metadata.labels));
                const others = of(objects, 'Deployment').filter((x) => x !== d);
                for (const x of others)
                    assert.ok(!selects(d.spec.selector.matchLabels, x.spec.template.metadata.labels));
                assert.ok(
                    of(objects, 'PodDisruptionBudget').some((b) =>
                        selects(b.spec.selector.matchLabels, d.spec.template.metadata.labels),
                    ),
                    `${d.metadata.name} has a budget`,
                );
                for (const probe of ['readinessProbe', 'livenessProbe'])
                    for (const c of d.spec.template.spec.containers)
                        assert.ok(portsOf(d.spec.template).has(c[probe].httpGet.port));
            }
            for (const s of of(objects, 'Service')) {
                const hit = pods(objects).filter((p) => selects(s.spec.selector, p.metadata.labels));
                assert.ok(hit.length, `${s.metadata.name} has pods`);
                for (const pod of hit)
                    for (const { port, targetPort } of s.spec.ports)
                        assert.equal(portsOf(pod).get(targetPort), port, s.metadata.name);
            }
            for (const b of of(objects, 'PodDisruptionBudget'))
                assert.ok(
                    pods(objects).some((p) => selects(b.spec.selector.matchLabels, p.metadata.labels)),
                );
            for (const m of of(objects, 'ServiceMonitor')) {
                const hit = of(objects, 'Service').filter((s) =>
                    selects(m.spec.selector.matchLabels, s.metadata.labels),
                );
                assert.equal(hit.length, 1);
                for (const { port, path: where } of m.spec.endpoints) {
                    assert.ok(hit[0].spec.ports.some((p) => p.name === port));
                    assert.equal(where, '/metrics');
                }
                for (const pod of pods(objects))
                    assert.ok(selects(hit[0].spec.selector, pod.metadata.labels), 'all roles');
            }
        });

        test(`${name}: what pods refer to is there, and they have no rights`, () => {
            const user = Number(/^USER (\d+)/m.exec(read('docker', 'Dockerfile'))[1]);
            const secret = readYaml(at('kubernetes', 'secret.sample.yaml'))[0];
            validateKube(secret);
            for (const { spec } of pods(objects)) {
                assert.ok(named(objects, 'ServiceAccount', spec.serviceAccountName));
                assert.equal(spec.automountServiceAccountToken, false);
                assert.equal(spec.securityContext.runAsNonRoot, true);
                assert.equal(spec.securityContext.runAsUser, user, 'the user of the image');
                assert.equal(spec.securityContext.seccompProfile.type, 'RuntimeDefault');
                for (const { configMap } of spec.volumes)
                    assert.ok(named(objects, 'ConfigMap', configMap.name));
                for (const c of spec.containers) {
                    assert.match(c.image, /^registry\.example\.com\/rubato:/);
                    for (const { secretRef } of c.envFrom)
                        assert.equal(secretRef.name, secret.metadata.name);
                    const { securityContext: s, resources: r } = c;
                    assert.equal(s.allowPrivilegeEscalation, false);
                    assert.equal(s.readOnlyRootFilesystem, true);
                    assert.deepEqual(s.capabilities, { drop: ['ALL'] });
                    assert.ok(r.requests.cpu && r.requests.memory && r.limits.memory);
                    for (const m of c.volumeMounts)
                        assert.ok(spec.volumes.some((v) => v.name === m.name));
                }
            }
        });

        test(`${name}: one autoscaler a target, and no number of pods beside it`, () => {
            const scalers = [...of(objects, 'HorizontalPodAutoscaler'), ...of(objects, 'ScaledObject')];
            const targets = scalers.map((s) => s.spec.scaleTargetRef.name);
            assert.equal(new Set(targets).size, targets.length);
            for (const d of of(objects, 'Deployment')) {
                const scaled = targets.includes(d.metadata.name);
                assert.equal(d.spec.replicas === undefined, scaled, d.metadata.name);
            }
            for (const target of targets) assert.ok(named(objects, 'Deployment', target), target);
            for (const s of of(objects, 'ScaledObject')) {
                assert.ok(s.spec.fallback.replicas >= 1, 'a lost signal is not a reason for none');
                for (const { type, metricType, metadata } of s.spec.triggers) {
                    const { data } = named(objects, 'ConfigMap', 'rubato-config');
                    const slots = YAML.parse(data['rubato.yaml']).querier.max_concurrent_queries;
                    if (s.metadata.name === 'rubato-worker')
                        assert.equal(
                            Number(metadata.targetValue ?? metadata.threshold),
                            Math.floor(slots * 0.75),
                        );
                    assert.equal(metricType, 'AverageValue', 'fallback needs it, totals want it');
                    if (type === 'prometheus') {
                        assert.equal(metadata.ignoreNullValues, 'false');
                        assert.match(metadata.query, /^sum\(/, 'a total');
                        continue;
                    }
                    assert.equal(type, 'metrics-api');
                    const url = new URL(metadata.url);
                    const [service, namespace] = url.hostname.split('.');
                    const found = named(objects, 'Service', service);
                    assert.equal(found.metadata.namespace, namespace);
                    assert.ok(found.spec.ports.some((p) => p.port === Number(url.port)));
                    assert.equal(url.pathname, '/api/scaling');
                    /* One poll sees one frontend. */
                    assert.equal(named(objects, 'Deployment', 'rubato-frontend').spec.replicas, 1);
                }
            }
        });

        test(`${name}: the configuration is taken by each role, and there is time for its end`, async () => {
            for (const { spec } of pods(objects)) {
                const [volume] = spec.volumes;
                const config = named(objects, 'ConfigMap', volume.configMap.name).data['rubato.yaml'];
                const [c] = spec.containers;
                const mounted = c.volumeMounts[0].mountPath;
                assert.match(
                    read('docker', 'Dockerfile'),
                    new RegExp(`-config\\.file=${mounted}/rubato\\.yaml`),
                );
                const env = Object.fromEntries((c.env ?? []).map((e) => [e.name, e.value]));
                for (const key of Object.keys(env)) assert.ok(config.includes(`\${${key}:-`), key);
                const args = ['-config.expand-env', ...c.args];
                assert.deepEqual(await verify(config, { args, env }), []);
                assert.ok(spec.terminationGracePeriodSeconds > (await secondsToStop(config)));
                const own = YAML.parse(config);
                const ports = portsOf({ spec });
                assert.equal(ports.get('http'), own.server.http_listen_port);
                const { grpc, http } = own.distributor.receivers.otlp.protocols;
                if (ports.size === 1) continue;
                assert.equal(grpc.endpoint, `0.0.0.0:${ports.get('otlp-grpc')}`);
                assert.equal(http.endpoint, `0.0.0.0:${ports.get('otlp-http')}`);
            }
        });
    }

    test('workers look for frontends where they are, and those let them in', () => {
        const envOf = (o) =>
            Object.fromEntries(o.spec.template.spec.containers[0].env.map((e) => [e.name, e.value]));
        const roles = overlay('roles');
        const worker = envOf(named(roles, 'Deployment', 'rubato-worker'));
        const [host, port] = worker.RUBATO_FRONTENDS.split(':');
        const service = named(roles, 'Service', host);
        assert.equal(service.spec.clusterIP, 'None', 'each frontend by itself');
        assert.equal(service.spec.ports[0].port, Number(port));
        const frontend = named(roles, 'Deployment', 'rubato-frontend');
        assert.ok(selects(service.spec.selector, frontend.spec.template.metadata.labels));
        assert.equal(envOf(frontend).RUBATO_REMOTE_WORKERS, 'true');
        assert.ok(!('env' in of(overlay('single'), 'Deployment')[0].spec.template.spec.containers[0]));
    });

    test('every probe is answered by a process of its role', async (t) => {
        for (const d of of([...overlay('single'), ...overlay('roles')], 'Deployment')) {
            const [c] = d.spec.template.spec.containers;
            const rubato = await Rubato.start({ store: await drivers[0].open(), args: c.args });
            t.after(() => rubato.cleanUp());
            for (const probe of [c.readinessProbe, c.livenessProbe]) {
                const r = await request(`${rubato.api}${probe.httpGet.path}`);
                assert.equal(r.status, 200, `${d.metadata.name}: ${probe.httpGet.path}`);
            }
            assert.equal(await rubato.stop(), 0);
        }
    });
});

/* ---- the bucket ---- */

describe('the bucket', () => {
    const policies = Object.fromEntries(
        fs
            .readdirSync(at('bucket/policies'))
            .map((f) => [path.basename(f, '.json'), json('bucket/policies', f)]),
    );

    test('lifecycle rules end what a crash leaves, and never touch a block', () => {
        for (const [file, ids] of [
            ['lifecycle-aws.json', ['rubato-abort-multipart', 'rubato-tmp']],
            ['lifecycle-minio.json', ['rubato-tmp']],
        ]) {
            const { Rules: rules } = json('bucket', file);
            assert.deepEqual(rules.map((r) => r.ID), ids);
            for (const r of rules) {
                assert.equal(r.Status, 'Enabled');
                if (r.Expiration)
                    assert.deepEqual([r.Filter.Prefix, r.Expiration.Days], ['tmp/', 1]);
                else assert.equal(r.AbortIncompleteMultipartUpload.DaysAfterInitiation, 1);
            }
        }
    });

    test('each role can do its work with its policy, and a role that reads cannot write', async (t) => {
        /* The region in a signature tells whose request it is. */
        const s3 = await new FakeS3().start();
        t.after(() => s3.stop());
        const denied = [];
        const role = (r) => /Credential=\w+\/\d+\/(\w+)\//.exec(r.headers.authorization)[1];
        s3.fail({
            before: (r) => {
                const [action, resource] = actionOf(r);
                if (allows(policies[role(r)], action, resource)) return undefined;
                denied.push(`${role(r)} ${action} ${resource}`);
                return { status: 403, code: 'AccessDenied' };
            },
        });
        const start = async (name) => {
            const config = { ...s3.config, s3: { ...s3.config.s3, region: name } };
            const store = { config, list: async (prefix) => s3.keys(prefix) };
            const rubato = await Rubato.start({
                store,
                args: [`-target=${name}`],
                config: { block_builder: { window: '500ms' } },
            });
            t.after(() => rubato.cleanUp());
            return rubato;
        };
        const processes = {};
        for (const name of Object.keys(policies)) processes[name] = await start(name);
        const { ingest, frontend } = processes;
        const sent = makeRequest({ service: 'allowed', spans: 12 });
        await sendHttp(ingest, sent.body);
        const found = async () =>
            (await search(frontend, { q: '{ resource.service.name = "allowed" }' })).length;
        await until('the frontend finds the segment', 5000, found);
        await built(ingest, 12);
        await until('the frontend reads the block', 10000, async () =>
            trace(frontend, sent.traceId, { params: { mode: 'blocks' } }),
        );
        assert.equal(await found(), 1);
        for (const p of Object.values(processes)) assert.equal(await p.stop(), 0, p.stderr);
        assert.deepEqual(denied, []);

        const block = s3.keys().find((k) => k.endsWith('/data.parquet'));
        const arn = `arn:aws:s3:::traces/${block}`;
        for (const name of ['frontend', 'worker'])
            for (const action of ['s3:PutObject', 's3:DeleteObject', 's3:AbortMultipartUpload'])
                assert.ok(!allows(policies[name], action, arn), `${name} ${action}`);
        assert.ok(!allows(policies.ingest, 's3:DeleteObject', arn), 'ingest deletes no block');
        assert.ok(allows(policies.compactor, 's3:DeleteObject', arn), 'retention does');
    });
});

/* ---- functions ---- */

describe('functions', () => {
    const hcl = async (name) => parseHcl(name, read('functions/aws', name));
    /* What the function reads from its environment: Tempo's names, and the chain of keys. */
    const known = new Set([
        'PORT', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SHARED_CREDENTIALS_FILE',
        'TEMPO_BACKEND', 'TEMPO_S3_BUCKET', 'TEMPO_S3_PREFIX', 'TEMPO_S3_ENDPOINT', 'TEMPO_S3_REGION',
    ]);
    const takes = (env) => {
        for (const name of Object.keys(env)) assert.ok(known.has(name), name);
        assert.equal(env.TEMPO_BACKEND, 's3');
        assert.ok(env.TEMPO_S3_BUCKET && env.TEMPO_S3_ENDPOINT);
    };

    test('Terraform parses, and everything it refers to is declared', async () => {
        const main = await hcl('main.tf');
        const { variable } = await hcl('variables.tf');
        const { output } = await hcl('outputs.tf');
        const text = ['main.tf', 'outputs.tf'].map((f) => read('functions/aws', f)).join('\n');
        const used = new Set([...text.matchAll(/\bvar\.(\w+)/g)].map((m) => m[1]));
        assert.deepEqual([...used].sort(), Object.keys(variable).sort());
        const locals = Object.keys(main.locals[0]);
        for (const [, name] of text.matchAll(/\blocal\.(\w+)/g)) assert.ok(locals.includes(name), name);
        for (const [, type, name] of text.matchAll(/(?<![."\w])(aws_\w+)\.(\w+)\./g))
            assert.ok(main.resource[type]?.[name] ?? main.data[type]?.[name], `${type}.${name}`);
        for (const [, type, name] of text.matchAll(/\bdata\.(aws_\w+)\.(\w+)/g))
            assert.ok(main.data[type]?.[name], `data.${type}.${name}`);
        for (const [name, [v]] of Object.entries(variable)) assert.ok(v.description, name);
        assert.ok(output.alias_arn && output.invoke_policy_arn);
        await assert.rejects(parseHcl('bad.tf', 'resource "x" "y" {\n  a = [1,\n}\n'), /bad\.tf/);
    });

    test('the Lambda function is an executable of its own that may only read', async () => {
        const { resource } = await hcl('main.tf');
        const [fn] = resource.aws_lambda_function.rubato;
        assert.equal(fn.runtime, 'provided.al2023');
        assert.equal(fn.handler, 'bootstrap');
        takes(fn.environment[0].variables);
        for (const key of ['memory_size', 'timeout', 'reserved_concurrent_executions', 'architectures'])
            assert.match(String(fn[key]), /var\./, key);
        const { variable } = await hcl('variables.tf');
        assert.equal(variable.memory_mb[0].default, 1769);
        const granted = (resource) => {
            const [, rest] = read('functions/aws', 'main.tf').split(`resource ${resource}`);
            const actions = rest.split(/\nresource /)[0].matchAll(/"((?:s3|logs|lambda):[A-Z]\w+)"/g);
            return [...actions].map((m) => m[1]);
        };
        assert.deepEqual(granted('"aws_iam_role_policy" "function"'), [
            's3:GetObject', 's3:ListBucket', 's3:PutObject', 'logs:CreateLogStream', 'logs:PutLogEvents',
        ]);
        assert.deepEqual(granted('"aws_iam_policy" "invoke"'), ['lambda:InvokeFunction']);
        assert.match(
            read('functions/aws', 'main.tf'),
            /"s3:PutObject"\n\s+Resource = "\$\{local\.bucket_arn\}\/\$\{local\.key_prefix\}tmp\/results\/\*"/,
        );
        assert.doesNotMatch(read('functions/aws', 'main.tf'), /Resource\s+= "\*"|s3:\*/);
    });

    for (const file of ['knative/service.yaml', 'cloud-run/service.yaml']) {
        test(`${file} is a Service of its schema`, () => {
            const [service] = readYaml(at('functions', file));
            const [c] = service.spec.template.spec.containers;
            takes(Object.fromEntries(c.env.map((e) => [e.name, e.value ?? e.valueFrom])));
            const probe = c.readinessProbe ?? c.startupProbe;
            assert.deepEqual(probe.httpGet, { path: '/ready', port: c.ports[0].containerPort });
            delete c.startupProbe; /* Cloud Run's own: Knative's schema of this age lacks it */
            validateKube(service);
            assert.ok(service.spec.template.spec.timeoutSeconds >= 60, 'a query may take so long');
        });
    }

    test('the OpenFaaS stack names health and readiness as the function has them', () => {
        const [stack] = readYaml(at('functions/openfaas/stack.yml'));
        assert.equal(stack.provider.name, 'openfaas');
        const fn = stack.functions.rubato;
        takes(fn.environment);
        assert.equal(fn.annotations['com.openfaas.health.http.path'], '/_/health');
        assert.equal(fn.annotations['com.openfaas.ready.http.path'], '/_/ready');
        for (const v of Object.values({ ...fn.labels, ...fn.annotations, ...fn.environment }))
            assert.equal(typeof v, 'string', `${v} is a text`);
    });

    test('the Azure host hands requests on as they are', () => {
        const host = json('functions/azure/host.json');
        assert.equal(host.version, '2.0');
        assert.equal(host.customHandler.enableForwardingHttpRequest, true);
        assert.equal(host.customHandler.description.defaultExecutablePath, 'rubato-function');
        const { bindings } = json('functions/azure/rubato/function.json');
        assert.deepEqual(bindings.map((b) => `${b.type} ${b.direction}`), ['httpTrigger in', 'http out']);
        assert.notEqual(bindings[0].authLevel, 'anonymous');
        const { Values: env } = json('functions/azure/local.settings.sample.json');
        const { FUNCTIONS_WORKER_RUNTIME: runtime, AzureWebJobsStorage: _, ...ours } = env;
        assert.equal(runtime, 'custom');
        takes(ours);
    });
});

/* ---- monitoring, and what is written about it all ---- */

/* Families show in /metrics when they are first counted: the sources tell of all. */
let sources;
function inSources(name) {
    sources ??= fs
        .readdirSync(root, { withFileTypes: true })
        .filter((e) => e.isDirectory() && !['build', 'tests', 'node_modules'].includes(e.name))
        .flatMap((e) => filesBelow(path.join(root, e.name)))
        .filter((f) => f.endsWith('.c'))
        .map((f) => fs.readFileSync(f, 'utf8'))
        .join('\n');
    return sources.includes(`"${name.replace(/_(bucket|sum|count)$/, '')}"`);
}

describe('docs/deploy and docs/operating.md', () => {
    const pages = [
        path.join(root, 'docs/operating.md'),
        at('README.md'),
        ...filesBelow(path.join(root, 'docs/deploy')),
    ];
    const words = (text) => [...text.matchAll(/`([^`\n]+)`/g)].map((m) => m[1]);

    test('name files that are there', () => {
        let count = 0;
        for (const page of pages) {
            const text = fs.readFileSync(page, 'utf8');
            for (const [, name] of text.matchAll(/(?<![\w/])(infra\/[\w./-]*\w)/g)) {
                assert.ok(fs.existsSync(path.join(root, name)), `${page}: ${name}`);
                count++;
            }
            for (const [, link] of text.matchAll(/\]\((?!http)([^)#]+)/g))
                assert.ok(fs.existsSync(path.resolve(path.dirname(page), link)), `${page}: ${link}`);
            for (const [, file, anchor] of text.matchAll(/\]\(([^)#]*)#([^)]+)\)/g)) {
                const there = file ? path.resolve(path.dirname(page), file) : page;
                const heads = [...fs.readFileSync(there, 'utf8').matchAll(/^#+ (.*)$/gm)];
                const anchors = heads.map(([, h]) =>
                    h.toLowerCase().replace(/[^\w\s-]/g, '').replaceAll(' ', '-'),
                );
                assert.ok(anchors.includes(anchor), `${page}: #${anchor}`);
            }
        }
        assert.ok(count > 20, `${count}`);
    });

    test('name keys of the configuration that there are, with their defaults', async () => {
        const keys = await defaults();
        const first = new Set([...keys.keys()].map((k) => k.split('.')[0]));
        const isKey = (w) => /^[a-z_0-9]+(\.[a-z_0-9]+)+$/.test(w) && first.has(w.split('.')[0]);
        let count = 0;
        for (const page of pages)
            for (const word of words(fs.readFileSync(page, 'utf8')).filter(isKey)) {
                const isPart = [...keys.keys()].some((k) => k.startsWith(`${word}.`));
                assert.ok(keys.has(word) || isPart, `${page}: ${word}`);
                count++;
            }
        assert.ok(count > 30, `${count}`);
        /* A table's row with one key says its default. */
        const plain = (t) => t.replaceAll(',', '').replace(/(\d) (?=\D)/g, '$1').trim();
        let rows = 0;
        for (const line of fs.readFileSync(pages[0], 'utf8').split('\n')) {
            const cells = line.split('|').slice(1, -1);
            const named = cells.length < 3 ? [] : words(cells[2]).filter(isKey);
            if (named.length !== 1 || !/^ \d/.test(cells[1])) continue;
            const preset = keys.get(named[0]);
            if (!preset || !/^\d/.test(preset) || Number(preset) === 0) continue;
            const told = plain(cells[1]);
            assert.ok(
                new RegExp(`(?<!\\d)${plain(preset).replace('5m', '5min')}(?!\\d)`).test(told),
                `${line}\nthe default is ${preset}`,
            );
            rows++;
        }
        assert.ok(rows >= 12, `${rows}`);
    });

    test('name metrics that there are', () => {
        const ours =
            /^(tempo|tempodb|rubato|objstore|catalog|ingest|block_builder|worker|process)_\w+$/;
        let count = 0;
        for (const page of pages)
            for (const word of words(fs.readFileSync(page, 'utf8'))) {
                if (!ours.test(word)) continue;
                assert.ok(inSources(word), `${page}: ${word}`);
                count++;
            }
        assert.ok(count > 15, `${count}`);
    });

    test('tell what to do about each alert', () => {
        const text = fs.readFileSync(pages[0], 'utf8');
        for (const [, name] of read('monitoring/rules.yaml').matchAll(/alert: Rubato(\w+)/g)) {
            const short = `-${name.replace(/^(Compaction|Queue)/, '')}`;
            assert.ok(text.includes(`Rubato${name}`) || text.includes(short), name);
        }
    });
});

describe('monitoring', () => {
    const rules = () => readYaml(at('monitoring/rules.yaml'))[0].groups.flatMap((g) => g.rules);
    const panels = () => json('monitoring/dashboards/rubato.json').panels;
    const dashboardExprs = () =>
        panels()
            .flatMap((p) => p.targets ?? [])
            .map((t) => t.expr.replaceAll('$__rate_interval', '5m'));
    const triggerExprs = () =>
        filesBelow(at('kubernetes'))
            .filter((f) => f.endsWith('scaledobject.yaml'))
            .flatMap((f) => readYaml(f)[0].spec.triggers)
            .filter((t) => t.type === 'prometheus')
            .map((t) => t.metadata.query);
    const exprs = () => [...rules().map((r) => r.expr), ...dashboardExprs(), ...triggerExprs()];

    /* Names of metrics in an expression; what a rule records has colons and is not one. */
    const metricsOf = (expr) =>
        [...expr.replace(/"[^"]*"/g, '').matchAll(/(?<![\w:])([a-z]+_[a-z0-9_]+)(?![\w:(])/g)]
            .map((m) => m[1])
            .filter((name) => /_/.test(name) && !labelsOf(expr).has(name));
    const labelsOf = (expr) => {
        const lists = [...expr.matchAll(/\b(?:by|without)\s*\(([^)]*)\)/g)].map((m) => m[1]);
        const matchers = [...expr.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map((m) => m[1]);
        return new Set([...lists.flatMap((l) => l.split(/\s*,\s*/)), ...matchers].filter(Boolean));
    };

    test('promtool takes the rules, and the alerts fire when they should and else not', () => {
        execFileSync('promtool', ['check', 'rules', at('monitoring/rules.yaml')]);
        execFileSync('promtool', ['test', 'rules', 'rules_test.yaml'], { cwd: at('monitoring') });
        const tested = read('monitoring/rules_test.yaml');
        for (const { alert } of rules())
            if (alert) assert.ok(tested.includes(`alertname="${alert}"`), `${alert} is tested`);
    });

    test('the rules are a PrometheusRule as well', () => {
        validateKube({
            apiVersion: 'monitoring.coreos.com/v1',
            kind: 'PrometheusRule',
            metadata: { name: 'rubato' },
            spec: readYaml(at('monitoring/rules.yaml'))[0],
        });
        for (const r of rules())
            if (r.alert) assert.ok(r.annotations.summary && r.labels.severity, r.alert);
    });

    test('every panel and trigger asks in valid PromQL', () => {
        const list = [...dashboardExprs(), ...triggerExprs()];
        assert.ok(list.length > 30);
        const file = path.join(tempDir('promql'), 'rules.yaml');
        fs.writeFileSync(
            file,
            YAML.stringify({
                groups: [{ name: 'g', rules: list.map((expr, i) => ({ record: `r${i}`, expr })) }],
            }),
        );
        execFileSync('promtool', ['check', 'rules', file]);
        const ids = panels().map((p) => p.id);
        assert.equal(new Set(ids).size, ids.length);
        for (const p of panels()) assert.ok(p.title && p.gridPos.x + p.gridPos.w <= 24, p.title);
    });

    test('every metric that is asked for is one that the program has, with those labels', async (t) => {
        const rubato = await Rubato.start({
            store: await drivers[0].open(),
            config: { block_builder: { window: '200ms' } },
        });
        t.after(() => rubato.cleanUp());
        const sent = makeRequest({ service: 'metrics', spans: 3 });
        await sendHttp(rubato, sent.body);
        await built(rubato, 3);
        await search(rubato, { q: '{}' });
        const { text } = await request(`${rubato.api}/metrics`);
        const live = new Map(); /* name: labels */
        for (const [, name, labels] of text.matchAll(/^(\w+?)(?:\{(.*)\})? \S+$/gm)) {
            const names = live.get(name) ?? live.set(name, new Set()).get(name);
            for (const [, label] of (labels ?? '').matchAll(/(\w+)="/g)) names.add(label);
        }
        assert.equal(await rubato.stop(), 0);

        const ofScrape = new Set(['up']);
        const ofTarget = new Set(['instance', 'job', 'le']);

        const asked = new Set(exprs().flatMap(metricsOf));
        assert.ok(asked.size > 30, [...asked].join());
        for (const name of asked) {
            if (ofScrape.has(name) || live.has(name)) continue;
            assert.ok(inSources(name), `${name} is no metric of the program`);
        }
        for (const expr of exprs()) {
            const names = metricsOf(expr);
            if (!names.length || !names.every((n) => live.has(n))) continue;
            for (const label of labelsOf(expr))
                assert.ok(
                    ofTarget.has(label) || names.some((n) => live.get(n).has(label)),
                    `${label} is no label in ${expr}`,
                );
        }
    });
});
