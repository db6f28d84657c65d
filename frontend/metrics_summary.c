/* GET /api/metrics/summary: how many spans, how many failed, how long they took, group by group.
 *
 * It is three metrics queries over one view: the spans, those with an error, and the histogram of
 * durations, all with one by(). What they count is put together by the values of the keys. */
#include <math.h>
#include <stdlib.h>

#include "base/text.h"
#include "frontend/metrics_priv.h"
#include "frontend/tags_query.h"
#include "query/tag_set.h"

enum { COUNT_SPANS, COUNT_ERRORS, COUNT_DURATIONS, COUNTS };

/* What one series says of the group to which it belongs. */
struct summary_part {
    struct traceql_value values[SUMMARY_KEYS];
    int what;
    uint32_t bucket; /* COUNT_DURATIONS */
    uint64_t count;
};

struct summary {
    struct query *q;
    struct slice keys[SUMMARY_KEYS]; /* as by() names them */
    uint32_t key_count;
    struct traceql_metrics_grid grid; /* one interval */
    struct traceql_query *queries[COUNTS];
    struct arena *arena;
    struct summary_part *parts;
    size_t part_count, part_cap;
};

/* ---- parameters ---- */

/* The canonical text of a key, told from that of a query that groups by it. */
static int key_name(struct summary *s, struct slice text, struct slice *out, struct err *err)
{
    static const struct slice before = {(const uint8_t *)"{ true } | rate()by(", 20};
    struct arena *a = s->q->arena;
    struct query_tags tag = {0};
    struct traceql_query *q;
    struct buf printed;
    char shown[256];
    int rc = tag_parse(text, a, &tag, NULL);
    if (rc < 0)
        return err_set(err, rc, "tag name is not valid intrinsic or scoped attribute: %s",
                       text_escape(text, 60, shown, sizeof shown));
    const char *query = arena_printf(a, "{ } | rate() by(%.*s)", SLICE_ARGS(text));
    if (!query)
        return arena_err(a, err, "a summary's keys");
    rc = traceql_parse(slice_cstr(query), a, &q, err);
    if (rc < 0)
        return rc;
    buf_init(&printed, LIMIT_PARAM_BYTES);
    rc = traceql_query_print(q, &printed);
    struct slice name = buf_view(&printed);
    if (rc < 0 || !slice_starts(name, before) || !slice_ends(name, SLICE(")")))
        rc = err_set(err, rc < 0 ? rc : ERR_INTERNAL, "a key that cannot be named");
    else if (!arena_slice(a, slice_of(name.ptr + before.len, name.len - before.len - 1), out))
        rc = arena_err(a, err, "a summary's keys");
    buf_clear(&printed);
    return rc;
}

static int parse_keys(struct summary *s, struct err *err)
{
    struct slice rest;
    if (!query_param(s->q, "groupBy", &rest))
        rest = SLICE("");
    for (bool more = true; more;) {
        size_t end = slice_find(rest, ',');
        more = end < rest.len;
        if (s->key_count == SUMMARY_KEYS)
            return err_set(err, ERR_INVALID, "max group by %d attributes exceeded", SUMMARY_KEYS);
        int rc = key_name(s, slice_of(rest.ptr, end), &s->keys[s->key_count++], err);
        if (rc < 0)
            return err_wrap(err, "parsing groupby attribute");
        rest = slice_from(rest, more ? end + 1 : end);
    }
    return 0;
}

static int parse_range(struct summary *s, struct err *err)
{
    uint64_t start, end;
    uint32_t limit; /* Tempo 2.7 checks it, and has no use for it */
    int rc = query_param_count(s->q, "limit", true, 0, &limit, err);
    if (rc == 0)
        rc = query_param_seconds(s->q, "start", &start, err);
    if (rc == 0)
        rc = query_param_seconds(s->q, "end", &end, err);
    if (rc < 0)
        return rc;
    if (end && end <= start)
        return err_set(err, ERR_INVALID,
                       "http parameter start must be before end. received start=%llu end=%llu",
                       (unsigned long long)start, (unsigned long long)end);
    /* Spans that start in [start, end); without an end, all from the start on. */
    int64_t after = (int64_t)(start * NS_PER_S) - 1;
    int64_t last = end ? (int64_t)(end * NS_PER_S) - 1 : INT64_MAX - 1;
    s->grid =
        (struct traceql_metrics_grid){.after_ns = after, .step_ns = last - after, .intervals = 1};
    return end ? query_check_range(s->q, start, end, end - start, err) : 0;
}

