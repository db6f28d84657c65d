/* Which tag a question names, and by what it filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frontend/tags_query.h"

#define RESOURCE (1u << TRACEQL_LEVEL_RESOURCE)
#define SCOPE (1u << TRACEQL_LEVEL_SCOPE)
#define SPAN (1u << TRACEQL_LEVEL_SPAN)
#define EVENT (1u << TRACEQL_LEVEL_EVENT)
#define LINK (1u << TRACEQL_LEVEL_LINK)

static int setup(void **state)
{
    *state = arena_new(1 << 22);
    return 0;
}

static int teardown(void **state)
{
    arena_free(*state);
    return 0;
}

static void identifiers_name_attributes_and_intrinsics(void **state)
{
    static const struct {
        const char *text;
        enum traceql_intrinsic intrinsic;
        unsigned levels;
        const char *name; /* of attributes */
    } cases[] = {
        {"span.a", TRACEQL_ATTRIBUTE, SPAN, "a"},
        {" span.a ", TRACEQL_ATTRIBUTE, SPAN, "a"},
        {".a.b-c/d", TRACEQL_ATTRIBUTE, RESOURCE | SCOPE | SPAN, "a.b-c/d"},
        {"resource.service.name", TRACEQL_ATTRIBUTE, RESOURCE, "service.name"},
        {"event.x", TRACEQL_ATTRIBUTE, EVENT, "x"},
        {"link.x", TRACEQL_ATTRIBUTE, LINK, "x"},
        {"instrumentation.x", TRACEQL_ATTRIBUTE, SCOPE, "x"},
        {"span.\"a b=}\"", TRACEQL_ATTRIBUTE, SPAN, "a b=}"},
        {"span.a\"\\\"\".c", TRACEQL_ATTRIBUTE, SPAN, "a\".c"},
        {"parent.a", TRACEQL_ATTRIBUTE, RESOURCE | SCOPE | SPAN, "a"},
        {"parent.span.a", TRACEQL_ATTRIBUTE, SPAN, "a"},
        {"parent.resource.a", TRACEQL_ATTRIBUTE, RESOURCE, "a"},
        {"span.name", TRACEQL_ATTRIBUTE, SPAN, "name"},
        {"span:parentID", TRACEQL_ATTRIBUTE, 0, NULL},
        {"name", TRACEQL_SPAN_NAME, 0, NULL},
        {"span:name", TRACEQL_SPAN_NAME, 0, NULL},
        {"status", TRACEQL_SPAN_STATUS, 0, NULL},
        {"kind", TRACEQL_SPAN_KIND, 0, NULL},
        {"duration", TRACEQL_SPAN_DURATION, 0, NULL},
        {"statusMessage", TRACEQL_SPAN_STATUS_MESSAGE, 0, NULL},
        {"rootName", TRACEQL_TRACE_ROOT_NAME, 0, NULL},
        {"trace:rootService", TRACEQL_TRACE_ROOT_SERVICE, 0, NULL},
        {"trace:id", TRACEQL_TRACE_ID, 0, NULL},
        {"event:name", TRACEQL_EVENT_NAME, 0, NULL},
        {"instrumentation:version", TRACEQL_SCOPE_VERSION, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct query_tags t = {0};
        struct err err = {0};
        if (tag_parse(slice_cstr(cases[i].text), *state, &t, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.msg);
        assert_int_equal(t.intrinsic, cases[i].intrinsic);
        assert_int_equal(t.levels, cases[i].levels);
        if (cases[i].name)
            assert_true(slice_eq(t.name, slice_cstr(cases[i].name)));
    }
}

static void all_else_is_no_identifier(void **state)
{
    static const char *const bad[] = {
        "",         " ",         "service.name",  "foo",          "span.",     "span. a",
        "span.a b", "span.a=1",  "span.a)",       "span.a || .b", "1",         "\"a\"",
        "true",     "name != 1", "duration+1",    "span.a\"b",    "span..",    "{ span.a }",
        "span:foo", "trace.x",   "span.a\"\\n\"", "nil",          "span.a}|{", "count()",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct query_tags t = {0};
        struct err err = {0};
        int rc = tag_parse(slice_cstr(bad[i]), *state, &t, &err);
        if (strcmp(bad[i], "span..") == 0) /* the attribute "." */
            continue;
        if (rc != ERR_INVALID)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(err.msg, "please provide a valid tagName: tag name is not valid "
                                        "intrinsic or scoped attribute: "));
    }
    struct query_tags t = {0};
    assert_int_equal(tag_parse(SLICE("span.a\0b"), *state, &t, NULL), ERR_INVALID);
}

