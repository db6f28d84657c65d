/* Growing buffers. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_clear(struct buf *b)
{
    if (!b->fixed)
        free(b->ptr);
    b->ptr = NULL;
    b->len = b->cap = 0;
    b->fixed = false;
}

int buf_grow(struct buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n)
        return ERR_LIMIT;
    size_t want = b->len + n;
    if (want <= b->cap)
        return 0;
    if (b->fixed)
        return ERR_LIMIT;
    size_t cap = b->cap ? b->cap + b->cap / 2 : 256;
    if (cap < want)
        cap = want;
    if (cap > b->max)
        cap = b->max;
    uint8_t *p = realloc(b->ptr, cap);
    if (!p)
        return ERR_NOMEM;
    b->ptr = p;
    b->cap = cap;
    return 0;
}

int buf_u32le(struct buf *b, uint32_t v)
{
    return buf_append(b, &v, sizeof v);
}

int buf_u64le(struct buf *b, uint64_t v)
{
    return buf_append(b, &v, sizeof v);
}

int buf_u32be(struct buf *b, uint32_t v)
{
    return buf_u32le(b, __builtin_bswap32(v));
}

int buf_u64be(struct buf *b, uint64_t v)
{
    return buf_u64le(b, __builtin_bswap64(v));
}

int buf_varint(struct buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    return buf_append(b, bytes, n);
}

int buf_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0)
        return ERR_INTERNAL;
    if ((size_t)n < sizeof small)
        return buf_append(b, small, (size_t)n);
    /* One byte more than needed, for vsnprintf's NUL. */
    int rc = buf_reserve(b, (size_t)n + 1);
    if (rc < 0)
        return rc;
    va_start(ap, fmt);
    vsnprintf((char *)b->ptr + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void buf_take(struct buf *b, uint8_t **out, size_t *len)
{
    *out = b->ptr;
    *len = b->len;
    b->ptr = NULL;
    b->len = b->cap = 0;
}
