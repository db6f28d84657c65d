/* Bytes that several threads hold: counted, read-only, freed with the last holder. */
#ifndef BASE_SHARED_H
#define BASE_SHARED_H

#include <stdatomic.h>
#include <stdlib.h>

#include "base/slice.h"

struct shared_bytes {
    atomic_uint refs;
    size_t len;
    uint8_t *data; /* malloc'ed */
};

/* Takes over data; NULL (and data stays the caller's) when out of memory. One reference. */
static inline struct shared_bytes *shared_bytes_new(uint8_t *data, size_t len)
{
    struct shared_bytes *s = malloc(sizeof *s);
    if (s) {
        atomic_init(&s->refs, 1);
        s->len = len;
        s->data = data;
    }
    return s;
}

static inline struct shared_bytes *shared_bytes_acquire(struct shared_bytes *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* Returns NULL: p = shared_bytes_release(p). NULL is fine. */
static inline struct shared_bytes *shared_bytes_release(struct shared_bytes *s)
{
    if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
        free(s->data);
        free(s);
    }
    return NULL;
}

static inline struct slice shared_bytes_view(const struct shared_bytes *s)
{
    return slice_of(s->data, s->len);
}

#endif
