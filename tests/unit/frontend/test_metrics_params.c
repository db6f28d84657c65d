/* Times and steps of metrics requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/metrics_priv.h"

#define S INT64_C(1000000000)

static int64_t time_of(const char *text)
{
    int64_t ns = 0;
    return metrics_parse_time(slice_cstr(text), &ns) ? ns : -1;
}

static int64_t since_of(const char *text)
{
    int64_t ns = 0;
    return metrics_parse_since(slice_cstr(text), &ns) ? ns : -1;
}

static void times_are_seconds_nanoseconds_or_rfc3339(void **state)
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

static void what_is_no_time_is_refused(void **state)
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

static void since_is_a_duration_of_prometheus(void **state)
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

static void the_default_step_follows_the_range(void **state)
{
    (void)state;
    assert_true(metrics_default_step(S) == S / 20);
    assert_true(metrics_default_step(59 * S) == S / 5);
    assert_true(metrics_default_step(60 * S) == S);
    assert_true(metrics_default_step(600 * S) == 2 * S);
    assert_true(metrics_default_step(3600 * S) == 15 * S);
    assert_true(metrics_default_step(3 * 3600 * S) == 45 * S);
    assert_true(metrics_default_step(24 * 3600 * S) == 300 * S);
    assert_true(metrics_default_step(7 * 86400 * S) == 2400 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_seconds_nanoseconds_or_rfc3339),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(since_is_a_duration_of_prometheus),
        cmocka_unit_test(the_default_step_follows_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
