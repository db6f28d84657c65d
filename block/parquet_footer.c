/* The footer of a Parquet file: what columns there are and where their chunks lie. It comes from a
 * bucket, so every number in it is checked before anybody computes with it: what parquet_file says
 * of offsets and lengths lies inside the file. */
#include "block/parquet_priv.h"

#include "base/text.h"
#include "block/block_limits.h"

#include <stdio.h>

/* A schema element, as it stands in the footer. */
struct element {
    struct slice name;
    bool has_type, has_repetition;
    int32_t type;
    int32_t repetition;
    uint32_t children;
    uint8_t logical;
    bool has_logical;
};

struct footer {
    struct thrift_reader r;
    struct arena *a;
    struct parquet_file *file;
};

static int no_room(const struct footer *ft, const char *what)
{
    return arena_err(ft->a, ft->r.err, what);
}

int parquet_tail_decode(struct slice tail, uint64_t file_bytes, uint32_t *footer_bytes,
                        struct err *err)
{
    if (tail.len != PARQUET_TAIL_BYTES)
        return err_set(err, ERR_INVALID, "the tail of a parquet file is %d bytes, got %zu",
                       PARQUET_TAIL_BYTES, tail.len);
    if (memcmp(tail.ptr + 4, PARQUET_MAGIC, 4) != 0)
        return err_set(err, ERR_CORRUPT, "file does not end with %s", PARQUET_MAGIC);
    uint32_t n = load_u32le(tail.ptr);
    if (n == 0 || file_bytes < 4 + PARQUET_TAIL_BYTES || n > file_bytes - 4 - PARQUET_TAIL_BYTES)
        return err_set(err, ERR_CORRUPT, "footer of %u bytes in a file of %llu", n,
                       (unsigned long long)file_bytes);
    *footer_bytes = n;
    return 0;
}

/* ---- schema ---- */

static uint8_t logical_of_converted(int32_t converted)
{
    switch (converted) {
    case 0:
        return PARQUET_STRING;
    case 1:
        return PARQUET_MAP;
    case 3:
        return PARQUET_LIST;
    case 11: /* UINT_8, 16, 32, 64 */
    case 12:
    case 13:
    case 14:
        return PARQUET_UNSIGNED;
    case 15: /* INT_8, 16, 32, 64 */
    case 16:
    case 17:
    case 18:
        return PARQUET_SIGNED;
    default:
        return PARQUET_NONE;
    }
}

static int integer_decode(struct footer *ft, uint8_t *logical)
{
    struct thrift_field f = {0};
    bool is_signed = true;
    int rc;
    while ((rc = thrift_next(&ft->r, &f)) == 0) {
        rc = f.id == 2 ? thrift_bool(&ft->r, &f, &is_signed) : thrift_skip(&ft->r, &f);
        if (rc < 0)
            return rc;
    }
    *logical = is_signed ? PARQUET_SIGNED : PARQUET_UNSIGNED;
    return rc < 0 ? rc : 0;
}

