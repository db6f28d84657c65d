/* A stream is one gRPC call, or one plain HTTP request where the listener takes those: its head is
 * checked, its message or body collected and handed over, what comes back sent as headers, messages
 * (or the body) and trailers. Messages are sent as they come; between them the stream is deferred.
 */
#include "net/http2_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/net_limits.h"

#define GRPC_ACCEPT_ENCODING "identity,gzip,snappy,zstd"
/* Headers of an HTTP answer, ours and the handler's. Hit: further ones are left out. */
#define ANSWER_HEADERS_MAX 32

static nghttp2_nv nv(struct slice name, struct slice value)
{
    /* nghttp2 copies both before it returns. */
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.ptr,
        .value = (uint8_t *)(uintptr_t)value.ptr,
        .namelen = name.len,
        .valuelen = value.len,
    };
}

/* ---- life ---- */

static struct h2_stream *stream_new(struct net_conn *conn, int32_t id)
{
    struct h2_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->ex = net_exchange_new(conn->server->core, true, conn->peer, LIMIT_HTTP2_HEADER_BYTES);
    if (!st->ex) {
        free(st);
        return NULL;
    }
    st->ex->loop.wire = st;
    st->conn = conn;
    st->id = id;
    st->next = conn->h2.streams;
    if (st->next)
        st->next->prev = st;
    conn->h2.streams = st;
    net_conn_deadline(conn, 0);
    return st;
}

void h2_stream_free(struct h2_stream *st)
{
    struct net_conn *conn = st->conn;
    if (st->prev)
        st->prev->next = st->next;
    else
        conn->h2.streams = st->next;
    if (st->next)
        st->next->prev = st->prev;
    net_message_free(st->message);
    net_exchange_unwire(st->ex);
    net_exchange_release(st->ex);
    free(st);
    if (!conn->h2.streams)
        h2_conn_quiet(conn);
}

static void stream_deadline(struct h2_stream *st, uint64_t deadline_ns)
{
    st->deadline_ns = deadline_ns;
    net_server_due(st->conn->server, deadline_ns);
}

/* ---- the answer ---- */

