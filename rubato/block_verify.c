/* rubato block check: every byte of a block, and the first that is wrong.
 *
 * In this order, which is that of trust: meta.json, size and footer of data.parquet, each page of
 * each column with its checksum, page indexes and statistics against the values, then the rows as
 * spans (levels, order, nested sets) against bloom filters and index, then the totals. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/random.h"
#include "base/text.h"
#include "block/bloom.h"
#include "block/nested_set.h"
#include "catalog/block_rows.h"
#include "rubato/block_tool.h"

#define LIMIT_VERIFY_COLUMN_BYTES ((size_t)4 << 30)
#define LIMIT_VERIFY_BLOOM_BYTES ((size_t)64 << 20)
#define LIMIT_VERIFY_SHARDS 10000
#define SHARDS_LEGACY 10
#define TAIL_BYTES 8

#define NOWHERE INT64_MIN
#define PAGE_DICTIONARY_PAGE (-1)

/* What is wrong, and where. */
struct finding {
    const char *object;              /* NULL: nothing */
    char column[256];                /* empty: none in particular */
    int64_t row_group, page, offset; /* NOWHERE */
    struct err problem;
};

struct verify {
    struct block_tool *tool;
    const struct tool_block *block;
    struct block_meta meta;
    struct tool_file f;
    struct finding found;
    struct buf *blooms; /* shards */
    uint32_t shards;
    uint8_t (*last_ids)[16];
    size_t last_id_count;
    bool has_index;
    struct nested_set nested;
    VEC(uint32_t) order;
    VEC(int32_t) numbers;
    uint64_t rows, spans, pages, bytes;
};

/* The functions return 0, 1 with v->found set, or an error that kept them from looking. */

static int found(struct verify *v, const char *object, const struct err *problem)
{
    v->found = (struct finding){.object = object,
                                .row_group = NOWHERE,
                                .page = NOWHERE,
                                .offset = NOWHERE,
                                .problem = *problem};
    return 1;
}

__attribute__((format(printf, 3, 4))) static int found_text(struct verify *v, const char *object,
                                                            const char *fmt, ...)
{
    struct err e = {.code = ERR_CORRUPT};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.msg, sizeof e.msg, fmt, ap);
    va_end(ap);
    return found(v, object, &e);
}

/* A decoder's text without the column and the place among the bytes it was given: the finding tells
 * both, in the file's terms. */
static struct err plain_problem(const struct err *problem)
{
    static const char place[] = "page at byte ";
    struct err e = *problem;
    const char *at = strstr(problem->msg, place);
    const char *rest = at ? strstr(at, ": ") : NULL;
    if (rest)
        snprintf(e.msg, sizeof e.msg, "%s", rest + 2);
    return e;
}

/* In a column of data.parquet. */
static int found_at(struct verify *v, uint32_t group, uint32_t leaf, int64_t page, uint64_t offset,
                    const struct err *problem)
{
    const struct err plain = plain_problem(problem);
    found(v, "data.parquet", &plain);
    text_escape(v->f.file->leaves[leaf].path, 160, v->found.column, sizeof v->found.column);
    v->found.row_group = group;
    v->found.page = page;
    v->found.offset = (int64_t)offset;
    return 1;
}

/* Whether an error tells of the bytes, not of the way to them. */
static bool is_damage(int rc)
{
    return rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_UNSUPPORTED || rc == ERR_INVALID;
}

static int object_get(struct verify *v, const char *name, enum objstore_range range, uint64_t bytes,
                      struct objstore_get *get, struct err *err)
{
    struct buf key;
    buf_init(&key, 4096);
    int rc = block_key(&key, v->tool->tenant, v->block->id, name);
    if (rc < 0)
        return err_set(err, rc, "no memory for a key");
    get->key = buf_view(&key);
    get->range = range;
    get->bytes = bytes;
    rc = objstore_get_many(v->tool->store, get, 1, block_tool_deadline(), err);
    buf_clear(&key);
    v->bytes += get->out.len;
    return rc;
}

/* ---- meta.json and footer ---- */

