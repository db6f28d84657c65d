/* The server's loop: accepts, finds out the protocol, keeps the deadlines, and brings answers from
 * the inbox to their connections.
 *
 * An unanswered request costs no thread: the loop parks its connection (or stream) and goes on. */
#include "net/net_server_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net_limits.h"

#define EVENTS_PER_TURN 64

/* What tells HTTP/2 (RFC 9113, 3.4) from HTTP/1.1: no method is called PRI. */
#define H2_PREFACE_START "PRI * HTTP/2.0"

/* ---- connections ---- */

void net_server_due(struct net_server *s, uint64_t deadline_ns)
{
    if (deadline_ns && deadline_ns < s->loop.sweep_ns)
        s->loop.sweep_ns = deadline_ns;
}

void net_conn_deadline(struct net_conn *conn, uint64_t deadline_ns)
{
    conn->deadline_ns = deadline_ns;
    net_server_due(conn->server, deadline_ns);
}

uint64_t net_write_deadline_ns(uint64_t now_ns, size_t bytes)
{
    return now_ns + LIMIT_WRITE_TIMEOUT_MS * NS_PER_MS + bytes / LIMIT_WRITE_BYTES_PER_S * NS_PER_S;
}

static struct net_conn *conn_new(struct net_listener *l, int fd)
{
    struct net_server *s = l->server;
    struct net_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->source = NET_SOURCE_CONN;
    conn->state = NET_CONN_PEEK;
    conn->server = s;
    conn->listener = l;
    conn->fd = fd;
    conn->next = s->loop.conns;
    if (conn->next)
        conn->next->prev = conn;
    s->loop.conns = conn;
    l->connections++;
    net_conn_deadline(conn, net_deadline_ms(s, l->opts.read_timeout_ms));
    return conn;
}

void net_conn_free(struct net_conn *conn)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        conn->server->loop.conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->listener->connections--;
    free(conn);
}

static void peek_close(struct net_conn *conn)
{
    close(conn->fd);
    net_conn_free(conn);
}

/* The first bytes decide. Watched edge-triggered: bytes that do not decide yet stay where they
 * are, and must not wake us again until more come. */
static void peek_event(struct net_conn *conn, uint32_t events)
{
    uint8_t start[sizeof H2_PREFACE_START - 1];
    ssize_t n = recv(conn->fd, start, sizeof start, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        peek_close(conn);
        return;
    }
    bool h2_so_far = memcmp(start, H2_PREFACE_START, (size_t)n) == 0;
    if (h2_so_far && (size_t)n < sizeof start) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            peek_close(conn);
        return;
    }
    enum net_upgrade_look upgrade = net_upgrade_peek(conn);
    if (upgrade == NET_UPGRADE_WAIT && events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        peek_close(conn);
    if (upgrade != NET_UPGRADE_NO)
        return;
    epoll_ctl(conn->server->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    if (h2_so_far)
        http2_start(conn);
    else
        http1_start(conn);
}

/* ---- accepting ---- */

static void accepted(struct net_listener *l, int fd, const struct sockaddr_storage *addr)
{
    struct net_server *s = l->server;
    int one = 1;
    /* Answers are small and written whole: waiting for more would only delay them. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct net_conn *conn = l->connections < l->opts.connections_max ? conn_new(l, fd) : NULL;
    if (!conn) {
        LOG_DEBUG(s->log, "connection refused", KV_U64("connections", l->connections));
        close(fd);
        return;
    }
    net_peer_format(addr, conn->peer);
    if (l->opts.protocols == NET_LISTEN_HTTP1 && !l->opts.upgrade) {
        http1_start(conn);
    } else if (l->opts.protocols == NET_LISTEN_GRPC) {
        http2_start(conn);
    } else {
        struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
            peek_close(conn);
    }
}

static int listener_watch(struct net_listener *l, int op)
{
    for (int i = 0; i < 2; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &l->acceptors[i]};
        if (l->acceptors[i].fd >= 0 &&
            epoll_ctl(l->server->epoll_fd, op, l->acceptors[i].fd, &ev) < 0)
            return -1;
    }
    return 0;
}

static void acceptor_event(struct net_acceptor *a)
{
    struct net_listener *l = a->listener;
    struct net_server *s = l->server;
    for (unsigned i = 0; i < LIMIT_ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(a->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(l, fd, &addr);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
            continue;
        /* Out of descriptors or memory: clients wait in the backlog while the loop serves those
         * it has, instead of asking again and again. */
        LOG_WARN(s->log, "accept failed", KV_STR("cause", strerrordesc_np(errno)));
        listener_watch(l, EPOLL_CTL_DEL);
        l->resting = true;
        s->loop.rest_ns = net_deadline_ms(s, LIMIT_ACCEPT_PAUSE_MS);
        return;
    }
}

