/* Parts of a table, maps of the user's names, and what an entry sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"

static char *text_of(struct buf *b)
{
    assert_int_equal(buf_u8(b, 0), 0);
    return (char *)b->ptr;
}

struct limits {
    int64_t count, wait_ns;
    struct slice name;
};

struct whole {
    bool enabled;
    struct limits defaults;
    struct config_map tenants; /* struct limits */
};

#define LIMIT(field) offsetof(struct limits, field)
static const struct config_key limits_keys[] = {
    {.path = "deep.count", .type = CONFIG_INT, .offset = LIMIT(count), .preset = "7"},
    {.path = "deep.name", .type = CONFIG_STRING, .offset = LIMIT(name), .preset = "none"},
    {.path = "wait", .type = CONFIG_DURATION, .offset = LIMIT(wait_ns)},
    {.path = "later", .type = CONFIG_ANY, .mark = CONFIG_IGNORE},
};
static const struct config_table limits_table = {.keys = limits_keys, .count = 4};
static const struct config_key flat_keys[] = {
    {.path = "flat_count", .type = CONFIG_INT, .offset = LIMIT(count), .instead = "deep.count"},
};
static const struct config_table flat_table = {.keys = flat_keys, .count = 1};

static const struct config_part tenant_parts[] = {{.table = &limits_table}, {.table = &flat_table}};
static const struct config_table tenant_table = {
    .parts = tenant_parts, .part_count = 2, .item_size = sizeof(struct limits)};

static const struct config_part whole_parts[] = {
    {.table = &limits_table, .prefix = "defaults", .offset = offsetof(struct whole, defaults)},
    {.table = &flat_table,
     .prefix = "old",
     .instead_prefix = "defaults",
     .offset = offsetof(struct whole, defaults)},
};
static const struct config_key whole_keys[] = {
    {.path = "enabled", .type = CONFIG_BOOL},
    {.path = "tenants",
     .type = CONFIG_MAP,
     .offset = offsetof(struct whole, tenants),
     .table = &tenant_table},
};
static const struct config_table whole_table = {
    .keys = whole_keys, .count = 2, .parts = whole_parts, .part_count = 2};

static void a_part_stands_below_its_prefix(void **state)
{
    (void)state;
    struct whole w = {0};
    struct config *c;
    struct err err;
    assert_int_equal(config_new(&whole_table, &w, &c, NULL), 0);
    assert_int_equal(w.defaults.count, 7);
    assert_int_equal(config_read_yaml(c, "f", SLICE("old:\n  flat_count: 9\n"), NULL, NULL, &err),
                     0);
    assert_int_equal(w.defaults.count, 9);
    assert_true(config_is_set(c, "defaults.deep.count"));
    assert_string_equal(config_note_at(c, 0).text,
                        "f:2: \"old.flat_count\" is deprecated: use \"defaults.deep.count\"");
    config_free(c);
}

static void a_map_has_an_entry_for_each_name_and_says_what_it_sets(void **state)
{
    (void)state;
    struct whole w = {0};
    struct config *c;
    struct err err;
    assert_int_equal(config_new(&whole_table, &w, &c, NULL), 0);
    const char *text = "tenants:\n"
                       "  a.b:\n"
                       "    deep: {count: 1}\n"
                       "    wait: 1w2d3h\n"
                       "  '*': {deep: {name: any, count: }}\n"
                       "  empty:\n";
    assert_int_equal(config_read_yaml(c, "f", slice_cstr(text), NULL, NULL, &err), 0);
    assert_int_equal(w.tenants.count, 3);
    const struct config_entry *e = w.tenants.at;
    struct limits merged = {.count = 100, .name = SLICE("base"), .wait_ns = 5};
    assert_true(slice_eq(e[0].name, SLICE("a.b")) && slice_eq(e[1].name, SLICE("*")));
    assert_int_equal(e[0].set[0], 3);
    assert_int_equal(e[0].set[1], 0);
    config_merge(w.tenants.table, &merged, e[2].item, e[2].set);
    assert_int_equal(merged.count, 100);
    config_merge(w.tenants.table, &merged, e[1].item, e[1].set); /* a name alone sets nothing */
    assert_int_equal(merged.count, 100);
    assert_true(slice_eq(merged.name, SLICE("any")));
    config_merge(w.tenants.table, &merged, e[0].item, e[0].set);
    assert_int_equal(merged.count, 1);
    assert_int_equal(merged.wait_ns, (INT64_C(9) * 24 + 3) * 3600 * 1000000000);
    const char *const remarks[] = {"", "*", NULL, NULL, NULL};
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(config_write_item(w.tenants.table, &merged, 2, remarks, &b), 0);
    assert_string_equal(text_of(&b), "  deep:\n      count: 1\n      name: any # *\n");
    buf_clear(&b);
    config_free(c);
}

