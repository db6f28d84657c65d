/* Expression nodes. What refers to no attribute is computed as soon as it is built, because later
 * rules look for "attribute operator literal": `duration > 2 * 3s` must be one of those. */
#include "traceql/ast.h"
#include "traceql/regex.h"
#include "traceql/traceql_limits.h"
#include "traceql/value.h"

static int expr_new(struct arena *a, struct expr value, struct expr **out, struct err *err)
{
    if (value.depth > TRACEQL_LIMIT_DEPTH)
        return err_set(err, ERR_INVALID, "query nested or chained deeper than %d levels",
                       TRACEQL_LIMIT_DEPTH);
    struct expr *e = arena_alloc(a, sizeof *e);
    if (!e)
        return arena_err(a, err, "the query's tree");
    *e = value;
    *out = e;
    return 0;
}

int expr_literal(struct arena *a, struct traceql_value v, struct expr **out, struct err *err)
{
    return expr_new(
        a, (struct expr){.kind = EXPR_LITERAL, .type = v.type, .depth = 1, .literal = v}, out, err);
}

int expr_attr(struct arena *a, struct expr_attr attr, struct expr **out, struct err *err)
{
    enum traceql_type type = EXPR_TYPE_RUNTIME;
    if (attr.intrinsic != TRACEQL_ATTRIBUTE)
        type = traceql_intrinsic_type(attr.intrinsic);
    return expr_new(
        a,
        (struct expr){
            .kind = EXPR_ATTR, .type = type, .references_span = true, .depth = 1, .attr = attr},
        out, err);
}

int expr_unary(struct arena *a, enum traceql_op op, struct expr *rhs, struct expr **out,
               struct err *err)
{
    struct traceql_value v;
    if (rhs->kind == EXPR_LITERAL && value_unary(op, &rhs->literal, &v))
        return expr_literal(a, v, out, err);
    return expr_new(a,
                    (struct expr){.kind = EXPR_UNARY,
                                  .type = rhs->type,
                                  .references_span = rhs->references_span,
                                  .depth = rhs->depth + 1,
                                  .op = op,
                                  .rhs = rhs},
                    out, err);
}

/* nil = nil and nil != nil: a comparison with nothing is false. */
static bool nil_with_nil(enum traceql_op op, const struct expr *l, const struct expr *r)
{
    return (op == TRACEQL_OP_EQ || op == TRACEQL_OP_NE) && l->kind == EXPR_LITERAL &&
           r->kind == EXPR_LITERAL && l->type == TRACEQL_NIL && r->type == TRACEQL_NIL;
}

/* Would validation pass two literals and this operator? */
static bool foldable(enum traceql_op op, const struct expr *l, const struct expr *r)
{
    return l->kind == EXPR_LITERAL && r->kind == EXPR_LITERAL &&
           traceql_types_match(l->type, r->type) && traceql_op_defined(op, l->type) &&
           traceql_op_defined(op, r->type) && !(r->type == TRACEQL_NIL && op == TRACEQL_OP_EQ);
}

static int fold_regex(struct arena *a, enum traceql_op op, const struct expr *l,
                      const struct expr *r, struct traceql_value *out, struct err *err)
{
    struct regex *re;
    bool match;
    int rc = regex_new(r->literal.str, a, &re, err);
    if (rc < 0)
        return rc;
    rc = regex_match(re, l->literal.str, &match, err);
    if (rc < 0)
        return rc;
    *out = value_bool(match == (op == TRACEQL_OP_RE));
    return 0;
}

int expr_binary(struct arena *a, enum traceql_op op, struct expr *lhs, struct expr *rhs,
                struct expr **out, struct err *err)
{
    if (nil_with_nil(op, lhs, rhs))
        return expr_literal(a, value_bool(false), out, err);
    if (foldable(op, lhs, rhs)) {
        struct traceql_value v;
        bool regex = op == TRACEQL_OP_RE || op == TRACEQL_OP_NRE;
        if (!regex || regex_check(rhs->literal.str, NULL) == 0) {
            int rc = regex ? fold_regex(a, op, lhs, rhs, &v, err)
                           : value_binary(op, &lhs->literal, &rhs->literal, &v, err);
            if (rc < 0) {
                err_wrap(err, "parse error");
                return rc;
            }
            return expr_literal(a, v, out, err);
        }
    }
    return expr_new(a,
                    (struct expr){.kind = EXPR_BINARY,
                                  .type = traceql_binary_type(op, lhs->type, rhs->type),
                                  .references_span = lhs->references_span || rhs->references_span,
                                  .depth = 1 + (lhs->depth > rhs->depth ? lhs->depth : rhs->depth),
                                  .op = op,
                                  .lhs = lhs,
                                  .rhs = rhs},
                    out, err);
}
