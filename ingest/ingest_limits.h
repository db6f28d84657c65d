/* Limits of the write path that are not configuration. */
#ifndef INGEST_INGEST_LIMITS_H
#define INGEST_INGEST_LIMITS_H

#include <stddef.h>

/* Flushes in flight at once: hides the store's latency, bounds its memory.
 * Hit: the open batch grows until max_buffered_bytes, then requests are refused with 503. */
#define LIMIT_FLUSHERS 4

/* A segment object; sections have their own limit. Hit: the flush fails, clients are told 503. */
#define LIMIT_SEGMENT_BYTES ((size_t)512 << 20)

/* Footer of one segment while it is written: 8 bytes a trace and some for each tenant. */
#define LIMIT_SEGMENT_ARENA_BYTES ((size_t)128 << 20)

/* Tenants whose rate is remembered. Hit: the one idle longest is forgotten, its bucket starts
 * full. */
#define LIMIT_RATE_TENANTS 10000

/* Time for one whole block to be written. Hit: the build is given up and taken up again later. */
#define BLOCK_WRITE_TIMEOUT_S 300

/* Text of a partial success. */
#define LIMIT_PARTIAL_MESSAGE 1024

#endif
