/* Spans to OTLP protobuf: what segments hold and what the trace endpoints answer.
 *
 * One pass, forwards. The sizes of scalars are known before they are written; a message around them
 * gets a length of the expected width, which is put right at its end. Lists nest as deep as the
 * decoder that filled the batch allowed. */
#include "otlp/otlp.h"

#include <assert.h>

#define TAG_VARINT(field) ((uint8_t)((field) << 3))
#define TAG_FIXED64(field) ((uint8_t)((field) << 3 | 1))
#define TAG_BYTES(field) ((uint8_t)((field) << 3 | 2))
#define TAG_FIXED32(field) ((uint8_t)((field) << 3 | 5))

#define VARINT_BYTES_MAX 10

struct encoder {
    const struct span_batch *batch;
    struct buf *out;
    int rc; /* the first failure; nothing is written after it */
};

/* ---- varints and fields ---- */

static inline size_t varint_bytes(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint8_t *varint_put(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

/* Where n more bytes may be written, or NULL. */
static inline uint8_t *room(struct encoder *e, size_t n)
{
    if (e->rc == 0)
        e->rc = buf_reserve(e->out, n);
    return e->rc == 0 ? e->out->ptr + e->out->len : NULL;
}

static inline void wrote_until(struct encoder *e, const uint8_t *p)
{
    e->out->len = (size_t)(p - e->out->ptr);
}

static void put_bytes(struct encoder *e, uint8_t tag, struct slice s)
{
    uint8_t *p = room(e, 1 + VARINT_BYTES_MAX + s.len);
    if (!p)
        return;
    *p++ = tag;
    p = varint_put(p, s.len);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    wrote_until(e, p + s.len);
}

static inline void put_bytes_if_any(struct encoder *e, uint8_t tag, struct slice s)
{
    if (s.len)
        put_bytes(e, tag, s);
}

static void put_varint_if_any(struct encoder *e, uint8_t tag, uint64_t v)
{
    uint8_t *p = v ? room(e, 1 + VARINT_BYTES_MAX) : NULL;
    if (!p)
        return;
    *p++ = tag;
    wrote_until(e, varint_put(p, v));
}

static void put_fixed64_if_any(struct encoder *e, uint8_t tag, uint64_t v)
{
    uint8_t *p = v ? room(e, 1 + sizeof v) : NULL;
    if (!p)
        return;
    *p++ = tag;
    memcpy(p, &v, sizeof v);
    wrote_until(e, p + sizeof v);
}

/* Field 16, whose tag takes two bytes, or a smaller one. */
static void put_fixed32_if_any(struct encoder *e, uint32_t field, uint32_t v)
{
    uint8_t *p = v ? room(e, VARINT_BYTES_MAX + sizeof v) : NULL;
    if (!p)
        return;
    p = varint_put(p, field << 3 | 5);
    memcpy(p, &v, sizeof v);
    wrote_until(e, p + sizeof v);
}

/* ---- messages ---- */

/* A message whose length is not known yet. */
struct message {
    size_t start; /* of its content */
    size_t width; /* bytes left for the length */
};

static struct message message_begin(struct encoder *e, uint8_t tag, size_t width)
{
    uint8_t *p = room(e, 1 + width);
    if (!p)
        return (struct message){0};
    *p = tag;
    wrote_until(e, p + 1 + width);
    return (struct message){e->out->len, width};
}

static void message_end(struct encoder *e, struct message m)
{
    if (e->rc < 0)
        return;
    size_t bytes = e->out->len - m.start;
    size_t width = varint_bytes(bytes);
    if (!room(e, VARINT_BYTES_MAX))
        return;
    uint8_t *length = e->out->ptr + m.start - m.width;
    if (width != m.width)
        memmove(length + width, length + m.width, bytes);
    varint_put(length, bytes);
    e->out->len = m.start - m.width + width + bytes;
}

/* ---- attributes ---- */

static void put_attr(struct encoder *e, uint8_t tag, const struct attr *a);

/* Bytes of an AnyValue that is no list. */
static inline size_t scalar_bytes(const struct value *v)
{
    switch ((enum value_type)v->type) {
    case VALUE_STRING:
    case VALUE_BYTES:
        return 1 + varint_bytes(v->str.len) + v->str.len;
    case VALUE_BOOL:
        return 2;
    case VALUE_INT:
        return 1 + varint_bytes((uint64_t)v->i64);
    case VALUE_DOUBLE:
        return 1 + sizeof v->f64;
    default:
        return 0;
    }
}

static inline uint8_t *scalar_put(uint8_t *p, const struct value *v)
{
    switch ((enum value_type)v->type) {
    case VALUE_STRING:
    case VALUE_BYTES:
        *p++ = v->type == VALUE_STRING ? TAG_BYTES(1) : TAG_BYTES(7);
        p = varint_put(p, v->str.len);
        if (v->str.len)
            memcpy(p, v->str.ptr, v->str.len);
        return p + v->str.len;
    case VALUE_BOOL:
        *p++ = TAG_VARINT(2);
        *p++ = v->b;
        return p;
    case VALUE_INT:
        *p++ = TAG_VARINT(3);
        return varint_put(p, (uint64_t)v->i64);
    case VALUE_DOUBLE:
        *p++ = TAG_FIXED64(4);
        memcpy(p, &v->f64, sizeof v->f64);
        return p + sizeof v->f64;
    default:
        return p;
    }
}

static inline bool is_list(const struct value *v)
{
    return v->type == VALUE_ARRAY || v->type == VALUE_KVLIST;
}

/* An AnyValue; one in which nothing is set is present and empty. */
static void put_value(struct encoder *e, uint8_t tag, const struct value *v)
{
    if (!is_list(v)) {
        size_t bytes = scalar_bytes(v);
        uint8_t *p = room(e, 1 + VARINT_BYTES_MAX + bytes);
        if (!p)
            return;
        *p++ = tag;
        wrote_until(e, scalar_put(varint_put(p, bytes), v));
        return;
    }
    bool array = v->type == VALUE_ARRAY;
    struct message value = message_begin(e, tag, 1);
    struct message list = message_begin(e, array ? TAG_BYTES(5) : TAG_BYTES(6), 1);
    for (uint32_t i = 0; i < v->list.count; i++) {
        if (array)
            put_value(e, TAG_BYTES(1), &e->batch->values.at[v->list.first + i]);
        else
            put_attr(e, TAG_BYTES(1), &e->batch->attrs.at[v->list.first + i]);
    }
    message_end(e, list);
    message_end(e, value);
}

static void put_attr(struct encoder *e, uint8_t tag, const struct attr *a)
{
    if (is_list(&a->value)) {
        struct message m = message_begin(e, tag, 1);
        put_bytes_if_any(e, TAG_BYTES(1), a->key);
        put_value(e, TAG_BYTES(2), &a->value);
        message_end(e, m);
        return;
    }
    size_t value_bytes = scalar_bytes(&a->value);
    size_t key_bytes = a->key.len ? 1 + varint_bytes(a->key.len) + a->key.len : 0;
    size_t bytes = key_bytes + 1 + varint_bytes(value_bytes) + value_bytes;
    uint8_t *p = room(e, 1 + VARINT_BYTES_MAX + bytes);
    if (!p)
        return;
    *p++ = tag;
    p = varint_put(p, bytes);
    if (a->key.len) {
        *p++ = TAG_BYTES(1);
        p = varint_put(p, a->key.len);
        memcpy(p, a->key.ptr, a->key.len);
        p += a->key.len;
    }
    *p++ = TAG_BYTES(2);
    wrote_until(e, scalar_put(varint_put(p, value_bytes), &a->value));
}

static void put_attrs(struct encoder *e, uint8_t tag, struct range attrs)
{
    for (uint32_t i = 0; i < attrs.count; i++)
        put_attr(e, tag, &e->batch->attrs.at[attrs.first + i]);
}

/* ---- span ---- */

static void put_event(struct encoder *e, const struct event *event)
{
    struct message m = message_begin(e, TAG_BYTES(11), 1);
    put_fixed64_if_any(e, TAG_FIXED64(1), event->time_unix_ns);
    put_bytes_if_any(e, TAG_BYTES(2), event->name);
    put_attrs(e, TAG_BYTES(3), event->attrs);
    put_varint_if_any(e, TAG_VARINT(4), event->dropped_attrs);
    message_end(e, m);
}

static void put_link(struct encoder *e, const struct link *link)
{
    struct message m = message_begin(e, TAG_BYTES(13), 1);
    put_bytes_if_any(e, TAG_BYTES(1), link->trace_id);
    put_bytes_if_any(e, TAG_BYTES(2), link->span_id);
    put_bytes_if_any(e, TAG_BYTES(3), link->trace_state);
    put_attrs(e, TAG_BYTES(4), link->attrs);
    put_varint_if_any(e, TAG_VARINT(5), link->dropped_attrs);
    put_fixed32_if_any(e, 6, link->flags);
    message_end(e, m);
}

static void put_span(struct encoder *e, const struct span *s)
{
    struct message m = message_begin(e, TAG_BYTES(2), 2);
    put_bytes(e, TAG_BYTES(1), slice_of(s->trace_id, sizeof s->trace_id));
    put_bytes_if_any(e, TAG_BYTES(2), s->span_id);
    put_bytes_if_any(e, TAG_BYTES(3), s->trace_state);
    put_bytes_if_any(e, TAG_BYTES(4), s->parent_span_id);
    put_bytes_if_any(e, TAG_BYTES(5), s->name);
    put_varint_if_any(e, TAG_VARINT(6), (uint64_t)(int64_t)s->kind);
    put_fixed64_if_any(e, TAG_FIXED64(7), s->start_unix_ns);
    put_fixed64_if_any(e, TAG_FIXED64(8), s->end_unix_ns);
    put_attrs(e, TAG_BYTES(9), s->attrs);
    put_varint_if_any(e, TAG_VARINT(10), s->dropped_attrs);
    for (uint32_t i = 0; i < s->events.count; i++)
        put_event(e, &e->batch->events.at[s->events.first + i]);
    put_varint_if_any(e, TAG_VARINT(12), s->dropped_events);
    for (uint32_t i = 0; i < s->links.count; i++)
        put_link(e, &e->batch->links.at[s->links.first + i]);
    put_varint_if_any(e, TAG_VARINT(14), s->dropped_links);
    struct message status = message_begin(e, TAG_BYTES(15), 1);
    put_bytes_if_any(e, TAG_BYTES(2), s->status_message);
    put_varint_if_any(e, TAG_VARINT(3), (uint64_t)(int64_t)s->status_code);
    message_end(e, status);
    put_fixed32_if_any(e, 16, s->flags);
    message_end(e, m);
}

/* ---- scope and resource ---- */

static void put_scope(struct encoder *e, const struct scope *scope)
{
    struct message m = message_begin(e, TAG_BYTES(1), 1);
    put_bytes_if_any(e, TAG_BYTES(1), scope->name);
    put_bytes_if_any(e, TAG_BYTES(2), scope->version);
    put_attrs(e, TAG_BYTES(3), scope->attrs);
    put_varint_if_any(e, TAG_VARINT(4), scope->dropped_attrs);
    message_end(e, m);
}

static void put_resource(struct encoder *e, const struct resource *resource)
{
    struct message m = message_begin(e, TAG_BYTES(1), 2);
    put_attrs(e, TAG_BYTES(1), resource->attrs);
    put_varint_if_any(e, TAG_VARINT(2), resource->dropped_attrs);
    message_end(e, m);
}

int otlp_encode(const struct trace *t, struct buf *out)
{
    assert(t);
    const struct span_batch *b = t->batch;
    struct encoder e = {.batch = b, .out = out};
    size_t start = out->len;
    for (uint32_t i = 0; i < t->span_count && e.rc == 0;) {
        uint32_t resource = b->scopes.at[b->spans.at[t->spans[i]].scope].resource;
        struct message resource_spans = message_begin(&e, TAG_BYTES(1), 2);
        put_resource(&e, &b->resources.at[resource]);
        while (i < t->span_count && e.rc == 0) {
            uint32_t scope = b->spans.at[t->spans[i]].scope;
            if (b->scopes.at[scope].resource != resource)
                break;
            struct message scope_spans = message_begin(&e, TAG_BYTES(2), 2);
            put_scope(&e, &b->scopes.at[scope]);
            for (; i < t->span_count && b->spans.at[t->spans[i]].scope == scope; i++)
                put_span(&e, &b->spans.at[t->spans[i]]);
            message_end(&e, scope_spans);
        }
        message_end(&e, resource_spans);
    }
    if (e.rc < 0)
        out->len = start;
    return e.rc;
}
