/* The grammar: what parses, to which tree (told by its canonical text), and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "tests/support/traceql_table.h"
#include "traceql/ast.h"
#include "traceql/traceql_limits.h"

#define ARENA_BYTES ((size_t)64 << 20)

static int parse(struct slice text, struct arena *a, struct traceql_query **out, struct err *err)
{
    *err = (struct err){0};
    int rc = traceql_parse(text, a, out, err);
    if (rc < 0) {
        assert_true(rc == ERR_INVALID || rc == ERR_LIMIT);
        assert_int_equal(rc, err->code);
        assert_true(err->msg[0] != 0);
    }
    return rc;
}

static char *printed(const struct traceql_query *q, bool exact)
{
    struct buf b;
    buf_init(&b, (size_t)4 << 20);
    assert_int_equal(exact ? traceql_query_print_exact(q, &b) : traceql_query_print(q, &b), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    return (char *)text;
}

static void assert_canonical(const char *query, const char *want)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    if (parse(slice_cstr(query), a, &q, &err) < 0)
        fail_msg("%s: %s", query, err.msg);
    char *got = printed(q, false);
    assert_string_equal(got, want);
    free(got);
    arena_free(a);
}

static void assert_refused(const char *query, const char *word)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    if (parse(slice_cstr(query), a, &q, &err) == 0)
        fail_msg("%s: parsed", query);
    if (!strstr(err.msg, word))
        fail_msg("%s: %s, expected: %s", query, err.msg, word);
    arena_free(a);
}

/* ---- the verified examples ---- */

static void row_parses(struct slice query, struct slice want, void *ctx)
{
    (void)ctx;
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    if (parse(query, a, &q, &err) < 0)
        fail_msg("%.*s: %s", SLICE_ARGS(query), err.msg);
    char *got = printed(q, false);
    if (!slice_eq(slice_cstr(got), want))
        fail_msg("%.*s\n got: %s\nwant: %.*s", SLICE_ARGS(query), got, SLICE_ARGS(want));
    free(got);
    arena_free(a);
}

static void verified_queries_have_the_reference_s_canonical_text(void **state)
{
    (void)state;
    table_read("tests/data/traceql/parses.txt", 83, row_parses, NULL);
}

static void row_refused(struct slice query, struct slice want, void *ctx)
{
    (void)ctx;
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    if (parse(query, a, &q, &err) == 0)
        fail_msg("%.*s: parsed", SLICE_ARGS(query));
    if (strncmp(err.msg, "parse error at line ", 20) != 0)
        fail_msg("%.*s: %s", SLICE_ARGS(query), err.msg);
    /* "unexpected X" of both, without what was expected; positions and expectations differ. */
    char reference[512];
    snprintf(reference, sizeof reference, "%.*s", SLICE_ARGS(want));
    const char *theirs = strstr(reference, ": ") + 2, *ours = strstr(err.msg, ": ") + 2;
    size_t n = strcspn(theirs, ",");
    if (strncmp(ours, theirs, n) != 0)
        fail_msg("%.*s\n got: %s\nwant: %s", SLICE_ARGS(query), ours, theirs);
    arena_free(a);
}

static void verified_mistakes_are_refused_with_the_reference_s_token(void **state)
{
    (void)state;
    table_read("tests/data/traceql/parse_errors.txt", 77, row_refused, NULL);
}

/* ---- precedence and grouping ---- */

