/* Which blocks become one. */
#include "compact_support.h"

#include "compact/compact_select.h"

#define NOW (T0 + 100 * HOUR)
#define MIB ((uint64_t)1 << 20)
enum { MAX = 200 };

struct choice {
    struct catalog_block blocks[MAX];
    struct catalog_block *list[MAX];
    size_t count;
    struct compact_rules rules;
    struct arena *arena;
    struct compact_select s;
    size_t first, n; /* of the last run */
};

static struct choice *choice_new(void)
{
    struct choice *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->arena = arena_new(1 << 20);
    c->rules = (struct compact_rules){.now_unix_ns = NOW,
                                      .window_ns = HOUR,
                                      .objects_max = 1000000,
                                      .bytes_max = 10000 * MIB,
                                      .inputs_min = 2,
                                      .inputs_max = 8};
    return c;
}

static void choice_free(struct choice *c)
{
    arena_free(c->arena);
    free(c);
}

/* hours: how long before NOW it ends. */
static struct block_meta *add(struct choice *c, double hours, uint32_t level, uint64_t bytes)
{
    assert_true(c->count < MAX);
    struct catalog_block *b = &c->blocks[c->count];
    b->meta = (struct block_meta){.version = BLOCK_VPARQUET4,
                                  .end_unix_ns = NOW - (uint64_t)(hours * (double)HOUR),
                                  .compaction_level = level,
                                  .size = bytes,
                                  .total_objects = 10};
    b->meta.id[15] = (uint8_t)(c->count + 1);
    c->list[c->count++] = b;
    return &b->meta;
}

static bool next(struct choice *c)
{
    if (!c->s.items)
        assert_int_equal(compact_select_init(&c->s, &c->rules, c->list, c->count, c->arena, NULL),
                         0);
    return compact_select_next(&c->s, &c->first, &c->n);
}

static const struct block_meta *chosen(const struct choice *c, size_t i)
{
    return &c->s.items[c->first + i].block->meta;
}

static void nothing_comes_of_nothing_and_of_one(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    add(c, 50, 0, MIB);
    assert_false(next(c));
    choice_free(c);
}

static void few_blocks_of_an_open_window_wait_for_more(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    for (int i = 0; i < 7; i++)
        add(c, 0.01, 0, MIB);
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    for (int i = 0; i < 8; i++)
        add(c, 0.01, 0, MIB);
    assert_true(next(c));
    assert_int_equal(c->n, 8);
    assert_false(next(c));
    choice_free(c);
}

static void small_blocks_go_together_by_the_dozen(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    for (int i = 0; i < 100; i++)
        add(c, 0.01, 0, MIB);
    for (int i = 0; i < 3; i++) {
        assert_true(next(c));
        assert_int_equal(c->n, COMPACT_SMALL_INPUTS_MAX);
    }
    assert_false(next(c)); /* four are left, and more will come */
    choice_free(c);
    c = choice_new();
    for (int i = 0; i < 100; i++)
        add(c, 0.01, 0, 20 * MIB);
    assert_true(next(c));
    assert_int_equal(c->n, 8); /* 3 would be small, and 8 are few enough */
    choice_free(c);
}

static void a_closed_window_is_tidied_down_to_one(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    add(c, 5, 0, 2 * MIB);
    add(c, 5, 2, 60 * MIB);
    assert_true(next(c));
    assert_int_equal(c->n, 2);
    choice_free(c);
}

static void a_window_closes_a_while_after_its_end(void **state)
{
    (void)state;
    struct compact_rules r = {.now_unix_ns = 100 * HOUR, .window_ns = HOUR};
    assert_false(compact_window_closed(&r, 100));
    assert_false(compact_window_closed(&r, 99));
    r.now_unix_ns += 299 * NS_PER_S;
    assert_false(compact_window_closed(&r, 99));
    r.now_unix_ns += NS_PER_S;
    assert_true(compact_window_closed(&r, 99));
    r.window_ns = 4 * NS_PER_S; /* a short one after a quarter of itself */
    r.now_unix_ns = 400 * NS_PER_S;
    assert_false(compact_window_closed(&r, 99));
    r.now_unix_ns += NS_PER_S;
    assert_true(compact_window_closed(&r, 99));
    r.now_unix_ns = 0;
    assert_false(compact_window_closed(&r, 0));
}

