/* The metrics' inside: metrics.c (series), metrics_locate.c (whose value is whose, groups),
 * metrics_observe.c (a batch into series), metrics_finish.c (numbers and labels), metrics_stage.c
 * (topk and comparisons). Private to the room and its tests. */
#ifndef TRACEQL_METRICS_PRIV_H
#define TRACEQL_METRICS_PRIV_H

#include "traceql/metrics.h"
#include "traceql/plan.h"

/* by() attributes of one query; validation allows no more. */
#define METRICS_LABELS 5
#define METRICS_BUCKETS 64

/* Where an attribute of the function or of by() is read: fields of the metrics' query, in the order
 * in which they are asked. None: it is nil. */
struct metrics_attr {
    const struct expr *expr;
    uint32_t fields[2];
    uint32_t field_count;
    enum traceql_type type; /* of an intrinsic; EXPR_TYPE_RUNTIME for attributes */
};

/* A sum that does not depend on the order: integers exactly, floats as double-double. */
struct metrics_sum {
    __int128 whole;
    double high, low;
    uint64_t count;
};

struct metrics_series {
    uint64_t hash;
    uint32_t index; /* in the metrics' series */
    struct traceql_value labels[METRICS_LABELS];
    union {
        uint64_t *counts;         /* rate, count; compare */
        double *extremes;         /* min, max; NaN: none yet */
        struct metrics_sum *sums; /* sum, avg */
        uint64_t **buckets;       /* quantile, histogram: [log2], NULL where nothing fell */
    };
};

struct metrics_exemplar {
    uint64_t rank; /* of its trace and span: the lowest of a slot stay */
    struct metrics_series *series;
    uint32_t interval;
    uint32_t bucket;
    int64_t start_ns;
    double value; /* NaN: the sample's */
    uint8_t trace_id[16];
};

#define METRICS_SLOT_EXEMPLARS 2

struct metrics_slot {
    uint32_t count;
    struct metrics_exemplar at[METRICS_SLOT_EXEMPLARS];
};

struct traceql_metrics {
    const struct traceql_query *query;
    const struct metrics_fn *fn;
    struct traceql_metrics_grid grid;
    struct arena *arena;
    struct traceql_query *fields;
    struct metrics_attr value;
    struct metrics_attr by[METRICS_LABELS];
    uint32_t label_count;
    uint32_t trace_id_field; /* when exemplars are kept */

    struct metrics_series **series;
    uint32_t series_count, series_cap;
    uint32_t *slots; /* open addressing: index into series + 1 */
    uint32_t slot_count;

    struct metrics_slot *exemplars; /* by time */
    uint32_t exemplar_slots;        /* 0: none are kept */
    uint32_t exemplars_max;
};

/* ---- metrics.c ---- */

/* Adds what the attribute reads to the fields. */
uint32_t metrics_add_field(struct plan *p, struct traceql_field f);
/* The series of these labels, made when there is none. The labels' strings are copied. */
ERR_MUST_CHECK int metrics_series_of(struct traceql_metrics *m, const struct traceql_value *labels,
                                     struct metrics_series **out, struct err *err);
ERR_MUST_CHECK int metrics_bucket_row(struct traceql_metrics *m, struct metrics_series *s,
                                      uint32_t bucket, uint64_t **out, struct err *err);
void metrics_offer(struct traceql_metrics *m, const struct metrics_exemplar *e);
void sum_add_float(struct metrics_sum *s, double v);
int metrics_full(const struct traceql_metrics *m, struct err *err);
uint64_t metrics_hash_bytes(uint64_t h, const void *at, size_t n);
uint64_t metrics_hash_value(uint64_t h, const struct traceql_value *v);

/* ---- metrics_locate.c ---- */

/* Whose value is which: per position, the list and the index in it. */
enum {
    LIST_ABSENT,
    LIST_NIL,
    LIST_COLUMN,
    LIST_STRINGS,
    LIST_INTS,
    LIST_FLOATS,
    LIST_BOOLS,
    LISTS
};

struct located {
    uint8_t *list;
    uint32_t *index;
    const struct traceql_values *values[2][LISTS]; /* by field */
    const struct traceql_field *field[2]; /* positions of the second field have list + LISTS */
};

/* The spans at hand, in order: those of a batch that fall into an interval. */
struct positions {
    uint32_t *span;
    uint32_t *interval;
    uint32_t count;
};

struct work {
    struct arena *arena;
    const struct traceql_batch *batch;
    const struct plan *plan; /* of the fields */
    struct positions at;
};

ERR_MUST_CHECK int metrics_locate(struct work *w, const struct metrics_attr *a, struct located *out,
                                  struct err *err);

/* The column from which alone the attribute is read, when it has one value for every element; else
 * NULL. */
const struct traceql_values *metrics_plain_column(const struct work *w,
                                                  const struct metrics_attr *a);

/* Small numbers for values: 0 is nil. */
struct codes {
    uint32_t *code; /* per position */
    struct traceql_value *values;
    uint32_t count, cap;
};
ERR_MUST_CHECK int metrics_encode(struct work *w, const struct metrics_attr *a, struct codes *out,
                                  struct err *err);

/* Groups of positions with the same values. */
struct groups {
    uint32_t *of; /* per position; NULL: one group */
    uint32_t count;
    struct traceql_value (*labels)[METRICS_LABELS];
};
ERR_MUST_CHECK int metrics_group(struct work *w, const struct metrics_attr *by, uint32_t count,
                                 struct groups *out, struct err *err);

/* ---- metrics_observe.c ---- */
/* Fills in w->at: the batch's spans that fall into an interval. */
ERR_MUST_CHECK int metrics_place(const struct traceql_metrics *m,
                                 const struct traceql_metrics_batch *b, struct work *w,
                                 struct err *err);

/* ---- metrics_finish.c ---- */
int metrics_labels_text(const struct traceql_label *labels, uint32_t count, struct arena *a,
                        struct slice *out, struct err *err);
/* For qsort over struct traceql_series: the order in which they are shown. */
int metrics_series_cmp(const void *a, const void *b);
const char *metrics_fn_name(enum metrics_kind k);
double *metrics_counts_shown(const struct traceql_metrics *m, uint64_t *counts);

/* ---- metrics_stage.c ---- */
ERR_MUST_CHECK int metrics_stages(const struct traceql_metrics *m, struct arena *a,
                                  struct traceql_series *series, uint32_t *count, struct err *err);

/* ---- metrics_compare.c ---- */
ERR_MUST_CHECK int compare_finish(struct traceql_metrics *m, struct arena *a,
                                  struct traceql_series **out, uint32_t *count, struct err *err);

#endif
