/* Answers of the API for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rubato/query_show.h"

static const struct query_screen plain = {.width = 60, .height = 8};

static void shows(query_show_fn *show, const char *json, const char *want)
{
    struct arena *a = arena_new((size_t)64 << 20);
    struct err err = {0};
    struct buf out;
    cJSON *doc = cJSON_Parse(json);
    if (!doc)
        fail_msg("not JSON: %s", json);
    buf_init(&out, (size_t)64 << 20);
    if (show(doc, &plain, a, &out, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(buf_u8(&out, 0), 0);
    assert_string_equal((char *)out.ptr, want);
    buf_clear(&out);
    cJSON_Delete(doc);
    arena_free(a);
}

/* ---- search, tags, values ---- */

static void a_search_is_a_table_of_traces(void **state)
{
    (void)state;
    shows(query_show_search,
          "{\"traces\":[{\"traceID\":\"af76\",\"rootServiceName\":\"frontend\","
          "\"rootTraceName\":\"GET /\\u001b[31m\",\"startTimeUnixNano\":\"1795132800123456789\","
          "\"durationMs\":1250,\"spanSet\":{\"matched\":3},\"spanSets\":[{\"matched\":3},"
          "{\"matched\":2}]},"
          "{\"traceID\":\"4a250000000000000000000000000035\","
          "\"rootServiceName\":\"<root span not yet received>\","
          "\"startTimeUnixNano\":\"1795132801000000000\"}],"
          "\"metrics\":{\"inspectedBytes\":\"1843600\",\"completedJobs\":2,\"totalJobs\":3}}",
          "TRACE ID                          ROOT SERVICE                  ROOT NAME      START   "
          "                  DURATION  SPANS\n"
          "af76                              frontend                      GET /\\x1b[31m  "
          "2026-11-20 00:00:00.123Z     1.25s      5\n"
          "4a250000000000000000000000000035  <root span not yet received>                 "
          "2026-11-20 00:00:01.000Z      <1ms      0\n"
          "2 traces, 1.8 MB inspected, 2 of 3 jobs: there may be more (--limit)\n");
    shows(query_show_search, "{\"traces\":[],\"metrics\":{}}", "no traces, 0.0 MB inspected\n");
}

static void tags_are_written_as_traceql_takes_them(void **state)
{
    (void)state;
    shows(query_show_tags,
          "{\"scopes\":[{\"name\":\"resource\",\"tags\":[\"service.name\",\"a b\"]},"
          "{\"name\":\"span\",\"tags\":[\"quo\\\"te\",\"x\\ny\"]},"
          "{\"name\":\"intrinsic\",\"tags\":[\"span:status\"]},{\"name\":\"link\"}]}",
          "resource.service.name\nresource.\"a b\"\nspan.\"quo\\\"te\"\nspan.\"x\\x0ay\"\n"
          "span:status\n");
}

static void values_have_their_type(void **state)
{
    (void)state;
    shows(query_show_values,
          "{\"tagValues\":[{\"type\":\"string\",\"value\":\"shop\"},{\"type\":\"int\","
          "\"value\":\"200\"},{\"type\":\"string\"}]}",
          "TYPE    VALUE\nstring  shop\nint     200\nstring\n");
    shows(query_show_values, "{\"tagValues\":[]}", "no values\n");
}

/* ---- series ---- */

static void an_instant_answer_is_a_value_a_series(void **state)
{
    (void)state;
    shows(query_show_instant,
          "{\"series\":[{\"labels\":[{\"key\":\"span.a\",\"value\":{\"stringValue\":\"x\"}},"
          "{\"key\":\"p\",\"value\":{\"doubleValue\":0.9}}],\"value\":2.5},"
          "{\"labels\":[{\"key\":\"span.n\",\"value\":{\"intValue\":\"7\"}},{\"key\":\"ok\","
          "\"value\":{\"boolValue\":true}}]},"
          "{\"labels\":[{\"key\":\"__name__\",\"value\":{\"stringValue\":\"rate\"}}],"
          "\"value\":\"NaN\"}]}",
          "SERIES               VALUE\n"
          "{span.a=\"x\", p=0.9}    2.5\n"
          "{span.n=7, ok=true}      0\n"
          "rate                   NaN\n");
    shows(query_show_instant, "{\"metrics\":{}}", "no series\n");
}

