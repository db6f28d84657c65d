/* A bounded cache of footers, least recently used out first. Lookups are by a short list walk: the
 * bound keeps it to some hundreds of entries. */
#include "worker/footer_cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "worker/worker_limits.h"

struct footer_cache {
    pthread_mutex_t mu;
    size_t bytes_max;
    size_t bytes;                   /* hold mu; of cached footers */
    struct footer *newest, *oldest; /* hold mu */
};

int footer_cache_new(size_t bytes_max, struct footer_cache **out, struct err *err)
{
    struct footer_cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for the footer cache");
    c->bytes_max = bytes_max;
    pthread_mutex_init(&c->mu, NULL);
    *out = c;
    return 0;
}

static void footer_free(struct footer *f)
{
    arena_free(f->arena);
    free(f);
}

static void unlink_locked(struct footer_cache *c, struct footer *f)
{
    *(f->newer ? &f->newer->older : &c->newest) = f->older;
    *(f->older ? &f->older->newer : &c->oldest) = f->newer;
    f->newer = f->older = NULL;
}

static void link_newest_locked(struct footer_cache *c, struct footer *f)
{
    f->newer = NULL;
    f->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = f;
    c->newest = f;
}

static void evict_locked(struct footer_cache *c)
{
    while (c->bytes > c->bytes_max && c->oldest) {
        struct footer *f = c->oldest;
        unlink_locked(c, f);
        f->cached = false;
        c->bytes -= f->bytes;
        if (f->refs == 0)
            footer_free(f);
    }
}

void footer_cache_free(struct footer_cache *c)
{
    if (!c)
        return;
    c->bytes_max = 0;
    evict_locked(c);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

static struct footer *find_locked(struct footer_cache *c, const uint8_t id[16])
{
    for (struct footer *f = c->newest; f; f = f->older) {
        if (memcmp(f->block_id, id, 16) == 0)
            return f;
    }
    return NULL;
}

static int footer_load(struct objstore *store, const struct block_meta *meta,
                       uint64_t deadline_mono_ns, struct footer **out, struct err *err)
{
    struct footer *f = calloc(1, sizeof *f);
    if (!f || !(f->arena = arena_new(LIMIT_FOOTER_ARENA_BYTES))) {
        free(f);
        return err_set(err, ERR_NOMEM, "no memory for a footer");
    }
    memcpy(f->block_id, meta->id, sizeof f->block_id);
    int rc = block_open(store, meta, deadline_mono_ns, f->arena, &f->file, err);
    if (rc == 0)
        rc = block_schema_bind(f->file, meta->version, f->leaf_of, err);
    if (rc < 0) {
        footer_free(f);
        return rc;
    }
    f->bytes = arena_used(f->arena) + sizeof *f;
    f->refs = 1;
    *out = f;
    return 0;
}

int footer_cache_get(struct footer_cache *c, struct objstore *store, const struct block_meta *meta,
                     uint64_t deadline_mono_ns, struct footer **out, struct err *err)
{
    pthread_mutex_lock(&c->mu);
    struct footer *f = find_locked(c, meta->id);
    if (f) {
        f->refs++;
        unlink_locked(c, f);
        link_newest_locked(c, f);
    }
    pthread_mutex_unlock(&c->mu);
    if (f) {
        *out = f;
        return 0;
    }
    int rc = footer_load(store, meta, deadline_mono_ns, out, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&c->mu);
    if (!find_locked(c, meta->id)) { /* another thread may have been faster */
        (*out)->cached = true;
        c->bytes += (*out)->bytes;
        link_newest_locked(c, *out);
        evict_locked(c);
    }
    pthread_mutex_unlock(&c->mu);
    return 0;
}

void footer_cache_put(struct footer_cache *c, struct footer *f)
{
    pthread_mutex_lock(&c->mu);
    bool last = --f->refs == 0 && !f->cached;
    pthread_mutex_unlock(&c->mu);
    if (last)
        footer_free(f);
}
