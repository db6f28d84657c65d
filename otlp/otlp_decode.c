/* OTLP protobuf to spans: the hot path of ingest.
 *
 * One pass over the body, straight into the batch. protobuf-c is not used because its unpack
 * allocates per message, has no depth limit and ends strings at their first NUL. Fields may come in
 * any order and singular messages in pieces, as protobuf allows: pieces are merged. */
#include "otlp/otlp.h"

#include <assert.h>

#include "base/cursor.h"
#include "otlp/otlp_priv.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct decoder {
    struct span_batch *batch;
    const uint8_t *body;
    size_t bytes_max; /* what the batch may grow to */
    struct err *err;
};

struct field {
    uint32_t number;
    uint32_t wire;
    const uint8_t *at;  /* its tag, for messages */
    uint64_t num;       /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    struct slice bytes; /* WIRE_BYTES */
};

/* ---- errors: kept out of line ---- */

#define COLD __attribute__((cold, noinline))

static size_t offset_of(const struct decoder *d, const uint8_t *at)
{
    return at ? (size_t)(at - d->body) : 0;
}

static COLD int fail_eof(const struct decoder *d, const uint8_t *at)
{
    return err_set(d->err, ERR_INVALID, "unexpected EOF at byte %zu", offset_of(d, at));
}

/* A varint that cannot be read: cut off, or longer than 64 bits. */
static COLD int fail_varint(const struct decoder *d, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *p = at;
    while (p != end && p - at < 10 && *p >= 0x80)
        p++;
    if (p == end && p - at < 10)
        return fail_eof(d, at);
    return err_set(d->err, ERR_INVALID, "proto: integer overflow at byte %zu", offset_of(d, at));
}

static COLD int fail_tag(const struct decoder *d, const uint8_t *at, uint64_t tag)
{
    unsigned wire = (unsigned)(tag & 7);
    if (wire == 3 || wire == 4 || wire > WIRE_FIXED32)
        return err_set(d->err, ERR_INVALID, "proto: illegal wireType %u at byte %zu", wire,
                       offset_of(d, at));
    return err_set(d->err, ERR_INVALID, "proto: illegal tag %llu (wire type %u) at byte %zu",
                   (unsigned long long)(tag >> 3), wire, offset_of(d, at));
}

static COLD int fail_wire(const struct decoder *d, const struct field *f, const char *name)
{
    return err_set(d->err, ERR_INVALID, "proto: wrong wireType = %u for field %s at byte %zu",
                   f->wire, name, offset_of(d, f->at));
}

static COLD int fail_id(const struct decoder *d, const struct field *f, const char *type)
{
    return err_set(d->err, ERR_INVALID, "unmarshal: invalid %s length at byte %zu", type,
                   offset_of(d, f->at));
}

static COLD int fail_growth(const struct decoder *d)
{
    if (otlp_batch_bytes(d->batch) >= d->bytes_max)
        return err_set(d->err, ERR_LIMIT,
                       "request of almost empty messages would take over %zu bytes of memory",
                       d->bytes_max);
    return err_set(d->err, ERR_NOMEM, "out of memory after %u spans", d->batch->spans.count);
}

/* ---- fields ---- */

/* The message's next field: 0, 1 at its end, negative when it is broken. */
static inline int field_next(const struct decoder *d, struct cursor *c, struct field *f)
{
    if (c->ptr == c->end)
        return 1;
    const uint8_t *at = c->ptr;
    uint64_t tag;
    if (!cursor_varint(c, &tag))
        return fail_varint(d, at, c->end);
    f->at = at;
    f->number = (uint32_t)(tag >> 3);
    f->wire = (uint32_t)(tag & 7);
    if (tag < 8 || tag > UINT32_MAX)
        return fail_tag(d, at, tag);
    const uint8_t *payload = c->ptr;
    switch (f->wire) {
    case WIRE_BYTES:
        if (!cursor_varint(c, &f->num))
            return fail_varint(d, payload, c->end);
        if (f->num > cursor_left(c))
            return fail_eof(d, payload);
        f->bytes = slice_of(c->ptr, (size_t)f->num);
        c->ptr += f->num;
        return 0;
    case WIRE_VARINT:
        return cursor_varint(c, &f->num) ? 0 : fail_varint(d, payload, c->end);
    case WIRE_FIXED64:
        return cursor_u64le(c, &f->num) ? 0 : fail_eof(d, payload);
    case WIRE_FIXED32: {
        uint32_t v = 0;
        if (!cursor_u32le(c, &v))
            return fail_eof(d, payload);
        f->num = v;
        return 0;
    }
    default:
        return fail_tag(d, at, tag);
    }
}

