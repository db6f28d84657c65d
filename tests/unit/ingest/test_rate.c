/* Token buckets, with a clock that the tests turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ingest/ingest_priv.h"

static const struct rate small = {.bytes_per_s = 1000, .burst_bytes = 600};

struct fixture {
    struct rate_limiter *r;
    struct err err;
    bool retry;
};

static struct fixture start(void)
{
    struct fixture f = {0};
    assert_int_equal(rate_limiter_new(&f.r, NULL), 0);
    return f;
}

static int take(struct fixture *f, const char *tenant, const struct rate *limit, uint64_t bytes,
                uint64_t now_ms)
{
    return rate_limiter_take(f->r, slice_cstr(tenant), limit, bytes, now_ms * NS_PER_MS, &f->retry,
                             &f->err);
}

static void a_bucket_starts_full_and_refills_at_the_rate(void **state)
{
    (void)state;
    struct fixture f = start();
    assert_int_equal(take(&f, "a", &small, 600, 1000), 0);
    assert_int_equal(take(&f, "a", &small, 1, 1000), ERR_EXHAUSTED);
    assert_true(f.retry);
    assert_string_equal(f.err.msg,
                        "RATE_LIMITED: ingestion rate limit (local: 1000 bytes/s, global: 0 "
                        "bytes/s, burst: 600 bytes) exceeded while adding 1 bytes for user a. "
                        "consider increasing the limit or reducing ingestion rate.");
    assert_int_equal(take(&f, "a", &small, 100, 1100), 0);
    assert_int_equal(take(&f, "a", &small, 1, 1100), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "a", &small, 600, 9000), 0); /* no more than the burst has come */
    assert_int_equal(take(&f, "a", &small, 1, 9000), ERR_EXHAUSTED);
    rate_limiter_free(f.r);
}

static void more_than_the_burst_never_passes(void **state)
{
    (void)state;
    struct fixture f = start();
    assert_int_equal(take(&f, "a", &small, 812, 1000), ERR_EXHAUSTED);
    assert_false(f.retry);
    assert_int_equal(take(&f, "a", &small, 1001, 1000), ERR_EXHAUSTED);
    assert_non_null(strstr(f.err.msg, "RATE_LIMITED: batch size (1001 bytes) exceeds"));
    assert_int_equal(take(&f, "a", &small, 600, 1000), 0); /* a refusal takes nothing */
    rate_limiter_free(f.r);
}

static void tenants_have_buckets_of_their_own(void **state)
{
    (void)state;
    struct fixture f = start();
    assert_int_equal(take(&f, "b", &small, 600, 1000), 0);
    assert_int_equal(take(&f, "a", &small, 600, 1000), 0);
    assert_int_equal(take(&f, "b", &small, 1, 1000), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "c", &(struct rate){0}, 1, 1000), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "c", &(struct rate){0}, 1, 99000), ERR_EXHAUSTED);
    rate_limiter_free(f.r);
}

static void a_changed_limit_holds_at_once(void **state)
{
    (void)state;
    static const struct rate large = {.bytes_per_s = 1000000, .burst_bytes = 10000};
    struct fixture f = start();
    assert_int_equal(take(&f, "a", &large, 1000, 1000), 0);
    assert_int_equal(take(&f, "a", &small, 601, 1000), ERR_EXHAUSTED); /* 9000 were left */
    assert_int_equal(take(&f, "a", &small, 600, 1000), 0);
    assert_int_equal(take(&f, "a", &large, 5000, 1001), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "a", &large, 5000, 1005), 0);
    rate_limiter_free(f.r);
}

static void times_out_of_order_give_nothing_away(void **state)
{
    (void)state;
    struct fixture f = start();
    assert_int_equal(take(&f, "a", &small, 600, 2000), 0);
    assert_int_equal(take(&f, "a", &small, 1, 1999), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "a", &small, 101, 2100), ERR_EXHAUSTED);
    assert_int_equal(take(&f, "a", &small, 100, 2100), 0);
    rate_limiter_free(f.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_starts_full_and_refills_at_the_rate),
        cmocka_unit_test(more_than_the_burst_never_passes),
        cmocka_unit_test(tenants_have_buckets_of_their_own),
        cmocka_unit_test(a_changed_limit_holds_at_once),
        cmocka_unit_test(times_out_of_order_give_nothing_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
