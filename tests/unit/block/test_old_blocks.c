/* vParquet3 and vParquet5 read: the same spans as from vParquet4, less what the format loses. The
 * blocks are made here after the description of the format; those under tests/data/blocks were made
 * so once and are never rewritten. */
#include "bend_support.h"
#include "shred_support.h"

#include "tests/support/old_block.h"

/* ---- reading ---- */

struct reading {
    struct arena *arena;
    struct parquet_file *file;
    const struct block_meta *meta;
    int leaf_of[BLOCK_LEAVES];
    struct slice data;
};

static int open_block(struct slice data, const struct block_meta *meta, struct arena *a,
                      struct reading *out, struct err *err)
{
    *out = (struct reading){.arena = a, .meta = meta, .data = data};
    int rc = file_open(data, a, &out->file, err);
    return rc < 0 ? rc : block_schema_bind(out->file, meta->version, out->leaf_of, err);
}

static int decode_group(struct reading *r, uint32_t group, struct column *columns, struct err *err)
{
    memset(columns, 0, BLOCK_LEAVES * sizeof *columns);
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        if (r->leaf_of[i] < 0)
            continue;
        int rc =
            chunk_of(r->data, r->file, group, (uint32_t)r->leaf_of[i], r->arena, &columns[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* All spans; one_by_one: each row by itself. */
static int read_spans(struct reading *r, bool one_by_one, struct span_batch *out, struct err *err)
{
    static struct column columns[BLOCK_LEAVES];
    int rc = 0;
    for (uint32_t g = 0; g < r->file->row_group_count && rc == 0; g++) {
        rc = decode_group(r, g, columns, err);
        uint32_t rows = columns[0].rows, step = one_by_one ? 1 : rows;
        for (uint32_t row = 0; row < rows && rc == 0; row += step)
            rc = block_assemble(columns, r->meta->dedicated, r->meta->dedicated_count, row, step,
                                r->arena, out, err);
    }
    return rc;
}

static void read_block(struct slice data, const struct block_meta *meta, bool one_by_one,
                       struct arena *a, struct span_batch *out)
{
    struct reading r;
    struct err err = {0};
    if (open_block(data, meta, a, &r, &err) < 0 || read_spans(&r, one_by_one, out, &err) < 0)
        fail_msg("vParquet%d: %s", (int)meta->version, err.msg);
}

/* ---- what a version loses ---- */

static void lose_bytes(struct span_batch *b, struct range attrs)
{
    for (uint32_t i = 0; i < attrs.count; i++) {
        struct value *v = &b->attrs.at[attrs.first + i].value;
        if (v->type == VALUE_BYTES)
            v->type = VALUE_NONE;
    }
}

/* vParquet3 has no place for the dropped counts of resources and scopes, for attributes of scopes,
 * and for byte strings in attributes of resources and spans. */
static void lose_as_v3(struct span_batch *b)
{
    for (uint32_t i = 0; i < b->resources.count; i++) {
        b->resources.at[i].dropped_attrs = 0;
        lose_bytes(b, b->resources.at[i].attrs);
    }
    for (uint32_t i = 0; i < b->scopes.count; i++) {
        b->scopes.at[i].dropped_attrs = 0;
        b->scopes.at[i].attrs = (struct range){0, 0};
    }
    for (uint32_t i = 0; i < b->spans.count; i++)
        lose_bytes(b, b->spans.at[i].attrs);
}

struct list {
    const struct block_dedicated *at;
    size_t count;
};

static const struct block_dedicated *dedicated_of(const struct list *l, enum block_scope scope,
                                                  struct slice key)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->at[i].scope == scope && slice_eq(l->at[i].name, key))
            return &l->at[i];
    }
    return NULL;
}

