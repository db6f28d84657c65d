/* Search in one block, row group by row group, or in the live columns: evaluate, then read what the
 * results show for the traces that matched. */
#include <stdlib.h>

#include "base/text.h"
#include "base/vec.h"
#include "worker/scan_source.h"

struct search_job {
    const struct query_search *search;
    struct traceql_eval *eval;
    struct arena *a; /* of the results */
    VEC(struct query_trace) traces;
};

/* ---- results ---- */

static const int result_leaves[] = {
    BLOCK_TRACE_ID,  BLOCK_TRACE_START,   BLOCK_TRACE_DURATION, BLOCK_ROOT_SERVICE,
    BLOCK_ROOT_NAME, BLOCK_STATS_SERVICE, BLOCK_STATS_SPANS,    BLOCK_STATS_ERRORS,
    BLOCK_SPAN_ID,   BLOCK_SPAN_START,    BLOCK_SPAN_DURATION,
};

struct pairs {
    struct search_job *job;
    VEC(struct query_attr) attrs;
    struct err *err;
};

static int results_full(struct search_job *job, struct err *err)
{
    return arena_err(job->a, err, "a search's results");
}

/* A copy of key and values in the results' arena. */
static int copy_attr(struct search_job *job, struct slice key, const struct traceql_value *values,
                     uint32_t count, struct query_attr *out, struct err *err)
{
    struct traceql_value *copy = arena_array(job->a, struct traceql_value, count);
    *out = (struct query_attr){.values = copy, .count = count};
    if (!copy || !arena_slice(job->a, key, &out->key))
        return results_full(job, err);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = values[i];
        if (copy[i].type == TRACEQL_STRING && !arena_slice(job->a, values[i].str, &copy[i].str))
            return results_full(job, err);
    }
    return 0;
}

static int collect_pair(void *ctx, struct slice key, const struct traceql_value *values,
                        uint32_t count)
{
    struct pairs *p = ctx;
    struct query_attr attr;
    int rc = copy_attr(p->job, key, values, count, &attr, p->err);
    if (rc == 0 && !vec_push(&p->attrs, attr))
        rc = err_set(p->err, ERR_NOMEM, "no memory for a span's attributes");
    return rc;
}

static int fill_span(struct search_job *job, struct scan *s, const struct traceql_result *r,
                     uint32_t span, struct query_span *out, struct err *err)
{
    out->start_unix_ns = (uint64_t)scan_column(s, BLOCK_SPAN_START)->v.i64[span];
    out->duration_ns = (uint64_t)scan_column(s, BLOCK_SPAN_DURATION)->v.i64[span];
    if (!arena_slice(job->a, column_bytes(scan_column(s, BLOCK_SPAN_ID), span), &out->id))
        return results_full(job, err);
    struct slice name;
    if (traceql_result_name(r, span, &name) && !arena_slice(job->a, name, &out->name))
        return results_full(job, err);
    struct pairs pairs = {.job = job, .err = err};
    int rc = traceql_result_pairs(r, span, collect_pair, &pairs, err);
    if (rc == 0) {
        out->attr_count = pairs.attrs.count;
        out->attrs = arena_array(job->a, struct query_attr, pairs.attrs.count);
        if (!out->attrs)
            rc = arena_err(job->a, err, "a search's results");
        else if (pairs.attrs.count)
            memcpy(out->attrs, pairs.attrs.at, pairs.attrs.count * sizeof *out->attrs);
    }
    vec_free(&pairs.attrs);
    return rc;
}

/* stats_end[t]: entries of the service stats before trace t + 1. */
static int fill_services(struct search_job *job, struct scan *s, uint32_t first, uint32_t end,
                         struct query_trace *out, struct err *err)
{
    const struct column *name = scan_column(s, BLOCK_STATS_SERVICE);
    const struct column *spans = scan_column(s, BLOCK_STATS_SPANS);
    const struct column *errors = scan_column(s, BLOCK_STATS_ERRORS);
    out->services = arena_array(job->a, struct query_service, end - first);
    if (!out->services)
        return results_full(job, err);
    for (uint32_t i = first; i < end; i++) {
        struct query_service *q = &out->services[out->service_count++];
        q->span_count = (uint32_t)spans->v.i32[i];
        q->error_count = (uint32_t)errors->v.i32[i];
        if (!arena_slice(job->a, column_bytes(name, i), &q->name))
            return results_full(job, err);
    }
    return 0;
}

/* Values of the stats columns: where each trace's begin; traces + 1 elements. */
static int stats_offsets(struct scan *s, uint32_t **out, struct err *err)
{
    const struct column *c = scan_column(s, BLOCK_STATS_SERVICE);
    uint32_t *at = arena_array(s->arena, uint32_t, (size_t)s->traces + 1);
    if (!at)
        return arena_err(s->arena, err, "a row group");
    uint32_t trace = 0, value = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        if (c->rep[i] == 0) {
            if (trace >= s->traces)
                return err_set(err, ERR_CORRUPT, "column %s: more rows than traces",
                               block_leaves[BLOCK_STATS_SERVICE].path);
            at[trace++] = value;
        }
        value += c->def[i] == c->def_max;
    }
    while (trace <= s->traces)
        at[trace++] = value;
    *out = at;
    return 0;
}

