/* Metrics requests: what they ask (metrics_params.c), how they are run (metrics_api.c) and what
 * they get (metrics_json.c). Private to the room. */
#ifndef FRONTEND_METRICS_PRIV_H
#define FRONTEND_METRICS_PRIV_H

#include "frontend/frontend_limits.h"
#include "frontend/frontend_priv.h"

struct metrics_params {
    struct slice text; /* TraceQL */
    bool instant;
    int64_t start_ns, end_ns, step_ns;
    struct traceql_metrics_grid grid;
    uint32_t exemplars, exemplars_max;
    uint32_t series_max; /* 0: all */
};

int metrics_params(struct query *q, bool instant, struct metrics_params *p, struct err *err);
/* Seconds, seconds with a fraction (to the millisecond), nanoseconds (more than 10 digits), RFC
 * 3339. */
bool metrics_parse_time(struct slice text, int64_t *ns);
bool metrics_parse_since(struct slice text, int64_t *ns);
int64_t metrics_default_step(int64_t range_ns);

/* An array of series: of samples, or of one value each. */
int metrics_json(const struct traceql_series *series, uint32_t count,
                 const struct metrics_params *p, struct buf *out);

#endif
