/* Decodes the snappy framing format, which libsnappy leaves to its callers. Go's exporters and
 * gRPC's "snappy" send it. */
#include "net/snappy_frame.h"

#include <snappy-c.h>

#include "base/cursor.h"
#include "net/net_limits.h"

enum chunk_type {
    CHUNK_COMPRESSED = 0x00,
    CHUNK_PLAIN = 0x01,
    CHUNK_SKIPPABLE_FIRST = 0x80, /* up to 0xfe: padding and what later versions add */
    CHUNK_STREAM = 0xff,
};

uint32_t snappy_frame_crc(struct slice data)
{
    /* Four bits a step: sixteen words that stay in one cache line or two, and bodies in this
     * coding are rare and small. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < data.len; i++) {
        crc ^= data.ptr[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    crc ^= 0xffffffff;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

static int corrupt(struct err *err, const char *what, size_t at)
{
    return err_set(err, ERR_CORRUPT, "snappy: %s (chunk at byte %zu)", what, at);
}

static int chunk_room(struct buf *out, size_t n, struct err *err)
{
    int rc = buf_reserve(out, n);
    if (rc == ERR_LIMIT)
        return err_set(err, rc, "snappy: more than %zu bytes after decompression", out->max);
    return rc < 0 ? err_set(err, rc, "snappy: no memory to decompress") : 0;
}

/* A data chunk: a checksum of the plain bytes, then the bytes, packed or not. */
static int chunk_data(struct slice chunk, bool packed, size_t at, struct buf *out, struct err *err)
{
    struct cursor c = cursor_of(chunk);
    uint32_t want;
    if (!cursor_u32le(&c, &want))
        return corrupt(err, "no room for a checksum", at);
    struct slice data = slice_of(c.ptr, cursor_left(&c));
    size_t n = data.len;
    if (packed && snappy_uncompressed_length((const char *)data.ptr, data.len, &n) != SNAPPY_OK)
        return corrupt(err, "corrupt input", at);
    if (n > LIMIT_SNAPPY_CHUNK_BYTES)
        return corrupt(err, "more than 65536 bytes in a chunk", at);
    int rc = chunk_room(out, n, err);
    if (rc < 0)
        return rc;
    /* libsnappy wants a place to write to even when it writes nothing there. */
    uint8_t nowhere = 0;
    uint8_t *to = n ? out->ptr + out->len : &nowhere;
    if (packed) {
        if (snappy_uncompress((const char *)data.ptr, data.len, (char *)to, &n) != SNAPPY_OK)
            return corrupt(err, "corrupt input", at);
    } else if (n) {
        memcpy(to, data.ptr, n);
    }
    if (snappy_frame_crc(slice_of(to, n)) != want)
        return corrupt(err, "invalid checksum", at);
    out->len += n;
    return 0;
}

int snappy_frame_decode(struct slice in, struct buf *out, struct err *err)
{
    struct cursor c = cursor_of(in);
    if (in.len == 0)
        return err_set(err, ERR_CORRUPT, "snappy: unexpected EOF");
    while (cursor_left(&c)) {
        size_t at = cursor_offset(&c);
        uint32_t head;
        struct slice chunk;
        if (!cursor_u32le(&c, &head) || !cursor_bytes(&c, head >> 8, &chunk))
            return err_set(err, ERR_CORRUPT,
                           at ? "snappy: unexpected EOF" : "snappy: invalid header");
        uint8_t type = (uint8_t)head;
        if (at == 0 && type != CHUNK_STREAM)
            return err_set(err, ERR_CORRUPT, "snappy: invalid header");
        int rc = 0;
        if (type == CHUNK_STREAM)
            rc = slice_eq(chunk, SLICE("sNaPpY")) ? 0 : corrupt(err, "invalid header", at);
        else if (type == CHUNK_COMPRESSED || type == CHUNK_PLAIN)
            rc = chunk_data(chunk, type == CHUNK_COMPRESSED, at, out, err);
        else if (type < CHUNK_SKIPPABLE_FIRST)
            rc = corrupt(err, "unknown chunk", at);
        if (rc < 0)
            return rc;
    }
    return 0;
}
