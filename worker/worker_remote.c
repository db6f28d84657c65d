/* Connections to frontends: one thread looks addresses up and keeps as many slots as should be,
 * each slot is a thread with a connection of its own. */
#include "worker/worker_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/random.h"
#include "base/text.h"
#include "base/vec.h"
#include "worker/job_server.h"

/* Addresses of one name; more are left out. */
#define LIMIT_FRONTENDS 64
#define CONNECT_NS (5 * NS_PER_S)
/* Between tries to connect: twice as long after each that failed. */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (5 * NS_PER_S)
#define LIMIT_ANSWER_BYTES 4096

struct address {
    struct sockaddr_storage at;
    socklen_t len;
    char text[64]; /* "127.0.0.1:3200" */
};

struct remote_slot {
    struct worker_remote *remote;
    struct address address;
    pthread_t thread;
    atomic_bool leave; /* its address is no frontend any more */
    atomic_bool done;  /* to be joined */
};

struct worker_remote {
    struct worker_remote_opts opts;
    struct log log;
    struct job_server *server;
    char *host, *port;
    struct log_limit told;
    pthread_t manager;
    bool managed;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    bool stopping;                   /* hold mu */
    VEC(struct remote_slot *) slots; /* the manager's */
};

/* Waits, or returns true at once when it is time to stop. */
static bool pause_for(struct worker_remote *r, uint64_t ns)
{
    uint64_t until = clock_mono_ns(r->opts.clock) + ns;
    const struct timespec t = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};
    pthread_mutex_lock(&r->mu);
    while (!r->stopping && pthread_cond_timedwait(&r->wake, &r->mu, &t) == 0)
        ;
    bool stop = r->stopping;
    pthread_mutex_unlock(&r->mu);
    return stop;
}

/* ---- one connection ---- */

static bool wait_fd(const struct worker_remote *r, int fd, short events, uint64_t until_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    uint64_t now = clock_mono_ns(r->opts.clock);
    return now < until_ns && poll(&p, 1, (int)((until_ns - now) / NS_PER_MS) + 1) > 0;
}

static int connect_to(const struct worker_remote *r, const struct address *a, uint64_t until_ns,
                      int *out, struct err *err)
{
    int one = 1, cause = 0;
    socklen_t len = sizeof cause;
    int fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, ERR_IO, "socket: %s", strerrordesc_np(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&a->at, a->len) < 0) {
        cause = errno;
        if (cause == EINPROGRESS && !wait_fd(r, fd, POLLOUT, until_ns))
            cause = ETIMEDOUT;
        else if (cause == EINPROGRESS)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &len);
    }
    if (cause) {
        close(fd);
        return err_set(err, ERR_IO, "%s", strerrordesc_np(cause));
    }
    *out = fd;
    return 0;
}

/* The frontend says nothing after its answer before we do, so nothing is read past it. */
static int read_answer(const struct worker_remote *r, int fd, uint64_t until_ns, struct err *err)
{
    char answer[LIMIT_ANSWER_BYTES];
    size_t len = 0;
    while (len == 0 || !memmem(answer, len, "\r\n\r\n", 4)) {
        ssize_t n = -1;
        if (len < sizeof answer && wait_fd(r, fd, POLLIN, until_ns))
            n = recv(fd, answer + len, sizeof answer - len, MSG_DONTWAIT);
        if (n <= 0)
            return err_set(err, ERR_IO, "no answer to the upgrade came");
        len += (size_t)n;
    }
    if (!slice_starts(slice_of(answer, len), SLICE("HTTP/1.1 101 "))) {
        char shown[128];
        struct slice line = slice_of(answer, slice_find(slice_of(answer, len), '\r'));
        return err_set(err, ERR_DENIED, "the frontend answers \"%s\"",
                       text_escape(line, 60, shown, sizeof shown));
    }
    return 0;
}

static int upgrade(const struct worker_remote *r, const struct address *a, int fd,
                   uint64_t until_ns, struct err *err)
{
    struct buf b;
    buf_init(&b, LIMIT_ANSWER_BYTES);
    int rc = buf_printf(&b,
                        "GET /internal/worker HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"
                        "Upgrade: rubato-worker/1\r\n",
                        a->text);
    if (rc == 0 && r->opts.secret.len)
        rc = buf_printf(&b, "Authorization: Bearer %.*s\r\n", SLICE_ARGS(r->opts.secret));
    rc = rc < 0 ? rc : buf_str(&b, "\r\n");
    if (rc < 0)
        err_set(err, rc, "the secret does not fit %d bytes", LIMIT_ANSWER_BYTES);
    else if (send(fd, b.ptr, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)b.len)
        rc = err_set(err, ERR_IO, "the connection broke");
    buf_clear(&b);
    return rc < 0 ? rc : read_answer(r, fd, until_ns, err);
}

