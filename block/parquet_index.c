/* Page indexes: where a chunk's data pages lie and what values each can hold. They stand between
 * the row groups and the footer and are read only by those who want single pages. */
#include "block/parquet_priv.h"

#include "base/text.h"

#include <assert.h>

struct index {
    struct thrift_reader r;
    const struct parquet_leaf *leaf;
    const struct parquet_chunk *chunk;
    int64_t rows;
    struct arena *a;
};

static struct index index_of(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                             struct slice bytes, const char *what, struct arena *a, struct err *err)
{
    assert(row_group < f->row_group_count);
    assert(leaf < f->leaf_count);
    return (struct index){.r = thrift_reader_of(bytes, what, err),
                          .leaf = &f->leaves[leaf],
                          .chunk = &f->row_groups[row_group].chunks[leaf],
                          .rows = f->row_groups[row_group].rows,
                          .a = a};
}

static int index_wrap(const struct index *ix, int rc)
{
    char path[128];
    if (rc < 0)
        err_wrap(ix->r.err, "column %s", text_escape(ix->leaf->path, 96, path, sizeof path));
    return rc;
}

/* ---- offset index ---- */

static int location_decode(struct index *ix, struct parquet_page_location *page)
{
    struct thrift_field f = {0};
    unsigned seen = 0;
    int rc;
    *page = (struct parquet_page_location){0};
    while ((rc = thrift_next(&ix->r, &f)) == 0) {
        if (f.id == 1)
            rc = thrift_u64(&ix->r, &f, &page->offset);
        else if (f.id == 2)
            rc = thrift_u32(&ix->r, &f, &page->bytes);
        else if (f.id == 3)
            rc = thrift_int(&ix->r, &f, 0, ix->rows, &page->first_row);
        else
            rc = thrift_skip(&ix->r, &f);
        if (rc < 0)
            return rc;
        if (f.id >= 1 && f.id <= 3)
            seen |= 1U << f.id;
    }
    if (rc < 0)
        return rc;
    return seen == 0xe ? 0 : thrift_corrupt(&ix->r, "page location lacks a field");
}

/* Pages follow one another inside the chunk, in bytes and in rows. */
static int location_check(struct index *ix, const struct parquet_page_location *before,
                          const struct parquet_page_location *page)
{
    const struct parquet_chunk *c = ix->chunk;
    uint64_t from = before ? before->offset + before->bytes : c->data_offset;
    uint64_t end = c->offset + c->bytes;
    if (page->offset < from || page->offset > end || page->bytes > end - page->offset ||
        page->bytes == 0)
        return thrift_corrupt(&ix->r, "page of %u bytes at %llu, expected between %llu and %llu",
                              page->bytes, (unsigned long long)page->offset,
                              (unsigned long long)from, (unsigned long long)end);
    if (before ? page->first_row < before->first_row : page->first_row != 0)
        return thrift_corrupt(&ix->r, "page of row %lld after one of row %lld",
                              (long long)page->first_row,
                              before ? (long long)before->first_row : -1LL);
    return 0;
}

static int locations_decode(struct index *ix, const struct thrift_field *f,
                            struct parquet_page_location **out, uint32_t *count)
{
    struct thrift_field elem;
    int rc = thrift_list(&ix->r, f, THRIFT_STRUCT, &elem, count);
    if (rc < 0)
        return rc;
    if (*out)
        return thrift_corrupt(&ix->r, "page locations twice");
    struct parquet_page_location *pages = arena_array(ix->a, struct parquet_page_location, *count);
    if (!pages)
        return arena_err(ix->a, ix->r.err, "an offset index");
    for (uint32_t i = 0; rc == 0 && i < *count; i++) {
        rc = location_decode(ix, &pages[i]);
        if (rc == 0)
            rc = location_check(ix, i ? &pages[i - 1] : NULL, &pages[i]);
    }
    *out = pages;
    return rc;
}

int parquet_offset_index_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                struct slice bytes, struct arena *a,
                                struct parquet_page_location **out, uint32_t *count,
                                struct err *err)
{
    struct index ix = index_of(f, row_group, leaf, bytes, "offset index", a, err);
    struct parquet_page_location *pages = NULL;
    struct thrift_field field = {0};
    int rc;
    while ((rc = thrift_next(&ix.r, &field)) == 0) {
        rc = field.id == 1 ? locations_decode(&ix, &field, &pages, count)
                           : thrift_skip(&ix.r, &field);
        if (rc < 0)
            return index_wrap(&ix, rc);
    }
    if (rc > 0 && !pages)
        rc = thrift_corrupt(&ix.r, "no page locations");
    if (rc < 0)
        return index_wrap(&ix, rc);
    *out = pages;
    return 0;
}

int parquet_page_span(const struct parquet_page_location *pages, uint32_t count, int64_t rows,
                      int64_t row_first, int64_t row_count, struct parquet_page_span *out,
                      struct err *err)
{
    if (count == 0 || row_first < 0 || row_count <= 0 || row_first >= rows ||
        row_count > rows - row_first)
        return err_set(err, ERR_INVALID, "%lld rows from row %lld of %lld in %u pages",
                       (long long)row_count, (long long)row_first, (long long)rows, count);
    /* The last page that starts at or before the first row; a page without rows of its own (the
     * next one starts at the same row) can only continue the one before it. */
    uint32_t first = 0;
    while (first + 1 < count && pages[first + 1].first_row <= row_first)
        first++;
    while (first > 0 && pages[first].first_row == pages[first - 1].first_row)
        first--;
    uint32_t end = first + 1;
    while (end < count && pages[end].first_row < row_first + row_count)
        end++;
    *out = (struct parquet_page_span){.offset = pages[first].offset,
                                      .bytes = pages[end - 1].offset + pages[end - 1].bytes -
                                               pages[first].offset,
                                      .first_row = pages[first].first_row,
                                      .page_first = first,
                                      .page_count = end - first};
    return 0;
}

