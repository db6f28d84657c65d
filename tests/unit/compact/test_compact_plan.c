/* Compaction plans: whatever dies, races or lags, each trace is in exactly one block of a view. */
#include "compact_support.h"

struct stage {
    struct hand_clock clock;
    struct objstore *store;
};

enum { BLOCKS = 6, TRACES = BLOCKS * 10 };

/* Six small blocks of a window that has ended. */
static void stage_set(struct stage *g)
{
    clock_init(&g->clock);
    const struct objstore_env env = {.clock = &g->clock.base};
    assert_int_equal(objstore_memory_new(&env, &g->store, NULL), 0);
    write_blocks(g->store, TENANT, 0, BLOCKS, T0 - 3 * HOUR);
}

static struct objstore *scripted(struct stage *g, const struct scripted_step *steps, size_t n)
{
    const struct objstore_env env = {.clock = &g->clock.base};
    struct objstore *s;
    assert_int_equal(scripted_store_new(g->store, steps, n, &env, &s, NULL), 0);
    return s;
}

static void pass(struct stage *g, uint64_t seconds)
{
    g->clock.ns += seconds * NS_PER_S;
}

/* ---- the plain way ---- */

static void small_blocks_become_one_and_the_inputs_go(void **state)
{
    (void)state;
    struct stage g;
    struct peer p, reader;
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    peer_new(&reader, g.store, &g.clock.base);
    poll_ok(&p);
    poll_ok(&reader);
    assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), BLOCKS);
    assert_true(round_ok(&p));
    assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), 1);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), BLOCKS); /* still there */
    poll_ok(&reader);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), 1);
    assert_false(round_ok(&p)); /* nothing is left to do */
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 1);
    pass(&g, 200); /* the linger */
    assert_false(round_ok(&p));
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);
    for (int i = 0; i < 3; i++) {
        poll_ok(&p);
        poll_ok(&reader);
        assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), 1);
        assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), 1);
    }
    assert_int_equal(p.c->shared.plans.count, 0);
    assert_int_equal(reader.c->shared.plans.count, 0);
    peer_free(&p);
    peer_free(&reader);
    objstore_free(g.store);
}

/* ---- crash points ---- */

/* A compactor that dies after so many writes, and what others make of it. Returns whether it got to
 * the end before. */
static bool dies_after(unsigned writes)
{
    struct stage g;
    struct peer old, victim, heir, fresh;
    stage_set(&g);
    struct objstore *mortal = scripted(&g, NULL, 0);
    peer_new(&old, g.store, &g.clock.base); /* knows all inputs from before */
    poll_ok(&old);
    peer_new(&victim, mortal, &g.clock.base);
    poll_ok(&victim);
    scripted_store_die_after(mortal, writes);
    bool did = false;
    struct err err = {0};
    (void)compactor_round(victim.k, &did, &err);
    peer_free(&victim);

    peer_new(&fresh, g.store, &g.clock.base);
    poll_ok(&fresh);
    assert_each_once(&fresh, g.store, TENANT, TRACES);
    assert_each_once(&old, g.store, TENANT, TRACES);
    poll_ok(&old);
    assert_each_once(&old, g.store, TENANT, TRACES);

    /* Nobody touches what may still be somebody's. */
    peer_new(&heir, g.store, &g.clock.base);
    poll_ok(&heir);
    round_ok(&heir);
    assert_each_once(&heir, g.store, TENANT, TRACES);
    pass(&g, 31);
    for (int i = 0; i < 4; i++) { /* what the dead has left, and what is new then */
        round_ok(&heir);
        assert_each_once(&heir, g.store, TENANT, TRACES);
        poll_ok(&fresh);
        assert_each_once(&fresh, g.store, TENANT, TRACES);
        poll_ok(&old);
        assert_each_once(&old, g.store, TENANT, TRACES);
        pass(&g, 100);
    }
    assert_int_equal(assert_each_once(&heir, g.store, TENANT, TRACES), 1);
    assert_int_equal(assert_each_once(&old, g.store, TENANT, TRACES), 1);
    round_ok(&heir);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);

    /* Without the plan, for somebody who comes only now. */
    peer_free(&fresh);
    peer_new(&fresh, g.store, &g.clock.base);
    poll_ok(&fresh);
    assert_int_equal(assert_each_once(&fresh, g.store, TENANT, TRACES), 1);
    peer_free(&fresh);
    peer_free(&old);
    peer_free(&heir);
    objstore_free(mortal);
    objstore_free(g.store);
    return did;
}

