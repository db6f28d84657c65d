/* Series as tempopb.QueryRangeResponse or QueryInstantResponse. Field 3 of a series, promLabels, is
 * left out, as over HTTP. */
#include <math.h>

#include "frontend/metrics_priv.h"

static void put_labels(struct proto_writer *w, const struct traceql_label *labels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        key_value_proto(w, 1, labels[i].name, &labels[i].value, 1);
}

/* Left out when zero, of either sign, as over HTTP. */
static void put_number(struct proto_writer *w, uint32_t number, double v)
{
    if (v != 0)
        proto_put_f64(w, number, v);
}

static void put_samples(struct proto_writer *w, const struct traceql_series *s,
                        const struct traceql_metrics_grid *g)
{
    for (uint32_t i = 0; i < g->intervals; i++) {
        if (isnan(s->values[i]))
            continue;
        int64_t ms = (g->after_ns + (int64_t)(i + UINT64_C(1)) * g->step_ns) / (int64_t)NS_PER_MS;
        size_t sample = proto_begin(w, 2);
        put_number(w, 1, s->values[i]);
        proto_put_u64(w, 2, (uint64_t)ms);
        proto_end(w, sample);
    }
}

static void put_exemplars(struct proto_writer *w, const struct traceql_series *s)
{
    for (uint32_t i = 0; i < s->exemplar_count; i++) {
        const struct traceql_exemplar *e = &s->exemplars[i];
        size_t exemplar = proto_begin(w, 4);
        put_labels(w, e->labels, e->label_count);
        put_number(w, 2, e->value);
        proto_put_u64(w, 3, (uint64_t)(e->start_ns / (int64_t)NS_PER_MS));
        proto_end(w, exemplar);
    }
}

void metrics_proto(struct packets *p, const struct traceql_series *series, uint32_t count,
                   const struct metrics_params *params)
{
    for (uint32_t i = 0; i < count; i++) {
        packets_item(p);
        size_t begun = proto_begin(&p->w, 1);
        put_labels(&p->w, series[i].labels, series[i].label_count);
        if (params->instant) {
            put_number(&p->w, 2, series[i].values[0]);
        } else {
            put_samples(&p->w, &series[i], &params->grid);
            put_exemplars(&p->w, &series[i]);
        }
        proto_end(&p->w, begun);
    }
}
