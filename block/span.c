/* The span model's own operations: storage, grouping by trace, Tempo's order, shared span ids.
 *
 * Everything sorts with one stable radix sort over 16-byte keys: its time does not depend on ids
 * that a sender chose, and it needs no hash table that could be flooded. */
#include "block/span.h"

#include "base/checked.h"
#include "base/cursor.h"
#include "base/err.h"

#define KIND_SERVER 2
#define KIND_CLIENT 3

void span_batch_reset(struct span_batch *b)
{
    vec_reset(&b->resources);
    vec_reset(&b->scopes);
    vec_reset(&b->spans);
    vec_reset(&b->events);
    vec_reset(&b->links);
    vec_reset(&b->attrs);
    vec_reset(&b->values);
    b->fragments = b->fragment_resources = 0;
}

void span_batch_clear(struct span_batch *b)
{
    vec_free(&b->resources);
    vec_free(&b->scopes);
    vec_free(&b->spans);
    vec_free(&b->events);
    vec_free(&b->links);
    vec_free(&b->attrs);
    vec_free(&b->values);
    b->fragments = b->fragment_resources = 0;
}

void span_batch_end_fragment(struct span_batch *b)
{
    for (; b->fragment_resources < b->resources.count; b->fragment_resources++)
        b->resources.at[b->fragment_resources].fragment = b->fragments;
    b->fragments++;
}

/* ---- runs ---- */

/* The untyped vector behind a run. */
struct plain_vec {
    void **at;
    uint32_t *count;
    uint32_t *cap;
    size_t size;
};

/* Moves the run to the end of its vector, with as much room again as it holds. */
static bool run_move(struct run *r, const struct plain_vec *v)
{
    if (r->range.count > UINT32_MAX / 2 - 4)
        return false;
    uint32_t reserve = r->range.count * 2 + 4;
    if (*v->cap - *v->count < reserve && !vec_grow_to(v->at, v->cap, *v->count, reserve, v->size))
        return false;
    uint8_t *bytes = *v->at;
    uint8_t *old = bytes + (size_t)r->range.first * v->size;
    uint8_t *fresh = bytes + (size_t)*v->count * v->size;
    size_t held = (size_t)r->range.count * v->size;
    memcpy(fresh, old, held);
    memset(old, 0, held);
    memset(fresh + held, 0, (size_t)reserve * v->size - held);
    r->range.first = *v->count;
    r->reserved = reserve;
    *v->count += reserve;
    return true;
}

/* The next element's place, or NULL. */
static void *run_next(struct run *r, const struct plain_vec *v)
{
    if (r->range.count == 0)
        r->range.first = *v->count;
    if (r->range.count >= r->reserved) {
        if (r->range.first + r->range.count == *v->count) {
            if (*v->count == *v->cap && !vec_grow_to(v->at, v->cap, *v->count, 1, v->size))
                return NULL;
            *v->count += 1;
        } else if (!run_move(r, v)) {
            return NULL;
        }
    }
    uint8_t *at = (uint8_t *)*v->at + ((size_t)r->range.first + r->range.count) * v->size;
    r->range.count++;
    return memset(at, 0, v->size);
}

struct attr *span_batch_attr_slow(struct span_batch *b, struct run *r)
{
    struct plain_vec v = {(void **)&b->attrs.at, &b->attrs.count, &b->attrs.cap,
                          sizeof *b->attrs.at};
    return run_next(r, &v);
}

struct value *span_batch_value_slow(struct span_batch *b, struct run *r)
{
    struct plain_vec v = {(void **)&b->values.at, &b->values.count, &b->values.cap,
                          sizeof *b->values.at};
    return run_next(r, &v);
}

/* ---- sorting ---- */

struct key {
    uint64_t key;
    uint32_t index;
};

/* Below this, insertion is faster than clearing the histograms. */
#define INSERTION_MAX 32

static void insertion_sort(struct key *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct key k = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1].key > k.key; at--)
            keys[at] = keys[at - 1];
        keys[at] = k;
    }
}

/* By key, stable: least significant byte first, bytes that are the same in all keys skipped. tmp
 * holds n elements. */
static void sort_keys(struct key *keys, struct key *tmp, size_t n)
{
    if (n <= INSERTION_MAX) {
        insertion_sort(keys, n);
        return;
    }
    uint32_t counts[8][256];
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < n; i++) {
        for (unsigned d = 0; d < 8; d++)
            counts[d][(keys[i].key >> (8 * d)) & 0xff]++;
    }
    struct key *from = keys, *to = tmp;
    for (unsigned d = 0; d < 8; d++) {
        if (counts[d][(keys[0].key >> (8 * d)) & 0xff] == n)
            continue;
        uint32_t at = 0;
        for (unsigned i = 0; i < 256; i++) {
            uint32_t count = counts[d][i];
            counts[d][i] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++)
            to[counts[d][(from[i].key >> (8 * d)) & 0xff]++] = from[i];
        struct key *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof *keys);
}

