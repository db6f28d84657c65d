/* Tables of `query => text` lines under tests/data/traceql, for the tests of the query language. */
#ifndef TESTS_SUPPORT_TRACEQL_TABLE_H
#define TESTS_SUPPORT_TRACEQL_TABLE_H

#include "base/slice.h"

/* Calls fn for each line that is neither empty nor a comment; the last " => " divides it. Fails the
 * test when the file is missing or holds fewer than `least` lines. */
typedef void(table_row_fn)(struct slice query, struct slice text, void *ctx);
void table_read(const char *path, size_t least, table_row_fn *fn, void *ctx);

#endif
