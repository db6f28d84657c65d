/* RE2's syntax (as Go's regexp reads it), written out again for PCRE2.
 *
 * Everything is spelled out on the way, so that PCRE2's own reading of a character can never
 * matter: literals become escapes, classes become lists of code points, groups lose their names and
 * capture nothing. What RE2 lacks has no branch here and is refused as an unknown escape, an
 * unknown kind of group or a stacked repetition. */
#include "traceql/regex_syntax.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "traceql/traceql_limits.h"

struct reader {
    struct slice s;
    size_t at;
    struct buf *out;
    struct err *err;
    enum regex_form form;
    unsigned depth;
    unsigned names;
    struct slice name[TRACEQL_LIMIT_REGEX_NAMES];
};

static int refuse(struct reader *r, const char *what, size_t from, size_t to)
{
    char shown[100];
    struct slice part = slice_of(r->s.ptr + from, (to < r->s.len ? to : r->s.len) - from);
    return err_set(r->err, ERR_INVALID, "error parsing regexp: %s: `%s`", what,
                   text_escape(part, 60, shown, sizeof shown));
}

static int peek(const struct reader *r, size_t ahead)
{
    return r->at + ahead < r->s.len ? r->s.ptr[r->at + ahead] : -1;
}

static bool take(struct reader *r, char c)
{
    if (peek(r, 0) != c)
        return false;
    r->at++;
    return true;
}

/* The next character of valid UTF-8. */
static uint32_t take_rune(struct reader *r)
{
    uint32_t c = r->s.ptr[r->at++];
    if (c < 0x80)
        return c;
    int more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    c &= 0x3fu >> more;
    for (; more; more--)
        c = c << 6 | (r->s.ptr[r->at++] & 0x3f);
    return c;
}

static int no_memory(struct reader *r, int rc)
{
    return rc < 0 ? err_set(r->err, (enum err_code)rc, "no memory for a regular expression") : 0;
}

static int put(struct reader *r, const char *text)
{
    return no_memory(r, buf_str(r->out, text));
}

