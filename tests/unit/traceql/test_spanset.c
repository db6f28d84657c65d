/* Operators between spansets, grouping, aggregates, selection: answers that were verified on the
 * reference, and what follows from its description. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/naive_eval.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define INT(v)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_INT, .i64 = (v)                                                            \
    }
#define FLT(v)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_FLOAT, .f64 = (v)                                                          \
    }
#define STR(v)                                                                                     \
    {                                                                                              \
        .type = TRACEQL_STRING, .str = SLICE(v)                                                    \
    }
#define ATTRS(list)                                                                                \
    {                                                                                              \
        (list), sizeof(list) / sizeof((list)[0])                                                   \
    }

/* root > X1, X2 > Y > Z, and two spans whose parent is unknown. */
static const struct model_attr a_root[] = {{"g", 1, {INT(1)}}};
static const struct model_attr a_x1[] = {{"g", 1, {INT(1)}}, {"t", 1, {STR("X")}}};
static const struct model_attr a_x2[] = {
    {"g", 1, {INT(2)}}, {"t", 1, {STR("X")}}, {"n", 1, {INT(-5)}}};
static const struct model_attr a_y[] = {
    {"g", 1, {INT(2)}}, {"t", 1, {STR("Y")}}, {"n", 1, {INT(3)}}, {"l", 2, {INT(1), INT(2)}}};
static const struct model_attr a_z[] = {
    {"g", 1, {INT(2)}}, {"t", 1, {STR("Z")}}, {"n", 1, {FLT(0.5)}}};
static const struct model_attr a_o[] = {{"g", 1, {INT(1)}}, {"t", 1, {STR("O")}}};

#define SPAN(name_, l, r, p, list)                                                                 \
    {                                                                                              \
        .name = (name_), .status_message = "", .duration_ns = (l)*10, .left = (l), .right = (r),   \
        .parent = (p), .attrs = ATTRS(list)                                                        \
    }

static const struct model_span spans[] = {
    SPAN("root", 1, 10, -1, a_root),   SPAN("X1", 2, 3, 1, a_x1), SPAN("X2", 4, 9, 1, a_x2),
    SPAN("Y", 5, 8, 4, a_y),           SPAN("Z", 6, 7, 5, a_z),   SPAN("orphan", 0, 0, 0, a_o),
    SPAN("orphanchild", 0, 0, 0, a_o),
};
static const struct model_event events[] = {{3, "e", 7, {NULL, 0}}};
static const struct model_attrs resources[] = {{NULL, 0}};
static const struct model_scope scopes[] = {{"", "", {NULL, 0}}};
static const struct model_trace traces[] = {
    {.root_name = "root", .root_service = "", .duration_ns = 100}};
static const struct model model = {
    .traces = traces,
    .resources = resources,
    .scopes = scopes,
    .spans = spans,
    .events = events,
    .trace_count = 1,
    .resource_count = 1,
    .scope_count = 1,
    .span_count = sizeof spans / sizeof spans[0],
    .event_count = 1,
};

struct answer {
    struct arena *arena;
    struct traceql_result result;
    struct err err;
    int rc;
};

static void ask(const char *query, struct answer *out)
{
    *out = (struct answer){.arena = arena_new(ARENA_BYTES)};
    struct traceql_query *q;
    struct traceql_eval *e;
    struct traceql_batch *batches = arena_zalloc(out->arena, 2 * sizeof *batches);
    if (traceql_parse(slice_cstr(query), out->arena, &q, &out->err) < 0)
        fail_msg("%s: %s", query, out->err.msg);
    assert_int_equal(traceql_eval_new(q, out->arena, &e, &out->err), 0);
    model_batch(&model, q, out->arena, &batches[0]);
    out->rc = traceql_eval_batch(e, &batches[0], out->arena, &out->result, &out->err);
    if (out->rc == 0 && traceql_second_pass(q)) {
        model_batch(&model, traceql_second_pass(q), out->arena, &batches[1]);
        assert_int_equal(traceql_result_second(&out->result, &batches[1], &out->err), 0);
    }
}

