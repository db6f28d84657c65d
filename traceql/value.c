/* Operators on single values. Constants are folded with these and rows are evaluated with these, so
 * that both agree. What looks odd (integer powers) is Tempo's, and queries depend on it. */
#include "traceql/value.h"

#include <math.h>

bool traceql_types_match(enum traceql_type l, enum traceql_type r)
{
    return l == EXPR_TYPE_RUNTIME || r == EXPR_TYPE_RUNTIME || l == r || r == TRACEQL_NIL ||
           (traceql_type_numeric(l) && traceql_type_numeric(r));
}

bool traceql_op_defined(enum traceql_op op, enum traceql_type t)
{
    bool equality = op == TRACEQL_OP_EQ || op == TRACEQL_OP_NE;
    bool order = op >= TRACEQL_OP_LT && op <= TRACEQL_OP_GE;
    switch ((int)t) {
    case EXPR_TYPE_RUNTIME:
        return true;
    case TRACEQL_BOOL:
        return equality || op == TRACEQL_OP_AND || op == TRACEQL_OP_OR || op == TRACEQL_OP_NOT;
    case TRACEQL_INT:
    case TRACEQL_FLOAT:
    case TRACEQL_DURATION:
        return equality || order || traceql_op_computes(op) || op == TRACEQL_OP_NEG;
    case TRACEQL_STRING:
        return equality || order || op == TRACEQL_OP_RE || op == TRACEQL_OP_NRE;
    default:
        return equality;
    }
}

enum traceql_type traceql_binary_type(enum traceql_op op, enum traceql_type l, enum traceql_type r)
{
    if (!traceql_op_computes(op))
        return TRACEQL_BOOL;
    return l == EXPR_TYPE_RUNTIME ? r : l;
}

/* r to the power of l: the operands are swapped, and a negative l gives 1. */
static int64_t power_swapped(int64_t l, int64_t r)
{
    uint64_t result = 1, base = (uint64_t)r;
    for (int64_t n = l; n > 0; n >>= 1, base *= base) {
        if (n & 1)
            result *= base;
    }
    return (int64_t)result;
}

/* Two's complement, wrapping. */
static int int_arithmetic(enum traceql_op op, int64_t l, int64_t r, int64_t *out, struct err *err)
{
    if (r == 0 && op == TRACEQL_OP_DIV)
        return err_set(err, ERR_INVALID, "division by zero");
    if (r == 0 && op == TRACEQL_OP_MOD)
        return err_set(err, ERR_INVALID, "modulo by zero");
    switch (op) {
    case TRACEQL_OP_ADD:
        *out = (int64_t)((uint64_t)l + (uint64_t)r);
        break;
    case TRACEQL_OP_SUB:
        *out = (int64_t)((uint64_t)l - (uint64_t)r);
        break;
    case TRACEQL_OP_MUL:
        *out = (int64_t)((uint64_t)l * (uint64_t)r);
        break;
    case TRACEQL_OP_DIV:
        *out = r == -1 ? (int64_t)(0 - (uint64_t)l) : l / r;
        break;
    case TRACEQL_OP_MOD:
        *out = r == -1 ? 0 : l % r;
        break;
    default:
        *out = power_swapped(l, r);
    }
    return 0;
}

static double float_arithmetic(enum traceql_op op, double l, double r)
{
    switch (op) {
    case TRACEQL_OP_ADD:
        return l + r;
    case TRACEQL_OP_SUB:
        return l - r;
    case TRACEQL_OP_MUL:
        return l * r;
    case TRACEQL_OP_DIV:
        return l / r;
    case TRACEQL_OP_MOD:
        return fmod(l, r);
    default:
        return pow(l, r);
    }
}

static bool order_holds(enum traceql_op op, int cmp)
{
    switch (op) {
    case TRACEQL_OP_LT:
        return cmp < 0;
    case TRACEQL_OP_LE:
        return cmp <= 0;
    case TRACEQL_OP_GT:
        return cmp > 0;
    default:
        return cmp >= 0;
    }
}

