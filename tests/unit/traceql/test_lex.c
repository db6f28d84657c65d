/* Tokens: numbers, durations, strings, attribute names, operators, comments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "traceql/lex.h"
#include "traceql/traceql_limits.h"

struct lexed {
    struct arena *arena;
    struct tokens tokens;
};

static void lex(struct slice text, struct lexed *out)
{
    out->arena = arena_new((size_t)1 << 24);
    assert_int_equal(traceql_lex(text, out->arena, &out->tokens, NULL), 0);
    assert_true(out->tokens.list.count > 0);
    uint8_t last = out->tokens.list.at[out->tokens.list.count - 1].kind;
    assert_true(last == TOKEN_END || last == TOKEN_ERROR);
}

static void clear(struct lexed *l)
{
    tokens_clear(&l->tokens);
    arena_free(l->arena);
}

static const struct token *only(struct lexed *l, const char *text)
{
    lex(slice_cstr(text), l);
    if (l->tokens.list.count != 2)
        fail_msg("%s: %u tokens, first %s", text, l->tokens.list.count,
                 token_text((enum token_kind)l->tokens.list.at[0].kind));
    return &l->tokens.list.at[0];
}

static void assert_error(const char *text, const char *word)
{
    struct lexed l;
    lex(slice_cstr(text), &l);
    assert_int_equal(l.tokens.list.at[l.tokens.list.count - 1].kind, TOKEN_ERROR);
    if (!strstr(l.tokens.err.msg, word))
        fail_msg("%s: %s, expected: %s", text, l.tokens.err.msg, word);
    clear(&l);
}

/* Kinds of all tokens, by the words they have in messages. */
static void assert_kinds(const char *text, const char *want)
{
    struct lexed l;
    char got[512] = "";
    lex(slice_cstr(text), &l);
    for (uint32_t i = 0; i + 1 < l.tokens.list.count; i++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%s%s", i ? " " : "",
                 token_text((enum token_kind)l.tokens.list.at[i].kind));
    }
    if (strcmp(got, want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", text, got, want);
    clear(&l);
}

static void integers_are_decimal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},    {"12", 12}, {"007", 7},
                {"010", 10}, {"00", 0},  {"9223372036854775807", INT64_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct lexed l;
        const struct token *t = only(&l, good[i].text);
        assert_int_equal(t->kind, TOKEN_INT);
        assert_int_equal(t->i64, good[i].value);
        clear(&l);
    }
    assert_error("08", "invalid digit '8' in octal literal");
    assert_error("0x10", "strconv.Atoi: parsing \"0x10\": invalid syntax");
    assert_error("0b1", "strconv.Atoi: parsing \"0b1\": invalid syntax");
    assert_error("0o7", "invalid syntax");
    assert_error("1_000", "strconv.Atoi: parsing \"1_000\": invalid syntax");
    assert_error("0b12", "invalid digit '2' in binary literal");
    assert_error("0x", "hexadecimal literal has no digits");
    assert_error("1__0", "'_' must separate successive digits");
    assert_error("9223372036854775808", "value out of range");
}

static void floats_take_go_s_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1.5", 1.5},   {".5", .5}, {"5.", 5},        {"1e6", 1e6},
                {"1E-3", 1e-3}, {"0.0", 0}, {"0x1p-2", 0.25}, {"0x1.8p1", 3},
                {"08.5", 8.5},  {"0e0", 0}, {"0x_1p0", 1}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct lexed l;
        const struct token *t = only(&l, good[i].text);
        assert_int_equal(t->kind, TOKEN_FLOAT);
        assert_true(t->f64 == good[i].value);
        clear(&l);
    }
    assert_error("1e", "exponent has no digits");
    assert_error("1e999", "value out of range");
    assert_error("0x1.8", "hexadecimal mantissa requires a 'p' exponent");
    assert_error("1p2", "'p' exponent requires hexadecimal mantissa");
    assert_error("0b1.0", "invalid radix point in binary literal");
    assert_error("1_0.5", "invalid syntax");
}

