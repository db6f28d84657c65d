/* Protobuf fields, one by one and by table. */
#include "base/proto.h"

/* ---- writing ---- */

static void put_tag(struct proto_writer *w, uint32_t number, enum proto_wire wire)
{
    if (w->rc == 0)
        w->rc = buf_varint(w->out, (uint64_t)number << 3 | wire);
}

void proto_put_packed(struct proto_writer *w, uint64_t v)
{
    if (w->rc == 0)
        w->rc = buf_varint(w->out, v);
}

void proto_put_u64(struct proto_writer *w, uint32_t number, uint64_t v)
{
    if (!v)
        return;
    put_tag(w, number, PROTO_WIRE_VARINT);
    proto_put_packed(w, v);
}

void proto_put_i64(struct proto_writer *w, uint32_t number, int64_t v)
{
    proto_put_u64(w, number, zigzag_encode(v));
}

void proto_put_fixed64(struct proto_writer *w, uint32_t number, uint64_t v)
{
    if (!v)
        return;
    put_tag(w, number, PROTO_WIRE_FIXED64);
    if (w->rc == 0)
        w->rc = buf_u64le(w->out, v);
}

void proto_put_f64(struct proto_writer *w, uint32_t number, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    proto_put_fixed64(w, number, bits);
}

void proto_put_bytes(struct proto_writer *w, uint32_t number, struct slice v)
{
    put_tag(w, number, PROTO_WIRE_BYTES);
    proto_put_packed(w, v.len);
    if (w->rc == 0)
        w->rc = buf_slice(w->out, v);
}

/* One byte is left for the length; a longer one pushes the content back at the end. */
size_t proto_begin(struct proto_writer *w, uint32_t number)
{
    put_tag(w, number, PROTO_WIRE_BYTES);
    if (w->rc == 0)
        w->rc = buf_u8(w->out, 0);
    return w->out->len;
}

void proto_end(struct proto_writer *w, size_t begun)
{
    if (w->rc < 0)
        return;
    struct buf *out = w->out;
    size_t length = out->len - begun, more = 0;
    for (size_t v = length; v >= 0x80; v >>= 7)
        more++;
    w->rc = buf_reserve(out, more);
    if (w->rc < 0)
        return;
    uint8_t *p = out->ptr + begun - 1;
    if (more)
        memmove(p + 1 + more, p + 1, length);
    for (size_t v = length; v >= 0x80; v >>= 7) {
        *p++ = (uint8_t)(v | 0x80);
        length = v >> 7;
    }
    *p = (uint8_t)length;
    out->len += more;
}

/* ---- reading ---- */

static int corrupt(const struct proto_field *f, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "protobuf field %u at byte %zu: %s", f->number, f->offset,
                   what);
}

