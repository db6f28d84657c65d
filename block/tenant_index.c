/* Both forms of the tenant index, read and written. What is read comes from a bucket: sizes are
 * counted before anything is allocated for them, and decompression goes into bounded buffers. */
#include "block/tenant_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/json_pull.h"
#include "base/text.h"
#include "block/block_meta_priv.h"

/* Largest index, decompressed: a meta takes 100 to 400 bytes, so this is a million blocks. Hit:
 * ERR_LIMIT, the caller lists instead. */
#define LIMIT_TENANT_INDEX_BYTES ((size_t)512 << 20)
#define LIMIT_TENANT_INDEX_BLOCKS ((size_t)1 << 20)
/* An index nests three deep, a meta four; what is skipped costs a stack frame a level. */
#define LIMIT_TENANT_INDEX_DEPTH 32
/* The largest window a zstd frame may ask for: what its command line takes by default. */
#define LIMIT_ZSTD_WINDOW_LOG 27

/* Go's zero time, 0001-01-01T00:00:00Z. */
#define ZERO_TIME_S (-INT64_C(62135596800))

/* ---- compression ---- */

static int full(struct err *err, int rc)
{
    return rc == ERR_LIMIT
               ? err_set(err, rc, "a tenant index of more than %zu bytes", LIMIT_TENANT_INDEX_BYTES)
               : err_set(err, rc, "no memory for a tenant index");
}

static int unzstd(struct slice in, struct buf *out, struct err *err)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer src = {in.ptr, in.len, 0};
    size_t left = 1; /* of the frame: hint, 0 at its end */
    int rc = d ? 0 : full(err, ERR_NOMEM);
    if (d)
        ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, LIMIT_ZSTD_WINDOW_LOG);
    while (rc == 0 && (src.pos < src.size || left != 0)) {
        rc = buf_reserve(out, 1);
        if (rc < 0) {
            full(err, rc);
            break;
        }
        size_t before = src.pos;
        ZSTD_outBuffer dst = {out->ptr + out->len, out->cap - out->len, 0};
        left = ZSTD_decompressStream(d, &dst, &src);
        out->len += dst.pos;
        if (ZSTD_isError(left))
            rc = err_set(err, ERR_CORRUPT, "zstd, byte %zu: %s", src.pos, ZSTD_getErrorName(left));
        else if (dst.pos == 0 && src.pos == before)
            rc = err_set(err, ERR_CORRUPT, "zstd: the frame breaks off at byte %zu", src.pos);
    }
    ZSTD_freeDCtx(d);
    return rc;
}

static int gunzip(struct slice in, struct buf *out, struct err *err)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len};
    if (in.len > UINT32_MAX)
        return full(err, ERR_LIMIT);
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return full(err, ERR_NOMEM);
    int rc = 0, state = Z_OK;
    while (rc == 0 && state != Z_STREAM_END) {
        rc = buf_reserve(out, 1);
        if (rc < 0) {
            full(err, rc);
            break;
        }
        size_t room = out->cap - out->len;
        z.next_out = out->ptr + out->len;
        z.avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
        uInt asked = z.avail_out;
        state = inflate(&z, Z_NO_FLUSH);
        out->len += asked - z.avail_out;
        if (state == Z_BUF_ERROR && z.avail_in == 0)
            rc = err_set(err, ERR_CORRUPT, "gzip: it breaks off at byte %zu", in.len);
        else if (state != Z_OK && state != Z_STREAM_END)
            rc = err_set(err, ERR_CORRUPT, "gzip, byte %lu: %s", z.total_in,
                         z.msg ? z.msg : "broken");
    }
    if (rc == 0 && z.avail_in)
        rc = err_set(err, ERR_CORRUPT, "gzip: %u bytes after its end", z.avail_in);
    inflateEnd(&z);
    return rc;
}

