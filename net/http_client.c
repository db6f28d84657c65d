/* The HTTP client: calls come in through a locked inbox, one thread moves them into curl's multi
 * handle, watches deadlines and stalls itself, and hands each call back exactly once.
 *
 * Deadlines and stalls are ours, not curl's: curl knows whole seconds for a stall, and does not
 * count the time that a call waits for a connection. */
#include "net/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>

#include "net/http_client_limits.h"

/* One call inside curl. The client's thread alone touches it. */
struct transfer {
    CURL *easy;
    struct http_call *call;
    struct curl_slist *headers;
    size_t sent;          /* bytes of the body handed to curl */
    uint64_t progress_ns; /* when a byte last moved */
    uint64_t start_ns;
    int cb_rc; /* why a callback stopped the transfer, else 0 */
    size_t index;
    char curl_text[CURL_ERROR_SIZE];
};

struct http_client {
    const struct clock *clock;
    const struct log *log;
    uint32_t connections_max;
    bool tls_insecure_skip_verify;
    CURLM *multi;
    pthread_t thread;
    struct { /* hold mu */
        pthread_mutex_t mu;
        struct http_call *inbox;
        struct http_call **inbox_end;
        bool stopping;
    } shared;
    struct { /* the client's thread alone */
        struct http_call *queue;
        struct http_call **queue_end;
        struct transfer **active;
        size_t active_count;
        struct transfer **idle; /* easy handles kept for the next call */
        size_t idle_count;
        uint64_t queue_due_ns; /* no queued call is due before this */
    } loop;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t add_ns(uint64_t now_ns, uint64_t ms)
{
    return now_ns > UINT64_MAX - ms * NS_PER_MS ? UINT64_MAX : now_ns + ms * NS_PER_MS;
}

/* The URL without its query, for texts. */
static struct slice url_shown(const struct http_call *call)
{
    struct slice url = slice_cstr(call->url);
    size_t n = slice_find(url, '?');
    return slice_of(url.ptr, n < LIMIT_HTTP_URL_SHOWN ? n : LIMIT_HTTP_URL_SHOWN);
}

/* ---- what curl calls ---- */

static size_t on_head(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct http_call *call = t->call;
    size_t bytes = size * n;
    t->progress_ns = UINT64_MAX; /* read at the next look at the clock */
    if (bytes >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_reset(&call->head); /* a new answer: after 100 Continue for one */
    t->cb_rc = buf_append(&call->head, data, bytes);
    return t->cb_rc < 0 ? 0 : bytes;
}

/* Takes the announced length as a hint, but never more than LIMIT_HTTP_RESERVE_BYTES of it: the
 * rest of the room is made as bytes arrive. */
static void reserve_announced(struct transfer *t, struct buf *to)
{
    curl_off_t announced = -1;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (announced <= 0)
        return;
    size_t want =
        announced > LIMIT_HTTP_RESERVE_BYTES ? LIMIT_HTTP_RESERVE_BYTES : (size_t)announced;
    if (to->len <= to->max && want <= to->max - to->len)
        (void)buf_reserve(to, want); /* a refusal shows again when the bytes come */
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct http_call *call = t->call;
    size_t bytes = size * n;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->progress_ns = UINT64_MAX;
    if (call->fail.max && (status < 200 || status > 299)) {
        size_t room = call->fail.max - call->fail.len;
        (void)buf_append(&call->fail, data, bytes < room ? bytes : room);
        return bytes;
    }
    if (call->out.cap - call->out.len < bytes)
        reserve_announced(t, &call->out);
    t->cb_rc = buf_append(&call->out, data, bytes);
    return t->cb_rc < 0 ? 0 : bytes;
}

static size_t on_send(char *to, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct slice body = t->call->body;
    size_t bytes = size * n;
    size_t left = body.len - t->sent;
    if (bytes > left)
        bytes = left;
    if (bytes)
        memcpy(to, body.ptr + t->sent, bytes);
    t->sent += bytes;
    t->progress_ns = UINT64_MAX;
    return bytes;
}

/* curl sends again by itself when a kept connection turns out to be closed. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *t = ctx;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->call->body.len)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- one call into curl ---- */

static bool header_given(const struct http_call *call, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *h = call->headers; h && *h; h++) {
        if (strncasecmp(*h, name, n) == 0 && (*h)[n] == ':')
            return true;
    }
    return false;
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

static int set_headers(struct transfer *t)
{
    const struct http_call *call = t->call;
    for (const char *const *h = call->headers; h && *h; h++) {
        if (!add_header(&t->headers, *h))
            return ERR_NOMEM;
    }
    /* curl would call every POST a form. */
    if (!header_given(call, "Content-Type") && !add_header(&t->headers, "Content-Type:"))
        return ERR_NOMEM;
    /* Asking first costs a round trip: worth it only where a refusal saves a large body. */
    if (call->body.len < LIMIT_HTTP_EXPECT_BYTES && !header_given(call, "Expect") &&
        !add_header(&t->headers, "Expect:"))
        return ERR_NOMEM;
    return curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) ? ERR_NOMEM : 0;
}

static int set_method(struct transfer *t)
{
    const struct http_call *call = t->call;
    CURL *e = t->easy;
    CURLcode c = 0;
    if (strcmp(call->method, "HEAD") == 0) {
        c |= curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (strcmp(call->method, "PUT") == 0) {
        c |= curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        c |= curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body.len);
    } else if (strcmp(call->method, "POST") == 0) {
        c |= curl_easy_setopt(e, CURLOPT_POST, 1L);
        c |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    } else if (strcmp(call->method, "GET") != 0) {
        c |= curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method);
    }
    return c ? ERR_NOMEM : 0;
}

