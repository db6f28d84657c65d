/* One trace by its id: the bloom filter says whether a block may have it, the footer's statistics
 * in which row group, the id column in which row; then just the pages of that row are read. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "block/assemble.h"
#include "block/bloom.h"
#include "worker/scan.h"
#include "worker/worker_limits.h"
#include "worker/worker_priv.h"

struct lookup {
    struct worker *worker;
    const struct block_meta *meta;
    const uint8_t *id;
    uint64_t deadline_mono_ns;
    struct arena *a;
    struct query_stats *stats;
};

static int bloom_allows(struct lookup *l, struct err *err)
{
    struct buf key, shard;
    char name[24];
    buf_init(&key, 4096);
    buf_init(&shard, LIMIT_BLOOM_BYTES);
    snprintf(name, sizeof name, "bloom-%u", bloom_shard_of(l->id, l->meta->bloom_shards));
    int rc = block_key(&key, l->meta->tenant, l->meta->id, name);
    if (rc < 0)
        err_set(err, rc, "the block's key is too long");
    if (rc == 0)
        rc = objstore_get(l->worker->opts.store, buf_view(&key), l->deadline_mono_ns, &shard, err);
    if (rc == 0) {
        l->stats->bytes_read += shard.len;
        rc = bloom_test(buf_view(&shard), l->id, err);
        if (rc < 0)
            err_wrap(err, "%s", name);
    }
    buf_clear(&key);
    buf_clear(&shard);
    return rc;
}

/* Row group whose id range holds the id, or -1. Ranges are disjoint; a chunk without statistics may
 * hold it. */
static bool range_allows(const struct parquet_chunk *c, struct slice id)
{
    if (c->has_min && slice_cmp(id, c->min) < 0)
        return false;
    if (c->has_max && slice_cmp(id, c->max) > 0)
        return false;
    return true;
}

/* Row of the id in a row group, -1 when it is not there. */
static int find_row(struct lookup *l, const struct footer *footer, uint32_t row_group, int64_t *row,
                    struct err *err)
{
    static const int leaf = BLOCK_TRACE_ID;
    struct scan *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a scan");
    *s = (struct scan){.store = l->worker->opts.store,
                       .meta = l->meta,
                       .footer = footer,
                       .row_group = row_group,
                       .deadline_mono_ns = l->deadline_mono_ns,
                       .clock = l->worker->opts.clock,
                       .stats = l->stats,
                       .step = QUERY_STEPS,
                       .row_count = footer->file->row_groups[row_group].rows,
                       .group = l->a,
                       .arena = l->a};
    *row = -1;
    int rc = scan_need(s, &leaf, 1, err);
    if (rc == 0) {
        const struct column *c = scan_column(s, leaf);
        struct slice want = slice_of(l->id, 16);
        for (uint32_t i = 0; i < c->values; i++) {
            if (slice_eq(column_bytes(c, i), want)) {
                *row = i;
                break;
            }
        }
    }
    scan_close(s);
    free(s);
    return rc;
}

/* What to fetch of one column for one row. */
struct piece {
    const struct parquet_chunk *chunk;
    uint64_t dict_bytes;
    uint64_t pages_offset, pages_bytes;
    int64_t pages_first_row;
    int dict_get, pages_get; /* indices of the gets; -1: none */
};

/* Offset indexes of all columns of a row group stand in one run: one request. */
static int fetch_offset_indexes(struct lookup *l, struct slice key, const struct footer *footer,
                                uint32_t row_group, struct buf *out, uint64_t *start,
                                struct err *err)
{
    const struct parquet_row_group *rg = &footer->file->row_groups[row_group];
    uint64_t lo = UINT64_MAX, hi = 0;
    for (uint32_t i = 0; i < footer->file->leaf_count; i++) {
        const struct parquet_chunk *c = &rg->chunks[i];
        if (c->offset_index_bytes == 0)
            continue;
        if (c->offset_index_offset < lo)
            lo = c->offset_index_offset;
        if (c->offset_index_offset + c->offset_index_bytes > hi)
            hi = c->offset_index_offset + c->offset_index_bytes;
    }
    *start = lo;
    if (hi == 0)
        return 0;
    if (hi - lo > LIMIT_FETCH_BYTES)
        return err_set(err, ERR_LIMIT, "offset indexes of %llu bytes pass the limit of %zu",
                       (unsigned long long)(hi - lo), LIMIT_FETCH_BYTES);
    struct objstore_get get = {.key = key, .range = OBJSTORE_RANGE, .offset = lo, .bytes = hi - lo};
    buf_init(&get.out, LIMIT_FETCH_BYTES);
    int rc = objstore_get_many(l->worker->opts.store, &get, 1, l->deadline_mono_ns, err);
    l->stats->bytes_read += get.out.len;
    if (rc == 0 && get.out.len != hi - lo)
        rc = err_set(err, ERR_CORRUPT, "the object ends inside the offset indexes");
    if (rc < 0)
        buf_clear(&get.out);
    else
        *out = get.out;
    return rc;
}

