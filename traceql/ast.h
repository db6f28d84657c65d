/* The typed tree of a query. Built in an arena by the parser, read-only once planned.
 * Private to the room and its tests. */
#ifndef TRACEQL_AST_H
#define TRACEQL_AST_H

#include "traceql/traceql.h"

/* What validation knows of an expression: a value's type, or "known only when it runs". */
#define EXPR_TYPE_RUNTIME ((enum traceql_type)100)

enum expr_scope {
    EXPR_SCOPE_NONE, /* .x, and intrinsics */
    EXPR_SCOPE_SPAN,
    EXPR_SCOPE_RESOURCE,
    EXPR_SCOPE_EVENT,
    EXPR_SCOPE_LINK,
    EXPR_SCOPE_INSTRUMENTATION
};

struct expr_attr {
    bool parent; /* parent.…: parses, validation refuses it */
    enum expr_scope scope;
    enum traceql_intrinsic intrinsic;
    struct slice name; /* empty for intrinsics */
};

/* Where an operand looks for its value, in this order; filled in by the planner. */
struct expr_lookup {
    uint32_t count;
    uint32_t fields[];
};

enum expr_kind { EXPR_LITERAL, EXPR_ATTR, EXPR_UNARY, EXPR_BINARY };

struct expr {
    enum expr_kind kind;
    enum traceql_type type; /* implied type; EXPR_TYPE_RUNTIME */
    bool references_span;
    uint32_t depth;
    union {
        struct traceql_value literal;
        struct {
            struct expr_attr attr;
            const struct expr_lookup *lookup;
        };
        struct {
            enum traceql_op op;
            uint32_t pattern; /* of =~ and !~, set by the planner: index in plan.patterns */
            struct expr *lhs; /* NULL for unary */
            struct expr *rhs;
        };
    };
};

enum spanset_op {
    SPANSET_AND,
    SPANSET_OR,
    SPANSET_CHILD,          /* > */
    SPANSET_DESCENDANT,     /* >> */
    SPANSET_PARENT,         /* < */
    SPANSET_ANCESTOR,       /* << */
    SPANSET_SIBLING,        /* ~ */
    SPANSET_NOT_CHILD,      /* !> */
    SPANSET_NOT_DESCENDANT, /* !>> */
    SPANSET_NOT_PARENT,     /* !< */
    SPANSET_NOT_ANCESTOR,   /* !<< */
    SPANSET_NOT_SIBLING,    /* !~ */
    SPANSET_UNION_CHILD,    /* &> */
    SPANSET_UNION_DESCENDANT,
    SPANSET_UNION_PARENT,
    SPANSET_UNION_ANCESTOR,
    SPANSET_UNION_SIBLING
};

/* What a structural operator asks of a span r on its right and some l on its left. */
enum spanset_relation {
    RELATION_CHILD,      /* r is a child of l */
    RELATION_DESCENDANT, /* r is below l */
    RELATION_PARENT,     /* r is the parent of l */
    RELATION_ANCESTOR,   /* r is above l */
    RELATION_SIBLING     /* r is another child of l's parent */
};
enum spanset_form { FORM_PLAIN, FORM_NOT, FORM_UNION };

/* Of all operators but && and ||, which stand in this order three times over. */
static inline enum spanset_relation spanset_op_relation(enum spanset_op op)
{
    return (enum spanset_relation)((op - SPANSET_CHILD) % 5);
}

static inline enum spanset_form spanset_op_form(enum spanset_op op)
{
    return (enum spanset_form)((op - SPANSET_CHILD) / 5);
}

struct pipeline;

enum spanset_kind { SPANSET_FILTER, SPANSET_OP, SPANSET_PIPELINE };

struct spanset {
    enum spanset_kind kind;
    uint32_t depth;
    union {
        struct expr *filter;
        struct {
            enum spanset_op op;
            struct spanset *lhs, *rhs;
        };
        struct pipeline *pipeline; /* a parenthesised one */
    };
};

enum aggregate { AGGREGATE_COUNT, AGGREGATE_MIN, AGGREGATE_MAX, AGGREGATE_AVG, AGGREGATE_SUM };

enum scalar_kind { SCALAR_LITERAL, SCALAR_AGGREGATE, SCALAR_BINARY };

struct scalar {
    enum scalar_kind kind;
    enum traceql_type type;
    uint32_t depth;
    union {
        struct traceql_value literal;
        struct {
            enum aggregate aggregate;
            struct expr *arg; /* NULL for count() */
        };
        struct {
            enum traceql_op op;
            struct scalar *lhs, *rhs;
        };
    };
};

enum stage_kind { STAGE_SPANSET, STAGE_SCALAR_FILTER, STAGE_BY, STAGE_COALESCE, STAGE_SELECT };

struct stage {
    enum stage_kind kind;
    struct stage *next;
    union {
        struct spanset *spanset;
        struct {
            enum traceql_op op;
            struct scalar *lhs, *rhs;
        };
        struct expr *by;
        struct {
            struct expr **attrs;
            uint32_t attr_count;
        };
    };
};

struct pipeline {
    struct stage *first;
};

