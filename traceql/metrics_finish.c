/* From exact accumulators to what is shown: numbers per interval, labels, exemplars. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "traceql/metrics_priv.h"

#include "traceql/eval_priv.h"

struct finish {
    struct traceql_metrics *m;
    struct slice names[METRICS_LABELS]; /* of the by() labels */
    struct arena *arena;
    struct traceql_series *series;
    uint32_t count, cap;
    struct err *err;
};

static int full(const struct finish *f)
{
    return arena_err(f->arena, f->err, "a metrics query's series");
}

const char *metrics_fn_name(enum metrics_kind k)
{
    static const char *const names[] = {
        [METRICS_RATE] = "rate",
        [METRICS_COUNT] = "count_over_time",
        [METRICS_MIN] = "min_over_time",
        [METRICS_MAX] = "max_over_time",
        [METRICS_AVG] = "avg_over_time",
        [METRICS_SUM] = "sum_over_time",
        [METRICS_HISTOGRAM] = "histogram_over_time",
        [METRICS_QUANTILE] = "quantile_over_time",
        [METRICS_COMPARE] = "compare",
    };
    return names[k];
}

/* ---- labels ---- */

static int expr_text(const struct finish *f, const struct expr *e, struct slice *out)
{
    struct buf b;
    buf_init(&b, 1 << 17);
    int rc = expr_print(e, false, &b);
    if (rc == 0 && !arena_slice(f->arena, buf_view(&b), out))
        rc = full(f);
    else if (rc < 0)
        rc = err_set(f->err, rc, "a label's name does not fit");
    buf_clear(&b);
    return rc;
}

static int label_text(const struct traceql_value *v, struct buf *out)
{
    if (v->type == TRACEQL_NIL || (v->type == TRACEQL_STRING && slice_eq(v->str, SLICE("nil"))))
        return buf_str(out, "\"<nil>\"");
    if (v->type == TRACEQL_STRING && v->str.len == 0)
        return buf_str(out, "\"<empty>\"");
    int rc = buf_u8(out, '"');
    rc = rc < 0                      ? rc
         : v->type == TRACEQL_STRING ? buf_slice(out, v->str)
                                     : traceql_value_print(v, out);
    return rc < 0 ? rc : buf_u8(out, '"');
}

static int by_name(const void *a, const void *b)
{
    const struct traceql_label *x = *(const struct traceql_label *const *)a;
    const struct traceql_label *y = *(const struct traceql_label *const *)b;
    return slice_cmp(x->name, y->name);
}

int metrics_labels_text(const struct traceql_label *labels, uint32_t count, struct arena *a,
                        struct slice *out, struct err *err)
{
    const struct traceql_label *sorted[METRICS_LABELS + 2] = {0};
    struct buf b;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &labels[i];
    qsort(sorted, count, sizeof sorted[0], by_name);
    buf_init(&b, SIZE_MAX);
    int rc = buf_u8(&b, '{');
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_str(&b, ", ") : 0;
        rc = rc < 0 ? rc : buf_slice(&b, sorted[i]->name);
        rc = rc < 0 ? rc : buf_u8(&b, '=');
        rc = rc < 0 ? rc : label_text(&sorted[i]->value, &b);
    }
    rc = rc < 0 ? rc : buf_u8(&b, '}');
    if (rc < 0)
        err_set(err, rc, "a series' labels do not fit");
    else if (!arena_slice(a, buf_view(&b), out))
        rc = arena_err(a, err, "a metrics query's series");
    buf_clear(&b);
    return rc;
}

