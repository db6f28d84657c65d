/* Encodings: what is encoded decodes to the same, at every length around the boundaries of groups,
 * runs and blocks; what is cut or claims too much is refused. */
#include "parquet_support.h"

#include "block/parquet_encoding.h"

/* Exactly sized, so that a read past the end is seen. */
static struct slice tight(const struct buf *b, size_t len)
{
    uint8_t *p = malloc(len ? len : 1);
    assert_non_null(p);
    if (len)
        memcpy(p, b->ptr, len);
    return slice_of(p, len);
}

/* Levels with runs of every length, and noise between. */
static void levels_fill(uint8_t *levels, size_t count, unsigned max, uint64_t *seed)
{
    for (size_t i = 0; i < count;) {
        static const uint32_t runs[] = {1, 40, 90, 300};
        size_t run = random_below(seed, runs[random_below(seed, 4)]) + 1;
        uint8_t level = (uint8_t)random_below(seed, max + 1);
        for (; run > 0 && i < count; run--)
            levels[i++] = level;
    }
}

static void levels_round_trip(const uint8_t *levels, size_t count, uint8_t max)
{
    struct buf b;
    struct err err = {0};
    uint8_t *out = malloc(count + 1);
    buf_init(&b, SIZE_MAX / 2);
    assert_int_equal(hybrid_encode_levels(levels, count, bit_width(max), &b), 0);
    struct slice in = tight(&b, b.len);
    out[count] = 0xee;
    if (hybrid_decode_levels(in, bit_width(max), max, out, count, &err) < 0)
        fail_msg("%s", err.msg);
    assert_memory_equal(out, levels, count);
    assert_int_equal(out[count], 0xee);
    assert_int_equal(hybrid_check(in, bit_width(max), count, true, NULL), 0);
    slice_free(in);
    /* One byte less cannot hold them. */
    if (b.len > 0) {
        in = tight(&b, b.len - 1);
        assert_int_equal(hybrid_decode_levels(in, bit_width(max), max, out, count, NULL),
                         ERR_CORRUPT);
        assert_int_equal(hybrid_check(in, bit_width(max), count, true, NULL), ERR_CORRUPT);
        slice_free(in);
    }
    free(out);
    buf_clear(&b);
}

static void levels_decode_to_what_was_encoded(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint8_t levels[1200];
    for (uint8_t max = 1; max < 128; max = (uint8_t)(max < 8 ? max + 1 : max * 2 + 1)) {
        for (size_t count = 0; count < 600; count += count < 80 ? 1 : 37) {
            levels_fill(levels, count, max, &seed);
            levels_round_trip(levels, count, max);
            memset(levels, max, count);
            levels_round_trip(levels, count, max);
            for (size_t i = 0; i < count; i++)
                levels[i] = (uint8_t)random_below(&seed, max + 1U);
            levels_round_trip(levels, count, max);
        }
    }
}

static void indices_round_trip(const uint32_t *idx, size_t count, unsigned width, uint32_t limit);

/* More groups than stand under one header, and runs between them that start at any place. */
static void long_stretches_without_runs_decode(void **state)
{
    (void)state;
    enum { COUNT = 150000 };
    uint64_t seed = 3;
    uint8_t *levels = malloc(COUNT);
    uint32_t *idx = malloc(COUNT * sizeof *idx);
    for (size_t i = 0; i < COUNT; i++) {
        levels[i] = (uint8_t)random_below(&seed, 4);
        idx[i] = random_below(&seed, 1000);
    }
    levels_round_trip(levels, COUNT, 3);
    indices_round_trip(idx, COUNT, 10, 1000);
    for (size_t at = 60000; at < COUNT - 400; at += 5000 + random_below(&seed, 9)) {
        size_t run = 50 + random_below(&seed, 40);
        memset(levels + at, 2, run);
        for (size_t i = 0; i < run; i++)
            idx[at + i] = 7;
    }
    levels_round_trip(levels, COUNT, 3);
    indices_round_trip(idx, COUNT, 10, 1000);
    free(levels);
    free(idx);
}

