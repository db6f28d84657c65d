/* Listing and loading blocks. What a listing finds is put together first and becomes the
 * catalogue's in one step, once the compaction plans are known too: a view in between would have a
 * plan's output beside its inputs. */
#include <assert.h>
#include <stdlib.h>

#include "base/text.h"
#include "block/tenant_index.h"
#include "catalog/block_store.h"
#include "catalog/catalog_priv.h"

#define LIMIT_META_BYTES ((size_t)1 << 20)
/* A tenant index as stored, and what is made of it: some 100 bytes, and some 500, a block. */
#define LIMIT_INDEX_BYTES ((size_t)128 << 20)
#define LIMIT_INDEX_ARENA_BYTES ((size_t)1 << 30)
/* The tenant index is two requests at most, so it is not worth it for less. */
#define INDEX_WORTH_BLOCKS 3
/* How far the store's clock may be behind or before ours, where nothing but a second listing hangs
 * on it. */
#define CLOCK_SKEW_NS (60 * NS_PER_S)
/* How often a tenant is listed again because blocks went while they were read. */
#define LISTINGS_MORE 3

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the list of blocks");
}

/* ---- blocks ---- */

struct catalog_block *catalog_block_new(const struct block_meta *meta, uint64_t created_unix_ns)
{
    struct arena *a = arena_new((size_t)1 << 20);
    struct catalog_block *b = a ? arena_zalloc(a, sizeof *b) : NULL;
    struct block_dedicated *dedicated =
        b ? arena_array(a, struct block_dedicated, meta->dedicated_count) : NULL;
    if (!dedicated) {
        arena_free(a);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->arena = a;
    b->meta = *meta;
    b->created_unix_ns = created_unix_ns;
    bool ok = arena_slice(a, meta->tenant, &b->meta.tenant);
    for (size_t i = 0; i < meta->dedicated_count && ok; i++) {
        dedicated[i] = meta->dedicated[i];
        ok = arena_slice(a, meta->dedicated[i].name, &dedicated[i].name);
    }
    b->meta.dedicated = dedicated;
    return ok ? b : catalog_block_release(b);
}

bool catalog_add_block_locked(struct catalog *c, struct catalog_block *b)
{
    struct catalog_tenant *t = catalog_tenant_locked(c, b->meta.tenant, true);
    bool ok = t && catalog_insert_block_locked(c, t, b);
    if (ok)
        catalog_tenant_gauges_locked(c, t);
    else
        catalog_block_release(b);
    return ok;
}

struct catalog_block *catalog_take_block_locked(struct catalog_tenant *t, const uint8_t id[16])
{
    bool found;
    uint32_t at = catalog_block_find(t, id, &found);
    if (!found)
        return NULL;
    struct catalog_block *b = t->blocks.at[at];
    t->blocks.count--;
    memmove(t->blocks.at + at, t->blocks.at + at + 1,
            (t->blocks.count - at) * sizeof t->blocks.at[0]);
    return b;
}

static struct catalog_block *block_parse(struct catalog *c, struct slice tenant,
                                         const uint8_t id[16], struct slice json)
{
    struct arena *a = arena_new(LIMIT_META_BYTES * 4);
    struct catalog_block *b = a ? arena_zalloc(a, sizeof *b) : NULL;
    struct err err = {0};
    int rc = b ? block_meta_parse(json, a, &b->meta, &err) : err_set(&err, ERR_NOMEM, "no memory");
    if (rc == 0 && (memcmp(b->meta.id, id, 16) != 0 || !slice_eq(b->meta.tenant, tenant)))
        rc = err_set(&err, ERR_CORRUPT, "meta.json names another block or tenant");
    if (rc < 0) {
        char uuid[37];
        uuid_format(id, uuid);
        counter_add(c->m.bad_blocks, 1);
        LOG_ERROR(&c->log, "block cannot be read and is left out", KV_SLICE("tenant", tenant),
                  KV_STR("block", uuid), KV_ERR(&err));
        arena_free(a);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->arena = a;
    return b;
}

int catalog_metas_read(struct catalog *c, struct slice tenant, const char *name,
                       const struct catalog_block_id *ids, size_t count, uint64_t deadline,
                       struct catalog_block **out, size_t *missing, struct err *err)
{
    size_t none = 0;
    assert(count <= CATALOG_META_BATCH);
    struct objstore_get gets[CATALOG_META_BATCH];
    struct buf keys[CATALOG_META_BATCH];
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = NULL;
        buf_init(&keys[i], 4096);
        gets[i] = (struct objstore_get){.range = OBJSTORE_WHOLE};
        buf_init(&gets[i].out, LIMIT_META_BYTES);
        if (rc == 0 && block_key(&keys[i], tenant, ids[i].id, name) < 0)
            rc = no_memory(err);
        gets[i].key = buf_view(&keys[i]);
    }
    if (rc == 0 && count)
        objstore_get_many(c->opts.store, gets, count, deadline, NULL);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (gets[i].rc == 0) {
            out[i] = block_parse(c, tenant, ids[i].id, buf_view(&gets[i].out));
        } else if (gets[i].rc == ERR_NOTFOUND) {
            none++;
        } else {
            rc = gets[i].rc;
            if (err)
                *err = gets[i].err;
        }
    }
    for (size_t i = 0; i < count; i++) {
        buf_clear(&keys[i]);
        buf_clear(&gets[i].out);
        if (rc < 0)
            out[i] = catalog_block_release(out[i]);
    }
    if (missing)
        *missing = none;
    return rc;
}

