/* Where jobs run: threads of this process, child processes that it starts, and workers elsewhere
 * that have connected to it. All of them behind one struct query_worker, whose call waits for a
 * free slot, nearest first, runs the job there and returns its result.
 *
 * A job whose worker dies, hangs or has no memory left is tried on another one, and after a few
 * attempts in this process, so that a query does not fail for want of a worker. With no worker at
 * all everything runs in this process. */
#ifndef FRONTEND_POOLS_H
#define FRONTEND_POOLS_H

#include "app/app.h"
#include "query/query.h"

struct pools;

struct pools_opts {
    struct query_worker local; /* runs a job in this process, on the caller's thread */
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    /* Jobs at once in this process; 0: only when no other worker can take them. */
    uint32_t in_process;
    /* Child processes. */
    uint32_t children_min, children_max;
    uint32_t child_slots;        /* jobs at once in each; 0: 4 */
    uint64_t child_memory_bytes; /* address space of each; 0: any */
    int argc;                    /* the program's own command line, for its children */
    char *const *argv;
    /* Remote workers: pools_upgrade. */
    uint32_t remote_slots_max; /* connections; 0: none are taken */
    struct slice secret;       /* empty: none is asked for */
    /* A worker that says nothing for so long while it has a job is given up; 0: 5 s, 10 s. */
    uint64_t child_silence_ns, remote_silence_ns;
};

int pools_new(const struct pools_opts *opts, struct pools **out, struct err *err);
/* By the configuration; remote workers' connections are asked of the app. */
int pools_of_app(struct app *app, struct query_worker local, int argc, char *const *argv,
                 struct pools **out, struct err *err);
/* No call may be under way. Ends the children, closes the connections. NULL is fine. */
void pools_free(struct pools *p);

/* Good while the pools live. Any thread. */
struct query_worker pools_worker(struct pools *p);
/* How many jobs can run at once when every pool is as large as it may become: so many threads may
 * call at once without waiting for each other. */
uint32_t pools_slots_max(const struct pools *p);

/* Jobs that wait elsewhere for a thread that will bring them here: called by the supervisor. */
typedef size_t(pools_queue_fn)(void *ctx, uint64_t *oldest_ns);
void pools_on_queue(struct pools *p, pools_queue_fn *fn, void *ctx);

/* For who decides from outside how many workers there should be. */
struct pools_scaling {
    uint32_t demand; /* jobs queued and running: three quarters of the last 30 s had no more */
    uint32_t queued, running;
    uint32_t workers; /* child processes, and connections of remote workers */
    uint32_t slots;   /* jobs at once, those of this process too */
    double oldest_age_s;
};
void pools_scaling(struct pools *p, struct pools_scaling *out);

/* A net_upgrade_fn (ctx is the pools) for GET POOLS_UPGRADE_PATH: a remote worker's slot. */
#define POOLS_UPGRADE_PATH "/internal/worker"
void pools_upgrade(void *ctx, int fd, struct slice head, struct slice peer);

#endif
