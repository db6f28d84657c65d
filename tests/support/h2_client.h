/* A small gRPC client on nghttp2, blocking, for tests. */
#ifndef TESTS_SUPPORT_H2_CLIENT_H
#define TESTS_SUPPORT_H2_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"

struct h2_header {
    const char *name;
    const char *value;
};

struct h2_call {
    int32_t id;
    struct slice send; /* what is still to be sent as DATA; the test keeps it */
    bool hold_end;     /* no END_STREAM after it */
    /* The answer */
    int http_status;
    int grpc_status; /* -1: none came */
    char message[1024];
    char details[256];
    char encoding[32];
    struct buf body; /* DATA as received, prefix included */
    bool closed;
    uint32_t error_code;
};

struct h2_client {
    int fd;
    nghttp2_session *session;
    bool goaway;
    bool broken;          /* closed or reset */
    bool hold_reads;      /* no WINDOW_UPDATE: flow control stops the server */
    uint32_t max_streams; /* the server's setting */
};

void h2_open(struct h2_client *c, uint16_t port, bool hold_reads);
/* Opens windows as wide as they go on a narrow socket: only the socket stops the server. */
void h2_open_wide(struct h2_client *c, uint16_t port);
void h2_shut(struct h2_client *c);
/* Starts a call: POST, application/grpc, and extra headers (NULL name ends; a name given here
 * replaces the one by default; a NULL value leaves it out). */
void h2_call_start(struct h2_client *c, struct h2_call *call, const char *path,
                   const struct h2_header *extra, struct slice data, bool hold_end);
/* Runs until the call is closed; false after timeout_ms or when the connection breaks. */
bool h2_wait(struct h2_client *c, struct h2_call *call, int timeout_ms);
/* Runs until the connection is closed by the server. */
bool h2_wait_closed(struct h2_client *c, int timeout_ms);
/* Sends what there is and reads nothing. */
bool h2_send(struct h2_client *c);
/* Sends and receives what there is, for at most timeout_ms. */
bool h2_run_once(struct h2_client *c, int timeout_ms);
void h2_call_clear(struct h2_call *call);

/* A message with its prefix, appended to out. */
void h2_frame(struct buf *out, bool compressed, struct slice message);
/* A whole call: start, wait, clear is the test's. */
bool h2_unary(struct h2_client *c, struct h2_call *call, const char *path,
              const struct h2_header *extra, struct slice message);

#endif
