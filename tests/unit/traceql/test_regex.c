/* Regular expressions: RE2's syntax and meaning, on whole values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "traceql/regex.h"
#include "traceql/regex_syntax.h"

static bool match_slice(struct slice pattern, struct slice value)
{
    struct arena *a = arena_new((size_t)1 << 20);
    struct regex *re;
    struct err err;
    bool match = false;
    if (regex_new(pattern, a, &re, &err) < 0 || regex_match(re, value, &match, &err) < 0)
        fail_msg("%.*s: %s", SLICE_ARGS(pattern), err.msg);
    arena_free(a);
    return match;
}

static void assert_match(const char *pattern, const char *value, bool want)
{
    if (match_slice(slice_cstr(pattern), slice_cstr(value)) != want)
        fail_msg("%s on \"%s\": expected %s", pattern, value, want ? "a match" : "none");
}

static void assert_refused(const char *pattern, const char *word)
{
    struct err err = {0};
    if (regex_check(slice_cstr(pattern), &err) != ERR_INVALID)
        fail_msg("%s: accepted", pattern);
    if (!strstr(err.msg, word))
        fail_msg("%s: %s, expected: %s", pattern, err.msg, word);
}

static enum regex_way way_of(const char *pattern)
{
    struct arena *a = arena_new((size_t)1 << 20);
    struct regex *re;
    assert_int_equal(regex_new(slice_cstr(pattern), a, &re, NULL), 0);
    enum regex_way way = regex_way(re);
    arena_free(a);
    return way;
}

static void patterns_match_whole_values(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *value;
        bool match;
    } table[] = {
        {"a.c", "abc", true},
        {"a.c", "xabc", false},
        {"a.c", "abcx", false},
        {"a|bc", "bc", true},
        {"a|bc", "abc", false},
        {"", "", true},
        {"", "a", false},
        {"^a$", "a", true},
        {"a$", "a\n", false},
        {"(?m)a$\\n^b", "a\nb", true},
        {"a$\\nb", "a\nb", false},
        {"a.b", "a\nb", false},
        {"(?s)a.b", "a\nb", true},
        {"(?s:a.b).", "a\nb\n", false},
        {"[^x]", "\n", true},
        {"(?i)abc", "aBC", true},
        {"(?i)straße", "STRAßE", true},
        {"ABC", "abc", false},
        {"a(?i)b|c", "aB", true},
        {"a(?i)b|c", "C", true},
        {"(?i-i:a)b", "Ab", false},
        {"[a-c]+\\d{2,3}", "abc12", true},
        {"[a-c]+\\d{2,3}", "abc1", false},
        {"a{,2}", "a{,2}", true},
        {"a{2", "a{2", true},
        {"a{2,}", "aaa", true},
        {"x*?y+?z??", "xxyy", true},
        {"\\x41\\x{1F600}\\101\\07", "A😀A\a", true},
        {"\\Qa.b*\\E+", "a.b**", true},
        {"\\Qa.b", "a.b", true},
        {"[[:alpha:]]+[[:^digit:]]", "abc-", true},
        {"\\p{Greek}+\\pL\\P{L}", "αβγx1", true},
        {"\\p{^Lu}", "a", true},
        {"[\\p{Lu}\\d_]+", "AB1_", true},
        {"\\s\\S\\w\\W", " aé-", false}, /* \w is ASCII */
        {"\\s\\S\\w\\W", " ab-", true},
        {"\\s", "\v", false}, /* as in RE2 */
        {"\\S", "\v", true},
        {"[[:space:]]", "\v", true},
        {"[\\s]", "\v", false},
        {"[\\S]", "é", true},
        {"[]a]+", "]a", true},
        {"[^]a]", "b", true},
        {"[a-]+", "a-a", true},
        {"[a\\-z]+", "a-z", true},
        {"[a-b-c]+", "a-c", true},
        {"[[a]+", "[a", true},
        {"[.*+?]+", ".*+?", true},
        {"[\\]\\\\]+", "]\\", true},
        {"\\bfoo\\b", "foo", true},
        {"foo\\B", "foo", false}, /* the end of a word is a boundary */
        {"\\Aab\\z", "ab", true},
        {"(?P<n>a)(?<m>b)()", "ab", true},
        {"(?U)a+", "aaa", true},
        {"(a|b)*c", "ababc", true},
        {"^*a", "a", true},
        {"(|a)+", "aa", true},
        {"\\.\\*\\$\\-\\/\\_", ".*$-/_", true},
        {".", "é", true},
        {"..", "é", false},
        {"[ä-ü]", "ö", true},
        {"/product/1[0-9]{2}\\?.*", "/product/123?x=1", true},
        {"#", "#", true},
        {"a b", "a b", true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_match(table[i].pattern, table[i].value, table[i].match);
}

