/* Made-up traces, for volume. */
import { randomBytes } from 'node:crypto';

export const newTraceId = () => randomBytes(16).toString('hex');
export const newSpanId = () => randomBytes(8).toString('hex');

const str = (key, stringValue) => ({ key, value: { stringValue } });

/* One request: spans of one trace in one service, the first of them the root unless a parent is
 * given. */
export function makeRequest({ service, traceId = newTraceId(), spans = 8, parent, filler = '' }) {
    const now = BigInt(Date.now()) * 1000000n;
    const rootId = parent ?? newSpanId();
    const list = Array.from({ length: spans }, (_, i) => ({
        traceId,
        spanId: i === 0 && !parent ? rootId : newSpanId(),
        ...(i === 0 && !parent ? {} : { parentSpanId: rootId }),
        name: `step ${i}`,
        kind: 1,
        startTimeUnixNano: String(now + BigInt(i) * 1000n),
        endTimeUnixNano: String(now + BigInt(i) * 1000n + 5000000n),
        attributes: [str('filler', filler + i), { key: 'n', value: { intValue: String(i) } }],
        status: i % 4 === 3 ? { code: 2, message: 'made up' } : {},
    }));
    return {
        traceId,
        rootId,
        spanIds: list.map((s) => s.spanId),
        body: {
            resourceSpans: [
                {
                    resource: { attributes: [str('service.name', service)] },
                    scopeSpans: [{ scope: { name: 'made' }, spans: list }],
                },
            ],
        },
    };
}
