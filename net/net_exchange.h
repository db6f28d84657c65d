/* One exchange: a request and its answer, shared by the connection it came on and the handler.
 *
 * Both sides hold it and either may let go first: a client that leaves does not take the request
 * from under its handler, and a reply to nobody is just dropped. What crosses between threads goes
 * through the core, which every exchange holds too: it outlives the server while requests are out.
 * Private to the room. */
#ifndef NET_NET_EXCHANGE_H
#define NET_NET_EXCHANGE_H

#include <pthread.h>

#include "base/vec.h"
#include "net/grpc_frame.h"
#include "net/net_server.h"

#define NET_PEER_TEXT 64u

/* What the loop and all others share. */
struct net_core {
    const struct clock *clock;
    _Atomic uint32_t holders;
    _Atomic uint64_t body_bytes; /* storage of all request bodies */
    int wake_fd;                 /* eventfd that wakes the loop */
    pthread_t loop_thread;       /* set before anything is served */
    pthread_mutex_t mu;
    pthread_cond_t changed;         /* busy became 0, drained became true */
    struct {                        /* hold mu */
        struct net_exchange *inbox; /* with messages or an answer, in order */
        struct net_exchange *inbox_last;
        uint64_t busy; /* exchanges alive, and connections with bytes to send */
        bool stop;
        bool drain;
        bool drained; /* the loop has seen drain */
        bool closed;  /* no loop any more: answers are dropped */
    } shared;
};

/* Headers as one text: HTTP/1.1 puts the target before them and the method behind. */
struct net_head_entry {
    uint32_t at; /* in text: name, then value */
    uint32_t name_len;
    uint32_t value_len;
};

struct net_head {
    struct buf text;
    VEC(struct net_head_entry) entries;
};

struct net_answer {
    bool given;
    int http_status;
    struct net_head head; /* HTTP */
    /* gRPC */
    int grpc_status;
    struct buf text;    /* percent-encoded, NUL-free */
    struct buf details; /* base64 */
};

/* What is sent: a gRPC message, or the body of an HTTP answer. */
struct net_message {
    struct net_message *next;
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_len; /* 0: HTTP */
    struct buf bytes;
};

struct net_exchange {
    struct net_request req; /* what the handler sees */
    struct net_core *core;
    bool over_http2;
    _Atomic uint32_t holders; /* connection, handler, inbox */
    _Atomic size_t waiting;   /* bytes of messages that the client has not taken */
    struct {                  /* hold core->mu */
        struct net_exchange *inbox_next;
        bool in_inbox;
        bool replied;
        struct net_message *messages; /* in order */
        struct net_message *messages_last;
    } shared;
    struct {        /* the loop alone */
        void *wire; /* struct net_conn (HTTP/1.1) or struct h2_stream; NULL: client gone */
        bool handed;
        bool counted;
        bool replied;
        size_t charged; /* part of core->body_bytes */
        struct net_exchange *inbox_next;
    } loop;
    struct net_answer answer; /* the replier's, then the loop's */
    struct net_head head;     /* slices of req point into it */
    struct net_header *headers;
    struct buf body;
    char peer[NET_PEER_TEXT];
};

int net_core_new(const struct clock *clock, struct net_core **out, struct err *err);
void net_core_release(struct net_core *core);
void net_core_busy(struct net_core *core, int delta);
void net_core_wake(struct net_core *core);
/* Empties the inbox: a list by loop.inbox_next, each held for the caller. */
struct net_exchange *net_core_inbox(struct net_core *core);

/* Copies a header; the name becomes lower case. ERR_LIMIT, ERR_NOMEM. */
int net_head_add(struct net_head *head, struct slice name, struct slice value);
struct net_header net_head_at(const struct net_head *head, uint32_t i);

/* Held once, by the connection. NULL: no memory. head_max bounds the head's text. */
struct net_exchange *net_exchange_new(struct net_core *core, bool over_http2, const char *peer,
                                      size_t head_max);
/* The head is complete: req gets its headers, and from now on the exchange counts as under way. */
int net_exchange_head_done(struct net_exchange *ex);
/* After each change of body: its storage counts towards what all requests may hold. Past
 * LIMIT_BODIES_BYTES this body is given up and body_rc says ERR_UNAVAILABLE; returns body_rc. */
int net_exchange_charge(struct net_exchange *ex);
/* The body of an HTTP request is past its limit: it is given up, and body_rc says so. */
void net_exchange_too_large(struct net_exchange *ex);
/* Gives the request to the handler, which holds the exchange from now on. */
void net_exchange_hand(struct net_exchange *ex, const struct net_listener_opts *opts);
/* Was it answered inside the handler? Then the answer is the caller's to send now. */
bool net_exchange_take_answer(struct net_exchange *ex);
void net_exchange_release(struct net_exchange *ex);

/* The exchange of a request that a handler holds. */
static inline struct net_exchange *net_exchange_of(struct net_request *req)
{
    return (struct net_exchange *)((char *)req - offsetof(struct net_exchange, req));
}

/* Moves bytes into a message. NULL: no memory, bytes are untouched. */
struct net_message *net_message_new(struct buf *bytes);
void net_message_free(struct net_message *m); /* NULL is fine */
/* One message before the answer; it goes to the loop. */
void net_exchange_send(struct net_exchange *ex, struct net_message *m);
/* The replier's last word, with the last message or NULL: the exchange goes to the loop. */
void net_exchange_replied(struct net_exchange *ex, struct net_message *m);
/* The loop: the next message to send, or NULL. */
struct net_message *net_exchange_pop(struct net_exchange *ex);
/* The loop: the wire is gone, and with it the client. */
void net_exchange_unwire(struct net_exchange *ex);

#endif
