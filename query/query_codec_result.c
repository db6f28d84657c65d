/* Results on a wire: the job's error, or what it found. Lists are counted before they are read, so
 * that memory is taken by what has arrived. */
#include "query/query_codec.h"

#include <assert.h>

#include "query/query_codec_priv.h"
#include "traceql/value_wire.h"

enum {
    RESULT_HEAD = 1, /* struct head */
    RESULT_TRACE = 2,
    RESULT_TAG = 3,
    RESULT_METRICS = 4, /* metrics_wire.c of traceql */
    RESULT_SPANS = 5,   /* query_codec_trace.c */
    RESULT_STATS = 6,
};

/* Everything that is not a list; of the kinds that have it. */
struct head {
    uint32_t version;
    int32_t rc;
    struct slice error;
    uint64_t inspected_bytes, inspected_spans;
    uint32_t inspected_traces;
    bool truncated;
};

#define HEAD(m) offsetof(struct head, m)
PROTO_TABLE(head_table, {1, PROTO_U32, HEAD(version)}, {2, PROTO_I32, HEAD(rc)},
            {3, PROTO_BYTES, HEAD(error)}, {4, PROTO_U64, HEAD(inspected_bytes)},
            {5, PROTO_U64, HEAD(inspected_spans)}, {6, PROTO_U32, HEAD(inspected_traces)},
            {7, PROTO_BOOL, HEAD(truncated)});

#define STATS(m) offsetof(struct query_stats, m)
#define STEP(s) (offsetof(struct query_stats, step_ns) + (s) * sizeof(uint64_t))
PROTO_TABLE(stats_table, {1, PROTO_U32, STATS(row_groups)},
            {2, PROTO_U32, STATS(row_groups_skipped)}, {3, PROTO_U32, STATS(columns)},
            {4, PROTO_U64, STATS(traces)}, {5, PROTO_U64, STATS(spans)},
            {6, PROTO_U64, STATS(spans_skipped)}, {7, PROTO_U64, STATS(pages)},
            {8, PROTO_U64, STATS(pages_skipped)}, {9, PROTO_U64, STATS(bytes_read)},
            {10, PROTO_U64, STATS(bytes_skipped)}, {11, PROTO_U64, STATS(requests)},
            {16, PROTO_U64, STEP(QUERY_STEP_FOOTER)}, {17, PROTO_U64, STEP(QUERY_STEP_FETCH)},
            {18, PROTO_U64, STEP(QUERY_STEP_DECODE)}, {19, PROTO_U64, STEP(QUERY_STEP_EVALUATE)},
            {20, PROTO_U64, STEP(QUERY_STEP_RESULTS)}, {21, PROTO_U64, STEP(QUERY_STEP_LIVE)});
static_assert(QUERY_STEPS == 6, "each step of the statistics is in the table");

#define TRACE(m) offsetof(struct query_trace, m)
PROTO_TABLE(trace_table, {1, PROTO_ID16, TRACE(id)}, {2, PROTO_BYTES, TRACE(root_service)},
            {3, PROTO_BYTES, TRACE(root_name)}, {4, PROTO_FIXED64, TRACE(start_unix_ns)},
            {5, PROTO_U64, TRACE(duration_ns)});
enum { TRACE_SERVICE = 6, TRACE_SET = 7 };

#define SERVICE(m) offsetof(struct query_service, m)
PROTO_TABLE(service_table, {1, PROTO_BYTES, SERVICE(name)}, {2, PROTO_U32, SERVICE(span_count)},
            {3, PROTO_U32, SERVICE(error_count)});

#define SET(m) offsetof(struct query_spanset, m)
PROTO_TABLE(set_table, {1, PROTO_U32, SET(matched)});
enum { SET_SPAN = 2, SET_ATTR = 3 };

