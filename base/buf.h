/* A growing byte buffer, born with its maximum. The owner calls buf_clear. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/err.h"
#include "base/slice.h"

struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
    size_t max;
    bool fixed; /* the storage is somebody else's: it neither grows nor is freed */
};

static inline void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

/* Over storage that outlives it, of which it never takes more. */
static inline void buf_init_fixed(struct buf *b, void *storage, size_t bytes)
{
    *b = (struct buf){.ptr = storage, .cap = bytes, .max = bytes, .fixed = true};
}

void buf_clear(struct buf *b);                                 /* frees; usable again */
static inline void buf_reset(struct buf *b) { b->len = 0; }    /* keeps the storage */

/* Room for n more bytes. ERR_LIMIT past max, ERR_NOMEM. Contents are untouched on failure. */
int buf_grow(struct buf *b, size_t n);

static inline int buf_reserve(struct buf *b, size_t n)
{
    return b->cap - b->len >= n ? 0 : buf_grow(b, n);
}

static inline int buf_append(struct buf *b, const void *p, size_t n)
{
    if (buf_reserve(b, n) < 0)
        return buf_grow(b, n);
    if (n)
        memcpy(b->ptr + b->len, p, n);
    b->len += n;
    return 0;
}

static inline int buf_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.ptr, s.len);
}

static inline int buf_u8(struct buf *b, uint8_t v)
{
    return buf_append(b, &v, 1);
}

int buf_u32le(struct buf *b, uint32_t v);
int buf_u64le(struct buf *b, uint64_t v);
int buf_u32be(struct buf *b, uint32_t v);
int buf_u64be(struct buf *b, uint64_t v);
int buf_varint(struct buf *b, uint64_t v); /* ULEB128 */
int buf_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *fmt, ...);

static inline struct slice buf_view(const struct buf *b)
{
    return slice_of(b->ptr, b->len);
}

/* Moves the storage out: the caller frees *out with free(); b is empty. */
void buf_take(struct buf *b, uint8_t **out, size_t *len);

#endif
