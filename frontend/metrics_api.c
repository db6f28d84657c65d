/* GET /api/metrics/query_range and /api/metrics/query: parameters, jobs over everything that may
 * hold spans of the range, merge, numbers, answer. The order in which jobs are merged does not
 * show, so each is merged and given up as soon as it is done: memory holds no more results than
 * jobs that run at once. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "frontend/explain.h"
#include "frontend/metrics_priv.h"

struct metrics_query {
    struct query *q;
    struct metrics_params params;
    struct query_metrics metrics;
    struct query_source *jobs;
    struct explain_job *explain; /* of each job; NULL: nobody asks */
    size_t job_count, wave_first, blocks_left_out;
    uint64_t total_bytes;
    uint32_t total_blocks;
    struct arena *arena; /* of the merged series, which may need more than the request's */
    bool too_many;       /* series to be told of before the answer is complete */

    pthread_mutex_t mu; /* hold it for what follows, while jobs run */
    struct traceql_metrics *merged;
    size_t completed_jobs;
    uint64_t inspected_bytes, inspected_spans;
    int rc; /* of the first job that failed */
    struct err err;
};

/* ---- jobs ---- */

static void take_locked(struct metrics_query *m, int rc, const struct query_metrics_result *r,
                        struct err *err)
{
    if (m->rc < 0)
        return;
    if (rc == 0)
        rc = traceql_metrics_merge(m->merged, r->metrics, err);
    m->inspected_bytes += r->inspected_bytes;
    m->inspected_spans += r->inspected_spans;
    m->completed_jobs += rc == 0;
    m->rc = rc;
    if (rc < 0)
        m->err = *err;
}

static void run_job(void *ctx, size_t i)
{
    struct metrics_query *m = ctx;
    const struct query_worker *w = &m->q->frontend->opts.worker;
    const struct query_source *source = &m->jobs[m->wave_first + i];
    struct query_metrics_result r = {0};
    struct err err = {0};
    struct selftrace_span span;
    uint64_t start_ns = clock_mono_ns(m->q->frontend->opts.app->clock);
    query_job_begin(m->q, source, &span);
    struct arena *a = arena_new_within(&m->q->memory);
    int rc = a ? w->metrics(w->self, source, &m->metrics, m->q->deadline_mono_ns, a, &r, &err)
               : err_set(&err, ERR_NOMEM, "no memory for a job");
    query_job_end(&span, rc, &err, r.inspected_bytes);
    if (m->explain)
        m->explain[m->wave_first + i] = (struct explain_job){
            source, r.stats, clock_mono_ns(m->q->frontend->opts.app->clock) - start_ns, true};
    pthread_mutex_lock(&m->mu);
    take_locked(m, rc, &r, &err);
    pthread_mutex_unlock(&m->mu);
    arena_free(a);
}

/* Blocks tell their time to the second. */
static bool may_hold(const struct block_meta *b, const struct traceql_metrics_grid *g)
{
    int64_t last;
    if (__builtin_add_overflow(g->after_ns, (int64_t)((uint64_t)g->step_ns * g->intervals), &last))
        last = INT64_MAX;
    uint64_t from = g->after_ns > 0 ? (uint64_t)g->after_ns / NS_PER_S : 0;
    uint64_t to = last > 0 ? (uint64_t)last / NS_PER_S : 0;
    return b->start_unix_ns / NS_PER_S <= to && b->end_unix_ns / NS_PER_S >= from;
}

