/* Typed vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/vec.h"

static void vectors_keep_what_was_pushed(void **state)
{
    (void)state;
    VEC(uint64_t) v = {0};
    for (uint64_t i = 0; i < 10000; i++)
        assert_true(vec_push(&v, i * i));
    assert_int_equal(v.count, 10000);
    for (uint64_t i = 0; i < 10000; i++)
        assert_true(v.at[i] == i * i);
    vec_reset(&v);
    assert_int_equal(v.count, 0);
    assert_true(v.cap >= 10000);
    vec_free(&v);
    assert_null(v.at);
}

static void vectors_refuse_more_than_their_index_holds(void **state)
{
    (void)state;
    VEC(char) v = {0};
    assert_true(vec_push(&v, 'x'));
    assert_false(vec_reserve(&v, (size_t)UINT32_MAX + 1));
    assert_false(vec_reserve(&v, SIZE_MAX));
    assert_int_equal(v.count, 1);
    assert_int_equal(v.at[0], 'x');
    vec_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_keep_what_was_pushed),
        cmocka_unit_test(vectors_refuse_more_than_their_index_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