static int piece_plan(struct lookup *l, const struct footer *footer, uint32_t row_group, int leaf,
                      struct slice indexes, uint64_t indexes_start, int64_t row, struct piece *p,
                      struct err *err)
{
    uint32_t file_leaf = (uint32_t)footer->leaf_of[leaf];
    const struct parquet_chunk *c = &footer->file->row_groups[row_group].chunks[file_leaf];
    p->chunk = c;
    p->dict_bytes = c->has_dict ? c->data_offset - c->offset : 0;
    p->pages_offset = c->data_offset;
    p->pages_bytes = c->offset + c->bytes - c->data_offset;
    p->pages_first_row = 0;
    if (c->offset_index_bytes == 0 || c->offset_index_offset < indexes_start ||
        c->offset_index_offset - indexes_start + c->offset_index_bytes > indexes.len)
        return 0; /* without an index the whole chunk is read */
    struct parquet_page_location *pages;
    uint32_t count;
    struct slice bytes =
        slice_of(indexes.ptr + (c->offset_index_offset - indexes_start), c->offset_index_bytes);
    int rc = parquet_offset_index_decode(footer->file, row_group, file_leaf, bytes, l->a, &pages,
                                         &count, err);
    if (rc < 0 || count == 0)
        return rc;
    uint32_t at = 0;
    while (at + 1 < count && pages[at + 1].first_row <= row)
        at++;
    p->pages_offset = pages[at].offset;
    p->pages_bytes = pages[at].bytes;
    p->pages_first_row = pages[at].first_row;
    return 0;
}

static void release_buf(void *ctx)
{
    buf_clear(ctx);
}

/* Fetches the pieces in one parallel wave; neighbouring ranges become one request. */
static int fetch_pieces(struct lookup *l, struct slice key, struct piece *pieces,
                        struct objstore_get *gets, size_t *get_count, struct err *err)
{
    /* Bytes between two wanted ranges that are cheaper to read than to ask for anew. */
    enum { GAP_BYTES = 16 << 10 };
    size_t n = 0;
    uint64_t end = 0;
    for (int leaf = 0; leaf < BLOCK_LEAVES; leaf++) {
        struct piece *p = &pieces[leaf];
        if (!p->chunk)
            continue;
        const struct {
            uint64_t offset, bytes;
            int *get;
        } ranges[] = {{p->chunk->offset, p->dict_bytes, &p->dict_get},
                      {p->pages_offset, p->pages_bytes, &p->pages_get}};
        for (size_t k = 0; k < 2; k++) {
            *ranges[k].get = -1;
            if (ranges[k].bytes == 0)
                continue;
            if (n == 0 || ranges[k].offset < gets[n - 1].offset ||
                ranges[k].offset > end + GAP_BYTES) {
                gets[n] = (struct objstore_get){
                    .key = key, .range = OBJSTORE_RANGE, .offset = ranges[k].offset};
                buf_init(&gets[n].out, LIMIT_FETCH_BYTES);
                n++;
                end = ranges[k].offset;
            }
            if (ranges[k].offset + ranges[k].bytes > end)
                end = ranges[k].offset + ranges[k].bytes;
            gets[n - 1].bytes = end - gets[n - 1].offset;
            *ranges[k].get = (int)n - 1;
        }
    }
    *get_count = n;
    for (size_t i = 0; i < n; i++) {
        if (!arena_on_reset(l->a, release_buf, &gets[i].out))
            return arena_err(l->a, err, "a trace");
    }
    int rc = objstore_get_many(l->worker->opts.store, gets, n, l->deadline_mono_ns, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        l->stats->bytes_read += gets[i].out.len;
        if (gets[i].out.len != gets[i].bytes)
            rc = err_set(err, ERR_CORRUPT, "the object ends inside a page");
    }
    return rc;
}

static struct slice piece_bytes(const struct objstore_get *gets, int get, uint64_t offset,
                                uint64_t bytes)
{
    if (get < 0 || bytes == 0)
        return slice_of(NULL, 0);
    return slice_of(gets[get].out.ptr + (offset - gets[get].offset), (size_t)bytes);
}

