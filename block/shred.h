/* Spans to columns (Dremel shredding), for the block writer and for queries over spans that are not
 * in a block yet. Rules: docs/formats/block.md, 6 and 7. */
#ifndef BLOCK_SHRED_H
#define BLOCK_SHRED_H

#include "base/column.h"
#include "base/err.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "block/span.h"

struct shredder; /* growing columns, reused from block to block */

int shredder_new(struct shredder **out, struct err *err);
void shredder_free(struct shredder *s);
/* Empties. dedicated (may be NULL with count 0) is copied. */
int shredder_reset(struct shredder *s, const struct block_dedicated *dedicated, size_t count,
                   struct err *err);

/* What of a list of dedicated columns vParquet4 can hold, in order: strings of spans and resources
 * without options, ten of each, each name once and none that has a column of its own anyway. A meta
 * that lists others is not searched by Tempo 2.7. Returns how many; out has room for count and may
 * be list. */
size_t shred_dedicated(const struct block_dedicated *list, size_t count,
                       struct block_dedicated *out);

/* Adds one trace as one row, computing nested sets, root, service stats and times. All spans of
 * trace have the same trace id. Rows must come in ascending trace-id order (asserted). String bytes
 * are not copied: they must live until the columns have been used. STRING columns get valid UTF-8
 * (bad sequences become U+FFFD, copied into the shredder). */
int shredder_add(struct shredder *s, const struct trace *trace, struct err *err);

/* Names of a trace's root that were decided earlier, as in a block that is rewritten. */
struct shred_root {
    struct slice service, name;
};
/* The same with root names that are kept instead of computed; root NULL: computed. */
int shredder_add_rooted(struct shredder *s, const struct trace *trace,
                        const struct shred_root *root, struct err *err);

uint32_t shredder_rows(const struct shredder *s);
uint64_t shredder_spans(const struct shredder *s);
/* Rough encoded size so far, for cutting row groups. */
size_t shredder_bytes(const struct shredder *s);
/* Smallest span start and largest span end, unix ns; 0 and 0 when empty. */
void shredder_times(const struct shredder *s, uint64_t *start_ns, uint64_t *end_ns);
/* BLOCK_LEAVES columns, of which the first BLOCK_V4_LEAVES can have entries; good until the next
 * add, reset or free. */
const struct column *shredder_columns(struct shredder *s);

#endif
