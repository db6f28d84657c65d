/* AnyValue as protobuf JSON: Go's spelling on the way out, any spelling on the way in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "block/value_json.h"

struct fixture {
    struct arena *arena;
    struct span_batch batch;
    struct buf out;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena = arena_new((size_t)16 << 20);
    buf_init(&f->out, (size_t)16 << 20);
    *state = f;
    return f->arena ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    span_batch_clear(&f->batch);
    buf_clear(&f->out);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void check_text(struct fixture *f, const char *want)
{
    if (f->out.len != strlen(want) || memcmp(f->out.ptr, want, f->out.len) != 0)
        fail_msg("got %.*s, want %s", SLICE_ARGS(buf_view(&f->out)), want);
}

static void check_written(struct fixture *f, struct value v, const char *want)
{
    buf_reset(&f->out);
    assert_int_equal(value_json_write(&f->batch, &v, &f->out), 0);
    check_text(f, want);
}

/* Parses, and writes again. */
static void check_parsed(struct fixture *f, const char *text, const char *want)
{
    struct value v;
    if (value_json_parse(slice_cstr(text), 64, f->arena, &f->batch, &v, &f->err) < 0)
        fail_msg("%s: %s", text, f->err.msg);
    check_written(f, v, want);
}

static void check_same(struct fixture *f, const char *text)
{
    check_parsed(f, text, text);
}

static struct value string_of(struct slice s)
{
    return (struct value){.type = VALUE_STRING, .str = s};
}

static struct value double_of(double v)
{
    return (struct value){.type = VALUE_DOUBLE, .f64 = v};
}

static void scalars_look_like_gos(void **state)
{
    struct fixture *f = *state;
    check_written(f, (struct value){0}, "{}");
    check_written(f, string_of(SLICE("x")), "{\"stringValue\":\"x\"}");
    check_written(f, string_of(SLICE("")), "{\"stringValue\":\"\"}");
    check_written(f, string_of(SLICE("<a&b>\t\n\"\\\x01\xe2\x80\xa8")),
                  "{\"stringValue\":\"\\u003ca\\u0026b\\u003e\\t\\n\\\"\\\\\\u0001\\u2028\"}");
    check_written(f, (struct value){.type = VALUE_BOOL, .b = true}, "{\"boolValue\":true}");
    check_written(f, (struct value){.type = VALUE_BOOL}, "{\"boolValue\":false}");
    check_written(f, (struct value){.type = VALUE_INT, .i64 = INT64_MIN},
                  "{\"intValue\":\"-9223372036854775808\"}");
    check_written(f, (struct value){.type = VALUE_INT}, "{\"intValue\":\"0\"}");
    check_written(f, (struct value){.type = VALUE_BYTES, .str = SLICE("\0\1\xfe\xff")},
                  "{\"bytesValue\":\"AAH+/w==\"}");
    check_written(f, (struct value){.type = VALUE_BYTES}, "{\"bytesValue\":\"\"}");
}

/* Go escapes the replacement of a bad byte, but writes a character that is there as it is. */
static void bad_utf8_is_replaced_once(void **state)
{
    struct fixture *f = *state;
    check_written(f, string_of(SLICE("o\xff")), "{\"stringValue\":\"o\\ufffd\"}");
    check_parsed(f, "{\"stringValue\":\"o\\ufffd\"}", "{\"stringValue\":\"o\xef\xbf\xbd\"}");
    check_same(f, "{\"stringValue\":\"o\xef\xbf\xbd\"}");
}

static void doubles_look_like_gos(void **state)
{
    struct fixture *f = *state;
    check_written(f, double_of(1e21), "{\"doubleValue\":1e+21}");
    check_written(f, double_of(1e-7), "{\"doubleValue\":1e-7}");
    check_written(f, double_of(0.1), "{\"doubleValue\":0.1}");
    check_written(f, double_of(-0.0), "{\"doubleValue\":-0}");
    check_written(f, double_of(100), "{\"doubleValue\":100}");
    check_written(f, double_of((double)NAN), "{\"doubleValue\":\"NaN\"}");
    check_written(f, double_of(INFINITY), "{\"doubleValue\":\"Infinity\"}");
    check_written(f, double_of(-INFINITY), "{\"doubleValue\":\"-Infinity\"}");
}