static void a_crash_after_any_write_loses_and_doubles_nothing(void **state)
{
    (void)state;
    unsigned n = 0;
    while (!dies_after(n))
        assert_true(++n < 100);
    assert_true(n >= 6 + 2 * BLOCKS); /* two plans, data, bloom, index, meta; two for each input */
}

/* ---- readers ---- */

static void compact_now(void *ctx)
{
    struct peer *p = ctx;
    round_ok(p);
}

/* A reader's poll during which a whole compaction takes place, before its nth request. */
static bool poll_overtaken(enum objstore_op op, unsigned nth, size_t torn_at, bool knows)
{
    struct stage g;
    struct peer p, reader;
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    const struct scripted_step step = {.op = op,
                                       .nth = nth,
                                       .action = torn_at ? SCRIPTED_TEAR : SCRIPTED_CALL,
                                       .cut_at = torn_at,
                                       .before = compact_now,
                                       .before_ctx = &p};
    struct objstore *s = scripted(&g, &step, 1);
    peer_new(&reader, knows ? g.store : s, &g.clock.base);
    if (knows) {
        poll_ok(&reader);
        reader.c->opts.store = s;
    }
    poll_ok(&reader);
    bool overtaken = seen(&p, g.store, TENANT, NULL) == 1;
    assert_each_once(&reader, g.store, TENANT, TRACES);
    reader.c->opts.store = g.store;
    poll_ok(&reader);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), overtaken ? 1 : BLOCKS);
    peer_free(&p);
    peer_free(&reader);
    objstore_free(s);
    objstore_free(g.store);
    return overtaken;
}

static void a_reader_is_right_whenever_it_is_overtaken(void **state)
{
    (void)state;
    for (int knows = 0; knows < 2; knows++) {
        unsigned n = 1;
        while (poll_overtaken(OBJSTORE_OP_LIST, n, 0, knows))
            n++;
        assert_true(n > 5);
        n = 1;
        while (poll_overtaken(OBJSTORE_OP_GET, n, 0, knows))
            n++;
        assert_true(knows || n > BLOCKS);
        /* In the middle of the listing of the blocks, which is the fourth. */
        for (size_t at = 1; at <= BLOCKS * 4; at++)
            assert_true(poll_overtaken(OBJSTORE_OP_LIST, 4, at, knows));
    }
}

/* The output's first objects are listed, and its meta.json comes after. */
static void an_output_that_is_finished_after_it_was_listed_is_as_old_as_it_is(void **state)
{
    (void)state;
    struct stage g;
    struct peer victim, heir, reader;
    stage_set(&g);
    struct objstore *mortal = scripted(&g, NULL, 0);
    peer_new(&victim, mortal, &g.clock.base);
    poll_ok(&victim);
    scripted_store_die_after(mortal, 5); /* the plan twice, data, bloom, index */
    bool did;
    struct err err = {0};
    (void)compactor_round(victim.k, &did, &err);
    peer_free(&victim);
    peer_new(&heir, g.store, &g.clock.base);
    poll_ok(&heir);
    round_ok(&heir);
    pass(&g, 31);
    const struct scripted_step step = {.op = OBJSTORE_OP_LIST,
                                       .nth = 1,
                                       .key_contains = CATALOG_PLAN_PREFIX,
                                       .action = SCRIPTED_CALL,
                                       .before = compact_now,
                                       .before_ctx = &heir};
    struct objstore *s = scripted(&g, &step, 1);
    peer_new(&reader, s, &g.clock.base);
    poll_ok(&reader);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), 1);
    pass(&g, 300);
    poll_ok(&reader);
    round_ok(&reader);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), 1);
    peer_free(&heir);
    peer_free(&reader);
    objstore_free(s);
    objstore_free(mortal);
    objstore_free(g.store);
}