/* Releases those of blocks[0..count) that are damaged, and leaves NULL in their place; all, when
 * the store fails. */
static int blocks_admit(struct catalog *c, struct catalog_block **blocks, size_t count,
                        const bool *blooms_seen, uint64_t deadline, struct err *err)
{
    struct block_check checks[CATALOG_META_BATCH];
    for (size_t i = 0; i < count; i++)
        checks[i] = (struct block_check){.meta = &blocks[i]->meta,
                                         .blooms_seen = blooms_seen && blooms_seen[i]};
    int rc = block_check_many(c->opts.store, checks, count, deadline, err);
    for (size_t i = 0; i < count; i++) {
        if (rc < 0 || !block_quarantine_tell(c->quarantine, &checks[i]))
            blocks[i] = catalog_block_release(blocks[i]);
    }
    return rc;
}

int catalog_block_load(struct catalog *c, struct slice tenant, const uint8_t id[16],
                       uint64_t deadline, struct err *err)
{
    struct catalog_block_id one;
    struct catalog_block *b;
    memcpy(one.id, id, 16);
    int rc = catalog_metas_read(c, tenant, "meta.json", &one, 1, deadline, &b, NULL, err);
    if (rc < 0 || !b)
        return rc;
    b->created_unix_ns = clock_unix_ns(c->opts.clock);
    rc = blocks_admit(c, &b, 1, NULL, deadline, err);
    if (rc < 0 || !b)
        return rc;
    pthread_mutex_lock(&c->shared.mu);
    bool ok = catalog_add_block_locked(c, b);
    pthread_mutex_unlock(&c->shared.mu);
    return ok ? 0 : no_memory(err);
}

/* A block that was taken from an index has been looked at; a damaged one goes. */
static void checked(struct catalog *c, struct catalog_block *b, bool whole)
{
    pthread_mutex_lock(&c->shared.mu);
    b->unchecked = false;
    struct catalog_tenant *t = catalog_tenant_locked(c, b->meta.tenant, false);
    struct catalog_block *had = t && !whole ? catalog_take_block_locked(t, b->meta.id) : NULL;
    if (had)
        catalog_tenant_gauges_locked(c, t);
    pthread_mutex_unlock(&c->shared.mu);
    catalog_block_release(had);
}