static void everything_comes_back_as_it_was_written(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "{}",
        "{\"stringValue\":\"\"}",
        "{\"stringValue\":\"\\u003c\\u2028\\\"馬\"}",
        "{\"boolValue\":false}",
        "{\"intValue\":\"-7\"}",
        "{\"doubleValue\":1e+21}",
        "{\"doubleValue\":\"NaN\"}",
        "{\"doubleValue\":\"-Infinity\"}",
        "{\"doubleValue\":-0}",
        "{\"bytesValue\":\"AAH+/w==\"}",
        "{\"bytesValue\":\"\"}",
        "{\"arrayValue\":{}}",
        "{\"kvlistValue\":{}}",
        "{\"arrayValue\":{\"values\":[{\"stringValue\":\"x\"},{\"intValue\":\"1\"},{}]}}",
        "{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}}]}}",
        /* Lists in lists, with elements after them. */
        "{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":{\"kvlistValue\":{\"values\":["
        "{\"key\":\"b\",\"value\":{}},{\"key\":\"c\",\"value\":{\"intValue\":\"2\"}}]}}},"
        "{\"key\":\"d\",\"value\":{\"arrayValue\":{\"values\":[{\"arrayValue\":{\"values\":["
        "{\"boolValue\":true}]}},{\"intValue\":\"9\"}]}}},{\"value\":{}}]}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_same(f, texts[i]);
}

static void any_spelling_is_read(void **state)
{
    struct fixture *f = *state;
    check_parsed(f, " { \"string_value\" : \"x\" } ", "{\"stringValue\":\"x\"}");
    check_parsed(f, "{\"intValue\":5}", "{\"intValue\":\"5\"}");
    check_parsed(f, "{\"int_value\":1e3}", "{\"intValue\":\"1000\"}");
    check_parsed(f, "{\"doubleValue\":\"0.25\"}", "{\"doubleValue\":0.25}");
    check_parsed(f, "{\"doubleValue\":7}", "{\"doubleValue\":7}");
    check_parsed(f, "{\"bytesValue\":\"AAH-_w\"}", "{\"bytesValue\":\"AAH+/w==\"}");
    check_parsed(f, "{\"stringValue\":\"\\u0041\\/\"}", "{\"stringValue\":\"A/\"}");
    check_parsed(f, "{\"stringValue\":null}", "{}");
    check_parsed(f, "null", "{}");
    check_parsed(f, "{\"arrayValue\":null}", "{}");
    check_parsed(f, "{\"arrayValue\":{\"values\":null}}", "{\"arrayValue\":{}}");
    check_parsed(f,
                 "{\"kvlist_value\":{\"values\":[{\"value\":{\"boolValue\":true},\"key\":\"k\"}]}}",
                 "{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":{\"boolValue\":true}}]}}");
    check_parsed(f, "{\"arrayValue\":{\"values\":[null]}}", "{\"arrayValue\":{\"values\":[{}]}}");
    /* The last one counts; unknown keys do not. */
    check_parsed(f, "{\"intValue\":1,\"boolValue\":true,\"x\":[{\"y\":1}]}",
                 "{\"boolValue\":true}");
    check_parsed(f, "{\"arrayValue\":{\"values\":[{}],\"values\":[{\"intValue\":1}]}}",
                 "{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"}]}}");
}

static void strings_do_not_point_into_the_text(void **state)
{
    struct fixture *f = *state;
    char text[] = "{\"stringValue\":\"abc\"}";
    struct value v;
    assert_int_equal(value_json_parse(slice_cstr(text), 4, f->arena, &f->batch, &v, &f->err), 0);
    memset(text, 'z', sizeof text - 1);
    assert_true(slice_eq(v.str, SLICE("abc")));
}

static void what_is_no_value_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "5",
                                      "{",
                                      "{\"stringValue\":5}",
                                      "{\"boolValue\":\"true\"}",
                                      "{\"intValue\":1.5}",
                                      "{\"intValue\":\"\"}",
                                      "{\"doubleValue\":\"nan\"}",
                                      "{\"bytesValue\":\"*\"}",
                                      "{\"arrayValue\":[]}",
                                      "{\"arrayValue\":{\"values\":{}}}",
                                      "{\"arrayValue\":{\"values\":[5]}}",
                                      "{\"kvlistValue\":{\"values\":[{\"key\":5}]}}",
                                      "{} {}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct value v;
        int rc = value_json_parse(slice_cstr(bad[i]), 64, f->arena, &f->batch, &v, &f->err);
        if (rc != ERR_INVALID)
            fail_msg("%s: %d", bad[i], rc);
        assert_non_null(strstr(f->err.msg, " at byte "));
    }
}

