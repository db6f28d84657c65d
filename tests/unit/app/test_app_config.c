/* The configuration of the programs: defaults, files of Tempo's kind and what is said about them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/app_config.h"

struct loaded {
    struct app_config cfg;
    struct config *c;
    struct err err;
    int rc;
};

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "BUCKET") == 0 ? "prod" : NULL;
}

/* Loads with up to three arguments. */
static struct loaded *load(const char *a, const char *b, const char *c)
{
    struct loaded *l = calloc(1, sizeof *l);
    assert_non_null(l);
    char args[4][300];
    const char *in[] = {"rubato", a, b, c};
    char *argv[5] = {NULL};
    int argc = 0;
    for (size_t i = 0; i < 4; i++) {
        if (!in[i])
            continue;
        snprintf(args[argc], sizeof args[argc], "%s", in[i]);
        argv[argc] = args[argc];
        argc++;
    }
    l->rc = app_config_load(argc, argv, environment, NULL, &l->cfg, &l->c, &l->err);
    return l;
}

static struct loaded *load_file(const char *name)
{
    char flag[200];
    snprintf(flag, sizeof flag, "-config.file=tests/data/config/%s", name);
    return load(flag, "-config.expand-env", NULL);
}

static void done(struct loaded *l)
{
    config_free(l->c);
    free(l);
}

static void assert_slice(struct slice s, const char *want)
{
    assert_non_null(s.ptr);
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.ptr, want, s.len);
}

static void no_arguments_serve_all_on_loopback_from_a_directory(void **state)
{
    (void)state;
    struct loaded *l = load(NULL, NULL, NULL);
    assert_int_equal(l->rc, 0);
    assert_int_equal(config_note_count(l->c), 0);
    const struct app_config *cfg = &l->cfg;
    assert_int_equal(cfg->roles, APP_INGEST | APP_FRONTEND | APP_WORKER | APP_COMPACTOR);
    assert_slice(cfg->storage.trace.backend, "local");
    assert_slice(cfg->storage.trace.local.path, "./rubato-data");
    assert_slice(cfg->server.http_listen_address, "localhost");
    assert_int_equal(cfg->server.http_listen_port, 3200);
    assert_true(cfg->distributor.otlp.grpc.present && cfg->distributor.otlp.http.present);
    assert_slice(cfg->distributor.otlp.grpc.endpoint, "localhost:4317");
    assert_slice(cfg->distributor.otlp.http.endpoint, "localhost:4318");
    assert_true(cfg->distributor.otlp.grpc.message_bytes_max == 4 << 20);
    assert_true(cfg->distributor.otlp.http.message_bytes_max == 20 << 20);
    assert_true(cfg->distributor.max_attribute_bytes == 2048);
    assert_true(cfg->distributor.retry_after_on_resource_exhausted_ns == INT64_C(5000000000));
    assert_false(cfg->multitenancy_enabled);
    assert_true(cfg->ingest.flush_window_ns == 250000000);
    assert_true(cfg->ingest.flush_bytes == 8 << 20);
    assert_true(cfg->ingest.max_buffered_bytes == 64 << 20);
    assert_true(cfg->ingest.put_timeout_ns == INT64_C(8000000000));
    assert_true(cfg->block_builder.window_ns == INT64_C(30000000000));
    assert_true(cfg->block_builder.max_bytes == 24 << 20);
    assert_true(cfg->overrides.defaults.rate_limit_bytes == 30000000);
    assert_true(cfg->overrides.defaults.burst_size_bytes == 30000000);
    assert_true(cfg->overrides.defaults.max_bytes_per_trace == 5000000);
    assert_int_equal(cfg->query_frontend.search.default_result_limit, 20);
    assert_int_equal(cfg->query_frontend.search.max_result_limit, 262144);
    assert_int_equal(cfg->query_frontend.search.max_spans_per_span_set, 100);
    assert_int_equal(cfg->query_frontend.search.default_spans_per_span_set, 3);
    assert_true(cfg->query_frontend.search.max_duration_ns == INT64_C(604800000000000));
    assert_true(cfg->query_frontend.max_query_expression_size_bytes == 131072);
    assert_true(cfg->storage.trace.block.bloom_filter_false_positive == 0.01);
    assert_true(cfg->storage.trace.block.bloom_filter_shard_size_bytes == 102400);
    assert_true(cfg->storage.trace.block.parquet_row_group_size_bytes == 100000000);
    done(l);
}

static void flags_alone_keep_loopback_and_win(void **state)
{
    (void)state;
    struct loaded *l = load("-server.http-listen-port=80", "-storage.trace.local.path=/x",
                            "-multitenancy.enabled");
    assert_int_equal(l->rc, 0);
    assert_int_equal(l->cfg.server.http_listen_port, 80);
    assert_slice(l->cfg.server.http_listen_address, "localhost");
    assert_slice(l->cfg.storage.trace.local.path, "/x");
    assert_true(l->cfg.multitenancy_enabled);
    done(l);
    l = load("-server.http-listen-address=0.0.0.0", NULL, NULL);
    assert_slice(l->cfg.server.http_listen_address, "0.0.0.0");
    done(l);
    l = load("-config.file=tests/data/config/minimal-local.yaml", "-server.http-listen-port", "81");
    assert_int_equal(l->rc, 0);
    assert_int_equal(l->cfg.server.http_listen_port, 81);
    done(l);
}

