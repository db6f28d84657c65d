/* A whole block of an old version: spans to columns to a file, with everything beside it. */
#include "tests/support/old_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/text.h"
#include "block/assemble.h"
#include "block/bloom.h"

#define RESOURCE(...)                                                                              \
    {                                                                                              \
        .scope = BLOCK_SCOPE_RESOURCE, __VA_ARGS__                                                 \
    }
#define SPAN(...)                                                                                  \
    {                                                                                              \
        .scope = BLOCK_SCOPE_SPAN, __VA_ARGS__                                                     \
    }
#define EVENT(...)                                                                                 \
    {                                                                                              \
        .scope = BLOCK_SCOPE_EVENT, __VA_ARGS__                                                    \
    }
#define INT .type = BLOCK_DEDICATED_INT

const struct block_dedicated old_dedicated_v5[] = {
    RESOURCE(.name = SLICE("deployment.environment")),
    RESOURCE(.name = SLICE("host.name"), .is_blob = true),
    RESOURCE(.name = SLICE("res.arr"), .is_array = true),
    RESOURCE(.name = SLICE("res.int"), INT),
    RESOURCE(.name = SLICE("cluster")),
    SPAN(.name = SLICE("http.method")),
    SPAN(.name = SLICE("http.url")), /* somewhere an array */
    SPAN(.name = SLICE("http.status_code"), INT),
    EVENT(.name = SLICE("ev.key")),
    SPAN(.name = SLICE("db.statement"), .is_blob = true),
    SPAN(.name = SLICE("messaging.system")), /* the same */
    SPAN(.name = SLICE("arr.string"), .is_array = true, .is_blob = true),
    SPAN(.name = SLICE("arr.one")),   /* comes back as a scalar */
    SPAN(.name = SLICE("arr.empty")), /* does not come back */
    SPAN(.name = SLICE("arr.int"), INT, .is_array = true),
    EVENT(.name = SLICE("ev.hits"), INT),
    EVENT(.name = SLICE("ev.arr"), .is_array = true),
    SPAN(.name = SLICE("enduser.id")),
    SPAN(.name = SLICE("a.int.min"), INT),
    SPAN(.name = SLICE("a.empty")),
    SPAN(.name = SLICE("a.unicode")),
    SPAN(.name = SLICE("a.string")), /* the eleventh of its kind */
    SPAN(.name = SLICE("nobody.has.this")),
    SPAN(.name = SLICE("http.route")),
    EVENT(.name = SLICE("note"), .is_blob = true),
};
const size_t old_dedicated_v5_count = sizeof old_dedicated_v5 / sizeof old_dedicated_v5[0];

const struct block_dedicated old_dedicated_tempo[] = {
    RESOURCE(.name = SLICE("k8s.cluster.name")),
    RESOURCE(.name = SLICE("k8s.namespace.name")),
    RESOURCE(.name = SLICE("k8s.pod.name")),
    RESOURCE(.name = SLICE("k8s.container.name")),
    SPAN(.name = SLICE("http.request.method")),
    SPAN(.name = SLICE("http.response.status_code"), INT),
    SPAN(.name = SLICE("url.path")),
    SPAN(.name = SLICE("url.route")),
    SPAN(.name = SLICE("server.address")),
    SPAN(.name = SLICE("server.port"), INT),
    SPAN(.name = SLICE("http.method")),
    SPAN(.name = SLICE("http.url")),
    SPAN(.name = SLICE("http.route")),
    SPAN(.name = SLICE("http.status_code"), INT),
};
const size_t old_dedicated_tempo_count = sizeof old_dedicated_tempo / sizeof old_dedicated_tempo[0];

struct writing {
    const struct old_block_opts *opts;
    const struct span_batch *batch;
    struct arena *arena;
    struct old_file file; /* of the first row group: the writer keeps its schema */
    struct parquet_writer *parquet;
    struct buf bytes;
    VEC(struct old_trace_id { uint8_t id[16]; }) ids, last_ids;
};

static void row_group(struct writing *w, uint32_t first, uint32_t count)
{
    const struct old_block_opts *o = w->opts;
    bool v5 = o->version == BLOCK_VPARQUET5;
    const struct column *v4 = old_columns_v4(w->batch, first, count, v5 ? NULL : o->dedicated,
                                             v5 ? 0 : o->dedicated_count, w->arena);
    const struct column *columns = v4;
    struct old_columns *old = arena_alloc(w->arena, sizeof *old);
    struct span_batch back = {0};
    struct old_file file = {.depth = 0};
    struct err err = {0};
    assert_non_null(old);
    if (o->version != BLOCK_VPARQUET4) {
        if (block_assemble(v4, v5 ? NULL : o->dedicated, v5 ? 0 : o->dedicated_count, 0, v4[0].rows,
                           w->arena, &back, &err) < 0)
            fail_msg("%s", err.msg);
        if (v5) {
            old_columns_v5(&back, o->dedicated, o->dedicated_count, w->arena, old);
            old_file_v5(old, &file);
        } else {
            old_columns_v3(v4, &back, w->arena, old);
            old_file_v3(old, &file);
        }
        columns = file.columns.at;
    }
    if (!w->parquet) {
        bool v4_schema = o->version == BLOCK_VPARQUET4;
        struct parquet_writer_opts popts = {
            .schema = v4_schema ? block_schema : file.nodes.at,
            .node_count = v4_schema ? block_schema_count : file.nodes.count,
            .created_by = "rubato test blocks",
        };
        assert_int_equal(parquet_writer_new(&popts, &w->parquet, &err), 0);
    }
    if (parquet_writer_row_group(w->parquet, columns, &w->bytes, &err) < 0)
        fail_msg("%s", err.msg);
    if (w->file.nodes.count == 0) {
        w->file = file;
        file = (struct old_file){.depth = 0};
    }
    old_file_clear(&file);
    span_batch_clear(&back);
}

