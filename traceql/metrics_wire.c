/* The accumulators of a metrics query on a wire: messages of series, each with its labels and the
 * rows that have something in them, as pairs of a gap and what stands after it; then exemplars.
 *
 *   1 series { 1 label (value_wire.h), 2 counts, 3 extremes, 4 sums, 5 bucket { bucket, counts } }
 *   2 exemplar
 */
#include <math.h>

#include "traceql/metrics_priv.h"
#include "traceql/value_wire.h"

enum { FIELD_SERIES = 1, FIELD_EXEMPLAR = 2 };
enum { FIELD_LABEL = 1, FIELD_COUNTS = 2, FIELD_EXTREMES = 3, FIELD_SUMS = 4, FIELD_BUCKET = 5 };

/* What follows the count of a sum. */
enum { SUM_WHOLE = 1 << 0, SUM_WIDE = 1 << 1, SUM_REAL = 1 << 2 };

struct exemplar_wire {
    uint64_t rank;
    uint32_t series, interval, bucket;
    int64_t start_ns;
    double value;
    uint8_t trace_id[16];
};

#define AT(m) offsetof(struct exemplar_wire, m)
PROTO_TABLE(exemplar_table, {1, PROTO_FIXED64, AT(rank)}, {2, PROTO_U32, AT(series)},
            {3, PROTO_U32, AT(interval)}, {4, PROTO_U32, AT(bucket)}, {5, PROTO_I64, AT(start_ns)},
            {6, PROTO_F64, AT(value)}, {7, PROTO_ID16, AT(trace_id)});

/* ---- writing ---- */

static void put_raw(struct proto_writer *w, const void *at, size_t n)
{
    if (w->rc == 0)
        w->rc = buf_append(w->out, at, n);
}

static void put_counts(struct proto_writer *w, const uint64_t *counts, uint32_t n)
{
    for (uint32_t i = 0, next = 0; i < n; i++) {
        if (!counts[i])
            continue;
        proto_put_packed(w, i - next);
        proto_put_packed(w, counts[i]);
        next = i + 1;
    }
}

static void put_extremes(struct proto_writer *w, const double *extremes, uint32_t n)
{
    for (uint32_t i = 0, next = 0; i < n; i++) {
        if (isnan(extremes[i]))
            continue;
        proto_put_packed(w, i - next);
        put_raw(w, &extremes[i], sizeof extremes[i]);
        next = i + 1;
    }
}

static void put_sums(struct proto_writer *w, const struct metrics_sum *sums, uint32_t n)
{
    for (uint32_t i = 0, next = 0; i < n; i++) {
        const struct metrics_sum *s = &sums[i];
        if (!s->count)
            continue;
        bool wide = s->whole > INT64_MAX || s->whole < INT64_MIN;
        bool real = s->high != 0 || s->low != 0; /* NaN too */
        unsigned form = (wide ? SUM_WIDE : s->whole ? SUM_WHOLE : 0u) | (real ? SUM_REAL : 0u);
        proto_put_packed(w, i - next);
        proto_put_packed(w, s->count);
        proto_put_packed(w, form);
        if (form & SUM_WHOLE)
            proto_put_packed(w, zigzag_encode((int64_t)s->whole));
        if (form & SUM_WIDE)
            put_raw(w, &s->whole, sizeof s->whole);
        if (form & SUM_REAL) {
            put_raw(w, &s->high, sizeof s->high);
            put_raw(w, &s->low, sizeof s->low);
        }
        next = i + 1;
    }
}

static void put_buckets(struct proto_writer *w, uint64_t *const *buckets, uint32_t n)
{
    for (uint32_t b = 0; b < METRICS_BUCKETS; b++) {
        if (!buckets[b])
            continue;
        size_t begun = proto_begin(w, FIELD_BUCKET);
        proto_put_packed(w, b);
        put_counts(w, buckets[b], n);
        proto_end(w, begun);
    }
}

static void put_rows(struct proto_writer *w, const struct traceql_metrics *m,
                     const struct metrics_series *s)
{
    static const uint32_t fields[] = {
        [METRICS_RATE] = FIELD_COUNTS,    [METRICS_COUNT] = FIELD_COUNTS,
        [METRICS_COMPARE] = FIELD_COUNTS, [METRICS_MIN] = FIELD_EXTREMES,
        [METRICS_MAX] = FIELD_EXTREMES,   [METRICS_AVG] = FIELD_SUMS,
        [METRICS_SUM] = FIELD_SUMS,       [METRICS_HISTOGRAM] = FIELD_BUCKET,
        [METRICS_QUANTILE] = FIELD_BUCKET};
    uint32_t field = fields[m->fn->kind];
    if (field == FIELD_BUCKET) {
        put_buckets(w, s->buckets, m->grid.intervals);
        return;
    }
    size_t begun = proto_begin(w, field);
    if (field == FIELD_COUNTS)
        put_counts(w, s->counts, m->grid.intervals);
    else if (field == FIELD_EXTREMES)
        put_extremes(w, s->extremes, m->grid.intervals);
    else
        put_sums(w, s->sums, m->grid.intervals);
    proto_end(w, begun);
}

