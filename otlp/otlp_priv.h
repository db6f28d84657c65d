/* Shared by the room's decoders. */
#ifndef OTLP_OTLP_PRIV_H
#define OTLP_OTLP_PRIV_H

#include <assert.h>

#include "block/span.h"

/* What a batch may grow to, per byte of body: an empty span costs a sender 2 bytes and us 230, so
 * 16 MiB of them would take 2 GiB. Real telemetry stays below 6; a list of empty values, the worst
 * that still means something, needs 12. Looked at when storage grows, so half as much again may be
 * reached. Hit: ERR_LIMIT, the request is refused. */
#define LIMIT_OTLP_GROWTH 12
/* Granted to any body, so that small ones are never refused for it. */
#define LIMIT_OTLP_GROWTH_BASE ((size_t)1 << 20)

static_assert(sizeof(struct value) <= 2 * LIMIT_OTLP_GROWTH, "a list of empty values must fit");

static inline size_t otlp_batch_bytes(const struct span_batch *b)
{
    /* Counts are 32-bit: no overflow in 64. */
    return b->resources.count * sizeof *b->resources.at + b->scopes.count * sizeof *b->scopes.at +
           b->spans.count * sizeof *b->spans.at + b->events.count * sizeof *b->events.at +
           b->links.count * sizeof *b->links.at + b->attrs.count * sizeof *b->attrs.at +
           b->values.count * sizeof *b->values.at;
}

/* The bytes that b may reach by decoding a body of this size. */
static inline size_t otlp_batch_bytes_max(const struct span_batch *b, size_t body)
{
    return otlp_batch_bytes(b) + LIMIT_OTLP_GROWTH_BASE +
           (body < SIZE_MAX / 64 ? body * LIMIT_OTLP_GROWTH : SIZE_MAX / 4);
}

/* Room for one more element of a vector; d has batch and bytes_max. The limit is only looked at
 * when storage would grow. */
#define OTLP_ROOM(d, v)                                                                            \
    ((v)->count < (v)->cap || (otlp_batch_bytes((d)->batch) < (d)->bytes_max && vec_reserve(v, 1)))

#endif
