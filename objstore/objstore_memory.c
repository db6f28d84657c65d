/* A store in memory, for tests: a sorted array under one lock. Follows the contract to the letter,
 * so that what passes on it has a chance to pass on S3. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"
#include "objstore/objstore_priv.h"

struct object {
    struct slice key; /* malloc'ed */
    struct slice body;
    uint64_t modified_unix_ns;
    uint64_t version; /* its ETag */
};

struct memory_store {
    struct objstore base;
    pthread_mutex_t mu;
    VEC(struct object) objects; /* hold mu; sorted by key */
    uint64_t versions;          /* hold mu */
};

static struct memory_store *memory_of(struct objstore *s)
{
    return (struct memory_store *)s;
}

/* Index of the first key >= key. */
static uint32_t lower_bound(const struct memory_store *m, struct slice key)
{
    uint32_t from = 0, to = m->objects.count;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (slice_cmp(m->objects.at[mid].key, key) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static struct object *find_locked(struct memory_store *m, struct slice key)
{
    uint32_t i = lower_bound(m, key);
    return i < m->objects.count && slice_eq(m->objects.at[i].key, key) ? &m->objects.at[i] : NULL;
}

static bool copy_slice(struct slice s, struct slice *out)
{
    uint8_t *p = malloc(s.len ? s.len : 1);
    if (!p)
        return false;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    *out = slice_of(p, s.len);
    return true;
}

static void free_slice(struct slice s)
{
    free((void *)(uintptr_t)s.ptr);
}

static bool is_late(const struct objstore *s, uint64_t deadline_ns)
{
    return clock_mono_ns(s->clock) >= deadline_ns;
}

static int late(struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "the deadline has passed");
}

/* ---- reading ---- */

static int get_one(struct memory_store *m, struct objstore_get *g)
{
    uint64_t from, to;
    int rc = 0;
    pthread_mutex_lock(&m->mu);
    const struct object *o = find_locked(m, g->key);
    if (!o) {
        rc = err_set(&g->err, ERR_NOTFOUND, "no such object");
    } else {
        g->object_bytes = o->body.len;
        objstore_resolve_range(g, o->body.len, &from, &to);
        rc = buf_append(&g->out, o->body.ptr + from, (size_t)(to - from));
        if (rc < 0)
            err_set(&g->err, rc, "%llu bytes do not fit %zu", (unsigned long long)(to - from),
                    g->out.max);
    }
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static void memory_get_many(struct objstore *s, struct objstore_get *gets, size_t count,
                            uint64_t deadline_ns)
{
    for (size_t i = 0; i < count; i++) {
        if (gets[i].rc == 0)
            gets[i].rc =
                is_late(s, deadline_ns) ? late(&gets[i].err) : get_one(memory_of(s), &gets[i]);
    }
}

static int memory_head(struct objstore *s, struct slice key, uint64_t deadline_ns,
                       struct objstore_info *info, struct err *err)
{
    struct memory_store *m = memory_of(s);
    if (is_late(s, deadline_ns))
        return late(err);
    pthread_mutex_lock(&m->mu);
    const struct object *o = find_locked(m, key);
    if (o) {
        info->bytes = o->body.len;
        info->modified_unix_ns = o->modified_unix_ns;
        snprintf(info->etag, sizeof info->etag, "v%llu", (unsigned long long)o->version);
    }
    pthread_mutex_unlock(&m->mu);
    return o ? 0 : err_set(err, ERR_NOTFOUND, "no such object");
}

/* The next item after *after, its key copied to key_out. False at the end. */
static bool next_locked(const struct memory_store *m, const struct objstore_list_query *q,
                        struct slice after, bool after_prefix, char *key_out,
                        struct objstore_list_item *item)
{
    uint32_t i = lower_bound(m, slice_cmp(after, q->prefix) < 0 ? q->prefix : after);
    for (; i < m->objects.count; i++) {
        const struct object *o = &m->objects.at[i];
        if (!slice_starts(o->key, q->prefix))
            return false;
        struct slice rest = slice_from(o->key, q->prefix.len);
        size_t slash = q->delimiter_slash ? slice_find(rest, '/') : rest.len;
        bool folded = slash < rest.len;
        struct slice key = folded ? slice_of(o->key.ptr, q->prefix.len + slash + 1) : o->key;
        if (slice_cmp(key, after) <= 0 || (after_prefix && slice_starts(key, after)))
            continue;
        memcpy(key_out, key.ptr, key.len);
        *item = (struct objstore_list_item){
            .key = slice_of(key_out, key.len),
            .is_prefix = folded,
            .bytes = folded ? 0 : o->body.len,
            .modified_unix_ns = folded ? 0 : o->modified_unix_ns,
        };
        return true;
    }
    return false;
}

/* The lock is let go around fn, which may call the store. */
static int memory_list(struct objstore *s, const struct objstore_list_query *q, struct err *err)
{
    struct memory_store *m = memory_of(s);
    char keys[2][LIMIT_KEY_BYTES];
    struct slice after = q->start_after;
    bool after_prefix = false;
    for (unsigned turn = 0;; turn ^= 1) {
        struct objstore_list_item item;
        if (is_late(s, q->deadline_ns))
            return late(err);
        pthread_mutex_lock(&m->mu);
        bool any = next_locked(m, q, after, after_prefix, keys[turn], &item);
        pthread_mutex_unlock(&m->mu);
        if (!any || q->fn(q->ctx, &item) != 0)
            return 0;
        after = item.key;
        after_prefix = item.is_prefix;
    }
}

/* ---- writing ---- */

static int insert_locked(struct memory_store *m, uint32_t at, struct object o)
{
    if (!vec_push(&m->objects, o))
        return ERR_NOMEM;
    memmove(&m->objects.at[at + 1], &m->objects.at[at], (m->objects.count - 1 - at) * sizeof o);
    m->objects.at[at] = o;
    return 0;
}

static int put_locked(struct memory_store *m, struct slice key, struct slice body, unsigned flags,
                      struct err *err)
{
    struct object *old = find_locked(m, key);
    if (old && (flags & OBJSTORE_IF_ABSENT))
        return slice_eq(old->body, body)
                   ? 0
                   : err_set(err, ERR_EXISTS, "the key exists with other content");
    struct object o = {
        .modified_unix_ns = clock_unix_ns(m->base.clock),
        .version = ++m->versions,
    };
    if (!copy_slice(body, &o.body))
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes", body.len);
    if (old) {
        o.key = old->key;
        free_slice(old->body);
        *old = o;
        return 0;
    }
    int rc = copy_slice(key, &o.key) ? insert_locked(m, lower_bound(m, key), o) : ERR_NOMEM;
    if (rc < 0) {
        free_slice(o.key);
        free_slice(o.body);
        return err_set(err, rc, "no memory for an object");
    }
    return 0;
}

static int memory_put(struct objstore *s, struct slice key, struct slice body, unsigned flags,
                      uint64_t deadline_ns, struct err *err)
{
    struct memory_store *m = memory_of(s);
    if (is_late(s, deadline_ns))
        return late(err);
    pthread_mutex_lock(&m->mu);
    int rc = put_locked(m, key, body, flags, err);
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static int memory_remove(struct objstore *s, struct slice key, uint64_t deadline_ns,
                         struct err *err)
{
    struct memory_store *m = memory_of(s);
    if (is_late(s, deadline_ns))
        return late(err);
    pthread_mutex_lock(&m->mu);
    struct object *o = find_locked(m, key);
    if (o) {
        free_slice(o->key);
        free_slice(o->body);
        size_t after = (size_t)(&m->objects.at[--m->objects.count] - o);
        memmove(o, o + 1, after * sizeof *o);
    }
    pthread_mutex_unlock(&m->mu);
    return 0;
}

struct memory_upload {
    struct objstore_upload base;
    struct memory_store *store;
    struct slice key;
    uint64_t deadline_ns;
    struct buf body;
};

static void upload_free(struct memory_upload *u)
{
    free_slice(u->key);
    buf_clear(&u->body);
    free(u);
}

static int memory_upload_begin(struct objstore *s, struct slice key, uint64_t deadline_ns,
                               struct objstore_upload **out, struct err *err)
{
    struct memory_upload *u = calloc(1, sizeof *u);
    if (!u || !copy_slice(key, &u->key)) {
        free(u);
        return err_set(err, ERR_NOMEM, "no memory for an upload");
    }
    u->store = memory_of(s);
    u->deadline_ns = deadline_ns;
    buf_init(&u->body, SIZE_MAX / 2);
    *out = &u->base;
    return 0;
}

static int memory_upload_write(struct objstore_upload *base, struct slice bytes, struct err *err)
{
    struct memory_upload *u = (struct memory_upload *)base;
    int rc = buf_slice(&u->body, bytes);
    return rc < 0 ? err_set(err, rc, "no memory for %zu bytes", bytes.len) : 0;
}

static int memory_upload_finish(struct objstore_upload *base, struct err *err)
{
    struct memory_upload *u = (struct memory_upload *)base;
    int rc = memory_put(&u->store->base, u->key, buf_view(&u->body), 0, u->deadline_ns, err);
    upload_free(u);
    return rc;
}

static void memory_upload_abort(struct objstore_upload *base)
{
    upload_free((struct memory_upload *)base);
}

/* ---- making and freeing ---- */

static void memory_free(struct objstore *s)
{
    struct memory_store *m = memory_of(s);
    for (uint32_t i = 0; i < m->objects.count; i++) {
        free_slice(m->objects.at[i].key);
        free_slice(m->objects.at[i].body);
    }
    vec_free(&m->objects);
    pthread_mutex_destroy(&m->mu);
    free(m);
}

static const struct objstore_ops memory_ops = {
    .free = memory_free,
    .get_many = memory_get_many,
    .head = memory_head,
    .put = memory_put,
    .remove = memory_remove,
    .list = memory_list,
    .upload_begin = memory_upload_begin,
    .upload_write = memory_upload_write,
    .upload_finish = memory_upload_finish,
    .upload_abort = memory_upload_abort,
};

int objstore_memory_new(const struct objstore_env *env, struct objstore **out, struct err *err)
{
    struct memory_store *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NOMEM, "no memory for a store");
    objstore_init(&m->base, &memory_ops, env);
    pthread_mutex_init(&m->mu, NULL);
    snprintf(m->base.describe, sizeof m->base.describe, "memory");
    *out = &m->base;
    return 0;
}
