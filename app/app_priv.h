/* What the files of the room share. */
#ifndef APP_APP_PRIV_H
#define APP_APP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "app/app.h"

/* Roles of one process, and functions to stop them; main registers a handful. */
#define LIMIT_APP_SERVICES 16
#define LIMIT_APP_STOPS 16
/* Body of a request to the API listener; nothing that it answers reads more. */
#define LIMIT_API_BODY_BYTES (UINT64_C(16) << 20)
/* One page of the process's own: /metrics is by far the largest. */
#define LIMIT_PAGE_BYTES ((size_t)64 << 20)
/* Longest tenant name, as in Tempo 3.0. */
#define LIMIT_TENANT_BYTES 150

#ifndef RUBATO_VERSION
#define RUBATO_VERSION "unknown"
#endif
#ifndef RUBATO_REVISION
#define RUBATO_REVISION "unknown"
#endif

struct app_priv {
    struct app_opts opts;
    struct config *config;
    struct log log;
    uint64_t start_mono_ns;
    int signal_fd; /* SIGTERM, SIGINT */
    int stop_fd;   /* app_stop */
    int ended_fd;  /* for the watchdog of a drain: the process has come to its end */
    bool watched;
    atomic_bool all_answered; /* by the drain */
    pthread_t watchdog;

    /* Set before app_http, read-only afterwards. */
    net_handler_fn *api;
    void *api_ctx;
    const char *upgrade_path;
    net_upgrade_fn *upgrade;
    void *upgrade_ctx;
    const char *services[LIMIT_APP_SERVICES];
    size_t service_count;
    struct {
        app_stop_fn *fn;
        void *ctx;
    } stops[LIMIT_APP_STOPS];
    size_t stop_count;
    struct metrics_family *request_seconds;
    struct app_process *process;

    /* Any thread. */
    atomic_bool served; /* app_set_ready was called */
    atomic_bool store_answers;
    atomic_bool ready_told;
    atomic_bool stopping;

    /* The thread that asks the store what it can do. */
    pthread_t prober;
    bool prober_runs;
    struct {
        pthread_mutex_t mu;
        pthread_cond_t wake;
        bool stop;
    } probe; /* hold mu */
};

/* Whether /ready says so; tells it in the log the first time. */
bool app_is_ready(struct app *app);

/* The gauges of the process itself. */
struct app_process;
int app_process_new(struct metrics *m, uint64_t start_unix_ns, struct app_process **out);
void app_process_free(struct app_process *p);

/* Opens the descriptors that app_run waits for. */
int app_signals_open(struct app *app, struct err *err);
void app_watchdog_end(struct app *app); /* after app_drain */
void app_signals_close(struct app *app);

/* Starts to ask the store, and stops asking. */
int app_probe_start(struct app *app, struct err *err);
void app_probe_stop(struct app *app);

/* Registers tempo_request_duration_seconds and tempo_build_info. */
void app_http_metrics(struct app *app);
/* A request that is answered now goes into tempo_request_duration_seconds. */
void app_observe(struct app *app, const struct net_request *req, struct slice method,
                 struct slice route, struct slice status);

/* A gRPC call of the API listeners. */
void app_grpc_handle(struct app *app, struct net_request *req);
/* A call that is answered now with that status goes into tempo_request_duration_seconds. */
void app_grpc_observe(struct app *app, const struct net_request *req, int status);

#endif
