/* Distinct tags by hash; a total order over them, so that answers come out the same every time. */
#include "query/tag_set.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void tag_set_clear(struct tag_set *s)
{
    vec_free(&s->tags);
    free(s->slots);
    tag_set_init(s, s->arena);
}

/* The bits of a number that are equal exactly when the values are the same. */
static uint64_t number_bits(const struct traceql_value *v)
{
    uint64_t bits = 0;
    switch (v->type) {
    case TRACEQL_FLOAT:
        if (v->f64 != v->f64)
            return UINT64_C(0x7ff8000000000000);
        memcpy(&bits, &v->f64, sizeof bits);
        return bits;
    case TRACEQL_BOOL:
        return v->b;
    case TRACEQL_NIL:
    case TRACEQL_STRING:
        return 0;
    default:
        return (uint64_t)v->i64;
    }
}

static bool same(const struct query_tag *a, const struct query_tag *b)
{
    if (a->level != b->level || a->value.type != b->value.type)
        return false;
    if (a->value.type == TRACEQL_STRING)
        return slice_eq(a->value.str, b->value.str);
    return number_bits(&a->value) == number_bits(&b->value);
}

static uint32_t *find(const struct tag_set *s, const struct query_tag *t)
{
    uint64_t seed = (uint64_t)t->level << 8 | (uint64_t)t->value.type;
    uint64_t bits = number_bits(&t->value);
    uint64_t h = t->value.type == TRACEQL_STRING
                     ? XXH3_64bits_withSeed(t->value.str.ptr, t->value.str.len, seed)
                     : XXH3_64bits_withSeed(&bits, sizeof bits, seed);
    uint32_t i = (uint32_t)h & (s->slot_count - 1);
    while (s->slots[i] != UINT32_MAX && !same(&s->tags.at[s->slots[i]], t))
        i = (i + 1) & (s->slot_count - 1);
    return &s->slots[i];
}

/* Keeps at least half of the slots empty. */
static bool grow(struct tag_set *s)
{
    if (s->slot_count > 2 * (uint64_t)s->tags.count)
        return true;
    if (s->slot_count > UINT32_MAX / 4)
        return false;
    uint32_t count = s->slot_count ? 4 * s->slot_count : 64;
    uint32_t *slots = malloc(count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xff, count * sizeof *slots);
    free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    for (uint32_t i = 0; i < s->tags.count; i++)
        *find(s, &s->tags.at[i]) = i;
    return true;
}

bool tag_set_has(const struct tag_set *s, const struct query_tag *t)
{
    return s->slot_count && *find(s, t) != UINT32_MAX;
}

int tag_set_add(struct tag_set *s, const struct query_tag *t, bool *added, struct err *err)
{
    if (!grow(s))
        return err_set(err, ERR_NOMEM, "no memory for %u tags", s->tags.count);
    uint32_t *slot = find(s, t);
    bool is_new = *slot == UINT32_MAX;
    if (added)
        *added = is_new;
    if (!is_new)
        return 0;
    struct query_tag copy = *t;
    if (t->value.type == TRACEQL_STRING && !arena_slice(s->arena, t->value.str, &copy.value.str))
        return arena_err(s->arena, err, "tags");
    if (!vec_push(&s->tags, copy))
        return err_set(err, ERR_NOMEM, "no memory for %u tags", s->tags.count);
    *slot = s->tags.count - 1;
    return 0;
}

static int cmp_number(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type == TRACEQL_BOOL)
        return (int)a->b - (int)b->b;
    if (a->type != TRACEQL_FLOAT)
        return (a->i64 > b->i64) - (a->i64 < b->i64);
    bool a_nan = a->f64 != a->f64, b_nan = b->f64 != b->f64;
    if (a_nan || b_nan)
        return (int)a_nan - (int)b_nan; /* last */
    if (a->f64 != b->f64)
        return a->f64 < b->f64 ? -1 : 1;
    int64_t x, y; /* -0.0 before 0.0 */
    memcpy(&x, &a->f64, sizeof x);
    memcpy(&y, &b->f64, sizeof y);
    return (x > y) - (x < y);
}

int query_tag_cmp(const struct query_tag *a, const struct query_tag *b)
{
    if (a->level != b->level)
        return a->level < b->level ? -1 : 1;
    if (a->value.type != b->value.type)
        return a->value.type < b->value.type ? -1 : 1;
    if (a->value.type == TRACEQL_NIL)
        return 0;
    return a->value.type == TRACEQL_STRING ? slice_cmp(a->value.str, b->value.str)
                                           : cmp_number(&a->value, &b->value);
}

static int cmp_void(const void *a, const void *b)
{
    return query_tag_cmp(a, b);
}

void tag_set_sort(struct tag_set *s)
{
    if (s->tags.count)
        qsort(s->tags.at, s->tags.count, sizeof s->tags.at[0], cmp_void);
    free(s->slots); /* the indices are wrong now */
    s->slots = NULL;
    s->slot_count = 0;
}

int query_tag_text(const struct traceql_value *v, struct buf *out)
{
    return v->type == TRACEQL_STRING ? buf_slice(out, v->str) : traceql_value_print(v, out);
}

const char *query_tag_type(enum traceql_type type)
{
    switch (type) {
    case TRACEQL_INT:
        return "int";
    case TRACEQL_FLOAT:
        return "float";
    case TRACEQL_BOOL:
        return "bool";
    case TRACEQL_DURATION:
        return "duration";
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        return "keyword";
    case TRACEQL_NIL:
    case TRACEQL_STRING:
        break;
    }
    return "string";
}
