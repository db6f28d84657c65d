/* Random jobs and results. */
#include "tests/support/query_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice words(struct rng *r, struct arena *a)
{
    static const size_t sizes[] = {0, 1, 5, 16, 127, 128, 300};
    size_t n = sizes[rng_below(r, 7)];
    uint8_t *p = arena_alloc(a, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)rng_below(r, 256);
    return slice_of(p, n);
}

static uint64_t number(struct rng *r)
{
    return rng_next(r) >> rng_below(r, 64);
}

static uint32_t small(struct rng *r)
{
    return (uint32_t)(rng_next(r) >> (32 + rng_below(r, 32)));
}

static void fill_id(struct rng *r, uint8_t id[16])
{
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)rng_below(r, 256);
}

static struct traceql_value value(struct rng *r, struct arena *a)
{
    struct traceql_value v = {.type = (enum traceql_type)rng_below(r, TRACEQL_KIND + 1)};
    if (v.type == TRACEQL_STRING)
        v.str = words(r, a);
    else if (v.type == TRACEQL_BOOL)
        v.b = rng_below(r, 2);
    else if (v.type == TRACEQL_FLOAT)
        v.f64 = rng_below(r, 4) ? (double)(int64_t)number(r) / 7 : -0.0;
    else if (v.type != TRACEQL_NIL)
        v.i64 = (int64_t)number(r) * (rng_below(r, 2) ? 1 : -1);
    return v;
}

