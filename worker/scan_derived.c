/* What no column holds but can be told from some.
 *
 * Blocks before vParquet5 do not store span:childCount, but a child's nestedSetParent is its
 * parent's nestedSetLeft, so it can be counted. */
#include "worker/scan_derived.h"

/* A number per span; both columns are required by the format. */
static int numbers(struct scan *s, int leaf, const struct column **out, struct err *err)
{
    const struct column *c = scan_column(s, leaf);
    if (c->type != COLUMN_I32 && c->type != COLUMN_I64)
        return err_set(err, ERR_CORRUPT, "column %s: not of integers", block_leaves[leaf].path);
    if (c->values != s->spans)
        return err_set(err, ERR_CORRUPT, "column %s: %u values, expected %u",
                       block_leaves[leaf].path, c->values, s->spans);
    *out = c;
    return 0;
}

static int64_t number_at(const struct column *c, uint32_t i)
{
    return c->type == COLUMN_I32 ? c->v.i32[i] : c->v.i64[i];
}

/* Counts the children of the spans [first, end), which are one trace's. by_left: room for them. */
static void count_trace(const struct column *left, const struct column *parent, uint32_t first,
                        uint32_t end, uint32_t *by_left, int64_t *out)
{
    /* The numbers of a trace run from 1 to twice its spans, so they can be an index. */
    int64_t largest = 2 * (int64_t)(end - first);
    memset(by_left, 0, ((size_t)largest + 1) * sizeof *by_left);
    for (uint32_t i = first; i < end; i++) {
        int64_t at = number_at(parent, i);
        if (at > 0 && at <= largest)
            by_left[at]++;
    }
    for (uint32_t i = first; i < end; i++) {
        int64_t at = number_at(left, i);
        out[i] = at > 0 && at <= largest ? by_left[at] : 0;
    }
}

int child_counts(struct scan *s, struct traceql_values *out, struct err *err)
{
    static const int leaves[] = {BLOCK_SPAN_NESTED_LEFT, BLOCK_SPAN_PARENT_ID};
    const struct column *left, *parent;
    int rc = scan_need(s, leaves, 2, err);
    rc = rc < 0 ? rc : numbers(s, BLOCK_SPAN_NESTED_LEFT, &left, err);
    rc = rc < 0 ? rc : numbers(s, BLOCK_SPAN_PARENT_ID, &parent, err);
    if (rc < 0)
        return rc;
    int64_t *counts = arena_array(s->arena, int64_t, s->spans);
    uint32_t *by_left = arena_array(s->arena, uint32_t, 2 * (size_t)s->spans + 1);
    if (!counts || !by_left)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t first = 0, end; first < s->spans; first = end) {
        for (end = first + 1; end < s->spans && s->span_trace[end] == s->span_trace[first];)
            end++;
        count_trace(left, parent, first, end, by_left, counts);
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
