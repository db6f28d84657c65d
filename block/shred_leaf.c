/* The shredder's growing columns: levels, values, dictionaries, and text made fit for them. */
#include "block/shred_priv.h"

#include "base/text.h"

/* Entries of the first table of a dictionary. A power of two. */
#define TABLE_SLOTS_FIRST 64

bool levels_grow(struct levels *l, size_t more)
{
    uint32_t cap_rep = l->cap, cap_def = l->cap;
    if (!vec_grow_to((void **)&l->rep, &cap_rep, l->count, more, 1) ||
        !vec_grow_to((void **)&l->def, &cap_def, l->count, more, 1))
        return false; /* rep may be the longer one now; cap still holds for both */
    l->cap = cap_def;
    return true;
}

bool leaf_grow(struct shred_leaf *l, size_t more, size_t size)
{
    return vec_grow_to(&l->v.any, &l->cap, l->values, more, size);
}

bool leaf_own_def(struct shred_leaf *l, uint32_t entry)
{
    assert(!l->owns_rep);
    vec_reset(&l->def);
    if (!vec_reserve(&l->def, (size_t)entry + LEVEL_SLACK))
        return false;
    if (entry)
        memcpy(l->def.at, l->levels->def, entry);
    l->def.count = l->synced = entry;
    l->owns_def = true;
    return true;
}

bool leaf_own_rep(struct shred_leaf *l, uint32_t entry)
{
    if (!l->owns_def && !leaf_own_def(l, entry))
        return false;
    if (l->owns_rep)
        return true;
    /* So far the leaf had one entry for each of its place's, with the same repetition level. */
    if (!vec_reserve(&l->rep, l->synced))
        return false;
    if (l->synced)
        memcpy(l->rep.at, l->levels->rep, l->synced);
    l->rep.count = l->synced;
    l->owns_rep = true;
    return true;
}

bool leaf_skip_rep(struct shred_leaf *l, uint32_t entry)
{
    uint32_t gap = entry - l->synced;
    if (!vec_reserve(&l->rep, (size_t)gap + 1))
        return false;
    if (gap)
        memcpy(l->rep.at + l->rep.count, l->levels->rep + l->synced, gap);
    l->rep.count += gap;
    return true;
}

void dict_reset(struct dict *d)
{
    if (d->table && d->values.count)
        memset(d->table, 0, ((size_t)d->mask + 1) * sizeof *d->table);
    vec_reset(&d->values);
}

void dict_clear(struct dict *d)
{
    free(d->table);
    d->table = NULL;
    d->mask = 0;
    vec_free(&d->values);
}

static void table_put(uint64_t *table, uint32_t mask, uint64_t slot)
{
    uint32_t i = (uint32_t)(slot >> 32) & mask;
    while (table[i])
        i = (i + 1) & mask;
    table[i] = slot;
}

/* Room in the table for one more: at most half of it is used. */
static bool table_reserve(struct dict *d)
{
    size_t slots = d->table ? (size_t)d->mask + 1 : 0;
    if ((size_t)d->values.count + 1 <= slots / 2)
        return true;
    size_t more = slots ? slots * 2 : TABLE_SLOTS_FIRST;
    if (more > (size_t)1 << 32)
        return false;
    uint64_t *table = calloc(more, sizeof *table);
    if (!table)
        return false;
    for (size_t i = 0; i < slots; i++) {
        if (d->table[i])
            table_put(table, (uint32_t)(more - 1), d->table[i]);
    }
    free(d->table);
    d->table = table;
    d->mask = (uint32_t)(more - 1);
    return true;
}

static bool is_ascii(struct slice v)
{
    uint64_t bits = 0;
    size_t i = 0;
    for (; i + 8 <= v.len; i += 8)
        bits |= load_u64le(v.ptr + i);
    for (; i < v.len; i++)
        bits |= v.ptr[i];
    return (bits & UINT64_C(0x8080808080808080)) == 0;
}

/* Each byte that begins no valid sequence becomes U+FFFD, as Go does it. Result in s->scratch. */
static int repair(struct shredder *s, struct slice v)
{
    buf_reset(&s->scratch);
    while (v.len) {
        size_t good = utf8_prefix(v, v.len);
        int rc = buf_append(&s->scratch, v.ptr, good);
        if (rc == 0 && good < v.len) {
            rc = buf_append(&s->scratch, "\xef\xbf\xbd", 3);
            good++;
        }
        if (rc < 0)
            return rc;
        v = slice_from(v, good);
    }
    return 0;
}

int shred_text_repair(struct shredder *s, struct slice v, struct slice *out)
{
    *out = v;
    s->text_bytes += v.len;
    if (is_ascii(v) || utf8_valid(v))
        return 0;
    int rc = repair(s, v);
    if (rc < 0)
        return rc;
    return arena_slice(s->arena, buf_view(&s->scratch), out) ? 0 : ERR_LIMIT;
}

int dict_add(struct shredder *s, struct dict *d, struct slice v, uint32_t hash, uint32_t *out)
{
    if (!is_ascii(v) && !utf8_valid(v)) {
        /* The table holds repaired strings only, so this one is repaired each time it comes. */
        int rc = repair(s, v);
        if (rc < 0)
            return rc;
        hash = shred_hash(s, buf_view(&s->scratch));
        *out = dict_find(d, buf_view(&s->scratch), hash);
        if (*out != SHRED_NONE)
            return 0;
        if (!arena_slice(s->arena, buf_view(&s->scratch), &v))
            return ERR_LIMIT;
    }
    if (!table_reserve(d) || !vec_push(&d->values, v))
        return ERR_NOMEM;
    table_put(d->table, d->mask, (uint64_t)hash << 32 | d->values.count);
    s->text_bytes += v.len + 4;
    *out = d->values.count - 1;
    return 0;
}
