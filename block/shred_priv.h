/* Inside the shredder: growing columns.
 *
 * Most leaves of one place in the schema have the same levels: every required leaf of a span has
 * one entry per span, and an optional or list leaf that is not used has its parent's entries. So
 * levels are kept once per place (struct levels), leaves point to them, and a leaf gets levels of
 * its own only from its first value on that tells it apart. */
#ifndef BLOCK_SHRED_PRIV_H
#define BLOCK_SHRED_PRIV_H

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/column.h"
#include "base/cursor.h"
#include "block/block_schema.h"
#include "block/nested_set.h"
#include "block/shred.h"

#define SHRED_NONE UINT32_MAX

/* Text that the shredder makes itself: ids in hex, JSON, repaired UTF-8. It stays below six times
 * the bytes of the spans. Hit: ERR_LIMIT, the row group must be cut. */
#define LIMIT_SHRED_TEXT_BYTES ((size_t)4 << 30)

/* Levels are written eight at a time, past the end: so many bytes stand behind. */
#define LEVEL_SLACK 8

struct levels {
    uint8_t *rep;
    uint8_t *def;
    uint32_t count;
    uint32_t cap;
};

/* Distinct strings in order of first appearance. */
struct dict {
    VEC(struct slice) values;
    uint64_t *table; /* hash << 32 | index + 1, or 0 */
    uint32_t mask;
};

/* Places in the schema whose leaves share levels. */
enum shred_place {
    PLACE_STATS,
    PLACE_RESOURCE,
    PLACE_SCOPE,
    PLACE_SPAN,
    PLACE_EVENT,
    PLACE_LINK,
    PLACE_RESOURCE_ATTRS,
    PLACE_SCOPE_ATTRS,
    PLACE_SPAN_ATTRS,
    PLACE_EVENT_ATTRS,
    PLACE_LINK_ATTRS,
    PLACES
};

struct shred_leaf {
    union {
        uint8_t *b;
        int32_t *i32;
        int64_t *i64;
        double *f64;
        uint32_t *idx;
        struct slice *bytes;
        void *any;
    } v;
    uint32_t values;
    uint32_t cap;
    const struct levels *levels; /* of its place; NULL for leaves of the trace */
    VEC(uint8_t) def;            /* its own, from its first value on: see owns_def */
    VEC(uint8_t) rep;            /* its own, from its first list of several values on */
    uint32_t synced;             /* entries of levels that def and rep stand for, once owned */
    bool owns_def;
    bool owns_rep;
    uint8_t def_max;
    struct dict dict;
};

/* What is known of an attribute key in its place. */
struct attr_key {
    struct slice name;
    uint32_t column_index; /* in the dictionary of the Key column, or SHRED_NONE */
    uint32_t next;         /* the key that came after it last time */
    uint32_t last_value;   /* its last string, in the dictionary of the Value column */
    uint8_t leaf[8];       /* by enum value_type: its static or dedicated leaf, 0 for none */
};

/* Strings on their way into the dictionary of a Value column. Looking one up mostly waits for
 * memory, so a few are hashed and their places in the table fetched before the first is looked up.
 */
#define STRING_QUEUE 16

struct string_queue {
    uint32_t count;
    struct {
        struct slice v;
        uint32_t hash;
        uint32_t key;   /* number of the attribute's key */
        uint32_t index; /* known already, or SHRED_NONE */
    } at[STRING_QUEUE];
};

struct attr_group {
    uint8_t first_leaf;
    uint8_t rep_more;  /* repetition level of an attribute after the first */
    uint8_t def_attr;  /* definition level of an attribute; less one: there is none */
    uint8_t held_leaf; /* the lowest static or dedicated leaf */
    struct levels *levels;
    struct dict names;
    VEC(struct attr_key) keys; /* [0] stands for the start; name i of names is key i + 1 */
    struct string_queue queue;
};

/* Values bound for static and dedicated leaves of the element at hand: a repeated key keeps the
 * last one, so they are set aside until its attributes have been seen. */
struct shred_held {
    uint32_t mask; /* bit i: leaf held_leaf + i */
    const struct value *value[32];
};

struct shredder {
    struct shred_leaf leaf[BLOCK_V4_LEAVES];
    struct levels place[PLACES];
    struct attr_group group[PLACES - PLACE_RESOURCE_ATTRS];
    struct nested_set nested;
    struct shred_held held;
    uint64_t seed;
    struct arena *arena; /* text that is not the caller's */
    struct buf scratch;

    struct block_dedicated *dedicated;
    size_t dedicated_count;

    VEC(uint32_t)
    stats_at; /* by index of a service name: its entry in ServiceStats, if of this row */
    uint32_t stats_first; /* values of ServiceStats before this row */
    uint8_t last_id[16];
    uint32_t rows;
    uint64_t start_ns, end_ns;
    size_t text_bytes; /* of strings stored once each, for shredder_bytes */
    struct column columns[BLOCK_LEAVES]; /* those behind vParquet4's stay empty */
};

/* Functions inside return 0 or ERR_NOMEM or ERR_LIMIT; shredder_add puts the words to it. */

bool levels_grow(struct levels *l, size_t more);
bool leaf_grow(struct shred_leaf *l, size_t more, size_t size);
/* Gives the leaf levels of its own: those of its place before that entry. */
bool leaf_own_def(struct shred_leaf *l, uint32_t entry);
/* Gives it repetition levels as well. */
bool leaf_own_rep(struct shred_leaf *l, uint32_t entry);
/* Room for the repetition levels up to and including that entry, and those before it. */
bool leaf_skip_rep(struct shred_leaf *l, uint32_t entry);
int dict_add(struct shredder *s, struct dict *d, struct slice v, uint32_t hash, uint32_t *out);
void dict_reset(struct dict *d);
void dict_clear(struct dict *d);
/* v itself where it is valid UTF-8, else a repaired copy. */
int shred_text_repair(struct shredder *s, struct slice v, struct slice *out);

