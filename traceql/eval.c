/* Evaluation: the state of a thread, a batch from its columns to the result, and what pruning asks.
 *
 * Conditions decide first which values are visible and which spans are candidates (visible.c);
 * from those the pipeline makes spansets (spanset.c). */
#include <assert.h>

#include "traceql/spanset.h"
#include "traceql/value.h"

/* ---- the thread's state ---- */

static bool is_regex(enum traceql_op op)
{
    return op == TRACEQL_OP_RE || op == TRACEQL_OP_NRE;
}

/* What Tempo too refuses only when it comes to reading columns. */
static int check_filter(const struct filter *f, const struct traceql_field *field, struct err *err)
{
    const struct traceql_condition *c = f->condition;
    if (field->intrinsic == TRACEQL_ATTRIBUTE || c->op == TRACEQL_OP_NONE)
        return 0;
    enum traceql_type t = traceql_intrinsic_type(field->intrinsic);
    bool string = t == TRACEQL_STRING || t == EXPR_TYPE_RUNTIME;
    if (string && c->literal.type != TRACEQL_STRING) {
        struct buf text;
        buf_init(&text, 128);
        if (traceql_value_print(&c->literal, &text) < 0)
            buf_reset(&text);
        err_set(err, ERR_INVALID, "operand is not string: %.*s", (int)text.len,
                text.ptr ? (const char *)text.ptr : "");
        buf_clear(&text);
        return ERR_INVALID;
    }
    if (f->is_id && c->op != TRACEQL_OP_EQ && c->op != TRACEQL_OP_NE)
        return err_set(err, ERR_INVALID, "operator not supported for IDs: %s",
                       traceql_op_text(c->op));
    return 0;
}

static int prepare_filter(struct traceql_eval *e, uint32_t i, struct err *err)
{
    const struct traceql_condition *c = &e->plan->conditions[i];
    const struct traceql_field *field = &e->plan->fields[c->field];
    struct filter *f = &e->filters[i];
    *f = (struct filter){.condition = c, .predicate = {.op = c->op, .literal = c->literal}};
    if (is_regex(c->op) && c->literal.type == TRACEQL_STRING)
        f->predicate.re = e->regexes[plan_pattern(e->plan, c->literal.str)];
    if (intrinsic_is_id(field->intrinsic) && c->op != TRACEQL_OP_NONE &&
        c->literal.type == TRACEQL_STRING) {
        f->is_id = id_parse(field->intrinsic, c->literal.str, &f->id);
        /* No id: storage leaves the decision to the comparison of texts. */
        if (!f->is_id)
            f->predicate.op = TRACEQL_OP_NONE;
    }
    return check_filter(f, field, err);
}

static int refuse_pattern(const struct expr *e, struct err *err)
{
    struct buf text;
    buf_init(&text, 256);
    bool whole = expr_print(e->rhs, false, &text) == 0;
    err_set(err, ERR_INVALID, "invalid type for =~ or !~: %.*s%s", (int)text.len,
            text.ptr ? (const char *)text.ptr : "", whole ? "" : "…");
    buf_clear(&text);
    return ERR_INVALID;
}

static int eval_new(const struct traceql_query *q, struct arena *a, struct traceql_eval **out,
                    struct err *err)
{
    const struct plan *plan = q->plan;
    struct traceql_eval *e = arena_zalloc(a, sizeof *e);
    if (!e)
        return arena_err(a, err, "a query's evaluation");
    e->query = q;
    e->plan = plan;
    e->regexes = arena_array(a, struct regex *, plan->pattern_count);
    e->filters = arena_array(a, struct filter, plan->condition_count);
    if (!e->regexes || !e->filters)
        return arena_err(a, err, "a query's evaluation");
    int rc = 0;
    for (uint32_t i = 0; i < plan->pattern_count && rc == 0; i++)
        rc = regex_new(plan->patterns[i], a, &e->regexes[i], err);
    for (uint32_t i = 0; i < plan->condition_count && rc == 0; i++)
        rc = prepare_filter(e, i, err);
    *out = e;
    return rc;
}

int traceql_eval_new(const struct traceql_query *q, struct arena *a, struct traceql_eval **out,
                     struct err *err)
{
    if (q->plan->refused)
        return refuse_pattern(q->plan->refused, err);
    int rc = eval_new(q, a, out, err);
    return rc < 0 || !q->second ? rc : eval_new(q->second, a, &(*out)->second, err);
}

/* ---- a batch ---- */

static int view_new(struct traceql_eval *e, const struct traceql_batch *batch, struct arena *a,
                    struct traceql_view **out, struct err *err)
{
    struct traceql_view *v = arena_zalloc(a, sizeof *v);
    if (!v)
        return arena_err(a, err, "the evaluation of a batch");
    v->eval = e;
    v->batch = batch;
    v->arena = a;
    v->scratch.arena = a;
    *out = v;
    return 0;
}

