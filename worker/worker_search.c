/* Search in one block, row group by row group, or in the live columns: evaluate, then read what the
 * results show for the traces that matched. */
#include <stdlib.h>

#include "base/text.h"
#include "base/vec.h"
#include "worker/scan.h"
#include "worker/worker_limits.h"
#include "worker/worker_priv.h"

struct search_job {
    struct worker *worker;
    const struct query_search *search;
    struct traceql_eval *eval;
    struct arena *a; /* of the results */
    VEC(struct query_trace) traces;
    uint64_t bytes;
    uint32_t inspected;
};

/* ---- results ---- */

static const int result_leaves[] = {
    BLOCK_TRACE_ID,    BLOCK_TRACE_START,   BLOCK_TRACE_DURATION, BLOCK_ROOT_SERVICE,
    BLOCK_ROOT_NAME,   BLOCK_STATS_SERVICE, BLOCK_STATS_SPANS,    BLOCK_STATS_ERRORS,
    BLOCK_SPAN_ID,     BLOCK_SPAN_START,    BLOCK_SPAN_DURATION,
};

struct pairs {
    struct search_job *job;
    VEC(struct query_attr) attrs;
};

static int collect_pair(void *ctx, struct slice key, const struct traceql_value *values,
                        uint32_t count)
{
    struct pairs *p = ctx;
    struct query_attr attr = {.count = count};
    struct traceql_value *copy = arena_array(p->job->a, struct traceql_value, count);
    if (!copy || !arena_slice(p->job->a, key, &attr.key))
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = values[i];
        if (copy[i].type == TRACEQL_STRING &&
            !arena_slice(p->job->a, values[i].str, &copy[i].str))
            return ERR_LIMIT;
    }
    attr.values = copy;
    return vec_push(&p->attrs, attr) ? 0 : ERR_NOMEM;
}

