/* Metrics: the verified numbers of the language's description, intervals, merging, what stands
 * behind a function, and random questions against an evaluator that goes span by span. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "base/random.h"
#include "tests/support/naive_eval.h"
#include "traceql/metrics_priv.h"

#define ARENA_BYTES ((size_t)256 << 20)
#define S INT64_C(1000000000)
#define MS INT64_C(1000000)

#define STR(s)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_STRING, .str = {(const uint8_t *)(s), sizeof(s) - 1 }                      \
    }
#define INT(n)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_INT, .i64 = (n)                                                            \
    }
#define FLT(n)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_FLOAT, .f64 = (n)                                                          \
    }

/* ---- asking ---- */

/* Intervals closed on the left, as in 2.7: those of a grid that begins a nanosecond earlier. */
static const struct traceql_metrics_grid left_closed = {1000 * S - 1, 10 * S, 3};
static const struct traceql_metrics_grid right_closed = {990 * S, 10 * S, 4};

struct asked {
    struct arena *arena;
    struct traceql_query *query;
    struct traceql_metrics *metrics;
    struct traceql_series *series;
    uint32_t count;
};

static void must(int rc, const struct err *err, const char *query)
{
    if (rc < 0)
        fail_msg("%s: %s", query, err->msg);
}

/* One job over the spans from first to end. */
static struct traceql_metrics *observe(struct asked *a, const struct model *m,
                                       const int64_t *starts,
                                       const struct traceql_metrics_grid *grid, uint32_t first,
                                       uint32_t end, const char *query)
{
    struct err err = {0};
    struct traceql_metrics *job;
    struct traceql_eval *e;
    struct traceql_batch batch, fields;
    struct traceql_result r;
    must(traceql_eval_new(a->query, a->arena, &e, &err), &err, query);
    model_batch(m, a->query, a->arena, &batch);
    must(traceql_eval_batch(e, &batch, a->arena, &r, &err), &err, query);
    must(traceql_metrics_new(a->query, grid, 10, a->arena, &job, &err), &err, query);
    model_batch(m, traceql_metrics_fields(job), a->arena, &fields);
    uint32_t *some = arena_array(a->arena, uint32_t, r.span_count);
    struct traceql_metrics_batch mb = {.fields = &fields, .spans = some, .start_ns = starts};
    for (uint32_t i = 0; i < r.span_count; i++) {
        if (r.spans[i] >= first && r.spans[i] < end)
            some[mb.span_count++] = r.spans[i];
    }
    must(traceql_metrics_observe(job, &mb, a->arena, &err), &err, query);
    return job;
}

static void ask(const struct model *m, const int64_t *starts,
                const struct traceql_metrics_grid *grid, const char *query, struct asked *a)
{
    struct err err = {0};
    *a = (struct asked){.arena = arena_new(ARENA_BYTES)};
    must(traceql_parse(slice_cstr(query), a->arena, &a->query, &err), &err, query);
    a->metrics = observe(a, m, starts, grid, 0, m->span_count, query);
    must(traceql_metrics_finish(a->metrics, a->arena, &a->series, &a->count, &err), &err, query);
}

/* "{labels} v v -\n" a series; exact digits. */
static char *text_of(const struct asked *a, const struct traceql_metrics_grid *grid, int digits)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (uint32_t i = 0; i < a->count; i++) {
        buf_slice(&b, a->series[i].text);
        for (uint32_t k = 0; k < grid->intervals; k++) {
            if (isnan(a->series[i].values[k]))
                buf_str(&b, " -");
            else
                buf_printf(&b, " %.*g", digits, a->series[i].values[k]);
        }
        buf_u8(&b, '\n');
    }
    char *text = calloc(1, b.len + 1);
    if (b.len)
        memcpy(text, b.ptr, b.len);
    buf_clear(&b);
    return text;
}

/* ---- the description's vectors ---- */

static const struct model_attr attrs_a[] = {
    {"i", 1, {INT(10)}}, {"s", 1, {STR("x")}}, {"f", 1, {FLT(2.5)}}};
