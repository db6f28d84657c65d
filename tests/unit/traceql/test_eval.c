/* Evaluation of filters: the verified answers of the language's description, and what the rules say
 * beside them. test_eval_random.c compares with a slow evaluator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/naive_eval.h"

#define ARENA_BYTES ((size_t)256 << 20)

#define STR(s)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_STRING, .str = {(const uint8_t *)(s), sizeof(s) - 1 }                      \
    }
#define INT(n)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_INT, .i64 = (n)                                                            \
    }
#define FLT(n)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_FLOAT, .f64 = (n)                                                          \
    }
#define BOO(x)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_BOOL, .b = (x)                                                             \
    }
#define ATTRS(list)                                                                                \
    {                                                                                              \
        (list), sizeof(list) / sizeof(list)[0]                                                     \
    }
#define MS INT64_C(1000000)

/* ---- asking ---- */

struct answer {
    struct arena *arena;
    struct traceql_query *query;
    struct traceql_result result;
    struct err err;
    int rc;
};

static void ask(const struct model *m, const char *query, struct answer *out)
{
    *out = (struct answer){.arena = arena_new(ARENA_BYTES)};
    struct traceql_eval *e;
    struct traceql_batch *batch = arena_zalloc(out->arena, sizeof *batch);
    out->rc = traceql_parse(slice_cstr(query), out->arena, &out->query, &out->err);
    if (out->rc < 0)
        fail_msg("%s: %s", query, out->err.msg);
    out->rc = traceql_eval_new(out->query, out->arena, &e, &out->err);
    if (out->rc < 0)
        return;
    model_batch(m, out->query, out->arena, batch);
    out->rc = traceql_eval_batch(e, batch, out->arena, &out->result, &out->err);
}

/* The names of the matched spans, in the order of the result, traces divided by " / ". */
static void names_of(const struct model *m, const struct answer *a, char *out, size_t size)
{
    out[0] = 0;
    for (uint32_t t = 0; t < a->result.set_count; t++) {
        const struct traceql_spanset *match = &a->result.sets[t];
        for (uint32_t i = 0; i < match->count; i++) {
            uint32_t span = a->result.spans[match->first + i];
            assert_int_equal(m->spans[span].trace, match->trace);
            size_t n = strlen(out);
            snprintf(out + n, size - n, "%s%s", i ? " " : t ? " / " : "", m->spans[span].name);
        }
    }
}

static void assert_answer(const struct model *m, const char *query, const char *want)
{
    struct answer a;
    char got[1024];
    ask(m, query, &a);
    if (a.rc < 0)
        fail_msg("%s: %s", query, a.err.msg);
    names_of(m, &a, got, sizeof got);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", query, got, want);
    arena_free(a.arena);
}

static void assert_fails(const struct model *m, const char *query, int code, const char *word)
{
    struct answer a;
    ask(m, query, &a);
    if (a.rc == 0)
        fail_msg("%s: no error", query);
    assert_int_equal(a.rc, code);
    assert_int_equal(a.err.code, code);
    if (!strstr(a.err.msg, word))
        fail_msg("%s: %s, expected: %s", query, a.err.msg, word);
    arena_free(a.arena);
}

/* What the result shows of the first span with this name. */
static void assert_pairs(const struct model *m, const char *query, const char *name,
                         const char *want)
{
    struct answer a;
    ask(m, query, &a);
    if (a.rc < 0)
        fail_msg("%s: %s", query, a.err.msg);
    for (uint32_t i = 0; i < a.result.span_count; i++) {
        uint32_t span = a.result.spans[i];
        if (strcmp(m->spans[span].name, name) != 0)
            continue;
        char *got = pairs_text(&a.result, span);
        if (strcmp(got, want) != 0)
            fail_msg("%s: %s\n got: %s\nwant: %s", query, name, got, want);
        free(got);
        arena_free(a.arena);
        return;
    }
    fail_msg("%s: %s is not found", query, name);
}

/* ---- the verified data set ---- */

