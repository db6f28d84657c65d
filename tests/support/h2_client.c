/* The gRPC client of the tests. */
#include "tests/support/h2_client.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/net_fixture.h"

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
    };
}

static void copy_value(char *to, size_t size, const uint8_t *value, size_t len)
{
    snprintf(to, size, "%.*s", (int)len, (const char *)value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    struct h2_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct slice n = slice_of(name, name_len);
    char number[16];
    copy_value(number, sizeof number, value, value_len);
    if (!call)
        return 0;
    if (slice_eq(n, SLICE(":status")))
        call->http_status = (int)strtol(number, NULL, 10);
    else if (slice_eq(n, SLICE("grpc-status")))
        call->grpc_status = (int)strtol(number, NULL, 10);
    else if (slice_eq(n, SLICE("grpc-message")))
        copy_value(call->message, sizeof call->message, value, value_len);
    else if (slice_eq(n, SLICE("grpc-status-details-bin")))
        copy_value(call->details, sizeof call->details, value, value_len);
    else if (slice_eq(n, SLICE("grpc-encoding")))
        copy_value(call->encoding, sizeof call->encoding, value, value_len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    (void)flags;
    (void)user;
    struct h2_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (call)
        buf_append(&call->body, data, len);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    struct h2_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (call) {
        call->closed = true;
        call->error_code = code;
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->goaway = true;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        c->max_streams =
            nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)user;
    struct h2_call *call = source->ptr;
    size_t n = call->send.len < room ? call->send.len : room;
    if (n)
        memcpy(to, call->send.ptr, n);
    call->send = slice_from(call->send, n);
    if (call->send.len == 0) {
        if (call->hold_end && n == 0)
            return NGHTTP2_ERR_DEFERRED;
        if (!call->hold_end)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

static void open_on(struct h2_client *c, int fd, bool hold_reads)
{
    *c = (struct h2_client){.fd = fd, .hold_reads = hold_reads};
    assert_true(c->fd >= 0);
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_option_set_no_auto_window_update(option, hold_reads);
    assert_int_equal(nghttp2_session_client_new2(&c->session, cb, c, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
}

void h2_open(struct h2_client *c, uint16_t port, bool hold_reads)
{
    open_on(c, tcp_connect(port), hold_reads);
    assert_int_equal(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

void h2_open_wide(struct h2_client *c, uint16_t port)
{
    const nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX};
    open_on(c, tcp_connect_narrow(port), false);
    assert_int_equal(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &wide, 1), 0);
    assert_int_equal(
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, INT32_MAX), 0);
}

void h2_shut(struct h2_client *c)
{
    nghttp2_session_del(c->session);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void h2_call_start(struct h2_client *c, struct h2_call *call, const char *path,
                   const struct h2_header *extra, struct slice data, bool hold_end)
{
    static const struct h2_header usual[] = {
        {":method", "POST"},
        {":scheme", "http"},
        {":path", NULL},
        {":authority", "localhost"},
        {"content-type", "application/grpc"},
        {"te", "trailers"},
    };
    nghttp2_nv nva[128];
    size_t count = 0;
    *call = (struct h2_call){.send = data, .hold_end = hold_end, .grpc_status = -1};
    buf_init(&call->body, (size_t)64 << 20);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        const char *value = usual[i].value ? usual[i].value : path;
        for (const struct h2_header *e = extra; e && e->name; e++) {
            if (strcmp(e->name, usual[i].name) == 0)
                value = e->value;
        }
        if (value)
            nva[count++] = nv(usual[i].name, value);
    }
    for (const struct h2_header *e = extra; e && e->name; e++) {
        bool is_usual = false;
        for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
            is_usual = is_usual || strcmp(e->name, usual[i].name) == 0;
        if (!is_usual && count < sizeof nva / sizeof nva[0])
            nva[count++] = nv(e->name, e->value);
    }
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_read};
    call->id = nghttp2_submit_request(c->session, NULL, nva, count, &body, call);
    assert_true(call->id > 0);
}

bool h2_send(struct h2_client *c)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0) {
        if (!tcp_send(c->fd, bytes, (size_t)n))
            c->broken = true;
    }
    return !c->broken;
}

bool h2_run_once(struct h2_client *c, int timeout_ms)
{
    uint8_t bytes[16384];
    h2_send(c);
    long n = tcp_recv(c->fd, bytes, sizeof bytes, timeout_ms);
    if (n == 0 || n == -2)
        c->broken = true;
    if (n > 0 && nghttp2_session_mem_recv(c->session, bytes, (size_t)n) < 0)
        c->broken = true;
    if (!c->broken)
        h2_send(c);
    return n > 0;
}

bool h2_wait(struct h2_client *c, struct h2_call *call, int timeout_ms)
{
    for (uint64_t end = now_ms() + (uint64_t)timeout_ms; !call->closed && !c->broken;) {
        uint64_t now = now_ms();
        if (now >= end)
            break;
        h2_run_once(c, (int)(end - now));
    }
    return call->closed;
}

bool h2_wait_closed(struct h2_client *c, int timeout_ms)
{
    for (uint64_t end = now_ms() + (uint64_t)timeout_ms; !c->broken;) {
        uint64_t now = now_ms();
        if (now >= end)
            break;
        h2_run_once(c, (int)(end - now));
    }
    return c->broken;
}

void h2_call_clear(struct h2_call *call)
{
    buf_clear(&call->body);
}

void h2_frame(struct buf *out, bool compressed, struct slice message)
{
    buf_u8(out, compressed);
    buf_u32be(out, (uint32_t)message.len);
    buf_slice(out, message);
}

bool h2_unary(struct h2_client *c, struct h2_call *call, const char *path,
              const struct h2_header *extra, struct slice message)
{
    struct buf framed;
    buf_init(&framed, message.len + 5);
    h2_frame(&framed, false, message);
    h2_call_start(c, call, path, extra, buf_view(&framed), false);
    bool done = h2_wait(c, call, 10000);
    call->send = slice_of(NULL, 0);
    buf_clear(&framed);
    return done;
}
