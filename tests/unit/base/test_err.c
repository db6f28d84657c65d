/* Errors: texts and what a code means outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"

static void set_writes_code_and_text_and_returns_the_code(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, ERR_CORRUPT, "page %d: %s", 3, "short"), ERR_CORRUPT);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_string_equal(err.msg, "page 3: short");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void wrap_puts_words_before_and_cuts_at_the_end(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_NOTFOUND, "no such key");
    assert_int_equal(err_wrap(&err, "block %d", 7), ERR_NOTFOUND);
    assert_string_equal(err.msg, "block 7: no such key");
    for (int i = 0; i < 100; i++)
        err_wrap(&err, "again and again");
    assert_true(strlen(err.msg) < sizeof err.msg);
    assert_memory_equal(err.msg, "again and again: again", 22);
    err_set(&err, ERR_IO, "%0600d", 1);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_int_equal(err_wrap(NULL, "x"), ERR_INTERNAL);
}

static void codes_map_to_http_and_grpc(void **state)
{
    (void)state;
    const struct {
        enum err_code code;
        const char *name;
        int http, grpc;
        bool retryable;
    } want[] = {
        {ERR_OK, "ok", 200, 0, false},
        {ERR_INVALID, "invalid", 400, 3, false},
        {ERR_LIMIT, "limit", 413, 8, false},
        {ERR_NOTFOUND, "not found", 404, 5, false},
        {ERR_TIMEOUT, "timeout", 504, 4, true},
        {ERR_UNAVAILABLE, "unavailable", 503, 14, true},
        {ERR_UNAUTHENTICATED, "unauthenticated", 401, 16, false},
        {ERR_EXHAUSTED, "exhausted", 429, 8, true},
        {ERR_INTERNAL, "internal", 500, 13, false},
        {(enum err_code)(-100), "internal", 500, 13, false},
        {(enum err_code)100, "internal", 500, 13, false},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_string_equal(err_code_name(want[i].code), want[i].name);
        assert_int_equal(err_code_http(want[i].code), want[i].http);
        assert_int_equal(err_code_grpc(want[i].code), want[i].grpc);
        assert_int_equal(err_code_retryable(want[i].code), want[i].retryable);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_writes_code_and_text_and_returns_the_code),
        cmocka_unit_test(wrap_puts_words_before_and_cuts_at_the_end),
        cmocka_unit_test(codes_map_to_http_and_grpc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