/* ---- column index ---- */

static int null_pages_decode(struct index *ix, const struct thrift_field *f, bool **out,
                             uint32_t *count)
{
    struct thrift_field elem;
    int rc = thrift_list(&ix->r, f, THRIFT_TRUE, &elem, count);
    if (rc < 0)
        return rc;
    *out = arena_array(ix->a, bool, *count);
    if (!*out)
        return arena_err(ix->a, ix->r.err, "a column index");
    for (uint32_t i = 0; rc == 0 && i < *count; i++)
        rc = thrift_elem_bool(&ix->r, &(*out)[i]);
    return rc;
}

static int bounds_decode(struct index *ix, const struct thrift_field *f, struct slice **out,
                         uint32_t *count)
{
    struct thrift_field elem;
    int rc = thrift_list(&ix->r, f, THRIFT_BINARY, &elem, count);
    if (rc < 0)
        return rc;
    *out = arena_array(ix->a, struct slice, *count);
    if (!*out)
        return arena_err(ix->a, ix->r.err, "a column index");
    for (uint32_t i = 0; rc == 0 && i < *count; i++)
        rc = thrift_binary(&ix->r, &elem, &(*out)[i]);
    return rc;
}

static int null_counts_decode(struct index *ix, const struct thrift_field *f, int64_t **out,
                              uint32_t *count)
{
    struct thrift_field elem;
    int rc = thrift_list(&ix->r, f, THRIFT_I64, &elem, count);
    if (rc < 0)
        return rc;
    *out = arena_array(ix->a, int64_t, *count);
    if (!*out)
        return arena_err(ix->a, ix->r.err, "a column index");
    for (uint32_t i = 0; rc == 0 && i < *count; i++)
        rc = thrift_int(&ix->r, &elem, 0, INT64_MAX, &(*out)[i]);
    return rc;
}

/* Lists of a column index with their counts, until they are found to agree. */
struct lists {
    struct parquet_column_index out;
    uint32_t nulls, mins, maxes, null_counts;
    bool has_order;
};

static int lists_decode(struct index *ix, struct lists *l)
{
    struct thrift_field f = {0};
    int64_t order = 0;
    int rc;
    while ((rc = thrift_next(&ix->r, &f)) == 0) {
        if (f.id == 1) {
            rc = null_pages_decode(ix, &f, &l->out.null_pages, &l->nulls);
        } else if (f.id == 2) {
            rc = bounds_decode(ix, &f, &l->out.min, &l->mins);
        } else if (f.id == 3) {
            rc = bounds_decode(ix, &f, &l->out.max, &l->maxes);
        } else if (f.id == 4) {
            rc = thrift_int(&ix->r, &f, PARQUET_UNORDERED, PARQUET_DESCENDING, &order);
            l->out.order = (enum parquet_order)order;
            l->has_order = true;
        } else if (f.id == 5) {
            rc = null_counts_decode(ix, &f, &l->out.null_counts, &l->null_counts);
        } else {
            rc = thrift_skip(&ix->r, &f);
        }
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int lists_check(const struct index *ix, const struct lists *l)
{
    if (!l->out.null_pages || !l->out.min || !l->out.max || !l->has_order)
        return thrift_corrupt(&ix->r, "a required list is missing");
    if (l->mins != l->nulls || l->maxes != l->nulls ||
        (l->out.null_counts && l->null_counts != l->nulls))
        return thrift_corrupt(&ix->r, "lists of %u, %u, %u and %u pages", l->nulls, l->mins,
                              l->maxes, l->null_counts);
    for (uint32_t i = 0; i < l->nulls; i++) {
        if (!l->out.null_pages[i] && (!parquet_bound_fits(ix->leaf->type, l->out.min[i]) ||
                                      !parquet_bound_fits(ix->leaf->type, l->out.max[i])))
            return thrift_corrupt(&ix->r, "page %u has bounds of %zu and %zu bytes", i,
                                  l->out.min[i].len, l->out.max[i].len);
    }
    return 0;
}

int parquet_column_index_decode(const struct parquet_file *f, uint32_t row_group, uint32_t leaf,
                                struct slice bytes, struct arena *a,
                                struct parquet_column_index *out, struct err *err)
{
    /* One copy of the whole, into which the bounds point. */
    struct slice kept;
    if (!arena_slice(a, bytes, &kept))
        return arena_err(a, err, "a column index");
    struct index ix = index_of(f, row_group, leaf, kept, "column index", a, err);
    struct lists l = {0};
    int rc = lists_decode(&ix, &l);
    if (rc == 0)
        rc = lists_check(&ix, &l);
    if (rc < 0)
        return index_wrap(&ix, rc);
    l.out.count = l.nulls;
    *out = l.out;
    return 0;
}
