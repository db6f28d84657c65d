/* A small nested schema with every type, encoding and codec that the writer knows, and rows for it
 * that depend on a seed alone. Lists of all leaves agree, so other programs can read the file. */
#ifndef TESTS_UNIT_BLOCK_PARQUET_SAMPLE_H
#define TESTS_UNIT_BLOCK_PARQUET_SAMPLE_H

#include "parquet_support.h"

#include "base/vec.h"

static const struct parquet_node sample_schema[] = {
    {.name = "Sample", .type = PARQUET_GROUP, .children = 7},
    {.name = "id", .type = PARQUET_BYTE_ARRAY, .encoding = PARQUET_DELTA_LENGTH_BYTE_ARRAY},
    {.name = "time",
     .type = PARQUET_INT64,
     .logical = PARQUET_UNSIGNED,
     .encoding = PARQUET_DELTA_BINARY_PACKED},
    {.name = "name",
     .type = PARQUET_BYTE_ARRAY,
     .logical = PARQUET_STRING,
     .encoding = PARQUET_RLE_DICTIONARY},
    {.name = "items", .type = PARQUET_GROUP, .logical = PARQUET_LIST, .children = 1},
    {.name = "list", .type = PARQUET_GROUP, .repetition = PARQUET_REPEATED, .children = 1},
    {.name = "element", .type = PARQUET_GROUP, .children = 8},
    {.name = "key",
     .type = PARQUET_BYTE_ARRAY,
     .logical = PARQUET_STRING,
     .encoding = PARQUET_RLE_DICTIONARY,
     .codec = PARQUET_SNAPPY},
    {.name = "flag", .type = PARQUET_BOOLEAN, .codec = PARQUET_SNAPPY},
    {.name = "vals", .type = PARQUET_GROUP, .logical = PARQUET_LIST, .children = 1},
    {.name = "list", .type = PARQUET_GROUP, .repetition = PARQUET_REPEATED, .children = 1},
    {.name = "element", .type = PARQUET_INT64, .logical = PARQUET_SIGNED, .codec = PARQUET_SNAPPY},
    {.name = "d", .type = PARQUET_DOUBLE, .repetition = PARQUET_OPTIONAL, .codec = PARQUET_LZ4_RAW},
    {.name = "txt",
     .type = PARQUET_BYTE_ARRAY,
     .logical = PARQUET_STRING,
     .repetition = PARQUET_OPTIONAL,
     .encoding = PARQUET_DELTA_LENGTH_BYTE_ARRAY,
     .codec = PARQUET_SNAPPY},
    {.name = "c",
     .type = PARQUET_INT32,
     .logical = PARQUET_SIGNED,
     .encoding = PARQUET_DELTA_BINARY_PACKED,
     .codec = PARQUET_SNAPPY},
    {.name = "u",
     .type = PARQUET_INT32,
     .logical = PARQUET_UNSIGNED,
     .encoding = PARQUET_DELTA_BINARY_PACKED},
    {.name = "p", .type = PARQUET_BYTE_ARRAY, .codec = PARQUET_ZSTD},
    {.name = "never",
     .type = PARQUET_BYTE_ARRAY,
     .logical = PARQUET_STRING,
     .repetition = PARQUET_OPTIONAL,
     .encoding = PARQUET_RLE_DICTIONARY,
     .codec = PARQUET_SNAPPY},
    {.name = "rare", .type = PARQUET_INT64, .repetition = PARQUET_OPTIONAL, .codec = PARQUET_GZIP},
    {.name = "one",
     .type = PARQUET_BYTE_ARRAY,
     .logical = PARQUET_STRING,
     .encoding = PARQUET_RLE_DICTIONARY,
     .codec = PARQUET_SNAPPY},
};
#define SAMPLE_NODES (sizeof sample_schema / sizeof sample_schema[0])

enum sample_leaf {
    SAMPLE_ID,
    SAMPLE_TIME,
    SAMPLE_NAME,
    SAMPLE_KEY,
    SAMPLE_FLAG,
    SAMPLE_VALS,
    SAMPLE_D,
    SAMPLE_TXT,
    SAMPLE_C,
    SAMPLE_U,
    SAMPLE_P,
    SAMPLE_NEVER,
    SAMPLE_RARE,
    SAMPLE_ONE,
    SAMPLE_LEAVES
};

