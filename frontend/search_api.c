/* GET /api/search: parameters, jobs newest block first in waves, merge by trace id, answer. */
#include "base/text.h"
#include "base/vec.h"
#include "frontend/frontend_limits.h"
#include "frontend/explain.h"
#include "frontend/search_priv.h"
#include "traceql/metrics.h"

#include <stdio.h>
#include <stdlib.h>

struct search_params {
    struct slice text; /* TraceQL */
    bool legacy;       /* no q: by tags, results without spansets */
    bool explain;
    struct query_legacy by_tags;
    uint32_t limit, spss;
    uint64_t start_s, end_s;
};

struct search_job {
    struct query_source source;
    struct arena *arena;
    struct query_search_result result;
    uint64_t ns; /* taken */
    int rc;
    struct err err;
};

struct search_query {
    struct query *q;
    struct query_search search;
    const struct query_legacy *by_tags; /* in place of search, or NULL */
    struct search_job *jobs;
    size_t job_count;
    size_t wave_first;
    VEC(struct query_trace) traces;
    VEC(bool) unsent;    /* of each: the client of a stream does not know it as it is */
    uint32_t *slots;     /* open addressing by trace id: index into traces, or UINT32_MAX */
    uint32_t slot_count; /* a power of two, at least twice the traces */
    uint64_t inspected_bytes, inspected_spans, total_bytes;
    uint32_t inspected_traces, total_blocks;
    size_t completed_jobs, blocks_left_out;
};

/* ---- parameters ---- */

static int time_range(struct query *q, struct search_params *p, struct err *err)
{
    int rc = query_param_seconds(q, "start", &p->start_s, err);
    if (rc == 0)
        rc = query_param_seconds(q, "end", &p->end_s, err);
    if (rc < 0 || (!p->start_s && !p->end_s))
        return rc;
    if (p->end_s <= p->start_s)
        return err_set(err, ERR_INVALID,
                       "http parameter start must be before end. received start=%llu end=%llu",
                       (unsigned long long)p->start_s, (unsigned long long)p->end_s);
    return query_check_range(q, p->start_s, p->end_s, p->end_s - p->start_s, err);
}

static int counts(struct query *q, struct search_params *p, struct err *err)
{
    const struct app_config *cfg = &q->frontend->opts.app->cfg;
    uint32_t max_limit = (uint32_t)cfg->query_frontend.search.max_result_limit;
    uint32_t max_spss = (uint32_t)cfg->query_frontend.search.max_spans_per_span_set;
    int rc = query_param_count(q, "limit", false,
                               (uint32_t)cfg->query_frontend.search.default_result_limit, &p->limit,
                               err);
    if (rc == 0)
        rc = query_param_count(q, "spss", true,
                               (uint32_t)cfg->query_frontend.search.default_spans_per_span_set,
                               &p->spss, err);
    if (rc == 0 && max_limit && p->limit > max_limit)
        rc = err_set(err, ERR_INVALID, "%slimit %u exceeds max limit %u",
                     query_streams(q) ? "adjust limit: " : "", p->limit, max_limit);
    if (rc == 0 && max_spss && p->spss > max_spss)
        rc = err_set(err, ERR_INVALID, "spans per span set exceeds %u. received %u", max_spss,
                     p->spss);
    return rc;
}

static int parse_params(struct query *q, struct search_params *p, struct err *err)
{
    *p = (struct search_params){0};
    struct slice tags;
    p->explain = explain_wanted(q);
    if (!query_param(q, "q", &p->text)) {
        p->text = SLICE("{}"); /* of which only the plan is used */
        p->legacy = true;
    } else if (query_param(q, "tags", &tags)) {
        return err_set(err, ERR_INVALID,
                       "invalid request: can't specify tags and q in the same query");
    }
    int rc = query_check_text(q, p->text, err);
    if (rc == 0)
        rc = counts(q, p, err);
    if (rc == 0)
        rc = time_range(q, p, err);
    if (rc == 0)
        rc = legacy_params(q, !p->legacy, p->start_s || p->end_s, &p->by_tags, err);
    return rc;
}

/* ---- merging ---- */

