/* What may stand behind a metrics function: topk, bottomk and comparisons, from left to right. Each
 * takes points away; a series without points is dropped in the end. */
#include <math.h>
#include <stdlib.h>

#include "traceql/metrics_priv.h"

/* Durations compare as seconds. */
static double stage_number(const struct metrics_stage *s)
{
    if (s->value.type == TRACEQL_FLOAT)
        return s->value.f64;
    return s->value.type == TRACEQL_DURATION ? (double)s->value.i64 / 1e9 : (double)s->value.i64;
}

static bool keeps(enum traceql_op op, double v, double number)
{
    switch (op) {
    case TRACEQL_OP_EQ:
        return v == number;
    case TRACEQL_OP_NE:
        return v != number;
    case TRACEQL_OP_GT:
        return v > number;
    case TRACEQL_OP_GE:
        return v >= number;
    case TRACEQL_OP_LT:
        return v < number;
    case TRACEQL_OP_LE:
        return v <= number;
    default:
        return true;
    }
}

struct point {
    double value; /* negated for topk, so that the smallest come first */
    uint32_t series;
};

/* Ties go to the series whose labels come first. */
static int point_cmp(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->series < y->series ? -1 : x->series > y->series;
}

static int keep_best(const struct metrics_stage *s, uint32_t intervals, struct arena *a,
                     struct traceql_series *series, uint32_t count, struct err *err)
{
    struct point *points;
    if ((uint64_t)s->limit >= count)
        return 0;
    points = arena_array(a, struct point, count);
    if (!points)
        return arena_err(a, err, "a metrics query's series");
    for (uint32_t i = 0; i < intervals; i++) {
        uint32_t n = 0;
        for (uint32_t k = 0; k < count; k++) {
            double v = series[k].values[i];
            if (!isnan(v))
                points[n++] = (struct point){s->kind == METRICS_STAGE_TOPK ? -v : v, k};
        }
        if (n <= (uint64_t)s->limit)
            continue;
        qsort(points, n, sizeof *points, point_cmp);
        for (uint32_t k = (uint32_t)s->limit; k < n; k++)
            series[points[k].series].values[i] = NAN;
    }
    return 0;
}

/* Series without points do not count among the series of the next stage. */
static uint32_t drop_empty(struct traceql_series *series, uint32_t count, uint32_t intervals)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool any = false;
        for (uint32_t k = 0; k < intervals && !any; k++)
            any = !isnan(series[i].values[k]);
        if (any)
            series[kept++] = series[i];
    }
    return kept;
}

int metrics_stages(const struct traceql_metrics *m, struct arena *a, struct traceql_series *series,
                   uint32_t *count, struct err *err)
{
    uint32_t n = m->grid.intervals;
    int rc = 0;
    for (const struct metrics_stage *s = m->fn->stages; s && rc == 0; s = s->next) {
        double number = stage_number(s);
        *count = drop_empty(series, *count, n);
        if (s->kind != METRICS_STAGE_COMPARE) {
            rc = keep_best(s, n, a, series, *count, err);
            continue;
        }
        for (uint32_t i = 0; i < *count; i++) {
            for (uint32_t t = 0; t < n; t++) {
                if (!keeps(s->op, series[i].values[t], number))
                    series[i].values[t] = NAN;
            }
        }
    }
    return rc;
}
