/* The tree as text, in two forms. Canonical text is Tempo's own: it is the key of grouping and
 * aggregate attributes, of metrics labels, and it stands in messages; it loses things (`{ .a = 5.0
 * }` prints as `{ .a = 5 }`, names and strings are not quoted). Exact text parses to the same tree.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "traceql/ast.h"

static const char *const op_texts[] = {
    [TRACEQL_OP_NONE] = "",  [TRACEQL_OP_ADD] = "+", [TRACEQL_OP_SUB] = "-",
    [TRACEQL_OP_MUL] = "*",  [TRACEQL_OP_DIV] = "/", [TRACEQL_OP_MOD] = "%",
    [TRACEQL_OP_POW] = "^",  [TRACEQL_OP_EQ] = "=",  [TRACEQL_OP_NE] = "!=",
    [TRACEQL_OP_LT] = "<",   [TRACEQL_OP_LE] = "<=", [TRACEQL_OP_GT] = ">",
    [TRACEQL_OP_GE] = ">=",  [TRACEQL_OP_RE] = "=~", [TRACEQL_OP_NRE] = "!~",
    [TRACEQL_OP_AND] = "&&", [TRACEQL_OP_OR] = "||", [TRACEQL_OP_NOT] = "!",
    [TRACEQL_OP_NEG] = "-",
};

static const struct {
    const char *text;
    enum traceql_level level;
    enum traceql_type type;
} intrinsics[TRACEQL_INTRINSICS] = {
    [TRACEQL_ATTRIBUTE] = {"", TRACEQL_LEVEL_SPAN, EXPR_TYPE_RUNTIME},
    [TRACEQL_SPAN_START] = {"spanStartTime", TRACEQL_LEVEL_SPAN, TRACEQL_DURATION},
    [TRACEQL_SPAN_DURATION] = {"duration", TRACEQL_LEVEL_SPAN, TRACEQL_DURATION},
    [TRACEQL_SPAN_NAME] = {"name", TRACEQL_LEVEL_SPAN, TRACEQL_STRING},
    [TRACEQL_SPAN_STATUS] = {"status", TRACEQL_LEVEL_SPAN, TRACEQL_STATUS},
    [TRACEQL_SPAN_STATUS_MESSAGE] = {"statusMessage", TRACEQL_LEVEL_SPAN, TRACEQL_STRING},
    [TRACEQL_SPAN_KIND] = {"kind", TRACEQL_LEVEL_SPAN, TRACEQL_KIND},
    [TRACEQL_SPAN_ID] = {"span:id", TRACEQL_LEVEL_SPAN, TRACEQL_STRING},
    [TRACEQL_NESTED_SET_LEFT] = {"nestedSetLeft", TRACEQL_LEVEL_SPAN, TRACEQL_INT},
    [TRACEQL_NESTED_SET_RIGHT] = {"nestedSetRight", TRACEQL_LEVEL_SPAN, TRACEQL_INT},
    [TRACEQL_NESTED_SET_PARENT] = {"nestedSetParent", TRACEQL_LEVEL_SPAN, TRACEQL_INT},
    [TRACEQL_TRACE_DURATION] = {"traceDuration", TRACEQL_LEVEL_TRACE, TRACEQL_DURATION},
    [TRACEQL_TRACE_ROOT_NAME] = {"rootName", TRACEQL_LEVEL_TRACE, TRACEQL_STRING},
    [TRACEQL_TRACE_ROOT_SERVICE] = {"rootServiceName", TRACEQL_LEVEL_TRACE, TRACEQL_STRING},
    [TRACEQL_TRACE_ID] = {"trace:id", TRACEQL_LEVEL_TRACE, TRACEQL_STRING},
    [TRACEQL_EVENT_NAME] = {"event:name", TRACEQL_LEVEL_EVENT, TRACEQL_STRING},
    [TRACEQL_EVENT_TIME] = {"event:timeSinceStart", TRACEQL_LEVEL_EVENT, TRACEQL_DURATION},
    [TRACEQL_LINK_TRACE_ID] = {"link:traceID", TRACEQL_LEVEL_LINK, TRACEQL_STRING},
    [TRACEQL_LINK_SPAN_ID] = {"link:spanID", TRACEQL_LEVEL_LINK, TRACEQL_STRING},
    /* Strings when it runs, but validation lets any type pass. */
    [TRACEQL_SCOPE_NAME] = {"instrumentation:name", TRACEQL_LEVEL_SCOPE, EXPR_TYPE_RUNTIME},
    [TRACEQL_SCOPE_VERSION] = {"instrumentation:version", TRACEQL_LEVEL_SCOPE, EXPR_TYPE_RUNTIME},
    [TRACEQL_SPAN_PARENT_ID] = {"span:parentID", TRACEQL_LEVEL_SPAN, TRACEQL_STRING},
    [TRACEQL_SPAN_CHILD_COUNT] = {"span:childCount", TRACEQL_LEVEL_SPAN, TRACEQL_INT},
    [TRACEQL_PARENT] = {"parent", TRACEQL_LEVEL_SPAN, TRACEQL_NIL},
    [TRACEQL_CHILD_COUNT] = {"childCount", TRACEQL_LEVEL_SPAN, TRACEQL_INT},
};

