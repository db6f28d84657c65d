/* Spans of our own: which are recorded, and the queue that they end in. */
#include "app/selftrace_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/text.h"

/* ---- which are recorded ---- */

struct parent {
    bool there, sampled;
    uint8_t trace_id[16], id[8];
};

static bool is_zero(const uint8_t *p, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= p[i];
    return all == 0;
}

/* W3C: "00-<32 hex>-<16 hex>-<2 hex>"; a later version may have more behind it. */
static struct parent read_traceparent(struct slice s)
{
    struct parent p = {0};
    uint8_t version, flags;
    if (s.len < 55 || (s.len > 55 && s.ptr[55] != '-') || s.ptr[2] != '-' || s.ptr[35] != '-' ||
        s.ptr[52] != '-')
        return p;
    if (!hex_decode(slice_of(s.ptr, 2), &version) || version == 0xff ||
        (version == 0 && s.len != 55) || !hex_decode(slice_of(s.ptr + 3, 32), p.trace_id) ||
        !hex_decode(slice_of(s.ptr + 36, 16), p.id) || !hex_decode(slice_of(s.ptr + 53, 2), &flags))
        return p;
    p.there = !is_zero(p.trace_id, sizeof p.trace_id) && !is_zero(p.id, sizeof p.id);
    p.sampled = flags & 1;
    return p;
}

static bool sampled(const struct selftrace_config *c, const struct parent *p,
                    const uint8_t trace_id[16])
{
    uint64_t low = 0;
    if (p->there && c->parent_based)
        return p->sampled;
    for (size_t i = 8; i < 16; i++)
        low = low << 8 | trace_id[i];
    switch (c->sampler) {
    case SELFTRACE_NONE:
        return false;
    case SELFTRACE_RATIO:
        return low >> 1 < c->ratio;
    case SELFTRACE_ALL:
        break;
    }
    return true;
}

void selftrace_request(struct selftrace *t, const struct net_request *req, const char *name,
                       struct selftrace_span *out)
{
    out->tracer = NULL;
    if (!t)
        return;
    struct parent p = read_traceparent(net_request_header(req, "traceparent"));
    uint8_t trace_id[16];
    if (p.there)
        memcpy(trace_id, p.trace_id, sizeof trace_id);
    else
        random_bytes(trace_id, sizeof trace_id);
    if (!sampled(&t->config, &p, trace_id))
        return;
    *out =
        (struct selftrace_span){.tracer = t, .name = name, .server = true, .has_parent = p.there};
    memcpy(out->trace_id, trace_id, sizeof trace_id);
    memcpy(out->parent, p.id, sizeof p.id);
    random_bytes(out->id, sizeof out->id);
    out->start_unix_ns =
        clock_unix_ns(t->clock) - (clock_mono_ns(t->clock) - req->received_mono_ns);
}

void selftrace_child(const struct selftrace_span *parent, const char *name,
                     struct selftrace_span *out)
{
    out->tracer = NULL;
    if (!parent->tracer)
        return;
    *out = (struct selftrace_span){.tracer = parent->tracer, .name = name, .has_parent = true};
    memcpy(out->trace_id, parent->trace_id, sizeof out->trace_id);
    memcpy(out->parent, parent->id, sizeof out->parent);
    random_bytes(out->id, sizeof out->id);
    out->start_unix_ns = clock_unix_ns(parent->tracer->clock);
}

/* ---- what they say ---- */

/* Copies as much as there is room for. */
static uint16_t keep_text(struct selftrace_span *s, struct slice text, uint16_t *len)
{
    uint16_t at = s->text_len;
    size_t n = sizeof s->text - at;
    if (text.len > n)
        text.len = utf8_prefix(text, n);
    if (text.len)
        memcpy(s->text + at, text.ptr, text.len);
    *len = (uint16_t)text.len;
    s->text_len = (uint16_t)(at + text.len);
    return at;
}

