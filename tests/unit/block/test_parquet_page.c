/* Pages: every form that other writers use, and every way in which bytes can be wrong. */
#include "parquet_sample.h"

#include <zlib.h>

#include "block/block_limits.h"
#include "block/parquet_encoding.h"

/* ---- a chunk of one column, made page by page ---- */

struct made {
    struct parquet_leaf leaf;
    struct parquet_chunk chunk;
    struct parquet_row_group row_group;
    struct parquet_file file;
    struct buf bytes;
    struct arena *a;
    struct err err;
};

static void made_init(struct made *m, enum parquet_type type, uint8_t rep_max, uint8_t def_max,
                      enum parquet_codec codec)
{
    *m = (struct made){
        .leaf = {.path = SLICE("a.column"), .type = type, .rep_max = rep_max, .def_max = def_max},
        .chunk = {.offset = 4, .data_offset = 4, .codec = codec},
        .a = arena_new((size_t)64 << 20)};
    buf_init(&m->bytes, 64 << 20);
}

static void made_clear(struct made *m)
{
    arena_free(m->a);
    buf_clear(&m->bytes);
}

/* From a copy of exactly that size. */
static int made_decode(struct made *m, int64_t values, int64_t rows, struct column *out)
{
    m->row_group = (struct parquet_row_group){.rows = rows, .chunks = &m->chunk};
    m->file = (struct parquet_file){.file_bytes = 1 << 30,
                                    .rows = rows,
                                    .leaves = &m->leaf,
                                    .leaf_count = 1,
                                    .row_groups = &m->row_group,
                                    .row_group_count = 1};
    m->chunk.num_values = values;
    m->chunk.bytes = m->bytes.len;
    uint8_t *copy = arena_alloc(m->a, m->bytes.len);
    assert_non_null(copy);
    memcpy(copy, m->bytes.ptr, m->bytes.len);
    return parquet_chunk_decode(&m->file, 0, 0, slice_of(copy, m->bytes.len), m->a, out, &m->err);
}

static void put_v1(struct made *m, uint32_t values, int encoding, struct slice body, int level_enc)
{
    struct buf stored;
    buf_init(&stored, 64 << 20);
    struct compressor compressor = {0};
    assert_int_equal(parquet_compress(&compressor, m->chunk.codec, body, &stored, NULL), 0);
    compressor_clear(&compressor);
    struct thrift_writer w = thrift_writer_of(&m->bytes);
    thrift_put_i32(&w, 1, PAGE_DATA);
    thrift_put_i32(&w, 2, (int32_t)body.len);
    thrift_put_i32(&w, 3, (int32_t)stored.len);
    thrift_put_struct(&w, 5);
    thrift_put_i32(&w, 1, (int32_t)values);
    thrift_put_i32(&w, 2, encoding);
    thrift_put_i32(&w, 3, level_enc);
    thrift_put_i32(&w, 4, level_enc);
    thrift_put_stop(&w);
    thrift_put_stop(&w);
    assert_int_equal(buf_slice(&m->bytes, buf_view(&stored)), 0);
    buf_clear(&stored);
}

static void put_page(struct made *m, struct page_header h, struct slice levels, struct slice values)
{
    struct buf stored;
    buf_init(&stored, 64 << 20);
    assert_int_equal(buf_slice(&stored, levels), 0);
    enum parquet_codec codec =
        h.type == PAGE_DICTIONARY || h.is_compressed ? m->chunk.codec : PARQUET_UNCOMPRESSED;
    struct compressor compressor = {0};
    assert_int_equal(parquet_compress(&compressor, codec, values, &stored, NULL), 0);
    compressor_clear(&compressor);
    if (h.uncompressed_bytes == 0)
        h.uncompressed_bytes = (uint32_t)(levels.len + values.len);
    h.compressed_bytes = (uint32_t)stored.len;
    if (h.crc == 0)
        h.crc = (uint32_t)crc32(0, stored.ptr, (uInt)stored.len);
    assert_int_equal(page_header_encode(&h, &m->bytes), 0);
    assert_int_equal(buf_slice(&m->bytes, buf_view(&stored)), 0);
    buf_clear(&stored);
}

