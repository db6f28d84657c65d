/* Structural operators by nested-set numbers: a span's number is the left edge of an interval that
 * holds the intervals of all spans below it. Each operator sorts one side by number and looks each
 * span of the other up, so it takes n log n. Spans that are not part of their trace's tree have 0
 * for every number and are related to nothing.
 *
 * The orders are Tempo's: results keep the right side's order, but the left side is sorted in place
 * first, and when both sides are the whole input they are one and the same list. */
#include "traceql/spanset.h"

#include <stdlib.h>

/* A span of a sorted side. */
struct key {
    int64_t key;   /* what it is sorted by */
    int64_t reach; /* the largest right edge up to here, for descendants */
    uint32_t at;   /* where it was, so that equal keys keep their order */
    uint32_t span;
};

struct side {
    struct key *at;
    uint32_t count;
};

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "a structural operator");
}

/* ---- the numbers ---- */

/* A number per span; spans without one have 0. */
static int spread(struct traceql_view *v, const struct visible *f, const int64_t **out,
                  struct err *err)
{
    const struct traceql_values *c = &f->in->column;
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    if (f->in->has_column && !c->owner && c->count == spans) {
        *out = c->i64;
        return 0;
    }
    int64_t *all = arena_zalloc(v->arena, (size_t)spans * sizeof *all);
    if (!all)
        return arena_full(v, err);
    for (uint32_t i = 0; f->in->has_column && i < c->count; i++)
        all[c->owner ? c->owner[i] : i] = c->i64[i];
    *out = all;
    return 0;
}

int numbers_of(struct traceql_view *v, struct numbers *out, struct err *err)
{
    int rc = 0;
    *out = (struct numbers){0};
    for (uint32_t i = 0; i < v->eval->plan->field_count && rc == 0; i++) {
        const struct visible *f = &v->fields[i];
        if (f->field->intrinsic == TRACEQL_NESTED_SET_LEFT)
            rc = spread(v, f, &out->left, err);
        if (f->field->intrinsic == TRACEQL_NESTED_SET_RIGHT)
            rc = spread(v, f, &out->right, err);
        if (f->field->intrinsic == TRACEQL_NESTED_SET_PARENT)
            rc = spread(v, f, &out->parent, err);
    }
    return rc;
}

/* ---- sorting ---- */

