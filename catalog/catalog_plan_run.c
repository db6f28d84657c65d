/* The steps of one compaction plan (catalog_plan.h numbers them). */
#include <stdlib.h>

#include "base/text.h"
#include "catalog/block_store.h"
#include "catalog/catalog_priv.h"

#define LIMIT_INPUT_META_BYTES ((size_t)1 << 20)

/* ---- what this process has in hand ---- */

static struct catalog_plan *plan_new(struct slice name, struct slice tenant,
                                     const struct catalog_plan_opts *opts, size_t count,
                                     struct err *err)
{
    struct arena *a = arena_new((size_t)4 << 20);
    struct catalog_plan *p = a ? arena_zalloc(a, sizeof *p) : NULL;
    if (!p || !arena_slice(a, name, &p->name) || !arena_slice(a, tenant, &p->tenant) ||
        !(p->ids = arena_alloc_array(a, count, sizeof *p->ids))) {
        arena_free(a);
        err_set(err, ERR_NOMEM, "no memory for a compaction plan");
        return NULL;
    }
    p->arena = a;
    p->opts = *opts;
    p->input_count = count;
    catalog_plan_block_id(p->name, p->tenant, p->output);
    return p;
}

static void plan_free(struct catalog_plan *p)
{
    for (size_t i = 0; p->inputs && i < p->input_count; i++)
        catalog_block_release(p->inputs[i]);
    arena_free(p->arena);
}

