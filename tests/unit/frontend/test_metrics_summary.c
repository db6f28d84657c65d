/* Quantiles and the JSON of summaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "frontend/metrics_priv.h"

static void quantiles_lie_between_powers_of_two(void **state)
{
    (void)state;
    /* Two spans of 134 to 268 ms, as Tempo answered. */
    struct summary_group g = {.spans = 2, .buckets = {[28] = 2}};
    assert_true(summary_quantile(&g, .99) == 268435456);
    assert_true(summary_quantile(&g, .9) == 268435456);
    assert_true(summary_quantile(&g, .5) == 189812531);
}

static void an_empty_bucket_between_does_not_draw_a_quantile_down(void **state)
{
    (void)state;
    struct summary_group g = {.spans = 3, .buckets = {[10] = 1, [28] = 2}};
    assert_true(summary_quantile(&g, .3) == 1024);
    assert_true(summary_quantile(&g, .5) == 189812531);
    assert_true(summary_quantile(&g, 1) == 268435456);
}

static void the_ends_of_the_scale_have_quantiles(void **state)
{
    (void)state;
    struct summary_group none = {0};
    struct summary_group zero = {.spans = 5, .buckets = {[0] = 5}};
    struct summary_group last = {.spans = 1, .buckets = {[63] = 1}};
    assert_true(summary_quantile(&none, .5) == 0);
    assert_true(summary_quantile(&zero, .99) == 1);
    assert_true(summary_quantile(&last, .5) == UINT64_C(1) << 63);
}

static void assert_values(const struct traceql_value *v, uint32_t n, const char *want)
{
    struct summary_group g = {.spans = 1, .buckets = {[1] = 1}};
    const struct slice keys[] = {SLICE("a"), SLICE("b"), SLICE("c"), SLICE("d"), SLICE("e")};
    struct buf out;
    char text[1024];
    memcpy(g.values, v, n * sizeof *v);
    snprintf(text, sizeof text,
             "[{\"spanCount\":\"1\",\"series\":[%s],\"p99\":\"2\",\"p95\":\"2\",\"p90\":\"2\","
             "\"p50\":\"2\"}]",
             want);
    buf_init(&out, 4096);
    assert_int_equal(summary_json(&g, 1, keys, n, &out), 0);
    assert_int_equal(buf_u8(&out, 0), 0);
    assert_string_equal((char *)out.ptr, text);
    buf_clear(&out);
}

static void values_have_tempos_types_and_numbers(void **state)
{
    (void)state;
    const struct traceql_value plain[] = {{.type = TRACEQL_INT, .i64 = -5},
                                          {.type = TRACEQL_FLOAT, .f64 = 2.5},
                                          {.type = TRACEQL_STRING, .str = SLICE("x\"<")},
                                          {.type = TRACEQL_BOOL, .b = true},
                                          {.type = TRACEQL_DURATION, .i64 = 1500}};
    assert_values(plain, 5,
                  "{\"key\":\"a\",\"value\":{\"type\":3,\"n\":\"-5\"}},"
                  "{\"key\":\"b\",\"value\":{\"type\":4,\"f\":2.5}},"
                  "{\"key\":\"c\",\"value\":{\"type\":5,\"s\":\"x\\\"\\u003c\"}},"
                  "{\"key\":\"d\",\"value\":{\"type\":6,\"b\":true}},"
                  "{\"key\":\"e\",\"value\":{\"type\":11,\"d\":\"1500\"}}");
    const struct traceql_value words[] = {{.type = TRACEQL_STATUS, .i64 = 0},
                                          {.type = TRACEQL_STATUS, .i64 = 2},
                                          {.type = TRACEQL_KIND, .i64 = 2},
                                          {.type = TRACEQL_KIND, .i64 = 3},
                                          {.type = TRACEQL_NIL}};
    assert_values(words, 5,
                  "{\"key\":\"a\",\"value\":{\"type\":12,\"status\":2}},"
                  "{\"key\":\"b\",\"value\":{\"type\":12}},"
                  "{\"key\":\"c\",\"value\":{\"type\":13,\"kind\":3}},"
                  "{\"key\":\"d\",\"value\":{\"type\":13,\"kind\":2}},"
                  "{\"key\":\"e\",\"value\":{}}");
}

static void no_group_is_an_empty_list(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 16);
    assert_int_equal(summary_json(NULL, 0, NULL, 0, &out), 0);
    assert_true(slice_eq(buf_view(&out), SLICE("[]")));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_lie_between_powers_of_two),
        cmocka_unit_test(an_empty_bucket_between_does_not_draw_a_quantile_down),
        cmocka_unit_test(the_ends_of_the_scale_have_quantiles),
        cmocka_unit_test(values_have_tempos_types_and_numbers),
        cmocka_unit_test(no_group_is_an_empty_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