/* Whether all of a value is of the column's type. */
static bool goes_to(const struct span_batch *b, const struct block_dedicated *d,
                    const struct value *v)
{
    uint8_t type = d->type == BLOCK_DEDICATED_INT ? VALUE_INT : VALUE_STRING;
    bool all = v->type == type || v->type == VALUE_ARRAY;
    for (uint32_t i = 0; v->type == VALUE_ARRAY && i < v->list.count; i++)
        all &= b->values.at[v->list.first + i].type == type;
    return all;
}

static void sort_by_key(struct attr *at, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct attr attr = at[i];
        uint32_t k = i;
        for (; k > 0 && slice_cmp(at[k - 1].key, attr.key) > 0; k--)
            at[k] = at[k - 1];
        at[k] = attr;
    }
}

/* vParquet5 makes a scalar of an array of one in a dedicated column, nothing of an empty one, and
 * keeps the last of several values. (Elsewhere nothing is lost.) */
static struct range lose_attrs_v5(struct span_batch *b, struct range attrs, const struct list *l,
                                  enum block_scope scope)
{
    uint32_t kept = attrs.first;
    for (uint32_t i = attrs.first; i < attrs.first + attrs.count; i++) {
        struct attr attr = b->attrs.at[i];
        const struct block_dedicated *d = dedicated_of(l, scope, attr.key);
        bool own = d && goes_to(b, d, &attr.value), repeated = false;
        for (uint32_t k = i + 1; own && k < attrs.first + attrs.count; k++)
            repeated |=
                slice_eq(b->attrs.at[k].key, attr.key) && goes_to(b, d, &b->attrs.at[k].value);
        if (own && attr.value.type == VALUE_ARRAY && attr.value.list.count == 1)
            attr.value = b->values.at[attr.value.list.first];
        if (repeated || (own && attr.value.type == VALUE_ARRAY && attr.value.list.count == 0))
            continue;
        b->attrs.at[kept++] = attr;
    }
    return (struct range){attrs.first, kept - attrs.first};
}

/* The order of attributes: by key, where any order is right. An own attribute and a generic one of
 * the same key are told apart by what goes to columns, which comes last. */
static void sort_attrs(struct span_batch *b, struct range attrs, const struct list *l,
                       enum block_scope scope)
{
    struct attr *own = malloc((attrs.count + 1) * sizeof *own);
    uint32_t n = 0, owns = 0;
    assert_non_null(own);
    for (uint32_t i = attrs.first; i < attrs.first + attrs.count; i++) {
        struct attr attr = b->attrs.at[i];
        const struct block_dedicated *d = dedicated_of(l, scope, attr.key);
        bool service = scope == BLOCK_SCOPE_RESOURCE && slice_eq(attr.key, SLICE("service.name"));
        if ((d && goes_to(b, d, &attr.value)) || (service && attr.value.type == VALUE_STRING))
            own[owns++] = attr;
        else
            b->attrs.at[attrs.first + n++] = attr;
    }
    memcpy(&b->attrs.at[attrs.first + n], own, owns * sizeof *own);
    sort_by_key(&b->attrs.at[attrs.first], attrs.count);
    free(own);
}

static void sort_all(struct span_batch *b, const struct list *l)
{
    for (uint32_t i = 0; i < b->resources.count; i++)
        sort_attrs(b, b->resources.at[i].attrs, l, BLOCK_SCOPE_RESOURCE);
    for (uint32_t i = 0; i < b->spans.count; i++)
        sort_attrs(b, b->spans.at[i].attrs, l, BLOCK_SCOPE_SPAN);
    for (uint32_t i = 0; i < b->events.count; i++)
        sort_attrs(b, b->events.at[i].attrs, l, BLOCK_SCOPE_EVENT);
}

