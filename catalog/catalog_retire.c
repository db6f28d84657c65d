/* The end of blocks: marking, and deleting what is dead. */
#include "catalog/catalog_retire.h"

#include <stdlib.h>

#include "base/text.h"
#include "catalog/block_store.h"
#include "catalog/catalog_priv.h"

#define CLOCK_KEY SLICE("_rubato.clock")

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a list of dead blocks");
}

int catalog_dead_list(struct catalog *c, struct slice tenant, struct arena *a,
                      struct catalog_dead **list, size_t *count, struct err *err)
{
    int rc = 0;
    *list = NULL;
    *count = 0;
    pthread_mutex_lock(&c->shared.mu);
    const struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    if (t && !(*list = arena_array(a, struct catalog_dead, t->dead.count)))
        rc = arena_err(a, err, "a list of dead blocks");
    for (uint32_t i = 0; t && rc == 0 && i < t->dead.count; i++) {
        struct catalog_dead *d = &(*list)[(*count)++];
        *d = t->dead.at[i].dead;
        d->in_use = catalog_is_in_use_locked(c, tenant, d->id);
        if (d->block)
            catalog_block_acquire(d->block);
    }
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}

static struct catalog_dead_entry *entry_of(struct catalog_tenant *t, const uint8_t id[16])
{
    for (uint32_t i = 0; i < t->dead.count; i++) {
        if (memcmp(t->dead.at[i].dead.id, id, 16) == 0)
            return &t->dead.at[i];
    }
    return NULL;
}

int catalog_dead_load(struct catalog *c, struct slice tenant, uint64_t deadline_mono_ns,
                      struct err *err)
{
    VEC(struct catalog_block_id) wanted = {0};
    bool ok = true;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    for (uint32_t i = 0; t && ok && i < t->dead.count; i++) {
        struct catalog_block_id id;
        memcpy(id.id, t->dead.at[i].dead.id, 16);
        if (t->dead.at[i].dead.compacted && !t->dead.at[i].dead.block)
            ok = vec_push(&wanted, id);
    }
    pthread_mutex_unlock(&c->shared.mu);
    int rc = ok ? 0 : no_memory(err);
    for (uint32_t i = 0; i < wanted.count && rc == 0; i += CATALOG_META_BATCH) {
        uint32_t n = wanted.count - i < CATALOG_META_BATCH ? wanted.count - i : CATALOG_META_BATCH;
        struct catalog_block *blocks[CATALOG_META_BATCH];
        rc = catalog_metas_read(c, tenant, "meta.compacted.json", wanted.at + i, n,
                                deadline_mono_ns, blocks, NULL, err);
        pthread_mutex_lock(&c->shared.mu);
        t = catalog_tenant_locked(c, tenant, false);
        for (uint32_t k = 0; k < n; k++) {
            struct catalog_dead_entry *e = t && blocks[k] ? entry_of(t, blocks[k]->meta.id) : NULL;
            if (e && !e->dead.block)
                e->dead.block = blocks[k];
            else
                catalog_block_release(blocks[k]);
        }
        pthread_mutex_unlock(&c->shared.mu);
    }
    vec_free(&wanted);
    return rc;
}

/* ---- marking ---- */

/* Out of views, into the dead. */
static int bury(struct catalog *c, struct slice tenant, const uint8_t id[16], struct err *err)
{
    bool ok = true;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    struct catalog_block *b = t ? catalog_take_block_locked(t, id) : NULL;
    struct catalog_dead_entry *e = t ? entry_of(t, id) : NULL;
    if (t && !e) {
        struct catalog_dead_entry fresh = {0};
        memcpy(fresh.dead.id, id, 16);
        ok = vec_push(&t->dead, fresh);
        e = ok ? &t->dead.at[t->dead.count - 1] : NULL;
    }
    if (e) {
        e->dead.compacted = true;
        e->dead.modified_unix_ns = clock_unix_ns(c->opts.clock);
        e->marked_mono_ns = clock_mono_ns(c->opts.clock);
        if (!e->dead.block) {
            e->dead.block = b;
            b = NULL;
        }
    }
    if (t)
        catalog_tenant_gauges_locked(c, t);
    pthread_mutex_unlock(&c->shared.mu);
    catalog_block_release(b);
    return ok ? 0 : no_memory(err);
}

int catalog_mark_compacted(struct catalog *c, struct slice tenant, const uint8_t id[16],
                           uint64_t deadline_mono_ns, struct err *err)
{
    struct buf live, dead, body;
    buf_init(&live, 4096);
    buf_init(&dead, 4096);
    buf_init(&body, (size_t)1 << 20);
    int rc = 0;
    if (block_key(&live, tenant, id, "meta.json") < 0 ||
        block_key(&dead, tenant, id, "meta.compacted.json") < 0)
        rc = no_memory(err);
    if (rc == 0)
        rc = objstore_get(c->opts.store, buf_view(&live), deadline_mono_ns, &body, err);
    bool there = rc == 0;
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (rc == 0 && there)
        rc =
            objstore_put(c->opts.store, buf_view(&dead), buf_view(&body), 0, deadline_mono_ns, err);
    /* It is dead from now on for every reader, whether or not meta.json goes. */
    if (rc == 0)
        rc = bury(c, tenant, id, err);
    if (rc == 0 && there)
        rc = objstore_delete(c->opts.store, buf_view(&live), deadline_mono_ns, err);
    buf_clear(&live);
    buf_clear(&dead);
    buf_clear(&body);
    return rc;
}

