/* Composes the server: catalogue, ingest, worker, frontend, as the target says. */
#include "rubato/serve.h"

#include <stdio.h>

#include "app/app.h"
#include "catalog/catalog.h"
#include "frontend/frontend.h"
#include "ingest/ingest.h"
#include "worker/worker.h"

struct server {
    struct app *app;
    struct catalog *catalog;
    struct ingest *ingest;
    struct worker *worker;
    struct frontend *frontend;
};

static void stop_ingest(void *ctx)
{
    ingest_stop(ctx);
}

static int make_roles(struct server *s, struct err *err)
{
    struct app *app = s->app;
    bool ingests = app_serves(app, APP_INGEST);
    bool queries = app_serves(app, APP_FRONTEND);
    const struct catalog_opts catalog = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = (uint64_t)app->cfg.storage.trace.blocklist_poll_ns,
        /* Alone, nobody else's segments appear; a frontend of its own looks for them. */
        .segment_poll_ns = ingests ? 15 * NS_PER_S : NS_PER_S,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
    };
    int rc = catalog_new(&catalog, &s->catalog, err);
    if (rc == 0 && ingests) {
        const struct ingest_opts opts = {.app = app, .catalog = s->catalog, .build = true};
        rc = ingest_new(&opts, &s->ingest, err);
        app_add_service(app, "ingest");
        if (rc == 0)
            app_on_stop(app, stop_ingest, s->ingest);
    }
    if (rc == 0 && queries) {
        const struct worker_opts opts = {.store = app->store,
                                         .catalog = s->catalog,
                                         .log = app->log,
                                         .metrics = app->metrics,
                                         .clock = app->clock};
        rc = worker_new(&opts, &s->worker, err);
        app_add_service(app, "worker");
    }
    if (rc == 0 && queries) {
        const struct frontend_opts opts = {
            .app = app, .catalog = s->catalog, .worker = worker_interface(s->worker)};
        rc = frontend_new(&opts, &s->frontend, err);
        app_add_service(app, "frontend");
        if (rc == 0)
            app_set_api(app, frontend_handle, s->frontend);
    }
    return rc;
}

static int start(struct server *s, struct err *err)
{
    int rc = make_roles(s, err);
    if (rc == 0)
        rc = catalog_start(s->catalog, err);
    if (rc == 0)
        rc = app_http(s->app, err);
    if (rc == 0 && s->ingest)
        rc = ingest_start(s->ingest, err);
    return rc;
}

static void free_roles(struct server *s)
{
    frontend_free(s->frontend);
    ingest_free(s->ingest);
    worker_free(s->worker);
    catalog_free(s->catalog);
}

static void announce(const struct server *s)
{
    const struct app_config *cfg = &s->app->cfg;
    struct slice none = {NULL, 0};
    bool in = s->ingest;
    app_print_ways(s->app,
                   in && cfg->distributor.otlp.grpc.present ? cfg->distributor.otlp.grpc.endpoint
                                                            : none,
                   in && cfg->distributor.otlp.http.present ? cfg->distributor.otlp.http.endpoint
                                                            : none);
}

int serve(int argc, char **argv, const char *program, unsigned roles)
{
    struct server s = {0};
    struct err err = {0};
    int status = app_start(argc, argv, &(struct app_opts){.program = program, .roles = roles},
                           &s.app);
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