static void a_range_is_a_chart_and_a_table(void **state)
{
    (void)state;
    shows(query_show_range,
          "{\"series\":[{\"labels\":[{\"key\":\"name\",\"value\":{\"stringValue\":\"a\"}}],"
          "\"samples\":[{\"timestampMs\":\"1795132800000\"},"
          "{\"timestampMs\":\"1795132860000\",\"value\":2},"
          "{\"timestampMs\":\"1795132920000\",\"value\":4}]},"
          "{\"labels\":[{\"key\":\"name\",\"value\":{\"stringValue\":\"b\"}}],"
          "\"samples\":[{\"timestampMs\":\"1795132860000\",\"value\":1}]}]}",
          "4 +                                                *****\n"
          "  |                                       *********\n"
          "  |                               ********\n"
          "2 +                    ***********\n"
          "  |       *************      +\n"
          "0 +*******\n"
          "  +-----------------------------------------------------\n"
          "   00:00:00              00:01:00               00:02:00 UTC\n"
          "   SERIES      MIN  AVG  MAX  LAST\n"
          "*  {name=\"a\"}    0    2    4     4\n"
          "+  {name=\"b\"}    1    1    1     1\n");
    shows(query_show_range, "{\"series\":[]}", "no series\n");
}

/* Points are put on one grid, however many there are and however far apart. */
static void odd_samples_are_survived(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{\"series\":[{}]}",
        "{\"series\":[null,5,\"x\",[]]}",
        "{\"series\":{\"a\":1}}",
        "{\"series\":[{\"samples\":[{}]}]}",
        "{\"series\":[{\"samples\":[{\"timestampMs\":\"1\"},{\"timestampMs\":\"2\"},"
        "{\"timestampMs\":\"18446744073709551615\"},{\"timestampMs\":\"2305843009213693951\"}]}]}",
        "{\"series\":[{\"samples\":[{\"timestampMs\":-5,\"value\":1e999},"
        "{\"timestampMs\":1.5e300,\"value\":\"x\"}]}]}",
        "{\"series\":[{\"samples\":[{\"timestampMs\":\"9\",\"value\":1},{\"timestampMs\":\"3\","
        "\"value\":{}}]}]}",
        "{\"series\":[{\"labels\":[{\"key\":5,\"value\":{\"arrayValue\":{\"values\":["
        "{\"arrayValue\":{}},{\"intValue\":\"1\"}]}}}],\"samples\":[{\"timestampMs\":\"9\"}]}]}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct arena *a = arena_new((size_t)64 << 20);
        struct buf out;
        cJSON *doc = cJSON_Parse(odd[i]);
        assert_non_null(doc);
        buf_init(&out, (size_t)1 << 20);
        assert_int_equal(query_show_range(doc, &plain, a, &out, NULL), 0);
        assert_int_equal(query_show_instant(doc, &plain, a, &out, NULL), 0);
        assert_true(out.len > 0);
        buf_clear(&out);
        cJSON_Delete(doc);
        arena_free(a);
    }
}

/* ---- traces ---- */

#define ID "AAAAAAAAAAAAAAAAAAAAAQ=="

/* A span that starts at 1795132800 s + start ms. */
#define SPAN(id, parent, name, start, more)                                                        \
    "{\"traceId\":\"" ID "\",\"spanId\":\"" id "\",\"parentSpanId\":\"" parent "\","               \
    "\"name\":\"" name "\",\"startTimeUnixNano\":\"17951328000" start "000000\","                  \
    "\"endTimeUnixNano\":\"1795132800100000000\"" more "}"
#define TRACE(service, spans)                                                                      \
    "{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"         \
    "\"" service "\"}}]},\"scopeSpans\":[{\"spans\":[" spans "]}]}"

