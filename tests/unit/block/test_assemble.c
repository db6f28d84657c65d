/* Columns to spans and back. Tempo's own blocks are the measure: what is assembled from one and
 * shredded again must be the same 103 columns. */
#include "bend_support.h"
#include "shred_support.h"

/* ---- Tempo's blocks ---- */

/* Entries of one row of a column with repetition levels: [*first, *end), values from *value on. */
struct row_cursor {
    uint32_t first, end, value;
};

static void next_row(const struct column *c, struct row_cursor *at)
{
    at->first = at->end;
    for (uint32_t i = at->first; i < c->entries && (i == at->first || c->rep[i] != 0); i++)
        at->end = i + 1;
}

/* ServiceStats is a map: the order of its entries means nothing. Keys are unique, so equal sizes
 * and each of one found in the other is enough. */
static void stats_are_the_same(const struct column *a, const struct column *b, const char *what)
{
    struct row_cursor x = {0}, y = {0};
    const int key = BLOCK_STATS_SERVICE, spans = BLOCK_STATS_SPANS, errors = BLOCK_STATS_ERRORS;
    assert_int_equal(a[key].entries, b[key].entries);
    for (uint32_t row = 0; row < a[key].rows; row++) {
        next_row(&a[key], &x);
        next_row(&b[key], &y);
        assert_int_equal(x.end, y.end);
        for (uint32_t i = x.first; i < x.end; i++) {
            uint32_t same = 0;
            for (uint32_t k = y.first; k < y.end; k++)
                same += slice_eq(column_bytes(&a[key], i), column_bytes(&b[key], k)) &&
                        a[spans].v.i32[i] == b[spans].v.i32[k] &&
                        a[errors].v.i32[i] == b[errors].v.i32[k];
            if (same != 1)
                fail_msg("%s, row %u: service \"%.*s\" differs", what, row,
                         SLICE_ARGS(column_bytes(&a[key], i)));
        }
    }
    for (int i = key; i <= errors; i++) {
        assert_memory_equal(a[i].rep, b[i].rep, a[i].entries);
        assert_memory_equal(a[i].def, b[i].def, a[i].entries);
    }
}

static void dictionary_has_first_appearances(const struct column *c, int leaf)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < c->values; i++) {
        if (c->v.idx[i] > seen)
            fail_msg("%s: value %u uses entry %u of %u seen", block_leaves[leaf].path, i,
                     c->v.idx[i], seen);
        seen += c->v.idx[i] == seen;
    }
    assert_int_equal(seen, c->dict_count);
}

static void columns_are_the_same(const struct column *have, const struct column *want,
                                 const char *what)
{
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        if (i >= BLOCK_STATS_SERVICE && i <= BLOCK_STATS_ERRORS)
            continue;
        if (!column_same(&have[i], &want[i]))
            fail_msg("%s: column %s differs (%u of %u entries, %u of %u values)", what,
                     block_leaves[i].path, have[i].entries, want[i].entries, have[i].values,
                     want[i].values);
        assert_int_equal(have[i].has_dict, block_leaves[i].dict);
        if (have[i].has_dict)
            dictionary_has_first_appearances(&have[i], i);
    }
    stats_are_the_same(have, want, what);
}

static void assemble(const struct column *columns, const struct block_meta *meta, uint32_t first,
                     uint32_t count, struct arena *a, struct span_batch *out)
{
    struct err err = {0};
    if (block_assemble(columns, meta->dedicated, meta->dedicated_count, first, count, a, out,
                       &err) < 0)
        fail_msg("%s", err.msg);
}

static void every_tempo_block_assembles_and_shreds_to_its_own_columns(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)512 << 20);
        struct parquet_file *f;
        struct err err = {0};
        if (file_open(file, a, &f, &err) < 0)
            fail_msg("%s: %s", tempo_blocks[b], err.msg);
        struct block_meta meta = meta_beside(tempo_blocks[b], a);
        struct shredder *s = shredder_make(meta.dedicated, meta.dedicated_count);
        struct span_batch batch = {0};
        for (uint32_t g = 0; g < f->row_group_count; g++) {
            struct column *columns = columns_of(file, f, g, a);
            span_batch_reset(&batch);
            assemble(columns, &meta, 0, columns[0].rows, a, &batch);
            assert_int_equal(shredder_reset(s, meta.dedicated, meta.dedicated_count, &err), 0);
            shred_batch(s, &batch);
            assert_int_equal(shredder_rows(s), columns[0].rows);
            assert_int_equal(shredder_spans(s), batch.spans.count);
            columns_are_the_same(shredder_columns(s), columns, tempo_blocks[b]);
        }
        span_batch_clear(&batch);
        shredder_free(s);
        arena_free(a);
        slice_free(file);
    }
}

