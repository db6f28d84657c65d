/* Child counts and holders of attributes, from columns made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "worker/scan_derived.h"

#define SPANS 9

/* Two traces: 0-6 and 7-8. */
static uint32_t span_trace[SPANS] = {0, 0, 0, 0, 0, 0, 0, 1, 1};
static struct slice ids[SPANS] = {SLICE("root...."), SLICE("call...."), SLICE("call...."),
                                  SLICE("a......."), SLICE("b......."), SLICE("lost...."),
                                  SLICE("below..."), SLICE("root...."), SLICE("a.......")};
static struct slice parents[SPANS] = {SLICE(""),         SLICE("root...."), SLICE("root...."),
                                      SLICE("call...."), SLICE("call...."), SLICE("nowhere."),
                                      SLICE("lost...."), SLICE(""),         SLICE("root....")};
static int64_t kinds[SPANS] = {1, 3, 2, 1, 2, 1, 1, 1, 1};

static struct column column(enum column_type type, uint32_t values)
{
    return (struct column){.type = type, .entries = values, .values = values};
}

static void stage(struct scan *s, struct column *columns)
{
    columns[BLOCK_SPAN_ID] = column(COLUMN_BYTES, SPANS);
    columns[BLOCK_SPAN_ID].v.bytes = ids;
    columns[BLOCK_SPAN_PARENT_SPAN_ID] = column(COLUMN_BYTES, SPANS);
    columns[BLOCK_SPAN_PARENT_SPAN_ID].v.bytes = parents;
    columns[BLOCK_SPAN_KIND] = column(COLUMN_I64, SPANS);
    columns[BLOCK_SPAN_KIND].v.i64 = kinds;
    *s = (struct scan){.ready = columns,
                       .arena = arena_new((size_t)1 << 20),
                       .traces = 2,
                       .spans = SPANS,
                       .span_trace = span_trace,
                       .have_maps = true};
}

static void children_are_counted_by_parent_id_within_their_trace(void **state)
{
    (void)state;
    /* a is the server's child, b (a server) the client's; lost has one though no root reaches it.
     */
    static const int64_t want[SPANS] = {2, 1, 1, 0, 0, 1, 0, 1, 0};
    struct column *columns = calloc(BLOCK_LEAVES, sizeof *columns);
    struct scan *s = calloc(1, sizeof *s);
    struct traceql_values got;
    struct err err;
    stage(s, columns);
    assert_int_equal(child_counts(s, &got, &err), 0);
    assert_int_equal(got.type, TRACEQL_INT);
    assert_int_equal(got.count, SPANS);
    for (uint32_t i = 0; i < SPANS; i++)
        assert_int_equal(got.i64[i], want[i]);
    arena_free(s->arena);
    free(s);
    free(columns);
}

static void columns_of_another_length_are_refused(void **state)
{
    (void)state;
    struct column *columns = calloc(BLOCK_LEAVES, sizeof *columns);
    struct scan *s = calloc(1, sizeof *s);
    struct traceql_values got;
    struct err err;
    stage(s, columns);
    columns[BLOCK_SPAN_PARENT_SPAN_ID].values = SPANS - 1;
    assert_int_equal(child_counts(s, &got, &err), ERR_CORRUPT);
    arena_free(s->arena);
    free(s);
    free(columns);
}

/* Three spans' lists: two attributes, none, one; and a scope without spans before them. */
static void holders_are_elements_with_any_attribute(void **state)
{
    (void)state;
    uint8_t rep[] = {0, 1, 4, 3, 3}, def[] = {2, 4, 4, 3, 4};
    struct column key = {.type = COLUMN_BYTES,
                         .rep_max = 4,
                         .def_max = 4,
                         .entries = 5,
                         .values = 3,
                         .rep = rep,
                         .def = def};
    struct scan s = {.arena = arena_new((size_t)1 << 20)};
    const uint8_t *any;
    struct err err;
    assert_int_equal(attr_holders(&s, &key, 4, 3, 3, &any, &err), 0);
    assert_int_equal(any[0], 1);
    assert_int_equal(any[1], 0);
    assert_int_equal(any[2], 1);
    /* Fewer elements than the levels tell: nothing is written past them. */
    assert_int_equal(attr_holders(&s, &key, 4, 3, 1, &any, &err), 0);
    assert_int_equal(any[0], 1);
    arena_free(s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_are_counted_by_parent_id_within_their_trace),
        cmocka_unit_test(columns_of_another_length_are_refused),
        cmocka_unit_test(holders_are_elements_with_any_attribute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
