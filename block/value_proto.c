/* AnyValue, KeyValue and Span.Link from protobuf, by a cursor with a depth. Fields may come in any
 * order, unknown ones are skipped. */
#include "block/value_proto.h"

#include "base/cursor.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct reader {
    struct span_batch *batch;
    const uint8_t *start; /* of the outermost message */
    unsigned depth_max;
    struct err *err;
};

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t num;       /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    struct slice bytes; /* WIRE_BYTES */
    const uint8_t *at;
};

static int corrupt(const struct reader *r, const uint8_t *at, const char *what)
{
    return err_set(r->err, ERR_CORRUPT, "protobuf: %s at byte %zu", what,
                   at ? (size_t)(at - r->start) : 0);
}

static int no_memory(const struct reader *r)
{
    return err_set(r->err, ERR_NOMEM, "no memory for %u attributes, values and links",
                   r->batch->attrs.count + r->batch->values.count + r->batch->links.count);
}

/* The next field: 0, 1 at the end of the message, or an error. */
static int field_next(const struct reader *r, struct cursor *c, struct field *f)
{
    uint64_t tag;
    uint32_t half = 0;
    bool ok = false;
    if (cursor_left(c) == 0)
        return 1;
    *f = (struct field){.at = c->ptr};
    if (!cursor_varint(c, &tag))
        return corrupt(r, f->at, "a tag that is cut off");
    f->number = tag >> 3;
    f->wire = (unsigned)(tag & 7);
    switch (f->wire) {
    case WIRE_VARINT:
        ok = cursor_varint(c, &f->num);
        break;
    case WIRE_FIXED64:
        ok = cursor_u64le(c, &f->num);
        break;
    case WIRE_BYTES:
        ok = cursor_varint_bytes(c, &f->bytes);
        break;
    case WIRE_FIXED32:
        ok = cursor_u32le(c, &half);
        f->num = half;
        break;
    default:
        return corrupt(r, f->at, "an unknown wire type");
    }
    return ok && f->number ? 0 : corrupt(r, f->at, "a field that is cut off or has no number");
}

static int expect(const struct reader *r, const struct field *f, enum wire wire)
{
    return f->wire == (unsigned)wire ? 0 : corrupt(r, f->at, "a field of another wire type");
}

static int get_bytes(const struct reader *r, const struct field *f, struct slice *out)
{
    *out = f->bytes;
    return expect(r, f, WIRE_BYTES);
}

/* ---- values ---- */

static int read_attr(struct reader *r, struct slice message, unsigned depth, struct run *run);
static int read_value(struct reader *r, struct slice message, unsigned depth, struct value *out);

static int read_element(struct reader *r, struct slice message, unsigned depth, struct run *run)
{
    struct value v = {0};
    int rc = read_value(r, message, depth, &v);
    if (rc < 0)
        return rc;
    struct value *at = span_batch_value(r->batch, run);
    if (!at)
        return no_memory(r);
    *at = v;
    return 0;
}

/* ArrayValue and KeyValueList: both are `repeated X values = 1`. */
static int read_list(struct reader *r, struct slice message, unsigned depth, enum value_type type,
                     struct value *out)
{
    struct cursor c = cursor_of(message);
    struct field f;
    struct run run = {0};
    int rc;
    while ((rc = field_next(r, &c, &f)) == 0) {
        if (f.number != 1)
            continue;
        rc = expect(r, &f, WIRE_BYTES);
        if (rc == 0)
            rc = type == VALUE_ARRAY ? read_element(r, f.bytes, depth + 1, &run)
                                     : read_attr(r, f.bytes, depth + 1, &run);
        if (rc < 0)
            return rc;
    }
    *out = (struct value){.type = (uint8_t)type, .list = run.range};
    return rc < 0 ? rc : 0;
}

