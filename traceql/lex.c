/* Text to tokens. The rules are Go's scanner's, with TraceQL's own for durations, operators and
 * attribute names laid over it, because that is what the queries of the world are written for. */
#include "traceql/lex.h"

#include <inttypes.h>
#include <math.h>

#include "base/text.h"
#include "traceql/lex_number.h"
#include "traceql/traceql_limits.h"

static const struct {
    const char *text;
    bool reserved; /* a word that the lexer finds by its text */
} token_info[TOKEN_KINDS] = {
    [TOKEN_END] = {"$end", false},
    [TOKEN_ERROR] = {"error", false},
    [TOKEN_IDENT] = {"IDENTIFIER", false},
    [TOKEN_STRING] = {"STRING", false},
    [TOKEN_INT] = {"INTEGER", false},
    [TOKEN_FLOAT] = {"FLOAT", false},
    [TOKEN_DURATION] = {"DURATION", false},
    [TOKEN_ATTR] = {"attribute", false},
    [TOKEN_ATTR_EMPTY] = {"END_ATTRIBUTE", false},
    [TOKEN_TRACE_COLON] = {"trace:", false},
    [TOKEN_SPAN_COLON] = {"span:", false},
    [TOKEN_EVENT_COLON] = {"event:", false},
    [TOKEN_LINK_COLON] = {"link:", false},
    [TOKEN_INSTRUMENTATION_COLON] = {"instrumentation:", false},
    [TOKEN_OPEN_BRACE] = {"{", false},
    [TOKEN_CLOSE_BRACE] = {"}", false},
    [TOKEN_OPEN_PAREN] = {"(", false},
    [TOKEN_CLOSE_PAREN] = {")", false},
    [TOKEN_COMMA] = {",", false},
    [TOKEN_PIPE] = {"|", false},
    [TOKEN_EQ] = {"=", false},
    [TOKEN_NE] = {"!=", false},
    [TOKEN_RE] = {"=~", false},
    [TOKEN_NRE] = {"!~", false},
    [TOKEN_GT] = {">", false},
    [TOKEN_GE] = {">=", false},
    [TOKEN_LT] = {"<", false},
    [TOKEN_LE] = {"<=", false},
    [TOKEN_ADD] = {"+", false},
    [TOKEN_SUB] = {"-", false},
    [TOKEN_MUL] = {"*", false},
    [TOKEN_DIV] = {"/", false},
    [TOKEN_MOD] = {"%", false},
    [TOKEN_POW] = {"^", false},
    [TOKEN_AND] = {"&&", false},
    [TOKEN_OR] = {"||", false},
    [TOKEN_NOT] = {"!", false},
    [TOKEN_DESC] = {">>", false},
    [TOKEN_ANCE] = {"<<", false},
    [TOKEN_TILDE] = {"~", false},
    [TOKEN_NOT_CHILD] = {"!>", false},
    [TOKEN_NOT_DESC] = {"!>>", false},
    [TOKEN_NOT_PARENT] = {"!<", false},
    [TOKEN_NOT_ANCE] = {"!<<", false},
    [TOKEN_UNION_CHILD] = {"&>", false},
    [TOKEN_UNION_DESC] = {"&>>", false},
    [TOKEN_UNION_PARENT] = {"&<", false},
    [TOKEN_UNION_ANCE] = {"&<<", false},
    [TOKEN_UNION_SIBLING] = {"&~", false},
    [TOKEN_TRUE] = {"true", true},
    [TOKEN_FALSE] = {"false", true},
    [TOKEN_NIL] = {"nil", true},
    [TOKEN_OK] = {"ok", true},
    [TOKEN_STATUS_ERROR] = {"error", true},
    [TOKEN_UNSET] = {"unset", true},
    [TOKEN_UNSPECIFIED] = {"unspecified", true},
    [TOKEN_INTERNAL] = {"internal", true},
    [TOKEN_SERVER] = {"server", true},
    [TOKEN_CLIENT] = {"client", true},
    [TOKEN_PRODUCER] = {"producer", true},
    [TOKEN_CONSUMER] = {"consumer", true},
    [TOKEN_W_DURATION] = {"duration", true},
    [TOKEN_CHILD_COUNT] = {"childCount", true},
    [TOKEN_NAME] = {"name", true},
    [TOKEN_STATUS] = {"status", true},
    [TOKEN_STATUS_MESSAGE] = {"statusMessage", true},
    [TOKEN_KIND] = {"kind", true},
    [TOKEN_ROOT_NAME] = {"rootName", true},
    [TOKEN_ROOT_SERVICE_NAME] = {"rootServiceName", true},
    [TOKEN_ROOT_SERVICE] = {"rootService", true},
    [TOKEN_TRACE_DURATION] = {"traceDuration", true},
    [TOKEN_NESTED_SET_LEFT] = {"nestedSetLeft", true},
    [TOKEN_NESTED_SET_RIGHT] = {"nestedSetRight", true},
    [TOKEN_NESTED_SET_PARENT] = {"nestedSetParent", true},
    [TOKEN_ID] = {"id", true},
    [TOKEN_TRACE_ID] = {"traceID", true},
    [TOKEN_SPAN_ID] = {"spanID", true},
    [TOKEN_PARENT_ID] = {"parentID", true},
    [TOKEN_TIME_SINCE_START] = {"timeSinceStart", true},
    [TOKEN_VERSION] = {"version", true},
    [TOKEN_PARENT] = {"parent", true},
    [TOKEN_COUNT] = {"count", true},
    [TOKEN_AVG] = {"avg", true},
    [TOKEN_MAX] = {"max", true},
    [TOKEN_MIN] = {"min", true},
    [TOKEN_SUM] = {"sum", true},
    [TOKEN_BY] = {"by", true},
    [TOKEN_COALESCE] = {"coalesce", true},
    [TOKEN_SELECT] = {"select", true},
    [TOKEN_RATE] = {"rate", true},
    [TOKEN_COUNT_OVER_TIME] = {"count_over_time", true},
    [TOKEN_MIN_OVER_TIME] = {"min_over_time", true},
    [TOKEN_MAX_OVER_TIME] = {"max_over_time", true},
    [TOKEN_AVG_OVER_TIME] = {"avg_over_time", true},
    [TOKEN_QUANTILE_OVER_TIME] = {"quantile_over_time", true},
    [TOKEN_HISTOGRAM_OVER_TIME] = {"histogram_over_time", true},
    [TOKEN_COMPARE] = {"compare", true},
    [TOKEN_SUM_OVER_TIME] = {"sum_over_time", true},
    [TOKEN_TOPK] = {"topk", true},
    [TOKEN_BOTTOMK] = {"bottomk", true},
    [TOKEN_WITH] = {"with", true},
};

