/* What the tests of whole blocks share: random traces, and reading a block the plain way, all
 * columns of a row group at once, independent of block_rows. */
#ifndef TESTS_UNIT_CATALOG_MERGE_SUPPORT_H
#define TESTS_UNIT_CATALOG_MERGE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/random.h"
#include "block/assemble.h"
#include "block/block_schema.h"
#include "catalog/block_store.h"
#include "otlp/otlp.h"
#include "tests/support/old_block.h"

#define DEADLINE (clock_mono_ns(&clock_system) + 60 * NS_PER_S)

static inline struct objstore_env quiet_env(void)
{
    return (struct objstore_env){.clock = &clock_system};
}

static inline struct objstore *memory_store(void)
{
    const struct objstore_env env = quiet_env();
    struct objstore *s;
    assert_int_equal(objstore_memory_new(&env, &s, NULL), 0);
    return s;
}

static inline void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

/* ---- a block, read the plain way ---- */

struct plain_row {
    uint8_t id[16];
    uint32_t span_first, span_count; /* in batch */
    struct slice root_service, root_name;
    int64_t start, end, duration;
    uint32_t stats_first, stats_count;
    uint32_t batch;
};

struct plain_block {
    struct arena *arena;
    struct parquet_file *file;
    struct plain_row *rows;
    uint32_t row_count;
    struct span_batch *batches; /* one a row group */
    struct column (*columns)[BLOCK_LEAVES];
};

static inline void plain_clear(struct plain_block *b)
{
    for (uint32_t g = 0; g < b->file->row_group_count; g++)
        span_batch_clear(&b->batches[g]);
    arena_free(b->arena);
}

static inline void plain_rows(struct plain_block *b, uint32_t g)
{
    const struct column *c = b->columns[g];
    const struct column *spans = &c[BLOCK_SPAN_ID], *stats = &c[BLOCK_STATS_SERVICE];
    uint32_t span = 0, entry = 0, stat = 0, stat_entry = 0;
    for (uint32_t i = 0; i < spans->rows; i++) {
        struct plain_row *r = &b->rows[b->row_count++];
        *r = (struct plain_row){.span_first = span,
                                .batch = g,
                                .stats_first = stat,
                                .root_service = column_bytes(&c[BLOCK_ROOT_SERVICE], i),
                                .root_name = column_bytes(&c[BLOCK_ROOT_NAME], i),
                                .start = c[BLOCK_TRACE_START].v.i64[i],
                                .end = c[BLOCK_TRACE_END].v.i64[i],
                                .duration = c[BLOCK_TRACE_DURATION].v.i64[i]};
        struct slice id = column_bytes(&c[BLOCK_TRACE_ID], i);
        assert_int_equal(id.len, 16);
        memcpy(r->id, id.ptr, 16);
        do
            span += spans->def[entry] == spans->def_max;
        while (++entry < spans->entries && spans->rep[entry] != 0);
        if (stats->entries) {
            do
                stat += stats->def[stat_entry] == stats->def_max;
            while (++stat_entry < stats->entries && stats->rep[stat_entry] != 0);
        }
        r->span_count = span - r->span_first;
        r->stats_count = stat - r->stats_first;
    }
}

static inline void plain_read(struct objstore *s, const struct block_meta *meta,
                              struct plain_block *b)
{
    struct err err = {0};
    struct buf key, data;
    int leaf_of[BLOCK_LEAVES];
    *b = (struct plain_block){.arena = arena_new((size_t)2 << 30)};
    buf_init(&key, 4096);
    buf_init(&data, (size_t)1 << 30);
    ok(block_open(s, meta, DEADLINE, b->arena, &b->file, &err), &err);
    ok(block_schema_bind(b->file, meta->version, leaf_of, &err), &err);
    assert_int_equal(block_key(&key, meta->tenant, meta->id, "data.parquet"), 0);
    ok(objstore_get(s, buf_view(&key), DEADLINE, &data, &err), &err);
    struct slice kept;
    assert_true(arena_slice(b->arena, buf_view(&data), &kept));
    b->rows = arena_array(b->arena, struct plain_row, (size_t)b->file->rows);
    b->batches = arena_zalloc(b->arena, b->file->row_group_count * sizeof *b->batches);
    b->columns = arena_zalloc(b->arena, b->file->row_group_count * sizeof *b->columns);
    for (uint32_t g = 0; g < b->file->row_group_count; g++) {
        for (int i = 0; i < BLOCK_LEAVES; i++) {
            if (leaf_of[i] < 0)
                continue;
            const struct parquet_chunk *c = &b->file->row_groups[g].chunks[leaf_of[i]];
            ok(parquet_chunk_decode(b->file, g, (uint32_t)leaf_of[i],
                                    slice_of(kept.ptr + c->offset, (size_t)c->bytes), b->arena,
                                    &b->columns[g][i], &err),
               &err);
        }
        ok(block_assemble(b->columns[g], meta->dedicated, meta->dedicated_count, 0,
                          (uint32_t)b->file->row_groups[g].rows, b->arena, &b->batches[g], &err),
           &err);
        plain_rows(b, g);
    }
    buf_clear(&key);
    buf_clear(&data);
}

