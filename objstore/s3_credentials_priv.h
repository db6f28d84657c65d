/* Between the chain and the sources that ask over HTTP. */
#ifndef OBJSTORE_S3_CREDENTIALS_PRIV_H
#define OBJSTORE_S3_CREDENTIALS_PRIV_H

#include "objstore/s3_credentials.h"

/* What a source may use. */
struct s3_source_env {
    struct http_client *http;
    const struct clock *clock;
    s3_getenv_fn *getenv;
    void *getenv_ctx;
    const char *region;
    uint64_t deadline_ns;
};

/* A variable that is set and not empty, else NULL. */
const char *s3_source_var(const struct s3_source_env *env, const char *name);

/* false when it does not fit. */
bool s3_credentials_set(char *field, size_t field_size, struct slice value);

/* A whole small file, LIMIT_CREDENTIALS_FILE_BYTES at most. ERR_NOTFOUND when there is none. */
int s3_source_read_file(const char *path, struct buf *out, struct err *err);

/* 0, ERR_NOTFOUND when the source is not set up, or why it failed. */
typedef int(s3_source_fn)(const struct s3_source_env *env, struct s3_credentials *out,
                          struct err *err);
s3_source_fn s3_source_web_identity;
s3_source_fn s3_source_container;
s3_source_fn s3_source_instance;

#endif
