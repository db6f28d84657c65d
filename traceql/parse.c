/* Queries: spansets, pipelines, metrics and hints.
 *
 * The reference grammar is LALR(1) and commits early, so what may stand in parentheses depends on
 * what stands first. A group is an E-group when it holds filters and operators between them only,
 * else a P-group (it holds a pipe or a stage). A chain of operators that begins with a filter or an
 * E-group takes nothing else and may be piped on; one that begins with a P-group takes groups only
 * and nothing may follow it. */
#include "traceql/parse.h"

#include <assert.h>

#include "traceql/plan.h"
#include "traceql/traceql_limits.h"
#include "traceql/value.h"

enum mode { MODE_ANY, MODE_EXPR, MODE_GROUPS };

static int no_memory(struct parser *p)
{
    return arena_err(p->arena, p->err, "the query's tree");
}

/* ---- scalar filters: count() > 3 ---- */

static bool starts_scalar(enum token_kind k)
{
    return k == TOKEN_INT || k == TOKEN_FLOAT || k == TOKEN_DURATION || k == TOKEN_SUB ||
           (k >= TOKEN_COUNT && k <= TOKEN_SUM);
}

static int scalar_new(struct parser *p, struct scalar value, struct scalar **out)
{
    if (value.depth > TRACEQL_LIMIT_DEPTH)
        return err_set(p->err, ERR_INVALID, "query nested or chained deeper than %d levels",
                       TRACEQL_LIMIT_DEPTH);
    *out = arena_alloc(p->arena, sizeof **out);
    if (!*out)
        return no_memory(p);
    **out = value;
    return 0;
}

static int parse_aggregate(struct parser *p, struct scalar **out)
{
    static const enum aggregate of_token[] = {AGGREGATE_COUNT, AGGREGATE_AVG, AGGREGATE_MAX,
                                              AGGREGATE_MIN, AGGREGATE_SUM};
    struct scalar s = {.kind = SCALAR_AGGREGATE, .type = TRACEQL_INT, .depth = 1};
    s.aggregate = of_token[parser_kind(p) - TOKEN_COUNT];
    s.arg = NULL;
    parser_next(p);
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    if (rc == 0 && s.aggregate != AGGREGATE_COUNT) {
        rc = parse_expr(p, &s.arg);
        if (rc == 0)
            s.type = s.arg->type;
    }
    if (rc == 0)
        rc = parser_expect(p, TOKEN_CLOSE_PAREN);
    return rc < 0 ? rc : scalar_new(p, s, out);
}

static int parse_scalar(struct parser *p, int precedence_min, struct scalar **out);

/* A number or duration, perhaps with a minus. */
static int parse_number(struct parser *p, struct traceql_value *out)
{
    bool minus = parser_take(p, TOKEN_SUB);
    enum token_kind k = parser_kind(p);
    if ((k != TOKEN_INT && k != TOKEN_FLOAT && k != TOKEN_DURATION) || !parse_literal(p, out))
        return parser_unexpected(p, NULL);
    struct traceql_value v = *out;
    return minus && !value_unary(TRACEQL_OP_NEG, &v, out) ? ERR_INVALID : 0;
}

static int parse_scalar_operand(struct parser *p, struct scalar **out)
{
    enum token_kind k = parser_kind(p);
    if (k >= TOKEN_COUNT && k <= TOKEN_SUM)
        return parse_aggregate(p, out);
    if (parser_take(p, TOKEN_OPEN_PAREN)) {
        int rc = parse_scalar(p, PREC_LOGIC, out);
        return rc < 0 ? rc : parser_take(p, TOKEN_CLOSE_PAREN) ? 0 : parser_unexpected(p, NULL);
    }
    struct scalar s = {.kind = SCALAR_LITERAL, .depth = 1};
    int rc = parse_number(p, &s.literal);
    if (rc < 0)
        return rc;
    s.type = s.literal.type;
    return scalar_new(p, s, out);
}

