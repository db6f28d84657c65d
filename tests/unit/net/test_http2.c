/* gRPC over real sockets: calls, their encodings, and what goes wrong. */
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

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define EMPTY_SETTINGS "\0\0\0\x04\0\0\0\0\0"

static struct net_listener_opts grpc_opts(void)
{
    return (struct net_listener_opts){.protocols = NET_LISTEN_GRPC, .body_bytes_max = 4 << 20};
}

static struct slice message_of(const struct h2_call *call)
{
    assert_true(call->body.len >= 5);
    return slice_from(buf_view(&call->body), 5);
}

static void unary_call_is_echoed_many_times_on_one_connection(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    h2_open(&c, f.port, false);
    for (int i = 0; i < 50; i++) {
        struct h2_call call;
        assert_true(h2_unary(&c, &call, i % 10 ? "/t.S/echo" : "/t.S/later", NULL, SLICE("hello")));
        assert_int_equal(call.http_status, 200);
        assert_int_equal(call.grpc_status, 0);
        assert_int_equal(call.error_code, 0);
        assert_true(slice_eq(buf_view(&call.body), SLICE("\0\0\0\0\x05hello")));
        h2_call_clear(&call);
    }
    assert_int_equal(c.max_streams, 100);
    assert_int_equal(fixture_connections(&f, "grpc"), 1);
    h2_shut(&c);
    assert_true(fixture_wait_connections(&f, "grpc", 0));
    fixture_stop(&f);
}

