/* Requests in, answers out: routing, threads, errors. */
#include "frontend/frontend_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontend/frontend_limits.h"

int frontend_new(const struct frontend_opts *opts, struct frontend **out, struct err *err)
{
    struct frontend *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(err, ERR_NOMEM, "no memory for the frontend");
    f->opts = *opts;
    f->log = log_room(opts->app->log, "frontend");
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t jobs = opts->job_threads ? opts->job_threads : cpus > 0 ? (uint32_t)cpus * 2 : 4;
    int rc = pool_new("request", opts->request_threads ? opts->request_threads : 16, &f->requests,
                      err);
    if (rc == 0)
        rc = pool_new("job", jobs, &f->jobs, err);
    if (rc < 0) {
        frontend_free(f);
        return rc;
    }
    *out = f;
    return 0;
}

void frontend_free(struct frontend *f)
{
    if (!f)
        return;
    pool_free(f->requests);
    pool_free(f->jobs);
    free(f);
}

/* ---- fan-out ---- */

struct fan_task {
    struct pool_task task;
    struct latch *latch;
    void (*run)(void *ctx, size_t i);
    void *ctx;
    size_t i;
};

static void fan_run(struct pool_task *task)
{
    struct fan_task *t = (struct fan_task *)task;
    t->run(t->ctx, t->i);
    latch_down(t->latch);
}

int query_fan_out(struct query *q, size_t count, void (*run)(void *ctx, size_t i), void *ctx,
                  struct err *err)
{
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
        tasks[i] = (struct fan_task){{fan_run, NULL}, latch, run, ctx, i};
        pool_submit(q->frontend->jobs, &tasks[i].task);
    }
    latch_wait(latch);
    return 0;
}

/* ---- requests ---- */

struct request_task {
    struct pool_task task;
    struct frontend *frontend;
    struct net_request *req;
};

static int dispatch(struct query *q, struct slice path, struct answer *out, struct err *err)
{
    static const struct slice v1 = {(const uint8_t *)"/api/traces/", 12};
    static const struct slice v2 = {(const uint8_t *)"/api/v2/traces/", 15};
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

/* An error's text is the answer. */
static void answer_error(struct query *q, int rc, struct answer *a, const struct err *err)
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

/* The whole answer; the body is the caller's. */
static struct answer answer_request(struct frontend *f, struct net_request *req)
{
    struct app *app = f->opts.app;
    struct query q = {.frontend = f, .req = req};
    struct answer a = {.status = 200, .content_type = "application/json"};
    struct err err = {0};
    buf_init(&a.body, LIMIT_ANSWER_BYTES);
    uint64_t timeout_ns = app->cfg.query_frontend.api_timeout_ns > 0
                              ? (uint64_t)app->cfg.query_frontend.api_timeout_ns
                              : QUERY_TIMEOUT_S * NS_PER_S;
    q.deadline_mono_ns = q.req->received_mono_ns + timeout_ns;
    int rc = query_tenants(&q, &err);
    if (rc < 0) {
        a.status = rc == ERR_UNAUTHENTICATED ? 401 : 400;
        if (rc == ERR_UNAUTHENTICATED)
            snprintf(err.msg, sizeof err.msg, "no org id\n");
    } else if (!(q.arena = arena_new(LIMIT_QUERY_BYTES))) {
        rc = err_set(&err, ERR_NOMEM, "no memory for a query");
    } else {
        rc = dispatch_current(&q, &a, &err);
        if (rc == ERR_TIMEOUT && clock_mono_ns(app->clock) >= q.deadline_mono_ns) {
            a.status = 503;
            snprintf(err.msg, sizeof err.msg,
                     "unable to process request in the configured timeout");
        }
    }
    if (rc < 0)
        answer_error(&q, rc, &a, &err);
    arena_free(q.arena);
    return a;
}

int frontend_ask(struct frontend *f, struct net_request *req, struct buf *body)
{
    struct answer a = answer_request(f, req);
    int rc = buf_slice(body, buf_view(&a.body));
    buf_clear(&a.body);
    return rc < 0 ? 500 : a.status;
}

static void run_request(struct pool_task *task)
{
    struct request_task *t = (struct request_task *)task;
    struct answer a = answer_request(t->frontend, t->req);
    struct net_reply r = {
        .status = a.status, .content_type = a.content_type, .body = a.body};
    app_reply(t->frontend->opts.app, t->req, &r, true);
    free(t);
}

static void refuse(struct frontend *f, struct net_request *req, int status, const char *text)
{
    struct net_reply r = {.status = status, .content_type = "text/plain; charset=utf-8"};
    buf_init(&r.body, 256);
    buf_str(&r.body, text);
    app_reply(f->opts.app, req, &r, false);
}

void frontend_handle(void *ctx, struct net_request *req)
{
    struct frontend *f = ctx;
    struct request_task *t = NULL;
    if (pool_queued(f->requests) >= LIMIT_QUEUED_REQUESTS) {
        refuse(f, req, 429, "job queue full");
        return;
    }
    if (!(t = calloc(1, sizeof *t))) {
        refuse(f, req, 500, "no memory for a query");
        return;
    }
    *t = (struct request_task){{run_request, NULL}, f, req};
    pool_submit(f->requests, &t->task);
}
