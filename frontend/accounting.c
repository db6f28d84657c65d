/* What is told of a query besides its answer: whether it was within its objective, two lines of
 * log, and its own trace. Names and decisions are Tempo's. */
#include "frontend/accounting.h"

#include <assert.h>

#include "base/text.h"
#include "frontend/frontend_priv.h"

static const struct {
    const char *op; /* label of the metrics */
    const char *request, *response;
    const char *error; /* name of the response's field */
    const char *span;
} kinds[] = {
    [QUERY_OTHER] = {.span = "frontend.Other"},
    [QUERY_TRACE] = {"traces", "trace id request", "trace id response", "err",
                     "frontend.TraceByID"},
    [QUERY_SEARCH] = {"search", "search request", "search response", "error", "frontend.Search"},
    [QUERY_TAGS] = {"metadata", "search tag request", "search tag response", "error",
                    "frontend.SearchTags"},
    [QUERY_TAG_VALUES] = {"metadata", "search tag values request", "search tag values response",
                          "error", "frontend.SearchTagValues"},
    [QUERY_RANGE] = {"metrics", "query range request", "query range results", "error",
                     "frontend.QueryRange"},
    [QUERY_INSTANT] = {"metrics", "query instant request", "query instant results", "error",
                       "frontend.QueryInstant"},
};

void accounting_init(struct accounting *a, struct metrics *m)
{
    static const char *const by_result[] = {"tenant", "op", "result"};
    static const double bytes_per_s[] = {8388608,    16777216,   33554432,   67108864,
                                         134217728,  268435456,  536870912,  1073741824,
                                         2147483648, 4294967296, 8589934592, 17179869184};
    a->queries = metrics_counter_family(m, "tempo_query_frontend_queries_total",
                                        "Total queries received per tenant.", by_result, 3);
    a->within_slo = metrics_counter_family(m, "tempo_query_frontend_queries_within_slo_total",
                                           "Total Queries within SLO per tenant", by_result, 3);
    a->throughput =
        metrics_histogram_family(m, "tempo_query_frontend_bytes_processed_per_second",
                                 "Bytes processed per second in the query per tenant", bytes_per_s,
                                 sizeof bytes_per_s / sizeof *bytes_per_s, by_result, 2);
    a->inspected =
        metrics_counter_family(m, "tempo_query_frontend_bytes_inspected_total",
                               "Bytes read from storage using queries per tenant", by_result, 2);
}

/* ---- the objective ---- */

static const struct app_slo *slo_of(const struct app_config *cfg, enum query_kind kind)
{
    switch (kind) {
    case QUERY_TRACE:
        return &cfg->query_frontend.trace_by_id.slo;
    case QUERY_SEARCH:
        return &cfg->query_frontend.search.slo;
    case QUERY_TAGS:
    case QUERY_TAG_VALUES:
        return &cfg->query_frontend.search.metadata_slo;
    case QUERY_RANGE:
    case QUERY_INSTANT:
        return &cfg->query_frontend.metrics.slo;
    case QUERY_OTHER:
        break;
    }
    return NULL;
}

enum slo_verdict slo_judge(const struct app_slo *slo, const struct slo_query *q)
{
    if (q->cancelled)
        return SLO_CANCELLED;
    /* What the asker could have known, or is at fault for, spends nothing of our budget. */
    if (q->status == 400 || q->status == 429 || (q->failed && q->status == 404))
        return SLO_WITHIN;
    if (q->failed ? q->status != 422 : q->status >= 500)
        return SLO_MISSED;
    bool in_time = slo->duration_ns > 0 && q->latency_ns < (uint64_t)slo->duration_ns;
    bool fast = slo->throughput_bytes > 0 &&
                (double)q->bytes >= (double)slo->throughput_bytes * (double)q->latency_ns / 1e9;
    bool any = slo->duration_ns > 0 || slo->throughput_bytes > 0;
    return !any || in_time || fast ? SLO_WITHIN : SLO_MISSED;
}

static void count_query(const struct accounting *a, const struct app_slo *slo, struct slice tenant,
                        const char *op, const struct slo_query *q)
{
    enum slo_verdict verdict = slo_judge(slo, q);
    const struct slice labels[] = {
        tenant, slice_cstr(op), verdict == SLO_CANCELLED ? SLICE("canceled") : SLICE("completed")};
    counter_add(metrics_counter_with(a->queries, labels), 1);
    /* Also when nothing is added: a ratio of the two needs both. */
    counter_add(metrics_counter_with(a->within_slo, labels), verdict != SLO_MISSED);
    counter_add(metrics_counter_with(a->inspected, labels), q->bytes);
    if (slo->throughput_bytes > 0 && verdict != SLO_CANCELLED && q->latency_ns > 0)
        histogram_observe(metrics_histogram_with(a->throughput, labels),
                          (double)q->bytes / ((double)q->latency_ns / 1e9));
}

/* ---- the log ---- */