/* Slot of the trace of that id: the one that holds it, or the empty one where it belongs. */
static uint32_t *find_slot(struct search_query *s, const uint8_t id[16])
{
    uint64_t h;
    memcpy(&h, id + 8, sizeof h); /* trace ids are random; the low half is, where the high is not */
    uint32_t i = (uint32_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->slot_count - 1);
    while (s->slots[i] != UINT32_MAX && memcmp(s->traces.at[s->slots[i]].id, id, 16) != 0)
        i = (i + 1) & (s->slot_count - 1);
    return &s->slots[i];
}

static bool grow_slots(struct search_query *s, uint32_t traces)
{
    if (s->slot_count >= 2 * (uint64_t)traces)
        return true;
    uint32_t count = s->slot_count ? s->slot_count : 64;
    while (count < 4 * (uint64_t)traces && count < UINT32_C(1) << 30)
        count *= 2;
    uint32_t *slots = malloc(count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xff, count * sizeof *slots);
    free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    for (uint32_t i = 0; i < s->traces.count; i++)
        *find_slot(s, s->traces.at[i].id) = i;
    return true;
}

static int merge_result(struct search_query *s, const struct query_search_result *r,
                        struct err *err)
{
    s->inspected_bytes += r->inspected_bytes;
    s->inspected_traces += r->inspected_traces;
    s->inspected_spans += r->stats.spans;
    s->completed_jobs++;
    bool ok = grow_slots(s, s->traces.count + r->trace_count);
    for (uint32_t i = 0; i < r->trace_count && ok; i++) {
        uint32_t *slot = find_slot(s, r->traces[i].id);
        if (*slot != UINT32_MAX) {
            ok = search_merge(s->q->arena, &s->traces.at[*slot], &r->traces[i]);
            s->unsent.at[*slot] = true;
        } else {
            ok = vec_push(&s->unsent, true) && vec_push(&s->traces, r->traces[i]);
            if (ok)
                *slot = s->traces.count - 1;
        }
    }
    return ok ? 0 : err_set(err, ERR_NOMEM, "no memory for a search's results");
}

static int newest_first(const void *a, const void *b)
{
    const struct query_trace *x = a, *y = b;
    if (x->start_unix_ns != y->start_unix_ns)
        return x->start_unix_ns < y->start_unix_ns ? 1 : -1;
    return memcmp(x->id, y->id, 16);
}

/* ---- answers in protobuf ---- */

/* The end of each message. */
static int proto_metrics(const struct search_query *s, struct buf *out)
{
    struct proto_writer w = {.out = out};
    const struct search_metrics m = {
        .inspected_traces = s->by_tags ? s->inspected_traces : 0,
        .total_blocks = s->total_blocks,
        .completed_jobs = (uint32_t)s->completed_jobs,
        .total_jobs = (uint32_t)s->job_count,
        .inspected_bytes = s->inspected_bytes,
        .total_block_bytes = s->total_bytes,
    };
    buf_init(out, 256);
    search_metrics_proto(&w, 2, &m);
    return w.rc;
}

static int put_traces(struct search_query *s, const struct query_trace *traces, uint32_t count,
                      bool complete, struct buf *out, struct err *err)
{
    struct packets p;
    struct buf tail;
    int rc = proto_metrics(s, &tail);
    packets_begin(&p, s->q, out, buf_view(&tail));
    search_proto(&p, traces, count, s->by_tags);
    if (rc == 0)
        rc = complete ? packets_end(&p) : packets_send(&p);
    buf_clear(&tail);
    return packets_err(rc, err);
}

/* The traces that the client does not know as they are now, newest first. When the newest are asked
 * for, which ones they are is known at the end: until then there is only the progress to tell. */
static int send_difference(struct search_query *s, struct err *err)
{
    struct buf message;
    VEC(struct query_trace) news = {0};
    bool ok = true;
    for (uint32_t i = 0; i < s->traces.count && ok && !s->search.most_recent; i++) {
        if (s->unsent.at[i])
            ok = vec_push(&news, s->traces.at[i]);
        s->unsent.at[i] = false;
    }
    if (news.count)
        qsort(news.at, news.count, sizeof news.at[0], newest_first);
    buf_init(&message, LIMIT_ANSWER_BYTES);
    int rc = ok ? put_traces(s, news.at, news.count, false, &message, err)
                : err_set(err, ERR_NOMEM, "no memory for a search's results");
    buf_clear(&message);
    vec_free(&news);
    return rc;
}

