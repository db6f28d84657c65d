/* Fuzz target: a tenant's index of blocks. The first byte chooses: protobuf or JSON, and whether
 * what follows is compressed already or is compressed here, so that more than the decompressor is
 * met. What is read is written, and that reads back to the same, in either form. */
#include <assert.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/text.h"
#include "block/tenant_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_JSON = 1, IS_PLAIN = 2 };

#define ARENA_BYTES ((size_t)64 << 20)

static void zstd_of(struct slice plain, struct buf *out)
{
    assert(buf_reserve(out, ZSTD_compressBound(plain.len)) == 0);
    size_t n = ZSTD_compress(out->ptr, out->cap, plain.ptr, plain.len, 1);
    assert(!ZSTD_isError(n));
    out->len = n;
}

static void gzip_of(struct slice plain, struct buf *out)
{
    z_stream z = {0};
    assert(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    assert(buf_reserve(out, deflateBound(&z, plain.len)) == 0);
    z.next_in = (Bytef *)(uintptr_t)plain.ptr;
    z.avail_in = (uInt)plain.len;
    z.next_out = out->ptr;
    z.avail_out = (uInt)out->cap;
    assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->len = z.total_out;
    deflateEnd(&z);
}

static int index_read(bool json, struct slice bytes, struct arena *a, struct tenant_index *out,
                      struct err *err)
{
    return json ? tenant_index_read_json(bytes, a, out, err)
                : tenant_index_read_pb(bytes, a, out, err);
}

/* JSON is UTF-8, and its reader takes no NUL. */
static bool is_clean(struct slice s)
{
    return utf8_valid(s) && (s.len == 0 || !memchr(s.ptr, 0, s.len));
}

static void same_meta(const struct block_meta *a, const struct block_meta *b)
{
    struct buf x, y;
    struct err err = {0};
    bool clean = is_clean(a->tenant);
    for (size_t i = 0; i < a->dedicated_count; i++)
        clean &= is_clean(a->dedicated[i].name);
    if (!clean)
        return;
    buf_init(&x, ARENA_BYTES);
    buf_init(&y, ARENA_BYTES);
    assert(block_meta_write(a, &x, &err) == 0);
    assert(block_meta_write(b, &y, &err) == 0);
    assert(slice_eq(buf_view(&x), buf_view(&y)));
    buf_clear(&x);
    buf_clear(&y);
}

static void check_again(const struct tenant_index *index, bool json)
{
    struct arena *a = arena_new(2 * ARENA_BYTES);
    struct tenant_index again;
    struct err err = {0};
    struct buf out;
    assert(a);
    buf_init(&out, ARENA_BYTES);
    int rc = json ? tenant_index_write_json(index, &out, &err)
                  : tenant_index_write_pb(index, &out, &err);
    assert(rc == 0);
    rc = index_read(json, buf_view(&out), a, &again, &err);
    assert(rc == 0 || rc == ERR_LIMIT);
    if (rc == 0) {
        assert(again.skipped == 0);
        assert(again.live_count == index->live_count);
        assert(again.compacted_count == index->compacted_count);
        for (size_t i = 0; i < index->live_count; i++)
            same_meta(&index->live[i], &again.live[i]);
        for (size_t i = 0; i < index->compacted_count; i++) {
            same_meta(&index->compacted[i].meta, &again.compacted[i].meta);
            assert(index->compacted[i].compacted_unix_ns == again.compacted[i].compacted_unix_ns);
        }
    }
    buf_clear(&out);
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct tenant_index index;
    struct err err = {0};
    struct buf packed;
    assert(a);
    buf_init(&packed, ARENA_BYTES);
    if (size > 0) {
        bool json = data[0] & IS_JSON;
        struct slice bytes = slice_of(data + 1, size - 1);
        if (data[0] & IS_PLAIN) {
            json ? gzip_of(bytes, &packed) : zstd_of(bytes, &packed);
            bytes = buf_view(&packed);
        }
        int rc = index_read(json, bytes, a, &index, &err);
        if (rc < 0) {
            assert(rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_UNSUPPORTED);
            assert(err.code == (enum err_code)rc && err.msg[0]);
        } else {
            check_again(&index, json);
            check_again(&index, !json);
        }
    }
    buf_clear(&packed);
    arena_free(a);
    return 0;
}