static void a_long_run_of_levels_takes_few_bytes(void **state)
{
    (void)state;
    uint8_t *levels = calloc(1, 1000000);
    struct buf b;
    buf_init(&b, 1 << 20);
    levels[0] = 1;
    assert_int_equal(hybrid_encode_levels(levels, 1000000, 3, &b), 0);
    assert_true(b.len < 10);
    buf_clear(&b);
    free(levels);
}

static void worked_runs_of_the_specification_decode(void **state)
{
    (void)state;
    static const uint8_t rep[] = {0x03, 0x8c, 0x02, 0x00, 0x02, 0x01, 0x0a, 0x00};
    static const uint8_t want[15] = {0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0};
    uint8_t levels[15];
    assert_int_equal(hybrid_decode_levels(slice_of(rep, sizeof rep), 1, 1, levels, 15, NULL), 0);
    assert_memory_equal(levels, want, 15);
    static const uint8_t idx[] = {0x03, 0x88, 0xc6, 0x5a, 0x02, 0x02, 0x02, 0x07, 0x02, 0x00};
    static const uint32_t want_idx[11] = {0, 1, 2, 3, 4, 5, 6, 2, 2, 7, 0};
    uint32_t indices[11];
    assert_int_equal(hybrid_decode_indices(slice_of(idx, sizeof idx), 3, 8, indices, 11, NULL), 0);
    assert_memory_equal(indices, want_idx, sizeof want_idx);
    static const uint8_t none[] = {0x04};
    assert_int_equal(hybrid_decode_indices(slice_of(none, 1), 0, 1, indices, 2, NULL), 0);
    assert_int_equal(indices[0] | indices[1], 0);
}

static void levels_above_the_maximum_are_refused(void **state)
{
    (void)state;
    uint8_t out[16];
    static const uint8_t run[] = {0x10, 0x06};
    static const uint8_t packed[] = {0x03, 0x00, 0x00, 0xc0}; /* seven zeros and a 6 */
    assert_int_equal(hybrid_decode_levels(slice_of(run, 2), 3, 5, out, 8, NULL), ERR_CORRUPT);
    assert_int_equal(hybrid_decode_levels(slice_of(run, 2), 3, 6, out, 8, NULL), 0);
    assert_int_equal(hybrid_decode_levels(slice_of(packed, 4), 3, 5, out, 8, NULL), ERR_CORRUPT);
    assert_int_equal(hybrid_decode_levels(slice_of(packed, 4), 3, 6, out, 8, NULL), 0);
    assert_int_equal(out[7], 6);
    /* Padding behind the last level may be anything. */
    assert_int_equal(hybrid_decode_levels(slice_of(packed, 4), 3, 5, out, 7, NULL), 0);
}

static void indices_round_trip(const uint32_t *idx, size_t count, unsigned width, uint32_t limit)
{
    struct buf b;
    struct err err = {0};
    uint32_t *out = malloc((count + 1) * sizeof *out);
    buf_init(&b, SIZE_MAX / 2);
    assert_int_equal(hybrid_encode_indices(idx, count, width, &b), 0);
    struct slice in = tight(&b, b.len);
    out[count] = 0xeeeeeeee;
    if (hybrid_decode_indices(in, width, limit, out, count, &err) < 0)
        fail_msg("width %u: %s", width, err.msg);
    assert_memory_equal(out, idx, count * sizeof *idx);
    assert_int_equal(out[count], 0xeeeeeeee);
    slice_free(in);
    for (size_t cut = b.len; cut-- > 0 && cut + 12 > b.len;) {
        in = tight(&b, cut);
        assert_int_equal(hybrid_decode_indices(in, width, limit, out, count, NULL), ERR_CORRUPT);
        slice_free(in);
    }
    free(out);
    buf_clear(&b);
}

