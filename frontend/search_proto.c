/* Search results as tempopb.SearchResponse. */
#include "frontend/search_priv.h"

static void put_attrs(struct proto_writer *w, uint32_t number, const struct query_attr *attrs,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        key_value_proto(w, number, attrs[i].key, attrs[i].values, attrs[i].count);
}

static void put_span(struct proto_writer *w, uint32_t number, const struct query_span *s)
{
    char id[16];
    size_t begun = proto_begin(w, number);
    search_span_id(s, id);
    proto_put_bytes(w, 1, slice_of(id, sizeof id));
    if (s->name.len)
        proto_put_bytes(w, 2, s->name);
    proto_put_u64(w, 3, s->start_unix_ns);
    proto_put_u64(w, 4, s->duration_ns);
    put_attrs(w, 5, s->attrs, s->attr_count);
    proto_end(w, begun);
}

static void put_set(struct proto_writer *w, uint32_t number, const struct query_spanset *set)
{
    size_t begun = proto_begin(w, number);
    for (uint32_t i = 0; i < set->span_count; i++)
        put_span(w, 1, &set->spans[i]);
    proto_put_u64(w, 2, set->matched);
    put_attrs(w, 3, set->attrs, set->attr_count);
    proto_end(w, begun);
}

static void put_service(struct proto_writer *w, uint32_t number, const struct query_service *s)
{
    size_t entry = proto_begin(w, number);
    proto_put_bytes(w, 1, s->name);
    size_t stats = proto_begin(w, 2);
    proto_put_u64(w, 1, s->span_count);
    proto_put_u64(w, 2, s->error_count);
    proto_end(w, stats);
    proto_end(w, entry);
}

static void put_trace(struct proto_writer *w, uint32_t number, const struct query_trace *t,
                      bool legacy)
{
    char id[32];
    size_t begun = proto_begin(w, number);
    proto_put_bytes(w, 1, search_trace_id(t, id));
    proto_put_bytes(w, 2, search_root_service(t));
    if (t->root_name.len)
        proto_put_bytes(w, 3, t->root_name);
    proto_put_u64(w, 4, t->start_unix_ns);
    proto_put_u64(w, 5, (uint32_t)(t->duration_ns / NS_PER_MS));
    if (!legacy) {
        if (t->set_count)
            put_set(w, 6, &t->sets[0]); /* deprecated copy of the first */
        for (uint32_t i = 0; i < t->set_count; i++)
            put_set(w, 7, &t->sets[i]);
        search_sort_services(t);
        for (uint32_t i = 0; i < t->service_count; i++)
            put_service(w, 8, &t->services[i]);
    }
    proto_end(w, begun);
}

void search_proto(struct packets *p, const struct query_trace *traces, uint32_t count, bool legacy)
{
    for (uint32_t i = 0; i < count; i++) {
        packets_item(p);
        put_trace(&p->w, 1, &traces[i], legacy);
    }
}
