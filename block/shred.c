/* The shredder: one trace, one row of 103 columns.
 *
 * A trace is walked once, in the order of its spans; a new resource or scope begins where a span's
 * neighbour had another one. What is known for the whole trace (nested sets, root, times, service
 * stats) is computed on the way. (docs/formats/block.md, 6 and 7.) */
#include "block/shred_priv.h"

#include <inttypes.h>

#include "base/random.h"
#include "base/text.h"

/* Definition levels of a list that is there but empty are its parent's. */
enum { DEF_RESOURCE = 1, DEF_SCOPE = 2, DEF_SPAN = 3, DEF_EVENT = 4 };
enum { REP_EVENT = 4 };
enum { STATUS_ERROR = 2 };

static const struct {
    uint8_t first_leaf;
    uint8_t held_leaf;
} groups[] = {
    [PLACE_RESOURCE_ATTRS - PLACE_RESOURCE_ATTRS] = {BLOCK_RESOURCE_ATTRS, BLOCK_RESOURCE_SERVICE},
    [PLACE_SCOPE_ATTRS - PLACE_RESOURCE_ATTRS] = {BLOCK_SCOPE_ATTRS, 0},
    [PLACE_SPAN_ATTRS - PLACE_RESOURCE_ATTRS] = {BLOCK_SPAN_ATTRS, BLOCK_SPAN_HTTP_METHOD},
    [PLACE_EVENT_ATTRS - PLACE_RESOURCE_ATTRS] = {BLOCK_EVENT_ATTRS, 0},
    [PLACE_LINK_ATTRS - PLACE_RESOURCE_ATTRS] = {BLOCK_LINK_ATTRS, 0},
};
#define GROUPS (sizeof groups / sizeof groups[0])

static_assert(BLOCK_RESOURCE_DEDICATED + BLOCK_DEDICATED_MAX - BLOCK_RESOURCE_SERVICE <= 32,
              "held values of a resource have a bit each");
static_assert(BLOCK_SPAN_DEDICATED + BLOCK_DEDICATED_MAX - BLOCK_SPAN_HTTP_METHOD <= 32,
              "held values of a span have a bit each");

/* Leaves with exactly one value per span: written by index, counted once per row. */
static const uint8_t span_leaves[] = {
    BLOCK_SPAN_ID,          BLOCK_SPAN_PARENT_SPAN_ID, BLOCK_SPAN_PARENT_ID,
    BLOCK_SPAN_NESTED_LEFT, BLOCK_SPAN_NESTED_RIGHT,   BLOCK_SPAN_NAME,
    BLOCK_SPAN_KIND,        BLOCK_SPAN_TRACE_STATE,    BLOCK_SPAN_START,
    BLOCK_SPAN_DURATION,    BLOCK_SPAN_STATUS_CODE,    BLOCK_SPAN_STATUS_MESSAGE,
    BLOCK_SPAN_DROPPED,     BLOCK_SPAN_DROPPED_EVENTS, BLOCK_SPAN_DROPPED_LINKS,
};
#define SPAN_LEAVES (sizeof span_leaves / sizeof span_leaves[0])

static size_t value_size(int leaf)
{
    switch ((enum column_type)block_leaves[leaf].column_type) {
    case COLUMN_BOOL:
        return sizeof(uint8_t);
    case COLUMN_I32:
        return sizeof(int32_t);
    case COLUMN_I64:
        return sizeof(int64_t);
    case COLUMN_F64:
        return sizeof(double);
    case COLUMN_BYTES:
        break;
    }
    return block_leaves[leaf].dict ? sizeof(uint32_t) : sizeof(struct slice);
}

/* ---- life cycle ---- */

static enum shred_place place_of(int leaf)
{
    for (size_t i = 0; i < GROUPS; i++) {
        if (leaf >= groups[i].first_leaf && leaf < groups[i].first_leaf + BLOCK_ATTR_LEAVES)
            return (enum shred_place)(PLACE_RESOURCE_ATTRS + i);
    }
    if (leaf < BLOCK_RESOURCE_ATTRS)
        return PLACE_STATS;
    if (leaf < BLOCK_SCOPE_NAME)
        return PLACE_RESOURCE;
    if (leaf < BLOCK_SPAN_ID)
        return PLACE_SCOPE;
    if (leaf >= BLOCK_EVENT_TIME && leaf <= BLOCK_EVENT_DROPPED)
        return PLACE_EVENT;
    if (leaf >= BLOCK_LINK_TRACE_ID && leaf <= BLOCK_LINK_DROPPED)
        return PLACE_LINK;
    return PLACE_SPAN;
}