static void what_re2_lacks_is_refused(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"*a", "missing argument to repetition operator: `*`"},
        {"a|+", "missing argument to repetition operator: `+`"},
        {"(?i)*", "missing argument"},
        {"{2}", "missing argument"},
        {"a**", "invalid nested repetition operator: `**`"},
        {"a++", "invalid nested repetition operator"},
        {"a?+", "invalid nested repetition operator"},
        {"a{2}{3}", "invalid nested repetition operator"},
        {"a??*", "invalid nested repetition operator"},
        {"(a)\\1", "invalid escape sequence: `\\\\1`"},
        {"\\8", "invalid escape sequence"},
        {"(?P=n)", "invalid or unsupported Perl syntax"},
        {"(?=a)", "invalid or unsupported Perl syntax"},
        {"(?!a)", "invalid or unsupported Perl syntax"},
        {"(?<=a)", "invalid or unsupported Perl syntax"},
        {"(?<!a)", "invalid or unsupported Perl syntax"},
        {"(?>a)", "invalid or unsupported Perl syntax"},
        {"(?|a)", "invalid or unsupported Perl syntax"},
        {"(?R)", "invalid or unsupported Perl syntax"},
        {"(?1)", "invalid or unsupported Perl syntax"},
        {"(?&n)", "invalid or unsupported Perl syntax"},
        {"(?(1)a|b)", "invalid or unsupported Perl syntax"},
        {"(?#x)", "invalid or unsupported Perl syntax"},
        {"(?x)a", "invalid or unsupported Perl syntax"},
        {"(?i-)a", "invalid or unsupported Perl syntax"},
        {"(?C1)", "invalid or unsupported Perl syntax"},
        {"(*ACCEPT)", "missing argument"},
        {"\\C", "invalid escape sequence"},
        {"\\Z", "invalid escape sequence"},
        {"\\G", "invalid escape sequence"},
        {"\\K", "invalid escape sequence"},
        {"\\R", "invalid escape sequence"},
        {"\\X", "invalid escape sequence"},
        {"\\h", "invalid escape sequence"},
        {"\\N", "invalid escape sequence"},
        {"\\cA", "invalid escape sequence"},
        {"\\é", "invalid escape sequence"},
        {"\\g1", "invalid escape sequence"},
        {"\\k<n>", "invalid escape sequence"},
        {"\\u0041", "invalid escape sequence"},
        {"\\x{110000}", "invalid escape sequence"},
        {"\\x4", "invalid escape sequence"},
        {"a\\", "trailing backslash"},
        {"[a\\", "trailing backslash"},
        {"[a", "missing closing ]"},
        {"[", "missing closing ]"},
        {"[]", "missing closing ]"},
        {"[^]", "missing closing ]"},
        {"[b-a]", "invalid character class range"},
        {"[a-\\d]", "invalid escape sequence"},
        {"[[:foo:]]", "invalid character class range"},
        {"\\p", "invalid character class range"},
        {"\\p{", "invalid character class range"},
        {"\\p{greek}", "invalid character class range"},
        {"\\p{Xan}", "invalid character class range"},
        {"\\p{L&}", "invalid character class range"},
        {"\\p{Nosuch}", "error parsing regexp"},
        {"(a", "missing closing )"},
        {"a)", "unexpected )"},
        {"(?", "missing closing )"},
        {"(?P<n", "invalid named capture"},
        {"(?P<>a)", "invalid named capture"},
        {"(?P<a-b>a)", "invalid named capture"},
        {"(?P<n>a)(?P<n>b)", "duplicate capture group name"},
        {"a{1001}", "invalid repeat count"},
        {"a{3,2}", "invalid repeat count"},
        {"a{99999999999999999999}", "invalid repeat count"},
        {"((a{100}){20}){10}", "invalid repeat count"},
        {"\xff", "invalid UTF-8"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_refused(table[i][0], table[i][1]);
}