/* ---- random traces ---- */

struct gen {
    struct rng rng;
    struct arena *arena;
    struct span_batch *batch;
};

static inline struct slice gen_text(struct gen *g, const char *prefix, uint64_t of)
{
    return slice_cstr(
        arena_printf(g->arena, "%s%llu", prefix, (unsigned long long)rng_below(&g->rng, of)));
}

static inline struct slice gen_id(struct gen *g, uint64_t of)
{
    uint8_t id[8] = {1, 2, 3, 4, 5, 6, 7, (uint8_t)(1 + rng_below(&g->rng, of))};
    struct slice out;
    assert_true(arena_slice(g->arena, slice_of(id, 8), &out));
    return out;
}

static inline struct range gen_attrs(struct gen *g, const char *const *names, size_t count,
                                     unsigned depth);

static inline struct value gen_value(struct gen *g, unsigned depth)
{
    struct span_batch *b = g->batch;
    switch (rng_below(&g->rng, depth ? 10 : 7)) {
    case 0:
        return (struct value){.type = VALUE_INT, .i64 = (int64_t)rng_next(&g->rng)};
    case 1:
        return (struct value){.type = VALUE_DOUBLE, .f64 = (double)rng_below(&g->rng, 1000) / 8};
    case 2:
        return (struct value){.type = VALUE_BOOL, .b = rng_below(&g->rng, 2)};
    case 3:
        return (struct value){.type = VALUE_BYTES, .str = gen_text(g, "bytes", 5)};
    case 4:
        return (struct value){.type = VALUE_NONE};
    case 7:
    case 8: {
        uint32_t n = (uint32_t)rng_below(&g->rng, 4), first = b->values.count;
        bool mixed = rng_below(&g->rng, 2);
        assert_true(vec_reserve(&b->values, n));
        b->values.count += n;
        for (uint32_t i = 0; i < n; i++) {
            struct value v =
                mixed ? gen_value(g, 0) : (struct value){.type = VALUE_INT, .i64 = (int64_t)i};
            b->values.at[first + i] = v;
        }
        return (struct value){.type = VALUE_ARRAY, .list = {first, n}};
    }
    case 9: {
        static const char *const inner[] = {"k", "l"};
        return (struct value){.type = VALUE_KVLIST, .list = gen_attrs(g, inner, 2, depth - 1)};
    }
    default:
        return (struct value){.type = VALUE_STRING, .str = gen_text(g, "text", 40)};
    }
}

static inline struct range gen_attrs(struct gen *g, const char *const *names, size_t count,
                                     unsigned depth)
{
    struct attr made[16];
    uint32_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (rng_below(&g->rng, 3) == 0)
            continue;
        made[n].key = slice_cstr(names[i]);
        made[n++].value = gen_value(g, depth);
    }
    struct span_batch *b = g->batch;
    struct range r = {b->attrs.count, n};
    for (uint32_t i = 0; i < n; i++)
        assert_true(vec_push(&b->attrs, made[i]));
    return r;
}

static inline void gen_span(struct gen *g, const uint8_t id[16], uint64_t ids)
{
    static const char *const names[] = {
        "http.method", "http.status_code", "http.url", "db.statement", "a", "b", "c", "d"};
    struct span_batch *b = g->batch;
    struct span s = {.span_id = gen_id(g, ids),
                     .name = gen_text(g, "op", 6),
                     .kind = (int32_t)rng_below(&g->rng, 6),
                     .scope = b->scopes.count - 1,
                     .start_unix_ns = 1700000000000000000u + rng_below(&g->rng, 4) * 1000,
                     .status_code = (int32_t)rng_below(&g->rng, 3),
                     .dropped_attrs = (uint32_t)rng_below(&g->rng, 2)};
    s.end_unix_ns = s.start_unix_ns + rng_below(&g->rng, 5000);
    memcpy(s.trace_id, id, 16);
    if (rng_below(&g->rng, 4))
        s.parent_span_id = gen_id(g, ids);
    if (rng_below(&g->rng, 8) == 0)
        s.status_message = gen_text(g, "it broke ", 3);
    s.attrs = gen_attrs(g, names, sizeof names / sizeof names[0], 2);
    s.events.first = b->events.count;
    for (uint64_t n = rng_below(&g->rng, 3); n > 0; n--) {
        struct event e = {.time_unix_ns = s.start_unix_ns + n, .name = gen_text(g, "event", 3)};
        e.attrs = gen_attrs(g, names + 4, 3, 1);
        assert_true(vec_push(&b->events, e));
    }
    s.events.count = b->events.count - s.events.first;
    s.links.first = b->links.count;
    if (rng_below(&g->rng, 4) == 0) {
        struct link l = {.trace_id = slice_of(id, 16), .span_id = gen_id(g, ids)};
        assert_true(arena_slice(g->arena, l.trace_id, &l.trace_id));
        l.attrs = gen_attrs(g, names + 4, 2, 1);
        assert_true(vec_push(&b->links, l));
    }
    s.links.count = b->links.count - s.links.first;
    assert_true(vec_push(&b->spans, s));
    b->scopes.at[s.scope].spans.count++;
}

