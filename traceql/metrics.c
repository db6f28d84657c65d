/* The series of a metrics query: found by their typed labels, filled by metrics_observe.c, added up
 * when jobs come together. */
#define XXH_INLINE_ALL
#include <math.h>
#include <xxhash.h>

#include "traceql/metrics_priv.h"

uint64_t metrics_hash_bytes(uint64_t h, const void *at, size_t n)
{
    return XXH3_64bits_withSeed(at, n, h);
}

uint64_t metrics_hash_value(uint64_t h, const struct traceql_value *v)
{
    h = (h ^ v->type) * UINT64_C(0x9e3779b97f4a7c15);
    if (v->type == TRACEQL_NIL)
        return h;
    if (v->type == TRACEQL_STRING)
        return XXH3_64bits_withSeed(v->str.ptr, v->str.len, h);
    uint64_t bits = v->type == TRACEQL_BOOL ? v->b : (uint64_t)v->i64; /* floats by their bits */
    return XXH64(&bits, sizeof bits, h);
}

int metrics_full(const struct traceql_metrics *m, struct err *err)
{
    return arena_err(m->arena, err, "a metrics query's series");
}

/* ---- what is read ---- */

uint32_t metrics_add_field(struct plan *p, struct traceql_field f)
{
    for (uint32_t i = 0; i < p->field_count; i++) {
        const struct traceql_field *g = &p->fields[i];
        if (g->level == f.level && g->intrinsic == f.intrinsic && slice_eq(g->name, f.name))
            return i;
    }
    p->fields[p->field_count] = f;
    return p->field_count++;
}

static enum traceql_level level_of(enum expr_scope s)
{
    static const enum traceql_level levels[] = {[EXPR_SCOPE_NONE] = TRACEQL_LEVEL_SPAN,
                                                [EXPR_SCOPE_SPAN] = TRACEQL_LEVEL_SPAN,
                                                [EXPR_SCOPE_RESOURCE] = TRACEQL_LEVEL_RESOURCE,
                                                [EXPR_SCOPE_EVENT] = TRACEQL_LEVEL_EVENT,
                                                [EXPR_SCOPE_LINK] = TRACEQL_LEVEL_LINK,
                                                [EXPR_SCOPE_INSTRUMENTATION] = TRACEQL_LEVEL_SCOPE};
    return levels[s];
}

static struct traceql_field intrinsic_field(enum traceql_intrinsic i)
{
    return (struct traceql_field){.level = traceql_intrinsic_level(i),
                                  .intrinsic = i,
                                  .name = slice_cstr(traceql_intrinsic_text(i))};
}

static void read_attr(struct plan *p, const struct expr *e, struct metrics_attr *out)
{
    const struct expr_attr *a = &e->attr;
    *out = (struct metrics_attr){.expr = e, .type = EXPR_TYPE_RUNTIME};
    if (a->parent || a->intrinsic == TRACEQL_PARENT || a->intrinsic == TRACEQL_CHILD_COUNT ||
        a->intrinsic == TRACEQL_SPAN_START)
        return;
    if (a->intrinsic != TRACEQL_ATTRIBUTE) {
        out->type = traceql_intrinsic_type(a->intrinsic);
        out->fields[out->field_count++] = metrics_add_field(p, intrinsic_field(a->intrinsic));
        return;
    }
    struct traceql_field f = {.level = level_of(a->scope), .name = a->name};
    out->fields[out->field_count++] = metrics_add_field(p, f);
    f.level = TRACEQL_LEVEL_RESOURCE;
    if (a->scope == EXPR_SCOPE_NONE)
        out->fields[out->field_count++] = metrics_add_field(p, f);
}

static bool is_label(const struct traceql_metrics *m, uint32_t field)
{
    for (uint32_t i = 0; i < m->label_count; i++) {
        for (uint32_t k = 0; k < m->by[i].field_count; k++) {
            if (m->by[i].fields[k] == field)
                return true;
        }
    }
    return false;
}

