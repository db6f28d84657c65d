/* What the writer chooses by what a column holds: whether a chunk has a dictionary, whether its
 * pages are compressed, and that empty columns get the same pages without being encoded again. */
#include "parquet_support.h"

#include "base/vec.h"

#define ROWS 3000

struct written {
    struct buf out;
    struct arena *a;
    struct parquet_file *file;
};

/* leaves[0] is the root. */
static void written_init(struct written *w, const struct parquet_node *nodes, size_t node_count,
                         const struct column *columns, size_t page_bytes)
{
    struct parquet_writer_opts opts = {.schema = nodes,
                                       .node_count = node_count,
                                       .created_by = "rubato",
                                       .page_bytes = page_bytes};
    struct parquet_writer *pw;
    struct err err = {0};
    uint32_t footer_bytes;
    buf_init(&w->out, (size_t)64 << 20);
    w->a = arena_new((size_t)64 << 20);
    assert_int_equal(parquet_writer_new(&opts, &pw, &err), 0);
    if (parquet_writer_row_group(pw, columns, &w->out, &err) < 0 ||
        parquet_writer_finish(pw, &w->out, &footer_bytes, &err) < 0 ||
        file_open(buf_view(&w->out), w->a, &w->file, &err) < 0)
        fail_msg("%s", err.msg);
    parquet_writer_free(pw);
    for (uint32_t i = 0; i < w->file->leaf_count; i++) {
        struct column got;
        if (chunk_of(buf_view(&w->out), w->file, 0, i, w->a, &got, &err) < 0)
            fail_msg("%s", err.msg);
        assert_true(column_same(&columns[i], &got));
    }
}

static void written_clear(struct written *w)
{
    buf_clear(&w->out);
    arena_free(w->a);
}

static struct slice chunk_view(const struct written *w, uint32_t leaf)
{
    return chunk_bytes(buf_view(&w->out), w->file, 0, leaf);
}

/* Headers of a chunk's data pages. */
static uint32_t data_headers(const struct written *w, uint32_t leaf, struct page_header out[64])
{
    struct slice left = chunk_view(w, leaf);
    uint32_t count = 0;
    while (left.len > 0) {
        struct err err = {0};
        struct thrift_reader r = thrift_reader_of(left, "page header", &err);
        struct page_header h;
        assert_int_equal(page_header_decode(&r, &h), 0);
        left = slice_from(left, cursor_offset(&r.cur) + h.compressed_bytes);
        if (h.type != PAGE_DICTIONARY) {
            assert_true(count < 64);
            out[count++] = h;
        }
    }
    return count;
}

static struct column flat_strings(struct slice *dict, uint32_t dict_count, uint32_t *idx)
{
    return (struct column){.type = COLUMN_BYTES,
                           .has_dict = true,
                           .rows = ROWS,
                           .entries = ROWS,
                           .values = ROWS,
                           .v.idx = idx,
                           .dict = dict,
                           .dict_count = dict_count};
}

/* All pages of the chunk have the encoding; a chunk has a dictionary page or not. */
static void expect_encoding(const struct written *w, uint32_t leaf, bool dict)
{
    struct page_header h[64];
    uint32_t count = data_headers(w, leaf, h);
    assert_true(count > 1);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(h[i].encoding, dict ? PARQUET_RLE_DICTIONARY : PARQUET_PLAIN);
    assert_int_equal(w->file->row_groups[0].chunks[leaf].has_dict, dict);
}

static void a_dictionary_is_left_out_where_it_does_not_pay(void **state)
{
    (void)state;
    static char text[ROWS][24];
    static struct slice dict[ROWS];
    static uint32_t idx[ROWS];
    const struct parquet_node nodes[] = {{.name = "T", .type = PARQUET_GROUP, .children = 1},
                                         {.name = "s",
                                          .type = PARQUET_BYTE_ARRAY,
                                          .logical = PARQUET_STRING,
                                          .encoding = PARQUET_RLE_DICTIONARY,
                                          .codec = PARQUET_ZSTD}};
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(text[i], sizeof text[i], "/orders/%08x", i * 2654435761U);
        dict[i] = slice_cstr(text[i]);
    }
    /* Of 20 + 12/8 bytes a value: at one use a value the dictionary costs its indices, from 1.08
     * uses on it is smaller. */
    static const struct {
        uint32_t distinct;
        bool dict;
    } cases[] = {{ROWS, false}, {ROWS * 97 / 100, false}, {ROWS * 85 / 100, true}, {10, true}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        for (uint32_t i = 0; i < ROWS; i++)
            idx[i] = i % cases[k].distinct;
        struct column c = flat_strings(dict, cases[k].distinct, idx);
        struct written w;
        written_init(&w, nodes, 2, &c, 4000);
        expect_encoding(&w, 0, cases[k].dict);
        written_clear(&w);
    }
}

