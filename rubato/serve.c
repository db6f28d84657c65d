/* Composes the server: catalogue, ingest, worker, frontend, compactor, as the target says. */
#include "rubato/serve.h"

#include <stdio.h>

#include "app/app.h"
#include "app/overrides.h"
#include "catalog/catalog.h"
#include "compact/compactor.h"
#include "frontend/frontend.h"
#include "frontend/pools.h"
#include "ingest/ingest.h"
#include "worker/worker.h"
#include "worker/worker_remote.h"

struct server {
    int argc;
    char **argv;
    struct app *app;
    struct catalog *catalog;
    struct ingest *ingest;
    struct worker *worker;
    struct worker_remote *remote;
    struct pools *pools;
    struct frontend *frontend;
    struct compactor *compactor;
};

static void stop_ingest(void *ctx)
{
    ingest_stop(ctx);
}

static void stop_compactor(void *ctx)
{
    compactor_stop(ctx);
}

/* A tenant's own retention, window and leave to be compacted. */
static void compaction_of(void *ctx, struct slice tenant, struct compactor_tenant *limits)
{
    struct overrides *o = ctx;
    int64_t retention_ns = overrides_block_retention_ns(o, tenant);
    int64_t window_ns = overrides_compaction_window_ns(o, tenant);
    if (retention_ns > 0)
        limits->block_retention_ns = (uint64_t)retention_ns;
    if (window_ns > 0)
        limits->compaction_window_ns = (uint64_t)window_ns;
    limits->compaction_disabled = overrides_compaction_disabled(o, tenant);
}

static int make_compactor(struct server *s, struct err *err)
{
    struct app *app = s->app;
    const struct app_config *cfg = &app->cfg;
    const struct compactor_opts opts = {
        .store = app->store,
        .catalog = s->catalog,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .limits = {.block_retention_ns = (uint64_t)cfg->compactor.compaction.block_retention_ns,
                   .compaction_window_ns =
                       (uint64_t)cfg->compactor.compaction.compaction_window_ns},
        .tenant = compaction_of,
        .tenant_ctx = app->overrides,
        .cycle_ns = (uint64_t)cfg->compactor.compaction.compaction_cycle_ns,
        .compacted_block_retention_ns =
            (uint64_t)cfg->compactor.compaction.compacted_block_retention_ns,
        .objects_max = (uint64_t)cfg->compactor.compaction.max_compaction_objects,
        .block_bytes_max = cfg->compactor.compaction.max_block_bytes,
        .inputs_min = (uint32_t)cfg->compactor.compaction.min_input_blocks,
        .inputs_max = (uint32_t)cfg->compactor.compaction.max_input_blocks,
        .row_group_bytes = cfg->storage.trace.block.parquet_row_group_size_bytes,
        .bloom_false_positive = cfg->storage.trace.block.bloom_filter_false_positive,
        .bloom_shard_bytes = (uint32_t)cfg->storage.trace.block.bloom_filter_shard_size_bytes,
        .waiting_bytes_max = 4 * cfg->block_builder.max_bytes,
        .disabled = cfg->compactor.disabled,
        .tenant_index = cfg->storage.trace.blocklist_poll_tenant_index_builders > 0,
    };
    int rc = compactor_new(&opts, &s->compactor, err);
    app_add_service(app, "compactor");
    if (rc == 0)
        app_on_stop(app, stop_compactor, s->compactor);
    return rc;
}

static void stop_remote(void *ctx)
{
    worker_remote_stop(ctx);
}

