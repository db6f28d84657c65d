/* compare(): every attribute of the spans, counted once for those that a filter selects and once
 * for the rest.
 *
 * A series' five labels are used as: which side, the attribute (level or intrinsic, and name), and
 * the value; a total of all values of an attribute has no value. What is shown are the largest
 * values of each side and attribute, and the totals. */
#include <math.h>
#include <stdlib.h>

#include "traceql/metrics_priv.h"

#include "traceql/eval_priv.h"

enum { LABEL_SIDE, LABEL_LEVEL, LABEL_NAME, LABEL_IS_TOTAL, LABEL_VALUE };

/* Intrinsics that are counted. */
static const enum traceql_intrinsic counted[] = {
    TRACEQL_SPAN_NAME,  TRACEQL_SPAN_STATUS,     TRACEQL_SPAN_STATUS_MESSAGE,
    TRACEQL_SPAN_KIND,  TRACEQL_TRACE_ROOT_NAME, TRACEQL_TRACE_ROOT_SERVICE,
    TRACEQL_SCOPE_NAME, TRACEQL_SCOPE_VERSION};

bool traceql_metrics_compares(const struct traceql_query *q)
{
    return q->metrics && q->metrics->kind == METRICS_COMPARE;
}

bool traceql_metrics_accumulate(const struct traceql_query *q)
{
    return q->metrics && q->metrics->kind != METRICS_COMPARE && !q->metrics->stages;
}

int traceql_compare_filter(const struct traceql_query *q, struct arena *a,
                           const struct traceql_query **out, struct err *err)
{
    struct traceql_query *filter = NULL;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    int rc = spanset_print(q->metrics->filter, true, &text);
    if (rc < 0)
        err_set(err, rc, "no memory for the filter of compare()");
    else
        rc = traceql_parse(buf_view(&text), a, &filter, err);
    buf_clear(&text);
    *out = filter;
    return rc;
}

int traceql_compare_fields(const struct traceql_field *found, uint32_t count, struct arena *a,
                           const struct traceql_query **out, struct err *err)
{
    size_t more = sizeof counted / sizeof counted[0];
    struct traceql_query *q = arena_zalloc(a, sizeof *q);
    struct plan *p = arena_zalloc(a, sizeof *p);
    if (!q || !p || !(p->fields = arena_array(a, struct traceql_field, count + more)))
        return arena_err(a, err, "the attributes of a batch");
    q->plan = p;
    for (uint32_t i = 0; i < count; i++)
        metrics_add_field(p, found[i]);
    for (size_t i = 0; i < more; i++)
        metrics_add_field(
            p, (struct traceql_field){.level = traceql_intrinsic_level(counted[i]),
                                      .intrinsic = counted[i],
                                      .name = slice_cstr(traceql_intrinsic_text(counted[i]))});
    *out = q;
    return 0;
}

/* ---- observing ---- */

static struct traceql_value int_value(int64_t v)
{
    return (struct traceql_value){.type = TRACEQL_INT, .i64 = v};
}

/* Adds the positions of one side to the series of a value, or to the total. */
struct tally {
    struct traceql_metrics *m;
    struct work *w;
    const struct codes *codes;
    struct traceql_value labels[METRICS_LABELS];
    struct err *err;
};

static int tally_side(struct tally *t, const uint8_t *selected, bool side)
{
    struct metrics_series **series =
        arena_zalloc(t->w->arena, t->codes->count * sizeof(struct metrics_series *));
    if (!series)
        return arena_err(t->w->arena, t->err, "the metrics of a batch");
    t->labels[LABEL_SIDE] = int_value(side);
    for (uint32_t i = 0; i < t->w->at.count; i++) {
        uint32_t code = t->codes->code[i];
        if (code == 0 || selected[t->w->at.span[i]] != side)
            continue;
        if (!series[code]) {
            t->labels[LABEL_IS_TOTAL] = int_value(0);
            t->labels[LABEL_VALUE] = t->codes->values[code];
            int rc = metrics_series_of(t->m, t->labels, &series[code], t->err);
            t->labels[LABEL_IS_TOTAL] = int_value(1);
            t->labels[LABEL_VALUE] = (struct traceql_value){0};
            if (rc == 0 && !series[0])
                rc = metrics_series_of(t->m, t->labels, &series[0], t->err);
            if (rc < 0)
                return rc;
        }
        series[code]->counts[t->w->at.interval[i]]++;
        series[0]->counts[t->w->at.interval[i]]++;
    }
    return 0;
}

int traceql_compare_observe(struct traceql_metrics *m, const struct traceql_metrics_batch *batch,
                            const struct traceql_query *fields, const uint8_t *selected,
                            struct arena *scratch, struct err *err)
{
    struct work w = {.arena = scratch, .batch = batch->fields, .plan = fields->plan};
    const struct metrics_fn *fn = m->fn;
    uint32_t spans = batch->fields->counts[TRACEQL_LEVEL_SPAN];
    uint8_t *chosen = arena_alloc(scratch, spans);
    if (!chosen)
        return arena_err(scratch, err, "the metrics of a batch");
    for (uint32_t i = 0; i < spans; i++)
        chosen[i] = selected[i] && (!fn->start_ns || (batch->start_ns[i] >= fn->start_ns &&
                                                      batch->start_ns[i] < fn->end_ns));
    int rc = metrics_place(m, batch, &w, err);
    for (uint32_t k = 0; k < fields->plan->field_count && rc == 0 && w.at.count; k++) {
        const struct traceql_field *f = &fields->plan->fields[k];
        struct expr expr = {.kind = EXPR_ATTR, .attr = {.intrinsic = f->intrinsic}};
        struct metrics_attr a = {.expr = &expr, .fields = {k}, .field_count = 1};
        struct codes codes;
        struct tally t = {.m = m, .w = &w, .codes = &codes, .err = err};
        t.labels[LABEL_LEVEL] = int_value(f->level * 64 + f->intrinsic);
        t.labels[LABEL_NAME] = (struct traceql_value){.type = TRACEQL_STRING, .str = f->name};
        rc = metrics_encode(&w, &a, &codes, err);
        rc = rc < 0 ? rc : tally_side(&t, chosen, true);
        rc = rc < 0 ? rc : tally_side(&t, chosen, false);
    }
    return rc;
}