static void lose_as_v5(struct span_batch *b, const struct list *l)
{
    for (uint32_t i = 0; i < b->resources.count; i++)
        b->resources.at[i].attrs =
            lose_attrs_v5(b, b->resources.at[i].attrs, l, BLOCK_SCOPE_RESOURCE);
    for (uint32_t i = 0; i < b->spans.count; i++)
        b->spans.at[i].attrs = lose_attrs_v5(b, b->spans.at[i].attrs, l, BLOCK_SCOPE_SPAN);
    for (uint32_t i = 0; i < b->events.count; i++)
        b->events.at[i].attrs = lose_attrs_v5(b, b->events.at[i].attrs, l, BLOCK_SCOPE_EVENT);
}

static void assert_same(const struct span_batch *have, const struct span_batch *want,
                        const char *what)
{
    char why[200];
    if (!support_batches_equal(have, want, why))
        fail_msg("%s: %s", what, why);
    assert_int_equal(have->resources.count, want->resources.count);
    assert_int_equal(have->scopes.count, want->scopes.count);
}

/* want: the spans as vParquet4 gives them back; changed. */
static void read_as(const struct old_block *block, struct span_batch *want, const char *what)
{
    struct list list = {block->meta.dedicated, block->meta.dedicated_count};
    bool v5 = block->meta.version == BLOCK_VPARQUET5;
    if (v5) {
        lose_as_v5(want, &list);
        sort_all(want, &list);
    } else {
        lose_as_v3(want);
    }
    for (int one_by_one = 0; one_by_one < 2; one_by_one++) {
        if (one_by_one && block->data.len > 1000000)
            continue; /* seeking is linear */
        struct arena *a = arena_new((size_t)1 << 30);
        struct span_batch have = {0};
        read_block(block->data, &block->meta, one_by_one, a, &have);
        if (v5)
            sort_all(&have, &list);
        assert_same(&have, want, what);
        span_batch_clear(&have);
        arena_free(a);
    }
}

/* ---- Tempo's blocks in other versions ---- */

static void tempo_block(size_t i, struct arena *a, struct block_meta *meta, struct slice *file,
                        struct span_batch *out)
{
    *meta = meta_beside(tempo_blocks[i], a);
    *file = file_read(tempo_blocks[i]);
    read_block(*file, meta, false, a, out);
}

static void tempo_blocks_come_back_from(enum block_version version, const struct list *list)
{
    for (size_t i = 0; i < TEMPO_BLOCKS; i++) {
        struct arena *a = arena_new((size_t)2 << 30);
        struct block_meta meta;
        struct slice file;
        struct span_batch spans = {0};
        tempo_block(i, a, &meta, &file, &spans);
        struct old_block_opts opts = {
            .version = version,
            .tenant = "t",
            .dedicated = list ? list->at : meta.dedicated,
            .dedicated_count = list ? list->count : meta.dedicated_count,
            .row_group_rows = i < 3 ? 4 : 0,
        };
        struct old_block block;
        old_block_make(&opts, &spans, a, &block);
        read_as(&block, &spans, tempo_blocks[i]);
        span_batch_clear(&spans);
        slice_free(file);
        arena_free(a);
    }
}

static void tempo_blocks_come_back_from_vparquet3(void **state)
{
    (void)state;
    tempo_blocks_come_back_from(BLOCK_VPARQUET3, NULL);
}

static void tempo_blocks_come_back_from_vparquet5(void **state)
{
    (void)state;
    const struct list ours = {old_dedicated_v5, old_dedicated_v5_count};
    tempo_blocks_come_back_from(BLOCK_VPARQUET5, &ours);
}

static void tempo_blocks_come_back_from_vparquet5_as_tempo_dedicates(void **state)
{
    (void)state;
    const struct list tempos = {old_dedicated_tempo, old_dedicated_tempo_count}, none = {NULL, 0};
    tempo_blocks_come_back_from(BLOCK_VPARQUET5, &tempos);
    tempo_blocks_come_back_from(BLOCK_VPARQUET5, &none);
}

/* ---- random spans ---- */