static int zstd_append(struct slice in, struct buf *out, struct err *err)
{
    size_t bound = ZSTD_compressBound(in.len);
    ZSTD_CCtx *c = ZSTD_createCCtx();
    int rc = c ? buf_reserve(out, bound) : ERR_NOMEM;
    if (rc < 0) {
        ZSTD_freeCCtx(c);
        return full(err, rc);
    }
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(c, out->ptr + out->len, bound, in.ptr, in.len);
    ZSTD_freeCCtx(c);
    if (ZSTD_isError(n))
        return err_set(err, ERR_NOMEM, "zstd: %s", ZSTD_getErrorName(n));
    out->len += n;
    return 0;
}

static int gzip_append(struct slice in, struct buf *out, struct err *err)
{
    char name[] = "index.json";
    gz_header header = {.name = (Bytef *)name, .os = 255};
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len};
    if (in.len > UINT32_MAX)
        return full(err, ERR_LIMIT);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return full(err, ERR_NOMEM);
    deflateSetHeader(&z, &header);
    size_t bound = deflateBound(&z, in.len);
    int rc = buf_reserve(out, bound);
    if (rc < 0) {
        deflateEnd(&z);
        return full(err, rc);
    }
    z.next_out = out->ptr + out->len;
    z.avail_out = (uInt)bound;
    int state = deflate(&z, Z_FINISH);
    out->len += z.total_out;
    deflateEnd(&z);
    return state == Z_STREAM_END ? 0 : err_set(err, ERR_INTERNAL, "gzip did not end: %d", state);
}

/* ---- protobuf, read ---- */

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;
    struct slice bytes;
};

/* 0 a field, 1 the end. at tells where the message stands in the whole. */
static int field_next(struct cursor *c, const uint8_t *whole, struct field *f, struct err *err)
{
    uint64_t tag;
    uint32_t four;
    if (cursor_left(c) == 0)
        return 1;
    size_t at = (size_t)(c->ptr - whole);
    bool ok = cursor_varint(c, &tag) && tag >> 3 > 0 && tag >> 3 <= UINT32_MAX;
    *f = (struct field){0};
    if (ok) {
        f->number = (uint32_t)(tag >> 3);
        f->wire = (enum wire)(tag & 7);
        switch (f->wire) {
        case WIRE_VARINT:
            ok = cursor_varint(c, &f->value);
            break;
        case WIRE_FIXED64:
            ok = cursor_u64le(c, &f->value);
            break;
        case WIRE_FIXED32:
            ok = cursor_u32le(c, &four);
            break;
        case WIRE_BYTES:
            ok = cursor_varint_bytes(c, &f->bytes);
            break;
        default:
            ok = false;
        }
    }
    return ok ? 0 : err_set(err, ERR_CORRUPT, "protobuf: no field at byte %zu", at);
}

static int wire_error(const struct field *f, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "protobuf: field %" PRIu32 " (%s) has wire type %d", f->number,
                   what, (int)f->wire);
}

/* A google.protobuf.Timestamp; before 1970 is 0. */
static int read_time(const struct field *f, const uint8_t *whole, uint64_t *out, struct err *err)
{
    struct cursor c = cursor_of(f->bytes);
    struct field part;
    int64_t s = 0, ns = 0;
    int rc;
    if (f->wire != WIRE_BYTES)
        return wire_error(f, "a time", err);
    while ((rc = field_next(&c, whole, &part, err)) == 0) {
        if (part.wire == WIRE_VARINT && part.number == 1)
            s = (int64_t)part.value;
        else if (part.wire == WIRE_VARINT && part.number == 2)
            ns = (int64_t)part.value;
    }
    if (rc < 0)
        return rc;
    if (ns < 0 || ns >= (int64_t)NS_PER_S)
        return err_set(err, ERR_CORRUPT, "protobuf: a time of %" PRId64 " nanoseconds", ns);
    if (s > (int64_t)(UINT64_MAX / NS_PER_S) - 1)
        return err_set(err, ERR_CORRUPT, "protobuf: a time %" PRId64 " s after 1970", s);
    *out = s < 0 ? 0 : (uint64_t)s * NS_PER_S + (uint64_t)ns;
    return 0;
}