static void operators_bind_as_the_table_says(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{ .a || .b && .c }", "{ (.a || .b) && .c }"},
        {"{ .a && .b || .c }", "{ (.a && .b) || .c }"},
        {"{ -.x * 2 = 1 }", "{ (-(.x * 2)) = 1 }"},
        {"{ -.x ^ 2 = 1 }", "{ (-(.x ^ 2)) = 1 }"},
        {"{ -.x + 2 = 1 }", "{ ((-.x) + 2) = 1 }"},
        {"{ !.x = .y }", "{ (!.x) = .y }"},
        {"{ !.x && .y }", "{ (!.x) && .y }"},
        {"{ !(.x * .y) = 1 }", "{ (!(.x * .y)) = 1 }"},
        {"{ !.x * .y = 1 }", "{ (!(.x * .y)) = 1 }"},
        {"{ .x = .y = .z }", "{ (.x = .y) = .z }"},
        {"{ .x ^ .y ^ .z = 1 }", "{ (.x ^ (.y ^ .z)) = 1 }"},
        {"{ .x - .y - .z = 1 }", "{ ((.x - .y) - .z) = 1 }"},
        {"{ .x + .y * .z % .w = 1 }", "{ (.x + ((.y * .z) % .w)) = 1 }"},
        {"{ 2 * -.x * 3 = 1 }", "{ (2 * (-(.x * 3))) = 1 }"},
        {"{ 2 * -.x + 3 = 1 }", "{ ((2 * (-.x)) + 3) = 1 }"},
        {"{ .x = - - .y }", "{ .x = (-(-.y)) }"},
        {"{.a} && {.b} > {.c}", "({ .a }) && (({ .b }) > ({ .c }))"},
        {"{.a} > {.b} >> {.c}", "(({ .a }) > ({ .b })) >> ({ .c })"},
        {"{.a} || {.b} && {.c}", "(({ .a }) || ({ .b })) && ({ .c })"},
        {"{.a} !~ {.b}", "({ .a }) !~ ({ .b })"},
        {"{.a}&>>{.b}&<<{.c}&>{.d}&<{.e}",
         "(((({ .a }) &>> ({ .b })) &<< ({ .c })) &> ({ .d })) &< ({ .e })"},
        {"{.a}!>>{.b}!<<{.c}!>{.d}!<{.e}",
         "(((({ .a }) !>> ({ .b })) !<< ({ .c })) !> ({ .d })) !< ({ .e })"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_canonical(table[i][0], table[i][1]);
}

static void groups_are_classed_by_their_first_operand(void **state)
{
    (void)state;
    assert_canonical("({.a} && {.b}) | count() > 1", "({ .a }) && ({ .b })|(count()) > 1");
    assert_canonical("((({.a})))", "{ .a }");
    assert_canonical("({.a} | {.b})", "{ .a }|{ .b }");
    assert_canonical("(({.a} | {.b}))", "{ .a }|{ .b }");
    assert_canonical("(count() > 1)", "(count()) > 1");
    assert_canonical("((count()) > 1)", "(count()) > 1");
    assert_canonical("((count() > 1))", "(count()) > 1");
    assert_canonical("((count())) > (1)", "(count()) > 1");
    assert_canonical("(by(.a)) && ({.b})", "(by(.a)) && ({ .b })");
    assert_canonical("({.a}|{.b}) && (({.c}) || {.d})",
                     "({ .a }|{ .b }) && (({ .c }) || ({ .d }))");
    assert_canonical("{} | ({} && {})", "{ true }|({ true }) && ({ true })");
    assert_canonical("{} | (count()) > 1", "{ true }|(count()) > 1");
    assert_canonical("(({.a} | by(.b)) ~ ({.c})) with (x=1)",
                     "({ .a }|by(.b)) ~ ({ .c }) with(x=1)");
    assert_refused("(({.a} | {.b}) | {.c})", "unexpected |");
    assert_refused("{} | (count() > 1)", "unexpected >");
    assert_refused("{} | (by(.a))", "unexpected by");
    assert_refused("({.a}|{.b}) with (x=1) | {.c}", "unexpected |");
    assert_refused("(coalesce())", "unexpected coalesce");
    assert_refused("({.a} | rate())", "unexpected rate");
    assert_refused("{} | rate() with (a=1) by (.x)", "unexpected by");
    assert_refused("", "unexpected $end");
    assert_refused("()", "unexpected )");
    assert_refused("(count() + ) > 1", "unexpected )");
}

static void constants_are_folded(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{ .a = 10 * 1024 }", "{ .a = 10240 }"},
        {"{ 1 = 1 }", "{ true }"},
        {"{ nil != nil }", "{ false }"},
        {"{ .a = 7 / 2 }", "{ .a = 3 }"},
        {"{ .a = -7 / 2 }", "{ .a = -3 }"},
        {"{ .a = -7 % 3 }", "{ .a = -1 }"},
        {"{ .a = 1ms * 2 }", "{ .a = 2e+06 }"},
        {"{ .a = 1ms + 1ms }", "{ .a = 2e+06 }"},
        {"{ .a = 2 ^ 3 }", "{ .a = 9 }"},
        {"{ .a = 3 ^ 2 }", "{ .a = 8 }"},
        {"{ .a = (-2) ^ 3 }", "{ .a = 1 }"},
        {"{ .a = 2.0 ^ 3 }", "{ .a = 8 }"},
        {"{ .a = -9223372036854775807 - 1 }", "{ .a = -9223372036854775808 }"},
        {"{ .a = (-9223372036854775807 - 1) / -1 }", "{ .a = -9223372036854775808 }"},
        {"{ .a = 9223372036854775807 + 1 }", "{ .a = -9223372036854775808 }"},
        {"{ .a = 1.0 / 0 }", "{ .a = +Inf }"},
        {"{ .a = 0.0 / 0 }", "{ .a = NaN }"},
        {"{ true && !false }", "{ true }"},
        {"{ \"a\" < \"b\" }", "{ true }"},
        {"{ \"10\" > \"1\" }", "{ true }"},
        {"{ \"abc\" !~ \"a.c\" }", "{ false }"},
        {"{ error = ok }", "{ false }"},
        {"{ 1s = 1000000000 }", "{ true }"},
        {"{ 5 = 5.0 }", "{ true }"},
        {"{ .a = -5s }", "{ .a = -5s }"},
        {"{ .a = 123456789.0 }", "{ .a = 1.23456789e+08 }"},
        {"{ .a = 0.00001 }", "{ .a = 1e-05 }"},
        {"{ .a = 100000.0 }", "{ .a = 100000 }"},
        {"{ .a = 0.000123 }", "{ .a = 0.000123 }"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_canonical(table[i][0], table[i][1]);
    assert_refused("{ .a = 1 / 0 }", "division by zero");
    assert_refused("{ .a = 1 % (2 - 2) }", "modulo by zero");
}

/* ---- printing ---- */

static void assert_exact_is_stable(struct slice query)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    if (parse(query, a, &q, &err) == 0) {
        char *once = printed(q, true), *canonical = printed(q, false);
        if (parse(slice_cstr(once), a, &q, &err) < 0)
            fail_msg("%.*s\n printed: %s\n %s", SLICE_ARGS(query), once, err.msg);
        char *twice = printed(q, true), *again = printed(q, false);
        assert_string_equal(once, twice);
        assert_string_equal(canonical, again);
        free(once);
        free(twice);
        free(canonical);
        free(again);
    }
    arena_free(a);
}

static void row_exact(struct slice query, struct slice text, void *ctx)
{
    (void)text;
    (void)ctx;
    assert_exact_is_stable(query);
}

static void exact_text_parses_to_the_same_query(void **state)
{
    (void)state;
    table_read("tests/data/traceql/parses.txt", 83, row_exact, NULL);
    static const char *const more[] = {
        "{ .a = (-5) ^ .b }",
        "{ (-5) ^ .b = 1 }",
        "{ (-5.0) * .b = 1 }",
        "{ .a = 5.0 && .b = 5 }",
        "{ .a = -9223372036854775807 - 1 }",
        "{ .a = 0.0 / 0.0 || .b = 1.0 / 0.0 || .c = -1.0 / 0.0 }",
        "{ .\"a\\\"b\\\\c\" = \"x`y\\n\\x00\\xff\" }",
        "{ .\"\" = `\n` }",
        "{ .\"1 2\" = 1us }",
        "{ .a = -0.0 }",
        "({.a}|{.b})",
        "(({.a}|{.b}) && ({.c})) || ({.d}|count()>-1.5)",
        "{} | by(.a && .b) | coalesce() | select(.a, span:id) | avg(.x ^ -2) != 1.0",
        "{} | compare({.a}, 3, 5, 9) with (x=nil, y=error, z=client, w=`q`, v=1s)",
        "{} | quantile_over_time(.\"x y\", 0.123456789, 1) by (.a, resource.\"b c\")",
    };
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        assert_exact_is_stable(slice_cstr(more[i]));
}

/* ---- hostile input ---- */

static void a_query_longer_than_the_limit_is_refused(void **state)
{
    (void)state;
    size_t len = TRACEQL_LIMIT_QUERY_BYTES + 1;
    char *text = malloc(len);
    memset(text, ' ', len);
    text[0] = '{';
    text[1] = '}';
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    assert_int_equal(parse(slice_of(text, len), a, &q, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "131072"));
    assert_int_equal(parse(slice_of(text, len - 1), a, &q, &err), 0);
    arena_free(a);
    free(text);
}

/* open × n, middle, close × n, whole. */
static int parse_nested(const char *open, const char *middle, const char *close, size_t n)
{
    struct buf b;
    buf_init(&b, TRACEQL_LIMIT_QUERY_BYTES);
    for (size_t i = 0; i < n; i++)
        buf_str(&b, open);
    buf_str(&b, middle);
    for (size_t i = 0; i < n; i++)
        buf_str(&b, close);
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct err err;
    int rc = parse(buf_view(&b), a, &q, &err);
    if (rc == 0) {
        char *text = printed(q, true);
        free(text);
    }
    arena_free(a);
    buf_clear(&b);
    return rc;
}

static void depth_is_limited_in_every_direction(void **state)
{
    (void)state;
    assert_int_equal(parse_nested("(", "{}", ")", 100), 0);
    assert_int_equal(parse_nested("(", "{}", ")", 60000), ERR_INVALID);
    assert_int_equal(parse_nested("(", "count() > 1", ")", 50), 0);
    assert_int_equal(parse_nested("(", "count() > 1", ")", 60000), ERR_INVALID);
    assert_int_equal(parse_nested("({} | {} && ", "{}", ")", 10000), ERR_INVALID);
    assert_int_equal(parse_nested("", "{ .a", " && .a", 900), ERR_INVALID); /* no } */
    assert_int_equal(parse_nested("{ ! ", "", "", 30000), ERR_INVALID);
    assert_int_equal(parse_nested("{} && ", "{}", "", 1000), 0);
    assert_int_equal(parse_nested("{} && ", "{}", "", 20000), ERR_INVALID);
    assert_int_equal(parse_nested("{} | ", "{}", "", 20000), 0);
    static const char *const opens[] = {"(", "-", "!", "2^", "1+(", ".a && ("};
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        struct buf b;
        buf_init(&b, TRACEQL_LIMIT_QUERY_BYTES);
        buf_str(&b, "{ ");
        for (size_t n = 0; n < 15000; n++)
            buf_str(&b, opens[i]);
        struct arena *a = arena_new(ARENA_BYTES);
        struct traceql_query *q;
        struct err err;
        assert_int_equal(parse(buf_view(&b), a, &q, &err), ERR_INVALID);
        arena_free(a);
        buf_clear(&b);
    }
}