static void forget(struct catalog *c, struct slice name)
{
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        if (slice_eq(slice_cstr(c->shared.plans.at[i]->name), name)) {
            catalog_plan_state_free(c->shared.plans.at[i]);
            c->shared.plans.at[i] = c->shared.plans.at[--c->shared.plans.count];
            break;
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
}

void catalog_plan_abandon(struct catalog *c, struct catalog_plan *p)
{
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *s = catalog_plan_of_locked(c, p->name);
    if (s) {
        s->ours = false;
        s->seen_mono_ns = clock_mono_ns(c->opts.clock);
    }
    pthread_mutex_unlock(&c->shared.mu);
    plan_free(p);
}

int catalog_plan_drop(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                      struct err *err)
{
    int rc = objstore_delete(c->opts.store, p->name, deadline_mono_ns, err);
    if (rc < 0) {
        catalog_plan_abandon(c, p);
        return rc;
    }
    forget(c, p->name);
    plan_free(p);
    return 0;
}

/* ---- the look at the inputs ---- */

enum { LOOKS = 3 }; /* meta.json, meta.compacted.json, nocompact.flg */

static int look_at(struct catalog *c, struct slice tenant, const struct catalog_block_id *ids,
                   size_t count, uint64_t deadline, struct objstore_get *gets, struct buf *keys,
                   bool *live, struct err *err)
{
    static const char *const names[LOOKS] = {"meta.json", "meta.compacted.json", "nocompact.flg"};
    int rc = 0;
    for (size_t i = 0; i < count * LOOKS; i++) {
        buf_init(&keys[i], 4096);
        gets[i] = (struct objstore_get){.range = OBJSTORE_WHOLE};
        buf_init(&gets[i].out, LIMIT_INPUT_META_BYTES);
        if (rc == 0 && block_key(&keys[i], tenant, ids[i / LOOKS].id, names[i % LOOKS]) < 0)
            rc = err_set(err, ERR_NOMEM, "no memory for a key");
        gets[i].key = buf_view(&keys[i]);
    }
    if (rc == 0)
        objstore_get_many(c->opts.store, gets, count * LOOKS, deadline, NULL);
    for (size_t i = 0; i < count * LOOKS && rc == 0; i++) {
        bool there = gets[i].rc == 0;
        if (!there && gets[i].rc != ERR_NOTFOUND) {
            rc = gets[i].rc;
            if (err)
                *err = gets[i].err;
        }
        *live &= there == (i % LOOKS == 0);
    }
    for (size_t i = 0; i < count * LOOKS; i++) {
        buf_clear(&keys[i]);
        buf_clear(&gets[i].out);
    }
    return rc;
}

int catalog_inputs_live(struct catalog *c, struct slice tenant, const struct catalog_block_id *ids,
                        size_t count, uint64_t deadline, bool *live, struct err *err)
{
    struct objstore_get *gets = calloc(count * LOOKS, sizeof *gets);
    struct buf *keys = calloc(count * LOOKS, sizeof *keys);
    *live = true;
    int rc = gets && keys ? look_at(c, tenant, ids, count, deadline, gets, keys, live, err)
                          : err_set(err, ERR_NOMEM, "no memory to look at blocks");
    free(gets);
    free(keys);
    return rc;
}

static int inputs_live(struct catalog *c, const struct catalog_plan *p, uint64_t deadline,
                       bool *live, struct err *err)
{
    struct catalog_block_id ids[LIMIT_PLAN_INPUTS];
    memcpy(ids, p->ids, p->input_count * sizeof ids[0]);
    return catalog_inputs_live(c, p->tenant, ids, p->input_count, deadline, live, err);
}

/* ---- 1 to 3: a new plan ---- */

static struct catalog_plan *plan_of_inputs(struct catalog *c, struct catalog_block *const *inputs,
                                           size_t count, const struct catalog_plan_opts *opts,
                                           struct err *err)
{
    struct buf name;
    buf_init(&name, 256);
    pthread_mutex_lock(&c->shared.mu);
    uint64_t seq = c->shared.seq++;
    pthread_mutex_unlock(&c->shared.mu);
    int rc = buf_printf(&name, "%s%013llu-%s-%08llu", CATALOG_PLAN_PREFIX,
                        (unsigned long long)(clock_unix_ns(c->opts.clock) / NS_PER_MS), c->writer,
                        (unsigned long long)seq);
    struct catalog_plan *p =
        rc == 0 ? plan_new(buf_view(&name), inputs[0]->meta.tenant, opts, count, err) : NULL;
    buf_clear(&name);
    struct catalog_block **held = p ? arena_array(p->arena, struct catalog_block *, count) : NULL;
    if (!held) {
        if (p)
            plan_free(p);
        err_set(err, ERR_NOMEM, "no memory for a compaction plan");
        return NULL;
    }
    p->inputs = held;
    for (size_t i = 0; i < count; i++) {
        held[i] = catalog_block_acquire(inputs[i]);
        memcpy(p->ids[i], inputs[i]->meta.id, 16);
    }
    return p;
}

static int remember(struct catalog *c, const struct catalog_plan *p, struct err *err)
{
    struct catalog_plan_state *s = calloc(1, sizeof *s);
    bool ok = s && (s->name = strndup((const char *)p->name.ptr, p->name.len)) &&
              (s->tenant = strndup((const char *)p->tenant.ptr, p->tenant.len)) &&
              vec_reserve(&s->inputs, p->input_count);
    if (ok) {
        memcpy(s->inputs.at, p->ids, p->input_count * sizeof s->inputs.at[0]);
        s->inputs.count = (uint32_t)p->input_count;
        s->opts = p->opts;
        memcpy(s->output, p->output, 16);
        s->ours = true;
        s->seen_mono_ns = clock_mono_ns(c->opts.clock);
        pthread_mutex_lock(&c->shared.mu);
        ok = vec_push(&c->shared.plans, s);
        pthread_mutex_unlock(&c->shared.mu);
    }
    if (!ok) {
        catalog_plan_state_free(s);
        return err_set(err, ERR_NOMEM, "no memory for a compaction plan");
    }
    /* cppcheck-suppress memleak ; the catalogue has it */
    return 0;
}

/* Step 2. *mine: nobody else is at the inputs, and they are there. */
static int look_again(struct catalog *c, const struct catalog_plan *p, uint64_t deadline,
                      bool *mine, struct err *err)
{
    int rc = catalog_plans_refresh(c, deadline, err);
    if (rc == 0) {
        pthread_mutex_lock(&c->shared.mu);
        const struct catalog_plan_state *s = catalog_plan_of_locked(c, p->name);
        *mine = s && s->listed && catalog_inputs_free_locked(c, s);
        pthread_mutex_unlock(&c->shared.mu);
    }
    if (rc == 0 && *mine)
        rc = inputs_live(c, p, deadline, mine, err);
    return rc;
}

int catalog_plan_begin(struct catalog *c, struct catalog_block *const *inputs, size_t count,
                       const struct catalog_plan_opts *opts, uint64_t deadline_mono_ns,
                       struct catalog_plan **out, struct err *err)
{
    *out = NULL;
    if (count == 0 || count > LIMIT_PLAN_INPUTS)
        return err_set(err, ERR_INVALID, "a compaction plan of %zu blocks: 1 to %d are taken",
                       count, LIMIT_PLAN_INPUTS);
    struct catalog_plan *p = plan_of_inputs(c, inputs, count, opts, err);
    if (!p)
        return ERR_NOMEM;
    int rc = remember(c, p, err);
    if (rc < 0) {
        plan_free(p);
        return rc;
    }
    bool mine = false;
    rc = catalog_plan_put(c, p, false, deadline_mono_ns, err);
    if (rc == 0)
        rc = look_again(c, p, deadline_mono_ns, &mine, err);
    if (rc == 0 && mine)
        rc = catalog_plan_put(c, p, true, deadline_mono_ns, err);
    if (rc < 0 || !mine) {
        /* It may have been written, whatever was answered. */
        int dropped = catalog_plan_drop(c, p, deadline_mono_ns, rc < 0 ? NULL : err);
        return rc < 0 ? rc : dropped;
    }
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *s = catalog_plan_of_locked(c, p->name);
    if (s)
        s->held = true;
    pthread_mutex_unlock(&c->shared.mu);
    p->beat_mono_ns = clock_mono_ns(c->opts.clock);
    *out = p;
    return 0;
}

/* ---- 4: while the output is written ---- */

static int still_ours(struct catalog *c, const struct catalog_plan *p, uint64_t deadline,
                      struct err *err)
{
    struct catalog_plan_state *s = NULL;
    char writer[17];
    int rc = catalog_plan_get(c, p->name, deadline, writer, &s, err);
    catalog_plan_state_free(s);
    if (rc == ERR_NOTFOUND || (rc == 0 && strcmp(writer, c->writer) != 0))
        rc =
            err_set(err, ERR_CANCELLED, "another process has taken over %.*s", SLICE_ARGS(p->name));
    return rc;
}

int catalog_plan_beat(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                      struct err *err)
{
    uint64_t now = clock_mono_ns(c->opts.clock);
    if (now - p->beat_mono_ns < CATALOG_BEAT_NS)
        return 0;
    int rc = still_ours(c, p, deadline_mono_ns, err);
    if (rc == 0)
        rc = catalog_plan_put(c, p, true, deadline_mono_ns, err);
    if (rc == 0)
        p->beat_mono_ns = now;
    return rc;
}

int catalog_plan_check(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                       struct err *err)
{
    bool live;
    int rc = still_ours(c, p, deadline_mono_ns, err);
    if (rc == 0)
        rc = inputs_live(c, p, deadline_mono_ns, &live, err);
    if (rc == 0 && !live)
        rc = err_set(err, ERR_CANCELLED, "an input of %.*s is not live any more",
                     SLICE_ARGS(p->name));
    return rc;
}

/* The output, or NULL when it is there as a compacted block already. */
static int output_is_there(struct catalog *c, const struct catalog_plan *p,
                           struct catalog_block *output, struct err *err)
{
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *s = catalog_plan_of_locked(c, p->name);
    bool ok = !output || catalog_add_block_locked(c, output);
    if (ok && s)
        s->output_seen = true;
    if (ok)
        catalog_plans_apply_locked(c);
    struct catalog_tenant *t = catalog_tenant_locked(c, p->tenant, false);
    if (t)
        catalog_tenant_gauges_locked(c, t);
    pthread_mutex_unlock(&c->shared.mu);
    return ok ? 0 : err_set(err, ERR_NOMEM, "no memory for a block");
}

int catalog_plan_commit(struct catalog *c, struct catalog_plan *p, const struct block_meta *meta,
                        struct err *err)
{
    struct catalog_block *b = catalog_block_new(meta, clock_unix_ns(c->opts.clock));
    if (!b)
        return err_set(err, ERR_NOMEM, "no memory for a block");
    int rc = output_is_there(c, p, b, err);
    p->committed = rc == 0;
    return rc;
}

/* ---- 5, 6: the inputs' end ---- */

int catalog_plan_finish(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                        struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < p->input_count && rc == 0; i++)
        rc = catalog_mark_compacted(c, p->tenant, p->ids[i], deadline_mono_ns, err);
    if (rc < 0) {
        catalog_plan_abandon(c, p);
        return rc;
    }
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *s = catalog_plan_of_locked(c, p->name);
    if (s) {
        s->ours = false;
        s->finished_mono_ns = clock_mono_ns(c->opts.clock); /* catalog_plans_refresh deletes it */
    }
    pthread_mutex_unlock(&c->shared.mu);
    plan_free(p);
    return 0;
}

