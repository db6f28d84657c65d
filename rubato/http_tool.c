/* HTTP for the tools. */
#include "rubato/http_tool.h"

#include <string.h>

#include "base/text.h"

#define ANSWER_BYTES_MAX ((size_t)256 << 20)

static int run(struct http_client *c, struct http_call *call, int lowest, int highest,
               struct err *err)
{
    int rc = http_client_run(c, call);
    if (rc < 0) {
        if (err)
            *err = call->err;
        return rc;
    }
    if (call->status < lowest || call->status > highest) {
        char text[200];
        bool later = call->status == 429 || call->status == 503;
        return err_set(err, later ? ERR_UNAVAILABLE : ERR_INVALID, "%s answered %d: %s", call->url, call->status,
                       text_escape(buf_view(&call->out), 150, text, sizeof text));
    }
    return 0;
}

int tool_post(struct http_client *c, const char *url, const char *const *headers,
              struct slice body, struct err *err)
{
    struct http_call call = {.method = "POST", .url = url, .headers = headers, .body = body};
    buf_init(&call.out, ANSWER_BYTES_MAX);
    buf_init(&call.head, (size_t)64 << 10);
    int rc = run(c, &call, 200, 299, err);
    http_call_clear(&call);
    return rc;
}

int tool_get(struct http_client *c, const char *url, const char *const *headers, struct buf *out,
             struct err *err)
{
    struct http_call call = {.method = "GET", .url = url, .headers = headers};
    buf_init(&call.out, ANSWER_BYTES_MAX);
    buf_init(&call.head, (size_t)64 << 10);
    int rc = run(c, &call, 200, 200, err);
    if (rc == 0)
        rc = buf_slice(out, buf_view(&call.out));
    http_call_clear(&call);
    return rc;
}

int tool_url_param(struct buf *url, const char *name, struct slice value)
{
    int rc = buf_printf(url, "%s%s=", memchr(url->ptr, '?', url->len) ? "&" : "?", name);
    return rc < 0 ? rc : tool_url_escape(url, value);
}

int tool_url_escape(struct buf *url, struct slice text)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && rc == 0; i++) {
        uint8_t ch = text.ptr[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || strchr("-._~", ch);
        rc = plain && ch ? buf_u8(url, ch) : buf_printf(url, "%%%02X", ch);
    }
    return rc;
}
