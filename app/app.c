/* Start and end of a program: what is made, in which order, and what is said when it cannot be. */
#include "app/app.h"

#include <assert.h>
#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "app/overrides.h"
#include "app/selftrace.h"
#include "base/text.h"

#define USAGE_BYTES_MAX ((size_t)1 << 20)

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

/* ---- what is said before there is a log ---- */

static void print_usage(FILE *to, const struct config *c, const char *program)
{
    struct buf b;
    buf_init(&b, USAGE_BYTES_MAX);
    if (config_usage(c, program, &b) == 0)
        fwrite(b.ptr, 1, b.len, to);
    buf_clear(&b);
}

static void print_notes(const struct config *c, const char *program)
{
    for (size_t i = 0; i < config_note_count(c); i++) {
        struct config_note n = config_note_at(c, i);
        fprintf(stderr, "%s: %s: %s\n", program, n.fault ? "error" : "warning", n.text);
    }
}

static struct overrides_opts overrides_opts(const struct app *app)
{
    return (struct overrides_opts){.cfg = &app->cfg,
                                   .log = app->log,
                                   .metrics = app->metrics,
                                   .clock = app->clock,
                                   .env = app->cfg.flags.expand_env ? environment : NULL};
}

/* What there is to say of the configuration and of the file of tenants; the exit status. */
static int verify(const struct app *app)
{
    const char *program = app->priv->opts.program;
    const struct overrides_opts opts = overrides_opts(app);
    struct config *tenants;
    struct err err = {0};
    print_notes(app->priv->config, program);
    int rc = overrides_verify(&opts, &tenants, &err);
    if (tenants)
        print_notes(tenants, program);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", program, err.msg);
    int status = rc < 0 || config_note_count(app->priv->config) > 0 ||
                 (tenants && config_note_count(tenants) > 0);
    config_free(tenants);
    return status;
}

/* What the command line asks for instead of a server, or why there is none: *done, with the exit
 * status. */
static int settle_early(const struct app *app, int rc, const struct err *err, bool *done)
{
    const char *program = app->priv->opts.program;
    const struct config *c = app->priv->config;
    *done = true;
    if (rc == ERR_INVALID) {
        fprintf(stderr, "%s: %s\n", program, err->msg);
        print_usage(stderr, c, program);
        return 2;
    }
    if (app->cfg.flags.help) {
        print_usage(stdout, c, program);
        return 0;
    }
    if (app->cfg.flags.version) {
        printf("%s, version %s (revision: %s)\n", program, RUBATO_VERSION, RUBATO_REVISION);
        return 0;
    }
    if (rc < 0) {
        print_notes(c, program);
        fprintf(stderr, "%s: %s\n", program, err->msg);
        return 1;
    }
    if (app->cfg.flags.verify)
        return verify(app);
    *done = false;
    return 0;
}

/* ---- start ---- */

static void make_log(struct app *app)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct log *log = &app->priv->log;
    *log = (struct log){.fd = 2, .level = LOG_LEVEL_INFO, .room = "app"};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (slice_eq(app->cfg.server.log_level, slice_cstr(levels[i])))
            log->level = (enum log_level)i;
    }
    log->format =
        slice_eq(app->cfg.server.log_format, SLICE("json")) ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT;
    app->log = log;
    for (size_t i = 0; i < config_note_count(app->priv->config) && !app->priv->opts.child; i++)
        LOG_WARN(log, "configuration", KV_STR("note", config_note_at(app->priv->config, i).text));
}

static int make_store(struct app *app, struct err *err)
{
    const struct objstore_env env = {.log = app->log,
                                     .metrics = app->metrics,
                                     .clock = app->clock,
                                     .read_only = app->priv->opts.child};
    if (slice_eq(app->cfg.storage.trace.backend, SLICE("local"))) {
        const struct objstore_local_opts opts = {.path = app->cfg.storage.trace.local.path};
        return objstore_local_new(&opts, &env, &app->store, err);
    }
    const struct objstore_s3_opts opts = {
        .bucket = app->cfg.storage.trace.s3.bucket,
        .endpoint = app->cfg.storage.trace.s3.endpoint,
        .region = app->cfg.storage.trace.s3.region,
        .access_key = app->cfg.storage.trace.s3.access_key,
        .secret_key = app->cfg.storage.trace.s3.secret_key,
        .session_token = app->cfg.storage.trace.s3.session_token,
        .prefix = app->cfg.storage.trace.s3.prefix,
        .insecure = app->cfg.storage.trace.s3.insecure,
        .tls_insecure_skip_verify = app->cfg.storage.trace.s3.tls_insecure_skip_verify,
        .forcepathstyle = app->cfg.storage.trace.s3.forcepathstyle,
        .part_bytes = app->cfg.storage.trace.s3.part_size,
    };
    return app->cfg.storage.trace.s3.signature_v2
               ? objstore_libs3_new(&opts, &env, &app->store, err)
               : objstore_s3_new(&opts, &env, &app->store, err);
}

