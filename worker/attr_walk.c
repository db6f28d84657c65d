/* Attribute lists and columns of their own, entry by entry. Blocks are foreign bytes: the numbers
 * of a walk may pass those of other columns, so who uses them as an index checks first. */
#include "worker/attr_walk.h"

#include "base/vec.h"

static const struct {
    int leaf;    /* first of seven */
    uint8_t rep; /* repetition level of a further attribute of the same element */
} lists[TRACEQL_LEVELS] = {
    [TRACEQL_LEVEL_TRACE] = {-1, 0},
    [TRACEQL_LEVEL_RESOURCE] = {BLOCK_RESOURCE_ATTRS, 2},
    [TRACEQL_LEVEL_SCOPE] = {BLOCK_SCOPE_ATTRS, 3},
    [TRACEQL_LEVEL_SPAN] = {BLOCK_SPAN_ATTRS, 4},
    [TRACEQL_LEVEL_EVENT] = {BLOCK_EVENT_ATTRS, 5},
    [TRACEQL_LEVEL_LINK] = {BLOCK_LINK_ATTRS, 5},
};

int attr_first_leaf(enum traceql_level level)
{
    return lists[level].leaf;
}

int attr_find(struct scan *s, enum traceql_level level, struct slice name, attr_want_fn *want,
              void *ctx, struct attr_hits *out, struct err *err)
{
    const struct column *key = scan_column(s, lists[level].leaf + BLOCK_ATTR_KEY);
    uint32_t wanted = UINT32_MAX;
    *out = (struct attr_hits){0};
    for (uint32_t i = 0; key->has_dict && i < key->dict_count && wanted == UINT32_MAX; i++) {
        if (slice_eq(key->dict[i], name))
            wanted = i;
    }
    if (key->has_dict && wanted == UINT32_MAX)
        return 0;
    VEC(uint32_t) slots = {0}, resources = {0};
    struct walk w = {0};
    uint32_t value = 0;
    bool ok = true;
    for (uint32_t i = 0; i < key->entries && ok; i++) {
        if (want)
            walk_step(&w, key, i);
        else /* nobody asks for the rest */
            w.resources += key->rep[i] <= BLOCK_REP_RESOURCE && key->def[i] >= BLOCK_REP_RESOURCE;
        if (key->def[i] != key->def_max)
            continue;
        bool hit =
            key->has_dict ? key->v.idx[value] == wanted : slice_eq(key->v.bytes[value], name);
        value++;
        if (hit && w.resources && (!want || want(ctx, &w)))
            ok = vec_push(&slots, i) && vec_push(&resources, w.resources - 1);
    }
    out->count = slots.count;
    out->slot = ok ? arena_array(s->arena, uint32_t, slots.count) : NULL;
    out->resource = ok ? arena_array(s->arena, uint32_t, slots.count) : NULL;
    if (out->slot && out->resource && slots.count) {
        memcpy(out->slot, slots.at, slots.count * sizeof *out->slot);
        memcpy(out->resource, resources.at, slots.count * sizeof *out->resource);
    }
    vec_free(&slots);
    vec_free(&resources);
    return out->slot && out->resource ? 0 : arena_err(s->arena, err, "a row group");
}

/* The entries follow the key column's: one or, of an array, more for each slot. */
int attr_values(struct scan *s, enum traceql_level level, int which, const struct attr_hits *hits,
                attr_value_fn *fn, void *ctx)
{
    const struct column *c = scan_column(s, lists[level].leaf + which);
    uint32_t slot = 0, value = 0, at = 0;
    for (uint32_t i = 0; i < c->entries && at < hits->count && value < c->values; i++) {
        slot += i > 0 && c->rep[i] <= lists[level].rep;
        while (at < hits->count && hits->slot[at] < slot)
            at++;
        if (c->def[i] != c->def_max)
            continue;
        if (at < hits->count && hits->slot[at] == slot) {
            int rc = fn(ctx, c, value, at);
            if (rc < 0)
                return rc;
        }
        value++;
    }
    return 0;
}

/* ---- columns of their own ---- */

static const struct own_column well_known[] = {
#define OWN(level_, name_, leaf_)                                                                  \
    {                                                                                              \
        level_, {(const uint8_t *)name_, sizeof name_ - 1}, leaf_                                  \
    }
    OWN(TRACEQL_LEVEL_RESOURCE, "service.name", BLOCK_RESOURCE_SERVICE),
    OWN(TRACEQL_LEVEL_RESOURCE, "cluster", BLOCK_RESOURCE_CLUSTER),
    OWN(TRACEQL_LEVEL_RESOURCE, "namespace", BLOCK_RESOURCE_NAMESPACE),
    OWN(TRACEQL_LEVEL_RESOURCE, "pod", BLOCK_RESOURCE_POD),
    OWN(TRACEQL_LEVEL_RESOURCE, "container", BLOCK_RESOURCE_CONTAINER),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.cluster.name", BLOCK_RESOURCE_K8S_CLUSTER),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.namespace.name", BLOCK_RESOURCE_K8S_NAMESPACE),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.pod.name", BLOCK_RESOURCE_K8S_POD),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.container.name", BLOCK_RESOURCE_K8S_CONTAINER),
    OWN(TRACEQL_LEVEL_SPAN, "http.method", BLOCK_SPAN_HTTP_METHOD),
    OWN(TRACEQL_LEVEL_SPAN, "http.url", BLOCK_SPAN_HTTP_URL),
    OWN(TRACEQL_LEVEL_SPAN, "http.status_code", BLOCK_SPAN_HTTP_STATUS),
#undef OWN
};

static const enum traceql_level level_of[] = {
    [BLOCK_SCOPE_SPAN] = TRACEQL_LEVEL_SPAN,
    [BLOCK_SCOPE_RESOURCE] = TRACEQL_LEVEL_RESOURCE,
    [BLOCK_SCOPE_EVENT] = TRACEQL_LEVEL_EVENT,
};

int own_columns(struct scan *s, struct own_column **out, size_t *count, struct err *err)
{
    size_t known = sizeof well_known / sizeof well_known[0];
    size_t dedicated = s->meta ? s->meta->dedicated_count : 0;
    struct own_column *list = arena_array(s->arena, struct own_column, known + dedicated);
    if (!list)
        return arena_err(s->arena, err, "a row group");
    size_t n = 0;
    for (size_t i = 0; i < known; i++) {
        if (scan_has(s, well_known[i].leaf))
            list[n++] = well_known[i];
    }
    struct block_places places = {0};
    for (size_t i = 0; i < dedicated; i++) {
        const struct block_dedicated *d = &s->meta->dedicated[i];
        int leaf = block_dedicated_leaf(&places, d);
        if (leaf >= 0 && scan_has(s, leaf))
            list[n++] = (struct own_column){level_of[d->scope], d->name, leaf};
    }
    *out = list;
    *count = n;
    return 0;
}
