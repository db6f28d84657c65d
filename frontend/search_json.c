/* Search results as Tempo's protobuf JSON. */
#include <stdlib.h>

#include "base/text.h"
#include "frontend/search_priv.h"

struct slice search_trace_id(const struct query_trace *t, char hex[32])
{
    hex_encode(slice_of(t->id, sizeof t->id), hex);
    size_t zeros = 0;
    while (zeros < 32 && hex[zeros] == '0')
        zeros++;
    return slice_of(hex + zeros, 32 - zeros);
}

void search_span_id(const struct query_span *s, char hex[16])
{
    uint8_t id[8] = {0};
    size_t n = s->id.len < 8 ? s->id.len : 8;
    if (n)
        memcpy(id + 8 - n, s->id.ptr, n);
    hex_encode(slice_of(id, 8), hex);
}

struct slice search_root_service(const struct query_trace *t)
{
    return t->root_service.len ? t->root_service : SLICE("<root span not yet received>");
}

static int value_text(const struct traceql_value *v, struct buf *out)
{
    char text[40];
    const char *word;
    switch (v->type) {
    case TRACEQL_INT:
        return buf_printf(out, "{\"intValue\":\"%lld\"}", (long long)v->i64);
    case TRACEQL_FLOAT:
        format_f64_json(v->f64, text);
        return buf_printf(
            out, v->f64 - v->f64 == 0 ? "{\"doubleValue\":%s}" : "{\"doubleValue\":\"%s\"}", text);
    case TRACEQL_BOOL:
        return buf_printf(out, "{\"boolValue\":%s}", v->b ? "true" : "false");
    case TRACEQL_DURATION:
        format_duration(v->i64, text);
        return buf_printf(out, "{\"stringValue\":\"%s\"}", text);
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        word = traceql_value_word(v);
        if (word)
            return buf_printf(out, "{\"stringValue\":\"%s\"}", word);
        return buf_printf(out, "{\"stringValue\":\"%lld\"}", (long long)v->i64);
    case TRACEQL_NIL:
        return buf_str(out, "{\"stringValue\":\"nil\"}");
    case TRACEQL_STRING:
        break;
    }
    int rc = buf_str(out, "{\"stringValue\":");
    rc = rc < 0 ? rc : buf_json_string(out, v->str);
    return rc < 0 ? rc : buf_str(out, "}");
}

