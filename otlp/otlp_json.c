/* OTLP/JSON to spans, straight into the batch.
 *
 * Keys come in any order, camelCase or snake_case; an unknown one is skipped, of a repeated one the
 * last counts. Ids are hex here, unlike everywhere else in protobuf's JSON. */
#include "otlp/otlp.h"

#include <assert.h>

#include "base/json_pull.h"
#include "base/text.h"
#include "block/value_json.h"
#include "otlp/otlp_priv.h"

/* Levels of JSON above an attribute's value, the request's object being the first. */
#define LEVELS_ABOVE_VALUES 16

struct json_decoder {
    struct json_pull j;
    struct span_batch *batch;
    size_t bytes_max; /* what the batch may grow to */
};

static int fail_growth(struct json_decoder *d)
{
    if (otlp_batch_bytes(d->batch) >= d->bytes_max)
        return err_set(d->j.err, ERR_LIMIT,
                       "request of almost empty objects would take over %zu bytes of memory",
                       d->bytes_max);
    return err_set(d->j.err, ERR_NOMEM, "out of memory after %u spans", d->batch->spans.count);
}

/* ---- scalars ---- */

/* Hex digits of `bytes` bytes, or an empty string, in place or in the arena. *text is what arrived;
 * *id is left as it was for null. */
static int read_id(struct json_decoder *d, const char *object, const char *field, const char *type,
                   size_t bytes, struct slice *id)
{
    struct slice text = {0};
    int rc = json_string(&d->j, &text);
    if (rc < 0)
        return rc;
    if (!text.ptr)
        return 0;
    if (text.len == 0) {
        *id = slice_of(NULL, 0);
        return 0;
    }
    if (text.len != 2 * bytes)
        return json_fail(&d->j, "%s.%s: parse %s:invalid length for ID,", object, field, type);
    uint8_t *out = arena_alloc(d->j.arena, bytes);
    if (!out)
        return arena_err(d->j.arena, d->j.err, "an id");
    if (!hex_decode(text, out))
        return json_fail(&d->j, "%s.%s: parse %s:invalid hex digit,", object, field, type);
    /* All zeros mean that there is no id. */
    size_t zeros = 0;
    while (zeros < bytes && out[zeros] == 0)
        zeros++;
    *id = zeros == bytes ? slice_of(NULL, 0) : slice_of(out, bytes);
    return 0;
}

static int read_trace_id(struct json_decoder *d, const char *object, struct slice *id)
{
    return read_id(d, object, "traceId", "trace_id", 16, id);
}

static int read_span_id(struct json_decoder *d, const char *object, const char *field,
                        struct slice *id)
{
    return read_id(d, object, field, "span_id", 8, id);
}

/* A number, or one of names, whose place is the number. */
static int read_enum(struct json_decoder *d, const char *field, const char *const *names,
                     int32_t count, int32_t *out)
{
    enum json_type type;
    int rc = json_peek(&d->j, &type);
    if (rc < 0)
        return rc;
    if (type != JSON_STRING)
        return json_i32(&d->j, out);
    struct slice name;
    rc = json_string(&d->j, &name);
    if (rc < 0)
        return rc;
    for (int32_t i = 0; i < count; i++) {
        if (slice_eq(name, slice_cstr(names[i]))) {
            *out = i;
            return 0;
        }
    }
    char shown[64];
    return json_fail(&d->j, "%s: unknown string value \"%s\"", field,
                     text_escape(name, 40, shown, sizeof shown));
}

static int read_kind(struct json_decoder *d, int32_t *out)
{
    static const char *const names[] = {"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL",
                                        "SPAN_KIND_SERVER",      "SPAN_KIND_CLIENT",
                                        "SPAN_KIND_PRODUCER",    "SPAN_KIND_CONSUMER"};
    return read_enum(d, "readSpan.kind", names, sizeof names / sizeof names[0], out);
}

