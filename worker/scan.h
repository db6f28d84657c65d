/* The columns of some rows, fetched and decoded as they are asked for, and the maps from spans to
 * their scopes, resources and traces.
 *
 * A row group is scanned in windows of rows: what is decoded is small enough to stay in the
 * processor's cache, whatever the row group's size, and of a column that is wanted in some windows
 * only, the pages of the others are not decoded. The bytes of a column chunk are fetched whole,
 * when it is first asked for, and stay for the row group. */
#ifndef WORKER_SCAN_H
#define WORKER_SCAN_H

#include "base/column.h"
#include "base/clock.h"
#include "block/block_meta.h"
#include "objstore/objstore.h"
#include "query/query.h"
#include "worker/footer_cache.h"

struct scan {
    /* A row group of a block… */
    struct objstore *store;
    const struct block_meta *meta;
    const struct footer *footer;
    uint32_t row_group;
    uint64_t deadline_mono_ns;
    /* …or columns that are there already. */
    const struct column *ready;

    /* What is done, and on what time is being spent since when; QUERY_STEPS: on nothing counted. */
    const struct clock *clock;
    struct query_stats *stats;
    enum query_step step;
    uint64_t step_mono_ns;

    /* The row group's: bytes and readers of the columns that have been asked for. */
    struct arena *group;
    struct parquet_reader *readers[BLOCK_LEAVES];

    /* The window's, as everything below. */
    int64_t row_first, row_count;
    struct arena *arena;
    struct column decoded[BLOCK_LEAVES];
    bool have[BLOCK_LEAVES];

    /* scan_maps */
    uint32_t traces, resources, scopes, spans;
    uint32_t *span_trace, *span_resource, *span_scope;
    bool have_maps;
};

/* From now on time is spent on that step. Returns the one before, to go back to. */
enum query_step scan_step(struct scan *s, enum query_step step);

/* About how many spans the row group has, by its footer. */
uint64_t scan_span_entries(const struct scan *s);

/* Goes to a window of the row group that is not before the one at hand. */
void scan_window(struct scan *s, int64_t row_first, int64_t row_count);
/* Gives up the row group: readers and what they have. */
void scan_close(struct scan *s);

/* Fetches the chunks of leaves that the file has and that have not been asked for yet. */
int scan_open(struct scan *s, const int *leaves, size_t count, struct err *err);
/* Ranges of the block's data.parquet in one parallel wave: gets have offset and bytes, their
 * buffers become the row group's. */
int scan_fetch(struct scan *s, struct objstore_get *gets, size_t count, struct err *err);

/* Makes sure that the leaves are decoded: chunks that are missing are fetched in one wave. A leaf
 * that the file lacks becomes an empty column (entries 0). */
int scan_need(struct scan *s, const int *leaves, size_t count, struct err *err);
/* After scan_need. */
const struct column *scan_column(const struct scan *s, int leaf);
/* Whether there is such a column at all: versions differ, and so do blocks of vParquet5. */
bool scan_has(const struct scan *s, int leaf);
/* The column's path in the file, for errors. */
struct slice scan_path(const struct scan *s, int leaf);
/* Fills the maps and counts. */
int scan_maps(struct scan *s, struct err *err);

/* Per event or link (the level): the span it belongs to. After scan_maps. */
int scan_child_spans(struct scan *s, enum traceql_level level, const uint32_t **out,
                     uint32_t *count, struct err *err);

/* The query's inputs from the columns: traceql_field_count of them, and the batch around them. */
int scan_batch(struct scan *s, const struct traceql_query *q, struct traceql_batch *out,
               struct err *err);

#endif
