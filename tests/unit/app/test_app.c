/* A program from start to end: the process's own endpoints over real connections, readiness, and
 * the orderly stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/app.h"
#include "app/overrides.h"
#include "tests/support/h2_client.h"
#include "tests/support/net_fixture.h"

static char dir[] = "/tmp/rubato-test-app-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What goes to a descriptor while it is captured. */
struct capture {
    int fd, saved;
    FILE *file;
    char text[20000];
};

static void capture_start(struct capture *c, int fd)
{
    fflush(stdout);
    c->fd = fd;
    c->saved = dup(fd);
    c->file = tmpfile();
    assert_non_null(c->file);
    dup2(fileno(c->file), fd);
}

static void capture_end(struct capture *c)
{
    fflush(stdout);
    dup2(c->saved, c->fd);
    close(c->saved);
    rewind(c->file);
    size_t n = fread(c->text, 1, sizeof c->text - 1, c->file);
    c->text[n] = 0;
    fclose(c->file);
}

/* Starts with a free port, in the test's directory, and with up to two more flags. */
static struct app *start_with(const char *a, const char *b)
{
    char path[100], first[200], second[200], name[] = "rubato",
                                             port[] = "-server.http-listen-port=0",
                                             grpc[] = "-server.grpc-listen-port=0";
    char level[] = "-log.level=error";
    snprintf(path, sizeof path, "-storage.trace.local.path=%s/data", dir);
    char *argv[8] = {name, port, grpc, path, level};
    int argc = 5;
    if (a) {
        snprintf(first, sizeof first, "%s", a);
        argv[argc++] = first;
    }
    if (b) {
        snprintf(second, sizeof second, "%s", b);
        argv[argc++] = second;
    }
    struct app *app;
    int status = app_start(argc, argv, &(struct app_opts){.program = "rubato"}, &app);
    assert_int_equal(status, 0);
    assert_non_null(app);
    return app;
}

