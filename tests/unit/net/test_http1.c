/* HTTP/1.1 over real sockets: what reaches a handler, what does not, and what comes back. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/support/net_fixture.h"

static struct net_listener_opts http_opts(void)
{
    return (struct net_listener_opts){.protocols = NET_LISTEN_HTTP1, .body_bytes_max = 1 << 20};
}

static bool body_is(const struct http_answer *a, const char *text)
{
    return slice_eq(buf_view(&a->body), slice_cstr(text));
}

/* One request on a connection of its own. */
static void ask(struct net_fixture *f, const char *request, struct http_answer *a)
{
    int fd = tcp_connect(f->port);
    assert_true(fd >= 0);
    http_answer_init(a);
    assert_true(tcp_puts(fd, request));
    assert_true(http_read(fd, a));
    close(fd);
}

static void get_is_handed_over_as_it_was_sent(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    fixture_start(&f, &o);
    struct http_answer a;
    ask(&f,
        "GET /a%2Fb/show?q=%7B+%7D&x=1&x=%zz HTTP/1.1\r\nHost: h\r\nX-Scope-OrgID: t|u\r\n"
        "X-Two: 1\r\nX-two: 2\r\nX-Empty:\r\n\r\n",
        &a);
    assert_int_equal(a.status, 200);
    buf_u8(&a.body, 0);
    const char *text = (const char *)a.body.ptr;
    assert_non_null(strstr(text, "GET|/a%2Fb/show|q=%7B+%7D&x=1&x=%zz\n"));
    assert_non_null(strstr(text, "\nx-scope-orgid: t|u\n"));
    assert_non_null(strstr(text, "\nx-two: 1\nx-two: 2\n"));
    assert_non_null(strstr(text, "\nx-empty: \n"));
    assert_non_null(strstr(text, "\npeer: 127.0.0.1:"));
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void absolute_form_gives_the_path(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    fixture_start(&f, &o);
    struct http_answer a;
    ask(&f, "GET http://example.com:80/x/show?y=1 HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_true(slice_starts(buf_view(&a.body), SLICE("GET|/x/show|y=1\n")));
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void keep_alive_serves_many_methods(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    for (int i = 0; i < 20; i++) {
        assert_true(
            tcp_puts(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"));
        assert_true(http_read(fd, &a));
        assert_int_equal(a.status, 200);
        assert_true(body_is(&a, "hello"));
    }
    assert_true(tcp_puts(fd, "DELETE /show HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_true(slice_starts(buf_view(&a.body), SLICE("DELETE|/show|\n")));
    assert_true(tcp_puts(fd, "PATCH /nothing HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 404);
    assert_true(body_is(&a, "not here\n"));
    assert_true(http_has(&a, "Content-Type: text/plain; charset=utf-8"));
    /* HEAD: the length, but no body. The next answer shows that none came. */
    assert_true(tcp_puts(fd, "HEAD /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
                             "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    while (!a.rest.len || !memmem(a.rest.ptr, a.rest.len, "HTTP/1.1 200", 12)) {
        char bytes[512];
        long n = tcp_recv(fd, bytes, sizeof bytes, 5000);
        assert_true(n > 0);
        buf_append(&a.rest, bytes, (size_t)n);
    }
    assert_null(memmem(a.rest.ptr, a.rest.len, "not here", 8));
    assert_int_equal(fixture_connections(&f, "http"), 1);
    close(fd);
    assert_true(fixture_wait_connections(&f, "http", 0));
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    for (int i = 0; i < 50; i++) {
        char text[128];
        snprintf(text, sizeof text, "POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n%02d",
                 i % 10 ? "echo" : "later", i);
        assert_true(tcp_puts(fd, text));
    }
    for (int i = 0; i < 50; i++) {
        char want[16];
        snprintf(want, sizeof want, "%02d", i);
        assert_true(http_read(fd, &a));
        assert_true(body_is(&a, want));
    }
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void chunked_body_in_single_bytes_is_put_together(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    const char *text = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\n\r\n";
    for (const char *p = text; *p; p++)
        assert_true(tcp_send(fd, p, 1));
    assert_true(http_read(fd, &a));
    assert_true(body_is(&a, "abcdefgh"));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void answer_may_come_from_another_thread(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    struct http_answer a;
    ask(&f, "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nlate", &a);
    assert_int_equal(a.status, 200);
    assert_true(body_is(&a, "late"));
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void reply_to_a_client_that_left_is_dropped(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* RST, the rudest way */
    close(fd);
    sleep_ms(20);
    assert_true(slice_eq(req->body, SLICE("hi"))); /* still there */
    assert_false(net_server_idle(f.server, 0));
    net_reply_text(req, 200, SLICE("to nobody"));
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    assert_true(fixture_wait_connections(&f, "http", 0));
    fixture_stop(&f);
}

static void reply_after_the_server_is_gone_is_safe(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    fixture_stop(&f);
    assert_true(slice_eq(req->path, SLICE("/hold")));
    net_reply_text(req, 200, SLICE("too late"));
    assert_true(tcp_closed_within(fd, 1000));
    close(fd);
}

static void half_request_is_cut_at_the_read_timeout(void **state)
{
    (void)state;
    static const char *const halves[] = {
        "", "GET", "GET /echo HTTP/1.1\r\nHost: h\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 150;
    fixture_start(&f, &o);
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        int fd = tcp_connect(f.port);
        uint64_t start = now_ms();
        assert_true(tcp_puts(fd, halves[i]));
        assert_true(tcp_closed_within(fd, 3000));
        assert_true(now_ms() - start >= 100);
        close(fd);
    }
    assert_int_equal(fixture_calls(&f), 0);
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    fixture_stop(&f);
}

static void slow_client_is_cut_though_it_keeps_sending(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 200;
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    uint64_t start = now_ms();
    assert_true(tcp_puts(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"));
    bool cut = false;
    while (!cut && now_ms() - start < 3000) {
        cut = !tcp_send(fd, "x", 1);
        char c;
        long n = tcp_recv(fd, &c, 1, 10);
        cut = cut || n == 0 || n == -2;
    }
    assert_true(cut);
    assert_true(now_ms() - start >= 150);
    assert_true(now_ms() - start < 1500);
    assert_int_equal(fixture_calls(&f), 0);
    close(fd);
    fixture_stop(&f);
}

static void request_line_does_not_begin_the_time_anew(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 1000;
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    uint64_t start = now_ms();
    sleep_ms(700);
    assert_true(tcp_puts(fd, "GET /echo HTTP/1.1\r\n"));
    assert_true(tcp_closed_within(fd, 3000));
    assert_true(now_ms() - start < 1600);
    close(fd);
    fixture_stop(&f);
}

static void client_that_never_reads_is_cut(void **state)
{
    (void)state;
    struct turned_clock clock;
    struct net_fixture f;
    turned_clock_init(&clock);
    fixture_start_at(&f, NULL, &clock.clock);
    int fd = tcp_connect_narrow(f.port);
    assert_true(tcp_puts(fd, "GET /big?bytes=20000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
    while (fixture_calls(&f) == 0)
        sleep_ms(1);
    sleep_ms(100);
    assert_false(net_server_idle(f.server, 0));
    clock.ahead_ns += 400 * NS_PER_S; /* 30 s, and 305 s for its size */
    close(tcp_connect(f.port));       /* wakes the loop, which sleeps by the system's clock */
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock.clock) + 5 * NS_PER_S));
    assert_true(fixture_wait_connections(&f, "http", 0));
    close(fd);
    fixture_stop(&f);
}

static void handler_may_take_longer_than_any_timeout(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 60;
    o.idle_timeout_ms = 60;
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    sleep_ms(250);
    net_reply_text(req, 200, SLICE("slow but sure"));
    assert_true(http_read(fd, &a));
    assert_true(body_is(&a, "slow but sure"));
    /* And then the idle time ends it. */
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void idle_time_is_not_read_time(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 50;
    o.idle_timeout_ms = 5000;
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    for (int i = 0; i < 3; i++) {
        assert_true(tcp_puts(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_true(http_read(fd, &a));
        assert_int_equal(a.status, 200);
        sleep_ms(150);
    }
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void body_past_the_limit_is_told_to_the_handler(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.body_bytes_max = 1000;
    fixture_start(&f, &o);
    static char big[4000];
    memset(big, 'x', sizeof big);
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = tcp_connect(f.port);
        struct http_answer a;
        http_answer_init(&a);
        assert_true(tcp_puts(fd, chunked ? "POST /echo HTTP/1.1\r\nHost: h\r\n"
                                           "Transfer-Encoding: chunked\r\n\r\nfa0\r\n"
                                         : "POST /echo HTTP/1.1\r\nHost: h\r\n"
                                           "Content-Length: 4000\r\n\r\n"));
        assert_true(tcp_send(fd, big, sizeof big));
        if (chunked)
            assert_true(tcp_puts(fd, "\r\n0\r\n\r\n"));
        assert_true(http_read(fd, &a));
        assert_int_equal(a.status, 413);
        assert_true(body_is(&a, "http: request body too large"));
        assert_true(http_has(&a, "Connection: close"));
        assert_true(tcp_closed_within(fd, 1000));
        close(fd);
        http_answer_clear(&a);
    }
    assert_int_equal(fixture_calls(&f), 2);
    /* Exactly the limit is fine. */
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"));
    assert_true(tcp_send(fd, big, 1000));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 1000);
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void huge_claim_is_refused_before_the_body(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    fixture_start(&f, &o);
    struct http_answer a;
    ask(&f, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 109951162777600\r\n\r\n", &a);
    assert_int_equal(a.status, 413);
    assert_true(http_has(&a, "Connection: close"));
    http_answer_clear(&a);
    /* A claim below the limit takes no memory either: it only waits for bytes. */
    int fd = tcp_connect(f.port);
    assert_true(
        tcp_puts(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\nab"));
    close(fd);
    fixture_stop(&f);
}

static void expect_continue_is_granted_or_refused(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.body_bytes_max = 1000;
    fixture_start(&f, &o);
    struct http_answer a;
    http_answer_init(&a);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                             "Content-Length: 3\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 100);
    assert_true(tcp_puts(fd, "abc"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    assert_true(body_is(&a, "abc"));
    close(fd);
    http_answer_clear(&a);
    ask(&f,
        "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n",
        &a);
    assert_int_equal(a.status, 413);
    http_answer_clear(&a);
    /* Refused later, by another thread than the loop. */
    f.hold_errors = true;
    fd = tcp_connect(f.port);
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "POST /hold HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                             "Content-Length: 1001\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    assert_int_equal(req->body_rc, ERR_LIMIT);
    sleep_ms(30);
    net_reply_text(req, 413, SLICE("no"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 413);
    assert_true(tcp_closed_within(fd, 1000));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void head_past_the_limit_is_refused(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "GET /echo HTTP/1.1\r\nHost: h\r\nX: "));
    static char fill[1024];
    memset(fill, 'y', sizeof fill);
    for (int i = 0; i < 2000 && tcp_send(fd, fill, sizeof fill); i++)
        ;
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    assert_int_equal(fixture_calls(&f), 0);
    fixture_stop(&f);
}

static void what_is_no_request_is_told_so(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET /echo HTTP/1.1\r\n\r\n", 400},
        {"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"BREW /echo HTTP/1.1\r\nHost: h\r\n\r\n", 501},
        {"GET /echo HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"GET /e cho HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /echo HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc", 400},
        /* Two lengths, two codings: whose request is the next one? */
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
         400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400},
    };
    struct net_fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = tcp_connect(f.port);
        struct http_answer a;
        http_answer_init(&a);
        assert_true(tcp_puts(fd, cases[i].text));
        assert_true(http_read(fd, &a));
        assert_int_equal(a.status, cases[i].status);
        assert_true(http_has(&a, "Connection: close"));
        assert_true(tcp_closed_within(fd, 1000));
        close(fd);
        http_answer_clear(&a);
    }
    assert_int_equal(fixture_calls(&f), 0);
    fixture_stop(&f);
}

static void old_clients_are_answered_and_closed_unless_they_ask_otherwise(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    struct http_answer a;
    int fd = tcp_connect(f.port);
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /plain HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    assert_true(http_has(&a, "Connection: keep-alive"));
    assert_true(tcp_puts(fd, "GET /plain HTTP/1.0\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    assert_true(http_has(&a, "Connection: close"));
    assert_true(tcp_closed_within(fd, 1000));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void an_upgrade_may_be_passed_over_and_is(void **state)
{
    (void)state;
    struct net_fixture f;
    struct http_answer a;
    fixture_start(&f, NULL);
    ask(&f,
        "GET /plain HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        &a);
    assert_int_equal(a.status, 200);
    assert_true(body_is(&a, "plain\n"));
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void a_client_that_half_closes_gets_its_answer_and_shows_as_gone(void **state)
{
    (void)state;
    struct net_fixture f;
    struct http_answer a;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    assert_false(net_request_gone(req));
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 500 && !net_request_gone(req); i++)
        sleep_ms(1);
    assert_true(net_request_gone(req));
    net_reply_text(req, 200, SLICE("all the same"));
    assert_true(http_read(fd, &a));
    assert_true(body_is(&a, "all the same"));
    assert_true(tcp_closed_within(fd, 1000));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

/* What is kept between requests would be kept by thousands of clients. */
static void an_idle_connection_keeps_no_memory(void **state)
{
    (void)state;
    enum { N = 400 };
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fds[N];
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < N; i++) {
        struct http_answer a;
        http_answer_init(&a);
        fds[i] = tcp_connect(f.port);
        assert_true(tcp_puts(fds[i], "GET /big?bytes=100000 HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_true(http_read(fds[i], &a));
        http_answer_clear(&a);
    }
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_true(after < before + N * (size_t)1024);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    fixture_stop(&f);
}

static void garbage_reaches_no_handler(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n\r\n\r\n",
        "\x16\x03\x01\x02garbage\r\n\r\n",
        "GET\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\r\n", /* no Host */
        "GET /echo HTTP/9.9\r\nHost: h\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct net_fixture f;
    struct net_listener_opts o = http_opts();
    o.read_timeout_ms = 300;
    fixture_start(&f, &o);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = tcp_connect(f.port);
        assert_true(tcp_puts(fd, bad[i]));
        shutdown(fd, SHUT_WR);
        assert_true(tcp_closed_within(fd, 3000));
        close(fd);
    }
    assert_int_equal(fixture_calls(&f), 0);
    fixture_stop(&f);
}

static void large_text_is_compressed_where_it_is_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        const char *accept;
        bool packed;
    } cases[] = {
        {"1024", "deflate, gzip;q=0.5", true},
        {"1023", "gzip", false},
        {"5000", "gzip;q=0", false},
        {"5000", "br", false},
        {"5000", "GZIP", true},
        {"3000000", "gzip", true},
        {"3000000", "identity", false},
    };
    struct net_fixture f;
    fixture_start(&f, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        struct http_answer a;
        uint64_t bytes;
        assert_true(parse_u64(slice_cstr(cases[i].bytes), &bytes));
        snprintf(text, sizeof text,
                 "GET /big?bytes=%s HTTP/1.1\r\nHost: h\r\nAccept-Encoding: %s\r\n\r\n",
                 cases[i].bytes, cases[i].accept);
        ask(&f, text, &a);
        assert_int_equal(a.status, 200);
        assert_true(http_has(&a, "Vary: Accept-Encoding"));
        assert_int_equal(http_has(&a, "Content-Encoding: gzip"), cases[i].packed);
        struct buf plain;
        buf_init(&plain, 4 << 20);
        assert_int_equal(net_content_decode(cases[i].packed ? SLICE("gzip") : SLICE(""),
                                            buf_view(&a.body), &plain, NULL),
                         0);
        assert_int_equal(plain.len, bytes);
        for (size_t k = 0; k < plain.len; k++)
            assert_true(plain.ptr[k] == 'a' + k % 26);
        buf_clear(&plain);
        http_answer_clear(&a);
    }
    fixture_stop(&f);
}

static void reply_headers_are_sent_and_cannot_break_out(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    struct net_header headers[] = {
        {SLICE("Retry-After"), SLICE("5")},
        {SLICE("X-Evil"), SLICE("a\r\nX-Injected: yes")},
    };
    struct net_reply reply = {.status = 429, .headers = headers, .header_count = 2};
    net_reply(req, &reply, false);
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 429);
    assert_int_equal(a.body.len, 0);
    assert_true(http_has(&a, "Retry-After: 5"));
    assert_false(http_has(&a, "X-Injected: yes"));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

static void two_hundred_connections_wait_without_threads(void **state)
{
    (void)state;
    enum { N = 200 };
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fds[N];
    for (int i = 0; i < N; i++) {
        char text[96];
        fds[i] = tcp_connect(f.port);
        assert_true(fds[i] >= 0);
        snprintf(text, sizeof text, "GET /%d/hold HTTP/1.1\r\nHost: h\r\n\r\n", i);
        assert_true(tcp_puts(fds[i], text));
    }
    assert_true(fixture_wait_connections(&f, "http", N));
    for (int i = 0; i < N; i++) {
        struct net_request *req = fixture_take_held(&f);
        assert_non_null(req);
        char path[32];
        snprintf(path, sizeof path, "%.*s", SLICE_ARGS(req->path));
        net_reply_text(req, 200, slice_cstr(path));
    }
    for (int i = 0; i < N; i++) {
        struct http_answer a;
        char want[32];
        http_answer_init(&a);
        snprintf(want, sizeof want, "/%d/hold", i);
        assert_true(http_read(fds[i], &a));
        assert_true(body_is(&a, want));
        http_answer_clear(&a);
        close(fds[i]);
    }
    assert_true(fixture_wait_connections(&f, "http", 0));
    fixture_stop(&f);
}

static void client_that_does_not_read_is_served_when_it_does(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /big?bytes=20000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
    sleep_ms(100);
    assert_false(net_server_idle(f.server, 0));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.body.len, 20000000);
    assert_true(net_server_idle(f.server, clock_mono_ns(&clock_system) + 5 * NS_PER_S));
    close(fd);
    http_answer_clear(&a);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_is_handed_over_as_it_was_sent),
        cmocka_unit_test(absolute_form_gives_the_path),
        cmocka_unit_test(keep_alive_serves_many_methods),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(chunked_body_in_single_bytes_is_put_together),
        cmocka_unit_test(answer_may_come_from_another_thread),
        cmocka_unit_test(reply_to_a_client_that_left_is_dropped),
        cmocka_unit_test(reply_after_the_server_is_gone_is_safe),
        cmocka_unit_test(half_request_is_cut_at_the_read_timeout),
        cmocka_unit_test(slow_client_is_cut_though_it_keeps_sending),
        cmocka_unit_test(request_line_does_not_begin_the_time_anew),
        cmocka_unit_test(client_that_never_reads_is_cut),
        cmocka_unit_test(handler_may_take_longer_than_any_timeout),
        cmocka_unit_test(idle_time_is_not_read_time),
        cmocka_unit_test(body_past_the_limit_is_told_to_the_handler),
        cmocka_unit_test(huge_claim_is_refused_before_the_body),
        cmocka_unit_test(expect_continue_is_granted_or_refused),
        cmocka_unit_test(head_past_the_limit_is_refused),
        cmocka_unit_test(what_is_no_request_is_told_so),
        cmocka_unit_test(old_clients_are_answered_and_closed_unless_they_ask_otherwise),
        cmocka_unit_test(an_upgrade_may_be_passed_over_and_is),
        cmocka_unit_test(a_client_that_half_closes_gets_its_answer_and_shows_as_gone),
        cmocka_unit_test(an_idle_connection_keeps_no_memory),
        cmocka_unit_test(garbage_reaches_no_handler),
        cmocka_unit_test(large_text_is_compressed_where_it_is_accepted),
        cmocka_unit_test(reply_headers_are_sent_and_cannot_break_out),
        cmocka_unit_test(two_hundred_connections_wait_without_threads),
        cmocka_unit_test(client_that_does_not_read_is_served_when_it_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
