/* Files of OTLP requests for the tools: each a 4-byte big-endian length and a protobuf
 * ExportTraceServiceRequest, one after the other. */
#ifndef RUBATO_FRAMES_H
#define RUBATO_FRAMES_H

#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"

/* Most bytes that files of frames may have together, decompressed. */
#define FRAMES_BYTES_MAX ((size_t)4 << 30)

/* Appends the whole file; a name that ends in .zst is decompressed. */
int frames_read_file(const char *path, struct buf *out, struct err *err);
/* 0 a request, 1 the end, ERR_CORRUPT with the byte at which the frames break off. */
int frames_next(struct cursor *c, struct slice *request, struct err *err);

#endif
