/* A block's rows, a window at a time: which pages, fetch, decode, keep the window's part, assemble.
 */
#include "catalog/block_rows.h"

#include <assert.h>
#include <stdlib.h>

#include "base/text.h"
#include "block/assemble.h"
#include "catalog/block_groups.h"

#define WINDOW_BYTES_DEFAULT ((size_t)8 << 20)
/* Spans of the first window, whose size is not known yet, and what any window may have. */
#define SPANS_FIRST 256
#define SPANS_LEAST 64
#define SPANS_MOST (1u << 20)
#define ROWS_MOST (1u << 16)

/* Stored bytes fetched at once: one wave of requests. Hit: the other columns are another wave. */
#define WAVE_BYTES ((uint64_t)4 << 20)
/* Of decoded pages that are let go together: with them goes what zstd keeps from page to page. */
#define PAGES_BYTES ((size_t)1 << 20)
/* Bytes between two wanted ranges that are cheaper to read than to ask for anew. */
#define GAP_BYTES ((uint64_t)16 << 10)

/* Decoded pages of one column; a dictionary may be large. Hit: ERR_LIMIT for the block. */
#define LIMIT_PAGES_BYTES ((size_t)2 << 30)
/* One window's columns and strings: a row is not split. Hit: ERR_LIMIT for the block. */
#define LIMIT_WINDOW_BYTES ((size_t)4 << 30)
/* Offset indexes of a row group, as they are stored. Tempo's take some 100 KB. Hit: ERR_LIMIT. */
#define LIMIT_OFFSET_INDEX_BYTES ((uint64_t)64 << 20)
#define LIMIT_FOOTER_ARENA_BYTES ((size_t)1 << 30)

/* Stored bytes of a column that are at hand, in one run. */
struct raw {
    uint64_t offset;
    struct buf bytes; /* empty: none */
};

struct leaf_state {
    int file_leaf;                       /* -1: the file lacks it */
    struct parquet_page_location *pages; /* NULL: no offset index */
    uint32_t page_count;
    struct raw dict, data;
};

struct want {
    struct raw *raw;
    uint64_t offset, bytes;
};

struct block_rows {
    struct block_rows_opts opts;
    char uuid[37];
    struct buf key;
    struct arena *footer, *group;  /* by how long they are needed: the head, a row group's */
    struct arena *index;           /* the same: its offset indexes */
    struct arena *columns, *pages; /* of the scratch */
    struct block_rows_scratch own;
    struct block_groups groups;
    const struct parquet_file *file; /* row_groups[0] is the one that is read */
    struct leaf_state leaf[BLOCK_LEAVES];
    int leaves[BLOCK_LEAVES]; /* those that the file has, that of span ids first */
    int leaf_count;

    uint32_t row_group;
    bool group_open;
    int64_t row; /* in the row group: next */
    uint32_t spans_max;
    double spans_per_row;
    uint64_t fetched;
    size_t raw_bytes;

    struct column column[BLOCK_LEAVES];
    struct block_window window;
    uint32_t *remap; /* of a dictionary */
    size_t remap_cap;
    struct want wants[2 * BLOCK_LEAVES];
    struct objstore_get gets[2 * BLOCK_LEAVES];
};

/* ---- life ---- */

int block_rows_scratch_init(struct block_rows_scratch *s, struct err *err)
{
    s->columns = arena_new(LIMIT_WINDOW_BYTES);
    s->pages = arena_new(LIMIT_PAGES_BYTES);
    if (s->columns && s->pages)
        return 0;
    block_rows_scratch_clear(s);
    return err_set(err, ERR_NOMEM, "no memory to read a block");
}

void block_rows_scratch_clear(struct block_rows_scratch *s)
{
    arena_free(s->columns);
    arena_free(s->pages);
    *s = (struct block_rows_scratch){0};
}

static int rows_wrap(const struct block_rows *r, int rc, struct err *err)
{
    if (rc < 0 && r->group_open)
        err_wrap(err, "block %s, row group %u", r->uuid, r->row_group);
    else if (rc < 0)
        err_wrap(err, "block %s", r->uuid);
    return rc;
}

