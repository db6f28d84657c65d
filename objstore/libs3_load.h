/* libs3, loaded when a store asks for it: linked, it would double the start of every process (it
 * brings a second libcurl and GnuTLS along). */
#ifndef OBJSTORE_LIBS3_LOAD_H
#define OBJSTORE_LIBS3_LOAD_H

#include <libs3.h>

#include "base/err.h"

struct libs3 {
    S3Status (*initialize)(const char *user_agent, int flags, const char *default_host);
    int (*status_is_retryable)(S3Status status);
    const char *(*get_status_name)(S3Status status);
    S3Status (*create_request_context)(S3RequestContext **out);
    void (*destroy_request_context)(S3RequestContext *c);
    S3Status (*runonce_request_context)(S3RequestContext *c, int *remaining);
    void (*get_object)(const S3BucketContext *bucket, const char *key, const S3GetConditions *cond,
                       uint64_t start, uint64_t bytes, S3RequestContext *c,
                       const S3GetObjectHandler *handler, void *ctx);
    void (*head_object)(const S3BucketContext *bucket, const char *key, S3RequestContext *c,
                        const S3ResponseHandler *handler, void *ctx);
    void (*put_object)(const S3BucketContext *bucket, const char *key, uint64_t bytes,
                       const S3PutProperties *properties, S3RequestContext *c,
                       const S3PutObjectHandler *handler, void *ctx);
    void (*delete_object)(const S3BucketContext *bucket, const char *key, S3RequestContext *c,
                          const S3ResponseHandler *handler, void *ctx);
    void (*list_bucket)(const S3BucketContext *bucket, const char *prefix, const char *marker,
                        const char *delimiter, int max_keys, S3RequestContext *c,
                        const S3ListBucketHandler *handler, void *ctx);
};

/* Loads and initialises the library; it stays loaded. Not from two threads at once.
 * ERR_UNSUPPORTED: it is not installed. */
int libs3_load(struct libs3 *out, struct err *err);

#endif
