/* Evaluation of a batch: filters as programs over truth vectors, spansets as lists of spans.
 *
 * Conditions decide first which values are visible and which spans are candidates (visible.c).
 * A filter is then a small stack machine whose values are byte vectors; its result keeps the spans
 * of its input for which the last vector says true. */
#include <assert.h>

#include "traceql/truth.h"
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

int traceql_eval_new(const struct traceql_query *q, struct arena *a, struct traceql_eval **out,
                     struct err *err)
{
    const struct plan *plan = q->plan;
    if (plan->unsupported)
        return err_set(err, ERR_UNSUPPORTED, "%s is not supported yet", plan->unsupported);
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
    if (rc == 0)
        *out = e;
    return rc;
}

/* ---- filters ---- */

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the evaluation of a batch");
}

/* The expression, for each span that is looked at. */
static int step_row(struct traceql_view *v, const struct step *s, const uint8_t *active,
                    uint8_t *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    for (uint32_t i = 0; i < spans; i++) {
        struct seen seen;
        if (!active[i])
            continue;
        int rc = row_eval(v, s->expr, i, &seen, err);
        if (rc < 0)
            return rc;
        bool is_bool = !seen.array && seen.scalar.type == TRACEQL_BOOL;
        out[i] = is_bool ? (uint8_t)seen.scalar.b : TRUTH_OTHER;
    }
    return 0;
}

/* `!` of anything but a bool fails the query, when it happens to a span that is looked at. */
static int step_not(struct traceql_view *v, const struct step *s, const uint8_t *active,
                    uint8_t *truth, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    for (uint32_t i = 0; i < spans; i++) {
        if (active[i] && truth[i] > TRUTH_TRUE) {
            struct seen operand;
            int rc = row_eval(v, s->expr->rhs, i, &operand, err);
            return rc < 0 ? rc : row_type_error(s->expr, &operand, err);
        }
    }
    for (uint32_t i = 0; i < spans; i++)
        truth[i] = truth[i] == TRUTH_FALSE;
    return 0;
}

static void step_and(uint8_t *restrict l, const uint8_t *restrict r, uint32_t spans)
{
    for (uint32_t i = 0; i < spans; i++)
        l[i] = l[i] & r[i] & 1; /* TRUTH_OTHER has no bit 0 */
}

static void step_or(uint8_t *restrict l, const uint8_t *restrict r, uint32_t spans)
{
    for (uint32_t i = 0; i < spans; i++)
        l[i] = (uint8_t)(((l[i] | r[i]) & 1) & (l[i] != TRUTH_OTHER) & (r[i] != TRUTH_OTHER));
}

/* Runs the program; *out: per span, true for the spans that pass. */
static int run_program(struct traceql_view *v, const struct program *p, const uint8_t *active,
                       uint8_t **out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    uint8_t **stack = arena_array(v->arena, uint8_t *, p->stack_max);
    if (!stack)
        return arena_full(v, err);
    memset(stack, 0, p->stack_max * sizeof *stack);
    uint32_t top = 0;
    int rc = 0;
    for (uint32_t i = 0; i < p->step_count && rc == 0; i++) {
        const struct step *s = &p->steps[i];
        bool pushes = s->kind < STEP_AND;
        if (pushes && !stack[top] && !(stack[top] = arena_alloc(v->arena, spans)))
            return arena_full(v, err);
        if (pushes)
            memset(stack[top], s->kind == STEP_CONST && s->b, spans);
        switch (s->kind) {
        case STEP_CONST:
            break;
        case STEP_COMPARE:
            rc = truth_compare(v, s, stack[top], err);
            break;
        case STEP_ATTR:
            rc = truth_attr(v, s, stack[top], err);
            break;
        case STEP_ROW:
            rc = step_row(v, s, active, stack[top], err);
            break;
        case STEP_AND:
            step_and(stack[top - 2], stack[top - 1], spans);
            break;
        case STEP_OR:
            step_or(stack[top - 2], stack[top - 1], spans);
            break;
        case STEP_NOT:
            rc = step_not(v, s, active, stack[top - 1], err);
            break;
        }
        top += pushes;
        top -= s->kind == STEP_AND || s->kind == STEP_OR;
    }
    assert(rc < 0 || top == 1);
    *out = stack[0];
    return rc;
}

