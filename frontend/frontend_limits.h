/* Limits of the frontend that are not configuration. */
#ifndef FRONTEND_FRONTEND_LIMITS_H
#define FRONTEND_FRONTEND_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* One answer's body. Hit: 500 and a text that says so. */
#define LIMIT_ANSWER_BYTES ((size_t)512 << 20)

/* Tenants of one query. Hit: 400. */
#define LIMIT_QUERY_TENANTS 64

/* A query parameter after decoding; the query text has its own limit from the configuration. */
#define LIMIT_PARAM_BYTES ((size_t)1 << 20)

/* Workers on which a job is tried before it runs in the frontend's own process. */
#define LIMIT_JOB_ATTEMPTS 3

/* Bytes of blocks that a tenant's jobs may read before another tenant's turn comes: a large job or
 * a few of the usual size. */
#define POOL_QUANTUM_BYTES (UINT64_C(100) << 20)

/* Child processes that do not end by themselves when the frontend does. Then they are killed. */
#define CHILD_END_S 2

/* A child that dies younger than this makes the next one start later: at first by the shorter time,
 * twice as much after each, up to the longer. */
#define CHILD_YOUNG_S 5
#define CHILD_BACKOFF_MIN_S 1
#define CHILD_BACKOFF_MAX_S 60
/* A child that is not ready by then is killed. */
#define CHILD_START_S 30
/* A child that is wanted no longer has so much time for the jobs it has. Then they run elsewhere. */
#define CHILD_RETIRE_S 40

/* Requests of all tenants that wait for a request thread, whatever each of them may have waiting.
 * Hit: 429, "job queue full". */
#define LIMIT_QUEUED_REQUESTS 8000

/* Jobs of one query that run before the answer is looked at again: large enough to keep all job
 * threads busy, small enough that a query whose limit is met early reads little. Fixed, so that the
 * same question over the same blocks gets the same answer. */
#define SEARCH_WAVE_JOBS 16

/* Intervals of a metrics query, whatever is configured: a series has a number for each.
 * Hit: the query fails with ERR_LIMIT. */
#define LIMIT_METRICS_INTERVALS 1000000

/* Exemplars of a metrics query, whatever is configured. More are not returned. */
#define LIMIT_EXEMPLARS 10000

/* A question about tags without a range of time is about recent data: blocks that end no longer ago
 * than this, and whatever the time the newest few, so that a tenant gone quiet still has tags. The
 * same age tells whether a range reaches into recent data. */
#define TAGS_RECENT_S (30 * 60)
#define TAGS_RECENT_BLOCKS 16

/* A search by tags. Hit: 400. */
#define LIMIT_SEARCH_TAGS 256

/* Between two messages of a streamed answer, as in Tempo. */
#define LIMIT_STREAM_PAUSE_MS 500

/* Numbers (series times intervals) that a stream of metrics repeats in each of its messages. With
 * more, the messages before the last one tell of the progress alone. */
#define LIMIT_STREAM_SAMPLES 50000

/* When nothing else bounds a query. */
#define QUERY_TIMEOUT_S 60

/* Views that turned out to be stale before a query is given up. Hit: 503. */
#define LIMIT_STALE_VIEWS 3

/* Jobs that explain=true lists one by one; the sums count all. */
#define LIMIT_EXPLAIN_JOBS 1000u

#endif
