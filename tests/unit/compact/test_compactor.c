/* Retention, what is deleted and when, tenant indexes, fairness. */
#include "compact_support.h"

#include "block/tenant_index.h"

struct stage {
    struct hand_clock clock;
    struct objstore *store;
    struct peer p;
};

static void stage_set(struct stage *g)
{
    clock_init(&g->clock);
    const struct objstore_env env = {.clock = &g->clock.base};
    assert_int_equal(objstore_memory_new(&env, &g->store, NULL), 0);
    peer_new(&g->p, g->store, &g->clock.base);
    g->p.k->opts.block_bytes_max = 1; /* nothing is merged */
}

static void stage_end(struct stage *g)
{
    peer_free(&g->p);
    objstore_free(g->store);
}

static void pass(struct stage *g, uint64_t ns)
{
    g->clock.ns += ns;
}

static uint64_t now(const struct stage *g)
{
    return clock_unix_ns(&g->clock.base);
}

/* A poll, and a round that goes by it. */
static void turn(struct stage *g)
{
    poll_ok(&g->p);
    round_ok(&g->p);
}

static unsigned objects_of(struct stage *g, const uint8_t id[16])
{
    struct buf prefix;
    buf_init(&prefix, 4096);
    assert_int_equal(block_key(&prefix, TENANT, id, ""), 0);
    unsigned n = count_objects(g->store, buf_view(&prefix));
    buf_clear(&prefix);
    return n;
}

static void put(struct stage *g, const uint8_t id[16], const char *name)
{
    struct buf key;
    struct err err = {0};
    buf_init(&key, 4096);
    assert_int_equal(block_key(&key, TENANT, id, name), 0);
    ok(objstore_put(g->store, buf_view(&key), SLICE("x"), 0, 0, &err), &err);
    buf_clear(&key);
}

static void first_id(struct stage *g, uint8_t id[16])
{
    memcpy(id, g->p.c->shared.tenants.at[0]->blocks.at[0]->meta.id, 16);
}

/* ---- retention ---- */

static void a_block_lives_for_its_retention_and_its_objects_an_hour_longer(void **state)
{
    (void)state;
    struct stage g;
    uint8_t id[16];
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g));
    turn(&g);
    first_id(&g, id);
    pass(&g, 336 * HOUR);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 1);
    pass(&g, NS_PER_S);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 0);
    assert_false(has_object(g.store, TENANT, id, "meta.json"));
    assert_true(has_object(g.store, TENANT, id, "meta.compacted.json"));
    assert_true(has_object(g.store, TENANT, id, "data.parquet")); /* for who still reads it */
    pass(&g, HOUR);
    turn(&g);
    assert_true(has_object(g.store, TENANT, id, "data.parquet"));
    pass(&g, NS_PER_S);
    turn(&g);
    assert_int_equal(objects_of(&g, id), 0);
    assert_int_equal(g.p.c->shared.tenants.at[0]->dead.count, 0);
    stage_end(&g);
}

/* Their spans have come just now, however old they say they are. */
static void late_spans_are_kept_as_long_as_others(void **state)
{
    (void)state;
    struct stage g;
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g) - 20000 * HOUR);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 1);
    pass(&g, 337 * HOUR);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 0);
    stage_end(&g);
}

static void an_end_in_the_far_future_keeps_nothing_for_ever(void **state)
{
    (void)state;
    struct stage g;
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g) + 20000 * HOUR);
    write_blocks(g.store, TENANT, 1, 1, now(&g) + HOUR); /* a clock that is a bit wrong */
    turn(&g);
    pass(&g, 337 * HOUR - NS_PER_S);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 1);
    pass(&g, 2 * NS_PER_S);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 0);
    stage_end(&g);
}

static void only_acme_is_short(void *ctx, struct slice tenant, struct compactor_tenant *limits)
{
    (void)ctx;
    assert_true(limits->block_retention_ns == 336 * HOUR);
    if (slice_eq(tenant, TENANT)) {
        limits->block_retention_ns = HOUR;
        limits->compaction_disabled = true;
    }
}

