/* GET /api/traces/{id} and /api/v2/traces/{id}: ask every block and the live spans, merge the parts,
 * put them in Tempo's order, answer as JSON or protobuf. */
#include <stdio.h>

#include "base/text.h"
#include "frontend/frontend_priv.h"
#include "otlp/otlp.h"

struct trace_job {
    struct query_source source;
    struct arena *arena;
    struct span_batch batch;
    struct query_trace_result result;
    int rc;
    struct err err;
};

struct trace_query {
    struct query *q;
    uint8_t id[16];
    struct trace_job *jobs;
    size_t job_count;
};

/* Hex digits, either case; shorter ids are padded in front. */
static int parse_trace_id(struct slice text, uint8_t id[16], struct err *err)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!hex) {
            char shown[16];
            return err_set(err, ERR_INVALID,
                           "trace IDs can only contain hex characters: invalid character '%s' at "
                           "position %zu",
                           text_escape(slice_of(&c, 1), 1, shown, sizeof shown), i + 1);
        }
    }
    if (text.len > 32)
        return err_set(err, ERR_INVALID, "trace IDs can't be larger than 128 bits");
    uint8_t padded[32];
    memset(padded, '0', sizeof padded);
    memcpy(padded + sizeof padded - text.len, text.ptr, text.len);
    hex_decode(slice_of(padded, sizeof padded), id);
    return 0;
}

struct trace_params {
    uint64_t start_s, end_s;
    bool live, blocks;
    uint8_t block_start[16], block_end[16];
};

static int uuid_param(struct query *q, const char *name, const char *shown, uint8_t id[16],
                      struct err *err)
{
    struct slice text;
    if (!query_param(q, name, &text) || uuid_parse(text, id))
        return 0;
    /* Tempo's frontend sends the bounds of a shard as plain hex. */
    if (text.len == 32 && hex_decode(text, id))
        return 0;
    return err_set(err, ERR_INVALID, "invalid value for %s: invalid UUID length: %zu", shown,
                   text.len);
}

static int parse_params(struct query *q, struct trace_params *p, struct err *err)
{
    *p = (struct trace_params){.live = true, .blocks = true};
    memset(p->block_end, 0xff, sizeof p->block_end);
    struct slice mode;
    if (query_param(q, "mode", &mode)) {
        if (slice_eq(mode, SLICE("ingesters")))
            p->blocks = false;
        else if (slice_eq(mode, SLICE("blocks")))
            p->live = false;
        else if (!slice_eq(mode, SLICE("all"))) {
            char shown[80];
            return err_set(err, ERR_INVALID, "invalid value for mode %s",
                           text_escape(mode, 60, shown, sizeof shown));
        }
    }
    int rc = query_param_seconds(q, "start", &p->start_s, err);
    if (rc == 0)
        rc = query_param_seconds(q, "end", &p->end_s, err);
    if (rc == 0 && p->start_s && p->end_s && p->end_s <= p->start_s)
        rc = err_set(err, ERR_INVALID,
                     "http parameter start must be before end. received start=%llu end=%llu",
                     (unsigned long long)p->start_s, (unsigned long long)p->end_s);
    if (rc == 0)
        rc = uuid_param(q, "blockStart", "blockstart", p->block_start, err);
    if (rc == 0)
        rc = uuid_param(q, "blockEnd", "blockEnd", p->block_end, err);
    return rc;
}

static bool block_wanted(const struct block_meta *m, const struct trace_params *p)
{
    if (!p->blocks || memcmp(m->id, p->block_start, 16) < 0 || memcmp(m->id, p->block_end, 16) > 0)
        return false;
    if (!p->start_s || !p->end_s)
        return true;
    return m->start_unix_ns / NS_PER_S < p->end_s && m->end_unix_ns / NS_PER_S > p->start_s;
}