static void windows_are_kept_apart(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    for (int i = 0; i < 20; i++)
        add(c, 5 + i, 0, MIB);
    assert_false(next(c));
    choice_free(c);
}

/* The end in meta.json is in whole seconds, rounded up: this process's own blocks, which have it
 * exactly, must fall into the same window. */
static void a_window_is_told_from_whole_seconds(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    add(c, 0, 0, MIB)->end_unix_ns = 80 * HOUR - 1;
    add(c, 0, 0, MIB)->end_unix_ns = 80 * HOUR;
    assert_true(next(c));
    choice_free(c);
}

static void what_cannot_be_merged_is_not_chosen_together(void **state)
{
    (void)state;
    static const struct block_dedicated one = {.name = {(const uint8_t *)"a", 1}};
    static const struct block_dedicated other = {.scope = BLOCK_SCOPE_RESOURCE,
                                                 .name = {(const uint8_t *)"a", 1}};
    struct choice *c = choice_new();
    add(c, 5, 0, MIB);
    add(c, 5, 0, MIB)->version = BLOCK_VPARQUET5;
    add(c, 5, 0, MIB)->replication_factor = 1;
    struct block_meta *m = add(c, 5, 0, MIB);
    m->dedicated = &one;
    m->dedicated_count = 1;
    m = add(c, 5, 0, MIB);
    m->dedicated = &other;
    m->dedicated_count = 1;
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    for (int i = 0; i < 6; i++) {
        m = add(c, 5, 0, MIB);
        m->dedicated = i % 2 ? &one : &other;
        m->dedicated_count = 1;
    }
    for (int i = 0; i < 2; i++) {
        assert_true(next(c));
        assert_int_equal(c->n, 3);
        assert_int_equal(chosen(c, 0)->dedicated[0].scope, chosen(c, 2)->dedicated[0].scope);
    }
    assert_false(next(c));
    choice_free(c);
}

static void the_limits_of_a_block_hold(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    c->rules.bytes_max = 10 * MIB;
    for (int i = 0; i < 9; i++)
        add(c, 5, 0, 3 * MIB);
    for (int i = 0; i < 3; i++) {
        assert_true(next(c));
        assert_int_equal(c->n, 3);
    }
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    c->rules.objects_max = 25;
    for (int i = 0; i < 4; i++)
        add(c, 5, 0, MIB);
    add(c, 5, 0, 2 * MIB)->total_objects = 26;
    assert_true(next(c));
    assert_int_equal(c->n, 2);
    assert_true(next(c));
    assert_int_equal(c->n, 2);
    assert_false(next(c));
    choice_free(c);
}

static void a_late_small_block_does_not_write_a_large_one_again(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    add(c, 50, 3, 1000 * MIB);
    add(c, 50, 0, MIB);
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    add(c, 50, 3, 1000 * MIB);
    add(c, 50, 3, 1100 * MIB);
    for (int i = 0; i < 3; i++)
        add(c, 50, 0, MIB);
    assert_true(next(c));
    assert_int_equal(c->n, 3);
    assert_int_equal(chosen(c, 2)->size, MIB);
    assert_true(next(c));
    assert_int_equal(c->n, 2);
    choice_free(c);
}

static void low_levels_and_new_windows_come_first_and_closed_ones_last(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    c->rules.inputs_max = 2;
    for (int i = 0; i < 2; i++) {
        add(c, 30, 0, 40 * MIB);
        add(c, 20, 0, 40 * MIB);
        add(c, 0.01, 1, 40 * MIB);
        add(c, 0.01, 0, 40 * MIB);
        add(c, -2, 0, 40 * MIB);
    }
    static const double order[] = {-2, 0.01, 0.01, 20, 30};
    for (size_t i = 0; i < 5; i++) {
        assert_true(next(c));
        assert_int_equal(c->n, 2);
        assert_int_equal(chosen(c, 0)->end_unix_ns, NOW - (uint64_t)(order[i] * (double)HOUR));
        assert_int_equal(chosen(c, 0)->compaction_level, i == 2);
    }
    assert_false(next(c));
    choice_free(c);
}

