/* What the Parquet files of this room share with one another and with their tests. */
#ifndef BLOCK_PARQUET_PRIV_H
#define BLOCK_PARQUET_PRIV_H

#include "block/parquet.h"
#include "block/thrift.h"

#define PARQUET_MAGIC "PAR1"
#define PARQUET_TAIL_BYTES 8

/* ---- parquet_codec.c ---- */

bool parquet_codec_known(int64_t codec);
/* Whether in_bytes can decompress to out_bytes at all. */
bool parquet_codec_plausible(enum parquet_codec codec, size_t in_bytes, size_t out_bytes);
/* To out_bytes bytes exactly. What zstd keeps from page to page stays with the arena. ERR_CORRUPT.
 */
int parquet_decompress(enum parquet_codec codec, struct slice in, struct arena *a, uint8_t *out,
                       size_t out_bytes, struct err *err);
/* What zstd keeps from page to page, made when it is first asked for. Starts as {0}. */
struct compressor {
    struct ZSTD_CCtx_s *zstd;
};
void compressor_clear(struct compressor *k);
/* Appends. */
int parquet_compress(struct compressor *k, enum parquet_codec codec, struct slice in,
                     struct buf *out, struct err *err);

/* ---- parquet_header.c: page headers ---- */

enum page_type { PAGE_DATA = 0, PAGE_INDEX = 1, PAGE_DICTIONARY = 2, PAGE_DATA_V2 = 3 };

struct page_header {
    int32_t type;                /* enum page_type; others are skipped */
    uint32_t uncompressed_bytes; /* of the body */
    uint32_t compressed_bytes;
    uint32_t crc;        /* 0: none */
    uint32_t num_values; /* level entries, or entries of a dictionary */
    uint32_t num_nulls;  /* v2; told, not checked */
    uint32_t num_rows;   /* v2; told, not checked */
    int32_t encoding;
    int32_t def_encoding; /* v1 */
    int32_t rep_encoding; /* v1 */
    uint32_t def_bytes;   /* v2 */
    uint32_t rep_bytes;   /* v2 */
    bool is_compressed;   /* v2 */
};

/* Moves the reader past the header. ERR_CORRUPT. */
int page_header_decode(struct thrift_reader *r, struct page_header *out);
int page_header_encode(const struct page_header *h, struct buf *out);

/* ---- parquet_footer.c ---- */

/* Whether a bound has the size of the type's PLAIN form (byte arrays: any). */
bool parquet_bound_fits(enum parquet_type type, struct slice bound);

/* ---- parquet_values.c: the values of pages, once their levels are known ---- */

struct page {
    struct page_header h;
    uint64_t offset;   /* of the header, for error texts */
    struct slice body; /* as stored */
    struct slice rep, def;
    struct slice stored; /* values; compressed or not */
    bool compressed;
    size_t plain_bytes;           /* of the values, decompressed */
    uint32_t value_first, values; /* in the column */
};

/* A decoded dictionary. */
struct dictionary {
    bool seen;
    uint32_t count;
    void *values; /* slices, or numbers of the column's type */
};

struct values_reader {
    enum column_type type;
    enum parquet_codec codec;
    struct arena *a;     /* of strings */
    struct arena *tools; /* of what decompression keeps */
    struct buf scratch; /* a decompressed page of numbers; the owner clears both */
    struct buf indices;
    struct dictionary dict;
    struct err *err;
};

/* Whether its values are indices into the dictionary. */
bool page_is_indices(const struct page *p);
/* The values of one page behind those that column->v holds already; has_dict, values and the room
 * for them are the caller's. */
int page_values_decode(struct values_reader *v, const struct page *p, struct column *column);

enum column_type parquet_column_type(enum parquet_type type);
int dictionary_decode(struct values_reader *v, const struct page *p);
/* Makes room for column->values values and fills it; sets has_dict when all pages are made of
 * indices. */
int values_decode(struct values_reader *v, const struct page *pages, uint32_t count,
                  struct column *column);

/* ---- parquet_page.c: a chunk's pages ---- */

struct chunk_reader {
    const struct parquet_leaf *leaf;
    const struct parquet_chunk *chunk;
    struct arena *a;
    struct err *err;
    struct page dict_page;
    bool has_dict_page;
    struct page *pages; /* data pages; NULL while they are counted */
    uint32_t page_count;
    uint64_t entries;
    struct values_reader values;
};

struct chunk_reader chunk_reader_of(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                    struct arena *a, struct err *err);
void chunk_reader_clear(struct chunk_reader *cr);
/* The pages in two pieces of the chunk; offsets are told from the bases on. */
int chunk_pages_find(struct chunk_reader *cr, struct slice dict, uint64_t dict_base,
                     struct slice data, uint64_t data_base);
int chunk_dict_open(struct chunk_reader *cr);
/* Checksum, and where levels and values are. */
int chunk_page_open(struct chunk_reader *cr, struct page *p);
/* The page's levels from entry on; its values follow those that out has. */
int chunk_page_levels(struct chunk_reader *cr, struct page *p, struct column *out, uint32_t entry);
/* Put the page, the column before the error's text; rc is handed through. */
int chunk_page_wrap(const struct chunk_reader *cr, const struct page *p, int rc);
int chunk_wrap(const struct chunk_reader *cr, int rc);
/* The entry at which the row `rows` rows behind the one at entry `from` starts, or the end. */
uint32_t column_row_entry(const struct column *c, uint32_t from, uint32_t rows);

#endif