/* ---- two at the same blocks ---- */

struct rival {
    struct peer *p;
    struct catalog_plan *plan;
    bool came;
};

static int choose_all(struct peer *p, struct catalog_plan **plan, struct err *err)
{
    static const struct catalog_plan_opts opts = {1 << 20, .01, 1024};
    struct arena *a = arena_new(1 << 20);
    struct catalog_block **blocks;
    size_t n;
    ok(catalog_compactable(p->c, TENANT, a, &blocks, &n, err), err);
    int rc = n ? catalog_plan_begin(p->c, blocks, n, &opts, 0, plan, err) : 0;
    for (size_t i = 0; i < n; i++)
        catalog_block_release(blocks[i]);
    arena_free(a);
    return rc;
}

static void begin_too(void *ctx)
{
    struct rival *r = ctx;
    struct err err = {0};
    r->came = true;
    ok(choose_all(r->p, &r->plan, &err), &err);
}

static bool rivals(enum objstore_op op, unsigned nth)
{
    struct stage g;
    struct peer a, b;
    stage_set(&g);
    peer_new(&b, g.store, &g.clock.base);
    poll_ok(&b);
    struct rival rival = {.p = &b};
    const struct scripted_step step = {
        .op = op, .nth = nth, .action = SCRIPTED_CALL, .before = begin_too, .before_ctx = &rival};
    struct objstore *s = scripted(&g, &step, 1);
    peer_new(&a, g.store, &g.clock.base);
    poll_ok(&a);
    a.c->opts.store = s;
    struct catalog_plan *plan = NULL;
    struct err err = {0};
    ok(choose_all(&a, &plan, &err), &err);
    assert_false(plan && rival.plan);
    assert_true(plan || rival.plan);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), plan || rival.plan);
    if (plan)
        ok(catalog_plan_drop(a.c, plan, 0, &err), &err);
    if (rival.plan)
        ok(catalog_plan_drop(b.c, rival.plan, 0, &err), &err);
    peer_free(&a);
    peer_free(&b);
    objstore_free(s);
    objstore_free(g.store);
    return rival.came;
}

static void never_do_two_plans_hold_the_same_block(void **state)
{
    (void)state;
    static const enum objstore_op ops[] = {OBJSTORE_OP_PUT, OBJSTORE_OP_LIST, OBJSTORE_OP_GET};
    for (size_t i = 0; i < 3; i++) {
        unsigned n = 1;
        while (rivals(ops[i], n))
            n++;
        assert_true(n > 2);
    }
}

static void write_foreign_plan(void *ctx)
{
    struct stage *g = ctx;
    struct peer p;
    char uuid[37], text[300];
    peer_new(&p, g->store, &g->clock.base);
    poll_ok(&p);
    uuid_format(p.c->shared.tenants.at[0]->blocks.at[3]->meta.id, uuid);
    snprintf(text, sizeof text,
             "{\"writer\":\"0123456789abcdef\",\"tenant\":\"acme\",\"row_group_bytes\":1,"
             "\"bloom_false_positive\":0.1,\"bloom_shard_bytes\":1,\"inputs\":[\"%s\"]}",
             uuid);
    struct err err = {0};
    ok(objstore_put(g->store, SLICE(CATALOG_PLAN_PREFIX "z"), slice_cstr(text), 0, 0, &err), &err);
    peer_free(&p);
}

/* The other has written its plan and not looked yet. It will, and will see ours, if we did not see
 * its. */