static void indices_decode_to_what_was_encoded(void **state)
{
    (void)state;
    uint64_t seed = 2;
    uint32_t idx[700];
    for (unsigned width = 0; width <= 31; width++) {
        uint32_t limit = UINT32_C(1) << width;
        for (size_t count = 0; count < 650; count += count < 40 ? 1 : 61) {
            for (size_t i = 0; i < count;) {
                size_t run = random_below(&seed, 4) ? 1 : random_below(&seed, 30);
                uint32_t v = (uint32_t)(random_next(&seed) & (limit - 1));
                for (; run > 0 && i < count; run--)
                    idx[i++] = v;
            }
            if (count > 0)
                idx[count / 2] = limit - 1;
            indices_round_trip(idx, count, width, limit);
        }
    }
    idx[0] = UINT32_MAX;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(hybrid_encode_indices(idx, 20, 32, &b), 0);
    assert_int_equal(hybrid_decode_indices(buf_view(&b), 32, UINT32_C(1) << 31, idx, 20, NULL),
                     ERR_CORRUPT);
    buf_clear(&b);
}

static void an_index_outside_the_dictionary_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    uint32_t idx[100], out[100];
    struct buf b;
    buf_init(&b, 4096);
    for (size_t bad = 0; bad < 100; bad++) {
        for (size_t i = 0; i < 100; i++)
            idx[i] = (uint32_t)(i % 9);
        idx[bad] = 10;
        buf_reset(&b);
        assert_int_equal(hybrid_encode_indices(idx, 100, 4, &b), 0);
        assert_int_equal(hybrid_decode_indices(buf_view(&b), 4, 10, out, 100, NULL), ERR_CORRUPT);
        assert_int_equal(hybrid_decode_indices(buf_view(&b), 4, 11, out, 100, NULL), 0);
    }
    static const uint8_t run[] = {0x10, 0x0a};
    assert_int_equal(hybrid_decode_indices(slice_of(run, 2), 4, 10, out, 8, NULL), ERR_CORRUPT);
    assert_int_equal(hybrid_decode_indices(slice_of(run, 2), 4, 0, out, 8, NULL), ERR_CORRUPT);
    buf_clear(&b);
}

static void runs_that_claim_more_than_is_asked_are_cut(void **state)
{
    (void)state;
    static const uint8_t run[] = {0xfe, 0xff, 0xff, 0xff, 0x0f, 0x01};
    static const uint8_t packed[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff};
    static const uint8_t empty[] = {0x00, 0x01, 0x00, 0x00, 0x04, 0x01};
    uint8_t out[17];
    out[16] = 7;
    assert_int_equal(hybrid_decode_levels(slice_of(run, sizeof run), 1, 1, out, 16, NULL), 0);
    assert_int_equal(hybrid_decode_levels(slice_of(packed, sizeof packed), 1, 1, out, 16, NULL), 0);
    assert_int_equal(out[15], 1);
    assert_int_equal(out[16], 7);
    assert_int_equal(hybrid_decode_levels(slice_of(packed, sizeof packed), 1, 1, out, 17, NULL),
                     ERR_CORRUPT);
    /* Bytes behind the last run are seen by those who ask. */
    assert_int_equal(hybrid_check(slice_of(packed, 6), 1, 8, false, NULL), 0);
    assert_int_equal(hybrid_check(slice_of(packed, 6), 1, 8, true, NULL), 0);
    assert_int_equal(hybrid_check(slice_of(packed, 7), 1, 8, true, NULL), ERR_CORRUPT);
    /* Runs of nothing make no progress and are no endless loop. */
    assert_int_equal(hybrid_decode_levels(slice_of(empty, sizeof empty), 1, 1, out, 2, NULL), 0);
    assert_int_equal(hybrid_decode_levels(slice_of(empty, 3), 1, 1, out, 2, NULL), ERR_CORRUPT);
}

