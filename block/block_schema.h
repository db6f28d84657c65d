/* The leaves of a block: their numbers, what they hold, and where a file keeps them.
 *
 * Whatever version a block has, its columns are told apart by these numbers and mean what they mean
 * in vParquet4. So nobody but block_schema_bind asks for the version: what a version lacks is a
 * column without entries, what only another version has stands behind the 103 of vParquet4.
 * Source: docs/formats/block.md. */
#ifndef BLOCK_BLOCK_SCHEMA_H
#define BLOCK_BLOCK_SCHEMA_H

#include "block/block_meta.h"
#include "block/parquet.h"

/* Attribute columns come in sevens, in this order, from the group's first leaf on. */
enum block_attr_leaf {
    BLOCK_ATTR_KEY,
    BLOCK_ATTR_IS_ARRAY,
    BLOCK_ATTR_STRING,
    BLOCK_ATTR_INT,
    BLOCK_ATTR_DOUBLE,
    BLOCK_ATTR_BOOL,
    BLOCK_ATTR_UNSUPPORTED,
    BLOCK_ATTR_LEAVES
};

#define BLOCK_DEDICATED_MAX 10 /* of a scope in vParquet3 and 4: strings */
/* Of a scope in vParquet5, and how many of them do not have a number in vParquet4. */
#define BLOCK_DEDICATED_STRINGS 20
#define BLOCK_DEDICATED_INTS 5
#define BLOCK_DEDICATED_ALL (BLOCK_DEDICATED_STRINGS + BLOCK_DEDICATED_INTS)
#define BLOCK_DEDICATED_MORE (BLOCK_DEDICATED_ALL - BLOCK_DEDICATED_MAX)

enum block_leaf {
    BLOCK_TRACE_ID,
    BLOCK_TRACE_ID_TEXT,
    BLOCK_TRACE_START,
    BLOCK_TRACE_END,
    BLOCK_TRACE_DURATION,
    BLOCK_ROOT_SERVICE,
    BLOCK_ROOT_NAME,
    BLOCK_STATS_SERVICE,
    BLOCK_STATS_SPANS,
    BLOCK_STATS_ERRORS,
    BLOCK_RESOURCE_ATTRS, /* 10: seven leaves */
    BLOCK_RESOURCE_DROPPED = BLOCK_RESOURCE_ATTRS + BLOCK_ATTR_LEAVES,
    BLOCK_RESOURCE_SERVICE,
    BLOCK_RESOURCE_CLUSTER,
    BLOCK_RESOURCE_NAMESPACE,
    BLOCK_RESOURCE_POD,
    BLOCK_RESOURCE_CONTAINER,
    BLOCK_RESOURCE_K8S_CLUSTER,
    BLOCK_RESOURCE_K8S_NAMESPACE,
    BLOCK_RESOURCE_K8S_POD,
    BLOCK_RESOURCE_K8S_CONTAINER,
    BLOCK_RESOURCE_DEDICATED, /* 27: ten leaves */
    BLOCK_SCOPE_NAME = BLOCK_RESOURCE_DEDICATED + BLOCK_DEDICATED_MAX,
    BLOCK_SCOPE_VERSION,
    BLOCK_SCOPE_ATTRS, /* 39 */
    BLOCK_SCOPE_DROPPED = BLOCK_SCOPE_ATTRS + BLOCK_ATTR_LEAVES,
    BLOCK_SPAN_ID,
    BLOCK_SPAN_PARENT_SPAN_ID,
    BLOCK_SPAN_PARENT_ID,
    BLOCK_SPAN_NESTED_LEFT,
    BLOCK_SPAN_NESTED_RIGHT,
    BLOCK_SPAN_NAME,
    BLOCK_SPAN_KIND,
    BLOCK_SPAN_TRACE_STATE,
    BLOCK_SPAN_START,
    BLOCK_SPAN_DURATION,
    BLOCK_SPAN_STATUS_CODE,
    BLOCK_SPAN_STATUS_MESSAGE,
    BLOCK_SPAN_ATTRS, /* 59 */
    BLOCK_SPAN_DROPPED = BLOCK_SPAN_ATTRS + BLOCK_ATTR_LEAVES,
    BLOCK_EVENT_TIME,
    BLOCK_EVENT_NAME,
    BLOCK_EVENT_ATTRS, /* 69 */
    BLOCK_EVENT_DROPPED = BLOCK_EVENT_ATTRS + BLOCK_ATTR_LEAVES,
    BLOCK_SPAN_DROPPED_EVENTS,
    BLOCK_LINK_TRACE_ID,
    BLOCK_LINK_SPAN_ID,
    BLOCK_LINK_TRACE_STATE,
    BLOCK_LINK_ATTRS, /* 81 */
    BLOCK_LINK_DROPPED = BLOCK_LINK_ATTRS + BLOCK_ATTR_LEAVES,
    BLOCK_SPAN_DROPPED_LINKS,
    BLOCK_SPAN_HTTP_METHOD,
    BLOCK_SPAN_HTTP_URL,
    BLOCK_SPAN_HTTP_STATUS,
    BLOCK_SPAN_DEDICATED, /* 93: ten leaves */
    BLOCK_V4_LEAVES = BLOCK_SPAN_DEDICATED + BLOCK_DEDICATED_MAX,

