/* How many requests a tenant may have under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "frontend/admission.h"

struct fixture {
    struct metrics *m;
    struct admission *a;
    struct err err;
};

static struct fixture start(uint64_t most)
{
    struct fixture f = {.m = metrics_new()};
    assert_int_equal(admission_new(f.m, most, &f.a, NULL), 0);
    return f;
}

static void end(struct fixture *f)
{
    admission_free(f->a);
    metrics_free(f->m);
}

static void assert_metric(struct fixture *f, const char *line)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(metrics_write(f->m, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    if (!strstr((char *)b.ptr, line))
        fail_msg("no %s in:\n%s", line, (char *)b.ptr);
    buf_clear(&b);
}

static void a_tenant_has_no_more_than_it_may(void **state)
{
    (void)state;
    struct fixture f = start(2);
    assert_int_equal(admission_enter(f.a, SLICE("b"), &f.err), 0);
    assert_int_equal(admission_enter(f.a, SLICE("b"), &f.err), 0);
    assert_int_equal(admission_enter(f.a, SLICE("b"), &f.err), ERR_EXHAUSTED);
    assert_string_equal(f.err.msg, "job queue full");
    /* Others are not concerned, on either side of it in order. */
    assert_int_equal(admission_enter(f.a, SLICE("a"), &f.err), 0);
    assert_int_equal(admission_enter(f.a, SLICE("c"), &f.err), 0);
    assert_metric(&f, "tempo_query_frontend_queue_length{user=\"b\"} 2\n");
    assert_metric(&f, "tempo_query_frontend_discarded_requests_total{user=\"b\"} 1\n");
    admission_leave(f.a, SLICE("b"));
    assert_int_equal(admission_enter(f.a, SLICE("b"), &f.err), 0);
    admission_leave(f.a, SLICE("b"));
    admission_leave(f.a, SLICE("b"));
    admission_leave(f.a, SLICE("c"));
    admission_leave(f.a, SLICE("a"));
    assert_metric(&f, "tempo_query_frontend_queue_length{user=\"b\"} 0\n");
    end(&f);
}

static void without_a_limit_all_come_in(void **state)
{
    (void)state;
    struct fixture f = start(0);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(admission_enter(f.a, SLICE("a"), NULL), 0);
    for (int i = 0; i < 5000; i++)
        admission_leave(f.a, SLICE("a"));
    end(&f);
}

static void *come_and_go(void *arg)
{
    struct admission *a = arg;
    char name[8];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "t%d", i % 37);
        if (admission_enter(a, slice_cstr(name), NULL) == 0)
            admission_leave(a, slice_cstr(name));
    }
    return NULL;
}

static void many_threads_leave_it_empty(void **state)
{
    (void)state;
    struct fixture f = start(1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, f.a), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_metric(&f, "tempo_query_frontend_queue_length{user=\"t0\"} 0\n");
    end(&f); /* which checks that nobody is in */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_has_no_more_than_it_may),
        cmocka_unit_test(without_a_limit_all_come_in),
        cmocka_unit_test(many_threads_leave_it_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
