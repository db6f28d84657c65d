/* Growable typed arrays: VEC(struct span) spans; vec_push(&spans, item). The element count and
 * capacity are 32-bit, so an index fits a uint32_t. Freed with vec_free. Push returns false when
 * memory or the index space runs out and leaves the vector as it was. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *at;                                                                                  \
        uint32_t count;                                                                            \
        uint32_t cap;                                                                              \
    }

bool vec_grow_to(void **at, uint32_t *cap, uint32_t count, size_t more, size_t size);

#define vec_reserve(v, n)                                                                          \
    ((size_t)((v)->cap - (v)->count) >= (size_t)(n) ||                                             \
     vec_grow_to((void **)&(v)->at, &(v)->cap, (v)->count, (n), sizeof *(v)->at))
#define vec_push(v, ...)                                                                           \
    (vec_reserve(v, 1) ? ((v)->at[(v)->count++] = (__VA_ARGS__), true) : false)
#define vec_reset(v) ((void)((v)->count = 0))
#define vec_free(v) (free((v)->at), (v)->at = NULL, (v)->count = (v)->cap = 0)

#endif