static int bind(struct block_rows *r, struct err *err)
{
    int leaf_of[BLOCK_LEAVES];
    int rc = block_groups_open(&r->groups, r->opts.store, r->opts.meta, buf_view(&r->key),
                               r->opts.deadline_mono_ns, r->footer, err);
    r->file = r->groups.file;
    if (rc == 0)
        rc = block_schema_bind(r->file, r->opts.meta->version, leaf_of, err);
    if (rc < 0)
        return rc;
    r->leaves[r->leaf_count++] = BLOCK_SPAN_ID;
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        r->leaf[i].file_leaf = leaf_of[i];
        if (leaf_of[i] >= 0 && i != BLOCK_SPAN_ID)
            r->leaves[r->leaf_count++] = i;
    }
    return 0;
}

int block_rows_new(const struct block_rows_opts *opts, struct block_rows **out, struct err *err)
{
    struct block_rows *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "no memory to read a block");
    r->opts = *opts;
    if (r->opts.window_bytes == 0)
        r->opts.window_bytes = WINDOW_BYTES_DEFAULT;
    r->spans_max = SPANS_FIRST;
    uuid_format(opts->meta->id, r->uuid);
    buf_init(&r->key, 4096);
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        buf_init(&r->leaf[i].dict.bytes, SIZE_MAX / 2);
        buf_init(&r->leaf[i].data.bytes, SIZE_MAX / 2);
    }
    r->footer = arena_new(LIMIT_FOOTER_ARENA_BYTES);
    r->group = arena_new(LIMIT_FOOTER_ARENA_BYTES);
    r->index = arena_new(LIMIT_FOOTER_ARENA_BYTES);
    assert(!opts->scratch || !opts->keep_columns);
    int rc = r->footer && r->group && r->index
                 ? block_key(&r->key, opts->meta->tenant, opts->meta->id, "data.parquet")
                 : ERR_NOMEM;
    if (rc < 0)
        err_set(err, rc, "no memory to read a block");
    else if (!opts->scratch)
        rc = block_rows_scratch_init(&r->own, err);
    r->columns = opts->scratch ? opts->scratch->columns : r->own.columns;
    r->pages = opts->scratch ? opts->scratch->pages : r->own.pages;
    rc = rows_wrap(r, rc < 0 ? rc : bind(r, err), err);
    if (rc < 0) {
        block_rows_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void block_rows_free(struct block_rows *r)
{
    if (!r)
        return;
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        buf_clear(&r->leaf[i].dict.bytes);
        buf_clear(&r->leaf[i].data.bytes);
    }
    buf_clear(&r->key);
    arena_free(r->footer);
    arena_free(r->group);
    arena_free(r->index);
    block_groups_clear(&r->groups);
    block_rows_scratch_clear(&r->own);
    arena_free(r->window.text);
    span_batch_clear(&r->window.batch);
    vec_free(&r->window.rows);
    free(r->remap);
    free(r);
}

uint64_t block_rows_total(const struct block_rows *r)
{
    return (uint64_t)r->file->rows;
}

uint64_t block_rows_fetched(const struct block_rows *r)
{
    return r->fetched + r->groups.fetched;
}

struct arena *block_rows_take_text(struct block_rows *r)
{
    struct arena *text = r->window.text;
    r->window.text = NULL;
    return text;
}

/* ---- stored bytes ---- */

static void raw_drop(struct block_rows *r, struct raw *raw)
{
    r->raw_bytes -= raw->bytes.len;
    buf_clear(&raw->bytes);
}

static bool raw_has(const struct raw *raw, uint64_t offset, uint64_t bytes)
{
    return offset >= raw->offset && offset - raw->offset <= raw->bytes.len &&
           bytes <= raw->bytes.len - (offset - raw->offset);
}

static struct slice raw_part(const struct raw *raw, uint64_t offset, uint64_t bytes)
{
    return bytes ? slice_of(raw->bytes.ptr + (offset - raw->offset), (size_t)bytes)
                 : slice_of(NULL, 0);
}

/* Lets go of what stands before offset; false when what is left does not begin there. */
static bool raw_trim(struct block_rows *r, struct raw *raw, uint64_t offset)
{
    if (offset < raw->offset || offset - raw->offset >= raw->bytes.len) {
        raw_drop(r, raw);
        return false;
    }
    size_t gone = (size_t)(offset - raw->offset);
    memmove(raw->bytes.ptr, raw->bytes.ptr + gone, raw->bytes.len - gone);
    raw->bytes.len -= gone;
    raw->offset = offset;
    r->raw_bytes -= gone;
    return true;
}

