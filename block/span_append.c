/* One batch behind another, for merging a trace's parts. */
#include "block/span.h"

static struct range shifted(struct range r, uint32_t by)
{
    r.first += by;
    return r;
}

static void shift_value(struct value *v, uint32_t values, uint32_t attrs)
{
    if (v->type == VALUE_ARRAY)
        v->list.first += values;
    else if (v->type == VALUE_KVLIST)
        v->list.first += attrs;
}

bool span_batch_append(struct span_batch *dst, const struct span_batch *src)
{
    if (!vec_reserve(&dst->resources, src->resources.count) ||
        !vec_reserve(&dst->scopes, src->scopes.count) ||
        !vec_reserve(&dst->spans, src->spans.count) ||
        !vec_reserve(&dst->events, src->events.count) ||
        !vec_reserve(&dst->links, src->links.count) ||
        !vec_reserve(&dst->attrs, src->attrs.count) ||
        !vec_reserve(&dst->values, src->values.count))
        return false;
    const uint32_t resources = dst->resources.count, scopes = dst->scopes.count,
                   spans = dst->spans.count, events = dst->events.count, links = dst->links.count,
                   attrs = dst->attrs.count, values = dst->values.count;
    for (uint32_t i = 0; i < src->resources.count; i++) {
        struct resource r = src->resources.at[i];
        r.attrs = shifted(r.attrs, attrs);
        r.scopes = shifted(r.scopes, scopes);
        r.fragment += dst->fragments;
        dst->resources.at[dst->resources.count++] = r;
    }
    for (uint32_t i = 0; i < src->scopes.count; i++) {
        struct scope s = src->scopes.at[i];
        s.resource += resources;
        s.attrs = shifted(s.attrs, attrs);
        s.spans = shifted(s.spans, spans);
        dst->scopes.at[dst->scopes.count++] = s;
    }
    for (uint32_t i = 0; i < src->spans.count; i++) {
        struct span s = src->spans.at[i];
        s.scope += scopes;
        s.attrs = shifted(s.attrs, attrs);
        s.events = shifted(s.events, events);
        s.links = shifted(s.links, links);
        dst->spans.at[dst->spans.count++] = s;
    }
    for (uint32_t i = 0; i < src->events.count; i++) {
        struct event e = src->events.at[i];
        e.attrs = shifted(e.attrs, attrs);
        dst->events.at[dst->events.count++] = e;
    }
    for (uint32_t i = 0; i < src->links.count; i++) {
        struct link l = src->links.at[i];
        l.attrs = shifted(l.attrs, attrs);
        dst->links.at[dst->links.count++] = l;
    }
    for (uint32_t i = 0; i < src->attrs.count; i++) {
        struct attr a = src->attrs.at[i];
        shift_value(&a.value, values, attrs);
        dst->attrs.at[dst->attrs.count++] = a;
    }
    for (uint32_t i = 0; i < src->values.count; i++) {
        struct value v = src->values.at[i];
        shift_value(&v, values, attrs);
        dst->values.at[dst->values.count++] = v;
    }
    dst->fragments += src->fragments;
    dst->fragment_resources = dst->resources.count;
    return true;
}
