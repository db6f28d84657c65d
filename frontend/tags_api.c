/* Names of attributes and values of one: /api/search/tags, /api/v2/search/tags,
 * /api/search/tag/{tag}/values, /api/v2/search/tag/{tag}/values. */
#include "base/text.h"
#include "frontend/frontend_limits.h"
#include "frontend/tags_priv.h"

#include <stdlib.h>

struct tags_job {
    struct query_source source;
    struct arena *arena;
    struct query_tags_result result;
    int rc;
    struct err err;
};

struct tags_query {
    struct query *q;
    bool v2, explain;
    bool intrinsics; /* names: asked for too */
    bool recent;     /* recent data is asked for */
    bool no_data;    /* answered without any */
    uint64_t start_s, end_s;
    struct query_tags tags;
    struct tag_limits limits;
    struct tag_collector collector;
    uint32_t sent; /* of its tags, in the order in which they came, to a stream */
    struct tags_job *jobs;
    size_t job_count;
    struct tags_metrics metrics;
    bool blocks_left_out;
};

/* ---- parameters ---- */

/* Never refused: what is no number is no limit. */
static uint32_t count_param(struct query *q, const char *name)
{
    struct slice text;
    uint64_t v;
    return query_param(q, name, &text) && parse_u64(text, &v) && v <= UINT32_MAX ? (uint32_t)v : 0;
}

/* A range that ends far ahead of now is not about recent data, whatever it is about. */
static bool reaches_into_recent(const struct tags_query *t, uint64_t now_s)
{
    if (!t->start_s || !t->end_s)
        return true;
    return t->end_s + TAGS_RECENT_S >= now_s && t->end_s <= now_s + 24 * 60 * 60;
}

static int range_params(struct tags_query *t, struct err *err)
{
    struct query *q = t->q;
    int rc = query_param_seconds(q, "start", &t->start_s, err);
    if (rc == 0)
        rc = query_param_seconds(q, "end", &t->end_s, err);
    if (rc == 0) /* a negative range is a very long one, as in 32 bits */
        rc = query_check_range(q, t->start_s, t->end_s, (uint32_t)(t->end_s - t->start_s), err);
    t->recent = reaches_into_recent(t, clock_unix_ns(q->frontend->opts.app->clock) / NS_PER_S);
    return rc;
}

static int scope_param(struct tags_query *t, struct err *err)
{
    static const struct {
        const char *name;
        unsigned levels;
    } scopes[] = {{"resource", 1u << TRACEQL_LEVEL_RESOURCE},
                  {"instrumentation", 1u << TRACEQL_LEVEL_SCOPE},
                  {"span", 1u << TRACEQL_LEVEL_SPAN},
                  {"event", 1u << TRACEQL_LEVEL_EVENT},
                  {"link", 1u << TRACEQL_LEVEL_LINK}};
    enum { SCOPES = sizeof scopes / sizeof scopes[0] };
    struct slice scope;
    char shown[128];
    bool given = query_param(t->q, "scope", &scope);
    bool all = !given || slice_eq(scope, SLICE("none"));
    t->intrinsics = given && slice_eq(scope, SLICE("intrinsic"));
    t->no_data = t->intrinsics;
    for (size_t i = 0; i < SCOPES; i++) {
        if (all || slice_eq(scope, slice_cstr(scopes[i].name)))
            t->tags.levels |= scopes[i].levels;
    }
    if (all && t->v2)
        t->intrinsics = true;
    if (t->tags.levels || t->intrinsics)
        return 0;
    return err_set(err, ERR_INVALID, "invalid scope: %s",
                   text_escape(scope, 60, shown, sizeof shown));
}

static int parse_params(struct tags_query *t, struct err *err)
{
    struct slice text;
    int rc = range_params(t, err);
    if (rc == 0 && t->tags.names)
        rc = scope_param(t, err);
    if (rc == 0 && query_param(t->q, "q", &text)) {
        rc = query_check_text(t->q, text, err);
        if (rc == 0 && (t->v2 || t->tags.names))
            rc = tags_filter(text, t->q->arena, &t->tags.filter, err);
    }
    t->explain = query_param(t->q, "explain", &text) &&
                 (slice_eq(text, SLICE("1")) || slice_eq(text, SLICE("true")));
    t->limits.bytes_max = t->q->limits.tag_bytes;
    t->limits.count_max = count_param(t->q, "limit");
    t->limits.stale_max = count_param(t->q, "maxStaleValues");
    t->tags.bytes_max = t->limits.bytes_max;
    return rc;
}

