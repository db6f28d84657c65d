/* A server on loopback with a handler made for tests, and a plain TCP client to talk to it. */
#ifndef TESTS_SUPPORT_NET_FIXTURE_H
#define TESTS_SUPPORT_NET_FIXTURE_H

#include <pthread.h>

#include "net/net_server.h"

/* Paths the handler knows. HTTP and gRPC alike:
 *   …/echo    the body back
 *   …/hold    kept until the test answers: fixture_take_held
 *   …/later   answered by another thread
 *   …/big     `bytes` (HTTP, query) or 3 MiB (gRPC) of text
 *   …/fail    404 "not here\n", or gRPC status 5 with details "\x08\x05"
 *   …/plain   net_reply_text in either protocol: `status` (query, else 200), "plain\n"
 *   …/show    method, path, query and headers as text
 * A body_rc is answered with its code's status and its text; …/hold keeps it with hold_errors. */
#define FIXTURE_BIG_BYTES ((size_t)3 << 20)

struct net_fixture {
    struct net_server *server;
    struct metrics *metrics;
    uint16_t port;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    bool hold_errors;
    struct net_request *held[256]; /* hold mu */
    size_t held_count;
    size_t calls;
    pthread_t threads[64];
    size_t thread_count;
};

/* opts may be NULL: both protocols, 1 MiB. Address, handler and ctx are set here. */
void fixture_start(struct net_fixture *f, const struct net_listener_opts *opts);
/* The same under a clock that the test turns. */
void fixture_start_at(struct net_fixture *f, const struct net_listener_opts *opts,
                      const struct clock *clock);
/* Adds a listener for other protocols. */
uint16_t fixture_listen(struct net_fixture *f, const struct net_listener_opts *opts);
void fixture_stop(struct net_fixture *f);
/* Waits until a request is held, and takes it. NULL after five seconds. */
struct net_request *fixture_take_held(struct net_fixture *f);
size_t fixture_calls(struct net_fixture *f);
/* The value of tempo_tcp_connections{protocol}; -1: no such line. */
long fixture_connections(struct net_fixture *f, const char *protocol);
/* Waits for it to become n, up to five seconds. */
bool fixture_wait_connections(struct net_fixture *f, const char *protocol, long n);

/* A clock that runs with the system's, ahead of it by ahead_ns. */
struct turned_clock {
    struct clock clock;
    _Atomic uint64_t ahead_ns;
};
void turned_clock_init(struct turned_clock *c);

uint64_t now_ms(void);
void sleep_ms(unsigned ms);

/* ---- TCP ---- */

int tcp_connect(uint16_t port);
/* With a small receive buffer: it is soon full when nobody reads. */
int tcp_connect_narrow(uint16_t port);
bool tcp_send(int fd, const void *bytes, size_t len);
bool tcp_puts(int fd, const char *text);
/* Bytes read, 0: closed, -1: nothing within timeout_ms, -2: reset. */
long tcp_recv(int fd, void *to, size_t len, int timeout_ms);
/* Is the connection closed or reset within timeout_ms? Throws away what is read. */
bool tcp_closed_within(int fd, int timeout_ms);

struct http_answer {
    int status; /* 0: none came */
    struct buf head;
    struct buf body;
    struct buf rest; /* bytes after it: of the next pipelined answer. Kept between reads. */
};

/* Reads one answer (Content-Length only). False: closed, or nothing for five seconds. */
bool http_read(int fd, struct http_answer *a);
void http_answer_init(struct http_answer *a);
void http_answer_clear(struct http_answer *a);
/* Does the head have that line? */
bool http_has(const struct http_answer *a, const char *line);

#endif
