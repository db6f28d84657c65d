/* rubato-ingest: receives, acknowledges, and builds blocks; asks nothing. */
#include "catalog/catalog.h"
#include "ingest/ingest.h"

static void stop(void *ctx)
{
    ingest_stop(ctx);
}

int main(int argc, char **argv)
{
    struct app *app;
    struct catalog *catalog = NULL;
    struct ingest *in = NULL;
    struct err err = {0};
    int status = app_start(
        argc, argv, &(struct app_opts){.program = "rubato-ingest", .roles = APP_INGEST}, &app);
    if (!app)
        return status;
    const struct catalog_opts opts = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = (uint64_t)app->cfg.storage.trace.blocklist_poll_ns,
        .segment_poll_ns = 15 * NS_PER_S, /* our own are told at once */
        .linger_ns = (uint64_t)app->cfg.block_builder.linger_ns,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
    };
    int rc = catalog_new(&opts, &catalog, &err);
    if (rc == 0)
        rc = ingest_new(&(struct ingest_opts){.app = app, .catalog = catalog, .build = true}, &in,
                        &err);
    if (rc == 0) {
        app_add_service(app, "ingest");
        app_on_stop(app, stop, in);
        rc = catalog_start(catalog, &err);
    }
    if (rc == 0)
        rc = app_http(app, &err);
    if (rc == 0)
        rc = ingest_start(in, &err);
    if (rc == 0) {
        app_set_ready(app);
        app_run(app);
    } else {
        LOG_ERROR(app->log, "cannot start", KV_ERR(&err));
    }
    app_drain(app);
    ingest_free(in);
    catalog_free(catalog);
    app_free(app);
    return rc < 0 ? 1 : 0;
}