static void run_job(void *ctx, size_t i)
{
    struct trace_query *t = ctx;
    struct trace_job *j = &t->jobs[i];
    const struct query_worker *w = &t->q->frontend->opts.worker;
    struct selftrace_span span;
    query_job_begin(t->q, &j->source, &span);
    j->result.batch = &j->batch;
    j->arena = arena_new_within(&t->q->memory);
    if (!j->arena)
        j->rc = err_set(&j->err, ERR_NOMEM, "no memory for a job");
    else
        j->rc = w->find_trace(w->self, &j->source, t->id, t->q->deadline_mono_ns, j->arena,
                              &j->result, &j->err);
    query_job_end(&span, j->rc, &j->err, j->result.inspected_bytes);
}

static int run_jobs(struct trace_query *t, const struct query_data *d, const struct trace_params *p,
                    struct err *err)
{
    struct query *q = t->q;
    t->jobs = arena_zalloc(q->arena, (d->live_count + d->block_count) * sizeof *t->jobs);
    if (!t->jobs)
        return arena_err(q->arena, err, "a trace's jobs");
    for (size_t i = 0; p->live && i < d->live_count; i++)
        t->jobs[t->job_count++].source = d->live[i];
    for (size_t i = 0; i < d->block_count; i++) {
        if (block_wanted(&d->blocks[i].block->meta, p))
            t->jobs[t->job_count++].source = d->blocks[i];
    }
    int rc = query_fan_out(q, t->job_count, run_job, t, err);
    for (size_t i = 0; i < t->job_count && rc == 0; i++) {
        if (t->jobs[i].rc < 0) {
            rc = t->jobs[i].rc;
            *err = t->jobs[i].err;
        }
    }
    return rc;
}

/* All parts in one batch, the trace's spans in Tempo's order. */
static int merge(struct trace_query *t, struct span_batch *all, struct trace *out,
                 struct err *err)
{
    struct query *q = t->q;
    for (size_t i = 0; i < t->job_count; i++) {
        if (!span_batch_append(all, &t->jobs[i].batch))
            return err_set(err, ERR_NOMEM, "no memory to merge a trace");
    }
    uint32_t n = all->spans.count;
    uint32_t *order = arena_array(q->arena, uint32_t, n);
    uint8_t(*ids)[8] = arena_alloc_array(q->arena, n, 8);
    if (!order || !ids)
        return arena_err(q->arena, err, "a trace");
    int64_t kept = span_batch_group(all, order);
    if (kept < 0)
        return err_set(err, ERR_NOMEM, "no memory to merge a trace");
    /* Live sections bring other traces of the same requests along. */
    uint32_t first = 0, count = 0;
    for (uint32_t i = 0; i < kept; i++) {
        if (memcmp(all->spans.at[order[i]].trace_id, t->id, 16) != 0)
            continue;
        if (count++ == 0)
            first = i;
    }
    int rc = trace_sort(all, order + first, count);
    if (rc == 0)
        rc = trace_fix_shared_ids(all, order + first, count, ids);
    if (rc < 0)
        return err_set(err, rc, "no memory to merge a trace");
    *out = (struct trace){all, order + first, count};
    return 0;
}

/* How many of the trace's spans, from the first on, encode to at most max bytes. */
static int spans_that_fit(const struct trace *t, uint64_t max, uint32_t *out, struct err *err)
{
    uint32_t lo = 0, hi = t->span_count;
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    int rc = otlp_encode(t, &b);
    if (rc == 0 && b.len <= max)
        lo = hi;
    while (rc == 0 && lo < hi) {
        uint32_t mid = lo + (hi - lo + 1) / 2;
        const struct trace part = {t->batch, t->spans, mid};
        buf_reset(&b);
        rc = otlp_encode(&part, &b);
        if (b.len <= max)
            lo = mid;
        else
            hi = mid - 1;
    }
    buf_clear(&b);
    *out = lo;
    return rc < 0 ? err_set(err, rc, "no memory to encode a trace") : 0;
}

static int encode_v1(const struct trace *t, bool protobuf, struct answer *out)
{
    return protobuf ? otlp_encode(t, &out->body) : otlp_json_encode(t, "batches", &out->body);
}