int catalog_blocks_check(struct catalog *c, uint64_t deadline, struct err *err)
{
    for (;;) {
        struct catalog_block *blocks[CATALOG_META_BATCH], *kept[CATALOG_META_BATCH];
        bool seen[CATALOG_META_BATCH];
        size_t count = 0;
        pthread_mutex_lock(&c->shared.mu);
        for (uint32_t i = 0; i < c->shared.tenants.count; i++) {
            const struct catalog_tenant *t = c->shared.tenants.at[i];
            for (uint32_t k = 0; k < t->blocks.count && count < CATALOG_META_BATCH; k++) {
                if (t->blocks.at[k]->unchecked)
                    blocks[count++] = catalog_block_acquire(t->blocks.at[k]);
            }
        }
        pthread_mutex_unlock(&c->shared.mu);
        if (count == 0)
            return 0;
        for (size_t i = 0; i < count; i++) {
            kept[i] = catalog_block_acquire(blocks[i]);
            seen[i] = true;
        }
        int rc = blocks_admit(c, kept, count, seen, deadline, err);
        for (size_t i = 0; i < count; i++) {
            if (rc == 0)
                checked(c, blocks[i], kept[i] != NULL);
            catalog_block_release(blocks[i]);
            catalog_block_release(kept[i]);
        }
        if (rc < 0)
            return rc;
    }
}

/* ---- listing ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 16); /* the id is the first member of what is compared */
}

static_assert(offsetof(struct catalog_listed_block, id) == 0, "compare_ids");
static_assert(offsetof(struct catalog_block_id, id) == 0, "compare_ids");
static_assert(offsetof(struct catalog_dead_entry, dead.id) == 0, "compare_ids");

static const struct catalog_listed_block *listed_find(const struct catalog_tenant_listing *t,
                                                      const uint8_t id[16])
{
    return t->listed.count
               ? bsearch(id, t->listed.at, t->listed.count, sizeof t->listed.at[0], compare_ids)
               : NULL;
}

static bool is_live(const struct catalog_listed_block *b)
{
    return b && b->live && !b->compacted;
}

struct collect {
    struct catalog_tenant_listing *t;
    size_t prefix_len;
    bool out_of_memory;
};

static void note_object(struct catalog_listed_block *b, struct slice name,
                        const struct objstore_list_item *item)
{
    uint64_t shard;
    if (item->modified_unix_ns > b->newest_unix_ns)
        b->newest_unix_ns = item->modified_unix_ns;
    if (slice_eq(name, SLICE("meta.json"))) {
        b->live = true;
        b->created_unix_ns = item->modified_unix_ns;
    } else if (slice_eq(name, SLICE("meta.compacted.json"))) {
        b->compacted = true;
        b->compacted_unix_ns = item->modified_unix_ns;
    } else if (slice_eq(name, SLICE("nocompact.flg"))) {
        b->flagged = true;
    } else if (slice_eq(name, SLICE("data.parquet"))) {
        b->data_bytes = item->bytes;
    } else if (slice_starts(name, SLICE("bloom-")) && item->bytes &&
               parse_u64(slice_from(name, 6), &shard) && shard < UINT32_MAX) {
        b->bloom_count++;
        if (shard > b->bloom_last)
            b->bloom_last = (uint32_t)shard;
    }
}

static int collect_object(void *ctx, const struct objstore_list_item *item)
{
    struct collect *c = ctx;
    struct catalog_tenant_listing *t = c->t;
    struct slice rest = slice_from(item->key, c->prefix_len);
    struct catalog_listed_block b = {0};
    if (slice_eq(rest, SLICE(TENANT_INDEX_PB)))
        t->index_pb = true;
    if (slice_eq(rest, SLICE(TENANT_INDEX_JSON)))
        t->index_json = true;
    if (rest.len < 38 || rest.ptr[36] != '/' || !uuid_parse(slice_of(rest.ptr, 36), b.id))
        return 0;
    struct catalog_listed_block *last = t->listed.count ? &t->listed.at[t->listed.count - 1] : NULL;
    if (!last || memcmp(last->id, b.id, 16) != 0) {
        if (!vec_push(&t->listed, b)) {
            c->out_of_memory = true;
            return 1;
        }
        last = &t->listed.at[t->listed.count - 1];
    }
    note_object(last, slice_from(rest, 37), item);
    return 0;
}