static void serve(struct app *app)
{
    struct err err = {0};
    app_add_service(app, "query-frontend");
    if (app_http(app, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(app->http_port > 0);
}

/* One request on a connection of its own; the answer is cleared by the caller. */
static struct http_answer ask(struct app *app, const char *method, const char *target)
{
    char text[500];
    struct http_answer a;
    http_answer_init(&a);
    int fd = tcp_connect(app->http_port);
    assert_true(fd >= 0);
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method,
             target);
    assert_true(tcp_puts(fd, text));
    assert_true(http_read(fd, &a));
    close(fd);
    assert_int_equal(buf_u8(&a.body, 0), 0);
    return a;
}

static void assert_answer(struct app *app, const char *method, const char *target, int status,
                          const char *body)
{
    struct http_answer a = ask(app, method, target);
    if (a.status != status || strcmp((char *)a.body.ptr, body) != 0)
        fail_msg("%s %s: %d %s", method, target, a.status, (char *)a.body.ptr);
    http_answer_clear(&a);
}

static void assert_contains(struct app *app, const char *target, const char *part)
{
    struct http_answer a = ask(app, "GET", target);
    assert_int_equal(a.status, 200);
    if (!strstr((char *)a.body.ptr, part))
        fail_msg("%s: no \"%s\" in:\n%s", target, part, (char *)a.body.ptr);
    http_answer_clear(&a);
}

static void own_endpoints_answer_as_tempo_does(void **state)
{
    (void)state;
    struct app *app = start_with(NULL, NULL);
    serve(app);
    assert_answer(app, "GET", "/ready", 503,
                  "Some services are not Running:\nStarting: 1\nRunning: 1\n\n");
    app_set_ready(app);
    assert_answer(app, "GET", "/ready", 200, "ready\n");
    assert_answer(app, "POST", "/ready", 200, "ready\n");
    assert_answer(app, "GET", "/api/echo", 200, "echo\n");
    assert_answer(app, "GET", "/nope", 404, "404 page not found\n");
    assert_answer(app, "GET", "/api/echo/", 404, "404 page not found\n");
    assert_answer(app, "GET", "/api/unknown", 404, "404 page not found\n");
    assert_answer(app, "GET", "/", 404, "404 page not found\n");
    assert_answer(app, "GET", "/status/nope", 404, "404 page not found\n");
    assert_answer(app, "GET", "/statusx", 404, "404 page not found\n");
    assert_answer(app, "POST", "/metrics", 405, "");
    assert_answer(app, "POST", "/status", 405, "");
    assert_answer(app, "DELETE", "/api/status/buildinfo", 405, "");
    assert_answer(app, "GET", "/status/usage-stats", 200, "usage-stats is not enabled\n");
    assert_contains(app, "/api/status/buildinfo", "\"buildDate\":\"\",\"goVersion\":\"\"}\n");
    assert_contains(app, "/status/version", "GET /status/version\ntempo, version ");
    assert_contains(app, "/status/services",
                    "GET /status/services\n"
                    "+----------------+----------+--------------+\n"
                    "| SERVICE NAME   |   STATUS | FAILURE CASE |\n"
                    "+----------------+----------+--------------+\n"
                    "| query-frontend |  Running |              |\n"
                    "+----------------+----------+--------------+\n");
    assert_contains(app, "/status/endpoints", "/api/v2/traces/{traceID}");
    assert_contains(app, "/status", "GET /status/version\n");
    assert_contains(app, "/status", "GET /status/config\n---\ntarget: all\n");
    struct http_answer a = ask(app, "GET", "/metrics");
    assert_true(http_has(&a, "Content-Type: text/plain; version=0.0.4; charset=utf-8; "
                             "escaping=underscores"));
    http_answer_clear(&a);
    a = ask(app, "GET", "/nope");
    assert_true(http_has(&a, "Content-Type: text/plain; charset=utf-8"));
    http_answer_clear(&a);
    app_drain(app);
    app_free(app);
}

static void metrics_tell_of_the_process_and_of_requests(void **state)
{
    (void)state;
    struct app *app = start_with(NULL, NULL);
    serve(app);
    assert_answer(app, "GET", "/api/echo", 200, "echo\n");
    assert_answer(app, "PROPFIND", "/nope", 404, "404 page not found\n");
    const char *parts[] = {
        "tempo_build_info{version=\"",
        "\nprocess_resident_memory_bytes ",
        "\nprocess_cpu_seconds_total ",
        "\nprocess_start_time_seconds 1",
        "\nprocess_open_fds ",
        "\nprocess_threads ",
        "tempo_request_duration_seconds_count{method=\"GET\",route=\"api_echo\",status_code="
        "\"200\",ws=\"false\"} 1\n",
        "tempo_request_duration_seconds_bucket{method=\"other\",route=\"other\",status_code="
        "\"404\",ws=\"false\",le=\"+Inf\"} 1\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_contains(app, "/metrics", parts[i]);
    app_drain(app);
    app_free(app);
}

static void the_prefix_stands_before_the_api_alone(void **state)
{
    (void)state;
    struct app *app = start_with("-http-api-prefix=/tempo/", NULL);
    serve(app);
    app_set_ready(app);
    assert_answer(app, "GET", "/tempo/api/echo", 200, "echo\n");
    assert_answer(app, "GET", "/api/echo", 404, "404 page not found\n");
    assert_answer(app, "GET", "/ready", 200, "ready\n");
    assert_answer(app, "GET", "/tempo/ready", 404, "404 page not found\n");
    assert_contains(app, "/metrics", "route=\"tempo_api_echo\"");
    app_drain(app);
    app_free(app);
}

static void the_configuration_page_knows_its_modes_and_no_secret(void **state)
{
    (void)state;
    struct app *app = start_with("-storage.trace.s3.secret_key=hush-hush", "-multitenancy.enabled");
    serve(app);
    assert_contains(app, "/status/config", "secret_key: <secret>\n");
    assert_contains(app, "/status/config?mode=diff", "multitenancy_enabled: true\n");
    assert_contains(app, "/status/config?mode=defaults", "multitenancy_enabled: false\n");
    struct http_answer a = ask(app, "GET", "/status/config");
    assert_null(strstr((char *)a.body.ptr, "hush"));
    http_answer_clear(&a);
    a = ask(app, "GET", "/status/config?mode=diff");
    assert_null(strstr((char *)a.body.ptr, "graceful_shutdown_timeout"));
    http_answer_clear(&a);
    assert_answer(app, "GET", "/status/config?mode=bogus", 500,
                  "unknown value for mode query parameter: bogus\n");
    assert_answer(app, "GET", "/status/config?mode=%00%0a%22", 500,
                  "unknown value for mode query parameter: \\x00\\n\\\"\n");
    app_drain(app);
    app_free(app);
}

static void answer_search(void *ctx, struct net_request *req)
{
    struct app *app = ctx;
    struct slice path = app_api_path(app, req);
    struct net_reply r = {.status = 200, .content_type = "text/plain"};
    buf_init(&r.body, 1000);
    assert_int_equal(buf_slice(&r.body, path), 0);
    app_reply(app, req, &r, true);
}

static void other_paths_of_the_api_go_to_the_role(void **state)
{
    (void)state;
    struct app *app = start_with(NULL, NULL);
    app_set_api(app, answer_search, app);
    serve(app);
    assert_answer(app, "GET", "/api/search?q={}", 200, "/api/search");
    assert_answer(app, "GET", "/api/v2/traces/0a0B", 200, "/api/v2/traces/0a0B");
    assert_answer(app, "GET", "/api/echo", 200, "echo\n");
    assert_answer(app, "GET", "/apix", 404, "404 page not found\n");
    assert_contains(app, "/metrics", "route=\"api_search\",status_code=\"200\"");
    assert_contains(app, "/metrics", "route=\"api_v2_traces_traceid\",status_code=\"200\"");
    app_drain(app);
    app_free(app);
}

static void call(uint16_t port, const char *path, const struct h2_header *extra, int status,
                 const char *text, struct slice message)
{
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, port, false);
    assert_true(h2_unary(&c, &call, path, extra, SLICE("")));
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.grpc_status, status);
    assert_string_equal(call.message, text);
    assert_true(slice_eq(slice_from(buf_view(&call.body), 5), message));
    h2_call_clear(&call);
    h2_shut(&c);
}

