/* Metrics over one block, row group by row group, or over the live columns: evaluate the pipeline,
 * read what the function and by() ask for, and put the spans that are left into series. Row groups
 * whose spans all start outside the range are not read. */
#include "base/text.h"
#include "base/vec.h"
#include "worker/scan_source.h"
#include "worker/worker_limits.h"

struct metrics_job {
    const struct query_metrics *query;
    struct traceql_eval *eval;
    const struct traceql_query *filter; /* of compare(); NULL for other functions */
    struct traceql_eval *compare;
    struct traceql_metrics *metrics;
};

/* ---- compare() ---- */

/* The names of a level's attribute list that occur in the batch. */
static int list_names(struct scan *s, enum traceql_level level, int leaf, struct arena *a,
                      struct traceql_field **fields, uint32_t *count, uint32_t *cap,
                      struct err *err)
{
    const struct column *key = scan_column(s, leaf);
    for (uint32_t i = 0; i < (key->has_dict ? key->dict_count : key->values); i++) {
        struct slice name = key->has_dict ? key->dict[i] : key->v.bytes[i];
        bool known = name.len == 0;
        for (uint32_t k = 0; k < *count && !known; k++)
            known = (*fields)[k].level == level && slice_eq((*fields)[k].name, name);
        if (known)
            continue;
        if (*count >= LIMIT_COMPARE_ATTRIBUTES)
            return 0;
        if (*count == *cap) {
            uint32_t more = *cap ? *cap * 2 : 64;
            struct traceql_field *list = arena_array(a, struct traceql_field, more);
            if (!list)
                return arena_err(a, err, "the attributes of a batch");
            if (*count)
                memcpy(list, *fields, *count * sizeof *list);
            *fields = list;
            *cap = more;
        }
        (*fields)[(*count)++] = (struct traceql_field){.level = level, .name = name};
    }
    return 0;
}

/* Attributes with a column of their own; those that are there by the block's version or its
 * configuration. */
static const struct {
    enum traceql_level level;
    const char *name;
} well_known[] = {
    {TRACEQL_LEVEL_RESOURCE, "service.name"},
    {TRACEQL_LEVEL_RESOURCE, "cluster"},
    {TRACEQL_LEVEL_RESOURCE, "namespace"},
    {TRACEQL_LEVEL_RESOURCE, "pod"},
    {TRACEQL_LEVEL_RESOURCE, "container"},
    {TRACEQL_LEVEL_RESOURCE, "k8s.cluster.name"},
    {TRACEQL_LEVEL_RESOURCE, "k8s.namespace.name"},
    {TRACEQL_LEVEL_RESOURCE, "k8s.pod.name"},
    {TRACEQL_LEVEL_RESOURCE, "k8s.container.name"},
    {TRACEQL_LEVEL_SPAN, "http.method"},
    {TRACEQL_LEVEL_SPAN, "http.url"},
    {TRACEQL_LEVEL_SPAN, "http.status_code"},
};

static int compare_fields(struct scan *s, const struct traceql_query **out, struct err *err)
{
    static const int keys[] = {BLOCK_SPAN_ATTRS + BLOCK_ATTR_KEY,
                               BLOCK_RESOURCE_ATTRS + BLOCK_ATTR_KEY,
                               BLOCK_SCOPE_ATTRS + BLOCK_ATTR_KEY};
    static const enum traceql_level levels[] = {TRACEQL_LEVEL_SPAN, TRACEQL_LEVEL_RESOURCE,
                                                TRACEQL_LEVEL_SCOPE};
    size_t known = sizeof well_known / sizeof well_known[0];
    size_t dedicated = s->meta ? s->meta->dedicated_count : 0;
    uint32_t count = 0, cap = (uint32_t)(known + dedicated + 64);
    struct traceql_field *fields = arena_array(s->arena, struct traceql_field, cap);
    if (!fields)
        return arena_err(s->arena, err, "the attributes of a batch");
    for (size_t i = 0; i < known; i++)
        fields[count++] = (struct traceql_field){.level = well_known[i].level,
                                                 .name = slice_cstr(well_known[i].name)};
    for (size_t i = 0; i < dedicated; i++) {
        const struct block_dedicated *d = &s->meta->dedicated[i];
        if (d->scope == BLOCK_SCOPE_SPAN || d->scope == BLOCK_SCOPE_RESOURCE)
            fields[count++] = (struct traceql_field){
                .level = d->scope == BLOCK_SCOPE_SPAN ? TRACEQL_LEVEL_SPAN : TRACEQL_LEVEL_RESOURCE,
                .name = d->name};
    }
    int rc = scan_need(s, keys, sizeof keys / sizeof keys[0], err);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && rc == 0; i++)
        rc = list_names(s, levels[i], keys[i], s->arena, &fields, &count, &cap, err);
    return rc < 0 ? rc : traceql_compare_fields(fields, count, s->arena, out, err);
}

