/* Fairness: by cost between tenants, three to one between classes, in order within a tenant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <unistd.h>

#include "base/random.h"
#include "frontend/fair_pool.h"

struct item {
    struct fair_entry entry;
    char tenant;
    enum fair_class class;
    uint32_t number;
};

static struct item items[20000];

static bool push(struct fair_queue *q, uint32_t number, char tenant, enum fair_class class,
                 uint64_t cost)
{
    struct item *i = &items[number];
    *i = (struct item){{.cost = cost}, tenant, class, number};
    return fair_queue_push(q, slice_of(&tenant, 1), class, &i->entry);
}

static void a_busy_tenant_does_not_delay_another(void **state)
{
    (void)state;
    struct fair_queue q;
    fair_queue_init(&q, 100, 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(push(&q, i, 'a', FAIR_INTERACTIVE, 100));
    for (uint32_t i = 1000; i < 1005; i++)
        assert_true(push(&q, i, 'b', FAIR_INTERACTIVE, 100));
    int b = 0;
    for (int i = 0; i < 11; i++)
        b += ((struct item *)fair_queue_pop(&q))->tenant == 'b';
    assert_int_equal(b, 5);
    fair_queue_clear(&q);
}

static void shares_are_of_cost_not_of_number(void **state)
{
    (void)state;
    struct fair_queue q;
    uint64_t got[2] = {0};
    fair_queue_init(&q, 1000, 0);
    for (uint32_t i = 0; i < 10000; i++)
        push(&q, i, i % 2 ? 'b' : 'a', FAIR_BATCH, i % 2 ? 2500 : 100);
    while (got[0] + got[1] < 1000000) {
        const struct item *i = (struct item *)fair_queue_pop(&q);
        got[i->tenant == 'b'] += i->entry.cost;
    }
    assert_in_range(got[0], 490000, 510000);
    fair_queue_clear(&q);
}

static void classes_share_three_to_one(void **state)
{
    (void)state;
    struct fair_queue q;
    uint64_t got[FAIR_CLASSES] = {0};
    fair_queue_init(&q, 1000, 0);
    for (uint32_t i = 0; i < 8000; i++)
        push(&q, i, 'a', i % 2 ? FAIR_BATCH : FAIR_INTERACTIVE, 1000);
    for (int i = 0; i < 4000; i++)
        got[((struct item *)fair_queue_pop(&q))->class]++;
    assert_in_range(got[FAIR_INTERACTIVE], 2990, 3010);
    /* Alone, each gets everything; and one that comes back has no claim on what it missed. */
    fair_queue_clear(&q);
    for (uint32_t i = 0; i < 1000; i++)
        push(&q, i, 'a', FAIR_BATCH, 1000);
    for (int i = 0; i < 500; i++)
        assert_int_equal(((struct item *)fair_queue_pop(&q))->class, FAIR_BATCH);
    for (uint32_t i = 1000; i < 1500; i++)
        push(&q, i, 'a', FAIR_INTERACTIVE, 1000);
    int batch = 0;
    for (int i = 0; i < 400; i++)
        batch += ((struct item *)fair_queue_pop(&q))->class == FAIR_BATCH;
    assert_in_range(batch, 95, 105);
    fair_queue_clear(&q);
}

static void a_tenant_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct fair_queue q;
    fair_queue_init(&q, 1, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(push(&q, i, 'a', FAIR_INTERACTIVE, 1));
    assert_false(push(&q, 3, 'a', FAIR_INTERACTIVE, 1));
    assert_true(push(&q, 4, 'b', FAIR_INTERACTIVE, 1));
    (void)fair_queue_pop(&q);
    assert_true(push(&q, 5, 'a', FAIR_INTERACTIVE, 1));
    fair_queue_clear(&q);
}

