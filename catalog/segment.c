/* Segments: encode and decode. The format does no I/O. */
#include "catalog/segment.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/vec.h"

static const char segment_magic[8] = "RBWAL1\n";
static const char segment_end[4] = "RBW1";

/* Speed over size: a segment lives for seconds. */
#define SEGMENT_ZSTD_LEVEL (-3)

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint32_t unique_u64(uint64_t *v, uint32_t n)
{
    qsort(v, n, sizeof *v, compare_u64);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (kept == 0 || v[kept - 1] != v[i])
            v[kept++] = v[i];
    }
    return kept;
}

/* Parts sorted by tenant, stable: index order breaks ties. */
struct part_ref {
    const struct segment_part *part;
    size_t index;
};

static int compare_parts(const void *a, const void *b)
{
    const struct part_ref *x = a, *y = b;
    int c = slice_cmp(x->part->tenant, y->part->tenant);
    return c ? c : (x->index > y->index) - (x->index < y->index);
}

static int section_fill(struct segment_section *s, const struct part_ref *refs, size_t count,
                        struct arena *a, struct shared_bytes **raw, struct err *err)
{
    size_t bytes = 0, traces = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += 4 + refs[i].part->body.len;
        traces += refs[i].part->trace_count;
    }
    if (bytes > LIMIT_SEGMENT_SECTION_BYTES)
        return err_set(err, ERR_LIMIT, "a section of %zu bytes passes the limit of %zu", bytes,
                       LIMIT_SEGMENT_SECTION_BYTES);
    uint64_t *prints = arena_array(a, uint64_t, traces);
    if (!prints || !arena_slice(a, refs[0].part->tenant, &s->tenant))
        return arena_err(a, err, "a segment's footer");
    uint8_t *data = malloc(bytes ? bytes : 1);
    *raw = data ? shared_bytes_new(data, bytes) : NULL;
    if (!*raw) {
        free(data);
        return err_set(err, ERR_NOMEM, "no memory for a section of %zu bytes", bytes);
    }
    s->slice_count = 1;
    s->raw_bytes = bytes;
    s->traces = prints;
    for (size_t i = 0; i < count; i++) {
        const struct segment_part *p = refs[i].part;
        uint32_t len = (uint32_t)p->body.len;
        memcpy(data, &len, 4);
        memcpy(data + 4, p->body.ptr, len);
        data += 4 + len;
        if (p->trace_count)
            memcpy(prints, p->traces, p->trace_count * sizeof *prints);
        prints += p->trace_count;
        s->spans += p->spans;
        if (i == 0 || p->start_unix_ns < s->start_unix_ns)
            s->start_unix_ns = p->start_unix_ns;
        if (p->end_unix_ns > s->end_unix_ns)
            s->end_unix_ns = p->end_unix_ns;
    }
    s->trace_count = unique_u64((uint64_t *)s->traces, (uint32_t)traces);
    return 0;
}

static int section_compress(struct segment_section *s, const struct shared_bytes *raw,
                            ZSTD_CCtx *ctx, struct buf *object, struct err *err)
{
    size_t bound = ZSTD_compressBound(raw->len);
    if (buf_reserve(object, bound) < 0)
        return err_set(err, ERR_NOMEM, "no memory to compress a section of %zu bytes", raw->len);
    size_t n = ZSTD_compress2(ctx, object->ptr + object->len, bound, raw->data, raw->len);
    if (ZSTD_isError(n))
        return err_set(err, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
    s->offset = object->len;
    s->bytes = n;
    object->len += n;
    return 0;
}

static int footer_encode(const struct segment_footer *f, struct buf *object, struct err *err)
{
    size_t start = object->len;
    int rc = buf_varint(object, f->section_count);
    for (uint32_t i = 0; i < f->section_count && rc == 0; i++) {
        const struct segment_section *s = &f->sections[i];
        const uint64_t numbers[] = {s->slice,     s->slice_count, s->offset,
                                    s->bytes,     s->raw_bytes,   s->spans,
                                    s->trace_count};
        rc = buf_varint(object, s->tenant.len) ?: buf_slice(object, s->tenant);
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0] && rc == 0; k++)
            rc = buf_varint(object, numbers[k]);
        rc = rc ?: buf_u64le(object, s->start_unix_ns) ?: buf_u64le(object, s->end_unix_ns);
        rc = rc ?: buf_append(object, s->traces, s->trace_count * sizeof s->traces[0]);
    }
    size_t bytes = object->len - start;
    uint32_t crc = (uint32_t)crc32(0, object->ptr + start, (uInt)bytes);
    rc = rc ?: buf_u32le(object, (uint32_t)bytes) ?: buf_u32le(object, crc);
    rc = rc ?: buf_append(object, segment_end, sizeof segment_end);
    return rc < 0 ? err_set(err, rc, "no memory for a segment's footer") : 0;
}

