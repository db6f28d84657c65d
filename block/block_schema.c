/* The vParquet4 schema as a tree for the writer, and the leaves of all versions for everybody else.
 *
 * Tempo addresses columns by position when it rebuilds traces, so order, names and repetition of
 * the 181 elements are fixed (docs/formats/block.md, 5). Files that are read are bound by path
 * instead: that of vParquet4, but for what `elsewhere` says (docs/formats/block.md, 8).
 * The tree and the list say the same thing twice: a test derives one from the other. */
#include "block/block_schema.h"

#include <assert.h>

/* A table is read by its columns. */
/* clang-format off */

#define GROUP(name_, children_)                                                                    \
    {.name = (name_), .type = PARQUET_GROUP, .children = (children_)}
#define LIST_OUTER(name_)                                                                          \
    {.name = (name_), .type = PARQUET_GROUP, .logical = PARQUET_LIST, .children = 1}
#define LIST_INNER                                                                                 \
    {.name = "list", .type = PARQUET_GROUP, .repetition = PARQUET_REPEATED, .children = 1}
/* A list of groups. */
#define LIST(name_, children_) LIST_OUTER(name_), LIST_INNER, GROUP("element", children_)

#define LEAF(name_, type_, logical_, rep_, enc_, codec_)                                           \
    {.name = (name_), .repetition = PARQUET_##rep_, .type = PARQUET_##type_,                       \
     .logical = PARQUET_##logical_, .encoding = PARQUET_##enc_, .codec = PARQUET_##codec_}
/* The kinds of leaves there are. Of zstd the writer takes back what does not pay; the two columns of
 * random ids are spared the attempt. */
#define RANDOM_ID(name_)       LEAF(name_, BYTE_ARRAY, NONE, REQUIRED, DELTA_LENGTH_BYTE_ARRAY, UNCOMPRESSED)
#define ID(name_)              LEAF(name_, BYTE_ARRAY, NONE, REQUIRED, DELTA_LENGTH_BYTE_ARRAY, ZSTD)
#define TEXT(name_)            LEAF(name_, BYTE_ARRAY, STRING, REQUIRED, DELTA_LENGTH_BYTE_ARRAY, ZSTD)
#define DICT(name_)            LEAF(name_, BYTE_ARRAY, STRING, REQUIRED, RLE_DICTIONARY, ZSTD)
#define DICT_OPT(name_)        LEAF(name_, BYTE_ARRAY, STRING, OPTIONAL, RLE_DICTIONARY, ZSTD)
#define U64(name_)             LEAF(name_, INT64, UNSIGNED, REQUIRED, DELTA_BINARY_PACKED, ZSTD)
#define I64(name_)             LEAF(name_, INT64, SIGNED, REQUIRED, DELTA_BINARY_PACKED, ZSTD)
#define U32(name_)             LEAF(name_, INT32, UNSIGNED, REQUIRED, DELTA_BINARY_PACKED, ZSTD)
#define I32(name_)             LEAF(name_, INT32, SIGNED, REQUIRED, DELTA_BINARY_PACKED, ZSTD)
#define DROPPED(name_, enc_)   LEAF(name_, INT32, SIGNED, REQUIRED, enc_, ZSTD)

#define LIST_LEAF(name_, type_, logical_, enc_)                                                    \
    LIST_OUTER(name_), LIST_INNER, LEAF("element", type_, logical_, REQUIRED, enc_, ZSTD)

#define ATTRS                                                                                      \
    LIST("Attrs", 7),                                                                              \
    DICT("Key"),                                                                                   \
    LEAF("IsArray", BOOLEAN, NONE, REQUIRED, PLAIN, ZSTD),                                         \
    LIST_LEAF("Value", BYTE_ARRAY, STRING, RLE_DICTIONARY),                                        \
    LIST_LEAF("ValueInt", INT64, SIGNED, PLAIN),                                                   \
    LIST_LEAF("ValueDouble", DOUBLE, NONE, PLAIN),                                                 \
    LIST_LEAF("ValueBool", BOOLEAN, NONE, PLAIN),                                                  \
    LEAF("ValueUnsupported", BYTE_ARRAY, STRING, OPTIONAL, DELTA_LENGTH_BYTE_ARRAY, ZSTD)

#define DEDICATED                                                                                  \
    GROUP("DedicatedAttributes", BLOCK_DEDICATED_MAX),                                             \
    DICT_OPT("String01"), DICT_OPT("String02"), DICT_OPT("String03"), DICT_OPT("String04"),        \
    DICT_OPT("String05"), DICT_OPT("String06"), DICT_OPT("String07"), DICT_OPT("String08"),        \
    DICT_OPT("String09"), DICT_OPT("String10")

const struct parquet_node block_schema[] = {
    GROUP("Trace", 9),
    RANDOM_ID("TraceID"),
    TEXT("TraceIDText"),
    U64("StartTimeUnixNano"),
    U64("EndTimeUnixNano"),
    U64("DurationNano"),
    DICT("RootServiceName"),
    DICT("RootSpanName"),
    {.name = "ServiceStats", .type = PARQUET_GROUP, .logical = PARQUET_MAP, .children = 1},
    {.name = "key_value", .type = PARQUET_GROUP, .repetition = PARQUET_REPEATED, .children = 2},
    TEXT("key"),
    GROUP("value", 2),
    U32("SpanCount"),
    U32("ErrorCount"),

    LIST("rs", 2),
    GROUP("Resource", 12),
    ATTRS,
    DROPPED("DroppedAttributesCount", DELTA_BINARY_PACKED),
    DICT("ServiceName"),
    DICT_OPT("Cluster"),
    DICT_OPT("Namespace"),
    DICT_OPT("Pod"),
    DICT_OPT("Container"),
    DICT_OPT("K8sClusterName"),
    DICT_OPT("K8sNamespaceName"),
    DICT_OPT("K8sPodName"),
    DICT_OPT("K8sContainerName"),
    DEDICATED,

    LIST("ss", 2),
    GROUP("Scope", 4),
    DICT("Name"),
    DICT("Version"),
    ATTRS,
    DROPPED("DroppedAttributesCount", DELTA_BINARY_PACKED),

    LIST("Spans", 22),
    RANDOM_ID("SpanID"),
    ID("ParentSpanID"),
    I32("ParentID"),
    I32("NestedSetLeft"),
    I32("NestedSetRight"),
    DICT("Name"),
    I64("Kind"),
    TEXT("TraceState"),
    U64("StartTimeUnixNano"),
    U64("DurationNano"),
    I64("StatusCode"),
    TEXT("StatusMessage"),
    ATTRS,
    DROPPED("DroppedAttributesCount", DELTA_BINARY_PACKED),

    LIST("Events", 4),
    U64("TimeSinceStartNano"),
    DICT("Name"),
    ATTRS,
    DROPPED("DroppedAttributesCount", DELTA_BINARY_PACKED),
    DROPPED("DroppedEventsCount", PLAIN),

    LIST("Links", 5),
    ID("TraceID"),
    ID("SpanID"),
    TEXT("TraceState"),
    ATTRS,
    DROPPED("DroppedAttributesCount", DELTA_BINARY_PACKED),
    DROPPED("DroppedLinksCount", PLAIN),

    DICT_OPT("HttpMethod"),
    DICT_OPT("HttpUrl"),
    LEAF("HttpStatusCode", INT64, SIGNED, OPTIONAL, PLAIN, ZSTD),
    DEDICATED,
};

const size_t block_schema_count = sizeof block_schema / sizeof block_schema[0];

#define R "rs.list.element.Resource"
#define C "rs.list.element.ss.list.element.Scope"
#define S "rs.list.element.ss.list.element.Spans.list.element"
#define E S ".Events.list.element"
#define L S ".Links.list.element"

/* The values of an attribute: a list, whose elements have levels (lv, lv). */
#define VALUES(at_, path_, type_, lv_, dict_)                                                      \
    [at_] = {path_ ".list.element", type_, lv_, lv_, dict_, true}

/* The seven of an attribute list whose elements have levels (lv, lv). */
#define ATTR_LEAVES(first_, prefix_, lv_)                                                          \
    [(first_) + BLOCK_ATTR_KEY] =                                                                  \
        {prefix_ ".Attrs.list.element.Key", COLUMN_BYTES, lv_, lv_, true, false},                  \
    [(first_) + BLOCK_ATTR_IS_ARRAY] =                                                             \
        {prefix_ ".Attrs.list.element.IsArray", COLUMN_BOOL, lv_, lv_, false, false},              \
    VALUES((first_) + BLOCK_ATTR_STRING, prefix_ ".Attrs.list.element.Value", COLUMN_BYTES,        \
           lv_ + 1, true),                                                                         \
    VALUES((first_) + BLOCK_ATTR_INT, prefix_ ".Attrs.list.element.ValueInt", COLUMN_I64,          \
           lv_ + 1, false),                                                                        \
    VALUES((first_) + BLOCK_ATTR_DOUBLE, prefix_ ".Attrs.list.element.ValueDouble", COLUMN_F64,    \
           lv_ + 1, false),                                                                        \
    VALUES((first_) + BLOCK_ATTR_BOOL, prefix_ ".Attrs.list.element.ValueBool", COLUMN_BOOL,       \
           lv_ + 1, false),                                                                        \
    [(first_) + BLOCK_ATTR_UNSUPPORTED] =                                                          \
        {prefix_ ".Attrs.list.element.ValueUnsupported", COLUMN_BYTES, lv_, lv_ + 1, false, false}

#define TEXT4(at_, prefix_, name_, lv_)                                                            \
    [at_] = {prefix_ ".DedicatedAttributes." name_, COLUMN_BYTES, lv_, lv_ + 1, true, true}

#define DEDICATED_LEAVES(first_, prefix_, lv_)                                                     \
    TEXT4((first_) + 0, prefix_, "String01", lv_), TEXT4((first_) + 1, prefix_, "String02", lv_),  \
    TEXT4((first_) + 2, prefix_, "String03", lv_), TEXT4((first_) + 3, prefix_, "String04", lv_),  \
    TEXT4((first_) + 4, prefix_, "String05", lv_), TEXT4((first_) + 5, prefix_, "String06", lv_),  \
    TEXT4((first_) + 6, prefix_, "String07", lv_), TEXT4((first_) + 7, prefix_, "String08", lv_),  \
    TEXT4((first_) + 8, prefix_, "String09", lv_), TEXT4((first_) + 9, prefix_, "String10", lv_)

/* vParquet5's, which are lists; lv_ is the level of an element. */
#define R5 "rs.Resource"
#define S5 "rs.ss.Spans"
#define E5 "rs.ss.Spans.Events"

#define TEXT5(at_, prefix_, name_, lv_)                                                            \
    [at_] = {prefix_ ".DedicatedAttributes." name_, COLUMN_BYTES, lv_, lv_, true, true}
#define INT5(at_, prefix_, name_, lv_)                                                             \
    [at_] = {prefix_ ".DedicatedAttributes." name_, COLUMN_I64, lv_, lv_, false, true}

#define DEDICATED5_LOW(first_, prefix_, lv_)                                                       \
    TEXT5((first_) + 0, prefix_, "String01", lv_), TEXT5((first_) + 1, prefix_, "String02", lv_),  \
    TEXT5((first_) + 2, prefix_, "String03", lv_), TEXT5((first_) + 3, prefix_, "String04", lv_),  \
    TEXT5((first_) + 4, prefix_, "String05", lv_), TEXT5((first_) + 5, prefix_, "String06", lv_),  \
    TEXT5((first_) + 6, prefix_, "String07", lv_), TEXT5((first_) + 7, prefix_, "String08", lv_),  \
    TEXT5((first_) + 8, prefix_, "String09", lv_), TEXT5((first_) + 9, prefix_, "String10", lv_)

#define DEDICATED5_HIGH(first_, prefix_, lv_)                                                      \
    TEXT5((first_) + 0, prefix_, "String11", lv_), TEXT5((first_) + 1, prefix_, "String12", lv_),  \
    TEXT5((first_) + 2, prefix_, "String13", lv_), TEXT5((first_) + 3, prefix_, "String14", lv_),  \
    TEXT5((first_) + 4, prefix_, "String15", lv_), TEXT5((first_) + 5, prefix_, "String16", lv_),  \
    TEXT5((first_) + 6, prefix_, "String17", lv_), TEXT5((first_) + 7, prefix_, "String18", lv_),  \
    TEXT5((first_) + 8, prefix_, "String19", lv_), TEXT5((first_) + 9, prefix_, "String20", lv_),  \
    INT5((first_) + 10, prefix_, "Int01", lv_), INT5((first_) + 11, prefix_, "Int02", lv_),        \
    INT5((first_) + 12, prefix_, "Int03", lv_), INT5((first_) + 13, prefix_, "Int04", lv_),        \
    INT5((first_) + 14, prefix_, "Int05", lv_)

const struct block_leaf_info block_leaves[BLOCK_LEAVES] = {
    [BLOCK_TRACE_ID] = {"TraceID", COLUMN_BYTES, 0, 0, false, false},
    [BLOCK_TRACE_ID_TEXT] = {"TraceIDText", COLUMN_BYTES, 0, 0, false, false},
    [BLOCK_TRACE_START] = {"StartTimeUnixNano", COLUMN_I64, 0, 0, false, false},
    [BLOCK_TRACE_END] = {"EndTimeUnixNano", COLUMN_I64, 0, 0, false, false},
    [BLOCK_TRACE_DURATION] = {"DurationNano", COLUMN_I64, 0, 0, false, false},
    [BLOCK_ROOT_SERVICE] = {"RootServiceName", COLUMN_BYTES, 0, 0, true, false},
    [BLOCK_ROOT_NAME] = {"RootSpanName", COLUMN_BYTES, 0, 0, true, false},
    [BLOCK_STATS_SERVICE] = {"ServiceStats.key_value.key", COLUMN_BYTES, 1, 1, false, false},
    [BLOCK_STATS_SPANS] = {"ServiceStats.key_value.value.SpanCount", COLUMN_I32, 1, 1, false, false},
    [BLOCK_STATS_ERRORS] = {"ServiceStats.key_value.value.ErrorCount", COLUMN_I32, 1, 1, false, false},
    ATTR_LEAVES(BLOCK_RESOURCE_ATTRS, R, 2),
    [BLOCK_RESOURCE_DROPPED] = {R ".DroppedAttributesCount", COLUMN_I32, 1, 1, false, false},
    [BLOCK_RESOURCE_SERVICE] = {R ".ServiceName", COLUMN_BYTES, 1, 1, true, false},
    [BLOCK_RESOURCE_CLUSTER] = {R ".Cluster", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_NAMESPACE] = {R ".Namespace", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_POD] = {R ".Pod", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_CONTAINER] = {R ".Container", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_K8S_CLUSTER] = {R ".K8sClusterName", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_K8S_NAMESPACE] = {R ".K8sNamespaceName", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_K8S_POD] = {R ".K8sPodName", COLUMN_BYTES, 1, 2, true, false},
    [BLOCK_RESOURCE_K8S_CONTAINER] = {R ".K8sContainerName", COLUMN_BYTES, 1, 2, true, false},
    DEDICATED_LEAVES(BLOCK_RESOURCE_DEDICATED, R, 1),
    [BLOCK_SCOPE_NAME] = {C ".Name", COLUMN_BYTES, 2, 2, true, false},
    [BLOCK_SCOPE_VERSION] = {C ".Version", COLUMN_BYTES, 2, 2, true, false},
    ATTR_LEAVES(BLOCK_SCOPE_ATTRS, C, 3),
    [BLOCK_SCOPE_DROPPED] = {C ".DroppedAttributesCount", COLUMN_I32, 2, 2, false, false},
    [BLOCK_SPAN_ID] = {S ".SpanID", COLUMN_BYTES, 3, 3, false, false},
    [BLOCK_SPAN_PARENT_SPAN_ID] = {S ".ParentSpanID", COLUMN_BYTES, 3, 3, false, false},
    [BLOCK_SPAN_PARENT_ID] = {S ".ParentID", COLUMN_I32, 3, 3, false, false},
    [BLOCK_SPAN_NESTED_LEFT] = {S ".NestedSetLeft", COLUMN_I32, 3, 3, false, false},
    [BLOCK_SPAN_NESTED_RIGHT] = {S ".NestedSetRight", COLUMN_I32, 3, 3, false, false},
    [BLOCK_SPAN_NAME] = {S ".Name", COLUMN_BYTES, 3, 3, true, false},
    [BLOCK_SPAN_KIND] = {S ".Kind", COLUMN_I64, 3, 3, false, false},
    [BLOCK_SPAN_TRACE_STATE] = {S ".TraceState", COLUMN_BYTES, 3, 3, false, false},
    [BLOCK_SPAN_START] = {S ".StartTimeUnixNano", COLUMN_I64, 3, 3, false, false},
    [BLOCK_SPAN_DURATION] = {S ".DurationNano", COLUMN_I64, 3, 3, false, false},
    [BLOCK_SPAN_STATUS_CODE] = {S ".StatusCode", COLUMN_I64, 3, 3, false, false},
    [BLOCK_SPAN_STATUS_MESSAGE] = {S ".StatusMessage", COLUMN_BYTES, 3, 3, false, false},
    ATTR_LEAVES(BLOCK_SPAN_ATTRS, S, 4),
    [BLOCK_SPAN_DROPPED] = {S ".DroppedAttributesCount", COLUMN_I32, 3, 3, false, false},
    [BLOCK_EVENT_TIME] = {E ".TimeSinceStartNano", COLUMN_I64, 4, 4, false, false},
    [BLOCK_EVENT_NAME] = {E ".Name", COLUMN_BYTES, 4, 4, true, false},
    ATTR_LEAVES(BLOCK_EVENT_ATTRS, E, 5),
    [BLOCK_EVENT_DROPPED] = {E ".DroppedAttributesCount", COLUMN_I32, 4, 4, false, false},
    [BLOCK_SPAN_DROPPED_EVENTS] = {S ".DroppedEventsCount", COLUMN_I32, 3, 3, false, false},
    [BLOCK_LINK_TRACE_ID] = {L ".TraceID", COLUMN_BYTES, 4, 4, false, false},
    [BLOCK_LINK_SPAN_ID] = {L ".SpanID", COLUMN_BYTES, 4, 4, false, false},
    [BLOCK_LINK_TRACE_STATE] = {L ".TraceState", COLUMN_BYTES, 4, 4, false, false},
    ATTR_LEAVES(BLOCK_LINK_ATTRS, L, 5),
    [BLOCK_LINK_DROPPED] = {L ".DroppedAttributesCount", COLUMN_I32, 4, 4, false, false},
    [BLOCK_SPAN_DROPPED_LINKS] = {S ".DroppedLinksCount", COLUMN_I32, 3, 3, false, false},
    [BLOCK_SPAN_HTTP_METHOD] = {S ".HttpMethod", COLUMN_BYTES, 3, 4, true, false},
    [BLOCK_SPAN_HTTP_URL] = {S ".HttpUrl", COLUMN_BYTES, 3, 4, true, false},
    [BLOCK_SPAN_HTTP_STATUS] = {S ".HttpStatusCode", COLUMN_I64, 3, 4, false, false},
    DEDICATED_LEAVES(BLOCK_SPAN_DEDICATED, S, 3),

    DEDICATED5_HIGH(BLOCK_RESOURCE_DEDICATED_MORE, R5, 2),
    DEDICATED5_HIGH(BLOCK_SPAN_DEDICATED_MORE, S5, 4),
    DEDICATED5_LOW(BLOCK_EVENT_DEDICATED, E5, 5),
    DEDICATED5_HIGH(BLOCK_EVENT_DEDICATED + BLOCK_DEDICATED_MAX, E5, 5),

    [BLOCK_RESOURCE_KVLIST] = {R ".Attrs.list.element.ValueKVList", COLUMN_BYTES, 2, 3, false, false},
    [BLOCK_SPAN_KVLIST] = {S ".Attrs.list.element.ValueKVList", COLUMN_BYTES, 4, 5, false, false},
    [BLOCK_EVENT_TIME_UNIX] = {E ".TimeUnixNano", COLUMN_I64, 4, 4, false, false},
    [BLOCK_EVENT_ATTR_PROTO] = {E ".Attrs.list.element.Value", COLUMN_BYTES, 5, 5, false, false},
    [BLOCK_SPAN_LINKS_PROTO] = {S ".Links", COLUMN_BYTES, 3, 3, false, false},
};

/* What another version keeps under another path than vParquet4. */
struct elsewhere {
    uint8_t version, leaf;
    const char *path;
};

#define ATTR_ELSEWHERE(first_, prefix_)                                                            \
    {BLOCK_VPARQUET3, (first_) + BLOCK_ATTR_STRING, prefix_ ".Attrs.list.element.Value"},          \
    {BLOCK_VPARQUET3, (first_) + BLOCK_ATTR_INT, prefix_ ".Attrs.list.element.ValueInt"},          \
    {BLOCK_VPARQUET3, (first_) + BLOCK_ATTR_DOUBLE, prefix_ ".Attrs.list.element.ValueDouble"},    \
    {BLOCK_VPARQUET3, (first_) + BLOCK_ATTR_BOOL, prefix_ ".Attrs.list.element.ValueBool"},        \
    {BLOCK_VPARQUET3, (first_) + BLOCK_ATTR_UNSUPPORTED, prefix_ ".Attrs.list.element.ValueArray"}

static const struct elsewhere elsewhere[] = {
    ATTR_ELSEWHERE(BLOCK_RESOURCE_ATTRS, R),
    ATTR_ELSEWHERE(BLOCK_SPAN_ATTRS, S),
    {BLOCK_VPARQUET5, BLOCK_STATS_SERVICE, "ServiceStats.ServiceName"},
    {BLOCK_VPARQUET5, BLOCK_STATS_SPANS, "ServiceStats.SpanCount"},
    {BLOCK_VPARQUET5, BLOCK_STATS_ERRORS, "ServiceStats.ErrorCount"},
};
/* clang-format on */

static enum column_type column_type_of(enum parquet_type t)
{
    switch (t) {
    case PARQUET_BOOLEAN:
        return COLUMN_BOOL;
    case PARQUET_INT32:
        return COLUMN_I32;
    case PARQUET_INT64:
        return COLUMN_I64;
    case PARQUET_DOUBLE:
        return COLUMN_F64;
    case PARQUET_BYTE_ARRAY:
    case PARQUET_GROUP:
        break;
    }
    return COLUMN_BYTES;
}

/* Longest path of ours, with room for its end. */
#define PATH_BYTES 128

/* vParquet5 has no groups around its lists. */
static struct slice without_lists(const char *path, char out[PATH_BYTES])
{
    static const char list[] = ".list.element";
    size_t n = 0;
    while (*path) {
        if (strncmp(path, list, sizeof list - 1) == 0) {
            path += sizeof list - 1;
            continue;
        }
        assert(n < PATH_BYTES);
        out[n++] = *path++;
    }
    return slice_of(out, n);
}

static bool version_has(enum block_version version, int leaf)
{
    if (leaf < BLOCK_V4_LEAVES)
        return true;
    return version == (leaf < BLOCK_RESOURCE_KVLIST ? BLOCK_VPARQUET5 : BLOCK_VPARQUET3);
}

static struct slice path_in(enum block_version version, int leaf, char room[PATH_BYTES])
{
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (elsewhere[i].version == version && elsewhere[i].leaf == leaf)
            return slice_cstr(elsewhere[i].path);
    }
    const char *path = block_leaves[leaf].path;
    return version == BLOCK_VPARQUET5 ? without_lists(path, room) : slice_cstr(path);
}