static void put_dict(struct made *m, uint32_t count, struct slice plain)
{
    put_page(m, (struct page_header){.type = PAGE_DICTIONARY, .num_values = count},
             slice_of(NULL, 0), plain);
}

static void put_flat(struct made *m, uint32_t values, int encoding, bool compressed,
                     struct slice plain)
{
    put_page(m,
             (struct page_header){.type = PAGE_DATA_V2,
                                  .num_values = values,
                                  .num_rows = values,
                                  .encoding = encoding,
                                  .is_compressed = compressed},
             slice_of(NULL, 0), plain);
}

/* ---- forms of other writers ---- */

static void pages_of_version_one_decode_under_every_codec(void **state)
{
    (void)state;
    static const enum parquet_codec codecs[] = {PARQUET_UNCOMPRESSED, PARQUET_SNAPPY, PARQUET_GZIP,
                                                PARQUET_ZSTD, PARQUET_LZ4_RAW};
    /* rep 0 1 0 | def 2 2 0, two values */
    static const uint8_t body[] = {2,    0,    0,    0,    0x03, 0x02, 3,    0,    0,   0,
                                   0x03, 0x0a, 0,    7,    0,    0,    0,    0,    0,   0,
                                   0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_INT64, 1, 2, codecs[i]);
        put_v1(&m, 3, PARQUET_PLAIN, slice_of(body, sizeof body), PARQUET_RLE);
        /* A second page goes on with the row of the first: a row may do so in version one. */
        put_v1(&m, 3, PARQUET_PLAIN, slice_of(body, sizeof body), PARQUET_RLE);
        if (made_decode(&m, 6, 4, &c) < 0)
            fail_msg("%s", m.err.msg);
        assert_int_equal(c.entries, 6);
        assert_int_equal(c.values, 4);
        assert_memory_equal(c.rep, "\0\1\0\0\1\0", 6);
        assert_memory_equal(c.def, "\2\2\0\2\2\0", 6);
        assert_true(c.v.i64[0] == 7 && c.v.i64[1] == -1 && c.v.i64[2] == 7 && c.v.i64[3] == -1);
        /* Cut anywhere, it fails. */
        size_t whole = m.bytes.len;
        for (m.bytes.len = 0; m.bytes.len < whole; m.bytes.len++)
            assert_true(made_decode(&m, 6, 4, &c) < 0);
        made_clear(&m);
    }
    struct made m;
    struct column c;
    made_init(&m, PARQUET_INT64, 1, 2, PARQUET_UNCOMPRESSED);
    put_v1(&m, 3, PARQUET_PLAIN, slice_of(body, sizeof body), PARQUET_BIT_PACKED);
    assert_int_equal(made_decode(&m, 3, 2, &c), ERR_UNSUPPORTED);
    made_clear(&m);
}

#define DICT3 SLICE("\1\0\0\0a\2\0\0\0bb\0\0\0\0")

static void plain_pages_after_a_dictionary_decode(void **state)
{
    (void)state;
    static const enum parquet_codec codecs[] = {PARQUET_UNCOMPRESSED, PARQUET_SNAPPY};
    for (size_t i = 0; i < 2; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_BYTE_ARRAY, 0, 0, codecs[i]);
        put_dict(&m, 3, DICT3);
        put_flat(&m, 3, PARQUET_RLE_DICTIONARY, true, SLICE("\2\x03\x24\0")); /* 0 1 2 */
        put_flat(&m, 1, PARQUET_PLAIN, true, SLICE("\3\0\0\0new"));
        put_flat(&m, 1, PARQUET_DELTA_LENGTH_BYTE_ARRAY, true, SLICE("\x80\1\4\1\4xy"));
        if (made_decode(&m, 5, 5, &c) < 0)
            fail_msg("%s", m.err.msg);
        assert_false(c.has_dict);
        assert_true(slice_eq(column_bytes(&c, 0), SLICE("a")));
        assert_true(slice_eq(column_bytes(&c, 1), SLICE("bb")));
        assert_int_equal(column_bytes(&c, 2).len, 0);
        assert_true(slice_eq(column_bytes(&c, 3), SLICE("new")));
        assert_true(slice_eq(column_bytes(&c, 4), SLICE("xy")));
        made_clear(&m);
    }
}