static int check_results(struct scan *s, struct err *err)
{
    static const struct {
        int leaf;
        bool per_span;
    } wanted[] = {{BLOCK_TRACE_ID, false},       {BLOCK_TRACE_START, false},
                  {BLOCK_TRACE_DURATION, false}, {BLOCK_ROOT_SERVICE, false},
                  {BLOCK_ROOT_NAME, false},      {BLOCK_SPAN_ID, true},
                  {BLOCK_SPAN_START, true},      {BLOCK_SPAN_DURATION, true}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        uint32_t have = scan_column(s, wanted[i].leaf)->values;
        uint32_t want = wanted[i].per_span ? s->spans : s->traces;
        if (have != want)
            return err_set(err, ERR_CORRUPT, "column %s: %u values, expected %u",
                           block_leaves[wanted[i].leaf].path, have, want);
    }
    uint32_t stats = scan_column(s, BLOCK_STATS_SERVICE)->values;
    if (scan_column(s, BLOCK_STATS_SPANS)->values != stats ||
        scan_column(s, BLOCK_STATS_ERRORS)->values != stats)
        return err_set(err, ERR_CORRUPT, "the service stats columns differ in length");
    return 0;
}

static int fill_set(struct search_job *job, struct scan *s, const struct traceql_result *r,
                    const struct traceql_spanset *from, struct query_spanset *out, struct err *err)
{
    uint32_t most = job->search->spans_per_set;
    uint32_t shown = from->count < most ? from->count : most;
    int rc = 0;
    out->matched = from->count;
    out->spans = arena_zalloc(job->a, shown * sizeof *out->spans);
    out->attrs = arena_array(job->a, struct query_attr, from->attr_count);
    if (!out->spans || !out->attrs)
        return results_full(job, err);
    for (uint32_t i = 0; i < from->attr_count && rc == 0; i++) {
        const struct traceql_set_attr *attr = &from->attrs[i];
        rc = copy_attr(job, attr->key, attr->values, attr->count, &out->attrs[out->attr_count++],
                       err);
    }
    for (uint32_t i = 0; i < shown && rc == 0; i++)
        rc = fill_span(job, s, r, r->spans[from->first + i], &out->spans[out->span_count++], err);
    return rc;
}

/* The place in storage of the last of the spans that the set shows: sets are listed by it. */
static uint32_t last_shown(const struct search_job *job, const struct traceql_result *r,
                           const struct traceql_spanset *set)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < set->count && i < job->search->spans_per_set; i++) {
        uint32_t span = r->spans[set->first + i];
        last = span > last ? span : last;
    }
    return last;
}

struct place {
    uint32_t last;
    uint32_t set;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->last != y->last)
        return x->last < y->last ? -1 : 1;
    return (x->set > y->set) - (x->set < y->set);
}

static int fill_sets(struct search_job *job, struct scan *s, const struct traceql_result *r,
                     uint32_t first, uint32_t count, struct query_trace *out, struct err *err)
{
    struct place *places = arena_array(s->arena, struct place, count);
    out->sets = arena_zalloc(job->a, count * sizeof *out->sets);
    if (!places)
        return arena_err(s->arena, err, "a search's results");
    if (!out->sets)
        return results_full(job, err);
    for (uint32_t i = 0; i < count; i++)
        places[i] = (struct place){last_shown(job, r, &r->sets[first + i]), first + i};
    qsort(places, count, sizeof *places, by_place);
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = fill_set(job, s, r, &r->sets[places[i].set], &out->sets[out->set_count++], err);
    return rc;
}

static int fill_trace(struct search_job *job, struct scan *s, uint32_t trace, const uint32_t *stats,
                      struct query_trace *out, struct err *err)
{
    struct slice id = column_bytes(scan_column(s, BLOCK_TRACE_ID), trace);
    size_t n = id.len < 16 ? id.len : 16;
    memcpy(out->id + 16 - n, id.ptr + id.len - n, n);
    out->start_unix_ns = (uint64_t)scan_column(s, BLOCK_TRACE_START)->v.i64[trace];
    out->duration_ns = (uint64_t)scan_column(s, BLOCK_TRACE_DURATION)->v.i64[trace];
    struct slice service = column_bytes(scan_column(s, BLOCK_ROOT_SERVICE), trace);
    struct slice name = column_bytes(scan_column(s, BLOCK_ROOT_NAME), trace);
    if (!arena_slice(job->a, service, &out->root_service) ||
        !arena_slice(job->a, name, &out->root_name))
        return results_full(job, err);
    return fill_services(job, s, stats[trace], stats[trace + 1], out, err);
}

