/* The driver for appliances that know only Amazon's old signature (version 2), over libs3.
 *
 * What libs3 2.0 lacks shapes it. It tells no Content-Range, so an object's size is asked for first
 * and the bytes are then read under the ETag that was seen; no conditional PUT, so create-if-absent
 * is looking before writing; no multipart, so a streamed upload waits in an unlinked file; no
 * session tokens; no check of certificates, so https must be asked for by its name.
 *
 * The calls of a batch run side by side in one request context of libs3, driven by the thread that
 * waits for them. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "base/text.h"
#include "objstore/libs3_load.h"
#include "objstore/objstore_priv.h"
#include "objstore/s3_endpoint.h"
#include "objstore/s3_list.h"
#include "objstore/s3_text.h"

struct libs3_store {
    struct objstore base;
    struct libs3 api;
    struct s3_endpoint where;
    S3BucketContext bucket; /* points into this struct */
    char access_key[LIMIT_CREDENTIALS_KEY_BYTES];
    char secret_key[LIMIT_CREDENTIALS_KEY_BYTES];
    char prefix[LIMIT_KEY_BYTES + 2]; /* "" or with its '/' */
};

/* One request with all its tries. */
struct libs3_call {
    struct libs3_store *store;
    void (*start)(struct libs3_call *c, S3RequestContext *context);
    char key[LIMIT_KEY_BYTES + 1]; /* with the store's prefix */
    bool done;
    int rc;
    struct err err;
    /* of the latest try */
    S3Status status;
    char message[256];
    struct objstore_info info;
    /* GET */
    struct buf *out;
    size_t out_before; /* bytes in it that are not this call's */
    uint64_t from, bytes;
    /* PUT: a slice, or a file from its beginning */
    struct slice body;
    int fd; /* -1: none */
    uint64_t body_bytes, sent;
    const char *md5;
    /* LIST */
    const struct s3_lister *lister;
    struct arena *arena;
    struct s3_list_page *page;
};

static struct libs3_store *libs3_of(struct objstore *s)
{
    return (struct libs3_store *)s;
}

/* ---- running ---- */

static S3Status on_properties(const S3ResponseProperties *p, void *ctx)
{
    struct libs3_call *c = ctx;
    c->info.bytes = p->contentLength;
    c->info.modified_unix_ns = p->lastModified > 0 ? (uint64_t)p->lastModified * NS_PER_S : 0;
    if (p->eTag)
        s3_etag_copy(slice_cstr(p->eTag), c->info.etag, sizeof c->info.etag);
    return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *ctx)
{
    struct libs3_call *c = ctx;
    c->status = status;
    const char *text = details && details->message ? details->message : "";
    text_escape(slice_cstr(text), 120, c->message, sizeof c->message);
}

