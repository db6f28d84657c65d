/* What a receiver answers: google.rpc.Status with its retry hint, and ExportTraceServiceResponse.
 *
 * All of them are a handful of fields, so they are put together here instead of by a library that
 * would want generated code. */
#include "otlp/otlp.h"

#include "base/text.h"

static const char retry_info_type[] = "type.googleapis.com/google.rpc.RetryInfo";

static int put_bytes(struct buf *out, uint8_t tag, struct slice s)
{
    int rc = buf_u8(out, tag);
    if (rc == 0)
        rc = buf_varint(out, s.len);
    return rc < 0 ? rc : buf_slice(out, s);
}

static int put_varint_if_any(struct buf *out, uint8_t tag, uint64_t v)
{
    if (!v)
        return 0;
    int rc = buf_u8(out, tag);
    return rc < 0 ? rc : buf_varint(out, v);
}

/* RetryInfo{retry_delay = 1: Duration{seconds = 1, nanos = 2}}; fits 32 bytes. */
static struct slice retry_info(uint32_t delay_ms, uint8_t storage[32])
{
    struct buf duration = {.ptr = storage + 2, .cap = 30, .max = 30};
    /* Cannot fail: two varints of 32 bits. */
    (void)put_varint_if_any(&duration, 1 << 3, delay_ms / 1000);
    (void)put_varint_if_any(&duration, 2 << 3, delay_ms % 1000 * UINT32_C(1000000));
    storage[0] = 1 << 3 | 2;
    storage[1] = (uint8_t)duration.len;
    return slice_of(storage, duration.len + 2);
}

static int put_retry_detail(struct buf *out, uint32_t delay_ms)
{
    uint8_t storage[32], any_storage[96];
    struct buf any = {.ptr = any_storage, .cap = sizeof any_storage, .max = sizeof any_storage};
    int rc = put_bytes(&any, 1 << 3 | 2, slice_cstr(retry_info_type));
    if (rc == 0)
        rc = put_bytes(&any, 2 << 3 | 2, retry_info(delay_ms, storage));
    return rc < 0 ? rc : put_bytes(out, 3 << 3 | 2, buf_view(&any));
}

int otlp_status_encode(int code, struct slice message, uint32_t retry_delay_ms, struct buf *out)
{
    size_t start = out->len;
    int rc = put_varint_if_any(out, 1 << 3, (uint64_t)(int64_t)code);
    if (rc == 0 && message.len)
        rc = put_bytes(out, 2 << 3 | 2, message);
    if (rc == 0 && retry_delay_ms)
        rc = put_retry_detail(out, retry_delay_ms);
    if (rc < 0)
        out->len = start;
    return rc;
}

static int status_json(int code, struct slice message, uint32_t retry_delay_ms, struct buf *out)
{
    int rc = buf_printf(out, "{\"code\":%d,\"message\":", code);
    if (rc == 0)
        rc = buf_json_string(out, message);
    if (rc == 0 && retry_delay_ms) {
        uint8_t storage[32];
        rc = buf_printf(out, ",\"details\":[{\"typeUrl\":\"%s\",\"value\":\"", retry_info_type);
        if (rc == 0)
            rc = buf_base64(out, retry_info(retry_delay_ms, storage));
        if (rc == 0)
            rc = buf_str(out, "\"}]");
    }
    return rc < 0 ? rc : buf_u8(out, '}');
}

int otlp_status_json(int code, struct slice message, uint32_t retry_delay_ms, struct buf *out)
{
    size_t start = out->len;
    int rc = status_json(code, message, retry_delay_ms, out);
    if (rc < 0)
        out->len = start;
    return rc;
}

int otlp_response_encode(int64_t rejected, struct slice message, struct buf *out)
{
    size_t start = out->len;
    struct buf partial;
    buf_init(&partial, message.len < SIZE_MAX / 2 ? message.len + 64 : SIZE_MAX);
    int rc = put_varint_if_any(&partial, 1 << 3, (uint64_t)rejected);
    if (rc == 0 && message.len)
        rc = put_bytes(&partial, 2 << 3 | 2, message);
    if (rc == 0)
        rc = put_bytes(out, 1 << 3 | 2, buf_view(&partial));
    buf_clear(&partial);
    if (rc < 0)
        out->len = start;
    return rc;
}

static int response_json(int64_t rejected, struct slice message, struct buf *out)
{
    int rc = buf_str(out, "{\"partialSuccess\":{");
    if (rc == 0 && rejected)
        rc = buf_printf(out, "\"rejectedSpans\":\"%lld\"", (long long)rejected);
    if (rc == 0 && message.len) {
        rc = buf_str(out, rejected ? ",\"errorMessage\":" : "\"errorMessage\":");
        if (rc == 0)
            rc = buf_json_string(out, message);
    }
    return rc < 0 ? rc : buf_str(out, "}}");
}

int otlp_response_json(int64_t rejected, struct slice message, struct buf *out)
{
    size_t start = out->len;
    int rc = response_json(rejected, message, out);
    if (rc < 0)
        out->len = start;
    return rc;
}
