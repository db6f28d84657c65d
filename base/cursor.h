/* A slice that moves and knows its offset. A failed read returns false and leaves it where it was.
 * Everything is checked here, so decoders of foreign bytes need no arithmetic of their own. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/slice.h"

struct cursor {
    const uint8_t *start;
    const uint8_t *ptr;
    const uint8_t *end;
};

static inline struct cursor cursor_of(struct slice s)
{
    return (struct cursor){s.ptr, s.ptr, s.ptr ? s.ptr + s.len : s.ptr};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->ptr);
}

static inline size_t cursor_offset(const struct cursor *c)
{
    return (size_t)(c->ptr - c->start);
}

static inline bool cursor_u8(struct cursor *c, uint8_t *out)
{
    if (c->ptr == c->end)
        return false;
    *out = *c->ptr++;
    return true;
}

static inline bool cursor_bytes(struct cursor *c, size_t n, struct slice *out)
{
    if (cursor_left(c) < n)
        return false;
    *out = slice_of(c->ptr, n);
    c->ptr += n;
    return true;
}

static inline bool cursor_skip(struct cursor *c, size_t n)
{
    if (cursor_left(c) < n)
        return false;
    c->ptr += n;
    return true;
}

static inline uint32_t load_u32le(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v; /* little-endian hosts only: asserted in err.c */
}

static inline uint64_t load_u64le(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_u32be(const uint8_t *p)
{
    return __builtin_bswap32(load_u32le(p));
}

static inline uint64_t load_u64be(const uint8_t *p)
{
    return __builtin_bswap64(load_u64le(p));
}

static inline bool cursor_u32le(struct cursor *c, uint32_t *out)
{
    if (cursor_left(c) < 4)
        return false;
    *out = load_u32le(c->ptr);
    c->ptr += 4;
    return true;
}

static inline bool cursor_u64le(struct cursor *c, uint64_t *out)
{
    if (cursor_left(c) < 8)
        return false;
    *out = load_u64le(c->ptr);
    c->ptr += 8;
    return true;
}

static inline bool cursor_u32be(struct cursor *c, uint32_t *out)
{
    if (!cursor_u32le(c, out))
        return false;
    *out = __builtin_bswap32(*out);
    return true;
}

static inline bool cursor_u64be(struct cursor *c, uint64_t *out)
{
    if (!cursor_u64le(c, out))
        return false;
    *out = __builtin_bswap64(*out);
    return true;
}

/* ULEB128, at most 10 bytes; a value that does not fit 64 bits is refused. */
bool cursor_varint_long(struct cursor *c, uint64_t *out);

static inline bool cursor_varint(struct cursor *c, uint64_t *out)
{
    if (c->ptr != c->end && *c->ptr < 0x80) {
        *out = *c->ptr++;
        return true;
    }
    return cursor_varint_long(c, out);
}

/* A varint length, then that many bytes. */
static inline bool cursor_varint_bytes(struct cursor *c, struct slice *out)
{
    struct cursor at = *c;
    uint64_t n;
    if (!cursor_varint(c, &n) || n > cursor_left(c)) {
        *c = at;
        return false;
    }
    *out = slice_of(c->ptr, (size_t)n);
    c->ptr += n;
    return true;
}

static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? ~UINT64_C(0) : 0);
}

#endif
