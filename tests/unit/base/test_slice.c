/* Slices: comparing and cutting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/slice.h"

static void order_is_bytewise_and_a_prefix_comes_first(void **state)
{
    (void)state;
    assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
    assert_true(slice_cmp(SLICE("b"), SLICE("a")) > 0);
    assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
    assert_true(slice_cmp(SLICE("ab"), SLICE("a")) > 0);
    assert_true(slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
    assert_int_equal(slice_cmp(SLICE("a"), SLICE("a")), 0);
    assert_int_equal(slice_cmp(slice_of(NULL, 0), SLICE("")), 0);
    assert_true(slice_cmp(slice_of(NULL, 0), SLICE("a")) < 0);
}

static void equality_looks_at_all_bytes(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE("a\0b"), SLICE("a\0b")));
    assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    assert_false(slice_eq(SLICE("a"), SLICE("ab")));
    assert_true(slice_eq(slice_of(NULL, 0), SLICE("")));
    assert_true(slice_eq_nocase(SLICE("X-Scope-OrgID"), SLICE("x-scope-orgid")));
    assert_false(slice_eq_nocase(SLICE("a["), SLICE("a{")));
    assert_false(slice_eq_nocase(SLICE("@"), SLICE("`")));
}

static void prefixes_suffixes_and_parts(void **state)
{
    (void)state;
    struct slice s = SLICE("/api/search");
    assert_true(slice_starts(s, SLICE("/api/")) && slice_starts(s, SLICE("")) &&
                slice_starts(s, s));
    assert_false(slice_starts(SLICE("/ap"), SLICE("/api")));
    assert_true(slice_ends(s, SLICE("search")) && slice_ends(s, slice_of(NULL, 0)));
    assert_false(slice_ends(SLICE("ch"), SLICE("rch")));
    assert_true(slice_eq(slice_from(s, 5), SLICE("search")));
    assert_int_equal(slice_from(s, 11).len, 0);
    assert_int_equal(slice_from(s, 1000).len, 0);
    assert_int_equal(slice_find(s, 's'), 5);
    assert_int_equal(slice_find(s, 'x'), s.len);
    assert_int_equal(slice_find(slice_of(NULL, 0), 'x'), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_bytewise_and_a_prefix_comes_first),
        cmocka_unit_test(equality_looks_at_all_bytes),
        cmocka_unit_test(prefixes_suffixes_and_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