static inline struct cursor cursor_in(const struct decoder *d, struct slice message)
{
    return (struct cursor){d->body, message.ptr, message.ptr + message.len};
}

static inline int get_bytes(const struct decoder *d, const struct field *f, const char *name,
                            struct slice *out)
{
    if (f->wire != WIRE_BYTES)
        return fail_wire(d, f, name);
    *out = f->bytes;
    return 0;
}

static inline int get_u64(const struct decoder *d, const struct field *f, const char *name,
                          enum wire wire, uint64_t *out)
{
    if (f->wire != (uint32_t)wire)
        return fail_wire(d, f, name);
    *out = f->num;
    return 0;
}

/* Longer numbers are cut to 32 bits, as every protobuf decoder does. */
static inline int get_u32(const struct decoder *d, const struct field *f, const char *name,
                          enum wire wire, uint32_t *out)
{
    if (f->wire != (uint32_t)wire)
        return fail_wire(d, f, name);
    *out = (uint32_t)f->num;
    return 0;
}

static inline int get_i32(const struct decoder *d, const struct field *f, const char *name,
                          int32_t *out)
{
    if (f->wire != WIRE_VARINT)
        return fail_wire(d, f, name);
    *out = (int32_t)(uint32_t)f->num;
    return 0;
}

/* 8 bytes, or empty: all zeros mean the same. */
static int get_span_id(const struct decoder *d, const struct field *f, const char *name,
                       struct slice *out)
{
    if (f->wire != WIRE_BYTES)
        return fail_wire(d, f, name);
    if (f->bytes.len != 0 && f->bytes.len != 8)
        return fail_id(d, f, "SpanID");
    bool zero = f->bytes.len == 0 || load_u64le(f->bytes.ptr) == 0;
    *out = zero ? slice_of(NULL, 0) : f->bytes;
    return 0;
}

/* 16 bytes, or empty: all zeros mean the same. */
static int get_trace_id(const struct decoder *d, const struct field *f, const char *name,
                        struct slice *out)
{
    if (f->wire != WIRE_BYTES)
        return fail_wire(d, f, name);
    if (f->bytes.len != 0 && f->bytes.len != 16)
        return fail_id(d, f, "TraceID");
    bool zero = f->bytes.len == 0 || (load_u64le(f->bytes.ptr) | load_u64le(f->bytes.ptr + 8)) == 0;
    *out = zero ? slice_of(NULL, 0) : f->bytes;
    return 0;
}

/* ---- attributes ---- */

static int decode_attr(struct decoder *d, struct slice message, unsigned depth, struct run *run);
static int decode_value(struct decoder *d, struct slice message, unsigned depth, struct value *out);

/* ArrayValue (elements are AnyValues) or KeyValueList: both are `repeated X values = 1`. */
static int decode_list(struct decoder *d, struct slice message, unsigned depth,
                       enum value_type type, struct value *out)
{
    struct cursor c = cursor_in(d, message);
    struct field f;
    struct run run = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number != 1)
            continue;
        if (f.wire != WIRE_BYTES)
            return fail_wire(d, &f, "Values");
        if (type == VALUE_KVLIST) {
            rc = decode_attr(d, f.bytes, depth + 1, &run);
        } else {
            /* The vector may move while the element's own elements are decoded. */
            struct value v = {0};
            rc = decode_value(d, f.bytes, depth + 1, &v);
            struct value *at =
                OTLP_ROOM(d, &d->batch->values) ? span_batch_value(d->batch, &run) : NULL;
            if (rc == 0 && !at)
                return fail_growth(d);
            if (rc == 0)
                *at = v;
        }
        if (rc < 0)
            return rc;
    }
    *out = (struct value){.type = (uint8_t)type, .list = run.range};
    return rc < 0 ? rc : 0;
}