#define SPAN(m) offsetof(struct query_span, m)
PROTO_TABLE(span_table, {1, PROTO_BYTES, SPAN(id)}, {2, PROTO_BYTES, SPAN(name)},
            {3, PROTO_FIXED64, SPAN(start_unix_ns)}, {4, PROTO_U64, SPAN(duration_ns)});
enum { SPAN_ATTR = 5 };

#define ATTR(m) offsetof(struct query_attr, m)
PROTO_TABLE(attr_table, {1, PROTO_BYTES, ATTR(key)});
enum { ATTR_VALUE = 2 };

#define TAG(m) offsetof(struct query_tag, m)
PROTO_TABLE(tag_table, {1, PROTO_U8, TAG(level)});
enum { TAG_VALUE = 2 };

/* ---- writing ---- */

static void put_attrs(struct proto_writer *w, uint32_t number, const struct query_attr *attrs,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t begun = proto_begin(w, number);
        proto_put_table(w, &attr_table, &attrs[i]);
        for (uint32_t k = 0; k < attrs[i].count; k++)
            traceql_value_put(w, ATTR_VALUE, &attrs[i].values[k]);
        proto_end(w, begun);
    }
}

static void put_set(struct proto_writer *w, const struct query_spanset *s)
{
    size_t begun = proto_begin(w, TRACE_SET);
    proto_put_table(w, &set_table, s);
    for (uint32_t i = 0; i < s->span_count; i++) {
        size_t span = proto_begin(w, SET_SPAN);
        proto_put_table(w, &span_table, &s->spans[i]);
        put_attrs(w, SPAN_ATTR, s->spans[i].attrs, s->spans[i].attr_count);
        proto_end(w, span);
    }
    put_attrs(w, SET_ATTR, s->attrs, s->attr_count);
    proto_end(w, begun);
}

static void put_traces(struct proto_writer *w, const struct query_search_result *r)
{
    for (uint32_t i = 0; i < r->trace_count; i++) {
        const struct query_trace *t = &r->traces[i];
        size_t begun = proto_begin(w, RESULT_TRACE);
        proto_put_table(w, &trace_table, t);
        for (uint32_t k = 0; k < t->service_count; k++)
            query_put_object(w, TRACE_SERVICE, &service_table, &t->services[k]);
        for (uint32_t k = 0; k < t->set_count; k++)
            put_set(w, &t->sets[k]);
        proto_end(w, begun);
    }
}

static void put_tags(struct proto_writer *w, const struct query_tags_result *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        size_t begun = proto_begin(w, RESULT_TAG);
        proto_put_table(w, &tag_table, &r->tags[i]);
        traceql_value_put(w, TAG_VALUE, &r->tags[i].value);
        proto_end(w, begun);
    }
}

static void put_metrics(struct proto_writer *w, const struct query_metrics_result *r,
                        struct err *err)
{
    size_t begun = proto_begin(w, RESULT_METRICS);
    if (w->rc == 0 && r->metrics)
        w->rc = traceql_metrics_encode(r->metrics, w->out, err);
    proto_end(w, begun);
}

/* Where a result of the kind has its statistics. */
static struct query_stats *stats_of(enum query_kind kind, struct query_result *r)
{
    switch (kind) {
    case QUERY_SEARCH:
    case QUERY_LEGACY:
        return &r->search.stats;
    case QUERY_TAGS:
        return &r->tags.stats;
    case QUERY_METRICS:
        return &r->metrics.stats;
    case QUERY_FIND_TRACE:
        break;
    }
    return &r->trace.stats;
}

static struct head head_of(const struct query_job *job, const struct query_result *r)
{
    struct head h = {.version = QUERY_CODEC_VERSION};
    switch (job->kind) {
    case QUERY_SEARCH:
    case QUERY_LEGACY:
        h.inspected_bytes = r->search.inspected_bytes;
        h.inspected_traces = r->search.inspected_traces;
        break;
    case QUERY_TAGS:
        h.inspected_bytes = r->tags.inspected_bytes;
        h.truncated = r->tags.truncated;
        break;
    case QUERY_METRICS:
        h.inspected_bytes = r->metrics.inspected_bytes;
        h.inspected_spans = r->metrics.inspected_spans;
        break;
    case QUERY_FIND_TRACE:
        h.inspected_bytes = r->trace.inspected_bytes;
        break;
    }
    return h;
}