static bool is_dedicated(int leaf)
{
    return (leaf >= BLOCK_RESOURCE_DEDICATED && leaf < BLOCK_SCOPE_NAME) ||
           (leaf >= BLOCK_SPAN_DEDICATED && leaf < BLOCK_RESOURCE_KVLIST);
}

static uint8_t rep_max_in(enum block_version version, int leaf)
{
    const struct block_leaf_info *info = &block_leaves[leaf];
    if (!info->many)
        return info->rep_max;
    bool list = is_dedicated(leaf) ? version == BLOCK_VPARQUET5 : version != BLOCK_VPARQUET3;
    return list ? info->def_max : (uint8_t)(info->def_max - 1);
}

static int check_leaf(const struct parquet_leaf *have, enum block_version version, int leaf,
                      struct err *err)
{
    const struct block_leaf_info *want = &block_leaves[leaf];
    uint8_t rep_max = rep_max_in(version, leaf);
    if (column_type_of(have->type) != (enum column_type)want->column_type)
        return err_set(err, ERR_CORRUPT, "column %.*s has physical type %d, not that of vParquet%d",
                       SLICE_ARGS(have->path), (int)have->type, (int)version);
    if (have->rep_max != rep_max || have->def_max != want->def_max)
        return err_set(err, ERR_CORRUPT,
                       "column %.*s has repetition and definition levels up to %u and %u, wanted "
                       "%u and %u",
                       SLICE_ARGS(have->path), have->rep_max, have->def_max, rep_max,
                       want->def_max);
    return 0;
}

