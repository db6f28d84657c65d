/* The thrift compact protocol, as far as Parquet's metadata needs it. Reading is bounded: every
 * length is checked against the bytes that are left, every list count likewise (an element takes a
 * byte or more), and what is skipped nests LIMIT_THRIFT_DEPTH deep at most. */
#ifndef BLOCK_THRIFT_H
#define BLOCK_THRIFT_H

#include "base/buf.h"
#include "base/cursor.h"
#include "base/err.h"

/* The numbers that stand in the bytes. Either boolean is the element type of a list of them. */
enum thrift_type {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1,
    THRIFT_FALSE = 2,
    THRIFT_I8 = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_MAP = 11,
    THRIFT_STRUCT = 12,
};

/* ---- reading ---- */

struct thrift_reader {
    struct cursor cur;
    struct err *err;
    const char *what; /* "footer": for error texts */
};

/* A field of the struct that is being read. Starts zeroed; id is kept from field to field. */
struct thrift_field {
    int16_t id;
    uint8_t type;
};

struct thrift_reader thrift_reader_of(struct slice bytes, const char *what, struct err *err);

/* ERR_CORRUPT with what was wrong and the byte it was found at. */
__attribute__((format(printf, 2, 3))) int thrift_corrupt(const struct thrift_reader *r,
                                                         const char *fmt, ...);

/* 0: a field, whose value must be read or skipped; 1: the struct ended; negative: ERR_CORRUPT. */
int thrift_next(struct thrift_reader *r, struct thrift_field *f);
int thrift_skip(struct thrift_reader *r, const struct thrift_field *f);

/* The value of field f, which must be of the asked type. Any integer type is taken for any other
 * as long as the value lies in [min, max]. */
int thrift_bool(struct thrift_reader *r, const struct thrift_field *f, bool *out);
int thrift_int(struct thrift_reader *r, const struct thrift_field *f, int64_t min, int64_t max,
               int64_t *out);
int thrift_i32(struct thrift_reader *r, const struct thrift_field *f, int32_t *out);
int thrift_u32(struct thrift_reader *r, const struct thrift_field *f, uint32_t *out); /* i32 >= 0 */
int thrift_i64(struct thrift_reader *r, const struct thrift_field *f, int64_t *out);
int thrift_u64(struct thrift_reader *r, const struct thrift_field *f, uint64_t *out); /* i64 >= 0 */
int thrift_binary(struct thrift_reader *r, const struct thrift_field *f, struct slice *out);
int thrift_struct(struct thrift_reader *r, const struct thrift_field *f); /* fields follow */
/* A list of the given element type; its elements follow. An empty list may have any element type,
 * and an integer list any integer type: read elements as the field elem says. */
int thrift_list(struct thrift_reader *r, const struct thrift_field *f, enum thrift_type type,
                struct thrift_field *elem, uint32_t *count);
/* An element of a list of booleans: 1 is true, 0 and 2 are false (both spellings are in use). */
int thrift_elem_bool(struct thrift_reader *r, bool *out);

/* ---- writing ---- */

/* rc stays at the first failure of out; later calls do nothing. */
struct thrift_writer {
    struct buf *out;
    int rc;
    uint32_t depth;
    int16_t last_id[8];
};

struct thrift_writer thrift_writer_of(struct buf *out);
void thrift_put_bool(struct thrift_writer *w, int16_t id, bool v);
void thrift_put_i8(struct thrift_writer *w, int16_t id, int8_t v);
void thrift_put_i16(struct thrift_writer *w, int16_t id, int16_t v);
void thrift_put_i32(struct thrift_writer *w, int16_t id, int32_t v);
void thrift_put_i64(struct thrift_writer *w, int16_t id, int64_t v);
void thrift_put_binary(struct thrift_writer *w, int16_t id, struct slice v);
void thrift_put_struct(struct thrift_writer *w, int16_t id); /* fields, then thrift_put_stop */
void thrift_put_list(struct thrift_writer *w, int16_t id, enum thrift_type type, size_t count);
/* Elements of a list. Structs: fields, then thrift_put_stop. */
void thrift_put_elem_bool(struct thrift_writer *w, bool v); /* 1 or 0, as parquet-go reads it */
void thrift_put_elem_int(struct thrift_writer *w, int64_t v);
void thrift_put_elem_binary(struct thrift_writer *w, struct slice v);
void thrift_put_elem_struct(struct thrift_writer *w);
/* Ends a struct; the outermost one, too. */
void thrift_put_stop(struct thrift_writer *w);

#endif