/* A path's segment to a tag's name: decoded, and once more where that leaves an escape, since some
 * clients encode twice. */
static int decode_tag(struct query *q, struct slice segment, struct slice *out, struct err *err)
{
    struct buf once, twice;
    buf_init(&once, LIMIT_PARAM_BYTES);
    buf_init(&twice, LIMIT_PARAM_BYTES);
    net_percent_decode(segment, false, &once);
    bool again = slice_find(buf_view(&once), '%') < once.len &&
                 net_percent_decode(buf_view(&once), false, &twice);
    bool kept = arena_slice(q->arena, buf_view(again ? &twice : &once), out);
    buf_clear(&once);
    buf_clear(&twice);
    return kept ? 0 : arena_err(q->arena, err, "a tag name");
}

static int parse_tag(struct tags_query *t, struct slice segment, struct err *err)
{
    struct query_tags *tags = &t->tags;
    struct slice name;
    int rc = decode_tag(t->q, segment, &name, err);
    if (rc < 0)
        return rc;
    if (!t->v2) {
        tag_parse_bare(name, tags);
        return 0;
    }
    rc = tag_parse(name, t->q->arena, tags, err);
    if (rc < 0)
        return rc;
    /* These two mean the columns whatever their scope, and Tempo's filters look for a name without
     * scope on spans and resources alone. */
    if (tags->intrinsic == TRACEQL_ATTRIBUTE && !tags->filter) {
        if (slice_eq(tags->name, SLICE("root.name")))
            tags->intrinsic = TRACEQL_TRACE_ROOT_NAME;
        else if (slice_eq(tags->name, SLICE("root.service.name")))
            tags->intrinsic = TRACEQL_TRACE_ROOT_SERVICE;
    } else if (tags->filter && tags->levels & 1u << TRACEQL_LEVEL_SPAN) {
        tags->levels &= ~(1u << TRACEQL_LEVEL_SCOPE);
    }
    return 0;
}

/* ---- answers that need no data ---- */

static int add_word(struct tags_query *t, enum traceql_type type, int64_t number, const char *word,
                    struct err *err)
{
    struct query_tag tag = {.value = {.type = type, .i64 = number}};
    if (!t->v2) {
        tag.value.type = TRACEQL_STRING;
        tag.value.str = slice_cstr(word);
    }
    return tag_collect(&t->collector, &tag, err);
}

/* Of recent data, what status and kind can be instead of what is stored, and no list of durations:
 * that is what a person who types a query wants. Of a range in the past Tempo tells what is stored,
 * and so does this. */
static int known_values(struct tags_query *t, struct err *err)
{
    static const char *const status[] = {"unset", "ok", "error"};
    int rc = 0;
    if (!t->recent || t->tags.names)
        return 0;
    switch (t->tags.intrinsic) {
    case TRACEQL_SPAN_STATUS:
        for (int i = 0; i < 3 && rc == 0; i++)
            rc = add_word(t, TRACEQL_STATUS, i, status[i], err);
        t->no_data = true;
        break;
    case TRACEQL_SPAN_KIND:
        for (int i = 0; i < 6 && rc == 0; i++)
            rc = add_word(t, TRACEQL_KIND, i, "", err);
        t->no_data = true;
        break;
    case TRACEQL_SPAN_DURATION:
    case TRACEQL_TRACE_DURATION:
        t->no_data = true;
        break;
    case TRACEQL_ATTRIBUTE:
        if (!t->v2 && slice_eq(t->tags.name, SLICE("error")))
            rc = add_word(t, TRACEQL_STRING, 0, "true", err);
        break;
    default:
        break;
    }
    return rc;
}

/* ---- jobs ---- */

