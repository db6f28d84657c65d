/* Jobs and results on a wire: what is read is what was written, broken bytes do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/query_support.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define NOW (5 * NS_PER_S)

struct bench {
    struct objstore *store;
    struct metrics *metrics;
    struct catalog *catalog;
};

static int set_up(void **state)
{
    static struct bench b;
    static const struct log quiet = {.fd = 2, .level = LOG_LEVEL_ERROR, .room = "test"};
    struct err err;
    b.metrics = metrics_new();
    const struct objstore_env env = {.log = &quiet, .metrics = b.metrics, .clock = &clock_system};
    if (objstore_memory_new(&env, &b.store, &err) < 0)
        return -1;
    const struct catalog_opts opts = {.store = b.store,
                                      .log = &quiet,
                                      .metrics = b.metrics,
                                      .clock = &clock_system,
                                      .live_bytes_max = 1 << 20};
    *state = &b;
    return catalog_new(&opts, &b.catalog, &err);
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    catalog_free(b->catalog);
    objstore_free(b->store);
    metrics_free(b->metrics);
    return 0;
}

static void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

static void encode_job(const struct query_job *job, struct buf *out)
{
    struct err err;
    buf_init(out, LIMIT_QUERY_JOB_BYTES);
    ok(query_job_encode(job, NOW, out, &err), &err);
}

/* Any change of any byte: an error, or another job. */
static void break_job(struct rng *r, struct bench *b, struct buf *bytes)
{
    for (int i = 0; i < 40 && bytes->len; i++) {
        struct arena *a = arena_new(ARENA_BYTES);
        struct query_job job;
        struct err err = {0};
        size_t at = rng_below(r, bytes->len), cut = rng_below(r, bytes->len + 1);
        uint8_t was = bytes->ptr[at];
        bytes->ptr[at] ^= (uint8_t)(1 + rng_below(r, 255));
        int rc = query_job_decode(buf_view(bytes), NOW, b->catalog, a, &job, &err);
        assert_true(rc == 0 || err.msg[0]);
        rc = query_job_decode(slice_of(bytes->ptr, cut), NOW, b->catalog, a, &job, &err);
        assert_true(rc == 0 || err.msg[0]);
        bytes->ptr[at] = was;
        arena_free(a);
    }
}

static void a_job_arrives_as_it_was(void **state)
{
    struct bench *b = *state;
    struct rng r = {11};
    for (int i = 0; i < 400; i++) {
        struct arena *a = arena_new(ARENA_BYTES);
        struct query_job job, got;
        struct err err;
        struct buf bytes, again;
        support_random_job(&r, (enum query_kind)(1 + i % 5), i / 5 % 2, a, &job);
        encode_job(&job, &bytes);
        ok(query_job_decode(buf_view(&bytes), NOW, b->catalog, a, &got, &err), &err);
        support_assert_job(&job, &got);
        encode_job(&got, &again);
        assert_true(slice_eq(buf_view(&bytes), buf_view(&again)));
        break_job(&r, b, &bytes);
        buf_clear(&bytes);
        buf_clear(&again);
        arena_free(a);
    }
}

static void a_job_whose_time_is_up_has_none_left(void **state)
{
    struct bench *b = *state;
    struct rng r = {3};
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job, got;
    struct err err;
    struct buf bytes;
    support_random_job(&r, QUERY_FIND_TRACE, false, a, &job);
    job.deadline_mono_ns = NOW - 1;
    encode_job(&job, &bytes);
    ok(query_job_decode(buf_view(&bytes), 77, b->catalog, a, &got, &err), &err);
    assert_true(got.deadline_mono_ns == 77);
    buf_clear(&bytes);
    arena_free(a);
}

static void the_same_section_is_the_same_segment(void **state)
{
    struct bench *b = *state;
    struct rng r = {4};
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job, first, second;
    struct err err;
    struct buf bytes;
    support_random_job(&r, QUERY_TAGS, true, a, &job);
    encode_job(&job, &bytes);
    ok(query_job_decode(buf_view(&bytes), NOW, b->catalog, a, &first, &err), &err);
    ok(query_job_decode(buf_view(&bytes), NOW, b->catalog, a, &second, &err), &err);
    for (size_t i = 0; i < first.source.view->section_count; i++)
        assert_ptr_equal(first.source.view->sections[i].segment,
                         second.source.view->sections[i].segment);
    assert_int_equal(query_job_decode(buf_view(&bytes), NOW, NULL, a, &first, &err),
                     ERR_UNSUPPORTED);
    buf_clear(&bytes);
    arena_free(a);
}

static void only_sections_that_may_have_the_trace_are_named(void **state)
{
    struct bench *b = *state;
    struct rng r = {5};
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job, got;
    struct err err;
    struct buf bytes;
    support_random_job(&r, QUERY_FIND_TRACE, true, a, &job);
    job.trace_id[3] ^= 1;
    encode_job(&job, &bytes);
    ok(query_job_decode(buf_view(&bytes), NOW, b->catalog, a, &got, &err), &err);
    assert_int_equal(got.source.view->section_count, 0);
    buf_clear(&bytes);
    arena_free(a);
}

