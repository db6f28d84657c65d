/* A job and its attempts: in this process, or over a link. */
#include <stdlib.h>

#include "frontend/frontend_limits.h"
#include "frontend/pools_priv.h"

struct attempt {
    struct pools *p;
    const struct query_job *job;
    struct arena *a;
    struct query_result *out;
    struct buf encoded; /* empty: not yet */
    struct err *err;
};

static void count(struct pools *p, enum pool_kind kind, const char *result)
{
    static const char *const kinds[POOL_KINDS] = {"in_process", "child", "remote"};
    const struct slice labels[] = {slice_cstr(kinds[kind]), slice_cstr(result)};
    counter_add(metrics_counter_with(p->m.jobs, labels), 1);
}

static int run_here(struct attempt *t)
{
    struct pools *p = t->p;
    int rc = query_job_run(&p->opts.local, t->job, t->a, t->out, t->err);
    count(p, POOL_IN_PROCESS, rc == 0 ? "ok" : "error");
    return rc;
}

static void free_payload(void *ctx)
{
    free(ctx);
}

/* The result lives in the frame's bytes, which become the arena's. */
static int decode(struct attempt *t, struct job_link *l, bool *again)
{
    uint8_t *payload;
    size_t len;
    job_link_take(l, &payload, &len);
    if (!arena_on_reset(t->a, free_payload, payload)) {
        free(payload);
        return arena_err(t->a, t->err, "a job's result");
    }
    int rc = query_result_decode(slice_of(payload, len), t->job, t->a, t->out, again, t->err);
    /* It had no memory, or is ending: another one may do better. */
    *again |= rc == ERR_NOMEM || rc == ERR_UNAVAILABLE;
    return rc;
}

/* A worker that is told that the time is up says that it was cancelled. */
static int in_time(struct attempt *t, int rc)
{
    if (rc == ERR_CANCELLED && !query_is_cancelled(&t->job->source))
        return err_set(t->err, ERR_TIMEOUT, "the query's time is up");
    return rc;
}

static void lost(struct attempt *t, struct pool_grant *g, const struct err *why)
{
    struct pools *p = t->p;
    LOG_WARN(&p->log, "a worker was lost with its job",
             KV_STR("kind", g->kind == POOL_CHILD ? "child" : "remote"),
             KV_STR("job", query_kind_name(t->job->kind)), KV_ERR(why));
    pthread_mutex_lock(&p->shared.mu);
    if (g->slot->child)
        pool_kill_locked(g->slot->child);
    pthread_mutex_unlock(&p->shared.mu);
    count(p, g->kind, "lost");
    pool_drop(p, g);
}

/* *again: this attempt came to nothing. */
static int run_there(struct attempt *t, struct pool_grant *g, bool *again)
{
    struct pools *p = t->p;
    struct pool_slot *s = g->slot;
    enum pool_kind kind = g->kind;
    bool leaving = false;
    const struct link_call call = {.number = ++s->jobs,
                                   .job = buf_view(&t->encoded),
                                   .deadline_mono_ns = t->job->deadline_mono_ns,
                                   .source = &t->job->source,
                                   .silence_ns = kind == POOL_CHILD ? p->opts.child_silence_ns
                                                                    : p->opts.remote_silence_ns};
    struct err why = {0};
    if (job_link_call(&s->link, &call, &leaving, &why) == LINK_END_LOST) {
        lost(t, g, &why);
        *again = true;
        return err_set(t->err, ERR_UNAVAILABLE, "a worker was lost: %s", why.msg);
    }
    int rc = decode(t, &s->link, again);
    if (leaving || (*again && rc == ERR_CORRUPT))
        pool_drop(p, g);
    else
        pool_release(p, g);
    count(p, kind, rc == 0 ? "ok" : *again ? "refused" : "error");
    return *again ? rc : in_time(t, rc);
}

/* What an attempt has left behind goes before the next. */
static void start_over(struct attempt *t)
{
    struct span_batch *batch = t->job->kind == QUERY_FIND_TRACE ? t->out->trace.batch : NULL;
    *t->out = (struct query_result){0};
    if (batch) {
        span_batch_reset(batch);
        t->out->trace.batch = batch;
    }
    counter_add(t->p->m.retries, 1);
}

static int run_somewhere(struct attempt *t)
{
    struct pools *p = t->p;
    for (int tries = 0; tries < LIMIT_JOB_ATTEMPTS; tries++) {
        struct pool_grant g;
        int rc = pool_acquire(p, t->job, &g, t->err);
        if (rc < 0)
            return rc;
        if (!g.slot) {
            rc = run_here(t);
            pool_release(p, &g);
            return rc;
        }
        if (t->encoded.len == 0) {
            buf_reset(&t->encoded);
            rc = query_job_encode(t->job, clock_mono_ns(p->opts.clock), &t->encoded, t->err);
        }
        if (rc < 0) { /* a job that cannot travel */
            pool_release(p, &g);
            break;
        }
        bool again = false;
        rc = run_there(t, &g, &again);
        if (!again)
            return rc;
        if (clock_mono_ns(p->opts.clock) > t->job->deadline_mono_ns)
            return err_set(t->err, ERR_TIMEOUT, "the query's time is up");
        if (query_is_cancelled(&t->job->source))
            return err_set(t->err, ERR_CANCELLED, "the query was cancelled");
        start_over(t);
    }
    return run_here(t);
}

int pool_run(void *self, const struct query_job *job, struct arena *a, struct query_result *out,
             struct err *err)
{
    struct pools *p = self;
    struct attempt t = {.p = p, .job = job, .a = a, .out = out, .err = err};
    if (query_is_cancelled(&job->source))
        return err_set(err, ERR_CANCELLED, "the query was cancelled");
    /* Live spans are in this process's memory, if anywhere; and it is one job a query. */
    if (!job->source.block && p->opts.in_process)
        return run_here(&t);
    buf_init(&t.encoded, LIMIT_QUERY_JOB_BYTES);
    int rc = run_somewhere(&t);
    buf_clear(&t.encoded);
    return rc;
}
