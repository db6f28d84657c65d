/* A tenant's spans that are not in blocks yet, as the same columns that a block would have, so that
 * one engine answers for both. Built when asked for, kept until the segments change. */
#ifndef CATALOG_LIVE_H
#define CATALOG_LIVE_H

#include <stdatomic.h>

#include "base/column.h"
#include "block/span.h"
#include "catalog/catalog.h"

struct live; /* one tenant's columns; counted, read-only */
struct live_cache;

int live_cache_new(struct catalog *c, const struct clock *clock, struct live_cache **out,
                   struct err *err);
void live_cache_free(struct live_cache *lc); /* NULL is fine */

/* Columns for exactly the sections of the view. One reference in *out; NULL when there are none.
 * Threads that ask for one tenant at once wait for one of them to build. */
int live_cache_get(struct live_cache *lc, struct slice tenant, const struct catalog_view *view,
                   uint64_t deadline_mono_ns, struct live **out, struct err *err);
struct live *live_release(struct live *l); /* NULL */

const struct column *live_columns(const struct live *l); /* BLOCK_LEAVES */
uint32_t live_rows(const struct live *l);
uint64_t live_bytes(const struct live *l); /* raw bytes behind it */

/* Appends the spans of one trace from the view's sections to out, reading only sections that may
 * hold it. Strings point into *raws, references that the caller releases (count in *raw_count,
 * array in the arena). */
int live_find_trace(struct catalog *c, const struct catalog_view *view, const uint8_t id[16],
                    uint64_t deadline_mono_ns, struct arena *a, struct span_batch *out,
                    struct shared_bytes ***raws, size_t *raw_count, struct err *err);

#endif
