/* OTLP/JSON: what senders may write, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "otlp/otlp.h"
#include "tests/support/otlp_support.h"

struct fixture {
    struct span_batch batch, again;
    struct arena *arena;
    struct buf text, out;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->arena = arena_new((size_t)64 << 20);
    buf_init(&f->text, (size_t)64 << 20);
    buf_init(&f->out, (size_t)64 << 20);
    *state = f;
    return f->arena ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    span_batch_clear(&f->batch);
    span_batch_clear(&f->again);
    buf_clear(&f->text);
    buf_clear(&f->out);
    arena_free(f->arena);
    free(f);
    return 0;
}

static int decode(struct fixture *f, struct slice body)
{
    span_batch_reset(&f->batch);
    arena_reset(f->arena);
    f->err = (struct err){0};
    return otlp_json_decode(body, f->arena, &f->batch, &f->err);
}

/* A span's members, as the only span of a request. */
static int decode_span(struct fixture *f, const char *members)
{
    buf_reset(&f->text);
    assert_int_equal(buf_printf(&f->text,
                                "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{%s}]}]}]}",
                                members),
                     0);
    return decode(f, buf_view(&f->text));
}

static const struct span *span_of(struct fixture *f, const char *members)
{
    if (decode_span(f, members) < 0)
        fail_msg("%s: %s", members, f->err.msg);
    assert_int_equal(f->batch.spans.count, 1);
    return &f->batch.spans.at[0];
}

static void an_empty_request_has_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"{}", " { } \n", "{\"resourceSpans\":[]}",
                                        "{\"resourceSpans\":null}",
                                        "{\"other\":[1,{\"a\":\"b\"}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(decode(f, slice_cstr(texts[i])), 0);
        assert_int_equal(f->batch.resources.count, 0);
    }
    assert_int_equal(decode(f, SLICE("{\"resourceSpans\":[{},{\"scopeSpans\":[{}]}]}")), 0);
    assert_int_equal(f->batch.resources.count, 2);
    assert_int_equal(f->batch.scopes.count, 1);
    assert_int_equal(f->batch.spans.count, 0);
}

static const char full_camel[] =
    "\"traceId\":\"0AF7651916cd43dd8448eb211c80319c\",\"spanId\":\"00f067aa0ba902b7\","
    "\"traceState\":\"a=b\",\"parentSpanId\":\"00f067aa0ba902b8\",\"flags\":769,"
    "\"name\":\"GET \\/\",\"kind\":\"SPAN_KIND_SERVER\","
    "\"startTimeUnixNano\":\"1795557535638463488\",\"endTimeUnixNano\":1795557535888463488,"
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"5\"}}],\"droppedAttributesCount\":1,"
    "\"events\":[{\"timeUnixNano\":7,\"name\":\"ev\",\"attributes\":[{\"key\":\"e\"}],"
    "\"droppedAttributesCount\":2}],\"droppedEventsCount\":3,"
    "\"links\":[{\"traceId\":\"11111111111111111111111111111111\",\"spanId\":\"2222222222222222\","
    "\"traceState\":\"x=y\",\"attributes\":[{\"key\":\"l\"}],\"droppedAttributesCount\":4,"
    "\"flags\":256}],\"droppedLinksCount\":\"5\",\"status\":{\"message\":\"m\",\"code\":2}";

