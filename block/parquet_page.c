/* A column chunk to a column: pages are found and checked, their levels unpacked, then their values
 * (parquet_values.c). The order keeps memory behind what is there: first all page headers, then the
 * checks that the bytes can hold what the headers claim, then room for levels, then, with the
 * values counted, room for values. */
#include "block/parquet_priv.h"

#include "base/text.h"
#include "block/block_limits.h"
#include "block/parquet_encoding.h"

#include <assert.h>
#include <zlib.h>

struct chunk_reader chunk_reader_of(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                    struct arena *a, struct err *err)
{
    assert(row_group < f->row_group_count);
    assert(leaf < f->leaf_count);
    struct chunk_reader cr = {.leaf = &f->leaves[leaf],
                              .chunk = &f->row_groups[row_group].chunks[leaf],
                              .a = a,
                              .err = err};
    cr.values = (struct values_reader){.type = parquet_column_type(cr.leaf->type),
                                       .codec = cr.chunk->codec,
                                       .a = a,
                                       .tools = a,
                                       .err = err};
    buf_init(&cr.values.scratch, SIZE_MAX / 2);
    buf_init(&cr.values.indices, SIZE_MAX / 2);
    return cr;
}

void chunk_reader_clear(struct chunk_reader *cr)
{
    buf_clear(&cr->values.scratch);
    buf_clear(&cr->values.indices);
}

int chunk_page_wrap(const struct chunk_reader *cr, const struct page *p, int rc)
{
    if (rc < 0)
        err_wrap(cr->err, "page at byte %llu", (unsigned long long)p->offset);
    return rc;
}

int chunk_wrap(const struct chunk_reader *cr, int rc)
{
    char path[128];
    if (rc < 0)
        err_wrap(cr->err, "column %s", text_escape(cr->leaf->path, 96, path, sizeof path));
    return rc;
}

/* ---- finding pages ---- */

static int page_take(struct chunk_reader *cr, const struct page *p)
{
    switch (p->h.type) {
    case PAGE_DICTIONARY:
        if (cr->page_count > 0 || (cr->has_dict_page && cr->dict_page.offset != p->offset))
            return err_set(cr->err, ERR_CORRUPT, "dictionary is not the first page");
        cr->dict_page = *p;
        cr->has_dict_page = true;
        return 0;
    case PAGE_DATA:
    case PAGE_DATA_V2:
        break;
    default:
        return 0; /* page types to come are skipped, as the format asks */
    }
    if (cr->page_count == LIMIT_PARQUET_CHUNK_PAGES)
        return err_set(cr->err, ERR_LIMIT, "more than %u pages", LIMIT_PARQUET_CHUNK_PAGES);
    if (cr->pages)
        cr->pages[cr->page_count] = *p;
    cr->page_count++;
    cr->entries += p->h.num_values;
    return 0;
}

static int pages_walk(struct chunk_reader *cr, struct slice bytes, uint64_t base)
{
    struct cursor c = cursor_of(bytes);
    while (cursor_left(&c) > 0) {
        struct page p = {.offset = base + cursor_offset(&c)};
        struct thrift_reader r =
            thrift_reader_of(slice_of(c.ptr, cursor_left(&c)), "page header", cr->err);
        int rc = page_header_decode(&r, &p.h);
        if (rc < 0)
            return chunk_page_wrap(cr, &p, rc);
        cursor_skip(&c, cursor_offset(&r.cur));
        if (!cursor_bytes(&c, p.h.compressed_bytes, &p.body)) {
            rc = err_set(cr->err, ERR_CORRUPT, "body of %u bytes, %zu left", p.h.compressed_bytes,
                         cursor_left(&c));
            return chunk_page_wrap(cr, &p, rc);
        }
        rc = page_take(cr, &p);
        if (rc < 0)
            return chunk_page_wrap(cr, &p, rc);
    }
    return 0;
}

