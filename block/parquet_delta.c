/* DELTA_BINARY_PACKED: numbers as differences, in blocks of 128 (4 miniblocks of 32) that each have
 * a smallest difference and a bit width a miniblock; and DELTA_LENGTH_BYTE_ARRAY and
 * DELTA_BYTE_ARRAY, which are built on it. Differences wrap modulo 2^32 or 2^64, so unsigned
 * columns need nothing of their own. Both widths share one coder: 32-bit differences fit 64 bits.
 */
#include "block/parquet_encoding.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#define BLOCK_VALUES 128
#define MINI_COUNT 4
#define MINI_VALUES (BLOCK_VALUES / MINI_COUNT)

/* Largest block that is read; parquet-go's limit. */
#define BLOCK_VALUES_MAX 65536

static unsigned width64(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* ---- writing ---- */

static int put_header(struct buf *out, size_t count, int64_t first)
{
    int rc = buf_reserve(out, 2 + 1 + 10 + 10);
    if (rc < 0)
        return rc;
    buf_varint(out, BLOCK_VALUES);
    buf_varint(out, MINI_COUNT);
    buf_varint(out, count);
    return buf_varint(out, zigzag_encode(first));
}

static void put_mini(struct buf *out, const int64_t *deltas, int64_t min, unsigned width)
{
    uint8_t *to = out->ptr + out->len;
    if (width <= 32) {
        uint32_t above[MINI_VALUES];
        for (size_t i = 0; i < MINI_VALUES; i++)
            above[i] = (uint32_t)((uint64_t)deltas[i] - (uint64_t)min);
        bits_pack32(above, MINI_VALUES / 8, width, to);
    } else {
        uint64_t above[MINI_VALUES];
        for (size_t i = 0; i < MINI_VALUES; i++)
            above[i] = (uint64_t)deltas[i] - (uint64_t)min;
        bits_pack64(above, MINI_VALUES / 8, width, to);
    }
    out->len += MINI_VALUES / 8 * width;
}

/* deltas has room for BLOCK_VALUES; those from count on are set here. */
static int put_block(struct buf *out, int64_t *deltas, size_t count)
{
    int rc = buf_reserve(out, 10 + MINI_COUNT + BLOCK_VALUES * 8 + BITS_SLACK);
    if (rc < 0)
        return rc;
    int64_t min = deltas[0];
    for (size_t i = 1; i < count; i++)
        min = deltas[i] < min ? deltas[i] : min;
    /* A miniblock in use is complete; its padding costs no bits. */
    for (size_t i = count; i < BLOCK_VALUES; i++)
        deltas[i] = min;
    buf_varint(out, zigzag_encode(min));
    uint8_t *widths = out->ptr + out->len;
    out->len += MINI_COUNT;
    for (size_t m = 0; m < MINI_COUNT; m++) {
        const int64_t *mini = deltas + m * MINI_VALUES;
        uint64_t bits = 0;
        for (size_t i = 0; i < MINI_VALUES; i++)
            bits |= (uint64_t)mini[i] - (uint64_t)min;
        unsigned width = width64(bits);
        widths[m] = (uint8_t)width;
        if (width > 0)
            put_mini(out, mini, min, width);
    }
    return 0;
}

int delta_encode_i32(const int32_t *values, size_t count, struct buf *out)
{
    int64_t deltas[BLOCK_VALUES];
    int rc = put_header(out, count, count ? values[0] : 0);
    for (size_t at = 1; rc == 0 && at < count;) {
        size_t n = count - at < BLOCK_VALUES ? count - at : BLOCK_VALUES;
        for (size_t i = 0; i < n; i++)
            deltas[i] = (int32_t)((uint32_t)values[at + i] - (uint32_t)values[at + i - 1]);
        rc = put_block(out, deltas, n);
        at += n;
    }
    return rc;
}

int delta_encode_i64(const int64_t *values, size_t count, struct buf *out)
{
    int64_t deltas[BLOCK_VALUES];
    int rc = put_header(out, count, count ? values[0] : 0);
    for (size_t at = 1; rc == 0 && at < count;) {
        size_t n = count - at < BLOCK_VALUES ? count - at : BLOCK_VALUES;
        for (size_t i = 0; i < n; i++)
            deltas[i] = (int64_t)((uint64_t)values[at + i] - (uint64_t)values[at + i - 1]);
        rc = put_block(out, deltas, n);
        at += n;
    }
    return rc;
}

/* Copies of a constant length are one or two instructions; ids are 8 and 16 bytes long. */
static inline void copy_value(uint8_t *to, struct slice v)
{
    if (v.len == 8)
        memcpy(to, v.ptr, 8);
    else if (v.len == 16)
        memcpy(to, v.ptr, 16);
    else if (v.len > 0)
        memcpy(to, v.ptr, v.len);
}

int delta_length_encode(const struct slice *values, size_t count, int32_t *lengths, struct buf *out,
                        struct err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i].len > INT32_MAX || !size_add(bytes, values[i].len, &bytes))
            return err_set(err, ERR_LIMIT, "value of %zu bytes", values[i].len);
        lengths[i] = (int32_t)values[i].len;
    }
    int rc = delta_encode_i32(lengths, count, out);
    if (rc == 0)
        rc = buf_reserve(out, bytes);
    if (rc < 0)
        return err_set(err, rc, "%zu bytes of values do not fit a page", bytes);
    uint8_t *to = out->ptr + out->len;
    for (size_t i = 0; i < count; i++) {
        copy_value(to, values[i]);
        to += values[i].len;
    }
    out->len += bytes;
    return 0;
}

