/* HTTP/1.1: connections, on http_parser.
 *
 * The parser reads, we do the rest: a request is collected, handed over, and its connection left
 * alone until the answer comes. Between requests a connection keeps no buffers, so that thousands
 * of idle ones cost little. Sockets are watched edge-triggered, once for their life: what may be
 * read or written is remembered until it is wanted. Everything runs on the loop's thread. */
#include "net/http1_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "net/net_limits.h"

/* ---- closing ---- */

static void drop_exchange(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    if (h->ex) {
        net_exchange_unwire(h->ex);
        net_exchange_release(h->ex);
    }
    h->ex = NULL;
    net_message_free(h->body);
    h->body = NULL;
    buf_clear(&h->out);
}

void http1_close(struct net_conn *conn)
{
    drop_exchange(conn);
    buf_clear(&conn->h1.rest);
    close(conn->fd);
    gauge_add(conn->server->http1_connections, -1);
    net_conn_free(conn);
}

/* The last answer is out. Closing now would, if the client is still sending, reset the connection
 * and take the answer from it: what comes is thrown away until it closes, or for a while. */
static void linger(struct net_conn *conn)
{
    conn->h1.state = HTTP1_LINGER;
    conn->h1.discarded = 0;
    buf_clear(&conn->h1.rest);
    shutdown(conn->fd, SHUT_WR);
    net_conn_deadline(conn, net_deadline_ms(conn->server, LIMIT_HTTP1_LINGER_MS));
}

/* ---- the answer ---- */

/* "Wed, 25 Nov 2026 03:00:00 GMT" */
static const char *date_text(struct net_server *s)
{
    time_t now = (time_t)(clock_unix_ns(s->clock) / NS_PER_S);
    struct tm tm;
    if (now != s->loop.date_s) {
        strftime(s->loop.date, sizeof s->loop.date, "%a, %d %b %Y %H:%M:%S GMT",
                 gmtime_r(&now, &tm));
        s->loop.date_s = now;
    }
    return s->loop.date;
}

/* Names are kept in lower case; here they are written as people know them. A header that would
 * break out of its line is left out. */
static int put_header(struct buf *out, const struct net_header *header)
{
    for (size_t i = 0; i < header->value.len; i++) {
        if (header->value.ptr[i] < ' ' && header->value.ptr[i] != '\t')
            return 0;
    }
    int rc = 0;
    bool first = true;
    for (size_t i = 0; i < header->name.len && rc == 0; i++) {
        uint8_t c = header->name.ptr[i];
        rc = buf_u8(out, first && c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c);
        first = c == '-';
    }
    rc = rc < 0 ? rc : buf_str(out, ": ");
    rc = rc < 0 ? rc : buf_slice(out, header->value);
    return rc < 0 ? rc : buf_str(out, "\r\n");
}

static const char *connection_text(const struct http1 *h)
{
    if (!h->keep_alive)
        return "Connection: close\r\n";
    return h->parser.http_minor == 0 ? "Connection: keep-alive\r\n" : "";
}

static int answer_head(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    const struct net_answer *a = &h->ex->answer;
    buf_init(&h->out, LIMIT_HTTP1_ANSWER_HEAD_BYTES);
    int rc = buf_printf(&h->out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", a->http_status,
                        http_status_str((enum http_status)a->http_status), date_text(conn->server));
    for (uint32_t i = 0; i < a->head.entries.count && rc == 0; i++) {
        struct net_header header = net_head_at(&a->head, i);
        rc = put_header(&h->out, &header);
    }
    rc = rc < 0 ? rc : buf_str(&h->out, connection_text(h));
    return rc < 0 ? rc : buf_str(&h->out, "\r\n");
}

