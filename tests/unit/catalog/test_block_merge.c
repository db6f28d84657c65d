/* Merging blocks: exact against a plain merge in memory, bounded in memory, all or nothing. */
#include "merge_support.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catalog/block_merge.h"
#include "rubato/shop.h"
#include "tests/support/objstore_support.h"
#include "tests/support/scripted_store.h"

#define INPUTS 4

static const struct block_dedicated dedicated[] = {
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("db.statement")},
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name")},
};

/* One that agrees with those in nothing but a name, whose scope is another. */
static const struct block_dedicated other[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("x")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("a")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("host.name")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("b")},
};

/* vParquet5: every scope, type and option. */
static const struct block_dedicated latest[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name"), .is_blob = true},
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("x"), .type = BLOCK_DEDICATED_INT},
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("cluster")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.method")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.status_code"), .type = BLOCK_DEDICATED_INT},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("d")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("a"), .is_array = true},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("b"), .type = BLOCK_DEDICATED_INT, .is_array = true},
    {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("a")},
    {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("b"), .type = BLOCK_DEDICATED_INT},
};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static int merge_some(struct objstore *s, const struct block_meta *metas, size_t count,
                      struct arena *a, struct block_meta *out, struct block_merge_stats *stats,
                      struct err *err)
{
    const struct block_meta *inputs[INPUTS];
    for (size_t i = 0; i < count; i++)
        inputs[i] = &metas[i];
    struct block_merge_opts opts = {.store = s,
                                    .inputs = inputs,
                                    .input_count = count,
                                    .row_group_bytes = 20000,
                                    .bloom_shard_bytes = 1024,
                                    .deadline_mono_ns = DEADLINE};
    memset(opts.id, 0xee, 16);
    return block_merge(&opts, a, out, stats, err);
}

/* ---- the plain merge ---- */

struct naive_span {
    const struct span_batch *batch;
    const struct span *span;
    uint64_t scope, resource; /* unique over the fragments */
    uint32_t position, scope_rank, resource_rank;
    int32_t left, right, parent;
};

struct naive_trace {
    struct naive_span spans[1024];
    uint32_t count;
    uint32_t fragments;
    struct slice root_service, root_name;
};

static void naive_add(struct naive_trace *t, const struct plain_block *b, const struct plain_row *r)
{
    const struct span_batch *batch = &b->batches[r->batch];
    uint32_t before = t->count;
    for (uint32_t i = 0; i < r->span_count; i++) {
        const struct span *s = &batch->spans.at[r->span_first + i];
        bool seen = false;
        for (uint32_t k = 0; k < before; k++)
            seen |= slice_eq(t->spans[k].span->span_id, s->span_id) &&
                    t->spans[k].span->kind == s->kind;
        if (seen)
            continue;
        assert_true(t->count < 1024);
        t->spans[t->count++] = (struct naive_span){
            .batch = batch,
            .span = s,
            .scope = ((uint64_t)t->fragments << 32) + s->scope,
            .resource = ((uint64_t)t->fragments << 32) + batch->scopes.at[s->scope].resource};
    }
    t->fragments++;
    if (t->root_service.len == 0)
        t->root_service = r->root_service;
    if (t->root_name.len == 0)
        t->root_name = r->root_name;
}

static bool time_before(const struct naive_span *a, const struct naive_span *b)
{
    if (a->span->start_unix_ns != b->span->start_unix_ns)
        return a->span->start_unix_ns < b->span->start_unix_ns;
    return slice_cmp(a->span->span_id, b->span->span_id) < 0;
}

static bool rank_before(const struct naive_span *a, const struct naive_span *b)
{
    if (a->resource_rank != b->resource_rank)
        return a->resource_rank < b->resource_rank;
    if (a->scope_rank != b->scope_rank)
        return a->scope_rank < b->scope_rank;
    return a->position < b->position;
}

static void insertion(struct naive_trace *t,
                      bool (*before)(const struct naive_span *, const struct naive_span *))
{
    for (uint32_t i = 1; i < t->count; i++) {
        struct naive_span s = t->spans[i];
        uint32_t at = i;
        for (; at > 0 && before(&s, &t->spans[at - 1]); at--)
            t->spans[at] = t->spans[at - 1];
        t->spans[at] = s;
    }
}

