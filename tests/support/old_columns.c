/* Columns of vParquet4 turned into those of vParquet3 and vParquet5. */
#include "tests/support/old_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "block/assemble.h"
#include "block/shred.h"
#include "block/value_json.h"
#include "tests/support/otlp_support.h"

/* ---- columns that grow ---- */

struct growing {
    struct arena *arena;
    VEC(uint8_t) rep;
    VEC(uint8_t) def;
    VEC(struct slice) texts;
    VEC(uint64_t) numbers;
};

static void *kept(struct arena *a, const void *p, size_t n)
{
    void *to = arena_alloc(a, n);
    assert_non_null(to);
    if (n)
        memcpy(to, p, n);
    return to;
}

static uint32_t text_hash(struct slice s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.ptr[i]) * 16777619u;
    return h;
}

/* Distinct values in order of first appearance. */
static void make_dict(struct column *c, struct arena *a)
{
    uint32_t size = 16;
    while (size < 2 * c->values)
        size *= 2;
    uint32_t *table = arena_zalloc(a, size * sizeof *table); /* index + 1 */
    uint32_t *idx = arena_array(a, uint32_t, c->values);
    struct slice *dict = arena_array(a, struct slice, c->values);
    assert_true(table && idx && dict);
    for (uint32_t i = 0; i < c->values; i++) {
        uint32_t at = text_hash(c->v.bytes[i]) & (size - 1);
        while (table[at] && !slice_eq(dict[table[at] - 1], c->v.bytes[i]))
            at = (at + 1) & (size - 1);
        if (!table[at]) {
            dict[c->dict_count] = c->v.bytes[i];
            table[at] = ++c->dict_count;
        }
        idx[i] = table[at] - 1;
    }
    c->has_dict = true;
    c->dict = dict;
    c->v.idx = idx;
}

static void without_dict(struct column *c, struct arena *a)
{
    struct slice *bytes = arena_array(a, struct slice, c->values);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < c->values; i++)
        bytes[i] = column_bytes(c, i);
    c->has_dict = false;
    c->dict = NULL;
    c->dict_count = 0;
    c->v.bytes = bytes;
}

static void level(struct growing *g, uint8_t rep, uint8_t def)
{
    assert_true(vec_push(&g->rep, rep));
    assert_true(vec_push(&g->def, def));
}

/* Ends it; frees all that is not in the arena. */
static struct column grown(struct growing *g, enum column_type type, uint8_t rep_max,
                           uint8_t def_max, uint32_t rows, bool dict)
{
    struct arena *a = g->arena;
    struct column c = {.type = type,
                       .rep_max = rep_max,
                       .def_max = def_max,
                       .rows = rows,
                       .entries = g->rep.count,
                       .rep = kept(a, g->rep.at, g->rep.count),
                       .def = kept(a, g->def.at, g->def.count)};
    if (type == COLUMN_BYTES) {
        c.values = g->texts.count;
        c.v.bytes = kept(a, g->texts.at, g->texts.count * sizeof *g->texts.at);
    } else if (type == COLUMN_BOOL) {
        c.values = g->numbers.count;
        c.v.b = arena_array(a, uint8_t, c.values);
        for (uint32_t i = 0; i < c.values; i++)
            c.v.b[i] = (uint8_t)g->numbers.at[i];
    } else { /* 8 bytes wide */
        c.values = g->numbers.count;
        c.v.i64 = kept(a, g->numbers.at, g->numbers.count * sizeof *g->numbers.at);
    }
    if (dict)
        make_dict(&c, a);
    vec_free(&g->rep);
    vec_free(&g->def);
    vec_free(&g->texts);
    vec_free(&g->numbers);
    return c;
}

/* A required column that has the levels of another and a number of its own for each value. */
static struct column like(const struct column *host, enum column_type type, void *values)
{
    struct column c = *host;
    c.type = type;
    c.has_dict = false;
    c.dict = NULL;
    c.dict_count = 0;
    c.v.bytes = values; /* the union's other members alike */
    return c;
}

/* ---- through the shredder ---- */

static void free_shredder(void *ctx)
{
    shredder_free(ctx);
}

