/* Small span tables as the column vectors that the evaluator reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/naive_eval.h"

enum traceql_type model_column(enum traceql_level level, struct slice name)
{
    if (level == TRACEQL_LEVEL_SPAN && slice_eq(name, SLICE("http.method")))
        return TRACEQL_STRING;
    if (level == TRACEQL_LEVEL_SPAN && slice_eq(name, SLICE("http.status_code")))
        return TRACEQL_INT;
    if (level == TRACEQL_LEVEL_RESOURCE &&
        (slice_eq(name, SLICE("service.name")) || slice_eq(name, SLICE("cluster"))))
        return TRACEQL_STRING;
    return TRACEQL_NIL;
}

static void *need(void *p)
{
    assert_non_null(p);
    return p;
}

static uint32_t element_count(const struct model *m, enum traceql_level level)
{
    const uint32_t counts[TRACEQL_LEVELS] = {
        [TRACEQL_LEVEL_TRACE] = m->trace_count, [TRACEQL_LEVEL_RESOURCE] = m->resource_count,
        [TRACEQL_LEVEL_SCOPE] = m->scope_count, [TRACEQL_LEVEL_SPAN] = m->span_count,
        [TRACEQL_LEVEL_EVENT] = m->event_count, [TRACEQL_LEVEL_LINK] = m->link_count,
    };
    return counts[level];
}

static struct model_attrs attrs_of(const struct model *m, enum traceql_level level, uint32_t i)
{
    switch (level) {
    case TRACEQL_LEVEL_RESOURCE:
        return m->resources[i];
    case TRACEQL_LEVEL_SCOPE:
        return m->scopes[i].attrs;
    case TRACEQL_LEVEL_SPAN:
        return m->spans[i].attrs;
    case TRACEQL_LEVEL_EVENT:
        return m->events[i].attrs;
    case TRACEQL_LEVEL_LINK:
        return m->links[i].attrs;
    default:
        return (struct model_attrs){0};
    }
}

/* A vector under construction, with room for `cap` values. */
struct builder {
    struct traceql_values v;
    uint32_t *owner;
    int64_t *i64;
    double *f64;
    uint8_t *b;
    uint32_t *idx;
    struct slice *dict;
};

static void builder_init(struct builder *b, struct arena *a, enum traceql_type type, uint32_t cap)
{
    *b = (struct builder){.v = {.type = type}};
    b->owner = need(arena_array(a, uint32_t, cap));
    b->i64 = need(arena_array(a, int64_t, cap));
    b->f64 = need(arena_array(a, double, cap));
    b->b = need(arena_array(a, uint8_t, cap));
    b->idx = need(arena_array(a, uint32_t, cap));
    b->dict = need(arena_array(a, struct slice, cap));
}

static void builder_add(struct builder *b, uint32_t owner, const struct traceql_value *v)
{
    uint32_t n = b->v.count++;
    b->owner[n] = owner;
    if (b->v.type == TRACEQL_FLOAT)
        b->f64[n] = v->f64;
    else if (b->v.type == TRACEQL_BOOL)
        b->b[n] = v->b;
    else if (b->v.type == TRACEQL_INT)
        b->i64[n] = v->i64;
    else {
        uint32_t d = 0;
        while (d < b->v.dict_count && !slice_eq(b->dict[d], v->str))
            d++;
        if (d == b->v.dict_count)
            b->dict[b->v.dict_count++] = v->str;
        b->idx[n] = d;
    }
}

/* dense: every element of the level has one value, so owner is left out. plain: strings without a
 * dictionary. */
static struct traceql_values builder_done(struct builder *b, struct arena *a, bool dense,
                                          bool plain)
{
    struct traceql_values v = b->v;
    v.owner = dense ? NULL : b->owner;
    v.dict = b->dict;
    if (v.type == TRACEQL_FLOAT)
        v.f64 = b->f64;
    else if (v.type == TRACEQL_BOOL)
        v.b = b->b;
    else if (v.type == TRACEQL_INT)
        v.i64 = b->i64;
    else
        v.idx = b->idx;
    if (v.type == TRACEQL_STRING && plain) {
        struct slice *values = need(arena_array(a, struct slice, v.count));
        for (uint32_t i = 0; i < v.count; i++)
            values[i] = b->dict[b->idx[i]];
        v.dict = values;
        v.dict_count = v.count;
        v.idx = NULL;
    }
    return v;
}

static struct traceql_value text_value(const char *s)
{
    return (struct traceql_value){.type = TRACEQL_STRING, .str = slice_cstr(s)};
}

static struct traceql_value int_value(int64_t v)
{
    return (struct traceql_value){.type = TRACEQL_INT, .i64 = v};
}

static struct traceql_value bytes_value(struct slice s)
{
    return (struct traceql_value){.type = TRACEQL_STRING, .str = s};
}

