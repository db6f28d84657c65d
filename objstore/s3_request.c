/* One S3 request with all its tries.
 *
 * Each try is signed anew, because the clock moves and because an answer may have taught us another
 * region, host or time. The thread that waits for the batch sends, judges and sleeps; the HTTP
 * client's thread only puts the finished call on the batch's list. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

#include "base/text.h"
#include "objstore/s3_request_priv.h"
#include "objstore/s3_text.h"

#define TEXT_BYTES_MAX ((size_t)256 << 10) /* URL and header lines of one try */

/* ---- building a try ---- */

static void hash_payload(struct s3_request *r)
{
    if (r->payload_hash[0])
        return;
    /* TLS guards the bytes already; on plain http the signature has to. */
    if (r->endpoint.https && r->body.len)
        memcpy(r->payload_hash, S3_UNSIGNED_PAYLOAD, sizeof S3_UNSIGNED_PAYLOAD);
    else
        s3_sha256_hex(r->body, r->payload_hash);
}

static int add_url(struct s3_request *r, struct slice path)
{
    struct buf *url = &r->text;
    int rc = buf_printf(url, "%s://%s", r->endpoint.https ? "https" : "http", r->endpoint.host);
    if (rc == 0)
        rc = s3_uri_encode(url, path, true);
    if (rc == 0 && r->query_count)
        rc = buf_u8(url, '?');
    if (rc == 0)
        rc = s3_sign_query(r->query, r->query_count, url);
    return rc == 0 ? buf_u8(url, 0) : rc;
}

static int sign(struct s3_request *r, const struct s3_credentials *keys, struct slice path,
                const struct s3_pair *headers, size_t count, uint64_t unix_s,
                struct buf *authorization)
{
    struct s3_sign_request sign_request = {
        .method = slice_cstr(r->method),
        .path = path,
        .query = r->query,
        .query_count = r->query_count,
        .headers = headers,
        .header_count = count,
        .payload_hash = slice_cstr(r->payload_hash),
        .region = slice_cstr(r->endpoint.region),
        .service = SLICE("s3"),
        .access_key = slice_cstr(keys->access_key),
        .secret_key = slice_cstr(keys->secret_key),
        .unix_s = unix_s,
    };
    return s3_sign(&sign_request, authorization, NULL, &r->err);
}

/* "Name: value" lines for curl: the signed ones without Host, which curl writes itself. */
static int add_lines(struct s3_request *r, const struct s3_pair *headers, size_t count,
                     struct slice authorization)
{
    int rc = 0;
    for (size_t i = 1; i < count && rc == 0; i++) {
        rc = buf_printf(&r->text, "%.*s: %.*s", SLICE_ARGS(headers[i].name),
                        SLICE_ARGS(headers[i].value));
        if (rc == 0)
            rc = buf_u8(&r->text, 0);
    }
    if (rc == 0)
        rc = buf_printf(&r->text, "Authorization: %.*s", SLICE_ARGS(authorization));
    return rc == 0 ? buf_u8(&r->text, 0) : rc;
}

static int add_signed(struct s3_request *r, const struct s3_credentials *keys, struct slice path,
                      size_t *count)
{
    char date[17];
    int64_t skew_s = atomic_load(&r->store->skew_s);
    uint64_t unix_s = clock_unix_ns(r->store->base.clock) / NS_PER_S + (uint64_t)skew_s;
    s3_time_amz(unix_s, date);
    struct s3_pair headers[LIMIT_S3_HEADERS + 4] = {
        {SLICE("host"), slice_cstr(r->endpoint.host)},
        {SLICE("x-amz-date"), slice_cstr(date)},
        {SLICE("x-amz-content-sha256"), slice_cstr(r->payload_hash)},
    };
    size_t n = 3;
    if (keys->session_token[0])
        headers[n++] =
            (struct s3_pair){SLICE("x-amz-security-token"), slice_cstr(keys->session_token)};
    for (size_t i = 0; i < r->header_count; i++)
        headers[n++] = r->headers[i];
    struct buf authorization;
    buf_init(&authorization, 4096);
    int rc = sign(r, keys, path, headers, n, unix_s, &authorization);
    if (rc == 0)
        rc = add_lines(r, headers, n, buf_view(&authorization));
    buf_clear(&authorization);
    *count = n; /* without Host, with Authorization */
    return rc;
}

/* The buffer has stopped growing: now its texts have addresses. */
static void point_at_lines(struct s3_request *r, size_t count)
{
    const char *at = (const char *)r->text.ptr;
    r->call.url = at;
    for (size_t i = 0; i < count; i++) {
        at += strlen(at) + 1;
        r->lines[i] = at;
    }
    r->lines[count] = NULL;
    r->call.headers = r->lines;
}

