/* The writer's metadata: column index, offset index and footer, in the thrift types that
 * parquet-go insists on (docs/formats/block.md, 5.2). */
#include "block/parquet_write_priv.h"

#include "block/block_limits.h"

#include <assert.h>

/* ---- page indexes ---- */

/* What a page without values says: parquet-go writes zeros for numbers. */
static struct slice null_bound(const struct parquet_node *node)
{
    static const struct bound zero = {0};
    return bound_view(node, &zero);
}

static struct slice page_min(const struct parquet_node *node, const struct page_info *p)
{
    if (!p->bounds.any)
        return null_bound(node);
    return bound_cut_min(node, bound_view(node, &p->bounds.min));
}

static struct slice page_max(const struct parquet_node *node, const struct page_info *p,
                             uint8_t room[16])
{
    if (!p->bounds.any)
        return null_bound(node);
    return bound_cut_max(node, bound_view(node, &p->bounds.max), room);
}

/* Of the bounds as they are written. Readers differ on null pages between others, so a chunk with
 * one is told to have no order. */
static enum parquet_order pages_order(const struct parquet_writer *w,
                                      const struct parquet_node *node)
{
    bool up = true, down = true;
    if (w->pages.count < 2 || !w->pages.at[0].bounds.any)
        return PARQUET_UNORDERED;
    for (uint32_t i = 1; i < w->pages.count; i++) {
        const struct page_info *a = &w->pages.at[i - 1];
        const struct page_info *b = &w->pages.at[i];
        uint8_t room_a[16], room_b[16];
        if (!b->bounds.any)
            return PARQUET_UNORDERED;
        int min = bound_cmp(node, page_min(node, a), page_min(node, b));
        int max = bound_cmp(node, page_max(node, a, room_a), page_max(node, b, room_b));
        up = up && min <= 0 && max <= 0;
        down = down && min >= 0 && max >= 0;
    }
    return up ? PARQUET_ASCENDING : down ? PARQUET_DESCENDING : PARQUET_UNORDERED;
}

static int column_index_write(struct parquet_writer *w, const struct parquet_node *node)
{
    struct thrift_writer t = thrift_writer_of(&w->column_indexes);
    uint32_t count = w->pages.count;
    const struct page_info *pages = w->pages.at;
    thrift_put_list(&t, 1, THRIFT_FALSE, count);
    for (uint32_t i = 0; i < count; i++)
        thrift_put_elem_bool(&t, !pages[i].bounds.any);
    thrift_put_list(&t, 2, THRIFT_BINARY, count);
    for (uint32_t i = 0; i < count; i++)
        thrift_put_elem_binary(&t, page_min(node, &pages[i]));
    thrift_put_list(&t, 3, THRIFT_BINARY, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t room[16];
        thrift_put_elem_binary(&t, page_max(node, &pages[i], room));
    }
    thrift_put_i32(&t, 4, (int32_t)pages_order(w, node));
    thrift_put_list(&t, 5, THRIFT_I64, count);
    for (uint32_t i = 0; i < count; i++)
        thrift_put_elem_int(&t, pages[i].entries - pages[i].values);
    thrift_put_stop(&t);
    return t.rc;
}

static int offset_index_write(struct parquet_writer *w)
{
    struct thrift_writer t = thrift_writer_of(&w->offset_indexes);
    int64_t row = 0;
    thrift_put_list(&t, 1, THRIFT_STRUCT, w->pages.count);
    for (uint32_t i = 0; i < w->pages.count; i++) {
        const struct page_info *p = &w->pages.at[i];
        thrift_put_elem_struct(&t);
        thrift_put_i64(&t, 1, (int64_t)p->offset);
        thrift_put_i32(&t, 2, (int32_t)p->bytes);
        thrift_put_i64(&t, 3, row);
        thrift_put_stop(&t);
        row += p->rows;
    }
    thrift_put_stop(&t);
    return t.rc;
}

int chunk_indexes_write(struct parquet_writer *w, const struct leaf_writer *leaf,
                        struct chunk_info *chunk)
{
    size_t columns = w->column_indexes.len;
    size_t offsets = w->offset_indexes.len;
    int rc = column_index_write(w, leaf->node);
    if (rc == 0)
        rc = offset_index_write(w);
    chunk->column_index_bytes = (uint32_t)(w->column_indexes.len - columns);
    chunk->offset_index_bytes = (uint32_t)(w->offset_indexes.len - offsets);
    return rc;
}

