/* The server as a whole: addresses, both protocols on one port, draining, limits. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/net_server_priv.h"
#include "tests/support/h2_client.h"
#include "tests/support/net_fixture.h"

static uint64_t in_ms(uint64_t ms)
{
    return clock_mono_ns(&clock_system) + ms * NS_PER_MS;
}

static void get_echo(uint16_t port, int expected)
{
    struct http_answer a;
    int fd = tcp_connect(port);
    assert_true(fd >= 0);
    http_answer_init(&a);
    assert_true(tcp_puts(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, expected);
    http_answer_clear(&a);
    close(fd);
}

static void one_port_speaks_both_protocols(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    struct h2_client c;
    struct h2_call call;
    h2_open(&c, f.port, false);
    assert_true(h2_unary(&c, &call, "/t.S/echo", NULL, SLICE("grpc")));
    assert_int_equal(call.grpc_status, 0);
    h2_call_clear(&call);
    get_echo(f.port, 200);
    assert_int_equal(fixture_connections(&f, "grpc"), 1);
    /* First bytes one by one, and a method that starts like the preface. */
    int fd = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    for (const char *p = "PROPFIND /echo HTTP/1.1\r\nHost: h\r\n\r\n"; *p; p++) {
        assert_true(tcp_send(fd, p, 1));
        if (*p == 'P')
            sleep_ms(5);
    }
    assert_true(http_read(fd, &a));
    assert_int_equal(a.status, 200);
    close(fd);
    http_answer_clear(&a);
    fd = tcp_connect(f.port);
    const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (size_t i = 0; i < sizeof preface - 1; i++) {
        assert_true(tcp_send(fd, preface + i, 1));
        sleep_ms(1);
    }
    uint8_t settings[9];
    assert_true(tcp_recv(fd, settings, sizeof settings, 5000) == 9);
    assert_int_equal(settings[3], NGHTTP2_SETTINGS);
    close(fd);
    /* Undecided and gone. */
    fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "PRI * H"));
    shutdown(fd, SHUT_WR);
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    h2_shut(&c);
    fixture_stop(&f);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void undecided_connection_is_cut_at_the_read_timeout(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = {
        .protocols = NET_LISTEN_HTTP1 | NET_LISTEN_GRPC,
        .body_bytes_max = 1000,
        .read_timeout_ms = 300,
    };
    fixture_start(&f, &o);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "PRI"));
    uint64_t before_ns = cpu_ns();
    assert_true(tcp_closed_within(fd, 3000));
    assert_true(cpu_ns() - before_ns < 100 * NS_PER_MS); /* it waited, and did not spin */
    close(fd);
    fixture_stop(&f);
}

