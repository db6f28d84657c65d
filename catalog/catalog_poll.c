/* One round of looking at the store. The order matters: segments first, then builds, then blocks,
 * so that a segment that was retired meanwhile is still named by its build, and the build's block is
 * found; then builds again and plans, so that a block that is there has its build or plan
 * (docs/architecture.md). */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "catalog/catalog_priv.h"

#define SEGMENT_TAIL_GUESS ((uint64_t)64 << 10)

static int collect_name(void *ctx, const struct objstore_list_item *item)
{
    struct catalog_names *l = ctx;
    char *name = strndup((const char *)item->key.ptr, item->key.len);
    if (!name || !vec_push(&l->at, (struct catalog_name){name, item->modified_unix_ns})) {
        free(name);
        l->out_of_memory = true;
        return 1;
    }
    return 0;
}

void catalog_names_clear(struct catalog_names *l)
{
    for (uint32_t i = 0; i < l->at.count; i++)
        free(l->at.at[i].name);
    vec_free(&l->at);
}

int catalog_list_names(struct catalog *c, const char *prefix, bool delimiter, uint64_t deadline,
                       struct catalog_names *out, struct err *err)
{
    int rc = objstore_list(c->opts.store, slice_cstr(prefix), slice_of(NULL, 0), delimiter,
                           collect_name, out, deadline, err);
    if (rc == 0 && out->out_of_memory)
        rc = err_set(err, ERR_NOMEM, "no memory for a listing");
    return rc;
}

bool catalog_names_have(const struct catalog_names *l, struct slice name)
{
    uint32_t lo = 0, hi = l->at.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = slice_cmp(slice_cstr(l->at.at[mid].name), name);
        if (d == 0)
            return true;
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

/* ---- segments ---- */

static int segment_load(struct catalog *c, const struct catalog_name *name, uint64_t deadline,
                        struct catalog_segment **out, struct err *err)
{
    struct objstore_get get = {.key = slice_cstr(name->name),
                               .range = OBJSTORE_SUFFIX,
                               .bytes = SEGMENT_TAIL_GUESS};
    buf_init(&get.out, LIMIT_SEGMENT_FOOTER_BYTES);
    struct arena *a = arena_new(LIMIT_SEGMENT_FOOTER_BYTES * 2);
    struct catalog_segment *s = a ? arena_zalloc(a, sizeof *s) : NULL;
    int rc = s ? 0 : err_set(err, ERR_NOMEM, "no memory for a segment");
    uint64_t footer_bytes = 0;
    for (int round = 0; rc == 0; round++) {
        rc = objstore_get_many(c->opts.store, &get, 1, deadline, err);
        if (rc == 0)
            rc = segment_tail_decode(buf_view(&get.out), get.object_bytes, &footer_bytes, err);
        if (rc < 0 || footer_bytes <= get.out.len || round > 0)
            break;
        get.bytes = footer_bytes;
        buf_reset(&get.out);
    }
    if (rc == 0) {
        struct slice tail = slice_from(buf_view(&get.out), get.out.len - footer_bytes);
        rc = segment_footer_decode(tail, get.object_bytes, a, &s->footer, err);
    }
    if (rc == 0) {
        s->raw = arena_zalloc(a, s->footer.section_count * sizeof *s->raw);
        if (!s->raw || !arena_slice(a, slice_cstr(name->name), &s->name))
            rc = arena_err(a, err, "a segment's footer");
    }
    buf_clear(&get.out);
    if (rc < 0) {
        err_wrap(err, "segment %s", name->name);
        arena_free(a);
        return rc;
    }
    atomic_init(&s->refs, 1);
    s->arena = a;
    s->added_mono_ns = clock_mono_ns(c->opts.clock);
    s->bytes = get.object_bytes;
    for (uint32_t i = 0; i < s->footer.section_count; i++)
        s->raw_bytes += s->footer.sections[i].raw_bytes;
    *out = s;
    return 0;
}

static int segments_add(struct catalog *c, const struct catalog_names *listed, uint64_t deadline,
                        struct err *err)
{
    for (uint32_t i = 0; i < listed->at.count; i++) {
        struct slice name = slice_cstr(listed->at.at[i].name);
        bool known;
        pthread_mutex_lock(&c->shared.mu);
        catalog_segment_find_locked(c, name, &known);
        known = known || catalog_is_tombstoned_locked(c, name);
        pthread_mutex_unlock(&c->shared.mu);
        if (known)
            continue;
        struct catalog_segment *s = NULL;
        int rc = segment_load(c, &listed->at.at[i], deadline, &s, err);
        if (rc == ERR_NOTFOUND)
            continue; /* retired since the listing */
        if (rc == ERR_CORRUPT) {
            counter_add(c->m.bad_segments, 1);
            LOG_ERROR(&c->log, "segment cannot be read and is left out", KV_ERR(err));
            continue;
        }
        if (rc < 0)
            return rc;
        pthread_mutex_lock(&c->shared.mu);
        bool added = !catalog_is_tombstoned_locked(c, name) && catalog_insert_segment_locked(c, s);
        catalog_link_builds_locked(c); /* in one step: its block may be visible already */
        pthread_mutex_unlock(&c->shared.mu);
        if (!added)
            catalog_segment_release(s);
    }
    return 0;
}

/* Drops segments that the listing, begun at started, no longer has. */
static void segments_drop_locked(struct catalog *c, const struct catalog_names *listed,
                                 uint64_t started_mono_ns)
{
    for (uint32_t i = c->shared.segments.count; i-- > 0;) {
        struct catalog_segment *s = c->shared.segments.at[i];
        if (s->added_mono_ns < started_mono_ns && !catalog_names_have(listed, s->name))
            catalog_remove_segment_locked(c, i);
    }
}

/* Whether a segment went that was not retired by a build whose blocks we have. */
static bool any_segment_gone(struct catalog *c, const struct catalog_names *listed,
                             uint64_t started_mono_ns)
{
    bool gone = false;
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.segments.count && !gone; i++) {
        struct catalog_segment *s = c->shared.segments.at[i];
        const struct catalog_build_state *b =
            s->build.len ? catalog_build_of_locked(c, s->build) : NULL;
        bool built = b && (b->blocks_seen || b->ours || b->finished_mono_ns);
        gone = s->added_mono_ns < started_mono_ns && !catalog_names_have(listed, s->name) && !built;
    }
    pthread_mutex_unlock(&c->shared.mu);
    return gone;
}

