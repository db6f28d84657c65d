/* Builds and readers: whatever a build does while a reader looks, the reader sees a segment's spans
 * in the segment or in the block, not in both and not in neither. */
#include "tests/unit/compact/compact_support.h"

struct stage {
    struct hand_clock clock;
    struct objstore *store;
    struct peer writer;
    unsigned steps; /* of the build, that the hook takes */
    struct catalog_build *build;
};

/* A segment of one tenant, visible in the writer. Its body is not looked into here. */
static void stage_set(struct stage *g)
{
    *g = (struct stage){0};
    clock_init(&g->clock);
    const struct objstore_env env = {.clock = &g->clock.base};
    struct err err = {0};
    assert_int_equal(objstore_memory_new(&env, &g->store, NULL), 0);
    peer_new(&g->writer, g->store, &g->clock.base);
    poll_ok(&g->writer);
    static const uint64_t traces[] = {1};
    const struct segment_part part = {.tenant = TENANT,
                                      .body = SLICE("spans"),
                                      .spans = 1,
                                      .start_unix_ns = T0,
                                      .end_unix_ns = T0,
                                      .traces = traces,
                                      .trace_count = 1};
    struct arena *a = arena_new(1 << 20);
    struct segment_footer footer;
    struct shared_bytes **raw;
    struct buf object, name;
    buf_init(&object, 1 << 20);
    buf_init(&name, 256);
    ok(segment_encode(&part, 1, a, &object, &footer, &raw, &err), &err);
    assert_int_equal(catalog_segment_name(g->writer.c, &name), 0);
    ok(objstore_put(g->store, buf_view(&name), buf_view(&object), 0, 0, &err), &err);
    ok(catalog_add_segment(g->writer.c, buf_view(&name), object.len, a, &footer, raw, &err), &err);
    buf_clear(&object);
    buf_clear(&name);
}

static void stage_end(struct stage *g)
{
    if (g->build)
        catalog_build_abandon(g->writer.c, g->build);
    peer_free(&g->writer);
    objstore_free(g->store);
}

/* The build object; the block; the segments' end. */
static void build(void *ctx)
{
    struct stage *g = ctx;
    struct err err = {0};
    struct block_meta meta;
    uint8_t id[16];
    ok(catalog_build_begin(g->writer.c, 1 << 20, 0, &g->build, &err), &err);
    assert_non_null(g->build);
    if (g->steps == 1)
        return;
    catalog_build_block_id(g->build->name, TENANT, id);
    write_block(g->store, TENANT, 0, 1, T0, 0, id, &meta);
    ok(catalog_build_commit(g->writer.c, g->build, &meta, &err), &err);
    if (g->steps == 2)
        return;
    ok(catalog_build_finish(g->writer.c, g->build, 0, &err), &err);
    g->build = NULL;
}

static void assert_once(struct peer *p, unsigned nth)
{
    struct arena *a = arena_new(1 << 20);
    struct catalog_view v;
    struct err err = {0};
    ok(catalog_view(p->c, TENANT, 0, a, &v, &err), &err);
    if (v.block_count + v.section_count != 1)
        fail_msg("%zu blocks and %zu sections, overtaken before request %u", v.block_count,
                 v.section_count, nth);
    catalog_view_release(&v);
    arena_free(a);
}

/* A poll in which the build takes some steps before the nth request. Returns whether there was such
 * a request. */
static bool overtaken(enum objstore_op op, unsigned nth, unsigned steps, bool knows, bool full)
{
    struct stage g;
    struct peer reader;
    struct err err = {0};
    stage_set(&g);
    g.steps = steps;
    const struct scripted_step step = {
        .op = op, .nth = nth, .action = SCRIPTED_CALL, .before = build, .before_ctx = &g};
    const struct objstore_env env = {.clock = &g.clock.base};
    struct objstore *s;
    assert_int_equal(scripted_store_new(g.store, &step, 1, &env, &s, NULL), 0);
    peer_new(&reader, knows ? g.store : s, &g.clock.base);
    if (knows)
        poll_ok(&reader);
    reader.c->opts.store = s;
    ok(catalog_poll(reader.c, full, &err), &err);
    reader.c->shared.loaded = true;
    bool met = scripted_store_calls(s, op) >= nth;
    assert_once(&reader, nth);
    for (int i = 0; i < 3; i++) {
        ok(catalog_poll(reader.c, i == 1, &err), &err);
        assert_once(&reader, nth);
    }
    assert_once(&g.writer, nth);
    peer_free(&reader);
    objstore_free(s);
    stage_end(&g);
    return met;
}

static void a_reader_is_right_whenever_a_build_overtakes_it(void **state)
{
    (void)state;
    static const enum objstore_op ops[] = {OBJSTORE_OP_LIST, OBJSTORE_OP_GET};
    unsigned met = 0;
    for (unsigned i = 0; i < 2 * 3 * 2 * 2; i++) {
        enum objstore_op op = ops[i % 2];
        unsigned steps = 1 + i / 2 % 3;
        bool knows = i / 6 % 2, full = !knows || i / 12;
        for (unsigned n = 1; overtaken(op, n, steps, knows, full); n++)
            met++;
    }
    assert_true(met > 60);
}

/* While our build object was on its way, another process has taken the segment over, built it and
 * cleaned up behind it: the name is free again. */
static void take_over_and_clean_up(void *ctx)
{
    struct stage *g = ctx;
    struct stage other = {.clock = g->clock, .store = g->store, .steps = 3};
    peer_new(&other.writer, g->store, &g->clock.base);
    poll_ok(&other.writer);
    g->clock.ns += 31 * NS_PER_S;
    build(&other);
    g->clock.ns += 181 * NS_PER_S;
    poll_ok(&other.writer);
    assert_int_equal(count_objects(g->store, SLICE(CATALOG_BUILD_PREFIX)), 0);
    peer_free(&other.writer);
}

static void a_build_whose_segments_were_built_meanwhile_is_given_up(void **state)
{
    (void)state;
    struct stage g;
    struct err err = {0};
    stage_set(&g);
    const struct scripted_step step = {.op = OBJSTORE_OP_PUT,
                                       .nth = 1,
                                       .action = SCRIPTED_CALL,
                                       .before = take_over_and_clean_up,
                                       .before_ctx = &g};
    const struct objstore_env env = {.clock = &g.clock.base};
    struct objstore *s;
    assert_int_equal(scripted_store_new(g.store, &step, 1, &env, &s, NULL), 0);
    g.writer.c->opts.store = s;
    uint64_t deadline = clock_mono_ns(&g.clock.base) + HOUR;
    assert_int_equal(catalog_build_begin(g.writer.c, 1 << 20, deadline, &g.build, &err),
                     ERR_EXISTS);
    assert_null(g.build);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_BUILD_PREFIX)), 0);
    g.writer.c->opts.store = g.store;
    poll_ok(&g.writer);
    assert_once(&g.writer, 0);
    ok(catalog_build_begin(g.writer.c, 1 << 20, 0, &g.build, &err), &err);
    assert_null(g.build); /* nothing waits any more */
    objstore_free(s);
    stage_end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_is_right_whenever_a_build_overtakes_it),
        cmocka_unit_test(a_build_whose_segments_were_built_meanwhile_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
