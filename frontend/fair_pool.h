/* Threads that take their tasks from a fair queue. */
#ifndef FRONTEND_FAIR_POOL_H
#define FRONTEND_FAIR_POOL_H

#include "base/clock.h"
#include "base/err.h"
#include "frontend/fair_queue.h"

struct fair_pool;

struct fair_task {
    struct fair_entry entry;             /* the pool's */
    void (*run)(struct fair_task *task); /* may free the task */
};

/* name: at most 11 chars, shown as the threads' name. quantum and tenant_max: fair_queue_init. */
int fair_pool_new(const char *name, uint32_t threads, uint64_t quantum, size_t tenant_max,
                  const struct clock *clock, struct fair_pool **out, struct err *err);
/* Runs what is queued, then joins. NULL is fine. */
void fair_pool_free(struct fair_pool *p);

/* From any thread; the task is the pool's until run is called. False: the tenant has too many tasks
 * in the queue (or there is no memory), and the task is the caller's. */
bool fair_pool_submit(struct fair_pool *p, struct slice tenant, enum fair_class class,
                      uint64_t cost, struct fair_task *task);

/* Tasks that wait, not those that run; when the oldest came, UINT64_MAX: none waits. */
size_t fair_pool_queued(struct fair_pool *p, uint64_t *oldest_ns);

#endif
