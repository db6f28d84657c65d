/* AWS Signature Version 4 in the Authorization header: a pure function of the request, the time and
 * the credentials. Knows nothing of S3 but the way paths are encoded. */
#ifndef OBJSTORE_S3_SIGN_H
#define OBJSTORE_S3_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define S3_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD" /* payload_hash where TLS guards the body */

struct s3_pair {
    struct slice name;
    struct slice value;
};

struct s3_sign_request {
    struct slice method;
    /* Encoded once by the signer. For S3 that is the plain key ("/bucket/a b"); every other service
     * wants the path as it is sent, so that it ends up encoded twice. */
    struct slice path;
    bool normalize_path;         /* take out "." and ".." and empty segments: all services but S3 */
    const struct s3_pair *query; /* plain, in any order */
    size_t query_count;
    const struct s3_pair *headers; /* all that are signed: host and x-amz-date among them */
    size_t header_count;
    struct slice payload_hash; /* hex, or S3_UNSIGNED_PAYLOAD */
    struct slice region, service, access_key, secret_key;
    uint64_t unix_s; /* the same as x-amz-date says */
};

/* Most query pairs and headers of one request; more: ERR_LIMIT. */
#define S3_SIGN_PAIRS 48u

/* Appends the value of the Authorization header. canonical_hash (may be NULL) receives the hash of
 * the canonical request, which tests compare. */
int s3_sign(const struct s3_sign_request *req, struct buf *authorization, char canonical_hash[65],
            struct err *err);

/* "a=1&b=%2F", sorted: the query as it is signed and sent. */
int s3_sign_query(const struct s3_pair *query, size_t count, struct buf *out);

void s3_sha256_hex(struct slice s, char out[65]);

#endif
