/* Reading a request: headers, query parameters, percent escapes. */
#include "net/net_server.h"

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

struct slice net_request_header(const struct net_request *req, const char *name)
{
    struct slice want = slice_cstr(name);
    for (size_t i = 0; i < req->header_count; i++) {
        if (slice_eq(req->headers[i].name, want)) {
            struct slice value = req->headers[i].value;
            /* NULL means absent, so an empty value points somewhere. */
            return value.ptr ? value : SLICE("");
        }
    }
    return slice_of(NULL, 0);
}

size_t net_request_header_count(const struct net_request *req, const char *name)
{
    struct slice want = slice_cstr(name);
    size_t count = 0;
    for (size_t i = 0; i < req->header_count; i++)
        count += slice_eq(req->headers[i].name, want);
    return count;
}

bool net_percent_decode(struct slice in, bool plus_is_space, struct buf *out)
{
    bool whole = true;
    if (buf_reserve(out, in.len) < 0)
        return false;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.ptr[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int hi = in.len - i > 2 ? hex_value(in.ptr[i + 1]) : -1;
            int lo = in.len - i > 2 ? hex_value(in.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                whole = false;
            } else {
                c = (uint8_t)(hi << 4 | lo);
                i += 2;
            }
        }
        out->ptr[out->len++] = c;
    }
    return whole;
}

int net_percent_encode(struct slice in, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    int rc = buf_reserve(out, in.len);
    for (size_t i = 0; i < in.len && rc == 0; i++) {
        uint8_t c = in.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        const char escaped[] = {'%', hex[c >> 4], hex[c & 15]};
        rc = plain ? buf_u8(out, c) : buf_append(out, escaped, sizeof escaped);
    }
    return rc;
}

/* The next "name=value" of a query, as sent. False at the end. */
static bool query_next(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->len) {
        size_t end = slice_find(*rest, '&');
        struct slice pair = slice_of(rest->ptr, end);
        *rest = slice_from(*rest, end + 1);
        if (pair.len == 0)
            continue;
        size_t eq = slice_find(pair, '=');
        *name = slice_of(pair.ptr, eq);
        *value = slice_from(pair, eq + 1);
        return true;
    }
    return false;
}

bool net_request_param(const struct net_request *req, const char *name, struct buf *out)
{
    struct slice rest = req->query;
    struct slice want = slice_cstr(name);
    struct slice raw_name;
    struct slice raw_value;
    struct buf key;
    buf_init(&key, req->query.len);
    bool found = false;
    while (!found && query_next(&rest, &raw_name, &raw_value)) {
        /* A name is longer as sent than decoded, so most are passed by without decoding. */
        if (raw_name.len < want.len)
            continue;
        buf_reset(&key);
        found = net_percent_decode(raw_name, true, &key) && slice_eq(buf_view(&key), want);
        if (found) {
            size_t len = out->len;
            /* Go's parser drops a pair with a broken escape and goes on; so do we. */
            if (!net_percent_decode(raw_value, true, out)) {
                out->len = len;
                found = false;
            } else if (out->len == len) {
                break; /* the first of that name decides, and it is empty */
            }
        }
    }
    buf_clear(&key);
    return found && raw_value.len > 0;
}

void net_request_params(const struct net_request *req, net_param_fn *fn, void *ctx)
{
    struct slice rest = req->query;
    struct slice raw_name;
    struct slice raw_value;
    struct buf pair;
    buf_init(&pair, req->query.len);
    while (query_next(&rest, &raw_name, &raw_value)) {
        buf_reset(&pair);
        /* Room for both first: the name's slice must not move when the value is decoded. */
        if (buf_reserve(&pair, raw_name.len + raw_value.len) < 0)
            break;
        if (!net_percent_decode(raw_name, true, &pair))
            continue;
        size_t name_len = pair.len;
        if (!net_percent_decode(raw_value, true, &pair))
            continue;
        fn(ctx, slice_of(pair.ptr, name_len), slice_from(buf_view(&pair), name_len));
    }
    buf_clear(&pair);
}