static int compare_wants(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Each want gets its part of what was fetched. */
static int wants_deliver(struct block_rows *r, size_t want_count, struct err *err)
{
    size_t g = 0;
    for (size_t i = 0; i < want_count; i++) {
        const struct want *w = &r->wants[i];
        while (w->offset - r->gets[g].offset >= r->gets[g].bytes)
            buf_clear(&r->gets[g++].out);
        const struct objstore_get *get = &r->gets[g];
        uint64_t at = w->offset - get->offset;
        if (get->out.len < at || get->out.len - at < w->bytes)
            return err_set(err, ERR_CORRUPT, "%.*s ends at byte %llu, inside a page",
                           SLICE_ARGS(get->key), (unsigned long long)get->object_bytes);
        if (buf_append(&w->raw->bytes, get->out.ptr + at, (size_t)w->bytes) < 0)
            return err_set(err, ERR_NOMEM, "no memory for pages");
        if (w->raw->bytes.len == w->bytes)
            w->raw->offset = w->offset;
        r->raw_bytes += w->bytes;
    }
    return 0;
}

/* One parallel wave; neighbouring ranges become one request. */
static int wants_fetch(struct block_rows *r, size_t want_count, struct err *err)
{
    size_t n = 0;
    uint64_t end = 0;
    qsort(r->wants, want_count, sizeof r->wants[0], compare_wants);
    for (size_t i = 0; i < want_count; i++) {
        const struct want *w = &r->wants[i];
        if (n == 0 || w->offset > end + GAP_BYTES || end - r->gets[n - 1].offset > WAVE_BYTES) {
            r->gets[n++] = (struct objstore_get){
                .key = buf_view(&r->key), .range = OBJSTORE_RANGE, .offset = w->offset};
            end = w->offset;
        }
        if (w->offset + w->bytes > end)
            end = w->offset + w->bytes;
        r->gets[n - 1].bytes = end - r->gets[n - 1].offset;
    }
    for (size_t i = 0; i < n; i++)
        buf_init(&r->gets[i].out, (size_t)r->gets[i].bytes);
    int rc = n ? objstore_get_many(r->opts.store, r->gets, n, r->opts.deadline_mono_ns, err) : 0;
    for (size_t i = 0; i < n; i++)
        r->fetched += r->gets[i].out.len;
    if (rc == 0)
        rc = wants_deliver(r, want_count, err);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&r->gets[i].out);
    }
    return rc;
}

/* ---- row groups ---- */

static const struct parquet_chunk *chunk_of(const struct block_rows *r, int leaf)
{
    return &r->file->row_groups[0].chunks[r->leaf[leaf].file_leaf];
}

static uint64_t dict_bytes_of(const struct parquet_chunk *c)
{
    return c->has_dict ? c->data_offset - c->offset : 0;
}

/* Offset indexes of all columns of a row group stand in one run: one request. */
static int indexes_load(struct block_rows *r, struct err *err)
{
    uint64_t lo = UINT64_MAX, hi = 0;
    for (int i = 0; i < r->leaf_count; i++) {
        const struct parquet_chunk *c = chunk_of(r, r->leaves[i]);
        if (c->offset_index_bytes == 0)
            continue;
        lo = c->offset_index_offset < lo ? c->offset_index_offset : lo;
        if (c->offset_index_offset + c->offset_index_bytes > hi)
            hi = c->offset_index_offset + c->offset_index_bytes;
    }
    if (hi == 0)
        return 0;
    if (hi - lo > LIMIT_OFFSET_INDEX_BYTES)
        return err_set(err, ERR_LIMIT, "offset indexes of %llu bytes, at most %llu are read",
                       (unsigned long long)(hi - lo), (unsigned long long)LIMIT_OFFSET_INDEX_BYTES);
    struct raw raw = {0};
    buf_init(&raw.bytes, (size_t)(hi - lo));
    r->wants[0] = (struct want){&raw, lo, hi - lo};
    int rc = wants_fetch(r, 1, err);
    for (int i = 0; i < r->leaf_count && rc == 0; i++) {
        struct leaf_state *l = &r->leaf[r->leaves[i]];
        const struct parquet_chunk *c = chunk_of(r, r->leaves[i]);
        if (c->offset_index_bytes == 0)
            continue;
        rc = parquet_offset_index_decode(
            r->file, 0, (uint32_t)l->file_leaf,
            raw_part(&raw, c->offset_index_offset, c->offset_index_bytes), r->index, &l->pages,
            &l->page_count, err);
    }
    raw_drop(r, &raw);
    return rc;
}

