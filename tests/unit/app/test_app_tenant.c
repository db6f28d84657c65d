/* Whose data a request is about: Tempo 3.0's rules and texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/app.h"

struct fixture {
    struct app app;
    struct net_header headers[3];
    struct net_request req;
    struct slice tenant;
    struct err err;
};

static int tenant_of(struct fixture *f, bool multitenancy, struct slice value)
{
    *f = (struct fixture){.app.cfg.multitenancy_enabled = multitenancy};
    f->headers[0] = (struct net_header){SLICE("host"), SLICE("x")};
    f->headers[1] = (struct net_header){SLICE("x-scope-orgid"), value};
    f->req.headers = f->headers;
    f->req.header_count = 2;
    return app_tenant(&f->app, &f->req, &f->tenant, &f->err);
}

static void without_multitenancy_the_header_is_ignored(void **state)
{
    (void)state;
    struct fixture f;
    const struct slice values[] = {SLICE(""), SLICE("team-a"), SLICE("bad/../x")};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tenant_of(&f, false, values[i]), 0);
        assert_true(slice_eq(f.tenant, SLICE("single-tenant")));
    }
}

static void a_good_name_is_the_tenant(void **state)
{
    (void)state;
    struct fixture f;
    char longest[150];
    memset(longest, 'x', sizeof longest);
    const struct slice good[] = {SLICE("a"),
                                 SLICE("Team-1_x.y*'()!"),
                                 SLICE("..."),
                                 SLICE(".a"),
                                 SLICE("overrides2"),
                                 SLICE("rubato"),
                                 slice_of(longest, sizeof longest)};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(tenant_of(&f, true, good[i]), 0);
        assert_true(slice_eq(f.tenant, good[i]));
    }
}

static void no_name_and_two_names_are_no_org_id(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(tenant_of(&f, true, SLICE("")), ERR_UNAUTHENTICATED);
    assert_string_equal(f.err.msg, "no org id");
    f.req.header_count = 1;
    assert_int_equal(app_tenant(&f.app, &f.req, &f.tenant, &f.err), ERR_UNAUTHENTICATED);
    tenant_of(&f, true, SLICE("a"));
    f.headers[2] = f.headers[1];
    f.req.header_count = 3;
    assert_int_equal(app_tenant(&f.app, &f.req, &f.tenant, &f.err), ERR_UNAUTHENTICATED);
    assert_string_equal(f.err.msg, "no org id");
}

static void bad_names_are_refused_in_tempos_words(void **state)
{
    (void)state;
    char too_long[151];
    memset(too_long, 'x', sizeof too_long);
    const struct {
        struct slice name;
        const char *text;
    } bad[] = {
        {SLICE("bad/../x"), "tenant ID 'bad/../x' contains unsupported character '/'"},
        {SLICE("a|b"), "tenant ID 'a|b' contains unsupported character '|'"},
        {SLICE("a b"), "tenant ID 'a b' contains unsupported character ' '"},
        {SLICE("a\x01"), "tenant ID 'a\\x01' contains unsupported character '\\x01'"},
        {SLICE("a\0"), "tenant ID 'a\\x00' contains unsupported character '\\x00'"},
        {SLICE("caf\xc3\xa9!"), "tenant ID 'café!' contains unsupported character 'é'"},
        {SLICE("x\xff"), "tenant ID 'x\\xff' contains unsupported character '\\xff'"},
        {slice_of(too_long, sizeof too_long), "tenant ID is too long: max 150 characters"},
        {SLICE("."), "tenant ID is '.' or '..'"},
        {SLICE(".."), "tenant ID is '.' or '..'"},
        {SLICE("overrides"), "tenant ID 'overrides' is reserved"},
        {SLICE("_rubato"), "tenant ID '_rubato' is reserved"},
        {SLICE("_rubato-wal"), "tenant ID '_rubato-wal' is reserved"},
    };
    struct fixture f;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(tenant_of(&f, true, bad[i].name), ERR_INVALID);
        assert_string_equal(f.err.msg, bad[i].text);
        assert_null(f.tenant.ptr);
    }
}

static void a_huge_foreign_name_gives_a_short_message(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t *huge = malloc(100000);
    assert_non_null(huge);
    memset(huge, 0xff, 100000);
    assert_int_equal(tenant_of(&f, true, slice_of(huge, 100000)), ERR_INVALID);
    assert_true(strlen(f.err.msg) < 400);
    free(huge);
}

/* ---- several ---- */