static int serve_once(struct remote_slot *s, bool *served, struct err *err)
{
    struct worker_remote *r = s->remote;
    uint64_t until_ns = clock_mono_ns(r->opts.clock) + CONNECT_NS;
    int fd = -1;
    int rc = connect_to(r, &s->address, until_ns, &fd, err);
    if (rc < 0)
        return rc;
    rc = upgrade(r, &s->address, fd, until_ns, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *served = true;
    return job_server_serve(r->server, fd, &s->leave, err);
}

static void tell(struct remote_slot *s, const struct err *err)
{
    struct worker_remote *r = s->remote;
    uint64_t suppressed;
    if (log_limit_allow(&r->told, clock_mono_ns(r->opts.clock), 10 * NS_PER_S, 3, &suppressed))
        LOG_WARN(&r->log, "no connection to a frontend", KV_STR("frontend", s->address.text),
                 KV_ERR(err), KV_U64("suppressed", suppressed));
}

static void *slot_main(void *arg)
{
    struct remote_slot *s = arg;
    struct worker_remote *r = s->remote;
    struct rng rng = {(uintptr_t)s ^ clock_mono_ns(r->opts.clock)};
    uint64_t pause = PAUSE_MIN_NS;
    pthread_setname_np(pthread_self(), "slot");
    while (!atomic_load(&s->leave) && !job_server_stopping(r->server)) {
        struct err err;
        bool served = false;
        int rc = serve_once(s, &served, &err);
        if (rc < 0)
            tell(s, &err);
        if (served)
            pause = PAUSE_MIN_NS;
        if (atomic_load(&s->leave) || pause_for(r, pause / 2 + rng_below(&rng, pause)))
            break;
        pause = 2 * pause < PAUSE_MAX_NS ? 2 * pause : PAUSE_MAX_NS;
    }
    atomic_store(&s->done, true);
    return NULL;
}

/* ---- as many slots as should be ---- */

static bool same_address(const struct address *a, const struct address *b)
{
    return strcmp(a->text, b->text) == 0;
}

/* False: the name cannot be looked up now, and what is known stays. */
static bool look_up(struct worker_remote *r, struct address *out, uint32_t *count)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *all = NULL;
    int rc = getaddrinfo(r->host, r->port, &hints, &all);
    uint64_t suppressed;
    *count = 0;
    if (rc != 0) {
        if (log_limit_allow(&r->told, clock_mono_ns(r->opts.clock), 10 * NS_PER_S, 3, &suppressed))
            LOG_WARN(&r->log, "the frontends' name cannot be looked up", KV_STR("name", r->host),
                     KV_STR("cause", gai_strerror(rc)));
        return false;
    }
    for (const struct addrinfo *a = all; a && *count < LIMIT_FRONTENDS; a = a->ai_next) {
        struct address *to = &out[*count];
        char host[48], port[8];
        if (a->ai_addrlen > sizeof to->at ||
            getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
            continue;
        memcpy(&to->at, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
        snprintf(to->text, sizeof to->text, a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                 port);
        bool known = false;
        for (uint32_t i = 0; i < *count; i++)
            known |= same_address(&out[i], to);
        *count += !known;
    }
    freeaddrinfo(all);
    return true;
}

static void add_slot(struct worker_remote *r, const struct address *a)
{
    struct remote_slot *s = calloc(1, sizeof *s);
    if (!s)
        return;
    s->remote = r;
    s->address = *a;
    if (!vec_reserve(&r->slots, 1) || pthread_create(&s->thread, NULL, slot_main, s) != 0)
        free(s); /* the next look tries again */
    else
        (void)vec_push(&r->slots, s);
}

static void join_done(struct worker_remote *r, bool all)
{
    for (uint32_t i = r->slots.count; i-- > 0;) {
        struct remote_slot *s = r->slots.at[i];
        if (!all && !atomic_load(&s->done))
            continue;
        pthread_join(s->thread, NULL);
        free(s);
        r->slots.at[i] = r->slots.at[--r->slots.count];
    }
}

static void share_out(struct worker_remote *r, const struct address *list, uint32_t count)
{
    uint32_t each = count && r->opts.slots > count ? r->opts.slots / count : 1;
    uint32_t have[LIMIT_FRONTENDS] = {0};
    for (uint32_t i = 0; i < r->slots.count; i++) {
        struct remote_slot *s = r->slots.at[i];
        uint32_t k = 0;
        if (atomic_load(&s->leave))
            continue;
        while (k < count && !same_address(&list[k], &s->address))
            k++;
        if (k == count || have[k] == each)
            atomic_store(&s->leave, true);
        else
            have[k]++;
    }
    for (uint32_t k = 0; k < count; k++) {
        for (; have[k] < each; have[k]++)
            add_slot(r, &list[k]);
    }
}

static void *manage(void *arg)
{
    struct worker_remote *r = arg;
    struct address *list = calloc(LIMIT_FRONTENDS, sizeof *list);
    uint32_t count, told = UINT32_MAX;
    pthread_setname_np(pthread_self(), "frontends");
    do {
        if (list && look_up(r, list, &count)) {
            share_out(r, list, count);
            if (count != told)
                LOG_INFO(&r->log, "jobs are taken from frontends", KV_STR("name", r->host),
                         KV_U64("addresses", count), KV_U64("slots", r->opts.slots));
            told = count;
        }
        join_done(r, false);
    } while (!pause_for(r, r->opts.lookup_ns));
    join_done(r, true);
    free(list);
    return NULL;
}

/* ---- life ---- */

/* "host:port", "[::1]:port", "host". */
static int split(struct worker_remote *r, struct err *err)
{
    struct slice s = r->opts.frontends, host = s, port = slice_of(NULL, 0);
    char number[8];
    snprintf(number, sizeof number, "%u", r->opts.default_port);
    if (s.len && s.ptr[0] == '[') {
        size_t end = slice_find(s, ']');
        host = slice_of(s.ptr + 1, end - 1);
        port = slice_from(s, end + 2);
    } else if (slice_find(s, ':') < s.len) {
        size_t colon = slice_find(s, ':');
        host = slice_of(s.ptr, colon);
        port = slice_from(s, colon + 1);
    }
    if (host.len == 0 || slice_find(port, ':') < port.len)
        return err_set(err, ERR_INVALID,
                       "querier.frontend_worker.frontend_address: expected host:port, found %.*s",
                       SLICE_ARGS(s));
    if (port.len == 0)
        port = slice_cstr(number);
    r->host = strndup((const char *)host.ptr, host.len);
    r->port = strndup((const char *)port.ptr, port.len);
    return r->host && r->port ? 0 : err_set(err, ERR_NOMEM, "no memory for a worker");
}

int worker_remote_new(const struct worker_remote_opts *opts, struct worker_remote **out,
                      struct err *err)
{
    struct worker_remote *r = calloc(1, sizeof *r);
    pthread_condattr_t attr;
    if (!r)
        return err_set(err, ERR_NOMEM, "no memory for a worker");
    r->opts = *opts;
    r->log = log_room(opts->log, "worker");
    pthread_mutex_init(&r->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = split(r, err);
    if (rc == 0)
        rc = job_server_new(&(struct job_server_opts){.worker = opts->worker,
                                                      .catalog = opts->catalog,
                                                      .log = opts->log,
                                                      .metrics = opts->metrics,
                                                      .clock = opts->clock},
                            &r->server, err);
    int no = rc == 0 ? pthread_create(&r->manager, NULL, manage, r) : 0;
    if (no != 0)
        rc = err_set(err, ERR_NOMEM, "cannot make a thread: %s", strerrordesc_np(no));
    r->managed = rc == 0;
    if (rc < 0) {
        worker_remote_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

int worker_remote_of_app(struct app *app, struct worker *w, struct catalog *catalog,
                         struct worker_remote **out, struct err *err)
{
    const struct app_config *cfg = &app->cfg;
    const struct worker_remote_opts opts = {
        .worker = worker_interface(w),
        .catalog = catalog,
        .log = app->log,
        .metrics = app->metrics,
        .clock = app->clock,
        .frontends = cfg->querier.frontend_worker.frontend_address,
        .default_port = cfg->server.http_listen_port,
        .slots = (uint32_t)cfg->querier.max_concurrent_queries,
        .secret = cfg->querier.frontend_worker.secret,
        .lookup_ns = (uint64_t)cfg->querier.frontend_worker.dns_lookup_ns,
    };
    *out = NULL;
    if (opts.frontends.len)
        return worker_remote_new(&opts, out, err);
    LOG_WARN(app->log, "querier.frontend_worker.frontend_address is not set: this worker idles");
    return 0;
}

void worker_remote_stop(struct worker_remote *r)
{
    if (r->server)
        job_server_stop(r->server);
    pthread_mutex_lock(&r->mu);
    r->stopping = true;
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->mu);
    if (r->managed)
        pthread_join(r->manager, NULL);
    r->managed = false;
}

void worker_remote_free(struct worker_remote *r)
{
    if (!r)
        return;
    worker_remote_stop(r);
    job_server_free(r->server);
    vec_free(&r->slots);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->mu);
    free(r->host);
    free(r->port);
    free(r);
}