static void row_groups(struct writing *w)
{
    const struct span_batch *b = w->batch;
    uint32_t first = 0, rows = 0;
    for (uint32_t i = 0; i < b->spans.count; i++) {
        struct old_trace_id id;
        memcpy(id.id, b->spans.at[i].trace_id, sizeof id.id);
        if (i && memcmp(id.id, b->spans.at[i - 1].trace_id, sizeof id.id) == 0)
            continue;
        if (w->opts->row_group_rows && rows == w->opts->row_group_rows) {
            row_group(w, first, i - first);
            assert_true(vec_push(&w->last_ids, w->ids.at[w->ids.count - 1]));
            first = i;
            rows = 0;
        }
        rows++;
        assert_true(vec_push(&w->ids, id));
    }
    row_group(w, first, b->spans.count - first);
    assert_true(vec_push(&w->last_ids, w->ids.at[w->ids.count - 1]));
}

static struct slice keep(struct writing *w)
{
    struct slice out;
    assert_true(arena_slice(w->arena, buf_view(&w->bytes), &out));
    buf_reset(&w->bytes);
    return out;
}

static void put_meta(struct writing *w, uint32_t footer_bytes, struct old_block *out)
{
    const struct old_block_opts *o = w->opts;
    uint64_t start = UINT64_MAX, end = 0;
    for (uint32_t i = 0; i < w->batch->spans.count; i++) {
        const struct span *sp = &w->batch->spans.at[i];
        start = sp->start_unix_ns < start ? sp->start_unix_ns : start;
        end = sp->end_unix_ns > end ? sp->end_unix_ns : end;
    }
    out->meta = (struct block_meta){
        .version = o->version,
        .tenant = slice_cstr(o->tenant),
        .start_unix_ns = start,
        .end_unix_ns = end,
        .total_objects = w->ids.count,
        .size = out->data.len,
        .total_records = parquet_writer_row_groups(w->parquet),
        .bloom_shards = 1,
        .footer_size = footer_bytes,
        .dedicated = o->dedicated,
        .dedicated_count = o->dedicated_count,
        .replication_factor = o->version == BLOCK_VPARQUET5,
    };
    memcpy(out->meta.id, o->id, sizeof out->meta.id);
    struct err err = {0};
    assert_int_equal(block_meta_write(&out->meta, &w->bytes, &err), 0);
    out->meta_json = keep(w);
}

void old_block_make(const struct old_block_opts *opts, const struct span_batch *b, struct arena *a,
                    struct old_block *out)
{
    struct writing w = {.opts = opts, .batch = b, .arena = a};
    struct err err = {0};
    struct bloom *bloom;
    uint32_t footer_bytes;
    buf_init(&w.bytes, SIZE_MAX / 2);
    row_groups(&w);
    assert_int_equal(parquet_writer_finish(w.parquet, &w.bytes, &footer_bytes, &err), 0);
    out->data = keep(&w);
    put_meta(&w, footer_bytes, out);

    /* One small shard. */
    uint32_t bloom_bytes = (w.ids.count * 2 + 63) / 64 * 64;
    assert_int_equal(bloom_new(w.ids.count, 0.01, bloom_bytes, &bloom, &err), 0);
    assert_int_equal(bloom_shards(bloom), 1);
    for (uint32_t i = 0; i < w.ids.count; i++)
        bloom_add(bloom, w.ids.at[i].id);
    assert_int_equal(bloom_write(bloom, 0, &w.bytes), 0);
    out->bloom = keep(&w);
    bloom_free(bloom);

    assert_int_equal(
        block_index_write((const uint8_t(*)[16])w.last_ids.at, w.last_ids.count, &w.bytes), 0);
    out->index = keep(&w);
    parquet_writer_free(w.parquet);
    old_file_clear(&w.file);
    vec_free(&w.ids);
    vec_free(&w.last_ids);
    buf_clear(&w.bytes);
}

void old_block_put(struct objstore *store, const struct old_block *block)
{
    const struct {
        const char *name;
        struct slice body;
    } objects[] = {{"data.parquet", block->data},
                   {"bloom-0", block->bloom},
                   {"index", block->index},
                   {"meta.json", block->meta_json}};
    char uuid[37], key[512];
    struct err err = {0};
    uuid_format(block->meta.id, uuid);
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        snprintf(key, sizeof key, "%.*s/%s/%s", SLICE_ARGS(block->meta.tenant), uuid,
                 objects[i].name);
        if (objstore_put(store, slice_cstr(key), objects[i].body, 0, UINT64_MAX, &err) < 0)
            fail_msg("%s", err.msg);
    }
}
