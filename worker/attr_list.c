/* Attribute lists have an entry for each attribute of each span, some ten million in a row group,
 * of which a query wants one in ten. So the loops are made for the processor: no branch depends on
 * what an entry holds, and numbers are compared in blocks that the compiler turns into vector code.
 */
#include "worker/attr_list.h"

static const struct {
    int leaf;    /* first of seven */
    uint8_t rep; /* of a further attribute of the same element */
    uint8_t def; /* of an element that is there */
} lists[TRACEQL_LEVELS] = {
    [TRACEQL_LEVEL_TRACE] = {-1, 0, 0},
    [TRACEQL_LEVEL_RESOURCE] = {BLOCK_RESOURCE_ATTRS, 2, 1},
    [TRACEQL_LEVEL_SCOPE] = {BLOCK_SCOPE_ATTRS, 3, 2},
    [TRACEQL_LEVEL_SPAN] = {BLOCK_SPAN_ATTRS, 4, 3},
    [TRACEQL_LEVEL_EVENT] = {BLOCK_EVENT_ATTRS, 5, 4},
    [TRACEQL_LEVEL_LINK] = {BLOCK_LINK_ATTRS, 5, 4},
};

int attr_first_leaf(enum traceql_level level)
{
    return lists[level].leaf;
}

uint8_t element_def(enum traceql_level level)
{
    return lists[level].def;
}

uint8_t attr_rep(enum traceql_level level)
{
    return lists[level].rep;
}

static int corrupt(const struct scan *s, int leaf, struct err *err, const char *what)
{
    struct slice path = scan_path(s, leaf);
    return err_set(err, ERR_CORRUPT, "column %.*s: %s", SLICE_ARGS(path), what);
}

/* ---- occurrences ---- */

static uint32_t count_equal(const uint32_t *at, uint32_t count, uint32_t wanted)
{
    enum { BLOCK = 64 };
    uint32_t equal = 0, i = 0;
    for (; count - i >= BLOCK; i += BLOCK) {
        for (uint32_t k = 0; k < BLOCK; k++)
            equal += at[i + k] == wanted;
    }
    for (; i < count; i++)
        equal += at[i] == wanted;
    return equal;
}

/* Keys as numbers of which one is wanted: those of the dictionary, or 0 and 1. */
struct keys {
    const uint32_t *at; /* per value of the column */
    uint32_t wanted;
    uint32_t count; /* that are wanted */
};

static int number_keys(struct scan *s, const struct column *c, struct slice name, struct keys *out,
                       struct err *err)
{
    *out = (struct keys){0};
    if (!c->has_dict) {
        uint32_t *is = arena_array(s->arena, uint32_t, c->values);
        if (!is)
            return arena_err(s->arena, err, "a row group");
        for (uint32_t i = 0; i < c->values; i++)
            is[i] = slice_eq(c->v.bytes[i], name);
        out->at = is;
        out->wanted = 1;
    } else {
        uint32_t i = 0;
        while (i < c->dict_count && !slice_eq(c->dict[i], name))
            i++;
        if (i == c->dict_count)
            return 0;
        out->at = c->v.idx;
        out->wanted = i;
    }
    out->count = count_equal(out->at, c->values, out->wanted);
    return 0;
}

/* Every place is written, and only a hit is kept: so the arrays have room for one more. */
static void find_slots(const struct column *c, const struct keys *keys, uint32_t *slot)
{
    uint32_t n = 0, value = 0;
    for (uint32_t i = 0; i < c->entries && n < keys->count; i++) {
        bool there = c->def[i] == c->def_max;
        slot[n] = i;
        n += there & (keys->at[value] == keys->wanted);
        value += there;
    }
}

/* Where every entry has a key, which is where every element has an attribute. */
static void find_slots_of_all(const struct column *c, const struct keys *keys, uint32_t *slot)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->entries && n < keys->count; i++) {
        slot[n] = i;
        n += keys->at[i] == keys->wanted;
    }
}

/* Whose each slot is: elements begin where the repetition level is below that of a further
 * attribute. Returns how many elements there are. */
static uint32_t find_owners(const struct column *c, uint8_t rep, uint8_t def,
                            const struct occurrences *occ)
{
    uint32_t element = 0, i = 0;
    for (uint32_t k = 0; k < occ->count; k++) {
        for (uint32_t end = occ->slot[k] + 1; i < end; i++)
            element += (c->rep[i] < rep) & (c->def[i] >= def);
        occ->owner[k] = element - 1; /* of 0 - 1 in a list that begins in its middle: refused */
    }
    for (; i < c->entries; i++)
        element += (c->rep[i] < rep) & (c->def[i] >= def);
    return element;
}