static void durations_take_two_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"1y", INT64_C(31536000000000000)},
        {"1w2d3h4m5s6ms", INT64_C(788645006000000)},
        {"1.5h30m", INT64_C(7200000000000)},
        {"500ms1s", 1500000000},
        {"1h1h", INT64_C(7200000000000)},
        {"100us", 100000},
        {"1µs", 1000},
        {"5ns", 5},
        {".5s", 500000000},
        {"0s", 0},
        {"1h2m3s4ms5us6ns", INT64_C(3723004005006)},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct lexed l;
        const struct token *t = only(&l, good[i].text);
        assert_int_equal(t->kind, TOKEN_DURATION);
        assert_int_equal(t->i64, good[i].ns);
        clear(&l);
    }
    assert_kinds("1.5d", "FLOAT IDENTIFIER");
    assert_kinds("1S", "INTEGER IDENTIFIER");
    assert_kinds("5 s", "INTEGER IDENTIFIER");
    assert_kinds("1d1.5h", "INTEGER IDENTIFIER DURATION");
    assert_kinds("5m.", "INTEGER IDENTIFIER END_ATTRIBUTE");
    assert_kinds("300000y", "INTEGER IDENTIFIER");
    assert_kinds("1s1y", "INTEGER IDENTIFIER");
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } good[] = {
        {"\"\"", ""},
        {"\"a\\tb\\\"c\\\\\"", "a\tb\"c\\"},
        {"\"\\u20ac\\U0001F600\\x41\\101\"", "€😀AA"},
        {"\"\\a\\b\\f\\n\\r\\v\"", "\a\b\f\n\r\v"},
        {"`a\\n\"b\nc`", "a\\n\"b\nc"},
        {"`a\r\nb`", "a\nb"},
        {"\"größe\"", "größe"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct lexed l;
        const struct token *t = only(&l, good[i].text);
        assert_int_equal(t->kind, TOKEN_STRING);
        assert_true(slice_eq(t->str, slice_cstr(good[i].value)));
        clear(&l);
    }
    assert_error("\"a", "literal not terminated");
    assert_error("\"a\nb\"", "literal not terminated");
    assert_error("\"a\\", "literal not terminated");
    assert_error("`a", "literal not terminated");
    static const char *const bad[] = {"\"\\d\"",     "\"\\'\"",         "\"\\x4\"", "\"\\400\"",
                                      "\"\\ud800\"", "\"\\U00110000\"", "\"\\18\"", "\"\\u12\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_error(bad[i], "invalid char escape");
}

static void names_take_all_but_a_few_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        enum expr_scope scope;
        bool parent;
    } good[] = {
        {".a", "a", EXPR_SCOPE_NONE, false},
        {"span.a-1", "a-1", EXPR_SCOPE_SPAN, false},
        {"span.x-y/z:w[0]@q+*%#$;?'\\", "x-y/z:w[0]@q+*%#$;?'\\", EXPR_SCOPE_SPAN, false},
        {".a//b", "a//b", EXPR_SCOPE_NONE, false},
        {"resource.größe", "größe", EXPR_SCOPE_RESOURCE, false},
        {"span.\"a b\".c.\"d\\\"e\\\\\"", "a b.c.d\"e\\", EXPR_SCOPE_SPAN, false},
        {".\"\"", "", EXPR_SCOPE_NONE, false},
        {".a\"\"", "a", EXPR_SCOPE_NONE, false},
        {".\"{}()=~!<>&|^,\"", "{}()=~!<>&|^,", EXPR_SCOPE_NONE, false},
        {".\"5foo\"", "5foo", EXPR_SCOPE_NONE, false},
        {"span.5foo", "5foo", EXPR_SCOPE_SPAN, false},
        {"span.span.span", "span.span", EXPR_SCOPE_SPAN, false},
        {"span.resource.x", "resource.x", EXPR_SCOPE_SPAN, false},
        {"event.x", "x", EXPR_SCOPE_EVENT, false},
        {"link.x", "x", EXPR_SCOPE_LINK, false},
        {"instrumentation.x", "x", EXPR_SCOPE_INSTRUMENTATION, false},
        {"parent.x", "x", EXPR_SCOPE_NONE, true},
        {"parent.span.x", "x", EXPR_SCOPE_SPAN, true},
        {"parent.resource.x", "x", EXPR_SCOPE_RESOURCE, true},
        {"parent.event.x", "event.x", EXPR_SCOPE_NONE, true},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct lexed l;
        const struct token *t = only(&l, good[i].text);
        assert_int_equal(t->kind, TOKEN_ATTR);
        if (!slice_eq(t->str, slice_cstr(good[i].name)))
            fail_msg("%s: %.*s", good[i].text, SLICE_ARGS(t->str));
        assert_int_equal(t->scope, good[i].scope);
        assert_int_equal(t->parent, good[i].parent);
        clear(&l);
    }
    assert_error(".\"a\\tb\"", "invalid escape sequence");
    assert_error(".\"a", "unexpected EOF, expecting \"");
    assert_error(".\"a\\", "invalid escape sequence");
    assert_kinds("span. a", "END_ATTRIBUTE IDENTIFIER");
    assert_kinds("span .a", "IDENTIFIER attribute");
    assert_kinds("trace.a", "IDENTIFIER attribute");
    assert_kinds(".a\xc2\xa0.b", "attribute IDENTIFIER attribute"); /* no-break space */
    assert_kinds(".a=.b", "attribute = attribute");
    assert_kinds(".5foo", "FLOAT IDENTIFIER");
}

