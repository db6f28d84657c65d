/* Comparisons over whole vectors. The loops over numbers are plain so that the compiler turns them
 * into vector code; a string is compared once per dictionary entry, however often it occurs. */
#include "traceql/predicate.h"

#include "base/text.h"
#include "traceql/value.h"

uint8_t *scratch_zeroed(struct scratch *s, enum scratch_slot slot, size_t n)
{
    if (s->bytes[slot] < n || !s->at[slot]) {
        /* Twice as much as before, so that growing bit by bit wastes no more than it uses. */
        size_t room = n < 2 * s->bytes[slot] ? 2 * s->bytes[slot] : n;
        uint8_t *more = arena_alloc(s->arena, room);
        if (!more)
            return NULL;
        s->at[slot] = more;
        s->bytes[slot] = room;
    }
    memset(s->at[slot], 0, n);
    return s->at[slot];
}

/* ---- numbers ---- */

/* `value` is an expression in i. */
#define LOOP(value, operator)                                                                      \
    for (uint32_t i = 0; i < count; i++) {                                                         \
        out[i] |= (uint8_t)((value) operator x);                                                   \
    }                                                                                              \
    break

#define COMPARE(value)                                                                             \
    switch (op) {                                                                                  \
    case TRACEQL_OP_EQ:                                                                            \
        LOOP(value, ==);                                                                           \
    case TRACEQL_OP_NE:                                                                            \
        LOOP(value, !=);                                                                           \
    case TRACEQL_OP_LT:                                                                            \
        LOOP(value, <);                                                                            \
    case TRACEQL_OP_LE:                                                                            \
        LOOP(value, <=);                                                                           \
    case TRACEQL_OP_GT:                                                                            \
        LOOP(value, >);                                                                            \
    case TRACEQL_OP_GE:                                                                            \
        LOOP(value, >=);                                                                           \
    default:                                                                                       \
        break;                                                                                     \
    }

static void compare_ints(const int64_t *restrict v, uint32_t count, enum traceql_op op, int64_t x,
                         uint8_t *restrict out)
{
    COMPARE(v[i])
}

static void compare_floats(const double *restrict v, uint32_t count, enum traceql_op op, double x,
                           uint8_t *restrict out)
{
    COMPARE(v[i])
}

static void compare_ints_as_doubles(const int64_t *restrict v, uint32_t count, enum traceql_op op,
                                    double x, uint8_t *restrict out)
{
    COMPARE((double)v[i])
}

static void compare_bools(const uint8_t *restrict v, uint32_t count, enum traceql_op op, bool x,
                          uint8_t *restrict out)
{
    uint8_t flip = (op == TRACEQL_OP_EQ) != x;
    for (uint32_t i = 0; i < count; i++)
        out[i] |= v[i] ^ flip;
}

/* Integers and durations are compared as integers; where one of them is a duration, order goes by
 * way of doubles, which matters beyond 2^53 only. */
static void apply_ints(const struct predicate *p, const struct traceql_values *v, uint8_t *out)
{
    int64_t x = p->literal.i64;
    bool order = p->op >= TRACEQL_OP_LT && p->op <= TRACEQL_OP_GE;
    bool large = x >= INT64_C(1) << 53 || x <= -(INT64_C(1) << 53);
    if (p->literal.type == TRACEQL_FLOAT)
        compare_ints_as_doubles(v->i64, v->count, p->op, p->literal.f64, out);
    else if (p->as_double && order && large)
        compare_ints_as_doubles(v->i64, v->count, p->op, (double)x, out);
    else
        compare_ints(v->i64, v->count, p->op, x, out);
}

/* ---- strings ---- */

struct slice id_text(enum traceql_intrinsic i, struct slice bytes, char out[ID_TEXT_BYTES])
{
    bool span = intrinsic_is_span_id(i);
    if (bytes.len > ID_TEXT_BYTES / 2)
        bytes.len = ID_TEXT_BYTES / 2;
    size_t len = 2 * bytes.len;
    if (span && len < 16) {
        memset(out, '0', 16 - len);
        hex_encode(bytes, out + 16 - len);
        return slice_of(out, 16);
    }
    hex_encode(bytes, out);
    size_t zeros = 0;
    while (!span && zeros < len && out[zeros] == '0')
        zeros++;
    return slice_of(out + zeros, len - zeros);
}

