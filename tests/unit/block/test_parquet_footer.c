/* Footers from hostile hands: cut, flipped, nested, and claiming more than there is. */
#include "parquet_support.h"

#include "block/block_limits.h"

static struct slice footer_of(struct slice file)
{
    uint32_t n = load_u32le(file.ptr + file.len - 8);
    return slice_of(file.ptr + file.len - 8 - n, n);
}

static void the_tail_tells_the_footers_length(void **state)
{
    (void)state;
    struct err err = {0};
    uint32_t n = 0;
    assert_int_equal(parquet_tail_decode(SLICE("\x93\x8f\x01\0PAR1"), 200000, &n, &err), 0);
    assert_int_equal(n, 102291);
    assert_int_equal(parquet_tail_decode(SLICE("\x93\x8f\x01\0PAR2"), 200000, &n, &err),
                     ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("\x93\x8f\x01\0PAR1"), 102291, &n, &err),
                     ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("\x93\x8f\x01\0PAR1"), 102291 + 11, &n, &err),
                     ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("\x93\x8f\x01\0PAR1"), 102291 + 12, &n, &err), 0);
    assert_int_equal(parquet_tail_decode(SLICE("\0\0\0\0PAR1"), 200000, &n, &err), ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("\xff\xff\xff\xffPAR1"), 200000, &n, &err),
                     ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("\x01\0\0\0PAR1"), 3, &n, &err), ERR_CORRUPT);
    assert_int_equal(parquet_tail_decode(SLICE("PAR1"), 200000, &n, &err), ERR_INVALID);
}

static void a_footer_cut_at_any_byte_is_corrupt(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct slice footer = footer_of(file);
    struct arena *a = arena_new((size_t)16 << 20);
    for (size_t cut = 0; cut < footer.len; cut++) {
        struct parquet_file *f;
        struct err err = {0};
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, footer.ptr, cut);
        copy = realloc(copy, cut ? cut : 1);
        assert_int_equal(parquet_footer_decode(slice_of(copy, cut), file.len, a, &f, &err),
                         ERR_CORRUPT);
        assert_true(strstr(err.msg, "footer") != NULL);
        free(copy);
        arena_reset(a);
    }
    arena_free(a);
    slice_free(file);
}

static bool chunk_same(const struct parquet_chunk *a, const struct parquet_chunk *b)
{
    return a->offset == b->offset && a->bytes == b->bytes && a->data_offset == b->data_offset &&
           a->codec == b->codec && a->num_values == b->num_values &&
           a->column_index_offset == b->column_index_offset &&
           a->offset_index_offset == b->offset_index_offset && slice_eq(a->min, b->min) &&
           slice_eq(a->max, b->max);
}

static bool leaf_same(const struct parquet_leaf *a, const struct parquet_leaf *b)
{
    return a->type == b->type && a->rep_max == b->rep_max && a->def_max == b->def_max;
}

/* No checksum guards a footer, so a flipped byte may go unseen; but what decodes stays inside the
 * file, and the chunks it then names decode or fail. */
static void a_footer_with_any_byte_flipped_does_no_harm(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    struct slice footer = footer_of(file);
    struct arena *a = arena_new((size_t)16 << 20);
    struct arena *kept = arena_new((size_t)16 << 20);
    struct parquet_file *whole;
    assert_int_equal(parquet_footer_decode(footer, file.len, kept, &whole, NULL), 0);
    uint8_t *copy = malloc(footer.len);
    memcpy(copy, footer.ptr, footer.len);
    size_t refused = 0;
    for (size_t i = 0; i < footer.len; i++) {
        for (int pass = 0; pass < 2; pass++) {
            struct parquet_file *f;
            copy[i] ^= pass ? 0xff : (uint8_t)(1 << i % 8);
            int rc = parquet_footer_decode(slice_of(copy, footer.len), file.len, a, &f, NULL);
            refused += rc < 0;
            for (uint32_t g = 0; rc == 0 && g < f->row_group_count; g++) {
                for (uint32_t k = 0; k < f->leaf_count; k++) {
                    struct column c;
                    const struct parquet_chunk *chunk = &f->row_groups[g].chunks[k];
                    if (f->leaf_count != whole->leaf_count ||
                        !chunk_same(chunk, &whole->row_groups[0].chunks[k]) ||
                        !leaf_same(&f->leaves[k], &whole->leaves[k]))
                        chunk_of(file, f, g, k, a, &c, NULL);
                }
            }
            copy[i] = footer.ptr[i];
            arena_reset(a);
        }
    }
    assert_true(refused > footer.len);
    free(copy);
    arena_free(a);
    arena_free(kept);
    slice_free(file);
}