/* False: the connection is closed and freed. */
static bool start_answer(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    /* The rest of a refused body, or a next request while draining, is not wanted. */
    h->keep_alive = h->keep_alive && h->ex->req.body_rc == 0 && !conn->server->loop.draining;
    h->body = net_exchange_pop(h->ex);
    h->body_at = h->out_at = 0;
    h->state = HTTP1_ANSWER;
    if (answer_head(conn) < 0) {
        http1_close(conn);
        return false;
    }
    size_t bytes = h->out.len + (h->body ? h->body->bytes.len : 0);
    net_conn_deadline(conn, net_write_deadline_ns(conn->server->loop.now_ns, bytes));
    return true;
}

/* An answer without a handler, to what is no request. */
static bool start_refusal(struct net_conn *conn, int status)
{
    struct http1 *h = &conn->h1;
    drop_exchange(conn);
    h->keep_alive = false;
    h->out_at = 0;
    h->state = HTTP1_ANSWER;
    buf_init(&h->out, 512);
    const char *reason = http_status_str((enum http_status)status);
    int rc = buf_printf(&h->out,
                        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                        "Connection: close\r\nContent-Length: %zu\r\n\r\n%d %s",
                        status, reason, 4 + strlen(reason), status, reason);
    if (rc < 0) {
        http1_close(conn);
        return false;
    }
    net_conn_deadline(conn, net_write_deadline_ns(conn->server->loop.now_ns, h->out.len));
    return true;
}

enum outcome {
    GO_ON,  /* there may be more to do */
    WAIT,   /* for an event */
    CLOSED, /* and freed */
};

static void await_request(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    h->state = HTTP1_IDLE;
    net_conn_deadline(conn, net_deadline_ms(conn->server, conn->listener->opts.idle_timeout_ms));
}

static enum outcome send_answer(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    struct slice body = h->body ? buf_view(&h->body->bytes) : slice_of(NULL, 0);
    while (h->out_at < h->out.len || h->body_at < body.len) {
        struct iovec iov[2] = {
            {.iov_base = h->out.ptr + h->out_at, .iov_len = h->out.len - h->out_at},
            {.iov_base = h->body ? h->body->bytes.ptr + h->body_at : NULL,
             .iov_len = body.len - h->body_at}};
        const struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
        ssize_t n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return WAIT;
        if (n < 0) {
            http1_close(conn);
            return CLOSED;
        }
        size_t of_head = iov[0].iov_len < (size_t)n ? iov[0].iov_len : (size_t)n;
        h->out_at += of_head;
        h->body_at += (size_t)n - of_head;
    }
    drop_exchange(conn);
    if (h->keep_alive && !conn->server->loop.draining)
        await_request(conn);
    else
        linger(conn);
    return GO_ON;
}

/* ---- the request ---- */

static enum outcome hand(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    h->state = HTTP1_HANDLER;
    net_conn_deadline(conn, 0);
    net_exchange_hand(h->ex, &conn->listener->opts);
    if (!net_exchange_take_answer(h->ex))
        return WAIT;
    h->ex->answer.given = true;
    return start_answer(conn) ? GO_ON : CLOSED;
}

