/* Text forms of numbers, durations and times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/text.h"

static void integers_take_digits_only_and_refuse_overflow(void **state)
{
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(parse_u64(SLICE("0"), &u) && u == 0);
    assert_true(parse_u64(SLICE("18446744073709551615"), &u) && u == UINT64_MAX);
    const char *bad[] = {
        "",     "18446744073709551616", "99999999999999999999999", "-1", "+1", " 1", "1 ", "0x1",
        "1_000"};
    for (size_t n = 0; n < sizeof bad / sizeof bad[0]; n++)
        assert_false(parse_u64(slice_cstr(bad[n]), &u));
    assert_true(parse_i64(SLICE("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(parse_i64(SLICE("+9223372036854775807"), &i) && i == INT64_MAX);
    assert_false(parse_i64(SLICE("9223372036854775808"), &i));
    assert_false(parse_i64(SLICE("-9223372036854775809"), &i));
    assert_false(parse_i64(SLICE("-"), &i));
    assert_false(parse_i64(SLICE("--1"), &i));
}

static void floats_are_read_whole(void **state)
{
    (void)state;
    double v;
    assert_true(parse_f64(SLICE("1.5e3"), &v) && v == 1500);
    assert_true(parse_f64(SLICE("-0x1p-2"), &v) && v == -0.25);
    assert_true(parse_f64(SLICE("inf"), &v) && isinf(v));
    assert_true(parse_f64(SLICE("nan"), &v) && isnan(v));
    const char *bad[] = {"", " 1", "1 ", "1.5x", ".", "e5", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(parse_f64(slice_cstr(bad[i]), &v));
    assert_false(parse_f64(slice_of("1\0", 2), &v));
    char long_one[2000];
    memset(long_one, '1', sizeof long_one);
    assert_false(parse_f64(slice_of(long_one, sizeof long_one), &v));
}

static void floats_are_written_as_go_writes_them_in_json(void **state)
{
    (void)state;
    const struct {
        double v;
        const char *want;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {100, "100"},
        {123456789, "123456789"},
        {1e-6, "0.000001"},
        {1e-7, "1e-7"},
        {9.5e-7, "9.5e-7"},
        {1.25e-10, "1.25e-10"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1.5e300, "1.5e+300"},
        {123456789012345678, "123456789012345680"},
        {0.30000000000000004, "0.30000000000000004"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {3.14159265358979, "3.14159265358979"},
        {NAN, "NaN"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[40];
        format_f64_json(cases[i].v, out);
        assert_string_equal(out, cases[i].want);
    }
}

static void floats_read_back_as_they_were_written(void **state)
{
    (void)state;
    struct rng rng = {3};
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = rng_next(&rng);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (isnan(v) || isinf(v))
            continue;
        char out[40];
        memset(out, 'x', sizeof out);
        format_f64_json(v, out);
        assert_non_null(memchr(out, 0, sizeof out));
        assert_true(parse_f64(slice_cstr(out), &back));
        assert_memory_equal(&v, &back, sizeof v);
    }
}

static void durations_are_read_as_go_reads_them(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"5s", 5000000000},
        {"1h30m", 5400000000000},
        {"1.5s", 1500000000},
        {".5s", 500000000},
        {"5.s", 5000000000},
        {"250ms", 250000000},
        {"-5s", -5000000000},
        {"+3ns", 3},
        {"1us", 1000},
        {"1µs", 1000},
        {"1μs", 1000},
        {"1h1m1s1ms1us1ns", 3661001001001},
        {"0.3333333333333333333h", 1200000000000 - 1},
        {"9223372036854775807ns", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ns = 1;
        if (!parse_duration(slice_cstr(good[i].text), &ns) || ns != good[i].ns)
            fail_msg("%s gave %lld", good[i].text, (long long)ns);
    }
    const char *bad[] = {"",
                         "-",
                         "5",
                         "s",
                         ".s",
                         "5x",
                         "1h-1m",
                         "1d",
                         "5 s",
                         "1.2.3s",
                         "1.5",
                         "--5s",
                         "0s0",
                         "1H",
                         "+",
                         "3m5",
                         "9223372036854775808ns",
                         "2562048h",
                         "99999999999999999999s",
                         ".",
                         "-.s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ns;
        if (parse_duration(slice_cstr(bad[i]), &ns))
            fail_msg("%s was taken", bad[i]);
    }
}

static void durations_are_written_as_go_writes_them(void **state)
{
    (void)state;
    const struct {
        int64_t ns;
        const char *want;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5µs"},
        {200000000, "200ms"},
        {1000001, "1.000001ms"},
        {1500000000, "1.5s"},
        {60000000000, "1m0s"},
        {5400000000000, "1h30m0s"},
        {604800000000000, "168h0m0s"},
        {-90000000000, "-1m30s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[40];
        int64_t back;
        format_duration(cases[i].ns, out);
        assert_string_equal(out, cases[i].want);
        assert_true(parse_duration(slice_cstr(out), &back));
        assert_true(back == cases[i].ns);
    }
}

static void times_go_both_ways(void **state)
{
    (void)state;
    const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {UINT64_C(1234567890123456789), "2009-02-13T23:31:30.123456789Z"},
        {UINT64_C(1709164800500000000), "2024-02-29T00:00:00.5Z"},
        {UINT64_C(951782399000000001), "2000-02-28T23:59:59.000000001Z"},
        {UINT64_MAX, "2554-07-21T23:34:33.709551615Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[36];
        uint64_t back;
        time_format_rfc3339(cases[i].ns, out);
        assert_string_equal(out, cases[i].text);
        assert_true(time_parse_rfc3339(slice_cstr(out), &back));
        assert_true(back == cases[i].ns);
    }
}

static void times_take_zones_and_refuse_what_is_no_time(void **state)
{
    (void)state;
    uint64_t ns;
    assert_true(time_parse_rfc3339(SLICE("1970-01-01T01:30:00+01:30"), &ns) && ns == 0);
    assert_true(time_parse_rfc3339(SLICE("1969-12-31T23:00:00.25-02:00"), &ns));
    assert_true(ns == UINT64_C(3600250000000));
    assert_true(time_parse_rfc3339(SLICE("0001-01-01T00:00:00Z"), &ns) && ns == 0);
    assert_true(time_parse_rfc3339(SLICE("2020-01-01T00:00:00.1234567899999Z"), &ns));
    assert_int_equal(ns % 1000000000, 123456789);
    const char *bad[] = {"",
                         "2020-01-01",
                         "2020-01-01T00:00:00",
                         "2020-01-01 00:00:00Z",
                         "2020-13-01T00:00:00Z",
                         "2020-00-01T00:00:00Z",
                         "2021-02-29T00:00:00Z",
                         "1900-02-29T00:00:00Z",
                         "2020-04-31T00:00:00Z",
                         "2020-01-01T24:00:00Z",
                         "2020-01-01T00:60:00Z",
                         "2020-01-01T00:00:60Z",
                         "2020-01-01T00:00:00.Z",
                         "2020-01-01T00:00:00Zx",
                         "2020-01-01T00:00:00+1:00",
                         "2020-01-01T00:00:00+24:00",
                         "2600-01-01T00:00:00Z",
                         "-020-01-01T00:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (time_parse_rfc3339(slice_cstr(bad[i]), &ns))
            fail_msg("%s was taken", bad[i]);
    }
    struct slice whole = SLICE("2020-01-01T00:00:00.5+01:00");
    for (size_t n = 0; n < whole.len; n++)
        assert_false(time_parse_rfc3339(slice_of(whole.ptr, n), &ns));
}

#define S INT64_C(1000000000)

static int64_t time_of(const char *text)
{
    int64_t ns = 0;
    return parse_timestamp(slice_cstr(text), &ns) ? ns : -1;
}

static int64_t since_of(const char *text)
{
    int64_t ns = 0;
    return parse_prometheus_duration(slice_cstr(text), &ns) ? ns : -1;
}

static void timestamps_are_seconds_nanoseconds_or_rfc3339(void **state)
{
    (void)state;
    assert_true(time_of("1795132800") == 1795132800 * S);
    assert_true(time_of("1795132800000000001") == 1795132800 * S + 1);
    assert_true(time_of("1795132800.25") == 1795132800 * S + 250000000);
    assert_true(time_of("1795132800.1239") == 1795132800 * S + 124000000);
    assert_true(time_of("2026-11-20T00:00:00Z") == 1795132800 * S);
    assert_true(time_of("2026-11-20T01:00:00.5+01:00") == 1795132800 * S + S / 2);
    assert_true(time_of("0") == 0);
}

static void what_is_no_timestamp_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "-1.5",
                                      "1e400.",
                                      "nan.",
                                      "1.5x",
                                      "inf",
                                      "9e18.0",
                                      "99999999999999999999",
                                      "2026"
                                      "-13-01T00:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(time_of(bad[i]) == -1);
}

static void durations_of_prometheus_have_days_and_weeks(void **state)
{
    (void)state;
    assert_true(since_of("90s") == 90 * S);
    assert_true(since_of("1h30m") == 5400 * S);
    assert_true(since_of("1w") == 7 * 86400 * S);
    assert_true(since_of("1d12h") == 36 * 3600 * S);
    assert_true(since_of("250ms") == S / 4);
    static const char *const bad[] = {"",     "1",   "s",    "0s",
                                      "1.5h", "-1h", "300y", "9223372036854775807w"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(since_of(bad[i]) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_digits_only_and_refuse_overflow),
        cmocka_unit_test(floats_are_read_whole),
        cmocka_unit_test(floats_are_written_as_go_writes_them_in_json),
        cmocka_unit_test(floats_read_back_as_they_were_written),
        cmocka_unit_test(durations_are_read_as_go_reads_them),
        cmocka_unit_test(durations_are_written_as_go_writes_them),
        cmocka_unit_test(times_go_both_ways),
        cmocka_unit_test(times_take_zones_and_refuse_what_is_no_time),
        cmocka_unit_test(timestamps_are_seconds_nanoseconds_or_rfc3339),
        cmocka_unit_test(what_is_no_timestamp_is_refused),
        cmocka_unit_test(durations_of_prometheus_have_days_and_weeks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