/* Large buffers (segments, batches, columns) come and go with the load: mapped one by one they go
 * back to the system, where a heap that grows with each thread would keep them. Measured on an
 * ingest of a million spans: 240 MB at the peak instead of 315, at the same processor time. */
static void tame_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_ARENA_MAX, 2);
}

static int make_tracer(struct app *app, struct err *err)
{
    char service[64];
    snprintf(service, sizeof service, "rubato-%.40s", (const char *)app->cfg.target.ptr);
    const struct selftrace_opts opts = {.env = environment,
                                        .service = service,
                                        .version = RUBATO_VERSION,
                                        .log = app->log,
                                        .metrics = app->metrics,
                                        .clock = app->clock};
    return selftrace_new(&opts, &app->selftrace, err);
}

static int make_parts(struct app *app, struct err *err)
{
    tame_malloc();
    const unsigned all = APP_INGEST | APP_FRONTEND | APP_WORKER | APP_COMPACTOR;
    unsigned can = app->priv->opts.roles ? app->priv->opts.roles : all;
    app->cfg.roles &= can;
    if (!app->cfg.roles)
        return err_set(err, ERR_INVALID, "target %.*s is not one that %s can serve",
                       SLICE_ARGS(app->cfg.target), app->priv->opts.program);
    app->metrics = metrics_new();
    if (!app->metrics)
        return err_set(err, ERR_NOMEM, "no memory for the metrics");
    app_http_metrics(app);
    if (app->priv->opts.child) {
        int made = make_store(app, err);
        return made < 0 ? err_wrap(err, "cannot open the store") : 0;
    }
    int rc = app_process_new(app->metrics, clock_unix_ns(app->clock), &app->priv->process);
    if (rc < 0)
        return err_set(err, rc, "no memory for the metrics");
    rc = app_signals_open(app, err);
    if (rc < 0)
        return rc;
    rc = make_tracer(app, err);
    if (rc < 0)
        return rc;
    const struct overrides_opts limits = overrides_opts(app);
    rc = overrides_new(&limits, &app->overrides, err);
    if (rc == 0)
        rc = overrides_start(app->overrides, err);
    if (rc < 0)
        return err_wrap(err, "overrides.per_tenant_override_config");
    rc = make_store(app, err);
    if (rc < 0)
        return err_wrap(err, "cannot open the store");
    const struct net_env env = {app->log, app->metrics, app->clock};
    rc = net_server_new(&env, &app->server, err);
    if (rc < 0)
        return err_wrap(err, "cannot make the server");
    return app_probe_start(app, err);
}

static struct app *app_new(const struct app_opts *opts)
{
    struct app *app = calloc(1, sizeof *app);
    struct app_priv *priv = calloc(1, sizeof *priv);
    if (!app || !priv) {
        free(app);
        free(priv);
        return NULL;
    }
    app->priv = priv;
    app->clock = &clock_system;
    priv->opts = *opts;
    priv->start_mono_ns = clock_mono_ns(app->clock);
    priv->signal_fd = priv->stop_fd = priv->ended_fd = -1;
    pthread_mutex_init(&priv->probe.mu, NULL);
    return app;
}

int app_offline(const char *program, struct app **out, struct err *err)
{
    char *const argv[] = {(char *)(uintptr_t)program, NULL};
    struct app *app = app_new(&(struct app_opts){.program = program});
    if (!app)
        return err_set(err, ERR_NOMEM, "no memory");
    int rc = app_config_load(1, argv, environment, NULL, &app->cfg, &app->priv->config, err);
    if (rc == 0 && !(app->metrics = metrics_new()))
        rc = err_set(err, ERR_NOMEM, "no memory for the metrics");
    app->priv->log = (struct log){.fd = 2, .level = LOG_LEVEL_ERROR, .room = "app"};
    app->log = &app->priv->log;
    if (rc == 0) {
        const struct overrides_opts limits = overrides_opts(app);
        rc = overrides_new(&limits, &app->overrides, err);
    }
    if (rc < 0) {
        app_free(app);
        return rc;
    }
    *out = app;
    return 0;
}