static void literals_need_no_engine(void **state)
{
    (void)state;
    assert_int_equal(way_of("abc"), REGEX_EXACT);
    assert_int_equal(way_of(""), REGEX_EXACT);
    assert_int_equal(way_of("cart|payment|größe"), REGEX_EXACT);
    assert_int_equal(way_of("a\\.b\\x41"), REGEX_EXACT);
    assert_int_equal(way_of("abc.*"), REGEX_PREFIX);
    assert_int_equal(way_of(".*abc"), REGEX_SUFFIX);
    assert_int_equal(way_of(".*"), REGEX_SUFFIX);
    assert_int_equal(way_of(".*abc.*"), REGEX_CONTAINS);
    assert_int_equal(way_of(".*.*"), REGEX_CONTAINS);
    static const char *const engine[] = {"a.c",  "a+",      "(a)", "[a]",  ".*a|b", "a|b.*", "^a",
                                         "a.*b", ".*\\n.*", "\\d", "a{2}", "a?",    "(?i)a"};
    for (size_t i = 0; i < sizeof engine / sizeof engine[0]; i++)
        assert_int_equal(way_of(engine[i]), REGEX_ENGINE);
}

/* The same pattern in a group is left to the engine; both must agree on every value. */
static void literals_and_engine_agree(void **state)
{
    (void)state;
    static const char *const patterns[] = {"",    "a",     "ab|b", ".*",      "a.*",
                                           ".*a", ".*a.*", ".*.*", ".*aba.*", "a\\.b.*",
                                           "|a",  "a||b",  "é.*",  ".*\\*",   "a\\n|\\x{e9}"};
    static const char bytes[] = "ab.*\n\xc3\xa9";
    struct rng rng = {.state = 3};
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        char grouped[64];
        struct arena *a = arena_new((size_t)1 << 20);
        struct regex *fast, *slow;
        snprintf(grouped, sizeof grouped, "(%s)", patterns[p]);
        assert_int_equal(regex_new(slice_cstr(patterns[p]), a, &fast, NULL), 0);
        assert_int_equal(regex_new(slice_cstr(grouped), a, &slow, NULL), 0);
        assert_int_equal(regex_way(slow), REGEX_ENGINE);
        for (int n = 0; n < 3000; n++) {
            char value[8];
            size_t len = rng_below(&rng, 7);
            for (size_t i = 0; i < len; i++)
                value[i] = bytes[rng_below(&rng, sizeof bytes - 1)];
            bool x, y;
            assert_int_equal(regex_match(fast, slice_of(value, len), &x, NULL), 0);
            assert_int_equal(regex_match(slow, slice_of(value, len), &y, NULL), 0);
            if (x != y)
                fail_msg("%s on \"%.*s\": %d without the engine, %d with it", patterns[p], (int)len,
                         value, x, y);
        }
        arena_free(a);
    }
}

static void values_that_are_no_utf8_are_matched_byte_by_byte(void **state)
{
    (void)state;
    assert_true(match_slice(SLICE("a.b+"), SLICE("a\xff"
                                                 "bb")));
    assert_true(match_slice(SLICE("..."), SLICE("\xff\xfe\xc3")));
    assert_false(match_slice(SLICE("[a-z]+"), SLICE("a\x80")));
    assert_true(match_slice(SLICE("(x|.\\x{fffd})"), slice_of("\xe2\x82", 2)));
    assert_true(match_slice(SLICE("a\\x{0}.?"), slice_of("a\0b", 3)));
    assert_true(match_slice(SLICE("[^x]*"), slice_of(NULL, 0)));
}