static void operators_are_the_longest_tokens(void **state)
{
    (void)state;
    assert_kinds("= != =~ !~ > >= < <= + - * / % ^ && || ! >> << ~ !> !>> !< !<< &> &>> &< &<< &~",
                 "= != =~ !~ > >= < <= + - * / % ^ && || ! >> << ~ !> !>> !< !<< &> &>> &< &<< &~");
    assert_kinds("{}(),|", "{ } ( ) , |");
    assert_kinds("!>>>", "!>> >");
    assert_kinds("! >", "! >");
    assert_kinds("==", "= =");
    assert_kinds("&", "IDENTIFIER");
    assert_kinds("& &", "IDENTIFIER IDENTIFIER");
    assert_kinds(";[]'x'#@?€", "IDENTIFIER IDENTIFIER IDENTIFIER IDENTIFIER IDENTIFIER IDENTIFIER "
                               "IDENTIFIER IDENTIFIER IDENTIFIER IDENTIFIER");
    assert_kinds("trace: id trace :id span:name event:x link: instrumentation:version resource:y",
                 "trace: id IDENTIFIER IDENTIFIER id span: name event: IDENTIFIER link: "
                 "instrumentation: version IDENTIFIER IDENTIFIER IDENTIFIER");
}

static void comments_and_space_divide_tokens(void **state)
{
    (void)state;
    assert_kinds("1//x\n2/*y\n*/3 // end", "INTEGER INTEGER INTEGER");
    assert_kinds("/**/1/***/2", "INTEGER INTEGER");
    assert_kinds("1 / 2", "INTEGER / INTEGER");
    assert_error("1 /* x", "comment not terminated");
    assert_error("/*/", "comment not terminated");
    assert_kinds("", "");
    assert_kinds(" \t\r\n", "");
}

static void positions_count_lines_and_characters(void **state)
{
    (void)state;
    unsigned line, column;
    struct slice text = SLICE("{ }\n  .größe = x");
    traceql_position(text, 0, &line, &column);
    assert_true(line == 1 && column == 1);
    traceql_position(text, text.len - 1, &line, &column);
    assert_true(line == 2 && column == 12);
}

static void foreign_bytes_end_in_an_error(void **state)
{
    (void)state;
    assert_error("{ .a = \"\xff\" }", "invalid UTF-8 encoding");
    assert_error("\xc3", "invalid UTF-8 encoding");
    struct lexed l;
    lex(slice_of("{ \0 }", 5), &l);
    assert_non_null(strstr(l.tokens.err.msg, "invalid character NUL"));
    clear(&l);
    struct rng rng = {.state = 7};
    for (int n = 0; n < 20000; n++) {
        uint8_t text[24];
        size_t len = rng_below(&rng, sizeof text + 1);
        static const char bytes[] = "\"`\\./*{}span:1e0x_µ5ms\n ~!&|<>=";
        for (size_t i = 0; i < len; i++)
            text[i] = rng_below(&rng, 8) ? (uint8_t)bytes[rng_below(&rng, sizeof bytes - 1)]
                                         : (uint8_t)rng_next(&rng);
        /* Memory of just this length, so that a read past its end is seen. */
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        lex(slice_of(exact, len), &l);
        for (uint32_t i = 1; i < l.tokens.list.count; i++)
            assert_true(l.tokens.list.at[i].offset >= l.tokens.list.at[i - 1].offset);
        clear(&l);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_decimal),
        cmocka_unit_test(floats_take_go_s_forms),
        cmocka_unit_test(durations_take_two_forms),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(names_take_all_but_a_few_characters),
        cmocka_unit_test(operators_are_the_longest_tokens),
        cmocka_unit_test(comments_and_space_divide_tokens),
        cmocka_unit_test(positions_count_lines_and_characters),
        cmocka_unit_test(foreign_bytes_end_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