/* ---- footers made by hand ---- */

struct made {
    struct buf b;
    struct thrift_writer w;
};

static void made_init(struct made *m)
{
    buf_init(&m->b, 16 << 20);
    m->w = thrift_writer_of(&m->b);
    thrift_put_i32(&m->w, 1, 2);
}

static void made_element(struct made *m, const char *name, int type, int repetition, int children)
{
    thrift_put_elem_struct(&m->w);
    if (type >= 0)
        thrift_put_i32(&m->w, 1, type);
    if (repetition >= 0)
        thrift_put_i32(&m->w, 3, repetition);
    thrift_put_binary(&m->w, 4, slice_cstr(name));
    if (children > 0)
        thrift_put_i32(&m->w, 5, children);
    thrift_put_stop(&m->w);
}

static int made_decode(struct made *m, struct err *err)
{
    struct arena *a = arena_new((size_t)64 << 20);
    struct parquet_file *f;
    thrift_put_stop(&m->w);
    assert_int_equal(m->w.rc, 0);
    int rc = parquet_footer_decode(buf_view(&m->b), 1000, a, &f, err);
    arena_free(a);
    buf_clear(&m->b);
    return rc;
}

static void made_rows(struct made *m)
{
    thrift_put_i64(&m->w, 3, 0);
    thrift_put_list(&m->w, 4, THRIFT_STRUCT, 0);
}

static void a_file_of_no_row_groups_is_read(void **state)
{
    (void)state;
    struct made m;
    struct err err = {0};
    made_init(&m);
    thrift_put_list(&m.w, 2, THRIFT_STRUCT, 2);
    made_element(&m, "root", -1, -1, 1);
    made_element(&m, "leaf", PARQUET_INT64, PARQUET_REQUIRED, 0);
    made_rows(&m);
    assert_int_equal(made_decode(&m, &err), 0);
}

static void schemas_nested_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    for (size_t depth = LIMIT_PARQUET_DEPTH - 2; depth <= LIMIT_PARQUET_DEPTH + 1; depth++) {
        struct made m;
        struct err err = {0};
        made_init(&m);
        thrift_put_list(&m.w, 2, THRIFT_STRUCT, depth + 2);
        made_element(&m, "root", -1, -1, 1);
        for (size_t i = 0; i < depth; i++)
            made_element(&m, "g", -1, PARQUET_REPEATED, 1);
        made_element(&m, "leaf", PARQUET_INT64, PARQUET_REQUIRED, 0);
        made_rows(&m);
        assert_int_equal(made_decode(&m, &err), depth < LIMIT_PARQUET_DEPTH ? 0 : ERR_LIMIT);
    }
}

static void schemas_of_too_many_columns_are_refused(void **state)
{
    (void)state;
    struct made m;
    struct err err = {0};
    made_init(&m);
    thrift_put_list(&m.w, 2, THRIFT_STRUCT, LIMIT_PARQUET_LEAVES + 2);
    made_element(&m, "root", -1, -1, LIMIT_PARQUET_LEAVES + 1);
    for (size_t i = 0; i <= LIMIT_PARQUET_LEAVES; i++)
        made_element(&m, "leaf", PARQUET_INT64, PARQUET_REQUIRED, 0);
    made_rows(&m);
    assert_int_equal(made_decode(&m, &err), ERR_LIMIT);
}

static void long_paths_are_refused(void **state)
{
    (void)state;
    static char name[LIMIT_PARQUET_PATH_BYTES + 1];
    for (size_t len = LIMIT_PARQUET_PATH_BYTES - 3; len < sizeof name; len++) {
        struct made m;
        struct err err = {0};
        memset(name, 'x', len);
        made_init(&m);
        thrift_put_list(&m.w, 2, THRIFT_STRUCT, 3);
        made_element(&m, "root", -1, -1, 1);
        made_element(&m, name, -1, PARQUET_REQUIRED, 1);
        made_element(&m, "l", PARQUET_INT64, PARQUET_REQUIRED, 0);
        made_rows(&m);
        assert_int_equal(made_decode(&m, &err),
                         len + 2 <= LIMIT_PARQUET_PATH_BYTES ? 0 : ERR_LIMIT);
    }
}