static const uint8_t sample_types[SAMPLE_LEAVES] = {
    [SAMPLE_ID] = COLUMN_BYTES,  [SAMPLE_TIME] = COLUMN_I64,  [SAMPLE_NAME] = COLUMN_BYTES,
    [SAMPLE_KEY] = COLUMN_BYTES, [SAMPLE_FLAG] = COLUMN_BOOL, [SAMPLE_VALS] = COLUMN_I64,
    [SAMPLE_D] = COLUMN_F64,     [SAMPLE_TXT] = COLUMN_BYTES, [SAMPLE_C] = COLUMN_I32,
    [SAMPLE_U] = COLUMN_I32,     [SAMPLE_P] = COLUMN_BYTES,   [SAMPLE_NEVER] = COLUMN_BYTES,
    [SAMPLE_RARE] = COLUMN_I64,  [SAMPLE_ONE] = COLUMN_BYTES,
};
static const uint8_t sample_rep[SAMPLE_LEAVES] = {0, 0, 0, 1, 1, 2, 1, 1, 1, 1, 1, 0, 0, 0};
static const uint8_t sample_def[SAMPLE_LEAVES] = {0, 0, 0, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 0};

/* Columns of one row group. */
struct sample {
    struct arena *arena;
    struct {
        VEC(uint8_t) rep, def, b;
        VEC(int32_t) i32;
        VEC(int64_t) i64;
        VEC(double) f64;
        VEC(uint32_t) idx;
        VEC(struct slice) bytes;
    } leaf[SAMPLE_LEAVES];
    struct column columns[SAMPLE_LEAVES];
};

static struct slice sample_words[64];

static inline void sample_entry(struct sample *s, enum sample_leaf l, uint8_t rep, uint8_t def)
{
    assert_true(vec_push(&s->leaf[l].rep, rep));
    assert_true(vec_push(&s->leaf[l].def, def));
}

static inline void sample_value(struct sample *s, enum sample_leaf l, uint64_t r)
{
    static const double doubles[] = {0.0, -0.0, 1.25, -1e300, 5e-324, 3.5};
    char *text;
    switch (sample_types[l]) {
    case COLUMN_BOOL:
        assert_true(vec_push(&s->leaf[l].b, (uint8_t)(r & 1)));
        break;
    case COLUMN_I32:
        assert_true(vec_push(&s->leaf[l].i32, (int32_t)(uint32_t)(r >> (r % 60))));
        break;
    case COLUMN_I64:
        assert_true(vec_push(&s->leaf[l].i64, (int64_t)(r >> (r % 60))));
        break;
    case COLUMN_F64:
        assert_true(vec_push(&s->leaf[l].f64, doubles[r % 6]));
        break;
    case COLUMN_BYTES:
        if (l == SAMPLE_NAME || l == SAMPLE_KEY || l == SAMPLE_ONE) {
            assert_true(vec_push(&s->leaf[l].idx, l == SAMPLE_ONE ? 0 : (uint32_t)(r % 64)));
            break;
        }
        text = arena_printf(s->arena, "%.*s%llx", (int)(r % 40),
                            "a text that is longer than sixteen bytes is", (unsigned long long)r);
        assert_non_null(text);
        assert_true(vec_push(&s->leaf[l].bytes, slice_cstr(text)));
        break;
    }
}

static inline void sample_item(struct sample *s, uint8_t rep, uint64_t *seed)
{
    for (enum sample_leaf l = SAMPLE_KEY; l <= SAMPLE_P; l++) {
        uint64_t r = random_next(seed);
        if (l == SAMPLE_VALS) {
            uint32_t n = random_below(seed, 8) ? 0 : random_below(seed, 4);
            if (n == 0)
                sample_entry(s, l, rep, 1);
            for (uint32_t i = 0; i < n; i++) {
                sample_entry(s, l, i ? 2 : rep, 2);
                sample_value(s, l, random_next(seed));
            }
        } else if ((l == SAMPLE_D || l == SAMPLE_TXT) && r % 3) {
            sample_entry(s, l, rep, 1);
        } else {
            sample_entry(s, l, rep, sample_def[l]);
            sample_value(s, l, random_next(seed));
        }
    }
}

