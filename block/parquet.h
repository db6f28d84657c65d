/* Parquet: columns to bytes and back. No I/O: the writer appends to a buffer, the reader is given
 * the bytes it asks for. Knows nothing of spans. Format: the public Parquet specification
 * (parquet-format 2.10) and, where Tempo's reader is particular, docs/formats/block.md. */
#ifndef BLOCK_PARQUET_H
#define BLOCK_PARQUET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/column.h"
#include "base/err.h"
#include "base/slice.h"

enum parquet_repetition { PARQUET_REQUIRED, PARQUET_OPTIONAL, PARQUET_REPEATED };
enum parquet_type { /* wire numbers */
    PARQUET_BOOLEAN = 0,
    PARQUET_INT32 = 1,
    PARQUET_INT64 = 2,
    PARQUET_DOUBLE = 5,
    PARQUET_BYTE_ARRAY = 6,
    PARQUET_GROUP = -1,
};
enum parquet_logical { PARQUET_NONE, PARQUET_STRING, PARQUET_MAP, PARQUET_LIST,
                       PARQUET_SIGNED, PARQUET_UNSIGNED }; /* INTEGER of the physical width */
enum parquet_encoding { /* wire numbers */
    PARQUET_PLAIN = 0,
    PARQUET_PLAIN_DICTIONARY = 2,
    PARQUET_RLE = 3,
    PARQUET_BIT_PACKED = 4,
    PARQUET_DELTA_BINARY_PACKED = 5,
    PARQUET_DELTA_LENGTH_BYTE_ARRAY = 6,
    PARQUET_DELTA_BYTE_ARRAY = 7,
    PARQUET_RLE_DICTIONARY = 8,
    PARQUET_BYTE_STREAM_SPLIT = 9,
};
enum parquet_codec { /* wire numbers */
    PARQUET_UNCOMPRESSED = 0,
    PARQUET_SNAPPY = 1,
    PARQUET_GZIP = 2,
    PARQUET_ZSTD = 6,
    PARQUET_LZ4_RAW = 7,
};

/* A schema, depth first; the root is element 0. The writer keeps the pointer and the names. */
struct parquet_node {
    const char *name;
    uint8_t repetition; /* of the root: ignored */
    int8_t type;        /* enum parquet_type; PARQUET_GROUP for groups */
    uint8_t logical;
    uint16_t children;  /* groups */
    uint8_t encoding;   /* leaves, for the writer: data page encoding */
    uint8_t codec;      /* leaves, for the writer */
};

/* ---- writing ---- */

struct parquet_writer;

/* Where a writer puts what the file has to tell of its row groups, at its end, once that is more
 * than a few megabytes: three streams of pieces, each read back once, from its first piece on. */
enum parquet_stream { PARQUET_COLUMN_INDEXES, PARQUET_OFFSET_INDEXES, PARQUET_CHUNKS,
                      PARQUET_STREAMS };
struct parquet_shelf {
    void *ctx;
    int (*put)(void *ctx, enum parquet_stream stream, struct slice piece, struct err *err);
    /* Replaces out: 0 the stream's next piece, 1 there is none left. */
    int (*get)(void *ctx, enum parquet_stream stream, struct buf *out, struct err *err);
};

struct parquet_writer_opts {
    const struct parquet_node *schema;
    size_t node_count;
    const char *created_by;
    size_t page_bytes; /* a page is cut after the row that passes it; 0: 256901 */
    /* Takes what is in out and empties it, now and then; NULL: the caller does, between calls. */
    int (*drain)(void *ctx, struct buf *out, struct err *err);
    void *drain_ctx;
    const struct parquet_shelf *shelf; /* outlives the writer; NULL: all is kept in memory */
    size_t shelf_bytes; /* what is put there at once, about; 0: 4 MiB */
};

int parquet_writer_new(const struct parquet_writer_opts *opts, struct parquet_writer **out,
                       struct err *err);