static void jobs_that_no_frontend_sends_are_refused(void **state)
{
    struct bench *b = *state;
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job;
    struct err err;
    static const struct {
        const char *bytes;
        size_t len;
        int rc;
    } bad[] = {
        {"", 0, ERR_CORRUPT},
        {"\x12\x00", 2, ERR_CORRUPT},                         /* no head */
        {"\x0a\x04\x08\x09\x10\x01", 6, ERR_UNSUPPORTED},     /* version 9 */
        {"\x0a\x04\x08\x01\x10\x09", 6, ERR_CORRUPT},         /* kind 9 */
        {"\x0a\x04\x08\x01\x10\x01", 6, ERR_CORRUPT},         /* asks nothing */
        {"\x0a\x04\x08\x01\x10\x04\x3a\x00", 8, ERR_CORRUPT}, /* metrics without intervals */
        {"\x0a\x04\x08\x01\x10\x05\x12\x02\x08\x09", 10, ERR_CORRUPT}, /* vParquet9 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err.msg[0] = 0;
        assert_int_equal(
            query_job_decode(slice_of(bad[i].bytes, bad[i].len), NOW, b->catalog, a, &job, &err),
            bad[i].rc);
        assert_true(err.msg[0]);
    }
    arena_free(a);
}

/* ---- results ---- */

static void break_result(struct rng *r, const struct query_job *job, struct buf *bytes)
{
    for (int i = 0; i < 20 && bytes->len; i++) {
        struct arena *a = arena_new(ARENA_BYTES);
        struct span_batch batch = {0};
        struct query_result got = {.trace.batch = &batch};
        struct err err = {0};
        bool broken;
        size_t at = rng_below(r, bytes->len), cut = rng_below(r, bytes->len + 1);
        uint8_t was = bytes->ptr[at];
        bytes->ptr[at] ^= (uint8_t)(1 + rng_below(r, 255));
        int rc = query_result_decode(buf_view(bytes), job, a, &got, &broken, &err);
        assert_true(rc <= 0);
        got.trace.batch = &batch;
        rc = query_result_decode(slice_of(bytes->ptr, cut), job, a, &got, &broken, &err);
        assert_true(rc == 0 || broken);
        bytes->ptr[at] = was;
        span_batch_clear(&batch);
        arena_free(a);
    }
}

static void a_result_arrives_as_it_was(void **state)
{
    (void)state;
    struct rng r = {12};
    for (int i = 0; i < 400; i++) {
        struct arena *a = arena_new(ARENA_BYTES);
        struct span_batch batch = {0}, got_batch = {0};
        struct query_job job;
        struct query_result result = {.trace.batch = &batch}, got = {.trace.batch = &got_batch};
        struct err err;
        struct buf bytes;
        bool broken;
        support_random_job(&r, (enum query_kind)(1 + i % 5), false, a, &job);
        support_random_result(&r, &job, a, &result);
        buf_init(&bytes, LIMIT_QUERY_RESULT_BYTES);
        ok(query_result_encode(&job, 0, NULL, &result, &bytes, &err), &err);
        ok(query_result_decode(buf_view(&bytes), &job, a, &got, &broken, &err), &err);
        assert_false(broken);
        support_assert_result(&job, &result, &got);
        break_result(&r, &job, &bytes);
        buf_clear(&bytes);
        span_batch_clear(&batch);
        span_batch_clear(&got_batch);
        arena_free(a);
    }
}

static void spans_of_other_traces_stay_behind(void **state)
{
    (void)state;
    struct rng r = {13};
    struct arena *a = arena_new(ARENA_BYTES);
    struct span_batch batch = {0}, got_batch = {0};
    struct query_job job;
    struct query_result result = {.trace.batch = &batch}, got = {.trace.batch = &got_batch};
    struct err err;
    struct buf bytes;
    bool broken;
    support_random_job(&r, QUERY_FIND_TRACE, false, a, &job);
    while (batch.spans.count < 5)
        support_random_result(&r, &job, a, &result);
    for (uint32_t i = 0; i < batch.spans.count; i += 2)
        batch.spans.at[i].trace_id[0] ^= 1;
    buf_init(&bytes, LIMIT_QUERY_RESULT_BYTES);
    ok(query_result_encode(&job, 0, NULL, &result, &bytes, &err), &err);
    ok(query_result_decode(buf_view(&bytes), &job, a, &got, &broken, &err), &err);
    assert_int_equal(got_batch.spans.count, batch.spans.count / 2);
    for (uint32_t i = 0; i < got_batch.spans.count; i++) {
        assert_memory_equal(got_batch.spans.at[i].trace_id, job.trace_id, 16);
        assert_true(slice_eq(got_batch.spans.at[i].span_id, batch.spans.at[2 * i + 1].span_id));
        assert_true(got_batch.spans.at[i].scope < got_batch.scopes.count);
    }
    buf_clear(&bytes);
    span_batch_clear(&batch);
    span_batch_clear(&got_batch);
    arena_free(a);
}

static void an_error_arrives_with_its_code_and_text(void **state)
{
    (void)state;
    struct rng r = {14};
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job;
    struct query_result got;
    struct err err, e;
    struct buf bytes;
    bool broken;
    support_random_job(&r, QUERY_SEARCH, false, a, &job);
    for (int code = ERR_INTERNAL; code < 0; code++) {
        buf_init(&bytes, LIMIT_QUERY_RESULT_BYTES);
        memset(e.msg, 'x', sizeof e.msg - 1);
        e.msg[code == ERR_CORRUPT ? 0 : sizeof e.msg - 1] = 0;
        ok(query_result_encode(&job, code, &e, NULL, &bytes, &err), &err);
        assert_int_equal(query_result_decode(buf_view(&bytes), &job, a, &got, &broken, &err), code);
        assert_false(broken);
        assert_int_equal(err.code, code);
        assert_string_equal(err.msg, e.msg);
        buf_clear(&bytes);
    }
    arena_free(a);
}

static void a_result_past_the_limit_is_an_error(void **state)
{
    (void)state;
    struct rng r = {15};
    struct arena *a = arena_new(ARENA_BYTES);
    struct query_job job;
    struct query_result result;
    struct err err;
    struct buf bytes;
    support_random_job(&r, QUERY_TAGS, false, a, &job);
    do
        support_random_result(&r, &job, a, &result);
    while (result.tags.count < 10);
    buf_init(&bytes, 50);
    assert_int_equal(query_result_encode(&job, 0, NULL, &result, &bytes, &err), ERR_LIMIT);
    assert_string_equal(err.msg, "a job's result takes more than 50 bytes");
    buf_clear(&bytes);
    arena_free(a);
}

/* A list in a list in a list: 4 bytes a level, a stack frame or two each. */
static void a_value_that_nests_too_deep_is_refused(void **state)
{
    (void)state;
    struct rng r = {16};
    struct arena *a = arena_new(ARENA_BYTES);
    struct span_batch batch = {0};
    struct query_job job;
    struct query_result got = {.trace.batch = &batch};
    struct err err;
    struct buf bytes;
    bool broken;
    support_random_job(&r, QUERY_FIND_TRACE, false, a, &job);
    buf_init(&bytes, LIMIT_QUERY_RESULT_BYTES);
    struct query_result none = {.trace.batch = &batch};
    ok(query_result_encode(&job, 0, NULL, &none, &bytes, &err), &err);
    struct buf deep, around;
    buf_init(&deep, 1 << 24);
    buf_init(&around, 1 << 24);
    for (int i = 0; i < 2000; i++) { /* value { type array, item value } */
        buf_reset(&around);
        buf_append(&around, "\x08\x06\x2a", 3);
        buf_varint(&around, deep.len);
        buf_slice(&around, buf_view(&deep));
        buf_reset(&deep);
        buf_slice(&deep, buf_view(&around));
    }
    /* spans { resource { attr { value } } } */
    static const uint8_t tags[] = {0x12, 0x22, 0x0a, 0x2a};
    for (size_t i = 0; i < sizeof tags; i++) {
        buf_reset(&around);
        buf_u8(&around, tags[i]);
        buf_varint(&around, deep.len);
        buf_slice(&around, buf_view(&deep));
        buf_reset(&deep);
        buf_slice(&deep, buf_view(&around));
    }
    buf_slice(&bytes, buf_view(&deep));
    assert_int_equal(query_result_decode(buf_view(&bytes), &job, a, &got, &broken, &err),
                     ERR_LIMIT);
    assert_non_null(strstr(err.msg, "nests deeper"));
    assert_int_equal(batch.attrs.count, 0);
    buf_clear(&deep);
    buf_clear(&around);
    buf_clear(&bytes);
    span_batch_clear(&batch);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_arrives_as_it_was),
        cmocka_unit_test(a_job_whose_time_is_up_has_none_left),
        cmocka_unit_test(the_same_section_is_the_same_segment),
        cmocka_unit_test(only_sections_that_may_have_the_trace_are_named),
        cmocka_unit_test(jobs_that_no_frontend_sends_are_refused),
        cmocka_unit_test(a_result_arrives_as_it_was),
        cmocka_unit_test(spans_of_other_traces_stay_behind),
        cmocka_unit_test(an_error_arrives_with_its_code_and_text),
        cmocka_unit_test(a_result_past_the_limit_is_an_error),
        cmocka_unit_test(a_value_that_nests_too_deep_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
