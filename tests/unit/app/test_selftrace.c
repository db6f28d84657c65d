/* Spans of our own: the variables that govern them, which are recorded, and what is sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/selftrace_priv.h"
#include "base/text.h"
#include "otlp/otlp.h"
#include "tests/support/net_fixture.h"

struct variables {
    const char *at[16][2];
};

static const char *lookup(void *ctx, const char *name)
{
    const struct variables *v = ctx;
    for (size_t i = 0; i < 16 && v->at[i][0]; i++) {
        if (strcmp(v->at[i][0], name) == 0)
            return v->at[i][1];
    }
    return NULL;
}

static struct selftrace_opts opts_of(struct variables *v)
{
    return (struct selftrace_opts){.env = lookup,
                                   .env_ctx = v,
                                   .service = "rubato-all",
                                   .version = "2.7",
                                   .clock = &clock_system};
}

static int read_config(struct variables v, struct selftrace_config *c, struct err *err)
{
    struct log quiet = {.fd = -1, .level = LOG_LEVEL_ERROR};
    struct selftrace_opts opts = opts_of(&v);
    opts.log = &quiet;
    return selftrace_config_read(&opts, c, err);
}

static const char *resource_of(const struct selftrace_config *c, const char *key)
{
    static char text[200];
    for (uint32_t i = 0; i < c->resource.count; i++) {
        struct slice value = c->resource.at[i].value;
        if (slice_eq(c->resource.at[i].key, slice_cstr(key))) {
            snprintf(text, sizeof text, "%.*s", SLICE_ARGS(value));
            return text;
        }
    }
    return NULL;
}

/* ---- variables ---- */

