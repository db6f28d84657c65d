/* Columns to a Parquet file: dictionary and data pages of a row group, one column after the other.
 * Pages end at row boundaries, and a chunk has one encoding and one form of page: version 1 where
 * compression pays, since that compresses levels too, else version 2, which may leave a page of a
 * compressed column as it is (docs/formats/block.md, 5.5).
 *
 * The work per level entry is kept to word-wise loops (counting, run finding, packing): most
 * entries of a block are empty lists. */
#include "block/parquet_write_priv.h"

#include "block/block_limits.h"
#include "block/parquet_encoding.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#define PAGE_BYTES_DEFAULT 256901
/* Numbers by which a chunk's encoding is chosen, and with fewer than which nothing is. */
#define SAMPLE_VALUES 2048
#define SAMPLE_VALUES_LEAST 128
/* By this much the output may grow before it is drained. */
#define DRAIN_BYTES ((size_t)1 << 20)
#define SHELF_BYTES_DEFAULT ((size_t)4 << 20)

/* RowGroup.ordinal is 16 bits, and Tempo 2.7 needs it. */
#define ROW_GROUPS_MAX INT16_MAX

int parquet_no_room(struct err *err, int rc)
{
    return err_set(err, rc,
                   rc == ERR_LIMIT ? "parquet writer: a buffer passes its limit"
                                   : "parquet writer: out of memory");
}

/* ---- life ---- */

static bool encoding_fits(const struct parquet_node *n)
{
    switch (n->encoding) {
    case PARQUET_PLAIN:
        return true;
    case PARQUET_DELTA_BINARY_PACKED:
        return n->type == PARQUET_INT32 || n->type == PARQUET_INT64;
    case PARQUET_DELTA_LENGTH_BYTE_ARRAY:
    case PARQUET_RLE_DICTIONARY:
        return n->type == PARQUET_BYTE_ARRAY;
    default:
        return false;
    }
}

/* The groups that are open while the schema is walked. */
struct open_group {
    uint32_t node;
    uint32_t children_left;
    uint8_t rep_max, def_max;
};

static int schema_walk(struct parquet_writer *w, struct err *err)
{
    const struct parquet_node *nodes = w->opts.schema;
    struct open_group groups[LIMIT_PARQUET_DEPTH] = {{.children_left = nodes[0].children}};
    uint32_t depth = 1;
    for (uint32_t i = 1; i < w->opts.node_count; i++) {
        const struct parquet_node *n = &nodes[i];
        while (depth > 0 && groups[depth - 1].children_left == 0)
            depth--;
        if (depth == 0)
            return err_set(err, ERR_INVALID, "schema node %u (%s) is outside of the root", i,
                           n->name);
        struct open_group *g = &groups[depth - 1];
        g->children_left--;
        w->parents[i] = g->node;
        uint8_t rep = (uint8_t)(g->rep_max + (n->repetition == PARQUET_REPEATED));
        uint8_t def = (uint8_t)(g->def_max + (n->repetition != PARQUET_REQUIRED));
        if (n->type != PARQUET_GROUP) {
            if (!encoding_fits(n) || !parquet_codec_known(n->codec))
                return err_set(err, ERR_INVALID, "column %s: encoding %u or codec %u", n->name,
                               n->encoding, n->codec);
            w->leaves[w->leaf_count++] =
                (struct leaf_writer){.node = n, .node_index = i, .rep_max = rep, .def_max = def};
            continue;
        }
        if (n->children == 0 || depth == LIMIT_PARQUET_DEPTH)
            return err_set(err, ERR_INVALID, "group %s: %u children, depth %u", n->name,
                           n->children, depth);
        groups[depth++] = (struct open_group){i, n->children, rep, def};
    }
    for (; depth > 0; depth--) {
        if (groups[depth - 1].children_left > 0)
            return err_set(err, ERR_INVALID, "schema lacks %u nodes",
                           groups[depth - 1].children_left);
    }
    return w->leaf_count ? 0 : err_set(err, ERR_INVALID, "schema without columns");
}