static void a_file_opens_the_api_to_all_interfaces_and_names_its_receivers(void **state)
{
    (void)state;
    struct loaded *l = load_file("minimal-local.yaml");
    assert_int_equal(l->rc, 0);
    assert_int_equal(l->cfg.server.http_listen_address.len, 0);
    assert_true(l->cfg.distributor.otlp.grpc.present && l->cfg.distributor.otlp.http.present);
    assert_slice(l->cfg.distributor.otlp.grpc.endpoint, "0.0.0.0:4317");
    assert_slice(l->cfg.distributor.otlp.http.endpoint, "localhost:4318");
    assert_slice(l->cfg.storage.trace.local.path, "/var/tempo/blocks");
    done(l);
}

static void values_of_a_monolithic_file_arrive(void **state)
{
    (void)state;
    struct loaded *l = load_file("monolithic-2.7.yaml");
    const struct app_config *cfg = &l->cfg;
    assert_int_equal(l->rc, 0);
    assert_true(cfg->distributor.otlp.grpc.message_bytes_max == 16 << 20);
    assert_true(cfg->distributor.otlp.http.message_bytes_max == 8 << 20);
    assert_true(cfg->distributor.max_attribute_bytes == 4096);
    assert_int_equal(cfg->query_frontend.search.default_result_limit, 50);
    assert_int_equal(cfg->query_frontend.search.max_result_limit, 0);
    assert_int_equal(cfg->query_frontend.search.max_duration_ns, 0);
    assert_true(cfg->query_frontend.api_timeout_ns == INT64_C(90000000000));
    assert_slice(cfg->storage.trace.backend, "s3");
    assert_slice(cfg->storage.trace.s3.bucket, "tempo");
    assert_slice(cfg->storage.trace.s3.prefix, "traces/prod");
    assert_slice(cfg->storage.trace.s3.secret_key, "supersecret");
    assert_true(cfg->storage.trace.s3.insecure && cfg->storage.trace.s3.forcepathstyle);
    assert_true(cfg->storage.trace.block.bloom_filter_false_positive == 0.05);
    assert_true(cfg->storage.trace.blocklist_poll_ns == INT64_C(60000000000));
    assert_int_equal(cfg->storage.trace.block.parquet_dedicated_columns.count, 2);
    const struct app_dedicated_column *columns =
        cfg->storage.trace.block.parquet_dedicated_columns.at;
    assert_slice(columns[0].scope, "span");
    assert_slice(columns[0].name, "http.target");
    assert_slice(columns[1].scope, "resource");
    assert_slice(columns[1].type, "string");
    assert_true(cfg->overrides.defaults.rate_limit_bytes == 15000000);
    assert_true(cfg->overrides.defaults.max_bytes_per_trace == 50000000);
    done(l);
}

static void values_of_a_distributed_file_arrive(void **state)
{
    (void)state;
    struct loaded *l = load_file("distributed-3.0.yaml");
    const struct app_config *cfg = &l->cfg;
    assert_int_equal(l->rc, 0);
    assert_int_equal(cfg->roles, APP_WORKER);
    assert_true(cfg->multitenancy_enabled);
    assert_slice(cfg->http_api_prefix, "/tempo");
    assert_true(cfg->shutdown_delay_ns == INT64_C(5000000000));
    assert_slice(cfg->server.http_listen_address, "::");
    assert_slice(cfg->storage.trace.s3.bucket, "prod");
    assert_slice(cfg->storage.trace.s3.endpoint, "s3.eu-central-1.amazonaws.com");
    assert_slice(cfg->storage.trace.s3.secret_key, "${not expanded}");
    assert_true(cfg->ingest.flush_window_ns == 100000000);
    assert_true(cfg->block_builder.max_bytes == 64 << 20);
    assert_true(cfg->overrides.defaults.max_search_duration_ns == INT64_C(86400000000000));
    assert_int_equal(cfg->overrides.defaults.max_bytes_per_tag_values_query, 5000);
    assert_int_equal(cfg->overrides.defaults.max_blocks_per_tag_values_query, 3);
    assert_true(cfg->distributor.otlp.grpc.present && cfg->distributor.otlp.http.present);
    done(l);
}

static void legacy_overrides_are_honoured(void **state)
{
    (void)state;
    struct loaded *l = load_file("legacy-overrides.yaml");
    assert_int_equal(l->rc, 0);
    assert_true(l->cfg.multitenancy_enabled);
    assert_true(l->cfg.overrides.defaults.rate_limit_bytes == 1000000);
    assert_true(l->cfg.overrides.defaults.burst_size_bytes == 2000000);
    assert_true(l->cfg.overrides.defaults.max_bytes_per_trace == 3000000);
    done(l);
}

