/* Between the codec's files. */
#ifndef QUERY_QUERY_CODEC_PRIV_H
#define QUERY_QUERY_CODEC_PRIV_H

#include "base/proto.h"
#include "query/query_codec.h"

/* query_codec.c: a message of the table's fields; read, others are skipped. */
void query_put_object(struct proto_writer *w, uint32_t number, const struct proto_table *t,
                      const void *object);
int query_get_object(const struct proto_field *f, const struct proto_table *t, void *out,
                     struct err *err);

/* query_codec_trace.c: a message of the spans of batch that belong to the trace, by fragments. */
void query_put_spans(struct proto_writer *w, uint32_t number, const struct span_batch *batch,
                     const uint8_t trace_id[16]);
/* Appended to batch; strings point into message. ERR_CORRUPT, ERR_LIMIT, ERR_NOMEM. */
int query_get_spans(struct slice message, const uint8_t trace_id[16], struct span_batch *batch,
                    struct err *err);

#endif
