/* From "localhost:4317" to listening sockets. */
#include "net/net_server_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "base/text.h"
#include "net/net_limits.h"

/* With port 0 the kernel's choice for 127.0.0.1 may be taken on ::1; then we choose again. */
#define LOCALHOST_TRIES 16

struct endpoint {
    struct sockaddr_storage addr;
    socklen_t len;
    bool dual; /* an IPv6 socket that takes IPv4 too */
};

static struct endpoint endpoint_v4(uint32_t host, uint16_t port)
{
    struct endpoint e = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
    memcpy(&e.addr, &in, sizeof in);
    return e;
}

static struct endpoint endpoint_v6(const struct in6_addr *host, uint16_t port, bool dual)
{
    struct endpoint e = {.len = sizeof(struct sockaddr_in6), .dual = dual};
    struct sockaddr_in6 in = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *host};
    memcpy(&e.addr, &in, sizeof in);
    return e;
}

/* A listening socket, or -1 and errno. */
static int endpoint_open(const struct endpoint *e)
{
    int one = 1;
    int only = !e->dual;
    int fd = socket(e->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (e->addr.ss_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) == 0) &&
        bind(fd, (const struct sockaddr *)&e->addr, e->len) == 0 &&
        listen(fd, LIMIT_LISTEN_BACKLOG) == 0)
        return fd;
    int no = errno;
    close(fd);
    errno = no;
    return -1;
}

static int bound_port(int fd, uint16_t *port)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        return -1;
    if (addr.ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, &addr, sizeof in);
        *port = ntohs(in.sin6_port);
    } else {
        struct sockaddr_in in;
        memcpy(&in, &addr, sizeof in);
        *port = ntohs(in.sin_port);
    }
    return 0;
}

/* The machine does not speak that family, or has no such address. */
static bool family_is_missing(int no)
{
    return no == EADDRNOTAVAIL || no == EAFNOSUPPORT || no == EPROTONOSUPPORT;
}

static int open_localhost(uint16_t port, int fds[2])
{
    struct endpoint v4 = endpoint_v4(INADDR_LOOPBACK, port);
    fds[0] = endpoint_open(&v4);
    if (fds[0] < 0 && !family_is_missing(errno))
        return -1;
    uint16_t same = port;
    if (fds[0] >= 0 && bound_port(fds[0], &same) < 0)
        return -1;
    struct endpoint v6 = endpoint_v6(&in6addr_loopback, same, false);
    fds[1] = endpoint_open(&v6);
    if (fds[1] >= 0 || (fds[0] >= 0 && family_is_missing(errno)))
        return 0;
    return -1;
}

static int open_all(uint16_t port, int fds[2])
{
    struct endpoint v6 = endpoint_v6(&in6addr_any, port, true);
    fds[0] = endpoint_open(&v6);
    if (fds[0] < 0 && family_is_missing(errno)) {
        struct endpoint v4 = endpoint_v4(INADDR_ANY, port);
        fds[0] = endpoint_open(&v4);
    }
    return fds[0] < 0 ? -1 : 0;
}

static void close_both(int fds[2])
{
    int no = errno;
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
    errno = no;
}

static int open_named(const char *host, const char *port, int fds[2], const char **why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        *why = rc == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(rc);
        return -1;
    }
    for (struct addrinfo *a = found; a && fds[0] < 0; a = a->ai_next) {
        struct endpoint e = {.len = a->ai_addrlen};
        memcpy(&e.addr, a->ai_addr, a->ai_addrlen);
        fds[0] = endpoint_open(&e);
    }
    int no = errno;
    freeaddrinfo(found);
    errno = no;
    return fds[0] < 0 ? -1 : 0;
}

/* "host:port", "[v6]:port", ":port". */
static bool address_split(struct slice in, char *host, size_t host_size, uint16_t *port)
{
    size_t colon = in.len;
    while (colon > 0 && in.ptr[colon - 1] != ':')
        colon--;
    uint64_t number;
    if (colon == 0 || !parse_u64(slice_from(in, colon), &number) || number > UINT16_MAX)
        return false;
    struct slice h = slice_of(in.ptr, colon - 1);
    if (h.len >= 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
        h = slice_of(h.ptr + 1, h.len - 2);
    else if (slice_find(h, ':') < h.len)
        return false; /* an IPv6 address needs its brackets */
    if (h.len >= host_size || slice_find(h, 0) < h.len)
        return false;
    if (h.len)
        memcpy(host, h.ptr, h.len);
    host[h.len] = '\0';
    *port = (uint16_t)number;
    return true;
}

int net_listen_open(struct slice address, int fds[2], uint16_t *port, struct err *err)
{
    char text[128];
    char host[256];
    char service[8];
    uint16_t wanted;
    fds[0] = fds[1] = -1;
    text_escape(address, 100, text, sizeof text);
    if (!address_split(address, host, sizeof host, &wanted))
        return err_set(err, ERR_INVALID, "listen on %s: expected host:port, [ipv6]:port or :port",
                       text);
    const char *why = NULL;
    int rc = -1;
    if (slice_eq_nocase(slice_cstr(host), SLICE("localhost"))) {
        for (int i = 0; i < LOCALHOST_TRIES && rc < 0; i++) {
            rc = open_localhost(wanted, fds);
            if (rc < 0)
                close_both(fds);
            if (wanted != 0 || errno != EADDRINUSE)
                break;
        }
    } else if (host[0] == '\0') {
        rc = open_all(wanted, fds);
    } else {
        snprintf(service, sizeof service, "%u", wanted);
        rc = open_named(host, service, fds, &why);
    }
    if (rc == 0)
        rc = bound_port(fds[0] >= 0 ? fds[0] : fds[1], port);
    if (rc == 0)
        return 0;
    int no = errno;
    close_both(fds);
    return err_set(err, no == EADDRINUSE && !why ? ERR_EXISTS : ERR_IO, "listen on %s: %s", text,
                   why ? why : strerrordesc_np(no));
}

void net_peer_format(const struct sockaddr_storage *addr, char out[NET_PEER_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (addr->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(out, NET_PEER_TEXT, "%s:%u", host, ntohs(in.sin_port));
        return;
    }
    if (addr->ss_family != AF_INET6) {
        snprintf(out, NET_PEER_TEXT, "unknown");
        return;
    }
    struct sockaddr_in6 in;
    memcpy(&in, addr, sizeof in);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
        inet_ntop(AF_INET, &in.sin6_addr.s6_addr[12], host, sizeof host);
        snprintf(out, NET_PEER_TEXT, "%s:%u", host, ntohs(in.sin6_port));
    } else {
        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
        snprintf(out, NET_PEER_TEXT, "[%s]:%u", host, ntohs(in.sin6_port));
    }
}