static int set_options(struct http_client *c, struct transfer *t)
{
    const struct http_call *call = t->call;
    CURL *e = t->easy;
    CURLcode rc = 0;
    long connect_ms =
        call->connect_timeout_ms ? (long)call->connect_timeout_ms : LIMIT_HTTP_CONNECT_MS;

    rc |= curl_easy_setopt(e, CURLOPT_URL, call->url);
    rc |= curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* what was signed is what is sent */
    rc |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    rc |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    rc |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(e, CURLOPT_USERAGENT, "rubato");
    rc |= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    rc |= curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, LIMIT_HTTP_IDLE_S);
    rc |= curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, LIMIT_HTTP_LIFETIME_S);
    rc |= curl_easy_setopt(e, CURLOPT_BUFFERSIZE, LIMIT_HTTP_BUFFER_BYTES);
    rc |= curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, LIMIT_HTTP_BUFFER_BYTES);
    rc |= curl_easy_setopt(e, CURLOPT_EXPECT_100_TIMEOUT_MS, LIMIT_HTTP_EXPECT_MS);
    rc |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_text);
    rc |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
    rc |= curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    rc |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    rc |= curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    rc |= curl_easy_setopt(e, CURLOPT_READFUNCTION, on_send);
    rc |= curl_easy_setopt(e, CURLOPT_READDATA, t);
    rc |= curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_rewind);
    rc |= curl_easy_setopt(e, CURLOPT_SEEKDATA, t);
    rc |= curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    if (call->no_proxy)
        rc |= curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (c->tls_insecure_skip_verify) {
        rc |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        rc |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return rc ? ERR_NOMEM : 0;
}

static void transfer_free(struct transfer *t)
{
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    free(t);
}

static struct transfer *transfer_take(struct http_client *c)
{
    if (c->loop.idle_count)
        return c->loop.idle[--c->loop.idle_count];
    struct transfer *t = calloc(1, sizeof *t);
    if (!t || !(t->easy = curl_easy_init())) {
        free(t);
        return NULL;
    }
    return t;
}

/* A handle whose transfer failed is not used again: curl leaves buffers in it that refuse options.
 */
static void transfer_give_back(struct http_client *c, struct transfer *t, bool failed)
{
    if (failed) {
        transfer_free(t);
        return;
    }
    curl_easy_reset(t->easy);
    curl_slist_free_all(t->headers);
    CURL *easy = t->easy;
    *t = (struct transfer){.easy = easy};
    c->loop.idle[c->loop.idle_count++] = t;
}

/* ---- handing a call back ---- */

static void call_done(struct http_call *call, int rc)
{
    call->rc = rc;
    call->priv = NULL;
    call->next = NULL;
    call->done(call); /* the call may be gone from here on */
}

static void transfer_end(struct http_client *c, struct transfer *t, bool failed)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->call->status = (int)status;
    curl_multi_remove_handle(c->multi, t->easy);
    struct transfer *last = c->loop.active[--c->loop.active_count];
    c->loop.active[t->index] = last;
    last->index = t->index;
    transfer_give_back(c, t, failed);
}

static enum err_code code_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_URL_MALFORMAT:
        return ERR_INVALID;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return ERR_DENIED;
    case CURLE_UNSUPPORTED_PROTOCOL: /* no status line; the scheme was checked before */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return ERR_CORRUPT;
    case CURLE_FILESIZE_EXCEEDED:
        return ERR_LIMIT;
    default:
        return ERR_IO;
    }
}

