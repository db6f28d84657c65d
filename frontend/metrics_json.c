/* Series as Tempo's protobuf JSON. There is no promLabels: 3.0's clients refuse it, 2.7's do not
 * need it. */
#include <math.h>

#include "base/text.h"
#include "frontend/metrics_priv.h"

static int any_value(const struct traceql_value *v, struct buf *out)
{
    char text[40];
    const char *word;
    switch (v->type) {
    case TRACEQL_INT:
        return buf_printf(out, "{\"intValue\":\"%lld\"}", (long long)v->i64);
    case TRACEQL_FLOAT:
        format_f64_json(v->f64, text);
        return buf_printf(
            out, isfinite(v->f64) ? "{\"doubleValue\":%s}" : "{\"doubleValue\":\"%s\"}", text);
    case TRACEQL_BOOL:
        return buf_printf(out, "{\"boolValue\":%s}", v->b ? "true" : "false");
    case TRACEQL_DURATION:
        format_duration(v->i64, text);
        return buf_printf(out, "{\"stringValue\":\"%s\"}", text);
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        word = traceql_value_word(v);
        return word ? buf_printf(out, "{\"stringValue\":\"%s\"}", word)
                    : buf_printf(out, "{\"stringValue\":\"%lld\"}", (long long)v->i64);
    case TRACEQL_NIL:
        return buf_str(out, "{\"stringValue\":\"nil\"}");
    case TRACEQL_STRING:
        break;
    }
    int rc = buf_str(out, "{\"stringValue\":");
    rc = rc < 0 ? rc : buf_json_string(out, v->str);
    return rc < 0 ? rc : buf_str(out, "}");
}

static int labels_json(const struct traceql_label *labels, uint32_t count, struct buf *out)
{
    int rc = buf_str(out, "\"labels\":[");
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = buf_str(out, i ? ",{\"key\":" : "{\"key\":");
        rc = rc < 0 ? rc : buf_json_string(out, labels[i].name);
        rc = rc < 0 ? rc : buf_str(out, ",\"value\":");
        rc = rc < 0 ? rc : any_value(&labels[i].value, out);
        rc = rc < 0 ? rc : buf_str(out, "}");
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

/* ,"value":x, nothing for zero. */
static int value_json(double v, struct buf *out)
{
    char text[40];
    if (v == 0)
        return 0;
    format_f64_json(v, text);
    return buf_printf(out, isfinite(v) ? ",\"value\":%s" : ",\"value\":\"%s\"", text);
}

static int samples_json(const struct traceql_series *s, const struct traceql_metrics_grid *g,
                        struct buf *out)
{
    const char *sep = "";
    int rc = buf_str(out, ",\"samples\":[");
    for (uint32_t i = 0; i < g->intervals && rc == 0; i++) {
        if (isnan(s->values[i]))
            continue;
        int64_t ms = (g->after_ns + (int64_t)(i + UINT64_C(1)) * g->step_ns) / 1000000;
        rc = ms ? buf_printf(out, "%s{\"timestampMs\":\"%lld\"", sep, (long long)ms)
                : buf_printf(out, "%s{\"timestampMs\":\"0\"", sep);
        rc = rc < 0 ? rc : value_json(s->values[i], out);
        rc = rc < 0 ? rc : buf_str(out, "}");
        sep = ",";
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

static int exemplars_json(const struct traceql_series *s, struct buf *out)
{
    if (s->exemplar_count == 0)
        return 0;
    int rc = buf_str(out, ",\"exemplars\":[");
    for (uint32_t i = 0; i < s->exemplar_count && rc == 0; i++) {
        const struct traceql_exemplar *e = &s->exemplars[i];
        rc = buf_str(out, i ? ",{" : "{");
        rc = rc < 0 ? rc : labels_json(e->labels, e->label_count, out);
        rc = rc < 0 ? rc : value_json(e->value, out);
        rc = rc < 0 ? rc
                    : buf_printf(out, ",\"timestampMs\":\"%lld\"}",
                                 (long long)(e->start_ns / 1000000));
    }
    return rc < 0 ? rc : buf_str(out, "]");
}

int metrics_json(const struct traceql_series *series, uint32_t count,
                 const struct metrics_params *p, struct buf *out)
{
    int rc = buf_str(out, "[");
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = buf_str(out, i ? ",{" : "{");
        rc = rc < 0 ? rc : labels_json(series[i].labels, series[i].label_count, out);
        if (rc == 0 && p->instant)
            rc = value_json(series[i].values[0], out);
        else if (rc == 0)
            rc = samples_json(&series[i], &p->grid, out);
        rc = rc < 0 ? rc : exemplars_json(&series[i], out);
        rc = rc < 0 ? rc : buf_str(out, "}");
    }
    return rc < 0 ? rc : buf_str(out, "]");
}
