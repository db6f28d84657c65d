/* The slow evaluator's halves: naive_eval.c (conditions, storage, expressions, on one span) and
 * naive_pipeline.c (spansets). */
#ifndef TESTS_SUPPORT_NAIVE_PRIV_H
#define TESTS_SUPPORT_NAIVE_PRIV_H

#include "tests/support/naive_eval.h"
#include "traceql/predicate.h"
#include "traceql/value.h"

#define ENTRIES 64
#define CONDITIONS 64

struct condition {
    struct expr_attr attr;
    enum traceql_op op;
    struct traceql_value literal;
    bool structural; /* fetched for an operator between spansets, not shown */
};

/* nil: no values; an array: several. */
struct many {
    uint32_t count;
    struct traceql_value v[MODEL_VALUES];
};

struct entry_of {
    enum traceql_intrinsic intrinsic;
    struct slice name;
    struct many value;
};

struct entries {
    uint32_t count;
    struct entry_of at[ENTRIES];
};

/* One pass over storage: the conditions, and what of a span they show. */
struct naive {
    const struct model *m;
    struct arena *arena;
    struct condition conditions[CONDITIONS];
    uint32_t condition_count;
    bool all;
    bool failed;
    uint32_t span;                       /* at hand */
    struct entries seen[TRACEQL_LEVELS]; /* of it */
    struct slice patterns[32];
    struct regex *regexes[32];
    uint32_t pattern_count;
};

/* Adds a condition as a query states it. */
void naive_want(struct naive *n, const struct expr_attr *attr, enum traceql_op op,
                struct traceql_value literal);
void naive_wants_of(struct naive *n, const struct expr *e);
/* After all conditions are there: merges what can be merged, sees whether all are required. */
void naive_settle(struct naive *n);
/* Fills n->seen; is the span a candidate? */
bool naive_look_at(struct naive *n, uint32_t span);
/* Of the span that was looked at last. */
struct many naive_expr(struct naive *n, const struct expr *e);
struct many naive_binary(struct naive *n, const struct expr *e, const struct many *l,
                         const struct many *r);
/* What a result shows: the first pass's entries as far as the second one does not read the same
 * field, then the second's. second: NULL, or a pass that looked at the same span. */
char *naive_shown(const struct naive *first, const struct naive *second, uint32_t span);
enum traceql_level naive_level(const struct expr_attr *a);

#endif