static int read_status_code(struct json_decoder *d, int32_t *out)
{
    static const char *const names[] = {"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"};
    return read_enum(d, "readStatus.code", names, sizeof names / sizeof names[0], out);
}

static int read_attrs(struct json_decoder *d, struct range *out)
{
    return attrs_json_read(&d->j, LIMIT_OTLP_DEPTH, d->batch, out);
}

/* ---- span ---- */

static int read_event(struct json_decoder *d, struct event *e)
{
    struct json_iter it = {0};
    struct slice key;
    int rc;
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "timeUnixNano"))
            rc = json_u64(&d->j, &e->time_unix_ns);
        else if (json_key_is(key, "name"))
            rc = json_string(&d->j, &e->name);
        else if (json_key_is(key, "attributes"))
            rc = read_attrs(d, &e->attrs);
        else if (json_key_is(key, "droppedAttributesCount"))
            rc = json_u32(&d->j, &e->dropped_attrs);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_events(struct json_decoder *d, struct range *out)
{
    struct json_iter it = {0};
    int rc;
    *out = (struct range){d->batch->events.count, 0};
    while ((rc = json_array_next(&d->j, &it)) == 0) {
        if (!OTLP_ROOM(d, &d->batch->events))
            return fail_growth(d);
        struct event *e = &d->batch->events.at[d->batch->events.count++];
        *e = (struct event){0};
        out->count++;
        rc = read_event(d, e);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_link(struct json_decoder *d, struct link *l)
{
    struct json_iter it = {0};
    struct slice key;
    int rc;
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "traceId"))
            rc = read_trace_id(d, "readLink", &l->trace_id);
        else if (json_key_is(key, "spanId"))
            rc = read_span_id(d, "readLink", "spanId", &l->span_id);
        else if (json_key_is(key, "traceState"))
            rc = json_string(&d->j, &l->trace_state);
        else if (json_key_is(key, "attributes"))
            rc = read_attrs(d, &l->attrs);
        else if (json_key_is(key, "droppedAttributesCount"))
            rc = json_u32(&d->j, &l->dropped_attrs);
        else if (json_key_is(key, "flags"))
            rc = json_u32(&d->j, &l->flags);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_links(struct json_decoder *d, struct range *out)
{
    struct json_iter it = {0};
    int rc;
    *out = (struct range){d->batch->links.count, 0};
    while ((rc = json_array_next(&d->j, &it)) == 0) {
        if (!OTLP_ROOM(d, &d->batch->links))
            return fail_growth(d);
        struct link *l = &d->batch->links.at[d->batch->links.count++];
        *l = (struct link){0};
        out->count++;
        rc = read_link(d, l);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_status(struct json_decoder *d, struct span *s)
{
    struct json_iter it = {0};
    struct slice key;
    int rc;
    s->status_code = 0;
    s->status_message = slice_of(NULL, 0);
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "message"))
            rc = json_string(&d->j, &s->status_message);
        else if (json_key_is(key, "code"))
            rc = read_status_code(d, &s->status_code);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_span_trace_id(struct json_decoder *d, struct span *s)
{
    struct slice id = {0};
    int rc = read_trace_id(d, "readSpan", &id);
    if (rc < 0)
        return rc;
    memset(s->trace_id, 0, sizeof s->trace_id);
    if (id.len)
        memcpy(s->trace_id, id.ptr, sizeof s->trace_id);
    return 0;
}

enum span_key {
    SPAN_TRACE_ID,
    SPAN_SPAN_ID,
    SPAN_PARENT_SPAN_ID,
    SPAN_NAME,
    SPAN_KIND,
    SPAN_START,
    SPAN_END,
    SPAN_ATTRIBUTES,
    SPAN_STATUS,
    SPAN_EVENTS,
    SPAN_LINKS,
    SPAN_TRACE_STATE,
    SPAN_FLAGS,
    SPAN_DROPPED_ATTRIBUTES,
    SPAN_DROPPED_EVENTS,
    SPAN_DROPPED_LINKS,
    SPAN_UNKNOWN,
};

static enum span_key span_key(struct slice key)
{
    static const char *const names[] = {
        [SPAN_TRACE_ID] = "traceId",
        [SPAN_SPAN_ID] = "spanId",
        [SPAN_PARENT_SPAN_ID] = "parentSpanId",
        [SPAN_NAME] = "name",
        [SPAN_KIND] = "kind",
        [SPAN_START] = "startTimeUnixNano",
        [SPAN_END] = "endTimeUnixNano",
        [SPAN_ATTRIBUTES] = "attributes",
        [SPAN_STATUS] = "status",
        [SPAN_EVENTS] = "events",
        [SPAN_LINKS] = "links",
        [SPAN_TRACE_STATE] = "traceState",
        [SPAN_FLAGS] = "flags",
        [SPAN_DROPPED_ATTRIBUTES] = "droppedAttributesCount",
        [SPAN_DROPPED_EVENTS] = "droppedEventsCount",
        [SPAN_DROPPED_LINKS] = "droppedLinksCount",
    };
    unsigned i = 0;
    while (i < SPAN_UNKNOWN && !json_key_is(key, names[i]))
        i++;
    return (enum span_key)i;
}

static int read_span_member(struct json_decoder *d, struct slice key, struct span *s)
{
    switch (span_key(key)) {
    case SPAN_TRACE_ID:
        return read_span_trace_id(d, s);
    case SPAN_SPAN_ID:
        return read_span_id(d, "readSpan", "spanId", &s->span_id);
    case SPAN_PARENT_SPAN_ID:
        return read_span_id(d, "readSpan", "parentSpanId", &s->parent_span_id);
    case SPAN_NAME:
        return json_string(&d->j, &s->name);
    case SPAN_KIND:
        return read_kind(d, &s->kind);
    case SPAN_START:
        return json_u64(&d->j, &s->start_unix_ns);
    case SPAN_END:
        return json_u64(&d->j, &s->end_unix_ns);
    case SPAN_ATTRIBUTES:
        return read_attrs(d, &s->attrs);
    case SPAN_STATUS:
        return read_status(d, s);
    case SPAN_EVENTS:
        return read_events(d, &s->events);
    case SPAN_LINKS:
        return read_links(d, &s->links);
    case SPAN_TRACE_STATE:
        return json_string(&d->j, &s->trace_state);
    case SPAN_FLAGS:
        return json_u32(&d->j, &s->flags);
    case SPAN_DROPPED_ATTRIBUTES:
        return json_u32(&d->j, &s->dropped_attrs);
    case SPAN_DROPPED_EVENTS:
        return json_u32(&d->j, &s->dropped_events);
    case SPAN_DROPPED_LINKS:
        return json_u32(&d->j, &s->dropped_links);
    case SPAN_UNKNOWN:
        break;
    }
    return json_skip(&d->j);
}

static int read_spans(struct json_decoder *d, uint32_t scope, struct range *out)
{
    struct json_iter spans = {0};
    int rc;
    d->batch->spans.count = out->first; /* a repeated key replaces what came before */
    out->count = 0;
    while ((rc = json_array_next(&d->j, &spans)) == 0) {
        if (!OTLP_ROOM(d, &d->batch->spans))
            return fail_growth(d);
        struct span *s = &d->batch->spans.at[d->batch->spans.count++];
        *s = (struct span){.scope = scope};
        out->count++;
        struct json_iter it = {0};
        struct slice key;
        while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
            rc = read_span_member(d, key, s);
            if (rc < 0)
                return rc;
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

/* ---- scope and resource ---- */

static int read_scope(struct json_decoder *d, struct scope *scope)
{
    enum json_type type;
    struct json_iter it = {0};
    struct slice key;
    int rc = json_peek(&d->j, &type);
    if (rc < 0)
        return rc;
    *scope = (struct scope){
        .resource = scope->resource, .spans = scope->spans, .present = type != JSON_NULL};
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "name"))
            rc = json_string(&d->j, &scope->name);
        else if (json_key_is(key, "version"))
            rc = json_string(&d->j, &scope->version);
        else if (json_key_is(key, "attributes"))
            rc = read_attrs(d, &scope->attrs);
        else if (json_key_is(key, "droppedAttributesCount"))
            rc = json_u32(&d->j, &scope->dropped_attrs);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_scope_spans(struct json_decoder *d, uint32_t resource)
{
    if (!OTLP_ROOM(d, &d->batch->scopes))
        return fail_growth(d);
    uint32_t index = d->batch->scopes.count++;
    struct scope *scope = &d->batch->scopes.at[index];
    *scope = (struct scope){.resource = resource, .spans = {d->batch->spans.count, 0}};
    struct json_iter it = {0};
    struct slice key;
    int rc;
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "scope"))
            rc = read_scope(d, scope);
        else if (json_key_is(key, "spans"))
            rc = read_spans(d, index, &scope->spans);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_resource(struct json_decoder *d, struct resource *resource)
{
    enum json_type type;
    struct json_iter it = {0};
    struct slice key;
    int rc = json_peek(&d->j, &type);
    if (rc < 0)
        return rc;
    *resource = (struct resource){.scopes = resource->scopes, .present = type != JSON_NULL};
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "attributes"))
            rc = read_attrs(d, &resource->attrs);
        else if (json_key_is(key, "droppedAttributesCount"))
            rc = json_u32(&d->j, &resource->dropped_attrs);
        else
            rc = json_skip(&d->j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_resource_spans(struct json_decoder *d)
{
    struct span_batch *b = d->batch;
    if (!OTLP_ROOM(d, &b->resources))
        return fail_growth(d);
    uint32_t index = b->resources.count++;
    struct resource *resource = &b->resources.at[index];
    uint32_t first_span = b->spans.count;
    *resource = (struct resource){.scopes = {b->scopes.count, 0}};
    struct json_iter it = {0}, scopes;
    struct slice key;
    int rc;
    while ((rc = json_object_next(&d->j, &it, &key)) == 0) {
        if (json_key_is(key, "resource")) {
            rc = read_resource(d, resource);
        } else if (json_key_is(key, "scopeSpans")) {
            b->scopes.count = resource->scopes.first; /* a repeated key replaces */
            b->spans.count = first_span;
            scopes = (struct json_iter){0};
            while ((rc = json_array_next(&d->j, &scopes)) == 0 &&
                   (rc = read_scope_spans(d, index)) == 0)
                ;
        } else {
            rc = json_skip(&d->j);
        }
        if (rc < 0)
            return rc;
    }
    resource->scopes.count = b->scopes.count - resource->scopes.first;
    return rc < 0 ? rc : 0;
}

int otlp_json_decode(struct slice body, struct arena *a, struct span_batch *out, struct err *err)
{
    assert(a);
    assert(out);
    const unsigned depth_max = LEVELS_ABOVE_VALUES + LIMIT_OTLP_DEPTH * VALUE_JSON_LEVELS;
    struct json_decoder d = {.j = json_pull_of(body, a, depth_max, err),
                             .batch = out,
                             .bytes_max = otlp_batch_bytes_max(out, body.len)};
    const uint32_t resources = out->resources.count, scopes = out->scopes.count,
                   spans = out->spans.count;
    struct json_iter it = {0}, list;
    struct slice key;
    int rc;
    while ((rc = json_object_next(&d.j, &it, &key)) == 0) {
        if (json_key_is(key, "resourceSpans")) {
            out->resources.count = resources; /* a repeated key replaces */
            out->scopes.count = scopes;
            out->spans.count = spans;
            list = (struct json_iter){0};
            while ((rc = json_array_next(&d.j, &list)) == 0 && (rc = read_resource_spans(&d)) == 0)
                ;
        } else {
            rc = json_skip(&d.j);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : json_end(&d.j);
}