void query_asked(struct query *q, const struct log_kv *fields, size_t count, size_t repeated)
{
    struct query_account *a = &q->account;
    struct log_kv line[1 + QUERY_FIELDS_MAX];
    assert(count <= QUERY_FIELDS_MAX && repeated <= count);
    a->field_count = repeated;
    for (size_t i = 0; i < count; i++)
        line[1 + i] = a->fields[i] = fields[i];
    if (a->told) /* this is another try */
        return;
    a->told = true;
    line[0] = KV_SLICE("tenant", q->tenant);
    if (q->frontend->log.level <= LOG_LEVEL_INFO)
        log_write(&q->frontend->log, LOG_LEVEL_INFO, kinds[a->kind].request, line, 1 + count);
}

static size_t work_fields(const struct query_account *a, double seconds, struct log_kv *out)
{
    size_t n = 0;
    double throughput = seconds > 0 ? (double)a->inspected_bytes / seconds : 0;
    bool brief = a->kind == QUERY_TRACE || a->kind == QUERY_TAGS || a->kind == QUERY_TAG_VALUES;
    out[n++] = KV_F64("duration_seconds", seconds);
    out[n++] = KV_F64("request_throughput", throughput);
    if (!brief) {
        out[n++] = KV_U64("total_requests", a->total_jobs);
        out[n++] = KV_U64("total_blockBytes", a->total_block_bytes);
        out[n++] = KV_U64("total_blocks", a->total_blocks);
        out[n++] = KV_U64("completed_requests", a->completed_jobs);
    }
    out[n++] = KV_U64("inspected_bytes", a->inspected_bytes);
    if (!brief) {
        out[n++] = KV_U64("inspected_traces", a->inspected_traces);
        out[n++] = KV_U64("inspected_spans", a->inspected_spans);
    }
    return n;
}

static void tell_answer(const struct query *q, double seconds, int status, const char *error)
{
    const struct query_account *a = &q->account;
    struct log_kv line[2 + QUERY_FIELDS_MAX + 12];
    char trace_id[32];
    size_t n = 0;
    line[n++] = KV_SLICE("tenant", q->tenant);
    if (q->span.tracer) {
        hex_encode(slice_of(q->span.trace_id, sizeof q->span.trace_id), trace_id);
        line[n++] = KV_SLICE("traceID", slice_of(trace_id, sizeof trace_id));
    }
    for (size_t i = 0; i < a->field_count; i++)
        line[n++] = a->fields[i];
    n += work_fields(a, seconds, line + n);
    line[n++] = KV_I64("status_code", status);
    line[n++] = KV_STR(kinds[a->kind].error, error);
    if (q->frontend->log.level <= LOG_LEVEL_INFO)
        log_write(&q->frontend->log, LOG_LEVEL_INFO, kinds[a->kind].response, line, n);
}

/* ---- the trace ---- */

static void end_span(struct query *q, int rc, int status, const char *error)
{
    const struct query_account *a = &q->account;
    struct selftrace_span *span = &q->span;
    span->name = kinds[a->kind].span;
    selftrace_text(span, "tenant", q->tenant);
    selftrace_text(span, "url.path", q->req->path);
    selftrace_number(span, "http.response.status_code", status);
    selftrace_number(span, "jobs", (int64_t)a->total_jobs);
    selftrace_number(span, "inspected_bytes", (int64_t)a->inspected_bytes);
    if (a->told && a->kind != QUERY_TRACE && slice_eq(slice_cstr(a->fields[0].key), SLICE("query")))
        selftrace_text(span, "query", a->fields[0].str);
    selftrace_end(span, rc < 0 && status >= 500 ? error : NULL);
}

void query_job_begin(const struct query *q, const struct query_source *source,
                     struct selftrace_span *span)
{
    char id[37] = "live";
    selftrace_child(&q->span, "job", span);
    if (!span->tracer)
        return;
    if (source->block)
        uuid_format(source->block->meta.id, id);
    selftrace_text(span, "block", slice_cstr(id));
    selftrace_text(span, "tenant", source->tenant);
    if (source->block)
        selftrace_number(span, "block_bytes", (int64_t)source->block->meta.size);
}

void query_job_end(struct selftrace_span *span, int rc, const struct err *err,
                   uint64_t inspected_bytes)
{
    selftrace_number(span, "inspected_bytes", (int64_t)inspected_bytes);
    selftrace_end(span, rc < 0 ? err->msg : NULL);
}

/* ---- the end of a query ---- */

static void count_and_tell(struct query *q, const struct app_slo *slo, int rc, int status,
                           const char *error)
{
    const struct app *app = q->frontend->opts.app;
    const struct slo_query asked = {
        .failed = rc < 0,
        .cancelled = rc == ERR_CANCELLED || query_abandoned(q),
        .status = status,
        .latency_ns = clock_mono_ns(app->clock) - q->req->received_mono_ns,
        .bytes = q->account.inspected_bytes,
    };
    count_query(&q->frontend->accounting, slo, q->tenant, kinds[q->account.kind].op, &asked);
    if (q->account.told)
        tell_answer(q, (double)asked.latency_ns / 1e9, asked.cancelled ? 499 : status,
                    rc < 0 ? error : "null");
}

void query_answered(struct query *q, int rc, int status, const char *error)
{
    const struct app_slo *slo = slo_of(&q->frontend->opts.app->cfg, q->account.kind);
    if (slo)
        count_and_tell(q, slo, rc, status, error);
    end_span(q, rc, status, error);
}