static void rows_one_by_one_are_the_same_as_all_at_once(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS - 1; b++) { /* not the largest: seeking is linear */
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)512 << 20);
        struct parquet_file *f;
        struct err err = {0};
        assert_int_equal(file_open(file, a, &f, &err), 0);
        struct block_meta meta = meta_beside(tempo_blocks[b], a);
        struct span_batch all = {0}, each = {0};
        struct column *columns = columns_of(file, f, 0, a);
        assemble(columns, &meta, 0, columns[0].rows, a, &all);
        for (uint32_t row = 0; row < columns[0].rows; row++)
            assemble(columns, &meta, row, 1, a, &each);
        char why[200];
        if (!support_batches_equal(&all, &each, why))
            fail_msg("%s: %s", tempo_blocks[b], why);
        assert_int_equal(all.resources.count, each.resources.count);
        assert_int_equal(all.scopes.count, each.scopes.count);

        /* One row more than there is. */
        int rc = block_assemble(columns, NULL, 0, columns[0].rows, 1, a, &each, &err);
        assert_int_equal(rc, ERR_CORRUPT);
        span_batch_clear(&all);
        span_batch_clear(&each);
        arena_free(a);
        slice_free(file);
    }
}

/* ---- random spans, and a second, obvious account of what comes back ---- */

static const struct block_dedicated dedicated[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("db.statement")},
    {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("a")},
    {.scope = BLOCK_SCOPE_SPAN, .type = BLOCK_DEDICATED_INT, .name = SLICE("retry.count")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.status_code")},
};
#define DEDICATED (sizeof dedicated / sizeof dedicated[0])

/* What goes to a column of its own, in the order in which it comes back. */
struct own_attr {
    const char *key;
    uint8_t type;
};
static const struct own_attr resource_own[] = {
    {"host.name", VALUE_STRING},
    {"service.name", VALUE_STRING},
    {"cluster", VALUE_STRING},
    {"namespace", VALUE_STRING},
    {"pod", VALUE_STRING},
    {"container", VALUE_STRING},
    {"k8s.cluster.name", VALUE_STRING},
    {"k8s.namespace.name", VALUE_STRING},
    {"k8s.pod.name", VALUE_STRING},
    {"k8s.container.name", VALUE_STRING},
};
static const struct own_attr span_own[] = {
    {"db.statement", VALUE_STRING},  {"http.status_code", VALUE_STRING},
    {"http.method", VALUE_STRING},   {"http.url", VALUE_STRING},
    {"http.status_code", VALUE_INT},
};

static bool is_own(const struct attr *a, const struct own_attr *own, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (a->value.type == own[i].type && slice_eq(a->key, slice_cstr(own[i].key)))
            return true;
    }
    return false;
}

/* Appends the attributes as they come back from a block. */
static struct range expected_attrs(struct span_batch *b, struct range attrs,
                                   const struct own_attr *own, size_t count)
{
    struct range out = {b->attrs.count, 0};
    for (uint32_t i = 0; i < attrs.count; i++) {
        struct attr a = b->attrs.at[attrs.first + i];
        if (!is_own(&a, own, count))
            assert_true(vec_push(&b->attrs, a));
    }
    for (size_t k = 0; k < count; k++) {
        struct attr last = {.key = {0}};
        for (uint32_t i = 0; i < attrs.count; i++) {
            struct attr a = b->attrs.at[attrs.first + i];
            if (is_own(&a, &own[k], 1))
                last = a;
        }
        bool lost = strcmp(own[k].key, "service.name") == 0 && last.value.str.len == 0;
        if (last.key.len && !lost)
            assert_true(vec_push(&b->attrs, last));
    }
    out.count = b->attrs.count - out.first;
    return out;
}

/* Turns the batch into what a block gives back. */
static void expect_back(struct span_batch *b)
{
    for (uint32_t i = 0; i < b->resources.count; i++) {
        struct range attrs = expected_attrs(b, b->resources.at[i].attrs, resource_own,
                                            sizeof resource_own / sizeof resource_own[0]);
        b->resources.at[i].attrs = attrs;
    }
    for (uint32_t i = 0; i < b->spans.count; i++) {
        struct range attrs =
            expected_attrs(b, b->spans.at[i].attrs, span_own, sizeof span_own / sizeof span_own[0]);
        b->spans.at[i].attrs = attrs;
    }
}