const char *traceql_op_text(enum traceql_op op)
{
    return op_texts[op];
}

const char *traceql_intrinsic_text(enum traceql_intrinsic i)
{
    return intrinsics[i].text;
}

enum traceql_level traceql_intrinsic_level(enum traceql_intrinsic i)
{
    return intrinsics[i].level;
}

enum traceql_type traceql_intrinsic_type(enum traceql_intrinsic i)
{
    return intrinsics[i].type;
}

/* ---- values ---- */

/* Shortest digits that read back; an exponent below -4 or from 6 on. */
int traceql_print_float(double v, bool exact, struct buf *out)
{
    if (!isfinite(v)) {
        /* No literal stands for these, but constants that are folded to them do. */
        const char *text = isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
        if (exact)
            text = isnan(v) ? "(0.0 / 0.0)" : v > 0 ? "(1.0 / 0.0)" : "(-1.0 / 0.0)";
        return buf_str(out, text);
    }
    char text[48];
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    char *e = strchr(text, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10);
    int digits = (int)(e - text) - (text[0] == '-');
    digits -= digits > 1; /* the point */
    if (exponent >= -4 && exponent < 6) {
        int places = digits - 1 - exponent;
        snprintf(text, sizeof text, "%.*f", places > 0 ? places : 0, v);
        if (exact && places <= 0)
            strncat(text, ".0", sizeof text - strlen(text) - 1);
    }
    return buf_str(out, text);
}

/* In "…", with escapes. */
static int print_quoted(struct slice s, struct buf *out)
{
    int rc = buf_u8(out, '"');
    for (size_t i = 0; i < s.len && rc == 0; i++) {
        uint8_t c = s.ptr[i];
        if (c == '"' || c == '\\')
            rc = buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            rc = buf_printf(out, "\\x%02x", c);
        else
            rc = buf_u8(out, c);
    }
    return rc < 0 ? rc : buf_u8(out, '"');
}

static int print_string(struct slice s, bool exact, struct buf *out)
{
    if (exact)
        return print_quoted(s, out);
    int rc = buf_u8(out, '`');
    rc = rc < 0 ? rc : buf_slice(out, s);
    return rc < 0 ? rc : buf_u8(out, '`');
}

static int print_value(const struct traceql_value *v, bool exact, struct buf *out)
{
    char text[40];
    switch (v->type) {
    case TRACEQL_NIL:
        return buf_str(out, "nil");
    case TRACEQL_INT:
        if (exact && v->i64 == INT64_MIN)
            return buf_str(out, "minInt"); /* digits for it are out of range */
        return buf_printf(out, "%lld", (long long)v->i64);
    case TRACEQL_FLOAT:
        return traceql_print_float(v->f64, exact, out);
    case TRACEQL_STRING:
        return print_string(v->str, exact, out);
    case TRACEQL_BOOL:
        return buf_str(out, v->b ? "true" : "false");
    case TRACEQL_DURATION:
        format_duration(v->i64, text);
        return buf_str(out, text);
    default:
        if (traceql_value_word(v))
            return buf_str(out, traceql_value_word(v));
        return buf_printf(out, "%s(%lld)", v->type == TRACEQL_STATUS ? "status" : "kind",
                          (long long)v->i64);
    }
}

int traceql_value_print(const struct traceql_value *v, struct buf *out)
{
    return print_value(v, false, out);
}

