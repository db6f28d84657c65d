/* A server for HTTP/1.1 (http_parser), HTTP/2 and gRPC over h2c (nghttp2), many listeners in one.
 *
 * A request is read whole, up to the listener's limit, and given to the listener's handler on a
 * loop thread. The handler must not block; it, or whoever it hands the request to, answers exactly
 * once with net_reply or net_reply_grpc, at once or later, from any thread. The request and all its
 * slices are good until that call, which takes the request back. A gRPC call may get messages
 * before its answer (net_stream_send). Slow clients, half requests and
 * idle connections are the server's business: they never reach a handler. */
#ifndef NET_NET_SERVER_H
#define NET_NET_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"

struct net_server;

enum net_proto {
    NET_HTTP, /* of any version */
    NET_GRPC
};

struct net_header {
    struct slice name; /* lower case */
    struct slice value;
};

struct net_request {
    enum net_proto proto;
    struct slice method; /* "GET" */
    struct slice path;   /* as sent, percent-encoded, without the query */
    struct slice query;  /* as sent, without '?' */
    struct slice body;   /* HTTP: as received. gRPC unary: the message, decompressed */
    const struct net_header *headers;
    size_t header_count;
    struct slice peer;         /* "127.0.0.1:51234" */
    uint64_t received_mono_ns; /* when the head was complete */
    uint64_t deadline_mono_ns; /* from grpc-timeout; 0: none */
    /* The body passed the limit, or gRPC could not take it apart: body is empty and the handler
     * answers in its own words. 0, ERR_LIMIT, ERR_CORRUPT or ERR_UNSUPPORTED (grpc-encoding). */
    int body_rc;
    struct err body_err;
    _Atomic bool gone; /* the server's: net_request_gone */
    void *user;        /* for the handler */
};

typedef void(net_handler_fn)(void *ctx, struct net_request *req);

/* A connection that stops to be HTTP's: head is its request, good during the call, fd what is left,
 * which does not block. The function takes the descriptor, answers on it (101, or a refusal), and
 * must not block. Called on the loop's thread. */
typedef void(net_upgrade_fn)(void *ctx, int fd, struct slice head, struct slice peer);

enum net_listener_protocols {
    NET_LISTEN_HTTP1 = 1 << 0,
    /* h2c by prior knowledge; with HTTP1 too the first bytes decide, and what comes over HTTP/2 and
     * is no gRPC is a plain HTTP request. */
    NET_LISTEN_GRPC = 1 << 1,
};

struct net_listener_opts {
    struct slice address;       /* "localhost:4317", "0.0.0.0:3200", "[::1]:0", ":3200" = all.
                                   localhost binds 127.0.0.1 and, where there is one, ::1 */
    unsigned protocols;         /* enum net_listener_protocols */
    uint64_t body_bytes_max;    /* of one request body or gRPC message, as received */
    uint64_t message_bytes_max; /* of a gRPC message after decompression; 0: body_bytes_max */
    uint32_t read_timeout_ms;   /* for head and body to arrive; 0: 30000 */
    uint32_t idle_timeout_ms;   /* between requests; 0: 120000 */
    uint32_t connections_max;   /* 0: 16384 */
    net_handler_fn *handler;
    void *ctx;
    const char *upgrade_path; /* a GET of it, the first of its connection, is given to upgrade */
    net_upgrade_fn *upgrade;  /* NULL: none is */
    void *upgrade_ctx;
};

struct net_env {
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
};

int net_server_new(const struct net_env *env, struct net_server **out, struct err *err);
/* Binds and starts to serve. *port gets the port that was bound (address may say 0). The error text
 * names the address and the cause. */
int net_server_listen(struct net_server *s, const struct net_listener_opts *opts, uint16_t *port,
                      struct err *err);
