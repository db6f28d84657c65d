/* Values as single spans see them, scalar or array, apart from any column. row.c evaluates, seen.c
 * compares. Private to the room and its tests. */
#ifndef TRACEQL_ROW_H
#define TRACEQL_ROW_H

#include "traceql/eval_priv.h"

/* Of the same type and the same value; NaN is the same as itself. */
bool seen_same(const struct seen *a, const struct seen *b);
/* Of an array: arrays come from generic lists only, where the vector's type is the value's. */
struct traceql_value seen_element(const struct seen *s, uint32_t i);
uint64_t seen_hash(const struct seen *s);
/* Below, equal, above: numbers by value, else types in their order, values of one type by value.
 * Arrays of one type are all equal. */
int seen_order(const struct seen *a, const struct seen *b);
/* A copy in the batch's arena: one value, or an array's visible elements. Strings are not copied.
 */
ERR_MUST_CHECK int seen_values(struct traceql_view *v, const struct seen *s,
                               const struct traceql_value **out, uint32_t *count, struct err *err);
/* `s op literal`: of an array, for any element. */
ERR_MUST_CHECK int seen_compare(const struct seen *s, enum traceql_op op,
                                const struct traceql_value *literal, bool *out, struct err *err);

#endif