static void without_a_variable_there_is_no_tracer(void **state)
{
    (void)state;
    static const struct variables off[] = {
        {{{0}}},
        {{{"OTEL_SERVICE_NAME", "x"}, {"OTEL_TRACES_SAMPLER", "always_on"}}},
        {{{"OTEL_TRACES_EXPORTER", "none"}, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"}}},
        {{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_SDK_DISABLED", "true"}}},
        {{{"OTEL_TRACES_EXPORTER", ""}}},
    };
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        struct variables v = off[i];
        struct selftrace *t;
        const struct selftrace_opts opts = opts_of(&v);
        assert_int_equal(selftrace_new(&opts, &t, NULL), 0);
        assert_null(t);
    }
}

static void endpoints_are_used_as_the_standard_says(void **state)
{
    (void)state;
    static const struct {
        struct variables v;
        const char *url;
    } cases[] = {
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}}}, "http://localhost:4318/v1/traces"},
        {{{{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"}}}, "http://c:1/v1/traces"},
        {{{{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/x/"}}}, "https://c/x/v1/traces"},
        {{{{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"},
           {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d/as/it/is"}}},
         "http://d/as/it/is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct selftrace_config c;
        assert_int_equal(read_config(cases[i].v, &c, NULL), 0);
        assert_true(c.on);
        assert_string_equal(c.url, cases[i].url);
        selftrace_config_clear(&c);
    }
}

static void what_cannot_be_honoured_stops_the_start(void **state)
{
    (void)state;
    static const struct {
        struct variables v;
        const char *text;
    } cases[] = {
        {{{{"OTEL_TRACES_EXPORTER", "bogus"}}}, "unknown exporter or metrics producer"},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}}},
         "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, found \"grpc\""},
        {{{{"OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"}}}, "expected a URL, found \"c:4318\""},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_EXPORTER_OTLP_HEADERS", "secret"}}},
         "OTEL_EXPORTER_OTLP_HEADERS: expected name=value"},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_RESOURCE_ATTRIBUTES", "a=%zz"}}},
         "OTEL_RESOURCE_ATTRIBUTES"},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_BSP_MAX_QUEUE_SIZE", "-1"}}},
         "OTEL_BSP_MAX_QUEUE_SIZE"},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"}}},
         "OTEL_BSP_MAX_QUEUE_SIZE"},
        {{{{"OTEL_TRACES_EXPORTER", "otlp"}, {"OTEL_EXPORTER_OTLP_TIMEOUT", "soon"}}},
         "OTEL_EXPORTER_OTLP_TIMEOUT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct selftrace_config c;
        struct err err = {0};
        assert_int_equal(read_config(cases[i].v, &c, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].text))
            fail_msg("%s", err.msg);
        assert_null(strstr(err.msg, "secret"));
        selftrace_config_clear(&c);
    }
}

static void resource_and_headers_are_read(void **state)
{
    (void)state;
    static const struct variables v = {{
        {"OTEL_TRACES_EXPORTER", "otlp"},
        {"OTEL_RESOURCE_ATTRIBUTES", "deployment=a%20b, service.name=lost,service.version=9"},
        {"OTEL_SERVICE_NAME", "mine"},
        {"OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=x%3Dy"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"},
    }};
    struct selftrace_config c;
    assert_int_equal(read_config(v, &c, NULL), 0);
    assert_string_equal(resource_of(&c, "service.name"), "mine");
    assert_string_equal(resource_of(&c, "service.version"), "9");
    assert_string_equal(resource_of(&c, "deployment"), "a b");
    assert_non_null(resource_of(&c, "host.name"));
    assert_string_equal(c.headers.at[0], "a: 1");
    assert_string_equal(c.headers.at[1], "b: x=y");
    assert_string_equal(c.headers.at[2], "content-type: application/x-protobuf");
    assert_string_equal(c.headers.at[3], "content-encoding: gzip");
    assert_null(c.headers.at[4]);
    selftrace_config_clear(&c);
}

/* ---- which spans are recorded ---- */

static struct selftrace *tracer(const char *sampler, const char *arg)
{
    static struct selftrace t;
    struct variables v = {{{"OTEL_TRACES_EXPORTER", "otlp"},
                           {"OTEL_TRACES_SAMPLER", sampler},
                           {"OTEL_TRACES_SAMPLER_ARG", arg}}};
    t = (struct selftrace){.clock = &clock_system};
    assert_int_equal(read_config(v, &t.config, NULL), 0);
    return &t;
}

static bool recorded(struct selftrace *t, const char *parent)
{
    struct net_header header = {SLICE("traceparent"), slice_cstr(parent)};
    struct net_request req = {.headers = &header, .header_count = parent != NULL};
    struct selftrace_span span;
    req.received_mono_ns = clock_mono_ns(&clock_system);
    selftrace_request(t, &req, "x", &span);
    return span.tracer != NULL;
}

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

static void samplers_decide_as_the_standard_says(void **state)
{
    (void)state;
    static const struct {
        const char *sampler, *arg;
        bool root, kept, unkept; /* no parent, a parent with and without the flag */
    } cases[] = {
        {"", NULL, true, true, false},
        {"always_on", NULL, true, true, true},
        {"always_off", NULL, false, false, false},
        {"parentbased_always_off", NULL, false, true, false},
        {"parentbased_always_on", NULL, true, true, false},
        {"traceidratio", "1", true, true, true},
        {"traceidratio", "0", false, false, false},
        {"parentbased_traceidratio", "0", false, true, false},
        {"no_such", NULL, true, true, false},
        {"traceidratio", "2", true, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct selftrace *t = tracer(cases[i].sampler, cases[i].arg);
        if (recorded(t, NULL) != cases[i].root || recorded(t, PARENT "01") != cases[i].kept ||
            recorded(t, PARENT "00") != cases[i].unkept)
            fail_msg("%s %s", cases[i].sampler, cases[i].arg ? cases[i].arg : "");
        selftrace_config_clear(&t->config);
    }
}

static void a_ratio_keeps_its_part(void **state)
{
    (void)state;
    struct selftrace *t = tracer("traceidratio", "0.25");
    int kept = 0;
    for (int i = 0; i < 20000; i++)
        kept += recorded(t, NULL);
    assert_in_range(kept, 4600, 5400); /* more than six deviations to either side */
    selftrace_config_clear(&t->config);
}

static void broken_parents_are_no_parents(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "",
        "00",
        PARENT,
        PARENT "0",
        PARENT "zz",
        PARENT "000",
        PARENT "00-more", /* version 0 has no more */
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        "00-00000000000000000000000000000000-b7ad6b7169203331-00",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    };
    struct selftrace *t = tracer("", NULL);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        /* A real parent without the flag would keep nothing. */
        if (!recorded(t, broken[i]))
            fail_msg("%s", broken[i]);
    }
    assert_false(recorded(t, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more"));
    selftrace_config_clear(&t->config);
}

static void without_a_tracer_nothing_happens(void **state)
{
    (void)state;
    struct net_request req = {0};
    struct selftrace_span span, child;
    selftrace_request(NULL, &req, "x", &span);
    selftrace_child(&span, "y", &child);
    selftrace_text(&child, "a", SLICE("b"));
    selftrace_number(&child, "n", 1);
    selftrace_end(&child, "failed");
    selftrace_end(&span, NULL);
    assert_null(span.tracer);
}

/* ---- what is sent ---- */

static void spans_are_encoded_with_parents_attributes_and_errors(void **state)
{
    (void)state;
    struct selftrace *t = tracer("", NULL);
    struct net_header header = {SLICE("traceparent"), SLICE(PARENT "01")};
    struct net_request req = {.headers = &header, .header_count = 1};
    struct selftrace_span spans[2];
    req.received_mono_ns = clock_mono_ns(&clock_system);
    selftrace_request(t, &req, "root", &spans[0]);
    selftrace_child(&spans[0], "job", &spans[1]);
    selftrace_text(&spans[1], "block", SLICE("b1"));
    selftrace_number(&spans[1], "bytes", -5);
    spans[1].failed = true;
    spans[1].message_at = spans[1].attrs[0].at;
    spans[1].message_len = 2;
    struct buf body;
    buf_init(&body, 1 << 20);
    assert_int_equal(selftrace_encode(&t->config, spans, 2, &body, NULL), 0);
    struct span_batch b = {0};
    assert_int_equal(otlp_decode(buf_view(&body), &b, NULL), 0);
    assert_int_equal(b.spans.count, 2);
    const struct span *root = &b.spans.at[0], *job = &b.spans.at[1];
    uint8_t parent[8];
    hex_decode(SLICE("b7ad6b7169203331"), parent);
    assert_true(slice_eq(root->parent_span_id, slice_of(parent, 8)));
    assert_int_equal(root->kind, 2);
    assert_true(slice_eq(job->parent_span_id, root->span_id));
    assert_memory_equal(job->trace_id, root->trace_id, 16);
    assert_int_equal(job->trace_id[0], 0x0a);
    assert_int_equal(job->status_code, 2);
    assert_true(slice_eq(job->status_message, SLICE("b1")));
    const struct attr *a = &b.attrs.at[job->attrs.first];
    assert_int_equal(job->attrs.count, 2);
    assert_true(slice_eq(a[0].key, SLICE("block")) && slice_eq(a[0].value.str, SLICE("b1")));
    assert_true(a[1].value.type == VALUE_INT && a[1].value.i64 == -5);
    span_batch_clear(&b);
    buf_clear(&body);
    selftrace_config_clear(&t->config);
}

static void long_texts_are_cut_and_extra_attributes_left_out(void **state)
{
    (void)state;
    struct selftrace *t = tracer("", NULL);
    struct selftrace_span s = {.tracer = t};
    char text[2 * SELFTRACE_TEXT_BYTES];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 2 * SELFTRACE_ATTRS; i++)
        selftrace_text(&s, "k", slice_of(text, sizeof text));
    assert_int_equal(s.attr_count, SELFTRACE_ATTRS);
    assert_int_equal(s.text_len, SELFTRACE_TEXT_BYTES);
    assert_int_equal(s.attrs[0].len, SELFTRACE_TEXT_BYTES);
    assert_int_equal(s.attrs[1].len, 0);
    selftrace_config_clear(&t->config);
}

/* A collector that holds all it gets. */
struct collector {
    struct net_fixture net;
    struct metrics *metrics;
    struct log log;
    struct selftrace *t;
    char endpoint[60];
};

static void collector_start(struct collector *c, const char *queue, const char *batch,
                            const char *path)
{
    fixture_start(&c->net, NULL);
    c->metrics = metrics_new();
    c->log = (struct log){.fd = open("/dev/null", O_WRONLY), .level = LOG_LEVEL_INFO};
    snprintf(c->endpoint, sizeof c->endpoint, "http://127.0.0.1:%u/%s", c->net.port, path);
    struct variables v = {{{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c->endpoint},
                           {"OTEL_BSP_MAX_QUEUE_SIZE", queue},
                           {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch},
                           {"OTEL_BSP_SCHEDULE_DELAY", "3600000"}}};
    struct selftrace_opts opts = opts_of(&v);
    opts.log = &c->log;
    opts.metrics = c->metrics;
    struct err err = {0};
    if (selftrace_new(&opts, &c->t, &err) != 0)
        fail_msg("%s", err.msg);
}

static void collector_end(struct collector *c)
{
    fixture_stop(&c->net);
    metrics_free(c->metrics);
    close(c->log.fd);
}

static uint64_t result_of(struct collector *c, const char *result)
{
    char line[80];
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(metrics_write(c->metrics, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    snprintf(line, sizeof line, "self_tracing_spans_total{result=\"%s\"} ", result);
    const char *at = strstr((char *)b.ptr, line);
    uint64_t n = 0;
    assert_non_null(at);
    for (at += strlen(line); *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (uint64_t)(*at - '0');
    buf_clear(&b);
    return n;
}

static void record(struct collector *c, int spans)
{
    struct net_request req = {.received_mono_ns = clock_mono_ns(&clock_system)};
    for (int i = 0; i < spans; i++) {
        struct selftrace_span span;
        selftrace_request(c->t, &req, "x", &span);
        selftrace_end(&span, NULL);
    }
}

static void full_batches_go_at_once_and_the_rest_at_the_end(void **state)
{
    (void)state;
    struct collector c;
    collector_start(&c, "100", "3", "hold");
    record(&c, 3);
    struct net_request *req = fixture_take_held(&c.net);
    assert_non_null(req);
    assert_true(slice_eq(req->method, SLICE("POST")));
    assert_true(slice_eq(net_request_header(req, "content-type"), SLICE("application/x-protobuf")));
    struct span_batch b = {0};
    assert_int_equal(otlp_decode(req->body, &b, NULL), 0);
    assert_int_equal(b.spans.count, 3);
    span_batch_clear(&b);
    net_reply_text(req, 200, SLICE(""));
    for (uint64_t until = now_ms() + 5000; result_of(&c, "exported") < 3 && now_ms() < until;)
        sleep_ms(2);
    assert_int_equal(result_of(&c, "exported"), 3);
    selftrace_free(c.t);
    collector_end(&c);
}

static void a_full_queue_drops_and_never_waits(void **state)
{
    (void)state;
    struct collector c;
    collector_start(&c, "10", "10", "hold");
    record(&c, 10);
    struct net_request *req = fixture_take_held(&c.net); /* the exporter waits for its answer */
    assert_non_null(req);
    record(&c, 25);
    assert_int_equal(result_of(&c, "dropped"), 15);
    net_reply_text(req, 500, SLICE(""));
    req = fixture_take_held(&c.net);
    assert_non_null(req);
    net_reply_text(req, 200, SLICE(""));
    selftrace_free(c.t);
    assert_int_equal(result_of(&c, "failed"), 10);
    assert_int_equal(result_of(&c, "exported"), 10);
    collector_end(&c);
}

static void what_is_left_is_sent_at_the_end(void **state)
{
    (void)state;
    struct collector c;
    collector_start(&c, "100", "100", "plain");
    record(&c, 7);
    selftrace_free(c.t);
    assert_int_equal(result_of(&c, "exported"), 7);
    collector_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_variable_there_is_no_tracer),
        cmocka_unit_test(endpoints_are_used_as_the_standard_says),
        cmocka_unit_test(what_cannot_be_honoured_stops_the_start),
        cmocka_unit_test(resource_and_headers_are_read),
        cmocka_unit_test(samplers_decide_as_the_standard_says),
        cmocka_unit_test(a_ratio_keeps_its_part),
        cmocka_unit_test(broken_parents_are_no_parents),
        cmocka_unit_test(without_a_tracer_nothing_happens),
        cmocka_unit_test(spans_are_encoded_with_parents_attributes_and_errors),
        cmocka_unit_test(long_texts_are_cut_and_extra_attributes_left_out),
        cmocka_unit_test(full_batches_go_at_once_and_the_rest_at_the_end),
        cmocka_unit_test(a_full_queue_drops_and_never_waits),
        cmocka_unit_test(what_is_left_is_sent_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