static int schema_try(int root_children, int type, int repetition, int children, int elements)
{
    struct made m;
    struct err err = {0};
    made_init(&m);
    thrift_put_list(&m.w, 2, THRIFT_STRUCT, (size_t)elements + 1);
    made_element(&m, "root", -1, -1, root_children);
    for (int i = 0; i < elements; i++)
        made_element(&m, "leaf", type, repetition, children);
    made_rows(&m);
    return made_decode(&m, &err);
}

static void impossible_schemas_are_refused(void **state)
{
    (void)state;
    assert_int_equal(schema_try(1, PARQUET_INT64, 0, 0, 1), 0);
    assert_int_equal(schema_try(2, PARQUET_INT64, 0, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(INT32_MAX, PARQUET_INT64, 0, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, PARQUET_INT64, 0, 0, 2), ERR_CORRUPT);
    assert_int_equal(schema_try(0, PARQUET_INT64, 0, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, PARQUET_INT64, 3, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, PARQUET_INT64, -1, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, PARQUET_INT64, 0, 1, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, -1, 0, 0, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, -1, 0, 1, 1), ERR_CORRUPT);
    assert_int_equal(schema_try(1, -1, 0, 0, 0), ERR_CORRUPT);
    assert_int_equal(schema_try(1, 3, 0, 0, 1), ERR_UNSUPPORTED); /* INT96 */
}

/* One row group of one INT64 column at [4, 24) of a file of 1000 bytes, with changes. */
struct chunk_claims {
    int64_t data_offset, dict_offset, bytes, values, rows, file_rows, index_offset;
    int32_t type, codec, index_bytes;
    const char *path;
};

static const struct chunk_claims honest = {.data_offset = 4,
                                           .bytes = 20,
                                           .values = 3,
                                           .rows = 3,
                                           .file_rows = 3,
                                           .type = PARQUET_INT64,
                                           .path = "leaf"};

static int claims_try(struct chunk_claims c)
{
    struct made m;
    struct err err = {0};
    made_init(&m);
    thrift_put_list(&m.w, 2, THRIFT_STRUCT, 2);
    made_element(&m, "root", -1, -1, 1);
    made_element(&m, "leaf", PARQUET_INT64, PARQUET_REQUIRED, 0);
    thrift_put_i64(&m.w, 3, c.file_rows);
    thrift_put_list(&m.w, 4, THRIFT_STRUCT, 1);
    thrift_put_elem_struct(&m.w);
    thrift_put_list(&m.w, 1, THRIFT_STRUCT, 1);
    thrift_put_elem_struct(&m.w);
    thrift_put_struct(&m.w, 3);
    thrift_put_i32(&m.w, 1, c.type);
    thrift_put_list(&m.w, 3, THRIFT_BINARY, 1);
    thrift_put_elem_binary(&m.w, slice_cstr(c.path));
    thrift_put_i32(&m.w, 4, c.codec);
    thrift_put_i64(&m.w, 5, c.values);
    thrift_put_i64(&m.w, 6, c.bytes);
    thrift_put_i64(&m.w, 7, c.bytes);
    thrift_put_i64(&m.w, 9, c.data_offset);
    thrift_put_i64(&m.w, 11, c.dict_offset);
    thrift_put_stop(&m.w);
    thrift_put_i64(&m.w, 4, c.index_offset);
    thrift_put_i32(&m.w, 5, c.index_bytes);
    thrift_put_stop(&m.w);
    thrift_put_i64(&m.w, 2, c.bytes);
    thrift_put_i64(&m.w, 3, c.rows);
    thrift_put_stop(&m.w);
    return made_decode(&m, &err);
}

#define CLAIM(...)                                                                                 \
    ({                                                                                             \
        struct chunk_claims claims_ = honest;                                                      \
        struct chunk_claims *c = &claims_;                                                         \
        __VA_ARGS__;                                                                               \
        claims_try(claims_);                                                                       \
    })

static void chunks_that_lie_about_their_place_are_refused(void **state)
{
    (void)state;
    assert_int_equal(claims_try(honest), 0);
    assert_int_equal(CLAIM(c->data_offset = 0), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->data_offset = -1), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->data_offset = INT64_MAX), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->bytes = INT64_MAX), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->bytes = -1), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->bytes = 996), 0);
    assert_int_equal(CLAIM(c->bytes = 997), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->data_offset = 10, c->dict_offset = 4), 0);
    assert_int_equal(CLAIM(c->data_offset = 30, c->dict_offset = 4), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->data_offset = 10, c->dict_offset = 1), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->values = -1, c->rows = -1, c->file_rows = -1), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->values = 4), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->values = 2), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->file_rows = 4), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->type = PARQUET_INT32), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->codec = 5), ERR_UNSUPPORTED);
    assert_int_equal(CLAIM(c->path = "leap"), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->path = "lea"), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->path = "leaf.x"), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->index_offset = 900, c->index_bytes = 100), 0);
    assert_int_equal(CLAIM(c->index_offset = 900, c->index_bytes = 101), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->index_offset = INT64_MAX, c->index_bytes = 1), ERR_CORRUPT);
    assert_int_equal(CLAIM(c->index_offset = -5), ERR_CORRUPT);
}