int parquet_writer_new(const struct parquet_writer_opts *opts, struct parquet_writer **out,
                       struct err *err)
{
    if (opts->node_count < 2 || opts->node_count > UINT16_MAX)
        return err_set(err, ERR_INVALID, "schema of %zu nodes", opts->node_count);
    struct parquet_writer *w = calloc(1, sizeof *w);
    if (!w)
        return parquet_no_room(err, ERR_NOMEM);
    w->opts = *opts;
    if (w->opts.page_bytes == 0)
        w->opts.page_bytes = PAGE_BYTES_DEFAULT;
    if (w->opts.shelf_bytes == 0)
        w->opts.shelf_bytes = SHELF_BYTES_DEFAULT;
    for (int i = 0; i < PARQUET_STREAMS; i++)
        buf_init(&w->stream[i], INT32_MAX);
    buf_init(&w->bounds, INT32_MAX);
    buf_init(&w->body, INT32_MAX);
    buf_init(&w->plain, INT32_MAX);
    buf_init(&w->header, 4096);
    buf_init(&w->empty_bytes, INT32_MAX);
    w->leaves = calloc(opts->node_count, sizeof *w->leaves);
    w->parents = calloc(opts->node_count, sizeof *w->parents);
    int rc = w->leaves && w->parents ? schema_walk(w, err) : parquet_no_room(err, ERR_NOMEM);
    if (rc < 0) {
        parquet_writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void parquet_writer_free(struct parquet_writer *w)
{
    if (!w)
        return;
    free(w->leaves);
    free(w->parents);
    vec_free(&w->chunks);
    vec_free(&w->pages);
    vec_free(&w->slices);
    vec_free(&w->lengths);
    vec_free(&w->seen);
    for (int i = 0; i < PARQUET_STREAMS; i++)
        buf_clear(&w->stream[i]);
    buf_clear(&w->bounds);
    buf_clear(&w->body);
    buf_clear(&w->plain);
    buf_clear(&w->header);
    buf_clear(&w->empty_bytes);
    compressor_clear(&w->compressor);
    free(w);
}

uint64_t parquet_writer_bytes(const struct parquet_writer *w)
{
    return w->offset;
}

uint32_t parquet_writer_row_groups(const struct parquet_writer *w)
{
    return w->row_groups;
}

int parquet_put(struct parquet_writer *w, struct buf *out, struct slice bytes, struct err *err)
{
    int rc = buf_slice(out, bytes);
    if (rc < 0)
        return parquet_no_room(err, rc);
    w->offset += bytes.len;
    return w->opts.drain && out->len >= DRAIN_BYTES ? w->opts.drain(w->opts.drain_ctx, out, err)
                                                    : 0;
}

/* ---- where pages end ---- */

struct position {
    uint32_t entry;
    uint32_t value;
};

static uint32_t values_in(const struct column *c, uint32_t entry, uint32_t count)
{
    return c->def ? (uint32_t)bytes_count(c->def + entry, count, c->def_max) : count;
}

static size_t fixed_size(const struct leaf_writer *leaf, enum parquet_encoding encoding)
{
    switch (leaf->node->type) {
    case PARQUET_BOOLEAN:
        return 1;
    case PARQUET_INT32:
        return 4;
    case PARQUET_BYTE_ARRAY:
        return encoding == PARQUET_RLE_DICTIONARY ? 4 : 0;
    default:
        return 8;
    }
}

/* Size of entries and values in memory: a byte for each level, strings with a length. */
static size_t raw_bytes(const struct leaf_writer *leaf, enum parquet_encoding encoding,
                        const struct column *c, uint32_t entries, uint32_t value, uint32_t values)
{
    size_t bytes = (size_t)entries * ((leaf->rep_max > 0) + (size_t)(leaf->def_max > 0));
    size_t size = fixed_size(leaf, encoding);
    if (size > 0)
        return bytes + size * values;
    for (uint32_t i = value; i < value + values; i++)
        bytes += 4 + column_bytes(c, i).len;
    return bytes;
}

/* A page ends after the row that brings its raw size to page_bytes. Steps halve when they would
 * pass that, down to the entry that does; then the row is completed. */
static struct position page_end(const struct parquet_writer *w, const struct leaf_writer *leaf,
                                enum parquet_encoding encoding, const struct column *c,
                                struct position at)
{
    size_t raw = 0;
    uint32_t step = 1024;
    bool full = false;
    while (!full && at.entry < c->entries) {
        uint32_t left = c->entries - at.entry;
        uint32_t n = step < left ? step : left;
        uint32_t values = values_in(c, at.entry, n);
        size_t more = raw_bytes(leaf, encoding, c, n, at.value, values);
        full = raw + more >= w->opts.page_bytes;
        if (full && n > 1) {
            step = n / 2;
            full = false;
            continue;
        }
        raw += more;
        at.entry += n;
        at.value += values;
    }
    if (c->rep && at.entry < c->entries) {
        uint32_t left = c->entries - at.entry;
        const uint8_t *row = memchr(c->rep + at.entry, 0, left);
        uint32_t n = row ? (uint32_t)(row - (c->rep + at.entry)) : left;
        at.value += values_in(c, at.entry, n);
        at.entry += n;
    }
    return at;
}

/* ---- values ---- */

/* Whether a dictionary and indices into it are smaller than the values themselves. Where they are
 * not, as with ids and URLs, a reader gains nothing from a dictionary either. */
static bool dictionary_pays(const struct column *c)
{
    size_t dict = 0, plain = 0;
    if (c->dict_count < c->values / 2)
        return true;
    for (uint32_t i = 0; i < c->dict_count; i++)
        dict += 4 + c->dict[i].len;
    for (uint32_t i = 0; i < c->values; i++)
        plain += 4 + c->dict[c->v.idx[i]].len;
    unsigned width = c->dict_count ? bit_width(c->dict_count - 1) : 0;
    return dict + (size_t)c->values * width / 8 <= plain;
}

static int encode_bytes(struct parquet_writer *w, enum parquet_encoding encoding,
                        const struct column *c, uint32_t first, uint32_t count, struct buf *out,
                        struct err *err)
{
    const struct slice *values = NULL;
    if (count > 0 && !c->has_dict) {
        values = c->v.bytes + first;
    } else if (count > 0) {
        vec_reset(&w->slices);
        if (!vec_reserve(&w->slices, count))
            return parquet_no_room(err, ERR_NOMEM);
        for (uint32_t i = 0; i < count; i++)
            w->slices.at[i] = c->dict[c->v.idx[first + i]];
        values = w->slices.at;
    }
    if (encoding == PARQUET_PLAIN)
        return plain_encode_bytes(values, count, out, err);
    vec_reset(&w->lengths);
    if (!vec_reserve(&w->lengths, count))
        return parquet_no_room(err, ERR_NOMEM);
    return delta_length_encode(values, count, w->lengths.at, out, err);
}

static int encode_indices(const struct column *c, uint32_t first, uint32_t count, struct buf *out)
{
    if (count == 0)
        return buf_append(out, "\0", 2); /* width 0, a run of none */
    unsigned width = bit_width(c->dict_count - 1);
    int rc = buf_u8(out, (uint8_t)width);
    return rc < 0 ? rc : hybrid_encode_indices(c->v.idx + first, count, width, out);
}

static int encode_values(struct parquet_writer *w, enum parquet_encoding encoding,
                         const struct column *c, uint32_t first, uint32_t count, struct buf *out,
                         struct err *err)
{
    bool delta = encoding == PARQUET_DELTA_BINARY_PACKED;
    /* A column without values may have no array for them. */
    bool any = count > 0;
    int rc = 0;
    switch (c->type) {
    case COLUMN_BOOL:
        rc = plain_encode_bools(any ? c->v.b + first : NULL, count, out);
        break;
    case COLUMN_I32: {
        const int32_t *v = any ? c->v.i32 + first : NULL;
        rc = delta ? delta_encode_i32(v, count, out) : plain_encode_fixed(v, count, 4, out);
        break;
    }
    case COLUMN_I64: {
        const int64_t *v = any ? c->v.i64 + first : NULL;
        rc = delta ? delta_encode_i64(v, count, out) : plain_encode_fixed(v, count, 8, out);
        break;
    }
    case COLUMN_F64:
        rc = plain_encode_fixed(any ? c->v.f64 + first : NULL, count, 8, out);
        break;
    case COLUMN_BYTES:
        if (encoding != PARQUET_RLE_DICTIONARY)
            return encode_bytes(w, encoding, c, first, count, out, err);
        rc = encode_indices(c, first, count, out);
        break;
    }
    return rc < 0 ? parquet_no_room(err, rc) : 0;
}

/* ---- the encoding of a chunk ---- */

/* Stored size of the first values of a chunk. */
static int sample_bytes(struct parquet_writer *w, const struct leaf_writer *leaf,
                        enum parquet_encoding encoding, const struct column *c, uint32_t count,
                        size_t *bytes, struct err *err)
{
    buf_reset(&w->plain);
    buf_reset(&w->body);
    int rc = encode_values(w, encoding, c, 0, count, &w->plain, err);
    if (rc == 0)
        rc =
            parquet_compress(&w->compressor, leaf->node->codec, buf_view(&w->plain), &w->body, err);
    *bytes = w->body.len;
    return rc;
}

/* Differences are packed without regard to bytes, so that compression finds nothing more in them.
 * Where it finds a sixteenth more in the numbers themselves, as in times of spans that begin
 * together and in durations, those are stored. */
static int delta_or_plain(struct parquet_writer *w, const struct leaf_writer *leaf,
                          const struct column *c, enum parquet_encoding *out, struct err *err)
{
    size_t delta = 0, plain = 0;
    uint32_t count = c->values < SAMPLE_VALUES ? c->values : SAMPLE_VALUES;
    if (leaf->node->codec == PARQUET_UNCOMPRESSED || count < SAMPLE_VALUES_LEAST)
        return 0;
    int rc = sample_bytes(w, leaf, PARQUET_DELTA_BINARY_PACKED, c, count, &delta, err);
    if (rc < 0 || delta < count / 8) /* all alike, or nearly */
        return rc;
    rc = sample_bytes(w, leaf, PARQUET_PLAIN, c, count, &plain, err);
    if (rc == 0 && plain + plain / 16 < delta)
        *out = PARQUET_PLAIN;
    return rc;
}

/* All pages of a chunk have it: Tempo takes the dictionary for all there is. */
static int chunk_encoding(struct parquet_writer *w, const struct leaf_writer *leaf,
                          const struct column *c, enum parquet_encoding *out, struct err *err)
{
    *out = (enum parquet_encoding)leaf->node->encoding;
    if (*out == PARQUET_RLE_DICTIONARY && !(c->has_dict && dictionary_pays(c)))
        *out = PARQUET_PLAIN;
    return *out == PARQUET_DELTA_BINARY_PACKED ? delta_or_plain(w, leaf, c, out, err) : 0;
}

/* ---- pages ---- */

/* Header and w->body, of which plain_bytes before compression. */
static int put_page(struct parquet_writer *w, struct chunk_info *chunk, struct page_header *h,
                    size_t plain_bytes, struct buf *out, struct err *err)
{
    if (w->body.len > INT32_MAX || plain_bytes > INT32_MAX)
        return err_set(err, ERR_LIMIT, "page of %zu bytes", plain_bytes);
    h->uncompressed_bytes = (uint32_t)plain_bytes;
    h->compressed_bytes = (uint32_t)w->body.len;
    h->crc = (uint32_t)crc32_z(0, w->body.ptr, w->body.len);
    buf_reset(&w->header);
    int rc = page_header_encode(h, &w->header);
    if (rc < 0)
        return parquet_no_room(err, rc);
    rc = parquet_put(w, out, buf_view(&w->header), err);
    if (rc == 0)
        rc = parquet_put(w, out, buf_view(&w->body), err);
    chunk->stored_bytes += w->header.len + w->body.len;
    chunk->plain_bytes += w->header.len + plain_bytes;
    return rc;
}

static int put_dictionary(struct parquet_writer *w, const struct leaf_writer *leaf,
                          const struct column *c, struct chunk_info *chunk, struct buf *out,
                          struct err *err)
{
    buf_reset(&w->plain);
    buf_reset(&w->body);
    int rc = plain_encode_bytes(c->dict, c->dict_count, &w->plain, err);
    if (rc == 0)
        rc =
            parquet_compress(&w->compressor, leaf->node->codec, buf_view(&w->plain), &w->body, err);
    if (rc < 0)
        return rc;
    struct page_header h = {
        .type = PAGE_DICTIONARY, .num_values = c->dict_count, .encoding = PARQUET_PLAIN};
    chunk->dict_offset = w->offset;
    return put_page(w, chunk, &h, w->plain.len, out, err);
}

/* Where the parts of a page lie in w->plain, which has it as version 1 does: levels behind their
 * lengths, values. */
struct layout {
    size_t rep, def, values;
};

/* A column that has levels has them in every page, equal or not: parquet-go asks for them. */
static int encode_levels(struct parquet_writer *w, const uint8_t *levels, uint32_t count,
                         uint8_t max, struct err *err)
{
    struct buf *out = &w->plain;
    size_t start = out->len;
    int rc = buf_u32le(out, 0);
    if (rc == 0)
        rc = hybrid_encode_levels(levels, count, bit_width(max), out);
    if (rc < 0)
        return parquet_no_room(err, rc);
    uint32_t bytes = (uint32_t)(out->len - start - 4);
    memcpy(out->ptr + start, &bytes, sizeof bytes);
    return 0;
}

static int encode_page(struct parquet_writer *w, const struct leaf_writer *leaf,
                       enum parquet_encoding encoding, const struct column *c, struct position from,
                       struct position to, struct layout *at, struct err *err)
{
    uint32_t entries = to.entry - from.entry;
    int rc = 0;
    buf_reset(&w->plain);
    *at = (struct layout){0};
    if (leaf->rep_max > 0)
        rc = encode_levels(w, c->rep + from.entry, entries, leaf->rep_max, err);
    at->def = w->plain.len;
    if (rc == 0 && leaf->def_max > 0)
        rc = encode_levels(w, c->def + from.entry, entries, leaf->def_max, err);
    at->values = w->plain.len;
    if (rc == 0)
        rc = encode_values(w, encoding, c, from.value, to.value - from.value, &w->plain, err);
    return rc;
}

/* What is compressed must be decompressed by every reader, so a sixteenth is the least that pays:
 * ids and times do not get there. */
static bool compression_pays(size_t plain_bytes, size_t stored_bytes)
{
    return stored_bytes + plain_bytes / 16 < plain_bytes;
}

/* w->plain to w->body, in the form that the chunk's first page decides on. */
static int form_page(struct parquet_writer *w, const struct leaf_writer *leaf,
                     const struct layout *at, struct chunk_info *chunk, struct page_header *h,
                     struct err *err)
{
    struct slice plain = buf_view(&w->plain);
    bool first = w->pages.count == 0;
    buf_reset(&w->body);
    if (first)
        chunk->page_type = leaf->node->codec == PARQUET_UNCOMPRESSED ? PAGE_DATA_V2 : PAGE_DATA;
    if (chunk->page_type == PAGE_DATA) {
        int rc = parquet_compress(&w->compressor, leaf->node->codec, plain, &w->body, err);
        if (rc < 0)
            return rc;
        if (!first || compression_pays(plain.len, w->body.len)) {
            h->type = PAGE_DATA;
            h->rep_encoding = h->def_encoding = PARQUET_RLE;
            return 0;
        }
        chunk->page_type = PAGE_DATA_V2;
        buf_reset(&w->body);
    }
    struct slice rep = leaf->rep_max ? slice_of(plain.ptr + 4, at->def - 4) : slice_of(NULL, 0);
    struct slice def = leaf->def_max ? slice_of(plain.ptr + at->def + 4, at->values - at->def - 4)
                                     : slice_of(NULL, 0);
    h->type = PAGE_DATA_V2;
    h->rep_bytes = (uint32_t)rep.len;
    h->def_bytes = (uint32_t)def.len;
    int rc = buf_slice(&w->body, rep);
    if (rc == 0)
        rc = buf_slice(&w->body, def);
    if (rc == 0)
        rc = buf_slice(&w->body, slice_from(plain, at->values));
    return rc < 0 ? parquet_no_room(err, rc) : 0;
}

static bool same_levels(const uint8_t *a, const uint8_t *b, uint32_t count)
{
    return a == b || (a && b && memcmp(a, b, count) == 0);
}

static bool is_like_empty(const struct parquet_writer *w, const struct leaf_writer *leaf,
                          const struct column *c, const struct page_info *page, uint32_t entry,
                          const struct chunk_info *chunk)
{
    const struct empty_page *e = &w->empty;
    const struct column *k = e->column;
    return k && page->values == 0 && page->entries == e->entries &&
           chunk->encoding == e->encoding && leaf->node->codec == e->codec &&
           (w->pages.count == 0 || chunk->page_type == e->page_type) && c->rep_max == k->rep_max &&
           c->def_max == k->def_max &&
           (c->rep_max == 0 || same_levels(c->rep + entry, k->rep + e->entry, e->entries)) &&
           (c->def_max == 0 || same_levels(c->def + entry, k->def + e->entry, e->entries));
}

/* After the page of w->header and w->body was put. */
static int keep_empty(struct parquet_writer *w, const struct leaf_writer *leaf,
                      const struct column *c, const struct page_info *page, uint32_t entry,
                      const struct chunk_info *chunk, size_t plain_bytes)
{
    w->empty = (struct empty_page){.column = c,
                                   .entry = entry,
                                   .entries = page->entries,
                                   .encoding = chunk->encoding,
                                   .codec = leaf->node->codec,
                                   .page_type = chunk->page_type,
                                   .plain_bytes = w->header.len + plain_bytes};
    buf_reset(&w->empty_bytes);
    int rc = buf_slice(&w->empty_bytes, buf_view(&w->header));
    return rc < 0 ? rc : buf_slice(&w->empty_bytes, buf_view(&w->body));
}

static int put_made(struct parquet_writer *w, const struct leaf_writer *leaf,
                    const struct column *c, struct position from, struct position to,
                    const struct page_info *page, struct chunk_info *chunk, struct buf *out,
                    struct err *err)
{
    struct page_header h = {.num_values = page->entries,
                            .num_nulls = page->entries - page->values,
                            .num_rows = page->rows,
                            .encoding = chunk->encoding};
    struct layout at;
    int rc = encode_page(w, leaf, chunk->encoding, c, from, to, &at, err);
    if (rc == 0)
        rc = form_page(w, leaf, &at, chunk, &h, err);
    if (rc < 0)
        return rc;
    size_t plain_bytes = h.type == PAGE_DATA ? w->plain.len : w->body.len;
    rc = put_page(w, chunk, &h, plain_bytes, out, err);
    if (rc == 0 && page->values == 0) {
        rc = keep_empty(w, leaf, c, page, from.entry, chunk, plain_bytes);
        if (rc < 0)
            parquet_no_room(err, rc);
    }
    return rc;
}

static int put_data(struct parquet_writer *w, const struct leaf_writer *leaf,
                    const struct column *c, struct position from, struct position to,
                    struct chunk_info *chunk, struct buf *out, struct err *err)
{
    uint32_t entries = to.entry - from.entry;
    uint32_t values = to.value - from.value;
    struct page_info info = {.offset = w->offset,
                             .entries = entries,
                             .values = values,
                             .rows = c->rep ? (uint32_t)bytes_count(c->rep + from.entry, entries, 0)
                                            : entries,
                             .bounds = bounds_of(leaf->node, c, from.value, values, w->seen.at)};
    int rc;
    if (is_like_empty(w, leaf, c, &info, from.entry, chunk)) {
        chunk->page_type = w->empty.page_type;
        chunk->stored_bytes += w->empty_bytes.len;
        chunk->plain_bytes += w->empty.plain_bytes;
        rc = parquet_put(w, out, buf_view(&w->empty_bytes), err);
    } else {
        rc = put_made(w, leaf, c, from, to, &info, chunk, out, err);
    }
    info.bytes = (uint32_t)(w->offset - info.offset);
    if (rc == 0 && !vec_push(&w->pages, info))
        rc = parquet_no_room(err, ERR_NOMEM);
    return rc;
}

/* ---- chunks ---- */

static int keep_bounds(struct parquet_writer *w, const struct leaf_writer *leaf,
                       struct chunk_info *chunk, struct err *err)
{
    struct bounds all = {0};
    for (uint32_t i = 0; i < w->pages.count; i++)
        bounds_add(leaf->node, &all, &w->pages.at[i].bounds);
    if (!all.any || all.loose)
        return 0;
    struct slice min = bound_view(leaf->node, &all.min);
    struct slice max = bound_view(leaf->node, &all.max);
    if (min.len > LIMIT_PARQUET_STATISTICS_BYTES || max.len > LIMIT_PARQUET_STATISTICS_BYTES)
        return 0;
    chunk->has_bounds = true;
    chunk->bounds_at = w->bounds.len;
    chunk->min_bytes = (uint32_t)min.len;
    chunk->max_bytes = (uint32_t)max.len;
    int rc = buf_reserve(&w->bounds, min.len + max.len + 1);
    if (rc == 0)
        rc = buf_slice(&w->bounds, min);
    if (rc == 0)
        rc = buf_slice(&w->bounds, max);
    return rc < 0 ? parquet_no_room(err, rc) : 0;
}

static int seen_reserve(struct parquet_writer *w, const struct column *c, struct err *err)
{
    if (!c->has_dict || w->seen.count >= c->dict_count)
        return 0;
    if (!vec_reserve(&w->seen, c->dict_count - w->seen.count))
        return parquet_no_room(err, ERR_NOMEM);
    memset(w->seen.at + w->seen.count, 0, c->dict_count - w->seen.count);
    w->seen.count = c->dict_count;
    return 0;
}

static void column_check(const struct leaf_writer *leaf, const struct column *c, uint32_t rows)
{
    assert(c->type == parquet_column_type((enum parquet_type)leaf->node->type));
    assert(c->rep_max == leaf->rep_max);
    assert(c->def_max == leaf->def_max);
    assert(c->rows == rows);
    assert(leaf->rep_max == 0 || (c->rep && c->rep[0] == 0));
    assert(leaf->def_max == 0 || c->def);
}

static int put_chunk(struct parquet_writer *w, const struct leaf_writer *leaf,
                     const struct column *c, uint32_t rows, struct buf *out, struct err *err)
{
    column_check(leaf, c, rows);
    if (c->entries > LIMIT_PARQUET_CHUNK_ENTRIES)
        return err_set(err, ERR_LIMIT, "column %s: %u level entries in a row group",
                       leaf->node->name, c->entries);
    struct chunk_info chunk = {.entries = c->entries,
                               .null_count = (int64_t)c->entries - c->values};
    int rc = chunk_encoding(w, leaf, c, &chunk.encoding, err);
    if (rc == 0)
        rc = seen_reserve(w, c, err);
    if (rc == 0 && chunk.encoding == PARQUET_RLE_DICTIONARY)
        rc = put_dictionary(w, leaf, c, &chunk, out, err);
    chunk.data_offset = w->offset;
    vec_reset(&w->pages);
    struct position at = {0};
    uint32_t rows_put = 0;
    while (rc == 0 && at.entry < c->entries) {
        struct position end = page_end(w, leaf, chunk.encoding, c, at);
        rc = put_data(w, leaf, c, at, end, &chunk, out, err);
        if (rc == 0)
            rows_put += w->pages.at[w->pages.count - 1].rows;
        at = end;
    }
    if (rc < 0)
        return rc;
    assert(at.value == c->values);
    assert(rows_put == rows);
    chunk.pages = w->pages.count;
    rc = keep_bounds(w, leaf, &chunk, err);
    if (rc == 0 && (rc = chunk_indexes_write(w, leaf, &chunk)) < 0)
        parquet_no_room(err, rc);
    if (rc == 0 && !vec_push(&w->chunks, chunk))
        rc = parquet_no_room(err, ERR_NOMEM);
    return rc;
}

int parquet_writer_row_group(struct parquet_writer *w, const struct column *columns,
                             struct buf *out, struct err *err)
{
    uint32_t rows = columns[0].rows;
    if (rows == 0)
        return err_set(err, ERR_INVALID, "row group without rows");
    if (w->row_groups == ROW_GROUPS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d row groups", ROW_GROUPS_MAX);
    int rc = w->offset == 0 ? parquet_put(w, out, SLICE(PARQUET_MAGIC), err) : 0;
    struct row_group_info info = {.offset = w->offset, .rows = rows};
    w->empty = (struct empty_page){0};
    vec_reset(&w->chunks);
    buf_reset(&w->bounds);
    for (uint32_t i = 0; rc == 0 && i < w->leaf_count; i++) {
        rc = put_chunk(w, &w->leaves[i], &columns[i], rows, out, err);
        if (rc < 0)
            err_wrap(err, "column %s", w->leaves[i].node->name);
    }
    return rc < 0 ? rc : row_group_keep(w, info, err);
}

int parquet_writer_finish(struct parquet_writer *w, struct buf *out, uint32_t *footer_bytes,
                          struct err *err)
{
    int rc = w->offset == 0 ? parquet_put(w, out, SLICE(PARQUET_MAGIC), err) : 0;
    if (rc == 0)
        rc = indexes_write(w, PARQUET_COLUMN_INDEXES, out, err);
    if (rc == 0)
        rc = indexes_write(w, PARQUET_OFFSET_INDEXES, out, err);
    uint64_t start = w->offset;
    if (rc == 0)
        rc = footer_write(w, out, err);
    if (rc < 0)
        return rc;
    if (w->offset - start > INT32_MAX)
        return err_set(err, ERR_LIMIT, "footer of %llu bytes",
                       (unsigned long long)(w->offset - start));
    *footer_bytes = (uint32_t)(w->offset - start);
    uint8_t tail[PARQUET_TAIL_BYTES];
    memcpy(tail, footer_bytes, 4);
    memcpy(tail + 4, PARQUET_MAGIC, 4);
    return parquet_put(w, out, slice_of(tail, sizeof tail), err);
}
