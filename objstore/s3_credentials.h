/* Where the S3 keys come from. The first source that is set up wins and stays:
 * configuration, environment, web identity (STS), shared file, container endpoint, instance
 * metadata (IMDSv2). A source that is set up but fails is an error, not a reason to try the next:
 * the next one may be another identity.
 *
 * Keys that expire are fetched again five minutes before, by whichever thread comes first; when
 * that fails the old ones go on being handed out. Any thread may call. Keys are never logged. */
#ifndef OBJSTORE_S3_CREDENTIALS_H
#define OBJSTORE_S3_CREDENTIALS_H

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/slice.h"
#include "net/http_client.h"
#include "objstore/objstore_limits.h"

struct s3_credentials {
    char access_key[LIMIT_CREDENTIALS_KEY_BYTES];
    char secret_key[LIMIT_CREDENTIALS_KEY_BYTES];
    char session_token[LIMIT_CREDENTIALS_TOKEN_BYTES]; /* empty: none */
    uint64_t expires_unix_ns;                          /* 0: never */
    uint64_t generation; /* grows with each fetch; tells a rejection what it is about */
};

typedef const char *(s3_getenv_fn)(void *ctx, const char *name); /* NULL: not set */

struct s3_credentials_opts {
    struct slice access_key, secret_key, session_token; /* from the configuration; may be empty */
    struct slice region;                                /* for STS */
    struct http_client *http;                           /* stays the caller's; outlives the chain */
    const struct log *log;
    const struct clock *clock;
    s3_getenv_fn *getenv; /* NULL: the process's environment */
    void *getenv_ctx;
};

struct s3_credentials_chain;

/* Fetches nothing yet. ERR_INVALID: half a pair of keys, or a key that is too long. */
int s3_credentials_chain_new(const struct s3_credentials_opts *opts,
                             struct s3_credentials_chain **out, struct err *err);
void s3_credentials_chain_free(struct s3_credentials_chain *c); /* NULL is fine */

/* Blocks while the first ones are fetched. ERR_DENIED: no source has any; ERR_TIMEOUT; or what the
 * source failed with. A failure is remembered for ten seconds. */
int s3_credentials_get(struct s3_credentials_chain *c, uint64_t deadline_mono_ns,
                       struct s3_credentials *out, struct err *err);

/* The store says that those of this generation have expired. True: the next get fetches again, or
 * has others already; false for keys from the configuration, which stay what they are. */
bool s3_credentials_rejected(struct s3_credentials_chain *c, uint64_t generation);

/* "configuration", "environment", …; "none" before the first get. A static string. */
const char *s3_credentials_source(struct s3_credentials_chain *c);

#endif
