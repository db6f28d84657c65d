/* The end of blocks: marked as compacted in Tempo's way, and later deleted; and what is left of
 * blocks that were never finished. */
#ifndef CATALOG_CATALOG_RETIRE_H
#define CATALOG_CATALOG_RETIRE_H

#include "catalog/catalog.h"

/* A directory of a tenant that is no live block, as of the last full listing and what this process
 * has marked since. */
struct catalog_dead {
    uint8_t id[16];
    bool compacted;              /* else an orphan: neither meta.json nor meta.compacted.json */
    bool in_use;                 /* a build or a plan is about to make it, or may need it */
    uint64_t modified_unix_ns;   /* by the store's clock: of meta.compacted.json; newest object */
    struct catalog_block *block; /* one reference, where its meta is known; else NULL */
};

/* Copies into the arena; each block must be released. */
int catalog_dead_list(struct catalog *c, struct slice tenant, struct arena *a,
                      struct catalog_dead **list, size_t *count, struct err *err);
/* Reads the metas of compacted blocks that are not known yet, for the tenant index. */
int catalog_dead_load(struct catalog *c, struct slice tenant, uint64_t deadline_mono_ns,
                      struct err *err);

/* Writes meta.compacted.json, deletes meta.json, and takes the block out of views. Not being there
 * is success. */
int catalog_mark_compacted(struct catalog *c, struct slice tenant, const uint8_t id[16],
                           uint64_t deadline_mono_ns, struct err *err);

/* Deletes a dead block's objects, its meta.compacted.json last, when the store still shows it dead
 * and it was marked (orphans: touched) before that time. *done: whether it was. */
int catalog_clear_block(struct catalog *c, struct slice tenant, const struct catalog_dead *dead,
                        uint64_t before_unix_ns, uint64_t deadline_mono_ns, bool *done,
                        struct err *err);

/* The time by the store's clock: of an object that this writes. */
int catalog_store_time(struct catalog *c, uint64_t deadline_mono_ns, uint64_t *unix_ns,
                       struct err *err);

/* How many full listings have been done. */
uint64_t catalog_full_listings(struct catalog *c);

#endif
