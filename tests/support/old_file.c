/* The schemas of vParquet3 and vParquet5, element by element. */
#include "tests/support/old_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void add(struct old_file *f, struct parquet_node node)
{
    if (f->depth)
        f->nodes.at[f->open[f->depth - 1]].children++;
    assert_true(vec_push(&f->nodes, node));
}

static void begin(struct old_file *f, const char *name, enum parquet_repetition repetition,
                  enum parquet_logical logical)
{
    uint32_t at = f->nodes.count;
    add(f, (struct parquet_node){.name = name,
                                 .type = PARQUET_GROUP,
                                 .repetition = (uint8_t)repetition,
                                 .logical = (uint8_t)logical});
    assert_in_range(f->depth, 0, 15);
    f->open[f->depth++] = at;
}

static void end(struct old_file *f, unsigned groups)
{
    f->depth -= groups;
}

static void group(struct old_file *f, const char *name)
{
    begin(f, name, PARQUET_REQUIRED, PARQUET_NONE);
}

/* vParquet3: three groups to end. */
static void list(struct old_file *f, const char *name)
{
    begin(f, name, PARQUET_REQUIRED, PARQUET_LIST);
    begin(f, "list", PARQUET_REPEATED, PARQUET_NONE);
    group(f, "element");
}

static void leaf(struct old_file *f, const char *name, enum parquet_repetition repetition,
                 enum parquet_type type, enum parquet_logical logical,
                 enum parquet_encoding encoding, enum parquet_codec codec, const struct column *c)
{
    add(f, (struct parquet_node){.name = name,
                                 .repetition = (uint8_t)repetition,
                                 .type = (int8_t)type,
                                 .logical = (uint8_t)logical,
                                 .encoding = (uint8_t)encoding,
                                 .codec = (uint8_t)codec});
    assert_true(vec_push(&f->columns, *c));
}

/* The kinds of leaves; a codec is snappy unless the name says otherwise. */
static void id(struct old_file *f, const char *name, const struct column *c)
{
    leaf(f, name, PARQUET_REQUIRED, PARQUET_BYTE_ARRAY, PARQUET_NONE,
         PARQUET_DELTA_LENGTH_BYTE_ARRAY, PARQUET_UNCOMPRESSED, c);
}

static void bytes(struct old_file *f, const char *name, const struct column *c)
{
    leaf(f, name, PARQUET_REQUIRED, PARQUET_BYTE_ARRAY, PARQUET_NONE,
         PARQUET_DELTA_LENGTH_BYTE_ARRAY, PARQUET_SNAPPY, c);
}

static void text(struct old_file *f, const char *name, enum parquet_repetition repetition,
                 const struct column *c)
{
    leaf(f, name, repetition, PARQUET_BYTE_ARRAY, PARQUET_STRING, PARQUET_DELTA_LENGTH_BYTE_ARRAY,
         PARQUET_SNAPPY, c);
}

static void dict(struct old_file *f, const char *name, enum parquet_repetition repetition,
                 const struct column *c)
{
    leaf(f, name, repetition, PARQUET_BYTE_ARRAY, PARQUET_STRING, PARQUET_RLE_DICTIONARY,
         PARQUET_SNAPPY, c);
}

static void plain(struct old_file *f, const char *name, enum parquet_repetition repetition,
                  enum parquet_type type, const struct column *c)
{
    bool integer = type == PARQUET_INT32 || type == PARQUET_INT64;
    leaf(f, name, repetition, type, integer ? PARQUET_SIGNED : PARQUET_NONE, PARQUET_PLAIN,
         PARQUET_SNAPPY, c);
}

static void delta(struct old_file *f, const char *name, enum parquet_type type,
                  enum parquet_logical logical, const struct column *c)
{
    leaf(f, name, PARQUET_REQUIRED, type, logical, PARQUET_DELTA_BINARY_PACKED,
         PARQUET_UNCOMPRESSED, c);
}

static void dropped(struct old_file *f, const char *name, enum parquet_encoding encoding,
                    const struct column *c)
{
    leaf(f, name, PARQUET_REQUIRED, PARQUET_INT32, PARQUET_SIGNED, encoding, PARQUET_SNAPPY, c);
}

