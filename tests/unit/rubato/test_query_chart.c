/* Charts of characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rubato/query_chart.h"

#define START 1795132800000 /* 2026-11-20T00:00:00Z */

static char *draw(const struct chart *c)
{
    struct arena *a = arena_new(1 << 20);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(chart_print(c, a, &out), 0);
    assert_int_equal(buf_u8(&out, 0), 0);
    arena_free(a);
    return (char *)out.ptr;
}

static void assert_chart(const struct chart *c, const char *want)
{
    char *got = draw(c);
    assert_string_equal(got, want);
    free(got);
}

static void a_line_rises_from_corner_to_corner(void **state)
{
    (void)state;
    const double rising[] = {0, 1, 2, 3, 4};
    const double *series[] = {rising};
    struct chart c = {.series = series,
                      .count = 1,
                      .points = 5,
                      .start_ms = START,
                      .step_ms = 60000,
                      .width = 40,
                      .height = 7};
    assert_chart(&c, "4 +                            *****\n"
                     "  |                    ********\n"
                     "2 +            ********\n"
                     "  |    ********\n"
                     "0 +****\n"
                     "  +---------------------------------\n"
                     "   00:00:00    00:02:00     00:04:00 UTC\n");
    c.colour = true;
    c.width = 30;
    assert_chart(&c, "4 ┤                   \033[36m⣀⠤⠒⠉\033[0m\n"
                     "  │              \033[36m⢀⡠⠔⠒⠉\033[0m\n"
                     "2 ┤         \033[36m⢀⣀⠤⠔⠊⠁\033[0m\n"
                     "  │    \033[36m⣀⠤⠔⠒⠉⠁\033[0m\n"
                     "0 ┤\033[36m⣀⠤⠒⠉\033[0m\n"
                     "  └───────────────────────\n"
                     "   00:00:00       00:04:00 UTC\n");
}

static void series_have_marks_and_the_first_lies_on_top(void **state)
{
    (void)state;
    const double one[] = {3, 3, 3}, two[] = {1, 3, 1}, three[] = {NAN, -1, NAN};
    const double *series[] = {one, two, three};
    const struct chart c = {.series = series,
                            .count = 3,
                            .points = 3,
                            .start_ms = START,
                            .step_ms = 86400000,
                            .width = 30,
                            .height = 9};
    assert_chart(&c, " 4 +\n"
                     "   |**********************\n"
                     " 2 +   ++++++     +++++\n"
                     "   |+++                +++\n"
                     " 0 +\n"
                     "   |           o\n"
                     "-2 +\n"
                     "   +----------------------\n"
                     "    11-20 00:00 UTC\n");
}

static void gaps_are_not_joined(void **state)
{
    (void)state;
    const double v[] = {1, 1, NAN, INFINITY, 1, 1};
    const double *series[] = {v};
    const struct chart c = {.series = series,
                            .count = 1,
                            .points = 6,
                            .start_ms = START,
                            .step_ms = 1000,
                            .width = 30,
                            .height = 6};
    assert_chart(&c, "  1 +*****           *****\n"
                     "    |\n"
                     "0.5 +\n"
                     "  0 +\n"
                     "    +---------------------\n"
                     "     00:00:00     00:00:05 UTC\n");
}

static void nothing_to_draw_is_no_chart(void **state)
{
    (void)state;
    const double v[] = {NAN, INFINITY};
    const double *series[] = {v};
    struct chart c = {.series = series, .count = 1, .points = 2, .width = 80, .height = 16};
    assert_chart(&c, "");
    c.points = 0;
    assert_chart(&c, "");
    c.count = 0;
    assert_chart(&c, "");
}

/* Whatever the numbers and the screen, lines are as many and as wide as asked for. */
static void odd_numbers_and_screens_stay_in_their_bounds(void **state)
{
    (void)state;
    static const double values[] = {0,    -0.0, 1e-310, -1e300, 1e300, 1.7e308, NAN, -INFINITY,
                                    1e15, 5,    -5,     0.1,    1e-9,  123456,  7,   7};
    uint32_t n = sizeof values / sizeof values[0];
    for (uint32_t from = 0; from < n; from++) {
        for (uint32_t points = 1; from + points <= n; points++) {
            const double *series[CHART_SERIES_MAX + 2];
            for (uint32_t i = 0; i < CHART_SERIES_MAX + 2; i++)
                series[i] = values + from;
            for (unsigned width = 0; width < 100; width += 33) {
                const struct chart c = {.series = series,
                                        .count = CHART_SERIES_MAX + 2,
                                        .points = points,
                                        .start_ms = INT64_MAX / 4,
                                        .step_ms = 1 + (int64_t)width * 1000000000000,
                                        .width = width,
                                        .height = width / 3,
                                        .colour = width % 2};
                char *got = draw(&c);
                size_t lines = 0;
                for (const char *p = got; *p; p++)
                    lines += *p == '\n';
                assert_true(lines == 0 || (lines >= 6 && lines <= 33));
                free(got);
            }
        }
    }
}

static void numbers_are_short(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *want;
    } numbers[] = {
        {0, "0"},         {-0.0, "0"},    {0.25, "0.25"},    {1.0 / 3, "0.3333"}, {9999, "9999"},
        {12500, "12.5k"}, {3e6, "3M"},    {-2.5e9, "-2.5G"}, {1.5e-7, "1.5e-07"}, {1e12, "1T"},
        {1e16, "10P"},    {1e20, "1e+20"}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[24];
        chart_number(numbers[i].v, text);
        assert_string_equal(text, numbers[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_rises_from_corner_to_corner),
        cmocka_unit_test(series_have_marks_and_the_first_lies_on_top),
        cmocka_unit_test(gaps_are_not_joined),
        cmocka_unit_test(nothing_to_draw_is_no_chart),
        cmocka_unit_test(odd_numbers_and_screens_stay_in_their_bounds),
        cmocka_unit_test(numbers_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