static int encode_v2(const struct trace *t, bool protobuf, const char *partial, struct answer *out)
{
    if (!protobuf) {
        int rc = buf_str(&out->body, "{\"trace\":");
        if (rc == 0)
            rc = t->span_count ? otlp_json_encode(t, "resourceSpans", &out->body)
                               : buf_str(&out->body, "{}");
        if (rc == 0 && partial) {
            rc = buf_str(&out->body, ",\"status\":\"PARTIAL\",\"message\":");
            rc = rc < 0 ? rc : buf_json_string(&out->body, slice_cstr(partial));
        }
        return rc < 0 ? rc : buf_str(&out->body, "}");
    }
    /* TraceByIDResponse: 1 trace, 3 status, 4 message */
    struct buf trace;
    buf_init(&trace, out->body.max);
    int rc = otlp_encode(t, &trace);
    rc = rc < 0 ? rc : buf_u8(&out->body, 0x0a);
    rc = rc < 0 ? rc : buf_varint(&out->body, trace.len);
    rc = rc < 0 ? rc : buf_slice(&out->body, buf_view(&trace));
    if (rc == 0 && partial) {
        rc = buf_append(&out->body, "\x18\x01\x22", 3);
        rc = rc < 0 ? rc : buf_varint(&out->body, strlen(partial));
        rc = rc < 0 ? rc : buf_str(&out->body, partial);
    }
    buf_clear(&trace);
    return rc;
}

static int answer_trace(struct query *q, bool v2, struct trace *t, struct answer *out,
                        struct err *err)
{
    bool protobuf = query_accepts_protobuf(q->req);
    uint64_t max = q->limits.trace_bytes;
    char partial[160] = "";
    out->content_type = protobuf ? "application/protobuf" : "application/json";
    if (t->span_count == 0 && !v2) {
        out->status = 404;
        out->content_type = NULL;
        return 0;
    }
    if (max) {
        uint32_t fits;
        int rc = spans_that_fit(t, max, &fits, err);
        if (rc < 0)
            return rc;
        if (fits < t->span_count && !v2) {
            out->status = 422;
            return err_set(err, ERR_LIMIT, "trace exceeds max size (max bytes: %llu)",
                           (unsigned long long)max);
        }
        if (fits < t->span_count)
            snprintf(partial, sizeof partial,
                     "Trace exceeds maximum size of %llu bytes, a partial trace is returned",
                     (unsigned long long)max);
        t->span_count = fits;
    }
    int rc = v2 ? encode_v2(t, protobuf, partial[0] ? partial : NULL, out)
                : encode_v1(t, protobuf, out);
    return rc < 0 ? err_set(err, rc, "the answer does not fit") : 0;
}

int trace_api(struct query *q, bool v2, struct slice id, struct answer *out, struct err *err)
{
    struct trace_query t = {.q = q};
    struct trace_params params;
    struct query_data data = {0};
    struct span_batch all = {0};
    q->account.kind = QUERY_TRACE;
    int rc = parse_trace_id(id, t.id, err);
    if (rc == 0)
        rc = parse_params(q, &params, err);
    if (rc == 0)
        query_asked(q, &KV_SLICE("path", q->req->path), 1, 1);
    if (rc == 0)
        rc = query_data_acquire(q, &data, err);
    if (rc == 0)
        rc = run_jobs(&t, &data, &params, err);
    if (rc == 0) {
        struct trace trace;
        rc = merge(&t, &all, &trace, err);
        if (rc == 0)
            rc = answer_trace(q, v2, &trace, out, err);
    }
    q->account.inspected_bytes = 0;
    for (size_t i = 0; i < t.job_count; i++) {
        q->account.inspected_bytes += t.jobs[i].result.inspected_bytes;
        span_batch_clear(&t.jobs[i].batch);
        arena_free(t.jobs[i].arena);
    }
    span_batch_clear(&all);
    query_data_release(&data);
    return rc;
}
