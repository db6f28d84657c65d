/* Limits of the compactor that are not configuration. */
#ifndef COMPACT_COMPACT_LIMITS_H
#define COMPACT_COMPACT_LIMITS_H

#include "base/clock.h"

/* A block that cannot be merged is left alone so long. */
#define LIMIT_HELD_NS (3600 * NS_PER_S)
/* Such blocks that are remembered. Hit: the oldest may be tried again at once. */
#define LIMIT_HELD_BLOCKS 10000

/* Time for one merge: this, and one second for so many bytes of its inputs. Hit: the plan is given
 * up and taken up again later. */
#define MERGE_TIMEOUT_NS (600 * NS_PER_S)
#define MERGE_BYTES_PER_S ((uint64_t)1 << 20)

/* A directory without a meta is deleted when nothing in it is younger than this, by the store's
 * clock: longer than any block takes to be written. */
#define ORPHAN_AGE_NS (24 * 3600 * NS_PER_S)

/* An end time so far behind its block's own age is taken for a wrong clock's, not for a reason to
 * keep the block. */
#define FUTURE_END_NS (24 * 3600 * NS_PER_S)

/* What one tenant's lists may take. Hit: ERR_LIMIT, the tenant is left alone. */
#define LIMIT_COMPACT_ARENA_BYTES ((size_t)1 << 30)

#endif
