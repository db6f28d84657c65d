/* The tenant index: Tempo's own objects read, ours read back equal, hostile ones refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "block/tenant_index.h"
#include "tests/support/otlp_support.h"

#define FIXTURES "tests/data/fixtures/blocks/"

typedef int(read_fn)(struct slice, struct arena *, struct tenant_index *, struct err *);
typedef int(write_fn)(const struct tenant_index *, struct buf *, struct err *);

static void metas_equal(const struct block_meta *a, const struct block_meta *b)
{
    assert_int_equal(a->version, b->version);
    assert_memory_equal(a->id, b->id, 16);
    assert_true(slice_eq(a->tenant, b->tenant));
    assert_int_equal(a->start_unix_ns, b->start_unix_ns);
    assert_int_equal(a->end_unix_ns, b->end_unix_ns);
    assert_int_equal(a->total_objects, b->total_objects);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->compaction_level, b->compaction_level);
    assert_int_equal(a->total_records, b->total_records);
    assert_int_equal(a->bloom_shards, b->bloom_shards);
    assert_int_equal(a->footer_size, b->footer_size);
    assert_int_equal(a->replication_factor, b->replication_factor);
    assert_int_equal(a->dedicated_count, b->dedicated_count);
    for (size_t i = 0; i < a->dedicated_count; i++) {
        assert_int_equal(a->dedicated[i].scope, b->dedicated[i].scope);
        assert_int_equal(a->dedicated[i].type, b->dedicated[i].type);
        assert_int_equal(a->dedicated[i].is_array, b->dedicated[i].is_array);
        assert_int_equal(a->dedicated[i].is_blob, b->dedicated[i].is_blob);
        assert_true(slice_eq(a->dedicated[i].name, b->dedicated[i].name));
    }
}

static void indexes_equal(const struct tenant_index *a, const struct tenant_index *b)
{
    assert_int_equal(a->created_unix_ns, b->created_unix_ns);
    assert_int_equal(a->live_count, b->live_count);
    assert_int_equal(a->compacted_count, b->compacted_count);
    for (size_t i = 0; i < a->live_count; i++)
        metas_equal(&a->live[i], &b->live[i]);
    for (size_t i = 0; i < a->compacted_count; i++) {
        metas_equal(&a->compacted[i].meta, &b->compacted[i].meta);
        assert_int_equal(a->compacted[i].compacted_unix_ns, b->compacted[i].compacted_unix_ns);
    }
}

static void read_file(const char *tenant, const char *name, read_fn *read, struct arena *a,
                      struct tenant_index *out)
{
    char path[128];
    struct buf bytes;
    struct err err = {0};
    buf_init(&bytes, 1 << 20);
    snprintf(path, sizeof path, FIXTURES "%s/%s", tenant, name);
    support_read_file(path, &bytes);
    if (read(buf_view(&bytes), a, out, &err) < 0)
        fail_msg("%s: %s", path, err.msg);
    buf_clear(&bytes);
}

static void tempos_indexes_say_the_same_in_both_forms(void **state)
{
    (void)state;
    static const struct {
        const char *tenant;
        size_t live, compacted;
    } of[] = {{"single-tenant", 1, 0}, {"acme", 1, 0}, {"sharded", 1, 2}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct arena *a = arena_new(1 << 20);
        struct tenant_index pb, json;
        read_file(of[i].tenant, TENANT_INDEX_PB, tenant_index_read_pb, a, &pb);
        read_file(of[i].tenant, TENANT_INDEX_JSON, tenant_index_read_json, a, &json);
        assert_int_equal(pb.live_count, of[i].live);
        assert_int_equal(pb.compacted_count, of[i].compacted);
        assert_int_equal(pb.skipped, 0);
        indexes_equal(&pb, &json);
        /* And what each block's own meta.json says. */
        for (size_t k = 0; k < pb.live_count + pb.compacted_count; k++) {
            bool live = k < pb.live_count;
            const struct block_meta *m = live ? &pb.live[k] : &pb.compacted[k - pb.live_count].meta;
            char uuid[37], path[160];
            struct block_meta own;
            struct buf bytes;
            struct err err = {0};
            buf_init(&bytes, 1 << 20);
            uuid_format(m->id, uuid);
            snprintf(path, sizeof path, FIXTURES "%s/%s/meta%s.json", of[i].tenant, uuid,
                     live ? "" : ".compacted");
            support_read_file(path, &bytes);
            assert_int_equal(block_meta_parse(buf_view(&bytes), a, &own, &err), 0);
            metas_equal(m, &own);
            buf_clear(&bytes);
        }
        arena_free(a);
    }
}