static int verify_meta(struct verify *v, struct err *err)
{
    char uuid[37];
    const char *name = v->block->compacted ? "meta.compacted.json" : "meta.json";
    if (!v->block->live && !v->block->compacted)
        return found_text(v, "meta.json", "it is missing");
    int rc = block_tool_meta(v->tool, v->block, &v->meta, err);
    if (rc < 0)
        return is_damage(rc) ? found(v, name, err) : rc;
    uuid_format(v->meta.id, uuid);
    if (memcmp(v->meta.id, v->block->id, 16) != 0)
        return found_text(v, name, "blockID is %s", uuid);
    if (!slice_eq(v->meta.tenant, v->tool->tenant))
        return found_text(v, name, "tenantID is %.*s",
                          (int)(v->meta.tenant.len < 100 ? v->meta.tenant.len : 100),
                          (const char *)v->meta.tenant.ptr);
    return 0;
}

static int found_byte(struct verify *v, uint64_t offset)
{
    v->found.offset = (int64_t)offset;
    return 1;
}

static int verify_tail(struct verify *v, struct err *err)
{
    struct objstore_get get = {.offset = 0};
    uint32_t footer_bytes = 0;
    buf_init(&get.out, TAIL_BYTES);
    int rc = object_get(v, "data.parquet", OBJSTORE_SUFFIX, TAIL_BYTES, &get, err);
    uint64_t bytes = get.object_bytes;
    struct err problem = {0};
    if (rc == ERR_NOTFOUND) {
        rc = found_text(v, "data.parquet", "it is missing");
    } else if (rc == 0 && v->meta.size && bytes != v->meta.size) {
        found_text(v, "data.parquet", "it has %" PRIu64 " bytes, meta.json says %" PRIu64, bytes,
                   v->meta.size);
        rc = found_byte(v, bytes < v->meta.size ? bytes : v->meta.size);
    } else if (rc == 0 &&
               parquet_tail_decode(buf_view(&get.out), bytes, &footer_bytes, &problem) < 0) {
        found(v, "data.parquet", &problem);
        rc = found_byte(v, bytes < TAIL_BYTES ? 0 : bytes - TAIL_BYTES);
    } else if (rc == 0 && v->meta.footer_size && footer_bytes != v->meta.footer_size) {
        found_text(v, "data.parquet", "the footer has %u bytes, meta.json says %u", footer_bytes,
                   v->meta.footer_size);
        rc = found_byte(v, bytes - TAIL_BYTES);
    }
    buf_clear(&get.out);
    if (rc != 0)
        return rc;
    v->bytes += footer_bytes;
    rc = tool_file_open(v->tool, &v->meta, &v->f, err);
    if (rc < 0 && is_damage(rc)) {
        found(v, "data.parquet", err);
        return found_byte(v, bytes - TAIL_BYTES - footer_bytes);
    }
    return rc;
}

static int verify_magic(struct verify *v, struct err *err)
{
    struct buf magic;
    buf_init(&magic, 4);
    int rc = tool_file_read(&v->f, 0, 4, &magic, err);
    if (rc == 0 && memcmp(magic.ptr, "PAR1", 4) != 0) {
        found_text(v, "data.parquet", "it does not begin with PAR1");
        rc = found_byte(v, 0);
    }
    buf_clear(&magic);
    return rc;
}

/* ---- pages ---- */

/* One chunk with its indexes, as stored. */
struct chunk {
    uint32_t group, leaf;
    const struct parquet_chunk *c;
    const struct parquet_leaf *info;
    struct slice bytes; /* of the whole chunk */
    struct parquet_page_location *pages;
    uint32_t page_count; /* 0: no offset index */
    struct parquet_column_index index;
    bool has_index;
    uint64_t entries, nulls;
    int64_t rows;
};

static struct slice part(const struct chunk *k, uint64_t offset, uint64_t bytes)
{
    return slice_of(k->bytes.ptr + (offset - k->c->offset), (size_t)bytes);
}

static uint64_t dict_bytes(const struct chunk *k)
{
    return k->c->has_dict ? k->c->data_offset - k->c->offset : 0;
}

