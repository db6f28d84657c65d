/* Decoded footers of blocks, kept while they are used: a block never changes. */
#ifndef WORKER_FOOTER_CACHE_H
#define WORKER_FOOTER_CACHE_H

#include "block/block_schema.h"
#include "catalog/block_store.h"

/* One block's footer; counted, read-only. */
struct footer {
    uint8_t block_id[16];
    struct arena *arena;
    struct parquet_file *file;
    int leaf_of[BLOCK_LEAVES]; /* our leaf -> the file's, or -1 */
    size_t bytes;
    /* the cache's */
    unsigned refs;
    struct footer *newer, *older;
    bool cached;
};

struct footer_cache;

int footer_cache_new(size_t bytes_max, struct footer_cache **out, struct err *err);
void footer_cache_free(struct footer_cache *c);

/* From the cache, or the store. One reference. */
int footer_cache_get(struct footer_cache *c, struct objstore *store, const struct block_meta *meta,
                     uint64_t deadline_mono_ns, struct footer **out, struct err *err);
void footer_cache_put(struct footer_cache *c, struct footer *f); /* gives the reference back */

#endif
