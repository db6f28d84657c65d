/* Blocks that have had their time are marked, those that were marked long ago are deleted, and so
 * is what is left of blocks that were never finished. */
#include "base/text.h"
#include "compact/compact_priv.h"

/* The time that a block's age counts from. An end before the block was written is that of late
 * spans, which are kept as long as others; one far behind it is of a wrong clock. */
static uint64_t age_from(const struct catalog_block *b)
{
    uint64_t end = b->meta.end_unix_ns, created = b->created_unix_ns;
    return end > created && end - created <= FUTURE_END_NS ? end : created;
}

/* 0 is no time: nothing is ever deleted because of it. */
static bool older(uint64_t unix_ns, uint64_t than_ns, uint64_t now_unix_ns)
{
    return unix_ns && now_unix_ns > unix_ns && now_unix_ns - unix_ns > than_ns;
}

static void failed(struct compactor *k, struct slice tenant, const struct err *err)
{
    counter_add(k->m.retention_errors, 1);
    LOG_ERROR(&k->log, "retention failed and is tried again", KV_SLICE("tenant", tenant),
              KV_ERR(err));
}

static int mark_old(struct compactor *k, struct slice tenant, struct arena *a, struct err *err)
{
    struct compactor_tenant limits = compactor_limits(k, tenant);
    struct catalog_block **blocks;
    size_t count;
    uint64_t now = clock_unix_ns(k->opts.clock);
    int rc = catalog_compactable(k->opts.catalog, tenant, a, &blocks, &count, err);
    for (size_t i = 0; i < count; i++) {
        struct catalog_block *b = blocks[i];
        if (rc == 0 && !compactor_stopping(k) &&
            older(age_from(b), limits.block_retention_ns, now)) {
            char uuid[37];
            uuid_format(b->meta.id, uuid);
            rc = catalog_mark_compacted(k->opts.catalog, tenant, b->meta.id, 0, err);
            if (rc == 0) {
                counter_add(k->m.marked, 1);
                LOG_INFO(&k->log, "block is past its retention", KV_SLICE("tenant", tenant),
                         KV_STR("block", uuid));
            }
        }
        catalog_block_release(b);
    }
    return rc;
}

/* Deletes one dead block when it is due. Our clock says whether to look; the store's decides. */
static int clear_dead(struct compactor *k, struct slice tenant, const struct catalog_dead *d,
                      uint64_t *store_now, struct err *err)
{
    uint64_t keep = d->compacted ? k->opts.compacted_block_retention_ns : ORPHAN_AGE_NS;
    bool done = false;
    if ((!d->compacted && d->in_use) ||
        !older(d->modified_unix_ns, keep, clock_unix_ns(k->opts.clock)))
        return 0;
    int rc = *store_now ? 0 : catalog_store_time(k->opts.catalog, 0, store_now, err);
    if (rc == 0 && *store_now > keep)
        rc = catalog_clear_block(k->opts.catalog, tenant, d, *store_now - keep, 0, &done, err);
    if (rc == 0 && done) {
        char uuid[37];
        uuid_format(d->id, uuid);
        counter_add(d->compacted ? k->m.deleted : k->m.orphans, 1);
        LOG_INFO(&k->log, d->compacted ? "dead block deleted" : "orphaned block deleted",
                 KV_SLICE("tenant", tenant), KV_STR("block", uuid));
    }
    return rc;
}

static int clear_all(struct compactor *k, struct slice tenant, struct arena *a, uint64_t *store_now,
                     struct err *err)
{
    struct catalog_dead *list;
    size_t count;
    int rc = catalog_dead_list(k->opts.catalog, tenant, a, &list, &count, err);
    for (size_t i = 0; i < count; i++) {
        if (rc == 0 && !compactor_stopping(k))
            rc = clear_dead(k, tenant, &list[i], store_now, err);
        catalog_block_release(list[i].block);
    }
    return rc;
}

void compact_retention(struct compactor *k, struct slice tenant, uint64_t *store_now)
{
    struct err err = {0};
    struct arena *a = arena_new(LIMIT_COMPACT_ARENA_BYTES);
    int rc = a ? mark_old(k, tenant, a, &err) : err_set(&err, ERR_NOMEM, "no memory");
    if (rc == 0)
        rc = clear_all(k, tenant, a, store_now, &err);
    if (rc < 0)
        failed(k, tenant, &err);
    arena_free(a);
}
