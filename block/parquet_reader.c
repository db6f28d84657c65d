/* A chunk read front to back. What is decoded lies in growing arrays; rows that were given out are
 * dropped from their front when the next ones are asked for, and pages are decoded behind the rest
 * until there are rows enough. So a row group of any size takes no more memory than a few pages,
 * and its arrays stay in the processor's cache. */
#include "block/parquet_priv.h"

#include <stdlib.h>

#include "block/parquet_encoding.h"

struct parquet_reader {
    struct chunk_reader cr;
    int64_t rows; /* of the chunk */
    int64_t row;  /* the first one that is decoded and not dropped */
    uint32_t page;
    uint32_t decoded; /* pages */
    bool split_rows;  /* pages may begin inside a row */
    struct arena *a;
    struct column have; /* decoded: arrays with room for so many */
    uint32_t entries_max, values_max;
    uint32_t taken_rows, taken_entries, taken_values; /* given out, to be dropped */
    /* Pages that had to be decompressed, and for strings where the rest of them moves when others
     * are dropped. */
    size_t pages_bytes_max;
    struct arena *pages, *spare;
};

/* ---- life ---- */

/* Whether all values are indices, by the page headers. */
static bool all_indices(const struct chunk_reader *cr)
{
    for (uint32_t i = 0; i < cr->page_count; i++) {
        const struct page *p = &cr->pages[i];
        bool empty = p->h.num_values == 0 ||
                     (p->h.type == PAGE_DATA_V2 && p->h.num_nulls == p->h.num_values);
        if (!empty && !page_is_indices(p))
            return false;
    }
    return true;
}

static int open_chunk(struct parquet_reader *r, struct slice bytes)
{
    struct chunk_reader *cr = &r->cr;
    if (bytes.len != cr->chunk->bytes)
        return err_set(cr->err, ERR_CORRUPT, "chunk of %llu bytes, got %zu",
                       (unsigned long long)cr->chunk->bytes, bytes.len);
    int rc = chunk_pages_find(cr, slice_of(NULL, 0), 0, bytes, cr->chunk->offset);
    if (rc == 0 && cr->entries != (uint64_t)cr->chunk->num_values)
        rc = err_set(cr->err, ERR_CORRUPT, "pages of %llu values, the footer says %lld",
                     (unsigned long long)cr->entries, (long long)cr->chunk->num_values);
    if (rc == 0 && cr->has_dict_page)
        rc = chunk_page_wrap(cr, &cr->dict_page, chunk_dict_open(cr));
    for (uint32_t i = 0; i < cr->page_count && rc == 0; i++)
        r->split_rows |= cr->leaf->rep_max > 0 && cr->pages[i].h.type == PAGE_DATA;
    return rc;
}

/* Whether values are strings that point into decompressed pages. */
static bool points_into_pages(const struct parquet_reader *r)
{
    return r->have.type == COLUMN_BYTES && !r->have.has_dict &&
           r->cr.chunk->codec != PARQUET_UNCOMPRESSED;
}

/* From here on what is decompressed lives no longer than its rows; the dictionary, opened before,
 * is in the caller's arena. */
static int pages_init(struct parquet_reader *r)
{
    bool old = false;
    for (uint32_t i = 0; i < r->cr.page_count; i++)
        old |= r->cr.pages[i].h.type == PAGE_DATA; /* is decompressed levels and all */
    if (r->cr.chunk->codec == PARQUET_UNCOMPRESSED || (!old && !points_into_pages(r)))
        return 0;
    r->pages = arena_new(r->pages_bytes_max);
    r->spare = points_into_pages(r) ? arena_new(r->pages_bytes_max) : NULL;
    r->cr.a = r->cr.values.a = r->pages;
    bool ok = r->pages && (r->spare || !points_into_pages(r));
    return ok ? 0 : err_set(r->cr.err, ERR_NOMEM, "no memory for a column's reader");
}

int parquet_reader_new(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                       struct slice bytes, size_t pages_bytes_max, struct arena *a,
                       struct parquet_reader **out, struct err *err)
{
    struct parquet_reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "no memory for a column's reader");
    r->cr = chunk_reader_of(f, row_group, leaf, a, err);
    r->rows = f->row_groups[row_group].rows;
    r->a = a;
    r->pages_bytes_max = pages_bytes_max;
    int rc = open_chunk(r, bytes);
    if (rc < 0) {
        rc = chunk_wrap(&r->cr, rc);
        parquet_reader_free(r);
        return rc;
    }
    r->have = (struct column){
        .type = r->cr.values.type, .rep_max = r->cr.leaf->rep_max, .def_max = r->cr.leaf->def_max};
    r->have.has_dict =
        r->have.type == COLUMN_BYTES && r->cr.values.dict.seen && all_indices(&r->cr);
    if (r->have.has_dict) {
        r->have.dict = r->cr.values.dict.values;
        r->have.dict_count = r->cr.values.dict.count;
    }
    rc = chunk_wrap(&r->cr, pages_init(r));
    if (rc < 0)
        parquet_reader_free(r);
    else
        *out = r;
    return rc;
}

