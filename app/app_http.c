/* The API listener: the endpoints that belong to the process itself, and the way to the role that
 * answers the rest. All of this runs on the server's loop threads and does not block. */
#include <stdio.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "app/overrides.h"
#include "base/text.h"

#define TEXT "text/plain; charset=utf-8"

/* ---- routes ---- */

/* Paths of the API that have a route of their own in the metrics and a line in /status/endpoints.
 * {x} is one segment. */
static const struct {
    const char *name;
    const char *path;
    bool prefixed;
} endpoints[] = {
    {"ready", "/ready", false},
    {"metrics", "/metrics", false},
    {"status", "/status", false},
    {"status-version", "/status/version", false},
    {"status-services", "/status/services", false},
    {"status-endpoints", "/status/endpoints", false},
    {"status-config", "/status/config", false},
    {"status-runtime-config", "/status/runtime_config", false},
    {"overrides", "/status/overrides", false},
    {"tenant-overrides", "/status/overrides/{tenant}", false},
    {"status-usage-stats", "/status/usage-stats", true},
    {"echo", "/api/echo", true},
    {"buildinfo", "/api/status/buildinfo", true},
    {"trace-by-id", "/api/traces/{traceID}", true},
    {"trace-by-id-v2", "/api/v2/traces/{traceID}", true},
    {"search", "/api/search", true},
    {"search-tags", "/api/search/tags", true},
    {"search-tags-v2", "/api/v2/search/tags", true},
    {"search-tag-values", "/api/search/tag/{tagName}/values", true},
    {"search-tag-values-v2", "/api/v2/search/tag/{tagName}/values", true},
    {"metrics-query-range", "/api/metrics/query_range", true},
    {"metrics-query", "/api/metrics/query", true},
    {"scaling", "/api/scaling", true},
    {"metrics-summary", "/api/metrics/summary", true},
};

/* Whether the path is of the form of a template. */
static bool matches(const char *template, struct slice path)
{
    struct slice t = slice_cstr(template);
    while (t.len && path.len) {
        size_t tn = slice_find(slice_from(t, 1), '/') + 1,
               pn = slice_find(slice_from(path, 1), '/') + 1;
        bool any = tn > 1 && t.ptr[1] == '{' && pn > 1;
        if (!any && !slice_eq(slice_of(t.ptr, tn), slice_of(path.ptr, pn)))
            return false;
        t = slice_from(t, tn);
        path = slice_from(path, pn);
    }
    return t.len == 0 && path.len == 0;
}

/* Appends to out, with every run of other bytes than letters and digits as one '_'. */
static size_t append_route(struct slice s, char *out, size_t at, size_t size)
{
    for (size_t i = 0; i < s.len && at + 1 < size; i++) {
        uint8_t c = s.ptr[i];
        bool upper = c >= 'A' && c <= 'Z';
        if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            out[at++] = (char)(upper ? c + 32 : c);
        else if (at && out[at - 1] != '_')
            out[at++] = '_';
    }
    return at;
}

/* "api_traces_traceid"; "other" for what has no template. */
static struct slice route_of(const struct app *app, const struct net_request *req, char *out,
                             size_t size)
{
    struct slice path = app_api_path(app, req);
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        if (!matches(endpoints[i].path, endpoints[i].prefixed ? path : req->path))
            continue;
        size_t n = 0;
        if (endpoints[i].prefixed && app->cfg.http_api_prefix.len)
            n = append_route(app->cfg.http_api_prefix, out, n, size);
        n = append_route(slice_cstr(endpoints[i].path), out, n, size);
        while (n && out[n - 1] == '_')
            n--;
        return slice_of(out, n);
    }
    return SLICE("other");
}

void app_http_metrics(struct app *app)
{
    static const double bounds[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 50, 100};
    static const char *const names[] = {"method", "route", "status_code", "ws"};
    static const char *const build[] = {"version", "revision", "branch", "goversion",
                                        "goos",    "goarch",   "tags"};
    app->priv->request_seconds =
        metrics_histogram_family(app->metrics, "tempo_request_duration_seconds",
                                 "Time (in seconds) spent serving HTTP requests.", bounds,
                                 sizeof bounds / sizeof bounds[0], names, 4);
    const struct slice values[] = {SLICE(RUBATO_VERSION),
                                   SLICE(RUBATO_REVISION),
                                   SLICE(""),
                                   SLICE(""),
                                   SLICE("linux"),
                                   SLICE(""),
                                   SLICE("")};
    gauge_set(metrics_gauge_with(
                  metrics_gauge_family(app->metrics, "tempo_build_info",
                                       "A metric with a constant '1' value labeled by version.",
                                       build, 7),
                  values),
              1);
}

