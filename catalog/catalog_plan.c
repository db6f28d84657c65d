/* Plans as the catalogue knows them: read from the store, and what follows from them for views and
 * for new plans. The steps of one plan are in catalog_plan_run.c. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "base/text.h"
#include "catalog/catalog_priv.h"

void catalog_plan_block_id(struct slice plan, struct slice tenant, uint8_t id[16])
{
    catalog_build_block_id(plan, tenant, id); /* names of plans and builds differ */
}

void catalog_plan_state_free(struct catalog_plan_state *p)
{
    if (!p)
        return;
    vec_free(&p->inputs);
    free(p->name);
    free(p->tenant);
    free(p);
}

struct catalog_plan_state *catalog_plan_of_locked(struct catalog *c, struct slice name)
{
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        if (slice_eq(slice_cstr(c->shared.plans.at[i]->name), name))
            return c->shared.plans.at[i];
    }
    return NULL;
}

/* ---- the object ---- */

static bool inputs_parse(const cJSON *list, struct catalog_plan_state *p)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        struct catalog_block_id id = {0};
        if (p->inputs.count == LIMIT_PLAN_INPUTS || !cJSON_IsString(item) ||
            !uuid_parse(slice_cstr(item->valuestring), id.id) || !vec_push(&p->inputs, id))
            return false;
    }
    return p->inputs.count > 0;
}

static bool opts_parse(const cJSON *doc, struct catalog_plan_opts *o)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(doc, "row_group_bytes");
    const cJSON *rate = cJSON_GetObjectItemCaseSensitive(doc, "bloom_false_positive");
    const cJSON *shard = cJSON_GetObjectItemCaseSensitive(doc, "bloom_shard_bytes");
    if (!cJSON_IsNumber(rows) || !cJSON_IsNumber(rate) || !cJSON_IsNumber(shard))
        return false;
    double r = rows->valuedouble, f = rate->valuedouble, s = shard->valuedouble;
    if (!(r >= 1 && r <= 1e15 && f > 0 && f < 1 && s >= 1 && s <= UINT32_MAX))
        return false;
    *o = (struct catalog_plan_opts){(uint64_t)r, f, (uint32_t)s};
    return true;
}

/* NULL: not a plan. *writer, of 17 bytes, gets its owner's id; writer may be NULL. */
static struct catalog_plan_state *plan_parse(struct slice json, struct slice name, char *writer)
{
    cJSON *doc = cJSON_ParseWithLength((const char *)json.ptr, json.len);
    const cJSON *tenant = cJSON_GetObjectItemCaseSensitive(doc, "tenant");
    const cJSON *owner = cJSON_GetObjectItemCaseSensitive(doc, "writer");
    struct catalog_plan_state *p = calloc(1, sizeof *p);
    bool ok = p && cJSON_IsString(tenant) && cJSON_IsString(owner) &&
              strlen(owner->valuestring) == 16 && (p->tenant = strdup(tenant->valuestring)) &&
              (p->name = strndup((const char *)name.ptr, name.len)) && opts_parse(doc, &p->opts) &&
              inputs_parse(cJSON_GetObjectItemCaseSensitive(doc, "inputs"), p);
    if (ok) {
        p->held = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(doc, "held"));
        catalog_plan_block_id(name, slice_cstr(p->tenant), p->output);
        if (writer)
            memcpy(writer, owner->valuestring, 17);
    }
    cJSON_Delete(doc);
    if (!ok) {
        catalog_plan_state_free(p);
        return NULL;
    }
    return p;
}

int catalog_plan_get(struct catalog *c, struct slice name, uint64_t deadline, char *writer,
                     struct catalog_plan_state **out, struct err *err)
{
    struct buf json;
    buf_init(&json, LIMIT_CATALOG_PLAN_BYTES);
    *out = NULL;
    int rc = objstore_get(c->opts.store, name, deadline, &json, err);
    if (rc == 0 && !(*out = plan_parse(buf_view(&json), name, writer)))
        rc = err_set(err, ERR_CORRUPT, "%.*s is no compaction plan", SLICE_ARGS(name));
    buf_clear(&json);
    return rc;
}