/* Value i against a bound in PLAIN form: below, at, above. */
static int value_compare(const struct chunk *k, const struct column *c, uint32_t i,
                         struct slice bound)
{
    bool is_unsigned = k->info->logical == PARQUET_UNSIGNED;
    int64_t v, b;
    switch (c->type) {
    case COLUMN_BYTES:
        return slice_cmp(column_bytes(c, i), bound);
    case COLUMN_F64: {
        double d;
        memcpy(&d, bound.ptr, sizeof d);
        return (c->v.f64[i] > d) - (c->v.f64[i] < d); /* NaN is within all bounds */
    }
    case COLUMN_BOOL:
        v = c->v.b[i];
        b = bound.ptr[0];
        break;
    case COLUMN_I32:
        v = is_unsigned ? (int64_t)(uint32_t)c->v.i32[i] : c->v.i32[i];
        b = is_unsigned ? (int64_t)load_u32le(bound.ptr) : (int32_t)load_u32le(bound.ptr);
        break;
    default:
        v = c->v.i64[i];
        b = (int64_t)load_u64le(bound.ptr);
        if (is_unsigned)
            return ((uint64_t)v > (uint64_t)b) - ((uint64_t)v < (uint64_t)b);
        break;
    }
    return (v > b) - (v < b);
}

/* Tempo leaves a cut maximum of sixteen bytes ff as it is. */
static bool max_is_open(struct slice max)
{
    for (size_t i = 0; i < max.len; i++) {
        if (max.ptr[i] != 0xff)
            return false;
    }
    return max.len == 16;
}

static bool bounds_hold(const struct chunk *k, const struct column *c, bool has_min,
                        struct slice min, bool has_max, struct slice max)
{
    bool text = c->type == COLUMN_BYTES;
    has_max = has_max && !(text && max_is_open(max));
    for (uint32_t i = 0; i < c->values; i++) {
        if ((has_min && value_compare(k, c, i, min) < 0) ||
            (has_max && value_compare(k, c, i, max) > 0))
            return false;
    }
    return true;
}

/* A page, decoded, against what is told of it. */
static int verify_told(struct verify *v, struct chunk *k, uint32_t page, uint64_t offset,
                       const struct column *c)
{
    struct err e = {0};
    uint64_t nulls = c->entries - c->values;
    const struct parquet_column_index *x = &k->index;
    if (k->has_index && x->null_pages[page] != (c->values == 0))
        err_set(&e, ERR_CORRUPT, "the column index says that it has %s values, it has %u",
                x->null_pages[page] ? "no" : "some", c->values);
    else if (k->has_index && x->null_counts && (uint64_t)x->null_counts[page] != nulls)
        err_set(&e, ERR_CORRUPT, "the column index says %" PRId64 " nulls, it has %" PRIu64,
                x->null_counts[page], nulls);
    else if (k->has_index && c->values &&
             !bounds_hold(k, c, true, x->min[page], true, x->max[page]))
        err_set(&e, ERR_CORRUPT, "a value lies outside of the column index's bounds");
    else if (!bounds_hold(k, c, k->c->has_min, k->c->min, k->c->has_max, k->c->max))
        err_set(&e, ERR_CORRUPT, "a value lies outside of the statistics' bounds");
    k->entries += c->entries;
    k->nulls += nulls;
    k->rows += c->rows;
    v->pages++;
    return e.code ? found_at(v, k->group, k->leaf, page, offset, &e) : 0;
}

static int verify_page(struct verify *v, struct chunk *k, uint32_t page, struct arena *a,
                       struct err *err)
{
    const struct parquet_page_location *p = &k->pages[page];
    int64_t rows = v->f.file->row_groups[k->group].rows;
    int64_t next = page + 1 < k->page_count ? k->pages[page + 1].first_row : rows;
    struct column c;
    arena_reset(a);
    int rc = parquet_rows_decode(v->f.file, k->group, k->leaf, part(k, k->c->offset, dict_bytes(k)),
                                 part(k, p->offset, p->bytes), p->first_row, p->first_row,
                                 next - p->first_row, a, &c, err);
    if (rc < 0)
        return is_damage(rc) ? found_at(v, k->group, k->leaf, page, p->offset, err) : rc;
    return verify_told(v, k, page, p->offset, &c);
}