static void what_foreign_metas_claim_overflows_nothing(void **state)
{
    (void)state;
    struct choice *c = choice_new();
    for (int i = 0; i < 4; i++) {
        struct block_meta *m = add(c, 50, UINT32_MAX, UINT64_MAX);
        m->total_objects = i % 2 ? INT64_MAX : INT64_MIN;
        m->end_unix_ns = i % 2 ? UINT64_MAX : 0;
    }
    assert_false(next(c));
    choice_free(c);
    c = choice_new();
    c->rules.objects_max = c->rules.bytes_max = UINT64_MAX;
    for (int i = 0; i < 4; i++)
        add(c, 50, 0, UINT64_MAX / 2)->total_objects = INT64_MAX;
    assert_true(next(c));
    assert_int_equal(c->n, 2);
    choice_free(c);
}

/* Half a minute at a time through a day and a half: how many blocks there are at most, and how
 * often a byte is written. */
static void a_day_of_blocks_stays_few_and_is_written_few_times(void **state)
{
    (void)state;
    enum { STEPS = 36 * 120, BLOCK = 3 };
    struct choice *c = choice_new();
    uint64_t written = 0, most = 0;
    struct arena *a = arena_new(1 << 20);
    for (int step = 0; step < STEPS; step++) {
        c->rules.now_unix_ns = NOW + (uint64_t)step * 30 * NS_PER_S;
        struct block_meta *m = add(c, 0, 0, BLOCK * MIB);
        m->end_unix_ns = c->rules.now_unix_ns;
        for (;;) {
            struct compact_select s;
            size_t first, n;
            arena_reset(a);
            assert_int_equal(compact_select_init(&s, &c->rules, c->list, c->count, a, NULL), 0);
            if (!compact_select_next(&s, &first, &n))
                break;
            struct block_meta made = s.items[first].block->meta;
            made.size = 0;
            for (size_t i = first; i < first + n; i++) {
                const struct block_meta *in = &s.items[i].block->meta;
                made.size += in->size;
                if (in->end_unix_ns > made.end_unix_ns)
                    made.end_unix_ns = in->end_unix_ns;
                if (in->compaction_level > made.compaction_level)
                    made.compaction_level = in->compaction_level;
                s.items[i].block->refs = 1; /* gone */
            }
            made.compaction_level++;
            written += made.size;
            struct catalog_block kept[MAX];
            size_t left = 0;
            for (size_t i = 0; i < c->count; i++) {
                if (!c->blocks[i].refs)
                    kept[left++] = c->blocks[i];
            }
            memset(&kept[left], 0, sizeof kept[left]);
            kept[left++].meta = made;
            memcpy(c->blocks, kept, left * sizeof kept[0]);
            c->count = left;
        }
        if (c->count > most)
            most = c->count;
    }
    /* One for each hour that is over, and those of the hour. */
    assert_in_range(c->count, 36, 36 + 25);
    assert_in_range(most, 36, 36 + 25);
    uint64_t built = (uint64_t)STEPS * BLOCK * MIB;
    assert_in_range(written * 10 / built, 10, 35);
    arena_free(a);
    choice_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_comes_of_nothing_and_of_one),
        cmocka_unit_test(few_blocks_of_an_open_window_wait_for_more),
        cmocka_unit_test(small_blocks_go_together_by_the_dozen),
        cmocka_unit_test(a_closed_window_is_tidied_down_to_one),
        cmocka_unit_test(a_window_closes_a_while_after_its_end),
        cmocka_unit_test(windows_are_kept_apart),
        cmocka_unit_test(a_window_is_told_from_whole_seconds),
        cmocka_unit_test(what_cannot_be_merged_is_not_chosen_together),
        cmocka_unit_test(the_limits_of_a_block_hold),
        cmocka_unit_test(a_late_small_block_does_not_write_a_large_one_again),
        cmocka_unit_test(low_levels_and_new_windows_come_first_and_closed_ones_last),
        cmocka_unit_test(what_foreign_metas_claim_overflows_nothing),
        cmocka_unit_test(a_day_of_blocks_stays_few_and_is_written_few_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
