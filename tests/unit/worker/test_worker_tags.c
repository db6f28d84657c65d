/* Tags, values and searches by tags in a block that is made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "catalog/block_store.h"
#include "otlp/otlp.h"
#include "query/tag_set.h"
#include "worker/worker.h"
#include "worker/worker_limits.h"

#define DEADLINE (clock_mono_ns(&clock_system) + 60 * NS_PER_S)
#define ARENA_BYTES ((size_t)256 << 20)

#define RESOURCE (1u << TRACEQL_LEVEL_RESOURCE)
#define SCOPE (1u << TRACEQL_LEVEL_SCOPE)
#define SPAN (1u << TRACEQL_LEVEL_SPAN)
#define EVENT (1u << TRACEQL_LEVEL_EVENT)
#define LINK (1u << TRACEQL_LEVEL_LINK)
#define ALL (RESOURCE | SCOPE | SPAN | EVENT | LINK)

struct bench {
    struct objstore *store;
    struct metrics *metrics;
    struct worker *worker;
    struct arena *a;
    struct block_meta meta;
};

static void ok(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

/* ---- the block ---- */

static const char shop[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":["
    "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shop\"}},"
    "{\"key\":\"host.name\",\"value\":{\"stringValue\":\"h1\"}},"
    "{\"key\":\"region\",\"value\":{\"stringValue\":\"eu\"}},"
    "{\"key\":\"n\",\"value\":{\"intValue\":\"5\"}}]},"
    "\"scopeSpans\":[{\"scope\":{\"name\":\"lib\",\"version\":\"1\",\"attributes\":["
    "{\"key\":\"lib.x\",\"value\":{\"stringValue\":\"y\"}}]},\"spans\":["
    "{\"traceId\":\"01010101010101010101010101010101\",\"spanId\":\"0000000000000001\","
    "\"name\":\"get\",\"kind\":2,\"startTimeUnixNano\":\"1000000000000\","
    "\"endTimeUnixNano\":\"1000250000000\",\"status\":{\"code\":2,\"message\":\"no\"},"
    "\"attributes\":[{\"key\":\"http.method\",\"value\":{\"stringValue\":\"GET\"}},"
    "{\"key\":\"http.status_code\",\"value\":{\"intValue\":\"200\"}},"
    "{\"key\":\"a\",\"value\":{\"stringValue\":\"x\"}},"
    "{\"key\":\"mix\",\"value\":{\"intValue\":\"7\"}},"
    "{\"key\":\"arr\",\"value\":{\"arrayValue\":{\"values\":[{\"stringValue\":\"p\"},"
    "{\"stringValue\":\"q\"}]}}},"
    "{\"key\":\"kv\",\"value\":{\"kvlistValue\":{}}}],"
    "\"events\":[{\"timeUnixNano\":\"1000000000005\",\"name\":\"ev\",\"attributes\":["
    "{\"key\":\"e1\",\"value\":{\"stringValue\":\"v1\"}}]},"
    "{\"timeUnixNano\":\"1000000000006\",\"name\":\"ev\",\"attributes\":["
    "{\"key\":\"e2\",\"value\":{\"stringValue\":\"v2\"}}]}],"
    "\"links\":[{\"traceId\":\"09090909090909090909090909090909\","
    "\"spanId\":\"0000000000000009\",\"attributes\":["
    "{\"key\":\"l1\",\"value\":{\"boolValue\":true}}]}]},"
    "{\"traceId\":\"01010101010101010101010101010101\",\"spanId\":\"0000000000000002\","
    "\"parentSpanId\":\"0000000000000001\",\"name\":\"put\",\"kind\":3,"
    "\"startTimeUnixNano\":\"1000000000000\",\"endTimeUnixNano\":\"1000001000000\","
    "\"attributes\":[{\"key\":\"http.status_code\",\"value\":{\"stringValue\":\"odd\"}},"
    "{\"key\":\"a\",\"value\":{\"stringValue\":\"y\"}},"
    "{\"key\":\"mix\",\"value\":{\"doubleValue\":1.5}},"
    "{\"key\":\"only.put\",\"value\":{\"boolValue\":true}}]}]}]},"
    "{\"resource\":{\"attributes\":["
    "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"pay\"}},"
    "{\"key\":\"region\",\"value\":{\"stringValue\":\"us\"}}]},"
    "\"scopeSpans\":[{\"scope\":{\"name\":\"lib\"},\"spans\":["
    "{\"traceId\":\"02020202020202020202020202020202\",\"spanId\":\"0000000000000003\","
    "\"name\":\"charge\",\"kind\":1,\"startTimeUnixNano\":\"2000000000000\","
    "\"endTimeUnixNano\":\"2001000000000\",\"status\":{\"code\":1},"
    "\"attributes\":[{\"key\":\"a\",\"value\":{\"stringValue\":\"x\"}},"
    "{\"key\":\"mix\",\"value\":{\"boolValue\":true}},"
    "{\"key\":\"only.charge\",\"value\":{\"stringValue\":\"\"}}],"
    "\"events\":[{\"timeUnixNano\":\"2000000000000\",\"name\":\"paid\",\"attributes\":["
    "{\"key\":\"e3\",\"value\":{\"stringValue\":\"v3\"}}]}]},"
    "{\"traceId\":\"02020202020202020202020202020202\",\"spanId\":\"0000000000000004\","
    "\"parentSpanId\":\"0000000000000003\",\"name\":\"book\",\"kind\":1,"
    "\"startTimeUnixNano\":\"2000000000000\",\"endTimeUnixNano\":\"2000500000000\","
    "\"attributes\":[{\"key\":\"only.book\",\"value\":{\"intValue\":\"1\"}}]}]}]}]}";

static void write_block(struct bench *b, struct slice json, uint64_t row_group_bytes)
{
    static const struct block_dedicated dedicated[] = {
        {.scope = BLOCK_SCOPE_RESOURCE, .name = {(const uint8_t *)"host.name", 9}}};
    struct block_writer_opts opts = {.tenant = SLICE("acme"),
                                     .id = {0xca, 0xfe, 1},
                                     .dedicated = dedicated,
                                     .dedicated_count = 1,
                                     .row_group_bytes = row_group_bytes,
                                     .bloom_false_positive = 0.01,
                                     .bloom_shard_bytes = 1024,
                                     .deadline_mono_ns = DEADLINE};
    struct span_batch input = {0};
    struct block_writer *w;
    struct err err = {0};
    ok(otlp_json_decode(json, b->a, &input, &err), &err);
    ok(block_writer_new(b->store, &w, &err), &err);
    ok(block_writer_begin(w, &opts, &err), &err);
    uint32_t *order = arena_array(b->a, uint32_t, input.spans.count);
    assert_non_null(order);
    uint32_t count = (uint32_t)span_batch_group(&input, order);
    for (uint32_t i = 0, next; i < count; i = next) {
        const uint8_t *id = input.spans.at[order[i]].trace_id;
        for (next = i + 1; next < count; next++) {
            if (memcmp(input.spans.at[order[next]].trace_id, id, 16) != 0)
                break;
        }
        struct trace t = {.batch = &input, .spans = order + i, .span_count = next - i};
        ok(block_writer_add(w, &t, &err), &err);
    }
    ok(block_writer_finish(w, &b->meta, &err), &err);
    block_writer_free(w);
    span_batch_clear(&input);
}

static struct bench *bench_new(struct slice json, uint64_t row_group_bytes)
{
    static const struct log quiet = {.level = LOG_LEVEL_ERROR};
    struct bench *b = calloc(1, sizeof *b);
    struct err err = {0};
    const struct objstore_env env = {.clock = &clock_system};
    assert_non_null(b);
    b->a = arena_new(ARENA_BYTES);
    b->metrics = metrics_new();
    ok(objstore_memory_new(&env, &b->store, &err), &err);
    write_block(b, json, row_group_bytes);
    struct worker_opts opts = {
        .store = b->store, .log = &quiet, .metrics = b->metrics, .clock = &clock_system};
    ok(worker_new(&opts, &b->worker, &err), &err);
    return b;
}

static void bench_free(struct bench *b)
{
    worker_free(b->worker);
    objstore_free(b->store);
    metrics_free(b->metrics);
    arena_free(b->a);
    free(b);
}

static int setup(void **state)
{
    *state = bench_new(slice_cstr(shop), 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

/* ---- asking ---- */

static int ask(struct bench *b, struct query_tags *t, const char *filter, struct arena *a,
               struct query_tags_result *out, struct err *err)
{
    struct traceql_query *q = NULL;
    struct catalog_block block = {.meta = b->meta};
    const struct query_source source = {.tenant = b->meta.tenant, .block = &block};
    const struct query_worker w = worker_interface(b->worker);
    if (filter)
        ok(traceql_parse(slice_cstr(filter), a, &q, err), err);
    t->filter = q;
    return w.tags(w.self, &source, t, DEADLINE, a, out, err);
}

/* "level:text" or "type:text", in their order. */
static void expect(struct bench *b, struct query_tags t, const char *filter, const char *want)
{
    static const char letter[] = {[TRACEQL_LEVEL_RESOURCE] = 'r',
                                  [TRACEQL_LEVEL_SCOPE] = 'c',
                                  [TRACEQL_LEVEL_SPAN] = 's',
                                  [TRACEQL_LEVEL_EVENT] = 'e',
                                  [TRACEQL_LEVEL_LINK] = 'l'};
    struct query_tags_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    struct buf got;
    buf_init(&got, 1 << 16);
    ok(ask(b, &t, filter, a, &result, &err), &err);
    for (uint32_t i = 0; i < result.count; i++) {
        struct query_tag *tag = &result.tags[i];
        assert_int_equal(i ? buf_str(&got, " ") : 0, 0);
        if (t.names)
            assert_int_equal(buf_printf(&got, "%c:", letter[tag->level]), 0);
        else
            assert_int_equal(buf_printf(&got, "%s:", query_tag_type(tag->value.type)), 0);
        assert_int_equal(query_tag_text(&tag->value, &got), 0);
    }
    assert_int_equal(buf_u8(&got, 0), 0);
    assert_string_equal((const char *)got.ptr, want);
    buf_clear(&got);
    arena_free(a);
}

static void expect_names(struct bench *b, unsigned levels, const char *filter, const char *want)
{
    expect(b, (struct query_tags){.names = true, .levels = levels}, filter, want);
}

static void expect_values(struct bench *b, unsigned levels, const char *name, const char *filter,
                          const char *want)
{
    expect(b, (struct query_tags){.levels = levels, .name = slice_cstr(name)}, filter, want);
}

static void expect_intrinsic(struct bench *b, enum traceql_intrinsic i, const char *filter,
                             const char *want)
{
    expect(b, (struct query_tags){.intrinsic = i}, filter, want);
}

/* ---- names ---- */

static void names_come_from_lists_and_columns(void **state)
{
    expect_names(*state, ALL, NULL,
                 "r:host.name r:n r:region r:service.name c:lib.x s:a s:arr s:http.method "
                 "s:http.status_code s:kv s:mix s:only.book s:only.charge s:only.put e:e1 e:e2 "
                 "e:e3 l:l1");
    expect_names(*state, SCOPE | LINK, NULL, "c:lib.x l:l1");
}

static void a_filter_leaves_names_of_its_spans_and_columns(void **state)
{
    expect_names(*state, SPAN, "{ name = \"put\" }",
                 "s:a s:http.method s:http.status_code s:mix s:only.put");
    expect_names(*state, RESOURCE, "{ resource.service.name = \"pay\" }",
                 "r:host.name r:region r:service.name");
    expect_names(*state, EVENT, "{ resource.service.name = \"pay\" }", "e:e3");
    expect_names(*state, SCOPE, "{ resource.service.name = \"pay\" }", "");
    expect_names(*state, SPAN, "{ name = \"nothing\" }", "s:http.method s:http.status_code");
}

static void over_all_levels_events_and_links_are_seen_in_pairs(void **state)
{
    /* two events and one link */
    expect_names(*state, ALL, "{ name = \"get\" }",
                 "r:host.name r:n r:region r:service.name c:lib.x s:a s:arr s:http.method "
                 "s:http.status_code s:kv s:mix e:e1 l:l1");
    /* charge has an event and no link */
    expect_names(*state, ALL, "{ resource.service.name = \"pay\" }",
                 "r:host.name r:region r:service.name s:http.method s:http.status_code "
                 "s:only.book");
}

/* ---- values ---- */

static void values_have_the_types_they_are_stored_with(void **state)
{
    expect_values(*state, SPAN, "mix", NULL, "int:7 float:1.5 bool:true");
    expect_values(*state, SPAN, "a", NULL, "string:x string:y");
    expect_values(*state, RESOURCE, "n", NULL, "int:5");
    expect_values(*state, SPAN, "n", NULL, "");
    expect_values(*state, RESOURCE | SPAN, "n", NULL, "int:5");
    expect_values(*state, EVENT, "e2", NULL, "string:v2");
    expect_values(*state, LINK, "l1", NULL, "bool:true");
    expect_values(*state, SCOPE, "lib.x", NULL, "string:y");
    expect_values(*state, SPAN, "only.charge", NULL, "string:");
    expect_values(*state, ALL, "nosuch", NULL, "");
}

static void elements_of_arrays_are_values_and_lists_of_pairs_are_not(void **state)
{
    expect_values(*state, SPAN, "arr", NULL, "string:p string:q");
    expect_values(*state, SPAN, "kv", NULL, "");
}

static void columns_and_lists_are_both_read(void **state)
{
    expect_values(*state, SPAN, "http.status_code", NULL, "int:200 string:odd");
    expect_values(*state, RESOURCE, "host.name", NULL, "string:h1");
    expect_values(*state, RESOURCE, "service.name", NULL, "string:pay string:shop");
    expect_values(*state, SPAN, "service.name", NULL, "");
}

static void intrinsics_are_read_as_stored(void **state)
{
    expect_intrinsic(*state, TRACEQL_SPAN_NAME, NULL,
                     "string:book string:charge string:get string:put");
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS, NULL, "int:0 int:1 int:2");
    expect_intrinsic(*state, TRACEQL_SPAN_KIND, NULL, "int:1 int:2 int:3");
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS_MESSAGE, NULL, "string: string:no");
    expect_intrinsic(*state, TRACEQL_SPAN_DURATION, NULL,
                     "int:1000000 int:250000000 int:500000000 int:1000000000");
    expect_intrinsic(*state, TRACEQL_TRACE_ROOT_NAME, NULL, "string:charge string:get");
    expect_intrinsic(*state, TRACEQL_TRACE_ROOT_SERVICE, NULL, "string:pay string:shop");
    expect_intrinsic(*state, TRACEQL_EVENT_NAME, NULL, "string:ev string:paid");
    expect_intrinsic(*state, TRACEQL_SCOPE_VERSION, NULL, "string: string:1");
    expect_intrinsic(*state, TRACEQL_TRACE_ID, NULL, "");
    expect_intrinsic(*state, TRACEQL_SPAN_ID, NULL, "");
}

static void a_filter_leaves_values_of_its_spans(void **state)
{
    expect_values(*state, SPAN, "a", "{ name = \"put\" }", "string:y");
    expect_values(*state, SPAN, "http.method", "{ name = \"put\" }", "");
    expect_values(*state, SPAN, "http.status_code", "{ status = error }", "int:200");
    expect_values(*state, RESOURCE, "service.name", "{ status = error }", "string:shop");
    expect_values(*state, RESOURCE, "region", "{ span.a = \"x\" && kind = internal }", "string:us");
    expect_values(*state, EVENT, "e2", "{ name = \"get\" }", "string:v2");
    expect_values(*state, EVENT, "e2", "{ name = \"put\" }", "");
    expect_values(*state, SPAN, "a", "{ name = \"nothing\" }", "");
    expect_intrinsic(*state, TRACEQL_SPAN_NAME, "{ resource.service.name = \"pay\" }",
                     "string:book string:charge");
    expect_intrinsic(*state, TRACEQL_TRACE_ROOT_NAME, "{ name = \"put\" }", "string:get");
    expect_intrinsic(*state, TRACEQL_EVENT_NAME, "{ resource.service.name = \"pay\" }",
                     "string:paid");
}

static void under_a_filter_numbers_are_words(void **state)
{
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS, "{ span.a = \"x\" }", "keyword:ok keyword:error");
    expect_intrinsic(*state, TRACEQL_SPAN_KIND, "{ name = \"get\" }", "keyword:server");
    expect_intrinsic(*state, TRACEQL_SPAN_DURATION, "{ name = \"get\" }", "duration:250ms");
}

