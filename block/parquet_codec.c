/* Page compression. Output sizes are known from page headers, which are foreign: a size that the
 * codec cannot reach from the bytes that are there is refused before room is made for it. */
#include "block/parquet_priv.h"

#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

/* What compressed bytes can become at most, as bytes out for each byte in:
 * snappy: a copy of 64 bytes takes three; deflate: 258 bytes take two bits; LZ4: a length byte
 * stands for 255; zstd: a block of 128 KiB of one byte takes four. */
static uint64_t ratio_max(enum parquet_codec codec)
{
    switch (codec) {
    case PARQUET_UNCOMPRESSED:
        return 1;
    case PARQUET_SNAPPY:
        return 22;
    case PARQUET_GZIP:
        return 1032;
    case PARQUET_ZSTD:
        return 1 << 15;
    case PARQUET_LZ4_RAW:
        return 256;
    }
    return 0;
}

static const char *codec_name(enum parquet_codec codec)
{
    switch (codec) {
    case PARQUET_UNCOMPRESSED:
        return "uncompressed";
    case PARQUET_SNAPPY:
        return "snappy";
    case PARQUET_GZIP:
        return "gzip";
    case PARQUET_ZSTD:
        return "zstd";
    case PARQUET_LZ4_RAW:
        return "lz4";
    }
    return "unknown codec";
}

bool parquet_codec_known(int64_t codec)
{
    return codec == PARQUET_UNCOMPRESSED || codec == PARQUET_SNAPPY || codec == PARQUET_GZIP ||
           codec == PARQUET_ZSTD || codec == PARQUET_LZ4_RAW;
}

bool parquet_codec_plausible(enum parquet_codec codec, size_t in_bytes, size_t out_bytes)
{
    return out_bytes <= (uint64_t)in_bytes * ratio_max(codec);
}

/* Members may follow one another, as gzip files may be joined. */
static bool gunzip(struct slice in, uint8_t *out, size_t out_bytes)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr,
                  .avail_in = (uInt)in.len,
                  .next_out = out,
                  .avail_out = (uInt)out_bytes};
    if (inflateInit2(&z, 15 + 32) != Z_OK)
        return false;
    int rc;
    while ((rc = inflate(&z, Z_FINISH)) == Z_STREAM_END && z.avail_in > 0 && z.avail_out > 0) {
        if (inflateReset(&z) != Z_OK)
            break;
    }
    bool ok = rc == Z_STREAM_END && z.avail_out == 0;
    inflateEnd(&z);
    return ok;
}

static bool unsnappy(struct slice in, uint8_t *out, size_t out_bytes)
{
    size_t n;
    if (snappy_uncompressed_length((const char *)in.ptr, in.len, &n) != SNAPPY_OK || n != out_bytes)
        return false;
    return snappy_uncompress((const char *)in.ptr, in.len, (char *)out, &n) == SNAPPY_OK &&
           n == out_bytes;
}

static void zstd_free(void *ctx)
{
    ZSTD_freeDCtx(ctx);
}

/* A context asks the processor what it is, which takes longer than a page where a hypervisor
 * answers: so there is one for all pages of an arena. */
static bool unzstd(struct slice in, struct arena *a, uint8_t *out, size_t out_bytes)
{
    ZSTD_DCtx *ctx = arena_kept(a, zstd_free);
    if (!ctx) {
        ctx = ZSTD_createDCtx();
        if (!ctx || !arena_on_reset(a, zstd_free, ctx)) {
            ZSTD_freeDCtx(ctx);
            return false;
        }
    }
    return ZSTD_decompressDCtx(ctx, out, out_bytes, in.ptr, in.len) == out_bytes;
}

