/* Fragments of one trace, found in several places, become one result. */
#include "frontend/frontend_priv.h"

static bool merge_services(struct arena *a, struct query_trace *into, const struct query_trace *t)
{
    for (uint32_t i = 0; i < t->service_count; i++) {
        const struct query_service *s = &t->services[i];
        struct query_service *same = NULL;
        for (uint32_t k = 0; k < into->service_count && !same; k++) {
            if (slice_eq(into->services[k].name, s->name))
                same = &into->services[k];
        }
        if (same) {
            if (s->span_count > same->span_count)
                same->span_count = s->span_count;
            if (s->error_count > same->error_count)
                same->error_count = s->error_count;
            continue;
        }
        struct query_service *more =
            arena_array(a, struct query_service, (size_t)into->service_count + 1);
        if (!more)
            return false;
        if (into->service_count)
            memcpy(more, into->services, into->service_count * sizeof *more);
        more[into->service_count++] = *s;
        into->services = more;
    }
    return true;
}

/* ---- spansets ---- */

static bool same_attr(const struct query_attr *a, const struct query_attr *b)
{
    bool same = a->count == b->count && slice_eq(a->key, b->key);
    for (uint32_t i = 0; same && i < a->count; i++)
        same = traceql_value_same(&a->values[i], &b->values[i]);
    return same;
}

/* The next attribute from i on that by() gave. */
static uint32_t next_by(const struct query_spanset *s, uint32_t i)
{
    while (i < s->attr_count && !slice_starts(s->attrs[i].key, SLICE("by")))
        i++;
    return i;
}

/* Parts of one spanset: what by() said of them is the same. */
static bool same_set(const struct query_spanset *a, const struct query_spanset *b)
{
    uint32_t i = next_by(a, 0), k = next_by(b, 0);
    while (i < a->attr_count && k < b->attr_count) {
        if (!same_attr(&a->attrs[i], &b->attrs[k]))
            return false;
        i = next_by(a, i + 1);
        k = next_by(b, k + 1);
    }
    return i == a->attr_count && k == b->attr_count;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t hash_value(uint64_t h, const struct traceql_value *v)
{
    uint64_t bits = 0;
    h = mix(h, (uint64_t)v->type);
    if (v->type == TRACEQL_FLOAT)
        memcpy(&bits, &v->f64, sizeof bits);
    else if (v->type == TRACEQL_BOOL)
        bits = v->b;
    else if (v->type != TRACEQL_STRING && v->type != TRACEQL_NIL)
        bits = (uint64_t)v->i64;
    for (size_t i = 0; v->type == TRACEQL_STRING && i < v->str.len; i++)
        bits = bits * 31 + v->str.ptr[i];
    return mix(h, bits);
}

static uint64_t hash_set(const struct query_spanset *s)
{
    uint64_t h = 0;
    for (uint32_t i = next_by(s, 0); i < s->attr_count; i = next_by(s, i + 1)) {
        for (uint32_t k = 0; k < s->attrs[i].count; k++)
            h = hash_value(h, &s->attrs[i].values[k]);
    }
    return h;
}

/* Sets by what by() said of them: open addressing, index + 1. */
struct set_table {
    const struct query_spanset *sets;
    uint32_t *slots;
    uint32_t mask;
};

static uint32_t *find_set(const struct set_table *t, const struct query_spanset *s)
{
    uint32_t at = (uint32_t)hash_set(s) & t->mask;
    while (t->slots[at] && !same_set(&t->sets[t->slots[at] - 1], s))
        at = (at + 1) & t->mask;
    return &t->slots[at];
}

/* Of two parts of a spanset the larger one stays, as in Tempo; parts of others are added. */
static bool merge_sets(struct arena *a, struct query_trace *into, const struct query_trace *t)
{
    uint64_t most = (uint64_t)into->set_count + t->set_count, slots = 8;
    if (t->set_count == 0)
        return true;
    while (slots < 2 * most)
        slots *= 2;
    struct query_spanset *sets = arena_array(a, struct query_spanset, most);
    struct set_table table = {.sets = sets, .mask = (uint32_t)(slots - 1)};
    table.slots = arena_zalloc(a, slots * sizeof *table.slots);
    if (!sets || !table.slots)
        return false;
    uint32_t count = 0;
    for (uint64_t i = 0; i < most; i++) {
        const struct query_spanset *s =
            i < into->set_count ? &into->sets[i] : &t->sets[i - into->set_count];
        uint32_t *slot = find_set(&table, s);
        if (*slot == 0) {
            sets[count++] = *s;
            *slot = count;
        } else if (s->matched > sets[*slot - 1].matched) {
            sets[*slot - 1] = *s;
        }
    }
    into->sets = sets;
    into->set_count = count;
    return true;
}

bool search_merge(struct arena *a, struct query_trace *into, const struct query_trace *t)
{
    if (t->start_unix_ns < into->start_unix_ns)
        into->start_unix_ns = t->start_unix_ns;
    if (t->duration_ns > into->duration_ns)
        into->duration_ns = t->duration_ns;
    if (into->root_service.len == 0)
        into->root_service = t->root_service;
    if (into->root_name.len == 0)
        into->root_name = t->root_name;
    return merge_sets(a, into, t) && merge_services(a, into, t);
}