void selftrace_text(struct selftrace_span *s, const char *key, struct slice value)
{
    if (!s->tracer || s->attr_count == SELFTRACE_ATTRS)
        return;
    uint8_t i = s->attr_count++;
    s->attrs[i].key = key;
    s->attrs[i].is_text = true;
    s->attrs[i].at = keep_text(s, value, &s->attrs[i].len);
}

void selftrace_number(struct selftrace_span *s, const char *key, int64_t value)
{
    if (!s->tracer || s->attr_count == SELFTRACE_ATTRS)
        return;
    uint8_t i = s->attr_count++;
    s->attrs[i].key = key;
    s->attrs[i].number = value;
}

void selftrace_end(struct selftrace_span *s, const char *error)
{
    struct selftrace *t = s->tracer;
    if (!t)
        return;
    s->end_unix_ns = clock_unix_ns(t->clock);
    s->failed = error != NULL;
    if (error)
        s->message_at = keep_text(s, slice_cstr(error), &s->message_len);
    pthread_mutex_lock(&t->mu);
    bool room = t->count < t->config.queue_max;
    if (room) {
        t->queue[(t->first + t->count) % t->config.queue_max] = *s;
        t->count++;
    }
    if (t->count >= t->config.batch_max)
        pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->mu);
    if (!room)
        counter_add(t->dropped, 1);
    s->tracer = NULL;
}

/* ---- life ---- */

static void count_results(struct selftrace *t, struct metrics *m)
{
    static const char *const by_result[] = {"result"};
    struct metrics_family *f = metrics_counter_family(
        m, "self_tracing_spans_total", "Spans of this process's own traces.", by_result, 1);
    const struct slice results[] = {SLICE("exported"), SLICE("dropped"), SLICE("failed")};
    t->exported = metrics_counter_with(f, &results[0]);
    t->dropped = metrics_counter_with(f, &results[1]);
    t->failed = metrics_counter_with(f, &results[2]);
}

static int start(struct selftrace *t, const struct selftrace_opts *opts, struct err *err)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&t->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    t->log = log_room(opts->log, "selftrace");
    t->clock = opts->clock;
    count_results(t, opts->metrics);
    t->queue = calloc(t->config.queue_max, sizeof *t->queue);
    if (!t->queue)
        return err_set(err, ERR_NOMEM, "no memory for the tracer");
    const struct http_client_opts client = {
        .connections_max = 1, .log = &t->log, .clock = opts->clock};
    int rc = http_client_new(&client, &t->client, err);
    if (rc < 0)
        return rc;
    rc = pthread_create(&t->thread, NULL, selftrace_thread, t);
    if (rc != 0)
        return err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(rc));
    t->thread_runs = true;
    pthread_setname_np(t->thread, "selftrace");
    return 0;
}

int selftrace_new(const struct selftrace_opts *opts, struct selftrace **out, struct err *err)
{
    *out = NULL;
    struct selftrace *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NOMEM, "no memory for the tracer");
    int rc = selftrace_config_read(opts, &t->config, err);
    if (rc < 0 || !t->config.on) {
        selftrace_config_clear(&t->config);
        free(t);
        return rc;
    }
    rc = start(t, opts, err);
    if (rc < 0) {
        selftrace_free(t);
        return rc;
    }
    LOG_INFO(&t->log, "initialising OpenTelemetry tracer", KV_STR("endpoint", t->config.url));
    *out = t;
    return 0;
}

void selftrace_free(struct selftrace *t)
{
    if (!t)
        return;
    if (t->thread_runs) {
        pthread_mutex_lock(&t->mu);
        t->stop = true;
        pthread_cond_signal(&t->wake);
        pthread_mutex_unlock(&t->mu);
        pthread_join(t->thread, NULL);
    }
    http_client_free(t->client);
    selftrace_config_clear(&t->config);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->mu);
    free(t->queue);
    free(t);
}
