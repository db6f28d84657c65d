/* The plan: fields, conditions, and the filters flattened into steps.
 *
 * An operand `attr op literal` becomes one step over whole columns. What is left (arithmetic,
 * attribute against attribute, a negated operand of a comparison) is evaluated span by span, and
 * only for the spans that the conditions leave over. */
#include "traceql/plan.h"

#include "base/vec.h"
#include "traceql/traceql_limits.h"

struct planner {
    struct arena *arena;
    struct err *err;
    struct plan *plan;
    VEC(struct traceql_field) fields;
    VEC(bool) structural; /* per field */
    VEC(struct traceql_condition) conditions;
    VEC(struct slice) patterns;
    VEC(struct step) steps; /* of the program at hand */
    uint32_t stack;         /* depth after the steps so far */
    uint32_t stack_max;
    VEC(struct program) programs;
};

static int no_memory(struct planner *p)
{
    return err_set(p->err, ERR_NOMEM, "no memory for the query's plan");
}

static int arena_full(struct planner *p)
{
    return arena_err(p->arena, p->err, "the query's plan");
}

/* ---- fields ---- */

static enum traceql_level scope_level(enum expr_scope s)
{
    switch (s) {
    case EXPR_SCOPE_RESOURCE:
        return TRACEQL_LEVEL_RESOURCE;
    case EXPR_SCOPE_EVENT:
        return TRACEQL_LEVEL_EVENT;
    case EXPR_SCOPE_LINK:
        return TRACEQL_LEVEL_LINK;
    case EXPR_SCOPE_INSTRUMENTATION:
        return TRACEQL_LEVEL_SCOPE;
    default:
        return TRACEQL_LEVEL_SPAN;
    }
}

static struct traceql_field field_of(const struct expr_attr *a, enum traceql_level level)
{
    if (a->intrinsic == TRACEQL_ATTRIBUTE)
        return (struct traceql_field){.level = level, .name = a->name};
    return (struct traceql_field){.level = traceql_intrinsic_level(a->intrinsic),
                                  .intrinsic = a->intrinsic,
                                  .name = slice_cstr(traceql_intrinsic_text(a->intrinsic))};
}