static struct traceql_query *query(const char *text, struct arena *a)
{
    struct traceql_query *q;
    struct err err;
    if (traceql_parse(slice_cstr(text), a, &q, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return q;
}

/* ---- jobs ---- */

static struct catalog_block *block(struct rng *r, struct arena *a)
{
    struct catalog_block *b = arena_zalloc(a, sizeof *b);
    struct block_meta *m = &b->meta;
    *m = (struct block_meta){.version = (enum block_version)(3 + rng_below(r, 3)),
                             .tenant = words(r, a),
                             .start_unix_ns = number(r),
                             .end_unix_ns = number(r),
                             .total_objects = (int64_t)number(r),
                             .size = number(r),
                             .compaction_level = small(r),
                             .total_records = small(r),
                             .bloom_shards = small(r),
                             .footer_size = small(r),
                             .replication_factor = small(r),
                             .dedicated_count = rng_below(r, 4)};
    fill_id(r, m->id);
    struct block_dedicated *d = arena_array(a, struct block_dedicated, m->dedicated_count);
    for (size_t i = 0; i < m->dedicated_count; i++)
        d[i] = (struct block_dedicated){.scope = (uint8_t)rng_below(r, 3),
                                        .type = (uint8_t)rng_below(r, 2),
                                        .is_array = rng_below(r, 2),
                                        .is_blob = rng_below(r, 2),
                                        .name = words(r, a)};
    m->dedicated = d;
    return b;
}

static struct catalog_view *sections(struct rng *r, struct query_job *job, struct arena *a)
{
    struct catalog_view *v = arena_zalloc(a, sizeof *v);
    v->section_count = 1 + rng_below(r, 5);
    v->sections = arena_zalloc(a, v->section_count * sizeof *v->sections);
    for (size_t i = 0; i < v->section_count; i++) {
        struct catalog_segment *s = arena_zalloc(a, sizeof *s);
        struct segment_section *x = arena_zalloc(a, sizeof *x);
        uint64_t *traces = arena_alloc(a, sizeof *traces);
        *traces = segment_fingerprint(job->trace_id);
        s->name = arena_printf(a, "_rubato.wal.%zu", i)
                      ? slice_cstr(arena_printf(a, "_rubato.wal.%zu", i))
                      : SLICE("");
        *x = (struct segment_section){.tenant = job->source.tenant,
                                      .slice_count = 1,
                                      .offset = number(r),
                                      .bytes = rng_below(r, 1 << 20),
                                      .raw_bytes = rng_below(r, 1 << 20),
                                      .spans = small(r),
                                      .start_unix_ns = number(r),
                                      .end_unix_ns = number(r)};
        if (job->kind == QUERY_FIND_TRACE) {
            x->traces = traces;
            x->trace_count = 1;
        }
        v->sections[i] = (struct catalog_section){s, x, 0};
    }
    return v;
}

void support_random_job(struct rng *r, enum query_kind kind, bool live, struct arena *a,
                        struct query_job *out)
{
    *out = (struct query_job){.kind = kind,
                              .source.tenant = words(r, a),
                              .source.row_group_first = small(r),
                              .source.row_group_end = small(r),
                              .deadline_mono_ns = (10 + rng_below(r, 1000)) * NS_PER_S};
    struct query_pair *pairs = arena_array(a, struct query_pair, 3);
    for (int i = 0; i < 3; i++)
        pairs[i] = (struct query_pair){words(r, a), words(r, a)};
    switch (kind) {
    case QUERY_SEARCH:
        out->search = (struct query_search){
            .query = query("{ span.a = \"x\\n\" } >> { .b > 2.5 } | count() > 1", a),
            .limit = small(r),
            .most_recent = rng_below(r, 2),
            .spans_per_set = small(r),
            .start_unix_ns = number(r),
            .end_unix_ns = number(r)};
        break;
    case QUERY_LEGACY:
        out->legacy = (struct query_legacy){.tags = pairs,
                                            .tag_count = (uint32_t)rng_below(r, 4),
                                            .min_duration_ns = number(r),
                                            .max_duration_ns = number(r),
                                            .limit = small(r),
                                            .start_unix_ns = number(r),
                                            .end_unix_ns = number(r)};
        break;
    case QUERY_TAGS:
        out->tags = (struct query_tags){
            .names = rng_below(r, 2),
            .levels = small(r),
            .intrinsic = (enum traceql_intrinsic)rng_below(r, TRACEQL_INTRINSICS),
            .name = words(r, a),
            .filter = rng_below(r, 2) ? query("{ resource.a = 1 }", a) : NULL,
            .bytes_max = number(r)};
        break;
    case QUERY_METRICS:
        out->metrics = (struct query_metrics){
            .query = query("{} | quantile_over_time(duration, .5) by (.a) with(exemplars=3)", a),
            .grid = {-(int64_t)number(r), 1 + (int64_t)rng_below(r, 1 << 30),
                     1 + (uint32_t)rng_below(r, 5000)},
            .exemplars = small(r) % 100};
        break;
    case QUERY_FIND_TRACE:
        fill_id(r, out->trace_id);
        break;
    }
    if (live)
        out->source.view = sections(r, out, a);
    else
        out->source.block = block(r, a);
}

/* ---- results ---- */

static struct query_attr *attrs(struct rng *r, struct arena *a, uint32_t *count)
{
    *count = (uint32_t)rng_below(r, 4);
    struct query_attr *at = arena_array(a, struct query_attr, *count);
    for (uint32_t i = 0; i < *count; i++) {
        uint32_t n = (uint32_t)rng_below(r, 3);
        struct traceql_value *v = arena_array(a, struct traceql_value, n);
        for (uint32_t k = 0; k < n; k++)
            v[k] = value(r, a);
        at[i] = (struct query_attr){words(r, a), v, n};
    }
    return at;
}

static void random_set(struct rng *r, struct arena *a, struct query_spanset *s)
{
    *s = (struct query_spanset){.span_count = (uint32_t)rng_below(r, 4), .matched = small(r)};
    s->spans = arena_array(a, struct query_span, s->span_count);
    for (uint32_t i = 0; i < s->span_count; i++) {
        struct query_span *x = &s->spans[i];
        *x = (struct query_span){.id = words(r, a),
                                 .name = words(r, a),
                                 .start_unix_ns = number(r),
                                 .duration_ns = number(r)};
        x->attrs = attrs(r, a, &x->attr_count);
    }
    s->attrs = attrs(r, a, &s->attr_count);
}

static void random_search(struct rng *r, struct arena *a, struct query_search_result *out)
{
    *out = (struct query_search_result){.trace_count = (uint32_t)rng_below(r, 6),
                                        .inspected_bytes = number(r),
                                        .inspected_traces = small(r)};
    out->traces = arena_zalloc(a, out->trace_count * sizeof *out->traces);
    for (uint32_t i = 0; i < out->trace_count; i++) {
        struct query_trace *t = &out->traces[i];
        fill_id(r, t->id);
        t->root_service = words(r, a);
        t->root_name = words(r, a);
        t->start_unix_ns = number(r);
        t->duration_ns = number(r);
        t->service_count = (uint32_t)rng_below(r, 4);
        t->services = arena_array(a, struct query_service, t->service_count);
        for (uint32_t k = 0; k < t->service_count; k++)
            t->services[k] = (struct query_service){words(r, a), small(r), small(r)};
        t->set_count = (uint32_t)rng_below(r, 3);
        t->sets = arena_array(a, struct query_spanset, t->set_count);
        for (uint32_t k = 0; k < t->set_count; k++)
            random_set(r, a, &t->sets[k]);
    }
}

static struct value span_value(struct rng *r, struct arena *a, struct span_batch *b,
                               unsigned depth);

static struct range span_attrs(struct rng *r, struct arena *a, struct span_batch *b, unsigned depth)
{
    struct run run = {0};
    for (uint64_t n = rng_below(r, 3); n > 0; n--) {
        struct value v = span_value(r, a, b, depth);
        *span_batch_attr(b, &run) = (struct attr){words(r, a), v};
    }
    return run.range;
}

static struct value span_value(struct rng *r, struct arena *a, struct span_batch *b, unsigned depth)
{
    struct value v = {.type = (uint8_t)rng_below(r, depth < 4 ? VALUE_KVLIST + 1 : VALUE_ARRAY)};
    struct run run = {0};
    switch ((enum value_type)v.type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
    case VALUE_BYTES:
        v.str = words(r, a);
        break;
    case VALUE_BOOL:
        v.b = rng_below(r, 2);
        break;
    case VALUE_INT:
        v.i64 = -(int64_t)number(r);
        break;
    case VALUE_DOUBLE:
        v.f64 = -0.0;
        break;
    case VALUE_ARRAY:
        for (uint64_t n = rng_below(r, 4); n > 0; n--) {
            struct value item = span_value(r, a, b, depth + 1);
            *span_batch_value(b, &run) = item;
        }
        v.list = run.range;
        break;
    case VALUE_KVLIST:
        v.list = span_attrs(r, a, b, depth + 1);
        break;
    }
    return v;
}

static void random_span(struct rng *r, const struct query_job *job, struct arena *a,
                        struct span_batch *b)
{
    struct span s = {.span_id = words(r, a),
                     .parent_span_id = words(r, a),
                     .trace_state = words(r, a),
                     .name = words(r, a),
                     .status_message = words(r, a),
                     .start_unix_ns = number(r),
                     .end_unix_ns = number(r),
                     .kind = -(int32_t)rng_below(r, 9),
                     .status_code = (int32_t)rng_below(r, 9),
                     .flags = small(r),
                     .scope = b->scopes.count,
                     .dropped_attrs = small(r),
                     .dropped_events = small(r),
                     .dropped_links = small(r)};
    memcpy(s.trace_id, job->trace_id, 16);
    s.attrs = span_attrs(r, a, b, 0);
    s.events = (struct range){b->events.count, (uint32_t)rng_below(r, 3)};
    for (uint32_t i = 0; i < s.events.count; i++) {
        struct range list = span_attrs(r, a, b, 0);
        (void)vec_push(&b->events, (struct event){number(r), words(r, a), list, small(r)});
    }
    s.links = (struct range){b->links.count, (uint32_t)rng_below(r, 3)};
    for (uint32_t i = 0; i < s.links.count; i++) {
        struct range list = span_attrs(r, a, b, 0);
        (void)vec_push(&b->links, (struct link){words(r, a), words(r, a), words(r, a), list,
                                                small(r), small(r)});
    }
    (void)vec_push(&b->spans, s);
}

/* Every resource, scope and fragment has spans of the trace. */
static void random_spans(struct rng *r, const struct query_job *job, struct arena *a,
                         struct span_batch *b)
{
    for (uint64_t n = rng_below(r, 5); n > 0; n--) {
        struct resource res = {.attrs = span_attrs(r, a, b, 0),
                               .scopes = {b->scopes.count, 1 + (uint32_t)rng_below(r, 2)},
                               .dropped_attrs = small(r),
                               .present = rng_below(r, 2)};
        for (uint32_t i = 0; i < res.scopes.count; i++) {
            struct scope s = {.resource = b->resources.count,
                              .name = words(r, a),
                              .version = words(r, a),
                              .attrs = span_attrs(r, a, b, 0),
                              .spans = {b->spans.count, 1 + (uint32_t)rng_below(r, 3)},
                              .dropped_attrs = small(r),
                              .present = rng_below(r, 2)};
            for (uint32_t k = 0; k < s.spans.count; k++)
                random_span(r, job, a, b);
            (void)vec_push(&b->scopes, s);
        }
        (void)vec_push(&b->resources, res);
        if (rng_below(r, 2))
            span_batch_end_fragment(b);
    }
    if (b->fragment_resources < b->resources.count)
        span_batch_end_fragment(b);
}

static struct query_stats random_stats(struct rng *r)
{
    struct query_stats s = {.row_groups = small(r),
                            .row_groups_skipped = small(r),
                            .columns = small(r),
                            .traces = number(r),
                            .spans = number(r),
                            .spans_skipped = number(r),
                            .pages = number(r),
                            .pages_skipped = number(r),
                            .bytes_read = number(r),
                            .bytes_skipped = number(r),
                            .requests = number(r)};
    for (int i = 0; i < QUERY_STEPS; i++)
        s.step_ns[i] = number(r);
    return s;
}

void support_random_result(struct rng *r, const struct query_job *job, struct arena *a,
                           struct query_result *out)
{
    struct err err;
    switch (job->kind) {
    case QUERY_SEARCH:
    case QUERY_LEGACY:
        random_search(r, a, &out->search);
        out->search.stats = random_stats(r);
        break;
    case QUERY_TAGS:
        out->tags = (struct query_tags_result){.count = (uint32_t)rng_below(r, 50),
                                               .inspected_bytes = number(r),
                                               .truncated = rng_below(r, 2)};
        out->tags.stats = random_stats(r);
        out->tags.tags = arena_array(a, struct query_tag, out->tags.count);
        for (uint32_t i = 0; i < out->tags.count; i++)
            out->tags.tags[i] =
                (struct query_tag){(uint8_t)rng_below(r, TRACEQL_LEVELS), value(r, a)};
        break;
    case QUERY_METRICS:
        out->metrics = (struct query_metrics_result){.inspected_bytes = number(r),
                                                     .inspected_spans = number(r)};
        assert_int_equal(traceql_metrics_new(job->metrics.query, &job->metrics.grid,
                                             job->metrics.exemplars, a, &out->metrics.metrics,
                                             &err),
                         0);
        out->metrics.stats = random_stats(r);
        break;
    case QUERY_FIND_TRACE:
        out->trace.inspected_bytes = number(r);
        out->trace.stats = random_stats(r);
        random_spans(r, job, a, out->trace.batch);
        break;
    }
}

/* ---- the same? ---- */

#define SAME(m) assert_true(a->m == b->m)
#define SAME_SLICE(m) assert_true(slice_eq(a->m, b->m))

static void same_query(const struct traceql_query *a, const struct traceql_query *b)
{
    assert_int_equal(!a, !b);
    if (a)
        assert_true(slice_eq(traceql_query_text(a), traceql_query_text(b)));
}

static void same_block(const struct block_meta *a, const struct block_meta *b)
{
    SAME(version);
    assert_memory_equal(a->id, b->id, 16);
    SAME_SLICE(tenant);
    SAME(start_unix_ns);
    SAME(end_unix_ns);
    SAME(total_objects);
    SAME(size);
    SAME(compaction_level);
    SAME(total_records);
    SAME(bloom_shards);
    SAME(footer_size);
    SAME(replication_factor);
    SAME(dedicated_count);
    for (size_t i = 0; i < a->dedicated_count; i++) {
        SAME(dedicated[i].scope);
        SAME(dedicated[i].type);
        SAME(dedicated[i].is_array);
        SAME(dedicated[i].is_blob);
        SAME_SLICE(dedicated[i].name);
    }
}

static void same_sections(const struct catalog_view *x, const struct catalog_view *y)
{
    assert_int_equal(x->section_count, y->section_count);
    for (size_t i = 0; i < x->section_count; i++) {
        const struct segment_section *a = x->sections[i].section, *b = y->sections[i].section;
        assert_true(slice_eq(x->sections[i].segment->name, y->sections[i].segment->name));
        SAME_SLICE(tenant);
        SAME(offset);
        SAME(bytes);
        SAME(raw_bytes);
        SAME(spans);
        SAME(start_unix_ns);
        SAME(end_unix_ns);
        SAME(trace_count);
        if (a->trace_count)
            SAME(traces[0]);
    }
}

static void same_question(const struct query_job *a, const struct query_job *b)
{
    switch (a->kind) {
    case QUERY_SEARCH:
        same_query(a->search.query, b->search.query);
        SAME(search.limit);
        SAME(search.most_recent);
        SAME(search.spans_per_set);
        SAME(search.start_unix_ns);
        SAME(search.end_unix_ns);
        break;
    case QUERY_LEGACY:
        SAME(legacy.tag_count);
        for (uint32_t i = 0; i < a->legacy.tag_count; i++) {
            SAME_SLICE(legacy.tags[i].key);
            SAME_SLICE(legacy.tags[i].value);
        }
        SAME(legacy.min_duration_ns);
        SAME(legacy.max_duration_ns);
        SAME(legacy.limit);
        SAME(legacy.start_unix_ns);
        SAME(legacy.end_unix_ns);
        break;
    case QUERY_TAGS:
        SAME(tags.names);
        SAME(tags.levels);
        SAME(tags.intrinsic);
        SAME_SLICE(tags.name);
        same_query(a->tags.filter, b->tags.filter);
        SAME(tags.bytes_max);
        break;
    case QUERY_METRICS:
        same_query(a->metrics.query, b->metrics.query);
        SAME(metrics.grid.after_ns);
        SAME(metrics.grid.step_ns);
        SAME(metrics.grid.intervals);
        SAME(metrics.exemplars);
        break;
    case QUERY_FIND_TRACE:
        assert_memory_equal(a->trace_id, b->trace_id, 16);
        break;
    }
}

void support_assert_job(const struct query_job *a, const struct query_job *b)
{
    SAME(kind);
    SAME_SLICE(source.tenant);
    SAME(source.row_group_first);
    SAME(source.row_group_end);
    assert_true(b->deadline_mono_ns - a->deadline_mono_ns <= NS_PER_MS);
    assert_int_equal(!a->source.block, !b->source.block);
    if (a->source.block)
        same_block(&a->source.block->meta, &b->source.block->meta);
    else
        same_sections(a->source.view, b->source.view);
    same_question(a, b);
}

static void same_value(const struct traceql_value *a, const struct traceql_value *b)
{
    SAME(type);
    if (a->type == TRACEQL_STRING)
        SAME_SLICE(str);
    else if (a->type == TRACEQL_BOOL)
        SAME(b);
    else if (a->type != TRACEQL_NIL)
        SAME(i64); /* floats by their bits */
}

static void same_attrs(const struct query_attr *a, const struct query_attr *b, uint32_t count)
{
    for (; count > 0; count--, a++, b++) {
        SAME_SLICE(key);
        SAME(count);
        for (uint32_t i = 0; i < a->count; i++)
            same_value(&a->values[i], &b->values[i]);
    }
}

static void same_set(const struct query_spanset *a, const struct query_spanset *b)
{
    SAME(matched);
    SAME(span_count);
    SAME(attr_count);
    same_attrs(a->attrs, b->attrs, a->attr_count);
    for (uint32_t i = 0; i < a->span_count; i++) {
        SAME_SLICE(spans[i].id);
        SAME_SLICE(spans[i].name);
        SAME(spans[i].start_unix_ns);
        SAME(spans[i].duration_ns);
        SAME(spans[i].attr_count);
        same_attrs(a->spans[i].attrs, b->spans[i].attrs, a->spans[i].attr_count);
    }
}

static void same_trace(const struct query_trace *a, const struct query_trace *b)
{
    assert_memory_equal(a->id, b->id, 16);
    SAME_SLICE(root_service);
    SAME_SLICE(root_name);
    SAME(start_unix_ns);
    SAME(duration_ns);
    SAME(service_count);
    for (uint32_t i = 0; i < a->service_count; i++) {
        SAME_SLICE(services[i].name);
        SAME(services[i].span_count);
        SAME(services[i].error_count);
    }
    SAME(set_count);
    for (uint32_t i = 0; i < a->set_count; i++)
        same_set(&a->sets[i], &b->sets[i]);
}

/* Batches, with their lists wherever they stand. */
struct two {
    const struct span_batch *a, *b;
};

static void same_span_attrs(const struct two *t, struct range x, struct range y);

static void same_span_value(const struct two *t, const struct value *a, const struct value *b)
{
    SAME(type);
    switch ((enum value_type)a->type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
    case VALUE_BYTES:
        SAME_SLICE(str);
        break;
    case VALUE_BOOL:
        SAME(b);
        break;
    case VALUE_INT:
    case VALUE_DOUBLE:
        SAME(i64);
        break;
    case VALUE_ARRAY:
        SAME(list.count);
        for (uint32_t i = 0; i < a->list.count; i++)
            same_span_value(t, &t->a->values.at[a->list.first + i],
                            &t->b->values.at[b->list.first + i]);
        break;
    case VALUE_KVLIST:
        same_span_attrs(t, a->list, b->list);
        break;
    }
}

static void same_span_attrs(const struct two *t, struct range x, struct range y)
{
    assert_int_equal(x.count, y.count);
    for (uint32_t i = 0; i < x.count; i++) {
        const struct attr *a = &t->a->attrs.at[x.first + i], *b = &t->b->attrs.at[y.first + i];
        SAME_SLICE(key);
        same_span_value(t, &a->value, &b->value);
    }
}

static void same_span(const struct two *t, const struct span *a, const struct span *b)
{
    assert_memory_equal(a->trace_id, b->trace_id, 16);
    SAME_SLICE(span_id);
    SAME_SLICE(parent_span_id);
    SAME_SLICE(trace_state);
    SAME_SLICE(name);
    SAME_SLICE(status_message);
    SAME(start_unix_ns);
    SAME(end_unix_ns);
    SAME(kind);
    SAME(status_code);
    SAME(flags);
    SAME(scope);
    SAME(dropped_attrs);
    SAME(dropped_events);
    SAME(dropped_links);
    same_span_attrs(t, a->attrs, b->attrs);
    SAME(events.count);
    SAME(links.count);
}

static void same_events(const struct two *t)
{
    assert_int_equal(t->a->events.count, t->b->events.count);
    for (uint32_t i = 0; i < t->a->events.count; i++) {
        const struct event *a = &t->a->events.at[i], *b = &t->b->events.at[i];
        SAME(time_unix_ns);
        SAME_SLICE(name);
        SAME(dropped_attrs);
        same_span_attrs(t, a->attrs, b->attrs);
    }
    assert_int_equal(t->a->links.count, t->b->links.count);
    for (uint32_t i = 0; i < t->a->links.count; i++) {
        const struct link *a = &t->a->links.at[i], *b = &t->b->links.at[i];
        SAME_SLICE(trace_id);
        SAME_SLICE(span_id);
        SAME_SLICE(trace_state);
        SAME(dropped_attrs);
        SAME(flags);
        same_span_attrs(t, a->attrs, b->attrs);
    }
}

static void same_spans(const struct span_batch *x, const struct span_batch *y)
{
    const struct two t = {x, y};
    assert_int_equal(x->resources.count, y->resources.count);
    assert_int_equal(x->scopes.count, y->scopes.count);
    assert_int_equal(x->spans.count, y->spans.count);
    for (uint32_t i = 0; i < x->resources.count; i++) {
        const struct resource *a = &x->resources.at[i], *b = &y->resources.at[i];
        SAME(dropped_attrs);
        SAME(present);
        SAME(scopes.first);
        SAME(scopes.count);
        same_span_attrs(&t, a->attrs, b->attrs);
        if (i > 0) /* fragments are told apart, whatever their numbers are */
            assert_int_equal(a->fragment == a[-1].fragment, b->fragment == b[-1].fragment);
    }
    for (uint32_t i = 0; i < x->scopes.count; i++) {
        const struct scope *a = &x->scopes.at[i], *b = &y->scopes.at[i];
        SAME(resource);
        SAME_SLICE(name);
        SAME_SLICE(version);
        SAME(dropped_attrs);
        SAME(present);
        SAME(spans.first);
        SAME(spans.count);
        same_span_attrs(&t, a->attrs, b->attrs);
    }
    for (uint32_t i = 0; i < x->spans.count; i++)
        same_span(&t, &x->spans.at[i], &y->spans.at[i]);
    same_events(&t);
}

static void same_stats(const struct query_stats *a, const struct query_stats *b)
{
    SAME(row_groups);
    SAME(row_groups_skipped);
    SAME(columns);
    SAME(traces);
    SAME(spans);
    SAME(spans_skipped);
    SAME(pages);
    SAME(pages_skipped);
    SAME(bytes_read);
    SAME(bytes_skipped);
    SAME(requests);
    for (int i = 0; i < QUERY_STEPS; i++)
        SAME(step_ns[i]);
}

void support_assert_result(const struct query_job *job, const struct query_result *a,
                           const struct query_result *b)
{
    switch (job->kind) {
    case QUERY_SEARCH:
    case QUERY_LEGACY:
        SAME(search.trace_count);
        SAME(search.inspected_bytes);
        same_stats(&a->search.stats, &b->search.stats);
        SAME(search.inspected_traces);
        for (uint32_t i = 0; i < a->search.trace_count; i++)
            same_trace(&a->search.traces[i], &b->search.traces[i]);
        break;
    case QUERY_TAGS:
        SAME(tags.count);
        SAME(tags.inspected_bytes);
        same_stats(&a->tags.stats, &b->tags.stats);
        SAME(tags.truncated);
        for (uint32_t i = 0; i < a->tags.count; i++) {
            SAME(tags.tags[i].level);
            same_value(&a->tags.tags[i].value, &b->tags.tags[i].value);
        }
        break;
    case QUERY_METRICS:
        SAME(metrics.inspected_bytes);
        same_stats(&a->metrics.stats, &b->metrics.stats);
        SAME(metrics.inspected_spans);
        break;
    case QUERY_FIND_TRACE:
        SAME(trace.inspected_bytes);
        same_stats(&a->trace.stats, &b->trace.stats);
        same_spans(a->trace.batch, b->trace.batch);
        break;
    }
}