static bool block_in_range(const struct tags_query *t, const struct catalog_block *b, size_t number)
{
    uint64_t start = b->meta.start_unix_ns / NS_PER_S, end = b->meta.end_unix_ns / NS_PER_S;
    if (t->start_s && t->end_s)
        return start <= t->end_s && end >= t->start_s;
    uint64_t now_s = clock_unix_ns(t->q->frontend->opts.app->clock) / NS_PER_S;
    return number < TAGS_RECENT_BLOCKS || end + TAGS_RECENT_S >= now_s;
}

static bool live_in_range(const struct tags_query *t, const struct catalog_view *view)
{
    bool any = !t->start_s || !t->end_s;
    for (size_t i = 0; i < view->section_count && !any; i++) {
        const struct segment_section *s = view->sections[i].section;
        any = s->start_unix_ns / NS_PER_S <= t->end_s && s->end_unix_ns / NS_PER_S >= t->start_s;
    }
    return any;
}

static int plan(struct tags_query *t, const struct query_data *d, struct err *err)
{
    struct query *q = t->q;
    int64_t blocks_max = q->limits.tag_blocks;
    t->jobs = arena_zalloc(q->arena, (d->live_count + d->block_count) * sizeof *t->jobs);
    if (!t->jobs)
        return arena_err(q->arena, err, "a query's jobs");
    for (size_t i = 0; i < d->live_count; i++) {
        if (live_in_range(t, d->live[i].view))
            t->jobs[t->job_count++].source = d->live[i];
    }
    for (size_t i = 0; i < d->block_count; i++) {
        if (!block_in_range(t, d->blocks[i].block, i))
            continue;
        if (blocks_max > 0 && t->metrics.total_blocks >= blocks_max) {
            t->blocks_left_out = true;
            break;
        }
        t->jobs[t->job_count++].source = d->blocks[i];
        t->metrics.total_blocks++;
        t->metrics.total_block_bytes += d->blocks[i].block->meta.size;
    }
    t->metrics.total_jobs = (uint32_t)t->job_count;
    return 0;
}

struct wave {
    struct tags_query *t;
    struct tags_job *jobs;
};

static void run_job(void *ctx, size_t i)
{
    struct wave *wave = ctx;
    struct tags_job *j = &wave->jobs[i];
    struct query *q = wave->t->q;
    const struct query_worker *w = &q->frontend->opts.worker;
    struct selftrace_span span;
    query_job_begin(q, &j->source, &span);
    j->arena = arena_new_within(&q->memory);
    if (!j->arena)
        j->rc = err_set(&j->err, ERR_NOMEM, "no memory for a job");
    else
        j->rc = w->tags(w->self, &j->source, &wave->t->tags, q->deadline_mono_ns, j->arena,
                        &j->result, &j->err);
    query_job_end(&span, j->rc, &j->err, j->result.inspected_bytes);
}

static int cmp_tags(const void *a, const void *b)
{
    return query_tag_cmp(a, b);
}

/* The first version of the API knows neither levels nor types: all become texts, in order. */
static int flatten(struct tags_job *j, struct err *err)
{
    for (uint32_t i = 0; i < j->result.count; i++) {
        struct query_tag *tag = &j->result.tags[i];
        tag->level = 0;
        if (tag->value.type == TRACEQL_STRING)
            continue;
        struct buf text;
        struct slice kept;
        buf_init(&text, 128);
        int rc = query_tag_text(&tag->value, &text);
        bool ok = rc == 0 && arena_slice(j->arena, buf_view(&text), &kept);
        buf_clear(&text);
        if (!ok)
            return arena_err(j->arena, err, "tags");
        tag->value = (struct traceql_value){.type = TRACEQL_STRING, .str = kept};
    }
    if (j->result.count)
        qsort(j->result.tags, j->result.count, sizeof j->result.tags[0], cmp_tags);
    return 0;
}

static int merge(struct tags_query *t, struct tags_job *j, struct err *err)
{
    if (j->rc < 0) {
        *err = j->err;
        return j->rc;
    }
    int rc = t->v2 ? 0 : flatten(j, err);
    for (uint32_t i = 0; i < j->result.count && rc == 0; i++)
        rc = tag_collect(&t->collector, &j->result.tags[i], err);
    if (j->result.truncated && !t->collector.full)
        t->collector.full = "bytes";
    t->metrics.inspected_bytes += j->result.inspected_bytes;
    t->metrics.completed_jobs++;
    return rc;
}

