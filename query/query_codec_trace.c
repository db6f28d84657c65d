/* The spans of one trace on a wire, as the batch has them: fragments, their resources, scopes and
 * spans, ids of any length. (OTLP would lose where a fragment ends and refuse foreign ids.) */
#include "query/query_codec_priv.h"

/* Deepest list of values: OTLP's decoder takes 64, stored blocks what their JSON allows. */
#define LIMIT_VALUE_DEPTH 130

/* What the batch may take for each byte of message, and for any message: spans of a real trace
 * take 8 times what they are encoded in. Hit: ERR_LIMIT. */
#define LIMIT_SPANS_GROWTH 24
#define LIMIT_SPANS_BASE ((size_t)16 << 20)

enum { SPANS_RESOURCE = 1 };

struct resource_wire {
    uint32_t dropped_attrs;
    bool present, ends_fragment;
};

#define RESOURCE(m) offsetof(struct resource_wire, m)
PROTO_TABLE(resource_table, {1, PROTO_U32, RESOURCE(dropped_attrs)},
            {2, PROTO_BOOL, RESOURCE(present)}, {3, PROTO_BOOL, RESOURCE(ends_fragment)});
enum { RESOURCE_ATTR = 4, RESOURCE_SCOPE = 5 };

#define SCOPE(m) offsetof(struct scope, m)
PROTO_TABLE(scope_table, {1, PROTO_BYTES, SCOPE(name)}, {2, PROTO_BYTES, SCOPE(version)},
            {3, PROTO_U32, SCOPE(dropped_attrs)}, {4, PROTO_BOOL, SCOPE(present)});
enum { SCOPE_ATTR = 5, SCOPE_SPAN = 6 };

#define SPAN(m) offsetof(struct span, m)
PROTO_TABLE(span_table, {1, PROTO_BYTES, SPAN(span_id)}, {2, PROTO_BYTES, SPAN(parent_span_id)},
            {3, PROTO_BYTES, SPAN(trace_state)}, {4, PROTO_BYTES, SPAN(name)},
            {5, PROTO_BYTES, SPAN(status_message)}, {6, PROTO_FIXED64, SPAN(start_unix_ns)},
            {7, PROTO_FIXED64, SPAN(end_unix_ns)}, {8, PROTO_I32, SPAN(kind)},
            {9, PROTO_I32, SPAN(status_code)}, {10, PROTO_U32, SPAN(flags)},
            {11, PROTO_U32, SPAN(dropped_attrs)}, {12, PROTO_U32, SPAN(dropped_events)},
            {13, PROTO_U32, SPAN(dropped_links)});
enum { SPAN_ATTR = 14, SPAN_EVENT = 15, SPAN_LINK = 16 };

#define EVENT(m) offsetof(struct event, m)
PROTO_TABLE(event_table, {1, PROTO_FIXED64, EVENT(time_unix_ns)}, {2, PROTO_BYTES, EVENT(name)},
            {3, PROTO_U32, EVENT(dropped_attrs)});
enum { EVENT_ATTR = 4 };

#define LINK(m) offsetof(struct link, m)
PROTO_TABLE(link_table, {1, PROTO_BYTES, LINK(trace_id)}, {2, PROTO_BYTES, LINK(span_id)},
            {3, PROTO_BYTES, LINK(trace_state)}, {4, PROTO_U32, LINK(dropped_attrs)},
            {5, PROTO_U32, LINK(flags)});
enum { LINK_ATTR = 6 };

enum { ATTR_KEY = 1, ATTR_VALUE = 2 };
enum { VALUE_TYPE = 1, VALUE_WHOLE = 2, VALUE_REAL = 3, VALUE_TEXT = 4, VALUE_ITEM = 5 };

/* ---- writing ---- */

static void put_attrs(struct proto_writer *w, uint32_t number, const struct span_batch *b,
                      struct range r);

static void put_value(struct proto_writer *w, uint32_t number, const struct span_batch *b,
                      const struct value *v)
{
    size_t begun = proto_begin(w, number);
    proto_put_u64(w, VALUE_TYPE, v->type);
    switch ((enum value_type)v->type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
    case VALUE_BYTES:
        if (v->str.len)
            proto_put_bytes(w, VALUE_TEXT, v->str);
        break;
    case VALUE_BOOL:
        proto_put_i64(w, VALUE_WHOLE, v->b);
        break;
    case VALUE_INT:
        proto_put_i64(w, VALUE_WHOLE, v->i64);
        break;
    case VALUE_DOUBLE:
        proto_put_f64(w, VALUE_REAL, v->f64);
        break;
    case VALUE_ARRAY:
        for (uint32_t i = 0; i < v->list.count; i++)
            put_value(w, VALUE_ITEM, b, &b->values.at[v->list.first + i]);
        break;
    case VALUE_KVLIST:
        put_attrs(w, VALUE_ITEM, b, v->list);
        break;
    }
    proto_end(w, begun);
}

