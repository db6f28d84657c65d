/* gRPC's framing: the five-byte prefix, the message behind it, and the trailers' spellings.
 *
 * Kept apart from nghttp2 so that it can be tested, and fuzzed, with plain bytes. Error texts are
 * grpc-go's where it has one, since clients log them and people search for them. */
#include "net/grpc_frame.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/text.h"
#include "net/net_server.h"

enum { GRPC_PLAIN = 0, GRPC_PACKED = 1 };

static bool is_identity(struct slice encoding)
{
    return encoding.len == 0 || slice_eq(encoding, SLICE("identity"));
}

int grpc_encoding_check(struct slice encoding, struct err *err)
{
    if (is_identity(encoding) || slice_eq(encoding, SLICE("gzip")) ||
        slice_eq(encoding, SLICE("snappy")) || slice_eq(encoding, SLICE("zstd")))
        return 0;
    char text[160];
    return err_set(err, ERR_UNSUPPORTED,
                   "grpc: Decompressor is not installed for grpc-encoding \"%s\"",
                   text_escape(encoding, 64, text, sizeof text));
}

static int prefix_check(struct grpc_unary *u, uint64_t max, struct err *err)
{
    if (u->prefix[0] > GRPC_PACKED)
        return err_set(err, ERR_CORRUPT, "grpc: received unexpected payload format %u",
                       u->prefix[0]);
    u->message_len = load_u32be(u->prefix + 1);
    if (u->message_len > max)
        return err_set(err, ERR_LIMIT,
                       "grpc: received message larger than max (%" PRIu32 " vs. %" PRIu64 ")",
                       u->message_len, max);
    return 0;
}

int grpc_unary_feed(struct grpc_unary *u, struct slice in, uint64_t max, struct buf *body,
                    struct err *err)
{
    if (u->prefix_len < GRPC_PREFIX_BYTES) {
        size_t want = GRPC_PREFIX_BYTES - u->prefix_len;
        size_t n = in.len < want ? in.len : want;
        if (n)
            memcpy(u->prefix + u->prefix_len, in.ptr, n);
        u->prefix_len += (uint8_t)n;
        in = slice_from(in, n);
        if (n < want)
            return 0;
        int rc = prefix_check(u, max, err);
        if (rc < 0)
            return rc;
    }
    size_t left = u->message_len - body->len;
    if (in.len > left)
        return err_set(err, ERR_CORRUPT,
                       "grpc: %zu bytes after the message where a unary call has one message",
                       in.len - left);
    int rc = buf_slice(body, in);
    return rc < 0
               ? err_set(err, rc, "grpc: no memory for a message of %zu bytes", body->len + in.len)
               : 0;
}

int grpc_unary_end(const struct grpc_unary *u, struct slice encoding, uint64_t max,
                   struct buf *body, struct err *err)
{
    if (u->prefix_len < GRPC_PREFIX_BYTES || body->len < u->message_len)
        return err_set(err, ERR_CORRUPT,
                       "grpc: unexpected EOF (%u of 5 prefix bytes, %zu of %" PRIu32
                       " message bytes)",
                       u->prefix_len, body->len, u->message_len);
    if (u->prefix[0] == GRPC_PLAIN)
        return 0;
    if (is_identity(encoding))
        return err_set(err, ERR_CORRUPT,
                       "grpc: compressed flag set with identity or empty encoding");
    struct buf plain;
    buf_init(&plain, max > SIZE_MAX ? SIZE_MAX : (size_t)max);
    int rc = net_content_decode(encoding, buf_view(body), &plain, err);
    if (rc < 0) {
        buf_clear(&plain);
        if (rc == ERR_LIMIT)
            return err_set(err, rc,
                           "grpc: received message after decompression larger than max %" PRIu64,
                           max);
        err_wrap(err, "grpc: failed to decompress the received message");
        return rc;
    }
    buf_clear(body);
    *body = plain;
    return 0;
}

void grpc_prefix(bool compressed, uint32_t len, uint8_t out[GRPC_PREFIX_BYTES])
{
    out[0] = compressed ? GRPC_PACKED : GRPC_PLAIN;
    uint32_t be = __builtin_bswap32(len);
    memcpy(out + 1, &be, sizeof be);
}

int grpc_message_encode(struct slice text, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
        int rc = c < 0x20 || c > 0x7e || c == '%' ? buf_append(out, escaped, sizeof escaped)
                                                  : buf_u8(out, c);
        if (rc < 0)
            return rc;
    }
    return 0;
}

bool grpc_timeout_parse(struct slice in, uint64_t *ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {
        {'H', 3600 * NS_PER_S}, {'M', 60 * NS_PER_S}, {'S', NS_PER_S},
        {'m', NS_PER_MS},       {'u', 1000},          {'n', 1},
    };
    uint64_t value;
    if (in.len < 2 || in.len > 9 || !parse_u64(slice_of(in.ptr, in.len - 1), &value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (in.ptr[in.len - 1] != units[i].unit)
            continue;
        /* Eight digits of hours are beyond 64 bits of nanoseconds: as good as for ever. */
        if (__builtin_mul_overflow(value, units[i].ns, ns))
            *ns = UINT64_MAX;
        return true;
    }
    return false;
}

int grpc_status_of_http(int status)
{
    switch (status) {
    case 200:
        return 0;
    case 400:
        return 3;
    case 404:
        return 5;
    case 429:
        return 8;
    case 499:
        return 1;
    default:
        return status >= 500 ? 13 : 2;
    }
}