static void a_plan_that_is_there_before_the_look_wins(void **state)
{
    (void)state;
    static const enum objstore_op ops[] = {OBJSTORE_OP_PUT, OBJSTORE_OP_LIST};
    for (unsigned n = 1; n <= 2; n++) {
        struct stage g;
        struct peer a, later;
        struct err err = {0};
        stage_set(&g);
        peer_new(&a, g.store, &g.clock.base);
        poll_ok(&a);
        const struct scripted_step step = {.op = ops[n - 1],
                                           .nth = 1,
                                           .action = SCRIPTED_CALL,
                                           .before = write_foreign_plan,
                                           .before_ctx = &g};
        struct objstore *s = scripted(&g, &step, 1);
        a.c->opts.store = s;
        struct catalog_plan *plan = NULL;
        ok(choose_all(&a, &plan, &err), &err);
        assert_null(plan);
        assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 1);

        /* Its owner never comes: it held nothing, so it is only cleared away. */
        peer_new(&later, g.store, &g.clock.base);
        poll_ok(&later);
        pass(&g, 31);
        assert_true(round_ok(&later));
        assert_int_equal(assert_each_once(&later, g.store, TENANT, TRACES), 1);
        pass(&g, 181);
        round_ok(&later);
        assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);
        peer_free(&later);
        peer_free(&a);
        objstore_free(s);
        objstore_free(g.store);
    }
}

/* Both do whole rounds, one in the other's, before each of its requests. */
static bool rounds_in_rounds(enum objstore_op op, unsigned nth)
{
    struct stage g;
    struct peer a, b, reader;
    stage_set(&g);
    peer_new(&b, g.store, &g.clock.base);
    peer_new(&reader, g.store, &g.clock.base);
    poll_ok(&b);
    poll_ok(&reader);
    const struct scripted_step step = {
        .op = op, .nth = nth, .action = SCRIPTED_CALL, .before = compact_now, .before_ctx = &b};
    struct objstore *s = scripted(&g, &step, 1);
    peer_new(&a, g.store, &g.clock.base);
    poll_ok(&a);
    a.c->opts.store = s;
    a.k->opts.store = s;
    bool did;
    struct err err = {0};
    ok(compactor_round(a.k, &did, &err), &err);
    unsigned calls = scripted_store_calls(s, op);
    for (int i = 0; i < 3; i++) {
        poll_ok(&reader);
        assert_each_once(&reader, g.store, TENANT, TRACES);
        poll_ok(&a);
        poll_ok(&b);
        assert_each_once(&a, g.store, TENANT, TRACES);
        assert_each_once(&b, g.store, TENANT, TRACES);
        round_ok(&b);
        pass(&g, 31);
    }
    poll_ok(&reader);
    assert_int_equal(assert_each_once(&reader, g.store, TENANT, TRACES), 1);
    peer_free(&a);
    peer_free(&b);
    peer_free(&reader);
    objstore_free(s);
    objstore_free(g.store);
    return nth <= calls;
}

static void two_compactors_end_with_each_trace_once(void **state)
{
    (void)state;
    static const enum objstore_op ops[] = {OBJSTORE_OP_PUT, OBJSTORE_OP_LIST, OBJSTORE_OP_GET,
                                           OBJSTORE_OP_DELETE};
    for (size_t i = 0; i < 4; i++) {
        unsigned n = 1;
        while (rounds_in_rounds(ops[i], n))
            n++;
        assert_true(n > 2);
    }
}

/* ---- what keeps a block from being an input ---- */

static void put_text(struct objstore *s, const char *key, const char *text)
{
    struct err err = {0};
    ok(objstore_put(s, slice_cstr(key), slice_cstr(text), 0, 0, &err), &err);
}

