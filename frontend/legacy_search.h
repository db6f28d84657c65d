/* Tags as logfmt text. */
#ifndef FRONTEND_LEGACY_SEARCH_H
#define FRONTEND_LEGACY_SEARCH_H

#include "base/vec.h"
#include "query/query.h"

struct legacy_tags {
    VEC(struct query_pair) pairs; /* the owner frees */
};

/* `a=b c="d e" f`: appends the pairs, in the arena. ERR_INVALID "invalid tags: …" with Tempo's
 * texts, and for more than LIMIT_SEARCH_TAGS. */
int legacy_tags_parse(struct slice text, struct arena *a, struct legacy_tags *out, struct err *err);
/* A Go duration to whole milliseconds in ns; negative ones are 0. ERR_INVALID "invalid <name>:
 * time: …". */
int legacy_duration_parse(const char *name, struct slice text, uint64_t *ns, struct err *err);

#endif
