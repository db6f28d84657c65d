/* The pull parser: what it reads, what it refuses, and where it says the fault is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json_pull.h"

struct fixture {
    struct arena *arena;
    struct err err;
    struct json_pull j;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena = arena_new((size_t)1 << 20);
    *state = f;
    return f->arena ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_free(f->arena);
    free(f);
    return 0;
}

static struct json_pull *pull(struct fixture *f, const char *text)
{
    f->err = (struct err){0};
    f->j = json_pull_of(slice_cstr(text), f->arena, 8, &f->err);
    return &f->j;
}

static void check_string(struct fixture *f, const char *text, struct slice want)
{
    struct slice s = {0};
    assert_int_equal(json_string(pull(f, text), &s), 0);
    assert_int_equal(s.len, want.len);
    assert_memory_equal(s.ptr, want.ptr, want.len);
    assert_int_equal(json_end(&f->j), 0);
}

static void check_refused(struct fixture *f, const char *text, const char *msg)
{
    assert_int_equal(json_skip(pull(f, text)) < 0 || json_end(&f->j) < 0, 1);
    assert_int_equal(f->err.code, ERR_INVALID);
    assert_string_equal(f->err.msg, msg);
}

static void strings_are_unescaped(void **state)
{
    struct fixture *f = *state;
    check_string(f, "\"plain\"", SLICE("plain"));
    check_string(f, " \t\r\n\"\" ", SLICE(""));
    check_string(f, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", SLICE("\"\\/\b\f\n\r\t"));
    check_string(f, "\"\\u0041\\u00e9\\u99ac\"", SLICE("A\xc3\xa9\xe9\xa6\xac"));
    check_string(f, "\"a\\u0000b\"", SLICE("a\0b"));
    check_string(f, "\"\\ud83d\\udc0e!\"", SLICE("\xf0\x9f\x90\x8e!"));
    /* Halves of pairs stand for nothing. */
    check_string(f, "\"\\ud83d\"", SLICE("\xef\xbf\xbd"));
    check_string(f, "\"\\udc0e\\ud83dx\"", SLICE("\xef\xbf\xbd\xef\xbf\xbdx"));
    check_string(f, "\"\\ud83d\\u0041\"",
                 SLICE("\xef\xbf\xbd"
                       "A"));
    /* Bytes that are no UTF-8 pass as they are. */
    check_string(f, "\"\xff\xfe\"", SLICE("\xff\xfe"));
}

static void strings_without_escapes_are_not_copied(void **state)
{
    struct fixture *f = *state;
    const char *text = "\"abc\"";
    struct slice s;
    assert_int_equal(json_string(pull(f, text), &s), 0);
    assert_ptr_equal(s.ptr, text + 1);
    assert_int_equal(arena_used(f->arena), 0);
}

static void bad_strings_are_refused(void **state)
{
    struct fixture *f = *state;
    check_refused(f, "\"abc", "unexpected EOF in a string at byte 4");
    check_refused(f, "\"abc\\", "unexpected EOF in a string at byte 5");
    check_refused(f, "\"a\nb\"", "control character 0x0a in a string at byte 2");
    static const char *const bad[] = {"\"\\x41\"", "\"\\u12g4\"", "\"\\u123\"", "\"\\ud83d\\u12\"",
                                      "\"\\'\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice s;
        assert_int_equal(json_string(pull(f, bad[i]), &s), ERR_INVALID);
        assert_non_null(strstr(f->err.msg, "bad escape"));
    }
}

static void the_arena_bounds_strings(void **state)
{
    (void)state;
    struct arena *small = arena_new(64);
    struct err err;
    char text[203] = "\"\\n";
    memset(text + 3, 'x', 198);
    text[201] = '"';
    struct json_pull j = json_pull_of(slice_cstr(text), small, 8, &err);
    struct slice s;
    assert_int_equal(json_string(&j, &s), ERR_LIMIT);
    arena_free(small);
}

