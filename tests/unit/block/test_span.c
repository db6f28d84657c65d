/* The span model: lists that grow side by side, grouping, order, shared span ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "block/span.h"

/* A small generator, so that a failure can be repeated. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* A span that came alone, in a fragment of its own. */
static struct span *add_span(struct span_batch *b, uint64_t trace_high, uint64_t trace_low,
                             const uint64_t *id, int32_t kind)
{
    struct span s = {
        .kind = kind, .span_id = slice_of(id, id ? 8 : 0), .scope = b->scopes.count};
    assert_true(vec_push(&b->scopes, (struct scope){.resource = b->resources.count}));
    assert_true(vec_push(&b->resources, (struct resource){0}));
    span_batch_end_fragment(b);
    memcpy(s.trace_id, &trace_high, 8);
    memcpy(s.trace_id + 8, &trace_low, 8);
    assert_true(vec_push(&b->spans, s));
    return &b->spans.at[b->spans.count - 1];
}

/* ---- runs ---- */

static void lists_that_grow_side_by_side_stay_contiguous(void **state)
{
    (void)state;
    struct span_batch b = {0};
    struct run runs[5] = {{{0}, 0}};
    uint32_t counts[5] = {0};
    uint64_t seed = 7;
    for (unsigned n = 0; n < 5000; n++) {
        unsigned r = next_random(&seed) % 5;
        struct attr *a = span_batch_attr(&b, &runs[r]);
        assert_non_null(a);
        assert_int_equal(a->value.type, VALUE_NONE);
        assert_int_equal(a->key.len, 0);
        a->value.type = VALUE_INT;
        a->value.i64 = r * 100000 + counts[r]++;
    }
    uint32_t held = 0;
    for (unsigned r = 0; r < 5; r++) {
        assert_int_equal(runs[r].range.count, counts[r]);
        for (uint32_t i = 0; i < counts[r]; i++)
            assert_int_equal(b.attrs.at[runs[r].range.first + i].value.i64, r * 100000 + i);
        held += counts[r];
    }
    /* What was left behind on the way is empty, and not more than a few times what is held. */
    uint32_t used = 0;
    for (uint32_t i = 0; i < b.attrs.count; i++)
        used += b.attrs.at[i].value.type != VALUE_NONE;
    assert_int_equal(used, held);
    assert_true(b.attrs.count < 5 * held);
    span_batch_clear(&b);
    assert_null(b.attrs.at);
}

static void a_list_alone_grows_in_place(void **state)
{
    (void)state;
    struct span_batch b = {0};
    struct run r = {0};
    for (unsigned n = 0; n < 100; n++) {
        struct value *v = span_batch_value(&b, &r);
        assert_non_null(v);
        *v = (struct value){.type = VALUE_INT, .i64 = n};
    }
    assert_int_equal(b.values.count, 100);
    assert_int_equal(r.range.first, 0);
    struct value *storage = b.values.at;
    span_batch_reset(&b);
    assert_int_equal(b.values.count, 0);
    assert_ptr_equal(b.values.at, storage);
    span_batch_clear(&b);
}

/* ---- grouping ---- */

/* What span_batch_group has to give, by comparing everything with everything. */
static uint32_t group_slowly(const struct span_batch *b, uint32_t *order)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->spans.count; i++) {
        const struct span *s = &b->spans.at[i];
        bool repeat = false;
        uint32_t at = n;
        for (uint32_t k = 0; k < n && !repeat; k++) {
            const struct span *o = &b->spans.at[order[k]];
            int c = memcmp(s->trace_id, o->trace_id, 16);
            repeat = c == 0 && s->kind == o->kind && slice_eq(s->span_id, o->span_id);
            if (c < 0 && at == n)
                at = k;
        }
        if (repeat)
            continue;
        memmove(order + at + 1, order + at, (n - at) * sizeof *order);
        order[at] = i;
        n++;
    }
    return n;
}

static void check_group(const struct span_batch *b)
{
    uint32_t *order = malloc((b->spans.count + 1) * sizeof *order);
    uint32_t *want = malloc((b->spans.count + 1) * sizeof *want);
    assert_non_null(order);
    assert_non_null(want);
    uint32_t n = group_slowly(b, want);
    assert_int_equal(span_batch_group(b, order), n);
    assert_memory_equal(order, want, n * sizeof *order);
    free(order);
    free(want);
}