static void bare_names_mean_attributes_but_for_some(void **state)
{
    struct query_tags t = {0};
    (void)state;
    tag_parse_bare(SLICE("foo"), &t);
    assert_int_equal(t.levels, RESOURCE | SCOPE | SPAN);
    assert_true(slice_eq(t.name, SLICE("foo")));
    tag_parse_bare(SLICE("status"), &t);
    assert_int_equal(t.intrinsic, TRACEQL_ATTRIBUTE);
    tag_parse_bare(SLICE("service.name"), &t);
    assert_int_equal(t.levels, RESOURCE);
    tag_parse_bare(SLICE("http.status_code"), &t);
    assert_int_equal(t.levels, SPAN);
    tag_parse_bare(SLICE("name"), &t);
    assert_int_equal(t.intrinsic, TRACEQL_SPAN_NAME);
    tag_parse_bare(SLICE("root.name"), &t);
    assert_int_equal(t.intrinsic, TRACEQL_TRACE_ROOT_NAME);
    tag_parse_bare(SLICE("status.code"), &t);
    assert_int_equal(t.intrinsic, TRACEQL_SPAN_STATUS);
}

/* The filter's text, or NULL. */
static const char *filter_of(struct arena *a, struct slice q)
{
    const struct traceql_query *filter;
    struct err err = {0};
    struct buf b;
    if (tags_filter(q, a, &filter, &err) < 0)
        fail_msg("%s", err.msg);
    if (!filter)
        return NULL;
    buf_init(&b, 1 << 16);
    assert_int_equal(traceql_query_print(filter, &b), 0);
    const char *text = arena_cstr(a, buf_view(&b));
    buf_clear(&b);
    return text;
}

static void a_filter_is_what_can_be_understood(void **state)
{
    static const struct {
        const char *q, *want;
    } cases[] = {
        {"", NULL},
        {"{}", NULL},
        {"{ true }", NULL},
        {"{ span.a = 1 }", "{ span.a = 1 }"},
        {"  {span.a=1}  ", "{ span.a = 1 }"},
        {"{ span.a = 1 || name = \"x\" }", "{ (span.a = 1) || (name = `x`) }"},
        {"{ span.a = \"}\" && status = error }", "{ (span.a = `}`) && (status = error) }"},
        {"{ span.a = 1 } | count() > 1", "{ span.a = 1 }"},
        {"{ span.a = 1 } | rate()", "{ span.a = 1 }"},
        /* being typed */
        {"{ span.a = 1 && span.b = }", "{ span.a = 1 }"},
        {"{ span.a = 1 && span.b = ", "{ span.a = 1 }"},
        {"{ span.a = 1 && ", "{ span.a = 1 }"},
        {"{ span.b = && span.a = \"x && y\"", "{ span.a = `x && y` }"},
        {"{ span.a = 1 |", NULL},
        {"{ span.b = }", NULL},
        {"{ span.a = 1 || span.b = }", NULL},
        {"nonsense", NULL},
        {"{{{", NULL},
        {"{ span.a = \"", NULL},
        /* not one filter */
        {"{ span.a = 1 } && { span.b = 2 }", NULL},
        {"{ span.a = 1 } || { span.b = 2 }", NULL},
        {"{ span.a = 1 } >> { span.b = 2 }", NULL},
        {"({ span.a = 1 })", NULL},
        /* no condition, or one without scope */
        {"{ span.a }", NULL},
        {"{ .a = 1 }", NULL},
        {"{ span.b = 2 && .a = 1 }", NULL},
        {"{ span.a = \".b\" }", "{ span.a = `.b` }"},
        {"{ span.a > 1.5 }", "{ span.a > 1.5 }"},
        {"{ span.a =~ \"(\" }", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = filter_of(*state, slice_cstr(cases[i].q));
        if ((got == NULL) != (cases[i].want == NULL) || (got && strcmp(got, cases[i].want) != 0))
            fail_msg("%s: got %s", cases[i].q, got ? got : "none");
    }
    assert_null(filter_of(*state, SLICE("{ span.a = 1 \0 }")));
}

/* Every beginning of a query, and every query with a byte that does not belong there. */
static void broken_queries_do_no_harm(void **state)
{
    static const char whole[] = "{ span.\"a b\" = `x}` && duration > 1.5s && (name =~ \"a|b\" || "
                                "event:name != \"\\\"\") } | count() > 2";
    char text[sizeof whole];
    (void)state;
    for (size_t i = 0; i < sizeof whole; i++) {
        struct arena *a = arena_new(1 << 20);
        filter_of(a, slice_of(whole, i));
        struct query_tags t = {0};
        (void)!tag_parse(slice_of(whole + i, sizeof whole - 1 - i), a, &t, NULL);
        arena_free(a);
    }
    static const char strange[] = "\0\"`{}()|&\\.\xff=";
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        for (size_t k = 0; k < sizeof strange - 1; k++) {
            struct arena *a = arena_new(1 << 20);
            memcpy(text, whole, sizeof whole);
            text[i] = strange[k];
            filter_of(a, slice_of(text, sizeof text - 1));
            arena_free(a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers_name_attributes_and_intrinsics),
        cmocka_unit_test(all_else_is_no_identifier),
        cmocka_unit_test(bare_names_mean_attributes_but_for_some),
        cmocka_unit_test(a_filter_is_what_can_be_understood),
        cmocka_unit_test(broken_queries_do_no_harm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