static void empty_message_is_a_message(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    assert_true(h2_unary(&c, &call, "/t.S/echo", NULL, SLICE("")));
    assert_int_equal(call.grpc_status, 0);
    assert_true(slice_eq(buf_view(&call.body), SLICE("\0\0\0\0\0")));
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void handler_sees_path_metadata_and_deadline(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    const struct h2_header extra[] = {{"x-scope-orgid", "t1"},
                                      {"grpc-timeout", "250m"},
                                      {"content-type", "application/grpc+proto"},
                                      {NULL, NULL}};
    h2_open(&c, f.port, false);
    assert_true(h2_unary(&c, &call, "/pkg.Service/show", extra, SLICE("")));
    assert_int_equal(call.grpc_status, 0);
    buf_u8(&call.body, 0);
    const char *text = (const char *)call.body.ptr + 5;
    assert_true(strncmp(text, "POST|/pkg.Service/show|\n", 24) == 0);
    assert_non_null(strstr(text, "\nx-scope-orgid: t1\n"));
    assert_non_null(strstr(text, "\ndeadline: +250 ms\n"));
    assert_null(strstr(text, "\n:path"));
    h2_call_clear(&call);
    const struct h2_header bad[] = {{"grpc-timeout", "soon"}, {NULL, NULL}};
    assert_true(h2_unary(&c, &call, "/pkg.Service/show", bad, SLICE("")));
    assert_int_equal(call.grpc_status, 13);
    assert_string_equal(call.message, "malformed grpc-timeout");
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void error_is_trailers_only_with_text_and_details(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    assert_true(h2_unary(&c, &call, "/t.S/fail", NULL, SLICE("x")));
    assert_int_equal(call.http_status, 200);
    assert_int_equal(call.grpc_status, 5);
    assert_string_equal(call.message, "not here: 100%25%0A");
    assert_string_equal(call.details, "CAU"); /* no padding */
    assert_int_equal(call.body.len, 0);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void http_answer_is_translated(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    assert_true(h2_unary(&c, &call, "/t.S/plain?status=429", NULL, SLICE("")));
    assert_int_equal(call.grpc_status, 8);
    assert_string_equal(call.message, "plain%0A");
    h2_call_clear(&call);
    assert_true(h2_unary(&c, &call, "/t.S/plain", NULL, SLICE("")));
    assert_int_equal(call.grpc_status, 0);
    assert_true(slice_eq(message_of(&call), SLICE("plain\n")));
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void message_in_single_bytes_is_put_together(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    struct buf framed;
    buf_init(&framed, 100);
    h2_frame(&framed, false, SLICE("one byte at a time"));
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/echo", NULL, slice_of(framed.ptr, 1), true);
    for (size_t i = 1; i <= framed.len; i++) {
        h2_run_once(&c, 0);
        call.send = i < framed.len ? slice_of(framed.ptr + i, 1) : slice_of(NULL, 0);
        call.hold_end = i < framed.len;
        nghttp2_session_resume_data(c.session, call.id);
    }
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 0);
    assert_true(slice_eq(message_of(&call), SLICE("one byte at a time")));
    h2_call_clear(&call);
    buf_clear(&framed);
    h2_shut(&c);
    fixture_stop(&f);
}

static void gzip_message_is_decoded_and_answered_in_gzip(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    struct buf packed;
    struct buf framed;
    static char text[100000];
    memset(text, 'z', sizeof text);
    buf_init(&packed, 1 << 20);
    buf_init(&framed, 1 << 20);
    assert_int_equal(net_gzip(slice_of(text, sizeof text), &packed, NULL), 0);
    h2_frame(&framed, true, buf_view(&packed));
    const struct h2_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/echo", gzip, buf_view(&framed), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 0);
    assert_string_equal(call.encoding, "gzip");
    assert_int_equal(call.body.ptr[0], 1);
    struct buf plain;
    buf_init(&plain, sizeof text);
    assert_int_equal(net_content_decode(SLICE("gzip"), message_of(&call), &plain, NULL), 0);
    assert_true(slice_eq(buf_view(&plain), slice_of(text, sizeof text)));
    h2_call_clear(&call);
    /* A plain message under the same header is allowed (the flag decides). */
    assert_true(h2_unary(&c, &call, "/t.S/echo", gzip, SLICE("plain")));
    assert_int_equal(call.grpc_status, 0);
    h2_call_clear(&call);
    buf_clear(&plain);
    buf_clear(&packed);
    buf_clear(&framed);
    h2_shut(&c);
    fixture_stop(&f);
}

/* Frames that are wrong, and the status and text each is answered with. */
static void bad_messages_are_answered_in_grpcs_words(void **state)
{
    (void)state;
    static const struct {
        struct slice data;
        const char *encoding;
        int status;
        const char *text;
    } cases[] = {
        {{(const uint8_t *)"\0\x40\0\0\0abcde", 10},
         NULL,
         8,
         "grpc: received message larger than max (1073741824 vs. 1000)"},
        {{(const uint8_t *)"\0\0\0\x03\xe9", 5},
         NULL,
         8,
         "grpc: received message larger than max (1001 vs. 1000)"},
        {{(const uint8_t *)"\x02\0\0\0\0", 5},
         NULL,
         13,
         "grpc: received unexpected payload format 2"},
        {{(const uint8_t *)"\x01\0\0\0\x01x", 6},
         NULL,
         13,
         "grpc: compressed flag set with identity or empty encoding"},
        {{(const uint8_t *)"\x01\0\0\0\x01x", 6},
         "gzip",
         13,
         "grpc: failed to decompress the received message: gzip: invalid header"},
        {{(const uint8_t *)"\0\0\0\0\0", 5},
         "br",
         12,
         "grpc: Decompressor is not installed for grpc-encoding \"br\""},
        {{(const uint8_t *)"\0\0\0\0\x05"
                           "abc",
          8},
         NULL,
         13,
         "grpc: unexpected EOF (5 of 5 prefix bytes, 3 of 5 message bytes)"},
        {{(const uint8_t *)"\0\0", 2},
         NULL,
         13,
         "grpc: unexpected EOF (2 of 5 prefix bytes, 0 of 0 message bytes)"},
        {{NULL, 0}, NULL, 13, "grpc: unexpected EOF (0 of 5 prefix bytes, 0 of 0 message bytes)"},
        {{(const uint8_t *)"\0\0\0\0\x01"
                           "a\0\0\0\0\x01"
                           "b",
          12},
         NULL,
         13,
         "grpc: 6 bytes after the message where a unary call has one message"},
    };
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    o.body_bytes_max = 1000;
    fixture_start(&f, &o);
    struct h2_client c;
    h2_open(&c, f.port, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct h2_call call;
        const struct h2_header extra[] = {
            {cases[i].encoding ? "grpc-encoding" : NULL, cases[i].encoding}, {NULL, NULL}};
        h2_call_start(&c, &call, "/t.S/echo", extra, cases[i].data, false);
        assert_true(h2_wait(&c, &call, 5000));
        assert_int_equal(call.http_status, 200);
        assert_int_equal(call.grpc_status, cases[i].status);
        assert_string_equal(call.message, cases[i].text);
        h2_call_clear(&call);
    }
    h2_shut(&c);
    fixture_stop(&f);
}

static void oversize_is_answered_while_the_client_still_sends(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    o.body_bytes_max = 1000;
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    /* Ten bytes that claim a GiB, and no end: the answer comes, then RST_STREAM NO_ERROR. */
    h2_call_start(&c, &call, "/t.S/echo", NULL, SLICE("\0\x40\0\0\0abcde"), true);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 8);
    assert_int_equal(call.error_code, NGHTTP2_NO_ERROR);
    h2_call_clear(&call);
    /* The connection is as good as before. */
    assert_true(h2_unary(&c, &call, "/t.S/echo", NULL, SLICE("still fine")));
    assert_int_equal(call.grpc_status, 0);
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void gzip_bomb_stops_at_the_message_limit(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    o.message_bytes_max = 5000;
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    struct buf packed;
    struct buf framed;
    static char zeros[1 << 20];
    buf_init(&packed, 1 << 20);
    buf_init(&framed, 1 << 20);
    assert_int_equal(net_gzip(slice_of(zeros, sizeof zeros), &packed, NULL), 0);
    h2_frame(&framed, true, buf_view(&packed));
    const struct h2_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/echo", gzip, buf_view(&framed), false);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.grpc_status, 8);
    assert_string_equal(call.message,
                        "grpc: received message after decompression larger than max 5000");
    h2_call_clear(&call);
    buf_clear(&packed);
    buf_clear(&framed);
    h2_shut(&c);
    fixture_stop(&f);
}

static void large_message_and_answer_pass_flow_control(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call calls[4];
    struct buf framed;
    static char text[3 << 20];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    buf_init(&framed, 4 << 20);
    h2_frame(&framed, false, slice_of(text, sizeof text));
    h2_open(&c, f.port, false);
    for (int i = 0; i < 4; i++)
        h2_call_start(&c, &calls[i], "/t.S/echo", NULL, buf_view(&framed), false);
    for (int i = 0; i < 4; i++) {
        assert_true(h2_wait(&c, &calls[i], 20000));
        assert_int_equal(calls[i].grpc_status, 0);
        assert_true(slice_eq(message_of(&calls[i]), slice_of(text, sizeof text)));
        h2_call_clear(&calls[i]);
    }
    buf_clear(&framed);
    h2_shut(&c);
    fixture_stop(&f);
}

static void answer_waits_for_a_client_that_opens_no_window(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, true);
    h2_call_start(&c, &call, "/t.S/big", NULL, SLICE("\0\0\0\0\0"), false);
    while (h2_run_once(&c, 200))
        ;
    assert_int_equal(call.body.len, 65535); /* the window, and not a byte more */
    assert_false(net_server_idle(f.server, 0));
    while (!call.closed) {
        nghttp2_session_consume(c.session, call.id, 40000);
        h2_run_once(&c, 1000);
        assert_false(c.broken);
    }
    assert_int_equal(call.grpc_status, 0);
    assert_int_equal(call.body.len, FIXTURE_BIG_BYTES + 5);
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void answers_wait_for_a_socket_that_is_full(void **state)
{
    (void)state;
    enum { N = 6 };
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call calls[N];
    h2_open_wide(&c, f.port);
    for (int i = 0; i < N; i++)
        h2_call_start(&c, &calls[i], "/t.S/big", NULL, SLICE("\0\0\0\0\0"), false);
    assert_true(h2_send(&c));
    /* Not all of them: while the socket is full, further requests are not even read. */
    while (fixture_calls(&f) == 0)
        sleep_ms(1);
    sleep_ms(100);
    assert_false(net_server_idle(f.server, 0));
    for (int i = 0; i < N; i++) {
        assert_true(h2_wait(&c, &calls[i], 20000));
        assert_int_equal(calls[i].grpc_status, 0);
        struct slice text = message_of(&calls[i]);
        assert_int_equal(text.len, FIXTURE_BIG_BYTES);
        for (size_t k = 0; k < text.len; k += 1009)
            assert_true(text.ptr[k] == 'a' + k % 26);
        h2_call_clear(&calls[i]);
    }
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    h2_shut(&c);
    fixture_stop(&f);
}

/* Wakes the loop of a server whose clock was turned. */
static void poke(struct net_fixture *f)
{
    close(tcp_connect(f->port));
}

static void answer_that_is_not_taken_is_given_up(void **state)
{
    (void)state;
    struct turned_clock clock;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    turned_clock_init(&clock);
    fixture_start_at(&f, &o, &clock.clock);
    /* No window: the stream is reset, the connection stays. */
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, true);
    h2_call_start(&c, &call, "/t.S/big", NULL, SLICE("\0\0\0\0\0"), false);
    while (h2_run_once(&c, 200))
        ;
    assert_false(call.closed);
    clock.ahead_ns += 100 * NS_PER_S; /* 30 s, and 48 s for 3 MiB */
    poke(&f);
    assert_true(h2_wait(&c, &call, 5000));
    assert_int_equal(call.error_code, NGHTTP2_CANCEL);
    h2_call_clear(&call);
    nghttp2_session_consume_connection(c.session, 65535);
    assert_true(h2_unary(&c, &call, "/t.S/echo", NULL, SLICE("")));
    assert_int_equal(call.grpc_status, 0);
    h2_call_clear(&call);
    h2_shut(&c);
    /* A full socket: nothing more can be said, so it is closed. */
    struct h2_call calls[6];
    h2_open_wide(&c, f.port);
    for (int i = 0; i < 6; i++)
        h2_call_start(&c, &calls[i], "/t.S/big", NULL, SLICE("\0\0\0\0\0"), false);
    assert_true(h2_send(&c));
    while (fixture_calls(&f) < 3)
        sleep_ms(1);
    sleep_ms(100);
    assert_false(net_server_idle(f.server, 0));
    clock.ahead_ns += 40 * NS_PER_S;
    poke(&f);
    assert_true(fixture_wait_connections(&f, "grpc", 0));
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock.clock) + 5 * NS_PER_S));
    for (int i = 0; i < 6; i++)
        h2_call_clear(&calls[i]);
    h2_shut(&c);
    fixture_stop(&f);
}