static int parse_queries(struct summary *s, struct err *err)
{
    static const char *const stages[COUNTS] = {
        [COUNT_SPANS] = "count_over_time()",
        [COUNT_ERRORS] = "{ status = error } | count_over_time()",
        [COUNT_DURATIONS] = "histogram_over_time(duration)",
    };
    struct arena *a = s->q->arena;
    struct slice text;
    struct buf by;
    if (!query_param(s->q, "q", &text))
        text = SLICE("");
    int rc = query_check_text(s->q, text, err);
    if (rc == 0)
        rc = traceql_parse(text, a, &s->queries[0], err);
    if (rc < 0)
        return err_wrap(err, "compiling query");
    if (traceql_query_is_metrics(s->queries[0]))
        return err_set(err, ERR_INVALID, "compiling query: expected a search, got a metrics query");
    buf_init(&by, SUMMARY_KEYS * LIMIT_PARAM_BYTES);
    for (uint32_t i = 0; i < s->key_count && rc == 0; i++) {
        rc = buf_str(&by, i ? "," : "");
        rc = rc < 0 ? rc : buf_slice(&by, s->keys[i]);
    }
    for (int i = 0; i < COUNTS && rc == 0; i++) {
        /* On a line of its own: the text may end in a comment. */
        const char *query = arena_printf(a, "%.*s\n| %s by(%.*s)", SLICE_ARGS(text), stages[i],
                                         SLICE_ARGS(buf_view(&by)));
        rc = query ? traceql_parse(slice_cstr(query), a, &s->queries[i], err)
                   : arena_err(a, err, "a summary's queries");
        if (rc < 0)
            err_wrap(err, "compiling query");
    }
    buf_clear(&by);
    return rc;
}

/* ---- what the queries count ---- */

/* The keys that a series has are labels in their order; what it lacks is nil. */
static void read_labels(const struct summary *s, const struct traceql_series *t,
                        struct summary_part *out)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->key_count; i++) {
        out->values[i] = (struct traceql_value){.type = TRACEQL_NIL};
        if (at < t->label_count && slice_eq(t->labels[at].name, s->keys[i]))
            out->values[i] = t->labels[at++].value;
    }
    if (out->what == COUNT_DURATIONS) /* its edge in seconds comes last */
        out->bucket = (uint32_t)lround(log2(t->labels[t->label_count - 1].value.f64 * 1e9));
}

static int add_parts(struct summary *s, int what, const struct traceql_series *series,
                     uint32_t count, struct err *err)
{
    if (s->part_cap - s->part_count < count) {
        size_t cap = s->part_cap * 2 + count;
        struct summary_part *more = arena_array(s->arena, struct summary_part, cap);
        if (!more)
            return arena_err(s->arena, err, "a summary");
        if (s->part_count)
            memcpy(more, s->parts, s->part_count * sizeof *more);
        s->parts = more;
        s->part_cap = cap;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct summary_part *p = &s->parts[s->part_count++];
        *p = (struct summary_part){.what = what, .count = (uint64_t)series[i].values[0]};
        read_labels(s, &series[i], p);
    }
    return 0;
}

static int ask(struct summary *s, struct err *err)
{
    struct query *q = s->q;
    struct query_data data = {0};
    int rc = query_data_acquire(q, &data, err);
    for (int i = 0; i < COUNTS && rc == 0; i++) {
        const struct query_metrics metrics = {.query = s->queries[i], .grid = s->grid};
        struct traceql_series *series;
        uint32_t count;
        rc = metrics_series(q, &metrics, &data, s->arena, &series, &count, err);
        if (rc == 0)
            rc = add_parts(s, i, series, count, err);
    }
    query_data_release(&data);
    return rc;
}

