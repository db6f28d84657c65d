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

/* libmicrohttpd wants C strings, and refuses what would break out of a header: such a header is
 * left out. */
static void add_header(struct MHD_Response *http, struct slice name, struct slice value)
{
    char *text = malloc(name.len + value.len + 2);
    if (!text)
        return;
    if (name.len)
        memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (value.len)
        memcpy(text + name.len + 1, value.ptr, value.len);
    text[name.len + 1 + value.len] = '\0';
    MHD_add_response_header(http, text, text + name.len + 1);
    free(text);
}

static void reply_http(struct net_exchange *ex, struct net_reply *reply, bool compress)
{
    struct net_answer *a = &ex->answer;
    bool packed = compress && compress_body(&ex->req, &reply->body);
    uint8_t *bytes;
    size_t len;
    buf_take(&reply->body, &bytes, &len);
    a->http_status = reply->status >= 200 && reply->status <= 999 ? reply->status : 500;
    a->http_bytes = len;
    a->http = bytes ? MHD_create_response_from_buffer_with_free_callback(len, bytes, free)
                    : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!a->http) {
        free(bytes);
        return;
    }
    if (reply->content_type)
        MHD_add_response_header(a->http, "Content-Type", reply->content_type);
    if (compress)
        MHD_add_response_header(a->http, "Vary", "Accept-Encoding");
    if (packed)
        MHD_add_response_header(a->http, "Content-Encoding", "gzip");
    for (size_t i = 0; i < reply->header_count; i++)
        add_header(a->http, reply->headers[i].name, reply->headers[i].value);
}

/* A handler of both protocols said it in HTTP's words: the status is translated, and the body is
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
    struct net_exchange *ex = net_exchange_of(req);
    if (req->proto == NET_GRPC) {
        reply_translated(req, reply);
        return;
    }
    reply_http(ex, reply, compress);
    net_exchange_replied(ex);
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

static void set_message(struct net_exchange *ex, struct buf *message)
{
    struct net_answer *a = &ex->answer;
    a->has_message = true;
    a->message = *message;
    buf_init(message, message->max);
    if (!slice_eq(net_request_header(&ex->req, "grpc-encoding"), SLICE("gzip")))
        return;
    struct buf packed;
    buf_init(&packed, a->message.len + 256);
    if (net_gzip(buf_view(&a->message), &packed, NULL) < 0) {
        /* Does not pack, or no memory: the prefix of each message says how it is coded. */
        buf_clear(&packed);
        return;
    }
    buf_clear(&a->message);
    a->message = packed;
    a->gzip = true;
}

void net_reply_grpc(struct net_request *req, int grpc_status, struct slice message_text,
                    struct slice details, struct buf *message)
{
    assert(req->proto == NET_GRPC);
    assert(message || grpc_status != 0);
    struct net_exchange *ex = net_exchange_of(req);
    if (message && message->len > UINT32_MAX) {
        buf_clear(message);
        message = NULL;
        grpc_status = 8;
        message_text = SLICE("grpc: the answer is larger than a message can be");
    }
    set_status(&ex->answer, grpc_status, message_text, details);
    if (message)
        set_message(ex, message);
    net_exchange_replied(ex);
}