static const struct model_attr attrs_b[] = {
    {"i", 1, {INT(20)}}, {"s", 1, {STR("")}}, {"f", 1, {FLT(0.5)}}};
static const struct model_attr attrs_c[] = {{"i", 1, {INT(-5)}}, {"s", 1, {STR("nil")}}};
static const struct model_attr attrs_d[] = {{"i", 1, {INT(1)}}, {"s", 1, {INT(5)}}};
static const struct model_attr attrs_e[] = {{"s", 1, {STR("5")}}};

#define SPAN(n, d, st, ...)                                                                        \
    {                                                                                              \
        .name = n, .status_message = "", .duration_ns = d, .status = st, .left = 1, .right = 2,    \
        __VA_ARGS__                                                                                \
    }
static const struct model_span spans[] = {SPAN("A", MS, 0, .attrs = {attrs_a, 3}),
                                          SPAN("B", 2 * MS, 2, .attrs = {attrs_b, 3}),
                                          SPAN("A", 3 * MS, 0, .attrs = {attrs_c, 2}),
                                          SPAN("C", 1500 * MS, 0, .attrs = {attrs_d, 2}),
                                          SPAN("C", 1, 0, .parent = 1),
                                          SPAN("C", 2, 0, .attrs = {attrs_e, 1}),
                                          SPAN("C", 3, 0, .parent = 1),
                                          SPAN("C", 4, 0, .parent = 1)};
static const int64_t starts[] = {1000 * S, 1005 * S,     1010 * S - 1, 1010 * S,
                                 1020 * S, 1030 * S - 1, 1030 * S,     1040 * S};
