/* The scripted HTTP server: a thread that accepts, and one for each connection. */
#include "tests/support/fake_s3.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512
#define REQUESTS_MAX 4096

struct connection {
    struct fake_s3 *server;
    pthread_t thread;
    int fd;
    SSL *ssl; /* NULL: plain */
};

struct fake_s3 {
    fake_s3_fn *fn;
    void *ctx;
    int listen_fd;
    SSL_CTX *tls; /* NULL: plain */
    char url[64];
    pthread_t thread;
    pthread_mutex_t mu;
    bool stopping;                                   /* hold mu */
    struct connection *connections[CONNECTIONS_MAX]; /* hold mu */
    unsigned connection_count;
    struct fake_s3_request *requests[REQUESTS_MAX];
    unsigned request_count;
};

static void die(const char *what)
{
    perror(what);
    abort();
}

static bool is_stopping(struct fake_s3 *f)
{
    pthread_mutex_lock(&f->mu);
    bool stopping = f->stopping;
    pthread_mutex_unlock(&f->mu);
    return stopping;
}

struct slice fake_s3_header(const struct fake_s3_request *req, const char *name)
{
    struct slice rest = buf_view(&req->head);
    while (rest.len) {
        size_t end = slice_find(rest, '\n');
        struct slice line = slice_of(rest.ptr, end && rest.ptr[end - 1] == '\r' ? end - 1 : end);
        size_t colon = slice_find(line, ':');
        rest = slice_from(rest, end + 1);
        if (colon == line.len || !slice_eq_nocase(slice_of(line.ptr, colon), slice_cstr(name)))
            continue;
        struct slice value = slice_from(line, colon + 1);
        while (value.len && value.ptr[0] == ' ')
            value = slice_from(value, 1);
        return value.ptr ? value : SLICE("");
    }
    return slice_of(NULL, 0);
}

