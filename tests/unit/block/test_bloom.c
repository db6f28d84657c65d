/* Bloom filters against known hashes and against the files Tempo wrote. */
#include "parquet_support.h"

#include "base/text.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "block/bloom.h"

static const char *const ids[] = {
    "11111111111111111111111111111111",
    "000102030405060708090a0b0c0d0e0f",
    "0000000000000000a0b0c0d0e0f00102",
};
#define IDS (sizeof ids / sizeof ids[0])

static void id_of(const char *hex, uint8_t id[16])
{
    assert_true(hex_decode(slice_cstr(hex), id));
}

static void shards_follow_fnv_1(void **state)
{
    (void)state;
    static const uint32_t shards[IDS][3] = {{1, 3, 3}, {1, 1, 1}, {0, 2, 2}}; /* of 4, 5, 10 */
    static const uint32_t whole[IDS] = {0xbb7fff95, 0x32e1f245, 0x658f0d00};
    for (size_t i = 0; i < IDS; i++) {
        uint8_t id[16];
        id_of(ids[i], id);
        assert_int_equal(bloom_shard_of(id, 4), shards[i][0]);
        assert_int_equal(bloom_shard_of(id, 5), shards[i][1]);
        assert_int_equal(bloom_shard_of(id, 10), shards[i][2]);
        assert_int_equal(bloom_shard_of(id, 0), shards[i][2]);
        assert_int_equal(bloom_shard_of(id, UINT32_MAX), whole[i]);
    }
}

/* The filter that holds one id alone: its bits are where the table says, and nowhere else. */
static void bits_are_exactly(const char *hex, uint32_t shard_bytes, const uint32_t bits[7])
{
    uint8_t id[16];
    id_of(hex, id);
    struct bloom *b;
    struct err err;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(bloom_new(1, 0.01, shard_bytes, &b, &err), 0);
    assert_int_equal(bloom_shards(b), 1);
    bloom_add(b, id);
    assert_int_equal(bloom_write(b, 0, &out), 0);
    uint64_t m = (uint64_t)shard_bytes * 8;
    assert_int_equal(out.len, 24 + (m + 63) / 64 * 8);
    assert_int_equal(load_u64be(out.ptr), m);
    assert_int_equal(load_u64be(out.ptr + 8), 7);
    assert_int_equal(load_u64be(out.ptr + 16), m);
    for (int i = 0; i < 7; i++) {
        uint8_t *byte = &out.ptr[24 + 8 * (bits[i] >> 6) + 7 - ((bits[i] & 63) >> 3)];
        assert_true(*byte & 1 << (bits[i] & 7));
        *byte &= (uint8_t) ~(1 << (bits[i] & 7));
    }
    for (size_t i = 24; i < out.len; i++)
        assert_int_equal(out.ptr[i], 0);
    buf_clear(&out);
    bloom_free(b);
}

static void bits_stand_where_tempo_puts_them(void **state)
{
    (void)state;
    static const uint32_t large[IDS][7] = {
        {78946, 471277, 174584, 751074, 100706, 695321, 398628},
        {474928, 638179, 518252, 536986, 95820, 724827, 604900},
        {542688, 262581, 566748, 786527, 33984, 310701, 614868},
    };
    static const uint32_t small[IDS][7] = {
        {146, 77, 184, 274, 306, 121, 228},
        {128, 179, 252, 186, 220, 27, 100},
        {288, 181, 348, 127, 384, 301, 68},
    };
    for (size_t i = 0; i < IDS; i++) {
        bits_are_exactly(ids[i], 102400, large[i]);
        bits_are_exactly(ids[i], 50, small[i]);
    }
}

static void a_whole_file_has_tempos_bytes(void **state)
{
    (void)state;
    static const char hex[] = "000000000000019000000000000000070000000000000190"
                              "00000000000000000200000000002000010000000004000000000010000000000004"
                              "00000004000000000000000000000000000000000000";
    uint8_t want[80], id[16];
    assert_int_equal(sizeof hex - 1, 160);
    assert_true(hex_decode(slice_cstr(hex), want));
    id_of(ids[0], id);
    struct bloom *b;
    struct buf out;
    buf_init(&out, 1024);
    assert_int_equal(bloom_new(1, 0.01, 50, &b, NULL), 0);
    bloom_add(b, id);
    assert_int_equal(bloom_write(b, 0, &out), 0);
    assert_int_equal(out.len, sizeof want);
    assert_memory_equal(out.ptr, want, sizeof want);
    buf_clear(&out);
    bloom_free(b);
}

/* Trace ids of a block's data. */
static void add_ids(const char *data_path, struct bloom *b, struct arena *a)
{
    struct slice file = file_read(data_path);
    struct parquet_file *f;
    struct err err;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    int leaf = parquet_leaf_find(f, SLICE("TraceID"));
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        struct column c;
        assert_int_equal(chunk_of(file, f, g, (uint32_t)leaf, a, &c, &err), 0);
        for (uint32_t i = 0; i < c.values; i++) {
            assert_int_equal(column_bytes(&c, i).len, 16);
            bloom_add(b, column_bytes(&c, i).ptr);
        }
    }
    slice_free(file);
}