/* One trace of 1 to spans_most spans in some resources and scopes; span ids are drawn from ids. */
static inline void gen_trace(struct gen *g, const uint8_t id[16], uint64_t spans_most, uint64_t ids)
{
    static const char *const names[] = {"service.name", "host.name", "cluster", "x", "y"};
    struct span_batch *b = g->batch;
    uint64_t left = 1 + rng_below(&g->rng, spans_most);
    while (left > 0) {
        struct resource r = {.present = true, .scopes = {b->scopes.count, 0}};
        r.attrs = gen_attrs(g, names, sizeof names / sizeof names[0], 1);
        assert_true(vec_push(&b->resources, r));
        for (uint64_t scopes = 1 + rng_below(&g->rng, 2); scopes > 0 && left > 0; scopes--) {
            struct scope c = {.present = true,
                              .resource = b->resources.count - 1,
                              .spans = {b->spans.count, 0},
                              .name = gen_text(g, "lib", 3)};
            assert_true(vec_push(&b->scopes, c));
            b->resources.at[c.resource].scopes.count++;
            for (uint64_t n = 1 + rng_below(&g->rng, 4); n > 0 && left > 0; n--, left--)
                gen_span(g, id, ids);
        }
    }
}

/* Traces with ascending ids, one behind the other, each id of 1..ids_of there with a probability.
 */
static inline void gen_traces(struct rng *rng, unsigned ids_of, struct arena *a,
                              struct span_batch *batch)
{
    for (unsigned i = 1; i <= ids_of; i++) {
        if (rng_below(rng, 3) == 0 && (batch->spans.count || i < ids_of))
            continue;
        uint8_t id[16] = {0};
        id[0] = (uint8_t)(i >> 4);
        id[15] = (uint8_t)i;
        struct gen g = {.rng = {rng_next(rng)}, .arena = a, .batch = batch};
        gen_trace(&g, id, rng_below(rng, 8) ? 12 : 100, 14);
    }
}

/* A block of another version; meta and its list live in the arena. */
static inline void gen_old_block(struct objstore *s, struct rng *rng, enum block_version version,
                                 const struct block_dedicated *dedicated, size_t dedicated_count,
                                 unsigned ids_of, struct arena *a, struct block_meta *meta)
{
    struct span_batch batch = {0};
    struct old_block block;
    struct old_block_opts opts = {.version = version,
                                  .tenant = "acme",
                                  .dedicated = dedicated,
                                  .dedicated_count = dedicated_count,
                                  .row_group_rows = 1 + (uint32_t)rng_below(rng, 40)};
    uint64_t half = rng_next(rng);
    memcpy(opts.id, &half, 8);
    gen_traces(rng, ids_of, a, &batch);
    old_block_make(&opts, &batch, a, &block);
    old_block_put(s, &block);
    *meta = block.meta;
    meta->replication_factor = 0; /* as the other inputs have it */
    span_batch_clear(&batch);
}

/* A block of ours. */
static inline void gen_block(struct objstore *s, struct rng *rng, struct slice tenant,
                             const struct block_dedicated *dedicated, size_t dedicated_count,
                             unsigned ids_of, uint64_t row_group_bytes, struct block_meta *meta)
{
    struct err err = {0};
    struct block_writer *w;
    struct arena *a = arena_new((size_t)1 << 30);
    struct span_batch batch = {0};
    struct block_writer_opts opts = {.tenant = tenant,
                                     .dedicated = dedicated,
                                     .dedicated_count = dedicated_count,
                                     .row_group_bytes = row_group_bytes,
                                     .bloom_false_positive = .01,
                                     .bloom_shard_bytes = 1024,
                                     .compaction_level = (uint32_t)rng_below(rng, 3),
                                     .deadline_mono_ns = DEADLINE};
    uint64_t half = rng_next(rng);
    memcpy(opts.id, &half, 8);
    ok(block_writer_new(s, &w, &err), &err);
    ok(block_writer_begin(w, &opts, &err), &err);
    gen_traces(rng, ids_of, a, &batch);
    uint32_t order[256];
    for (uint32_t i = 0, next; i < batch.spans.count; i = next) {
        const uint8_t *id = batch.spans.at[i].trace_id;
        for (next = i; next < batch.spans.count; next++) {
            if (memcmp(batch.spans.at[next].trace_id, id, 16) != 0)
                break;
            order[next - i] = next;
        }
        const struct trace t = {&batch, order, next - i};
        ok(block_writer_add(w, &t, &err), &err);
    }
    ok(block_writer_finish(w, meta, &err), &err);
    block_writer_free(w);
    span_batch_clear(&batch);
    arena_free(a);
}

#endif