int block_schema_bind(const struct parquet_file *f, enum block_version version,
                      int leaf_of[BLOCK_LEAVES], struct err *err)
{
    /* All versions have them, the last one each in its own way. */
    static const uint8_t needed[] = {BLOCK_TRACE_ID, BLOCK_SPAN_ID,
                                     BLOCK_SPAN_ATTRS + BLOCK_ATTR_STRING};
    char room[PATH_BYTES];
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        leaf_of[i] =
            version_has(version, i) ? parquet_leaf_find(f, path_in(version, i, room)) : -1;
        int rc = leaf_of[i] < 0 ? 0 : check_leaf(&f->leaves[leaf_of[i]], version, i, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < sizeof needed; i++) {
        struct slice path = path_in(version, needed[i], room);
        if (leaf_of[needed[i]] < 0)
            return err_set(err, ERR_CORRUPT, "there is no column %.*s, as vParquet%d has it",
                           SLICE_ARGS(path), (int)version);
    }
    return 0;
}

bool block_leaf_fits(int leaf, const struct column *c)
{
    const struct block_leaf_info *info = &block_leaves[leaf];
    bool levels = c->rep_max == info->rep_max ||
                  (info->many && (c->rep_max == info->def_max || c->rep_max + 1 == info->def_max));
    return c->type == (enum column_type)info->column_type && levels &&
           c->def_max == info->def_max && (!c->rep_max || c->rep) && (!c->def_max || c->def);
}

