/* What the Parquet tests share: files of tests/data, and a whole file decoded in one go. */
#ifndef TESTS_UNIT_BLOCK_PARQUET_SUPPORT_H
#define TESTS_UNIT_BLOCK_PARQUET_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "block/parquet_priv.h"

static const char *const tempo_blocks[] = {
    "tests/data/fixtures/blocks/single-tenant/eef1d7f3-51c2-4dad-a864-70817cd81149/data.parquet",
    "tests/data/fixtures/blocks/acme/ff2a1b95-f4c1-44b9-87d1-341455ab6a9e/data.parquet",
    "tests/data/fixtures/blocks/sharded/a5a71843-7c6a-4874-a76f-be369689c621/data.parquet",
    "tests/data/fixtures/blocks/sharded/e27600b3-9106-4fc3-8d6c-a0004142a813/data.parquet",
    "tests/data/fixtures/blocks/sharded/55caf628-0797-436a-b740-edf6b5a1f521/data.parquet",
    "tests/data/conformance/blocks/edge/28b32bc4-3130-4c49-9e90-ad3c05862dbf/data.parquet",
    "tests/data/conformance/blocks/shop/5b9269b0-d73c-488c-9ac2-3eb626efc93b/data.parquet",
};
#define TEMPO_BLOCKS (sizeof tempo_blocks / sizeof tempo_blocks[0])

/* The caller frees. */
static inline struct slice file_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: run tests from the root of the repository", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    uint8_t *p = malloc((size_t)n);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)n, f), n);
    fclose(f);
    return slice_of(p, (size_t)n);
}

static inline void slice_free(struct slice s)
{
    free((void *)(uintptr_t)s.ptr);
}

/* Footer of a file in memory. */
static inline int file_open(struct slice file, struct arena *a, struct parquet_file **out,
                            struct err *err)
{
    uint32_t footer_bytes;
    if (file.len < PARQUET_TAIL_BYTES)
        return err_set(err, ERR_CORRUPT, "file of %zu bytes", file.len);
    int rc = parquet_tail_decode(slice_from(file, file.len - PARQUET_TAIL_BYTES), file.len,
                                 &footer_bytes, err);
    if (rc < 0)
        return rc;
    struct slice footer =
        slice_of(file.ptr + file.len - PARQUET_TAIL_BYTES - footer_bytes, footer_bytes);
    return parquet_footer_decode(footer, file.len, a, out, err);
}

static inline struct slice chunk_bytes(struct slice file, const struct parquet_file *f,
                                       uint32_t row_group, uint32_t leaf)
{
    const struct parquet_chunk *c = &f->row_groups[row_group].chunks[leaf];
    assert_true(c->offset + c->bytes <= file.len);
    return slice_of(file.ptr + c->offset, (size_t)c->bytes);
}

static inline int chunk_of(struct slice file, const struct parquet_file *f, uint32_t row_group,
                           uint32_t leaf, struct arena *a, struct column *out, struct err *err)
{
    return parquet_chunk_decode(f, row_group, leaf, chunk_bytes(file, f, row_group, leaf), a, out,
                                err);
}

static inline size_t column_value_size(const struct column *c)
{
    switch (c->type) {
    case COLUMN_BOOL:
        return 1;
    case COLUMN_I32:
        return 4;
    case COLUMN_BYTES:
        return 0;
    default:
        return 8;
    }
}

/* Same levels and values, whether through a dictionary or not. */
static inline bool column_same(const struct column *a, const struct column *b)
{
    if (a->type != b->type || a->rep_max != b->rep_max || a->def_max != b->def_max ||
        a->rows != b->rows || a->entries != b->entries || a->values != b->values)
        return false;
    if ((a->rep_max && memcmp(a->rep, b->rep, a->entries) != 0) ||
        (a->def_max && memcmp(a->def, b->def, a->entries) != 0))
        return false;
    size_t size = column_value_size(a);
    if (size)
        return a->values == 0 || memcmp(a->v.b, b->v.b, a->values * size) == 0;
    for (uint32_t i = 0; i < a->values; i++) {
        if (!slice_eq(column_bytes(a, i), column_bytes(b, i)))
            return false;
    }
    return true;
}

/* Everything in a file that can be decoded. 0 or the first error. */
static inline int file_decode(struct slice file, struct arena *a, struct err *err)
{
    struct parquet_file *f;
    int rc = file_open(file, a, &f, err);
    for (uint32_t g = 0; rc == 0 && g < f->row_group_count; g++) {
        for (uint32_t i = 0; rc == 0 && i < f->leaf_count; i++) {
            const struct parquet_chunk *c = &f->row_groups[g].chunks[i];
            struct column column;
            rc = chunk_of(file, f, g, i, a, &column, err);
            if (rc == 0 && c->offset_index_offset) {
                struct parquet_page_location *pages;
                uint32_t count;
                rc = parquet_offset_index_decode(
                    f, g, i, slice_of(file.ptr + c->offset_index_offset, c->offset_index_bytes), a,
                    &pages, &count, err);
            }
            if (rc == 0 && c->column_index_offset) {
                struct parquet_column_index index;
                rc = parquet_column_index_decode(
                    f, g, i, slice_of(file.ptr + c->column_index_offset, c->column_index_bytes), a,
                    &index, err);
            }
        }
    }
    return rc;
}

/* splitmix64: the same numbers on every machine. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(random_next(state) % n);
}

#endif