static void grouping_agrees_with_comparing_everything(void **state)
{
    (void)state;
    /* traces, distinct ids, spans: many small traces, few large ones, one of all. */
    static const unsigned shapes[][3] = {{1, 4, 3},       {400, 9, 2000}, {3, 700, 2000},
                                         {1, 1500, 2000}, {2000, 2, 500}, {5, 40, 150}};
    uint64_t ids[1500], seed = 1;
    for (unsigned i = 0; i < 1500; i++)
        ids[i] = (uint64_t)next_random(&seed) << 32 | next_random(&seed);
    for (unsigned shape = 0; shape < sizeof shapes / sizeof shapes[0]; shape++) {
        /* Random ids, 64-bit ids (first half zero), and ids that differ in the first half only. */
        for (unsigned form = 0; form < 3; form++) {
            struct span_batch b = {0};
            for (unsigned n = 0; n < shapes[shape][2]; n++) {
                uint64_t t = ids[next_random(&seed) % shapes[shape][0] % 1500];
                uint64_t high = form == 1 ? 0 : t, low = form == 2 ? 0 : t * 31;
                const uint64_t *id = &ids[next_random(&seed) % shapes[shape][1]];
                add_span(&b, high, low, id, (int32_t)(next_random(&seed) % 3));
            }
            check_group(&b);
            span_batch_clear(&b);
        }
    }
}

static void what_came_together_is_no_repeat(void **state)
{
    (void)state;
    static const uint64_t ids[2] = {3, 4};
    /* In few spans, and in more than are compared one with another. */
    for (unsigned copies = 2; copies <= 40; copies += 38) {
        struct span_batch first = {0}, again = {0};
        for (unsigned n = 0; n < copies; n++) {
            add_span(&first, 1, 1, &ids[0], 2);
            add_span(&again, 1, 1, &ids[0], 2);
        }
        first.fragments = first.fragment_resources = 0;
        again.fragments = again.fragment_resources = 0;
        span_batch_end_fragment(&first); /* all of them are one fragment now */
        add_span(&again, 1, 1, &ids[1], 2);
        again.fragments = again.fragment_resources = 0;
        span_batch_end_fragment(&again);
        assert_true(span_batch_append(&first, &again));
        assert_int_equal(first.fragments, 2);
        uint32_t order[100];
        assert_int_equal(span_batch_group(&first, order), copies + 1);
        for (uint32_t i = 0; i < copies; i++)
            assert_int_equal(order[i], i);
        assert_int_equal(order[copies], 2 * copies); /* the one span that was new */
        span_batch_clear(&first);
        span_batch_clear(&again);
    }
}

static void an_empty_batch_groups_to_nothing(void **state)
{
    (void)state;
    struct span_batch b = {0};
    uint32_t order[1];
    assert_int_equal(span_batch_group(&b, order), 0);
    assert_int_equal(trace_sort(&b, order, 0), 0);
    uint8_t ids[1][8];
    assert_int_equal(trace_fix_shared_ids(&b, order, 0, ids), 0);
}

static void ids_of_odd_lengths_are_told_apart(void **state)
{
    (void)state;
    static const uint8_t bytes[12] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    struct span_batch b = {0};
    /* In few spans, and in more than are compared one with another. */
    for (unsigned copies = 1; copies <= 20; copies += 19) {
        span_batch_reset(&b);
        for (unsigned n = 0; n < copies; n++) {
            for (size_t len = 0; len <= 12; len += 4)
                add_span(&b, 5, 5, NULL, 1)->span_id = slice_of(bytes, len);
        }
        check_group(&b);
        uint32_t order[100];
        assert_int_equal(span_batch_group(&b, order), 4);
    }
    span_batch_clear(&b);
}

static void kinds_that_are_no_kinds_do_not_collide(void **state)
{
    (void)state;
    uint64_t id = 1;
    struct span_batch b = {0};
    for (int32_t kind = -50; kind < 50; kind++) {
        add_span(&b, 1, 2, &id, kind * 1000003);
        add_span(&b, 1, 2, &id, kind * 1000003);
    }
    check_group(&b);
    uint32_t order[200];
    assert_int_equal(span_batch_group(&b, order), 100);
    span_batch_clear(&b);
}

/* ---- order ---- */

static void add_scope(struct span_batch *b, uint32_t resource)
{
    assert_true(vec_push(&b->scopes, (struct scope){.resource = resource}));
}