static inline void sample_row(struct sample *s, uint64_t *seed)
{
    for (enum sample_leaf l = 0; l < SAMPLE_LEAVES; l++) {
        uint64_t r = random_next(seed);
        if (sample_rep[l] > 0)
            continue;
        bool null = l == SAMPLE_NEVER || (l == SAMPLE_RARE && r % 50);
        sample_entry(s, l, 0, null ? 0 : sample_def[l]);
        if (!null)
            sample_value(s, l, random_next(seed));
    }
    uint32_t items = random_below(seed, 20) == 0 ? random_below(seed, 60) : random_below(seed, 4);
    for (uint32_t i = 0; i < items; i++)
        sample_item(s, i > 0, seed);
    for (enum sample_leaf l = SAMPLE_KEY; items == 0 && l <= SAMPLE_P; l++)
        sample_entry(s, l, 0, 0);
}

static inline void sample_column(struct sample *s, enum sample_leaf l, uint32_t rows)
{
    struct column *c = &s->columns[l];
    *c = (struct column){.type = (enum column_type)sample_types[l],
                         .rep_max = sample_rep[l],
                         .def_max = sample_def[l],
                         .rows = rows,
                         .entries = s->leaf[l].rep.count,
                         .rep = sample_rep[l] ? s->leaf[l].rep.at : NULL,
                         .def = sample_def[l] ? s->leaf[l].def.at : NULL};
    bool dict = l == SAMPLE_NAME || l == SAMPLE_KEY || l == SAMPLE_NEVER || l == SAMPLE_ONE;
    if (c->type == COLUMN_BOOL) {
        c->v.b = s->leaf[l].b.at;
        c->values = s->leaf[l].b.count;
    } else if (c->type == COLUMN_I32) {
        c->v.i32 = s->leaf[l].i32.at;
        c->values = s->leaf[l].i32.count;
    } else if (c->type == COLUMN_I64) {
        c->v.i64 = s->leaf[l].i64.at;
        c->values = s->leaf[l].i64.count;
    } else if (c->type == COLUMN_F64) {
        c->v.f64 = s->leaf[l].f64.at;
        c->values = s->leaf[l].f64.count;
    } else if (dict) {
        c->has_dict = true;
        c->dict = sample_words;
        c->dict_count = l == SAMPLE_NEVER ? 0 : l == SAMPLE_ONE ? 1 : 64;
        c->v.idx = s->leaf[l].idx.at;
        c->values = s->leaf[l].idx.count;
    } else {
        c->v.bytes = s->leaf[l].bytes.at;
        c->values = s->leaf[l].bytes.count;
    }
}

static inline void sample_init(struct sample *s, uint32_t rows, uint64_t seed)
{
    static char words[64][40];
    for (uint32_t i = 0; i < 64; i++) {
        snprintf(words[i], sizeof words[i], "%s%u", i % 3 ? "word " : "a word of many letters ", i);
        sample_words[i] = slice_cstr(words[i]);
    }
    *s = (struct sample){.arena = arena_new(SIZE_MAX / 2)};
    for (uint32_t i = 0; i < rows; i++)
        sample_row(s, &seed);
    for (enum sample_leaf l = 0; l < SAMPLE_LEAVES; l++)
        sample_column(s, l, rows);
}

static inline void sample_clear(struct sample *s)
{
    for (enum sample_leaf l = 0; l < SAMPLE_LEAVES; l++) {
        vec_free(&s->leaf[l].rep);
        vec_free(&s->leaf[l].def);
        vec_free(&s->leaf[l].b);
        vec_free(&s->leaf[l].i32);
        vec_free(&s->leaf[l].i64);
        vec_free(&s->leaf[l].f64);
        vec_free(&s->leaf[l].idx);
        vec_free(&s->leaf[l].bytes);
    }
    arena_free(s->arena);
}

/* A whole file of the given row groups. */
static inline void sample_write(const struct sample *groups, size_t count, size_t page_bytes,
                                struct buf *out)
{
    struct parquet_writer_opts opts = {.schema = sample_schema,
                                       .node_count = SAMPLE_NODES,
                                       .created_by = "rubato",
                                       .page_bytes = page_bytes};
    struct parquet_writer *w;
    struct err err = {0};
    uint32_t footer_bytes;
    assert_int_equal(parquet_writer_new(&opts, &w, &err), 0);
    for (size_t i = 0; i < count; i++) {
        if (parquet_writer_row_group(w, groups[i].columns, out, &err) < 0)
            fail_msg("%s", err.msg);
    }
    assert_int_equal(parquet_writer_row_groups(w), count);
    assert_int_equal(parquet_writer_finish(w, out, &footer_bytes, &err), 0);
    assert_int_equal(parquet_writer_bytes(w), out->len);
    assert_int_equal(load_u32le(out->ptr + out->len - 8), footer_bytes);
    parquet_writer_free(w);
}

#endif
