/* Bodies of answers about tags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frontend/tags_priv.h"

static void fill(struct tag_set *s, const struct query_tag *tags, size_t count)
{
    tag_set_init(s, arena_new(1 << 16));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(tag_set_add(s, &tags[i], NULL, NULL), 0);
    tag_set_sort(s);
}

static void done(struct tag_set *s, struct buf *b, const char *want)
{
    assert_int_equal(buf_u8(b, 0), 0);
    assert_string_equal((const char *)b->ptr, want);
    buf_clear(b);
    arena_free(s->arena);
    tag_set_clear(s);
}

#define TEXT(level_, text_)                                                                        \
    {                                                                                              \
        level_,                                                                                    \
        {                                                                                          \
            .type = TRACEQL_STRING, .str = {(const uint8_t *)text_, sizeof text_ - 1 }             \
        }                                                                                          \
    }

static void empty_answers_have_empty_lists(void **state)
{
    const struct tags_metrics none = {0};
    struct tag_set s;
    struct buf b;
    (void)state;
    fill(&s, NULL, 0);
    buf_init(&b, 1000);
    assert_int_equal(tags_json_names(&s, &none, &b), 0);
    assert_int_equal(tags_json_scopes(&s, false, &none, &b), 0);
    assert_int_equal(tags_json_values(&s, true, &none, &b), 0);
    done(&s, &b,
         "{\"tagNames\":[],\"metrics\":{}}{\"scopes\":[],\"metrics\":{}}"
         "{\"tagValues\":[],\"metrics\":{}}");
}

static void names_stand_in_scopes(void **state)
{
    static const struct query_tag tags[] = {
        TEXT(TRACEQL_LEVEL_SPAN, "b\"<"), TEXT(TRACEQL_LEVEL_SPAN, "a"),
        TEXT(TRACEQL_LEVEL_EVENT, "e"), TEXT(TRACEQL_LEVEL_SCOPE, "i")};
    const struct tags_metrics m = {.inspected_bytes = 12345678901,
                                   .total_jobs = 2,
                                   .completed_jobs = 1,
                                   .total_blocks = 1,
                                   .total_block_bytes = 7,
                                   .truncated = "limit"};
    struct tag_set s;
    struct buf b;
    (void)state;
    fill(&s, tags, 4);
    buf_init(&b, 10000);
    assert_int_equal(tags_json_scopes(&s, false, &m, &b), 0);
    done(&s, &b,
         "{\"scopes\":[{\"name\":\"event\",\"tags\":[\"e\"]},"
         "{\"name\":\"instrumentation\",\"tags\":[\"i\"]},"
         "{\"name\":\"span\",\"tags\":[\"a\",\"b\\\"\\u003c\"]}],"
         "\"metrics\":{\"inspectedBytes\":\"12345678901\",\"totalJobs\":2,\"completedJobs\":1,"
         "\"totalBlocks\":1,\"totalBlockBytes\":\"7\",\"truncated\":\"limit\"}}");
}

static void intrinsics_are_a_scope_in_order(void **state)
{
    const struct tags_metrics none = {0};
    struct tag_set s;
    struct buf b;
    (void)state;
    assert_int_equal(tags_intrinsic_count, 25);
    for (size_t i = 1; i < tags_intrinsic_count; i++)
        assert_true(strcmp(tags_intrinsics[i - 1], tags_intrinsics[i]) < 0);
    fill(&s, NULL, 0);
    buf_init(&b, 10000);
    assert_int_equal(tags_json_scopes(&s, true, &none, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    const char *begin =
        "{\"scopes\":[{\"name\":\"intrinsic\",\"tags\":[\"duration\",\"event:name\",";
    assert_memory_equal(b.ptr, begin, strlen(begin));
    assert_non_null(strstr((const char *)b.ptr, "\"traceDuration\"]}],\"metrics\":{}}"));
    buf_clear(&b);
    arena_free(s.arena);
    tag_set_clear(&s);
}

static void values_have_types_and_empty_ones_no_value(void **state)
{
    static const struct query_tag tags[] = {TEXT(0, ""),
                                            TEXT(0, "a"),
                                            {0, {.type = TRACEQL_INT, .i64 = 200}},
                                            {0, {.type = TRACEQL_FLOAT, .f64 = 0.5}},
                                            {0, {.type = TRACEQL_BOOL, .b = false}},
                                            {0, {.type = TRACEQL_STATUS, .i64 = 2}},
                                            {0, {.type = TRACEQL_DURATION, .i64 = 1000000}}};
    const struct tags_metrics none = {0};
    struct tag_set s;
    struct buf b;
    (void)state;
    fill(&s, tags, 7);
    buf_init(&b, 10000);
    assert_int_equal(tags_json_values(&s, true, &none, &b), 0);
    done(&s, &b,
         "{\"tagValues\":[{\"type\":\"int\",\"value\":\"200\"},{\"type\":\"float\",\"value\":"
         "\"0.5\"},{\"type\":\"string\"},{\"type\":\"string\",\"value\":\"a\"},"
         "{\"type\":\"bool\",\"value\":\"false\"},{\"type\":\"duration\",\"value\":\"1ms\"},"
         "{\"type\":\"keyword\",\"value\":\"error\"}],\"metrics\":{}}");
}

static void an_answer_that_does_not_fit_is_an_error(void **state)
{
    static const struct query_tag tags[] = {TEXT(0, "abc")};
    const struct tags_metrics none = {0};
    struct tag_set s;
    (void)state;
    fill(&s, tags, 1);
    for (size_t max = 0; max < 30; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_int_equal(tags_json_names(&s, &none, &b), ERR_LIMIT);
        buf_clear(&b);
    }
    arena_free(s.arena);
    tag_set_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_answers_have_empty_lists),
        cmocka_unit_test(names_stand_in_scopes),
        cmocka_unit_test(intrinsics_are_a_scope_in_order),
        cmocka_unit_test(values_have_types_and_empty_ones_no_value),
        cmocka_unit_test(an_answer_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
