/* From a query's fields to the column vectors that traceql evaluates: which leaf holds a field, and
 * whose each value is. */
#include "worker/attr_list.h"
#include "worker/scan.h"
#include "worker/scan_derived.h"

static const int intrinsic_leaf[TRACEQL_INTRINSICS] = {
    [TRACEQL_ATTRIBUTE] = -1,
    [TRACEQL_SPAN_START] = -1, /* no vector is needed */
    [TRACEQL_SPAN_DURATION] = BLOCK_SPAN_DURATION,
    [TRACEQL_SPAN_NAME] = BLOCK_SPAN_NAME,
    [TRACEQL_SPAN_STATUS] = BLOCK_SPAN_STATUS_CODE,
    [TRACEQL_SPAN_STATUS_MESSAGE] = BLOCK_SPAN_STATUS_MESSAGE,
    [TRACEQL_SPAN_KIND] = BLOCK_SPAN_KIND,
    [TRACEQL_SPAN_ID] = BLOCK_SPAN_ID,
    [TRACEQL_NESTED_SET_LEFT] = BLOCK_SPAN_NESTED_LEFT,
    [TRACEQL_NESTED_SET_RIGHT] = BLOCK_SPAN_NESTED_RIGHT,
    [TRACEQL_NESTED_SET_PARENT] = BLOCK_SPAN_PARENT_ID,
    [TRACEQL_TRACE_DURATION] = BLOCK_TRACE_DURATION,
    [TRACEQL_TRACE_ROOT_NAME] = BLOCK_ROOT_NAME,
    [TRACEQL_TRACE_ROOT_SERVICE] = BLOCK_ROOT_SERVICE,
    [TRACEQL_TRACE_ID] = BLOCK_TRACE_ID,
    [TRACEQL_EVENT_NAME] = BLOCK_EVENT_NAME,
    [TRACEQL_EVENT_TIME] = BLOCK_EVENT_TIME,
    [TRACEQL_LINK_TRACE_ID] = BLOCK_LINK_TRACE_ID,
    [TRACEQL_LINK_SPAN_ID] = BLOCK_LINK_SPAN_ID,
    [TRACEQL_SCOPE_NAME] = BLOCK_SCOPE_NAME,
    [TRACEQL_SCOPE_VERSION] = BLOCK_SCOPE_VERSION,
    [TRACEQL_SPAN_PARENT_ID] = BLOCK_SPAN_PARENT_SPAN_ID,
    [TRACEQL_SPAN_CHILD_COUNT] = -1, /* it is counted */
    [TRACEQL_PARENT] = -1,
    [TRACEQL_CHILD_COUNT] = -1,
};

static const struct {
    enum traceql_level level;
    const char *name;
    int leaf;
} static_columns[] = {
    {TRACEQL_LEVEL_RESOURCE, "service.name", BLOCK_RESOURCE_SERVICE},
    {TRACEQL_LEVEL_RESOURCE, "cluster", BLOCK_RESOURCE_CLUSTER},
    {TRACEQL_LEVEL_RESOURCE, "namespace", BLOCK_RESOURCE_NAMESPACE},
    {TRACEQL_LEVEL_RESOURCE, "pod", BLOCK_RESOURCE_POD},
    {TRACEQL_LEVEL_RESOURCE, "container", BLOCK_RESOURCE_CONTAINER},
    {TRACEQL_LEVEL_RESOURCE, "k8s.cluster.name", BLOCK_RESOURCE_K8S_CLUSTER},
    {TRACEQL_LEVEL_RESOURCE, "k8s.namespace.name", BLOCK_RESOURCE_K8S_NAMESPACE},
    {TRACEQL_LEVEL_RESOURCE, "k8s.pod.name", BLOCK_RESOURCE_K8S_POD},
    {TRACEQL_LEVEL_RESOURCE, "k8s.container.name", BLOCK_RESOURCE_K8S_CONTAINER},
    {TRACEQL_LEVEL_SPAN, "http.method", BLOCK_SPAN_HTTP_METHOD},
    {TRACEQL_LEVEL_SPAN, "http.url", BLOCK_SPAN_HTTP_URL},
    {TRACEQL_LEVEL_SPAN, "http.status_code", BLOCK_SPAN_HTTP_STATUS},
};

static int static_leaf(const struct scan *s, const struct traceql_field *f)
{
    for (size_t i = 0; i < sizeof static_columns / sizeof static_columns[0]; i++) {
        if (static_columns[i].level == f->level && scan_has(s, static_columns[i].leaf) &&
            slice_eq(f->name, slice_cstr(static_columns[i].name)))
            return static_columns[i].leaf;
    }
    return -1;
}

