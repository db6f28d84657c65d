/* The test server's handler and a small blocking HTTP/1.1 client. */
#include "tests/support/net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"

#define WAIT_MS 5000

uint64_t now_ms(void)
{
    return clock_mono_ns(&clock_system) / NS_PER_MS;
}

void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* ---- the handler ---- */

static void answer_error(struct net_request *req, int code, const char *text)
{
    if (req->proto == NET_GRPC)
        net_reply_grpc(req, err_code_grpc(code), slice_cstr(text), SLICE(""), NULL);
    else
        net_reply_text(req, err_code_http(code), slice_cstr(text));
}

static void answer_bytes(struct net_request *req, struct buf *body)
{
    if (req->proto == NET_GRPC) {
        net_reply_grpc(req, 0, SLICE(""), SLICE(""), body);
        return;
    }
    struct net_reply reply = {.status = 200, .content_type = "text/plain", .body = *body};
    net_reply(req, &reply, true);
}

static void answer_echo(struct net_request *req)
{
    struct buf body;
    buf_init(&body, req->body.len);
    buf_slice(&body, req->body);
    answer_bytes(req, &body);
}

static void answer_big(struct net_request *req)
{
    struct buf text;
    uint64_t bytes = FIXTURE_BIG_BYTES;
    buf_init(&text, 32);
    if (net_request_param(req, "bytes", &text))
        parse_u64(buf_view(&text), &bytes);
    buf_clear(&text);
    struct buf body;
    buf_init(&body, bytes);
    for (size_t i = 0; i < bytes; i++)
        buf_u8(&body, (uint8_t)('a' + i % 26));
    answer_bytes(req, &body);
}

static void answer_show(struct net_request *req)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_printf(&body, "%.*s|%.*s|%.*s\n", SLICE_ARGS(req->method), SLICE_ARGS(req->path),
               SLICE_ARGS(req->query));
    for (size_t i = 0; i < req->header_count; i++)
        buf_printf(&body, "%.*s: %.*s\n", SLICE_ARGS(req->headers[i].name),
                   SLICE_ARGS(req->headers[i].value));
    buf_printf(&body, "peer: %.*s\n", SLICE_ARGS(req->peer));
    if (req->deadline_mono_ns)
        buf_printf(
            &body, "deadline: +%llu ms\n",
            (unsigned long long)((req->deadline_mono_ns - req->received_mono_ns) / NS_PER_MS));
    answer_bytes(req, &body);
}

static void answer_plain(struct net_request *req)
{
    struct buf text;
    uint64_t status = 200;
    buf_init(&text, 32);
    if (net_request_param(req, "status", &text))
        parse_u64(buf_view(&text), &status);
    buf_clear(&text);
    net_reply_text(req, (int)status, SLICE("plain\n"));
}

static void answer_fail(struct net_request *req)
{
    if (req->proto == NET_GRPC)
        net_reply_grpc(req, 5, SLICE("not here: 100%\n"), SLICE("\x08\x05"), NULL);
    else
        net_reply_text(req, 404, SLICE("not here\n"));
}

static void *later_main(void *arg)
{
    sleep_ms(30);
    answer_echo(arg);
    return NULL;
}

static void handle(void *ctx, struct net_request *req)
{
    struct net_fixture *f = ctx;
    pthread_mutex_lock(&f->mu);
    f->calls++;
    bool hold = slice_ends(req->path, SLICE("/hold"));
    bool later = slice_ends(req->path, SLICE("/later"));
    hold = hold && (req->body_rc == 0 || f->hold_errors);
    if (hold) {
        f->held[f->held_count++] = req;
        pthread_cond_broadcast(&f->changed);
    } else if (later && req->body_rc == 0) {
        pthread_create(&f->threads[f->thread_count++], NULL, later_main, req);
    }
    pthread_mutex_unlock(&f->mu);
    if (hold)
        return; /* the test has it, and may have answered it already */
    if (req->body_rc < 0)
        answer_error(req, req->body_rc, req->body_err.msg);
    else if (slice_ends(req->path, SLICE("/echo")))
        answer_echo(req);
    else if (slice_ends(req->path, SLICE("/big")))
        answer_big(req);
    else if (slice_ends(req->path, SLICE("/plain")))
        answer_plain(req);
    else if (slice_ends(req->path, SLICE("/show")))
        answer_show(req);
    else if (!later)
        answer_fail(req);
}

/* ---- the fixture ---- */

uint16_t fixture_listen(struct net_fixture *f, const struct net_listener_opts *opts)
{
    struct net_listener_opts o = {
        .protocols = NET_LISTEN_HTTP1 | NET_LISTEN_GRPC,
        .body_bytes_max = 1 << 20,
    };
    if (opts)
        o = *opts;
    if (!o.address.len)
        o.address = SLICE("127.0.0.1:0");
    o.handler = handle;
    o.ctx = f;
    uint16_t port = 0;
    struct err err = {0};
    int rc = net_server_listen(f->server, &o, &port, &err);
    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    assert_int_not_equal(port, 0);
    return port;
}

static uint64_t turned_mono_ns(const struct clock *c)
{
    const struct turned_clock *t = c->ctx;
    return clock_mono_ns(&clock_system) + t->ahead_ns;
}

static uint64_t turned_unix_ns(const struct clock *c)
{
    (void)c;
    return clock_unix_ns(&clock_system);
}

void turned_clock_init(struct turned_clock *c)
{
    c->clock = (struct clock){turned_unix_ns, turned_mono_ns, c};
    c->ahead_ns = 0;
}

void fixture_start(struct net_fixture *f, const struct net_listener_opts *opts)
{
    fixture_start_at(f, opts, &clock_system);
}