static void add_timed(struct span_batch *b, uint32_t scope, uint64_t start, const uint64_t *id)
{
    struct span *s = add_span(b, 1, 1, id, 1);
    s->scope = scope;
    s->start_unix_ns = start;
}

static void spans_scopes_and_resources_go_by_their_first_span(void **state)
{
    (void)state;
    /* Bytewise order is that of big-endian numbers. */
    uint64_t ids[8];
    for (uint64_t i = 0; i < 8; i++)
        ids[i] = __builtin_bswap64(i);
    struct span_batch b = {0};
    assert_true(vec_push(&b.resources, (struct resource){0}));
    assert_true(vec_push(&b.resources, (struct resource){0}));
    add_scope(&b, 0);
    add_scope(&b, 1);
    add_scope(&b, 0);
    add_timed(&b, 0, 50, &ids[0]); /* 0 */
    add_timed(&b, 1, 20, &ids[1]); /* 1 */
    add_timed(&b, 2, 30, &ids[2]); /* 2 */
    add_timed(&b, 0, 40, &ids[5]); /* 3 */
    add_timed(&b, 0, 40, &ids[4]); /* 4: same time, smaller id */
    add_timed(&b, 1, 10, &ids[6]); /* 5: the earliest of all */
    add_timed(&b, 2, 90, &ids[7]); /* 6 */
    uint32_t spans[] = {0, 1, 2, 3, 4, 5, 6};
    assert_int_equal(trace_sort(&b, spans, 7), 0);
    const uint32_t want[] = {5, 1, 2, 6, 4, 3, 0};
    assert_memory_equal(spans, want, sizeof want);

    /* Sorted again, and a part of it. */
    assert_int_equal(trace_sort(&b, spans, 7), 0);
    assert_memory_equal(spans, want, sizeof want);
    uint32_t part[] = {6, 3, 0};
    assert_int_equal(trace_sort(&b, part, 3), 0);
    const uint32_t want_part[] = {3, 0, 6};
    assert_memory_equal(part, want_part, sizeof want_part);
    span_batch_clear(&b);
}

static void a_large_trace_is_in_order(void **state)
{
    (void)state;
    enum { SPANS = 3000, SCOPES = 40, RESOURCES = 7 };
    struct span_batch b = {0};
    static uint64_t ids[SPANS];
    static uint32_t spans[SPANS];
    uint64_t seed = 3;
    for (unsigned i = 0; i < RESOURCES; i++)
        assert_true(vec_push(&b.resources, (struct resource){0}));
    for (unsigned i = 0; i < SCOPES; i++)
        add_scope(&b, i % RESOURCES);
    for (unsigned i = 0; i < SPANS; i++) {
        ids[i] = (uint64_t)next_random(&seed) << 32 | i;
        add_timed(&b, next_random(&seed) % SCOPES, next_random(&seed) % 500, &ids[i]);
        spans[i] = i;
    }
    assert_int_equal(trace_sort(&b, spans, SPANS), 0);

    uint64_t scope_start[SCOPES], resource_start[RESOURCES];
    bool scope_seen[SCOPES] = {false}, resource_seen[RESOURCES] = {false};
    uint32_t before_scope = UINT32_MAX, before_resource = UINT32_MAX;
    uint64_t last_scope_start = 0, last_resource_start = 0;
    for (unsigned i = 0; i < SPANS; i++) {
        const struct span *s = &b.spans.at[spans[i]];
        uint32_t resource = b.scopes.at[s->scope].resource;
        if (resource != before_resource) {
            assert_false(resource_seen[resource]); /* one run each */
            resource_seen[resource] = true;
            resource_start[resource] = s->start_unix_ns;
            assert_true(s->start_unix_ns >= last_resource_start);
            last_resource_start = s->start_unix_ns;
            last_scope_start = 0;
        }
        if (s->scope != before_scope) {
            assert_false(scope_seen[s->scope]);
            scope_seen[s->scope] = true;
            scope_start[s->scope] = s->start_unix_ns;
            assert_true(s->start_unix_ns >= last_scope_start);
            last_scope_start = s->start_unix_ns;
        } else {
            const struct span *p = &b.spans.at[spans[i - 1]];
            assert_true(p->start_unix_ns <= s->start_unix_ns);
            if (p->start_unix_ns == s->start_unix_ns)
                assert_true(slice_cmp(p->span_id, s->span_id) < 0);
        }
        assert_true(scope_start[s->scope] >= resource_start[resource]);
        before_scope = s->scope;
        before_resource = resource;
    }
    span_batch_clear(&b);
}