static int make_fields(struct traceql_metrics *m, struct err *err)
{
    struct plan *p = arena_zalloc(m->arena, sizeof *p);
    m->fields = arena_zalloc(m->arena, sizeof *m->fields);
    if (!p || !m->fields)
        return metrics_full(m, err);
    m->fields->plan = p;
    p->fields = arena_zalloc(m->arena, (2 * METRICS_LABELS + 4) * sizeof *p->fields);
    if (!p->fields)
        return metrics_full(m, err);
    p->numbers = arena_zalloc(m->arena, (2 * METRICS_LABELS + 4) * sizeof *p->numbers);
    if (!p->numbers)
        return metrics_full(m, err);
    if (m->fn->attr)
        read_attr(p, m->fn->attr, &m->value);
    m->label_count = m->fn->by_count < METRICS_LABELS ? m->fn->by_count : METRICS_LABELS;
    for (uint32_t i = 0; i < m->label_count; i++)
        read_attr(p, m->fn->by[i], &m->by[i]);
    for (uint32_t i = 0; i < m->value.field_count; i++)
        p->numbers[m->value.fields[i]] = !is_label(m, m->value.fields[i]);
    if (m->exemplar_slots)
        m->trace_id_field = metrics_add_field(p, intrinsic_field(TRACEQL_TRACE_ID));
    return 0;
}

int traceql_metrics_new(const struct traceql_query *q, const struct traceql_metrics_grid *grid,
                        uint32_t exemplars, struct arena *a, struct traceql_metrics **out,
                        struct err *err)
{
    struct traceql_metrics *m = arena_zalloc(a, sizeof *m);
    if (!m)
        return arena_err(a, err, "a metrics query's series");
    m->query = q;
    m->fn = q->metrics;
    m->grid = *grid;
    m->arena = a;
    m->slot_count = 64;
    m->slots = arena_zalloc(a, m->slot_count * sizeof *m->slots);
    if (m->fn->kind != METRICS_COMPARE && exemplars) {
        m->exemplars_max = exemplars;
        m->exemplar_slots = (exemplars + METRICS_SLOT_EXEMPLARS - 1) / METRICS_SLOT_EXEMPLARS;
        if (m->exemplar_slots > grid->intervals)
            m->exemplar_slots = grid->intervals;
    }
    m->exemplars = arena_zalloc(a, m->exemplar_slots * sizeof *m->exemplars);
    if (!m->slots || !m->exemplars)
        return metrics_full(m, err);
    int rc = make_fields(m, err);
    /* Without by() a count is there even when nothing was counted. */
    struct traceql_value none[METRICS_LABELS] = {0};
    struct metrics_series *s;
    if (rc == 0 && !m->label_count && (m->fn->kind == METRICS_RATE || m->fn->kind == METRICS_COUNT))
        rc = metrics_series_of(m, none, &s, err);
    if (rc == 0)
        *out = m;
    return rc;
}

const struct traceql_query *traceql_metrics_fields(const struct traceql_metrics *m)
{
    return m->fields;
}

const struct traceql_value *traceql_query_hint(const struct traceql_query *q, const char *name)
{
    for (uint32_t i = q->hint_count; i > 0; i--) {
        if (slice_eq(q->hints[i - 1].name, slice_cstr(name)))
            return &q->hints[i - 1].value;
    }
    return NULL;
}

/* ---- series ---- */

static bool label_same(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == TRACEQL_STRING)
        return slice_eq(a->str, b->str);
    if (a->type == TRACEQL_BOOL)
        return a->b == b->b;
    return a->type == TRACEQL_NIL || a->i64 == b->i64; /* floats by their bits */
}

static uint32_t *series_slot(struct traceql_metrics *m, uint64_t hash,
                             const struct traceql_value *labels)
{
    uint32_t i = (uint32_t)hash & (m->slot_count - 1);
    for (; m->slots[i]; i = (i + 1) & (m->slot_count - 1)) {
        const struct metrics_series *s = m->series[m->slots[i] - 1];
        bool same = s->hash == hash;
        for (uint32_t k = 0; k < METRICS_LABELS && same; k++)
            same = label_same(&s->labels[k], &labels[k]);
        if (same)
            break;
    }
    return &m->slots[i];
}