void fixture_start_at(struct net_fixture *f, const struct net_listener_opts *opts,
                      const struct clock *clock)
{
    *f = (struct net_fixture){0};
    pthread_mutex_init(&f->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    f->metrics = metrics_new();
    struct net_env env = {.metrics = f->metrics, .clock = clock};
    struct err err;
    assert_int_equal(net_server_new(&env, &f->server, &err), 0);
    f->port = fixture_listen(f, opts);
}

void fixture_stop(struct net_fixture *f)
{
    for (size_t i = 0; i < f->thread_count; i++)
        pthread_join(f->threads[i], NULL);
    net_server_free(f->server);
    metrics_free(f->metrics);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->mu);
}

struct net_request *fixture_take_held(struct net_fixture *f)
{
    uint64_t until_ns = clock_mono_ns(&clock_system) + WAIT_MS * NS_PER_MS;
    struct timespec until = {
        .tv_sec = (time_t)(until_ns / NS_PER_S),
        .tv_nsec = (long)(until_ns % NS_PER_S),
    };
    struct net_request *req = NULL;
    pthread_mutex_lock(&f->mu);
    while (f->held_count == 0) {
        if (pthread_cond_timedwait(&f->changed, &f->mu, &until) == ETIMEDOUT)
            break;
    }
    if (f->held_count)
        req = f->held[--f->held_count];
    pthread_mutex_unlock(&f->mu);
    return req;
}

size_t fixture_calls(struct net_fixture *f)
{
    pthread_mutex_lock(&f->mu);
    size_t calls = f->calls;
    pthread_mutex_unlock(&f->mu);
    return calls;
}

long fixture_connections(struct net_fixture *f, const char *protocol)
{
    struct buf text;
    char want[96];
    long value = -1;
    buf_init(&text, 1 << 20);
    metrics_write(f->metrics, &text);
    buf_u8(&text, 0);
    snprintf(want, sizeof want, "\ntempo_tcp_connections{protocol=\"%s\"} ", protocol);
    const char *at = strstr((const char *)text.ptr, want);
    if (at)
        value = strtol(at + strlen(want), NULL, 10);
    buf_clear(&text);
    return value;
}

bool fixture_wait_connections(struct net_fixture *f, const char *protocol, long n)
{
    for (uint64_t end = now_ms() + WAIT_MS; now_ms() < end; sleep_ms(2)) {
        if (fixture_connections(f, protocol) == n)
            return true;
    }
    return false;
}

/* ---- TCP ---- */

static int connect_with(uint16_t port, int receive_bytes)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Frames are sent one by one: without this each waits for the server's delayed ACK. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int tcp_connect(uint16_t port)
{
    return connect_with(port, 0);
}

int tcp_connect_narrow(uint16_t port)
{
    return connect_with(port, 4096);
}

bool tcp_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool tcp_puts(int fd, const char *text)
{
    return tcp_send(fd, text, strlen(text));
}

long tcp_recv(int fd, void *to, size_t len, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return -1;
    ssize_t n = recv(fd, to, len, 0);
    return n < 0 ? -2 : n;
}

bool tcp_closed_within(int fd, int timeout_ms)
{
    char junk[4096];
    for (uint64_t end = now_ms() + (uint64_t)timeout_ms; now_ms() < end;) {
        long n = tcp_recv(fd, junk, sizeof junk, (int)(end - now_ms()));
        if (n == 0 || n == -2)
            return true;
        if (n < 0)
            return false;
    }
    return false;
}

/* ---- HTTP/1.1 ---- */

void http_answer_init(struct http_answer *a)
{
    a->status = 0;
    buf_init(&a->head, 1 << 16);
    buf_init(&a->body, (size_t)64 << 20);
    buf_init(&a->rest, (size_t)65 << 20);
}

void http_answer_clear(struct http_answer *a)
{
    buf_clear(&a->head);
    buf_clear(&a->body);
    buf_clear(&a->rest);
}

static bool more(int fd, struct buf *to)
{
    char bytes[16384];
    long n = tcp_recv(fd, bytes, sizeof bytes, WAIT_MS);
    return n > 0 && buf_append(to, bytes, (size_t)n) == 0;
}

static void drop_front(struct buf *b, size_t n)
{
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

static bool read_head(int fd, struct http_answer *a)
{
    for (;;) {
        uint8_t *end = a->rest.len ? memmem(a->rest.ptr, a->rest.len, "\r\n\r\n", 4) : NULL;
        if (end) {
            size_t n = (size_t)(end - a->rest.ptr) + 4;
            buf_reset(&a->head);
            buf_append(&a->head, a->rest.ptr, n);
            buf_u8(&a->head, 0);
            drop_front(&a->rest, n);
            return sscanf((const char *)a->head.ptr, "HTTP/1.1 %d", &a->status) == 1;
        }
        if (!more(fd, &a->rest))
            return false;
    }
}

bool http_read(int fd, struct http_answer *a)
{
    a->status = 0;
    buf_reset(&a->body);
    if (!read_head(fd, a))
        return false;
    if (a->status == 100)
        return true;
    const char *length = strcasestr((const char *)a->head.ptr, "\r\nContent-Length:");
    size_t want = length ? strtoul(length + 17, NULL, 10) : 0;
    while (a->rest.len < want) {
        if (!more(fd, &a->rest))
            return false;
    }
    buf_append(&a->body, a->rest.ptr, want);
    if (want)
        drop_front(&a->rest, want);
    return true;
}

bool http_has(const struct http_answer *a, const char *line)
{
    char want[256];
    snprintf(want, sizeof want, "\r\n%s\r\n", line);
    return a->head.len && strcasestr((const char *)a->head.ptr, want);
}