static const struct model_attr v_str10[] = {{"v", 1, {STR("10")}}, {"foo", 1, {STR("spanfoo")}}};
static const struct model_attr v_int10[] = {{"v", 1, {INT(10)}}};
static const struct model_attr v_flt10[] = {{"v", 1, {FLT(10.0)}}};
static const struct model_attr v_int5[] = {{"v", 1, {INT(5)}}};
static const struct model_attr v_flt55[] = {{"v", 1, {FLT(5.5)}}};
static const struct model_attr v_true[] = {{"v", 1, {BOO(true)}}};
static const struct model_attr v_false[] = {{"v", 1, {BOO(false)}}};
static const struct model_attr v_absent[] = {{"w", 1, {INT(1)}}};
static const struct model_attr v_sarr[] = {{"v", 2, {STR("10"), STR("abc")}}};
static const struct model_attr v_iarr[] = {{"v", 2, {INT(10), INT(20)}}};
static const struct model_attr v_farr[] = {{"v", 2, {FLT(10.0), FLT(5.5)}}};
static const struct model_attr v_barr[] = {{"v", 2, {BOO(true), BOO(false)}}};
static const struct model_attr v_one[] = {{"v", 1, {STR("abc")}}};
static const struct model_attr v_unreadable[] = {{"v", 0, {{0}}}};
static const struct model_attr v_estr[] = {{"v", 1, {STR("")}}};
static const struct model_attr v_strabc[] = {{"v", 1, {STR("abc")}}};
static const struct model_attr v_int0[] = {{"v", 1, {INT(0)}}};
static const struct model_attr v_resource[] = {
    {"service.name", 1, {STR("svcA")}}, {"foo", 1, {STR("resfoo")}},
    {"only", 1, {STR("res")}},          {"rint", 1, {INT(7)}},
    {"http.method", 1, {STR("RESM")}},
};
static const struct model_attr v_scope[] = {{"ik", 1, {STR("iv")}}, {"foo", 1, {STR("instfoo")}}};

