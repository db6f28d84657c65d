/* Serving links: a loop per link, and the listener beside it. */
#include "worker/job_server.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/vec.h"
#include "query/job_link.h"

/* Decoded job and result of one job; the scan has its own limits. */
#define LIMIT_JOB_ARENA_BYTES ((size_t)512 << 20)
/* A link without a job is looked at so often for the end of serving. */
#define IDLE_TICK_NS (250 * NS_PER_MS)

struct serving {
    struct job_link link;
    pthread_mutex_t mu;
    bool running;               /* hold mu; then the listener alone reads the link */
    uint32_t number;            /* hold mu: of the running job */
    uint64_t told_ns;           /* hold mu: when it last said that it is alive */
    bool broken;                /* hold mu: the other side is gone */
    struct query_cancel cancel; /* of the running job */
};

struct job_server {
    struct job_server_opts opts;
    struct log log;
    struct counter *jobs, *failed;
    struct gauge *running;
    atomic_bool stopping;
    pthread_t listener;
    bool listens;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    VEC(struct serving *) links; /* hold mu */
    uint32_t busy;               /* hold mu: links that run a job */
    bool asleep;                 /* hold mu: the listener waits for one */
    bool ended;                  /* hold mu */
};

/* ---- the listener ---- */

static void hear(struct job_server *s, struct serving *v, uint64_t now)
{
    struct link_frame f;
    struct err err;
    int rc = 0;
    pthread_mutex_lock(&v->mu);
    while (v->running && !v->broken && (rc = job_link_poll(&v->link, 0, &f, &err)) == 0) {
        if (f.type == LINK_CANCEL && f.number == v->number)
            atomic_store(&v->cancel.told, true);
    }
    if (v->running && !v->broken && rc >= 0 && now - v->told_ns >= LINK_ALIVE_NS) {
        v->told_ns = now;
        rc = job_link_send(&v->link, LINK_ALIVE, v->number, slice_of(NULL, 0), &err);
    }
    if (rc < 0) {
        v->broken = true;
        atomic_store(&v->cancel.told, true);
        LOG_DEBUG(&s->log, "a frontend went away while its job ran", KV_ERR(&err));
    }
    pthread_mutex_unlock(&v->mu);
}

