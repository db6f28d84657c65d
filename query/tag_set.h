/* A set of distinct tag names or values, for those who find them (worker) and those who put the
 * finds of many together (frontend). Not for two threads at once. */
#ifndef QUERY_TAG_SET_H
#define QUERY_TAG_SET_H

#include "base/vec.h"
#include "query/query.h"

struct tag_set {
    struct arena *arena; /* strings are copied into it */
    VEC(struct query_tag) tags;
    uint32_t *slots; /* open addressing: index into tags, or UINT32_MAX */
    uint32_t slot_count;
};

static inline void tag_set_init(struct tag_set *s, struct arena *a)
{
    *s = (struct tag_set){.arena = a};
}

void tag_set_clear(struct tag_set *s);

bool tag_set_has(const struct tag_set *s, const struct query_tag *t);
/* *added: it was not there yet; may be NULL. ERR_NOMEM, or ERR_LIMIT when the arena is full. */
ERR_MUST_CHECK int tag_set_add(struct tag_set *s, const struct query_tag *t, bool *added,
                               struct err *err);
/* Into the order of query_tag_cmp. The set takes no more afterwards. */
void tag_set_sort(struct tag_set *s);

/* By level, then type, then value: numbers by size, texts by bytes. 0: the same. Two NaN are the
 * same, 0.0 and -0.0 are not. */
int query_tag_cmp(const struct query_tag *a, const struct query_tag *b);

/* The value as text without quotes: `2.5`, `error`, `1.5s`; appended. */
int query_tag_text(const struct traceql_value *v, struct buf *out);
/* "string", "int", "float", "bool", "keyword", "duration". */
const char *query_tag_type(enum traceql_type type);

#endif
