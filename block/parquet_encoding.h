/* Parquet's encodings, between bytes and plain arrays. Decoders take foreign bytes: they check all
 * of them and fail with ERR_CORRUPT and a text that the caller completes with the page it was. All
 * counts are the caller's, who has checked them against its limits; nothing here allocates by a
 * number read.
 *
 * The loops take plain arguments and work on groups of eight values (w bytes at bit width w), so
 * that other instruction sets can stand in for them. */
#ifndef BLOCK_PARQUET_ENCODING_H
#define BLOCK_PARQUET_ENCODING_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"

/* Bits that hold any number up to max. */
static inline unsigned bit_width(uint32_t max)
{
    return max ? 32 - (unsigned)__builtin_clz(max) : 0;
}

/* ---- parquet_bits.c: groups of eight values, least significant bit first ---- */

/* Bytes that may be written past the end of what is packed. */
#define BITS_SLACK 8

/* 8 * groups values of width bits each (1..32), width * groups bytes plus BITS_SLACK. Bits above
 * the width must be clear. */
void bits_pack32(const uint32_t *in, size_t groups, unsigned width, uint8_t *out);
/* Reads width * groups bytes (width 0..32), no more. */
void bits_unpack32(const uint8_t *in, size_t groups, unsigned width, uint32_t *out);
/* The same for bytes, widths 1..7. */
void bits_pack8(const uint8_t *in, size_t groups, unsigned width, uint8_t *out);
void bits_unpack8(const uint8_t *in, size_t groups, unsigned width, uint8_t *out);
/* The same for widths up to 64. */
void bits_pack64(const uint64_t *in, size_t groups, unsigned width, uint8_t *out);
void bits_unpack64(const uint8_t *in, size_t groups, unsigned width, uint64_t *out);

/* Bytes equal to v among count bytes below 128. */
size_t bytes_count(const uint8_t *p, size_t count, uint8_t v);
/* Where the n-th (from 1) byte equal to v is; count when there are fewer. */
size_t bytes_find(const uint8_t *p, size_t count, uint8_t v, size_t n);

/* ---- parquet_hybrid.c: runs and bit-packed groups ---- */

/* Levels: width 1..7. Runs of eight and more become RLE, the rest is bit-packed. */
int hybrid_encode_levels(const uint8_t *levels, size_t count, unsigned width, struct buf *out);
int hybrid_encode_indices(const uint32_t *indices, size_t count, unsigned width, struct buf *out);
/* Whether in holds count values (and, if asked, nothing else), found by its run headers alone: the
 * check before room is made for them. */
int hybrid_check(struct slice in, unsigned width, size_t count, bool whole, struct err *err);
/* Each level is at most max. */
int hybrid_decode_levels(struct slice in, unsigned width, uint8_t max, uint8_t *out, size_t count,
                         struct err *err);
/* Each index is below limit (at most 2^31). */
int hybrid_decode_indices(struct slice in, unsigned width, uint32_t limit, uint32_t *out,
                          size_t count, struct err *err);

/* ---- parquet_delta.c: DELTA_BINARY_PACKED and what is built on it ---- */

/* Blocks of 128 values in 4 miniblocks, as Tempo writes. */
int delta_encode_i32(const int32_t *values, size_t count, struct buf *out);
int delta_encode_i64(const int64_t *values, size_t count, struct buf *out);
/* Whether the header at the cursor announces count values, and as many bytes as those take at
 * least follow. Does not move the cursor. */
int delta_check(const struct cursor *c, size_t count, struct err *err);
/* Leaves the cursor after the last miniblock in use. */
int delta_decode_i32(struct cursor *c, int32_t *out, size_t count, struct err *err);
int delta_decode_i64(struct cursor *c, int64_t *out, size_t count, struct err *err);

/* DELTA_LENGTH_BYTE_ARRAY. lengths is scratch of count numbers. */
int delta_length_encode(const struct slice *values, size_t count, int32_t *lengths, struct buf *out,
                        struct err *err);
/* Slices into in. */
int delta_length_decode(struct slice in, struct slice *out, size_t count, struct err *err);
/* DELTA_BYTE_ARRAY. Values are put together in the arena. */
int delta_bytes_decode(struct slice in, struct slice *out, size_t count, struct arena *a,
                       struct err *err);

/* ---- parquet_encoding.c: PLAIN, BYTE_STREAM_SPLIT ---- */

int plain_encode_fixed(const void *values, size_t count, size_t size, struct buf *out);
int plain_encode_bools(const uint8_t *values, size_t count, struct buf *out);
int plain_encode_bytes(const struct slice *values, size_t count, struct buf *out, struct err *err);
int plain_decode_fixed(struct slice in, void *out, size_t count, size_t size, struct err *err);
int plain_decode_bools(struct slice in, uint8_t *out, size_t count, struct err *err);
/* Slices into in. */
int plain_decode_bytes(struct slice in, struct slice *out, size_t count, struct err *err);
int split_decode(struct slice in, void *out, size_t count, size_t size, struct err *err);

#endif
