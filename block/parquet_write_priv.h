/* What the two halves of the Parquet writer share: pages and chunks as they were written
 * (parquet_write.c), and the metadata that tells of them (parquet_write_meta.c). */
#ifndef BLOCK_PARQUET_WRITE_PRIV_H
#define BLOCK_PARQUET_WRITE_PRIV_H

#include "base/vec.h"
#include "block/parquet_priv.h"

struct leaf_writer {
    const struct parquet_node *node;
    uint32_t node_index;
    uint8_t rep_max, def_max;
};

/* A bound: numbers in PLAIN form here, byte arrays where the column has them. */
struct bound {
    uint8_t fixed[8];
    struct slice bytes;
};

struct bounds {
    bool any;   /* there is a value */
    bool loose; /* NaN was among them: the bounds are infinite, and no statistics are told */
    struct bound min, max;
};

struct page_info {
    uint64_t offset;
    uint32_t bytes; /* with header */
    uint32_t rows;
    uint32_t entries;
    uint32_t values;
    struct bounds bounds;
};

struct chunk_info {
    enum parquet_encoding encoding; /* of the data pages */
    enum page_type page_type;       /* of them: PAGE_DATA or PAGE_DATA_V2 */
    uint64_t dict_offset;           /* 0: none */
    uint64_t data_offset;
    uint64_t stored_bytes;
    uint64_t plain_bytes; /* headers included */
    int64_t entries;
    int64_t null_count;
    uint32_t pages;
    bool has_bounds;
    size_t bounds_at; /* in the row group's bounds: min, then max */
    uint32_t min_bytes, max_bytes;
    uint32_t column_index_bytes, offset_index_bytes;
};

/* The last page without a value. Most columns of a block are empty, and what such a page holds
 * follows from its levels, so the next column with the same ones gets the same bytes. */
struct empty_page {
    const struct column *column; /* NULL: none */
    uint32_t entry, entries;
    enum parquet_encoding encoding;
    enum parquet_codec codec;
    enum page_type page_type;
    size_t plain_bytes; /* header included */
};

/* A row group's record in the stream of chunks: this, its chunks, their bounds. */
struct row_group_info {
    uint64_t offset;
    int64_t rows;
    size_t bounds_bytes;
};

struct parquet_writer {
    struct parquet_writer_opts opts;
    struct leaf_writer *leaves;
    uint32_t leaf_count;
    uint32_t *parents; /* of each node, for paths */
    uint64_t offset;   /* in the file, of what is appended next */
    uint32_t row_groups;
    int64_t rows;
    struct buf stream[PARQUET_STREAMS]; /* of row groups that are written, what is not shelved */
    uint64_t stream_bytes[2];           /* of all page indexes, by stream */
    /* Of the row group that is being written, or told of. */
    VEC(struct chunk_info) chunks;
    struct buf bounds;
    /* Of the chunk that is being written; kept for the next. */
    VEC(struct page_info) pages;
    VEC(struct slice) slices;
    VEC(int32_t) lengths;
    VEC(uint8_t) seen; /* entries of the dictionary that stand in the page; all 0 between pages */
    struct buf body, plain, header;
    struct compressor compressor;
    struct empty_page empty; /* of the row group that is being written */
    struct buf empty_bytes;
};

/* ---- parquet_bounds.c ---- */

/* Bounds of values [first, first + count). The writer lends its marks for dictionaries. */
struct bounds bounds_of(const struct parquet_node *node, const struct column *c, uint32_t first,
                        uint32_t count, uint8_t *seen);
void bounds_add(const struct parquet_node *node, struct bounds *to, const struct bounds *from);
struct slice bound_view(const struct parquet_node *node, const struct bound *b);
/* In the column's order. */
int bound_cmp(const struct parquet_node *node, struct slice a, struct slice b);
/* Cut to LIMIT_PARQUET_INDEX_BOUND_BYTES; a maximum is raised so that it stays one, for which it
 * may need the room given. */
struct slice bound_cut_min(const struct parquet_node *node, struct slice min);
struct slice bound_cut_max(const struct parquet_node *node, struct slice max, uint8_t room[16]);

/* ---- parquet_write_meta.c ---- */

/* Append the indexes of the chunk of w->pages and note their lengths. */
int chunk_indexes_write(struct parquet_writer *w, const struct leaf_writer *leaf,
                        struct chunk_info *chunk);
/* The row group of w->chunks is written: its record goes to the stream, and streams that have
 * become long to the shelf. */
int row_group_keep(struct parquet_writer *w, struct row_group_info info, struct err *err);
/* Append the page indexes of all chunks; FileMetaData. */
int indexes_write(struct parquet_writer *w, enum parquet_stream stream, struct buf *out,
                  struct err *err);
int footer_write(struct parquet_writer *w, struct buf *out, struct err *err);

/* ---- parquet_write.c ---- */

/* Appends, or drains: counts the bytes. */
int parquet_put(struct parquet_writer *w, struct buf *out, struct slice bytes, struct err *err);
int parquet_no_room(struct err *err, int rc);

#endif
