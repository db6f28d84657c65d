/* Where a bucket is: scheme, host, region, and how the bucket is named in a URL. A small value that
 * is copied; redirects change it. */
#ifndef OBJSTORE_S3_ENDPOINT_H
#define OBJSTORE_S3_ENDPOINT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct s3_endpoint {
    bool https;
    bool path_style; /* /bucket/key; else the bucket is in the host name */
    char host[320];  /* as it goes into URL and Host header, with the bucket and a port if any */
    char base_host[256]; /* without the bucket */
    char bucket[256];
    char region[64];
};

struct s3_endpoint_opts {
    struct slice bucket, endpoint, region; /* endpoint: "host[:port]" or a URL; empty: AWS */
    bool insecure, forcepathstyle;
};

/* ERR_INVALID says what is wrong with which setting. An empty region is taken from an AWS host
 * name, else it is us-east-1. */
int s3_endpoint_init(struct s3_endpoint *ep, const struct s3_endpoint_opts *opts, struct err *err);

/* A region that the server told. True when that changes anything. */
bool s3_endpoint_learn_region(struct s3_endpoint *ep, struct slice region);
/* A URL that the server sent us to. Never from https down to http. */
bool s3_endpoint_learn_location(struct s3_endpoint *ep, struct slice location);

/* "/bucket/key" or "/key", plain. */
int s3_endpoint_path(const struct s3_endpoint *ep, struct slice key, struct buf *out);

#endif