static const struct block_dedicated random_v3[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("db.statement")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("enduser.id")},
};
static const struct block_dedicated random_v5[] = {
    {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("host.name")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("db.statement"), .is_blob = true},
    {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("a")},
    {.scope = BLOCK_SCOPE_SPAN, .type = BLOCK_DEDICATED_INT, .name = SLICE("retry.count")},
    {.scope = BLOCK_SCOPE_EVENT, .type = BLOCK_DEDICATED_INT, .name = SLICE("enduser.id")},
    {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.status_code")},
    {.scope = BLOCK_SCOPE_RESOURCE, .type = BLOCK_DEDICATED_INT, .name = SLICE("pod")},
};

static void random_spans_come_back(void **state)
{
    (void)state;
    struct rng r = {.state = 20260722};
    for (int round = 0; round < 60; round++) {
        bool v5 = round % 2;
        struct list list = {v5 ? random_v5 : random_v3, v5 ? sizeof random_v5 / sizeof *random_v5
                                                           : sizeof random_v3 / sizeof *random_v3};
        struct arena *a = arena_new((size_t)256 << 20);
        struct span_batch made = {0}, spans = {0};
        struct err err = {0};
        random_traces(&r, a, &made, 1 + (uint32_t)rng_below(&r, 12));
        size_t dedicated = v5 ? 0 : list.count;
        const struct column *v4 = old_columns_v4(&made, 0, made.spans.count, list.at, dedicated, a);
        assert_int_equal(block_assemble(v4, list.at, dedicated, 0, v4[0].rows, a, &spans, &err), 0);
        struct old_block_opts opts = {.version = v5 ? BLOCK_VPARQUET5 : BLOCK_VPARQUET3,
                                      .tenant = "t",
                                      .dedicated = list.at,
                                      .dedicated_count = list.count,
                                      .row_group_rows = (uint32_t)rng_below(&r, 4)};
        struct old_block block;
        old_block_make(&opts, &spans, a, &block);
        read_as(&block, &spans, v5 ? "random spans in vParquet5" : "random spans in vParquet3");
        span_batch_clear(&made);
        span_batch_clear(&spans);
        arena_free(a);
    }
}

/* ---- leaves ---- */

static void make_fixture(enum block_version version, const struct list *list, struct arena *a,
                         struct old_block *out)
{
    struct block_meta meta;
    struct slice file;
    struct span_batch spans = {0};
    tempo_block(1, a, &meta, &file, &spans);
    struct old_block_opts opts = {.version = version,
                                  .tenant = "t",
                                  .dedicated = list ? list->at : meta.dedicated,
                                  .dedicated_count = list ? list->count : meta.dedicated_count};
    old_block_make(&opts, &spans, a, out);
    span_batch_clear(&spans);
    slice_free(file);
}

/* Names of the file's leaves that nothing of ours is bound to, and how many of ours are. */
static uint32_t unbound(const struct reading *r, struct buf *names)
{
    uint32_t bound = 0;
    for (uint32_t i = 0; i < r->file->leaf_count; i++) {
        bool found = false;
        for (int k = 0; k < BLOCK_LEAVES; k++)
            found |= r->leaf_of[k] == (int)i;
        bound += found;
        if (!found)
            assert_int_equal(buf_printf(names, "%.*s ", SLICE_ARGS(r->file->leaves[i].path)), 0);
    }
    return bound;
}

static void all_leaves_are_bound_but_what_was_computed(void **state)
{
    (void)state;
    const struct list tempos = {old_dedicated_tempo, old_dedicated_tempo_count};
    const struct {
        enum block_version version;
        uint32_t leaves;
        const char *left;
    } cases[] = {
        {BLOCK_VPARQUET3, 76, ""},
        {BLOCK_VPARQUET4, 103, ""},
        {BLOCK_VPARQUET5, 92,
         "rs.ss.Spans.ChildCount rs.ss.Spans.StartTimeRounded15 rs.ss.Spans.StartTimeRounded60 "
         "rs.ss.Spans.StartTimeRounded300 rs.ss.Spans.StartTimeRounded3600 rs.ss.SpanCount "},
    };
    for (size_t i = 0; i < 3; i++) {
        struct arena *a = arena_new((size_t)64 << 20);
        struct old_block block;
        struct reading r;
        struct err err = {0};
        struct buf names;
        buf_init(&names, 4096);
        make_fixture(cases[i].version, i == 2 ? &tempos : NULL, a, &block);
        assert_int_equal(open_block(block.data, &block.meta, a, &r, &err), 0);
        assert_int_equal(r.file->leaf_count, cases[i].leaves);
        uint32_t bound = unbound(&r, &names);
        assert_int_equal(buf_u8(&names, 0), 0);
        assert_string_equal((const char *)names.ptr, cases[i].left);
        assert_int_equal(bound, cases[i].leaves - (i == 2 ? 6 : 0));
        buf_clear(&names);
        arena_free(a);
    }
}

static bool has_array(const struct column *c)
{
    for (uint32_t i = 0; i < c->entries; i++) {
        if (c->rep[i] == c->def_max)
            return true;
    }
    return false;
}

/* Or the tests above would show less than they seem to. */
static void the_fixture_has_every_kind_of_dedicated_column(void **state)
{
    (void)state;
    const struct list ours = {old_dedicated_v5, old_dedicated_v5_count};
    const int more = BLOCK_DEDICATED_MAX; /* ints stand behind the second ten strings */
    static struct column c[BLOCK_LEAVES];
    struct arena *a = arena_new((size_t)64 << 20);
    struct old_block block;
    struct reading r;
    struct err err = {0};
    make_fixture(BLOCK_VPARQUET5, &ours, a, &block);
    assert_int_equal(open_block(block.data, &block.meta, a, &r, &err), 0);
    assert_int_equal(decode_group(&r, 0, c, &err), 0);
    assert_true(has_array(&c[BLOCK_RESOURCE_DEDICATED + 2]));         /* res.arr */
    assert_true(has_array(&c[BLOCK_SPAN_DEDICATED + 1]));             /* http.url */
    assert_true(has_array(&c[BLOCK_EVENT_DEDICATED + 1]));            /* ev.arr */
    assert_true(has_array(&c[BLOCK_SPAN_DEDICATED_MORE + more + 1])); /* arr.int */
    assert_true(c[BLOCK_RESOURCE_DEDICATED_MORE + more].values > 0);  /* res.int */
    assert_true(c[BLOCK_EVENT_DEDICATED + BLOCK_DEDICATED_STRINGS].values > 0);
    assert_true(c[BLOCK_SPAN_DEDICATED_MORE].values > 0);    /* the eleventh string */
    assert_int_equal(c[BLOCK_SPAN_DEDICATED + 6].values, 0); /* arr.empty */
    int blob = r.leaf_of[BLOCK_SPAN_DEDICATED + 2];          /* db.statement */
    assert_int_equal(r.file->row_groups[0].chunks[blob].codec, PARQUET_ZSTD);
    assert_false(c[BLOCK_SPAN_DEDICATED + 2].has_dict);
    assert_true(c[BLOCK_SPAN_DEDICATED + 2].values > 0);
    assert_int_equal(c[BLOCK_SPAN_HTTP_METHOD].entries, 0);
    arena_free(a);
}

/* A file is not read as another version by mistake. */
static void a_file_of_another_version_is_refused(void **state)
{
    (void)state;
    static const enum block_version versions[] = {BLOCK_VPARQUET3, BLOCK_VPARQUET4,
                                                  BLOCK_VPARQUET5};
    for (int is = 0; is < 3; is++) {
        for (int said = 0; said < 3; said++) {
            struct arena *a = arena_new((size_t)64 << 20);
            struct old_block block;
            struct reading r;
            struct err err = {0};
            make_fixture(versions[is], NULL, a, &block);
            block.meta.version = versions[said];
            int rc = open_block(block.data, &block.meta, a, &r, &err);
            if ((is == said) != (rc == 0))
                fail_msg("vParquet%d read as vParquet%d: %d %s", versions[is], versions[said], rc,
                         err.msg);
            if (is != said)
                assert_non_null(strstr(err.msg, "column "));
            arena_free(a);
        }
    }
}

static void places_of_dedicated_columns_are_counted_by_scope_and_type(void **state)
{
    (void)state;
    struct block_places places = {0};
    struct block_dedicated d = {.scope = BLOCK_SCOPE_SPAN};
    for (int i = 0; i < BLOCK_DEDICATED_MAX; i++)
        assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_SPAN_DEDICATED + i);
    d.type = BLOCK_DEDICATED_INT;
    assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_SPAN_DEDICATED_MORE + 10);
    d.scope = BLOCK_SCOPE_RESOURCE;
    assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_RESOURCE_DEDICATED_MORE + 10);
    d.type = BLOCK_DEDICATED_STRING;
    assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_RESOURCE_DEDICATED);
    d.scope = BLOCK_SCOPE_SPAN;
    for (int i = 0; i < 10; i++)
        assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_SPAN_DEDICATED_MORE + i);
    assert_int_equal(block_dedicated_leaf(&places, &d), -1);
    d.scope = BLOCK_SCOPE_EVENT;
    for (int i = 0; i < BLOCK_DEDICATED_STRINGS; i++)
        assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_EVENT_DEDICATED + i);
    assert_int_equal(block_dedicated_leaf(&places, &d), -1);
    d.type = BLOCK_DEDICATED_INT;
    for (int i = 0; i < BLOCK_DEDICATED_INTS; i++)
        assert_int_equal(block_dedicated_leaf(&places, &d), BLOCK_EVENT_DEDICATED + 20 + i);
    assert_int_equal(block_dedicated_leaf(&places, &d), -1);
}