static void answer_call(void *ctx, struct net_request *req)
{
    struct buf message;
    buf_init(&message, 8);
    assert_int_equal(buf_str(&message, "called"), 0);
    app_reply_grpc(ctx, req, 0, SLICE(""), &message);
}

static void grpc_calls_go_to_the_role_or_are_unknown(void **state)
{
    (void)state;
    struct app *app = start_with(NULL, NULL);
    app_set_api(app, answer_call, app);
    serve(app);
    assert_true(app->grpc_port > 0);
    struct slice none = SLICE("");
    call(app->grpc_port, "/grpc.health.v1.Health/Check", NULL, 0, "", SLICE("\x08\x02"));
    app_set_ready(app);
    call(app->grpc_port, "/grpc.health.v1.Health/Check", NULL, 0, "", SLICE("\x08\x01"));
    call(app->grpc_port, "/tempopb.StreamingQuerier/Search", NULL, 0, "", SLICE("called"));
    call(app->grpc_port, "/tempopb.StreamingQuerier/Nope", NULL, 12,
         "unknown method Nope for service tempopb.StreamingQuerier", none);
    call(app->grpc_port, "/grpc.health.v1.Health/Watch", NULL, 12,
         "unknown method Watch for service grpc.health.v1.Health", none);
    call(app->grpc_port, "/tempopb.Querier/Search", NULL, 12, "unknown service tempopb.Querier",
         none);
    call(app->grpc_port, "/nope", NULL, 12, "malformed method name: \"nope\"", none);
    assert_contains(app, "/metrics",
                    "tempo_request_duration_seconds_count{method=\"gRPC\",route=\"/tempopb."
                    "StreamingQuerier/Search\",status_code=\"success\",ws=\"false\"} 1\n");
    assert_contains(
        app, "/metrics",
        "tempo_request_duration_seconds_count{method=\"gRPC\",route=\"other\",status_code="
        "\"error\",ws=\"false\"} 4\n");
    /* The API's own port speaks HTTP/1.1 alone. */
    int fd = tcp_connect(app->http_port);
    assert_true(tcp_puts(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    app_drain(app);
    app_free(app);
}

static void health_wants_a_tenant_where_there_are_many(void **state)
{
    (void)state;
    const struct h2_header tenant[] = {{"x-scope-orgid", "t1"}, {NULL, NULL}};
    struct app *app = start_with("-multitenancy.enabled", NULL);
    app_set_api(app, answer_call, app);
    serve(app);
    call(app->grpc_port, "/grpc.health.v1.Health/Check", NULL, 2, "no org id", SLICE(""));
    call(app->grpc_port, "/grpc.health.v1.Health/Check", tenant, 0, "", SLICE("\x08\x02"));
    app_drain(app);
    app_free(app);
}

static void streams_come_over_the_http_port_when_it_is_asked_for(void **state)
{
    (void)state;
    char path[100];
    snprintf(path, sizeof path, "%s/stream.yaml", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("stream_over_http_enabled: true\nserver:\n  grpc_listen_address: 127.0.0.1\n", f);
    fclose(f);
    char flag[120];
    snprintf(flag, sizeof flag, "-config.file=%s", path);
    struct app *app = start_with(flag, "-storage.trace.backend=local");
    app_set_api(app, answer_call, app);
    serve(app);
    call(app->http_port, "/tempopb.StreamingQuerier/Search", NULL, 0, "", SLICE("called"));
    assert_answer(app, "GET", "/api/echo", 200, "echo\n");
    struct h2_client c;
    struct h2_call get;
    const struct h2_header plain[] = {
        {":method", "GET"}, {"content-type", NULL}, {"te", NULL}, {NULL, NULL}};
    h2_open(&c, app->http_port, false);
    h2_call_start(&c, &get, "/api/echo", plain, SLICE(""), false);
    assert_true(h2_wait(&c, &get, 5000));
    assert_int_equal(get.http_status, 200);
    assert_true(slice_eq(buf_view(&get.body), SLICE("echo\n")));
    h2_call_clear(&get);
    h2_shut(&c);
    app_drain(app);
    app_free(app);
}

static void a_grpc_port_in_use_is_told_by_its_key(void **state)
{
    (void)state;
    struct app *first = start_with(NULL, NULL);
    app_set_api(first, answer_call, first);
    serve(first);
    char port[60];
    snprintf(port, sizeof port, "-server.grpc-listen-port=%u", first->grpc_port);
    struct app *second = start_with(port, NULL);
    app_set_api(second, answer_call, second);
    struct err err = {0};
    assert_int_equal(app_http(second, &err), ERR_EXISTS);
    if (!strstr(err.msg, "server.grpc_listen_port: listen on localhost:") ||
        !strstr(err.msg, "in use"))
        fail_msg("%s", err.msg);
    app_drain(second);
    app_free(second);
    app_drain(first);
    app_free(first);
}

struct stops {
    int order[3], count;
};

struct stop {
    struct stops *all;
    int id;
};

static void note_stop(void *ctx)
{
    struct stop *s = ctx;
    s->all->order[s->all->count++] = s->id;
}

static void a_signal_ends_the_run_and_roles_stop_last_first(void **state)
{
    (void)state;
    struct stops stops = {0};
    struct stop one = {&stops, 1}, two = {&stops, 2}, three = {&stops, 3};
    struct app *app = start_with(NULL, NULL);
    serve(app);
    app_on_stop(app, note_stop, &one);
    app_on_stop(app, note_stop, &two);
    app_on_stop(app, note_stop, &three);
    app_set_ready(app);
    kill(getpid(), SIGTERM);
    app_run(app);
    app_drain(app);
    const int want[] = {3, 2, 1};
    assert_memory_equal(stops.order, want, sizeof want);
    assert_true(tcp_connect(app->http_port) < 0);
    app_free(app);
}

static void app_stop_ends_the_run_too(void **state)
{
    (void)state;
    struct app *app = start_with(NULL, NULL);
    serve(app);
    app_stop(app);
    app_run(app);
    app_drain(app);
    app_free(app);
}

static void *drain(void *app)
{
    app_drain(app);
    return NULL;
}

static void during_the_delay_ready_says_so_and_a_second_signal_cuts_it_short(void **state)
{
    (void)state;
    struct app *app = start_with("-shutdown-delay=1h", NULL);
    serve(app);
    app_set_ready(app);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drain, app), 0);
    int status = 200;
    for (uint64_t until = now_ms() + 5000; status == 200 && now_ms() < until;) {
        struct http_answer a = ask(app, "GET", "/ready");
        status = a.status;
        if (status == 503)
            assert_string_equal((char *)a.body.ptr, "Application is stopping\n");
        http_answer_clear(&a);
    }
    assert_int_equal(status, 503);
    assert_answer(app, "GET", "/api/echo", 200, "echo\n"); /* requests are still served */
    kill(getpid(), SIGINT);
    pthread_join(thread, NULL);
    app_free(app);
}

/* app_start that gives no app: its exit status, and what it said. */
static int refused(const char *a, const char *b, struct capture *out)
{
    char name[] = "rubato", first[200], second[200];
    snprintf(first, sizeof first, "%s", a);
    snprintf(second, sizeof second, "%s", b ? b : "");
    char *argv[] = {name, first, b ? second : NULL, NULL};
    struct capture both[2];
    struct app *app = (struct app *)&both;
    capture_start(&both[0], 1);
    capture_start(&both[1], 2);
    int status = app_start(b ? 3 : 2, argv, &(struct app_opts){.program = "rubato"}, &app);
    capture_end(&both[1]);
    capture_end(&both[0]);
    assert_null(app);
    *out = both[both[0].text[0] == 0];
    return status;
}

static void a_start_that_is_no_start_says_why(void **state)
{
    (void)state;
    struct capture c;
    assert_int_equal(refused("-nope", NULL, &c), 2);
    assert_memory_equal(c.text, "rubato: flag provided but not defined: -nope\nUsage: rubato", 58);
    assert_int_equal(refused("-help", NULL, &c), 0);
    assert_memory_equal(c.text, "Usage: rubato [flags]\n", 22);
    assert_non_null(strstr(c.text, "-config.file"));
    assert_int_equal(refused("--version", NULL, &c), 0);
    assert_memory_equal(c.text, "rubato, version ", 16);
    assert_int_equal(refused("-config.file=tests/data/config/faults.yaml", NULL, &c), 1);
    assert_non_null(strstr(c.text, "rubato: error: faults.yaml:7: server.grpc_listen_port: "));
    assert_non_null(strstr(c.text, "rubato: error: faults.yaml:8: server.log_level: "));
    assert_int_equal(refused("-config.file=/nowhere.yaml", NULL, &c), 1);
    assert_non_null(strstr(c.text, "/nowhere.yaml"));
    assert_int_equal(refused("-config.verify", "-config.file=tests/data/config/gcs.yaml", &c), 1);
    assert_int_equal(
        refused("-config.verify", "-config.file=tests/data/config/minimal-local.yaml", &c), 1);
    assert_non_null(strstr(c.text, "rubato: warning: minimal-local.yaml:16: "));
    assert_int_equal(refused("-config.verify", NULL, &c), 0);
    assert_int_equal(refused("-storage.trace.local.path=/proc/nope", NULL, &c), 1);
    assert_non_null(strstr(c.text, "msg=\"cannot start\""));
}

static void the_ways_in_are_told_in_three_lines(void **state)
{
    (void)state;
    struct app *app = start_with("-http-api-prefix=/t", NULL);
    serve(app);
    struct capture c;
    char want[300];
    capture_start(&c, 1);
    app_print_ways(app, SLICE("0.0.0.0:4317"), SLICE("localhost:4318"));
    capture_end(&c);
    snprintf(want, sizeof want,
             "send  OTLP/gRPC localhost:4317, OTLP/HTTP http://localhost:4318/v1/traces\n"
             "ask   http://localhost:%u/t/api/search?q={}\n"
             "data  %s/data (local)\n",
             app->http_port, dir);
    assert_string_equal(c.text, want);
    capture_start(&c, 1);
    app_print_ways(app, SLICE(""), SLICE("[::]:4318"));
    capture_end(&c);
    assert_memory_equal(c.text, "send  OTLP/HTTP http://localhost:4318/v1/traces\n", 48);
    app_drain(app);
    app_free(app);
}

static void a_taken_port_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct app *one = start_with(NULL, NULL);
    serve(one);
    char flag[60];
    snprintf(flag, sizeof flag, "-server.http-listen-port=%u", one->http_port);
    struct app *two = start_with(flag, NULL);
    struct err err = {0};
    assert_true(app_http(two, &err) < 0);
    assert_non_null(strstr(err.msg, flag + strlen("-server.http-listen-port=")));
    app_free(two);
    app_drain(one);
    app_free(one);
}