int attr_groups_reset(struct shredder *s);
/* An entry that stands for no attributes: of an element without them, or for a missing element. */
int shred_attrs_none(struct shredder *s, struct attr_group *g, uint8_t rep, uint8_t def);
/* Attributes of one element, whose own entry has repetition level rep: fills the seven leaves, and
 * s->held with those that belong elsewhere. */
int shred_attrs(struct shredder *s, struct attr_group *g, const struct span_batch *b,
                struct range attrs, uint8_t rep);
/* Looks up what is queued: the Value column is complete afterwards. */
int shred_strings_flush(struct shredder *s, struct attr_group *g);
/* Writes s->held to optional leaves; the element's entry is the last of its place. */
int shred_held_flush(struct shredder *s, const struct attr_group *g);

static inline bool levels_reserve(struct levels *l, size_t more)
{
    return (size_t)(l->cap - l->count) >= more || levels_grow(l, more);
}

/* The room is there. */
static inline void levels_put(struct levels *l, uint8_t rep, uint8_t def)
{
    l->rep[l->count] = rep;
    l->def[l->count++] = def;
}

#define leaf_reserve(l, more, type)                                                                \
    ((size_t)((l)->cap - (l)->values) >= (size_t)(more) ||                                         \
     leaf_grow((l), (size_t)(more), sizeof(type)))

/* Entries of the leaf without a value, up to that entry of its place. They have the definition
 * level of an element that is there and a list or value that is not. Written eight at a time,
 * without looking at the levels of the place: those bytes were stored a moment ago one by one, and
 * loading them together would wait for the stores. */
static inline bool leaf_skip(struct shred_leaf *l, uint32_t entry)
{
    size_t gap = entry - l->synced;
    if (!vec_reserve(&l->def, gap + LEVEL_SLACK + 1))
        return false;
    uint8_t *def = l->def.at + l->def.count;
    memset(def, l->def_max - 1, LEVEL_SLACK);
    if (gap > LEVEL_SLACK)
        memset(def, l->def_max - 1, gap);
    l->def.count += (uint32_t)gap;
    if (l->owns_rep && !leaf_skip_rep(l, entry))
        return false;
    l->synced = entry;
    return true;
}

/* The leaf has a value at that entry of its place, and entries without value since it was last in
 * step. The caller puts the value. */
static inline bool leaf_put_level(struct shred_leaf *l, uint32_t entry)
{
    if (!l->owns_def && !leaf_own_def(l, entry))
        return false;
    if (!leaf_skip(l, entry))
        return false;
    l->def.at[l->def.count++] = l->def_max;
    if (l->owns_rep)
        l->rep.at[l->rep.count++] = l->levels->rep[entry];
    l->synced = entry + 1;
    return true;
}

static inline uint32_t shred_hash(const struct shredder *s, struct slice v)
{
    return (uint32_t)XXH3_64bits_withSeed(v.ptr, v.len, s->seed);
}

/* slice_eq without a call or a loop for short strings, which most are: the ends may overlap. */
static inline bool shred_same(struct slice a, struct slice b)
{
    size_t n = a.len;
    if (n != b.len)
        return false;
    const uint8_t *p = a.ptr, *q = b.ptr;
    if (n > 32)
        return memcmp(p, q, n) == 0;
    if (n >= 8) {
        uint64_t diff =
            (load_u64le(p) ^ load_u64le(q)) | (load_u64le(p + n - 8) ^ load_u64le(q + n - 8));
        if (n > 16)
            diff |= (load_u64le(p + 8) ^ load_u64le(q + 8)) |
                    (load_u64le(p + n - 16) ^ load_u64le(q + n - 16));
        return diff == 0;
    }
    if (n >= 4)
        return ((load_u32le(p) ^ load_u32le(q)) |
                (load_u32le(p + n - 4) ^ load_u32le(q + n - 4))) == 0;
    return n == 0 || (p[0] == q[0] && p[n / 2] == q[n / 2] && p[n - 1] == q[n - 1]);
}

/* Index of v, or SHRED_NONE. */
static inline uint32_t dict_find(const struct dict *d, struct slice v, uint32_t hash)
{
    if (!d->table)
        return SHRED_NONE;
    for (uint32_t i = hash & d->mask; d->table[i]; i = (i + 1) & d->mask) {
        uint32_t at = (uint32_t)d->table[i] - 1;
        if (d->table[i] >> 32 == hash && shred_same(d->values.at[at], v))
            return at;
    }
    return SHRED_NONE;
}

static inline int dict_intern(struct shredder *s, struct dict *d, struct slice v, uint32_t *out)
{
    uint32_t hash = shred_hash(s, v);
    *out = dict_find(d, v, hash);
    return *out != SHRED_NONE ? 0 : dict_add(s, d, v, hash, out);
}

/* A value of a dictionary leaf; the room for it is there. */
static inline int leaf_put_dict(struct shredder *s, struct shred_leaf *l, struct slice v)
{
    uint32_t at;
    int rc = dict_intern(s, &l->dict, v, &at);
    if (rc == 0)
        l->v.idx[l->values++] = at;
    return rc;
}

static inline int shred_text(struct shredder *s, struct slice v, struct slice *out)
{
    *out = v;
    return v.len == 0 ? 0 : shred_text_repair(s, v, out);
}

#endif