/* A field of the oneof: the last one that is set wins. */
static inline int decode_value_field(struct decoder *d, const struct field *f, unsigned depth,
                                     struct value *out)
{
    switch (f->number) {
    case 1:
        out->type = VALUE_STRING;
        return get_bytes(d, f, "StringValue", &out->str);
    case 2:
        if (f->wire != WIRE_VARINT)
            return fail_wire(d, f, "BoolValue");
        *out = (struct value){.type = VALUE_BOOL, .b = f->num != 0};
        return 0;
    case 3:
        if (f->wire != WIRE_VARINT)
            return fail_wire(d, f, "IntValue");
        *out = (struct value){.type = VALUE_INT, .i64 = (int64_t)f->num};
        return 0;
    case 4:
        if (f->wire != WIRE_FIXED64)
            return fail_wire(d, f, "DoubleValue");
        out->type = VALUE_DOUBLE;
        memcpy(&out->f64, &f->num, sizeof out->f64);
        return 0;
    case 5:
    case 6:
        if (f->wire != WIRE_BYTES)
            return fail_wire(d, f, f->number == 5 ? "ArrayValue" : "KvlistValue");
        return decode_list(d, f->bytes, depth, f->number == 5 ? VALUE_ARRAY : VALUE_KVLIST, out);
    case 7:
        out->type = VALUE_BYTES;
        return get_bytes(d, f, "BytesValue", &out->str);
    default:
        return 0;
    }
}

static int decode_value(struct decoder *d, struct slice message, unsigned depth, struct value *out)
{
    if (depth > LIMIT_OTLP_DEPTH)
        return err_set(d->err, ERR_LIMIT, "attribute value nested more than %d deep at byte %zu",
                       LIMIT_OTLP_DEPTH, offset_of(d, message.ptr));
    struct cursor c = cursor_in(d, message);
    struct field f;
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        rc = decode_value_field(d, &f, depth, out);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

/* The form in which nearly every attribute comes: key, then a scalar, all lengths below 128. True
 * when the message is exactly that; anything else, broken or not, is for the general way. */
static inline bool decode_attr_plain(struct slice message, struct attr *out)
{
    const uint8_t *p = message.ptr;
    if (message.len < 6 || p[0] != (1 << 3 | WIRE_BYTES) || p[1] > 0x7f)
        return false;
    size_t key_bytes = p[1];
    if (message.len < key_bytes + 6)
        return false;
    const uint8_t *v = p + 2 + key_bytes;
    size_t value_bytes = v[1];
    if (v[0] != (2 << 3 | WIRE_BYTES) || value_bytes > 0x7f ||
        key_bytes + value_bytes + 4 != message.len)
        return false;
    struct cursor number = {v, v + 3, v + 2 + value_bytes};
    uint64_t num;
    switch (v[2]) {
    case 1 << 3 | WIRE_BYTES:
        if (v[3] != value_bytes - 2)
            return false;
        out->value.type = VALUE_STRING;
        out->value.str = slice_of(v + 4, value_bytes - 2);
        break;
    case 2 << 3 | WIRE_VARINT:
        if (!cursor_varint(&number, &num) || cursor_left(&number))
            return false;
        out->value.type = VALUE_BOOL;
        out->value.b = num != 0;
        break;
    case 3 << 3 | WIRE_VARINT:
        if (!cursor_varint(&number, &num) || cursor_left(&number))
            return false;
        out->value.type = VALUE_INT;
        out->value.i64 = (int64_t)num;
        break;
    case 4 << 3 | WIRE_FIXED64:
        if (!cursor_u64le(&number, &num) || cursor_left(&number))
            return false;
        out->value.type = VALUE_DOUBLE;
        memcpy(&out->value.f64, &num, sizeof num);
        break;
    default:
        return false;
    }
    out->key = slice_of(p + 2, key_bytes);
    return true;
}

/* KeyValue: one more element of run. depth is that of its value. */
static int decode_attr(struct decoder *d, struct slice message, unsigned depth, struct run *run)
{
    struct attr *at = OTLP_ROOM(d, &d->batch->attrs) ? span_batch_attr(d->batch, run) : NULL;
    if (!at)
        return fail_growth(d);
    if (depth <= LIMIT_OTLP_DEPTH && decode_attr_plain(message, at))
        return 0;
    struct cursor c = cursor_in(d, message);
    struct field f;
    struct attr a = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number == 1) {
            rc = get_bytes(d, &f, "Key", &a.key);
        } else if (f.number == 2) {
            if (f.wire != WIRE_BYTES)
                return fail_wire(d, &f, "Value");
            rc = decode_value(d, f.bytes, depth, &a.value);
        }
        if (rc < 0)
            return rc;
    }
    /* The vector may have moved while a list was decoded; the run has not. */
    d->batch->attrs.at[run->range.first + run->range.count - 1] = a;
    return rc < 0 ? rc : 0;
}