static int code_of(S3Status status)
{
    switch (status) {
    case S3StatusOK:
        return 0;
    case S3StatusErrorNoSuchKey:
    case S3StatusHttpErrorNotFound:
        return ERR_NOTFOUND;
    case S3StatusErrorAccessDenied:
    case S3StatusErrorInvalidAccessKeyId:
    case S3StatusErrorSignatureDoesNotMatch:
    case S3StatusErrorRequestTimeTooSkewed:
    case S3StatusHttpErrorForbidden:
        return ERR_DENIED;
    case S3StatusErrorSlowDown:
        return ERR_UNAVAILABLE;
    case S3StatusOutOfMemory:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

/* One try of the call is over: is the call? */
static void judge(struct libs3_call *c, bool late)
{
    if (c->done) /* the answer was more than the caller takes, or no memory */
        return;
    c->rc = late ? ERR_TIMEOUT : code_of(c->status);
    /* An object that changed between the question for its size and its bytes is asked for anew by
     * the caller. */
    if (c->status == S3StatusErrorPreconditionFailed)
        c->rc = ERR_EXISTS;
    bool again = c->store->api.status_is_retryable(c->status) ||
                 c->status == S3StatusErrorSlowDown || c->status == S3StatusHttpErrorUnknown;
    c->done = c->rc == 0 || late || !again;
    if (c->rc < 0)
        err_set(&c->err, c->rc, "%s%s%s", late ? "the deadline has passed: " : "",
                c->store->api.get_status_name(c->status), c->message);
}

static void pause_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    nanosleep(&t, NULL);
}

static void pause_until(struct libs3_store *s, uint64_t ns, uint64_t deadline_ns)
{
    uint64_t now_ns = clock_mono_ns(s->base.clock);
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    pause_ns(ns < left_ns ? ns : left_ns);
}

/* Runs what is in the context until all is answered. libs3 can be waited for by select only, which
 * knows no descriptor above 1023: it is looked at once a millisecond instead. False: too late. */
static bool drive(struct libs3_store *s, S3RequestContext *context, uint64_t deadline_ns)
{
    int remaining = 1;
    while (s->api.runonce_request_context(context, &remaining) == S3StatusOK && remaining) {
        if (clock_mono_ns(s->base.clock) >= deadline_ns)
            return false;
        pause_ns(NS_PER_MS);
    }
    return true;
}

static size_t run_round(struct libs3_store *s, struct libs3_call *calls, size_t count,
                        uint64_t deadline_ns)
{
    S3RequestContext *context;
    size_t left = 0;
    bool late = clock_mono_ns(s->base.clock) >= deadline_ns;
    bool ok = s->api.create_request_context(&context) == S3StatusOK;
    for (size_t i = 0; i < count; i++) {
        calls[i].status = S3StatusInterrupted;
        calls[i].message[0] = 0;
        if (ok && !late && !calls[i].done)
            calls[i].start(&calls[i], context);
    }
    if (ok) {
        late = late || !drive(s, context, deadline_ns);
        s->api.destroy_request_context(context); /* interrupts what is left */
    }
    for (size_t i = 0; i < count; i++) {
        judge(&calls[i], late);
        left += !calls[i].done;
    }
    return left;
}

/* Runs all calls, each with its tries, a few at a time. */
static void run_calls(struct libs3_store *s, struct libs3_call *calls, size_t count,
                      uint64_t deadline_ns)
{
    struct rng rng;
    random_bytes(&rng, sizeof rng);
    for (size_t first = 0; first < count; first += LIMIT_LIBS3_PARALLEL) {
        size_t n = count - first < LIMIT_LIBS3_PARALLEL ? count - first : LIMIT_LIBS3_PARALLEL;
        uint64_t most = LIMIT_S3_BACKOFF_FIRST_NS;
        for (unsigned tries = 1; run_round(s, calls + first, n, deadline_ns) > 0; tries++) {
            if (tries == LIMIT_S3_TRIES)
                break;
            counter_add(s->base.metrics.retries, 1);
            pause_until(s, rng_below(&rng, most), deadline_ns);
            most = 2 * most < LIMIT_S3_BACKOFF_LARGEST_NS ? 2 * most : LIMIT_S3_BACKOFF_LARGEST_NS;
        }
    }
}

static int call_init(struct libs3_call *c, struct libs3_store *s, struct slice key,
                     void (*start)(struct libs3_call *c, S3RequestContext *context))
{
    *c = (struct libs3_call){.store = s, .start = start, .fd = -1};
    size_t n = strlen(s->prefix);
    if (n + key.len > LIMIT_KEY_BYTES) {
        c->done = true;
        return c->rc = err_set(&c->err, ERR_INVALID,
                               "with the prefix the key has %zu bytes; at most %u", n + key.len,
                               LIMIT_KEY_BYTES);
    }
    if (slice_find(key, ' ') < key.len) { /* libs3 writes it as '+', which is another key */
        c->done = true;
        return c->rc = err_set(&c->err, ERR_INVALID, "libs3 cannot name a key with a space");
    }
    memcpy(c->key, s->prefix, n);
    memcpy(c->key + n, key.ptr, key.len);
    c->key[n + key.len] = 0;
    return 0;
}

static int run_one(struct libs3_call *c, uint64_t deadline_ns, struct err *err)
{
    if (!c->done)
        run_calls(c->store, c, 1, deadline_ns);
    if (c->rc < 0)
        err_set(err, c->rc, "%s", c->err.msg);
    return c->rc;
}

static const S3ResponseHandler plain_handler = {on_properties, on_complete};

/* ---- reading ---- */

static void start_head(struct libs3_call *c, S3RequestContext *context)
{
    c->store->api.head_object(&c->store->bucket, c->key, context, &plain_handler, c);
}

static int libs3_head(struct objstore *store, struct slice key, uint64_t deadline_ns,
                      struct objstore_info *info, struct err *err)
{
    struct libs3_call c;
    call_init(&c, libs3_of(store), key, start_head);
    int rc = run_one(&c, deadline_ns, err);
    if (rc == 0)
        *info = c.info;
    return rc;
}

static S3Status on_bytes(int n, const char *bytes, void *ctx)
{
    struct libs3_call *c = ctx;
    int rc = c->out->len - c->out_before + (size_t)n > c->bytes
                 ? err_set(&c->err, ERR_CORRUPT, "more than %llu bytes came",
                           (unsigned long long)c->bytes)
                 : buf_append(c->out, bytes, (size_t)n);
    if (rc == 0)
        return S3StatusOK;
    if (rc != ERR_CORRUPT)
        err_set(&c->err, rc, "the object does not fit %zu bytes", c->out->max);
    c->rc = rc;
    c->done = true;
    return S3StatusAbortedByCallback;
}

static void start_get(struct libs3_call *c, S3RequestContext *context)
{
    static const S3GetObjectHandler handler = {{on_properties, on_complete}, on_bytes};
    char etag[80];
    S3GetConditions conditions = {.ifModifiedSince = -1, .ifNotModifiedSince = -1};
    c->out->len = c->out_before;
    if (c->info.etag[0]) {
        snprintf(etag, sizeof etag, "\"%s\"", c->info.etag);
        conditions.ifMatchETag = etag;
    }
    c->store->api.get_object(&c->store->bucket, c->key, &conditions, c->from, c->bytes, context,
                             &handler, c);
}

/* After the size is known: the bytes that are wanted. */
static void plan_get(struct libs3_call *c, struct objstore_get *g)
{
    uint64_t to;
    g->rc = c->rc;
    g->err = c->err;
    if (c->rc < 0)
        return;
    g->object_bytes = c->info.bytes;
    objstore_resolve_range(g, c->info.bytes, &c->from, &to);
    c->bytes = to - c->from;
    c->done = c->bytes == 0;
    c->start = start_get;
    c->out = &g->out;
    c->out_before = g->out.len;
}

static void finish_get(struct libs3_call *c, struct objstore_get *g)
{
    if (g->rc < 0)
        return;
    if (c->rc == 0 && g->out.len - c->out_before != c->bytes)
        c->rc = err_set(&c->err, ERR_CORRUPT, "%zu bytes came, expected %llu",
                        g->out.len - c->out_before, (unsigned long long)c->bytes);
    g->rc = c->rc;
    g->err = c->err;
}

/* True: an object was written anew between the question for its size and its bytes. */
static bool get_pass(struct libs3_store *s, struct libs3_call *calls, struct objstore_get **gets,
                     size_t count, uint64_t deadline_ns)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++)
        call_init(&calls[i], s, gets[i]->key, start_head);
    run_calls(s, calls, count, deadline_ns);
    for (size_t i = 0; i < count; i++)
        plan_get(&calls[i], gets[i]);
    run_calls(s, calls, count, deadline_ns);
    for (size_t i = 0; i < count; i++) {
        finish_get(&calls[i], gets[i]);
        changed |= gets[i]->rc == ERR_EXISTS;
    }
    return changed;
}