/* ---- one batch ---- */

static bool in_range(const struct query_search *q, struct scan *s, uint32_t trace)
{
    if (q->end_unix_ns == 0)
        return true;
    uint64_t start = (uint64_t)scan_column(s, BLOCK_TRACE_START)->v.i64[trace];
    uint64_t end = start + (uint64_t)scan_column(s, BLOCK_TRACE_DURATION)->v.i64[trace];
    return start <= q->end_unix_ns && end >= q->start_unix_ns;
}

/* How many of the sets from i on are of one trace. */
static uint32_t sets_of_trace(const struct traceql_result *r, uint32_t i)
{
    uint32_t n = 1;
    while (i + n < r->set_count && r->sets[i + n].trace == r->sets[i].trace)
        n++;
    return n;
}

/* What select() names is read only now that there are spans to show it of. */
static int second_pass(struct search_job *job, struct scan *s, struct traceql_result *r,
                       struct err *err)
{
    const struct traceql_query *q = traceql_second_pass(job->search->query);
    struct traceql_batch *batch = q ? arena_alloc(s->arena, sizeof *batch) : NULL;
    if (!q)
        return 0;
    if (!batch)
        return arena_err(s->arena, err, "a search's second pass");
    int rc = scan_batch(s, q, batch, err);
    return rc < 0 ? rc : traceql_result_second(r, batch, err);
}

static bool is_done(void *ctx)
{
    const struct search_job *job = ctx;
    return !job->search->most_recent && job->traces.count >= job->search->limit;
}

static int newest_first(const void *a, const void *b)
{
    const struct query_trace *x = a, *y = b;
    if (x->start_unix_ns != y->start_unix_ns)
        return x->start_unix_ns < y->start_unix_ns ? 1 : -1;
    return memcmp(x->id, y->id, 16);
}

/* Of the traces so far, only the newest can still be among the newest of all. */
static void keep_newest(struct search_job *job)
{
    if (!job->search->most_recent || job->traces.count <= job->search->limit)
        return;
    qsort(job->traces.at, job->traces.count, sizeof job->traces.at[0], newest_first);
    job->traces.count = job->search->limit;
}

static int show_results(struct search_job *job, struct scan *s, struct traceql_result *r,
                        struct err *err)
{
    uint32_t *stats = NULL;
    int rc = check_results(s, err);
    if (rc == 0)
        rc = stats_offsets(s, &stats, err);
    bool first = true;
    for (uint32_t i = 0, n; i < r->set_count && rc == 0; i += n) {
        struct query_trace t = {0};
        n = sets_of_trace(r, i);
        if (is_done(job))
            break;
        if (!in_range(job->search, s, r->sets[i].trace))
            continue;
        rc = first ? second_pass(job, s, r, err) : 0;
        rc = rc < 0 ? rc : fill_trace(job, s, r->sets[i].trace, stats, &t, err);
        rc = rc < 0 ? rc : fill_sets(job, s, r, i, n, &t, err);
        if (rc == 0 && !vec_push(&job->traces, t))
            rc = err_set(err, ERR_NOMEM, "no memory for a search's results");
        first = false;
    }
    keep_newest(job);
    return rc;
}

static int search_batch(void *ctx, struct scan *s, struct err *err)
{
    struct search_job *job = ctx;
    struct traceql_batch batch;
    struct traceql_result result = {0};
    scan_step(s, QUERY_STEP_EVALUATE);
    int rc = scan_batch(s, job->search->query, &batch, err);
    if (rc == 0)
        rc = traceql_eval_batch(job->eval, &batch, s->arena, &result, err);
    if (rc < 0 || result.set_count == 0)
        return rc;
    scan_step(s, QUERY_STEP_RESULTS);
    rc = scan_need(s, result_leaves, sizeof result_leaves / sizeof result_leaves[0], err);
    return rc < 0 ? rc : show_results(job, s, &result, err);
}

int worker_search(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err)
{
    struct search_job job = {.search = search, .a = a};
    const struct scan_visit visit = {.batch = search_batch, .is_done = is_done, .ctx = &job};
    *out = (struct query_search_result){0};
    int rc = traceql_eval_new(search->query, a, &job.eval, err);
    if (rc == 0)
        rc = scan_source(self, source, &visit, deadline_mono_ns, &out->stats, err);
    if (rc == 0) {
        out->traces = arena_array(a, struct query_trace, job.traces.count);
        if (!out->traces)
            rc = arena_err(a, err, "a search's results");
        else if (job.traces.count)
            memcpy(out->traces, job.traces.at, job.traces.count * sizeof *out->traces);
        out->trace_count = job.traces.count;
    }
    out->inspected_bytes = out->stats.bytes_read;
    out->inspected_traces = (uint32_t)out->stats.traces;
    vec_free(&job.traces);
    return rc;
}
