/* What no column holds but can be told from some.
 *
 * Blocks before vParquet5 do not store span:childCount. It is counted as those that store it count
 * it: by parent ids, also for spans that no root reaches; where two spans share an id (a Zipkin
 * client and its server) a server span is the client's child and every other one the server's. */
#include "worker/scan_derived.h"

#include <stdlib.h>

enum { KIND_SERVER = 2, KIND_CLIENT = 3 };

struct child_columns {
    const struct column *id, *parent, *kind;
};

/* A span by the first 8 bytes of its id. */
struct keyed_span {
    uint64_t key;
    uint32_t span;
};

static uint64_t id_key(struct slice id)
{
    uint64_t key = 0;
    if (id.len)
        memcpy(&key, id.ptr, id.len < sizeof key ? id.len : sizeof key);
    return key;
}

static int by_key(const void *a, const void *b)
{
    const struct keyed_span *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->span > y->span) - (x->span < y->span);
}

static int span_column(const struct scan *s, int leaf, const struct column **out, struct err *err)
{
    const struct column *c = scan_column(s, leaf);
    struct slice path = scan_path(s, leaf);
    if (c->values != s->spans || c->type != block_leaves[leaf].column_type)
        return err_set(err, ERR_CORRUPT, "column %.*s: %u values, expected %u of its type",
                       SLICE_ARGS(path), c->values, s->spans);
    *out = c;
    return 0;
}

/* The span of those sorted ones that is the parent of a span, or UINT32_MAX. */
static uint32_t find_parent(const struct child_columns *c, const struct keyed_span *sorted,
                            uint32_t count, uint32_t span)
{
    uint64_t key = id_key(column_bytes(c->parent, span));
    uint32_t lo = 0, hi = count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (sorted[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == count || sorted[lo].key != key)
        return UINT32_MAX;
    if (lo + 1 == count || sorted[lo + 1].key != key)
        return sorted[lo].span;
    int64_t wanted = c->kind->v.i64[span] == KIND_SERVER ? KIND_CLIENT : KIND_SERVER;
    for (uint32_t i = lo; i < count && i < lo + 2 && sorted[i].key == key; i++) {
        if (c->kind->v.i64[sorted[i].span] == wanted)
            return sorted[i].span;
    }
    return UINT32_MAX;
}

/* The spans [first, end) are one trace's. */
static void count_trace(const struct child_columns *c, uint32_t first, uint32_t end,
                        struct keyed_span *sorted, int64_t *out)
{
    for (uint32_t i = first; i < end; i++)
        sorted[i - first] = (struct keyed_span){id_key(column_bytes(c->id, i)), i};
    qsort(sorted, end - first, sizeof *sorted, by_key);
    for (uint32_t i = first; i < end; i++) {
        if (column_bytes(c->parent, i).len == 0)
            continue;
        uint32_t parent = find_parent(c, sorted, end - first, i);
        if (parent != UINT32_MAX)
            out[parent]++;
    }
}

int child_counts(struct scan *s, struct traceql_values *out, struct err *err)
{
    static const int leaves[] = {BLOCK_SPAN_ID, BLOCK_SPAN_PARENT_SPAN_ID, BLOCK_SPAN_KIND};
    struct child_columns c;
    int rc = scan_need(s, leaves, 3, err);
    rc = rc < 0 ? rc : span_column(s, BLOCK_SPAN_ID, &c.id, err);
    rc = rc < 0 ? rc : span_column(s, BLOCK_SPAN_PARENT_SPAN_ID, &c.parent, err);
    rc = rc < 0 ? rc : span_column(s, BLOCK_SPAN_KIND, &c.kind, err);
    if (rc < 0)
        return rc;
    int64_t *counts = arena_zalloc(s->arena, (size_t)s->spans * sizeof *counts);
    struct keyed_span *sorted = arena_array(s->arena, struct keyed_span, s->spans);
    if (!counts || !sorted)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t first = 0, end; first < s->spans; first = end) {
        for (end = first + 1; end < s->spans && s->span_trace[end] == s->span_trace[first];)
            end++;
        count_trace(&c, first, end, sorted, counts);
    }
    *out = (struct traceql_values){.type = TRACEQL_INT, .count = s->spans, .i64 = counts};
    return 0;
}

int attr_holders(struct scan *s, const struct column *key, uint8_t rep, uint8_t def,
                 uint32_t elements, const uint8_t **out, struct err *err)
{
    uint8_t *any = arena_zalloc(s->arena, elements);
    if (!any)
        return arena_err(s->arena, err, "a row group");
    uint32_t element = 0;
    for (uint32_t i = 0; i < key->entries; i++) {
        element += key->rep[i] < rep && key->def[i] >= def;
        if (element > elements)
            break; /* told where the occurrences are looked for */
        if (element > 0 && key->def[i] == key->def_max)
            any[element - 1] = 1;
    }
    *out = any;
    return 0;
}