/* All notes of a file, against <name>.notes beside it. */
static void assert_notes(const char *name, int rc)
{
    char file[100], path[200];
    snprintf(file, sizeof file, "%s.yaml", name);
    snprintf(path, sizeof path, "tests/data/config/%s.notes", name);
    struct loaded *l = load_file(file);
    struct buf got, want;
    buf_init(&got, 1 << 20);
    buf_init(&want, 1 << 20);
    for (size_t i = 0; i < config_note_count(l->c); i++) {
        struct config_note n = config_note_at(l->c, i);
        assert_int_equal(buf_printf(&got, "%s: %s\n", n.fault ? "error" : "warning", n.text), 0);
    }
    assert_int_equal(buf_u8(&got, 0), 0);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int ch; (ch = fgetc(f)) != EOF;)
        assert_int_equal(buf_u8(&want, (uint8_t)ch), 0);
    assert_int_equal(buf_u8(&want, 0), 0);
    fclose(f);
    assert_string_equal((const char *)got.ptr, (const char *)want.ptr);
    assert_int_equal(l->rc, rc);
    buf_clear(&got);
    buf_clear(&want);
    done(l);
}

static void files_that_start_say_what_they_should(void **state)
{
    (void)state;
    assert_notes("minimal-local", 0);
    assert_notes("monolithic-2.7", 0);
    assert_notes("distributed-3.0", 0);
    assert_notes("legacy-overrides", 0);
}

static void files_that_cannot_start_tell_all_faults(void **state)
{
    (void)state;
    assert_notes("faults", ERR_CORRUPT);
    assert_notes("gcs", ERR_CORRUPT);
}

static void a_missing_file_and_a_bad_flag_are_different_failures(void **state)
{
    (void)state;
    struct loaded *l = load("-config.file=/nowhere/tempo.yaml", NULL, NULL);
    assert_int_equal(l->rc, ERR_NOTFOUND);
    assert_non_null(strstr(l->err.msg, "/nowhere/tempo.yaml"));
    done(l);
    l = load("-config.fiel=x", NULL, NULL);
    assert_int_equal(l->rc, ERR_INVALID);
    assert_string_equal(l->err.msg, "flag provided but not defined: -config.fiel");
    done(l);
}

static void targets_map_to_roles(void **state)
{
    (void)state;
    const struct {
        const char *target;
        unsigned roles;
    } good[] = {{"all", 15},
                {"scalable-single-binary", 15},
                {"ingest", APP_INGEST},
                {"distributor,ingester", APP_INGEST},
                {"query-frontend", APP_FRONTEND},
                {"frontend,worker", APP_FRONTEND | APP_WORKER},
                {"compactor", APP_COMPACTOR}};
    struct slice bad = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(app_config_roles(slice_cstr(good[i].target), &bad), good[i].roles);
    const char *wrong[] = {"", "cook", "ingest,", ",ingest", "ingest,cook", "All"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(app_config_roles(slice_cstr(wrong[i]), &bad), 0);
    assert_int_equal(app_config_roles(SLICE("ingest,cook"), &bad), 0);
    assert_true(slice_eq(bad, SLICE("cook")));
}

static void the_shown_configuration_hides_secrets_and_reads_back(void **state)
{
    (void)state;
    struct loaded *l = load_file("monolithic-2.7.yaml");
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(config_write(l->c, CONFIG_WRITE_ALL, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    assert_null(strstr((char *)b.ptr, "supersecret"));
    assert_non_null(strstr((char *)b.ptr, "            secret_key: <secret>\n"));
    struct app_config again;
    struct config *c;
    assert_int_equal(config_new(&app_config_table, &again, &c, NULL), 0);
    struct err err;
    int rc = config_read_yaml(c, "again", slice_of(b.ptr, b.len - 1), NULL, NULL, &err);
    if (rc != 0 || config_note_count(c) != 0)
        fail_msg("%s", config_note_at(c, 0).text);
    assert_true(again.distributor.receivers_present && again.distributor.otlp.grpc.present);
    assert_true(again.storage.trace.block.bloom_filter_false_positive == 0.05);
    config_free(c);
    buf_clear(&b);
    done(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_arguments_serve_all_on_loopback_from_a_directory),
        cmocka_unit_test(flags_alone_keep_loopback_and_win),
        cmocka_unit_test(a_file_opens_the_api_to_all_interfaces_and_names_its_receivers),
        cmocka_unit_test(values_of_a_monolithic_file_arrive),
        cmocka_unit_test(values_of_a_distributed_file_arrive),
        cmocka_unit_test(legacy_overrides_are_honoured),
        cmocka_unit_test(files_that_start_say_what_they_should),
        cmocka_unit_test(files_that_cannot_start_tell_all_faults),
        cmocka_unit_test(a_missing_file_and_a_bad_flag_are_different_failures),
        cmocka_unit_test(targets_map_to_roles),
        cmocka_unit_test(the_shown_configuration_hides_secrets_and_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