static struct traceql_value stored_intrinsic(const struct model *m, enum traceql_intrinsic in,
                                             uint32_t i)
{
    switch (in) {
    case TRACEQL_SPAN_DURATION:
        return int_value(m->spans[i].duration_ns);
    case TRACEQL_SPAN_NAME:
        return text_value(m->spans[i].name);
    case TRACEQL_SPAN_STATUS:
        return int_value(m->spans[i].status);
    case TRACEQL_SPAN_STATUS_MESSAGE:
        return text_value(m->spans[i].status_message);
    case TRACEQL_SPAN_KIND:
        return int_value(m->spans[i].kind);
    case TRACEQL_SPAN_ID:
        return bytes_value(m->spans[i].id);
    case TRACEQL_NESTED_SET_LEFT:
        return int_value(m->spans[i].left);
    case TRACEQL_NESTED_SET_RIGHT:
        return int_value(m->spans[i].right);
    case TRACEQL_NESTED_SET_PARENT:
        return int_value(m->spans[i].parent);
    case TRACEQL_TRACE_DURATION:
        return int_value(m->traces[i].duration_ns);
    case TRACEQL_TRACE_ROOT_NAME:
        return text_value(m->traces[i].root_name);
    case TRACEQL_TRACE_ROOT_SERVICE:
        return text_value(m->traces[i].root_service);
    case TRACEQL_TRACE_ID:
        return bytes_value(m->traces[i].id);
    case TRACEQL_EVENT_NAME:
        return text_value(m->events[i].name);
    case TRACEQL_EVENT_TIME:
        return int_value(m->events[i].since_start_ns);
    case TRACEQL_LINK_TRACE_ID:
        return bytes_value(m->links[i].trace_id);
    case TRACEQL_LINK_SPAN_ID:
        return bytes_value(m->links[i].span_id);
    case TRACEQL_SCOPE_NAME:
        return text_value(m->scopes[i].name);
    case TRACEQL_SCOPE_VERSION:
        return text_value(m->scopes[i].version);
    default:
        fail_msg("no column for intrinsic %d", (int)in);
        return (struct traceql_value){0};
    }
}

static void fill_intrinsic(const struct model *m, const struct traceql_field *f, struct arena *a,
                           struct traceql_input *out)
{
    struct builder b;
    uint32_t count = element_count(m, f->level);
    if (f->intrinsic == TRACEQL_SPAN_START)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct traceql_value v = stored_intrinsic(m, f->intrinsic, i);
        if (i == 0)
            builder_init(&b, a, v.type, count);
        builder_add(&b, i, &v);
    }
    out->has_column = true;
    if (count)
        out->column = builder_done(&b, a, true, f->intrinsic % 2);
}

/* The attribute of this name that a column of its own holds, or NULL. */
static const struct model_attr *in_column(struct model_attrs attrs, struct slice name,
                                          enum traceql_type column)
{
    for (uint32_t i = 0; i < attrs.count; i++) {
        const struct model_attr *at = &attrs.at[i];
        if (column != TRACEQL_NIL && slice_eq(slice_cstr(at->key), name) && at->count == 1 &&
            at->values[0].type == column)
            return at;
    }
    return NULL;
}

static void fill_attribute(const struct model *m, const struct traceql_field *f, struct arena *a,
                           struct traceql_input *out)
{
    static const enum traceql_type types[4] = {TRACEQL_STRING, TRACEQL_INT, TRACEQL_FLOAT,
                                               TRACEQL_BOOL};
    enum traceql_type column = model_column(f->level, f->name);
    uint32_t elements = element_count(m, f->level), stored = 0, values = 0;
    for (uint32_t i = 0; i < elements; i++) {
        stored += attrs_of(m, f->level, i).count;
        for (uint32_t k = 0; k < attrs_of(m, f->level, i).count; k++)
            values += attrs_of(m, f->level, i).at[k].count;
    }
    struct builder own, lists[4];
    builder_init(&own, a, column, elements);
    for (int t = 0; t < 4; t++)
        builder_init(&lists[t], a, types[t], values);
    uint32_t *owner = need(arena_array(a, uint32_t, stored));
    for (uint32_t i = 0; i < elements; i++) {
        struct model_attrs attrs = attrs_of(m, f->level, i);
        const struct model_attr *mine = in_column(attrs, f->name, column);
        struct traceql_value empty = text_value("");
        if (mine)
            builder_add(&own, i, &mine->values[0]);
        else if (slice_eq(f->name, SLICE("service.name")) && column != TRACEQL_NIL)
            builder_add(&own, i, &empty);
        for (uint32_t k = 0; k < attrs.count; k++) {
            const struct model_attr *at = &attrs.at[k];
            if (at == mine || !slice_eq(slice_cstr(at->key), f->name))
                continue;
            owner[out->attrs.count] = i;
            for (uint32_t n = 0; n < at->count; n++) {
                for (int t = 0; t < 4; t++) {
                    if (types[t] == at->values[n].type)
                        builder_add(&lists[t], out->attrs.count, &at->values[n]);
                }
            }
            out->attrs.count++;
        }
    }
    uint8_t *holders = need(arena_zalloc(a, elements));
    for (uint32_t i = 0; i < elements; i++) {
        struct model_attrs attrs = attrs_of(m, f->level, i);
        for (uint32_t k = 0; k < attrs.count; k++) {
            struct slice name = slice_cstr(attrs.at[k].key);
            holders[i] |= &attrs.at[k] != in_column(attrs, name, model_column(f->level, name));
        }
    }
    if (f->absence)
        out->attrs.holders = holders;
    out->has_column = column != TRACEQL_NIL;
    out->column = builder_done(&own, a, false, false);
    out->attrs.owner = owner;
    out->attrs.strings = builder_done(&lists[0], a, false, f->level % 2);
    out->attrs.ints = builder_done(&lists[1], a, false, false);
    out->attrs.floats = builder_done(&lists[2], a, false, false);
    out->attrs.bools = builder_done(&lists[3], a, false, false);
}

