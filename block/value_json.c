/* AnyValue to and from protobuf JSON.
 *
 * vParquet keeps mixed arrays, key-value lists and bytes in this form, so what is written here is
 * read by Tempo and must look like Go's; what is read may come from any writer. The OTLP/JSON
 * decoder and the API's JSON encoder use the same functions. */
#include "block/value_json.h"

#include <math.h>
#include <stdio.h>

#include "base/text.h"

/* ---- writing ---- */

static int write_value(const struct span_batch *b, const struct value *v, struct buf *out);

static int write_attrs(const struct span_batch *b, struct range attrs, struct buf *out)
{
    int rc = buf_u8(out, '[');
    for (uint32_t i = 0; rc == 0 && i < attrs.count; i++) {
        const struct attr *a = &b->attrs.at[attrs.first + i];
        if (i)
            rc = buf_u8(out, ',');
        if (rc == 0 && a->key.len) {
            rc = buf_str(out, "{\"key\":");
            if (rc == 0)
                rc = buf_json_string(out, a->key);
            if (rc == 0)
                rc = buf_str(out, ",\"value\":");
        } else if (rc == 0) {
            rc = buf_str(out, "{\"value\":"); /* an empty string is left out */
        }
        if (rc == 0)
            rc = write_value(b, &a->value, out);
        if (rc == 0)
            rc = buf_u8(out, '}');
    }
    return rc < 0 ? rc : buf_u8(out, ']');
}

static int write_values(const struct span_batch *b, struct range values, struct buf *out)
{
    int rc = buf_u8(out, '[');
    for (uint32_t i = 0; rc == 0 && i < values.count; i++) {
        if (i)
            rc = buf_u8(out, ',');
        if (rc == 0)
            rc = write_value(b, &b->values.at[values.first + i], out);
    }
    return rc < 0 ? rc : buf_u8(out, ']');
}

static int write_list(const struct span_batch *b, const struct value *v, struct buf *out)
{
    bool array = v->type == VALUE_ARRAY;
    int rc = buf_str(out, array ? "{\"arrayValue\":{" : "{\"kvlistValue\":{");
    if (rc == 0 && v->list.count) {
        rc = buf_str(out, "\"values\":");
        if (rc == 0)
            rc = array ? write_values(b, v->list, out) : write_attrs(b, v->list, out);
    }
    return rc < 0 ? rc : buf_str(out, "}}");
}

static int write_double(double v, struct buf *out)
{
    char text[40];
    format_f64_json(v, text);
    return buf_printf(out, isfinite(v) ? "{\"doubleValue\":%s}" : "{\"doubleValue\":\"%s\"}", text);
}

static int write_string(struct slice s, struct buf *out)
{
    int rc = buf_str(out, "{\"stringValue\":");
    if (rc == 0)
        rc = buf_json_string(out, s);
    return rc < 0 ? rc : buf_u8(out, '}');
}

static int write_bytes(struct slice s, struct buf *out)
{
    int rc = buf_str(out, "{\"bytesValue\":\"");
    if (rc == 0)
        rc = buf_base64(out, s);
    return rc < 0 ? rc : buf_str(out, "\"}");
}

static int write_value(const struct span_batch *b, const struct value *v, struct buf *out)
{
    switch ((enum value_type)v->type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
        return write_string(v->str, out);
    case VALUE_BOOL:
        return buf_str(out, v->b ? "{\"boolValue\":true}" : "{\"boolValue\":false}");
    case VALUE_INT:
        return buf_printf(out, "{\"intValue\":\"%lld\"}", (long long)v->i64);
    case VALUE_DOUBLE:
        return write_double(v->f64, out);
    case VALUE_BYTES:
        return write_bytes(v->str, out);
    case VALUE_ARRAY:
    case VALUE_KVLIST:
        return write_list(b, v, out);
    }
    return buf_str(out, "{}");
}

int value_json_write(const struct span_batch *b, const struct value *v, struct buf *out)
{
    size_t start = out->len;
    int rc = write_value(b, v, out);
    if (rc < 0)
        out->len = start;
    return rc;
}

int attrs_json_write(const struct span_batch *b, struct range attrs, struct buf *out)
{
    size_t start = out->len;
    int rc = write_attrs(b, attrs, out);
    if (rc < 0)
        out->len = start;
    return rc;
}

/* ---- reading ---- */

static int read_value(struct json_pull *j, unsigned depth_left, struct span_batch *b,
                      struct value *out);

static int fail_memory(struct json_pull *j)
{
    return err_set(j->err, ERR_NOMEM, "out of memory at byte %zu of JSON",
                   (size_t)(j->ptr - j->start));
}

