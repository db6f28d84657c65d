/* Metrics: the spans that a pipeline leaves over, counted and measured over time.
 *
 *   traceql_metrics_new      the series of one job, or of the whole query
 *   traceql_metrics_fields   what to read beside the query's own fields
 *   traceql_metrics_observe  one batch: its spans go into series, interval by interval
 *   traceql_metrics_merge    another job's series are added; in any order the result is the same
 *   traceql_metrics_encode   … after it came from another process (traceql_metrics_decode)
 *   traceql_metrics_finish   numbers, labels, `topk` and comparisons
 *
 * Counts, bucket counts and sums of integers are exact until the last step, so that neither the
 * number of jobs nor their order shows. Memory is the arena's: past its limit the query fails with
 * ERR_LIMIT. One thread at a time. */
#ifndef TRACEQL_METRICS_H
#define TRACEQL_METRICS_H

#include "traceql/traceql.h"

/* Which interval a span belongs to: open on the left, closed on the right. */
struct traceql_metrics_grid {
    int64_t after_ns; /* spans that start later than this count, … */
    int64_t step_ns;  /* > 0; … in interval (start - after - 1) / step */
    uint32_t intervals;
};

struct traceql_metrics;

/* q must be a metrics query and outlive it. exemplars: at most so many are kept; 0: none. */
ERR_MUST_CHECK int traceql_metrics_new(const struct traceql_query *q,
                                       const struct traceql_metrics_grid *grid, uint32_t exemplars,
                                       struct arena *a, struct traceql_metrics **out,
                                       struct err *err);

/* The function's attribute, the by() attributes and what exemplars show, as the fields of a query
 * without conditions: inputs for it are made as for any other. */
const struct traceql_query *traceql_metrics_fields(const struct traceql_metrics *m);

struct traceql_metrics_batch {
    const struct traceql_batch *fields; /* inputs of traceql_metrics_fields */
    const uint32_t *spans;              /* the result's; one that is there twice counts twice */
    uint32_t span_count;
    const int64_t *start_ns; /* per span of the batch */
};

/* Working memory comes from scratch, what stays from the metrics' own arena. */
ERR_MUST_CHECK int traceql_metrics_observe(struct traceql_metrics *m,
                                           const struct traceql_metrics_batch *batch,
                                           struct arena *scratch, struct err *err);

/* Both of one query and grid. `from` is left as it was and no longer needed. */
ERR_MUST_CHECK int traceql_metrics_merge(struct traceql_metrics *into,
                                         const struct traceql_metrics *from, struct err *err);

/* ---- on a wire ----
 * The accumulators exactly, in protobuf: what is decoded into fresh metrics of the same query, grid
 * and number of exemplars is what was encoded. Strings are copied. ERR_CORRUPT, ERR_LIMIT. */
ERR_MUST_CHECK int traceql_metrics_encode(const struct traceql_metrics *m, struct buf *out,
                                          struct err *err);
ERR_MUST_CHECK int traceql_metrics_decode(struct traceql_metrics *fresh, struct slice bytes,
                                          struct err *err);

/* Whether series of a part of the data stay, and only gain, when more is added. Not so for
 * compare(), topk, bottomk and comparisons: what they show depends on all of it. */
bool traceql_metrics_accumulate(const struct traceql_query *q);

/* ---- compare() ----
 * It groups by every attribute there is, so its fields differ from batch to batch: the caller
 * names those it finds in the batch, and makes inputs for what traceql_compare_fields gives. */
bool traceql_metrics_compares(const struct traceql_query *q);
/* The compare filter as a query of its own, to be evaluated over the batch. */
ERR_MUST_CHECK int traceql_compare_filter(const struct traceql_query *q, struct arena *a,
                                          const struct traceql_query **out, struct err *err);
/* A query without conditions that has these fields, and the intrinsics that compare() counts. */
ERR_MUST_CHECK int traceql_compare_fields(const struct traceql_field *found, uint32_t count,
                                          struct arena *a, const struct traceql_query **out,
                                          struct err *err);
/* selected: per span of the batch, 1 where the compare filter holds. fields:
 * traceql_compare_fields' query, batch->fields its inputs. */
ERR_MUST_CHECK int traceql_compare_observe(struct traceql_metrics *m,
                                           const struct traceql_metrics_batch *batch,
                                           const struct traceql_query *fields,
                                           const uint8_t *selected, struct arena *scratch,
                                           struct err *err);

/* ---- results ---- */

struct traceql_label {
    struct slice name;
    struct traceql_value value;
};

struct traceql_exemplar {
    int64_t start_ns;
    double value;
    const struct traceql_label *labels;
    uint32_t label_count;
};

struct traceql_series {
    const struct traceql_label *labels;
    uint32_t label_count;
    struct slice text; /* Prometheus' form of the labels; series are sorted by it */
    double *values;    /* per interval; NaN: no sample */
    const struct traceql_exemplar *exemplars; /* by time */
    uint32_t exemplar_count;
};

/* Once: the accumulators become the numbers. Everything lives in the arena or is the metrics' own.
 */
ERR_MUST_CHECK int traceql_metrics_finish(struct traceql_metrics *m, struct arena *a,
                                          struct traceql_series **out, uint32_t *count,
                                          struct err *err);

/* The value of a hint, NULL when the query does not give it. */
const struct traceql_value *traceql_query_hint(const struct traceql_query *q, const char *name);

#endif
