/* Support of the OTLP tests. Comparing is slow and obvious on purpose. */
#include "tests/support/otlp_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cursor.h"

void support_read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    buf_reset(out);
    uint8_t chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        assert_int_equal(buf_append(out, chunk, n), 0);
    assert_false(ferror(f));
    fclose(f);
}

bool support_next_frame(struct slice *left, struct slice *request)
{
    if (left->len == 0)
        return false;
    struct cursor c = cursor_of(*left);
    uint32_t bytes = 0;
    assert_true(cursor_u32be(&c, &bytes));
    assert_true(cursor_bytes(&c, bytes, request));
    *left = slice_of(c.ptr, cursor_left(&c));
    return true;
}

static bool values_equal(const struct span_batch *a, const struct value *v,
                         const struct span_batch *b, const struct value *w);

static bool attrs_equal(const struct span_batch *a, struct range r, const struct span_batch *b,
                        struct range s)
{
    if (r.count != s.count)
        return false;
    for (uint32_t i = 0; i < r.count; i++) {
        const struct attr *x = &a->attrs.at[r.first + i], *y = &b->attrs.at[s.first + i];
        if (!slice_eq(x->key, y->key) || !values_equal(a, &x->value, b, &y->value))
            return false;
    }
    return true;
}

static bool values_equal(const struct span_batch *a, const struct value *v,
                         const struct span_batch *b, const struct value *w)
{
    if (v->type != w->type)
        return false;
    switch ((enum value_type)v->type) {
    case VALUE_NONE:
        return true;
    case VALUE_STRING:
    case VALUE_BYTES:
        return slice_eq(v->str, w->str);
    case VALUE_BOOL:
        return v->b == w->b;
    case VALUE_INT:
        return v->i64 == w->i64;
    case VALUE_DOUBLE:
        return memcmp(&v->f64, &w->f64, sizeof v->f64) == 0; /* -0 and NaN count too */
    case VALUE_KVLIST:
        return attrs_equal(a, v->list, b, w->list);
    case VALUE_ARRAY:
        if (v->list.count != w->list.count)
            return false;
        for (uint32_t i = 0; i < v->list.count; i++) {
            if (!values_equal(a, &a->values.at[v->list.first + i], b,
                              &b->values.at[w->list.first + i]))
                return false;
        }
        return true;
    }
    return false;
}

static const char *events_differ(const struct span_batch *a, const struct span *s,
                                 const struct span_batch *b, const struct span *t)
{
    if (s->events.count != t->events.count)
        return "event count";
    for (uint32_t i = 0; i < s->events.count; i++) {
        const struct event *x = &a->events.at[s->events.first + i];
        const struct event *y = &b->events.at[t->events.first + i];
        if (x->time_unix_ns != y->time_unix_ns || !slice_eq(x->name, y->name) ||
            x->dropped_attrs != y->dropped_attrs || !attrs_equal(a, x->attrs, b, y->attrs))
            return "event";
    }
    return NULL;
}

static const char *links_differ(const struct span_batch *a, const struct span *s,
                                const struct span_batch *b, const struct span *t)
{
    if (s->links.count != t->links.count)
        return "link count";
    for (uint32_t i = 0; i < s->links.count; i++) {
        const struct link *x = &a->links.at[s->links.first + i];
        const struct link *y = &b->links.at[t->links.first + i];
        if (!slice_eq(x->trace_id, y->trace_id) || !slice_eq(x->span_id, y->span_id) ||
            !slice_eq(x->trace_state, y->trace_state) || x->flags != y->flags ||
            x->dropped_attrs != y->dropped_attrs || !attrs_equal(a, x->attrs, b, y->attrs))
            return "link";
    }
    return NULL;
}