/* ---- groups ---- */

static int compare_parts(const void *a, const void *b)
{
    const struct summary_part *x = a, *y = b;
    int c = 0;
    for (size_t i = 0; i < SUMMARY_KEYS && c == 0; i++)
        c = query_tag_cmp(&(struct query_tag){.value = x->values[i]},
                          &(struct query_tag){.value = y->values[i]});
    return c;
}

static int make_groups(struct summary *s, struct summary_group **out, uint32_t *count,
                       struct err *err)
{
    struct summary_group *groups = NULL, *g = NULL;
    uint32_t n = 0;
    if (s->part_count)
        qsort(s->parts, s->part_count, sizeof *s->parts, compare_parts);
    for (size_t i = 0; i < s->part_count; i++)
        n += i == 0 || compare_parts(&s->parts[i - 1], &s->parts[i]) != 0;
    groups = arena_zalloc(s->arena, n * sizeof *groups);
    if (!groups)
        return arena_err(s->arena, err, "a summary");
    for (size_t i = 0; i < s->part_count; i++) {
        const struct summary_part *p = &s->parts[i];
        if (i == 0 || compare_parts(p - 1, p) != 0) {
            g = g ? g + 1 : groups;
            memcpy(g->values, p->values, sizeof g->values);
        }
        if (p->what == COUNT_DURATIONS && p->bucket < SUMMARY_BUCKETS)
            g->buckets[p->bucket] += p->count;
        else
            *(p->what == COUNT_SPANS ? &g->spans : &g->errors) += p->count;
    }
    for (uint32_t i = 0; i < n; i++) { /* the histogram leaves out what is below 2 ns */
        uint64_t longer = 0;
        for (size_t b = 1; b < SUMMARY_BUCKETS; b++)
            longer += groups[i].buckets[b];
        groups[i].buckets[0] = groups[i].spans > longer ? groups[i].spans - longer : 0;
    }
    *out = groups;
    *count = n;
    return 0;
}

uint64_t summary_quantile(const struct summary_group *g, double p)
{
    uint64_t all = 0, below = 0;
    size_t b = 0;
    for (size_t i = 0; i < SUMMARY_BUCKETS; i++)
        all += g->buckets[i];
    uint64_t rank = (uint64_t)ceil(p * (double)all);
    if (all == 0)
        return 0;
    while (b + 1 < SUMMARY_BUCKETS && below + g->buckets[b] < rank)
        below += g->buckets[b++];
    if (b == 0)
        return 1;
    double share = (double)(rank - below) / (double)g->buckets[b];
    return (uint64_t)exp2((double)(b - 1) + share);
}

/* ---- the answer ---- */

/* Tempo's numbers: status error 0, ok 1, unset 2; kind client 2, server 3. */
static int value_json(const struct traceql_value *v, struct buf *out)
{
    static const int statuses[] = {2, 1, 0}, kinds[] = {0, 1, 3, 2, 4, 5};
    char text[40];
    int number = 0, rc;
    switch (v->type) {
    case TRACEQL_NIL:
        return buf_str(out, "{}");
    case TRACEQL_INT:
        return v->i64 ? buf_printf(out, "{\"type\":3,\"n\":\"%lld\"}", (long long)v->i64)
                      : buf_str(out, "{\"type\":3}");
    case TRACEQL_FLOAT:
        format_f64_json(v->f64, text);
        return v->f64 == 0        ? buf_str(out, "{\"type\":4}")
               : isfinite(v->f64) ? buf_printf(out, "{\"type\":4,\"f\":%s}", text)
                                  : buf_printf(out, "{\"type\":4,\"f\":\"%s\"}", text);
    case TRACEQL_BOOL:
        return buf_str(out, v->b ? "{\"type\":6,\"b\":true}" : "{\"type\":6}");
    case TRACEQL_DURATION:
        return v->i64 ? buf_printf(out, "{\"type\":11,\"d\":\"%llu\"}", (unsigned long long)v->i64)
                      : buf_str(out, "{\"type\":11}");
    case TRACEQL_STATUS:
        number = v->i64 >= 0 && v->i64 < 3 ? statuses[v->i64] : (int)v->i64;
        return number ? buf_printf(out, "{\"type\":12,\"status\":%d}", number)
                      : buf_str(out, "{\"type\":12}");
    case TRACEQL_KIND:
        number = v->i64 >= 0 && v->i64 < 6 ? kinds[v->i64] : (int)v->i64;
        return number ? buf_printf(out, "{\"type\":13,\"kind\":%d}", number)
                      : buf_str(out, "{\"type\":13}");
    case TRACEQL_STRING:
        break;
    }
    if (v->str.len == 0)
        return buf_str(out, "{\"type\":5}");
    rc = buf_str(out, "{\"type\":5,\"s\":");
    rc = rc < 0 ? rc : buf_json_string(out, v->str);
    return rc < 0 ? rc : buf_str(out, "}");
}

