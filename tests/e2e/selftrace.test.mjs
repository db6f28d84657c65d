/* The program's own traces, sent to itself: a query's jobs stand below the query, and that below the
 * one who asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendHttp, spansOf } from './lib/otlp.mjs';
import { get, metric, trace } from './lib/query.mjs';
import { Rubato } from './lib/rubato.mjs';
import { drivers } from './lib/stores.mjs';
import { makeRequest, newSpanId, newTraceId } from './lib/traces.mjs';
import { until } from './lib/wait.mjs';

const local = drivers.find((d) => d.kind === 'local');

test('a query is seen with its jobs in its own trace', async (t) => {
    const rubato = await Rubato.make({ store: await local.open() });
    rubato.env = {
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: rubato.otlpHttp,
        OTEL_BSP_SCHEDULE_DELAY: '50',
        OTEL_SERVICE_NAME: 'watched',
        OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test',
    };
    await rubato.start();
    t.after(() => rubato.cleanUp());
    await sendHttp(rubato, makeRequest({ service: 'shop', spans: 3 }).body);

    const [id, parent] = [newTraceId(), newSpanId()];
    const params = { q: '{ resource.service.name = "shop" }' };
    const headers = { traceparent: `00-${id}-${parent}-01` };
    assert.equal((await get(rubato, '/api/search', { params, headers })).status, 200);
    const unkept = newTraceId();
    await get(rubato, '/api/search', {
        params,
        headers: { traceparent: `00-${unkept}-${newSpanId()}-00` },
    });

    const answer = await until('the trace has come back', 10000, async () => {
        const found = await trace(rubato, id, {
            headers: { traceparent: `00-${newTraceId()}-${newSpanId()}-00` },
        });
        if (!found) throw new Error('no trace');
        return found;
    });
    const spans = spansOf(answer);
    const root = spans.find((s) => s.name === 'frontend.Search');
    assert.equal(root.parentSpanId, parent);
    const jobs = spans.filter((s) => s.name === 'job');
    assert.ok(jobs.length >= 1);
    for (const job of jobs) assert.equal(job.parentSpanId, root.spanId);
    const text = JSON.stringify(answer);
    for (const part of ['watched', 'deployment.environment', params.q.replaceAll('"', '\\"')])
        assert.ok(text.includes(part), `${part} in ${text}`);
    assert.match(rubato.stderr, new RegExp(`msg="search response" tenant=single-tenant traceID=${id}`));
    assert.equal(await trace(rubato, unkept), null);
    assert.ok((await metric(rubato, 'self_tracing_spans_total')) >= 2);
    assert.equal(await rubato.stop(), 0);
});

test('a collector that is not there disturbs nothing', async (t) => {
    const rubato = await Rubato.make({ store: await local.open() });
    rubato.env = { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
        OTEL_BSP_SCHEDULE_DELAY: '20' };
    await rubato.start();
    t.after(() => rubato.cleanUp());
    assert.equal((await get(rubato, '/api/search', { params: { q: '{}' } })).status, 200);
    await until('the failure is told', 10000, () =>
        / msg=OpenTelemetry.ErrorHandler err=/.test(rubato.stderr),
    );
    assert.equal(await rubato.stop(), 0);
});

test('an exporter that is not known stops the start', async () => {
    const rubato = await Rubato.make({ store: await local.open() });
    rubato.env = { OTEL_TRACES_EXPORTER: 'bogus' };
    await assert.rejects(
        rubato.start(),
        /ended with \{"code":1,"signal":null\}[^]*failed to create OTEL exporter: unknown exporter or metrics producer/,
    );
});