static void libs3_get_many(struct objstore *store, struct objstore_get *gets, size_t count,
                           uint64_t deadline_ns)
{
    struct libs3_call *calls = calloc(count ? count : 1, sizeof *calls);
    struct objstore_get **wanted = calloc(count ? count : 1, sizeof *wanted);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (gets[i].rc < 0)
            continue;
        if (calls && wanted)
            wanted[n++] = &gets[i];
        else
            gets[i].rc = err_set(&gets[i].err, ERR_NOMEM, "no memory for a request");
    }
    for (unsigned pass = 0; n && pass < LIMIT_S3_TRIES; pass++) {
        if (!get_pass(libs3_of(store), calls, wanted, n, deadline_ns))
            break;
        size_t changed = 0;
        for (size_t i = 0; i < n; i++) {
            if (wanted[i]->rc == ERR_EXISTS)
                wanted[changed++] = wanted[i];
        }
        n = changed;
    }
    for (size_t i = 0; i < n; i++) {
        if (wanted[i]->rc == ERR_EXISTS)
            wanted[i]->rc = err_set(&wanted[i]->err, ERR_IO, "the object changes all the time");
    }
    free(calls);
    free(wanted);
}

/* ---- listing ---- */

static int add_entry(struct libs3_call *c, const char *name, bool is_prefix, uint64_t bytes,
                     int64_t modified_s)
{
    struct s3_list_entry e = {.is_prefix = is_prefix, .bytes = bytes};
    e.modified_unix_ns = modified_s > 0 ? (uint64_t)modified_s * NS_PER_S : 0;
    bool ok = c->page->entries.count < LIMIT_S3_LIST_ITEMS &&
              arena_slice(c->arena, slice_cstr(name), &e.key) && vec_push(&c->page->entries, e);
    return ok ? 0 : ERR_NOMEM;
}