    /* vParquet5 alone: String11..20 and Int01..05, of events String01..20 and Int01..05 */
    BLOCK_RESOURCE_DEDICATED_MORE = BLOCK_V4_LEAVES,
    BLOCK_SPAN_DEDICATED_MORE = BLOCK_RESOURCE_DEDICATED_MORE + BLOCK_DEDICATED_MORE,
    BLOCK_EVENT_DEDICATED = BLOCK_SPAN_DEDICATED_MORE + BLOCK_DEDICATED_MORE,

    /* vParquet3 alone */
    BLOCK_RESOURCE_KVLIST = BLOCK_EVENT_DEDICATED + BLOCK_DEDICATED_ALL, /* JSON, per attribute */
    BLOCK_SPAN_KVLIST,
    BLOCK_EVENT_TIME_UNIX,  /* in place of BLOCK_EVENT_TIME */
    BLOCK_EVENT_ATTR_PROTO, /* an AnyValue per attribute, in place of all but the key */
    BLOCK_SPAN_LINKS_PROTO, /* all links of a span in one message, in place of their leaves */
    BLOCK_LEAVES
};

/* For parquet_writer: 181 elements, depth first. */
extern const struct parquet_node block_schema[];
extern const size_t block_schema_count;

/* As in vParquet4, or in the one version that has the leaf. */
struct block_leaf_info {
    const char *path;    /* "rs.list.element.Resource.ServiceName" */
    uint8_t column_type; /* enum column_type */
    uint8_t rep_max, def_max;
    bool dict; /* written with a dictionary */
    /* A list in one version, whose further elements have repetition level def_max, and at most one
     * value in another, whose repetition levels end one lower. All else is alike, so that a reader
     * who expects a list reads both. */
    bool many;
};
extern const struct block_leaf_info block_leaves[BLOCK_LEAVES];

/* Repetition levels of the repeated ancestors. */
enum { BLOCK_REP_RESOURCE = 1, BLOCK_REP_SCOPE = 2, BLOCK_REP_SPAN = 3 };

/* Which leaf of a file of that version holds each of ours: leaf_of[i] is a leaf number of f, or -1.
 * ERR_CORRUPT when a leaf that is there has another type or other levels than the version says, or
 * when there are no trace ids, span ids or attribute strings where it has them: then it is no block
 * of that version. Any other missing leaf is left to the caller. */
int block_schema_bind(const struct parquet_file *f, enum block_version version,
                      int leaf_of[BLOCK_LEAVES], struct err *err);

/* Whether a column may stand for the leaf, in whatever version. */
bool block_leaf_fits(int leaf, const struct column *c);

/* Walks a block's list of dedicated columns: the leaf of the next entry, or -1 when there is no
 * place for it. Starts as {0}. Places are counted by scope and type. */
struct block_places {
    uint16_t taken[3][2]; /* by enum block_scope, enum block_dedicated_type */
};
int block_dedicated_leaf(struct block_places *p, const struct block_dedicated *d);

#endif