/* Twice: to count the pages, and to keep them. */
int chunk_pages_find(struct chunk_reader *cr, struct slice dict, uint64_t dict_base,
                     struct slice data, uint64_t data_base)
{
    for (int pass = 0; pass < 2; pass++) {
        uint32_t count = cr->page_count;
        cr->page_count = 0;
        cr->entries = 0;
        if (pass == 1) {
            cr->pages = arena_array(cr->a, struct page, count);
            if (!cr->pages)
                return arena_err(cr->a, cr->err, "the pages of a chunk");
        }
        int rc = pages_walk(cr, dict, dict_base);
        if (rc == 0)
            rc = pages_walk(cr, data, data_base);
        if (rc < 0)
            return rc;
    }
    int64_t told = cr->chunk->num_values;
    if (told < 0 || cr->entries > (uint64_t)told)
        return err_set(cr->err, ERR_CORRUPT, "pages of %llu values, the footer says %lld",
                       (unsigned long long)cr->entries, (long long)told);
    if (cr->entries > LIMIT_PARQUET_CHUNK_ENTRIES)
        return err_set(cr->err, ERR_LIMIT, "%llu level entries, at most %u are read",
                       (unsigned long long)cr->entries, LIMIT_PARQUET_CHUNK_ENTRIES);
    return 0;
}

/* ---- opening pages ---- */

static int crc_check(const struct chunk_reader *cr, const struct page *p)
{
    if (p->h.crc == 0)
        return 0;
    uint32_t crc = (uint32_t)crc32_z(0, p->body.ptr, p->body.len);
    if (crc == p->h.crc)
        return 0;
    return err_set(cr->err, ERR_CORRUPT, "crc32 is %08x, header says %08x", crc, p->h.crc);
}

int chunk_dict_open(struct chunk_reader *cr)
{
    struct page *p = &cr->dict_page;
    int rc = crc_check(cr, p);
    if (rc < 0)
        return rc;
    p->stored = p->body;
    p->compressed = cr->chunk->codec != PARQUET_UNCOMPRESSED;
    p->plain_bytes = p->compressed ? p->h.uncompressed_bytes : p->body.len;
    return dictionary_decode(&cr->values, p);
}

static int v2_open(struct chunk_reader *cr, struct page *p)
{
    uint64_t levels = (uint64_t)p->h.rep_bytes + p->h.def_bytes;
    if (levels > p->body.len || levels > p->h.uncompressed_bytes)
        return err_set(cr->err, ERR_CORRUPT, "levels of %llu bytes in a page of %zu (%u)",
                       (unsigned long long)levels, p->body.len, p->h.uncompressed_bytes);
    p->rep = slice_of(p->body.ptr, p->h.rep_bytes);
    p->def = slice_of(p->body.ptr + p->h.rep_bytes, p->h.def_bytes);
    p->stored = slice_of(p->body.ptr + levels, p->body.len - (size_t)levels);
    p->compressed = p->h.is_compressed && cr->chunk->codec != PARQUET_UNCOMPRESSED;
    p->plain_bytes = p->h.uncompressed_bytes - (size_t)levels;
    if (!p->compressed && p->plain_bytes != p->stored.len)
        return err_set(cr->err, ERR_CORRUPT, "%zu bytes not compressed, header says %zu",
                       p->stored.len, p->plain_bytes);
    return 0;
}

static int v1_levels(struct chunk_reader *cr, struct cursor *c, uint8_t max, int32_t encoding,
                     struct slice *out)
{
    uint32_t bytes;
    if (max == 0)
        return 0;
    if (encoding != PARQUET_RLE)
        return err_set(cr->err, ERR_UNSUPPORTED, "levels of encoding %d", encoding);
    if (!cursor_u32le(c, &bytes) || !cursor_bytes(c, bytes, out))
        return err_set(cr->err, ERR_CORRUPT, "levels are cut off");
    return 0;
}

/* The body is compressed as a whole, so it is decompressed here, levels and all. */
static int v1_open(struct chunk_reader *cr, struct page *p)
{
    struct slice body = p->body;
    if (cr->chunk->codec != PARQUET_UNCOMPRESSED) {
        size_t bytes = p->h.uncompressed_bytes;
        if (!parquet_codec_plausible(cr->chunk->codec, body.len, bytes))
            return err_set(cr->err, ERR_CORRUPT, "%zu bytes cannot hold the %zu claimed", body.len,
                           bytes);
        uint8_t *to = arena_alloc(cr->a, bytes);
        if (!to)
            return arena_err(cr->a, cr->err, "a page");
        int rc = parquet_decompress(cr->chunk->codec, body, cr->values.tools, to, bytes, cr->err);
        if (rc < 0)
            return rc;
        body = slice_of(to, bytes);
    }
    struct cursor c = cursor_of(body);
    int rc = v1_levels(cr, &c, cr->leaf->rep_max, p->h.rep_encoding, &p->rep);
    if (rc == 0)
        rc = v1_levels(cr, &c, cr->leaf->def_max, p->h.def_encoding, &p->def);
    p->stored = slice_of(c.ptr, cursor_left(&c));
    p->plain_bytes = p->stored.len;
    return rc;
}