/* ---- plans that were left ---- */

/* The oldest plan whose owner has been silent; ours from now on. *held: as far as is known. */
static struct catalog_plan *take_left(struct catalog *c, bool *held, struct err *err)
{
    struct catalog_plan *p = NULL;
    uint64_t now = clock_mono_ns(c->opts.clock);
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *left = NULL;
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        struct catalog_plan_state *s = c->shared.plans.at[i];
        if (s->listed && !s->ours && !s->finished_mono_ns &&
            now - s->seen_mono_ns >= CATALOG_TAKEOVER_NS &&
            (!left || strcmp(s->name, left->name) < 0))
            left = s;
    }
    if (left && (p = plan_new(slice_cstr(left->name), slice_cstr(left->tenant), &left->opts,
                              left->inputs.count, err))) {
        memcpy(p->ids, left->inputs.at, left->inputs.count * sizeof p->ids[0]);
        left->ours = true;
        *held = left->held;
    }
    pthread_mutex_unlock(&c->shared.mu);
    return p;
}

/* What is there of the output. */
enum output_state { OUTPUT_NONE, OUTPUT_DAMAGED, OUTPUT_WHOLE, OUTPUT_COMPACTED };

static int output_look(struct catalog *c, const struct catalog_plan *p, uint64_t deadline,
                       enum output_state *state, struct catalog_block **output, struct err *err)
{
    struct catalog_block_id id;
    struct catalog_block *old = NULL;
    memcpy(id.id, p->output, 16);
    *state = OUTPUT_NONE;
    int rc = catalog_metas_read(c, p->tenant, "meta.json", &id, 1, deadline, output, NULL, err);
    if (rc == 0)
        rc = catalog_metas_read(c, p->tenant, "meta.compacted.json", &id, 1, deadline, &old, NULL,
                                err);
    if (rc == 0 && old) {
        *state = OUTPUT_COMPACTED;
    } else if (rc == 0 && *output) {
        struct block_check check = {.meta = &(*output)->meta};
        rc = block_check_many(c->opts.store, &check, 1, deadline, err);
        *state = check.rc == 0 ? OUTPUT_WHOLE : OUTPUT_DAMAGED;
        (*output)->created_unix_ns = clock_unix_ns(c->opts.clock);
    }
    if (rc < 0 || *state != OUTPUT_WHOLE)
        *output = catalog_block_release(*output);
    catalog_block_release(old);
    return rc;
}

