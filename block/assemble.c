/* Columns back to spans.
 *
 * One cursor per leaf moves over level entries and values. The leaf of span ids leads: its entries
 * say where a resource, a scope, a span begins, and every other leaf must have an entry of the same
 * repetition level and a fitting definition level there, or the block is corrupt. So a hostile
 * block can neither read past a column nor make one grow longer than its entries. What a value
 * means is docs/formats/block.md, 6.
 *
 * There is no word of versions here. A leaf that may be a list is taken as one, and what only
 * vParquet3 or 5 has is taken where the file has it (docs/formats/block.md, 8). */
#include "block/assemble.h"

#include <assert.h>
#include <inttypes.h>

#include "block/value_json.h"
#include "block/value_proto.h"

/* Nesting of a value kept as JSON or protobuf: each level costs a stack frame. OTLP is taken 64
 * deep, a level of which may be two of JSON. Hit: ERR_LIMIT. */
#define LIMIT_ASSEMBLE_VALUE_DEPTH 256

#define NONE UINT32_MAX
/* A value whose JSON, or protobuf, is still to be parsed. */
#define VALUE_PENDING_JSON 0xff
#define VALUE_PENDING_PROTO 0xfe

enum { REP_EVENT = 4 };
enum { DEF_RESOURCE = 1, DEF_SCOPE = 2, DEF_SPAN = 3, DEF_EVENT = 4 };

struct leaf_cursor {
    const struct column *col; /* NULL: the file lacks the leaf */
    uint32_t entry;
    uint32_t value;
};

/* The dedicated columns of a scope, in the order of the block's list. */
struct dedicated_columns {
    struct slice name[BLOCK_DEDICATED_ALL];
    uint8_t leaf[BLOCK_DEDICATED_ALL];
    uint32_t count;
};
static_assert(BLOCK_LEAVES <= UINT8_MAX, "leaf numbers are kept in bytes");

struct assembler {
    struct leaf_cursor leaf[BLOCK_LEAVES];
    uint32_t at[BLOCK_LEAVES];             /* value number last taken, or NONE: null, absent */
    uint32_t count[BLOCK_LEAVES];          /* leaves that may be lists: values from there on */
    struct dedicated_columns dedicated[3]; /* by enum block_scope */
    uint8_t trace_id[16];
    struct arena *arena;
    struct span_batch *out;
    struct err *err;
};

static int corrupt(const struct assembler *a, int leaf, const char *what)
{
    return err_set(a->err, ERR_CORRUPT, "column %s, entry %" PRIu32 ": %s", block_leaves[leaf].path,
                   a->leaf[leaf].entry, what);
}

static int no_memory(const struct assembler *a)
{
    return err_set(a->err, ERR_NOMEM, "no memory for the spans of a trace: %" PRIu32 " so far",
                   a->out->spans.count);
}

/* ---- taking entries ---- */

/* Repetition level of the next entry; 0, a new row, at the end. */
static uint8_t next_rep(const struct leaf_cursor *c)
{
    return c->entry < c->col->entries ? c->col->rep[c->entry] : 0;
}

/* Takes an entry, with repetition level rep and a definition level within bounds; notes its value.
 */
static int take_bounded(struct assembler *a, int leaf, uint8_t rep, uint8_t def_min,
                        uint8_t def_max)
{
    struct leaf_cursor *c = &a->leaf[leaf];
    a->at[leaf] = NONE;
    if (!c->col)
        return 0;
    if (c->entry >= c->col->entries)
        return corrupt(a, leaf, "the column ends before the others");
    if (c->col->rep[c->entry] != rep)
        return corrupt(a, leaf, "its repetition level differs from that of the other columns");
    uint8_t def = c->col->def[c->entry];
    if (def < def_min || def > def_max)
        return corrupt(a, leaf, "its definition level contradicts that of the other columns");
    if (def == c->col->def_max) {
        if (c->value >= c->col->values)
            return corrupt(a, leaf, "it has no value left");
        if (c->col->has_dict && c->col->v.idx[c->value] >= c->col->dict_count)
            return corrupt(a, leaf, "its value is not in the dictionary");
        a->at[leaf] = c->value++;
    }
    c->entry++;
    return 0;
}