static void random_spans_come_back_from_columns(void **state)
{
    (void)state;
    struct rng r = {.state = 20240607};
    struct shredder *s = shredder_make(dedicated, DEDICATED);
    struct span_batch batch = {0}, back = {0};
    for (int round = 0; round < 60; round++) {
        struct arena *a = arena_new((size_t)64 << 20);
        struct err err = {0};
        span_batch_reset(&batch);
        span_batch_reset(&back);
        random_traces(&r, a, &batch, 1 + (uint32_t)rng_below(&r, 12));
        assert_int_equal(shredder_reset(s, dedicated, DEDICATED, &err), 0);
        shred_batch(s, &batch);
        const struct column *columns = shredder_columns(s);
        if (block_assemble(columns, dedicated, DEDICATED, 0, columns[0].rows, a, &back, &err) < 0)
            fail_msg("round %d: %s", round, err.msg);
        expect_back(&batch);
        char why[200];
        if (!support_batches_equal(&back, &batch, why))
            fail_msg("round %d: %s", round, why);
        assert_int_equal(back.resources.count, batch.resources.count);
        assert_int_equal(back.scopes.count, batch.scopes.count);
        for (uint32_t i = 0; i < back.spans.count; i++)
            assert_int_equal(back.spans.at[i].scope, batch.spans.at[i].scope);
        arena_free(a);
    }
    span_batch_clear(&batch);
    span_batch_clear(&back);
    shredder_free(s);
}

/* ---- what is not in the columns ---- */

static void leaves_that_a_file_lacks_are_read_as_absent(void **state)
{
    (void)state;
    struct rng r = {.state = 7};
    struct arena *a = arena_new((size_t)64 << 20);
    struct shredder *s = shredder_make(NULL, 0);
    struct span_batch batch = {0}, back = {0};
    struct err err = {0};
    random_traces(&r, a, &batch, 8);
    shred_batch(s, &batch);
    struct column columns[BLOCK_LEAVES];
    for (int missing = 0; missing < BLOCK_V4_LEAVES; missing++) {
        memcpy(columns, shredder_columns(s), sizeof columns);
        columns[missing] = (struct column){0};
        span_batch_reset(&back);
        int rc = block_assemble(columns, NULL, 0, 0, columns[missing == 0].rows, a, &back, &err);
        if (missing == BLOCK_SPAN_ID) {
            assert_int_equal(rc, ERR_CORRUPT);
            assert_non_null(strstr(err.msg, "Spans.list.element.SpanID"));
            continue;
        }
        if (rc < 0)
            fail_msg("without %s: %s", block_leaves[missing].path, err.msg);
        assert_int_equal(back.spans.count, batch.spans.count);
    }
    /* The ids alone are enough for the spans and where they belong. */
    memset(columns, 0, sizeof columns);
    columns[BLOCK_SPAN_ID] = shredder_columns(s)[BLOCK_SPAN_ID];
    span_batch_reset(&back);
    assert_int_equal(block_assemble(columns, NULL, 0, 0, 8, a, &back, &err), 0);
    assert_int_equal(back.spans.count, batch.spans.count);
    assert_int_equal(back.scopes.count, batch.scopes.count);
    assert_int_equal(back.spans.at[0].attrs.count + back.spans.at[0].events.count, 0);
    span_batch_clear(&batch);
    span_batch_clear(&back);
    shredder_free(s);
    arena_free(a);
}

/* One span with one attribute, as columns that a test bends. */
struct bent {
    struct arena *a;
    struct shredder *s;
    struct span_batch batch, back;
    struct column columns[BLOCK_LEAVES];
};

static struct bent bent_make(struct value v)
{
    struct bent t = {.a = arena_new((size_t)1 << 20), .s = shredder_make(NULL, 0)};
    struct attr attr = {SLICE("k"), v};
    assert_true(vec_push(&t.batch.resources, (struct resource){.present = true}));
    assert_true(vec_push(&t.batch.scopes, (struct scope){.present = true}));
    assert_true(vec_push(&t.batch.attrs, attr));
    struct span sp = {.span_id = SLICE("12345678"), .attrs = {0, 1}, .trace_id = {1}};
    assert_true(vec_push(&t.batch.spans, sp));
    shred_batch(t.s, &t.batch);
    memcpy(t.columns, shredder_columns(t.s), sizeof t.columns);
    return t;
}

