/* Asking a server, or ourselves. */
#include "rubato/query_asker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/app.h"
#include "catalog/catalog.h"
#include "frontend/frontend.h"
#include "net/http_client.h"
#include "worker/worker.h"

/* Whoever waits at a terminal can stop it. */
#define TIMEOUT_NS (24 * 3600 * NS_PER_S)
#define TIMEOUT_MS (24 * 3600 * 1000)
#define LISTING_TIMEOUT_NS (120 * NS_PER_S)
#define PROGRESS_NS (200 * NS_PER_MS)
#define LIMIT_ANSWER_TOOL_BYTES ((size_t)512 << 20)

/* A line on stderr that says what has been done until now, as long as something is asked. */
struct progress {
    pthread_t thread;
    bool runs;
    uint64_t start_mono_ns;
    const struct counter *bytes, *row_groups; /* NULL: only time is known */
    pthread_mutex_t mu;
    pthread_cond_t wake;
    bool stop; /* hold mu */
};

struct query_asker {
    struct query_asker_opts opts;
    struct http_client *http;
    struct app *app;
    struct catalog *catalog;
    struct worker *worker;
    struct frontend *frontend;
    struct progress progress;
};

/* ---- progress ---- */

static void show(const struct progress *p)
{
    double s = (double)(clock_mono_ns(&clock_system) - p->start_mono_ns) / 1e9;
    if (p->bytes)
        fprintf(stderr, "\r%.1f s, %llu row groups scanned, %.1f MB read\033[K", s,
                (unsigned long long)p->row_groups->value, (double)p->bytes->value / 1e6);
    else
        fprintf(stderr, "\r%.1f s, waiting for the answer\033[K", s);
}

static void *progress_thread(void *arg)
{
    struct progress *p = arg;
    bool shown = false;
    pthread_mutex_lock(&p->mu);
    while (!p->stop) {
        uint64_t next = clock_mono_ns(&clock_system) + PROGRESS_NS;
        struct timespec ts = {.tv_sec = (time_t)(next / NS_PER_S),
                              .tv_nsec = (long)(next % NS_PER_S)};
        while (!p->stop && clock_mono_ns(&clock_system) < next)
            pthread_cond_timedwait(&p->wake, &p->mu, &ts);
        if (!p->stop) {
            show(p);
            shown = true;
        }
    }
    pthread_mutex_unlock(&p->mu);
    if (shown)
        fputs("\r\033[K", stderr);
    return NULL;
}

/* Without it the question is asked all the same. */
static void progress_start(struct query_asker *a)
{
    struct progress *p = &a->progress;
    pthread_condattr_t attr;
    if (!a->opts.progress)
        return;
    *p = (struct progress){.start_mono_ns = clock_mono_ns(&clock_system)};
    if (a->app) { /* those that the store and the worker count in */
        p->bytes = metrics_counter(a->app->metrics, "objstore_get_bytes_total", "");
        p->row_groups = metrics_counter(a->app->metrics, "worker_row_groups_total", "");
        if (!p->row_groups)
            p->bytes = NULL;
    }
    pthread_mutex_init(&p->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_condattr_destroy(&attr);
    p->runs = pthread_create(&p->thread, NULL, progress_thread, p) == 0;
}

static void progress_end(struct query_asker *a)
{
    struct progress *p = &a->progress;
    if (!p->runs)
        return;
    pthread_mutex_lock(&p->mu);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mu);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    p->runs = false;
}

/* ---- a server ---- */

static int ask_server(struct query_asker *a, struct slice target, int *status, struct buf *body,
                      struct err *err)
{
    char tenant[300];
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    const char *scheme = strstr(a->opts.addr, "://") ? "" : "http://";
    struct slice addr = slice_cstr(a->opts.addr);
    struct buf url;
    if (a->opts.tenant) {
        snprintf(tenant, sizeof tenant, "X-Scope-OrgID: %s", a->opts.tenant);
        headers[1] = tenant;
    }
    while (addr.len && addr.ptr[addr.len - 1] == '/')
        addr.len--;
    buf_init(&url, (size_t)4 << 20);
    int rc = buf_printf(&url, "%s%.*s%.*s", scheme, SLICE_ARGS(addr), SLICE_ARGS(target));
    rc = rc < 0 ? rc : buf_u8(&url, 0);
    if (rc < 0) {
        buf_clear(&url);
        return err_set(err, rc, "the question is too long");
    }
    struct http_call call = {.method = "GET",
                             .url = (const char *)url.ptr,
                             .headers = headers,
                             .deadline_mono_ns = clock_mono_ns(&clock_system) + TIMEOUT_NS,
                             .stall_timeout_ms = TIMEOUT_MS};
    buf_init(&call.out, LIMIT_ANSWER_TOOL_BYTES);
    buf_init(&call.head, (size_t)64 << 10);
    rc = http_client_run(a->http, &call);
    if (rc < 0) {
        if (err)
            *err = call.err;
    } else {
        *status = call.status;
        rc = buf_slice(body, buf_view(&call.out));
        if (rc < 0)
            err_set(err, rc, "no memory for the answer");
    }
    http_call_clear(&call);
    buf_clear(&url);
    return rc;
}

/* ---- a store ---- */

static int first_item(void *ctx, const struct objstore_list_item *item)
{
    (void)ctx;
    (void)item;
    return 1;
}