static int attr_json(const struct query_attr *a, struct buf *out)
{
    int rc = buf_str(out, "{\"key\":");
    rc = rc < 0 ? rc : buf_json_string(out, a->key);
    rc = rc < 0 ? rc : buf_str(out, ",\"value\":");
    if (rc == 0 && a->count == 1)
        rc = value_text(a->values, out);
    else if (rc == 0) {
        rc = buf_str(out, "{\"arrayValue\":{\"values\":[");
        for (uint32_t k = 0; k < a->count && rc == 0; k++) {
            rc = k ? buf_str(out, ",") : 0;
            rc = rc < 0 ? rc : value_text(&a->values[k], out);
        }
        rc = rc < 0 ? rc : buf_str(out, "]}}");
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

static int attrs_json(const struct query_attr *attrs, uint32_t count, struct buf *out)
{
    if (count == 0)
        return 0;
    int rc = buf_str(out, ",\"attributes\":[");
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : attr_json(&attrs[i], out);
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

static int span_json(const struct query_span *s, struct buf *out)
{
    char id[16];
    search_span_id(s, id);
    int rc = buf_str(out, "{\"spanID\":\"");
    rc = rc < 0 ? rc : buf_append(out, id, sizeof id);
    rc = rc < 0 ? rc : buf_str(out, "\"");
    if (rc == 0 && s->name.len) {
        rc = buf_str(out, ",\"name\":");
        rc = rc < 0 ? rc : buf_json_string(out, s->name);
    }
    if (rc == 0 && s->start_unix_ns)
        rc = buf_printf(out, ",\"startTimeUnixNano\":\"%llu\"",
                        (unsigned long long)s->start_unix_ns);
    if (rc == 0 && s->duration_ns)
        rc = buf_printf(out, ",\"durationNanos\":\"%llu\"", (unsigned long long)s->duration_ns);
    rc = rc < 0 ? rc : attrs_json(s->attrs, s->attr_count, out);
    return rc < 0 ? rc : buf_str(out, "}");
}

static int set_json(const struct query_spanset *set, struct buf *out)
{
    int rc = buf_str(out, "{\"spans\":[");
    for (uint32_t i = 0; i < set->span_count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : span_json(&set->spans[i], out);
    }
    rc = rc < 0 ? rc : buf_printf(out, "],\"matched\":%u", set->matched);
    rc = rc < 0 ? rc : attrs_json(set->attrs, set->attr_count, out);
    return rc < 0 ? rc : buf_str(out, "}");
}

static int by_name(const void *a, const void *b)
{
    return slice_cmp(((const struct query_service *)a)->name,
                     ((const struct query_service *)b)->name);
}

void search_sort_services(const struct query_trace *t)
{
    if (t->service_count)
        qsort(t->services, t->service_count, sizeof *t->services, by_name);
}

static int services_json(const struct query_trace *t, struct buf *out)
{
    if (t->service_count == 0)
        return 0;
    search_sort_services(t);
    int rc = buf_str(out, ",\"serviceStats\":{");
    for (uint32_t i = 0; i < t->service_count && rc == 0; i++) {
        const struct query_service *s = &t->services[i];
        const char *sep = "";
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : buf_json_string(out, s->name);
        rc = rc < 0 ? rc : buf_str(out, ":{");
        if (rc == 0 && s->span_count) {
            rc = buf_printf(out, "\"spanCount\":%u", s->span_count);
            sep = ",";
        }
        if (rc == 0 && s->error_count)
            rc = buf_printf(out, "%s\"errorCount\":%u", sep, s->error_count);
        rc = rc < 0 ? rc : buf_str(out, "}");
    }
    return rc < 0 ? rc : buf_str(out, "}");
}

static int sets_json(const struct query_trace *t, struct buf *out)
{
    int rc = 0;
    if (t->set_count) {
        rc = buf_str(out, ",\"spanSet\":"); /* deprecated copy of the first */
        rc = rc < 0 ? rc : set_json(&t->sets[0], out);
        rc = rc < 0 ? rc : buf_str(out, ",\"spanSets\":[");
        for (uint32_t i = 0; i < t->set_count && rc == 0; i++) {
            rc = i ? buf_str(out, ",") : 0;
            rc = rc < 0 ? rc : set_json(&t->sets[i], out);
        }
        rc = rc < 0 ? rc : buf_str(out, "]");
    }
    return rc < 0 ? rc : services_json(t, out);
}

static int trace_json(const struct query_trace *t, bool legacy, struct buf *out)
{
    char id[32];
    int rc = buf_str(out, "{\"traceID\":\"");
    rc = rc < 0 ? rc : buf_slice(out, search_trace_id(t, id));
    rc = rc < 0 ? rc : buf_str(out, "\",\"rootServiceName\":");
    rc = rc < 0 ? rc : buf_json_string(out, search_root_service(t));
    if (rc == 0 && t->root_name.len) {
        rc = buf_str(out, ",\"rootTraceName\":");
        rc = rc < 0 ? rc : buf_json_string(out, t->root_name);
    }
    if (rc == 0 && t->start_unix_ns)
        rc = buf_printf(out, ",\"startTimeUnixNano\":\"%llu\"",
                        (unsigned long long)t->start_unix_ns);
    uint64_t ms = t->duration_ns / 1000000;
    if (rc == 0 && (uint32_t)ms)
        rc = buf_printf(out, ",\"durationMs\":%u", (uint32_t)ms);
    if (rc == 0 && !legacy)
        rc = sets_json(t, out);
    return rc < 0 ? rc : buf_str(out, "}");
}

int search_json(const struct query_trace *traces, uint32_t count, bool legacy, struct buf *out)
{
    int rc = buf_str(out, "[");
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : trace_json(&traces[i], legacy, out);
    }
    return rc < 0 ? rc : buf_str(out, "]");
}
