/* The compactor: small blocks become large ones, old ones go, what is dead is deleted, tenant
 * indexes are kept up. One thread, one block at a time, at a lower priority than what serves.
 *
 * Any number of processes may run one over the same bucket: a plan object says who is at which
 * blocks (catalog/catalog_plan.h). docs/architecture.md has the steps and what a crash leaves. */
#ifndef COMPACT_COMPACTOR_H
#define COMPACT_COMPACTOR_H

#include "catalog/catalog.h"

struct compactor;

/* What may differ from tenant to tenant. */
struct compactor_tenant {
    uint64_t block_retention_ns;
    uint64_t compaction_window_ns;
    bool compaction_disabled; /* retention goes on */
};

/* Gets what holds for all tenants, and changes what is this tenant's own. Any thread. */
typedef void(compactor_tenant_fn)(void *ctx, struct slice tenant, struct compactor_tenant *limits);

struct compactor_opts {
    struct objstore *store;
    struct catalog *catalog; /* outlives the compactor */
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    struct compactor_tenant limits; /* of all tenants */
    compactor_tenant_fn *tenant;    /* may be NULL */
    void *tenant_ctx;
    uint64_t cycle_ns;                     /* pause when there is nothing to compact */
    uint64_t compacted_block_retention_ns; /* then a block that was compacted is deleted */
    uint64_t objects_max, block_bytes_max; /* of a block that is made */
    uint32_t inputs_min, inputs_max;       /* compact_select.h */
    uint64_t row_group_bytes;
    double bloom_false_positive;
    uint32_t bloom_shard_bytes;
    uint64_t
        waiting_bytes_max; /* nothing is compacted while more waits for the builder; 0: always */
    bool disabled;         /* neither compaction nor retention: the tenant index alone */
    bool tenant_index;     /* write it */
};

int compactor_new(const struct compactor_opts *opts, struct compactor **out, struct err *err);
int compactor_start(struct compactor *k, struct err *err);
/* Gives up what it is at, so that another process can take it at once, and joins the thread. */
void compactor_stop(struct compactor *k);
void compactor_free(struct compactor *k); /* NULL is fine */

#endif