void model_batch(const struct model *m, const struct traceql_query *q, struct arena *a,
                 struct traceql_batch *out)
{
    size_t fields = traceql_field_count(q);
    struct traceql_input *inputs = need(arena_zalloc(a, fields * sizeof *inputs));
    for (size_t i = 0; i < fields; i++) {
        const struct traceql_field *f = traceql_field_at(q, i);
        if (f->intrinsic == TRACEQL_ATTRIBUTE)
            fill_attribute(m, f, a, &inputs[i]);
        else
            fill_intrinsic(m, f, a, &inputs[i]);
    }
    uint32_t *trace = need(arena_array(a, uint32_t, m->span_count));
    uint32_t *resource = need(arena_array(a, uint32_t, m->span_count));
    uint32_t *scope = need(arena_array(a, uint32_t, m->span_count));
    uint32_t *event = need(arena_array(a, uint32_t, m->event_count));
    uint32_t *link = need(arena_array(a, uint32_t, m->link_count));
    for (uint32_t i = 0; i < m->span_count; i++) {
        trace[i] = m->spans[i].trace;
        resource[i] = m->spans[i].resource;
        scope[i] = m->spans[i].scope;
    }
    for (uint32_t i = 0; i < m->event_count; i++)
        event[i] = m->events[i].span;
    for (uint32_t i = 0; i < m->link_count; i++)
        link[i] = m->links[i].span;
    *out = (struct traceql_batch){.span_trace = trace,
                                  .span_resource = resource,
                                  .span_scope = scope,
                                  .event_span = event,
                                  .link_span = link,
                                  .inputs = inputs};
    for (int level = 0; level < TRACEQL_LEVELS; level++)
        out->counts[level] = element_count(m, (enum traceql_level)level);
}

/* ---- what results show ---- */

struct lines {
    char *at[64];
    uint32_t count;
};

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_line(void *ctx, struct slice key, const struct traceql_value *values, uint32_t count)
{
    struct lines *l = ctx;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(buf_printf(&b, "%.*s=%s", SLICE_ARGS(key), count > 1 ? "[" : ""), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(buf_str(&b, i ? " " : ""), 0);
        assert_int_equal(traceql_value_print(&values[i], &b), 0);
    }
    assert_int_equal(buf_str(&b, count > 1 ? "]\n" : "\n"), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    assert_true(l->count < 64);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    l->at[l->count++] = (char *)text;
    return 0;
}

char *pairs_text(const struct traceql_result *r, uint32_t span)
{
    struct lines l = {0};
    assert_int_equal(traceql_result_pairs(r, span, add_line, &l, NULL), 0);
    struct traceql_value name = {.type = TRACEQL_STRING};
    if (traceql_result_name(r, span, &name.str))
        assert_int_equal(add_line(&l, SLICE("the span's name"), &name, 1), 0);
    qsort(l.at, l.count, sizeof l.at[0], compare_lines);
    struct buf b;
    buf_init(&b, 1 << 20);
    for (uint32_t i = 0; i < l.count; i++) {
        assert_int_equal(buf_str(&b, l.at[i]), 0);
        free(l.at[i]);
    }
    assert_int_equal(buf_u8(&b, 0), 0);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    return (char *)text;
}

char *set_attrs_text(const struct traceql_spanset *s)
{
    struct lines l = {0};
    struct buf b;
    buf_init(&b, 1 << 20);
    for (uint32_t i = 0; i < s->attr_count; i++) {
        assert_int_equal(add_line(&l, s->attrs[i].key, s->attrs[i].values, s->attrs[i].count), 0);
        assert_int_equal(buf_str(&b, l.at[i]), 0);
        free(l.at[i]);
    }
    assert_int_equal(buf_u8(&b, 0), 0);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    return (char *)text;
}