static void a_trace_is_a_tree_in_order_of_time(void **state)
{
    (void)state;
    shows(
        query_show_trace,
        "{\"trace\":{\"resourceSpans\":[" TRACE(
            "web",
            SPAN("c", "a", "late", "40", ",\"kind\":\"SPAN_KIND_CLIENT\"") "," SPAN(
                "a", "", "GET /", "00",
                ",\"kind\":\"SPAN_KIND_SERVER\"")) "," TRACE("db",
                                                             SPAN("b", "a", "early", "10", "") "," SPAN(
                                                                 "d", "b", "query", "20",
                                                                 ",\"status\":{\"code\":\"STATUS_"
                                                                 "CODE_ERROR\",\"message\":"
                                                                 "\"no\\nrows\"}") "," SPAN("e",
                                                                                            "b",
                                                                                            "commi"
                                                                                            "t",
                                                                                            "30",
                                                                                            ",\"sta"
                                                                                            "tus\":"
                                                                                            "{\"cod"
                                                                                            "e\":"
                                                                                            "\"STAT"
                                                                                            "US_"
                                                                                            "CODE_"
                                                                                            "OK\""
                                                                                            "}")) "]}}",
        "trace 00000000000000000000000000000001  2026-11-20 00:00:00.000Z, 100ms, 5 spans of 2 "
        "services, 1 error\n\n"
        "SPAN          SERVICE  KIND    START  DURATION  STATUS\n"
        "GET /         web      server    +0s     100ms\n"
        "├─ early      db               +10ms      90ms\n"
        "│  ├─ query   db               +20ms      80ms  error: no\\x0arows\n"
        "│  └─ commit  db               +30ms      70ms  ok\n"
        "└─ late       web      client  +40ms      60ms\n");
}

static void spans_that_hang_on_nothing_are_roots(void **state)
{
    (void)state;
    shows(query_show_trace,
          "{\"trace\":{\"resourceSpans\":[" TRACE(
              "s",
              SPAN("a", "gone", "orphan", "00", "") "," SPAN("b", "a", "child", "10", "") "," SPAN(
                  "c", "c", "own parent", "20",
                  "") "," SPAN("d", "e", "round", "30",
                               "") "," SPAN("e", "f", "and", "40",
                                            "") "," SPAN("f", "d", "about", "50",
                                                         "") "," SPAN("a", "b", "same id", "60",
                                                                      "") "," SPAN("", "", "no id",
                                                                                   "70", "")) "]}}",
          "trace 00000000000000000000000000000001  2026-11-20 00:00:00.000Z, 100ms, 8 spans of 1 "
          "service\n\n"
          "SPAN           SERVICE  KIND  START  DURATION  STATUS\n"
          "orphan         s                +0s     100ms\n"
          "└─ child       s              +10ms      90ms\n"
          "   └─ same id  s              +60ms      40ms\n"
          "own parent     s              +20ms      80ms\n"
          "no id          s              +70ms      30ms\n"
          "round          s              +30ms      70ms\n"
          "└─ about       s              +50ms      50ms\n"
          "   └─ and      s              +40ms      60ms\n");
}

static void a_trace_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    static const char *const none[] = {"{\"trace\":{}}", "{}",
                                       "{\"trace\":{\"resourceSpans\":[]}}"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        struct err err = {0};
        cJSON *doc = cJSON_Parse(none[i]);
        struct buf out;
        buf_init(&out, 1024);
        assert_int_equal(query_show_trace(doc, &plain, NULL, &out, &err), ERR_NOTFOUND);
        buf_clear(&out);
        cJSON_Delete(doc);
    }
}

/* A chain of spans, each the parent of the next, and many children of one: neither is slow nor deep
 * on the stack. */