static void listeners_wake(struct net_server *s)
{
    s->loop.rest_ns = 0;
    pthread_mutex_lock(&s->core->mu);
    for (struct net_listener *l = s->listeners; l; l = l->next) {
        if (l->resting)
            listener_watch(l, EPOLL_CTL_ADD);
        l->resting = false;
    }
    pthread_mutex_unlock(&s->core->mu);
}

static void listener_close(struct net_listener *l)
{
    for (int i = 0; i < 2; i++) {
        if (l->acceptors[i].fd >= 0)
            close(l->acceptors[i].fd);
        l->acceptors[i].fd = -1;
    }
    l->resting = false;
}

/* ---- the loop ---- */

static void loop_inbox(struct net_server *s)
{
    for (struct net_exchange *ex = net_core_inbox(s->core), *next; ex; ex = next) {
        next = ex->loop.inbox_next;
        if (!ex->answer.given) {
            ex->answer.given = ex->loop.replied;
            if (ex->loop.wire && ex->over_http2)
                http2_news(ex);
            else if (ex->loop.wire)
                http1_answered(ex->loop.wire);
        }
        net_exchange_release(ex);
    }
}

static void loop_sweep(struct net_server *s)
{
    uint64_t now_ns = s->loop.now_ns;
    if (now_ns < s->loop.sweep_ns)
        return;
    /* What is done below may set new deadlines, which come in through net_server_due. */
    s->loop.sweep_ns = UINT64_MAX;
    struct net_conn *next;
    for (struct net_conn *conn = s->loop.conns; conn; conn = next) {
        next = conn->next;
        uint64_t due_ns = conn->deadline_ns;
        if (conn->state == NET_CONN_HTTP2) {
            due_ns = http2_sweep(conn);
        } else if (due_ns && due_ns <= now_ns) {
            due_ns = 0;
            if (conn->state == NET_CONN_HTTP1)
                http1_close(conn);
            else
                peek_close(conn);
        }
        net_server_due(s, due_ns);
    }
    uint64_t soonest_ns = net_deadline_ms(s, LIMIT_SWEEP_INTERVAL_MS);
    if (s->loop.sweep_ns < soonest_ns)
        s->loop.sweep_ns = soonest_ns;
}

static void loop_drain(struct net_server *s)
{
    s->loop.draining = true;
    pthread_mutex_lock(&s->core->mu);
    for (struct net_listener *l = s->listeners; l; l = l->next)
        listener_close(l);
    pthread_mutex_unlock(&s->core->mu);
    struct net_conn *next;
    for (struct net_conn *conn = s->loop.conns; conn; conn = next) {
        next = conn->next;
        if (conn->state == NET_CONN_PEEK)
            peek_close(conn);
        else if (conn->state == NET_CONN_HTTP1)
            http1_drain(conn);
        else
            http2_drain(conn);
    }
    pthread_mutex_lock(&s->core->mu);
    s->core->shared.drained = true;
    pthread_cond_broadcast(&s->core->changed);
    pthread_mutex_unlock(&s->core->mu);
}

static void loop_orders(struct net_server *s)
{
    pthread_mutex_lock(&s->core->mu);
    bool drain = s->core->shared.drain;
    s->loop.stopping = s->core->shared.stop;
    pthread_mutex_unlock(&s->core->mu);
    if (drain && !s->loop.draining)
        loop_drain(s);
}