static void a_row_group_at_a_time_is_the_same_footer(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof tempo_blocks / sizeof tempo_blocks[0]; n++) {
        struct slice file = file_read(tempo_blocks[n]), footer = footer_of(file);
        struct arena *a = arena_new((size_t)16 << 20);
        struct parquet_file *whole, *head;
        struct err err = {0};
        size_t at, taken;
        assert_int_equal(parquet_footer_decode(footer, file.len, a, &whole, &err), 0);
        assert_int_equal(parquet_footer_begin(footer, file.len, a, &head, &at, &err), 0);
        assert_int_equal(head->rows, whole->rows);
        assert_int_equal(head->leaf_count, whole->leaf_count);
        assert_int_equal(head->row_group_count, whole->row_group_count);
        assert_null(head->row_groups);
        for (uint32_t g = 0; g < head->row_group_count; g++) {
            struct parquet_row_group rg;
            struct slice rest = slice_from(footer, at);
            assert_int_equal(parquet_footer_row_group(head, rest, a, &rg, &taken, &err), 0);
            assert_int_equal(rg.rows, whole->row_groups[g].rows);
            for (uint32_t i = 0; i < head->leaf_count; i++)
                assert_true(chunk_same(&rg.chunks[i], &whole->row_groups[g].chunks[i]));
            /* Too few bytes are told apart from enough of them. */
            for (size_t cut = 0; cut < taken; cut += 1 + cut / 4) {
                size_t ignored;
                assert_int_equal(
                    parquet_footer_row_group(head, slice_of(rest.ptr, cut), a, &rg, &ignored, NULL),
                    ERR_CORRUPT);
            }
            at += taken;
        }
        assert_true(at < footer.len);
        arena_free(a);
        slice_free(file);
    }
}

static void a_footers_beginning_cut_short_is_corrupt(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]), footer = footer_of(file);
    struct arena *a = arena_new((size_t)64 << 20);
    struct parquet_file *head;
    size_t at = 0, end;
    assert_int_equal(parquet_footer_begin(footer, file.len, a, &head, &end, NULL), 0);
    for (size_t cut = 0; cut < end; cut += 7) {
        arena_reset(a);
        assert_int_equal(
            parquet_footer_begin(slice_of(footer.ptr, cut), file.len, a, &head, &at, NULL),
            ERR_CORRUPT);
    }
    arena_free(a);
    slice_free(file);
}

static void a_small_arena_is_a_limit_and_not_a_crash(void **state)
{
    (void)state;
    struct slice file = file_read(tempo_blocks[0]);
    for (size_t limit = 0; limit < 60000; limit += 777) {
        struct arena *a = arena_new(limit);
        struct parquet_file *f;
        struct err err = {0};
        int rc = parquet_footer_decode(footer_of(file), file.len, a, &f, &err);
        assert_true(rc == 0 || rc == ERR_LIMIT);
        arena_free(a);
    }
    slice_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tail_tells_the_footers_length),
        cmocka_unit_test(a_footer_cut_at_any_byte_is_corrupt),
        cmocka_unit_test(a_footer_with_any_byte_flipped_does_no_harm),
        cmocka_unit_test(a_file_of_no_row_groups_is_read),
        cmocka_unit_test(schemas_nested_beyond_the_limit_are_refused),
        cmocka_unit_test(schemas_of_too_many_columns_are_refused),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(impossible_schemas_are_refused),
        cmocka_unit_test(chunks_that_lie_about_their_place_are_refused),
        cmocka_unit_test(a_row_group_at_a_time_is_the_same_footer),
        cmocka_unit_test(a_footers_beginning_cut_short_is_corrupt),
        cmocka_unit_test(a_small_arena_is_a_limit_and_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