static void objects_and_arrays_are_walked(void **state)
{
    struct fixture *f = *state;
    struct json_pull *j = pull(f, " { \"a\" : [ 1 , 2,[]] ,\"b\":{}, \"c\" : null } ");
    struct json_iter it = {0}, array = {0}, inner = {0};
    struct slice key;
    int64_t v = 0;
    assert_int_equal(json_object_next(j, &it, &key), 0);
    assert_true(slice_eq(key, SLICE("a")));
    assert_int_equal(json_array_next(j, &array), 0);
    assert_int_equal(json_i64(j, &v), 0);
    assert_int_equal(v, 1);
    assert_int_equal(json_array_next(j, &array), 0);
    assert_int_equal(json_i64(j, &v), 0);
    assert_int_equal(v, 2);
    assert_int_equal(json_array_next(j, &array), 0);
    assert_int_equal(json_array_next(j, &inner), 1);
    assert_int_equal(json_array_next(j, &array), 1);
    assert_int_equal(json_object_next(j, &it, &key), 0);
    assert_true(slice_eq(key, SLICE("b")));
    assert_int_equal(json_skip(j), 0);
    assert_int_equal(json_object_next(j, &it, &key), 0);
    /* null is an empty one. */
    inner = (struct json_iter){0};
    assert_int_equal(json_object_next(j, &inner, &key), 1);
    assert_int_equal(json_object_next(j, &it, &key), 1);
    assert_int_equal(json_end(j), 0);
    assert_int_equal(j->depth, 0);
}

static void anything_well_formed_is_skipped(void **state)
{
    struct fixture *f = *state;
    static const char *const good[] = {"0",
                                       "-0",
                                       "12.50e+3",
                                       "1E-2",
                                       "true",
                                       "false",
                                       "null",
                                       "\"\\u0041\"",
                                       "[]",
                                       "{\"a\":[{},[[1,\"x\"]],null]}",
                                       "[true,false,null]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(json_skip(pull(f, good[i])), 0);
        assert_int_equal(json_end(&f->j), 0);
    }
}

static void anything_else_is_refused_with_its_place(void **state)
{
    struct fixture *f = *state;
    check_refused(f, "", "unexpected EOF, expected a value at byte 0");
    check_refused(f, "  ", "unexpected EOF, expected a value at byte 2");
    check_refused(f, "{", "unexpected EOF, expected a string at byte 1");
    check_refused(f, "{1:2}", "expected a string, found '1' at byte 1");
    check_refused(f, "{\"a\" 1}", "expected ':', found '1' at byte 5");
    check_refused(f, "{\"a\":1 \"b\":2}", "expected ',' or '}', found '\\\"' at byte 7");
    check_refused(f, "{\"a\":1,}", "expected a string, found '}' at byte 7");
    check_refused(f, "[1 2]", "expected ',' or ']', found '2' at byte 3");
    check_refused(f, "[1,]", "expected a value, found ']' at byte 3");
    check_refused(f, "[1}", "expected ',' or ']', found '}' at byte 2");
    check_refused(f, "nul", "expected null at byte 0");
    check_refused(f, "truth", "expected true at byte 0");
    check_refused(f, "+1", "expected a value, found '+' at byte 0");
    check_refused(f, "-", "unexpected EOF, expected a digit at byte 1");
    check_refused(f, "1.", "unexpected EOF, expected a digit at byte 2");
    check_refused(f, "1.e3", "expected a digit, found 'e' at byte 2");
    check_refused(f, "1e", "unexpected EOF, expected a digit at byte 2");
    check_refused(f, "01", "expected the end, found '1' at byte 1");
    check_refused(f, "{} x", "expected the end, found 'x' at byte 3");
    check_refused(f, "\xff", "expected a value, found '\\xff' at byte 0");
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(json_skip(pull(f, "[[[[[[[[1]]]]]]]]")), 0);
    assert_int_equal(json_skip(pull(f, "[[[[[[[[[1]]]]]]]]]")), ERR_LIMIT);
    assert_string_equal(f->err.msg, "JSON nested more than 8 deep at byte 9");
    /* Many, side by side, are not deep. */
    assert_int_equal(json_skip(pull(f, "[[],[],[],[],[],[],[],[],[],[],[],[{}]]")), 0);
}

static void check_i64(struct fixture *f, const char *text, int64_t want)
{
    int64_t v = 77;
    assert_int_equal(json_i64(pull(f, text), &v), 0);
    assert_true(v == want);
    assert_int_equal(json_end(&f->j), 0);
}

