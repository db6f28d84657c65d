/* meta.json and index: Tempo's own, byte for byte where we write, and what else may come. */
#include "parquet_support.h"

#include "base/clock.h"
#include "block/block_meta.h"

struct fixture {
    struct arena *a;
    struct buf out;
    struct block_meta meta;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *t = calloc(1, sizeof *t);
    t->a = arena_new((size_t)16 << 20);
    buf_init(&t->out, (size_t)4 << 20);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *t = *state;
    arena_free(t->a);
    buf_clear(&t->out);
    free(t);
    return 0;
}

static int parse(struct fixture *t, const char *json)
{
    /* Storage of exactly that length, for the sanitizer. */
    size_t n = strlen(json);
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, json, n);
    int rc = block_meta_parse(slice_of(copy, n), t->a, &t->meta, &t->err);
    free(copy);
    return rc;
}

static void parse_ok(struct fixture *t, const char *json)
{
    if (parse(t, json) < 0)
        fail_msg("%s: %s", json, t->err.msg);
}

#define ID "\"blockID\":\"ff2a1b95-f4c1-44b9-87d1-341455ab6a9e\""
#define HEAD "{\"format\":\"vParquet4\"," ID ",\"tenantID\":\"acme\""

static void tempos_metas_are_written_again_byte_for_byte(void **state)
{
    struct fixture *t = *state;
    static const char *const paths[] = {
        "tests/data/fixtures/blocks/single-tenant/eef1d7f3-51c2-4dad-a864-70817cd81149/meta.json",
        "tests/data/fixtures/blocks/acme/ff2a1b95-f4c1-44b9-87d1-341455ab6a9e/meta.json",
        "tests/data/fixtures/blocks/sharded/55caf628-0797-436a-b740-edf6b5a1f521/meta.json",
        "tests/data/fixtures/blocks/sharded/a5a71843-7c6a-4874-a76f-be369689c621/"
        "meta.compacted.json",
        "tests/data/conformance/blocks/edge/28b32bc4-3130-4c49-9e90-ad3c05862dbf/meta.json",
        "tests/data/conformance/blocks/shop/5b9269b0-d73c-488c-9ac2-3eb626efc93b/meta.json",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct slice json = file_read(paths[i]);
        if (block_meta_parse(json, t->a, &t->meta, &t->err) < 0)
            fail_msg("%s: %s", paths[i], t->err.msg);
        buf_reset(&t->out);
        assert_int_equal(block_meta_write(&t->meta, &t->out, &t->err), 0);
        if (!slice_eq(buf_view(&t->out), json))
            fail_msg("%s became %.*s", paths[i], SLICE_ARGS(buf_view(&t->out)));
        slice_free(json);
    }
}

static void every_field_is_read(void **state)
{
    struct fixture *t = *state;
    parse_ok(
        t,
        "{\"format\":\"vParquet5\",\"blockID\":\"00010203-0405-0607-0809-0A0B0C0D0E0F\","
        "\"minID\":\"AAAA\",\"tenantID\":\"a\\u0022b\",\"startTime\":\"2026-11-24T23:32:00+01:00\","
        "\"endTime\":\"2026-11-24T22:32:01.25Z\",\"totalObjects\":11,\"size\":4503599627370496,"
        "\"compactionLevel\":2,\"totalRecords\":3,\"bloomShards\":4,\"footerSize\":18567,"
        "\"dedicatedColumns\":[{\"s\":\"resource\",\"n\":\"host.name\"},"
        "{\"n\":\"http.response.status_code\",\"t\":\"int\"},"
        "{\"s\":\"event\",\"n\":\"exception.message\",\"t\":\"string\",\"o\":[\"blob\",\"array\","
        "\"new\"]}],"
        "\"replicationFactor\":1}\n");
    const struct block_meta *m = &t->meta;
    static const uint8_t id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    assert_int_equal(m->version, BLOCK_VPARQUET5);
    assert_memory_equal(m->id, id, 16);
    assert_true(slice_eq(m->tenant, SLICE("a\"b")));
    assert_int_equal(m->start_unix_ns, UINT64_C(1795559520) * NS_PER_S);
    assert_int_equal(m->end_unix_ns, UINT64_C(1795559521) * NS_PER_S + 250000000);
    assert_int_equal(m->total_objects, 11);
    assert_int_equal(m->size, UINT64_C(4503599627370496));
    assert_int_equal(m->compaction_level, 2);
    assert_int_equal(m->total_records, 3);
    assert_int_equal(m->bloom_shards, 4);
    assert_int_equal(m->footer_size, 18567);
    assert_int_equal(m->replication_factor, 1);
    assert_int_equal(m->dedicated_count, 3);
    assert_int_equal(m->dedicated[0].scope, BLOCK_SCOPE_RESOURCE);
    assert_true(slice_eq(m->dedicated[0].name, SLICE("host.name")));
    assert_int_equal(m->dedicated[1].scope, BLOCK_SCOPE_SPAN);
    assert_int_equal(m->dedicated[1].type, BLOCK_DEDICATED_INT);
    assert_int_equal(m->dedicated[2].scope, BLOCK_SCOPE_EVENT);
    assert_true(m->dedicated[2].is_blob && m->dedicated[2].is_array);
}

