/* One batch's spans into series: intervals, groups, then one loop over the spans for the function.
 */
#include <math.h>

#include "traceql/metrics_priv.h"

#include "traceql/eval_priv.h"

/* ---- time ---- */

/* The spans that fall into an interval, with it. Spans of one trace start close together, so most
 * need no division. */
int metrics_place(const struct traceql_metrics *m, const struct traceql_metrics_batch *b,
                  struct work *w, struct err *err)
{
    const struct traceql_metrics_grid *g = &m->grid;
    struct positions *p = &w->at;
    p->span = arena_array(w->arena, uint32_t, b->span_count);
    p->interval = arena_array(w->arena, uint32_t, b->span_count);
    if (!p->span || !p->interval)
        return arena_err(w->arena, err, "the metrics of a batch");
    uint64_t step = (uint64_t)g->step_ns, offset_of = 0;
    uint32_t interval = 0;
    for (uint32_t i = 0; i < b->span_count; i++) {
        int64_t start = b->start_ns[b->spans[i]];
        if (start <= g->after_ns)
            continue;
        uint64_t offset = (uint64_t)start - (uint64_t)g->after_ns - 1;
        if (offset - offset_of >= step) {
            if (offset / step >= g->intervals)
                continue;
            interval = (uint32_t)(offset / step);
            offset_of = interval * step;
        }
        p->span[p->count] = b->spans[i];
        p->interval[p->count++] = interval;
    }
    return 0;
}

/* ---- values ---- */

/* The function's attribute, position by position. */
struct numbers {
    uint8_t *kind; /* NUMBER_… */
    union number {
        int64_t i64;
        double f64;
    } * at;
};
enum { NUMBER_NONE, NUMBER_INT, NUMBER_FLOAT };

static int read_numbers(struct work *w, const struct metrics_attr *a, struct numbers *out,
                        struct err *err)
{
    struct located l;
    enum traceql_type t = a->type;
    const struct traceql_values *plain = metrics_plain_column(w, a);
    out->kind = arena_zalloc(w->arena, w->at.count);
    out->at = arena_alloc_array(w->arena, w->at.count, sizeof *out->at);
    if (!out->kind || !out->at)
        return arena_err(w->arena, err, "the metrics of a batch");
    if (t != EXPR_TYPE_RUNTIME && t != TRACEQL_INT && t != TRACEQL_DURATION)
        return 0; /* names, statuses, kinds, ids: no numbers */
    if (plain && plain->type == TRACEQL_INT &&
        w->plan->fields[a->fields[0]].level == TRACEQL_LEVEL_SPAN) {
        memset(out->kind, NUMBER_INT, w->at.count);
        for (uint32_t i = 0; i < w->at.count; i++)
            out->at[i].i64 = plain->i64[w->at.span[i]];
        return 0;
    }
    int rc = metrics_locate(w, a, &l, err);
    if (rc < 0)
        return rc;
    bool empty = a->field_count && a->expr->attr.intrinsic == TRACEQL_EVENT_TIME;
    for (uint32_t i = 0; i < w->at.count; i++) {
        const struct traceql_values *v = l.values[l.list[i] / LISTS][l.list[i] % LISTS];
        if (l.list[i] == LIST_ABSENT) {
            out->kind[i] = empty ? NUMBER_INT : NUMBER_NONE; /* as a span without events */
            out->at[i].i64 = 0;
        } else if (v && v->type == TRACEQL_INT) {
            out->kind[i] = NUMBER_INT;
            out->at[i].i64 = v->i64[l.index[i]];
        } else if (v && v->type == TRACEQL_FLOAT && v->f64[l.index[i]] == v->f64[l.index[i]]) {
            out->kind[i] = NUMBER_FLOAT;
            out->at[i].f64 = v->f64[l.index[i]];
        }
    }
    return 0;
}

