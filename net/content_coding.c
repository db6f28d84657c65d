/* Content codings: what net_content_decode undoes, and gzip for answers.
 *
 * Senders choose how their bodies are packed, so all of them are decoded into a buffer that has a
 * maximum: a bomb stops there. zlib, zstd and lz4 share one loop, in which a step function turns
 * some input into some output; framed snappy has no library and stands in snappy_frame.c. */
#include "net/net_server.h"

#include "base/text.h"
#include "net/net_limits.h"
#include "net/snappy_frame.h"

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

/* One step of a decoder: it takes from in, gives to out, and moves both. */
struct step {
    struct slice in;
    uint8_t *out;
    size_t out_len;  /* room */
    bool frame_done; /* the frame or member ended with this step */
    const char *why; /* with ERR_CORRUPT: the text */
};
typedef int(step_fn)(void *ctx, struct step *st);

struct decoder {
    const char *name;
    step_fn *step;
    void *ctx;
    bool one_frame; /* nothing may follow the first frame */
};

#define DECODE_CHUNK_BYTES ((size_t)16 << 10)

static int limit_err(const char *name, size_t max, struct err *err)
{
    return err_set(err, ERR_LIMIT, "%s: more than %zu bytes after decompression", name, max);
}

/* Room to decode into. At the buffer's maximum the step gets one byte beside it: whether that byte
 * is written tells a body that just fits from one that does not. */
static int step_room(struct step *st, struct buf *out, uint8_t *spill)
{
    size_t left = out->max - out->len;
    if (left == 0) {
        st->out = spill;
        st->out_len = 1;
        return 0;
    }
    if (out->cap == out->len) {
        size_t want = left < DECODE_CHUNK_BYTES ? left : DECODE_CHUNK_BYTES;
        int rc = buf_reserve(out, want);
        if (rc < 0)
            return rc;
    }
    st->out = out->ptr + out->len;
    st->out_len = out->cap - out->len;
    return 0;
}

static int decode(const struct decoder *d, struct slice in, struct buf *out, struct err *err)
{
    struct step st = {.in = in};
    for (;;) {
        uint8_t spill;
        int rc = step_room(&st, out, &spill);
        if (rc < 0)
            return err_set(err, rc, "%s: no memory to decompress", d->name);
        size_t in_before = st.in.len;
        size_t room = st.out_len;
        bool spilling = st.out == &spill;
        st.frame_done = false;
        rc = d->step(d->ctx, &st);
        if (rc < 0)
            return err_set(err, rc, "%s: %s (byte %zu of %zu)", d->name, st.why, in.len - st.in.len,
                           in.len);
        size_t got = room - st.out_len;
        if (spilling && got)
            return limit_err(d->name, out->max, err);
        out->len += got;
        if (st.frame_done && st.in.len == 0)
            return 0;
        if (st.frame_done && d->one_frame)
            return err_set(err, ERR_CORRUPT, "%s: %zu bytes after the end", d->name, st.in.len);
        if (!st.frame_done && got == 0 && st.in.len == in_before)
            return err_set(err, ERR_CORRUPT, "%s: unexpected EOF", d->name);
    }
}

/* ---- gzip and zlib ---- */

static int zlib_step(void *ctx, struct step *st)
{
    z_stream *z = ctx;
    const uInt all = 1u << 30; /* uInt is 32 bits; larger inputs go in several steps */
    uInt in_len = st->in.len > all ? all : (uInt)st->in.len;
    uInt out_len = st->out_len > all ? all : (uInt)st->out_len;
    z->next_in = (Bytef *)(uintptr_t)st->in.ptr;
    z->avail_in = in_len;
    z->next_out = st->out;
    z->avail_out = out_len;
    int rc = inflate(z, Z_NO_FLUSH);
    st->in = slice_from(st->in, in_len - z->avail_in);
    st->out_len -= out_len - z->avail_out;
    if (rc == Z_STREAM_END) {
        st->frame_done = true;
        return inflateReset(z) == Z_OK ? 0 : ERR_INTERNAL;
    }
    if (rc == Z_OK || rc == Z_BUF_ERROR)
        return 0;
    st->why = rc == Z_NEED_DICT ? "needs a dictionary" : z->msg ? z->msg : "corrupt input";
    return rc == Z_MEM_ERROR ? ERR_NOMEM : ERR_CORRUPT;
}

/* Members may follow each other (RFC 1952, 2.2); anything else behind one is refused. */
static int gzip_step(void *ctx, struct step *st)
{
    z_stream *z = ctx;
    if (z->total_in == 0 && st->in.len >= 2 && (st->in.ptr[0] != 0x1f || st->in.ptr[1] != 0x8b)) {
        st->why = "invalid header";
        return ERR_CORRUPT;
    }
    return zlib_step(ctx, st);
}

static bool gzip_header_ok(struct slice in)
{
    return slice_starts(SLICE("\x1f\x8b\x08"), slice_of(in.ptr, in.len < 3 ? in.len : 3));
}

static bool zlib_header_ok(struct slice in)
{
    return in.len < 2 || ((in.ptr[0] & 0x0f) == 8 && ((in.ptr[0] << 8) | in.ptr[1]) % 31 == 0);
}

