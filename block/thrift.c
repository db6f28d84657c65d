/* Thrift compact protocol: Parquet's footers, page headers and page indexes are written in it. Own
 * code because the readers of a bucket must survive any bytes, which generated readers do not
 * promise. */
#include "block/thrift.h"

#include <assert.h>
#include <stdio.h>

#include "block/block_limits.h"

/* ---- reading ---- */

struct thrift_reader thrift_reader_of(struct slice bytes, const char *what, struct err *err)
{
    return (struct thrift_reader){.cur = cursor_of(bytes), .err = err, .what = what};
}

int thrift_corrupt(const struct thrift_reader *r, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->err, ERR_CORRUPT, "%s: %s at byte %zu of %zu", r->what, text,
                   cursor_offset(&r->cur), (size_t)(r->cur.end - r->cur.start));
}

int thrift_next(struct thrift_reader *r, struct thrift_field *f)
{
    uint8_t head;
    if (!cursor_u8(&r->cur, &head))
        return thrift_corrupt(r, "struct does not end");
    f->type = head & 0x0f;
    if (f->type == THRIFT_STOP)
        return 1;
    if (f->type > THRIFT_STRUCT)
        return thrift_corrupt(r, "field of type %u", f->type);
    int64_t id = f->id + (head >> 4);
    if (head >> 4 == 0) {
        uint64_t v;
        if (!cursor_varint(&r->cur, &v))
            return thrift_corrupt(r, "field id is cut off");
        id = zigzag_decode(v);
    }
    if (id < INT16_MIN || id > INT16_MAX)
        return thrift_corrupt(r, "field id %lld", (long long)id);
    f->id = (int16_t)id;
    return 0;
}

static int list_head(struct thrift_reader *r, uint8_t *type, uint32_t *count)
{
    uint8_t head;
    if (!cursor_u8(&r->cur, &head))
        return thrift_corrupt(r, "list is cut off");
    uint64_t n = head >> 4;
    if (n == 15 && !cursor_varint(&r->cur, &n))
        return thrift_corrupt(r, "list count is cut off");
    if (n > cursor_left(&r->cur) || n > UINT32_MAX)
        return thrift_corrupt(r, "list of %llu elements, %zu bytes left", (unsigned long long)n,
                              cursor_left(&r->cur));
    *type = head & 0x0f;
    *count = (uint32_t)n;
    return 0;
}

static int skip_value(struct thrift_reader *r, uint8_t type, bool in_list, unsigned depth);

static int skip_list(struct thrift_reader *r, unsigned depth)
{
    uint8_t type;
    uint32_t count;
    int rc = list_head(r, &type, &count);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = skip_value(r, type, true, depth - 1);
    return rc;
}

static int skip_map(struct thrift_reader *r, unsigned depth)
{
    uint64_t count;
    uint8_t types = 0;
    if (!cursor_varint(&r->cur, &count) || (count > 0 && !cursor_u8(&r->cur, &types)))
        return thrift_corrupt(r, "map is cut off");
    if (count > cursor_left(&r->cur) / 2)
        return thrift_corrupt(r, "map of %llu pairs, %zu bytes left", (unsigned long long)count,
                              cursor_left(&r->cur));
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        rc = skip_value(r, types >> 4, true, depth - 1);
        if (rc == 0)
            rc = skip_value(r, types & 0x0f, true, depth - 1);
    }
    return rc;
}

static int skip_struct(struct thrift_reader *r, unsigned depth)
{
    struct thrift_field f = {0};
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        rc = skip_value(r, f.type, false, depth - 1);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int skip_value(struct thrift_reader *r, uint8_t type, bool in_list, unsigned depth)
{
    uint64_t v;
    struct slice s;
    bool ok;
    if (depth == 0)
        return thrift_corrupt(r, "values nest more than %d deep", LIMIT_THRIFT_DEPTH);
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        ok = !in_list || cursor_skip(&r->cur, 1);
        break;
    case THRIFT_I8:
        ok = cursor_skip(&r->cur, 1);
        break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        ok = cursor_varint(&r->cur, &v);
        break;
    case THRIFT_DOUBLE:
        ok = cursor_skip(&r->cur, 8);
        break;
    case THRIFT_BINARY:
        ok = cursor_varint_bytes(&r->cur, &s);
        break;
    case THRIFT_LIST:
    case THRIFT_SET:
        return skip_list(r, depth);
    case THRIFT_MAP:
        return skip_map(r, depth);
    case THRIFT_STRUCT:
        return skip_struct(r, depth);
    default:
        return thrift_corrupt(r, "value of type %u", type);
    }
    return ok ? 0 : thrift_corrupt(r, "value of type %u is cut off", type);
}