static const struct model_trace trace = {
    .id = {(const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x12\x34", 16},
    .root_name = "A",
    .root_service = "s",
    .duration_ns = 40 * S + 4};
static const struct model_attrs resource = {0};
static const struct model_scope scope = {.name = "", .version = ""};
static const struct model vectors = {.traces = &trace,
                                     .resources = &resource,
                                     .scopes = &scope,
                                     .spans = spans,
                                     .trace_count = 1,
                                     .resource_count = 1,
                                     .scope_count = 1,
                                     .span_count = sizeof spans / sizeof spans[0]};

static void assert_series(const struct traceql_metrics_grid *grid, const char *query,
                          const char *want)
{
    struct asked a;
    ask(&vectors, starts, grid, query, &a);
    char *text = text_of(&a, grid, 9);
    if (strcmp(text, want) != 0)
        fail_msg("%s:\n%swant\n%s", query, text, want);
    free(text);
    arena_free(a.arena);
}

static void counts_and_rates_are_the_described_ones(void **state)
{
    (void)state;
    const struct traceql_metrics_grid *g = &left_closed;
    assert_series(g, "{} | count_over_time()", "{__name__=\"count_over_time\"} 3 1 2\n");
    assert_series(g, "{} | rate()", "{__name__=\"rate\"} 0.3 0.1 0.2\n");
    assert_series(g, "{} | rate() by (name)",
                  "{name=\"A\"} 0.2 0 0\n{name=\"B\"} 0.1 0 0\n{name=\"C\"} 0 0.1 0.2\n");
    assert_series(g, "{} | count_over_time() by (span.nope)", "{span.nope=\"<nil>\"} 3 1 2\n");
    assert_series(g, "{ status = error } | count_over_time()",
                  "{__name__=\"count_over_time\"} 1 0 0\n");
    assert_series(g, "{ span.nope = 1 } | rate()", "{__name__=\"rate\"} 0 0 0\n");
    assert_series(g, "{ span.nope = 1 } | rate() by (name)", "");
}

static void groups_are_told_apart_by_type_and_value(void **state)
{
    (void)state;
    assert_series(&left_closed, "{} | count_over_time() by (span.s, name)",
                  "{name=\"A\", span.s=\"<nil>\"} 1 0 0\n"
                  "{name=\"A\", span.s=\"x\"} 1 0 0\n"
                  "{name=\"B\", span.s=\"<empty>\"} 1 0 0\n"
                  "{name=\"C\", span.s=\"5\"} 0 1 0\n"
                  "{name=\"C\", span.s=\"5\"} 0 0 1\n"
                  "{name=\"C\"} 0 0 1\n");
}

static void extremes_and_averages_are_the_described_ones(void **state)
{
    (void)state;
    const struct traceql_metrics_grid *g = &left_closed;
    assert_series(g, "{} | min_over_time(duration)",
                  "{__name__=\"min_over_time\"} 0.001 1.5 1e-09\n");
    assert_series(g, "{} | max_over_time(duration) by (name)",
                  "{name=\"A\"} 0.003 - -\n{name=\"B\"} 0.002 - -\n{name=\"C\"} - 1.5 2e-09\n");
    assert_series(g, "{} | avg_over_time(duration)",
                  "{__name__=\"avg_over_time\"} 0.002 1.5 1.5e-09\n");
    assert_series(g, "{} | avg_over_time(span.i)", "{__name__=\"avg_over_time\"} 8.33333333 1 -\n");
    assert_series(g, "{} | min_over_time(span.i)", "{__name__=\"min_over_time\"} -5 1 -\n");
    assert_series(g, "{} | min_over_time(span.s)", "{__name__=\"min_over_time\"} - 5 -\n");
    assert_series(g, "{} | min_over_time(traceDuration)",
                  "{__name__=\"min_over_time\"} 4e+10 4e+10 4e+10\n");
    assert_series(g, "{} | min_over_time(status)", "");
    assert_series(g, "{} | max_over_time(name)", "");
    assert_series(g, "{ span.nope = 1 } | min_over_time(duration)", "");
}

static void buckets_and_quantiles_are_the_described_ones(void **state)
{
    (void)state;
    const struct traceql_metrics_grid *g = &left_closed;
    assert_series(g, "{} | quantile_over_time(duration, .5, 1)",
                  "{p=\"0.5\"} 0.002097152 2.14748365 2e-09\n"
                  "{p=\"1\"} 0.004194304 2.14748365 2e-09\n");
    assert_series(g, "{} | quantile_over_time(duration, 0)",
                  "{p=\"0\"} 0.001048576 2.14748365 2e-09\n");
    assert_series(g, "{} | quantile_over_time(span.i, .5)", "{p=\"0.5\"} 16 0 0\n");
    assert_series(g, "{} | quantile_over_time(traceDuration, .5)",
                  "{p=\"0.5\"} 54.5426848 68.7194767 48.592008\n");
    assert_series(g, "{} | histogram_over_time(duration)",
                  "{__bucket=\"0.001048576\"} 1 0 0\n{__bucket=\"0.002097152\"} 1 0 0\n"
                  "{__bucket=\"0.004194304\"} 1 0 0\n{__bucket=\"2.147483648\"} 0 1 0\n"
                  "{__bucket=\"2e-09\"} 0 0 1\n");
    assert_series(g, "{} | histogram_over_time(span.i)",
                  "{__bucket=\"16\"} 1 0 0\n{__bucket=\"32\"} 1 0 0\n");
    assert_series(g, "{} | histogram_over_time(span.f)", "");
}

static void an_interval_is_open_on_the_left_and_closed_on_the_right(void **state)
{
    (void)state;
    assert_series(&right_closed, "{} | count_over_time()",
                  "{__name__=\"count_over_time\"} 1 3 1 2\n");
}

static void spans_without_events_show_an_empty_one(void **state)
{
    (void)state;
    assert_series(&left_closed, "{} | count_over_time() by (event:name)",
                  "{event:name=\"<empty>\"} 3 1 2\n");
}

static void the_sum_of_integers_is_exact(void **state)
{
    (void)state;
    assert_series(&left_closed, "{} | sum_over_time(span.i)",
                  "{__name__=\"sum_over_time\"} 25 1 -\n");
    assert_series(&left_closed, "{} | sum_over_time(duration)",
                  "{__name__=\"sum_over_time\"} 0.006 1.5 3e-09\n");
}

static void topk_and_comparisons_take_points_away(void **state)
{
    (void)state;
    const struct traceql_metrics_grid *g = &left_closed;
    assert_series(g, "{} | count_over_time() by (name) | topk(1)",
                  "{name=\"A\"} 2 - -\n{name=\"C\"} - 1 2\n");
    /* Ties go to the labels that come first. */
    assert_series(g, "{} | count_over_time() by (name) | bottomk(1)",
                  "{name=\"A\"} - 0 0\n{name=\"C\"} 0 - -\n");
    assert_series(g, "{} | count_over_time() by (name) > 1",
                  "{name=\"A\"} 2 - -\n{name=\"C\"} - - 2\n");
    assert_series(g, "{} | count_over_time() by (name) | topk(1) < 2", "{name=\"C\"} - 1 -\n");
    assert_series(g, "{} | max_over_time(duration) by (name) >= 2ms",
                  "{name=\"A\"} 0.003 - -\n{name=\"B\"} 0.002 - -\n{name=\"C\"} - 1.5 -\n");
    assert_series(g, "{} | count_over_time() by (name) | topk(7)",
                  "{name=\"A\"} 2 0 0\n{name=\"B\"} 1 0 0\n{name=\"C\"} 0 1 2\n");
}

static void an_exemplar_is_a_span_of_the_series(void **state)
{
    (void)state;
    struct asked a;
    ask(&vectors, starts, &left_closed, "{ name = `C` } | max_over_time(duration) by (name)", &a);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.series[0].exemplar_count, 1);
    const struct traceql_exemplar *e = &a.series[0].exemplars[0];
    assert_true(e->start_ns == 1010 * S && e->value == 1.5);
    assert_int_equal(e->label_count, 2);
    assert_true(slice_eq(e->labels[0].name, SLICE("trace:id")));
    assert_true(slice_eq(e->labels[0].value.str, SLICE("1234")));
    assert_true(slice_eq(e->labels[1].value.str, SLICE("C")));
    arena_free(a.arena);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct traceql_query *q;
    struct arena *a = arena_new(ARENA_BYTES), *small = arena_new(64 << 10);
    struct traceql_metrics *m;
    struct traceql_metrics_grid wide = {0, S, 10000000};
    must(traceql_parse(SLICE("{} | rate()"), a, &q, &err), &err, "rate");
    assert_int_equal(traceql_metrics_new(q, &wide, 0, small, &m, &err), ERR_LIMIT);
    arena_free(small);
    arena_free(a);
}

/* ---- compare() ---- */

static void compare_counts_both_sides_by_attribute(void **state)
{
    (void)state;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    const struct traceql_query *fields;
    struct traceql_metrics *m;
    struct traceql_batch batch;
    struct traceql_series *series;
    uint32_t count, all[8], selection = 0, baseline = 0;
    uint8_t selected[8] = {1, 0, 1, 0, 0, 0, 0, 0}; /* name = A */
    static const struct traceql_field found[] = {
        {.level = TRACEQL_LEVEL_SPAN, .name = {(const uint8_t *)"i", 1}}};
    must(traceql_parse(SLICE("{} | compare({ name = `A` }, 1)"), a, &q, &err), &err, "compare");
    must(traceql_metrics_new(q, &left_closed, 0, a, &m, &err), &err, "compare");
    must(traceql_compare_fields(found, 1, a, &fields, &err), &err, "compare");
    model_batch(&vectors, fields, a, &batch);
    for (uint32_t i = 0; i < 8; i++)
        all[i] = i;
    struct traceql_metrics_batch mb = {&batch, all, 8, starts};
    must(traceql_compare_observe(m, &mb, fields, selected, a, &err), &err, "compare");
    must(traceql_metrics_finish(m, a, &series, &count, &err), &err, "compare");
    for (uint32_t i = 0; i < count; i++) {
        if (slice_eq(series[i].text, SLICE("{__meta_type=\"selection_total\", name=\"<nil>\"}")))
            selection += series[i].values[0] == 2 && series[i].values[2] == 0;
        if (slice_eq(series[i].text, SLICE("{__meta_type=\"baseline\", name=\"C\"}")))
            baseline += series[i].values[1] == 1 && series[i].values[2] == 2;
        /* One value of each attribute at most: B is the rarer one. */
        assert_false(slice_eq(series[i].text, SLICE("{__meta_type=\"baseline\", name=\"B\"}")));
    }
    assert_int_equal(selection, 1);
    assert_int_equal(baseline, 1);
    arena_free(a);
}

/* ---- random ---- */

#define SPANS 60

struct random_model {
    struct model m;
    struct model_trace traces[6];
    struct model_attrs resources[4];
    struct model_scope scopes[1];
    struct model_span spans[SPANS];
    struct model_event events[40];
    struct model_attr attrs[SPANS + 4][3];
    uint8_t ids[6][16];
    int64_t starts[SPANS];
};

static struct traceql_value random_value(struct rng *r)
{
    static const char *const texts[] = {"", "a", "b", "1", "nil"};
    switch (rng_below(r, 4)) {
    case 0:
        return (struct traceql_value){.type = TRACEQL_INT, .i64 = (int64_t)rng_below(r, 2000) - 9};
    case 1:
        return (struct traceql_value){.type = TRACEQL_FLOAT, .f64 = (double)rng_below(r, 9) / 4};
    case 2:
        return (struct traceql_value){.type = TRACEQL_STRING,
                                      .str = slice_cstr(texts[rng_below(r, 5)])};
    default:
        return (struct traceql_value){.type = TRACEQL_BOOL, .b = rng_below(r, 2)};
    }
}

static struct model_attrs random_attrs(struct rng *r, struct model_attr *list)
{
    static const char *const keys[] = {"a", "b", "http.status_code"};
    uint32_t n = 0;
    for (int i = 0; i < 3; i++) {
        if (rng_below(r, 3) == 0)
            continue;
        struct traceql_value v = random_value(r);
        list[n] = (struct model_attr){.key = keys[i], .count = 1 + !rng_below(r, 8)};
        list[n].count -= rng_below(r, 12) == 0;
        for (uint32_t k = 0; k < list[n].count; k++)
            list[n].values[k] = v;
        n++;
    }
    return (struct model_attrs){list, n};
}

static void random_fill(struct rng *r, struct random_model *m)
{
    static const char *const names[] = {"", "a", "b", "c"};
    for (uint32_t i = 0; i < 6; i++) {
        for (int k = 0; k < 16; k++)
            m->ids[i][k] = (uint8_t)rng_next(r);
        m->traces[i] = (struct model_trace){.id = slice_of(m->ids[i], 16),
                                            .root_name = names[rng_below(r, 4)],
                                            .root_service = "",
                                            .duration_ns = (int64_t)rng_below(r, 5000)};
    }
    for (uint32_t i = 0; i < 4; i++)
        m->resources[i] = random_attrs(r, m->attrs[SPANS + i]);
    m->scopes[0] = (struct model_scope){.name = "lib", .version = ""};
    for (uint32_t i = 0; i < SPANS; i++) {
        m->spans[i] =
            (struct model_span){.trace = i / 10,
                                .resource = (uint32_t)rng_below(r, 4),
                                .id = slice_of(m->ids[0], 8),
                                .name = names[rng_below(r, 4)],
                                .status_message = "",
                                .duration_ns = (int64_t)(rng_next(r) >> rng_below(r, 50) >> 14),
                                .status = (int64_t)rng_below(r, 3),
                                .kind = (int64_t)rng_below(r, 6),
                                .attrs = random_attrs(r, m->attrs[i])};
        m->starts[i] = (int64_t)rng_below(r, 120);
    }
    m->m = (struct model){.traces = m->traces,
                          .resources = m->resources,
                          .scopes = m->scopes,
                          .spans = m->spans,
                          .events = m->events,
                          .trace_count = 6,
                          .resource_count = 4,
                          .scope_count = 1,
                          .span_count = SPANS};
}

static struct traceql_value naive_list(const struct model_attrs *l, enum traceql_level level,
                                       struct slice name, bool *entry)
{
    struct traceql_value nil = {.type = TRACEQL_NIL};
    *entry = false;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct model_attr *a = &l->at[i];
        enum traceql_type column = model_column(level, name);
        if (!slice_eq(slice_cstr(a->key), name))
            continue;
        if (column != TRACEQL_NIL && (a->count != 1 || a->values[0].type != column))
            continue; /* it is in the list, which is not read */
        *entry = true;
        return a->count == 1 ? a->values[0] : nil;
    }
    return nil;
}

