/* Reading a query's parameters. */
#include "base/text.h"
#include "frontend/frontend_limits.h"
#include "frontend/frontend_priv.h"

bool query_param(struct query *q, const char *name, struct slice *out)
{
    struct buf value;
    buf_init(&value, LIMIT_PARAM_BYTES);
    bool there = net_request_param(q->req, name, &value) && value.len > 0;
    if (there)
        there = arena_slice(q->arena, buf_view(&value), out);
    buf_clear(&value);
    return there;
}

/* The two ways in which Go's parsers fail, in its words. */
static int number_error(struct err *err, const char *name, const char *func, struct slice text)
{
    char shown[128];
    bool digits = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        digits &= (text.ptr[i] >= '0' && text.ptr[i] <= '9') || (i == 0 && text.ptr[i] == '-');
    return err_set(err, ERR_INVALID, "invalid %s: strconv.%s: parsing \"%s\": %s", name, func,
                   text_escape(text, 60, shown, sizeof shown),
                   digits ? "value out of range" : "invalid syntax");
}

int query_param_seconds(struct query *q, const char *name, uint64_t *out, struct err *err)
{
    struct slice text;
    *out = 0;
    if (!query_param(q, name, &text))
        return 0;
    int64_t v;
    if (!parse_i64(text, &v) || v < 0 || v > UINT32_MAX)
        return number_error(err, name, "ParseUint", text);
    *out = (uint64_t)v;
    return 0;
}

int query_param_count(struct query *q, const char *name, bool zero_is_default, uint32_t fallback,
                      uint32_t *out, struct err *err)
{
    struct slice text;
    *out = fallback;
    if (!query_param(q, name, &text))
        return 0;
    int64_t v;
    if (!parse_i64(text, &v) || v > UINT32_MAX)
        return number_error(err, name, "Atoi", text);
    if (v == 0 && zero_is_default)
        return 0;
    if (v <= 0)
        return err_set(err, ERR_INVALID, "invalid %s: must be a positive number", name);
    *out = (uint32_t)v;
    return 0;
}

int query_check_range(const struct query *q, uint64_t start_s, uint64_t end_s, uint64_t range_s,
                      struct err *err)
{
    int64_t max = q->limits.search_duration_ns;
    char text[40];
    if (max <= 0 || range_s <= (uint64_t)max / NS_PER_S)
        return 0;
    format_duration(max, text);
    return err_set(err, ERR_INVALID,
                   "range specified by start and end exceeds %s. received start=%llu end=%llu",
                   text, (unsigned long long)start_s, (unsigned long long)end_s);
}

int query_check_text(const struct query *q, struct slice text, struct err *err)
{
    uint64_t max = q->frontend->opts.app->cfg.query_frontend.max_query_expression_size_bytes;
    if (max == 0 || text.len <= max)
        return 0;
    return err_set(err, ERR_INVALID,
                   "TraceQL expression exceeds the configured maximum size of %llu bytes, reduce "
                   "the query expression size or contact your system administrator",
                   (unsigned long long)max);
}

bool query_accepts_protobuf(const struct net_request *req)
{
    static const struct slice wanted = {(const uint8_t *)"application/protobuf", 20};
    struct slice accept = net_request_header(req, "accept");
    for (size_t i = 0; i + wanted.len <= accept.len; i++) {
        if (slice_eq_nocase(slice_of(accept.ptr + i, wanted.len), wanted))
            return true;
    }
    return false;
}