static int loop_timeout_ms(struct net_server *s)
{
    pthread_mutex_lock(&s->core->mu);
    bool waiting = s->core->shared.inbox != NULL;
    pthread_mutex_unlock(&s->core->mu);
    if (waiting)
        return 0;
    uint64_t due_ns = s->loop.sweep_ns;
    if (s->loop.rest_ns && s->loop.rest_ns < due_ns)
        due_ns = s->loop.rest_ns;
    if (due_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = clock_mono_ns(s->clock);
    if (due_ns <= now_ns)
        return 0;
    uint64_t ms = (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

static void loop_event(struct net_server *s, const struct epoll_event *ev)
{
    switch (*(enum net_source *)ev->data.ptr) {
    case NET_SOURCE_WAKE: {
        uint64_t count;
        ssize_t n = read(s->core->wake_fd, &count, sizeof count);
        (void)n;
        break;
    }
    case NET_SOURCE_ACCEPTOR:
        acceptor_event(ev->data.ptr);
        break;
    case NET_SOURCE_CONN: {
        struct net_conn *conn = ev->data.ptr;
        if (conn->state == NET_CONN_PEEK)
            peek_event(conn, ev->events);
        else if (conn->state == NET_CONN_HTTP1)
            http1_event(conn, ev->events);
        else
            http2_event(conn, ev->events);
        break;
    }
    }
}

/* An event's handling frees no connection but its own, so the rest of the batch stays good. */
static void loop_turn(struct net_server *s)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, loop_timeout_ms(s));
    s->loop.now_ns = clock_mono_ns(s->clock);
    for (int i = 0; i < n; i++)
        loop_event(s, &events[i]);
    loop_inbox(s);
    loop_orders(s);
    if (s->loop.rest_ns && s->loop.rest_ns <= s->loop.now_ns)
        listeners_wake(s);
    loop_sweep(s);
}

static void *loop_main(void *arg)
{
    struct net_server *s = arg;
    pthread_setname_np(pthread_self(), "net");
    pthread_mutex_lock(&s->core->mu);
    s->core->loop_thread = pthread_self();
    pthread_mutex_unlock(&s->core->mu);
    while (!s->loop.stopping)
        loop_turn(s);
    return NULL;
}

/* ---- public ---- */

static int watch(struct net_server *s, int fd, enum net_source *source, struct err *err)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = source};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_set(err, ERR_IO, "server: epoll_ctl: %s", strerrordesc_np(errno));
    return 0;
}

static void server_metrics(struct net_server *s, struct metrics *m)
{
    static const char *const labels[] = {"protocol"};
    if (!m)
        return;
    struct metrics_family *f = metrics_gauge_family(
        m, "tempo_tcp_connections", "Current number of accepted TCP connections.", labels, 1);
    if (!f)
        return;
    struct slice http = SLICE("http");
    struct slice grpc = SLICE("grpc");
    s->http1_connections = metrics_gauge_with(f, &http);
    s->grpc_connections = metrics_gauge_with(f, &grpc);
}

static int server_start(struct net_server *s, struct err *err)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0)
        return err_set(err, ERR_IO, "server: epoll_create1: %s", strerrordesc_np(errno));
    http1_init();
    int rc = http2_init(s, err);
    if (rc == 0)
        rc = watch(s, s->core->wake_fd, &s->wake_source, err);
    if (rc < 0)
        return rc;
    /* Signals are for the program's main thread; and a dead client must not raise SIGPIPE here. */
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int no = pthread_create(&s->thread, NULL, loop_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (no != 0)
        return err_set(err, ERR_NOMEM, "server: cannot start its thread: %s", strerrordesc_np(no));
    return 0;
}

/* Everything but the thread; also for a server that did not start. */
static void server_free(struct net_server *s)
{
    struct net_conn *next;
    for (struct net_conn *conn = s->loop.conns; conn; conn = next) {
        next = conn->next;
        if (conn->state == NET_CONN_PEEK)
            peek_close(conn);
        else if (conn->state == NET_CONN_HTTP1)
            http1_close(conn);
        else
            http2_close(conn);
    }
    http2_end(s);
    struct net_core *core = s->core;
    pthread_mutex_lock(&core->mu);
    core->shared.closed = true;
    pthread_mutex_unlock(&core->mu);
    for (struct net_exchange *ex = net_core_inbox(core), *after; ex; ex = after) {
        after = ex->loop.inbox_next;
        net_exchange_release(ex);
    }
    while (s->listeners) {
        struct net_listener *l = s->listeners;
        s->listeners = l->next;
        listener_close(l);
        free(l);
    }
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    buf_clear(&s->loop.scratch);
    net_core_release(core);
    free(s);
}

