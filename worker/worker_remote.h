/* A worker that takes its jobs from frontends on other machines: it looks up their addresses again
 * and again, keeps its slots connected to all of them, and comes back when a connection breaks. */
#ifndef WORKER_WORKER_REMOTE_H
#define WORKER_WORKER_REMOTE_H

#include "app/app.h"
#include "worker/worker.h"

struct worker_remote;

struct worker_remote_opts {
    struct query_worker worker; /* runs the jobs */
    struct catalog *catalog;    /* lends the sections of jobs about live spans */
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    struct slice frontends; /* "host:port", "[::1]:3200", or "host" with default_port */
    uint16_t default_port;
    uint32_t slots;      /* jobs at once: shared out to the addresses, at least one each */
    struct slice secret; /* empty: none */
    uint64_t lookup_ns;  /* how often the name is looked up */
};

int worker_remote_new(const struct worker_remote_opts *opts, struct worker_remote **out,
                      struct err *err);
/* By the configuration; *out is NULL, with a warning, when it names no frontend. */
int worker_remote_of_app(struct app *app, struct worker *w, struct catalog *catalog,
                         struct worker_remote **out, struct err *err);
/* Tells the frontends that no more jobs are taken, and waits until those that run are done. */
void worker_remote_stop(struct worker_remote *r);
void worker_remote_free(struct worker_remote *r); /* stops; NULL is fine */

#endif