static int read_row(struct lookup *l, const struct footer *footer, uint32_t row_group, int64_t row,
                    struct span_batch *out, struct err *err)
{
    struct buf key, indexes = {0};
    uint64_t indexes_start = 0;
    buf_init(&key, 4096);
    size_t get_count = 0;
    struct piece *pieces = arena_zalloc(l->a, BLOCK_LEAVES * sizeof *pieces);
    struct objstore_get *gets = arena_zalloc(l->a, 2 * BLOCK_LEAVES * sizeof *gets);
    struct column *columns = arena_zalloc(l->a, BLOCK_LEAVES * sizeof *columns);
    int rc = pieces && gets && columns ? 0 : arena_err(l->a, err, "a trace");
    if (rc == 0 && block_key(&key, l->meta->tenant, l->meta->id, "data.parquet") < 0)
        rc = err_set(err, ERR_NOMEM, "no memory for a key");
    if (rc == 0)
        rc = fetch_offset_indexes(l, buf_view(&key), footer, row_group, &indexes, &indexes_start,
                                  err);
    for (int leaf = 0; leaf < BLOCK_LEAVES && rc == 0; leaf++) {
        if (footer->leaf_of[leaf] >= 0)
            rc = piece_plan(l, footer, row_group, leaf, buf_view(&indexes), indexes_start, row,
                            &pieces[leaf], err);
    }
    if (rc == 0)
        rc = fetch_pieces(l, buf_view(&key), pieces, gets, &get_count, err);
    for (int leaf = 0; leaf < BLOCK_LEAVES && rc == 0; leaf++) {
        const struct piece *p = &pieces[leaf];
        if (!p->chunk) {
            columns[leaf] = (struct column){.type = block_leaves[leaf].column_type,
                                            .rep_max = block_leaves[leaf].rep_max,
                                            .def_max = block_leaves[leaf].def_max};
            continue;
        }
        rc = parquet_rows_decode(footer->file, row_group, (uint32_t)footer->leaf_of[leaf],
                                 piece_bytes(gets, p->dict_get, p->chunk->offset, p->dict_bytes),
                                 piece_bytes(gets, p->pages_get, p->pages_offset, p->pages_bytes),
                                 p->pages_first_row, row, 1, l->a, &columns[leaf], err);
    }
    if (rc == 0)
        rc = block_assemble(columns, l->meta->dedicated, l->meta->dedicated_count, 0, 1, l->a, out,
                            err);
    if (rc == 0)
        span_batch_end_fragment(out);
    buf_clear(&indexes);
    buf_clear(&key);
    return rc;
}

/* What the assembled spans point into stays until the query's arena goes. */
struct held_footer {
    struct footer_cache *cache;
    struct footer *footer;
};

static void put_footer_back(void *ctx)
{
    struct held_footer *held = ctx;
    footer_cache_put(held->cache, held->footer);
}

static int find_in_block(struct lookup *l, struct span_batch *out, struct err *err)
{
    int rc = bloom_allows(l, err);
    if (rc <= 0)
        return rc;
    struct footer_cache *cache = l->worker->footers;
    struct held_footer *held = arena_zalloc(l->a, sizeof *held);
    if (!held)
        return arena_err(l->a, err, "a trace");
    struct footer *footer;
    rc = footer_cache_get(cache, l->worker->opts.store, l->meta, l->deadline_mono_ns, &footer, err);
    if (rc < 0)
        return rc;
    held->cache = cache;
    held->footer = footer;
    if (!arena_on_reset(l->a, put_footer_back, held)) {
        footer_cache_put(cache, footer);
        return arena_err(l->a, err, "a trace");
    }
    int leaf = footer->leaf_of[BLOCK_TRACE_ID];
    if (leaf < 0)
        return err_set(err, ERR_CORRUPT, "the block has no TraceID column");
    for (uint32_t i = 0; i < footer->file->row_group_count && rc == 0; i++) {
        int64_t row;
        if (!range_allows(&footer->file->row_groups[i].chunks[leaf], slice_of(l->id, 16)))
            continue;
        rc = find_row(l, footer, i, &row, err);
        if (rc == 0 && row >= 0)
            return read_row(l, footer, i, row, out, err);
    }
    return rc;
}

static void release_raw(void *ctx)
{
    shared_bytes_release(ctx);
}

static int find_in_live(struct worker *w, const struct query_source *source, const uint8_t id[16],
                        uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                        struct err *err)
{
    struct shared_bytes **raws;
    size_t count;
    int rc = live_find_trace(w->opts.catalog, source->view, id, deadline_mono_ns, a, out->batch,
                             &raws, &count, err);
    for (size_t i = 0; i < count; i++) {
        out->stats.bytes_read += raws[i]->len;
        if (!arena_on_reset(a, release_raw, raws[i])) {
            shared_bytes_release(raws[i]);
            rc = arena_err(a, err, "a trace");
        }
    }
    out->inspected_bytes = out->stats.bytes_read;
    return rc;
}

int worker_find_trace(void *self, const struct query_source *source, const uint8_t id[16],
                      uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                      struct err *err)
{
    struct worker *w = self;
    if (!source->block)
        return find_in_live(w, source, id, deadline_mono_ns, a, out, err);
    struct lookup l = {.worker = w,
                       .meta = &source->block->meta,
                       .id = id,
                       .deadline_mono_ns = deadline_mono_ns,
                       .a = a,
                       .stats = &out->stats};
    int rc = find_in_block(&l, out->batch, err);
    out->inspected_bytes = out->stats.bytes_read;
    counter_add(w->bytes, out->stats.bytes_read);
    if (rc < 0 && err) {
        char uuid[37];
        uuid_format(l.meta->id, uuid);
        err_wrap(err, "block %s", uuid);
    }
    return rc;
}