static int plan(struct metrics_query *m, const struct query_data *d, struct err *err)
{
    struct query *q = m->q;
    m->jobs = arena_zalloc(q->arena, (d->live_count + d->block_count) * sizeof *m->jobs);
    if (m->params.explain)
        m->explain = arena_zalloc(q->arena, (d->live_count + d->block_count) * sizeof *m->explain);
    if (!m->jobs || (m->params.explain && !m->explain))
        return arena_err(q->arena, err, "a query's jobs");
    if (traceql_query_matches_nothing(m->metrics.query))
        return 0;
    for (size_t i = 0; i < d->live_count; i++)
        m->jobs[m->job_count++] = d->live[i];
    for (size_t i = 0; i < d->block_count; i++) {
        if (!may_hold(&d->blocks[i].block->meta, &m->metrics.grid)) {
            m->blocks_left_out++;
            continue;
        }
        m->jobs[m->job_count++] = d->blocks[i];
        m->total_blocks++;
        m->total_bytes += d->blocks[i].block->meta.size;
    }
    return 0;
}

/* ---- streams ---- */

/* The end of each message. */
static int proto_tail(const struct metrics_query *m, struct buf *out)
{
    struct proto_writer w = {.out = out};
    const struct search_metrics metrics = {
        .total_blocks = m->total_blocks,
        .completed_jobs = (uint32_t)m->completed_jobs,
        .total_jobs = (uint32_t)m->job_count,
        .inspected_bytes = m->inspected_bytes,
        .total_block_bytes = m->total_bytes,
    };
    buf_init(out, 1024);
    search_metrics_proto(&w, 2, &metrics);
    return w.rc;
}

/* The series of the jobs that are done, from a copy, since numbers can be made once. */
static int series_so_far(struct metrics_query *m, struct arena *a, struct traceql_series **out,
                         uint32_t *count, struct err *err)
{
    struct traceql_metrics *copy;
    int rc = traceql_metrics_new(m->metrics.query, &m->metrics.grid, m->metrics.exemplars, a, &copy,
                                 err);
    if (rc == 0)
        rc = traceql_metrics_merge(copy, m->merged, err);
    return rc < 0 ? rc : traceql_metrics_finish(copy, a, out, count, err);
}

/* Values as they are by now, for the client to put in place of those it has: if they are few, and
 * none of them may disappear again. Else nothing. */
static int put_so_far(struct metrics_query *m, struct arena *a, struct packets *p, struct err *err)
{
    struct traceql_series *series;
    uint32_t count, max = m->params.series_max;
    if (m->too_many || !traceql_metrics_accumulate(m->metrics.query))
        return 0;
    int rc = series_so_far(m, a, &series, &count, err);
    m->too_many = rc == ERR_LIMIT ||
                  (rc == 0 && ((max && count > max) ||
                               (uint64_t)count * m->metrics.grid.intervals > LIMIT_STREAM_SAMPLES));
    if (m->too_many)
        return 0;
    if (rc == 0)
        metrics_proto(p, series, count, &m->params);
    return rc;
}

static int send_so_far(struct metrics_query *m, struct err *err)
{
    struct packets p;
    struct buf message, tail;
    struct arena *a = arena_new_within(&m->q->memory);
    int rc = a ? proto_tail(m, &tail) : ERR_NOMEM;
    if (rc < 0) {
        arena_free(a);
        return err_set(err, rc, "no memory for a query");
    }
    buf_init(&message, LIMIT_ANSWER_BYTES);
    packets_begin(&p, m->q, &message, buf_view(&tail));
    rc = put_so_far(m, a, &p, err);
    if (rc == 0)
        rc = packets_err(packets_send(&p), err);
    buf_clear(&message);
    buf_clear(&tail);
    arena_free(a);
    return rc;
}

/* ---- jobs in waves ---- */

/* In waves, so that a query that has failed reads no more. */
static int run(struct metrics_query *m, struct err *err)
{
    int rc = 0;
    while (rc == 0 && m->wave_first < m->job_count) {
        size_t n = m->job_count - m->wave_first;
        if (n > SEARCH_WAVE_JOBS)
            n = SEARCH_WAVE_JOBS;
        rc = query_fan_out(m->q, n, run_job, m, err);
        if (rc == 0 && m->rc < 0) {
            rc = m->rc;
            *err = m->err;
        }
        m->wave_first += n;
        if (rc == 0 && m->wave_first < m->job_count && query_stream_due(m->q))
            rc = send_so_far(m, err);
    }
    return rc;
}

