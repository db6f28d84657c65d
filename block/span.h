/* The span model: OpenTelemetry traces as flat arrays.
 *
 * otlp decodes requests into a struct span_batch, block shreds one into columns and assembles one
 * from columns. Everything refers by index into the batch's vectors, so there is no object per
 * attribute; strings are slices into bytes that outlive the batch (the request body, a segment, an
 * arena). A batch is reused with span_batch_reset: at a steady state nothing is allocated. */
#ifndef BLOCK_SPAN_H
#define BLOCK_SPAN_H

#include "base/slice.h"
#include "base/vec.h"

/* A run of elements in one of the batch's vectors. */
struct range {
    uint32_t first;
    uint32_t count;
};

enum value_type {
    VALUE_NONE,   /* AnyValue with nothing set */
    VALUE_STRING,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_DOUBLE,
    VALUE_BYTES,
    VALUE_ARRAY,  /* list: elements in span_batch.values */
    VALUE_KVLIST, /* list: entries in span_batch.attrs */
};

struct value {
    uint8_t type; /* enum value_type */
    union {
        struct slice str; /* VALUE_STRING, VALUE_BYTES */
        int64_t i64;
        double f64;
        bool b;
        struct range list;
    };
};

struct attr {
    struct slice key;
    struct value value;
};

struct resource {
    struct range attrs;
    struct range scopes; /* in span_batch.scopes */
    uint32_t dropped_attrs;
    uint32_t fragment; /* which request or block it came from: span_batch_end_fragment */
    bool present; /* the message was there, though perhaps empty */
};

struct scope {
    uint32_t resource; /* index */
    struct slice name;
    struct slice version;
    struct range attrs;
    struct range spans; /* in span_batch.spans */
    uint32_t dropped_attrs;
    bool present;
};

struct event {
    uint64_t time_unix_ns;
    struct slice name;
    struct range attrs;
    uint32_t dropped_attrs;
};

struct link {
    struct slice trace_id;
    struct slice span_id;
    struct slice trace_state;
    struct range attrs;
    uint32_t dropped_attrs;
    uint32_t flags;
};

struct span {
    uint8_t trace_id[16]; /* shorter ids are left-padded with zeros, of longer ones the last 16 */
    struct slice span_id;        /* 8 bytes; foreign blocks may hold other lengths */
    struct slice parent_span_id; /* 8 bytes, or empty: a root */
    struct slice trace_state;
    struct slice name;
    struct slice status_message;
    uint64_t start_unix_ns;
    uint64_t end_unix_ns;
    int32_t kind;        /* OTLP SpanKind number */
    int32_t status_code; /* 0 unset, 1 ok, 2 error */
    uint32_t flags;
    uint32_t scope; /* index */
    struct range attrs;
    struct range events;
    struct range links;
    uint32_t dropped_attrs;
    uint32_t dropped_events;
    uint32_t dropped_links;
};

struct span_batch {
    VEC(struct resource) resources;
    VEC(struct scope) scopes;
    VEC(struct span) spans;
    VEC(struct event) events;
    VEC(struct link) links;
    VEC(struct attr) attrs;
    VEC(struct value) values;
    uint32_t fragments;          /* ended */
    uint32_t fragment_resources; /* resources in them */
};

void span_batch_reset(struct span_batch *b); /* empties, keeps storage */
void span_batch_clear(struct span_batch *b); /* frees */
/* All resources since the last call came together, in one request or from one block. What came
 * together is stored as it is; a span that comes again with another fragment is a repeat. */
void span_batch_end_fragment(struct span_batch *b);
/* Appends all of src, whose fragments have been ended; strings keep pointing where they did. False: out of memory, dst unchanged. */
bool span_batch_append(struct span_batch *dst, const struct span_batch *src);
/* Appends spans[0..count) of src with their scopes and resources, as they neighbour in that order;
 * strings keep pointing where they did. False: out of memory, dst holds a part of them. */
bool span_batch_append_spans(struct span_batch *dst, const struct span_batch *src,
                             const uint32_t *spans, uint32_t count);

/* A range that is being filled. Lists nest and interleave on the wire, yet each must end up
 * contiguous: an element goes to the end of its vector, and when another list has grown there in
 * the meantime the range moves to the end with room to spare, so copies stay linear. The places it
 * leaves are zeroed. Starts as {0}; range is right at any time. */
struct run {
    struct range range;
    uint32_t reserved; /* elements from range.first on that are already counted in the vector */
};

struct attr *span_batch_attr_slow(struct span_batch *b, struct run *r);
struct value *span_batch_value_slow(struct span_batch *b, struct run *r);

/* The run's next element, zeroed; good until its vector grows. NULL: out of memory. */
static inline struct attr *span_batch_attr(struct span_batch *b, struct run *r)
{
    if (r->range.count && r->range.first + r->range.count == b->attrs.count &&
        b->attrs.count < b->attrs.cap) {
        struct attr *a = &b->attrs.at[b->attrs.count++];
        r->range.count++;
        memset(a, 0, sizeof *a);
        return a;
    }
    return span_batch_attr_slow(b, r);
}

static inline struct value *span_batch_value(struct span_batch *b, struct run *r)
{
    if (r->range.count && r->range.first + r->range.count == b->values.count &&
        b->values.count < b->values.cap) {
        struct value *v = &b->values.at[b->values.count++];
        r->range.count++;
        memset(v, 0, sizeof *v);
        return v;
    }
    return span_batch_value_slow(b, r);
}

/* A trace, or a part of one: spans of one batch, by index, in the order in which they are written.
 * Neighbours of one scope share a ScopeSpans, neighbouring scopes of one resource a
 * ResourceSpans. */
struct trace {
    const struct span_batch *batch;
    const uint32_t *spans;
    uint32_t span_count;
};

/* Orders span indices by trace id (then as they came) and drops repeats: spans whose (trace id, span
 * id, kind) an earlier fragment has. order holds batch->spans.count elements; returns how many are left.
 * Negative: ERR_NOMEM. */
int64_t span_batch_group(const struct span_batch *b, uint32_t *order);

/* Tempo's order for answers: spans by (start, span id) inside a scope, scopes and resources by
 * their first span. Reorders spans[0..count), all of one trace. */
int trace_sort(const struct span_batch *b, uint32_t *spans, uint32_t count);

/* Tempo's answer to span ids shared by a client and a server span (spec of the HTTP API, 6): the
 * server span gets the smallest unused id, the shared id becomes its parent, spans that pointed to
 * the shared id point to the new one. New ids are put in ids (8 bytes each, storage for count). */
int trace_fix_shared_ids(struct span_batch *b, const uint32_t *spans, uint32_t count,
                         uint8_t (*ids)[8]);

#endif
