/* PLAIN and BYTE_STREAM_SPLIT: values one after the other, and values byte by byte. */
#include "block/parquet_encoding.h"

#include <assert.h>

/* ---- writing ---- */

int plain_encode_fixed(const void *values, size_t count, size_t size, struct buf *out)
{
    size_t bytes;
    if (!size_mul(count, size, &bytes))
        return ERR_LIMIT;
    return buf_append(out, values, bytes);
}

int plain_encode_bools(const uint8_t *values, size_t count, struct buf *out)
{
    size_t groups = count / 8;
    int rc = buf_reserve(out, groups + 1 + BITS_SLACK);
    if (rc < 0)
        return rc;
    bits_pack8(values, groups, 1, out->ptr + out->len);
    out->len += groups;
    if (count % 8) {
        uint8_t last[8] = {0};
        memcpy(last, values + groups * 8, count % 8);
        bits_pack8(last, 1, 1, out->ptr + out->len);
        out->len++;
    }
    return 0;
}

int plain_encode_bytes(const struct slice *values, size_t count, struct buf *out, struct err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i].len > INT32_MAX || !size_add(bytes, 4 + values[i].len, &bytes))
            return err_set(err, ERR_LIMIT, "value of %zu bytes", values[i].len);
    }
    if (count == 0)
        return 0;
    int rc = buf_reserve(out, bytes);
    if (rc < 0)
        return err_set(err, rc, "%zu bytes of values do not fit a page", bytes);
    uint8_t *to = out->ptr + out->len;
    for (size_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)values[i].len;
        memcpy(to, &len, sizeof len);
        if (len)
            memcpy(to + sizeof len, values[i].ptr, len);
        to += sizeof len + len;
    }
    out->len += bytes;
    return 0;
}

/* ---- reading ---- */

static int too_short(struct err *err, size_t count, struct slice in)
{
    return err_set(err, ERR_CORRUPT, "%zu plain values in %zu bytes", count, in.len);
}

int plain_decode_fixed(struct slice in, void *out, size_t count, size_t size, struct err *err)
{
    size_t bytes;
    if (!size_mul(count, size, &bytes) || bytes > in.len)
        return too_short(err, count, in);
    if (bytes)
        memcpy(out, in.ptr, bytes);
    return 0;
}

int plain_decode_bools(struct slice in, uint8_t *out, size_t count, struct err *err)
{
    size_t groups = count / 8;
    if (groups + (count % 8 != 0) > in.len)
        return too_short(err, count, in);
    bits_unpack8(in.ptr, groups, 1, out);
    if (count % 8) {
        uint8_t last[8];
        bits_unpack8(in.ptr + groups, 1, 1, last);
        memcpy(out + groups * 8, last, count % 8);
    }
    return 0;
}

int plain_decode_bytes(struct slice in, struct slice *out, size_t count, struct err *err)
{
    struct cursor c = cursor_of(in);
    for (size_t i = 0; i < count; i++) {
        uint32_t len;
        if (!cursor_u32le(&c, &len) || !cursor_bytes(&c, len, &out[i]))
            return err_set(err, ERR_CORRUPT, "plain value %zu of %zu is cut off at byte %zu of %zu",
                           i, count, cursor_offset(&c), in.len);
    }
    return 0;
}

int split_decode(struct slice in, void *out, size_t count, size_t size, struct err *err)
{
    size_t bytes;
    if (!size_mul(count, size, &bytes) || bytes > in.len)
        return too_short(err, count, in);
    uint8_t *to = out;
    for (size_t k = 0; k < size; k++) {
        for (size_t i = 0; i < count; i++)
            to[i * size + k] = in.ptr[k * count + i];
    }
    return 0;
}