/* Asks everything that may hold spans of the range, and merges. */
static int collect(struct metrics_query *m, const struct query_data *data, struct err *err)
{
    pthread_mutex_init(&m->mu, NULL);
    int rc = traceql_metrics_new(m->metrics.query, &m->metrics.grid, m->metrics.exemplars, m->arena,
                                 &m->merged, err);
    if (rc == 0)
        rc = plan(m, data, err);
    if (rc == 0)
        rc = run(m, err);
    pthread_mutex_destroy(&m->mu);
    return rc;
}

int metrics_series(struct query *q, const struct query_metrics *metrics,
                   const struct query_data *data, struct arena *a, struct traceql_series **out,
                   uint32_t *count, struct err *err)
{
    struct metrics_query m = {.q = q, .metrics = *metrics, .arena = a};
    int rc = collect(&m, data, err);
    return rc < 0 ? rc : traceql_metrics_finish(m.merged, a, out, count, err);
}

/* ---- the answer ---- */

static int answer_stats(const struct metrics_query *m, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
        const char *quote;
    } fields[] = {{"inspectedBytes", m->inspected_bytes, "\""},
                  {"totalBlocks", m->total_blocks, ""},
                  {"completedJobs", m->completed_jobs, ""},
                  {"totalJobs", m->job_count, ""},
                  {"totalBlockBytes", m->total_bytes, "\""}};
    const char *sep = "";
    int rc = buf_str(out, "\"metrics\":{");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && rc == 0; i++) {
        if (fields[i].value == 0)
            continue;
        rc = buf_printf(out, "%s\"%s\":%s%llu%s", sep, fields[i].name, fields[i].quote,
                        (unsigned long long)fields[i].value, fields[i].quote);
        sep = ",";
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

#define PARTIAL_TEXT                                                                               \
    "Response exceeds maximum series limit of %u, a partial response is returned. Warning: the "   \
    "accuracy of each individual value is not guaranteed."

static int answer_proto(struct metrics_query *m, const struct traceql_series *series,
                        uint32_t count, bool partial, struct buf *out, struct err *err)
{
    struct packets p;
    struct buf tail;
    char text[256];
    int rc = proto_tail(m, &tail);
    struct proto_writer w = {&tail, rc};
    if (partial) {
        snprintf(text, sizeof text, PARTIAL_TEXT, m->params.series_max);
        proto_put_u64(&w, 3, 1);
        proto_put_bytes(&w, 4, slice_cstr(text));
    }
    packets_begin(&p, m->q, out, buf_view(&tail));
    metrics_proto(&p, series, count, &m->params);
    rc = w.rc < 0 ? w.rc : packets_end(&p);
    buf_clear(&tail);
    return packets_err(rc, err);
}

static int answer_series(struct metrics_query *m, struct answer *out, struct err *err)
{
    struct traceql_series *series;
    uint32_t count, max = m->params.series_max;
    int rc = traceql_metrics_finish(m->merged, m->arena, &series, &count, err);
    if (rc < 0)
        return rc;
    bool partial = max && count > max;
    if (query_streams(m->q))
        return answer_proto(m, series, partial ? max : count, partial, &out->body, err);
    rc = buf_str(&out->body, "{");
    /* An instant answer leaves an empty list out, as Tempo does. */
    if (rc == 0 && (count || !m->params.instant)) {
        rc = buf_str(&out->body, "\"series\":");
        rc = rc < 0 ? rc : metrics_json(series, partial ? max : count, &m->params, &out->body);
        rc = rc < 0 ? rc : buf_str(&out->body, ",");
    }
    rc = rc < 0 ? rc : answer_stats(m, &out->body);
    if (rc == 0 && partial)
        rc =
            buf_printf(&out->body, ",\"status\":\"PARTIAL\",\"message\":\"" PARTIAL_TEXT "\"", max);
    if (rc == 0 && m->explain)
        rc = explain_json(m->metrics.query, m->explain, m->job_count, m->blocks_left_out,
                          &out->body);
    rc = rc < 0 ? rc : buf_str(&out->body, "}");
    return rc < 0 ? err_set(err, rc, "the answer does not fit") : 0;
}

/* ---- the request ---- */

/* with(exemplars=n), with(exemplars=false). */
static void apply_hints(struct metrics_query *m)
{
    const struct traceql_value *v = traceql_query_hint(m->metrics.query, "exemplars");
    uint32_t max = m->params.exemplars_max;
    if (v && v->type == TRACEQL_INT)
        m->metrics.exemplars = v->i64 < 0 ? 0 : v->i64 > max ? max : (uint32_t)v->i64;
    if (v && v->type == TRACEQL_BOOL)
        m->metrics.exemplars = v->b ? m->metrics.exemplars : 0;
}

static int parse(struct metrics_query *m, int *grpc_status, struct err *err)
{
    struct traceql_query *parsed;
    int rc = metrics_params(m->q, m->params.instant, &m->params, err);
    if (rc < 0)
        return rc;
    m->params.explain = explain_wanted(m->q);
    rc = traceql_parse(m->params.text, m->q->arena, &parsed, err);
    if (rc < 0)
        return err_wrap(err, "compiling query");
    if (!traceql_query_is_metrics(parsed)) {
        *grpc_status = GRPC_UNKNOWN; /* as Tempo has it */
        return err_set(err, ERR_INVALID, "not a metrics query");
    }
    m->metrics = (struct query_metrics){
        .query = parsed, .grid = m->params.grid, .exemplars = m->params.exemplars};
    apply_hints(m);
    return 0;
}

static void tell_request(const struct metrics_query *m)
{
    uint64_t range = (uint64_t)(m->params.end_ns - m->params.start_ns);
    const struct log_kv query = KV_SLICE("query", m->params.text),
                        nanos = KV_U64("range_nanos", range);
    if (m->params.instant)
        query_asked(m->q,
                    (struct log_kv[]){query, nanos, KV_F64("range_seconds", (double)range / 1e9)},
                    3, 2);
    else
        query_asked(
            m->q,
            (struct log_kv[]){query, nanos, KV_STR("mode", ""), KV_I64("step", m->params.step_ns)},
            4, 2);
}

static void account(const struct metrics_query *m)
{
    struct query_account *a = &m->q->account;
    a->inspected_bytes = m->inspected_bytes;
    a->inspected_spans = m->inspected_spans;
    a->total_jobs = m->job_count;
    a->completed_jobs = m->completed_jobs;
    a->total_blocks = m->total_blocks;
    a->total_block_bytes = m->total_bytes;
}

int metrics_api(struct query *q, bool instant, struct answer *out, struct err *err)
{
    struct metrics_query m = {.q = q, .params = {.instant = instant}};
    struct query_data data = {0};
    q->account.kind = instant ? QUERY_INSTANT : QUERY_RANGE;
    int rc = parse(&m, &out->grpc_status, err);
    if (rc < 0) {
        out->status = 400;
        return rc;
    }
    tell_request(&m);
    if (!(m.arena = arena_new_within(&q->memory)))
        return err_set(err, ERR_NOMEM, "no memory for a query");
    rc = query_data_acquire(q, &data, err);
    if (rc == 0)
        rc = collect(&m, &data, err);
    if (rc == ERR_UNSUPPORTED)
        out->status = 400; /* the query's construct, not the server's state */
    if (rc == 0)
        rc = answer_series(&m, out, err);
    account(&m);
    query_data_release(&data);
    arena_free(m.arena);
    return rc;
}
