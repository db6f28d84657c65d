/* Answers in protobuf: over HTTP one message; to a gRPC call as many as it takes to keep each below
 * query_frontend.max_grpc_streaming_packet_size, and some before the answer is complete.
 *
 *   struct packets p;
 *   packets_begin(&p, q, &body, tail);
 *   for each trace, tag, series:
 *       packets_item(&p);
 *       … write it to &p.w …
 *   rc = packets_end(&p);
 *
 * Each message is items and the tail, which holds what an answer says of its making. */
#ifndef FRONTEND_ANSWER_PROTO_H
#define FRONTEND_ANSWER_PROTO_H

#include "base/proto.h"
#include "frontend/frontend_priv.h"
#include "traceql/traceql.h"

struct packets {
    struct proto_writer w; /* into the message that is being filled */
    struct query *q;
    struct slice tail;
    size_t bytes_max;
    size_t item; /* where the last one begins */
};

/* The last message is left in out. tail lives until the end. */
void packets_begin(struct packets *p, struct query *q, struct buf *out, struct slice tail);
void packets_item(struct packets *p);
/* ERR_LIMIT, ERR_NOMEM; ERR_CANCELLED: the client has left. */
int packets_end(struct packets *p);
/* The same, and what is left in out is sent too: the answer is not complete yet. */
int packets_send(struct packets *p);
/* The error of the two; 0 is no error. */
int packets_err(int rc, struct err *err);

/* Whether the answer is to be in protobuf. */
bool query_answers_proto(const struct query *q);
/* Whether it is time to tell the client of what there is so far: LIMIT_STREAM_PAUSE_MS after the
 * last message, if it has taken what was sent. Always false over HTTP. */
bool query_stream_due(const struct query *q);

/* tempopb.SearchMetrics */
struct search_metrics {
    uint32_t inspected_traces, total_blocks, completed_jobs, total_jobs;
    uint64_t inspected_bytes, total_block_bytes;
};
void search_metrics_proto(struct proto_writer *w, uint32_t number, const struct search_metrics *m);

/* KeyValue of one value, or of a list. */
void key_value_proto(struct proto_writer *w, uint32_t number, struct slice key,
                     const struct traceql_value *values, uint32_t count);

#endif
