/* A stream is one unary gRPC call: its head is checked, its message collected and handed over, its
 * answer sent as headers, one message and trailers. */
#include "net/http2_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/net_limits.h"

#define GRPC_ACCEPT_ENCODING "identity,gzip,snappy,zstd"

static nghttp2_nv nv(const char *name, struct slice value)
{
    /* nghttp2 copies both before it returns. */
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value.ptr,
        .namelen = strlen(name),
        .valuelen = value.len,
    };
}

/* ---- life ---- */

static struct h2_stream *stream_new(struct net_conn *conn, int32_t id)
{
    struct h2_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->ex = net_exchange_new(conn->server->core, NET_GRPC, conn->peer, LIMIT_HTTP2_HEADER_BYTES);
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
    st->ex->loop.wire = NULL;
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
    stream_deadline(
        st, net_write_deadline_ns(st->conn->server->loop.now_ns, st->ex->answer.message.len));
    if (nghttp2_submit_response(session, st->id, nva, count, body) != 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
}

/* A request that is no gRPC call is answered in HTTP's terms, without a handler. */
static void refuse_http(struct h2_stream *st, const char *status)
{
    st->over = true;
    const nghttp2_nv nva[] = {nv(":status", slice_cstr(status))};
    submit(st, nva, 1, NULL);
}

/* Status, text and details as trailers want them. */
static size_t status_nv(const struct net_answer *a, char number[12], nghttp2_nv nva[3])
{
    size_t count = 0;
    snprintf(number, 12, "%d", a->grpc_status);
    nva[count++] = nv("grpc-status", slice_cstr(number));
    if (a->text.len)
        nva[count++] = nv("grpc-message", buf_view(&a->text));
    if (a->details.len)
        nva[count++] = nv("grpc-status-details-bin", buf_view(&a->details));
    return count;
}

static void copy_part(struct slice from, size_t *at, uint8_t **to, size_t *room)
{
    if (*at >= from.len) {
        *at -= from.len;
        return;
    }
    size_t n = from.len - *at < *room ? from.len - *at : *room;
    memcpy(*to, from.ptr + *at, n);
    *to += n;
    *room -= n;
    *at = 0;
}

/* nghttp2 asks for as much of the message as flow control lets through now. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)user;
    struct h2_stream *st = source->ptr;
    const struct net_answer *a = &st->ex->answer;
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix(a->gzip, (uint32_t)a->message.len, prefix);
    size_t at = st->sent;
    size_t left = room;
    copy_part(slice_of(prefix, sizeof prefix), &at, &to, &left);
    if (left && a->message.len)
        copy_part(buf_view(&a->message), &at, &to, &left);
    size_t n = room - left;
    st->sent += n;
    if (st->sent == sizeof prefix + a->message.len) {
        char number[12];
        nghttp2_nv nva[3];
        size_t count = status_nv(a, number, nva);
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, nva, count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

void h2_stream_answer(struct h2_stream *st)
{
    const struct net_answer *a = &st->ex->answer;
    char number[12];
    nghttp2_nv nva[8];
    size_t count = 0;
    nva[count++] = nv(":status", SLICE("200"));
    nva[count++] = nv("content-type", SLICE("application/grpc"));
    nva[count++] = nv("grpc-accept-encoding", SLICE(GRPC_ACCEPT_ENCODING));
    if (!a->has_message) {
        count += status_nv(a, number, nva + count);
        submit(st, nva, count, NULL);
        return;
    }
    if (a->gzip)
        nva[count++] = nv("grpc-encoding", SLICE("gzip"));
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = on_read};
    submit(st, nva, count, &body);
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
    if (!is_grpc(net_request_header(&ex->req, "content-type"))) {
        refuse_http(st, "415");
        return;
    }
    if (!slice_eq(ex->req.method, SLICE("POST"))) {
        refuse_http(st, "405");
        return;
    }
    take_timeout(st);
    if (st->over)
        return;
    st->encoding = net_request_header(&ex->req, "grpc-encoding");
    int rc = grpc_encoding_check(st->encoding, &ex->req.body_err);
    if (rc < 0)
        hand_error(st, rc);
    else
        buf_init(&ex->body,
                 opts->body_bytes_max > UINT32_MAX ? UINT32_MAX : (size_t)opts->body_bytes_max);
}

static void request_end(struct h2_stream *st)
{
    struct net_exchange *ex = st->ex;
    st->request_ended = true;
    if (st->over)
        return;
    int rc = grpc_unary_end(&st->unary, st->encoding, st->conn->listener->opts.message_bytes_max,
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
        return 0; /* trailers of the client mean nothing to gRPC */
    struct h2_stream *st = stream_of(session, frame->hd.stream_id);
    if (!st || st->header_bytes > LIMIT_HTTP2_HEADER_BYTES)
        return 0;
    st->header_bytes += name_len + value_len + LIMIT_HTTP2_HEADER_OVERHEAD;
    if (st->header_bytes > LIMIT_HTTP2_HEADER_BYTES)
        return 0;
    int rc = net_exchange_header(st->ex, slice_of(name, name_len), slice_of(value, value_len));
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
    int rc =
        grpc_unary_feed(&st->unary, slice_of(data, len), st->conn->listener->opts.body_bytes_max,
                        &st->ex->body, &st->ex->req.body_err);
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
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
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