static int parse_scalar(struct parser *p, int precedence_min, struct scalar **out)
{
    int rc = parser_enter(p);
    if (rc < 0)
        return rc;
    struct scalar *lhs = NULL, *rhs;
    rc = parse_scalar_operand(p, &lhs);
    while (rc == 0) {
        enum traceql_op op = TRACEQL_OP_NONE;
        int precedence = parse_precedence(parser_kind(p), &op);
        if (precedence < PREC_ADD || precedence < precedence_min)
            break;
        parser_next(p);
        rc = parse_scalar(p, precedence + (precedence != PREC_POW), &rhs);
        if (rc == 0) {
            struct scalar s = {.kind = SCALAR_BINARY,
                               .type = traceql_binary_type(op, lhs->type, rhs->type),
                               .depth = 1 + (lhs->depth > rhs->depth ? lhs->depth : rhs->depth),
                               .op = op,
                               .lhs = lhs,
                               .rhs = rhs};
            rc = scalar_new(p, s, &lhs);
        }
    }
    parser_leave(p);
    *out = lhs;
    return rc;
}

/* Is this a comparison between numbers? */
static bool orders(enum token_kind k, enum traceql_op *op)
{
    return parse_precedence(k, op) == PREC_COMPARE && *op != TRACEQL_OP_RE && *op != TRACEQL_OP_NRE;
}

/* in_group: an aggregate that ends a group is a scalar pipeline, `({} | count()) > 3`. That parses
 * in the reference and never validates; nothing is lost by refusing it here with its words. */
static int parse_scalar_filter(struct parser *p, bool in_group, struct stage *out)
{
    out->kind = STAGE_SCALAR_FILTER;
    int rc = parse_scalar(p, PREC_LOGIC, &out->lhs);
    if (rc < 0)
        return rc;
    enum traceql_op op;
    bool compares = orders(parser_kind(p), &op);
    if (!compares && in_group && parser_kind(p) == TOKEN_CLOSE_PAREN)
        return err_set(p->err, ERR_INVALID, "scalar filter lhs of type (%%v) not yet supported");
    if (!compares)
        return parser_unexpected(p, NULL);
    parser_next(p);
    out->op = op;
    return parse_scalar(p, PREC_LOGIC, &out->rhs);
}

/* ---- stages ---- */

static int parse_attr_list(struct parser *p, const char *expecting, struct expr ***out,
                           uint32_t *count)
{
    VEC(struct expr *) list = {0};
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    while (rc == 0) {
        struct expr *e;
        rc = parse_attr(p, &e);
        if (rc == 0 && !vec_push(&list, e))
            rc = err_set(p->err, ERR_NOMEM, "no memory for attributes");
        if (rc < 0 || parser_take(p, TOKEN_CLOSE_PAREN))
            break;
        if (!parser_take(p, TOKEN_COMMA))
            rc = parser_unexpected(p, expecting);
    }
    if (rc == 0) {
        *out = arena_array(p->arena, struct expr *, list.count);
        *count = list.count;
        if (*out)
            memcpy(*out, list.at, list.count * sizeof *list.at);
        else
            rc = no_memory(p);
    }
    vec_free(&list);
    return rc;
}

static int parse_by(struct parser *p, struct stage *out)
{
    out->kind = STAGE_BY;
    parser_next(p);
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    rc = rc < 0 ? rc : parse_expr(p, &out->by);
    return rc < 0 ? rc : parser_take(p, TOKEN_CLOSE_PAREN) ? 0 : parser_unexpected(p, NULL);
}

static int parse_coalesce(struct parser *p, struct stage *out)
{
    out->kind = STAGE_COALESCE;
    parser_next(p);
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    return rc < 0 ? rc : parser_expect(p, TOKEN_CLOSE_PAREN);
}

static int parse_select(struct parser *p, struct stage *out)
{
    out->kind = STAGE_SELECT;
    parser_next(p);
    return parse_attr_list(p, ") or ,", &out->attrs, &out->attr_count);
}