const char *token_text(enum token_kind kind)
{
    return token_info[kind].text;
}

void tokens_clear(struct tokens *t)
{
    vec_free(&t->list);
}

void traceql_position(struct slice text, size_t offset, unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            (*line)++;
            *column = 1;
        } else if ((text.ptr[i] & 0xc0) != 0x80) {
            (*column)++;
        }
    }
}

struct lexer {
    struct slice text;
    size_t at;
    struct arena *arena;
    struct tokens *out;
    struct err *err;
};

static int peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.len ? l->text.ptr[l->at + ahead] : -1;
}

static int push(struct lexer *l, struct token t)
{
    return vec_push(&l->out->list, t) ? 0 : err_set(l->err, ERR_NOMEM, "no memory for tokens");
}

/* Ends the list: the text is wrong from offset on. */
static int stop(struct lexer *l, size_t offset, const char *what)
{
    unsigned line, column;
    traceql_position(l->text, offset, &line, &column);
    err_set(&l->out->err, ERR_INVALID, "parse error at line %u, col %u: %s", line, column, what);
    return push(l, (struct token){.kind = TOKEN_ERROR, .offset = (uint32_t)offset});
}

/* ---- characters ---- */

/* The character at byte `at` of valid UTF-8, and its length. */
static uint32_t rune_at(struct slice s, size_t at, size_t *len)
{
    const uint8_t *p = s.ptr + at;
    if (p[0] < 0x80) {
        *len = 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *len = 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] < 0xf0) {
        *len = 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    *len = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

/* Unicode's white space: what ends an attribute name. */
static bool rune_space(uint32_t r)
{
    return (r >= '\t' && r <= '\r') || r == ' ' || r == 0x85 || r == 0xa0 || r == 0x1680 ||
           (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f ||
           r == 0x205f || r == 0x3000;
}

static bool ident_byte(int c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80 ||
           (!first && c >= '0' && c <= '9');
}

/* ---- attribute names ---- */

/* Bytes of the bare run from `at` on. */
static size_t bare_name(struct slice text, size_t at)
{
    size_t from = at;
    while (at < text.len) {
        size_t n;
        uint32_t r = rune_at(text, at, &n);
        if (rune_space(r) || r == '"' || (r < 0x80 && strchr("{}()=~!<>&|^,", (int)r)))
            break;
        at += n;
    }
    return at - from;
}

/* A quoted part, unescaped onto out; *at stands on its first quote. False: `what` says why. */
static bool quoted_name(struct slice text, size_t *at, uint8_t *out, size_t *len, const char **what)
{
    size_t i = *at + 1;
    for (;; i++) {
        if (i >= text.len) {
            *what = "unexpected EOF, expecting \"";
            return false;
        }
        if (text.ptr[i] == '"')
            break;
        if (text.ptr[i] == '\\') {
            i++;
            if (i >= text.len || (text.ptr[i] != '"' && text.ptr[i] != '\\')) {
                *what = "invalid escape sequence";
                return false;
            }
        }
        out[(*len)++] = text.ptr[i];
    }
    *at = i + 1;
    return true;
}

/* The name behind a scope's dot: bare and quoted parts, one after the other. */
static int lex_name(struct lexer *l, struct token t)
{
    size_t from = l->at;
    size_t bare = bare_name(l->text, from);
    l->at += bare;
    if (peek(l, 0) != '"') {
        t.str = slice_of(l->text.ptr + from, bare);
        if (bare == 0)
            t.kind = TOKEN_ATTR_EMPTY;
        return push(l, t);
    }
    /* Quoted: the parts are put together in the arena. How long they are is told by a first walk;
     * a name without its closing quote is found there. */
    size_t end = l->at;
    while (end < l->text.len && l->text.ptr[end] == '"') {
        for (end++; end < l->text.len && l->text.ptr[end] != '"'; end++)
            end += l->text.ptr[end] == '\\';
        end += end < l->text.len;
        end += end < l->text.len ? bare_name(l->text, end) : 0;
    }
    uint8_t *name = arena_alloc(l->arena, end - from);
    if (!name)
        return arena_err(l->arena, l->err, "the query's names");
    size_t len = bare;
    memcpy(name, l->text.ptr + from, bare);
    while (peek(l, 0) == '"') {
        const char *what;
        if (!quoted_name(l->text, &l->at, name, &len, &what))
            return stop(l, t.offset, what);
        bare = bare_name(l->text, l->at);
        memcpy(name + len, l->text.ptr + l->at, bare);
        len += bare;
        l->at += bare;
    }
    t.str = slice_of(name, len);
    return push(l, t);
}

/* ---- words ---- */

static const struct {
    const char *word;
    enum expr_scope scope;      /* with a dot */
    enum token_kind with_colon; /* TOKEN_END: none */
} scopes[] = {
    {"span", EXPR_SCOPE_SPAN, TOKEN_SPAN_COLON},
    {"resource", EXPR_SCOPE_RESOURCE, TOKEN_END},
    {"event", EXPR_SCOPE_EVENT, TOKEN_EVENT_COLON},
    {"link", EXPR_SCOPE_LINK, TOKEN_LINK_COLON},
    {"instrumentation", EXPR_SCOPE_INSTRUMENTATION, TOKEN_INSTRUMENTATION_COLON},
    {"parent", EXPR_SCOPE_NONE, TOKEN_END},
    {"trace", EXPR_SCOPE_NONE, TOKEN_TRACE_COLON},
};

static bool scope_of_word(struct slice word, size_t *out)
{
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (slice_eq(word, slice_cstr(scopes[i].word))) {
            *out = i;
            return true;
        }
    }
    return false;
}

static int lex_word(struct lexer *l)
{
    size_t from = l->at;
    while (ident_byte(peek(l, 0), l->at == from))
        l->at++;
    struct slice word = slice_of(l->text.ptr + from, l->at - from);
    struct token t = {.kind = TOKEN_IDENT, .offset = (uint32_t)from, .str = word};
    size_t s;
    if (scope_of_word(word, &s)) {
        bool trace = scopes[s].with_colon == TOKEN_TRACE_COLON;
        if (peek(l, 0) == '.' && !trace) {
            l->at++;
            t.kind = TOKEN_ATTR;
            t.scope = (uint8_t)scopes[s].scope;
            t.parent = slice_eq(word, SLICE("parent"));
            struct slice rest = slice_from(l->text, l->at);
            if (t.parent && slice_starts(rest, SLICE("span."))) {
                t.scope = EXPR_SCOPE_SPAN;
                l->at += 5;
            } else if (t.parent && slice_starts(rest, SLICE("resource."))) {
                t.scope = EXPR_SCOPE_RESOURCE;
                l->at += 9;
            }
            return lex_name(l, t);
        }
        if (peek(l, 0) == ':' && scopes[s].with_colon != TOKEN_END) {
            l->at++;
            t.kind = (uint8_t)scopes[s].with_colon;
            return push(l, t);
        }
    }
    for (int k = 0; k < TOKEN_KINDS; k++) {
        if (token_info[k].reserved && slice_eq(word, slice_cstr(token_info[k].text)))
            t.kind = (uint8_t)k;
    }
    if (slice_eq(word, SLICE("minInt")) || slice_eq(word, SLICE("maxInt"))) {
        t.kind = TOKEN_INT;
        t.i64 = word.ptr[1] == 'i' ? INT64_MIN : INT64_MAX;
    }
    return push(l, t);
}

/* ---- strings ---- */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t put_rune(uint32_t r, uint8_t *out)
{
    if (r < 0x80) {
        out[0] = (uint8_t)r;
        return 1;
    }
    size_t n = r < 0x800 ? 2 : r < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, r >>= 6)
        out[i] = 0x80 | (r & 0x3f);
    out[0] = (uint8_t)((0xf00 >> n) & 0xff) | (uint8_t)r;
    return n;
}