static void bind_leaves(struct shredder *s)
{
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        s->leaf[i].def_max = block_leaves[i].def_max;
        if (block_leaves[i].def_max > 0)
            s->leaf[i].levels = &s->place[place_of(i)];
    }
    for (size_t i = 0; i < GROUPS; i++) {
        const struct block_leaf_info *key = &block_leaves[groups[i].first_leaf];
        s->group[i].first_leaf = groups[i].first_leaf;
        s->group[i].held_leaf = groups[i].held_leaf;
        s->group[i].rep_more = key->rep_max;
        s->group[i].def_attr = key->def_max;
        s->group[i].levels = &s->place[PLACE_RESOURCE_ATTRS + i];
    }
}

int shredder_new(struct shredder **out, struct err *err)
{
    struct shredder *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a shredder");
    buf_init(&s->scratch, LIMIT_SHRED_TEXT_BYTES);
    random_bytes(&s->seed, sizeof s->seed);
    s->nested.seed = s->seed;
    bind_leaves(s);
    s->arena = arena_new(LIMIT_SHRED_TEXT_BYTES);
    int rc = s->arena ? shredder_reset(s, NULL, 0, err)
                      : err_set(err, ERR_NOMEM, "no memory for a shredder");
    if (rc < 0) {
        shredder_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void shredder_free(struct shredder *s)
{
    if (!s)
        return;
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        free(s->leaf[i].v.any);
        vec_free(&s->leaf[i].def);
        vec_free(&s->leaf[i].rep);
        dict_clear(&s->leaf[i].dict);
    }
    for (int i = 0; i < PLACES; i++) {
        free(s->place[i].rep);
        free(s->place[i].def);
    }
    for (size_t i = 0; i < GROUPS; i++) {
        dict_clear(&s->group[i].names);
        vec_free(&s->group[i].keys);
    }
    nested_set_clear(&s->nested);
    vec_free(&s->stats_at);
    buf_clear(&s->scratch);
    arena_free(s->arena);
    free(s);
}

static int copy_dedicated(struct shredder *s, const struct block_dedicated *dedicated, size_t count,
                          struct err *err)
{
    s->dedicated_count = 0;
    s->dedicated = arena_array(s->arena, struct block_dedicated, count);
    if (!s->dedicated)
        return arena_err(s->arena, err, "the list of dedicated columns");
    for (size_t i = 0; i < count; i++) {
        s->dedicated[i] = dedicated[i];
        if (!arena_slice(s->arena, dedicated[i].name, &s->dedicated[i].name))
            return arena_err(s->arena, err, "the name of a dedicated column");
    }
    s->dedicated_count = count;
    return 0;
}

int shredder_reset(struct shredder *s, const struct block_dedicated *dedicated, size_t count,
                   struct err *err)
{
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        struct shred_leaf *l = &s->leaf[i];
        l->values = l->synced = 0;
        l->owns_def = l->owns_rep = false;
        vec_reset(&l->def);
        vec_reset(&l->rep);
        dict_reset(&l->dict);
    }
    for (int i = 0; i < PLACES; i++)
        s->place[i].count = 0;
    vec_reset(&s->stats_at);
    s->stats_first = 0;
    s->rows = 0;
    s->start_ns = s->end_ns = 0;
    s->text_bytes = 0;
    memset(s->last_id, 0, sizeof s->last_id);
    arena_reset(s->arena);
    int rc = copy_dedicated(s, dedicated, count, err);
    if (rc == 0 && attr_groups_reset(s) < 0)
        rc = err_set(err, ERR_NOMEM, "no memory for the keys of a shredder");
    return rc;
}

/* ---- one value at a time, for places that are not hot ---- */

