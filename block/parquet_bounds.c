/* Smallest and largest values, for chunk statistics and the column index: what lets a reader skip.
 * A bound that is wrong makes readers lose data, so where an exact one cannot be told (NaN, a
 * maximum that cannot be raised) the bound is loose or whole. */
#include "block/parquet_write_priv.h"

#include "base/cursor.h"
#include "block/block_limits.h"

#include <assert.h>
#include <math.h>

static_assert(LIMIT_PARQUET_INDEX_BOUND_BYTES == 16, "bound_cut_max is given room for 16 bytes");

#define BOUNDS_OF_NUMBERS(NAME, TYPE, CMP_TYPE)                                                    \
    static struct bounds NAME(const TYPE *v, uint32_t count) {                                     \
        CMP_TYPE min = (CMP_TYPE)v[0];                                                             \
        CMP_TYPE max = (CMP_TYPE)v[0];                                                             \
        for (uint32_t i = 1; i < count; i++) {                                                     \
            CMP_TYPE x = (CMP_TYPE)v[i];                                                           \
            min = x < min ? x : min;                                                               \
            max = x > max ? x : max;                                                               \
        }                                                                                          \
        struct bounds b = {.any = true};                                                           \
        memcpy(b.min.fixed, &min, sizeof min);                                                     \
        memcpy(b.max.fixed, &max, sizeof max);                                                     \
        return b;                                                                                  \
    }

BOUNDS_OF_NUMBERS(bounds_i32, int32_t, int32_t)
BOUNDS_OF_NUMBERS(bounds_u32, int32_t, uint32_t)
BOUNDS_OF_NUMBERS(bounds_i64, int64_t, int64_t)
BOUNDS_OF_NUMBERS(bounds_u64, int64_t, uint64_t)
BOUNDS_OF_NUMBERS(bounds_bool, uint8_t, uint8_t)