/* ---- reading ---- */

struct delta_head {
    size_t block_values;
    size_t mini_count;
    size_t mini_values;
    size_t count;
    int64_t first;
};

static int get_header(struct cursor *c, size_t count, struct delta_head *h, struct err *err)
{
    uint64_t block, minis, total, first;
    size_t at = cursor_offset(c);
    if (!cursor_varint(c, &block) || !cursor_varint(c, &minis) || !cursor_varint(c, &total) ||
        !cursor_varint(c, &first))
        return err_set(err, ERR_CORRUPT, "delta header at byte %zu is cut off", at);
    if (block == 0 || block > BLOCK_VALUES_MAX || block % 128 || minis == 0 || block % minis ||
        block / minis % 32)
        return err_set(err, ERR_CORRUPT, "delta blocks of %llu values in %llu miniblocks",
                       (unsigned long long)block, (unsigned long long)minis);
    if (total != count)
        return err_set(err, ERR_CORRUPT, "%llu delta values, %zu expected",
                       (unsigned long long)total, count);
    *h = (struct delta_head){.block_values = (size_t)block,
                             .mini_count = (size_t)minis,
                             .mini_values = (size_t)(block / minis),
                             .count = count,
                             .first = zigzag_decode(first)};
    return 0;
}

int delta_check(const struct cursor *c, size_t count, struct err *err)
{
    struct cursor at = *c;
    struct delta_head h;
    int rc = get_header(&at, count, &h, err);
    if (rc < 0)
        return rc;
    size_t blocks = count > 1 ? (count - 2) / h.block_values + 1 : 0;
    if (blocks > cursor_left(&at) / (1 + h.mini_count))
        return err_set(err, ERR_CORRUPT, "%zu delta blocks in %zu bytes", blocks, cursor_left(&at));
    return 0;
}

static int get_block(struct cursor *c, const struct delta_head *h, unsigned width_max, int64_t *min,
                     struct slice *widths, size_t left, struct err *err)
{
    uint64_t v;
    if (!cursor_varint(c, &v) || !cursor_bytes(c, h->mini_count, widths))
        return err_set(err, ERR_CORRUPT, "delta block at byte %zu is cut off, %zu values early",
                       cursor_offset(c), left);
    *min = zigzag_decode(v);
    /* Widths of miniblocks that are not in use may be anything. */
    size_t used = (left - 1) / h->mini_values + 1;
    for (size_t m = 0; m < widths->len && m < used; m++) {
        if (widths->ptr[m] > width_max)
            return err_set(err, ERR_CORRUPT, "delta bit width %u before byte %zu", widths->ptr[m],
                           cursor_offset(c));
    }
    return 0;
}

static int get_mini(struct cursor *c, const struct delta_head *h, unsigned width,
                    struct slice *packed, struct err *err)
{
    if (!cursor_bytes(c, h->mini_values / 8 * width, packed))
        return err_set(err, ERR_CORRUPT, "miniblock of width %u at byte %zu is cut off", width,
                       cursor_offset(c));
    return 0;
}

/* One function a value width, made from one text: out gets the running sum. */
#define DELTA_MINI(NAME, INT, UINT)                                                                \
    static UINT NAME(const uint8_t *packed, unsigned width, UINT min, UINT last, INT *out,         \
                     size_t n)                                                                     \
    {                                                                                              \
        if (width == 0) {                                                                          \
            for (size_t i = 0; i < n; i++)                                                         \
                out[i] = (INT)(last += min);                                                       \
            return last;                                                                           \
        }                                                                                          \
        for (size_t at = 0; at < n; at += MINI_VALUES, packed += MINI_VALUES / 8 * width) {        \
            size_t take = n - at < MINI_VALUES ? n - at : MINI_VALUES;                             \
            if (width <= 32) {                                                                     \
                uint32_t above[MINI_VALUES];                                                       \
                bits_unpack32(packed, MINI_VALUES / 8, width, above);                              \
                for (size_t i = 0; i < take; i++)                                                  \
                    out[at + i] = (INT)(last += min + above[i]);                                   \
            } else {                                                                               \
                uint64_t above[MINI_VALUES];                                                       \
                bits_unpack64(packed, MINI_VALUES / 8, width, above);                              \
                for (size_t i = 0; i < take; i++)                                                  \
                    out[at + i] = (INT)(last += min + (UINT)above[i]);                             \
            }                                                                                      \
        }                                                                                          \
        return last;                                                                               \
    }