int chunk_page_open(struct chunk_reader *cr, struct page *p)
{
    int rc = crc_check(cr, p);
    if (rc == 0)
        rc = p->h.type == PAGE_DATA ? v1_open(cr, p) : v2_open(cr, p);
    /* Nothing guards the lengths in a header of version two but that its levels fill them. */
    bool whole = p->h.type == PAGE_DATA_V2;
    uint32_t count = p->h.num_values;
    if (rc == 0 && cr->leaf->rep_max > 0)
        rc = hybrid_check(p->rep, bit_width(cr->leaf->rep_max), count, whole, cr->err);
    if (rc == 0 && cr->leaf->def_max > 0)
        rc = hybrid_check(p->def, bit_width(cr->leaf->def_max), count, whole, cr->err);
    return rc;
}

/* ---- levels ---- */

int chunk_page_levels(struct chunk_reader *cr, struct page *p, struct column *out, uint32_t entry)
{
    uint8_t rep_max = cr->leaf->rep_max;
    uint8_t def_max = cr->leaf->def_max;
    uint32_t count = p->h.num_values;
    int rc = 0;
    if (rep_max > 0)
        rc = hybrid_decode_levels(p->rep, bit_width(rep_max), rep_max, out->rep + entry, count,
                                  cr->err);
    if (rc == 0 && def_max > 0)
        rc = hybrid_decode_levels(p->def, bit_width(def_max), def_max, out->def + entry, count,
                                  cr->err);
    p->values =
        def_max > 0 && rc == 0 ? (uint32_t)bytes_count(out->def + entry, count, def_max) : count;
    p->value_first = out->values;
    return rc;
}

static int levels_decode(struct chunk_reader *cr, struct column *out)
{
    out->entries = (uint32_t)cr->entries;
    if (cr->leaf->rep_max > 0)
        out->rep = arena_array(cr->a, uint8_t, out->entries);
    if (cr->leaf->def_max > 0)
        out->def = arena_array(cr->a, uint8_t, out->entries);
    if ((cr->leaf->rep_max > 0 && !out->rep) || (cr->leaf->def_max > 0 && !out->def))
        return arena_err(cr->a, cr->err, "a column's levels");
    uint32_t entry = 0;
    for (uint32_t i = 0; i < cr->page_count; i++) {
        struct page *p = &cr->pages[i];
        int rc = chunk_page_levels(cr, p, out, entry);
        if (rc < 0)
            return chunk_page_wrap(cr, p, rc);
        entry += p->h.num_values;
        out->values += p->values;
    }
    out->rows = out->rep ? (uint32_t)bytes_count(out->rep, out->entries, 0) : out->entries;
    if (out->rep && out->entries > 0 && out->rep[0] != 0)
        return err_set(cr->err, ERR_CORRUPT, "first page starts inside a row");
    return 0;
}

static int column_decode(struct chunk_reader *cr, struct column *out)
{
    assert(cr->leaf->rep_max <= LIMIT_PARQUET_DEPTH);
    assert(cr->leaf->def_max <= LIMIT_PARQUET_DEPTH);
    int rc = 0;
    if (cr->has_dict_page) {
        rc = chunk_page_wrap(cr, &cr->dict_page, chunk_dict_open(cr));
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < cr->page_count; i++) {
        rc = chunk_page_open(cr, &cr->pages[i]);
        if (rc < 0)
            return chunk_page_wrap(cr, &cr->pages[i], rc);
    }
    *out = (struct column){
        .type = cr->values.type, .rep_max = cr->leaf->rep_max, .def_max = cr->leaf->def_max};
    rc = levels_decode(cr, out);
    if (rc < 0)
        return rc;
    return values_decode(&cr->values, cr->pages, cr->page_count, out);
}

/* ---- chunks and rows ---- */