static int put_text(struct shredder *s, int leaf, struct slice v)
{
    struct shred_leaf *l = &s->leaf[leaf];
    struct slice text;
    int rc = shred_text(s, v, &text);
    if (rc < 0)
        return rc;
    if (!leaf_reserve(l, 1, struct slice))
        return ERR_NOMEM;
    l->v.bytes[l->values++] = text;
    return 0;
}

static int put_id(struct shredder *s, int leaf, struct slice id)
{
    struct shred_leaf *l = &s->leaf[leaf];
    if (!leaf_reserve(l, 1, struct slice))
        return ERR_NOMEM;
    l->v.bytes[l->values++] = id;
    s->text_bytes += id.len;
    return 0;
}

static int put_dict(struct shredder *s, int leaf, struct slice v)
{
    struct shred_leaf *l = &s->leaf[leaf];
    return leaf_reserve(l, 1, uint32_t) ? leaf_put_dict(s, l, v) : ERR_NOMEM;
}

static int put_i32(struct shredder *s, int leaf, uint32_t v)
{
    struct shred_leaf *l = &s->leaf[leaf];
    if (!leaf_reserve(l, 1, int32_t))
        return ERR_NOMEM;
    l->v.i32[l->values++] = (int32_t)v;
    return 0;
}

static int put_i64(struct shredder *s, int leaf, uint64_t v)
{
    struct shred_leaf *l = &s->leaf[leaf];
    if (!leaf_reserve(l, 1, int64_t))
        return ERR_NOMEM;
    l->v.i64[l->values++] = (int64_t)v;
    return 0;
}

static int put_level(struct shredder *s, enum shred_place place, uint8_t rep, uint8_t def)
{
    struct levels *l = &s->place[place];
    if (!levels_reserve(l, 1))
        return ERR_NOMEM;
    levels_put(l, rep, def);
    return 0;
}

static struct attr_group *group_of(struct shredder *s, enum shred_place place)
{
    return &s->group[place - PLACE_RESOURCE_ATTRS];
}

/* ---- resources, scopes, events, links ---- */

/* The service's entry in ServiceStats of this row, made when it is new. service is an index into
 * the dictionary of ServiceName. */
static int stats_entry(struct shredder *s, uint32_t service, uint32_t *out)
{
    struct shred_leaf *keys = &s->leaf[BLOCK_STATS_SERVICE];
    if (service >= s->stats_at.count) {
        uint32_t more = service + 1 - s->stats_at.count;
        if (!vec_reserve(&s->stats_at, more))
            return ERR_NOMEM;
        memset(s->stats_at.at + s->stats_at.count, 0xff, more * sizeof *s->stats_at.at);
        s->stats_at.count = service + 1;
    }
    /* An entry of an earlier row stands before stats_first, a missing one after the last. */
    uint32_t at = s->stats_at.at[service];
    if (at >= s->stats_first && at < keys->values) {
        *out = at;
        return 0;
    }
    *out = s->stats_at.at[service] = keys->values;
    uint8_t rep = keys->values == s->stats_first ? 0 : 1;
    /* Text of the dictionary: valid already. */
    int rc =
        put_id(s, BLOCK_STATS_SERVICE, s->leaf[BLOCK_RESOURCE_SERVICE].dict.values.at[service]);
    rc = rc < 0 ? rc : put_i32(s, BLOCK_STATS_SPANS, 0);
    rc = rc < 0 ? rc : put_i32(s, BLOCK_STATS_ERRORS, 0);
    return rc < 0 ? rc : put_level(s, PLACE_STATS, rep, 1);
}

static int add_resource(struct shredder *s, const struct span_batch *b, uint32_t number,
                        uint8_t rep, uint32_t *stats)
{
    const struct resource *r = &b->resources.at[number];
    struct attr_group *g = group_of(s, PLACE_RESOURCE_ATTRS);
    int rc = shred_attrs(s, g, b, r->attrs, rep);
    rc = rc < 0 ? rc : put_level(s, PLACE_RESOURCE, rep, DEF_RESOURCE);
    rc = rc < 0 ? rc : put_i32(s, BLOCK_RESOURCE_DROPPED, r->dropped_attrs);
    if (rc < 0)
        return rc;
    /* The service's name stands in a required column: held like the others, but always there. */
    struct slice service = slice_of(NULL, 0);
    if (s->held.mask & 1)
        service = s->held.value[0]->str;
    s->held.mask &= ~UINT32_C(1);
    rc = put_dict(s, BLOCK_RESOURCE_SERVICE, service);
    rc = rc < 0 ? rc : shred_held_flush(s, g);
    if (rc < 0)
        return rc;
    const struct shred_leaf *names = &s->leaf[BLOCK_RESOURCE_SERVICE];
    return stats_entry(s, names->v.idx[names->values - 1], stats);
}

