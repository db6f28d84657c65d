/* Limits of tenants: how a file is read, whose value holds, and what a reload does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/overrides.h"

struct fixture {
    char path[64];
    struct app_config cfg;
    struct config *config;
    struct log log;
    char log_path[64];
    struct metrics *metrics;
    struct overrides *o;
    struct err err;
};

static void write_file(const struct fixture *f, const char *text)
{
    FILE *out = fopen(f->path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "RATE") == 0 ? "77" : NULL;
}

static struct overrides_opts opts_of(struct fixture *f)
{
    return (struct overrides_opts){.cfg = &f->cfg,
                                   .log = &f->log,
                                   .metrics = f->metrics,
                                   .clock = &clock_system,
                                   .env = environment};
}

/* text NULL: no file is configured. */
static struct fixture *prepare(const char *text)
{
    struct fixture *f = calloc(1, sizeof *f);
    char program[] = "rubato", flag[100];
    char *argv[] = {program, flag, NULL};
    assert_non_null(f);
    snprintf(f->path, sizeof f->path, "/tmp/rubato-test-overrides-XXXXXX");
    snprintf(f->log_path, sizeof f->log_path, "/tmp/rubato-test-overrides-log-XXXXXX");
    close(mkstemp(f->path));
    f->log = (struct log){.fd = mkstemp(f->log_path), .level = LOG_LEVEL_INFO, .room = "test"};
    snprintf(flag, sizeof flag, "-config.per-user-override-config=%s", text ? f->path : "");
    assert_int_equal(app_config_load(2, argv, NULL, NULL, &f->cfg, &f->config, &f->err), 0);
    f->metrics = metrics_new();
    if (text)
        write_file(f, text);
    return f;
}

static struct fixture *start(const char *text)
{
    struct fixture *f = prepare(text);
    const struct overrides_opts opts = opts_of(f);
    if (overrides_new(&opts, &f->o, &f->err) != 0)
        fail_msg("%s", f->err.msg);
    return f;
}

static void end(struct fixture *f)
{
    overrides_free(f->o);
    metrics_free(f->metrics);
    config_free(f->config);
    close(f->log.fd);
    unlink(f->path);
    unlink(f->log_path);
    free(f);
}

static struct overrides_limits limits_of(struct fixture *f, const char *tenant)
{
    const struct overrides_limits *l = overrides_acquire(f->o, slice_cstr(tenant));
    struct overrides_limits copy = *l;
    overrides_release(f->o, l);
    return copy;
}

static uint64_t rate_of(struct fixture *f, const char *tenant)
{
    return limits_of(f, tenant).rate_limit_bytes;
}

