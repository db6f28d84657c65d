/* Bloom filters over trace ids, sharded, as Tempo stores them (docs/formats/block.md, 3). */
#ifndef BLOCK_BLOOM_H
#define BLOCK_BLOOM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct bloom; /* all shards of one block, for writing */

/* For count ids at false_positive (0.01) and shard_bytes (102400). */
int bloom_new(uint64_t count, double false_positive, uint32_t shard_bytes, struct bloom **out,
              struct err *err);
void bloom_free(struct bloom *b);
void bloom_add(struct bloom *b, const uint8_t id[16]);
uint32_t bloom_shards(const struct bloom *b);
int bloom_write(const struct bloom *b, uint32_t shard, struct buf *out);

/* Shard of an id; shard_count 0 means 10. */
uint32_t bloom_shard_of(const uint8_t id[16], uint32_t shard_count);
/* Tests an id against the bytes of its shard: 1 perhaps there, 0 surely not, ERR_CORRUPT. */
int bloom_test(struct slice shard, const uint8_t id[16], struct err *err);

#endif