static int put_rune(struct reader *r, uint32_t c)
{
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (plain)
        return no_memory(r, buf_u8(r->out, (uint8_t)c));
    return no_memory(r, buf_printf(r->out, "\\x{%x}", (unsigned)c));
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- escapes ---- */

/* \xHH and \x{H…}; the reader stands behind the x. */
static bool hex_escape(struct reader *r, uint32_t *out)
{
    uint32_t v = 0;
    if (!take(r, '{')) {
        int hi = hex_digit(peek(r, 0)), lo = hi < 0 ? -1 : hex_digit(peek(r, 1));
        if (lo < 0)
            return false;
        r->at += 2;
        *out = (uint32_t)(hi * 16 + lo);
        return true;
    }
    size_t digits = 0;
    for (int d; (d = hex_digit(peek(r, 0))) >= 0; digits++, r->at++) {
        v = v * 16 + (uint32_t)d;
        if (v > 0x10ffff)
            return false;
    }
    *out = v;
    return digits > 0 && take(r, '}');
}

/* An escape that stands for one character; the reader stands behind the backslash. */
static bool char_escape(struct reader *r, uint32_t *out)
{
    static const char letters[] = "afnrtv", values[] = "\a\f\n\r\t\v";
    if (r->at >= r->s.len)
        return false;
    uint8_t c = r->s.ptr[r->at++];
    const char *simple = c ? strchr(letters, c) : NULL;
    bool octal_follows = peek(r, 0) >= '0' && peek(r, 0) <= '7';
    if (simple) {
        *out = (uint8_t)values[simple - letters];
        return true;
    }
    if (c == 'x')
        return hex_escape(r, out);
    if (c == '0' || (c >= '1' && c <= '7' && octal_follows)) {
        uint32_t v = c - '0';
        for (int n = 0; n < 2 && peek(r, 0) >= '0' && peek(r, 0) <= '7'; n++)
            v = v * 8 + (uint32_t)(r->s.ptr[r->at++] - '0');
        *out = v;
        return true;
    }
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    *out = c;
    return c < 0x80 && !word;
}

/* Surrogates are no characters: a class of them is empty, a literal one never matches. */
static uint32_t scalar_rune(uint32_t c)
{
    return c >= 0xd800 && c <= 0xdfff ? 0xfffd : c;
}

/* \d and its like, as the inside of a class. Go's \s has no vertical tab, PCRE2's has. */
static const char *perl_class(int c)
{
    switch (c) {
    case 'd':
        return "0-9";
    case 's':
        return "\\x{9}\\x{a}\\x{c}\\x{d}\\x{20}";
    case 'w':
        return "0-9A-Za-z\\x{5f}";
    case 'D':
        return "\\D";
    case 'S':
        return "\\S\\x{b}";
    case 'W':
        return "\\W";
    default:
        return NULL;
    }
}

/* \pN, \p{Greek}, \P{^Lu}; the reader stands on the backslash. PCRE2 knows the names; what it knows
 * beyond Unicode's categories and scripts begins with X or holds other characters. */
static int unicode_class(struct reader *r)
{
    size_t from = r->at;
    bool negated = r->s.ptr[r->at + 1] == 'P';
    r->at += 2;
    struct slice name = slice_of(r->s.ptr + r->at, 1);
    if (peek(r, 0) == '{') {
        size_t end = r->at + 1;
        while (end < r->s.len && r->s.ptr[end] != '}')
            end++;
        if (end >= r->s.len)
            return refuse(r, "invalid character class range", from, r->s.len);
        name = slice_of(r->s.ptr + r->at + 1, end - r->at - 1);
        r->at = end + 1;
    } else if (r->at < r->s.len) {
        r->at++;
    } else {
        return refuse(r, "invalid character class range", from, r->at);
    }
    if (name.len && name.ptr[0] == '^') {
        negated = !negated;
        name = slice_from(name, 1);
    }
    bool known = name.len > 0 && name.len < 40 && name.ptr[0] >= 'A' && name.ptr[0] < 'X';
    known = known || slice_eq(name, SLICE("Yi")) || slice_eq(name, SLICE("Yezidi")) ||
            slice_starts(name, SLICE("Z"));
    for (size_t i = 1; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        known = known && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_');
    }
    if (!known)
        return refuse(r, "invalid character class range", from, r->at);
    return no_memory(r, buf_printf(r->out, "\\%c{%.*s}", negated ? 'P' : 'p', SLICE_ARGS(name)));
}

/* ---- classes ---- */

/* [:alpha:], [:^alpha:]. Returns 1 when there is none here. */
static int posix_class(struct reader *r)
{
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                        "digit", "graph", "lower", "print", "punct",
                                        "space", "upper", "word",  "xdigit"};
    size_t from = r->at, end = r->at + 2;
    while (end + 1 < r->s.len && !(r->s.ptr[end] == ':' && r->s.ptr[end + 1] == ']'))
        end++;
    if (end + 1 >= r->s.len)
        return 1;
    struct slice name = slice_of(r->s.ptr + from + 2, end - from - 2);
    bool negated = name.len && name.ptr[0] == '^';
    if (negated)
        name = slice_from(name, 1);
    r->at = end + 2;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_eq(name, slice_cstr(names[i])))
            return no_memory(r, buf_printf(r->out, "[:%s%s:]", negated ? "^" : "", names[i]));
    }
    return refuse(r, "invalid character class range", from, r->at);
}

static int class_char(struct reader *r, size_t class_from, uint32_t *out)
{
    size_t from = r->at;
    if (r->at >= r->s.len)
        return refuse(r, "missing closing ]", class_from, r->s.len);
    if (!take(r, '\\')) {
        *out = take_rune(r);
        return 0;
    }
    if (r->at >= r->s.len)
        return refuse(r, "trailing backslash at end of expression", r->s.len, r->s.len);
    if (!char_escape(r, out))
        return refuse(r, "invalid escape sequence", from, r->at);
    return 0;
}

/* One member of a class: a group of characters, a range or a single one. */
static int class_item(struct reader *r, size_t class_from)
{
    if (peek(r, 0) == '[' && peek(r, 1) == ':') {
        int rc = posix_class(r);
        if (rc <= 0)
            return rc;
    }
    if (peek(r, 0) == '\\') {
        int c = peek(r, 1);
        const char *group = perl_class(c);
        if (group) {
            r->at += 2;
            return put(r, group);
        }
        if (c == 'p' || c == 'P')
            return unicode_class(r);
    }
    size_t from = r->at;
    uint32_t lo, hi;
    int rc = class_char(r, class_from, &lo);
    if (rc < 0)
        return rc;
    hi = lo;
    if (peek(r, 0) == '-' && peek(r, 1) >= 0 && peek(r, 1) != ']') {
        r->at++;
        rc = class_char(r, class_from, &hi);
        if (rc < 0)
            return rc;
        if (hi < lo)
            return refuse(r, "invalid character class range", from, r->at);
    }
    /* PCRE2 takes no surrogates as ends of a range. */
    if (lo >= 0xd800 && lo <= 0xdfff)
        lo = hi > 0xdfff ? 0xe000 : 0xfffd;
    if (hi >= 0xd800 && hi <= 0xdfff)
        hi = lo < 0xd800 ? 0xd7ff : 0xfffd;
    rc = no_memory(r, buf_printf(r->out, "\\x{%x}", (unsigned)lo));
    if (rc == 0 && hi != lo)
        rc = no_memory(r, buf_printf(r->out, "-\\x{%x}", (unsigned)hi));
    return rc;
}

