/* Walking along columns by hand, where the question is not TraceQL's: which element an entry
 * belongs to, which slots of an attribute list have a certain key, and what values stand there. */
#ifndef WORKER_ATTR_WALK_H
#define WORKER_ATTR_WALK_H

#include "worker/scan.h"

/* Where a walk along a column's entries stands: how many elements of each level have begun. Of the
 * levels below the column's own the numbers mean nothing. */
struct walk {
    uint32_t traces, resources, scopes, spans;
    uint32_t children; /* events or links of the span */
};

static inline void walk_step(struct walk *w, const struct column *c, uint32_t entry)
{
    uint8_t rep = c->rep ? c->rep[entry] : 0, def = c->def ? c->def[entry] : 0;
    w->traces += rep == 0;
    w->resources += rep <= BLOCK_REP_RESOURCE && def >= BLOCK_REP_RESOURCE;
    w->scopes += rep <= BLOCK_REP_SCOPE && def >= BLOCK_REP_SCOPE;
    w->spans += rep <= BLOCK_REP_SPAN && def >= BLOCK_REP_SPAN;
    if (rep <= BLOCK_REP_SPAN)
        w->children = 0;
    w->children += rep <= BLOCK_REP_SPAN + 1 && def > BLOCK_REP_SPAN;
}

/* The first of the seven leaves of a level's attribute list, or -1. */
int attr_first_leaf(enum traceql_level level);

/* Slots of the list whose key is name, and whose they are. */
struct attr_hits {
    uint32_t *slot;     /* ascending */
    uint32_t *resource; /* number of the resource */
    uint32_t count;
};

/* Whether the element at which the walk stands counts. NULL: all do. */
typedef bool(attr_want_fn)(void *ctx, const struct walk *w);

/* The key column must be there (scan_need). The hits live in the scan's arena. */
int attr_find(struct scan *s, enum traceql_level level, struct slice name, attr_want_fn *want,
              void *ctx, struct attr_hits *out, struct err *err);

/* Calls fn for the values (several of an array) that a value column, which must be there, has for
 * the hits. which is one of enum block_attr_leaf. A negative return of fn ends the walk and is
 * returned. */
typedef int(attr_value_fn)(void *ctx, const struct column *c, uint32_t value, uint32_t hit);
int attr_values(struct scan *s, enum traceql_level level, int which, const struct attr_hits *hits,
                attr_value_fn *fn, void *ctx);

/* An attribute with a column of its own. */
struct own_column {
    enum traceql_level level;
    struct slice name;
    int leaf;
};

/* Those that this block has. In the scan's arena. */
int own_columns(struct scan *s, struct own_column **out, size_t *count, struct err *err);

#endif