/* The by() labels that are not nil, then the extra one. All nil: the first is shown as nil. */
static int make_labels(const struct finish *f, const struct metrics_series *s,
                       const struct traceql_label *extra, struct traceql_series *out)
{
    struct traceql_label *l = arena_array(f->arena, struct traceql_label, METRICS_LABELS + 2);
    uint32_t n = 0;
    if (!l)
        return full(f);
    for (uint32_t i = 0; i < f->m->label_count; i++) {
        if (s->labels[i].type != TRACEQL_NIL)
            l[n++] = (struct traceql_label){f->names[i], s->labels[i]};
    }
    if (extra)
        l[n++] = *extra;
    if (n == 0 && f->m->label_count) {
        l[n++] = (struct traceql_label){f->names[0], {.type = TRACEQL_NIL}};
    } else if (n == 0) {
        l[n++] = (struct traceql_label){
            SLICE("__name__"),
            {.type = TRACEQL_STRING, .str = slice_cstr(metrics_fn_name(f->m->fn->kind))}};
    }
    out->labels = l;
    out->label_count = n;
    return metrics_labels_text(l, n, f->arena, &out->text, f->err);
}

/* values: its numbers, NULL: room for them is made. */
static int add_series(struct finish *f, const struct metrics_series *s,
                      const struct traceql_label *extra, double *values,
                      struct traceql_series **out)
{
    if (f->count == f->cap) {
        uint32_t cap = f->cap ? f->cap * 2 : 32;
        struct traceql_series *more = arena_array(f->arena, struct traceql_series, cap);
        if (!more)
            return full(f);
        if (f->count)
            memcpy(more, f->series, f->count * sizeof *more);
        f->series = more;
        f->cap = cap;
    }
    struct traceql_series *t = &f->series[f->count];
    *t = (struct traceql_series){
        .values = values ? values : arena_array(f->arena, double, f->m->grid.intervals)};
    if (!t->values)
        return full(f);
    int rc = make_labels(f, s, extra, t);
    f->count += rc == 0;
    *out = t;
    return rc;
}

/* ---- numbers ---- */

/* The counts of a row become numbers in place: with many series there is no room for both. */
double *metrics_counts_shown(const struct traceql_metrics *m, uint64_t *counts)
{
    /* As Tempo computes it, not n / seconds: the last digit differs. */
    double each = m->fn->kind == METRICS_RATE ? 1.0 / ((double)m->grid.step_ns / 1e9) : 1;
    static_assert(sizeof(double) == sizeof *counts, "a number has the place of a count");
    for (uint32_t i = 0; i < m->grid.intervals; i++) {
        double v = (double)counts[i] * each;
        memcpy(&counts[i], &v, sizeof v);
    }
    return (double *)(void *)counts;
}

static void finish_sums(const struct traceql_metrics *m, const struct metrics_series *s,
                        double *out)
{
    bool seconds = m->value.field_count && m->value.expr->attr.intrinsic == TRACEQL_SPAN_DURATION;
    for (uint32_t i = 0; i < m->grid.intervals; i++) {
        const struct metrics_sum *x = &s->sums[i];
        double whole = seconds ? (double)x->whole / 1e9 : (double)x->whole;
        double sum = x->high + x->low + whole;
        out[i] = x->count == 0 ? NAN : m->fn->kind == METRICS_AVG ? sum / (double)x->count : sum;
    }
}

/* The upper edge of a bucket: seconds for durations. */
static double bucket_edge(const struct traceql_metrics *m, uint32_t bucket)
{
    double edge = ldexp(1, (int)bucket);
    return m->value.type == TRACEQL_DURATION ? edge / 1e9 : edge;
}

static double quantile_at(const struct traceql_metrics *m, const struct metrics_series *s,
                          uint32_t interval, double q)
{
    uint64_t all = 0, total = 0;
    double before = 0;
    bool first = true;
    for (uint32_t b = 0; b < METRICS_BUCKETS; b++)
        all += s->buckets[b] ? s->buckets[b][interval] : 0;
    if (all == 0)
        return 0;
    double rank = ceil(q * (double)all);
    uint64_t k = rank < 1 ? 1 : (uint64_t)rank;
    for (uint32_t b = 0; b < METRICS_BUCKETS; b++) {
        uint64_t count = s->buckets[b] ? s->buckets[b][interval] : 0;
        if (count == 0)
            continue;
        double edge = bucket_edge(m, b);
        if (total + count > k) {
            double hi = log2(edge), lo = first ? hi - 1 : log2(before);
            return exp2(lo + (hi - lo) * ((double)(k - total) / (double)count));
        }
        total += count;
        if (total == k)
            return edge;
        before = edge;
        first = false;
    }
    return before;
}

