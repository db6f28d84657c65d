/* One batch, or some of its spans, behind another, for merging a trace's parts. */
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

/* ---- some spans ---- */

static bool copy_attrs(struct span_batch *dst, const struct span_batch *src, struct range from,
                       struct range *out);

/* As deep as the decoder that made src allowed. */
static bool copy_value(struct span_batch *dst, const struct span_batch *src, struct value from,
                       struct value *out)
{
    *out = from;
    if (from.type == VALUE_KVLIST)
        return copy_attrs(dst, src, from.list, &out->list);
    if (from.type != VALUE_ARRAY)
        return true;
    if (!vec_reserve(&dst->values, from.list.count))
        return false;
    uint32_t first = dst->values.count;
    dst->values.count += from.list.count;
    for (uint32_t i = 0; i < from.list.count; i++)
        dst->values.at[first + i] = (struct value){.type = VALUE_NONE};
    for (uint32_t i = 0; i < from.list.count; i++) {
        struct value v;
        if (!copy_value(dst, src, src->values.at[from.list.first + i], &v))
            return false;
        dst->values.at[first + i] = v;
    }
    out->list = (struct range){first, from.list.count};
    return true;
}

static bool copy_attrs(struct span_batch *dst, const struct span_batch *src, struct range from,
                       struct range *out)
{
    if (!vec_reserve(&dst->attrs, from.count))
        return false;
    uint32_t first = dst->attrs.count;
    dst->attrs.count += from.count;
    for (uint32_t i = 0; i < from.count; i++)
        dst->attrs.at[first + i] = src->attrs.at[from.first + i];
    for (uint32_t i = 0; i < from.count; i++) {
        struct value v;
        if (!copy_value(dst, src, src->attrs.at[from.first + i].value, &v))
            return false;
        dst->attrs.at[first + i].value = v;
    }
    *out = (struct range){first, from.count};
    return true;
}

static bool copy_resource(struct span_batch *dst, const struct span_batch *src, uint32_t number)
{
    struct resource r = src->resources.at[number];
    r.scopes = (struct range){dst->scopes.count, 0};
    r.fragment = dst->fragments;
    return copy_attrs(dst, src, r.attrs, &r.attrs) && vec_push(&dst->resources, r);
}

static bool copy_scope(struct span_batch *dst, const struct span_batch *src, uint32_t number)
{
    struct scope s = src->scopes.at[number];
    s.resource = dst->resources.count - 1;
    s.spans = (struct range){dst->spans.count, 0};
    if (!copy_attrs(dst, src, s.attrs, &s.attrs) || !vec_push(&dst->scopes, s))
        return false;
    dst->resources.at[s.resource].scopes.count++;
    return true;
}

static bool copy_span(struct span_batch *dst, const struct span_batch *src, uint32_t number)
{
    struct span s = src->spans.at[number];
    s.scope = dst->scopes.count - 1;
    const struct range events = s.events, links = s.links;
    s.events.first = dst->events.count;
    s.links.first = dst->links.count;
    if (!copy_attrs(dst, src, s.attrs, &s.attrs))
        return false;
    for (uint32_t i = 0; i < events.count; i++) {
        struct event e = src->events.at[events.first + i];
        if (!copy_attrs(dst, src, e.attrs, &e.attrs) || !vec_push(&dst->events, e))
            return false;
    }
    for (uint32_t i = 0; i < links.count; i++) {
        struct link l = src->links.at[links.first + i];
        if (!copy_attrs(dst, src, l.attrs, &l.attrs) || !vec_push(&dst->links, l))
            return false;
    }
    dst->scopes.at[s.scope].spans.count++;
    return vec_push(&dst->spans, s);
}

bool span_batch_append_spans(struct span_batch *dst, const struct span_batch *src,
                             const uint32_t *spans, uint32_t count)
{
    uint32_t scope = UINT32_MAX, resource = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t of = src->spans.at[spans[i]].scope;
        if (of != scope && src->scopes.at[of].resource != resource) {
            resource = src->scopes.at[of].resource;
            if (!copy_resource(dst, src, resource))
                return false;
        }
        if (of != scope && !copy_scope(dst, src, of))
            return false;
        scope = of;
        if (!copy_span(dst, src, spans[i]))
            return false;
    }
    return true;
}
