/* Files that the writer makes: they read back as what went in, and their metadata holds. */
#include "parquet_sample.h"

#include <math.h>

#include "block/block_limits.h"

static void file_reads_back(const struct sample *groups, size_t count, size_t page_bytes)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, SIZE_MAX / 2);
    sample_write(groups, count, page_bytes, &out);
    struct slice file = buf_view(&out);
    struct arena *a = arena_new((size_t)256 << 20);
    struct parquet_file *f;
    if (file_open(file, a, &f, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(f->row_group_count, count);
    assert_int_equal(f->leaf_count, SAMPLE_LEAVES);
    assert_true(slice_eq(f->created_by, SLICE("rubato")));
    for (uint32_t g = 0; g < count; g++) {
        for (uint32_t i = 0; i < SAMPLE_LEAVES; i++) {
            const struct column *want = &groups[g].columns[i];
            const struct parquet_chunk *c = &f->row_groups[g].chunks[i];
            struct column got;
            if (chunk_of(file, f, g, i, a, &got, &err) < 0)
                fail_msg("%s", err.msg);
            assert_true(column_same(want, &got));
            assert_int_equal(got.has_dict, c->has_dict);
            assert_true(want->has_dict || !c->has_dict);
            assert_int_equal(c->null_count, want->entries - want->values);
        }
    }
    arena_free(a);
    buf_clear(&out);
}

static void what_is_written_reads_back_at_any_page_size(void **state)
{
    (void)state;
    static const size_t page_bytes[] = {1, 50, 777, 5000, 0};
    static const uint32_t rows[] = {1, 2, 7, 8, 9, 40, 300};
    for (size_t p = 0; p < sizeof page_bytes / sizeof page_bytes[0]; p++) {
        for (size_t r = 0; r + 1 < sizeof rows / sizeof rows[0]; r++) {
            struct sample groups[2];
            sample_init(&groups[0], rows[r], p * 100 + r);
            sample_init(&groups[1], rows[r + 1], p * 100 + r + 50);
            file_reads_back(groups, 2, page_bytes[p]);
            sample_clear(&groups[0]);
            sample_clear(&groups[1]);
        }
    }
}

static void a_file_without_row_groups_is_a_file(void **state)
{
    (void)state;
    file_reads_back(NULL, 0, 0);
}

/* Entry and value where a row starts, the slow way. */
static void row_start(const struct column *c, uint32_t row, uint32_t *entry, uint32_t *value)
{
    *entry = 0;
    *value = 0;
    for (uint32_t seen = 0; *entry < c->entries; (*entry)++) {
        if (!c->rep || c->rep[*entry] == 0) {
            if (seen++ == row)
                return;
        }
        *value += !c->def || c->def[*entry] == c->def_max;
    }
}

static struct column rows_of(const struct column *c, uint32_t first, uint32_t count)
{
    uint32_t entry, value, end, value_end;
    struct column out = *c;
    row_start(c, first, &entry, &value);
    row_start(c, first + count, &end, &value_end);
    out.rows = count;
    out.entries = end - entry;
    out.values = value_end - value;
    if (c->rep)
        out.rep += entry;
    if (c->def)
        out.def += entry;
    if (c->type == COLUMN_BOOL)
        out.v.b += value;
    else if (c->type == COLUMN_I32)
        out.v.i32 += value;
    else if (c->type == COLUMN_I64)
        out.v.i64 += value;
    else if (c->type == COLUMN_F64)
        out.v.f64 += value;
    else if (c->has_dict)
        out.v.idx += value;
    else
        out.v.bytes += value;
    return out;
}

static void any_rows_decode_from_the_pages_that_hold_them(void **state)
{
    (void)state;
    struct sample s;
    struct buf out;
    struct err err = {0};
    uint64_t seed = 11;
    sample_init(&s, 200, 42);
    buf_init(&out, SIZE_MAX / 2);
    sample_write(&s, 1, 300, &out);
    struct slice file = buf_view(&out);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    for (uint32_t i = 0; i < SAMPLE_LEAVES; i++) {
        const struct parquet_chunk *c = &f->row_groups[0].chunks[i];
        struct parquet_page_location *pages;
        uint32_t count;
        assert_int_equal(parquet_offset_index_decode(
                             f, 0, i,
                             slice_of(file.ptr + c->offset_index_offset, c->offset_index_bytes), a,
                             &pages, &count, &err),
                         0);
        assert_int_equal(pages[count - 1].offset + pages[count - 1].bytes, c->offset + c->bytes);
        for (int round = 0; round < 60; round++) {
            uint32_t first = random_below(&seed, 200);
            uint32_t n = 1 + random_below(&seed, 200 - first);
            struct parquet_page_span span;
            assert_int_equal(parquet_page_span(pages, count, 200, first, n, &span, &err), 0);
            assert_true(span.first_row <= first);
            struct column got;
            struct column want = rows_of(&s.columns[i], first, n);
            struct slice dict =
                slice_of(file.ptr + c->offset, (size_t)(c->data_offset - c->offset));
            if (parquet_rows_decode(f, 0, i, dict,
                                    slice_of(file.ptr + span.offset, (size_t)span.bytes),
                                    span.first_row, first, n, a, &got, &err) < 0)
                fail_msg("%s", err.msg);
            assert_true(column_same(&want, &got));
        }
        struct parquet_page_span span;
        assert_int_equal(parquet_page_span(pages, count, 200, 200, 1, &span, &err), ERR_INVALID);
        assert_int_equal(parquet_page_span(pages, count, 200, 0, 201, &span, &err), ERR_INVALID);
        assert_int_equal(parquet_page_span(pages, count, 200, 0, INT64_MAX, &span, &err),
                         ERR_INVALID);
        struct column got;
        assert_int_equal(parquet_rows_decode(f, 0, i, slice_of(NULL, 0), slice_of(NULL, 0), 0, 0, 1,
                                             a, &got, &err),
                         ERR_CORRUPT);
    }
    arena_free(a);
    buf_clear(&out);
    sample_clear(&s);
}

/* Values of a page, by the rows of the offset index. */
static void page_bounds_hold(const struct parquet_leaf *leaf, const struct column *c,
                             struct slice min, struct slice max)
{
    for (uint32_t i = 0; i < c->values; i++) {
        uint64_t x, lo, hi;
        switch (c->type) {
        case COLUMN_BYTES:
            assert_true(slice_cmp(min, column_bytes(c, i)) <= 0);
            assert_true(slice_cmp(column_bytes(c, i), max) <= 0);
            break;
        case COLUMN_F64: {
            double l, h;
            memcpy(&l, min.ptr, 8);
            memcpy(&h, max.ptr, 8);
            assert_true(isnan(c->v.f64[i]) || (l <= c->v.f64[i] && c->v.f64[i] <= h));
            break;
        }
        case COLUMN_BOOL:
            assert_true(min.ptr[0] <= c->v.b[i] && c->v.b[i] <= max.ptr[0]);
            break;
        case COLUMN_I32: {
            /* To one unsigned order. */
            uint32_t flip = leaf->logical == PARQUET_UNSIGNED ? 0 : UINT32_C(1) << 31;
            x = (uint32_t)c->v.i32[i] ^ flip;
            lo = load_u32le(min.ptr) ^ flip;
            hi = load_u32le(max.ptr) ^ flip;
            assert_true(lo <= x && x <= hi);
            break;
        }
        case COLUMN_I64: {
            uint64_t flip = leaf->logical == PARQUET_UNSIGNED ? 0 : UINT64_C(1) << 63;
            x = (uint64_t)c->v.i64[i] ^ flip;
            lo = load_u64le(min.ptr) ^ flip;
            hi = load_u64le(max.ptr) ^ flip;
            assert_true(lo <= x && x <= hi);
            break;
        }
        }
    }
}

static void bounds_of_every_page_hold_its_values(void **state)
{
    (void)state;
    struct sample s;
    struct buf out;
    struct err err = {0};
    sample_init(&s, 300, 77);
    for (uint32_t i = 0; i < s.columns[SAMPLE_D].values; i += 7)
        s.columns[SAMPLE_D].v.f64[i] = NAN;
    /* A maximum that cannot be raised within sixteen bytes. */
    s.columns[SAMPLE_P].v.bytes[3] =
        SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    buf_init(&out, SIZE_MAX / 2);
    sample_write(&s, 1, 400, &out);
    struct slice file = buf_view(&out);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    uint64_t column_end = 0, offset_end = 0;
    for (uint32_t i = 0; i < SAMPLE_LEAVES; i++) {
        const struct parquet_chunk *c = &f->row_groups[0].chunks[i];
        struct parquet_page_location *pages;
        struct parquet_column_index index;
        uint32_t count;
        /* Contiguous, in order. */
        assert_true(i == 0 || c->column_index_offset == column_end);
        assert_true(i == 0 || c->offset_index_offset == offset_end);
        column_end = c->column_index_offset + c->column_index_bytes;
        offset_end = c->offset_index_offset + c->offset_index_bytes;
        struct slice bytes = slice_of(file.ptr + c->offset_index_offset, c->offset_index_bytes);
        assert_int_equal(parquet_offset_index_decode(f, 0, i, bytes, a, &pages, &count, &err), 0);
        bytes = slice_of(file.ptr + c->column_index_offset, c->column_index_bytes);
        assert_int_equal(parquet_column_index_decode(f, 0, i, bytes, a, &index, &err), 0);
        assert_int_equal(index.count, count);
        for (uint32_t p = 0; p < count; p++) {
            int64_t end = p + 1 < count ? pages[p + 1].first_row : 300;
            struct column part = rows_of(&s.columns[i], (uint32_t)pages[p].first_row,
                                         (uint32_t)(end - pages[p].first_row));
            assert_int_equal(index.null_pages[p], part.values == 0);
            assert_int_equal(index.null_counts[p], part.entries - part.values);
            page_bounds_hold(&f->leaves[i], &part, index.min[p], index.max[p]);
            assert_true(index.min[p].len <= 16);
            assert_true(index.max[p].len <= 16 || index.max[p].ptr[0] == 0xff);
        }
        if (c->has_min)
            page_bounds_hold(&f->leaves[i], &s.columns[i], c->min, c->max);
        assert_int_equal(c->has_min, s.columns[i].values > 0 && i != SAMPLE_D);
    }
    assert_int_equal(f->row_groups[0].chunks[0].offset_index_offset, column_end);
    arena_free(a);
    buf_clear(&out);
    sample_clear(&s);
}

/* One leaf, a few values, one page each. */
static void index_of(const struct parquet_node *leaf, struct column *c, struct arena *a,
                     struct parquet_column_index *index, struct parquet_chunk *chunk)
{
    const struct parquet_node schema[] = {{.name = "T", .type = PARQUET_GROUP, .children = 1},
                                          *leaf};
    struct parquet_writer_opts opts = {
        .schema = schema, .node_count = 2, .created_by = "rubato", .page_bytes = 1};
    struct parquet_writer *w;
    struct buf out;
    struct err err = {0};
    uint32_t footer_bytes;
    buf_init(&out, 1 << 20);
    assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
    assert_int_equal(parquet_writer_row_group(w, c, &out, &err), 0);
    assert_int_equal(parquet_writer_finish(w, &out, &footer_bytes, &err), 0);
    parquet_writer_free(w);
    struct parquet_file *f;
    struct column back;
    assert_int_equal(file_open(buf_view(&out), a, &f, &err), 0);
    assert_int_equal(chunk_of(buf_view(&out), f, 0, 0, a, &back, &err), 0);
    assert_true(column_same(c, &back));
    *chunk = f->row_groups[0].chunks[0];
    assert_int_equal(parquet_column_index_decode(
                         f, 0, 0,
                         slice_of(out.ptr + chunk->column_index_offset, chunk->column_index_bytes),
                         a, index, &err),
                     0);
    /* null_pages: element type, then bytes 0 and 1 as parquet-go wants them. */
    const uint8_t *raw = out.ptr + chunk->column_index_offset;
    assert_int_equal(raw[0], 0x19);
    assert_int_equal(raw[1], index->count << 4 | 2);
    for (uint32_t i = 0; i < index->count; i++)
        assert_int_equal(raw[2 + i], index->null_pages[i]);
    buf_clear(&out);
}

static void long_bounds_are_cut_and_maxima_raised(void **state)
{
    (void)state;
    struct slice v[] = {SLICE("exactly 16 bytes"), SLICE("unset with message"), SLICE("short"),
                        SLICE("carry carry car\xff and more"),
                        SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff+")};
    struct column c = {.type = COLUMN_BYTES, .rows = 5, .entries = 5, .values = 5, .v.bytes = v};
    struct parquet_node leaf = {
        .name = "s", .type = PARQUET_BYTE_ARRAY, .encoding = PARQUET_DELTA_LENGTH_BYTE_ARRAY};
    struct parquet_column_index ix;
    struct parquet_chunk chunk;
    struct arena *a = arena_new(1 << 20);
    index_of(&leaf, &c, a, &ix, &chunk);
    assert_true(slice_eq(ix.min[0], v[0]));
    assert_true(slice_eq(ix.max[0], v[0]));
    assert_true(slice_eq(ix.min[1], SLICE("unset with messa")));
    assert_true(slice_eq(ix.max[1], SLICE("unset with messb")));
    assert_true(slice_eq(ix.max[2], SLICE("short")));
    assert_true(slice_eq(ix.min[3], SLICE("carry carry car\xff")));
    assert_true(slice_eq(ix.max[3], SLICE("carry carry cas\0")));
    assert_true(slice_eq(ix.max[4], v[4])); /* whole: no sixteen bytes are larger */
    assert_int_equal(ix.order, PARQUET_UNORDERED);
    /* Statistics are not cut. */
    assert_true(slice_eq(chunk.max, v[4]));
    assert_true(slice_eq(chunk.min, SLICE("carry carry car\xff and more")));
    arena_free(a);
}

static void unsigned_columns_compare_unsigned(void **state)
{
    (void)state;
    int64_t v[] = {1, -1, 5};
    struct column c = {.type = COLUMN_I64, .rows = 3, .entries = 3, .values = 3, .v.i64 = v};
    struct parquet_node leaf = {.name = "n", .type = PARQUET_INT64, .logical = PARQUET_UNSIGNED};
    struct parquet_column_index ix;
    struct parquet_chunk chunk;
    struct arena *a = arena_new(1 << 20);
    index_of(&leaf, &c, a, &ix, &chunk);
    assert_true(load_u64le(chunk.min.ptr) == 1);
    assert_true(load_u64le(chunk.max.ptr) == UINT64_MAX);
    leaf.logical = PARQUET_SIGNED;
    index_of(&leaf, &c, a, &ix, &chunk);
    assert_true(load_u64le(chunk.min.ptr) == UINT64_MAX);
    assert_true(load_u64le(chunk.max.ptr) == 5);
    arena_free(a);
}

static enum parquet_order order_of(int32_t *v, uint32_t count, uint8_t *def)
{
    struct column c = {.type = COLUMN_I32, .rows = count, .entries = count, .v.i32 = v};
    struct parquet_node leaf = {.name = "n", .type = PARQUET_INT32};
    struct parquet_column_index ix;
    struct parquet_chunk chunk;
    struct arena *a = arena_new(1 << 20);
    c.values = count;
    if (def) {
        leaf.repetition = PARQUET_OPTIONAL;
        c.def_max = 1;
        c.def = def;
        for (uint32_t i = 0; i < count; i++)
            c.values -= def[i] == 0;
    }
    index_of(&leaf, &c, a, &ix, &chunk);
    enum parquet_order order = ix.order;
    arena_free(a);
    return order;
}

static void boundary_order_is_told(void **state)
{
    (void)state;
    int32_t v[] = {-5, 2, 2, 7};
    int32_t down[] = {7, 2, -5};
    int32_t mixed[] = {7, 2, 5};
    uint8_t def[] = {1, 0, 1, 1};
    assert_int_equal(order_of(v, 1, NULL), PARQUET_UNORDERED);
    assert_int_equal(order_of(v, 4, NULL), PARQUET_ASCENDING);
    assert_int_equal(order_of(down, 3, NULL), PARQUET_DESCENDING);
    assert_int_equal(order_of(mixed, 3, NULL), PARQUET_UNORDERED);
    assert_int_equal(order_of(v, 4, def), PARQUET_UNORDERED);
}

static void nan_leaves_no_statistics_and_zeros_cover_both_signs(void **state)
{
    (void)state;
    double v[] = {1, NAN, 3};
    double zeros[] = {0.0, -0.0};
    struct column c = {.type = COLUMN_F64, .rows = 3, .entries = 3, .values = 3, .v.f64 = v};
    struct parquet_node leaf = {.name = "d", .type = PARQUET_DOUBLE};
    struct parquet_column_index ix;
    struct parquet_chunk chunk;
    struct arena *a = arena_new(1 << 20);
    index_of(&leaf, &c, a, &ix, &chunk);
    assert_false(chunk.has_min);
    double bound;
    memcpy(&bound, ix.max[1].ptr, 8);
    assert_true(isinf(bound) && bound > 0);
    c = (struct column){.type = COLUMN_F64, .rows = 2, .entries = 2, .values = 2, .v.f64 = zeros};
    index_of(&leaf, &c, a, &ix, &chunk);
    memcpy(&bound, chunk.min.ptr, 8);
    assert_true(bound == 0 && signbit(bound));
    memcpy(&bound, chunk.max.ptr, 8);
    assert_true(bound == 0 && !signbit(bound));
    arena_free(a);
}

static void huge_values_stay_out_of_the_footer(void **state)
{
    (void)state;
    static uint8_t big[LIMIT_PARQUET_STATISTICS_BYTES + 1];
    struct slice v[] = {slice_of(big, sizeof big)};
    struct column c = {.type = COLUMN_BYTES, .rows = 1, .entries = 1, .values = 1, .v.bytes = v};
    struct parquet_node leaf = {.name = "s", .type = PARQUET_BYTE_ARRAY};
    struct parquet_column_index ix;
    struct parquet_chunk chunk;
    struct arena *a = arena_new(1 << 20);
    index_of(&leaf, &c, a, &ix, &chunk);
    assert_false(chunk.has_min);
    assert_int_equal(ix.min[0].len, 16);
    arena_free(a);
}

static void pages_end_after_the_row_that_fills_them(void **state)
{
    (void)state;
    /* Two bytes of levels and eight of value an entry: the third entry passes 25 bytes, the row
     * ends with the fourth; three rows of one fill the next page, nulls are left. */
    uint8_t rep[] = {0, 1, 1, 1, 0, 0, 0, 0, 0};
    uint8_t def[] = {1, 1, 1, 1, 1, 1, 1, 0, 0};
    int64_t v[7] = {1, 2, 3, 4, 5, 6, 7};
    const struct parquet_node schema[] = {
        {.name = "T", .type = PARQUET_GROUP, .children = 1},
        {.name = "n", .type = PARQUET_INT64, .repetition = PARQUET_REPEATED}};
    struct column c = {.type = COLUMN_I64,
                       .rep_max = 1,
                       .def_max = 1,
                       .rows = 6,
                       .entries = 9,
                       .values = 7,
                       .rep = rep,
                       .def = def,
                       .v.i64 = v};
    struct parquet_writer_opts opts = {
        .schema = schema, .node_count = 2, .created_by = "rubato", .page_bytes = 25};
    struct parquet_writer *w;
    struct buf out;
    uint32_t footer_bytes, count;
    buf_init(&out, 1 << 20);
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), 0);
    assert_int_equal(parquet_writer_row_group(w, &c, &out, NULL), 0);
    assert_int_equal(parquet_writer_finish(w, &out, &footer_bytes, NULL), 0);
    parquet_writer_free(w);
    struct arena *a = arena_new(1 << 20);
    struct parquet_file *f;
    struct parquet_page_location *pages;
    assert_int_equal(file_open(buf_view(&out), a, &f, NULL), 0);
    const struct parquet_chunk *chunk = &f->row_groups[0].chunks[0];
    struct slice bytes = slice_of(out.ptr + chunk->offset_index_offset, chunk->offset_index_bytes);
    assert_int_equal(parquet_offset_index_decode(f, 0, 0, bytes, a, &pages, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(pages[1].first_row, 1);
    assert_int_equal(pages[2].first_row, 4);
    arena_free(a);
    buf_clear(&out);
}

static void a_full_output_buffer_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    struct sample s;
    struct buf whole;
    sample_init(&s, 30, 5);
    buf_init(&whole, SIZE_MAX / 2);
    sample_write(&s, 1, 500, &whole);
    for (size_t max = 0; max < whole.len; max += 1 + max / 16) {
        struct parquet_writer_opts opts = {.schema = sample_schema,
                                           .node_count = SAMPLE_NODES,
                                           .created_by = "rubato",
                                           .page_bytes = 500};
        struct parquet_writer *w;
        struct buf out;
        struct err err = {0};
        uint32_t footer_bytes;
        buf_init(&out, max);
        assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
        int rc = parquet_writer_row_group(w, s.columns, &out, &err);
        if (rc == 0)
            rc = parquet_writer_finish(w, &out, &footer_bytes, &err);
        assert_int_equal(rc, ERR_LIMIT);
        assert_true(err.msg[0] != 0);
        parquet_writer_free(w);
        buf_clear(&out);
    }
    buf_clear(&whole);
    sample_clear(&s);
}

/* ---- what is put aside ---- */

struct test_shelf {
    struct buf pieces[PARQUET_STREAMS][64];
    uint32_t put[PARQUET_STREAMS], got[PARQUET_STREAMS];
};

static int test_put(void *ctx, enum parquet_stream stream, struct slice piece, struct err *err)
{
    struct test_shelf *s = ctx;
    (void)err;
    struct buf *b = &s->pieces[stream][s->put[stream]++];
    assert_true(s->put[stream] <= 64);
    buf_init(b, 1 << 20);
    return buf_slice(b, piece);
}

static int test_get(void *ctx, enum parquet_stream stream, struct buf *out, struct err *err)
{
    struct test_shelf *s = ctx;
    (void)err;
    if (s->got[stream] == s->put[stream])
        return 1;
    buf_reset(out);
    return buf_slice(out, buf_view(&s->pieces[stream][s->got[stream]++]));
}

struct drained {
    struct buf to;
    unsigned calls;
};

static int test_drain(void *ctx, struct buf *out, struct err *err)
{
    struct drained *d = ctx;
    (void)err;
    d->calls++;
    int rc = buf_slice(&d->to, buf_view(out));
    buf_reset(out);
    return rc;
}

static void metadata_that_was_put_aside_makes_the_same_file(void **state)
{
    (void)state;
    enum { GROUPS = 40 };
    static struct test_shelf shelf;
    const struct parquet_shelf ops = {.ctx = &shelf, .put = test_put, .get = test_get};
    struct sample s;
    struct drained drained = {.calls = 0};
    sample_init(&s, 400, 5);
    buf_init(&drained.to, SIZE_MAX / 2);
    struct buf whole, out;
    buf_init(&whole, SIZE_MAX / 2);
    buf_init(&out, SIZE_MAX / 2);
    struct err err = {0};
    for (int with = 0; with < 2; with++) {
        struct parquet_writer_opts opts = {.schema = sample_schema,
                                           .node_count = SAMPLE_NODES,
                                           .created_by = "rubato",
                                           .drain = with ? test_drain : NULL,
                                           .drain_ctx = &drained,
                                           .shelf = with ? &ops : NULL,
                                           .shelf_bytes = 10000};
        struct buf *to = with ? &out : &whole;
        struct parquet_writer *w;
        uint32_t footer_bytes;
        assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
        for (int g = 0; g < GROUPS; g++)
            assert_int_equal(parquet_writer_row_group(w, s.columns, to, &err), 0);
        assert_int_equal(parquet_writer_finish(w, to, &footer_bytes, &err), 0);
        parquet_writer_free(w);
    }
    assert_int_equal(test_drain(&drained, &out, &err), 0);
    assert_true(drained.calls > 2);
    assert_true(slice_eq(buf_view(&whole), buf_view(&drained.to)));
    for (int i = 0; i < PARQUET_STREAMS; i++) {
        assert_true(shelf.put[i] > 3);
        assert_int_equal(shelf.got[i], shelf.put[i]);
        for (uint32_t k = 0; k < shelf.put[i]; k++)
            buf_clear(&shelf.pieces[i][k]);
    }
    buf_clear(&whole);
    buf_clear(&out);
    buf_clear(&drained.to);
    sample_clear(&s);
}

static void schemas_that_cannot_be_written_are_refused(void **state)
{
    (void)state;
    struct parquet_node schema[] = {{.name = "T", .type = PARQUET_GROUP, .children = 1},
                                    {.name = "n", .type = PARQUET_INT64}};
    struct parquet_writer_opts opts = {.schema = schema, .node_count = 2, .created_by = "rubato"};
    struct parquet_writer *w;
    schema[1].encoding = PARQUET_RLE_DICTIONARY;
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), ERR_INVALID);
    schema[1].encoding = PARQUET_PLAIN;
    schema[1].codec = 5;
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), ERR_INVALID);
    schema[1].codec = 0;
    schema[0].children = 2;
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), ERR_INVALID);
    schema[0].children = 0;
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), ERR_INVALID);
    schema[0].children = 1;
    assert_int_equal(parquet_writer_new(&opts, &w, NULL), 0);
    struct column none = {.type = COLUMN_I64};
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(parquet_writer_row_group(w, &none, &out, NULL), ERR_INVALID);
    parquet_writer_free(w);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_at_any_page_size),
        cmocka_unit_test(a_file_without_row_groups_is_a_file),
        cmocka_unit_test(any_rows_decode_from_the_pages_that_hold_them),
        cmocka_unit_test(bounds_of_every_page_hold_its_values),
        cmocka_unit_test(long_bounds_are_cut_and_maxima_raised),
        cmocka_unit_test(unsigned_columns_compare_unsigned),
        cmocka_unit_test(boundary_order_is_told),
        cmocka_unit_test(nan_leaves_no_statistics_and_zeros_cover_both_signs),
        cmocka_unit_test(huge_values_stay_out_of_the_footer),
        cmocka_unit_test(pages_end_after_the_row_that_fills_them),
        cmocka_unit_test(a_full_output_buffer_is_an_error_and_leaks_nothing),
        cmocka_unit_test(metadata_that_was_put_aside_makes_the_same_file),
        cmocka_unit_test(schemas_that_cannot_be_written_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