static int curl_failed(struct transfer *t, CURLcode rc)
{
    struct http_call *call = t->call;
    struct slice url = url_shown(call);
    if (t->cb_rc == ERR_LIMIT)
        return err_set(&call->err, ERR_LIMIT, "%s %.*s: the answer is larger than %zu bytes",
                       call->method, SLICE_ARGS(url),
                       call->head.len >= LIMIT_HTTP_HEAD_BYTES ? call->head.max : call->out.max);
    if (t->cb_rc < 0)
        return err_set(&call->err, t->cb_rc, "%s %.*s: no memory for the answer", call->method,
                       SLICE_ARGS(url));
    return err_set(&call->err, code_of(rc), "%s %.*s: %s (%zu bytes received)", call->method,
                   SLICE_ARGS(url), t->curl_text[0] ? t->curl_text : curl_easy_strerror(rc),
                   call->out.len);
}

static void finish(struct http_client *c, struct transfer *t, CURLcode result)
{
    struct http_call *call = t->call;
    int rc = result == CURLE_OK ? 0 : curl_failed(t, result);
    transfer_end(c, t, rc < 0);
    call_done(call, rc);
}

/* ---- starting ---- */

static bool url_is_http(const char *url)
{
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

static void start(struct http_client *c, struct http_call *call, uint64_t now_ns)
{
    struct slice url = url_shown(call);
    if (!url_is_http(call->url)) {
        call_done(call, err_set(&call->err, ERR_INVALID, "'%.*s' is not an http or https URL",
                                SLICE_ARGS(url)));
        return;
    }
    struct transfer *t = transfer_take(c);
    int rc = t ? 0 : ERR_NOMEM;
    if (t) {
        t->call = call;
        t->start_ns = t->progress_ns = now_ns;
        call->priv = t;
        rc = set_options(c, t);
        if (rc == 0)
            rc = set_method(t);
        if (rc == 0)
            rc = set_headers(t);
        if (rc == 0 && curl_multi_add_handle(c->multi, t->easy) != CURLM_OK)
            rc = ERR_NOMEM;
    }
    if (rc < 0) {
        if (t)
            transfer_give_back(c, t, true);
        call_done(call, err_set(&call->err, rc, "%s %.*s: the call cannot be set up", call->method,
                                SLICE_ARGS(url)));
        return;
    }
    t->index = c->loop.active_count;
    c->loop.active[c->loop.active_count++] = t;
}

static void start_queued(struct http_client *c, uint64_t now_ns)
{
    while (c->loop.queue && c->loop.active_count < c->connections_max) {
        struct http_call *call = c->loop.queue;
        c->loop.queue = call->next;
        if (!c->loop.queue)
            c->loop.queue_end = &c->loop.queue;
        start(c, call, now_ns);
    }
}

/* ---- time ---- */

static uint64_t stall_due(const struct transfer *t)
{
    uint64_t ms = t->call->stall_timeout_ms ? t->call->stall_timeout_ms : LIMIT_HTTP_STALL_MS;
    return add_ns(t->progress_ns, ms);
}

static void expire_active(struct http_client *c, uint64_t now_ns)
{
    for (size_t i = 0; i < c->loop.active_count;) {
        struct transfer *t = c->loop.active[i];
        struct http_call *call = t->call;
        if (t->progress_ns == UINT64_MAX)
            t->progress_ns = now_ns;
        bool late = now_ns >= call->due_ns;
        if (!late && now_ns < stall_due(t)) {
            i++;
            continue;
        }
        struct slice url = url_shown(call);
        uint64_t ms = (now_ns - (late ? t->start_ns : t->progress_ns)) / NS_PER_MS;
        int rc = err_set(&call->err, ERR_TIMEOUT, "%s %.*s: %s %llu ms (%zu bytes received)",
                         call->method, SLICE_ARGS(url),
                         late ? "the deadline passed after" : "nothing moved for",
                         (unsigned long long)ms, call->out.len);
        transfer_end(c, t, true); /* puts another one at index i */
        call_done(call, rc);
    }
}

static void expire_queued(struct http_client *c, uint64_t now_ns)
{
    if (!c->loop.queue || now_ns < c->loop.queue_due_ns)
        return;
    struct http_call *late = NULL;
    struct http_call **late_end = &late;
    struct http_call **at = &c->loop.queue;
    uint64_t due_ns = UINT64_MAX;
    while (*at) {
        struct http_call *call = *at;
        if (now_ns < call->due_ns) {
            due_ns = min_u64(due_ns, call->due_ns);
            at = &call->next;
            continue;
        }
        *at = call->next;
        call->next = NULL;
        *late_end = call;
        late_end = &call->next;
    }
    c->loop.queue_end = at;
    c->loop.queue_due_ns = due_ns;
    while (late) {
        struct http_call *call = late;
        late = call->next;
        struct slice url = url_shown(call);
        call_done(call, err_set(&call->err, ERR_TIMEOUT,
                                "%s %.*s: the deadline passed while waiting for one of %u "
                                "connections",
                                call->method, SLICE_ARGS(url), c->connections_max));
    }
}

/* Milliseconds until the next thing is due. curl's own timers are known to curl_multi_poll. */
static int poll_ms(const struct http_client *c, uint64_t now_ns)
{
    uint64_t due_ns = c->loop.queue ? c->loop.queue_due_ns : UINT64_MAX;
    for (size_t i = 0; i < c->loop.active_count; i++) {
        const struct transfer *t = c->loop.active[i];
        due_ns = min_u64(due_ns, min_u64(t->call->due_ns, stall_due(t)));
    }
    if (due_ns <= now_ns)
        return 0;
    uint64_t ms = (due_ns - now_ns) / NS_PER_MS + 1;
    return ms > LIMIT_HTTP_POLL_MS ? LIMIT_HTTP_POLL_MS : (int)ms;
}

/* ---- the loop ---- */

static bool take_inbox(struct http_client *c)
{
    pthread_mutex_lock(&c->shared.mu);
    struct http_call *fresh = c->shared.inbox;
    c->shared.inbox = NULL;
    c->shared.inbox_end = &c->shared.inbox;
    bool stopping = c->shared.stopping;
    pthread_mutex_unlock(&c->shared.mu);

    if (!c->loop.queue)
        c->loop.queue_due_ns = UINT64_MAX;
    while (fresh) {
        struct http_call *call = fresh;
        fresh = call->next;
        call->next = NULL;
        *c->loop.queue_end = call;
        c->loop.queue_end = &call->next;
        c->loop.queue_due_ns = min_u64(c->loop.queue_due_ns, call->due_ns);
    }
    return stopping;
}

static bool finish_done(struct http_client *c)
{
    bool any = false;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct transfer *t = NULL;
        CURLcode result = m->data.result; /* m dies when its handle is removed */
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish(c, t, result);
        any = true;
    }
    return any;
}

