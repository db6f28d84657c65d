/* One lock around the queue: tasks are milliseconds long. */
#include "frontend/fair_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct fair_pool {
    const struct clock *clock;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    struct fair_queue queue; /* hold mu */
    bool stopping;           /* hold mu */
    uint32_t thread_count;
    pthread_t threads[];
};

static void *thread_main(void *arg)
{
    struct fair_pool *p = arg;
    pthread_mutex_lock(&p->mu);
    for (;;) {
        struct fair_task *t = (struct fair_task *)fair_queue_pop(&p->queue);
        if (t) {
            pthread_mutex_unlock(&p->mu);
            t->run(t);
            pthread_mutex_lock(&p->mu);
        } else if (p->stopping) {
            break;
        } else {
            pthread_cond_wait(&p->wake, &p->mu);
        }
    }
    pthread_mutex_unlock(&p->mu);
    return NULL;
}

int fair_pool_new(const char *name, uint32_t threads, uint64_t quantum, size_t tenant_max,
                  const struct clock *clock, struct fair_pool **out, struct err *err)
{
    struct fair_pool *p = calloc(1, sizeof *p + threads * sizeof p->threads[0]);
    if (!p)
        return err_set(err, ERR_NOMEM, "no memory for a pool of %u threads", threads);
    p->clock = clock;
    pthread_mutex_init(&p->mu, NULL);
    pthread_cond_init(&p->wake, NULL);
    fair_queue_init(&p->queue, quantum, tenant_max);
    for (uint32_t i = 0; i < threads; i++) {
        int rc = pthread_create(&p->threads[i], NULL, thread_main, p);
        if (rc) {
            fair_pool_free(p);
            return err_set(err, ERR_UNAVAILABLE, "cannot start thread %u of pool %s: %s", i, name,
                           strerrordesc_np(rc));
        }
        pthread_setname_np(p->threads[i], name);
        p->thread_count++;
    }
    *out = p;
    return 0;
}

void fair_pool_free(struct fair_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mu);
    for (uint32_t i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    fair_queue_clear(&p->queue);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

bool fair_pool_submit(struct fair_pool *p, struct slice tenant, enum fair_class class,
                      uint64_t cost, struct fair_task *task)
{
    task->entry = (struct fair_entry){.cost = cost ? cost : 1, .since_ns = clock_mono_ns(p->clock)};
    pthread_mutex_lock(&p->mu);
    bool taken = fair_queue_push(&p->queue, tenant, class, &task->entry);
    if (taken)
        pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mu);
    return taken;
}

size_t fair_pool_queued(struct fair_pool *p, uint64_t *oldest_ns)
{
    pthread_mutex_lock(&p->mu);
    size_t n = p->queue.count;
    *oldest_ns = fair_queue_oldest_ns(&p->queue);
    pthread_mutex_unlock(&p->mu);
    return n;
}