/* "(3 by(span.g)=2) X2 Y Z (1) …" */
static void text_of(const struct answer *a, char *out, size_t size)
{
    out[0] = 0;
    for (uint32_t i = 0; i < a->result.set_count; i++) {
        const struct traceql_spanset *s = &a->result.sets[i];
        char *attrs = set_attrs_text(s);
        for (char *p = attrs; (p = strchr(p, '\n'));)
            *p = p[1] ? ' ' : 0;
        size_t n = strlen(out);
        snprintf(out + n, size - n, "%s(%u%s%s)", i ? " " : "", s->count, attrs[0] ? " " : "",
                 attrs);
        free(attrs);
        for (uint32_t k = 0; k < s->count; k++) {
            n = strlen(out);
            snprintf(out + n, size - n, " %s", spans[a->result.spans[s->first + k]].name);
        }
    }
}

static void assert_answer(const char *query, const char *want)
{
    struct answer a;
    char got[2048];
    ask(query, &a);
    if (a.rc < 0)
        fail_msg("%s: %s", query, a.err.msg);
    text_of(&a, got, sizeof got);
    if (strcmp(got, want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", query, got, want);
    arena_free(a.arena);
}

static void verified_structures_are_found(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{ span.t = \"X\" } &>> { span.t = \"Y\" }", "(1) X2"},
        {"{ span.t = \"X\" } >> { span.t = \"Y\" }", "(1) Y"},
        {"{ span.t = \"Y\" } &<< { span.t = \"X\" }", "(1) X2"},
        {"{ span.t = \"Y\" } << { span.t = \"X\" }", "(1) X2"},
        {"{ span.t = \"Z\" } !>> { span.t = \"Y\" }", "(1) Y"},
        {"{ span.t = \"O\" } > { span.t = \"O\" }", ""},
        {"{ span.t = \"O\" } !> { span.t = \"O\" }", "(2) orphan orphanchild"},
        {"{ span.t = \"O\" } ~ { span.t = \"O\" }", ""},
        {"{ span.t = \"O\" } !~ { span.t = \"O\" }", "(2) orphan orphanchild"},
        {"{ name = \"root\" } > {}", "(2) X1 X2"},
        {"{} > {}", "(4) X1 X2 Y Z"},
        {"{} >> {}", "(4) Z Y X2 X1"},
        {"{} !< {}", "(2) X1 Z"},
        {"{} !> {}", "(1) root"},
        {"{} ~ {}", "(2) X1 X2"},
        {"{} !~ {}", "(3) root Y Z"},
        {"{} &~ {}", "(2) X2 X1"},
        {"{ span.t = \"X\" } ~ { span.t = \"X\" }", "(2) X1 X2"},
        {"{ span.t = \"Y\" } || { span.t = \"X\" }", "(3) Y X1 X2"},
        {"{ span.t = \"Y\" } && { span.t = \"X\" }", "(3) Y X1 X2"},
        {"{ span.t = \"X\" } && { span.t = \"Y\" }", "(3) Y X1 X2"},
        {"{ span.t = \"X\" } && { span.t = \"nope\" }", ""},
        {"{ span.t = \"X\" } || { span.t = \"nope\" }", "(2) X1 X2"},
        {"{ nestedSetParent = 0 }", "(2) orphan orphanchild"},
        {"{}", "(7) root X1 X2 Y Z orphan orphanchild"},
        {"{ false }", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_answer(table[i][0], table[i][1]);
}

/* 2.7 finds nothing where the left side is empty; 2.9 and later keep all of the right side. */
static void nothing_on_the_left_of_a_negated_operator_keeps_the_right(void **state)
{
    (void)state;
    assert_answer("{ span.t = \"nope\" } !> { span.t = \"Y\" }", "(1) Y");
    assert_answer("{ span.t = \"nope\" } !>> { span.t = \"Y\" }", "(1) Y");
    assert_answer("{ false } !~ { span.t = \"X\" }", "(2) X1 X2");
    assert_answer("{ span.t = \"nope\" } > { span.t = \"Y\" }", "");
    assert_answer("{ span.t = \"nope\" } &> { span.t = \"Y\" }", "");
    assert_answer("{ span.t = \"Y\" } !> { span.t = \"nope\" }", "");
}

static void unions_return_both_sides(void **state)
{
    (void)state;
    assert_answer("{ span.t = \"X\" } &> { span.t = \"Y\" }", "(2) Y X2");
    assert_answer("{ span.t = \"Y\" } &< { span.t = \"X\" }", "(2) Y X2");
    assert_answer("{ name = \"root\" } &>> { span.t = \"Z\" }", "(2) Z root");
    assert_answer("{ span.t = \"Z\" } &<< { name = \"root\" }", "(2) Z root");
    assert_answer("{ name = \"X1\" } &~ { name = \"X2\" }", "(2) X1 X2");
    assert_answer("{ name = \"X1\" } &~ { name = \"X1\" }", "");
}

static void groups_have_their_value_and_the_order_of_their_spans(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{} | by(span.g)", "(4 by(span.g)=1) root X1 orphan orphanchild (3 by(span.g)=2) X2 Y Z"},
        {"{} > {} | by(span.g)", "(1 by(span.g)=1) X1 (3 by(span.g)=2) X2 Y Z"},
        {"{} | by(span.g) | { span.t = \"X\" } && {}",
         "(4 by(span.g)=1) X1 root orphan orphanchild (3 by(span.g)=2) X2 Y Z"},
        {"{} | by(span.g) | count() > 1 | by(span.t)",
         "(1 by(span.g)=1 count()=4 by(span.t)=nil) root "
         "(1 by(span.g)=1 count()=4 by(span.t)=`X`) X1 "
         "(2 by(span.g)=1 count()=4 by(span.t)=`O`) orphan orphanchild "
         "(1 by(span.g)=2 count()=3 by(span.t)=`X`) X2 (1 by(span.g)=2 count()=3 by(span.t)=`Y`) Y "
         "(1 by(span.g)=2 count()=3 by(span.t)=`Z`) Z"},
        {"{ span.g = 2 } | by(span.l)", "(2 by(span.l)=nil) X2 Z (1 by(span.l)=[1 2]) Y"},
        {"{ span.g = 2 } | by(span.t = \"Y\")",
         "(2 by(span.t = `Y`)=false) X2 Z (1 by(span.t = `Y`)=true) Y"},
        {"{} | by(span.g) | coalesce()", "(7) root X1 orphan orphanchild X2 Y Z"},
        {"({} | by(span.g)) && ({ span.t = \"X\" } | by(name))",
         "(7) X1 X2 root orphan orphanchild Y Z"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_answer(table[i][0], table[i][1]);
    struct answer a;
    ask("({} | by(span.g)) > ({})", &a);
    assert_int_equal(a.rc, ERR_INVALID);
    assert_string_equal(a.err.msg, "spanset operators are not supported for multiple spansets per "
                                   "trace. consider using coalesce()");
    arena_free(a.arena);
}

static void aggregates_leave_out_what_has_no_value(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{ span.t = \"X\" } | count() = 2", "(2 count()=2) X1 X2"},
        {"{ span.t = \"X\" } | count() > 2", ""},
        {"{} | max(span.n) >= 3", "(7 max(span.n)=3) root X1 X2 Y Z orphan orphanchild"},
        {"{ span.g = 2 } | min(span.n) < 0", "(3 min(span.n)=-5) X2 Y Z"},
        {"{ span.g = 2 } | sum(span.n) = -2", "(3 sum(span.n)=-2) X2 Y Z"}, /* not the float */
        {"{ name = \"Y\" || name = \"Z\" } | avg(span.n) = 1.5", "(2 avg(span.n)=1.5) Y Z"},
        {"{ span.t = \"O\" } | avg(span.n) != 7", ""},
        {"{ span.t = \"X\" } | avg(duration) = 30ns", "(2 avg(duration)=30ns) X1 X2"},
        {"{ span.t = \"X\" } | sum(duration) = 60", "(2 sum(duration)=60ns) X1 X2"},
        {"{ span.t = \"X\" } | max(duration * 2) > 70", "(2 max(duration * 2)=80) X1 X2"},
        {"{ span.t = \"X\" } | count() > 1 | max(nestedSetLeft) > 3",
         "(2 count()=2 max(nestedSetLeft)=4) X1 X2"},
        {"count() = 7", "(7 count()=7) root X1 X2 Y Z orphan orphanchild"},
        {"({ span.t = \"X\" } | count() > 1) && ({ span.t = \"Y\" } | count() = 1)", "(3) Y X1 X2"},
        /* A negative sum of integers is read as unsigned, as everywhere in Tempo. */
        {"{ name = \"X2\" || name = \"Y\" } | avg(span.n) > 9e18",
         "(2 avg(span.n)=9.223372036854776e+18) X2 Y"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_answer(table[i][0], table[i][1]);
}

static void assert_shown(const char *query, const char *name, const char *want)
{
    struct answer a;
    ask(query, &a);
    assert_int_equal(a.rc, 0);
    for (uint32_t i = 0; i < a.result.span_count; i++) {
        uint32_t span = a.result.spans[i];
        if (strcmp(spans[span].name, name) != 0)
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

static void select_shows_what_the_filters_did_not_let_through(void **state)
{
    (void)state;
    assert_shown("{ span.g = 2 || span.n = 3 } | select(span.n)", "X2", "g=2\nn=-5\n");
    assert_shown("{ span.g = 2 || span.n = 3 }", "X2", "g=2\n");
    assert_shown("{ span.t = \"Y\" } | select(name, span.l)", "Y",
                 "l=[1 2]\nt=`Y`\nthe span's name=`Y`\n");
    assert_shown("{ span.t = \"Y\" } | select(event:name)", "Y", "event:name=`e`\nt=`Y`\n");
    assert_shown("{ span.t = \"X\" } | select(event:name, event:timeSinceStart, link:spanID)", "X1",
                 "event:name=``\nevent:timeSinceStart=0s\nlink:spanID=`0000000000000000`\nt=`X`\n");
    /* Numbers that an operator compares are not shown, unless they are mentioned. */
    assert_shown("{ nestedSetParent < 0 } > { span.g = 1 }", "X1", "g=1\nnestedSetParent=1\n");
    assert_shown("{ span.g = 1 } > { span.g = 1 }", "X1", "g=1\n");
}

/* Where a name is a condition, a span that is there for another reason shows none. */
static void names_are_shown_where_they_are_visible(void **state)
{
    (void)state;
    assert_shown("{ name = \"Y\" } || { span.t = \"Z\" }", "Z", "t=`Z`\n");
    assert_shown("{ name = \"Y\" } || { span.t = \"Z\" }", "Y", "the span's name=`Y`\n");
    assert_shown("{ span.t = \"Z\" } | by(name)", "Z", "t=`Z`\nthe span's name=`Z`\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verified_structures_are_found),
        cmocka_unit_test(nothing_on_the_left_of_a_negated_operator_keeps_the_right),
        cmocka_unit_test(unions_return_both_sides),
        cmocka_unit_test(groups_have_their_value_and_the_order_of_their_spans),
        cmocka_unit_test(aggregates_leave_out_what_has_no_value),
        cmocka_unit_test(select_shows_what_the_filters_did_not_let_through),
        cmocka_unit_test(names_are_shown_where_they_are_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