/* A column that never had a dictionary, as PLAIN chunks of other writers give it. */
static void a_column_without_dictionary_is_written_plain(void **state)
{
    (void)state;
    static struct slice values[ROWS];
    const struct parquet_node nodes[] = {{.name = "T", .type = PARQUET_GROUP, .children = 1},
                                         {.name = "s",
                                          .type = PARQUET_BYTE_ARRAY,
                                          .encoding = PARQUET_RLE_DICTIONARY,
                                          .codec = PARQUET_SNAPPY}};
    for (uint32_t i = 0; i < ROWS; i++)
        values[i] = i % 3 ? SLICE("one") : SLICE("");
    struct column c = flat_strings(NULL, 0, NULL);
    c.has_dict = false;
    c.v.bytes = values;
    struct written w;
    written_init(&w, nodes, 2, &c, 4000);
    expect_encoding(&w, 0, false);
    written_clear(&w);
}

/* Lists of 0 to 6 numbers; levels repeat, values are even or random. */
struct lists {
    uint8_t rep[ROWS * 7], def[ROWS * 7];
    int64_t v[ROWS * 7];
    struct column c;
};

static struct lists *lists_new(bool random)
{
    struct lists *l = calloc(1, sizeof *l);
    uint64_t seed = 9;
    assert_non_null(l);
    l->c = (struct column){
        .type = COLUMN_I64, .rep_max = 1, .def_max = 1, .rows = ROWS, .rep = l->rep, .def = l->def};
    l->c.v.i64 = l->v;
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t i = 0; i == 0 || i < row % 7; i++) {
            l->rep[l->c.entries] = i > 0;
            l->def[l->c.entries++] = row % 7 > 0;
            if (row % 7 > 0)
                l->v[l->c.values++] = random ? (int64_t)random_next(&seed) : 200;
        }
    }
    return l;
}

static const struct parquet_node list_nodes[] = {
    {.name = "T", .type = PARQUET_GROUP, .children = 2},
    {.name = "a", .type = PARQUET_INT64, .repetition = PARQUET_REPEATED, .codec = PARQUET_ZSTD},
    {.name = "b",
     .type = PARQUET_INT64,
     .repetition = PARQUET_REPEATED,
     .encoding = PARQUET_DELTA_BINARY_PACKED,
     .codec = PARQUET_ZSTD},
};

static void pages_are_compressed_levels_and_all_where_that_pays(void **state)
{
    (void)state;
    for (int random = 0; random < 2; random++) {
        struct lists *l = lists_new(random);
        struct column columns[2] = {l->c, l->c};
        struct page_header h[64];
        struct written w;
        written_init(&w, list_nodes, 3, columns, 6000);
        for (uint32_t leaf = 0; leaf < 2; leaf++) {
            uint32_t count = data_headers(&w, leaf, h);
            assert_true(count > 2);
            size_t stored = 0, plain = 0;
            for (uint32_t i = 0; i < count; i++) {
                assert_int_equal(h[i].type, random ? PAGE_DATA_V2 : PAGE_DATA);
                assert_int_not_equal(h[i].crc, 0);
                assert_false(random && h[i].is_compressed);
                stored += h[i].compressed_bytes;
                plain += h[i].uncompressed_bytes;
            }
            assert_true(random ? stored == plain : stored < plain * 3 / 4);
        }
        written_clear(&w);
        free(l);
    }
}

#define EMPTY_LEAVES 6

/* Columns a, b, d without a value and with the same levels, c with other levels, e with another
 * encoding, f with values: only equal pages may be shared. */
static void empty_columns_with_the_same_levels_get_the_same_pages(void **state)
{
    (void)state;
    struct parquet_node nodes[1 + EMPTY_LEAVES] = {
        {.name = "T", .type = PARQUET_GROUP, .children = EMPTY_LEAVES}};
    static const char *const names[EMPTY_LEAVES] = {"a", "b", "c", "d", "e", "f"};
    struct lists *l = lists_new(false);
    struct lists *other = lists_new(false);
    struct column columns[EMPTY_LEAVES];
    for (uint32_t i = 0; i < EMPTY_LEAVES; i++) {
        nodes[1 + i] = list_nodes[i == 4 ? 2 : 1];
        nodes[1 + i].name = names[i];
        columns[i] = l->c;
        if (i == 5)
            continue;
        columns[i].values = 0;
        columns[i].v.i64 = NULL;
        columns[i].def = calloc(1, l->c.entries);
        assert_non_null(columns[i].def);
    }
    /* The last row of c starts later. */
    columns[2].rep = other->rep;
    other->rep[l->c.entries - 3] = 1;
    other->rep[l->c.entries - 1] = 0;
    struct written w;
    written_init(&w, nodes, 1 + EMPTY_LEAVES, columns, 3000);
    assert_true(slice_eq(chunk_view(&w, 0), chunk_view(&w, 1)));
    assert_true(slice_eq(chunk_view(&w, 0), chunk_view(&w, 3)));
    assert_false(slice_eq(chunk_view(&w, 0), chunk_view(&w, 2)));
    assert_false(slice_eq(chunk_view(&w, 0), chunk_view(&w, 4)));
    written_clear(&w);
    for (uint32_t i = 0; i + 1 < EMPTY_LEAVES; i++)
        free(columns[i].def);
    free(other);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dictionary_is_left_out_where_it_does_not_pay),
        cmocka_unit_test(a_column_without_dictionary_is_written_plain),
        cmocka_unit_test(pages_are_compressed_levels_and_all_where_that_pays),
        cmocka_unit_test(empty_columns_with_the_same_levels_get_the_same_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
