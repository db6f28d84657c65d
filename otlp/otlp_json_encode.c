/* Spans to JSON as Tempo's query API prints it: protobuf's mapping in Go's spelling, fields in the
 * order of their declaration, ids base64 (OTLP/JSON on the way in has them in hex). */
#include "otlp/otlp.h"

#include <assert.h>

#include "base/text.h"
#include "block/value_json.h"

struct json_encoder {
    const struct span_batch *batch;
    struct buf *out;
    int rc; /* the first failure; nothing is written after it */
};

static void put(struct json_encoder *e, const char *text)
{
    if (e->rc == 0)
        e->rc = buf_str(e->out, text);
}

/* A comma, unless this is the first item: then the byte before is the bracket. */
static void next(struct json_encoder *e)
{
    if (e->rc == 0 && e->out->ptr[e->out->len - 1] != '{' && e->out->ptr[e->out->len - 1] != '[')
        e->rc = buf_u8(e->out, ',');
}

static void key(struct json_encoder *e, const char *name)
{
    next(e);
    put(e, "\"");
    put(e, name);
    put(e, "\":");
}

/* Fields that are zero or empty are left out, in all of these. */

static void put_string(struct json_encoder *e, const char *name, struct slice s)
{
    if (!s.len)
        return;
    key(e, name);
    if (e->rc == 0)
        e->rc = buf_json_string(e->out, s);
}

static void put_id(struct json_encoder *e, const char *name, struct slice id)
{
    if (!id.len)
        return;
    key(e, name);
    put(e, "\"");
    if (e->rc == 0)
        e->rc = buf_base64(e->out, id);
    put(e, "\"");
}

static void put_number(struct json_encoder *e, const char *name, uint64_t v, bool quoted)
{
    if (!v)
        return;
    char digits[24];
    char *p = digits + sizeof digits;
    *--p = 0;
    if (quoted)
        *--p = '"';
    for (; v; v /= 10)
        *--p = (char)('0' + v % 10);
    if (quoted)
        *--p = '"';
    key(e, name);
    put(e, p);
}

static void put_enum(struct json_encoder *e, const char *name, int32_t v, const char *const *names,
                     int32_t count)
{
    if (!v)
        return;
    key(e, name);
    if (v > 0 && v < count) {
        put(e, "\"");
        put(e, names[v]);
        put(e, "\"");
    } else if (e->rc == 0) {
        e->rc = buf_printf(e->out, "%d", v);
    }
}

static void put_attrs(struct json_encoder *e, struct range attrs)
{
    if (!attrs.count)
        return;
    key(e, "attributes");
    if (e->rc == 0)
        e->rc = attrs_json_write(e->batch, attrs, e->out);
}

/* ---- span ---- */

static void put_event(struct json_encoder *e, const struct event *event)
{
    next(e);
    put(e, "{");
    put_number(e, "timeUnixNano", event->time_unix_ns, true);
    put_string(e, "name", event->name);
    put_attrs(e, event->attrs);
    put_number(e, "droppedAttributesCount", event->dropped_attrs, false);
    put(e, "}");
}

static void put_link(struct json_encoder *e, const struct link *link)
{
    next(e);
    put(e, "{");
    put_id(e, "traceId", link->trace_id);
    put_id(e, "spanId", link->span_id);
    put_string(e, "traceState", link->trace_state);
    put_attrs(e, link->attrs);
    put_number(e, "droppedAttributesCount", link->dropped_attrs, false);
    put_number(e, "flags", link->flags, false);
    put(e, "}");
}

static void put_events(struct json_encoder *e, const struct span *s)
{
    if (!s->events.count)
        return;
    key(e, "events");
    put(e, "[");
    for (uint32_t i = 0; i < s->events.count; i++)
        put_event(e, &e->batch->events.at[s->events.first + i]);
    put(e, "]");
}

static void put_links(struct json_encoder *e, const struct span *s)
{
    if (!s->links.count)
        return;
    key(e, "links");
    put(e, "[");
    for (uint32_t i = 0; i < s->links.count; i++)
        put_link(e, &e->batch->links.at[s->links.first + i]);
    put(e, "]");
}