int catalog_plan_put(struct catalog *c, const struct catalog_plan *p, bool held, uint64_t deadline,
                     struct err *err)
{
    cJSON *doc = cJSON_CreateObject();
    char *tenant = arena_cstr(p->arena, p->tenant);
    bool ok = tenant && cJSON_AddStringToObject(doc, "writer", c->writer) &&
              cJSON_AddStringToObject(doc, "tenant", tenant) &&
              cJSON_AddBoolToObject(doc, "held", held) &&
              cJSON_AddNumberToObject(doc, "row_group_bytes", (double)p->opts.row_group_bytes) &&
              cJSON_AddNumberToObject(doc, "bloom_false_positive", p->opts.bloom_false_positive) &&
              cJSON_AddNumberToObject(doc, "bloom_shard_bytes", p->opts.bloom_shard_bytes);
    cJSON *list = ok ? cJSON_AddArrayToObject(doc, "inputs") : NULL;
    ok = list;
    for (size_t i = 0; i < p->input_count && ok; i++) {
        char uuid[37];
        uuid_format(p->ids[i], uuid);
        cJSON *item = cJSON_CreateString(uuid);
        ok = item && cJSON_AddItemToArray(list, item);
    }
    char *text = ok ? cJSON_PrintUnformatted(doc) : NULL;
    cJSON_Delete(doc);
    if (!text)
        return err_set(err, ERR_NOMEM, "no memory for a compaction plan");
    int rc = objstore_put(c->opts.store, p->name, slice_cstr(text), 0, deadline, err);
    free(text);
    return rc;
}

/* ---- looking at the store ---- */

