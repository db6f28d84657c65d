/* Columns damaged at random: what a hostile block can hold once its pages have been decoded. */
#ifndef TESTS_UNIT_BLOCK_BEND_SUPPORT_H
#define TESTS_UNIT_BLOCK_BEND_SUPPORT_H

#include "tests/unit/block/parquet_support.h"

#include "base/random.h"

static inline void *copy_exactly(const void *p, size_t n)
{
    void *q = malloc(n);
    if (n) {
        assert_non_null(q);
        memcpy(q, p, n);
    }
    return q;
}

/* Into storage of exactly the right size, so that the sanitizer sees a step too far. */
static inline struct column column_copy(const struct column *c)
{
    struct column out = *c;
    size_t size = c->has_dict               ? sizeof(uint32_t)
                  : c->type == COLUMN_BYTES ? sizeof(struct slice)
                                            : column_value_size(c);
    out.rep = c->rep_max ? copy_exactly(c->rep, c->entries) : NULL;
    out.def = c->def_max ? copy_exactly(c->def, c->entries) : NULL;
    out.v.b = copy_exactly(c->v.b, c->values * size);
    return out;
}

static inline void column_free(struct column *c)
{
    free(c->rep);
    free(c->def);
    free(c->v.b);
}

static inline void bend_column(struct rng *r, struct column *c)
{
    uint32_t at = (uint32_t)rng_below(r, c->entries);
    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        if (c->rep_max)
            c->rep[at] = (uint8_t)rng_below(r, c->rep_max + 2u);
        break;
    case 2:
    case 3:
        if (c->def_max)
            c->def[at] = (uint8_t)rng_below(r, c->def_max + 2u);
        break;
    case 4:
        c->entries = at;
        break;
    case 5:
        c->values = (uint32_t)rng_below(r, c->values + 1u);
        break;
    case 6:
        if (c->has_dict && c->values)
            c->v.idx[rng_below(r, c->values)] = (uint32_t)(rng_next(r) >> rng_below(r, 64));
        break;
    default:
        /* Takes an entry out, so that everything behind it is shifted. */
        if (c->rep_max) {
            memmove(c->rep + at, c->rep + at + 1, c->entries - at - 1);
            memmove(c->def + at, c->def + at + 1, c->entries - at - 1);
        }
        c->entries--;
    }
}

#endif