/* The first token behind any opening parentheses. */
static enum token_kind behind_parens(const struct parser *p)
{
    uint32_t i = p->at;
    while (p->tokens->list.at[i].kind == TOKEN_OPEN_PAREN)
        i++;
    return (enum token_kind)p->tokens->list.at[i].kind;
}

static int parse_chain(struct parser *p, int precedence_min, enum mode mode, struct spanset **out,
                       bool *is_group);

/* A stage that begins with a parenthesis is a scalar filter or a spanset; what it is shows behind
 * the parentheses. */
static int parse_stage(struct parser *p, bool in_group, struct stage *out)
{
    bool is_group;
    if (starts_scalar(behind_parens(p)))
        return parse_scalar_filter(p, in_group, out);
    switch (parser_kind(p)) {
    case TOKEN_BY:
        return parse_by(p, out);
    case TOKEN_SELECT:
        return parse_select(p, out);
    case TOKEN_COALESCE:
        return parse_coalesce(p, out);
    case TOKEN_OPEN_BRACE:
    case TOKEN_OPEN_PAREN:
        out->kind = STAGE_SPANSET;
        return parse_chain(p, PREC_LOGIC, MODE_EXPR, &out->spanset, &is_group);
    default:
        return parser_unexpected(p, NULL);
    }
}

static int append_stage(struct parser *p, struct stage value, struct stage ***tail)
{
    struct stage *s = arena_alloc(p->arena, sizeof *s);
    if (!s)
        return no_memory(p);
    *s = value;
    s->next = NULL;
    **tail = s;
    *tail = &s->next;
    return 0;
}

static bool starts_metrics(enum token_kind k)
{
    return k >= TOKEN_RATE && k <= TOKEN_SUM_OVER_TIME;
}