static void delta_round_trip_i64(const int64_t *v, size_t count)
{
    struct buf b;
    struct err err = {0};
    int64_t *out = malloc((count + 1) * sizeof *out);
    buf_init(&b, SIZE_MAX / 2);
    assert_int_equal(delta_encode_i64(v, count, &b), 0);
    struct slice in = tight(&b, b.len);
    struct cursor c = cursor_of(in);
    assert_int_equal(delta_check(&c, count, &err), 0);
    if (delta_decode_i64(&c, out, count, &err) < 0)
        fail_msg("%zu values: %s", count, err.msg);
    assert_memory_equal(out, v, count * sizeof *v);
    assert_int_equal(cursor_left(&c), 0);
    slice_free(in);
    for (size_t cut = 0; cut < b.len; cut += 1 + cut / 8) {
        in = tight(&b, cut);
        c = cursor_of(in);
        assert_int_equal(delta_decode_i64(&c, out, count, NULL), ERR_CORRUPT);
        slice_free(in);
    }
    free(out);
    buf_clear(&b);
}

static void delta_round_trip_i32(const int32_t *v, size_t count)
{
    struct buf b;
    struct err err = {0};
    int32_t *out = malloc((count + 1) * sizeof *out);
    buf_init(&b, SIZE_MAX / 2);
    assert_int_equal(delta_encode_i32(v, count, &b), 0);
    struct slice in = tight(&b, b.len);
    struct cursor c = cursor_of(in);
    if (delta_decode_i32(&c, out, count, &err) < 0)
        fail_msg("%zu values: %s", count, err.msg);
    assert_memory_equal(out, v, count * sizeof *v);
    assert_int_equal(cursor_left(&c), 0);
    slice_free(in);
    free(out);
    buf_clear(&b);
}

static void deltas_decode_to_what_was_encoded_at_every_length_and_width(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int64_t v64[400];
    int32_t v32[400];
    for (unsigned width = 0; width <= 64; width++) {
        uint64_t mask = width ? ~UINT64_C(0) >> (64 - width) : 0;
        for (size_t count = 0; count < 400; count += count % 32 == 1 || count < 3 ? 1 : 3) {
            for (size_t i = 0; i < count; i++) {
                uint64_t before = i ? (uint64_t)v64[i - 1] : random_next(&seed);
                v64[i] = (int64_t)(before + (random_next(&seed) & mask) - mask / 2);
                v32[i] = (int32_t)(uint32_t)((i ? (uint32_t)v32[i - 1] : 0) +
                                             (random_next(&seed) & mask) - mask / 2);
            }
            delta_round_trip_i64(v64, count);
            delta_round_trip_i32(v32, count);
        }
    }
}

static void deltas_wrap_around_at_the_extremes(void **state)
{
    (void)state;
    int64_t v64[300];
    int32_t v32[300];
    static const int64_t ends64[] = {INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MIN + 1};
    static const int32_t ends32[] = {INT32_MIN, INT32_MAX, 0, -1, 1, INT32_MIN + 1};
    uint64_t seed = 4;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 300; i++) {
            v64[i] = ends64[random_below(&seed, 6)];
            v32[i] = ends32[random_below(&seed, 6)];
        }
        delta_round_trip_i64(v64, 300);
        delta_round_trip_i32(v32, 300);
    }
}

static void no_values_are_the_bare_delta_header_that_tempo_writes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    assert_int_equal(delta_encode_i64(NULL, 0, &b), 0);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.ptr, "\x80\x01\x04\x00\x00", 5);
    buf_clear(&b);
}

/* 256/8 is what other writers use. */
static void delta_blocks_of_other_shapes_decode(void **state)
{
    (void)state;
    uint8_t in[5 + 1 + 8 + 4] = {0x80, 0x02, 0x08, 0x04, 0x02, 0x02, 0x01};
    in[14] = 0x02; /* of the three bits, the second: values 1, 2, 4, 5 */
    int64_t out[4];
    struct cursor c = cursor_of(slice_of(in, sizeof in));
    assert_int_equal(delta_decode_i64(&c, out, 4, NULL), 0);
    static const int64_t want[] = {1, 2, 4, 5};
    assert_memory_equal(out, want, sizeof want);
    assert_int_equal(cursor_left(&c), 0);
}

