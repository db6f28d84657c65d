/* Distinct tags and their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "query/tag_set.h"

static struct query_tag text(uint8_t level, const char *s)
{
    return (struct query_tag){level, {.type = TRACEQL_STRING, .str = slice_cstr(s)}};
}

static struct query_tag number(enum traceql_type type, int64_t v)
{
    return (struct query_tag){0, {.type = type, .i64 = v}};
}

static struct query_tag real(double v)
{
    return (struct query_tag){0, {.type = TRACEQL_FLOAT, .f64 = v}};
}

static bool add(struct tag_set *s, struct query_tag t)
{
    bool added;
    assert_int_equal(tag_set_add(s, &t, &added, NULL), 0);
    assert_true(tag_set_has(s, &t));
    return added;
}

static void equal_tags_are_one(void **state)
{
    struct tag_set s;
    (void)state;
    tag_set_init(&s, arena_new(1 << 16));
    assert_true(add(&s, text(1, "a")));
    assert_false(add(&s, text(1, "a")));
    assert_true(add(&s, text(2, "a")));
    assert_true(add(&s, text(1, "")));
    assert_true(add(&s, number(TRACEQL_INT, 1)));
    assert_true(add(&s, number(TRACEQL_STATUS, 1)));
    assert_true(add(&s, real(1)));
    assert_false(add(&s, real(1)));
    assert_true(add(&s, real(0.0)));
    assert_true(add(&s, real(-0.0)));
    assert_true(add(&s, real(__builtin_nan(""))));
    assert_false(add(&s, real(-__builtin_nan("7"))));
    assert_int_equal(s.tags.count, 9);
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void strings_are_copied(void **state)
{
    struct tag_set s;
    char name[] = "first";
    (void)state;
    tag_set_init(&s, arena_new(1 << 16));
    assert_true(add(&s, text(1, name)));
    name[0] = 'F';
    assert_true(add(&s, text(1, name)));
    assert_true(slice_eq(s.tags.at[0].value.str, SLICE("first")));
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void thousands_are_told_apart(void **state)
{
    struct tag_set s;
    char name[32];
    (void)state;
    tag_set_init(&s, arena_new(1 << 22));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20000; i++) {
            snprintf(name, sizeof name, "attribute.%d", i);
            assert_int_equal(add(&s, text((uint8_t)(i & 3), name)), round == 0);
        }
    }
    assert_int_equal(s.tags.count, 20000);
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void a_full_arena_is_an_error_and_leaves_the_set_usable(void **state)
{
    struct tag_set s;
    static char big[4096];
    struct err err = {0};
    (void)state;
    memset(big, 'x', sizeof big - 1);
    tag_set_init(&s, arena_new(1024));
    struct query_tag t = text(1, big);
    assert_int_equal(tag_set_add(&s, &t, NULL, &err), ERR_LIMIT);
    assert_false(tag_set_has(&s, &t));
    assert_true(add(&s, text(1, "small")));
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void the_order_is_level_type_value(void **state)
{
    struct tag_set s;
    (void)state;
    const struct query_tag ordered[] = {number(TRACEQL_INT, -5),
                                        number(TRACEQL_INT, 3),
                                        number(TRACEQL_INT, 20),
                                        real(-1.0 / 0.0),
                                        real(-0.0),
                                        real(0.0),
                                        real(2.5),
                                        real(__builtin_nan("")),
                                        text(0, ""),
                                        text(0, "B"),
                                        text(0, "a"),
                                        text(0, "ab"),
                                        number(TRACEQL_STATUS, 0),
                                        number(TRACEQL_STATUS, 2),
                                        text(1, "A"),
                                        text(3, "A")};
    enum { N = sizeof ordered / sizeof ordered[0] };
    tag_set_init(&s, arena_new(1 << 16));
    for (size_t i = 0; i < N; i++)
        add(&s, ordered[(i * 7) % N]); /* 7 and 16 have no divisor in common */
    tag_set_sort(&s);
    assert_int_equal(s.tags.count, N);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(query_tag_cmp(&s.tags.at[i], &ordered[i]), 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            int c = query_tag_cmp(&ordered[i], &ordered[k]);
            assert_true(i < k ? c < 0 : i > k ? c > 0 : c == 0);
        }
    }
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void texts_are_those_of_the_language(void **state)
{
    static const struct {
        struct traceql_value v;
        const char *type, *text;
    } cases[] = {
        {{.type = TRACEQL_STRING, .str = {(const uint8_t *)"a \"b\"", 5}}, "string", "a \"b\""},
        {{.type = TRACEQL_INT, .i64 = -7}, "int", "-7"},
        {{.type = TRACEQL_FLOAT, .f64 = 1}, "float", "1"},
        {{.type = TRACEQL_FLOAT, .f64 = 1e300}, "float", "1e+300"},
        {{.type = TRACEQL_FLOAT, .f64 = -0.0}, "float", "-0"},
        {{.type = TRACEQL_BOOL, .b = true}, "bool", "true"},
        {{.type = TRACEQL_DURATION, .i64 = 1500000000}, "duration", "1.5s"},
        {{.type = TRACEQL_STATUS, .i64 = 2}, "keyword", "error"},
        {{.type = TRACEQL_KIND, .i64 = 2}, "keyword", "server"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(query_tag_text(&cases[i].v, &b), 0);
        assert_true(slice_eq(buf_view(&b), slice_cstr(cases[i].text)));
        assert_string_equal(query_tag_type(cases[i].v.type), cases[i].type);
        buf_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tags_are_one),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(thousands_are_told_apart),
        cmocka_unit_test(a_full_arena_is_an_error_and_leaves_the_set_usable),
        cmocka_unit_test(the_order_is_level_type_value),
        cmocka_unit_test(texts_are_those_of_the_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
