/* Connections that are handed over whole by their first request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/support/net_fixture.h"

#define HEAD                                                                                       \
    "GET /internal/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: thing/1\r\n\r\n"

struct taken {
    _Atomic int count;
    char upgrade[32];
};

/* Answers with 101, then says what came behind the head. */
static void take(void *ctx, int fd, struct slice head, struct slice peer)
{
    struct taken *t = ctx;
    struct slice v = net_head_value(head, "UPGRADE");
    assert_true(slice_starts(peer, SLICE("127.0.0.1:")));
    assert_true(slice_ends(head, SLICE("\r\n\r\n")));
    snprintf(t->upgrade, sizeof t->upgrade, "%.*s", SLICE_ARGS(v));
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_int_equal(send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL), sizeof answer - 1);
    close(fd);
    t->count++;
}

static void start(struct net_fixture *f, struct taken *t, unsigned protocols)
{
    const struct net_listener_opts opts = {.protocols = protocols,
                                           .body_bytes_max = 1 << 20,
                                           .read_timeout_ms = 500,
                                           .upgrade_path = "/internal/x",
                                           .upgrade = take,
                                           .upgrade_ctx = t};
    fixture_start(f, &opts);
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Sends the parts with a pause between them, and reads until the end. */
static void talk(uint16_t port, const char *const *parts, char *answer, size_t size)
{
    int fd = connect_to(port);
    size_t len = 0;
    ssize_t n;
    for (; *parts; parts++) {
        assert_true(send(fd, *parts, strlen(*parts), MSG_NOSIGNAL) > 0);
        sleep_ms(30);
    }
    while (len < size - 1 && (n = recv(fd, answer + len, size - 1 - len, 0)) > 0)
        len += (size_t)n;
    answer[len] = 0;
    close(fd);
}

static void an_upgrade_is_handed_over(void **state)
{
    (void)state;
    static const char *const whole[] = {HEAD, NULL};
    static const char *const pieces[] = {"GET /inter", "nal/x HTTP/1.1\r\nUpgrade:", " thing/1\r\n",
                                         "\r\n", NULL};
    for (int i = 0; i < 4; i++) {
        struct net_fixture f;
        struct taken t = {0};
        char answer[256];
        start(&f, &t, i & 1 ? NET_LISTEN_HTTP1 : NET_LISTEN_HTTP1 | NET_LISTEN_GRPC);
        talk(f.port, i & 2 ? pieces : whole, answer, sizeof answer);
        assert_true(slice_starts(slice_cstr(answer), SLICE("HTTP/1.1 101 ")));
        assert_string_equal(t.upgrade, "thing/1");
        assert_int_equal(t.count, 1);
        assert_int_equal(fixture_calls(&f), 0);
        fixture_stop(&f);
    }
}

static void what_is_no_upgrade_is_served_as_ever(void **state)
{
    (void)state;
    static const char *const requests[][2] = {
        {"GET /internal/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", NULL},
        {"GET /internal/xx HTTP/1.1\r\nHost: a\r\nUpgrade: y\r\nConnection: close\r\n\r\n", NULL},
        {"POST /internal/x HTTP/1.1\r\nHost: a\r\nUpgrade: y\r\nContent-Length: 0\r\n"
         "Connection: close\r\n\r\n",
         NULL},
        {"GET /show HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", NULL},
    };
    struct net_fixture f;
    struct taken t = {0};
    start(&f, &t, NET_LISTEN_HTTP1 | NET_LISTEN_GRPC);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[1024];
        talk(f.port, requests[i], answer, sizeof answer);
        assert_true(slice_starts(slice_cstr(answer), SLICE("HTTP/1.1 ")));
        assert_null(strstr(answer, " 101 "));
    }
    assert_int_equal(t.count, 0);
    assert_int_equal(fixture_calls(&f), 4);
    fixture_stop(&f);
}

static void half_a_head_is_cut_in_time(void **state)
{
    (void)state;
    struct net_fixture f;
    struct taken t = {0};
    char answer[64];
    static const char *const half[] = {"GET /internal/x HTTP/1.1\r\nUpgrade: thing/1\r\n", NULL};
    start(&f, &t, NET_LISTEN_HTTP1);
    uint64_t began = now_ms();
    talk(f.port, half, answer, sizeof answer);
    assert_true(now_ms() - began < 3000);
    assert_string_equal(answer, "");
    assert_int_equal(t.count, 0);
    fixture_stop(&f);
}

/* A head past the limit is HTTP's business, which has larger ones. */
static void a_long_head_is_not_an_upgrade(void **state)
{
    (void)state;
    struct net_fixture f;
    struct taken t = {0};
    char answer[512], filler[5000];
    memset(filler, 'a', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    const char *const parts[] = {"GET /internal/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ",
                                 filler, "\r\nUpgrade: thing/1\r\n\r\n", NULL};
    start(&f, &t, NET_LISTEN_HTTP1);
    talk(f.port, parts, answer, sizeof answer);
    assert_true(slice_starts(slice_cstr(answer), SLICE("HTTP/1.1 ")));
    assert_int_equal(t.count, 0);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upgrade_is_handed_over),
        cmocka_unit_test(what_is_no_upgrade_is_served_as_ever),
        cmocka_unit_test(half_a_head_is_cut_in_time),
        cmocka_unit_test(a_long_head_is_not_an_upgrade),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