/* The dictionary alone, so that its fault is not taken for a page's. */
static int verify_dictionary(struct verify *v, struct chunk *k, struct arena *a, struct err *err)
{
    struct column c;
    if (dict_bytes(k) == 0)
        return 0;
    arena_reset(a);
    int rc = parquet_rows_decode(v->f.file, k->group, k->leaf, part(k, k->c->offset, dict_bytes(k)),
                                 slice_of(NULL, 0), 0, 0, 0, a, &c, err);
    return rc < 0 && is_damage(rc)
               ? found_at(v, k->group, k->leaf, PAGE_DICTIONARY_PAGE, k->c->offset, err)
               : rc;
}

/* Every byte of the chunk is in one page of the offset index. */
static int verify_locations(struct verify *v, const struct chunk *k)
{
    uint64_t at = k->c->data_offset, end = k->c->offset + k->c->bytes;
    struct err e = {0};
    for (uint32_t i = 0; i <= k->page_count; i++) {
        uint64_t next = i < k->page_count ? k->pages[i].offset : end;
        if (next != at) {
            err_set(&e, ERR_CORRUPT, "bytes %" PRIu64 " to %" PRIu64 " are in no page", at, next);
            return found_at(v, k->group, k->leaf, i, at, &e);
        }
        if (i < k->page_count)
            at += k->pages[i].bytes;
    }
    return 0;
}

static int verify_whole(struct verify *v, struct chunk *k, struct arena *a, struct err *err)
{
    struct column c;
    arena_reset(a);
    int rc = parquet_chunk_decode(v->f.file, k->group, k->leaf, k->bytes, a, &c, err);
    if (rc < 0)
        return is_damage(rc) ? found_at(v, k->group, k->leaf, NOWHERE, k->c->offset, err) : rc;
    return verify_told(v, k, 0, k->c->offset, &c);
}

static int verify_counts(struct verify *v, const struct chunk *k)
{
    struct err e = {0};
    int64_t rows = v->f.file->row_groups[k->group].rows;
    if (k->entries != (uint64_t)k->c->num_values)
        err_set(&e, ERR_CORRUPT, "it has %" PRIu64 " entries, the footer says %" PRId64, k->entries,
                k->c->num_values);
    else if (k->c->null_count >= 0 && k->nulls != (uint64_t)k->c->null_count)
        err_set(&e, ERR_CORRUPT, "it has %" PRIu64 " nulls, the statistics say %" PRId64, k->nulls,
                k->c->null_count);
    else if (k->rows != rows)
        err_set(&e, ERR_CORRUPT, "it has %" PRId64 " rows, the footer says %" PRId64, k->rows,
                rows);
    return e.code ? found_at(v, k->group, k->leaf, NOWHERE, k->c->offset, &e) : 0;
}

static int chunk_pages(struct verify *v, struct chunk *k, struct arena *pages, struct err *err)
{
    int rc = verify_dictionary(v, k, pages, err);
    if (rc == 0 && k->page_count == 0)
        return verify_whole(v, k, pages, err);
    if (rc == 0)
        rc = verify_locations(v, k);
    for (uint32_t i = 0; i < k->page_count && rc == 0; i++)
        rc = verify_page(v, k, i, pages, err);
    return rc;
}

static int index_bytes(struct verify *v, uint64_t offset, uint32_t bytes, struct buf *out,
                       struct err *err)
{
    int rc = tool_file_read(&v->f, offset, bytes, out, err);
    v->bytes += out->len;
    return rc;
}