/* After the parser has seen some bytes: is there something for us to do? */
static enum outcome after_parse(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    enum http_errno no = HTTP_PARSER_ERRNO(&h->parser);
    if (no != HPE_OK && no != HPE_PAUSED) {
        int status = h->refusal ? h->refusal : no == HPE_INVALID_METHOD ? 501 : 400;
        if (h->discarded <= LIMIT_HTTP1_DISCARD_BYTES)
            return start_refusal(conn, status) ? GO_ON : CLOSED;
        http1_close(conn);
        return CLOSED;
    }
    if (h->complete)
        return hand(conn);
    if (h->owes_continue) {
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        h->owes_continue = false;
        /* Nothing else is on its way to the client: it fits, or the client is gone. */
        if (send(conn->fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            http1_close(conn);
            return CLOSED;
        }
    }
    return GO_ON;
}

/* What the parser did not take belongs to the next request, and waits for it. */
static enum outcome parse(struct net_conn *conn, struct slice bytes, bool from_rest)
{
    struct http1 *h = &conn->h1;
    if (h->state == HTTP1_IDLE) { /* the first request's time began when it was accepted */
        h->state = HTTP1_HEAD;
        net_conn_deadline(conn,
                          net_deadline_ms(conn->server, conn->listener->opts.read_timeout_ms));
    }
    if (!h->parsing)
        http1_parse_begin(conn);
    size_t used = http1_parse(conn, bytes);
    struct slice left = slice_from(bytes, used);
    int rc = 0;
    if (from_rest) {
        h->rest_at += used;
        if (h->rest_at == h->rest.len)
            buf_clear(&h->rest);
    } else if (left.len && h->complete) {
        buf_init(&h->rest, left.len);
        h->rest_at = 0;
        rc = buf_slice(&h->rest, left);
    }
    if (rc < 0) {
        http1_close(conn);
        return CLOSED;
    }
    return after_parse(conn);
}

static enum outcome receive(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    struct buf *scratch = &conn->server->loop.scratch;
    if (h->rest.len)
        return parse(conn, slice_from(buf_view(&h->rest), h->rest_at), true);
    ssize_t n = recv(conn->fd, scratch->ptr, LIMIT_HTTP2_READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return GO_ON;
    if (n < 0 && errno == EAGAIN)
        return WAIT;
    if (n <= 0) {
        http1_close(conn);
        return CLOSED;
    }
    if (h->state != HTTP1_LINGER)
        return parse(conn, slice_of(scratch->ptr, (size_t)n), false);
    h->discarded += (uint64_t)n;
    if (h->discarded <= LIMIT_HTTP1_DISCARD_BYTES)
        return GO_ON;
    http1_close(conn);
    return CLOSED;
}

/* ---- events ---- */

static const uint32_t watched = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

/* As far as it goes, but not for ever: who always has more to say waits for the next turn. */
static void run(struct net_conn *conn)
{
    enum outcome outcome = GO_ON;
    for (unsigned i = 0; i < LIMIT_HTTP1_STEPS_PER_TURN && outcome == GO_ON; i++) {
        if (conn->h1.state == HTTP1_HANDLER)
            return;
        outcome = conn->h1.state == HTTP1_ANSWER ? send_answer(conn) : receive(conn);
    }
    if (outcome == GO_ON) { /* the edge comes once more */
        struct epoll_event ev = {.events = watched, .data.ptr = conn};
        epoll_ctl(conn->server->epoll_fd, EPOLL_CTL_MOD, conn->fd, &ev);
    }
}

void http1_event(struct net_conn *conn, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP)) {
        http1_close(conn);
        return;
    }
    /* As Go's server has it: who sends no more does not wait for the answer either. It is sent all
     * the same. */
    if ((events & EPOLLRDHUP) && conn->h1.state == HTTP1_HANDLER)
        conn->h1.ex->req.gone = true;
    run(conn);
}

void http1_start(struct net_conn *conn)
{
    struct net_server *s = conn->server;
    struct epoll_event ev = {.events = watched, .data.ptr = conn};
    conn->state = NET_CONN_HTTP1;
    conn->h1 = (struct http1){.state = HTTP1_HEAD};
    gauge_add(s->http1_connections, 1);
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, conn->fd, &ev) < 0)
        http1_close(conn);
}

void http1_answered(struct net_conn *conn)
{
    if (start_answer(conn))
        run(conn);
}

void http1_drain(struct net_conn *conn)
{
    /* A request whose head has come is under way; before that the client will ask elsewhere. */
    bool under_way = (conn->h1.state == HTTP1_HEAD && conn->h1.head_done) ||
                     conn->h1.state == HTTP1_HANDLER || conn->h1.state == HTTP1_ANSWER ||
                     conn->h1.state == HTTP1_LINGER;
    if (!under_way)
        http1_close(conn);
}