static int add_scope(struct shredder *s, const struct span_batch *b, uint32_t number, uint8_t rep)
{
    const struct scope *c = &b->scopes.at[number];
    int rc = shred_attrs(s, group_of(s, PLACE_SCOPE_ATTRS), b, c->attrs, rep);
    rc = rc < 0 ? rc : put_level(s, PLACE_SCOPE, rep, DEF_SCOPE);
    rc = rc < 0 ? rc : put_dict(s, BLOCK_SCOPE_NAME, c->name);
    rc = rc < 0 ? rc : put_dict(s, BLOCK_SCOPE_VERSION, c->version);
    return rc < 0 ? rc : put_i32(s, BLOCK_SCOPE_DROPPED, c->dropped_attrs);
}

static int add_events(struct shredder *s, const struct span_batch *b, const struct span *sp,
                      uint8_t rep)
{
    if (sp->events.count == 0) {
        int rc = put_level(s, PLACE_EVENT, rep, DEF_SPAN);
        return rc < 0 ? rc : shred_attrs_none(s, group_of(s, PLACE_EVENT_ATTRS), rep, DEF_SPAN);
    }
    for (uint32_t i = 0; i < sp->events.count; i++) {
        const struct event *e = &b->events.at[sp->events.first + i];
        int rc = put_level(s, PLACE_EVENT, rep, DEF_EVENT);
        rc = rc < 0 ? rc : put_i64(s, BLOCK_EVENT_TIME, e->time_unix_ns - sp->start_unix_ns);
        rc = rc < 0 ? rc : put_dict(s, BLOCK_EVENT_NAME, e->name);
        rc = rc < 0 ? rc : put_i32(s, BLOCK_EVENT_DROPPED, e->dropped_attrs);
        rc = rc < 0 ? rc : shred_attrs(s, group_of(s, PLACE_EVENT_ATTRS), b, e->attrs, rep);
        if (rc < 0)
            return rc;
        rep = REP_EVENT;
    }
    return 0;
}

static int add_links(struct shredder *s, const struct span_batch *b, const struct span *sp,
                     uint8_t rep)
{
    if (sp->links.count == 0) {
        int rc = put_level(s, PLACE_LINK, rep, DEF_SPAN);
        return rc < 0 ? rc : shred_attrs_none(s, group_of(s, PLACE_LINK_ATTRS), rep, DEF_SPAN);
    }
    for (uint32_t i = 0; i < sp->links.count; i++) {
        const struct link *k = &b->links.at[sp->links.first + i];
        int rc = put_level(s, PLACE_LINK, rep, DEF_EVENT);
        rc = rc < 0 ? rc : put_id(s, BLOCK_LINK_TRACE_ID, k->trace_id);
        rc = rc < 0 ? rc : put_id(s, BLOCK_LINK_SPAN_ID, k->span_id);
        rc = rc < 0 ? rc : put_text(s, BLOCK_LINK_TRACE_STATE, k->trace_state);
        rc = rc < 0 ? rc : put_i32(s, BLOCK_LINK_DROPPED, k->dropped_attrs);
        rc = rc < 0 ? rc : shred_attrs(s, group_of(s, PLACE_LINK_ATTRS), b, k->attrs, rep);
        if (rc < 0)
            return rc;
        rep = REP_EVENT;
    }
    return 0;
}

/* ---- spans ---- */

/* Room for the one value per span that span_leaves take. */
static int reserve_spans(struct shredder *s, uint32_t count)
{
    for (size_t i = 0; i < SPAN_LEAVES; i++) {
        struct shred_leaf *l = &s->leaf[span_leaves[i]];
        if ((size_t)(l->cap - l->values) < count &&
            !leaf_grow(l, count, value_size(span_leaves[i])))
            return ERR_NOMEM;
    }
    return levels_reserve(&s->place[PLACE_SPAN], count) ? 0 : ERR_NOMEM;
}