static struct traceql_value naive_value(const struct random_model *m, uint32_t span,
                                        const char *attr)
{
    const struct model_span *s = &m->spans[span];
    const struct model_attrs *res = &m->resources[s->resource];
    bool entry;
    if (strcmp(attr, "name") == 0)
        return (struct traceql_value){.type = TRACEQL_STRING, .str = slice_cstr(s->name)};
    if (strcmp(attr, "status") == 0)
        return (struct traceql_value){.type = TRACEQL_STATUS, .i64 = s->status};
    if (strcmp(attr, "duration") == 0)
        return (struct traceql_value){.type = TRACEQL_DURATION, .i64 = s->duration_ns};
    if (strncmp(attr, "resource.", 9) == 0)
        return naive_list(res, TRACEQL_LEVEL_RESOURCE, slice_cstr(attr + 9), &entry);
    if (attr[0] != '.')
        return naive_list(&s->attrs, TRACEQL_LEVEL_SPAN, slice_cstr(attr + 5), &entry);
    struct traceql_value v =
        naive_list(&s->attrs, TRACEQL_LEVEL_SPAN, slice_cstr(attr + 1), &entry);
    return entry ? v : naive_list(res, TRACEQL_LEVEL_RESOURCE, slice_cstr(attr + 1), &entry);
}

