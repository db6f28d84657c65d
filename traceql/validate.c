/* What parses but makes no sense is refused here, in Tempo's words. Depth first, left to right, so
 * that of several mistakes the same one is told. */
#include "base/text.h"
#include "traceql/ast.h"
#include "traceql/regex.h"

/* Longest piece of the query that a message repeats. */
#define SHOWN_BYTES ((size_t)380)

typedef int(print_fn)(const void *node, struct buf *out);

static int print_expr_node(const void *node, struct buf *out)
{
    return expr_print(node, false, out);
}

static int print_spanset_node(const void *node, struct buf *out)
{
    return spanset_print(node, false, out);
}

static int print_scalar_node(const void *node, struct buf *out)
{
    return scalar_print(node, false, out);
}

/* before + canonical text + after. */
static int refuse(struct err *err, const char *before, print_fn *print, const void *node,
                  const char *after)
{
    struct buf text;
    buf_init(&text, SHOWN_BYTES * 4);
    bool whole = print(node, &text) == 0 && text.len <= SHOWN_BYTES;
    size_t shown = utf8_prefix(buf_view(&text), SHOWN_BYTES);
    if (whole)
        shown = text.len;
    err_set(err, ERR_INVALID, "%s%.*s%s%s", before, (int)shown,
            text.ptr ? (const char *)text.ptr : "", whole ? "" : "…", after);
    buf_clear(&text);
    return ERR_INVALID;
}

/* ---- expressions ---- */

static int validate_attr(const struct expr *e, struct err *err)
{
    if (e->attr.parent)
        return err_set(err, ERR_INVALID, "parent not yet supported");
    if (e->attr.intrinsic == TRACEQL_PARENT || e->attr.intrinsic == TRACEQL_CHILD_COUNT)
        return err_set(err, ERR_INVALID, "intrinsic (%s) not yet supported",
                       traceql_intrinsic_text(e->attr.intrinsic));
    return 0;
}

static int validate_regex(const struct expr *e, struct err *err)
{
    if (e->rhs->kind != EXPR_LITERAL || e->rhs->type != TRACEQL_STRING ||
        regex_check(e->rhs->literal.str, NULL) == 0)
        return 0;
    return refuse(err, "invalid regex: ", print_expr_node, e->rhs, "");
}

/* Intrinsics always have a value, and so has this one of resources. */
static bool never_nil(const struct expr_attr *a)
{
    return a->intrinsic != TRACEQL_ATTRIBUTE ||
           (a->scope == EXPR_SCOPE_RESOURCE && slice_eq(a->name, SLICE("service.name")));
}

/* What is looked for in several places, or of which there may be several, is neither here nor
 * there. */
static bool may_be_absent(const struct expr_attr *a)
{
    return a->scope == EXPR_SCOPE_SPAN || a->scope == EXPR_SCOPE_RESOURCE ||
           a->scope == EXPR_SCOPE_INSTRUMENTATION;
}

static int validate_operands(const struct expr *e, struct err *err)
{
    enum traceql_type l = e->lhs->type, r = e->rhs->type;
    if (!traceql_types_match(l, r))
        return refuse(err, "binary operations must operate on the same type: ", print_expr_node, e,
                      "");
    const struct expr *attr = expr_nil_test(e);
    if (attr && e->op == TRACEQL_OP_EQ && never_nil(&attr->attr))
        return refuse(err, "", print_expr_node, attr,
                      "=nil is not valid because intrinsics cannot be nil");
    if (attr && e->op == TRACEQL_OP_EQ && !may_be_absent(&attr->attr))
        return refuse(err, "=nil needs one of the scopes span, resource and instrumentation: ",
                      print_expr_node, attr, "");
    if (!attr && r == TRACEQL_NIL && e->op == TRACEQL_OP_EQ)
        return err_set(err, ERR_INVALID, "{.a = nil} not yet supported");
    if (!traceql_op_defined(e->op, l) || !traceql_op_defined(e->op, r))
        return refuse(err, "illegal operation for the given types: ", print_expr_node, e, "");
    if (e->op == TRACEQL_OP_RE || e->op == TRACEQL_OP_NRE)
        return validate_regex(e, err);
    return 0;
}

static int validate_expr(const struct expr *e, struct err *err)
{
    int rc;
    switch (e->kind) {
    case EXPR_LITERAL:
        return 0;
    case EXPR_ATTR:
        return validate_attr(e, err);
    case EXPR_UNARY:
        rc = validate_expr(e->rhs, err);
        if (rc == 0 && !traceql_op_defined(e->op, e->rhs->type))
            rc = refuse(err, "illegal operation for the given type: ", print_expr_node, e, "");
        return rc;
    case EXPR_BINARY:
        rc = validate_expr(e->lhs, err);
        rc = rc < 0 ? rc : validate_expr(e->rhs, err);
        return rc < 0 ? rc : validate_operands(e, err);
    }
    return 0;
}

/* ---- spansets and stages ---- */

static int validate_pipeline(const struct pipeline *p, struct err *err);

static int validate_spanset(const struct spanset *s, struct err *err)
{
    int rc;
    switch (s->kind) {
    case SPANSET_FILTER:
        rc = validate_expr(s->filter, err);
        if (rc == 0 && s->filter->type != TRACEQL_BOOL && s->filter->type != EXPR_TYPE_RUNTIME)
            rc = refuse(err, "span filter field expressions must resolve to a boolean: ",
                        print_spanset_node, s, "");
        return rc;
    case SPANSET_OP:
        rc = validate_spanset(s->lhs, err);
        return rc < 0 ? rc : validate_spanset(s->rhs, err);
    case SPANSET_PIPELINE:
        return validate_pipeline(s->pipeline, err);
    }
    return 0;
}