/* Writes value number `at` of each of span_leaves but the nested sets. */
static int put_span(struct shredder *s, const struct span *sp, uint32_t at)
{
    struct shred_leaf *l = s->leaf;
    l[BLOCK_SPAN_ID].v.bytes[at] = sp->span_id;
    l[BLOCK_SPAN_PARENT_SPAN_ID].v.bytes[at] = sp->parent_span_id;
    l[BLOCK_SPAN_KIND].v.i64[at] = sp->kind;
    l[BLOCK_SPAN_START].v.i64[at] = (int64_t)sp->start_unix_ns;
    l[BLOCK_SPAN_DURATION].v.i64[at] = (int64_t)(sp->end_unix_ns - sp->start_unix_ns);
    l[BLOCK_SPAN_STATUS_CODE].v.i64[at] = sp->status_code;
    l[BLOCK_SPAN_DROPPED].v.i32[at] = (int32_t)sp->dropped_attrs;
    l[BLOCK_SPAN_DROPPED_EVENTS].v.i32[at] = (int32_t)sp->dropped_events;
    l[BLOCK_SPAN_DROPPED_LINKS].v.i32[at] = (int32_t)sp->dropped_links;
    int rc = shred_text(s, sp->trace_state, &l[BLOCK_SPAN_TRACE_STATE].v.bytes[at]);
    rc = rc < 0 ? rc : shred_text(s, sp->status_message, &l[BLOCK_SPAN_STATUS_MESSAGE].v.bytes[at]);
    return rc < 0
               ? rc
               : dict_intern(s, &l[BLOCK_SPAN_NAME].dict, sp->name, &l[BLOCK_SPAN_NAME].v.idx[at]);
}

static int add_span(struct shredder *s, const struct span_batch *b, const struct span *sp,
                    uint32_t at, uint8_t rep)
{
    struct attr_group *g = group_of(s, PLACE_SPAN_ATTRS);
    levels_put(&s->place[PLACE_SPAN], rep, DEF_SPAN);
    int rc = put_span(s, sp, at);
    rc = rc < 0 ? rc : shred_attrs(s, g, b, sp->attrs, rep);
    rc = rc < 0 ? rc : shred_held_flush(s, g);
    rc = rc < 0 ? rc : add_events(s, b, sp, rep);
    return rc < 0 ? rc : add_links(s, b, sp, rep);
}

static int add_spans(struct shredder *s, const struct trace *t)
{
    const struct span_batch *b = t->batch;
    uint32_t at = s->leaf[BLOCK_SPAN_ID].values;
    uint32_t scope = SHRED_NONE, resource = SHRED_NONE, stats = 0;
    for (uint32_t i = 0; i < t->span_count; i++) {
        const struct span *sp = &b->spans.at[t->spans[i]];
        uint8_t rep = i ? BLOCK_REP_SPAN : 0;
        int rc = 0;
        if (sp->scope != scope) {
            uint32_t of = b->scopes.at[sp->scope].resource;
            if (i)
                rep = of == resource ? BLOCK_REP_SCOPE : BLOCK_REP_RESOURCE;
            if (of != resource)
                rc = add_resource(s, b, of, rep, &stats);
            rc = rc < 0 ? rc : add_scope(s, b, sp->scope, rep);
            scope = sp->scope;
            resource = of;
        }
        rc = rc < 0 ? rc : add_span(s, b, sp, at + i, rep);
        if (rc < 0)
            return rc;
        s->leaf[BLOCK_STATS_SPANS].v.i32[stats]++;
        s->leaf[BLOCK_STATS_ERRORS].v.i32[stats] += sp->status_code == STATUS_ERROR;
    }
    for (size_t i = 0; i < SPAN_LEAVES; i++)
        s->leaf[span_leaves[i]].values += t->span_count;
    return 0;
}

/* A trace without spans is a row without resources. Its id is zeros, so it can only be the first
 * row: no leaf owns levels yet. */
static int add_nothing(struct shredder *s)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < PLACE_RESOURCE_ATTRS; i++)
        rc = put_level(s, (enum shred_place)i, 0, 0);
    for (size_t i = 0; rc == 0 && i < GROUPS; i++)
        rc = shred_attrs_none(s, &s->group[i], 0, 0);
    return rc;
}

