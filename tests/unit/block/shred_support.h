/* What the tests of shredding and assembling share: whole blocks as columns, rows of columns as
 * traces, and random spans. */
#ifndef TESTS_UNIT_BLOCK_SHRED_SUPPORT_H
#define TESTS_UNIT_BLOCK_SHRED_SUPPORT_H

#include <float.h>
#include <math.h>

#include "tests/support/otlp_support.h"
#include "tests/unit/block/parquet_support.h"

#include "base/random.h"
#include "base/text.h"
#include "block/assemble.h"
#include "block/block_meta.h"
#include "block/block_schema.h"
#include "block/shred.h"

/* The meta of the block that a data.parquet of tempo_blocks belongs to. */
static inline struct block_meta meta_beside(const char *data_path, struct arena *a)
{
    static const char *const names[] = {"meta.json", "meta.compacted.json"};
    struct slice dir = slice_of(data_path, strlen(data_path) - strlen("data.parquet"));
    for (size_t i = 0; i < 2; i++) {
        char *path = arena_printf(a, "%.*s%s", SLICE_ARGS(dir), names[i]);
        FILE *f = fopen(path, "rb");
        if (!f)
            continue;
        fclose(f);
        struct slice json = file_read(path);
        struct block_meta meta;
        struct err err = {0};
        if (block_meta_parse(json, a, &meta, &err) < 0)
            fail_msg("%s: %s", path, err.msg);
        slice_free(json);
        return meta;
    }
    fail_msg("%s has no meta.json beside it", data_path);
    return (struct block_meta){0};
}

/* All leaves of a row group of vParquet4, in our order. */
static inline struct column *columns_of(struct slice file, const struct parquet_file *f,
                                        uint32_t row_group, struct arena *a)
{
    struct err err = {0};
    int leaf_of[BLOCK_LEAVES];
    struct column *columns = arena_zalloc(a, BLOCK_LEAVES * sizeof *columns);
    assert_non_null(columns);
    if (block_schema_bind(f, BLOCK_VPARQUET4, leaf_of, &err) < 0)
        fail_msg("%s", err.msg);
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        assert_true(leaf_of[i] >= 0);
        if (chunk_of(file, f, row_group, (uint32_t)leaf_of[i], a, &columns[i], &err) < 0)
            fail_msg("%s: %s", block_leaves[i].path, err.msg);
    }
    return columns;
}

/* Adds the spans [first, first + count) of b, all of one trace. */
static inline int shred_spans(struct shredder *s, const struct span_batch *b, uint32_t first,
                              uint32_t count, struct err *err)
{
    uint32_t *order = malloc(((size_t)count + 1) * sizeof *order);
    assert_non_null(order);
    for (uint32_t i = 0; i < count; i++)
        order[i] = first + i;
    struct trace t = {.batch = b, .spans = order, .span_count = count};
    int rc = shredder_add(s, &t, err);
    free(order);
    return rc;
}

/* Adds a whole batch whose traces follow one another. */
static inline void shred_batch(struct shredder *s, const struct span_batch *b)
{
    struct err err = {0};
    for (uint32_t i = 0, next; i < b->spans.count; i = next) {
        next = i + 1;
        while (next < b->spans.count &&
               memcmp(b->spans.at[i].trace_id, b->spans.at[next].trace_id, 16) == 0)
            next++;
        if (shred_spans(s, b, i, next - i, &err) < 0)
            fail_msg("%s", err.msg);
    }
}

static inline struct shredder *shredder_make(const struct block_dedicated *dedicated, size_t count)
{
    struct shredder *s;
    struct err err = {0};
    if (shredder_new(&s, &err) < 0 || shredder_reset(s, dedicated, count, &err) < 0)
        fail_msg("%s", err.msg);
    return s;
}

/* ---- random spans ---- */

static inline struct slice random_text(struct rng *r, struct arena *a)
{
    static const char *const words[] = {
        "",      "a",      "checkout", "GET",          "/api/v1/items",
        "größe", "日本語", "ok",       "k8s.pod.name", "x\"y\\z\n<&>"};
    uint64_t kind = rng_below(r, 12);
    if (kind < 10)
        return slice_cstr(words[kind]);
    char *text = arena_printf(a, "%llx-%0*d", (unsigned long long)rng_next(r),
                              (int)rng_below(r, kind == 10 ? 4 : 60), 7);
    assert_non_null(text);
    return slice_cstr(text);
}

