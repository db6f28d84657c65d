/* Parts of meta.json that stand in the tenant index too. */
#ifndef BLOCK_BLOCK_META_PRIV_H
#define BLOCK_BLOCK_META_PRIV_H

#include "block/block_meta.h"

/* "vParquet4". ERR_UNSUPPORTED for a format that is not read here. */
int block_version_parse(struct slice text, enum block_version *out, struct err *err);

/* The list of dedicatedColumns: [{"s":"resource","n":"host.name"}, …]. */
int block_dedicated_parse(struct slice json, struct arena *a, const struct block_dedicated **out,
                          size_t *count, struct err *err);
int block_dedicated_write(const struct block_dedicated *list, size_t count, struct buf *out);

/* The end of a block's time as it is written: up to the next whole second, or down where that would
 * pass the end of time. */
uint64_t block_meta_end_s(uint64_t unix_ns);

#endif