/* No new connections or requests; what is under way may finish (GOAWAY, Connection: close). */
void net_server_drain(struct net_server *s);
/* True when no request is unanswered and every answer has been sent, or at the deadline: false. */
bool net_server_idle(struct net_server *s, uint64_t deadline_mono_ns);
void net_server_free(struct net_server *s); /* closes everything, joins the threads */

/* Value of the first header of that (lower-case) name; a NULL ptr when there is none. */
struct slice net_request_header(const struct net_request *req, const char *name);
/* Value of the first header of that name (any case) in the head of an upgrade; a NULL ptr when there
 * is none. */
struct slice net_head_value(struct slice head, const char *name);
/* How many headers have that name. */
size_t net_request_header_count(const struct net_request *req, const char *name);

/* First query parameter of that name, '+' and percent decoded, appended to out. Returns whether
 * the parameter is there with a non-empty value ("present but empty" counts as absent). As in Go, a
 * pair with a broken escape is passed over. False too when out has no room: out is unchanged. */
bool net_request_param(const struct net_request *req, const char *name, struct buf *out);
/* Walks all parameters in order, both parts decoded; good during the call. */
typedef void(net_param_fn)(void *ctx, struct slice name, struct slice value);
void net_request_params(const struct net_request *req, net_param_fn *fn, void *ctx);
/* Percent decoding of a path segment ('+' stays unless plus_is_space), appended to out. False: a
 * broken escape, whose bytes stay as sent, or no room. */
bool net_percent_decode(struct slice in, bool plus_is_space, struct buf *out);
/* All but letters, digits and -._~ becomes %XX: for a segment, a name or a value. */
int net_percent_encode(struct slice in, struct buf *out);

struct net_reply {
    int status;                       /* HTTP status */
    const char *content_type;         /* static; NULL: none */
    const struct net_header *headers; /* further ones; copied by net_reply */
    size_t header_count;
    struct buf body; /* moved into the reply; leave zeroed for an empty body */
};

/* Takes req back and moves reply->body. When the client has gone the answer is dropped. Answers to
 * an HTTP/1.1 request that accepts gzip are compressed from 1 KiB up if compress is set. To a gRPC
 * request the status is translated and the body becomes the message or the error's text. */
void net_reply(struct net_request *req, struct net_reply *reply, bool compress);
/* gRPC: one message (may be NULL when status is not 0) and the trailers. message_text is
 * percent-encoded here; details is the raw google.rpc.Status for grpc-status-details-bin, or
 * empty. The reply message is compressed with the request's encoding. message is moved. */
void net_reply_grpc(struct net_request *req, int grpc_status, struct slice message_text,
                    struct slice details, struct buf *message);
/* gRPC, before net_reply_grpc: a message that the client gets as soon as it takes it. Moves message
 * when it returns 0. ERR_CANCELLED: the client is gone. ERR_LIMIT: larger than a message can be.
 * ERR_NOMEM. Any thread, but one at a time. */
int net_stream_send(struct net_request *req, struct buf *message);
/* Whether the client keeps up: little of what was sent is still waiting for it. Who has more to
 * tell than it takes asks here first. Any thread. */
bool net_stream_ready(const struct net_request *req);
/* Whether the client has left: its connection is closed, or it has reset the stream. An answer is
 * still due; nobody reads it. Of HTTP/1.1 also: it sends no more. Any thread. */
static inline bool net_request_gone(const struct net_request *req)
{
    return req->gone;
}
/* A text/plain answer: the short form of net_reply. */
void net_reply_text(struct net_request *req, int status, struct slice text);

/* Undoes a Content-Encoding: "" or gzip, zlib, deflate, zstd, snappy (framed), lz4. Output is
 * appended to out, whose max bounds it: ERR_LIMIT. ERR_UNSUPPORTED "unsupported Content-Encoding:
 * br", ERR_CORRUPT "gzip: invalid header". */
int net_content_decode(struct slice encoding, struct slice in, struct buf *out, struct err *err);
/* gzip, for answers. */
int net_gzip(struct slice in, struct buf *out, struct err *err);

#endif
