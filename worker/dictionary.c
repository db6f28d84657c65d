/* Dictionaries without their columns. The reader of pages wants a data page behind a dictionary, so
 * one is fetched with it. */
#include "worker/dictionary.h"

#include "worker/worker_limits.h"

struct part {
    int leaf;
    struct column *out;
};

static const struct parquet_chunk *chunk_of(const struct scan *s, int leaf)
{
    return &s->footer->file->row_groups[s->row_group].chunks[s->footer->leaf_of[leaf]];
}

static bool worth_parting(const struct scan *s, int leaf)
{
    if (s->ready || s->have[leaf] || !scan_has(s, leaf))
        return false;
    const struct parquet_chunk *c = chunk_of(s, leaf);
    return c->has_dict && c->bytes > DICTIONARY_WHOLE_BYTES && c->offset_index_offset &&
           c->data_offset > c->offset;
}

static void release_buf(void *ctx)
{
    buf_clear(ctx);
}

static int init_gets(struct scan *s, struct objstore_get *gets, size_t count, struct err *err)
{
    struct buf key;
    struct slice name;
    buf_init(&key, 4096);
    int rc = block_key(&key, s->meta->tenant, s->meta->id, "data.parquet");
    bool kept = rc == 0 && arena_slice(s->arena, buf_view(&key), &name);
    buf_clear(&key);
    if (rc < 0)
        return err_set(err, rc, "the block's key is too long");
    if (!kept)
        return arena_err(s->arena, err, "a row group");
    for (size_t i = 0; i < count; i++) {
        gets[i] = (struct objstore_get){.key = name, .range = OBJSTORE_RANGE};
        buf_init(&gets[i].out, LIMIT_FETCH_BYTES);
        if (!arena_on_reset(s->arena, release_buf, &gets[i].out))
            return arena_err(s->arena, err, "a row group");
    }
    return 0;
}

static int run_gets(struct scan *s, struct objstore_get *gets, size_t count, struct err *err)
{
    enum query_step before = scan_step(s, QUERY_STEP_FETCH);
    int rc = objstore_get_many(s->store, gets, count, s->deadline_mono_ns, err);
    scan_step(s, before);
    s->stats->requests += count;
    for (size_t i = 0; i < count; i++) {
        s->stats->bytes_read += gets[i].out.len;
        if (rc == 0 && gets[i].out.len != gets[i].bytes)
            rc = err_set(err, ERR_CORRUPT, "the object ends %zu bytes behind byte %llu, not %llu",
                         gets[i].out.len, (unsigned long long)gets[i].offset,
                         (unsigned long long)gets[i].bytes);
    }
    return rc;
}

/* The first page's place, from the offset index that has been fetched. */
static int first_page(struct scan *s, const struct part *p, struct slice index,
                      struct parquet_page_location *out, struct err *err)
{
    struct parquet_page_location *pages;
    uint32_t count;
    int rc = parquet_offset_index_decode(s->footer->file, s->row_group,
                                         (uint32_t)s->footer->leaf_of[p->leaf], index, s->arena,
                                         &pages, &count, err);
    if (rc == 0 && (count == 0 || pages[0].first_row != 0 ||
                    pages[0].offset < chunk_of(s, p->leaf)->data_offset))
        rc = err_set(err, ERR_CORRUPT, "column %s: no page of row 0 behind the dictionary",
                     block_leaves[p->leaf].path);
    if (rc == 0)
        *out = pages[0];
    return rc;
}

static int fetch_parts(struct scan *s, const struct part *parts, size_t count, struct err *err)
{
    struct objstore_get *gets = arena_array(s->arena, struct objstore_get, 2 * count);
    struct parquet_page_location *first =
        arena_array(s->arena, struct parquet_page_location, count);
    if (!gets || !first)
        return arena_err(s->arena, err, "a row group");
    int rc = init_gets(s, gets, 2 * count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        const struct parquet_chunk *c = chunk_of(s, parts[i].leaf);
        gets[i].offset = c->offset_index_offset;
        gets[i].bytes = c->offset_index_bytes;
    }
    rc = run_gets(s, gets, count, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct parquet_chunk *c = chunk_of(s, parts[i].leaf);
        rc = first_page(s, &parts[i], buf_view(&gets[i].out), &first[i], err);
        gets[count + i].offset = c->offset;
        gets[count + i].bytes = first[i].offset - c->offset + first[i].bytes;
    }
    if (rc == 0)
        rc = run_gets(s, gets + count, count, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct parquet_chunk *c = chunk_of(s, parts[i].leaf);
        struct slice bytes = buf_view(&gets[count + i].out);
        rc = parquet_rows_decode(s->footer->file, s->row_group,
                                 (uint32_t)s->footer->leaf_of[parts[i].leaf],
                                 slice_of(bytes.ptr, (size_t)(c->data_offset - c->offset)),
                                 slice_from(bytes, (size_t)(first[i].offset - c->offset)), 0, 0, 1,
                                 s->arena, parts[i].out, err);
    }
    return rc;
}

int scan_dictionaries(struct scan *s, const int *leaves, size_t count, struct column *out,
                      struct err *err)
{
    struct part *parts = arena_array(s->arena, struct part, count);
    int *whole = arena_array(s->arena, int, count);
    size_t part_count = 0, whole_count = 0;
    if (!parts || !whole)
        return arena_err(s->arena, err, "a row group");
    for (size_t i = 0; i < count; i++) {
        if (worth_parting(s, leaves[i]))
            parts[part_count++] = (struct part){leaves[i], &out[i]};
        else
            whole[whole_count++] = leaves[i];
    }
    int rc = scan_need(s, whole, whole_count, err);
    if (rc == 0 && part_count)
        rc = fetch_parts(s, parts, part_count, err);
    if (rc < 0)
        return rc;
    whole_count = 0;
    for (size_t i = 0; i < part_count; i++) {
        if (!parts[i].out->has_dict) /* its first page makes no use of it */
            whole[whole_count++] = parts[i].leaf;
    }
    rc = scan_need(s, whole, whole_count, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (s->have[leaves[i]])
            out[i] = *scan_column(s, leaves[i]);
    }
    return rc;
}