static bool same_value(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type || a->type == TRACEQL_NIL)
        return a->type == b->type;
    return a->type == TRACEQL_STRING ? slice_eq(a->str, b->str)
           : a->type == TRACEQL_BOOL ? a->b == b->b
                                     : a->i64 == b->i64;
}

static const char *const attributes[] = {"span.a",
                                         ".a",
                                         "resource.a",
                                         "name",
                                         "span.b",
                                         ".b",
                                         "status",
                                         "span.http.status_code",
                                         ".http.status_code",
                                         "duration"};
enum { ATTRIBUTES = sizeof attributes / sizeof attributes[0] };
static const char *const functions[] = {"count_over_time", "min_over_time", "max_over_time",
                                        "sum_over_time", "avg_over_time"};

/* One sample, from all spans, for the labels of a series of the real answer. */
static double naive_sample(const struct random_model *m, const struct traceql_series *s,
                           const char *const by[2], uint32_t by_count, int function,
                           const char *attr, int64_t from, int64_t to)
{
    double value = NAN, n = 0;
    for (uint32_t i = 0; i < SPANS; i++) {
        uint32_t at = 0;
        bool mine = m->starts[i] > from && m->starts[i] <= to;
        for (uint32_t k = 0; k < by_count && mine; k++) {
            struct traceql_value v = naive_value(m, i, by[k]);
            bool labelled = at < s->label_count && s->labels[at].value.type != TRACEQL_NIL &&
                            slice_eq(s->labels[at].name, slice_cstr(by[k]));
            mine = labelled ? same_value(&v, &s->labels[at].value) : v.type == TRACEQL_NIL;
            at += labelled;
        }
        struct traceql_value v = naive_value(m, i, attr);
        bool number =
            v.type == TRACEQL_INT || v.type == TRACEQL_FLOAT || v.type == TRACEQL_DURATION;
        if (!mine || (function && !number))
            continue;
        double x = v.type == TRACEQL_FLOAT      ? v.f64
                   : v.type == TRACEQL_DURATION ? (double)v.i64 / 1e9
                                                : (double)v.i64;
        n++;
        if (function == 1)
            value = fmin(value, x);
        else if (function == 2)
            value = fmax(value, x);
        else
            value = isnan(value) ? x : value + x;
    }
    return function == 0 ? n : function == 4 ? value / n : value;
}

