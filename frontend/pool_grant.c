/* Who gets which slot: one lock over all of them. A caller takes the nearest free one, or waits its
 * turn. */
#include "frontend/pools_priv.h"

#include <stdlib.h>
#include <sys/socket.h>

/* A caller in the queue looks so often whether its query is still wanted. */
#define QUEUE_TICK_NS (100 * NS_PER_MS)

static void set_state(struct pools *p, struct pool_slot *s, enum pool_slot_state state)
{
    s->state = state;
    s->since_ns = clock_mono_ns(p->opts.clock);
}

uint32_t pool_count_locked(const struct pools *p, enum pool_kind kind, enum pool_slot_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->shared.slots.count; i++)
        n += p->shared.slots.at[i]->kind == kind && p->shared.slots.at[i]->state == state;
    return n;
}

/* ---- taking ---- */

/* The idle slot used last: its worker's caches are warm, and the others may come to be retired. */
static struct pool_slot *idle_locked(struct pools *p, enum pool_kind kind)
{
    struct pool_slot *best = NULL;
    for (uint32_t i = 0; i < p->shared.slots.count; i++) {
        struct pool_slot *s = p->shared.slots.at[i];
        if (s->kind == kind && s->state == POOL_IDLE && !(s->child && s->child->retired_ns) &&
            (!best || s->since_ns > best->since_ns))
            best = s;
    }
    return best;
}

static bool take_locked(struct pools *p, struct pool_grant *out)
{
    uint32_t own = p->opts.in_process;
    /* Without any worker this process has to do. */
    if (own == 0 && p->shared.slots.count == 0)
        own = p->fallback_slots;
    *out = (struct pool_grant){.kind = POOL_IN_PROCESS};
    if (p->shared.busy[POOL_IN_PROCESS] < own) {
        p->shared.busy[POOL_IN_PROCESS]++;
        return true;
    }
    for (int kind = POOL_CHILD; kind <= POOL_REMOTE; kind++) {
        struct pool_slot *s = idle_locked(p, (enum pool_kind)kind);
        if (!s)
            continue;
        set_state(p, s, POOL_BUSY);
        p->shared.busy[kind]++;
        *out = (struct pool_grant){(enum pool_kind)kind, s};
        return true;
    }
    return false;
}

void pool_serve_locked(struct pools *p)
{
    struct pool_grant g;
    while (p->shared.waiting.count && take_locked(p, &g)) {
        struct pool_waiter *w = (struct pool_waiter *)fair_queue_pop(&p->shared.waiting);
        w->grant = g;
        w->done = true;
        pthread_cond_signal(&w->granted);
    }
    gauge_set(p->m.queued, (int64_t)p->shared.waiting.count);
}

/* ---- waiting ---- */

/* What a job reads at most. */
static uint64_t cost_of(const struct query_job *job)
{
    const struct query_source *s = &job->source;
    uint64_t bytes = s->block ? s->block->meta.size : 0;
    uint32_t groups = s->block ? s->block->meta.total_records : 0;
    if (s->row_group_end > s->row_group_first && s->row_group_end <= groups)
        bytes = bytes / groups * (s->row_group_end - s->row_group_first);
    for (size_t i = 0; !s->block && s->view && i < s->view->section_count; i++)
        bytes += s->view->sections[i].section->raw_bytes;
    return bytes ? bytes : 1;
}

static enum fair_class class_of(const struct query_job *job)
{
    return job->kind == QUERY_METRICS ? FAIR_BATCH : FAIR_INTERACTIVE;
}

static int wait_locked(struct pools *p, const struct query_job *job, struct pool_waiter *w,
                       struct err *err)
{
    int rc = 0;
    w->entry = (struct fair_entry){.cost = cost_of(job), .since_ns = clock_mono_ns(p->opts.clock)};
    if (!fair_queue_push(&p->shared.waiting, job->source.tenant, class_of(job), &w->entry))
        return err_set(err, ERR_NOMEM, "no memory for the queue of jobs");
    gauge_set(p->m.queued, (int64_t)p->shared.waiting.count);
    while (!w->done && rc == 0) {
        uint64_t now = clock_mono_ns(p->opts.clock), until = now + QUEUE_TICK_NS;
        const struct timespec t = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
        pthread_cond_timedwait(&w->granted, &p->shared.mu, &t);
        now = clock_mono_ns(p->opts.clock);
        if (w->done)
            break;
        if (now > job->deadline_mono_ns)
            rc = err_set(err, ERR_TIMEOUT, "the query's time is up: no worker was free");
        else if (query_is_cancelled(&job->source))
            rc = err_set(err, ERR_CANCELLED, "the query was cancelled");
    }
    if (rc < 0)
        fair_queue_remove(&p->shared.waiting, job->source.tenant, class_of(job), &w->entry);
    gauge_set(p->m.queued, (int64_t)p->shared.waiting.count);
    return rc;
}

int pool_acquire(struct pools *p, const struct query_job *job, struct pool_grant *out,
                 struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&p->shared.mu);
    if (p->shared.waiting.count || !take_locked(p, out)) {
        struct pool_waiter w = {0};
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&w.granted, &attr);
        pthread_condattr_destroy(&attr);
        pools_wake(p); /* more children may be wanted */
        rc = wait_locked(p, job, &w, err);
        *out = w.grant;
        pthread_cond_destroy(&w.granted);
    }
    pthread_mutex_unlock(&p->shared.mu);
    return rc;
}

/* ---- giving back ---- */

void pool_release(struct pools *p, struct pool_grant *g)
{
    pthread_mutex_lock(&p->shared.mu);
    p->shared.busy[g->kind]--;
    if (g->slot) {
        uint64_t took = clock_mono_ns(p->opts.clock) - g->slot->since_ns;
        p->shared.service_ns += took / 8 - p->shared.service_ns / 8;
    }
    if (g->slot && g->slot->child && g->slot->child->retired_ns)
        pool_drop_slot_locked(p, g->slot);
    else if (g->slot)
        set_state(p, g->slot, POOL_IDLE);
    pool_serve_locked(p);
    pthread_mutex_unlock(&p->shared.mu);
    *g = (struct pool_grant){0};
}

void pool_drop(struct pools *p, struct pool_grant *g)
{
    pthread_mutex_lock(&p->shared.mu);
    p->shared.busy[g->kind]--;
    pool_drop_slot_locked(p, g->slot);
    pool_serve_locked(p);
    pthread_mutex_unlock(&p->shared.mu);
    *g = (struct pool_grant){0};
}

void pool_drop_slot_locked(struct pools *p, struct pool_slot *s)
{
    for (uint32_t i = 0; i < p->shared.slots.count; i++) {
        if (p->shared.slots.at[i] == s) {
            p->shared.slots.at[i] = p->shared.slots.at[--p->shared.slots.count];
            break;
        }
    }
    if (s->child)
        s->child->slots--;
    job_link_clear(&s->link);
    free(s);
}

int pool_add_locked(struct pools *p, enum pool_kind kind, int fd, struct pool_child *child)
{
    struct pool_slot *s = calloc(1, sizeof *s);
    if (!s || !vec_push(&p->shared.slots, s)) {
        struct job_link link;
        job_link_init(&link, fd, 0, p->opts.clock);
        job_link_clear(&link);
        free(s);
        return ERR_NOMEM;
    }
    s->kind = kind;
    s->child = child;
    if (child)
        child->slots++;
    job_link_init(&s->link, fd, LIMIT_QUERY_RESULT_BYTES, p->opts.clock);
    set_state(p, s, POOL_STARTING);
    return 0;
}