static int inputs_load(struct catalog *c, struct catalog_plan *p, uint64_t deadline, bool *live,
                       struct err *err)
{
    struct catalog_block_id ids[LIMIT_PLAN_INPUTS];
    memcpy(ids, p->ids, p->input_count * sizeof ids[0]);
    struct catalog_block **inputs = arena_array(p->arena, struct catalog_block *, p->input_count);
    if (!inputs)
        return arena_err(p->arena, err, "a compaction plan");
    int rc = catalog_metas_read(c, p->tenant, "meta.json", ids, p->input_count, deadline, inputs,
                                NULL, err);
    if (rc < 0)
        return rc;
    p->inputs = inputs;
    for (size_t i = 0; i < p->input_count; i++)
        *live &= inputs[i] != NULL;
    return 0;
}

/* Finds out where the plan's owner has come to. *dead: nothing can come of it any more. */
static int take_up(struct catalog *c, struct catalog_plan *p, uint64_t deadline, bool *dead,
                   struct err *err)
{
    enum output_state state;
    struct catalog_block *output = NULL;
    bool live = true;
    int rc = output_look(c, p, deadline, &state, &output, err);
    if (rc == 0 && (state == OUTPUT_WHOLE || state == OUTPUT_COMPACTED)) {
        p->committed = true;
        return output_is_there(c, p, output, err);
    }
    if (rc == 0)
        rc = inputs_live(c, p, deadline, &live, err);
    if (rc == 0 && live)
        rc = inputs_load(c, p, deadline, &live, err);
    if (rc == 0 && !live && state == OUTPUT_DAMAGED)
        rc = err_set(err, ERR_CORRUPT,
                     "the block that %.*s has made is damaged, and not all of "
                     "its inputs are live",
                     SLICE_ARGS(p->name));
    *dead = !live;
    return rc;
}

int catalog_plan_resume(struct catalog *c, uint64_t deadline_mono_ns, struct catalog_plan **out,
                        struct err *err)
{
    *out = NULL;
    for (;;) {
        bool held = false, dead = false;
        struct catalog_plan_state *now = NULL;
        struct catalog_plan *p = take_left(c, &held, err);
        if (!p)
            return 0;
        int rc = catalog_plan_get(c, p->name, deadline_mono_ns, NULL, &now, err);
        held |= now && now->held;
        catalog_plan_state_free(now);
        if (rc == 0 && held)
            rc = catalog_plan_put(c, p, true, deadline_mono_ns, err);
        if (rc == 0 && held)
            rc = take_up(c, p, deadline_mono_ns, &dead, err);
        if (rc == 0 && held && !dead) {
            p->beat_mono_ns = clock_mono_ns(c->opts.clock);
            *out = p;
            return 0;
        }
        if (rc == 0 || rc == ERR_NOTFOUND)
            rc = catalog_plan_drop(c, p, deadline_mono_ns, err);
        else
            catalog_plan_abandon(c, p);
        if (rc < 0)
            return rc;
    }
}
