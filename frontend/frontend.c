/* Requests in, answers out: routing, threads, errors. */
#include "frontend/frontend_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontend/admission.h"
#include "frontend/deny.h"
#include "frontend/frontend_limits.h"
#include "frontend/pools.h"

static size_t jobs_queued(void *ctx, uint64_t *oldest_ns)
{
    struct frontend *f = ctx;
    return fair_pool_queued(f->jobs, oldest_ns);
}

int frontend_new(const struct frontend_opts *opts, struct frontend **out, struct err *err)
{
    struct frontend *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(err, ERR_NOMEM, "no memory for the frontend");
    f->opts = *opts;
    f->log = log_room(opts->app->log, "frontend");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t jobs = opts->job_threads ? opts->job_threads : cpus > 0 ? (uint32_t)cpus * 2 : 4;
    int rc = fair_pool_new("request", opts->request_threads ? opts->request_threads : 16, 1, 0,
                           opts->app->clock, &f->requests, err);
    if (rc == 0)
        rc = fair_pool_new("job", jobs, POOL_QUANTUM_BYTES, 0, opts->app->clock, &f->jobs, err);
    const struct app *app = opts->app;
    accounting_init(&f->accounting, app->metrics);
    int64_t most = app->cfg.query_frontend.max_outstanding_per_tenant;
    if (rc == 0)
        rc = admission_new(app->metrics, most > 0 ? (uint64_t)most : 0, &f->admission, err);
    if (rc == 0)
        rc = deny_list_new(&app->cfg.query_frontend.url_deny_list, &f->denied, err);
    if (rc < 0) {
        frontend_free(f);
        return rc;
    }
    if (opts->pools)
        pools_on_queue(opts->pools, jobs_queued, f);
    *out = f;
    return 0;
}

void frontend_free(struct frontend *f)
{
    if (!f)
        return;
    if (f->opts.pools)
        pools_on_queue(f->opts.pools, NULL, NULL);
    fair_pool_free(f->requests);
    fair_pool_free(f->jobs);
    admission_free(f->admission);
    deny_list_free(f->denied);
    free(f);
}

/* ---- fan-out ---- */

struct fan_task {
    struct fair_task task;
    struct latch *latch;
    void (*run)(void *ctx, size_t i);
    void *ctx;
    size_t i;
};

static void fan_run(struct fair_task *task)
{
    struct fan_task *t = (struct fan_task *)task;
    t->run(t->ctx, t->i);
    latch_down(t->latch);
}

int query_fan_out(struct query *q, size_t count, void (*run)(void *ctx, size_t i), void *ctx,
                  struct err *err)
{
    if (query_abandoned(q))
        return err_set(err, ERR_CANCELLED, "context canceled");
    if (count == 1) { /* no need to change threads */
        run(ctx, 0);
        return 0;
    }
    struct fan_task *tasks = arena_array(q->arena, struct fan_task, count);
    struct latch *latch = tasks ? latch_new(count) : NULL;
    if (!latch)
        return err_set(err, ERR_NOMEM, "no memory for %zu jobs", count);
    if (count == 0) {
        latch_wait(latch);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        tasks[i] = (struct fan_task){{.run = fan_run}, latch, run, ctx, i};
        if (!fair_pool_submit(q->frontend->jobs, q->tenant, q->class, q->job_bytes, &tasks[i].task))
            fan_run(&tasks[i].task);
    }
    latch_wait(latch);
    return 0;
}

/* ---- requests ---- */

/* A request that waits for its thread, and is then answered by it. */
struct request_task {
    struct fair_task task;
    struct query q;
};

bool query_abandoned(const struct query *q)
{
    return q->client && net_request_gone(q->client);
}