/* The values that a leaf has for one element: none, one, or a list. */
static int take_list(struct assembler *a, int leaf, uint8_t rep)
{
    uint8_t def = block_leaves[leaf].def_max;
    int rc = take_bounded(a, leaf, rep, (uint8_t)(def - 1), def);
    uint32_t first = a->at[leaf];
    a->count[leaf] = first != NONE;
    while (rc == 0 && first != NONE && next_rep(&a->leaf[leaf]) == def) {
        rc = take_bounded(a, leaf, def, def, def);
        a->at[leaf] = first;
        a->count[leaf]++;
    }
    return rc;
}

/* A leaf of a resource, scope, span, event or link. There: required leaves have a value, optional
 * ones may have. Not there: the entry ends at def, as that of every leaf below the missing one. */
static int take(struct assembler *a, int leaf, uint8_t rep, bool exists, uint8_t def)
{
    const struct block_leaf_info *info = &block_leaves[leaf];
    return exists ? take_bounded(a, leaf, rep, info->rep_max, info->def_max)
                  : take_bounded(a, leaf, rep, def, def);
}

static int take_all(struct assembler *a, const uint8_t *leaves, size_t count, uint8_t rep,
                    bool exists, uint8_t def)
{
    for (size_t i = 0; i < count; i++) {
        int rc = take(a, leaves[i], rep, exists, def);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_dedicated(struct assembler *a, enum block_scope scope, uint8_t rep, bool exists,
                          uint8_t def)
{
    const struct dedicated_columns *d = &a->dedicated[scope];
    for (uint32_t i = 0; i < d->count; i++) {
        int leaf = d->leaf[i];
        int rc = exists ? take_list(a, leaf, rep) : take_bounded(a, leaf, rep, def, def);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_run(struct assembler *a, int first, int count, uint8_t rep, bool exists,
                    uint8_t def)
{
    for (int i = 0; i < count; i++) {
        int rc = take(a, first + i, rep, exists, def);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the values taken ---- */

static struct slice text_of(const struct assembler *a, int leaf)
{
    return a->at[leaf] == NONE ? slice_of(NULL, 0) : column_bytes(a->leaf[leaf].col, a->at[leaf]);
}

static uint64_t u64_of(const struct assembler *a, int leaf)
{
    return a->at[leaf] == NONE ? 0 : (uint64_t)a->leaf[leaf].col->v.i64[a->at[leaf]];
}

static uint32_t u32_of(const struct assembler *a, int leaf)
{
    return a->at[leaf] == NONE ? 0 : (uint32_t)a->leaf[leaf].col->v.i32[a->at[leaf]];
}

/* ---- attributes ---- */

static struct value scalar_at(const struct column *c, uint32_t i)
{
    switch (c->type) {
    case COLUMN_BYTES:
        return (struct value){.type = VALUE_STRING, .str = column_bytes(c, i)};
    case COLUMN_I64:
        return (struct value){.type = VALUE_INT, .i64 = c->v.i64[i]};
    case COLUMN_F64:
        return (struct value){.type = VALUE_DOUBLE, .f64 = c->v.f64[i]};
    default:
        return (struct value){.type = VALUE_BOOL, .b = c->v.b[i] != 0};
    }
}

static int array_value(struct assembler *a, const struct column *c, uint32_t first, uint32_t count,
                       struct value *out)
{
    struct span_batch *b = a->out;
    if (!vec_reserve(&b->values, count))
        return no_memory(a);
    *out = (struct value){.type = VALUE_ARRAY, .list = {b->values.count, count}};
    for (uint32_t i = 0; i < count; i++)
        b->values.at[b->values.count++] = scalar_at(c, first + i);
    return 0;
}

/* vParquet3's further leaf of an attribute list, or -1. */
static int further_leaf(int attrs)
{
    switch (attrs) {
    case BLOCK_RESOURCE_ATTRS:
        return BLOCK_RESOURCE_KVLIST;
    case BLOCK_SPAN_ATTRS:
        return BLOCK_SPAN_KVLIST;
    case BLOCK_EVENT_ATTRS:
        return BLOCK_EVENT_ATTR_PROTO;
    default:
        return -1;
    }
}

/* The leaves of an attribute that have one entry for it. */
static int take_attr(struct assembler *a, int attrs, uint8_t rep)
{
    uint8_t def = block_leaves[attrs].def_max;
    int further = further_leaf(attrs);
    int rc = take_bounded(a, attrs + BLOCK_ATTR_KEY, rep, def, def);
    rc = rc < 0 ? rc : take_bounded(a, attrs + BLOCK_ATTR_IS_ARRAY, rep, def, def);
    rc =
        rc < 0 ? rc : take_bounded(a, attrs + BLOCK_ATTR_UNSUPPORTED, rep, def, (uint8_t)(def + 1));
    if (rc == 0 && further >= 0)
        rc = take_bounded(a, further, rep, def, block_leaves[further].def_max);
    return rc;
}

/* A value that no column is made for. */
static struct value pending_value(const struct assembler *a, int attrs)
{
    int further = further_leaf(attrs);
    if (a->at[attrs + BLOCK_ATTR_UNSUPPORTED] != NONE)
        return (struct value){.type = VALUE_PENDING_JSON,
                              .str = text_of(a, attrs + BLOCK_ATTR_UNSUPPORTED)};
    if (further < 0 || a->at[further] == NONE)
        return (struct value){.type = VALUE_NONE};
    return (struct value){.type = further == BLOCK_EVENT_ATTR_PROTO ? VALUE_PENDING_PROTO
                                                                    : VALUE_PENDING_JSON,
                          .str = text_of(a, further)};
}

/* One attribute, whose entries have repetition level rep. */
static int read_attr(struct assembler *a, int attrs, uint8_t rep, struct value *out)
{
    int rc = take_attr(a, attrs, rep);
    int filled = -1; /* the first list that holds something counts */
    for (int leaf = attrs + BLOCK_ATTR_STRING; leaf <= attrs + BLOCK_ATTR_BOOL && rc == 0; leaf++) {
        rc = take_list(a, leaf, rep);
        if (filled < 0 && a->count[leaf])
            filled = leaf;
    }
    if (rc < 0)
        return rc;
    const struct column *values = filled < 0 ? NULL : a->leaf[filled].col;
    uint32_t array_at = a->at[attrs + BLOCK_ATTR_IS_ARRAY];
    if (array_at != NONE && a->leaf[attrs + BLOCK_ATTR_IS_ARRAY].col->v.b[array_at])
        return array_value(a, values, values ? a->at[filled] : 0, values ? a->count[filled] : 0,
                           out);
    *out = values ? scalar_at(values, a->at[filled]) : pending_value(a, attrs);
    return 0;
}

static int push_attr(struct assembler *a, struct slice key, struct value value)
{
    struct attr attr = {.key = key, .value = value};
    return vec_push(&a->out->attrs, attr) ? 0 : no_memory(a);
}

/* The attribute list of an element: appended to the batch. */
static int read_attrs(struct assembler *a, int leaf, uint8_t rep, bool exists, uint8_t def)
{
    const struct leaf_cursor *keys = &a->leaf[leaf + BLOCK_ATTR_KEY];
    uint8_t rep_more = block_leaves[leaf].rep_max, def_attr = block_leaves[leaf].def_max;
    if (!keys->col)
        return 0; /* without keys the other six say nothing */
    if (keys->entry >= keys->col->entries)
        return corrupt(a, leaf, "the column ends before the others");
    uint8_t def_none = exists ? (uint8_t)(def_attr - 1) : def;
    if (!exists || keys->col->def[keys->entry] == def_none) {
        int rc = 0, further = further_leaf(leaf);
        for (int i = 0; i < BLOCK_ATTR_LEAVES && rc == 0; i++)
            rc = take_bounded(a, leaf + i, rep, def_none, def_none);
        if (rc == 0 && further >= 0)
            rc = take_bounded(a, further, rep, def_none, def_none);
        return rc;
    }
    do {
        struct value value;
        int rc = read_attr(a, leaf, rep, &value);
        rc = rc < 0 ? rc : push_attr(a, text_of(a, leaf + BLOCK_ATTR_KEY), value);
        if (rc < 0)
            return rc;
        rep = rep_more;
    } while (next_rep(keys) == rep_more);
    return 0;
}

/* Protobuf first, and JSON if it is none: so vParquet3 did it once. */
static int parse_pending(struct assembler *a, struct value pending, struct value *out)
{
    struct err unused;
    int rc = ERR_CORRUPT;
    if (pending.type == VALUE_PENDING_PROTO)
        rc = value_proto_parse(pending.str, LIMIT_ASSEMBLE_VALUE_DEPTH, a->out, out, &unused);
    if (rc == ERR_CORRUPT)
        rc = value_json_parse(pending.str, LIMIT_ASSEMBLE_VALUE_DEPTH, a->arena, a->out, out,
                              &unused);
    if (rc == ERR_NOMEM || rc == ERR_LIMIT)
        return err_set(a->err, (enum err_code)rc, "%s", unused.msg);
    if (rc < 0)
        *out = (struct value){.type = VALUE_NONE};
    return 0;
}

/* Ends a run of attributes that began at first: parses what is still text, which may append to the
 * same vector behind the run. Text that is nothing leaves its attribute without a value, as with
 * Tempo: the rest of the trace is worth having. */
static int end_attrs(struct assembler *a, uint32_t first, struct range *out)
{
    struct span_batch *b = a->out;
    *out = (struct range){first, b->attrs.count - first};
    for (uint32_t i = 0; i < out->count; i++) {
        struct value value = b->attrs.at[first + i].value;
        if (value.type != VALUE_PENDING_JSON && value.type != VALUE_PENDING_PROTO)
            continue;
        int rc = parse_pending(a, value, &value);
        if (rc < 0)
            return rc;
        b->attrs.at[first + i].value = value;
    }
    return 0;
}

/* Appends the attribute of a static leaf, if it has a value. */
static int push_own(struct assembler *a, int leaf, struct slice key)
{
    if (a->at[leaf] == NONE)
        return 0;
    return push_attr(a, key, scalar_at(a->leaf[leaf].col, a->at[leaf]));
}

/* Dedicated leaves may have several values: an array. */
static int push_dedicated(struct assembler *a, enum block_scope scope)
{
    const struct dedicated_columns *d = &a->dedicated[scope];
    for (uint32_t i = 0; i < d->count; i++) {
        int leaf = d->leaf[i], rc = 0;
        struct value value;
        if (a->at[leaf] == NONE)
            continue;
        if (a->count[leaf] == 1)
            value = scalar_at(a->leaf[leaf].col, a->at[leaf]);
        else
            rc = array_value(a, a->leaf[leaf].col, a->at[leaf], a->count[leaf], &value);
        rc = rc < 0 ? rc : push_attr(a, d->name[i], value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- elements ---- */

static int read_resource(struct assembler *a, uint8_t rep, uint8_t def)
{
    static const struct {
        uint8_t leaf;
        const char *key;
    } statics[] = {
        {BLOCK_RESOURCE_CLUSTER, "cluster"},
        {BLOCK_RESOURCE_NAMESPACE, "namespace"},
        {BLOCK_RESOURCE_POD, "pod"},
        {BLOCK_RESOURCE_CONTAINER, "container"},
        {BLOCK_RESOURCE_K8S_CLUSTER, "k8s.cluster.name"},
        {BLOCK_RESOURCE_K8S_NAMESPACE, "k8s.namespace.name"},
        {BLOCK_RESOURCE_K8S_POD, "k8s.pod.name"},
        {BLOCK_RESOURCE_K8S_CONTAINER, "k8s.container.name"},
    };
    struct span_batch *b = a->out;
    bool exists = def >= DEF_RESOURCE;
    uint32_t first = b->attrs.count;
    int rc = take_run(a, BLOCK_RESOURCE_DROPPED, BLOCK_RESOURCE_DEDICATED - BLOCK_RESOURCE_DROPPED,
                      rep, exists, def);
    rc = rc < 0 ? rc : take_dedicated(a, BLOCK_SCOPE_RESOURCE, rep, exists, def);
    rc = rc < 0 ? rc : read_attrs(a, BLOCK_RESOURCE_ATTRS, rep, exists, def);
    if (rc < 0 || !exists)
        return rc;

    rc = push_dedicated(a, BLOCK_SCOPE_RESOURCE);
    if (rc == 0 && text_of(a, BLOCK_RESOURCE_SERVICE).len)
        rc = push_own(a, BLOCK_RESOURCE_SERVICE, SLICE("service.name"));
    for (size_t i = 0; rc == 0 && i < sizeof statics / sizeof statics[0]; i++)
        rc = push_own(a, statics[i].leaf, slice_cstr(statics[i].key));
    struct resource r = {
        .scopes = {b->scopes.count, 0},
        .dropped_attrs = u32_of(a, BLOCK_RESOURCE_DROPPED),
        .present = true,
    };
    rc = rc < 0 ? rc : end_attrs(a, first, &r.attrs);
    if (rc < 0)
        return rc;
    return vec_push(&b->resources, r) ? 0 : no_memory(a);
}

static int read_scope(struct assembler *a, uint8_t rep, uint8_t def)
{
    static const uint8_t leaves[] = {BLOCK_SCOPE_NAME, BLOCK_SCOPE_VERSION, BLOCK_SCOPE_DROPPED};
    struct span_batch *b = a->out;
    bool exists = def >= DEF_SCOPE;
    uint32_t first = b->attrs.count;
    int rc = take_all(a, leaves, sizeof leaves, rep, exists, def);
    rc = rc < 0 ? rc : read_attrs(a, BLOCK_SCOPE_ATTRS, rep, exists, def);
    if (rc < 0 || !exists)
        return rc;
    struct scope c = {
        .resource = b->resources.count - 1,
        .name = text_of(a, BLOCK_SCOPE_NAME),
        .version = text_of(a, BLOCK_SCOPE_VERSION),
        .spans = {b->spans.count, 0},
        .dropped_attrs = u32_of(a, BLOCK_SCOPE_DROPPED),
        .present = true,
    };
    rc = end_attrs(a, first, &c.attrs);
    if (rc < 0)
        return rc;
    if (!vec_push(&b->scopes, c))
        return no_memory(a);
    b->resources.at[c.resource].scopes.count++;
    return 0;
}

/* The first leaf of the list that the file has, to lead a list of events or links; or -1. */
static int leader_of(const struct assembler *a, const uint8_t *leaves, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a->leaf[leaves[i]].col)
            return leaves[i];
    }
    return -1;
}

/* Whether the leader has an element at its next entry: 1, 0, or ERR_CORRUPT. */
static int element_next(const struct assembler *a, int leader, bool exists)
{
    const struct leaf_cursor *c = &a->leaf[leader];
    if (c->entry >= c->col->entries)
        return corrupt(a, leader, "the column ends before the others");
    return exists && c->col->def[c->entry] == DEF_EVENT;
}

static int push_event(struct assembler *a, const struct span *sp, uint8_t rep)
{
    struct span_batch *b = a->out;
    bool absolute = a->at[BLOCK_EVENT_TIME_UNIX] != NONE;
    struct event e = {
        .time_unix_ns = absolute ? u64_of(a, BLOCK_EVENT_TIME_UNIX)
                                 : sp->start_unix_ns + u64_of(a, BLOCK_EVENT_TIME),
        .name = text_of(a, BLOCK_EVENT_NAME),
        .dropped_attrs = u32_of(a, BLOCK_EVENT_DROPPED),
    };
    uint32_t first = b->attrs.count;
    int rc = take_dedicated(a, BLOCK_SCOPE_EVENT, rep, true, DEF_EVENT);
    rc = rc < 0 ? rc : read_attrs(a, BLOCK_EVENT_ATTRS, rep, true, DEF_EVENT);
    rc = rc < 0 ? rc : push_dedicated(a, BLOCK_SCOPE_EVENT);
    rc = rc < 0 ? rc : end_attrs(a, first, &e.attrs);
    if (rc < 0)
        return rc;
    return vec_push(&b->events, e) ? 0 : no_memory(a);
}

static int push_link(struct assembler *a, uint8_t rep)
{
    struct span_batch *b = a->out;
    struct link k = {
        .trace_id = text_of(a, BLOCK_LINK_TRACE_ID),
        .span_id = text_of(a, BLOCK_LINK_SPAN_ID),
        .trace_state = text_of(a, BLOCK_LINK_TRACE_STATE),
        .dropped_attrs = u32_of(a, BLOCK_LINK_DROPPED),
    };
    uint32_t first = b->attrs.count;
    int rc = read_attrs(a, BLOCK_LINK_ATTRS, rep, true, DEF_EVENT);
    rc = rc < 0 ? rc : end_attrs(a, first, &k.attrs);
    if (rc < 0)
        return rc;
    return vec_push(&b->links, k) ? 0 : no_memory(a);
}

/* The events (or links) of a span, or the entries that stand for none. */
static int read_list(struct assembler *a, const uint8_t *leaves, size_t count, int attrs,
                     struct span *sp, uint8_t rep, bool exists, uint8_t def)
{
    int leader = leader_of(a, leaves, count);
    if (leader < 0)
        return 0;
    bool events = attrs == BLOCK_EVENT_ATTRS;
    uint8_t def_none = exists ? DEF_SPAN : def;
    int there = element_next(a, leader, exists);
    if (there <= 0) {
        int rc = there < 0 ? there : take_all(a, leaves, count, rep, false, def_none);
        if (rc == 0 && events)
            rc = take_dedicated(a, BLOCK_SCOPE_EVENT, rep, false, def_none);
        return rc < 0 ? rc : read_attrs(a, attrs, rep, false, def_none);
    }
    do {
        int rc = take_all(a, leaves, count, rep, true, DEF_EVENT);
        rc = rc < 0 ? rc : events ? push_event(a, sp, rep) : push_link(a, rep);
        if (rc < 0)
            return rc;
        rep = REP_EVENT;
    } while (next_rep(&a->leaf[leader]) == REP_EVENT);
    return 0;
}

/* vParquet3: the links of a span in one value. Of a message that breaks off, the links before the
 * fault count, as with Tempo. */
static int read_links_proto(struct assembler *a, uint8_t rep, bool exists, uint8_t def)
{
    struct err inner;
    int rc = take(a, BLOCK_SPAN_LINKS_PROTO, rep, exists, def);
    if (rc < 0)
        return rc;
    rc = links_proto_parse(text_of(a, BLOCK_SPAN_LINKS_PROTO), LIMIT_ASSEMBLE_VALUE_DEPTH, a->out,
                           &inner);
    if (rc == ERR_NOMEM || rc == ERR_LIMIT)
        return err_set(a->err, (enum err_code)rc, "links of a span: %s", inner.msg);
    return 0;
}

static int read_lists(struct assembler *a, struct span *sp, uint8_t rep, bool exists, uint8_t def)
{
    static const uint8_t event_leaves[] = {BLOCK_EVENT_TIME, BLOCK_EVENT_NAME, BLOCK_EVENT_DROPPED,
                                           BLOCK_EVENT_TIME_UNIX};
    static const uint8_t link_leaves[] = {BLOCK_LINK_TRACE_ID, BLOCK_LINK_SPAN_ID,
                                          BLOCK_LINK_TRACE_STATE, BLOCK_LINK_DROPPED};
    struct span_batch *b = a->out;
    sp->events.first = b->events.count;
    int rc =
        read_list(a, event_leaves, sizeof event_leaves, BLOCK_EVENT_ATTRS, sp, rep, exists, def);
    sp->events.count = b->events.count - sp->events.first;
    if (rc < 0)
        return rc;
    sp->links.first = b->links.count;
    rc = read_list(a, link_leaves, sizeof link_leaves, BLOCK_LINK_ATTRS, sp, rep, exists, def);
    rc = rc < 0 ? rc : read_links_proto(a, rep, exists, def);
    sp->links.count = b->links.count - sp->links.first;
    return rc;
}

static void fill_span(const struct assembler *a, struct span *sp)
{
    *sp = (struct span){
        .span_id = text_of(a, BLOCK_SPAN_ID),
        .parent_span_id = text_of(a, BLOCK_SPAN_PARENT_SPAN_ID),
        .trace_state = text_of(a, BLOCK_SPAN_TRACE_STATE),
        .name = text_of(a, BLOCK_SPAN_NAME),
        .status_message = text_of(a, BLOCK_SPAN_STATUS_MESSAGE),
        .start_unix_ns = u64_of(a, BLOCK_SPAN_START),
        .end_unix_ns = u64_of(a, BLOCK_SPAN_START) + u64_of(a, BLOCK_SPAN_DURATION),
        .kind = (int32_t)u64_of(a, BLOCK_SPAN_KIND),
        .status_code = (int32_t)u64_of(a, BLOCK_SPAN_STATUS_CODE),
        .scope = a->out->scopes.count - 1,
        .dropped_attrs = u32_of(a, BLOCK_SPAN_DROPPED),
        .dropped_events = u32_of(a, BLOCK_SPAN_DROPPED_EVENTS),
        .dropped_links = u32_of(a, BLOCK_SPAN_DROPPED_LINKS),
    };
    memcpy(sp->trace_id, a->trace_id, sizeof sp->trace_id);
}

static int push_span_attrs(struct assembler *a, struct span *sp, uint32_t first)
{
    int rc = push_dedicated(a, BLOCK_SCOPE_SPAN);
    rc = rc < 0 ? rc : push_own(a, BLOCK_SPAN_HTTP_METHOD, SLICE("http.method"));
    rc = rc < 0 ? rc : push_own(a, BLOCK_SPAN_HTTP_URL, SLICE("http.url"));
    rc = rc < 0 ? rc : push_own(a, BLOCK_SPAN_HTTP_STATUS, SLICE("http.status_code"));
    return rc < 0 ? rc : end_attrs(a, first, &sp->attrs);
}

static int read_span(struct assembler *a, uint8_t rep, uint8_t def)
{
    static const uint8_t leaves[] = {BLOCK_SPAN_DROPPED, BLOCK_SPAN_DROPPED_EVENTS,
                                     BLOCK_SPAN_DROPPED_LINKS};
    struct span_batch *b = a->out;
    struct span sp = {.scope = 0};
    bool exists = def >= DEF_SPAN;
    uint32_t first = b->attrs.count;
    int rc = take_run(a, BLOCK_SPAN_ID, BLOCK_SPAN_ATTRS - BLOCK_SPAN_ID, rep, exists, def);
    rc = rc < 0 ? rc : take_all(a, leaves, sizeof leaves, rep, exists, def);
    rc = rc < 0 ? rc
                : take_run(a, BLOCK_SPAN_HTTP_METHOD, BLOCK_SPAN_DEDICATED - BLOCK_SPAN_HTTP_METHOD,
                           rep, exists, def);
    rc = rc < 0 ? rc : take_dedicated(a, BLOCK_SCOPE_SPAN, rep, exists, def);
    rc = rc < 0 ? rc : read_attrs(a, BLOCK_SPAN_ATTRS, rep, exists, def);
    if (rc == 0 && exists) {
        fill_span(a, &sp);
        rc = push_span_attrs(a, &sp, first);
    }
    rc = rc < 0 ? rc : read_lists(a, &sp, rep, exists, def);
    if (rc < 0 || !exists)
        return rc;
    if (!vec_push(&b->spans, sp))
        return no_memory(a);
    b->scopes.at[sp.scope].spans.count++;
    return 0;
}

/* ---- rows ---- */

/* Ids of other lengths: of longer ones the last 16 bytes, shorter ones padded in front. */
static int read_trace_id(struct assembler *a, uint32_t row)
{
    const struct column *c = a->leaf[BLOCK_TRACE_ID].col;
    memset(a->trace_id, 0, sizeof a->trace_id);
    if (!c)
        return 0;
    a->leaf[BLOCK_TRACE_ID].entry = row;
    if (row >= c->values)
        return corrupt(a, BLOCK_TRACE_ID, "the column ends before the others");
    if (c->has_dict && c->v.idx[row] >= c->dict_count)
        return corrupt(a, BLOCK_TRACE_ID, "its value is not in the dictionary");
    struct slice id = column_bytes(c, row);
    size_t n = id.len < sizeof a->trace_id ? id.len : sizeof a->trace_id;
    if (n)
        memcpy(a->trace_id + sizeof a->trace_id - n, id.ptr + id.len - n, n);
    return 0;
}

static int read_row(struct assembler *a, uint32_t row)
{
    const struct leaf_cursor *ids = &a->leaf[BLOCK_SPAN_ID];
    int rc = read_trace_id(a, row);
    if (rc < 0)
        return rc;
    uint8_t def_before = 0;
    bool first = true;
    do {
        if (ids->entry >= ids->col->entries)
            return corrupt(a, BLOCK_SPAN_ID, "the column has fewer rows than asked for");
        uint8_t rep = ids->col->rep[ids->entry], def = ids->col->def[ids->entry];
        /* An element can only follow another in a list that has one. */
        if (first ? rep != 0 : rep > def_before || rep > def)
            return corrupt(a, BLOCK_SPAN_ID,
                           "its repetition level continues a list that is not there");
        if (def > DEF_SPAN)
            return corrupt(a, BLOCK_SPAN_ID, "its definition level is above the column's");
        if (rep <= BLOCK_REP_RESOURCE)
            rc = read_resource(a, rep, def);
        if (rc == 0 && rep <= BLOCK_REP_SCOPE)
            rc = read_scope(a, rep, def);
        rc = rc < 0 ? rc : read_span(a, rep, def);
        if (rc < 0)
            return rc;
        def_before = def;
        first = false;
    } while (next_rep(ids) != 0);
    return 0;
}

/* Moves a leaf's cursor to the first entry of a row. */
static int seek_row(struct assembler *a, int leaf, uint32_t row)
{
    struct leaf_cursor *c = &a->leaf[leaf];
    for (uint32_t rows = 0; c->entry < c->col->entries; c->entry++) {
        rows += c->col->rep[c->entry] == 0;
        if (rows > row)
            return 0;
        c->value += c->col->def[c->entry] == c->col->def_max;
    }
    return corrupt(a, leaf, "the column has fewer rows than asked for");
}

static int bind_columns(struct assembler *a, const struct column *columns, uint32_t row_first)
{
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        const struct column *c = &columns[i];
        const struct block_leaf_info *info = &block_leaves[i];
        if (c->entries == 0)
            continue;
        if (!block_leaf_fits(i, c))
            return corrupt(a, i, "the column's type or levels are not those of its leaf");
        a->leaf[i].col = c;
        int rc = info->rep_max && row_first ? seek_row(a, i, row_first) : 0;
        if (rc < 0)
            return rc;
    }
    if (!a->leaf[BLOCK_SPAN_ID].col)
        return corrupt(a, BLOCK_SPAN_ID, "the column is missing");
    return 0;
}

static void map_dedicated(struct assembler *a, const struct block_dedicated *dedicated,
                          size_t count)
{
    struct block_places places = {0};
    for (size_t i = 0; i < count; i++) {
        struct dedicated_columns *d = &a->dedicated[dedicated[i].scope];
        int leaf = block_dedicated_leaf(&places, &dedicated[i]);
        if (leaf < 0)
            continue;
        d->name[d->count] = dedicated[i].name;
        d->leaf[d->count++] = (uint8_t)leaf;
    }
}

int block_assemble(const struct column *columns, const struct block_dedicated *dedicated,
                   size_t dedicated_count, uint32_t row_first, uint32_t row_count, struct arena *a,
                   struct span_batch *out, struct err *err)
{
    if (row_count == 0)
        return 0;
    struct assembler as = {.arena = a, .out = out, .err = err};
    map_dedicated(&as, dedicated, dedicated_count);
    int rc = bind_columns(&as, columns, row_first);
    for (uint32_t i = 0; rc == 0 && i < row_count; i++)
        rc = read_row(&as, row_first + i);
    return rc;
}
