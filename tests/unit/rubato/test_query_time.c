/* Times and ranges on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rubato/query_time.h"

#define S INT64_C(1000000000)
#define NOW (1795132800 * S + 7) /* 2026-11-20T00:00:00.000000007Z */

static int64_t time_of(const char *text)
{
    int64_t ns = 0;
    return query_time_parse(slice_cstr(text), NOW, &ns) ? ns : -1;
}

static void times_are_absolute_or_from_now(void **state)
{
    (void)state;
    assert_true(time_of("now") == NOW);
    assert_true(time_of("now-1h") == NOW - 3600 * S);
    assert_true(time_of("now-1d12h") == NOW - 36 * 3600 * S);
    assert_true(time_of("now+5m") == NOW + 300 * S);
    assert_true(time_of("1795132800") == 1795132800 * S);
    assert_true(time_of("1795132800.5") == 1795132800 * S + S / 2);
    assert_true(time_of("1795132800000000001") == 1795132800 * S + 1);
    assert_true(time_of("2026-11-20T01:00:00+01:00") == 1795132800 * S);
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "now-",
                                      "now1h",    "now-1",
                                      "now--1h",  "now- 1h",
                                      "now-100y", "nows",
                                      "now+290y", "yesterday",
                                      "-1h",      "2026-11-20",
                                      "1h",       "now-9223372036854775807w"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (time_of(bad[i]) != -1)
            fail_msg("%s was taken", bad[i]);
    }
}

static void assert_range(const char *since, const char *start, const char *end, int64_t from,
                         int64_t to)
{
    struct query_range r;
    struct err err = {0};
    if (query_range_parse(since, start, end, NOW, &r, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(r.given);
    assert_true(r.start_ns == from);
    assert_true(r.end_ns == to);
}

static void a_range_ends_now_and_begins_an_hour_before(void **state)
{
    (void)state;
    assert_range("30m", NULL, NULL, NOW - 1800 * S, NOW);
    assert_range(NULL, "now-2h", NULL, NOW - 7200 * S, NOW);
    assert_range(NULL, NULL, "now-2h", NOW - 10800 * S, NOW - 7200 * S);
    assert_range("30m", NULL, "now-1h", NOW - 5400 * S, NOW - 3600 * S);
    assert_range(NULL, "100", "200", 100 * S, 200 * S);
    assert_range(NULL, "now-1h", "now+1h", NOW - 3600 * S, NOW + 3600 * S);
    assert_range(NULL, NULL, "100", 0, 100 * S); /* there is nothing before 1970 */
}

static void without_times_there_is_no_range(void **state)
{
    (void)state;
    struct query_range r;
    assert_int_equal(query_range_parse(NULL, NULL, NULL, NOW, &r, NULL), 0);
    assert_false(r.given);
}

static void a_refusal_says_which_text_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *since, *start, *end, *want;
    } bad[] = {{"1x", NULL, NULL, "--since 1x is no duration"},
               {"-1h", NULL, NULL, "--since -1h is no duration"},
               {NULL, "noon", NULL, "--start noon is no time"},
               {NULL, NULL, "noon", "--end noon is no time"},
               {"1h", "now-1h", NULL, "exclude each other"},
               {NULL, "200", "100", "not before the end"},
               {NULL, "100", "100", "not before the end"},
               {NULL, "now+1h", NULL, "not before the end, which is now"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct query_range r;
        struct err err = {0};
        assert_int_equal(query_range_parse(bad[i].since, bad[i].start, bad[i].end, NOW, &r, &err),
                         ERR_INVALID);
        if (!strstr(err.msg, bad[i].want))
            fail_msg("wanted \"%s\", got \"%s\"", bad[i].want, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_absolute_or_from_now),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(a_range_ends_now_and_begins_an_hour_before),
        cmocka_unit_test(without_times_there_is_no_range),
        cmocka_unit_test(a_refusal_says_which_text_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