static int build_texts(struct s3_request *r, const struct s3_credentials *keys)
{
    struct buf path;
    size_t count = 0;
    buf_init(&path, TEXT_BYTES_MAX);
    r->text.max = TEXT_BYTES_MAX;
    buf_reset(&r->text);
    int rc = s3_endpoint_path(&r->endpoint, r->key, &path);
    if (rc == 0)
        rc = add_url(r, buf_view(&path));
    if (rc == 0)
        rc = add_signed(r, keys, buf_view(&path), &count);
    if (rc == 0)
        point_at_lines(r, count);
    buf_clear(&path);
    return rc < 0 ? err_set(&r->err, rc, "the request cannot be built: %s", err_code_name(rc)) : 0;
}

static int build(struct s3_request *r)
{
    struct s3_store *s = r->store;
    struct s3_credentials keys;
    int rc = s3_credentials_get(s->credentials, r->deadline_ns, &keys, &r->err);
    if (rc < 0)
        return rc;
    r->credentials_generation = keys.generation;
    pthread_mutex_lock(&s->shared.mu);
    r->endpoint = s->shared.endpoint;
    pthread_mutex_unlock(&s->shared.mu);
    if (r->prepare)
        r->prepare(r);
    hash_payload(r);
    rc = build_texts(r, &keys);
    OPENSSL_cleanse(&keys, sizeof keys);
    return rc;
}

/* ---- sending ---- */

static void on_done(struct http_call *call)
{
    struct s3_request *r = call->user;
    struct s3_batch *b = r->batch;
    pthread_mutex_lock(&b->shared.mu);
    r->next = b->shared.answered;
    b->shared.answered = r;
    pthread_cond_signal(&b->shared.cond);
    pthread_mutex_unlock(&b->shared.mu);
}

static void finish(struct s3_request *r)
{
    buf_clear(&r->text);
    r->finished = true;
    r->batch->unfinished--;
}

static void send_try(struct s3_request *r)
{
    r->tries++;
    if (!r->keeps_partial)
        buf_reset(&r->out);
    int rc = build(r);
    if (rc < 0) {
        r->rc = rc;
        finish(r);
        return;
    }
    r->try_start_ns = clock_mono_ns(r->store->base.clock);
    r->call.method = r->method;
    r->call.body = r->body;
    r->call.deadline_mono_ns = r->deadline_ns;
    r->call.done = on_done;
    r->call.user = r;
    r->call.out = r->out;
    r->out = (struct buf){.max = r->out.max};
    r->call.fail.max = LIMIT_S3_ERROR_BYTES;
    http_client_submit(r->store->http, &r->call);
}

/* ---- judging ---- */

static bool is_one_of(const char *code, const char *const *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(code, codes[i]) == 0)
            return true;
    }
    return false;
}
#define IS_ONE_OF(code, codes) is_one_of((code), (codes), sizeof(codes) / sizeof(codes)[0])

static bool is_overload(int status, const char *code)
{
    static const char *const codes[] = {"SlowDown", "ServiceUnavailable", "TooManyRequests",
                                        "RequestLimitExceeded", "Throttling"};
    return status == 503 || status == 429 || IS_ONE_OF(code, codes);
}

static bool is_passing(int status, const char *code)
{
    static const char *const codes[] = {"InternalError", "RequestTimeout", "OperationAborted",
                                        "ConditionalRequestConflict"};
    return status == 500 || status == 502 || status == 504 || status == 408 ||
           IS_ONE_OF(code, codes);
}

/* The store is full or we are over its quota: not now, but not wrong either. */
static bool is_full(int status, const char *code)
{
    static const char *const codes[] = {"QuotaExceeded", "XMinioStorageFull",
                                        "XMinioAdminBucketQuotaExceeded"};
    return status == 507 || IS_ONE_OF(code, codes);
}

static bool is_expired(const char *code)
{
    static const char *const codes[] = {"ExpiredToken", "ExpiredTokenException",
                                        "TokenRefreshRequired", "InvalidToken"};
    return IS_ONE_OF(code, codes);
}