static struct slice known_method(struct slice method)
{
    static const char *const methods[] = {"GET",     "POST",  "HEAD",  "PUT",
                                          "OPTIONS", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_eq(method, slice_cstr(methods[i])))
            return method;
    }
    return SLICE("other");
}

void app_observe(struct app *app, const struct net_request *req, struct slice method,
                 struct slice route, struct slice status)
{
    const struct slice labels[] = {method, route, status, SLICE("false")};
    uint64_t took = clock_mono_ns(app->clock) - req->received_mono_ns;
    histogram_observe(metrics_histogram_with(app->priv->request_seconds, labels),
                      (double)took / 1e9);
}

void app_reply(struct app *app, struct net_request *req, struct net_reply *reply, bool compress)
{
    char route[128], status[16];
    if (req->proto == NET_GRPC) {
        app_grpc_observe(app, req, reply->status == 200 ? 0 : reply->status == 499 ? 1 : 2);
    } else {
        snprintf(status, sizeof status, "%d", reply->status);
        app_observe(app, req, known_method(req->method), route_of(app, req, route, sizeof route),
                    slice_cstr(status));
    }
    net_reply(req, reply, compress);
}

struct slice app_api_path(const struct app *app, const struct net_request *req)
{
    struct slice prefix = app->cfg.http_api_prefix;
    if (prefix.len == 0)
        return req->path;
    /* A path without the prefix is no path of the API, whatever it looks like. */
    if (!slice_starts(req->path, prefix) || req->path.len == prefix.len ||
        req->path.ptr[prefix.len] != '/')
        return SLICE("");
    return slice_from(req->path, prefix.len);
}

/* ---- answers ---- */

/* As Go's http.Error answers. */
static void reply_error(struct app *app, struct net_request *req, int status, const char *text)
{
    static const struct net_header nosniff = {{(const uint8_t *)"x-content-type-options", 22},
                                              {(const uint8_t *)"nosniff", 7}};
    struct net_reply r = {
        .status = status, .content_type = TEXT, .headers = &nosniff, .header_count = 1};
    buf_init(&r.body, LIMIT_PAGE_BYTES);
    if (buf_str(&r.body, text) < 0)
        r.status = 500;
    app_reply(app, req, &r, false);
}

/* Answers with what was written, or with 500 when it could not be. */
static void reply_page(struct app *app, struct net_request *req, int rc, struct buf *page,
                       const char *type, bool compress)
{
    if (rc < 0) {
        buf_clear(page);
        reply_error(app, req, 500, "the page cannot be written: out of memory\n");
        return;
    }
    struct net_reply r = {.status = 200, .content_type = type, .body = *page};
    app_reply(app, req, &r, compress);
}

static void reply_ready(struct app *app, struct net_request *req)
{
    if (atomic_load(&app->priv->stopping)) {
        reply_error(app, req, 503, "Application is stopping\n");
    } else if (!app_is_ready(app)) {
        char text[128];
        snprintf(text, sizeof text, "Some services are not Running:\nStarting: 1\nRunning: %zu\n\n",
                 app->priv->service_count);
        reply_error(app, req, 503, text);
    } else {
        struct buf b;
        buf_init(&b, 64);
        int rc = buf_str(&b, "ready\n");
        reply_page(app, req, rc, &b, TEXT, false);
    }
}

static void reply_metrics(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, LIMIT_PAGE_BYTES);
    int rc = metrics_write(app->metrics, &b);
    reply_page(app, req, rc, &b, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
               true);
}

static void reply_buildinfo(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, 1024);
    int rc = buf_printf(&b,
                        "{\"version\":\"%s\",\"revision\":\"%s\",\"branch\":\"\",\"buildUser\":"
                        "\"\",\"buildDate\":\"\",\"goVersion\":\"\"}\n",
                        RUBATO_VERSION, RUBATO_REVISION);
    reply_page(app, req, rc, &b, "application/json", false);
}

