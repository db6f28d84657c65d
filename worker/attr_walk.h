/* Walking along columns by hand, where the question is not TraceQL's: which element an entry
 * belongs to, and which attributes have a column of their own. */
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

/* An attribute with a column of its own. */
struct own_column {
    enum traceql_level level;
    struct slice name;
    int leaf;
};

/* Those that this block has. In the scan's arena. */
int own_columns(struct scan *s, struct own_column **out, size_t *count, struct err *err);

#endif
