/* What counts as within the objective of a query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "frontend/accounting.h"

#define S UINT64_C(1000000000)

static void verdicts_are_tempos(void **state)
{
    (void)state;
    static const struct app_slo none = {0}, five_s = {.duration_ns = 5000000000},
                                gb = {.throughput_bytes = 1000000000},
                                both = {.duration_ns = 5000000000, .throughput_bytes = 1000000000};
    static const struct {
        const struct app_slo *slo;
        struct slo_query q;
        enum slo_verdict want;
    } cases[] = {
        {&none, {.status = 200, .latency_ns = 3600 * S}, SLO_WITHIN},
        {&five_s, {.status = 200, .latency_ns = 5 * S - 1}, SLO_WITHIN},
        {&five_s, {.status = 200, .latency_ns = 5 * S}, SLO_MISSED},
        {&five_s, {.status = 404, .latency_ns = 6 * S}, SLO_MISSED}, /* there is no such trace */
        {&gb, {.status = 200, .latency_ns = 2 * S, .bytes = 2000000000}, SLO_WITHIN},
        {&gb, {.status = 200, .latency_ns = 2 * S, .bytes = 1999999999}, SLO_MISSED},
        {&gb, {.status = 200, .latency_ns = 1}, SLO_MISSED}, /* a time was not promised */
        {&both, {.status = 200, .latency_ns = 1}, SLO_WITHIN},
        {&both, {.status = 200, .latency_ns = 10 * S, .bytes = 10000000000}, SLO_WITHIN},
        {&both, {.status = 200, .latency_ns = 10 * S, .bytes = 1}, SLO_MISSED},
        /* The asker's own doing. */
        {&five_s, {.failed = true, .status = 400, .latency_ns = 6 * S}, SLO_WITHIN},
        {&five_s, {.failed = true, .status = 404, .latency_ns = 6 * S}, SLO_WITHIN},
        {&five_s, {.failed = true, .status = 429, .latency_ns = 6 * S}, SLO_WITHIN},
        {&none, {.cancelled = true, .failed = true, .status = 499}, SLO_CANCELLED},
        {&five_s, {.cancelled = true, .status = 200, .latency_ns = 6 * S}, SLO_CANCELLED},
        /* A trace that is too large is an answer like another. */
        {&five_s, {.failed = true, .status = 422, .latency_ns = 1}, SLO_WITHIN},
        {&five_s, {.failed = true, .status = 422, .latency_ns = 6 * S}, SLO_MISSED},
        /* Ours. */
        {&none, {.failed = true, .status = 500}, SLO_MISSED},
        {&none, {.failed = true, .status = 503}, SLO_MISSED},
        {&none, {.failed = true, .status = 504}, SLO_MISSED},
        {&none, {.failed = true, .status = 413}, SLO_MISSED},
        {&none, {.status = 500}, SLO_MISSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (slo_judge(cases[i].slo, &cases[i].q) != cases[i].want)
            fail_msg("case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts_are_tempos)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
