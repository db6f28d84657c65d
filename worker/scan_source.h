/* A job's walk over what it looks at: the row groups of a block, or the live columns. */
#ifndef WORKER_SCAN_SOURCE_H
#define WORKER_SCAN_SOURCE_H

#include "worker/scan.h"
#include "worker/worker_priv.h"

struct scan_visit {
    /* One row group, or the live columns: everything in the scan is gone after it returns. */
    int (*batch)(void *ctx, struct scan *s, struct err *err);
    /* Whether the rest need not be looked at; NULL: it always must be. */
    bool (*is_done)(void *ctx);
    /* Whether anything of a row group can matter, as far as is known without reading columns; NULL:
     * it always may. Not asked for the live columns. */
    bool (*may_matter)(void *ctx, const struct scan *s);
    void *ctx;
};

/* Adds what was done to *stats, also where it failed. Errors name the block and the row group;
 * ERR_TIMEOUT when the deadline passes. */
int scan_source(struct worker *w, const struct query_source *source, const struct scan_visit *v,
                uint64_t deadline_mono_ns, struct query_stats *stats, struct err *err);

#endif
