/* The parser's two halves: pipelines (parse.c) and expressions (parse_expr.c).
 * Private to the room and its tests. */
#ifndef TRACEQL_PARSE_H
#define TRACEQL_PARSE_H

#include "traceql/lex.h"

struct parser {
    const struct tokens *tokens;
    uint32_t at;
    uint32_t nesting;
    struct arena *arena;
    struct err *err;
};

static inline const struct token *parser_peek(const struct parser *p)
{
    return &p->tokens->list.at[p->at];
}

static inline enum token_kind parser_kind(const struct parser *p)
{
    return (enum token_kind)parser_peek(p)->kind;
}

/* Steps over a token; never over the last one. */
static inline void parser_next(struct parser *p)
{
    if (p->at + 1 < p->tokens->list.count)
        p->at++;
}

static inline bool parser_take(struct parser *p, enum token_kind kind)
{
    if (parser_kind(p) != kind)
        return false;
    parser_next(p);
    return true;
}

/* "parse error at …: syntax error: unexpected X[, expecting …]". expecting may be NULL. */
int parser_unexpected(struct parser *p, const char *expecting);
int parser_expect(struct parser *p, enum token_kind kind);
/* Around every recursion. */
int parser_enter(struct parser *p);
static inline void parser_leave(struct parser *p)
{
    p->nesting--;
}

int parse_expr(struct parser *p, struct expr **out);
/* An intrinsic or a scoped attribute. */
int parse_attr(struct parser *p, struct expr **out);
/* False: the next token starts no literal. */
bool parse_literal(struct parser *p, struct traceql_value *out);
/* Precedence of an operator between expressions, 0 for other tokens. */
int parse_precedence(enum token_kind kind, enum traceql_op *op);

/* Precedences, low to high; && and || share one, unary minus binds as loosely as binary. */
enum {
    PREC_LOGIC = 2,
    PREC_COMPARE = 3,
    PREC_ADD = 4,
    PREC_NOT = 5,
    PREC_MUL = 6,
    PREC_POW = 7,
};

#endif