static int ascending(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int descending(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Sorts the set's spans in place by their number; *out is ascending in any case. */
static int sort_side(struct traceql_view *v, enum scratch_slot slot, const int64_t *number,
                     bool down, struct set *s, struct side *out, struct err *err)
{
    struct key *keys = (void *)scratch_zeroed(&v->scratch, slot, (size_t)s->count * sizeof *keys);
    if (!keys)
        return arena_full(v, err);
    bool sorted = true;
    for (uint32_t i = 0; i < s->count; i++) {
        keys[i] = (struct key){.key = number[s->spans[i]], .at = i, .span = s->spans[i]};
        sorted =
            sorted &&
            (i == 0 || (down ? keys[i - 1].key >= keys[i].key : keys[i - 1].key <= keys[i].key));
    }
    if (!sorted)
        qsort(keys, s->count, sizeof *keys, down ? descending : ascending);
    for (uint32_t i = 0; i < s->count; i++)
        s->spans[i] = keys[i].span;
    for (uint32_t i = 0; down && i < s->count / 2; i++) {
        struct key other = keys[i];
        keys[i] = keys[s->count - 1 - i];
        keys[s->count - 1 - i] = other;
    }
    *out = (struct side){keys, s->count};
    return 0;
}

/* The first key that is not below k. */
static uint32_t find(const struct side *s, int64_t k)
{
    uint32_t lo = 0, hi = s->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->at[mid].key < k)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool holds(const struct side *s, int64_t k)
{
    uint32_t i = find(s, k);
    return i < s->count && s->at[i].key == k;
}

/* ---- plain and negated ---- */

/* For each span, the largest right edge of those that are not to the right of it. */
static void note_reach(const struct numbers *n, struct side *l)
{
    int64_t reach = INT64_MIN;
    for (uint32_t i = 0; i < l->count; i++) {
        int64_t right = n->right[l->at[i].span];
        reach = right > reach ? right : reach;
        l->at[i].reach = reach;
    }
}

/* Is some span of the (sorted) left side related to r? */
static bool related(enum spanset_relation relation, const struct numbers *n, const struct side *l,
                    uint32_t r)
{
    uint32_t i;
    switch (relation) {
    case RELATION_CHILD:
        return n->parent[r] != 0 && holds(l, n->parent[r]);
    case RELATION_PARENT:
        return n->left[r] != 0 && holds(l, n->left[r]);
    case RELATION_DESCENDANT:
        i = find(l, n->left[r]);
        return n->left[r] != 0 && i > 0 && l->at[i - 1].reach > n->left[r];
    case RELATION_ANCESTOR:
        i = n->left[r] == 0 || n->left[r] == INT64_MAX ? l->count : find(l, n->left[r] + 1);
        return i < l->count && l->at[i].key < n->right[r];
    case RELATION_SIBLING:
        i = n->parent[r] == 0 ? l->count : find(l, n->parent[r]);
        if (i < l->count && l->at[i].span == r)
            i++;
        return i < l->count && l->at[i].key == n->parent[r];
    }
    return false;
}

static int keep_related(struct traceql_view *v, enum spanset_op op, const struct numbers *n,
                        struct set *l, const struct set *r, uint32_t *out, uint32_t *count,
                        struct err *err)
{
    enum spanset_relation relation = spanset_op_relation(op);
    bool by_parent = relation == RELATION_PARENT || relation == RELATION_SIBLING;
    bool wanted = spanset_op_form(op) != FORM_NOT;
    struct side side;
    int rc = sort_side(v, SCRATCH_LEFT, by_parent ? n->parent : n->left,
                       relation == RELATION_DESCENDANT, l, &side, err);
    if (rc < 0)
        return rc;
    if (relation == RELATION_DESCENDANT)
        note_reach(n, &side);
    for (uint32_t i = 0; i < r->count; i++) {
        if (related(relation, n, &side, r->spans[i]) == wanted)
            out[(*count)++] = r->spans[i];
    }
    return 0;
}

/* ---- unions ---- */

struct emitted {
    uint8_t *mark;
    uint32_t *out;
    uint32_t *count;
};

static void emit(const struct emitted *e, uint32_t span)
{
    if (!e->mark[span])
        e->out[(*e->count)++] = span;
    e->mark[span] = 1;
}

/* For each parent its children, then itself. */
static void union_children(const struct side *parents, const struct side *children,
                           const struct emitted *e)
{
    for (uint32_t i = 0; i < parents->count; i++) {
        const struct key *p = &parents->at[i];
        uint32_t first = p->key == 0 ? children->count : find(children, p->key), c = first;
        for (; c < children->count && children->at[c].key == p->key; c++)
            emit(e, children->at[c].span);
        if (c > first)
            emit(e, p->span);
    }
}

/* For each span of the right side its siblings of the left one, then itself. After the first of a
 * parent's spans all of the left side's are out, so they are gone through once. */
static void union_siblings(const struct side *l, const struct side *r, const struct emitted *e)
{
    bool out = false;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct key *k = &r->at[i];
        if (i > 0 && k->key != r->at[i - 1].key)
            out = false;
        uint32_t first = k->key == 0 ? l->count : find(l, k->key);
        bool any = out;
        for (uint32_t j = first; !out && j < l->count && l->at[j].key == k->key; j++) {
            if (l->at[j].span == k->span)
                continue;
            emit(e, l->at[j].span);
            any = true;
        }
        if (out && first < l->count) /* not if it is the only one there */
            any = l->at[first].span != k->span ||
                  (first + 1 < l->count && l->at[first + 1].key == k->key);
        if (any)
            emit(e, k->span);
        out = any;
    }
}

static bool below(const struct numbers *n, const struct key *d, const struct key *a)
{
    return d->key != 0 && a->key != 0 && d->key > a->key && d->key < n->right[a->span];
}

/* One walk over both sides. It is Tempo's, with what it loses: a descendant is held against the
 * ancestor at hand only, so one that is below a later ancestor alone does not come out. Queries are
 * written against that, and their answers compared. */
static void union_descendants(const struct numbers *n, const struct side *up,
                              const struct side *down, const struct emitted *e)
{
    uint32_t i = 0, k = 0;
    while (i < up->count && k < down->count) {
        const struct key *d;
        do {
            d = &down->at[k++];
            if (below(n, d, &up->at[i]))
                emit(e, d->span);
        } while (k < down->count && down->at[k].key <= n->right[d->span]);
        for (; i < up->count && up->at[i].key <= n->right[d->span]; i++) {
            if (!below(n, d, &up->at[i]))
                continue;
            emit(e, up->at[i].span);
            if (k < down->count && below(n, &down->at[k], &up->at[i]))
                break;
        }
    }
}

static int unite_related(struct traceql_view *v, enum spanset_op op, const struct numbers *n,
                         struct set *l, struct set *r, const struct emitted *e, struct err *err)
{
    enum spanset_relation relation = spanset_op_relation(op);
    bool deep = relation == RELATION_DESCENDANT || relation == RELATION_ANCESTOR;
    struct set *up = relation == RELATION_CHILD || relation == RELATION_DESCENDANT ? l : r;
    struct set *down = up == l ? r : l;
    struct side a, b;
    int rc = sort_side(v, SCRATCH_LEFT, relation == RELATION_SIBLING ? n->parent : n->left, false,
                       up, &a, err);
    rc =
        rc < 0 ? rc : sort_side(v, SCRATCH_RIGHT, deep ? n->left : n->parent, false, down, &b, err);
    if (rc < 0)
        return rc;
    if (deep)
        union_descendants(n, &a, &b, e);
    else if (relation == RELATION_SIBLING)
        union_siblings(&b, &a, e);
    else
        union_children(&a, &b, e);
    return 0;
}

int relate(struct traceql_view *v, enum spanset_op op, const struct numbers *n, struct set *l,
           struct set *r, uint8_t *mark, uint32_t *out, uint32_t *count, struct err *err)
{
    *count = 0;
    if (spanset_op_form(op) != FORM_UNION)
        return keep_related(v, op, n, l, r, out, count, err);
    struct emitted e = {.mark = mark, .out = out, .count = count};
    int rc = unite_related(v, op, n, l, r, &e, err);
    for (uint32_t i = 0; i < *count; i++)
        mark[out[i]] = 0;
    return rc;
}
