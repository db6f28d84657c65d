/* Fuzz target: column chunks. The first six bytes choose the column (type, repetition and
 * definition maximum, codec) and the counts that the footer would tell; the rest are pages. A
 * column that decodes keeps the promises of base/column.h, is the same when its rows are asked for
 * by page, and goes through our writer and back unchanged. */
#include <assert.h>
#include <stdio.h>

#include "base/cursor.h"
#include "block/parquet_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_BYTES ((size_t)32 << 20)
#define HEAD_BYTES 6
#define LEVELS_MAX 7

static uint32_t touched; /* what slices point to must be readable: read it */

static void check_column(const struct column *c)
{
    uint32_t rows = 0, values = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        assert(!c->rep || c->rep[i] <= c->rep_max);
        assert(!c->def || c->def[i] <= c->def_max);
        rows += !c->rep || c->rep[i] == 0;
        values += !c->def || c->def[i] == c->def_max;
    }
    assert(rows == c->rows);
    assert(values == c->values);
    assert(c->entries == 0 || !c->rep || c->rep[0] == 0);
    for (uint32_t i = 0; c->type == COLUMN_BYTES && i < c->values; i++) {
        assert(!c->has_dict || c->v.idx[i] < c->dict_count);
        struct slice s = column_bytes(c, i);
        if (s.len)
            touched += (uint32_t)s.ptr[0] + s.ptr[s.len - 1];
    }
    for (uint32_t i = 0; c->type == COLUMN_BOOL && i < c->values; i++)
        assert(c->v.b[i] <= 1);
}

static bool same(const struct column *a, const struct column *b)
{
    static const size_t sizes[] = {
        [COLUMN_BOOL] = 1, [COLUMN_I32] = 4, [COLUMN_I64] = 8, [COLUMN_F64] = 8};
    if (a->entries != b->entries || a->values != b->values || a->rows != b->rows)
        return false;
    if ((a->rep && memcmp(a->rep, b->rep, a->entries) != 0) ||
        (a->def && memcmp(a->def, b->def, a->entries) != 0))
        return false;
    if (a->type != COLUMN_BYTES)
        return a->values == 0 || memcmp(a->v.b, b->v.b, a->values * sizes[a->type]) == 0;
    for (uint32_t i = 0; i < a->values; i++) {
        if (!slice_eq(column_bytes(a, i), column_bytes(b, i)))
            return false;
    }
    return true;
}

/* Written as one column below so many lists and optional groups, in small pages, and read back. */
static void check_round_trip(const struct column *c, int8_t type)
{
    struct parquet_node schema[2 + LEVELS_MAX] = {
        {.name = "root", .type = PARQUET_GROUP, .children = 1}};
    size_t count = 1;
    for (uint8_t i = 0; i < c->def_max; i++)
        schema[count++] = (struct parquet_node){.name = "g",
                                                .repetition = i < c->rep_max ? PARQUET_REPEATED
                                                                             : PARQUET_OPTIONAL,
                                                .type = PARQUET_GROUP,
                                                .children = 1};
    schema[count++] =
        (struct parquet_node){.name = "leaf",
                              .type = type,
                              .encoding = c->has_dict ? PARQUET_RLE_DICTIONARY : PARQUET_PLAIN,
                              .codec = PARQUET_SNAPPY};
    struct parquet_writer_opts opts = {
        .schema = schema, .node_count = count, .created_by = "fuzz", .page_bytes = 512};
    struct parquet_writer *w;
    struct parquet_file *f;
    struct column back;
    struct buf out;
    struct err err = {0};
    uint32_t footer_bytes;
    struct arena *a = arena_new(2 * ARENA_BYTES);
    buf_init(&out, (size_t)512 << 20);
    assert(a && parquet_writer_new(&opts, &w, &err) == 0);
    assert(parquet_writer_row_group(w, c, &out, &err) == 0);
    assert(parquet_writer_finish(w, &out, &footer_bytes, &err) == 0);
    parquet_writer_free(w);
    struct slice footer = slice_of(out.ptr + out.len - 8 - footer_bytes, footer_bytes);
    assert(parquet_footer_decode(footer, out.len, a, &f, &err) == 0);
    const struct parquet_chunk *chunk = &f->row_groups[0].chunks[0];
    struct slice bytes = slice_of(out.ptr + chunk->offset, (size_t)chunk->bytes);
    int rc = parquet_chunk_decode(f, 0, 0, bytes, a, &back, &err);
    assert(rc == ERR_LIMIT || (rc == 0 && same(c, &back)));
    buf_clear(&out);
    arena_free(a);
}