static enum err_code code_of(int status, const char *code)
{
    if (is_expired(code))
        return ERR_DENIED;
    if (is_overload(status, code) || is_full(status, code))
        return ERR_UNAVAILABLE;
    if (strcmp(code, "NoSuchBucket") == 0)
        return ERR_IO; /* not ERR_NOTFOUND: the key may well exist where it should */
    switch (status) {
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOTFOUND;
    case 412:
        return ERR_EXISTS;
    case 413:
        return ERR_LIMIT;
    case 501:
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}

static void set_failure(struct s3_request *r, const struct s3_error *e)
{
    char shown[400];
    /* The body as it came only when it is no error document. */
    struct slice said = e->message[0] || e->code[0] ? slice_cstr(e->message)
                                                    : buf_view(&r->call.fail);
    text_escape(said, 120, shown, sizeof shown);
    r->rc = err_set(&r->err, code_of(r->call.status, e->code), "status %d%s%.64s%s%s (%s try %u)",
                    r->call.status, e->code[0] ? " " : "", e->code, shown[0] ? ": " : "", shown,
                    r->endpoint.host, r->tries);
}

/* An answer that says where or how else to ask. True: ask again at once. */
static bool learn_place(struct s3_request *r, const struct s3_error *e)
{
    struct s3_store *s = r->store;
    struct slice region = s3_request_header(r, "x-amz-bucket-region");
    struct slice location = s3_request_header(r, "Location");
    if (!region.len)
        region = slice_cstr(e->region);
    pthread_mutex_lock(&s->shared.mu);
    struct s3_endpoint *ep = &s->shared.endpoint;
    bool changed = false;
    if (region.len)
        changed = s3_endpoint_learn_region(ep, region);
    if (!changed && (r->call.status == 307 || r->call.status == 301) && location.len)
        changed = s3_endpoint_learn_location(ep, location);
    /* Another thread may have learned it while this request was on its way. */
    changed = changed || strcmp(ep->region, r->endpoint.region) != 0 ||
              strcmp(ep->host, r->endpoint.host) != 0 || ep->https != r->endpoint.https;
    struct s3_endpoint now = *ep;
    pthread_mutex_unlock(&s->shared.mu);
    if (changed)
        LOG_INFO(s->base.log, "bucket is elsewhere", KV_STR("host", now.host),
                 KV_STR("region", now.region));
    return changed;
}

static bool mend_clock(struct s3_request *r)
{
    uint64_t theirs_s;
    if (r->clock_mended || !s3_time_parse_http(s3_request_header(r, "Date"), &theirs_s))
        return false;
    r->clock_mended = true;
    int64_t ours_s = (int64_t)(clock_unix_ns(r->store->base.clock) / NS_PER_S);
    int64_t skew_s = (int64_t)theirs_s - ours_s;
    atomic_store(&r->store->skew_s, skew_s);
    LOG_WARN(r->store->base.log, "clock differs from the store's", KV_I64("seconds", skew_s));
    return true;
}

static bool ask_otherwise(struct s3_request *r, const struct s3_error *e)
{
    int status = r->call.status;
    if (strcmp(e->code, "RequestTimeTooSkewed") == 0)
        return mend_clock(r);
    if (is_expired(e->code))
        return s3_credentials_rejected(r->store->credentials, r->credentials_generation);
    /* HEAD answers carry no code, so a region in the head is enough. */
    return (status == 301 || status == 307 || status == 400 || status == 403) && learn_place(r, e);
}

static enum s3_verdict judge_answer(struct s3_request *r)
{
    int status = r->call.status;
    if (status >= 200 && status <= 299) {
        r->rc = 0;
        return S3_DONE;
    }
    struct s3_error e;
    s3_xml_error(buf_view(&r->call.fail), &e);
    set_failure(r, &e);
    if (r->redirects < LIMIT_S3_REDIRECTS && ask_otherwise(r, &e))
        return S3_AT_ONCE;
    return is_overload(status, e.code) || is_passing(status, e.code) ? S3_AGAIN : S3_DONE;
}

/* No whole answer came. */
static enum s3_verdict judge_broken(struct s3_request *r)
{
    int rc = r->call.rc;
    bool late = clock_mono_ns(r->store->base.clock) >= r->deadline_ns;
    /* At the deadline, what went wrong before says more than that time is up. */
    if (!(rc == ERR_TIMEOUT && late && r->rc < 0))
        r->rc = err_set(&r->err, rc, "%s", r->call.err.msg);
    return rc == ERR_IO || (rc == ERR_TIMEOUT && !late) ? S3_AGAIN : S3_DONE;
}

static uint64_t backoff_ns(struct s3_request *r)
{
    uint64_t most = LIMIT_S3_BACKOFF_FIRST_NS << (r->tries < 20 ? r->tries - 1 : 19);
    if (most > LIMIT_S3_BACKOFF_LARGEST_NS)
        most = LIMIT_S3_BACKOFF_LARGEST_NS;
    return rng_below(&r->rng, most + 1);
}

static void sleep_or_give_up(struct s3_request *r)
{
    struct s3_store *s = r->store;
    uint64_t now_ns = clock_mono_ns(s->base.clock);
    r->wake_ns = now_ns + backoff_ns(r);
    if (r->tries >= LIMIT_S3_TRIES || r->wake_ns >= r->deadline_ns) {
        finish(r);
        return;
    }
    uint64_t more;
    counter_add(s->base.metrics.retries, 1);
    if (log_limit_allow(&s->retry_log, now_ns, 10 * NS_PER_S, 5, &more))
        LOG_WARN(s->base.log, "request to be sent again", KV_SLICE("key", r->key),
                 KV_U64("try", r->tries), KV_ERR(&r->err), KV_U64("suppressed", more));
    r->next = r->batch->sleeping;
    r->batch->sleeping = r;
}

static void handle_answer(struct s3_request *r)
{
    objstore_observe(&r->store->base, r->op, r->call.rc == 0 ? r->call.status : 0, r->try_start_ns);
    r->status = r->call.status;
    r->out = r->call.out;
    r->call.out = (struct buf){0};
    enum s3_verdict verdict = r->judge ? r->judge(r) : S3_COMMON;
    if (verdict == S3_COMMON)
        verdict = r->call.rc == 0 ? judge_answer(r) : judge_broken(r);
    if (verdict == S3_AT_ONCE && ++r->redirects > LIMIT_S3_REDIRECTS)
        verdict = S3_DONE;
    if (verdict == S3_AT_ONCE)
        send_try(r);
    else if (verdict == S3_AGAIN)
        sleep_or_give_up(r);
    else
        finish(r);
}

/* ---- batches ---- */

void s3_batch_init(struct s3_batch *b, struct s3_store *store)
{
    *b = (struct s3_batch){.store = store};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->shared.cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&b->shared.mu, NULL);
}

