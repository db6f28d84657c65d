/* Answers in protobuf, and how they are cut into messages. What a real client makes of them is
 * tested over the wire (tests/e2e/streaming.test.mjs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "frontend/search_priv.h"
#include "frontend/tags_priv.h"
#include "tests/support/h2_client.h"
#include "tests/support/net_fixture.h"

/* What packets look at of a query. */
struct asked {
    struct app app;
    struct frontend frontend;
    struct query query;
};

static void asked_init(struct asked *a, size_t packet_bytes, struct net_request *call)
{
    *a = (struct asked){0};
    a->app.clock = &clock_system;
    a->app.cfg.query_frontend.max_grpc_streaming_packet_size = packet_bytes;
    a->frontend.opts.app = &a->app;
    a->query = (struct query){.frontend = &a->frontend, .client = call};
}

static void values_of_a_oneof_are_written_though_zero(void **state)
{
    (void)state;
    static const struct {
        struct traceql_value value;
        struct slice bytes; /* of the AnyValue */
    } cases[] = {
        {{.type = TRACEQL_STRING, .str = {NULL, 0}}, {(const uint8_t *)"\x0a\x00", 2}},
        {{.type = TRACEQL_BOOL, .b = false}, {(const uint8_t *)"\x10\x00", 2}},
        {{.type = TRACEQL_INT, .i64 = 0}, {(const uint8_t *)"\x18\x00", 2}},
        {{.type = TRACEQL_INT, .i64 = -1},
         {(const uint8_t *)"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}},
        {{.type = TRACEQL_FLOAT, .f64 = 0}, {(const uint8_t *)"\x21\0\0\0\0\0\0\0\0", 9}},
        {{.type = TRACEQL_DURATION, .i64 = 1500000},
         {(const uint8_t *)"\x0a\x05"
                           "1.5ms",
          7}},
        {{.type = TRACEQL_STATUS, .i64 = 2},
         {(const uint8_t *)"\x0a\x05"
                           "error",
          7}},
        {{.type = TRACEQL_KIND, .i64 = 77},
         {(const uint8_t *)"\x0a\x02"
                           "77",
          4}},
        {{.type = TRACEQL_NIL}, {(const uint8_t *)"\x0a\x03nil", 5}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        struct proto_writer w = {.out = &b};
        buf_init(&b, 100);
        key_value_proto(&w, 1, SLICE("k"), &cases[i].value, 1);
        assert_int_equal(w.rc, 0);
        assert_true(slice_starts(buf_view(&b), slice_of("\x0a", 1)));
        assert_true(slice_ends(buf_view(&b), cases[i].bytes));
        assert_int_equal(b.len, 2 + 3 + 2 + cases[i].bytes.len);
        buf_clear(&b);
    }
}

static void a_list_is_an_array_value(void **state)
{
    (void)state;
    const struct traceql_value two[] = {{.type = TRACEQL_INT, .i64 = 1},
                                        {.type = TRACEQL_INT, .i64 = 2}};
    struct buf b;
    struct proto_writer w = {.out = &b};
    buf_init(&b, 100);
    key_value_proto(&w, 3, SLICE("k"), two, 2);
    assert_true(slice_eq(buf_view(&b), SLICE("\x1a\x0f\x0a\x01k\x12\x0a\x2a\x08\x0a\x02\x18\x01"
                                             "\x0a\x02\x18\x02")));
    buf_clear(&b);
}

/* How many traces a SearchResponse has, and their ids, each one byte. */
static uint32_t traces_of(struct slice message, uint8_t *first)
{
    struct cursor c = cursor_of(message);
    struct proto_field f, g;
    uint32_t traces = 0, metrics = 0;
    while (proto_next(&c, &f, NULL) == 0) {
        metrics += f.number == 2;
        if (f.number != 1)
            continue;
        struct cursor t = cursor_of(f.bytes);
        assert_int_equal(proto_next(&t, &g, NULL), 0);
        assert_int_equal(g.number, 1);
        if (traces++ == 0)
            *first = (uint8_t)strtoul((char[3]){(char)g.bytes.ptr[g.bytes.len - 2],
                                                (char)g.bytes.ptr[g.bytes.len - 1], 0},
                                      NULL, 16);
    }
    assert_int_equal(metrics, 1);
    return traces;
}

static void make_traces(struct query_trace *traces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        traces[i] = (struct query_trace){.root_service = SLICE("service"),
                                         .start_unix_ns = 1000 + i,
                                         .duration_ns = 2 * NS_PER_MS};
        traces[i].id[0] = 1;
        traces[i].id[15] = (uint8_t)i;
    }
}

static void over_http_everything_is_one_message(void **state)
{
    (void)state;
    struct query_trace traces[50];
    struct asked a;
    struct packets p;
    struct buf out;
    uint8_t first;
    asked_init(&a, 100, NULL);
    make_traces(traces, 50);
    buf_init(&out, 1 << 20);
    packets_begin(&p, &a.query, &out, SLICE("\x12\x00"));
    search_proto(&p, traces, 50, false);
    assert_int_equal(packets_end(&p), 0);
    assert_int_equal(traces_of(buf_view(&out), &first), 50);
    buf_clear(&out);
}

static void a_stream_gets_messages_below_the_limit_and_nothing_twice(void **state)
{
    (void)state;
    struct query_trace traces[50];
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    struct asked a;
    struct packets p;
    struct buf out;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\0"), false);
    h2_run_once(&c, 0);
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    asked_init(&a, 300, req);
    make_traces(traces, 50);
    buf_init(&out, 1 << 20);
    packets_begin(&p, &a.query, &out, SLICE("\x12\x02\x20\x01"));
    search_proto(&p, traces, 50, false);
    assert_int_equal(packets_end(&p), 0);
    net_reply_grpc(req, 0, SLICE(""), SLICE(""), &out);
    assert_true(h2_wait(&c, &call, 5000));
    uint32_t messages = 0, all = 0;
    for (size_t at = 0; at < call.body.len; messages++) {
        size_t len = load_u32be(call.body.ptr + at + 1);
        uint8_t first = 0;
        assert_true(len <= 300);
        uint32_t n = traces_of(slice_of(call.body.ptr + at + 5, len), &first);
        assert_true(n >= 1);
        assert_int_equal(first, all);
        all += n;
        at += 5 + len;
    }
    assert_int_equal(all, 50);
    assert_true(messages > 8 && messages < 20);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void names_of_a_large_scope_go_on_in_the_next_message(void **state)
{
    (void)state;
    static char names[100][8];
    static struct query_tag tags[100];
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    struct asked a;
    struct packets p;
    struct buf out;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "tag%03u", i);
        tags[i] =
            (struct query_tag){.level = i < 60 ? TRACEQL_LEVEL_RESOURCE : TRACEQL_LEVEL_SPAN,
                               .value = {.type = TRACEQL_STRING, .str = slice_of(names[i], 6)}};
    }
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\0"), false);
    h2_run_once(&c, 0);
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    asked_init(&a, 200, req);
    buf_init(&out, 1 << 20);
    packets_begin(&p, &a.query, &out, SLICE(""));
    tags_proto_scopes(&p, tags, 100, true);
    assert_int_equal(packets_end(&p), 0);
    net_reply_grpc(req, 0, SLICE(""), SLICE(""), &out);
    assert_true(h2_wait(&c, &call, 5000));
    unsigned seen = 0, intrinsics = 0;
    for (size_t at = 0; at < call.body.len;) {
        size_t len = load_u32be(call.body.ptr + at + 1);
        struct cursor m = cursor_of(slice_of(call.body.ptr + at + 5, len));
        struct proto_field scope, field;
        assert_true(len <= 200);
        while (proto_next(&m, &scope, NULL) == 0) {
            struct cursor s = cursor_of(scope.bytes);
            assert_int_equal(proto_next(&s, &field, NULL), 0);
            assert_int_equal(field.number, 1);
            bool intrinsic = slice_eq(field.bytes, SLICE("intrinsic"));
            const char *want = seen < 60 ? "resource" : "span";
            assert_true(intrinsic || slice_eq(field.bytes, slice_cstr(want)));
            for (; proto_next(&s, &field, NULL) == 0; intrinsic ? intrinsics++ : seen++) {
                assert_int_equal(field.number, 2);
                assert_true(intrinsic || slice_eq(field.bytes, slice_of(names[seen], 6)));
            }
        }
        at += 5 + len;
    }
    assert_int_equal(seen, 100);
    assert_int_equal(intrinsics, tags_intrinsic_count);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_a_oneof_are_written_though_zero),
        cmocka_unit_test(a_list_is_an_array_value),
        cmocka_unit_test(over_http_everything_is_one_message),
        cmocka_unit_test(a_stream_gets_messages_below_the_limit_and_nothing_twice),
        cmocka_unit_test(names_of_a_large_scope_go_on_in_the_next_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