int predicate_string(const struct predicate *p, struct slice s, bool *out, struct err *err)
{
    char text[ID_TEXT_BYTES];
    if (p->id != TRACEQL_ATTRIBUTE)
        s = id_text(p->id, s, text);
    if (p->op == TRACEQL_OP_RE || p->op == TRACEQL_OP_NRE) {
        int rc = regex_match(p->re, s, out, err);
        *out = *out == (p->op == TRACEQL_OP_RE);
        return rc;
    }
    struct traceql_value value = {.type = TRACEQL_STRING, .str = s};
    *out = value_compare(p->op, &value, &p->literal);
    return 0;
}

int predicate_dictionary(const struct predicate *p, const struct slice *dict, uint32_t count,
                         uint8_t *holds, bool *any, struct err *err)
{
    *any = false;
    for (uint32_t i = 0; i < count; i++) {
        bool b = false;
        int rc = predicate_string(p, dict[i], &b, err);
        if (rc < 0)
            return rc;
        holds[i] = (uint8_t)b;
        *any |= b;
    }
    return 0;
}

static int apply_strings(const struct predicate *p, const struct traceql_values *v,
                         struct scratch *scratch, uint8_t *out, struct err *err)
{
    uint32_t count = v->idx ? v->dict_count : v->count;
    uint8_t *holds = scratch_zeroed(scratch, SCRATCH_DICT, count);
    bool any;
    if (!holds)
        return arena_err(scratch->arena, err, "a dictionary's answers");
    int rc = predicate_dictionary(p, v->dict, count, holds, &any, err);
    for (uint32_t i = 0; rc == 0 && any && i < v->count; i++)
        out[i] |= holds[v->idx ? v->idx[i] : i];
    return rc;
}

/* ---- all types ---- */

/* Does the literal's type fit what the vector holds? Which types an operator may meet is the
 * caller's business. */
static bool fits(enum traceql_type values, enum traceql_type literal)
{
    switch (values) {
    case TRACEQL_INT:
        return literal != TRACEQL_STRING && literal != TRACEQL_BOOL && literal != TRACEQL_NIL;
    case TRACEQL_FLOAT:
        return traceql_type_numeric(literal);
    default:
        return values == literal;
    }
}

bool predicate_fits(const struct predicate *p, enum traceql_type values)
{
    return fits(values, p->literal.type);
}

int predicate_apply(const struct predicate *p, const struct traceql_values *v,
                    struct scratch *scratch, uint8_t *out, struct err *err)
{
    if (p->op == TRACEQL_OP_NONE) {
        memset(out, 1, v->count);
        return 0;
    }
    if (v->count == 0 || !predicate_fits(p, v->type))
        return 0;
    switch (v->type) {
    case TRACEQL_INT:
        apply_ints(p, v, out);
        return 0;
    case TRACEQL_FLOAT:
        compare_floats(v->f64, v->count, p->op, value_number(&p->literal), out);
        return 0;
    case TRACEQL_BOOL:
        compare_bools(v->b, v->count, p->op, p->literal.b, out);
        return 0;
    default:
        return apply_strings(p, v, scratch, out, err);
    }
}

/* ---- ids, as storage compares them ---- */

static struct slice without_zeros(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] == 0)
        n++;
    return slice_from(s, n);
}

bool id_parse(enum traceql_intrinsic i, struct slice text, struct id_literal *out)
{
    bool span = intrinsic_is_span_id(i);
    char padded[33];
    while (span && text.len && text.ptr[0] == '0')
        text = slice_from(text, 1);
    if (text.len > (span ? 16 : 32))
        return false;
    size_t odd = text.len & 1;
    padded[0] = '0';
    if (text.len)
        memcpy(padded + odd, text.ptr, text.len);
    uint8_t bytes[16];
    struct slice hex = slice_of(padded, text.len + odd);
    if (hex.len && !hex_decode(hex, bytes))
        return false;
    struct slice id = without_zeros(slice_of(bytes, hex.len / 2));
    out->len = id.len;
    if (id.len)
        memcpy(out->bytes, id.ptr, id.len);
    return true;
}

void id_apply(const struct id_literal *id, bool equal, const struct traceql_values *v, uint8_t *out)
{
    struct slice want = slice_of(id->bytes, id->len);
    for (uint32_t i = 0; i < v->count; i++) {
        struct slice s = v->idx ? v->dict[v->idx[i]] : v->dict[i];
        out[i] |= (uint8_t)(slice_eq(without_zeros(s), want) == equal);
    }
}
