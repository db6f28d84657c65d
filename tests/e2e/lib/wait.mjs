/* Waiting for something to become true, with a bound; the only place where a test pauses. */
import { setTimeout as pause } from 'node:timers/promises';

/* Asks until the answer is truthy, and returns it. What it throws at the last is in the error. */
export async function until(what, boundMs, ask, stepMs = 25) {
    const end = performance.now() + boundMs;
    for (;;) {
        let last;
        try {
            const answer = await ask();
            if (answer) return answer;
            last = String(answer);
        } catch (e) {
            if (e.final) throw e;
            last = e.message;
        }
        if (performance.now() >= end) throw new Error(`${what}: not within ${boundMs} ms: ${last}`);
        await pause(stepMs);
    }
}

/* An error that waiting longer does not mend. */
export function final(message) {
    return Object.assign(new Error(message), { final: true });
}

/* Runs fn over the items, so many at once. */
export async function forEachOf(items, atOnce, fn) {
    const queue = [...items];
    const run = async () => {
        for (let item; (item = queue.shift()) !== undefined;) await fn(item);
    };
    await Promise.all(Array.from({ length: atOnce }, run));
}

/* Random numbers that a seed repeats (mulberry32). */
export function seeded(seed) {
    let a = seed >>> 0;
    const next = () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), a | 1);
        t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    return { next, below: (n) => Math.floor(next() * n) };
}
