/* What a search finds, as its answers show it (search_json.c, search_proto.c). Private to the room.
 */
#ifndef FRONTEND_SEARCH_PRIV_H
#define FRONTEND_SEARCH_PRIV_H

#include "frontend/answer_proto.h"

/* Hex without leading zeros, in `hex`. */
struct slice search_trace_id(const struct query_trace *t, char hex[32]);
void search_span_id(const struct query_span *s, char hex[16]);
/* What is said when there is no root yet, too. */
struct slice search_root_service(const struct query_trace *t);
/* By name, in place. */
void search_sort_services(const struct query_trace *t);

/* An array. */
int search_json(const struct query_trace *traces, uint32_t count, bool legacy, struct buf *out);
/* Field 1 of a SearchResponse, an item each. */
void search_proto(struct packets *p, const struct query_trace *traces, uint32_t count, bool legacy);

#endif