static void a_tenant_has_its_own_retention(void **state)
{
    (void)state;
    struct stage g;
    stage_set(&g);
    g.p.k->opts.tenant = only_acme_is_short;
    g.p.k->opts.block_bytes_max = UINT64_MAX;
    write_blocks(g.store, TENANT, 0, 3, now(&g) - 3 * HOUR);
    write_blocks(g.store, SLICE("other"), 0, 3, now(&g) - 3 * HOUR);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 3); /* not compacted */
    assert_int_equal(seen(&g.p, g.store, SLICE("other"), NULL), 1);
    pass(&g, HOUR + NS_PER_S);
    turn(&g);
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 0); /* retention all the same */
    assert_int_equal(seen(&g.p, g.store, SLICE("other"), NULL), 1);
    stage_end(&g);
}

static void who_is_disabled_touches_nothing(void **state)
{
    (void)state;
    struct stage g;
    stage_set(&g);
    g.p.k->opts.block_bytes_max = UINT64_MAX;
    g.p.k->opts.disabled = true;
    write_blocks(g.store, TENANT, 0, 3, now(&g) - 3 * HOUR);
    unsigned before = count_objects(g.store, SLICE(""));
    turn(&g);
    pass(&g, 1000 * HOUR);
    turn(&g);
    assert_int_equal(count_objects(g.store, SLICE("")), before);
    stage_end(&g);
}

/* ---- deleting ---- */

/* Dies after so many writes of a deletion. Returns whether it was done before. */
static bool deletion_dies_after(unsigned writes)
{
    struct stage g;
    struct peer victim, fresh;
    uint8_t id[16];
    struct err err = {0};
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g));
    poll_ok(&g.p);
    first_id(&g, id);
    ok(catalog_mark_compacted(g.p.c, TENANT, id, 0, &err), &err);
    put(&g, id, "meta.json"); /* somebody was slow */
    pass(&g, 2 * HOUR);
    const struct objstore_env env = {.clock = &g.clock.base};
    struct objstore *mortal;
    assert_int_equal(scripted_store_new(g.store, NULL, 0, &env, &mortal, NULL), 0);
    peer_new(&victim, mortal, &g.clock.base);
    poll_ok(&victim);
    scripted_store_die_after(mortal, writes);
    bool did;
    (void)compactor_round(victim.k, &did, &err);
    peer_free(&victim);
    objstore_free(mortal);

    bool done = objects_of(&g, id) == 0;
    /* Never live, never without a word on what it is. */
    assert_true(done || has_object(g.store, TENANT, id, "meta.compacted.json"));
    peer_new(&fresh, g.store, &g.clock.base);
    poll_ok(&fresh);
    assert_int_equal(seen(&fresh, g.store, TENANT, NULL), 0);
    round_ok(&fresh);
    assert_int_equal(objects_of(&g, id), 0);
    peer_free(&fresh);
    stage_end(&g);
    return done;
}

static void a_crash_while_deleting_leaves_no_live_block(void **state)
{
    (void)state;
    unsigned n = 0;
    while (!deletion_dies_after(n))
        assert_true(++n < 20);
    assert_true(n >= 6); /* the clock, data, bloom, index, two metas */
}

