/* Search by tags, as it was before TraceQL: in one block or in the live columns.
 *
 * A tag with a column of its own is looked for in that column, by part of the text, and may be
 * found on any span or resource of the trace. All others are compared whole, with strings only, and
 * must be found together on one resource or its spans. */
#include "base/text.h"
#include "base/vec.h"
#include "worker/attr_list.h"
#include "worker/attr_walk.h"
#include "worker/scan_source.h"

struct legacy_job {
    const struct query_legacy *q;
    struct arena *a; /* of the results */
    VEC(struct query_trace) traces;
    /* of the row group */
    struct scan *scan;
    uint8_t *match;     /* per trace: all tags so far */
    uint8_t *resources; /* per resource: all tags without a column so far; NULL: there were none */
};

/* ---- tags with a column ---- */

static bool contains(struct slice s, struct slice part)
{
    return part.len == 0 || (s.len >= part.len && memmem(s.ptr, s.len, part.ptr, part.len));
}

/* What a value must be: text that contains, or a number that is. */
struct want {
    struct slice part;
    int64_t number;
};

/* Takes out of match the traces where no value of the column is as wanted. */
static int match_column(struct legacy_job *job, int leaf, const struct want *want, struct err *err)
{
    struct scan *s = job->scan;
    int rc = scan_need(s, &leaf, 1, err);
    if (rc < 0)
        return rc;
    const struct column *c = scan_column(s, leaf);
    uint8_t *found = arena_zalloc(s->arena, s->traces);
    uint8_t *verdict = arena_alloc(s->arena, c->has_dict ? c->dict_count : 0);
    if (!found || !verdict)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t i = 0; c->has_dict && i < c->dict_count; i++)
        verdict[i] = contains(c->dict[i], want->part);
    struct walk w = {0};
    for (uint32_t i = 0, value = 0; i < c->entries; i++) {
        walk_step(&w, c, i);
        if (c->def && c->def[i] != c->def_max)
            continue;
        uint32_t v = value++;
        bool hit = false;
        if (c->type == COLUMN_BYTES)
            hit = c->has_dict ? verdict[c->v.idx[v]] : contains(c->v.bytes[v], want->part);
        else if (c->type == COLUMN_I64)
            hit = c->v.i64[v] == want->number;
        if (hit && w.traces && w.traces <= s->traces)
            found[w.traces - 1] = 1;
    }
    for (uint32_t i = 0; i < s->traces; i++)
        job->match[i] &= found[i];
    return 0;
}

/* ---- tags without ---- */

static int match_list(struct legacy_job *job, enum traceql_level level,
                      const struct query_pair *tag, uint8_t *found, struct err *err)
{
    struct scan *s = job->scan;
    int first = attr_first_leaf(level);
    int leaves[] = {first + BLOCK_ATTR_KEY, first + BLOCK_ATTR_STRING};
    bool of_spans = level == TRACEQL_LEVEL_SPAN;
    struct occurrences occ = {0};
    struct traceql_values v = {0};
    int rc = scan_need(s, leaves, 2, err);
    if (rc == 0)
        rc = attr_occurrences(s, level, tag->key, of_spans ? s->spans : s->resources, &occ, err);
    if (rc == 0 && occ.count)
        rc = attr_values(s, level, BLOCK_ATTR_STRING, &occ, &v, err);
    uint32_t wanted = 0;
    while (v.idx && wanted < v.dict_count && !slice_eq(v.dict[wanted], tag->value))
        wanted++;
    for (uint32_t i = 0; i < v.count && rc == 0; i++) {
        bool is = v.idx ? v.idx[i] == wanted : slice_eq(v.dict[i], tag->value);
        uint32_t owner = occ.owner[v.owner ? v.owner[i] : i];
        if (is)
            found[of_spans ? s->span_resource[owner] : owner] = 1;
    }
    return rc;
}

static int match_attr(struct legacy_job *job, const struct query_pair *tag, struct err *err)
{
    struct scan *s = job->scan;
    uint8_t *found = arena_zalloc(s->arena, s->resources);
    if (!found)
        return arena_err(s->arena, err, "a row group");
    int rc = match_list(job, TRACEQL_LEVEL_RESOURCE, tag, found, err);
    if (rc == 0)
        rc = match_list(job, TRACEQL_LEVEL_SPAN, tag, found, err);
    for (uint32_t i = 0; rc == 0 && job->resources && i < s->resources; i++)
        found[i] &= job->resources[i];
    job->resources = found;
    return rc;
}

/* ---- one batch ---- */

/* The leaf of a tag with a column, or -1. */
static int tag_leaf(struct scan *s, const struct own_column *own, size_t own_count,
                    struct slice key)
{
    static const struct {
        const char *key;
        int leaf;
    } words[] = {{"name", BLOCK_SPAN_NAME},
                 {"status.code", BLOCK_SPAN_STATUS_CODE},
                 {"root.name", BLOCK_ROOT_NAME},
                 {"root.service.name", BLOCK_ROOT_SERVICE}};
    for (size_t i = own_count; i > 0; i--) { /* dedicated columns, at the end, come first */
        if (slice_eq(own[i - 1].name, key))
            return own[i - 1].leaf;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_eq(key, slice_cstr(words[i].key)) && scan_has(s, words[i].leaf))
            return words[i].leaf;
    }
    return -1;
}

static int64_t status_number(struct slice word)
{
    return slice_eq(word, SLICE("error")) ? 2 : slice_eq(word, SLICE("ok")) ? 1 : 0;
}