static void refused_message_leaves_an_empty_body(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    f.hold_errors = true;
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/hold", NULL,
                  SLICE("\0\0\0\0\x05"
                        "abc"),
                  false);
    h2_run_once(&c, 50);
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    assert_int_equal(req->body_rc, ERR_CORRUPT);
    assert_int_equal(req->body.len, 0);
    net_reply_grpc(req, 13, SLICE("x"), SLICE(""), NULL);
    assert_true(h2_wait(&c, &call, 5000));
    h2_call_clear(&call);
    h2_shut(&c);
    fixture_stop(&f);
}

static void what_is_no_grpc_call_is_refused(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    h2_open(&c, f.port, false);
    static const struct {
        struct h2_header extra[2];
        int status;
    } cases[] = {
        {{{"content-type", "application/json"}}, 415},      {{{"content-type", NULL}}, 415},
        {{{"content-type", "application/grpcx"}}, 415},     {{{":method", "GET"}}, 405},
        {{{"content-type", "application/grpc; v=1"}}, 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct h2_call call;
        assert_true(h2_unary(&c, &call, "/t.S/echo", cases[i].extra, SLICE("x")));
        assert_int_equal(call.http_status, cases[i].status);
        h2_call_clear(&call);
    }
    assert_int_equal(fixture_calls(&f), 1);
    /* Headers past 16 KiB. */
    static char long_value[LIMIT_HTTP2_HEADER_BYTES];
    memset(long_value, 'v', sizeof long_value - 1);
    const struct h2_header extra[] = {{"x-long", long_value}, {NULL, NULL}};
    struct h2_call call;
    assert_true(h2_unary(&c, &call, "/t.S/echo", extra, SLICE("x")));
    assert_int_equal(call.http_status, 431);
    h2_call_clear(&call);
    assert_int_equal(fixture_calls(&f), 1);
    h2_shut(&c);
    fixture_stop(&f);
}

static void replies_find_their_streams_in_any_order(void **state)
{
    (void)state;
    enum { N = 100 };
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call calls[N];
    static uint8_t framed[N][6];
    h2_open(&c, f.port, false);
    for (int i = 0; i < N; i++) {
        memcpy(framed[i], "\0\0\0\0\x01", 5);
        framed[i][5] = (uint8_t)i;
        h2_call_start(&c, &calls[i], "/t.S/hold", NULL, slice_of(framed[i], 6), false);
    }
    h2_run_once(&c, 100);
    for (int i = 0; i < N; i++) {
        struct net_request *req = fixture_take_held(&f); /* last in, first out */
        assert_non_null(req);
        struct buf body;
        buf_init(&body, 8);
        buf_slice(&body, req->body);
        net_reply_grpc(req, 0, SLICE(""), SLICE(""), &body);
    }
    for (int i = 0; i < N; i++) {
        assert_true(h2_wait(&c, &calls[i], 5000));
        assert_int_equal(calls[i].grpc_status, 0);
        assert_int_equal(message_of(&calls[i]).ptr[0], i);
        h2_call_clear(&calls[i]);
    }
    h2_shut(&c);
    fixture_stop(&f);
}

static void client_gone_or_stream_reset_before_the_reply_is_safe(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\x02hi"), false);
    h2_run_once(&c, 50);
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, call.id, NGHTTP2_CANCEL);
    h2_run_once(&c, 50);
    assert_true(slice_eq(req->body, SLICE("hi")));
    net_reply_grpc(req, 1, SLICE("cancelled"), SLICE(""), NULL);
    h2_call_clear(&call);
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    h2_call_start(&c, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\x02ho"), false);
    h2_run_once(&c, 50);
    req = fixture_take_held(&f);
    assert_non_null(req);
    h2_shut(&c);
    assert_true(fixture_wait_connections(&f, "grpc", 0));
    assert_true(slice_eq(req->body, SLICE("ho")));
    struct buf body;
    buf_init(&body, 8);
    buf_str(&body, "x");
    net_reply_grpc(req, 0, SLICE(""), SLICE(""), &body);
    h2_call_clear(&call);
    /* And after the server. */
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\x02he"), false);
    h2_run_once(&c, 50);
    req = fixture_take_held(&f);
    assert_non_null(req);
    fixture_stop(&f);
    assert_true(slice_eq(req->body, SLICE("he")));
    net_reply_grpc(req, 0, SLICE(""), SLICE(""), &(struct buf){0});
    h2_call_clear(&call);
    h2_shut(&c);
}

static void slow_requests_are_reset_and_silent_connections_closed(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    o.read_timeout_ms = 150;
    o.idle_timeout_ms = 150;
    fixture_start(&f, &o);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    h2_call_start(&c, &call, "/t.S/echo", NULL,
                  SLICE("\0\0\0\0\x0a"
                        "half"),
                  true);
    assert_true(h2_wait(&c, &call, 3000));
    assert_int_equal(call.error_code, NGHTTP2_CANCEL);
    assert_int_equal(call.grpc_status, -1);
    h2_call_clear(&call);
    /* Idle now: GOAWAY, then the end. */
    assert_true(h2_wait_closed(&c, 3000));
    assert_true(c.goaway);
    h2_shut(&c);
    /* Nothing at all, half a preface, a preface and no SETTINGS. */
    static const char *const starts[] = {"", "PRI * HT", PREFACE};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        int fd = tcp_connect(f.port);
        assert_true(tcp_puts(fd, starts[i]));
        assert_true(tcp_closed_within(fd, 3000));
        close(fd);
    }
    assert_int_equal(fixture_calls(&f), 0);
    fixture_stop(&f);
}