/* The stages behind the first, up to metrics or the end of the group. */
static int parse_stages(struct parser *p, bool in_group, struct stage ***tail)
{
    while (parser_kind(p) == TOKEN_PIPE) {
        parser_next(p);
        if (!in_group && starts_metrics(parser_kind(p)))
            return 0;
        struct stage s = {0};
        int rc = parse_stage(p, in_group, &s);
        rc = rc < 0 ? rc : append_stage(p, s, tail);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- spansets ---- */

static int spanset_new(struct parser *p, struct spanset value, struct spanset **out)
{
    if (value.depth > TRACEQL_LIMIT_DEPTH)
        return err_set(p->err, ERR_INVALID, "query nested or chained deeper than %d levels",
                       TRACEQL_LIMIT_DEPTH);
    *out = arena_alloc(p->arena, sizeof **out);
    if (!*out)
        return no_memory(p);
    **out = value;
    return 0;
}

static int parse_filter(struct parser *p, struct spanset **out)
{
    struct spanset s = {.kind = SPANSET_FILTER, .depth = 1};
    int rc = parser_expect(p, TOKEN_OPEN_BRACE);
    if (rc < 0)
        return rc;
    if (parser_kind(p) == TOKEN_CLOSE_BRACE)
        rc = expr_literal(p->arena, (struct traceql_value){.type = TRACEQL_BOOL, .b = true},
                          &s.filter, p->err);
    else
        rc = parse_expr(p, &s.filter);
    if (rc == 0 && !parser_take(p, TOKEN_CLOSE_BRACE))
        rc = parser_unexpected(p, NULL);
    return rc < 0 ? rc : spanset_new(p, s, out);
}

/* A pipeline as far as its first stage is `first`: the rest of the group. */
static int parse_group_pipeline(struct parser *p, struct stage first, struct spanset **out)
{
    struct spanset s = {.kind = SPANSET_PIPELINE, .depth = 1};
    s.pipeline = arena_zalloc(p->arena, sizeof *s.pipeline);
    if (!s.pipeline)
        return no_memory(p);
    struct stage **tail = &s.pipeline->first;
    int rc = append_stage(p, first, &tail);
    rc = rc < 0 ? rc : parse_stages(p, true, &tail);
    return rc < 0 ? rc : spanset_new(p, s, out);
}

/* Tries a scalar filter where a group may stand as well: `((count()) > 1)`. Returns 1 when it is
 * none, with the parser where it was and *failed_at where the attempt ended. */
static int try_scalar_filter(struct parser *p, struct stage *out, uint32_t *failed_at)
{
    struct err *err = p->err, ignored = {0};
    uint32_t at = p->at, nesting = p->nesting;
    p->err = &ignored;
    int rc = parse_scalar_filter(p, false, out);
    p->err = err;
    if (rc == 0)
        return 0;
    if (rc != ERR_INVALID) {
        if (err)
            *err = ignored;
        return rc;
    }
    *failed_at = p->at;
    p->at = at;
    p->nesting = nesting;
    return 1;
}

static int parse_group(struct parser *p, bool expr_only, struct spanset **out, bool *is_group)
{
    enum token_kind k = parser_kind(p);
    struct stage first = {0};
    if (!expr_only && (k == TOKEN_BY || k == TOKEN_SELECT || starts_scalar(k))) {
        *is_group = true;
        int rc = parse_stage(p, true, &first);
        return rc < 0 ? rc : parse_group_pipeline(p, first, out);
    }
    if (!expr_only && starts_scalar(behind_parens(p))) {
        uint32_t failed_at;
        int rc = try_scalar_filter(p, &first, &failed_at);
        if (rc <= 0) {
            *is_group = true;
            return rc < 0 ? rc : parse_group_pipeline(p, first, out);
        }
    }
    int rc = parse_chain(p, PREC_LOGIC, expr_only ? MODE_EXPR : MODE_ANY, out, is_group);
    if (rc < 0 || *is_group || expr_only || parser_kind(p) != TOKEN_PIPE)
        return rc;
    *is_group = true;
    first.kind = STAGE_SPANSET;
    first.spanset = *out;
    return parse_group_pipeline(p, first, out);
}

static int parse_spanset_operand(struct parser *p, enum mode mode, struct spanset **out,
                                 bool *is_group)
{
    *is_group = false;
    if (parser_kind(p) == TOKEN_OPEN_BRACE && mode != MODE_GROUPS)
        return parse_filter(p, out);
    if (!parser_take(p, TOKEN_OPEN_PAREN))
        return parser_unexpected(p, mode == MODE_GROUPS ? "(" : "{ or (");
    int rc = parse_group(p, mode == MODE_EXPR, out, is_group);
    return rc < 0 ? rc : parser_take(p, TOKEN_CLOSE_PAREN) ? 0 : parser_unexpected(p, NULL);
}

static int spanset_precedence(enum token_kind k, enum spanset_op *op)
{
    static const struct {
        enum token_kind kind;
        enum spanset_op op;
    } table[] = {
        {TOKEN_AND, SPANSET_AND},
        {TOKEN_OR, SPANSET_OR},
        {TOKEN_GT, SPANSET_CHILD},
        {TOKEN_DESC, SPANSET_DESCENDANT},
        {TOKEN_LT, SPANSET_PARENT},
        {TOKEN_ANCE, SPANSET_ANCESTOR},
        {TOKEN_TILDE, SPANSET_SIBLING},
        {TOKEN_NOT_CHILD, SPANSET_NOT_CHILD},
        {TOKEN_NOT_DESC, SPANSET_NOT_DESCENDANT},
        {TOKEN_NOT_PARENT, SPANSET_NOT_PARENT},
        {TOKEN_NOT_ANCE, SPANSET_NOT_ANCESTOR},
        {TOKEN_NRE, SPANSET_NOT_SIBLING},
        {TOKEN_UNION_CHILD, SPANSET_UNION_CHILD},
        {TOKEN_UNION_DESC, SPANSET_UNION_DESCENDANT},
        {TOKEN_UNION_PARENT, SPANSET_UNION_PARENT},
        {TOKEN_UNION_ANCE, SPANSET_UNION_ANCESTOR},
        {TOKEN_UNION_SIBLING, SPANSET_UNION_SIBLING},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].kind == k) {
            *op = table[i].op;
            return k == TOKEN_AND || k == TOKEN_OR ? PREC_LOGIC : PREC_COMPARE;
        }
    }
    return 0;
}