static void numbers_may_have_dictionaries(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    made_init(&m, PARQUET_INT64, 0, 0, PARQUET_SNAPPY);
    put_dict(&m, 2, SLICE("\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"));
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, true, SLICE("\1\3\2"));
    put_flat(&m, 1, PARQUET_PLAIN, true, SLICE("\x09\0\0\0\0\0\0\0"));
    assert_int_equal(made_decode(&m, 4, 4, &c), 0);
    static const int64_t want[] = {5, 6, 5, 9};
    assert_memory_equal(c.v.i64, want, sizeof want);
    made_clear(&m);
    made_init(&m, PARQUET_INT32, 0, 0, PARQUET_UNCOMPRESSED);
    put_dict(&m, 2, SLICE("\5\0\0\0\6\0\0\0"));
    put_flat(&m, 3, PARQUET_PLAIN_DICTIONARY, false, SLICE("\1\3\2"));
    assert_int_equal(made_decode(&m, 3, 3, &c), 0);
    static const int32_t want32[] = {5, 6, 5};
    assert_memory_equal(c.v.i32, want32, sizeof want32);
    made_clear(&m);
}

static void booleans_may_be_runs(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    made_init(&m, PARQUET_BOOLEAN, 0, 0, PARQUET_UNCOMPRESSED);
    put_flat(&m, 9, PARQUET_RLE, false, SLICE("\4\0\0\0\x10\1\2\0"));
    assert_int_equal(made_decode(&m, 9, 9, &c), 0);
    assert_memory_equal(c.v.b, "\1\1\1\1\1\1\1\1\0", 9);
    made_clear(&m);
}

static void pages_without_values_may_store_nothing(void **state)
{
    (void)state;
    static const int encodings[] = {PARQUET_PLAIN, PARQUET_DELTA_BINARY_PACKED,
                                    PARQUET_RLE_DICTIONARY};
    for (size_t i = 0; i < 3; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_INT64, 0, 1, PARQUET_SNAPPY);
        put_page(
            &m,
            (struct page_header){
                .type = PAGE_DATA_V2, .num_values = 5, .encoding = encodings[i], .def_bytes = 2},
            SLICE("\x0a\0"), slice_of(NULL, 0));
        if (made_decode(&m, 5, 5, &c) < 0)
            fail_msg("%s", m.err.msg);
        assert_int_equal(c.entries, 5);
        assert_int_equal(c.values, 0);
        made_clear(&m);
    }
}

static void pages_of_unknown_types_are_skipped(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    made_init(&m, PARQUET_INT32, 0, 0, PARQUET_UNCOMPRESSED);
    assert_int_equal(buf_append(&m.bytes, "\x15\x02\x15\x06\x15\x06\x00xyz", 10), 0);
    put_flat(&m, 1, PARQUET_PLAIN, false, SLICE("\1\0\0\0"));
    assert_int_equal(made_decode(&m, 1, 1, &c), 0);
    assert_int_equal(c.v.i32[0], 1);
    made_clear(&m);
}

/* ---- wrong bytes ---- */

static void a_wrong_crc_names_column_and_page(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    made_init(&m, PARQUET_INT32, 0, 0, PARQUET_UNCOMPRESSED);
    put_flat(&m, 1, PARQUET_PLAIN, false, SLICE("\1\0\0\0"));
    size_t second = m.bytes.len;
    put_page(
        &m,
        (struct page_header){
            .type = PAGE_DATA_V2, .num_values = 1, .encoding = PARQUET_PLAIN, .crc = 0x12345678},
        slice_of(NULL, 0), SLICE("\1\0\0\0"));
    assert_int_equal(made_decode(&m, 2, 2, &c), ERR_CORRUPT);
    char want[64];
    snprintf(want, sizeof want, "column a.column: page at byte %zu: crc32", second + 4);
    if (!strstr(m.err.msg, want))
        fail_msg("%s lacks %s", m.err.msg, want);
    made_clear(&m);
}