/* `duration` is measured in seconds, everything else as it is. */
static bool in_seconds(const struct metrics_attr *a)
{
    return a->field_count && a->expr->attr.intrinsic == TRACEQL_SPAN_DURATION;
}

static double number_of(const struct numbers *n, uint32_t i, bool seconds)
{
    if (n->kind[i] == NUMBER_FLOAT)
        return n->at[i].f64;
    return seconds ? (double)n->at[i].i64 / 1e9 : (double)n->at[i].i64;
}

/* Log2 of the smallest power of two that is not below the value; false: it has no bucket. */
static bool bucket_of(const struct numbers *n, uint32_t i, uint32_t *out)
{
    if (n->kind[i] != NUMBER_INT || n->at[i].i64 < 2)
        return false;
    *out = 64 - (uint32_t)__builtin_clzll((uint64_t)n->at[i].i64 - 1);
    return true;
}

/* ---- series of groups ---- */

struct filling {
    struct traceql_metrics *m;
    const struct work *w;
    struct groups groups;
    struct metrics_series **series; /* per group; NULL: not met yet */
    struct numbers numbers;
    struct err *err;
};

static int series_at(struct filling *f, uint32_t i, struct metrics_series **out)
{
    uint32_t group = f->groups.of ? f->groups.of[i] : 0;
    if (!f->series[group]) {
        int rc = metrics_series_of(f->m, f->groups.labels[group], &f->series[group], f->err);
        if (rc < 0)
            return rc;
    }
    *out = f->series[group];
    return 0;
}

/* Every group has a span, so all of them become series. */
static int count_spans(struct filling *f)
{
    struct metrics_series *s;
    const uint32_t *interval = f->w->at.interval, *of = f->groups.of;
    uint64_t **rows = arena_array(f->w->arena, uint64_t *, f->groups.count);
    if (!rows)
        return arena_err(f->w->arena, f->err, "the metrics of a batch");
    for (uint32_t g = 0; g < f->groups.count; g++) {
        int rc = metrics_series_of(f->m, f->groups.labels[g], &s, f->err);
        if (rc < 0)
            return rc;
        f->series[g] = s;
        rows[g] = s->counts;
    }
    for (uint32_t i = 0; of && i < f->w->at.count; i++)
        rows[of[i]][interval[i]]++;
    for (uint32_t i = 0; !of && i < f->w->at.count; i++)
        rows[0][interval[i]]++;
    return 0;
}

static int fill_extremes(struct filling *f, bool max)
{
    bool seconds = in_seconds(&f->m->value);
    for (uint32_t i = 0; i < f->w->at.count; i++) {
        struct metrics_series *s;
        if (f->numbers.kind[i] == NUMBER_NONE)
            continue;
        int rc = series_at(f, i, &s);
        if (rc < 0)
            return rc;
        double v = number_of(&f->numbers, i, seconds);
        double *x = &s->extremes[f->w->at.interval[i]];
        if (!(max ? v <= *x : v >= *x)) /* NaN: the first */
            *x = v;
    }
    return 0;
}

static int fill_sums(struct filling *f)
{
    for (uint32_t i = 0; i < f->w->at.count; i++) {
        struct metrics_series *s;
        if (f->numbers.kind[i] == NUMBER_NONE)
            continue;
        int rc = series_at(f, i, &s);
        if (rc < 0)
            return rc;
        struct metrics_sum *sum = &s->sums[f->w->at.interval[i]];
        sum->count++;
        if (f->numbers.kind[i] == NUMBER_INT)
            sum->whole += f->numbers.at[i].i64;
        else
            sum_add_float(sum, f->numbers.at[i].f64);
    }
    return 0;
}

static int fill_buckets(struct filling *f)
{
    for (uint32_t i = 0; i < f->w->at.count; i++) {
        struct metrics_series *s;
        uint32_t bucket;
        uint64_t *row;
        if (!bucket_of(&f->numbers, i, &bucket))
            continue;
        int rc = series_at(f, i, &s);
        if (rc == 0 && !(row = s->buckets[bucket]))
            rc = metrics_bucket_row(f->m, s, bucket, &row, f->err);
        if (rc < 0)
            return rc;
        row[f->w->at.interval[i]]++;
    }
    return 0;
}