static S3Status on_list(int truncated, const char *next_marker, int count,
                        const S3ListBucketContent *contents, int prefix_count,
                        const char **prefixes, void *ctx)
{
    struct libs3_call *c = ctx;
    (void)next_marker; /* the walk goes on behind the last name */
    c->page->truncated = truncated;
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = add_entry(c, contents[i].key, false, contents[i].size, contents[i].lastModified);
    for (int i = 0; i < prefix_count && rc == 0; i++)
        rc = add_entry(c, prefixes[i], true, 0, 0);
    if (rc == 0)
        return S3StatusOK;
    c->rc = err_set(&c->err, rc, "no memory for a page of the listing");
    c->done = true;
    return S3StatusAbortedByCallback;
}

static void start_list(struct libs3_call *c, S3RequestContext *context)
{
    static const S3ListBucketHandler handler = {{on_properties, on_complete}, on_list};
    const struct s3_lister *l = c->lister;
    c->page->entries.count = 0;
    c->store->api.list_bucket(&c->store->bucket, (const char *)l->prefix.ptr,
                              l->start_after.len ? (const char *)l->start_after.ptr : NULL,
                              l->query->delimiter_slash ? "/" : NULL, LIBS3_PAGE_KEYS, context,
                              &handler, c);
}

static int fetch_page(struct s3_lister *l, struct arena *a, struct s3_list_page *page,
                      struct err *err)
{
    struct libs3_call c;
    call_init(&c, libs3_of(l->store), SLICE(""), start_list);
    /* libs3 takes C strings; the zeros do not count. */
    int rc = buf_u8(&l->prefix, 0);
    rc = rc < 0 ? rc : buf_u8(&l->start_after, 0);
    if (rc < 0)
        return err_set(err, rc, "no memory for a listing");
    l->prefix.len--;
    l->start_after.len--;
    c.lister = l;
    c.arena = a;
    c.page = page;
    rc = run_one(&c, l->query->deadline_ns, err);
    return rc == ERR_NOTFOUND ? err_set(err, ERR_IO, "there is no such bucket") : rc;
}

static int libs3_list(struct objstore *store, const struct objstore_list_query *query,
                      struct err *err)
{
    struct s3_lister l = {.fetch = fetch_page,
                          .store = store,
                          .store_prefix = slice_cstr(libs3_of(store)->prefix),
                          .query = query};
    return s3_list_walk(&l, err);
}

/* ---- writing ---- */

static int on_send(int room, char *to, void *ctx)
{
    struct libs3_call *c = ctx;
    uint64_t left = c->body_bytes - c->sent;
    size_t n = left < (uint64_t)room ? (size_t)left : (size_t)room;
    if (n && c->fd >= 0) {
        ssize_t got = pread(c->fd, to, n, (off_t)c->sent);
        if (got <= 0)
            return -1; /* aborts */
        n = (size_t)got;
    } else if (n) {
        memcpy(to, c->body.ptr + c->sent, n);
    }
    c->sent += n;
    return (int)n;
}

static void start_put(struct libs3_call *c, S3RequestContext *context)
{
    static const S3PutObjectHandler handler = {{on_properties, on_complete}, on_send};
    const S3PutProperties properties = {.md5 = c->md5, .expires = -1};
    c->sent = 0;
    c->store->api.put_object(&c->store->bucket, c->key, c->body_bytes, &properties, context,
                             &handler, c);
}

/* Signature 2 says nothing of the body: its MD5 goes along, and the server checks it. */
static int put_call(struct libs3_call *c, const uint8_t md5[16], uint64_t deadline_ns,
                    struct err *err)
{
    struct buf text;
    buf_init(&text, 64);
    int rc = buf_base64(&text, slice_of(md5, 16));
    rc = rc < 0 ? rc : buf_u8(&text, 0);
    if (rc == 0) {
        c->md5 = (const char *)text.ptr;
        rc = run_one(c, deadline_ns, err);
    }
    buf_clear(&text);
    return rc == ERR_NOTFOUND ? err_set(err, ERR_IO, "there is no such bucket") : rc;
}