/* Of a name that is there twice the later place counts, as for those who write. */
static int dedicated_leaf(const struct scan *s, const struct traceql_field *f)
{
    static const enum traceql_level levels[] = {
        [BLOCK_SCOPE_SPAN] = TRACEQL_LEVEL_SPAN,
        [BLOCK_SCOPE_RESOURCE] = TRACEQL_LEVEL_RESOURCE,
        [BLOCK_SCOPE_EVENT] = TRACEQL_LEVEL_EVENT,
    };
    struct block_places places = {0};
    int found = -1;
    for (size_t i = 0; s->meta && i < s->meta->dedicated_count; i++) {
        const struct block_dedicated *d = &s->meta->dedicated[i];
        int leaf = block_dedicated_leaf(&places, d);
        if (leaf >= 0 && levels[d->scope] == f->level && slice_eq(d->name, f->name) &&
            scan_has(s, leaf))
            found = leaf;
    }
    return found;
}

/* The leaf of its own that a field has in this block, or -1. */
static int own_leaf(const struct scan *s, const struct traceql_field *f)
{
    if (f->intrinsic == TRACEQL_EVENT_TIME && !scan_has(s, BLOCK_EVENT_TIME))
        return BLOCK_EVENT_TIME_UNIX; /* vParquet3, or nothing */
    if (f->intrinsic != TRACEQL_ATTRIBUTE)
        return intrinsic_leaf[f->intrinsic];
    int leaf = static_leaf(s, f);
    return leaf >= 0 ? leaf : dedicated_leaf(s, f);
}

static int column_corrupt(const struct scan *s, const struct column *c, struct err *err,
                          const char *what)
{
    struct slice path = scan_path(s, (int)(c - s->decoded));
    return err_set(err, ERR_CORRUPT, "column %.*s: %s", SLICE_ARGS(path), what);
}

/* Whose each present value is. elements gets how many there are. NULL in *owner: value i belongs to
 * element i. *several: some element has more than one value. */
static int owners(struct scan *s, const struct column *c, enum traceql_level level,
                  const uint32_t **owner, uint32_t *elements, bool *several, struct err *err)
{
    uint8_t there = element_def(level);
    *owner = NULL;
    *several = false;
    if (c->def_max <= there) { /* required: every element has a value */
        *elements = c->values;
        return 0;
    }
    uint32_t *own = arena_array(s->arena, uint32_t, c->values);
    if (!own)
        return arena_err(s->arena, err, "a row group");
    uint32_t n = 0, element = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        if (c->def[i] < there)
            continue;
        if (c->rep[i] <= there)
            element++;
        else
            *several = true;
        if (element == 0)
            return column_corrupt(s, c, err, "a list begins in its middle");
        if (c->def[i] == c->def_max)
            own[n++] = element - 1;
    }
    *owner = own;
    *elements = element;
    return 0;
}

/* The values of a column as traceql takes them. */
static int column_values(struct scan *s, const struct column *c, struct traceql_values *out,
                         struct err *err)
{
    out->count = c->values;
    switch (c->type) {
    case COLUMN_BOOL:
        out->type = TRACEQL_BOOL;
        out->b = c->v.b;
        break;
    case COLUMN_I64:
        out->type = TRACEQL_INT;
        out->i64 = c->v.i64;
        break;
    case COLUMN_I32: {
        int64_t *wide = arena_array(s->arena, int64_t, c->values);
        if (!wide)
            return arena_err(s->arena, err, "a row group");
        for (uint32_t i = 0; i < c->values; i++)
            wide[i] = c->v.i32[i];
        out->type = TRACEQL_INT;
        out->i64 = wide;
        break;
    }
    case COLUMN_F64:
        out->type = TRACEQL_FLOAT;
        out->f64 = c->v.f64;
        break;
    case COLUMN_BYTES:
        out->type = TRACEQL_STRING;
        out->idx = c->has_dict ? c->v.idx : NULL;
        out->dict = c->has_dict ? c->dict : c->v.bytes;
        out->dict_count = c->has_dict ? c->dict_count : c->values;
        break;
    }
    return 0;
}

/* ---- generic attributes ---- */