static void submit(struct h2_stream *st, const nghttp2_nv *nva, size_t count,
                   const nghttp2_data_provider *body)
{
    nghttp2_session *session = st->conn->h2.session;
    st->answering = true;
    if (!st->deadline_ns)
        stream_deadline(st, net_write_deadline_ns(st->conn->server->loop.now_ns, 0));
    if (nghttp2_submit_response(session, st->id, nva, count, body) != 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
}

/* A request that no handler should see, in HTTP's terms. */
static void refuse_http(struct h2_stream *st, const char *status)
{
    st->over = true;
    const nghttp2_nv nva[] = {nv(SLICE(":status"), slice_cstr(status))};
    submit(st, nva, 1, NULL);
}

/* Status, text and details as trailers want them. */
static size_t status_nv(const struct net_answer *a, char number[12], nghttp2_nv nva[3])
{
    size_t count = 0;
    snprintf(number, 12, "%d", a->grpc_status);
    nva[count++] = nv(SLICE("grpc-status"), slice_cstr(number));
    if (a->text.len)
        nva[count++] = nv(SLICE("grpc-message"), buf_view(&a->text));
    if (a->details.len)
        nva[count++] = nv(SLICE("grpc-status-details-bin"), buf_view(&a->details));
    return count;
}

/* Takes up the next message that waits, with time for it to leave. */
static void next_message(struct h2_stream *st)
{
    if (st->message) {
        st->ex->waiting -= st->message->bytes.len;
        net_message_free(st->message);
    }
    st->message = net_exchange_pop(st->ex);
    st->sent = 0;
    stream_deadline(st, st->message ? net_write_deadline_ns(st->conn->server->loop.now_ns,
                                                            st->message->bytes.len)
                                    : 0);
}

static size_t copy_part(struct slice from, size_t at, uint8_t *to, size_t room)
{
    struct slice rest = slice_from(from, at);
    size_t n = rest.len < room ? rest.len : room;
    if (n)
        memcpy(to, rest.ptr, n);
    return n;
}

/* Bytes of the message, as many as there is room for. */
static size_t copy_message(struct h2_stream *st, uint8_t *to, size_t room)
{
    const struct net_message *m = st->message;
    size_t prefix = copy_part(slice_of(m->prefix, m->prefix_len), st->sent, to, room);
    st->sent += prefix;
    if (st->sent < m->prefix_len)
        return prefix;
    size_t body =
        copy_part(buf_view(&m->bytes), st->sent - m->prefix_len, to + prefix, room - prefix);
    st->sent += body;
    return prefix + body;
}

/* nghttp2 asks for as much as flow control lets through now. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)user;
    struct h2_stream *st = source->ptr;
    size_t n = 0;
    while (st->message && n < room) {
        n += copy_message(st, to + n, room - n);
        if (st->sent == st->message->prefix_len + st->message->bytes.len)
            next_message(st);
    }
    if (st->message)
        return (ssize_t)n;
    if (!st->ex->answer.given)
        return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED; /* until there is more */
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->ex->req.proto == NET_GRPC) {
        char number[12];
        nghttp2_nv nva[3];
        size_t count = status_nv(&st->ex->answer, number, nva);
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, nva, count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static void head_grpc(struct h2_stream *st, const nghttp2_data_provider *body)
{
    char number[12];
    nghttp2_nv nva[8];
    size_t count = 0;
    nva[count++] = nv(SLICE(":status"), SLICE("200"));
    nva[count++] = nv(SLICE("content-type"), SLICE("application/grpc"));
    nva[count++] = nv(SLICE("grpc-accept-encoding"), SLICE(GRPC_ACCEPT_ENCODING));
    if (body && slice_eq(st->encoding, SLICE("gzip")))
        nva[count++] = nv(SLICE("grpc-encoding"), SLICE("gzip"));
    if (!body) /* trailers only */
        count += status_nv(&st->ex->answer, number, nva + count);
    submit(st, nva, count, body);
}

static void head_http(struct h2_stream *st, const nghttp2_data_provider *body)
{
    const struct net_answer *a = &st->ex->answer;
    char number[12];
    nghttp2_nv nva[ANSWER_HEADERS_MAX];
    size_t count = 0;
    snprintf(number, sizeof number, "%d", a->http_status);
    nva[count++] = nv(SLICE(":status"), slice_cstr(number));
    for (uint32_t i = 0; i < a->head.entries.count && count < ANSWER_HEADERS_MAX; i++) {
        struct net_header h = net_head_at(&a->head, i);
        nva[count++] = nv(h.name, h.value);
    }
    submit(st, nva, count, body);
}

void h2_stream_answer(struct h2_stream *st)
{
    if (!st->message)
        next_message(st);
    if (st->answering) {
        /* Refused when nothing was deferred: then it has been read already. */
        nghttp2_session_resume_data(st->conn->h2.session, st->id);
        return;
    }
    const nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_read};
    const nghttp2_data_provider *body = st->message ? &provider : NULL;
    if (st->ex->req.proto == NET_GRPC)
        head_grpc(st, body);
    else
        head_http(st, body);
}

/* ---- the request ---- */

static void hand(struct h2_stream *st)
{
    st->over = true;
    stream_deadline(st, 0);
    net_exchange_hand(st->ex, &st->conn->listener->opts);
}

static void hand_error(struct h2_stream *st, int rc)
{
    st->ex->req.body_rc = rc;
    hand(st);
}

/* A malformed call that no handler should see. */
static void refuse_grpc(struct h2_stream *st, int status, struct slice text)
{
    struct net_answer *a = &st->ex->answer;
    st->over = true;
    a->given = true;
    a->grpc_status = status;
    buf_init(&a->text, 3 * text.len);
    if (grpc_message_encode(text, &a->text) < 0)
        buf_clear(&a->text);
    h2_stream_answer(st);
}

static bool is_grpc(struct slice content_type)
{
    const struct slice grpc = SLICE("application/grpc");
    if (content_type.len < grpc.len || !slice_eq_nocase(slice_of(content_type.ptr, grpc.len), grpc))
        return false;
    return content_type.len == grpc.len || content_type.ptr[grpc.len] == '+' ||
           content_type.ptr[grpc.len] == ';';
}

/* Pseudo headers came as headers too; they become the request line and are dropped. */
static void request_line(struct net_request *req)
{
    struct slice target = net_request_header(req, ":path");
    size_t mark = slice_find(target, '?');
    req->method = net_request_header(req, ":method");
    req->path = slice_of(target.ptr, mark);
    req->query = slice_from(target, mark + 1);
    size_t pseudo = 0;
    while (pseudo < req->header_count && req->headers[pseudo].name.len &&
           req->headers[pseudo].name.ptr[0] == ':')
        pseudo++;
    req->headers += pseudo;
    req->header_count -= pseudo;
}