/* What a tool has that asks in its own process. */
static void an_app_without_a_server_has_defaults_and_limits(void **state)
{
    (void)state;
    struct app *app = NULL;
    struct err err = {0};
    assert_int_equal(app_offline("rubato query", &app, &err), 0);
    assert_non_null(app->metrics);
    assert_null(app->store);
    assert_null(app->server);
    assert_int_equal(app->cfg.query_frontend.search.default_result_limit, 20);
    const struct overrides_limits *limits = overrides_acquire(app->overrides, SLICE("anyone"));
    assert_true(limits->max_bytes_per_tag_values_query > 0);
    overrides_release(app->overrides, limits);
    app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_app_without_a_server_has_defaults_and_limits),
        cmocka_unit_test(own_endpoints_answer_as_tempo_does),
        cmocka_unit_test(metrics_tell_of_the_process_and_of_requests),
        cmocka_unit_test(the_prefix_stands_before_the_api_alone),
        cmocka_unit_test(the_configuration_page_knows_its_modes_and_no_secret),
        cmocka_unit_test(other_paths_of_the_api_go_to_the_role),
        cmocka_unit_test(grpc_calls_go_to_the_role_or_are_unknown),
        cmocka_unit_test(health_wants_a_tenant_where_there_are_many),
        cmocka_unit_test(streams_come_over_the_http_port_when_it_is_asked_for),
        cmocka_unit_test(a_grpc_port_in_use_is_told_by_its_key),
        cmocka_unit_test(a_signal_ends_the_run_and_roles_stop_last_first),
        cmocka_unit_test(app_stop_ends_the_run_too),
        cmocka_unit_test(during_the_delay_ready_says_so_and_a_second_signal_cuts_it_short),
        cmocka_unit_test(a_start_that_is_no_start_says_why),
        cmocka_unit_test(the_ways_in_are_told_in_three_lines),
        cmocka_unit_test(a_taken_port_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
