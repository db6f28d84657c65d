/* Columns back to spans, for answers by trace id. */
#ifndef BLOCK_ASSEMBLE_H
#define BLOCK_ASSEMBLE_H

#include "base/arena.h"
#include "base/column.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "block/span.h"

/* Appends the spans of rows [row_first, row_first + row_count) of columns[BLOCK_LEAVES] to out,
 * attributes in the order of the format (ATTR list, dedicated, static). The columns may be those of
 * any version: a leaf that the file lacks is passed with entries 0 and is read as absent. Levels and counts of the columns are checked
 * against each other: ERR_CORRUPT names the leaf. Strings are slices into the columns or the
 * arena. */
int block_assemble(const struct column *columns, const struct block_dedicated *dedicated,
                   size_t dedicated_count, uint32_t row_first, uint32_t row_count,
                   struct arena *a, struct span_batch *out, struct err *err);

#endif
