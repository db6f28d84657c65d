/* Scratch directories, and making a bucket by a signed PUT of our own. */
#include "tests/support/objstore_support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "objstore/s3_request_priv.h"

void scratch_dir_make(char out[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, 256, "%.200s/rubato-test-XXXXXX", base && base[0] ? base : "/tmp");
    if (!mkdtemp(out)) {
        perror(out);
        abort();
    }
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void scratch_dir_remove(const char *path)
{
    nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}

static struct slice from_env(const char *name, const char *otherwise)
{
    const char *v = getenv(name);
    return slice_cstr(v && v[0] ? v : otherwise);
}

bool objstore_s3_opts_from_env(struct objstore_s3_opts *opts)
{
    *opts = (struct objstore_s3_opts){
        .endpoint = from_env("S3_ENDPOINT", ""),
        .access_key = from_env("S3_ACCESS_KEY", ""),
        .secret_key = from_env("S3_SECRET_KEY", ""),
        .bucket = from_env("S3_BUCKET", "rubato-test"),
        .region = from_env("S3_REGION", ""),
    };
    return opts->endpoint.len > 0;
}

int objstore_s3_make_bucket(const struct objstore_s3_opts *opts, struct err *err)
{
    struct objstore *store;
    struct objstore_env env = {.clock = &clock_system};
    int rc = objstore_s3_new(opts, &env, &store, err);
    if (rc < 0)
        return rc;
    struct s3_store *s = (struct s3_store *)store;
    struct s3_request r = {
        .store = s,
        .op = OBJSTORE_OP_PUT,
        .method = "PUT",
        .deadline_ns = clock_mono_ns(&clock_system) + 30 * NS_PER_S,
    };
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    rc = s3_request_run(&r, err);
    if (rc < 0 && r.status == 409)
        rc = 0; /* BucketAlreadyOwnedByYou, or a name that is taken: the first use tells */
    s3_request_clear(&r);
    objstore_free(store);
    return rc;
}