static void levels_that_do_not_fit_the_page_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t values, rep_bytes, def_bytes;
    } claims[] = {{5, 3, 0}, {5, 0, 3}, {5, UINT32_C(0x7fffffff), UINT32_C(0x7fffffff)},
                  {6, 0, 2}, {5, 1, 2}, {5, 0, 1}};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_INT64, 0, 1, PARQUET_UNCOMPRESSED);
        put_page(&m,
                 (struct page_header){.type = PAGE_DATA_V2,
                                      .num_values = claims[i].values,
                                      .encoding = PARQUET_PLAIN,
                                      .rep_bytes = claims[i].rep_bytes,
                                      .def_bytes = claims[i].def_bytes},
                 SLICE("\x0a\0"), slice_of(NULL, 0));
        assert_int_equal(made_decode(&m, claims[i].values, claims[i].values, &c), ERR_CORRUPT);
        made_clear(&m);
    }
}

/* Five bytes claim 2^28 nulls: room is made within the arena's limit or not at all. */
static void huge_runs_stop_at_the_arenas_limit(void **state)
{
    (void)state;
    static const uint8_t run[] = {0xfe, 0xff, 0xff, 0xff, 0x0f, 0};
    const int64_t claims[] = {LIMIT_PARQUET_CHUNK_ENTRIES, LIMIT_PARQUET_CHUNK_ENTRIES + 1,
                              INT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_INT64, 0, 1, PARQUET_UNCOMPRESSED);
        put_page(&m,
                 (struct page_header){.type = PAGE_DATA_V2,
                                      .num_values = (uint32_t)claims[i],
                                      .encoding = PARQUET_PLAIN,
                                      .def_bytes = sizeof run},
                 slice_of(run, sizeof run), slice_of(NULL, 0));
        assert_int_equal(made_decode(&m, claims[i], claims[i], &c), ERR_LIMIT);
        made_clear(&m);
    }
}

static void values_that_bytes_cannot_hold_are_refused_before_room_is_made(void **state)
{
    (void)state;
    static const int encodings[] = {PARQUET_PLAIN, PARQUET_BYTE_STREAM_SPLIT};
    for (size_t i = 0; i < 2; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_INT64, 0, 0, PARQUET_UNCOMPRESSED);
        put_flat(&m, 1 << 20, encodings[i], false, SLICE("12345678"));
        assert_int_equal(made_decode(&m, 1 << 20, 1 << 20, &c), ERR_CORRUPT);
        assert_true(arena_used(m.a) < 1 << 16);
        made_clear(&m);
    }
    struct made m;
    struct column c;
    made_init(&m, PARQUET_BYTE_ARRAY, 0, 0, PARQUET_UNCOMPRESSED);
    put_dict(&m, 1 << 20, SLICE("\0\0\0\0"));
    put_flat(&m, 1, PARQUET_RLE_DICTIONARY, false, SLICE("\0\2"));
    assert_int_equal(made_decode(&m, 1, 1, &c), ERR_CORRUPT);
    assert_true(arena_used(m.a) < 1 << 16);
    made_clear(&m);
}

static void sizes_that_a_codec_cannot_reach_are_refused(void **state)
{
    (void)state;
    static const enum parquet_codec codecs[] = {PARQUET_SNAPPY, PARQUET_GZIP, PARQUET_LZ4_RAW,
                                                PARQUET_ZSTD};
    for (size_t i = 0; i < 4; i++) {
        struct made m;
        struct column c;
        made_init(&m, PARQUET_BYTE_ARRAY, 0, 0, codecs[i]);
        put_page(&m,
                 (struct page_header){.type = PAGE_DATA_V2,
                                      .num_values = 1,
                                      .encoding = PARQUET_PLAIN,
                                      .is_compressed = true,
                                      .uncompressed_bytes = INT32_MAX},
                 slice_of(NULL, 0), SLICE("\1\0\0\0a"));
        assert_int_equal(made_decode(&m, 1, 1, &c), ERR_CORRUPT);
        assert_true(arena_used(m.a) < 1 << 16);
        made_clear(&m);
    }
}

