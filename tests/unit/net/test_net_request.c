/* Headers, query parameters and percent escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/net_server.h"

static void headers_are_found_by_name(void **state)
{
    (void)state;
    const struct net_header headers[] = {{SLICE("host"), SLICE("h")},
                                         {SLICE("x-empty"), {NULL, 0}},
                                         {SLICE("x"), SLICE("1")},
                                         {SLICE("x"), SLICE("2")}};
    struct net_request req = {.headers = headers, .header_count = 4};
    assert_true(slice_eq(net_request_header(&req, "x"), SLICE("1")));
    assert_int_equal(net_request_header_count(&req, "x"), 2);
    assert_non_null(net_request_header(&req, "x-empty").ptr); /* there, but empty */
    assert_null(net_request_header(&req, "y").ptr);
    assert_int_equal(net_request_header_count(&req, "y"), 0);
}

static void percent_escapes_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool plus;
        bool whole;
        const char *out;
    } cases[] = {
        {"", false, true, ""},
        {"a%2Fb+c", false, true, "a/b+c"},
        {"a+b%2b", true, true, "a b+"},
        {"%", false, false, "%"},
        {"%4", false, false, "%4"},
        {"%41", false, true, "A"},
        {"%zz%41", false, false, "%zzA"},
        {"100%25", true, true, "100%"},
        {"%e2%82%AC", false, true, "\xe2\x82\xac"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out;
        buf_init(&out, 100);
        assert_int_equal(net_percent_decode(slice_cstr(cases[i].in), cases[i].plus, &out),
                         cases[i].whole);
        assert_true(slice_eq(buf_view(&out), slice_cstr(cases[i].out)));
        buf_clear(&out);
    }
}

static void parameters_follow_gos_rules(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *value; /* NULL: absent */
    } cases[] = {
        {"q=1", "1"},       {"a=2&q=1&q=3", "1"}, {"q=&q=3", NULL}, /* the first of that name
                                                                       decides */
        {"q", NULL},        {"", NULL},           {"qq=1", NULL},     {"&&q=a%20b+c&", "a b c"},
        {"%71=x", "x"},     {"q=a=b", "a=b"},     {"q=%zz&q=2", "2"}, /* a broken pair is dropped */
        {"%zz=1&q=2", "2"}, {"Q=1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_request req = {.query = slice_cstr(cases[i].query)};
        struct buf out;
        buf_init(&out, 100);
        buf_str(&out, ">");
        assert_int_equal(net_request_param(&req, "q", &out), cases[i].value != NULL);
        assert_true(slice_eq(slice_from(buf_view(&out), 1),
                             slice_cstr(cases[i].value ? cases[i].value : "")));
        buf_clear(&out);
    }
}

static void parameter_that_does_not_fit_is_absent(void **state)
{
    (void)state;
    struct net_request req = {.query = SLICE("q=12345678")};
    struct buf out;
    buf_init(&out, 4);
    assert_false(net_request_param(&req, "q", &out));
    assert_int_equal(out.len, 0);
    buf_clear(&out);
}

static void collect(void *ctx, struct slice name, struct slice value)
{
    struct buf *out = ctx;
    buf_printf(out, "[%.*s=%.*s]", SLICE_ARGS(name), SLICE_ARGS(value));
}

static void walk_gives_all_parameters_in_order(void **state)
{
    (void)state;
    struct net_request req = {.query = SLICE("b=1&a=%2B+&c&=v&x=%z&b=2&")};
    struct buf out;
    buf_init(&out, 1000);
    net_request_params(&req, collect, &out);
    assert_true(slice_eq(buf_view(&out), SLICE("[b=1][a=+ ][c=][=v][b=2]")));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_found_by_name),
        cmocka_unit_test(percent_escapes_are_decoded),
        cmocka_unit_test(parameters_follow_gos_rules),
        cmocka_unit_test(parameter_that_does_not_fit_is_absent),
        cmocka_unit_test(walk_gives_all_parameters_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