static void bent_free(struct bent *t)
{
    span_batch_clear(&t->batch);
    span_batch_clear(&t->back);
    shredder_free(t->s);
    arena_free(t->a);
}

static void a_value_text_that_is_no_json_leaves_the_attribute_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "nonsense", "{\"stringValue\":", "[]", "\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct bent t = bent_make((struct value){.type = VALUE_BYTES, .str = SLICE("x")});
        struct err err = {0};
        t.columns[BLOCK_SPAN_ATTRS + BLOCK_ATTR_UNSUPPORTED].v.bytes[0] = slice_cstr(texts[i]);
        if (block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err) < 0)
            fail_msg("%s: %s", texts[i], err.msg);
        assert_int_equal(t.back.spans.at[0].attrs.count, 1);
        const struct attr *a = &t.back.attrs.at[t.back.spans.at[0].attrs.first];
        assert_true(slice_eq(a->key, SLICE("k")));
        assert_int_equal(a->value.type, VALUE_NONE);
        bent_free(&t);
    }
}

static void an_attribute_with_nothing_set_is_kept_without_a_value(void **state)
{
    (void)state;
    struct bent t = bent_make((struct value){.type = VALUE_BYTES, .str = SLICE("x")});
    struct column *c = &t.columns[BLOCK_SPAN_ATTRS + BLOCK_ATTR_UNSUPPORTED];
    c->def[0]--;
    c->values = 0;
    struct err err = {0};
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), 0);
    assert_int_equal(t.back.spans.at[0].attrs.count, 1);
    assert_int_equal(t.back.attrs.at[0].value.type, VALUE_NONE);
    bent_free(&t);
}

/* As deep as OTLP is taken: what was stored must be readable. */
static void the_deepest_value_comes_back(void **state)
{
    (void)state;
    for (int arrays = 0; arrays < 2; arrays++) {
        struct bent t = bent_make((struct value){.type = VALUE_NONE});
        struct value v = {.type = VALUE_INT, .i64 = 5};
        for (int depth = 0; depth < 64; depth++) {
            if (arrays) {
                assert_true(vec_push(&t.batch.values, v));
                v = (struct value){.type = VALUE_ARRAY, .list = {t.batch.values.count - 1, 1}};
            } else {
                struct attr item = {SLICE("k"), v};
                assert_true(vec_push(&t.batch.attrs, item));
                v = (struct value){.type = VALUE_KVLIST, .list = {t.batch.attrs.count - 1, 1}};
            }
        }
        t.batch.attrs.at[0].value = v;
        struct err err = {0};
        char why[200];
        assert_int_equal(shredder_reset(t.s, NULL, 0, &err), 0);
        shred_batch(t.s, &t.batch);
        if (block_assemble(shredder_columns(t.s), NULL, 0, 0, 1, t.a, &t.back, &err) < 0)
            fail_msg("%s", err.msg);
        if (!support_batches_equal(&t.batch, &t.back, why))
            fail_msg("%s", why);
        bent_free(&t);
    }
}

static void an_array_flag_makes_an_array_of_what_is_there(void **state)
{
    (void)state;
    struct bent t = bent_make((struct value){.type = VALUE_INT, .i64 = -7});
    t.columns[BLOCK_SPAN_ATTRS + BLOCK_ATTR_IS_ARRAY].v.b[0] = 1;
    struct err err = {0};
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), 0);
    const struct value *v = &t.back.attrs.at[0].value;
    assert_int_equal(v->type, VALUE_ARRAY);
    assert_int_equal(v->list.count, 1);
    assert_int_equal(t.back.values.at[v->list.first].i64, -7);

    /* And of nothing an empty one. */
    struct column *c = &t.columns[BLOCK_SPAN_ATTRS + BLOCK_ATTR_INT];
    c->def[0]--;
    c->values = 0;
    span_batch_reset(&t.back);
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), 0);
    v = &t.back.attrs.at[0].value;
    assert_int_equal(v->type, VALUE_ARRAY);
    assert_int_equal(v->list.count, 0);
    bent_free(&t);
}