/* ---- jobs ---- */

static void run_job(void *ctx, size_t i)
{
    struct search_query *s = ctx;
    struct search_job *j = &s->jobs[s->wave_first + i];
    const struct query_worker *w = &s->q->frontend->opts.worker;
    struct selftrace_span span;
    uint64_t start_ns = clock_mono_ns(s->q->frontend->opts.app->clock);
    query_job_begin(s->q, &j->source, &span);
    j->arena = arena_new_within(&s->q->memory);
    if (!j->arena)
        j->rc = err_set(&j->err, ERR_NOMEM, "no memory for a job");
    else if (s->by_tags)
        j->rc = w->legacy(w->self, &j->source, s->by_tags, s->q->deadline_mono_ns, j->arena,
                          &j->result, &j->err);
    else
        j->rc = w->search(w->self, &j->source, &s->search, s->q->deadline_mono_ns, j->arena,
                          &j->result, &j->err);
    query_job_end(&span, j->rc, &j->err, j->result.inspected_bytes);
    j->ns = clock_mono_ns(s->q->frontend->opts.app->clock) - start_ns;
}

static int plan(struct search_query *s, const struct search_params *p, const struct query_data *d,
                struct err *err)
{
    struct query *q = s->q;
    s->jobs = arena_zalloc(q->arena, (d->live_count + d->block_count) * sizeof *s->jobs);
    if (!s->jobs)
        return arena_err(q->arena, err, "a search's jobs");
    if (traceql_query_matches_nothing(s->search.query))
        return 0;
    for (size_t i = 0; i < d->live_count; i++)
        s->jobs[s->job_count++].source = d->live[i];
    for (size_t i = 0; i < d->block_count; i++) {
        const struct block_meta *m = &d->blocks[i].block->meta;
        if (p->end_s &&
            (m->start_unix_ns / NS_PER_S > p->end_s || m->end_unix_ns / NS_PER_S < p->start_s)) {
            s->blocks_left_out++;
            continue;
        }
        s->jobs[s->job_count++].source = d->blocks[i];
        s->total_blocks++;
        s->total_bytes += m->size;
    }
    return 0;
}

static bool wants_more(const struct search_query *s)
{
    return s->wave_first < s->job_count &&
           (s->search.most_recent || s->traces.count < s->search.limit);
}

static int run(struct search_query *s, struct err *err)
{
    int rc = 0;
    while (rc == 0 && wants_more(s)) {
        size_t n = s->job_count - s->wave_first;
        if (n > SEARCH_WAVE_JOBS)
            n = SEARCH_WAVE_JOBS;
        rc = query_fan_out(s->q, n, run_job, s, err);
        for (size_t i = 0; i < n && rc == 0; i++) {
            struct search_job *j = &s->jobs[s->wave_first + i];
            if (j->rc < 0) {
                rc = j->rc;
                *err = j->err;
            } else {
                rc = merge_result(s, &j->result, err);
            }
        }
        s->wave_first += n;
        if (rc == 0 && wants_more(s) && query_stream_due(s->q))
            rc = send_difference(s, err);
    }
    return rc;
}

/* ---- the answer ---- */

