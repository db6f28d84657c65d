/* What a question about tags says: the tag, and the filter. */
#ifndef FRONTEND_TAGS_QUERY_H
#define FRONTEND_TAGS_QUERY_H

#include "query/query.h"

/* A TraceQL identifier ("span.a", `.a`, "status", "event:name") to where its values are: sets
 * intrinsic, levels and name of *out. ERR_INVALID for anything else, in Tempo's words. What is
 * known but has no values (parent, span:parentID) sets levels 0 and TRACEQL_ATTRIBUTE. */
int tag_parse(struct slice text, struct arena *a, struct query_tags *out, struct err *err);

/* The same for the first version of the API, where a tag is a bare name, and some names mean
 * something of their own. */
void tag_parse_bare(struct slice name, struct query_tags *out);

/* The filter in a q parameter: the one spanset filter at its beginning, of which only the parts
 * that can be understood count, so that a query that is being typed filters already. *out NULL:
 * there is nothing to filter by. What Tempo does not filter by is left out here too: filters joined
 * by operators, and attributes without scope. Fails only for want of memory. */
int tags_filter(struct slice q, struct arena *a, const struct traceql_query **out, struct err *err);

#endif