static int list_objects(struct catalog *c, struct catalog_tenant_listing *t, uint64_t deadline,
                        struct err *err)
{
    struct buf prefix;
    buf_init(&prefix, 4096);
    vec_reset(&t->listed);
    t->index_pb = t->index_json = false;
    int rc = buf_printf(&prefix, "%s/", t->name);
    struct collect collect = {.t = t, .prefix_len = prefix.len};
    if (rc == 0)
        rc = objstore_list(c->opts.store, buf_view(&prefix), slice_of(NULL, 0), false,
                           collect_object, &collect, deadline, err);
    if (rc < 0 || collect.out_of_memory)
        rc = rc < 0 && rc != ERR_NOMEM ? rc : no_memory(err);
    /* Directories of a store may list in another order than UUIDs compare. */
    if (t->listed.count)
        qsort(t->listed.at, t->listed.count, sizeof t->listed.at[0], compare_ids);
    buf_clear(&prefix);
    return rc;
}

/* Whether another program may have compacted blocks while we listed: then the block that has taken
 * their place may have been passed by, and only a listing that begins now is sure to show it. What
 * plans say is followed instead (catalog_listing_follow_plans). */
static bool compacted_meanwhile(struct catalog *c, const struct catalog_listing *l,
                                const struct catalog_tenant_listing *t)
{
    bool found = false;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < t->listed.count && !found; i++) {
        const struct catalog_listed_block *b = &t->listed.at[i];
        found = b->compacted && b->compacted_unix_ns + CLOCK_SKEW_NS >= l->started_unix_ns &&
                !catalog_is_superseded_locked(c, slice_cstr(t->name), b->id);
    }
    pthread_mutex_unlock(&c->shared.mu);
    return found;
}

static struct catalog_tenant_listing *tenant_listing(struct catalog_listing *l, struct slice name,
                                                     bool make)
{
    for (uint32_t i = 0; i < l->tenants.count; i++) {
        if (slice_eq(slice_cstr(l->tenants.at[i]->name), name))
            return l->tenants.at[i];
    }
    struct catalog_tenant_listing *t = make ? calloc(1, sizeof *t) : NULL;
    if (!t || !(t->name = strndup((const char *)name.ptr, name.len)) || !vec_push(&l->tenants, t)) {
        if (t)
            free(t->name);
        free(t);
        return NULL;
    }
    return t;
}

static void fresh_clear(struct catalog_tenant_listing *t)
{
    for (uint32_t i = 0; i < t->fresh.count; i++)
        catalog_block_release(t->fresh.at[i]);
    vec_reset(&t->fresh);
}

void catalog_listing_clear(struct catalog_listing *l)
{
    for (uint32_t i = 0; i < l->tenants.count; i++) {
        struct catalog_tenant_listing *t = l->tenants.at[i];
        fresh_clear(t);
        vec_free(&t->fresh);
        vec_free(&t->listed);
        vec_free(&t->known);
        free(t->name);
        free(t);
    }
    vec_free(&l->tenants);
}

/* ---- loading what is new ---- */

/* What the listing shows is what meta.json tells of the block's objects. */
static bool sizes_fit(const struct catalog_listed_block *l, const struct block_meta *m)
{
    return m->size && l->data_bytes == m->size && m->bloom_shards &&
           l->bloom_count == m->bloom_shards && l->bloom_last == m->bloom_shards - 1;
}

static bool blooms_fit(const struct catalog_listed_block *l, const struct block_meta *m)
{
    return m->bloom_shards && l->bloom_count == m->bloom_shards &&
           l->bloom_last == m->bloom_shards - 1;
}

