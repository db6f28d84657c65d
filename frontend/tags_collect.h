/* Putting the tags of many jobs together under the limits that a question and the configuration
 * set. Whatever limit is met, the answer is what has been collected until then. */
#ifndef FRONTEND_TAGS_COLLECT_H
#define FRONTEND_TAGS_COLLECT_H

#include "query/tag_set.h"

struct tag_limits {
    uint64_t bytes_max; /* the texts stay below it; 0: no limit */
    uint32_t count_max; /* of each level; 0: no limit */
    uint32_t
        stale_max; /* known ones in a row, of each level, before no more is expected; 0: none */
};

struct tag_collector {
    struct tag_limits limits;
    bool typed; /* the type's name counts as bytes too */
    struct tag_set set;
    uint64_t bytes;
    struct {
        uint32_t count, stale;
        bool full;
    } levels[TRACEQL_LEVELS];
    const char *full; /* which limit was met, "bytes", "limit" or "stale"; NULL: none */
};

/* Tags live in the arena. */
void tag_collector_init(struct tag_collector *c, const struct tag_limits *limits, bool typed,
                        struct arena *a);
void tag_collector_clear(struct tag_collector *c);

/* Takes the tag unless it is there or a limit has been met. A level's limit leaves the others open,
 * so that those who bring tags level by level finish what they brought and then see `full`. */
ERR_MUST_CHECK int tag_collect(struct tag_collector *c, const struct query_tag *t, struct err *err);

#endif