static size_t compactable(struct peer *p)
{
    struct arena *a = arena_new(1 << 20);
    struct catalog_block **blocks;
    size_t n;
    struct err err = {0};
    ok(catalog_plans_refresh(p->c, 0, &err), &err);
    ok(catalog_compactable(p->c, TENANT, a, &blocks, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        catalog_block_release(blocks[i]);
    arena_free(a);
    return n;
}

static void a_block_with_the_flag_is_left_alone(void **state)
{
    (void)state;
    struct stage g;
    struct peer p;
    char key[100], uuid[37];
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    struct catalog_plan *plan = NULL;
    struct err err = {0};
    uuid_format(p.c->shared.tenants.at[0]->blocks.at[2]->meta.id, uuid);
    snprintf(key, sizeof key, "acme/%s/nocompact.flg", uuid);
    put_text(g.store, key, "");
    ok(choose_all(&p, &plan, &err), &err); /* the flag has come since the listing */
    assert_null(plan);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);
    poll_ok(&p);
    assert_int_equal(compactable(&p), BLOCKS - 1);
    ok(objstore_delete(g.store, slice_cstr(key), 0, &err), &err);
    poll_ok(&p);
    assert_int_equal(compactable(&p), BLOCKS);
    peer_free(&p);
    objstore_free(g.store);
}

static void a_block_waits_until_its_build_object_is_gone(void **state)
{
    (void)state;
    struct stage g;
    struct peer p;
    struct block_meta meta;
    struct err err = {0};
    uint8_t id[16];
    static const char build[] = CATALOG_BUILD_PREFIX "1700000000000-0123456789abcdef-00000000";
    stage_set(&g);
    catalog_build_block_id(slice_cstr(build), TENANT, id);
    write_block(g.store, TENANT, 1000, 10, T0 - 3 * HOUR, 0, id, &meta);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    assert_int_equal(compactable(&p), BLOCKS + 1);
    struct catalog_plan *plan = NULL;
    put_text(g.store, build, "{\"writer\":\"0123456789abcdef\",\"segments\":[\"gone\"]}");
    ok(choose_all(&p, &plan, &err), &err);
    assert_null(plan);
    assert_int_equal(compactable(&p), BLOCKS);
    ok(objstore_delete(g.store, slice_cstr(build), 0, &err), &err);
    assert_int_equal(compactable(&p), BLOCKS + 1);
    peer_free(&p);
    objstore_free(g.store);
}

static void an_output_waits_until_its_plan_is_gone(void **state)
{
    (void)state;
    struct stage g;
    struct peer p, other;
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    peer_new(&other, g.store, &g.clock.base);
    poll_ok(&p);
    assert_true(round_ok(&p));
    poll_ok(&other);
    assert_int_equal(compactable(&p), 0);
    assert_int_equal(compactable(&other), 0);
    pass(&g, 181);
    assert_int_equal(compactable(&p), 1); /* which deletes the plan */
    assert_int_equal(compactable(&other), 1);
    peer_free(&p);
    peer_free(&other);
    objstore_free(g.store);
}

static void an_input_that_has_gone_ends_the_plan(void **state)
{
    (void)state;
    struct stage g;
    struct peer p;
    struct err err = {0};
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    struct catalog_plan *plan = NULL;
    struct peer tempo;
    peer_new(&tempo, g.store, &g.clock.base);
    uint8_t id[16];
    memcpy(id, p.c->shared.tenants.at[0]->blocks.at[1]->meta.id, 16);
    ok(catalog_mark_compacted(tempo.c, TENANT, id, 0, &err), &err);
    ok(choose_all(&p, &plan, &err), &err);
    assert_null(plan);
    poll_ok(&p);
    ok(choose_all(&p, &plan, &err), &err);
    assert_non_null(plan);
    assert_int_equal(plan->input_count, BLOCKS - 1);
    memcpy(id, plan->ids[0], 16);
    ok(catalog_mark_compacted(tempo.c, TENANT, id, 0, &err), &err);
    assert_int_equal(catalog_plan_check(p.c, plan, 0, &err), ERR_CANCELLED);
    ok(catalog_plan_drop(p.c, plan, 0, &err), &err);
    peer_free(&tempo);
    peer_free(&p);
    objstore_free(g.store);
}

static void a_plan_that_cannot_be_read_stops_compaction_and_nothing_else(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "{\"writer\":1}",
        "{\"writer\":\"0123456789abcdef\",\"tenant\":\"acme\",\"held\":true,\"row_group_bytes\":1,"
        "\"bloom_false_positive\":0.1,\"bloom_shard_bytes\":1,\"inputs\":[]}",
        "{\"writer\":\"0123456789abcdef\",\"tenant\":\"acme\",\"held\":true,\"row_group_bytes\":1,"
        "\"bloom_false_positive\":0.1,\"bloom_shard_bytes\":1,\"inputs\":[\"no uuid\"]}",
        "{\"writer\":\"0123456789abcdef\",\"tenant\":\"acme\",\"held\":true,\"row_group_bytes\":-1,"
        "\"bloom_false_positive\":0.1,\"bloom_shard_bytes\":1e300,\"inputs\":[1]}",
    };
    struct stage g;
    struct peer p;
    struct err err = {0};
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        put_text(g.store, CATALOG_PLAN_PREFIX "x", texts[i]);
        poll_ok(&p);
        assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), BLOCKS);
        assert_false(round_ok(&p));
        assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 1);
    }
    ok(objstore_delete(g.store, SLICE(CATALOG_PLAN_PREFIX "x"), 0, &err), &err);
    assert_true(round_ok(&p));
    peer_free(&p);
    objstore_free(g.store);
}