static void trace_ids_of_other_lengths_become_sixteen_bytes(void **state)
{
    (void)state;
    static const struct {
        struct slice id;
        uint8_t want[16];
    } cases[] = {
        {SLICE(""), {0}},
        {SLICE("\x01\x02"), {[14] = 1, [15] = 2}},
        {SLICE("\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"),
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bent t = bent_make((struct value){.type = VALUE_NONE});
        struct err err = {0};
        t.columns[BLOCK_TRACE_ID].v.bytes[0] = cases[i].id;
        t.columns[BLOCK_SPAN_ID].v.bytes[0] = SLICE("abc");
        assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), 0);
        assert_memory_equal(t.back.spans.at[0].trace_id, cases[i].want, 16);
        assert_true(slice_eq(t.back.spans.at[0].span_id, SLICE("abc")));
        bent_free(&t);
    }
}

/* ---- hostile columns ---- */

static void bent_columns_are_refused_or_read_never_worse(void **state)
{
    (void)state;
    struct rng r = {.state = 99};
    struct shredder *s = shredder_make(dedicated, DEDICATED);
    struct span_batch batch = {0}, back = {0};
    struct arena *a = arena_new((size_t)64 << 20);
    random_traces(&r, a, &batch, 3);
    shred_batch(s, &batch);
    const struct column *good = shredder_columns(s);
    uint32_t refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct arena *scratch = arena_new((size_t)1 << 20);
        struct column columns[BLOCK_LEAVES], bent[3];
        int leaf[3];
        memcpy(columns, good, sizeof columns);
        uint32_t count = 1 + (uint32_t)rng_below(&r, 3);
        for (uint32_t i = 0; i < count; i++) {
            do {
                leaf[i] = (int)rng_below(&r, BLOCK_V4_LEAVES);
            } while ((i > 0 && leaf[i] == leaf[0]) || (i > 1 && leaf[i] == leaf[1]));
            bent[i] = column_copy(&good[leaf[i]]);
            columns[leaf[i]] = bent[i];
            bend_column(&r, &columns[leaf[i]]);
        }
        span_batch_reset(&back);
        struct err err = {0};
        uint32_t first = (uint32_t)rng_below(&r, 3);
        int rc =
            block_assemble(columns, dedicated, DEDICATED, first, 3 - first, scratch, &back, &err);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        if (rc < 0) {
            refused++;
            assert_non_null(strstr(err.msg, "column "));
        }
        for (uint32_t i = 0; i < count; i++)
            column_free(&bent[i]);
        arena_free(scratch);
    }
    assert_true(refused > 5000);
    span_batch_clear(&batch);
    span_batch_clear(&back);
    shredder_free(s);
    arena_free(a);
}

static void a_corrupt_column_is_named(void **state)
{
    (void)state;
    struct bent t = bent_make((struct value){.type = VALUE_STRING, .str = SLICE("v")});
    struct err err = {0};
    t.columns[BLOCK_SPAN_NAME].def[0] =
        1; /* shared by the required leaves of spans: the ids' too */
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), ERR_CORRUPT);
    t.columns[BLOCK_SPAN_NAME].def[0] = 3;

    struct column wrong = t.columns[BLOCK_SPAN_KIND];
    wrong.type = COLUMN_I32;
    struct column right = t.columns[BLOCK_SPAN_KIND];
    t.columns[BLOCK_SPAN_KIND] = wrong;
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "Spans.list.element.Kind"));
    t.columns[BLOCK_SPAN_KIND] = right;

    t.columns[BLOCK_EVENT_NAME].entries = 0; /* absent: fine */
    span_batch_reset(&t.back);
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), 0);
    t.columns[BLOCK_SPAN_NAME].values = 0;
    assert_int_equal(block_assemble(t.columns, NULL, 0, 0, 1, t.a, &t.back, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "Spans.list.element.Name"));
    bent_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tempo_block_assembles_and_shreds_to_its_own_columns),
        cmocka_unit_test(rows_one_by_one_are_the_same_as_all_at_once),
        cmocka_unit_test(random_spans_come_back_from_columns),
        cmocka_unit_test(leaves_that_a_file_lacks_are_read_as_absent),
        cmocka_unit_test(a_value_text_that_is_no_json_leaves_the_attribute_empty),
        cmocka_unit_test(an_attribute_with_nothing_set_is_kept_without_a_value),
        cmocka_unit_test(the_deepest_value_comes_back),
        cmocka_unit_test(an_array_flag_makes_an_array_of_what_is_there),
        cmocka_unit_test(trace_ids_of_other_lengths_become_sixteen_bytes),
        cmocka_unit_test(bent_columns_are_refused_or_read_never_worse),
        cmocka_unit_test(a_corrupt_column_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
