/* HTTP/2 on nghttp2: sessions, streams, and the sending of answers.
 *
 * nghttp2 does the protocol and no I/O; here it is joined to sockets. A connection reads only while
 * nothing waits to be sent, so a client that does not read cannot make us hoard. What a stream
 * means to gRPC or HTTP is in http2_stream.c. Everything runs on the loop's thread. */
#include "net/http2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net_limits.h"

/* ---- closing ---- */

void http2_close(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    nghttp2_session_del(h->session); /* calls no stream's close callback */
    while (h->streams)
        h2_stream_free(h->streams);
    if (h->busy)
        net_core_busy(conn->server->core, -1);
    buf_clear(&h->unsent);
    close(conn->fd);
    gauge_add(conn->server->grpc_connections, -1);
    net_conn_free(conn);
}

static void goaway(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    if (h->goaway)
        return;
    h->goaway = true;
    net_conn_deadline(conn, 0);
    /* Names the last stream that is served: the client knows that later ones may be repeated. */
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

/* ---- sending ---- */

/* Pulls frames from the session until there is a socket's worth of them. */
static int pull(struct http2 *h, struct buf *to)
{
    while (to->len < LIMIT_HTTP2_WRITE_BYTES) {
        const uint8_t *bytes;
        ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
        if (n <= 0)
            return (int)n;
        if (buf_append(to, bytes, (size_t)n) < 0)
            return NGHTTP2_ERR_NOMEM;
    }
    return 0;
}

/* Bytes taken by the socket, or -1: the client is gone. */
static ssize_t push(int fd, struct slice bytes)
{
    size_t done = 0;
    while (done < bytes.len) {
        ssize_t n = send(fd, bytes.ptr + done, bytes.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? (ssize_t)done : -1;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static void watch_for(struct net_conn *conn, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = conn};
    epoll_ctl(conn->server->epoll_fd, EPOLL_CTL_MOD, conn->fd, &ev);
}

/* What is left from before goes first. 0: all gone, 1: the socket is full, -1: the client is. */
static int flush_unsent(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    if (h->unsent.len == 0)
        return 0;
    ssize_t n = push(conn->fd, slice_from(buf_view(&h->unsent), h->unsent_at));
    if (n < 0)
        return -1;
    if (n > 0)
        h->write_deadline_ns = net_write_deadline_ns(conn->server->loop.now_ns, 0);
    h->unsent_at += (size_t)n;
    if (h->unsent_at < h->unsent.len)
        return 1;
    buf_clear(&h->unsent);
    h->unsent_at = 0;
    h->write_deadline_ns = 0;
    watch_for(conn, EPOLLIN);
    return 0;
}

static int keep_unsent(struct net_conn *conn, struct slice rest)
{
    struct http2 *h = &conn->h2;
    buf_init(&h->unsent, rest.len);
    if (buf_slice(&h->unsent, rest) < 0)
        return -1;
    h->write_deadline_ns = net_write_deadline_ns(conn->server->loop.now_ns, 0);
    net_server_due(conn->server, h->write_deadline_ns);
    watch_for(conn, EPOLLOUT);
    return 1;
}

static int flush_session(struct net_conn *conn)
{
    struct buf *scratch = &conn->server->loop.scratch;
    int rc = flush_unsent(conn);
    while (rc == 0) {
        buf_reset(scratch);
        if (pull(&conn->h2, scratch) < 0)
            return -1;
        if (scratch->len == 0)
            return 0;
        ssize_t n = push(conn->fd, buf_view(scratch));
        if (n < 0)
            return -1;
        if ((size_t)n < scratch->len)
            rc = keep_unsent(conn, slice_from(buf_view(scratch), (size_t)n));
    }
    return rc;
}

/* Sends what the session has to say. False: the connection is over, closed and freed. */
static bool flush(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    /* Streams close when their last frame is pulled; they count as under way until it is sent. */
    if (!h->busy)
        net_core_busy(conn->server->core, 1);
    h->busy = true;
    int rc = flush_session(conn);
    bool over = rc < 0 || (rc == 0 && !nghttp2_session_want_read(h->session) &&
                           !nghttp2_session_want_write(h->session));
    if (over) {
        http2_close(conn);
        return false;
    }
    if (rc == 0) {
        h->busy = false;
        net_core_busy(conn->server->core, -1);
    }
    return true;
}

/* ---- receiving ---- */

static void receive(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    struct buf *scratch = &conn->server->loop.scratch;
    for (unsigned i = 0; i < LIMIT_HTTP2_READS_PER_TURN; i++) {
        ssize_t n = recv(conn->fd, scratch->ptr, LIMIT_HTTP2_READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            http2_close(conn);
            return;
        }
        ssize_t used = nghttp2_session_mem_recv(h->session, scratch->ptr, (size_t)n);
        if (used < 0) {
            LOG_DEBUG(conn->server->log, "HTTP/2 connection ended", KV_STR("peer", conn->peer),
                      KV_STR("cause", nghttp2_strerror((int)used)));
            http2_close(conn);
            return;
        }
        if ((size_t)n < LIMIT_HTTP2_READ_BYTES)
            break;
    }
    flush(conn);
}

void http2_event(struct net_conn *conn, uint32_t events)
{
    if (events & EPOLLERR)
        http2_close(conn);
    else if ((events & EPOLLOUT) && !flush(conn))
        return;
    else if (events & (EPOLLIN | EPOLLHUP))
        receive(conn);
}

void http2_news(struct net_exchange *ex)
{
    struct h2_stream *st = ex->loop.wire;
    struct net_conn *conn = st->conn;
    h2_stream_answer(st);
    flush(conn);
}

/* ---- deadlines and the end ---- */

uint64_t http2_sweep(struct net_conn *conn)
{
    struct http2 *h = &conn->h2;
    uint64_t now_ns = conn->server->loop.now_ns;
    if (h->write_deadline_ns && h->write_deadline_ns <= now_ns) {
        http2_close(conn); /* it takes nothing, not even a GOAWAY */
        return 0;
    }
    bool said = false;
    uint64_t next_ns = h->write_deadline_ns;
    for (struct h2_stream *st = h->streams; st; st = st->next) {
        if (st->deadline_ns && st->deadline_ns <= now_ns) {
            st->deadline_ns = 0;
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
            said = true;
        }
        if (st->deadline_ns && (!next_ns || st->deadline_ns < next_ns))
            next_ns = st->deadline_ns;
    }
    if (conn->deadline_ns && conn->deadline_ns <= now_ns) {
        goaway(conn);
        said = true;
    }
    if (conn->deadline_ns && (!next_ns || conn->deadline_ns < next_ns))
        next_ns = conn->deadline_ns;
    if (said && !flush(conn))
        return 0;
    return next_ns;
}

void http2_drain(struct net_conn *conn)
{
    goaway(conn);
    flush(conn);
}

void h2_conn_quiet(struct net_conn *conn)
{
    if (!conn->h2.goaway)
        net_conn_deadline(conn,
                          net_deadline_ms(conn->server, conn->listener->opts.idle_timeout_ms));
}

/* ---- the start ---- */

void http2_start(struct net_conn *conn)
{
    struct net_server *s = conn->server;
    conn->state = NET_CONN_HTTP2;
    conn->h2 = (struct http2){0};
    gauge_add(s->grpc_connections, 1);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = conn};
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_HTTP2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_HTTP2_HEADER_BYTES},
    };
    if (nghttp2_session_server_new2(&conn->h2.session, s->h2_callbacks, conn, s->h2_option) != 0 ||
        nghttp2_submit_settings(conn->h2.session, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof settings[0]) != 0 ||
        nghttp2_session_set_local_window_size(conn->h2.session, NGHTTP2_FLAG_NONE, 0,
                                              LIMIT_HTTP2_CONNECTION_WINDOW_BYTES) != 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, conn->fd, &ev) < 0) {
        http2_close(conn);
        return;
    }
    flush(conn);
}

