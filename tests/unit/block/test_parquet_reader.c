/* A chunk read some rows at a time holds what the whole chunk holds, wherever the windows begin and
 * end; and bytes that are wrong are refused or read as some column, never worse. */
#include "parquet_support.h"

#include "base/random.h"
#include "block/block_schema.h"
#include "block/parquet_encoding.h"

#define READER_BYTES ((size_t)64 << 20)

/* Rows [first, first + count) of a whole column, as a view of it. */
static struct column cut(const struct column *c, uint32_t first, uint32_t count)
{
    static const uint8_t sizes[] = {
        [COLUMN_BOOL] = 1, [COLUMN_I32] = 4, [COLUMN_I64] = 8, [COLUMN_F64] = 8};
    uint32_t start = column_row_entry(c, 0, first), end = column_row_entry(c, start, count);
    uint32_t before = c->def ? (uint32_t)bytes_count(c->def, start, c->def_max) : start;
    uint32_t values =
        c->def ? (uint32_t)bytes_count(c->def + start, end - start, c->def_max) : end - start;
    size_t size = c->type != COLUMN_BYTES ? sizes[c->type]
                  : c->has_dict           ? sizeof(uint32_t)
                                          : sizeof(struct slice);
    struct column out = *c;
    out.rep = c->rep ? c->rep + start : NULL;
    out.def = c->def ? c->def + start : NULL;
    out.v.b = c->v.b + before * size;
    out.rows = count;
    out.entries = end - start;
    out.values = values;
    return out;
}

static void read_in_windows(const struct parquet_file *f, uint32_t g, uint32_t leaf,
                            struct slice bytes, const struct column *whole, struct rng *rng)
{
    struct arena *a = arena_new(READER_BYTES);
    struct parquet_reader *r;
    struct err err = {0};
    uint32_t most = 1 + (uint32_t)rng_below(rng, whole->rows + 1), row = 0;
    if (parquet_reader_new(f, g, leaf, bytes, READER_BYTES, a, &r, &err) < 0)
        fail_msg("%s", err.msg);
    while (row < whole->rows) {
        if (rng_below(rng, 3) == 0) /* rows that nobody asks for */
            row += (uint32_t)rng_below(rng, whole->rows - row);
        uint32_t count = 1 + (uint32_t)rng_below(rng, most);
        count = count < whole->rows - row ? count : whole->rows - row;
        struct column got, want = cut(whole, row, count);
        if (parquet_reader_take(r, row, count, &got, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(got.has_dict, whole->has_dict);
        assert_true(column_same(&want, &got));
        row += count;
    }
    assert_true(parquet_reader_decoded(r) <= parquet_reader_pages(r));
    parquet_reader_free(r);
    arena_free(a);
}

static void read_file(struct slice file, struct rng *rng, int times)
{
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    struct err err = {0};
    assert_int_equal(file_open(file, a, &f, &err), 0);
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        for (uint32_t i = 0; i < f->leaf_count; i++) {
            struct column whole;
            assert_int_equal(chunk_of(file, f, g, i, a, &whole, &err), 0);
            for (int n = 0; n < times; n++)
                read_in_windows(f, g, i, chunk_bytes(file, f, g, i), &whole, rng);
        }
    }
    arena_free(a);
}

static void windows_of_tempo_blocks_hold_what_the_chunk_holds(void **state)
{
    (void)state;
    struct rng rng = {1};
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        read_file(file, &rng, 3);
        slice_free(file);
    }
}

/* The block with pages of a few rows. */
static void with_small_pages(struct slice file, size_t page_bytes, struct buf *out)
{
    struct parquet_writer_opts opts = {.schema = block_schema,
                                       .node_count = block_schema_count,
                                       .created_by = "rubato",
                                       .page_bytes = page_bytes};
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_writer *w;
    struct parquet_file *f;
    struct err err = {0};
    uint32_t footer_bytes;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        struct column columns[BLOCK_LEAVES];
        for (uint32_t i = 0; i < BLOCK_V4_LEAVES; i++)
            assert_int_equal(chunk_of(file, f, g, i, a, &columns[i], &err), 0);
        assert_int_equal(parquet_writer_row_group(w, columns, out, &err), 0);
    }
    assert_int_equal(parquet_writer_finish(w, out, &footer_bytes, &err), 0);
    parquet_writer_free(w);
    arena_free(a);
}

static void windows_over_many_pages_hold_what_the_chunk_holds(void **state)
{
    (void)state;
    struct rng rng = {2};
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct buf small;
        buf_init(&small, (size_t)512 << 20);
        with_small_pages(file, 300, &small);
        read_file(buf_view(&small), &rng, 3);
        buf_clear(&small);
        slice_free(file);
    }
}