static int match_tags(struct legacy_job *job, struct err *err)
{
    struct own_column *own;
    size_t own_count;
    int rc = own_columns(job->scan, &own, &own_count, err);
    for (uint32_t i = 0; rc == 0 && i < job->q->tag_count; i++) {
        const struct query_pair *tag = &job->q->tags[i];
        struct want want = {.part = tag->value};
        int leaf = tag_leaf(job->scan, own, own_count, tag->key);
        if (leaf == BLOCK_SPAN_STATUS_CODE)
            want.number = status_number(tag->value);
        else if (leaf >= 0 && block_leaves[leaf].column_type == COLUMN_I64 &&
                 !parse_i64(tag->value, &want.number))
            leaf = -1; /* not a number: such a value stands in the list */
        rc = leaf >= 0 ? match_column(job, leaf, &want, err) : match_attr(job, tag, err);
    }
    return rc;
}

static int match_resources(struct legacy_job *job, struct err *err)
{
    struct scan *s = job->scan;
    if (!job->resources)
        return 0;
    uint8_t *found = arena_zalloc(s->arena, s->traces);
    if (!found)
        return arena_err(s->arena, err, "a row group");
    /* Resources without spans are in no map, and Tempo finds them too; but nobody stores any. */
    for (uint32_t i = 0; i < s->spans; i++)
        found[s->span_trace[i]] |= job->resources[s->span_resource[i]];
    for (uint32_t i = 0; i < s->traces; i++)
        job->match[i] &= found[i];
    return 0;
}

static const int result_leaves[] = {BLOCK_TRACE_ID, BLOCK_TRACE_START, BLOCK_TRACE_DURATION,
                                    BLOCK_ROOT_SERVICE, BLOCK_ROOT_NAME};
enum { RESULT_LEAVES = sizeof result_leaves / sizeof result_leaves[0] };

static bool in_bounds(const struct query_legacy *q, uint64_t start, uint64_t duration)
{
    if (q->min_duration_ns && duration < q->min_duration_ns)
        return false;
    if (q->max_duration_ns && duration > q->max_duration_ns)
        return false;
    return q->end_unix_ns == 0 || (start <= q->end_unix_ns && start + duration >= q->start_unix_ns);
}

static int take_trace(struct legacy_job *job, uint32_t trace, struct err *err)
{
    struct scan *s = job->scan;
    struct query_trace t = {
        .start_unix_ns = (uint64_t)scan_column(s, BLOCK_TRACE_START)->v.i64[trace],
        .duration_ns = (uint64_t)scan_column(s, BLOCK_TRACE_DURATION)->v.i64[trace]};
    if (!in_bounds(job->q, t.start_unix_ns, t.duration_ns))
        return 0;
    struct slice id = column_bytes(scan_column(s, BLOCK_TRACE_ID), trace);
    size_t n = id.len < sizeof t.id ? id.len : sizeof t.id;
    if (n)
        memcpy(t.id + sizeof t.id - n, id.ptr + id.len - n, n);
    if (!arena_slice(job->a, column_bytes(scan_column(s, BLOCK_ROOT_SERVICE), trace),
                     &t.root_service) ||
        !arena_slice(job->a, column_bytes(scan_column(s, BLOCK_ROOT_NAME), trace), &t.root_name))
        return arena_err(job->a, err, "a search's results");
    return vec_push(&job->traces, t) ? 0
                                     : err_set(err, ERR_NOMEM, "no memory for a search's results");
}

static int legacy_batch(void *ctx, struct scan *s, struct err *err)
{
    struct legacy_job *job = ctx;
    scan_step(s, QUERY_STEP_EVALUATE);
    job->scan = s;
    job->resources = NULL;
    int rc = scan_need(s, result_leaves, RESULT_LEAVES, err);
    if (rc == 0)
        rc = scan_maps(s, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < RESULT_LEAVES; i++) {
        uint32_t have = scan_column(s, result_leaves[i])->values;
        if (have != s->traces)
            return err_set(err, ERR_CORRUPT, "column %s: %u values, expected %u",
                           block_leaves[result_leaves[i]].path, have, s->traces);
    }
    job->match = arena_alloc(s->arena, s->traces);
    if (!job->match)
        return arena_err(s->arena, err, "a row group");
    memset(job->match, 1, s->traces);
    rc = match_tags(job, err);
    if (rc == 0)
        rc = match_resources(job, err);
    for (uint32_t i = 0; i < s->traces && rc == 0 && job->traces.count < job->q->limit; i++) {
        if (job->match[i])
            rc = take_trace(job, i, err);
    }
    return rc;
}

/* ---- the job ---- */

static bool is_done(void *ctx)
{
    const struct legacy_job *job = ctx;
    return job->traces.count >= job->q->limit;
}

static int take_result(struct legacy_job *job, struct query_search_result *out, struct err *err)
{
    out->traces = arena_array(job->a, struct query_trace, job->traces.count);
    if (!out->traces)
        return arena_err(job->a, err, "a search's results");
    if (job->traces.count)
        memcpy(out->traces, job->traces.at, job->traces.count * sizeof *out->traces);
    out->trace_count = job->traces.count;
    return 0;
}

int worker_legacy(void *self, const struct query_source *source, const struct query_legacy *legacy,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err)
{
    struct legacy_job job = {.q = legacy, .a = a};
    const struct scan_visit visit = {.batch = legacy_batch, .is_done = is_done, .ctx = &job};
    *out = (struct query_search_result){0};
    int rc = scan_source(self, source, &visit, deadline_mono_ns, &out->stats, err);
    if (rc == 0)
        rc = take_result(&job, out, err);
    out->inspected_bytes = out->stats.bytes_read;
    out->inspected_traces = (uint32_t)out->stats.traces;
    vec_free(&job.traces);
    return rc;
}