static int delta_try(const void *bytes, size_t n, size_t count)
{
    int32_t *out = malloc((count + 1) * sizeof *out);
    struct cursor c = cursor_of(slice_of(bytes, n));
    int rc = delta_check(&c, count, NULL);
    if (rc == 0)
        rc = delta_decode_i32(&c, out, count, NULL);
    free(out);
    return rc;
}

static void bad_delta_headers_are_refused(void **state)
{
    (void)state;
    assert_int_equal(delta_try("\x80\x01\x04\x02\x00", 5, 1), ERR_CORRUPT);     /* other count */
    assert_int_equal(delta_try("\x00\x04\x01\x00", 4, 1), ERR_CORRUPT);         /* no block */
    assert_int_equal(delta_try("\x80\x01\x00\x01\x00", 5, 1), ERR_CORRUPT);     /* no miniblocks */
    assert_int_equal(delta_try("\x80\x01\x08\x01\x00", 5, 1), ERR_CORRUPT);     /* of 16 values */
    assert_int_equal(delta_try("\x40\x02\x01\x00", 4, 1), ERR_CORRUPT);         /* block of 64 */
    assert_int_equal(delta_try("\x80\x80\x08\x04\x01\x00", 6, 1), ERR_CORRUPT); /* 131072 */
    assert_int_equal(delta_try("\x80\x01\x04\x80\x80\x40\x00", 7, 1 << 20), ERR_CORRUPT);
    /* A width of 33 for 32-bit values. */
    assert_int_equal(delta_try("\x80\x01\x04\x02\x00\x00\x21\x00\x00\x00", 10, 2), ERR_CORRUPT);
}

static void strings_fill(struct slice *v, size_t count, uint8_t *pool, size_t longest,
                         uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = random_below(seed, 5) == 0 ? (random_below(seed, 2) ? 8 : 16)
                                                : random_below(seed, (uint32_t)longest + 1);
        v[i] = slice_of(pool + random_below(seed, 64), len);
    }
}

static void strings_decode_to_what_was_encoded(void **state)
{
    (void)state;
    uint64_t seed = 5;
    uint8_t pool[200];
    struct slice v[200], out[200];
    int32_t lengths[200];
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)random_next(&seed);
    for (size_t count = 0; count < 200; count++) {
        struct buf delta, plain;
        struct err err = {0};
        buf_init(&delta, SIZE_MAX / 2);
        buf_init(&plain, SIZE_MAX / 2);
        strings_fill(v, count, pool, 100, &seed);
        assert_int_equal(delta_length_encode(v, count, lengths, &delta, &err), 0);
        assert_int_equal(plain_encode_bytes(v, count, &plain, &err), 0);
        struct slice in = tight(&delta, delta.len);
        assert_int_equal(delta_length_decode(in, out, count, &err), 0);
        for (size_t i = 0; i < count; i++)
            assert_true(slice_eq(v[i], out[i]));
        slice_free(in);
        in = tight(&plain, plain.len);
        assert_int_equal(plain_decode_bytes(in, out, count, &err), 0);
        for (size_t i = 0; i < count; i++)
            assert_true(slice_eq(v[i], out[i]));
        slice_free(in);
        for (size_t cut = 0; count > 0 && cut < delta.len; cut += 1 + cut / 4) {
            in = tight(&delta, cut);
            int rc = delta_length_decode(in, out, count, NULL);
            assert_int_equal(rc, ERR_CORRUPT);
            slice_free(in);
        }
        for (size_t cut = 0; count > 0 && cut < plain.len; cut += 1 + cut / 4) {
            in = tight(&plain, cut);
            assert_int_equal(plain_decode_bytes(in, out, count, NULL), ERR_CORRUPT);
            slice_free(in);
        }
        buf_clear(&delta);
        buf_clear(&plain);
    }
}