static inline struct slice random_id(struct rng *r, struct arena *a)
{
    uint64_t id = rng_next(r);
    struct slice s;
    assert_true(arena_slice(a, slice_of(&id, sizeof id), &s));
    return s;
}

static inline struct value random_value(struct rng *r, struct arena *a, struct span_batch *b,
                                        unsigned depth);

static inline struct value random_array(struct rng *r, struct arena *a, struct span_batch *b,
                                        unsigned depth)
{
    struct value items[4];
    uint32_t count = (uint32_t)rng_below(r, 5);
    bool uniform = rng_below(r, 2);
    for (uint32_t i = 0; i < count; i++) {
        items[i] = random_value(r, a, b, depth);
        while (uniform && i && items[i].type != items[0].type)
            items[i] = random_value(r, a, b, depth);
    }
    struct value v = {.type = VALUE_ARRAY, .list = {b->values.count, count}};
    for (uint32_t i = 0; i < count; i++)
        assert_true(vec_push(&b->values, items[i]));
    return v;
}

static inline struct value random_kvlist(struct rng *r, struct arena *a, struct span_batch *b,
                                         unsigned depth)
{
    struct attr items[3];
    uint32_t count = (uint32_t)rng_below(r, 4);
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct attr){random_text(r, a), random_value(r, a, b, depth)};
    struct value v = {.type = VALUE_KVLIST, .list = {b->attrs.count, count}};
    for (uint32_t i = 0; i < count; i++)
        assert_true(vec_push(&b->attrs, items[i]));
    return v;
}

static inline struct value random_value(struct rng *r, struct arena *a, struct span_batch *b,
                                        unsigned depth)
{
    switch (rng_below(r, depth ? 16 : 10)) {
    case 0:
        return (struct value){.type = VALUE_NONE};
    case 1:
        return (struct value){.type = VALUE_BOOL, .b = rng_below(r, 2)};
    case 2:
        return (struct value){.type = VALUE_INT, .i64 = (int64_t)rng_next(r) >> rng_below(r, 64)};
    case 3: {
        static const int64_t ends[] = {INT64_MIN, INT64_MAX, 0, -1, INT64_MIN + 1};
        return (struct value){.type = VALUE_INT, .i64 = ends[rng_below(r, 5)]};
    }
    case 4: {
        const double odd[] = {NAN,     INFINITY,     -INFINITY, -0.0, 0.0,
                              DBL_MAX, DBL_TRUE_MIN, 1e21,      1e-7};
        double v = rng_below(r, 2) ? odd[rng_below(r, sizeof odd / sizeof odd[0])]
                                   : (double)(int64_t)rng_next(r) / 1024;
        return (struct value){.type = VALUE_DOUBLE, .f64 = v};
    }
    case 5:
        return (struct value){.type = VALUE_BYTES, .str = random_id(r, a)};
    case 10:
    case 11:
        return random_kvlist(r, a, b, depth - 1);
    case 12:
    case 13:
    case 14:
        return random_array(r, a, b, depth - 1);
    default:
        return (struct value){.type = VALUE_STRING, .str = random_text(r, a)};
    }
}

/* Up to max attributes; keys come from a small set with every static and dedicated name in it. */
static inline struct range random_attrs(struct rng *r, struct arena *a, struct span_batch *b,
                                        uint32_t max)
{
    static const char *const keys[] = {"service.name",
                                       "cluster",
                                       "namespace",
                                       "pod",
                                       "container",
                                       "k8s.cluster.name",
                                       "k8s.namespace.name",
                                       "k8s.pod.name",
                                       "k8s.container.name",
                                       "http.method",
                                       "http.url",
                                       "http.status_code",
                                       "db.statement",
                                       "host.name",
                                       "enduser.id",
                                       "",
                                       "a",
                                       "retry.count",
                                       "größe",
                                       "a.rather.long.key.of.an.attribute.that.passes.32.bytes"};
    struct attr items[16];
    uint32_t count = (uint32_t)rng_below(r, max + 1);
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct attr){slice_cstr(keys[rng_below(r, sizeof keys / sizeof keys[0])]),
                                 random_value(r, a, b, 3)};
    struct range range = {b->attrs.count, count};
    for (uint32_t i = 0; i < count; i++)
        assert_true(vec_push(&b->attrs, items[i]));
    return range;
}

