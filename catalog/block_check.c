/* First sight of blocks: the last bytes of their data and the first of their bloom filters. */
#include "catalog/block_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/vec.h"
#include "block/parquet.h"
#include "catalog/block_store.h"

/* Requests of one wave. */
#define WAVE_GETS 512
/* What an old meta.json means that tells no shards. */
#define SHARDS_LEGACY 10
#define TAIL_BYTES 8

/* Damaged blocks that are remembered. Hit: the oldest is forgotten and may be told again. */
#define LIMIT_QUARANTINE 10000

/* One small read: of data.parquet (shard NO_SHARD) or of a bloom shard. */
struct probe {
    struct block_check *check;
    uint32_t shard;
};
#define NO_SHARD UINT32_MAX

struct wave {
    struct objstore *store;
    uint64_t deadline_mono_ns;
    struct probe probes[WAVE_GETS];
    struct objstore_get gets[WAVE_GETS];
    struct buf keys[WAVE_GETS];
    size_t count;
};

static uint32_t shards_of(const struct block_meta *m)
{
    return m->bloom_shards ? m->bloom_shards : SHARDS_LEGACY;
}

static int damaged(struct block_check *c, struct slice key, const char *what)
{
    if (c->rc == 0)
        c->rc = err_set(&c->err, ERR_CORRUPT, "%.*s %s", SLICE_ARGS(key), what);
    return 0;
}

static int tail_check(struct block_check *c, const struct objstore_get *get)
{
    const struct block_meta *m = c->meta;
    char what[128];
    uint32_t footer_bytes;
    if (m->size && get->object_bytes != m->size) {
        snprintf(what, sizeof what, "has %llu bytes, meta.json says %llu",
                 (unsigned long long)get->object_bytes, (unsigned long long)m->size);
        return damaged(c, get->key, what);
    }
    struct err err = {0};
    if (parquet_tail_decode(buf_view(&get->out), get->object_bytes, &footer_bytes, &err) < 0) {
        if (c->rc == 0)
            c->rc = err_set(&c->err, ERR_CORRUPT, "%.*s: %s", SLICE_ARGS(get->key), err.msg);
        return 0;
    }
    if (m->footer_size && footer_bytes != m->footer_size) {
        snprintf(what, sizeof what, "has a footer of %u bytes, meta.json says %u", footer_bytes,
                 m->footer_size);
        return damaged(c, get->key, what);
    }
    return 0;
}

/* What an answer says of its block: negative when it says nothing. */
static int probe_take(const struct probe *p, const struct objstore_get *get)
{
    if (get->rc == ERR_NOTFOUND)
        return damaged(p->check, get->key, "is missing");
    if (get->rc < 0)
        return get->rc;
    if (p->shard == NO_SHARD)
        return tail_check(p->check, get);
    return get->out.len ? 0 : damaged(p->check, get->key, "is empty");
}

static int wave_run(struct wave *w, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < w->count; i++)
        w->gets[i].key = buf_view(&w->keys[i]);
    if (w->count)
        objstore_get_many(w->store, w->gets, w->count, w->deadline_mono_ns, NULL);
    for (size_t i = 0; i < w->count; i++) {
        struct block_check *c = w->probes[i].check;
        int taken = probe_take(&w->probes[i], &w->gets[i]);
        if (taken < 0 && c->rc == 0) {
            c->rc = taken;
            c->err = w->gets[i].err;
        }
        if (taken < 0 && rc == 0) {
            rc = taken;
            if (err)
                *err = w->gets[i].err;
        }
        buf_clear(&w->gets[i].out);
    }
    w->count = 0;
    return rc;
}

static int probe_add(struct wave *w, struct block_check *c, uint32_t shard, struct err *err)
{
    char name[24] = "data.parquet";
    struct objstore_get *get = &w->gets[w->count];
    struct buf *key = &w->keys[w->count];
    *get = (struct objstore_get){.range = OBJSTORE_SUFFIX, .bytes = TAIL_BYTES};
    if (shard != NO_SHARD) {
        snprintf(name, sizeof name, "bloom-%u", shard);
        get->range = OBJSTORE_RANGE;
        get->bytes = 1;
    }
    buf_init(&get->out, TAIL_BYTES);
    buf_reset(key);
    if (block_key(key, c->meta->tenant, c->meta->id, name) < 0)
        return err_set(err, ERR_NOMEM, "no memory for a key");
    w->probes[w->count++] = (struct probe){c, shard};
    return w->count == WAVE_GETS ? wave_run(w, err) : 0;
}