/* The dictionary page that the bytes begin with, or nothing. */
static struct slice dictionary_of(struct slice bytes)
{
    struct thrift_reader r = thrift_reader_of(bytes, "page", NULL);
    struct page_header h;
    if (page_header_decode(&r, &h) < 0 || h.type != PAGE_DICTIONARY)
        return slice_of(NULL, 0);
    return slice_of(bytes.ptr, cursor_offset(&r.cur) + h.compressed_bytes);
}

static void check_rows(const struct parquet_file *f, struct slice pages, const struct column *c,
                       struct arena *a)
{
    struct column part;
    struct err err = {0};
    int64_t first = c->rows / 2;
    struct slice dict = dictionary_of(pages);
    pages = slice_from(pages, dict.len);
    int rc = parquet_rows_decode(f, 0, 0, dict, pages, 0, 0, c->rows, a, &part, &err);
    assert(rc == ERR_LIMIT || (rc == 0 && same(c, &part)));
    if (c->rows == 0)
        return;
    rc = parquet_rows_decode(f, 0, 0, dict, pages, 0, first, 1, a, &part, &err);
    assert(rc == ERR_LIMIT || rc == 0);
    if (rc == 0) {
        assert(part.rows == 1);
        check_column(&part);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int8_t types[] = {PARQUET_BOOLEAN, PARQUET_INT32, PARQUET_INT64, PARQUET_DOUBLE,
                                   PARQUET_BYTE_ARRAY};
    static const enum parquet_codec codecs[] = {PARQUET_UNCOMPRESSED, PARQUET_SNAPPY, PARQUET_GZIP,
                                                PARQUET_ZSTD, PARQUET_LZ4_RAW};
    if (size < HEAD_BYTES)
        return 0;
    int8_t type = types[data[0] % 5];
    uint8_t def_max = (data[1] >> 4) % (LEVELS_MAX + 1);
    uint8_t rep_max = (data[1] & 0x0f) % (def_max + 1);
    uint32_t entries = data[2] | (uint32_t)data[3] << 8;
    uint32_t rows = rep_max ? data[4] | (uint32_t)data[5] << 8 : entries;
    struct parquet_leaf leaf = {.path = SLICE("leaf"),
                                .type = (enum parquet_type)type,
                                .rep_max = rep_max,
                                .def_max = def_max};
    struct slice pages = slice_of(data + HEAD_BYTES, size - HEAD_BYTES);
    struct parquet_chunk chunk = {.offset = 4,
                                  .bytes = pages.len,
                                  .data_offset = 4,
                                  .codec = codecs[data[0] / 5 % 5],
                                  .num_values = entries};
    struct parquet_row_group group = {.rows = rows, .chunks = &chunk};
    struct parquet_file f = {.file_bytes = size + 100,
                             .rows = rows,
                             .leaves = &leaf,
                             .leaf_count = 1,
                             .row_groups = &group,
                             .row_group_count = 1};
    struct arena *a = arena_new(ARENA_BYTES);
    struct column c;
    struct err err = {0};
    assert(a);
    int rc = parquet_chunk_decode(&f, 0, 0, pages, a, &c, &err);
    if (rc < 0) {
        assert(rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_UNSUPPORTED);
        assert(err.msg[0]);
    } else {
        check_column(&c);
        check_rows(&f, pages, &c, a);
        if (c.rows > 0)
            check_round_trip(&c, type);
    }
    arena_free(a);
    return 0;
}