enum metrics_kind {
    METRICS_RATE,
    METRICS_COUNT,
    METRICS_MIN,
    METRICS_MAX,
    METRICS_AVG,
    METRICS_HISTOGRAM,
    METRICS_QUANTILE,
    METRICS_COMPARE,
    METRICS_SUM
};

/* What may follow a metrics function: `| topk(5)`, `| bottomk(5)`, `> 0.5`. */
enum metrics_stage_kind { METRICS_STAGE_TOPK, METRICS_STAGE_BOTTOMK, METRICS_STAGE_COMPARE };

struct metrics_stage {
    enum metrics_stage_kind kind;
    struct metrics_stage *next;
    int64_t limit;              /* TOPK, BOTTOMK; > 0 */
    enum traceql_op op;         /* COMPARE: EQ, NE, LT, LE, GT, GE */
    struct traceql_value value; /* COMPARE: INT, FLOAT, DURATION as written */
};

struct metrics_fn {
    enum metrics_kind kind;
    struct expr *attr; /* NULL for rate, count, compare */
    struct expr **by;
    uint32_t by_count;
    double *quantiles;
    uint32_t quantile_count;
    struct spanset *filter; /* compare */
    int64_t top, start_ns, end_ns;
    struct metrics_stage *stages; /* in order */
};

struct hint {
    struct slice name;
    struct traceql_value value;
};

struct plan;

struct traceql_query {
    struct slice text; /* a copy */
    struct pipeline *pipeline;
    struct metrics_fn *metrics; /* NULL: a search */
    struct hint *hints;
    uint32_t hint_count;
    struct plan *plan;
    struct traceql_query *second; /* its plan is that of the second pass; NULL: there is none */
};

static inline bool traceql_wants_absence(const struct traceql_condition *c)
{
    return c->op == TRACEQL_OP_EQ && c->literal.type == TRACEQL_NIL;
}

/* `attr = nil`, `attr != nil`, either way round: the attribute. NULL: e is something else. */
static inline const struct expr *expr_nil_test(const struct expr *e)
{
    if (e->kind != EXPR_BINARY || (e->op != TRACEQL_OP_EQ && e->op != TRACEQL_OP_NE))
        return NULL;
    const struct expr *nil = e->lhs->kind == EXPR_LITERAL ? e->lhs : e->rhs;
    const struct expr *attr = nil == e->lhs ? e->rhs : e->lhs;
    bool fits = nil->kind == EXPR_LITERAL && nil->type == TRACEQL_NIL && attr->kind == EXPR_ATTR;
    return fits ? attr : NULL;
}

static inline bool traceql_type_numeric(enum traceql_type t)
{
    return t == TRACEQL_INT || t == TRACEQL_FLOAT || t == TRACEQL_DURATION;
}

static inline bool traceql_op_compares(enum traceql_op op)
{
    return op >= TRACEQL_OP_EQ && op <= TRACEQL_OP_NRE;
}

static inline bool traceql_op_computes(enum traceql_op op)
{
    return op >= TRACEQL_OP_ADD && op <= TRACEQL_OP_POW;
}

/* May these types stand left and right of an operator at all; ordered. */
bool traceql_types_match(enum traceql_type l, enum traceql_type r);
/* Is the operator defined for operands of this type? */
bool traceql_op_defined(enum traceql_op op, enum traceql_type t);
/* The type that the expression will have, as far as it can be told. */
enum traceql_type traceql_binary_type(enum traceql_op op, enum traceql_type l, enum traceql_type r);

const char *spanset_op_text(enum spanset_op op);
const char *traceql_intrinsic_text(enum traceql_intrinsic i);
enum traceql_level traceql_intrinsic_level(enum traceql_intrinsic i);
enum traceql_type traceql_intrinsic_type(enum traceql_intrinsic i); /* EXPR_TYPE_RUNTIME too */

/* fold.c: nodes, with what can be computed at once computed. Negative: the arena is full, the tree
 * too deep, or an integer was divided by zero. */
ERR_MUST_CHECK int expr_literal(struct arena *a, struct traceql_value v, struct expr **out,
                                struct err *err);
ERR_MUST_CHECK int expr_attr(struct arena *a, struct expr_attr attr, struct expr **out,
                             struct err *err);
ERR_MUST_CHECK int expr_unary(struct arena *a, enum traceql_op op, struct expr *rhs,
                              struct expr **out, struct err *err);
ERR_MUST_CHECK int expr_binary(struct arena *a, enum traceql_op op, struct expr *lhs,
                               struct expr *rhs, struct expr **out, struct err *err);

/* validate.c: ERR_INVALID with Tempo's message. */
ERR_MUST_CHECK int traceql_validate(const struct traceql_query *q, struct err *err);

/* print.c: canonical text, or (exact) text that parses to the same tree: names and strings quoted,
 * floats told from integers. */
int expr_print(const struct expr *e, bool exact, struct buf *out);
int spanset_print(const struct spanset *s, bool exact, struct buf *out);
int pipeline_print(const struct pipeline *p, bool exact, struct buf *out);
int scalar_print(const struct scalar *s, bool exact, struct buf *out);
int traceql_print_float(double v, bool exact, struct buf *out);

#endif
