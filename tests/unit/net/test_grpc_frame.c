/* gRPC framing with plain bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/grpc_frame.h"

static void message_may_come_in_any_pieces(void **state)
{
    (void)state;
    const struct slice whole = SLICE("\0\0\0\0\x06"
                                     "abcdef");
    for (size_t piece = 1; piece <= whole.len; piece++) {
        struct grpc_unary u = {0};
        struct buf body;
        buf_init(&body, 6);
        for (size_t at = 0; at < whole.len; at += piece) {
            size_t n = whole.len - at < piece ? whole.len - at : piece;
            assert_int_equal(grpc_unary_feed(&u, slice_of(whole.ptr + at, n), 6, &body, NULL), 0);
        }
        assert_int_equal(grpc_unary_end(&u, SLICE(""), 6, &body, NULL), 0);
        assert_true(slice_eq(buf_view(&body), SLICE("abcdef")));
        buf_clear(&body);
    }
}

static void every_truncation_is_told(void **state)
{
    (void)state;
    const struct slice whole = SLICE("\0\0\0\0\x06"
                                     "abcdef");
    for (size_t n = 0; n < whole.len; n++) {
        struct grpc_unary u = {0};
        struct buf body;
        struct err err = {0};
        buf_init(&body, 6);
        assert_int_equal(grpc_unary_feed(&u, slice_of(whole.ptr, n), 6, &body, &err), 0);
        assert_int_equal(grpc_unary_end(&u, SLICE(""), 6, &body, &err), ERR_CORRUPT);
        assert_true(slice_starts(slice_cstr(err.msg), SLICE("grpc: unexpected EOF")));
        buf_clear(&body);
    }
}

static void claimed_length_allocates_nothing(void **state)
{
    (void)state;
    struct grpc_unary u = {0};
    struct buf body;
    struct err err = {0};
    buf_init(&body, 4194304);
    assert_int_equal(grpc_unary_feed(&u, SLICE("\0\x40\0\0\0abcde"), 4194304, &body, &err),
                     ERR_LIMIT);
    assert_string_equal(err.msg, "grpc: received message larger than max (1073741824 vs. 4194304)");
    assert_int_equal(body.cap, 0);
    /* Within the limit: only what arrives. */
    u = (struct grpc_unary){0};
    assert_int_equal(grpc_unary_feed(&u, SLICE("\0\0\x40\0\0abcde"), 4194304, &body, &err), 0);
    assert_int_equal(body.len, 5);
    assert_true(body.cap < 4096);
    buf_clear(&body);
}

static void timeouts_are_parsed_as_the_protocol_spells_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        uint64_t ns;
    } cases[] = {
        {"1H", true, 3600 * NS_PER_S},
        {"2M", true, 120 * NS_PER_S},
        {"3S", true, 3 * NS_PER_S},
        {"4m", true, 4 * NS_PER_MS},
        {"5u", true, 5000},
        {"6n", true, 6},
        {"0n", true, 0},
        {"99999999H", true, UINT64_MAX},
        {"99999999n", true, 99999999},
        {"100000000n", false, 0},
        {"", false, 0},
        {"S", false, 0},
        {"5", false, 0},
        {"5s", false, 0},
        {"-5S", false, 0},
        {" 5S", false, 0},
        {"5 S", false, 0},
        {"+5S", false, 0},
        {"1.5S", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ns = 1;
        assert_int_equal(grpc_timeout_parse(slice_cstr(cases[i].text), &ns), cases[i].ok);
        if (cases[i].ok)
            assert_true(ns == cases[i].ns);
    }
}

static void texts_are_percent_encoded(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(grpc_message_encode(SLICE("a b%~\n\x7f\xc3\xbc"), &out), 0);
    assert_true(slice_eq(buf_view(&out), SLICE("a b%25~%0A%7F%C3%BC")));
    buf_clear(&out);
    buf_init(&out, 2);
    assert_int_equal(grpc_message_encode(SLICE("%"), &out), ERR_LIMIT);
    buf_clear(&out);
}

static void statuses_of_http_are_translated(void **state)
{
    (void)state;
    static const int pairs[][2] = {{200, 0},  {400, 3},  {404, 5}, {429, 8}, {499, 1},
                                   {500, 13}, {503, 13}, {401, 2}, {413, 2}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_int_equal(grpc_status_of_http(pairs[i][0]), pairs[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_may_come_in_any_pieces),
        cmocka_unit_test(every_truncation_is_told),
        cmocka_unit_test(claimed_length_allocates_nothing),
        cmocka_unit_test(timeouts_are_parsed_as_the_protocol_spells_them),
        cmocka_unit_test(texts_are_percent_encoded),
        cmocka_unit_test(statuses_of_http_are_translated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