static int fill(struct filling *f)
{
    switch (f->m->fn->kind) {
    case METRICS_RATE:
    case METRICS_COUNT:
        return count_spans(f);
    case METRICS_MIN:
    case METRICS_MAX:
        return fill_extremes(f, f->m->fn->kind == METRICS_MAX);
    case METRICS_AVG:
    case METRICS_SUM:
        return fill_sums(f);
    case METRICS_HISTOGRAM:
    case METRICS_QUANTILE:
        return fill_buckets(f);
    case METRICS_COMPARE:
        break;
    }
    return 0;
}

/* ---- exemplars ---- */

static bool exemplar_value(const struct filling *f, uint32_t i, struct metrics_exemplar *e)
{
    e->value = NAN;
    switch (f->m->fn->kind) {
    case METRICS_HISTOGRAM:
        return bucket_of(&f->numbers, i, &e->bucket);
    case METRICS_QUANTILE:
        if (!bucket_of(&f->numbers, i, &e->bucket))
            return false;
        e->value = number_of(&f->numbers, i, f->m->value.type == TRACEQL_DURATION);
        return true;
    case METRICS_RATE:
    case METRICS_COUNT:
    case METRICS_COMPARE:
        return true;
    default:
        e->value = number_of(&f->numbers, i, in_seconds(&f->m->value));
        return f->numbers.kind[i] != NUMBER_NONE;
    }
}

/* The first span of each trace that has a value. */
static int pick_exemplars(struct filling *f, const struct traceql_metrics_batch *b)
{
    const struct traceql_values *ids = &b->fields->inputs[f->m->trace_id_field].column;
    const uint32_t *trace = b->fields->span_trace;
    uint32_t done = UINT32_MAX;
    for (uint32_t i = 0; i < f->w->at.count; i++) {
        uint32_t span = f->w->at.span[i], t = trace[span];
        struct metrics_exemplar e = {.interval = f->w->at.interval[i],
                                     .start_ns = b->start_ns[span]};
        if (t == done || ids->owner || t >= ids->count || !exemplar_value(f, i, &e))
            continue;
        struct slice id = ids->idx ? ids->dict[ids->idx[t]] : ids->dict[t];
        size_t n = id.len < sizeof e.trace_id ? id.len : sizeof e.trace_id;
        memcpy(e.trace_id + sizeof e.trace_id - n, id.ptr + id.len - n, n);
        e.rank = metrics_hash_bytes(0, e.trace_id, sizeof e.trace_id);
        done = t;
        int rc = series_at(f, i, &e.series);
        if (rc < 0)
            return rc;
        metrics_offer(f->m, &e);
    }
    return 0;
}

/* ---- a batch ---- */

int traceql_metrics_observe(struct traceql_metrics *m, const struct traceql_metrics_batch *batch,
                            struct arena *scratch, struct err *err)
{
    struct work w = {.arena = scratch, .batch = batch->fields, .plan = m->fields->plan};
    struct filling f = {.m = m, .w = &w, .err = err};
    int rc = metrics_place(m, batch, &w, err);
    if (rc < 0 || w.at.count == 0)
        return rc;
    rc = metrics_group(&w, m->by, m->label_count, &f.groups, err);
    if (rc < 0)
        return rc;
    f.series = arena_zalloc(scratch, f.groups.count * sizeof *f.series);
    if (!f.series)
        return arena_err(scratch, err, "the metrics of a batch");
    if (m->fn->attr)
        rc = read_numbers(&w, &m->value, &f.numbers, err);
    rc = rc < 0 ? rc : fill(&f);
    if (rc == 0 && m->exemplar_slots)
        rc = pick_exemplars(&f, batch);
    return rc;
}