#define DELTA_DECODE(NAME, MINI, INT, UINT)                                                        \
    int NAME(struct cursor *c, INT *out, size_t count, struct err *err)                            \
    {                                                                                              \
        struct delta_head h;                                                                       \
        int rc = get_header(c, count, &h, err);                                                    \
        if (rc < 0 || count == 0)                                                                  \
            return rc;                                                                             \
        UINT last = (UINT)h.first;                                                                 \
        out[0] = (INT)last;                                                                        \
        for (size_t at = 1; at < count;) {                                                         \
            int64_t min = 0;                                                                       \
            struct slice widths, packed = {0};                                                     \
            rc = get_block(c, &h, sizeof(INT) * 8, &min, &widths, count - at, err);                \
            for (size_t m = 0; rc == 0 && m < h.mini_count && at < count; m++) {                   \
                size_t n = count - at < h.mini_values ? count - at : h.mini_values;                \
                rc = get_mini(c, &h, widths.ptr[m], &packed, err);                                 \
                if (rc < 0)                                                                        \
                    break;                                                                         \
                last = MINI(packed.ptr, widths.ptr[m], (UINT)min, last, out + at, n);              \
                at += n;                                                                           \
            }                                                                                      \
            if (rc < 0)                                                                            \
                return rc;                                                                         \
        }                                                                                          \
        return 0;                                                                                  \
    }

DELTA_MINI(mini_i32, int32_t, uint32_t)
DELTA_MINI(mini_i64, int64_t, uint64_t)
DELTA_DECODE(delta_decode_i32, mini_i32, int32_t, uint32_t)
DELTA_DECODE(delta_decode_i64, mini_i64, int64_t, uint64_t)

/* Lengths in front of bytes. *lengths is malloced; the cursor stands at the bytes. */
static int get_lengths(struct cursor *c, size_t count, int32_t **lengths, struct err *err)
{
    int rc = delta_check(c, count, err);
    if (rc < 0)
        return rc;
    int32_t *at = malloc(count ? count * sizeof *at : 1);
    if (!at)
        return err_set(err, ERR_NOMEM, "no memory for %zu lengths", count);
    rc = delta_decode_i32(c, at, count, err);
    if (rc < 0) {
        free(at);
        return rc;
    }
    *lengths = at;
    return 0;
}

int delta_length_decode(struct slice in, struct slice *out, size_t count, struct err *err)
{
    struct cursor c = cursor_of(in);
    int32_t *lengths;
    int rc = get_lengths(&c, count, &lengths, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (lengths[i] < 0 || !cursor_bytes(&c, (size_t)lengths[i], &out[i])) {
            rc = err_set(err, ERR_CORRUPT, "value %zu of %zu has length %d, %zu bytes left", i,
                         count, lengths[i], cursor_left(&c));
            break;
        }
    }
    free(lengths);
    return rc;
}

static int join_bytes(const int32_t *prefixes, struct slice *out, size_t count, struct arena *a,
                      struct err *err)
{
    /* Lengths first: a value is its prefix of the value before, and its suffix. */
    size_t bytes = 0;
    size_t before = 0;
    for (size_t i = 0; i < count; i++) {
        if (prefixes[i] < 0 || (size_t)prefixes[i] > before)
            return err_set(err, ERR_CORRUPT, "value %zu takes %d bytes of a value of %zu", i,
                           prefixes[i], before);
        if (!size_add((size_t)prefixes[i], out[i].len, &before) || !size_add(bytes, before, &bytes))
            return err_set(err, ERR_LIMIT, "delta strings pass the size of memory");
    }
    uint8_t *to = arena_alloc(a, bytes);
    if (!to)
        return arena_err(a, err, "a page of delta strings");
    const uint8_t *last = to;
    for (size_t i = 0; i < count; i++) {
        uint8_t *start = to;
        memcpy(to, last, (size_t)prefixes[i]);
        to += prefixes[i];
        if (out[i].len)
            memcpy(to, out[i].ptr, out[i].len);
        to += out[i].len;
        out[i] = slice_of(start, (size_t)(to - start));
        last = start;
    }
    return 0;
}

int delta_bytes_decode(struct slice in, struct slice *out, size_t count, struct arena *a,
                       struct err *err)
{
    struct cursor c = cursor_of(in);
    int32_t *prefixes;
    int rc = get_lengths(&c, count, &prefixes, err);
    if (rc < 0)
        return rc;
    rc = delta_length_decode(slice_of(c.ptr, cursor_left(&c)), out, count, err);
    if (rc == 0)
        rc = join_bytes(prefixes, out, count, a, err);
    free(prefixes);
    return rc;
}
