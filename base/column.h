/* Column vectors: where the stored block and the query language meet.
 *
 * A struct column is one leaf column of a run of rows (usually one row group), decoded: Dremel
 * levels and the values that are present. block fills it (from Parquet pages, or straight from
 * spans), traceql and worker read it. Plain data, read-only once built, owned by the arena or the
 * builder that made it. */
#ifndef BASE_COLUMN_H
#define BASE_COLUMN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum column_type { COLUMN_BOOL, COLUMN_I32, COLUMN_I64, COLUMN_F64, COLUMN_BYTES };

struct column {
    enum column_type type;
    uint8_t rep_max;
    uint8_t def_max;
    bool has_dict;     /* COLUMN_BYTES: values are indices into dict */
    uint32_t rows;     /* entries with repetition level 0 */
    uint32_t entries;  /* level entries: present values, nulls and empty lists */
    uint32_t values;   /* entries whose definition level is def_max */
    uint8_t *rep;      /* entries bytes; NULL when rep_max is 0 */
    uint8_t *def;      /* entries bytes; NULL when def_max is 0 */
    union {            /* values elements */
        uint8_t *b;    /* COLUMN_BOOL: 0 or 1 */
        int32_t *i32;  /* COLUMN_I32 */
        int64_t *i64;  /* COLUMN_I64 (unsigned columns by cast) */
        double *f64;   /* COLUMN_F64 */
        uint32_t *idx; /* COLUMN_BYTES with has_dict: each < dict_count */
        struct slice *bytes; /* COLUMN_BYTES without */
    } v;
    struct slice *dict; /* distinct values, in order of first appearance */
    uint32_t dict_count;
};

/* The i-th present value of a COLUMN_BYTES column. */
static inline struct slice column_bytes(const struct column *c, uint32_t i)
{
    return c->has_dict ? c->dict[c->v.idx[i]] : c->v.bytes[i];
}

#endif
