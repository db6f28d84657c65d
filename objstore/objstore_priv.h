/* What a driver of the object store is: a table of functions behind struct objstore. A driver's own
 * struct begins with a struct objstore. Inside this room and its tests only.
 *
 * The dispatch (objstore.c) has checked keys and resolved the deadline (never 0) before a driver is
 * called, and puts operation, key and store before the driver's error text. */
#ifndef OBJSTORE_OBJSTORE_PRIV_H
#define OBJSTORE_OBJSTORE_PRIV_H

#include <stdatomic.h>

#include "objstore/objstore.h"
#include "objstore/objstore_limits.h"

enum objstore_op {
    OBJSTORE_OP_GET,
    OBJSTORE_OP_PUT,
    OBJSTORE_OP_POST,
    OBJSTORE_OP_DELETE,
    OBJSTORE_OP_LIST,
    OBJSTORE_OP_HEAD,
};

struct objstore_list_query {
    struct slice prefix;
    struct slice start_after;
    bool delimiter_slash;
    objstore_list_fn *fn;
    void *ctx;
    uint64_t deadline_ns;
};

struct objstore_ops {
    bool observes; /* the driver observes each of its requests itself */
    void (*free)(struct objstore *s);
    /* Sets rc (and err) of every get whose rc is 0; leaves the others alone. */
    void (*get_many)(struct objstore *s, struct objstore_get *gets, size_t count,
                     uint64_t deadline_ns);
    int (*head)(struct objstore *s, struct slice key, uint64_t deadline_ns,
                struct objstore_info *info, struct err *err);
    int (*put)(struct objstore *s, struct slice key, struct slice body, unsigned flags,
               uint64_t deadline_ns, struct err *err);
    int (*remove)(struct objstore *s, struct slice key, uint64_t deadline_ns, struct err *err);
    int (*list)(struct objstore *s, const struct objstore_list_query *query, struct err *err);
    int (*upload_begin)(struct objstore *s, struct slice key, uint64_t deadline_ns,
                        struct objstore_upload **out, struct err *err);
    int (*upload_write)(struct objstore_upload *u, struct slice bytes, struct err *err);
    int (*upload_finish)(struct objstore_upload *u, struct err *err); /* frees */
    void (*upload_abort)(struct objstore_upload *u);                  /* frees */
};

struct objstore_metrics {
    struct metrics_family *duration;
    struct counter *get_bytes;
    struct counter *put_bytes;
    struct counter *retries;
};

struct objstore {
    const struct objstore_ops *ops;
    const struct log *log;     /* may be NULL */
    const struct clock *clock; /* never NULL */
    bool read_only;
    struct objstore_metrics metrics;
    atomic_bool lacks_create_if_absent; /* what a probe found */
    char describe[512];
};

/* The head of a driver's upload. */
struct objstore_upload {
    struct objstore *store;
    uint64_t start_ns;
    uint64_t bytes;
    char key[LIMIT_KEY_SHOWN + 1];
};

/* Fills the common part; env may hold NULLs. */
void objstore_init(struct objstore *s, const struct objstore_ops *ops,
                   const struct objstore_env *env);
/* One finished request: status is HTTP's, or 0 when no answer came. */
void objstore_observe(struct objstore *s, enum objstore_op op, int status, uint64_t start_ns);

/* prefix as configured, without slashes around it; ERR_INVALID when its segments are no key. */
int objstore_check_prefix(struct slice prefix, struct slice *out, struct err *err);
/* ERR_INVALID with the reason. */
int objstore_check_key(struct slice key, struct err *err);
bool objstore_key_is_valid(struct slice key);

/* Cuts a range to the object: [*from, *to). OBJSTORE_RANGE from past the end is empty. */
void objstore_resolve_range(const struct objstore_get *get, uint64_t object_bytes, uint64_t *from,
                            uint64_t *to);

#endif