int thrift_skip(struct thrift_reader *r, const struct thrift_field *f)
{
    return skip_value(r, f->type, false, LIMIT_THRIFT_DEPTH);
}

static int wrong_type(const struct thrift_reader *r, const struct thrift_field *f, const char *want)
{
    return thrift_corrupt(r, "field %d has type %u, expected %s", f->id, f->type, want);
}

int thrift_bool(struct thrift_reader *r, const struct thrift_field *f, bool *out)
{
    if (f->type != THRIFT_TRUE && f->type != THRIFT_FALSE)
        return wrong_type(r, f, "a boolean");
    *out = f->type == THRIFT_TRUE;
    return 0;
}

int thrift_elem_bool(struct thrift_reader *r, bool *out)
{
    uint8_t v;
    if (!cursor_u8(&r->cur, &v) || v > 2)
        return thrift_corrupt(r, "bad boolean in a list");
    *out = v == 1;
    return 0;
}

int thrift_int(struct thrift_reader *r, const struct thrift_field *f, int64_t min, int64_t max,
               int64_t *out)
{
    int64_t value;
    if (f->type == THRIFT_I8) {
        uint8_t byte;
        if (!cursor_u8(&r->cur, &byte))
            return thrift_corrupt(r, "field %d is cut off", f->id);
        value = (int8_t)byte;
    } else if (f->type == THRIFT_I16 || f->type == THRIFT_I32 || f->type == THRIFT_I64) {
        uint64_t v;
        if (!cursor_varint(&r->cur, &v))
            return thrift_corrupt(r, "field %d is cut off", f->id);
        value = zigzag_decode(v);
    } else {
        return wrong_type(r, f, "an integer");
    }
    if (value < min || value > max)
        return thrift_corrupt(r, "field %d is %lld, expected %lld to %lld", f->id, (long long)value,
                              (long long)min, (long long)max);
    *out = value;
    return 0;
}

int thrift_i32(struct thrift_reader *r, const struct thrift_field *f, int32_t *out)
{
    int64_t v = 0;
    int rc = thrift_int(r, f, INT32_MIN, INT32_MAX, &v);
    if (rc == 0)
        *out = (int32_t)v;
    return rc;
}

int thrift_u32(struct thrift_reader *r, const struct thrift_field *f, uint32_t *out)
{
    int64_t v = 0;
    int rc = thrift_int(r, f, 0, INT32_MAX, &v);
    if (rc == 0)
        *out = (uint32_t)v;
    return rc;
}

int thrift_i64(struct thrift_reader *r, const struct thrift_field *f, int64_t *out)
{
    return thrift_int(r, f, INT64_MIN, INT64_MAX, out);
}

int thrift_u64(struct thrift_reader *r, const struct thrift_field *f, uint64_t *out)
{
    int64_t v = 0;
    int rc = thrift_int(r, f, 0, INT64_MAX, &v);
    if (rc == 0)
        *out = (uint64_t)v;
    return rc;
}

int thrift_binary(struct thrift_reader *r, const struct thrift_field *f, struct slice *out)
{
    if (f->type != THRIFT_BINARY)
        return wrong_type(r, f, "binary");
    return cursor_varint_bytes(&r->cur, out) ? 0 : thrift_corrupt(r, "field %d is cut off", f->id);
}

int thrift_struct(struct thrift_reader *r, const struct thrift_field *f)
{
    return f->type == THRIFT_STRUCT ? 0 : wrong_type(r, f, "a struct");
}

static bool is_int(uint8_t type)
{
    return type >= THRIFT_I8 && type <= THRIFT_I64;
}

