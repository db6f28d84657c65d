/* Blocks in the bucket: their keys, writing one, opening one. */
#ifndef CATALOG_BLOCK_STORE_H
#define CATALOG_BLOCK_STORE_H

#include "block/block_meta.h"
#include "block/parquet.h"
#include "block/shred.h"
#include "block/span.h"
#include "objstore/objstore.h"

/* "<tenant>/<block>/<name>" into out. */
int block_key(struct buf *out, struct slice tenant, const uint8_t id[16], const char *name);

/* ---- writing ---- */

struct block_writer; /* reused from block to block, so that it stops allocating */

/* Asked when all but meta.json is written: anything but 0 ends the block unfinished, and is the
 * result. */
typedef int(block_commit_fn)(void *ctx, struct err *err);

struct block_writer_opts {
    struct slice tenant;
    uint8_t id[16];
    const struct block_dedicated *dedicated;
    size_t dedicated_count;
    uint64_t row_group_bytes; /* a row group is cut at about this size */
    double bloom_false_positive;
    uint32_t bloom_shard_bytes; /* largest; a small block gets a smaller filter */
    uint32_t compaction_level;
    uint32_t replication_factor; /* 0: none is written */
    uint64_t objects_max;        /* no more traces than this will come, and the bloom filter is
                                    made for so many; 0: not known, ids are kept to the end */
    uint64_t start_unix_ns, end_unix_ns; /* of meta.json; 0 and 0: of the spans */
    uint64_t deadline_mono_ns;           /* for the whole block */
    block_commit_fn *commit;             /* may be NULL */
    void *commit_ctx;
};

int block_writer_new(struct objstore *store, struct block_writer **out, struct err *err);
void block_writer_free(struct block_writer *w); /* aborts what was not finished; NULL is fine */

/* Writes data.parquet as it goes, then blooms and index, and meta.json last: a reader sees the
 * whole block or none. Not for two threads at once; all slices in opts outlive the block's
 * finish, or the free of a writer that did not get there. A block that was begun and not finished is aborted. */
int block_writer_begin(struct block_writer *w, const struct block_writer_opts *opts,
                       struct err *err);
/* Traces in ascending order of id. The bytes behind the spans must live until finish, or until the
 * row group they are in has been cut. */
int block_writer_add(struct block_writer *w, const struct trace *trace, struct err *err);
/* The same with root names that are kept instead of computed; root NULL: computed. */
int block_writer_add_rooted(struct block_writer *w, const struct trace *trace,
                            const struct shred_root *root, struct err *err);
/* Traces since the last cut; 0 after an add: it ended a row group. */
uint32_t block_writer_pending(const struct block_writer *w);
/* Ends the row group now: nothing that was added need live any longer. */
int block_writer_cut(struct block_writer *w, struct err *err);
/* The meta that was written; tenant and dedicated as in opts. */
int block_writer_finish(struct block_writer *w, struct block_meta *meta, struct err *err);

/* ---- reading ---- */

/* Footer of a block's data.parquet, in the arena. */
int block_open(struct objstore *store, const struct block_meta *meta, uint64_t deadline_mono_ns,
               struct arena *a, struct parquet_file **out, struct err *err);

/* The last bytes of data.parquet. */
struct block_tail {
    uint64_t file_bytes;
    uint32_t footer_bytes;
    struct buf bytes; /* the caller clears it, on success alone */
};
/* One request for the footer as long as it is told to take at most bytes, else for the file's end.
 * ERR_CORRUPT where it contradicts meta. */
int block_tail_read(struct objstore *store, struct slice key, const struct block_meta *meta,
                    uint64_t bytes, uint64_t deadline_mono_ns, struct block_tail *out,
                    struct err *err);
/* The footer; empty when the tail does not have all of it. */
struct slice block_tail_footer(const struct block_tail *t);

#endif
