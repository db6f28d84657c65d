/* Builds: which segments become blocks together, and the steps that keep every span in exactly one
 * place for a reader whenever the process dies. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "catalog/catalog_priv.h"

void catalog_build_block_id(struct slice build, struct slice tenant, uint8_t id[16])
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, build.ptr, build.len);
    XXH3_128bits_update(&state, "/", 1);
    XXH3_128bits_update(&state, tenant.ptr, tenant.len);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
    memcpy(id, canonical.digest, 16);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x80); /* UUID version 8: a hash of our own */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

bool catalog_has_block(struct catalog *c, struct slice tenant, const uint8_t id[16])
{
    bool found = false;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    if (t)
        catalog_block_find(t, id, &found);
    pthread_mutex_unlock(&c->shared.mu);
    return found;
}

/* Ours at once; another process's only when that process has had its time. */
static bool may_build_locked(const struct catalog *c, const struct catalog_segment *s, uint64_t now)
{
    return s->build.len == 0 && (catalog_segment_is_ours(c, s->name) ||
                                 now - s->added_mono_ns >= CATALOG_TAKEOVER_NS);
}

void catalog_waiting(struct catalog *c, uint64_t *raw_bytes, uint64_t *oldest_mono_ns)
{
    *raw_bytes = *oldest_mono_ns = 0;
    uint64_t now = clock_mono_ns(c->opts.clock);
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.segments.count; i++) {
        const struct catalog_segment *s = c->shared.segments.at[i];
        if (!may_build_locked(c, s, now))
            continue;
        *raw_bytes += s->raw_bytes;
        if (!*oldest_mono_ns || s->added_mono_ns < *oldest_mono_ns)
            *oldest_mono_ns = s->added_mono_ns;
    }
    pthread_mutex_unlock(&c->shared.mu);
}

static struct catalog_build *build_new(struct err *err)
{
    struct arena *a = arena_new(LIMIT_CATALOG_BUILD_BYTES * 2);
    struct catalog_build *b = a ? arena_zalloc(a, sizeof *b) : NULL;
    if (!b) {
        arena_free(a);
        err_set(err, ERR_NOMEM, "no memory for a build");
        return NULL;
    }
    b->arena = a;
    return b;
}

static void build_free(struct catalog_build *b)
{
    for (size_t i = 0; i < b->segment_count; i++)
        catalog_segment_release(b->segments[i]);
    arena_free(b->arena);
}

/* Picks segments and names the build after the first of them, so that two processes that pick from
 * the same oldest segment on meet at one name. */
static int pick_locked(struct catalog *c, uint64_t raw_bytes_max, struct catalog_build *b,
                       struct err *err)
{
    uint64_t now = clock_mono_ns(c->opts.clock), raw = 0;
    b->segments = arena_array(b->arena, struct catalog_segment *, c->shared.segments.count);
    if (!b->segments)
        return arena_err(b->arena, err, "a build");
    for (uint32_t i = 0; i < c->shared.segments.count; i++) {
        struct catalog_segment *s = c->shared.segments.at[i];
        if (!may_build_locked(c, s, now))
            continue;
        if (b->segment_count && raw + s->raw_bytes > raw_bytes_max)
            break;
        raw += s->raw_bytes;
        b->segments[b->segment_count++] = catalog_segment_acquire(s);
    }
    if (b->segment_count == 0)
        return 0;
    struct slice suffix = slice_from(b->segments[0]->name, sizeof CATALOG_WAL_PREFIX - 1);
    char *name = arena_printf(b->arena, "%s%.*s", CATALOG_BUILD_PREFIX, SLICE_ARGS(suffix));
    struct catalog_build_state *state = calloc(1, sizeof *state);
    bool ok = name && state && (state->name = strdup(name));
    for (size_t i = 0; i < b->segment_count && ok; i++) {
        struct slice segment = b->segments[i]->name;
        char *copy = strndup((const char *)segment.ptr, segment.len);
        ok = copy && vec_push(&state->segments, copy);
        if (!ok)
            free(copy);
    }
    if (!ok || !vec_push(&c->shared.builds, state)) {
        catalog_build_state_free(state);
        return err_set(err, ERR_NOMEM, "no memory for a build");
    }
    state->seen_mono_ns = now;
    state->ours = true;
    b->name = slice_cstr(name);
    catalog_link_builds_locked(c);
    return 0;
}