/* ---- footer: schema ---- */

static int32_t converted_type(const struct parquet_node *n)
{
    bool wide = n->type == PARQUET_INT64;
    switch (n->logical) {
    case PARQUET_STRING:
        return 0;
    case PARQUET_MAP:
        return 1;
    case PARQUET_LIST:
        return 3;
    case PARQUET_UNSIGNED:
        return wide ? 14 : 13;
    case PARQUET_SIGNED:
        return wide ? 18 : 17;
    default:
        return -1;
    }
}

/* A union of empty structs, and one that is not. */
static void put_logical(struct thrift_writer *t, const struct parquet_node *n)
{
    static const int16_t id[] = {[PARQUET_STRING] = 1,
                                 [PARQUET_MAP] = 2,
                                 [PARQUET_LIST] = 3,
                                 [PARQUET_SIGNED] = 10,
                                 [PARQUET_UNSIGNED] = 10};
    thrift_put_struct(t, 10);
    thrift_put_struct(t, id[n->logical]);
    if (id[n->logical] == 10) {
        thrift_put_i8(t, 1, n->type == PARQUET_INT64 ? 64 : 32);
        thrift_put_bool(t, 2, n->logical == PARQUET_SIGNED);
    }
    thrift_put_stop(t);
    thrift_put_stop(t);
}

static void put_schema(struct thrift_writer *t, const struct parquet_writer *w)
{
    thrift_put_list(t, 2, THRIFT_STRUCT, w->opts.node_count);
    for (size_t i = 0; i < w->opts.node_count; i++) {
        const struct parquet_node *n = &w->opts.schema[i];
        thrift_put_elem_struct(t);
        if (n->type != PARQUET_GROUP)
            thrift_put_i32(t, 1, n->type);
        if (i > 0)
            thrift_put_i32(t, 3, n->repetition);
        thrift_put_binary(t, 4, slice_cstr(n->name));
        if (n->type == PARQUET_GROUP)
            thrift_put_i32(t, 5, n->children);
        if (n->logical != PARQUET_NONE) {
            thrift_put_i32(t, 6, converted_type(n));
            put_logical(t, n);
        }
        thrift_put_stop(t);
    }
}

/* ---- footer: row groups ---- */

static void put_path(struct thrift_writer *t, const struct parquet_writer *w, uint32_t node)
{
    uint32_t path[LIMIT_PARQUET_DEPTH + 1];
    uint32_t depth = 0;
    for (; node != 0; node = w->parents[node]) {
        assert(depth < LIMIT_PARQUET_DEPTH);
        path[depth++] = node;
    }
    thrift_put_list(t, 3, THRIFT_BINARY, depth);
    while (depth > 0)
        thrift_put_elem_binary(t, slice_cstr(w->opts.schema[path[--depth]].name));
}

/* Sorted: PLAIN for dictionaries and plain pages, RLE for levels, and the pages' own. */
static void put_encodings(struct thrift_writer *t, const struct leaf_writer *leaf,
                          enum parquet_encoding encoding)
{
    int32_t list[3];
    uint32_t count = 0;
    if (encoding == PARQUET_PLAIN || encoding == PARQUET_RLE_DICTIONARY)
        list[count++] = PARQUET_PLAIN;
    if (leaf->def_max > 0)
        list[count++] = PARQUET_RLE;
    if (encoding != PARQUET_PLAIN)
        list[count++] = (int32_t)encoding;
    thrift_put_list(t, 2, THRIFT_I32, count);
    for (uint32_t i = 0; i < count; i++)
        thrift_put_elem_int(t, list[i]);
}

static void put_statistics(struct thrift_writer *t, const struct parquet_writer *w,
                           const struct chunk_info *c)
{
    thrift_put_struct(t, 12);
    thrift_put_i64(t, 3, c->null_count);
    if (c->has_bounds) {
        const uint8_t *min = w->bounds.ptr + c->bounds_at;
        thrift_put_binary(t, 5, slice_of(min + c->min_bytes, c->max_bytes));
        thrift_put_binary(t, 6, slice_of(min, c->min_bytes));
    }
    thrift_put_stop(t);
}