static int validate_scalar(const struct scalar *s, struct err *err)
{
    int rc = 0;
    if (s->kind == SCALAR_AGGREGATE && s->arg) {
        rc = validate_expr(s->arg, err);
        if (rc == 0 && s->type != EXPR_TYPE_RUNTIME && !traceql_type_numeric(s->type))
            rc = refuse(err, "aggregate field expressions must resolve to a number type: ",
                        print_scalar_node, s, "");
        if (rc == 0 && !s->arg->references_span)
            rc = refuse(err,
                        "aggregate field expressions must reference the span: ", print_scalar_node,
                        s, "");
    } else if (s->kind == SCALAR_BINARY) {
        rc = validate_scalar(s->lhs, err);
        rc = rc < 0 ? rc : validate_scalar(s->rhs, err);
    }
    return rc;
}

static int validate_scalar_filter(const struct stage *s, struct err *err)
{
    int rc = validate_scalar(s->lhs, err);
    rc = rc < 0 ? rc : validate_scalar(s->rhs, err);
    if (rc < 0)
        return rc;
    /* Operands are numbers or attributes, and the operators are defined for both, so the two
     * messages of binary operations cannot arise here. */
    if (s->lhs->kind != SCALAR_AGGREGATE)
        return err_set(err, ERR_INVALID, "scalar filter lhs of type (%%v) not yet supported");
    if (s->rhs->kind != SCALAR_LITERAL)
        return err_set(err, ERR_INVALID, "scalar filter rhs of type (%%v) not yet supported");
    return 0;
}

static int validate_by(const struct stage *s, struct err *err)
{
    int rc = validate_expr(s->by, err);
    if (rc == 0 && !s->by->references_span)
        rc = refuse(err, "grouping field expressions must reference the span: by(", print_expr_node,
                    s->by, ")");
    return rc;
}

static int validate_stage(const struct stage *s, struct err *err)
{
    int rc = 0;
    switch (s->kind) {
    case STAGE_SPANSET:
        return validate_spanset(s->spanset, err);
    case STAGE_SCALAR_FILTER:
        return validate_scalar_filter(s, err);
    case STAGE_BY:
        return validate_by(s, err);
    case STAGE_COALESCE:
        return 0;
    case STAGE_SELECT:
        for (uint32_t i = 0; i < s->attr_count && rc == 0; i++)
            rc = validate_expr(s->attrs[i], err);
        return rc;
    }
    return 0;
}

static int validate_pipeline(const struct pipeline *p, struct err *err)
{
    int rc = 0;
    for (const struct stage *s = p->first; s && rc == 0; s = s->next)
        rc = validate_stage(s, err);
    return rc;
}

/* ---- metrics ---- */

static int validate_compare(const struct metrics_fn *m, struct err *err)
{
    int rc = validate_spanset(m->filter, err);
    if (rc < 0)
        return rc;
    if (m->top <= 0)
        return err_set(err, ERR_INVALID,
                       "compare() top number of values must be integer greater than 0");
    if (m->start_ns == 0 && m->end_ns == 0)
        return 0;
    if (m->start_ns <= 0 || m->end_ns <= 0)
        return err_set(err, ERR_INVALID,
                       "compare() timestamps must be positive integer unix nanoseconds");
    if (m->end_ns <= m->start_ns)
        return err_set(err, ERR_INVALID,
                       "compare() end timestamp must be greater than start timestamp");
    return 0;
}

/* Attributes of metrics functions are not validated: `rate() by (parent.x)` is always nil. */
static int validate_metrics(const struct metrics_fn *m, struct err *err)
{
    for (const struct metrics_stage *s = m->stages; s; s = s->next) {
        if (m->kind == METRICS_COMPARE)
            return err_set(err, ERR_INVALID,
                           "`compare()` cannot be used with second stage functions");
        if (s->kind != METRICS_STAGE_COMPARE && s->limit <= 0)
            return err_set(err, ERR_INVALID, "limit must be greater than 0");
    }
    if (m->kind == METRICS_COMPARE)
        return validate_compare(m, err);
    uint32_t by_max =
        m->kind == METRICS_AVG || m->kind == METRICS_QUANTILE || m->kind == METRICS_HISTOGRAM ? 4
                                                                                              : 5;
    if (m->by_count > by_max)
        return err_set(err, ERR_INVALID, "metrics group by %u values not yet supported",
                       (unsigned)m->by_count);
    for (uint32_t i = 0; i < m->quantile_count; i++) {
        if (m->quantiles[i] >= 0 && m->quantiles[i] <= 1)
            continue;
        struct buf text;
        buf_init(&text, 64);
        traceql_print_float(m->quantiles[i], false, &text);
        err_set(err, ERR_INVALID, "quantile must be between 0 and 1: %.*s",
                SLICE_ARGS(buf_view(&text)));
        buf_clear(&text);
        return ERR_INVALID;
    }
    return 0;
}

int traceql_validate(const struct traceql_query *q, struct err *err)
{
    int rc = validate_pipeline(q->pipeline, err);
    return rc < 0 || !q->metrics ? rc : validate_metrics(q->metrics, err);
}