int parquet_decompress(enum parquet_codec codec, struct slice in, struct arena *a, uint8_t *out,
                       size_t out_bytes, struct err *err)
{
    bool ok = false;
    if (in.len > INT32_MAX || out_bytes > INT32_MAX)
        return err_set(err, ERR_LIMIT, "%zu bytes to be decompressed to %zu", in.len, out_bytes);
    if (in.len == 0 && out_bytes == 0)
        return 0;
    switch (codec) {
    case PARQUET_UNCOMPRESSED:
        ok = in.len == out_bytes;
        if (ok)
            memcpy(out, in.ptr, in.len);
        break;
    case PARQUET_SNAPPY:
        ok = unsnappy(in, out, out_bytes);
        break;
    case PARQUET_GZIP:
        ok = gunzip(in, out, out_bytes);
        break;
    case PARQUET_ZSTD:
        ok = unzstd(in, a, out, out_bytes);
        break;
    case PARQUET_LZ4_RAW:
        ok = LZ4_decompress_safe((const char *)in.ptr, (char *)out, (int)in.len, (int)out_bytes) ==
             (int)out_bytes;
        break;
    }
    if (!ok)
        return err_set(err, ERR_CORRUPT, "%zu bytes of %s do not decompress to %zu bytes", in.len,
                       codec_name(codec), out_bytes);
    return 0;
}

static size_t bytes_max(enum parquet_codec codec, size_t n)
{
    switch (codec) {
    case PARQUET_UNCOMPRESSED:
        return n;
    case PARQUET_SNAPPY:
        return snappy_max_compressed_length(n);
    case PARQUET_GZIP:
        return compressBound((uLong)n) + 18; /* gzip's header and trailer are longer than zlib's */
    case PARQUET_ZSTD:
        return ZSTD_compressBound(n);
    case PARQUET_LZ4_RAW:
        return (size_t)LZ4_compressBound((int)n);
    }
    return 0;
}

static bool gzip(struct slice in, uint8_t *out, size_t *out_bytes)
{
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    z.next_in = (Bytef *)(uintptr_t)in.ptr;
    z.avail_in = (uInt)in.len;
    z.next_out = out;
    z.avail_out = (uInt)*out_bytes;
    bool ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
    *out_bytes = z.total_out;
    deflateEnd(&z);
    return ok;
}

/* Level 1 is the one that pays: level 3 takes twice the time for a twentieth less
 * (docs/formats/block.md, 5.4). */
#define ZSTD_LEVEL 1

static bool zstd(struct compressor *k, struct slice in, uint8_t *out, size_t *out_bytes)
{
    if (!k->zstd)
        k->zstd = ZSTD_createCCtx();
    if (!k->zstd)
        return false;
    *out_bytes = ZSTD_compressCCtx(k->zstd, out, *out_bytes, in.ptr, in.len, ZSTD_LEVEL);
    return !ZSTD_isError(*out_bytes);
}

void compressor_clear(struct compressor *k)
{
    ZSTD_freeCCtx(k->zstd);
    k->zstd = NULL;
}

int parquet_compress(struct compressor *k, enum parquet_codec codec, struct slice in,
                     struct buf *out, struct err *err)
{
    if (in.len > INT32_MAX / 2)
        return err_set(err, ERR_LIMIT, "page of %zu bytes", in.len);
    size_t n = bytes_max(codec, in.len);
    int rc = buf_reserve(out, n + 1);
    if (rc < 0)
        return err_set(err, rc, "no room for %zu bytes of a page", n);
    uint8_t *to = out->ptr + out->len;
    const char *from = in.len ? (const char *)in.ptr : "";
    bool ok = true;
    switch (codec) {
    case PARQUET_UNCOMPRESSED:
        if (in.len)
            memcpy(to, from, in.len);
        n = in.len;
        break;
    case PARQUET_SNAPPY:
        ok = snappy_compress(from, in.len, (char *)to, &n) == SNAPPY_OK;
        break;
    case PARQUET_GZIP:
        ok = gzip(in, to, &n);
        break;
    case PARQUET_ZSTD:
        ok = zstd(k, in, to, &n);
        break;
    case PARQUET_LZ4_RAW: {
        int got = LZ4_compress_default(from, (char *)to, (int)in.len, (int)n);
        ok = got > 0;
        n = (size_t)got;
        break;
    }
    }
    if (!ok)
        return err_set(err, ERR_INTERNAL, "%s did not compress %zu bytes", codec_name(codec),
                       in.len);
    out->len += n;
    return 0;
}
