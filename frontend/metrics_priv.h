/* Metrics requests: what they ask (metrics_params.c), how they are run (metrics_api.c) and what
 * they get (metrics_json.c). Private to the room. */
#ifndef FRONTEND_METRICS_PRIV_H
#define FRONTEND_METRICS_PRIV_H

#include "frontend/answer_proto.h"
#include "frontend/frontend_limits.h"

struct metrics_params {
    struct slice text; /* TraceQL */
    bool instant;
    bool explain;
    int64_t start_ns, end_ns, step_ns;
    struct traceql_metrics_grid grid;
    uint32_t exemplars, exemplars_max;
    uint32_t series_max; /* 0: all */
};

int metrics_params(struct query *q, bool instant, struct metrics_params *p, struct err *err);
int64_t metrics_default_step(int64_t range_ns);

/* metrics_api.c: the numbers of a metrics query over what the view has, in the arena. */
int metrics_series(struct query *q, const struct query_metrics *metrics,
                   const struct query_data *data, struct arena *a, struct traceql_series **out,
                   uint32_t *count, struct err *err);

/* An array of series: of samples, or of one value each. */
int metrics_json(const struct traceql_series *series, uint32_t count,
                 const struct metrics_params *p, struct buf *out);

/* Field 1 of the response, an item each. */
void metrics_proto(struct packets *p, const struct traceql_series *series, uint32_t count,
                   const struct metrics_params *params);

/* ---- metrics_summary.c ---- */

/* Attributes that a summary groups by; Tempo's limit and that of by(). */
#define SUMMARY_KEYS 5
#define SUMMARY_BUCKETS 64

/* The spans that agree in all of the keys. */
struct summary_group {
    struct traceql_value values[SUMMARY_KEYS]; /* NIL: they have no such attribute */
    uint64_t spans, errors;
    uint64_t buckets[SUMMARY_BUCKETS]; /* by duration: (2^(i-1), 2^i] ns; 0: below 2 ns */
};

/* The p-quantile of the durations in ns, p in (0, 1]: between the edges of its bucket by the share
 * of the bucket's spans, on a logarithmic scale. 0 without spans. */
uint64_t summary_quantile(const struct summary_group *g, double p);
/* The answer's array. keys: count names. */
int summary_json(const struct summary_group *groups, uint32_t group_count, const struct slice *keys,
                 uint32_t key_count, struct buf *out);

#endif