static void garbage_closes_the_connection(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        {(const uint8_t *)"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 26},
        {(const uint8_t *)PREFACE "\xff\xff\xff\x04\0\0\0\0\0", 33},
        {(const uint8_t *)PREFACE EMPTY_SETTINGS "\0\0\x05\x01\x05\0\0\0\x01\xff\xff\xff\xff\xff",
         47},
        {(const uint8_t *)PREFACE EMPTY_SETTINGS "\0\0\0\x01\x05\0\0\0\x02", 42},
        {(const uint8_t *)PREFACE EMPTY_SETTINGS "\0\0\x01\0\0\0\0\0\x01x", 43},
    };
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = tcp_connect(f.port);
        assert_true(tcp_send(fd, bad[i].ptr, bad[i].len));
        assert_true(tcp_closed_within(fd, 3000));
        close(fd);
    }
    assert_true(fixture_wait_connections(&f, "grpc", 0));
    assert_int_equal(fixture_calls(&f), 0);
    fixture_stop(&f);
}

/* Any byte of a good exchange may be wrong, or the last one: the server must stay up. */
static void flipped_and_cut_bytes_leave_the_server_up(void **state)
{
    (void)state;
    /* HEADERS with literal header fields, then a DATA frame with one message. */
    static const char good[] = PREFACE EMPTY_SETTINGS "\0\0\x30\x01\x04\0\0\0\x01"
                                                      "\x83\x86\x04\x09/t.S/echo\x41\x01h"
                                                      "\x0f\x10\x10"
                                                      "application/grpc"
                                                      "\x40\x02"
                                                      "te"
                                                      "\x08"
                                                      "trailers"
                                                      "\0\0\x08\0\x01\0\0\0\x01\0\0\0\0\x03"
                                                      "abc";
    const size_t len = sizeof good - 1;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    for (size_t i = 0; i < 2 * len; i++) {
        char bytes[sizeof good];
        memcpy(bytes, good, sizeof good);
        size_t n = i < len ? len : i - len;
        if (i < len)
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
        int fd = tcp_connect(f.port);
        assert_true(fd >= 0);
        tcp_send(fd, bytes, n);
        shutdown(fd, SHUT_WR);
        assert_true(tcp_closed_within(fd, 5000));
        close(fd);
    }
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    size_t before = fixture_calls(&f);
    int fd = tcp_connect(f.port);
    tcp_send(fd, good, len);
    char back[4096];
    size_t got = 0;
    for (long n; !memmem(back, got,
                         "\0\0\0\0\x03"
                         "abc",
                         8) &&
                 got < sizeof back;
         got += (size_t)n) {
        n = tcp_recv(fd, back + got, sizeof back - got, 5000);
        assert_true(n > 0);
    }
    close(fd);
    assert_int_equal(fixture_calls(&f), before + 1);
    fixture_stop(&f);
}