static void naive_sort(struct naive_trace *t)
{
    insertion(t, time_before);
    for (uint32_t i = 0; i < t->count; i++)
        t->spans[i].position = i;
    for (uint32_t i = 0; i < t->count; i++) {
        struct naive_span *s = &t->spans[i];
        s->scope_rank = s->resource_rank = i;
        for (uint32_t k = i; k > 0; k--) {
            if (t->spans[k - 1].scope == s->scope)
                s->scope_rank = k - 1;
            if (t->spans[k - 1].resource == s->resource)
                s->resource_rank = k - 1;
        }
    }
    insertion(t, rank_before);
}

/* docs/formats/block.md, 7, as it is written there. */
static int32_t naive_visit(struct naive_trace *t, const uint32_t *parents, uint32_t at,
                           int32_t parent, int32_t next)
{
    struct naive_span *s = &t->spans[at];
    s->left = next++;
    s->parent = parent;
    for (uint32_t i = 0; i < t->count; i++) {
        if (parents[i] == at && i != at)
            next = naive_visit(t, parents, i, s->left, next);
    }
    s->right = next++;
    return next;
}

static void naive_nested(struct naive_trace *t)
{
    uint32_t parents[1024];
    bool any_root = false;
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t same = 0, candidates = 0, last = 0;
        bool is_root = t->spans[i].span->parent_span_id.len == 0;
        const int32_t wanted = t->spans[i].span->kind == 2 ? 3 : 2;
        parents[i] = UINT32_MAX;
        any_root |= is_root;
        for (uint32_t k = 0; k < t->count; k++) {
            same += slice_eq(t->spans[k].span->span_id, t->spans[i].span->span_id);
            if (!is_root && slice_eq(t->spans[k].span->span_id, t->spans[i].span->parent_span_id)) {
                candidates++;
                last = k;
            }
        }
        if (same > 2)
            return;
        if (candidates == 1)
            parents[i] = last;
        for (uint32_t k = t->count; candidates == 2 && k > 0; k--) {
            const struct span *s = t->spans[k - 1].span;
            if (slice_eq(s->span_id, t->spans[i].span->parent_span_id) && s->kind == wanted)
                parents[i] = k - 1;
        }
    }
    int32_t next = 1;
    for (uint32_t i = 0; any_root && i < t->count; i++) {
        if (t->spans[i].span->parent_span_id.len == 0)
            next = naive_visit(t, parents, i, -1, next);
    }
}

/* ---- comparing ---- */

static int compare_keys(const void *a, const void *b)
{
    return slice_cmp(((const struct attr *)a)->key, ((const struct attr *)b)->key);
}

/* Attributes with a column of their own come back behind the others, so where versions or lists
 * differ their order does too. No element has a key twice. */
static void sort_attrs(struct span_batch *b)
{
    for (uint32_t i = 0; i < b->resources.count; i++)
        qsort(b->attrs.at + b->resources.at[i].attrs.first, b->resources.at[i].attrs.count,
              sizeof *b->attrs.at, compare_keys);
    for (uint32_t i = 0; i < b->spans.count; i++)
        qsort(b->attrs.at + b->spans.at[i].attrs.first, b->spans.at[i].attrs.count,
              sizeof *b->attrs.at, compare_keys);
    for (uint32_t i = 0; i < b->events.count; i++)
        qsort(b->attrs.at + b->events.at[i].attrs.first, b->events.at[i].attrs.count,
              sizeof *b->attrs.at, compare_keys);
}

/* Everything of a span, its resource and its scope. */
static void span_bytes(const struct span_batch *b, uint32_t index, struct buf *out)
{
    const struct trace one = {b, &index, 1};
    assert_int_equal(otlp_encode(&one, out), 0);
}