/* ---- the trace as a whole ---- */

/* The last span without a parent names the trace, the first service.name of its resource the
 * service; a root whose resource was never sent names nothing. */
static struct shred_root root_of(const struct trace *t)
{
    const struct span_batch *b = t->batch;
    struct slice name = slice_of(NULL, 0), service = slice_of(NULL, 0);
    uint32_t i = t->span_count;
    while (i > 0 && b->spans.at[t->spans[i - 1]].parent_span_id.len != 0)
        i--;
    if (i > 0) {
        const struct span *root = &b->spans.at[t->spans[i - 1]];
        const struct resource *r = &b->resources.at[b->scopes.at[root->scope].resource];
        if (r->present)
            name = root->name;
        for (uint32_t k = 0; r->present && k < r->attrs.count; k++) {
            const struct attr *a = &b->attrs.at[r->attrs.first + k];
            if (!slice_eq(a->key, SLICE("service.name")))
                continue;
            if (a->value.type == VALUE_STRING)
                service = a->value.str;
            break;
        }
    }
    return (struct shred_root){.service = service, .name = name};
}

static int put_times(struct shredder *s, const struct trace *t)
{
    uint64_t start = 0, end = 0, start_set = 0;
    for (uint32_t i = 0; i < t->span_count; i++) {
        const struct span *sp = &t->batch->spans.at[t->spans[i]];
        /* Tempo's own rule: a running start of 0 counts as unset. */
        if (start == 0 || sp->start_unix_ns < start)
            start = sp->start_unix_ns;
        if (sp->start_unix_ns && (start_set == 0 || sp->start_unix_ns < start_set))
            start_set = sp->start_unix_ns;
        if (sp->end_unix_ns > end)
            end = sp->end_unix_ns;
    }
    if (start_set && (s->start_ns == 0 || start_set < s->start_ns))
        s->start_ns = start_set;
    if (end > s->end_ns)
        s->end_ns = end;
    int rc = put_i64(s, BLOCK_TRACE_START, start);
    rc = rc < 0 ? rc : put_i64(s, BLOCK_TRACE_END, end);
    return rc < 0 ? rc : put_i64(s, BLOCK_TRACE_DURATION, end - start);
}

/* The id, and the id in hex without leading zeros. */
static int put_trace_id(struct shredder *s, const uint8_t id[16])
{
    char *text = arena_alloc(s->arena, 16 + 32);
    if (!text)
        return ERR_LIMIT;
    memcpy(text, id, 16);
    hex_encode(slice_of(id, 16), text + 16);
    size_t zeros = 0;
    while (zeros < 32 && text[16 + zeros] == '0')
        zeros++;
    int rc = put_id(s, BLOCK_TRACE_ID, slice_of(text, 16));
    return rc < 0 ? rc : put_id(s, BLOCK_TRACE_ID_TEXT, slice_of(text + 16 + zeros, 32 - zeros));
}

static int add_row(struct shredder *s, const struct trace *t, const struct shred_root *root,
                   const uint8_t id[16], struct err *err)
{
    struct shred_leaf *l = s->leaf;
    s->stats_first = l[BLOCK_STATS_SERVICE].values;
    int rc = reserve_spans(s, t->span_count);
    if (rc < 0)
        return rc;
    uint32_t at = l[BLOCK_SPAN_ID].values;
    if (t->span_count) {
        rc = nested_set_number(&s->nested, t, l[BLOCK_SPAN_NESTED_LEFT].v.i32 + at,
                               l[BLOCK_SPAN_NESTED_RIGHT].v.i32 + at,
                               l[BLOCK_SPAN_PARENT_ID].v.i32 + at, err);
        rc = rc < 0 ? rc : add_spans(s, t);
    } else {
        rc = add_nothing(s);
    }
    rc = rc < 0 ? rc : put_trace_id(s, id);
    rc = rc < 0 ? rc : put_times(s, t);
    rc = rc < 0 ? rc : put_dict(s, BLOCK_ROOT_NAME, root->name);
    return rc < 0 ? rc : put_dict(s, BLOCK_ROOT_SERVICE, root->service);
}

