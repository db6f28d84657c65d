/* The inside of the server: its loop, its connections, and what the two protocols owe it.
 *
 * One thread runs all of it, so that nothing here needs a lock; what other threads may touch is in
 * struct net_core (net_exchange.h) and the list of listeners. */
#ifndef NET_NET_SERVER_PRIV_H
#define NET_NET_SERVER_PRIV_H

#include <pthread.h>
#include <time.h>

#include <http_parser.h>
#include <nghttp2/nghttp2.h>

#include "net/net_exchange.h"
#include "net/net_server.h"

/* What an epoll event belongs to: the first member of each thing that is watched. */
enum net_source { NET_SOURCE_WAKE, NET_SOURCE_ACCEPTOR, NET_SOURCE_CONN };

struct net_acceptor {
    enum net_source source;
    int fd; /* -1: none */
    struct net_listener *listener;
};

struct net_listener {
    struct net_server *server;
    struct net_listener *next;     /* hold core->mu */
    struct net_listener_opts opts; /* address is not kept */
    struct net_acceptor acceptors[2];
    uint32_t connections; /* the loop */
    bool resting;         /* the loop: out of descriptors */
};

enum http1_state {
    HTTP1_HEAD,    /* a request is coming */
    HTTP1_IDLE,    /* between requests */
    HTTP1_HANDLER, /* the handler has it */
    HTTP1_ANSWER,  /* the answer is being sent */
    HTTP1_LINGER,  /* the last one is out, the client may still be sending */
};

struct http1 {
    enum http1_state state;
    struct net_exchange *ex; /* NULL between requests */
    http_parser parser;
    bool parsing;       /* the parser is within a request */
    bool head_done;     /* as are the next four, of this request */
    bool complete;      /* ready for the handler */
    bool in_name;       /* of a header */
    bool owes_continue; /* the client waits for leave to send the body */
    bool keep_alive;
    int refusal; /* status for what is no request; 0: 400 */
    size_t target_len;
    uint64_t discarded; /* body bytes past the limit, or after the last answer */
    struct buf rest;    /* received, of the next request */
    size_t rest_at;
    struct buf out; /* the answer's head */
    size_t out_at;
    struct net_message *body; /* the answer's, or NULL */
    size_t body_at;
};

struct http2 {
    nghttp2_session *session;
    struct h2_stream *streams;
    struct buf unsent; /* pulled from the session, not taken by the socket */
    size_t unsent_at;
    uint64_t write_deadline_ns; /* while there is something unsent */
    bool busy;                  /* counted in core for what is unsent */
    bool settled;               /* the client's SETTINGS came */
    bool goaway;
};

enum net_conn_state {
    NET_CONN_PEEK, /* which protocol? */
    NET_CONN_HTTP1,
    NET_CONN_HTTP2,
};

struct net_conn {
    enum net_source source;
    enum net_conn_state state;
    struct net_server *server;
    struct net_listener *listener;
    struct net_conn *prev;
    struct net_conn *next;
    int fd;
    uint64_t deadline_ns; /* cut then; 0: never */
    char peer[NET_PEER_TEXT];
    union {
        struct http1 h1;
        struct http2 h2;
    };
};

struct net_server {
    struct log log_store;
    const struct log *log; /* NULL: none */
    const struct clock *clock;
    struct gauge *http1_connections;
    struct gauge *grpc_connections;
    struct net_core *core;
    pthread_t thread;
    int epoll_fd;
    enum net_source wake_source;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_option;
    struct net_listener *listeners; /* hold core->mu */
    struct {                        /* the loop alone; after it ended, net_server_free */
        struct net_conn *conns;
        uint64_t now_ns;   /* of this turn */
        uint64_t sweep_ns; /* no deadline is due before; UINT64_MAX: none */
        uint64_t rest_ns;  /* resting acceptors are tried again then; 0: none rest */
        bool draining;
        bool stopping;
        time_t date_s; /* of date, as answers have it */
        char date[32];
        struct buf scratch; /* HTTP/2 reads and writes */
    } loop;
};

/* ---- net_listen.c ---- */

/* Opens, binds and listens; fds[1] is -1 unless localhost has two. The error names the address. */
int net_listen_open(struct slice address, int fds[2], uint16_t *port, struct err *err);
/* "127.0.0.1:51234" */
struct sockaddr_storage;
void net_peer_format(const struct sockaddr_storage *addr, char out[NET_PEER_TEXT]);

/* ---- net_upgrade.c ---- */

enum net_upgrade_look {
    NET_UPGRADE_NO,   /* another protocol's */
    NET_UPGRADE_WAIT, /* it may become one */
    NET_UPGRADE_DONE, /* it was one: conn is gone */
};
/* Looks at what has come on a connection of which nothing has been read. */
enum net_upgrade_look net_upgrade_peek(struct net_conn *conn);

/* ---- net_server.c: for the protocols ---- */

/* Sets the time at which the connection is cut. */
void net_conn_deadline(struct net_conn *conn, uint64_t deadline_ns);
/* Takes conn off the list and frees it; the descriptor is closed by whoever owns it. */
void net_conn_free(struct net_conn *conn);
/* Tells the sweep of a deadline that is not a connection's own. */
void net_server_due(struct net_server *s, uint64_t deadline_ns);
/* When an answer of that size must have left. */
uint64_t net_write_deadline_ns(uint64_t now_ns, size_t bytes);

static inline uint64_t net_deadline_ms(const struct net_server *s, uint32_t ms)
{
    return s->loop.now_ns + ms * NS_PER_MS;
}

/* ---- http1.c ---- */

void http1_init(void);
/* Takes the connection over; it is closed and freed when that fails. */
void http1_start(struct net_conn *conn);
void http1_event(struct net_conn *conn, uint32_t events);
/* The answer of the exchange on conn has come. */
void http1_answered(struct net_conn *conn);
void http1_drain(struct net_conn *conn);
/* Closes at once; its request is let go of. */
void http1_close(struct net_conn *conn);

/* ---- http2.c ---- */

int http2_init(struct net_server *s, struct err *err);
void http2_end(struct net_server *s);
/* Takes the connection over; it is closed and freed when that fails. */
void http2_start(struct net_conn *conn);
void http2_event(struct net_conn *conn, uint32_t events);
/* Messages of ex have come, or its answer; its stream is still there. */
void http2_news(struct net_exchange *ex);
void http2_drain(struct net_conn *conn);
/* Acts on deadlines that have passed; returns the next one, 0: none. */
uint64_t http2_sweep(struct net_conn *conn);
/* Closes at once; streams let go of their requests. */
void http2_close(struct net_conn *conn);

#endif
