/* Exchanges and the core: the only state of the server that threads share. */
#include "net/net_exchange.h"

#include "net/net_limits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- core ---- */

int net_core_new(const struct clock *clock, struct net_core **out, struct err *err)
{
    struct net_core *core = calloc(1, sizeof *core);
    if (!core)
        return err_set(err, ERR_NOMEM, "server: no memory");
    core->clock = clock;
    core->holders = 1;
    core->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (core->wake_fd < 0) {
        int no = errno;
        free(core);
        return err_set(err, ERR_IO, "server: eventfd: %s", strerrordesc_np(no));
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&core->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&core->mu, NULL);
    *out = core;
    return 0;
}

void net_core_release(struct net_core *core)
{
    if (--core->holders > 0)
        return;
    assert(!core->shared.inbox);
    close(core->wake_fd);
    pthread_cond_destroy(&core->changed);
    pthread_mutex_destroy(&core->mu);
    free(core);
}

void net_core_busy(struct net_core *core, int delta)
{
    pthread_mutex_lock(&core->mu);
    assert(delta > 0 || core->shared.busy > 0);
    core->shared.busy += (uint64_t)(int64_t)delta;
    if (core->shared.busy == 0)
        pthread_cond_broadcast(&core->changed);
    pthread_mutex_unlock(&core->mu);
}

void net_core_wake(struct net_core *core)
{
    uint64_t one = 1;
    /* It can only fail when the counter is full, and then the loop is awake. */
    ssize_t n = write(core->wake_fd, &one, sizeof one);
    (void)n;
}

struct net_exchange *net_core_inbox(struct net_core *core)
{
    pthread_mutex_lock(&core->mu);
    struct net_exchange *first = core->shared.inbox;
    core->shared.inbox = core->shared.inbox_last = NULL;
    /* From here on each may come into the inbox again. */
    for (struct net_exchange *ex = first; ex; ex = ex->loop.inbox_next) {
        ex->loop.inbox_next = ex->shared.inbox_next;
        ex->loop.replied = ex->shared.replied;
        ex->shared.inbox_next = NULL;
        ex->shared.in_inbox = false;
    }
    pthread_mutex_unlock(&core->mu);
    return first;
}

/* ---- heads ---- */

int net_head_add(struct net_head *head, struct slice name, struct slice value)
{
    struct net_head_entry entry = {
        .at = (uint32_t)head->text.len,
        .name_len = (uint32_t)name.len,
        .value_len = (uint32_t)value.len,
    };
    int rc = buf_slice(&head->text, name);
    if (rc == 0)
        rc = buf_slice(&head->text, value);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t *c = head->text.ptr + entry.at + i;
        if (*c >= 'A' && *c <= 'Z')
            *c = (uint8_t)(*c + ('a' - 'A'));
    }
    return vec_push(&head->entries, entry) ? 0 : ERR_NOMEM;
}

struct net_header net_head_at(const struct net_head *head, uint32_t i)
{
    const struct net_head_entry *e = &head->entries.at[i];
    const uint8_t *name = head->text.ptr + e->at;
    return (struct net_header){slice_of(name, e->name_len),
                               slice_of(name + e->name_len, e->value_len)};
}

static void head_clear(struct net_head *head)
{
    buf_clear(&head->text);
    vec_free(&head->entries);
}

/* ---- messages ---- */

struct net_message *net_message_new(struct buf *bytes)
{
    struct net_message *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->bytes = *bytes;
    buf_init(bytes, bytes->max);
    return m;
}

void net_message_free(struct net_message *m)
{
    if (!m)
        return;
    buf_clear(&m->bytes);
    free(m);
}

static void push_locked(struct net_exchange *ex, struct net_message *m)
{
    if (ex->shared.messages)
        ex->shared.messages_last->next = m;
    else
        ex->shared.messages = m;
    ex->shared.messages_last = m;
    ex->waiting += m->bytes.len;
}

struct net_message *net_exchange_pop(struct net_exchange *ex)
{
    pthread_mutex_lock(&ex->core->mu);
    struct net_message *m = ex->shared.messages;
    if (m)
        ex->shared.messages = m->next;
    pthread_mutex_unlock(&ex->core->mu);
    return m;
}

/* ---- exchange ---- */

struct net_exchange *net_exchange_new(struct net_core *core, bool over_http2, const char *peer,
                                      size_t head_max)
{
    struct net_exchange *ex = calloc(1, sizeof *ex);
    if (!ex)
        return NULL;
    ex->core = core;
    core->holders++;
    ex->holders = 1;
    ex->over_http2 = over_http2;
    buf_init(&ex->head.text, head_max);
    size_t len = strlen(peer);
    assert(len < sizeof ex->peer);
    memcpy(ex->peer, peer, len + 1);
    ex->req.proto = NET_HTTP;
    ex->req.peer = slice_of(ex->peer, len);
    return ex;
}

