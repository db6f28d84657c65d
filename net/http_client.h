/* An HTTP client on libcurl's multi interface: one thread drives all transfers of a client.
 *
 * HTTP/1.1 over http and https, certificates checked, redirects not followed, bodies as they come
 * (no content decoding), proxies from the environment as curl takes them. More calls than
 * connections_max wait in a queue, first come, first served; their deadlines run meanwhile.
 *
 * Errors of a call: ERR_TIMEOUT (deadline, connect or stall), ERR_IO (resolving, connecting, a
 * connection that broke, a body shorter than announced), ERR_LIMIT (answer past a maximum),
 * ERR_DENIED (certificate), ERR_CORRUPT (not HTTP), ERR_INVALID (URL), ERR_NOMEM, ERR_CANCELLED
 * (client freed). After ERR_IO and ERR_TIMEOUT status, head and out hold what had arrived. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/slice.h"

struct http_client;

struct http_client_opts {
    uint32_t connections_max;    /* in all; 0: 64 */
    bool tls_insecure_skip_verify;
    const struct log *log;
    const struct clock *clock;
};

int http_client_new(const struct http_client_opts *opts, struct http_client **out, struct err *err);
void http_client_free(struct http_client *c); /* fails what is under way with ERR_CANCELLED */

/* One exchange. The caller owns it and keeps it and all it points to until done is called. */
struct http_call {
    const char *method; /* "GET" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    struct slice body;          /* sent with PUT and POST */
    uint64_t deadline_mono_ns;  /* 0: 60 s from submit */
    uint32_t connect_timeout_ms;/* 0: 5000 */
    uint32_t stall_timeout_ms;  /* no byte either way for so long; 0: 20000 */
    bool no_proxy;              /* never through a proxy: for addresses only this host can reach */
    /* Called on the client's thread, exactly once, always after submit has returned; may submit
     * further calls, must not block. */
    void (*done)(struct http_call *call);
    void *user;
    /* Answer */
    int rc;             /* 0: an answer of any status came whole; else an error */
    struct err err;
    int status;
    struct buf head;    /* header lines as received, "Name: value\r\n"…; call owner clears */
    struct buf out;     /* body; in: initialised, max bounds it (past it: rc ERR_LIMIT) */
    struct buf fail;    /* where max is set, bodies of answers other than 2xx go here, not to out;
                           what does not fit is dropped */
    /* client's own */
    struct http_call *next;
    void *priv;
    uint64_t due_ns;
};

void http_client_submit(struct http_client *c, struct http_call *call);
/* Submits and waits. Returns call->rc. Not from a done callback. */
int http_client_run(struct http_client *c, struct http_call *call);

/* Value of the first response header of that name (any case); NULL ptr when absent. */
struct slice http_call_header(const struct http_call *call, const char *name);
/* Frees head, out and fail. */
void http_call_clear(struct http_call *call);

#endif
