/* Attributes to their seven columns: the hottest part of ingest, since a span has twenty.
 *
 * Spans made by the same line of somebody's program carry the same keys in the same order, so each
 * key remembers which one came after it, and usually a comparison takes the place of a look-up. The
 * same goes for a key's last value. (docs/formats/block.md, 6.2.) */
#include "block/shred_priv.h"

#include "block/value_json.h"

struct static_attr {
    struct slice name;
    uint8_t type; /* enum value_type that the column takes */
    uint8_t leaf;
};

static const struct static_attr resource_statics[] = {
    {SLICE("service.name"), VALUE_STRING, BLOCK_RESOURCE_SERVICE},
    {SLICE("cluster"), VALUE_STRING, BLOCK_RESOURCE_CLUSTER},
    {SLICE("namespace"), VALUE_STRING, BLOCK_RESOURCE_NAMESPACE},
    {SLICE("pod"), VALUE_STRING, BLOCK_RESOURCE_POD},
    {SLICE("container"), VALUE_STRING, BLOCK_RESOURCE_CONTAINER},
    {SLICE("k8s.cluster.name"), VALUE_STRING, BLOCK_RESOURCE_K8S_CLUSTER},
    {SLICE("k8s.namespace.name"), VALUE_STRING, BLOCK_RESOURCE_K8S_NAMESPACE},
    {SLICE("k8s.pod.name"), VALUE_STRING, BLOCK_RESOURCE_K8S_POD},
    {SLICE("k8s.container.name"), VALUE_STRING, BLOCK_RESOURCE_K8S_CONTAINER},
};

static const struct static_attr span_statics[] = {
    {SLICE("http.method"), VALUE_STRING, BLOCK_SPAN_HTTP_METHOD},
    {SLICE("http.url"), VALUE_STRING, BLOCK_SPAN_HTTP_URL},
    {SLICE("http.status_code"), VALUE_INT, BLOCK_SPAN_HTTP_STATUS},
};

static const struct static_attr *statics_of(bool resource, size_t *count)
{
    *count = resource ? sizeof resource_statics / sizeof *resource_statics
                      : sizeof span_statics / sizeof *span_statics;
    return resource ? resource_statics : span_statics;
}

static bool has_string_column(const struct block_dedicated *d)
{
    size_t count;
    const struct static_attr *statics = statics_of(d->scope == BLOCK_SCOPE_RESOURCE, &count);
    for (size_t i = 0; i < count; i++) {
        if (statics[i].type == VALUE_STRING && slice_eq(statics[i].name, d->name))
            return true;
    }
    return false;
}

size_t shred_dedicated(const struct block_dedicated *list, size_t count,
                       struct block_dedicated *out)
{
    size_t kept = 0, of_scope[] = {[BLOCK_SCOPE_SPAN] = 0, [BLOCK_SCOPE_RESOURCE] = 0};
    for (size_t i = 0; i < count; i++) {
        const struct block_dedicated d = list[i];
        bool wanted = d.scope != BLOCK_SCOPE_EVENT && d.type == BLOCK_DEDICATED_STRING &&
                      !d.is_array && !d.is_blob && !has_string_column(&d);
        for (size_t k = 0; k < kept && wanted; k++)
            wanted = out[k].scope != d.scope || !slice_eq(out[k].name, d.name);
        if (wanted && of_scope[d.scope] < BLOCK_DEDICATED_MAX) {
            of_scope[d.scope]++;
            out[kept++] = d;
        }
    }
    return kept;
}

/* Which leaves of their own the values of a key go to. Static ones come before dedicated ones. */
static void route_key(const struct shredder *s, const struct attr_group *g, struct attr_key *key)
{
    bool resource = g->first_leaf == BLOCK_RESOURCE_ATTRS;
    if (!resource && g->first_leaf != BLOCK_SPAN_ATTRS)
        return;
    uint8_t scope = resource ? BLOCK_SCOPE_RESOURCE : BLOCK_SCOPE_SPAN;
    uint8_t leaf = resource ? BLOCK_RESOURCE_DEDICATED : BLOCK_SPAN_DEDICATED;
    uint8_t leaf_end = (uint8_t)(leaf + BLOCK_DEDICATED_MAX);
    for (size_t i = 0; i < s->dedicated_count && leaf < leaf_end; i++) {
        const struct block_dedicated *d = &s->dedicated[i];
        if (d->scope != scope || d->type != BLOCK_DEDICATED_STRING)
            continue;
        if (slice_eq(d->name, key->name))
            key->leaf[VALUE_STRING] = leaf;
        leaf++;
    }
    size_t count;
    const struct static_attr *statics = statics_of(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(statics[i].name, key->name))
            key->leaf[statics[i].type] = statics[i].leaf;
    }
}

