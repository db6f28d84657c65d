/* Connections that are asked to become something else (RFC 9110, 7.8), before any protocol of the
 * server has read from them. */
#include "net/net_server_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/net_limits.h"

/* Length of the head with the empty line at its end; 0: it is not whole. */
static size_t head_length(struct slice s)
{
    const uint8_t *end = s.len ? memmem(s.ptr, s.len, "\r\n\r\n", 4) : NULL;
    return end ? (size_t)(end - s.ptr) + 4 : 0;
}

static void hand_over(struct net_conn *conn, struct slice head)
{
    const struct net_listener_opts *opts = &conn->listener->opts;
    char peer[NET_PEER_TEXT];
    int fd = conn->fd;
    snprintf(peer, sizeof peer, "%s", conn->peer);
    epoll_ctl(conn->server->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    net_conn_free(conn);
    opts->upgrade(opts->upgrade_ctx, fd, head, slice_cstr(peer));
}

enum net_upgrade_look net_upgrade_peek(struct net_conn *conn)
{
    const struct net_listener_opts *opts = &conn->listener->opts;
    char start[256];
    uint8_t bytes[LIMIT_UPGRADE_HEAD_BYTES];
    if (!opts->upgrade)
        return NET_UPGRADE_NO;
    int want = snprintf(start, sizeof start, "GET %s HTTP/1.1\r\n", opts->upgrade_path);
    ssize_t n = recv(conn->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0)
        return NET_UPGRADE_NO;
    if (memcmp(bytes, start, (size_t)(n < want ? n : want)) != 0)
        return NET_UPGRADE_NO;
    struct slice head = slice_of(bytes, (size_t)n);
    head.len = head_length(head);
    if (head.len == 0)
        return (size_t)n < sizeof bytes ? NET_UPGRADE_WAIT : NET_UPGRADE_NO;
    if (net_head_value(head, "upgrade").len == 0 ||
        recv(conn->fd, bytes, head.len, MSG_DONTWAIT) != (ssize_t)head.len)
        return NET_UPGRADE_NO;
    hand_over(conn, head);
    return NET_UPGRADE_DONE;
}

struct slice net_head_value(struct slice head, const char *name)
{
    struct slice want = slice_cstr(name);
    while (head.len) {
        size_t end = slice_find(head, '\n');
        struct slice line = slice_of(head.ptr, end);
        head = slice_from(head, end + 1);
        size_t colon = slice_find(line, ':');
        if (!slice_eq_nocase(slice_of(line.ptr, colon), want))
            continue;
        struct slice value = slice_from(line, colon + 1);
        while (value.len && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
            value = slice_from(value, 1);
        while (value.len && value.ptr[value.len - 1] <= ' ')
            value.len--;
        return value;
    }
    return slice_of(NULL, 0);
}
