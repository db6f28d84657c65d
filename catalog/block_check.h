/* Whether a block is whole, told at first sight: the checks that Tempo makes of its blocks at
 * start, for the price of a few bytes. Nothing of the rows is read (rubato block check does that).
 *
 * - data.parquet has the size that meta.json tells, and ends in the footer's length and PAR1;
 * - the footer has the length that meta.json tells;
 * - each of the block's bloom shards is there and has a byte.
 *
 * A block that fails is never deleted or changed: it is not served, and looked at again with the
 * next listing, since it may only be half copied. */
#ifndef CATALOG_BLOCK_CHECK_H
#define CATALOG_BLOCK_CHECK_H

#include "block/block_meta.h"
#include "objstore/objstore.h"

/* Bloom shards of a block: Tempo makes one per 100 KB of filter, a hundred for a hundred million
 * traces. Hit: the block counts as damaged. */
#define LIMIT_BLOCK_CHECK_SHARDS 10000

struct block_check {
    const struct block_meta *meta; /* in */
    bool blooms_seen;              /* in: a listing has shown all shards, none empty */
    int rc;                        /* out: 0 whole, ERR_CORRUPT damaged; else not known */
    struct err err;                /* out: what is wrong, with the object's name */
};

/* Checks all, in parallel waves of small range reads. 0, or the first error that kept a check from
 * being made; damaged blocks are no such error. */
int block_check_many(struct objstore *store, struct block_check *checks, size_t count,
                     uint64_t deadline_mono_ns, struct err *err);

/* ---- blocks that are kept out ---- */

/* The damaged blocks that are known, so that each is told once. For one thread. */
struct block_quarantine;

int block_quarantine_new(const struct log *log, struct metrics *metrics,
                         struct block_quarantine **out, struct err *err);
void block_quarantine_free(struct block_quarantine *q); /* NULL is fine */
/* A block was checked. Damaged: named in the log and counted in
 * tempodb_block_validation_failed_total when it was not known yet. Whole: forgotten. Returns
 * whether the block may be served. */
bool block_quarantine_tell(struct block_quarantine *q, const struct block_check *check);
size_t block_quarantine_count(const struct block_quarantine *q);

#endif