/* ---- spansets ---- */

/* Spans, those of one trace together, traces ascending; inside a trace in the order of the result.
 */
struct list {
    uint32_t *spans;
    uint32_t count;
};

static int list_new(struct traceql_view *v, uint32_t count, struct list *out, struct err *err)
{
    out->count = 0;
    out->spans = arena_array(v->arena, uint32_t, count);
    return out->spans ? 0 : arena_full(v, err);
}

static int eval_filter(struct traceql_view *v, const struct spanset *s, const struct list *in,
                       struct list *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    const struct program *p = plan_program(v->eval->plan, s);
    const uint8_t *active = v->candidates;
    uint8_t *truth = NULL;
    assert(p);
    if (in) {
        uint8_t *only = arena_zalloc(v->arena, spans);
        if (!only)
            return arena_full(v, err);
        for (uint32_t i = 0; i < in->count; i++)
            only[in->spans[i]] = 1;
        active = only;
    }
    int rc = run_program(v, p, active, &truth, err);
    rc = rc < 0 ? rc : list_new(v, in ? in->count : spans, out, err);
    if (rc < 0)
        return rc;
    /* Written always, counted when it holds: no branch to mispredict. */
    for (uint32_t i = 0; in && i < in->count; i++) {
        out->spans[out->count] = in->spans[i];
        out->count += truth[in->spans[i]] == TRUTH_TRUE;
    }
    for (uint32_t i = 0; !in && i < spans; i++) {
        out->spans[out->count] = i;
        out->count += (truth[i] == TRUTH_TRUE) & active[i];
    }
    return 0;
}

/* The part of the list that belongs to the trace, from *at on. */
static struct list list_of_trace(const struct traceql_view *v, const struct list *l, uint32_t trace,
                                 uint32_t *at)
{
    uint32_t from = *at;
    while (*at < l->count && v->batch->span_trace[l->spans[*at]] == trace)
        (*at)++;
    return (struct list){l->spans + from, *at - from};
}

/* Appends `first`, then what of `second` is not in it. mark is a byte a span, all zero. */
static void append_union(const struct list *first, const struct list *second, uint8_t *mark,
                         struct list *out)
{
    for (uint32_t i = 0; i < first->count; i++) {
        mark[first->spans[i]] = 1;
        out->spans[out->count++] = first->spans[i];
    }
    for (uint32_t i = 0; i < second->count; i++) {
        if (!mark[second->spans[i]])
            out->spans[out->count++] = second->spans[i];
    }
    for (uint32_t i = 0; i < first->count; i++)
        mark[first->spans[i]] = 0;
}

/* Per trace: `&&` when both sides have a span, `||` when either has. The smaller side comes first
 * when it is the left one, else the right side does. */
static int unite(struct traceql_view *v, bool both, const struct list *l, const struct list *r,
                 struct list *out, struct err *err)
{
    uint8_t *mark = arena_zalloc(v->arena, v->batch->counts[TRACEQL_LEVEL_SPAN]);
    if (!mark)
        return arena_full(v, err);
    int rc = list_new(v, l->count + r->count, out, err);
    const uint32_t *trace = v->batch->span_trace;
    for (uint32_t i = 0, k = 0; rc == 0 && (i < l->count || k < r->count);) {
        uint32_t a = i < l->count ? trace[l->spans[i]] : UINT32_MAX;
        uint32_t b = k < r->count ? trace[r->spans[k]] : UINT32_MAX;
        uint32_t t = a < b ? a : b;
        struct list lt = list_of_trace(v, l, t, &i), rt = list_of_trace(v, r, t, &k);
        if (both && (lt.count == 0 || rt.count == 0))
            continue;
        if (lt.count < rt.count)
            append_union(&lt, &rt, mark, out);
        else
            append_union(&rt, &lt, mark, out);
    }
    return rc;
}

static int eval_pipeline(struct traceql_view *v, const struct pipeline *p, const struct list *in,
                         struct list *out, struct err *err);

