/* Several blocks of a tenant into one: the core of compaction, and of rewriting a block.
 *
 * The inputs' rows are merged by trace id as they stream by, a few pages of each at a time. Rows of
 * one id are fragments of a trace: the first input that has it is the base, of the others the spans
 * are added whose (span id, kind) no fragment before had (docs/formats/block.md, 9). Root names are
 * not computed again but taken from the first fragment that has one, as Tempo does it; nested sets,
 * times and service stats are computed anew.
 *
 * Memory stays below 128 MB however large the blocks are: what is read ahead shares one budget, row
 * groups are cut early enough, and the metadata of row groups is neither held of the inputs nor of
 * the output (what the file tells at its end waits in the store meanwhile). What is left to grow is
 * the bloom filter, 1.2 bytes a trace, and an index entry of 16 bytes a row group; a single trace
 * is never split. */
#ifndef CATALOG_BLOCK_MERGE_H
#define CATALOG_BLOCK_MERGE_H

#include "catalog/block_store.h"

/* Inputs of one merge; each has a reader with some buffers. Hit: ERR_LIMIT. */
#define LIMIT_MERGE_INPUTS 256

struct block_merge_stats {
    uint64_t rows_total; /* of all inputs */
    uint64_t rows_read, spans_read;
    uint64_t rows_combined; /* traces made of several rows */
    uint64_t spans_dropped; /* an earlier fragment had them */
    uint64_t traces_written, spans_written;
    uint64_t bytes_fetched;
};

/* Called every few windows. Anything but 0 gives the merge up: ERR_CANCELLED. */
typedef int(block_merge_progress_fn)(void *ctx, const struct block_merge_stats *so_far);

struct block_merge_opts {
    struct objstore *store;                 /* of the inputs */
    struct objstore *out;                   /* NULL: the same */
    const struct block_meta *const *inputs; /* of one tenant */
    size_t input_count;
    uint8_t id[16];              /* of the new block */
    struct slice tenant;         /* of the new block; empty: that of the inputs */
    uint64_t row_group_bytes;    /* 0, or above what memory allows: as large as it allows */
    double bloom_false_positive; /* 0: 0.01 */
    uint32_t bloom_shard_bytes;  /* 0: 102400 */
    uint64_t deadline_mono_ns;
    block_merge_progress_fn *progress; /* may be NULL */
    void *progress_ctx;
    block_commit_fn *commit; /* of the new block; may be NULL */
    void *commit_ctx;
};

/* The new block has the first input's replication factor, one compaction level more than the
 * highest of the inputs, and all of their time. Its dedicated columns are those of the inputs, the
 * first input's first, as far as vParquet4 can hold them, listed in the arena. meta.json is written
 * last: a failure leaves at most objects that no reader sees.
 *
 * ERR_INVALID: inputs of several tenants or replication factors, or no spans in them. ERR_CORRUPT
 * names the input. stats may be NULL. */
int block_merge(const struct block_merge_opts *opts, struct arena *a, struct block_meta *meta,
                struct block_merge_stats *stats, struct err *err);

#endif
