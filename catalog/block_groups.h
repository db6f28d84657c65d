/* The row groups of a block one after another, for whoever goes through all of it: a footer grows
 * with its file, so only a piece of it is held, and one row group's metadata. One thread. */
#ifndef CATALOG_BLOCK_GROUPS_H
#define CATALOG_BLOCK_GROUPS_H

#include "catalog/block_store.h"

struct block_groups {
    struct objstore *store;
    struct slice key; /* of data.parquet; the caller's */
    uint64_t deadline_mono_ns;
    struct parquet_file *file;        /* without row_groups until next was called, then with one */
    struct parquet_row_group current; /* which is this */
    uint32_t count, next;             /* of row groups; the number of the next */
    int64_t rows_left;
    uint64_t footer_at, footer_bytes; /* in the file */
    uint64_t at;                      /* of the next row group, in the footer */
    struct buf piece;                 /* of the footer, from piece_at on */
    uint64_t piece_at;
    uint64_t fetched; /* bytes read from the store */
};

/* Reads the footer's beginning; schema and row count live in the arena. store, key, deadline and
 * arena outlive g. Cleared on failure. */
int block_groups_open(struct block_groups *g, struct objstore *store, const struct block_meta *meta,
                      struct slice key, uint64_t deadline_mono_ns, struct arena *a,
                      struct err *err);
void block_groups_clear(struct block_groups *g);

/* The next row group becomes file->row_groups[0]; its metadata lives in the arena, which is reset.
 * 0, 1 at the end. ERR_CORRUPT names the object. */
int block_groups_next(struct block_groups *g, struct arena *a, struct err *err);

#endif