/* ---- answers in protobuf ---- */

/* The end of each message. */
static int proto_metrics(const struct tags_metrics *m, struct buf *out)
{
    struct proto_writer w = {.out = out};
    buf_init(out, 256);
    size_t begun = proto_begin(&w, 2);
    proto_put_u64(&w, 1, m->inspected_bytes);
    proto_put_u64(&w, 2, m->total_jobs);
    proto_put_u64(&w, 3, m->completed_jobs);
    proto_put_u64(&w, 4, m->total_blocks);
    proto_put_u64(&w, 5, m->total_block_bytes);
    proto_end(&w, begun);
    return w.rc;
}

static int put_tags(struct tags_query *t, const struct query_tag *tags, uint32_t count,
                    bool complete, struct buf *out, struct err *err)
{
    struct packets p;
    struct buf tail;
    int rc = proto_metrics(&t->metrics, &tail);
    packets_begin(&p, t->q, out, buf_view(&tail));
    if (!t->tags.names)
        tags_proto_values(&p, tags, count, t->v2);
    else if (t->v2)
        tags_proto_scopes(&p, tags, count, complete && t->intrinsics);
    else
        tags_proto_names(&p, tags, count);
    if (rc == 0)
        rc = complete ? packets_end(&p) : packets_send(&p);
    buf_clear(&tail);
    return packets_err(rc, err);
}

/* What has been found since the last message, in order. */
static int send_new(struct tags_query *t, struct err *err)
{
    uint32_t count = t->collector.set.tags.count - t->sent;
    struct query_tag *news = malloc((count + UINT64_C(1)) * sizeof *news);
    struct buf message;
    if (!news)
        return err_set(err, ERR_NOMEM, "no memory for tags");
    if (count) {
        memcpy(news, t->collector.set.tags.at + t->sent, count * sizeof *news);
        qsort(news, count, sizeof *news, cmp_tags);
    }
    t->sent += count;
    buf_init(&message, LIMIT_ANSWER_BYTES);
    int rc = put_tags(t, news, count, false, &message, err);
    buf_clear(&message);
    free(news);
    return rc;
}

/* ---- waves ---- */

/* In waves, newest data first; in their order, so that a limit always cuts at the same place. */
static int run(struct tags_query *t, struct err *err)
{
    int rc = 0;
    for (size_t first = 0; rc == 0 && first < t->job_count && !t->collector.full;) {
        size_t n = t->job_count - first;
        if (n > SEARCH_WAVE_JOBS)
            n = SEARCH_WAVE_JOBS;
        struct wave wave = {t, &t->jobs[first]};
        rc = query_fan_out(t->q, n, run_job, &wave, err);
        for (size_t i = 0; i < n; i++) {
            struct tags_job *j = &t->jobs[first + i];
            if (rc == 0 && !t->collector.full)
                rc = merge(t, j, err);
            arena_free(j->arena);
            j->arena = NULL;
        }
        first += n;
        if (rc == 0 && first < t->job_count && !t->collector.full && query_stream_due(t->q))
            rc = send_new(t, err);
    }
    return rc;
}

/* A filter that the data does not agree with (a comparison that makes no sense for a value) filters
 * nothing, like one that cannot be understood. */
static int run_filtered(struct tags_query *t, struct err *err)
{
    int rc = run(t, err);
    if (!t->tags.filter || (rc != ERR_INVALID && rc != ERR_UNSUPPORTED))
        return rc;
    t->tags.filter = NULL;
    t->metrics.inspected_bytes = 0;
    t->metrics.completed_jobs = 0;
    t->sent = 0;
    tag_collector_clear(&t->collector);
    tag_collector_init(&t->collector, &t->limits, t->v2 && !t->tags.names, t->q->arena);
    return run(t, err);
}

/* ---- the answer ---- */