int attr_groups_reset(struct shredder *s)
{
    for (size_t i = 0; i < PLACES - PLACE_RESOURCE_ATTRS; i++) {
        struct attr_group *g = &s->group[i];
        dict_reset(&g->names);
        vec_reset(&g->keys);
        g->queue.count = 0;
        if (!vec_push(&g->keys, (struct attr_key){.column_index = SHRED_NONE}))
            return ERR_NOMEM;
    }
    return 0;
}

/* The slow way to a key: by its hash. */
static int look_up_key(struct shredder *s, struct attr_group *g, struct slice name, uint32_t *out)
{
    uint32_t at;
    int rc = dict_intern(s, &g->names, name, &at);
    if (rc < 0)
        return rc;
    if (at + 1 == g->keys.count) {
        struct attr_key key = {
            .name = g->names.values.at[at], .column_index = SHRED_NONE, .last_value = SHRED_NONE};
        route_key(s, g, &key);
        if (!vec_push(&g->keys, key))
            return ERR_NOMEM;
    }
    *out = at + 1;
    return 0;
}

static int find_key(struct shredder *s, struct attr_group *g, uint32_t before, struct slice name,
                    uint32_t *out)
{
    uint32_t guess = g->keys.at[before].next;
    if (guess && shred_same(g->keys.at[guess].name, name)) {
        *out = guess;
        return 0;
    }
    int rc = look_up_key(s, g, name, out);
    if (rc == 0)
        g->keys.at[before].next = *out;
    return rc;
}

/* A key's place in the dictionary of the Key column, which it gets at its first use there: keys
 * with columns of their own never appear in it. */
static int put_key(struct shredder *s, struct attr_group *g, struct attr_key *key)
{
    struct shred_leaf *l = &s->leaf[g->first_leaf + BLOCK_ATTR_KEY];
    if (key->column_index == SHRED_NONE) {
        if (!vec_push(&l->dict.values, key->name))
            return ERR_NOMEM;
        key->column_index = l->dict.values.count - 1;
    }
    l->v.idx[l->values++] = key->column_index;
    return 0;
}

int shred_strings_flush(struct shredder *s, struct attr_group *g)
{
    struct shred_leaf *l = &s->leaf[g->first_leaf + BLOCK_ATTR_STRING];
    struct string_queue *q = &g->queue;
    if (!leaf_reserve(l, q->count, uint32_t))
        return ERR_NOMEM;
    for (uint32_t i = 0; i < q->count; i++) {
        uint32_t index = q->at[i].index;
        if (index == SHRED_NONE) {
            index = dict_find(&l->dict, q->at[i].v, q->at[i].hash);
            int rc =
                index != SHRED_NONE ? 0 : dict_add(s, &l->dict, q->at[i].v, q->at[i].hash, &index);
            if (rc < 0)
                return rc;
            g->keys.at[q->at[i].key].last_value = index;
        }
        l->v.idx[l->values++] = index;
    }
    q->count = 0;
    return 0;
}

static int put_string(struct shredder *s, struct attr_group *g, uint32_t key, struct slice v)
{
    const struct dict *d = &s->leaf[g->first_leaf + BLOCK_ATTR_STRING].dict;
    struct string_queue *q = &g->queue;
    if (q->count == STRING_QUEUE) {
        int rc = shred_strings_flush(s, g);
        if (rc < 0)
            return rc;
    }
    uint32_t index = g->keys.at[key].last_value, hash = 0;
    if (index == SHRED_NONE || !shred_same(d->values.at[index], v)) {
        index = SHRED_NONE;
        hash = shred_hash(s, v);
        if (d->table)
            __builtin_prefetch(&d->table[hash & d->mask]);
    }
    uint32_t i = q->count++;
    q->at[i].v = v;
    q->at[i].hash = hash;
    q->at[i].key = key;
    q->at[i].index = index;
    return 0;
}