/* 0: it stands there already; ERR_NOTFOUND: nothing does. */
static int compare(struct objstore *store, struct slice key, struct slice body,
                   uint64_t deadline_ns, struct err *err)
{
    struct objstore_get get = {.key = key, .range = OBJSTORE_WHOLE};
    buf_init(&get.out, body.len);
    libs3_get_many(store, &get, 1, deadline_ns);
    int rc = get.rc;
    if (rc == ERR_LIMIT || (rc == 0 && !slice_eq(buf_view(&get.out), body)))
        rc = err_set(err, ERR_EXISTS, "the key exists with other content");
    else if (rc < 0)
        err_set(err, rc, "comparing what is there: %s", get.err.msg);
    buf_clear(&get.out);
    return rc;
}

static int libs3_put(struct objstore *store, struct slice key, struct slice body, unsigned flags,
                     uint64_t deadline_ns, struct err *err)
{
    struct libs3_call c;
    uint8_t md5[EVP_MAX_MD_SIZE];
    /* The probe asks what the store itself does with a second write: it overwrites. */
    if ((flags & OBJSTORE_IF_ABSENT) && atomic_load(&store->lacks_create_if_absent)) {
        int rc = compare(store, key, body, deadline_ns, err);
        if (rc != ERR_NOTFOUND)
            return rc;
    }
    if (!EVP_Digest(body.ptr, body.len, md5, NULL, EVP_md5(), NULL))
        return err_set(err, ERR_UNSUPPORTED, "OpenSSL has no MD5, which signature_v2 needs");
    call_init(&c, libs3_of(store), key, start_put);
    c.body = body;
    c.body_bytes = body.len;
    return put_call(&c, md5, deadline_ns, err);
}

static void start_delete(struct libs3_call *c, S3RequestContext *context)
{
    c->store->api.delete_object(&c->store->bucket, c->key, context, &plain_handler, c);
}

static int libs3_remove(struct objstore *store, struct slice key, uint64_t deadline_ns,
                        struct err *err)
{
    struct libs3_call c;
    call_init(&c, libs3_of(store), key, start_delete);
    int rc = run_one(&c, deadline_ns, err);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

/* ---- uploads ---- */

struct libs3_upload {
    struct objstore_upload base;
    EVP_MD_CTX *md5;
    uint64_t deadline_ns, written;
    struct libs3_call call; /* its fd: an unlinked file */
};

static void libs3_upload_abort(struct objstore_upload *base)
{
    struct libs3_upload *u = (struct libs3_upload *)base;
    if (u->call.fd >= 0)
        close(u->call.fd);
    EVP_MD_CTX_free(u->md5);
    free(u);
}

static int libs3_upload_begin(struct objstore *store, struct slice key, uint64_t deadline_ns,
                              struct objstore_upload **out, struct err *err)
{
    const char *dir = getenv("TMPDIR");
    char path[512];
    struct libs3_upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, ERR_NOMEM, "no memory for an upload");
    u->deadline_ns = deadline_ns;
    int rc = call_init(&u->call, libs3_of(store), key, start_put);
    u->md5 = EVP_MD_CTX_new();
    snprintf(path, sizeof path, "%s/rubato-upload-XXXXXX", dir && dir[0] ? dir : "/tmp");
    if (rc < 0)
        err_set(err, rc, "%s", u->call.err.msg);
    else if (!u->md5 || !EVP_DigestInit_ex(u->md5, EVP_md5(), NULL))
        rc = err_set(err, ERR_UNSUPPORTED, "OpenSSL has no MD5, which signature_v2 needs");
    else if ((u->call.fd = mkstemp(path)) < 0 || unlink(path) < 0)
        rc = err_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerrordesc_np(errno));
    if (rc < 0) {
        libs3_upload_abort(&u->base);
        return rc;
    }
    *out = &u->base;
    return 0;
}