static const char *span_differs(const struct span_batch *a, const struct span *s,
                                const struct span_batch *b, const struct span *t)
{
    if (memcmp(s->trace_id, t->trace_id, sizeof s->trace_id) != 0 ||
        !slice_eq(s->span_id, t->span_id) || !slice_eq(s->parent_span_id, t->parent_span_id))
        return "id";
    if (!slice_eq(s->trace_state, t->trace_state) || !slice_eq(s->name, t->name) ||
        !slice_eq(s->status_message, t->status_message))
        return "string";
    if (s->start_unix_ns != t->start_unix_ns || s->end_unix_ns != t->end_unix_ns)
        return "time";
    if (s->kind != t->kind || s->status_code != t->status_code || s->flags != t->flags)
        return "kind, status or flags";
    if (s->dropped_attrs != t->dropped_attrs || s->dropped_events != t->dropped_events ||
        s->dropped_links != t->dropped_links)
        return "dropped count";
    if (!attrs_equal(a, s->attrs, b, t->attrs))
        return "attributes";
    const char *why = events_differ(a, s, b, t);
    return why ? why : links_differ(a, s, b, t);
}

static const char *context_differs(const struct span_batch *a, const struct span *s,
                                   const struct span_batch *b, const struct span *t)
{
    const struct scope *x = &a->scopes.at[s->scope], *y = &b->scopes.at[t->scope];
    if (!slice_eq(x->name, y->name) || !slice_eq(x->version, y->version) ||
        x->dropped_attrs != y->dropped_attrs || !attrs_equal(a, x->attrs, b, y->attrs))
        return "scope";
    const struct resource *r = &a->resources.at[x->resource], *q = &b->resources.at[y->resource];
    if (r->dropped_attrs != q->dropped_attrs || !attrs_equal(a, r->attrs, b, q->attrs))
        return "resource";
    return NULL;
}

bool support_batches_equal(const struct span_batch *a, const struct span_batch *b, char *why)
{
    if (a->spans.count != b->spans.count) {
        snprintf(why, 200, "%u spans against %u", a->spans.count, b->spans.count);
        return false;
    }
    for (uint32_t i = 0; i < a->spans.count; i++) {
        const char *what = span_differs(a, &a->spans.at[i], b, &b->spans.at[i]);
        if (!what)
            what = context_differs(a, &a->spans.at[i], b, &b->spans.at[i]);
        if (what) {
            snprintf(why, 200, "span %u: %s", i, what);
            return false;
        }
    }
    return true;
}

struct trace support_whole_batch(const struct span_batch *b, uint32_t *order)
{
    for (uint32_t i = 0; i < b->spans.count; i++)
        order[i] = i;
    return (struct trace){.batch = b, .spans = order, .span_count = b->spans.count};
}

void support_pb_varint(struct buf *out, uint32_t field, uint64_t v)
{
    assert_int_equal(buf_varint(out, (uint64_t)field << 3), 0);
    assert_int_equal(buf_varint(out, v), 0);
}

void support_pb_bytes(struct buf *out, uint32_t field, struct slice s)
{
    assert_int_equal(buf_varint(out, (uint64_t)field << 3 | 2), 0);
    assert_int_equal(buf_varint(out, s.len), 0);
    assert_int_equal(buf_slice(out, s), 0);
}

void support_pb_fixed32(struct buf *out, uint32_t field, uint32_t v)
{
    assert_int_equal(buf_varint(out, (uint64_t)field << 3 | 5), 0);
    assert_int_equal(buf_u32le(out, v), 0);
}

void support_pb_fixed64(struct buf *out, uint32_t field, uint64_t v)
{
    assert_int_equal(buf_varint(out, (uint64_t)field << 3 | 1), 0);
    assert_int_equal(buf_u64le(out, v), 0);
}

void support_pb_wrap(struct buf *out, uint32_t field, unsigned times)
{
    struct buf outer;
    buf_init(&outer, out->max);
    for (unsigned i = 0; i < times; i++) {
        buf_reset(&outer);
        support_pb_bytes(&outer, field, buf_view(out));
        buf_reset(out);
        assert_int_equal(buf_slice(out, buf_view(&outer)), 0);
    }
    buf_clear(&outer);
}
