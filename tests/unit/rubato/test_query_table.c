/* Text for terminals: harmless, in columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rubato/query_table.h"

static void assert_printable(struct slice in, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(text_put_printable(&out, in), 0);
    assert_int_equal(buf_u8(&out, 0), 0);
    assert_string_equal((char *)out.ptr, want);
    buf_clear(&out);
}

static void what_would_steer_a_terminal_is_escaped(void **state)
{
    (void)state;
    assert_printable(SLICE("GET /ä€😀 x"), "GET /ä€😀 x");
    assert_printable(SLICE("a\033[31mb\nc\td\177"), "a\\x1b[31mb\\x0ac\\x09d\\x7f");
    assert_printable(SLICE("a\0b"), "a\\x00b");
    assert_printable(SLICE("\xc2\x9b"
                           "31m"),
                     "\\u009b31m"); /* CSI in one character */
    assert_printable(SLICE("\xe2\x80\xae x \xe2\x81\xa6"), "\\u202e x \\u2066");
    assert_printable(SLICE("\xff\xc3"), "\\xff\\xc3");
    assert_printable(SLICE("\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* half of a surrogate pair */
    assert_printable(SLICE("\xf0\x9f\x98"), "\\xf0\\x9f\\x98"); /* cut short */
}

static void wide_and_combining_characters_have_their_width(void **state)
{
    (void)state;
    assert_int_equal(text_columns(SLICE("")), 0);
    assert_int_equal(text_columns(SLICE("abc")), 3);
    assert_int_equal(text_columns(SLICE("äöü")), 3);
    assert_int_equal(text_columns(SLICE("日本")), 4);
    assert_int_equal(text_columns(SLICE("e\xcc\x81")), 1);
    assert_int_equal(text_columns(SLICE("│ ├─ ⣿")), 6);
}

static void assert_table(struct table *t, bool colour, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(table_print(t, colour, &out), 0);
    assert_int_equal(buf_u8(&out, 0), 0);
    assert_string_equal((char *)out.ptr, want);
    buf_clear(&out);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    static const char *const heads[] = {"NAME", "N", "WHERE"};
    struct arena *a = arena_new(1 << 20);
    struct table t;
    table_init(&t, a, heads, 3, 1 << 1);
    table_cell(&t, SLICE("日本"));
    table_printf(&t, "%d", 5);
    table_cell(&t, SLICE("here"));
    table_cell(&t, SLICE("a longer one"));
    table_printf(&t, "%d", 12345);
    table_cell(&t, SLICE(""));
    table_tone(&t, TONE_BAD);
    assert_int_equal(table_rows(&t), 2);
    assert_table(&t, false,
                 "NAME              N  WHERE\n"
                 "日本              5  here\n"
                 "a longer one  12345\n");
    assert_table(&t, true,
                 "\033[1mNAME              N  WHERE\033[0m\n"
                 "日本              5  here\n"
                 "\033[31ma longer one  12345\033[0m\n");
    table_clear(&t);
    arena_free(a);
}

static void a_table_that_did_not_fit_says_so(void **state)
{
    (void)state;
    static const char *const heads[] = {"NAME"};
    struct arena *a = arena_new(64);
    struct table t;
    struct buf out;
    table_init(&t, a, heads, 1, 0);
    for (int i = 0; i < 100; i++)
        table_cell(&t, SLICE("some text in a cell"));
    buf_init(&out, 4096);
    assert_true(table_print(&t, false, &out) < 0);
    buf_clear(&out);
    table_clear(&t);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_would_steer_a_terminal_is_escaped),
        cmocka_unit_test(wide_and_combining_characters_have_their_width),
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(a_table_that_did_not_fit_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