static void delta_strings_share_prefixes(void **state)
{
    (void)state;
    static const int32_t prefixes[] = {0, 3, 0, 5, 2};
    static const char *const suffixes[] = {"axis", "le", "babble", "", "c"};
    static const char *const want[] = {"axis", "axile", "babble", "babbl", "bac"};
    struct slice v[5], out[5];
    int32_t lengths[5];
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < 5; i++)
        v[i] = slice_cstr(suffixes[i]);
    struct arena *a = arena_new(1 << 16);
    assert_int_equal(delta_encode_i32(prefixes, 5, &b), 0);
    assert_int_equal(delta_length_encode(v, 5, lengths, &b, NULL), 0);
    assert_int_equal(delta_bytes_decode(buf_view(&b), out, 5, a, NULL), 0);
    for (size_t i = 0; i < 5; i++)
        assert_true(slice_eq(out[i], slice_cstr(want[i])));
    for (size_t cut = 0; cut < b.len; cut++) {
        struct slice in = tight(&b, cut);
        assert_int_equal(delta_bytes_decode(in, out, 5, a, NULL), ERR_CORRUPT);
        slice_free(in);
    }
    static const int32_t too_long[] = {0, 5, 0, 0, 0};
    buf_reset(&b);
    assert_int_equal(delta_encode_i32(too_long, 5, &b), 0);
    assert_int_equal(delta_length_encode(v, 5, lengths, &b, NULL), 0);
    assert_int_equal(delta_bytes_decode(buf_view(&b), out, 5, a, NULL), ERR_CORRUPT);
    arena_free(a);
    buf_clear(&b);
}

/* 1000 values that each repeat the 1000 bytes before: a megabyte from some hundred bytes. */
static void delta_strings_stop_at_the_arenas_limit(void **state)
{
    (void)state;
    int32_t prefixes[1000], lengths[1000];
    struct slice v[1000], *out = calloc(1000, sizeof *out);
    uint8_t bytes[1000] = {0};
    for (size_t i = 0; i < 1000; i++) {
        prefixes[i] = i ? 1000 : 0;
        v[i] = slice_of(bytes, i ? 0 : 1000);
    }
    struct buf b;
    buf_init(&b, 1 << 16);
    struct arena *a = arena_new(100000);
    assert_int_equal(delta_encode_i32(prefixes, 1000, &b), 0);
    assert_int_equal(delta_length_encode(v, 1000, lengths, &b, NULL), 0);
    assert_int_equal(delta_bytes_decode(buf_view(&b), out, 1000, a, NULL), ERR_LIMIT);
    arena_free(a);
    buf_clear(&b);
    free(out);
}

static void booleans_and_numbers_decode_to_what_was_encoded(void **state)
{
    (void)state;
    uint64_t seed = 6;
    uint8_t v[300], out[301];
    for (size_t count = 0; count < 300; count++) {
        struct buf b;
        buf_init(&b, 4096);
        for (size_t i = 0; i < count; i++)
            v[i] = (uint8_t)random_below(&seed, 2);
        assert_int_equal(plain_encode_bools(v, count, &b), 0);
        assert_int_equal(b.len, (count + 7) / 8);
        struct slice in = tight(&b, b.len);
        out[count] = 9;
        assert_int_equal(plain_decode_bools(in, out, count, NULL), 0);
        assert_memory_equal(out, v, count);
        assert_int_equal(out[count], 9);
        slice_free(in);
        if (count > 0)
            assert_int_equal(plain_decode_bools(slice_of(b.ptr, b.len - 1), out, count, NULL),
                             ERR_CORRUPT);
        buf_clear(&b);
    }
    static const double numbers[] = {1.5, -2.25, 1e300};
    uint8_t split[24];
    double back[3];
    for (size_t k = 0; k < 8; k++) {
        for (size_t i = 0; i < 3; i++)
            split[k * 3 + i] = ((const uint8_t *)&numbers[i])[k];
    }
    assert_int_equal(split_decode(slice_of(split, 24), back, 3, 8, NULL), 0);
    assert_memory_equal(back, numbers, sizeof numbers);
    assert_int_equal(split_decode(slice_of(split, 23), back, 3, 8, NULL), ERR_CORRUPT);
    assert_int_equal(plain_decode_fixed(slice_of(split, 23), back, 3, 8, NULL), ERR_CORRUPT);
    assert_int_equal(plain_decode_fixed(slice_of(split, 23), back, SIZE_MAX / 4, 8, NULL),
                     ERR_CORRUPT);
}