static int load_batch(struct catalog *c, struct catalog_tenant_listing *t,
                      const struct catalog_block_id *ids, size_t count, uint64_t deadline,
                      struct err *err)
{
    struct catalog_block *blocks[CATALOG_META_BATCH];
    bool seen[CATALOG_META_BATCH];
    size_t parsed = 0;
    size_t missing;
    int rc = catalog_metas_read(c, slice_cstr(t->name), "meta.json", ids, count, deadline, blocks,
                                &missing, err);
    t->vanished |= missing > 0;
    for (size_t i = 0; i < count; i++) {
        if (!blocks[i])
            continue;
        const struct catalog_listed_block *l = listed_find(t, ids[i].id);
        /* Its meta.json may have come after the listing had passed. */
        blocks[i]->created_unix_ns =
            l && l->live ? l->created_unix_ns : clock_unix_ns(c->opts.clock);
        seen[parsed] = l && blooms_fit(l, &blocks[i]->meta);
        blocks[parsed++] = blocks[i];
    }
    if (rc == 0 && !vec_reserve(&t->fresh, parsed))
        rc = no_memory(err);
    if (rc == 0)
        rc = blocks_admit(c, blocks, parsed, seen, deadline, err);
    for (size_t i = 0; i < parsed; i++) {
        if (rc < 0)
            catalog_block_release(blocks[i]);
        else if (blocks[i])
            t->fresh.at[t->fresh.count++] = blocks[i];
    }
    return rc;
}

typedef int(index_read_fn)(struct slice bytes, struct arena *a, struct tenant_index *out,
                           struct err *err);

/* ERR_NOTFOUND: there is none. */
static int index_get(struct catalog *c, const char *tenant, const char *name, index_read_fn *read,
                     uint64_t deadline, struct arena *a, struct tenant_index *out, struct err *err)
{
    struct buf key, body;
    buf_init(&key, 4096);
    buf_init(&body, LIMIT_INDEX_BYTES);
    int rc = buf_printf(&key, "%s/%s", tenant, name);
    if (rc == 0)
        rc = objstore_get(c->opts.store, buf_view(&key), deadline, &body, err);
    if (rc == 0)
        rc = read(buf_view(&body), a, out, err);
    if (rc < 0 && rc != ERR_NOTFOUND) {
        struct slice label = slice_cstr(tenant);
        counter_add(metrics_counter_with(c->m.index_errors, &label), 1);
        LOG_WARN(&c->log, "tenant index cannot be read", KV_SLICE("key", buf_view(&key)),
                 KV_ERR(err));
    }
    buf_clear(&key);
    buf_clear(&body);
    return rc;
}

static int compare_metas(const void *a, const void *b)
{
    return memcmp(((const struct block_meta *)a)->id, ((const struct block_meta *)b)->id, 16);
}

/* Takes from the tenant index what the listing shows alive. The index saves requests and decides
 * nothing: what is not in it is read from its meta.json, and so is all when there is none. Leaves
 * in ids what is still to be read. */
static int load_from_index(struct catalog *c, struct catalog_tenant_listing *t,
                           struct catalog_block_id *ids, uint32_t *count, uint64_t deadline,
                           struct err *err)
{
    struct tenant_index index = {0};
    struct err why = {0};
    struct arena *a = arena_new(LIMIT_INDEX_ARENA_BYTES);
    int rc = !a ? ERR_NOMEM : ERR_NOTFOUND;
    if (rc == ERR_NOTFOUND && t->index_pb)
        rc =
            index_get(c, t->name, TENANT_INDEX_PB, tenant_index_read_pb, deadline, a, &index, &why);
    if (rc < 0 && a && t->index_json)
        rc = index_get(c, t->name, TENANT_INDEX_JSON, tenant_index_read_json, deadline, a, &index,
                       &why);
    if (rc == 0 && index.live_count)
        qsort(index.live, index.live_count, sizeof *index.live, compare_metas);
    uint32_t left = 0;
    bool ok = true;
    for (uint32_t i = 0; rc == 0 && ok && i < *count; i++) {
        struct block_meta key = {0};
        memcpy(key.id, ids[i].id, 16);
        const struct block_meta *m = index.live_count ? bsearch(&key, index.live, index.live_count,
                                                                sizeof key, compare_metas)
                                                      : NULL;
        const struct catalog_listed_block *l = listed_find(t, ids[i].id);
        if (!m || !slice_eq(m->tenant, slice_cstr(t->name)) || !sizes_fit(l, m)) {
            ids[left++] = ids[i];
            continue;
        }
        struct catalog_block *b = catalog_block_new(m, l->created_unix_ns);
        ok = b && vec_push(&t->fresh, b);
        if (ok)
            b->unchecked = true;
        else
            catalog_block_release(b);
    }
    if (rc == 0)
        *count = left;
    arena_free(a);
    return ok ? 0 : no_memory(err);
}

