/* Segments become blocks: decode, group by trace, write one block a tenant, commit, retire the
 * segments. The steps and what a crash between them leaves: catalog/catalog.h. */
#include <stdlib.h>

#include "app/overrides.h"
#include "base/text.h"
#include "catalog/block_store.h"
#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

/* Names of a tenant's dedicated columns; they come from the configuration. */
#define LIMIT_DEDICATED_BYTES ((size_t)1 << 20)

/* The sections of one tenant in a build. */
struct tenant_build {
    struct slice tenant;
    VEC(struct catalog_section) sections;
};

/* The builder thread's own: storage is kept from block to block. */
struct builder {
    struct ingest *in;
    struct block_writer *writer;
    struct span_batch batch;
    struct arena *arena;                   /* of one block: the names of… */
    VEC(struct block_dedicated) dedicated; /* …its dedicated columns */
};

/* What the tenant's new blocks dedicate columns to, as far as vParquet4 can hold it. */
static int take_dedicated(struct builder *bd, struct slice tenant, struct err *err)
{
    struct overrides *o = bd->in->opts.app->overrides;
    const struct overrides_limits *limits = overrides_acquire(o, tenant);
    const struct config_items *items = overrides_dedicated_columns(o, limits);
    bool ok = true;
    arena_reset(bd->arena);
    vec_reset(&bd->dedicated);
    for (size_t i = 0; i < items->count && ok; i++) {
        const struct app_dedicated_column *c = (const struct app_dedicated_column *)items->at + i;
        struct block_dedicated d = {.scope = BLOCK_SCOPE_SPAN};
        if (slice_eq(c->scope, SLICE("resource")))
            d.scope = BLOCK_SCOPE_RESOURCE;
        else if (slice_eq(c->scope, SLICE("event")))
            d.scope = BLOCK_SCOPE_EVENT;
        if (slice_eq(c->type, SLICE("int")))
            d.type = BLOCK_DEDICATED_INT;
        ok = arena_slice(bd->arena, c->name, &d.name) && vec_push(&bd->dedicated, d);
    }
    overrides_release(o, limits);
    if (!ok)
        return err_set(err, ERR_NOMEM, "no memory for the list of dedicated columns");
    bd->dedicated.count =
        (uint32_t)shred_dedicated(bd->dedicated.at, bd->dedicated.count, bd->dedicated.at);
    return 0;
}

