/* The messages of tempopb.StreamingQuerier, by table: which field is which parameter. */
#include "frontend/grpc_question.h"

#include <stdio.h>

#include "base/proto.h"
#include "base/text.h"
#include "frontend/frontend_limits.h"

/* A byte of the message becomes at most this many: an escape in a tag's value that is
 * percent-encoded, or a tag's name that is encoded twice. */
#define GROWTH_MAX 18
#define FIELDS_MAX 8

enum form {
    FORM_NONE, /* the end of a table */
    FORM_TEXT,
    FORM_NAME, /* of the tag: a part of the path */
    FORM_TAGS, /* map<string, string>, to logfmt */
    FORM_U32,
    FORM_MILLIS, /* uint32, to a duration */
    FORM_NANOS,  /* uint64, to a duration */
    FORM_TIME,   /* uint64, ns */
};

struct field {
    uint32_t number;
    enum form form;
    const char *param;
};

static const struct field search_fields[] = {
    {1, FORM_TAGS, "tags"}, {2, FORM_MILLIS, "minDuration"},
    {4, FORM_U32, "limit"}, {3, FORM_MILLIS, "maxDuration"},
    {5, FORM_U32, "start"}, {6, FORM_U32, "end"},
    {8, FORM_TEXT, "q"},    {9, FORM_U32, "spss"},
    {0, FORM_NONE, NULL},
};

static const struct field tags_fields[] = {
    {1, FORM_TEXT, "scope"}, {2, FORM_TEXT, "q"},    {3, FORM_U32, "start"},
    {4, FORM_U32, "end"},    {5, FORM_U32, "limit"}, {6, FORM_U32, "maxStaleValues"},
    {0, FORM_NONE, NULL},
};

static const struct field values_fields[] = {
    {1, FORM_NAME, NULL}, {2, FORM_TEXT, "q"},    {4, FORM_U32, "start"},
    {5, FORM_U32, "end"}, {6, FORM_U32, "limit"}, {7, FORM_U32, "maxStaleValues"},
    {0, FORM_NONE, NULL},
};

static const struct field range_fields[] = {
    {1, FORM_TEXT, "q"},     {2, FORM_TIME, "start"},     {3, FORM_TIME, "end"},
    {4, FORM_NANOS, "step"}, {16, FORM_U32, "exemplars"}, {17, FORM_U32, "maxSeries"},
    {0, FORM_NONE, NULL},
};

static const struct field instant_fields[] = {
    {1, FORM_TEXT, "q"},
    {2, FORM_TIME, "start"},
    {3, FORM_TIME, "end"},
    {0, FORM_NONE, NULL},
};

static const struct method {
    const char *name;
    const char *path; /* what FORM_NAME says stands between it and after */
    const char *after;
    const struct field *fields;
} methods[] = {
    {"Search", "/api/search", "", search_fields},
    {"SearchTags", "/api/search/tags", "", tags_fields},
    {"SearchTagsV2", "/api/v2/search/tags", "", tags_fields},
    {"SearchTagValues", "/api/search/tag/", "/values", values_fields},
    {"SearchTagValuesV2", "/api/v2/search/tag/", "/values", values_fields},
    {"MetricsQueryRange", "/api/metrics/query_range", "", range_fields},
    {"MetricsQueryInstant", "/api/metrics/query", "", instant_fields},
};

/* What the fields of a message say: the last one of a number counts, tags are collected. */
struct values {
    const struct method *method;
    struct {
        uint64_t num;
        struct slice text;
    } of[FIELDS_MAX];
    struct buf tags;
};

/* ---- the message ---- */

static int put_escaped(uint8_t c, struct buf *out)
{
    if (c < ' ')
        return buf_printf(out, "\\u%04x", c);
    int rc = c == '"' || c == '\\' ? buf_u8(out, '\\') : 0;
    return rc < 0 ? rc : buf_u8(out, c);
}

/* One pair as logfmt: key="value" */
static int put_pair(struct slice key, struct slice value, struct buf *out, struct err *err)
{
    bool sayable = key.len > 0;
    char shown[128];
    for (size_t i = 0; i < key.len; i++)
        sayable &= key.ptr[i] > ' ' && key.ptr[i] != '=' && key.ptr[i] != '"';
    if (!sayable)
        return err_set(err, ERR_INVALID, "invalid tags: \"%s\" is no name of a tag",
                       text_escape(key, 60, shown, sizeof shown));
    int rc = buf_slice(out, key);
    rc = rc < 0 ? rc : buf_str(out, "=\"");
    for (size_t i = 0; i < value.len && rc == 0; i++)
        rc = put_escaped(value.ptr[i], out);
    rc = rc < 0 ? rc : buf_str(out, "\" ");
    return rc < 0 ? err_set(err, rc, "no memory for a search's tags") : 0;
}