static void what_is_absent_or_null_is_zero(void **state)
{
    struct fixture *t = *state;
    static const char *const forms[] = {
        HEAD "}",
        HEAD ",\"startTime\":null,\"bloomShards\":null,\"dedicatedColumns\":null,\"size\":null}",
        HEAD ",\"startTime\":\"0001-01-01T00:00:00Z\",\"endTime\":\"0001-01-01T00:00:00Z\"}",
        "{\"FORMAT\":\"vParquet4\",\"BlockId\":\"ff2a1b95-f4c1-44b9-87d1-341455ab6a9e\","
        "\"TenantID\":\"acme\",\"unknown\":{\"a\":[1,{\"b\":\"}\"}]}}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        parse_ok(t, forms[i]);
        assert_true(slice_eq(t->meta.tenant, SLICE("acme")));
        assert_int_equal(t->meta.version, BLOCK_VPARQUET4);
        assert_int_equal(t->meta.start_unix_ns + t->meta.end_unix_ns, 0);
        assert_int_equal(t->meta.bloom_shards, 0);
        assert_int_equal(t->meta.size, 0);
        assert_int_equal(t->meta.dedicated_count, 0);
        assert_int_equal(t->meta.replication_factor, 0);
    }
}

static void dedicated_columns_of_a_later_tempo_are_left_out(void **state)
{
    struct fixture *t = *state;
    parse_ok(t, HEAD
             ",\"dedicatedColumns\":[{\"s\":\"link\",\"n\":\"x\"},{\"n\":\"y\",\"t\":\"bool\"},"
             "{\"s\":\"span\",\"n\":\"z\"}]}");
    assert_int_equal(t->meta.dedicated_count, 1);
    assert_true(slice_eq(t->meta.dedicated[0].name, SLICE("z")));
}

static void times_are_floored_and_ceiled_to_seconds(void **state)
{
    struct fixture *t = *state;
    static const struct {
        uint64_t start, end;
        const char *want;
    } cases[] = {
        {0, 0, "\"startTime\":\"0001-01-01T00:00:00Z\",\"endTime\":\"0001-01-01T00:00:00Z\""},
        {1, 1, "\"startTime\":\"0001-01-01T00:00:00Z\",\"endTime\":\"1970-01-01T00:00:01Z\""},
        {UINT64_C(1795559520999999999), UINT64_C(1795559521000000000),
         "\"startTime\":\"2026-11-24T22:32:00Z\",\"endTime\":\"2026-11-24T22:32:01Z\""},
        {UINT64_C(1795559520000000000), UINT64_C(1795559521000000001),
         "\"startTime\":\"2026-11-24T22:32:00Z\",\"endTime\":\"2026-11-24T22:32:02Z\""},
        {5 * NS_PER_S, UINT64_MAX,
         "\"startTime\":\"1970-01-01T00:00:05Z\",\"endTime\":\"2554-07-21T23:34:33Z\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct block_meta m = {.version = BLOCK_VPARQUET4,
                               .start_unix_ns = cases[i].start,
                               .end_unix_ns = cases[i].end};
        buf_reset(&t->out);
        assert_int_equal(block_meta_write(&m, &t->out, &t->err), 0);
        assert_int_equal(buf_u8(&t->out, 0), 0);
        if (!strstr((char *)t->out.ptr, cases[i].want))
            fail_msg("%s lacks %s", (char *)t->out.ptr, cases[i].want);
    }
}