static void trace_leaves(struct old_file *f, const struct column *l)
{
    id(f, "TraceID", &l[BLOCK_TRACE_ID]);
    text(f, "TraceIDText", PARQUET_REQUIRED, &l[BLOCK_TRACE_ID_TEXT]);
    delta(f, "StartTimeUnixNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_TRACE_START]);
    delta(f, "EndTimeUnixNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_TRACE_END]);
    delta(f, "DurationNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_TRACE_DURATION]);
    leaf(f, "RootServiceName", PARQUET_REQUIRED, PARQUET_BYTE_ARRAY, PARQUET_STRING,
         PARQUET_RLE_DICTIONARY, PARQUET_UNCOMPRESSED, &l[BLOCK_ROOT_SERVICE]);
    leaf(f, "RootSpanName", PARQUET_REQUIRED, PARQUET_BYTE_ARRAY, PARQUET_STRING,
         PARQUET_RLE_DICTIONARY, PARQUET_UNCOMPRESSED, &l[BLOCK_ROOT_NAME]);
}

static void span_leaves(struct old_file *f, const struct column *l, const struct column *children)
{
    id(f, "SpanID", &l[BLOCK_SPAN_ID]);
    id(f, "ParentSpanID", &l[BLOCK_SPAN_PARENT_SPAN_ID]);
    delta(f, "ParentID", PARQUET_INT32, PARQUET_SIGNED, &l[BLOCK_SPAN_PARENT_ID]);
    delta(f, "NestedSetLeft", PARQUET_INT32, PARQUET_SIGNED, &l[BLOCK_SPAN_NESTED_LEFT]);
    delta(f, "NestedSetRight", PARQUET_INT32, PARQUET_SIGNED, &l[BLOCK_SPAN_NESTED_RIGHT]);
    if (children)
        delta(f, "ChildCount", PARQUET_INT32, PARQUET_SIGNED, children);
    dict(f, "Name", PARQUET_REQUIRED, &l[BLOCK_SPAN_NAME]);
    delta(f, "Kind", PARQUET_INT64, PARQUET_SIGNED, &l[BLOCK_SPAN_KIND]);
    text(f, "TraceState", PARQUET_REQUIRED, &l[BLOCK_SPAN_TRACE_STATE]);
    delta(f, "StartTimeUnixNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_SPAN_START]);
    delta(f, "DurationNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_SPAN_DURATION]);
    delta(f, "StatusCode", PARQUET_INT64, PARQUET_SIGNED, &l[BLOCK_SPAN_STATUS_CODE]);
    text(f, "StatusMessage", PARQUET_REQUIRED, &l[BLOCK_SPAN_STATUS_MESSAGE]);
}

/* ---- vParquet3 ---- */

static void attrs_v3(struct old_file *f, const struct column *l, int attrs, int kvlist)
{
    list(f, "Attrs");
    dict(f, "Key", PARQUET_REQUIRED, &l[attrs + BLOCK_ATTR_KEY]);
    dict(f, "Value", PARQUET_OPTIONAL, &l[attrs + BLOCK_ATTR_STRING]);
    plain(f, "ValueInt", PARQUET_OPTIONAL, PARQUET_INT64, &l[attrs + BLOCK_ATTR_INT]);
    plain(f, "ValueDouble", PARQUET_OPTIONAL, PARQUET_DOUBLE, &l[attrs + BLOCK_ATTR_DOUBLE]);
    plain(f, "ValueBool", PARQUET_OPTIONAL, PARQUET_BOOLEAN, &l[attrs + BLOCK_ATTR_BOOL]);
    text(f, "ValueKVList", PARQUET_OPTIONAL, &l[kvlist]);
    text(f, "ValueArray", PARQUET_OPTIONAL, &l[attrs + BLOCK_ATTR_UNSUPPORTED]);
    end(f, 3);
}

static const char *const string_names[BLOCK_DEDICATED_STRINGS] = {
    "String01", "String02", "String03", "String04", "String05", "String06", "String07",
    "String08", "String09", "String10", "String11", "String12", "String13", "String14",
    "String15", "String16", "String17", "String18", "String19", "String20",
};
static const char *const int_names[BLOCK_DEDICATED_INTS] = {"Int01", "Int02", "Int03", "Int04",
                                                            "Int05"};

static void dedicated_v3(struct old_file *f, const struct column *l, int first)
{
    group(f, "DedicatedAttributes");
    for (int i = 0; i < BLOCK_DEDICATED_MAX; i++)
        dict(f, string_names[i], PARQUET_OPTIONAL, &l[first + i]);
    end(f, 1);
}

static void resource_v3(struct old_file *f, const struct column *l)
{
    static const char *const names[] = {"Cluster",    "Namespace",       "Pod",
                                        "Container",  "K8sClusterName",  "K8sNamespaceName",
                                        "K8sPodName", "K8sContainerName"};
    group(f, "Resource");
    attrs_v3(f, l, BLOCK_RESOURCE_ATTRS, BLOCK_RESOURCE_KVLIST);
    dict(f, "ServiceName", PARQUET_REQUIRED, &l[BLOCK_RESOURCE_SERVICE]);
    for (int i = 0; i < 8; i++)
        dict(f, names[i], PARQUET_OPTIONAL, &l[BLOCK_RESOURCE_CLUSTER + i]);
    dedicated_v3(f, l, BLOCK_RESOURCE_DEDICATED);
    end(f, 1);
}

static void span_v3(struct old_file *f, const struct column *l)
{
    span_leaves(f, l, NULL);
    attrs_v3(f, l, BLOCK_SPAN_ATTRS, BLOCK_SPAN_KVLIST);
    dropped(f, "DroppedAttributesCount", PARQUET_PLAIN, &l[BLOCK_SPAN_DROPPED]);
    list(f, "Events");
    delta(f, "TimeUnixNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_EVENT_TIME_UNIX]);
    text(f, "Name", PARQUET_REQUIRED, &l[BLOCK_EVENT_NAME]);
    list(f, "Attrs");
    dict(f, "Key", PARQUET_REQUIRED, &l[BLOCK_EVENT_ATTRS]);
    bytes(f, "Value", &l[BLOCK_EVENT_ATTR_PROTO]);
    end(f, 3);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_EVENT_DROPPED]);
    end(f, 3);
    dropped(f, "DroppedEventsCount", PARQUET_PLAIN, &l[BLOCK_SPAN_DROPPED_EVENTS]);
    bytes(f, "Links", &l[BLOCK_SPAN_LINKS_PROTO]);
    dropped(f, "DroppedLinksCount", PARQUET_PLAIN, &l[BLOCK_SPAN_DROPPED_LINKS]);
    dict(f, "HttpMethod", PARQUET_OPTIONAL, &l[BLOCK_SPAN_HTTP_METHOD]);
    dict(f, "HttpUrl", PARQUET_OPTIONAL, &l[BLOCK_SPAN_HTTP_URL]);
    plain(f, "HttpStatusCode", PARQUET_OPTIONAL, PARQUET_INT64, &l[BLOCK_SPAN_HTTP_STATUS]);
    dedicated_v3(f, l, BLOCK_SPAN_DEDICATED);
}

void old_file_v3(const struct old_columns *c, struct old_file *f)
{
    const struct column *l = c->leaf;
    *f = (struct old_file){.depth = 0};
    group(f, "Trace");
    trace_leaves(f, l);
    list(f, "rs");
    resource_v3(f, l);
    list(f, "ss");
    group(f, "Scope");
    dict(f, "Name", PARQUET_REQUIRED, &l[BLOCK_SCOPE_NAME]);
    dict(f, "Version", PARQUET_REQUIRED, &l[BLOCK_SCOPE_VERSION]);
    end(f, 1);
    list(f, "Spans");
    span_v3(f, l);
    end(f, 10);
    assert_int_equal(f->columns.count, 76);
}

/* ---- vParquet5 ---- */

static void attrs_v5(struct old_file *f, const struct column *l, int attrs)
{
    begin(f, "Attrs", PARQUET_REPEATED, PARQUET_NONE);
    dict(f, "Key", PARQUET_REQUIRED, &l[attrs + BLOCK_ATTR_KEY]);
    plain(f, "IsArray", PARQUET_REQUIRED, PARQUET_BOOLEAN, &l[attrs + BLOCK_ATTR_IS_ARRAY]);
    dict(f, "Value", PARQUET_REPEATED, &l[attrs + BLOCK_ATTR_STRING]);
    plain(f, "ValueInt", PARQUET_REPEATED, PARQUET_INT64, &l[attrs + BLOCK_ATTR_INT]);
    plain(f, "ValueDouble", PARQUET_REPEATED, PARQUET_DOUBLE, &l[attrs + BLOCK_ATTR_DOUBLE]);
    plain(f, "ValueBool", PARQUET_REPEATED, PARQUET_BOOLEAN, &l[attrs + BLOCK_ATTR_BOOL]);
    text(f, "ValueUnsupported", PARQUET_OPTIONAL, &l[attrs + BLOCK_ATTR_UNSUPPORTED]);
    end(f, 1);
}

/* Columns that no attribute is dedicated to are not there, nor is the group when it is empty. */
static void dedicated_v5(struct old_file *f, const struct old_columns *c, enum block_scope scope)
{
    bool any = false;
    for (int i = 0; i < BLOCK_DEDICATED_ALL; i++) {
        const struct column *column = &c->dedicated[scope][i];
        if (!c->has_dedicated[scope][i])
            continue;
        if (!any)
            group(f, "DedicatedAttributes");
        any = true;
        if (i >= BLOCK_DEDICATED_STRINGS)
            plain(f, int_names[i - BLOCK_DEDICATED_STRINGS], PARQUET_REPEATED, PARQUET_INT64,
                  column);
        else if (c->blob[scope][i])
            leaf(f, string_names[i], PARQUET_REPEATED, PARQUET_BYTE_ARRAY, PARQUET_STRING,
                 PARQUET_DELTA_LENGTH_BYTE_ARRAY, PARQUET_ZSTD, column);
        else
            dict(f, string_names[i], PARQUET_REPEATED, column);
    }
    if (any)
        end(f, 1);
}

static void events_v5(struct old_file *f, const struct old_columns *c)
{
    const struct column *l = c->leaf;
    begin(f, "Events", PARQUET_REPEATED, PARQUET_NONE);
    delta(f, "TimeSinceStartNano", PARQUET_INT64, PARQUET_UNSIGNED, &l[BLOCK_EVENT_TIME]);
    dict(f, "Name", PARQUET_REQUIRED, &l[BLOCK_EVENT_NAME]);
    attrs_v5(f, l, BLOCK_EVENT_ATTRS);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_EVENT_DROPPED]);
    dedicated_v5(f, c, BLOCK_SCOPE_EVENT);
    end(f, 1);
}

static void links_v5(struct old_file *f, const struct column *l)
{
    begin(f, "Links", PARQUET_REPEATED, PARQUET_NONE);
    id(f, "TraceID", &l[BLOCK_LINK_TRACE_ID]);
    id(f, "SpanID", &l[BLOCK_LINK_SPAN_ID]);
    text(f, "TraceState", PARQUET_REQUIRED, &l[BLOCK_LINK_TRACE_STATE]);
    attrs_v5(f, l, BLOCK_LINK_ATTRS);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_LINK_DROPPED]);
    end(f, 1);
}