static bool send_all(struct connection *c, const void *data, size_t n)
{
    for (const char *p = data; n;) {
        ssize_t sent = c->ssl ? SSL_write(c->ssl, p, n > 1 << 20 ? 1 << 20 : (int)n)
                              : send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool recv_some(struct connection *c, struct buf *b)
{
    if (buf_reserve(b, 65536) < 0)
        return false;
    uint8_t *to = b->ptr + b->len;
    ssize_t n = c->ssl ? SSL_read(c->ssl, to, 65536) : recv(c->fd, to, 65536, 0);
    if (n <= 0)
        return false;
    b->len += (size_t)n;
    return true;
}

static size_t head_end(const struct buf *b)
{
    const uint8_t *p = b->len ? memmem(b->ptr, b->len, "\r\n\r\n", 4) : NULL;
    return p ? (size_t)(p - b->ptr) + 4 : 0;
}

/* NULL when the connection ends. in keeps what came after the request. */
static struct fake_s3_request *read_request(struct connection *c, struct buf *in)
{
    size_t head;
    while (!(head = head_end(in))) {
        if (!recv_some(c, in))
            return NULL;
    }
    struct fake_s3_request *r = calloc(1, sizeof *r);
    buf_init(&r->head, SIZE_MAX / 2);
    buf_init(&r->body, SIZE_MAX / 2);
    buf_append(&r->head, in->ptr, head);
    char line[sizeof r->target + 64];
    struct slice first = slice_of(in->ptr, slice_find(buf_view(&r->head), '\r'));
    snprintf(line, sizeof line, "%.*s", SLICE_ARGS(first));
    sscanf(line, "%15s %4095s", r->method, r->target);
    struct slice length = fake_s3_header(r, "Content-Length");
    size_t want = length.len ? strtoull((const char *)length.ptr, NULL, 10) : 0;
    if (fake_s3_header(r, "Expect").len)
        send_all(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    while (in->len - head < want) {
        if (!recv_some(c, in)) {
            buf_clear(&r->head);
            free(r);
            return NULL;
        }
    }
    buf_append(&r->body, in->ptr + head, want);
    memmove(in->ptr, in->ptr + head + want, in->len - head - want);
    in->len -= head + want;
    return r;
}

static void wait_for_close(struct connection *c)
{
    char byte;
    while (!is_stopping(c->server) && recv(c->fd, &byte, 1, 0) > 0)
        ;
}

/* False: close the connection. */
static bool send_answer(struct connection *c, const struct fake_s3_request *r,
                        const struct fake_s3_answer *a)
{
    if (a->delay_ms) {
        struct timespec ts = {a->delay_ms / 1000, (a->delay_ms % 1000) * 1000000L};
        nanosleep(&ts, NULL);
    }
    if (a->raw) {
        send_all(c, a->raw, strlen(a->raw));
        return false;
    }
    if (!a->status)
        return false;
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    buf_printf(&out, "HTTP/1.1 %d Scripted\r\n%s", a->status, a->headers ? a->headers : "");
    if (!a->no_length && a->status != 204 && a->status != 304)
        buf_printf(&out, "Content-Length: %llu\r\n",
                   (unsigned long long)(a->claim ? a->claim_bytes : a->body.len));
    buf_str(&out, "\r\n");
    bool body = strcmp(r->method, "HEAD") != 0;
    size_t n = a->cut && a->cut_at < a->body.len ? a->cut_at : a->body.len;
    bool ok = send_all(c, out.ptr, out.len) && (!body || send_all(c, a->body.ptr, n));
    buf_clear(&out);
    return ok && !a->cut && !a->no_length;
}

static void *serve(void *ctx)
{
    struct connection *c = ctx;
    struct fake_s3 *f = c->server;
    struct buf in;
    buf_init(&in, SIZE_MAX / 2);
    bool go = !c->ssl || SSL_accept(c->ssl) == 1;
    while (go) {
        struct fake_s3_request *r = read_request(c, &in);
        if (!r)
            break;
        struct fake_s3_answer a = {.status = 200};
        pthread_mutex_lock(&f->mu);
        if (f->request_count == REQUESTS_MAX)
            die("too many requests");
        f->requests[f->request_count] = r;
        f->fn(f->ctx, r, f->request_count++, &a);
        pthread_mutex_unlock(&f->mu);
        if (a.hang)
            wait_for_close(c);
        go = !a.hang && send_answer(c, r, &a);
    }
    buf_clear(&in);
    shutdown(c->fd, SHUT_RDWR); /* closed when the server stops: the number must not be reused */
    return NULL;
}

static void *accept_all(void *ctx)
{
    struct fake_s3 *f = ctx;
    while (!is_stopping(f)) {
        struct pollfd p = {.fd = f->listen_fd, .events = POLLIN};
        if (poll(&p, 1, 20) <= 0)
            continue;
        int fd = accept(f->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        struct connection *c = calloc(1, sizeof *c);
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->server = f;
        c->fd = fd;
        c->ssl = f->tls ? SSL_new(f->tls) : NULL;
        if (c->ssl)
            SSL_set_fd(c->ssl, fd);
        pthread_mutex_lock(&f->mu);
        if (f->connection_count == CONNECTIONS_MAX)
            die("too many connections");
        f->connections[f->connection_count++] = c;
        pthread_mutex_unlock(&f->mu);
        if (pthread_create(&c->thread, NULL, serve, c))
            die("pthread_create");
    }
    return NULL;
}

static SSL_CTX *make_tls(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"127.0.0.1", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!X509_sign(cert, key, EVP_sha256()) || !tls || SSL_CTX_use_certificate(tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey(tls, key) != 1)
        die("making a certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

static struct fake_s3 *start(fake_s3_fn *fn, void *ctx, SSL_CTX *tls)
{
    setenv("no_proxy", "127.0.0.1", 0); /* a proxy cannot reach our loopback */
    struct fake_s3 *f = calloc(1, sizeof *f);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    f->fn = fn;
    f->ctx = ctx;
    f->tls = tls;
    pthread_mutex_init(&f->mu, NULL);
    f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (f->listen_fd < 0 || bind(f->listen_fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
        listen(f->listen_fd, 128) < 0 ||
        getsockname(f->listen_fd, (struct sockaddr *)&addr, &len) < 0)
        die("fake server");
    snprintf(f->url, sizeof f->url, "%s://127.0.0.1:%d", tls ? "https" : "http",
             ntohs(addr.sin_port));
    if (pthread_create(&f->thread, NULL, accept_all, f))
        die("pthread_create");
    return f;
}

struct fake_s3 *fake_s3_start(fake_s3_fn *fn, void *ctx)
{
    return start(fn, ctx, NULL);
}

struct fake_s3 *fake_s3_start_tls(fake_s3_fn *fn, void *ctx)
{
    return start(fn, ctx, make_tls());
}

void fake_s3_stop(struct fake_s3 *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->mu);
    f->stopping = true;
    for (unsigned i = 0; i < f->connection_count; i++)
        shutdown(f->connections[i]->fd, SHUT_RDWR);
    pthread_mutex_unlock(&f->mu);
    pthread_join(f->thread, NULL);
    for (unsigned i = 0; i < f->connection_count; i++) {
        shutdown(f->connections[i]->fd, SHUT_RDWR); /* accepted since */
        pthread_join(f->connections[i]->thread, NULL);
        SSL_free(f->connections[i]->ssl);
        close(f->connections[i]->fd);
        free(f->connections[i]);
    }
    for (unsigned i = 0; i < f->request_count; i++) {
        buf_clear(&f->requests[i]->head);
        buf_clear(&f->requests[i]->body);
        free(f->requests[i]);
    }
    close(f->listen_fd);
    SSL_CTX_free(f->tls);
    pthread_mutex_destroy(&f->mu);
    free(f);
}

const char *fake_s3_url(const struct fake_s3 *f)
{
    return f->url;
}

unsigned fake_s3_count(struct fake_s3 *f)
{
    pthread_mutex_lock(&f->mu);
    unsigned n = f->request_count;
    pthread_mutex_unlock(&f->mu);
    return n;
}

unsigned fake_s3_connections(struct fake_s3 *f)
{
    pthread_mutex_lock(&f->mu);
    unsigned n = f->connection_count;
    pthread_mutex_unlock(&f->mu);
    return n;
}

const struct fake_s3_request *fake_s3_at(struct fake_s3 *f, unsigned index)
{
    pthread_mutex_lock(&f->mu);
    const struct fake_s3_request *r = index < f->request_count ? f->requests[index] : NULL;
    pthread_mutex_unlock(&f->mu);
    if (!r)
        die("no such request");
    return r;
}
