/* The columns of one row group (or of the live spans), fetched and decoded as they are asked for,
 * and the maps from spans to their scopes, resources and traces. */
#ifndef WORKER_SCAN_H
#define WORKER_SCAN_H

#include "base/column.h"
#include "base/clock.h"
#include "block/block_meta.h"
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

    struct arena *arena; /* everything below lives in it */
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

/* Makes sure that the leaves are decoded: all that are missing are fetched in one parallel wave. A
 * leaf that the file lacks becomes an empty column (entries 0). */
int scan_need(struct scan *s, const int *leaves, size_t count, struct err *err);
/* After scan_need. */
const struct column *scan_column(const struct scan *s, int leaf);
/* Whether there is such a column at all: versions differ, and so do blocks of vParquet5. */
bool scan_has(const struct scan *s, int leaf);
/* The column's path in the file, for errors. */
struct slice scan_path(const struct scan *s, int leaf);
/* Fills the maps and counts. */
int scan_maps(struct scan *s, struct err *err);

/* The query's inputs from the columns: traceql_field_count of them, and the batch around them. */
int scan_batch(struct scan *s, const struct traceql_query *q, struct traceql_batch *out,
               struct err *err);

#endif
