/* OTLP traces on the wire: protobuf and JSON, to and from the span model.
 *
 * Decoding is one pass of a bounded cursor over foreign bytes: no allocation per attribute, depth
 * and size checked, slices into the input. Errors carry the texts Tempo's receivers give. */
#ifndef OTLP_OTLP_H
#define OTLP_OTLP_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "block/span.h"

/* Deepest AnyValue accepted; each level costs one stack frame. Hit: ERR_LIMIT, the request is
 * refused. */
#define LIMIT_OTLP_DEPTH 64

/* Appends an ExportTraceServiceRequest (= TracesData) to out; slices point into body. On failure
 * out holds what came before the fault: reset it. ERR_INVALID for bytes that are not the message
 * ("unexpected EOF", "proto: illegal wireType 7", "unmarshal: invalid TraceID length", …, each with
 * the byte offset), ERR_LIMIT for depth, ERR_NOMEM. Trace ids must have 0 or 16 bytes, span and
 * parent ids 0 or 8. An absent or all-zero trace id is decoded as zeros, an all-zero span id or
 * parent id as empty: the caller decides. */
int otlp_decode(struct slice body, struct span_batch *out, struct err *err);

/* The same from OTLP/JSON: hex ids, camelCase and snake_case keys, 64-bit numbers as string or
 * number, enums as number or name, unknown keys skipped. Strings with escapes, ids and bytes live
 * in the arena, the rest points into body. */
int otlp_json_decode(struct slice body, struct arena *a, struct span_batch *out, struct err *err);

/* Appends the trace as TracesData (protobuf). Empty resource, scope, status and attribute values
 * are present, ids as stored; kind, flags, zero numbers and empty strings are left out. */
int otlp_encode(const struct trace *t, struct buf *out);
/* As Tempo's API prints it: {"<key>":[…]} with key "batches" or "resourceSpans"; ids base64. A trace
 * without spans is {}. */
int otlp_json_encode(const struct trace *t, const char *key, struct buf *out);

/* google.rpc.Status: protobuf, and JSON {"code":3,"message":"…","details":[…]}. A retry_delay_ms
 * above 0 adds a google.rpc.RetryInfo detail. */
int otlp_status_encode(int code, struct slice message, uint32_t retry_delay_ms, struct buf *out);
int otlp_status_json(int code, struct slice message, uint32_t retry_delay_ms, struct buf *out);

/* ExportTraceServiceResponse; with rejected 0 and no message the two bytes 0a 00, or
 * {"partialSuccess":{}}. */
int otlp_response_encode(int64_t rejected, struct slice message, struct buf *out);
int otlp_response_json(int64_t rejected, struct slice message, struct buf *out);

#endif