static int libs3_upload_write(struct objstore_upload *base, struct slice bytes, struct err *err)
{
    struct libs3_upload *u = (struct libs3_upload *)base;
    EVP_DigestUpdate(u->md5, bytes.ptr, bytes.len);
    for (size_t done = 0; done < bytes.len;) {
        ssize_t n = pwrite(u->call.fd, bytes.ptr + done, bytes.len - done, (off_t)u->written);
        if (n < 0 && errno != EINTR)
            return err_set(err, ERR_UNAVAILABLE, "the file it waits in: %s",
                           strerrordesc_np(errno));
        done += n > 0 ? (size_t)n : 0;
        u->written += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int libs3_upload_finish(struct objstore_upload *base, struct err *err)
{
    struct libs3_upload *u = (struct libs3_upload *)base;
    uint8_t md5[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(u->md5, md5, NULL);
    u->call.body_bytes = u->written;
    int rc = put_call(&u->call, md5, u->deadline_ns, err);
    libs3_upload_abort(base);
    return rc;
}

/* ---- making and freeing ---- */

static void libs3_free(struct objstore *store)
{
    free(store); /* the library stays loaded: other stores may use it */
}

static const struct objstore_ops libs3_ops = {
    .free = libs3_free,
    .get_many = libs3_get_many,
    .head = libs3_head,
    .put = libs3_put,
    .remove = libs3_remove,
    .list = libs3_list,
    .upload_begin = libs3_upload_begin,
    .upload_write = libs3_upload_write,
    .upload_finish = libs3_upload_finish,
    .upload_abort = libs3_upload_abort,
};

static int set_up(struct libs3_store *s, const struct objstore_s3_opts *opts, struct err *err)
{
    struct s3_endpoint_opts where = {opts->bucket, opts->endpoint, opts->region, opts->insecure,
                                     opts->forcepathstyle};
    struct slice prefix;
    int rc = s3_endpoint_init(&s->where, &where, err);
    if (rc == 0 && s->where.https && !opts->tls_insecure_skip_verify)
        return err_set(err, ERR_INVALID,
                       "signature_v2 over https: libs3 does not check the server's certificate; "
                       "say tls_insecure_skip_verify: true to accept that, or use http");
    if (rc == 0 && (!opts->access_key.len || !opts->secret_key.len || opts->session_token.len))
        return err_set(err, ERR_INVALID,
                       "signature_v2 needs access_key and secret_key, and knows no session_token");
    if (rc == 0 && (opts->access_key.len >= sizeof s->access_key ||
                    opts->secret_key.len >= sizeof s->secret_key))
        return err_set(err, ERR_INVALID, "access_key or secret_key has more than %u bytes",
                       LIMIT_CREDENTIALS_KEY_BYTES - 1);
    if (rc == 0)
        rc = objstore_check_prefix(opts->prefix, &prefix, err);
    if (rc < 0)
        return err_wrap(err, "s3"), rc;
    if (slice_find(prefix, ' ') < prefix.len)
        return err_set(err, ERR_INVALID, "s3 prefix: libs3 cannot name a key with a space");
    snprintf(s->prefix, sizeof s->prefix, "%.*s%s", SLICE_ARGS(prefix), prefix.len ? "/" : "");
    snprintf(s->access_key, sizeof s->access_key, "%.*s", SLICE_ARGS(opts->access_key));
    snprintf(s->secret_key, sizeof s->secret_key, "%.*s", SLICE_ARGS(opts->secret_key));
    s->bucket = (S3BucketContext){
        .hostName = s->where.base_host,
        .bucketName = s->where.bucket,
        .protocol = s->where.https ? S3ProtocolHTTPS : S3ProtocolHTTP,
        .uriStyle = s->where.path_style ? S3UriStylePath : S3UriStyleVirtualHost,
        .accessKeyId = s->access_key,
        .secretAccessKey = s->secret_key,
    };
    return libs3_load(&s->api, err);
}

int objstore_libs3_new(const struct objstore_s3_opts *opts, const struct objstore_env *env,
                       struct objstore **out, struct err *err)
{
    struct libs3_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for an s3 store");
    objstore_init(&s->base, &libs3_ops, env);
    atomic_store(&s->base.lacks_create_if_absent, true);
    int rc = set_up(s, opts, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    snprintf(s->base.describe, sizeof s->base.describe, "s3 (signature 2) %.100s%s%.120s at %s",
             s->where.bucket, s->prefix[0] ? "/" : "", s->prefix, s->where.base_host);
    *out = &s->base;
    return 0;
}