/* Patterns that make a backtracking matcher run for ages. */
static void hostile_patterns_are_answered_in_time(void **state)
{
    (void)state;
    size_t len = 3000;
    char *value = malloc(len);
    memset(value, 'a', len);
    static const char *const patterns[] = {
        "(a+)+[bc]",          "(a|aa)+[bc]",       "(a*)*[bc]",
        "(.*.*.*.*.*.*)[bc]", "((a?){10}x?)*[bc]", "([a-z]+)*\\d?B|([a-z]+)*b",
        "(\\Qa\\E+)+[bc]",    "(\\w+\\s?)*[!b]",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        value[len - 1] = '.';
        assert_false(match_slice(slice_cstr(patterns[i]), slice_of(value, len)));
        value[len - 1] = 'b';
        assert_true(match_slice(slice_cstr(patterns[i]), slice_of(value, len)));
    }
    /* What would take the other matcher too long as well is refused. */
    struct arena *a = arena_new((size_t)1 << 20);
    struct regex *re;
    struct err err;
    bool match;
    assert_int_equal(regex_new(SLICE("([a-z]{1,500}){2}[0-9]?(.*.*)*[XY]"), a, &re, &err), 0);
    assert_int_equal(regex_match(re, slice_of(value, len), &match, &err), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "3000 bytes"));
    arena_free(a);
    free(value);
}

static void nesting_and_size_are_limited(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_str(&b, "(");
    assert_int_equal(regex_check(buf_view(&b), NULL), ERR_INVALID);
    buf_reset(&b);
    for (int i = 0; i < 150; i++)
        buf_str(&b, "(");
    buf_str(&b, "a");
    for (int i = 0; i < 150; i++)
        buf_str(&b, ")*");
    assert_true(match_slice(buf_view(&b), SLICE("aa")));
    buf_reset(&b);
    for (int i = 0; i < 60000; i++)
        buf_str(&b, "[a-z]");
    assert_int_equal(regex_check(buf_view(&b), NULL), ERR_INVALID); /* too large for the engine */
    buf_clear(&b);
}

static void random_patterns_are_accepted_or_refused(void **state)
{
    (void)state;
    static const char bytes[] = "ab()[]{}|*+?.^$\\-,:012<>PQEpxdwz=!iU\xc3\xa9";
    struct rng rng = {.state = 11};
    int accepted = 0;
    for (int n = 0; n < 20000; n++) {
        uint8_t text[16];
        size_t len = rng_below(&rng, sizeof text + 1);
        for (size_t i = 0; i < len; i++)
            text[i] = (uint8_t)bytes[rng_below(&rng, sizeof bytes - 1)];
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, text, len);
        struct err err;
        int rc = regex_check(slice_of(exact, len), &err);
        assert_true(rc == 0 || rc == ERR_INVALID);
        /* What our parser lets pass the engine must understand. */
        if (rc < 0 && strstr(err.msg, "quantifier"))
            fail_msg("%.*s: %s", (int)len, exact, err.msg);
        accepted += rc == 0;
        if (rc == 0)
            (void)match_slice(slice_of(exact, len), SLICE("ab-é"));
        free(exact);
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_values),
        cmocka_unit_test(what_re2_lacks_is_refused),
        cmocka_unit_test(literals_need_no_engine),
        cmocka_unit_test(literals_and_engine_agree),
        cmocka_unit_test(values_that_are_no_utf8_are_matched_byte_by_byte),
        cmocka_unit_test(hostile_patterns_are_answered_in_time),
        cmocka_unit_test(nesting_and_size_are_limited),
        cmocka_unit_test(random_patterns_are_accepted_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
