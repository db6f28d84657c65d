/* Batches of requests become segments: the open batch closes when it is large or old enough, a
 * flusher stores it, and only then are its requests answered. */
#include <stdlib.h>

#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

static void flush_init(struct flush *f)
{
    *f = (struct flush){0};
    f->last = &f->first;
}

bool flush_reserve(struct ingest *in, struct push *p, size_t bytes)
{
    pthread_mutex_lock(&in->shared.mu);
    size_t held = in->shared.buffered_bytes;
    bool room = held == 0 || held + bytes <= in->opts.app->cfg.ingest.max_buffered_bytes;
    if (room) {
        in->shared.buffered_bytes += bytes;
        p->reserved += bytes;
        gauge_set(in->m.buffered, (int64_t)in->shared.buffered_bytes);
    }
    pthread_mutex_unlock(&in->shared.mu);
    if (!room)
        counter_add(in->m.backpressure, 1);
    return room;
}

void flush_release(struct ingest *in, struct push *p)
{
    pthread_mutex_lock(&in->shared.mu);
    in->shared.buffered_bytes -= p->reserved;
    gauge_set(in->m.buffered, (int64_t)in->shared.buffered_bytes);
    pthread_mutex_unlock(&in->shared.mu);
    p->reserved = 0;
}

void flush_push(struct ingest *in, struct push *p)
{
    const struct app *app = in->opts.app;
    pthread_mutex_lock(&in->shared.mu);
    bool draining = in->shared.draining;
    if (!draining) {
        struct flush *open = &in->shared.open;
        if (!open->first) {
            flush_init(open);
            open->due_mono_ns =
                clock_mono_ns(app->clock) + (uint64_t)app->cfg.ingest.flush_window_ns;
        }
        p->next = NULL;
        *open->last = p;
        open->last = &p->next;
        open->bytes += p->body.len;
        open->count++;
        /* A flusher that waits must learn the due time of the first push, and of a full batch. */
        if (open->count == 1 || open->bytes >= app->cfg.ingest.flush_bytes)
            pthread_cond_signal(&in->shared.work);
    }
    pthread_mutex_unlock(&in->shared.mu);
    if (draining)
        push_fail(p, ERR_UNAVAILABLE, "shutting down", true);
}

/* ---- one flush ---- */

/* object: a buffer of the calling thread, used again. */
static int store(struct ingest *in, const struct flush *f, struct buf *object, struct err *err)
{
    const struct app *app = in->opts.app;
    struct arena *a = arena_new(LIMIT_SEGMENT_ARENA_BYTES);
    struct segment_part *parts = a ? arena_array(a, struct segment_part, f->count) : NULL;
    struct segment_footer footer;
    struct shared_bytes **raw;
    struct buf name;
    buf_reset(object);
    buf_init(&name, 256);
    int rc = parts ? catalog_segment_name(in->opts.catalog, &name) : ERR_NOMEM;
    if (rc < 0) {
        err_set(err, rc, "no memory for a segment");
        goto out;
    }
    size_t n = 0;
    for (const struct push *p = f->first; p; p = p->next)
        parts[n++] = (struct segment_part){.tenant = p->tenant,
                                           .body = p->body,
                                           .spans = p->spans,
                                           .start_unix_ns = p->start_unix_ns,
                                           .end_unix_ns = p->end_unix_ns,
                                           .traces = p->traces.at,
                                           .trace_count = p->traces.count};
    rc = segment_encode(parts, n, a, object, &footer, &raw, err);
    if (rc < 0)
        goto out;
    uint64_t deadline = clock_mono_ns(app->clock) + (uint64_t)app->cfg.ingest.put_timeout_ns;
    rc = objstore_put(app->store, buf_view(&name), buf_view(object), OBJSTORE_IF_ABSENT, deadline,
                      err);
    if (rc < 0) {
        for (uint32_t i = 0; i < footer.section_count; i++)
            shared_bytes_release(raw[i]);
        goto out;
    }
    counter_add(in->m.flushed, 1);
    histogram_observe(in->m.flush_bytes, (double)object->len);
    struct err add_err = {0};
    if (catalog_add_segment(in->opts.catalog, buf_view(&name), object->len, a, &footer, raw,
                            &add_err) < 0)
        /* It is stored: the next poll of the store finds it. */
        LOG_WARN(&in->log, "segment is stored but not yet visible", KV_ERR(&add_err));
    a = NULL;
out:
    buf_clear(&name);
    arena_free(a);
    return rc;
}

static void flush_run(struct ingest *in, struct flush *f, struct buf *object)
{
    struct err err = {0};
    uint64_t start = clock_mono_ns(in->opts.app->clock);
    int rc = store(in, f, object, &err);
    histogram_observe(in->m.flush_seconds,
                      (double)(clock_mono_ns(in->opts.app->clock) - start) / (double)NS_PER_S);
    if (rc < 0) {
        counter_add(in->m.failed_flushes, 1);
        LOG_ERROR(&in->log, "segment cannot be stored, its requests are refused",
                  KV_U64("requests", f->count), KV_U64("bytes", f->bytes), KV_ERR(&err));
    }
    for (struct push *p = f->first, *next; p; p = next) {
        next = p->next;
        if (rc == 0)
            push_succeed(p);
        else
            push_fail(p, ERR_UNAVAILABLE, err.msg, true);
    }
}

static bool due_locked(const struct ingest *in)
{
    const struct flush *open = &in->shared.open;
    return open->first &&
           (in->shared.draining || open->bytes >= in->opts.app->cfg.ingest.flush_bytes ||
            clock_mono_ns(in->opts.app->clock) >= open->due_mono_ns);
}

static void wait_locked(struct ingest *in)
{
    if (!in->shared.open.first) {
        pthread_cond_wait(&in->shared.work, &in->shared.mu);
        return;
    }
    uint64_t due = in->shared.open.due_mono_ns;
    struct timespec ts = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)};
    pthread_cond_timedwait(&in->shared.work, &in->shared.mu, &ts);
}

void *flush_thread(void *arg)
{
    struct ingest *in = arg;
    struct buf object;
    buf_init(&object, LIMIT_SEGMENT_BYTES);
    pthread_mutex_lock(&in->shared.mu);
    for (;;) {
        while (!due_locked(in) && !(in->shared.stop && !in->shared.open.first))
            wait_locked(in);
        if (!in->shared.open.first)
            break; /* stop, and nothing is left */
        struct flush f = in->shared.open;
        flush_init(&in->shared.open);
        in->shared.flushing++;
        gauge_set(in->m.queue, in->shared.flushing);
        pthread_mutex_unlock(&in->shared.mu);

        flush_run(in, &f, &object);

        pthread_mutex_lock(&in->shared.mu);
        in->shared.flushing--;
        gauge_set(in->m.queue, in->shared.flushing);
        pthread_cond_broadcast(&in->shared.idle);
    }
    pthread_mutex_unlock(&in->shared.mu);
    buf_clear(&object);
    return NULL;
}