/* ---- hostile bytes ---- */

static bool has_protobuf(int leaf)
{
    return leaf == BLOCK_EVENT_ATTR_PROTO || leaf == BLOCK_SPAN_LINKS_PROTO;
}

/* Damages a value itself: protobuf inside a column. */
static void bend_text(struct rng *r, struct column *c, struct arena *a)
{
    if (c->values == 0)
        return;
    struct slice *at = &c->v.bytes[rng_below(r, c->values)];
    uint8_t *copy = arena_alloc(a, at->len + 1);
    assert_non_null(copy);
    memcpy(copy, at->ptr, at->len);
    if (at->len && rng_below(r, 2))
        copy[rng_below(r, at->len)] = (uint8_t)rng_next(r);
    *at = slice_of(copy, rng_below(r, 4) ? at->len : rng_below(r, at->len + 1));
}

static void bent_columns_of(enum block_version version, const struct list *list)
{
    struct rng r = {.state = 5 + (uint64_t)version};
    struct arena *a = arena_new((size_t)256 << 20);
    struct old_block block;
    struct reading reading;
    struct err err = {0};
    static struct column good[BLOCK_LEAVES], columns[BLOCK_LEAVES];
    int there[BLOCK_LEAVES];
    uint32_t there_count = 0, refused = 0, read = 0;
    make_fixture(version, list, a, &block);
    assert_int_equal(open_block(block.data, &block.meta, a, &reading, &err), 0);
    assert_int_equal(decode_group(&reading, 0, good, &err), 0);
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        if (reading.leaf_of[i] >= 0)
            there[there_count++] = i;
    }
    struct span_batch back = {0};
    for (int round = 0; round < 20000; round++) {
        struct arena *scratch = arena_new((size_t)4 << 20);
        memcpy(columns, good, sizeof columns);
        int leaf = there[rng_below(&r, there_count)];
        struct column bent = column_copy(&good[leaf]);
        columns[leaf] = bent;
        if (has_protobuf(leaf) && rng_below(&r, 2))
            bend_text(&r, &columns[leaf], scratch);
        else if (bent.entries)
            bend_column(&r, &columns[leaf]);
        span_batch_reset(&back);
        uint32_t first = (uint32_t)rng_below(&r, 3);
        int rc = block_assemble(columns, block.meta.dedicated, block.meta.dedicated_count, first,
                                good[0].rows - first, scratch, &back, &err);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        refused += rc < 0;
        read += rc == 0;
        if (rc < 0)
            assert_non_null(strstr(err.msg, "column "));
        column_free(&bent);
        arena_free(scratch);
    }
    assert_true(refused > 3000);
    assert_true(read > 1000);
    span_batch_clear(&back);
    arena_free(a);
}