static void take_timeout(struct h2_stream *st)
{
    struct net_request *req = &st->ex->req;
    struct slice text = net_request_header(req, "grpc-timeout");
    uint64_t ns;
    if (!text.ptr)
        return;
    if (!grpc_timeout_parse(text, &ns))
        refuse_grpc(st, 13, SLICE("malformed grpc-timeout"));
    else if (__builtin_add_overflow(req->received_mono_ns, ns, &req->deadline_mono_ns))
        req->deadline_mono_ns = 0;
}

static void call_begin(struct h2_stream *st)
{
    struct net_exchange *ex = st->ex;
    if (!slice_eq(ex->req.method, SLICE("POST"))) {
        refuse_http(st, "405");
        return;
    }
    ex->req.proto = NET_GRPC;
    take_timeout(st);
    if (st->over)
        return;
    st->encoding = net_request_header(&ex->req, "grpc-encoding");
    int rc = grpc_encoding_check(st->encoding, &ex->req.body_err);
    if (rc < 0)
        hand_error(st, rc);
}

static void head_done(struct h2_stream *st)
{
    struct net_exchange *ex = st->ex;
    const struct net_listener_opts *opts = &st->conn->listener->opts;
    st->head_done = true;
    bool too_large = st->header_bytes > LIMIT_HTTP2_HEADER_BYTES;
    if (net_exchange_head_done(ex) < 0) {
        st->over = true;
        nghttp2_submit_rst_stream(st->conn->h2.session, NGHTTP2_FLAG_NONE, st->id,
                                  NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (too_large) {
        refuse_http(st, "431");
        return;
    }
    request_line(&ex->req);
    buf_init(&ex->body,
             opts->body_bytes_max > UINT32_MAX ? UINT32_MAX : (size_t)opts->body_bytes_max);
    if (is_grpc(net_request_header(&ex->req, "content-type")))
        call_begin(st);
    else if (!(opts->protocols & NET_LISTEN_HTTP1))
        refuse_http(st, "415");
}

static int take_data(struct h2_stream *st, struct slice data)
{
    struct net_exchange *ex = st->ex;
    if (ex->req.proto == NET_GRPC)
        return grpc_unary_feed(&st->unary, data, st->conn->listener->opts.body_bytes_max, &ex->body,
                               &ex->req.body_err);
    int rc = buf_slice(&ex->body, data);
    if (rc == ERR_LIMIT)
        net_exchange_too_large(ex);
    else if (rc < 0)
        err_set(&ex->req.body_err, rc, "http: no memory for a body of %zu bytes", ex->body.len);
    return rc;
}

static void request_end(struct h2_stream *st)
{
    struct net_exchange *ex = st->ex;
    st->request_ended = true;
    if (st->over)
        return;
    int rc = 0;
    if (ex->req.proto == NET_GRPC)
        rc = grpc_unary_end(&st->unary, st->encoding, st->conn->listener->opts.message_bytes_max,
                            &ex->body, &ex->req.body_err);
    if (rc < 0)
        hand_error(st, rc);
    else
        hand(st);
}

/* ---- nghttp2's callbacks ---- */

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct net_conn *conn = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *st = stream_new(conn, frame->hd.stream_id);
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, st->id, st);
    stream_deadline(st, net_deadline_ms(conn->server, conn->listener->opts.read_timeout_ms));
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers of the client mean nothing to us */
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (!st || st->header_bytes > LIMIT_HTTP2_HEADER_BYTES)
        return 0;
    st->header_bytes += name_len + value_len + LIMIT_HTTP2_HEADER_OVERHEAD;
    if (st->header_bytes > LIMIT_HTTP2_HEADER_BYTES)
        return 0;
    int rc = net_head_add(&st->ex->head, slice_of(name, name_len), slice_of(value, value_len));
    return rc < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    (void)flags;
    (void)user;
    struct h2_stream *st = stream_of(session, id);
    if (!st || !st->head_done || st->over)
        return 0;
    int rc = take_data(st, slice_of(data, len));
    if (rc == 0)
        rc = net_exchange_charge(st->ex);
    if (rc < 0)
        hand_error(st, rc);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct net_conn *conn = user;
    if (frame->hd.type == NGHTTP2_SETTINGS && !conn->h2.settled) {
        conn->h2.settled = true;
        if (!conn->h2.streams)
            h2_conn_quiet(conn);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (!st)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !st->head_done)
        head_done(st);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        request_end(st);
    return 0;
}

/* The answer is complete but the request is not, and nobody wants the rest of it (RFC 9113, 8.1).
 */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (st && !st->request_ended)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    (void)code;
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_INTERNAL_ERROR);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    (void)user;
    struct h2_stream *st = stream_of(session, id);
    if (!st)
        return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    h2_stream_free(st);
    return 0;
}

void h2_stream_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
}