static int chunk_indexes(struct verify *v, struct chunk *k, struct arena *a, struct err *err)
{
    struct buf bytes;
    int rc = 0;
    buf_init(&bytes, SIZE_MAX / 2);
    if (k->c->offset_index_bytes) {
        rc = index_bytes(v, k->c->offset_index_offset, k->c->offset_index_bytes, &bytes, err);
        if (rc == 0)
            rc = parquet_offset_index_decode(v->f.file, k->group, k->leaf, buf_view(&bytes), a,
                                             &k->pages, &k->page_count, err);
        if (rc < 0 && is_damage(rc))
            rc = found_at(v, k->group, k->leaf, NOWHERE, k->c->offset_index_offset, err);
    }
    buf_reset(&bytes);
    if (rc == 0 && k->c->column_index_bytes) {
        rc = index_bytes(v, k->c->column_index_offset, k->c->column_index_bytes, &bytes, err);
        if (rc == 0)
            rc = parquet_column_index_decode(v->f.file, k->group, k->leaf, buf_view(&bytes), a,
                                             &k->index, err);
        if (rc == 0 && k->page_count && k->index.count != k->page_count)
            rc = err_set(err, ERR_CORRUPT, "the column index has %u pages, the offset index %u",
                         k->index.count, k->page_count);
        if (rc < 0 && is_damage(rc))
            rc = found_at(v, k->group, k->leaf, NOWHERE, k->c->column_index_offset, err);
        k->has_index = rc == 0 && k->page_count > 0;
    }
    buf_clear(&bytes);
    return rc;
}

static int verify_chunk(struct verify *v, uint32_t group, uint32_t leaf, struct err *err)
{
    struct chunk k = {.group = group,
                      .leaf = leaf,
                      .c = &v->f.file->row_groups[group].chunks[leaf],
                      .info = &v->f.file->leaves[leaf]};
    struct arena *indexes = arena_new(LIMIT_VERIFY_COLUMN_BYTES),
                 *pages = arena_new(LIMIT_VERIFY_COLUMN_BYTES);
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    int rc = indexes && pages ? tool_file_read(&v->f, k.c->offset, k.c->bytes, &bytes, err)
                              : err_set(err, ERR_NOMEM, "no memory for a column");
    v->bytes += bytes.len;
    k.bytes = buf_view(&bytes);
    if (rc == 0)
        rc = chunk_indexes(v, &k, indexes, err);
    if (rc == 0)
        rc = chunk_pages(v, &k, pages, err);
    if (rc == 0)
        rc = verify_counts(v, &k);
    buf_clear(&bytes);
    arena_free(indexes);
    arena_free(pages);
    return rc;
}

static int verify_columns(struct verify *v, struct err *err)
{
    const struct parquet_file *f = v->f.file;
    int rc = 0;
    for (uint32_t g = 0; g < f->row_group_count && rc == 0; g++) {
        for (uint32_t i = 0; i < f->leaf_count && rc == 0; i++) {
            block_tool_progress(v->tool, "columns", (uint64_t)g * f->leaf_count + i,
                                (uint64_t)f->row_group_count * f->leaf_count);
            rc = verify_chunk(v, g, i, err);
        }
    }
    return rc;
}

/* ---- the small objects ---- */

static int verify_blooms(struct verify *v, struct err *err)
{
    static const uint8_t any[16] = {0};
    int rc = 0;
    v->shards = v->meta.bloom_shards ? v->meta.bloom_shards : SHARDS_LEGACY;
    if (v->shards > LIMIT_VERIFY_SHARDS)
        return found_text(v, "meta.json", "it tells of %u bloom shards", v->shards);
    v->blooms = arena_zalloc(v->tool->arena, v->shards * sizeof *v->blooms);
    if (!v->blooms)
        return arena_err(v->tool->arena, err, "bloom filters");
    for (uint32_t i = 0; i < v->shards && rc == 0; i++) {
        const char *name = arena_printf(v->tool->arena, "bloom-%u", i);
        struct objstore_get get = {.offset = 0};
        if (!name)
            return arena_err(v->tool->arena, err, "bloom filters");
        buf_init(&get.out, LIMIT_VERIFY_BLOOM_BYTES);
        rc = object_get(v, name, OBJSTORE_WHOLE, 0, &get, err);
        v->blooms[i] = get.out;
        if (rc == ERR_NOTFOUND)
            return found_text(v, name, "it is missing");
        if (rc == 0)
            rc = bloom_test(buf_view(&v->blooms[i]), any, err);
        if (rc < 0 && is_damage(rc))
            return found(v, name, err);
        rc = rc > 0 ? 0 : rc;
    }
    return rc;
}