/* The bytes of the format's page: the complete object of tenant single-tenant. */
static const char worked_example[] =
    "28b52ffd04000903000a0c08bba198d80610eeecf5a70312510a09765061727175657434"
    "1210eef1d7f351c24dada86470817cd811492a0d73696e676c652d74656e616e74"
    "320608e0a098d8063a0608e0a098d806400b48d889025a0100680178018001938f018a0100"
    "4b049882";

static void the_worked_example_reads_and_our_protobuf_is_its_bytes(void **state)
{
    (void)state;
    uint8_t bytes[sizeof worked_example / 2];
    struct arena *a = arena_new(1 << 20);
    struct tenant_index x;
    struct err err = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(hex_decode(slice_cstr(worked_example), bytes));
    struct slice whole = slice_of(bytes, (sizeof worked_example - 1) / 2);
    if (tenant_index_read_pb(whole, a, &x, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(x.live_count, 1);
    assert_int_equal(x.live[0].total_objects, 11);
    assert_int_equal(x.live[0].size, 34008);
    assert_int_equal(x.live[0].footer_size, 18323);
    assert_int_equal(x.live[0].start_unix_ns, UINT64_C(1795559520) * NS_PER_S);
    assert_int_equal(x.created_unix_ns, UINT64_C(1795559611) * NS_PER_S + 889026158);
    /* Compression may differ, the message may not. */
    assert_int_equal(tenant_index_write_pb(&x, &out, &err), 0);
    uint8_t message[256];
    size_t n = ZSTD_decompress(message, sizeof message, out.ptr, out.len);
    assert_int_equal(n, 97);
    assert_memory_equal(message, bytes + 9, 97);
    buf_clear(&out);
    arena_free(a);
}

static const struct block_dedicated dedicated[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = {(const uint8_t *)"host.name", 9}},
    {.scope = BLOCK_SCOPE_SPAN, .type = BLOCK_DEDICATED_INT, .name = {(const uint8_t *)"port", 4}},
    {.scope = BLOCK_SCOPE_EVENT, .is_blob = true, .name = {(const uint8_t *)"q\"<\\", 4}},
};

static struct block_meta sample(struct rng *rng, unsigned i)
{
    struct block_meta m = {
        .version = (enum block_version)(3 + i % 3),
        .tenant = i % 2 ? SLICE("acme") : SLICE("t/\"\xc3\xa9"),
        .start_unix_ns = i % 4 ? (1700000000 + i) * NS_PER_S : 0,
        .end_unix_ns = i % 4 ? (1700000001 + i) * NS_PER_S : 0,
        .total_objects = (int64_t)(rng_next(rng) >> 12),
        .size = rng_next(rng) >> 12,
        .compaction_level = i,
        .total_records = i * 7,
        .bloom_shards = i,
        .footer_size = i * 1000,
        .replication_factor = i % 2,
        .dedicated = dedicated,
        .dedicated_count = i % 4,
    };
    for (size_t k = 0; k < 16; k++)
        m.id[k] = (uint8_t)rng_next(rng);
    return m;
}

static void written_reads_back_equal(write_fn *write, read_fn *read)
{
    struct rng rng = {42};
    for (unsigned round = 0; round < 20; round++) {
        struct block_meta live[30];
        struct tenant_index_compacted compacted[30];
        struct tenant_index x = {.created_unix_ns = rng_next(&rng) >> 3,
                                 .live = live,
                                 .live_count = rng_below(&rng, 30),
                                 .compacted = compacted,
                                 .compacted_count = rng_below(&rng, 30)},
                            back;
        for (unsigned i = 0; i < 30; i++) {
            live[i] = sample(&rng, i);
            compacted[i].meta = sample(&rng, i + 1);
            compacted[i].compacted_unix_ns = rng_next(&rng) >> 3;
        }
        struct arena *a = arena_new(1 << 20);
        struct err err = {0};
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_int_equal(write(&x, &out, &err), 0);
        if (read(buf_view(&out), a, &back, &err) < 0)
            fail_msg("%s", err.msg);
        indexes_equal(&x, &back);
        buf_clear(&out);
        arena_free(a);
    }
}

static void what_we_write_as_protobuf_reads_back_equal(void **state)
{
    (void)state;
    written_reads_back_equal(tenant_index_write_pb, tenant_index_read_pb);
}

static void what_we_write_as_json_reads_back_equal(void **state)
{
    (void)state;
    written_reads_back_equal(tenant_index_write_json, tenant_index_read_json);
}

static void times_are_written_as_in_meta_json(void **state)
{
    (void)state;
    struct block_meta m = {.version = BLOCK_VPARQUET4,
                           .start_unix_ns = 5 * NS_PER_S + 1,
                           .end_unix_ns = 7 * NS_PER_S + 1};
    struct tenant_index x = {.live = &m, .live_count = 1}, back;
    struct arena *a = arena_new(1 << 20);
    struct err err = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(tenant_index_write_pb(&x, &out, &err), 0);
    assert_int_equal(tenant_index_read_pb(buf_view(&out), a, &back, &err), 0);
    assert_int_equal(back.live[0].start_unix_ns, 5 * NS_PER_S);
    assert_int_equal(back.live[0].end_unix_ns, 8 * NS_PER_S);
    buf_clear(&out);
    arena_free(a);
}

/* ---- what others may write ---- */

static int read_plain_pb(struct slice pb, struct arena *a, struct tenant_index *x, struct err *err)
{
    uint8_t z[4096];
    size_t n = ZSTD_compress(z, sizeof z, pb.ptr, pb.len, 1);
    assert_false(ZSTD_isError(n));
    return tenant_index_read_pb(slice_of(z, n), a, x, err);
}

static int read_plain_json(const char *json, struct arena *a, struct tenant_index *x,
                           struct err *err)
{
    uint8_t z[4096];
    z_stream s = {.next_in = (Bytef *)(uintptr_t)json,
                  .avail_in = (uInt)strlen(json),
                  .next_out = z,
                  .avail_out = sizeof z};
    assert_int_equal(deflateInit2(&s, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    deflateEnd(&s);
    return tenant_index_read_json(slice_of(z, s.total_out), a, x, err);
}

static void put_meta(struct buf *out, uint32_t field, const char *version, size_t id_bytes,
                     const char *dedicated_json)
{
    struct buf m;
    buf_init(&m, 4096);
    support_pb_bytes(&m, 1, slice_cstr(version));
    support_pb_bytes(&m, 2, slice_of("0123456789abcdefg", id_bytes));
    support_pb_varint(&m, 99, 7); /* of a version to come */
    support_pb_fixed64(&m, 98, 7);
    support_pb_fixed32(&m, 97, 7);
    support_pb_bytes(&m, 17, slice_cstr(dedicated_json));
    support_pb_bytes(out, field, buf_view(&m));
    buf_clear(&m);
}

static void other_formats_are_skipped_and_unknown_fields_too(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct tenant_index x;
    struct err err = {0};
    struct buf pb;
    buf_init(&pb, 4096);
    put_meta(&pb, 2, "vParquet4", 16, "[{\"n\":\"a\",\"new\":1}]");
    put_meta(&pb, 2, "v2", 16, "");
    put_meta(&pb, 2, "vParquet5", 16, "null");
    put_meta(&pb, 9, "?", 3, "");
    int rc = read_plain_pb(buf_view(&pb), a, &x, &err);
    assert_int_equal(rc, ERR_CORRUPT); /* null is no list */
    buf_reset(&pb);
    put_meta(&pb, 2, "vParquet4", 16, "[{\"n\":\"a\",\"new\":1}]");
    put_meta(&pb, 2, "v2", 16, "");
    put_meta(&pb, 9, "?", 3, "");
    if (read_plain_pb(buf_view(&pb), a, &x, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(x.live_count, 1);
    assert_int_equal(x.live[0].dedicated_count, 1);
    assert_int_equal(x.skipped, 1);

    rc = read_plain_json("{\"new\":[{}],\"meta\":null,\"compacted\":[{\"format\":\"v2\","
                         "\"blockID\":\"55caf628-0797-436a-b740-edf6b5a1f521\"}]}",
                         a, &x, &err);
    assert_int_equal(rc, 0);
    assert_int_equal(x.live_count, 0);
    assert_int_equal(x.compacted_count, 0);
    assert_int_equal(x.skipped, 1);
    buf_clear(&pb);
    arena_free(a);
}

static void broken_fields_are_named(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct tenant_index x;
    struct err err = {0};
    struct buf pb, meta;
    buf_init(&pb, 4096);
    buf_init(&meta, 4096);
    put_meta(&pb, 2, "vParquet4", 15, "");
    assert_int_equal(read_plain_pb(buf_view(&pb), a, &x, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "index.pb.zst: protobuf: a block id of 15 bytes"));
    buf_reset(&pb);
    put_meta(&pb, 2, "vParquet4", 16, "[{\"n\":");
    assert_int_equal(read_plain_pb(buf_view(&pb), a, &x, &err), ERR_CORRUPT);
    buf_reset(&pb);
    support_pb_bytes(&meta, 11, SLICE("two bytes"));
    support_pb_bytes(&pb, 2, buf_view(&meta));
    assert_int_equal(read_plain_pb(buf_view(&pb), a, &x, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "an encoding of 9 bytes"));
    buf_reset(&pb);
    support_pb_varint(&pb, 2, 5);
    assert_int_equal(read_plain_pb(buf_view(&pb), a, &x, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "wire type 0"));
    assert_int_equal(read_plain_pb(SLICE("\x13\x14"), a, &x, &err), ERR_CORRUPT); /* a group */
    assert_int_equal(read_plain_json("{\"meta\":[{\"format\":\"vParquet4\"}]}", a, &x, &err),
                     ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "index.json.gz: meta.json: blockID"));
    assert_int_equal(read_plain_json("{\"meta\":[1]}", a, &x, &err), ERR_CORRUPT);
    assert_int_equal(read_plain_json("{\"meta\":[]}x", a, &x, &err), ERR_CORRUPT);
    assert_int_equal(read_plain_json("{\"created_at\":\"soon\"}", a, &x, &err), ERR_CORRUPT);
    assert_int_equal(read_plain_json("[]", a, &x, &err), ERR_CORRUPT);
    buf_clear(&pb);
    buf_clear(&meta);
    arena_free(a);
}

/* A few bytes that decompress to more than an index may have. */
static void bombs_are_bounded(void **state)
{
    (void)state;
    size_t bytes = (size_t)513 << 20;
    uint8_t *zeros = calloc(1, bytes);
    struct arena *a = arena_new(1 << 20);
    struct tenant_index x;
    struct err err = {0};
    assert_non_null(zeros);
    size_t bound = 8 << 20;
    uint8_t *z = malloc(bound);
    size_t n = ZSTD_compress(z, bound, zeros, bytes, 1);
    assert_false(ZSTD_isError(n));
    assert_int_equal(tenant_index_read_pb(slice_of(z, n), a, &x, &err), ERR_LIMIT);
    z_stream s = {
        .next_in = zeros, .avail_in = (uInt)bytes, .next_out = z, .avail_out = (uInt)bound};
    assert_int_equal(deflateInit2(&s, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    n = s.total_out;
    deflateEnd(&s);
    assert_int_equal(tenant_index_read_json(slice_of(z, n), a, &x, &err), ERR_LIMIT);
    free(z);
    free(zeros);
    arena_free(a);
}

static void too_many_blocks_are_refused_before_room_is_made(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct tenant_index x;
    struct err err = {0};
    struct buf pb, z;
    buf_init(&pb, 1 << 24);
    buf_init(&z, 1 << 24);
    for (unsigned i = 0; i < (1 << 20) + 1; i++)
        assert_int_equal(buf_append(&pb, "\x12\x00", 2), 0);
    assert_int_equal(buf_reserve(&z, ZSTD_compressBound(pb.len)), 0);
    size_t n = ZSTD_compress(z.ptr, z.cap, pb.ptr, pb.len, 1);
    assert_false(ZSTD_isError(n));
    assert_int_equal(tenant_index_read_pb(slice_of(z.ptr, n), a, &x, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "1048576 blocks"));
    buf_clear(&pb);
    buf_clear(&z);
    arena_free(a);
}

/* Each byte flipped, each length cut: an error, or (a gzip header tells nothing) an index. */
static void damage(const char *tenant, const char *name, read_fn *read)
{
    char path[128];
    struct buf bytes;
    struct rng rng = {3};
    unsigned read_all = 0, tried = 0;
    buf_init(&bytes, 1 << 20);
    snprintf(path, sizeof path, FIXTURES "%s/%s", tenant, name);
    support_read_file(path, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        struct arena *a = arena_new(1 << 20);
        struct tenant_index x;
        struct err err = {0};
        uint8_t flip = (uint8_t)(1 + rng_below(&rng, 255));
        assert_true(read(slice_of(bytes.ptr, i), a, &x, &err) < 0);
        assert_int_not_equal(err.code, 0);
        bytes.ptr[i] ^= flip;
        read_all += read(buf_view(&bytes), a, &x, &err) == 0;
        tried++;
        bytes.ptr[i] ^= flip;
        arena_free(a);
    }
    assert_true(read_all < 32);
    assert_true(tried > 100);
    buf_clear(&bytes);
}

static void damaged_indexes_are_refused(void **state)
{
    (void)state;
    damage("single-tenant", TENANT_INDEX_PB, tenant_index_read_pb);
    damage("sharded", TENANT_INDEX_PB, tenant_index_read_pb);
    damage("sharded", TENANT_INDEX_JSON, tenant_index_read_json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tempos_indexes_say_the_same_in_both_forms),
        cmocka_unit_test(the_worked_example_reads_and_our_protobuf_is_its_bytes),
        cmocka_unit_test(what_we_write_as_protobuf_reads_back_equal),
        cmocka_unit_test(what_we_write_as_json_reads_back_equal),
        cmocka_unit_test(times_are_written_as_in_meta_json),
        cmocka_unit_test(other_formats_are_skipped_and_unknown_fields_too),
        cmocka_unit_test(broken_fields_are_named),
        cmocka_unit_test(bombs_are_bounded),
        cmocka_unit_test(too_many_blocks_are_refused_before_room_is_made),
        cmocka_unit_test(damaged_indexes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
