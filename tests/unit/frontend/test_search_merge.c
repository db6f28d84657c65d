/* Fragments of one trace become one search result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/frontend_priv.h"

static const struct traceql_value five = {.type = TRACEQL_INT, .i64 = 5};
static const struct traceql_value five_text = {.type = TRACEQL_STRING, .str = SLICE("5")};
static const struct traceql_value nil = {.type = TRACEQL_NIL};
static const struct traceql_value two = {.type = TRACEQL_INT, .i64 = 2};
static const struct traceql_value three = {.type = TRACEQL_INT, .i64 = 3};

static struct query_attr by(const struct traceql_value *v)
{
    return (struct query_attr){.key = SLICE("by(span.a)"), .values = v, .count = 1};
}

static struct query_attr counted(const struct traceql_value *v)
{
    return (struct query_attr){.key = SLICE("count()"), .values = v, .count = 1};
}

static void starts_durations_roots_and_services_are_united(void **state)
{
    (void)state;
    struct arena *a = arena_new((size_t)1 << 20);
    struct query_service s1[] = {{SLICE("x"), 3, 1}},
                         s2[] = {{SLICE("y"), 1, 0}, {SLICE("x"), 5, 0}};
    struct query_trace into = {
        .start_unix_ns = 20, .duration_ns = 5, .services = s1, .service_count = 1};
    struct query_trace other = {.start_unix_ns = 10,
                                .duration_ns = 3,
                                .root_service = SLICE("svc"),
                                .root_name = SLICE("op"),
                                .services = s2,
                                .service_count = 2};
    assert_true(search_merge(a, &into, &other));
    assert_int_equal(into.start_unix_ns, 10);
    assert_int_equal(into.duration_ns, 5);
    assert_true(slice_eq(into.root_service, SLICE("svc")));
    assert_true(slice_eq(into.root_name, SLICE("op")));
    assert_int_equal(into.service_count, 2);
    assert_int_equal(into.services[0].span_count, 5);
    assert_int_equal(into.services[0].error_count, 1);
    arena_free(a);
}

/* What by() said decides; what aggregates said does not. 5 and "5" are two groups. */
static void spansets_are_matched_by_their_groups(void **state)
{
    (void)state;
    struct arena *a = arena_new((size_t)1 << 20);
    struct query_attr l5[] = {by(&five), counted(&two)}, lnil[] = {by(&nil)};
    struct query_attr r5[] = {by(&five), counted(&three)}, rtext[] = {by(&five_text)};
    struct query_spanset left[] = {{.matched = 2, .attrs = l5, .attr_count = 2},
                                   {.matched = 4, .attrs = lnil, .attr_count = 1}};
    struct query_spanset right[] = {{.matched = 1, .attrs = rtext, .attr_count = 1},
                                    {.matched = 3, .attrs = r5, .attr_count = 2},
                                    {.matched = 4, .attrs = lnil, .attr_count = 1}};
    struct query_trace into = {.sets = left, .set_count = 2};
    struct query_trace other = {.sets = right, .set_count = 3};
    assert_true(search_merge(a, &into, &other));
    assert_int_equal(into.set_count, 3);
    assert_int_equal(into.sets[0].matched, 3); /* the larger part */
    assert_ptr_equal(into.sets[0].attrs, r5);
    assert_ptr_equal(into.sets[1].attrs, lnil);
    assert_ptr_equal(into.sets[2].attrs, rtext);
    arena_free(a);
}

static void without_groups_the_larger_part_stays(void **state)
{
    (void)state;
    struct arena *a = arena_new((size_t)1 << 20);
    struct query_spanset left[] = {{.matched = 3}}, right[] = {{.matched = 2}};
    struct query_trace into = {.sets = left, .set_count = 1};
    struct query_trace other = {.sets = right, .set_count = 1};
    assert_true(search_merge(a, &into, &other));
    assert_int_equal(into.set_count, 1);
    assert_int_equal(into.sets[0].matched, 3);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_durations_roots_and_services_are_united),
        cmocka_unit_test(spansets_are_matched_by_their_groups),
        cmocka_unit_test(without_groups_the_larger_part_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
