/* Expressions inside `{ … }`, `by(…)` and aggregates: operators by precedence climbing. */
#include "traceql/parse.h"
#include "traceql/traceql_limits.h"

#include <stdio.h>

/* ---- what every part of the parser uses ---- */

static void token_describe(const struct token *t, char *out, size_t size)
{
    static const char *const scopes[] = {
        [EXPR_SCOPE_NONE] = ".",
        [EXPR_SCOPE_SPAN] = "span.",
        [EXPR_SCOPE_RESOURCE] = "resource.",
        [EXPR_SCOPE_EVENT] = "event.",
        [EXPR_SCOPE_LINK] = "link.",
        [EXPR_SCOPE_INSTRUMENTATION] = "instrumentation.",
    };
    const char *text = token_text((enum token_kind)t->kind);
    if (t->kind == TOKEN_ATTR)
        text = t->parent ? "parent." : scopes[t->scope];
    snprintf(out, size, "%s", text);
}

int parser_unexpected(struct parser *p, const char *expecting)
{
    const struct token *t = parser_peek(p);
    if (t->kind == TOKEN_ERROR) {
        if (p->err)
            *p->err = p->tokens->err;
        return p->tokens->err.code;
    }
    char text[32];
    unsigned line, column;
    token_describe(t, text, sizeof text);
    traceql_position(p->tokens->text, t->offset, &line, &column);
    return err_set(p->err, ERR_INVALID,
                   "parse error at line %u, col %u: syntax error: unexpected %s%s%s", line, column,
                   text, expecting ? ", expecting " : "", expecting ? expecting : "");
}

int parser_expect(struct parser *p, enum token_kind kind)
{
    return parser_take(p, kind) ? 0 : parser_unexpected(p, token_text(kind));
}

int parser_enter(struct parser *p)
{
    if (p->nesting >= TRACEQL_LIMIT_NESTING)
        return err_set(p->err, ERR_INVALID, "query nested deeper than %d levels",
                       TRACEQL_LIMIT_NESTING);
    p->nesting++;
    return 0;
}

/* ---- operands ---- */

bool parse_literal(struct parser *p, struct traceql_value *out)
{
    const struct token *t = parser_peek(p);
    switch (t->kind) {
    case TOKEN_STRING:
        *out = (struct traceql_value){.type = TRACEQL_STRING, .str = t->str};
        break;
    case TOKEN_INT:
        *out = (struct traceql_value){.type = TRACEQL_INT, .i64 = t->i64};
        break;
    case TOKEN_FLOAT:
        *out = (struct traceql_value){.type = TRACEQL_FLOAT, .f64 = t->f64};
        break;
    case TOKEN_DURATION:
        *out = (struct traceql_value){.type = TRACEQL_DURATION, .i64 = t->i64};
        break;
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        *out = (struct traceql_value){.type = TRACEQL_BOOL, .b = t->kind == TOKEN_TRUE};
        break;
    case TOKEN_NIL:
        *out = (struct traceql_value){.type = TRACEQL_NIL};
        break;
    case TOKEN_UNSET:
        *out = (struct traceql_value){.type = TRACEQL_STATUS, .i64 = 0};
        break;
    case TOKEN_OK:
        *out = (struct traceql_value){.type = TRACEQL_STATUS, .i64 = 1};
        break;
    case TOKEN_STATUS_ERROR:
        *out = (struct traceql_value){.type = TRACEQL_STATUS, .i64 = 2};
        break;
    case TOKEN_UNSPECIFIED:
    case TOKEN_INTERNAL:
    case TOKEN_SERVER:
    case TOKEN_CLIENT:
    case TOKEN_PRODUCER:
    case TOKEN_CONSUMER:
        /* The words stand in the order of OTLP's numbers. */
        *out = (struct traceql_value){.type = TRACEQL_KIND, .i64 = t->kind - TOKEN_UNSPECIFIED};
        break;
    default:
        return false;
    }
    parser_next(p);
    return true;
}