int http2_init(struct net_server *s, struct err *err)
{
    buf_init(&s->loop.scratch, 4 * (size_t)LIMIT_HTTP2_WRITE_BYTES);
    if (buf_reserve(&s->loop.scratch, LIMIT_HTTP2_READ_BYTES) < 0 ||
        nghttp2_session_callbacks_new(&s->h2_callbacks) != 0 ||
        nghttp2_option_new(&s->h2_option) != 0)
        return err_set(err, ERR_NOMEM, "server: no memory for HTTP/2");
    h2_stream_callbacks(s->h2_callbacks);
    nghttp2_option_set_max_outbound_ack(s->h2_option, LIMIT_HTTP2_OUTBOUND_ACKS);
    nghttp2_option_set_max_settings(s->h2_option, LIMIT_HTTP2_SETTINGS_ENTRIES);
    nghttp2_option_set_stream_reset_rate_limit(s->h2_option, LIMIT_HTTP2_RESET_BURST,
                                               LIMIT_HTTP2_RESET_PER_S);
    /* Closed streams are kept only for a priority tree that nobody uses. */
    nghttp2_option_set_no_closed_streams(s->h2_option, 1);
    return 0;
}

void http2_end(struct net_server *s)
{
    nghttp2_session_callbacks_del(s->h2_callbacks);
    nghttp2_option_del(s->h2_option);
}