static const struct {
    int leaf;
    unsigned read;
} attr_parts[] = {{BLOCK_ATTR_KEY, TRACEQL_READ_KEYS},
                  {BLOCK_ATTR_STRING, TRACEQL_READ_STRINGS},
                  {BLOCK_ATTR_INT, TRACEQL_READ_INTS},
                  {BLOCK_ATTR_DOUBLE, TRACEQL_READ_FLOATS},
                  {BLOCK_ATTR_BOOL, TRACEQL_READ_BOOLS}};
enum { ATTR_PARTS = sizeof attr_parts / sizeof attr_parts[0] };

static int generic_attrs(struct scan *s, const struct traceql_field *f, unsigned reads,
                         uint32_t elements_want, struct traceql_attrs *out, struct err *err)
{
    struct occurrences occ;
    int rc = attr_occurrences(s, f->level, f->name, elements_want, &occ, err);
    out->count = occ.count;
    out->owner = occ.owner;
    if (rc == 0 && f->absence)
        rc = attr_holders(s, scan_column(s, attr_first_leaf(f->level) + BLOCK_ATTR_KEY),
                          attr_rep(f->level), element_def(f->level), elements_want, &out->holders,
                          err);
    if (rc < 0 || occ.count == 0)
        return rc;
    struct traceql_values *values[ATTR_PARTS] = {NULL, &out->strings, &out->ints, &out->floats,
                                                 &out->bools};
    for (size_t i = 1; i < ATTR_PARTS && rc == 0; i++) {
        if (reads & attr_parts[i].read)
            rc = attr_values(s, f->level, attr_parts[i].leaf, &occ, values[i], err);
    }
    return rc;
}

/* ---- columns of a field's own ---- */

/* Both have owners, of the same numbering, and the same type. */
static int merge_values(struct scan *s, const struct traceql_values *a,
                        const struct traceql_values *b, struct traceql_values *out, struct err *err)
{
    uint32_t n = a->count + b->count;
    bool text = b->type == TRACEQL_STRING;
    uint32_t *owner = arena_array(s->arena, uint32_t, n);
    int64_t *i64 = arena_array(s->arena, int64_t, text ? 0 : n);
    struct slice *dict = arena_array(s->arena, struct slice, text ? n : 0);
    if (!owner || !i64 || !dict)
        return arena_err(s->arena, err, "a row group");
    uint32_t i = 0, k = 0;
    for (uint32_t at = 0; at < n; at++) {
        bool first = k == b->count || (i < a->count && a->owner[i] <= b->owner[k]);
        const struct traceql_values *from = first ? a : b;
        uint32_t value = first ? i++ : k++;
        owner[at] = from->owner[value];
        if (text)
            dict[at] = from->dict[from->idx ? from->idx[value] : value];
        else
            i64[at] = from->i64[value];
    }
    *out = (struct traceql_values){.type = b->type, .count = n, .owner = owner};
    if (text) {
        out->dict = dict;
        out->dict_count = n;
    } else {
        out->i64 = i64;
    }
    return 0;
}

/* Numbers the occurrences anew: those of the generic list and, between them, one for each element
 * that has values in the column. Owners become these numbers. */
static int number_occurrences(struct scan *s, struct traceql_attrs *attrs,
                              struct traceql_values *column, struct err *err)
{
    uint32_t *owner = arena_array(s->arena, uint32_t, (size_t)attrs->count + column->count);
    uint32_t *now = arena_array(s->arena, uint32_t, attrs->count); /* old number to new */
    uint32_t *column_owner = arena_array(s->arena, uint32_t, column->count);
    if (!owner || !now || !column_owner)
        return arena_err(s->arena, err, "a row group");
    uint32_t n = 0, old = 0, value = 0;
    while (old < attrs->count || value < column->count) {
        if (value == column->count ||
            (old < attrs->count && attrs->owner[old] <= column->owner[value])) {
            owner[n] = attrs->owner[old];
            now[old++] = n++;
            continue;
        }
        owner[n] = column->owner[value];
        while (value < column->count && column->owner[value] == owner[n])
            column_owner[value++] = n;
        n++;
    }
    struct traceql_values *lists[] = {&attrs->strings, &attrs->ints, &attrs->floats, &attrs->bools};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        uint32_t *moved = arena_array(s->arena, uint32_t, lists[i]->count);
        if (!moved)
            return arena_err(s->arena, err, "a row group");
        for (uint32_t k = 0; k < lists[i]->count; k++)
            moved[k] = now[lists[i]->owner ? lists[i]->owner[k] : k];
        lists[i]->owner = moved;
    }
    attrs->count = n;
    attrs->owner = owner;
    column->owner = column_owner;
    return 0;
}

