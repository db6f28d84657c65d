/* Nested set numbers against what Tempo gave the traces of its fixtures, and at sizes that would
 * show a slow or a deep algorithm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "block/nested_set.h"

enum { INTERNAL = 1, SERVER = 2, CLIENT = 3 };

struct row {
    const char *id, *parent;
    int32_t kind;
    int32_t left, right, parent_number;
};

static void numbers_are(const struct row *rows, uint32_t count)
{
    struct span_batch b = {0};
    uint32_t order[32];
    int32_t left[32], right[32], parent[32];
    assert_true(count <= 32);
    for (uint32_t i = 0; i < count; i++) {
        struct span s = {.span_id = slice_cstr(rows[i].id),
                         .parent_span_id = slice_cstr(rows[i].parent),
                         .kind = rows[i].kind};
        assert_true(vec_push(&b.spans, s));
        order[i] = i;
        left[i] = right[i] = parent[i] = 77;
    }
    struct nested_set ns = {.seed = 42};
    struct trace t = {&b, order, count};
    struct err err;
    assert_int_equal(nested_set_number(&ns, &t, left, right, parent, &err), 0);
    for (uint32_t i = 0; i < count; i++) {
        if (left[i] != rows[i].left || right[i] != rows[i].right ||
            parent[i] != rows[i].parent_number)
            fail_msg("span %s: %d %d %d, wanted %d %d %d", rows[i].id, left[i], right[i], parent[i],
                     rows[i].left, rows[i].right, rows[i].parent_number);
    }
    nested_set_clear(&ns);
    span_batch_clear(&b);
}
#define NUMBERS_ARE(rows) numbers_are(rows, sizeof(rows) / sizeof(rows)[0])

static void what_no_root_reaches_has_no_numbers(void **state)
{
    (void)state;
    static const struct row broken[] = {
        {"root....", "", SERVER, 1, 4, -1},
        {"ok-child", "root....", INTERNAL, 2, 3, 1},
        {"lost-ch.", "missing.", INTERNAL, 0, 0, 0},
        {"lost-gr.", "lost-ch.", INTERNAL, 0, 0, 0},
    };
    NUMBERS_ARE(broken);
}

static void several_roots_share_one_numbering(void **state)
{
    (void)state;
    static const struct row multiroot[] = {
        {"root-one", "", SERVER, 1, 6, -1},          {"c1......", "root-one", INTERNAL, 2, 3, 1},
        {"root-two", "", SERVER, 7, 10, -1},         {"c2......", "root-one", INTERNAL, 4, 5, 1},
        {"d1......", "root-two", INTERNAL, 8, 9, 7},
    };
    NUMBERS_ARE(multiroot);
}

static void spans_that_share_an_id_take_children_by_kind(void **state)
{
    (void)state;
    static const struct row zipkin[] = {
        {"root....", "", SERVER, 1, 12, -1},        {"shared..", "root....", CLIENT, 2, 5, 1},
        {"shared..", "root....", SERVER, 6, 11, 1}, {"internal", "shared..", INTERNAL, 7, 8, 6},
        {"inside..", "shared..", CLIENT, 9, 10, 6}, {"nested..", "shared..", SERVER, 3, 4, 2},
    };
    NUMBERS_ARE(zipkin);

    /* Neither of the two is of the kind that is wanted. */
    static const struct row alike[] = {
        {"root....", "", SERVER, 1, 6, -1},
        {"shared..", "root....", CLIENT, 2, 3, 1},
        {"shared..", "root....", CLIENT, 4, 5, 1},
        {"child...", "shared..", INTERNAL, 0, 0, 0},
    };
    NUMBERS_ARE(alike);
}

static void an_id_used_three_times_spoils_the_trace(void **state)
{
    (void)state;
    static const struct row triple[] = {
        {"root....", "", SERVER, 0, 0, 0},
        {"same....", "root....", CLIENT, 0, 0, 0},
        {"same....", "root....", SERVER, 0, 0, 0},
        {"same....", "root....", INTERNAL, 0, 0, 0},
    };
    NUMBERS_ARE(triple);
}

static void a_trace_without_a_root_has_no_numbers(void **state)
{
    (void)state;
    static const struct row rootless[] = {
        {"a.......", "gone....", SERVER, 0, 0, 0},
        {"b.......", "a.......", INTERNAL, 0, 0, 0},
    };
    NUMBERS_ARE(rootless);
}