/* The last service.name that is a string, as the block has it. */
static struct slice service_of(const struct naive_span *s)
{
    const struct span_batch *b = s->batch;
    const struct resource *r = &b->resources.at[b->scopes.at[s->span->scope].resource];
    struct slice service = {0};
    for (uint32_t i = 0; i < r->attrs.count; i++) {
        const struct attr *a = &b->attrs.at[r->attrs.first + i];
        if (slice_eq(a->key, SLICE("service.name")) && a->value.type == VALUE_STRING)
            service = a->value.str;
    }
    return service;
}

/* One entry a service, in order of appearance. */
static void stats_match(const struct naive_trace *t, const struct plain_block *merged,
                        const struct plain_row *r)
{
    const struct column *c = merged->columns[r->batch];
    struct slice services[1024];
    int32_t spans[1024], errors[1024];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        struct slice service = service_of(&t->spans[i]);
        uint32_t at = 0;
        while (at < count && !slice_eq(services[at], service))
            at++;
        if (at == count) {
            services[count] = service;
            spans[count] = errors[count] = 0;
            count++;
        }
        spans[at]++;
        errors[at] += t->spans[i].span->status_code == 2;
    }
    assert_int_equal(r->stats_count, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = r->stats_first + i;
        assert_true(slice_eq(column_bytes(&c[BLOCK_STATS_SERVICE], at), services[i]));
        assert_int_equal(c[BLOCK_STATS_SPANS].v.i32[at], spans[i]);
        assert_int_equal(c[BLOCK_STATS_ERRORS].v.i32[at], errors[i]);
    }
}

static void row_matches(const struct naive_trace *t, const struct plain_block *merged,
                        const struct plain_row *r)
{
    const struct span_batch *b = &merged->batches[r->batch];
    const struct column *c = merged->columns[r->batch];
    struct buf want, have;
    buf_init(&want, SIZE_MAX / 2);
    buf_init(&have, SIZE_MAX / 2);
    assert_int_equal(r->span_count, t->count);
    uint64_t start = UINT64_MAX, end = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct naive_span *s = &t->spans[i];
        uint32_t at = r->span_first + i;
        buf_reset(&want);
        buf_reset(&have);
        span_bytes(s->batch, (uint32_t)(s->span - s->batch->spans.at), &want);
        span_bytes(b, at, &have);
        assert_true(slice_eq(buf_view(&want), buf_view(&have)));
        assert_int_equal(c[BLOCK_SPAN_NESTED_LEFT].v.i32[at], s->left);
        assert_int_equal(c[BLOCK_SPAN_NESTED_RIGHT].v.i32[at], s->right);
        assert_int_equal(c[BLOCK_SPAN_PARENT_ID].v.i32[at], s->parent);
        if (i > 0) {
            assert_int_equal(b->spans.at[at].scope != b->spans.at[at - 1].scope,
                             s->scope != t->spans[i - 1].scope);
        }
        start = s->span->start_unix_ns < start ? s->span->start_unix_ns : start;
        end = s->span->end_unix_ns > end ? s->span->end_unix_ns : end;
    }
    assert_int_equal(r->start, start);
    assert_int_equal(r->end, end);
    assert_int_equal(r->duration, end - start);
    assert_true(slice_eq(r->root_name, t->root_name));
    assert_true(slice_eq(r->root_service, t->root_service));
    stats_match(t, merged, r);
    buf_clear(&want);
    buf_clear(&have);
}

/* The merged block holds what the plain merge of the inputs makes, and nothing else. */
static void merged_matches(const struct plain_block *inputs, size_t count,
                           const struct plain_block *merged, struct block_merge_stats *stats)
{
    uint32_t at[INPUTS] = {0}, row = 0;
    static struct naive_trace t;
    uint64_t spans = 0, read = 0, combined = 0;
    for (;;) {
        const uint8_t *id = NULL;
        for (size_t i = 0; i < count; i++) {
            if (at[i] < inputs[i].row_count &&
                (!id || memcmp(inputs[i].rows[at[i]].id, id, 16) < 0))
                id = inputs[i].rows[at[i]].id;
        }
        if (!id)
            break;
        memset(&t, 0, sizeof t);
        uint32_t base = 0;
        for (size_t i = 0; i < count; i++) {
            if (at[i] == inputs[i].row_count || memcmp(inputs[i].rows[at[i]].id, id, 16) != 0)
                continue;
            const struct plain_row *r = &inputs[i].rows[at[i]++];
            naive_add(&t, &inputs[i], r);
            read += r->span_count;
            if (t.fragments == 1)
                base = t.count;
        }
        combined += t.fragments > 1;
        if (t.count > base)
            naive_sort(&t);
        naive_nested(&t);
        assert_true(row < merged->row_count);
        assert_memory_equal(merged->rows[row].id, id, 16);
        row_matches(&t, merged, &merged->rows[row++]);
        spans += t.count;
    }
    assert_int_equal(row, merged->row_count);
    assert_int_equal(stats->spans_written, spans);
    assert_int_equal(stats->spans_read, read);
    assert_int_equal(stats->spans_dropped, read - spans);
    assert_int_equal(stats->rows_combined, combined);
    assert_int_equal(stats->traces_written, row);
}