const struct column *old_columns_v4(const struct span_batch *b, uint32_t first, uint32_t count,
                                    const struct block_dedicated *dedicated, size_t dedicated_count,
                                    struct arena *a)
{
    struct shredder *s;
    struct err err = {0};
    assert_int_equal(shredder_new(&s, &err), 0);
    assert_true(arena_on_reset(a, free_shredder, s));
    assert_int_equal(shredder_reset(s, dedicated, dedicated_count, &err), 0);
    uint32_t *order = arena_array(a, uint32_t, count);
    assert_non_null(order);
    for (uint32_t i = 0, next; i < count; i = next) {
        const uint8_t *id = b->spans.at[first + i].trace_id;
        for (next = i; next < count; next++) {
            if (memcmp(b->spans.at[first + next].trace_id, id, 16) != 0)
                break;
            order[next] = first + next;
        }
        struct trace t = {b, order + i, next - i};
        if (shredder_add(s, &t, &err) < 0)
            fail_msg("%s", err.msg);
    }
    return shredder_columns(s);
}

/* ---- vParquet3 ---- */

/* The attributes that stand in a generic list, in the order of its keys: the first ones of each
 * owner. `ranges` is the first owner's, the next one's is `stride` bytes further. */
static const struct attr **listed(const struct column *key, const struct span_batch *b,
                                  const struct range *ranges, size_t stride, struct arena *a)
{
    const struct attr **out = arena_array(a, const struct attr *, key->values);
    assert_non_null(out);
    uint32_t n = 0, slot = 0, owners = 0;
    for (uint32_t i = 0; i < key->entries; i++) {
        if (key->def[i] + 1 < key->def_max)
            continue; /* no owner */
        if (key->rep[i] < key->rep_max) {
            owners++;
            slot = 0;
        }
        if (key->def[i] < key->def_max)
            continue; /* an owner without attributes */
        struct range r;
        memcpy(&r, (const char *)ranges + (owners - 1) * stride, sizeof r);
        assert_true(slot < r.count);
        out[n] = &b->attrs.at[r.first + slot++];
        assert_true(slice_eq(out[n]->key, column_bytes(key, n)));
        n++;
    }
    assert_int_equal(n, key->values);
    return out;
}

/* One value column of an attribute list: null where the value is of another type. */
static struct column value_column(const struct column *key, const struct attr **attrs,
                                  const struct span_batch *b, enum value_type type, struct arena *a)
{
    struct growing g = {.arena = a};
    struct buf json;
    buf_init(&json, SIZE_MAX / 2);
    uint32_t n = 0;
    for (uint32_t i = 0; i < key->entries; i++) {
        bool there = key->def[i] == key->def_max;
        const struct value *v = there ? &attrs[n++]->value : NULL;
        bool hit = v && v->type == type;
        level(&g, key->rep[i], (uint8_t)(key->def[i] + hit));
        if (!hit)
            continue;
        struct slice text = {0};
        if (type == VALUE_ARRAY || type == VALUE_KVLIST) {
            buf_reset(&json);
            assert_int_equal(value_json_write(b, v, &json), 0);
            assert_true(arena_slice(a, buf_view(&json), &text));
        } else if (type == VALUE_STRING) {
            text = v->str;
        }
        if (text.ptr || type == VALUE_STRING)
            assert_true(vec_push(&g.texts, text));
        else
            assert_true(vec_push(&g.numbers, type == VALUE_BOOL ? v->b : (uint64_t)v->i64));
    }
    buf_clear(&json);
    enum column_type column = type == VALUE_BOOL     ? COLUMN_BOOL
                              : type == VALUE_INT    ? COLUMN_I64
                              : type == VALUE_DOUBLE ? COLUMN_F64
                                                     : COLUMN_BYTES;
    return grown(&g, column, key->rep_max, (uint8_t)(key->def_max + 1), key->rows,
                 type == VALUE_STRING);
}

