/* Workers on other machines: each of their slots is a connection to the API's port that asks for an
 * upgrade. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "frontend/pools_priv.h"
#include "net/net_server.h"

#define PROTOCOL "rubato-worker/1"

static void say(int fd, const char *text)
{
    ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* a connection that takes no line is closed, or found out later */
}

static void refuse(int fd, const char *status, const char *why)
{
    char text[256];
    snprintf(text, sizeof text,
             "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
             "Connection: close\r\n\r\n%s",
             status, strlen(why), why);
    say(fd, text);
    close(fd);
}

/* Takes the same time wherever the two differ. */
static bool same_secret(struct slice a, struct slice b)
{
    uint8_t differ = a.len != b.len;
    for (size_t i = 0; i < a.len && a.len == b.len; i++)
        differ |= a.ptr[i] ^ b.ptr[i];
    return !differ;
}

static bool is_allowed(const struct pools *p, struct slice head)
{
    struct slice given = net_head_value(head, "authorization");
    if (p->opts.secret.len == 0)
        return true;
    return slice_starts(given, SLICE("Bearer ")) &&
           same_secret(slice_from(given, 7), p->opts.secret);
}

/* A worker that is refused tries again and again. */
static bool may_tell(struct pools *p)
{
    uint64_t suppressed;
    return log_limit_allow(&p->refusals, clock_mono_ns(p->opts.clock), 60 * NS_PER_S, 3,
                           &suppressed);
}

/* A machine that vanished without a word is found out by the kernel. */
static void keep_alive(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 10},
                   {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                   {IPPROTO_TCP, TCP_KEEPCNT, 3}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static uint32_t remote_slots_locked(const struct pools *p)
{
    uint32_t n = 0;
    for (int s = 0; s < POOL_SLOT_STATES; s++)
        n += pool_count_locked(p, POOL_REMOTE, (enum pool_slot_state)s);
    return n;
}

void pools_upgrade(void *ctx, int fd, struct slice head, struct slice peer)
{
    struct pools *p = ctx;
    char protocol[64];
    if (!slice_eq(net_head_value(head, "upgrade"), SLICE(PROTOCOL))) {
        if (may_tell(p))
            LOG_WARN(&p->log, "a worker of another version was refused", KV_SLICE("peer", peer),
                     KV_STR("speaks", text_escape(net_head_value(head, "upgrade"), 30, protocol,
                                                  sizeof protocol)),
                     KV_STR("expected", PROTOCOL));
        refuse(fd, "426 Upgrade Required\r\nUpgrade: " PROTOCOL,
               "this frontend speaks " PROTOCOL "\n");
        return;
    }
    if (!is_allowed(p, head)) {
        if (may_tell(p))
            LOG_WARN(&p->log, "a worker without the secret was refused", KV_SLICE("peer", peer));
        refuse(fd, "401 Unauthorized", "the secret of the frontend's workers is another one\n");
        return;
    }
    keep_alive(fd);
    pthread_mutex_lock(&p->shared.mu);
    bool full = p->shared.stopping || remote_slots_locked(p) >= p->opts.remote_slots_max;
    if (!full) {
        say(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " PROTOCOL
                "\r\n\r\n");
        (void)pool_add_locked(p, POOL_REMOTE, fd, NULL);
    }
    pthread_mutex_unlock(&p->shared.mu);
    if (full)
        refuse(fd, "503 Service Unavailable", "this frontend takes no more workers\n");
    else
        pools_wake(p);
}