static void bent_columns_are_refused_or_read_never_worse(void **state)
{
    (void)state;
    const struct list ours = {old_dedicated_v5, old_dedicated_v5_count};
    bent_columns_of(BLOCK_VPARQUET3, NULL);
    bent_columns_of(BLOCK_VPARQUET5, &ours);
}

/* Every page has a checksum: a flipped byte is an error, or changes nothing that is read. */
static void flipped_bytes_never_change_the_answer(void **state)
{
    (void)state;
    const struct list ours = {old_dedicated_v5, old_dedicated_v5_count};
    for (int v5 = 0; v5 < 2; v5++) {
        struct arena *a = arena_new((size_t)64 << 20);
        struct old_block block;
        struct span_batch want = {0};
        uint32_t refused = 0;
        make_fixture(v5 ? BLOCK_VPARQUET5 : BLOCK_VPARQUET3, v5 ? &ours : NULL, a, &block);
        read_block(block.data, &block.meta, false, a, &want);
        uint8_t *bytes = (uint8_t *)(uintptr_t)block.data.ptr;
        for (size_t at = 0; at < block.data.len; at += 41) {
            struct arena *scratch = arena_new((size_t)64 << 20);
            struct span_batch have = {0};
            struct reading r;
            struct err err = {0};
            char why[200];
            uint8_t before = bytes[at];
            bytes[at] ^= (uint8_t)(1u << at % 8);
            int rc = open_block(block.data, &block.meta, scratch, &r, &err);
            rc = rc < 0 ? rc : read_spans(&r, false, &have, &err);
            bytes[at] = before;
            refused += rc < 0;
            /* A leaf whose name in the footer has changed is another one, which is missing. */
            bool footer = at >= block.data.len - block.meta.footer_size - 8;
            if (rc == 0 && !footer && !support_batches_equal(&have, &want, why))
                fail_msg("byte %zu of a block of vParquet%d: %s", at, v5 ? 5 : 3, why);
            span_batch_clear(&have);
            arena_free(scratch);
        }
        assert_true(refused > 500);
        span_batch_clear(&want);
        arena_free(a);
    }
}

