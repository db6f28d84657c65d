/* Growing typed arrays. */
#include "base/vec.h"

bool vec_grow_to(void **at, uint32_t *cap, uint32_t count, size_t more, size_t size)
{
    if (more > UINT32_MAX - count)
        return false;
    uint64_t want = (uint64_t)count + more;
    uint64_t next = *cap ? (uint64_t)*cap + *cap / 2 : 16;
    if (next < want)
        next = want;
    if (next > UINT32_MAX)
        next = UINT32_MAX;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)next, size, &bytes))
        return false;
    void *p = realloc(*at, bytes);
    if (!p)
        return false;
    *at = p;
    *cap = (uint32_t)next;
    return true;
}