static int dispatch(struct query *q, struct slice path, struct answer *out, struct err *err)
{
    static const struct slice v1 = {(const uint8_t *)"/api/traces/", 12};
    static const struct slice v2 = {(const uint8_t *)"/api/v2/traces/", 15};
    if (slice_starts(path, SLICE("/api/metrics/")))
        q->class = FAIR_BATCH;
    if (slice_starts(path, v1) && path.len > v1.len &&
        slice_find(slice_from(path, v1.len), '/') == path.len - v1.len)
        return trace_api(q, false, slice_from(path, v1.len), out, err);
    if (slice_starts(path, v2) && path.len > v2.len &&
        slice_find(slice_from(path, v2.len), '/') == path.len - v2.len)
        return trace_api(q, true, slice_from(path, v2.len), out, err);
    if (slice_eq(path, SLICE("/api/metrics/query_range")))
        return metrics_api(q, false, out, err);
    if (slice_eq(path, SLICE("/api/metrics/query")))
        return metrics_api(q, true, out, err);
    if (slice_eq(path, SLICE("/api/metrics/summary")))
        return metrics_summary_api(q, out, err);
    if (slice_eq(path, SLICE("/api/search")))
        return search_api(q, out, err);
    int rc;
    if (tags_api(q, path, out, &rc, err))
        return rc;
    out->status = 404;
    out->content_type = "text/plain; charset=utf-8";
    return buf_str(&out->body, "404 page not found\n");
}

void answer_error(struct query *q, int rc, struct answer *a, const struct err *err)
{
    buf_clear(&a->body);
    a->status = a->status >= 400 ? a->status : err_code_http(rc);
    a->content_type = "text/plain; charset=utf-8";
    buf_init(&a->body, sizeof err->msg + 1);
    buf_str(&a->body, err->msg);
    if (a->status >= 500)
        LOG_WARN(&q->frontend->log, "query failed", KV_SLICE("path", q->req->path),
                 KV_SLICE("tenant", q->tenant), KV_ERR(err));
}

/* What a view names may be gone when it comes to be read: the segments have become a block. A new
 * view has what came instead; of the work of another process it knows after a look at the store. */
static int dispatch_current(struct query *q, struct answer *a, struct err *err)
{
    struct app *app = q->frontend->opts.app;
    struct slice path = app_api_path(app, q->req);
    for (int tries = 0;; tries++) {
        int rc = dispatch(q, path, a, err);
        if (rc != ERR_NOTFOUND)
            return rc;
        if (tries == LIMIT_STALE_VIEWS) /* not 404: that says that there is no such trace */
            return err->code = ERR_UNAVAILABLE;
        if (tries > 0) {
            rc = catalog_refresh(q->frontend->opts.catalog, q->deadline_mono_ns, err);
            if (rc < 0)
                return rc;
        }
        buf_reset(&a->body);
        arena_reset(q->arena);
        *err = (struct err){0};
    }
}

/* Whose request it is. */
static int begin(struct query *q, struct answer *a, struct err *err)
{
    int rc = query_tenants(q, err);
    if (rc == ERR_UNAUTHENTICATED) {
        a->status = 401;
        snprintf(err->msg, sizeof err->msg, query_streams(q) ? "no org id" : "no org id\n");
    }
    return rc;
}

static bool client_gone(const void *client)
{
    return net_request_gone(client);
}

/* Until when, and for whom. */
static void set_deadline(struct query *q)
{
    q->cancel.gone = q->client ? client_gone : NULL;
    q->cancel.asker = q->client;
    int64_t timeout_ns = q->frontend->opts.app->cfg.query_frontend.api_timeout_ns;
    uint64_t theirs_ns = q->req->deadline_mono_ns;
    q->deadline_mono_ns = q->req->received_mono_ns +
                          (timeout_ns > 0 ? (uint64_t)timeout_ns : QUERY_TIMEOUT_S * NS_PER_S);
    if (theirs_ns && theirs_ns < q->deadline_mono_ns)
        q->deadline_mono_ns = theirs_ns;
}

