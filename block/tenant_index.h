/* The tenant index: all metas of a tenant in one object, so that a poller need not list.
 *
 * Two objects say the same thing, index.pb.zst (protobuf in zstd, preferred) and index.json.gz
 * (JSON in gzip); writers write both, the first one first. Bytes in, bytes out: no I/O here.
 * Format: docs/formats/block.md, 1. */
#ifndef BLOCK_TENANT_INDEX_H
#define BLOCK_TENANT_INDEX_H

#include "block/block_meta.h"

#define TENANT_INDEX_PB "index.pb.zst"
#define TENANT_INDEX_JSON "index.json.gz"

struct tenant_index_compacted {
    struct block_meta meta;
    uint64_t compacted_unix_ns; /* when it was marked */
};

struct tenant_index {
    uint64_t created_unix_ns;
    struct block_meta *live;
    size_t live_count;
    struct tenant_index_compacted *compacted;
    size_t compacted_count;
    size_t skipped; /* read: entries of formats that are not read here, left out */
};

/* Strings and lists live in the arena, whose limit bounds them. ERR_CORRUPT with what is wrong and
 * where; ERR_LIMIT: more bytes or blocks than are taken. */
int tenant_index_read_pb(struct slice zstd, struct arena *a, struct tenant_index *out,
                         struct err *err);
int tenant_index_read_json(struct slice gzip, struct arena *a, struct tenant_index *out,
                           struct err *err);

/* Appends. Times of blocks as in their meta.json, start floored and end ceiled to seconds; entries
 * in the order given (Tempo sorts by start). */
int tenant_index_write_pb(const struct tenant_index *index, struct buf *out, struct err *err);
int tenant_index_write_json(const struct tenant_index *index, struct buf *out, struct err *err);

#endif