/* A field of the oneof: the last one that is set wins. */
static int read_value_field(struct reader *r, const struct field *f, unsigned depth,
                            struct value *out)
{
    switch (f->number) {
    case 1:
    case 7:
        *out = (struct value){.type = f->number == 1 ? VALUE_STRING : VALUE_BYTES};
        return get_bytes(r, f, &out->str);
    case 2:
        *out = (struct value){.type = VALUE_BOOL, .b = f->num != 0};
        return expect(r, f, WIRE_VARINT);
    case 3:
        *out = (struct value){.type = VALUE_INT, .i64 = (int64_t)f->num};
        return expect(r, f, WIRE_VARINT);
    case 4:
        *out = (struct value){.type = VALUE_DOUBLE};
        memcpy(&out->f64, &f->num, sizeof out->f64);
        return expect(r, f, WIRE_FIXED64);
    case 5:
    case 6: {
        int rc = expect(r, f, WIRE_BYTES);
        enum value_type type = f->number == 5 ? VALUE_ARRAY : VALUE_KVLIST;
        return rc < 0 ? rc : read_list(r, f->bytes, depth, type, out);
    }
    default:
        return 0;
    }
}

static int read_value(struct reader *r, struct slice message, unsigned depth, struct value *out)
{
    if (depth > r->depth_max)
        return err_set(r->err, ERR_LIMIT, "protobuf: a value nested more than %u deep",
                       r->depth_max);
    struct cursor c = cursor_of(message);
    struct field f;
    int rc;
    while ((rc = field_next(r, &c, &f)) == 0) {
        rc = read_value_field(r, &f, depth, out);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int read_attr(struct reader *r, struct slice message, unsigned depth, struct run *run)
{
    struct cursor c = cursor_of(message);
    struct field f;
    struct attr attr = {.key = slice_of(NULL, 0)};
    int rc;
    while ((rc = field_next(r, &c, &f)) == 0) {
        if (f.number == 1)
            rc = get_bytes(r, &f, &attr.key);
        else if (f.number == 2 && (rc = expect(r, &f, WIRE_BYTES)) == 0)
            rc = read_value(r, f.bytes, depth, &attr.value);
        if (rc < 0)
            return rc;
    }
    struct attr *at = rc < 0 ? NULL : span_batch_attr(r->batch, run);
    if (!at)
        return rc < 0 ? rc : no_memory(r);
    *at = attr;
    return 0;
}

/* ---- links ---- */

static int read_link_field(struct reader *r, const struct field *f, struct link *out,
                           struct run *attrs)
{
    int rc;
    switch (f->number) {
    case 1:
        return get_bytes(r, f, &out->trace_id);
    case 2:
        return get_bytes(r, f, &out->span_id);
    case 3:
        return get_bytes(r, f, &out->trace_state);
    case 4:
        rc = expect(r, f, WIRE_BYTES);
        return rc < 0 ? rc : read_attr(r, f->bytes, 0, attrs);
    case 5:
        out->dropped_attrs = (uint32_t)f->num;
        return expect(r, f, WIRE_VARINT);
    case 6:
        out->flags = (uint32_t)f->num;
        return expect(r, f, WIRE_FIXED32);
    default:
        return 0;
    }
}

static int read_link(struct reader *r, struct slice message)
{
    struct cursor c = cursor_of(message);
    struct field f;
    struct link link = {0};
    struct run attrs = {0};
    int rc;
    while ((rc = field_next(r, &c, &f)) == 0) {
        rc = read_link_field(r, &f, &link, &attrs);
        if (rc < 0)
            return rc;
    }
    link.attrs = attrs.range;
    if (rc < 0)
        return rc;
    return vec_push(&r->batch->links, link) ? 0 : no_memory(r);
}

int value_proto_parse(struct slice bytes, unsigned depth_max, struct span_batch *b,
                      struct value *out, struct err *err)
{
    struct reader r = {.batch = b, .start = bytes.ptr, .depth_max = depth_max, .err = err};
    *out = (struct value){.type = VALUE_NONE};
    return read_value(&r, bytes, 0, out);
}

int links_proto_parse(struct slice bytes, unsigned depth_max, struct span_batch *b, struct err *err)
{
    struct reader r = {.batch = b, .start = bytes.ptr, .depth_max = depth_max, .err = err};
    struct cursor c = cursor_of(bytes);
    struct field f;
    int rc;
    while ((rc = field_next(&r, &c, &f)) == 0) {
        if (f.number != 1)
            continue;
        rc = expect(&r, &f, WIRE_BYTES);
        rc = rc < 0 ? rc : read_link(&r, f.bytes);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}