static int zlib_decode(const char *name, bool gzip, struct slice in, struct buf *out,
                       struct err *err)
{
    /* zlib would say it in other words; these are Go's, which clients know. */
    if (gzip ? !gzip_header_ok(in) : !zlib_header_ok(in))
        return err_set(err, ERR_CORRUPT, "%s: invalid header", name);
    z_stream z = {0};
    if (inflateInit2(&z, MAX_WBITS + (gzip ? 16 : 0)) != Z_OK)
        return err_set(err, ERR_NOMEM, "%s: no memory to decompress", name);
    struct decoder d = {
        .name = name, .step = gzip ? gzip_step : zlib_step, .ctx = &z, .one_frame = !gzip};
    int rc = decode(&d, in, out, err);
    inflateEnd(&z);
    return rc;
}

/* ---- zstd ---- */

static int zstd_step(void *ctx, struct step *st)
{
    ZSTD_inBuffer in = {st->in.ptr, st->in.len, 0};
    ZSTD_outBuffer out = {st->out, st->out_len, 0};
    size_t rc = ZSTD_decompressStream(ctx, &out, &in);
    if (ZSTD_isError(rc)) {
        st->why = ZSTD_getErrorName(rc);
        return ERR_CORRUPT;
    }
    st->in = slice_from(st->in, in.pos);
    st->out_len -= out.pos;
    st->frame_done = rc == 0;
    return 0;
}

static int zstd_decode(struct slice in, struct buf *out, struct err *err)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (!z || ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, LIMIT_ZSTD_WINDOW_LOG))) {
        ZSTD_freeDCtx(z);
        return err_set(err, ERR_NOMEM, "zstd: no memory to decompress");
    }
    struct decoder d = {.name = "zstd", .step = zstd_step, .ctx = z};
    int rc = decode(&d, in, out, err);
    ZSTD_freeDCtx(z);
    return rc;
}

/* ---- lz4 ---- */

static int lz4_step(void *ctx, struct step *st)
{
    size_t in_len = st->in.len;
    size_t out_len = st->out_len;
    size_t rc = LZ4F_decompress(ctx, st->out, &out_len, st->in.ptr, &in_len, NULL);
    if (LZ4F_isError(rc)) {
        st->why = LZ4F_getErrorName(rc);
        return ERR_CORRUPT;
    }
    st->in = slice_from(st->in, in_len);
    st->out_len -= out_len;
    st->frame_done = rc == 0;
    return 0;
}

static int lz4_decode(struct slice in, struct buf *out, struct err *err)
{
    LZ4F_dctx *z;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&z, LZ4F_VERSION)))
        return err_set(err, ERR_NOMEM, "lz4: no memory to decompress");
    struct decoder d = {.name = "lz4", .step = lz4_step, .ctx = z};
    int rc = decode(&d, in, out, err);
    LZ4F_freeDecompressionContext(z);
    return rc;
}

/* ---- the door ---- */

int net_content_decode(struct slice encoding, struct slice in, struct buf *out, struct err *err)
{
    if (encoding.len == 0) {
        int rc = buf_slice(out, in);
        return rc == ERR_LIMIT ? err_set(err, rc, "body: more than %zu bytes", out->max)
               : rc < 0        ? err_set(err, rc, "body: no memory for %zu bytes", in.len)
                               : 0;
    }
    if (slice_eq_nocase(encoding, SLICE("gzip")))
        return zlib_decode("gzip", true, in, out, err);
    if (slice_eq_nocase(encoding, SLICE("zlib")))
        return zlib_decode("zlib", false, in, out, err);
    if (slice_eq_nocase(encoding, SLICE("deflate")))
        return zlib_decode("deflate", false, in, out, err);
    if (slice_eq_nocase(encoding, SLICE("zstd")))
        return zstd_decode(in, out, err);
    if (slice_eq_nocase(encoding, SLICE("snappy")))
        return snappy_frame_decode(in, out, err);
    if (slice_eq_nocase(encoding, SLICE("lz4")))
        return lz4_decode(in, out, err);
    char text[80];
    return err_set(err, ERR_UNSUPPORTED, "unsupported Content-Encoding: %s",
                   text_escape(encoding, 32, text, sizeof text));
}

int net_gzip(struct slice in, struct buf *out, struct err *err)
{
    z_stream z = {0};
    /* The fastest level: an answer is packed once and read once, over a near network. */
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(err, ERR_NOMEM, "gzip: no memory to compress");
    size_t len = out->len;
    int rc = 0;
    int zrc = Z_OK;
    do {
        const uInt all = 1u << 30;
        if (z.avail_in == 0 && in.len) {
            z.next_in = (Bytef *)(uintptr_t)in.ptr;
            z.avail_in = in.len > all ? all : (uInt)in.len;
            in = slice_from(in, z.avail_in);
        }
        /* Halving keeps the first guess near what text packs to. */
        size_t want = z.avail_in / 4 + 256;
        size_t left = out->max - out->len;
        rc = left == 0 ? ERR_LIMIT : buf_reserve(out, want < left ? want : left);
        if (rc < 0)
            break;
        size_t room = out->cap - out->len;
        z.next_out = out->ptr + out->len;
        z.avail_out = room > all ? all : (uInt)room;
        uInt offered = z.avail_out;
        zrc = deflate(&z, in.len ? Z_NO_FLUSH : Z_FINISH);
        out->len += offered - z.avail_out;
    } while (zrc != Z_STREAM_END && (zrc == Z_OK || zrc == Z_BUF_ERROR));
    deflateEnd(&z);
    if (rc == 0 && zrc == Z_STREAM_END)
        return 0;
    out->len = len;
    if (rc == ERR_LIMIT)
        return err_set(err, rc, "gzip: more than %zu bytes after compression", out->max);
    return err_set(err, rc < 0 ? rc : ERR_INTERNAL, "gzip: cannot compress");
}
