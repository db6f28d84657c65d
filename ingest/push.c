/* What a request must be before it is stored: valid ids, within the tenant's rate, attributes within
 * their length. The bytes are stored as they came unless something had to be cut or left out. */
#include <stdio.h>
#include <stdlib.h>

#include "app/overrides.h"
#include "base/text.h"
#include "catalog/segment.h"
#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

static const uint8_t zero_id[16];

/* Cuts keys and string values, wherever they are nested, at a character boundary. Returns how many
 * were cut. */
static uint64_t truncate_attributes(struct span_batch *b, size_t max)
{
    uint64_t cut = 0;
    for (uint32_t i = 0; i < b->attrs.count; i++) {
        struct attr *a = &b->attrs.at[i];
        if (a->key.len > max) {
            a->key.len = utf8_prefix(a->key, max);
            cut++;
        }
        if (a->value.type == VALUE_STRING && a->value.str.len > max) {
            a->value.str.len = utf8_prefix(a->value.str, max);
            cut++;
        }
    }
    for (uint32_t i = 0; i < b->values.count; i++) {
        struct value *v = &b->values.at[i];
        if (v->type == VALUE_STRING && v->str.len > max) {
            v->str.len = utf8_prefix(v->str, max);
            cut++;
        }
    }
    return cut;
}

/* Indices of the spans that may be stored, in order; counts the others by what is wrong. */
static int select_spans(struct push *p, const struct span_batch *b, uint32_t *good,
                        uint32_t *bad_trace, uint32_t *bad_span, struct err *err)
{
    uint64_t last = 0;
    *bad_trace = *bad_span = 0;
    for (uint32_t i = 0; i < b->spans.count; i++) {
        const struct span *s = &b->spans.at[i];
        if (memcmp(s->trace_id, zero_id, sizeof zero_id) == 0) {
            (*bad_trace)++;
            continue;
        }
        if (s->span_id.len == 0) {
            (*bad_span)++;
            continue;
        }
        uint64_t print = segment_fingerprint(s->trace_id);
        if ((p->spans == 0 || print != last) && !vec_push(&p->traces, print))
            return err_set(err, ERR_NOMEM, "no memory for a request");
        last = print;
        if (p->spans == 0 || s->start_unix_ns < p->start_unix_ns)
            p->start_unix_ns = s->start_unix_ns;
        if (s->end_unix_ns > p->end_unix_ns)
            p->end_unix_ns = s->end_unix_ns;
        good[p->spans++] = i;
    }
    return 0;
}

static int encode_again(struct push *p, const struct span_batch *b, const uint32_t *spans,
                        struct err *err)
{
    struct buf fresh;
    const struct trace all = {b, spans, p->spans};
    buf_init(&fresh, LIMIT_SEGMENT_SECTION_BYTES / 2);
    int rc = otlp_encode(&all, &fresh);
    if (rc < 0) {
        buf_clear(&fresh);
        return err_set(err, rc, "no memory to encode a request");
    }
    buf_clear(&p->own); /* the batch is not used after this */
    p->own = fresh;
    p->body = buf_view(&p->own);
    return 0;
}

static int check_batch(struct push *p, struct span_batch *b, uint32_t *good, const char **reason,
                       struct err *err)
{
    struct ingest *in = p->in;
    uint32_t bad_trace, bad_span;
    int rc = select_spans(p, b, good, &bad_trace, &bad_span, err);
    if (rc < 0)
        return rc;
    p->rejected = bad_trace + bad_span;
    if (p->rejected) {
        const char *why = bad_trace ? "trace ids must be 128 bit, received 0 bits"
                                    : "span ids must be 64 bit and not all zero, received 0 bits";
        *reason = bad_trace ? "invalid_trace_id" : "invalid_span_id";
        if (p->spans == 0) /* nothing is left to store */
            return err_set(err, ERR_INVALID, "%s", why);
        snprintf(p->message, sizeof p->message, "%s", why);
        const struct slice labels[] = {slice_cstr(*reason), p->tenant};
        counter_add(metrics_counter_with(in->m.discarded, labels), p->rejected);
    }
    uint64_t cut = p->attribute_bytes_max ? truncate_attributes(b, p->attribute_bytes_max) : 0;
    if (cut)
        counter_add(metrics_counter_with(in->m.truncated, &p->tenant), cut);
    return cut || p->rejected || p->json ? encode_again(p, b, good, err) : 0;
}