static void merging_is_exact(void **state)
{
    (void)state;
    struct rng rng = {20261124};
    for (int round = 0; round < 30; round++) {
        struct objstore *s = memory_store();
        struct arena *a = arena_new((size_t)1 << 20);
        struct block_meta metas[INPUTS], out;
        struct plain_block plain[INPUTS], merged;
        struct block_merge_stats stats;
        struct err err = {0};
        size_t count = 1 + rng_below(&rng, INPUTS);
        for (size_t i = 0; i < count; i++) {
            gen_block(s, &rng, SLICE("acme"), dedicated, round % 3 ? 2 : 0,
                      4 + (unsigned)rng_below(&rng, 60), 2000 + rng_below(&rng, 100000), &metas[i]);
            plain_read(s, &metas[i], &plain[i]);
        }
        ok(merge_some(s, metas, count, a, &out, &stats, &err), &err);
        plain_read(s, &out, &merged);
        merged_matches(plain, count, &merged, &stats);
        assert_int_equal(out.total_objects, merged.row_count);
        assert_int_equal(out.dedicated_count, round % 3 ? 2 : 0);
        for (size_t i = 0; i < count; i++) {
            assert_true(out.compaction_level > metas[i].compaction_level);
            assert_true(out.start_unix_ns <= metas[i].start_unix_ns);
            assert_true(out.end_unix_ns >= metas[i].end_unix_ns);
            plain_clear(&plain[i]);
        }
        plain_clear(&merged);
        arena_free(a);
        objstore_free(s);
    }
}

static bool lists(const struct block_meta *m, enum block_scope scope, const char *name)
{
    for (size_t i = 0; i < m->dedicated_count; i++) {
        if (m->dedicated[i].scope == scope && slice_eq(m->dedicated[i].name, slice_cstr(name)))
            return true;
    }
    return false;
}

/* What the new block's list says has a column there is nowhere among the ordinary attributes. */
static void dedicated_have_columns(const struct block_meta *m, const struct plain_block *b)
{
    for (uint32_t g = 0; g < b->file->row_group_count; g++) {
        const struct column *keys = &b->columns[g][BLOCK_SPAN_ATTRS + BLOCK_ATTR_KEY];
        const struct column *is_array = &b->columns[g][BLOCK_SPAN_ATTRS + BLOCK_ATTR_IS_ARRAY];
        const struct column *strings = &b->columns[g][BLOCK_SPAN_ATTRS + BLOCK_ATTR_STRING];
        uint32_t at = 0; /* values of keys and entries of strings, attribute by attribute */
        for (uint32_t i = 0, k = 0; i < keys->entries; i++) {
            bool is_attr = keys->def[i] == keys->def_max;
            bool is_string = strings->def[k] == strings->def_max;
            do
                k++;
            while (k < strings->entries && strings->rep[k] > keys->rep_max);
            if (!is_attr)
                continue;
            if (is_string && !is_array->v.b[at]) {
                struct slice name = column_bytes(keys, at);
                for (size_t d = 0; d < m->dedicated_count; d++)
                    assert_false(m->dedicated[d].scope == BLOCK_SCOPE_SPAN &&
                                 slice_eq(m->dedicated[d].name, name));
            }
            at++;
        }
        assert_int_equal(at, keys->values);
    }
}

