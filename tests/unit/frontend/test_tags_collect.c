/* Merging tags under limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frontend/tags_collect.h"

struct bench {
    struct tag_collector c;
    struct arena *a;
    struct buf text;
};

static void begin(struct bench *b, struct tag_limits limits, bool typed)
{
    b->a = arena_new(1 << 16);
    tag_collector_init(&b->c, &limits, typed, b->a);
    buf_init(&b->text, 1000);
}

static void end(struct bench *b)
{
    tag_collector_clear(&b->c);
    arena_free(b->a);
    buf_clear(&b->text);
}

/* Each character of names is a tag. */
static void give(struct bench *b, uint8_t level, const char *names)
{
    for (size_t i = 0; names[i]; i++) {
        struct query_tag t = {level, {.type = TRACEQL_STRING, .str = slice_of(names + i, 1)}};
        assert_int_equal(tag_collect(&b->c, &t, NULL), 0);
    }
}

static const char *taken(struct bench *b)
{
    buf_reset(&b->text);
    for (uint32_t i = 0; i < b->c.set.tags.count; i++)
        assert_int_equal(buf_slice(&b->text, b->c.set.tags.at[i].value.str), 0);
    assert_int_equal(buf_u8(&b->text, 0), 0);
    return (const char *)b->text.ptr;
}

static void without_limits_all_are_taken_once(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){0}, false);
    give(&b, 0, "abcabcd");
    give(&b, 0, "dcbaaaaaaaaaa");
    assert_string_equal(taken(&b), "abcd");
    assert_null(b.c.full);
    end(&b);
}

static void the_number_is_limited(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.count_max = 3}, false);
    give(&b, 0, "aabbcc");
    assert_string_equal(taken(&b), "abc");
    assert_string_equal(b.c.full, "limit"); /* before it is looked up: the second c met it */
    give(&b, 0, "xyz");
    assert_string_equal(taken(&b), "abc");
    end(&b);
}

static void the_limit_is_not_met_by_as_many(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.count_max = 3}, false);
    give(&b, 0, "abc");
    assert_null(b.c.full);
    end(&b);
}

static void stale_ones_in_a_row_end_it(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.stale_max = 3}, false);
    give(&b, 0, "aaaab");
    assert_string_equal(taken(&b), "a");
    assert_string_equal(b.c.full, "stale");
    end(&b);
    begin(&b, (struct tag_limits){.stale_max = 3}, false);
    give(&b, 0, "aabaacaad"); /* a new one starts the count again */
    assert_string_equal(taken(&b), "abcd");
    assert_null(b.c.full);
    end(&b);
}

static void bytes_stay_below_their_limit(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.bytes_max = 10}, false);
    give(&b, 0, "abcdefghijklm");
    assert_string_equal(taken(&b), "abcdefghi");
    assert_string_equal(b.c.full, "bytes");
    end(&b);
}

static void the_name_of_a_type_counts(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.bytes_max = 20}, true);
    give(&b, 0, "abcdef"); /* "string" and a letter are 7 */
    assert_string_equal(taken(&b), "ab");
    end(&b);
    begin(&b, (struct tag_limits){.bytes_max = 9}, true);
    for (int64_t i = 0; i < 5; i++) { /* "int" and a digit are 4 */
        struct query_tag t = {0, {.type = TRACEQL_INT, .i64 = i}};
        assert_int_equal(tag_collect(&b.c, &t, NULL), 0);
    }
    assert_int_equal(b.c.set.tags.count, 2);
    end(&b);
}

static void levels_have_limits_of_their_own(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.count_max = 2}, false);
    give(&b, 1, "abc");
    assert_string_equal(b.c.full, "limit");
    give(&b, 3, "abc"); /* what was brought is finished */
    assert_string_equal(taken(&b), "abab");
    end(&b);
}

static void bytes_are_counted_over_all_levels(void **state)
{
    struct bench b;
    (void)state;
    begin(&b, (struct tag_limits){.bytes_max = 4}, false);
    give(&b, 1, "ab");
    give(&b, 3, "abc");
    give(&b, 1, "z");
    assert_string_equal(taken(&b), "aba");
    assert_string_equal(b.c.full, "bytes");
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_all_are_taken_once),
        cmocka_unit_test(the_number_is_limited),
        cmocka_unit_test(the_limit_is_not_met_by_as_many),
        cmocka_unit_test(stale_ones_in_a_row_end_it),
        cmocka_unit_test(bytes_stay_below_their_limit),
        cmocka_unit_test(the_name_of_a_type_counts),
        cmocka_unit_test(levels_have_limits_of_their_own),
        cmocka_unit_test(bytes_are_counted_over_all_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
