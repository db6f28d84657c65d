/* What the tests of compaction share: a clock that is turned by hand, small blocks with numbered
 * traces, catalogues that look at the store when they are told, and counting what a view holds. */
#ifndef TESTS_UNIT_COMPACT_COMPACT_SUPPORT_H
#define TESTS_UNIT_COMPACT_COMPACT_SUPPORT_H

#include "tests/unit/catalog/merge_support.h"

#include "base/text.h"
#include "catalog/catalog_priv.h"
#include "compact/compact_priv.h"
#include "tests/support/scripted_store.h"

#define TENANT SLICE("acme")
#define TRACES_MAX 4096
#define HOUR (3600 * NS_PER_S)
#define T0 (UINT64_C(1700000000) * NS_PER_S)

/* ---- time ---- */

struct hand_clock {
    struct clock base; /* first */
    uint64_t ns;       /* since T0 */
};

static inline uint64_t hand_unix(const struct clock *c)
{
    return T0 + ((const struct hand_clock *)c)->ns;
}

static inline uint64_t hand_mono(const struct clock *c)
{
    return NS_PER_S + ((const struct hand_clock *)c)->ns;
}

static inline void clock_init(struct hand_clock *c)
{
    *c = (struct hand_clock){.base = {.unix_ns = hand_unix, .mono_ns = hand_mono}};
}

/* ---- blocks ---- */