static void counts_that_differ_from_the_footers_are_refused(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    made_init(&m, PARQUET_INT32, 0, 0, PARQUET_UNCOMPRESSED);
    put_flat(&m, 2, PARQUET_PLAIN, false, SLICE("\1\0\0\0\2\0\0\0"));
    assert_int_equal(made_decode(&m, 2, 2, &c), 0);
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT);
    assert_int_equal(made_decode(&m, 1, 1, &c), ERR_CORRUPT);
    assert_int_equal(made_decode(&m, -1, 1, &c), ERR_CORRUPT);
    assert_int_equal(made_decode(&m, 2, 1, &c), ERR_CORRUPT);
    made_clear(&m);
}

static void misplaced_dictionaries_and_indices_are_refused(void **state)
{
    (void)state;
    struct made m;
    struct column c;
    struct slice indices = SLICE("\2\x03\x24\0");
    made_init(&m, PARQUET_BYTE_ARRAY, 0, 0, PARQUET_UNCOMPRESSED);
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, false, indices);
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* no dictionary */
    put_dict(&m, 3, DICT3);
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* after data */
    buf_reset(&m.bytes);
    put_dict(&m, 3, DICT3);
    put_dict(&m, 3, DICT3);
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, false, indices);
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* twice */
    buf_reset(&m.bytes);
    put_dict(&m, 2, SLICE("\1\0\0\0a\2\0\0\0bb"));
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, false, indices);
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* too small */
    buf_reset(&m.bytes);
    put_dict(&m, 3, DICT3);
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, false, SLICE("\x21\x03\x24\0"));
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* 33 bits */
    buf_reset(&m.bytes);
    put_dict(&m, 3, DICT3);
    put_flat(&m, 3, PARQUET_RLE_DICTIONARY, false, slice_of(NULL, 0));
    assert_int_equal(made_decode(&m, 3, 3, &c), ERR_CORRUPT); /* no bit width */
    made_clear(&m);
}

static void encodings_of_other_types_are_unsupported(void **state)
{
    (void)state;
    static const struct {
        enum parquet_type type;
        int encoding;
    } pairs[] = {{PARQUET_BYTE_ARRAY, PARQUET_DELTA_BINARY_PACKED},
                 {PARQUET_DOUBLE, PARQUET_DELTA_BINARY_PACKED},
                 {PARQUET_INT64, PARQUET_DELTA_LENGTH_BYTE_ARRAY},
                 {PARQUET_INT64, PARQUET_DELTA_BYTE_ARRAY},
                 {PARQUET_BOOLEAN, PARQUET_BYTE_STREAM_SPLIT},
                 {PARQUET_BYTE_ARRAY, PARQUET_BYTE_STREAM_SPLIT},
                 {PARQUET_INT32, PARQUET_RLE},
                 {PARQUET_INT32, 99}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct made m;
        struct column c;
        made_init(&m, pairs[i].type, 0, 0, PARQUET_UNCOMPRESSED);
        put_flat(&m, 1, pairs[i].encoding, false, SLICE("\0\0\0\0\0\0\0\0\0\0"));
        assert_int_equal(made_decode(&m, 1, 1, &c), ERR_UNSUPPORTED);
        made_clear(&m);
    }
}

/* Each byte of a chunk flipped, twice: an error, or (in a header's field that nothing depends on)
 * the same column. */
static void flip_chunk(struct slice file, const struct parquet_file *f, uint32_t g, uint32_t leaf,
                       struct arena *kept, struct arena *a)
{
    struct column want, got;
    struct err err = {0};
    assert_int_equal(chunk_of(file, f, g, leaf, kept, &want, &err), 0);
    struct slice bytes = chunk_bytes(file, f, g, leaf);
    uint8_t *copy = malloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    for (size_t i = 0; i < bytes.len; i++) {
        for (int pass = 0; pass < 2; pass++) {
            copy[i] ^= pass ? 0xff : (uint8_t)(1 << i % 8);
            int rc = parquet_chunk_decode(f, g, leaf, slice_of(copy, bytes.len), a, &got, &err);
            if (rc == 0 && !column_same(&want, &got))
                fail_msg("leaf %u byte %zu pass %d: another answer", leaf, i, pass);
            if (rc < 0 && !strstr(err.msg, "column "))
                fail_msg("%s", err.msg);
            arena_reset(a);
            copy[i] = bytes.ptr[i];
        }
    }
    free(copy);
}

