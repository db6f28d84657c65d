/* explain=true: what a query read, what it could leave out, and where its time went. Private to the
 * room. */
#ifndef FRONTEND_EXPLAIN_H
#define FRONTEND_EXPLAIN_H

#include "frontend/frontend_priv.h"

/* One job of the query, in the order in which they are given out. */
struct explain_job {
    const struct query_source *source;
    struct query_stats stats;
    uint64_t ns; /* from its beginning to its end */
    bool ran;    /* false: the query had enough before */
};

/* Whether it is asked for. */
bool explain_wanted(struct query *q);

/* ,"explain":{…} as a further field of an answer. blocks_left_out: by the time range. */
int explain_json(const struct traceql_query *query, const struct explain_job *jobs, size_t count,
                 size_t blocks_left_out, struct buf *out);

#endif