static void *listen_main(void *arg)
{
    struct job_server *s = arg;
    pthread_setname_np(pthread_self(), "job-listener");
    uint64_t busy_ns = 0; /* when a job was last seen */
    pthread_mutex_lock(&s->mu);
    while (!s->ended) {
        uint64_t now = clock_mono_ns(s->opts.clock), until = now + LINK_TICK_NS;
        const struct timespec t = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
        for (uint32_t i = 0; i < s->links.count; i++)
            hear(s, s->links.at[i], now);
        busy_ns = s->busy ? now : busy_ns;
        /* One that slept between short jobs would be woken for each of them. */
        s->asleep = now - busy_ns > NS_PER_S;
        if (s->asleep)
            pthread_cond_wait(&s->wake, &s->mu);
        else
            pthread_cond_timedwait(&s->wake, &s->mu, &t);
        s->asleep = false;
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

/* ---- one job ---- */

static void set_running(struct job_server *s, struct serving *v, bool running, uint32_t number)
{
    pthread_mutex_lock(&v->mu);
    v->running = running;
    v->number = number;
    v->told_ns = clock_mono_ns(s->opts.clock);
    if (running)
        atomic_store(&v->cancel.told, false);
    pthread_mutex_unlock(&v->mu);
    pthread_mutex_lock(&s->mu);
    s->busy += running ? 1u : -1u;
    if (s->asleep)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    gauge_add(s->running, running ? 1 : -1);
}

static int run(struct job_server *s, struct serving *v, struct slice bytes, struct arena *a,
               struct span_batch *batch, struct buf *out, struct err *err)
{
    struct query_job job = {0};
    struct query_result result = {0};
    struct err e = {0};
    int rc = query_job_decode(bytes, clock_mono_ns(s->opts.clock), s->opts.catalog, a, &job, &e);
    if (rc == 0) {
        job.source.cancel = &v->cancel;
        if (job.kind == QUERY_FIND_TRACE)
            result.trace.batch = batch;
        rc = query_job_run(&s->opts.worker, &job, a, &result, &e);
    }
    counter_add(s->jobs, 1);
    counter_add(s->failed, rc < 0);
    rc = query_result_encode(&job, rc, &e, &result, out, err);
    if (rc < 0) { /* the frontend hears of it in place of the result */
        buf_reset(out);
        rc = query_result_encode(&job, rc, err, NULL, out, err);
    }
    return rc;
}

static int serve_job(struct job_server *s, struct serving *v, const struct link_frame *f,
                     struct err *err)
{
    /* The frame's storage is the link's, which the listener reads meanwhile. */
    uint32_t number = f->number;
    uint8_t *bytes;
    size_t len;
    struct span_batch batch = {0};
    struct buf out;
    job_link_take(&v->link, &bytes, &len);
    buf_init(&out, LIMIT_QUERY_RESULT_BYTES);
    set_running(s, v, true, number);
    struct arena *a = arena_new(LIMIT_JOB_ARENA_BYTES);
    int rc = a ? run(s, v, slice_of(bytes, len), a, &batch, &out, err)
               : err_set(err, ERR_NOMEM, "no memory for a job");
    set_running(s, v, false, number);
    if (v->broken)
        rc = err_set(err, ERR_IO, "the frontend went away");
    rc = rc < 0 ? rc : job_link_send(&v->link, LINK_RESULT, number, buf_view(&out), err);
    span_batch_clear(&batch);
    arena_free(a);
    buf_clear(&out);
    free(bytes);
    return rc;
}

/* ---- a link ---- */

static int serve_loop(struct job_server *s, struct serving *v, const atomic_bool *leave,
                      struct err *err)
{
    struct link_frame f;
    int rc = job_link_send(&v->link, LINK_ALIVE, 0, slice_of(NULL, 0), err);
    while (rc == 0 && !atomic_load(&s->stopping) && !(leave && atomic_load(leave))) {
        rc = job_link_poll(&v->link, clock_mono_ns(s->opts.clock) + IDLE_TICK_NS, &f, err);
        if (rc == 1)
            rc = 0;
        else if (rc == 0 && f.type == LINK_JOB)
            rc = serve_job(s, v, &f, err);
        else if (rc == 0 && f.type != LINK_CANCEL) /* a cancel may meet its result half-way */
            rc = err_set(err, ERR_CORRUPT, "a frame of type %d from a frontend", f.type);
    }
    if (rc == 0)
        rc = job_link_send(&v->link, LINK_LEAVING, 0, slice_of(NULL, 0), err);
    return rc;
}

int job_server_serve(struct job_server *s, int fd, const atomic_bool *leave, struct err *err)
{
    struct serving v = {.mu = PTHREAD_MUTEX_INITIALIZER};
    job_link_init(&v.link, fd, LIMIT_QUERY_JOB_BYTES, s->opts.clock);
    pthread_mutex_lock(&s->mu);
    bool known = vec_push(&s->links, &v);
    pthread_mutex_unlock(&s->mu);
    int rc =
        known ? serve_loop(s, &v, leave, err) : err_set(err, ERR_NOMEM, "no memory for a link");
    pthread_mutex_lock(&s->mu);
    for (uint32_t i = 0; i < s->links.count && known; i++) {
        if (s->links.at[i] == &v) {
            s->links.at[i] = s->links.at[--s->links.count];
            known = false;
        }
    }
    pthread_mutex_unlock(&s->mu);
    job_link_clear(&v.link);
    pthread_mutex_destroy(&v.mu);
    return rc;
}

/* ---- life ---- */

int job_server_new(const struct job_server_opts *opts, struct job_server **out, struct err *err)
{
    struct job_server *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a worker's links");
    s->opts = *opts;
    s->log = log_room(opts->log, "worker");
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (opts->metrics) {
        s->jobs = metrics_counter(opts->metrics, "worker_jobs_total",
                                  "Jobs of frontends that were run here.");
        s->failed = metrics_counter(opts->metrics, "worker_jobs_failed_total",
                                    "Jobs of frontends that ended with an error.");
        s->running = metrics_gauge(opts->metrics, "worker_jobs_running",
                                   "Jobs of frontends that run here now.");
    }
    int rc = pthread_create(&s->listener, NULL, listen_main, s);
    if (rc != 0) {
        job_server_free(s);
        return err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(rc));
    }
    s->listens = true;
    *out = s;
    return 0;
}

void job_server_stop(struct job_server *s)
{
    atomic_store(&s->stopping, true);
}

bool job_server_stopping(const struct job_server *s)
{
    return atomic_load(&s->stopping);
}

void job_server_free(struct job_server *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mu);
    s->ended = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    if (s->listens)
        pthread_join(s->listener, NULL);
    vec_free(&s->links);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mu);
    free(s);
}
