/* Which values a query asks storage for. The rules are Tempo's, and users see their effects:
 * `{ !(span.a = 1) }` finds nothing, because only spans with a = 1 are looked at, and
 * `{ 5 < span.a }` finds nothing, because the operator is not turned around. README.md lists them.
 */
#include "base/vec.h"
#include "traceql/plan.h"
#include "traceql/traceql_limits.h"
#include "traceql/value.h"

static bool attr_same(const struct expr_attr *a, const struct expr_attr *b)
{
    return a->scope == b->scope && a->intrinsic == b->intrinsic && a->parent == b->parent &&
           slice_eq(a->name, b->name);
}

static int add(struct wants *w, struct want want, struct err *err)
{
    if (w->count >= TRACEQL_LIMIT_CONDITIONS)
        return err_set(err, ERR_INVALID, "query with more than %d conditions",
                       TRACEQL_LIMIT_CONDITIONS);
    if (w->count == w->cap && !vec_grow_to((void **)&w->at, &w->cap, w->count, 1, sizeof *w->at))
        return err_set(err, ERR_NOMEM, "no memory for conditions");
    w->at[w->count++] = want;
    return 0;
}

static int add_opless(struct wants *w, const struct expr_attr *attr, struct err *err)
{
    return add(w, (struct want){.attr = *attr}, err);
}

/* attr op literal, whichever of them stands left. */
static int add_compared(struct wants *w, const struct expr *e, const struct expr *attr,
                        const struct expr *literal, struct err *err)
{
    bool everything =
        !traceql_op_compares(e->op) || (e->op == TRACEQL_OP_NE && literal->type == TRACEQL_NIL);
    if (everything)
        return add_opless(w, &attr->attr, err);
    return add(w, (struct want){.attr = attr->attr, .op = e->op, .literal = literal->literal}, err);
}

static int walk_expr(struct wants *w, const struct expr *e, struct err *err)
{
    if (e->kind == EXPR_ATTR)
        return add_opless(w, &e->attr, err);
    if (e->kind == EXPR_UNARY)
        return walk_expr(w, e->rhs, err);
    if (e->kind == EXPR_LITERAL)
        return 0;
    const struct expr *l = e->lhs, *r = e->rhs;
    if (l->kind == EXPR_ATTR && r->kind == EXPR_LITERAL)
        return add_compared(w, e, l, r, err);
    if (l->kind == EXPR_LITERAL && r->kind == EXPR_ATTR)
        return add_compared(w, e, r, l, err);
    int rc = walk_expr(w, l, err);
    rc = rc < 0 ? rc : walk_expr(w, r, err);
    /* Only where the left side is an expression itself: `{ span.a || span.b }` needs both. */
    if (e->op == TRACEQL_OP_OR && l->kind != EXPR_ATTR && l->kind != EXPR_LITERAL)
        w->all = false;
    return rc;
}

/* `{}` wants every span: their start times, unless something is fetched of all of them already. */
static int walk_filter(struct wants *w, const struct expr *e, struct err *err)
{
    if (e->kind != EXPR_LITERAL)
        return walk_expr(w, e, err);
    if (e->type != TRACEQL_BOOL || !e->literal.b)
        return 0;
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->at[i].op == TRACEQL_OP_NONE && w->at[i].attr.intrinsic != TRACEQL_ATTRIBUTE)
            return 0;
    }
    return add_opless(w, &(struct expr_attr){.intrinsic = TRACEQL_SPAN_START}, err);
}

static int walk_pipeline(struct wants *w, const struct pipeline *p, struct err *err);

/* The numbers that an operator compares, for every span that has them. */
static int want_numbers(struct wants *w, enum spanset_op op, struct err *err)
{
    struct want numbers[] = {{.attr.intrinsic = TRACEQL_NESTED_SET_LEFT, .structural = true},
                             {.attr.intrinsic = TRACEQL_NESTED_SET_RIGHT, .structural = true},
                             {.attr.intrinsic = TRACEQL_NESTED_SET_PARENT, .structural = true}};
    enum spanset_relation relation = spanset_op_relation(op);
    int rc = 0;
    if (relation != RELATION_SIBLING)
        rc = add(w, numbers[0], err);
    if (rc == 0 && (relation == RELATION_DESCENDANT || relation == RELATION_ANCESTOR))
        return add(w, numbers[1], err);
    return rc < 0 ? rc : add(w, numbers[2], err);
}

static int walk_spanset(struct wants *w, const struct spanset *s, struct err *err)
{
    int rc = 0;
    switch (s->kind) {
    case SPANSET_FILTER:
        return walk_filter(w, s->filter, err);
    case SPANSET_OP:
        if (s->op != SPANSET_AND && s->op != SPANSET_OR)
            rc = want_numbers(w, s->op, err);
        rc = rc < 0 ? rc : walk_spanset(w, s->lhs, err);
        rc = rc < 0 ? rc : walk_spanset(w, s->rhs, err);
        w->all = false;
        return rc;
    case SPANSET_PIPELINE:
        return walk_pipeline(w, s->pipeline, err);
    }
    return 0;
}