static int answer_metrics(const struct search_query *s, bool legacy, struct buf *out)
{
    int rc = buf_str(out, ",\"metrics\":{");
    const char *sep = "";
    if (rc == 0 && legacy && s->inspected_traces) {
        rc = buf_printf(out, "\"inspectedTraces\":%u", s->inspected_traces);
        sep = ",";
    }
    const struct {
        const char *name;
        uint64_t value;
        bool quoted;
    } fields[] = {{"inspectedBytes", s->inspected_bytes, true},
                  {"totalBlocks", s->total_blocks, false},
                  {"completedJobs", s->completed_jobs, false},
                  {"totalJobs", s->job_count, false},
                  {"totalBlockBytes", s->total_bytes, true}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && rc == 0; i++) {
        if (fields[i].value == 0)
            continue;
        const char *quote = fields[i].quoted ? "\"" : "";
        rc = buf_printf(out, "%s\"%s\":%s%llu%s", sep, fields[i].name, quote,
                        (unsigned long long)fields[i].value, quote);
        sep = ",";
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

static int answer_explain(const struct search_query *s, struct buf *out)
{
    struct explain_job *jobs = arena_zalloc(s->q->arena, s->job_count * sizeof *jobs);
    if (!jobs)
        return ERR_LIMIT;
    for (size_t i = 0; i < s->job_count; i++)
        jobs[i] = (struct explain_job){&s->jobs[i].source, s->jobs[i].result.stats, s->jobs[i].ns,
                                       i < s->wave_first};
    return explain_json(s->search.query, jobs, s->job_count, s->blocks_left_out, out);
}

static int answer_search(struct search_query *s, const struct search_params *p, struct answer *out,
                         struct err *err)
{
    if (s->traces.count)
        qsort(s->traces.at, s->traces.count, sizeof s->traces.at[0], newest_first);
    uint32_t n = s->traces.count < s->search.limit ? s->traces.count : s->search.limit;
    if (query_answers_proto(s->q)) {
        out->content_type = "application/protobuf";
        return put_traces(s, s->traces.at, n, true, &out->body, err);
    }
    int rc = buf_str(&out->body, "{\"traces\":");
    if (rc == 0)
        rc = search_json(s->traces.at, n, p->legacy, &out->body);
    if (rc == 0)
        rc = answer_metrics(s, p->legacy, &out->body);
    if (rc == 0 && p->explain)
        rc = answer_explain(s, &out->body);
    rc = rc < 0 ? rc : buf_str(&out->body, "}");
    return rc < 0 ? err_set(err, rc, "the answer does not fit") : 0;
}

/* with(most_recent=true): not the first traces that are found, but the newest ones. */
static bool wants_most_recent(const struct traceql_query *q)
{
    const struct traceql_value *hint = traceql_query_hint(q, "most_recent");
    return hint && hint->type == TRACEQL_BOOL && hint->b;
}

static void tell_request(struct query *q, const struct search_params *p)
{
    const struct log_kv fields[] = {KV_SLICE("query", p->legacy ? SLICE("") : p->text),
                                    KV_U64("range_seconds", p->end_s - p->start_s),
                                    KV_U64("limit", p->limit),
                                    KV_U64("spans_per_spanset", p->spss)};
    query_asked(q, fields, 4, 2);
}

static void account(const struct search_query *s)
{
    struct query_account *a = &s->q->account;
    a->inspected_bytes = s->inspected_bytes;
    a->inspected_traces = s->inspected_traces;
    a->inspected_spans = s->inspected_spans;
    a->total_jobs = s->job_count;
    a->completed_jobs = s->completed_jobs;
    a->total_blocks = s->total_blocks;
    a->total_block_bytes = s->total_bytes;
}

int search_api(struct query *q, struct answer *out, struct err *err)
{
    struct search_params p;
    struct search_query s = {.q = q};
    struct query_data data = {0};
    struct traceql_query *parsed = NULL;
    q->account.kind = QUERY_SEARCH;
    int rc = parse_params(q, &p, err);
    if (rc < 0)
        return rc;
    rc = traceql_parse(p.text, q->arena, &parsed, err);
    if (rc < 0) {
        out->status = 400;
        return err_wrap(err, "invalid TraceQL query");
    }
    s.search = (struct query_search){.query = parsed,
                                     .most_recent = wants_most_recent(parsed),
                                     .limit = p.limit,
                                     .spans_per_set = p.spss,
                                     .start_unix_ns = p.start_s * NS_PER_S,
                                     .end_unix_ns = p.end_s * NS_PER_S};
    p.by_tags.limit = p.limit;
    p.by_tags.start_unix_ns = s.search.start_unix_ns;
    p.by_tags.end_unix_ns = s.search.end_unix_ns;
    s.by_tags = p.legacy ? &p.by_tags : NULL;
    tell_request(q, &p);
    rc = query_data_acquire(q, &data, err);
    if (rc == 0)
        rc = plan(&s, &p, &data, err);
    if (rc == 0)
        rc = run(&s, err);
    if (rc == ERR_UNSUPPORTED)
        out->status = 400; /* the query's construct, not the server's state */
    if (rc == 0)
        rc = answer_search(&s, &p, out, err);
    account(&s);
    for (size_t i = 0; i < s.job_count; i++)
        arena_free(s.jobs[i].arena);
    vec_free(&s.traces);
    vec_free(&s.unsent);
    free(s.slots);
    query_data_release(&data);
    return rc;
}
