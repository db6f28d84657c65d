/* Errors: codes, texts, and what each code means to HTTP and gRPC. */
#include "base/err.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http;
    int grpc;
    bool retryable;
} codes[] = {
    [-ERR_OK] = {"ok", 200, 0, false},
    [-ERR_INVALID] = {"invalid", 400, 3, false},
    [-ERR_CORRUPT] = {"corrupt", 500, 13, false},
    [-ERR_LIMIT] = {"limit", 413, 8, false},
    [-ERR_NOMEM] = {"out of memory", 500, 13, true},
    [-ERR_NOTFOUND] = {"not found", 404, 5, false},
    [-ERR_EXISTS] = {"exists", 409, 6, false},
    [-ERR_IO] = {"i/o", 500, 13, true},
    [-ERR_TIMEOUT] = {"timeout", 504, 4, true},
    [-ERR_CANCELLED] = {"cancelled", 499, 1, false},
    [-ERR_UNAVAILABLE] = {"unavailable", 503, 14, true},
    [-ERR_UNAUTHENTICATED] = {"unauthenticated", 401, 16, false},
    [-ERR_DENIED] = {"denied", 403, 7, false},
    [-ERR_UNSUPPORTED] = {"unsupported", 501, 12, false},
    [-ERR_EXHAUSTED] = {"exhausted", 429, 8, true},
    [-ERR_INTERNAL] = {"internal", 500, 13, false},
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads and stores assume little endian");

static size_t code_index(enum err_code code)
{
    size_t i = (size_t)-(int)code;
    return i < sizeof codes / sizeof codes[0] ? i : (size_t)-ERR_INTERNAL;
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return ERR_INTERNAL;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    /* An old text that no longer fits is cut, which is as good as it gets. */
    if (n >= 0 && (size_t)n < sizeof err->msg &&
        snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", old) < 0)
        err->msg[n] = 0;
    return err->code;
}

const char *err_code_name(enum err_code code)
{
    return codes[code_index(code)].name;
}

int err_code_http(enum err_code code)
{
    return codes[code_index(code)].http;
}

int err_code_grpc(enum err_code code)
{
    return codes[code_index(code)].grpc;
}

bool err_code_retryable(enum err_code code)
{
    return codes[code_index(code)].retryable;
}
