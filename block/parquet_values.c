/* Values of a chunk's pages, in whatever encoding each page has, to one array of the column.
 * Strings are never copied: slices point into the stored bytes or into the decompressed page, which
 * lives in the arena. Pages of numbers are decompressed in place or through one scratch buffer. */
#include "block/parquet_priv.h"

#include "block/parquet_encoding.h"

#include <assert.h>

enum column_type parquet_column_type(enum parquet_type type)
{
    switch (type) {
    case PARQUET_BOOLEAN:
        return COLUMN_BOOL;
    case PARQUET_INT32:
        return COLUMN_I32;
    case PARQUET_INT64:
        return COLUMN_I64;
    case PARQUET_DOUBLE:
        return COLUMN_F64;
    default:
        return COLUMN_BYTES;
    }
}

static size_t value_size(enum column_type type)
{
    switch (type) {
    case COLUMN_BOOL:
        return 1;
    case COLUMN_I32:
        return 4;
    case COLUMN_I64:
    case COLUMN_F64:
        return 8;
    case COLUMN_BYTES:
        break;
    }
    return sizeof(struct slice);
}

static int scratch_get(struct values_reader *v, size_t bytes, uint8_t **out)
{
    buf_reset(&v->scratch);
    int rc = buf_reserve(&v->scratch, bytes ? bytes : 1);
    if (rc < 0)
        return err_set(v->err, rc, "no room for a page of %zu bytes", bytes);
    *out = v->scratch.ptr;
    return 0;
}

static int size_check(struct values_reader *v, struct slice stored, size_t plain_bytes)
{
    if (parquet_codec_plausible(v->codec, stored.len, plain_bytes))
        return 0;
    return err_set(v->err, ERR_CORRUPT, "%zu bytes cannot hold the %zu that the header claims",
                   stored.len, plain_bytes);
}

/* The values of a page, decompressed: into the arena for strings, else good until the next call. */
static int plain_view(struct values_reader *v, const struct page *p, struct slice *out)
{
    *out = p->stored;
    if (!p->compressed)
        return 0;
    int rc = size_check(v, p->stored, p->plain_bytes);
    if (rc < 0)
        return rc;
    uint8_t *to = NULL;
    if (v->type == COLUMN_BYTES) {
        to = arena_alloc(v->a, p->plain_bytes);
        if (!to)
            return arena_err(v->a, v->err, "a page of strings");
    } else {
        rc = scratch_get(v, p->plain_bytes, &to);
        if (rc < 0)
            return rc;
    }
    *out = slice_of(to, p->plain_bytes);
    return parquet_decompress(v->codec, p->stored, v->tools, to, p->plain_bytes, v->err);
}

/* ---- dictionary ---- */

int dictionary_decode(struct values_reader *v, const struct page *p)
{
    uint32_t count = p->h.num_values;
    if (p->h.encoding != PARQUET_PLAIN && p->h.encoding != PARQUET_PLAIN_DICTIONARY)
        return err_set(v->err, ERR_UNSUPPORTED, "dictionary of encoding %d", p->h.encoding);
    if (v->type == COLUMN_BOOL)
        return err_set(v->err, ERR_CORRUPT, "dictionary of booleans");
    size_t size = value_size(v->type);
    size_t bytes_min = v->type == COLUMN_BYTES ? 4 : size;
    if (count > p->plain_bytes / bytes_min)
        return err_set(v->err, ERR_CORRUPT, "dictionary of %u values in %zu bytes", count,
                       p->plain_bytes);
    struct slice plain;
    int rc = plain_view(v, p, &plain);
    if (rc < 0)
        return rc;
    void *values = arena_alloc_array(v->a, count, size);
    if (!values)
        return arena_err(v->a, v->err, "a dictionary");
    if (v->type == COLUMN_BYTES)
        rc = plain_decode_bytes(plain, values, count, v->err);
    else
        rc = plain_decode_fixed(plain, values, count, size, v->err);
    v->dict = (struct dictionary){.seen = true, .count = count, .values = values};
    return rc;
}