static int read_pair(struct slice entry, struct buf *out, struct err *err)
{
    struct cursor c = cursor_of(entry);
    struct slice key = SLICE(""), value = SLICE("");
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&c, &f, err)) == 0) {
        if (f.number == 1)
            rc = proto_get_bytes(&f, &key, err);
        else if (f.number == 2)
            rc = proto_get_bytes(&f, &value, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : put_pair(key, value, out, err);
}

static int read_field(struct values *v, const struct proto_field *f, struct err *err)
{
    size_t i = 0;
    while (v->method->fields[i].form && v->method->fields[i].number != f->number)
        i++;
    struct slice entry;
    int rc;
    switch (v->method->fields[i].form) {
    case FORM_NONE:
        return 0;
    case FORM_TEXT:
    case FORM_NAME:
        return proto_get_bytes(f, &v->of[i].text, err);
    case FORM_TAGS:
        rc = proto_get_bytes(f, &entry, err);
        return rc < 0 ? rc : read_pair(entry, &v->tags, err);
    case FORM_U32:
    case FORM_MILLIS:
        rc = proto_get_u64(f, UINT64_MAX, &v->of[i].num, err);
        v->of[i].num = (uint32_t)v->of[i].num; /* as protobuf cuts */
        return rc;
    default:
        return proto_get_u64(f, UINT64_MAX, &v->of[i].num, err);
    }
}

static int read_message(struct values *v, struct slice message, struct err *err)
{
    struct cursor c = cursor_of(message);
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&c, &f, err)) == 0) {
        rc = read_field(v, &f, err);
        if (rc < 0)
            break;
    }
    if (rc == ERR_CORRUPT)
        err_wrap(err, "grpc: error unmarshalling request");
    return rc < 0 ? rc : 0;
}

/* ---- the request ---- */

/* Longer ones would be taken for absent. */
static int check_length(const char *name, struct slice value, struct err *err)
{
    return value.len > LIMIT_PARAM_BYTES
               ? err_set(err, ERR_INVALID, "%s of %zu bytes, at most %zu are taken", name,
                         value.len, LIMIT_PARAM_BYTES)
               : 0;
}

static int put_param(struct buf *query, const char *name, struct slice value)
{
    if (value.len == 0)
        return 0;
    int rc = buf_printf(query, "%s%s=", query->len ? "&" : "", name);
    return rc < 0 ? rc : net_percent_encode(value, query);
}

static int put_number(struct buf *query, const struct field *f, unsigned long long v)
{
    char text[32];
    if (v == 0)
        return 0;
    if (f->form == FORM_TIME) /* with fewer digits it would be seconds */
        snprintf(text, sizeof text, "%011llu", v);
    else
        snprintf(text, sizeof text, "%llu%s", v,
                 f->form == FORM_MILLIS  ? "ms"
                 : f->form == FORM_NANOS ? "ns"
                                         : "");
    return put_param(query, f->param, slice_cstr(text));
}

/* Encoded twice, since a path's tag is decoded twice where an escape is left. */
static int put_path(const struct values *v, struct slice prefix, struct slice name,
                    struct buf *path)
{
    struct buf once;
    buf_init(&once, path->max);
    int rc = buf_slice(path, prefix);
    rc = rc < 0 ? rc : buf_str(path, v->method->path);
    rc = rc < 0 ? rc : net_percent_encode(name, &once);
    rc = rc < 0 ? rc : net_percent_encode(buf_view(&once), path);
    rc = rc < 0 ? rc : buf_str(path, v->method->after);
    buf_clear(&once);
    return rc;
}

static int put_request(const struct values *v, struct slice prefix, struct grpc_question *out,
                       struct err *err)
{
    struct slice name = SLICE(""), text;
    int rc = 0;
    for (size_t i = 0; v->method->fields[i].form && rc == 0; i++) {
        const struct field *f = &v->method->fields[i];
        switch (f->form) {
        case FORM_NAME:
            name = v->of[i].text;
            if (name.len == 0)
                return err_set(err, ERR_INVALID, "please provide a non-empty tagName");
            break;
        case FORM_TEXT:
        case FORM_TAGS:
            text = f->form == FORM_TAGS ? buf_view(&v->tags) : v->of[i].text;
            if (check_length(f->param, text, err) < 0)
                return ERR_INVALID;
            rc = put_param(&out->query, f->param, text);
            break;
        default:
            rc = put_number(&out->query, f, v->of[i].num);
        }
    }
    if (check_length("a tag's name", name, err) < 0)
        return ERR_INVALID;
    rc = rc < 0 ? rc : put_path(v, prefix, name, &out->path);
    return rc < 0 ? err_set(err, rc, "no memory for a question") : 0;
}

int grpc_question_read(struct slice path, struct slice message, struct slice prefix,
                       struct grpc_question *out, struct err *err)
{
    static const struct slice service = {(const uint8_t *)"/tempopb.StreamingQuerier/", 26};
    struct values v = {0};
    size_t max = message.len * GROWTH_MAX + prefix.len + 1024;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (slice_starts(path, service) &&
            slice_eq(slice_from(path, service.len), slice_cstr(methods[i].name)))
            v.method = &methods[i];
    }
    if (!v.method)
        return err_set(err, ERR_UNSUPPORTED, "unknown method");
    buf_init(&out->path, max);
    buf_init(&out->query, max);
    buf_init(&v.tags, max);
    int rc = read_message(&v, message, err);
    if (rc == 0)
        rc = put_request(&v, prefix, out, err);
    buf_clear(&v.tags);
    if (rc < 0)
        grpc_question_clear(out);
    return rc;
}

void grpc_question_clear(struct grpc_question *g)
{
    buf_clear(&g->path);
    buf_clear(&g->query);
}
