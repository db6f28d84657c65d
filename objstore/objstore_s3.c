/* The S3 driver: settings, PUT with create-if-absent, DELETE. Reading, listing and multipart live
 * in files of their own; tries and signatures in s3_request.c. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "objstore/s3_request_priv.h"

int s3_full_key(const struct s3_store *s, struct slice key, struct buf *out, struct err *err)
{
    int rc = buf_str(out, s->prefix);
    if (rc == 0)
        rc = buf_slice(out, key);
    if (rc < 0)
        return err_set(err, rc, "no memory for a key");
    if (out->len > LIMIT_KEY_BYTES)
        return err_set(err, ERR_INVALID, "with the prefix the key has %zu bytes; at most %u",
                       out->len, LIMIT_KEY_BYTES);
    return 0;
}

/* ---- writing ---- */

/* What stands under key against what we wanted there. 0: the same, so an earlier try of ours got
 * through; ERR_EXISTS: other content; ERR_NOTFOUND: nothing, after all. */
static int compare(struct s3_store *s, struct slice key, struct slice body, uint64_t deadline_ns,
                   struct err *err)
{
    struct objstore_get get = {.key = key, .range = OBJSTORE_WHOLE};
    buf_init(&get.out, body.len);
    s3_get_many(&s->base, &get, 1, deadline_ns);
    int rc = get.rc;
    if (rc == ERR_LIMIT || (rc == 0 && !slice_eq(buf_view(&get.out), body)))
        rc = err_set(err, ERR_EXISTS, "the key exists with other content");
    else if (rc < 0)
        err_set(err, rc, "comparing what is there: %s", get.err.msg);
    buf_clear(&get.out);
    return rc;
}

/* Some servers (MinIO of 2023) say 304 where S3 says 412. */
static enum s3_verdict judge_if_absent(struct s3_request *r)
{
    if (r->call.rc < 0 || r->status != 304)
        return S3_COMMON;
    r->rc = err_set(&r->err, ERR_EXISTS, "status 304");
    return S3_DONE;
}

static int put_once(struct s3_store *s, struct slice full_key, struct slice body, bool if_absent,
                    uint64_t deadline_ns, struct err *err)
{
    struct s3_request r = {
        .store = s,
        .op = OBJSTORE_OP_PUT,
        .method = "PUT",
        .key = full_key,
        .body = body,
        .deadline_ns = deadline_ns,
    };
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    if (if_absent) {
        r.headers[r.header_count++] = (struct s3_pair){SLICE("if-none-match"), SLICE("*")};
        r.judge = judge_if_absent;
    }
    int rc = s3_request_run(&r, err);
    s3_request_clear(&r);
    return rc;
}

/* Lost means lost only when somebody else's bytes stand there. */
static int put_if_absent(struct s3_store *s, struct slice key, struct slice full_key,
                         struct slice body, uint64_t deadline_ns, struct err *err)
{
    int rc = ERR_NOTFOUND;
    if (atomic_load(&s->base.lacks_create_if_absent))
        rc = compare(s, key, body, deadline_ns, err); /* the best there is: not atomic */
    for (unsigned i = 0; i < LIMIT_S3_TRIES && rc == ERR_NOTFOUND; i++) {
        rc = put_once(s, full_key, body, true, deadline_ns, err);
        if (rc == ERR_NOTFOUND) /* the store's own, not the comparison's */
            return err_set(err, ERR_IO, "a PUT was answered 404");
        if (rc == ERR_EXISTS)
            rc = compare(s, key, body, deadline_ns, err);
    }
    return rc;
}

int s3_put_single(struct s3_store *s, struct slice key, struct slice body, unsigned flags,
                  uint64_t deadline_ns, struct err *err)
{
    struct buf full;
    buf_init(&full, 2 * LIMIT_KEY_BYTES);
    int rc = s3_full_key(s, key, &full, err);
    if (rc == 0)
        rc = flags & OBJSTORE_IF_ABSENT
                 ? put_if_absent(s, key, buf_view(&full), body, deadline_ns, err)
                 : put_once(s, buf_view(&full), body, false, deadline_ns, err);
    buf_clear(&full);
    return rc;
}

int s3_put(struct objstore *store, struct slice key, struct slice body, unsigned flags,
           uint64_t deadline_ns, struct err *err)
{
    struct s3_store *s = (struct s3_store *)store;
    /* Create-if-absent stays one PUT: not every store looks at the header when a multipart upload
     * completes. S3 takes 5 GiB that way. */
    if (body.len <= s->part_bytes || (flags & OBJSTORE_IF_ABSENT))
        return s3_put_single(s, key, body, flags, deadline_ns, err);
    return s3_put_multipart(s, key, body, deadline_ns, err);
}

