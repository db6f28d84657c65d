/* Errors: a code for programs, a text for people.
 *
 * A function that can fail returns int: 0 is success, a negative value is an enum err_code.
 * Iterators return 0 for an item, 1 at the end, negative for an error. The struct err comes last
 * among the parameters, may be NULL, and is written only on failure. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err_code {
    ERR_OK = 0,
    ERR_INVALID = -1,         /* the caller's input is wrong: HTTP 400, gRPC 3 */
    ERR_CORRUPT = -2,         /* stored or received bytes break their format: 500, 13 */
    ERR_LIMIT = -3,           /* a configured limit was passed: 413, 8 */
    ERR_NOMEM = -4,           /* allocation failed: 500, 13; may be retried */
    ERR_NOTFOUND = -5,        /* 404, 5 */
    ERR_EXISTS = -6,          /* create-if-absent lost: 409, 6 */
    ERR_IO = -7,              /* disk or network failed: 500, 13; may be retried */
    ERR_TIMEOUT = -8,         /* a deadline passed: 504, 4; may be retried */
    ERR_CANCELLED = -9,       /* the asker went away: 499, 1 */
    ERR_UNAVAILABLE = -10,    /* overload or shutdown of ours: 503, 14; may be retried */
    ERR_UNAUTHENTICATED = -11,/* 401, 16 */
    ERR_DENIED = -12,         /* 403, 7 */
    ERR_UNSUPPORTED = -13,    /* understood but not done here: 501, 12 */
    ERR_EXHAUSTED = -14,      /* a tenant's limit: 429, 8 */
    ERR_INTERNAL = -15,       /* a defect of ours: 500, 13 */
};

struct err {
    enum err_code code;
    char msg[512];
};

/* Sets code and text when err is not NULL; returns code, so that `return err_set(…)` reads well. */
__attribute__((format(printf, 3, 4))) int err_set(struct err *err, enum err_code code,
                                                  const char *fmt, ...);
/* Puts "prefix: " before the text that is there. Returns err->code. */
__attribute__((format(printf, 2, 3))) int err_wrap(struct err *err, const char *fmt, ...);

const char *err_code_name(enum err_code code); /* "invalid", "corrupt", … */
int err_code_http(enum err_code code);         /* HTTP status */
int err_code_grpc(enum err_code code);         /* gRPC status */
bool err_code_retryable(enum err_code code);

#define ERR_MUST_CHECK __attribute__((warn_unused_result))

#endif