static void nothing_is_lost_and_a_tenants_order_is_kept(void **state)
{
    (void)state;
    struct rng r = {5};
    for (int round = 0; round < 30; round++) {
        struct fair_queue q;
        uint32_t in = 0, out = 0, last[26][FAIR_CLASSES] = {0};
        fair_queue_init(&q, 1 + rng_below(&r, 5000), 0);
        while (out < 5000) {
            if (in < 5000 && rng_below(&r, 3)) {
                char tenant = (char)('a' + rng_below(&r, 26));
                assert_true(push(&q, in, tenant, (enum fair_class)rng_below(&r, 2),
                                 1 + rng_below(&r, rng_below(&r, 50) ? 1000 : UINT64_C(1) << 40)));
                in++;
                continue;
            }
            const struct item *i = (struct item *)fair_queue_pop(&q);
            if (!i) {
                assert_int_equal(in, out);
                assert_true(fair_queue_oldest_ns(&q) == UINT64_MAX);
                continue;
            }
            uint32_t *before = &last[i->tenant - 'a'][i->class];
            assert_true(i->number + 1 > *before);
            *before = i->number + 1;
            out++;
        }
        assert_int_equal(q.count, 0);
        assert_null(q.rounds[0].first);
        assert_null(q.rounds[1].first);
        fair_queue_clear(&q);
    }
}

static void an_entry_can_be_taken_out_from_anywhere(void **state)
{
    (void)state;
    struct rng r = {6};
    for (int round = 0; round < 200; round++) {
        struct fair_queue q;
        bool in[40];
        size_t count = 40;
        fair_queue_init(&q, 10, 0);
        for (uint32_t i = 0; i < 40; i++)
            in[i] =
                push(&q, i, (char)('a' + rng_below(&r, 4)), (enum fair_class)rng_below(&r, 2), 5);
        while (count) {
            uint32_t n = (uint32_t)rng_below(&r, 40);
            if (rng_below(&r, 2) && in[n]) {
                const char tenant = items[n].tenant;
                fair_queue_remove(&q, slice_of(&tenant, 1), items[n].class, &items[n].entry);
            } else {
                n = ((struct item *)fair_queue_pop(&q))->number;
            }
            assert_true(in[n]);
            in[n] = false;
            assert_int_equal(q.count, --count);
        }
        assert_null(fair_queue_pop(&q));
        assert_null(q.rounds[0].first);
        assert_null(q.rounds[1].first);
        fair_queue_clear(&q);
    }
}

/* ---- threads ---- */

struct work {
    struct fair_task task;
    _Atomic int *done;
    const _Atomic bool *go;
};

static void run(struct fair_task *task)
{
    struct work *w = (struct work *)task;
    while (!atomic_load(w->go))
        usleep(1000);
    (*w->done)++;
}

static void the_pool_runs_what_it_took(void **state)
{
    (void)state;
    static struct work works[64];
    _Atomic int done = 0;
    _Atomic bool go = false;
    struct fair_pool *p;
    struct err err;
    int taken = 0;
    uint64_t oldest;
    assert_int_equal(fair_pool_new("test", 3, 1, 20, &clock_system, &p, &err), 0);
    for (size_t i = 0; i < 64; i++) {
        works[i] = (struct work){.task.run = run, .done = &done, .go = &go};
        taken +=
            fair_pool_submit(p, i % 2 ? SLICE("a") : SLICE("b"), FAIR_BATCH, 1, &works[i].task);
    }
    assert_in_range(taken, 40, 43); /* 20 of each wait, and as many as there are threads run */
    assert_true(fair_pool_queued(p, &oldest) >= 40 - 3);
    assert_true(oldest <= clock_mono_ns(&clock_system));
    atomic_store(&go, true);
    fair_pool_free(p);
    assert_int_equal(done, taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_busy_tenant_does_not_delay_another),
        cmocka_unit_test(shares_are_of_cost_not_of_number),
        cmocka_unit_test(classes_share_three_to_one),
        cmocka_unit_test(a_tenant_has_a_limit_of_its_own),
        cmocka_unit_test(nothing_is_lost_and_a_tenants_order_is_kept),
        cmocka_unit_test(an_entry_can_be_taken_out_from_anywhere),
        cmocka_unit_test(the_pool_runs_what_it_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