static inline int get_attr(struct decoder *d, const struct field *f, struct run *run)
{
    return f->wire == WIRE_BYTES ? decode_attr(d, f->bytes, 1, run) : fail_wire(d, f, "Attributes");
}

/* ---- span ---- */

static int decode_event(struct decoder *d, const struct field *field, struct span *span)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Events");
    if (!OTLP_ROOM(d, &d->batch->events))
        return fail_growth(d);
    struct event *e = &d->batch->events.at[d->batch->events.count++];
    *e = (struct event){0};
    if (span->events.count++ == 0)
        span->events.first = d->batch->events.count - 1;
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        switch (f.number) {
        case 1:
            rc = get_u64(d, &f, "TimeUnixNano", WIRE_FIXED64, &e->time_unix_ns);
            break;
        case 2:
            rc = get_bytes(d, &f, "Name", &e->name);
            break;
        case 3:
            rc = get_attr(d, &f, &attrs);
            break;
        case 4:
            rc = get_u32(d, &f, "DroppedAttributesCount", WIRE_VARINT, &e->dropped_attrs);
            break;
        }
        if (rc < 0)
            return rc;
    }
    e->attrs = attrs.range;
    return rc < 0 ? rc : 0;
}

static int decode_link(struct decoder *d, const struct field *field, struct span *span)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Links");
    if (!OTLP_ROOM(d, &d->batch->links))
        return fail_growth(d);
    struct link *l = &d->batch->links.at[d->batch->links.count++];
    *l = (struct link){0};
    if (span->links.count++ == 0)
        span->links.first = d->batch->links.count - 1;
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        switch (f.number) {
        case 1:
            rc = get_trace_id(d, &f, "TraceId", &l->trace_id);
            break;
        case 2:
            rc = get_span_id(d, &f, "SpanId", &l->span_id);
            break;
        case 3:
            rc = get_bytes(d, &f, "TraceState", &l->trace_state);
            break;
        case 4:
            rc = get_attr(d, &f, &attrs);
            break;
        case 5:
            rc = get_u32(d, &f, "DroppedAttributesCount", WIRE_VARINT, &l->dropped_attrs);
            break;
        case 6:
            rc = get_u32(d, &f, "Flags", WIRE_FIXED32, &l->flags);
            break;
        }
        if (rc < 0)
            return rc;
    }
    l->attrs = attrs.range;
    return rc < 0 ? rc : 0;
}

static int decode_status(struct decoder *d, const struct field *field, struct span *span)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Status");
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number == 2)
            rc = get_bytes(d, &f, "Message", &span->status_message);
        else if (f.number == 3)
            rc = get_i32(d, &f, "Code", &span->status_code);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int decode_span_field(struct decoder *d, const struct field *f, struct span *s,
                             struct run *attrs)
{
    struct slice id;
    int rc;
    switch (f->number) {
    case 1:
        rc = get_trace_id(d, f, "TraceId", &id);
        memset(s->trace_id, 0, sizeof s->trace_id);
        if (rc == 0 && id.len)
            memcpy(s->trace_id, id.ptr, sizeof s->trace_id);
        return rc;
    case 2:
        return get_span_id(d, f, "SpanId", &s->span_id);
    case 3:
        return get_bytes(d, f, "TraceState", &s->trace_state);
    case 4:
        return get_span_id(d, f, "ParentSpanId", &s->parent_span_id);
    case 5:
        return get_bytes(d, f, "Name", &s->name);
    case 6:
        return get_i32(d, f, "Kind", &s->kind);
    case 7:
        return get_u64(d, f, "StartTimeUnixNano", WIRE_FIXED64, &s->start_unix_ns);
    case 8:
        return get_u64(d, f, "EndTimeUnixNano", WIRE_FIXED64, &s->end_unix_ns);
    case 9:
        return get_attr(d, f, attrs);
    case 10:
        return get_u32(d, f, "DroppedAttributesCount", WIRE_VARINT, &s->dropped_attrs);
    case 11:
        return decode_event(d, f, s);
    case 12:
        return get_u32(d, f, "DroppedEventsCount", WIRE_VARINT, &s->dropped_events);
    case 13:
        return decode_link(d, f, s);
    case 14:
        return get_u32(d, f, "DroppedLinksCount", WIRE_VARINT, &s->dropped_links);
    case 15:
        return decode_status(d, f, s);
    case 16:
        return get_u32(d, f, "Flags", WIRE_FIXED32, &s->flags);
    default:
        return 0;
    }
}