static void put_exemplars(struct proto_writer *w, const struct traceql_metrics *m)
{
    for (uint32_t i = 0; i < m->exemplar_slots; i++) {
        for (uint32_t k = 0; k < m->exemplars[i].count; k++) {
            const struct metrics_exemplar *e = &m->exemplars[i].at[k];
            struct exemplar_wire x = {.rank = e->rank,
                                      .series = e->series->index,
                                      .interval = e->interval,
                                      .bucket = e->bucket,
                                      .start_ns = e->start_ns,
                                      .value = e->value};
            memcpy(x.trace_id, e->trace_id, sizeof x.trace_id);
            size_t begun = proto_begin(w, FIELD_EXEMPLAR);
            proto_put_table(w, &exemplar_table, &x);
            proto_end(w, begun);
        }
    }
}

int traceql_metrics_encode(const struct traceql_metrics *m, struct buf *out, struct err *err)
{
    struct proto_writer w = {.out = out};
    for (uint32_t i = 0; i < m->series_count; i++) {
        const struct metrics_series *s = m->series[i];
        size_t begun = proto_begin(&w, FIELD_SERIES);
        uint32_t labels = METRICS_LABELS;
        while (labels && s->labels[labels - 1].type == TRACEQL_NIL)
            labels--;
        for (uint32_t k = 0; k < labels; k++)
            traceql_value_put(&w, FIELD_LABEL, &s->labels[k]);
        put_rows(&w, m, s);
        proto_end(&w, begun);
    }
    put_exemplars(&w, m);
    return w.rc < 0 ? err_set(err, w.rc, "a job's series take more than %zu bytes", out->max) : 0;
}

/* ---- reading ---- */

/* The next place in a row of n: 0, 1 at the end, ERR_CORRUPT. */
static int next_place(struct cursor *c, uint64_t *next, uint32_t n, uint32_t *out, struct err *err)
{
    uint64_t gap;
    if (cursor_left(c) == 0)
        return 1;
    if (!cursor_varint(c, &gap) || gap >= n || *next + gap >= n)
        return err_set(err, ERR_CORRUPT, "a row of %u intervals has more", n);
    *out = (uint32_t)(*next + gap);
    *next = *next + gap + 1;
    return 0;
}

static int cut_off(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "a row of intervals is cut off");
}

static bool get_raw(struct cursor *c, void *out, size_t n)
{
    struct slice s;
    if (!cursor_bytes(c, n, &s))
        return false;
    memcpy(out, s.ptr, n);
    return true;
}

static int get_counts(struct cursor c, uint64_t *counts, uint32_t n, struct err *err)
{
    uint64_t next = 0;
    uint32_t i = 0;
    int rc;
    while ((rc = next_place(&c, &next, n, &i, err)) == 0) {
        if (!cursor_varint(&c, &counts[i]))
            return cut_off(err);
    }
    return rc < 0 ? rc : 0;
}

static int get_extremes(struct cursor c, double *extremes, uint32_t n, struct err *err)
{
    uint64_t next = 0;
    uint32_t i = 0;
    int rc;
    while ((rc = next_place(&c, &next, n, &i, err)) == 0) {
        if (!get_raw(&c, &extremes[i], sizeof extremes[i]))
            return cut_off(err);
    }
    return rc < 0 ? rc : 0;
}

static int get_sums(struct cursor c, struct metrics_sum *sums, uint32_t n, struct err *err)
{
    uint64_t next = 0, form = 0, whole = 0;
    uint32_t i = 0;
    int rc;
    while ((rc = next_place(&c, &next, n, &i, err)) == 0) {
        struct metrics_sum *s = &sums[i];
        bool ok = cursor_varint(&c, &s->count) && cursor_varint(&c, &form);
        if (ok && form & SUM_WHOLE) {
            ok = cursor_varint(&c, &whole);
            s->whole = zigzag_decode(whole);
        }
        if (ok && form & SUM_WIDE)
            ok = get_raw(&c, &s->whole, sizeof s->whole);
        if (ok && form & SUM_REAL)
            ok = get_raw(&c, &s->high, sizeof s->high) && get_raw(&c, &s->low, sizeof s->low);
        if (!ok)
            return cut_off(err);
    }
    return rc < 0 ? rc : 0;
}

