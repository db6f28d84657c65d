/* rubato-worker: a process for jobs that it takes from frontends. */
#include "app/app.h"
#include "catalog/catalog.h"
#include "worker/worker.h"
#include "worker/worker_remote.h"

static void stop(void *ctx)
{
    worker_remote_stop(ctx);
}

int main(int argc, char **argv)
{
    struct app *app;
    struct catalog *catalog = NULL;
    struct worker *worker = NULL;
    struct worker_remote *remote = NULL;
    struct err err = {0};
    int status = app_start(
        argc, argv, &(struct app_opts){.program = "rubato-worker", .roles = APP_WORKER}, &app);
    if (!app)
        return status;
    const struct catalog_opts opts = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = (uint64_t)app->cfg.storage.trace.blocklist_poll_ns,
        .segment_poll_ns = NS_PER_S,
        .linger_ns = (uint64_t)app->cfg.block_builder.linger_ns,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
    };
    int rc = catalog_new(&opts, &catalog, &err);
    if (rc == 0)
        rc = worker_new(&(struct worker_opts){.store = app->store,
                                              .catalog = catalog,
                                              .log = app->log,
                                              .metrics = app->metrics,
                                              .clock = app->clock},
                        &worker, &err);
    if (rc == 0)
        rc = worker_remote_of_app(app, worker, catalog, &remote, &err);
    if (rc == 0) {
        app_add_service(app, "worker");
        if (remote)
            app_on_stop(app, stop, remote);
        rc = app_http(app, &err);
    }
    if (rc == 0) {
        app_set_ready(app);
        app_run(app);
    } else {
        LOG_ERROR(app->log, "cannot start", KV_ERR(&err));
    }
    app_drain(app);
    worker_remote_free(remote);
    worker_free(worker);
    catalog_free(catalog);
    app_free(app);
    return rc < 0 ? 1 : 0;
}