static int load_fresh(struct catalog *c, struct catalog_tenant_listing *t, bool first,
                      uint64_t deadline, struct err *err)
{
    VEC(struct catalog_block_id) fresh = {0};
    int rc = 0;
    t->vanished = false;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < t->listed.count && rc == 0; i++) {
        const struct catalog_listed_block *b = &t->listed.at[i];
        struct catalog_block_id id;
        memcpy(id.id, b->id, 16);
        if (!is_live(b) || catalog_is_superseded_locked(c, slice_cstr(t->name), b->id) ||
            (t->known.count && bsearch(id.id, t->known.at, t->known.count, 16, compare_ids)))
            continue;
        if (!vec_push(&fresh, id))
            rc = no_memory(err);
    }
    pthread_mutex_unlock(&c->shared.mu);
    if (rc == 0 && first && fresh.count >= INDEX_WORTH_BLOCKS && (t->index_pb || t->index_json))
        rc = load_from_index(c, t, fresh.at, &fresh.count, deadline, err);
    for (uint32_t i = 0; i < fresh.count && rc == 0; i += CATALOG_META_BATCH) {
        uint32_t n = fresh.count - i < CATALOG_META_BATCH ? fresh.count - i : CATALOG_META_BATCH;
        rc = load_batch(c, t, fresh.at + i, n, deadline, err);
    }
    vec_free(&fresh);
    return rc;
}

/* Blocks committed after known was taken are in neither list, and stay. */
static int list_tenant(struct catalog *c, struct catalog_listing *l, struct slice name,
                       uint64_t deadline, struct err *err)
{
    struct catalog_tenant_listing *t = tenant_listing(l, name, true);
    if (!t)
        return no_memory(err);
    pthread_mutex_lock(&c->shared.mu);
    const struct catalog_tenant *have = catalog_tenant_locked(c, name, false);
    bool first = !have || !have->listed;
    bool ok = !have || vec_reserve(&t->known, have->blocks.count);
    for (uint32_t i = 0; have && ok && i < have->blocks.count; i++)
        memcpy(t->known.at[t->known.count++].id, have->blocks.at[i]->meta.id, 16);
    pthread_mutex_unlock(&c->shared.mu);
    int rc = ok ? list_objects(c, t, deadline, err) : no_memory(err);
    if (rc == 0 && compacted_meanwhile(c, l, t))
        rc = list_objects(c, t, deadline, err);
    if (rc == 0)
        rc = load_fresh(c, t, first, deadline, err);
    /* One that was listed alive and is gone when it is read was compacted meanwhile as well. */
    for (int i = 0; i < LISTINGS_MORE && t->vanished && rc == 0; i++) {
        fresh_clear(t);
        rc = list_objects(c, t, deadline, err);
        if (rc == 0)
            rc = load_fresh(c, t, first, deadline, err);
    }
    return rc;
}

struct tenant_names {
    VEC(char *) at;
    bool out_of_memory;
};

static void name_known(void *ctx, struct slice name)
{
    struct tenant_names *l = ctx;
    char *copy = strndup((const char *)name.ptr, name.len);
    if (!copy || !vec_push(&l->at, copy)) {
        free(copy);
        l->out_of_memory = true;
    }
}

