/* The rows of a block in order, as spans, a window of some rows at a time.
 *
 * For whoever goes through a whole block: merging, checking, dumping. Of each column only the pages
 * that hold the window's rows are fetched and decoded (without an offset index, the chunk), and
 * what the window does not need of them is let go again, so memory stays near window_bytes however
 * large block and row groups are; a single row is never split. One thread at a time. */
#ifndef CATALOG_BLOCK_ROWS_H
#define CATALOG_BLOCK_ROWS_H

#include "base/column.h"
#include "block/block_schema.h"
#include "block/span.h"
#include "catalog/block_store.h"

struct block_rows;

/* Memory that is in use during a call only: readers of one thread may share it. */
struct block_rows_scratch {
    struct arena *columns, *pages;
};
int block_rows_scratch_init(struct block_rows_scratch *s, struct err *err);
void block_rows_scratch_clear(struct block_rows_scratch *s);

struct block_rows_opts {
    struct objstore *store;
    const struct block_meta *meta;      /* outlives the reader */
    size_t window_bytes;                /* aimed at; 0: 8 MiB */
    uint64_t deadline_mono_ns;          /* for all of it */
    bool keep_columns;                  /* window.columns is wanted */
    struct block_rows_scratch *scratch; /* NULL: its own; not with keep_columns */
};

struct block_row {
    uint8_t id[16];
    uint32_t span_first, span_count;      /* in window.batch */
    struct slice root_service, root_name; /* as stored */
};

struct block_window {
    uint32_t row_group;
    int64_t first_row;       /* in the row group */
    struct span_batch batch; /* each row's spans in order, one row behind the other */
    VEC(struct block_row) rows;
    const struct column *columns; /* BLOCK_LEAVES, with keep_columns */
    struct arena *text;           /* holds the strings */
};

/* Reads the footer's beginning. Errors name the block. */
int block_rows_new(const struct block_rows_opts *opts, struct block_rows **out, struct err *err);
void block_rows_free(struct block_rows *r); /* NULL is fine */

/* The next window, good until the next call: 0, 1 at the end. ERR_CORRUPT names block, row group
 * and column. */
int block_rows_next(struct block_rows *r, struct block_window **out, struct err *err);
/* Takes the window's strings over, so that they live on after the next call. */
struct arena *block_rows_take_text(struct block_rows *r);

uint64_t block_rows_total(const struct block_rows *r);   /* rows that the footer tells of */
uint64_t block_rows_fetched(const struct block_rows *r); /* bytes read from the store so far */

#endif