/* The next row group that has rows: 0, 1 at the end. */
static int group_next(struct block_rows *r, struct err *err)
{
    r->group_open = false;
    do {
        int rc = block_groups_next(&r->groups, r->group, err);
        if (rc != 0)
            return rc;
    } while (r->file->row_groups[0].rows == 0);
    r->row_group = r->groups.next - 1;
    r->group_open = true;
    r->row = 0;
    arena_reset(r->index);
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        struct leaf_state *l = &r->leaf[i];
        l->pages = NULL;
        l->page_count = 0;
        raw_drop(r, &l->dict);
        raw_drop(r, &l->data);
    }
    r->spans_per_row =
        (double)chunk_of(r, BLOCK_SPAN_ID)->num_values / (double)r->file->row_groups[0].rows;
    return indexes_load(r, err);
}

/* ---- columns ---- */

/* Where the data pages of rows [r->row, + rows) stand. */
static int pages_of(const struct block_rows *r, int leaf, int64_t rows,
                    struct parquet_page_span *out, struct err *err)
{
    const struct leaf_state *l = &r->leaf[leaf];
    const struct parquet_chunk *c = chunk_of(r, leaf);
    if (l->page_count)
        return parquet_page_span(l->pages, l->page_count, r->file->row_groups[0].rows, r->row, rows,
                                 out, err);
    *out = (struct parquet_page_span){.offset = c->data_offset,
                                      .bytes = c->offset + c->bytes - c->data_offset};
    return 0;
}

/* Fetches what leaves[from..) need, as many of them as make one wave; *end is behind the last. */
static int wave_fetch(struct block_rows *r, int from, int64_t rows, int *end, struct err *err)
{
    size_t wants = 0;
    uint64_t bytes = 0;
    int i = from;
    for (; i < r->leaf_count && (i == from || bytes < WAVE_BYTES); i++) {
        struct leaf_state *l = &r->leaf[r->leaves[i]];
        const struct parquet_chunk *c = chunk_of(r, r->leaves[i]);
        struct parquet_page_span span;
        int rc = pages_of(r, r->leaves[i], rows, &span, err);
        if (rc < 0)
            return rc;
        uint64_t dict_bytes = dict_bytes_of(c);
        if (dict_bytes && !raw_has(&l->dict, c->offset, dict_bytes)) {
            raw_drop(r, &l->dict);
            r->wants[wants++] = (struct want){&l->dict, c->offset, dict_bytes};
            bytes += dict_bytes;
        }
        if (span.bytes && !raw_has(&l->data, span.offset, span.bytes)) {
            /* The page that the last window ended in is there: only what follows is asked for. */
            struct want w = {&l->data, span.offset, span.bytes};
            if (raw_trim(r, &l->data, span.offset)) {
                w.offset += l->data.bytes.len;
                w.bytes -= l->data.bytes.len;
            }
            r->wants[wants++] = w;
            bytes += w.bytes;
        }
    }
    *end = i;
    return wants_fetch(r, wants, err);
}

static int no_room(const struct arena *a, struct err *err)
{
    return arena_err(a, err, "the columns of a window of rows");
}

static int keep_dict(struct block_rows *r, const struct column *c, struct column *out,
                     struct err *err)
{
    if (r->remap_cap < c->dict_count) {
        free(r->remap);
        r->remap_cap = c->dict_count;
        r->remap = malloc(r->remap_cap * sizeof *r->remap);
        if (!r->remap) {
            r->remap_cap = 0;
            return err_set(err, ERR_NOMEM, "no memory for a dictionary");
        }
    }
    if (c->dict_count)
        memset(r->remap, 0xff, c->dict_count * sizeof *r->remap);
    uint32_t most = c->values < c->dict_count ? c->values : c->dict_count;
    out->v.idx = arena_array(r->columns, uint32_t, c->values);
    out->dict = arena_array(r->columns, struct slice, most);
    if (!out->v.idx || !out->dict)
        return no_room(r->columns, err);
    out->dict_count = 0;
    for (uint32_t i = 0; i < c->values; i++) {
        uint32_t from = c->v.idx[i];
        if (from >= c->dict_count)
            return err_set(err, ERR_CORRUPT, "entry %u of a dictionary of %u", from, c->dict_count);
        if (r->remap[from] == UINT32_MAX) {
            if (!arena_slice(r->window.text, c->dict[from], &out->dict[out->dict_count]))
                return no_room(r->window.text, err);
            r->remap[from] = out->dict_count++;
        }
        out->v.idx[i] = r->remap[from];
    }
    return 0;
}