struct glance {
    struct peer *p;
    size_t free; /* blocks that seemed so */
    unsigned times;
};

static void glance(void *ctx)
{
    struct glance *l = ctx;
    struct arena *a = arena_new(1 << 20);
    struct catalog_block **blocks;
    size_t n;
    struct err err = {0};
    ok(catalog_compactable(l->p->c, TENANT, a, &blocks, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        catalog_block_release(blocks[i]);
    arena_free(a);
    l->free += n;
    l->times++;
}

/* Two threads of a process: one lists the plans, the other chooses blocks. */
static void what_is_known_of_plans_holds_while_they_are_listed_again(void **state)
{
    (void)state;
    struct stage g;
    struct peer owner, p;
    struct err err = {0};
    stage_set(&g);
    peer_new(&owner, g.store, &g.clock.base);
    poll_ok(&owner);
    struct catalog_plan *plan = NULL;
    ok(choose_all(&owner, &plan, &err), &err);
    assert_non_null(plan);
    static const enum objstore_op ops[] = {OBJSTORE_OP_LIST, OBJSTORE_OP_LIST, OBJSTORE_OP_GET};
    struct glance look = {.p = &p};
    struct scripted_step steps[3];
    for (unsigned i = 0; i < 3; i++)
        steps[i] = (struct scripted_step){.op = ops[i],
                                          .nth = i == 1 ? 2 : 1,
                                          .action = SCRIPTED_CALL,
                                          .before = glance,
                                          .before_ctx = &look};
    struct objstore *s = scripted(&g, steps, 3);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    assert_int_equal(compactable(&p), 0);
    put_text(g.store, CATALOG_PLAN_PREFIX "0", "new, and listed before");
    p.c->opts.store = s;
    ok(catalog_plans_refresh(p.c, 0, &err), &err);
    assert_int_equal(look.times, 3);
    assert_int_equal(look.free, 0);
    p.c->opts.store = g.store;
    ok(catalog_plan_drop(owner.c, plan, 0, &err), &err);
    peer_free(&owner);
    peer_free(&p);
    objstore_free(s);
    objstore_free(g.store);
}

/* ---- taking over ---- */

static void an_owner_that_says_it_lives_is_left_alone(void **state)
{
    (void)state;
    struct stage g;
    struct peer owner, other;
    struct err err = {0};
    stage_set(&g);
    peer_new(&owner, g.store, &g.clock.base);
    peer_new(&other, g.store, &g.clock.base);
    poll_ok(&owner);
    poll_ok(&other);
    struct catalog_plan *plan = NULL, *taken;
    ok(choose_all(&owner, &plan, &err), &err);
    assert_non_null(plan);
    for (int i = 0; i < 20; i++) {
        ok(catalog_plans_refresh(other.c, 0, &err), &err);
        ok(catalog_plan_resume(other.c, 0, &taken, &err), &err);
        assert_null(taken);
        pass(&g, 11);
        ok(catalog_plan_beat(owner.c, plan, 0, &err), &err);
    }
    ok(catalog_plans_refresh(other.c, 0, &err), &err);
    pass(&g, 31);
    ok(catalog_plans_refresh(other.c, 0, &err), &err);
    ok(catalog_plan_resume(other.c, 0, &taken, &err), &err);
    assert_non_null(taken);
    assert_false(taken->committed);
    assert_int_equal(taken->input_count, BLOCKS);
    assert_memory_equal(taken->output, plan->output, 16);
    /* The owner was only slow. */
    assert_int_equal(catalog_plan_beat(owner.c, plan, 0, &err), ERR_CANCELLED);
    assert_int_equal(catalog_plan_check(owner.c, plan, 0, &err), ERR_CANCELLED);
    catalog_plan_abandon(owner.c, plan);
    ok(compact_run(other.k, taken, &err), &err);
    assert_int_equal(assert_each_once(&other, g.store, TENANT, TRACES), 1);
    poll_ok(&owner);
    assert_int_equal(assert_each_once(&owner, g.store, TENANT, TRACES), 1);
    peer_free(&owner);
    peer_free(&other);
    objstore_free(g.store);
}

/* Both write the output: the same bytes, so that it does not matter whose objects are left. */
static void an_output_written_twice_is_the_same(void **state)
{
    (void)state;
    struct stage g;
    struct peer a, b;
    struct err err = {0};
    struct buf data[2], key;
    stage_set(&g);
    peer_new(&a, g.store, &g.clock.base);
    peer_new(&b, g.store, &g.clock.base);
    poll_ok(&a);
    poll_ok(&b);
    b.k->opts.row_group_bytes = 1000; /* another configuration: the plan's holds */
    struct catalog_plan *plan = NULL, *again;
    ok(choose_all(&a, &plan, &err), &err);
    uint8_t output[16];
    memcpy(output, plan->output, 16);
    catalog_plan_abandon(a.c, plan);
    for (int i = 0; i < 2; i++) {
        struct peer *p = i ? &b : &a;
        ok(catalog_plans_refresh(p->c, 0, &err), &err);
        pass(&g, 31);
        ok(catalog_plan_resume(p->c, 0, &again, &err), &err);
        assert_non_null(again);
        assert_false(again->committed);
        struct objstore *mortal = scripted(&g, NULL, 0);
        scripted_store_die_after(mortal, 3); /* data, bloom, index */
        p->k->opts.store = mortal;
        assert_int_equal(compact_run(p->k, again, &err), ERR_IO);
        p->k->opts.store = g.store;
        objstore_free(mortal);
        buf_init(&key, 4096);
        buf_init(&data[i], 1 << 20);
        assert_int_equal(block_key(&key, TENANT, output, "data.parquet"), 0);
        ok(objstore_get(g.store, buf_view(&key), 0, &data[i], &err), &err);
        ok(objstore_delete(g.store, buf_view(&key), 0, &err), &err);
        buf_clear(&key);
    }
    assert_int_equal(data[0].len, data[1].len);
    assert_memory_equal(data[0].ptr, data[1].ptr, data[0].len);
    buf_clear(&data[0]);
    buf_clear(&data[1]);
    peer_free(&a);
    peer_free(&b);
    objstore_free(g.store);
}

/* The answer to meta.json's PUT is lost: only a look tells whether it is there. */
static void a_lost_answer_to_the_last_write_is_looked_after(void **state)
{
    (void)state;
    struct stage g;
    struct peer p;
    stage_set(&g);
    static const struct scripted_step lost = {.op = OBJSTORE_OP_PUT,
                                              .nth = 1,
                                              .key_contains = "/meta.json",
                                              .action = SCRIPTED_LOSE_ANSWER,
                                              .rc = ERR_IO};
    struct objstore *s = scripted(&g, &lost, 1);
    peer_new(&p, s, &g.clock.base);
    poll_ok(&p);
    assert_false(round_ok(&p));
    assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), BLOCKS);
    poll_ok(&p);
    assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), 1);
    pass(&g, 31);
    round_ok(&p);
    pass(&g, 181);
    round_ok(&p);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);
    poll_ok(&p);
    poll_ok(&p);
    assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), 1);
    peer_free(&p);
    objstore_free(s);
    objstore_free(g.store);
}