static const struct {
    enum token_kind scope; /* TOKEN_END: without one */
    enum token_kind word;
    enum traceql_intrinsic intrinsic;
} intrinsic_words[] = {
    {TOKEN_END, TOKEN_W_DURATION, TRACEQL_SPAN_DURATION},
    {TOKEN_END, TOKEN_NAME, TRACEQL_SPAN_NAME},
    {TOKEN_END, TOKEN_STATUS, TRACEQL_SPAN_STATUS},
    {TOKEN_END, TOKEN_STATUS_MESSAGE, TRACEQL_SPAN_STATUS_MESSAGE},
    {TOKEN_END, TOKEN_KIND, TRACEQL_SPAN_KIND},
    {TOKEN_END, TOKEN_TRACE_DURATION, TRACEQL_TRACE_DURATION},
    {TOKEN_END, TOKEN_ROOT_NAME, TRACEQL_TRACE_ROOT_NAME},
    {TOKEN_END, TOKEN_ROOT_SERVICE_NAME, TRACEQL_TRACE_ROOT_SERVICE},
    {TOKEN_END, TOKEN_NESTED_SET_LEFT, TRACEQL_NESTED_SET_LEFT},
    {TOKEN_END, TOKEN_NESTED_SET_RIGHT, TRACEQL_NESTED_SET_RIGHT},
    {TOKEN_END, TOKEN_NESTED_SET_PARENT, TRACEQL_NESTED_SET_PARENT},
    {TOKEN_END, TOKEN_PARENT, TRACEQL_PARENT},
    {TOKEN_END, TOKEN_CHILD_COUNT, TRACEQL_CHILD_COUNT},
    {TOKEN_SPAN_COLON, TOKEN_W_DURATION, TRACEQL_SPAN_DURATION},
    {TOKEN_SPAN_COLON, TOKEN_NAME, TRACEQL_SPAN_NAME},
    {TOKEN_SPAN_COLON, TOKEN_STATUS, TRACEQL_SPAN_STATUS},
    {TOKEN_SPAN_COLON, TOKEN_STATUS_MESSAGE, TRACEQL_SPAN_STATUS_MESSAGE},
    {TOKEN_SPAN_COLON, TOKEN_KIND, TRACEQL_SPAN_KIND},
    {TOKEN_SPAN_COLON, TOKEN_ID, TRACEQL_SPAN_ID},
    {TOKEN_SPAN_COLON, TOKEN_PARENT_ID, TRACEQL_SPAN_PARENT_ID},
    {TOKEN_SPAN_COLON, TOKEN_CHILD_COUNT, TRACEQL_SPAN_CHILD_COUNT},
    {TOKEN_TRACE_COLON, TOKEN_W_DURATION, TRACEQL_TRACE_DURATION},
    {TOKEN_TRACE_COLON, TOKEN_ROOT_NAME, TRACEQL_TRACE_ROOT_NAME},
    {TOKEN_TRACE_COLON, TOKEN_ROOT_SERVICE, TRACEQL_TRACE_ROOT_SERVICE},
    {TOKEN_TRACE_COLON, TOKEN_ID, TRACEQL_TRACE_ID},
    {TOKEN_EVENT_COLON, TOKEN_NAME, TRACEQL_EVENT_NAME},
    {TOKEN_EVENT_COLON, TOKEN_TIME_SINCE_START, TRACEQL_EVENT_TIME},
    {TOKEN_LINK_COLON, TOKEN_TRACE_ID, TRACEQL_LINK_TRACE_ID},
    {TOKEN_LINK_COLON, TOKEN_SPAN_ID, TRACEQL_LINK_SPAN_ID},
    {TOKEN_INSTRUMENTATION_COLON, TOKEN_NAME, TRACEQL_SCOPE_NAME},
    {TOKEN_INSTRUMENTATION_COLON, TOKEN_VERSION, TRACEQL_SCOPE_VERSION},
};

static const char *scope_expects(enum token_kind scope)
{
    switch (scope) {
    case TOKEN_TRACE_COLON:
        return "duration or rootName or rootService or id";
    case TOKEN_EVENT_COLON:
        return "name or timeSinceStart";
    case TOKEN_LINK_COLON:
        return "traceID or spanID";
    case TOKEN_INSTRUMENTATION_COLON:
        return "name or version";
    default:
        return NULL;
    }
}

static int parse_intrinsic(struct parser *p, struct expr **out)
{
    enum token_kind scope = TOKEN_END;
    if (parser_kind(p) >= TOKEN_TRACE_COLON && parser_kind(p) <= TOKEN_INSTRUMENTATION_COLON) {
        scope = parser_kind(p);
        parser_next(p);
    }
    for (size_t i = 0; i < sizeof intrinsic_words / sizeof intrinsic_words[0]; i++) {
        if (intrinsic_words[i].scope == scope && intrinsic_words[i].word == parser_kind(p)) {
            parser_next(p);
            struct expr_attr attr = {.intrinsic = intrinsic_words[i].intrinsic};
            return expr_attr(p->arena, attr, out, p->err);
        }
    }
    return parser_unexpected(p, scope_expects(scope));
}