/* mode is what the whole chain is bound to; MODE_ANY lets the first operand decide. */
static int parse_chain(struct parser *p, int precedence_min, enum mode mode, struct spanset **out,
                       bool *is_group)
{
    int rc = parser_enter(p);
    if (rc < 0)
        return rc;
    struct spanset *lhs = NULL, *rhs;
    rc = parse_spanset_operand(p, mode, &lhs, is_group);
    if (mode == MODE_ANY)
        mode = *is_group ? MODE_GROUPS : MODE_EXPR;
    while (rc == 0) {
        enum spanset_op op = SPANSET_AND;
        int precedence = spanset_precedence(parser_kind(p), &op);
        if (precedence < precedence_min)
            break;
        parser_next(p);
        bool ignored;
        rc = parse_chain(p, precedence + 1, mode, &rhs, &ignored);
        if (rc == 0) {
            struct spanset s = {.kind = SPANSET_OP,
                                .depth = 1 + (lhs->depth > rhs->depth ? lhs->depth : rhs->depth),
                                .op = op,
                                .lhs = lhs,
                                .rhs = rhs};
            rc = spanset_new(p, s, &lhs);
        }
    }
    parser_leave(p);
    *is_group = mode == MODE_GROUPS;
    *out = lhs;
    return rc;
}

/* ---- metrics and hints ---- */

static int parse_quantiles(struct parser *p, struct metrics_fn *m)
{
    VEC(double) list = {0};
    int rc = 0;
    do {
        struct traceql_value v;
        enum token_kind k = parser_kind(p);
        if ((k != TOKEN_INT && k != TOKEN_FLOAT) || !parse_literal(p, &v))
            rc = parser_unexpected(p, "INTEGER or FLOAT");
        else if (!vec_push(&list, v.type == TRACEQL_FLOAT ? v.f64 : (double)v.i64))
            rc = err_set(p->err, ERR_NOMEM, "no memory for quantiles");
    } while (rc == 0 && parser_take(p, TOKEN_COMMA));
    if (rc == 0) {
        m->quantiles = arena_array(p->arena, double, list.count);
        m->quantile_count = list.count;
        if (m->quantiles)
            memcpy(m->quantiles, list.at, list.count * sizeof *list.at);
        else
            rc = no_memory(p);
    }
    vec_free(&list);
    return rc < 0 ? rc : parser_take(p, TOKEN_CLOSE_PAREN) ? 0 : parser_unexpected(p, ") or ,");
}

/* An INTEGER behind a comma. */
static int parse_compare_number(struct parser *p, int64_t *out)
{
    int rc = parser_expect(p, TOKEN_COMMA);
    if (rc < 0)
        return rc;
    if (parser_kind(p) != TOKEN_INT)
        return parser_unexpected(p, "INTEGER");
    *out = parser_peek(p)->i64;
    parser_next(p);
    return 0;
}

static int parse_compare(struct parser *p, struct metrics_fn *m)
{
    m->top = 10;
    if (parser_kind(p) != TOKEN_OPEN_BRACE)
        return parser_unexpected(p, "{");
    int rc = parse_filter(p, &m->filter);
    if (rc == 0 && parser_kind(p) == TOKEN_COMMA)
        rc = parse_compare_number(p, &m->top);
    if (rc == 0 && parser_kind(p) == TOKEN_COMMA) {
        rc = parse_compare_number(p, &m->start_ns);
        rc = rc < 0 ? rc : parse_compare_number(p, &m->end_ns);
    }
    return rc < 0 ? rc : parser_expect(p, TOKEN_CLOSE_PAREN);
}