static void merging_is_exact_over_versions_and_lists(void **state)
{
    (void)state;
    static const struct {
        const struct block_dedicated *list;
        size_t count;
    } of[] = {{dedicated, COUNT(dedicated)}, {other, COUNT(other)}, {NULL, 0}};
    struct rng rng = {20270101};
    for (int round = 0; round < 40; round++) {
        struct objstore *s = memory_store();
        struct arena *a = arena_new((size_t)1 << 30);
        struct block_meta metas[INPUTS], out;
        struct plain_block plain[INPUTS], merged;
        struct block_merge_stats stats;
        struct err err = {0};
        size_t count = 1 + rng_below(&rng, INPUTS);
        for (size_t i = 0; i < count; i++) {
            size_t l = rng_below(&rng, COUNT(of));
            unsigned ids_of = 4 + (unsigned)rng_below(&rng, 40);
            enum block_version version = BLOCK_VPARQUET3 + (enum block_version)rng_below(&rng, 3);
            if (version == BLOCK_VPARQUET4)
                gen_block(s, &rng, SLICE("acme"), of[l].list, of[l].count, ids_of,
                          2000 + rng_below(&rng, 100000), &metas[i]);
            else if (version == BLOCK_VPARQUET3)
                gen_old_block(s, &rng, version, of[l].list, of[l].count, ids_of, a, &metas[i]);
            else
                gen_old_block(s, &rng, version, latest, COUNT(latest), ids_of, a, &metas[i]);
            plain_read(s, &metas[i], &plain[i]);
        }
        ok(merge_some(s, metas, count, a, &out, &stats, &err), &err);
        plain_read(s, &out, &merged);
        dedicated_have_columns(&out, &merged);
        for (size_t i = 0; i < count; i++) {
            for (uint32_t g = 0; g < plain[i].file->row_group_count; g++)
                sort_attrs(&plain[i].batches[g]);
            bool v5 = metas[i].version == BLOCK_VPARQUET5;
            for (size_t k = 0; k < metas[i].dedicated_count && !v5; k++)
                assert_true(lists(&out, (enum block_scope)metas[i].dedicated[k].scope,
                                  (const char *)metas[i].dedicated[k].name.ptr));
            if (v5)
                assert_true(lists(&out, BLOCK_SCOPE_SPAN, "d"));
        }
        for (uint32_t g = 0; g < merged.file->row_group_count; g++)
            sort_attrs(&merged.batches[g]);
        assert_false(lists(&out, BLOCK_SCOPE_SPAN, "http.method"));
        assert_false(lists(&out, BLOCK_SCOPE_RESOURCE, "cluster"));
        merged_matches(plain, count, &merged, &stats);
        for (size_t i = 0; i < count; i++)
            plain_clear(&plain[i]);
        plain_clear(&merged);
        arena_free(a);
        objstore_free(s);
    }
}

/* ---- a block merged with its own copy, and other refusals ---- */

static void inputs_that_do_not_go_together_are_refused(void **state)
{
    (void)state;
    struct objstore *s = memory_store();
    struct arena *a = arena_new((size_t)1 << 20);
    struct rng rng = {7};
    struct block_meta metas[2], out;
    struct err err = {0};
    gen_block(s, &rng, SLICE("acme"), dedicated, 2, 10, 100000, &metas[0]);
    metas[1] = metas[0];
    assert_int_equal(merge_some(s, metas, 2, a, &out, NULL, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "with itself"));
    metas[1].replication_factor = 1;
    assert_int_equal(merge_some(s, metas, 2, a, &out, NULL, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "replication factors 0 and 1"));
    metas[1].tenant = SLICE("other");
    assert_int_equal(merge_some(s, metas, 2, a, &out, NULL, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "different tenants"));
    assert_int_equal(merge_some(s, metas, 0, a, &out, NULL, &err), ERR_INVALID);
    arena_free(a);
    objstore_free(s);
}

