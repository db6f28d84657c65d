/* Reading a block in windows gives the rows that reading it whole gives, whatever the windows. */
#include "merge_support.h"

#include "base/text.h"
#include "catalog/block_rows.h"

static const struct {
    const char *dir, *tenant, *id, *meta;
} blocks[] = {
    {"tests/data/fixtures/blocks", "single-tenant", "eef1d7f3-51c2-4dad-a864-70817cd81149",
     "meta.json"},
    {"tests/data/fixtures/blocks", "acme", "ff2a1b95-f4c1-44b9-87d1-341455ab6a9e", "meta.json"},
    {"tests/data/fixtures/blocks", "sharded", "55caf628-0797-436a-b740-edf6b5a1f521", "meta.json"},
    {"tests/data/fixtures/blocks", "sharded", "a5a71843-7c6a-4874-a76f-be369689c621",
     "meta.compacted.json"},
    {"tests/data/conformance/blocks", "edge", "28b32bc4-3130-4c49-9e90-ad3c05862dbf", "meta.json"},
    {"tests/data/conformance/blocks", "shop", "5b9269b0-d73c-488c-9ac2-3eb626efc93b", "meta.json"},
};
#define BLOCKS (sizeof blocks / sizeof blocks[0])

static struct objstore *directory(const char *path)
{
    const struct objstore_local_opts opts = {.path = slice_cstr(path)};
    const struct objstore_env env = quiet_env();
    struct objstore *s;
    struct err err = {0};
    ok(objstore_local_new(&opts, &env, &s, &err), &err);
    return s;
}

static void meta_read(struct objstore *s, size_t number, struct arena *a, struct block_meta *meta)
{
    struct buf key, json;
    struct err err = {0};
    uint8_t id[16];
    buf_init(&key, 4096);
    buf_init(&json, 1 << 20);
    assert_true(uuid_parse(slice_cstr(blocks[number].id), id));
    block_key(&key, slice_cstr(blocks[number].tenant), id, blocks[number].meta);
    ok(objstore_get(s, buf_view(&key), DEADLINE, &json, &err), &err);
    ok(block_meta_parse(buf_view(&json), a, meta, &err), &err);
    buf_clear(&key);
    buf_clear(&json);
}

static void row_equals(const struct span_batch *a, uint32_t a_first, const struct span_batch *b,
                       uint32_t b_first, uint32_t count)
{
    uint32_t a_order[4096], b_order[4096];
    struct buf x, y;
    buf_init(&x, SIZE_MAX / 2);
    buf_init(&y, SIZE_MAX / 2);
    assert_true(count <= 4096);
    for (uint32_t i = 0; i < count; i++) {
        a_order[i] = a_first + i;
        b_order[i] = b_first + i;
    }
    const struct trace s = {a, a_order, count}, t = {b, b_order, count};
    assert_int_equal(otlp_encode(&s, &x), 0);
    assert_int_equal(otlp_encode(&t, &y), 0);
    assert_true(slice_eq(buf_view(&x), buf_view(&y)));
    buf_clear(&x);
    buf_clear(&y);
}

/* Returns how many windows it took. */
static unsigned windows_equal(struct objstore *s, const struct block_meta *meta,
                              const struct plain_block *plain, size_t window_bytes)
{
    const struct block_rows_opts opts = {
        .store = s, .meta = meta, .window_bytes = window_bytes, .deadline_mono_ns = DEADLINE};
    struct block_rows *r;
    struct block_window *w;
    struct err err = {0};
    unsigned windows = 0;
    uint32_t row = 0;
    ok(block_rows_new(&opts, &r, &err), &err);
    int rc;
    while ((rc = block_rows_next(r, &w, &err)) == 0) {
        assert_true(w->rows.count > 0);
        for (uint32_t i = 0; i < w->rows.count; i++, row++) {
            const struct block_row *have = &w->rows.at[i];
            const struct plain_row *want = &plain->rows[row];
            assert_true(row < plain->row_count);
            assert_memory_equal(have->id, want->id, 16);
            assert_int_equal(have->span_count, want->span_count);
            assert_true(slice_eq(have->root_name, want->root_name));
            assert_true(slice_eq(have->root_service, want->root_service));
            assert_int_equal(w->row_group, want->batch);
            row_equals(&w->batch, have->span_first, &plain->batches[want->batch], want->span_first,
                       have->span_count);
        }
        windows++;
    }
    ok(rc, &err);
    assert_int_equal(rc, 1);
    assert_int_equal(block_rows_next(r, &w, &err), 1); /* stays at the end */
    assert_int_equal(row, plain->row_count);
    block_rows_free(r);
    return windows;
}