/* ---- Tempo beside us ---- */

/* As Tempo does it: the new block under a random id, then the inputs are marked. */
static void tempo_compacts(void *ctx)
{
    struct stage *g = ctx;
    struct peer p;
    struct err err = {0};
    struct block_meta meta;
    peer_new(&p, g->store, &g->clock.base);
    poll_ok(&p);
    /* An id that is listed before all others. */
    const uint8_t id[16] = {0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1};
    write_block(g->store, TENANT, 0, TRACES, T0 - 3 * HOUR, 1, id, &meta);
    struct catalog_tenant *t = p.c->shared.tenants.at[0];
    while (t->blocks.count)
        ok(catalog_mark_compacted(p.c, TENANT, t->blocks.at[0]->meta.id, 0, &err), &err);
    peer_free(&p);
}

/* at counts the listing's items, then the reads that follow it. */
static void what_tempo_compacts_while_we_look_is_not_lost(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= BLOCKS * 6; at++) {
        struct stage g;
        struct peer p;
        stage_set(&g);
        bool listing = at <= BLOCKS * 4;
        const struct scripted_step tear = {.op = listing ? OBJSTORE_OP_LIST : OBJSTORE_OP_GET,
                                           .nth = listing ? 4 : at - BLOCKS * 4,
                                           .action = listing ? SCRIPTED_TEAR : SCRIPTED_CALL,
                                           .cut_at = at,
                                           .before = tempo_compacts,
                                           .before_ctx = &g};
        struct objstore *s = scripted(&g, &tear, 1);
        peer_new(&p, s, &g.clock.base);
        poll_ok(&p);
        assert_each_once(&p, g.store, TENANT, TRACES);
        poll_ok(&p);
        assert_int_equal(assert_each_once(&p, g.store, TENANT, TRACES), 1);
        peer_free(&p);
        objstore_free(s);
        objstore_free(g.store);
    }
}

