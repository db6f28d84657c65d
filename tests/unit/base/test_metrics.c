/* The registry and the Prometheus text it writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"

static char *written(struct metrics *m)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    assert_int_equal(metrics_write(m, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    return (char *)text;
}

static void assert_written(struct metrics *m, const char *want)
{
    char *text = written(m);
    assert_string_equal(text, want);
    free(text);
}

static void families_are_written_in_order_of_registration(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct counter *c = metrics_counter(m, "z_total", "Counts z.");
    struct gauge *g = metrics_gauge(m, "a_bytes", "Bytes of a\nand \\ more.");
    counter_add(c, 2);
    counter_add(c, 3);
    gauge_set(g, 10);
    gauge_add(g, -11);
    counter_add(NULL, 1);
    gauge_set(NULL, 1);
    assert_written(m, "# HELP z_total Counts z.\n# TYPE z_total counter\nz_total 5\n"
                      "# HELP a_bytes Bytes of a\\nand \\\\ more.\n# TYPE a_bytes gauge\n"
                      "a_bytes -1\n");
    metrics_free(m);
}

static void a_name_registered_twice_is_one_metric(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    assert_ptr_equal(metrics_counter(m, "c_total", "C."), metrics_counter(m, "c_total", "C."));
    assert_null(metrics_counter(NULL, "c_total", "C."));
    metrics_free(m);
}

static void label_values_are_escaped_and_found_again(void **state)
{
    (void)state;
    static const char *const names[] = {"tenant", "reason"};
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_counter_family(m, "d_total", "D.", names, 2);
    const struct slice odd[] = {SLICE("a\"b\\c\nd"), SLICE("\xff"
                                                           "é")};
    const struct slice shifted[] = {SLICE("ab"), SLICE("c")}, other[] = {SLICE("a"), SLICE("bc")};
    counter_add(metrics_counter_with(f, odd), 1);
    counter_add(metrics_counter_with(f, odd), 1);
    counter_add(metrics_counter_with(f, shifted), 5);
    counter_add(metrics_counter_with(f, other), 7);
    assert_written(m, "# HELP d_total D.\n# TYPE d_total counter\n"
                      "d_total{tenant=\"a\\\"b\\\\c\\nd\",reason=\"\xef\xbf\xbdé\"} 2\n"
                      "d_total{tenant=\"ab\",reason=\"c\"} 5\n"
                      "d_total{tenant=\"a\",reason=\"bc\"} 7\n");
    metrics_free(m);
}

static void a_family_without_children_is_not_written(void **state)
{
    (void)state;
    static const char *const names[] = {"tenant"};
    struct metrics *m = metrics_new();
    assert_non_null(metrics_gauge_family(m, "g", "G.", names, 1));
    assert_written(m, "");
    metrics_free(m);
}

static void histogram_buckets_are_cumulative(void **state)
{
    (void)state;
    static const double bounds[] = {0.005, 1, 10};
    struct metrics *m = metrics_new();
    struct histogram *h = metrics_histogram(m, "h_seconds", "H.", bounds, 3);
    const double values[] = {0.005, 0.0051, 1, 2, 100, NAN};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        histogram_observe(h, values[i]);
    assert_written(m, "# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
                      "h_seconds_bucket{le=\"0.005\"} 1\nh_seconds_bucket{le=\"1\"} 3\n"
                      "h_seconds_bucket{le=\"10\"} 4\nh_seconds_bucket{le=\"+Inf\"} 5\n"
                      "h_seconds_sum 103.0101\nh_seconds_count 5\n");
    metrics_free(m);
}

static void labelled_histogram_keeps_its_labels_before_le(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    static const char *const names[] = {"route"};
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_histogram_family(m, "h", "H.", bounds, 1, names, 1);
    histogram_observe(metrics_histogram_with(f, (const struct slice[]){SLICE("x")}), 0.5);
    assert_written(m, "# HELP h H.\n# TYPE h histogram\nh_bucket{route=\"x\",le=\"1\"} 1\n"
                      "h_bucket{route=\"x\",le=\"+Inf\"} 1\nh_sum{route=\"x\"} 0.5\n"
                      "h_count{route=\"x\"} 1\n");
    metrics_free(m);
}

static void nanoseconds_are_written_in_seconds(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    counter_add(metrics_counter_ns(m, "c_seconds_total", "C."), 1250000000);
    gauge_set(metrics_gauge_ns(m, "g_seconds", "G."), -500000000);
    assert_written(m, "# HELP c_seconds_total C.\n# TYPE c_seconds_total counter\n"
                      "c_seconds_total 1.25\n# HELP g_seconds G.\n# TYPE g_seconds gauge\n"
                      "g_seconds -0.5\n");
    metrics_free(m);
}

static void past_the_limit_all_label_sets_share_one_child(void **state)
{
    (void)state;
    static const char *const names[] = {"tenant"};
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_counter_family(m, "t_total", "T.", names, 1);
    struct counter *first = NULL;
    for (int i = 0; i < 10500; i++) {
        char name[20];
        snprintf(name, sizeof name, "t%d", i);
        struct counter *c = metrics_counter_with(f, (const struct slice[]){slice_cstr(name)});
        assert_non_null(c);
        first = first ? first : c;
        counter_add(c, 1);
    }
    assert_ptr_equal(metrics_counter_with(f, (const struct slice[]){SLICE("t0")}), first);
    char *text = written(m);
    assert_non_null(strstr(text, "t_total{tenant=\"t9999\"} 1\n"));
    assert_null(strstr(text, "t_total{tenant=\"t10000\"}"));
    assert_non_null(strstr(text, "t_total{tenant=\"__overflow__\"} 500\n"));
    free(text);
    metrics_free(m);
}

struct collected {
    struct metrics_family *family;
    int calls;
};

static void collect(void *ctx)
{
    struct collected *c = ctx;
    c->calls++;
    gauge_set(metrics_gauge_with(c->family, (const struct slice[]){SLICE("x")}), c->calls);
}

static void a_collector_may_make_children(void **state)
{
    (void)state;
    static const char *const names[] = {"k"};
    struct metrics *m = metrics_new();
    struct collected c = {metrics_gauge_family(m, "g", "G.", names, 1), 0};
    assert_int_equal(metrics_on_collect(m, collect, &c), 0);
    assert_written(m, "# HELP g G.\n# TYPE g gauge\ng{k=\"x\"} 1\n");
    assert_written(m, "# HELP g G.\n# TYPE g gauge\ng{k=\"x\"} 2\n");
    metrics_free(m);
}

static void *hammer(void *arg)
{
    struct metrics *m = arg;
    static const char *const names[] = {"k"};
    static const double bounds[] = {1, 2};
    for (int i = 0; i < 2000; i++) {
        char name[20];
        snprintf(name, sizeof name, "k%d", i % 50);
        struct metrics_family *f = metrics_counter_family(m, "c_total", "C.", names, 1);
        counter_add(metrics_counter_with(f, (const struct slice[]){slice_cstr(name)}), 1);
        histogram_observe(metrics_histogram(m, "h", "H.", bounds, 2), 0.25);
    }
    return NULL;
}

static void threads_lose_no_update(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, m), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = written(m);
    assert_non_null(strstr(text, "c_total{k=\"k49\"} 160\n"));
    assert_non_null(strstr(text, "h_sum 2000\nh_count 8000\n"));
    free(text);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_are_written_in_order_of_registration),
        cmocka_unit_test(a_name_registered_twice_is_one_metric),
        cmocka_unit_test(label_values_are_escaped_and_found_again),
        cmocka_unit_test(a_family_without_children_is_not_written),
        cmocka_unit_test(histogram_buckets_are_cumulative),
        cmocka_unit_test(labelled_histogram_keeps_its_labels_before_le),
        cmocka_unit_test(nanoseconds_are_written_in_seconds),
        cmocka_unit_test(past_the_limit_all_label_sets_share_one_child),
        cmocka_unit_test(a_collector_may_make_children),
        cmocka_unit_test(threads_lose_no_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
