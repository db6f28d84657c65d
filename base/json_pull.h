/* Reading JSON without building a tree: the caller walks the text in the order in which it stands.
 *
 *   struct json_iter it = {0};
 *   while ((rc = json_object_next(&j, &it, &key)) == 0) {
 *       if (slice_eq(key, SLICE("name")))
 *           rc = json_string(&j, &name);
 *       else
 *           rc = json_skip(&j);
 *       if (rc < 0)
 *           return rc;
 *   }
 *
 * For texts that other programs wrote: depth is bounded, nothing is allocated but strings with
 * escapes (in the arena), and each error tells the byte. The readers of scalars follow protobuf's
 * JSON mapping: 64-bit numbers as string or number, bytes as base64, and null, which stands for a
 * field that is not set, leaves the output as it was. */
#ifndef BASE_JSON_PULL_H
#define BASE_JSON_PULL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_pull {
    const uint8_t *start;
    const uint8_t *ptr;
    const uint8_t *end;
    struct arena *arena;
    struct err *err;
    unsigned depth;     /* arrays and objects that are open */
    unsigned depth_max; /* each level of a skipped value costs one stack frame */
};

/* One array or object being walked; starts as {0}. */
struct json_iter {
    bool open;
    bool filled;
};

static inline struct json_pull json_pull_of(struct slice text, struct arena *arena,
                                            unsigned depth_max, struct err *err)
{
    return (struct json_pull){.start = text.ptr,
                              .ptr = text.ptr,
                              .end = text.ptr ? text.ptr + text.len : text.ptr,
                              .arena = arena,
                              .err = err,
                              .depth_max = depth_max};
}

/* ERR_INVALID, with " at byte N" of the place where j stands. */
__attribute__((format(printf, 2, 3))) int json_fail(struct json_pull *j, const char *fmt, ...);

/* What comes next, told by its first byte. */
int json_peek(struct json_pull *j, enum json_type *type);

/* The next key, after which its value must be read or skipped, or the next element. 0, 1 at the
 * end (at once for null), or negative: ERR_INVALID, ERR_LIMIT for depth or the arena. */
int json_object_next(struct json_pull *j, struct json_iter *it, struct slice *key);
int json_array_next(struct json_pull *j, struct json_iter *it);
int json_skip(struct json_pull *j);
/* Nothing but white space may be left. */
int json_end(struct json_pull *j);

int json_null(struct json_pull *j);
int json_string(struct json_pull *j, struct slice *out);
int json_bool(struct json_pull *j, bool *out);
int json_i64(struct json_pull *j, int64_t *out);
int json_u64(struct json_pull *j, uint64_t *out);
int json_i32(struct json_pull *j, int32_t *out);
int json_u32(struct json_pull *j, uint32_t *out);
/* Also the strings "NaN", "Infinity" and "-Infinity". */
int json_f64(struct json_pull *j, double *out);
/* base64 of either alphabet, into the arena. */
int json_bytes(struct json_pull *j, struct slice *out);

/* True for the name itself and for its snake_case form: "traceId", "trace_id". */
bool json_key_is(struct slice key, const char *camel);

#endif