int query_result_encode(const struct query_job *job, int rc, const struct err *e,
                        struct query_result *result, struct buf *out, struct err *err)
{
    struct proto_writer w = {.out = out};
    struct head h = {.version = QUERY_CODEC_VERSION, .rc = rc};
    if (rc < 0)
        h.error = slice_cstr(e->msg);
    else
        h = head_of(job, result);
    query_put_object(&w, RESULT_HEAD, &head_table, &h);
    if (rc == 0)
        query_put_object(&w, RESULT_STATS, &stats_table, stats_of(job->kind, result));
    if (rc == 0 && (job->kind == QUERY_SEARCH || job->kind == QUERY_LEGACY))
        put_traces(&w, &result->search);
    if (rc == 0 && job->kind == QUERY_TAGS)
        put_tags(&w, &result->tags);
    if (rc == 0 && job->kind == QUERY_METRICS)
        put_metrics(&w, &result->metrics, err);
    if (rc == 0 && job->kind == QUERY_FIND_TRACE)
        query_put_spans(&w, RESULT_SPANS, result->trace.batch, job->trace_id);
    return w.rc < 0 ? err_set(err, w.rc, "a job's result takes more than %zu bytes", out->max) : 0;
}

/* ---- reading ---- */

struct reader {
    const struct query_job *job;
    struct query_result *out;
    struct arena *arena;
    struct err *err;
};

/* Room for all messages of that number, zeroed; max of them. */
static int list(struct reader *r, struct slice message, uint32_t number, size_t size, void **out,
                uint32_t *max)
{
    *max = proto_count(message, number);
    *out = arena_alloc_array(r->arena, *max, size);
    if (!*out)
        return arena_err(r->arena, r->err, "a job's result");
    if (*max)
        memset(*out, 0, *max * size);
    return 0;
}