/* ---- expressions ---- */

static int print_attr(const struct expr_attr *a, bool exact, struct buf *out)
{
    static const char *const scopes[] = {
        [EXPR_SCOPE_NONE] = ".",
        [EXPR_SCOPE_SPAN] = "span.",
        [EXPR_SCOPE_RESOURCE] = "resource.",
        [EXPR_SCOPE_EVENT] = "event.",
        [EXPR_SCOPE_LINK] = "link.",
        [EXPR_SCOPE_INSTRUMENTATION] = "instrumentation.",
    };
    if (a->intrinsic != TRACEQL_ATTRIBUTE)
        return buf_str(out, intrinsics[a->intrinsic].text);
    const char *scope = a->parent && a->scope == EXPR_SCOPE_NONE ? "" : scopes[a->scope];
    int rc = buf_printf(out, "%s%s", a->parent ? "parent." : "", scope);
    if (rc < 0 || !exact)
        return rc < 0 ? rc : buf_slice(out, a->name);
    /* Inside quotes only the quote and the backslash are escaped. */
    rc = buf_u8(out, '"');
    for (size_t i = 0; i < a->name.len && rc == 0; i++) {
        if (a->name.ptr[i] == '"' || a->name.ptr[i] == '\\')
            rc = buf_u8(out, '\\');
        rc = rc < 0 ? rc : buf_u8(out, a->name.ptr[i]);
    }
    return rc < 0 ? rc : buf_u8(out, '"');
}

static bool literal_negative(const struct traceql_value *v)
{
    return (v->type == TRACEQL_FLOAT && signbit(v->f64)) ||
           ((v->type == TRACEQL_INT || v->type == TRACEQL_DURATION) && v->i64 < 0);
}

/* As an operand: in parentheses unless it is a literal or an attribute. `-5 ^ x` would be read as
 * `-(5 ^ x)`, so exact text puts them around negative literals as well. */
static int print_operand(const struct expr *e, bool exact, struct buf *out)
{
    bool bare = e->kind == EXPR_ATTR ||
                (e->kind == EXPR_LITERAL && !(exact && literal_negative(&e->literal)));
    if (bare)
        return expr_print(e, exact, out);
    int rc = buf_u8(out, '(');
    rc = rc < 0 ? rc : expr_print(e, exact, out);
    return rc < 0 ? rc : buf_u8(out, ')');
}

int expr_print(const struct expr *e, bool exact, struct buf *out)
{
    int rc;
    switch (e->kind) {
    case EXPR_LITERAL:
        return print_value(&e->literal, exact, out);
    case EXPR_ATTR:
        return print_attr(&e->attr, exact, out);
    case EXPR_UNARY:
        rc = buf_str(out, op_texts[e->op]);
        return rc < 0 ? rc : print_operand(e->rhs, exact, out);
    case EXPR_BINARY:
        rc = print_operand(e->lhs, exact, out);
        rc = rc < 0 ? rc : buf_printf(out, " %s ", op_texts[e->op]);
        return rc < 0 ? rc : print_operand(e->rhs, exact, out);
    }
    return 0;
}

static int print_exprs(struct expr *const *list, uint32_t count, const char *between, bool exact,
                       struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_str(out, between) : 0;
        rc = rc < 0 ? rc : expr_print(list[i], exact, out);
    }
    return rc;
}

/* ---- spansets and stages ---- */

static const char *const spanset_op_texts[] = {
    [SPANSET_AND] = "&&",
    [SPANSET_OR] = "||",
    [SPANSET_CHILD] = ">",
    [SPANSET_DESCENDANT] = ">>",
    [SPANSET_PARENT] = "<",
    [SPANSET_ANCESTOR] = "<<",
    [SPANSET_SIBLING] = "~",
    [SPANSET_NOT_CHILD] = "!>",
    [SPANSET_NOT_DESCENDANT] = "!>>",
    [SPANSET_NOT_PARENT] = "!<",
    [SPANSET_NOT_ANCESTOR] = "!<<",
    [SPANSET_NOT_SIBLING] = "!~",
    [SPANSET_UNION_CHILD] = "&>",
    [SPANSET_UNION_DESCENDANT] = "&>>",
    [SPANSET_UNION_PARENT] = "&<",
    [SPANSET_UNION_ANCESTOR] = "&<<",
    [SPANSET_UNION_SIBLING] = "&~",
};