static void windows_hold_the_rows_of_tempos_blocks(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        struct objstore *s = directory(blocks[i].dir);
        struct arena *a = arena_new(1 << 20);
        struct block_meta meta;
        struct plain_block plain;
        meta_read(s, i, a, &meta);
        plain_read(s, &meta, &plain);
        unsigned few = windows_equal(s, &meta, &plain, 0);
        unsigned many = windows_equal(s, &meta, &plain, 32 << 10);
        assert_true(few <= many);
        if (plain.row_count > 500)
            assert_true(many > few);
        plain_clear(&plain);
        arena_free(a);
        objstore_free(s);
    }
}

static size_t put_zigzag(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    for (v <<= 1; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

/* Says of every offset index that it has no bytes: offset (field 4) and length (field 5) stand side
 * by side in the footer, and a longer varint of 0 is one too. */
static void hide_offset_indexes(struct buf *data, const struct parquet_file *f)
{
    uint8_t pattern[32];
    uint8_t *from = data->ptr;
    for (uint32_t g = 0; g < f->row_group_count; g++) {
        for (uint32_t i = 0; i < f->leaf_count; i++) {
            const struct parquet_chunk *c = &f->row_groups[g].chunks[i];
            size_t n = put_zigzag(pattern, c->offset_index_offset);
            pattern[n++] = 0x15;
            size_t length_at = n;
            n += put_zigzag(pattern + n, c->offset_index_bytes);
            uint8_t *at = memmem(from, (size_t)(data->ptr + data->len - from), pattern, n);
            assert_non_null(at);
            for (size_t k = length_at; k + 1 < n; k++)
                at[k] = 0x80;
            at[n - 1] = 0;
            from = at;
        }
    }
}

static void without_an_offset_index_the_chunk_is_read(void **state)
{
    (void)state;
    struct objstore *s = memory_store();
    struct rng rng = {5};
    struct block_meta meta;
    struct plain_block plain, hidden;
    struct buf key, data;
    struct err err = {0};
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 90, 20000, &meta);
    plain_read(s, &meta, &plain);
    buf_init(&key, 4096);
    buf_init(&data, 1 << 26);
    block_key(&key, meta.tenant, meta.id, "data.parquet");
    ok(objstore_get(s, buf_view(&key), DEADLINE, &data, &err), &err);
    hide_offset_indexes(&data, plain.file);
    ok(objstore_put(s, buf_view(&key), buf_view(&data), 0, DEADLINE, &err), &err);
    plain_read(s, &meta, &hidden);
    assert_int_equal(hidden.file->row_groups[0].chunks[0].offset_index_bytes, 0);
    assert_true(windows_equal(s, &meta, &plain, 32 << 10) > plain.file->row_group_count);
    plain_clear(&plain);
    plain_clear(&hidden);
    buf_clear(&key);
    buf_clear(&data);
    objstore_free(s);
}

static void a_window_can_leave_its_strings(void **state)
{
    (void)state;
    struct objstore *s = directory(blocks[0].dir);
    struct arena *a = arena_new(1 << 20);
    struct block_meta meta;
    struct block_rows *r;
    struct block_window *w;
    struct err err = {0};
    meta_read(s, 0, a, &meta);
    const struct block_rows_opts opts = {
        .store = s, .meta = &meta, .window_bytes = 1, .deadline_mono_ns = DEADLINE};
    ok(block_rows_new(&opts, &r, &err), &err);
    assert_int_equal(block_rows_next(r, &w, &err), 0);
    struct slice name = w->batch.spans.at[0].name;
    struct arena *text = block_rows_take_text(r);
    char copy[256];
    assert_true(name.len < sizeof copy);
    memcpy(copy, name.ptr, name.len);
    while (block_rows_next(r, &w, &err) == 0)
        ;
    block_rows_free(r);
    assert_memory_equal(copy, name.ptr, name.len);
    arena_free(text);
    arena_free(a);
    objstore_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_hold_the_rows_of_tempos_blocks),
        cmocka_unit_test(without_an_offset_index_the_chunk_is_read),
        cmocka_unit_test(a_window_can_leave_its_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
