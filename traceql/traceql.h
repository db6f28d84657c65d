/* TraceQL: from a query's text to the spans that match.
 *
 *   traceql_parse      text -> query: parsed, folded, validated, planned. Read-only afterwards, so
 *                      any number of threads may share it.
 *   traceql_field      what the query reads: the caller decodes these columns and no others.
 *   traceql_eval_new   the state of one evaluating thread (compiled patterns).
 *   traceql_eval_batch one batch of traces (a row group, or spans not yet in a block) -> matches.
 *
 * This room knows neither blocks nor OTLP. It sees a batch as column vectors, each at one level
 * (trace, resource, scope, span, event, link), and maps from one level to the next.
 *
 * What a filter sees is not simply what is stored: the query's conditions decide which values are
 * visible, and operators look at visible values only (README.md has the rules). All of that happens
 * here; the caller hands over the columns as they are stored. */
#ifndef TRACEQL_TRACEQL_H
#define TRACEQL_TRACEQL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum traceql_level {
    TRACEQL_LEVEL_TRACE,
    TRACEQL_LEVEL_RESOURCE,
    TRACEQL_LEVEL_SCOPE, /* the instrumentation scope */
    TRACEQL_LEVEL_SPAN,
    TRACEQL_LEVEL_EVENT,
    TRACEQL_LEVEL_LINK,
    TRACEQL_LEVELS
};

/* Intrinsics, with the level they live on and how a batch gives them. */
enum traceql_intrinsic {
    TRACEQL_ATTRIBUTE = 0,       /* not an intrinsic: an attribute, by name */
    TRACEQL_SPAN_START,          /* span; no vector is needed, every span has one */
    TRACEQL_SPAN_DURATION,       /* span, INT: ns */
    TRACEQL_SPAN_NAME,           /* span, STRING */
    TRACEQL_SPAN_STATUS,         /* span, INT: OTLP number, 0 unset, 1 ok, 2 error */
    TRACEQL_SPAN_STATUS_MESSAGE, /* span, STRING; "" when absent */
    TRACEQL_SPAN_KIND,           /* span, INT: OTLP number */
    TRACEQL_SPAN_ID,             /* span, STRING: the bytes as stored */
    TRACEQL_NESTED_SET_LEFT,     /* span, INT */
    TRACEQL_NESTED_SET_RIGHT,    /* span, INT */
    TRACEQL_NESTED_SET_PARENT,   /* span, INT */
    TRACEQL_TRACE_DURATION,      /* trace, INT: ns */
    TRACEQL_TRACE_ROOT_NAME,     /* trace, STRING; "" when absent */
    TRACEQL_TRACE_ROOT_SERVICE,  /* trace, STRING; "" when absent */
    TRACEQL_TRACE_ID,            /* trace, STRING: the 16 bytes as stored */
    TRACEQL_EVENT_NAME,          /* event, STRING */
    TRACEQL_EVENT_TIME,          /* event, INT: event time - span start, ns */
    TRACEQL_LINK_TRACE_ID,       /* link, STRING: the bytes as stored */
    TRACEQL_LINK_SPAN_ID,        /* link, STRING: the bytes as stored */
    TRACEQL_SCOPE_NAME,          /* scope, STRING; "" when absent */
    TRACEQL_SCOPE_VERSION,       /* scope, STRING; "" when absent */
    TRACEQL_SPAN_PARENT_ID,      /* span, STRING: the bytes as stored, none for a root */
    TRACEQL_SPAN_CHILD_COUNT,    /* span, INT: spans right below it */
    TRACEQL_PARENT,              /* parses, validation refuses it */
    TRACEQL_CHILD_COUNT,         /* parses, validation refuses it */
    TRACEQL_INTRINSICS
};

/* In the order in which values of different types are sorted. */
enum traceql_type {
    TRACEQL_NIL,
    TRACEQL_INT,
    TRACEQL_FLOAT,
    TRACEQL_STRING,
    TRACEQL_BOOL,
    TRACEQL_DURATION, /* ns */
    TRACEQL_STATUS,   /* OTLP number */
    TRACEQL_KIND,     /* OTLP number */
};

struct traceql_value {
    enum traceql_type type;
    union {
        int64_t i64; /* INT, DURATION, STATUS, KIND */
        double f64;
        bool b;
        struct slice str;
    };
};

/* "error", "server", …, NULL for other types and for numbers without a word. */
const char *traceql_value_word(const struct traceql_value *v);
/* Of one type and the same; NaN is the same as itself. */
bool traceql_value_same(const struct traceql_value *a, const struct traceql_value *b);
/* Canonical text: `v` in backticks, 10, 2.5, true, 1.5s, error. */
int traceql_value_print(const struct traceql_value *v, struct buf *out);

/* ---- the query ---- */

struct traceql_query;

/* Everything of the query lives in the arena, the text is copied.
 * ERR_INVALID: the query is wrong; the text is Tempo's ("parse error at line 1, col 3: …", or the
 * validation message), to be put behind the endpoint's prefix. The same for a query of more than
 * 131072 bytes, and for one nested too deep. ERR_LIMIT: the arena is full. */