int block_check_many(struct objstore *store, struct block_check *checks, size_t count,
                     uint64_t deadline_mono_ns, struct err *err)
{
    struct wave *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NOMEM, "no memory to check blocks");
    w->store = store;
    w->deadline_mono_ns = deadline_mono_ns;
    for (size_t i = 0; i < WAVE_GETS; i++)
        buf_init(&w->keys[i], 4096);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct block_check *c = &checks[i];
        uint32_t shards = shards_of(c->meta);
        c->rc = 0;
        c->err = (struct err){.code = ERR_OK};
        if (shards > LIMIT_BLOCK_CHECK_SHARDS) {
            c->rc = err_set(&c->err, ERR_CORRUPT,
                            "meta.json tells of %u bloom shards, at most %d "
                            "are taken",
                            shards, LIMIT_BLOCK_CHECK_SHARDS);
            continue;
        }
        rc = probe_add(w, c, NO_SHARD, err);
        for (uint32_t k = 0; k < shards && rc == 0 && !c->blooms_seen; k++)
            rc = probe_add(w, c, k, err);
    }
    if (rc == 0)
        rc = wave_run(w, err);
    for (size_t i = 0; i < WAVE_GETS; i++)
        buf_clear(&w->keys[i]);
    free(w);
    return rc;
}

/* ---- quarantine ---- */

struct known_bad {
    char *tenant;
    uint8_t id[16];
};

struct block_quarantine {
    struct log log;
    struct metrics_family *failed;
    VEC(struct known_bad) blocks; /* oldest first */
};

int block_quarantine_new(const struct log *log, struct metrics *metrics,
                         struct block_quarantine **out, struct err *err)
{
    static const char *const tenant_label[] = {"tenant"};
    struct block_quarantine *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(err, ERR_NOMEM, "no memory for the list of damaged blocks");
    q->log = *log;
    if (metrics)
        q->failed = metrics_counter_family(metrics, "tempodb_block_validation_failed_total",
                                           "Blocks found damaged or half written, not served.",
                                           tenant_label, 1);
    *out = q;
    return 0;
}

static void forget(struct block_quarantine *q, uint32_t at)
{
    free(q->blocks.at[at].tenant);
    q->blocks.count--;
    memmove(q->blocks.at + at, q->blocks.at + at + 1,
            (q->blocks.count - at) * sizeof q->blocks.at[0]);
}

void block_quarantine_free(struct block_quarantine *q)
{
    if (!q)
        return;
    while (q->blocks.count)
        forget(q, q->blocks.count - 1);
    vec_free(&q->blocks);
    free(q);
}

size_t block_quarantine_count(const struct block_quarantine *q)
{
    return q->blocks.count;
}

static bool remember(struct block_quarantine *q, const struct block_meta *m)
{
    struct known_bad bad;
    if (q->blocks.count == LIMIT_QUARANTINE)
        forget(q, 0);
    bad.tenant = strndup((const char *)m->tenant.ptr, m->tenant.len);
    memcpy(bad.id, m->id, sizeof bad.id);
    if (bad.tenant && vec_push(&q->blocks, bad))
        return true;
    free(bad.tenant);
    return false; /* it will be told again */
}

bool block_quarantine_tell(struct block_quarantine *q, const struct block_check *check)
{
    const struct block_meta *m = check->meta;
    uint32_t at = 0;
    char uuid[37];
    while (at < q->blocks.count && !(memcmp(q->blocks.at[at].id, m->id, 16) == 0 &&
                                     slice_eq(slice_cstr(q->blocks.at[at].tenant), m->tenant)))
        at++;
    bool known = at < q->blocks.count;
    uuid_format(m->id, uuid);
    if (check->rc == 0 && known) {
        LOG_INFO(&q->log, "block is whole now and is served", KV_SLICE("tenant", m->tenant),
                 KV_STR("block", uuid));
        forget(q, at);
    }
    if (check->rc == ERR_CORRUPT && !known) {
        if (q->failed)
            counter_add(metrics_counter_with(q->failed, &m->tenant), 1);
        LOG_ERROR(&q->log, "block is damaged and is not served", KV_SLICE("tenant", m->tenant),
                  KV_STR("block", uuid), KV_ERR(&check->err));
        remember(q, m);
    }
    return check->rc == 0;
}