/* A block may lack the index: readers do without. */
static int verify_index(struct verify *v, struct err *err)
{
    struct objstore_get get = {.offset = 0};
    buf_init(&get.out, LIMIT_VERIFY_BLOOM_BYTES);
    int rc = object_get(v, "index", OBJSTORE_WHOLE, 0, &get, err);
    if (rc == 0) {
        rc = block_index_parse(buf_view(&get.out), v->tool->arena, &v->last_ids, &v->last_id_count,
                               err);
        v->has_index = rc == 0;
        if (rc < 0 && is_damage(rc))
            rc = found(v, "index", err);
    } else if (rc == ERR_NOTFOUND) {
        rc = 0;
    }
    buf_clear(&get.out);
    if (rc == 0 && v->has_index && v->last_id_count != v->f.file->row_group_count)
        return found_text(v, "index", "it tells of %zu row groups, the footer of %u",
                          v->last_id_count, v->f.file->row_group_count);
    return rc;
}

/* ---- rows ---- */

/* The page of a row in a column, for the finding. */
static int found_row(struct verify *v, const struct block_window *w, int leaf, int64_t row,
                     struct err *problem)
{
    uint32_t file_leaf = (uint32_t)v->f.leaf_of[leaf];
    const struct parquet_chunk *c = &v->f.file->row_groups[w->row_group].chunks[file_leaf];
    struct parquet_page_location *pages;
    struct parquet_page_span span = {.offset = c->offset};
    uint32_t count = 0;
    struct buf bytes;
    buf_init(&bytes, SIZE_MAX / 2);
    bool known =
        c->offset_index_bytes &&
        tool_file_read(&v->f, c->offset_index_offset, c->offset_index_bytes, &bytes, NULL) == 0 &&
        parquet_offset_index_decode(v->f.file, w->row_group, file_leaf, buf_view(&bytes),
                                    v->f.arena, &pages, &count, NULL) == 0 &&
        parquet_page_span(pages, count, v->f.file->row_groups[w->row_group].rows, row, 1, &span,
                          NULL) == 0;
    buf_clear(&bytes);
    err_wrap(problem, "row %" PRId64, row);
    return found_at(v, w->row_group, file_leaf, known ? (int64_t)span.page_first : NOWHERE,
                    span.offset, problem);
}