static void deep_and_wide_traces_are_shown(void **state)
{
    (void)state;
    enum { SPANS = 20000 };
    for (int wide = 0; wide < 2; wide++) {
        struct arena *a = arena_new((size_t)512 << 20);
        struct buf json, out;
        buf_init(&json, (size_t)64 << 20);
        buf_init(&out, (size_t)64 << 20);
        assert_int_equal(
            buf_str(&json, "{\"trace\":{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":["), 0);
        for (int i = 0; i < SPANS; i++)
            assert_int_equal(buf_printf(&json,
                                        "%s{\"spanId\":\"s%d\",\"parentSpanId\":\"s%d\","
                                        "\"name\":\"n\",\"startTimeUnixNano\":\"%d\"}",
                                        i ? "," : "", i, wide ? 0 : i - 1, 1000 + i),
                             0);
        assert_int_equal(buf_str(&json, "]}]}]}}"), 0);
        cJSON *doc = cJSON_ParseWithLength((const char *)json.ptr, json.len);
        assert_non_null(doc);
        assert_int_equal(query_show_trace(doc, &plain, a, &out, NULL), 0);
        size_t lines = 0;
        for (size_t i = 0; i < out.len; i++)
            lines += out.ptr[i] == '\n';
        assert_int_equal(lines, SPANS + 3);
        cJSON_Delete(doc);
        buf_clear(&json);
        buf_clear(&out);
        arena_free(a);
    }
}

/* ---- explanations and carets ---- */

static int show_tree(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                     struct buf *out, struct err *err)
{
    (void)screen;
    (void)a;
    (void)err;
    return query_show_tree(answer, out);
}

static void json_of_any_shape_is_a_tree(void **state)
{
    (void)state;
    shows(show_tree,
          "{\"plan\":\"{ a }\",\"pages\":{\"read\":5,\"skipped\":[1,2.5,true,null]},"
          "\"steps\":[{\"name\":\"fetch\",\"ms\":1.25},{\"name\":\"x\\ny\"}],\"none\":[],"
          "\"empty\":{}}",
          "  plan: { a }\n"
          "  pages:\n"
          "    read: 5\n"
          "    skipped: 1, 2.5, yes, -\n"
          "  steps:\n"
          "    -\n"
          "      name: fetch\n"
          "      ms: 1.25\n"
          "    -\n"
          "      name: x\\x0ay\n"
          "  none: \n"
          "  empty:\n");
    shows(show_tree, "\"one line\"", "  one line\n");
}

static void a_tree_is_cut_where_it_is_too_deep(void **state)
{
    (void)state;
    char json[2048] = "";
    for (int i = 0; i < 300; i++)
        strncat(json, "[{}, ", sizeof json - strlen(json) - 1);
    strncat(json, "1", sizeof json - strlen(json) - 1);
    for (int i = 0; i < 300; i++)
        strncat(json, "]", sizeof json - strlen(json) - 1);
    cJSON *doc = cJSON_Parse(json);
    struct buf out;
    assert_non_null(doc);
    buf_init(&out, 1 << 20);
    assert_int_equal(query_show_tree(doc, &out), 0);
    assert_non_null(memmem(out.ptr, out.len, "…", 3));
    buf_clear(&out);
    cJSON_Delete(doc);
}

static void assert_caret(const char *text, const char *message, const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(query_show_caret(slice_cstr(text), slice_cstr(message), &out), 0);
    assert_int_equal(buf_u8(&out, 0), 0);
    assert_string_equal((char *)out.ptr, want);
    buf_clear(&out);
}

static void a_caret_stands_under_the_column(void **state)
{
    (void)state;
    assert_caret("{ a }", "invalid TraceQL query: parse error at line 1, col 3: syntax error",
                 "  { a }\n    ^\n");
    assert_caret("{ .a = \"日本\" b }", "at line 1, col 13: x",
                 "  { .a = \"日本\" b }\n                ^\n");
    assert_caret("{ .a\n\t&& b }", "at line 2, col 5: x", "  \\x09&& b }\n         ^\n");
    assert_caret("{", "at line 1, col 2: x", "  {\n   ^\n");
    assert_caret("{", "at line 1, col 999999999: x", "  {\n   ^\n");
    assert_caret("{", "at line 999999999, col 1: x", "  \n  ^\n");
    assert_caret("{", "a line without a number", "");
    assert_caret("{", "line 0, col 0", "");
    assert_caret("{", "", "");
}

static void durations_and_times_are_short(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *want;
    } durations[] = {{0, "0s"},
                     {999, "999ns"},
                     {1234, "1.23µs"},
                     {1234567, "1.235ms"},
                     {123456789, "123.46ms"},
                     {1234567890, "1.235s"},
                     {61234567890, "1m1.2s"},
                     {UINT64_MAX, "2562047h47m16.854775807s"}};
    char text[40];
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        short_duration(durations[i].ns, text);
        assert_string_equal(text, durations[i].want);
    }
    short_time(0, text);
    assert_string_equal(text, "?");
    short_time(UINT64_MAX, text);
    assert_string_equal(text, "2554-07-21 23:34:33.709Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_is_a_table_of_traces),
        cmocka_unit_test(tags_are_written_as_traceql_takes_them),
        cmocka_unit_test(values_have_their_type),
        cmocka_unit_test(an_instant_answer_is_a_value_a_series),
        cmocka_unit_test(a_range_is_a_chart_and_a_table),
        cmocka_unit_test(odd_samples_are_survived),
        cmocka_unit_test(a_trace_is_a_tree_in_order_of_time),
        cmocka_unit_test(spans_that_hang_on_nothing_are_roots),
        cmocka_unit_test(a_trace_that_is_not_there_is_an_error),
        cmocka_unit_test(deep_and_wide_traces_are_shown),
        cmocka_unit_test(json_of_any_shape_is_a_tree),
        cmocka_unit_test(a_tree_is_cut_where_it_is_too_deep),
        cmocka_unit_test(a_caret_stands_under_the_column),
        cmocka_unit_test(durations_and_times_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
