/* For tests of the span model and OTLP: files, frames, and comparing batches by what they mean. */
#ifndef TESTS_SUPPORT_OTLP_SUPPORT_H
#define TESTS_SUPPORT_OTLP_SUPPORT_H

#include "base/buf.h"
#include "base/slice.h"
#include "block/span.h"

/* Replaces what out holds; fails the test when the file cannot be read. Paths are relative to the
 * root of the repository. */
void support_read_file(const char *path, struct buf *out);

/* The next request of a file of frames (4 bytes big-endian length, then the request); false at the
 * end. *left starts as the whole file. */
bool support_next_frame(struct slice *left, struct slice *request);

/* The spans of both, in order, with their resources and scopes: every field and every list, deeply,
 * whatever the indices are. False puts the first difference into why, which holds 200. */
bool support_batches_equal(const struct span_batch *a, const struct span_batch *b, char *why);

/* All spans of b as one trace, in order; order holds b->spans.count. */
struct trace support_whole_batch(const struct span_batch *b, uint32_t *order);

/* Protobuf by hand: one field each; failure fails the test. */
void support_pb_varint(struct buf *out, uint32_t field, uint64_t v);
void support_pb_bytes(struct buf *out, uint32_t field, struct slice s);
void support_pb_fixed32(struct buf *out, uint32_t field, uint32_t v);
void support_pb_fixed64(struct buf *out, uint32_t field, uint64_t v);
/* Makes what out holds the content of one field, `times` times, each around the one before. */
void support_pb_wrap(struct buf *out, uint32_t field, unsigned times);

#endif