/* ---- shared ids ---- */

#define SERVER 2
#define CLIENT 3

static uint64_t id_of(struct slice id)
{
    uint64_t v = 0;
    assert_true(id.len == 8 || id.len == 0);
    if (id.len)
        memcpy(&v, id.ptr, 8);
    return __builtin_bswap64(v);
}

static struct span *add_child(struct span_batch *b, const uint64_t *id, const uint64_t *parent,
                              int32_t kind)
{
    struct span *s = add_span(b, 1, 1, id, kind);
    s->parent_span_id = slice_of(parent, parent ? 8 : 0);
    return s;
}

static void a_server_span_with_its_clients_id_gets_a_new_one(void **state)
{
    (void)state;
    /* Ids 1 and 3 are taken, so the new one is 2. */
    uint64_t root = __builtin_bswap64(1), shared = __builtin_bswap64(7),
             taken = __builtin_bswap64(3), child = __builtin_bswap64(9);
    struct span_batch b = {0};
    add_child(&b, &root, NULL, SERVER);
    add_child(&b, &shared, &root, CLIENT);
    add_child(&b, &shared, &root, SERVER);
    add_child(&b, &child, &shared, 1);
    add_child(&b, &taken, &child, SERVER);
    const uint32_t spans[] = {0, 1, 2, 3, 4};
    uint8_t ids[5][8];
    assert_int_equal(trace_fix_shared_ids(&b, spans, 5, ids), 0);
    const uint64_t want[5][2] = {{1, 0}, {7, 1}, {2, 7}, {9, 2}, {3, 9}};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(id_of(b.spans.at[i].span_id), want[i][0]);
        assert_int_equal(id_of(b.spans.at[i].parent_span_id), want[i][1]);
    }
    /* Nothing is shared any more. */
    assert_int_equal(trace_fix_shared_ids(&b, spans, 5, ids), 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(id_of(b.spans.at[i].span_id), want[i][0]);
    span_batch_clear(&b);
}

static void ids_shared_without_a_client_stay(void **state)
{
    (void)state;
    uint64_t id = __builtin_bswap64(7);
    struct span_batch b = {0};
    add_child(&b, &id, NULL, SERVER);
    add_child(&b, &id, &id, SERVER);
    add_child(&b, &id, &id, 1);
    const uint32_t spans[] = {0, 1, 2};
    uint8_t ids[3][8];
    assert_int_equal(trace_fix_shared_ids(&b, spans, 3, ids), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(id_of(b.spans.at[i].span_id), 7);
    assert_int_equal(id_of(b.spans.at[2].parent_span_id), 7);
    span_batch_clear(&b);
}

static void odd_ids_are_left_alone(void **state)
{
    (void)state;
    struct span_batch b = {0};
    add_child(&b, NULL, NULL, CLIENT);
    add_child(&b, NULL, NULL, SERVER);
    static const uint8_t short_id[3] = {1, 2, 3};
    add_child(&b, NULL, NULL, CLIENT)->span_id = slice_of(short_id, 3);
    add_child(&b, NULL, NULL, SERVER)->span_id = slice_of(short_id, 3);
    const uint32_t spans[] = {0, 1, 2, 3};
    uint8_t ids[4][8];
    assert_int_equal(trace_fix_shared_ids(&b, spans, 4, ids), 0);
    assert_int_equal(b.spans.at[1].span_id.len, 0);
    assert_int_equal(b.spans.at[3].span_id.len, 3);
    span_batch_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_that_grow_side_by_side_stay_contiguous),
        cmocka_unit_test(a_list_alone_grows_in_place),
        cmocka_unit_test(grouping_agrees_with_comparing_everything),
        cmocka_unit_test(what_came_together_is_no_repeat),
        cmocka_unit_test(an_empty_batch_groups_to_nothing),
        cmocka_unit_test(ids_of_odd_lengths_are_told_apart),
        cmocka_unit_test(kinds_that_are_no_kinds_do_not_collide),
        cmocka_unit_test(spans_scopes_and_resources_go_by_their_first_span),
        cmocka_unit_test(a_large_trace_is_in_order),
        cmocka_unit_test(a_server_span_with_its_clients_id_gets_a_new_one),
        cmocka_unit_test(ids_shared_without_a_client_stay),
        cmocka_unit_test(odd_ids_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