/* ---- deleting ---- */

struct leftovers {
    size_t prefix_len;
    struct catalog_names names; /* but those of the metas */
    bool live, compacted;
    uint64_t compacted_unix_ns, newest_unix_ns;
};

static int collect(void *ctx, const struct objstore_list_item *item)
{
    struct leftovers *l = ctx;
    struct slice name = slice_from(item->key, l->prefix_len);
    if (item->modified_unix_ns > l->newest_unix_ns)
        l->newest_unix_ns = item->modified_unix_ns;
    if (slice_eq(name, SLICE("meta.json"))) {
        l->live = true;
        return 0;
    }
    if (slice_eq(name, SLICE("meta.compacted.json"))) {
        l->compacted = true;
        l->compacted_unix_ns = item->modified_unix_ns;
        return 0;
    }
    char *copy = strndup((const char *)item->key.ptr, item->key.len);
    if (!copy || !vec_push(&l->names.at, (struct catalog_name){copy, item->modified_unix_ns})) {
        free(copy);
        l->names.out_of_memory = true;
        return 1;
    }
    return 0;
}

static int delete_named(struct catalog *c, struct slice tenant, const uint8_t id[16],
                        const char *name, uint64_t deadline, struct err *err)
{
    struct buf key;
    buf_init(&key, 4096);
    int rc = block_key(&key, tenant, id, name) < 0
                 ? no_memory(err)
                 : objstore_delete(c->opts.store, buf_view(&key), deadline, err);
    buf_clear(&key);
    return rc;
}

static void forget_dead(struct catalog *c, struct slice tenant, const uint8_t id[16])
{
    struct catalog_block *b = NULL;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    struct catalog_dead_entry *e = t ? entry_of(t, id) : NULL;
    if (e) {
        b = e->dead.block;
        uint32_t at = (uint32_t)(e - t->dead.at);
        t->dead.count--;
        memmove(t->dead.at + at, t->dead.at + at + 1, (t->dead.count - at) * sizeof *e);
        catalog_tenant_gauges_locked(c, t);
    }
    pthread_mutex_unlock(&c->shared.mu);
    catalog_block_release(b);
}

int catalog_clear_block(struct catalog *c, struct slice tenant, const struct catalog_dead *dead,
                        uint64_t before_unix_ns, uint64_t deadline_mono_ns, bool *done,
                        struct err *err)
{
    struct buf prefix;
    struct leftovers l = {0};
    *done = false;
    buf_init(&prefix, 4096);
    if (block_key(&prefix, tenant, dead->id, "") < 0) {
        buf_clear(&prefix);
        return no_memory(err);
    }
    l.prefix_len = prefix.len;
    int rc = objstore_list(c->opts.store, buf_view(&prefix), slice_of(NULL, 0), false, collect, &l,
                           deadline_mono_ns, err);
    if (rc == 0 && l.names.out_of_memory)
        rc = no_memory(err);
    bool due = dead->compacted ? l.compacted && l.compacted_unix_ns < before_unix_ns
                               : !l.live && !l.compacted && l.newest_unix_ns < before_unix_ns;
    for (uint32_t i = 0; i < l.names.at.count && rc == 0 && due; i++)
        rc = objstore_delete(c->opts.store, slice_cstr(l.names.at.at[i].name), deadline_mono_ns,
                             err);
    /* A block that is half deleted is never taken for a live one, nor for an orphan. */
    if (rc == 0 && due && l.live)
        rc = delete_named(c, tenant, dead->id, "meta.json", deadline_mono_ns, err);
    if (rc == 0 && due && l.compacted)
        rc = delete_named(c, tenant, dead->id, "meta.compacted.json", deadline_mono_ns, err);
    bool gone = rc == 0 && !l.live && !l.compacted && l.names.at.count == 0;
    if (rc == 0 && (due || gone)) {
        *done = due && !gone;
        forget_dead(c, tenant, dead->id);
    }
    catalog_names_clear(&l.names);
    buf_clear(&prefix);
    return rc;
}

int catalog_store_time(struct catalog *c, uint64_t deadline_mono_ns, uint64_t *unix_ns,
                       struct err *err)
{
    struct objstore_info info;
    int rc = objstore_put(c->opts.store, CLOCK_KEY, SLICE("now\n"), 0, deadline_mono_ns, err);
    if (rc == 0)
        rc = objstore_head(c->opts.store, CLOCK_KEY, deadline_mono_ns, &info, err);
    if (rc == 0)
        *unix_ns = info.modified_unix_ns;
    return rc;
}

uint64_t catalog_full_listings(struct catalog *c)
{
    pthread_mutex_lock(&c->shared.mu);
    uint64_t n = c->shared.full_polls;
    pthread_mutex_unlock(&c->shared.mu);
    return n;
}
