/* One S3 request with all its tries: signing, sending, judging the answer, backoff, redirects.
 *
 * A batch drives any number of requests from the thread that waits for them. HTTP runs on the
 * client's thread; everything else of a request is touched by the batch's thread alone, except
 * between submit and done. */
#ifndef OBJSTORE_S3_REQUEST_PRIV_H
#define OBJSTORE_S3_REQUEST_PRIV_H

#include <pthread.h>

#include "base/random.h"
#include "net/http_client.h"
#include "objstore/objstore_priv.h"
#include "objstore/s3_credentials.h"
#include "objstore/s3_endpoint.h"
#include "objstore/s3_sign.h"
#include "objstore/s3_xml.h"

struct s3_store {
    struct objstore base;
    struct http_client *http;
    struct s3_credentials_chain *credentials;
    char prefix[LIMIT_KEY_BYTES]; /* ends in '/' when not empty */
    uint64_t part_bytes;
    _Atomic int64_t skew_s; /* the server's clock minus ours */
    struct log_limit retry_log;
    struct { /* hold mu */
        pthread_mutex_t mu;
        struct s3_endpoint endpoint;
    } shared;
};

/* What a request makes of an answer. */
enum s3_verdict {
    S3_COMMON, /* nothing special: the common rules decide */
    S3_DONE,   /* finished; rc (and err) are set */
    S3_AGAIN,  /* after a backoff; rc and err say why, should it be the last try */
    S3_AT_ONCE /* the same without a backoff; counts as a redirect */
};

struct s3_batch;

struct s3_request {
    /* Set by who starts it. */
    struct s3_store *store;
    enum objstore_op op;
    const char *method;
    struct slice key; /* with the store's prefix; empty: the bucket itself */
    struct s3_pair query[LIMIT_S3_QUERY];
    size_t query_count;
    struct s3_pair headers[LIMIT_S3_HEADERS]; /* signed, besides those every request has */
    size_t header_count;
    struct slice body;
    uint64_t deadline_ns;
    struct buf out; /* as in struct http_call; comes back with the body */
    /* Before each try; may change method, headers and out. May be NULL. */
    void (*prepare)(struct s3_request *r);
    /* After each try, whatever came of it (call.rc, call.status, call.out). May be NULL. */
    enum s3_verdict (*judge)(struct s3_request *r);
    bool keeps_partial; /* out is not emptied between tries: judge and prepare see to it */
    void *user;

    /* Result: 0 is an answer of 2xx. */
    bool finished;
    int rc;
    struct err err;
    int status;

    /* Own. */
    struct http_call call; /* head is kept for the caller until s3_request_clear */
    struct s3_batch *batch;
    struct s3_request *next;
    struct buf text; /* URL and header lines of one try, each with its NUL */
    const char *lines[LIMIT_S3_HEADERS + 6];
    struct s3_endpoint endpoint;
    uint64_t credentials_generation;
    char payload_hash[65];
    unsigned tries, redirects;
    bool clock_mended;
    uint64_t wake_ns, try_start_ns;
    struct rng rng;
};

void s3_request_clear(struct s3_request *r);
/* A header of the answer, as http_call_header. */
struct slice s3_request_header(const struct s3_request *r, const char *name);
/* Starts it and waits for its end. Returns r->rc; err receives a copy of r->err. */
int s3_request_run(struct s3_request *r, struct err *err);

struct s3_batch {
    struct s3_store *store;
    size_t unfinished;
    struct s3_request *sleeping; /* waiting for wake_ns */
    struct {                     /* hold mu */
        pthread_mutex_t mu;
        pthread_cond_t cond;
        struct s3_request *answered;
    } shared;
};

void s3_batch_init(struct s3_batch *b, struct s3_store *store);
/* Sends it. r must stay where it is until the batch has finished it. */
void s3_batch_start(struct s3_batch *b, struct s3_request *r);
/* Drives the requests until at most `left` of them are unfinished. Each ends at its own deadline.
 */
void s3_batch_wait(struct s3_batch *b, size_t left);
void s3_batch_clear(struct s3_batch *b); /* nothing may be unfinished */

/* ---- operations that several files need ---- */

/* The store's prefix and key, appended to out. ERR_INVALID when S3 would not take the length. */
int s3_full_key(const struct s3_store *s, struct slice key, struct buf *out, struct err *err);
void s3_get_many(struct objstore *s, struct objstore_get *gets, size_t count, uint64_t deadline_ns);
int s3_head(struct objstore *s, struct slice key, uint64_t deadline_ns, struct objstore_info *info,
            struct err *err);
int s3_list(struct objstore *s, const struct objstore_list_query *query, struct err *err);
int s3_put(struct objstore *s, struct slice key, struct slice body, unsigned flags,
           uint64_t deadline_ns, struct err *err);
/* One PUT, whatever the size. */
int s3_put_single(struct s3_store *s, struct slice key, struct slice body, unsigned flags,
                  uint64_t deadline_ns, struct err *err);
int s3_put_multipart(struct s3_store *s, struct slice key, struct slice body, uint64_t deadline_ns,
                     struct err *err);
int s3_upload_begin(struct objstore *s, struct slice key, uint64_t deadline_ns,
                    struct objstore_upload **out, struct err *err);
int s3_upload_write(struct objstore_upload *u, struct slice bytes, struct err *err);
int s3_upload_finish(struct objstore_upload *u, struct err *err);
void s3_upload_abort(struct objstore_upload *u);

#endif