int catalog_listing_make(struct catalog *c, struct catalog_listing *l, uint64_t deadline,
                         struct err *err)
{
    struct catalog_names roots = {0};
    struct tenant_names known = {0};
    *l = (struct catalog_listing){.started_mono_ns = clock_mono_ns(c->opts.clock),
                                  .started_unix_ns = clock_unix_ns(c->opts.clock)};
    int rc = catalog_list_names(c, "", true, deadline, &roots, err);
    for (uint32_t i = 0; i < roots.at.count && rc == 0; i++) {
        struct slice name = slice_cstr(roots.at.at[i].name);
        if (name.len < 2 || name.ptr[name.len - 1] != '/')
            continue; /* an object: work.json, the cluster seed, our own state */
        name.len--;
        rc = list_tenant(c, l, name, deadline, err);
    }
    /* A tenant that has nothing left is no prefix any more. */
    if (rc == 0 && (catalog_tenants(c, name_known, &known) < 0 || known.out_of_memory))
        rc = no_memory(err);
    for (uint32_t i = 0; i < known.at.count; i++) {
        if (rc == 0 && !tenant_listing(l, slice_cstr(known.at.at[i]), false))
            rc = list_tenant(c, l, slice_cstr(known.at.at[i]), deadline, err);
        free(known.at.at[i]);
    }
    vec_free(&known.at);
    catalog_names_clear(&roots);
    return rc;
}

/* ---- outputs of plans ---- */

struct wanted_output {
    char *tenant;
    struct catalog_block_id id;
};

static bool is_fresh(const struct catalog_tenant_listing *t, const uint8_t id[16])
{
    for (uint32_t i = 0; i < t->fresh.count; i++) {
        if (memcmp(t->fresh.at[i]->meta.id, id, 16) == 0)
            return true;
    }
    return false;
}

/* The inputs of a plan may be marked by now, and the listing may have passed the output's place
 * before it was there. */
