/* Steps of metrics requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/metrics_priv.h"

#define S INT64_C(1000000000)

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
        cmocka_unit_test(the_default_step_follows_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