static void assert_metric(struct fixture *f, const char *line, bool there)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(metrics_write(f->metrics, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    if ((strstr((char *)b.ptr, line) != NULL) != there)
        fail_msg("%s is %s:\n%s", line, there ? "not there" : "there", (char *)b.ptr);
    buf_clear(&b);
}

/* How often the log has it. */
static size_t logged(const struct fixture *f, const char *text)
{
    static char all[65536];
    int fd = open(f->log_path, O_RDONLY);
    ssize_t n = read(fd, all, sizeof all - 1);
    close(fd);
    all[n > 0 ? n : 0] = 0;
    size_t count = 0;
    for (const char *p = all; (p = strstr(p, text)); p++)
        count++;
    return count;
}

/* ---- whose value holds ---- */

static void without_a_file_everybody_has_the_defaults(void **state)
{
    (void)state;
    struct fixture *f = start(NULL);
    struct overrides_limits l = limits_of(f, "anyone");
    assert_int_equal(l.rate_limit_bytes, 30000000);
    assert_int_equal(l.max_bytes_per_trace, 5000000);
    assert_true(l.retry_info_enabled);
    assert_int_equal(overrides_block_retention_ns(f->o, SLICE("anyone")), 0);
    assert_int_equal(overrides_reload(f->o, NULL), 0);
    assert_metric(f, "tempo_limits_defaults{limit_name=\"max_bytes_per_trace\"} 5000000\n", true);
    assert_metric(f, "tempo_runtime_config", false);
    end(f);
}

static void each_field_is_the_tenants_or_the_wildcards_or_the_default(void **state)
{
    (void)state;
    struct fixture *f = start("overrides:\n"
                              "  team-b:\n"
                              "    metrics_generator: {processors: [span-metrics]}\n"
                              "  \"*\":\n"
                              "    ingestion: {rate_limit_bytes: 500, retry_info_enabled: false}\n"
                              "    compaction: {block_retention: 30d}\n"
                              "  team-a:\n"
                              "    ingestion:\n"
                              "      rate_limit_bytes: 0\n"
                              "    global: {max_bytes_per_trace: 9}\n");
    struct overrides_limits a = limits_of(f, "team-a"), b = limits_of(f, "team-b"),
                            other = limits_of(f, "team-");
    assert_int_equal(a.rate_limit_bytes, 0); /* said so */
    assert_int_equal(a.max_bytes_per_trace, 9);
    assert_false(a.retry_info_enabled);
    assert_int_equal(a.burst_size_bytes, 30000000);
    /* In Tempo this one could send nothing. */
    assert_int_equal(b.rate_limit_bytes, 500);
    assert_int_equal(b.max_bytes_per_trace, 5000000);
    assert_int_equal(other.rate_limit_bytes, 500);
    assert_int_equal(overrides_block_retention_ns(f->o, SLICE("team-a")),
                     INT64_C(30) * 24 * 3600 * 1000000000);
    assert_metric(f, "tempo_limits_overrides{limit_name=\"max_bytes_per_trace\",user=\"team-a\"} 9",
                  true);
    assert_metric(f, "tempo_limits_overrides{limit_name=\"ingestion_rate_limit_bytes\",user=\"*\"}",
                  true);
    end(f);
}

static void flat_names_mean_the_same(void **state)
{
    (void)state;
    struct fixture *f = start("overrides:\n"
                              "  old:\n"
                              "    ingestion_rate_limit_bytes: 1\n"
                              "    ingestion_burst_size_bytes: 2\n"
                              "    ingestion_max_attribute_bytes: 3\n"
                              "    ingestion_retry_info_enabled: false\n"
                              "    max_bytes_per_trace: 4\n"
                              "    max_bytes_per_tag_values_query: 5\n"
                              "    max_blocks_per_tag_values_query: 6\n"
                              "    max_search_duration: 7s\n"
                              "    max_metrics_duration: 8s\n"
                              "    block_retention: 9s\n"
                              "    compaction_window: 10s\n"
                              "    compaction_disabled: true\n"
                              "    parquet_dedicated_columns: [{name: k8s.pod, scope: resource}]\n"
                              "    metrics_generator_ring_size: 3\n");
    const struct overrides_limits *l = overrides_acquire(f->o, SLICE("old"));
    assert_int_equal(l->rate_limit_bytes, 1);
    assert_int_equal(l->burst_size_bytes, 2);
    assert_int_equal(l->max_attribute_bytes, 3);
    assert_false(l->retry_info_enabled);
    assert_int_equal(l->max_bytes_per_trace, 4);
    assert_int_equal(l->max_bytes_per_tag_values_query, 5);
    assert_int_equal(l->max_blocks_per_tag_values_query, 6);
    assert_true(l->max_search_duration_ns == INT64_C(7000000000));
    assert_true(l->max_metrics_duration_ns == INT64_C(8000000000));
    assert_true(l->block_retention_ns == INT64_C(9000000000));
    assert_true(overrides_compaction_window_ns(f->o, SLICE("old")) == INT64_C(10000000000));
    assert_true(overrides_compaction_disabled(f->o, SLICE("old")));
    const struct config_items *columns = overrides_dedicated_columns(f->o, l);
    assert_int_equal(columns->count, 1);
    assert_true(
        slice_eq(((const struct app_dedicated_column *)columns->at)->name, SLICE("k8s.pod")));
    overrides_release(f->o, l);
    assert_int_equal(logged(f, "is deprecated: use"), 13);
    end(f);
}

static void columns_of_nobodys_own_are_the_stores(void **state)
{
    (void)state;
    struct fixture *f = start("overrides: {}\n");
    const struct overrides_limits *l = overrides_acquire(f->o, SLICE("a"));
    assert_ptr_equal(overrides_dedicated_columns(f->o, l),
                     &f->cfg.storage.trace.block.parquet_dedicated_columns);
    overrides_release(f->o, l);
    end(f);
}

static void variables_are_expanded(void **state)
{
    (void)state;
    struct fixture *f = start("overrides: {a: {ingestion: {rate_limit_bytes: '${RATE}'}}}\n");
    assert_int_equal(rate_of(f, "a"), 77);
    end(f);
}

/* ---- reload ---- */

static void a_changed_file_is_taken_and_what_is_held_stays(void **state)
{
    (void)state;
    struct fixture *f = start("overrides: {a: {ingestion: {rate_limit_bytes: 1}}}\n");
    const struct overrides_limits *held = overrides_acquire(f->o, SLICE("a"));
    write_file(f, "overrides: {b: {ingestion: {rate_limit_bytes: 2}}}\n");
    assert_int_equal(rate_of(f, "a"), 1); /* not before it is looked at */
    assert_int_equal(overrides_reload(f->o, NULL), 0);
    assert_int_equal(rate_of(f, "a"), 30000000);
    assert_int_equal(rate_of(f, "b"), 2);
    assert_int_equal(held->rate_limit_bytes, 1);
    overrides_release(f->o, held);
    assert_metric(f, "user=\"a\"", false); /* gone with its entry */
    assert_metric(f, "user=\"b\"", true);
    assert_metric(f, "tempo_runtime_config_last_reload_successful{config=\"overrides\"} 1", true);
    end(f);
}

static void a_broken_file_changes_nothing_and_is_told_once(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "overrides: {a: {ingestion: {rate_limit_bytes: many}}}\n",
        "overrides: [a]\n",
        "overrides:\n\t- x",
        "overrides: {a: {}, a: {}}\n",
        "overrides: {a: {ingestion: {rate_limit_bytes: '${'}}}\n",
        "overrides: {a: {ingestion: {rate_limit_bytes: 2}, ingestion_rate_limit_bytes: 3}}\n",
        "overrides: {a: {storage: {parquet_dedicated_columns: [{scope: span}]}}}\n",
        "overrides: {a: {storage: {parquet_dedicated_columns: [{name: a}, {name: b}, {name: c},\n"
        "  {name: d}, {name: e}, {name: f}, {name: g}, {name: h}, {name: i}, {name: j},\n"
        "  {name: k}]}}}\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct fixture *f = start("overrides: {a: {ingestion: {rate_limit_bytes: 1}}}\n");
        write_file(f, broken[i]);
        assert_int_equal(overrides_reload(f->o, &f->err), ERR_CORRUPT);
        assert_int_equal(overrides_reload(f->o, &f->err), ERR_CORRUPT);
        assert_non_null(strstr(f->err.msg, "faults"));
        assert_int_equal(rate_of(f, "a"), 1);
        assert_int_equal(logged(f, "level=error room=overrides msg=\"limits of tenants cannot"), 1);
        assert_metric(f, "tempo_runtime_config_last_reload_successful{config=\"overrides\"} 0",
                      true);
        write_file(f, "overrides: {a: {ingestion: {rate_limit_bytes: 3}}}\n");
        assert_int_equal(overrides_reload(f->o, NULL), 0);
        assert_int_equal(rate_of(f, "a"), 3);
        assert_metric(f, "tempo_runtime_config_last_reload_successful{config=\"overrides\"} 1",
                      true);
        end(f);
    }
}