static void compare_with_naive(struct rng *r, struct random_model *m)
{
    const char *by[2] = {attributes[rng_below(r, ATTRIBUTES)],
                         attributes[rng_below(r, ATTRIBUTES)]};
    uint32_t by_count = by[0] == by[1] ? 1 : (uint32_t)rng_below(r, 3);
    int function = (int)rng_below(r, 5);
    const char *attr = attributes[rng_below(r, ATTRIBUTES)];
    struct traceql_metrics_grid grid = {(int64_t)rng_below(r, 40), 1 + (int64_t)rng_below(r, 30),
                                        1 + (uint32_t)rng_below(r, 9)};
    char query[256], list[100] = "";
    if (by_count)
        snprintf(list, sizeof list, " by (%s%s%s)", by[0], by_count > 1 ? ", " : "",
                 by_count > 1 ? by[1] : "");
    snprintf(query, sizeof query, "{} | %s(%s)%s", functions[function], function ? attr : "", list);
    struct asked a;
    ask(&m->m, m->starts, &grid, query, &a);
    double counted = 0, all = 0;
    for (uint32_t i = 0; i < a.count; i++) {
        for (uint32_t k = 0; k < grid.intervals; k++) {
            int64_t from = grid.after_ns + k * grid.step_ns;
            double want = naive_sample(m, &a.series[i], by, by_count, function, attr, from,
                                       from + grid.step_ns);
            double got = a.series[i].values[k];
            if (isnan(want) != isnan(got) || (!isnan(want) && fabs(want - got) > 1e-9 * fabs(want)))
                fail_msg("%s: %.*s interval %u: want %g got %g", query,
                         SLICE_ARGS(a.series[i].text), k, want, got);
            counted += got;
        }
    }
    for (uint32_t i = 0; i < SPANS; i++)
        all += m->starts[i] > grid.after_ns &&
               m->starts[i] <= grid.after_ns + grid.step_ns * grid.intervals;
    if (function == 0) /* no span is lost and none counts twice */
        assert_true(counted == all);
    arena_free(a.arena);
}