static void put_span(struct json_encoder *e, const struct span *s)
{
    static const char *const kinds[] = {"",
                                        "SPAN_KIND_INTERNAL",
                                        "SPAN_KIND_SERVER",
                                        "SPAN_KIND_CLIENT",
                                        "SPAN_KIND_PRODUCER",
                                        "SPAN_KIND_CONSUMER"};
    static const char *const codes[] = {"", "STATUS_CODE_OK", "STATUS_CODE_ERROR"};

    next(e);
    put(e, "{");
    put_id(e, "traceId", slice_of(s->trace_id, sizeof s->trace_id));
    put_id(e, "spanId", s->span_id);
    put_string(e, "traceState", s->trace_state);
    put_id(e, "parentSpanId", s->parent_span_id);
    put_number(e, "flags", s->flags, false);
    put_string(e, "name", s->name);
    put_enum(e, "kind", s->kind, kinds, sizeof kinds / sizeof kinds[0]);
    put_number(e, "startTimeUnixNano", s->start_unix_ns, true);
    put_number(e, "endTimeUnixNano", s->end_unix_ns, true);
    put_attrs(e, s->attrs);
    put_number(e, "droppedAttributesCount", s->dropped_attrs, false);
    put_events(e, s);
    put_number(e, "droppedEventsCount", s->dropped_events, false);
    put_links(e, s);
    put_number(e, "droppedLinksCount", s->dropped_links, false);
    key(e, "status");
    put(e, "{");
    put_string(e, "message", s->status_message);
    put_enum(e, "code", s->status_code, codes, sizeof codes / sizeof codes[0]);
    put(e, "}}");
}

/* ---- scope and resource ---- */

static void put_scope(struct json_encoder *e, const struct scope *scope)
{
    key(e, "scope");
    put(e, "{");
    put_string(e, "name", scope->name);
    put_string(e, "version", scope->version);
    put_attrs(e, scope->attrs);
    put_number(e, "droppedAttributesCount", scope->dropped_attrs, false);
    put(e, "}");
}

static void put_resource(struct json_encoder *e, const struct resource *resource)
{
    key(e, "resource");
    put(e, "{");
    put_attrs(e, resource->attrs);
    put_number(e, "droppedAttributesCount", resource->dropped_attrs, false);
    put(e, "}");
}

/* The ScopeSpans of one resource from span i on; returns the first span behind them. */
static uint32_t put_scope_spans(struct json_encoder *e, const struct trace *t, uint32_t i,
                                uint32_t resource)
{
    const struct span_batch *b = t->batch;
    while (i < t->span_count && e->rc == 0) {
        uint32_t scope = b->spans.at[t->spans[i]].scope;
        if (b->scopes.at[scope].resource != resource)
            break;
        next(e);
        put(e, "{");
        put_scope(e, &b->scopes.at[scope]);
        key(e, "spans");
        put(e, "[");
        for (; i < t->span_count && b->spans.at[t->spans[i]].scope == scope; i++)
            put_span(e, &b->spans.at[t->spans[i]]);
        put(e, "]}");
    }
    return i;
}

int otlp_json_encode(const struct trace *t, const char *top, struct buf *out)
{
    assert(t);
    assert(top);
    const struct span_batch *b = t->batch;
    struct json_encoder e = {.batch = b, .out = out};
    size_t start = out->len;
    put(&e, "{");
    if (t->span_count) {
        key(&e, top);
        put(&e, "[");
    }
    for (uint32_t i = 0; i < t->span_count && e.rc == 0;) {
        uint32_t resource = b->scopes.at[b->spans.at[t->spans[i]].scope].resource;
        next(&e);
        put(&e, "{");
        put_resource(&e, &b->resources.at[resource]);
        key(&e, "scopeSpans");
        put(&e, "[");
        i = put_scope_spans(&e, t, i, resource);
        put(&e, "]}");
    }
    put(&e, t->span_count ? "]}" : "}");
    if (e.rc < 0)
        out->len = start;
    return e.rc;
}