static int build_put(struct catalog *c, const struct catalog_build *b, uint64_t deadline_mono_ns,
                     struct err *err)
{
    cJSON *doc = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(doc, "segments");
    bool ok = cJSON_AddStringToObject(doc, "writer", c->writer) && list;
    for (size_t i = 0; i < b->segment_count && ok; i++) {
        char *name = arena_cstr(b->arena, b->segments[i]->name);
        cJSON *item = name ? cJSON_CreateString(name) : NULL;
        ok = item && cJSON_AddItemToArray(list, item);
    }
    char *text = ok ? cJSON_PrintUnformatted(doc) : NULL;
    cJSON_Delete(doc);
    if (!text)
        return err_set(err, ERR_NOMEM, "no memory for a build");
    int rc = objstore_put(c->opts.store, b->name, slice_cstr(text), OBJSTORE_IF_ABSENT,
                          deadline_mono_ns, err);
    free(text);
    return rc;
}

static void forget_build(struct catalog *c, struct slice name)
{
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        struct catalog_build_state *s = c->shared.builds.at[i];
        if (slice_eq(slice_cstr(s->name), name)) {
            c->shared.builds.at[i] = c->shared.builds.at[--c->shared.builds.count];
            catalog_link_builds_locked(c);
            catalog_build_state_free(s);
            break;
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
}

/* A name can be created again once it has been deleted. So, when another process has taken our
 * segments over meanwhile, built them, and has removed its build object too, writing ours succeeds:
 * but the oldest segment, which went before, tells. */
static int check_not_retired(struct catalog *c, const struct catalog_build *b,
                             uint64_t deadline_mono_ns, struct err *err)
{
    struct objstore_info info;
    int rc =
        objstore_head(c->opts.store, b->segments[0]->name, deadline_mono_ns, &info, err);
    if (rc != ERR_NOTFOUND)
        return rc;
    objstore_delete(c->opts.store, b->name, deadline_mono_ns, NULL);
    return err_set(err, ERR_EXISTS, "another process has built segment %.*s",
                   SLICE_ARGS(b->segments[0]->name));
}

int catalog_build_begin(struct catalog *c, uint64_t raw_bytes_max, uint64_t deadline_mono_ns,
                        struct catalog_build **out, struct err *err)
{
    *out = NULL;
    struct catalog_build *b = build_new(err);
    if (!b)
        return ERR_NOMEM;
    pthread_mutex_lock(&c->shared.mu);
    int rc = pick_locked(c, raw_bytes_max, b, err);
    pthread_mutex_unlock(&c->shared.mu);
    if (rc == 0 && b->segment_count == 0) {
        build_free(b);
        return 0;
    }
    if (rc == 0) {
        rc = build_put(c, b, deadline_mono_ns, err);
        if (rc == 0)
            rc = check_not_retired(c, b, deadline_mono_ns, err);
        /* After a failure the object may be there all the same: a later poll finds it then, and
         * catalog_build_resume takes it up. */
        if (rc < 0)
            forget_build(c, b->name);
        if (rc == ERR_EXISTS) {
            pthread_mutex_lock(&c->shared.mu);
            c->shared.poll_now = true;
            pthread_cond_broadcast(&c->shared.changed);
            pthread_mutex_unlock(&c->shared.mu);
        }
    }
    if (rc < 0) {
        build_free(b);
        return rc;
    }
    *out = b;
    return 0;
}

/* Takes the oldest build that another process has left. */
static int take_left_locked(struct catalog *c, struct catalog_build *b, struct err *err)
{
    uint64_t now = clock_mono_ns(c->opts.clock);
    struct catalog_build_state *state = NULL;
    for (uint32_t i = 0; i < c->shared.builds.count && !state; i++) {
        struct catalog_build_state *s = c->shared.builds.at[i];
        if (!s->ours && !s->finished_mono_ns && now - s->seen_mono_ns >= CATALOG_TAKEOVER_NS)
            state = s;
    }
    if (!state)
        return 0;
    b->segments = arena_array(b->arena, struct catalog_segment *, state->segments.count);
    if (!b->segments || !arena_slice(b->arena, slice_cstr(state->name), &b->name))
        return arena_err(b->arena, err, "a build");
    for (uint32_t i = 0; i < state->segments.count; i++) {
        bool found;
        uint32_t at = catalog_segment_find_locked(c, slice_cstr(state->segments.at[i]), &found);
        if (found)
            b->segments[b->segment_count++] = catalog_segment_acquire(c->shared.segments.at[at]);
    }
    state->ours = true;
    return 0;
}

/* Segments of a build are deleted only after all its blocks are there: one that the store surely
 * lacks tells that the build is committed. One that is there but not in the catalogue (it could not
 * be read) must never be taken for that: the build is left alone. */
static int check_missing(struct catalog *c, struct catalog_build *b, uint64_t deadline_mono_ns,
                         struct err *err)
{
    VEC(char *) missing = {0};
    int rc = 0;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_build_state *state = catalog_build_of_locked(c, b->name);
    for (uint32_t i = 0; state && i < state->segments.count && rc == 0; i++) {
        bool found;
        catalog_segment_find_locked(c, slice_cstr(state->segments.at[i]), &found);
        char *name = found ? NULL : arena_cstr(b->arena, slice_cstr(state->segments.at[i]));
        if (!found && (!name || !vec_push(&missing, name)))
            rc = err_set(err, ERR_NOMEM, "no memory for a build");
    }
    pthread_mutex_unlock(&c->shared.mu);
    for (uint32_t i = 0; i < missing.count && rc == 0; i++) {
        struct objstore_info info;
        int head =
            objstore_head(c->opts.store, slice_cstr(missing.at[i]), deadline_mono_ns, &info, err);
        if (head == ERR_NOTFOUND)
            b->committed = true;
        else
            rc = head < 0 ? head
                          : err_set(err, ERR_CORRUPT, "segment %s of build %.*s is in the store "
                                                      "but cannot be read",
                                    missing.at[i], SLICE_ARGS(b->name));
    }
    vec_free(&missing);
    return rc;
}

int catalog_build_resume(struct catalog *c, uint64_t deadline_mono_ns, struct catalog_build **out,
                         struct err *err)
{
    *out = NULL;
    struct catalog_build *b = build_new(err);
    if (!b)
        return ERR_NOMEM;
    pthread_mutex_lock(&c->shared.mu);
    int rc = take_left_locked(c, b, err);
    pthread_mutex_unlock(&c->shared.mu);
    if (rc < 0 || b->name.len == 0) {
        build_free(b);
        return rc;
    }
    rc = check_missing(c, b, deadline_mono_ns, err);
    if (rc < 0) {
        catalog_build_abandon(c, b);
        return rc;
    }
    *out = b;
    return 0;
}

int catalog_build_commit(struct catalog *c, const struct catalog_build *b,
                         const struct block_meta *meta, struct err *err)
{
    (void)b; /* its sections are left out because the block's id follows from its name */
    struct catalog_block *block = catalog_block_new(meta, clock_unix_ns(c->opts.clock));
    if (!block)
        return err_set(err, ERR_NOMEM, "no memory for a block");
    pthread_mutex_lock(&c->shared.mu);
    bool ok = catalog_add_block_locked(c, block);
    pthread_mutex_unlock(&c->shared.mu);
    return ok ? 0 : err_set(err, ERR_NOMEM, "no memory for a block");
}

int catalog_build_finish(struct catalog *c, struct catalog_build *b, uint64_t deadline_mono_ns,
                         struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < b->segment_count && rc == 0; i++)
        rc = objstore_delete(c->opts.store, b->segments[i]->name, deadline_mono_ns, err);
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_build_state *state = catalog_build_of_locked(c, b->name);
    if (rc == 0) {
        for (size_t i = 0; i < b->segment_count; i++) {
            bool found;
            uint32_t at = catalog_segment_find_locked(c, b->segments[i]->name, &found);
            catalog_tombstone_locked(c, b->segments[i]->name);
            if (found)
                catalog_remove_segment_locked(c, at);
        }
        if (state)
            state->finished_mono_ns = clock_mono_ns(c->opts.clock);
        catalog_gauges_locked(c);
    } else if (state) {
        state->seen_mono_ns = clock_mono_ns(c->opts.clock); /* again later, by resume */
    }
    if (state)
        state->ours = false;
    pthread_mutex_unlock(&c->shared.mu);
    build_free(b);
    return rc;
}

void catalog_build_abandon(struct catalog *c, struct catalog_build *b)
{
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_build_state *state = catalog_build_of_locked(c, b->name);
    if (state) {
        state->ours = false;
        state->seen_mono_ns = clock_mono_ns(c->opts.clock);
    }
    pthread_mutex_unlock(&c->shared.mu);
    build_free(b);
}