static void orphans_go_only_when_they_are_surely_dead(void **state)
{
    (void)state;
    static const uint8_t orphan[16] = {0xaa, 1}, in_work[16] = {0xbb, 1};
    static const char plan[] = CATALOG_PLAN_PREFIX "1700000000000-0123456789abcdef-00000000";
    uint8_t of_plan[16], of_build[16], live[16];
    static const char build[] = CATALOG_BUILD_PREFIX "1700000000000-0123456789abcdef-00000000";
    struct stage g;
    struct err err = {0};
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g));
    poll_ok(&g.p);
    first_id(&g, live);
    catalog_plan_block_id(slice_cstr(plan), TENANT, of_plan);
    catalog_build_block_id(slice_cstr(build), TENANT, of_build);
    put(&g, orphan, "data.parquet");
    put(&g, in_work, "data.parquet");
    put(&g, of_plan, "data.parquet");
    put(&g, of_build, "bloom-0");
    ok(objstore_put(g.store, slice_cstr(build), SLICE("{\"segments\":[\"gone\"]}"), 0, 0, &err),
       &err);
    pass(&g, 23 * HOUR);
    put(&g, in_work, "bloom-0"); /* it goes on */
    turn(&g);
    assert_int_equal(objects_of(&g, orphan), 1); /* old, but not old enough */
    pass(&g, HOUR + NS_PER_S);
    turn(&g);
    assert_int_equal(objects_of(&g, orphan), 0);
    assert_int_equal(objects_of(&g, in_work), 2);
    assert_int_equal(objects_of(&g, of_build), 1);
    assert_int_equal(objects_of(&g, of_plan), 0); /* there is no such plan any more */
    assert_true(has_object(g.store, TENANT, live, "meta.json"));
    ok(objstore_delete(g.store, slice_cstr(build), 0, &err), &err);
    turn(&g);
    turn(&g);
    assert_int_equal(objects_of(&g, of_build), 0);
    stage_end(&g);
}

/* Our clock is a day ahead: the store's decides. */
static void a_wrong_clock_deletes_nothing_early(void **state)
{
    (void)state;
    static const uint8_t orphan[16] = {0xaa, 1};
    struct stage g;
    struct hand_clock ahead;
    struct peer p;
    struct err err = {0};
    uint8_t id[16];
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, 1, now(&g));
    poll_ok(&g.p);
    first_id(&g, id);
    ok(catalog_mark_compacted(g.p.c, TENANT, id, 0, &err), &err);
    put(&g, orphan, "data.parquet");
    clock_init(&ahead);
    ahead.ns = 25 * HOUR;
    peer_new(&p, g.store, &ahead.base);
    unsigned before = count_objects(g.store, TENANT);
    poll_ok(&p);
    round_ok(&p);
    assert_int_equal(count_objects(g.store, TENANT), before);
    peer_free(&p);
    stage_end(&g);
}

/* ---- the tenant index ---- */

static void read_index(struct stage *g, struct arena *a, struct tenant_index *pb,
                       struct tenant_index *json)
{
    struct buf body;
    struct err err = {0};
    buf_init(&body, 1 << 20);
    ok(objstore_get(g->store, SLICE("acme/" TENANT_INDEX_PB), 0, &body, &err), &err);
    ok(tenant_index_read_pb(buf_view(&body), a, pb, &err), &err);
    buf_reset(&body);
    ok(objstore_get(g->store, SLICE("acme/" TENANT_INDEX_JSON), 0, &body, &err), &err);
    ok(tenant_index_read_json(buf_view(&body), a, json, &err), &err);
    buf_clear(&body);
}

static void assert_index(struct stage *g, size_t live, size_t compacted, uint64_t created)
{
    struct tenant_index pb, json;
    struct arena *a = arena_new(1 << 20);
    read_index(g, a, &pb, &json);
    assert_int_equal(pb.live_count, live);
    assert_int_equal(json.live_count, live);
    assert_int_equal(pb.compacted_count, compacted);
    assert_int_equal(json.compacted_count, compacted);
    assert_true(pb.created_unix_ns == created && json.created_unix_ns == created);
    for (size_t i = 0; i < live; i++) {
        assert_memory_equal(pb.live[i].id, json.live[i].id, 16);
        assert_true(has_object(g->store, TENANT, pb.live[i].id, "meta.json"));
        assert_true(slice_eq(pb.live[i].tenant, TENANT));
        assert_true(pb.live[i].size > 0 && pb.live[i].total_objects == 10);
        assert_true(i == 0 || pb.live[i - 1].start_unix_ns <= pb.live[i].start_unix_ns);
    }
    for (size_t i = 0; i < compacted; i++) {
        assert_true(has_object(g->store, TENANT, pb.compacted[i].meta.id, "meta.compacted.json"));
        assert_true(pb.compacted[i].compacted_unix_ns >= T0);
        assert_int_equal(pb.compacted[i].meta.total_objects, 10);
    }
    arena_free(a);
}

