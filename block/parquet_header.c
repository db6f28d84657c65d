/* Page headers: the thrift struct in front of every page, read and written. */
#include "block/parquet_priv.h"

#include <assert.h>

static int missing(const struct thrift_reader *r, const char *what)
{
    return thrift_corrupt(r, "page header without %s", what);
}

static int data_v1_decode(struct thrift_reader *r, struct page_header *h)
{
    struct thrift_field f = {0};
    unsigned seen = 0;
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        if (f.id == 1)
            rc = thrift_u32(r, &f, &h->num_values);
        else if (f.id == 2)
            rc = thrift_i32(r, &f, &h->encoding);
        else if (f.id == 3)
            rc = thrift_i32(r, &f, &h->def_encoding);
        else if (f.id == 4)
            rc = thrift_i32(r, &f, &h->rep_encoding);
        else
            rc = thrift_skip(r, &f);
        if (rc < 0)
            return rc;
        if (f.id >= 1 && f.id <= 4)
            seen |= 1U << f.id;
    }
    if (rc < 0)
        return rc;
    return seen == 0x1e ? 0 : missing(r, "the fields of a data page");
}

static int data_v2_decode(struct thrift_reader *r, struct page_header *h)
{
    struct thrift_field f = {0};
    unsigned seen = 0;
    int rc;
    h->is_compressed = true;
    while ((rc = thrift_next(r, &f)) == 0) {
        switch (f.id) {
        case 1:
            rc = thrift_u32(r, &f, &h->num_values);
            break;
        case 2:
            rc = thrift_u32(r, &f, &h->num_nulls);
            break;
        case 3:
            rc = thrift_u32(r, &f, &h->num_rows);
            break;
        case 4:
            rc = thrift_i32(r, &f, &h->encoding);
            break;
        case 5:
            rc = thrift_u32(r, &f, &h->def_bytes);
            break;
        case 6:
            rc = thrift_u32(r, &f, &h->rep_bytes);
            break;
        case 7:
            rc = thrift_bool(r, &f, &h->is_compressed);
            break;
        default:
            rc = thrift_skip(r, &f);
        }
        if (rc < 0)
            return rc;
        if (f.id >= 1 && f.id <= 6)
            seen |= 1U << f.id;
    }
    if (rc < 0)
        return rc;
    return seen == 0x7e ? 0 : missing(r, "the fields of a data page v2");
}

static int dict_header_decode(struct thrift_reader *r, struct page_header *h)
{
    struct thrift_field f = {0};
    unsigned seen = 0;
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        if (f.id == 1)
            rc = thrift_u32(r, &f, &h->num_values);
        else if (f.id == 2)
            rc = thrift_i32(r, &f, &h->encoding);
        else
            rc = thrift_skip(r, &f);
        if (rc < 0)
            return rc;
        if (f.id == 1 || f.id == 2)
            seen |= 1U << f.id;
    }
    if (rc < 0)
        return rc;
    return seen == 0x6 ? 0 : missing(r, "the fields of a dictionary page");
}

/* Which field holds the rest of the header, by type of page. */
static int16_t details_id(int32_t type)
{
    switch (type) {
    case PAGE_DATA:
        return 5;
    case PAGE_DICTIONARY:
        return 7;
    case PAGE_DATA_V2:
        return 8;
    default:
        return 0;
    }
}

static int details_decode(struct thrift_reader *r, const struct thrift_field *f,
                          struct page_header *h)
{
    int rc = thrift_struct(r, f);
    if (rc < 0)
        return rc;
    if (f->id == 5)
        return data_v1_decode(r, h);
    return f->id == 7 ? dict_header_decode(r, h) : data_v2_decode(r, h);
}

int page_header_decode(struct thrift_reader *r, struct page_header *out)
{
    struct page_header h = {.type = -1};
    struct thrift_field f = {0};
    unsigned seen = 0;
    int32_t crc = 0;
    int rc;
    while ((rc = thrift_next(r, &f)) == 0) {
        /* The details of another type of page than this one is would overwrite ours. */
        bool ours = f.id >= 5 && h.type >= 0 && f.id == details_id(h.type);
        if (f.id == 1)
            rc = thrift_i32(r, &f, &h.type);
        else if (f.id == 2)
            rc = thrift_u32(r, &f, &h.uncompressed_bytes);
        else if (f.id == 3)
            rc = thrift_u32(r, &f, &h.compressed_bytes);
        else if (f.id == 4)
            rc = thrift_i32(r, &f, &crc);
        else if (ours)
            rc = details_decode(r, &f, &h);
        else
            rc = thrift_skip(r, &f);
        if (rc < 0)
            return rc;
        if (f.id >= 1 && f.id <= 3)
            seen |= 1U << f.id;
        else if (ours)
            seen |= 1U << 4;
    }
    if (rc < 0)
        return rc;
    if ((seen & 0xe) != 0xe)
        return missing(r, "type and sizes");
    if (details_id(h.type) && !(seen & 1U << 4))
        return missing(r, "what its type asks for");
    h.crc = (uint32_t)crc;
    *out = h;
    return 0;
}

int page_header_encode(const struct page_header *h, struct buf *out)
{
    struct thrift_writer w = thrift_writer_of(out);
    thrift_put_i32(&w, 1, h->type);
    thrift_put_i32(&w, 2, (int32_t)h->uncompressed_bytes);
    thrift_put_i32(&w, 3, (int32_t)h->compressed_bytes);
    thrift_put_i32(&w, 4, (int32_t)h->crc);
    if (h->type == PAGE_DICTIONARY) {
        thrift_put_struct(&w, 7);
        thrift_put_i32(&w, 1, (int32_t)h->num_values);
        thrift_put_i32(&w, 2, h->encoding);
    } else if (h->type == PAGE_DATA) {
        thrift_put_struct(&w, 5);
        thrift_put_i32(&w, 1, (int32_t)h->num_values);
        thrift_put_i32(&w, 2, h->encoding);
        thrift_put_i32(&w, 3, h->def_encoding);
        thrift_put_i32(&w, 4, h->rep_encoding);
    } else {
        assert(h->type == PAGE_DATA_V2);
        thrift_put_struct(&w, 8);
        thrift_put_i32(&w, 1, (int32_t)h->num_values);
        thrift_put_i32(&w, 2, (int32_t)h->num_nulls);
        thrift_put_i32(&w, 3, (int32_t)h->num_rows);
        thrift_put_i32(&w, 4, h->encoding);
        thrift_put_i32(&w, 5, (int32_t)h->def_bytes);
        thrift_put_i32(&w, 6, (int32_t)h->rep_bytes);
        thrift_put_bool(&w, 7, h->is_compressed);
    }
    thrift_put_stop(&w); /* the details */
    thrift_put_stop(&w); /* the header */
    return w.rc;
}