/* ---- builds ---- */

static struct catalog_build_state *build_parse(struct slice json, const char *name)
{
    cJSON *doc = cJSON_ParseWithLength((const char *)json.ptr, json.len);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(doc, "segments");
    struct catalog_build_state *b = calloc(1, sizeof *b);
    bool ok = b && cJSON_IsArray(list) && (b->name = strdup(name));
    const cJSON *item;
    if (ok) {
        cJSON_ArrayForEach(item, list)
        {
            char *copy = cJSON_IsString(item) ? strdup(item->valuestring) : NULL;
            ok = ok && copy && vec_push(&b->segments, copy);
            if (!ok) {
                free(copy);
                break;
            }
        }
    }
    cJSON_Delete(doc);
    if (!ok) {
        catalog_build_state_free(b);
        return NULL;
    }
    return b;
}

static int build_load(struct catalog *c, const char *name, uint64_t deadline, struct err *err)
{
    struct buf json;
    buf_init(&json, LIMIT_CATALOG_BUILD_BYTES);
    int rc = objstore_get(c->opts.store, slice_cstr(name), deadline, &json, err);
    struct catalog_build_state *b = rc == 0 ? build_parse(buf_view(&json), name) : NULL;
    buf_clear(&json);
    if (rc == ERR_NOTFOUND)
        return 0; /* finished since the listing */
    if (rc < 0)
        return rc;
    if (!b)
        return err_set(err, ERR_CORRUPT, "build object %s cannot be read", name);
    b->seen_mono_ns = clock_mono_ns(c->opts.clock);
    pthread_mutex_lock(&c->shared.mu);
    bool known = catalog_build_of_locked(c, slice_cstr(name));
    bool added = !known && vec_push(&c->shared.builds, b);
    if (added)
        catalog_link_builds_locked(c);
    pthread_mutex_unlock(&c->shared.mu);
    if (!added)
        catalog_build_state_free(b);
    return added || known ? 0 : err_set(err, ERR_NOMEM, "no memory for a build");
}

/* Loads builds that are new. *open: whether there is one whose blocks may still be appearing. */
static int builds_add(struct catalog *c, const struct catalog_names *listed, uint64_t deadline,
                      bool *open, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < listed->at.count && rc == 0; i++) {
        struct slice name = slice_cstr(listed->at.at[i].name);
        pthread_mutex_lock(&c->shared.mu);
        bool known =
            catalog_build_of_locked(c, name) || catalog_is_tombstoned_locked(c, name);
        pthread_mutex_unlock(&c->shared.mu);
        if (!known)
            rc = build_load(c, listed->at.at[i].name, deadline, err);
        if (rc == ERR_CORRUPT) {
            /* Its spans may be seen twice until it goes, which is better than not at all. */
            LOG_ERROR(&c->log, "build object is left out", KV_ERR(err));
            rc = 0;
        }
    }
    pthread_mutex_lock(&c->shared.mu);
    *open = false;
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        /* Blocks of our own builds are told at their commit. */
        const struct catalog_build_state *b = c->shared.builds.at[i];
        *open |= !b->ours && !b->finished_mono_ns && !b->blocks_seen;
    }
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}

