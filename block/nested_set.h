/* Nested set numbers of a trace: who is below whom, as integers that a query compares
 * (docs/formats/block.md, 7). */
#ifndef BLOCK_NESTED_SET_H
#define BLOCK_NESTED_SET_H

#include "base/err.h"
#include "block/span.h"

/* Scratch, reused from trace to trace. Zeroed: ready. */
struct nested_set {
    uint64_t seed; /* of the hash of span ids; anything, but not guessable by a sender of spans */
    VEC(uint32_t) table; /* open addressing: span + 1, or 0 */
    VEC(struct nested_node) nodes;
};

void nested_set_clear(struct nested_set *ns); /* frees; usable again */

/* Writes left, right and parent number of each span of t, in its order: all 0 for spans that no
 * root reaches, and for all of a trace without a root or with an id borne by more than two spans.
 * Roots have parent -1. O(spans) whatever the ids are. ERR_NOMEM; ERR_LIMIT above 2^30 spans, whose
 * numbers would not fit. */
int nested_set_number(struct nested_set *ns, const struct trace *t, int32_t *left, int32_t *right,
                      int32_t *parent, struct err *err);

#endif