static int walk_scalar(struct wants *w, const struct scalar *s, struct err *err)
{
    int rc;
    switch (s->kind) {
    case SCALAR_LITERAL:
        return 0;
    case SCALAR_AGGREGATE:
        w->all = false;
        return s->arg ? walk_expr(w, s->arg, err) : 0;
    case SCALAR_BINARY:
        rc = walk_scalar(w, s->lhs, err);
        return rc < 0 ? rc : walk_scalar(w, s->rhs, err);
    }
    return 0;
}

static int walk_stage(struct wants *w, const struct stage *s, struct err *err)
{
    int rc;
    switch (s->kind) {
    case STAGE_SPANSET:
        return walk_spanset(w, s->spanset, err);
    case STAGE_SCALAR_FILTER:
        rc = walk_scalar(w, s->lhs, err);
        return rc < 0 ? rc : walk_scalar(w, s->rhs, err);
    case STAGE_BY:
        w->all = false;
        return walk_expr(w, s->by, err);
    case STAGE_COALESCE:
    case STAGE_SELECT: /* fetched in the second pass, for the spans that are returned */
        return 0;
    }
    return 0;
}

static int walk_pipeline(struct wants *w, const struct pipeline *p, struct err *err)
{
    int rc = 0;
    for (const struct stage *s = p->first; s && rc == 0; s = s->next)
        rc = walk_stage(w, s, err);
    return rc;
}

/* ---- duplicates ---- */

static bool want_same(const struct want *a, const struct want *b)
{
    return a->op == b->op && (a->op == TRACEQL_OP_NONE || value_same(&a->literal, &b->literal));
}

/* `= x` and `!= x`: together every value. */
static bool want_complement(const struct want *a, const struct want *b)
{
    return ((a->op == TRACEQL_OP_EQ && b->op == TRACEQL_OP_NE) ||
            (a->op == TRACEQL_OP_NE && b->op == TRACEQL_OP_EQ)) &&
           value_same(&a->literal, &b->literal);
}

static bool wants_absence(const struct want *w)
{
    return w->op == TRACEQL_OP_EQ && w->literal.type == TRACEQL_NIL;
}

/* Merges b into a when the two can be one. */
static bool want_merge(struct want *a, const struct want *b)
{
    if (!attr_same(&a->attr, &b->attr))
        return false;
    /* That an attribute is missing is asked for beside what its values are. */
    if (wants_absence(a) || wants_absence(b))
        return want_same(a, b);
    if (!want_same(a, b)) {
        if (a->op != TRACEQL_OP_NONE && b->op != TRACEQL_OP_NONE && !want_complement(a, b))
            return false;
        a->op = TRACEQL_OP_NONE;
    }
    a->structural = a->structural && b->structural;
    return true;
}

static void reduce(struct wants *w)
{
    for (uint32_t i = 0; i < w->count; i++) {
        uint32_t j = i + 1;
        while (j < w->count) {
            enum traceql_op before = w->at[i].op;
            if (!want_merge(&w->at[i], &w->at[j])) {
                j++;
                continue;
            }
            memmove(w->at + j, w->at + j + 1, (w->count - j - 1) * sizeof *w->at);
            w->count--;
            /* It takes in more than before: those already passed over are asked again. */
            if (w->at[i].op != before)
                j = i + 1;
        }
    }
}

int wants_collect(const struct traceql_query *q, struct wants *out, struct err *err)
{
    *out = (struct wants){.all = true};
    int rc = walk_pipeline(out, q->pipeline, err);
    if (rc < 0)
        return rc;
    if (!out->all)
        reduce(out);
    /* `.x` is looked for on two levels, so neither can be required. */
    for (uint32_t i = 0; i < out->count; i++) {
        const struct expr_attr *a = &out->at[i].attr;
        if (a->intrinsic == TRACEQL_ATTRIBUTE && a->scope == EXPR_SCOPE_NONE)
            out->all = false;
    }
    return 0;
}

/* ---- the second pass ---- */

static int add_once(struct wants *w, const struct expr_attr *attr, struct err *err)
{
    for (uint32_t i = 0; i < w->count; i++) {
        if (attr_same(&w->at[i].attr, attr))
            return 0;
    }
    return add_opless(w, attr, err);
}

static int selected(struct wants *w, const struct pipeline *p, struct err *err);

static int selected_in(struct wants *w, const struct spanset *s, struct err *err)
{
    if (s->kind == SPANSET_FILTER)
        return 0;
    if (s->kind == SPANSET_PIPELINE)
        return selected(w, s->pipeline, err);
    int rc = selected_in(w, s->lhs, err);
    return rc < 0 ? rc : selected_in(w, s->rhs, err);
}

static int selected(struct wants *w, const struct pipeline *p, struct err *err)
{
    int rc = 0;
    for (const struct stage *s = p->first; s && rc == 0; s = s->next) {
        if (s->kind == STAGE_SPANSET)
            rc = selected_in(w, s->spanset, err);
        for (uint32_t i = 0; s->kind == STAGE_SELECT && i < s->attr_count && rc == 0; i++)
            rc = add_once(w, &s->attrs[i]->attr, err);
    }
    return rc;
}

int wants_second(const struct traceql_query *q, struct wants *out, struct err *err)
{
    *out = (struct wants){0};
    return selected(out, q->pipeline, err);
}

void wants_clear(struct wants *w)
{
    free(w->at);
    *w = (struct wants){0};
}