/* get and put (error, unset) are shop's, charge and book (ok, unset) pay's, in this order. */
static void a_status_is_decided_at_the_first_span_that_is_looked_at(void **state)
{
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS, "{ resource.service.name = \"shop\" }",
                     "keyword:unset keyword:error");
    /* get, the first, has error; charge has ok */
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS, "{ resource.service.name = \"pay\" }",
                     "keyword:unset keyword:ok");
    expect_intrinsic(*state, TRACEQL_SPAN_STATUS, "{ rootName = \"charge\" }",
                     "keyword:unset keyword:ok");
}

static void bytes_end_a_job(void **state)
{
    struct query_tags t = {.names = true, .levels = ALL, .bytes_max = 20};
    struct query_tags_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    size_t bytes = 0;
    ok(ask(*state, &t, NULL, a, &result, &err), &err);
    assert_true(result.truncated);
    assert_true(result.count > 0);
    for (uint32_t i = 0; i < result.count; i++)
        bytes += result.tags[i].value.str.len;
    assert_true(bytes <= 20);
    t.bytes_max = 0;
    ok(ask(*state, &t, NULL, a, &result, &err), &err);
    assert_false(result.truncated);
    assert_int_equal(result.count, 18);
    arena_free(a);
}

/* ---- by tags ---- */

