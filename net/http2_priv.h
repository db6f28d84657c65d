/* Between http2.c (connections) and http2_stream.c (streams). */
#ifndef NET_HTTP2_PRIV_H
#define NET_HTTP2_PRIV_H

#include "net/grpc_frame.h"
#include "net/net_server_priv.h"

struct h2_stream {
    struct net_conn *conn;
    struct h2_stream *prev;
    struct h2_stream *next;
    int32_t id;
    struct net_exchange *ex;
    uint64_t deadline_ns; /* to have sent the request, then to have taken the answer; 0: none */
    size_t header_bytes;  /* as RFC 9113 counts them */
    struct grpc_unary unary;
    struct slice encoding; /* grpc-encoding; empty: none */
    bool head_done;
    bool over;                   /* what still arrives is thrown away */
    bool request_ended;          /* END_STREAM came */
    bool answering;              /* the head of the answer is submitted */
    struct net_message *message; /* being sent, or NULL */
    size_t sent;                 /* of its prefix and bytes */
};

void h2_stream_callbacks(nghttp2_session_callbacks *cb);
/* Sends what the exchange has to say: messages, or the answer. */
void h2_stream_answer(struct h2_stream *st);
/* Takes the stream off its connection; the exchange loses its wire. */
void h2_stream_free(struct h2_stream *st);

/* No stream is left: the idle time begins. */
void h2_conn_quiet(struct net_conn *conn);

#endif
