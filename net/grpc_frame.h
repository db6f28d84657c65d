/* gRPC's framing, apart from HTTP/2: bytes in, a message out. Does no I/O. */
#ifndef NET_GRPC_FRAME_H
#define NET_GRPC_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define GRPC_PREFIX_BYTES 5u

/* The one message of a unary request, taken from the bytes of its DATA frames. Zeroed to start. */
struct grpc_unary {
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint8_t prefix_len; /* of it received */
    uint32_t message_len;
};

/* Takes what arrived and appends message bytes to body, as they come: a claimed length allocates
 * nothing. ERR_LIMIT past max, with grpc-go's text; ERR_CORRUPT: unknown flag, bytes after the
 * message; ERR_NOMEM. */
int grpc_unary_feed(struct grpc_unary *u, struct slice in, uint64_t max, struct buf *body,
                    struct err *err);
/* The request ended: is the message whole? If it is packed, body is decoded in place, to at most
 * max bytes. */
int grpc_unary_end(const struct grpc_unary *u, struct slice encoding, uint64_t max,
                   struct buf *body, struct err *err);
/* ERR_UNSUPPORTED with grpc-go's text unless messages of that grpc-encoding can be decoded. */
int grpc_encoding_check(struct slice encoding, struct err *err);

/* The prefix of an answer's message. */
void grpc_prefix(bool compressed, uint32_t len, uint8_t out[GRPC_PREFIX_BYTES]);
/* grpc-message: printable ASCII stays, the rest and '%' are escaped. */
int grpc_message_encode(struct slice text, struct buf *out);
/* grpc-timeout, "250m". False: malformed. */
bool grpc_timeout_parse(struct slice in, uint64_t *ns);
/* The gRPC status for an HTTP status, by the rule of the query API. */
int grpc_status_of_http(int status);

#endif