bool page_is_indices(const struct page *p)
{
    return p->h.encoding == PARQUET_RLE_DICTIONARY || p->h.encoding == PARQUET_PLAIN_DICTIONARY;
}

static int indices_decode(struct values_reader *v, struct slice in, uint32_t *out, size_t count)
{
    struct cursor c = cursor_of(in);
    uint8_t width;
    if (!v->dict.seen)
        return err_set(v->err, ERR_CORRUPT, "indices without a dictionary");
    if (!cursor_u8(&c, &width) || width > 32)
        return err_set(v->err, ERR_CORRUPT, "bad bit width of indices");
    return hybrid_decode_indices(slice_of(c.ptr, cursor_left(&c)), width, v->dict.count, out, count,
                                 v->err);
}

/* Values for indices, where a column must be without dictionary. */
static int indices_resolve(struct values_reader *v, const struct page *p, void *out)
{
    struct slice in;
    int rc = plain_view(v, p, &in);
    if (rc < 0)
        return rc;
    buf_reset(&v->indices);
    rc = buf_reserve(&v->indices, (size_t)p->values * sizeof(uint32_t));
    if (rc < 0)
        return err_set(v->err, rc, "no room for %u indices", p->values);
    uint32_t *indices = (uint32_t *)(void *)v->indices.ptr;
    rc = indices_decode(v, in, indices, p->values);
    if (rc < 0)
        return rc;
    if (v->type == COLUMN_I32) {
        const int32_t *from = v->dict.values;
        for (uint32_t i = 0; i < p->values; i++)
            ((int32_t *)out)[i] = from[indices[i]];
    } else if (v->type == COLUMN_BYTES) {
        const struct slice *from = v->dict.values;
        for (uint32_t i = 0; i < p->values; i++)
            ((struct slice *)out)[i] = from[indices[i]];
    } else {
        const uint64_t *from = v->dict.values;
        for (uint32_t i = 0; i < p->values; i++)
            memcpy((uint8_t *)out + (size_t)i * 8, &from[indices[i]], 8);
    }
    return 0;
}

/* ---- pages ---- */

/* PLAIN numbers are what they are in memory, so a page decompresses into the column itself. */
static int plain_numbers(struct values_reader *v, const struct page *p, void *out)
{
    size_t bytes = p->values * value_size(v->type);
    if (p->compressed && p->plain_bytes == bytes) {
        int rc = size_check(v, p->stored, bytes);
        return rc < 0 ? rc : parquet_decompress(v->codec, p->stored, v->tools, out, bytes, v->err);
    }
    struct slice in;
    int rc = plain_view(v, p, &in);
    return rc < 0 ? rc : plain_decode_fixed(in, out, p->values, value_size(v->type), v->err);
}

/* RLE booleans have a length in front. */
static int rle_bools(struct values_reader *v, struct slice in, uint8_t *out, size_t count)
{
    struct cursor c = cursor_of(in);
    struct slice runs;
    uint32_t bytes;
    if (!cursor_u32le(&c, &bytes) || !cursor_bytes(&c, bytes, &runs))
        return err_set(v->err, ERR_CORRUPT, "runs of booleans are cut off");
    return hybrid_decode_levels(runs, 1, 1, out, count, v->err);
}

static int not_of_type(struct values_reader *v, const struct page *p)
{
    return err_set(v->err, ERR_UNSUPPORTED, "encoding %d of column type %d", p->h.encoding,
                   (int)v->type);
}

static int delta_page(struct values_reader *v, const struct page *p, struct slice in, void *out)
{
    struct cursor c = cursor_of(in);
    if (v->type == COLUMN_I32)
        return delta_decode_i32(&c, out, p->values, v->err);
    if (v->type == COLUMN_I64)
        return delta_decode_i64(&c, out, p->values, v->err);
    return not_of_type(v, p);
}