static int parse_metrics(struct parser *p, struct metrics_fn *m)
{
    static const enum metrics_kind of_token[] = {
        METRICS_RATE,     METRICS_COUNT,     METRICS_MIN,     METRICS_MAX, METRICS_AVG,
        METRICS_QUANTILE, METRICS_HISTOGRAM, METRICS_COMPARE, METRICS_SUM};
    m->kind = of_token[parser_kind(p) - TOKEN_RATE];
    parser_next(p);
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    if (rc < 0)
        return rc;
    if (m->kind == METRICS_COMPARE)
        return parse_compare(p, m);
    if (m->kind != METRICS_RATE && m->kind != METRICS_COUNT)
        rc = parse_attr(p, &m->attr);
    if (rc == 0 && m->kind == METRICS_QUANTILE) {
        rc = parser_expect(p, TOKEN_COMMA);
        rc = rc < 0 ? rc : parse_quantiles(p, m);
    } else if (rc == 0) {
        rc = parser_expect(p, TOKEN_CLOSE_PAREN);
    }
    if (rc == 0 && parser_take(p, TOKEN_BY))
        rc = parse_attr_list(p, ") or ,", &m->by, &m->by_count);
    return rc;
}

/* `topk(5)`, behind its pipe. */
static int parse_rank(struct parser *p, struct metrics_stage *out)
{
    out->kind = parser_kind(p) == TOKEN_TOPK ? METRICS_STAGE_TOPK : METRICS_STAGE_BOTTOMK;
    parser_next(p);
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    if (rc < 0)
        return rc;
    if (parser_kind(p) != TOKEN_INT)
        return parser_unexpected(p, "INTEGER");
    out->limit = parser_peek(p)->i64;
    parser_next(p);
    return parser_expect(p, TOKEN_CLOSE_PAREN);
}

/* What follows a metrics function, until something else does. */
static int parse_metrics_stages(struct parser *p, struct metrics_fn *m)
{
    struct metrics_stage **tail = &m->stages;
    for (;;) {
        struct metrics_stage s = {0};
        int rc;
        enum token_kind behind = TOKEN_END;
        if (parser_kind(p) == TOKEN_PIPE)
            behind = (enum token_kind)p->tokens->list.at[p->at + 1].kind;
        if (behind == TOKEN_TOPK || behind == TOKEN_BOTTOMK) {
            parser_next(p);
            rc = parse_rank(p, &s);
        } else if (orders(parser_kind(p), &s.op)) {
            s.kind = METRICS_STAGE_COMPARE;
            parser_next(p);
            rc = parse_number(p, &s.value);
        } else {
            return 0;
        }
        if (rc < 0)
            return rc;
        if (!(*tail = arena_alloc(p->arena, sizeof **tail)))
            return no_memory(p);
        **tail = s;
        tail = &(*tail)->next;
    }
}

/* One list `with (…)`; it replaces an earlier one. */
static int parse_hints(struct parser *p, struct traceql_query *q)
{
    VEC(struct hint) list = {0};
    int rc = parser_expect(p, TOKEN_OPEN_PAREN);
    while (rc == 0) {
        struct hint h = {.name = parser_peek(p)->str};
        if (parser_kind(p) != TOKEN_IDENT) {
            rc = parser_unexpected(p, "IDENTIFIER");
            break;
        }
        parser_next(p);
        rc = parser_expect(p, TOKEN_EQ);
        if (rc == 0 && !parse_literal(p, &h.value))
            rc = parser_unexpected(p, NULL);
        if (rc == 0 && !vec_push(&list, h))
            rc = err_set(p->err, ERR_NOMEM, "no memory for hints");
        if (rc < 0 || parser_take(p, TOKEN_CLOSE_PAREN))
            break;
        if (!parser_take(p, TOKEN_COMMA))
            rc = parser_unexpected(p, ") or ,");
    }
    if (rc == 0) {
        q->hints = arena_array(p->arena, struct hint, list.count);
        q->hint_count = list.count;
        if (q->hints)
            memcpy(q->hints, list.at, list.count * sizeof *list.at);
        else
            rc = no_memory(p);
    }
    vec_free(&list);
    return rc;
}

