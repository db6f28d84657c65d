/* HTTP/1.1 on libmicrohttpd.
 *
 * The library parses, we decide: a request is collected, handed over, and its connection suspended
 * until the answer comes. Its own timeout knows only inactivity, which a client that sends a byte
 * now and then defeats; so deadlines of whole requests are kept here, and an overdue connection is
 * shut down under the library, which then closes it. Everything runs on the loop's thread. */
#include "net/net_server_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/net_limits.h"

static struct net_conn *conn_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* ---- the request ---- */

/* The request line has come. MHD changes the URI later, so it is copied now, as sent. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct net_server *s = cls;
    struct net_conn *conn = conn_of(mhd);
    struct net_exchange *ex = net_exchange_new(s->core, false, conn->peer, LIMIT_HTTP1_POOL_BYTES);
    if (!ex)
        return NULL; /* on_access closes the connection */
    ex->loop.wire = conn;
    conn->h1.ex = ex;
    conn->h1.head_done = false;
    conn->h1.discarded = 0;
    /* The first request's time began when the connection was accepted. */
    if (conn->h1.state == HTTP1_IDLE)
        net_conn_deadline(conn, net_deadline_ms(s, conn->listener->opts.read_timeout_ms));
    conn->h1.state = HTTP1_BODY;
    net_server_due(s, s->loop.now_ns + LIMIT_HTTP1_HALF_MS * NS_PER_MS);
    /* A proxy's form, "http://host/path": what counts is the path. */
    struct slice target = slice_cstr(uri);
    if (slice_starts(target, SLICE("http://"))) {
        target = slice_from(target, 7);
        target = slice_from(target, slice_find(target, '/'));
    }
    if (buf_slice(&ex->head.text, target) < 0)
        return ex; /* without a path: refused by take_head */
    return ex;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct net_exchange *ex = cls;
    int rc = net_head_add(&ex->head, slice_of(name, name_len), slice_of(value, value_len));
    return rc < 0 ? MHD_NO : MHD_YES;
}

static enum MHD_Result take_head(struct net_conn *conn, struct net_exchange *ex, const char *method)
{
    size_t target_len = ex->head.text.len;
    size_t method_len = strlen(method);
    if (target_len == 0 || buf_append(&ex->head.text, method, method_len) < 0)
        return MHD_NO;
    int want = MHD_get_connection_values_n(conn->h1.mhd, MHD_HEADER_KIND, NULL, NULL);
    int got = MHD_get_connection_values_n(conn->h1.mhd, MHD_HEADER_KIND, on_header, ex);
    if (got != want || ex->head.entries.count != (uint32_t)want || net_exchange_head_done(ex) < 0)
        return MHD_NO;
    struct slice target = slice_of(ex->head.text.ptr, target_len);
    size_t mark = slice_find(target, '?');
    ex->req.path = slice_of(target.ptr, mark);
    ex->req.query = slice_from(target, mark + 1);
    ex->req.method = slice_of(target.ptr + target_len, method_len);
    /* Only what has arrived takes memory; the limit is the buffer's own. */
    uint64_t max = conn->listener->opts.body_bytes_max;
    buf_init(&ex->body, max > SIZE_MAX ? SIZE_MAX : (size_t)max);
    conn->h1.head_done = true;
    return MHD_YES;
}

/* A body announced as too large need not be sent: if the client waits for leave, or if there is
 * more of it than we care to throw away, it is answered now. */
static bool refuse_early(struct net_conn *conn, struct net_exchange *ex)
{
    uint64_t claimed;
    if (!parse_u64(net_request_header(&ex->req, "content-length"), &claimed) ||
        claimed <= conn->listener->opts.body_bytes_max)
        return false;
    return net_request_header(&ex->req, "expect").len > 0 ||
           claimed - conn->listener->opts.body_bytes_max > LIMIT_HTTP1_DISCARD_BYTES;
}