static void put_page_counts(struct thrift_writer *t, const struct chunk_info *c)
{
    bool dict = c->dict_offset > 0;
    thrift_put_list(t, 13, THRIFT_STRUCT, dict ? 2 : 1);
    for (int data = dict ? 0 : 1; data < 2; data++) {
        thrift_put_elem_struct(t);
        thrift_put_i32(t, 1, data ? (int32_t)c->page_type : PAGE_DICTIONARY);
        thrift_put_i32(t, 2, data ? (int32_t)c->encoding : PARQUET_PLAIN);
        thrift_put_i32(t, 3, data ? (int32_t)c->pages : 1);
        thrift_put_stop(t);
    }
}

static void put_chunk_metadata(struct thrift_writer *t, const struct parquet_writer *w,
                               const struct leaf_writer *leaf, const struct chunk_info *c)
{
    thrift_put_struct(t, 3);
    thrift_put_i32(t, 1, leaf->node->type);
    put_encodings(t, leaf, c->encoding);
    put_path(t, w, leaf->node_index);
    thrift_put_i32(t, 4, leaf->node->codec);
    thrift_put_i64(t, 5, c->entries);
    thrift_put_i64(t, 6, (int64_t)c->plain_bytes);
    thrift_put_i64(t, 7, (int64_t)c->stored_bytes);
    thrift_put_i64(t, 9, (int64_t)c->data_offset);
    if (c->dict_offset > 0)
        thrift_put_i64(t, 11, (int64_t)c->dict_offset);
    put_statistics(t, w, c);
    put_page_counts(t, c);
    thrift_put_stop(t);
}

/* Where the next chunk's indexes lie. */
struct index_offsets {
    uint64_t column, offset;
};

static void put_row_group(struct thrift_writer *t, const struct parquet_writer *w, uint32_t i,
                          struct index_offsets *at)
{
    const struct row_group_info *rg = &w->row_groups.at[i];
    const struct chunk_info *chunks = w->chunks.at + (size_t)i * w->leaf_count;
    uint64_t plain = 0;
    uint64_t stored = 0;
    thrift_put_elem_struct(t);
    thrift_put_list(t, 1, THRIFT_STRUCT, w->leaf_count);
    for (uint32_t k = 0; k < w->leaf_count; k++) {
        thrift_put_elem_struct(t);
        thrift_put_i64(t, 2, 0);
        put_chunk_metadata(t, w, &w->leaves[k], &chunks[k]);
        thrift_put_i64(t, 4, (int64_t)at->offset);
        thrift_put_i32(t, 5, (int32_t)chunks[k].offset_index_bytes);
        thrift_put_i64(t, 6, (int64_t)at->column);
        thrift_put_i32(t, 7, (int32_t)chunks[k].column_index_bytes);
        thrift_put_stop(t);
        at->column += chunks[k].column_index_bytes;
        at->offset += chunks[k].offset_index_bytes;
        plain += chunks[k].plain_bytes;
        stored += chunks[k].stored_bytes;
    }
    thrift_put_i64(t, 2, (int64_t)plain);
    thrift_put_i64(t, 3, rg->rows);
    thrift_put_list(t, 4, THRIFT_STRUCT, 0);
    thrift_put_i64(t, 5, (int64_t)rg->offset);
    thrift_put_i64(t, 6, (int64_t)stored);
    thrift_put_i16(t, 7, (int16_t)i);
    thrift_put_stop(t);
}

int footer_write(const struct parquet_writer *w, struct buf *out)
{
    struct thrift_writer t = thrift_writer_of(out);
    struct index_offsets at = {.column = w->offset - w->offset_indexes.len - w->column_indexes.len,
                               .offset = w->offset - w->offset_indexes.len};
    int64_t rows = 0;
    for (uint32_t i = 0; i < w->row_groups.count; i++)
        rows += w->row_groups.at[i].rows;
    thrift_put_i32(&t, 1, 2);
    put_schema(&t, w);
    thrift_put_i64(&t, 3, rows);
    thrift_put_list(&t, 4, THRIFT_STRUCT, w->row_groups.count);
    for (uint32_t i = 0; i < w->row_groups.count; i++)
        put_row_group(&t, w, i, &at);
    thrift_put_list(&t, 5, THRIFT_STRUCT, 0);
    thrift_put_binary(&t, 6, slice_cstr(w->opts.created_by));
    thrift_put_list(&t, 7, THRIFT_STRUCT, w->leaf_count);
    for (uint32_t i = 0; i < w->leaf_count; i++) {
        thrift_put_elem_struct(&t);
        thrift_put_struct(&t, 1);
        thrift_put_stop(&t);
        thrift_put_stop(&t);
    }
    thrift_put_stop(&t);
    return t.rc;
}