int segment_encode(const struct segment_part *parts, size_t count, struct arena *a,
                   struct buf *object, struct segment_footer *footer, struct shared_bytes ***raw,
                   struct err *err)
{
    struct part_ref *refs = arena_array(a, struct part_ref, count);
    struct segment_section *sections = arena_zalloc(a, count * sizeof *sections);
    struct shared_bytes **raws = arena_zalloc(a, count * sizeof *raws);
    if (!refs || !sections || !raws)
        return arena_err(a, err, "a segment's footer");
    for (size_t i = 0; i < count; i++)
        refs[i] = (struct part_ref){&parts[i], i};
    qsort(refs, count, sizeof *refs, compare_parts);

    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    if (!ctx)
        return err_set(err, ERR_NOMEM, "no memory for zstd");
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, SEGMENT_ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);

    uint32_t n = 0;
    int rc = buf_append(object, segment_magic, sizeof segment_magic);
    for (size_t i = 0; i < count && rc == 0;) {
        size_t next = i + 1;
        while (next < count && slice_eq(refs[next].part->tenant, refs[i].part->tenant))
            next++;
        rc = section_fill(&sections[n], refs + i, next - i, a, &raws[n], err);
        if (rc == 0)
            rc = section_compress(&sections[n], raws[n], ctx, object, err);
        n++;
        i = next;
    }
    ZSTD_freeCCtx(ctx);
    *footer = (struct segment_footer){sections, n};
    if (rc == 0)
        rc = footer_encode(footer, object, err);
    if (rc < 0) {
        for (uint32_t i = 0; i < n; i++)
            raws[i] = shared_bytes_release(raws[i]);
        return rc;
    }
    *raw = raws;
    return 0;
}

int segment_tail_decode(struct slice tail, uint64_t object_bytes, uint64_t *footer_bytes,
                        struct err *err)
{
    if (tail.len < SEGMENT_TAIL_BYTES || object_bytes < sizeof segment_magic + SEGMENT_TAIL_BYTES)
        return err_set(err, ERR_CORRUPT, "a segment of %llu bytes is too short",
                       (unsigned long long)object_bytes);
    const uint8_t *p = tail.ptr + tail.len - SEGMENT_TAIL_BYTES;
    if (memcmp(p + 8, segment_end, sizeof segment_end) != 0)
        return err_set(err, ERR_CORRUPT, "segment does not end in RBW1");
    uint64_t bytes = load_u32le(p);
    if (bytes > LIMIT_SEGMENT_FOOTER_BYTES ||
        bytes > object_bytes - sizeof segment_magic - SEGMENT_TAIL_BYTES)
        return err_set(err, ERR_CORRUPT, "segment footer claims %llu of %llu bytes",
                       (unsigned long long)bytes, (unsigned long long)object_bytes);
    *footer_bytes = bytes + SEGMENT_TAIL_BYTES;
    return 0;
}