static const char full_snake[] =
    "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"00f067aa0ba902b7\","
    "\"trace_state\":\"a=b\",\"parent_span_id\":\"00f067aa0ba902b8\",\"flags\":769,"
    "\"name\":\"GET /\",\"kind\":2,"
    "\"start_time_unix_nano\":1795557535638463488,\"end_time_unix_nano\":\"1795557535888463488\","
    "\"attributes\":[{\"key\":\"k\",\"value\":{\"int_value\":5}}],\"dropped_attributes_count\":1,"
    "\"events\":[{\"time_unix_nano\":\"7\",\"name\":\"ev\",\"attributes\":[{\"key\":\"e\"}],"
    "\"dropped_attributes_count\":2}],\"dropped_events_count\":3,"
    "\"links\":[{\"trace_id\":\"11111111111111111111111111111111\",\"span_id\":"
    "\"2222222222222222\","
    "\"trace_state\":\"x=y\",\"attributes\":[{\"key\":\"l\"}],\"dropped_attributes_count\":4,"
    "\"flags\":256}],\"dropped_links_count\":5,"
    "\"status\":{\"message\":\"m\",\"code\":\"STATUS_CODE_ERROR\"}";

static void every_field_arrives_in_both_spellings(void **state)
{
    struct fixture *f = *state;
    static const uint8_t trace_id[16] = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
                                         0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
    for (unsigned n = 0; n < 2; n++) {
        const struct span *s = span_of(f, n ? full_snake : full_camel);
        assert_memory_equal(s->trace_id, trace_id, 16);
        assert_true(slice_eq(s->span_id, SLICE("\x00\xf0\x67\xaa\x0b\xa9\x02\xb7")));
        assert_true(slice_eq(s->parent_span_id, SLICE("\x00\xf0\x67\xaa\x0b\xa9\x02\xb8")));
        assert_true(slice_eq(s->trace_state, SLICE("a=b")));
        assert_int_equal(s->flags, 769);
        assert_true(slice_eq(s->name, SLICE("GET /")));
        assert_int_equal(s->kind, 2);
        assert_true(s->start_unix_ns == UINT64_C(1795557535638463488));
        assert_true(s->end_unix_ns == UINT64_C(1795557535888463488));
        assert_int_equal(s->attrs.count, 1);
        assert_int_equal(f->batch.attrs.at[s->attrs.first].value.i64, 5);
        assert_int_equal(s->dropped_attrs, 1);
        assert_int_equal(s->events.count, 1);
        const struct event *e = &f->batch.events.at[s->events.first];
        assert_int_equal(e->time_unix_ns, 7);
        assert_true(slice_eq(e->name, SLICE("ev")));
        assert_true(slice_eq(f->batch.attrs.at[e->attrs.first].key, SLICE("e")));
        assert_int_equal(e->dropped_attrs, 2);
        assert_int_equal(s->dropped_events, 3);
        assert_int_equal(s->links.count, 1);
        const struct link *l = &f->batch.links.at[s->links.first];
        assert_int_equal(l->trace_id.len, 16);
        assert_true(slice_eq(l->span_id, SLICE("\"\"\"\"\"\"\"\"")));
        assert_true(slice_eq(l->trace_state, SLICE("x=y")));
        assert_true(slice_eq(f->batch.attrs.at[l->attrs.first].key, SLICE("l")));
        assert_int_equal(l->dropped_attrs, 4);
        assert_int_equal(l->flags, 256);
        assert_int_equal(s->dropped_links, 5);
        assert_true(slice_eq(s->status_message, SLICE("m")));
        assert_int_equal(s->status_code, 2);
    }
}

static void ids_may_be_absent_empty_or_zero(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "", "\"traceId\":\"\",\"spanId\":\"\",\"parentSpanId\":null",
        "\"traceId\":\"00000000000000000000000000000000\",\"spanId\":\"0000000000000000\","
        "\"parentSpanId\":\"0000000000000000\""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct span *s = span_of(f, texts[i]);
        assert_memory_equal(s->trace_id, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
        assert_int_equal(s->span_id.len, 0);
        assert_int_equal(s->parent_span_id.len, 0);
    }
}