static void the_index_says_what_there_is_and_is_written_when_that_changes(void **state)
{
    (void)state;
    struct stage g;
    struct peer other;
    uint8_t id[16];
    struct err err = {0};
    stage_set(&g);
    g.p.k->opts.tenant_index = true;
    for (uint32_t i = 0; i < 4; i++)
        write_blocks(g.store, TENANT, i, 1, now(&g) - i * HOUR);
    turn(&g);
    uint64_t created = now(&g);
    assert_index(&g, 4, 0, created);
    pass(&g, 300 * NS_PER_S);
    turn(&g);
    assert_index(&g, 4, 0, created); /* nothing has changed */

    /* Another process that has seen nothing of this writes nothing either. */
    peer_new(&other, g.store, &g.clock.base);
    other.k->opts.tenant_index = true;
    other.k->opts.block_bytes_max = 1;
    poll_ok(&other);
    round_ok(&other);
    assert_index(&g, 4, 0, created);

    first_id(&g, id);
    ok(catalog_mark_compacted(g.p.c, TENANT, id, 0, &err), &err);
    pass(&g, 300 * NS_PER_S);
    turn(&g);
    assert_index(&g, 3, 1, now(&g));

    /* Metas of what others have marked are read. */
    first_id(&g, id);
    ok(catalog_mark_compacted(other.c, TENANT, id, 0, &err), &err);
    peer_free(&other);
    peer_new(&other, g.store, &g.clock.base);
    other.k->opts.tenant_index = true;
    other.k->opts.block_bytes_max = 1;
    pass(&g, 300 * NS_PER_S);
    poll_ok(&other);
    round_ok(&other);
    assert_index(&g, 2, 2, now(&g));
    peer_free(&other);
    stage_end(&g);
}

static void the_index_of_an_empty_tenant_is_deleted(void **state)
{
    (void)state;
    struct stage g;
    uint8_t id[16];
    struct err err = {0};
    stage_set(&g);
    g.p.k->opts.tenant_index = true;
    write_blocks(g.store, TENANT, 0, 1, now(&g));
    turn(&g);
    first_id(&g, id);
    ok(catalog_mark_compacted(g.p.c, TENANT, id, 0, &err), &err);
    pass(&g, 2 * HOUR);
    turn(&g); /* deletes the block */
    turn(&g);
    assert_int_equal(count_objects(g.store, TENANT), 0);
    turn(&g);
    stage_end(&g);
}

static void an_index_that_cannot_be_read_is_written_anew(void **state)
{
    (void)state;
    struct stage g;
    struct err err = {0};
    stage_set(&g);
    g.p.k->opts.tenant_index = true;
    write_blocks(g.store, TENANT, 0, 2, now(&g));
    ok(objstore_put(g.store, SLICE("acme/" TENANT_INDEX_PB), SLICE("no index"), 0, 0, &err), &err);
    turn(&g);
    assert_index(&g, 2, 0, now(&g));
    stage_end(&g);
}

/* ---- a start with an index ---- */

static unsigned start_gets(struct stage *g, const struct scripted_step *steps, size_t count,
                           size_t blocks)
{
    const struct objstore_env env = {.clock = &g->clock.base};
    struct objstore *s;
    struct peer p;
    assert_int_equal(scripted_store_new(g->store, steps, count, &env, &s, NULL), 0);
    peer_new(&p, s, &g->clock.base);
    poll_ok(&p);
    unsigned gets = scripted_store_calls(s, OBJSTORE_OP_GET);
    assert_int_equal(seen(&p, g->store, TENANT, NULL), blocks);
    poll_ok(&p); /* looks at what was taken on trust */
    assert_int_equal(seen(&p, g->store, TENANT, NULL), blocks);
    peer_free(&p);
    objstore_free(s);
    return gets;
}

