/* `value op literal` over whole vectors: one byte a value. Private to the room and its tests. */
#ifndef TRACEQL_PREDICATE_H
#define TRACEQL_PREDICATE_H

#include "traceql/ast.h"
#include "traceql/regex.h"

/* Longest id as text; longer stored ids are cut. */
#define ID_TEXT_BYTES 64

/* Byte vectors that steps use one after the other, so that a long query needs no more memory than a
 * short one. */
enum scratch_slot {
    SCRATCH_DICT,
    SCRATCH_HOLDS,
    SCRATCH_TRUTH,
    SCRATCH_FOUND,
    SCRATCH_DONE,
    SCRATCH_ACTIVE,
    SCRATCH_MARK,
    SCRATCH_LEFT, /* tables of one spanset: keys, groups */
    SCRATCH_RIGHT,
    SCRATCHES
};
struct scratch {
    struct arena *arena;
    uint8_t *at[SCRATCHES];
    size_t bytes[SCRATCHES];
};
/* n zero bytes, good until the slot is asked for again. NULL: the arena is full. */
uint8_t *scratch_zeroed(struct scratch *s, enum scratch_slot slot, size_t n);

struct predicate {
    enum traceql_op op; /* NONE: holds for every value; else a comparison */
    struct traceql_value literal;
    struct regex *re; /* of =~ and !~ */
    /* Durations are ordered as doubles by the engine, as integers by storage. */
    bool as_double;
    enum traceql_intrinsic
        id; /* one of the id intrinsics: values are raw bytes, compared as text */
};

/* out[i] |= value i satisfies p. Values whose type the literal does not fit satisfy nothing. Uses
 * SCRATCH_DICT, a byte per dictionary entry. */
ERR_MUST_CHECK int predicate_apply(const struct predicate *p, const struct traceql_values *v,
                                   struct scratch *scratch, uint8_t *out, struct err *err);
/* holds[i]: dict[i] satisfies p, whose literal is a string. *any: some do. */
ERR_MUST_CHECK int predicate_dictionary(const struct predicate *p, const struct slice *dict,
                                        uint32_t count, uint8_t *holds, bool *any, struct err *err);
/* Whether the literal's type fits values of that type at all. */
bool predicate_fits(const struct predicate *p, enum traceql_type values);
ERR_MUST_CHECK int predicate_string(const struct predicate *p, struct slice s, bool *out,
                                    struct err *err);

static inline bool intrinsic_is_id(enum traceql_intrinsic i)
{
    return i == TRACEQL_SPAN_ID || i == TRACEQL_TRACE_ID || i == TRACEQL_LINK_TRACE_ID ||
           i == TRACEQL_LINK_SPAN_ID || i == TRACEQL_SPAN_PARENT_ID;
}

static inline bool intrinsic_is_span_id(enum traceql_intrinsic i)
{
    return i == TRACEQL_SPAN_ID || i == TRACEQL_LINK_SPAN_ID || i == TRACEQL_SPAN_PARENT_ID;
}

/* An id as queries see it: 16 digits for span ids, no leading zeros for trace ids. */
struct slice id_text(enum traceql_intrinsic i, struct slice bytes, char out[ID_TEXT_BYTES]);

/* What storage compares: the literal as bytes without leading zeros. False: the literal is no id,
 * and storage accepts every value. */
struct id_literal {
    uint8_t bytes[16];
    size_t len;
};
bool id_parse(enum traceql_intrinsic i, struct slice text, struct id_literal *out);
/* out[i] |= the stored id equals (differs from) the literal. */
void id_apply(const struct id_literal *id, bool equal, const struct traceql_values *v,
              uint8_t *out);

#endif
