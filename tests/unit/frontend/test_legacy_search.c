/* Tags as logfmt, and durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "frontend/frontend_limits.h"
#include "frontend/legacy_search.h"

/* "key=value|key=value|", or the error. */
static void parsed(struct slice text, char *out, size_t size)
{
    struct legacy_tags tags = {0};
    struct err err = {0};
    struct arena *a = arena_new(1 << 20);
    size_t n = 0;
    out[0] = 0;
    if (legacy_tags_parse(text, a, &tags, &err) < 0)
        snprintf(out, size, "%s", err.msg);
    for (uint32_t i = 0; out[0] != 'i' && i < tags.pairs.count; i++)
        n += (size_t)snprintf(out + n, size - n, "%.*s=%.*s|", SLICE_ARGS(tags.pairs.at[i].key),
                              SLICE_ARGS(tags.pairs.at[i].value));
    vec_free(&tags.pairs);
    arena_free(a);
}

static void logfmt_is_read(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"  ", ""},
        {"a=b", "a=b|"},
        {"a=b c=d", "a=b|c=d|"},
        {"  a=b\n\tc=d ", "a=b|c=d|"},
        {"a", "a=|"},
        {"a b=c", "a=|b=c|"},
        {"a= b=c", "a=|b=c|"},
        {"a=", "a=|"},
        {"a=\"\"", "a=|"},
        {"a=\"b c=d\" e=f", "a=b c=d|e=f|"},
        {"a=\"q\\\"\\\\\\/\\n\\t\\u00e9\\ud83d\\ude00\"", "a=q\"\\/\n\té😀|"},
        {"a=\"\\ud83d\"", "a=\xef\xbf\xbd|"},
        {"http.url=/a?b&c", "http.url=/a?b&c|"},
        {"ä=ö", "ä=ö|"},
        {"a=b a=c", "invalid tags: tag a has been set twice"},
        {"a=\"b", "invalid tags: unterminated quoted value at pos 5"},
        {"a=\"b\\", "invalid tags: unterminated quoted value at pos 6"},
        {"a=\"b\\\"", "invalid tags: unterminated quoted value at pos 7"},
        {"a=\"\\x\"", "invalid tags: invalid quoted value at pos 7"},
        {"a=\"\\u12\"", "invalid tags: invalid quoted value at pos 9"},
        {"=a", "invalid tags: unexpected '=' at pos 1"},
        {"a=b=c", "invalid tags: unexpected '=' at pos 4"},
        {"a=b\"", "invalid tags: unexpected '\"' at pos 4"},
        {"a\"=b", "invalid tags: unexpected '\"' at pos 2"},
    };
    char got[600];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        parsed(slice_cstr(cases[i].text), got, sizeof got);
        assert_string_equal(got, cases[i].want);
    }
}

static void there_are_not_too_many_tags(void **state)
{
    char text[8 * (LIMIT_SEARCH_TAGS + 2)] = "", got[1 << 13];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < LIMIT_SEARCH_TAGS; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "k%d ", i);
    parsed(slice_cstr(text), got, sizeof got);
    assert_int_equal(got[0], 'k');
    snprintf(text + n, sizeof text - n, "more");
    parsed(slice_cstr(text), got, sizeof got);
    assert_string_equal(got, "invalid tags: more than 256");
}

static void broken_text_does_no_harm(void **state)
{
    static const char whole[] = "a=b c=\"d\\u00e9\\ud83d\\ude00\\\"\" e f=g";
    char text[sizeof whole], got[600];
    (void)state;
    for (size_t i = 0; i < sizeof whole; i++)
        parsed(slice_of(whole, i), got, sizeof got);
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(text, whole, sizeof whole);
            text[i] = (char)c;
            parsed(slice_of(text, sizeof text - 1), got, sizeof got);
        }
    }
}

static void durations_are_cut_to_milliseconds(void **state)
{
    uint64_t ns;
    (void)state;
    assert_int_equal(legacy_duration_parse("x", SLICE("1.5s"), &ns, NULL), 0);
    assert_int_equal(ns, 1500000000);
    assert_int_equal(legacy_duration_parse("x", SLICE("1999µs"), &ns, NULL), 0);
    assert_int_equal(ns, 1000000);
    assert_int_equal(legacy_duration_parse("x", SLICE("-2s"), &ns, NULL), 0);
    assert_int_equal(ns, 0);
}

static void wrong_durations_are_refused_in_gos_words(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"1", "invalid minDuration: time: missing unit in duration \"1\""},
        {"1s5", "invalid minDuration: time: missing unit in duration \"1s5\""},
        {"1d", "invalid minDuration: time: unknown unit \"d\" in duration \"1d\""},
        {"abc", "invalid minDuration: time: invalid duration \"abc\""},
        {"-", "invalid minDuration: time: invalid duration \"-\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        uint64_t ns;
        assert_int_equal(legacy_duration_parse("minDuration", slice_cstr(cases[i].text), &ns, &err),
                         ERR_INVALID);
        assert_string_equal(err.msg, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_is_read),
        cmocka_unit_test(there_are_not_too_many_tags),
        cmocka_unit_test(broken_text_does_no_harm),
        cmocka_unit_test(durations_are_cut_to_milliseconds),
        cmocka_unit_test(wrong_durations_are_refused_in_gos_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