static void a_block_with_both_metas_is_dead(void **state)
{
    (void)state;
    struct stage g;
    struct peer p;
    struct err err = {0};
    char key[100], uuid[37];
    stage_set(&g);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    uuid_format(p.c->shared.tenants.at[0]->blocks.at[0]->meta.id, uuid);
    snprintf(key, sizeof key, "acme/%s/meta.compacted.json", uuid);
    put_text(g.store, key, "{}");
    poll_ok(&p);
    assert_int_equal(seen(&p, g.store, TENANT, NULL), BLOCKS - 1);
    ok(objstore_delete(g.store, slice_cstr(key), 0, &err), &err);
    poll_ok(&p);
    assert_int_equal(seen(&p, g.store, TENANT, NULL), BLOCKS);
    peer_free(&p);
    objstore_free(g.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_blocks_become_one_and_the_inputs_go),
        cmocka_unit_test(a_crash_after_any_write_loses_and_doubles_nothing),
        cmocka_unit_test(a_reader_is_right_whenever_it_is_overtaken),
        cmocka_unit_test(an_output_that_is_finished_after_it_was_listed_is_as_old_as_it_is),
        cmocka_unit_test(never_do_two_plans_hold_the_same_block),
        cmocka_unit_test(a_plan_that_is_there_before_the_look_wins),
        cmocka_unit_test(two_compactors_end_with_each_trace_once),
        cmocka_unit_test(a_block_with_the_flag_is_left_alone),
        cmocka_unit_test(a_block_waits_until_its_build_object_is_gone),
        cmocka_unit_test(an_output_waits_until_its_plan_is_gone),
        cmocka_unit_test(an_input_that_has_gone_ends_the_plan),
        cmocka_unit_test(a_plan_that_cannot_be_read_stops_compaction_and_nothing_else),
        cmocka_unit_test(what_is_known_of_plans_holds_while_they_are_listed_again),
        cmocka_unit_test(an_owner_that_says_it_lives_is_left_alone),
        cmocka_unit_test(an_output_written_twice_is_the_same),
        cmocka_unit_test(a_lost_answer_to_the_last_write_is_looked_after),
        cmocka_unit_test(what_tempo_compacts_while_we_look_is_not_lost),
        cmocka_unit_test(a_block_with_both_metas_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