int app_start(int argc, char **argv, const struct app_opts *opts, struct app **out)
{
    *out = NULL;
    struct err err = {0};
    struct app *app = app_new(opts);
    if (!app) {
        fprintf(stderr, "%s: no memory\n", opts->program);
        return 1;
    }
    int rc = app_config_load(argc, argv, environment, NULL, &app->cfg, &app->priv->config, &err);
    bool done;
    int status = settle_early(app, rc, &err, &done);
    if (done)
        goto fail;
    make_log(app);
    rc = make_parts(app, &err);
    if (rc < 0) {
        LOG_ERROR(app->log, "cannot start", KV_ERR(&err));
        status = 1;
        goto fail;
    }
    LOG_AT(app->log, opts->child ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "starting", KV_STR("program", opts->program),
             KV_STR("version", RUBATO_VERSION), KV_SLICE("target", app->cfg.target),
             KV_SLICE("store", objstore_describe(app->store)));
    *out = app;
    return 0;
fail:
    app_free(app);
    return status;
}

void app_free(struct app *app)
{
    if (!app)
        return;
    app_probe_stop(app);
    net_server_free(app->server);
    overrides_free(app->overrides);
    selftrace_free(app->selftrace);
    objstore_free(app->store);
    metrics_free(app->metrics);
    app_process_free(app->priv->process);
    app_watchdog_end(app);
    app_signals_close(app);
    config_free(app->priv->config);
    pthread_mutex_destroy(&app->priv->probe.mu);
    free(app->priv);
    free(app);
}

bool app_serves(const struct app *app, enum app_role role)
{
    return (app->cfg.roles & role) != 0;
}

/* ---- set up ---- */

void app_set_api(struct app *app, net_handler_fn *fn, void *ctx)
{
    app->priv->api = fn;
    app->priv->api_ctx = ctx;
}

void app_set_upgrade(struct app *app, const char *path, net_upgrade_fn *fn, void *ctx)
{
    app->priv->upgrade_path = path;
    app->priv->upgrade = fn;
    app->priv->upgrade_ctx = ctx;
}

void app_add_service(struct app *app, const char *name)
{
    assert(app->priv->service_count < LIMIT_APP_SERVICES);
    app->priv->services[app->priv->service_count++] = name;
}

void app_on_stop(struct app *app, app_stop_fn *fn, void *ctx)
{
    assert(app->priv->stop_count < LIMIT_APP_STOPS);
    app->priv->stops[app->priv->stop_count].fn = fn;
    app->priv->stops[app->priv->stop_count++].ctx = ctx;
}

bool app_is_ready(struct app *app)
{
    struct app_priv *p = app->priv;
    if (!atomic_load(&p->served) || !atomic_load(&p->store_answers) || atomic_load(&p->stopping))
        return false;
    if (!atomic_exchange(&p->ready_told, true))
        LOG_INFO(app->log, "ready",
                 KV_F64("after_ms", (double)(clock_mono_ns(app->clock) - p->start_mono_ns) / 1e6));
    return true;
}

void app_set_ready(struct app *app)
{
    atomic_store(&app->priv->served, true);
    (void)app_is_ready(app);
}

/* The address as somebody on this machine would write it. */
static void print_address(struct slice address)
{
    static const char *const any[] = {"0.0.0.0:", "[::]:", ":"};
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++) {
        struct slice lead = slice_cstr(any[i]);
        if (slice_starts(address, lead)) {
            struct slice port = slice_from(address, lead.len);
            printf("localhost:%.*s", SLICE_ARGS(port));
            return;
        }
    }
    printf("%.*s", SLICE_ARGS(address));
}

void app_print_ways(const struct app *app, struct slice otlp_grpc, struct slice otlp_http)
{
    const struct app_config *cfg = &app->cfg;
    if (otlp_grpc.len || otlp_http.len)
        printf("send  ");
    if (otlp_grpc.len) {
        printf("OTLP/gRPC ");
        print_address(otlp_grpc);
    }
    if (otlp_http.len) {
        printf("%sOTLP/HTTP http://", otlp_grpc.len ? ", " : "");
        print_address(otlp_http);
        printf("/v1/traces");
    }
    if (otlp_grpc.len || otlp_http.len)
        printf("\n");
    struct slice host = cfg->server.http_listen_address;
    bool any = host.len == 0 || slice_eq(host, SLICE("0.0.0.0")) || slice_eq(host, SLICE("::"));
    bool v6 = !any && slice_find(host, ':') < host.len && host.ptr[0] != '[';
    if (any)
        host = SLICE("localhost");
    printf("ask   http://%s%.*s%s:%u%.*s/api/search?q={}\n", v6 ? "[" : "", SLICE_ARGS(host),
           v6 ? "]" : "", app->http_port, SLICE_ARGS(cfg->http_api_prefix));
    if (slice_eq(cfg->storage.trace.backend, SLICE("local")))
        printf("data  %.*s (local)\n", SLICE_ARGS(cfg->storage.trace.local.path));
    else
        printf("data  %.*s\n", SLICE_ARGS(objstore_describe(app->store)));
    fflush(stdout);
}