static void cancel_all(struct http_client *c)
{
    while (c->loop.active_count) {
        struct transfer *t = c->loop.active[0];
        struct http_call *call = t->call;
        transfer_end(c, t, true);
        call_done(call, err_set(&call->err, ERR_CANCELLED, "the http client was stopped"));
    }
    while (c->loop.queue) {
        struct http_call *call = c->loop.queue;
        c->loop.queue = call->next;
        if (!c->loop.queue)
            c->loop.queue_end = &c->loop.queue;
        call_done(call, err_set(&call->err, ERR_CANCELLED, "the http client was stopped"));
    }
}

static void *run_loop(void *ctx)
{
    struct http_client *c = ctx;
    for (;;) {
        if (take_inbox(c)) {
            /* A done callback may have submitted again: go on until nothing is left. */
            if (!c->loop.queue && !c->loop.active_count)
                return NULL;
            cancel_all(c);
            continue;
        }
        uint64_t now_ns = clock_mono_ns(c->clock);
        expire_queued(c, now_ns); /* before one that is late already is sent */
        start_queued(c, now_ns);
        int running;
        curl_multi_perform(c->multi, &running);
        bool any = finish_done(c);
        now_ns = clock_mono_ns(c->clock);
        expire_active(c, now_ns);
        if (any && c->loop.queue)
            continue; /* a connection came free */
        if (curl_multi_poll(c->multi, NULL, 0, poll_ms(c, now_ns), NULL) != CURLM_OK)
            LOG_ERROR(c->log, "waiting for connections failed");
    }
}

/* ---- the face ---- */