void parquet_writer_free(struct parquet_writer *w);
/* Appends a row group of one row or more: one column per leaf, in schema order, all with the same number of rows.
 * A chunk of a leaf with encoding RLE_DICTIONARY is PLAIN where the column has no dictionary, or one
 * that does not pay. The first call also appends the leading magic. Bytes appended before may be
 * drained from out between calls: offsets are counted by the writer. After a failure out ends anywhere and the writer can only be freed.
 * ERR_LIMIT: a page passes 2^30 bytes, or out its maximum; ERR_NOMEM. */
int parquet_writer_row_group(struct parquet_writer *w, const struct column *columns,
                             struct buf *out, struct err *err);
/* Appends page indexes, footer, length and magic. ERR_LIMIT: the footer passes 2 GiB. */
int parquet_writer_finish(struct parquet_writer *w, struct buf *out, uint32_t *footer_bytes,
                          struct err *err);
uint64_t parquet_writer_bytes(const struct parquet_writer *w); /* appended so far */
uint32_t parquet_writer_row_groups(const struct parquet_writer *w);

/* ---- reading ---- */

struct parquet_leaf {
    struct slice path; /* names joined with '.', without the root: "rs.list.element…" */
    enum parquet_type type;
    uint8_t logical;   /* enum parquet_logical; NONE where there is neither annotation */
    uint8_t repetition;
    uint8_t rep_max;
    uint8_t def_max;
};

struct parquet_chunk {
    uint64_t offset; /* of the dictionary page, or the first data page, in the file */
    uint64_t bytes;  /* dictionary and data pages with their headers */
    uint64_t data_offset;   /* of the first data page */
    bool has_dict;
    enum parquet_codec codec;
    int64_t num_values;     /* level entries */
    int64_t null_count;     /* -1: not told */
    bool has_min, has_max;
    struct slice min, max;  /* PLAIN form, byte arrays without length */
    uint64_t column_index_offset, offset_index_offset; /* 0: none */
    uint32_t column_index_bytes, offset_index_bytes;
};

struct parquet_row_group {
    int64_t rows;
    struct parquet_chunk *chunks; /* leaf_count */
};

struct parquet_file {
    uint64_t file_bytes;
    int64_t rows;
    struct slice created_by;
    struct parquet_leaf *leaves;
    uint32_t leaf_count;
    struct parquet_row_group *row_groups;
    uint32_t row_group_count;
};

/* The last 8 bytes of a file: length of the footer that stands before them. ERR_CORRUPT. */
int parquet_tail_decode(struct slice tail, uint64_t file_bytes, uint32_t *footer_bytes,
                        struct err *err);
/* The footer (thrift FileMetaData). Everything is checked: offsets and lengths lie inside the file,
 * each row group has one chunk a leaf, types and levels are possible. Lives in the arena; slices
 * are copied. */
int parquet_footer_decode(struct slice footer, uint64_t file_bytes, struct arena *a,
                          struct parquet_file **out, struct err *err);

/* The same a row group at a time, for who goes through a large file from its beginning to its end:
 * footers grow with their files. begin takes the first bytes of a footer: out is the file without
 * its row groups (row_groups NULL, row_group_count told), at where the first stands in the footer.
 * row_group takes the bytes from the next one on, and says how many it takes. Both say ERR_CORRUPT
 * where the bytes end too early, so with more of them the answer may be another. Nothing checks
 * that the row groups have as many rows as the file says, nor what follows the last. */
int parquet_footer_begin(struct slice bytes, uint64_t file_bytes, struct arena *a,
                         struct parquet_file **out, size_t *at, struct err *err);
int parquet_footer_row_group(const struct parquet_file *f, struct slice bytes, struct arena *a,
                             struct parquet_row_group *out, size_t *taken, struct err *err);

/* Leaf of that path, or -1. */
int parquet_leaf_find(const struct parquet_file *f, struct slice path);

/* A whole chunk (bytes [chunk.offset, +chunk.bytes) of the file) to a column in the arena. Slices
 * in the column point into bytes where the page is stored uncompressed, else into the arena: bytes
 * must outlive the column. */