/* Two arrays of n keys in one allocation. */
static struct key *keys_new(size_t n)
{
    size_t bytes;
    return size_mul(n, 2 * sizeof(struct key), &bytes) ? malloc(bytes ? bytes : 1) : NULL;
}

/* The id as Tempo keys it: the first 8 bytes, shorter ones padded at the end with zeros. */
static uint64_t id_key(struct slice id)
{
    uint8_t bytes[8] = {0};
    if (id.len >= 8)
        return load_u64be(id.ptr);
    if (id.len)
        memcpy(bytes, id.ptr, id.len);
    return load_u64be(bytes);
}

/* ---- grouping ---- */

static bool same_trace(const struct span *a, const struct span *b)
{
    return memcmp(a->trace_id, b->trace_id, sizeof a->trace_id) == 0;
}

static bool same_span(const struct span *a, const struct span *b)
{
    return a->kind == b->kind && slice_eq(a->span_id, b->span_id);
}

/* Orders keys[].index by trace id, then as they came. */
static void sort_by_trace(const struct span_batch *b, struct key *keys, struct key *tmp, size_t n)
{
    const struct span *spans = b->spans.at;
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct key){load_u64be(spans[i].trace_id), (uint32_t)i};
    sort_keys(keys, tmp, n);
    /* The first half decides for random ids. For 64-bit ids, whose first half is zero, start again
     * with the second half. */
    size_t i = 1;
    while (i < n && (keys[i].key != keys[i - 1].key ||
                     same_trace(&spans[keys[i].index], &spans[keys[i - 1].index])))
        i++;
    if (i >= n)
        return;
    for (i = 0; i < n; i++)
        keys[i] = (struct key){load_u64be(spans[i].trace_id + 8), (uint32_t)i};
    sort_keys(keys, tmp, n);
    for (i = 0; i < n; i++)
        keys[i].key = load_u64be(spans[keys[i].index].trace_id);
    sort_keys(keys, tmp, n);
}

static uint32_t fragment_of(const struct span_batch *b, const struct span *s)
{
    return b->resources.at[b->scopes.at[s->scope].resource].fragment;
}

static size_t drop_repeats_few(const struct span_batch *b, uint32_t *order, size_t n)
{
    uint64_t ids[INSERTION_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct span *s = &b->spans.at[order[i]];
        uint64_t id = id_key(s->span_id);
        size_t k = 0;
        while (k < kept && !(ids[k] == id && same_span(s, &b->spans.at[order[k]])))
            k++;
        if (k < kept && fragment_of(b, s) != fragment_of(b, &b->spans.at[order[k]]))
            continue;
        ids[kept] = id;
        order[kept++] = order[i];
    }
    return kept;
}

/* Drops what an earlier fragment has, by (span id, kind), among the spans of one trace. keys and tmp are scratch. */
static size_t drop_repeats(const struct span_batch *b, uint32_t *order, size_t n, struct key *keys,
                           struct key *tmp)
{
    if (n <= INSERTION_MAX)
        return drop_repeats_few(b, order, n);
    for (size_t i = 0; i < n; i++) {
        const struct span *s = &b->spans.at[order[i]];
        uint64_t len = s->span_id.len < 255 ? s->span_id.len : 255;
        keys[i] = (struct key){len << 32 | (uint32_t)s->kind, (uint32_t)i};
    }
    sort_keys(keys, tmp, n);
    for (size_t i = 0; i < n; i++)
        keys[i].key = id_key(b->spans.at[order[keys[i].index]].span_id);
    sort_keys(keys, tmp, n);
    const struct span *first = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct span *s = &b->spans.at[order[keys[i].index]];
        if (!first || !same_span(first, s))
            first = s;
        else if (fragment_of(b, s) != fragment_of(b, first))
            order[keys[i].index] = UINT32_MAX; /* no index: a batch holds fewer spans */
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (order[i] != UINT32_MAX)
            order[kept++] = order[i];
    }
    return kept;
}

int64_t span_batch_group(const struct span_batch *b, uint32_t *order)
{
    size_t n = b->spans.count;
    struct key *keys = keys_new(n);
    if (!keys)
        return ERR_NOMEM;
    struct key *tmp = keys + n;
    sort_by_trace(b, keys, tmp, n);
    size_t kept = 0;
    for (size_t i = 0, next; i < n; i = next) {
        /* kept <= i, and the keys of this trace have been read when they become scratch. */
        const struct span *first = &b->spans.at[keys[i].index];
        size_t count = 0;
        for (next = i; next < n && same_trace(first, &b->spans.at[keys[next].index]); next++)
            order[kept + count++] = keys[next].index;
        kept += drop_repeats(b, order + kept, count, keys + i, tmp);
    }
    free(keys);
    return (int64_t)kept;
}

/* ---- Tempo's order ---- */

/* first[p] becomes the least position that shares p's key. */
static void first_of_key(struct key *keys, struct key *tmp, uint32_t n, uint32_t *first)
{
    sort_keys(keys, tmp, n);
    for (uint32_t i = 0, start = 0; i < n; i++) {
        if (keys[i].key != keys[start].key)
            start = i;
        first[keys[i].index] = keys[start].index;
    }
}