static void a_start_reads_the_index_instead_of_each_meta(void **state)
{
    (void)state;
    enum { BLOCKS = 1000 };
    struct stage g;
    struct err err = {0};
    stage_set(&g);
    write_blocks(g.store, TENANT, 0, BLOCKS, now(&g));
    assert_int_equal(start_gets(&g, NULL, 0, BLOCKS), 2 * BLOCKS); /* meta.json, the data's tail */
    g.p.k->opts.tenant_index = true;
    turn(&g);
    assert_int_equal(start_gets(&g, NULL, 0, BLOCKS), 1);
    /* The JSON when the protobuf is not there, or broken. */
    static const struct scripted_step cut = {.op = OBJSTORE_OP_GET,
                                             .nth = 1,
                                             .key_contains = TENANT_INDEX_PB,
                                             .action = SCRIPTED_CUT_BODY,
                                             .cut_at = 100};
    assert_int_equal(start_gets(&g, &cut, 1, BLOCKS), 2);
    ok(objstore_delete(g.store, SLICE("acme/" TENANT_INDEX_PB), 0, &err), &err);
    assert_int_equal(start_gets(&g, NULL, 0, BLOCKS), 1);
    /* Both broken: the metas. */
    static const struct scripted_step both = {.op = OBJSTORE_OP_GET,
                                              .key_contains = "index.",
                                              .action = SCRIPTED_CUT_BODY,
                                              .cut_at = 100};
    assert_int_equal(start_gets(&g, &both, 1, BLOCKS), 1 + 2 * BLOCKS);
    stage_end(&g);
}

static void an_old_index_decides_nothing(void **state)
{
    (void)state;
    struct stage g;
    struct err err = {0};
    uint8_t id[16];
    stage_set(&g);
    g.p.k->opts.tenant_index = true;
    write_blocks(g.store, TENANT, 0, 10, now(&g));
    turn(&g);
    first_id(&g, id);
    ok(catalog_mark_compacted(g.p.c, TENANT, id, 0, &err), &err);
    write_blocks(g.store, TENANT, 10, 4, now(&g));
    assert_int_equal(start_gets(&g, NULL, 0, 13), 1 + 2 * 4);
    stage_end(&g);
}

static void a_damaged_block_is_not_served_because_an_index_has_it(void **state)
{
    (void)state;
    struct stage g;
    struct err err = {0};
    struct buf key, body;
    struct peer p;
    uint8_t id[16], other[16];
    stage_set(&g);
    g.p.k->opts.tenant_index = true;
    write_blocks(g.store, TENANT, 0, 10, now(&g));
    turn(&g);
    first_id(&g, id);
    memcpy(other, g.p.c->shared.tenants.at[0]->blocks.at[5]->meta.id, 16);
    buf_init(&key, 4096);
    buf_init(&body, 1 << 20);
    /* One too short, which the listing shows; one with a broken end, which a read shows. */
    assert_int_equal(block_key(&key, TENANT, id, "data.parquet"), 0);
    ok(objstore_get(g.store, buf_view(&key), 0, &body, &err), &err);
    body.len--;
    ok(objstore_put(g.store, buf_view(&key), buf_view(&body), 0, 0, &err), &err);
    buf_reset(&key);
    buf_reset(&body);
    assert_int_equal(block_key(&key, TENANT, other, "data.parquet"), 0);
    ok(objstore_get(g.store, buf_view(&key), 0, &body, &err), &err);
    body.ptr[body.len - 1] ^= 1;
    ok(objstore_put(g.store, buf_view(&key), buf_view(&body), 0, 0, &err), &err);
    peer_new(&p, g.store, &g.clock.base);
    poll_ok(&p);
    assert_int_equal(seen(&p, g.store, TENANT, NULL), 9);
    poll_ok(&p);
    assert_int_equal(seen(&p, g.store, TENANT, NULL), 8);
    poll_ok(&p);
    assert_int_equal(seen(&p, g.store, TENANT, NULL), 8);
    peer_free(&p);
    buf_clear(&key);
    buf_clear(&body);
    stage_end(&g);
}

