/* Fuzz target: Parquet footers and tails. What decodes lies inside the file, can be found by its
 * path, and decodes again to the same, as a whole and a row group at a time. */
#include <assert.h>

#include "block/parquet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_BYTES ((uint64_t)1 << 24)

static void inside(uint64_t offset, uint64_t bytes)
{
    assert(offset >= 4 && offset <= FILE_BYTES);
    assert(bytes <= FILE_BYTES - offset);
}

static void check_row_group(const struct parquet_file *f, const struct parquet_row_group *g)
{
    assert(g->rows >= 0);
    for (uint32_t i = 0; i < f->leaf_count; i++) {
        const struct parquet_chunk *c = &g->chunks[i];
        inside(c->offset, c->bytes);
        assert(c->data_offset >= c->offset && c->data_offset <= c->offset + c->bytes);
        assert(c->has_dict == (c->offset < c->data_offset));
        assert(c->num_values >= g->rows);
        if (c->offset_index_offset)
            inside(c->offset_index_offset, c->offset_index_bytes);
        if (c->column_index_offset)
            inside(c->column_index_offset, c->column_index_bytes);
    }
}

static void check_file(const struct parquet_file *f)
{
    assert(f->leaf_count > 0);
    for (uint32_t i = 0; i < f->leaf_count; i++) {
        const struct parquet_leaf *leaf = &f->leaves[i];
        assert(leaf->rep_max <= leaf->def_max);
        int found = parquet_leaf_find(f, leaf->path);
        assert(found >= 0 && (uint32_t)found <= i);
        assert(slice_eq(f->leaves[found].path, leaf->path));
    }
    int64_t rows = 0;
    for (uint32_t i = 0; i < f->row_group_count; i++) {
        check_row_group(f, &f->row_groups[i]);
        rows += f->row_groups[i].rows;
    }
    assert(rows == f->rows);
}

/* Writers put the row count before the row groups; a footer that does not is whole all the same. */
static void check_by_row_groups(struct slice footer, struct arena *a, const struct parquet_file *f)
{
    struct parquet_file *head = NULL;
    struct err err = {0};
    size_t at = 0;
    int rc = parquet_footer_begin(footer, FILE_BYTES, a, &head, &at, &err);
    for (uint32_t i = 0; rc == 0 && i < head->row_group_count; i++) {
        struct parquet_row_group g;
        size_t taken = 0;
        rc = parquet_footer_row_group(head, slice_from(footer, at), a, &g, &taken, &err);
        assert(at + taken <= footer.len);
        at += taken;
        if (rc == 0)
            check_row_group(head, &g);
        assert(!f || rc == ERR_LIMIT || (rc == 0 && g.rows == f->row_groups[i].rows));
    }
    assert(!f || rc != 0 || head->row_group_count == f->row_group_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new((size_t)64 << 20);
    struct parquet_file *f, *again;
    struct err err = {0};
    uint32_t footer_bytes;
    assert(a);
    struct slice tail = size >= 8 ? slice_of(data + size - 8, 8) : slice_of(data, size);
    if (parquet_tail_decode(tail, FILE_BYTES, &footer_bytes, NULL) == 0)
        assert(footer_bytes > 0 && footer_bytes <= FILE_BYTES - 12);
    int rc = parquet_footer_decode(slice_of(data, size), FILE_BYTES, a, &f, &err);
    if (rc < 0) {
        assert(rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_UNSUPPORTED);
        assert(err.code == (enum err_code)rc && err.msg[0]);
        check_by_row_groups(slice_of(data, size), a, NULL);
    } else {
        check_file(f);
        check_by_row_groups(slice_of(data, size), a, f);
        rc = parquet_footer_decode(slice_of(data, size), FILE_BYTES, a, &again, &err);
        assert(rc == ERR_LIMIT || (rc == 0 && again->leaf_count == f->leaf_count &&
                                   again->row_group_count == f->row_group_count));
    }
    arena_free(a);
    return 0;
}