static int tenants_of(struct fixture *f, bool enabled, struct slice value, struct slice *out,
                      size_t max, size_t *count)
{
    *f = (struct fixture){.app.cfg.multitenancy_enabled = true};
    f->app.cfg.query_frontend.multi_tenant_queries_enabled = enabled;
    f->headers[0] = (struct net_header){SLICE("x-scope-orgid"), value};
    f->req.headers = f->headers;
    f->req.header_count = 1;
    return app_tenants(&f->app, &f->req, out, max, count, &f->err);
}

static void a_query_may_name_several_each_once_and_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"a", "a"}, {"a|b", "a b"}, {"b|a", "a b"}, {"b|a|b|a", "a b"}, {"c|ab|a", "a ab c"}};
    struct fixture f;
    struct slice got[3];
    size_t count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[100] = "";
        assert_int_equal(tenants_of(&f, true, slice_cstr(cases[i].value), got, 3, &count), 0);
        for (size_t k = 0; k < count; k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", k ? " " : "",
                     SLICE_ARGS(got[k]));
        assert_string_equal(text, cases[i].want);
    }
}

static void bad_lists_of_tenants_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text;
        int rc;
    } cases[] = {
        {"", "no org id", ERR_UNAUTHENTICATED},
        {"|", "tenant ID is empty between the '|' of a query's tenants", ERR_INVALID},
        {"a|", "tenant ID is empty between the '|' of a query's tenants", ERR_INVALID},
        {"a||b", "tenant ID is empty between the '|' of a query's tenants", ERR_INVALID},
        {"a|b/c", "tenant ID 'b/c' contains unsupported character '/'", ERR_INVALID},
        {"a|..", "tenant ID is '.' or '..'", ERR_INVALID},
        {"a|b|c|d", "more than 3 tenants in one query", ERR_INVALID},
        {"a|overrides", "tenant ID 'overrides' is reserved", ERR_INVALID},
    };
    struct fixture f;
    struct slice got[3];
    size_t count;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tenants_of(&f, true, slice_cstr(cases[i].value), got, 3, &count),
                         cases[i].rc);
        assert_string_equal(f.err.msg, cases[i].text);
    }
}

static void where_several_are_not_allowed_the_bar_is_no_letter(void **state)
{
    (void)state;
    struct fixture f;
    struct slice got[3];
    size_t count;
    assert_int_equal(tenants_of(&f, false, SLICE("a|b"), got, 3, &count), ERR_INVALID);
    assert_string_equal(f.err.msg, "tenant ID 'a|b' contains unsupported character '|'");
    assert_int_equal(count, 0);
    assert_int_equal(tenants_of(&f, false, SLICE("a"), got, 3, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(tenant_of(&f, true, SLICE("a|b")), ERR_INVALID); /* a writer's */
    assert_string_equal(f.err.msg, "tenant ID 'a|b' contains unsupported character '|'");
}

static void the_prefix_is_cut_from_paths_of_the_api_only(void **state)
{
    (void)state;
    const struct {
        struct slice prefix, path, want;
    } cases[] = {
        {SLICE(""), SLICE("/api/search"), SLICE("/api/search")},
        {SLICE("/tempo"), SLICE("/tempo/api/search"), SLICE("/api/search")},
        {SLICE("/tempo"), SLICE("/api/search"), SLICE("")},
        {SLICE("/tempo"), SLICE("/tempo2/api/search"), SLICE("")},
        {SLICE("/tempo"), SLICE("/tempo"), SLICE("")},
        {SLICE("/tempo"), SLICE("/tempo/"), SLICE("/")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct app app = {.cfg.http_api_prefix = cases[i].prefix};
        struct net_request req = {.path = cases[i].path};
        assert_true(slice_eq(app_api_path(&app, &req), cases[i].want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_multitenancy_the_header_is_ignored),
        cmocka_unit_test(a_good_name_is_the_tenant),
        cmocka_unit_test(no_name_and_two_names_are_no_org_id),
        cmocka_unit_test(bad_names_are_refused_in_tempos_words),
        cmocka_unit_test(a_huge_foreign_name_gives_a_short_message),
        cmocka_unit_test(a_query_may_name_several_each_once_and_in_order),
        cmocka_unit_test(bad_lists_of_tenants_are_refused),
        cmocka_unit_test(where_several_are_not_allowed_the_bar_is_no_letter),
        cmocka_unit_test(the_prefix_is_cut_from_paths_of_the_api_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