/* Digits of an escape. Returns -1 when there are not `count` of them. */
static int64_t escape_number(struct slice s, size_t at, size_t count, unsigned base)
{
    uint32_t v = 0;
    for (size_t i = 0; i < count; i++) {
        int d = at + i < s.len ? hex_digit(s.ptr[at + i]) : -1;
        if (d < 0 || (unsigned)d >= base)
            return -1;
        v = v * base + (unsigned)d;
    }
    return v;
}

/* One escape of an interpreted string; *at stands behind the backslash. */
static bool unescape(struct slice s, size_t *at, uint8_t *out, size_t *len)
{
    static const char letters[] = "abfnrtv\\\"", values[] = "\a\b\f\n\r\t\v\\\"";
    int c = *at < s.len ? s.ptr[*at] : 0;
    const char *simple = c ? strchr(letters, c) : NULL;
    if (simple) {
        (*at)++;
        out[(*len)++] = (uint8_t)values[simple - letters];
        return true;
    }
    bool octal = c >= '0' && c <= '7';
    size_t digits = octal ? 3 : c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (!digits)
        return false;
    *at += !octal;
    int64_t v = escape_number(s, *at, digits, octal ? 8 : 16);
    *at += digits;
    if (v < 0)
        return false;
    if (octal || c == 'x') {
        if (v > 255)
            return false;
        out[(*len)++] = (uint8_t)v;
        return true;
    }
    if (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return false;
    *len += put_rune((uint32_t)v, out + *len);
    return true;
}

/* A string from its opening quote on. What it stands for is never longer than what is written. */
static int lex_string(struct lexer *l)
{
    size_t from = l->at, end = from + 1;
    bool raw = l->text.ptr[from] == '`';
    while (end < l->text.len && l->text.ptr[end] != l->text.ptr[from]) {
        if (!raw && l->text.ptr[end] == '\n')
            break;
        end += !raw && l->text.ptr[end] == '\\' ? 2 : 1;
    }
    if (end >= l->text.len || l->text.ptr[end] == '\n')
        return stop(l, from, "literal not terminated");
    struct slice body = slice_of(l->text.ptr + from + 1, end - from - 1);
    uint8_t *out = arena_alloc(l->arena, body.len);
    if (!out)
        return arena_err(l->arena, l->err, "the query's strings");
    size_t len = 0;
    for (size_t i = 0; i < body.len;) {
        uint8_t c = body.ptr[i++];
        if (raw ? c != '\r' : c != '\\')
            out[len++] = c;
        else if (!raw && !unescape(body, &i, out, &len))
            return stop(l, from, "invalid char escape");
    }
    l->at = end + 1;
    return push(l, (struct token){
                       .kind = TOKEN_STRING, .offset = (uint32_t)from, .str = slice_of(out, len)});
}

/* ---- numbers and operators ---- */

static int lex_number(struct lexer *l)
{
    struct number n;
    char what[160];
    if (!number_scan(slice_from(l->text, l->at), &n, what, sizeof what))
        return stop(l, l->at, what);
    struct token t = {.offset = (uint32_t)l->at};
    switch (n.kind) {
    case NUMBER_INT:
        t.kind = TOKEN_INT;
        t.i64 = n.i64;
        break;
    case NUMBER_FLOAT:
        t.kind = TOKEN_FLOAT;
        t.f64 = n.f64;
        break;
    case NUMBER_DURATION:
        t.kind = TOKEN_DURATION;
        t.i64 = n.i64;
        break;
    }
    l->at += n.bytes;
    return push(l, t);
}

static int operator_of(const uint8_t *p, size_t len)
{
    for (int k = TOKEN_OPEN_BRACE; k <= TOKEN_UNION_SIBLING; k++) {
        if (strlen(token_info[k].text) == len && memcmp(token_info[k].text, p, len) == 0)
            return k;
    }
    return -1;
}

/* The token grows by one character as long as it is a token; '&' alone is none but may grow. */
static int lex_operator(struct lexer *l)
{
    const uint8_t *p = l->text.ptr + l->at;
    size_t left = l->text.len - l->at, len = 1;
    int kind = operator_of(p, 1);
    if (kind >= 0 || p[0] == '&') {
        for (int longer; len < left && (longer = operator_of(p, len + 1)) >= 0; len++)
            kind = longer;
    }
    if (kind < 0) {
        (void)rune_at(l->text, l->at, &len);
        kind = TOKEN_IDENT;
    }
    struct token t = {.kind = (uint8_t)kind, .offset = (uint32_t)l->at, .str = slice_of(p, len)};
    l->at += len;
    return push(l, t);
}

/* ---- the whole ---- */

/* White space and comments. False: a comment that does not end, at *from. */
static bool skip_blank(struct lexer *l, size_t *from)
{
    for (;;) {
        int c = peek(l, 0);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            l->at++;
        } else if (c == '/' && peek(l, 1) == '/') {
            while (l->at < l->text.len && l->text.ptr[l->at] != '\n')
                l->at++;
        } else if (c == '/' && peek(l, 1) == '*') {
            *from = l->at;
            for (l->at += 2; peek(l, 0) != '*' || peek(l, 1) != '/'; l->at++) {
                if (l->at >= l->text.len)
                    return false;
            }
            l->at += 2;
        } else {
            return true;
        }
    }
}