/* ---- the query ---- */

/* The first stage. *is_group: a P-group, which nothing but hints may follow. */
static int parse_first(struct parser *p, struct stage *out, bool *is_group)
{
    enum token_kind k = parser_kind(p);
    *is_group = false;
    if (k == TOKEN_BY || k == TOKEN_SELECT || starts_scalar(k))
        return parse_stage(p, false, out);
    if (k != TOKEN_OPEN_BRACE && k != TOKEN_OPEN_PAREN)
        return parser_unexpected(p, NULL);
    uint32_t scalar_failed_at = 0, at = p->at;
    if (starts_scalar(behind_parens(p))) {
        int rc = try_scalar_filter(p, out, &scalar_failed_at);
        if (rc <= 0)
            return rc;
    }
    out->kind = STAGE_SPANSET;
    int rc = parse_chain(p, PREC_LOGIC, MODE_ANY, &out->spanset, is_group);
    if (rc == ERR_INVALID && scalar_failed_at > p->at) {
        /* It was meant as a scalar filter: that attempt came further, so its words are told. */
        p->at = at;
        p->nesting = 0;
        return parse_scalar_filter(p, false, out);
    }
    return rc;
}

static int parse_body(struct parser *p, struct traceql_query *q)
{
    bool is_group;
    struct stage first = {0};
    q->pipeline = arena_zalloc(p->arena, sizeof *q->pipeline);
    if (!q->pipeline)
        return no_memory(p);
    struct stage **tail = &q->pipeline->first;
    int rc = parse_first(p, &first, &is_group);
    rc = rc < 0 ? rc : append_stage(p, first, &tail);
    if (rc == 0 && !is_group)
        rc = parse_stages(p, false, &tail);
    if (rc == 0 && starts_metrics(parser_kind(p)) && !is_group &&
        p->tokens->list.at[p->at - 1].kind == TOKEN_PIPE) {
        q->metrics = arena_zalloc(p->arena, sizeof *q->metrics);
        if (!q->metrics)
            return no_memory(p);
        rc = parse_metrics(p, q->metrics);
        rc = rc < 0 ? rc : parse_metrics_stages(p, q->metrics);
    }
    while (rc == 0 && parser_take(p, TOKEN_WITH))
        rc = parse_hints(p, q);
    if (rc == 0 && parser_kind(p) != TOKEN_END)
        rc = parser_unexpected(p, "with");
    return rc;
}

int traceql_parse(struct slice text, struct arena *a, struct traceql_query **out, struct err *err)
{
    if (text.len > TRACEQL_LIMIT_QUERY_BYTES)
        return err_set(err, ERR_INVALID, "query of %zu bytes, at most %zu are allowed", text.len,
                       TRACEQL_LIMIT_QUERY_BYTES);
    struct traceql_query *q = arena_zalloc(a, sizeof *q);
    if (!q || !arena_slice(a, text, &q->text))
        return arena_err(a, err, "the query");
    struct tokens tokens;
    int rc = traceql_lex(q->text, a, &tokens, err);
    if (rc == 0) {
        assert(tokens.list.count > 0);
        struct parser p = {.tokens = &tokens, .arena = a, .err = err};
        rc = parse_body(&p, q);
    }
    tokens_clear(&tokens);
    rc = rc < 0 ? rc : traceql_validate(q, err);
    rc = rc < 0 ? rc : traceql_plan(q, a, err);
    if (rc == 0)
        *out = q;
    return rc;
}

struct slice traceql_query_text(const struct traceql_query *q)
{
    return q->text;
}

bool traceql_query_is_metrics(const struct traceql_query *q)
{
    return q->metrics != NULL;
}