/* A column with arrays is handed over as what it would be in vParquet4: attributes of the generic
 * list. traceql knows arrays only there. */
static int column_to_attrs(struct scan *s, struct traceql_values *column,
                           struct traceql_attrs *attrs, struct err *err)
{
    struct traceql_values *list = column->type == TRACEQL_STRING ? &attrs->strings : &attrs->ints;
    int rc = number_occurrences(s, attrs, column, err);
    if (rc == 0 && list->count)
        return merge_values(s, list, column, list, err);
    *list = *column;
    return rc;
}

/* vParquet3: events have the time itself. */
static int event_times(struct scan *s, const struct column *c, const uint32_t *event_span,
                       struct traceql_values *out, struct err *err)
{
    const struct column *start = scan_column(s, BLOCK_SPAN_START);
    int64_t *since = arena_array(s->arena, int64_t, c->values);
    if (!since)
        return arena_err(s->arena, err, "a row group");
    if (start->values != s->spans)
        return column_corrupt(s, start, err, "it has not one value for each span");
    for (uint32_t i = 0; i < c->values; i++)
        since[i] = (int64_t)((uint64_t)c->v.i64[i] - (uint64_t)start->v.i64[event_span[i]]);
    *out = (struct traceql_values){.type = TRACEQL_INT, .count = c->values, .i64 = since};
    return 0;
}

static int own_column(struct scan *s, int leaf, enum traceql_level level,
                      const struct traceql_batch *batch, struct traceql_input *in, struct err *err)
{
    const struct column *c = scan_column(s, leaf);
    struct traceql_values values = {0};
    uint32_t elements = 0;
    bool several = false;
    int rc = column_values(s, c, &values, err);
    if (rc == 0)
        rc = owners(s, c, level, &values.owner, &elements, &several, err);
    if (rc == 0 && c->entries && elements != batch->counts[level])
        rc = column_corrupt(s, c, err, "it has another number of elements than the others");
    if (rc == 0 && leaf == BLOCK_EVENT_TIME_UNIX)
        rc = event_times(s, c, batch->event_span, &values, err);
    if (rc == 0 && several)
        return column_to_attrs(s, &values, &in->attrs, err);
    in->has_column = true;
    in->column = values;
    return rc;
}

/* ---- the batch ---- */

/* A query's fields in this block: what is read of each, and where. */
struct field_reads {
    unsigned *reads; /* enum traceql_read */
    int *own;        /* leaf of its own, or -1 */
};

/* Whether elements may have several values in the column: then it is handed over as what it would
 * be in vParquet4, and both it and the generic list are read. */
static bool is_list(const struct scan *s, int leaf)
{
    if (!block_leaves[leaf].many)
        return false;
    uint8_t rep_max = s->ready ? s->ready[leaf].rep_max
                               : s->footer->file->leaves[s->footer->leaf_of[leaf]].rep_max;
    return rep_max == block_leaves[leaf].def_max;
}

static enum traceql_type leaf_type(int leaf)
{
    switch (block_leaves[leaf].column_type) {
    case COLUMN_BOOL:
        return TRACEQL_BOOL;
    case COLUMN_F64:
        return TRACEQL_FLOAT;
    case COLUMN_BYTES:
        return TRACEQL_STRING;
    default:
        return TRACEQL_INT;
    }
}

static int plan_fields(struct scan *s, const struct traceql_query *q, struct field_reads *out,
                       struct err *err)
{
    size_t n = traceql_field_count(q);
    enum traceql_type *types = arena_array(s->arena, enum traceql_type, n);
    out->reads = arena_array(s->arena, unsigned, n);
    out->own = arena_array(s->arena, int, n);
    if (!types || !out->reads || !out->own)
        return arena_err(s->arena, err, "a query's fields");
    for (size_t i = 0; i < n; i++) {
        const struct traceql_field *f = traceql_field_at(q, i);
        out->own[i] = own_leaf(s, f);
        types[i] = out->own[i] < 0 ? TRACEQL_NIL : leaf_type(out->own[i]);
    }
    traceql_reads(q, types, out->reads);
    for (size_t i = 0; i < n; i++) {
        if (out->own[i] >= 0 && is_list(s, out->own[i]))
            out->reads[i] = ~0u;
        if (traceql_field_at(q, i)->intrinsic != TRACEQL_ATTRIBUTE)
            out->reads[i] &= TRACEQL_READ_COLUMN;
    }
    return 0;
}