static void a_span_below_itself_is_not_reached(void **state)
{
    (void)state;
    static const struct row selfparent[] = {
        {"root....", "", SERVER, 1, 2, -1},          {"self....", "self....", INTERNAL, 0, 0, 0},
        {"below...", "self....", INTERNAL, 0, 0, 0}, {"loop-a..", "loop-b..", INTERNAL, 0, 0, 0},
        {"loop-b..", "loop-a..", INTERNAL, 0, 0, 0},
    };
    NUMBERS_ARE(selfparent);
}

static void ids_count_by_their_first_eight_bytes(void **state)
{
    (void)state;
    static const struct row odd[] = {
        {"ab", "", SERVER, 1, 6, -1},
        {"12345678-long", "ab", INTERNAL, 2, 5, 1},
        {"c", "12345678", INTERNAL, 3, 4, 2},
    };
    NUMBERS_ARE(odd);
}

static void a_root_may_stand_last(void **state)
{
    (void)state;
    static const struct row late[] = {
        {"c.......", "b.......", INTERNAL, 3, 4, 2},
        {"b.......", "a.......", INTERNAL, 2, 5, 1},
        {"a.......", "", SERVER, 1, 6, -1},
    };
    NUMBERS_ARE(late);
}

static void an_empty_trace_is_fine(void **state)
{
    (void)state;
    struct nested_set ns = {.seed = 1};
    struct span_batch b = {0};
    struct trace t = {&b, NULL, 0};
    assert_int_equal(nested_set_number(&ns, &t, NULL, NULL, NULL, NULL), 0);
    nested_set_clear(&ns);
}

/* A million spans, each below the one before; and a million below one. Recursion would run off the
 * stack, anything quadratic would not end. */
static void depth_and_width_cost_nothing_extra(void **state)
{
    (void)state;
    enum { N = 1000000 };
    uint64_t *ids = malloc((N + 1) * sizeof *ids);
    uint32_t *order = malloc(N * sizeof *order);
    int32_t *numbers = malloc(3 * (size_t)N * sizeof *numbers);
    assert_true(ids && order && numbers);
    struct span_batch b = {0};
    struct nested_set ns = {.seed = 5};
    for (int deep = 0; deep < 2; deep++) {
        span_batch_reset(&b);
        for (uint32_t i = 0; i < N; i++) {
            /* Ids that differ in the high byte only come in runs. */
            ids[i] = (uint64_t)i << 40 | 1;
            order[i] = i;
            struct span s = {.span_id = slice_of(&ids[i], 8), .kind = INTERNAL};
            if (i)
                s.parent_span_id = slice_of(&ids[deep ? i - 1 : 0], 8);
            assert_true(vec_push(&b.spans, s));
        }
        struct trace t = {&b, order, N};
        int32_t *left = numbers, *right = numbers + N, *parent = numbers + 2 * (size_t)N;
        assert_int_equal(nested_set_number(&ns, &t, left, right, parent, NULL), 0);
        assert_int_equal(left[0], 1);
        assert_int_equal(right[0], 2 * N);
        assert_int_equal(parent[0], -1);
        assert_int_equal(left[N - 1], deep ? N : 2 * N - 2);
        assert_int_equal(right[N - 1], deep ? N + 1 : 2 * N - 1);
        assert_int_equal(parent[N - 1], deep ? N - 1 : 1);
    }
    nested_set_clear(&ns);
    span_batch_clear(&b);
    free(ids);
    free(order);
    free(numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_root_reaches_has_no_numbers),
        cmocka_unit_test(several_roots_share_one_numbering),
        cmocka_unit_test(spans_that_share_an_id_take_children_by_kind),
        cmocka_unit_test(an_id_used_three_times_spoils_the_trace),
        cmocka_unit_test(a_trace_without_a_root_has_no_numbers),
        cmocka_unit_test(a_span_below_itself_is_not_reached),
        cmocka_unit_test(ids_count_by_their_first_eight_bytes),
        cmocka_unit_test(a_root_may_stand_last),
        cmocka_unit_test(an_empty_trace_is_fine),
        cmocka_unit_test(depth_and_width_cost_nothing_extra),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
