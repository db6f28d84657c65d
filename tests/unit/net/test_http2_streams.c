/* Over HTTP/2: calls that get several messages, clients that leave, and plain HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net_limits.h"
#include "tests/support/h2_client.h"
#include "tests/support/net_fixture.h"

#define EMPTY_MESSAGE SLICE("\0\0\0\0\0")

static struct net_request *begin_call(struct net_fixture *f, struct h2_client *c,
                                      struct h2_call *call, const struct h2_header *extra)
{
    h2_call_start(c, call, "/t.S/hold", extra, EMPTY_MESSAGE, false);
    h2_run_once(c, 0);
    struct net_request *req = fixture_take_held(f);
    assert_non_null(req);
    return req;
}

static int send_text(struct net_request *req, const char *text, size_t times)
{
    struct buf b;
    buf_init(&b, times * strlen(text));
    for (size_t i = 0; i < times; i++)
        assert_int_equal(buf_str(&b, text), 0);
    int rc = net_stream_send(req, &b);
    assert_true(rc < 0 || b.len == 0);
    buf_clear(&b);
    return rc;
}

static void end_call(struct net_request *req)
{
    net_reply_grpc(req, 0, SLICE(""), SLICE(""), &(struct buf){0});
}

/* Runs the client until the call has so many bytes. */
static void wait_bytes(struct h2_client *c, const struct h2_call *call, size_t bytes)
{
    for (uint64_t end = now_ms() + 5000; call->body.len < bytes && now_ms() < end;)
        h2_run_once(c, 50);
    assert_int_equal(call->body.len, bytes);
}

static bool wait_gone(const struct net_request *req)
{
    for (uint64_t end = now_ms() + 5000; !net_request_gone(req) && now_ms() < end;)
        sleep_ms(2);
    return net_request_gone(req);
}

static void messages_arrive_one_by_one_before_the_answer(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    struct net_request *req = begin_call(&f, &c, &call, NULL);
    assert_int_equal(send_text(req, "one", 1), 0);
    wait_bytes(&c, &call, 8);
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.grpc_status, -1);
    assert_int_equal(send_text(req, "two", 1), 0);
    assert_int_equal(send_text(req, "", 1), 0);
    wait_bytes(&c, &call, 21);
    assert_false(call.closed);
    end_call(req);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 0);
    assert_int_equal(call.error_code, 0);
    assert_true(
        slice_eq(buf_view(&call.body), SLICE("\0\0\0\0\3one\0\0\0\0\3two\0\0\0\0\0\0\0\0\0\0")));
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void stream_may_end_in_an_error_after_messages_or_before_any(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    for (int messages = 0; messages < 3; messages++) {
        struct net_request *req = begin_call(&f, &c, &call, NULL);
        for (int i = 0; i < messages; i++)
            assert_int_equal(send_text(req, "abc", 1), 0);
        net_reply_grpc(req, 13, SLICE("it broke\n"), SLICE(""), NULL);
        assert_true(h2_wait(&c, &call, 5000));
        assert_int_equal(call.grpc_status, 13);
        assert_string_equal(call.message, "it broke%0A");
        assert_int_equal(call.body.len, messages * 8);
        h2_call_clear(&call);
    }
    h2_shut(&c);
    fixture_stop(&f);
}