static int series_grow(struct traceql_metrics *m, struct err *err)
{
    if (m->series_count == m->series_cap) {
        uint32_t cap = m->series_cap ? m->series_cap * 2 : 32;
        struct metrics_series **more = arena_array(m->arena, struct metrics_series *, cap);
        if (!more)
            return metrics_full(m, err);
        if (m->series_count)
            memcpy(more, m->series, m->series_count * sizeof(struct metrics_series *));
        m->series = more;
        m->series_cap = cap;
    }
    if ((uint64_t)m->series_count * 2 < m->slot_count)
        return 0;
    uint32_t *slots = arena_zalloc(m->arena, (size_t)m->slot_count * 4 * sizeof *slots);
    if (!slots)
        return metrics_full(m, err);
    m->slots = slots;
    m->slot_count *= 4;
    for (uint32_t i = 0; i < m->series_count; i++) {
        uint32_t k = (uint32_t)m->series[i]->hash & (m->slot_count - 1);
        while (m->slots[k])
            k = (k + 1) & (m->slot_count - 1);
        m->slots[k] = i + 1;
    }
    return 0;
}

/* The row or rows of numbers, empty. */
static bool series_rows(struct traceql_metrics *m, struct metrics_series *s)
{
    uint32_t n = m->grid.intervals;
    switch (m->fn->kind) {
    case METRICS_RATE:
    case METRICS_COUNT:
    case METRICS_COMPARE:
        s->counts = arena_zalloc(m->arena, n * sizeof *s->counts);
        return s->counts;
    case METRICS_MIN:
    case METRICS_MAX:
        s->extremes = arena_array(m->arena, double, n);
        for (uint32_t i = 0; s->extremes && i < n; i++)
            s->extremes[i] = NAN;
        return s->extremes;
    case METRICS_AVG:
    case METRICS_SUM:
        s->sums = arena_zalloc(m->arena, n * sizeof *s->sums);
        return s->sums;
    case METRICS_HISTOGRAM:
    case METRICS_QUANTILE:
        s->buckets = arena_zalloc(m->arena, METRICS_BUCKETS * sizeof *s->buckets);
        return s->buckets;
    }
    return false;
}

int metrics_series_of(struct traceql_metrics *m, const struct traceql_value *labels,
                      struct metrics_series **out, struct err *err)
{
    uint64_t hash = 0;
    for (uint32_t k = 0; k < METRICS_LABELS; k++)
        hash = metrics_hash_value(hash, &labels[k]);
    int rc = series_grow(m, err);
    if (rc < 0)
        return rc;
    uint32_t *slot = series_slot(m, hash, labels);
    if (*slot) {
        *out = m->series[*slot - 1];
        return 0;
    }
    struct metrics_series *s = arena_zalloc(m->arena, sizeof *s);
    if (!s)
        return metrics_full(m, err);
    s->hash = hash;
    s->index = m->series_count;
    for (uint32_t k = 0; k < METRICS_LABELS; k++) {
        s->labels[k] = labels[k];
        if (labels[k].type == TRACEQL_STRING &&
            !arena_slice(m->arena, labels[k].str, &s->labels[k].str))
            return metrics_full(m, err);
    }
    if (!series_rows(m, s))
        return metrics_full(m, err);
    m->series[m->series_count++] = s;
    *slot = m->series_count;
    *out = s;
    return 0;
}

int metrics_bucket_row(struct traceql_metrics *m, struct metrics_series *s, uint32_t bucket,
                       uint64_t **out, struct err *err)
{
    if (!s->buckets[bucket])
        s->buckets[bucket] = arena_zalloc(m->arena, m->grid.intervals * sizeof(uint64_t));
    *out = s->buckets[bucket];
    return *out ? 0 : metrics_full(m, err);
}

/* ---- sums ---- */

/* high + low is the sum to twice a double's precision. */
void sum_add_float(struct metrics_sum *s, double v)
{
    double t = s->high + v;
    if (!isfinite(t)) {
        s->high = t;
        s->low = 0;
        return;
    }
    double b = t - s->high;
    s->low += (s->high - (t - b)) + (v - b);
    s->high = t;
}