static void bits_pack_and_unpack_at_every_width(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (unsigned width = 1; width <= 64; width++) {
        for (size_t groups = 1; groups < 20; groups++) {
            uint64_t v64[20 * 8], back64[20 * 8];
            uint32_t v32[20 * 8], back32[20 * 8];
            uint8_t *packed = malloc(groups * width + BITS_SLACK);
            for (size_t i = 0; i < groups * 8; i++) {
                v64[i] = random_next(&seed) >> (64 - width);
                v32[i] = (uint32_t)v64[i];
            }
            bits_pack64(v64, groups, width, packed);
            packed = realloc(packed, groups * width);
            bits_unpack64(packed, groups, width, back64);
            assert_memory_equal(back64, v64, groups * 8 * sizeof *v64);
            if (width <= 32) {
                uint8_t *other = malloc(groups * width + BITS_SLACK);
                bits_pack32(v32, groups, width, other);
                assert_memory_equal(other, packed, groups * width);
                bits_unpack32(packed, groups, width, back32);
                assert_memory_equal(back32, v32, groups * 8 * sizeof *v32);
                free(other);
            }
            free(packed);
        }
    }
}

static void bytes_are_counted_at_every_length(void **state)
{
    (void)state;
    uint64_t seed = 8;
    uint8_t p[5000];
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (uint8_t)(random_below(&seed, 2) ? 5 : random_below(&seed, 128));
    for (size_t count = 0; count < sizeof p; count += count < 100 ? 1 : 97) {
        size_t want = 0;
        for (size_t i = 0; i < count; i++)
            want += p[i] == 5;
        assert_int_equal(bytes_count(p, count, 5), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_decode_to_what_was_encoded),
        cmocka_unit_test(long_stretches_without_runs_decode),
        cmocka_unit_test(a_long_run_of_levels_takes_few_bytes),
        cmocka_unit_test(worked_runs_of_the_specification_decode),
        cmocka_unit_test(levels_above_the_maximum_are_refused),
        cmocka_unit_test(indices_decode_to_what_was_encoded),
        cmocka_unit_test(an_index_outside_the_dictionary_is_refused_wherever_it_stands),
        cmocka_unit_test(runs_that_claim_more_than_is_asked_are_cut),
        cmocka_unit_test(deltas_decode_to_what_was_encoded_at_every_length_and_width),
        cmocka_unit_test(deltas_wrap_around_at_the_extremes),
        cmocka_unit_test(no_values_are_the_bare_delta_header_that_tempo_writes),
        cmocka_unit_test(delta_blocks_of_other_shapes_decode),
        cmocka_unit_test(bad_delta_headers_are_refused),
        cmocka_unit_test(strings_decode_to_what_was_encoded),
        cmocka_unit_test(delta_strings_share_prefixes),
        cmocka_unit_test(delta_strings_stop_at_the_arenas_limit),
        cmocka_unit_test(booleans_and_numbers_decode_to_what_was_encoded),
        cmocka_unit_test(bits_pack_and_unpack_at_every_width),
        cmocka_unit_test(bytes_are_counted_at_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
