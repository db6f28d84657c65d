/* A footer by pieces: as many bytes as the next row group's metadata takes, and some for those
 * behind it. */
#include "catalog/block_groups.h"

/* Fetched at once: some 25 row groups of ours. */
#define PIECE_BYTES ((uint64_t)512 << 10)
/* One row group's metadata, or all that stands before the first. Ours take 20 KB, Tempo's as much;
 * bounds may be long. Hit: ERR_CORRUPT, as if the footer ended there. */
#define LIMIT_GROUP_META_BYTES ((uint64_t)64 << 20)

static struct slice bytes_at(const struct block_groups *g, uint64_t at)
{
    return slice_from(buf_view(&g->piece), (size_t)(at - g->piece_at));
}

static bool piece_is_last(const struct block_groups *g)
{
    return g->piece_at + g->piece.len == g->footer_bytes;
}

/* Lets go of what stands before g->at, and reads on. */
static int piece_more(struct block_groups *g, struct err *err)
{
    struct slice kept = bytes_at(g, g->at);
    memmove(g->piece.ptr, kept.ptr, kept.len);
    g->piece.len = kept.len;
    g->piece_at = g->at;
    uint64_t left = g->footer_bytes - g->piece_at - g->piece.len;
    struct objstore_get get = {.key = g->key,
                               .range = OBJSTORE_RANGE,
                               .offset = g->footer_at + g->piece_at + g->piece.len,
                               .bytes = left < PIECE_BYTES ? left : PIECE_BYTES};
    buf_init(&get.out, (size_t)get.bytes);
    int rc = objstore_get_many(g->store, &get, 1, g->deadline_mono_ns, err);
    if (rc == 0 && get.out.len != get.bytes)
        rc = err_set(err, ERR_CORRUPT, "%.*s ends at byte %llu, inside its footer",
                     SLICE_ARGS(g->key), (unsigned long long)get.object_bytes);
    if (rc == 0 && (rc = buf_slice(&g->piece, buf_view(&get.out))) < 0)
        err_set(err, rc, "no memory for a footer");
    g->fetched += get.out.len;
    buf_clear(&get.out);
    return rc;
}

/* Whether what was ERR_CORRUPT may be whole with more bytes. */
static bool may_go_on(const struct block_groups *g, int rc)
{
    return rc == ERR_CORRUPT && !piece_is_last(g) &&
           bytes_at(g, g->at).len < LIMIT_GROUP_META_BYTES;
}

static int head_read(struct block_groups *g, uint64_t file_bytes, struct arena *a, struct err *err)
{
    for (;;) {
        size_t at = 0;
        int rc = parquet_footer_begin(bytes_at(g, 0), file_bytes, a, &g->file, &at, err);
        if (rc == 0) {
            g->at = at;
            g->count = g->file->row_group_count;
            g->rows_left = g->file->rows;
            return 0;
        }
        if (may_go_on(g, rc))
            rc = piece_more(g, err);
        if (rc < 0)
            return rc;
    }
}

int block_groups_open(struct block_groups *g, struct objstore *store, const struct block_meta *meta,
                      struct slice key, uint64_t deadline_mono_ns, struct arena *a, struct err *err)
{
    *g = (struct block_groups){.store = store, .key = key, .deadline_mono_ns = deadline_mono_ns};
    buf_init(&g->piece, (size_t)(LIMIT_GROUP_META_BYTES + PIECE_BYTES));
    struct block_tail tail;
    int rc = block_tail_read(store, key, meta, PIECE_BYTES, deadline_mono_ns, &tail, err);
    if (rc < 0)
        return rc;
    g->fetched = tail.bytes.len;
    g->footer_bytes = tail.footer_bytes;
    g->footer_at = tail.file_bytes - tail.footer_bytes - 8;
    struct slice footer = block_tail_footer(&tail);
    if (footer.len == 0)
        rc = piece_more(g, err);
    else if ((rc = buf_slice(&g->piece, footer)) < 0)
        err_set(err, rc, "no memory for a footer");
    rc = rc < 0 ? rc : head_read(g, tail.file_bytes, a, err);
    if (rc < 0) {
        err_wrap(err, "%.*s", SLICE_ARGS(key));
        block_groups_clear(g);
    }
    buf_clear(&tail.bytes);
    return rc;
}

void block_groups_clear(struct block_groups *g)
{
    buf_clear(&g->piece);
}

static int end_check(const struct block_groups *g, struct err *err)
{
    if (g->rows_left == 0)
        return 1;
    return err_set(err, ERR_CORRUPT, "%.*s: footer tells of %lld rows, its row groups have %lld",
                   SLICE_ARGS(g->key), (long long)g->file->rows,
                   (long long)(g->file->rows - g->rows_left));
}

int block_groups_next(struct block_groups *g, struct arena *a, struct err *err)
{
    if (g->next == g->count)
        return end_check(g, err);
    for (;;) {
        size_t taken;
        arena_reset(a);
        int rc = parquet_footer_row_group(g->file, bytes_at(g, g->at), a, &g->current, &taken, err);
        if (rc == 0) {
            g->at += taken;
            g->next++;
            g->rows_left -= g->current.rows;
            g->file->row_groups = &g->current;
            return 0;
        }
        if (may_go_on(g, rc))
            rc = piece_more(g, err);
        else
            err_wrap(err, "%.*s", SLICE_ARGS(g->key));
        if (rc < 0)
            return rc;
    }
}