static void exchange_free(struct net_exchange *ex)
{
    struct net_core *core = ex->core;
    for (struct net_message *m = ex->shared.messages, *next; m; m = next) {
        next = m->next;
        net_message_free(m);
    }
    buf_clear(&ex->answer.text);
    buf_clear(&ex->answer.details);
    head_clear(&ex->answer.head);
    head_clear(&ex->head);
    buf_clear(&ex->body);
    free(ex->headers);
    core->body_bytes -= ex->loop.charged;
    if (ex->loop.counted)
        net_core_busy(core, -1);
    free(ex);
    net_core_release(core);
}

void net_exchange_release(struct net_exchange *ex)
{
    if (--ex->holders == 0)
        exchange_free(ex);
}

int net_exchange_head_done(struct net_exchange *ex)
{
    /* Only now, when the text moves no more. */
    uint32_t count = ex->head.entries.count;
    if (count) {
        ex->headers = calloc(count, sizeof *ex->headers);
        if (!ex->headers)
            return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        ex->headers[i] = net_head_at(&ex->head, i);
    ex->req.headers = ex->headers;
    ex->req.header_count = count;
    ex->req.received_mono_ns = clock_mono_ns(ex->core->clock);
    ex->loop.counted = true;
    net_core_busy(ex->core, 1);
    return 0;
}

int net_exchange_charge(struct net_exchange *ex)
{
    struct net_core *core = ex->core;
    core->body_bytes += ex->body.cap - ex->loop.charged; /* wraps around rightly when it shrank */
    ex->loop.charged = ex->body.cap;
    if (ex->body.cap && core->body_bytes > LIMIT_BODIES_BYTES) {
        buf_clear(&ex->body);
        net_exchange_charge(ex);
        ex->req.body_rc = err_set(&ex->req.body_err, ERR_UNAVAILABLE,
                                  "too many requests under way: their bodies fill %u MiB",
                                  LIMIT_BODIES_BYTES >> 20);
    }
    return ex->req.body_rc;
}

void net_exchange_too_large(struct net_exchange *ex)
{
    ex->req.body_rc = err_set(&ex->req.body_err, ERR_LIMIT, "http: request body too large");
    buf_clear(&ex->body);
}

void net_exchange_hand(struct net_exchange *ex, const struct net_listener_opts *opts)
{
    assert(!ex->loop.handed);
    if (ex->req.body_rc < 0) {
        buf_clear(&ex->body);
        net_exchange_charge(ex);
    }
    ex->req.body = buf_view(&ex->body);
    ex->loop.handed = true;
    ex->holders++;
    opts->handler(opts->ctx, &ex->req);
}

bool net_exchange_take_answer(struct net_exchange *ex)
{
    pthread_mutex_lock(&ex->core->mu);
    bool replied = ex->shared.replied;
    pthread_mutex_unlock(&ex->core->mu);
    return replied;
}

void net_exchange_unwire(struct net_exchange *ex)
{
    ex->loop.wire = NULL;
    ex->req.gone = true;
}

/* Into the inbox, which holds it. */
static void to_loop_locked(struct net_exchange *ex)
{
    struct net_core *core = ex->core;
    if (core->shared.closed || ex->shared.in_inbox)
        return;
    ex->holders++;
    ex->shared.in_inbox = true;
    bool first = !core->shared.inbox;
    if (first)
        core->shared.inbox = ex;
    else
        core->shared.inbox_last->shared.inbox_next = ex;
    core->shared.inbox_last = ex;
    /* The loop looks into the inbox before it sleeps, so its own thread needs no wake. */
    if (first && !pthread_equal(pthread_self(), core->loop_thread))
        net_core_wake(core);
}

void net_exchange_send(struct net_exchange *ex, struct net_message *m)
{
    pthread_mutex_lock(&ex->core->mu);
    assert(!ex->shared.replied);
    push_locked(ex, m);
    to_loop_locked(ex);
    pthread_mutex_unlock(&ex->core->mu);
}

void net_exchange_replied(struct net_exchange *ex, struct net_message *m)
{
    pthread_mutex_lock(&ex->core->mu);
    assert(!ex->shared.replied);
    ex->shared.replied = true;
    if (m)
        push_locked(ex, m);
    to_loop_locked(ex);
    pthread_mutex_unlock(&ex->core->mu);
    net_exchange_release(ex); /* the handler's hold */
}