static void of_repeated_keys_the_last_counts(void **state)
{
    struct fixture *f = *state;
    const struct span *s =
        span_of(f, "\"name\":\"a\",\"name\":\"b\",\"attributes\":[{\"key\":\"x\"},{\"key\":\"y\"}],"
                   "\"events\":[{\"name\":\"e\"}],\"attributes\":[{\"key\":\"z\"}],"
                   "\"events\":[{\"name\":\"f\"},{}],\"status\":{\"code\":2,\"message\":\"m\"},"
                   "\"status\":{\"code\":1},\"traceId\":\"11111111111111111111111111111111\","
                   "\"traceId\":\"\"");
    assert_true(slice_eq(s->name, SLICE("b")));
    assert_int_equal(s->attrs.count, 1);
    assert_true(slice_eq(f->batch.attrs.at[s->attrs.first].key, SLICE("z")));
    assert_int_equal(s->events.count, 2);
    assert_true(slice_eq(f->batch.events.at[s->events.first].name, SLICE("f")));
    assert_int_equal(s->status_code, 1);
    assert_int_equal(s->status_message.len, 0);
    assert_int_equal(s->trace_id[0], 0);

    assert_int_equal(
        decode(f, SLICE("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{},{},{}]}]}],"
                        "\"resourceSpans\":[{\"resource\":{\"droppedAttributesCount\":1,"
                        "\"attributes\":[{\"key\":\"o\"}]},"
                        "\"scopeSpans\":[{\"spans\":[{}]},{\"spans\":[{\"name\":\"old\"}]}],"
                        "\"scopeSpans\":[{\"spans\":[{}],\"scope\":{\"name\":\"s\"},"
                        "\"spans\":[{\"name\":\"new\"}],\"scope\":{\"version\":\"v\"}}],"
                        "\"resource\":{\"attributes\":[{\"key\":\"n\"}]}}]}")),
        0);
    assert_int_equal(f->batch.resources.count, 1);
    assert_int_equal(f->batch.scopes.count, 1);
    assert_int_equal(f->batch.spans.count, 1);
    assert_true(slice_eq(f->batch.spans.at[0].name, SLICE("new")));
    const struct resource *r = &f->batch.resources.at[0];
    assert_true(r->present);
    assert_int_equal(r->dropped_attrs, 0);
    assert_int_equal(r->attrs.count, 1);
    assert_true(slice_eq(f->batch.attrs.at[r->attrs.first].key, SLICE("n")));
    assert_int_equal(r->scopes.count, 1);
    const struct scope *scope = &f->batch.scopes.at[0];
    assert_int_equal(scope->name.len, 0);
    assert_true(slice_eq(scope->version, SLICE("v")));
    assert_int_equal(scope->spans.count, 1);
}

static void enums_are_names_or_numbers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(span_of(f, "\"kind\":\"SPAN_KIND_UNSPECIFIED\"")->kind, 0);
    assert_int_equal(span_of(f, "\"kind\":\"SPAN_KIND_CONSUMER\"")->kind, 5);
    assert_int_equal(span_of(f, "\"kind\":17")->kind, 17);
    assert_int_equal(span_of(f, "\"kind\":null")->kind, 0);
    assert_int_equal(decode_span(f, "\"kind\":\"SERVER\""), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "readSpan.kind: unknown string value \"SERVER\" at byte "));
    assert_int_equal(decode_span(f, "\"status\":{\"code\":\"BAD\"}"), ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "readStatus.code: unknown string value"));
}

static void wrong_ids_are_told(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *members, *msg;
    } cases[] = {
        /* base64, as other protobuf JSON has it */
        {"\"traceId\":\"CvdlGRbNQ92ESOshHIAxnA==\"",
         "readSpan.traceId: parse trace_id:invalid length for ID, at byte "},
        {"\"spanId\":\"00f067aa0ba902b\"",
         "readSpan.spanId: parse span_id:invalid length for ID, at byte "},
        {"\"parentSpanId\":\"00\"",
         "readSpan.parentSpanId: parse span_id:invalid length for ID, at byte "},
        {"\"links\":[{\"traceId\":\"00\"}]",
         "readLink.traceId: parse trace_id:invalid length for ID, at byte "},
        {"\"links\":[{\"spanId\":\"00\"}]",
         "readLink.spanId: parse span_id:invalid length for ID, at byte "},
        {"\"spanId\":\"00f067aa0ba902bg\"",
         "readSpan.spanId: parse span_id:invalid hex digit, at byte "},
        {"\"spanId\":5", "expected a string, found '5' at byte "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(decode_span(f, cases[i].members), ERR_INVALID);
        if (strncmp(f->err.msg, cases[i].msg, strlen(cases[i].msg)) != 0)
            fail_msg("%s against %s", f->err.msg, cases[i].msg);
    }
}