static void attrs_v3(struct column *leaf, int attrs, int kvlist, const struct span_batch *b,
                     const struct range *ranges, size_t stride, struct arena *a)
{
    const struct column *key = &leaf[attrs + BLOCK_ATTR_KEY];
    const struct attr **list = listed(key, b, ranges, stride, a);
    leaf[attrs + BLOCK_ATTR_STRING] = value_column(key, list, b, VALUE_STRING, a);
    leaf[attrs + BLOCK_ATTR_INT] = value_column(key, list, b, VALUE_INT, a);
    leaf[attrs + BLOCK_ATTR_DOUBLE] = value_column(key, list, b, VALUE_DOUBLE, a);
    leaf[attrs + BLOCK_ATTR_BOOL] = value_column(key, list, b, VALUE_BOOL, a);
    leaf[attrs + BLOCK_ATTR_UNSUPPORTED] = value_column(key, list, b, VALUE_ARRAY, a);
    leaf[kvlist] = value_column(key, list, b, VALUE_KVLIST, a);
}

static void pb_value(const struct span_batch *b, const struct value *v, struct buf *out);

static void pb_attr(const struct span_batch *b, const struct attr *attr, uint32_t field,
                    struct buf *out)
{
    struct buf message, value;
    buf_init(&message, SIZE_MAX / 2);
    buf_init(&value, SIZE_MAX / 2);
    pb_value(b, &attr->value, &value);
    support_pb_bytes(&message, 1, attr->key);
    support_pb_bytes(&message, 2, buf_view(&value));
    support_pb_bytes(out, field, buf_view(&message));
    buf_clear(&message);
    buf_clear(&value);
}

static void pb_value(const struct span_batch *b, const struct value *v, struct buf *out)
{
    struct buf inner, item;
    uint64_t bits;
    buf_init(&inner, SIZE_MAX / 2);
    buf_init(&item, SIZE_MAX / 2);
    switch ((enum value_type)v->type) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
        support_pb_bytes(out, 1, v->str);
        break;
    case VALUE_BOOL:
        support_pb_varint(out, 2, v->b);
        break;
    case VALUE_INT:
        support_pb_varint(out, 3, (uint64_t)v->i64);
        break;
    case VALUE_DOUBLE:
        memcpy(&bits, &v->f64, sizeof bits);
        support_pb_fixed64(out, 4, bits);
        break;
    case VALUE_ARRAY:
        for (uint32_t i = 0; i < v->list.count; i++) {
            buf_reset(&item);
            pb_value(b, &b->values.at[v->list.first + i], &item);
            support_pb_bytes(&inner, 1, buf_view(&item));
        }
        support_pb_bytes(out, 5, buf_view(&inner));
        break;
    case VALUE_KVLIST:
        for (uint32_t i = 0; i < v->list.count; i++)
            pb_attr(b, &b->attrs.at[v->list.first + i], 1, &inner);
        support_pb_bytes(out, 6, buf_view(&inner));
        break;
    case VALUE_BYTES:
        support_pb_bytes(out, 7, v->str);
        break;
    }
    buf_clear(&inner);
    buf_clear(&item);
}

static void pb_link(const struct span_batch *b, const struct link *k, struct buf *out)
{
    struct buf message;
    buf_init(&message, SIZE_MAX / 2);
    if (k->trace_id.len)
        support_pb_bytes(&message, 1, k->trace_id);
    if (k->span_id.len)
        support_pb_bytes(&message, 2, k->span_id);
    if (k->trace_state.len)
        support_pb_bytes(&message, 3, k->trace_state);
    for (uint32_t i = 0; i < k->attrs.count; i++)
        pb_attr(b, &b->attrs.at[k->attrs.first + i], 4, &message);
    if (k->dropped_attrs)
        support_pb_varint(&message, 5, k->dropped_attrs);
    support_pb_bytes(out, 1, buf_view(&message));
    buf_clear(&message);
}