static void a_file_that_has_gone_changes_nothing(void **state)
{
    (void)state;
    const char *text = "overrides: {a: {ingestion: {rate_limit_bytes: 1}}}\n";
    struct fixture *f = start(text);
    unlink(f->path);
    assert_int_equal(overrides_reload(f->o, NULL), ERR_NOTFOUND);
    assert_int_equal(overrides_reload(f->o, NULL), ERR_NOTFOUND);
    assert_int_equal(rate_of(f, "a"), 1);
    assert_int_equal(logged(f, "cannot be read"), 1);
    write_file(f, text);
    assert_int_equal(overrides_reload(f->o, NULL), 0);
    assert_int_equal(rate_of(f, "a"), 1);
    end(f);
}

static void unknown_names_are_told_and_the_rest_is_taken(void **state)
{
    (void)state;
    struct fixture *f =
        start("overrides: {a: {ingestion: {rate_limit_byte: 1, burst_size_bytes: 2}}}\n");
    assert_int_equal(limits_of(f, "a").burst_size_bytes, 2);
    assert_int_equal(rate_of(f, "a"), 30000000);
    assert_int_equal(logged(f, "did you mean \\\"rate_limit_bytes\\\"?"), 1);
    end(f);
}

static void a_broken_file_at_the_start_is_a_failure(void **state)
{
    (void)state;
    struct fixture *f = prepare("overrides: {a: 1}\n");
    const struct overrides_opts opts = opts_of(f);
    assert_int_equal(overrides_new(&opts, &f->o, &f->err), ERR_CORRUPT);
    f->o = NULL;
    unlink(f->path);
    assert_int_equal(overrides_new(&opts, &f->o, &f->err), ERR_NOTFOUND);
    f->o = NULL;
    end(f);
}

