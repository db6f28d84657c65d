/* What a call of tempopb.StreamingQuerier asks, as a request of the HTTP API: so that parameters
 * are checked, and answered, in one place for both. Bytes in, texts out; no I/O. */
#ifndef FRONTEND_GRPC_QUESTION_H
#define FRONTEND_GRPC_QUESTION_H

#include "net/net_server.h"

/* Zeroed to start; the owner clears. */
struct grpc_question {
    struct buf path, query;
};

/* path: of the call. Fields that are zero are left out, and fields that are not known. prefix
 * stands before the path that comes out. ERR_CORRUPT: no message of that kind, "grpc: error
 * unmarshalling request: …". ERR_INVALID: what no parameter can say. ERR_UNSUPPORTED: an unknown
 * method. ERR_NOMEM, ERR_LIMIT. */
int grpc_question_read(struct slice path, struct slice message, struct slice prefix,
                       struct grpc_question *out, struct err *err);
void grpc_question_clear(struct grpc_question *g);

#endif