static int whole_chunk(struct chunk_reader *cr, struct slice bytes, int64_t rows,
                       struct column *out)
{
    if (bytes.len != cr->chunk->bytes)
        return err_set(cr->err, ERR_CORRUPT, "chunk of %llu bytes, got %zu",
                       (unsigned long long)cr->chunk->bytes, bytes.len);
    int rc = chunk_pages_find(cr, slice_of(NULL, 0), 0, bytes, cr->chunk->offset);
    if (rc < 0)
        return rc;
    if (cr->entries != (uint64_t)cr->chunk->num_values)
        return err_set(cr->err, ERR_CORRUPT, "pages of %llu values, the footer says %lld",
                       (unsigned long long)cr->entries, (long long)cr->chunk->num_values);
    rc = column_decode(cr, out);
    if (rc == 0 && out->rows != rows)
        rc = err_set(cr->err, ERR_CORRUPT, "%u rows, the footer says %lld", out->rows,
                     (long long)rows);
    return rc;
}

int parquet_chunk_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                         struct slice bytes, struct arena *a, struct column *out, struct err *err)
{
    struct chunk_reader cr = chunk_reader_of(f, row_group, leaf, a, err);
    struct column column;
    int rc = whole_chunk(&cr, bytes, f->row_groups[row_group].rows, &column);
    chunk_reader_clear(&cr);
    if (rc < 0)
        return chunk_wrap(&cr, rc);
    *out = column;
    return 0;
}

/* The entry at which row `row` starts, or the end. */
uint32_t column_row_entry(const struct column *c, uint32_t from, uint32_t rows)
{
    if (!c->rep)
        return from + rows;
    if (rows > 0 && from < c->entries)
        from += 1 + (uint32_t)bytes_find(c->rep + from + 1, c->entries - from - 1, 0, rows);
    return from;
}

/* Leaves rows [first, first + count) in the column, in place. */
static void column_cut(struct column *c, uint32_t first, uint32_t count)
{
    uint32_t start = column_row_entry(c, 0, first);
    uint32_t end = column_row_entry(c, start, count);
    uint32_t values_before = start;
    uint32_t values = end - start;
    if (c->def) {
        values_before = (uint32_t)bytes_count(c->def, start, c->def_max);
        values = (uint32_t)bytes_count(c->def + start, end - start, c->def_max);
        c->def += start;
    }
    if (c->rep)
        c->rep += start;
    switch (c->type) {
    case COLUMN_BOOL:
        c->v.b += values_before;
        break;
    case COLUMN_I32:
        c->v.i32 += values_before;
        break;
    case COLUMN_I64:
        c->v.i64 += values_before;
        break;
    case COLUMN_F64:
        c->v.f64 += values_before;
        break;
    case COLUMN_BYTES:
        if (c->has_dict)
            c->v.idx += values_before;
        else
            c->v.bytes += values_before;
        break;
    }
    c->rows = count;
    c->entries = end - start;
    c->values = values;
}

int parquet_rows_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                        struct slice dict_page, struct slice pages, int64_t pages_first_row,
                        int64_t row_first, int64_t row_count, struct arena *a, struct column *out,
                        struct err *err)
{
    struct chunk_reader cr = chunk_reader_of(f, row_group, leaf, a, err);
    struct column column;
    if (pages_first_row < 0 || row_first < pages_first_row || row_count < 0)
        return err_set(err, ERR_INVALID, "%lld rows from %lld, pages from %lld",
                       (long long)row_count, (long long)row_first, (long long)pages_first_row);
    int rc = chunk_pages_find(&cr, dict_page, cr.chunk->offset, pages, 0);
    if (rc == 0 && dict_page.len > 0 && !cr.has_dict_page)
        rc = err_set(err, ERR_CORRUPT, "no dictionary in the dictionary page");
    if (rc == 0)
        rc = column_decode(&cr, &column);
    chunk_reader_clear(&cr);
    int64_t skip = row_first - pages_first_row;
    if (rc == 0 && (skip > column.rows || row_count > column.rows - skip))
        rc = err_set(err, ERR_CORRUPT, "%lld rows from %lld, pages hold %u from %lld",
                     (long long)row_count, (long long)row_first, column.rows,
                     (long long)pages_first_row);
    if (rc < 0)
        return chunk_wrap(&cr, rc);
    column_cut(&column, (uint32_t)skip, (uint32_t)row_count);
    *out = column;
    return 0;
}