static void filters_of_tempos_blocks_are_its_own_files(void **state)
{
    (void)state;
    /* count: what Tempo sized the filter for; in compaction the sum of the inputs. */
    static const struct {
        const char *dir;
        uint64_t count;
        uint32_t shard_bytes, shards;
    } blocks[] = {
        {"single-tenant/eef1d7f3-51c2-4dad-a864-70817cd81149", 11, 102400, 1},
        {"acme/ff2a1b95-f4c1-44b9-87d1-341455ab6a9e", 11, 102400, 1},
        {"sharded/a5a71843-7c6a-4874-a76f-be369689c621", 150, 50, 4},
        {"sharded/e27600b3-9106-4fc3-8d6c-a0004142a813", 18, 50, 1},
        {"sharded/55caf628-0797-436a-b740-edf6b5a1f521", 150 + 18, 50, 5},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        struct arena *a = arena_new((size_t)64 << 20);
        struct bloom *b;
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_int_equal(bloom_new(blocks[i].count, 0.01, blocks[i].shard_bytes, &b, NULL), 0);
        assert_int_equal(bloom_shards(b), blocks[i].shards);
        add_ids(arena_printf(a, "tests/data/fixtures/blocks/%s/data.parquet", blocks[i].dir), b, a);
        for (uint32_t n = 0; n < blocks[i].shards; n++) {
            char *path =
                arena_printf(a, "tests/data/fixtures/blocks/%s/bloom-%u", blocks[i].dir, n);
            struct slice want = file_read(path);
            buf_reset(&out);
            assert_int_equal(bloom_write(b, n, &out), 0);
            if (!slice_eq(buf_view(&out), want))
                fail_msg("%s differs", path);
            slice_free(want);
        }
        buf_clear(&out);
        bloom_free(b);
        arena_free(a);
    }
}

static void sizes_follow_the_number_of_traces(void **state)
{
    (void)state;
    static const struct {
        uint64_t count;
        uint32_t shards;
    } cases[] = {{0, 1}, {1, 1}, {85466, 1}, {85467, 2}, {1000000, 12}, {UINT64_MAX, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bloom *b;
        assert_int_equal(bloom_new(cases[i].count, 0.01, 102400, &b, NULL), 0);
        assert_int_equal(bloom_shards(b), cases[i].shards);
        bloom_free(b);
    }
}

static void what_was_added_is_found_and_little_else(void **state)
{
    (void)state;
    enum { N = 20000 };
    uint64_t seed = 3;
    struct bloom *b;
    struct buf shard[3];
    struct err err = {0};
    assert_int_equal(bloom_new(N, 0.01, 10240, &b, &err), 0);
    uint32_t shards = bloom_shards(b);
    assert_int_equal(shards, 3);
    for (uint32_t i = 0; i < N; i++) {
        uint64_t id[2] = {random_next(&seed), random_next(&seed)};
        bloom_add(b, (const uint8_t *)id);
    }
    for (uint32_t i = 0; i < shards; i++) {
        buf_init(&shard[i], 1 << 20);
        assert_int_equal(bloom_write(b, i, &shard[i]), 0);
    }
    uint32_t false_positives = 0;
    seed = 3;
    for (uint32_t i = 0; i < 2 * N; i++) {
        uint64_t id[2] = {random_next(&seed), random_next(&seed)};
        uint32_t at = bloom_shard_of((const uint8_t *)id, shards);
        int there = bloom_test(buf_view(&shard[at]), (const uint8_t *)id, &err);
        assert_in_range(there, 0, 1);
        if (i < N)
            assert_int_equal(there, 1);
        else
            false_positives += (uint32_t)there;
    }
    assert_in_range(false_positives, 0, N / 50);
    for (uint32_t i = 0; i < shards; i++)
        buf_clear(&shard[i]);
    bloom_free(b);
}

static void useless_settings_are_refused(void **state)
{
    (void)state;
    static const double rates[] = {0, 1, -0.5, 2, 1e-300, 0.0 / 0.0};
    struct bloom *b;
    struct err err;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        assert_int_equal(bloom_new(10, rates[i], 102400, &b, &err), ERR_INVALID);
    assert_int_equal(bloom_new(10, 0.01, 0, &b, &err), ERR_INVALID);
}

static void bytes_that_are_no_filter_are_corrupt(void **state)
{
    (void)state;
    uint8_t id[16];
    id_of(ids[0], id);
    struct bloom *b;
    struct buf out;
    struct err err;
    buf_init(&out, 1024);
    assert_int_equal(bloom_new(1, 0.01, 50, &b, NULL), 0);
    bloom_add(b, id);
    assert_int_equal(bloom_write(b, 0, &out), 0);
    assert_int_equal(bloom_test(buf_view(&out), id, &err), 1);

    for (size_t n = 0; n < out.len; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* exactly so long: the sanitizer watches */
        assert_non_null(cut);
        memcpy(cut, out.ptr, n);
        assert_int_equal(bloom_test(slice_of(cut, n), id, &err), ERR_CORRUPT);
        free(cut);
    }
    /* Every bit of the header flipped: another size, count or length is always noticed, except for
     * a number of hashes that is possible too. */
    for (size_t bit = 0; bit < 24 * 8; bit++) {
        out.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = bloom_test(buf_view(&out), id, &err);
        if (bit / 8 != 15)
            assert_int_equal(rc, ERR_CORRUPT);
        else
            assert_true(rc == 0 || rc == 1 || rc == ERR_CORRUPT);
        out.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_clear(&out);
    bloom_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_follow_fnv_1),
        cmocka_unit_test(bits_stand_where_tempo_puts_them),
        cmocka_unit_test(a_whole_file_has_tempos_bytes),
        cmocka_unit_test(filters_of_tempos_blocks_are_its_own_files),
        cmocka_unit_test(sizes_follow_the_number_of_traces),
        cmocka_unit_test(what_was_added_is_found_and_little_else),
        cmocka_unit_test(useless_settings_are_refused),
        cmocka_unit_test(bytes_that_are_no_filter_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
