/* The compactor's parts, shared by its files: compactor.c (the thread, the order of things),
 * compact_job.c (one plan), compact_retention.c (old and dead blocks), compact_index.c (tenant
 * indexes). */
#ifndef COMPACT_COMPACT_PRIV_H
#define COMPACT_COMPACT_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "base/vec.h"
#include "catalog/catalog_plan.h"
#include "catalog/catalog_retire.h"
#include "compact/compact_limits.h"
#include "compact/compactor.h"

/* A block that could not be merged. */
struct compact_held {
    uint8_t id[16];
    uint64_t until_mono_ns;
};

struct compactor {
    struct compactor_opts opts;
    struct log log;
    struct {
        struct metrics_family *blocks, *objects_written, *bytes_written, *combined; /* level */
        struct metrics_family *spans_combined; /* replication_factor */
        struct metrics_family *outstanding;    /* tenant */
        struct counter *errors;
        struct counter *marked, *deleted, *orphans, *retention_errors;
        struct histogram *retention_seconds;
        struct metrics_family *index_builder, *index_age, *index_errors; /* tenant */
    } m;

    /* The compactor's thread alone. */
    struct rng rng;
    VEC(struct compact_held) held;
    char *last_tenant;      /* that had its turn; NULL: none yet */
    uint64_t listings_seen; /* full listings that retention and index have gone by */

    pthread_t thread;
    bool started;
    atomic_bool stop;
    struct {
        pthread_mutex_t mu;
        pthread_cond_t wake;
    } shared;
};

/* compactor.c: everything once: plans that were left, at most one merge a tenant, and after each
 * full listing retention and indexes. *did: something was merged. */
int compactor_round(struct compactor *k, bool *did, struct err *err);
struct compactor_tenant compactor_limits(const struct compactor *k, struct slice tenant);
bool compactor_stopping(const struct compactor *k);
/* Counts and logs what went wrong; ERR_CANCELLED is no fault. */
void compactor_failed(struct compactor *k, const char *what, struct slice tenant,
                      const struct err *err);

/* compact_job.c */
/* Merges what is most urgent. *did: whether something was; *outstanding: the blocks of all further
 * merges that are due. */
int compact_tenant(struct compactor *k, struct slice tenant, bool *did, uint64_t *outstanding,
                   struct err *err);
/* Finishes a plan, from wherever it stands. Frees p. */
int compact_run(struct compactor *k, struct catalog_plan *p, struct err *err);

/* compact_retention.c: *store_now is 0 until it is needed for the first time. */
void compact_retention(struct compactor *k, struct slice tenant, uint64_t *store_now);

/* compact_index.c */
int compact_index(struct compactor *k, struct slice tenant, struct err *err);

#endif
