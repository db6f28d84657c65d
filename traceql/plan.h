/* What a query reads and wants to see, and its filters as steps. Made once by traceql_parse, then
 * read-only. Private to the room and its tests. */
#ifndef TRACEQL_PLAN_H
#define TRACEQL_PLAN_H

#include "traceql/ast.h"

/* Filters run as a small stack machine over truth vectors, one byte a span. */
enum step_kind {
    STEP_CONST,   /* push b for every span */
    STEP_COMPARE, /* push: attribute op literal */
    STEP_ATTR,    /* push: the attribute itself, where it is a bool */
    STEP_ABSENT,  /* push: there is no such attribute, whatever its value; expr */
    STEP_ROW,     /* push: the expression, span by span */
    STEP_AND,     /* pop two, push one */
    STEP_OR,
    STEP_NOT /* of the topmost */
};

struct step {
    enum step_kind kind;
    bool b;
    enum traceql_op op;               /* COMPARE: as if the attribute stood left */
    const struct expr *expr;          /* ROW, and NOT for its message */
    const struct expr_lookup *lookup; /* COMPARE, ATTR */
    struct traceql_value literal;     /* COMPARE */
    uint32_t pattern;                 /* COMPARE with =~, !~: index of the compiled pattern */
};

struct program {
    const struct spanset *filter;
    struct step *steps;
    uint32_t step_count;
    uint32_t stack_max;
};

struct plan {
    struct traceql_field *fields;
    uint32_t field_count;
    struct traceql_condition *conditions;
    uint32_t condition_count;
    bool all;                       /* every condition must hold for a span to be looked at */
    bool nothing;                   /* every filter is `false` */
    uint32_t names[TRACEQL_LEVELS]; /* distinct names among the conditions of a level */
    struct program *programs;       /* of the filters, in the order of the text */
    uint32_t program_count;
    struct slice *patterns; /* of STEP_COMPARE and of conditions; distinct */
    uint32_t pattern_count;
    bool *structural;   /* per field: read for operators between spansets only, never shown */
    bool *numbers;      /* per field: only numbers are asked for; NULL: of no field */
    uint32_t stack_max; /* of all programs */
    const struct expr *refused; /* =~ or !~ with a pattern that is no literal; NULL: none */
};

/* Fills in q->plan and the lookups of the tree's attributes. */
ERR_MUST_CHECK int traceql_plan(struct traceql_query *q, struct arena *a, struct err *err);

/* The program of a filter. */
const struct program *plan_program(const struct plan *p, const struct spanset *filter);
/* Index into patterns, or UINT32_MAX. */
uint32_t plan_pattern(const struct plan *p, struct slice pattern);

/* conditions.c: the conditions of a query by the rules of README.md. */
struct want {
    struct expr_attr attr;
    enum traceql_op op; /* NONE: every value */
    struct traceql_value literal;
    bool structural; /* for an operator between spansets */
};
struct wants {
    struct want *at;
    uint32_t count, cap;
    bool all;
};
ERR_MUST_CHECK int wants_collect(const struct traceql_query *q, struct wants *out, struct err *err);
/* What is read in a second pass: select()'s attributes. */
ERR_MUST_CHECK int wants_second(const struct traceql_query *q, struct wants *out, struct err *err);
void wants_clear(struct wants *w);

#endif