/* An array in an array …, `depth` values in all. */
static void nested(struct buf *text, unsigned depth, bool kvlist)
{
    buf_reset(text);
    for (unsigned i = 1; i < depth; i++)
        buf_str(text, kvlist ? "{\"kvlistValue\":{\"values\":[{\"value\":"
                             : "{\"arrayValue\":{\"values\":[");
    buf_str(text, "{\"boolValue\":true}");
    for (unsigned i = 1; i < depth; i++)
        buf_str(text, kvlist ? "}]}}" : "]}}");
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct buf text;
    struct value v;
    buf_init(&text, (size_t)1 << 20);
    for (unsigned kvlist = 0; kvlist < 2; kvlist++) {
        nested(&text, 64, kvlist);
        assert_int_equal(value_json_parse(buf_view(&text), 64, f->arena, &f->batch, &v, &f->err),
                         0);
        assert_int_equal(buf_u8(&text, 0), 0);
        check_written(f, v, (const char *)text.ptr);
        nested(&text, 65, kvlist);
        assert_int_equal(value_json_parse(buf_view(&text), 64, f->arena, &f->batch, &v, &f->err),
                         ERR_LIMIT);
        nested(&text, 9000, kvlist);
        assert_int_equal(value_json_parse(buf_view(&text), 64, f->arena, &f->batch, &v, &f->err),
                         ERR_LIMIT);
    }
    buf_clear(&text);
}

static void cut_and_flipped_texts_do_no_harm(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "{\"kvlistValue\":{\"values\":[{\"key\":\"a\\u00e9\",\"value\":{\"arrayValue\":{\"values\":"
        "[{\"intValue\":\"12\"},{\"doubleValue\":1.5e3},{\"bytesValue\":\"AAEC\"}]}}}]}}";
    struct value v;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        /* In storage of its own, so that a read past the end shows. */
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, text, n);
        assert_int_equal(value_json_parse(slice_of(copy, n), 64, f->arena, &f->batch, &v, &f->err),
                         ERR_INVALID);
        free(copy);
    }
    char flipped[sizeof text];
    for (size_t n = 0; n < (sizeof text - 1) * 8; n++) {
        memcpy(flipped, text, sizeof text);
        flipped[n / 8] = (char)(flipped[n / 8] ^ (1 << n % 8));
        span_batch_reset(&f->batch);
        arena_reset(f->arena);
        if (value_json_parse(slice_of(flipped, sizeof text - 1), 64, f->arena, &f->batch, &v,
                             &f->err) == 0) {
            buf_reset(&f->out);
            assert_int_equal(value_json_write(&f->batch, &v, &f->out), 0);
        }
    }
}

static void attributes_are_an_array(void **state)
{
    struct fixture *f = *state;
    struct run r = {0};
    struct attr *a = span_batch_attr(&f->batch, &r);
    *a = (struct attr){.key = SLICE("k\""), .value = string_of(SLICE("v"))};
    a = span_batch_attr(&f->batch, &r);
    *a = (struct attr){.key = SLICE("n")};
    assert_int_equal(attrs_json_write(&f->batch, r.range, &f->out), 0);
    check_text(f, "[{\"key\":\"k\\\"\",\"value\":{\"stringValue\":\"v\"}},"
                  "{\"key\":\"n\",\"value\":{}}]");
    buf_reset(&f->out);
    assert_int_equal(attrs_json_write(&f->batch, (struct range){0, 0}, &f->out), 0);
    check_text(f, "[]");
}

static void what_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct value v = string_of(SLICE("a long string that does not fit"));
    struct buf small;
    buf_init(&small, 20);
    assert_int_equal(buf_str(&small, "abc"), 0);
    assert_int_equal(value_json_write(&f->batch, &v, &small), ERR_LIMIT);
    assert_int_equal(small.len, 3);
    buf_clear(&small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(scalars_look_like_gos),
        TEST(bad_utf8_is_replaced_once),
        TEST(doubles_look_like_gos),
        TEST(everything_comes_back_as_it_was_written),
        TEST(any_spelling_is_read),
        TEST(strings_do_not_point_into_the_text),
        TEST(what_is_no_value_is_refused),
        TEST(depth_is_bounded),
        TEST(cut_and_flipped_texts_do_no_harm),
        TEST(attributes_are_an_array),
        TEST(what_does_not_fit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