static bool block_exists(struct objstore *s)
{
    uint8_t id[16];
    struct buf key;
    struct objstore_info info;
    memset(id, 0xee, 16);
    buf_init(&key, 4096);
    block_key(&key, SLICE("acme"), id, "meta.json");
    int rc = objstore_head(s, buf_view(&key), DEADLINE, &info, NULL);
    buf_clear(&key);
    return rc == 0;
}

static void a_merge_that_fails_leaves_no_block(void **state)
{
    (void)state;
    const struct objstore_env env = quiet_env();
    struct rng rng = {8};
    for (unsigned nth = 1;; nth++) {
        struct objstore *inner = memory_store(), *s;
        struct arena *a = arena_new((size_t)1 << 20);
        struct block_meta metas[2], out;
        struct err err = {0};
        gen_block(inner, &rng, SLICE("acme"), dedicated, 2, 30, 3000, &metas[0]);
        gen_block(inner, &rng, SLICE("acme"), dedicated, 2, 30, 3000, &metas[1]);
        const struct scripted_step steps[] = {
            {.op = nth % 2 ? OBJSTORE_OP_GET : OBJSTORE_OP_PUT,
             .nth = 1 + nth / 2,
             .action = SCRIPTED_FAIL,
             .rc = ERR_IO},
        };
        assert_int_equal(scripted_store_new(inner, steps, 1, &env, &s, &err), 0);
        int rc = merge_some(s, metas, 2, a, &out, NULL, &err);
        bool there = block_exists(inner);
        objstore_free(s);
        objstore_free(inner);
        arena_free(a);
        assert_int_equal(there, rc == 0);
        if (rc < 0)
            assert_int_equal(rc, ERR_IO);
        else if (nth > 40)
            return;
    }
}

static int give_up(void *ctx, const struct block_merge_stats *so_far)
{
    unsigned *calls = ctx;
    assert_true(so_far->rows_read <= so_far->rows_total);
    return ++*calls == 3;
}

static void a_merge_can_be_given_up(void **state)
{
    (void)state;
    struct objstore *s = memory_store();
    struct arena *a = arena_new((size_t)1 << 20);
    struct rng rng = {9};
    struct block_meta meta, out;
    struct err err = {0};
    unsigned calls = 0;
    gen_block(s, &rng, SLICE("acme"), NULL, 0, 60, 3000, &meta);
    const struct block_meta *inputs[] = {&meta};
    struct block_merge_opts opts = {.store = s,
                                    .inputs = inputs,
                                    .input_count = 1,
                                    .deadline_mono_ns = DEADLINE,
                                    .progress = give_up,
                                    .progress_ctx = &calls};
    memset(opts.id, 0xee, 16);
    assert_int_equal(block_merge(&opts, a, &out, NULL, &err), ERR_CANCELLED);
    assert_int_equal(calls, 3);
    assert_false(block_exists(s));
    arena_free(a);
    objstore_free(s);
}

/* Bytes of an input changed one at a time, a sample of them: the merge says so, or makes a block.
 */
static void damaged_inputs_do_no_harm(void **state)
{
    (void)state;
    struct objstore *s = memory_store();
    struct rng rng = {10};
    struct block_meta meta, out;
    struct err err = {0};
    struct buf key, data;
    buf_init(&key, 4096);
    buf_init(&data, (size_t)1 << 26);
    gen_block(s, &rng, SLICE("acme"), dedicated, 2, 12, 3000, &meta);
    block_key(&key, meta.tenant, meta.id, "data.parquet");
    ok(objstore_get(s, buf_view(&key), DEADLINE, &data, &err), &err);
    unsigned refused = 0, tried = 0;
    for (size_t at = 0; at < data.len; at += 1 + rng_below(&rng, 60)) {
        struct arena *a = arena_new((size_t)1 << 20);
        uint8_t flip = (uint8_t)(1 + rng_below(&rng, 255));
        data.ptr[at] ^= flip;
        ok(objstore_put(s, buf_view(&key), buf_view(&data), 0, DEADLINE, &err), &err);
        int rc = merge_some(s, &meta, 1, a, &out, NULL, &err);
        if (rc < 0) {
            assert_true(rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_UNSUPPORTED);
            assert_non_null(strstr(err.msg, "-")); /* the block's id */
            refused++;
        }
        tried++;
        data.ptr[at] ^= flip;
        arena_free(a);
    }
    assert_true(refused > tried / 2);
    buf_clear(&key);
    buf_clear(&data);
    objstore_free(s);
}

