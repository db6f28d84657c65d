/* What is told of a query besides its answer: metrics and two lines of log. */
#ifndef FRONTEND_ACCOUNTING_H
#define FRONTEND_ACCOUNTING_H

#include "app/app_config.h"
#include "base/log.h"
#include "base/metrics.h"

struct query;

struct accounting {
    struct metrics_family *queries, *within_slo;   /* tenant, op, result */
    struct metrics_family *throughput, *inspected; /* tenant, op */
};

void accounting_init(struct accounting *a, struct metrics *m);

enum query_kind {
    QUERY_OTHER, /* not accounted for */
    QUERY_TRACE,
    QUERY_SEARCH,
    QUERY_TAGS,
    QUERY_TAG_VALUES,
    QUERY_RANGE,
    QUERY_INSTANT,
};

/* Fields of a line that say what was asked. */
#define QUERY_FIELDS_MAX 6

/* Of one query: kind is set first, the sums while it runs. */
struct query_account {
    enum query_kind kind;
    bool told; /* the line of the request is written */
    struct log_kv fields[QUERY_FIELDS_MAX];
    size_t field_count;
    uint64_t inspected_bytes, inspected_traces, inspected_spans;
    uint64_t total_jobs, completed_jobs, total_blocks, total_block_bytes;
};

/* The request has been understood: writes its line, unless it has been written. The first
 * `repeated` fields, whose texts live as long as the query, stand in the response's line too. */
void query_asked(struct query *q, const struct log_kv *fields, size_t count, size_t repeated);
/* Once, before the reply. */
void query_answered(struct query *q, int rc, int status, const char *error);

/* ---- for tests ---- */

struct slo_query {
    bool failed, cancelled;
    int status; /* HTTP */
    uint64_t latency_ns;
    uint64_t bytes;
};

enum slo_verdict { SLO_MISSED, SLO_WITHIN, SLO_CANCELLED /* counts as within */ };
enum slo_verdict slo_judge(const struct app_slo *slo, const struct slo_query *q);

#endif
