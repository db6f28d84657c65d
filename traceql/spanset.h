/* Pipelines: lists of spansets in, lists of spansets out. spanset.c (stages, `&&`, `||`),
 * structure.c (operators over nested sets), grouping.c (by, coalesce), aggregate.c (scalar
 * filters). Private to the room and its tests. */
#ifndef TRACEQL_SPANSET_H
#define TRACEQL_SPANSET_H

#include "traceql/eval_priv.h"

/* What by() and aggregates have said so far, the last first. */
struct set_attr {
    struct traceql_set_attr attr;
    const struct set_attr *before;
    uint32_t count; /* with those before */
};

/* Spans of one trace. A stage that keeps all spans of a set passes on the very same array, as Tempo
 * does: structural operators sort their left side in place, and users see the order. */
struct set {
    uint32_t trace;
    uint32_t origin; /* index of the set of the stage's input that it comes from */
    uint32_t count;  /* > 0 */
    uint32_t *spans;
    const struct set_attr *attrs;
};

/* Ascending by origin, and so by trace. */
struct sets {
    struct set *at;
    uint32_t count;
};

/* The query's pipeline, from the candidates on. */
ERR_MUST_CHECK int pipeline_run(struct traceql_view *v, const struct pipeline *p, struct sets *out,
                                struct err *err);

/* ---- helpers of the stages ---- */

/* Room for so many sets. */
ERR_MUST_CHECK int sets_new(struct traceql_view *v, uint32_t capacity, struct sets *out,
                            struct err *err);
ERR_MUST_CHECK int spans_new(struct traceql_view *v, size_t count, uint32_t **out, struct err *err);
uint32_t sets_spans(const struct sets *s); /* of all sets together */
/* One more attribute; the values are kept, not copied. */
ERR_MUST_CHECK int set_say(struct traceql_view *v, struct set *s, struct traceql_set_attr attr,
                           struct err *err);
/* The canonical text of a stage's expression, in the arena. */
ERR_MUST_CHECK int stage_text(struct traceql_view *v, const char *before, const struct expr *e,
                              struct slice *out, struct err *err);

/* ---- stages ---- */

/* grouping.c */
ERR_MUST_CHECK int group_by(struct traceql_view *v, const struct expr *e, const struct sets *in,
                            struct sets *out, struct err *err);
ERR_MUST_CHECK int coalesce(struct traceql_view *v, const struct sets *in, struct sets *out,
                            struct err *err);

/* aggregate.c */
ERR_MUST_CHECK int scalar_filter(struct traceql_view *v, const struct stage *s,
                                 const struct sets *in, struct sets *out, struct err *err);

/* structure.c: one set against one, both of one trace. */
struct numbers {
    const int64_t *left, *right, *parent; /* per span; NULL: the query does not compare them */
};
ERR_MUST_CHECK int numbers_of(struct traceql_view *v, struct numbers *out, struct err *err);
/* Sorts l's spans, and for unions r's, in place. out: room for l->count + r->count spans; mark: a
 * byte a span, all zero, and so again afterwards. */
ERR_MUST_CHECK int relate(struct traceql_view *v, enum spanset_op op, const struct numbers *n,
                          struct set *l, struct set *r, uint8_t *mark, uint32_t *out,
                          uint32_t *count, struct err *err);

#endif
