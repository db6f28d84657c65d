/* Tags as Tempo's protobuf JSON. */
#include "base/text.h"
#include "frontend/tags_priv.h"

const char *const tags_intrinsics[] = {
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "link:spanID",
    "link:traceID",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
};
const struct tags_scope tags_scopes[TAGS_SCOPES] = {
    {"event", TRACEQL_LEVEL_EVENT},       {"instrumentation", TRACEQL_LEVEL_SCOPE},
    {"intrinsic", TRACEQL_LEVELS},        {"link", TRACEQL_LEVEL_LINK},
    {"resource", TRACEQL_LEVEL_RESOURCE}, {"span", TRACEQL_LEVEL_SPAN},
};

const size_t tags_intrinsic_count = sizeof tags_intrinsics / sizeof tags_intrinsics[0];

/* The end of every answer; zeros are left out. */
static int metrics_json(const struct tags_metrics *m, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
        bool quoted;
    } fields[] = {{"inspectedBytes", m->inspected_bytes, true},
                  {"totalJobs", m->total_jobs, false},
                  {"completedJobs", m->completed_jobs, false},
                  {"totalBlocks", m->total_blocks, false},
                  {"totalBlockBytes", m->total_block_bytes, true}};
    const char *sep = "";
    int rc = buf_str(out, "],\"metrics\":{");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && rc == 0; i++) {
        if (fields[i].value == 0)
            continue;
        const char *quote = fields[i].quoted ? "\"" : "";
        rc = buf_printf(out, "%s\"%s\":%s%llu%s", sep, fields[i].name, quote,
                        (unsigned long long)fields[i].value, quote);
        sep = ",";
    }
    if (rc == 0 && m->truncated)
        rc = buf_printf(out, "%s\"truncated\":\"%s\"", sep, m->truncated);
    return rc < 0 ? rc : buf_str(out, "}}");
}

/* A value's text as a JSON string. */
static int text_json(const struct traceql_value *v, struct buf *out)
{
    if (v->type == TRACEQL_STRING)
        return buf_json_string(out, v->str);
    struct buf text;
    buf_init(&text, 128);
    int rc = query_tag_text(v, &text);
    rc = rc < 0 ? rc : buf_json_string(out, buf_view(&text));
    buf_clear(&text);
    return rc;
}

static int texts_json(const struct tag_set *set, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; i < set->tags.count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : text_json(&set->tags.at[i].value, out);
    }
    return rc;
}

int tags_json_names(const struct tag_set *set, const struct tags_metrics *m, struct buf *out)
{
    int rc = buf_str(out, "{\"tagNames\":[");
    rc = rc < 0 ? rc : texts_json(set, out);
    return rc < 0 ? rc : metrics_json(m, out);
}

static int intrinsics_json(struct buf *out)
{
    int rc = buf_str(out, "{\"name\":\"intrinsic\",\"tags\":[");
    for (size_t i = 0; i < tags_intrinsic_count && rc == 0; i++)
        rc = buf_printf(out, "%s\"%s\"", i ? "," : "", tags_intrinsics[i]);
    return rc < 0 ? rc : buf_str(out, "]}");
}

static int scope_json(const struct tag_set *set, enum traceql_level level, const char *name,
                      const char **sep, struct buf *out)
{
    const char *open = "";
    int rc = 0;
    for (uint32_t i = 0; i < set->tags.count && rc == 0; i++) {
        if (set->tags.at[i].level != level)
            continue;
        rc = *open ? buf_str(out, open)
                   : buf_printf(out, "%s{\"name\":\"%s\",\"tags\":[", *sep, name);
        rc = rc < 0 ? rc : text_json(&set->tags.at[i].value, out);
        open = ",";
    }
    if (rc == 0 && *open) {
        rc = buf_str(out, "]}");
        *sep = ",";
    }
    return rc;
}

int tags_json_scopes(const struct tag_set *set, bool intrinsics, const struct tags_metrics *m,
                     struct buf *out)
{
    const char *sep = "";
    int rc = buf_str(out, "{\"scopes\":[");
    for (size_t i = 0; i < TAGS_SCOPES && rc == 0; i++) {
        if (tags_scopes[i].level != TRACEQL_LEVELS) {
            rc = scope_json(set, tags_scopes[i].level, tags_scopes[i].name, &sep, out);
        } else if (intrinsics) {
            rc = buf_str(out, sep);
            rc = rc < 0 ? rc : intrinsics_json(out);
            sep = ",";
        }
    }
    return rc < 0 ? rc : metrics_json(m, out);
}

static int typed_json(const struct traceql_value *v, struct buf *out)
{
    int rc = buf_printf(out, "{\"type\":\"%s\"", query_tag_type(v->type));
    if (rc == 0 && (v->type != TRACEQL_STRING || v->str.len)) { /* "" is left out */
        rc = buf_str(out, ",\"value\":");
        rc = rc < 0 ? rc : text_json(v, out);
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

int tags_json_values(const struct tag_set *set, bool typed, const struct tags_metrics *m,
                     struct buf *out)
{
    int rc = buf_str(out, "{\"tagValues\":[");
    if (!typed)
        rc = rc < 0 ? rc : texts_json(set, out);
    for (uint32_t i = 0; typed && i < set->tags.count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : typed_json(&set->tags.at[i].value, out);
    }
    return rc < 0 ? rc : metrics_json(m, out);
}