static int char_class(struct reader *r)
{
    size_t from = r->at;
    r->at++;
    int rc = put(r, take(r, '^') ? "[^" : "[");
    for (bool first = true; rc == 0; first = false) {
        if (r->at >= r->s.len)
            return refuse(r, "missing closing ]", from, r->s.len);
        if (!first && take(r, ']'))
            return put(r, "]");
        rc = class_item(r, from);
    }
    return rc;
}

/* ---- groups ---- */

static bool name_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* (?P<name>… and (?<name>…; the reader stands behind the <. The name itself is not needed. */
static int group_name(struct reader *r, size_t from)
{
    size_t start = r->at;
    while (r->at < r->s.len && name_byte(r->s.ptr[r->at]))
        r->at++;
    struct slice name = slice_of(r->s.ptr + start, r->at - start);
    if (!take(r, '>') || name.len == 0)
        return refuse(r, "invalid named capture", from, r->at + 1);
    if (r->names == TRACEQL_LIMIT_REGEX_NAMES)
        return refuse(r, "too many named captures", from, r->at);
    for (unsigned i = 0; i < r->names; i++) {
        if (slice_eq(r->name[i], name))
            return refuse(r, "duplicate capture group name", from, r->at);
    }
    r->name[r->names++] = name;
    return put(r, "(?:");
}

/* (?flags) and (?flags:…; the reader stands behind the ?. *group: a group is open. */
static int group_flags(struct reader *r, size_t from, bool *group)
{
    size_t start = r->at;
    bool minus = false, any = false;
    for (;; r->at++) {
        int c = peek(r, 0);
        if (c == 'i' || c == 'm' || c == 's' || c == 'U') {
            any = true;
        } else if (c == '-' && !minus) {
            minus = true;
            any = false;
        } else if ((c == ':' || c == ')') && (any || !minus)) {
            break;
        } else if (c < 0) {
            return refuse(r, "missing closing )", from, r->s.len);
        } else {
            return refuse(r, "invalid or unsupported Perl syntax", from, r->at + 1);
        }
    }
    *group = peek(r, 0) == ':';
    r->at++;
    if (r->at - start == 1 && !*group)
        return 0; /* (?) sets nothing */
    return no_memory(
        r, buf_printf(r->out, "(?%.*s", SLICE_ARGS(slice_of(r->s.ptr + start, r->at - start))));
}

/* Behind an opening parenthesis. *group: false when only flags were set. */
static int group_open(struct reader *r, size_t from, bool *group)
{
    *group = true;
    if (!take(r, '?'))
        return put(r, "(?:");
    if (peek(r, 0) == 'P' && peek(r, 1) == '<') {
        r->at += 2;
        return group_name(r, from);
    }
    if (peek(r, 0) == '<' && peek(r, 1) != '=' && peek(r, 1) != '!') {
        r->at++;
        return group_name(r, from);
    }
    return group_flags(r, from, group);
}

/* ---- repetition ---- */

/* {n}, {n,}, {n,m} at the reader; false: it is not one, and the brace is a literal. most is -1 for
 * "without end". Numbers are cut at 100000. */
static bool repeat_bounds(const struct reader *r, size_t *bytes, int *least, int *most)
{
    size_t i = r->at + 1;
    int *number[2] = {least, most};
    for (int n = 0; n < 2; n++) {
        size_t digits = 0;
        int v = 0;
        for (; i < r->s.len && r->s.ptr[i] >= '0' && r->s.ptr[i] <= '9'; i++, digits++)
            v = v < 10000 ? v * 10 + (r->s.ptr[i] - '0') : 100000;
        if (digits == 0 && n == 0)
            return false;
        *number[n] = digits ? v : -1;
        if (n == 0 && i < r->s.len && r->s.ptr[i] == ',') {
            i++;
            continue;
        }
        if (n == 0)
            *most = v;
        break;
    }
    *bytes = i + 1 - r->at;
    return i < r->s.len && r->s.ptr[i] == '}';
}

/* Repetition behind an atom, whose own largest nested repetition is *repeat; multiplies it. */
static int repetition(struct reader *r, unsigned *repeat)
{
    size_t from = r->at;
    bool done = false;
    for (;;) {
        int c = peek(r, 0), least = 0, most = 0;
        size_t bytes = 1, start = r->at;
        if (c == '{' ? !repeat_bounds(r, &bytes, &least, &most) : c != '*' && c != '+' && c != '?')
            return 0;
        if (c == '{' && (least > TRACEQL_LIMIT_REGEX_REPEAT || most > TRACEQL_LIMIT_REGEX_REPEAT ||
                         (most >= 0 && most < least)))
            return refuse(r, "invalid repeat count", start, start + bytes);
        r->at += bytes;
        bool lazy = take(r, '?');
        if (done)
            return refuse(r, "invalid nested repetition operator", from, r->at);
        done = true;
        unsigned times = c != '{' ? 1u : (unsigned)(most > least ? most : least);
        *repeat *= times > 1 ? times : 1u;
        if (*repeat > TRACEQL_LIMIT_REGEX_REPEAT)
            return refuse(r, "invalid repeat count", start, r->at);
        int rc = no_memory(r, buf_append(r->out, r->s.ptr + start, bytes));
        if (rc == 0 && lazy)
            rc = put(r, "?");
        if (rc < 0)
            return rc;
    }
}

/* ---- expressions ---- */

/* Escapes outside of classes. */
static int atom_escape(struct reader *r)
{
    size_t from = r->at;
    int c = peek(r, 1);
    if (c < 0)
        return refuse(r, "trailing backslash at end of expression", r->s.len, r->s.len);
    if (c == 'A' || c == 'z' || c == 'b' || c == 'B') {
        /* In a group, because PCRE2 repeats no bare assertion. */
        r->at += 2;
        return no_memory(r, buf_printf(r->out, "(?:\\%c)", c));
    }
    if (c == 'p' || c == 'P')
        return unicode_class(r);
    const char *group = perl_class(c);
    if (group) {
        r->at += 2;
        return no_memory(r, buf_printf(r->out, "[%s]", group));
    }
    uint32_t rune;
    r->at++;
    if (!char_escape(r, &rune))
        return refuse(r, "invalid escape sequence", from, r->at);
    return put_rune(r, scalar_rune(rune));
}

/* Around what stands for one character. */
static int single_open(struct reader *r)
{
    return r->form == REGEX_FORM_GROUPED ? put(r, "(?:") : 0;
}

static int single_close(struct reader *r)
{
    return r->form == REGEX_FORM_GROUPED ? put(r, ")") : 0;
}

/* \Q…\E: each character for itself, the last one repeatable. */
static int quoted(struct reader *r, unsigned *repeat)
{
    r->at += 2;
    bool any = false;
    int rc = 0;
    while (r->at < r->s.len && rc == 0) {
        if (peek(r, 0) == '\\' && peek(r, 1) == 'E') {
            r->at += 2;
            break;
        }
        any = true;
        rc = single_open(r);
        rc = rc < 0 ? rc : put_rune(r, take_rune(r));
        rc = rc < 0 ? rc : single_close(r);
    }
    *repeat = 1;
    return rc < 0 || !any ? rc : repetition(r, repeat);
}

static int alternation(struct reader *r, unsigned *repeat);

/* A group with all that is in it. *flags: it was none, but set flags, and cannot be repeated. */
static int group(struct reader *r, unsigned *repeat, bool *flags)
{
    size_t from = r->at;
    bool open;
    r->at++;
    int rc = group_open(r, from, &open);
    *flags = !open;
    if (rc < 0 || !open)
        return rc;
    rc = alternation(r, repeat);
    if (rc == 0 && !take(r, ')'))
        rc = refuse(r, "missing closing )", 0, r->s.len);
    return rc < 0 ? rc : put(r, ")");
}

/* A literal, a class, an escape, a dot or an anchor. */
static int single(struct reader *r)
{
    size_t bytes;
    int least, most, c = peek(r, 0);
    if (c == '*' || c == '+' || c == '?')
        return refuse(r, "missing argument to repetition operator", r->at, r->at + 1);
    if (c == '{' && repeat_bounds(r, &bytes, &least, &most))
        return refuse(r, "missing argument to repetition operator", r->at, r->at + bytes);
    if (c == '[')
        return char_class(r);
    if (c == '\\')
        return atom_escape(r);
    if (c == '.' || c == '^' || c == '$') {
        r->at++;
        return put(r, c == '.' ? "." : c == '^' ? "(?:^)" : "(?:$)");
    }
    return put_rune(r, take_rune(r));
}

/* An atom with its repetition. */
static int atom(struct reader *r, unsigned *repeat)
{
    bool flags = false;
    int rc;
    *repeat = 1;
    if (peek(r, 0) == '\\' && peek(r, 1) == 'Q')
        return quoted(r, repeat);
    if (peek(r, 0) == '(') {
        rc = group(r, repeat, &flags);
    } else {
        rc = single_open(r);
        rc = rc < 0 ? rc : single(r);
        rc = rc < 0 ? rc : single_close(r);
    }
    return rc < 0 || flags ? rc : repetition(r, repeat);
}

/* Up to a closing parenthesis or the end. *repeat: the largest product of repetitions inside. */
static int alternation(struct reader *r, unsigned *repeat)
{
    if (r->depth >= TRACEQL_LIMIT_REGEX_NESTING)
        return refuse(r, "expression nests too deeply", 0, r->s.len);
    r->depth++;
    unsigned most = 1, one;
    int rc = 0;
    while (rc == 0 && r->at < r->s.len && peek(r, 0) != ')') {
        if (take(r, '|')) {
            rc = put(r, "|");
            continue;
        }
        rc = atom(r, &one);
        most = one > most ? one : most;
    }
    r->depth--;
    *repeat = most;
    return rc;
}

int regex_translate(struct slice pattern, enum regex_form form, struct buf *out, struct err *err)
{
    struct reader r = {.s = pattern, .out = out, .err = err, .form = form};
    if (!utf8_valid(pattern))
        return refuse(&r, "invalid UTF-8", 0, pattern.len);
    unsigned repeat;
    int rc = alternation(&r, &repeat);
    if (rc == 0 && r.at < pattern.len)
        rc = refuse(&r, "unexpected )", 0, pattern.len);
    return rc;
}

/* ---- literals ---- */

static bool add_literal(struct regex_literals *l, size_t from)
{
    struct slice *list = realloc(l->list, (l->count + 1) * sizeof *list);
    if (!list)
        return false;
    l->list = list;
    /* Offsets for now: the buffer may still move. */
    list[l->count++] = (struct slice){NULL, l->bytes.len - from};
    return true;
}

bool regex_as_literals(struct slice pattern, struct regex_literals *out)
{
    *out = (struct regex_literals){0};
    buf_init(&out->bytes, pattern.len + 1);
    struct reader r = {.s = pattern};
    size_t from = 0;
    if (slice_starts(pattern, SLICE(".*"))) {
        out->any_before = true;
        r.at = 2;
    }
    while (r.at < pattern.len) {
        struct slice rest = slice_from(pattern, r.at);
        uint8_t c = rest.ptr[0];
        if (slice_eq(rest, SLICE(".*"))) {
            out->any_after = true;
            break;
        }
        if (c == '|') {
            if (!add_literal(out, from))
                return false;
            from = out->bytes.len;
            r.at++;
            continue;
        }
        if (strchr(".*+?()[]{}^$", c) && c)
            return false;
        if (c == '\\') {
            uint32_t rune;
            r.at++;
            if (!char_escape(&r, &rune) || rune >= 0x80)
                return false;
            c = (uint8_t)rune;
        } else {
            r.at++;
        }
        if (buf_u8(&out->bytes, c) < 0)
            return false;
    }
    if (!add_literal(out, from))
        return false;
    size_t at = 0;
    for (uint32_t i = 0; i < out->count; i++) {
        out->list[i].ptr = out->bytes.ptr ? out->bytes.ptr + at : NULL;
        at += out->list[i].len;
    }
    return out->count == 1 || (!out->any_before && !out->any_after);
}

void regex_literals_clear(struct regex_literals *l)
{
    free(l->list);
    buf_clear(&l->bytes);
    *l = (struct regex_literals){0};
}
