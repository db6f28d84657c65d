/* by() and coalesce(). */
#include "traceql/spanset.h"

#include "traceql/row.h"

/* The groups of the set at hand; the first of its spans stands for each. */
struct groups {
    struct seen *keys;
    uint32_t *counts;
    uint32_t count;
    uint32_t *slots; /* open addressing: group + 1 */
    uint32_t slot_count;
};

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the groups of by()");
}

/* Tables for a set of so many spans. The arena keeps the largest ones. */
static int groups_begin(struct traceql_view *v, struct groups *g, uint32_t spans, struct err *err)
{
    uint32_t slots = 8;
    while (slots < 2 * (uint64_t)spans && slots < UINT32_C(1) << 31)
        slots *= 2;
    size_t key_bytes = (size_t)spans * (sizeof *g->keys + sizeof *g->counts);
    g->keys = (void *)scratch_zeroed(&v->scratch, SCRATCH_LEFT, key_bytes);
    g->slots = (void *)scratch_zeroed(&v->scratch, SCRATCH_RIGHT, slots * sizeof *g->slots);
    if (!g->keys || !g->slots)
        return arena_full(v, err);
    g->counts = (uint32_t *)(g->keys + spans);
    g->slot_count = slots;
    g->count = 0;
    return 0;
}

/* The group of a key, a new one when there is none. */
static uint32_t group_of(struct groups *g, const struct seen *key)
{
    uint32_t at = (uint32_t)seen_hash(key) & (g->slot_count - 1);
    while (g->slots[at] && !seen_same(&g->keys[g->slots[at] - 1], key))
        at = (at + 1) & (g->slot_count - 1);
    if (g->slots[at] == 0) {
        g->keys[g->count] = *key;
        g->slots[at] = ++g->count;
    }
    return g->slots[at] - 1;
}

/* Splits a set; of[i]: the group of its i-th span. */
static int split(struct traceql_view *v, const struct expr *e, const struct set *s,
                 struct groups *g, uint32_t *of, struct err *err)
{
    int rc = groups_begin(v, g, s->count, err);
    for (uint32_t i = 0; i < s->count && rc == 0; i++) {
        struct seen key;
        rc = row_eval(v, e, s->spans[i], &key, err);
        if (rc == 0) {
            of[i] = group_of(g, &key);
            g->counts[of[i]]++;
        }
    }
    return rc;
}

struct grouping {
    struct traceql_view *view;
    struct slice key;
    struct sets *out;
    uint32_t capacity; /* of out */
    uint32_t *spans;   /* the rest of the room for the groups' spans */
};

static int make_room(struct grouping *g, uint32_t more, struct err *err)
{
    if (g->capacity - g->out->count >= more)
        return 0;
    uint64_t capacity = 2 * (uint64_t)g->capacity + more;
    struct sets bigger;
    if (capacity > UINT32_MAX)
        return arena_full(g->view, err);
    int rc = sets_new(g->view, (uint32_t)capacity, &bigger, err);
    if (rc < 0)
        return rc;
    bigger.count = g->out->count;
    if (bigger.count)
        memcpy(bigger.at, g->out->at, bigger.count * sizeof *bigger.at);
    *g->out = bigger;
    g->capacity = (uint32_t)capacity;
    return 0;
}

/* A set for each group, in the order of their first spans. */
static int append_groups(struct grouping *g, const struct set *s, uint32_t origin,
                         const struct groups *groups, const uint32_t *of, struct err *err)
{
    int rc = make_room(g, groups->count, err);
    uint32_t first = g->out->count;
    for (uint32_t i = 0; i < groups->count && rc == 0; i++) {
        struct set *made = &g->out->at[g->out->count++];
        *made =
            (struct set){.trace = s->trace, .origin = origin, .spans = g->spans, .attrs = s->attrs};
        g->spans += groups->counts[i];
        struct traceql_set_attr attr = {.key = g->key};
        rc = seen_values(g->view, &groups->keys[i], &attr.values, &attr.count, err);
        rc = rc < 0 ? rc : set_say(g->view, made, attr, err);
    }
    for (uint32_t i = 0; i < s->count && rc == 0; i++) {
        struct set *made = &g->out->at[first + of[i]];
        made->spans[made->count++] = s->spans[i];
    }
    return rc;
}

int group_by(struct traceql_view *v, const struct expr *e, const struct sets *in, struct sets *out,
             struct err *err)
{
    struct grouping g = {.view = v, .out = out, .capacity = in->count};
    uint32_t longest = 0, *of;
    for (uint32_t i = 0; i < in->count; i++)
        longest = in->at[i].count > longest ? in->at[i].count : longest;
    int rc = stage_text(v, "by", e, &g.key, err);
    rc = rc < 0 ? rc : sets_new(v, in->count, out, err);
    rc = rc < 0 ? rc : spans_new(v, sets_spans(in), &g.spans, err);
    rc = rc < 0 ? rc : spans_new(v, longest, &of, err);
    for (uint32_t i = 0; i < in->count && rc == 0; i++) {
        struct groups groups = {0};
        rc = split(v, e, &in->at[i], &groups, of, err);
        rc = rc < 0 ? rc : append_groups(&g, &in->at[i], i, &groups, of, err);
    }
    return rc;
}

/* All sets of a trace become one; what was said of them is forgotten. */
int coalesce(struct traceql_view *v, const struct sets *in, struct sets *out, struct err *err)
{
    uint32_t *spans;
    int rc = sets_new(v, in->count, out, err);
    rc = rc < 0 ? rc : spans_new(v, sets_spans(in), &spans, err);
    for (uint32_t i = 0; i < in->count && rc == 0; i++) {
        const struct set *s = &in->at[i];
        if (out->count == 0 || out->at[out->count - 1].trace != s->trace)
            out->at[out->count++] = (struct set){.trace = s->trace, .origin = i, .spans = spans};
        memcpy(spans, s->spans, s->count * sizeof *spans);
        spans += s->count;
        out->at[out->count - 1].count += s->count;
    }
    return rc;
}