static enum MHD_Result take_body(struct net_conn *conn, struct net_exchange *ex, struct slice data)
{
    if (ex->req.body_rc == 0) {
        int rc = buf_slice(&ex->body, data);
        if (rc == ERR_LIMIT)
            net_exchange_too_large(ex);
        net_exchange_charge(ex);
        return rc == 0 || rc == ERR_LIMIT ? MHD_YES : MHD_NO;
    }
    conn->h1.discarded += data.len;
    return conn->h1.discarded > LIMIT_HTTP1_DISCARD_BYTES ? MHD_NO : MHD_YES;
}

/* ---- the answer ---- */

static enum MHD_Result send_answer(struct net_conn *conn, struct net_exchange *ex)
{
    struct net_answer *a = &ex->answer;
    if (!a->http)
        return MHD_NO;
    /* The rest of a refused body, or a next request while draining, is not wanted. */
    if (ex->req.body_rc < 0 || conn->server->loop.draining)
        MHD_add_response_header(a->http, "Connection", "close");
    conn->h1.state = HTTP1_ANSWER;
    net_conn_deadline(conn, net_write_deadline_ns(conn->server->loop.now_ns, a->http_bytes));
    return MHD_queue_response(conn->h1.mhd, (unsigned)a->http_status, a->http);
}

static enum MHD_Result hand(struct net_conn *conn, struct net_exchange *ex)
{
    conn->h1.state = HTTP1_HANDLER;
    net_conn_deadline(conn, 0);
    net_exchange_hand(ex, &conn->listener->opts);
    if (net_exchange_take_answer(ex)) {
        ex->answer.given = true;
        return send_answer(conn, ex);
    }
    conn->h1.suspended = true;
    net_server_due(conn->server, conn->server->loop.now_ns + LIMIT_HTTP1_HALF_MS * NS_PER_MS);
    MHD_suspend_connection(conn->h1.mhd);
    return MHD_YES;
}

void http1_answered(struct net_conn *conn)
{
    assert(conn->h1.suspended);
    conn->h1.suspended = false;
    MHD_resume_connection(conn->h1.mhd);
    conn->server->loop.run_mhd = true;
}

/* Called with the head, with each piece of the body, at its end, and after a resume. */
static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *data_len, void **req_ctx)
{
    (void)url;
    (void)version;
    struct net_server *s = cls;
    struct net_exchange *ex = *req_ctx;
    struct net_conn *conn = conn_of(mhd);
    if (!ex || s->loop.stopping)
        return MHD_NO;
    if (ex->answer.given)
        return send_answer(conn, ex);
    if (ex->loop.handed)
        return MHD_NO; /* resumed without an answer: the server is being freed */
    if (!conn->h1.head_done) {
        if (take_head(conn, ex, method) == MHD_NO)
            return MHD_NO;
        if (!refuse_early(conn, ex))
            return MHD_YES;
        net_exchange_too_large(ex);
        return hand(conn, ex);
    }
    if (*data_len) {
        struct slice piece = slice_of(data, *data_len);
        *data_len = 0;
        return take_body(conn, ex, piece);
    }
    return hand(conn, ex);
}

/* The answer has been sent, or the client or a deadline ended it before. */
static void on_completed(void *cls, struct MHD_Connection *mhd, void **req_ctx,
                         enum MHD_RequestTerminationCode how)
{
    struct net_server *s = cls;
    struct net_conn *conn = conn_of(mhd);
    struct net_exchange *ex = *req_ctx;
    *req_ctx = NULL;
    conn->h1.ex = NULL;
    conn->h1.state = HTTP1_IDLE;
    net_conn_deadline(conn, net_deadline_ms(s, conn->listener->opts.idle_timeout_ms));
    if (ex) {
        net_exchange_unwire(ex);
        net_exchange_release(ex);
    }
    if (how == MHD_REQUEST_TERMINATED_COMPLETED_OK && s->loop.draining)
        http1_cut(conn);
}

/* ---- connections ---- */

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_ctx,
                          enum MHD_ConnectionNotificationCode what)
{
    struct net_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct net_conn *conn = s->loop.adding;
        s->loop.adding = NULL;
        assert(conn);
        conn->h1.mhd = mhd;
        *socket_ctx = conn;
        gauge_add(s->http1_connections, 1);
        return;
    }
    struct net_conn *conn = *socket_ctx;
    if (conn->h1.ex) { /* its request was refused before it was one: on_completed does not come */
        net_exchange_unwire(conn->h1.ex);
        net_exchange_release(conn->h1.ex);
    }
    net_conn_free(conn);
    *socket_ctx = NULL;
    gauge_add(s->http1_connections, -1);
}