static void pages_that_nobody_asks_for_are_not_decoded(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[TEMPO_BLOCKS - 1]);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    struct parquet_reader *r;
    struct column c;
    struct buf small;
    buf_init(&small, (size_t)512 << 20);
    with_small_pages(file, 300, &small);
    assert_int_equal(file_open(buf_view(&small), a, &f, NULL), 0);
    struct slice bytes = chunk_bytes(buf_view(&small), f, 0, BLOCK_SPAN_ID);
    assert_int_equal(parquet_reader_new(f, 0, BLOCK_SPAN_ID, bytes, READER_BYTES, a, &r, NULL), 0);
    assert_int_equal(parquet_reader_take(r, f->row_groups[0].rows - 1, 1, &c, NULL), 0);
    assert_int_equal(c.rows, 1);
    assert_int_equal(parquet_reader_decoded(r), 1);
    assert_true(parquet_reader_pages(r) > 10);
    parquet_reader_free(r);
    buf_clear(&small);
    arena_free(a);
    slice_free(file);
}

static void rows_out_of_order_or_out_of_range_are_refused(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    struct parquet_reader *r;
    struct column c;
    assert_int_equal(file_open(file, a, &f, NULL), 0);
    int64_t rows = f->row_groups[0].rows;
    assert_int_equal(
        parquet_reader_new(f, 0, 0, chunk_bytes(file, f, 0, 0), READER_BYTES, a, &r, NULL), 0);
    assert_int_equal(parquet_reader_take(r, 0, rows + 1, &c, NULL), ERR_INVALID);
    assert_int_equal(parquet_reader_take(r, 0, rows, &c, NULL), 0);
    assert_int_equal(parquet_reader_take(r, 0, 1, &c, NULL), ERR_INVALID);
    assert_int_equal(parquet_reader_take(r, rows, 0, &c, NULL), 0);
    parquet_reader_free(r);
    arena_free(a);
    slice_free(file);
}

static void dictionaries_are_those_of_the_chunk(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[TEMPO_BLOCKS - 1]);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    struct err err = {0};
    uint32_t seen = 0;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    for (uint32_t i = 0; i < f->leaf_count; i++) {
        const struct parquet_chunk *c = &f->row_groups[0].chunks[i];
        struct column whole, dict;
        if (!c->has_dict)
            continue;
        assert_int_equal(chunk_of(file, f, 0, i, a, &whole, &err), 0);
        struct slice page = slice_of(file.ptr + c->offset, (size_t)(c->data_offset - c->offset));
        assert_int_equal(parquet_dictionary_decode(f, 0, i, page, a, &dict, &err), 0);
        assert_int_equal(dict.dict_count, whole.dict_count);
        for (uint32_t k = 0; k < dict.dict_count; k++)
            assert_true(slice_eq(dict.dict[k], whole.dict[k]));
        page.len--;
        assert_true(parquet_dictionary_decode(f, 0, i, page, a, &dict, &err) < 0);
        seen++;
    }
    assert_true(seen > 3);
    arena_free(a);
    slice_free(file);
}

/* Each byte flipped: an error, or rows that have the shape of a column. */
static void damaged_chunks_do_no_harm(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct arena *kept = arena_new((size_t)512 << 20), *a = arena_new((size_t)16 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, kept, &f, NULL), 0);
    for (uint32_t i = 0; i < f->leaf_count; i += 3) {
        struct slice bytes = chunk_bytes(file, f, 0, i);
        uint8_t *copy = malloc(bytes.len);
        memcpy(copy, bytes.ptr, bytes.len);
        for (size_t at = 0; at < bytes.len; at++) {
            struct parquet_reader *r = NULL;
            struct column c;
            copy[at] ^= (uint8_t)(1 << at % 8);
            int rc = parquet_reader_new(f, 0, i, slice_of(copy, bytes.len), (size_t)1 << 20, a, &r,
                                        NULL);
            for (int64_t row = 0; row < f->row_groups[0].rows && rc == 0; row += 2) {
                rc = parquet_reader_take(r, row, 1, &c, NULL);
                assert_true(rc < 0 || (c.rows == 1 && c.values <= c.entries));
            }
            parquet_reader_free(r);
            arena_reset(a);
            copy[at] = bytes.ptr[at];
        }
        free(copy);
    }
    arena_free(kept);
    arena_free(a);
    slice_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_tempo_blocks_hold_what_the_chunk_holds),
        cmocka_unit_test(windows_over_many_pages_hold_what_the_chunk_holds),
        cmocka_unit_test(pages_that_nobody_asks_for_are_not_decoded),
        cmocka_unit_test(rows_out_of_order_or_out_of_range_are_refused),
        cmocka_unit_test(dictionaries_are_those_of_the_chunk),
        cmocka_unit_test(damaged_chunks_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