static void expect_found(struct bench *b, const char *const *pairs, struct query_legacy q,
                         const char *want)
{
    struct query_pair tags[4];
    struct query_search_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    struct catalog_block block = {.meta = b->meta};
    const struct query_source source = {.tenant = b->meta.tenant, .block = &block};
    const struct query_worker w = worker_interface(b->worker);
    char got[16] = "";
    for (; pairs[2 * q.tag_count]; q.tag_count++)
        tags[q.tag_count] = (struct query_pair){slice_cstr(pairs[2 * q.tag_count]),
                                                slice_cstr(pairs[2 * q.tag_count + 1])};
    q.tags = tags;
    q.limit = q.limit ? q.limit : 20;
    ok(w.legacy(w.self, &source, &q, DEADLINE, a, &result, &err), &err);
    for (uint32_t i = 0; i < result.trace_count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%u", result.traces[i].id[0]);
    if (strcmp(got, want) != 0)
        fail_msg("%s=%s: \"%s\", not \"%s\"", pairs[0], pairs[1], got, want);
    arena_free(a);
}

#define FOUND(want, ...)                                                                           \
    expect_found(*state, (const char *const[]){__VA_ARGS__, NULL, NULL}, (struct query_legacy){0}, \
                 want)

static void columns_are_searched_by_part(void **state)
{
    FOUND("1", "service.name", "sho");
    FOUND("12", "service.name", "");
    FOUND("", "service.name", "Sho");
    FOUND("1", "name", "ut");
    FOUND("1", "http.method", "GE");
    FOUND("1", "host.name", "h");
    FOUND("2", "root.name", "harg");
    FOUND("2", "root.service.name", "pa");
}

static void numbers_and_status_are_compared(void **state)
{
    FOUND("1", "http.status_code", "200");
    FOUND("", "http.status_code", "20");
    FOUND("1", "http.status_code", "odd"); /* no number: in the list */
    FOUND("1", "status.code", "error");
    FOUND("2", "status.code", "ok");
    FOUND("12", "status.code", "unset");
    FOUND("12", "status.code", "anything else is unset");
}

static void lists_are_searched_for_whole_strings(void **state)
{
    FOUND("12", "a", "x");
    FOUND("1", "a", "y");
    FOUND("", "a", "");
    FOUND("2", "only.charge", "");
    FOUND("1", "region", "eu");
    FOUND("", "region", "e");
    FOUND("", "n", "5"); /* a number */
    FOUND("1", "arr", "q");
    FOUND("", "nosuch", "x");
}

static void all_tags_must_be_found(void **state)
{
    FOUND("1", "service.name", "shop", "a", "y");
    FOUND("", "service.name", "pay", "a", "y");
    FOUND("1", "a", "x", "region", "eu", "service.name", "shop");
    FOUND("", "a", "y", "region", "us");
    FOUND("", "a", "y", "only.put", "true"); /* a boolean */
}

static void bounds_are_those_of_the_trace(void **state)
{
    static const char *const none[] = {NULL, NULL};
    expect_found(*state, none, (struct query_legacy){0}, "12");
    expect_found(*state, none, (struct query_legacy){.min_duration_ns = 250000000}, "12");
    expect_found(*state, none, (struct query_legacy){.min_duration_ns = 251000000}, "2");
    expect_found(*state, none, (struct query_legacy){.max_duration_ns = 250000000}, "1");
    expect_found(*state, none, (struct query_legacy){.limit = 1}, "1");
    expect_found(
        *state, none,
        (struct query_legacy){.start_unix_ns = 1001 * NS_PER_S, .end_unix_ns = 2000 * NS_PER_S},
        "2");
    expect_found(
        *state, none,
        (struct query_legacy){.start_unix_ns = 1000 * NS_PER_S, .end_unix_ns = 1999 * NS_PER_S},
        "1");
}

/* ---- large and damaged blocks ---- */

enum { BIG_TRACES = 40, BIG_KEYS = 5000, BIG_POOL = 20000 };

/* Many keys, of which each trace has a part, and which no compression makes small. */
static void big_json(struct buf *out)
{
    assert_int_equal(buf_str(out, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":["), 0);
    for (int t = 0; t < BIG_TRACES; t++) {
        assert_int_equal(
            buf_printf(out,
                       "%s{\"traceId\":\"%032x\",\"spanId\":\"%016x\",\"name\":\"s%d\","
                       "\"startTimeUnixNano\":\"1000\",\"endTimeUnixNano\":\"2000\","
                       "\"attributes\":[",
                       t ? "," : "", t + 1, t + 1, t),
            0);
        for (int k = 0; k < BIG_KEYS; k++) {
            uint64_t x = (uint64_t)((t * BIG_KEYS + k) % BIG_POOL + 1) * 0x9e3779b97f4a7c15;
            x ^= x >> 29;
            x *= 0xbf58476d1ce4e5b9;
            assert_int_equal(buf_printf(out,
                                        "%s{\"key\":\"%016llx\",\"value\":{\"intValue\":\"%d\"}}",
                                        k ? "," : "", (unsigned long long)x, k),
                             0);
        }
        assert_int_equal(buf_str(out, "]}"), 0);
    }
    assert_int_equal(buf_str(out, "]}]}]}"), 0);
}

static const struct parquet_chunk *key_chunk(struct bench *b, uint32_t *row_groups)
{
    struct parquet_file *f;
    struct err err = {0};
    int leaf_of[BLOCK_LEAVES];
    ok(block_open(b->store, &b->meta, DEADLINE, b->a, &f, &err), &err);
    ok(block_schema_bind(f, b->meta.version, leaf_of, &err), &err);
    *row_groups = f->row_group_count;
    return &f->row_groups[0].chunks[leaf_of[BLOCK_SPAN_ATTRS + BLOCK_ATTR_KEY]];
}

static void of_a_large_column_only_the_dictionary_is_fetched(void **state)
{
    (void)state;
    struct buf json;
    uint32_t row_groups;
    buf_init(&json, 1 << 24);
    big_json(&json);
    struct bench *b = bench_new(buf_view(&json), 1 << 28);
    const struct parquet_chunk *chunk = key_chunk(b, &row_groups);
    assert_int_equal(row_groups, 1);
    assert_true(chunk->bytes > DICTIONARY_WHOLE_BYTES);
    struct query_tags t = {.names = true, .levels = SPAN};
    struct query_tags_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    ok(ask(b, &t, NULL, a, &result, &err), &err);
    assert_int_equal(result.count, BIG_POOL);
    for (uint32_t i = 1; i < result.count; i++)
        assert_true(query_tag_cmp(&result.tags[i - 1], &result.tags[i]) < 0);
    uint64_t part = result.inspected_bytes;
    ok(ask(b, &t, "{ name = \"s7\" }", a, &result, &err), &err);
    assert_int_equal(result.count, BIG_KEYS);
    assert_true(part < chunk->bytes);
    assert_true(result.inspected_bytes > chunk->bytes);
    arena_free(a);
    bench_free(b);
    buf_clear(&json);
}

static void row_groups_are_put_together(void **state)
{
    (void)state;
    struct buf json;
    uint32_t row_groups;
    buf_init(&json, 1 << 24);
    big_json(&json);
    struct bench *b = bench_new(buf_view(&json), 100000);
    key_chunk(b, &row_groups);
    assert_true(row_groups > 3);
    struct query_tags t = {.names = true, .levels = SPAN};
    struct query_tags_result result;
    struct err err = {0};
    struct arena *a = arena_new(ARENA_BYTES);
    ok(ask(b, &t, NULL, a, &result, &err), &err);
    assert_int_equal(result.count, BIG_POOL);
    static const char *const none[] = {NULL, NULL};
    expect_found(b, none, (struct query_legacy){.limit = 3}, "000");
    arena_free(a);
    bench_free(b);
    buf_clear(&json);
}

static void ask_all(struct bench *b)
{
    static const struct log quiet = {.level = LOG_LEVEL_ERROR};
    struct worker_opts opts = {
        .store = b->store, .log = &quiet, .metrics = b->metrics, .clock = &clock_system};
    const struct {
        struct query_tags t;
        const char *filter;
    } questions[] = {{{.names = true, .levels = ALL}, NULL},
                     {{.names = true, .levels = ALL}, "{ span.a = \"x\" }"},
                     {{.levels = ALL, .name = SLICE("mix")}, NULL},
                     {{.levels = ALL, .name = SLICE("http.status_code")}, "{ kind = server }"},
                     {{.intrinsic = TRACEQL_SPAN_STATUS}, "{ resource.service.name = \"shop\" }"}};
    const struct query_pair tags[] = {{SLICE("service.name"), SLICE("s")},
                                      {SLICE("a"), SLICE("y")}};
    const struct query_legacy legacy = {.tags = tags, .tag_count = 2, .limit = 20};
    struct query_search_result found;
    struct catalog_block block = {.meta = b->meta};
    const struct query_source source = {.tenant = b->meta.tenant, .block = &block};
    worker_free(b->worker); /* it keeps footers */
    ok(worker_new(&opts, &b->worker, NULL), NULL);
    const struct query_worker w = worker_interface(b->worker);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct query_tags t = questions[i].t;
        struct query_tags_result result;
        struct err err = {0};
        struct arena *a = arena_new(ARENA_BYTES);
        int rc = ask(b, &t, questions[i].filter, a, &result, &err);
        if (rc < 0)
            assert_true(err.msg[0]);
        arena_free(a);
    }
    struct arena *a = arena_new(ARENA_BYTES);
    (void)!w.legacy(w.self, &source, &legacy, DEADLINE, a, &found, NULL);
    arena_free(a);
}