static int get_attr(struct reader *r, const struct proto_field *f, struct query_attr *out)
{
    struct slice message;
    struct proto_field g;
    uint32_t max;
    void *values;
    int rc = proto_get_bytes(f, &message, r->err);
    rc = rc < 0 ? rc : list(r, message, ATTR_VALUE, sizeof *out->values, &values, &max);
    if (rc < 0)
        return rc;
    struct traceql_value *at = values;
    out->values = at;
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == ATTR_VALUE && out->count < max) {
            rc = traceql_value_get(&g, &at[out->count++], r->err);
        } else {
            rc = proto_get_table(&attr_table, &g, out, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    return rc < 0 ? rc : 0;
}

static int get_span(struct reader *r, const struct proto_field *f, struct query_span *out)
{
    struct slice message;
    struct proto_field g;
    uint32_t max;
    void *attrs;
    int rc = proto_get_bytes(f, &message, r->err);
    rc = rc < 0 ? rc : list(r, message, SPAN_ATTR, sizeof *out->attrs, &attrs, &max);
    if (rc < 0)
        return rc;
    out->attrs = attrs;
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == SPAN_ATTR && out->attr_count < max) {
            rc = get_attr(r, &g, &out->attrs[out->attr_count++]);
        } else {
            rc = proto_get_table(&span_table, &g, out, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    return rc < 0 ? rc : 0;
}

static int get_set(struct reader *r, const struct proto_field *f, struct query_spanset *out)
{
    struct slice message;
    struct proto_field g;
    uint32_t spans_max, attrs_max;
    void *spans, *attrs;
    int rc = proto_get_bytes(f, &message, r->err);
    rc = rc < 0 ? rc : list(r, message, SET_SPAN, sizeof *out->spans, &spans, &spans_max);
    rc = rc < 0 ? rc : list(r, message, SET_ATTR, sizeof *out->attrs, &attrs, &attrs_max);
    if (rc < 0)
        return rc;
    out->spans = spans;
    out->attrs = attrs;
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == SET_SPAN && out->span_count < spans_max) {
            rc = get_span(r, &g, &out->spans[out->span_count++]);
        } else if (g.number == SET_ATTR && out->attr_count < attrs_max) {
            rc = get_attr(r, &g, &out->attrs[out->attr_count++]);
        } else {
            rc = proto_get_table(&set_table, &g, out, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    return rc < 0 ? rc : 0;
}

static int get_trace(struct reader *r, const struct proto_field *f, struct query_trace *out)
{
    struct slice message;
    struct proto_field g;
    uint32_t services_max, sets_max;
    void *services, *sets;
    int rc = proto_get_bytes(f, &message, r->err);
    rc = rc < 0 ? rc
                : list(r, message, TRACE_SERVICE, sizeof *out->services, &services, &services_max);
    rc = rc < 0 ? rc : list(r, message, TRACE_SET, sizeof *out->sets, &sets, &sets_max);
    if (rc < 0)
        return rc;
    out->services = services;
    out->sets = sets;
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == TRACE_SERVICE && out->service_count < services_max) {
            rc = query_get_object(&g, &service_table, &out->services[out->service_count++], r->err);
        } else if (g.number == TRACE_SET && out->set_count < sets_max) {
            rc = get_set(r, &g, &out->sets[out->set_count++]);
        } else {
            rc = proto_get_table(&trace_table, &g, out, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    return rc < 0 ? rc : 0;
}

static int get_tag(struct reader *r, const struct proto_field *f, struct query_tag *out)
{
    struct slice message;
    struct proto_field g;
    int rc = proto_get_bytes(f, &message, r->err);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == TAG_VALUE) {
            rc = traceql_value_get(&g, &out->value, r->err);
        } else {
            rc = proto_get_table(&tag_table, &g, out, r->err);
            rc = rc < 0 ? rc : 0;
        }
    }
    if (rc < 0)
        return rc;
    if (out->level >= TRACEQL_LEVELS)
        return err_set(r->err, ERR_CORRUPT, "a tag of unknown level %u", out->level);
    return 0;
}

/* ---- by kind ---- */

static int get_search(struct reader *r, struct slice message, struct cursor c)
{
    struct query_search_result *out = &r->out->search;
    struct proto_field f;
    uint32_t max;
    void *traces;
    int rc = list(r, message, RESULT_TRACE, sizeof *out->traces, &traces, &max);
    if (rc < 0)
        return rc;
    out->traces = traces;
    while (rc == 0 && (rc = proto_next(&c, &f, r->err)) == 0) {
        if (f.number == RESULT_TRACE && out->trace_count < max)
            rc = get_trace(r, &f, &out->traces[out->trace_count++]);
    }
    return rc;
}

static int get_tags(struct reader *r, struct slice message, struct cursor c)
{
    struct query_tags_result *out = &r->out->tags;
    struct proto_field f;
    uint32_t max;
    void *tags;
    int rc = list(r, message, RESULT_TAG, sizeof *out->tags, &tags, &max);
    if (rc < 0)
        return rc;
    out->tags = tags;
    while (rc == 0 && (rc = proto_next(&c, &f, r->err)) == 0) {
        if (f.number == RESULT_TAG && out->count < max)
            rc = get_tag(r, &f, &out->tags[out->count++]);
    }
    return rc;
}

static int get_metrics(struct reader *r, struct cursor c)
{
    const struct query_metrics *m = &r->job->metrics;
    struct query_metrics_result *out = &r->out->metrics;
    struct proto_field f;
    struct slice series;
    int rc = traceql_metrics_new(m->query, &m->grid, m->exemplars, r->arena, &out->metrics, r->err);
    while (rc == 0 && (rc = proto_next(&c, &f, r->err)) == 0) {
        if (f.number != RESULT_METRICS)
            continue;
        rc = proto_get_bytes(&f, &series, r->err);
        rc = rc < 0 ? rc : traceql_metrics_decode(out->metrics, series, r->err);
    }
    return rc;
}

static int get_spans(struct reader *r, struct cursor c)
{
    struct proto_field f;
    struct slice spans;
    int rc = 0;
    while (rc == 0 && (rc = proto_next(&c, &f, r->err)) == 0) {
        if (f.number != RESULT_SPANS)
            continue;
        rc = proto_get_bytes(&f, &spans, r->err);
        rc = rc < 0 ? rc : query_get_spans(spans, r->job->trace_id, r->out->trace.batch, r->err);
    }
    return rc;
}

static int get_stats(struct reader *r, struct cursor c)
{
    struct query_stats *stats = stats_of(r->job->kind, r->out);
    struct proto_field f;
    int rc = 0;
    while (rc == 0 && (rc = proto_next(&c, &f, r->err)) == 0) {
        if (f.number == RESULT_STATS)
            rc = query_get_object(&f, &stats_table, stats, r->err);
    }
    return rc < 0 ? rc : 0;
}

static int get_found(struct reader *r, const struct head *h, struct slice message, struct cursor c)
{
    int rc = 0;
    switch (r->job->kind) {
    case QUERY_SEARCH:
    case QUERY_LEGACY:
        rc = get_search(r, message, c);
        r->out->search.inspected_bytes = h->inspected_bytes;
        r->out->search.inspected_traces = h->inspected_traces;
        break;
    case QUERY_TAGS:
        rc = get_tags(r, message, c);
        r->out->tags.inspected_bytes = h->inspected_bytes;
        r->out->tags.truncated = h->truncated;
        break;
    case QUERY_METRICS:
        rc = get_metrics(r, c);
        r->out->metrics.inspected_bytes = h->inspected_bytes;
        r->out->metrics.inspected_spans = h->inspected_spans;
        break;
    case QUERY_FIND_TRACE:
        rc = get_spans(r, c);
        r->out->trace.inspected_bytes = h->inspected_bytes;
        break;
    }
    return rc < 0 ? rc : get_stats(r, c);
}

int query_result_decode(struct slice bytes, const struct query_job *job, struct arena *a,
                        struct query_result *out, bool *broken, struct err *err)
{
    struct span_batch *batch = job->kind == QUERY_FIND_TRACE ? out->trace.batch : NULL;
    struct reader r = {job, out, a, err};
    struct head h = {0};
    struct cursor c = cursor_of(bytes);
    struct proto_field f = {0};
    *out = (struct query_result){0};
    if (batch)
        out->trace.batch = batch;
    int rc = proto_next(&c, &f, err);
    *broken = true;
    if (rc == 1 || (rc == 0 && f.number != RESULT_HEAD))
        rc = err_set(err, ERR_CORRUPT, "not a job's result: it has no head");
    rc = rc < 0 ? rc : query_get_object(&f, &head_table, &h, err);
    if (rc < 0)
        return rc;
    if (h.version != QUERY_CODEC_VERSION || h.rc > 0 || h.rc < ERR_INTERNAL)
        return err_set(err, ERR_CORRUPT, "a job's result of version %u with code %d", h.version,
                       h.rc);
    if (h.rc < 0) {
        *broken = false;
        return err_set(err, (enum err_code)h.rc, "%.*s",
                       h.error.len < sizeof err->msg ? (int)h.error.len : (int)sizeof err->msg - 1,
                       (const char *)(h.error.len ? h.error.ptr : (const uint8_t *)""));
    }
    rc = get_found(&r, &h, bytes, c);
    *broken = rc == ERR_CORRUPT;
    return rc;
}