static int answer_tags(struct tags_query *t, struct answer *out, struct err *err)
{
    struct tag_set *set = &t->collector.set;
    if (t->explain)
        t->metrics.truncated = t->collector.full    ? t->collector.full
                               : t->blocks_left_out ? "blocks"
                                                    : NULL;
    tag_set_sort(set);
    int rc;
    if (query_answers_proto(t->q)) {
        out->content_type = "application/protobuf";
        return put_tags(t, set->tags.at, set->tags.count, true, &out->body, err);
    }
    if (t->tags.names)
        rc = t->v2 ? tags_json_scopes(set, t->intrinsics, &t->metrics, &out->body)
                   : tags_json_names(set, &t->metrics, &out->body);
    else
        rc = tags_json_values(set, t->v2, &t->metrics, &out->body);
    return rc < 0 ? err_set(err, rc, "the answer does not fit") : 0;
}

/* For version 1, in which they are names among others. */
static int add_intrinsics(struct tags_query *t, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < tags_intrinsic_count && rc == 0; i++) {
        struct query_tag tag = {
            .value = {.type = TRACEQL_STRING, .str = slice_cstr(tags_intrinsics[i])}};
        rc = tag_collect(&t->collector, &tag, err);
    }
    return rc;
}

static int ask(struct tags_query *t, struct err *err)
{
    struct query *q = t->q;
    struct query_data data = {0};
    int rc = t->intrinsics && !t->v2 ? add_intrinsics(t, err) : known_values(t, err);
    if (rc < 0 || t->no_data)
        return rc;
    rc = query_data_acquire(q, &data, err);
    if (rc == 0)
        rc = plan(t, &data, err);
    if (rc == 0)
        rc = run_filtered(t, err);
    query_data_release(&data);
    return rc;
}

static void tell_request(struct tags_query *t, struct slice tag)
{
    bool in_order = t->start_s && t->end_s > t->start_s;
    struct slice scope, text;
    struct log_kv fields[4];
    size_t n = 0;
    if (t->tags.names) {
        fields[n++] = KV_STR("handler", t->v2 ? "SearchTagsV2" : "SearchTags");
        fields[n++] = KV_SLICE("scope", query_param(t->q, "scope", &scope) ? scope : SLICE(""));
    } else {
        fields[n++] = KV_STR("handler", t->v2 ? "SearchTagValuesV2" : "SearchTagValues");
        fields[n++] = KV_SLICE("tag", tag);
        fields[n++] = KV_SLICE("query", query_param(t->q, "q", &text) ? text : SLICE(""));
    }
    fields[n++] = KV_U64("range_seconds", in_order ? t->end_s - t->start_s : 0);
    query_asked(t->q, fields, n, n);
}

static int answer(struct query *q, bool v2, bool names, struct slice segment, struct answer *out,
                  struct err *err)
{
    struct tags_query t = {.q = q, .v2 = v2, .tags = {.names = names}};
    q->account.kind = names ? QUERY_TAGS : QUERY_TAG_VALUES;
    int rc = parse_params(&t, err);
    if (rc == 0 && !names)
        rc = parse_tag(&t, segment, err);
    if (rc < 0)
        return rc;
    tell_request(&t, segment);
    tag_collector_init(&t.collector, &t.limits, v2 && !names, q->arena);
    rc = ask(&t, err);
    q->account.inspected_bytes = t.metrics.inspected_bytes;
    if (rc == 0)
        rc = answer_tags(&t, out, err);
    tag_collector_clear(&t.collector);
    return rc;
}

bool tags_api(struct query *q, struct slice path, struct answer *out, int *rc, struct err *err)
{
    struct slice before, after = SLICE("/values");
    bool v2 = slice_starts(path, SLICE("/api/v2/"));
    before = v2 ? SLICE("/api/v2/search/tag/") : SLICE("/api/search/tag/");
    if (slice_eq(path, SLICE("/api/search/tags")) || slice_eq(path, SLICE("/api/v2/search/tags"))) {
        *rc = answer(q, v2, true, SLICE(""), out, err);
        return true;
    }
    if (!slice_starts(path, before) || !slice_ends(path, after) ||
        path.len <= before.len + after.len) /* a tag may hold slashes */
        return false;
    struct slice tag = slice_of(path.ptr + before.len, path.len - before.len - after.len);
    *rc = answer(q, v2, false, tag, out, err);
    return true;
}
