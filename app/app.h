/* What every program does at its start and at its end: flags and configuration, log, metrics, the
 * store, the API listener with the process's own endpoints, tenants, and the orderly stop.
 *
 *   struct app *app;
 *   int status = app_start(argc, argv, &(struct app_opts){.program = "rubato"}, &app);
 *   if (!app)
 *       return status;
 *   … make the roles; app_set_api, app_add_service, app_on_stop; app_http …
 *   app_set_ready(app);
 *   app_run(app);
 *   app_drain(app);
 *   app_free(app);
 *
 * The public fields are set by app_start and read-only afterwards, so any thread may read them. */
#ifndef APP_APP_H
#define APP_APP_H

#include "app/app_config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/net_server.h"
#include "objstore/objstore.h"

struct app_priv;
struct overrides;
struct selftrace;

struct app {
    struct app_config cfg;
    const struct log *log; /* rooms derive their own with log_room */
    struct metrics *metrics;
    const struct clock *clock;
    struct objstore *store;
    struct overrides *overrides; /* overrides.h */
    struct selftrace *selftrace; /* selftrace.h; NULL: no tracer */
    struct net_server *server;
    uint16_t http_port; /* bound by app_http */
    uint16_t grpc_port; /* the same; 0: not served */
    struct app_priv *priv;
};

struct app_opts {
    const char *program; /* "rubato" */
    unsigned roles;      /* enum app_role this program can take; 0: all */
    bool child;          /* of another process of ours: no listener, signals as they are, no look at
                            the store, nothing said of what the other has said */
};

/* 0 and *out: go on. Otherwise *out is NULL, everything has been said on stderr or stdout, and the
 * value is the exit status: 0 (-version, -help, -config.verify), 1 (cannot start), 2 (bad flag).
 * Blocks SIGTERM and SIGINT for app_run, so it is called before any thread is made. */
int app_start(int argc, char **argv, const struct app_opts *opts, struct app **out);
/* Frees what app_start made; roles are freed before. NULL is fine. */
void app_free(struct app *app);

/* For a tool that asks in its own process: the configuration's defaults, a log of errors on stderr
 * and metrics; no listener, no signals, no store. A store that the caller sets is freed with the
 * app, and cfg may be changed until roles are made of it. */
int app_offline(const char *program, struct app **out, struct err *err);

/* Whether -target asks this process for the role. */
bool app_serves(const struct app *app, enum app_role role);

/* ---- set up: by main, before app_http ---- */

/* Takes all requests below <http_api_prefix>/api/ that are not the process's own, and gRPC calls of
 * tempopb.StreamingQuerier, whose message is whole. */
void app_set_api(struct app *app, net_handler_fn *fn, void *ctx);
/* Connections of the API listener whose first request is a GET of path that asks for an upgrade. */
void app_set_upgrade(struct app *app, const char *path, net_upgrade_fn *fn, void *ctx);
/* A line of /status/services; name is static. At most 16. */
void app_add_service(struct app *app, const char *name);
/* Called by app_drain when no request is left, last registered first. At most 16. */
typedef void(app_stop_fn)(void *ctx);
void app_on_stop(struct app *app, app_stop_fn *fn, void *ctx);
/* Binds the API listener and serves; with a role that answers (app_set_api) the gRPC listener too.
 * The error names the address. */
int app_http(struct app *app, struct err *err);
/* /ready answers 200 from now on, once the store has answered (a local one needs no waiting). */
void app_set_ready(struct app *app);
/* Three lines on stdout: where to send, where to ask, where the data is. The addresses are those of
 * the receivers that are served, as net_server_listen takes them; empty: not served. */
void app_print_ways(const struct app *app, struct slice otlp_grpc, struct slice otlp_http);

/* ---- run and stop ---- */

/* Waits for SIGTERM, SIGINT or app_stop. */
void app_run(struct app *app);
/* Makes app_run return. Any thread. */
void app_stop(struct app *app);
/* /ready answers 503, then shutdown_delay, then no new requests, then waits for those under way (at
 * most server.graceful_shutdown_timeout), then the stop functions. A second signal cuts the waiting
 * short. */
void app_drain(struct app *app);

/* ---- for request handlers: any thread ---- */

/* The path without http_api_prefix: "/api/search". Points into the request. */
struct slice app_api_path(const struct app *app, const struct net_request *req);
/* Whose data the request is about. *tenant points into the request or is static.
 * ERR_UNAUTHENTICATED "no org id"; ERR_INVALID for a name that is not allowed. */
int app_tenant(const struct app *app, const struct net_request *req, struct slice *tenant,
               struct err *err);
/* Whose data a question is about: one, or several as "a|b", each once and in bytewise order, at most
 * max. Each points into the request or is static. As app_tenant fails, also for more than max. */
int app_tenants(const struct app *app, const struct net_request *req, struct slice *tenants,
                size_t max, size_t *count, struct err *err);
/* net_reply, and tempo_request_duration_seconds with the route of the path. Every answer of the API
 * listeners goes through this or the next. A gRPC call gets what net_reply makes of it. */
void app_reply(struct app *app, struct net_request *req, struct net_reply *reply, bool compress);
/* The same for net_reply_grpc. */
void app_reply_grpc(struct app *app, struct net_request *req, int status, struct slice text,
                    struct buf *message);

#endif