static int compare_batch(struct metrics_job *job, struct scan *s, struct traceql_metrics_batch *mb,
                         struct err *err)
{
    const struct traceql_query *fields;
    struct traceql_batch batch, all;
    struct traceql_result r = {0};
    uint8_t *selected = arena_zalloc(s->arena, s->spans);
    if (!selected)
        return arena_err(s->arena, err, "a row group");
    int rc = scan_batch(s, job->filter, &batch, err);
    if (rc == 0)
        rc = traceql_eval_batch(job->compare, &batch, s->arena, &r, err);
    for (uint32_t i = 0; rc == 0 && i < r.span_count; i++)
        selected[r.spans[i]] = 1;
    if (rc == 0)
        rc = compare_fields(s, &fields, err);
    if (rc == 0)
        rc = scan_batch(s, fields, &all, err);
    if (rc < 0)
        return rc;
    struct traceql_metrics_batch observed = *mb;
    observed.fields = &all;
    return traceql_compare_observe(job->metrics, &observed, fields, selected, s->arena, err);
}

/* ---- one batch ---- */

static int metrics_batch(void *ctx, struct scan *s, struct err *err)
{
    struct metrics_job *job = ctx;
    static const int start = BLOCK_SPAN_START;
    struct traceql_batch batch, fields;
    struct traceql_result r = {0};
    scan_step(s, QUERY_STEP_EVALUATE);
    int rc = scan_batch(s, job->query->query, &batch, err);
    if (rc == 0)
        rc = traceql_eval_batch(job->eval, &batch, s->arena, &r, err);
    if (rc < 0 || r.span_count == 0)
        return rc;
    rc = scan_need(s, &start, 1, err);
    if (rc == 0 && scan_column(s, start)->values != s->spans)
        rc = err_set(err, ERR_CORRUPT, "column %s: %u values, expected %u",
                     block_leaves[start].path, scan_column(s, start)->values, s->spans);
    if (rc < 0)
        return rc;
    struct traceql_metrics_batch mb = {
        .spans = r.spans, .span_count = r.span_count, .start_ns = scan_column(s, start)->v.i64};
    if (job->compare)
        return compare_batch(job, s, &mb, err);
    rc = scan_batch(s, traceql_metrics_fields(job->metrics), &fields, err);
    mb.fields = &fields;
    return rc < 0 ? rc : traceql_metrics_observe(job->metrics, &mb, s->arena, err);
}

/* ---- blocks ---- */

static bool edge(bool there, struct slice text, int64_t *out)
{
    if (!there || text.len != sizeof *out)
        return false;
    memcpy(out, text.ptr, sizeof *out);
    return true;
}

/* Whether some span of the row group may start in the range, by its statistics. */
static bool may_hold(const struct metrics_job *job, const struct scan *s)
{
    const struct traceql_metrics_grid *g = &job->query->grid;
    int leaf = s->footer->leaf_of[BLOCK_SPAN_START];
    int64_t min, max;
    if (leaf < 0)
        return true;
    const struct parquet_chunk *c = &s->footer->file->row_groups[s->row_group].chunks[leaf];
    if (!edge(c->has_min, c->min, &min) || !edge(c->has_max, c->max, &max) || min < 0 || max < min)
        return true;
    uint64_t length = (uint64_t)g->step_ns * g->intervals;
    return max > g->after_ns &&
           (min <= g->after_ns || (uint64_t)min - (uint64_t)g->after_ns <= length);
}

static int metrics_begin(void *ctx, struct scan *s, bool *wanted, struct err *err)
{
    (void)err;
    *wanted = s->ready || may_hold(ctx, s);
    return 0;
}

int worker_metrics(void *self, const struct query_source *source,
                   const struct query_metrics *metrics, uint64_t deadline_mono_ns, struct arena *a,
                   struct query_metrics_result *out, struct err *err)
{
    struct metrics_job job = {.query = metrics};
    const struct scan_visit visit = {.begin = metrics_begin, .batch = metrics_batch, .ctx = &job};
    *out = (struct query_metrics_result){0};
    int rc = traceql_eval_new(metrics->query, a, &job.eval, err);
    if (rc == 0 && traceql_metrics_compares(metrics->query)) {
        rc = traceql_compare_filter(metrics->query, a, &job.filter, err);
        rc = rc < 0 ? rc : traceql_eval_new(job.filter, a, &job.compare, err);
    }
    if (rc == 0)
        rc = traceql_metrics_new(metrics->query, &metrics->grid, metrics->exemplars, a,
                                 &job.metrics, err);
    if (rc == 0)
        rc = scan_source(self, source, &visit, deadline_mono_ns, &out->stats, err);
    out->metrics = job.metrics;
    out->inspected_bytes = out->stats.bytes_read;
    out->inspected_spans = out->stats.spans;
    return rc;
}