/* Of NaN, no order holds. */
static bool float_order(enum traceql_op op, double l, double r)
{
    return !isnan(l) && !isnan(r) && order_holds(op, (l > r) - (l < r));
}

static bool values_equal(const struct traceql_value *l, const struct traceql_value *r)
{
    if (traceql_type_numeric(l->type) && traceql_type_numeric(r->type)) {
        if (l->type == TRACEQL_FLOAT || r->type == TRACEQL_FLOAT)
            return value_number(l) == value_number(r);
        return l->i64 == r->i64;
    }
    if (l->type != r->type)
        return false;
    switch (l->type) {
    case TRACEQL_NIL:
        return true;
    case TRACEQL_STRING:
        return slice_eq(l->str, r->str);
    case TRACEQL_BOOL:
        return l->b == r->b;
    default:
        return l->i64 == r->i64;
    }
}

bool value_compare(enum traceql_op op, const struct traceql_value *l, const struct traceql_value *r)
{
    if (op == TRACEQL_OP_EQ || op == TRACEQL_OP_NE)
        return values_equal(l, r) == (op == TRACEQL_OP_EQ);
    if (l->type == TRACEQL_STRING)
        return order_holds(op, slice_cmp(l->str, r->str));
    if (l->type == TRACEQL_INT && r->type == TRACEQL_INT)
        return order_holds(op, (l->i64 > r->i64) - (l->i64 < r->i64));
    return float_order(op, value_number(l), value_number(r));
}

int value_binary(enum traceql_op op, const struct traceql_value *l, const struct traceql_value *r,
                 struct traceql_value *out, struct err *err)
{
    *out = value_bool(false);
    if (!traceql_types_match(l->type, r->type) || !traceql_op_defined(op, l->type) ||
        !traceql_op_defined(op, r->type))
        return 0;
    if (op == TRACEQL_OP_AND)
        *out = value_bool(l->b && r->b);
    else if (op == TRACEQL_OP_OR)
        *out = value_bool(l->b || r->b);
    else if (!traceql_op_computes(op))
        *out = value_bool(value_compare(op, l, r));
    else if (l->type == TRACEQL_INT && r->type == TRACEQL_INT) {
        out->type = TRACEQL_INT;
        return int_arithmetic(op, l->i64, r->i64, &out->i64, err);
    } else {
        *out = (struct traceql_value){
            .type = TRACEQL_FLOAT, .f64 = float_arithmetic(op, value_number(l), value_number(r))};
    }
    return 0;
}

bool value_unary(enum traceql_op op, const struct traceql_value *v, struct traceql_value *out)
{
    if (!traceql_op_defined(op, v->type))
        return false;
    *out = *v;
    if (op == TRACEQL_OP_NOT)
        out->b = !v->b;
    else if (v->type == TRACEQL_FLOAT)
        out->f64 = -v->f64;
    else
        out->i64 = (int64_t)(0 - (uint64_t)v->i64);
    return true;
}

bool value_same(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == TRACEQL_FLOAT)
        return memcmp(&a->f64, &b->f64, sizeof a->f64) == 0;
    return values_equal(a, b);
}

bool traceql_value_same(const struct traceql_value *a, const struct traceql_value *b)
{
    return value_same(a, b);
}

static const char *const status_words[] = {"unset", "ok", "error"};
static const char *const kind_words[] = {"unspecified", "internal", "server",
                                         "client",      "producer", "consumer"};

const char *traceql_value_word(const struct traceql_value *v)
{
    if (v->type == TRACEQL_STATUS && v->i64 >= 0 && v->i64 < 3)
        return status_words[v->i64];
    if (v->type == TRACEQL_KIND && v->i64 >= 0 && v->i64 < 6)
        return kind_words[v->i64];
    return NULL;
}
