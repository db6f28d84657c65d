/* The list of denied URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "frontend/deny.h"

static struct deny_list *list_of(struct slice *patterns, size_t count)
{
    struct deny_list *d = NULL;
    struct err err = {0};
    const struct config_strings strings = {patterns, count};
    if (deny_list_new(&strings, &d, &err) != 0)
        fail_msg("%s", err.msg);
    return d;
}

static void patterns_match_anywhere_in_path_and_query(void **state)
{
    (void)state;
    struct slice patterns[] = {SLICE("limit=[0-9]{4,}"), SLICE("^/api/metrics|tags$")};
    struct deny_list *d = list_of(patterns, 2);
    static const struct {
        struct slice path, query;
        bool denied;
    } cases[] = {
        {SLICE("/api/search"), SLICE("q=%7B%7D&limit=1000"), true},
        {SLICE("/api/search"), SLICE("q=%7B%7D&limit=999"), false},
        {SLICE("/api/metrics/query_range"), SLICE(""), true},
        {SLICE("/tempo/api/metrics"), SLICE(""), false},
        {SLICE("/api/search/tags"), SLICE(""), true},
        {SLICE("/api/search/tags"), SLICE("limit=1"), false},
        {SLICE(""), SLICE(""), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        int rc = deny_list_check(d, cases[i].path, cases[i].query, &err);
        assert_int_equal(rc, cases[i].denied ? ERR_INVALID : 0);
        if (i == 0)
            assert_string_equal(err.msg,
                                "Invalid request /api/search?q=%7B%7D&limit=1000. This query has "
                                "been identified as one that destabilizes our system. Contact "
                                "your system administrator for more information");
    }
    deny_list_free(d);
}

static void without_patterns_nothing_is_denied(void **state)
{
    (void)state;
    struct deny_list *d = list_of(NULL, 0);
    assert_int_equal(deny_list_check(d, SLICE("/api/search"), SLICE("q=x"), NULL), 0);
    deny_list_free(d);
}

static void what_is_no_pattern_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"a(", ")(", "a**", "(?=x)"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice pattern = slice_cstr(bad[i]);
        struct deny_list *d = NULL;
        struct err err = {0};
        assert_int_equal(deny_list_new(&(struct config_strings){&pattern, 1}, &d, &err),
                         ERR_INVALID);
        assert_null(d);
        assert_non_null(strstr(err.msg, "query_frontend.url_deny_list"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_anywhere_in_path_and_query),
        cmocka_unit_test(without_patterns_nothing_is_denied),
        cmocka_unit_test(what_is_no_pattern_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