static void events_v3(struct column *leaf, const struct span_batch *b, struct arena *a)
{
    const struct column *key = &leaf[BLOCK_EVENT_ATTRS];
    const struct attr **list =
        listed(key, b, b->events.count ? &b->events.at[0].attrs : NULL, sizeof(struct event), a);
    struct slice *protos = arena_array(a, struct slice, key->values);
    int64_t *times = arena_array(a, int64_t, b->events.count);
    struct buf proto;
    assert_true(protos && times);
    buf_init(&proto, SIZE_MAX / 2);
    for (uint32_t i = 0; i < key->values; i++) {
        buf_reset(&proto);
        pb_value(b, &list[i]->value, &proto);
        assert_true(arena_slice(a, buf_view(&proto), &protos[i]));
    }
    buf_clear(&proto);
    assert_int_equal(leaf[BLOCK_EVENT_NAME].values, b->events.count);
    for (uint32_t i = 0; i < b->events.count; i++)
        times[i] = (int64_t)b->events.at[i].time_unix_ns;
    leaf[BLOCK_EVENT_ATTR_PROTO] = like(key, COLUMN_BYTES, protos);
    leaf[BLOCK_EVENT_TIME_UNIX] = like(&leaf[BLOCK_EVENT_NAME], COLUMN_I64, times);
    without_dict(&leaf[BLOCK_EVENT_NAME], a);
}

void old_columns_v3(const struct column *v4, const struct span_batch *back, struct arena *a,
                    struct old_columns *out)
{
    struct column *leaf = out->leaf;
    memset(out, 0, sizeof *out);
    memcpy(leaf, v4, BLOCK_V4_LEAVES * sizeof *leaf);
    attrs_v3(leaf, BLOCK_RESOURCE_ATTRS, BLOCK_RESOURCE_KVLIST, back, &back->resources.at[0].attrs,
             sizeof(struct resource), a);
    attrs_v3(leaf, BLOCK_SPAN_ATTRS, BLOCK_SPAN_KVLIST, back, &back->spans.at[0].attrs,
             sizeof(struct span), a);
    events_v3(leaf, back, a);
    struct slice *links = arena_array(a, struct slice, back->spans.count);
    struct buf proto;
    assert_non_null(links);
    buf_init(&proto, SIZE_MAX / 2);
    for (uint32_t i = 0; i < back->spans.count; i++) {
        struct range r = back->spans.at[i].links;
        buf_reset(&proto);
        for (uint32_t k = 0; k < r.count; k++)
            pb_link(back, &back->links.at[r.first + k], &proto);
        assert_true(arena_slice(a, buf_view(&proto), &links[i]));
    }
    buf_clear(&proto);
    leaf[BLOCK_SPAN_LINKS_PROTO] = like(&leaf[BLOCK_SPAN_ID], COLUMN_BYTES, links);
}

/* ---- vParquet5 ---- */

/* Put before the names that have columns in vParquet4, so that our shredder leaves them alone. */
#define MARK "\x01old_block:"

static const char *const v4_names[] = {
    "cluster",      "namespace",          "pod",
    "container",    "k8s.cluster.name",   "k8s.namespace.name",
    "k8s.pod.name", "k8s.container.name", "http.method",
    "http.url",     "http.status_code",
};

static struct slice marked(struct slice key, struct arena *a)
{
    for (size_t i = 0; i < sizeof v4_names / sizeof v4_names[0]; i++) {
        if (slice_eq(key, slice_cstr(v4_names[i]))) {
            const char *text = arena_printf(a, MARK "%s", v4_names[i]);
            assert_non_null(text);
            return slice_cstr(text);
        }
    }
    return key;
}

static void unmark(struct column *c, struct arena *a)
{
    c->dict = kept(a, c->dict, c->dict_count * sizeof *c->dict);
    for (uint32_t i = 0; i < c->dict_count; i++) {
        if (slice_starts(c->dict[i], SLICE(MARK)))
            c->dict[i] = slice_from(c->dict[i], sizeof MARK - 1);
    }
}

struct split {
    struct span_batch plain; /* what stays in generic lists */
    const struct block_dedicated *dedicated;
    size_t count;
    struct arena *arena;
    /* Of each entry of the list: by owner, the value that goes to the column, or NULL. */
    const struct value **values[3 * BLOCK_DEDICATED_ALL];
};

static bool fits(const struct split *s, const struct block_dedicated *d, const struct value *v)
{
    uint8_t want = d->type == BLOCK_DEDICATED_STRING ? VALUE_STRING : VALUE_INT;
    if (v->type != VALUE_ARRAY)
        return v->type == want;
    for (uint32_t i = 0; i < v->list.count; i++) {
        if (s->plain.values.at[v->list.first + i].type != want)
            return false;
    }
    return true;
}

