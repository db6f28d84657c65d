/* Limits of a worker. */
#ifndef WORKER_WORKER_LIMITS_H
#define WORKER_WORKER_LIMITS_H

#include <stddef.h>

/* Memory of one row group while it is scanned: fetched chunks and decoded columns. A row group of
 * Tempo's is about 100 MB before compression, of which a query reads some columns.
 * Hit: the query fails with ERR_LIMIT and the text says so. */
#define LIMIT_SCAN_BYTES ((size_t)1 << 30)

/* What a job's arenas keep of that from row group to row group and from window to window, and, for
 * one job, while nobody asks anything. */
#define SCAN_KEEP_GROUP_BYTES ((size_t)24 << 20)
#define SCAN_KEEP_WINDOW_BYTES ((size_t)8 << 20)

/* Spans of a window, about: enough that what is done once a window does not count, few enough that
 * its columns stay in the processor's cache. */
#define WINDOW_SPANS 32768

/* Bytes of one column chunk or page fetched at once. Hit: ERR_LIMIT. */
#define LIMIT_FETCH_BYTES ((size_t)512 << 20)

/* Bloom shard objects: Tempo's default is 100 KB. Hit: ERR_LIMIT. */
#define LIMIT_BLOOM_BYTES ((size_t)64 << 20)

/* Decoded footer of one block. Hit: ERR_LIMIT. */
#define LIMIT_FOOTER_ARENA_BYTES ((size_t)512 << 20)

/* A column chunk of at most this size is fetched whole even where only its dictionary is asked for:
 * finding the dictionary's end takes a request of its own. */
#define DICTIONARY_WHOLE_BYTES ((size_t)256 << 10)

/* Texts of the tags that one job returns when the question sets no lower limit. Hit: the job stops
 * and the answer is short, which is what such a limit does. */
#define LIMIT_TAG_BYTES ((uint64_t)64 << 20)

/* Attribute names of one row group that compare() looks at; each is a pass over the attribute
 * lists. Hit: further names are left out. */
#define LIMIT_COMPARE_ATTRIBUTES 1024

#endif