/* Takes up a plan that was listed. The object is read when it is new or has changed. */
static int plan_note(struct catalog *c, const struct catalog_name *listed, uint64_t deadline,
                     struct err *err)
{
    struct slice name = slice_cstr(listed->name);
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_plan_state *have = catalog_plan_of_locked(c, name);
    bool same = have && (have->ours || have->modified_unix_ns == listed->modified_unix_ns);
    pthread_mutex_unlock(&c->shared.mu);
    if (same)
        return 0;
    struct catalog_plan_state *now;
    int rc = catalog_plan_get(c, name, deadline, NULL, &now, err);
    if (rc < 0)
        return rc == ERR_NOTFOUND ? 0 : rc;
    now->modified_unix_ns = listed->modified_unix_ns;
    now->seen_mono_ns = clock_mono_ns(c->opts.clock);
    now->listed = true;
    bool ok = true;
    pthread_mutex_lock(&c->shared.mu);
    have = catalog_plan_of_locked(c, name);
    if (have) {
        have->held |= now->held;
        have->modified_unix_ns = now->modified_unix_ns;
        have->seen_mono_ns = now->seen_mono_ns;
    } else {
        ok = vec_push(&c->shared.plans, now);
        if (ok) {
            now = NULL;
            catalog_plans_apply_locked(c);
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
    catalog_plan_state_free(now);
    return ok ? 0 : err_set(err, ERR_NOMEM, "no memory for a compaction plan");
}

/* Deletes plan objects that no reader can need any more. */
static void plans_sweep(struct catalog *c, uint64_t deadline)
{
    int rc = 0;
    while (rc == 0) {
        char *due = NULL;
        uint64_t now = clock_mono_ns(c->opts.clock);
        pthread_mutex_lock(&c->shared.mu);
        for (uint32_t i = 0; i < c->shared.plans.count && !due; i++) {
            struct catalog_plan_state *p = c->shared.plans.at[i];
            if (p->finished_mono_ns && !p->deleted &&
                now - p->finished_mono_ns >= catalog_linger_ns(c)) {
                due = strdup(p->name);
                p->deleted = due != NULL;
            }
        }
        pthread_mutex_unlock(&c->shared.mu);
        if (!due)
            return;
        struct err err;
        rc = objstore_delete(c->opts.store, slice_cstr(due), deadline, &err);
        if (rc < 0) {
            LOG_WARN(&c->log, "finished compaction plan cannot be deleted", KV_ERR(&err));
            pthread_mutex_lock(&c->shared.mu);
            struct catalog_plan_state *p = catalog_plan_of_locked(c, slice_cstr(due));
            if (p)
                p->deleted = false;
            pthread_mutex_unlock(&c->shared.mu);
        }
        free(due);
    }
}

static int refresh_plans(struct catalog *c, uint64_t deadline, struct err *err)
{
    struct catalog_names plans = {0};
    int rc = catalog_list_names(c, CATALOG_PLAN_PREFIX, false, deadline, &plans, err);
    bool unreadable = false;
    for (uint32_t i = 0; i < plans.at.count && rc == 0; i++) {
        rc = plan_note(c, &plans.at.at[i], deadline, err);
        if (rc == ERR_CORRUPT) {
            LOG_ERROR(&c->log, "plan cannot be read: no blocks are compacted while it is there",
                      KV_ERR(err));
            unreadable = true;
            rc = 0;
        }
    }
    /* In one step: another thread may be choosing by it. */
    pthread_mutex_lock(&c->shared.mu);
    for (uint32_t i = 0; i < c->shared.plans.count && rc == 0; i++) {
        struct catalog_plan_state *p = c->shared.plans.at[i];
        p->listed = catalog_names_have(&plans, slice_cstr(p->name));
    }
    if (rc == 0)
        c->shared.unreadable_plans = unreadable;
    pthread_mutex_unlock(&c->shared.mu);
    catalog_names_clear(&plans);
    return rc;
}

static int refresh_builds(struct catalog *c, uint64_t deadline, struct err *err)
{
    struct catalog_names builds = {0};
    int rc = catalog_list_names(c, CATALOG_BUILD_PREFIX, false, deadline, &builds, err);
    if (rc == 0) {
        pthread_mutex_lock(&c->shared.mu);
        for (uint32_t i = 0; i < c->shared.build_names.count; i++)
            free(c->shared.build_names.at[i]);
        vec_reset(&c->shared.build_names);
        if (vec_reserve(&c->shared.build_names, builds.at.count)) {
            for (uint32_t i = 0; i < builds.at.count; i++) {
                c->shared.build_names.at[i] = builds.at.at[i].name;
                builds.at.at[i].name = NULL;
            }
            c->shared.build_names.count = builds.at.count;
        } else {
            rc = err_set(err, ERR_NOMEM, "no memory for a listing");
        }
        pthread_mutex_unlock(&c->shared.mu);
    }
    catalog_names_clear(&builds);
    return rc;
}

int catalog_plans_refresh(struct catalog *c, uint64_t deadline_mono_ns, struct err *err)
{
    pthread_mutex_lock(&c->plan_io);
    plans_sweep(c, deadline_mono_ns);
    int rc = refresh_plans(c, deadline_mono_ns, err);
    if (rc == 0)
        rc = refresh_builds(c, deadline_mono_ns, err);
    pthread_mutex_unlock(&c->plan_io);
    return rc;
}

/* ---- what follows ---- */

static bool has_input(const struct catalog_plan_state *p, struct slice tenant, const uint8_t id[16])
{
    if (!slice_eq(slice_cstr(p->tenant), tenant))
        return false;
    for (uint32_t i = 0; i < p->inputs.count; i++) {
        if (memcmp(p->inputs.at[i].id, id, 16) == 0)
            return true;
    }
    return false;
}

bool catalog_is_superseded_locked(const struct catalog *c, struct slice tenant,
                                  const uint8_t id[16])
{
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        const struct catalog_plan_state *p = c->shared.plans.at[i];
        if (p->output_seen && has_input(p, tenant, id))
            return true;
    }
    return false;
}

void catalog_plans_apply_locked(struct catalog *c)
{
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        struct catalog_plan_state *p = c->shared.plans.at[i];
        struct catalog_tenant *t = catalog_tenant_locked(c, slice_cstr(p->tenant), false);
        bool found = false;
        if (t && !p->output_seen)
            catalog_block_find(t, p->output, &found);
        p->output_seen |= found;
        for (uint32_t k = 0; t && p->output_seen && k < p->inputs.count; k++)
            catalog_block_release(catalog_take_block_locked(t, p->inputs.at[k].id));
    }
}