/* Every seventh byte flipped (all of them take long): no answer or some, but an end. */
static void damaged_blocks_do_no_harm(void **state)
{
    (void)state;
    struct bench *b = bench_new(slice_cstr(shop), 1 << 20);
    struct buf key, body;
    struct err err = {0};
    buf_init(&key, 4096);
    buf_init(&body, 1 << 20);
    assert_int_equal(block_key(&key, b->meta.tenant, b->meta.id, "data.parquet"), 0);
    ok(objstore_get(b->store, buf_view(&key), DEADLINE, &body, &err), &err);
    for (size_t i = 0; i < body.len; i += 7) {
        body.ptr[i] ^= (uint8_t)(1 << (i / 7) % 8);
        ok(objstore_put(b->store, buf_view(&key), buf_view(&body), 0, DEADLINE, &err), &err);
        ask_all(b);
        body.ptr[i] ^= (uint8_t)(1 << (i / 7) % 8);
    }
    for (size_t n = 0; n < body.len; n += 97) { /* the object ends early */
        ok(objstore_put(b->store, buf_view(&key), slice_of(body.ptr, n), 0, DEADLINE, &err), &err);
        ask_all(b);
    }
    buf_clear(&key);
    buf_clear(&body);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_from_lists_and_columns),
        cmocka_unit_test(a_filter_leaves_names_of_its_spans_and_columns),
        cmocka_unit_test(over_all_levels_events_and_links_are_seen_in_pairs),
        cmocka_unit_test(values_have_the_types_they_are_stored_with),
        cmocka_unit_test(elements_of_arrays_are_values_and_lists_of_pairs_are_not),
        cmocka_unit_test(columns_and_lists_are_both_read),
        cmocka_unit_test(intrinsics_are_read_as_stored),
        cmocka_unit_test(a_filter_leaves_values_of_its_spans),
        cmocka_unit_test(under_a_filter_numbers_are_words),
        cmocka_unit_test(a_status_is_decided_at_the_first_span_that_is_looked_at),
        cmocka_unit_test(bytes_end_a_job),
        cmocka_unit_test(columns_are_searched_by_part),
        cmocka_unit_test(numbers_and_status_are_compared),
        cmocka_unit_test(lists_are_searched_for_whole_strings),
        cmocka_unit_test(all_tags_must_be_found),
        cmocka_unit_test(bounds_are_those_of_the_trace),
        cmocka_unit_test(of_a_large_column_only_the_dictionary_is_fetched),
        cmocka_unit_test(row_groups_are_put_together),
        cmocka_unit_test(damaged_blocks_do_no_harm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