static void builds_drop_locked(struct catalog *c, const struct catalog_names *listed,
                               uint64_t started_mono_ns)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        struct catalog_build_state *b = c->shared.builds.at[i];
        if (b->ours || b->seen_mono_ns >= started_mono_ns || catalog_names_have(listed, slice_cstr(b->name)))
            c->shared.builds.at[kept++] = b;
        else
            catalog_build_state_free(b);
    }
    c->shared.builds.count = kept;
}

/* Deletes finished build objects once no reader can need them. */
static void builds_sweep(struct catalog *c, uint64_t deadline)
{
    for (;;) {
        uint64_t now = clock_mono_ns(c->opts.clock);
        struct catalog_build_state *due = NULL;
        pthread_mutex_lock(&c->shared.mu);
        for (uint32_t i = 0; i < c->shared.builds.count; i++) {
            struct catalog_build_state *b = c->shared.builds.at[i];
            if (b->finished_mono_ns && now - b->finished_mono_ns >= catalog_linger_ns(c)) {
                due = b;
                c->shared.builds.at[i] = c->shared.builds.at[--c->shared.builds.count];
                catalog_tombstone_locked(c, slice_cstr(b->name));
                catalog_link_builds_locked(c);
                break;
            }
        }
        pthread_mutex_unlock(&c->shared.mu);
        if (!due)
            return;
        struct err err;
        if (objstore_delete(c->opts.store, slice_cstr(due->name), deadline, &err) < 0)
            LOG_WARN(&c->log, "finished build object cannot be deleted", KV_ERR(&err));
        catalog_build_state_free(due);
    }
}

/* ---- blocks of other processes' builds ---- */

/* A block that an open build will make, or has made. */
struct awaited {
    char build[128];
    char *tenant;
    uint8_t id[16];
};

struct awaited_list {
    VEC(struct awaited) at;
};

static bool await_locked(struct awaited_list *l, const struct catalog_build_state *b,
                         struct slice tenant)
{
    struct awaited a = {0};
    catalog_build_block_id(slice_cstr(b->name), tenant, a.id);
    for (uint32_t i = 0; i < l->at.count; i++) {
        if (memcmp(l->at.at[i].id, a.id, 16) == 0)
            return true;
    }
    snprintf(a.build, sizeof a.build, "%s", b->name);
    a.tenant = strndup((const char *)tenant.ptr, tenant.len);
    if (!a.tenant || !vec_push(&l->at, a)) {
        free(a.tenant);
        return false;
    }
    return true;
}

/* Blocks of the open builds, told from the sections of their segments. False in *known: a build's
 * segments are not all here, so only a listing tells. */
static bool awaited_locked(struct catalog *c, struct awaited_list *l, bool *known)
{
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        const struct catalog_build_state *b = c->shared.builds.at[i];
        if (b->ours || b->finished_mono_ns || b->blocks_seen)
            continue;
        for (uint32_t k = 0; k < b->segments.count; k++) {
            bool found;
            uint32_t at = catalog_segment_find_locked(c, slice_cstr(b->segments.at[k]), &found);
            if (!found) {
                *known = false;
                continue;
            }
            const struct segment_footer *f = &c->shared.segments.at[at]->footer;
            for (uint32_t n = 0; n < f->section_count; n++) {
                if (!await_locked(l, b, f->sections[n].tenant))
                    return false;
            }
        }
    }
    return true;
}

/* Looks for the blocks that open builds of other processes make, by their names: a listing of all
 * blocks at every poll would cost more the more blocks there are. *listing: a build could not be
 * followed so. */
