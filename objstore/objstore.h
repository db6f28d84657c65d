/* A bucket: objects under keys, written whole, read by range.
 *
 * One interface, several drivers: local (a directory), s3 (objstore_s3.c), memory and a scripted
 * one for tests. Calls block the calling thread until done or until the deadline; batches run in
 * parallel inside the driver. Any thread may call; a store is shared by all. Retry and backoff live
 * here alone: an error that comes out of this room is final for the call.
 *
 * Deadlines are absolute, on env's monotonic clock; 0 is 60 s from the call.
 *
 * Keys are UTF-8 paths with '/' between segments, no leading '/', no empty, "." or ".." segment
 * (ERR_INVALID), no control characters, at most 1024 bytes with the prefix. The configured prefix
 * is put before them by the driver and never seen outside. On local, a segment has at most 255
 * bytes, none begins with ".rubato-tmp-", and no key lies below another ("a" and "a/b").
 *
 * Errors: ERR_NOTFOUND, ERR_EXISTS (create-if-absent lost), ERR_TIMEOUT (deadline), ERR_IO (after
 * retries), ERR_DENIED, ERR_UNAVAILABLE (store answers SlowDown/503 to the end, disk full),
 * ERR_INVALID, ERR_CORRUPT (the store broke its protocol). Texts name the operation, bucket, key.
 */
#ifndef OBJSTORE_OBJSTORE_H
#define OBJSTORE_OBJSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"

struct objstore;

struct objstore_info {
    uint64_t bytes;
    uint64_t modified_unix_ns;
    char etag[72]; /* without quotes; empty where the store has none */
};

/* What a store can do, found out by objstore_probe. */
struct objstore_caps {
    bool create_if_absent; /* PUT with If-None-Match: * answers 412 for a key that exists */
};

struct objstore_env {
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    bool read_only; /* puts, uploads and deletes answer ERR_DENIED, and nothing is made or swept */
};

struct objstore_local_opts {
    struct slice path;   /* directory; made when missing, unless the store is read-only */
    struct slice prefix; /* "" or "a/b" */
};

struct objstore_s3_opts {
    struct slice bucket, endpoint, region, access_key, secret_key, session_token, prefix;
    bool insecure; /* http instead of https when endpoint has no scheme */
    bool tls_insecure_skip_verify;
    bool forcepathstyle;
    uint64_t part_bytes;      /* 0: 64 MiB; multipart above */
    uint32_t connections_max; /* 0: 64 */
};

int objstore_local_new(const struct objstore_local_opts *opts, const struct objstore_env *env,
                       struct objstore **out, struct err *err);
int objstore_s3_new(const struct objstore_s3_opts *opts, const struct objstore_env *env,
                    struct objstore **out, struct err *err);
/* Signed by version 2, for appliances that know no other: over libs3, which must be installed. It
 * has no create-if-absent, checks no certificates (https needs tls_insecure_skip_verify), and wants
 * access_key and secret_key. region, part_bytes and connections_max mean nothing to it. */
int objstore_libs3_new(const struct objstore_s3_opts *opts, const struct objstore_env *env,
                       struct objstore **out, struct err *err);
int objstore_memory_new(const struct objstore_env *env, struct objstore **out, struct err *err);
void objstore_free(struct objstore *s); /* NULL is fine; no call may be under way */

/* "local /path" or "s3 bucket at endpoint": for logs. Good while the store lives. */
struct slice objstore_describe(const struct objstore *s);

/* Writes and removes a small object; tells what the store lacks. The result is also kept in s. */
int objstore_probe(struct objstore *s, struct objstore_caps *caps, uint64_t deadline_mono_ns,
                   struct err *err);

enum objstore_range {
    OBJSTORE_WHOLE,  /* the whole object */
    OBJSTORE_RANGE,  /* bytes [offset, offset + bytes); short only at the end of the object, and
                        empty behind it: compare with object_bytes */
    OBJSTORE_SUFFIX, /* the last `bytes` bytes, or the whole object when it is shorter */
};

struct objstore_get {
    struct slice key;
    enum objstore_range range;
    uint64_t offset;
    uint64_t bytes;
    struct buf out;        /* in: initialised, its max bounds the answer; out: appended */
    uint64_t object_bytes; /* out: size of the whole object */
    int rc;                /* out: 0 or an error */
    struct err err;        /* out: when rc < 0 */
};

/* Runs all in parallel. Returns 0 when every rc is 0, else the first error (also in *err); the
 * other gets are complete all the same. out of a failed get is empty. */
int objstore_get_many(struct objstore *s, struct objstore_get *gets, size_t count,
                      uint64_t deadline_mono_ns, struct err *err);
/* One whole object, appended to out (whose max bounds it). */
int objstore_get(struct objstore *s, struct slice key, uint64_t deadline_mono_ns, struct buf *out,
                 struct err *err);
int objstore_head(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                  struct objstore_info *info, struct err *err);

enum objstore_put_flags {
    OBJSTORE_IF_ABSENT = 1 << 0, /* ERR_EXISTS when the key exists with other content; an own
                                    earlier try that got through counts as success */
};

/* Durable when it returns 0: on local, file and directory are fsynced; a reader sees the whole
 * object or none. The store uses multipart by itself above part_bytes. */
int objstore_put(struct objstore *s, struct slice key, struct slice body, unsigned flags,
                 uint64_t deadline_mono_ns, struct err *err);

/* A large object in pieces: nothing is visible before finish returns 0. After any failure, and
 * instead of finish, call abort (which frees). finish frees in every case. */
struct objstore_upload;
int objstore_upload_begin(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                          struct objstore_upload **out, struct err *err);
int objstore_upload_write(struct objstore_upload *u, struct slice bytes, struct err *err);
int objstore_upload_finish(struct objstore_upload *u, struct err *err);
void objstore_upload_abort(struct objstore_upload *u); /* NULL is fine */

/* Removing what is not there is success. Durable, as a put is. */
int objstore_delete(struct objstore *s, struct slice key, uint64_t deadline_mono_ns,
                    struct err *err);

struct objstore_list_item {
    struct slice key; /* good during the call only; for a common prefix it ends in '/' */
    bool is_prefix;
    uint64_t bytes;
    uint64_t modified_unix_ns;
};
/* Return 0 to go on, anything else to stop (objstore_list then returns 0). */
typedef int(objstore_list_fn)(void *ctx, const struct objstore_list_item *item);
/* Keys that start with prefix, in bytewise order, after start_after (may be empty). With
 * delimiter_slash, keys with a further '/' behind the prefix are folded to one common prefix. The
 * key of the last item seen, folded or not, is the start_after that goes on behind it. fn may call
 * the store. Objects whose names are no keys are passed over. */
int objstore_list(struct objstore *s, struct slice prefix, struct slice start_after,
                  bool delimiter_slash, objstore_list_fn *fn, void *ctx, uint64_t deadline_mono_ns,
                  struct err *err);

#endif