static int read_u32(const struct field *f, uint32_t *out, struct err *err)
{
    if (f->wire != WIRE_VARINT)
        return wire_error(f, "a number", err);
    if (f->value > UINT32_MAX)
        return err_set(err, ERR_CORRUPT, "protobuf: field %" PRIu32 " is %" PRIu64, f->number,
                       f->value);
    *out = (uint32_t)f->value;
    return 0;
}

/* The fields of a BlockMeta that are numbers or times. */
static int read_meta_number(const struct field *f, const uint8_t *whole, struct block_meta *m,
                            struct err *err)
{
    uint32_t ignored;
    switch (f->number) {
    case 6:
        return read_time(f, whole, &m->start_unix_ns, err);
    case 7:
        return read_time(f, whole, &m->end_unix_ns, err);
    case 8:
    case 9:
        if (f->wire != WIRE_VARINT)
            return wire_error(f, "a number", err);
        if (f->value > INT64_MAX)
            return err_set(err, ERR_CORRUPT, "protobuf: field %" PRIu32 " is %" PRIu64, f->number,
                           f->value);
        if (f->number == 8)
            m->total_objects = (int64_t)f->value;
        else
            m->size = f->value;
        return 0;
    case 10:
        return read_u32(f, &m->compaction_level, err);
    case 12:
        return read_u32(f, &ignored, err);
    case 13:
        return read_u32(f, &m->total_records, err);
    case 15:
        return read_u32(f, &m->bloom_shards, err);
    case 16:
        return read_u32(f, &m->footer_size, err);
    case 18:
        return read_u32(f, &m->replication_factor, err);
    default:
        return 0;
    }
}

static int read_meta_bytes(const struct field *f, struct arena *a, struct block_meta *m,
                           struct slice *version, bool *has_id, struct err *err)
{
    if (f->wire != WIRE_BYTES)
        return wire_error(f, "bytes", err);
    switch (f->number) {
    case 1:
        *version = f->bytes;
        return 0;
    case 2:
        if (f->bytes.len != 16)
            return err_set(err, ERR_CORRUPT, "protobuf: a block id of %zu bytes", f->bytes.len);
        memcpy(m->id, f->bytes.ptr, 16);
        *has_id = true;
        return 0;
    case 5:
        return arena_slice(a, f->bytes, &m->tenant) ? 0 : arena_err(a, err, "a tenant index");
    case 11:
        return f->bytes.len == 1
                   ? 0
                   : err_set(err, ERR_CORRUPT, "protobuf: an encoding of %zu bytes", f->bytes.len);
    default:
        return f->bytes.len
                   ? block_dedicated_parse(f->bytes, a, &m->dedicated, &m->dedicated_count, err)
                   : 0;
    }
}

/* ERR_UNSUPPORTED: of a format that is not read here, otherwise whole. */
static int read_meta(struct slice bytes, const uint8_t *whole, struct arena *a,
                     struct block_meta *m, struct err *err)
{
    struct cursor c = cursor_of(bytes);
    struct slice version = {0};
    struct field f;
    bool has_id = false;
    int rc;
    *m = (struct block_meta){.version = BLOCK_VPARQUET4};
    while ((rc = field_next(&c, whole, &f, err)) == 0) {
        if (f.number == 1 || f.number == 2 || f.number == 5 || f.number == 11 || f.number == 17)
            rc = read_meta_bytes(&f, a, m, &version, &has_id, err);
        else
            rc = read_meta_number(&f, whole, m, err);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!has_id)
        return err_set(err, ERR_CORRUPT, "protobuf: a block without id");
    return block_version_parse(version, &m->version, err);
}