void parquet_reader_free(struct parquet_reader *r)
{
    if (!r)
        return;
    chunk_reader_clear(&r->cr);
    arena_free(r->pages);
    arena_free(r->spare);
    free(r);
}

uint32_t parquet_reader_decoded(const struct parquet_reader *r)
{
    return r->decoded;
}

uint32_t parquet_reader_pages(const struct parquet_reader *r)
{
    return r->cr.page_count;
}

void parquet_reader_dictionary(const struct parquet_reader *r, struct column *out)
{
    *out = (struct column){.type = r->have.type,
                           .rep_max = r->have.rep_max,
                           .def_max = r->have.def_max,
                           .has_dict = r->have.has_dict,
                           .dict = r->have.dict,
                           .dict_count = r->have.dict_count};
}

int parquet_dictionary_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                              struct slice bytes, struct arena *a, struct column *out,
                              struct err *err)
{
    struct chunk_reader cr = chunk_reader_of(f, row_group, leaf, a, err);
    int rc = chunk_pages_find(&cr, bytes, cr.chunk->offset, slice_of(NULL, 0), 0);
    if (rc == 0 && (!cr.has_dict_page || cr.page_count > 0))
        rc = err_set(err, ERR_CORRUPT, "no dictionary in the dictionary page");
    if (rc == 0)
        rc = chunk_page_wrap(&cr, &cr.dict_page, chunk_dict_open(&cr));
    chunk_reader_clear(&cr);
    *out = (struct column){
        .type = cr.values.type, .rep_max = cr.leaf->rep_max, .def_max = cr.leaf->def_max};
    if (rc == 0 && out->type == COLUMN_BYTES) {
        out->has_dict = true;
        out->dict = cr.values.dict.values;
        out->dict_count = cr.values.dict.count;
    }
    return chunk_wrap(&cr, rc);
}

/* ---- decoding ---- */

static size_t value_bytes(const struct parquet_reader *r)
{
    static const uint8_t sizes[] = {
        [COLUMN_BOOL] = 1, [COLUMN_I32] = 4, [COLUMN_I64] = 8, [COLUMN_F64] = 8};
    if (r->have.type == COLUMN_BYTES)
        return r->have.has_dict ? sizeof(uint32_t) : sizeof(struct slice);
    return sizes[r->have.type];
}

/* An array with room for count elements of which used are kept. */
static int grow(struct parquet_reader *r, void **array, size_t used, size_t count, size_t size)
{
    void *more = arena_alloc_array(r->a, count, size);
    if (!more)
        return arena_err(r->a, r->cr.err, "a column's rows");
    if (used)
        memcpy(more, *array, used * size);
    *array = more;
    return 0;
}

/* Arrays grow by halves at least: what they leave behind in the arena is then no more than twice
 * what they have. */
static uint32_t grown(uint32_t room, uint32_t needed)
{
    uint32_t more = room + room / 2;
    return more > needed ? more : needed;
}

static int room_for_entries(struct parquet_reader *r, uint32_t count)
{
    struct column *c = &r->have;
    int rc = 0;
    if (count <= r->entries_max)
        return 0;
    count = grown(r->entries_max, count);
    if (c->rep_max)
        rc = grow(r, (void **)&c->rep, c->entries, count, 1);
    if (rc == 0 && c->def_max)
        rc = grow(r, (void **)&c->def, c->entries, count, 1);
    r->entries_max = rc == 0 ? count : r->entries_max;
    return rc;
}

static int room_for_values(struct parquet_reader *r, uint32_t count)
{
    if (r->have.v.b && count <= r->values_max)
        return 0;
    count = grown(r->values_max, count);
    int rc = grow(r, (void **)&r->have.v.b, r->have.values, count, value_bytes(r));
    r->values_max = rc == 0 ? count : r->values_max;
    return rc;
}

/* One more page behind what there is. */
static int decode_page(struct parquet_reader *r)
{
    struct page *p = &r->cr.pages[r->page];
    struct column *c = &r->have;
    int rc = chunk_page_open(&r->cr, p); /* the bytes can hold so many */
    if (rc == 0)
        rc = room_for_entries(r, c->entries + p->h.num_values);
    if (rc == 0)
        rc = chunk_page_levels(&r->cr, p, c, c->entries);
    if (rc == 0 && c->entries == 0 && c->rep_max && p->h.num_values && c->rep[0] != 0)
        rc = err_set(r->cr.err, ERR_CORRUPT, "page starts inside a row");
    if (rc == 0)
        rc = room_for_values(r, c->values + p->values);
    if (rc == 0)
        rc = page_values_decode(&r->cr.values, p, c);
    if (r->pages && !points_into_pages(r))
        arena_reset(r->pages);
    if (rc < 0)
        return chunk_page_wrap(&r->cr, p, rc);
    c->rows += c->rep_max ? (uint32_t)bytes_count(c->rep + c->entries, p->h.num_values, 0)
                          : p->h.num_values;
    c->entries += p->h.num_values;
    c->values += p->values;
    r->page++;
    r->decoded++;
    return 0;
}