static void random_questions_get_the_answers_of_the_slow_evaluator(void **state)
{
    (void)state;
    struct rng r = {20260101};
    struct random_model *m = calloc(1, sizeof *m);
    for (int i = 0; i < 60; i++) {
        random_fill(&r, m);
        for (int k = 0; k < 40; k++)
            compare_with_naive(&r, m);
    }
    free(m);
}

static uint64_t exemplars_sum(const struct asked *a)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        for (uint32_t k = 0; k < a->series[i].exemplar_count; k++)
            h = metrics_hash_bytes(h, &a->series[i].exemplars[k].start_ns, 8);
    }
    return h;
}

/* The same from another process: encoded, decoded, and encoded again to the same bytes. */
static struct traceql_metrics *over_the_wire(struct asked *a, const struct traceql_metrics *job,
                                             const struct traceql_metrics_grid *grid)
{
    struct err err = {0};
    struct traceql_metrics *out;
    struct buf there, back;
    buf_init(&there, 1 << 24);
    buf_init(&back, 1 << 24);
    must(traceql_metrics_encode(job, &there, &err), &err, "encode");
    must(traceql_metrics_new(a->query, grid, 10, a->arena, &out, &err), &err, "new");
    must(traceql_metrics_decode(out, buf_view(&there), &err), &err, "decode");
    must(traceql_metrics_encode(out, &back, &err), &err, "encode again");
    assert_true(slice_eq(buf_view(&there), buf_view(&back)));
    /* Broken bytes are refused, or are other series; they never do harm. */
    for (size_t i = 0; i < there.len; i += 1 + there.len / 40) {
        struct traceql_metrics *other;
        there.ptr[i] ^= (uint8_t)(1 + i % 255);
        must(traceql_metrics_new(a->query, grid, 10, a->arena, &other, &err), &err, "new");
        int rc = traceql_metrics_decode(other, buf_view(&there), &err);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        rc = traceql_metrics_decode(other, slice_of(there.ptr, i), &err);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        there.ptr[i] ^= (uint8_t)(1 + i % 255);
    }
    buf_clear(&there);
    buf_clear(&back);
    return out;
}

