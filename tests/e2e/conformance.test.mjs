/* The whole conformance set: 552 questions on two data sets, with the answers of Tempo 2.7.0 and
 * 3.0.3, over Tempo's own blocks, over spans that are not in blocks yet, and over blocks that
 * Rubato built from the same requests. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { check, config, data, sendFrames } from './lib/conformance.mjs';
import { built } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers, putTree } from './lib/stores.mjs';

const local = drivers.find((d) => d.kind === 'local');

describe('the conformance set', { concurrency: false }, () => {
    test("over Tempo's blocks", async (t) => {
        const store = await local.open();
        await putTree(store, path.join(data, 'blocks'));
        const rubato = await Rubato.start({ store, config });
        t.after(() => rubato.cleanUp());
        await check(rubato);
        assert.deepEqual(rubato.errorLines(), []);
    });

    test('over segments, and over the blocks built from them', async (t) => {
        const store = await local.open();
        const rubato = await Rubato.start({
            store,
            config: { ...config, block_builder: { window: '1h', max_bytes: '1GiB' } },
        });
        t.after(() => rubato.cleanUp());
        for (const tenant of ['edge', 'shop']) await sendFrames(rubato, tenant);
        await t.test('segments', () => check(rubato));
        await rubato.stop();
        await rubato.start({ block_builder: { window: '1s' } });
        await t.test('blocks', async () => {
            /* A process takes over the segments of another after 30 s. */
            await built(rubato, 1, 90000);
            await check(rubato);
        });
    });
});
