/* Opening the store that a tool's argument names. */
#include "rubato/tool_store.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct slice text_or_env(const char *given, const char *a, const char *b)
{
    const char *v = given ? given : getenv(a);
    if (!v || !*v)
        v = getenv(b);
    return v ? slice_cstr(v) : slice_of(NULL, 0);
}

static int open_s3(struct slice path, const struct tool_store_opts *opts,
                   const struct objstore_env *env, struct objstore **out, struct err *err)
{
    size_t slash = slice_find(path, '/');
    struct objstore_s3_opts o = {
        .bucket = slice_of(path.ptr, slash),
        .prefix = slice_from(path, slash + 1),
        .region = text_or_env(opts->region, "AWS_REGION", "AWS_DEFAULT_REGION"),
        .endpoint = text_or_env(opts->endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        .access_key = slice_cstr(opts->access_key ? opts->access_key : ""),
        .secret_key = slice_cstr(opts->secret_key ? opts->secret_key : ""),
    };
    while (o.prefix.len && o.prefix.ptr[o.prefix.len - 1] == '/')
        o.prefix.len--;
    o.forcepathstyle = o.endpoint.len > 0; /* its host name has no bucket in front */
    return objstore_s3_new(&o, env, out, err);
}

int tool_store_open(const char *spec, const struct tool_store_opts *opts,
                    const struct objstore_env *env, struct objstore **out, struct err *err)
{
    struct slice s = slice_cstr(spec);
    struct stat st;
    if (slice_starts(s, SLICE("s3://")))
        return open_s3(slice_from(s, 5), opts, env, out, err);
    if (slice_starts(s, SLICE("file://")))
        s = slice_from(s, 7);
    const char *path = (const char *)s.ptr;
    if (!opts->make && stat(path, &st) < 0)
        return err_set(err, ERR_NOTFOUND, "%s: %m", path);
    if (!opts->make && !S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is no directory", path);
    const struct objstore_local_opts local = {.path = s};
    return objstore_local_new(&local, env, out, err);
}