/* ---- blocks that are never rewritten ---- */

struct golden {
    const char *tenant;
    enum block_version version;
    size_t of; /* tempo_blocks */
    bool ours; /* vParquet5: our list of dedicated columns, or Tempo's */
    uint8_t id[16];
};

static const struct golden goldens[] = {
    {"vparquet3", BLOCK_VPARQUET3, 0, false, {3, 1, [6] = 0x40, [8] = 0x80}},
    {"vparquet3-dedicated", BLOCK_VPARQUET3, 1, false, {3, 2, [6] = 0x40, [8] = 0x80}},
    {"vparquet5", BLOCK_VPARQUET5, 0, false, {5, 1, [6] = 0x40, [8] = 0x80}},
    {"vparquet5-dedicated", BLOCK_VPARQUET5, 1, true, {5, 2, [6] = 0x40, [8] = 0x80}},
};
#define GOLDENS (sizeof goldens / sizeof goldens[0])

static char *golden_path(const struct golden *g, const char *name, struct arena *a)
{
    char uuid[37];
    uuid_format(g->id, uuid);
    return arena_printf(a, "tests/data/blocks/%s/%s/%s", g->tenant, uuid, name);
}

static void old_blocks_stay_readable(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        const struct golden *g = &goldens[i];
        struct arena *a = arena_new((size_t)256 << 20);
        struct old_block block;
        struct block_meta meta;
        struct slice file, json = file_read(golden_path(g, "meta.json", a));
        struct span_batch want = {0};
        struct err err = {0};
        assert_int_equal(block_meta_parse(json, a, &block.meta, &err), 0);
        assert_int_equal(block.meta.version, g->version);
        block.data = file_read(golden_path(g, "data.parquet", a));
        assert_int_equal(block.data.len, block.meta.size);
        tempo_block(g->of, a, &meta, &file, &want);
        read_as(&block, &want, g->tenant);
        span_batch_clear(&want);
        slice_free(block.data);
        slice_free(json);
        slice_free(file);
        arena_free(a);
    }
}

