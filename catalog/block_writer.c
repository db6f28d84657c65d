/* Writing a block: shred, encode row group by row group, upload, blooms, index, meta.json last. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/bloom.h"
#include "catalog/block_store.h"

/* Encoded bytes that are held before they go to the upload: a page is the least. */
#define LIMIT_ENCODED_BYTES ((size_t)2 << 30)

/* Pieces of the file's metadata that are kept in the store until the end of the file. */
struct shelf {
    uint32_t put, got; /* pieces */
};

struct block_writer {
    struct objstore *store;
    struct block_writer_opts opts;
    struct shredder *shredder;
    struct parquet_writer *parquet;
    struct parquet_shelf shelf_ops;
    struct shelf shelf[PARQUET_STREAMS];
    struct objstore_upload *upload;
    struct buf key;
    struct buf encoded;
    uint64_t traces;
    struct bloom *bloom;                          /* when objects_max is told; else… */
    VEC(struct trace_id { uint8_t id[16]; }) ids; /* …what will go into it */
    struct trace_id last_id;
    VEC(struct trace_id) last_ids; /* of each row group */
    uint64_t start_unix_ns, end_unix_ns;
};

/* ---- metadata of a long file ---- */

/* Beside data.parquet, under a name that no reader looks for. */
static int shelf_key(struct block_writer *w, enum parquet_stream stream, uint32_t n,
                     struct err *err)
{
    char name[48];
    snprintf(name, sizeof name, "data.parquet.footer-%d-%u", stream, n);
    buf_reset(&w->key);
    int rc = block_key(&w->key, w->opts.tenant, w->opts.id, name);
    return rc < 0 ? err_set(err, rc, "the block's key is too long") : 0;
}

static int shelf_put(void *ctx, enum parquet_stream stream, struct slice piece, struct err *err)
{
    struct block_writer *w = ctx;
    int rc = shelf_key(w, stream, w->shelf[stream].put, err);
    if (rc < 0)
        return rc;
    w->shelf[stream].put++;
    return objstore_put(w->store, buf_view(&w->key), piece, 0, w->opts.deadline_mono_ns, err);
}

static int shelf_get(void *ctx, enum parquet_stream stream, struct buf *out, struct err *err)
{
    struct block_writer *w = ctx;
    if (w->shelf[stream].got == w->shelf[stream].put)
        return 1;
    int rc = shelf_key(w, stream, w->shelf[stream].got++, err);
    buf_reset(out);
    return rc < 0 ? rc
                  : objstore_get(w->store, buf_view(&w->key), w->opts.deadline_mono_ns, out, err);
}

/* As far as the store lets us: what stays behind is no part of the block. */
static void shelf_clear(struct block_writer *w)
{
    for (int i = 0; i < PARQUET_STREAMS; i++) {
        for (uint32_t n = 0; n < w->shelf[i].put; n++) {
            if (shelf_key(w, (enum parquet_stream)i, n, NULL) == 0)
                objstore_delete(w->store, buf_view(&w->key), w->opts.deadline_mono_ns, NULL);
        }
        w->shelf[i] = (struct shelf){0};
    }
}

/* ---- life ---- */