const char *spanset_op_text(enum spanset_op op)
{
    return spanset_op_texts[op];
}

static int print_side(const struct spanset *s, bool exact, struct buf *out)
{
    int rc = buf_u8(out, '(');
    rc = rc < 0 ? rc : spanset_print(s, exact, out);
    return rc < 0 ? rc : buf_u8(out, ')');
}

int spanset_print(const struct spanset *s, bool exact, struct buf *out)
{
    int rc;
    switch (s->kind) {
    case SPANSET_FILTER:
        rc = buf_str(out, "{ ");
        rc = rc < 0 ? rc : expr_print(s->filter, exact, out);
        return rc < 0 ? rc : buf_str(out, " }");
    case SPANSET_OP:
        rc = print_side(s->lhs, exact, out);
        rc = rc < 0 ? rc : buf_printf(out, " %s ", spanset_op_texts[s->op]);
        return rc < 0 ? rc : print_side(s->rhs, exact, out);
    case SPANSET_PIPELINE:
        return pipeline_print(s->pipeline, exact, out);
    }
    return 0;
}

static const char *const aggregate_texts[] = {
    [AGGREGATE_COUNT] = "count", [AGGREGATE_MIN] = "min", [AGGREGATE_MAX] = "max",
    [AGGREGATE_AVG] = "avg",     [AGGREGATE_SUM] = "sum",
};

static int print_scalar_operand(const struct scalar *s, bool exact, struct buf *out)
{
    if (s->kind == SCALAR_LITERAL)
        return scalar_print(s, exact, out);
    int rc = buf_u8(out, '(');
    rc = rc < 0 ? rc : scalar_print(s, exact, out);
    return rc < 0 ? rc : buf_u8(out, ')');
}

int scalar_print(const struct scalar *s, bool exact, struct buf *out)
{
    int rc;
    switch (s->kind) {
    case SCALAR_LITERAL:
        return print_value(&s->literal, exact, out);
    case SCALAR_AGGREGATE:
        rc = buf_printf(out, "%s(", aggregate_texts[s->aggregate]);
        if (s->arg)
            rc = rc < 0 ? rc : expr_print(s->arg, exact, out);
        return rc < 0 ? rc : buf_u8(out, ')');
    case SCALAR_BINARY:
        rc = print_scalar_operand(s->lhs, exact, out);
        rc = rc < 0 ? rc : buf_printf(out, " %s ", op_texts[s->op]);
        return rc < 0 ? rc : print_scalar_operand(s->rhs, exact, out);
    }
    return 0;
}

static int print_stage(const struct stage *s, bool exact, struct buf *out)
{
    int rc;
    switch (s->kind) {
    case STAGE_SPANSET:
        /* A parenthesised pipeline has lost its parentheses in canonical text. */
        if (exact && s->spanset->kind == SPANSET_PIPELINE)
            return print_side(s->spanset, exact, out);
        return spanset_print(s->spanset, exact, out);
    case STAGE_SCALAR_FILTER:
        rc = print_scalar_operand(s->lhs, exact, out);
        rc = rc < 0 ? rc : buf_printf(out, " %s ", op_texts[s->op]);
        return rc < 0 ? rc : print_scalar_operand(s->rhs, exact, out);
    case STAGE_BY:
        rc = buf_str(out, "by(");
        rc = rc < 0 ? rc : expr_print(s->by, exact, out);
        return rc < 0 ? rc : buf_u8(out, ')');
    case STAGE_COALESCE:
        return buf_str(out, "coalesce()");
    case STAGE_SELECT:
        rc = buf_str(out, "select(");
        rc = rc < 0 ? rc : print_exprs(s->attrs, s->attr_count, ", ", exact, out);
        return rc < 0 ? rc : buf_u8(out, ')');
    }
    return 0;
}

int pipeline_print(const struct pipeline *p, bool exact, struct buf *out)
{
    int rc = 0;
    for (const struct stage *s = p->first; s && rc == 0; s = s->next) {
        rc = print_stage(s, exact, out);
        if (s->next)
            rc = rc < 0 ? rc : buf_u8(out, '|');
    }
    return rc;
}