int trace_sort(const struct span_batch *b, uint32_t *spans, uint32_t count)
{
    const struct span *at = b->spans.at;
    size_t bytes;
    struct key *keys = keys_new(count);
    uint32_t *sorted = size_mul(count, 3 * sizeof *sorted, &bytes) ? malloc(bytes + 1) : NULL;
    if (!keys || !sorted) {
        free(keys);
        free(sorted);
        return ERR_NOMEM;
    }
    struct key *tmp = keys + count;
    uint32_t *scope_first = sorted + count, *resource_first = scope_first + count;

    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct key){id_key(at[spans[i]].span_id), spans[i]};
    sort_keys(keys, tmp, count);
    for (uint32_t i = 0; i < count; i++)
        keys[i].key = at[keys[i].index].start_unix_ns;
    sort_keys(keys, tmp, count);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = keys[i].index;

    /* In this order the first span of a scope, or of a resource, is its rank. */
    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct key){at[sorted[i]].scope, i};
    first_of_key(keys, tmp, count, scope_first);
    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct key){b->scopes.at[at[sorted[i]].scope].resource, i};
    first_of_key(keys, tmp, count, resource_first);

    for (uint32_t i = 0; i < count; i++)
        keys[i] = (struct key){(uint64_t)resource_first[i] << 32 | scope_first[i], i};
    sort_keys(keys, tmp, count);
    for (uint32_t i = 0; i < count; i++)
        spans[i] = sorted[keys[i].index];
    free(keys);
    free(sorted);
    return 0;
}

/* ---- shared span ids ---- */

/* One span id of a trace. */
struct known_id {
    uint64_t id;
    const uint8_t *fresh; /* the id that replaces it, if any */
    bool client;          /* a client span has it */
};

/* The place of id among the sorted ids, or NULL. */
static struct known_id *known_id_find(struct known_id *ids, size_t n, uint64_t id)
{
    size_t low = 0;
    while (n > low) {
        size_t mid = low + (n - low) / 2;
        if (ids[mid].id == id)
            return &ids[mid];
        if (ids[mid].id < id)
            low = mid + 1;
        else
            n = mid;
    }
    return NULL;
}

/* Fills known with the distinct 8-byte span ids, sorted; returns how many. */
static size_t known_ids(const struct span_batch *b, const uint32_t *spans, uint32_t count,
                        struct key *keys, struct known_id *known)
{
    size_t n = 0, distinct = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct slice id = b->spans.at[spans[i]].span_id;
        if (id.len == 8)
            keys[n++] = (struct key){load_u64be(id.ptr), spans[i]};
    }
    sort_keys(keys, keys + count, n);
    for (size_t i = 0; i < n; i++) {
        if (!distinct || known[distinct - 1].id != keys[i].key)
            known[distinct++] = (struct known_id){.id = keys[i].key};
        if (b->spans.at[keys[i].index].kind == KIND_CLIENT)
            known[distinct - 1].client = true;
    }
    return distinct;
}

static void reparent(struct span_batch *b, const uint32_t *spans, uint32_t count,
                     struct known_id *known, size_t n)
{
    for (uint32_t i = 0; i < count; i++) {
        struct span *s = &b->spans.at[spans[i]];
        if (s->parent_span_id.len != 8)
            continue;
        const struct known_id *k = known_id_find(known, n, load_u64be(s->parent_span_id.ptr));
        /* The span that got the new id keeps the shared one as its parent. */
        if (k && k->fresh && !slice_eq(s->span_id, slice_of(k->fresh, 8)))
            s->parent_span_id = slice_of(k->fresh, 8);
    }
}

int trace_fix_shared_ids(struct span_batch *b, const uint32_t *spans, uint32_t count,
                         uint8_t (*ids)[8])
{
    size_t bytes;
    struct key *keys = keys_new(count);
    struct known_id *known = size_mul(count, sizeof *known, &bytes) ? malloc(bytes + 1) : NULL;
    if (!keys || !known) {
        free(keys);
        free(known);
        return ERR_NOMEM;
    }
    size_t n = known_ids(b, spans, count, keys, known);
    uint64_t last = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct span *s = &b->spans.at[spans[i]];
        if (s->kind != KIND_SERVER || s->span_id.len != 8)
            continue;
        struct known_id *k = known_id_find(known, n, load_u64be(s->span_id.ptr));
        if (!k || !k->client)
            continue;
        do
            last++;
        while (known_id_find(known, n, last));
        uint64_t big_endian = __builtin_bswap64(last);
        memcpy(ids[used], &big_endian, 8);
        s->parent_span_id = s->span_id;
        s->span_id = slice_of(ids[used], 8);
        k->fresh = ids[used++];
    }
    if (used)
        reparent(b, spans, count, known, n);
    free(keys);
    free(known);
    return 0;
}