static int get_bucket(struct traceql_metrics *m, struct metrics_series *s, struct cursor c,
                      struct err *err)
{
    uint64_t bucket, *row;
    if (!cursor_varint(&c, &bucket) || bucket >= METRICS_BUCKETS)
        return err_set(err, ERR_CORRUPT, "a series has a bucket past %d", METRICS_BUCKETS);
    int rc = metrics_bucket_row(m, s, (uint32_t)bucket, &row, err);
    return rc < 0 ? rc : get_counts(c, row, m->grid.intervals, err);
}

static int get_rows(struct traceql_metrics *m, struct metrics_series *s,
                    const struct proto_field *f, struct err *err)
{
    enum metrics_kind k = m->fn->kind;
    struct slice bytes;
    int rc = proto_get_bytes(f, &bytes, err);
    if (rc < 0)
        return rc;
    struct cursor c = cursor_of(bytes);
    uint32_t n = m->grid.intervals;
    if (f->number == FIELD_COUNTS &&
        (k == METRICS_RATE || k == METRICS_COUNT || k == METRICS_COMPARE))
        return get_counts(c, s->counts, n, err);
    if (f->number == FIELD_EXTREMES && (k == METRICS_MIN || k == METRICS_MAX))
        return get_extremes(c, s->extremes, n, err);
    if (f->number == FIELD_SUMS && (k == METRICS_AVG || k == METRICS_SUM))
        return get_sums(c, s->sums, n, err);
    if (f->number == FIELD_BUCKET && (k == METRICS_HISTOGRAM || k == METRICS_QUANTILE))
        return get_bucket(m, s, c, err);
    return err_set(err, ERR_CORRUPT, "a series of another function than %s", metrics_fn_name(k));
}

static int get_series(struct traceql_metrics *m, struct slice message, struct metrics_series **out,
                      struct err *err)
{
    struct traceql_value labels[METRICS_LABELS] = {0};
    struct cursor c = cursor_of(message);
    struct proto_field f;
    uint32_t count = 0;
    int rc;
    while ((rc = proto_next(&c, &f, err)) == 0) {
        if (f.number != FIELD_LABEL)
            continue;
        if (count == METRICS_LABELS)
            return err_set(err, ERR_CORRUPT, "a series of more than %d labels", METRICS_LABELS);
        rc = traceql_value_get(&f, &labels[count++], err);
        if (rc < 0)
            return rc;
    }
    rc = rc < 0 ? rc : metrics_series_of(m, labels, out, err);
    c = cursor_of(message);
    while (rc == 0 && proto_next(&c, &f, err) == 0) {
        if (f.number >= FIELD_COUNTS && f.number <= FIELD_BUCKET)
            rc = get_rows(m, *out, &f, err);
    }
    return rc;
}

static int get_exemplar(struct traceql_metrics *m, struct slice message,
                        struct metrics_series *const *series, uint32_t count, struct err *err)
{
    struct exemplar_wire x = {0};
    struct cursor c = cursor_of(message);
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&c, &f, err)) == 0) {
        rc = proto_get_table(&exemplar_table, &f, &x, err);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!m->exemplar_slots || x.series >= count || x.interval >= m->grid.intervals)
        return err_set(err, ERR_CORRUPT,
                       "an exemplar of series %u, interval %u: there are %u and %u", x.series,
                       x.interval, count, m->grid.intervals);
    struct metrics_exemplar e = {.rank = x.rank,
                                 .series = series[x.series],
                                 .interval = x.interval,
                                 .bucket = x.bucket,
                                 .start_ns = x.start_ns,
                                 .value = x.value};
    memcpy(e.trace_id, x.trace_id, sizeof e.trace_id);
    metrics_offer(m, &e);
    return 0;
}

int traceql_metrics_decode(struct traceql_metrics *fresh, struct slice bytes, struct err *err)
{
    uint32_t max = proto_count(bytes, FIELD_SERIES), count = 0;
    struct metrics_series **series = arena_array(fresh->arena, struct metrics_series *, max);
    struct cursor c = cursor_of(bytes);
    struct proto_field f;
    int rc;
    if (!series)
        return metrics_full(fresh, err);
    while ((rc = proto_next(&c, &f, err)) == 0) {
        struct slice message;
        if (f.number != FIELD_SERIES && f.number != FIELD_EXEMPLAR)
            continue;
        rc = proto_get_bytes(&f, &message, err);
        if (rc == 0 && f.number == FIELD_SERIES)
            rc = get_series(fresh, message, &series[count++], err);
        else if (rc == 0)
            rc = get_exemplar(fresh, message, series, count, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}