/* ---- memory ---- */

enum { TRACES = 20000, LARGE_INPUTS = 4 };

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* In one row group, as Tempo cuts them: 20,000 traces of the shop are some 150,000 spans, unless
 * there are spans_most in each. */
static void large_block(struct objstore *s, unsigned number, unsigned traces, uint32_t spans_most,
                        struct block_meta *meta)
{
    struct err err = {0};
    struct block_writer *w;
    struct arena *a = arena_new((size_t)4 << 30);
    struct span_batch batch = {0};
    struct shop shop = {.rng = {number}};
    struct rng rng = {number * 1000};
    uint8_t(*ids)[16] = malloc(traces * sizeof *ids);
    uint32_t order[1000];
    for (unsigned i = 0; i < traces; i++) {
        uint64_t a8 = rng_next(&rng), b8 = rng_next(&rng);
        memcpy(ids[i], &a8, 8);
        memcpy(ids[i] + 8, &b8, 8);
    }
    qsort(ids, traces, sizeof *ids, compare_ids);
    const struct block_writer_opts opts = {.tenant = SLICE("large"),
                                           .id = {[6] = 0x40, [15] = (uint8_t)number},
                                           .row_group_bytes = UINT64_MAX,
                                           .bloom_false_positive = .01,
                                           .bloom_shard_bytes = 102400,
                                           .deadline_mono_ns = DEADLINE};
    ok(block_writer_new(s, &w, &err), &err);
    ok(block_writer_begin(w, &opts, &err), &err);
    for (unsigned i = 0; i < traces; i++) {
        span_batch_reset(&batch);
        assert_true(shop_trace(&shop, 1700000000000000000u + i * NS_PER_MS, a, &batch));
        for (uint32_t k = 0; k < batch.spans.count; k++) {
            memcpy(batch.spans.at[k].trace_id, ids[i], 16);
            order[k] = k;
        }
        uint32_t count = batch.spans.count < spans_most ? batch.spans.count : spans_most;
        const struct trace t = {&batch, order, count};
        ok(block_writer_add(w, &t, &err), &err);
    }
    ok(block_writer_finish(w, meta, &err), &err);
    assert_int_equal(meta->total_records, 1);
    block_writer_free(w);
    span_batch_clear(&batch);
    arena_free(a);
    free(ids);
}

/* ---- the peak of a merge ---- */

/* A merge in a process of its own, forked before its inputs are made: the peak of a process begins
 * with its parent's. */
struct measured {
    int go[2]; /* metas of the inputs, when they are there */
    pid_t pid;
    char dir[256];
    struct objstore *store; /* for the inputs */
    size_t inputs;
};

static struct objstore *local_store(const char *dir)
{
    const struct objstore_local_opts local = {.path = slice_cstr(dir)};
    const struct objstore_env env = quiet_env();
    struct objstore *s;
    struct err err = {0};
    ok(objstore_local_new(&local, &env, &s, &err), &err);
    return s;
}

/* In the child; exit status: megabytes, or 255. rounds: the output is merged again so often. */
static int merge_and_measure(const char *dir, const struct block_meta *metas, size_t count,
                             uint64_t row_group_bytes, unsigned rounds)
{
    struct objstore *s = local_store(dir);
    struct arena *a = arena_new((size_t)1 << 20);
    const struct block_meta *inputs[LARGE_INPUTS];
    struct block_meta out, in;
    struct err err = {0};
    for (size_t i = 0; i < count; i++)
        inputs[i] = &metas[i];
    for (unsigned round = 0; round < rounds; round++) {
        struct block_merge_opts opts = {.store = s,
                                        .inputs = inputs,
                                        .input_count = count,
                                        .row_group_bytes = row_group_bytes,
                                        .id = {0xee, (uint8_t)round},
                                        .deadline_mono_ns = DEADLINE};
        if (block_merge(&opts, a, &out, NULL, &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            return 255;
        }
        in = out;
        inputs[0] = &in;
        count = 1;
    }
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) < 0)
        return 255;
    return (int)(ru.ru_maxrss / 1024);
}