static int s3_remove(struct objstore *store, struct slice key, uint64_t deadline_ns,
                     struct err *err)
{
    struct s3_store *s = (struct s3_store *)store;
    struct buf full;
    buf_init(&full, 2 * LIMIT_KEY_BYTES);
    int rc = s3_full_key(s, key, &full, err);
    struct s3_request r = {
        .store = s,
        .op = OBJSTORE_OP_DELETE,
        .method = "DELETE",
        .key = buf_view(&full),
        .deadline_ns = deadline_ns,
    };
    buf_init(&r.out, LIMIT_S3_ERROR_BYTES);
    if (rc == 0)
        rc = s3_request_run(&r, err);
    s3_request_clear(&r);
    buf_clear(&full);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

/* ---- making and freeing ---- */

static void s3_free(struct objstore *store)
{
    struct s3_store *s = (struct s3_store *)store;
    http_client_free(s->http); /* before what its calls point to */
    s3_credentials_chain_free(s->credentials);
    pthread_mutex_destroy(&s->shared.mu);
    free(s);
}

static const struct objstore_ops s3_ops = {
    .observes = true,
    .free = s3_free,
    .get_many = s3_get_many,
    .head = s3_head,
    .put = s3_put,
    .remove = s3_remove,
    .list = s3_list,
    .upload_begin = s3_upload_begin,
    .upload_write = s3_upload_write,
    .upload_finish = s3_upload_finish,
    .upload_abort = s3_upload_abort,
};

static struct slice region_setting(const struct objstore_s3_opts *opts)
{
    if (opts->region.len)
        return opts->region;
    const char *env = getenv("AWS_REGION");
    if (!env || !env[0])
        env = getenv("AWS_DEFAULT_REGION");
    /* An endpoint of another make has a region of its own, which it mostly ignores. */
    return opts->endpoint.len == 0 ? slice_cstr(env) : slice_of(NULL, 0);
}

static int set_prefix(struct s3_store *s, struct slice prefix, struct err *err)
{
    struct slice p;
    int rc = objstore_check_prefix(prefix, &p, err);
    if (rc == 0 && p.len)
        snprintf(s->prefix, sizeof s->prefix, "%.*s/", SLICE_ARGS(p));
    return rc < 0 ? (err_wrap(err, "s3 prefix"), rc) : 0;
}

static int set_up(struct s3_store *s, const struct objstore_s3_opts *opts,
                  const struct objstore_env *env, struct err *err)
{
    struct s3_endpoint_opts where = {opts->bucket, opts->endpoint, region_setting(opts),
                                     opts->insecure, opts->forcepathstyle};
    int rc = s3_endpoint_init(&s->shared.endpoint, &where, err);
    if (rc == 0)
        rc = set_prefix(s, opts->prefix, err);
    if (rc < 0)
        return rc;
    s->part_bytes = opts->part_bytes ? opts->part_bytes : LIMIT_S3_PART_BYTES;
    if (s->part_bytes < LIMIT_S3_PART_BYTES_SMALLEST || s->part_bytes > LIMIT_S3_PART_BYTES_LARGEST)
        return err_set(err, ERR_INVALID, "s3 part size %llu: expected 5 MiB to 5 GiB",
                       (unsigned long long)s->part_bytes);
    struct http_client_opts http = {
        .connections_max = opts->connections_max,
        .tls_insecure_skip_verify = opts->tls_insecure_skip_verify,
        .log = env->log,
        .clock = env->clock,
    };
    rc = http_client_new(&http, &s->http, err);
    struct s3_credentials_opts keys = {
        .access_key = opts->access_key,
        .secret_key = opts->secret_key,
        .session_token = opts->session_token,
        .region = slice_cstr(s->shared.endpoint.region),
        .http = s->http,
        .log = env->log,
        .clock = env->clock,
    };
    if (rc == 0)
        rc = s3_credentials_chain_new(&keys, &s->credentials, err);
    return rc;
}

int objstore_s3_new(const struct objstore_s3_opts *opts, const struct objstore_env *env,
                    struct objstore **out, struct err *err)
{
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for an s3 store");
    objstore_init(&s->base, &s3_ops, env);
    pthread_mutex_init(&s->shared.mu, NULL);
    int rc = set_up(s, opts, env, err);
    if (rc < 0) {
        s3_free(&s->base);
        return rc;
    }
    const struct s3_endpoint *ep = &s->shared.endpoint;
    snprintf(s->base.describe, sizeof s->base.describe, "s3 %.100s%s%.120s at %s", ep->bucket,
             s->prefix[0] ? "/" : "", s->prefix, ep->base_host);
    *out = &s->base;
    return 0;
}
