/* gRPC calls of the API listeners: those that the process answers itself, those that nobody
 * knows, and the way to the role for the rest. Runs on the server's loop threads. */
#include <stdio.h>
#include <stdlib.h>

#include "app/app_priv.h"
#include "base/text.h"

#define HEALTH_CHECK "/grpc.health.v1.Health/Check"

/* Also the routes in the metrics. */
static const char *const methods[] = {
    HEALTH_CHECK,
    "/tempopb.StreamingQuerier/Search",
    "/tempopb.StreamingQuerier/SearchTags",
    "/tempopb.StreamingQuerier/SearchTagsV2",
    "/tempopb.StreamingQuerier/SearchTagValues",
    "/tempopb.StreamingQuerier/SearchTagValuesV2",
    "/tempopb.StreamingQuerier/MetricsQueryRange",
    "/tempopb.StreamingQuerier/MetricsQueryInstant",
};
#define METHODS (sizeof methods / sizeof methods[0])

/* ---- answers ---- */

void app_grpc_observe(struct app *app, const struct net_request *req, int status)
{
    struct slice route = SLICE("other");
    for (size_t i = 0; i < METHODS; i++) {
        if (slice_eq(req->path, slice_cstr(methods[i])))
            route = req->path;
    }
    app_observe(app, req, SLICE("gRPC"), route,
                status == 0   ? SLICE("success")
                : status == 1 ? SLICE("cancel")
                              : SLICE("error"));
}

void app_reply_grpc(struct app *app, struct net_request *req, int status, struct slice text,
                    struct buf *message)
{
    app_grpc_observe(app, req, status);
    net_reply_grpc(req, status, text, SLICE(""), message);
}

/* As grpc-go's server says it. */
static void reply_unknown(struct app *app, struct net_request *req, bool service_known)
{
    char text[400], shown_service[160], shown_method[160];
    struct slice service = slice_from(req->path, 1);
    size_t cut = service.len;
    while (cut && service.ptr[cut - 1] != '/')
        cut--;
    struct slice method = slice_from(service, cut);
    service.len = cut ? cut - 1 : 0;
    text_escape(service, 100, shown_service, sizeof shown_service);
    text_escape(method, 100, shown_method, sizeof shown_method);
    if (cut == 0)
        snprintf(text, sizeof text, "malformed method name: \"%s\"", shown_method);
    else if (service_known)
        snprintf(text, sizeof text, "unknown method %s for service %s", shown_method,
                 shown_service);
    else
        snprintf(text, sizeof text, "unknown service %s", shown_service);
    app_reply_grpc(app, req, 12, slice_cstr(text), NULL);
}

/* HealthCheckResponse: 1 status, 1 SERVING, 2 NOT_SERVING. Which service is asked for does not
 * matter. */
static void reply_health(struct app *app, struct net_request *req)
{
    struct slice tenant;
    struct buf message;
    if (app_tenant(app, req, &tenant, NULL) == ERR_UNAUTHENTICATED) {
        app_reply_grpc(app, req, 2, SLICE("no org id"), NULL);
        return;
    }
    buf_init(&message, 2);
    if (buf_append(&message, app_is_ready(app) ? "\x08\x01" : "\x08\x02", 2) < 0)
        app_reply_grpc(app, req, 13, SLICE("no memory for an answer"), NULL);
    else
        app_reply_grpc(app, req, 0, SLICE(""), &message);
}

/* ---- dispatch ---- */

void app_grpc_handle(struct app *app, struct net_request *req)
{
    bool known = false, service_known = false;
    for (size_t i = 0; i < METHODS; i++) {
        struct slice path = slice_cstr(methods[i]), service = path;
        if (!app->priv->api && !slice_eq(path, SLICE(HEALTH_CHECK)))
            continue;
        while (service.ptr[service.len - 1] != '/')
            service.len--;
        known |= slice_eq(req->path, path);
        service_known |= slice_starts(req->path, service);
    }
    if (!known)
        reply_unknown(app, req, service_known);
    else if (req->body_rc < 0)
        app_reply_grpc(app, req, err_code_grpc(req->body_rc), slice_cstr(req->body_err.msg), NULL);
    else if (slice_eq(req->path, SLICE(HEALTH_CHECK)))
        reply_health(app, req);
    else
        app->priv->api(app->priv->api_ctx, req);
}