/* A union: one field, whose id says which it is. */
static int logical_decode(struct footer *ft, uint8_t *logical)
{
    struct thrift_field f = {0};
    int rc;
    *logical = PARQUET_NONE;
    while ((rc = thrift_next(&ft->r, &f)) == 0) {
        if (f.id == 1)
            *logical = PARQUET_STRING;
        else if (f.id == 2)
            *logical = PARQUET_MAP;
        else if (f.id == 3)
            *logical = PARQUET_LIST;
        if (f.id == 10 && f.type == THRIFT_STRUCT)
            rc = integer_decode(ft, logical);
        else
            rc = thrift_skip(&ft->r, &f);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int element_decode(struct footer *ft, struct element *e)
{
    struct thrift_reader *r = &ft->r;
    struct thrift_field f = {0};
    int32_t converted = -1;
    int rc;
    *e = (struct element){0};
    while ((rc = thrift_next(r, &f)) == 0) {
        if (f.id == 1) {
            rc = thrift_i32(r, &f, &e->type);
            e->has_type = true;
        } else if (f.id == 3) {
            rc = thrift_i32(r, &f, &e->repetition);
            e->has_repetition = true;
        } else if (f.id == 4) {
            rc = thrift_binary(r, &f, &e->name);
        } else if (f.id == 5) {
            rc = thrift_u32(r, &f, &e->children);
        } else if (f.id == 6) {
            rc = thrift_i32(r, &f, &converted);
        } else if (f.id == 10 && f.type == THRIFT_STRUCT) {
            rc = logical_decode(ft, &e->logical);
            e->has_logical = e->logical != PARQUET_NONE;
        } else {
            rc = thrift_skip(r, &f);
        }
        if (rc < 0)
            return rc;
    }
    if (!e->has_logical)
        e->logical = logical_of_converted(converted);
    return rc < 0 ? rc : 0;
}

/* One open group while the schema is walked. */
struct group {
    uint32_t children_left;
    uint8_t rep_max;
    uint8_t def_max;
    size_t path_bytes; /* of its path in the walk's path */
};

struct walk {
    struct group groups[LIMIT_PARQUET_DEPTH];
    uint32_t depth;
    uint8_t path[LIMIT_PARQUET_PATH_BYTES];
};

static int leaf_add(struct footer *ft, const struct element *e, struct slice path, uint8_t rep_max,
                    uint8_t def_max)
{
    struct parquet_file *file = ft->file;
    switch (e->type) {
    case PARQUET_BOOLEAN:
    case PARQUET_INT32:
    case PARQUET_INT64:
    case PARQUET_DOUBLE:
    case PARQUET_BYTE_ARRAY:
        break;
    default: {
        char name[128];
        return err_set(ft->r.err, ERR_UNSUPPORTED, "footer: column %s has physical type %d",
                       text_escape(path, 96, name, sizeof name), e->type);
    }
    }
    struct parquet_leaf *leaf = &file->leaves[file->leaf_count++];
    *leaf = (struct parquet_leaf){.type = (enum parquet_type)e->type,
                                  .logical = e->logical,
                                  .repetition = (uint8_t)e->repetition,
                                  .rep_max = rep_max,
                                  .def_max = def_max};
    return arena_slice(ft->a, path, &leaf->path) ? 0 : no_room(ft, "a column's path");
}

/* Path of an element below the open group; stays in the walk. */
static int path_push(struct footer *ft, struct walk *w, const struct element *e, size_t *bytes)
{
    const struct group *g = &w->groups[w->depth - 1];
    size_t dot = g->path_bytes > 0;
    size_t room = sizeof w->path - g->path_bytes;
    if (dot > room || e->name.len > room - dot)
        return err_set(ft->r.err, ERR_LIMIT, "footer: a column's path passes %d bytes",
                       LIMIT_PARQUET_PATH_BYTES);
    if (dot)
        w->path[g->path_bytes] = '.';
    if (e->name.len)
        memcpy(w->path + g->path_bytes + dot, e->name.ptr, e->name.len);
    *bytes = g->path_bytes + dot + e->name.len;
    return 0;
}

static int element_place(struct footer *ft, struct walk *w, const struct element *e)
{
    while (w->depth > 0 && w->groups[w->depth - 1].children_left == 0)
        w->depth--;
    if (w->depth == 0)
        return thrift_corrupt(&ft->r, "schema element outside of the root");
    struct group *g = &w->groups[w->depth - 1];
    g->children_left--;
    if (!e->has_repetition || e->repetition < PARQUET_REQUIRED || e->repetition > PARQUET_REPEATED)
        return thrift_corrupt(&ft->r, "schema element of repetition %d", e->repetition);
    uint8_t rep = (uint8_t)(g->rep_max + (e->repetition == PARQUET_REPEATED));
    uint8_t def = (uint8_t)(g->def_max + (e->repetition != PARQUET_REQUIRED));
    size_t path_bytes = 0;
    int rc = path_push(ft, w, e, &path_bytes);
    if (rc < 0)
        return rc;
    if (e->has_type && e->children == 0)
        return leaf_add(ft, e, slice_of(w->path, path_bytes), rep, def);
    if (e->has_type || e->children == 0)
        return thrift_corrupt(&ft->r, "schema element with %u children and%s type", e->children,
                              e->has_type ? " a" : " no");
    if (w->depth == LIMIT_PARQUET_DEPTH)
        return err_set(ft->r.err, ERR_LIMIT, "footer: schema nests deeper than %d",
                       LIMIT_PARQUET_DEPTH);
    w->groups[w->depth++] = (struct group){e->children, rep, def, path_bytes};
    return 0;
}

static int schema_decode(struct footer *ft, const struct thrift_field *f)
{
    struct thrift_field elem;
    uint32_t count;
    int rc = thrift_list(&ft->r, f, THRIFT_STRUCT, &elem, &count);
    if (rc < 0)
        return rc;
    struct element e = {0};
    if (count < 2 || ft->file->leaves)
        return thrift_corrupt(&ft->r, "schema of %u elements", count);
    rc = element_decode(ft, &e);
    if (rc < 0)
        return rc;
    uint32_t room = count - 1 < LIMIT_PARQUET_LEAVES ? count - 1 : LIMIT_PARQUET_LEAVES;
    ft->file->leaves = arena_array(ft->a, struct parquet_leaf, room);
    if (!ft->file->leaves)
        return no_room(ft, "the schema");
    struct walk w = {.groups[0] = {.children_left = e.children}, .depth = 1};
    for (uint32_t i = 1; i < count; i++) {
        rc = element_decode(ft, &e);
        if (rc < 0)
            return rc;
        if (ft->file->leaf_count == room)
            return err_set(ft->r.err, ERR_LIMIT, "footer: more than %u columns", room);
        rc = element_place(ft, &w, &e);
        if (rc < 0)
            return rc;
    }
    for (; w.depth > 0; w.depth--) {
        if (w.groups[w.depth - 1].children_left > 0)
            return thrift_corrupt(&ft->r, "schema lacks %u elements",
                                  w.groups[w.depth - 1].children_left);
    }
    return ft->file->leaf_count > 0 ? 0 : thrift_corrupt(&ft->r, "schema without columns");
}

/* ---- row groups ---- */

/* What a ColumnChunk says, before it is checked. */
struct chunk_meta {
    bool seen; /* meta_data was there */
    int32_t type;
    int32_t codec;
    int64_t num_values;
    int64_t compressed_bytes;
    int64_t data_offset;
    int64_t dict_offset; /* 0: none */
    int64_t null_count;
    struct slice min, max;
    bool has_min, has_max;
};

static int path_check(struct footer *ft, const struct thrift_field *f,
                      const struct parquet_leaf *leaf)
{
    struct thrift_field elem;
    uint32_t count;
    int rc = thrift_list(&ft->r, f, THRIFT_BINARY, &elem, &count);
    struct slice rest = leaf->path;
    bool same = count > 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct slice name = {0};
        rc = thrift_binary(&ft->r, &elem, &name);
        if (i > 0 && same) {
            same = rest.len > 0 && *rest.ptr == '.';
            rest = slice_from(rest, 1);
        }
        same = same && slice_starts(rest, name);
        rest = slice_from(rest, name.len);
    }
    if (rc < 0)
        return rc;
    if (same && rest.len == 0)
        return 0;
    char path[128];
    return thrift_corrupt(&ft->r, "chunk of another column where %s is due",
                          text_escape(leaf->path, 96, path, sizeof path));
}

static int statistics_decode(struct footer *ft, const struct thrift_field *f, struct chunk_meta *m)
{
    struct thrift_reader *r = &ft->r;
    struct thrift_field g = {0};
    int rc = thrift_struct(r, f);
    if (rc < 0)
        return rc;
    while ((rc = thrift_next(r, &g)) == 0) {
        if (g.id == 3) {
            rc = thrift_int(r, &g, 0, INT64_MAX, &m->null_count);
        } else if (g.id == 5) {
            rc = thrift_binary(r, &g, &m->max);
            m->has_max = true;
        } else if (g.id == 6) {
            rc = thrift_binary(r, &g, &m->min);
            m->has_min = true;
        } else {
            rc = thrift_skip(r, &g);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int chunk_meta_decode(struct footer *ft, const struct parquet_leaf *leaf,
                             struct chunk_meta *m)
{
    struct thrift_reader *r = &ft->r;
    struct thrift_field f = {0};
    unsigned seen = 0;
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        if (f.id == 1)
            rc = thrift_i32(r, &f, &m->type);
        else if (f.id == 3)
            rc = path_check(ft, &f, leaf);
        else if (f.id == 4)
            rc = thrift_i32(r, &f, &m->codec);
        else if (f.id == 5)
            rc = thrift_i64(r, &f, &m->num_values);
        else if (f.id == 7)
            rc = thrift_i64(r, &f, &m->compressed_bytes);
        else if (f.id == 9)
            rc = thrift_i64(r, &f, &m->data_offset);
        else if (f.id == 11)
            rc = thrift_i64(r, &f, &m->dict_offset);
        else if (f.id == 12)
            rc = statistics_decode(ft, &f, m);
        else
            rc = thrift_skip(r, &f);
        if (rc < 0)
            return rc;
        if (f.id >= 1 && f.id <= 9)
            seen |= 1U << f.id;
    }
    if (rc < 0)
        return rc;
    const unsigned required = 1U << 1 | 1U << 3 | 1U << 4 | 1U << 5 | 1U << 7 | 1U << 9;
    if ((seen & required) != required)
        return thrift_corrupt(r, "column metadata lacks a required field");
    m->seen = true;
    return 0;
}

/* Bytes of a bound in PLAIN form; 0: any. */
static size_t bound_bytes(enum parquet_type type)
{
    switch (type) {
    case PARQUET_BOOLEAN:
        return 1;
    case PARQUET_INT32:
        return 4;
    case PARQUET_INT64:
    case PARQUET_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

bool parquet_bound_fits(enum parquet_type type, struct slice bound)
{
    return bound_bytes(type) == 0 || bound.len == bound_bytes(type);
}

static int bounds_keep(struct footer *ft, const struct parquet_leaf *leaf,
                       const struct chunk_meta *m, struct parquet_chunk *chunk)
{
    /* A bound of a wrong size is of no use, but the values can be read all the same. */
    chunk->has_min = m->has_min && parquet_bound_fits(leaf->type, m->min);
    chunk->has_max = m->has_max && parquet_bound_fits(leaf->type, m->max);
    if ((chunk->has_min && !arena_slice(ft->a, m->min, &chunk->min)) ||
        (chunk->has_max && !arena_slice(ft->a, m->max, &chunk->max)))
        return no_room(ft, "column statistics");
    return 0;
}

/* Whether [offset, offset + bytes) lies behind the leading magic and inside the file. */
static bool inside(const struct footer *ft, int64_t offset, int64_t bytes)
{
    uint64_t end = ft->file->file_bytes;
    return offset >= 4 && bytes >= 0 && (uint64_t)offset <= end &&
           (uint64_t)bytes <= end - (uint64_t)offset;
}

static int chunk_keep(struct footer *ft, const struct parquet_leaf *leaf,
                      const struct chunk_meta *m, struct parquet_chunk *chunk)
{
    char path[128];
    text_escape(leaf->path, 96, path, sizeof path);
    if (m->type != (int32_t)leaf->type)
        return thrift_corrupt(&ft->r, "%s: chunk of type %d, schema says %d", path, m->type,
                              (int)leaf->type);
    if (!parquet_codec_known(m->codec))
        return err_set(ft->r.err, ERR_UNSUPPORTED, "footer: column %s has codec %d", path,
                       m->codec);
    int64_t start = m->data_offset;
    if (m->dict_offset > 0 && m->dict_offset < m->data_offset)
        start = m->dict_offset;
    if (!inside(ft, start, m->compressed_bytes) || m->data_offset < start ||
        m->data_offset - start > m->compressed_bytes)
        return thrift_corrupt(&ft->r, "%s: chunk of %lld bytes at %lld, data at %lld, file of %llu",
                              path, (long long)m->compressed_bytes, (long long)start,
                              (long long)m->data_offset, (unsigned long long)ft->file->file_bytes);
    if (m->num_values < 0)
        return thrift_corrupt(&ft->r, "%s: chunk of %lld values", path, (long long)m->num_values);
    chunk->offset = (uint64_t)start;
    chunk->bytes = (uint64_t)m->compressed_bytes;
    chunk->data_offset = (uint64_t)m->data_offset;
    chunk->has_dict = start < m->data_offset;
    chunk->codec = (enum parquet_codec)m->codec;
    chunk->num_values = m->num_values;
    chunk->null_count = m->null_count;
    return bounds_keep(ft, leaf, m, chunk);
}

static int index_check(const struct footer *ft, const char *what, int64_t offset, uint32_t bytes)
{
    if (offset == 0 || inside(ft, offset, bytes))
        return 0;
    return thrift_corrupt(&ft->r, "%s of %u bytes at %lld in a file of %llu", what, bytes,
                          (long long)offset, (unsigned long long)ft->file->file_bytes);
}

static int chunk_decode(struct footer *ft, const struct parquet_leaf *leaf,
                        struct parquet_chunk *chunk)
{
    struct thrift_reader *r = &ft->r;
    struct thrift_field f = {0};
    struct chunk_meta m = {.null_count = -1};
    struct slice elsewhere = {0};
    int64_t offset_index = 0, column_index = 0;
    int rc;
    *chunk = (struct parquet_chunk){0};
    while ((rc = thrift_next(r, &f)) == 0) {
        if (f.id == 1)
            rc = thrift_binary(r, &f, &elsewhere);
        else if (f.id == 3 && f.type == THRIFT_STRUCT)
            rc = chunk_meta_decode(ft, leaf, &m);
        else if (f.id == 4)
            rc = thrift_i64(r, &f, &offset_index);
        else if (f.id == 5)
            rc = thrift_u32(r, &f, &chunk->offset_index_bytes);
        else if (f.id == 6)
            rc = thrift_i64(r, &f, &column_index);
        else if (f.id == 7)
            rc = thrift_u32(r, &f, &chunk->column_index_bytes);
        else
            rc = thrift_skip(r, &f);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!m.seen)
        return thrift_corrupt(r, "column chunk without metadata");
    if (elsewhere.len > 0)
        return err_set(r->err, ERR_UNSUPPORTED, "footer: a column lies in another file");
    rc = index_check(ft, "offset index", offset_index, chunk->offset_index_bytes);
    if (rc == 0)
        rc = index_check(ft, "column index", column_index, chunk->column_index_bytes);
    if (rc < 0)
        return rc;
    chunk->offset_index_offset = (uint64_t)offset_index;
    chunk->column_index_offset = (uint64_t)column_index;
    return chunk_keep(ft, leaf, &m, chunk);
}

/* Shortest thrift form of a column chunk with its required fields: room is made for as many chunks
 * as can be there. */
#define CHUNK_BYTES_MIN 20

static int chunks_decode(struct footer *ft, const struct thrift_field *f,
                         struct parquet_row_group *rg)
{
    struct thrift_field elem;
    uint32_t count;
    int rc = thrift_list(&ft->r, f, THRIFT_STRUCT, &elem, &count);
    if (rc < 0)
        return rc;
    if (count != ft->file->leaf_count || rg->chunks)
        return thrift_corrupt(&ft->r, "row group of %u chunks, %u columns", count,
                              ft->file->leaf_count);
    if (count > cursor_left(&ft->r.cur) / CHUNK_BYTES_MIN)
        return thrift_corrupt(&ft->r, "%u chunks in %zu bytes", count, cursor_left(&ft->r.cur));
    rg->chunks = arena_array(ft->a, struct parquet_chunk, count);
    if (!rg->chunks)
        return no_room(ft, "a row group's chunks");
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = chunk_decode(ft, &ft->file->leaves[i], &rg->chunks[i]);
    return rc;
}

/* Level entries against rows, which may stand before or after the chunks. */
static int rows_check(struct footer *ft, const struct parquet_row_group *rg)
{
    for (uint32_t i = 0; i < ft->file->leaf_count; i++) {
        int64_t entries = rg->chunks[i].num_values;
        bool flat = ft->file->leaves[i].rep_max == 0;
        char path[128];
        if (flat ? entries != rg->rows : entries < rg->rows)
            return thrift_corrupt(&ft->r, "%s: %lld values in %lld rows",
                                  text_escape(ft->file->leaves[i].path, 96, path, sizeof path),
                                  (long long)entries, (long long)rg->rows);
    }
    return 0;
}

static int row_group_decode(struct footer *ft, struct parquet_row_group *rg)
{
    struct thrift_field f = {0};
    int rc;
    *rg = (struct parquet_row_group){.rows = -1};
    while ((rc = thrift_next(&ft->r, &f)) == 0) {
        if (f.id == 1)
            rc = chunks_decode(ft, &f, rg);
        else if (f.id == 3)
            rc = thrift_int(&ft->r, &f, 0, UINT32_MAX, &rg->rows);
        else
            rc = thrift_skip(&ft->r, &f);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!rg->chunks || rg->rows < 0)
        return thrift_corrupt(&ft->r, "row group without %s", rg->chunks ? "rows" : "columns");
    return rows_check(ft, rg);
}

/* How many there are; their structs follow. */
static int row_groups_count(struct footer *ft, const struct thrift_field *f, uint32_t *count)
{
    struct thrift_field elem;
    int rc = thrift_list(&ft->r, f, THRIFT_STRUCT, &elem, count);
    if (rc < 0)
        return rc;
    if (ft->file->leaf_count == 0 || ft->file->row_groups)
        return thrift_corrupt(&ft->r, "row groups %s",
                              ft->file->row_groups ? "twice" : "before the schema");
    return 0;
}

static int row_groups_decode(struct footer *ft, const struct thrift_field *f)
{
    uint32_t count;
    int rc = row_groups_count(ft, f, &count);
    if (rc < 0)
        return rc;
    if (count > cursor_left(&ft->r.cur) / CHUNK_BYTES_MIN)
        return thrift_corrupt(&ft->r, "%u row groups in %zu bytes", count, cursor_left(&ft->r.cur));
    ft->file->row_groups = arena_array(ft->a, struct parquet_row_group, count);
    if (!ft->file->row_groups)
        return no_room(ft, "the row groups");
    for (; rc == 0 && ft->file->row_group_count < count; ft->file->row_group_count++)
        rc = row_group_decode(ft, &ft->file->row_groups[ft->file->row_group_count]);
    return rc;
}

/* ---- the whole ---- */

static int footer_start(struct footer *ft, uint64_t file_bytes)
{
    ft->file = arena_zalloc(ft->a, sizeof *ft->file);
    if (!ft->file)
        return no_room(ft, "a footer");
    if (file_bytes > INT64_MAX)
        return err_set(ft->r.err, ERR_INVALID, "file of %llu bytes",
                       (unsigned long long)file_bytes);
    ft->file->file_bytes = file_bytes;
    ft->file->rows = -1;
    return 0;
}

/* The fields up to the row groups, and without: these too. 0: all of them; 1: at the row groups. */
static int fields_decode(struct footer *ft, bool without)
{
    struct thrift_reader *r = &ft->r;
    struct thrift_field f = {0};
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        struct slice created_by = {0};
        if (f.id == 2) {
            rc = schema_decode(ft, &f);
        } else if (f.id == 3) {
            rc = thrift_int(r, &f, 0, INT64_MAX, &ft->file->rows);
        } else if (f.id == 4 && without) {
            rc = row_groups_count(ft, &f, &ft->file->row_group_count);
            return rc < 0 ? rc : 1;
        } else if (f.id == 4) {
            rc = row_groups_decode(ft, &f);
        } else if (f.id == 6) {
            rc = thrift_binary(r, &f, &created_by);
            if (rc == 0 && !arena_slice(ft->a, created_by, &ft->file->created_by))
                rc = no_room(ft, "created_by");
        } else {
            rc = thrift_skip(r, &f);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

int parquet_footer_decode(struct slice footer, uint64_t file_bytes, struct arena *a,
                          struct parquet_file **out, struct err *err)
{
    struct footer ft = {.r = thrift_reader_of(footer, "footer", err), .a = a};
    int rc = footer_start(&ft, file_bytes);
    if (rc == 0)
        rc = fields_decode(&ft, false);
    if (rc < 0)
        return rc;
    if (!ft.file->leaves || !ft.file->row_groups || ft.file->rows < 0)
        return thrift_corrupt(&ft.r, "schema, row groups or row count are missing");
    uint64_t rows = 0; /* of fewer than 2^32 row groups of fewer than 2^32 rows */
    for (uint32_t i = 0; i < ft.file->row_group_count; i++)
        rows += (uint64_t)ft.file->row_groups[i].rows;
    if (rows != (uint64_t)ft.file->rows)
        return thrift_corrupt(&ft.r, "%lld rows, %llu in the row groups", (long long)ft.file->rows,
                              (unsigned long long)rows);
    *out = ft.file;
    return 0;
}

/* ---- a row group at a time ---- */

int parquet_footer_begin(struct slice bytes, uint64_t file_bytes, struct arena *a,
                         struct parquet_file **out, size_t *at, struct err *err)
{
    struct footer ft = {.r = thrift_reader_of(bytes, "footer", err), .a = a};
    int rc = footer_start(&ft, file_bytes);
    if (rc == 0)
        rc = fields_decode(&ft, true);
    if (rc < 0)
        return rc;
    if (rc == 0 || ft.file->rows < 0)
        return thrift_corrupt(&ft.r, "no row groups behind schema and row count");
    *at = cursor_offset(&ft.r.cur);
    *out = ft.file;
    return 0;
}

int parquet_footer_row_group(const struct parquet_file *f, struct slice bytes, struct arena *a,
                             struct parquet_row_group *out, size_t *taken, struct err *err)
{
    struct parquet_file file = *f;
    struct footer ft = {.r = thrift_reader_of(bytes, "footer", err), .a = a, .file = &file};
    int rc = row_group_decode(&ft, out);
    *taken = cursor_offset(&ft.r.cur);
    return rc;
}

int parquet_leaf_find(const struct parquet_file *f, struct slice path)
{
    for (uint32_t i = 0; i < f->leaf_count; i++) {
        if (slice_eq(f->leaves[i].path, path))
            return (int)i;
    }
    return -1;
}