static void messages_are_packed_as_the_request_was(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    const struct h2_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    struct net_request *req = begin_call(&f, &c, &call, gzip);
    assert_int_equal(send_text(req, "again and ", 1000), 0);
    end_call(req);
    assert_true(h2_wait(&c, &call, 5000));
    assert_string_equal(call.encoding, "gzip");
    assert_true(call.body.len > 10 && call.body.len < 1000);
    assert_int_equal(call.body.ptr[0], 1);
    size_t packed = (size_t)call.body.ptr[3] << 8 | call.body.ptr[4];
    struct buf plain;
    buf_init(&plain, 1 << 20);
    assert_int_equal(
        net_content_decode(SLICE("gzip"), slice_of(call.body.ptr + 5, packed), &plain, NULL), 0);
    assert_int_equal(plain.len, 10000);
    buf_clear(&plain);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void slow_reader_is_not_ready_until_it_has_read(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    size_t sent = 0;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, true);
    struct net_request *req = begin_call(&f, &c, &call, NULL);
    assert_true(net_stream_ready(req));
    while (net_stream_ready(req)) {
        assert_int_equal(send_text(req, "0123456789abcdef", 1 << 15), 0);
        sent++;
        assert_true(sent <= LIMIT_STREAM_WAITING_BYTES / (1 << 19) + 1);
    }
    assert_true(sent >= LIMIT_STREAM_WAITING_BYTES / (1 << 19));
    /* The rest of an answer is taken all the same. */
    assert_int_equal(send_text(req, "end", 1), 0);
    for (uint64_t end = now_ms() + 10000; !net_stream_ready(req) && now_ms() < end;) {
        nghttp2_session_consume(c.session, call.id, 32768);
        h2_run_once(&c, 20);
    }
    assert_true(net_stream_ready(req));
    end_call(req);
    for (uint64_t end = now_ms() + 10000; !call.closed && now_ms() < end;) {
        nghttp2_session_consume(c.session, call.id, 65535);
        h2_run_once(&c, 20);
    }
    assert_true(call.closed);
    assert_int_equal(call.grpc_status, 0);
    assert_int_equal(call.body.len, sent * (5 + (1 << 19)) + 8 + 5);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void message_that_is_not_taken_ends_the_stream(void **state)
{
    (void)state;
    struct net_fixture f;
    struct turned_clock clock;
    struct h2_client c;
    struct h2_call call;
    turned_clock_init(&clock);
    fixture_start_at(&f, NULL, &clock.clock);
    h2_open(&c, f.port, true);
    struct net_request *req = begin_call(&f, &c, &call, NULL);
    assert_int_equal(send_text(req, "x", 1 << 20), 0);
    while (h2_run_once(&c, 100))
        ;
    clock.ahead_ns += 40 * NS_PER_S; /* 30 s, and 16 s for a MiB: not yet */
    int poke = tcp_connect(f.port);  /* the loop looks at its clock */
    h2_run_once(&c, 100);
    close(poke);
    assert_false(net_request_gone(req));
    clock.ahead_ns += 10 * NS_PER_S;
    poke = tcp_connect(f.port);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.error_code, NGHTTP2_CANCEL);
    assert_true(wait_gone(req));
    close(poke);
    /* A handler that takes its time is no matter of the client's. */
    h2_call_clear(&call);
    nghttp2_session_consume_connection(c.session, 65535);
    struct net_request *slow = begin_call(&f, &c, &call, NULL);
    assert_int_equal(send_text(slow, "x", 1), 0);
    wait_bytes(&c, &call, 6);
    clock.ahead_ns += 3600 * NS_PER_S;
    poke = tcp_connect(f.port);
    h2_run_once(&c, 100);
    assert_false(call.closed);
    end_call(slow);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 0);
    close(poke);
    net_reply_grpc(req, 1, SLICE("cancelled"), SLICE(""), NULL);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void handler_learns_that_its_client_has_gone(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call calls[2];
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    struct net_request *one = begin_call(&f, &c, &calls[0], NULL);
    struct net_request *two = begin_call(&f, &c, &calls[1], NULL);
    assert_false(net_request_gone(one));
    assert_int_equal(send_text(one, "x", 1), 0);
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, calls[0].id, NGHTTP2_CANCEL);
    h2_run_once(&c, 0);
    assert_true(wait_gone(one));
    assert_false(net_request_gone(two));
    assert_int_equal(send_text(one, "x", 1), ERR_CANCELLED);
    net_reply_grpc(one, 1, SLICE("context canceled"), SLICE(""), NULL);
    h2_shut(&c);
    assert_true(wait_gone(two));
    assert_int_equal(send_text(two, "x", 1), ERR_CANCELLED);
    end_call(two);
    h2_call_clear(&calls[0]);
    h2_call_clear(&calls[1]);
    /* HTTP/1.1: closed, and half-closed, which still gets its answer. */
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    assert_false(net_request_gone(req));
    close(fd);
    assert_true(wait_gone(req));
    net_reply_text(req, 499, SLICE("context canceled"));
    fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    req = fixture_take_held(&f);
    assert_non_null(req);
    shutdown(fd, SHUT_WR);
    assert_true(wait_gone(req));
    net_reply_text(req, 200, SLICE("still here"));
    struct http_answer a;
    http_answer_init(&a);
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    http_answer_clear(&a);
    close(fd);
    fixture_stop(&f);
}

static void server_may_end_before_the_stream(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, true);
    struct net_request *req = begin_call(&f, &c, &call, NULL);
    assert_int_equal(send_text(req, "x", 1 << 20), 0);
    assert_int_equal(send_text(req, "y", 1 << 20), 0);
    fixture_stop(&f);
    assert_true(net_request_gone(req));
    assert_int_equal(send_text(req, "z", 1), ERR_CANCELLED);
    end_call(req);
    h2_call_clear(&call);
    h2_shut(&c);
}

static void *send_fifty(void *arg)
{
    int rc = 0;
    for (int i = 0; i < 50 && rc == 0; i++) {
        struct buf b;
        buf_init(&b, 8);
        rc = buf_printf(&b, "%03d", i);
        rc = rc < 0 ? rc : net_stream_send(arg, &b);
    }
    end_call(arg);
    return NULL;
}

