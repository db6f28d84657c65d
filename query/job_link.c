/* Frames on a socket that does not block, and one question with its answer. */
#include "query/job_link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cursor.h"

/* Read at once into a frame's body; more is made room for as it arrives. */
#define READ_BYTES ((size_t)64 << 10)

void job_link_init(struct job_link *l, int fd, size_t payload_max, const struct clock *clock)
{
    *l = (struct job_link){.fd = fd, .clock = clock};
    buf_init(&l->body, payload_max);
}

void job_link_clear(struct job_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    buf_clear(&l->body);
}

void job_link_take(struct job_link *l, uint8_t **payload, size_t *len)
{
    buf_take(&l->body, payload, len);
}

static int broken(struct err *err, int cause)
{
    return err_set(err, ERR_IO, "the connection broke: %s", strerrordesc_np(cause));
}

/* Waits for the socket; 0: ready, 1: not until then. */
static int wait_for(struct job_link *l, short events, uint64_t until_mono_ns)
{
    struct pollfd fd = {.fd = l->fd, .events = events};
    uint64_t now = clock_mono_ns(l->clock);
    uint64_t ns = until_mono_ns > now ? until_mono_ns - now : 0;
    const struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    return ppoll(&fd, 1, &t, NULL) > 0 ? 0 : 1;
}

/* ---- sending ---- */

int job_link_send(struct job_link *l, enum link_type type, uint32_t number, struct slice payload,
                  struct err *err)
{
    uint8_t head[LINK_HEAD_BYTES];
    uint32_t length = (uint32_t)payload.len;
    if (payload.len > UINT32_MAX)
        return err_set(err, ERR_LIMIT, "a frame of %zu bytes", payload.len);
    memcpy(head, &length, 4);
    head[4] = (uint8_t)type;
    memcpy(head + 5, &number, 4);
    struct iovec parts[] = {{head, sizeof head}, {(void *)(uintptr_t)payload.ptr, payload.len}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t n = sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return broken(err, errno);
        if (n < 0 && wait_for(l, POLLOUT, clock_mono_ns(l->clock) + LINK_STALL_NS) != 0)
            return err_set(err, ERR_TIMEOUT, "the other side takes nothing for %llu s",
                           (unsigned long long)(LINK_STALL_NS / NS_PER_S));
        for (int i = 0; i < 2 && n > 0; i++) {
            size_t part = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + part;
            parts[i].iov_len -= part;
            n -= (ssize_t)part;
        }
    }
    return 0;
}

/* ---- receiving ---- */

/* Some bytes: their number, 0 when there are none now, or an error. */
static ssize_t receive(struct job_link *l, void *to, size_t n, struct err *err)
{
    for (;;) {
        ssize_t got = recv(l->fd, to, n, MSG_DONTWAIT);
        if (got > 0)
            return got;
        if (got == 0)
            return err_set(err, ERR_IO, "the other side has closed the connection");
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return broken(err, errno);
    }
}

static int head_done(struct job_link *l, struct err *err)
{
    l->body_want = load_u32le(l->head);
    buf_reset(&l->body);
    if (l->body_want > l->body.max)
        return err_set(err, ERR_LIMIT, "a frame of %zu bytes, at most %zu are taken", l->body_want,
                       l->body.max);
    if (l->head[4] < LINK_JOB || l->head[4] > LINK_LEAVING)
        return err_set(err, ERR_CORRUPT, "a frame of unknown type %u", l->head[4]);
    return 0;
}

/* Reads what is there: 0 when the frame is whole, 1 when not. */
static int advance(struct job_link *l, struct err *err)
{
    while (l->head_bytes < LINK_HEAD_BYTES) {
        ssize_t n = receive(l, l->head + l->head_bytes, LINK_HEAD_BYTES - l->head_bytes, err);
        if (n <= 0)
            return n < 0 ? (int)n : 1;
        l->head_bytes += (size_t)n;
        int rc = l->head_bytes == LINK_HEAD_BYTES ? head_done(l, err) : 0;
        if (rc < 0)
            return rc;
    }
    while (l->body.len < l->body_want) {
        size_t left = l->body_want - l->body.len;
        size_t want = left < READ_BYTES ? left : READ_BYTES;
        int rc = buf_reserve(&l->body, want);
        if (rc < 0)
            return err_set(err, rc, "no memory for a frame of %zu bytes", l->body_want);
        size_t room = l->body.cap - l->body.len;
        ssize_t n = receive(l, l->body.ptr + l->body.len, left < room ? left : room, err);
        if (n <= 0)
            return n < 0 ? (int)n : 1;
        l->body.len += (size_t)n;
    }
    return 0;
}

int job_link_poll(struct job_link *l, uint64_t until_mono_ns, struct link_frame *out,
                  struct err *err)
{
    for (;;) {
        int rc = advance(l, err);
        if (rc == 0) {
            *out = (struct link_frame){.type = (enum link_type)l->head[4],
                                       .number = load_u32le(l->head + 5),
                                       .payload = buf_view(&l->body)};
            l->head_bytes = 0;
            return 0;
        }
        if (rc < 0 || clock_mono_ns(l->clock) >= until_mono_ns)
            return rc;
        (void)wait_for(l, POLLIN, until_mono_ns);
    }
}

/* ---- a call ---- */

struct waiting {
    const struct link_call *call;
    uint64_t heard_ns;
    uint64_t told_ns; /* when it was cancelled; 0: not */
};

/* Tells the worker to stop when it should, and finds out that it does not, or is silent. */
static int look_around(struct job_link *l, struct waiting *w, uint64_t now, struct err *err)
{
    const struct link_call *call = w->call;
    bool over = now > call->deadline_mono_ns || (call->source && query_is_cancelled(call->source));
    if (over && !w->told_ns) {
        w->told_ns = now;
        return job_link_send(l, LINK_CANCEL, call->number, slice_of(NULL, 0), err);
    }
    if (w->told_ns && now - w->told_ns > LINK_GRACE_NS)
        return err_set(err, ERR_TIMEOUT, "the worker did not stop within %llu s",
                       (unsigned long long)(LINK_GRACE_NS / NS_PER_S));
    if (now - w->heard_ns > call->silence_ns)
        return err_set(err, ERR_TIMEOUT, "the worker was silent for %llu s",
                       (unsigned long long)(call->silence_ns / NS_PER_S));
    return 0;
}

enum link_end job_link_call(struct job_link *l, const struct link_call *call, bool *leaving,
                            struct err *err)
{
    struct waiting w = {.call = call, .heard_ns = clock_mono_ns(l->clock)};
    struct link_frame f;
    int rc = job_link_send(l, LINK_JOB, call->number, call->job, err);
    while (rc == 0) {
        uint64_t now = clock_mono_ns(l->clock);
        rc = look_around(l, &w, now, err);
        size_t had = l->body.len;
        rc = rc < 0 ? rc : job_link_poll(l, now + LINK_TICK_NS, &f, err);
        if (rc == 1) { /* a long frame that is coming is a sign of life as well */
            if (l->body.len != had)
                w.heard_ns = clock_mono_ns(l->clock);
            rc = 0;
            continue;
        }
        if (rc < 0)
            break;
        w.heard_ns = clock_mono_ns(l->clock);
        if (f.type == LINK_RESULT && f.number == call->number)
            return LINK_END_RESULT;
        if (f.type == LINK_LEAVING)
            *leaving = true;
        else if (f.type != LINK_ALIVE)
            rc = err_set(err, ERR_CORRUPT, "a frame of type %d that nobody asked for", f.type);
    }
    return LINK_END_LOST;
}