#define SPAN(n, name_, list, ms)                                                                   \
    {                                                                                              \
        .id = {(const uint8_t *)"\0\0\0\0\0\0\0" #n, 8}, .name = (name_), .status_message = "",    \
        .duration_ns = (ms)*MS, .left = (n), .right = (n), .parent = 1, .attrs = ATTRS(list)       \
    }

static const struct model_span v_spans[] = {
    {.id = {(const uint8_t *)"\x0a\0\0\0\0\0\0\x01", 8},
     .name = "str10",
     .status_message = "",
     .duration_ns = 1 * MS,
     .left = 1,
     .right = 40,
     .parent = -1,
     .attrs = ATTRS(v_str10)},
    SPAN(2, "int10", v_int10, 2),
    {.id = {(const uint8_t *)"\0\0\0\0\0\0\0\x03", 8},
     .name = "flt10",
     .status_message = "",
     .duration_ns = 3 * MS,
     .status = 2,
     .left = 4,
     .right = 5,
     .parent = 1,
     .attrs = ATTRS(v_flt10)},
    SPAN(6, "int5", v_int5, 4),
    SPAN(8, "flt5.5", v_flt55, 5),
    SPAN(10, "true", v_true, 6),
    SPAN(12, "false", v_false, 7),
    SPAN(14, "absent", v_absent, 8),
    SPAN(16, "sarr", v_sarr, 8),
    SPAN(18, "iarr", v_iarr, 8),
    SPAN(20, "farr", v_farr, 8),
    SPAN(22, "barr", v_barr, 8),
    SPAN(24, "one", v_one, 8),
    SPAN(26, "empty", v_unreadable, 8),
    SPAN(28, "mixed", v_unreadable, 8),
    SPAN(30, "kv", v_unreadable, 8),
    SPAN(32, "estr", v_estr, 8),
    SPAN(34, "strabc", v_strabc, 8),
    SPAN(36, "int0", v_int0, 8),
};
static const struct model_attrs v_resources[] = {ATTRS(v_resource)};
static const struct model_scope v_scopes[] = {
    {.name = "lib", .version = "1.0", .attrs = ATTRS(v_scope)}};
static const struct model_trace v_traces[] = {
    {.id = {(const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xca\xfe", 16},
     .root_name = "str10",
     .root_service = "svcA",
     .duration_ns = 8 * MS}};
static const struct model v_model = {
    .traces = v_traces,
    .resources = v_resources,
    .scopes = v_scopes,
    .spans = v_spans,
    .trace_count = 1,
    .resource_count = 1,
    .scope_count = 1,
    .span_count = sizeof v_spans / sizeof v_spans[0],
};

static void verified_answers_hold(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{ span.v = \"10\" }", "str10 sarr"},
        {"{ span.v = 10 }", "int10 iarr"},
        {"{ span.v = 10.0 }", "flt10 farr"},
        {"{ span.v = 10s }", ""},
        {"{ span.v != \"10\" }", "sarr one estr strabc"},
        {"{ span.v != 10 }", "int5 iarr int0"},
        {"{ span.v != 10.0 }", "flt5.5 farr"},
        {"{ span.v != true }", "false barr"},
        {"{ span.v = true }", "true barr"},
        {"{ span.v }", "true"},
        {"{ span.v != nil }", "str10 int10 flt10 int5 flt5.5 true false sarr iarr farr barr one "
                              "estr strabc int0"},
        {"{ span.v > 5 }", "int10 iarr"},
        {"{ 5 < span.v }", ""},
        {"{ 20 >= span.v }", "iarr"},
        {"{ span.v >= 5.5 }", "flt10 flt5.5 farr"},
        {"{ span.v < 10 }", "int5 int0"},
        {"{ span.v >= \"10\" }", "str10 sarr one strabc"},
        {"{ span.v < \"b\" }", "str10 sarr one estr strabc"},
        {"{ span.v =~ \"a.*\" }", "sarr one strabc"},
        {"{ span.v =~ \"\" }", "estr"},
        {"{ span.v !~ \"a.*\" }", "str10 sarr estr"},
        {"{ span.v = \"\" }", "estr"},
        {"{ span.v != \"\" }", "str10 sarr one strabc"},
        {"{ !(span.v = 10) }", ""},
        {"{ !(span.v = 10) || span.w = 1 }", "absent"},
        {"{ !(span.v = 10) || rootName = \"zzz\" }",
         "str10 flt10 int5 flt5.5 true false absent sarr farr barr one empty mixed kv estr strabc "
         "int0"},
        {"{ span.v = 10 || span.v = \"10\" }", "str10 int10 sarr iarr"},
        {"{ span.v = 10 && span.v = \"10\" }", ""},
        {"{ span.v >= 5 && span.v < 10 }", "int5"},
        {"{ span.v != 10 || span.v != \"10\" }", "int5 sarr iarr one estr strabc int0"},
        {"{ span.v = span.v }", "str10 int10 flt10 int5 flt5.5 true false sarr iarr farr barr one "
                                "estr strabc int0"},
        {"{ span.v != span.v }", "sarr iarr farr barr"},
        {"{ span.v || span.w }", ""},
        {"{ span.w = 1 || span.v }", "true barr"},
        {"{ span.w || span.w = 1 }", ""},
        {"{ true || span.v = 10 }", "int10 iarr"},
        {"{ span.nope != \"x\" }", ""},
        {"{ span.nope = span.nope2 }", ""},
        {"{ span.nope = span.nope2 || span.w = 1 }", "absent"},
        {"{ .foo = \"spanfoo\" }", "str10"},
        {"{ .foo = \"instfoo\" }", ""},
        {"{ .foo != nil && .v = 10 }", "int10 flt10 iarr farr"},
        {"{ .http.method = \"RESM\" && span.v = 10 }", "int10 iarr"},
        {"{ instrumentation.ik = \"iv\" && .ik = \"iv\" && span.v = 10 }", "int10 iarr"},
        {"{ status != error && span.v = 10 }", "int10 iarr"},
        {"{ duration > 7ms && duration < 8000001 }",
         "absent sarr iarr farr barr one empty mixed kv estr strabc int0"},
        {"{ duration * 2 = 2ms }", "str10"},
        {"{ name = span.v }", ""},
        {"{ nestedSetParent = -1 }", "str10"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_answer(&v_model, table[i][0], table[i][1]);
}

/* 2.7 answers otherwise here by what later versions call defects; ours are the later answers. */
static void where_later_versions_mended_a_defect_theirs_holds(void **state)
{
    (void)state;
    assert_answer(&v_model, "{ span.v > \"1\" }", "str10 sarr one strabc"); /* plain byte order */
    assert_answer(&v_model, "{ duration > 7.5 && duration < 1000001 }", "str10"); /* float: ns */
    assert_answer(&v_model, "{ span.v && true }", "true barr");
    assert_answer(&v_model, "{ trace:id = \"cafe\" && span.v = 5 }", "int5"); /* leading zeros */
    assert_answer(&v_model, "{ event:name != \"x\" }", "");                   /* no null events */
    assert_answer(&v_model, "{ nil != span.v }",
                  "str10 int10 flt10 int5 flt5.5 true false sarr iarr "
                  "farr barr one estr strabc int0");
    assert_answer(&v_model, "{ nil = nil || name = \"one\" }", "one");
}

/* A value that cannot be queried is there all the same; a span without any attribute lacks none. */
static void nil_asks_whether_the_attribute_is_there(void **state)
{
    (void)state;
    assert_answer(&v_model, "{ span.v = nil }", "absent");
    assert_answer(&v_model, "{ nil = span.v }", "absent");
    assert_answer(&v_model, "{ span.w = nil && duration < 3ms }", "str10 int10");
    assert_answer(&v_model, "{ span.v = nil || name = \"one\" }", "absent one");
    assert_answer(&v_model, "{ (span.v = nil) = true }", "absent");
    assert_answer(&v_model, "{ !(span.v = nil) }", "");
    assert_answer(&v_model, "{ resource.foo = nil }", "");
    assert_answer(&v_model, "{ resource.nope = nil && name = \"one\" }", "one");
    assert_answer(&v_model, "{ span.http.method = nil && name = \"one\" }", "one"); /* a column */
    assert_pairs(&v_model, "{ span.v = nil }", "absent", "v=nil\n");
}

static void the_questions_of_the_first_issue_are_answered(void **state)
{
    (void)state;
    const char *all = "str10 int10 flt10 int5 flt5.5 true false absent sarr iarr farr barr one "
                      "empty mixed kv estr strabc int0";
    assert_answer(&v_model, "{}", all);
    assert_answer(&v_model, "{ resource.service.name = \"svcA\" }", all);
    assert_answer(&v_model, "{ resource.service.name = \"svcB\" }", "");
    assert_answer(&v_model, "{ name = \"one\" }", "one");
    assert_answer(&v_model, "{ status = error }", "flt10");
    assert_answer(&v_model, "{ duration > 6ms && name = \"false\" }", "false");
    assert_answer(&v_model, "{ name = \"one\" } && { status = error }", "flt10 one");
    assert_answer(&v_model, "{ name = \"one\" } && { name = \"nope\" }", "");
    assert_answer(&v_model, "{ name = \"one\" } || { name = \"nope\" }", "one");
    assert_answer(&v_model, "{ resource.service.name = \"svcA\" } && { duration < 2ms }", all);
    assert_answer(&v_model, "{ false }", "");
    assert_answer(&v_model, "{} && { false }", "");
    assert_answer(&v_model, "{ status = error } | rate()", "flt10");
}

static void ids_and_intrinsics_are_compared_as_text(void **state)
{
    (void)state;
    assert_answer(&v_model, "{ span:id = \"0a00000000000001\" }", "str10");
    assert_answer(&v_model, "{ span:id = \"0A00000000000001\" }", "");
    assert_answer(&v_model, "{ span:id =~ \".*zz\" }", "");
    assert_answer(&v_model, "{ trace:id = \"0cafe\" }", "");
    assert_answer(&v_model, "{ trace:id != \"cafe\" }", "");
    assert_answer(&v_model, "{ trace:id != \"x\" && span.w = 1 }", "absent");
    assert_answer(&v_model, "{ rootServiceName = \"svcA\" && kind = unspecified && span.w = 1 }",
                  "absent");
    assert_answer(&v_model, "{ instrumentation:name = \"lib\" && span.w = 1 }", "absent");
    assert_answer(&v_model, "{ traceDuration >= 8ms && span.w = 1 }", "absent");
    assert_fails(&v_model, "{ span:id > \"ab\" }", ERR_INVALID,
                 "operator not supported for IDs: >");
    assert_fails(&v_model, "{ trace:id =~ \"ab\" }", ERR_INVALID,
                 "operator not supported for IDs: =~");
    assert_fails(&v_model, "{ instrumentation:name = 5 }", ERR_INVALID, "operand is not string: 5");
}

static void what_cannot_be_evaluated_fails_with_a_reason(void **state)
{
    (void)state;
    assert_fails(&v_model, "{ !span.v }", ERR_INVALID,
                 "expression (!span.v) expected a boolean, but got TypeString");
    assert_fails(&v_model, "{ -span.v > 0 }", ERR_INVALID,
                 "expression (-span.v) expected a numeric, but got TypeString");
    assert_fails(&v_model, "{ span.v + 1 = 2 && name = \"iarr\" }", ERR_INVALID,
                 "unsupported operation");
    assert_fails(&v_model, "{ span.w / 0 = 1 }", ERR_INVALID, "division by zero");
    assert_fails(&v_model, "{ span.a =~ span.b }", ERR_INVALID,
                 "invalid type for =~ or !~: span.b");
}

static void results_show_what_the_query_made_visible(void **state)
{
    (void)state;
    assert_pairs(&v_model, "{ resource.service.name = \"svcA\" }", "one", "service.name=`svcA`\n");
    assert_pairs(&v_model, "{ name = \"one\" }", "one", "the span's name=`one`\n");
    assert_pairs(&v_model, "{ status = error }", "flt10", "status=error\n");
    assert_pairs(&v_model, "{ duration > 1ms }", "one", "");
    assert_pairs(&v_model, "{}", "one", "");
    assert_pairs(&v_model, "{ span.v = 10 }", "iarr", "v=10\n");
    assert_pairs(&v_model, "{ span.v != nil }", "iarr", "v=[10 20]\n");
    assert_pairs(&v_model, "{ .foo != nil && span.v = \"10\" }", "str10",
                 "foo=`resfoo`\nfoo=`spanfoo`\nv=`10`\n");
    assert_pairs(&v_model, "{ span.v = 10 || span.v = 5 || span.w = 1 }", "absent", "w=1\n");
    assert_pairs(&v_model, "{ kind = unspecified && nestedSetLeft = 1 }", "str10",
                 "kind=unspecified\nnestedSetLeft=1\n");
    assert_pairs(&v_model, "{ instrumentation:name = \"lib\" && trace:id = \"cafe\" }", "one",
                 "instrumentation:name=`lib`\n");
}

/* ---- several traces, events, links ---- */

static const struct model_attr e_x1[] = {{"x", 1, {INT(1)}}};
static const struct model_attr e_x5[] = {{"x", 1, {INT(5)}}};
static const struct model_attr r_none[] = {{"other", 1, {INT(1)}}};
static const struct model_attr s_twice[] = {{"k", 1, {INT(1)}}, {"k", 1, {INT(2)}}};
static const struct model_attr s_status[] = {{"http.status_code", 1, {STR("503")}}};
static const struct model_attr s_code[] = {{"http.status_code", 1, {INT(503)}},
                                           {"http.method", 1, {STR("GET")}}};
static const struct model_event t_events[] = {
    {0, "a", 5, ATTRS(e_x5)}, {0, "b", 6, ATTRS(e_x1)}, {2, "a", 7, ATTRS(e_x1)}};
static const struct model_link t_links[] = {
    {1, {(const uint8_t *)"\0\x01", 2}, {(const uint8_t *)"\x02", 1}, ATTRS(e_x1)}};
static const struct model_span t_spans[] = {
    {.trace = 0, .name = "p", .status_message = "m", .kind = 2, .duration_ns = 1},
    {.trace = 0, .name = "q", .status_message = "", .kind = 3, .attrs = ATTRS(s_twice)},
    {.trace = 1, .name = "r", .status_message = "", .kind = 2, .attrs = ATTRS(s_status)},
    {.trace = 1,
     .resource = 1,
     .name = "s",
     .status_message = "",
     .kind = 3,
     .attrs = ATTRS(s_code)},
    {.trace = 2, .resource = 1, .name = "t", .status_message = "", .kind = 2},
};
static const struct model_attrs t_resources[] = {ATTRS(v_resource), ATTRS(r_none)};
static const struct model_trace t_traces[] = {{.root_name = "p", .root_service = ""},
                                              {.root_name = "r", .root_service = ""},
                                              {.root_name = "", .root_service = ""}};
static const struct model t_model = {
    .traces = t_traces,
    .resources = t_resources,
    .scopes = v_scopes,
    .spans = t_spans,
    .events = t_events,
    .links = t_links,
    .trace_count = 3,
    .resource_count = 2,
    .scope_count = 1,
    .span_count = 5,
    .event_count = 3,
    .link_count = 1,
};

static void traces_are_matched_one_by_one(void **state)
{
    (void)state;
    assert_answer(&t_model, "{}", "p q / r s / t");
    assert_answer(&t_model, "{ kind = server } && { kind = client }", "q p / s r");
    assert_answer(&t_model, "{ kind = client } || { kind = server }", "p q / r s / t");
    assert_answer(&t_model, "{ kind = client } | { name != \"q\" }", "s");
    assert_answer(&t_model, "({ kind = client } | { name = \"s\" }) && ({ kind = server })", "r s");
    assert_answer(&t_model, "{ rootName = \"r\" }", "r s");
    assert_answer(&t_model, "{ resource.service.name = \"\" }", "s / t");
    assert_answer(&t_model, "{ resource.service.name != nil }", "p q / r s / t");
}

/* The smaller left side comes first, else the right side does. */
static void the_sides_of_a_union_are_ordered_by_size(void **state)
{
    (void)state;
    assert_answer(&v_model, "{ name = \"one\" } && { duration < 3ms }", "one str10 int10");
    assert_answer(&v_model, "{ duration < 3ms } && { name = \"one\" }", "one str10 int10");
    assert_answer(&v_model, "{ name = \"one\" } && { name = \"true\" }", "true one");
    assert_answer(&v_model, "{ duration < 4ms } && { duration < 2ms || name = \"one\" }",
                  "str10 one int10 flt10");
}

static void events_and_links_match_by_themselves(void **state)
{
    (void)state;
    assert_answer(&t_model, "{ event:name = \"a\" }", "p / r");
    assert_answer(&t_model, "{ event:name = \"a\" && event.x = 1 }", "r"); /* one event, both */
    assert_answer(&t_model, "{ event:name = \"a\" && event.x = 1 || status = error }", "r");
    assert_answer(&t_model, "{ event:timeSinceStart > 5ns }", "p / r");
    assert_answer(&t_model, "{ link.x = 1 }", "q");
    assert_answer(&t_model, "{ link:traceID = \"1\" && link:spanID = \"0000000000000002\" }", "q");
    /* The first event decides, even when its value is not visible. */
    assert_answer(&t_model, "{ event.x = 1 || status = error }", "r");
    assert_answer(&t_model, "{ event.x = 1 }", "p / r");
    assert_pairs(&t_model, "{ event:name =~ \".*\" }", "p", "event:name=`b`\n");
    assert_pairs(&t_model, "{ link:spanID != nil }", "q", "link:spanID=`0000000000000002`\n");
}

static void columns_and_generic_lists_hold_values_of_different_types(void **state)
{
    (void)state;
    assert_answer(&t_model, "{ span.http.status_code = 503 }", "s");
    assert_answer(&t_model, "{ span.http.status_code = \"503\" }", "r");
    assert_answer(&t_model, "{ span.http.status_code != nil }", "s");
    assert_answer(&t_model, "{ .http.status_code = 503 }", "s");
    assert_answer(&t_model, "{ .http.method = \"GET\" || .http.method = \"RESM\" }", "p q / r s");
    assert_answer(&t_model, "{ span.k = 2 }", "q");
    assert_answer(&t_model, "{ span.k = 2 || status = error }", "");
    assert_pairs(&t_model, "{ span.k != nil }", "q", "k=2\n");
}

static void an_empty_batch_has_no_matches(void **state)
{
    (void)state;
    const struct model none = {0};
    assert_answer(&none, "{ span.a = 1 && event.b = \"x\" || !(.c) }", "");
}

/* Of every size of arena too small for a batch, the answer is an error. */
static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "{ span.v = 10 && resource.foo =~ \".*foo\" && event:name != \"x\" && link.a > 1 }",
        "{ .foo = \"x\" || .v || !(span.w * 2 = 3) || nestedSetLeft > 4 } && { name = \"one\" }",
        "({ nestedSetLeft > 4 } | by(span.v) | count() > 0 | coalesce()) &~ ({} !> {} | by(name) | "
        "max(duration) > 0 | coalesce() | select(kind))",
    };
    for (size_t n = 0; n < sizeof queries / sizeof queries[0]; n++) {
        struct arena *a = arena_new(ARENA_BYTES);
        struct traceql_query *q;
        struct traceql_eval *e;
        struct traceql_batch batch;
        assert_int_equal(traceql_parse(slice_cstr(queries[n]), a, &q, NULL), 0);
        assert_int_equal(traceql_eval_new(q, a, &e, NULL), 0);
        model_batch(&v_model, q, a, &batch);
        int rc = ERR_LIMIT;
        for (size_t limit = 16; rc < 0; limit += 16) {
            struct arena *small = arena_new(limit);
            struct traceql_result result;
            struct err err = {0};
            rc = traceql_eval_batch(e, &batch, small, &result, &err);
            assert_true(rc == 0 || (rc == ERR_LIMIT && err.code == ERR_LIMIT));
            assert_true(limit < ARENA_BYTES);
            arena_free(small);
        }
        arena_free(a);
    }
}

static void pruning_never_denies_a_match(void **state)
{
    (void)state;
    struct answer a;
    ask(&v_model, "{ span.v = 10 && resource.service.name = \"svcA\" && duration > 1ms }", &a);
    struct traceql_eval *e;
    assert_int_equal(traceql_eval_new(a.query, a.arena, &e, NULL), 0);
    assert_true(traceql_query_needs_all(a.query));
    assert_int_equal(traceql_field_count(a.query), 3);
    assert_int_equal(traceql_condition_count(a.query), 3);
    struct slice services[] = {SLICE("x"), SLICE("svcA")};
    for (size_t i = 0; i < 3; i++) {
        const struct traceql_field *f = traceql_field_at(a.query, i);
        if (slice_eq(f->name, SLICE("service.name"))) {
            assert_true(traceql_accepts_strings(e, i, false, services, 2));
            assert_false(traceql_accepts_strings(e, i, false, services, 1));
        } else if (f->intrinsic == TRACEQL_SPAN_DURATION) {
            assert_true(traceql_accepts_ints(e, i, false, 0, MS + 1));
            assert_false(traceql_accepts_ints(e, i, false, 0, MS - 1));
        } else {
            assert_true(traceql_accepts_ints(e, i, true, 10, 10));
            assert_false(traceql_accepts_ints(e, i, true, 11, 20));
            assert_false(traceql_accepts_strings(e, i, true, services, 2));
        }
    }
    arena_free(a.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verified_answers_hold),
        cmocka_unit_test(where_later_versions_mended_a_defect_theirs_holds),
        cmocka_unit_test(nil_asks_whether_the_attribute_is_there),
        cmocka_unit_test(the_questions_of_the_first_issue_are_answered),
        cmocka_unit_test(ids_and_intrinsics_are_compared_as_text),
        cmocka_unit_test(what_cannot_be_evaluated_fails_with_a_reason),
        cmocka_unit_test(results_show_what_the_query_made_visible),
        cmocka_unit_test(traces_are_matched_one_by_one),
        cmocka_unit_test(the_sides_of_a_union_are_ordered_by_size),
        cmocka_unit_test(events_and_links_match_by_themselves),
        cmocka_unit_test(columns_and_generic_lists_hold_values_of_different_types),
        cmocka_unit_test(an_empty_batch_has_no_matches),
        cmocka_unit_test(a_full_arena_is_an_error),
        cmocka_unit_test(pruning_never_denies_a_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