static void what_is_no_request_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{}}",
                                      "{\"resourceSpans\":{}}",
                                      "{\"resourceSpans\":[5]}",
                                      "{\"resourceSpans\":[{\"resource\":[]}]}",
                                      "{\"resourceSpans\":[{\"scopeSpans\":[{\"scope\":1}]}]}",
                                      "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[1]}]}]}",
                                      "\x0a\x00",
                                      "{\"other\":[1,]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (decode(f, slice_cstr(bad[i])) != ERR_INVALID)
            fail_msg("%s", bad[i]);
        assert_non_null(strstr(f->err.msg, " at byte "));
    }
    static const char *const members[] = {"\"name\":5",
                                          "\"flags\":-1",
                                          "\"startTimeUnixNano\":\"x\"",
                                          "\"attributes\":5",
                                          "\"attributes\":[[]]",
                                          "\"events\":[null,5]",
                                          "\"status\":\"x\"",
                                          "\"droppedLinksCount\":4294967296"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (decode_span(f, members[i]) != ERR_INVALID)
            fail_msg("%s", members[i]);
    }
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    static const unsigned depths[] = {64, 65, 9000};
    struct buf span;
    buf_init(&span, (size_t)4 << 20);
    for (unsigned n = 0; n < 6; n++) {
        unsigned depth = depths[n / 2];
        bool kvlist = n % 2;
        buf_reset(&span);
        assert_int_equal(buf_str(&span, "\"attributes\":[{\"value\":"), 0);
        for (unsigned i = 1; i < depth; i++)
            assert_int_equal(buf_str(&span, kvlist ? "{\"kvlistValue\":{\"values\":[{\"value\":"
                                                   : "{\"arrayValue\":{\"values\":["),
                             0);
        assert_int_equal(buf_str(&span, "{\"boolValue\":true}"), 0);
        for (unsigned i = 1; i < depth; i++)
            assert_int_equal(buf_str(&span, kvlist ? "}]}}" : "]}}"), 0);
        assert_int_equal(buf_append(&span, "}]", 3), 0);
        assert_int_equal(decode_span(f, (const char *)span.ptr), depth == 64 ? 0 : ERR_LIMIT);
    }
    /* In what is skipped, too. */
    buf_reset(&span);
    assert_int_equal(buf_str(&span, "{\"x\":"), 0);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(buf_u8(&span, '['), 0);
    assert_int_equal(decode(f, buf_view(&span)), ERR_LIMIT);
    buf_clear(&span);
}

static void almost_empty_objects_do_not_fill_the_memory(void **state)
{
    struct fixture *f = *state;
    static const char *const before[] = {
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"links\":[",
        "{\"resourceSpans\":[{\"scopeSpans\":["};
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        struct span_batch fresh = {0};
        buf_reset(&f->text);
        assert_int_equal(buf_str(&f->text, before[i]), 0);
        for (unsigned n = 0; n < 300000; n++)
            assert_int_equal(buf_str(&f->text, "{},"), 0);
        assert_int_equal(otlp_json_decode(buf_view(&f->text), f->arena, &fresh, &f->err),
                         ERR_LIMIT);
        assert_non_null(strstr(f->err.msg, "almost empty objects"));
        span_batch_clear(&fresh);
    }
}