/* The leaf for scalars of a type, counted from the group's first; 0 for other types. */
static const uint8_t scalar_leaf[] = {
    [VALUE_NONE] = 0,
    [VALUE_STRING] = BLOCK_ATTR_STRING,
    [VALUE_BOOL] = BLOCK_ATTR_BOOL,
    [VALUE_INT] = BLOCK_ATTR_INT,
    [VALUE_DOUBLE] = BLOCK_ATTR_DOUBLE,
    [VALUE_BYTES] = 0,
    [VALUE_ARRAY] = 0,
    [VALUE_KVLIST] = 0,
};

/* A value of a type that has a leaf, which is l. */
static inline int put_scalar(struct shredder *s, struct attr_group *g, struct shred_leaf *l,
                             uint32_t key, const struct value *v)
{
    if (v->type == VALUE_STRING)
        return put_string(s, g, key, v->str);
    if (v->type == VALUE_BOOL) {
        if (!leaf_reserve(l, 1, uint8_t))
            return ERR_NOMEM;
        l->v.b[l->values++] = v->b;
        return 0;
    }
    /* Doubles go as they are: eight bytes like the integers. */
    static_assert(sizeof(double) == sizeof(int64_t), "a value's eight bytes");
    if (!leaf_reserve(l, 1, int64_t))
        return ERR_NOMEM;
    memcpy(&l->v.i64[l->values++], &v->i64, sizeof v->i64);
    return 0;
}

/* What has no column goes to one as JSON. */
static int put_unsupported(struct shredder *s, struct attr_group *g, const struct span_batch *b,
                           const struct value *v, uint32_t entry)
{
    struct shred_leaf *l = &s->leaf[g->first_leaf + BLOCK_ATTR_UNSUPPORTED];
    struct slice text;
    buf_reset(&s->scratch);
    int rc = value_json_write(b, v, &s->scratch);
    if (rc < 0)
        return rc;
    if (!arena_slice(s->arena, buf_view(&s->scratch), &text))
        return ERR_LIMIT;
    if (!leaf_reserve(l, 1, struct slice) || !leaf_put_level(l, entry))
        return ERR_NOMEM;
    l->v.bytes[l->values++] = text;
    s->text_bytes += text.len;
    return 0;
}

/* True if all elements have the type of the first and a column takes it. */
static bool uniform(const struct value *at, uint32_t count)
{
    if (scalar_leaf[at[0].type] == 0)
        return false;
    for (uint32_t i = 1; i < count; i++) {
        if (at[i].type != at[0].type)
            return false;
    }
    return true;
}