static bool section_read(struct cursor *c, uint64_t data_end, struct arena *a,
                         struct segment_section *s)
{
    struct slice tenant, prints;
    uint64_t n[7];
    if (!cursor_varint_bytes(c, &tenant))
        return false;
    for (size_t k = 0; k < 7; k++) {
        if (!cursor_varint(c, &n[k]))
            return false;
    }
    if (!cursor_u64le(c, &s->start_unix_ns) || !cursor_u64le(c, &s->end_unix_ns))
        return false;
    if (n[2] > data_end || n[3] > data_end - n[2] || n[4] > LIMIT_SEGMENT_SECTION_BYTES ||
        n[0] > UINT32_MAX || n[1] > UINT32_MAX || n[5] > UINT32_MAX ||
        n[6] > cursor_left(c) / 8 || !cursor_bytes(c, (size_t)n[6] * 8, &prints))
        return false;
    uint64_t *traces = arena_array(a, uint64_t, n[6]);
    if (!traces || !arena_slice(a, tenant, &s->tenant))
        return false;
    memcpy(traces, prints.ptr, prints.len);
    s->slice = (uint32_t)n[0];
    s->slice_count = (uint32_t)n[1];
    s->offset = n[2];
    s->bytes = n[3];
    s->raw_bytes = n[4];
    s->spans = (uint32_t)n[5];
    s->trace_count = (uint32_t)n[6];
    s->traces = traces;
    return true;
}

int segment_footer_decode(struct slice bytes, uint64_t object_bytes, struct arena *a,
                          struct segment_footer *out, struct err *err)
{
    uint64_t want;
    int rc = segment_tail_decode(bytes, object_bytes, &want, err);
    if (rc < 0)
        return rc;
    if (bytes.len != want)
        return err_set(err, ERR_CORRUPT, "segment footer has %zu bytes, expected %llu", bytes.len,
                       (unsigned long long)want);
    struct slice body = slice_of(bytes.ptr, bytes.len - SEGMENT_TAIL_BYTES);
    uint32_t crc = load_u32le(bytes.ptr + body.len + 4);
    if (crc != (uint32_t)crc32(0, body.ptr, (uInt)body.len))
        return err_set(err, ERR_CORRUPT, "crc32 of the segment footer does not match");
    struct cursor c = cursor_of(body);
    uint64_t count;
    if (!cursor_varint(&c, &count) || count > cursor_left(&c) / 24)
        return err_set(err, ERR_CORRUPT, "bad section count in the segment footer");
    out->section_count = (uint32_t)count;
    out->sections = arena_zalloc(a, count * sizeof *out->sections);
    if (!out->sections)
        return arena_err(a, err, "a segment's footer");
    for (uint32_t i = 0; i < count; i++) {
        if (!section_read(&c, object_bytes - want, a, &out->sections[i]))
            return err_set(err, ERR_CORRUPT, "section %u of %llu at byte %zu of the segment footer "
                                             "is broken",
                           i, (unsigned long long)count, cursor_offset(&c));
    }
    return 0;
}

int segment_section_decode(struct slice frame, const struct segment_section *section,
                           struct shared_bytes **out, struct err *err)
{
    uint8_t *data = malloc(section->raw_bytes ? section->raw_bytes : 1);
    struct shared_bytes *raw = data ? shared_bytes_new(data, section->raw_bytes) : NULL;
    if (!raw) {
        free(data);
        return err_set(err, ERR_NOMEM, "no memory for a section of %llu bytes",
                       (unsigned long long)section->raw_bytes);
    }
    size_t n = ZSTD_decompress(data, section->raw_bytes, frame.ptr, frame.len);
    if (ZSTD_isError(n) || n != section->raw_bytes) {
        shared_bytes_release(raw);
        return err_set(err, ERR_CORRUPT, "segment section at byte %llu: %s",
                       (unsigned long long)section->offset,
                       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "wrong length");
    }
    *out = raw;
    return 0;
}

int segment_next(struct cursor *raw, struct slice *body, struct err *err)
{
    uint32_t len;
    if (cursor_left(raw) == 0)
        return 1;
    struct cursor at = *raw;
    if (!cursor_u32le(raw, &len) || !cursor_bytes(raw, len, body)) {
        *raw = at;
        return err_set(err, ERR_CORRUPT, "segment section breaks off at byte %zu",
                       cursor_offset(raw));
    }
    return 0;
}

bool segment_has_trace(const struct segment_section *s, uint64_t fingerprint)
{
    return bsearch(&fingerprint, s->traces, s->trace_count, sizeof fingerprint, compare_u64);
}
