/* Two compactors with all their threads, a reader with its own, a writer: over a store that takes
 * its time. Each trace is in one block of each view, and in the end few blocks are left. For the
 * thread sanitizer as much as for the eye. */
#include "compact_support.h"

#include <time.h>
#include <unistd.h>

enum { BLOCKS = 80 };

static void run(struct peer *p)
{
    struct err err = {0};
    p->c->opts.segment_poll_ns = 3 * NS_PER_MS;
    p->c->opts.block_poll_ns = 1;
    p->c->opts.linger_ns = 3 * NS_PER_S;
    p->k->opts.cycle_ns = 5 * NS_PER_MS;
    p->k->opts.inputs_max = 2;
    p->k->opts.tenant_index = true;
    ok(catalog_start(p->c, &err), &err);
    ok(catalog_wait(p->c, DEADLINE, &err), &err);
}

/* All blocks that were there before are seen, and no trace twice. */
static size_t look(struct peer *reader, struct objstore *s, uint32_t traces)
{
    static uint8_t times[TRACES_MAX];
    struct err err = {0};
    ok(catalog_refresh(reader->c, DEADLINE, &err), &err);
    size_t blocks = seen(reader, s, TENANT, times);
    for (uint32_t i = 0; i < TRACES_MAX; i++) {
        if (times[i] != (i < traces))
            fail_msg("trace %u is there %u times, in %zu blocks", i, times[i], blocks);
    }
    return blocks;
}

static void threads_of_two_compactors_and_a_reader_agree(void **state)
{
    (void)state;
    const struct objstore_env env = quiet_env();
    static const struct scripted_step slow[] = {
        {.op = OBJSTORE_OP_GET, .action = SCRIPTED_DELAY, .delay_ms = 1},
        {.op = OBJSTORE_OP_PUT, .action = SCRIPTED_DELAY, .delay_ms = 1},
        {.op = OBJSTORE_OP_LIST, .action = SCRIPTED_DELAY, .delay_ms = 1}};
    struct objstore *memory = memory_store(), *store[2];
    struct peer k[2], reader;
    struct err err = {0};
    peer_new(&reader, memory, &clock_system);
    run(&reader);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(scripted_store_new(memory, slow, 3, &env, &store[i], &err), 0);
        peer_new(&k[i], store[i], &clock_system);
        run(&k[i]);
        ok(compactor_start(k[i].k, &err), &err);
    }
    uint64_t end = clock_unix_ns(&clock_system) - 30 * HOUR;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        write_blocks(memory, TENANT, i, 1, end);
        look(&reader, memory, (i + 1) * 10);
    }
    size_t blocks = BLOCKS;
    for (int i = 0; i < 3000 && blocks > BLOCKS / 4; i++) {
        blocks = look(&reader, memory, BLOCKS * 10);
        usleep(2000);
    }
    assert_in_range(blocks, 1, BLOCKS / 4);
    for (int i = 0; i < 2; i++) {
        compactor_stop(k[i].k);
        look(&k[i], memory, BLOCKS * 10);
        peer_free(&k[i]);
        objstore_free(store[i]);
    }
    look(&reader, memory, BLOCKS * 10);
    peer_free(&reader);
    objstore_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_of_two_compactors_and_a_reader_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
