/* Values in protobuf, for messages between processes of one version of the format. */
#ifndef TRACEQL_VALUE_WIRE_H
#define TRACEQL_VALUE_WIRE_H

#include "base/proto.h"
#include "traceql/traceql.h"

/* A message: 1 the type's number, 2 the number, zigzag, 3 the double, 4 the string. */
void traceql_value_put(struct proto_writer *w, uint32_t number, const struct traceql_value *v);
/* A string points into the message. ERR_CORRUPT. */
ERR_MUST_CHECK int traceql_value_get(const struct proto_field *f, struct traceql_value *out,
                                     struct err *err);

#endif
