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
    struct arena *a;
    struct buf scratch; /* a decompressed page of numbers; the owner clears both */
    struct buf indices;
    struct dictionary dict;
    struct err *err;
};

enum column_type parquet_column_type(enum parquet_type type);
int dictionary_decode(struct values_reader *v, const struct page *p);
/* Makes room for column->values values and fills it; sets has_dict when all pages are made of
 * indices. */
int values_decode(struct values_reader *v, const struct page *pages, uint32_t count,
                  struct column *column);

#endif
