/* The query API's JSON against what Tempo answered, and field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "otlp/otlp.h"
#include "tests/support/otlp_support.h"

static void check_text(const struct buf *out, const char *want)
{
    if (out->len != strlen(want) || memcmp(out->ptr, want, out->len) != 0)
        fail_msg("got  %.*s\nwant %s", SLICE_ARGS(buf_view(out)), want);
}

/* Decoded, grouped, sorted, ids fixed: what an answer goes through. */
static void answers_are_tempos_byte_for_byte(void **state)
{
    (void)state;
    static const char *const names[] = {"broken",    "highid",   "multiroot",
                                        "noservice", "rootless", "selfparent",
                                        "shortid",   "triple",   "zipkin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct span_batch batch = {0};
        struct arena *arena = arena_new((size_t)1 << 20);
        struct buf input, want, out;
        struct err err;
        char path[200];
        buf_init(&input, (size_t)1 << 20);
        buf_init(&want, (size_t)1 << 20);
        buf_init(&out, (size_t)1 << 20);
        snprintf(path, sizeof path, "tests/data/fixtures/input/single-tenant/%s.json", names[i]);
        support_read_file(path, &input);
        snprintf(path, sizeof path, "tests/data/otlp/answers/%s.v1.json", names[i]);
        support_read_file(path, &want);
        assert_int_equal(buf_u8(&want, 0), 0);

        assert_int_equal(otlp_json_decode(buf_view(&input), arena, &batch, &err), 0);
        uint32_t order[100];
        uint8_t ids[100][8];
        assert_true(batch.spans.count <= 100);
        int64_t n = span_batch_group(&batch, order);
        assert_true(n > 0);
        assert_int_equal(trace_sort(&batch, order, (uint32_t)n), 0);
        assert_int_equal(trace_fix_shared_ids(&batch, order, (uint32_t)n, ids), 0);
        struct trace t = {.batch = &batch, .spans = order, .span_count = (uint32_t)n};
        assert_int_equal(otlp_json_encode(&t, "batches", &out), 0);
        check_text(&out, (const char *)want.ptr);

        span_batch_clear(&batch);
        buf_clear(&input);
        buf_clear(&want);
        buf_clear(&out);
        arena_free(arena);
    }
}

static void every_field_has_its_place(void **state)
{
    (void)state;
    struct span_batch b = {0};
    struct arena *arena = arena_new((size_t)1 << 20);
    struct err err;
    static const char text[] =
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"replicas\",\"value\":"
        "{\"intValue\":3}}],\"droppedAttributesCount\":1},\"scopeSpans\":[{\"scope\":{\"name\":"
        "\"libA\",\"version\":\"1.0\",\"attributes\":[{\"key\":\"scope.attr\",\"value\":"
        "{\"stringValue\":\"x\"}}],\"droppedAttributesCount\":2},\"spans\":[{\"traceId\":"
        "\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"00f067aa0ba902b7\",\"traceState\":"
        "\"a=b\",\"parentSpanId\":\"00f067aa0ba902b8\",\"flags\":257,\"name\":\"GET /\",\"kind\":2,"
        "\"startTimeUnixNano\":1,\"endTimeUnixNano\":18446744073709551615,\"attributes\":["
        "{\"key\":\"bin\",\"value\":{\"bytesValue\":\"AQID\"}},{\"key\":\"nov\",\"value\":{}}],"
        "\"droppedAttributesCount\":3,\"events\":[{\"timeUnixNano\":5,\"name\":\"ev\","
        "\"attributes\":[{\"key\":\"e\",\"value\":{\"stringValue\":\"1\"}}],"
        "\"droppedAttributesCount\":4},{}],\"droppedEventsCount\":5,\"links\":[{\"traceId\":"
        "\"11111111111111111111111111111111\",\"spanId\":\"2222222222222222\",\"traceState\":"
        "\"x=y\",\"attributes\":[{\"key\":\"l\"}],\"droppedAttributesCount\":6,\"flags\":7}],"
        "\"droppedLinksCount\":4294967295,\"status\":{\"message\":\"<m>\",\"code\":1}},"
        "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"kind\":9,\"status\":{\"code\":-1}}]}]"
        "}]}";
    assert_int_equal(otlp_json_decode(slice_of(text, sizeof text - 1), arena, &b, &err), 0);
    uint32_t order[2];
    struct trace t = support_whole_batch(&b, order);
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(otlp_json_encode(&t, "resourceSpans", &out), 0);
    check_text(
        &out,
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"replicas\",\"value\":"
        "{\"intValue\":\"3\"}}],\"droppedAttributesCount\":1},\"scopeSpans\":[{\"scope\":{\"name\":"
        "\"libA\",\"version\":\"1.0\",\"attributes\":[{\"key\":\"scope.attr\",\"value\":"
        "{\"stringValue\":\"x\"}}],\"droppedAttributesCount\":2},\"spans\":[{\"traceId\":"
        "\"CvdlGRbNQ92ESOshHIAxnA==\",\"spanId\":\"APBnqgupArc=\",\"traceState\":\"a=b\","
        "\"parentSpanId\":\"APBnqgupArg=\",\"flags\":257,\"name\":\"GET /\",\"kind\":"
        "\"SPAN_KIND_SERVER\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":"
        "\"18446744073709551615\",\"attributes\":[{\"key\":\"bin\",\"value\":{\"bytesValue\":"
        "\"AQID\"}},{\"key\":\"nov\",\"value\":{}}],\"droppedAttributesCount\":3,\"events\":["
        "{\"timeUnixNano\":\"5\",\"name\":\"ev\",\"attributes\":[{\"key\":\"e\",\"value\":"
        "{\"stringValue\":\"1\"}}],\"droppedAttributesCount\":4},{}],\"droppedEventsCount\":5,"
        "\"links\":[{\"traceId\":\"EREREREREREREREREREREQ==\",\"spanId\":\"IiIiIiIiIiI=\","
        "\"traceState\":\"x=y\",\"attributes\":[{\"key\":\"l\",\"value\":{}}],"
        "\"droppedAttributesCount\":6,\"flags\":7}],\"droppedLinksCount\":4294967295,\"status\":"
        "{\"message\":\"\\u003cm\\u003e\",\"code\":\"STATUS_CODE_OK\"}},{\"traceId\":"
        "\"CvdlGRbNQ92ESOshHIAxnA==\",\"kind\":9,\"status\":{\"code\":-1}}]}]}]}");

    /* In a buffer that is too small nothing is left. */
    size_t whole = out.len;
    buf_clear(&out);
    for (size_t max = 1; max < whole; max += 37) {
        buf_init(&out, max);
        assert_int_equal(buf_u8(&out, 'a'), 0);
        assert_int_equal(otlp_json_encode(&t, "resourceSpans", &out), ERR_LIMIT);
        assert_int_equal(out.len, 1);
        buf_clear(&out);
    }
    span_batch_clear(&b);
    arena_free(arena);
}

static void a_trace_without_spans_is_an_empty_object(void **state)
{
    (void)state;
    struct span_batch b = {0};
    struct trace t = {.batch = &b};
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(buf_str(&out, "{\"trace\":"), 0);
    assert_int_equal(otlp_json_encode(&t, "resourceSpans", &out), 0);
    check_text(&out, "{\"trace\":{}");
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_tempos_byte_for_byte),
        cmocka_unit_test(every_field_has_its_place),
        cmocka_unit_test(a_trace_without_spans_is_an_empty_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
