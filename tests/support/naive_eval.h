/* A slow, obvious evaluator of TraceQL searches, for comparison with the real one, and the small
 * span tables both are asked about. It follows the language's description span by span with lists
 * of (attribute, value) entries; it shares the parser with the real one and nothing of its
 * evaluation but operators on two scalars. */
#ifndef TESTS_SUPPORT_NAIVE_EVAL_H
#define TESTS_SUPPORT_NAIVE_EVAL_H

#include "traceql/ast.h"

#define MODEL_VALUES 4

/* A stored attribute: count 0 is a value that cannot be queried (bytes, an empty array, …). */
struct model_attr {
    const char *key;
    uint32_t count;
    struct traceql_value values[MODEL_VALUES]; /* all of one type: INT, FLOAT, STRING, BOOL */
};

struct model_attrs {
    const struct model_attr *at;
    uint32_t count;
};

struct model_event {
    uint32_t span;
    const char *name;
    int64_t since_start_ns;
    struct model_attrs attrs;
};

struct model_link {
    uint32_t span;
    struct slice trace_id, span_id;
    struct model_attrs attrs;
};

struct model_span {
    uint32_t trace, resource, scope;
    struct slice id;
    const char *name, *status_message;
    int64_t duration_ns, status, kind;
    int64_t left, right, parent;
    int32_t up; /* the parent's index, MODEL_ROOT, MODEL_APART; agrees with the numbers */
    struct model_attrs attrs;
};

enum { MODEL_ROOT = -1, MODEL_APART = -2 };

struct model_scope {
    const char *name, *version;
    struct model_attrs attrs;
};

struct model_trace {
    struct slice id;
    const char *root_name, *root_service;
    int64_t duration_ns;
};

struct model {
    const struct model_trace *traces;
    const struct model_attrs *resources;
    const struct model_scope *scopes;
    const struct model_span *spans;   /* by trace */
    const struct model_event *events; /* by span */
    const struct model_link *links;   /* by span */
    uint32_t trace_count, resource_count, scope_count, span_count, event_count, link_count;
};

/* The columns that this model keeps for attributes of their own: span http.method (string) and
 * http.status_code (int), resource service.name (string, always there) and cluster (string).
 * TRACEQL_NIL: none. */
enum traceql_type model_column(enum traceql_level level, struct slice name);

/* The model as a batch for the query's fields. Everything lives in the arena. */
void model_batch(const struct model *m, const struct traceql_query *q, struct arena *a,
                 struct traceql_batch *out);

/* Values of a result in one line per pair, sorted: "key=`v`", arrays in brackets. */
struct naive_set {
    uint32_t trace;
    uint32_t *spans; /* in order */
    uint32_t count;
    char *attrs; /* lines in order: "by(span.a)=1" */
};

struct naive_result {
    bool failed; /* the query fails at run time */
    struct naive_set *sets;
    uint32_t set_count;
    char **pairs; /* per span: sorted lines; for spans that are in a set */
};

/* The caller frees with naive_free. */
void naive_eval(const struct model *m, const struct traceql_query *q, struct naive_result *out);
void naive_free(const struct model *m, struct naive_result *r);

/* The same lines from the real evaluator. The caller frees. */
char *pairs_text(const struct traceql_result *r, uint32_t span);
char *set_attrs_text(const struct traceql_spanset *s);

#endif