static int other_page(struct values_reader *v, const struct page *p, void *out)
{
    struct slice in;
    int rc = plain_view(v, p, &in);
    if (rc < 0)
        return rc;
    bool bytes = v->type == COLUMN_BYTES;
    bool bools = v->type == COLUMN_BOOL;
    switch (p->h.encoding) {
    case PARQUET_PLAIN:
        return bytes ? plain_decode_bytes(in, out, p->values, v->err)
                     : plain_decode_bools(in, out, p->values, v->err);
    case PARQUET_RLE:
        return bools ? rle_bools(v, in, out, p->values) : not_of_type(v, p);
    case PARQUET_DELTA_BINARY_PACKED:
        return delta_page(v, p, in, out);
    case PARQUET_DELTA_LENGTH_BYTE_ARRAY:
        return bytes ? delta_length_decode(in, out, p->values, v->err) : not_of_type(v, p);
    case PARQUET_DELTA_BYTE_ARRAY:
        return bytes ? delta_bytes_decode(in, out, p->values, v->a, v->err) : not_of_type(v, p);
    case PARQUET_BYTE_STREAM_SPLIT:
        return bytes || bools ? not_of_type(v, p)
                              : split_decode(in, out, p->values, value_size(v->type), v->err);
    default:
        return not_of_type(v, p);
    }
}

static int page_values(struct values_reader *v, const struct page *p, struct column *column)
{
    if (column->has_dict) {
        struct slice in;
        int rc = plain_view(v, p, &in);
        return rc < 0 ? rc : indices_decode(v, in, column->v.idx + p->value_first, p->values);
    }
    uint8_t *out = column->v.b + (size_t)p->value_first * value_size(v->type);
    if (page_is_indices(p))
        return indices_resolve(v, p, out);
    if (p->h.encoding == PARQUET_PLAIN && v->type != COLUMN_BYTES && v->type != COLUMN_BOOL)
        return plain_numbers(v, p, out);
    return other_page(v, p, out);
}

/* Fewest bits that a value takes, for encodings in which each takes some: room is made only for
 * values that can be there. */
static size_t value_bits_min(const struct values_reader *v, const struct page *p)
{
    if (p->h.encoding != PARQUET_PLAIN && p->h.encoding != PARQUET_BYTE_STREAM_SPLIT)
        return 0;
    if (v->type == COLUMN_BOOL)
        return 1;
    return v->type == COLUMN_BYTES ? 32 : value_size(v->type) * 8;
}

static int bytes_check(struct values_reader *v, const struct page *p)
{
    size_t bits = value_bits_min(v, p) * p->values;
    if ((bits + 7) / 8 <= p->plain_bytes)
        return 0;
    return err_set(v->err, ERR_CORRUPT, "%u values in %zu bytes", p->values, p->plain_bytes);
}

int page_values_decode(struct values_reader *v, const struct page *p, struct column *column)
{
    if (p->values == 0)
        return 0;
    if (column->has_dict && !page_is_indices(p))
        return err_set(v->err, ERR_CORRUPT, "values without dictionary among indices");
    int rc = bytes_check(v, p);
    return rc < 0 ? rc : page_values(v, p, column);
}

int values_decode(struct values_reader *v, const struct page *pages, uint32_t count,
                  struct column *column)
{
    bool has_dict = v->type == COLUMN_BYTES && v->dict.seen;
    for (uint32_t i = 0; i < count; i++) {
        const struct page *p = &pages[i];
        if (p->values > 0 && !page_is_indices(p))
            has_dict = false;
        int rc = bytes_check(v, p);
        if (rc < 0)
            return err_wrap(v->err, "page at byte %llu", (unsigned long long)p->offset);
    }
    column->has_dict = has_dict;
    if (has_dict) {
        column->dict = v->dict.values;
        column->dict_count = v->dict.count;
    }
    size_t size = has_dict ? sizeof(uint32_t) : value_size(v->type);
    column->v.b = arena_alloc_array(v->a, column->values, size);
    if (!column->v.b)
        return arena_err(v->a, v->err, "a column's values");
    for (uint32_t i = 0; i < count; i++) {
        if (pages[i].values == 0)
            continue;
        int rc = page_values(v, &pages[i], column);
        if (rc < 0) {
            err_wrap(v->err, "page at byte %llu", (unsigned long long)pages[i].offset);
            return rc;
        }
    }
    return 0;
}
