/* A small scripted HTTP server on loopback, for tests of clients: the test's function sees each
 * request and says what to answer, broken answers included. Keeps every request for later looks. */
#ifndef TESTS_SUPPORT_FAKE_S3_H
#define TESTS_SUPPORT_FAKE_S3_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct fake_s3_request {
    char method[16];
    char target[4096]; /* path and query as sent */
    struct buf head;   /* request line and headers */
    struct buf body;
};

struct fake_s3_answer {
    int status;          /* 0: close the connection without an answer */
    const char *headers; /* "Name: value\r\n…"; may be NULL */
    struct slice body;   /* stays the test's; with HEAD only its length is told */
    bool cut;            /* close after cut_at bytes of the body */
    size_t cut_at;
    bool claim; /* Content-Length says claim_bytes, whatever the body has */
    uint64_t claim_bytes;
    bool no_length; /* neither Content-Length nor chunks */
    bool hang;      /* never answer, keep the connection */
    uint32_t delay_ms;
    const char *raw; /* sent as it is instead of all that; then the connection is closed */
};

/* index counts the requests from 0. Called for one request at a time. */
typedef void(fake_s3_fn)(void *ctx, const struct fake_s3_request *req, unsigned index,
                         struct fake_s3_answer *answer);

struct fake_s3;

struct fake_s3 *fake_s3_start(fake_s3_fn *fn, void *ctx); /* fails the test when it cannot */
/* The same over TLS, with a certificate that nobody has signed but itself. */
struct fake_s3 *fake_s3_start_tls(fake_s3_fn *fn, void *ctx);
void fake_s3_stop(struct fake_s3 *f);             /* NULL is fine */
const char *fake_s3_url(const struct fake_s3 *f); /* "http(s)://127.0.0.1:PORT" */
unsigned fake_s3_count(struct fake_s3 *f);        /* requests so far */
unsigned fake_s3_connections(struct fake_s3 *f);  /* accepted so far */
/* The index-th request. Good until stop. */
const struct fake_s3_request *fake_s3_at(struct fake_s3 *f, unsigned index);
/* Value of a request header, any case; NULL ptr when absent. */
struct slice fake_s3_header(const struct fake_s3_request *req, const char *name);

#endif
