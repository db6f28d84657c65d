/* Answers. Everything dear is done here, in the replier's thread: compression, framing, copies of
 * headers. The loop only sends. */
#include "net/net_server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "net/grpc_frame.h"
#include "net/net_exchange.h"
#include "net/net_limits.h"

static struct slice trim(struct slice s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* "gzip;q=0" and its longer spellings. */
static bool quality_is_zero(struct slice params)
{
    size_t eq = slice_find(params, '=');
    struct slice q = trim(slice_from(params, eq + 1));
    for (size_t i = 0; i < q.len; i++) {
        if (q.ptr[i] != '0' && q.ptr[i] != '.')
            return false;
    }
    return q.len > 0;
}

static bool accepts_gzip(const struct net_request *req)
{
    struct slice rest = net_request_header(req, "accept-encoding");
    while (rest.len) {
        size_t end = slice_find(rest, ',');
        struct slice item = slice_of(rest.ptr, end);
        rest = slice_from(rest, end + 1);
        size_t semi = slice_find(item, ';');
        if (slice_eq_nocase(trim(slice_of(item.ptr, semi)), SLICE("gzip")))
            return !quality_is_zero(slice_from(item, semi + 1));
    }
    return false;
}

/* Packs body in place where the client takes it and it pays. Failure leaves it plain. */
static bool compress_body(const struct net_request *req, struct buf *body)
{
    if (body->len < LIMIT_GZIP_BYTES_MIN || !accepts_gzip(req))
        return false;
    struct buf packed;
    buf_init(&packed, body->len);
    if (net_gzip(buf_view(body), &packed, NULL) < 0) {
        buf_clear(&packed);
        return false;
    }
    buf_clear(body);
    *body = packed;
    return true;
}

/* Without memory it is missing. */
static void add_header(struct net_exchange *ex, struct slice name, struct slice value)
{
    net_head_add(&ex->answer.head, name, value);
}

static void add_headers(struct net_exchange *ex, const struct net_reply *reply, bool compress,
                        bool packed)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", reply->body.len);
    if (reply->status != 204 && reply->status != 304)
        add_header(ex, SLICE("Content-Length"), slice_cstr(length));
    if (reply->content_type)
        add_header(ex, SLICE("Content-Type"), slice_cstr(reply->content_type));
    if (compress)
        add_header(ex, SLICE("Vary"), SLICE("Accept-Encoding"));
    if (packed)
        add_header(ex, SLICE("Content-Encoding"), SLICE("gzip"));
    for (size_t i = 0; i < reply->header_count; i++)
        add_header(ex, reply->headers[i].name, reply->headers[i].value);
}

static void reply_http(struct net_exchange *ex, struct net_reply *reply, bool compress)
{
    struct net_answer *a = &ex->answer;
    struct net_message *m = NULL;
    bool packed = compress && compress_body(&ex->req, &reply->body);
    bool body = reply->body.len && !slice_eq(ex->req.method, SLICE("HEAD")) &&
                reply->status != 204 && reply->status != 304;
    a->http_status = reply->status >= 200 && reply->status <= 999 ? reply->status : 500;
    buf_init(&a->head.text, LIMIT_ANSWER_HEADER_BYTES);
    add_headers(ex, reply, compress, packed);
    if (body && !(m = net_message_new(&reply->body))) { /* no memory: an error without a body */
        a->http_status = 500;
        buf_reset(&a->head.text);
        vec_reset(&a->head.entries);
        add_header(ex, SLICE("Content-Length"), SLICE("0"));
    }
    buf_clear(&reply->body);
    net_exchange_replied(ex, m);
}

/* A gRPC call that was answered in HTTP's words: the status is translated, and the body is
 * the message, or the text of the error, as the query API's streams have it. */
static void reply_translated(struct net_request *req, struct net_reply *reply)
{
    int status = grpc_status_of_http(reply->status);
    if (status == 0)
        net_reply_grpc(req, 0, SLICE(""), SLICE(""), &reply->body);
    else
        net_reply_grpc(req, status, buf_view(&reply->body), SLICE(""), NULL);
    buf_clear(&reply->body);
}