static bool find_field(const struct planner *p, const struct traceql_field *f, uint32_t *out)
{
    for (uint32_t i = 0; i < p->fields.count; i++) {
        const struct traceql_field *g = &p->fields.at[i];
        if (g->level == f->level && g->intrinsic == f->intrinsic && slice_eq(g->name, f->name)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static int add_condition(struct planner *p, const struct want *w, enum traceql_level level)
{
    struct traceql_field f = field_of(&w->attr, level);
    struct traceql_condition c = {.op = w->op, .literal = w->literal};
    if (!find_field(p, &f, &c.field)) {
        c.field = p->fields.count;
        if (!vec_push(&p->fields, f) || !vec_push(&p->structural, true))
            return no_memory(p);
    }
    p->structural.at[c.field] &= w->structural;
    p->fields.at[c.field].absence |= w->op == TRACEQL_OP_EQ && w->literal.type == TRACEQL_NIL;
    return vec_push(&p->conditions, c) ? 0 : no_memory(p);
}

static int add_conditions(struct planner *p, const struct wants *w)
{
    int rc = 0;
    for (uint32_t i = 0; i < w->count && rc == 0; i++) {
        const struct expr_attr *a = &w->at[i].attr;
        rc = add_condition(p, &w->at[i], scope_level(a->scope));
        if (rc == 0 && a->intrinsic == TRACEQL_ATTRIBUTE && a->scope == EXPR_SCOPE_NONE)
            rc = add_condition(p, &w->at[i], TRACEQL_LEVEL_RESOURCE);
    }
    return rc;
}

/* Is the field only there to be missed (`= nil`)? */
static bool not_wanted(const struct planner *p, uint32_t field)
{
    for (uint32_t i = 0; i < p->conditions.count; i++) {
        const struct traceql_condition *c = &p->conditions.at[i];
        if (c->field == field && !traceql_wants_absence(c))
            return false;
    }
    return true;
}

static void count_names(struct planner *p)
{
    for (uint32_t i = 0; i < p->fields.count; i++) {
        bool again = not_wanted(p, i);
        for (uint32_t j = 0; j < i && !again; j++)
            again = p->fields.at[i].level == p->fields.at[j].level &&
                    slice_eq(p->fields.at[i].name, p->fields.at[j].name);
        p->plan->names[p->fields.at[i].level] += !again;
    }
}

/* ---- operands ---- */

/* Adds the fields of a level that have this name, attributes before intrinsics. */
static void lookup_by_name(const struct planner *p, struct slice name, enum traceql_level level,
                           uint32_t *fields, uint32_t *count)
{
    for (int intrinsic = 0; intrinsic < 2; intrinsic++) {
        for (uint32_t i = 0; i < p->fields.count && *count < TRACEQL_LIMIT_LOOKUPS; i++) {
            const struct traceql_field *f = &p->fields.at[i];
            bool seen = false;
            for (uint32_t j = 0; j < *count; j++)
                seen = seen || fields[j] == i;
            if (!seen && f->level == level && (f->intrinsic != TRACEQL_ATTRIBUTE) == intrinsic &&
                slice_eq(f->name, name) && !p->structural.at[i])
                fields[(*count)++] = i;
        }
    }
}

/* A scoped attribute is found in its own place only. An unscoped one, and an intrinsic that is not
 * visible, are looked for by name: span, resource, event, link, instrumentation. */
static int resolve(struct planner *p, struct expr *e)
{
    static const enum traceql_level by_name[] = {TRACEQL_LEVEL_SPAN, TRACEQL_LEVEL_RESOURCE,
                                                 TRACEQL_LEVEL_EVENT, TRACEQL_LEVEL_LINK,
                                                 TRACEQL_LEVEL_SCOPE};
    uint32_t fields[TRACEQL_LIMIT_LOOKUPS], count = 0;
    struct traceql_field f = field_of(&e->attr, scope_level(e->attr.scope));
    enum traceql_intrinsic in = e->attr.intrinsic;
    bool scoped = in == TRACEQL_ATTRIBUTE && e->attr.scope != EXPR_SCOPE_NONE;
    bool nested = in == TRACEQL_NESTED_SET_LEFT || in == TRACEQL_NESTED_SET_RIGHT ||
                  in == TRACEQL_NESTED_SET_PARENT;
    if ((scoped || in != TRACEQL_ATTRIBUTE) && find_field(p, &f, &fields[0]))
        count = 1;
    for (size_t i = 0; i < sizeof by_name / sizeof by_name[0] && !scoped && !nested; i++)
        lookup_by_name(p, f.name, by_name[i], fields, &count);
    struct expr_lookup *l = arena_alloc(p->arena, sizeof *l + count * sizeof l->fields[0]);
    if (!l)
        return arena_full(p);
    l->count = count;
    memcpy(l->fields, fields, count * sizeof fields[0]);
    e->lookup = l;
    return 0;
}

static int add_pattern(struct planner *p, struct slice text, uint32_t *out)
{
    for (uint32_t i = 0; i < p->patterns.count; i++) {
        if (slice_eq(p->patterns.at[i], text)) {
            *out = i;
            return 0;
        }
    }
    *out = p->patterns.count;
    return vec_push(&p->patterns, text) ? 0 : no_memory(p);
}

static bool is_regex(enum traceql_op op)
{
    return op == TRACEQL_OP_RE || op == TRACEQL_OP_NRE;
}

/* Resolves attributes and patterns everywhere below e. */
static int prepare(struct planner *p, struct expr *e)
{
    int rc;
    switch (e->kind) {
    case EXPR_LITERAL:
        return 0;
    case EXPR_ATTR:
        return resolve(p, e);
    case EXPR_UNARY:
        return prepare(p, e->rhs);
    case EXPR_BINARY:
        rc = prepare(p, e->lhs);
        rc = rc < 0 ? rc : prepare(p, e->rhs);
        if (rc < 0 || !is_regex(e->op))
            return rc;
        if (e->rhs->kind == EXPR_LITERAL && e->rhs->type == TRACEQL_STRING)
            return add_pattern(p, e->rhs->literal.str, &e->pattern);
        p->plan->refused = e;
    }
    return 0;
}

/* ---- steps ---- */

static int push_step(struct planner *p, struct step s, int stack_change)
{
    p->stack = (uint32_t)((int)p->stack + stack_change);
    if (p->stack > p->stack_max)
        p->stack_max = p->stack;
    return vec_push(&p->steps, s) ? 0 : no_memory(p);
}

/* The operator for the operands the other way round. */
static enum traceql_op mirror(enum traceql_op op)
{
    switch (op) {
    case TRACEQL_OP_LT:
        return TRACEQL_OP_GT;
    case TRACEQL_OP_LE:
        return TRACEQL_OP_GE;
    case TRACEQL_OP_GT:
        return TRACEQL_OP_LT;
    case TRACEQL_OP_GE:
        return TRACEQL_OP_LE;
    default:
        return op;
    }
}

/* attr op literal as one step over columns. With the literal on the left it is turned around, but
 * not where a missing attribute makes that differ: `"x" != attr` is true of it, `attr != "x"` is
 * not. */
static bool compare_step(const struct expr *e, struct step *out)
{
    const struct expr *l = e->lhs, *r = e->rhs;
    if (e->kind != EXPR_BINARY || !traceql_op_compares(e->op))
        return false;
    const struct expr *nil_of = expr_nil_test(e);
    if (nil_of) {
        *out = (struct step){.kind = e->op == TRACEQL_OP_EQ ? STEP_ABSENT : STEP_COMPARE,
                             .op = e->op,
                             .expr = nil_of,
                             .lookup = nil_of->lookup,
                             .literal = {.type = TRACEQL_NIL}};
        return true;
    }
    bool attr_left = l->kind == EXPR_ATTR && r->kind == EXPR_LITERAL;
    bool attr_right = l->kind == EXPR_LITERAL && r->kind == EXPR_ATTR;
    if (!attr_left &&
        (!attr_right || l->type == TRACEQL_NIL || e->op == TRACEQL_OP_NE || is_regex(e->op)))
        return false;
    *out = (struct step){.kind = STEP_COMPARE,
                         .op = attr_left ? e->op : mirror(e->op),
                         .lookup = attr_left ? l->lookup : r->lookup,
                         .literal = attr_left ? r->literal : l->literal,
                         .pattern = e->pattern};
    return true;
}

static int compile_expr(struct planner *p, const struct expr *e)
{
    struct step s;
    int rc;
    if (e->kind == EXPR_LITERAL && e->type == TRACEQL_BOOL)
        return push_step(p, (struct step){.kind = STEP_CONST, .b = e->literal.b}, 1);
    if (e->kind == EXPR_ATTR)
        return push_step(p, (struct step){.kind = STEP_ATTR, .lookup = e->lookup}, 1);
    if (e->kind == EXPR_UNARY && e->op == TRACEQL_OP_NOT) {
        rc = compile_expr(p, e->rhs);
        return rc < 0 ? rc : push_step(p, (struct step){.kind = STEP_NOT, .expr = e}, 0);
    }
    if (e->kind == EXPR_BINARY && (e->op == TRACEQL_OP_AND || e->op == TRACEQL_OP_OR)) {
        enum step_kind kind = e->op == TRACEQL_OP_AND ? STEP_AND : STEP_OR;
        rc = compile_expr(p, e->lhs);
        rc = rc < 0 ? rc : compile_expr(p, e->rhs);
        return rc < 0 ? rc : push_step(p, (struct step){.kind = kind}, -1);
    }
    if (e->kind == EXPR_BINARY && compare_step(e, &s))
        return push_step(p, s, 1);
    return push_step(p, (struct step){.kind = STEP_ROW, .expr = e}, 1);
}

static int compile_filter(struct planner *p, struct spanset *f)
{
    int rc = prepare(p, f->filter);
    p->steps.count = 0;
    p->stack = p->stack_max = 0;
    rc = rc < 0 ? rc : compile_expr(p, f->filter);
    if (rc < 0)
        return rc;
    struct program prog = {.filter = f,
                           .steps = arena_array(p->arena, struct step, p->steps.count),
                           .step_count = p->steps.count,
                           .stack_max = p->stack_max};
    if (!prog.steps)
        return arena_full(p);
    memcpy(prog.steps, p->steps.at, p->steps.count * sizeof *prog.steps);
    if (p->plan->stack_max < prog.stack_max)
        p->plan->stack_max = prog.stack_max;
    return vec_push(&p->programs, prog) ? 0 : no_memory(p);
}

/* ---- pipelines ---- */

static int plan_pipeline(struct planner *p, const struct pipeline *pipeline);

static int plan_spanset(struct planner *p, struct spanset *s)
{
    int rc;
    switch (s->kind) {
    case SPANSET_FILTER:
        return compile_filter(p, s);
    case SPANSET_OP:
        rc = plan_spanset(p, s->lhs);
        return rc < 0 ? rc : plan_spanset(p, s->rhs);
    case SPANSET_PIPELINE:
        return plan_pipeline(p, s->pipeline);
    }
    return 0;
}

static int plan_scalar(struct planner *p, const struct scalar *s)
{
    int rc;
    switch (s->kind) {
    case SCALAR_LITERAL:
        return 0;
    case SCALAR_AGGREGATE:
        return s->arg ? prepare(p, s->arg) : 0;
    case SCALAR_BINARY:
        rc = plan_scalar(p, s->lhs);
        return rc < 0 ? rc : plan_scalar(p, s->rhs);
    }
    return 0;
}

static int plan_stage(struct planner *p, const struct stage *s)
{
    int rc;
    switch (s->kind) {
    case STAGE_SPANSET:
        return plan_spanset(p, s->spanset);
    case STAGE_SCALAR_FILTER:
        rc = plan_scalar(p, s->lhs);
        return rc < 0 ? rc : plan_scalar(p, s->rhs);
    case STAGE_BY:
        return prepare(p, s->by);
    case STAGE_COALESCE:
    case STAGE_SELECT:
        return 0;
    }
    return 0;
}

static int plan_pipeline(struct planner *p, const struct pipeline *pipeline)
{
    int rc = 0;
    for (const struct stage *s = pipeline->first; s && rc == 0; s = s->next)
        rc = plan_stage(p, s);
    return rc;
}

static bool never_matches(const struct spanset *s)
{
    if (s->kind == SPANSET_OP) {
        bool l = never_matches(s->lhs), r = never_matches(s->rhs);
        if (s->op == SPANSET_OR)
            return l && r;
        /* A negated operator with nothing on its left keeps all of its right. */
        bool negated = s->op != SPANSET_AND && spanset_op_form(s->op) == FORM_NOT;
        return r || (l && !negated);
    }
    return s->kind == SPANSET_FILTER && s->filter->kind == EXPR_LITERAL &&
           s->filter->type == TRACEQL_BOOL && !s->filter->literal.b;
}

/* ---- the whole ---- */

static int add_condition_patterns(struct planner *p)
{
    uint32_t ignored;
    int rc = 0;
    for (uint32_t i = 0; i < p->conditions.count && rc == 0; i++) {
        const struct traceql_condition *c = &p->conditions.at[i];
        if (is_regex(c->op) && c->literal.type == TRACEQL_STRING)
            rc = add_pattern(p, c->literal.str, &ignored);
    }
    return rc;
}

static void *copy_of(struct arena *a, const void *at, size_t count, size_t size)
{
    void *to = arena_alloc_array(a, count, size);
    if (to && count)
        memcpy(to, at, count * size);
    return to;
}

static int keep(struct planner *p)
{
    struct plan *plan = p->plan;
    plan->fields = copy_of(p->arena, p->fields.at, p->fields.count, sizeof *plan->fields);
    plan->conditions =
        copy_of(p->arena, p->conditions.at, p->conditions.count, sizeof *plan->conditions);
    plan->programs = copy_of(p->arena, p->programs.at, p->programs.count, sizeof *plan->programs);
    plan->patterns = copy_of(p->arena, p->patterns.at, p->patterns.count, sizeof *plan->patterns);
    plan->structural =
        copy_of(p->arena, p->structural.at, p->structural.count, sizeof *plan->structural);
    if (!plan->fields || !plan->structural || !plan->conditions || !plan->programs ||
        !plan->patterns)
        return arena_full(p);
    plan->field_count = p->fields.count;
    plan->condition_count = p->conditions.count;
    plan->program_count = p->programs.count;
    plan->pattern_count = p->patterns.count;
    return 0;
}

static void planner_clear(struct planner *p)
{
    vec_free(&p->fields);
    vec_free(&p->structural);
    vec_free(&p->conditions);
    vec_free(&p->patterns);
    vec_free(&p->steps);
    vec_free(&p->programs);
}

static int make_plan(struct planner *p, struct traceql_query *q, const struct wants *wants)
{
    p->plan->all = wants->all;
    int rc = add_conditions(p, wants);
    if (rc < 0)
        return rc;
    count_names(p);
    for (const struct stage *s = q->pipeline->first; s; s = s->next)
        p->plan->nothing =
            p->plan->nothing || (s->kind == STAGE_SPANSET && never_matches(s->spanset));
    rc = plan_pipeline(p, q->pipeline);
    return rc < 0 ? rc : add_condition_patterns(p);
}

static int plan_first(struct traceql_query *q, const struct wants *wants, struct arena *a,
                      struct err *err)
{
    struct planner p = {.arena = a, .err = err};
    p.plan = q->plan = arena_zalloc(a, sizeof *q->plan);
    if (!q->plan)
        return arena_full(&p);
    int rc = make_plan(&p, q, wants);
    rc = rc < 0 ? rc : keep(&p);
    planner_clear(&p);
    return rc;
}

static int plan_second(struct traceql_query *q, const struct wants *wants, struct arena *a,
                       struct err *err)
{
    if (wants->count == 0)
        return 0;
    struct planner p = {.arena = a, .err = err};
    struct traceql_query *second = arena_zalloc(a, sizeof *second);
    p.plan = arena_zalloc(a, sizeof *p.plan);
    if (!second || !p.plan)
        return arena_full(&p);
    second->plan = p.plan;
    int rc = add_conditions(&p, wants);
    rc = rc < 0 ? rc : keep(&p);
    planner_clear(&p);
    if (rc == 0)
        q->second = second;
    return rc;
}

int traceql_plan(struct traceql_query *q, struct arena *a, struct err *err)
{
    struct wants first = {0}, second = {0};
    int rc = wants_collect(q, &first, err);
    rc = rc < 0 ? rc : wants_second(q, &second, err);
    rc = rc < 0 ? rc : plan_first(q, &first, a, err);
    rc = rc < 0 ? rc : plan_second(q, &second, a, err);
    wants_clear(&first);
    wants_clear(&second);
    return rc;
}

const struct program *plan_program(const struct plan *p, const struct spanset *filter)
{
    for (uint32_t i = 0; i < p->program_count; i++) {
        if (p->programs[i].filter == filter)
            return &p->programs[i];
    }
    return NULL;
}

uint32_t plan_pattern(const struct plan *p, struct slice pattern)
{
    for (uint32_t i = 0; i < p->pattern_count; i++) {
        if (slice_eq(p->patterns[i], pattern))
            return i;
    }
    return UINT32_MAX;
}

/* ---- accessors ---- */

size_t traceql_field_count(const struct traceql_query *q)
{
    return q->plan->field_count;
}

const struct traceql_field *traceql_field_at(const struct traceql_query *q, size_t i)
{
    return &q->plan->fields[i];
}

size_t traceql_condition_count(const struct traceql_query *q)
{
    return q->plan->condition_count;
}

const struct traceql_condition *traceql_condition_at(const struct traceql_query *q, size_t i)
{
    return &q->plan->conditions[i];
}

bool traceql_query_needs_all(const struct traceql_query *q)
{
    return q->plan->all;
}

bool traceql_query_matches_nothing(const struct traceql_query *q)
{
    return q->plan->nothing;
}

const struct traceql_query *traceql_second_pass(const struct traceql_query *q)
{
    return q->second;
}