static inline void random_span(struct rng *r, struct arena *a, struct span_batch *b,
                               const uint8_t trace_id[16], uint32_t first_of_trace)
{
    struct span sp = {
        .span_id = random_id(r, a),
        .trace_state = rng_below(r, 4) ? slice_of(NULL, 0) : random_text(r, a),
        .name = random_text(r, a),
        .status_message = rng_below(r, 4) ? slice_of(NULL, 0) : random_text(r, a),
        .start_unix_ns = rng_next(r) >> 1,
        .kind = (int32_t)rng_below(r, 7),
        .status_code = (int32_t)rng_below(r, 3),
        .scope = b->scopes.count - 1,
        .dropped_attrs = (uint32_t)(rng_next(r) >> rng_below(r, 64)),
        .dropped_events = (uint32_t)rng_below(r, 3),
        .dropped_links = (uint32_t)rng_below(r, 3),
    };
    memcpy(sp.trace_id, trace_id, 16);
    sp.end_unix_ns = sp.start_unix_ns + rng_below(r, 5000000000);
    uint32_t before = b->spans.count - first_of_trace;
    if (before && rng_below(r, 8))
        sp.parent_span_id = b->spans.at[first_of_trace + rng_below(r, before)].span_id;
    if (before && rng_below(r, 20) == 0)
        sp.span_id = b->spans.at[first_of_trace + rng_below(r, before)].span_id;
    sp.attrs = random_attrs(r, a, b, 12);
    uint32_t events = rng_below(r, 3) ? 0 : (uint32_t)rng_below(r, 4);
    sp.events = (struct range){b->events.count, events};
    for (uint32_t i = 0; i < events; i++) {
        struct event e = {.time_unix_ns = sp.start_unix_ns + rng_below(r, 2000) - 1000,
                          .name = random_text(r, a),
                          .attrs = random_attrs(r, a, b, 3),
                          .dropped_attrs = (uint32_t)rng_below(r, 2)};
        assert_true(vec_push(&b->events, e));
    }
    uint32_t links = rng_below(r, 3) ? 0 : (uint32_t)rng_below(r, 3);
    sp.links = (struct range){b->links.count, links};
    for (uint32_t i = 0; i < links; i++) {
        struct link k = {.trace_id = random_id(r, a),
                         .span_id = random_id(r, a),
                         .trace_state = random_text(r, a),
                         .attrs = random_attrs(r, a, b, 3),
                         .dropped_attrs = (uint32_t)rng_below(r, 2)};
        assert_true(vec_push(&b->links, k));
    }
    assert_true(vec_push(&b->spans, sp));
    b->scopes.at[sp.scope].spans.count++;
}

/* Appends `traces` traces with ascending ids: their spans follow one another. */
static inline void random_traces(struct rng *r, struct arena *a, struct span_batch *b,
                                 uint32_t traces)
{
    uint8_t trace_id[16] = {0};
    for (uint32_t t = 0; t < traces; t++) {
        uint32_t first = b->spans.count;
        trace_id[14] = (uint8_t)((t + 1) >> 8);
        trace_id[15] = (uint8_t)(t + 1);
        uint32_t resources = 1 + (uint32_t)rng_below(r, 3);
        for (uint32_t i = 0; i < resources; i++) {
            struct resource res = {.attrs = random_attrs(r, a, b, 10),
                                   .scopes = {b->scopes.count, 0},
                                   .dropped_attrs = (uint32_t)rng_below(r, 2),
                                   .present = true};
            assert_true(vec_push(&b->resources, res));
            uint32_t scopes = 1 + (uint32_t)rng_below(r, 2);
            for (uint32_t k = 0; k < scopes; k++) {
                struct scope c = {.resource = b->resources.count - 1,
                                  .name = random_text(r, a),
                                  .version = random_text(r, a),
                                  .attrs = random_attrs(r, a, b, 3),
                                  .spans = {b->spans.count, 0},
                                  .dropped_attrs = (uint32_t)rng_below(r, 2),
                                  .present = true};
                assert_true(vec_push(&b->scopes, c));
                b->resources.at[c.resource].scopes.count++;
                uint32_t spans = 1 + (uint32_t)rng_below(r, 5);
                for (uint32_t n = 0; n < spans; n++)
                    random_span(r, a, b, trace_id, first);
            }
        }
    }
}

#endif