static int read_attr(struct json_pull *j, unsigned depth_left, struct span_batch *b,
                     struct attr *out)
{
    struct json_iter it = {0};
    struct slice key;
    int rc;
    while ((rc = json_object_next(j, &it, &key)) == 0) {
        if (slice_eq(key, SLICE("key")))
            rc = json_string(j, &out->key);
        else if (slice_eq(key, SLICE("value")))
            rc = read_value(j, depth_left, b, &out->value);
        else
            rc = json_skip(j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

int attrs_json_read(struct json_pull *j, unsigned depth_max, struct span_batch *b,
                    struct range *out)
{
    struct json_iter it = {0};
    struct run run = {0};
    int rc;
    while ((rc = json_array_next(j, &it)) == 0) {
        /* Stored when it is whole: the vector may move while its own list is read. */
        struct attr a = {0};
        rc = read_attr(j, depth_max, b, &a);
        if (rc < 0)
            return rc;
        struct attr *at = span_batch_attr(b, &run);
        if (!at)
            return fail_memory(j);
        *at = a;
    }
    *out = run.range;
    return rc < 0 ? rc : 0;
}

static int read_values(struct json_pull *j, unsigned depth_left, struct span_batch *b,
                       struct range *out)
{
    struct json_iter it = {0};
    struct run run = {0};
    int rc;
    while ((rc = json_array_next(j, &it)) == 0) {
        struct value v = {0};
        rc = read_value(j, depth_left, b, &v);
        if (rc < 0)
            return rc;
        struct value *at = span_batch_value(b, &run);
        if (!at)
            return fail_memory(j);
        *at = v;
    }
    *out = run.range;
    return rc < 0 ? rc : 0;
}

/* ArrayValue or KeyValueList: {"values":[…]} */
static int read_list(struct json_pull *j, unsigned depth_left, struct span_batch *b,
                     enum value_type type, struct value *out)
{
    struct json_iter it = {0};
    struct slice key;
    struct range list = {0};
    int rc;
    while ((rc = json_object_next(j, &it, &key)) == 0) {
        if (!slice_eq(key, SLICE("values")))
            rc = json_skip(j);
        else if (type == VALUE_ARRAY)
            rc = read_values(j, depth_left, b, &list);
        else
            rc = attrs_json_read(j, depth_left, b, &list);
        if (rc < 0)
            return rc;
    }
    *out = (struct value){.type = (uint8_t)type, .list = list};
    return rc < 0 ? rc : 0;
}

/* The value of one key of an AnyValue; null leaves the field unset. */
static int read_member(struct json_pull *j, struct slice key, unsigned depth_left,
                       struct span_batch *b, struct value *out)
{
    enum json_type type;
    int rc = json_peek(j, &type);
    if (rc < 0)
        return rc;
    if (type == JSON_NULL)
        return json_null(j);
    if (json_key_is(key, "arrayValue"))
        return read_list(j, depth_left, b, VALUE_ARRAY, out);
    if (json_key_is(key, "kvlistValue"))
        return read_list(j, depth_left, b, VALUE_KVLIST, out);
    struct value v = {0};
    if (json_key_is(key, "stringValue")) {
        v.type = VALUE_STRING;
        rc = json_string(j, &v.str);
    } else if (json_key_is(key, "boolValue")) {
        v.type = VALUE_BOOL;
        rc = json_bool(j, &v.b);
    } else if (json_key_is(key, "intValue")) {
        v.type = VALUE_INT;
        rc = json_i64(j, &v.i64);
    } else if (json_key_is(key, "doubleValue")) {
        v.type = VALUE_DOUBLE;
        rc = json_f64(j, &v.f64);
    } else if (json_key_is(key, "bytesValue")) {
        v.type = VALUE_BYTES;
        rc = json_bytes(j, &v.str);
    } else {
        return json_skip(j);
    }
    if (rc == 0)
        *out = v;
    return rc;
}

static int read_value(struct json_pull *j, unsigned depth_left, struct span_batch *b,
                      struct value *out)
{
    if (depth_left == 0)
        return err_set(j->err, ERR_LIMIT, "attribute value nested too deep at byte %zu",
                       (size_t)(j->ptr - j->start));
    struct json_iter it = {0};
    struct slice key;
    int rc;
    *out = (struct value){0};
    while ((rc = json_object_next(j, &it, &key)) == 0) {
        rc = read_member(j, key, depth_left - 1, b, out);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

int value_json_parse(struct slice json, unsigned depth_max, struct arena *a, struct span_batch *b,
                     struct value *out, struct err *err)
{
    if (depth_max > UINT32_MAX / VALUE_JSON_LEVELS)
        depth_max = UINT32_MAX / VALUE_JSON_LEVELS;
    /* The text need not outlive the value, so its strings move into the arena. */
    if (!arena_slice(a, json, &json))
        return arena_err(a, err, "a JSON value");
    struct json_pull j = json_pull_of(json, a, depth_max * VALUE_JSON_LEVELS, err);
    int rc = read_value(&j, depth_max, b, out);
    return rc < 0 ? rc : json_end(&j);
}