/* in NULL: all candidates. */
static int eval_spanset(struct traceql_view *v, const struct spanset *s, const struct list *in,
                        struct list *out, struct err *err)
{
    struct list l, r;
    int rc;
    switch (s->kind) {
    case SPANSET_FILTER:
        return eval_filter(v, s, in, out, err);
    case SPANSET_OP:
        rc = eval_spanset(v, s->lhs, in, &l, err);
        rc = rc < 0 ? rc : eval_spanset(v, s->rhs, in, &r, err);
        return rc < 0 ? rc : unite(v, s->op == SPANSET_AND, &l, &r, out, err);
    case SPANSET_PIPELINE:
        return eval_pipeline(v, s->pipeline, in, out, err);
    }
    return 0;
}

static int eval_pipeline(struct traceql_view *v, const struct pipeline *p, const struct list *in,
                         struct list *out, struct err *err)
{
    struct list current = {0};
    const struct list *from = in;
    for (const struct stage *s = p->first; s; s = s->next) {
        struct list next;
        assert(s->kind == STAGE_SPANSET); /* the planner marks all others as unsupported */
        int rc = eval_spanset(v, s->spanset, from, &next, err);
        if (rc < 0)
            return rc;
        current = next;
        from = &current;
    }
    *out = current;
    return 0;
}

/* ---- results ---- */

static int group_by_trace(struct traceql_view *v, const struct list *l, struct traceql_result *out,
                          struct err *err)
{
    uint32_t traces = 0;
    const uint32_t *trace = v->batch->span_trace;
    for (uint32_t i = 0; i < l->count; i++)
        traces += i == 0 || trace[l->spans[i]] != trace[l->spans[i - 1]];
    struct traceql_match *m = arena_array(v->arena, struct traceql_match, traces);
    if (!m)
        return arena_full(v, err);
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (n == 0 || trace[l->spans[i]] != m[n - 1].trace)
            m[n++] = (struct traceql_match){.trace = trace[l->spans[i]], .first = i};
        m[n - 1].count++;
    }
    *out = (struct traceql_result){
        .traces = m, .trace_count = traces, .spans = l->spans, .span_count = l->count, .view = v};
    return 0;
}

int traceql_eval_batch(struct traceql_eval *e, const struct traceql_batch *batch, struct arena *a,
                       struct traceql_result *out, struct err *err)
{
    struct traceql_view *v = arena_zalloc(a, sizeof *v);
    if (!v)
        return arena_err(a, err, "the evaluation of a batch");
    v->eval = e;
    v->batch = batch;
    v->arena = a;
    v->scratch.arena = a;
    *out = (struct traceql_result){.view = v};
    struct list matches = {0};
    if (e->plan->nothing || batch->counts[TRACEQL_LEVEL_SPAN] == 0)
        return 0;
    int rc = view_build(v, err);
    rc = rc < 0 ? rc : eval_pipeline(v, e->query->pipeline, NULL, &matches, err);
    return rc < 0 ? rc : group_by_trace(v, &matches, out, err);
}

/* ---- pruning ---- */

static bool pools(const struct traceql_eval *e, const struct traceql_condition *c, size_t field,
                  bool generic)
{
    return generic ? e->plan->fields[c->field].level == e->plan->fields[field].level
                   : c->field == field;
}

bool traceql_accepts_strings(const struct traceql_eval *e, size_t field, bool generic,
                             const struct slice *values, uint32_t count)
{
    for (uint32_t i = 0; i < e->plan->condition_count; i++) {
        const struct filter *f = &e->filters[i];
        if (!pools(e, f->condition, field, generic))
            continue;
        if (f->is_id || f->predicate.op == TRACEQL_OP_NONE)
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
        if (p->op == TRACEQL_OP_NONE)
            return true;
        bool number = p->literal.type == TRACEQL_INT ||
                      (!generic && p->literal.type != TRACEQL_STRING &&
                       p->literal.type != TRACEQL_BOOL && p->literal.type != TRACEQL_NIL);
        if (number && range_may_hold(p->op, min, max, value_number(&p->literal)))
            return true;
    }
    return false;
}
