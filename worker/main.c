/* rubato-worker: a process for jobs that frontends hand out. Until frontends hand out jobs across
 * processes it has its own endpoints (/ready, /metrics, /status) and says so. */
#include "app/app.h"
#include "catalog/catalog.h"
#include "worker/worker.h"

int main(int argc, char **argv)
{
    struct app *app;
    struct catalog *catalog = NULL;
    struct worker *worker = NULL;
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
    if (rc == 0) {
        app_add_service(app, "worker");
        rc = app_http(app, &err);
    }
    if (rc == 0) {
        LOG_WARN(app->log, "frontends do not hand out jobs across processes yet: this worker idles");
        app_set_ready(app);
        app_run(app);
    } else {
        LOG_ERROR(app->log, "cannot start", KV_ERR(&err));
    }
    app_drain(app);
    worker_free(worker);
    catalog_free(catalog);
    app_free(app);
    return rc < 0 ? 1 : 0;
}
