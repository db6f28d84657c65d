/* Blocks of vParquet3 and vParquet5, which Rubato reads and never writes: made for tests from
 * spans, after the description of the format (docs/formats/block.md, 8). What both versions share
 * with vParquet4 comes from our shredder, what differs is made here, by rules that know nothing of
 * the readers. Failure fails the test. */
#ifndef TESTS_SUPPORT_OLD_BLOCK_H
#define TESTS_SUPPORT_OLD_BLOCK_H

#include "base/arena.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "block/span.h"
#include "objstore/objstore.h"

struct old_block_opts {
    enum block_version version; /* vParquet4 too: to compare with */
    const char *tenant;
    uint8_t id[16];
    const struct block_dedicated *dedicated;
    size_t dedicated_count;
    uint32_t row_group_rows; /* 0: one row group */
};

/* Everything lives in the arena. */
struct old_block {
    struct block_meta meta;
    struct slice data, bloom, index, meta_json;
};

/* Traces of b stand together, in ascending order of id. Resources, scopes and spans of a block come
 * back in the order of the batch. */
void old_block_make(const struct old_block_opts *opts, const struct span_batch *b, struct arena *a,
                    struct old_block *out);
void old_block_put(struct objstore *store, const struct old_block *block);

/* For vParquet5: every kind of column and value that the fixtures' attributes make possible, and
 * the list that Tempo 3.0 takes when none is configured. */
extern const struct block_dedicated old_dedicated_v5[];
extern const size_t old_dedicated_v5_count;
extern const struct block_dedicated old_dedicated_tempo[];
extern const size_t old_dedicated_tempo_count;

/* ---- its parts ---- */

/* Columns of a row group that the schema of vParquet3 or 5 has, and vParquet4 not, or not so. */
struct old_columns {
    struct column leaf[BLOCK_LEAVES]; /* by our numbers, as the version has them */
    /* vParquet5: by scope; strings, then ints */
    struct column dedicated[3][BLOCK_DEDICATED_ALL];
    bool has_dedicated[3][BLOCK_DEDICATED_ALL], blob[3][BLOCK_DEDICATED_ALL];
    struct column child_count, span_count, rounded[4];
};

/* v4: columns of a row group; back: the spans that they hold, as they come back from them. */
void old_columns_v3(const struct column *v4, const struct span_batch *back, struct arena *a,
                    struct old_columns *out);
/* back: spans to be shredded. */
void old_columns_v5(const struct span_batch *back, const struct block_dedicated *dedicated,
                    size_t count, struct arena *a, struct old_columns *out);
/* The rows [first, first + count) of spans, through our shredder. */
const struct column *old_columns_v4(const struct span_batch *b, uint32_t first, uint32_t count,
                                    const struct block_dedicated *dedicated, size_t dedicated_count,
                                    struct arena *a);

/* A schema and the columns of a row group in its order. */
struct old_file {
    VEC(struct parquet_node) nodes;
    VEC(struct column) columns;
    uint32_t open[16];
    unsigned depth;
};

void old_file_v3(const struct old_columns *c, struct old_file *out);
void old_file_v5(const struct old_columns *c, struct old_file *out);
void old_file_clear(struct old_file *f);

#endif