static void put_attrs(struct proto_writer *w, uint32_t number, const struct span_batch *b,
                      struct range r)
{
    for (uint32_t i = 0; i < r.count; i++) {
        const struct attr *a = &b->attrs.at[r.first + i];
        size_t begun = proto_begin(w, number);
        if (a->key.len)
            proto_put_bytes(w, ATTR_KEY, a->key);
        put_value(w, ATTR_VALUE, b, &a->value);
        proto_end(w, begun);
    }
}

static void put_span(struct proto_writer *w, const struct span_batch *b, const struct span *s)
{
    size_t begun = proto_begin(w, SCOPE_SPAN);
    proto_put_table(w, &span_table, s);
    put_attrs(w, SPAN_ATTR, b, s->attrs);
    for (uint32_t i = 0; i < s->events.count; i++) {
        const struct event *e = &b->events.at[s->events.first + i];
        size_t event = proto_begin(w, SPAN_EVENT);
        proto_put_table(w, &event_table, e);
        put_attrs(w, EVENT_ATTR, b, e->attrs);
        proto_end(w, event);
    }
    for (uint32_t i = 0; i < s->links.count; i++) {
        const struct link *l = &b->links.at[s->links.first + i];
        size_t link = proto_begin(w, SPAN_LINK);
        proto_put_table(w, &link_table, l);
        put_attrs(w, LINK_ATTR, b, l->attrs);
        proto_end(w, link);
    }
    proto_end(w, begun);
}

static bool is_of(const struct span *s, const uint8_t trace_id[16])
{
    return memcmp(s->trace_id, trace_id, sizeof s->trace_id) == 0;
}

static bool has_trace(const struct span_batch *b, struct range spans, const uint8_t trace_id[16])
{
    for (uint32_t i = 0; i < spans.count; i++) {
        if (is_of(&b->spans.at[spans.first + i], trace_id))
            return true;
    }
    return false;
}

static void put_scope(struct proto_writer *w, const struct span_batch *b, const struct scope *s,
                      const uint8_t trace_id[16])
{
    if (!has_trace(b, s->spans, trace_id))
        return;
    size_t begun = proto_begin(w, RESOURCE_SCOPE);
    proto_put_table(w, &scope_table, s);
    put_attrs(w, SCOPE_ATTR, b, s->attrs);
    for (uint32_t i = 0; i < s->spans.count; i++) {
        const struct span *span = &b->spans.at[s->spans.first + i];
        if (is_of(span, trace_id))
            put_span(w, b, span);
    }
    proto_end(w, begun);
}

/* Index of the next resource from i on that has spans of the trace, or their number. */
static uint32_t next_resource(const struct span_batch *b, uint32_t i, const uint8_t trace_id[16])
{
    for (; i < b->resources.count; i++) {
        struct range scopes = b->resources.at[i].scopes;
        for (uint32_t k = 0; k < scopes.count; k++) {
            if (has_trace(b, b->scopes.at[scopes.first + k].spans, trace_id))
                return i;
        }
    }
    return i;
}

void query_put_spans(struct proto_writer *w, uint32_t number, const struct span_batch *batch,
                     const uint8_t trace_id[16])
{
    size_t begun = proto_begin(w, number);
    for (uint32_t i = next_resource(batch, 0, trace_id), next; i < batch->resources.count;
         i = next) {
        const struct resource *r = &batch->resources.at[i];
        next = next_resource(batch, i + 1, trace_id);
        const struct resource_wire head = {.dropped_attrs = r->dropped_attrs,
                                           .present = r->present,
                                           .ends_fragment =
                                               next == batch->resources.count ||
                                               batch->resources.at[next].fragment != r->fragment};
        size_t message = proto_begin(w, SPANS_RESOURCE);
        proto_put_table(w, &resource_table, &head);
        put_attrs(w, RESOURCE_ATTR, batch, r->attrs);
        for (uint32_t k = 0; k < r->scopes.count; k++)
            put_scope(w, batch, &batch->scopes.at[r->scopes.first + k], trace_id);
        proto_end(w, message);
    }
    proto_end(w, begun);
}

/* ---- reading ---- */

struct reader {
    struct span_batch *batch;
    const uint8_t *trace_id;
    size_t taken, bytes_max; /* of the batch's storage */
    struct err *err;
};

