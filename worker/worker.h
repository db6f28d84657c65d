/* One shard of a query: fetch the columns of a block that it needs, evaluate, reply. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "catalog/live.h"
#include "objstore/objstore.h"
#include "query/query.h"

struct worker;

struct worker_opts {
    struct objstore *store;
    struct catalog *catalog; /* for live sections */
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    size_t footer_cache_bytes; /* of decoded footers; 0: 64 MiB */
};

int worker_new(const struct worker_opts *opts, struct worker **out, struct err *err);
void worker_free(struct worker *w); /* no call may be under way; NULL is fine */

/* Its functions may be called from any number of threads. */
struct query_worker worker_interface(struct worker *w);

#endif