/* ---- the query ---- */

static const char *const metrics_texts[] = {
    [METRICS_RATE] = "rate",
    [METRICS_COUNT] = "count_over_time",
    [METRICS_MIN] = "min_over_time",
    [METRICS_MAX] = "max_over_time",
    [METRICS_AVG] = "avg_over_time",
    [METRICS_HISTOGRAM] = "histogram_over_time",
    [METRICS_QUANTILE] = "quantile_over_time",
    [METRICS_COMPARE] = "compare",
    [METRICS_SUM] = "sum_over_time",
};

static int print_compare(const struct metrics_fn *m, bool exact, struct buf *out)
{
    int rc = buf_str(out, "compare(");
    rc = rc < 0 ? rc : spanset_print(m->filter, exact, out);
    if (!exact)
        return rc < 0 ? rc : buf_u8(out, '}'); /* so it is */
    rc = rc < 0 ? rc : buf_printf(out, ", %lld", (long long)m->top);
    if (m->start_ns || m->end_ns)
        rc = rc < 0 ? rc
                    : buf_printf(out, ", %lld, %lld", (long long)m->start_ns, (long long)m->end_ns);
    return rc < 0 ? rc : buf_u8(out, ')');
}

static int print_metrics(const struct metrics_fn *m, bool exact, struct buf *out)
{
    if (m->kind == METRICS_COMPARE)
        return print_compare(m, exact, out);
    int rc = buf_printf(out, "%s(", metrics_texts[m->kind]);
    if (m->attr)
        rc = rc < 0 ? rc : expr_print(m->attr, exact, out);
    for (uint32_t i = 0; i < m->quantile_count && rc == 0; i++) {
        rc = buf_u8(out, ',');
        if (exact)
            rc = rc < 0 ? rc : traceql_print_float(m->quantiles[i], true, out);
        else
            rc = rc < 0 ? rc : buf_printf(out, "%.5f", m->quantiles[i]);
    }
    rc = rc < 0 ? rc : buf_u8(out, ')');
    if (m->by_count) {
        rc = rc < 0 ? rc : buf_str(out, "by(");
        rc = rc < 0 ? rc : print_exprs(m->by, m->by_count, ",", exact, out);
        rc = rc < 0 ? rc : buf_u8(out, ')');
    }
    return rc;
}

static int print_metrics_stages(const struct metrics_fn *m, bool exact, struct buf *out)
{
    int rc = 0;
    for (const struct metrics_stage *s = m->stages; s && rc == 0; s = s->next) {
        if (s->kind == METRICS_STAGE_COMPARE) {
            rc = buf_printf(out, " %s ", op_texts[s->op]);
            rc = rc < 0 ? rc : print_value(&s->value, exact, out);
        } else {
            rc = buf_printf(out, " | %s(%lld)",
                            s->kind == METRICS_STAGE_TOPK ? "topk" : "bottomk",
                            (long long)s->limit);
        }
    }
    return rc;
}

static int print_hints(const struct traceql_query *q, bool exact, struct buf *out)
{
    int rc = buf_str(out, " with(");
    for (uint32_t i = 0; i < q->hint_count && rc == 0; i++) {
        rc = i ? buf_str(out, ",") : 0;
        rc = rc < 0 ? rc : buf_slice(out, q->hints[i].name);
        rc = rc < 0 ? rc : buf_u8(out, '=');
        rc = rc < 0 ? rc : print_value(&q->hints[i].value, exact, out);
    }
    return rc < 0 ? rc : buf_u8(out, ')');
}

static int query_print(const struct traceql_query *q, bool exact, struct buf *out)
{
    int rc = pipeline_print(q->pipeline, exact, out);
    if (q->metrics) {
        rc = rc < 0 ? rc : buf_str(out, " | ");
        rc = rc < 0 ? rc : print_metrics(q->metrics, exact, out);
        rc = rc < 0 ? rc : print_metrics_stages(q->metrics, exact, out);
    }
    if (q->hint_count)
        rc = rc < 0 ? rc : print_hints(q, exact, out);
    return rc;
}

int traceql_query_print(const struct traceql_query *q, struct buf *out)
{
    return query_print(q, false, out);
}

int traceql_query_print_exact(const struct traceql_query *q, struct buf *out)
{
    return query_print(q, true, out);
}
