/* Fuzz target: what a worker reads from a frontend, and a frontend from a worker. The first byte
 * says which: 0 a job, 1 to 5 the result of a job of that kind. What was read can be written and
 * read again, and is the same then. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/query_support.h"

#define NOW NS_PER_S
#define ARENA_BYTES ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Without a catalogue: jobs about live spans are refused. */
static void try_job(struct slice bytes, struct arena *a)
{
    struct query_job job, again;
    struct err err;
    struct buf b;
    if (query_job_decode(bytes, NOW, NULL, a, &job, &err) < 0)
        return;
    buf_init(&b, LIMIT_QUERY_JOB_BYTES);
    assert(query_job_encode(&job, NOW, &b, &err) == 0);
    assert(query_job_decode(buf_view(&b), NOW, NULL, a, &again, &err) == 0);
    support_assert_job(&job, &again);
    buf_clear(&b);
}

static void try_result(enum query_kind kind, struct slice bytes, struct arena *a)
{
    struct rng r = {kind};
    struct query_job job;
    struct span_batch first = {0}, second = {0};
    struct query_result out = {.trace.batch = &first}, again = {.trace.batch = &second};
    struct err err;
    struct buf b, c;
    bool broken;
    support_random_job(&r, kind, false, a, &job);
    buf_init(&b, LIMIT_QUERY_RESULT_BYTES);
    buf_init(&c, LIMIT_QUERY_RESULT_BYTES);
    if (query_result_decode(bytes, &job, a, &out, &broken, &err) == 0) {
        assert(query_result_encode(&job, 0, NULL, &out, &b, &err) == 0);
        assert(query_result_decode(buf_view(&b), &job, a, &again, &broken, &err) == 0);
        assert(query_result_encode(&job, 0, NULL, &again, &c, &err) == 0);
        assert(slice_eq(buf_view(&b), buf_view(&c)));
    }
    buf_clear(&c);
    buf_clear(&b);
    span_batch_clear(&first);
    span_batch_clear(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > QUERY_FIND_TRACE)
        return 0;
    struct arena *a = arena_new(ARENA_BYTES);
    struct slice bytes = slice_of(data + 1, size - 1);
    if (data[0] == 0)
        try_job(bytes, a);
    else
        try_result((enum query_kind)data[0], bytes, a);
    arena_free(a);
    return 0;
}
