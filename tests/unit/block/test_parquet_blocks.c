/* Blocks that Tempo wrote must read here: every leaf of every row group, with the indexes. */
#include "parquet_support.h"

#include "block/block_schema.h"

static void values_are_sane(const struct column *c, const struct parquet_chunk *chunk)
{
    assert_int_equal(c->entries, chunk->num_values);
    /* Tempo 2.7 does not tell a count of 0. */
    int64_t nulls = chunk->null_count < 0 ? 0 : chunk->null_count;
    assert_int_equal(c->entries - c->values, nulls);
    if (c->rep_max)
        assert_int_equal(c->rep[0], 0);
    if (c->type != COLUMN_BYTES)
        return;
    struct slice min = {0}, max = {0};
    for (uint32_t i = 0; i < c->values; i++) {
        struct slice v = column_bytes(c, i);
        min = i == 0 || slice_cmp(v, min) < 0 ? v : min;
        max = i == 0 || slice_cmp(v, max) > 0 ? v : max;
    }
    assert_int_equal(chunk->has_min, c->values > 0);
    if (c->values > 0) {
        assert_true(slice_eq(min, chunk->min));
        assert_true(slice_eq(max, chunk->max));
    }
}

static void every_leaf_of_every_tempo_block_decodes_to_the_footers_counts(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)512 << 20);
        struct parquet_file *f;
        struct err err = {0};
        if (file_open(file, a, &f, &err) < 0)
            fail_msg("%s: %s", tempo_blocks[b], err.msg);
        assert_int_equal(f->leaf_count, 103);
        for (uint32_t g = 0; g < f->row_group_count; g++) {
            for (uint32_t i = 0; i < f->leaf_count; i++) {
                struct column c;
                if (chunk_of(file, f, g, i, a, &c, &err) < 0)
                    fail_msg("%s: %s", tempo_blocks[b], err.msg);
                assert_int_equal(c.rows, f->row_groups[g].rows);
                assert_int_equal(c.rep_max, f->leaves[i].rep_max);
                assert_int_equal(c.def_max, f->leaves[i].def_max);
                values_are_sane(&c, &f->row_groups[g].chunks[i]);
            }
        }
        arena_free(a);
        slice_free(file);
    }
}

/* Pages by their index hold the same rows as the whole chunk. */
static void pages_by_offset_index_hold_the_rows_of_the_chunk(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)512 << 20);
        struct parquet_file *f;
        struct err err = {0};
        assert_int_equal(file_open(file, a, &f, &err), 0);
        for (uint32_t g = 0; g < f->row_group_count; g++) {
            for (uint32_t i = 0; i < f->leaf_count; i++) {
                const struct parquet_chunk *c = &f->row_groups[g].chunks[i];
                struct slice bytes =
                    slice_of(file.ptr + c->offset_index_offset, c->offset_index_bytes);
                struct parquet_page_location *pages;
                struct parquet_column_index index;
                uint32_t count;
                assert_int_equal(
                    parquet_offset_index_decode(f, g, i, bytes, a, &pages, &count, &err), 0);
                bytes = slice_of(file.ptr + c->column_index_offset, c->column_index_bytes);
                assert_int_equal(parquet_column_index_decode(f, g, i, bytes, a, &index, &err), 0);
                assert_int_equal(index.count, count);
                assert_int_equal(pages[0].offset, c->data_offset);
                int64_t nulls = 0;
                for (uint32_t p = 0; p < count; p++)
                    nulls += index.null_counts[p];
                assert_int_equal(nulls, c->null_count < 0 ? 0 : c->null_count);

                int64_t rows = f->row_groups[g].rows;
                int64_t row = rows / 2;
                struct parquet_page_span span;
                assert_int_equal(parquet_page_span(pages, count, rows, row, 1, &span, &err), 0);
                struct slice dict =
                    slice_of(file.ptr + c->offset, (size_t)(c->data_offset - c->offset));
                struct column one;
                if (parquet_rows_decode(f, g, i, dict,
                                        slice_of(file.ptr + span.offset, (size_t)span.bytes),
                                        span.first_row, row, 1, a, &one, &err) < 0)
                    fail_msg("%s", err.msg);
                assert_int_equal(one.rows, 1);
                if (one.rep_max)
                    assert_int_equal(one.rep[0], 0);
            }
        }
        arena_free(a);
        slice_free(file);
    }
}