static size_t field_leaves(const struct traceql_field *f, unsigned reads, int own, int *leaves)
{
    size_t n = 0;
    if (own >= 0 && reads & TRACEQL_READ_COLUMN)
        leaves[n++] = own;
    if (own == BLOCK_EVENT_TIME_UNIX)
        leaves[n++] = BLOCK_SPAN_START;
    for (size_t k = 0; k < ATTR_PARTS && attr_first_leaf(f->level) >= 0; k++) {
        if (reads & attr_parts[k].read)
            leaves[n++] = attr_first_leaf(f->level) + attr_parts[k].leaf;
    }
    return n;
}

int scan_child_spans(struct scan *s, enum traceql_level level, const uint32_t **out,
                     uint32_t *count, struct err *err)
{
    int leaf = level == TRACEQL_LEVEL_EVENT ? BLOCK_EVENT_NAME : BLOCK_LINK_SPAN_ID;
    int rc = scan_need(s, &leaf, 1, err);
    if (rc < 0)
        return rc;
    const struct column *c = scan_column(s, leaf);
    uint32_t *span = arena_array(s->arena, uint32_t, c->values);
    if (!span)
        return arena_err(s->arena, err, "a row group");
    uint32_t n = 0, spans = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        spans += c->rep[i] <= BLOCK_REP_SPAN && c->def[i] >= BLOCK_REP_SPAN;
        if (c->def[i] == c->def_max) {
            if (spans == 0 || spans > s->spans)
                return column_corrupt(s, c, err, "levels do not add up");
            span[n++] = spans - 1;
        }
    }
    *out = span;
    *count = n;
    return 0;
}

int scan_batch(struct scan *s, const struct traceql_query *q, struct traceql_batch *out,
               struct err *err)
{
    size_t n = traceql_field_count(q);
    struct traceql_input *inputs = arena_zalloc(s->arena, n * sizeof *inputs);
    int *leaves = arena_array(s->arena, int, n *(BLOCK_ATTR_LEAVES + 1));
    if (!inputs || !leaves)
        return arena_err(s->arena, err, "a query's fields");
    size_t leaf_count = 0;
    bool events = false, links = false;
    struct field_reads fields;
    int rc = plan_fields(s, q, &fields, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const struct traceql_field *f = traceql_field_at(q, i);
        leaf_count += field_leaves(f, fields.reads[i], fields.own[i], leaves + leaf_count);
        events |= f->level == TRACEQL_LEVEL_EVENT;
        links |= f->level == TRACEQL_LEVEL_LINK;
    }
    rc = scan_need(s, leaves, leaf_count, err);
    if (rc == 0)
        rc = scan_maps(s, err);
    if (rc < 0)
        return rc;
    *out = (struct traceql_batch){
        .counts = {[TRACEQL_LEVEL_TRACE] = s->traces,
                   [TRACEQL_LEVEL_RESOURCE] = s->resources,
                   [TRACEQL_LEVEL_SCOPE] = s->scopes,
                   [TRACEQL_LEVEL_SPAN] = s->spans},
        .span_trace = s->span_trace,
        .span_resource = s->span_resource,
        .span_scope = s->span_scope,
        .inputs = inputs,
        .dictionaries = s->ready ? 0 : (uint64_t)s->row_group + 1,
        .kept = s->group,
    };
    if (events)
        rc = scan_child_spans(s, TRACEQL_LEVEL_EVENT, &out->event_span,
                              &out->counts[TRACEQL_LEVEL_EVENT], err);
    if (rc == 0 && links)
        rc = scan_child_spans(s, TRACEQL_LEVEL_LINK, &out->link_span,
                              &out->counts[TRACEQL_LEVEL_LINK], err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct traceql_field *f = traceql_field_at(q, i);
        int own = fields.own[i];
        if (fields.reads[i] & TRACEQL_READ_KEYS && attr_first_leaf(f->level) >= 0)
            rc = generic_attrs(s, f, fields.reads[i], out->counts[f->level], &inputs[i].attrs, err);
        if (rc == 0 && own >= 0 && fields.reads[i] & TRACEQL_READ_COLUMN) {
            rc = own_column(s, own, f->level, out, &inputs[i], err);
        } else if (own >= 0) {
            inputs[i].has_column = true;
            inputs[i].column.type = leaf_type(own);
        }
        if (rc == 0 && f->intrinsic == TRACEQL_SPAN_CHILD_COUNT) {
            inputs[i].has_column = true;
            rc = child_counts(s, &inputs[i].column, err);
        }
    }
    return rc;
}