static struct push_scratch *scratch_take(struct ingest *in)
{
    pthread_mutex_lock(&in->shared.mu);
    struct push_scratch *s = in->shared.scratch;
    if (s)
        in->shared.scratch = s->next;
    pthread_mutex_unlock(&in->shared.mu);
    return s ? s : calloc(1, sizeof *s);
}

static void scratch_give(struct ingest *in, struct push_scratch *s)
{
    /* One huge request must not hold its memory for good. */
    enum { KEPT_ATTRS_MAX = 1 << 18 };
    if (s->batch.attrs.cap > KEPT_ATTRS_MAX || s->batch.spans.cap > KEPT_ATTRS_MAX)
        span_batch_clear(&s->batch);
    span_batch_reset(&s->batch);
    pthread_mutex_lock(&in->shared.mu);
    s->next = in->shared.scratch;
    in->shared.scratch = s;
    pthread_mutex_unlock(&in->shared.mu);
}

void push_scratch_free(struct push_scratch *s)
{
    while (s) {
        struct push_scratch *next = s->next;
        span_batch_clear(&s->batch);
        vec_free(&s->good);
        free(s);
        s = next;
    }
}

static int check_rate(struct push *p, const char **reason, struct err *err)
{
    struct ingest *in = p->in;
    bool retry;
    int rc = rate_limiter_take(in->rate, p->tenant, &p->rate, p->body.len,
                               clock_mono_ns(in->opts.app->clock), &retry, err);
    if (rc < 0)
        *reason = retry && p->retry_info ? "rate_limited" : "rate_limited_for_good";
    return rc;
}

/* One reading of the limits for the whole request, whatever becomes of them meanwhile. */
static void take_limits(struct push *p)
{
    struct app *app = p->in->opts.app;
    const struct overrides_limits *l = overrides_acquire(app->overrides, p->tenant);
    p->rate = (struct rate){l->rate_limit_bytes, l->burst_size_bytes};
    p->attribute_bytes_max =
        (size_t)(l->max_attribute_bytes ? l->max_attribute_bytes
                                        : app->cfg.distributor.max_attribute_bytes);
    p->retry_info = l->retry_info_enabled;
    overrides_release(app->overrides, l);
}

int push_check(struct push *p, const char **reason, struct err *err)
{
    struct arena *strings = NULL;
    int rc;
    *reason = NULL;
    take_limits(p);
    struct push_scratch *s = scratch_take(p->in);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a request");
    if (p->json) {
        strings = arena_new(p->body.len * 4 + ((size_t)1 << 20));
        rc = strings ? otlp_json_decode(p->body, strings, &s->batch, err)
                     : err_set(err, ERR_NOMEM, "no memory for a request");
    } else {
        rc = otlp_decode(p->body, &s->batch, err);
    }
    uint32_t spans = s->batch.spans.count;
    if (rc == 0 && spans) {
        vec_reset(&s->good);
        rc = vec_reserve(&s->good, spans) ? check_batch(p, &s->batch, s->good.at, reason, err)
                                          : err_set(err, ERR_NOMEM, "no memory for a request");
    }
    if (rc == 0 && p->spans) {
        rc = check_rate(p, reason, err);
        if (rc < 0) {
            p->spans = spans;
            p->rejected = 0;
        }
    }
    arena_free(strings);
    scratch_give(p->in, s);
    return rc;
}