/* ---- results ---- */

struct ranked {
    const struct metrics_series *series;
    uint64_t total;
};

static int label_cmp(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->type == TRACEQL_STRING)
        return slice_cmp(a->str, b->str);
    if (a->type == TRACEQL_BOOL)
        return a->b - b->b;
    if (a->type == TRACEQL_FLOAT)
        return a->f64 < b->f64 ? -1 : a->f64 > b->f64;
    return a->i64 < b->i64 ? -1 : a->i64 > b->i64;
}

static bool same_attribute(const struct metrics_series *a, const struct metrics_series *b)
{
    return a->labels[LABEL_SIDE].i64 == b->labels[LABEL_SIDE].i64 &&
           a->labels[LABEL_LEVEL].i64 == b->labels[LABEL_LEVEL].i64 &&
           slice_eq(a->labels[LABEL_NAME].str, b->labels[LABEL_NAME].str);
}

/* By side and attribute, the total first, then the values, the most frequent first. */
static int ranked_cmp(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    const struct traceql_value *l = x->series->labels, *r = y->series->labels;
    int c = label_cmp(&l[LABEL_SIDE], &r[LABEL_SIDE]);
    c = c ? c : label_cmp(&l[LABEL_LEVEL], &r[LABEL_LEVEL]);
    c = c ? c : label_cmp(&l[LABEL_NAME], &r[LABEL_NAME]);
    c = c ? c : label_cmp(&r[LABEL_IS_TOTAL], &l[LABEL_IS_TOTAL]);
    if (!c && x->total != y->total)
        return x->total > y->total ? -1 : 1;
    return c ? c : label_cmp(&l[LABEL_VALUE], &r[LABEL_VALUE]);
}

static int attribute_name(const struct metrics_series *s, struct arena *a, struct slice *out,
                          struct err *err)
{
    int64_t code = s->labels[LABEL_LEVEL].i64;
    struct expr e = {.kind = EXPR_ATTR,
                     .attr = {.intrinsic = (enum traceql_intrinsic)(code % 64),
                              .name = s->labels[LABEL_NAME].str}};
    if (e.attr.intrinsic == TRACEQL_ATTRIBUTE)
        e.attr.scope = code / 64 == TRACEQL_LEVEL_SPAN       ? EXPR_SCOPE_SPAN
                       : code / 64 == TRACEQL_LEVEL_RESOURCE ? EXPR_SCOPE_RESOURCE
                                                             : EXPR_SCOPE_INSTRUMENTATION;
    else
        e.attr.name = (struct slice){0};
    struct buf b;
    buf_init(&b, SIZE_MAX);
    int rc = expr_print(&e, false, &b);
    if (rc < 0)
        err_set(err, rc, "no memory for a label");
    else if (!arena_slice(a, buf_view(&b), out))
        rc = arena_err(a, err, "a metrics query's series");
    buf_clear(&b);
    return rc;
}

static int show(const struct traceql_metrics *m, const struct metrics_series *s, struct arena *a,
                struct traceql_series *out, struct err *err)
{
    static const char *const metas[2][2] = {{"baseline", "baseline_total"},
                                            {"selection", "selection_total"}};
    const char *meta = metas[s->labels[LABEL_SIDE].i64 != 0][s->labels[LABEL_IS_TOTAL].i64 != 0];
    struct traceql_label *l = arena_array(a, struct traceql_label, 2);
    if (!l)
        return arena_err(a, err, "a metrics query's series");
    *out = (struct traceql_series){
        .labels = l, .label_count = 2, .values = metrics_counts_shown(m, s->counts)};
    l[0] = (struct traceql_label){SLICE("__meta_type"),
                                  {.type = TRACEQL_STRING, .str = slice_cstr(meta)}};
    l[1].value = s->labels[LABEL_VALUE];
    int rc = attribute_name(s, a, &l[1].name, err);
    return rc < 0 ? rc : metrics_labels_text(l, 2, a, &out->text, err);
}

int compare_finish(struct traceql_metrics *m, struct arena *a, struct traceql_series **out,
                   uint32_t *count, struct err *err)
{
    uint32_t n = m->series_count, shown = 0;
    int64_t rank = 0;
    struct ranked *all = arena_array(a, struct ranked, n);
    struct traceql_series *series = arena_array(a, struct traceql_series, n);
    if (!all || !series)
        return arena_err(a, err, "a metrics query's series");
    for (uint32_t i = 0; i < n; i++) {
        all[i] = (struct ranked){.series = m->series[i]};
        for (uint32_t k = 0; k < m->grid.intervals; k++)
            all[i].total += m->series[i]->counts[k];
    }
    if (n)
        qsort(all, n, sizeof *all, ranked_cmp);
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        bool again = i && same_attribute(all[i - 1].series, all[i].series);
        rank = again ? rank + 1 : 0; /* 0 is the total */
        if (rank > m->fn->top)
            continue;
        rc = show(m, all[i].series, a, &series[shown], err);
        shown += rc == 0;
    }
    if (shown)
        qsort(series, shown, sizeof *series, metrics_series_cmp);
    *out = series;
    *count = shown;
    return rc;
}