static void write_file(const char *path, struct slice body)
{
    FILE *f = fopen(path, "wbx"); /* never over one that is there */
    if (!f || fwrite(body.ptr, 1, body.len, f) != body.len || fclose(f) != 0)
        fail_msg("%s: not written", path);
}

/* `test_old_blocks write` makes what tests/data/blocks lacks; its directories must be there. */
static void write_goldens(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        const struct golden *g = &goldens[i];
        struct arena *a = arena_new((size_t)256 << 20);
        struct old_block block;
        struct block_meta meta;
        struct slice file;
        struct span_batch spans = {0};
        tempo_block(g->of, a, &meta, &file, &spans);
        struct old_block_opts opts = {
            .version = g->version,
            .tenant = g->tenant,
            .dedicated = meta.dedicated,
            .dedicated_count = meta.dedicated_count,
            .row_group_rows = 6,
        };
        memcpy(opts.id, g->id, sizeof opts.id);
        if (g->version == BLOCK_VPARQUET5) {
            opts.dedicated = g->ours ? old_dedicated_v5 : old_dedicated_tempo;
            opts.dedicated_count = g->ours ? old_dedicated_v5_count : old_dedicated_tempo_count;
        }
        old_block_make(&opts, &spans, a, &block);
        write_file(golden_path(g, "data.parquet", a), block.data);
        write_file(golden_path(g, "bloom-0", a), block.bloom);
        write_file(golden_path(g, "index", a), block.index);
        write_file(golden_path(g, "meta.json", a), block.meta_json);
        span_batch_clear(&spans);
        slice_free(file);
        arena_free(a);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tempo_blocks_come_back_from_vparquet3),
        cmocka_unit_test(tempo_blocks_come_back_from_vparquet5),
        cmocka_unit_test(tempo_blocks_come_back_from_vparquet5_as_tempo_dedicates),
        cmocka_unit_test(random_spans_come_back),
        cmocka_unit_test(all_leaves_are_bound_but_what_was_computed),
        cmocka_unit_test(the_fixture_has_every_kind_of_dedicated_column),
        cmocka_unit_test(a_file_of_another_version_is_refused),
        cmocka_unit_test(places_of_dedicated_columns_are_counted_by_scope_and_type),
        cmocka_unit_test(bent_columns_are_refused_or_read_never_worse),
        cmocka_unit_test(flipped_bytes_never_change_the_answer),
        cmocka_unit_test(old_blocks_stay_readable),
    };
    const struct CMUnitTest writing[] = {cmocka_unit_test(write_goldens)};
    return argc > 1 && strcmp(argv[1], "write") == 0 ? cmocka_run_group_tests(writing, NULL, NULL)
                                                     : cmocka_run_group_tests(tests, NULL, NULL);
}