static int verify_id(struct verify *v, const struct block_window *w, uint32_t at,
                     const uint8_t last[16], struct err *err)
{
    const struct block_row *row = &w->rows.at[at];
    struct err e = {0};
    char id[33] = {0}, before[33] = {0};
    hex_encode(slice_of(row->id, 16), id);
    hex_encode(slice_of(last, 16), before);
    if (v->rows > 0 && memcmp(row->id, last, 16) <= 0) {
        err_set(&e, ERR_CORRUPT, "trace id %s comes after %s", id, before);
        return found_row(v, w, BLOCK_TRACE_ID, w->first_row + at, &e);
    }
    uint32_t shard = bloom_shard_of(row->id, v->shards);
    int rc = bloom_test(buf_view(&v->blooms[shard]), row->id, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return found_text(v, arena_printf(v->tool->arena, "bloom-%u", shard),
                          "it says that trace %s is not there", id);
    bool ends = w->first_row + at + 1 == v->f.file->row_groups[w->row_group].rows;
    if (ends && v->has_index && memcmp(v->last_ids[w->row_group], row->id, 16) != 0)
        return found_text(v, "index", "row group %u ends with trace %s", w->row_group, id);
    return 0;
}

static int verify_nested(struct verify *v, const struct block_window *w, uint32_t at,
                         struct err *err)
{
    static const int leaves[] = {BLOCK_SPAN_NESTED_LEFT, BLOCK_SPAN_NESTED_RIGHT,
                                 BLOCK_SPAN_PARENT_ID};
    const struct block_row *row = &w->rows.at[at];
    uint32_t n = row->span_count;
    if (n == 0)
        return 0;
    vec_reset(&v->order);
    vec_reset(&v->numbers);
    if (!vec_reserve(&v->order, n) || !vec_reserve(&v->numbers, (size_t)n * 3))
        return err_set(err, ERR_NOMEM, "no memory for a trace of %u spans", n);
    for (uint32_t i = 0; i < n; i++)
        v->order.at[i] = row->span_first + i;
    const struct trace t = {&w->batch, v->order.at, n};
    int32_t *want = v->numbers.at;
    int rc = nested_set_number(&v->nested, &t, want, want + n, want + 2 * (size_t)n, err);
    for (int k = 0; k < 3 && rc == 0; k++) {
        const struct column *c = &w->columns[leaves[k]];
        if (c->entries == 0)
            continue; /* the file lacks it */
        for (uint32_t i = 0; i < n; i++) {
            int32_t have = c->v.i32[row->span_first + i];
            if (have == want[(size_t)k * n + i])
                continue;
            struct err e = {0};
            err_set(&e, ERR_CORRUPT, "span %u has the nested set number %d, its place makes it %d",
                    i, have, want[(size_t)k * n + i]);
            return found_row(v, w, leaves[k], w->first_row + at, &e);
        }
    }
    return rc;
}

static int verify_window(struct verify *v, const struct block_window *w, uint8_t last[16],
                         struct err *err)
{
    for (uint32_t i = 0; i < w->rows.count; i++) {
        int rc = verify_id(v, w, i, last, err);
        if (rc == 0)
            rc = verify_nested(v, w, i, err);
        if (rc != 0)
            return rc;
        memcpy(last, w->rows.at[i].id, 16);
        v->rows++;
        v->spans += w->rows.at[i].span_count;
    }
    return 0;
}

static int verify_rows(struct verify *v, struct err *err)
{
    const struct block_rows_opts opts = {.store = v->tool->store,
                                         .meta = &v->meta,
                                         .keep_columns = true,
                                         .deadline_mono_ns = block_tool_deadline()};
    struct block_rows *rows;
    struct block_window *w;
    uint8_t last[16] = {0};
    int rc = block_rows_new(&opts, &rows, err);
    while (rc == 0 && (rc = block_rows_next(rows, &w, err)) == 0) {
        rc = verify_window(v, w, last, err);
        block_tool_progress(v->tool, "rows", v->rows, (uint64_t)v->f.file->rows);
        if (rc > 0)
            break;
    }
    if (rc < 0 && is_damage(rc))
        rc = found(v, "data.parquet", err);
    else if (rc == 1 && !v->found.object)
        rc = 0; /* the end */
    block_rows_free(rows);
    return rc;
}

static int verify_totals(struct verify *v)
{
    const char *name = v->block->compacted ? "meta.compacted.json" : "meta.json";
    uint32_t groups = v->f.file->row_group_count;
    if ((uint64_t)v->meta.total_objects != v->rows)
        return found_text(v, name, "totalObjects is %" PRId64 ", there are %" PRIu64 " traces",
                          v->meta.total_objects, v->rows);
    /* Tempo counts one more when the last row ended a row group. */
    if (v->meta.total_records != groups && v->meta.total_records != groups + 1)
        return found_text(v, name, "totalRecords is %u, there are %u row groups",
                          v->meta.total_records, groups);
    if (v->meta.start_unix_ns > v->meta.end_unix_ns)
        return found_text(v, name, "startTime is after endTime");
    return 0;
}

/* ---- telling ---- */

static int put_whole(struct verify *v, const char *uuid)
{
    return buf_printf(&v->tool->out,
                      v->tool->args.json
                          ? "{\"id\":\"%s\",\"whole\":true,\"rows\":%" PRIu64 ",\"spans\":%" PRIu64
                            ",\"pages\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n"
                          : "%s  whole: %" PRIu64 " traces, %" PRIu64 " spans, %" PRIu64
                            " pages, %" PRIu64 " bytes read\n",
                      uuid, v->rows, v->spans, v->pages, v->bytes);
}

static int put_number(struct buf *out, const char *fmt, int64_t n)
{
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, n);
    return n == NOWHERE ? 0 : buf_printf(out, "%s%s", fmt, number);
}