/* Before an element of that size is added. */
static int charge(struct reader *r, size_t size)
{
    r->taken += size;
    if (r->taken > r->bytes_max)
        return err_set(r->err, ERR_LIMIT, "a trace of almost empty parts takes over %zu bytes",
                       r->bytes_max);
    return 0;
}

static int no_memory(struct reader *r)
{
    return err_set(r->err, ERR_NOMEM, "no memory for the %u spans of a trace",
                   r->batch->spans.count);
}

static int get_attr(struct reader *r, const struct proto_field *f, unsigned depth, struct run *run);
static int get_value(struct reader *r, const struct proto_field *f, unsigned depth,
                     struct value *out);

static int get_item(struct reader *r, const struct proto_field *f, unsigned depth, bool entries,
                    struct run *run)
{
    struct value v = {0};
    if (entries)
        return get_attr(r, f, depth, run);
    int rc = charge(r, sizeof v);
    rc = rc < 0 ? rc : get_value(r, f, depth, &v);
    if (rc < 0)
        return rc;
    struct value *at = span_batch_value(r->batch, run);
    if (!at)
        return no_memory(r);
    *at = v;
    return 0;
}

struct value_wire {
    uint8_t type;
    int64_t whole;
    double real;
    struct slice text;
};

#define VALUE(m) offsetof(struct value_wire, m)
PROTO_TABLE(value_table, {VALUE_TYPE, PROTO_U8, VALUE(type)},
            {VALUE_WHOLE, PROTO_I64, VALUE(whole)}, {VALUE_REAL, PROTO_F64, VALUE(real)},
            {VALUE_TEXT, PROTO_BYTES, VALUE(text)});

static int set_value(struct reader *r, const struct value_wire *v, struct range list,
                     struct value *out)
{
    *out = (struct value){.type = v->type};
    switch ((enum value_type)v->type) {
    case VALUE_NONE:
        return 0;
    case VALUE_STRING:
    case VALUE_BYTES:
        out->str = v->text;
        return 0;
    case VALUE_BOOL:
        out->b = v->whole != 0;
        return 0;
    case VALUE_INT:
        out->i64 = v->whole;
        return 0;
    case VALUE_DOUBLE:
        out->f64 = v->real;
        return 0;
    case VALUE_ARRAY:
    case VALUE_KVLIST:
        out->list = list;
        return 0;
    }
    return err_set(r->err, ERR_CORRUPT, "a value of unknown type %u", v->type);
}

static int get_value(struct reader *r, const struct proto_field *f, unsigned depth,
                     struct value *out)
{
    struct slice message;
    struct proto_field g;
    struct value_wire v = {0};
    struct run run = {0};
    if (depth > LIMIT_VALUE_DEPTH)
        return err_set(r->err, ERR_LIMIT, "a value nests deeper than %d", LIMIT_VALUE_DEPTH);
    int rc = proto_get_bytes(f, &message, r->err);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == VALUE_ITEM && (v.type == VALUE_ARRAY || v.type == VALUE_KVLIST)) {
            rc = get_item(r, &g, depth + 1, v.type == VALUE_KVLIST, &run);
        } else if (run.range.count && g.number == VALUE_TYPE) {
            rc = err_set(r->err, ERR_CORRUPT, "a list changes its type");
        } else {
            rc = proto_get_table(&value_table, &g, &v, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    return rc < 0 ? rc : set_value(r, &v, run.range, out);
}

static int get_attr(struct reader *r, const struct proto_field *f, unsigned depth, struct run *run)
{
    struct slice message;
    struct proto_field g;
    struct attr a = {0};
    int rc = proto_get_bytes(f, &message, r->err);
    rc = rc < 0 ? rc : charge(r, sizeof a);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == ATTR_KEY)
            rc = proto_get_bytes(&g, &a.key, r->err);
        else if (g.number == ATTR_VALUE)
            rc = get_value(r, &g, depth, &a.value);
    }
    if (rc < 0)
        return rc;
    struct attr *at = span_batch_attr(r->batch, run);
    if (!at)
        return no_memory(r);
    *at = a;
    return 0;
}

/* A message of the table's fields and attributes under attr_number. What else is in it is given to
 * inner, which may be NULL. */
typedef int(inner_fn)(struct reader *r, const struct proto_field *f, void *object);

static int get_message(struct reader *r, const struct proto_field *f, const struct proto_table *t,
                       uint32_t attr_number, inner_fn *inner, void *object, struct range *attrs)
{
    struct slice message;
    struct proto_field g;
    struct run run = {0};
    int rc = proto_get_bytes(f, &message, r->err);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == attr_number) {
            rc = get_attr(r, &g, 1, &run);
            continue;
        }
        rc = proto_get_table(t, &g, object, r->err);
        if (rc == 1)
            rc = inner ? inner(r, &g, object) : 0;
    }
    *attrs = run.range;
    return rc < 0 ? rc : 0;
}

