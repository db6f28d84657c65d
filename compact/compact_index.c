/* The tenant index: what the store has is compared with what is known after each full listing, and
 * written again where it differs. So any number of compactors agree, and one that has written an
 * older list is put right at the next listing. */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "block/tenant_index.h"
#include "compact/compact_priv.h"

#define LIMIT_INDEX_OBJECT_BYTES ((size_t)128 << 20)

/* The same for the same blocks in whatever order. */
static uint64_t fingerprint(const struct tenant_index *t)
{
    uint64_t sum = t->live_count + t->compacted_count;
    for (size_t i = 0; i < t->live_count; i++)
        sum += XXH3_64bits_withSeed(t->live[i].id, 16, 1);
    for (size_t i = 0; i < t->compacted_count; i++)
        sum += XXH3_64bits_withSeed(t->compacted[i].meta.id, 16, 2);
    return sum;
}

static int by_start(const void *x, const void *y)
{
    const struct block_meta *a = x, *b = y;
    if (a->start_unix_ns != b->start_unix_ns)
        return a->start_unix_ns < b->start_unix_ns ? -1 : 1;
    return memcmp(a->id, b->id, 16);
}

static int compacted_by_start(const void *x, const void *y)
{
    return by_start(&((const struct tenant_index_compacted *)x)->meta,
                    &((const struct tenant_index_compacted *)y)->meta);
}

/* What the index should say; metas point into blocks that view and dead hold. */
static int describe(struct compactor *k, const struct catalog_view *view,
                    const struct catalog_dead *dead, size_t dead_count, struct arena *a,
                    struct tenant_index *out, struct err *err)
{
    *out = (struct tenant_index){.created_unix_ns = clock_unix_ns(k->opts.clock)};
    out->live = arena_array(a, struct block_meta, view->block_count);
    out->compacted = arena_array(a, struct tenant_index_compacted, dead_count);
    if (!out->live || !out->compacted)
        return arena_err(a, err, "a tenant index");
    for (size_t i = 0; i < view->block_count; i++)
        out->live[out->live_count++] = view->blocks[i]->meta;
    for (size_t i = 0; i < dead_count; i++) {
        if (dead[i].compacted && dead[i].block)
            out->compacted[out->compacted_count++] =
                (struct tenant_index_compacted){dead[i].block->meta, dead[i].modified_unix_ns};
    }
    if (out->live_count)
        qsort(out->live, out->live_count, sizeof *out->live, by_start);
    if (out->compacted_count)
        qsort(out->compacted, out->compacted_count, sizeof *out->compacted, compacted_by_start);
    return 0;
}

static int key_of(struct buf *key, struct slice tenant, const char *name, struct err *err)
{
    buf_reset(key);
    int rc = buf_printf(key, "%.*s/%s", SLICE_ARGS(tenant), name);
    return rc < 0 ? err_set(err, rc, "no memory for a key") : 0;
}

/* What the store has. *there false: no index. One that cannot be read has a fingerprint that none
 * has. */
static int stored(struct compactor *k, struct slice tenant, struct arena *a, bool *there,
                  struct tenant_index *out, bool *readable, struct err *err)
{
    struct buf key, body;
    buf_init(&key, 4096);
    buf_init(&body, LIMIT_INDEX_OBJECT_BYTES);
    int rc = key_of(&key, tenant, TENANT_INDEX_PB, err);
    if (rc == 0)
        rc = objstore_get(k->opts.store, buf_view(&key), 0, &body, err);
    *there = rc == 0;
    *readable = rc == 0 && tenant_index_read_pb(buf_view(&body), a, out, NULL) == 0;
    buf_clear(&key);
    buf_clear(&body);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

typedef int(index_write_fn)(const struct tenant_index *index, struct buf *out, struct err *err);

static int write_one(struct compactor *k, struct slice tenant, const char *name,
                     index_write_fn *write, const struct tenant_index *index, struct err *err)
{
    struct buf key, body;
    buf_init(&key, 4096);
    buf_init(&body, LIMIT_INDEX_OBJECT_BYTES);
    int rc = key_of(&key, tenant, name, err);
    if (rc == 0)
        rc = write(index, &body, err);
    if (rc == 0)
        rc = objstore_put(k->opts.store, buf_view(&key), buf_view(&body), 0, 0, err);
    buf_clear(&key);
    buf_clear(&body);
    return rc;
}

static int remove_one(struct compactor *k, struct slice tenant, const char *name, struct err *err)
{
    struct buf key;
    buf_init(&key, 4096);
    int rc = key_of(&key, tenant, name, err);
    if (rc == 0)
        rc = objstore_delete(k->opts.store, buf_view(&key), 0, err);
    buf_clear(&key);
    return rc;
}

static int replace(struct compactor *k, struct slice tenant, const struct tenant_index *index,
                   struct err *err)
{
    /* The protobuf goes last: as long as it is there the next listing comes back to this. */
    if (index->live_count + index->compacted_count == 0) {
        int rc = remove_one(k, tenant, TENANT_INDEX_JSON, err);
        return rc < 0 ? rc : remove_one(k, tenant, TENANT_INDEX_PB, err);
    }
    int rc = write_one(k, tenant, TENANT_INDEX_PB, tenant_index_write_pb, index, err);
    return rc < 0 ? rc
                  : write_one(k, tenant, TENANT_INDEX_JSON, tenant_index_write_json, index, err);
}

static int compare_and_replace(struct compactor *k, struct slice tenant, struct arena *a,
                               const struct tenant_index *wanted, struct err *err)
{
    struct tenant_index have = {0};
    bool there, readable;
    int rc = stored(k, tenant, a, &there, &have, &readable, err);
    if (rc < 0)
        return rc;
    bool empty = wanted->live_count + wanted->compacted_count == 0;
    bool same = there ? readable && !empty && fingerprint(&have) == fingerprint(wanted) : empty;
    if (!same)
        rc = replace(k, tenant, wanted, err);
    uint64_t created = same && there ? have.created_unix_ns : wanted->created_unix_ns;
    uint64_t now = clock_unix_ns(k->opts.clock);
    gauge_set(metrics_gauge_with(k->m.index_builder, &tenant), 1);
    if (rc == 0)
        gauge_set(metrics_gauge_with(k->m.index_age, &tenant),
                  now > created ? (int64_t)((now - created) / NS_PER_S) : 0);
    return rc;
}

int compact_index(struct compactor *k, struct slice tenant, struct err *err)
{
    struct catalog_view view = {0};
    struct catalog_dead *dead = NULL;
    size_t dead_count = 0;
    struct tenant_index wanted;
    struct arena *a = arena_new(LIMIT_COMPACT_ARENA_BYTES);
    if (!a)
        return err_set(err, ERR_NOMEM, "no memory for a tenant index");
    int rc = catalog_dead_load(k->opts.catalog, tenant, 0, err);
    if (rc == 0)
        rc = catalog_view(k->opts.catalog, tenant, 0, a, &view, err);
    if (rc == 0)
        rc = catalog_dead_list(k->opts.catalog, tenant, a, &dead, &dead_count, err);
    if (rc == 0)
        rc = describe(k, &view, dead, dead_count, a, &wanted, err);
    if (rc == 0)
        rc = compare_and_replace(k, tenant, a, &wanted, err);
    if (rc < 0)
        counter_add(metrics_counter_with(k->m.index_errors, &tenant), 1);
    for (size_t i = 0; i < dead_count; i++)
        catalog_block_release(dead[i].block);
    catalog_view_release(&view);
    arena_free(a);
    return rc;
}