int net_server_new(const struct net_env *env, struct net_server **out, struct err *err)
{
    struct net_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "server: no memory");
    if (env->log) {
        s->log_store = log_room(env->log, "net");
        s->log = &s->log_store;
    }
    s->clock = env->clock;
    s->epoll_fd = -1;
    s->wake_source = NET_SOURCE_WAKE;
    s->loop.now_ns = clock_mono_ns(s->clock);
    s->loop.sweep_ns = UINT64_MAX;
    server_metrics(s, env->metrics);
    int rc = net_core_new(env->clock, &s->core, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    rc = server_start(s, err);
    if (rc < 0) {
        server_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int net_server_listen(struct net_server *s, const struct net_listener_opts *opts, uint16_t *port,
                      struct err *err)
{
    struct net_listener *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, ERR_NOMEM, "server: no memory");
    l->server = s;
    l->opts = *opts;
    l->opts.address = slice_of(NULL, 0);
    if (!l->opts.message_bytes_max)
        l->opts.message_bytes_max = l->opts.body_bytes_max;
    if (!l->opts.read_timeout_ms)
        l->opts.read_timeout_ms = LIMIT_READ_TIMEOUT_MS;
    if (!l->opts.idle_timeout_ms)
        l->opts.idle_timeout_ms = LIMIT_IDLE_TIMEOUT_MS;
    if (!l->opts.connections_max)
        l->opts.connections_max = LIMIT_CONNECTIONS;
    int fds[2];
    int rc = net_listen_open(opts->address, fds, port, err);
    if (rc < 0) {
        free(l);
        return rc;
    }
    for (int i = 0; i < 2; i++)
        l->acceptors[i] = (struct net_acceptor){NET_SOURCE_ACCEPTOR, fds[i], l};
    pthread_mutex_lock(&s->core->mu);
    if (s->core->shared.drain) {
        listener_close(l);
        rc = err_set(err, ERR_UNAVAILABLE, "server: it is shutting down");
    } else if (listener_watch(l, EPOLL_CTL_ADD) < 0) {
        rc = err_set(err, ERR_IO, "server: epoll_ctl: %s", strerrordesc_np(errno));
    }
    /* Kept even so: from the first epoll_ctl on the loop may have an event for it in its hand. */
    l->next = s->listeners;
    s->listeners = l;
    pthread_mutex_unlock(&s->core->mu);
    return rc;
}

void net_server_drain(struct net_server *s)
{
    struct net_core *core = s->core;
    pthread_mutex_lock(&core->mu);
    core->shared.drain = true;
    net_core_wake(core);
    /* A handler cannot wait for its own thread. */
    while (!core->shared.drained && !pthread_equal(pthread_self(), core->loop_thread))
        pthread_cond_wait(&core->changed, &core->mu);
    pthread_mutex_unlock(&core->mu);
}

bool net_server_idle(struct net_server *s, uint64_t deadline_mono_ns)
{
    /* In short waits, since the deadline is in the caller's clock, which a test may turn. */
    const uint64_t wait_ns = 20 * NS_PER_MS;
    struct net_core *core = s->core;
    pthread_mutex_lock(&core->mu);
    while (core->shared.busy && clock_mono_ns(s->clock) < deadline_mono_ns) {
        uint64_t until_ns = clock_mono_ns(&clock_system) + wait_ns;
        struct timespec until = {
            .tv_sec = (time_t)(until_ns / NS_PER_S),
            .tv_nsec = (long)(until_ns % NS_PER_S),
        };
        pthread_cond_timedwait(&core->changed, &core->mu, &until);
    }
    bool idle = core->shared.busy == 0;
    pthread_mutex_unlock(&core->mu);
    return idle;
}

void net_server_free(struct net_server *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->core->mu);
    s->core->shared.stop = true;
    pthread_mutex_unlock(&s->core->mu);
    net_core_wake(s->core);
    pthread_join(s->thread, NULL);
    server_free(s);
}
