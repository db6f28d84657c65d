/* Protobuf inside a column: vParquet3 keeps the attribute values of events as AnyValue messages,
 * and the links of a span as one message. (OTLP itself is otlp's; block cannot ask it.) */
#ifndef BLOCK_VALUE_PROTO_H
#define BLOCK_VALUE_PROTO_H

#include "base/err.h"
#include "block/span.h"

/* An AnyValue, nested at most depth_max deep; nothing set is VALUE_NONE. List elements are appended
 * to b, strings point into bytes. ERR_CORRUPT: not the message. ERR_LIMIT: too deep. ERR_NOMEM. */
int value_proto_parse(struct slice bytes, unsigned depth_max, struct span_batch *b,
                      struct value *out, struct err *err);

/* A message whose field 1 is repeated Span.Link: appended to b->links. The same errors; links
 * before the fault have been appended. Ids have any length. */
int links_proto_parse(struct slice bytes, unsigned depth_max, struct span_batch *b,
                      struct err *err);

#endif
