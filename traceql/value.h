/* Operators on single values, as they behave at run time. Private to the room and its tests. */
#ifndef TRACEQL_VALUE_H
#define TRACEQL_VALUE_H

#include "traceql/ast.h"

static inline struct traceql_value value_bool(bool b)
{
    return (struct traceql_value){.type = TRACEQL_BOOL, .b = b};
}

static inline struct traceql_value value_int(int64_t v)
{
    return (struct traceql_value){.type = TRACEQL_INT, .i64 = v};
}

static inline double value_number(const struct traceql_value *v)
{
    return v->type == TRACEQL_FLOAT ? v->f64 : (double)v->i64;
}

/* Operands that do not fit the operator, or one another, give false: also from arithmetic.
 * ERR_INVALID: an integer divided by zero. Not for =~ and !~, which need a compiled pattern. */
int value_binary(enum traceql_op op, const struct traceql_value *l, const struct traceql_value *r,
                 struct traceql_value *out, struct err *err);

/* A comparison (not =~, !~) that is known to fit. */
bool value_compare(enum traceql_op op, const struct traceql_value *l,
                   const struct traceql_value *r);

/* False: the operand is of another type than `!` or `-` wants. */
bool value_unary(enum traceql_op op, const struct traceql_value *v, struct traceql_value *out);

bool value_same(const struct traceql_value *a, const struct traceql_value *b);

#endif