static void span_v5(struct old_file *f, const struct old_columns *c)
{
    static const char *const rounded[] = {"StartTimeRounded15", "StartTimeRounded60",
                                          "StartTimeRounded300", "StartTimeRounded3600"};
    const struct column *l = c->leaf;
    begin(f, "Spans", PARQUET_REPEATED, PARQUET_NONE);
    span_leaves(f, l, &c->child_count);
    attrs_v5(f, l, BLOCK_SPAN_ATTRS);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_SPAN_DROPPED]);
    events_v5(f, c);
    dropped(f, "DroppedEventsCount", PARQUET_PLAIN, &l[BLOCK_SPAN_DROPPED_EVENTS]);
    links_v5(f, l);
    dropped(f, "DroppedLinksCount", PARQUET_PLAIN, &l[BLOCK_SPAN_DROPPED_LINKS]);
    dedicated_v5(f, c, BLOCK_SCOPE_SPAN);
    for (int i = 0; i < 4; i++)
        delta(f, rounded[i], PARQUET_INT32, PARQUET_UNSIGNED, &c->rounded[i]);
    end(f, 1);
}

void old_file_v5(const struct old_columns *c, struct old_file *f)
{
    const struct column *l = c->leaf;
    *f = (struct old_file){.depth = 0};
    group(f, "Trace");
    trace_leaves(f, l);
    begin(f, "ServiceStats", PARQUET_REPEATED, PARQUET_NONE);
    dict(f, "ServiceName", PARQUET_REQUIRED, &l[BLOCK_STATS_SERVICE]);
    delta(f, "SpanCount", PARQUET_INT32, PARQUET_UNSIGNED, &l[BLOCK_STATS_SPANS]);
    delta(f, "ErrorCount", PARQUET_INT32, PARQUET_UNSIGNED, &l[BLOCK_STATS_ERRORS]);
    end(f, 1);
    begin(f, "rs", PARQUET_REPEATED, PARQUET_NONE);
    group(f, "Resource");
    dict(f, "ServiceName", PARQUET_REQUIRED, &l[BLOCK_RESOURCE_SERVICE]);
    attrs_v5(f, l, BLOCK_RESOURCE_ATTRS);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_RESOURCE_DROPPED]);
    dedicated_v5(f, c, BLOCK_SCOPE_RESOURCE);
    end(f, 1);
    begin(f, "ss", PARQUET_REPEATED, PARQUET_NONE);
    group(f, "Scope");
    dict(f, "Name", PARQUET_REQUIRED, &l[BLOCK_SCOPE_NAME]);
    dict(f, "Version", PARQUET_REQUIRED, &l[BLOCK_SCOPE_VERSION]);
    attrs_v5(f, l, BLOCK_SCOPE_ATTRS);
    dropped(f, "DroppedAttributesCount", PARQUET_DELTA_BINARY_PACKED, &l[BLOCK_SCOPE_DROPPED]);
    end(f, 1);
    span_v5(f, c);
    delta(f, "SpanCount", PARQUET_INT32, PARQUET_SIGNED, &c->span_count);
    end(f, 3);
}

void old_file_clear(struct old_file *f)
{
    vec_free(&f->nodes);
    vec_free(&f->columns);
}
