/* Calls of the StreamingQuerier, read as requests of the HTTP API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/proto.h"
#include "frontend/grpc_question.h"

#define SERVICE "/tempopb.StreamingQuerier/"

static void assert_slice(struct buf *b, const char *want)
{
    assert_int_equal(buf_u8(b, 0), 0);
    assert_string_equal((const char *)b->ptr, want);
}

static void assert_asks(const char *method, const struct buf *message, const char *path,
                        const char *query)
{
    struct grpc_question g = {0};
    struct err err = {0};
    int rc = grpc_question_read(slice_cstr(method), buf_view(message), SLICE(""), &g, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    g.path.max++;
    g.query.max++;
    assert_slice(&g.path, path);
    assert_slice(&g.query, query);
    grpc_question_clear(&g);
}

static void assert_refused(const char *method, struct slice message, int rc, const char *text)
{
    struct grpc_question g = {0};
    struct err err = {0};
    assert_int_equal(grpc_question_read(slice_cstr(method), message, SLICE(""), &g, &err), rc);
    assert_string_equal(err.msg, text);
    assert_null(g.path.ptr);
    assert_null(g.query.ptr);
}

static void put_tag(struct proto_writer *w, const char *key, const char *value)
{
    size_t entry = proto_begin(w, 1);
    proto_put_bytes(w, 1, slice_cstr(key));
    proto_put_bytes(w, 2, slice_cstr(value));
    proto_end(w, entry);
}

static void all_fields_become_parameters_and_zero_ones_do_not(void **state)
{
    (void)state;
    struct buf b;
    struct proto_writer w = {.out = &b};
    buf_init(&b, 1000);
    assert_asks(SERVICE "Search", &b, "/api/search", "");
    put_tag(&w, "service.name", "a \"b\"\\\n");
    put_tag(&w, "x", "");
    proto_put_u64(&w, 2, 100);
    proto_put_u64(&w, 3, 2000);
    proto_put_u64(&w, 4, 50);
    proto_put_u64(&w, 5, 10);
    proto_put_u64(&w, 6, 4294967295);
    proto_put_bytes(&w, 8, SLICE("{ .a = `é&+%` }"));
    proto_put_u64(&w, 9, 7);
    proto_put_bytes(&w, 10, SLICE("unknown"));
    assert_int_equal(w.rc, 0);
    assert_asks(SERVICE "Search", &b, "/api/search",
                "tags=service.name%3D%22a%20%5C%22b%5C%22%5C%5C%5Cu000a%22%20x%3D%22%22%20"
                "&minDuration=100ms&limit=50&maxDuration=2000ms&start=10&end=4294967295"
                "&q=%7B%20.a%20%3D%20%60%C3%A9%26%2B%25%60%20%7D&spss=7");
    buf_clear(&b);
    proto_put_bytes(&w, 1, SLICE("span"));
    proto_put_bytes(&w, 2, SLICE("{}"));
    for (uint32_t n = 3; n <= 6; n++)
        proto_put_u64(&w, n, n);
    const char *tags = "scope=span&q=%7B%7D&start=3&end=4&limit=5&maxStaleValues=6";
    assert_asks(SERVICE "SearchTags", &b, "/api/search/tags", tags);
    assert_asks(SERVICE "SearchTagsV2", &b, "/api/v2/search/tags", tags);
    buf_clear(&b);
    proto_put_bytes(&w, 1, SLICE("span.a/b%41"));
    for (uint32_t n = 4; n <= 7; n++)
        proto_put_u64(&w, n, n);
    const char *values = "start=4&end=5&limit=6&maxStaleValues=7";
    assert_asks(SERVICE "SearchTagValues", &b, "/api/search/tag/span.a%252Fb%252541/values",
                values);
    assert_asks(SERVICE "SearchTagValuesV2", &b, "/api/v2/search/tag/span.a%252Fb%252541/values",
                values);
    buf_clear(&b);
}

static void metrics_times_are_nanoseconds_however_short(void **state)
{
    (void)state;
    struct buf b;
    struct proto_writer w = {.out = &b};
    buf_init(&b, 1000);
    proto_put_bytes(&w, 1, SLICE("{}|rate()"));
    proto_put_u64(&w, 2, 5);
    proto_put_u64(&w, 3, UINT64_C(1795136400000000000));
    proto_put_u64(&w, 4, UINT64_C(15000000000));
    proto_put_u64(&w, 16, 10);
    proto_put_u64(&w, 17, 3);
    assert_asks(SERVICE "MetricsQueryRange", &b, "/api/metrics/query_range",
                "q=%7B%7D%7Crate%28%29&start=00000000005&end=1795136400000000000"
                "&step=15000000000ns&exemplars=10&maxSeries=3");
    assert_asks(SERVICE "MetricsQueryInstant", &b, "/api/metrics/query",
                "q=%7B%7D%7Crate%28%29&start=00000000005&end=1795136400000000000");
    buf_clear(&b);
}

static void the_last_of_a_field_counts_and_large_numbers_are_cut(void **state)
{
    (void)state;
    struct buf b;
    struct proto_writer w = {.out = &b};
    buf_init(&b, 1000);
    proto_put_u64(&w, 4, 1);
    proto_put_u64(&w, 4, (UINT64_C(1) << 32) + 9);
    proto_put_bytes(&w, 8, SLICE("{ a }"));
    proto_put_bytes(&w, 8, SLICE("{}"));
    assert_asks(SERVICE "Search", &b, "/api/search", "limit=9&q=%7B%7D");
    buf_clear(&b);
}

static void the_prefix_stands_before_the_path(void **state)
{
    (void)state;
    struct grpc_question g = {0};
    struct err err = {0};
    assert_int_equal(
        grpc_question_read(SLICE(SERVICE "SearchTags"), SLICE(""), SLICE("/tempo"), &g, &err), 0);
    assert_true(slice_eq(buf_view(&g.path), SLICE("/tempo/api/search/tags")));
    grpc_question_clear(&g);
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    const char *search = SERVICE "Search";
    assert_refused(search, SLICE("\x42\x05{"), ERR_CORRUPT,
                   "grpc: error unmarshalling request: protobuf field 8 at byte 0: cut off, or of "
                   "an unknown wire type");
    assert_refused(search, SLICE("\x40\x05"), ERR_CORRUPT,
                   "grpc: error unmarshalling request: protobuf field 8 at byte 0: bytes are "
                   "expected");
    assert_refused(search, SLICE("\x22\x01x"), ERR_CORRUPT,
                   "grpc: error unmarshalling request: protobuf field 4 at byte 0: a number is "
                   "expected");
    assert_refused(search, SLICE("\x0a\x02\x0a\x05"), ERR_CORRUPT,
                   "grpc: error unmarshalling request: protobuf field 1 at byte 0: cut off, or of "
                   "an unknown wire type");
    assert_refused(search,
                   SLICE("\x0a\x05\x0a\x03"
                         "a b"),
                   ERR_INVALID, "invalid tags: \"a b\" is no name of a tag");
    assert_refused(search, SLICE("\x0a\x00"), ERR_INVALID,
                   "invalid tags: \"\" is no name of a tag");
    assert_refused(SERVICE "SearchTagValues", SLICE(""), ERR_INVALID,
                   "please provide a non-empty tagName");
    assert_refused(SERVICE "Nope", SLICE(""), ERR_UNSUPPORTED, "unknown method");
    assert_refused("", SLICE(""), ERR_UNSUPPORTED, "unknown method");
}

static void a_text_that_no_parameter_may_have_is_refused(void **state)
{
    (void)state;
    struct buf b;
    struct proto_writer w = {.out = &b};
    buf_init(&b, 2 << 20);
    char *text = malloc((1 << 20) + 1);
    assert_non_null(text);
    memset(text, 'a', (1 << 20) + 1);
    proto_put_bytes(&w, 8, slice_of(text, (1 << 20) + 1));
    assert_refused(SERVICE "Search", buf_view(&b), ERR_INVALID,
                   "q of 1048577 bytes, at most 1048576 are taken");
    buf_reset(&b);
    proto_put_bytes(&w, 1, slice_of(text, (1 << 20) + 1));
    assert_refused(SERVICE "SearchTagValues", buf_view(&b), ERR_INVALID,
                   "a tag's name of 1048577 bytes, at most 1048576 are taken");
    free(text);
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_become_parameters_and_zero_ones_do_not),
        cmocka_unit_test(metrics_times_are_nanoseconds_however_short),
        cmocka_unit_test(the_last_of_a_field_counts_and_large_numbers_are_cut),
        cmocka_unit_test(the_prefix_stands_before_the_path),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(a_text_that_no_parameter_may_have_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
