/* What a query did, as JSON that people read: the plan, the sums, and each job that ran. */
#include "frontend/explain.h"

#include "base/text.h"
#include "frontend/frontend_limits.h"

bool explain_wanted(struct query *q)
{
    struct slice text;
    return query_param(q, "explain", &text) &&
           (slice_eq(text, SLICE("true")) || slice_eq(text, SLICE("1")));
}

/* ---- the plan ---- */

static const char *level_name(enum traceql_level level)
{
    static const char *const names[TRACEQL_LEVELS] = {
        [TRACEQL_LEVEL_TRACE] = "trace",           [TRACEQL_LEVEL_RESOURCE] = "resource",
        [TRACEQL_LEVEL_SCOPE] = "instrumentation", [TRACEQL_LEVEL_SPAN] = "span",
        [TRACEQL_LEVEL_EVENT] = "event",           [TRACEQL_LEVEL_LINK] = "link",
    };
    return (unsigned)level < TRACEQL_LEVELS ? names[level] : "?";
}

/* "span.http.status_code = 503", "resource.x" for any value of it, "name" for an intrinsic. */
static int condition_text(const struct traceql_query *q, const struct traceql_condition *c,
                          struct buf *out)
{
    const struct traceql_field *f = traceql_field_at(q, c->field);
    int rc = 0;
    if (f->intrinsic == TRACEQL_ATTRIBUTE)
        rc = buf_printf(out, "%s.", level_name(f->level));
    rc = rc < 0 ? rc : buf_slice(out, f->name);
    if (rc < 0 || c->op == TRACEQL_OP_NONE)
        return rc;
    rc = buf_printf(out, " %s ", traceql_op_text(c->op));
    return rc < 0 ? rc : traceql_value_print(&c->literal, out);
}

static int conditions_json(const struct traceql_query *q, struct buf *out)
{
    int rc = buf_str(out, ",\"conditions\":[");
    for (size_t i = 0; i < traceql_condition_count(q) && rc == 0; i++) {
        struct buf text;
        buf_init(&text, LIMIT_PARAM_BYTES);
        rc = condition_text(q, traceql_condition_at(q, i), &text);
        rc = rc < 0 || i == 0 ? rc : buf_str(out, ",");
        rc = rc < 0 ? rc : buf_json_string(out, buf_view(&text));
        buf_clear(&text);
    }
    return rc < 0 ? rc
                  : buf_printf(out, "],\"allConditions\":%s",
                               traceql_query_needs_all(q) ? "true" : "false");
}

static int plan_json(const struct traceql_query *q, struct buf *out)
{
    struct buf text;
    buf_init(&text, LIMIT_PARAM_BYTES);
    int rc = traceql_query_print(q, &text);
    rc = rc < 0 ? rc : buf_str(out, "\"query\":");
    rc = rc < 0 ? rc : buf_json_string(out, buf_view(&text));
    rc = rc < 0 ? rc : conditions_json(q, out);
    buf_clear(&text);
    return rc;
}

/* ---- what was done ---- */

static int pair_json(const char *name, uint64_t read, uint64_t skipped, struct buf *out)
{
    return buf_printf(out, ",\"%s\":{\"read\":%llu,\"skipped\":%llu}", name,
                      (unsigned long long)read, (unsigned long long)skipped);
}

/* Follows other fields. */
static int stats_json(const struct query_stats *s, struct buf *out)
{
    int rc = pair_json("rowGroups", s->row_groups, s->row_groups_skipped, out);
    rc = rc < 0 ? rc : pair_json("spans", s->spans, s->spans_skipped, out);
    rc = rc < 0 ? rc : pair_json("pages", s->pages, s->pages_skipped, out);
    rc = rc < 0 ? rc : pair_json("bytes", s->bytes_read, s->bytes_skipped, out);
    rc = rc < 0 ? rc
                : buf_printf(out, ",\"traces\":%llu,\"columnChunks\":%u,\"requests\":%llu",
                             (unsigned long long)s->traces, s->columns,
                             (unsigned long long)s->requests);
    rc = rc < 0 ? rc : buf_str(out, ",\"milliseconds\":{");
    const char *sep = "";
    for (int i = 0; i < QUERY_STEPS && rc == 0; i++) {
        if (s->step_ns[i] == 0)
            continue;
        rc = buf_printf(out, "%s\"%s\":%.3f", sep, query_step_name((enum query_step)i),
                        (double)s->step_ns[i] / NS_PER_MS);
        sep = ",";
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

static int source_json(const struct query_source *s, struct buf *out)
{
    char id[37];
    if (!s->block)
        return buf_printf(out, "\"live\":true,\"sections\":%zu",
                          s->view ? s->view->section_count : 0);
    uuid_format(s->block->meta.id, id);
    return buf_printf(out, "\"block\":\"%s\",\"blockBytes\":%llu", id,
                      (unsigned long long)s->block->meta.size);
}

static int jobs_json(const struct explain_job *jobs, size_t count, struct buf *out)
{
    const char *sep = "";
    size_t shown = 0;
    int rc = buf_str(out, ",\"jobs\":[");
    for (size_t i = 0; i < count && rc == 0 && shown < LIMIT_EXPLAIN_JOBS; i++) {
        if (!jobs[i].ran)
            continue;
        rc = buf_printf(out, "%s{", sep);
        rc = rc < 0 ? rc : source_json(jobs[i].source, out);
        rc = rc < 0 ? rc : buf_printf(out, ",\"took\":%.3f", (double)jobs[i].ns / NS_PER_MS);
        rc = rc < 0 ? rc : stats_json(&jobs[i].stats, out);
        rc = rc < 0 ? rc : buf_str(out, "}");
        sep = ",";
        shown++;
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

int explain_json(const struct traceql_query *query, const struct explain_job *jobs, size_t count,
                 size_t blocks_left_out, struct buf *out)
{
    struct query_stats total = {0};
    size_t ran = 0;
    for (size_t i = 0; i < count; i++) {
        if (!jobs[i].ran)
            continue;
        query_stats_add(&total, &jobs[i].stats);
        ran++;
    }
    int rc = buf_str(out, ",\"explain\":{");
    rc = rc < 0 ? rc : plan_json(query, out);
    rc = rc < 0 ? rc
                : buf_printf(out,
                             ",\"blocksOutsideOfTime\":%zu,\"jobsRun\":%zu,\"jobsNotNeeded\":%zu,"
                             "\"total\":{\"sources\":%zu",
                             blocks_left_out, ran, count - ran, ran);
    rc = rc < 0 ? rc : stats_json(&total, out);
    rc = rc < 0 ? rc : buf_str(out, "}");
    rc = rc < 0 ? rc : jobs_json(jobs, count, out);
    return rc < 0 ? rc : buf_str(out, "}");
}