static void jobs_may_be_merged_in_any_order_and_come_from_another_process(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "{} | rate() by (.a)",
        "{} | avg_over_time(.b) by (name)",
        "{} | sum_over_time(span.b)",
        "{} | min_over_time(duration) by (.a, status)",
        "{} | quantile_over_time(duration, .3, .9) by (name)",
        "{} | histogram_over_time(.b)",
    };
    struct rng r = {7};
    struct random_model *m = calloc(1, sizeof *m);
    struct traceql_metrics_grid grid = {0, 10, 12};
    for (size_t i = 0; i < 10 * sizeof queries / sizeof queries[0]; i++) {
        const char *query = queries[i / 10];
        struct err err = {0};
        struct asked whole;
        random_fill(&r, m);
        ask(&m->m, m->starts, &grid, query, &whole);
        char *want = text_of(&whole, &grid, 17);
        uint64_t exemplars = 0; /* a trace that is cut in parts has one in each */
        for (int order = 0; order < 4; order++) {
            struct traceql_metrics *parts[4];
            struct asked a = whole;
            for (uint32_t k = 0; k < 4; k++)
                parts[k] = observe(&a, &m->m, m->starts, &grid, k * 15, k * 15 + 15, query);
            for (uint32_t k = 0; k < 4 && order > 1; k++)
                parts[k] = over_the_wire(&a, parts[k], &grid);
            must(traceql_metrics_new(a.query, &grid, 10, a.arena, &a.metrics, &err), &err, query);
            for (uint32_t k = 0; k < 4; k++)
                must(traceql_metrics_merge(a.metrics, parts[order & 1 ? 3 - k : k ^ order], &err),
                     &err, query);
            must(traceql_metrics_finish(a.metrics, a.arena, &a.series, &a.count, &err), &err,
                 query);
            char *got = text_of(&a, &grid, 17);
            assert_string_equal(got, want);
            uint64_t sum = exemplars_sum(&a);
            assert_true(order == 0 || sum == exemplars);
            exemplars = sum;
            free(got);
        }
        free(want);
        arena_free(whole.arena);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_rates_are_the_described_ones),
        cmocka_unit_test(groups_are_told_apart_by_type_and_value),
        cmocka_unit_test(extremes_and_averages_are_the_described_ones),
        cmocka_unit_test(buckets_and_quantiles_are_the_described_ones),
        cmocka_unit_test(an_interval_is_open_on_the_left_and_closed_on_the_right),
        cmocka_unit_test(spans_without_events_show_an_empty_one),
        cmocka_unit_test(the_sum_of_integers_is_exact),
        cmocka_unit_test(topk_and_comparisons_take_points_away),
        cmocka_unit_test(an_exemplar_is_a_span_of_the_series),
        cmocka_unit_test(a_full_arena_is_an_error),
        cmocka_unit_test(compare_counts_both_sides_by_attribute),
        cmocka_unit_test(random_questions_get_the_answers_of_the_slow_evaluator),
        cmocka_unit_test(jobs_may_be_merged_in_any_order_and_come_from_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