static struct bounds bounds_f64(const double *v, uint32_t count)
{
    double min = INFINITY;
    double max = -INFINITY;
    bool nan = false;
    for (uint32_t i = 0; i < count; i++) {
        nan |= isnan(v[i]);
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    if (nan) {
        min = -INFINITY;
        max = INFINITY;
    }
    /* The two zeros are equal to queries but not to every reader's comparison. */
    if (min == 0)
        min = -0.0;
    if (max == 0)
        max = 0.0;
    struct bounds b = {.any = true, .loose = nan};
    memcpy(b.min.fixed, &min, sizeof min);
    memcpy(b.max.fixed, &max, sizeof max);
    return b;
}

/* The first eight bytes as a number, zeros behind a shorter string: where these differ, strings are
 * in the same order, and most need no more than this. */
static inline uint64_t lead_of(struct slice s)
{
    uint64_t v = 0;
    if (s.len >= sizeof v)
        memcpy(&v, s.ptr, sizeof v);
    else if (s.len > 0)
        memcpy(&v, s.ptr, s.len);
    return __builtin_bswap64(v);
}

struct extremes {
    struct slice min, max;
    uint64_t min_lead, max_lead;
};

static struct extremes extremes_of(struct slice v)
{
    return (struct extremes){.min = v, .max = v, .min_lead = lead_of(v), .max_lead = lead_of(v)};
}

static inline void extremes_add(struct extremes *e, struct slice v)
{
    uint64_t lead = lead_of(v);
    if (lead < e->min_lead || (lead == e->min_lead && slice_cmp(v, e->min) < 0)) {
        e->min = v;
        e->min_lead = lead;
    } else if (lead > e->max_lead || (lead == e->max_lead && slice_cmp(v, e->max) > 0)) {
        e->max = v;
        e->max_lead = lead;
    }
}

static struct bounds bounds_slices(const struct slice *v, uint32_t count)
{
    struct extremes e = extremes_of(v[0]);
    for (uint32_t i = 1; i < count; i++)
        extremes_add(&e, v[i]);
    return (struct bounds){.any = true, .min.bytes = e.min, .max.bytes = e.max};
}

/* Each entry is compared once, however often it stands in the page. */
static struct bounds bounds_indices(const struct column *c, const uint32_t *idx, uint32_t count,
                                    uint8_t *seen)
{
    for (uint32_t i = 0; i < count; i++) {
        assert(idx[i] < c->dict_count);
        seen[idx[i]] = 1;
    }
    struct extremes e = extremes_of(c->dict[idx[0]]);
    for (uint32_t at = 0; at < c->dict_count;) {
        if (c->dict_count - at >= 8 && load_u64le(seen + at) == 0) {
            at += 8;
            continue;
        }
        if (seen[at]) {
            seen[at] = 0;
            extremes_add(&e, c->dict[at]);
        }
        at++;
    }
    return (struct bounds){.any = true, .min.bytes = e.min, .max.bytes = e.max};
}

struct bounds bounds_of(const struct parquet_node *node, const struct column *c, uint32_t first,
                        uint32_t count, uint8_t *seen)
{
    bool is_unsigned = node->logical == PARQUET_UNSIGNED;
    if (count == 0)
        return (struct bounds){0};
    switch (c->type) {
    case COLUMN_BOOL:
        return bounds_bool(c->v.b + first, count);
    case COLUMN_I32:
        return is_unsigned ? bounds_u32(c->v.i32 + first, count)
                           : bounds_i32(c->v.i32 + first, count);
    case COLUMN_I64:
        return is_unsigned ? bounds_u64(c->v.i64 + first, count)
                           : bounds_i64(c->v.i64 + first, count);
    case COLUMN_F64:
        return bounds_f64(c->v.f64 + first, count);
    case COLUMN_BYTES:
        break;
    }
    return c->has_dict ? bounds_indices(c, c->v.idx + first, count, seen)
                       : bounds_slices(c->v.bytes + first, count);
}

struct slice bound_view(const struct parquet_node *node, const struct bound *b)
{
    switch (node->type) {
    case PARQUET_BOOLEAN:
        return slice_of(b->fixed, 1);
    case PARQUET_INT32:
        return slice_of(b->fixed, 4);
    case PARQUET_BYTE_ARRAY:
        return b->bytes;
    default:
        return slice_of(b->fixed, 8);
    }
}

static int cmp_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int bound_cmp(const struct parquet_node *node, struct slice a, struct slice b)
{
    /* Flipping the sign bit turns the signed order into the unsigned one. */
    uint32_t flip32 = node->logical == PARQUET_UNSIGNED ? 0 : UINT32_C(1) << 31;
    uint64_t flip64 = node->logical == PARQUET_UNSIGNED ? 0 : UINT64_C(1) << 63;
    double x, y;
    switch (node->type) {
    case PARQUET_INT32:
        return cmp_u64(load_u32le(a.ptr) ^ flip32, load_u32le(b.ptr) ^ flip32);
    case PARQUET_INT64:
        return cmp_u64(load_u64le(a.ptr) ^ flip64, load_u64le(b.ptr) ^ flip64);
    case PARQUET_DOUBLE:
        memcpy(&x, a.ptr, sizeof x);
        memcpy(&y, b.ptr, sizeof y);
        return (x > y) - (x < y);
    default:
        return slice_cmp(a, b);
    }
}

void bounds_add(const struct parquet_node *node, struct bounds *to, const struct bounds *from)
{
    if (!from->any)
        return;
    if (!to->any) {
        *to = *from;
        return;
    }
    to->loose |= from->loose;
    if (bound_cmp(node, bound_view(node, &from->min), bound_view(node, &to->min)) < 0)
        to->min = from->min;
    if (bound_cmp(node, bound_view(node, &from->max), bound_view(node, &to->max)) > 0)
        to->max = from->max;
}

struct slice bound_cut_min(const struct parquet_node *node, struct slice min)
{
    if (node->type == PARQUET_BYTE_ARRAY && min.len > LIMIT_PARQUET_INDEX_BOUND_BYTES)
        min.len = LIMIT_PARQUET_INDEX_BOUND_BYTES;
    return min;
}

struct slice bound_cut_max(const struct parquet_node *node, struct slice max, uint8_t room[16])
{
    if (node->type != PARQUET_BYTE_ARRAY || max.len <= LIMIT_PARQUET_INDEX_BOUND_BYTES)
        return max;
    memcpy(room, max.ptr, LIMIT_PARQUET_INDEX_BOUND_BYTES);
    for (size_t i = LIMIT_PARQUET_INDEX_BOUND_BYTES; i-- > 0;) {
        if (++room[i] != 0)
            return slice_of(room, LIMIT_PARQUET_INDEX_BOUND_BYTES);
    }
    return max; /* sixteen times ff: nothing of that length is larger */
}