static void the_file_is_looked_at_each_period(void **state)
{
    (void)state;
    struct fixture *f = start("overrides: {a: {ingestion: {rate_limit_bytes: 1}}}\n");
    f->cfg.overrides.per_tenant_override_period_ns = 5 * (int64_t)NS_PER_MS;
    assert_int_equal(overrides_start(f->o, NULL), 0);
    write_file(f, "overrides: {a: {ingestion: {rate_limit_bytes: 2}}}\n");
    uint64_t until = clock_mono_ns(&clock_system) + 20 * NS_PER_S;
    while (rate_of(f, "a") != 2 && clock_mono_ns(&clock_system) < until)
        usleep(1000);
    assert_int_equal(rate_of(f, "a"), 2);
    end(f);
}

/* A reader sees the two limits of one file, never one of each. */
struct reader {
    struct overrides *o;
    atomic_bool stop;
    uint64_t mixed, seen;
};

static void *read_pairs(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load(&r->stop)) {
        const struct overrides_limits *l = overrides_acquire(r->o, SLICE("a"));
        r->mixed += l->rate_limit_bytes != l->burst_size_bytes;
        r->seen++;
        overrides_release(r->o, l);
    }
    return NULL;
}

static void readers_and_reloads_do_not_meet(void **state)
{
    (void)state;
    struct fixture *f =
        start("overrides: {a: {ingestion: {rate_limit_bytes: 1, burst_size_bytes: 1}}}\n");
    struct reader r = {.o = f->o};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, read_pairs, &r), 0);
    for (int i = 0; i < 200; i++) {
        char text[120];
        snprintf(text, sizeof text,
                 "overrides: {a: {ingestion: {rate_limit_bytes: %d, burst_size_bytes: %d}}}\n", i,
                 i);
        write_file(f, text);
        assert_int_equal(overrides_reload(f->o, NULL), 0);
    }
    atomic_store(&r.stop, true);
    pthread_join(t, NULL);
    assert_int_equal(r.mixed, 0);
    assert_true(r.seen > 0);
    end(f);
}

/* ---- pages ---- */

static char *page(struct buf *b)
{
    assert_int_equal(buf_u8(b, 0), 0);
    return (char *)b->ptr;
}