static void faults_of_a_map_name_the_entry(void **state)
{
    (void)state;
    static const struct {
        const char *text, *note;
        bool fault;
    } cases[] = {
        {"tenants: [a]\n", "f:1: tenants: expected a map, found a list", true},
        {"tenants: 1\n", "f:1: tenants: expected a map, found \"1\"", true},
        {"tenants:\n  a: 1\n", "f:2: tenants.a: expected a map, found \"1\"", true},
        {"tenants:\n  a: {wait: -1s}\n",
         "f:2: tenants.a.wait: expected a duration such as 10s or 1h30m, found \"-1s\"", true},
        {"tenants:\n  a: {deep: {count: 1}, flat_count: 2}\n",
         "f:2: \"tenants.a.flat_count\" is deprecated: use \"deep.count\"", false},
        {"tenants:\n  a: {dep: {count: 1}}\n",
         "f:2: unknown key \"tenants.a.dep\"; did you mean \"deep\"?", false},
        {"tenants:\n  a: {later: 1}\n",
         "f:2: \"tenants.a.later\" has no effect here and is ignored", false},
        {"tenants:\n  a: {}\n  a: {}\n", "f:3: key \"a\" is set twice, first at line 2", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct whole w = {0};
        struct config *c;
        struct err err;
        assert_int_equal(config_new(&whole_table, &w, &c, NULL), 0);
        config_read_yaml(c, "f", slice_cstr(cases[i].text), NULL, NULL, &err);
        assert_true(config_note_count(c) > 0);
        assert_string_equal(config_note_at(c, 0).text, cases[i].note);
        assert_int_equal(config_note_at(c, 0).fault, cases[i].fault);
        config_free(c);
    }
}

static void a_duration_may_have_days_and_stays_in_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t hours; /* -1: refused */
    } cases[] = {{"30d", 720},    {"1y2w3d4h", 9172},
                 {"0d", 0},       {"0", 0},
                 {"1d2w", -1},    {"d", -1},
                 {"1d-1h", -1},   {"300000y", -1},
                 {"", -1},        {"99999999999999999999d", -1},
                 {"292y300d", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct whole w = {0};
        struct config *c;
        char text[64];
        snprintf(text, sizeof text, "defaults: {wait: '%s'}\n", cases[i].text);
        assert_int_equal(config_new(&whole_table, &w, &c, NULL), 0);
        int rc = config_read_yaml(c, "f", slice_cstr(text), NULL, NULL, NULL);
        assert_int_equal(rc, cases[i].hours < 0 ? ERR_INVALID : 0);
        if (rc == 0)
            assert_int_equal(w.defaults.wait_ns, cases[i].hours * 3600 * 1000000000);
        config_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_stands_below_its_prefix),
        cmocka_unit_test(a_map_has_an_entry_for_each_name_and_says_what_it_sets),
        cmocka_unit_test(faults_of_a_map_name_the_entry),
        cmocka_unit_test(a_duration_may_have_days_and_stays_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