static int builds_follow(struct catalog *c, uint64_t deadline, bool *listing, struct err *err)
{
    struct awaited_list l = {0};
    bool known = true;
    pthread_mutex_lock(&c->shared.mu);
    bool ok = awaited_locked(c, &l, &known);
    pthread_mutex_unlock(&c->shared.mu);
    int rc = ok ? 0 : err_set(err, ERR_NOMEM, "no memory for a build");
    for (uint32_t i = 0; i < l.at.count && rc == 0; i++) {
        struct awaited *a = &l.at.at[i];
        if (!catalog_has_block(c, slice_cstr(a->tenant), a->id))
            rc = catalog_block_load(c, slice_cstr(a->tenant), a->id, deadline, err);
    }
    if (rc == 0 && known) {
        pthread_mutex_lock(&c->shared.mu);
        for (uint32_t i = 0; i < c->shared.builds.count; i++) {
            struct catalog_build_state *b = c->shared.builds.at[i];
            bool all = !b->ours && !b->finished_mono_ns;
            bool any = false;
            for (uint32_t k = 0; k < l.at.count && all; k++) {
                if (strcmp(l.at.at[k].build, b->name) != 0)
                    continue;
                bool found = false;
                struct catalog_tenant *t =
                    catalog_tenant_locked(c, slice_cstr(l.at.at[k].tenant), false);
                if (t)
                    catalog_block_find(t, l.at.at[k].id, &found);
                all = found;
                any = true;
            }
            if (all && any)
                b->blocks_seen = true;
        }
        pthread_mutex_unlock(&c->shared.mu);
    }
    *listing = !known;
    for (uint32_t i = 0; i < l.at.count; i++)
        free(l.at.at[i].tenant);
    vec_free(&l.at);
    return rc;
}

/* ---- a round ---- */

/* Builds that have come since they were listed before the blocks. */
static int builds_again(struct catalog *c, uint64_t deadline, struct err *err)
{
    struct catalog_names builds = {0};
    bool open;
    int rc = catalog_list_names(c, CATALOG_BUILD_PREFIX, false, deadline, &builds, err);
    if (rc == 0)
        rc = builds_add(c, &builds, deadline, &open, err);
    catalog_names_clear(&builds);
    return rc;
}

/* Blocks, and after them builds and plans: a block of theirs that the listing shows has its build or
 * plan then. */
static int blocks_refresh(struct catalog *c, uint64_t deadline, struct err *err)
{
    struct catalog_listing l = {0};
    int rc = catalog_listing_make(c, &l, deadline, err);
    if (rc == 0 && !c->opts.blocks_only)
        rc = builds_again(c, deadline, err);
    if (rc == 0)
        rc = catalog_plans_refresh(c, deadline, err);
    if (rc == 0)
        rc = catalog_listing_follow_plans(c, &l, deadline, err);
    /* What took longer may have been overtaken (CATALOG_LINGER_NS). */
    if (rc == 0 && clock_mono_ns(c->opts.clock) > deadline)
        rc = err_set(err, ERR_TIMEOUT, "listing the blocks took too long");
    if (rc == 0) {
        pthread_mutex_lock(&c->shared.mu);
        if (!catalog_listing_apply_locked(c, &l))
            rc = err_set(err, ERR_NOMEM, "no memory for the list of blocks");
        else
            catalog_plans_forget_locked(c, l.started_mono_ns);
        c->shared.full_polls += rc == 0;
        pthread_mutex_unlock(&c->shared.mu);
    }
    catalog_listing_clear(&l);
    return rc;
}

/* Segments and builds: *full is set when only a listing of the blocks tells what has become of
 * them. */
static int segments_refresh(struct catalog *c, const struct catalog_names *segments,
                            const struct catalog_names *builds, uint64_t started,
                            uint64_t deadline, bool *full, struct err *err)
{
    bool building = false, listing = false;
    *full |= any_segment_gone(c, segments, started);
    int rc = builds_add(c, builds, deadline, &building, err);
    if (rc == 0)
        rc = segments_add(c, segments, deadline, err);
    if (rc == 0 && building)
        rc = builds_follow(c, deadline, &listing, err);
    *full |= listing;
    return rc;
}

int catalog_poll(struct catalog *c, bool full, struct err *err)
{
    uint64_t started = clock_mono_ns(c->opts.clock);
    uint64_t deadline = catalog_listing_deadline(c);
    struct catalog_names segments = {0}, builds = {0};
    bool follow = !c->opts.blocks_only;
    int rc = catalog_blocks_check(c, deadline, err);
    builds_sweep(c, deadline);
    if (rc == 0 && follow)
        rc = catalog_list_names(c, CATALOG_WAL_PREFIX, false, deadline, &segments, err);
    if (rc == 0 && follow)
        rc = catalog_list_names(c, CATALOG_BUILD_PREFIX, false, deadline, &builds, err);
    if (rc == 0 && follow)
        rc = segments_refresh(c, &segments, &builds, started, deadline, &full, err);
    if (rc == 0 && full)
        rc = blocks_refresh(c, deadline, err);
    if (rc == 0) {
        pthread_mutex_lock(&c->shared.mu);
        segments_drop_locked(c, &segments, started);
        builds_drop_locked(c, &builds, started);
        catalog_link_builds_locked(c);
        catalog_gauges_locked(c);
        pthread_mutex_unlock(&c->shared.mu);
    }
    catalog_names_clear(&segments);
    catalog_names_clear(&builds);
    return rc;
}