static int keep_bytes(struct block_rows *r, const struct column *c, struct column *out,
                      struct err *err)
{
    size_t total = 0;
    for (uint32_t i = 0; i < c->values; i++)
        total += c->v.bytes[i].len;
    uint8_t *to = arena_alloc(r->window.text, total);
    out->v.bytes = arena_array(r->columns, struct slice, c->values);
    if (!to || !out->v.bytes)
        return no_room(to ? r->columns : r->window.text, err);
    for (uint32_t i = 0; i < c->values; i++) {
        struct slice v = c->v.bytes[i];
        if (v.len)
            memcpy(to, v.ptr, v.len);
        out->v.bytes[i] = slice_of(to, v.len);
        to += v.len;
    }
    return 0;
}

static void *keep_array(struct block_rows *r, const void *from, size_t bytes)
{
    void *to = arena_alloc(r->columns, bytes);
    if (to && bytes)
        memcpy(to, from, bytes);
    return to;
}

/* The column without the pages it was decoded from: strings to the window's text, the rest to the
 * columns' arena. */
static int column_keep(struct block_rows *r, const struct column *c, struct column *out,
                       struct err *err)
{
    static const size_t sizes[] = {[COLUMN_BOOL] = sizeof(uint8_t),
                                   [COLUMN_I32] = sizeof(int32_t),
                                   [COLUMN_I64] = sizeof(int64_t),
                                   [COLUMN_F64] = sizeof(double)};
    *out = *c;
    if (c->rep && !(out->rep = keep_array(r, c->rep, c->entries)))
        return no_room(r->columns, err);
    if (c->def && !(out->def = keep_array(r, c->def, c->entries)))
        return no_room(r->columns, err);
    if (c->type == COLUMN_BYTES)
        return c->has_dict ? keep_dict(r, c, out, err) : keep_bytes(r, c, out, err);
    void *values = keep_array(r, c->v.b, c->values * sizes[c->type]);
    if (!values)
        return no_room(r->columns, err);
    out->v.b = values;
    return 0;
}

/* How many of the rows a window takes, by the spans in them; the column is cut behind them. */
static uint32_t cut_rows(const struct block_rows *r, struct column *ids)
{
    uint32_t rows = 0, spans = 0;
    for (uint32_t i = 0; i < ids->entries;) {
        uint32_t end = i, before = spans;
        do
            spans += ids->def[end] == ids->def_max;
        while (++end < ids->entries && ids->rep[end] != 0);
        if (rows > 0 && spans > r->spans_max) {
            ids->rows = rows;
            ids->entries = i;
            ids->values = before;
            break;
        }
        rows++;
        i = end;
    }
    return rows;
}

static int column_read(struct block_rows *r, int leaf, uint32_t *rows, struct err *err)
{
    struct leaf_state *l = &r->leaf[leaf];
    const struct parquet_chunk *c = chunk_of(r, leaf);
    struct parquet_page_span span;
    struct column column;
    int rc = pages_of(r, leaf, *rows, &span, err);
    if (rc < 0)
        return rc;
    if (arena_used(r->pages) > PAGES_BYTES)
        arena_reset(r->pages);
    rc = parquet_rows_decode(r->file, 0, (uint32_t)l->file_leaf,
                             raw_part(&l->dict, c->offset, dict_bytes_of(c)),
                             raw_part(&l->data, span.offset, span.bytes), span.first_row, r->row,
                             *rows, r->pages, &column, err);
    if (rc < 0)
        return rc;
    if (leaf == BLOCK_SPAN_ID)
        *rows = cut_rows(r, &column);
    rc = column_keep(r, &column, &r->column[leaf], err);
    /* Kept for the next window as long as it is not much. */
    if (r->raw_bytes > r->opts.window_bytes) {
        raw_drop(r, &l->data);
        raw_drop(r, &l->dict);
    }
    return rc;
}

static int columns_read(struct block_rows *r, uint32_t *rows, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        const struct block_leaf_info *info = &block_leaves[i];
        r->column[i] = (struct column){
            .type = info->column_type, .rep_max = info->rep_max, .def_max = info->def_max};
    }
    for (int i = 0, end = 0; i < r->leaf_count && rc == 0;) {
        rc = wave_fetch(r, i, *rows, &end, err);
        for (; i < end && rc == 0; i++)
            rc = column_read(r, r->leaves[i], rows, err);
    }
    arena_reset(r->pages);
    return rc;
}

/* ---- windows ---- */