static int decode_span(struct decoder *d, const struct field *field, uint32_t scope)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Spans");
    if (!OTLP_ROOM(d, &d->batch->spans))
        return fail_growth(d);
    struct span *s = &d->batch->spans.at[d->batch->spans.count++];
    *s = (struct span){.scope = scope};
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        rc = decode_span_field(d, &f, s, &attrs);
        if (rc < 0)
            return rc;
    }
    s->attrs = attrs.range;
    return rc < 0 ? rc : 0;
}

/* ---- scope and resource ---- */

static int decode_scope(struct decoder *d, const struct field *field, struct scope *scope,
                        struct run *attrs)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Scope");
    scope->present = true;
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        switch (f.number) {
        case 1:
            rc = get_bytes(d, &f, "Name", &scope->name);
            break;
        case 2:
            rc = get_bytes(d, &f, "Version", &scope->version);
            break;
        case 3:
            rc = get_attr(d, &f, attrs);
            break;
        case 4:
            rc = get_u32(d, &f, "DroppedAttributesCount", WIRE_VARINT, &scope->dropped_attrs);
            break;
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int decode_scope_spans(struct decoder *d, const struct field *field, uint32_t resource)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "ScopeSpans");
    if (!OTLP_ROOM(d, &d->batch->scopes))
        return fail_growth(d);
    uint32_t index = d->batch->scopes.count++;
    struct scope *scope = &d->batch->scopes.at[index];
    *scope = (struct scope){.resource = resource, .spans = {d->batch->spans.count, 0}};
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number == 1)
            rc = decode_scope(d, &f, scope, &attrs);
        else if (f.number == 2)
            rc = decode_span(d, &f, index);
        else if (f.number == 3 && f.wire != WIRE_BYTES)
            rc = fail_wire(d, &f, "SchemaUrl");
        if (rc < 0)
            return rc;
    }
    scope->attrs = attrs.range;
    scope->spans.count = d->batch->spans.count - scope->spans.first;
    return rc < 0 ? rc : 0;
}

static int decode_resource(struct decoder *d, const struct field *field, struct resource *resource,
                           struct run *attrs)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "Resource");
    resource->present = true;
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number == 1)
            rc = get_attr(d, &f, attrs);
        else if (f.number == 2)
            rc = get_u32(d, &f, "DroppedAttributesCount", WIRE_VARINT, &resource->dropped_attrs);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int decode_resource_spans(struct decoder *d, const struct field *field)
{
    if (field->wire != WIRE_BYTES)
        return fail_wire(d, field, "ResourceSpans");
    if (!OTLP_ROOM(d, &d->batch->resources))
        return fail_growth(d);
    uint32_t index = d->batch->resources.count++;
    struct resource *resource = &d->batch->resources.at[index];
    *resource = (struct resource){.scopes = {d->batch->scopes.count, 0}};
    struct cursor c = cursor_in(d, field->bytes);
    struct field f;
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(d, &c, &f)) == 0) {
        if (f.number == 1)
            rc = decode_resource(d, &f, resource, &attrs);
        else if (f.number == 2)
            rc = decode_scope_spans(d, &f, index);
        else if (f.number == 3 && f.wire != WIRE_BYTES)
            rc = fail_wire(d, &f, "SchemaUrl");
        if (rc < 0)
            return rc;
    }
    resource->attrs = attrs.range;
    resource->scopes.count = d->batch->scopes.count - resource->scopes.first;
    return rc < 0 ? rc : 0;
}

int otlp_decode(struct slice body, struct span_batch *out, struct err *err)
{
    assert(out);
    struct decoder d = {.batch = out,
                        .body = body.ptr,
                        .bytes_max = otlp_batch_bytes_max(out, body.len),
                        .err = err};
    struct cursor c = cursor_of(body);
    struct field f;
    int rc;
    while ((rc = field_next(&d, &c, &f)) == 0) {
        if (f.number != 1)
            continue;
        rc = decode_resource_spans(&d, &f);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}