static void every_form_of_dedicated_column_comes_back(void **state)
{
    struct fixture *t = *state;
    struct block_dedicated d[12];
    size_t n = 0;
    for (uint8_t scope = BLOCK_SCOPE_SPAN; scope <= BLOCK_SCOPE_EVENT; scope++) {
        for (uint8_t options = 0; options < 4; options++)
            d[n++] = (struct block_dedicated){.scope = scope,
                                              .type = options == 1,
                                              .is_array = options & 1,
                                              .is_blob = options >> 1,
                                              .name = SLICE("a.\"quoted\"<name>")};
    }
    struct block_meta m = {.version = BLOCK_VPARQUET5,
                           .tenant = SLICE("t"),
                           .dedicated = d,
                           .dedicated_count = n,
                           .replication_factor = 1,
                           .size = 9};
    assert_int_equal(block_meta_write(&m, &t->out, &t->err), 0);
    if (block_meta_parse(buf_view(&t->out), t->a, &t->meta, &t->err) < 0)
        fail_msg("%s", t->err.msg);
    assert_int_equal(t->meta.dedicated_count, n);
    for (size_t i = 0; i < n; i++) {
        const struct block_dedicated *have = &t->meta.dedicated[i];
        assert_int_equal(have->scope, d[i].scope);
        assert_int_equal(have->type, d[i].type);
        assert_int_equal(have->is_array, d[i].is_array);
        assert_int_equal(have->is_blob, d[i].is_blob);
        assert_true(slice_eq(have->name, d[i].name));
    }
    assert_int_equal(t->meta.replication_factor, 1);
    assert_int_equal(t->meta.size, 9);
}

static void a_buffer_that_is_too_small_is_told(void **state)
{
    struct fixture *t = *state;
    struct block_meta m = {.version = BLOCK_VPARQUET4, .tenant = SLICE("acme")};
    struct buf small;
    for (size_t max = 0; max < 200; max++) {
        buf_init(&small, max);
        assert_int_equal(block_meta_write(&m, &small, &t->err), ERR_LIMIT);
        buf_clear(&small);
    }
}