static void integers_come_as_numbers_and_strings(void **state)
{
    struct fixture *f = *state;
    check_i64(f, "5", 5);
    check_i64(f, "\"-5\"", -5);
    check_i64(f, "\"9223372036854775807\"", INT64_MAX);
    check_i64(f, "-9223372036854775808", INT64_MIN);
    check_i64(f, "1e3", 1000);
    check_i64(f, "2.0", 2);
    check_i64(f, "null", 77);
    static const char *const bad[] = {
        "9223372036854775808", "1.5", "\"\"",   "\"x\"", "true", "\"1 \"",
        "\"+1\\u0000\"",       "{}",  "\"NaN\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t v;
        assert_int_equal(json_i64(pull(f, bad[i]), &v), ERR_INVALID);
    }
    uint64_t u = 0;
    assert_int_equal(json_u64(pull(f, "\"18446744073709551615\""), &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(json_u64(pull(f, "-1"), &u), ERR_INVALID);
    assert_int_equal(json_u64(pull(f, "18446744073709551616"), &u), ERR_INVALID);
    int32_t i32 = 0;
    assert_int_equal(json_i32(pull(f, "-2147483648"), &i32), 0);
    assert_int_equal(i32, INT32_MIN);
    assert_int_equal(json_i32(pull(f, "2147483648"), &i32), ERR_INVALID);
    uint32_t u32 = 0;
    assert_int_equal(json_u32(pull(f, "\"4294967295\""), &u32), 0);
    assert_true(u32 == UINT32_MAX);
    assert_int_equal(json_u32(pull(f, "4294967296"), &u32), ERR_INVALID);
    assert_string_equal(f->err.msg, "4294967296 is no unsigned 32-bit integer at byte 10");
}

static void doubles_come_in_every_form(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        double want;
    } good[] = {{"0.5", 0.5},
                {"1e21", 1e21},
                {"\"2.5\"", 2.5},
                {"-0", -0.0},
                {"\"Infinity\"", INFINITY},
                {"\"-Infinity\"", -INFINITY}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double v = 0;
        assert_int_equal(json_f64(pull(f, good[i].text), &v), 0);
        assert_memory_equal(&v, &good[i].want, sizeof v);
    }
    double v = 0;
    assert_int_equal(json_f64(pull(f, "\"NaN\""), &v), 0);
    assert_true(isnan(v));
    static const char *const bad[] = {"\"nan\"", "\"inf\"", "1e999", "\"\"", "NaN", "\"1x\"", "[]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(json_f64(pull(f, bad[i]), &v), ERR_INVALID);
}

static void other_scalars_are_read(void **state)
{
    struct fixture *f = *state;
    bool b = false;
    assert_int_equal(json_bool(pull(f, "true"), &b), 0);
    assert_true(b);
    assert_int_equal(json_bool(pull(f, "null"), &b), 0);
    assert_true(b);
    assert_int_equal(json_bool(pull(f, "false"), &b), 0);
    assert_false(b);
    assert_int_equal(json_bool(pull(f, "1"), &b), ERR_INVALID);
    struct slice s = {0};
    assert_int_equal(json_bytes(pull(f, "\"AAH+/w==\""), &s), 0);
    assert_true(slice_eq(s, SLICE("\0\1\xfe\xff")));
    assert_int_equal(json_bytes(pull(f, "\"AAH-_w\""), &s), 0);
    assert_true(slice_eq(s, SLICE("\0\1\xfe\xff")));
    assert_int_equal(json_bytes(pull(f, "\"\""), &s), 0);
    assert_int_equal(s.len, 0);
    assert_int_equal(json_bytes(pull(f, "\"A\""), &s), ERR_INVALID);
    assert_int_equal(json_bytes(pull(f, "\"A*==\""), &s), ERR_INVALID);
    assert_int_equal(json_bytes(pull(f, "5"), &s), ERR_INVALID);
}

static void keys_match_in_both_spellings(void **state)
{
    (void)state;
    assert_true(json_key_is(SLICE("traceId"), "traceId"));
    assert_true(json_key_is(SLICE("trace_id"), "traceId"));
    assert_true(json_key_is(SLICE("start_time_unix_nano"), "startTimeUnixNano"));
    assert_false(json_key_is(SLICE("trace_"), "traceId"));
    assert_false(json_key_is(SLICE("trace_i"), "traceId"));
    assert_false(json_key_is(SLICE("trace_ids"), "traceId"));
    assert_false(json_key_is(SLICE("traceid"), "traceId"));
    assert_false(json_key_is(SLICE("trace"), "traceId"));
    assert_false(json_key_is(SLICE(""), "name"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(strings_are_unescaped),
        TEST(strings_without_escapes_are_not_copied),
        TEST(bad_strings_are_refused),
        TEST(the_arena_bounds_strings),
        TEST(objects_and_arrays_are_walked),
        TEST(anything_well_formed_is_skipped),
        TEST(anything_else_is_refused_with_its_place),
        TEST(depth_is_bounded),
        TEST(integers_come_as_numbers_and_strings),
        TEST(doubles_come_in_every_form),
        TEST(other_scalars_are_read),
        TEST(keys_match_in_both_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
