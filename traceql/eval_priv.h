/* The evaluator's inside: eval.c (state, results), visible.c (what conditions let through), truth.c
 * and filter.c (whole columns), row.c (one span at a time), spanset.h (pipelines), pairs.c (what
 * results show). Private to the room and its tests. */
#ifndef TRACEQL_EVAL_PRIV_H
#define TRACEQL_EVAL_PRIV_H

#include "traceql/plan.h"
#include "traceql/predicate.h"

enum { KIND_STRING, KIND_INT, KIND_FLOAT, KIND_BOOL, KINDS }; /* the four lists of an attribute */

/* ---- reads.c: own is, per field, the type of its own column; TRACEQL_NIL: it has none ---- */

/* Which list of an attribute the literal's type is looked for in; KINDS: none. */
int condition_kind(const struct traceql_condition *c);
/* Intrinsics are columns always. Of an attribute with a column, conditions without an operator and
 * those of the column's type read the column, all others the generic list. */
bool reads_column(const struct plan *p, const enum traceql_type *own,
                  const struct traceql_condition *c);
/* Whether some condition on the field reads the generic list. */
bool reads_generic(const struct plan *p, const enum traceql_type *own, uint32_t field);
/* For which types of value the generic list of a level is asked: bits 1 << KIND_…. */
unsigned generic_kinds(const struct plan *p, const enum traceql_type *own,
                       enum traceql_level level);

/* What a condition says of a dictionary's entries. */
struct verdicts {
    const struct slice *dict; /* whose; NULL: of none yet */
    uint32_t count;
    const uint8_t *holds; /* per entry; NULL: of none */
};

/* A condition, ready to run. */
struct filter {
    const struct traceql_condition *condition;
    struct predicate predicate;
    bool is_id; /* predicate is replaced by the comparison of stored bytes */
    struct id_literal id;
    struct verdicts verdicts[4]; /* of columns at hand: the last that were asked for */
    uint8_t next_verdicts;
};

struct traceql_eval {
    const struct traceql_query *query;
    const struct plan *plan;
    struct regex **regexes;      /* by pattern */
    struct filter *filters;      /* by condition */
    struct traceql_eval *second; /* of the second pass; NULL: there is none */
    uint64_t dictionaries;       /* of which the filters have verdicts */
};

/* Entries in the order of storage: an attribute's state in its occurrences. */
enum entry { ENTRY_NONE, ENTRY_NIL, ENTRY_VALUE };

/* A field of a batch: which of its values are visible. */
struct visible {
    const struct traceql_field *field;
    const struct traceql_input *in;
    enum traceql_type type;          /* of the column's values: INT, DURATION, STATUS, KIND, … */
    bool structural;                 /* read for operators between spansets only */
    enum traceql_level holder_level; /* SPAN for events and links, else the field's */
    const uint32_t *holder_map;      /* element of the field's level -> holder; NULL: itself */

    /* the field's own column */
    uint8_t *column;                    /* per value: visible; NULL: nothing is */
    const struct filter *column_filter; /* the only one that decides that; NULL: several do */
    bool column_everybody;              /* SPAN_START: every span has it, without a vector */

    /* the generic list */
    uint8_t *values[KINDS];                   /* per value: visible; NULL: none is */
    const struct filter *value_filter[KINDS]; /* as column_filter */
    uint8_t *entries;                         /* per occurrence: enum entry; NULL: none */
    uint8_t *first; /* per occurrence: its holder's first entry (what operators see) */

    /* for single spans: holder -> 1 + value of column, 1 + occurrence; built when first asked for
     */
    uint8_t *absent; /* per holder: the attribute is missing; NULL: nobody asks */
    uint32_t *column_at;
    uint32_t *entry_at;
};

struct traceql_view {
    struct traceql_eval *eval;
    const struct traceql_batch *batch;
    struct arena *arena;
    struct scratch scratch;
    struct visible *fields;
    enum traceql_type *own; /* per field: its column's type, or TRACEQL_NIL */
    uint8_t *candidates;    /* per span: 1 when the query looks at it at all */
    uint8_t **stack;        /* truth vectors, plan.stack_max of them; each made when first needed */
};

static inline const struct traceql_values *attrs_list(const struct traceql_attrs *a, int kind)
{
    const struct traceql_values *lists[KINDS] = {&a->strings, &a->ints, &a->floats, &a->bools};
    return lists[kind];
}

/* span -> element of a level above; NULL for SPAN. */
const uint32_t *view_span_map(const struct traceql_view *v, enum traceql_level level);

static inline uint32_t holder_of(const struct visible *f, uint32_t element)
{
    return f->holder_map ? f->holder_map[element] : element;
}

/* visible.c */
ERR_MUST_CHECK int view_build(struct traceql_view *v, struct err *err);

/* filter.c: per span what the filter says; good until the next filter. active: per span, is it
 * looked at. What is said of other spans means nothing. */
ERR_MUST_CHECK int filter_run(struct traceql_view *v, const struct program *p,
                              const uint8_t *active, const uint8_t **out, struct err *err);

/* row.c: a value as a span sees it. */
struct seen {
    struct traceql_value scalar;
    /* An array: those of values[first, end) whose mask is set; two or more. */
    const struct traceql_values *array; /* NULL: scalar */
    const uint8_t *mask;
    uint32_t first, end;
};
ERR_MUST_CHECK int row_eval(struct traceql_view *v, const struct expr *e, uint32_t span,
                            struct seen *out, struct err *err);
/* The visible values of an occurrence: nothing seen gives nil. */
void seen_occurrence(const struct visible *f, uint32_t occurrence, struct seen *out);
/* A value of a vector, as the engine types it. */
struct traceql_value element_value(const struct visible *f, const struct traceql_values *v,
                                   uint32_t i, char id[ID_TEXT_BYTES]);
int row_type_error(const struct expr *e, const struct seen *operand, struct err *err);

#endif