static int decode_all(struct ingest *in, const struct tenant_build *t, uint64_t deadline,
                      struct shared_bytes **raws, uint32_t *raw_count, struct span_batch *batch,
                      struct err *err)
{
    for (uint32_t i = 0; i < t->sections.count; i++) {
        int rc = catalog_section_raw(in->opts.catalog, &t->sections.at[i], deadline, &raws[i], err);
        if (rc < 0)
            return rc;
        (*raw_count)++;
        struct cursor c = cursor_of(shared_bytes_view(raws[i]));
        struct slice body;
        while ((rc = segment_next(&c, &body, err)) == 0) {
            rc = otlp_decode(body, batch, err);
            if (rc < 0)
                return rc;
            span_batch_end_fragment(batch);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_traces(struct block_writer *w, const struct span_batch *batch, struct err *err)
{
    uint32_t n = batch->spans.count;
    uint32_t *order = malloc((n ? n : 1) * sizeof *order);
    int64_t kept = order ? span_batch_group(batch, order) : ERR_NOMEM;
    int rc = kept < 0 ? err_set(err, ERR_NOMEM, "no memory to group %u spans", n) : 0;
    for (uint32_t i = 0; i < kept && rc == 0;) {
        uint32_t next = i + 1;
        while (next < kept && memcmp(batch->spans.at[order[next]].trace_id,
                                     batch->spans.at[order[i]].trace_id, 16) == 0)
            next++;
        const struct trace t = {batch, order + i, next - i};
        rc = block_writer_add(w, &t, err);
        i = next;
    }
    free(order);
    return rc;
}

static int build_block(struct builder *bd, const struct catalog_build *b,
                       const struct tenant_build *t, struct err *err)
{
    struct ingest *in = bd->in;
    const struct app *app = in->opts.app;
    uint64_t deadline = clock_mono_ns(app->clock) + BLOCK_WRITE_TIMEOUT_S * NS_PER_S;
    struct block_writer_opts opts = {
        .tenant = t->tenant,
        .row_group_bytes = app->cfg.storage.trace.block.parquet_row_group_size_bytes,
        .bloom_false_positive = app->cfg.storage.trace.block.bloom_filter_false_positive,
        .bloom_shard_bytes = (uint32_t)app->cfg.storage.trace.block.bloom_filter_shard_size_bytes,
        .deadline_mono_ns = deadline,
    };
    catalog_build_block_id(b->name, t->tenant, opts.id);
    if (catalog_has_block(in->opts.catalog, t->tenant, opts.id))
        return 0; /* an earlier try got so far */
    struct shared_bytes **raws = calloc(t->sections.count, sizeof *raws);
    uint32_t raw_count = 0;
    struct block_meta meta;
    span_batch_reset(&bd->batch);
    int rc = raws ? decode_all(in, t, deadline, raws, &raw_count, &bd->batch, err)
                  : err_set(err, ERR_NOMEM, "no memory for a build");
    if (rc == 0)
        rc = take_dedicated(bd, t->tenant, err);
    opts.dedicated = bd->dedicated.at;
    opts.dedicated_count = bd->dedicated.count;
    if (rc == 0)
        rc = block_writer_begin(bd->writer, &opts, err);
    if (rc == 0)
        rc = write_traces(bd->writer, &bd->batch, err);
    if (rc == 0)
        rc = block_writer_finish(bd->writer, &meta, err);
    if (rc == 0)
        rc = catalog_build_commit(in->opts.catalog, b, &meta, err);
    if (rc == 0) {
        char uuid[37];
        uuid_format(meta.id, uuid);
        counter_add(in->m.built_spans, bd->batch.spans.count);
        LOG_INFO(&in->log, "block written", KV_SLICE("tenant", t->tenant), KV_STR("block", uuid),
                 KV_I64("traces", meta.total_objects), KV_U64("spans", bd->batch.spans.count),
                 KV_U64("bytes", meta.size));
    }
    for (uint32_t i = 0; i < raw_count; i++)
        shared_bytes_release(raws[i]);
    free(raws);
    return rc;
}

static struct tenant_build *tenant_of(struct tenant_build *list, size_t *count, struct slice tenant)
{
    for (size_t i = 0; i < *count; i++) {
        if (slice_eq(list[i].tenant, tenant))
            return &list[i];
    }
    list[*count] = (struct tenant_build){.tenant = tenant};
    return &list[(*count)++];
}

static int build_blocks(struct builder *bd, struct catalog_build *b, struct err *err)
{
    size_t most = 0, count = 0;
    for (size_t i = 0; i < b->segment_count; i++)
        most += b->segments[i]->footer.section_count;
    struct tenant_build *tenants = arena_zalloc(b->arena, most * sizeof *tenants);
    int rc = tenants ? 0 : arena_err(b->arena, err, "a build");
    for (size_t i = 0; i < b->segment_count && rc == 0; i++) {
        struct catalog_segment *s = b->segments[i];
        for (uint32_t k = 0; k < s->footer.section_count; k++) {
            struct tenant_build *t = tenant_of(tenants, &count, s->footer.sections[k].tenant);
            if (!vec_push(&t->sections, (struct catalog_section){s, &s->footer.sections[k], k}))
                rc = err_set(err, ERR_NOMEM, "no memory for a build");
        }
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = build_block(bd, b, &tenants[i], err);
    for (size_t i = 0; i < count; i++)
        vec_free(&tenants[i].sections);
    return rc;
}

static int build_run(struct builder *bd, struct catalog_build *b, struct err *err)
{
    struct ingest *in = bd->in;
    uint64_t start = clock_mono_ns(in->opts.app->clock);
    int rc = b->committed ? 0 : build_blocks(bd, b, err);
    if (rc < 0) {
        catalog_build_abandon(in->opts.catalog, b);
    } else {
        uint64_t deadline = clock_mono_ns(in->opts.app->clock) + BLOCK_WRITE_TIMEOUT_S * NS_PER_S;
        rc = catalog_build_finish(in->opts.catalog, b, deadline, err);
    }
    histogram_observe(in->m.build_seconds,
                      (double)(clock_mono_ns(in->opts.app->clock) - start) / (double)NS_PER_S);
    return rc;
}

/* One build, if one is due. *did: whether there was one. */
static int build_step(struct builder *bd, bool now, bool *did, struct err *err)
{
    struct ingest *in = bd->in;
    const struct app *app = in->opts.app;
    uint64_t mono = clock_mono_ns(app->clock);
    uint64_t deadline = mono + BLOCK_WRITE_TIMEOUT_S * NS_PER_S;
    struct catalog_build *b = NULL;
    *did = false;
    int rc = catalog_build_resume(in->opts.catalog, deadline, &b, err);
    if (rc == 0 && !b) {
        uint64_t raw, oldest;
        catalog_waiting(in->opts.catalog, &raw, &oldest);
        bool due = raw && (now || raw >= app->cfg.block_builder.max_bytes ||
                           mono - oldest >= (uint64_t)app->cfg.block_builder.window_ns);
        if (due)
            rc = catalog_build_begin(in->opts.catalog, app->cfg.block_builder.max_bytes, deadline,
                                     &b, err);
    }
    if (rc == 0 && b) {
        *did = true;
        rc = build_run(bd, b, err);
    }
    return rc;
}

void *builder_thread(void *arg)
{
    /* How often it looks whether a build is due. */
    enum { STEP_MS = 100 };
    struct ingest *in = arg;
    struct builder bd = {.in = in};
    uint64_t pause_ns = 0;
    pthread_mutex_lock(&in->shared.mu);
    while (!in->shared.stop) {
        bool now = in->shared.build_now, did = false;
        in->shared.building = 1;
        pthread_mutex_unlock(&in->shared.mu);
        struct err err = {0};
        int rc =
            catalog_wait(in->opts.catalog, clock_mono_ns(in->opts.app->clock) + NS_PER_S, NULL);
        if (rc == 0 && !bd.arena && !(bd.arena = arena_new(LIMIT_DEDICATED_BYTES)))
            rc = err_set(&err, ERR_NOMEM, "no memory for a build");
        if (rc == 0 && !bd.writer)
            rc = block_writer_new(in->opts.app->store, &bd.writer, &err);
        if (rc == 0)
            rc = build_step(&bd, now, &did, &err);
        if (rc < 0 && err.code) {
            counter_add(in->m.failed_builds, 1);
            LOG_ERROR(&in->log, "build failed, its segments stay and it is tried again",
                      KV_ERR(&err));
            pause_ns = pause_ns ? pause_ns * 2 : NS_PER_S;
            if (pause_ns > 30 * NS_PER_S)
                pause_ns = 30 * NS_PER_S;
        } else {
            pause_ns = 0;
        }
        pthread_mutex_lock(&in->shared.mu);
        in->shared.building = 0;
        if (now && !did && rc == 0)
            in->shared.build_now = false;
        pthread_cond_broadcast(&in->shared.idle);
        if (did && rc == 0)
            continue; /* perhaps there is more */
        uint64_t until =
            clock_mono_ns(in->opts.app->clock) + (pause_ns ? pause_ns : STEP_MS * NS_PER_MS);
        struct timespec ts = {.tv_sec = (time_t)(until / NS_PER_S),
                              .tv_nsec = (long)(until % NS_PER_S)};
        if (!in->shared.stop)
            pthread_cond_timedwait(&in->shared.idle, &in->shared.mu, &ts);
    }
    pthread_mutex_unlock(&in->shared.mu);
    block_writer_free(bd.writer);
    span_batch_clear(&bd.batch);
    vec_free(&bd.dedicated);
    arena_free(bd.arena);
    return NULL;
}