int parse_attr(struct parser *p, struct expr **out)
{
    const struct token *t = parser_peek(p);
    if (t->kind == TOKEN_ATTR_EMPTY)
        return parser_unexpected(p, "IDENTIFIER");
    if (t->kind != TOKEN_ATTR)
        return parse_intrinsic(p, out);
    parser_next(p);
    struct expr_attr attr = {
        .parent = t->parent, .scope = (enum expr_scope)t->scope, .name = t->str};
    return expr_attr(p->arena, attr, out, p->err);
}

/* ---- operators ---- */

int parse_precedence(enum token_kind kind, enum traceql_op *op)
{
    static const struct {
        enum token_kind kind;
        enum traceql_op op;
        int precedence;
    } table[] = {
        {TOKEN_AND, TRACEQL_OP_AND, PREC_LOGIC}, {TOKEN_OR, TRACEQL_OP_OR, PREC_LOGIC},
        {TOKEN_EQ, TRACEQL_OP_EQ, PREC_COMPARE}, {TOKEN_NE, TRACEQL_OP_NE, PREC_COMPARE},
        {TOKEN_LT, TRACEQL_OP_LT, PREC_COMPARE}, {TOKEN_LE, TRACEQL_OP_LE, PREC_COMPARE},
        {TOKEN_GT, TRACEQL_OP_GT, PREC_COMPARE}, {TOKEN_GE, TRACEQL_OP_GE, PREC_COMPARE},
        {TOKEN_RE, TRACEQL_OP_RE, PREC_COMPARE}, {TOKEN_NRE, TRACEQL_OP_NRE, PREC_COMPARE},
        {TOKEN_ADD, TRACEQL_OP_ADD, PREC_ADD},   {TOKEN_SUB, TRACEQL_OP_SUB, PREC_ADD},
        {TOKEN_MUL, TRACEQL_OP_MUL, PREC_MUL},   {TOKEN_DIV, TRACEQL_OP_DIV, PREC_MUL},
        {TOKEN_MOD, TRACEQL_OP_MOD, PREC_MUL},   {TOKEN_POW, TRACEQL_OP_POW, PREC_POW},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].kind == kind) {
            *op = table[i].op;
            return table[i].precedence;
        }
    }
    return 0;
}

static int parse_binary(struct parser *p, int precedence_min, struct expr **out);

static int parse_unary(struct parser *p, struct expr **out)
{
    struct traceql_value v;
    if (parse_literal(p, &v))
        return expr_literal(p->arena, v, out, p->err);
    if (parser_take(p, TOKEN_OPEN_PAREN)) {
        int rc = parse_binary(p, PREC_LOGIC, out);
        return rc < 0 ? rc : parser_take(p, TOKEN_CLOSE_PAREN) ? 0 : parser_unexpected(p, NULL);
    }
    bool minus = parser_kind(p) == TOKEN_SUB;
    if (!minus && parser_kind(p) != TOKEN_NOT)
        return parse_attr(p, out);
    parser_next(p);
    /* The operand takes what binds tighter than the operator: -x * 2 is -(x * 2). */
    struct expr *operand;
    int rc = parse_binary(p, (minus ? PREC_ADD : PREC_NOT) + 1, &operand);
    if (rc < 0)
        return rc;
    return expr_unary(p->arena, minus ? TRACEQL_OP_NEG : TRACEQL_OP_NOT, operand, out, p->err);
}

static int parse_binary(struct parser *p, int precedence_min, struct expr **out)
{
    int rc = parser_enter(p);
    if (rc < 0)
        return rc;
    struct expr *lhs = NULL, *rhs;
    rc = parse_unary(p, &lhs);
    while (rc == 0) {
        enum traceql_op op = TRACEQL_OP_NONE;
        int precedence = parse_precedence(parser_kind(p), &op);
        if (precedence < precedence_min)
            break;
        parser_next(p);
        rc = parse_binary(p, precedence + (precedence != PREC_POW), &rhs);
        if (rc == 0)
            rc = expr_binary(p->arena, op, lhs, rhs, &lhs, p->err);
    }
    parser_leave(p);
    *out = lhs;
    return rc;
}

int parse_expr(struct parser *p, struct expr **out)
{
    return parse_binary(p, PREC_LOGIC, out);
}