/* Rows of which nothing is missing. */
static uint32_t whole_rows(const struct parquet_reader *r)
{
    bool last_may_go_on = r->split_rows && r->page < r->cr.page_count && r->have.rows > 0;
    return r->have.rows - last_may_go_on;
}

/* Strings that stay move out of the way of those that go. */
static int move_strings(struct parquet_reader *r)
{
    struct slice *s = r->have.v.bytes;
    arena_reset(r->spare);
    for (uint32_t i = 0; i < r->have.values; i++) {
        if (!arena_slice(r->spare, s[i], &s[i]))
            return arena_err(r->spare, r->cr.err, "a page of strings");
    }
    struct arena *full = r->pages;
    r->pages = r->spare;
    r->spare = full;
    r->cr.a = r->cr.values.a = r->pages;
    arena_reset(full);
    return 0;
}

static void drop_front(void *array, size_t dropped, size_t left, size_t size)
{
    if (dropped && left)
        memmove(array, (uint8_t *)array + dropped * size, left * size);
}

/* Drops rows, entries and values from the front. */
static int drop(struct parquet_reader *r, uint32_t rows, uint32_t entries, uint32_t values)
{
    struct column *c = &r->have;
    r->row += rows;
    c->rows -= rows;
    c->entries -= entries;
    c->values -= values;
    if (c->rep_max)
        drop_front(c->rep, entries, c->entries, 1);
    if (c->def_max)
        drop_front(c->def, entries, c->entries, 1);
    drop_front(c->v.b, values, c->values, value_bytes(r));
    return values && points_into_pages(r) ? move_strings(r) : 0;
}

/* The first rows of what there is: how many entries and values they have. */
static void measure(const struct parquet_reader *r, uint32_t rows, uint32_t *entries,
                    uint32_t *values)
{
    const struct column *c = &r->have;
    *entries = rows == c->rows ? c->entries : column_row_entry(c, 0, rows);
    *values = *entries == c->entries ? c->values
              : c->def_max           ? (uint32_t)bytes_count(c->def, *entries, c->def_max)
                                     : *entries;
}

/* Goes on to a row, without decoding what lies between where the headers tell how much that is. */
static int skip_to(struct parquet_reader *r, int64_t row)
{
    while (r->row < row) {
        int64_t ahead = row - r->row;
        uint32_t whole = whole_rows(r), entries, values;
        int rc = 0;
        if (whole > 0) {
            uint32_t rows = ahead < whole ? (uint32_t)ahead : whole;
            measure(r, rows, &entries, &values);
            rc = drop(r, rows, entries, values);
        } else if (r->page == r->cr.page_count) {
            return err_set(r->cr.err, ERR_CORRUPT, "pages end at row %lld of %lld",
                           (long long)r->row, (long long)r->rows);
        } else if (r->have.rows == 0 && !r->split_rows &&
                   r->cr.pages[r->page].h.type == PAGE_DATA_V2 &&
                   r->cr.pages[r->page].h.num_rows <= ahead) {
            r->row += r->cr.pages[r->page++].h.num_rows;
        } else {
            rc = decode_page(r);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take(struct parquet_reader *r, int64_t first, int64_t count, struct column *out)
{
    int rc = drop(r, r->taken_rows, r->taken_entries, r->taken_values);
    r->taken_rows = r->taken_entries = r->taken_values = 0;
    if (rc == 0)
        rc = skip_to(r, first);
    while (rc == 0 && whole_rows(r) < count && r->page < r->cr.page_count)
        rc = decode_page(r);
    bool wrong = r->page == r->cr.page_count && r->row + r->have.rows != r->rows;
    if (rc == 0 && wrong)
        rc = err_set(r->cr.err, ERR_CORRUPT, "%lld rows, the footer says %lld",
                     (long long)(r->row + r->have.rows), (long long)r->rows);
    if (rc < 0)
        return rc;
    measure(r, (uint32_t)count, &r->taken_entries, &r->taken_values);
    r->taken_rows = (uint32_t)count;
    *out = r->have;
    out->rows = r->taken_rows;
    out->entries = r->taken_entries;
    out->values = r->taken_values;
    return 0;
}

int parquet_reader_take(struct parquet_reader *r, int64_t first, int64_t count, struct column *out,
                        struct err *err)
{
    r->cr.err = r->cr.values.err = err;
    if (first < r->row + r->taken_rows || count < 0 || count > r->rows - first)
        return err_set(err, ERR_INVALID, "rows %lld to %lld of %lld", (long long)first,
                       (long long)(first + count), (long long)r->rows);
    return chunk_wrap(&r->cr, take(r, first, count, out));
}
