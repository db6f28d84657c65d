/* Threads that run tasks from one queue, first come, first served. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pool;

struct pool_task {
    void (*run)(struct pool_task *task); /* may free the task */
    struct pool_task *next;              /* the pool's */
};

/* name: at most 11 chars, shown as the threads' name. */
int pool_new(const char *name, uint32_t threads, struct pool **out, struct err *err);
/* Runs what is queued, then joins. NULL is fine. */
void pool_free(struct pool *p);
/* From any thread. The task is the pool's until run is called. */
void pool_submit(struct pool *p, struct pool_task *task);
size_t pool_queued(struct pool *p); /* waiting, not running */

/* Waits for a number of tasks: each calls latch_down, one caller waits for zero. */
struct latch;
struct latch *latch_new(size_t count);
void latch_down(struct latch *l);
void latch_wait(struct latch *l); /* then frees it */

#endif