void catalog_plans_forget_locked(struct catalog *c, uint64_t started_mono_ns)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        struct catalog_plan_state *p = c->shared.plans.at[i];
        /* The listing of blocks began after an earlier one had ended without the plan: what it
         * shows of the inputs is their end. */
        bool gone = !p->ours && !p->listed && p->seen_mono_ns < started_mono_ns;
        if (gone && p->absent) {
            catalog_plan_state_free(p);
            continue;
        }
        p->absent = gone;
        c->shared.plans.at[kept++] = p;
    }
    c->shared.plans.count = kept;
}

/* ---- which blocks may become inputs ---- */

static bool of_build_locked(const struct catalog *c, struct slice tenant, const uint8_t id[16])
{
    for (uint32_t i = 0; i < c->shared.build_names.count; i++) {
        uint8_t made[16];
        catalog_build_block_id(slice_cstr(c->shared.build_names.at[i]), tenant, made);
        if (memcmp(made, id, 16) == 0)
            return true;
    }
    for (uint32_t i = 0; i < c->shared.builds.count; i++) {
        uint8_t made[16];
        catalog_build_block_id(slice_cstr(c->shared.builds.at[i]->name), tenant, made);
        if (memcmp(made, id, 16) == 0)
            return true;
    }
    return false;
}

/* Whether a plan other than self, which the store has, takes or makes the block. */
static bool of_plan_locked(const struct catalog *c, const struct catalog_plan_state *self,
                           struct slice tenant, const uint8_t id[16])
{
    for (uint32_t i = 0; i < c->shared.plans.count; i++) {
        const struct catalog_plan_state *p = c->shared.plans.at[i];
        if (p == self || !(p->listed || p->ours))
            continue;
        if (has_input(p, tenant, id) ||
            (slice_eq(slice_cstr(p->tenant), tenant) && memcmp(p->output, id, 16) == 0))
            return true;
    }
    return false;
}

bool catalog_is_in_use_locked(const struct catalog *c, struct slice tenant, const uint8_t id[16])
{
    return of_build_locked(c, tenant, id) || of_plan_locked(c, NULL, tenant, id);
}

bool catalog_inputs_free_locked(const struct catalog *c, const struct catalog_plan_state *self)
{
    if (c->shared.unreadable_plans)
        return false;
    struct slice tenant = slice_cstr(self->tenant);
    for (uint32_t i = 0; i < self->inputs.count; i++) {
        if (of_build_locked(c, tenant, self->inputs.at[i].id) ||
            of_plan_locked(c, self, tenant, self->inputs.at[i].id))
            return false;
    }
    return true;
}

static bool is_flagged(const struct catalog_tenant *t, const uint8_t id[16])
{
    for (uint32_t i = 0; i < t->flagged.count; i++) {
        if (memcmp(t->flagged.at[i].id, id, 16) == 0)
            return true;
    }
    return false;
}

int catalog_compactable(struct catalog *c, struct slice tenant, struct arena *a,
                        struct catalog_block ***blocks, size_t *count, struct err *err)
{
    int rc = 0;
    *blocks = NULL;
    *count = 0;
    pthread_mutex_lock(&c->shared.mu);
    struct catalog_tenant *t = catalog_tenant_locked(c, tenant, false);
    if (t && !c->shared.unreadable_plans) {
        *blocks = arena_array(a, struct catalog_block *, t->blocks.count);
        if (!*blocks)
            rc = arena_err(a, err, "the list of blocks");
        for (uint32_t i = 0; rc == 0 && i < t->blocks.count; i++) {
            struct catalog_block *b = t->blocks.at[i];
            if (!b->unchecked && !is_flagged(t, b->meta.id) &&
                !catalog_is_in_use_locked(c, tenant, b->meta.id))
                (*blocks)[(*count)++] = catalog_block_acquire(b);
        }
    }
    pthread_mutex_unlock(&c->shared.mu);
    return rc;
}