static int make_loop(struct http_client *c, struct err *err)
{
    size_t n = c->connections_max;
    c->loop.queue_end = &c->loop.queue;
    c->shared.inbox_end = &c->shared.inbox;
    c->loop.active = calloc(n, sizeof(struct transfer *));
    /* A finished transfer comes back before its place in active is filled again. */
    c->loop.idle = calloc(n + 1, sizeof(struct transfer *));
    c->multi = curl_multi_init();
    if (!c->loop.active || !c->loop.idle || !c->multi)
        return err_set(err, ERR_NOMEM, "no memory for an http client");
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)n);
    curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);

    /* Signals belong to the program's main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&c->thread, NULL, run_loop, c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e ? err_set(err, ERR_NOMEM, "no thread for an http client: %s", strerror(e)) : 0;
}

static void client_destroy(struct http_client *c)
{
    for (size_t i = 0; i < c->loop.idle_count; i++)
        transfer_free(c->loop.idle[i]);
    curl_multi_cleanup(c->multi);
    free(c->loop.idle);
    free(c->loop.active);
    pthread_mutex_destroy(&c->shared.mu);
    free(c);
    curl_global_cleanup();
}

int http_client_new(const struct http_client_opts *opts, struct http_client **out, struct err *err)
{
    uint32_t n = opts->connections_max ? opts->connections_max : LIMIT_HTTP_CONNECTIONS;
    if (n > LIMIT_HTTP_CONNECTIONS_LARGEST)
        return err_set(err, ERR_INVALID, "%u connections asked for; at most %u", n,
                       LIMIT_HTTP_CONNECTIONS_LARGEST);
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(err, ERR_NOMEM, "libcurl cannot be initialised");
    struct http_client *c = calloc(1, sizeof *c);
    if (!c) {
        curl_global_cleanup();
        return err_set(err, ERR_NOMEM, "no memory for an http client");
    }
    c->clock = opts->clock ? opts->clock : &clock_system;
    c->log = opts->log;
    c->connections_max = n;
    c->tls_insecure_skip_verify = opts->tls_insecure_skip_verify;
    pthread_mutex_init(&c->shared.mu, NULL);
    int rc = make_loop(c, err);
    if (rc < 0) {
        client_destroy(c);
        return rc;
    }
    *out = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->shared.mu);
    c->shared.stopping = true;
    pthread_mutex_unlock(&c->shared.mu);
    curl_multi_wakeup(c->multi);
    pthread_join(c->thread, NULL);
    client_destroy(c);
}

void http_client_submit(struct http_client *c, struct http_call *call)
{
    assert(call->method && call->url && call->done);
    call->rc = 0;
    call->status = 0;
    call->next = NULL;
    call->priv = NULL;
    call->head.max = LIMIT_HTTP_HEAD_BYTES;
    buf_reset(&call->head);
    buf_reset(&call->fail);
    call->due_ns = call->deadline_mono_ns ? call->deadline_mono_ns
                                          : add_ns(clock_mono_ns(c->clock), LIMIT_HTTP_DEADLINE_MS);
    pthread_mutex_lock(&c->shared.mu);
    *c->shared.inbox_end = call;
    c->shared.inbox_end = &call->next;
    pthread_mutex_unlock(&c->shared.mu);
    curl_multi_wakeup(c->multi);
}

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool done;
};

static void wake_waiter(struct http_call *call)
{
    struct waiter *w = call->user;
    pthread_mutex_lock(&w->mu);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

int http_client_run(struct http_client *c, struct http_call *call)
{
    struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    void (*done)(struct http_call *) = call->done;
    void *user = call->user;
    call->done = wake_waiter;
    call->user = &w;
    http_client_submit(c, call);
    pthread_mutex_lock(&w.mu);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    pthread_mutex_destroy(&w.mu);
    pthread_cond_destroy(&w.cond);
    call->done = done;
    call->user = user;
    return call->rc;
}

static struct slice trim(struct slice s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_of(s.ptr + 1, s.len - 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t' ||
                     s.ptr[s.len - 1] == '\r' || s.ptr[s.len - 1] == '\n'))
        s.len--;
    return s;
}

struct slice http_call_header(const struct http_call *call, const char *name)
{
    struct slice want = slice_cstr(name);
    struct slice rest = buf_view(&call->head);
    while (rest.len) {
        size_t end = slice_find(rest, '\n');
        struct slice line = slice_of(rest.ptr, end);
        size_t colon = slice_find(line, ':');
        rest = slice_from(rest, end + 1);
        if (colon < line.len && slice_eq_nocase(slice_of(line.ptr, colon), want))
            return trim(slice_of(line.ptr + colon + 1, line.len - colon - 1));
    }
    return slice_of(NULL, 0);
}

void http_call_clear(struct http_call *call)
{
    buf_clear(&call->head);
    buf_clear(&call->out);
    buf_clear(&call->fail);
}