static int lex_token(struct lexer *l)
{
    int c = peek(l, 0), next = peek(l, 1);
    if (c == 0)
        return stop(l, l->at, "invalid character NUL");
    if (c == '"' || c == '`')
        return lex_string(l);
    if ((c >= '0' && c <= '9') || (c == '.' && next >= '0' && next <= '9'))
        return lex_number(l);
    if (c == '.') {
        struct token t = {.kind = TOKEN_ATTR, .offset = (uint32_t)l->at, .scope = EXPR_SCOPE_NONE};
        l->at++;
        return lex_name(l, t);
    }
    return ident_byte(c, true) ? lex_word(l) : lex_operator(l);
}

int traceql_lex(struct slice text, struct arena *a, struct tokens *out, struct err *err)
{
    *out = (struct tokens){.text = text};
    struct lexer l = {.text = text, .arena = a, .out = out, .err = err};
    if (!utf8_valid(text))
        return stop(&l, utf8_prefix(text, text.len), "invalid UTF-8 encoding");
    for (;;) {
        size_t comment;
        if (!skip_blank(&l, &comment))
            return stop(&l, comment, "comment not terminated");
        if (l.at == text.len)
            return push(&l, (struct token){.kind = TOKEN_END, .offset = (uint32_t)l.at});
        int rc = lex_token(&l);
        if (rc < 0 || out->list.at[out->list.count - 1].kind == TOKEN_ERROR)
            return rc;
    }
}
