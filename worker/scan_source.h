/* A job's walk over what it looks at: the row groups of a block, or the live columns. */
#ifndef WORKER_SCAN_SOURCE_H
#define WORKER_SCAN_SOURCE_H

#include "worker/scan.h"
#include "worker/worker_priv.h"

struct scan_visit {
    /* A row group, or the live columns, before its windows: dictionaries may be read
     * (scan_dictionaries), columns not. *wanted is true; false: nothing more is asked of it. NULL:
     * all are wanted. What is kept in s->group lasts as long as the windows. */
    int (*begin)(void *ctx, struct scan *s, bool *wanted, struct err *err);
    /* A window of rows: everything in it is gone after this returns. */
    int (*batch)(void *ctx, struct scan *s, struct err *err);
    /* Whether the rest need not be looked at; NULL: it always must be. */
    bool (*is_done)(void *ctx);
    void *ctx;
};

/* Adds what was done to *stats, also where it failed. Errors name the block and the row group;
 * ERR_TIMEOUT when the deadline passes. */
int scan_source(struct worker *w, const struct query_source *source, const struct scan_visit *v,
                uint64_t deadline_mono_ns, struct query_stats *stats, struct err *err);

/* What jobs that are done have left for the next ones. */
void scan_memories_free(struct worker *w);

#endif