/* A block of traces first to first + count - 1, one span each, that ends at end_unix_ns. */
static inline void write_block(struct objstore *s, struct slice tenant, uint32_t first,
                               uint32_t count, uint64_t end_unix_ns, uint32_t level,
                               const uint8_t id[16], struct block_meta *meta)
{
    struct err err = {0};
    struct block_writer *w;
    struct span_batch batch = {0};
    struct block_writer_opts o = {.tenant = tenant,
                                  .row_group_bytes = 1 << 20,
                                  .bloom_false_positive = .01,
                                  .bloom_shard_bytes = 1024,
                                  .compaction_level = level};
    memcpy(o.id, id, 16);
    ok(block_writer_new(s, &w, &err), &err);
    ok(block_writer_begin(w, &o, &err), &err);
    for (uint32_t i = 0; i < count; i++) {
        span_batch_reset(&batch);
        assert_true(vec_push(&batch.resources, (struct resource){.scopes = {0, 1}}));
        assert_true(vec_push(&batch.scopes, (struct scope){.spans = {0, 1}}));
        uint32_t n = first + i;
        struct span span = {.span_id = SLICE("spanspan"),
                            .name = SLICE("x"),
                            .start_unix_ns = end_unix_ns - 1000,
                            .end_unix_ns = end_unix_ns};
        memcpy(span.trace_id, (uint8_t[]){1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 14);
        span.trace_id[14] = (uint8_t)(n >> 8);
        span.trace_id[15] = (uint8_t)n;
        assert_true(vec_push(&batch.spans, span));
        uint32_t order = 0;
        const struct trace t = {&batch, &order, 1};
        ok(block_writer_add(w, &t, &err), &err);
    }
    ok(block_writer_finish(w, meta, &err), &err);
    block_writer_free(w);
    span_batch_clear(&batch);
}

/* Blocks of ten traces each, in one window; numbers tell their ids. */
static inline void write_blocks(struct objstore *s, struct slice tenant, uint32_t from,
                                uint32_t count, uint64_t end_unix_ns)
{
    for (uint32_t i = from; i < from + count; i++) {
        struct block_meta meta;
        uint8_t id[16] = {(uint8_t)(i * 37), 1,         1, 1, 1, 1, 0x41, 1, 0x81, 1, 1, 1, 1, 1,
                          (uint8_t)(i >> 8), (uint8_t)i};
        write_block(s, tenant, i * 10, 10, end_unix_ns, 0, id, &meta);
    }
}

static inline bool has_object(struct objstore *s, struct slice tenant, const uint8_t id[16],
                              const char *name)
{
    struct buf key;
    struct objstore_info info;
    buf_init(&key, 4096);
    assert_int_equal(block_key(&key, tenant, id, name), 0);
    int rc = objstore_head(s, buf_view(&key), 0, &info, NULL);
    buf_clear(&key);
    assert_true(rc == 0 || rc == ERR_NOTFOUND);
    return rc == 0;
}

static inline int count_item(void *ctx, const struct objstore_list_item *item)
{
    (void)item;
    ++*(unsigned *)ctx;
    return 0;
}

static inline unsigned count_objects(struct objstore *s, struct slice prefix)
{
    unsigned n = 0;
    struct err err = {0};
    ok(objstore_list(s, prefix, SLICE(""), false, count_item, &n, 0, &err), &err);
    return n;
}

/* ---- processes ---- */

struct peer {
    struct metrics *metrics;
    struct catalog *c;
    struct compactor *k;
};

static inline void peer_new(struct peer *p, struct objstore *s, const struct clock *clock)
{
    struct err err = {0};
    static const struct log quiet = {.fd = -1, .level = LOG_LEVEL_ERROR + 1};
    p->metrics = metrics_new();
    const struct catalog_opts co = {.store = s,
                                    .log = &quiet,
                                    .metrics = p->metrics,
                                    .clock = clock,
                                    .live_bytes_max = 1 << 20};
    ok(catalog_new(&co, &p->c, &err), &err);
    const struct compactor_opts ko = {
        .store = s,
        .catalog = p->c,
        .log = &quiet,
        .metrics = p->metrics,
        .clock = clock,
        .limits = {.block_retention_ns = 336 * HOUR, .compaction_window_ns = HOUR},
        .cycle_ns = NS_PER_S,
        .compacted_block_retention_ns = HOUR,
        .objects_max = 1000000,
        .block_bytes_max = 1 << 30,
        .inputs_min = 2,
        .inputs_max = 4,
        .row_group_bytes = 1 << 20,
        .bloom_false_positive = .01,
        .bloom_shard_bytes = 1024};
    ok(compactor_new(&ko, &p->k, &err), &err);
}

static inline void peer_free(struct peer *p)
{
    compactor_free(p->k);
    catalog_free(p->c);
    metrics_free(p->metrics);
}

static inline int peer_poll(struct peer *p, struct err *err)
{
    int rc = catalog_poll(p->c, true, err);
    if (rc == 0)
        p->c->shared.loaded = true;
    return rc;
}

static inline void poll_ok(struct peer *p)
{
    struct err err = {0};
    ok(peer_poll(p, &err), &err);
}

static inline bool round_ok(struct peer *p)
{
    struct err err = {0};
    bool did;
    ok(compactor_round(p->k, &did, &err), &err);
    return did;
}

/* How often each trace is in the blocks of the peer's view; NULL: no matter. Returns the number of
 * blocks. */
static inline size_t seen(struct peer *p, struct objstore *s, struct slice tenant, uint8_t *times)
{
    struct arena *a = arena_new(1 << 20);
    struct catalog_view v;
    struct err err = {0};
    ok(catalog_view(p->c, tenant, 0, a, &v, &err), &err);
    size_t blocks = v.block_count;
    for (size_t i = 0; i < blocks; i++)
        assert_true(v.blocks[i]->created_unix_ns >= T0); /* retention goes by it */
    if (times)
        memset(times, 0, TRACES_MAX);
    for (size_t i = 0; times && i < blocks; i++) {
        struct plain_block b;
        plain_read(s, &v.blocks[i]->meta, &b);
        for (uint32_t r = 0; r < b.row_count; r++)
            times[(b.rows[r].id[14] << 8) + b.rows[r].id[15]]++;
        plain_clear(&b);
    }
    catalog_view_release(&v);
    arena_free(a);
    return blocks;
}

/* Each of the traces below count is there once. */
static inline size_t assert_each_once(struct peer *p, struct objstore *s, struct slice tenant,
                                      uint32_t count)
{
    static uint8_t times[TRACES_MAX];
    size_t blocks = seen(p, s, tenant, times);
    for (uint32_t i = 0; i < TRACES_MAX; i++) {
        if (times[i] != (i < count))
            fail_msg("trace %u is there %u times, in %zu blocks", i, times[i], blocks);
    }
    return blocks;
}

#endif