static void wrong_metas_are_refused_with_the_field_named(void **state)
{
    struct fixture *t = *state;
    static const struct {
        const char *json;
        int rc;
        const char *says;
    } cases[] = {
        {"", ERR_CORRUPT, "not JSON"},
        {"null", ERR_CORRUPT, "not a JSON object"},
        {"[]", ERR_CORRUPT, "not a JSON object"},
        {"{}", ERR_CORRUPT, "no format"},
        {HEAD "} x", ERR_CORRUPT, "after the document"},
        {"{\"format\":\"v2\"," ID "}", ERR_UNSUPPORTED, "v2"},
        {"{\"format\":\"vParquet4-preview\"," ID "}", ERR_UNSUPPORTED, "preview"},
        {"{\"format\":4," ID "}", ERR_CORRUPT, "format"},
        {"{\"format\":\"vParquet4\"}", ERR_CORRUPT, "blockID"},
        {"{\"format\":\"vParquet4\",\"blockID\":\"ff2a1b95\"}", ERR_CORRUPT, "ff2a1b95"},
        {HEAD ",\"size\":-1}", ERR_CORRUPT, "size"},
        {HEAD ",\"size\":1.5}", ERR_CORRUPT, "size"},
        {HEAD ",\"size\":1e300}", ERR_CORRUPT, "size"},
        {HEAD ",\"size\":\"12\"}", ERR_CORRUPT, "size"},
        {HEAD ",\"totalRecords\":4294967296}", ERR_CORRUPT, "totalRecords"},
        {HEAD ",\"bloomShards\":true}", ERR_CORRUPT, "bloomShards"},
        {HEAD ",\"startTime\":\"yesterday\"}", ERR_CORRUPT, "startTime"},
        {HEAD ",\"endTime\":12}", ERR_CORRUPT, "endTime"},
        {HEAD ",\"dedicatedColumns\":{}}", ERR_CORRUPT, "dedicatedColumns"},
        {HEAD ",\"dedicatedColumns\":[\"x\"]}", ERR_CORRUPT, "dedicatedColumns"},
        {HEAD ",\"dedicatedColumns\":[{\"n\":7}]}", ERR_CORRUPT, "n is not a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = parse(t, cases[i].json);
        if (rc != cases[i].rc || !strstr(t->err.msg, cases[i].says))
            fail_msg("%s: %d %s", cases[i].json, rc, t->err.msg);
    }
}

static void nesting_and_size_are_limited(void **state)
{
    struct fixture *t = *state;
    char *json = malloc((size_t)3 << 20);
    assert_non_null(json);
    for (size_t depth = 1; depth <= 400000; depth = depth < 64 ? depth + 1 : depth * 3) {
        size_t n = (size_t)snprintf(json, 256, "%s", HEAD ",\"x\":");
        memset(json + n, '[', depth);
        memset(json + n + depth, ']', depth);
        memcpy(json + n + 2 * depth, "}", 2);
        int rc = parse(t, json);
        assert_int_equal(rc, depth < 16 ? 0 : ERR_CORRUPT);
    }
    memset(json, ' ', (1 << 20) + 1);
    assert_int_equal(block_meta_parse(slice_of(json, (1 << 20) + 1), t->a, &t->meta, &t->err),
                     ERR_CORRUPT);
    assert_non_null(strstr(t->err.msg, "1048577"));
    free(json);
}

static void no_cut_or_flipped_meta_does_harm(void **state)
{
    struct fixture *t = *state;
    struct slice json =
        file_read("tests/data/fixtures/blocks/acme/ff2a1b95-f4c1-44b9-87d1-341455ab6a9e/meta.json");
    char *copy = malloc(json.len + 1);
    assert_non_null(copy);
    for (size_t n = 0; n < json.len; n++) {
        memcpy(copy, json.ptr, n);
        copy[n] = 0;
        assert_int_equal(parse(t, copy), ERR_CORRUPT);
    }
    for (size_t i = 0; i < json.len; i++) {
        memcpy(copy, json.ptr, json.len);
        copy[json.len] = 0;
        for (int bit = 0; bit < 8; bit++) {
            copy[i] = (char)(json.ptr[i] ^ 1 << bit);
            int rc = block_meta_parse(slice_of(copy, json.len), t->a, &t->meta, &t->err);
            assert_true(rc == 0 || rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED);
        }
        arena_reset(t->a);
    }
    free(copy);
    slice_free(json);
}

/* ---- index ---- */

static void tempos_indexes_are_read_and_written_again(void **state)
{
    struct fixture *t = *state;
    for (size_t i = 0; i < 5; i++) {
        size_t dir = strlen(tempo_blocks[i]) - strlen("data.parquet");
        char *path = arena_printf(t->a, "%.*sindex", (int)dir, tempo_blocks[i]);
        struct slice json = file_read(path), data = file_read(tempo_blocks[i]);
        uint8_t(*ids)[16];
        size_t count;
        if (block_index_parse(json, t->a, &ids, &count, &t->err) < 0)
            fail_msg("%s: %s", path, t->err.msg);
        struct parquet_file *f;
        assert_int_equal(file_open(data, t->a, &f, &t->err), 0);
        assert_int_equal(count, f->row_group_count);
        for (size_t g = 0; g < count; g++) { /* the first leaf is the trace id */
            assert_int_equal(f->row_groups[g].chunks[0].max.len, 16);
            assert_memory_equal(f->row_groups[g].chunks[0].max.ptr, ids[g], 16);
        }
        buf_reset(&t->out);
        assert_int_equal(block_index_write((const uint8_t(*)[16])ids, count, &t->out), 0);
        assert_true(slice_eq(buf_view(&t->out), json));
        slice_free(json);
        slice_free(data);
    }
}

static void odd_indexes_are_empty_or_refused(void **state)
{
    struct fixture *t = *state;
    static const struct {
        const char *json;
        int rc;
    } cases[] = {
        {"{}", 0},
        {"{\"rowGroups\":null}", 0},
        {"{\"rowGroups\":[]}", 0},
        {"{\"rowGroups\":{}}", ERR_CORRUPT},
        {"{\"rowGroups\":[7]}", ERR_CORRUPT},
        {"{\"rowGroups\":[\"mJiYmJiYmJiYmJiYmJiY\"]}", ERR_CORRUPT},
        {"{\"rowGroups\":[\"!\"]}", ERR_CORRUPT},
        {"[\"mJiYmJiYmJiYmJiYmJiYmA==\"]", ERR_CORRUPT},
        {"", ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t(*ids)[16];
        size_t count = 99;
        assert_int_equal(block_index_parse(slice_cstr(cases[i].json), t->a, &ids, &count, &t->err),
                         cases[i].rc);
        if (cases[i].rc == 0)
            assert_int_equal(count, 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tempos_metas_are_written_again_byte_for_byte),
        TEST(every_field_is_read),
        TEST(what_is_absent_or_null_is_zero),
        TEST(dedicated_columns_of_a_later_tempo_are_left_out),
        TEST(times_are_floored_and_ceiled_to_seconds),
        TEST(every_form_of_dedicated_column_comes_back),
        TEST(a_buffer_that_is_too_small_is_told),
        TEST(wrong_metas_are_refused_with_the_field_named),
        TEST(nesting_and_size_are_limited),
        TEST(no_cut_or_flipped_meta_does_harm),
        TEST(tempos_indexes_are_read_and_written_again),
        TEST(odd_indexes_are_empty_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