int catalog_listing_follow_plans(struct catalog *c, struct catalog_listing *l, uint64_t deadline,
                                 struct err *err)
{
    VEC(struct wanted_output) wanted = {0};
    int rc = 0;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.plans.count && rc == 0; i++) {
        const struct catalog_plan_state *p = c->shared.plans.at[i];
        struct wanted_output w;
        if (p->output_seen || p->ours)
            continue;
        memcpy(w.id.id, p->output, 16);
        w.tenant = strdup(p->tenant);
        if (!w.tenant || !vec_push(&wanted, w)) {
            free(w.tenant);
            rc = no_memory(err);
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
    for (uint32_t i = 0; i < wanted.count; i++) {
        const struct wanted_output *w = &wanted.at[i];
        struct catalog_tenant_listing *t = NULL;
        if (rc == 0 && !(t = tenant_listing(l, slice_cstr(w->tenant), true)))
            rc = no_memory(err);
        if (rc == 0 && !is_fresh(t, w->id.id) &&
            !catalog_has_block(c, slice_cstr(w->tenant), w->id.id))
            rc = load_batch(c, t, &w->id, 1, deadline, err);
        free(w->tenant);
    }
    vec_free(&wanted);
    return rc;
}

/* ---- into the catalogue ---- */

static bool is_marked(const struct catalog_tenant *t, const uint8_t id[16])
{
    for (uint32_t i = 0; i < t->dead.count; i++) {
        if (t->dead.at[i].marked_mono_ns && memcmp(t->dead.at[i].dead.id, id, 16) == 0)
            return true;
    }
    return false;
}

/* Dead blocks as listed, with the metas that are known; those that this process has marked since
 * the listing began stay. */
static bool apply_dead_locked(struct catalog_tenant *t, const struct catalog_tenant_listing *tl,
                              uint64_t started_mono_ns)
{
    VEC(struct catalog_dead_entry) old = {t->dead.at, t->dead.count, t->dead.cap};
    memset(&t->dead, 0, sizeof t->dead);
    vec_reset(&t->flagged);
    bool ok = true;
    for (uint32_t i = 0; i < tl->listed.count && ok; i++) {
        const struct catalog_listed_block *b = &tl->listed.at[i];
        struct catalog_block_id id;
        memcpy(id.id, b->id, 16);
        if (b->flagged)
            ok = vec_push(&t->flagged, id);
        if (is_live(b) || !ok)
            continue;
        struct catalog_dead_entry e = {
            .dead = {.compacted = b->compacted,
                     .modified_unix_ns = b->compacted ? b->compacted_unix_ns : b->newest_unix_ns}};
        memcpy(e.dead.id, b->id, 16);
        ok = vec_push(&t->dead, e);
    }
    uint32_t listed = t->dead.count;
    for (uint32_t i = 0; i < old.count; i++) {
        struct catalog_dead_entry *was = &old.at[i];
        struct catalog_dead_entry *now =
            listed ? bsearch(was, t->dead.at, listed, sizeof *was, compare_ids) : NULL;
        if (now && !now->dead.block) {
            now->dead.block = was->dead.block;
            continue;
        }
        if (!now && ok && was->marked_mono_ns >= started_mono_ns && vec_push(&t->dead, *was))
            continue;
        catalog_block_release(was->dead.block);
    }
    vec_free(&old);
    return ok;
}

/* The live block's meta goes with it when it dies. */
static void bury_locked(struct catalog_tenant *t, const uint8_t id[16])
{
    struct catalog_block *b = catalog_take_block_locked(t, id);
    for (uint32_t i = 0; b && i < t->dead.count; i++) {
        if (memcmp(t->dead.at[i].dead.id, id, 16) == 0 && t->dead.at[i].dead.compacted &&
            !t->dead.at[i].dead.block) {
            t->dead.at[i].dead.block = b;
            return;
        }
    }
    catalog_block_release(b);
}

static bool apply_tenant_locked(struct catalog *c, struct catalog_tenant_listing *tl,
                                uint64_t started_mono_ns)
{
    bool make = tl->fresh.count || tl->listed.count;
    struct catalog_tenant *t = catalog_tenant_locked(c, slice_cstr(tl->name), make);
    if (!t)
        return !make;
    for (uint32_t i = 0; i < tl->fresh.count; i++) {
        struct catalog_block *b = tl->fresh.at[i];
        tl->fresh.at[i] = NULL;
        /* Marked by this process while it was read. */
        if (is_marked(t, b->meta.id))
            catalog_block_release(b);
        else if (!catalog_insert_block_locked(c, t, b)) {
            catalog_block_release(b);
            return false;
        }
    }
    vec_reset(&tl->fresh);
    bool ok = apply_dead_locked(t, tl, started_mono_ns);
    for (uint32_t i = 0; i < tl->known.count; i++) {
        if (!is_live(listed_find(tl, tl->known.at[i].id)))
            bury_locked(t, tl->known.at[i].id);
    }
    t->listed = true;
    return ok;
}

bool catalog_listing_apply_locked(struct catalog *c, struct catalog_listing *l)
{
    bool ok = true;
    for (uint32_t i = 0; i < l->tenants.count && ok; i++)
        ok = apply_tenant_locked(c, l->tenants.at[i], l->started_mono_ns);
    /* An output that the listing shows as compacted was there. */
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        struct catalog_plan_state *p = c->shared.plans.at[i];
        const struct catalog_tenant_listing *t = tenant_listing(l, slice_cstr(p->tenant), false);
        const struct catalog_listed_block *b = t ? listed_find(t, p->output) : NULL;
        p->output_seen |= b && b->compacted;
    }
    catalog_plans_apply_locked(c);
    for (uint32_t i = 0; i < c->shared.tenants.count; i++)
        catalog_tenant_gauges_locked(c, c->shared.tenants.at[i]);
    return ok;
}
