/* The pools' inside: pools.c (life), pool_grant.c (who gets which slot), pool_run.c (a job and its
 * attempts), pool_child.c and pool_remote.c (where slots come from). */
#ifndef FRONTEND_POOLS_PRIV_H
#define FRONTEND_POOLS_PRIV_H

#include <pthread.h>
#include <sys/types.h>

#include "base/vec.h"
#include "frontend/autoscaler.h"
#include "frontend/fair_queue.h"
#include "frontend/pools.h"
#include "query/job_link.h"
#include "query/query_codec.h"

enum pool_kind { POOL_IN_PROCESS, POOL_CHILD, POOL_REMOTE, POOL_KINDS };

enum pool_slot_state { POOL_STARTING, POOL_IDLE, POOL_BUSY, POOL_SLOT_STATES };

struct pool_child;

/* A link to a worker. While it is busy it is its holder's, else the supervisor's. */
struct pool_slot {
    struct job_link link;
    enum pool_kind kind;
    enum pool_slot_state state; /* hold mu */
    uint32_t jobs;              /* the number of the latest */
    struct pool_child *child;   /* or NULL */
    uint64_t since_ns;          /* in this state */
};

/* A process. It is freed when it has been reaped and has no slots. */
struct pool_child {
    pid_t pid;      /* hold mu; 0: reaped */
    uint32_t slots; /* hold mu: in pools.slots */
    uint64_t started_ns, ready_ns;
    uint64_t retired_ns; /* hold mu: slots are closed when they are idle; 0: it serves */
};

/* What a caller got: a slot of this process when slot is NULL. */
struct pool_grant {
    enum pool_kind kind;
    struct pool_slot *slot;
};

struct pool_waiter {
    struct fair_entry entry; /* first: the queue's */
    pthread_cond_t granted;
    bool done;
    struct pool_grant grant;
};

struct pools {
    struct pools_opts opts;
    struct log log;
    struct query_dispatch dispatch;
    uint32_t fallback_slots; /* of this process, when it has no others and there is no worker */
    int wake_fd;             /* eventfd of the supervisor */
    pthread_t supervisor;
    bool supervised;
    struct log_limit refusals;
    struct {
        struct metrics_family *workers, *jobs;
        struct counter *starts, *deaths, *retries;
        struct gauge *queued, *children, *desired, *inflight;
    } m;
    struct {
        pthread_mutex_t mu;
        uint32_t busy[POOL_KINDS];     /* grants that are out */
        VEC(struct pool_slot *) slots; /* all that are not dead; idle ones are taken from the end */
        VEC(struct pool_child *) children;
        struct fair_queue waiting; /* struct pool_waiter: who waits for a slot */
        uint64_t next_start_ns;    /* of a child, after one died young */
        uint64_t backoff_ns;
        uint64_t hear_ns;    /* idle links are looked at then */
        uint64_t tick_ns;    /* the scalers' next tick */
        uint64_t service_ns; /* of a job on a link, moving average */
        struct autoscaler children_law;
        struct autoscaler whole; /* demand of all pools together, for who scales from outside */
        pools_queue_fn *outside; /* jobs that have not come here yet; may be NULL */
        void *outside_ctx;
        bool stopping;
    } shared; /* hold mu */
};

/* ---- pool_grant.c ---- */

/* Waits for a slot. ERR_TIMEOUT, ERR_CANCELLED. */
int pool_acquire(struct pools *p, const struct query_job *job, struct pool_grant *out,
                 struct err *err);
void pool_release(struct pools *p, struct pool_grant *g);
/* The slot's link is of no more use. Frees it. */
void pool_drop(struct pools *p, struct pool_grant *g);
/* The same for a slot that nobody holds. */
void pool_drop_slot_locked(struct pools *p, struct pool_slot *s);
/* Adds a slot whose worker has yet to say that it is ready. Takes fd, also on failure. */
int pool_add_locked(struct pools *p, enum pool_kind kind, int fd, struct pool_child *child);
/* Gives free slots to those who wait. */
void pool_serve_locked(struct pools *p);
uint32_t pool_count_locked(const struct pools *p, enum pool_kind kind, enum pool_slot_state state);

/* ---- pool_run.c: the dispatch function ---- */
int pool_run(void *self, const struct query_job *job, struct arena *a, struct query_result *out,
             struct err *err);

/* ---- pool_child.c ---- */

/* Starts, reaps and retires children; called by the supervisor. step: how many more or fewer. */
void pool_tend_children_locked(struct pools *p, int step, uint64_t now);
uint32_t pool_children_locked(const struct pools *p, uint32_t *starting);
/* A child that does not behave. */
void pool_kill_locked(struct pool_child *c);
/* Waits for all of them, then kills. Slots are gone. */
void pool_end_children(struct pools *p);

void pools_wake(struct pools *p);

#endif
