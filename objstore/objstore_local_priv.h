/* Between the two files of the local driver. */
#ifndef OBJSTORE_OBJSTORE_LOCAL_PRIV_H
#define OBJSTORE_OBJSTORE_LOCAL_PRIV_H

#include <stdatomic.h>

#include "objstore/objstore_priv.h"

/* Files that begin so are writes under way, or what a killed process left of one. Never keys. */
#define LOCAL_TMP_PREFIX ".rubato-tmp-"

struct local_store {
    struct objstore base;
    int root_fd;
    char prefix[LIMIT_KEY_BYTES]; /* ends in '/' when not empty */
    /* Hashes of directories whose own entry is known to be on disk. */
    _Atomic uint64_t durable[LIMIT_LOCAL_DURABLE];
};

/* A key as a path below the root: its directory part and its last name. */
struct local_path {
    char text[2 * LIMIT_KEY_BYTES + 1]; /* with the prefix, NUL-terminated */
    size_t len;
};

/* ERR_INVALID for names that this driver keeps to itself. */
int local_path_set(struct local_path *p, const struct local_store *s, struct slice key,
                   struct err *err);
/* Opens the directory made of the first `bytes` bytes of p (0: the root), segment by segment, never
 * through a symbolic link. The caller closes *fd. ERR_NOTFOUND when there is none; with make,
 * missing ones are made, durably. */
int local_open_dir(struct local_store *s, const struct local_path *p, size_t bytes, bool make,
                   int *fd, struct err *err);
/* The code for an errno of ours, with a text. */
int local_error(int e, const char *doing, struct err *err);
/* Removes a temporary file that nobody is writing any more. */
void local_sweep_file(const struct local_store *s, int dir_fd, const char *name);
void local_sweep_tree(struct local_store *s);

int local_list(struct objstore *s, const struct objstore_list_query *query, struct err *err);

#endif