static int read_compacted(struct slice bytes, const uint8_t *whole, struct arena *a,
                          struct tenant_index_compacted *out, struct err *err)
{
    struct cursor c = cursor_of(bytes);
    struct field f;
    bool has_meta = false;
    int rc, unsupported = 0;
    *out = (struct tenant_index_compacted){.compacted_unix_ns = 0};
    while ((rc = field_next(&c, whole, &f, err)) == 0) {
        if (f.number == 1 && f.wire != WIRE_BYTES)
            rc = wire_error(&f, "a block", err);
        else if (f.number == 1)
            rc = read_meta(f.bytes, whole, a, &out->meta, err);
        else if (f.number == 2)
            rc = read_time(&f, whole, &out->compacted_unix_ns, err);
        has_meta |= f.number == 1;
        if (rc == ERR_UNSUPPORTED)
            unsupported = rc;
        else if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    return has_meta ? unsupported
                    : err_set(err, ERR_CORRUPT, "protobuf: a compacted block without meta");
}

/* How many there are, before room is made for them. */
static int count_pb(struct slice pb, size_t *live, size_t *compacted, struct err *err)
{
    struct cursor c = cursor_of(pb);
    struct field f;
    int rc;
    *live = *compacted = 0;
    while ((rc = field_next(&c, pb.ptr, &f, err)) == 0) {
        if ((f.number == 2 || f.number == 3) && f.wire != WIRE_BYTES)
            return wire_error(&f, "a block", err);
        *live += f.number == 2;
        *compacted += f.number == 3;
        if (*live + *compacted > LIMIT_TENANT_INDEX_BLOCKS)
            return err_set(err, ERR_LIMIT, "a tenant index of more than %zu blocks",
                           LIMIT_TENANT_INDEX_BLOCKS);
    }
    return rc < 0 ? rc : 0;
}

static int room_for(struct tenant_index *x, size_t live, size_t compacted, struct arena *a,
                    struct err *err)
{
    *x = (struct tenant_index){.live = arena_array(a, struct block_meta, live),
                               .compacted =
                                   arena_array(a, struct tenant_index_compacted, compacted)};
    return x->live && x->compacted ? 0 : arena_err(a, err, "a tenant index");
}

static int read_pb(struct slice pb, struct arena *a, struct tenant_index *x, struct err *err)
{
    struct cursor c = cursor_of(pb);
    struct field f;
    size_t live, compacted;
    int rc = count_pb(pb, &live, &compacted, err);
    if (rc == 0)
        rc = room_for(x, live, compacted, a, err);
    if (rc < 0)
        return rc;
    while ((rc = field_next(&c, pb.ptr, &f, err)) == 0) {
        if (f.number == 1)
            rc = read_time(&f, pb.ptr, &x->created_unix_ns, err);
        else if (f.number == 2)
            rc = read_meta(f.bytes, pb.ptr, a, &x->live[x->live_count], err);
        else if (f.number == 3)
            rc = read_compacted(f.bytes, pb.ptr, a, &x->compacted[x->compacted_count], err);
        if (rc == ERR_UNSUPPORTED)
            x->skipped++;
        else if (rc < 0)
            return rc;
        else if (f.number == 2)
            x->live_count++;
        else if (f.number == 3)
            x->compacted_count++;
    }
    return rc < 0 ? rc : 0;
}

int tenant_index_read_pb(struct slice zstd, struct arena *a, struct tenant_index *out,
                         struct err *err)
{
    struct buf pb;
    buf_init(&pb, LIMIT_TENANT_INDEX_BYTES);
    int rc = unzstd(zstd, &pb, err);
    if (rc == 0)
        rc = read_pb(buf_view(&pb), a, out, err);
    buf_clear(&pb);
    return rc < 0 ? err_wrap(err, "%s", TENANT_INDEX_PB), rc : 0;
}

/* ---- JSON, read ---- */

/* The next value as it stands in the text. */
static int json_raw(struct json_pull *j, struct slice *out)
{
    enum json_type type;
    int rc = json_peek(j, &type);
    const uint8_t *from = j->ptr;
    rc = rc < 0 ? rc : json_skip(j);
    *out = slice_of(from, (size_t)(j->ptr - from));
    return rc;
}

static int json_time(struct json_pull *j, uint64_t *out)
{
    struct slice text = {0};
    int rc = json_string(j, &text);
    if (rc == 0 && text.len && !time_parse_rfc3339(text, out)) {
        char shown[64];
        return json_fail(j, "\"%s\" is not an RFC 3339 time",
                         text_escape(text, 40, shown, sizeof shown));
    }
    return rc;
}

/* When a compacted block was marked: beside the fields of its meta. */
static int compacted_time(struct slice json, struct arena *a, uint64_t *out, struct err *err)
{
    struct json_pull j = json_pull_of(json, a, LIMIT_TENANT_INDEX_DEPTH, err);
    struct json_iter it = {0};
    struct slice key;
    int rc;
    while ((rc = json_object_next(&j, &it, &key)) == 0) {
        rc = slice_eq_nocase(key, SLICE("compactedTime")) ? json_time(&j, out) : json_skip(&j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int json_metas(struct json_pull *j, struct arena *a, bool compacted, struct tenant_index *x)
{
    struct json_iter it = {0};
    struct slice json;
    int rc;
    while ((rc = json_array_next(j, &it)) == 0) {
        struct block_meta *m =
            compacted ? &x->compacted[x->compacted_count].meta : &x->live[x->live_count];
        uint64_t marked = 0;
        rc = json_raw(j, &json);
        if (rc < 0)
            return rc;
        rc = block_meta_parse(json, a, m, j->err);
        if (rc == ERR_UNSUPPORTED) {
            x->skipped++;
            continue;
        }
        if (rc == 0 && compacted)
            rc = compacted_time(json, a, &marked, j->err);
        if (rc < 0)
            return rc;
        if (compacted)
            x->compacted[x->compacted_count++].compacted_unix_ns = marked;
        else
            x->live_count++;
    }
    return rc < 0 ? rc : 0;
}

static int json_count(struct json_pull *j, size_t *count)
{
    struct json_iter it = {0};
    int rc;
    while ((rc = json_array_next(j, &it)) == 0) {
        if (++*count > LIMIT_TENANT_INDEX_BLOCKS)
            return err_set(j->err, ERR_LIMIT, "a tenant index of more than %zu blocks",
                           LIMIT_TENANT_INDEX_BLOCKS);
        rc = json_skip(j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

/* Twice over the text: to count, and to read. */
static int json_pass(struct slice json, struct arena *a, struct tenant_index *x, size_t *live,
                     size_t *compacted, struct err *err)
{
    struct json_pull j = json_pull_of(json, a, LIMIT_TENANT_INDEX_DEPTH, err);
    struct json_iter it = {0};
    struct slice key;
    bool seen_live = false, seen_compacted = false;
    int rc;
    while ((rc = json_object_next(&j, &it, &key)) == 0) {
        bool is_live = slice_eq_nocase(key, SLICE("meta"));
        bool is_compacted = slice_eq_nocase(key, SLICE("compacted"));
        if ((is_live && seen_live) || (is_compacted && seen_compacted))
            return json_fail(&j, "a list of blocks twice");
        seen_live |= is_live;
        seen_compacted |= is_compacted;
        if (is_live || is_compacted)
            rc =
                x ? json_metas(&j, a, is_compacted, x) : json_count(&j, is_live ? live : compacted);
        else if (x && slice_eq_nocase(key, SLICE("created_at")))
            rc = json_time(&j, &x->created_unix_ns);
        else
            rc = json_skip(&j);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : json_end(&j);
}

int tenant_index_read_json(struct slice gzip, struct arena *a, struct tenant_index *out,
                           struct err *err)
{
    size_t live = 0, compacted = 0;
    struct buf json;
    struct err inner = {0}; /* json_pull needs one */
    buf_init(&json, LIMIT_TENANT_INDEX_BYTES);
    int rc = gunzip(gzip, &json, &inner);
    if (rc == 0)
        rc = json_pass(buf_view(&json), a, NULL, &live, &compacted, &inner);
    if (rc == 0)
        rc = room_for(out, live, compacted, a, &inner);
    if (rc == 0)
        rc = json_pass(buf_view(&json), a, out, NULL, NULL, &inner);
    buf_clear(&json);
    if (rc == ERR_INVALID) /* text that is no JSON: foreign bytes, not a caller's mistake */
        rc = ERR_CORRUPT;
    return rc < 0 ? err_set(err, rc, "%s: %s", TENANT_INDEX_JSON, inner.msg) : 0;
}

/* ---- protobuf, written ---- */

static int put_varint(struct buf *out, uint32_t field, uint64_t v)
{
    if (v == 0)
        return 0;
    int rc = buf_varint(out, (uint64_t)field << 3 | WIRE_VARINT);
    return rc < 0 ? rc : buf_varint(out, v);
}

static int put_bytes(struct buf *out, uint32_t field, struct slice bytes)
{
    int rc = buf_varint(out, (uint64_t)field << 3 | WIRE_BYTES);
    rc = rc < 0 ? rc : buf_varint(out, bytes.len);
    return rc < 0 ? rc : buf_slice(out, bytes);
}

static size_t varint_len(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

/* 0, the unknown time, is Go's zero time. */
static int put_time(struct buf *out, uint32_t field, uint64_t unix_ns)
{
    uint64_t s = unix_ns ? unix_ns / NS_PER_S : (uint64_t)ZERO_TIME_S;
    uint64_t ns = unix_ns % NS_PER_S;
    size_t len = (s ? 1 + varint_len(s) : 0) + (ns ? 1 + varint_len(ns) : 0);
    int rc = buf_varint(out, (uint64_t)field << 3 | WIRE_BYTES);
    rc = rc < 0 ? rc : buf_varint(out, len);
    rc = rc < 0 ? rc : put_varint(out, 1, s);
    return rc < 0 ? rc : put_varint(out, 2, ns);
}

static int put_meta_fields(const struct block_meta *m, struct buf *scratch, struct buf *out)
{
    char version[16];
    static const uint8_t none[1] = {0};
    snprintf(version, sizeof version, "vParquet%d", (int)m->version);
    int rc = put_bytes(out, 1, slice_cstr(version));
    rc = rc < 0 ? rc : put_bytes(out, 2, slice_of(m->id, 16));
    rc = rc < 0 ? rc : put_bytes(out, 5, m->tenant);
    rc = rc < 0 ? rc : put_time(out, 6, m->start_unix_ns / NS_PER_S * NS_PER_S);
    rc = rc < 0 ? rc : put_time(out, 7, block_meta_end_s(m->end_unix_ns) * NS_PER_S);
    rc = rc < 0 ? rc : put_varint(out, 8, (uint64_t)m->total_objects);
    rc = rc < 0 ? rc : put_varint(out, 9, m->size);
    rc = rc < 0 ? rc : put_varint(out, 10, m->compaction_level);
    rc = rc < 0 ? rc : put_bytes(out, 11, slice_of(none, 1));
    rc = rc < 0 ? rc : put_varint(out, 13, m->total_records);
    rc = rc < 0 ? rc : put_varint(out, 15, m->bloom_shards);
    rc = rc < 0 ? rc : put_varint(out, 16, m->footer_size);
    buf_reset(scratch);
    if (rc == 0 && m->dedicated_count)
        rc = block_dedicated_write(m->dedicated, m->dedicated_count, scratch);
    rc = rc < 0 ? rc : put_bytes(out, 17, buf_view(scratch)); /* empty too, as 2.7 */
    return rc < 0 ? rc : put_varint(out, 18, m->replication_factor);
}

/* Scratch of the writer: a message is made before its length is known. */
struct pb_scratch {
    struct buf meta, compacted, dedicated;
};

static int put_live(const struct block_meta *m, struct pb_scratch *s, struct buf *out)
{
    buf_reset(&s->meta);
    int rc = put_meta_fields(m, &s->dedicated, &s->meta);
    return rc < 0 ? rc : put_bytes(out, 2, buf_view(&s->meta));
}

static int put_compacted(const struct tenant_index_compacted *c, struct pb_scratch *s,
                         struct buf *out)
{
    buf_reset(&s->meta);
    buf_reset(&s->compacted);
    int rc = put_meta_fields(&c->meta, &s->dedicated, &s->meta);
    rc = rc < 0 ? rc : put_bytes(&s->compacted, 1, buf_view(&s->meta));
    rc = rc < 0 ? rc : put_time(&s->compacted, 2, c->compacted_unix_ns);
    return rc < 0 ? rc : put_bytes(out, 3, buf_view(&s->compacted));
}

int tenant_index_write_pb(const struct tenant_index *x, struct buf *out, struct err *err)
{
    struct buf pb;
    struct pb_scratch s;
    buf_init(&pb, LIMIT_TENANT_INDEX_BYTES);
    buf_init(&s.meta, LIMIT_TENANT_INDEX_BYTES);
    buf_init(&s.compacted, LIMIT_TENANT_INDEX_BYTES);
    buf_init(&s.dedicated, LIMIT_TENANT_INDEX_BYTES);
    int rc = put_time(&pb, 1, x->created_unix_ns);
    for (size_t i = 0; i < x->live_count && rc == 0; i++)
        rc = put_live(&x->live[i], &s, &pb);
    for (size_t i = 0; i < x->compacted_count && rc == 0; i++)
        rc = put_compacted(&x->compacted[i], &s, &pb);
    rc = rc < 0 ? full(err, rc) : zstd_append(buf_view(&pb), out, err);
    buf_clear(&pb);
    buf_clear(&s.meta);
    buf_clear(&s.compacted);
    buf_clear(&s.dedicated);
    return rc;
}

/* ---- JSON, written ---- */

static int put_json_time(struct buf *out, uint64_t unix_ns)
{
    char text[36] = "0001-01-01T00:00:00Z";
    if (unix_ns)
        time_format_rfc3339(unix_ns, text);
    return buf_printf(out, "\"%s\"", text);
}

static int put_json_compacted(const struct tenant_index_compacted *c, struct buf *out)
{
    int rc = block_meta_write(&c->meta, out, NULL);
    if (rc < 0)
        return rc;
    out->len--; /* the brace that ends the meta: one field more follows */
    rc = buf_str(out, ",\"compactedTime\":");
    rc = rc < 0 ? rc : put_json_time(out, c->compacted_unix_ns);
    return rc < 0 ? rc : buf_str(out, "}");
}

int tenant_index_write_json(const struct tenant_index *x, struct buf *out, struct err *err)
{
    struct buf json;
    buf_init(&json, LIMIT_TENANT_INDEX_BYTES);
    int rc = buf_str(&json, "{\"created_at\":");
    rc = rc < 0 ? rc : put_json_time(&json, x->created_unix_ns);
    rc = rc < 0 ? rc : buf_str(&json, ",\"meta\":[");
    for (size_t i = 0; i < x->live_count && rc == 0; i++) {
        rc = i ? buf_str(&json, ",") : 0;
        rc = rc < 0 ? rc : block_meta_write(&x->live[i], &json, NULL);
    }
    rc = rc < 0 ? rc : buf_str(&json, "],\"compacted\":[");
    for (size_t i = 0; i < x->compacted_count && rc == 0; i++) {
        rc = i ? buf_str(&json, ",") : 0;
        rc = rc < 0 ? rc : put_json_compacted(&x->compacted[i], &json);
    }
    rc = rc < 0 ? rc : buf_str(&json, "]}");
    rc = rc < 0 ? full(err, rc) : gzip_append(buf_view(&json), out, err);
    buf_clear(&json);
    return rc;
}
