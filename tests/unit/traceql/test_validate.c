/* What parses but is refused, with the reference's message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/support/traceql_table.h"
#include "traceql/traceql.h"

static void refused(struct slice query, struct slice want, void *ctx)
{
    (void)ctx;
    struct arena *a = arena_new((size_t)16 << 20);
    struct traceql_query *q;
    struct err err = {0};
    int rc = traceql_parse(query, a, &q, &err);
    if (rc == 0)
        fail_msg("%.*s: accepted", SLICE_ARGS(query));
    assert_int_equal(rc, ERR_INVALID);
    assert_int_equal(err.code, ERR_INVALID);
    if (!slice_eq(slice_cstr(err.msg), want))
        fail_msg("%.*s\n got: %s\nwant: %.*s", SLICE_ARGS(query), err.msg, SLICE_ARGS(want));
    arena_free(a);
}

static void accepted(const char *query)
{
    struct arena *a = arena_new((size_t)16 << 20);
    struct traceql_query *q;
    struct err err;
    if (traceql_parse(slice_cstr(query), a, &q, &err) < 0)
        fail_msg("%s: %s", query, err.msg);
    arena_free(a);
}

static void verified_messages_are_the_reference_s(void **state)
{
    (void)state;
    table_read("tests/data/traceql/validation_errors.txt", 67, refused, NULL);
}

static void the_first_mistake_from_the_left_is_told(void **state)
{
    (void)state;
    refused(SLICE("{ name = 5 && status > ok }"),
            SLICE("binary operations must operate on the same type: name = 5"), NULL);
    refused(SLICE("{ !(kind > 1) && .a }"),
            SLICE("binary operations must operate on the same type: kind > 1"), NULL);
    refused(SLICE("{ 1 } && { 2 }"),
            SLICE("span filter field expressions must resolve to a boolean: { 1 }"), NULL);
    refused(SLICE("{ .a } | by(1) | avg(name) > 1"),
            SLICE("grouping field expressions must reference the span: by(1)"), NULL);
    refused(SLICE("{ .a || parent.b } | rate()"), SLICE("parent not yet supported"), NULL);
    refused(SLICE("({ 1 } | { .a }) && ({ .b })"),
            SLICE("span filter field expressions must resolve to a boolean: { 1 }"), NULL);
}

static void types_that_go_together_are_accepted(void **state)
{
    (void)state;
    accepted("{ .a = 1 && .a = \"x\" && .a = error && .a = client && .a = 1s && .a = 1.5 }");
    accepted("{ duration > 1 && duration > 1.5 && nestedSetLeft > 1s }");
    accepted("{ name != nil && status != nil && nil != .a && nil = span.a }");
    accepted("{ instrumentation:name = 5 }");
    accepted("{ .a + .b = .c && -(.a) < .b && !(.c) }");
    accepted("{ .a }");
    accepted("{ .a + .b }");
    accepted("{} | quantile_over_time(.a, 0, 1) by (.a, .b, .c, .d)");
    accepted("{} | rate() by (parent.a)");
    accepted("{} | max(duration) > 1 | min(.a + 1) != 1.5 | sum(-.b) >= -2s");
}

static void a_long_node_is_cut_on_a_character(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    buf_str(&b, "{ 5 + .");
    for (int i = 0; i < 600; i++)
        buf_str(&b, "ü");
    buf_str(&b, " }");
    struct arena *a = arena_new((size_t)16 << 20);
    struct traceql_query *q;
    struct err err;
    assert_int_equal(traceql_parse(buf_view(&b), a, &q, &err), ERR_INVALID);
    assert_true(utf8_valid(slice_cstr(err.msg)));
    assert_non_null(strstr(err.msg, "…"));
    arena_free(a);
    buf_clear(&b);
}

static void patterns_that_re2_refuses_are_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {"*x",      "(a)\\\\1", "(?=a)", "(?<!x)y", "a++",
                                           "(?>a)",   "\\\\C",    "(?R)",  "[",       "(",
                                           "a{1001}", "(?P=n)",   "x**",   "(?(1)a)", "\\\\Z"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        char query[100];
        snprintf(query, sizeof query, "{ .a =~ \"%s\" }", patterns[i]);
        struct arena *a = arena_new((size_t)16 << 20);
        struct traceql_query *q;
        struct err err;
        if (traceql_parse(slice_cstr(query), a, &q, &err) != ERR_INVALID)
            fail_msg("%s: accepted", query);
        assert_int_equal(strncmp(err.msg, "invalid regex: `", 16), 0);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verified_messages_are_the_reference_s),
        cmocka_unit_test(the_first_mistake_from_the_left_is_told),
        cmocka_unit_test(types_that_go_together_are_accepted),
        cmocka_unit_test(a_long_node_is_cut_on_a_character),
        cmocka_unit_test(patterns_that_re2_refuses_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
