/* A pool of threads over one locked queue: tasks here are milliseconds long, so the lock is never
 * what costs. */
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pool {
    pthread_mutex_t mu;
    pthread_cond_t wake;
    struct pool_task *head, **tail; /* hold mu */
    size_t queued;                  /* hold mu */
    bool stopping;                  /* hold mu */
    uint32_t thread_count;
    pthread_t threads[];
};

static void *pool_thread(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->mu);
    for (;;) {
        while (!p->head && !p->stopping)
            pthread_cond_wait(&p->wake, &p->mu);
        struct pool_task *t = p->head;
        if (!t)
            break;
        p->head = t->next;
        if (!p->head)
            p->tail = &p->head;
        p->queued--;
        pthread_mutex_unlock(&p->mu);
        t->run(t);
        pthread_mutex_lock(&p->mu);
    }
    pthread_mutex_unlock(&p->mu);
    return NULL;
}

int pool_new(const char *name, uint32_t threads, struct pool **out, struct err *err)
{
    struct pool *p = calloc(1, sizeof *p + threads * sizeof p->threads[0]);
    if (!p)
        return err_set(err, ERR_NOMEM, "no memory for a pool of %u threads", threads);
    pthread_mutex_init(&p->mu, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->tail = &p->head;
    for (uint32_t i = 0; i < threads; i++) {
        int rc = pthread_create(&p->threads[i], NULL, pool_thread, p);
        if (rc) {
            pool_free(p);
            return err_set(err, ERR_UNAVAILABLE, "cannot start thread %u of pool %s: %s", i, name,
                           strerror(rc));
        }
        pthread_setname_np(p->threads[i], name);
        p->thread_count++;
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mu);
    for (uint32_t i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

void pool_submit(struct pool *p, struct pool_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&p->mu);
    *p->tail = task;
    p->tail = &task->next;
    p->queued++;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mu);
}

size_t pool_queued(struct pool *p)
{
    pthread_mutex_lock(&p->mu);
    size_t n = p->queued;
    pthread_mutex_unlock(&p->mu);
    return n;
}

struct latch {
    pthread_mutex_t mu;
    pthread_cond_t zero;
    size_t left; /* hold mu */
};

struct latch *latch_new(size_t count)
{
    struct latch *l = calloc(1, sizeof *l);
    if (l) {
        pthread_mutex_init(&l->mu, NULL);
        pthread_cond_init(&l->zero, NULL);
        l->left = count;
    }
    return l;
}

void latch_down(struct latch *l)
{
    pthread_mutex_lock(&l->mu);
    if (--l->left == 0)
        pthread_cond_signal(&l->zero);
    pthread_mutex_unlock(&l->mu);
}

void latch_wait(struct latch *l)
{
    pthread_mutex_lock(&l->mu);
    while (l->left)
        pthread_cond_wait(&l->zero, &l->mu);
    pthread_mutex_unlock(&l->mu);
    pthread_cond_destroy(&l->zero);
    pthread_mutex_destroy(&l->mu);
    free(l);
}