int proto_next(struct cursor *c, struct proto_field *f, struct err *err)
{
    uint64_t tag = 0;
    uint32_t half = 0;
    bool ok = false;
    if (cursor_left(c) == 0)
        return 1;
    *f = (struct proto_field){.offset = cursor_offset(c)};
    if (!cursor_varint(c, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
        return corrupt(f, "not a tag", err);
    f->number = (uint32_t)(tag >> 3);
    f->wire = (enum proto_wire)(tag & 7);
    switch (f->wire) {
    case PROTO_WIRE_VARINT:
        ok = cursor_varint(c, &f->num);
        break;
    case PROTO_WIRE_FIXED64:
        ok = cursor_u64le(c, &f->num);
        break;
    case PROTO_WIRE_BYTES:
        ok = cursor_varint_bytes(c, &f->bytes);
        break;
    case PROTO_WIRE_FIXED32:
        ok = cursor_u32le(c, &half);
        f->num = half;
        break;
    }
    return ok ? 0 : corrupt(f, "cut off, or of an unknown wire type", err);
}

int proto_get_bytes(const struct proto_field *f, struct slice *out, struct err *err)
{
    if (f->wire != PROTO_WIRE_BYTES)
        return corrupt(f, "bytes are expected", err);
    *out = f->bytes;
    return 0;
}

int proto_get_u64(const struct proto_field *f, uint64_t max, uint64_t *out, struct err *err)
{
    if (f->wire == PROTO_WIRE_BYTES)
        return corrupt(f, "a number is expected", err);
    if (f->num > max)
        return corrupt(f, "the number is too large", err);
    *out = f->num;
    return 0;
}

int proto_get_f64(const struct proto_field *f, double *out, struct err *err)
{
    if (f->wire != PROTO_WIRE_FIXED64)
        return corrupt(f, "a double is expected", err);
    memcpy(out, &f->num, sizeof *out);
    return 0;
}

uint32_t proto_count(struct slice message, uint32_t number)
{
    struct cursor c = cursor_of(message);
    struct proto_field f;
    uint32_t count = 0;
    while (proto_next(&c, &f, NULL) == 0)
        count += f.number == number && f.wire == PROTO_WIRE_BYTES && count < UINT32_MAX;
    return count;
}

/* ---- tables ---- */

static uint64_t load_number(const struct proto_column *k, const uint8_t *at)
{
    uint64_t v = 0;
    uint32_t half = 0;
    switch (k->type) {
    case PROTO_U8:
        return *at;
    case PROTO_BOOL: {
        bool b;
        memcpy(&b, at, sizeof b);
        return b;
    }
    case PROTO_U32:
        memcpy(&half, at, sizeof half);
        return half;
    case PROTO_I32: {
        int32_t i;
        memcpy(&i, at, sizeof i);
        return zigzag_encode(i);
    }
    case PROTO_I64: {
        int64_t i;
        memcpy(&i, at, sizeof i);
        return zigzag_encode(i);
    }
    default:
        memcpy(&v, at, sizeof v);
        return v;
    }
}

static const uint8_t no_id[16];

void proto_put_table(struct proto_writer *w, const struct proto_table *t, const void *object)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct proto_column *k = &t->columns[i];
        const uint8_t *at = (const uint8_t *)object + k->offset;
        struct slice s;
        switch (k->type) {
        case PROTO_BYTES:
            memcpy(&s, at, sizeof s);
            if (s.len)
                proto_put_bytes(w, k->number, s);
            break;
        case PROTO_ID16:
            if (memcmp(at, no_id, sizeof no_id) != 0)
                proto_put_bytes(w, k->number, slice_of(at, sizeof no_id));
            break;
        case PROTO_FIXED64:
        case PROTO_F64:
            proto_put_fixed64(w, k->number, load_number(k, at));
            break;
        default:
            proto_put_u64(w, k->number, load_number(k, at));
        }
    }
}

static int store_number(const struct proto_column *k, uint64_t v, uint8_t *at)
{
    bool b = v != 0;
    uint8_t byte = (uint8_t)v;
    uint32_t half = (uint32_t)v;
    int64_t whole = zigzag_decode(v);
    int32_t small = (int32_t)whole;
    switch (k->type) {
    case PROTO_U8:
        memcpy(at, &byte, sizeof byte);
        return v <= UINT8_MAX ? 0 : ERR_CORRUPT;
    case PROTO_BOOL:
        memcpy(at, &b, sizeof b);
        return 0;
    case PROTO_U32:
        memcpy(at, &half, sizeof half);
        return v <= UINT32_MAX ? 0 : ERR_CORRUPT;
    case PROTO_I32:
        memcpy(at, &small, sizeof small);
        return whole == small ? 0 : ERR_CORRUPT;
    case PROTO_I64:
        memcpy(at, &whole, sizeof whole);
        return 0;
    default:
        memcpy(at, &v, sizeof v);
        return 0;
    }
}

static int take(const struct proto_column *k, const struct proto_field *f, uint8_t *at,
                struct err *err)
{
    double d = 0;
    uint64_t v = 0;
    int rc;
    switch (k->type) {
    case PROTO_BYTES:
        if (f->wire != PROTO_WIRE_BYTES)
            return corrupt(f, "bytes are expected", err);
        memcpy(at, &f->bytes, sizeof f->bytes);
        return 0;
    case PROTO_ID16:
        if (f->wire != PROTO_WIRE_BYTES || f->bytes.len != sizeof no_id)
            return corrupt(f, "16 bytes are expected", err);
        memcpy(at, f->bytes.ptr, sizeof no_id);
        return 0;
    case PROTO_F64:
        rc = proto_get_f64(f, &d, err);
        if (rc == 0)
            memcpy(at, &d, sizeof d);
        return rc;
    default:
        rc = proto_get_u64(f, UINT64_MAX, &v, err);
        if (rc == 0 && store_number(k, v, at) < 0)
            rc = corrupt(f, "the number is too large", err);
        return rc;
    }
}

int proto_get_table(const struct proto_table *t, const struct proto_field *f, void *object,
                    struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->columns[i].number == f->number)
            return take(&t->columns[i], f, (uint8_t *)object + t->columns[i].offset, err);
    }
    return 1;
}