ERR_MUST_CHECK int traceql_parse(struct slice text, struct arena *a, struct traceql_query **out,
                                 struct err *err);

/* The text it was parsed from. */
struct slice traceql_query_text(const struct traceql_query *q);
/* Canonical text, as Tempo prints it; does not always parse. */
int traceql_query_print(const struct traceql_query *q, struct buf *out);
/* Text that parses to the same query. */
int traceql_query_print_exact(const struct traceql_query *q, struct buf *out);
/* True for "… | rate()" and its like. traceql_eval_batch then evaluates the pipeline before it. */
bool traceql_query_is_metrics(const struct traceql_query *q);
/* No span of any data can match: the answer is empty and nothing need be read. */
bool traceql_query_matches_nothing(const struct traceql_query *q);

/* One column (at one level) that the query reads. `.x` reads two: span x and resource x. No two
 * fields of a query are alike. */
struct traceql_field {
    enum traceql_level level;
    enum traceql_intrinsic intrinsic;
    struct slice name; /* of the attribute, or the intrinsic's canonical name */
    bool absence;      /* `= nil` asks for it: traceql_attrs.holders is needed */
};

size_t traceql_field_count(const struct traceql_query *q);
const struct traceql_field *traceql_field_at(const struct traceql_query *q, size_t i);

enum traceql_op {
    TRACEQL_OP_NONE, /* condition: every value */
    TRACEQL_OP_ADD,
    TRACEQL_OP_SUB,
    TRACEQL_OP_MUL,
    TRACEQL_OP_DIV,
    TRACEQL_OP_MOD,
    TRACEQL_OP_POW,
    TRACEQL_OP_EQ,
    TRACEQL_OP_NE,
    TRACEQL_OP_LT,
    TRACEQL_OP_LE,
    TRACEQL_OP_GT,
    TRACEQL_OP_GE,
    TRACEQL_OP_RE,
    TRACEQL_OP_NRE,
    TRACEQL_OP_AND,
    TRACEQL_OP_OR,
    TRACEQL_OP_NOT, /* unary ! */
    TRACEQL_OP_NEG, /* unary - */
};

const char *traceql_op_text(enum traceql_op op);

/* Which values of a field the query wants to see: those for which `value op literal` holds. */
struct traceql_condition {
    uint32_t field;
    enum traceql_op op; /* NONE or a comparison */
    struct traceql_value literal;
};

size_t traceql_condition_count(const struct traceql_query *q);
const struct traceql_condition *traceql_condition_at(const struct traceql_query *q, size_t i);
/* True: a span matches only if each of its fields' conditions accepts some value. For pruning: then
 * a batch in which some field has no accepted value (traceql_accepts_*) has no match. */
bool traceql_query_needs_all(const struct traceql_query *q);

/* ---- the data ---- */

/* Values of one type. Only present values are listed; `owner` says whose each one is. */
struct traceql_values {
    enum traceql_type type; /* INT, FLOAT, STRING or BOOL */
    uint32_t count;
    const uint32_t *owner; /* ascending, repeats allowed; NULL: value i belongs to i */
    union {
        const int64_t *i64;
        const double *f64;
        const uint8_t *b;    /* 0 or 1 */
        const uint32_t *idx; /* STRING: index into dict; NULL: value i is dict[i] */
    };
    const struct slice *dict; /* STRING */
    uint32_t dict_count;
};

/* The attributes of one name in the generic list (key, values…) of one level. */
struct traceql_attrs {
    uint32_t count;        /* how often the key occurs, whatever its value is */
    const uint32_t *owner; /* occurrence -> element of the level; ascending, repeats allowed */
    /* Here owner is the occurrence (NULL: each has one value). An array has several values of one
     * owner; an occurrence without any (empty, mixed or nested array, bytes, …) reads as nil. */
    struct traceql_values strings, ints, floats, bools;
    /* Per element of the level: does its list have any attribute, whatever its name? Only for
     * fields whose absence is asked for. */
    const uint8_t *holders;
};

/* The data for one field. */
struct traceql_input {
    /* Intrinsics, and attributes that have a column of their own in this block (well-known and
     * dedicated ones: http.method, service.name, …). Owner: element of the field's level. Every
     * resource has a service.name, "" when it is missing. */
    bool has_column;
    struct traceql_values column;
    /* Attributes: what the generic list holds under this name. Leave it zero when there is none. */
    struct traceql_attrs attrs;
};