static void the_pages_say_what_holds_and_from_where(void **state)
{
    (void)state;
    struct fixture *f = start("overrides:\n"
                              "  '<a>&': {ingestion_rate_limit_bytes: 1}\n"
                              "  '*': {ingestion: {burst_size_bytes: 2}}\n");
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(overrides_write_list(f->o, false, &b), 0);
    assert_non_null(strstr(page(&b), "&lt;a&gt;&amp;</a></td><td>yes</td><td>no</td>"));
    buf_reset(&b);
    assert_int_equal(overrides_write_list(f->o, true, &b), 0);
    assert_non_null(strstr(page(&b), "{\"name\":\"*\",\"has_runtime_overrides\":true,"
                                     "\"has_user_configurable_overrides\":false}]}"));
    buf_reset(&b);
    assert_int_equal(overrides_write_tenant(f->o, SLICE("<a>&"), false, &b), 0);
    const char *text = page(&b);
    assert_null(strstr(text, "<a>"));
    assert_non_null(strstr(text, "rate_limit_bytes: 1 # tenant\n"));
    assert_non_null(strstr(text, "burst_size_bytes: 2 # &quot;*&quot;\n"));
    assert_non_null(strstr(text, "max_bytes_per_trace: 5000000 # defaults\n"));
    buf_reset(&b);
    assert_int_equal(overrides_write_tenant(f->o, SLICE("other"), true, &b), 0);
    assert_non_null(strstr(page(&b), ",\"using_default_or_wildcard_runtime_overrides\":true}\n"));
    buf_reset(&b);
    assert_int_equal(overrides_write_all(f->o, true, &b), 0);
    assert_string_equal(page(&b), "overrides:\n"
                                  "  \"\\u003ca\\u003e\\u0026\":\n"
                                  "    ingestion:\n"
                                  "        rate_limit_bytes: 1\n"
                                  "  \"*\":\n"
                                  "    ingestion:\n"
                                  "        burst_size_bytes: 2\n"
                                  "user_configurable_overrides: {}\n");
    buf_reset(&b);
    assert_int_equal(overrides_write_all(f->o, false, &b), 0);
    assert_non_null(
        strstr(page(&b), "defaults:\n  ingestion:\n      rate_limit_bytes: 30000000\n"));
    buf_clear(&b);
    end(f);
}

static void many_tenants_are_read(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8 << 20);
    assert_int_equal(buf_str(&b, "overrides:\n"), 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_printf(&b,
                                    "  tenant-%d:\n    ingestion:\n      rate_limit_bytes: %d\n"
                                    "      burst_size_bytes: 1\n    compaction:\n"
                                    "      block_retention: 30d\n",
                                    i, i),
                         0);
    assert_int_equal(buf_u8(&b, 0), 0);
    struct fixture *f = start((char *)b.ptr);
    for (int i = 0; i < 10000; i += 77) {
        char name[32];
        snprintf(name, sizeof name, "tenant-%d", i);
        assert_int_equal(rate_of(f, name), i);
    }
    buf_clear(&b);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_everybody_has_the_defaults),
        cmocka_unit_test(each_field_is_the_tenants_or_the_wildcards_or_the_default),
        cmocka_unit_test(flat_names_mean_the_same),
        cmocka_unit_test(columns_of_nobodys_own_are_the_stores),
        cmocka_unit_test(variables_are_expanded),
        cmocka_unit_test(a_changed_file_is_taken_and_what_is_held_stays),
        cmocka_unit_test(a_broken_file_changes_nothing_and_is_told_once),
        cmocka_unit_test(a_file_that_has_gone_changes_nothing),
        cmocka_unit_test(unknown_names_are_told_and_the_rest_is_taken),
        cmocka_unit_test(a_broken_file_at_the_start_is_a_failure),
        cmocka_unit_test(the_file_is_looked_at_each_period),
        cmocka_unit_test(readers_and_reloads_do_not_meet),
        cmocka_unit_test(the_pages_say_what_holds_and_from_where),
        cmocka_unit_test(many_tenants_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