int parquet_chunk_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                         struct slice bytes, struct arena *a, struct column *out, struct err *err);

/* Only the dictionary of a chunk, from its dictionary page: bytes [chunk.offset, chunk.data_offset)
 * of the file. out has no rows. */
int parquet_dictionary_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                              struct slice bytes, struct arena *a, struct column *out,
                              struct err *err);

/* A chunk that is read from its first row on, some rows at a time: memory for those rows and a page
 * more, whatever the chunk's size. One thread at a time. */
struct parquet_reader;

/* bytes is the whole chunk and must outlive the reader, as must the arena, which gets the
 * dictionary, the list of pages and the arrays of rows. Pages whose strings are in use take at most
 * pages_bytes_max. */
int parquet_reader_new(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                       struct slice bytes, size_t pages_bytes_max, struct arena *a,
                       struct parquet_reader **out, struct err *err);
void parquet_reader_free(struct parquet_reader *r); /* NULL is fine */
/* Rows [first, first + count), which must not begin before the end of those taken last: pages in
 * between are not decoded. Good until the next call; the dictionary is the same one each time. */
int parquet_reader_take(struct parquet_reader *r, int64_t first, int64_t count, struct column *out,
                        struct err *err);
/* Data pages so far: decoded, and in the chunk. */
uint32_t parquet_reader_decoded(const struct parquet_reader *r);
uint32_t parquet_reader_pages(const struct parquet_reader *r);
/* The dictionary: has_dict false when some page makes no use of it. No rows. */
void parquet_reader_dictionary(const struct parquet_reader *r, struct column *out);

struct parquet_page_location {
    uint64_t offset;    /* in the file, of the page header */
    uint32_t bytes;     /* header included */
    int64_t first_row;  /* in the row group */
};

/* An OffsetIndex. Checked: ascending, inside the chunk. */
int parquet_offset_index_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                struct slice bytes, struct arena *a,
                                struct parquet_page_location **out, uint32_t *count,
                                struct err *err);

/* Which bytes of the file hold rows [row_first, row_first + row_count) of a row group of rows rows,
 * by the locations of a chunk's pages. ERR_INVALID when the rows are not in the row group. */
struct parquet_page_span {
    uint64_t offset;
    uint64_t bytes;
    int64_t first_row; /* of the first page: pages_first_row of parquet_rows_decode */
    uint32_t page_first, page_count;
};
int parquet_page_span(const struct parquet_page_location *pages, uint32_t count, int64_t rows,
                      int64_t row_first, int64_t row_count, struct parquet_page_span *out,
                      struct err *err);

/* A ColumnIndex: what each data page of a chunk can hold, for skipping. Bounds are in PLAIN form
 * (byte arrays without length) and may be cut: min is at most, max at least what the page holds,
 * in the column's order (byte arrays and PARQUET_UNSIGNED compare unsigned). One exception: Tempo
 * leaves a cut maximum of sixteen bytes ff as it is, though longer values may follow it. Lives in
 * the arena. */
enum parquet_order { PARQUET_UNORDERED, PARQUET_ASCENDING, PARQUET_DESCENDING }; /* wire numbers */

struct parquet_column_index {
    uint32_t count; /* pages */
    enum parquet_order order;
    bool *null_pages; /* pages without a value: their bounds mean nothing */
    struct slice *min, *max;
    int64_t *null_counts; /* NULL: not told */
};

int parquet_column_index_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                struct slice bytes, struct arena *a,
                                struct parquet_column_index *out, struct err *err);

/* Rows [row_first, row_first + row_count) of a chunk from the pages that hold them: dict_page is
 * the dictionary page (empty when the chunk has none), pages one or more whole data pages in a row
 * of which the first starts at row pages_first_row. */
int parquet_rows_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                        struct slice dict_page, struct slice pages, int64_t pages_first_row,
                        int64_t row_first, int64_t row_count, struct arena *a, struct column *out,
                        struct err *err);

#endif