static void extend(struct range *r, uint32_t at)
{
    if (r->count++ == 0)
        r->first = at;
}

static int get_event(struct reader *r, const struct proto_field *f, struct span *span)
{
    struct event e = {0};
    int rc = charge(r, sizeof e);
    rc = rc < 0 ? rc : get_message(r, f, &event_table, EVENT_ATTR, NULL, &e, &e.attrs);
    if (rc < 0)
        return rc;
    extend(&span->events, r->batch->events.count);
    return vec_push(&r->batch->events, e) ? 0 : no_memory(r);
}

static int get_link(struct reader *r, const struct proto_field *f, struct span *span)
{
    struct link l = {0};
    int rc = charge(r, sizeof l);
    rc = rc < 0 ? rc : get_message(r, f, &link_table, LINK_ATTR, NULL, &l, &l.attrs);
    if (rc < 0)
        return rc;
    extend(&span->links, r->batch->links.count);
    return vec_push(&r->batch->links, l) ? 0 : no_memory(r);
}

static int in_span(struct reader *r, const struct proto_field *f, void *object)
{
    if (f->number == SPAN_EVENT)
        return get_event(r, f, object);
    return f->number == SPAN_LINK ? get_link(r, f, object) : 0;
}

static int in_scope(struct reader *r, const struct proto_field *f, void *object)
{
    struct scope *scope = object;
    struct span s = {0};
    if (f->number != SCOPE_SPAN)
        return 0;
    int rc = charge(r, sizeof s);
    rc = rc < 0 ? rc : get_message(r, f, &span_table, SPAN_ATTR, in_span, &s, &s.attrs);
    if (rc < 0)
        return rc;
    memcpy(s.trace_id, r->trace_id, sizeof s.trace_id);
    s.scope = r->batch->scopes.count; /* where the scope will stand */
    extend(&scope->spans, r->batch->spans.count);
    return vec_push(&r->batch->spans, s) ? 0 : no_memory(r);
}

/* A resource being read. */
struct reading {
    struct resource_wire head; /* first: the table's object */
    struct range scopes;
};

static int in_resource(struct reader *r, const struct proto_field *f, void *object)
{
    struct reading *reading = object;
    struct scope s = {.resource = r->batch->resources.count};
    if (f->number != RESOURCE_SCOPE)
        return 0;
    int rc = charge(r, sizeof s);
    rc = rc < 0 ? rc : get_message(r, f, &scope_table, SCOPE_ATTR, in_scope, &s, &s.attrs);
    if (rc < 0)
        return rc;
    extend(&reading->scopes, r->batch->scopes.count);
    return vec_push(&r->batch->scopes, s) ? 0 : no_memory(r);
}

static int get_resource(struct reader *r, const struct proto_field *f)
{
    struct reading reading = {0};
    struct resource out = {0};
    int rc = charge(r, sizeof out);
    rc = rc < 0
             ? rc
             : get_message(r, f, &resource_table, RESOURCE_ATTR, in_resource, &reading, &out.attrs);
    if (rc < 0)
        return rc;
    out.scopes = reading.scopes;
    out.dropped_attrs = reading.head.dropped_attrs;
    out.present = reading.head.present;
    if (!vec_push(&r->batch->resources, out))
        return no_memory(r);
    if (reading.head.ends_fragment)
        span_batch_end_fragment(r->batch);
    return 0;
}

int query_get_spans(struct slice message, const uint8_t trace_id[16], struct span_batch *batch,
                    struct err *err)
{
    struct reader r = {.batch = batch,
                       .trace_id = trace_id,
                       .bytes_max = LIMIT_SPANS_BASE + message.len * LIMIT_SPANS_GROWTH,
                       .err = err};
    const struct span_batch before = *batch;
    struct cursor c = cursor_of(message);
    struct proto_field f;
    int rc = 0;
    while (rc == 0 && (rc = proto_next(&c, &f, err)) == 0) {
        if (f.number == SPANS_RESOURCE)
            rc = get_resource(&r, &f);
    }
    if (rc < 0) { /* parts of a trace would point to what is not there */
        batch->resources.count = before.resources.count;
        batch->scopes.count = before.scopes.count;
        batch->spans.count = before.spans.count;
        batch->events.count = before.events.count;
        batch->links.count = before.links.count;
        batch->attrs.count = before.attrs.count;
        batch->values.count = before.values.count;
        batch->fragment_resources = before.fragment_resources;
        batch->fragments = before.fragments;
        return rc;
    }
    if (batch->fragment_resources < batch->resources.count)
        span_batch_end_fragment(batch);
    return 0;
}
