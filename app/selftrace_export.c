/* The tracer's thread: batches of spans become OTLP/HTTP requests. A request that fails is told in
 * the log, now and then, and its spans are gone: tracing never stands in the way of what it traces.
 */
#include "app/selftrace_priv.h"

#include <stdlib.h>

#include "otlp/otlp.h"

/* At the end, for what is still in the queue. */
#define FLUSH_NS (5 * NS_PER_S)
/* One request: the largest batch of spans is far below it. */
#define LIMIT_BODY_BYTES ((size_t)64 << 20)
#define LIMIT_ANSWER_BYTES ((size_t)64 << 10)
#define KIND_INTERNAL 1
#define KIND_SERVER 2
#define STATUS_ERROR 2

/* ---- the request's body ---- */

static bool add_text(struct span_batch *b, struct run *r, struct slice key, struct slice text)
{
    struct attr *a = span_batch_attr(b, r);
    if (a)
        *a = (struct attr){key, {.type = VALUE_STRING, .str = text}};
    return a != NULL;
}

static bool add_span(struct span_batch *b, const struct selftrace_span *s)
{
    struct run attrs = {0};
    bool ok = true;
    for (uint8_t i = 0; i < s->attr_count && ok; i++) {
        struct slice key = slice_cstr(s->attrs[i].key);
        if (s->attrs[i].is_text) {
            ok = add_text(b, &attrs, key, slice_of(s->text + s->attrs[i].at, s->attrs[i].len));
        } else {
            struct attr *a = span_batch_attr(b, &attrs);
            if (a)
                *a = (struct attr){key, {.type = VALUE_INT, .i64 = s->attrs[i].number}};
            ok = a != NULL;
        }
    }
    struct span span = {
        .span_id = slice_of(s->id, sizeof s->id),
        .parent_span_id = slice_of(s->parent, s->has_parent ? sizeof s->parent : 0),
        .name = slice_cstr(s->name),
        .status_message = slice_of(s->text + s->message_at, s->message_len),
        .status_code = s->failed ? STATUS_ERROR : 0,
        .start_unix_ns = s->start_unix_ns,
        .end_unix_ns = s->end_unix_ns,
        .kind = s->server ? KIND_SERVER : KIND_INTERNAL,
        .attrs = attrs.range,
    };
    memcpy(span.trace_id, s->trace_id, sizeof span.trace_id);
    return ok && vec_push(&b->spans, span);
}

int selftrace_encode(const struct selftrace_config *c, const struct selftrace_span *spans,
                     uint32_t count, struct buf *out, struct err *err)
{
    struct span_batch b = {0};
    struct run resource = {0};
    bool ok = true;
    for (uint32_t i = 0; i < c->resource.count && ok; i++)
        ok = add_text(&b, &resource, c->resource.at[i].key, c->resource.at[i].value);
    struct resource r = {.attrs = resource.range, .scopes = {0, 1}, .present = true};
    struct scope s = {.name = SLICE("rubato"), .spans = {0, count}, .present = true};
    ok = ok && vec_push(&b.resources, r) && vec_push(&b.scopes, s);
    uint32_t *order = calloc(count ? count : 1, sizeof *order);
    for (uint32_t i = 0; i < count && ok && order; i++) {
        ok = add_span(&b, &spans[i]);
        order[i] = i;
    }
    int rc = ok && order ? otlp_encode(&(struct trace){&b, order, count}, out) : ERR_NOMEM;
    free(order);
    span_batch_clear(&b);
    return rc < 0 ? err_set(err, rc, "no memory to encode %u spans", count) : 0;
}

/* ---- sending ---- */

static int post(struct selftrace *t, struct slice body, uint64_t deadline_ns, struct err *err)
{
    struct http_call call = {
        .method = "POST",
        .url = t->config.url,
        .headers = t->config.headers.at,
        .body = body,
        .deadline_mono_ns = deadline_ns,
    };
    buf_init(&call.head, LIMIT_ANSWER_BYTES);
    buf_init(&call.out, LIMIT_ANSWER_BYTES);
    int rc = http_client_run(t->client, &call);
    if (rc < 0)
        *err = call.err;
    else if (call.status < 200 || call.status > 299)
        rc = err_set(err, ERR_IO, "%s answers %d", t->config.url, call.status);
    http_call_clear(&call);
    return rc;
}

static void send_batch(struct selftrace *t, const struct selftrace_span *spans, uint32_t count,
                       uint64_t deadline_ns)
{
    struct buf body, packed;
    struct err err = {0};
    uint64_t suppressed;
    buf_init(&body, LIMIT_BODY_BYTES);
    buf_init(&packed, LIMIT_BODY_BYTES);
    int rc = selftrace_encode(&t->config, spans, count, &body, &err);
    if (rc == 0 && t->config.gzip)
        rc = net_gzip(buf_view(&body), &packed, &err);
    if (rc == 0)
        rc = post(t, buf_view(t->config.gzip ? &packed : &body), deadline_ns, &err);
    counter_add(rc == 0 ? t->exported : t->failed, count);
    if (rc < 0 &&
        log_limit_allow(&t->complaints, clock_mono_ns(t->clock), 10 * NS_PER_S, 1, &suppressed))
        LOG_ERROR(&t->log, "OpenTelemetry.ErrorHandler", KV_ERR(&err), KV_U64("spans", count),
                  KV_U64("suppressed", suppressed));
    buf_clear(&body);
    buf_clear(&packed);
}

/* ---- the thread ---- */

/* Until a batch is full, or the delay has passed, or it is time to stop. */
static void wait_locked(struct selftrace *t)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + t->config.delay_ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    while (!t->stop && t->count < t->config.batch_max &&
           pthread_cond_timedwait(&t->wake, &t->mu, &until) == 0)
        ;
}

static uint32_t take_locked(struct selftrace *t, struct selftrace_span *batch)
{
    uint32_t n = t->count < t->config.batch_max ? t->count : t->config.batch_max;
    for (uint32_t i = 0; i < n; i++)
        batch[i] = t->queue[(t->first + i) % t->config.queue_max];
    t->first = (t->first + n) % t->config.queue_max;
    t->count -= n;
    return n;
}

void *selftrace_thread(void *arg)
{
    struct selftrace *t = arg;
    struct selftrace_span *batch = calloc(t->config.batch_max, sizeof *batch);
    uint64_t end_ns = 0; /* of the flush at the end */
    if (!batch) {
        LOG_ERROR(&t->log, "no memory to send spans");
        return NULL;
    }
    for (;;) {
        pthread_mutex_lock(&t->mu);
        wait_locked(t);
        uint32_t n = take_locked(t, batch);
        bool stop = t->stop;
        pthread_mutex_unlock(&t->mu);
        uint64_t now_ns = clock_mono_ns(t->clock);
        if (stop && !end_ns)
            end_ns = now_ns + FLUSH_NS;
        uint64_t deadline_ns = now_ns + t->config.timeout_ms * NS_PER_MS;
        if (stop && deadline_ns > end_ns)
            deadline_ns = end_ns;
        if (stop && (n == 0 || now_ns >= end_ns))
            break;
        if (n)
            send_batch(t, batch, n, deadline_ns);
    }
    free(batch);
    return NULL;
}
