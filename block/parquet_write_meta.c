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
    struct thrift_writer t = thrift_writer_of(&w->stream[PARQUET_COLUMN_INDEXES]);
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
    struct thrift_writer t = thrift_writer_of(&w->stream[PARQUET_OFFSET_INDEXES]);
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
    const struct buf *columns = &w->stream[PARQUET_COLUMN_INDEXES];
    const struct buf *offsets = &w->stream[PARQUET_OFFSET_INDEXES];
    size_t columns_before = columns->len;
    size_t offsets_before = offsets->len;
    int rc = column_index_write(w, leaf->node);
    if (rc == 0)
        rc = offset_index_write(w);
    chunk->column_index_bytes = (uint32_t)(columns->len - columns_before);
    chunk->offset_index_bytes = (uint32_t)(offsets->len - offsets_before);
    w->stream_bytes[PARQUET_COLUMN_INDEXES] += chunk->column_index_bytes;
    w->stream_bytes[PARQUET_OFFSET_INDEXES] += chunk->offset_index_bytes;
    return rc;
}

/* ---- what is told at the end of the file ---- */

static int streams_shelve(struct parquet_writer *w, struct err *err)
{
    const struct parquet_shelf *shelf = w->opts.shelf;
    int rc = 0;
    for (int i = 0; i < PARQUET_STREAMS && rc == 0; i++) {
        if (w->stream[i].len == 0)
            continue;
        rc = shelf->put(shelf->ctx, (enum parquet_stream)i, buf_view(&w->stream[i]), err);
        buf_reset(&w->stream[i]);
    }
    return rc;
}

int row_group_keep(struct parquet_writer *w, struct row_group_info info, struct err *err)
{
    struct buf *out = &w->stream[PARQUET_CHUNKS];
    info.bounds_bytes = w->bounds.len;
    int rc = buf_append(out, &info, sizeof info);
    if (rc == 0)
        rc = buf_append(out, w->chunks.at, w->leaf_count * sizeof *w->chunks.at);
    if (rc == 0)
        rc = buf_slice(out, buf_view(&w->bounds));
    if (rc < 0)
        return parquet_no_room(err, rc);
    w->row_groups++;
    w->rows += info.rows;
    size_t bytes = 0;
    for (int i = 0; i < PARQUET_STREAMS; i++)
        bytes += w->stream[i].len;
    return w->opts.shelf && bytes >= w->opts.shelf_bytes ? streams_shelve(w, err) : 0;
}

/* What a stream's pieces are for: fn gets each, in order. */
typedef int(piece_fn)(struct parquet_writer *w, struct slice piece, void *ctx, struct err *err);

static int stream_each(struct parquet_writer *w, enum parquet_stream stream, piece_fn *fn,
                       void *ctx, struct err *err)
{
    const struct parquet_shelf *shelf = w->opts.shelf;
    struct buf piece;
    int rc = 0;
    buf_init(&piece, INT32_MAX);
    while (shelf && rc == 0) {
        rc = shelf->get(shelf->ctx, stream, &piece, err);
        if (rc == 0)
            rc = fn(w, buf_view(&piece), ctx, err);
    }
    buf_clear(&piece);
    return rc < 0 ? rc : fn(w, buf_view(&w->stream[stream]), ctx, err);
}

static int put_piece(struct parquet_writer *w, struct slice piece, void *out, struct err *err)
{
    return parquet_put(w, out, piece, err);
}