/* As the assembler reads ids: of longer ones the last 16 bytes, shorter ones padded in front. */
static void id_of(struct slice id, uint8_t out[16])
{
    size_t n = id.len < 16 ? id.len : 16;
    memset(out, 0, 16);
    if (n)
        memcpy(out + 16 - n, id.ptr + id.len - n, n);
}

static int rows_list(struct block_rows *r, uint32_t rows, struct err *err)
{
    const struct column *spans = &r->column[BLOCK_SPAN_ID], *ids = &r->column[BLOCK_TRACE_ID],
                        *service = &r->column[BLOCK_ROOT_SERVICE],
                        *name = &r->column[BLOCK_ROOT_NAME];
    struct block_window *w = &r->window;
    if (!vec_reserve(&w->rows, rows))
        return err_set(err, ERR_NOMEM, "no memory for %u rows", rows);
    uint32_t span = 0, entry = 0;
    for (uint32_t i = 0; i < rows; i++) {
        struct block_row *row = &w->rows.at[w->rows.count++];
        *row = (struct block_row){.span_first = span};
        do
            span += spans->def[entry] == spans->def_max;
        while (++entry < spans->entries && spans->rep[entry] != 0);
        row->span_count = span - row->span_first;
        id_of(column_bytes(ids, i), row->id);
        if (i < service->values)
            row->root_service = column_bytes(service, i);
        if (i < name->values)
            row->root_name = column_bytes(name, i);
    }
    if (span != w->batch.spans.count)
        return err_set(err, ERR_CORRUPT, "%u span ids make %u spans", span, w->batch.spans.count);
    return 0;
}

static size_t batch_bytes(const struct span_batch *b)
{
    return b->resources.count * sizeof(struct resource) + b->scopes.count * sizeof(struct scope) +
           b->spans.count * sizeof(struct span) + b->events.count * sizeof(struct event) +
           b->links.count * sizeof(struct link) + b->attrs.count * sizeof(struct attr) +
           b->values.count * sizeof(struct value);
}

/* The size of the next window, by what this one took. */
static void adapt(struct block_rows *r)
{
    uint32_t spans = r->window.batch.spans.count;
    if (spans == 0)
        return;
    /* Columns that go at once are the memory of one reader among several. */
    size_t bytes = arena_used(r->window.text) + batch_bytes(&r->window.batch);
    if (r->opts.keep_columns)
        bytes += arena_used(r->columns);
    double fit = (double)r->opts.window_bytes / ((double)bytes / spans);
    double most = (double)r->spans_max * 4;
    fit = fit > most ? most : fit;
    r->spans_max = fit < SPANS_LEAST ? SPANS_LEAST : fit > SPANS_MOST ? SPANS_MOST : (uint32_t)fit;
    r->spans_per_row = (double)spans / r->window.rows.count;
}

static int window_fill(struct block_rows *r, struct err *err)
{
    struct block_window *w = &r->window;
    int64_t left = r->file->row_groups[0].rows - r->row;
    double guess = (double)r->spans_max / (r->spans_per_row > 1 ? r->spans_per_row : 1);
    uint32_t rows = guess < 1 ? 1 : guess > ROWS_MOST ? ROWS_MOST : (uint32_t)guess;
    if (rows > left)
        rows = (uint32_t)left;
    if (w->text)
        arena_reset(w->text);
    else if (!(w->text = arena_new(LIMIT_WINDOW_BYTES)))
        return err_set(err, ERR_NOMEM, "no memory for a window of rows");
    arena_reset(r->columns);
    span_batch_reset(&w->batch);
    vec_reset(&w->rows);
    int rc = columns_read(r, &rows, err);
    if (rc == 0)
        rc = block_assemble(r->column, r->opts.meta->dedicated, r->opts.meta->dedicated_count, 0,
                            rows, w->text, &w->batch, err);
    if (rc == 0)
        rc = rows_list(r, rows, err);
    if (rc < 0)
        return rc;
    w->row_group = r->row_group;
    w->first_row = r->row;
    w->columns = r->opts.keep_columns ? r->column : NULL;
    r->row += rows;
    adapt(r);
    if (!r->opts.keep_columns)
        arena_reset(r->columns);
    return 0;
}

int block_rows_next(struct block_rows *r, struct block_window **out, struct err *err)
{
    int rc = 0;
    while (!r->group_open || r->row == r->file->row_groups[0].rows) {
        rc = group_next(r, err);
        if (rc != 0)
            return rows_wrap(r, rc, err);
    }
    rc = window_fill(r, err);
    *out = &r->window;
    return rows_wrap(r, rc, err);
}
