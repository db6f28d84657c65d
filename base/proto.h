/* Protobuf's wire format, for messages of our own: written to a buf, read by a bounded cursor.
 *
 * A table of fields describes the numbers and byte strings of a struct once, for both directions,
 * so that what is written is what is read. Lists and messages inside are written and read by hand.
 * Zero numbers and empty strings are left out, unknown fields are skipped. */
#ifndef BASE_PROTO_H
#define BASE_PROTO_H

#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"

enum proto_wire {
    PROTO_WIRE_VARINT = 0,
    PROTO_WIRE_FIXED64 = 1,
    PROTO_WIRE_BYTES = 2,
    PROTO_WIRE_FIXED32 = 5,
};

/* ---- writing ---- */

/* rc is the first failure; nothing is written after it. */
struct proto_writer {
    struct buf *out;
    int rc;
};

/* Left out when 0. */
void proto_put_u64(struct proto_writer *w, uint32_t number, uint64_t v);
void proto_put_i64(struct proto_writer *w, uint32_t number, int64_t v); /* zigzag */
void proto_put_fixed64(struct proto_writer *w, uint32_t number, uint64_t v);
/* Left out when its bits are 0: -0.0 is written. */
void proto_put_f64(struct proto_writer *w, uint32_t number, double v);
/* Written in any case. */
void proto_put_bytes(struct proto_writer *w, uint32_t number, struct slice v);
/* A bare varint, for packed lists. */
void proto_put_packed(struct proto_writer *w, uint64_t v);

/* A message inside: what is written between the two is its content. */
size_t proto_begin(struct proto_writer *w, uint32_t number);
void proto_end(struct proto_writer *w, size_t begun);

/* ---- reading ---- */

struct proto_field {
    uint32_t number;
    enum proto_wire wire;
    uint64_t num;       /* of the three number forms */
    struct slice bytes; /* PROTO_WIRE_BYTES; points into the message */
    size_t offset;      /* of the field in its message */
};

/* The next field: 0, 1 at the end, ERR_CORRUPT. */
int proto_next(struct cursor *c, struct proto_field *f, struct err *err);
/* ERR_CORRUPT for another wire type, or a number that does not fit. */
int proto_get_bytes(const struct proto_field *f, struct slice *out, struct err *err);
int proto_get_u64(const struct proto_field *f, uint64_t max, uint64_t *out, struct err *err);
int proto_get_f64(const struct proto_field *f, double *out, struct err *err);
/* How often the field is in the message. What cannot be read is not counted. */
uint32_t proto_count(struct slice message, uint32_t number);

/* ---- tables ---- */

enum proto_type {
    PROTO_U8,
    PROTO_U32,
    PROTO_U64,
    PROTO_SIZE,    /* size_t */
    PROTO_I32,     /* zigzag */
    PROTO_I64,     /* zigzag */
    PROTO_FIXED64, /* uint64_t that is rarely small: times, hashes */
    PROTO_BOOL,
    PROTO_F64,
    PROTO_BYTES, /* struct slice, into the message */
    PROTO_ID16,  /* uint8_t[16]; another length is ERR_CORRUPT */
};

struct proto_column {
    uint32_t number;
    enum proto_type type;
    size_t offset; /* of the member */
};

struct proto_table {
    const struct proto_column *columns;
    size_t count;
};

#define PROTO_TABLE(name, ...)                                                                     \
    static const struct proto_column name##_columns[] = {__VA_ARGS__};                             \
    static const struct proto_table name = {name##_columns,                                        \
                                            sizeof name##_columns / sizeof name##_columns[0]}

void proto_put_table(struct proto_writer *w, const struct proto_table *t, const void *object);
/* 0: taken; 1: the table has no such field; ERR_CORRUPT. */
int proto_get_table(const struct proto_table *t, const struct proto_field *f, void *object,
                    struct err *err);

#endif
