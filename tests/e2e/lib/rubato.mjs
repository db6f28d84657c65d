/* One process of ours: started with a configuration file and free ports, waited for, stopped by
 * pid. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { atExit } from './exit.mjs';
import { request } from './http.mjs';
import { final, until } from './wait.mjs';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const build = path.resolve(root, process.env.B ?? 'build/release');
export const program = (name) => path.join(build, 'bin', name);

export function tempDir(name) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), `rubato-${name}-`));
    atExit(() => fs.rmSync(dir, { recursive: true, force: true }));
    return dir;
}

const running = new Set();
atExit(() => running.forEach((child) => child.kill('SIGKILL')));

export function portIsFree(port, host = '127.0.0.1') {
    return new Promise((resolve) => {
        const s = net.createServer();
        s.once('error', () => resolve(false));
        s.listen(port, host, () => s.close(() => resolve(true)));
    });
}

/* Below the range from which the kernel takes the ports of outgoing connections, so that none of
 * those can sit on the port between this look and its use. */
const given = new Set();
export async function freePort() {
    for (;;) {
        const port = 12000 + Math.floor(Math.random() * 20000);
        if (!given.has(port) && (await portIsFree(port))) {
            given.add(port);
            return port;
        }
    }
}

/* YAML of plain objects; strings are quoted as in JSON, which YAML reads the same. */
export function toYaml(value, indent = '') {
    return Object.entries(value)
        .map(([k, v]) =>
            v !== null && typeof v === 'object' && !Array.isArray(v)
                ? `${indent}${k}:\n${toYaml(v, `${indent}  `)}`
                : `${indent}${k}: ${JSON.stringify(v)}\n`,
        )
        .join('');
}

export function merge(a, b) {
    const out = { ...a };
    for (const [k, v] of Object.entries(b ?? {})) {
        const deep = v && typeof v === 'object' && !Array.isArray(v) && out[k];
        out[k] = deep ? merge(out[k], v) : v;
    }
    return out;
}

/* A child process whose output is collected and whose end is a promise of {code, signal}. */
export function run(file, args, { cwd, env } = {}) {
    const child = spawn(file, args, {
        cwd,
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    const p = {
        child,
        pid: child.pid,
        stdout: '',
        stderr: '',
        ended: null,
        startedAt: performance.now(),
    };
    child.stdout.on('data', (d) => (p.stdout += d));
    child.stderr.on('data', (d) => (p.stderr += d));
    p.end = new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code, signal) => {
            running.delete(child);
            p.ended = { code, signal };
            resolve(p.ended);
        });
    });
    return p;
}

export class Rubato {
    /* options: store (stores.mjs), config (merged over the one here), args, env, program's name */
    static async make({ store, config = {}, args = [], env = {}, name = 'rubato' }) {
        const r = new Rubato();
        const [api, grpc, http, query] = [
            await freePort(), await freePort(), await freePort(), await freePort(),
        ];
        Object.assign(r, {
            name,
            args,
            env,
            store,
            dir: tempDir('e2e'),
            api: `http://127.0.0.1:${api}`,
            otlpHttp: `http://127.0.0.1:${http}/v1/traces`,
            otlpGrpc: `127.0.0.1:${grpc}`,
            queryGrpc: `127.0.0.1:${query}`,
            pastStderr: '',
        });
        r.file = path.join(r.dir, 'rubato.yaml');
        r.config = merge(
            {
                server: {
                    http_listen_address: '127.0.0.1',
                    http_listen_port: api,
                    grpc_listen_address: '127.0.0.1',
                    grpc_listen_port: query,
                },
                distributor: {
                    receivers: {
                        otlp: {
                            protocols: {
                                grpc: { endpoint: `127.0.0.1:${grpc}` },
                                http: { endpoint: `127.0.0.1:${http}` },
                            },
                        },
                    },
                },
                ingest: { flush_window: '50ms' },
                storage: { trace: store.config },
            },
            config,
        );
        return r;
    }

    static async start(options) {
        const r = await Rubato.make(options);
        await r.start();
        return r;
    }

    async start(change) {
        this.config = merge(this.config, change);
        fs.writeFileSync(this.file, toYaml(this.config));
        this.process = run(program(this.name), [`-config.file=${this.file}`, ...this.args], {
            cwd: this.dir,
            env: this.env,
        });
        await until(
            `${this.name} is ready`,
            20000,
            async () => {
                if (this.process.ended)
                    throw final(
                        `${this.name} ended with ${JSON.stringify(this.process.ended)}:\n${this.stderr}`,
                    );
                return (await request(`${this.api}/ready`)).status === 200;
            },
            10,
        );
    }

    get stderr() {
        return this.pastStderr + this.process.stderr;
    }

    /* Asks it to stop and returns its exit status. */
    async stop() {
        this.process.child.kill('SIGTERM');
        const { code, signal } = await this.ending();
        if (signal) throw new Error(`${this.name} was ended by ${signal}:\n${this.stderr}`);
        return code;
    }

    async kill() {
        this.process.child.kill('SIGKILL');
        const { code, signal } = await this.ending();
        if (signal !== 'SIGKILL')
            throw new Error(`${this.name} had ended by itself: ${signal ?? code}\n${this.stderr}`);
    }

    /* For the end of a test, whatever state it has left. */
    async cleanUp() {
        if (this.process && !this.process.ended) await this.kill();
    }

    async ending() {
        await until(`${this.name} ends`, 40000, () => this.process.ended !== null, 5);
        const end = await this.process.end;
        this.pastStderr += this.process.stderr;
        this.process.stderr = '';
        return end;
    }

    errorLines() {
        return this.stderr
            .split('\n')
            .filter((l) => / level=(warn|error) /.test(l) || /Sanitizer/.test(l));
    }
}