static void reset_flood_ends_the_connection(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    struct h2_client c;
    h2_open(&c, f.port, false);
    size_t sent = 0;
    for (; sent < 5000 && !c.broken && !c.goaway; sent++) {
        struct h2_call call;
        h2_call_start(&c, &call, "/t.S/echo", NULL, SLICE("\0"), true);
        h2_run_once(&c, 0);
        nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, call.id, NGHTTP2_CANCEL);
        h2_run_once(&c, 0);
        nghttp2_session_set_stream_user_data(c.session, call.id, NULL);
        h2_call_clear(&call);
    }
    assert_true(c.broken || c.goaway);
    assert_true(sent >= 900);
    assert_true(h2_wait_closed(&c, 3000));
    h2_shut(&c);
    fixture_stop(&f);
}

static void streams_past_the_limit_are_refused(void **state)
{
    (void)state;
    enum { N = 130 };
    struct net_fixture f;
    struct net_listener_opts o = grpc_opts();
    fixture_start(&f, &o);
    /* Raw frames, since a proper client keeps to the limit: HEADERS only, no END_STREAM. */
    static const char head[] = "\x83\x86\x04\x09/t.S/echo\x41\x01h"
                               "\x0f\x10\x10"
                               "application/grpc";
    int fd = tcp_connect(f.port);
    assert_true(tcp_send(fd, PREFACE EMPTY_SETTINGS, 33)); /* and no ACK */
    for (unsigned i = 0; i < N; i++) {
        unsigned id = 2 * i + 1;
        uint8_t frame[9 + sizeof head - 1] = {0, 0, sizeof head - 1,    1,          4,
                                              0, 0, (uint8_t)(id >> 8), (uint8_t)id};
        memcpy(frame + 9, head, sizeof head - 1);
        assert_true(tcp_send(fd, frame, sizeof frame));
    }
    size_t refused = 0;
    uint8_t bytes[8192];
    size_t got = 0;
    while (refused < N - 100) {
        long n = tcp_recv(fd, bytes + got, sizeof bytes - got, 3000);
        assert_true(n > 0);
        got += (size_t)n;
        refused = 0;
        for (size_t at = 0; at + 9 <= got;) {
            size_t len = (size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2];
            if (at + 9 + len > got)
                break;
            refused +=
                bytes[at + 3] == NGHTTP2_RST_STREAM && bytes[at + 12] == NGHTTP2_REFUSED_STREAM;
            at += 9 + len;
        }
    }
    assert_int_equal(refused, N - 100);
    close(fd);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_call_is_echoed_many_times_on_one_connection),
        cmocka_unit_test(empty_message_is_a_message),
        cmocka_unit_test(handler_sees_path_metadata_and_deadline),
        cmocka_unit_test(error_is_trailers_only_with_text_and_details),
        cmocka_unit_test(http_answer_is_translated),
        cmocka_unit_test(message_in_single_bytes_is_put_together),
        cmocka_unit_test(gzip_message_is_decoded_and_answered_in_gzip),
        cmocka_unit_test(bad_messages_are_answered_in_grpcs_words),
        cmocka_unit_test(oversize_is_answered_while_the_client_still_sends),
        cmocka_unit_test(gzip_bomb_stops_at_the_message_limit),
        cmocka_unit_test(large_message_and_answer_pass_flow_control),
        cmocka_unit_test(answer_waits_for_a_client_that_opens_no_window),
        cmocka_unit_test(answers_wait_for_a_socket_that_is_full),
        cmocka_unit_test(answer_that_is_not_taken_is_given_up),
        cmocka_unit_test(refused_message_leaves_an_empty_body),
        cmocka_unit_test(what_is_no_grpc_call_is_refused),
        cmocka_unit_test(replies_find_their_streams_in_any_order),
        cmocka_unit_test(client_gone_or_stream_reset_before_the_reply_is_safe),
        cmocka_unit_test(slow_requests_are_reset_and_silent_connections_closed),
        cmocka_unit_test(garbage_closes_the_connection),
        cmocka_unit_test(flipped_and_cut_bytes_leave_the_server_up),
        cmocka_unit_test(reset_flood_ends_the_connection),
        cmocka_unit_test(streams_past_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