void s3_batch_clear(struct s3_batch *b)
{
    pthread_mutex_destroy(&b->shared.mu);
    pthread_cond_destroy(&b->shared.cond);
}

void s3_batch_start(struct s3_batch *b, struct s3_request *r)
{
    r->batch = b;
    r->finished = false;
    r->rc = 0;
    r->tries = r->redirects = 0;
    random_bytes(&r->rng.state, sizeof r->rng.state);
    b->unfinished++;
    send_try(r);
}

/* Sends what is due; returns nanoseconds until the next is, or UINT64_MAX. */
static uint64_t wake_sleepers(struct s3_batch *b)
{
    uint64_t now_ns = clock_mono_ns(b->store->base.clock);
    uint64_t next_ns = UINT64_MAX;
    struct s3_request *list = b->sleeping;
    b->sleeping = NULL;
    while (list) {
        struct s3_request *r = list;
        list = r->next;
        if (r->wake_ns <= now_ns) {
            send_try(r);
            continue;
        }
        if (r->wake_ns - now_ns < next_ns)
            next_ns = r->wake_ns - now_ns;
        r->next = b->sleeping;
        b->sleeping = r;
    }
    return next_ns;
}

/* At least one request is unfinished. Returns those that came back; empty when time is up. */
static struct s3_request *wait_answered(struct s3_batch *b, uint64_t at_most_ns)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    if (at_most_ns > NS_PER_S)
        at_most_ns = NS_PER_S; /* the clock handed in may run otherwise than the condition's */
    uint64_t until = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec + at_most_ns;
    ts.tv_sec = (time_t)(until / NS_PER_S);
    ts.tv_nsec = (long)(until % NS_PER_S);
    pthread_mutex_lock(&b->shared.mu);
    if (!b->shared.answered)
        pthread_cond_timedwait(&b->shared.cond, &b->shared.mu, &ts);
    struct s3_request *list = b->shared.answered;
    b->shared.answered = NULL;
    pthread_mutex_unlock(&b->shared.mu);
    return list;
}

void s3_batch_wait(struct s3_batch *b, size_t left)
{
    while (b->unfinished > left) {
        uint64_t next_ns = wake_sleepers(b);
        if (b->unfinished <= left)
            break;
        struct s3_request *list = wait_answered(b, next_ns);
        while (list) {
            struct s3_request *r = list;
            list = r->next;
            handle_answer(r);
        }
    }
}

void s3_request_clear(struct s3_request *r)
{
    http_call_clear(&r->call);
    buf_clear(&r->out);
}

struct slice s3_request_header(const struct s3_request *r, const char *name)
{
    return http_call_header(&r->call, name);
}

int s3_request_run(struct s3_request *r, struct err *err)
{
    struct s3_batch b;
    s3_batch_init(&b, r->store);
    s3_batch_start(&b, r);
    s3_batch_wait(&b, 0);
    s3_batch_clear(&b);
    if (r->rc < 0)
        err_set(err, r->rc, "%s", r->err.msg);
    return r->rc;
}