static void a_tempo_block_with_any_chunk_byte_flipped_fails_or_reads_the_same(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct arena *kept = arena_new((size_t)16 << 20);
    struct arena *a = arena_new((size_t)16 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, kept, &f, NULL), 0);
    for (uint32_t i = 0; i < f->leaf_count; i++)
        flip_chunk(file, f, 0, i, kept, a);
    arena_free(kept);
    arena_free(a);
    slice_free(file);
}

/* Without a checksum the decoders themselves must hold: any answer, but no harm. */
static void sample_chunks_without_crc_survive_any_flip(void **state)
{
    (void)state;
    struct sample s;
    struct buf out;
    sample_init(&s, 12, 9);
    buf_init(&out, SIZE_MAX / 2);
    sample_write(&s, 1, 150, &out);
    struct arena *kept = arena_new((size_t)16 << 20);
    struct arena *a = arena_new((size_t)16 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(buf_view(&out), kept, &f, NULL), 0);
    for (uint32_t leaf = 0; leaf < f->leaf_count; leaf++) {
        const struct parquet_chunk *chunk = &f->row_groups[0].chunks[leaf];
        struct buf bare;
        buf_init(&bare, 1 << 20);
        /* The chunk again, its checksums cleared. */
        struct cursor c = cursor_of(chunk_bytes(buf_view(&out), f, 0, leaf));
        while (cursor_left(&c) > 0) {
            struct page_header h;
            struct slice body = {0};
            struct thrift_reader r =
                thrift_reader_of(slice_of(c.ptr, cursor_left(&c)), "page header", NULL);
            assert_int_equal(page_header_decode(&r, &h), 0);
            assert_true(cursor_skip(&c, cursor_offset(&r.cur)));
            assert_true(cursor_bytes(&c, h.compressed_bytes, &body));
            h.crc = 0;
            assert_int_equal(page_header_encode(&h, &bare), 0);
            assert_int_equal(buf_slice(&bare, body), 0);
        }
        struct parquet_chunk patched = *chunk;
        patched.bytes = bare.len;
        struct parquet_row_group rg = {.rows = 12, .chunks = &patched};
        struct parquet_file one = {.file_bytes = out.len,
                                   .rows = 12,
                                   .leaves = &f->leaves[leaf],
                                   .leaf_count = 1,
                                   .row_groups = &rg,
                                   .row_group_count = 1};
        uint8_t *exact = malloc(bare.len);
        memcpy(exact, bare.ptr, bare.len);
        struct column got;
        for (size_t i = 0; i < bare.len; i++) {
            for (int bit = 0; bit < 9; bit++) {
                exact[i] ^= bit == 8 ? 0xff : (uint8_t)(1 << bit);
                int rc = parquet_chunk_decode(&one, 0, 0, slice_of(exact, bare.len), a, &got, NULL);
                for (uint32_t k = 0; rc == 0 && got.type == COLUMN_BYTES && k < got.values; k++) {
                    struct slice v = column_bytes(&got, k);
                    if (v.len)
                        assert_true(v.ptr[0] == v.ptr[0] && v.ptr[v.len - 1] < 256);
                }
                arena_reset(a);
                exact[i] = bare.ptr[i];
            }
        }
        for (size_t cut = 0; cut < bare.len; cut++) {
            uint8_t *part = malloc(cut ? cut : 1);
            memcpy(part, bare.ptr, cut);
            patched.bytes = cut;
            assert_true(parquet_chunk_decode(&one, 0, 0, slice_of(part, cut), a, &got, NULL) < 0);
            free(part);
            arena_reset(a);
        }
        free(exact);
        buf_clear(&bare);
    }
    arena_free(kept);
    arena_free(a);
    buf_clear(&out);
    sample_clear(&s);
}