/* A frontend has workers of its own; a worker alone takes its jobs from others. */
static int make_query_roles(struct server *s, struct err *err)
{
    struct app *app = s->app;
    const struct worker_opts worker = {.store = app->store,
                                       .catalog = s->catalog,
                                       .log = app->log,
                                       .metrics = app->metrics,
                                       .clock = app->clock};
    int rc = worker_new(&worker, &s->worker, err);
    app_add_service(app, "worker");
    if (rc == 0 && !app_serves(app, APP_FRONTEND)) {
        rc = worker_remote_of_app(app, s->worker, s->catalog, &s->remote, err);
        if (s->remote)
            app_on_stop(app, stop_remote, s->remote);
        return rc;
    }
    if (rc == 0)
        rc = pools_of_app(app, worker_interface(s->worker), s->argc, s->argv, &s->pools, err);
    if (rc < 0)
        return rc;
    const struct frontend_opts frontend = {.app = app,
                                           .catalog = s->catalog,
                                           .worker = pools_worker(s->pools),
                                           .pools = s->pools,
                                           .job_threads = pools_slots_max(s->pools)};
    rc = frontend_new(&frontend, &s->frontend, err);
    app_add_service(app, "frontend");
    if (rc == 0)
        app_set_api(app, frontend_handle, s->frontend);
    return rc;
}

static int make_roles(struct server *s, struct err *err)
{
    struct app *app = s->app;
    bool ingests = app_serves(app, APP_INGEST);
    bool queries = app_serves(app, APP_FRONTEND) || app_serves(app, APP_WORKER);
    bool compacts = app_serves(app, APP_COMPACTOR);
    uint64_t block_poll_ns = (uint64_t)app->cfg.storage.trace.blocklist_poll_ns;
    const struct catalog_opts catalog = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = block_poll_ns,
        /* Alone, nobody else's segments appear; a frontend of its own looks for them. */
        .segment_poll_ns = ingests ? 15 * NS_PER_S : queries ? NS_PER_S : block_poll_ns,
        .linger_ns = (uint64_t)app->cfg.block_builder.linger_ns,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
        .blocks_only = compacts && !ingests && !queries,
    };
    int rc = catalog_new(&catalog, &s->catalog, err);
    if (rc == 0 && ingests) {
        const struct ingest_opts opts = {.app = app, .catalog = s->catalog, .build = true};
        rc = ingest_new(&opts, &s->ingest, err);
        app_add_service(app, "ingest");
        if (rc == 0)
            app_on_stop(app, stop_ingest, s->ingest);
    }
    if (rc == 0 && queries)
        rc = make_query_roles(s, err);
    if (rc == 0 && compacts)
        rc = make_compactor(s, err);
    return rc;
}

static int start(struct server *s, struct err *err)
{
    int rc = make_roles(s, err);
    if (rc == 0 && !s->remote) /* a worker's jobs name all that it reads */
        rc = catalog_start(s->catalog, err);
    if (rc == 0)
        rc = app_http(s->app, err);
    if (rc == 0 && s->ingest)
        rc = ingest_start(s->ingest, err);
    if (rc == 0 && s->compactor)
        rc = compactor_start(s->compactor, err);
    return rc;
}

static void free_roles(struct server *s)
{
    compactor_free(s->compactor);
    frontend_free(s->frontend);
    pools_free(s->pools);
    worker_remote_free(s->remote);
    ingest_free(s->ingest);
    worker_free(s->worker);
    catalog_free(s->catalog);
}

static void announce(const struct server *s)
{
    const struct app_config *cfg = &s->app->cfg;
    struct slice none = {NULL, 0};
    bool in = s->ingest;
    app_print_ways(
        s->app,
        in && cfg->distributor.otlp.grpc.present ? cfg->distributor.otlp.grpc.endpoint : none,
        in && cfg->distributor.otlp.http.present ? cfg->distributor.otlp.http.endpoint : none);
}

int serve(int argc, char **argv, const char *program, unsigned roles)
{
    struct server s = {.argc = argc, .argv = argv};
    struct err err = {0};
    int status =
        app_start(argc, argv, &(struct app_opts){.program = program, .roles = roles}, &s.app);
    if (!s.app)
        return status;
    int rc = start(&s, &err);
    if (rc == 0) {
        app_set_ready(s.app);
        announce(&s);
        app_run(s.app);
    } else {
        LOG_ERROR(s.app->log, "cannot start", KV_ERR(&err));
    }
    app_drain(s.app);
    free_roles(&s);
    app_free(s.app);
    return rc < 0 ? 1 : 0;
}
