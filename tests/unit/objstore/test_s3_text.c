/* Small texts of S3: encoding, dates, ETags, ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "objstore/s3_text.h"

static void encoding_keeps_only_the_unreserved(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(s3_uri_encode(&b, SLICE("aZ09-._~/ +%&=\xc3\xa9*"), false), 0);
    assert_true(slice_eq(buf_view(&b), SLICE("aZ09-._~%2F%20%2B%25%26%3D%C3%A9%2A")));
    buf_reset(&b);
    assert_int_equal(s3_uri_encode(&b, SLICE("a/b c"), true), 0);
    assert_true(slice_eq(buf_view(&b), SLICE("a/b%20c")));
    buf_clear(&b);
    buf_init(&b, 2);
    assert_int_equal(s3_uri_encode(&b, SLICE(" "), true), ERR_LIMIT);
    buf_clear(&b);
}

static void decoding_undoes_it_and_leaves_broken_escapes(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a%2Fb%20c+d", "a/b c d"},
        {"%C3%a9", "\xc3\xa9"},
        {"100%", "100%"},
        {"%2", "%2"},
        {"%zz%41", "%zzA"},
        {"", ""},
        {"%%41", "%A"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t n = strlen(pairs[i][0]);
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, pairs[i][0], n);
        n = s3_uri_decode(exact, n);
        assert_true(slice_eq(slice_of(exact, n), slice_cstr(pairs[i][1])));
        free(exact);
    }
}

static void times_are_written_as_signatures_want_them(void **state)
{
    (void)state;
    char t[17];
    s3_time_amz(1440938160, t);
    assert_string_equal(t, "20150830T123600Z");
    s3_time_amz(UINT64_MAX, t); /* no such year: still a text of that form */
    assert_int_equal(strlen(t), 16);
}

static void http_dates_are_read_and_bad_ones_refused(void **state)
{
    (void)state;
    uint64_t s = 0;
    assert_true(s3_time_parse_http(SLICE("Sun, 06 Nov 1994 08:49:37 GMT"), &s));
    assert_int_equal(s, 784111777);
    assert_true(s3_time_parse_http(SLICE("Thu, 29 Feb 2024 23:59:60 GMT"), &s));
    static const char *const bad[] = {
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, x6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(s3_time_parse_http(slice_cstr(bad[i]), &s));
}

static void etags_lose_their_quotes(void **state)
{
    (void)state;
    char out[8];
    s3_etag_copy(SLICE("\"abc\""), out, sizeof out);
    assert_string_equal(out, "abc");
    s3_etag_copy(SLICE("W/\"abc\""), out, sizeof out);
    assert_string_equal(out, "abc");
    s3_etag_copy(SLICE("abc"), out, sizeof out);
    assert_string_equal(out, "abc");
    s3_etag_copy(SLICE("\""), out, sizeof out);
    assert_string_equal(out, "\"");
    s3_etag_copy(SLICE("12345678"), out, sizeof out); /* too long: none rather than half of one */
    assert_string_equal(out, "");
    s3_etag_copy(slice_of(NULL, 0), out, sizeof out);
    assert_string_equal(out, "");
}

static void content_ranges_are_read_and_bad_ones_refused(void **state)
{
    (void)state;
    uint64_t from, to, total;
    bool none;
    assert_true(s3_content_range_parse(SLICE("bytes 3-9/10"), &from, &to, &total, &none));
    assert_int_equal(from, 3);
    assert_int_equal(to, 10);
    assert_int_equal(total, 10);
    assert_false(none);
    assert_true(s3_content_range_parse(SLICE("bytes */47"), &from, &to, &total, &none));
    assert_true(none);
    assert_int_equal(total, 47);
    static const char *const bad[] = {"",
                                      "bytes",
                                      "bytes ",
                                      "bytes 1-2",
                                      "bytes 1-2/",
                                      "bytes 1-2/*",
                                      "bytes 2-1/9",
                                      "bytes 0-9/9",
                                      "bytes -1/9",
                                      "bytes 1-/9",
                                      "items 0-1/9",
                                      "bytes 0-18446744073709551615/18446744073709551615",
                                      "bytes 0-1/x",
                                      "bytes 0-18446744073709551616/3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (s3_content_range_parse(slice_cstr(bad[i]), &from, &to, &total, &none))
            fail_msg("taken: %s", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding_keeps_only_the_unreserved),
        cmocka_unit_test(decoding_undoes_it_and_leaves_broken_escapes),
        cmocka_unit_test(times_are_written_as_signatures_want_them),
        cmocka_unit_test(http_dates_are_read_and_bad_ones_refused),
        cmocka_unit_test(etags_lose_their_quotes),
        cmocka_unit_test(content_ranges_are_read_and_bad_ones_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