int block_writer_new(struct objstore *store, struct block_writer **out, struct err *err)
{
    struct block_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NOMEM, "no memory for a block writer");
    w->store = store;
    w->shelf_ops = (struct parquet_shelf){.ctx = w, .put = shelf_put, .get = shelf_get};
    buf_init(&w->key, 4096);
    buf_init(&w->encoded, LIMIT_ENCODED_BYTES);
    int rc = shredder_new(&w->shredder, err);
    if (rc < 0) {
        block_writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* What one block leaves behind; storage for the next is kept. */
static void end_block(struct block_writer *w)
{
    shelf_clear(w);
    objstore_upload_abort(w->upload);
    parquet_writer_free(w->parquet);
    bloom_free(w->bloom);
    w->upload = NULL;
    w->parquet = NULL;
    w->bloom = NULL;
    w->traces = 0;
    vec_reset(&w->ids);
    vec_reset(&w->last_ids);
    buf_reset(&w->encoded);
    w->start_unix_ns = w->end_unix_ns = 0;
}

void block_writer_free(struct block_writer *w)
{
    if (!w)
        return;
    end_block(w);
    shredder_free(w->shredder);
    buf_clear(&w->key);
    buf_clear(&w->encoded);
    vec_free(&w->ids);
    vec_free(&w->last_ids);
    free(w);
}

/* Bytes of the one filter that `count` ids need, rounded up to whole words. Tempo sizes every shard
 * at the configured bytes, 100 KB even for one trace; readers take the size from the object. */
static uint32_t bloom_bytes(const struct block_writer *w, uint64_t count)
{
    double bits = ceil(-(double)count * log(w->opts.bloom_false_positive) / (M_LN2 * M_LN2));
    double bytes = ceil(bits / 64) * 8;
    return bytes < w->opts.bloom_shard_bytes ? (uint32_t)bytes : w->opts.bloom_shard_bytes;
}

static int bloom_begin(struct block_writer *w, uint64_t count, struct err *err)
{
    return bloom_new(count, w->opts.bloom_false_positive, bloom_bytes(w, count), &w->bloom, err);
}

static int drain(void *ctx, struct buf *out, struct err *err)
{
    struct block_writer *w = ctx;
    int rc = objstore_upload_write(w->upload, buf_view(out), err);
    buf_reset(out);
    return rc;
}

int block_writer_begin(struct block_writer *w, const struct block_writer_opts *opts,
                       struct err *err)
{
    const struct parquet_writer_opts popts = {
        .schema = block_schema,
        .node_count = block_schema_count,
        .created_by = "rubato",
        .drain = drain,
        .drain_ctx = w,
        .shelf = &w->shelf_ops,
    };
    end_block(w);
    w->opts = *opts;
    int rc = shredder_reset(w->shredder, opts->dedicated, opts->dedicated_count, err);
    if (rc == 0)
        rc = parquet_writer_new(&popts, &w->parquet, err);
    if (rc == 0 && opts->objects_max)
        rc = bloom_begin(w, opts->objects_max, err);
    buf_reset(&w->key);
    if (rc == 0 && block_key(&w->key, opts->tenant, opts->id, "data.parquet") < 0)
        rc = err_set(err, ERR_INVALID, "the block's key is too long");
    if (rc == 0)
        rc = objstore_upload_begin(w->store, buf_view(&w->key), opts->deadline_mono_ns, &w->upload,
                                   err);
    return rc;
}

static int flush_row_group(struct block_writer *w, struct err *err)
{
    uint64_t start, end;
    shredder_times(w->shredder, &start, &end);
    if (w->last_ids.count == 0 || start < w->start_unix_ns)
        w->start_unix_ns = start;
    if (end > w->end_unix_ns)
        w->end_unix_ns = end;
    if (!vec_push(&w->last_ids, w->last_id))
        return err_set(err, ERR_NOMEM, "no memory for a block's index");
    int rc = parquet_writer_row_group(w->parquet, shredder_columns(w->shredder), &w->encoded, err);
    if (rc == 0)
        rc = drain(w, &w->encoded, err);
    if (rc == 0)
        rc = shredder_reset(w->shredder, w->opts.dedicated, w->opts.dedicated_count, err);
    return rc;
}

uint32_t block_writer_pending(const struct block_writer *w)
{
    return shredder_rows(w->shredder);
}

int block_writer_cut(struct block_writer *w, struct err *err)
{
    return shredder_rows(w->shredder) ? flush_row_group(w, err) : 0;
}

int block_writer_add(struct block_writer *w, const struct trace *trace, struct err *err)
{
    return block_writer_add_rooted(w, trace, NULL, err);
}

int block_writer_add_rooted(struct block_writer *w, const struct trace *trace,
                            const struct shred_root *root, struct err *err)
{
    assert(trace->span_count > 0);
    int rc = shredder_add_rooted(w->shredder, trace, root, err);
    if (rc < 0)
        return rc;
    memcpy(w->last_id.id, trace->batch->spans.at[trace->spans[0]].trace_id, sizeof w->last_id.id);
    w->traces++;
    if (w->bloom)
        bloom_add(w->bloom, w->last_id.id);
    else if (!vec_push(&w->ids, w->last_id))
        return err_set(err, ERR_NOMEM, "no memory for a block's bloom filter");
    if (shredder_bytes(w->shredder) >= w->opts.row_group_bytes)
        return flush_row_group(w, err);
    return 0;
}

static int put(struct block_writer *w, const char *name, struct slice body, struct err *err)
{
    buf_reset(&w->key);
    if (block_key(&w->key, w->opts.tenant, w->opts.id, name) < 0)
        return err_set(err, ERR_INVALID, "the block's key is too long");
    return objstore_put(w->store, buf_view(&w->key), body, 0, w->opts.deadline_mono_ns, err);
}

static int put_blooms(struct block_writer *w, uint32_t *shards, struct err *err)
{
    int rc = w->bloom ? 0 : bloom_begin(w, w->ids.count, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < w->ids.count; i++)
        bloom_add(w->bloom, w->ids.at[i].id);
    *shards = bloom_shards(w->bloom);
    for (uint32_t i = 0; i < *shards && rc == 0; i++) {
        char name[24];
        snprintf(name, sizeof name, "bloom-%u", i);
        buf_reset(&w->encoded);
        rc = bloom_write(w->bloom, i, &w->encoded);
        if (rc < 0)
            err_set(err, rc, "no memory for a bloom filter");
        else
            rc = put(w, name, buf_view(&w->encoded), err);
    }
    return rc;
}

static int put_index(struct block_writer *w, struct err *err)
{
    buf_reset(&w->encoded);
    int rc =
        block_index_write((const uint8_t(*)[16])w->last_ids.at, w->last_ids.count, &w->encoded);
    if (rc < 0)
        return err_set(err, rc, "no memory for a block's index");
    return put(w, "index", buf_view(&w->encoded), err);
}

int block_writer_finish(struct block_writer *w, struct block_meta *meta, struct err *err)
{
    assert(w->traces > 0);
    assert(w->opts.objects_max == 0 || w->traces <= w->opts.objects_max);
    int rc = block_writer_cut(w, err);
    uint32_t footer_bytes = 0;
    if (rc == 0)
        rc = parquet_writer_finish(w->parquet, &w->encoded, &footer_bytes, err);
    if (rc == 0)
        rc = drain(w, &w->encoded, err);
    if (rc == 0) {
        struct objstore_upload *u = w->upload;
        w->upload = NULL;
        rc = objstore_upload_finish(u, err);
    }
    if (rc < 0)
        return rc;
    bool told = w->opts.start_unix_ns || w->opts.end_unix_ns;
    *meta = (struct block_meta){
        .version = BLOCK_VPARQUET4,
        .tenant = w->opts.tenant,
        .start_unix_ns = told ? w->opts.start_unix_ns : w->start_unix_ns,
        .end_unix_ns = told ? w->opts.end_unix_ns : w->end_unix_ns,
        .total_objects = (int64_t)w->traces,
        .size = parquet_writer_bytes(w->parquet),
        .compaction_level = w->opts.compaction_level,
        .total_records = parquet_writer_row_groups(w->parquet),
        .footer_size = footer_bytes,
        .replication_factor = w->opts.replication_factor,
        .dedicated = w->opts.dedicated,
        .dedicated_count = w->opts.dedicated_count,
    };
    memcpy(meta->id, w->opts.id, sizeof meta->id);
    rc = put_blooms(w, &meta->bloom_shards, err);
    if (rc == 0)
        rc = put_index(w, err);
    buf_reset(&w->encoded);
    if (rc == 0)
        rc = block_meta_write(meta, &w->encoded, err);
    if (rc == 0 && w->opts.commit)
        rc = w->opts.commit(w->opts.commit_ctx, err);
    if (rc == 0)
        rc = put(w, "meta.json", buf_view(&w->encoded), err);
    end_block(w);
    return rc;
}