int block_dedicated_leaf(struct block_places *p, const struct block_dedicated *d)
{
    static const struct {
        int strings, strings_more; /* the first ten, and the others; ints stand behind them */
    } leaves[] = {
        [BLOCK_SCOPE_SPAN] = {BLOCK_SPAN_DEDICATED, BLOCK_SPAN_DEDICATED_MORE},
        [BLOCK_SCOPE_RESOURCE] = {BLOCK_RESOURCE_DEDICATED, BLOCK_RESOURCE_DEDICATED_MORE},
        [BLOCK_SCOPE_EVENT] = {BLOCK_EVENT_DEDICATED, BLOCK_EVENT_DEDICATED + BLOCK_DEDICATED_MAX},
    };
    bool text = d->type == BLOCK_DEDICATED_STRING;
    int max = text ? BLOCK_DEDICATED_STRINGS : BLOCK_DEDICATED_INTS;
    int place = p->taken[d->scope][d->type];
    if (place >= max)
        return -1;
    p->taken[d->scope][d->type]++;
    if (!text)
        place += BLOCK_DEDICATED_STRINGS;
    return place < BLOCK_DEDICATED_MAX ? leaves[d->scope].strings + place
                                       : leaves[d->scope].strings_more + place - BLOCK_DEDICATED_MAX;
}