/* Completes every column, so that shredder_columns cannot fail: strings still queued, and the
 * optional leaves that own levels and have not been in step with their place. */
static int end_row(struct shredder *s)
{
    for (size_t i = 0; i < GROUPS; i++) {
        int rc = shred_strings_flush(s, &s->group[i]);
        if (rc < 0)
            return rc;
    }
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        struct shred_leaf *l = &s->leaf[i];
        if (!l->owns_def || l->synced == l->levels->count)
            continue;
        if (!leaf_skip(l, l->levels->count))
            return ERR_NOMEM;
    }
    return 0;
}

int shredder_add(struct shredder *s, const struct trace *t, struct err *err)
{
    return shredder_add_rooted(s, t, NULL, err);
}

int shredder_add_rooted(struct shredder *s, const struct trace *t, const struct shred_root *root,
                        struct err *err)
{
    static const uint8_t zeros[16];
    const uint8_t *id = t->span_count ? t->batch->spans.at[t->spans[0]].trace_id : zeros;
    assert(s->rows == 0 || memcmp(s->last_id, id, sizeof s->last_id) < 0);
    struct err inner = {.code = ERR_OK};
    struct shred_root computed;
    if (!root) {
        computed = root_of(t);
        root = &computed;
    }
    int rc = add_row(s, t, root, id, &inner);
    rc = rc < 0 ? rc : end_row(s);
    if (rc < 0) {
        char text[33] = {0};
        hex_encode(slice_of(id, 16), text);
        return err_set(err, rc, "trace %s of %" PRIu32 " spans was not shredded: %s", text,
                       t->span_count, inner.code ? inner.msg : err_code_name(rc));
    }
    memcpy(s->last_id, id, sizeof s->last_id);
    s->rows++;
    return 0;
}

/* ---- results ---- */

uint32_t shredder_rows(const struct shredder *s)
{
    return s->rows;
}

uint64_t shredder_spans(const struct shredder *s)
{
    return s->leaf[BLOCK_SPAN_ID].values;
}

size_t shredder_bytes(const struct shredder *s)
{
    /* Encoded bytes of an entry of each place without its text, as blocks of real traffic show. */
    static const uint8_t weight[PLACES] = {
        [PLACE_STATS] = 3,          [PLACE_RESOURCE] = 2,    [PLACE_SCOPE] = 1,
        [PLACE_SPAN] = 40,          [PLACE_EVENT] = 8,       [PLACE_LINK] = 4,
        [PLACE_RESOURCE_ATTRS] = 2, [PLACE_SCOPE_ATTRS] = 1, [PLACE_SPAN_ATTRS] = 3,
        [PLACE_EVENT_ATTRS] = 2,    [PLACE_LINK_ATTRS] = 2,
    };
    size_t bytes = s->text_bytes + (size_t)s->rows * 40;
    for (int i = 0; i < PLACES; i++)
        bytes += (size_t)s->place[i].count * weight[i];
    return bytes;
}

void shredder_times(const struct shredder *s, uint64_t *start_ns, uint64_t *end_ns)
{
    *start_ns = s->start_ns;
    *end_ns = s->end_ns;
}

static void fill_column(const struct shredder *s, int leaf, struct column *c)
{
    const struct shred_leaf *l = &s->leaf[leaf];
    const struct block_leaf_info *info = &block_leaves[leaf];
    *c = (struct column){
        .type = (enum column_type)info->column_type,
        .rep_max = info->rep_max,
        .def_max = info->def_max,
        .has_dict = info->dict,
        .rows = s->rows,
        .entries = l->owns_def ? l->def.count
                   : l->levels ? l->levels->count
                               : l->values,
        .values = l->values,
        .dict = l->dict.values.at,
        .dict_count = l->dict.values.count,
    };
    c->v.bytes = l->v.bytes; /* the union's other members alike */
    if (l->levels) {
        c->def = l->owns_def ? l->def.at : l->levels->def;
        c->rep = l->owns_rep ? l->rep.at : l->levels->rep;
    }
}

const struct column *shredder_columns(struct shredder *s)
{
    for (int i = 0; i < BLOCK_V4_LEAVES; i++)
        fill_column(s, i, &s->columns[i]);
    return s->columns;
}
