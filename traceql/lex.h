/* Text to tokens. A whole attribute reference (`span.http."status code"`) is one token, as is a
 * scope with its colon (`span:`); everything else is as in the language's grammar.
 * Private to the room and its tests. */
#ifndef TRACEQL_LEX_H
#define TRACEQL_LEX_H

#include "base/vec.h"
#include "traceql/ast.h"

enum token_kind {
    TOKEN_END,
    TOKEN_ERROR, /* the lexer stopped here: struct tokens.err */
    TOKEN_IDENT, /* also any character that starts no token */
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_DURATION,
    TOKEN_ATTR,
    TOKEN_ATTR_EMPTY, /* a scope and its dot with no name behind it */
    /* scopes with their colon */
    TOKEN_TRACE_COLON,
    TOKEN_SPAN_COLON,
    TOKEN_EVENT_COLON,
    TOKEN_LINK_COLON,
    TOKEN_INSTRUMENTATION_COLON,
    /* punctuation */
    TOKEN_OPEN_BRACE,
    TOKEN_CLOSE_BRACE,
    TOKEN_OPEN_PAREN,
    TOKEN_CLOSE_PAREN,
    TOKEN_COMMA,
    TOKEN_PIPE,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_RE,
    TOKEN_NRE, /* !~, also "not sibling" */
    TOKEN_GT,
    TOKEN_GE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_ADD,
    TOKEN_SUB,
    TOKEN_MUL,
    TOKEN_DIV,
    TOKEN_MOD,
    TOKEN_POW,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_NOT,
    TOKEN_DESC,
    TOKEN_ANCE,
    TOKEN_TILDE,
    TOKEN_NOT_CHILD,
    TOKEN_NOT_DESC,
    TOKEN_NOT_PARENT,
    TOKEN_NOT_ANCE,
    TOKEN_UNION_CHILD,
    TOKEN_UNION_DESC,
    TOKEN_UNION_PARENT,
    TOKEN_UNION_ANCE,
    TOKEN_UNION_SIBLING,
    /* reserved words */
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NIL,
    TOKEN_OK,
    TOKEN_STATUS_ERROR,
    TOKEN_UNSET,
    TOKEN_UNSPECIFIED,
    TOKEN_INTERNAL,
    TOKEN_SERVER,
    TOKEN_CLIENT,
    TOKEN_PRODUCER,
    TOKEN_CONSUMER,
    TOKEN_W_DURATION,
    TOKEN_CHILD_COUNT,
    TOKEN_NAME,
    TOKEN_STATUS,
    TOKEN_STATUS_MESSAGE,
    TOKEN_KIND,
    TOKEN_ROOT_NAME,
    TOKEN_ROOT_SERVICE_NAME,
    TOKEN_ROOT_SERVICE,
    TOKEN_TRACE_DURATION,
    TOKEN_NESTED_SET_LEFT,
    TOKEN_NESTED_SET_RIGHT,
    TOKEN_NESTED_SET_PARENT,
    TOKEN_ID,
    TOKEN_TRACE_ID,
    TOKEN_SPAN_ID,
    TOKEN_PARENT_ID,
    TOKEN_TIME_SINCE_START,
    TOKEN_VERSION,
    TOKEN_PARENT,
    TOKEN_COUNT,
    TOKEN_AVG,
    TOKEN_MAX,
    TOKEN_MIN,
    TOKEN_SUM,
    TOKEN_BY,
    TOKEN_COALESCE,
    TOKEN_SELECT,
    TOKEN_RATE,
    TOKEN_COUNT_OVER_TIME,
    TOKEN_MIN_OVER_TIME,
    TOKEN_MAX_OVER_TIME,
    TOKEN_AVG_OVER_TIME,
    TOKEN_QUANTILE_OVER_TIME,
    TOKEN_HISTOGRAM_OVER_TIME,
    TOKEN_COMPARE,
    TOKEN_SUM_OVER_TIME,
    TOKEN_TOPK,
    TOKEN_BOTTOMK,
    TOKEN_WITH,
    TOKEN_KINDS
};

struct token {
    uint8_t kind;  /* enum token_kind */
    uint8_t scope; /* TOKEN_ATTR: enum expr_scope */
    bool parent;   /* TOKEN_ATTR: parent.… */
    uint32_t offset;
    union {
        int64_t i64;      /* INT, DURATION */
        double f64;       /* FLOAT */
        struct slice str; /* STRING, IDENT, and the name of ATTR */
    };
};

struct tokens {
    struct slice text;
    VEC(struct token) list; /* ends in TOKEN_END or TOKEN_ERROR */
    struct err err;         /* what TOKEN_ERROR stands for */
};

/* Strings and quoted names go into the arena, all else stays in text. Fails only for want of
 * memory; wrong text becomes a TOKEN_ERROR, so that an earlier mistake is reported first. The
 * caller frees with tokens_clear in any case. */
ERR_MUST_CHECK int traceql_lex(struct slice text, struct arena *a, struct tokens *out,
                               struct err *err);
void tokens_clear(struct tokens *t);

/* As it stands in "unexpected X". */
const char *token_text(enum token_kind kind);
/* Line and column, from 1, in characters, of a byte of the text. */
void traceql_position(struct slice text, size_t offset, unsigned *line, unsigned *column);

#endif