static void a_long_chain_is_accepted_up_to_the_limit(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct buf b;
        buf_init(&b, TRACEQL_LIMIT_QUERY_BYTES);
        buf_str(&b, "{ .a");
        for (int n = 1; n < TRACEQL_LIMIT_DEPTH + over; n++)
            buf_str(&b, " || .a");
        buf_str(&b, " }");
        struct arena *a = arena_new(ARENA_BYTES);
        struct traceql_query *q;
        struct err err;
        assert_int_equal(parse(buf_view(&b), a, &q, &err), over ? ERR_INVALID : 0);
        arena_free(a);
        buf_clear(&b);
    }
}

/* Every prefix of every example, and every example with one byte changed: an answer, no matter
 * which, and what parses prints and parses again. */
static void row_mangled(struct slice query, struct slice text, void *ctx)
{
    (void)text;
    struct rng *rng = ctx;
    uint8_t copy[512];
    assert_true(query.len <= sizeof copy);
    for (size_t n = 0; n <= query.len; n++)
        assert_exact_is_stable(slice_of(query.ptr, n));
    for (size_t i = 0; i < query.len; i++) {
        memcpy(copy, query.ptr, query.len);
        copy[i] = (uint8_t)rng_next(rng);
        assert_exact_is_stable(slice_of(copy, query.len));
    }
}