static void measure_begin(struct measured *m, size_t inputs, uint64_t row_group_bytes,
                          unsigned rounds)
{
    m->inputs = inputs;
    scratch_dir_make(m->dir);
    assert_int_equal(pipe(m->go), 0);
    m->pid = fork();
    assert_true(m->pid >= 0);
    if (m->pid == 0) {
        struct block_meta metas[LARGE_INPUTS];
        close(m->go[1]);
        for (size_t i = 0; i < inputs; i++) {
            if (read(m->go[0], &metas[i], sizeof metas[i]) != sizeof metas[i])
                _exit(255);
            metas[i].tenant = SLICE("large");
            metas[i].dedicated = NULL;
        }
        _exit(merge_and_measure(m->dir, metas, inputs, row_group_bytes, rounds));
    }
    m->store = local_store(m->dir);
}

static void measure_input(struct measured *m, const struct block_meta *meta)
{
    assert_int_equal(write(m->go[1], meta, sizeof *meta), sizeof *meta);
}

static int is_block_object(void *ctx, const struct objstore_list_item *item)
{
    static const char *const names[] = {"data.parquet", "bloom-", "index", "meta.json"};
    (void)ctx;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const uint8_t *at = memmem(item->key.ptr, item->key.len, names[i], strlen(names[i]));
        if (at && (i == 1 || at + strlen(names[i]) == item->key.ptr + item->key.len))
            return 0;
    }
    fail_msg("%.*s was left behind", SLICE_ARGS(item->key));
    return 1;
}

/* Megabytes at the peak. */
static int measure_end(struct measured *m)
{
    int status;
    close(m->go[0]);
    close(m->go[1]);
    assert_int_equal(waitpid(m->pid, &status, 0), m->pid);
    struct err err = {0};
    ok(objstore_list(m->store, SLICE("large/"), SLICE(""), false, is_block_object, NULL, DEADLINE,
                     &err),
       &err);
    objstore_free(m->store);
    scratch_dir_remove(m->dir);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 255);
    return WEXITSTATUS(status);
}

static void peak_below(int mb, int most)
{
#ifdef __SANITIZE_ADDRESS__ /* which keeps freed memory and shadows all of it */
    (void)mb;
    (void)most;
#else
    assert_in_range(mb, 1, most);
#endif
}

/* The parts of an upload to S3 are another 24 MB. */
static void memory_stays_below_128_mb(void **state)
{
    (void)state;
    struct measured m;
    struct block_meta meta;
    measure_begin(&m, LARGE_INPUTS, 0, 1);
    for (unsigned i = 0; i < LARGE_INPUTS; i++) {
        large_block(m.store, i + 1, TRACES, UINT32_MAX, &meta);
        measure_input(&m, &meta);
    }
    peak_below(measure_end(&m), 127 - 24);
}

/* A row group a trace, so that the file's metadata is what there is most of: 30 KB each, 60 MB when
 * it is written, and again 40 MB of footer when the block is read. What is true of 2,000 row groups
 * is true of any number: nothing but an index entry of 16 bytes is kept of one that is written. */
static void metadata_of_row_groups_is_not_held(void **state)
{
    (void)state;
    enum { ROW_GROUPS = 2000 };
    struct measured m;
    struct block_meta meta;
    measure_begin(&m, 1, 1, 2);
    large_block(m.store, 1, ROW_GROUPS, 1, &meta);
    measure_input(&m, &meta);
    peak_below(measure_end(&m), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stays_below_128_mb),
        cmocka_unit_test(metadata_of_row_groups_is_not_held),
        cmocka_unit_test(merging_is_exact),
        cmocka_unit_test(merging_is_exact_over_versions_and_lists),
        cmocka_unit_test(inputs_that_do_not_go_together_are_refused),
        cmocka_unit_test(a_merge_that_fails_leaves_no_block),
        cmocka_unit_test(a_merge_can_be_given_up),
        cmocka_unit_test(damaged_inputs_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
