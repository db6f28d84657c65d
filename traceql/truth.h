/* Truth vectors: one byte a span. Private to the room and its tests. */
#ifndef TRACEQL_TRUTH_H
#define TRACEQL_TRUTH_H

#include "traceql/eval_priv.h"

/* Only a scalar bool lets a span pass a filter. As an operand of && and || an array of bools stands
 * for "any of them"; whatever is no bool makes the result false, so that `nil || true` is false. */
enum truth {
    TRUTH_FALSE = 0,
    TRUTH_TRUE = 1,
    TRUTH_OTHER = 2,
    TRUTH_SOME = 3, /* an array of bools, one of them true */
    TRUTH_NONE = 4, /* an array of bools, none of them true */
};

/* attribute op literal. out: a byte a span, all zero. */
ERR_MUST_CHECK int truth_compare(struct traceql_view *v, const struct step *s, uint8_t *out,
                                 struct err *err);
/* The attribute is missing: not only invisible. */
void truth_absent(const struct traceql_view *v, const struct step *s, uint8_t *out);
/* The attribute itself. out: a byte a span, any content. */
ERR_MUST_CHECK int truth_attr(struct traceql_view *v, const struct step *s, uint8_t *out,
                              struct err *err);

#endif
