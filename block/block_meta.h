/* meta.json: what a block is. */
#ifndef BLOCK_BLOCK_META_H
#define BLOCK_BLOCK_META_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum block_scope { BLOCK_SCOPE_SPAN, BLOCK_SCOPE_RESOURCE, BLOCK_SCOPE_EVENT };
enum block_dedicated_type { BLOCK_DEDICATED_STRING, BLOCK_DEDICATED_INT };

struct block_dedicated {
    uint8_t scope; /* enum block_scope */
    uint8_t type;  /* enum block_dedicated_type */
    bool is_array, is_blob; /* options of vParquet5 */
    struct slice name;
};

enum block_version { BLOCK_VPARQUET3 = 3, BLOCK_VPARQUET4 = 4, BLOCK_VPARQUET5 = 5 };

struct block_meta {
    enum block_version version;
    uint8_t id[16];
    struct slice tenant;
    uint64_t start_unix_ns, end_unix_ns; /* 0: the zero time */
    int64_t total_objects;
    uint64_t size;          /* of data.parquet */
    uint32_t compaction_level;
    uint32_t total_records; /* row groups */
    uint32_t bloom_shards;  /* as stored; 0 means 10 */
    uint32_t footer_size;   /* 0: not told */
    uint32_t replication_factor;
    const struct block_dedicated *dedicated;
    size_t dedicated_count;
};

/* Strings and lists live in the arena. ERR_CORRUPT with what is wrong; ERR_UNSUPPORTED for a
 * format other than vParquet3, 4, 5. Unknown keys are skipped. */
int block_meta_parse(struct slice json, struct arena *a, struct block_meta *out, struct err *err);
/* As Tempo 2.7 writes it: start floored, end ceiled to whole seconds. */
int block_meta_write(const struct block_meta *m, struct buf *out, struct err *err);

/* `index`: {"rowGroups":["<base64 of the last trace id of each row group>", …]}. */
int block_index_write(const uint8_t (*last_ids)[16], size_t count, struct buf *out);
int block_index_parse(struct slice json, struct arena *a, uint8_t (**last_ids)[16], size_t *count,
                      struct err *err);

#endif