/* Attributes hang on one another, the last one first. */
static int set_attrs(struct arena *a, const struct set_attr *last, struct traceql_spanset *out,
                     struct err *err)
{
    uint32_t n = last ? last->count : 0;
    struct traceql_set_attr *attrs = arena_array(a, struct traceql_set_attr, n);
    if (!attrs)
        return arena_err(a, err, "a batch's result");
    for (; last; last = last->before)
        attrs[last->count - 1] = last->attr;
    out->attrs = attrs;
    out->attr_count = n;
    return 0;
}

static int fill_result(struct arena *a, const struct sets *sets, struct traceql_result *out,
                       struct err *err)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < sets->count; i++)
        total += sets->at[i].count;
    struct traceql_spanset *list = arena_array(a, struct traceql_spanset, sets->count);
    uint32_t *spans = arena_array(a, uint32_t, total);
    if (!list || !spans)
        return arena_err(a, err, "a batch's result");
    out->spans = spans;
    out->sets = list;
    for (uint32_t i = 0; i < sets->count; i++) {
        const struct set *s = &sets->at[i];
        list[i] = (struct traceql_spanset){
            .trace = s->trace, .first = out->span_count, .count = s->count};
        int rc = set_attrs(a, s->attrs, &list[i], err);
        if (rc < 0)
            return rc;
        memcpy(spans + out->span_count, s->spans, s->count * sizeof *spans);
        out->span_count += s->count;
    }
    out->set_count = sets->count;
    return 0;
}

int traceql_eval_batch(struct traceql_eval *e, const struct traceql_batch *batch, struct arena *a,
                       struct traceql_result *out, struct err *err)
{
    struct sets sets;
    *out = (struct traceql_result){0};
    int rc = view_new(e, batch, a, &out->view, err);
    if (rc < 0 || e->plan->nothing || batch->counts[TRACEQL_LEVEL_SPAN] == 0)
        return rc;
    rc = view_build(out->view, err);
    rc = rc < 0 ? rc : pipeline_run(out->view, e->query->pipeline, &sets, err);
    return rc < 0 ? rc : fill_result(a, &sets, out, err);
}

int traceql_result_second(struct traceql_result *r, const struct traceql_batch *second,
                          struct err *err)
{
    struct traceql_eval *e = r->view->eval->second;
    assert(e);
    int rc = view_new(e, second, r->view->arena, &r->second, err);
    return rc < 0 ? rc : view_build(r->second, err);
}

/* ---- pruning ---- */

static bool pools(const struct traceql_eval *e, const struct traceql_condition *c, size_t field,
                  bool generic)
{
    return generic ? e->plan->fields[c->field].level == e->plan->fields[field].level
                   : c->field == field;
}

static bool accepts_all(const struct filter *f)
{
    const struct traceql_condition *c = f->condition;
    return f->is_id || f->predicate.op == TRACEQL_OP_NONE || traceql_wants_absence(c);
}

bool traceql_accepts_strings(const struct traceql_eval *e, size_t field, bool generic,
                             const struct slice *values, uint32_t count)
{
    for (uint32_t i = 0; i < e->plan->condition_count; i++) {
        const struct filter *f = &e->filters[i];
        if (!pools(e, f->condition, field, generic))
            continue;
        if (accepts_all(f))
            return true;
        if (f->predicate.literal.type != TRACEQL_STRING)
            continue;
        for (uint32_t k = 0; k < count; k++) {
            bool holds;
            if (predicate_string(&f->predicate, values[k], &holds, NULL) < 0 || holds)
                return true;
        }
    }
    return false;
}

/* Is there an integer in [min, max] that fulfils op? */
static bool range_may_hold(enum traceql_op op, int64_t min, int64_t max, double x)
{
    double lo = (double)min, hi = (double)max;
    switch (op) {
    case TRACEQL_OP_EQ:
        return x >= lo && x <= hi;
    case TRACEQL_OP_LT:
    case TRACEQL_OP_LE:
        return lo <= x;
    case TRACEQL_OP_GT:
    case TRACEQL_OP_GE:
        return hi >= x;
    default:
        return true;
    }
}

bool traceql_accepts_ints(const struct traceql_eval *e, size_t field, bool generic, int64_t min,
                          int64_t max)
{
    for (uint32_t i = 0; i < e->plan->condition_count; i++) {
        const struct filter *f = &e->filters[i];
        const struct predicate *p = &f->predicate;
        if (!pools(e, f->condition, field, generic))
            continue;
        if (accepts_all(f))
            return true;
        bool number = p->literal.type == TRACEQL_INT ||
                      (!generic && p->literal.type != TRACEQL_STRING &&
                       p->literal.type != TRACEQL_BOOL && p->literal.type != TRACEQL_NIL);
        if (number && range_may_hold(p->op, min, max, value_number(&p->literal)))
            return true;
    }
    return false;
}
