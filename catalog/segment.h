/* A segment: requests of all tenants that were acknowledged together, as one object.
 *
 * Layout (docs/formats/segment.md): magic, then one zstd frame a section, then a footer that tells
 * for each section the tenant, the slice of trace ids, the byte range, the time range and the
 * fingerprints of the trace ids in it, so that a reader fetches only the sections it needs. A
 * section holds OTLP requests as they came, each behind its length: nothing is marshalled twice. */
#ifndef CATALOG_SEGMENT_H
#define CATALOG_SEGMENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/shared.h"

/* Largest section after decompression: a request larger than the flush size is flushed alone, and
 * no receiver takes more than 64 MiB. Hit: ERR_CORRUPT, for no writer makes such a section. */
#define LIMIT_SEGMENT_SECTION_BYTES ((size_t)256 << 20)
#define LIMIT_SEGMENT_FOOTER_BYTES ((size_t)64 << 20)

/* One request on its way into a segment. Slices stay the caller's. */
struct segment_part {
    struct slice tenant;
    struct slice body; /* ExportTraceServiceRequest */
    uint32_t spans;
    uint64_t start_unix_ns, end_unix_ns; /* of its spans */
    const uint64_t *traces;              /* fingerprints; need not be unique */
    uint32_t trace_count;
};

struct segment_section {
    struct slice tenant;
    uint32_t slice, slice_count; /* of the trace-id space; 0 of 1: all */
    uint64_t offset, bytes;      /* of the zstd frame in the object */
    uint64_t raw_bytes;          /* after decompression */
    uint32_t spans;
    uint64_t start_unix_ns, end_unix_ns;
    const uint64_t *traces; /* ascending, unique */
    uint32_t trace_count;
};

struct segment_footer {
    struct segment_section *sections; /* ascending by tenant */
    uint32_t section_count;
};

/* 64 bits of a trace id; equal ids have equal fingerprints. */
static inline uint64_t segment_fingerprint(const uint8_t id[16])
{
    return load_u64le(id) * UINT64_C(0x9e3779b97f4a7c15) ^ load_u64le(id + 8);
}

/* Appends the object. footer (in the arena) and raw (one per section, a reference each, in an
 * arena array) describe what was written. Parts of one tenant keep their order. */
int segment_encode(const struct segment_part *parts, size_t count, struct arena *a,
                   struct buf *object, struct segment_footer *footer, struct shared_bytes ***raw,
                   struct err *err);

/* Bytes at the end of the object that tell where the footer is. */
#define SEGMENT_TAIL_BYTES 12

/* tail: the last SEGMENT_TAIL_BYTES or more of the object. *footer_bytes counts footer and tail. */
int segment_tail_decode(struct slice tail, uint64_t object_bytes, uint64_t *footer_bytes,
                        struct err *err);
/* bytes: the last *footer_bytes of the object. Lives in the arena, slices are copied. */
int segment_footer_decode(struct slice bytes, uint64_t object_bytes, struct arena *a,
                          struct segment_footer *out, struct err *err);
/* frame: the section's byte range of the object. One reference in *out. */
int segment_section_decode(struct slice frame, const struct segment_section *section,
                           struct shared_bytes **out, struct err *err);

/* The next request of a section: 0, 1 at the end, ERR_CORRUPT. */
int segment_next(struct cursor *raw, struct slice *body, struct err *err);

/* Whether a trace of that fingerprint may be in the section. */
bool segment_has_trace(const struct segment_section *s, uint64_t fingerprint);

#endif
