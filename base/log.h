/* Structured logs: a constant message that can be grepped, and typed fields.
 *
 *   LOG_WARN(log, "range get retried", KV_SLICE("key", key), KV_U64("attempt", attempt));
 *   ts=2026-01-02T03:04:05.678Z level=warn room=objstore msg="range get retried" key=… attempt=2
 *
 * The level is tested before a field is built. One write(2) a line; any thread may log. A log is
 * shared: rooms keep `const struct log`s derived with log_room. No credential and no attribute
 * value is ever logged at info or above; the text of a query is, as in Tempo. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log {
    int fd;
    enum log_level level;
    enum log_format format;
    const char *room; /* static string */
};

enum log_kv_type { LOG_KV_STR, LOG_KV_I64, LOG_KV_U64, LOG_KV_F64, LOG_KV_BOOL };

struct log_kv {
    const char *key;
    enum log_kv_type type;
    union {
        struct slice str;
        int64_t i64;
        uint64_t u64;
        double f64;
        bool b;
    };
};

#define KV_SLICE(k, v) ((struct log_kv){(k), LOG_KV_STR, {.str = (v)}})
#define KV_STR(k, v) ((struct log_kv){(k), LOG_KV_STR, {.str = slice_cstr(v)}})
#define KV_I64(k, v) ((struct log_kv){(k), LOG_KV_I64, {.i64 = (v)}})
#define KV_U64(k, v) ((struct log_kv){(k), LOG_KV_U64, {.u64 = (v)}})
#define KV_F64(k, v) ((struct log_kv){(k), LOG_KV_F64, {.f64 = (v)}})
#define KV_BOOL(k, v) ((struct log_kv){(k), LOG_KV_BOOL, {.b = (v)}})
#define KV_ERR(e) KV_STR("err", (e)->msg)

struct log log_room(const struct log *parent, const char *room);

void log_write(const struct log *log, enum log_level level, const char *msg,
               const struct log_kv *kvs, size_t count);

#define LOG_AT(to, lvl, message, ...)                                                             \
    do {                                                                                           \
        const struct log *log_at_ = (to);                                                          \
        if (log_at_ && (lvl) >= log_at_->level) {                                                  \
            const struct log_kv log_kvs_[] = {{0}, ##__VA_ARGS__};                                 \
            log_write(log_at_, (lvl), (message), log_kvs_ + 1,                                     \
                      sizeof log_kvs_ / sizeof log_kvs_[0] - 1);                                   \
        }                                                                                          \
    } while (0)
#define LOG_DEBUG(to, msg, ...) LOG_AT(to, LOG_LEVEL_DEBUG, msg, ##__VA_ARGS__)
#define LOG_INFO(to, msg, ...) LOG_AT(to, LOG_LEVEL_INFO, msg, ##__VA_ARGS__)
#define LOG_WARN(to, msg, ...) LOG_AT(to, LOG_LEVEL_WARN, msg, ##__VA_ARGS__)
#define LOG_ERROR(to, msg, ...) LOG_AT(to, LOG_LEVEL_ERROR, msg, ##__VA_ARGS__)

/* Lets `per_interval` events through each interval_ns and counts the rest. Returns true when the
 * line should be written; *suppressed then holds how many were not since the last one written. */
struct log_limit {
    _Atomic uint64_t window; /* interval number << 16 | events in it */
    _Atomic uint64_t suppressed;
};
bool log_limit_allow(struct log_limit *l, uint64_t now_ns, uint64_t interval_ns,
                     uint32_t per_interval, uint64_t *suppressed);

#endif
