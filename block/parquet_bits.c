/* Bit packing: eight values of w bits are w bytes, least significant bit first. Levels, dictionary
 * indices and deltas all end here, so these loops decide how fast a page is read and written. The
 * width is a constant in each case of the switches, so that a group becomes straight-line code. */
#include "block/parquet_encoding.h"

#include <assert.h>

#define INLINE static inline __attribute__((always_inline))

#define EACH_WIDTH(X)                                                                              \
    X(1)                                                                                           \
    X(2)                                                                                           \
    X(3)                                                                                           \
    X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)      \
        X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32)

INLINE void store_u32le(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

INLINE void store_u64le(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Writes up to 8 bytes past w. */
INLINE void pack_group(const uint32_t *in, const unsigned w, uint8_t *out)
{
    uint64_t acc = 0;
    unsigned bits = 0;
#pragma GCC unroll 8
    for (unsigned k = 0; k < 8; k++) {
        acc |= (uint64_t)in[k] << bits;
        bits += w;
        if (bits >= 32) {
            store_u32le(out, (uint32_t)acc);
            out += 4;
            acc >>= 32;
            bits -= 32;
        }
    }
    if (bits > 0)
        store_u32le(out, (uint32_t)acc);
}

void bits_pack32(const uint32_t *in, size_t groups, unsigned width, uint8_t *out)
{
    switch (width) {
#define PACK(w)                                                                                    \
    case w:                                                                                        \
        for (size_t g = 0; g < groups; g++, in += 8, out += (w))                                   \
            pack_group(in, (w), out);                                                              \
        break;
        EACH_WIDTH(PACK)
#undef PACK
    default:
        assert(width == 0);
    }
}

/* Reads 8 bytes from the one that holds the last value's first bit. */
INLINE void unpack_group(const uint8_t *in, const unsigned w, uint32_t *out)
{
    const uint64_t mask = (UINT64_C(1) << w) - 1;
    if (w <= 8) {
        uint64_t all = load_u64le(in);
#pragma GCC unroll 8
        for (unsigned k = 0; k < 8; k++)
            out[k] = (uint32_t)(all >> (k * w) & mask);
        return;
    }
#pragma GCC unroll 8
    for (unsigned k = 0; k < 8; k++)
        out[k] = (uint32_t)(load_u64le(in + (k * w >> 3)) >> (k * w & 7) & mask);
}

/* Groups from which 8-byte loads stay inside. */
static size_t groups_inside(size_t groups, unsigned width)
{
    size_t bytes = groups * width;
    size_t reach = (7 * width >> 3) + 8;
    if (bytes < reach)
        return 0;
    size_t inside = (bytes - reach) / width + 1;
    return inside < groups ? inside : groups;
}

static void unpack32_inside(const uint8_t *in, size_t groups, unsigned width, uint32_t *out)
{
    switch (width) {
#define UNPACK(w)                                                                                  \
    case w:                                                                                        \
        for (size_t g = 0; g < groups; g++, in += (w), out += 8)                                   \
            unpack_group(in, (w), out);                                                            \
        break;
        EACH_WIDTH(UNPACK)
#undef UNPACK
    default:
        assert(width <= 32);
    }
}

void bits_unpack32(const uint8_t *in, size_t groups, unsigned width, uint32_t *out)
{
    if (width == 0) {
        memset(out, 0, groups * 8 * sizeof *out);
        return;
    }
    size_t inside = groups_inside(groups, width);
    unpack32_inside(in, inside, width, out);
    in += inside * width;
    out += inside * 8;
    for (groups -= inside; groups > 0; groups--, in += width, out += 8) {
        uint8_t padded[32 + 8] = {0};
        memcpy(padded, in, width);
        unpack32_inside(padded, 1, width, out);
    }
}

#define LANES(v) (UINT64_C(0x0101010101010101) * (v))

/* Eight bytes of w bits to 8w bits: neighbours are pushed together, then pairs, then fours. */
INLINE uint64_t squeeze(uint64_t x, const unsigned w)
{
    x = (x & UINT64_C(0x00ff00ff00ff00ff)) | (x >> 8 & UINT64_C(0x00ff00ff00ff00ff)) << w;
    x = (x & UINT64_C(0x0000ffff0000ffff)) | (x >> 16 & UINT64_C(0x0000ffff0000ffff)) << 2 * w;
    return (x & UINT64_C(0xffffffff)) | x >> 32 << 4 * w;
}

INLINE uint64_t spread(uint64_t x, const unsigned w)
{
    const uint64_t four = (UINT64_C(1) << 4 * w) - 1;
    const uint64_t two = ((UINT64_C(1) << 2 * w) - 1) * UINT64_C(0x0000000100000001);
    const uint64_t one = ((UINT64_C(1) << w) - 1) * UINT64_C(0x0001000100010001);
    x = (x & four) | (x >> 4 * w & four) << 32;
    x = (x & two) | (x >> 2 * w & two) << 16;
    return (x & one) | (x >> w & one) << 8;
}

#define EACH_LEVEL_WIDTH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

void bits_pack8(const uint8_t *in, size_t groups, unsigned width, uint8_t *out)
{
    switch (width) {
#define PACK(w)                                                                                    \
    case w:                                                                                        \
        for (size_t g = 0; g < groups; g++, in += 8, out += (w))                                   \
            store_u64le(out, squeeze(load_u64le(in), (w)));                                        \
        break;
        EACH_LEVEL_WIDTH(PACK)
#undef PACK
    default:
        assert(width >= 1 && width <= 7);
    }
}

static void unpack8_inside(const uint8_t *in, size_t groups, unsigned width, uint8_t *out)
{
    switch (width) {
#define UNPACK(w)                                                                                  \
    case w:                                                                                        \
        for (size_t g = 0; g < groups; g++, in += (w), out += 8)                                   \
            store_u64le(out, spread(load_u64le(in), (w)));                                         \
        break;
        EACH_LEVEL_WIDTH(UNPACK)
#undef UNPACK
    default:
        assert(width >= 1 && width <= 7);
    }
}

void bits_unpack8(const uint8_t *in, size_t groups, unsigned width, uint8_t *out)
{
    size_t bytes = groups * width;
    size_t inside = bytes < 8 ? 0 : (bytes - 8) / width + 1;
    unpack8_inside(in, inside, width, out);
    in += inside * width;
    out += inside * 8;
    for (groups -= inside; groups > 0; groups--, in += width, out += 8) {
        uint8_t padded[8] = {0};
        memcpy(padded, in, width);
        unpack8_inside(padded, 1, width, out);
    }
}

/* Widths above 32 come from deltas of ids and of first values: rare, so not unrolled. */
void bits_pack64(const uint64_t *in, size_t groups, unsigned width, uint8_t *out)
{
    assert(width > 0 && width <= 64);
    uint64_t acc = 0;
    unsigned bits = 0;
    for (size_t k = 0; k < groups * 8; k++) {
        acc |= in[k] << bits;
        bits += width;
        if (bits >= 64) {
            store_u64le(out, acc);
            out += 8;
            bits -= 64;
            acc = bits ? in[k] >> (width - bits) : 0;
        }
    }
    if (bits > 0)
        store_u64le(out, acc);
}

void bits_unpack64(const uint8_t *in, size_t groups, unsigned width, uint64_t *out)
{
    assert(width > 0 && width <= 64);
    const uint64_t mask = ~UINT64_C(0) >> (64 - width);
    for (; groups > 0; groups--, in += width, out += 8) {
        uint8_t padded[64 + 16] = {0};
        memcpy(padded, in, width);
        for (unsigned k = 0; k < 8; k++) {
            unsigned at = k * width;
            uint64_t v = load_u64le(padded + (at >> 3)) >> (at & 7);
            if ((at & 7) + width > 64)
                v |= (uint64_t)padded[(at >> 3) + 8] << (64 - (at & 7));
            out[k] = v & mask;
        }
    }
}

size_t bytes_count(const uint8_t *p, size_t count, uint8_t v)
{
    size_t equal = 0;
    size_t i = 0;
    while (count - i >= 8) {
        /* Each lane counts the bytes that differ, up to 255 of them. */
        uint64_t differ = 0;
        size_t words = (count - i) / 8;
        if (words > 255)
            words = 255;
        for (size_t k = 0; k < words; k++) {
            uint64_t x = load_u64le(p + i + k * 8) ^ LANES(v);
            differ += (x + LANES(0x7f)) >> 7 & LANES(1);
        }
        differ =
            (differ & UINT64_C(0x00ff00ff00ff00ff)) + (differ >> 8 & UINT64_C(0x00ff00ff00ff00ff));
        equal += words * 8 - (size_t)(differ * UINT64_C(0x0001000100010001) >> 48);
        i += words * 8;
    }
    for (; i < count; i++)
        equal += p[i] == v;
    return equal;
}

size_t bytes_find(const uint8_t *p, size_t count, uint8_t v, size_t n)
{
    enum { BLOCK = 64 };
    size_t i = 0;
    for (size_t equal; count - i >= BLOCK; i += BLOCK, n -= equal) {
        equal = bytes_count(p + i, BLOCK, v);
        if (equal >= n)
            break;
    }
    for (; i < count; i++) {
        n -= p[i] == v;
        if (n == 0)
            break;
    }
    return i;
}