/* All row groups of a block through our writer. */
static void rewrite(struct slice file, const struct parquet_file *f, struct arena *a,
                    struct buf *out)
{
    struct parquet_writer_opts opts = {
        .schema = block_schema, .node_count = block_schema_count, .created_by = "rubato"};
    struct parquet_writer *w;
    struct err err = {0};
    uint32_t footer_bytes;
    assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        struct column columns[BLOCK_LEAVES];
        for (uint32_t i = 0; i < BLOCK_V4_LEAVES; i++)
            assert_int_equal(chunk_of(file, f, g, i, a, &columns[i], &err), 0);
        if (parquet_writer_row_group(w, columns, out, &err) < 0)
            fail_msg("%s", err.msg);
    }
    assert_int_equal(parquet_writer_finish(w, out, &footer_bytes, &err), 0);
    parquet_writer_free(w);
}

static bool bound_same(bool has_a, struct slice a, bool has_b, struct slice b)
{
    return has_a == has_b && (!has_a || slice_eq(a, b));
}

/* What Tempo wrote, written by us: the same columns and statistics in fewer bytes. A dictionary may
 * be gone, but none is added. */
static void tempo_blocks_go_through_the_writer_unchanged(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)512 << 20);
        struct parquet_file *f, *mine;
        struct err err = {0};
        struct buf out;
        buf_init(&out, SIZE_MAX / 2);
        assert_int_equal(file_open(file, a, &f, &err), 0);
        rewrite(file, f, a, &out);
        if (file_open(buf_view(&out), a, &mine, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(mine->row_group_count, f->row_group_count);
        /* A small block is mostly footer, of which nothing can be saved. */
        assert_true(out.len < (file.len < 100000    ? file.len
                               : file.len < 1000000 ? file.len * 19 / 20
                                                    : file.len * 6 / 10));
        for (uint32_t g = 0; g < f->row_group_count; g++) {
            for (uint32_t i = 0; i < BLOCK_V4_LEAVES; i++) {
                const struct parquet_chunk *t = &f->row_groups[g].chunks[i];
                const struct parquet_chunk *m = &mine->row_groups[g].chunks[i];
                struct column want, got;
                assert_int_equal(chunk_of(file, f, g, i, a, &want, &err), 0);
                if (chunk_of(buf_view(&out), mine, g, i, a, &got, &err) < 0)
                    fail_msg("%s", err.msg);
                assert_true(column_same(&want, &got));
                assert_true(slice_eq(f->leaves[i].path, mine->leaves[i].path));
                assert_int_equal(f->leaves[i].logical, mine->leaves[i].logical);
                assert_true(t->has_dict || !m->has_dict);
                assert_true(f->leaves[i].type == PARQUET_DOUBLE ||
                            (bound_same(t->has_min, t->min, m->has_min, m->min) &&
                             bound_same(t->has_max, t->max, m->has_max, m->max)));
            }
        }
        buf_clear(&out);
        arena_free(a);
        slice_free(file);
    }
}

