/* Which blocks of a tenant become one: a pure function of their metas and the time.
 *
 * Blocks are grouped by the window that their end time falls in. While a window is open, that is,
 * while blocks may still come, a group is one level, and inputs_max blocks must be there: a merge
 * that would soon be done again waits. Once it is closed its blocks of all levels are one group,
 * and inputs_min are enough. Lower levels come first, then newer windows, closed ones last.
 *
 * Within a group only blocks of one version, one replication factor and the same dedicated columns
 * go together, smallest first: at most inputs_max, or COMPACT_SMALL_INPUTS_MAX while they are no
 * more than COMPACT_SMALL_BYTES together, since what a builder writes every half minute is small.
 * Beyond that a block joins only when those before it are together at least a quarter of its size,
 * so that a late span does not have a large block written again. */
#ifndef COMPACT_COMPACT_SELECT_H
#define COMPACT_COMPACT_SELECT_H

#include "base/arena.h"
#include "catalog/catalog.h"

#define COMPACT_SMALL_BYTES ((uint64_t)64 << 20)
#define COMPACT_SMALL_INPUTS_MAX 32

struct compact_rules {
    uint64_t now_unix_ns;
    uint64_t window_ns;
    uint64_t objects_max, bytes_max; /* of all inputs of a merge */
    uint32_t inputs_min, inputs_max; /* at least 2; inputs_max <= COMPACT_SMALL_INPUTS_MAX */
};

struct compact_item {
    struct catalog_block *block;
    uint64_t window;
    bool closed;
    uint32_t level; /* 0 in closed windows */
};

struct compact_select {
    struct compact_rules rules;
    struct compact_item *items;
    size_t count, at;
};

/* The blocks are the caller's; the list of them is in the arena. */
int compact_select_init(struct compact_select *s, const struct compact_rules *rules,
                        struct catalog_block *const *blocks, size_t count, struct arena *a,
                        struct err *err);
/* The next merge, most urgent first: items[*first] to items[*first + *n - 1]. False: no more. */
bool compact_select_next(struct compact_select *s, size_t *first, size_t *n);

/* When a block of that end time is closed for good. */
bool compact_window_closed(const struct compact_rules *rules, uint64_t window);

#endif