int indexes_write(struct parquet_writer *w, enum parquet_stream stream, struct buf *out,
                  struct err *err)
{
    return stream_each(w, stream, put_piece, out, err);
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

/* How far the row groups are told. */
struct told {
    struct buf *out, row_group; /* its thrift form */
    uint64_t column, offset;    /* in the file: the next chunk's indexes */
    uint32_t row_groups;
};

static void put_row_group(struct thrift_writer *t, const struct parquet_writer *w,
                          const struct row_group_info *rg, struct told *at)
{
    uint64_t plain = 0;
    uint64_t stored = 0;
    thrift_put_elem_struct(t);
    thrift_put_list(t, 1, THRIFT_STRUCT, w->leaf_count);
    for (uint32_t k = 0; k < w->leaf_count; k++) {
        const struct chunk_info *c = &w->chunks.at[k];
        thrift_put_elem_struct(t);
        thrift_put_i64(t, 2, 0);
        put_chunk_metadata(t, w, &w->leaves[k], c);
        thrift_put_i64(t, 4, (int64_t)at->offset);
        thrift_put_i32(t, 5, (int32_t)c->offset_index_bytes);
        thrift_put_i64(t, 6, (int64_t)at->column);
        thrift_put_i32(t, 7, (int32_t)c->column_index_bytes);
        thrift_put_stop(t);
        at->column += c->column_index_bytes;
        at->offset += c->offset_index_bytes;
        plain += c->plain_bytes;
        stored += c->stored_bytes;
    }
    thrift_put_i64(t, 2, (int64_t)plain);
    thrift_put_i64(t, 3, rg->rows);
    thrift_put_list(t, 4, THRIFT_STRUCT, 0);
    thrift_put_i64(t, 5, (int64_t)rg->offset);
    thrift_put_i64(t, 6, (int64_t)stored);
    thrift_put_i16(t, 7, (int16_t)at->row_groups++);
    thrift_put_stop(t);
}

/* The records of some row groups: back to where they were when they were written. */
static int put_row_groups(struct parquet_writer *w, struct slice piece, void *ctx, struct err *err)
{
    struct told *at = ctx;
    size_t chunks_bytes = w->leaf_count * sizeof *w->chunks.at;
    int rc = 0;
    while (piece.len > 0 && rc == 0) {
        struct row_group_info info;
        assert(piece.len >= sizeof info + chunks_bytes);
        memcpy(&info, piece.ptr, sizeof info);
        piece = slice_from(piece, sizeof info);
        memcpy(w->chunks.at, piece.ptr, chunks_bytes);
        piece = slice_from(piece, chunks_bytes);
        assert(piece.len >= info.bounds_bytes);
        buf_reset(&w->bounds);
        rc = buf_append(&w->bounds, piece.ptr, info.bounds_bytes);
        piece = slice_from(piece, info.bounds_bytes);
        buf_reset(&at->row_group);
        struct thrift_writer t = thrift_writer_of(&at->row_group);
        put_row_group(&t, w, &info, at);
        rc = rc < 0 ? rc : t.rc;
        rc = rc < 0 ? parquet_no_room(err, rc)
                    : parquet_put(w, at->out, buf_view(&at->row_group), err);
    }
    return rc;
}

/* The footer is written in three parts, so that its row groups need not be in memory at once. */
int footer_write(struct parquet_writer *w, struct buf *out, struct err *err)
{
    struct told at = {.out = out,
                      .column = w->offset - w->stream_bytes[PARQUET_OFFSET_INDEXES] -
                                w->stream_bytes[PARQUET_COLUMN_INDEXES],
                      .offset = w->offset - w->stream_bytes[PARQUET_OFFSET_INDEXES]};
    struct buf part;
    buf_init(&part, INT32_MAX);
    buf_init(&at.row_group, INT32_MAX);
    struct thrift_writer t = thrift_writer_of(&part);
    thrift_put_i32(&t, 1, 2);
    put_schema(&t, w);
    thrift_put_i64(&t, 3, w->rows);
    thrift_put_list(&t, 4, THRIFT_STRUCT, w->row_groups);
    int rc = t.rc < 0 ? parquet_no_room(err, t.rc) : parquet_put(w, out, buf_view(&part), err);
    if (rc == 0)
        rc = stream_each(w, PARQUET_CHUNKS, put_row_groups, &at, err);
    buf_reset(&part);
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
    if (rc == 0)
        rc = t.rc < 0 ? parquet_no_room(err, t.rc) : parquet_put(w, out, buf_view(&part), err);
    buf_clear(&part);
    buf_clear(&at.row_group);
    return rc;
}