void answer_query(struct query *q, struct answer *a)
{
    struct err err = {0};
    int rc;
    set_deadline(q);
    selftrace_request(q->frontend->opts.app->selftrace, q->req, "", &q->span);
    q->memory.limit = (size_t)q->frontend->opts.app->cfg.query_frontend.max_query_memory_bytes;
    q->memory.name = "query_frontend.max_query_memory_bytes";
    if (!(q->arena = arena_new_within(&q->memory))) {
        rc = err_set(&err, ERR_NOMEM, "no memory for a query");
    } else {
        rc = deny_list_check(q->frontend->denied, q->req->path, q->req->query, &err);
        if (rc == 0)
            rc = dispatch_current(q, a, &err);
        if (rc == ERR_TIMEOUT &&
            clock_mono_ns(q->frontend->opts.app->clock) >= q->deadline_mono_ns) {
            a->status = 503;
            a->grpc_status = GRPC_DEADLINE_EXCEEDED;
            snprintf(err.msg, sizeof err.msg, "%s",
                     query_streams(q) ? "context deadline exceeded"
                                      : "unable to process request in the configured timeout");
        }
    }
    if (rc < 0)
        answer_error(q, rc, a, &err);
    query_answered(q, rc, a->status, err.msg);
    arena_free(q->arena);
}

static struct answer answer_init(void)
{
    struct answer a = {.status = 200, .content_type = "application/json"};
    buf_init(&a.body, LIMIT_ANSWER_BYTES);
    return a;
}

static void send_answer(struct query *q, struct answer *a)
{
    struct net_reply r = {.status = a->status, .content_type = a->content_type, .body = a->body};
    if (query_streams(q))
        send_call(q, a);
    else
        app_reply(q->frontend->opts.app, q->client, &r, true);
}

int frontend_ask(struct frontend *f, struct net_request *req, struct buf *body)
{
    struct query q = {.frontend = f, .req = req};
    struct answer a = answer_init();
    struct err err = {0};
    int rc = begin(&q, &a, &err);
    if (rc < 0)
        answer_error(&q, rc, &a, &err);
    else
        answer_query(&q, &a);
    rc = buf_slice(body, buf_view(&a.body));
    buf_clear(&a.body);
    return rc < 0 ? 500 : a.status;
}

static void run_request(struct fair_task *task)
{
    struct query *q = &((struct request_task *)task)->q;
    struct answer a = answer_init();
    if (query_streams(q))
        answer_call(q, &a);
    else
        answer_query(q, &a);
    admission_leave(q->frontend->admission, q->tenant); /* the name goes with the request */
    send_answer(q, &a);
    free(task);
}

/* For KEDA and its like: nobody's data, so no tenant is asked for. */
static void answer_scaling(struct frontend *f, struct net_request *req)
{
    struct pools_scaling s;
    struct net_reply r = {.status = 200, .content_type = "application/json"};
    pools_scaling(f->opts.pools, &s);
    buf_init(&r.body, 1024);
    if (buf_printf(&r.body,
                   "{\"demand\":%u,\"queued\":%u,\"running\":%u,\"workers\":%u,\"slots\":%u,"
                   "\"oldest_age_s\":%.3f}\n",
                   s.demand, s.queued, s.running, s.workers, s.slots, s.oldest_age_s) < 0)
        r.status = 500;
    app_reply(f->opts.app, req, &r, false);
}

void frontend_handle(void *ctx, struct net_request *req)
{
    struct frontend *f = ctx;
    if (f->opts.pools && slice_eq(app_api_path(f->opts.app, req), SLICE("/api/scaling"))) {
        answer_scaling(f, req);
        return;
    }
    struct request_task *t = calloc(1, sizeof *t);
    struct answer a = answer_init();
    struct err err = {0};
    struct query none = {.frontend = f, .req = req, .client = req};
    uint64_t oldest_ns;
    int rc = t ? 0 : err_set(&err, ERR_NOMEM, "no memory for a query");
    if (rc == 0) {
        *t = (struct request_task){.task.run = run_request, .q = none};
        rc = begin(&t->q, &a, &err);
    }
    if (rc == 0 && fair_pool_queued(f->requests, &oldest_ns) >= LIMIT_QUEUED_REQUESTS)
        rc = err_set(&err, ERR_EXHAUSTED, "job queue full");
    if (rc == 0)
        rc = admission_enter(f->admission, t->q.tenant, &err);
    if (rc == 0) {
        if (fair_pool_submit(f->requests, t->q.tenant, FAIR_INTERACTIVE, 1, &t->task))
            return;
        admission_leave(f->admission, t->q.tenant);
        rc = err_set(&err, ERR_NOMEM, "no memory for a query");
    }
    free(t);
    answer_error(&none, rc, &a, &err);
    send_answer(&none, &a);
}
