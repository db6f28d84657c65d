/* Search results, tags and values; members of answers. */
#include "rubato/query_show.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "rubato/query_table.h"

/* ---- members ---- */

struct slice json_text(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(v) ? slice_cstr(v->valuestring) : SLICE("");
}

uint64_t json_count(const cJSON *object, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    uint64_t n = 0;
    if (cJSON_IsString(v))
        return parse_u64(slice_cstr(v->valuestring), &n) ? n : 0;
    return cJSON_IsNumber(v) && v->valuedouble > 0 && v->valuedouble < 1.8e19
               ? (uint64_t)v->valuedouble
               : 0;
}

static int array_value(const cJSON *values, struct buf *out)
{
    const cJSON *v;
    const char *sep = "";
    int rc = buf_str(out, "[");
    cJSON_ArrayForEach(v, values)
    {
        rc = rc < 0 ? rc : buf_str(out, sep);
        if (rc == 0 && cJSON_GetObjectItemCaseSensitive(v, "arrayValue"))
            rc = buf_str(out, "[…]"); /* as deep as this goes */
        else
            rc = rc < 0 ? rc : json_any_value(v, true, out);
        sep = ", ";
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

int json_any_value(const cJSON *value, bool quoted, struct buf *out)
{
    const cJSON *v = value ? value->child : NULL;
    char text[40];
    if (!v || !v->string)
        return buf_str(out, "nil");
    if (strcmp(v->string, "arrayValue") == 0)
        return array_value(cJSON_GetObjectItemCaseSensitive(v, "values"), out);
    if (cJSON_IsString(v) && quoted && strcmp(v->string, "stringValue") == 0)
        return buf_printf(out, "\"%s\"", v->valuestring);
    if (cJSON_IsString(v))
        return buf_str(out, v->valuestring);
    if (cJSON_IsBool(v))
        return buf_str(out, cJSON_IsTrue(v) ? "true" : "false");
    if (!cJSON_IsNumber(v))
        return buf_str(out, "{…}");
    format_f64_json(v->valuedouble, text);
    return buf_str(out, text);
}

/* ---- times ---- */

void short_duration(uint64_t ns, char out[40])
{
    static const struct {
        uint64_t from, grain;
    } grains[] = {{60 * NS_PER_S, 100 * NS_PER_MS},
                  {10 * NS_PER_S, 10 * NS_PER_MS},
                  {NS_PER_S, NS_PER_MS},
                  {10 * NS_PER_MS, 10000},
                  {NS_PER_MS, 1000},
                  {1000, 10}};
    for (size_t i = 0; i < sizeof grains / sizeof grains[0]; i++) {
        uint64_t g = grains[i].grain;
        if (ns >= grains[i].from && ns < INT64_MAX / 2) {
            ns = (ns + g / 2) / g * g;
            break;
        }
    }
    format_duration(ns > INT64_MAX ? INT64_MAX : (int64_t)ns, out);
}

void short_time(uint64_t unix_ns, char out[40])
{
    time_t s = (time_t)(unix_ns / NS_PER_S);
    struct tm tm;
    char text[24];
    if (unix_ns == 0 || !gmtime_r(&s, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(out, 40, "?");
    else
        snprintf(out, 40, "%s.%03uZ", text, (unsigned)(unix_ns % NS_PER_S / NS_PER_MS));
}

/* ---- search ---- */

static int done(struct table *t, int rc, struct err *err)
{
    table_clear(t);
    return rc < 0 ? err_set(err, rc, "the answer is too large to be shown; try --json") : 0;
}

static uint64_t spans_matched(const cJSON *trace)
{
    const cJSON *sets = cJSON_GetObjectItemCaseSensitive(trace, "spanSets"), *s;
    uint64_t sum = 0;
    cJSON_ArrayForEach(s, sets)
    {
        sum += json_count(s, "matched");
    }
    return sum;
}

static int search_end(const cJSON *answer, uint32_t traces, struct buf *out)
{
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(answer, "metrics");
    uint64_t done_jobs = json_count(m, "completedJobs"), all = json_count(m, "totalJobs");
    int rc = traces == 0 ? buf_str(out, "no traces")
                         : buf_printf(out, "%u trace%s", traces, traces == 1 ? "" : "s");
    rc = rc < 0 ? rc
                : buf_printf(out, ", %.1f MB inspected",
                             (double)json_count(m, "inspectedBytes") / 1e6);
    /* Jobs are left out when there are as many traces as --limit wants. */
    if (rc == 0 && done_jobs < all)
        rc = buf_printf(out, ", %llu of %llu jobs: there may be more (--limit)",
                        (unsigned long long)done_jobs, (unsigned long long)all);
    return rc < 0 ? rc : buf_u8(out, '\n');
}

int query_show_search(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                      struct buf *out, struct err *err)
{
    static const char *const heads[] = {"TRACE ID", "ROOT SERVICE", "ROOT NAME",
                                        "START",    "DURATION",     "SPANS"};
    const cJSON *traces = cJSON_GetObjectItemCaseSensitive(answer, "traces"), *t;
    struct table table;
    char text[40];
    table_init(&table, a, heads, 6, 1 << 4 | 1 << 5);
    cJSON_ArrayForEach(t, traces)
    {
        table_cell(&table, json_text(t, "traceID"));
        table_cell(&table, json_text(t, "rootServiceName"));
        table_cell(&table, json_text(t, "rootTraceName"));
        short_time(json_count(t, "startTimeUnixNano"), text);
        table_cell(&table, slice_cstr(text));
        uint64_t ms = json_count(t, "durationMs");
        short_duration(ms < UINT32_MAX ? ms * NS_PER_MS : UINT64_MAX, text);
        table_cell(&table, ms ? slice_cstr(text) : SLICE("<1ms"));
        table_printf(&table, "%llu", (unsigned long long)spans_matched(t));
    }
    uint32_t rows = table_rows(&table);
    int rc = rows ? table_print(&table, screen->colour, out) : 0;
    rc = rc < 0 ? rc : search_end(answer, rows, out);
    return done(&table, rc, err);
}

/* ---- tags ---- */

/* As TraceQL writes it: resource.service.name, span."a b". */
static int put_tag(const char *scope, const char *tag, struct buf *out)
{
    bool bare = strcmp(scope, "intrinsic") == 0;
    int rc = bare ? 0 : buf_printf(out, "%s.", scope);
    if (rc < 0 || bare || !tag[strcspn(tag, " \t\r\n{}()=~!<>&|^,\"`\\")])
        return rc < 0 ? rc : buf_str(out, tag);
    rc = buf_u8(out, '"');
    for (; *tag && rc == 0; tag++) {
        rc = *tag == '"' || *tag == '\\' ? buf_u8(out, '\\') : 0;
        rc = rc < 0 ? rc : buf_u8(out, (uint8_t)*tag);
    }
    return rc < 0 ? rc : buf_u8(out, '"');
}

int query_show_tags(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                    struct buf *out, struct err *err)
{
    const cJSON *scopes = cJSON_GetObjectItemCaseSensitive(answer, "scopes"), *s, *tag;
    struct buf line;
    int rc = 0;
    (void)screen;
    (void)a;
    buf_init(&line, (size_t)1 << 20);
    cJSON_ArrayForEach(s, scopes)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(s, "name");
        cJSON_ArrayForEach(tag, cJSON_GetObjectItemCaseSensitive(s, "tags"))
        {
            if (rc < 0 || !cJSON_IsString(name) || !cJSON_IsString(tag))
                continue;
            buf_reset(&line);
            rc = put_tag(name->valuestring, tag->valuestring, &line);
            rc = rc < 0 ? rc : text_put_printable(out, buf_view(&line));
            rc = rc < 0 ? rc : buf_u8(out, '\n');
        }
    }
    buf_clear(&line);
    return rc < 0 ? err_set(err, rc, "the answer is too large to be shown; try --json") : 0;
}

int query_show_values(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                      struct buf *out, struct err *err)
{
    static const char *const heads[] = {"TYPE", "VALUE"};
    const cJSON *v;
    struct table table;
    table_init(&table, a, heads, 2, 0);
    cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive(answer, "tagValues"))
    {
        table_cell(&table, json_text(v, "type"));
        table_cell(&table, json_text(v, "value"));
    }
    int rc =
        table_rows(&table) ? table_print(&table, screen->colour, out) : buf_str(out, "no values\n");
    return done(&table, rc, err);
}