static void the_arena_bounds_escapes(void **state)
{
    struct fixture *f = *state;
    struct arena *small = arena_new(32);
    assert_int_equal(otlp_json_decode(SLICE("{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{"
                                            "\"name\":\"\\n0123456789012345678901234567890\"}]}]"
                                            "}]}"),
                                      small, &f->batch, &f->err),
                     ERR_LIMIT);
    arena_free(small);
}

/* ---- whole files ---- */

static const char *const files[] = {"single-tenant/broken",
                                    "single-tenant/emptysvc",
                                    "single-tenant/highid",
                                    "single-tenant/kitchen",
                                    "single-tenant/multiroot",
                                    "single-tenant/noservice",
                                    "single-tenant/rootless",
                                    "single-tenant/shortid",
                                    "single-tenant/triple",
                                    "single-tenant/selfparent",
                                    "single-tenant/zipkin",
                                    "acme/kitchen",
                                    "acme/multiroot",
                                    "acme/shortid",
                                    "acme/bulk1",
                                    "acme/bulk2",
                                    "acme/bulk3",
                                    "acme/bulk4",
                                    "acme/bulk5",
                                    "acme/bulk6",
                                    "acme/bulk7",
                                    "acme/bulk8",
                                    "sharded/batch1",
                                    "sharded/batch2"};

static void read_input(struct fixture *f, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "tests/data/fixtures/input/%s.json", name);
    support_read_file(path, &f->text);
}

static void json_and_protobuf_say_the_same(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        read_input(f, files[i]);
        if (decode(f, buf_view(&f->text)) < 0)
            fail_msg("%s: %s", files[i], f->err.msg);
        assert_true(f->batch.spans.count > 0);
        uint32_t *order = malloc(f->batch.spans.count * sizeof *order);
        struct trace t = support_whole_batch(&f->batch, order);
        buf_reset(&f->out);
        assert_int_equal(otlp_encode(&t, &f->out), 0);
        free(order);
        span_batch_reset(&f->again);
        assert_int_equal(otlp_decode(buf_view(&f->out), &f->again, &f->err), 0);
        char why[200];
        if (!support_batches_equal(&f->batch, &f->again, why))
            fail_msg("%s: %s", files[i], why);
    }
}

static void cut_and_flipped_requests_do_no_harm(void **state)
{
    struct fixture *f = *state;
    char text[sizeof full_camel + 100];
    int n = snprintf(text, sizeof text,
                     "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{%s}]}]}]}", full_camel);
    assert_true(n > 0 && (size_t)n < sizeof text);
    size_t bytes = (size_t)n;
    for (size_t cut = 0; cut < bytes; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, text, cut);
        assert_int_equal(decode(f, slice_of(copy, cut)), ERR_INVALID);
        free(copy);
    }
    for (size_t at = 0; at < bytes; at++) {
        static const char replacements[] = "{}[]\":,\\0n\xff";
        char was = text[at];
        for (const char *r = replacements; *r; r++) {
            text[at] = *r;
            int rc = decode(f, slice_of(text, bytes));
            assert_true(rc == 0 || rc == ERR_INVALID || rc == ERR_LIMIT);
        }
        text[at] = (char)(was ^ 1);
        decode(f, slice_of(text, bytes));
        text[at] = was;
    }
    assert_int_equal(decode(f, slice_of(text, bytes)), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_request_has_nothing),
        TEST(every_field_arrives_in_both_spellings),
        TEST(ids_may_be_absent_empty_or_zero),
        TEST(of_repeated_keys_the_last_counts),
        TEST(enums_are_names_or_numbers),
        TEST(wrong_ids_are_told),
        TEST(what_is_no_request_is_refused),
        TEST(depth_is_bounded),
        TEST(almost_empty_objects_do_not_fill_the_memory),
        TEST(the_arena_bounds_escapes),
        TEST(json_and_protobuf_say_the_same),
        TEST(cut_and_flipped_requests_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