/* ---- taking turns ---- */

static void tenants_take_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct stage g;
    stage_set(&g);
    g.p.k->opts.inputs_min = g.p.k->opts.inputs_max = 2;
    g.p.k->opts.block_bytes_max = UINT64_MAX;
    for (size_t i = 0; i < 5; i++) {
        for (uint32_t n = 0; n < (i == 2 ? 40 : 2); n++)
            write_blocks(g.store, slice_cstr(names[i]), n, 1, now(&g) - (4 + n / 2 * 2) * HOUR);
    }
    poll_ok(&g.p);
    assert_true(round_ok(&g.p)); /* one merge for each, however much one has */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(seen(&g.p, g.store, slice_cstr(names[i]), NULL), i == 2 ? 39 : 1);
    assert_true(round_ok(&g.p));
    assert_int_equal(seen(&g.p, g.store, SLICE("c"), NULL), 38);
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(metrics_write(g.p.metrics, &text), 0);
    assert_int_equal(buf_u8(&text, 0), 0);
    assert_non_null(
        strstr((char *)text.ptr, "tempodb_compaction_outstanding_blocks{tenant=\"c\"} 36\n"));
    assert_non_null(strstr((char *)text.ptr, "tempodb_compaction_blocks_total{level=\"0\"} 12\n"));
    buf_clear(&text);
    stage_end(&g);
}

static void a_block_that_cannot_be_merged_holds_no_other_up(void **state)
{
    (void)state;
    struct stage g;
    struct err err = {0};
    struct buf key, body;
    uint8_t id[16];
    stage_set(&g);
    g.p.k->opts.block_bytes_max = UINT64_MAX;
    write_blocks(g.store, TENANT, 0, 6, now(&g) - 3 * HOUR);
    poll_ok(&g.p);
    first_id(&g, id);
    buf_init(&key, 4096);
    buf_init(&body, 1 << 20);
    assert_int_equal(block_key(&key, TENANT, id, "data.parquet"), 0);
    ok(objstore_get(g.store, buf_view(&key), 0, &body, &err), &err);
    memset(body.ptr + 4, 0xff, body.len / 2);
    ok(objstore_put(g.store, buf_view(&key), buf_view(&body), 0, 0, &err), &err);
    assert_false(round_ok(&g.p));
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 6);
    assert_int_equal(count_objects(g.store, SLICE(CATALOG_PLAN_PREFIX)), 0);
    assert_true(round_ok(&g.p));
    assert_int_equal(seen(&g.p, g.store, TENANT, NULL), 2);
    buf_clear(&key);
    buf_clear(&body);
    stage_end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_lives_for_its_retention_and_its_objects_an_hour_longer),
        cmocka_unit_test(late_spans_are_kept_as_long_as_others),
        cmocka_unit_test(an_end_in_the_far_future_keeps_nothing_for_ever),
        cmocka_unit_test(a_tenant_has_its_own_retention),
        cmocka_unit_test(who_is_disabled_touches_nothing),
        cmocka_unit_test(a_crash_while_deleting_leaves_no_live_block),
        cmocka_unit_test(orphans_go_only_when_they_are_surely_dead),
        cmocka_unit_test(a_wrong_clock_deletes_nothing_early),
        cmocka_unit_test(the_index_says_what_there_is_and_is_written_when_that_changes),
        cmocka_unit_test(the_index_of_an_empty_tenant_is_deleted),
        cmocka_unit_test(an_index_that_cannot_be_read_is_written_anew),
        cmocka_unit_test(a_start_reads_the_index_instead_of_each_meta),
        cmocka_unit_test(an_old_index_decides_nothing),
        cmocka_unit_test(a_damaged_block_is_not_served_because_an_index_has_it),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(a_block_that_cannot_be_merged_holds_no_other_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