static void page_indexes_with_any_byte_flipped_do_no_harm(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[1]);
    struct arena *kept = arena_new((size_t)16 << 20);
    struct arena *a = arena_new((size_t)16 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, kept, &f, NULL), 0);
    for (uint32_t i = 0; i < f->leaf_count; i++) {
        const struct parquet_chunk *c = &f->row_groups[0].chunks[i];
        size_t n = (size_t)c->column_index_bytes + c->offset_index_bytes;
        uint8_t *copy = malloc(n);
        memcpy(copy, file.ptr + c->column_index_offset, c->column_index_bytes);
        memcpy(copy + c->column_index_bytes, file.ptr + c->offset_index_offset,
               c->offset_index_bytes);
        struct slice columns = slice_of(copy, c->column_index_bytes);
        struct slice offsets = slice_of(copy + c->column_index_bytes, c->offset_index_bytes);
        struct parquet_column_index ix;
        struct parquet_page_location *pages;
        uint32_t count;
        for (size_t at = 0; at < n * 2; at++) {
            uint8_t mask = at < n ? 0xff : (uint8_t)(1 << at % 8);
            copy[at % n] ^= mask;
            parquet_column_index_decode(f, 0, i, columns, a, &ix, NULL);
            if (parquet_offset_index_decode(f, 0, i, offsets, a, &pages, &count, NULL) == 0) {
                for (uint32_t p = 0; p < count; p++)
                    assert_true(pages[p].offset >= c->data_offset &&
                                pages[p].offset + pages[p].bytes <= c->offset + c->bytes);
            }
            copy[at % n] ^= mask;
            arena_reset(a);
        }
        for (size_t cut = 0; cut < columns.len; cut++)
            assert_int_equal(
                parquet_column_index_decode(f, 0, i, slice_of(copy, cut), a, &ix, NULL),
                ERR_CORRUPT);
        for (size_t cut = 0; cut < offsets.len; cut++)
            assert_int_equal(parquet_offset_index_decode(f, 0, i, slice_of(offsets.ptr, cut), a,
                                                         &pages, &count, NULL),
                             ERR_CORRUPT);
        free(copy);
        arena_reset(a);
    }
    arena_free(kept);
    arena_free(a);
    slice_free(file);
}

static void a_small_arena_is_a_limit_for_every_column(void **state)
{
    (void)state;
    struct sample s;
    struct buf out;
    sample_init(&s, 50, 3);
    buf_init(&out, SIZE_MAX / 2);
    sample_write(&s, 1, 300, &out);
    struct arena *kept = arena_new((size_t)16 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(buf_view(&out), kept, &f, NULL), 0);
    for (uint32_t leaf = 0; leaf < f->leaf_count; leaf++) {
        bool fitted = false;
        for (size_t limit = 0; limit < 40000; limit += 500) {
            struct arena *a = arena_new(limit);
            struct column c;
            struct err err = {0};
            int rc = chunk_of(buf_view(&out), f, 0, leaf, a, &c, &err);
            assert_true(rc == 0 || (rc == ERR_LIMIT && err.msg[0]));
            assert_true(rc == 0 || !fitted);
            fitted = rc == 0;
            arena_free(a);
        }
        assert_true(fitted);
    }
    arena_free(kept);
    buf_clear(&out);
    sample_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_version_one_decode_under_every_codec),
        cmocka_unit_test(plain_pages_after_a_dictionary_decode),
        cmocka_unit_test(numbers_may_have_dictionaries),
        cmocka_unit_test(booleans_may_be_runs),
        cmocka_unit_test(pages_without_values_may_store_nothing),
        cmocka_unit_test(pages_of_unknown_types_are_skipped),
        cmocka_unit_test(a_wrong_crc_names_column_and_page),
        cmocka_unit_test(levels_that_do_not_fit_the_page_are_refused),
        cmocka_unit_test(huge_runs_stop_at_the_arenas_limit),
        cmocka_unit_test(values_that_bytes_cannot_hold_are_refused_before_room_is_made),
        cmocka_unit_test(sizes_that_a_codec_cannot_reach_are_refused),
        cmocka_unit_test(counts_that_differ_from_the_footers_are_refused),
        cmocka_unit_test(misplaced_dictionaries_and_indices_are_refused),
        cmocka_unit_test(encodings_of_other_types_are_unsupported),
        cmocka_unit_test(a_tempo_block_with_any_chunk_byte_flipped_fails_or_reads_the_same),
        cmocka_unit_test(sample_chunks_without_crc_survive_any_flip),
        cmocka_unit_test(page_indexes_with_any_byte_flipped_do_no_harm),
        cmocka_unit_test(a_small_arena_is_a_limit_for_every_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