static void many_streams_at_once_keep_their_order(void **state)
{
    (void)state;
    enum { N = 100 };
    struct net_fixture f;
    struct h2_client c;
    static struct h2_call calls[N];
    pthread_t threads[N];
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    for (int i = 0; i < N; i++)
        h2_call_start(&c, &calls[i], "/t.S/hold", NULL, EMPTY_MESSAGE, false);
    h2_run_once(&c, 100);
    for (int i = 0; i < N; i++) {
        struct net_request *req = fixture_take_held(&f);
        assert_non_null(req);
        assert_int_equal(pthread_create(&threads[i], NULL, send_fifty, req), 0);
    }
    for (int i = 0; i < N; i++)
        assert_true(h2_wait(&c, &calls[i], 10000));
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(calls[i].grpc_status, 0);
        assert_int_equal(calls[i].body.len, 50 * 8 + 5);
        for (int k = 0; k < 50; k++) {
            char want[8];
            snprintf(want, sizeof want, "%03d", k);
            assert_memory_equal(calls[i].body.ptr + (size_t)k * 8 + 5, want, 3);
        }
        h2_call_clear(&calls[i]);
    }
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    h2_shut(&c);
    fixture_stop(&f);
}

static void plain_requests_over_http2_reach_the_handler(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    const struct h2_header get[] = {
        {":method", "GET"}, {"content-type", NULL}, {"te", NULL}, {NULL, NULL}};
    h2_call_start(&c, &call, "/a/show?x=1&y=2", get, SLICE(""), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.grpc_status, -1);
    assert_int_equal(call.error_code, 0);
    assert_true(slice_starts(buf_view(&call.body), SLICE("GET|/a/show|x=1&y=2\n")));
    h2_call_clear(&call);
    const struct h2_header post[] = {{"content-type", "text/plain"}, {NULL, NULL}};
    h2_call_start(&c, &call, "/a/echo", post, SLICE("as it was sent"), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 200);
    assert_true(slice_eq(buf_view(&call.body), SLICE("as it was sent")));
    h2_call_clear(&call);
    h2_call_start(&c, &call, "/a/fail", get, SLICE(""), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 404);
    assert_true(slice_eq(buf_view(&call.body), SLICE("not here\n")));
    h2_call_clear(&call);
    const struct h2_header head[] = {{":method", "HEAD"}, {"content-type", NULL}, {NULL, NULL}};
    h2_call_start(&c, &call, "/a/big", head, SLICE(""), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.body.len, 0);
    h2_call_clear(&call);
    const struct h2_header packed[] = {
        {":method", "GET"}, {"content-type", NULL}, {"accept-encoding", "gzip"}, {NULL, NULL}};
    h2_call_start(&c, &call, "/a/big?bytes=100000", packed, SLICE(""), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_true(call.body.len < 10000);
    struct buf plain;
    buf_init(&plain, 1 << 20);
    assert_int_equal(net_content_decode(SLICE("gzip"), buf_view(&call.body), &plain, NULL), 0);
    assert_int_equal(plain.len, 100000);
    buf_clear(&plain);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void plain_body_past_the_limit_is_refused(void **state)
{
    (void)state;
    struct net_fixture f;
    struct h2_client c;
    struct h2_call call;
    fixture_start(&f, NULL);
    h2_open(&c, f.port, false);
    size_t len = (1 << 20) + 1;
    char *body = calloc(len, 1);
    assert_non_null(body);
    const struct h2_header post[] = {{"content-type", "text/plain"}, {NULL, NULL}};
    h2_call_start(&c, &call, "/a/echo", post, slice_of(body, len), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 413);
    assert_true(slice_eq(buf_view(&call.body), SLICE("http: request body too large")));
    h2_call_clear(&call);
    h2_call_start(&c, &call, "/a/echo", post, slice_of(body, len - 1), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.body.len, len - 1);
    h2_call_clear(&call);
    free(body);
    h2_shut(&c);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_one_by_one_before_the_answer),
        cmocka_unit_test(stream_may_end_in_an_error_after_messages_or_before_any),
        cmocka_unit_test(messages_are_packed_as_the_request_was),
        cmocka_unit_test(slow_reader_is_not_ready_until_it_has_read),
        cmocka_unit_test(message_that_is_not_taken_ends_the_stream),
        cmocka_unit_test(handler_learns_that_its_client_has_gone),
        cmocka_unit_test(server_may_end_before_the_stream),
        cmocka_unit_test(many_streams_at_once_keep_their_order),
        cmocka_unit_test(plain_requests_over_http2_reach_the_handler),
        cmocka_unit_test(plain_body_past_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