static void worked_bytes_of_the_specification_decode(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct arena *a = arena_new((size_t)64 << 20);
    struct parquet_file *f;
    struct err err = {0};
    struct column c;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    assert_int_equal(f->rows, 11);
    assert_int_equal(f->row_group_count, 1);

    assert_int_equal(parquet_leaf_find(f, SLICE("TraceID")), 0);
    assert_int_equal(parquet_leaf_find(f, SLICE("traceID")), -1);
    assert_int_equal(f->row_groups[0].chunks[0].offset, 4);
    assert_int_equal(chunk_of(file, f, 0, 0, a, &c, &err), 0);
    assert_false(c.has_dict);
    assert_int_equal(c.values, 11);
    for (uint32_t i = 0; i < c.values; i++)
        assert_int_equal(c.v.bytes[i].len, 16);

    int root = parquet_leaf_find(f, SLICE("RootServiceName"));
    assert_int_equal(root, 5);
    assert_int_equal(f->row_groups[0].chunks[5].offset, 1120);
    assert_int_equal(f->row_groups[0].chunks[5].data_offset, 1208);
    assert_true(f->row_groups[0].chunks[5].has_dict);
    assert_int_equal(chunk_of(file, f, 0, 5, a, &c, &err), 0);
    assert_true(c.has_dict);
    assert_int_equal(c.dict_count, 8);
    assert_true(slice_eq(c.dict[0], SLICE("tiny")));
    assert_true(slice_eq(c.dict[1], SLICE("shop")));
    assert_int_equal(c.dict[2].len, 0);
    assert_true(slice_eq(c.dict[3], SLICE("broken")));
    static const uint32_t roots[] = {0, 1, 2, 3, 4, 5, 6, 2, 2, 7, 0};
    assert_memory_equal(c.v.idx, roots, sizeof roots);

    static const uint8_t rep[15] = {0, 0, 1, 1, 0, 0, 0, 1, 0, 1};
    static const uint8_t def[15] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(f->row_groups[0].chunks[7].data_offset, 1376);
    assert_int_equal(chunk_of(file, f, 0, 7, a, &c, &err), 0);
    assert_int_equal(c.entries, 15);
    assert_memory_equal(c.rep, rep, 15);
    assert_memory_equal(c.def, def, 15);

    assert_int_equal(chunk_of(file, f, 0, 19, a, &c, &err), 0);
    assert_true(slice_eq(f->leaves[19].path, SLICE("rs.list.element.Resource.Cluster")));
    assert_int_equal(c.entries, 17);
    assert_int_equal(c.values, 2);
    assert_int_equal(c.dict_count, 1);
    assert_true(slice_eq(column_bytes(&c, 0), SLICE("c1")));
    assert_true(slice_eq(column_bytes(&c, 1), SLICE("c1")));

    assert_int_equal(chunk_of(file, f, 0, 27, a, &c, &err), 0);
    assert_int_equal(c.entries, 17);
    assert_int_equal(c.values, 0);
    assert_int_equal(c.dict_count, 0);
    arena_free(a);
    slice_free(file);
}

static void leaves_carry_levels_and_logical_types(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct arena *a = arena_new((size_t)64 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, a, &f, NULL), 0);
    const struct parquet_leaf *value = &f->leaves[61];
    assert_true(slice_eq(
        value->path,
        SLICE("rs.list.element.ss.list.element.Spans.list.element.Attrs.list.element.Value."
              "list.element")));
    assert_int_equal(value->rep_max, 5);
    assert_int_equal(value->def_max, 5);
    assert_int_equal(value->logical, PARQUET_STRING);
    assert_int_equal(f->leaves[2].logical, PARQUET_UNSIGNED);
    assert_int_equal(f->leaves[49].logical, PARQUET_SIGNED);
    assert_int_equal(f->leaves[0].logical, PARQUET_NONE);
    assert_int_equal(f->leaves[90].repetition, PARQUET_OPTIONAL);
    assert_int_equal(f->leaves[90].def_max, 4);
    arena_free(a);
    slice_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_leaf_of_every_tempo_block_decodes_to_the_footers_counts),
        cmocka_unit_test(pages_by_offset_index_hold_the_rows_of_the_chunk),
        cmocka_unit_test(tempo_blocks_go_through_the_writer_unchanged),
        cmocka_unit_test(worked_bytes_of_the_specification_decode),
        cmocka_unit_test(leaves_carry_levels_and_logical_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