static int put_found_text(struct buf *out, const struct finding *f)
{
    int rc = buf_str(out, f->object);
    rc = rc < 0 ? rc : put_number(out, ", row group ", f->row_group);
    if (rc == 0 && f->column[0])
        rc = buf_printf(out, ", column %s", f->column);
    if (rc == 0 && f->page == PAGE_DICTIONARY_PAGE)
        rc = buf_str(out, ", dictionary page");
    else if (rc == 0)
        rc = put_number(out, ", page ", f->page);
    rc = rc < 0 ? rc : put_number(out, ", byte ", f->offset);
    return rc < 0 ? rc : buf_printf(out, ": %s\n", f->problem.msg);
}

static int put_found_json(struct buf *out, const struct finding *f)
{
    int rc = buf_str(out, "\"object\":");
    rc = rc < 0 ? rc : buf_json_string(out, slice_cstr(f->object));
    rc = rc < 0 ? rc : put_number(out, ",\"rowGroup\":", f->row_group);
    if (rc == 0 && f->column[0]) {
        rc = buf_str(out, ",\"column\":");
        rc = rc < 0 ? rc : buf_json_string(out, slice_cstr(f->column));
    }
    if (rc == 0 && f->page == PAGE_DICTIONARY_PAGE)
        rc = buf_str(out, ",\"page\":\"dictionary\"");
    else if (rc == 0)
        rc = put_number(out, ",\"page\":", f->page);
    rc = rc < 0 ? rc : put_number(out, ",\"offset\":", f->offset);
    rc = rc < 0 ? rc : buf_str(out, ",\"problem\":");
    rc = rc < 0 ? rc : buf_json_string(out, slice_cstr(f->problem.msg));
    return rc < 0 ? rc : buf_str(out, "}\n");
}

static int put_result(struct verify *v, struct err *err)
{
    char uuid[37];
    uuid_format(v->block->id, uuid);
    int rc;
    if (!v->found.object) {
        rc = put_whole(v, uuid);
    } else if (v->tool->args.json) {
        rc = buf_printf(&v->tool->out, "{\"id\":\"%s\",\"whole\":false,", uuid);
        rc = rc < 0 ? rc : put_found_json(&v->tool->out, &v->found);
    } else {
        rc = buf_printf(&v->tool->out, "%s  damaged: ", uuid);
        rc = rc < 0 ? rc : put_found_text(&v->tool->out, &v->found);
    }
    return block_tool_put(v->tool, rc, err);
}

static int verify_block(struct block_tool *t, const struct tool_block *b, struct err *err)
{
    struct verify v = {.tool = t, .block = b};
    random_bytes(&v.nested.seed, sizeof v.nested.seed);
    int rc = verify_meta(&v, err);
    rc = rc ? rc : verify_tail(&v, err);
    rc = rc ? rc : verify_magic(&v, err);
    rc = rc ? rc : verify_columns(&v, err);
    rc = rc ? rc : verify_blooms(&v, err);
    rc = rc ? rc : verify_index(&v, err);
    rc = rc ? rc : verify_rows(&v, err);
    rc = rc ? rc : verify_totals(&v);
    block_tool_progress_end(t);
    int put = rc < 0 ? 0 : put_result(&v, err);
    for (uint32_t i = 0; v.blooms && i < v.shards; i++)
        buf_clear(&v.blooms[i]);
    nested_set_clear(&v.nested);
    vec_free(&v.order);
    vec_free(&v.numbers);
    tool_file_clear(&v.f);
    return put < 0 ? put : rc;
}

int block_tool_check(struct block_tool *t, struct err *err)
{
    struct tool_blocks blocks = {0};
    const char *id = t->args.rest_count > 2 ? t->args.rest[2] : NULL;
    bool damaged = false;
    int rc = block_tool_find(t, id, false, &blocks, err);
    for (uint32_t i = 0; i < blocks.at.count && rc >= 0; i++) {
        rc = verify_block(t, &blocks.at.at[i], err);
        damaged |= rc > 0;
    }
    tool_blocks_clear(&blocks);
    return rc < 0 ? rc : damaged;
}