static void http_is_not_spoken_where_it_is_not_listened_for(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts grpc = {.protocols = NET_LISTEN_GRPC, .body_bytes_max = 1000};
    struct net_listener_opts http = {.protocols = NET_LISTEN_HTTP1, .body_bytes_max = 1000};
    fixture_start(&f, &grpc);
    uint16_t http_port = fixture_listen(&f, &http);
    int fd = tcp_connect(f.port);
    assert_true(tcp_puts(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    fd = tcp_connect(http_port);
    assert_true(tcp_puts(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert_true(tcp_closed_within(fd, 3000));
    close(fd);
    get_echo(http_port, 200);
    assert_int_equal(fixture_calls(&f), 1);
    fixture_stop(&f);
}

static void localhost_is_both_loopbacks_on_one_port(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = {
        .address = SLICE("localhost:0"), .protocols = NET_LISTEN_HTTP1, .body_bytes_max = 1000};
    fixture_start(&f, &o);
    get_echo(f.port, 200);
    struct sockaddr_in6 in = {
        .sin6_family = AF_INET6, .sin6_port = htons(f.port), .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 probe = in;
    probe.sin6_port = 0;
    /* A machine without ::1 has nothing to be tested here; the IPv4 half was. */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&probe, sizeof probe) == 0) {
        assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
        struct http_answer a;
        http_answer_init(&a);
        assert_true(tcp_puts(fd, "GET /show HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_true(http_read(fd, &a));
        assert_int_equal(a.status, 200);
        buf_u8(&a.body, 0);
        assert_non_null(strstr((const char *)a.body.ptr, "peer: [::1]:"));
        http_answer_clear(&a);
    }
    if (fd >= 0)
        close(fd);
    fixture_stop(&f);
}

static void addresses_are_understood_or_refused_with_their_name(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int rc;
        const char *text;
    } cases[] = {
        {":0", 0, NULL},
        {"0.0.0.0:0", 0, NULL},
        {"127.0.0.1:0", 0, NULL},
        {"", ERR_INVALID, "listen on : expected host:port, [ipv6]:port or :port"},
        {"localhost", ERR_INVALID, "listen on localhost: expected host:port, [ipv6]:port or :port"},
        {"localhost:", ERR_INVALID,
         "listen on localhost:: expected host:port, [ipv6]:port or :port"},
        {"localhost:x", ERR_INVALID,
         "listen on localhost:x: expected host:port, [ipv6]:port or :port"},
        {"localhost:65536", ERR_INVALID,
         "listen on localhost:65536: expected host:port, [ipv6]:port or :port"},
        {"::1:80", ERR_INVALID, "listen on ::1:80: expected host:port, [ipv6]:port or :port"},
        {"203.0.113.7:0", ERR_IO, "listen on 203.0.113.7:0: Cannot assign requested address"},
    };
    struct net_env env = {.clock = &clock_system};
    struct net_server *s;
    assert_int_equal(net_server_new(&env, &s, NULL), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_listener_opts o = {.address = slice_cstr(cases[i].address),
                                      .protocols = NET_LISTEN_HTTP1};
        struct err err = {0};
        uint16_t port = 0;
        assert_int_equal(net_server_listen(s, &o, &port, &err), cases[i].rc);
        if (cases[i].text)
            assert_string_equal(err.msg, cases[i].text);
        else
            assert_int_not_equal(port, 0);
    }
    net_server_free(s);
}

static void taken_port_is_named(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    char address[32];
    char want[96];
    snprintf(address, sizeof address, "localhost:%u", f.port);
    snprintf(want, sizeof want, "listen on %s: Address already in use", address);
    struct net_listener_opts o = {.address = slice_cstr(address), .protocols = NET_LISTEN_GRPC};
    struct err err = {0};
    uint16_t port;
    assert_int_equal(net_server_listen(f.server, &o, &port, &err), ERR_EXISTS);
    assert_string_equal(err.msg, want);
    fixture_stop(&f);
}

static void peers_are_written_as_addresses(void **state)
{
    (void)state;
    char text[NET_PEER_TEXT];
    struct sockaddr_storage addr = {0};
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(65535)};
    inet_pton(AF_INET6, "::ffff:10.1.2.3", &in.sin6_addr);
    memcpy(&addr, &in, sizeof in);
    net_peer_format(&addr, text);
    assert_string_equal(text, "10.1.2.3:65535");
    inet_pton(AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666", &in.sin6_addr);
    memcpy(&addr, &in, sizeof in);
    net_peer_format(&addr, text);
    assert_string_equal(text, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

static void connections_past_the_limit_are_closed(void **state)
{
    (void)state;
    struct net_fixture f;
    struct net_listener_opts o = {
        .protocols = NET_LISTEN_HTTP1, .body_bytes_max = 1000, .connections_max = 2};
    fixture_start(&f, &o);
    int a = tcp_connect(f.port);
    int b = tcp_connect(f.port);
    assert_true(fixture_wait_connections(&f, "http", 2));
    int over = tcp_connect(f.port);
    assert_true(tcp_closed_within(over, 3000));
    close(over);
    close(a);
    assert_true(fixture_wait_connections(&f, "http", 1));
    get_echo(f.port, 200);
    close(b);
    fixture_stop(&f);
}

static void running_out_of_descriptors_is_survived(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int first = tcp_connect(f.port);
    struct http_answer a;
    http_answer_init(&a);
    assert_true(tcp_puts(first, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(first, &a));
    /* The client's end takes the last free descriptor, so the server's accept finds none. */
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(first);
    assert_true(next >= 0);
    close(next);
    struct rlimit low = {.rlim_cur = (rlim_t)next + 1, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int second = tcp_connect(f.port);
    assert_int_equal(second, next);
    assert_true(tcp_puts(second, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    char c;
    assert_int_equal(tcp_recv(second, &c, 1, 250), -1);
    /* Whoever is connected is still served, and the one that waits is when there is room. */
    assert_true(tcp_puts(first, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(first, &a));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(http_read(second, &a));
    assert_int_equal(a.status, 200);
    http_answer_clear(&a);
    close(first);
    close(second);
    fixture_stop(&f);
}

static void drain_ends_the_idle_and_finishes_the_rest(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    struct http_answer a;
    http_answer_init(&a);
    int idle = tcp_connect(f.port);
    assert_true(tcp_puts(idle, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(http_read(idle, &a));
    int undecided = tcp_connect(f.port);
    int half = tcp_connect(f.port); /* its head is here, its body is under way */
    assert_true(tcp_puts(half, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab"));
    int waiting = tcp_connect(f.port);
    assert_true(tcp_puts(waiting, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"));
    struct net_request *http = fixture_take_held(&f);
    assert_non_null(http);
    struct h2_client quiet;
    struct h2_client busy;
    struct h2_call call;
    h2_open(&quiet, f.port, false);
    while (!quiet.max_streams)
        h2_run_once(&quiet, 1000);
    h2_open(&busy, f.port, false);
    h2_call_start(&busy, &call, "/t.S/hold", NULL, SLICE("\0\0\0\0\x01x"), false);
    h2_run_once(&busy, 100);
    struct net_request *grpc = fixture_take_held(&f);
    assert_non_null(grpc);

    net_server_drain(f.server);
    assert_int_equal(tcp_connect(f.port), -1);
    assert_true(tcp_closed_within(idle, 3000));
    assert_true(tcp_closed_within(undecided, 3000));
    assert_true(h2_wait_closed(&quiet, 3000));
    assert_true(quiet.goaway);
    assert_false(net_server_idle(f.server, in_ms(50)));

    assert_true(tcp_puts(half, "cd"));
    assert_true(http_read(half, &a));
    assert_int_equal(a.status, 200);
    assert_true(slice_eq(buf_view(&a.body), SLICE("abcd")));
    assert_true(http_has(&a, "Connection: close"));
    net_reply_text(http, 200, SLICE("done"));
    assert_true(http_read(waiting, &a));
    assert_true(http_has(&a, "Connection: close"));
    assert_true(tcp_closed_within(waiting, 3000));
    assert_false(net_server_idle(f.server, 0));
    /* A call begun after GOAWAY is not served: the client knows it may go elsewhere. */
    while (!busy.goaway)
        h2_run_once(&busy, 1000);
    size_t calls = fixture_calls(&f);
    net_reply_grpc(grpc, 0, SLICE(""), SLICE(""), &(struct buf){0});
    assert_true(h2_wait(&busy, &call, 3000));
    assert_int_equal(call.grpc_status, 0);
    assert_true(h2_wait_closed(&busy, 3000));
    assert_int_equal(fixture_calls(&f), calls);
    assert_true(net_server_idle(f.server, in_ms(5000)));

    h2_call_clear(&call);
    http_answer_clear(&a);
    h2_shut(&quiet);
    h2_shut(&busy);
    close(idle);
    close(undecided);
    close(half);
    close(waiting);
    struct net_listener_opts o = {.address = SLICE("127.0.0.1:0"), .protocols = NET_LISTEN_HTTP1};
    uint16_t port;
    assert_int_equal(net_server_listen(f.server, &o, &port, NULL), ERR_UNAVAILABLE);
    fixture_stop(&f);
}

static void freeing_closes_what_is_open(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    int fds[6];
    static const char *const starts[] = {
        "",
        "PRI",
        "GET /ec",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx",
        "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    for (size_t i = 0; i < 6; i++) {
        fds[i] = tcp_connect(f.port);
        assert_true(tcp_puts(fds[i], starts[i]));
    }
    struct net_request *req = fixture_take_held(&f);
    assert_non_null(req);
    assert_true(fixture_wait_connections(&f, "http", 3));
    fixture_stop(&f);
    for (size_t i = 0; i < 6; i++) {
        assert_true(tcp_closed_within(fds[i], 3000));
        close(fds[i]);
    }
    net_reply_text(req, 200, SLICE(""));
    net_server_free(NULL);
}

/* Four client threads over both protocols at once, replies from yet others: for the sanitizers. */
struct worker {
    uint16_t port;
    bool grpc;
    size_t good;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    if (w->grpc) {
        struct h2_client c;
        h2_open(&c, w->port, false);
        for (int i = 0; i < 100; i++) {
            struct h2_call call;
            w->good += h2_unary(&c, &call, i % 20 ? "/t.S/echo" : "/t.S/later", NULL, SLICE("x")) &&
                       call.grpc_status == 0;
            h2_call_clear(&call);
        }
        h2_shut(&c);
        return NULL;
    }
    struct http_answer a;
    http_answer_init(&a);
    int fd = tcp_connect(w->port);
    for (int i = 0; i < 100; i++) {
        tcp_puts(fd, i % 20 ? "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
                            : "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
        w->good += http_read(fd, &a) && a.status == 200;
    }
    close(fd);
    http_answer_clear(&a);
    return NULL;
}

static void many_clients_on_one_port_are_all_served(void **state)
{
    (void)state;
    struct net_fixture f;
    fixture_start(&f, NULL);
    struct worker workers[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.port = f.port, .grpc = i % 2};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].good, 100);
    }
    assert_int_equal(fixture_calls(&f), 400);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_port_speaks_both_protocols),
        cmocka_unit_test(undecided_connection_is_cut_at_the_read_timeout),
        cmocka_unit_test(http_is_not_spoken_where_it_is_not_listened_for),
        cmocka_unit_test(localhost_is_both_loopbacks_on_one_port),
        cmocka_unit_test(addresses_are_understood_or_refused_with_their_name),
        cmocka_unit_test(taken_port_is_named),
        cmocka_unit_test(peers_are_written_as_addresses),
        cmocka_unit_test(connections_past_the_limit_are_closed),
        cmocka_unit_test(running_out_of_descriptors_is_survived),
        cmocka_unit_test(drain_ends_the_idle_and_finishes_the_rest),
        cmocka_unit_test(freeing_closes_what_is_open),
        cmocka_unit_test(many_clients_on_one_port_are_all_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