struct traceql_batch {
    uint32_t counts[TRACEQL_LEVELS]; /* elements of each level; events and links may stay 0 when no
                                      * field is on their level */
    /* Per span. Spans of a trace stand together: span_trace is ascending. */
    const uint32_t *span_trace;
    const uint32_t *span_resource;      /* may be NULL when no field is on that level */
    const uint32_t *span_scope;         /* the same */
    const uint32_t *event_span;         /* per event, ascending; the same */
    const uint32_t *link_span;          /* per link, ascending; the same */
    const struct traceql_input *inputs; /* traceql_field_count of them */
    /* What is found out about dictionaries is kept in the arena, for further batches of which the
     * dictionaries at the same addresses are the same ones: those with this very number. 0: nothing
     * is kept. */
    uint64_t dictionaries;
    struct arena *kept;
};

/* What of a field's data is asked for; all else of its input may stay zero. */
enum traceql_read {
    TRACEQL_READ_COLUMN = 1 << 0,  /* the values of its own column */
    TRACEQL_READ_KEYS = 1 << 1,    /* the attribute's occurrences, */
    TRACEQL_READ_STRINGS = 1 << 2, /* and their values of these types */
    TRACEQL_READ_INTS = 1 << 3,
    TRACEQL_READ_FLOATS = 1 << 4,
    TRACEQL_READ_BOOLS = 1 << 5,
};
/* Both per field. own: the type of the column that the field has of its own (of an intrinsic: any
 * but TRACEQL_NIL); TRACEQL_NIL: none. The input must tell of it (has_column, column.type) even
 * where its values are not asked for. */
void traceql_reads(const struct traceql_query *q, const enum traceql_type *own, unsigned *out);

/* ---- evaluation ---- */

struct traceql_eval; /* one thread at a time */

/* Lives in the arena. ERR_UNSUPPORTED: a construct that is not evaluated yet, named in the text.
 * ERR_INVALID: Tempo too accepts the query and then fails ("operator not supported for IDs: >"). */
ERR_MUST_CHECK int traceql_eval_new(const struct traceql_query *q, struct arena *a,
                                    struct traceql_eval **out, struct err *err);

/* What by() and aggregates say of a spanset, in the order of the pipeline: "by(span.a)", "count()".
 */
struct traceql_set_attr {
    struct slice key; /* canonical text */
    const struct traceql_value
        *values; /* one, TRACEQL_NIL too; several: the elements of an array */
    uint32_t count;
};

/* A spanset: spans of one trace that the pipeline leaves over. */
struct traceql_spanset {
    uint32_t trace;
    uint32_t first, count; /* in result.spans; count > 0 */
    const struct traceql_set_attr *attrs;
    uint32_t attr_count;
};

/* What the pipeline (up to a metrics function) makes of a batch. Metrics count every span of every
 * spanset; a span may be in several of them. */
struct traceql_result {
    const struct traceql_spanset *sets; /* ascending by trace; several of one trace after by() */
    uint32_t set_count;
    const uint32_t *spans; /* per spanset in the order in which they are shown */
    uint32_t span_count;
    struct traceql_view *view;   /* what the filters saw */
    struct traceql_view *second; /* traceql_result_second's; NULL before */
};

/* The result lives in the arena a, and refers to the batch. ERR_LIMIT: the arena is full.
 * ERR_INVALID: the query meets data it cannot be applied to ("expression (!span.a) expected a
 * boolean, but got TypeNil"); Tempo answers 500 with that text. Other codes as above. */
ERR_MUST_CHECK int traceql_eval_batch(struct traceql_eval *e, const struct traceql_batch *batch,
                                      struct arena *a, struct traceql_result *out, struct err *err);

/* ---- the second pass ----
 * What need not be read before it is known that there are spans to return: the attributes of
 * select(). They are the fields of a query of their own, whose conditions let everything through.
 * NULL: nothing more is to be read. The caller makes a second batch for it, over the same elements,
 * and adds it to the result. */
const struct traceql_query *traceql_second_pass(const struct traceql_query *q);
/* The batch must live as long as the result. */
ERR_MUST_CHECK int traceql_result_second(struct traceql_result *r,
                                         const struct traceql_batch *second, struct err *err);

/* The span's name, if the query mentions it and its conditions let this one through. */
bool traceql_result_name(const struct traceql_result *r, uint32_t span, struct slice *out);
/* Calls fn for each (key, value) that a search result shows for the span, keys without scope; the
 * same key may come once per level. What the second pass read of an attribute replaces what the
 * first one let through. count > 1: an array, all elements of one type. A negative
 * return of fn ends the walk and is returned. ERR_LIMIT: the batch's arena is full. */
typedef int(traceql_pair_fn)(void *ctx, struct slice key, const struct traceql_value *values,
                             uint32_t count);
int traceql_result_pairs(const struct traceql_result *r, uint32_t span, traceql_pair_fn *fn,
                         void *ctx, struct err *err);

/* ---- pruning ----
 * May the field's conditions accept one of these values? Answers true when in doubt. `generic`
 * tells whether they come from the generic list or from a column of the field's own. */
bool traceql_accepts_strings(const struct traceql_eval *e, size_t field, bool generic,
                             const struct slice *values, uint32_t count);
bool traceql_accepts_ints(const struct traceql_eval *e, size_t field, bool generic, int64_t min,
                          int64_t max);

#endif