/* ---- exemplars ---- */

/* Which of two stays in a slot: decided by what they are, so that the order does not matter. */
static bool ranks_before(const struct metrics_exemplar *a, const struct metrics_exemplar *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->start_ns != b->start_ns)
        return a->start_ns < b->start_ns;
    return a->series->hash < b->series->hash;
}

void metrics_offer(struct traceql_metrics *m, const struct metrics_exemplar *e)
{
    uint64_t slot = (uint64_t)e->interval * m->exemplar_slots / m->grid.intervals;
    struct metrics_slot *s = &m->exemplars[slot];
    for (uint32_t i = 0; i < s->count; i++) {
        if (memcmp(s->at[i].trace_id, e->trace_id, sizeof e->trace_id) == 0) {
            if (ranks_before(e, &s->at[i]))
                s->at[i] = *e;
            return;
        }
    }
    if (s->count < METRICS_SLOT_EXEMPLARS) {
        s->at[s->count++] = *e;
        return;
    }
    uint32_t last = 0;
    for (uint32_t i = 1; i < s->count; i++) {
        if (ranks_before(&s->at[last], &s->at[i]))
            last = i;
    }
    if (ranks_before(e, &s->at[last]))
        s->at[last] = *e;
}

/* ---- merging ---- */

static int merge_buckets(struct traceql_metrics *m, struct metrics_series *to,
                         const struct metrics_series *from, struct err *err)
{
    for (uint32_t b = 0; b < METRICS_BUCKETS; b++) {
        uint64_t *row;
        if (!from->buckets[b])
            continue;
        int rc = metrics_bucket_row(m, to, b, &row, err);
        if (rc < 0)
            return rc;
        for (uint32_t i = 0; i < m->grid.intervals; i++)
            row[i] += from->buckets[b][i];
    }
    return 0;
}

static int merge_series(struct traceql_metrics *m, struct metrics_series *to,
                        const struct metrics_series *from, struct err *err)
{
    uint32_t n = m->grid.intervals;
    switch (m->fn->kind) {
    case METRICS_RATE:
    case METRICS_COUNT:
    case METRICS_COMPARE:
        for (uint32_t i = 0; i < n; i++)
            to->counts[i] += from->counts[i];
        return 0;
    case METRICS_MIN:
        for (uint32_t i = 0; i < n; i++)
            to->extremes[i] = fmin(to->extremes[i], from->extremes[i]);
        return 0;
    case METRICS_MAX:
        for (uint32_t i = 0; i < n; i++)
            to->extremes[i] = fmax(to->extremes[i], from->extremes[i]);
        return 0;
    case METRICS_AVG:
    case METRICS_SUM:
        for (uint32_t i = 0; i < n; i++) {
            to->sums[i].whole += from->sums[i].whole;
            to->sums[i].count += from->sums[i].count;
            sum_add_float(&to->sums[i], from->sums[i].high);
            sum_add_float(&to->sums[i], from->sums[i].low);
        }
        return 0;
    case METRICS_HISTOGRAM:
    case METRICS_QUANTILE:
        return merge_buckets(m, to, from, err);
    }
    return 0;
}

int traceql_metrics_merge(struct traceql_metrics *into, const struct traceql_metrics *from,
                          struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < from->series_count && rc == 0; i++) {
        struct metrics_series *to;
        rc = metrics_series_of(into, from->series[i]->labels, &to, err);
        rc = rc < 0 ? rc : merge_series(into, to, from->series[i], err);
    }
    for (uint32_t i = 0; i < from->exemplar_slots && rc == 0; i++) {
        for (uint32_t k = 0; k < from->exemplars[i].count && rc == 0; k++) {
            struct metrics_exemplar e = from->exemplars[i].at[k];
            rc = metrics_series_of(into, e.series->labels, &e.series, err);
            if (rc == 0)
                metrics_offer(into, &e);
        }
    }
    return rc;
}
