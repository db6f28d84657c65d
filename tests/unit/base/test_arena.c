/* Arenas: alignment, the byte limit, reset and what hangs on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>

#include "base/arena.h"

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_new(64 << 20);
    assert_non_null(a);
    uint8_t *pieces[2000];
    for (size_t i = 0; i < 2000; i++) {
        pieces[i] = arena_alloc(a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 2000; i++) {
        for (size_t j = 0; j < i; j++)
            assert_true(pieces[i][j] == (uint8_t)i);
    }
    arena_free(a);
    arena_free(NULL);
}

static void the_limit_holds_and_survives_huge_claims(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024);
    struct err err;
    assert_non_null(arena_alloc(a, 1000));
    assert_null(arena_alloc(a, 100));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc_array(a, SIZE_MAX / 2, 4));
    assert_non_null(arena_alloc(a, 16));
    assert_null(arena_alloc(a, 1));
    assert_int_equal(arena_used(a), 1024);
    assert_int_equal(arena_err(a, &err, "a span"), ERR_LIMIT);
    assert_string_equal(err.msg, "a span does not fit: 1024 of 1024 bytes are in use");
    arena_reset(a);
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_alloc(a, 1024));
    arena_free(a);
}

static void large_pieces_do_not_waste_the_open_chunk(void **state)
{
    (void)state;
    struct arena *a = arena_new(64 << 20);
    uint8_t *first = arena_alloc(a, 16);
    uint8_t *large = arena_alloc(a, 8 << 20);
    uint8_t *second = arena_alloc(a, 16);
    assert_non_null(large);
    memset(large, 1, 8 << 20);
    assert_ptr_equal(second, first + 16);
    arena_free(a);
}

static void zeroed_pieces_are_zero_after_reuse(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    memset(arena_alloc(a, 4096), 0xff, 4096);
    arena_reset(a);
    uint8_t *p = arena_zalloc(a, 4096);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(p[i], 0);
    arena_free(a);
}

static void texts_are_copied(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct slice out;
    assert_true(arena_slice(a, SLICE("abc"), &out));
    assert_true(slice_eq(out, SLICE("abc")));
    assert_true(arena_slice(a, slice_of(NULL, 0), &out));
    assert_int_equal(out.len, 0);
    assert_string_equal(arena_cstr(a, SLICE("abc")), "abc");
    assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
    arena_free(a);
    a = arena_new(16);
    assert_null(arena_printf(a, "%0100d", 7));
    assert_false(arena_slice(a, slice_of("12345678901234567", 17), &out));
    arena_free(a);
}

struct order {
    int *log;
    int *count;
    int id;
};

static void note(void *ctx)
{
    struct order *o = ctx;
    o->log[(*o->count)++] = o->id;
}

static void cleanups_run_last_first_at_reset_and_at_free(void **state)
{
    (void)state;
    int log[4] = {0}, count = 0;
    struct order one = {log, &count, 1}, two = {log, &count, 2}, three = {log, &count, 3};
    struct arena *a = arena_new(1 << 20);
    assert_true(arena_on_reset(a, note, &one));
    assert_true(arena_on_reset(a, note, &two));
    assert_ptr_equal(arena_kept(a, note), &two);
    arena_reset(a);
    assert_null(arena_kept(a, note));
    assert_int_equal(count, 2);
    assert_true(arena_on_reset(a, note, &three));
    arena_free(a);
    assert_int_equal(count, 3);
    const int want[] = {2, 1, 3};
    assert_memory_equal(log, want, sizeof want);
}

static void arenas_of_one_budget_share_its_bytes_and_give_them_back(void **state)
{
    (void)state;
    struct arena_budget budget = {.limit = 1 << 20, .name = "some.setting"};
    struct arena *a = arena_new_within(&budget), *b = arena_new_within(&budget);
    assert_non_null(arena_alloc(a, 600 << 10));
    assert_null(arena_alloc(b, 600 << 10));
    struct err err = {0};
    assert_int_equal(arena_err(b, &err, "what was asked"), ERR_LIMIT);
    assert_non_null(strstr(err.msg, "some.setting"));
    assert_non_null(strstr(err.msg, "1048576"));
    arena_reset(a);
    assert_non_null(arena_alloc(b, 400 << 10));
    arena_free(a);
    assert_non_null(arena_alloc(b, 400 << 10));
    arena_free(b);
    assert_int_equal(budget.used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(the_limit_holds_and_survives_huge_claims),
        cmocka_unit_test(large_pieces_do_not_waste_the_open_chunk),
        cmocka_unit_test(zeroed_pieces_are_zero_after_reuse),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(cleanups_run_last_first_at_reset_and_at_free),
        cmocka_unit_test(arenas_of_one_budget_share_its_bytes_and_give_them_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