static void mangled_queries_are_answered(void **state)
{
    (void)state;
    struct rng rng = {.state = 42};
    table_read("tests/data/traceql/parses.txt", 83, row_mangled, &rng);
    table_read("tests/data/traceql/parse_errors.txt", 77, row_mangled, &rng);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct slice text = SLICE("{ (span.a = \"x\" || .\"b c\" > 2) && !(name =~ \"a.*b\") } && {}");
    int rc = ERR_LIMIT;
    for (size_t limit = 64; rc != 0; limit += 64) {
        struct arena *a = arena_new(limit);
        struct traceql_query *q;
        struct err err;
        rc = parse(text, a, &q, &err);
        assert_true(rc == 0 || rc == ERR_LIMIT);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verified_queries_have_the_reference_s_canonical_text),
        cmocka_unit_test(verified_mistakes_are_refused_with_the_reference_s_token),
        cmocka_unit_test(operators_bind_as_the_table_says),
        cmocka_unit_test(groups_are_classed_by_their_first_operand),
        cmocka_unit_test(constants_are_folded),
        cmocka_unit_test(exact_text_parses_to_the_same_query),
        cmocka_unit_test(a_query_longer_than_the_limit_is_refused),
        cmocka_unit_test(depth_is_limited_in_every_direction),
        cmocka_unit_test(a_long_chain_is_accepted_up_to_the_limit),
        cmocka_unit_test(mangled_queries_are_answered),
        cmocka_unit_test(a_full_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