/* ---- series ---- */

static int finish_quantiles(struct finish *f, const struct metrics_series *s)
{
    int rc = 0;
    for (uint32_t k = 0; k < f->m->fn->quantile_count && rc == 0; k++) {
        double q = f->m->fn->quantiles[k];
        struct traceql_label p = {SLICE("p"), {.type = TRACEQL_FLOAT, .f64 = q}};
        struct traceql_series *out;
        rc = add_series(f, s, &p, NULL, &out);
        for (uint32_t i = 0; i < f->m->grid.intervals && rc == 0; i++)
            out->values[i] = quantile_at(f->m, s, i, q);
    }
    return rc;
}

static int finish_histogram(struct finish *f, const struct metrics_series *s)
{
    int rc = 0;
    for (uint32_t b = 0; b < METRICS_BUCKETS && rc == 0; b++) {
        struct traceql_label edge = {SLICE("__bucket"),
                                     {.type = TRACEQL_FLOAT, .f64 = bucket_edge(f->m, b)}};
        struct traceql_series *out;
        if (!s->buckets[b])
            continue;
        rc = add_series(f, s, &edge, metrics_counts_shown(f->m, s->buckets[b]), &out);
    }
    return rc;
}

static int finish_series(struct finish *f, const struct metrics_series *s)
{
    struct traceql_series *out;
    int rc;
    if (f->m->fn->kind == METRICS_QUANTILE)
        return finish_quantiles(f, s);
    if (f->m->fn->kind == METRICS_HISTOGRAM)
        return finish_histogram(f, s);
    switch (f->m->fn->kind) {
    case METRICS_MIN:
    case METRICS_MAX:
        return add_series(f, s, NULL, s->extremes, &out);
    case METRICS_AVG:
    case METRICS_SUM:
        rc = add_series(f, s, NULL, NULL, &out);
        if (rc == 0)
            finish_sums(f->m, s, out->values);
        return rc;
    default:
        return add_series(f, s, NULL, metrics_counts_shown(f->m, s->counts), &out);
    }
}

/* ---- exemplars ---- */

static int by_time(const void *a, const void *b)
{
    const struct metrics_exemplar *x = *(const struct metrics_exemplar *const *)a;
    const struct metrics_exemplar *y = *(const struct metrics_exemplar *const *)b;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    return memcmp(x->trace_id, y->trace_id, sizeof x->trace_id);
}

static int exemplar_labels(const struct finish *f, const struct metrics_exemplar *e,
                           struct traceql_exemplar *out)
{
    struct traceql_label *l = arena_array(f->arena, struct traceql_label, METRICS_LABELS + 1);
    char text[ID_TEXT_BYTES];
    if (!l)
        return full(f);
    struct slice id = id_text(TRACEQL_TRACE_ID, slice_of(e->trace_id, sizeof e->trace_id), text);
    l[0] = (struct traceql_label){SLICE("trace:id"), {.type = TRACEQL_STRING}};
    if (!arena_slice(f->arena, id, &l[0].value.str))
        return full(f);
    out->label_count = 1;
    for (uint32_t i = 0; i < f->m->label_count; i++) {
        if (e->series->labels[i].type != TRACEQL_NIL)
            l[out->label_count++] = (struct traceql_label){f->names[i], e->series->labels[i]};
    }
    out->labels = l;
    return 0;
}

static bool bucket_matches(const struct finish *f, const struct traceql_series *t,
                           const struct metrics_exemplar *e)
{
    return f->m->fn->kind != METRICS_HISTOGRAM ||
           t->labels[t->label_count - 1].value.f64 == bucket_edge(f->m, e->bucket);
}