static struct range split_attrs(struct split *s, enum block_scope scope, uint32_t owner,
                                struct range attrs)
{
    struct range out = {s->plain.attrs.count, 0};
    for (uint32_t i = 0; i < attrs.count; i++) {
        struct attr attr = s->plain.attrs.at[attrs.first + i];
        bool service = scope == BLOCK_SCOPE_RESOURCE && slice_eq(attr.key, SLICE("service.name")) &&
                       attr.value.type == VALUE_STRING;
        bool own = false;
        for (size_t k = 0; k < s->count && !service; k++) {
            const struct block_dedicated *d = &s->dedicated[k];
            if (d->scope != scope || !slice_eq(d->name, attr.key) || !fits(s, d, &attr.value))
                continue;
            s->values[k][owner] = kept(s->arena, &attr.value, sizeof attr.value);
            own = true;
        }
        attr.key = scope == BLOCK_SCOPE_EVENT ? attr.key : marked(attr.key, s->arena);
        if (!own)
            assert_true(vec_push(&s->plain.attrs, attr));
    }
    out.count = s->plain.attrs.count - out.first;
    return out;
}

static void split(struct split *s, const struct span_batch *b)
{
    uint32_t owners = b->resources.count + b->spans.count + b->events.count;
    assert_true(span_batch_append(&s->plain, b));
    for (size_t k = 0; k < s->count; k++) {
        s->values[k] = arena_zalloc(s->arena, owners * sizeof *s->values[k]);
        assert_non_null(s->values[k]);
    }
    struct span_batch *p = &s->plain;
    for (uint32_t i = 0; i < p->resources.count; i++)
        p->resources.at[i].attrs =
            split_attrs(s, BLOCK_SCOPE_RESOURCE, i, p->resources.at[i].attrs);
    for (uint32_t i = 0; i < p->spans.count; i++)
        p->spans.at[i].attrs = split_attrs(s, BLOCK_SCOPE_SPAN, i, p->spans.at[i].attrs);
    for (uint32_t i = 0; i < p->events.count; i++)
        p->events.at[i].attrs = split_attrs(s, BLOCK_SCOPE_EVENT, i, p->events.at[i].attrs);
}

static void grow_value(struct growing *g, const struct value *v)
{
    if (v->type == VALUE_STRING)
        assert_true(vec_push(&g->texts, v->str));
    else
        assert_true(vec_push(&g->numbers, (uint64_t)v->i64));
}

/* host: a required column of the owners' level. */
static struct column dedicated_column(const struct split *s, const struct value **values,
                                      const struct column *host, bool text, bool dict)
{
    struct growing g = {.arena = s->arena};
    uint8_t deeper = (uint8_t)(host->def_max + 1);
    uint32_t owner = 0;
    for (uint32_t i = 0; i < host->entries; i++) {
        bool there = host->def[i] == host->def_max;
        const struct value *v = there ? values[owner++] : NULL;
        uint32_t count = !v ? 0 : v->type == VALUE_ARRAY ? v->list.count : 1;
        level(&g, host->rep[i], count ? deeper : host->def[i]);
        for (uint32_t k = 0; k < count; k++) {
            if (k)
                level(&g, deeper, deeper);
            grow_value(&g, v->type == VALUE_ARRAY ? &s->plain.values.at[v->list.first + k] : v);
        }
    }
    return grown(&g, text ? COLUMN_BYTES : COLUMN_I64, deeper, deeper, host->rows, dict);
}

static void dedicated_columns(const struct split *s, struct old_columns *out)
{
    static const int hosts[] = {[BLOCK_SCOPE_SPAN] = BLOCK_SPAN_ID,
                                [BLOCK_SCOPE_RESOURCE] = BLOCK_RESOURCE_SERVICE,
                                [BLOCK_SCOPE_EVENT] = BLOCK_EVENT_NAME};
    int taken[3][2] = {{0}};
    for (size_t k = 0; k < s->count; k++) {
        const struct block_dedicated *d = &s->dedicated[k];
        bool text = d->type == BLOCK_DEDICATED_STRING;
        int place = taken[d->scope][d->type]++;
        assert_in_range(place, 0, (text ? BLOCK_DEDICATED_STRINGS : BLOCK_DEDICATED_INTS) - 1);
        place += text ? 0 : BLOCK_DEDICATED_STRINGS;
        out->dedicated[d->scope][place] = dedicated_column(
            s, s->values[k], &out->leaf[hosts[d->scope]], text, text && !d->is_blob);
        out->has_dedicated[d->scope][place] = true;
        out->blob[d->scope][place] = d->is_blob;
    }
}