int attr_occurrences(struct scan *s, enum traceql_level level, struct slice name, uint32_t elements,
                     struct occurrences *out, struct err *err)
{
    int leaf = lists[level].leaf + BLOCK_ATTR_KEY;
    const struct column *c = scan_column(s, leaf);
    struct keys keys;
    *out = (struct occurrences){0};
    int rc = number_keys(s, c, name, &keys, err);
    if (rc < 0 || keys.count == 0)
        return rc;
    bool owners = elements != UINT32_MAX;
    out->count = keys.count;
    out->slot = arena_array(s->arena, uint32_t, (size_t)keys.count + 1);
    out->owner = owners ? arena_array(s->arena, uint32_t, keys.count) : NULL;
    if (!out->slot || (owners && !out->owner))
        return arena_err(s->arena, err, "a row group");
    if (c->values == c->entries)
        find_slots_of_all(c, &keys, out->slot);
    else
        find_slots(c, &keys, out->slot);
    if (!owners)
        return 0;
    uint32_t found = find_owners(c, lists[level].rep, lists[level].def, out);
    if (found != elements || c->rep[0] != 0)
        return corrupt(s, leaf, err, "it has another number of elements than the others");
    if (out->owner[0] >= elements)
        return corrupt(s, leaf, err, "a list begins in its middle");
    return 0;
}

/* ---- values ---- */

/* Which values of a column, and of which occurrences they are. */
struct picked {
    uint32_t *value, *occurrence;
    uint32_t count;
    bool single; /* no occurrence has several */
};

/* Without arrays the entries are the slots. */
static void pick_single(const struct column *c, const struct occurrences *occ, struct picked *out)
{
    uint32_t value = 0, i = 0, n = 0;
    for (uint32_t k = 0; k < occ->count; k++) {
        uint32_t slot = occ->slot[k];
        for (; i < slot; i++)
            value += c->def[i] == c->def_max;
        out->value[n] = value;
        out->occurrence[n] = k;
        n += c->def[slot] == c->def_max;
    }
    out->count = n;
}

/* An array has several entries for its slot. Without arrays to write to they are counted. */
static void pick_arrays(const struct column *c, uint8_t rep, const struct occurrences *occ,
                        struct picked *out)
{
    uint32_t slot = 0, value = 0, at = 0, n = 0;
    for (uint32_t i = 0; i < c->entries && at < occ->count; i++) {
        slot += i > 0 && c->rep[i] <= rep;
        while (at < occ->count && occ->slot[at] < slot)
            at++;
        if (c->def[i] != c->def_max)
            continue;
        if (at < occ->count && occ->slot[at] == slot) {
            if (out->value) {
                out->value[n] = value;
                out->occurrence[n] = at;
            }
            n++;
        }
        value++;
    }
    out->count = n;
}

static int pick(struct scan *s, enum traceql_level level, const struct column *c,
                const struct occurrences *occ, struct picked *out, struct err *err)
{
    const struct column *key = scan_column(s, lists[level].leaf + BLOCK_ATTR_KEY);
    bool single = c->entries == key->entries;
    *out = (struct picked){.count = occ->count, .single = single};
    if (!single)
        pick_arrays(c, lists[level].rep, occ, out);
    out->value = arena_array(s->arena, uint32_t, (size_t)out->count + 1);
    out->occurrence = arena_array(s->arena, uint32_t, (size_t)out->count + 1);
    if (!out->value || !out->occurrence)
        return arena_err(s->arena, err, "a row group");
    if (single)
        pick_single(c, occ, out);
    else
        pick_arrays(c, lists[level].rep, occ, out);
    return 0;
}

#define COPY(to, from)                                                                             \
    for (uint32_t i = 0; i < p.count; i++) {                                                       \
        (to)[i] = (from)[p.value[i]];                                                              \
    }

int attr_values(struct scan *s, enum traceql_level level, int which, const struct occurrences *occ,
                struct traceql_values *out, struct err *err)
{
    const struct column *c = scan_column(s, lists[level].leaf + which);
    struct picked p;
    int rc = pick(s, level, c, occ, &p, err);
    if (rc < 0)
        return rc;
    bool strings = c->type == COLUMN_BYTES && !c->has_dict;
    void *values =
        arena_alloc_array(s->arena, p.count, strings ? sizeof(struct slice) : sizeof(uint64_t));
    if (!values)
        return arena_err(s->arena, err, "a row group");
    bool each_has_one = p.single && p.count == occ->count;
    *out = (struct traceql_values){.count = p.count, .owner = each_has_one ? NULL : p.occurrence};
    switch (c->type) {
    case COLUMN_BOOL:
        COPY((uint8_t *)values, c->v.b)
        out->type = TRACEQL_BOOL;
        out->b = values;
        break;
    case COLUMN_F64:
        COPY((double *)values, c->v.f64)
        out->type = TRACEQL_FLOAT;
        out->f64 = values;
        break;
    case COLUMN_BYTES:
        if (c->has_dict)
            COPY((uint32_t *)values, c->v.idx)
        else
            COPY((struct slice *)values, c->v.bytes)
        out->type = TRACEQL_STRING;
        out->idx = c->has_dict ? values : NULL;
        out->dict = c->has_dict ? c->dict : values;
        out->dict_count = c->has_dict ? c->dict_count : p.count;
        break;
    default:
        COPY((int64_t *)values, c->v.i64)
        out->type = TRACEQL_INT;
        out->i64 = values;
        break;
    }
    return 0;
}
