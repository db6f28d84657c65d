/* Comparing values of single spans: for groups, aggregates and scalar filters. */
#include "traceql/row.h"

#include <math.h>

#include "traceql/value.h"

/* The next visible element from i on; s->end when there is none. */
static uint32_t next_element(const struct seen *s, uint32_t i)
{
    while (i < s->end && !s->mask[i])
        i++;
    return i;
}

struct traceql_value seen_element(const struct seen *s, uint32_t i)
{
    const struct traceql_values *v = s->array;
    struct traceql_value out = {.type = v->type};
    if (v->type == TRACEQL_STRING)
        out.str = v->idx ? v->dict[v->idx[i]] : v->dict[i];
    else if (v->type == TRACEQL_FLOAT)
        out.f64 = v->f64[i];
    else if (v->type == TRACEQL_BOOL)
        out.b = v->b[i];
    else
        out.i64 = v->i64[i];
    return out;
}

/* ---- same ---- */

static bool arrays_same(const struct seen *a, const struct seen *b)
{
    if (a->array->type != b->array->type)
        return false;
    uint32_t i = next_element(a, a->first), k = next_element(b, b->first);
    while (i < a->end && k < b->end) {
        struct traceql_value x = seen_element(a, i), y = seen_element(b, k);
        if (!value_same(&x, &y))
            return false;
        i = next_element(a, i + 1);
        k = next_element(b, k + 1);
    }
    return i >= a->end && k >= b->end;
}

bool seen_same(const struct seen *a, const struct seen *b)
{
    if (!a->array != !b->array)
        return false;
    return a->array ? arrays_same(a, b) : value_same(&a->scalar, &b->scalar);
}

/* ---- hash ---- */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, struct slice s)
{
    uint64_t word;
    h = mix(h + s.len);
    for (; s.len >= sizeof word; s = slice_from(s, sizeof word)) {
        memcpy(&word, s.ptr, sizeof word);
        h = mix(h ^ word);
    }
    word = 0;
    if (s.len)
        memcpy(&word, s.ptr, s.len);
    return mix(h ^ word);
}

static uint64_t hash_value(uint64_t h, const struct traceql_value *v)
{
    uint64_t bits = 0;
    h = mix(h + (uint64_t)v->type);
    switch (v->type) {
    case TRACEQL_NIL:
        return h;
    case TRACEQL_STRING:
        return hash_bytes(h, v->str);
    case TRACEQL_BOOL:
        return mix(h ^ v->b);
    case TRACEQL_FLOAT:
        memcpy(&bits, &v->f64, sizeof bits);
        return mix(h ^ bits);
    default:
        return mix(h ^ (uint64_t)v->i64);
    }
}

uint64_t seen_hash(const struct seen *s)
{
    uint64_t h = s->array ? 1 : 0;
    if (!s->array)
        return hash_value(h, &s->scalar);
    for (uint32_t i = next_element(s, s->first); i < s->end; i = next_element(s, i + 1)) {
        struct traceql_value v = seen_element(s, i);
        h = hash_value(h, &v);
    }
    return h;
}

/* ---- order ---- */

static int type_rank(const struct seen *s)
{
    static const int scalars[] = {
        [TRACEQL_NIL] = 0,  [TRACEQL_INT] = 1,      [TRACEQL_FLOAT] = 2,   [TRACEQL_STRING] = 3,
        [TRACEQL_BOOL] = 4, [TRACEQL_DURATION] = 9, [TRACEQL_STATUS] = 10, [TRACEQL_KIND] = 11,
    };
    if (!s->array)
        return scalars[s->scalar.type];
    return scalars[s->array->type] + 4; /* arrays stand behind bools in the same order */
}

static int float_cmp(double a, double b)
{
    if (isnan(a) || isnan(b))
        return !isnan(a) - !isnan(b); /* NaN is below all others */
    return (a > b) - (a < b);
}

/* Statuses are ordered error, ok, unset, which is OTLP's numbers turned around. Kinds stand as they
 * are numbered. */
static int scalar_cmp(const struct traceql_value *a, const struct traceql_value *b)
{
    switch (a->type) {
    case TRACEQL_STRING:
        return slice_cmp(a->str, b->str);
    case TRACEQL_FLOAT:
        return float_cmp(a->f64, b->f64);
    case TRACEQL_BOOL:
        return a->b - b->b;
    case TRACEQL_STATUS:
        return (a->i64 < b->i64) - (a->i64 > b->i64);
    default:
        return (a->i64 > b->i64) - (a->i64 < b->i64);
    }
}

int seen_order(const struct seen *a, const struct seen *b)
{
    int x = type_rank(a), y = type_rank(b);
    bool numbers = !a->array && !b->array && traceql_type_numeric(a->scalar.type) &&
                   traceql_type_numeric(b->scalar.type);
    if (x == y)
        return a->array || a->scalar.type == TRACEQL_NIL ? 0 : scalar_cmp(&a->scalar, &b->scalar);
    if (numbers)
        return float_cmp(value_number(&a->scalar), value_number(&b->scalar));
    return x < y ? -1 : 1;
}

/* ---- copies and comparisons ---- */

int seen_values(struct traceql_view *v, const struct seen *s, const struct traceql_value **out,
                uint32_t *count, struct err *err)
{
    uint32_t n = s->array ? 0 : 1;
    for (uint32_t i = s->array ? next_element(s, s->first) : s->end; i < s->end;
         i = next_element(s, i + 1))
        n++;
    struct traceql_value *values = arena_array(v->arena, struct traceql_value, n);
    if (!values)
        return arena_err(v->arena, err, "the spansets of a batch");
    *out = values;
    *count = n;
    if (!s->array)
        *values = s->scalar;
    for (uint32_t i = s->array ? next_element(s, s->first) : s->end; i < s->end;
         i = next_element(s, i + 1))
        *values++ = seen_element(s, i);
    return 0;
}

int seen_compare(const struct seen *s, enum traceql_op op, const struct traceql_value *literal,
                 bool *out, struct err *err)
{
    struct traceql_value holds;
    int rc = 0;
    *out = false;
    if (!s->array) {
        rc = value_binary(op, &s->scalar, literal, &holds, err);
        *out = rc == 0 && holds.b;
        return rc;
    }
    for (uint32_t i = next_element(s, s->first); i < s->end && rc == 0 && !*out;
         i = next_element(s, i + 1)) {
        struct traceql_value v = seen_element(s, i);
        rc = value_binary(op, &v, literal, &holds, err);
        *out = rc == 0 && holds.b;
    }
    return rc;
}