static bool is_bool(uint8_t type)
{
    return type == THRIFT_TRUE || type == THRIFT_FALSE;
}

int thrift_list(struct thrift_reader *r, const struct thrift_field *f, enum thrift_type type,
                struct thrift_field *elem, uint32_t *count)
{
    if (f->type != THRIFT_LIST)
        return wrong_type(r, f, "a list");
    uint8_t found;
    int rc = list_head(r, &found, count);
    if (rc < 0)
        return rc;
    bool same = found == type || (is_int(found) && is_int((uint8_t)type)) ||
                (is_bool(found) && is_bool((uint8_t)type));
    if (*count > 0 && !same)
        return thrift_corrupt(r, "field %d is a list of type %u, expected %d", f->id, found, type);
    *elem = (struct thrift_field){.id = f->id, .type = found};
    return 0;
}

/* ---- writing ---- */

struct thrift_writer thrift_writer_of(struct buf *out)
{
    return (struct thrift_writer){.out = out};
}

static void put(struct thrift_writer *w, const void *p, size_t n)
{
    if (w->rc == 0)
        w->rc = buf_append(w->out, p, n);
}

static void put_varint(struct thrift_writer *w, uint64_t v)
{
    if (w->rc == 0)
        w->rc = buf_varint(w->out, v);
}

static void put_field(struct thrift_writer *w, int16_t id, enum thrift_type type)
{
    int16_t *last = &w->last_id[w->depth];
    assert(id > *last && id - *last <= 15);
    uint8_t head = (uint8_t)((unsigned)(id - *last) << 4 | type);
    *last = id;
    put(w, &head, 1);
}

static void enter(struct thrift_writer *w)
{
    assert(w->depth + 1 < sizeof w->last_id / sizeof w->last_id[0]);
    w->last_id[++w->depth] = 0;
}

void thrift_put_bool(struct thrift_writer *w, int16_t id, bool v)
{
    put_field(w, id, v ? THRIFT_TRUE : THRIFT_FALSE);
}

void thrift_put_i8(struct thrift_writer *w, int16_t id, int8_t v)
{
    put_field(w, id, THRIFT_I8);
    put(w, &v, 1);
}

void thrift_put_i16(struct thrift_writer *w, int16_t id, int16_t v)
{
    put_field(w, id, THRIFT_I16);
    put_varint(w, zigzag_encode(v));
}

void thrift_put_i32(struct thrift_writer *w, int16_t id, int32_t v)
{
    put_field(w, id, THRIFT_I32);
    put_varint(w, zigzag_encode(v));
}

void thrift_put_i64(struct thrift_writer *w, int16_t id, int64_t v)
{
    put_field(w, id, THRIFT_I64);
    put_varint(w, zigzag_encode(v));
}

void thrift_put_binary(struct thrift_writer *w, int16_t id, struct slice v)
{
    put_field(w, id, THRIFT_BINARY);
    thrift_put_elem_binary(w, v);
}

void thrift_put_struct(struct thrift_writer *w, int16_t id)
{
    put_field(w, id, THRIFT_STRUCT);
    enter(w);
}

void thrift_put_list(struct thrift_writer *w, int16_t id, enum thrift_type type, size_t count)
{
    put_field(w, id, THRIFT_LIST);
    uint8_t head = (uint8_t)((unsigned)(count < 15 ? count : 15) << 4 | type);
    put(w, &head, 1);
    if (count >= 15)
        put_varint(w, count);
}

void thrift_put_elem_bool(struct thrift_writer *w, bool v)
{
    uint8_t byte = v;
    put(w, &byte, 1);
}

void thrift_put_elem_int(struct thrift_writer *w, int64_t v)
{
    put_varint(w, zigzag_encode(v));
}

void thrift_put_elem_binary(struct thrift_writer *w, struct slice v)
{
    put_varint(w, v.len);
    put(w, v.ptr, v.len);
}

void thrift_put_elem_struct(struct thrift_writer *w)
{
    enter(w);
}

void thrift_put_stop(struct thrift_writer *w)
{
    uint8_t stop = THRIFT_STOP;
    put(w, &stop, 1);
    if (w->depth > 0)
        w->depth--;
}