/* Told at once what is wrong with the store; the catalogue would try again for a while. */
static int open_store(struct query_asker *a, struct err *err)
{
    struct app *app = a->app;
    const struct objstore_env env = {
        .log = app->log, .metrics = app->metrics, .clock = app->clock, .read_only = true};
    int rc = tool_store_open(a->opts.store, &a->opts.store_opts, &env, &app->store, err);
    if (rc == 0)
        rc = objstore_list(app->store, SLICE(""), SLICE(""), true, first_item, NULL,
                           clock_mono_ns(app->clock) + LISTING_TIMEOUT_NS, err);
    return rc;
}

static int make_roles(struct query_asker *a, struct err *err)
{
    struct app *app = a->app;
    app->cfg.multitenancy_enabled = a->opts.tenant != NULL;
    app->cfg.query_frontend.api_timeout_ns = TIMEOUT_NS;
    app->cfg.query_frontend.search.max_duration_ns = 0; /* one's own processor, one's own time */
    app->cfg.query_frontend.metrics.max_duration_ns = 0;
    const struct catalog_opts catalog = {
        .store = app->store,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .block_poll_ns = TIMEOUT_NS, /* listed once; a query that meets stale data asks for more */
        .segment_poll_ns = TIMEOUT_NS,
        .live_bytes_max = (size_t)app->cfg.block_builder.max_bytes,
    };
    int rc = catalog_new(&catalog, &a->catalog, err);
    if (rc == 0)
        rc = worker_new(&(struct worker_opts){.store = app->store,
                                              .catalog = a->catalog,
                                              .log = app->log,
                                              .metrics = app->metrics,
                                              .clock = app->clock},
                        &a->worker, err);
    if (rc == 0)
        rc = frontend_new(&(struct frontend_opts){.app = app,
                                                  .catalog = a->catalog,
                                                  .worker = worker_interface(a->worker),
                                                  .request_threads = 1},
                          &a->frontend, err);
    if (rc == 0)
        rc = catalog_start(a->catalog, err);
    if (rc == 0)
        rc = catalog_wait(a->catalog, clock_mono_ns(app->clock) + LISTING_TIMEOUT_NS, err);
    return rc;
}

struct tenants {
    struct slice wanted;
    bool found;
    struct buf others;
};

static void look_at_tenant(void *ctx, struct slice tenant)
{
    struct tenants *t = ctx;
    for (struct slice left = t->wanted; left.len;) { /* "a|b" are two */
        size_t n = slice_find(left, '|');
        t->found |= slice_eq(tenant, slice_of(left.ptr, n));
        left = slice_from(left, n + 1);
    }
    buf_printf(&t->others, "%s%.*s", t->others.len ? ", " : "", SLICE_ARGS(tenant));
}

/* An answer without anything in it may be due to the tenant's name. */
static void tell_tenants(struct query_asker *a)
{
    struct tenants t = {.wanted = slice_cstr(a->opts.tenant ? a->opts.tenant : "single-tenant")};
    buf_init(&t.others, 4096); /* names past that are left out */
    if (catalog_tenants(a->catalog, look_at_tenant, &t) == 0 && !t.found)
        fprintf(stderr, "%s: note: tenant %.*s has no data in %s; %s%.*s\n", a->opts.program,
                SLICE_ARGS(t.wanted), a->opts.store, t.others.len ? "there are: " : "nobody has",
                SLICE_ARGS(t.others));
    buf_clear(&t.others);
}

static int ask_ourselves(struct query_asker *a, struct slice target, int *status, struct buf *body)
{
    size_t path = slice_find(target, '?');
    const struct net_header header = {SLICE("x-scope-orgid"),
                                      slice_cstr(a->opts.tenant ? a->opts.tenant : "")};
    struct net_request req = {.method = SLICE("GET"),
                              .path = slice_of(target.ptr, path),
                              .query = slice_from(target, path + 1),
                              .headers = &header,
                              .header_count = 1,
                              .received_mono_ns = clock_mono_ns(a->app->clock)};
    *status = frontend_ask(a->frontend, &req, body);
    return 0;
}

/* ---- both ---- */

int query_asker_new(const struct query_asker_opts *opts, struct query_asker **out, struct err *err)
{
    struct query_asker *a = calloc(1, sizeof *a);
    int rc = 0;
    if (!a)
        return err_set(err, ERR_NOMEM, "no memory");
    a->opts = *opts;
    if (!opts->store) {
        rc = http_client_new(&(struct http_client_opts){.clock = &clock_system}, &a->http, err);
    } else {
        rc = app_offline(opts->program, &a->app, err);
        if (rc == 0) {
            progress_start(a);
            rc = open_store(a, err);
            rc = rc < 0 ? rc : make_roles(a, err);
            progress_end(a);
        }
    }
    if (rc < 0) {
        query_asker_free(a);
        return rc;
    }
    if (a->app)
        tell_tenants(a);
    *out = a;
    return 0;
}

void query_asker_free(struct query_asker *a)
{
    if (!a)
        return;
    frontend_free(a->frontend);
    worker_free(a->worker);
    catalog_free(a->catalog);
    app_free(a->app);
    http_client_free(a->http);
    free(a);
}

int query_ask(struct query_asker *a, struct slice target, int *status, struct buf *body,
              struct err *err)
{
    progress_start(a);
    int rc =
        a->app ? ask_ourselves(a, target, status, body) : ask_server(a, target, status, body, err);
    progress_end(a);
    return rc;
}