static int group_json(const struct summary_group *g, const struct slice *keys, uint32_t key_count,
                      struct buf *out)
{
    static const struct {
        const char *name;
        double p;
    } quantiles[] = {{"p99", .99}, {"p95", .95}, {"p90", .9}, {"p50", .5}};
    int rc = buf_printf(out, "{\"spanCount\":\"%llu\"", (unsigned long long)g->spans);
    if (rc == 0 && g->errors)
        rc = buf_printf(out, ",\"errorSpanCount\":\"%llu\"", (unsigned long long)g->errors);
    rc = rc < 0 ? rc : buf_str(out, ",\"series\":[");
    for (uint32_t i = 0; i < key_count && rc == 0; i++) {
        rc = buf_str(out, i ? ",{\"key\":" : "{\"key\":");
        rc = rc < 0 ? rc : buf_json_string(out, keys[i]);
        rc = rc < 0 ? rc : buf_str(out, ",\"value\":");
        rc = rc < 0 ? rc : value_json(&g->values[i], out);
        rc = rc < 0 ? rc : buf_str(out, "}");
    }
    rc = rc < 0 ? rc : buf_str(out, "]");
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0] && rc == 0; i++)
        rc = buf_printf(out, ",\"%s\":\"%llu\"", quantiles[i].name,
                        (unsigned long long)summary_quantile(g, quantiles[i].p));
    return rc < 0 ? rc : buf_str(out, "}");
}

int summary_json(const struct summary_group *groups, uint32_t group_count, const struct slice *keys,
                 uint32_t key_count, struct buf *out)
{
    int rc = buf_str(out, "[");
    for (uint32_t i = 0; i < group_count && rc == 0; i++) {
        rc = buf_str(out, i ? "," : "");
        rc = rc < 0 ? rc : group_json(&groups[i], keys, key_count, out);
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

int metrics_summary_api(struct query *q, struct answer *out, struct err *err)
{
    struct summary s = {.q = q};
    struct summary_group *groups = NULL;
    uint32_t count = 0;
    if (q->tenant_count > 1)
        return err_set(err, ERR_INVALID, "multi-tenant query unsupported");
    int rc = parse_range(&s, err);
    if (rc == 0)
        rc = parse_keys(&s, err);
    if (rc == 0)
        rc = parse_queries(&s, err);
    if (rc < 0)
        return rc;
    if (!(s.arena = arena_new_within(&q->memory)))
        return err_set(err, ERR_NOMEM, "no memory for a query");
    rc = ask(&s, err);
    if (rc == ERR_UNSUPPORTED)
        out->status = 400; /* the query's construct, not the server's state */
    if (rc == 0)
        rc = make_groups(&s, &groups, &count, err);
    if (rc == 0) {
        rc = buf_str(&out->body, "{\"summaries\":");
        rc = rc < 0 ? rc : summary_json(groups, count, s.keys, s.key_count, &out->body);
        rc = rc < 0 ? rc : buf_str(&out->body, "}");
        if (rc < 0)
            err_set(err, rc, "the answer does not fit");
    }
    arena_free(s.arena);
    return rc;
}
