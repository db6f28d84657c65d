/* Log lines: built in a buffer on the stack and written with one write(2), so that lines of several
 * threads do not mix and logging never allocates. */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_BYTES ((size_t)8192)
/* Longest value, in source bytes; what is longer is cut. Four bytes of escape a byte still leave
 * room for a second one of the size. */
#define VALUE_BYTES_MAX ((size_t)1000)
/* Kept free for the mark of a cut line, the closing brace and the newline. */
#define TAIL_BYTES ((size_t)32)

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct log log_room(const struct log *parent, const char *room)
{
    struct log l = *parent;
    l.room = room;
    return l;
}

static void format_now(char out[32])
{
    uint64_t now = clock_unix_ns(&clock_system);
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(now % NS_PER_S / NS_PER_MS));
}

/* Whether a logfmt value can stand without quotes. */
static bool is_bare(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.len > 0;
}

static int logfmt_string(struct buf *b, struct slice s)
{
    if (s.len <= VALUE_BYTES_MAX && is_bare(s))
        return buf_slice(b, s);
    char text[VALUE_BYTES_MAX * 4 + 8];
    text_escape(s, VALUE_BYTES_MAX, text, sizeof text);
    int rc = buf_u8(b, '"');
    if (rc == 0)
        rc = buf_str(b, text);
    return rc == 0 ? buf_u8(b, '"') : rc;
}

static int json_string(struct buf *b, struct slice s)
{
    if (s.len > VALUE_BYTES_MAX) {
        size_t valid = utf8_prefix(s, VALUE_BYTES_MAX);
        s.len = valid ? valid : VALUE_BYTES_MAX;
    }
    return buf_json_string(b, s);
}

static int write_value(struct buf *b, bool json, const struct log_kv *kv)
{
    char text[48];
    switch (kv->type) {
    case LOG_KV_STR:
        return json ? json_string(b, kv->str) : logfmt_string(b, kv->str);
    case LOG_KV_I64:
        return buf_printf(b, "%lld", (long long)kv->i64);
    case LOG_KV_U64:
        return buf_printf(b, "%llu", (unsigned long long)kv->u64);
    case LOG_KV_F64:
        format_f64_json(kv->f64, text);
        /* NaN and the infinities are no JSON numbers. */
        bool quote = json && !(text[text[0] == '-'] >= '0' && text[text[0] == '-'] <= '9');
        return buf_printf(b, quote ? "\"%s\"" : "%s", text);
    case LOG_KV_BOOL:
        return buf_str(b, kv->b ? "true" : "false");
    }
    return ERR_INTERNAL;
}

/* One field, whole or not at all. */
static int write_field(struct buf *b, bool json, const struct log_kv *kv)
{
    size_t before = b->len;
    const char *lead = json ? (before ? ",\"" : "{\"") : (before ? " " : "");
    int rc = buf_str(b, lead);
    if (rc == 0)
        rc = buf_str(b, kv->key);
    if (rc == 0)
        rc = buf_str(b, json ? "\":" : "=");
    if (rc == 0)
        rc = write_value(b, json, kv);
    if (rc < 0)
        b->len = before;
    return rc;
}

void log_write(const struct log *log, enum log_level level, const char *msg,
               const struct log_kv *kvs, size_t count)
{
    uint8_t store[LINE_BYTES];
    struct buf b;
    buf_init_fixed(&b, store, LINE_BYTES - TAIL_BYTES);
    bool json = log->format == LOG_FORMAT_JSON;
    char now[32];
    format_now(now);
    const struct log_kv head[] = {
        KV_STR("ts", now),
        KV_STR("level", level_names[level]),
        KV_STR("room", log->room),
        KV_STR("msg", msg),
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
        if (i != 2 || log->room)
            rc = write_field(&b, json, &head[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (write_field(&b, json, &kvs[i]) < 0)
            rc = ERR_LIMIT;
    }
    b.cap = b.max = LINE_BYTES;
    if (rc < 0)
        (void)write_field(&b, json, &KV_BOOL("truncated", true));
    (void)buf_str(&b, json ? "}\n" : "\n");
    /* Where a log cannot be written there is nobody to tell. */
    while (write(log->fd, b.ptr, b.len) < 0 && errno == EINTR)
        ;
}

bool log_limit_allow(struct log_limit *l, uint64_t now_ns, uint64_t interval_ns,
                     uint32_t per_interval, uint64_t *suppressed)
{
    uint64_t interval = now_ns / (interval_ns ? interval_ns : 1) << 16;
    uint64_t most = per_interval < UINT16_MAX ? per_interval : UINT16_MAX;
    uint64_t seen = atomic_load_explicit(&l->window, memory_order_relaxed);
    for (;;) {
        uint64_t used = (seen & ~(uint64_t)UINT16_MAX) == interval ? seen & UINT16_MAX : 0;
        if (used >= most) {
            atomic_fetch_add_explicit(&l->suppressed, 1, memory_order_relaxed);
            *suppressed = 0;
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&l->window, &seen, interval | (used + 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            *suppressed = atomic_exchange_explicit(&l->suppressed, 0, memory_order_relaxed);
            return true;
        }
    }
}