/* Those of a stored series, given to each shown series made from it: [first, count). */
static int attach_exemplars(struct finish *f, const struct metrics_exemplar *const *all, uint32_t n,
                            const struct metrics_series *s, uint32_t first)
{
    uint32_t mine = 0;
    for (uint32_t i = 0; i < n; i++)
        mine += all[i]->series == s;
    for (uint32_t k = first; k < f->count && mine; k++) {
        struct traceql_series *t = &f->series[k];
        struct traceql_exemplar *list = arena_array(f->arena, struct traceql_exemplar, mine);
        uint32_t count = 0;
        if (!list)
            return full(f);
        for (uint32_t i = 0; i < n; i++) {
            const struct metrics_exemplar *e = all[i];
            if (e->series != s || !bucket_matches(f, t, e))
                continue;
            list[count] = (struct traceql_exemplar){.start_ns = e->start_ns, .value = e->value};
            if (isnan(e->value))
                list[count].value = t->values[e->interval];
            int rc = exemplar_labels(f, e, &list[count]);
            if (rc < 0)
                return rc;
            count += !isnan(list[count].value);
        }
        t->exemplars = list;
        t->exemplar_count = count;
    }
    return 0;
}

static int sorted_exemplars(struct finish *f, const struct metrics_exemplar ***out, uint32_t *count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->m->exemplar_slots; i++)
        n += f->m->exemplars[i].count;
    *out = arena_alloc_array(f->arena, n, sizeof **out);
    if (!*out)
        return full(f);
    *count = 0;
    for (uint32_t i = 0; i < f->m->exemplar_slots; i++) {
        for (uint32_t k = 0; k < f->m->exemplars[i].count && *count < f->m->exemplars_max; k++)
            (*out)[(*count)++] = &f->m->exemplars[i].at[k];
    }
    qsort(*out, *count, sizeof **out, by_time);
    return 0;
}

/* ---- the whole ---- */

/* Labels of one text may still differ in type: 5 and "5". */
int metrics_series_cmp(const void *a, const void *b)
{
    const struct traceql_series *x = a, *y = b;
    int c = slice_cmp(x->text, y->text);
    for (uint32_t i = 0; i < x->label_count && i < y->label_count && !c; i++)
        c = (int)x->labels[i].value.type - (int)y->labels[i].value.type;
    return c;
}

static bool has_sample(const struct traceql_series *s, uint32_t intervals)
{
    for (uint32_t i = 0; i < intervals; i++) {
        if (!isnan(s->values[i]))
            return true;
    }
    return false;
}

int traceql_metrics_finish(struct traceql_metrics *m, struct arena *a, struct traceql_series **out,
                           uint32_t *count, struct err *err)
{
    struct finish f = {.m = m, .arena = a, .err = err};
    const struct metrics_exemplar **exemplars = NULL;
    uint32_t exemplar_count = 0;
    if (m->fn->kind == METRICS_COMPARE)
        return compare_finish(m, a, out, count, err);
    int rc = sorted_exemplars(&f, &exemplars, &exemplar_count);
    for (uint32_t i = 0; i < m->label_count && rc == 0; i++)
        rc = expr_text(&f, m->by[i].expr, &f.names[i]);
    for (uint32_t i = 0; i < m->series_count && rc == 0; i++) {
        uint32_t first = f.count;
        rc = finish_series(&f, m->series[i]);
        if (rc == 0)
            rc = attach_exemplars(&f, exemplars, exemplar_count, m->series[i], first);
    }
    if (rc < 0)
        return rc;
    if (f.count)
        qsort(f.series, f.count, sizeof *f.series, metrics_series_cmp);
    rc = metrics_stages(m, a, f.series, &f.count, err);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f.count && rc == 0; i++) {
        if (has_sample(&f.series[i], m->grid.intervals))
            f.series[kept++] = f.series[i];
    }
    *out = f.series;
    *count = kept;
    return rc;
}