static int put_array(struct shredder *s, struct attr_group *g, const struct span_batch *b,
                     uint32_t key, const struct value *v, uint32_t entry, uint8_t *is_array)
{
    *is_array = 1;
    if (v->list.count == 0)
        return 0;
    const struct value *at = &b->values.at[v->list.first];
    if (!uniform(at, v->list.count)) {
        *is_array = 0;
        return put_unsupported(s, g, b, v, entry);
    }
    struct shred_leaf *l = &s->leaf[g->first_leaf + scalar_leaf[at[0].type]];
    uint32_t more = v->list.count - 1;
    if (more && !leaf_own_rep(l, entry))
        return ERR_NOMEM;
    if (!leaf_put_level(l, entry))
        return ERR_NOMEM;
    if (more) {
        if (!vec_reserve(&l->rep, more) || !vec_reserve(&l->def, more))
            return ERR_NOMEM;
        memset(l->rep.at + l->rep.count, g->rep_more + 1, more);
        memset(l->def.at + l->def.count, l->def_max, more);
        l->rep.count += more;
        l->def.count += more;
    }
    for (uint32_t i = 0; i < v->list.count; i++) {
        int rc = put_scalar(s, g, l, key, &at[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int put_value(struct shredder *s, struct attr_group *g, const struct span_batch *b,
                     uint32_t key, const struct value *v, uint32_t entry, uint8_t *is_array)
{
    *is_array = 0;
    uint8_t leaf = scalar_leaf[v->type];
    if (leaf) {
        struct shred_leaf *l = &s->leaf[g->first_leaf + leaf];
        return leaf_put_level(l, entry) ? put_scalar(s, g, l, key, v) : ERR_NOMEM;
    }
    if (v->type == VALUE_ARRAY)
        return put_array(s, g, b, key, v, entry, is_array);
    return put_unsupported(s, g, b, v, entry);
}

/* Brings the leaves that own levels in step with their place, by entries without a value. */
static int end_list(struct shredder *s, const struct attr_group *g)
{
    struct shred_leaf *l = &s->leaf[g->first_leaf + BLOCK_ATTR_STRING];
    for (int i = BLOCK_ATTR_STRING; i < BLOCK_ATTR_LEAVES; i++, l++) {
        if (l->owns_def && !leaf_skip(l, g->levels->count))
            return ERR_NOMEM;
    }
    return 0;
}

int shred_attrs_none(struct shredder *s, struct attr_group *g, uint8_t rep, uint8_t def)
{
    if (!levels_reserve(g->levels, 1))
        return ERR_NOMEM;
    levels_put(g->levels, rep, def);
    int rc = end_list(s, g);
    if (rc < 0)
        return rc;
    /* There is not even a list: each entry ends where the place's does. */
    struct shred_leaf *l = &s->leaf[g->first_leaf + BLOCK_ATTR_STRING];
    for (int i = BLOCK_ATTR_STRING; i < BLOCK_ATTR_LEAVES; i++, l++) {
        if (l->owns_def)
            l->def.at[l->def.count - 1] = def;
    }
    return 0;
}

int shred_attrs(struct shredder *s, struct attr_group *g, const struct span_batch *b,
                struct range attrs, uint8_t rep)
{
    struct levels *levels = g->levels;
    struct shred_leaf *keys = &s->leaf[g->first_leaf + BLOCK_ATTR_KEY];
    struct shred_leaf *arrays = &s->leaf[g->first_leaf + BLOCK_ATTR_IS_ARRAY];
    s->held.mask = 0;
    if (!levels_reserve(levels, attrs.count) || !leaf_reserve(keys, attrs.count, uint32_t) ||
        !leaf_reserve(arrays, attrs.count, uint8_t))
        return ERR_NOMEM;

    uint32_t before = 0;
    uint8_t rep_next = rep;
    for (uint32_t i = 0; i < attrs.count; i++) {
        const struct attr *a = &b->attrs.at[attrs.first + i];
        int rc = find_key(s, g, before, a->key, &before);
        if (rc < 0)
            return rc;
        struct attr_key *key = &g->keys.at[before];
        uint8_t own_leaf = key->leaf[a->value.type];
        if (own_leaf) {
            unsigned bit = own_leaf - g->held_leaf;
            s->held.mask |= UINT32_C(1) << bit;
            s->held.value[bit] = &a->value;
            continue;
        }
        levels_put(levels, rep_next, g->def_attr);
        rep_next = g->rep_more;
        rc = put_key(s, g, key);
        if (rc == 0)
            rc = put_value(s, g, b, before, &a->value, levels->count - 1,
                           &arrays->v.b[arrays->values++]);
        if (rc < 0)
            return rc;
    }
    if (rep_next == rep) /* rep < rep_more: none was put */
        return shred_attrs_none(s, g, rep, (uint8_t)(g->def_attr - 1));
    return end_list(s, g);
}

int shred_held_flush(struct shredder *s, const struct attr_group *g)
{
    for (uint32_t left = s->held.mask; left; left &= left - 1) {
        unsigned bit = (unsigned)__builtin_ctz(left);
        struct shred_leaf *l = &s->leaf[g->held_leaf + bit];
        const struct value *v = s->held.value[bit];
        if (!leaf_put_level(l, l->levels->count - 1))
            return ERR_NOMEM;
        if (v->type == VALUE_INT) {
            if (!leaf_reserve(l, 1, int64_t))
                return ERR_NOMEM;
            l->v.i64[l->values++] = v->i64;
            continue;
        }
        if (!leaf_reserve(l, 1, uint32_t))
            return ERR_NOMEM;
        int rc = leaf_put_dict(s, l, v->str);
        if (rc < 0)
            return rc;
    }
    return 0;
}