/* In each row by name. */
static void sort_stats(struct column *leaf, struct arena *a)
{
    struct column *name = &leaf[BLOCK_STATS_SERVICE];
    name->v.bytes = kept(a, name->v.bytes, name->values * sizeof *name->v.bytes);
    for (int i = BLOCK_STATS_SPANS; i <= BLOCK_STATS_ERRORS; i++)
        leaf[i].v.i32 = kept(a, leaf[i].v.i32, leaf[i].values * sizeof(int32_t));
    int32_t *counts[] = {leaf[BLOCK_STATS_SPANS].v.i32, leaf[BLOCK_STATS_ERRORS].v.i32};
    uint32_t row_first = 0, value = 0;
    for (uint32_t i = 0; i < name->entries; i++) {
        if (name->rep[i] == 0)
            row_first = value;
        if (name->def[i] < name->def_max)
            continue;
        for (uint32_t k = value++; k > row_first; k--) {
            struct slice *at = &name->v.bytes[k - 1];
            if (slice_cmp(at[0], at[1]) <= 0)
                break;
            struct slice text = at[0];
            at[0] = at[1];
            at[1] = text;
            for (int c = 0; c < 2; c++) {
                int32_t number = counts[c][k - 1];
                counts[c][k - 1] = counts[c][k];
                counts[c][k] = number;
            }
        }
    }
    make_dict(name, a);
}

/* What readers leave alone. */
static void precomputed(struct old_columns *out, const struct span_batch *back, struct arena *a)
{
    static const uint64_t steps[] = {15, 60, 300, 3600};
    const struct column *host = &out->leaf[BLOCK_SPAN_ID];
    int32_t *children = arena_zalloc(a, back->spans.count * sizeof *children);
    int32_t *in_scope = arena_array(a, int32_t, back->scopes.count);
    assert_true(children && in_scope);
    for (uint32_t i = 0; i < back->scopes.count; i++)
        in_scope[i] = (int32_t)back->scopes.at[i].spans.count;
    out->child_count = like(host, COLUMN_I32, children);
    out->span_count = like(&out->leaf[BLOCK_SCOPE_NAME], COLUMN_I32, in_scope);
    for (int k = 0; k < 4; k++) {
        uint64_t step = steps[k] * UINT64_C(1000000000);
        int32_t *rounded = arena_array(a, int32_t, back->spans.count);
        assert_non_null(rounded);
        for (uint32_t i = 0; i < back->spans.count; i++) {
            uint64_t start = back->spans.at[i].start_unix_ns;
            rounded[i] = start ? (int32_t)((start - 1) / step) : 0;
        }
        out->rounded[k] = like(host, COLUMN_I32, rounded);
    }
}

void old_columns_v5(const struct span_batch *back, const struct block_dedicated *dedicated,
                    size_t count, struct arena *a, struct old_columns *out)
{
    struct split s = {.dedicated = dedicated, .count = count, .arena = a};
    assert_in_range(count, 0, 3 * BLOCK_DEDICATED_ALL);
    split(&s, back);
    memset(out, 0, sizeof *out);
    memcpy(out->leaf, old_columns_v4(&s.plain, 0, s.plain.spans.count, NULL, 0, a),
           BLOCK_V4_LEAVES * sizeof out->leaf[0]);
    unmark(&out->leaf[BLOCK_RESOURCE_ATTRS], a);
    unmark(&out->leaf[BLOCK_SPAN_ATTRS], a);
    sort_stats(out->leaf, a);
    dedicated_columns(&s, out);
    precomputed(out, back, a);
    span_batch_clear(&s.plain);
}
