/* rubato-frontend: the query API, with workers in the process, in children, and elsewhere. */
#include <string.h>

#include "catalog/catalog.h"
#include "frontend/frontend.h"
#include "frontend/pools.h"
#include "worker/worker.h"
#include "worker/worker_child.h"

int main(int argc, char **argv)
{
    struct app *app;
    struct catalog *catalog = NULL;
    struct worker *worker = NULL;
    struct pools *pools = NULL;
    struct frontend *frontend = NULL;
    struct err err = {0};
    if (argc > 1 && strcmp(argv[1], WORKER_CHILD_COMMAND) == 0)
        return worker_child_main(argc, argv);
    int status = app_start(
        argc, argv, &(struct app_opts){.program = "rubato-frontend", .roles = APP_FRONTEND}, &app);
    if (!app)
        return status;
    const struct catalog_opts opts = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = (uint64_t)app->cfg.storage.trace.blocklist_poll_ns,
        .segment_poll_ns = NS_PER_S, /* what others ingest is seen a second later */
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
        rc = pools_of_app(app, worker_interface(worker), argc, argv, &pools, &err);
    if (rc == 0)
        rc = frontend_new(&(struct frontend_opts){.app = app,
                                                  .catalog = catalog,
                                                  .worker = pools_worker(pools),
                                                  .pools = pools,
                                                  .job_threads = pools_slots_max(pools)},
                          &frontend, &err);
    if (rc == 0) {
        app_add_service(app, "frontend");
        app_set_api(app, frontend_handle, frontend);
        rc = catalog_start(catalog, &err);
    }
    if (rc == 0)
        rc = app_http(app, &err);
    if (rc == 0) {
        app_set_ready(app);
        app_run(app);
    } else {
        LOG_ERROR(app->log, "cannot start", KV_ERR(&err));
    }
    app_drain(app);
    frontend_free(frontend);
    pools_free(pools);
    worker_free(worker);
    catalog_free(catalog);
    app_free(app);
    return rc < 0 ? 1 : 0;
}