/* ---- /status ---- */

static int write_version(struct buf *b)
{
    return buf_printf(b,
                      "GET /status/version\ntempo, version %s (branch: , revision: %s)\n"
                      "  build user:       \n  build date:       \n  go version:       \n"
                      "  platform:         linux\n  tags:             \n\n",
                      RUBATO_VERSION, RUBATO_REVISION);
}

static int write_rule(struct buf *b, const size_t *widths, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_u8(b, '+');
        for (size_t j = 0; rc == 0 && j < widths[i] + 2; j++)
            rc = buf_u8(b, '-');
    }
    return rc == 0 ? buf_str(b, "+\n") : rc;
}

static int write_services(struct app *app, struct buf *b)
{
    const char *state = atomic_load(&app->priv->stopping) ? "Stopping"
                        : app_is_ready(app)               ? "Running"
                                                          : "Starting";
    size_t widths[] = {sizeof "SERVICE NAME" - 1, sizeof "Starting" - 1, sizeof "FAILURE CASE" - 1};
    for (size_t i = 0; i < app->priv->service_count; i++) {
        size_t n = strlen(app->priv->services[i]);
        widths[0] = n > widths[0] ? n : widths[0];
    }
    int rc = buf_str(b, "GET /status/services\n");
    if (rc == 0)
        rc = write_rule(b, widths, 3);
    if (rc == 0)
        rc = buf_printf(b, "| %-*s | %*s | FAILURE CASE |\n", (int)widths[0], "SERVICE NAME",
                        (int)widths[1], "STATUS");
    if (rc == 0)
        rc = write_rule(b, widths, 3);
    for (size_t i = 0; rc == 0 && i < app->priv->service_count; i++)
        rc = buf_printf(b, "| %-*s | %*s |              |\n", (int)widths[0],
                        app->priv->services[i], (int)widths[1], state);
    if (rc == 0)
        rc = write_rule(b, widths, 3);
    return rc == 0 ? buf_str(b, "\n") : rc;
}

static int write_endpoints(const struct app *app, struct buf *b)
{
    size_t count = sizeof endpoints / sizeof endpoints[0];
    size_t widths[] = {4, 5};
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(endpoints[i].name);
        size_t path =
            strlen(endpoints[i].path) + (endpoints[i].prefixed ? app->cfg.http_api_prefix.len : 0);
        widths[0] = name > widths[0] ? name : widths[0];
        widths[1] = path > widths[1] ? path : widths[1];
    }
    int rc = buf_str(b, "GET /status/endpoints\n");
    if (rc == 0)
        rc = write_rule(b, widths, 2);
    if (rc == 0)
        rc = buf_printf(b, "| %-*s | %-*s |\n", (int)widths[0], "NAME", (int)widths[1], "REGEX");
    if (rc == 0)
        rc = write_rule(b, widths, 2);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct slice prefix = endpoints[i].prefixed ? app->cfg.http_api_prefix : SLICE("");
        rc = buf_printf(b, "| %-*s | %.*s%-*s |\n", (int)widths[0], endpoints[i].name,
                        SLICE_ARGS(prefix), (int)(widths[1] - prefix.len), endpoints[i].path);
    }
    if (rc == 0)
        rc = write_rule(b, widths, 2);
    return rc == 0 ? buf_str(b, "\nAPI documentation: "
                                "https://grafana.com/docs/tempo/latest/api_docs/\n\n")
                   : rc;
}

static int write_config(const struct app *app, enum config_write_mode mode, struct buf *b)
{
    int rc = buf_str(b, "GET /status/config\n---\n");
    if (rc == 0)
        rc = config_write(app->priv->config, mode, b);
    return rc == 0 ? buf_str(b, "\n") : rc;
}

static int write_runtime_config(const struct app *app, enum config_write_mode mode, struct buf *b)
{
    int rc = buf_str(b, "GET /status/runtime_config\n---\n");
    if (rc == 0)
        rc = overrides_write_all(app->overrides, mode == CONFIG_WRITE_DIFF, b);
    return rc == 0 ? buf_str(b, "\n") : rc;
}