void net_reply(struct net_request *req, struct net_reply *reply, bool compress)
{
    if (req->proto == NET_GRPC) {
        reply_translated(req, reply);
        return;
    }
    reply_http(net_exchange_of(req), reply, compress);
}

void net_reply_text(struct net_request *req, int status, struct slice text)
{
    struct net_reply reply = {
        .status = status,
        .content_type = "text/plain; charset=utf-8",
    };
    buf_init(&reply.body, text.len);
    if (buf_slice(&reply.body, text) < 0)
        reply.status = 500;
    net_reply(req, &reply, false);
}

/* Text and details are cut to what clients take in trailers; without memory they are missing, and
 * the status still arrives. */
static void set_status(struct net_answer *a, int status, struct slice text, struct slice details)
{
    a->grpc_status = status;
    if (text.len > LIMIT_GRPC_MESSAGE_BYTES)
        text.len = LIMIT_GRPC_MESSAGE_BYTES;
    buf_init(&a->text, 3 * (size_t)LIMIT_GRPC_MESSAGE_BYTES);
    if (grpc_message_encode(text, &a->text) < 0)
        buf_clear(&a->text);
    buf_init(&a->details, 2 * (size_t)LIMIT_GRPC_DETAILS_BYTES);
    if (details.len > LIMIT_GRPC_DETAILS_BYTES || buf_base64(&a->details, details) < 0)
        buf_clear(&a->details);
    while (a->details.len && a->details.ptr[a->details.len - 1] == '=')
        a->details.len--;
}

/* A message with its prefix, packed if the request was. Moves bytes; NULL: no memory. */
static struct net_message *grpc_message(const struct net_exchange *ex, struct buf *bytes)
{
    struct net_message *m = net_message_new(bytes);
    bool gzip = false;
    if (m && slice_eq(net_request_header(&ex->req, "grpc-encoding"), SLICE("gzip"))) {
        struct buf packed;
        buf_init(&packed, m->bytes.len + 256);
        gzip = net_gzip(buf_view(&m->bytes), &packed, NULL) == 0;
        /* Does not pack, or no memory: the prefix of each message says how it is coded. */
        buf_clear(gzip ? &m->bytes : &packed);
        if (gzip)
            m->bytes = packed;
    }
    if (m) {
        grpc_prefix(gzip, (uint32_t)m->bytes.len, m->prefix);
        m->prefix_len = GRPC_PREFIX_BYTES;
    }
    return m;
}

int net_stream_send(struct net_request *req, struct buf *message)
{
    assert(req->proto == NET_GRPC);
    struct net_exchange *ex = net_exchange_of(req);
    if (req->gone)
        return ERR_CANCELLED;
    if (message->len > UINT32_MAX)
        return ERR_LIMIT;
    struct net_message *m = grpc_message(ex, message);
    if (!m)
        return ERR_NOMEM;
    net_exchange_send(ex, m);
    return 0;
}

bool net_stream_ready(const struct net_request *req)
{
    const struct net_exchange *ex =
        (const struct net_exchange *)((const char *)req - offsetof(struct net_exchange, req));
    return ex->waiting < LIMIT_STREAM_WAITING_BYTES;
}

void net_reply_grpc(struct net_request *req, int grpc_status, struct slice message_text,
                    struct slice details, struct buf *message)
{
    assert(req->proto == NET_GRPC);
    assert(message || grpc_status != 0);
    struct net_exchange *ex = net_exchange_of(req);
    struct net_message *m = NULL;
    if (message && message->len > UINT32_MAX) {
        grpc_status = 8;
        message_text = SLICE("grpc: the answer is larger than a message can be");
    } else if (message && !(m = grpc_message(ex, message))) {
        grpc_status = 13;
        message_text = SLICE("grpc: no memory for the answer");
    }
    if (message)
        buf_clear(message);
    set_status(&ex->answer, grpc_status, message_text, details);
    net_exchange_replied(ex, m);
}
