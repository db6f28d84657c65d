/* Limits of the room: what each bounds, why this number, what the caller sees. */
#ifndef BLOCK_BLOCK_LIMITS_H
#define BLOCK_BLOCK_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* Nesting of thrift values that are skipped; each level costs one stack frame. What we know of the
 * format nests five deep. Hit: ERR_CORRUPT. */
#define LIMIT_THRIFT_DEPTH 16

/* Nesting of the schema. vParquet4 is 16 deep. Levels are kept in bytes and unpacked under the
 * assumption that their eighth bit is clear. Hit: ERR_LIMIT for the file. */
#define LIMIT_PARQUET_DEPTH 64

/* Leaves of a file: vParquet4 has 103, vParquet5 some 150. Hit: ERR_LIMIT for the file. */
#define LIMIT_PARQUET_LEAVES 4096

/* Length of a leaf's path, joined with dots. A group's name stands in the path of every leaf below
 * it, so without a limit a small footer makes large paths. Hit: ERR_LIMIT for the file. */
#define LIMIT_PARQUET_PATH_BYTES 2048

/* Level entries of a chunk. A run can claim 2^31 of them in five bytes; two bytes of levels are
 * held for each. Row groups of Tempo and of ours have a few million. Hit: ERR_LIMIT for the chunk.
 */
#define LIMIT_PARQUET_CHUNK_ENTRIES (UINT32_C(1) << 28)

/* Pages of a chunk: with more, a page holds a few hundred entries, which nobody writes. Hit:
 * ERR_LIMIT for the chunk. */
#define LIMIT_PARQUET_CHUNK_PAGES (UINT32_C(1) << 20)

/* Bytes of a value that the writer keeps as a bound in chunk statistics, which stand in the footer
 * that every reader fetches whole. Hit: the chunk is written without bounds. */
#define LIMIT_PARQUET_STATISTICS_BYTES 1024

/* Bytes of a bound in the column index, as Tempo cuts them. Hit: the bound is cut, a maximum is
 * raised so that it stays a bound. */
#define LIMIT_PARQUET_INDEX_BOUND_BYTES 16

static_assert(LIMIT_PARQUET_DEPTH < 128, "levels are unpacked with the eighth bit clear");
static_assert(LIMIT_PARQUET_CHUNK_ENTRIES < UINT32_MAX / 8, "entry counts are 32-bit");

#endif