/* ?mode=; false: answered, it is none that is known. */
static bool read_mode(struct app *app, struct net_request *req, bool defaults_too,
                      enum config_write_mode *mode)
{
    struct buf value;
    buf_init(&value, 1024);
    bool given = net_request_param(req, "mode", &value);
    struct slice name = buf_view(&value);
    bool known = true;
    *mode = CONFIG_WRITE_ALL;
    if (given && slice_eq(name, SLICE("diff"))) {
        *mode = CONFIG_WRITE_DIFF;
    } else if (given && defaults_too && slice_eq(name, SLICE("defaults"))) {
        *mode = CONFIG_WRITE_DEFAULTS;
    } else if (given) {
        char shown[128], text[256];
        snprintf(text, sizeof text, "unknown value for mode query parameter: %s\n",
                 text_escape(name, 30, shown, sizeof shown));
        reply_error(app, req, 500, text);
        known = false;
    }
    buf_clear(&value);
    return known;
}

static void reply_config(struct app *app, struct net_request *req)
{
    enum config_write_mode mode;
    struct buf page;
    if (!read_mode(app, req, true, &mode))
        return;
    buf_init(&page, LIMIT_PAGE_BYTES);
    int rc = write_config(app, mode, &page);
    reply_page(app, req, rc, &page, TEXT, false);
}

static void reply_runtime_config(struct app *app, struct net_request *req)
{
    enum config_write_mode mode;
    struct buf page;
    if (!read_mode(app, req, false, &mode))
        return;
    buf_init(&page, LIMIT_PAGE_BYTES);
    int rc = write_runtime_config(app, mode, &page);
    reply_page(app, req, rc, &page, TEXT, false);
}

/* The list of tenants with limits of their own, or one of them. */
static void reply_overrides(struct app *app, struct net_request *req)
{
    struct slice segment = slice_from(req->path, sizeof "/status/overrides/" - 1);
    struct slice accept = net_request_header(req, "accept");
    bool json = accept.len && memmem(accept.ptr, accept.len, "application/json", 16);
    struct buf tenant, page;
    buf_init(&tenant, segment.len);
    buf_init(&page, LIMIT_PAGE_BYTES);
    int rc = 0;
    if (segment.len == 0)
        rc = overrides_write_list(app->overrides, json, &page);
    else if (net_percent_decode(segment, false, &tenant))
        rc = overrides_write_tenant(app->overrides, buf_view(&tenant), json, &page);
    else
        rc = ERR_INVALID;
    buf_clear(&tenant);
    if (rc == ERR_INVALID) {
        buf_clear(&page);
        reply_error(app, req, 400, "the tenant in the path is not well encoded\n");
        return;
    }
    reply_page(app, req, rc, &page, json ? "application/json" : "text/html; charset=utf-8", false);
}

static void reply_all(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, LIMIT_PAGE_BYTES);
    int rc = write_version(&b);
    rc = rc < 0 ? rc : write_services(app, &b);
    rc = rc < 0 ? rc : write_endpoints(app, &b);
    rc = rc < 0 ? rc : write_runtime_config(app, CONFIG_WRITE_ALL, &b);
    rc = rc < 0 ? rc : write_config(app, CONFIG_WRITE_ALL, &b);
    reply_page(app, req, rc, &b, TEXT, false);
}

static void reply_version(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, LIMIT_PAGE_BYTES);
    reply_page(app, req, write_version(&b), &b, TEXT, false);
}

static void reply_services(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, LIMIT_PAGE_BYTES);
    reply_page(app, req, write_services(app, &b), &b, TEXT, false);
}

static void reply_endpoints(struct app *app, struct net_request *req)
{
    struct buf b;
    buf_init(&b, LIMIT_PAGE_BYTES);
    reply_page(app, req, write_endpoints(app, &b), &b, TEXT, false);
}

/* False: no such page. */
static bool reply_status(struct app *app, struct net_request *req)
{
    static const struct {
        const char *path;
        void (*reply)(struct app *app, struct net_request *req);
    } pages[] = {
        {"/status", reply_all},
        {"/status/version", reply_version},
        {"/status/services", reply_services},
        {"/status/endpoints", reply_endpoints},
        {"/status/config", reply_config},
        {"/status/runtime_config", reply_runtime_config},
        {"/status/overrides", reply_overrides},
        {"/status/overrides/{tenant}", reply_overrides},
    };
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (!matches(pages[i].path, req->path))
            continue;
        if (slice_eq(req->method, SLICE("GET"))) {
            pages[i].reply(app, req);
        } else {
            struct net_reply r = {.status = 405};
            app_reply(app, req, &r, false);
        }
        return true;
    }
    return false;
}