static int fill_span(struct search_job *job, struct scan *s, const struct traceql_result *r,
                     uint32_t span, struct query_span *out, struct err *err)
{
    out->start_unix_ns = (uint64_t)scan_column(s, BLOCK_SPAN_START)->v.i64[span];
    out->duration_ns = (uint64_t)scan_column(s, BLOCK_SPAN_DURATION)->v.i64[span];
    if (!arena_slice(job->a, column_bytes(scan_column(s, BLOCK_SPAN_ID), span), &out->id))
        return arena_err(job->a, err, "a search's results");
    if (traceql_query_shows_name(job->search->query) &&
        !arena_slice(job->a, column_bytes(scan_column(s, BLOCK_SPAN_NAME), span), &out->name))
        return arena_err(job->a, err, "a search's results");
    struct pairs pairs = {.job = job};
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
        return arena_err(job->a, err, "a search's results");
    for (uint32_t i = first; i < end; i++) {
        struct query_service *q = &out->services[out->service_count++];
        q->span_count = (uint32_t)spans->v.i32[i];
        q->error_count = (uint32_t)errors->v.i32[i];
        if (!arena_slice(job->a, column_bytes(name, i), &q->name))
            return arena_err(job->a, err, "a search's results");
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
    } wanted[] = {{BLOCK_TRACE_ID, false},     {BLOCK_TRACE_START, false},
                  {BLOCK_TRACE_DURATION, false}, {BLOCK_ROOT_SERVICE, false},
                  {BLOCK_ROOT_NAME, false},    {BLOCK_SPAN_ID, true},
                  {BLOCK_SPAN_START, true},    {BLOCK_SPAN_DURATION, true}};
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

static int fill_trace(struct search_job *job, struct scan *s, const struct traceql_result *r,
                      const struct traceql_match *m, const uint32_t *stats, struct err *err)
{
    struct query_trace t = {0};
    struct slice id = column_bytes(scan_column(s, BLOCK_TRACE_ID), m->trace);
    size_t n = id.len < 16 ? id.len : 16;
    memcpy(t.id + 16 - n, id.ptr + id.len - n, n);
    t.start_unix_ns = (uint64_t)scan_column(s, BLOCK_TRACE_START)->v.i64[m->trace];
    t.duration_ns = (uint64_t)scan_column(s, BLOCK_TRACE_DURATION)->v.i64[m->trace];
    struct slice service = column_bytes(scan_column(s, BLOCK_ROOT_SERVICE), m->trace);
    struct slice name = column_bytes(scan_column(s, BLOCK_ROOT_NAME), m->trace);
    struct query_spanset *set = arena_zalloc(job->a, sizeof *set);
    if (!set || !arena_slice(job->a, service, &t.root_service) ||
        !arena_slice(job->a, name, &t.root_name))
        return arena_err(job->a, err, "a search's results");
    int rc = fill_services(job, s, stats[m->trace], stats[m->trace + 1], &t, err);
    set->matched = m->count;
    uint32_t shown = m->count < job->search->spans_per_set ? m->count : job->search->spans_per_set;
    set->spans = arena_zalloc(job->a, shown * sizeof *set->spans);
    if (!set->spans)
        return arena_err(job->a, err, "a search's results");
    for (uint32_t i = 0; i < shown && rc == 0; i++)
        rc = fill_span(job, s, r, r->spans[m->first + i], &set->spans[set->span_count++], err);
    t.sets = set;
    t.set_count = 1;
    if (rc == 0 && !vec_push(&job->traces, t))
        rc = err_set(err, ERR_NOMEM, "no memory for a search's results");
    return rc;
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

static int search_batch(struct search_job *job, struct scan *s, struct err *err)
{
    struct traceql_batch batch;
    struct traceql_result result;
    int rc = scan_batch(s, job->search->query, &batch, err);
    if (rc == 0)
        rc = traceql_eval_batch(job->eval, &batch, s->arena, &result, err);
    if (rc < 0)
        return rc;
    job->inspected += s->traces;
    if (result.trace_count == 0)
        return 0;
    int leaves[sizeof result_leaves / sizeof result_leaves[0] + 1];
    size_t n = sizeof result_leaves / sizeof result_leaves[0];
    memcpy(leaves, result_leaves, sizeof result_leaves);
    if (traceql_query_shows_name(job->search->query))
        leaves[n++] = BLOCK_SPAN_NAME;
    uint32_t *stats = NULL;
    rc = scan_need(s, leaves, n, err);
    if (rc == 0)
        rc = check_results(s, err);
    if (rc == 0)
        rc = stats_offsets(s, &stats, err);
    for (uint32_t i = 0; i < result.trace_count && rc == 0; i++) {
        if (job->traces.count >= job->search->limit)
            break;
        if (in_range(job->search, s, result.traces[i].trace))
            rc = fill_trace(job, s, &result, &result.traces[i], stats, err);
    }
    return rc;
}

static int search_block(struct search_job *job, struct catalog_block *block,
                        uint64_t deadline_mono_ns, struct err *err)
{
    struct worker *w = job->worker;
    struct footer *footer;
    int rc = footer_cache_get(w->footers, w->opts.store, &block->meta, deadline_mono_ns, &footer,
                              err);
    if (rc < 0)
        return rc;
    struct scan *s = calloc(1, sizeof *s);
    struct arena *a = arena_new(LIMIT_SCAN_BYTES);
    if (!s || !a)
        rc = err_set(err, ERR_NOMEM, "no memory for a scan");
    for (uint32_t i = 0; rc == 0 && i < footer->file->row_group_count; i++) {
        if (job->traces.count >= job->search->limit)
            break;
        if (clock_mono_ns(w->opts.clock) > deadline_mono_ns) {
            rc = err_set(err, ERR_TIMEOUT, "the query's time is up");
            break;
        }
        *s = (struct scan){.store = w->opts.store,
                           .meta = &block->meta,
                           .footer = footer,
                           .row_group = i,
                           .deadline_mono_ns = deadline_mono_ns,
                           .arena = a};
        rc = search_batch(job, s, err);
        job->bytes += s->fetched_bytes;
        counter_add(w->row_groups, 1);
        if (rc < 0 && err)
            err_wrap(err, "row group %u", i);
        arena_reset(a);
    }
    arena_free(a);
    free(s);
    footer_cache_put(w->footers, footer);
    return rc;
}

static int search_live(struct search_job *job, const struct query_source *source,
                       uint64_t deadline_mono_ns, struct err *err)
{
    struct live *live;
    int rc = live_cache_get(job->worker->live, source->tenant, source->view, deadline_mono_ns,
                            &live, err);
    if (rc < 0 || !live)
        return rc;
    struct scan *s = calloc(1, sizeof *s);
    struct arena *a = arena_new(LIMIT_SCAN_BYTES);
    if (!s || !a) {
        rc = err_set(err, ERR_NOMEM, "no memory for a scan");
    } else {
        *s = (struct scan){.ready = live_columns(live),
                           .deadline_mono_ns = deadline_mono_ns,
                           .arena = a};
        rc = search_batch(job, s, err);
        job->bytes += live_bytes(live);
    }
    arena_free(a);
    free(s);
    live_release(live);
    return rc;
}

int worker_search(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err)
{
    struct worker *w = self;
    struct search_job job = {.worker = w, .search = search, .a = a};
    *out = (struct query_search_result){0};
    int rc = traceql_eval_new(search->query, a, &job.eval, err);
    if (rc == 0)
        rc = source->block ? search_block(&job, source->block, deadline_mono_ns, err)
                           : search_live(&job, source, deadline_mono_ns, err);
    if (rc == 0) {
        out->traces = arena_array(a, struct query_trace, job.traces.count);
        if (!out->traces)
            rc = arena_err(a, err, "a search's results");
        else if (job.traces.count)
            memcpy(out->traces, job.traces.at, job.traces.count * sizeof *out->traces);
        out->trace_count = job.traces.count;
    }
    out->inspected_bytes = job.bytes;
    out->inspected_traces = job.inspected;
    counter_add(w->bytes, job.bytes);
    vec_free(&job.traces);
    if (rc < 0 && source->block && err && rc != ERR_INVALID && rc != ERR_UNSUPPORTED) {
        char uuid[37];
        uuid_format(source->block->meta.id, uuid);
        err_wrap(err, "block %s", uuid);
    }
    return rc;
}