void http1_start(struct net_conn *conn, const struct sockaddr_storage *addr, socklen_t addr_len)
{
    struct net_server *s = conn->server;
    conn->state = NET_CONN_HTTP1;
    conn->h1 = (struct http1){.state = HTTP1_HEAD};
    s->loop.adding = conn;
    s->loop.run_mhd = true;
    net_server_due(s, s->loop.now_ns + LIMIT_HTTP1_HALF_MS * NS_PER_MS);
    /* On failure it has closed the descriptor. */
    MHD_add_connection(s->mhd, conn->fd, (const struct sockaddr *)addr, addr_len);
    if (s->loop.adding) {
        s->loop.adding = NULL;
        net_conn_free(conn);
    }
}

void http1_cut(struct net_conn *conn)
{
    net_conn_deadline(conn, 0);
    shutdown(conn->fd, SHUT_RDWR);
}

/* Whether the client has closed, or will send no more. */
static bool has_ended(const struct net_conn *conn)
{
    char byte;
    ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

uint64_t http1_sweep(struct net_conn *conn, uint64_t now_ns)
{
    bool half = conn->h1.state == HTTP1_HEAD || conn->h1.state == HTTP1_BODY;
    bool handled = conn->h1.state == HTTP1_HANDLER && !conn->h1.ex->gone;
    bool ended = (half || handled) && has_ended(conn);
    if ((conn->deadline_ns && conn->deadline_ns <= now_ns) || (half && ended)) {
        http1_cut(conn);
        return 0;
    }
    /* As Go's server has it: who sends no more does not wait for the answer either. It is sent all
     * the same. */
    if (handled && ended)
        conn->h1.ex->gone = true;
    uint64_t look_ns = now_ns + LIMIT_HTTP1_HALF_MS * NS_PER_MS;
    bool look = half || (handled && !ended);
    return look && (!conn->deadline_ns || look_ns < conn->deadline_ns) ? look_ns
                                                                       : conn->deadline_ns;
}

void http1_drain(struct net_conn *conn)
{
    /* A request whose head has come is under way; before that the client will ask elsewhere. */
    if (!conn->h1.ex || !conn->h1.head_done)
        http1_cut(conn);
}

/* ---- the daemon ---- */

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt, va_list ap)
{
    const struct net_server *s = cls;
    char text[256];
    if (!s->log || s->log->level > LOG_LEVEL_DEBUG)
        return;
    vsnprintf(text, sizeof text, fmt, ap);
    struct slice line = slice_cstr(text);
    while (line.len && line.ptr[line.len - 1] == '\n')
        line.len--;
    LOG_DEBUG(s->log, "libmicrohttpd", KV_SLICE("text", line));
}

/* Paths are given as sent: '/' and "%2F" are different things to a handler. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

int http1_init(struct net_server *s, struct err *err)
{
    /* Not MHD_USE_TURBO: it would skip the shutdown before close that lets an answer arrive. */
    const unsigned flags =
        MHD_USE_ERROR_LOG | MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
    s->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_HTTP1_POOL_BYTES,
        /* Listeners count their own. */
        MHD_OPTION_CONNECTION_LIMIT, 1u << 20, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!s->mhd)
        return err_set(err, ERR_INTERNAL, "server: libmicrohttpd does not start");
    return 0;
}

void http1_end(struct net_server *s)
{
    if (!s->mhd)
        return;
    s->loop.stopping = true;
    for (struct net_conn *conn = s->loop.conns; conn; conn = conn->next) {
        /* It insists that nobody is suspended when it stops. */
        if (conn->state == NET_CONN_HTTP1 && conn->h1.suspended)
            MHD_resume_connection(conn->h1.mhd);
        conn->h1.suspended = false;
    }
    MHD_stop_daemon(s->mhd);
    s->mhd = NULL;
}