/* ---- dispatch ---- */

static void reply_text(struct app *app, struct net_request *req, const char *text)
{
    struct buf b;
    buf_init(&b, 256);
    int rc = buf_str(&b, text);
    reply_page(app, req, rc, &b, TEXT, false);
}

static bool reply_get_only(struct app *app, struct net_request *req,
                           void (*fn)(struct app *app, struct net_request *req))
{
    if (slice_eq(req->method, SLICE("GET"))) {
        fn(app, req);
    } else {
        struct net_reply r = {.status = 405};
        app_reply(app, req, &r, false);
    }
    return true;
}

/* The process's own endpoints; false: not one of them. */
static bool reply_own(struct app *app, struct net_request *req, struct slice api_path)
{
    if (slice_eq(req->path, SLICE("/ready"))) {
        reply_ready(app, req);
        return true;
    }
    if (slice_eq(req->path, SLICE("/metrics")))
        return reply_get_only(app, req, reply_metrics);
    if (slice_eq(api_path, SLICE("/api/echo"))) {
        reply_text(app, req, "echo\n");
        return true;
    }
    if (slice_eq(api_path, SLICE("/api/status/buildinfo")))
        return reply_get_only(app, req, reply_buildinfo);
    if (slice_eq(api_path, SLICE("/status/usage-stats"))) {
        reply_text(app, req, "usage-stats is not enabled\n");
        return true;
    }
    return reply_status(app, req);
}

static void handle(void *ctx, struct net_request *req)
{
    struct app *app = ctx;
    if (req->proto == NET_GRPC) {
        app_grpc_handle(app, req);
        return;
    }
    struct slice api_path = app_api_path(app, req);
    if (reply_own(app, req, api_path))
        return;
    if (app->priv->api && slice_starts(api_path, SLICE("/api/")))
        app->priv->api(app->priv->api_ctx, req);
    else
        reply_error(app, req, 404, "404 page not found\n");
}

static int listen_on(struct app *app, struct slice host, uint16_t number, unsigned protocols,
                     uint16_t *port, struct err *err)
{
    bool v6 = slice_find(host, ':') < host.len && host.ptr[0] != '[';
    struct buf address;
    buf_init(&address, 1024);
    int rc =
        buf_printf(&address, "%s%.*s%s:%u", v6 ? "[" : "", SLICE_ARGS(host), v6 ? "]" : "", number);
    if (rc < 0) {
        rc = err_set(err, rc, "the address to listen on does not fit 1024 bytes");
    } else {
        const struct net_listener_opts opts = {
            .address = buf_view(&address),
            .protocols = protocols,
            .body_bytes_max = LIMIT_API_BODY_BYTES,
            .handler = handle,
            .ctx = app,
            .upgrade_path = app->priv->upgrade_path,
            .upgrade = app->priv->upgrade,
            .upgrade_ctx = app->priv->upgrade_ctx,
        };
        rc = net_server_listen(app->server, &opts, port, err);
    }
    buf_clear(&address);
    return rc;
}

int app_http(struct app *app, struct err *err)
{
    const struct app_config *cfg = &app->cfg;
    unsigned streams = cfg->stream_over_http_enabled ? NET_LISTEN_GRPC : 0;
    int rc = listen_on(app, cfg->server.http_listen_address, cfg->server.http_listen_port,
                       NET_LISTEN_HTTP1 | streams, &app->http_port, err);
    if (rc < 0)
        return err_wrap(err, "server.http_listen_port");
    if (!app->priv->api)
        return 0;
    rc = listen_on(app, cfg->server.grpc_listen_address, cfg->server.grpc_listen_port,
                   NET_LISTEN_GRPC, &app->grpc_port, err);
    if (rc < 0)
        return err_wrap(err, "server.grpc_listen_port");
    LOG_INFO(app->log, "gRPC API listens", KV_U64("port", app->grpc_port));
    return 0;
}
