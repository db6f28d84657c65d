/* How the tools name a store: a directory, file:///path, or s3://bucket[/prefix]. */
#ifndef RUBATO_TOOL_STORE_H
#define RUBATO_TOOL_STORE_H

#include "objstore/objstore.h"

struct tool_store_opts {
    /* Of S3; NULL: from the environment, as AWS' own tools do (AWS_ENDPOINT_URL, AWS_REGION,
     * credentials by the usual chain). */
    const char *endpoint, *region, *access_key, *secret_key;
    bool make; /* a directory that is not there is made */
};

int tool_store_open(const char *spec, const struct tool_store_opts *opts,
                    const struct objstore_env *env, struct objstore **out, struct err *err);

#endif
