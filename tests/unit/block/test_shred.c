/* Spans to columns: each rule by a small case, with the columns told outright. That whole blocks
 * come out as Tempo's is in test_assemble.c. */
#include "shred_support.h"

/* ---- a batch by hand ---- */

struct fixture {
    struct shredder *s;
    struct span_batch b;
    struct arena *a;
    const struct column *c; /* after done() */
};

static int set_up(void **state)
{
    struct fixture *t = calloc(1, sizeof *t);
    t->s = shredder_make(NULL, 0);
    t->a = arena_new((size_t)64 << 20);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *t = *state;
    shredder_free(t->s);
    span_batch_clear(&t->b);
    arena_free(t->a);
    free(t);
    return 0;
}

static struct value text(const char *s)
{
    return (struct value){.type = VALUE_STRING, .str = slice_cstr(s)};
}

static struct value number(int64_t v)
{
    return (struct value){.type = VALUE_INT, .i64 = v};
}

static struct value list(struct fixture *t, uint8_t type, const struct value *items, uint32_t count)
{
    struct value v = {.type = type, .list = {t->b.values.count, count}};
    for (uint32_t i = 0; i < count; i++)
        assert_true(vec_push(&t->b.values, items[i]));
    return v;
}

static struct range attrs(struct fixture *t, const struct attr *items, uint32_t count)
{
    struct range r = {t->b.attrs.count, count};
    for (uint32_t i = 0; i < count; i++)
        assert_true(vec_push(&t->b.attrs, items[i]));
    return r;
}
#define ATTRS(t, ...)                                                                              \
    attrs(t, (const struct attr[]){__VA_ARGS__},                                                   \
          sizeof((const struct attr[]){__VA_ARGS__}) / sizeof(struct attr))

static void add_resource(struct fixture *t, struct range list_of, bool present)
{
    struct resource r = {.attrs = list_of, .present = present};
    assert_true(vec_push(&t->b.resources, r));
}

static void add_scope(struct fixture *t, const char *name)
{
    struct scope c = {
        .resource = t->b.resources.count - 1, .name = slice_cstr(name), .present = true};
    assert_true(vec_push(&t->b.scopes, c));
}

static struct span *add_span(struct fixture *t, uint8_t trace, const char *id, const char *parent)
{
    struct span sp = {.span_id = slice_cstr(id),
                      .parent_span_id = slice_cstr(parent),
                      .scope = t->b.scopes.count - 1,
                      .name = slice_cstr(id),
                      .trace_id = {[15] = trace}};
    assert_true(vec_push(&t->b.spans, sp));
    return &t->b.spans.at[t->b.spans.count - 1];
}

/* Resource and scope without attributes, and a root span in them. */
static struct span *plain_span(struct fixture *t, uint8_t trace)
{
    add_resource(t, (struct range){0}, true);
    add_scope(t, "");
    return add_span(t, trace, "rootroot", "");
}

static void done(struct fixture *t)
{
    shred_batch(t->s, &t->b);
    t->c = shredder_columns(t->s);
}

static void levels_are(const struct column *c, const char *rep, const char *def)
{
    assert_int_equal(c->entries, strlen(def));
    uint32_t rows = 0, values = 0;
    for (uint32_t i = 0; i < c->entries; i++) {
        if ((c->rep_max && c->rep[i] != rep[i] - '0') || c->def[i] != def[i] - '0')
            fail_msg("entry %u: levels %u %u, wanted %c %c", i, c->rep_max ? c->rep[i] : 0,
                     c->def[i], rep[i], def[i]);
        rows += !c->rep_max || c->rep[i] == 0;
        values += c->def[i] == c->def_max;
    }
    assert_int_equal(c->rows, rows);
    assert_int_equal(c->values, values);
}

static void strings_are(const struct column *c, const char *const *want, uint32_t count)
{
    assert_int_equal(c->values, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!slice_eq(column_bytes(c, i), slice_cstr(want[i])))
            fail_msg("value %u is \"%.*s\", wanted \"%s\"", i, SLICE_ARGS(column_bytes(c, i)),
                     want[i]);
    }
}
#define STRINGS_ARE(c, ...)                                                                        \
    strings_are(c, (const char *const[]){__VA_ARGS__},                                             \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static const struct column *span_attr(const struct fixture *t, enum block_attr_leaf leaf)
{
    return &t->c[BLOCK_SPAN_ATTRS + leaf];
}

/* ---- rows ---- */

static void an_empty_shredder_has_empty_columns(void **state)
{
    struct fixture *t = *state;
    const struct column *c = shredder_columns(t->s);
    uint64_t start = 1, end = 1;
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        assert_int_equal(c[i].rows + c[i].entries + c[i].values + c[i].dict_count, 0);
        assert_int_equal(c[i].type, block_leaves[i].column_type);
        assert_int_equal(c[i].has_dict, block_leaves[i].dict);
    }
    shredder_times(t->s, &start, &end);
    assert_int_equal(start + end, 0);
    assert_int_equal(shredder_rows(t->s) + shredder_spans(t->s) + shredder_bytes(t->s), 0);
}

static void a_trace_without_spans_is_a_row_without_resources(void **state)
{
    struct fixture *t = *state;
    struct err err;
    assert_int_equal(shred_spans(t->s, &t->b, 0, 0, &err), 0);
    struct span *sp = plain_span(t, 9);
    struct value two[] = {text("a"), text("b")};
    sp->attrs =
        ATTRS(t, {SLICE("http.method"), text("GET")}, {SLICE("k"), list(t, VALUE_ARRAY, two, 2)});
    done(t);
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        assert_int_equal(t->c[i].rows, 2);
        if (t->c[i].rep_max)
            assert_int_equal(t->c[i].rep[0] + t->c[i].rep[1], 0);
        if (t->c[i].def_max)
            assert_int_equal(t->c[i].def[0], 0);
    }
    levels_are(span_attr(t, BLOCK_ATTR_STRING), "005", "055");
    levels_are(&t->c[BLOCK_SPAN_HTTP_METHOD], "00", "04");
    STRINGS_ARE(&t->c[BLOCK_ROOT_NAME], "", "rootroot");
}

static void levels_follow_resources_scopes_and_spans(void **state)
{
    struct fixture *t = *state;
    add_resource(t, (struct range){0}, true);
    add_scope(t, "s1");
    add_span(t, 1, "span-001", "");
    add_span(t, 1, "span-002", "span-001");
    add_scope(t, "s2");
    add_span(t, 1, "span-003", "span-001");
    add_resource(t, (struct range){0}, true);
    add_scope(t, "s3");
    add_span(t, 1, "span-004", "span-001");
    /* Back in the first scope: elements of their own. */
    add_span(t, 1, "span-005", "span-004")->scope = 0;
    add_span(t, 2, "span-006", "");
    done(t);
    levels_are(&t->c[BLOCK_RESOURCE_SERVICE], "0110", "1111");
    levels_are(&t->c[BLOCK_SCOPE_NAME], "02110", "22222");
    levels_are(&t->c[BLOCK_SPAN_NAME], "032110", "333333");
    levels_are(&t->c[BLOCK_EVENT_NAME], "032110", "333333");
    levels_are(span_attr(t, BLOCK_ATTR_KEY), "032110", "333333");
    STRINGS_ARE(&t->c[BLOCK_SCOPE_NAME], "s1", "s2", "s3", "s1", "s3");
    assert_int_equal(t->c[BLOCK_SCOPE_NAME].dict_count, 3);
    levels_are(&t->c[BLOCK_STATS_SERVICE], "00", "11");
    assert_int_equal(shredder_rows(t->s), 2);
    assert_int_equal(shredder_spans(t->s), 6);
}

static void trace_ids_are_told_in_hex_without_leading_zeros(void **state)
{
    struct fixture *t = *state;
    static const uint8_t wanted[3][16] = {
        {[15] = 5}, {[8] = 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x01, 0x02}, {0x01, [15] = 0xff}};
    plain_span(t, 0);
    for (int i = 0; i < 3; i++)
        memcpy(plain_span(t, 0)->trace_id, wanted[i], 16);
    done(t);
    STRINGS_ARE(&t->c[BLOCK_TRACE_ID_TEXT], "", "5", "a0b0c0d0e0f00102",
                "10000000000000000000000000000ff");
    assert_memory_equal(t->c[BLOCK_TRACE_ID].v.bytes[2].ptr, wanted[1], 16);
    assert_int_equal(t->c[BLOCK_TRACE_ID].v.bytes[2].len, 16);
}

/* ---- attributes ---- */

static void each_kind_of_value_has_its_column(void **state)
{
    struct fixture *t = *state;
    struct value words[] = {text("x"), text(""), text("x")}, numbers[] = {number(1), number(-2)};
    struct value mixed[] = {text("x"), number(1)};
    struct value nested[] = {{.type = VALUE_NONE}};
    struct span *sp = plain_span(t, 1);
    sp->attrs = ATTRS(
        t, {SLICE("a"), text("")}, {SLICE("b"), number(INT64_MIN)},
        {SLICE("c"), {.type = VALUE_DOUBLE, .f64 = -0.0}},
        {SLICE("d"), {.type = VALUE_BOOL, .b = true}}, {SLICE("e"), list(t, VALUE_ARRAY, words, 3)},
        {SLICE("f"), list(t, VALUE_ARRAY, numbers, 2)}, {SLICE("g"), list(t, VALUE_ARRAY, NULL, 0)},
        {SLICE("h"), list(t, VALUE_ARRAY, mixed, 2)}, {SLICE("i"), list(t, VALUE_ARRAY, nested, 1)},
        {SLICE("j"), {.type = VALUE_BYTES, .str = SLICE("\x00\x01\xfa\xff")}},
        {SLICE("k"), {.type = VALUE_NONE}}, {SLICE("l"), list(t, VALUE_KVLIST, NULL, 0)},
        {SLICE("a"), text("z")});
    done(t);
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_KEY), "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
                "l", "a");
    levels_are(span_attr(t, BLOCK_ATTR_KEY), "0444444444444", "4444444444444");
    static const uint8_t arrays[] = {0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(span_attr(t, BLOCK_ATTR_IS_ARRAY)->v.b, arrays, sizeof arrays);
    levels_are(span_attr(t, BLOCK_ATTR_STRING), "044445544444444", "544455544444445");
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_STRING), "", "x", "", "x", "z");
    levels_are(span_attr(t, BLOCK_ATTR_INT), "04444454444444", "45444554444444");
    assert_int_equal(span_attr(t, BLOCK_ATTR_INT)->v.i64[0], INT64_MIN);
    assert_int_equal(span_attr(t, BLOCK_ATTR_INT)->v.i64[2], -2);
    levels_are(span_attr(t, BLOCK_ATTR_DOUBLE), "0444444444444", "4454444444444");
    double zero = -0.0;
    assert_memory_equal(span_attr(t, BLOCK_ATTR_DOUBLE)->v.f64, &zero, sizeof zero);
    levels_are(span_attr(t, BLOCK_ATTR_BOOL), "0444444444444", "4445444444444");
    assert_int_equal(span_attr(t, BLOCK_ATTR_BOOL)->v.b[0], 1);
    levels_are(span_attr(t, BLOCK_ATTR_UNSUPPORTED), "0444444444444", "4444444555554");
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_UNSUPPORTED),
                "{\"arrayValue\":{\"values\":[{\"stringValue\":\"x\"},{\"intValue\":\"1\"}]}}",
                "{\"arrayValue\":{\"values\":[{}]}}", "{\"bytesValue\":\"AAH6/w==\"}", "{}",
                "{\"kvlistValue\":{}}");
}

static void resource_names_go_to_their_columns_as_strings_only(void **state)
{
    struct fixture *t = *state;
    struct value words[] = {text("pod")};
    add_resource(t,
                 ATTRS(t, {SLICE("service.name"), text("one")}, {SLICE("cluster"), text("c")},
                       {SLICE("namespace"), text("n")},
                       {SLICE("pod"), list(t, VALUE_ARRAY, words, 1)},
                       {SLICE("container"), number(3)}, {SLICE("k8s.cluster.name"), text("kc")},
                       {SLICE("k8s.namespace.name"), text("kn")}, {SLICE("k8s.pod.name"), text("")},
                       {SLICE("k8s.container.name"), text("kk")},
                       {SLICE("service.name"), number(4)}, {SLICE("service.name"), text("two")},
                       {SLICE("other"), text("o")}, {SLICE("http.method"), text("GET")}),
                 true);
    add_scope(t, "");
    add_span(t, 1, "span-001", "");
    done(t);
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_SERVICE], "two");
    assert_int_equal(t->c[BLOCK_RESOURCE_SERVICE].dict_count, 1); /* "one" was never stored */
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_CLUSTER], "c");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_NAMESPACE], "n");
    levels_are(&t->c[BLOCK_RESOURCE_POD], "0", "1");
    levels_are(&t->c[BLOCK_RESOURCE_CONTAINER], "0", "1");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_K8S_CLUSTER], "kc");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_K8S_NAMESPACE], "kn");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_K8S_POD], "");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_K8S_CONTAINER], "kk");
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_ATTRS], "pod", "container", "service.name", "other",
                "http.method");
    /* The root's service is the first one, unlike the resource's. */
    STRINGS_ARE(&t->c[BLOCK_ROOT_SERVICE], "one");
    STRINGS_ARE(&t->c[BLOCK_STATS_SERVICE], "two");
}

static void span_names_go_to_their_columns_by_kind(void **state)
{
    struct fixture *t = *state;
    struct span *sp = plain_span(t, 1);
    sp->attrs =
        ATTRS(t, {SLICE("http.method"), text("GET")}, {SLICE("http.url"), number(1)},
              {SLICE("http.status_code"), text("500")}, {SLICE("http.status_code"), number(200)},
              {SLICE("http.status_code"), number(404)}, {SLICE("service.name"), text("x")});
    add_span(t, 1, "no-attrs", "rootroot");
    add_span(t, 1, "with-url", "rootroot")->attrs = ATTRS(t, {SLICE("http.url"), text("/")});
    done(t);
    levels_are(&t->c[BLOCK_SPAN_HTTP_METHOD], "033", "433");
    levels_are(&t->c[BLOCK_SPAN_HTTP_URL], "033", "334");
    levels_are(&t->c[BLOCK_SPAN_HTTP_STATUS], "033", "433");
    assert_int_equal(t->c[BLOCK_SPAN_HTTP_STATUS].v.i64[0], 404);
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_KEY), "http.url", "http.status_code", "service.name");
    levels_are(span_attr(t, BLOCK_ATTR_KEY), "04433", "44433");
}

static void dedicated_columns_are_filled_by_position_and_scope(void **state)
{
    struct fixture *t = *state;
    struct block_dedicated d[16] = {
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("first")},
        {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("event")},
        {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("first")},
        {.scope = BLOCK_SCOPE_SPAN, .type = BLOCK_DEDICATED_INT, .name = SLICE("int")},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.status_code")},
    };
    for (int i = 5; i < 16; i++)
        d[i] = (struct block_dedicated){.scope = BLOCK_SCOPE_SPAN,
                                        .name = slice_cstr(arena_printf(t->a, "d%d", i))};
    struct err err;
    assert_int_equal(shredder_reset(t->s, d, 16, &err), 0);
    memset(d, 0, sizeof d); /* the list was copied */

    struct span *sp = plain_span(t, 1);
    struct value words[] = {text("w")};
    sp->attrs =
        ATTRS(t, {SLICE("first"), text("1st")}, {SLICE("int"), number(7)},
              {SLICE("http.status_code"), text("text")}, {SLICE("http.status_code"), number(500)},
              {SLICE("d5"), list(t, VALUE_ARRAY, words, 1)}, {SLICE("d12"), text("tenth")},
              {SLICE("d13"), text("surplus")}, {SLICE("event"), text("e")},
              {SLICE("first"), text("again")});
    done(t);
    STRINGS_ARE(&t->c[BLOCK_SPAN_DEDICATED], "again");
    STRINGS_ARE(&t->c[BLOCK_SPAN_DEDICATED + 1], "text");
    assert_int_equal(t->c[BLOCK_SPAN_DEDICATED + 2].values, 0);
    STRINGS_ARE(&t->c[BLOCK_SPAN_DEDICATED + 9], "tenth");
    assert_int_equal(t->c[BLOCK_SPAN_HTTP_STATUS].v.i64[0], 500);
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_KEY), "int", "d5", "d13", "event");
    assert_int_equal(t->c[BLOCK_RESOURCE_DEDICATED].values, 0);

    /* After a reset without them nothing is dedicated. */
    assert_int_equal(shredder_reset(t->s, NULL, 0, &err), 0);
    done(t);
    assert_int_equal(t->c[BLOCK_SPAN_DEDICATED].values, 0);
    levels_are(&t->c[BLOCK_SPAN_DEDICATED], "0", "3");
    assert_int_equal(span_attr(t, BLOCK_ATTR_KEY)->values, 8);
}

static void events_and_links_have_attributes_of_their_own(void **state)
{
    struct fixture *t = *state;
    struct span *sp = plain_span(t, 1);
    sp->start_unix_ns = 1000000;
    struct event e[] = {{.time_unix_ns = 1500000, .name = SLICE("late")},
                        {.time_unix_ns = 0, .name = SLICE("early"), .dropped_attrs = UINT32_MAX}};
    e[0].attrs = ATTRS(t, {SLICE("http.method"), text("GET")}, {SLICE("k"), number(1)});
    struct link k = {.trace_id = SLICE("0123456789abcdef"),
                     .span_id = SLICE("01234567"),
                     .trace_state = SLICE("a=b"),
                     .attrs = ATTRS(t, {SLICE("l"), text("v")})};
    assert_true(vec_push(&t->b.events, e[0]) && vec_push(&t->b.events, e[1]));
    assert_true(vec_push(&t->b.links, k));
    sp = &t->b.spans.at[0];
    sp->events = (struct range){0, 2};
    add_span(t, 1, "linked..", "rootroot")->links = (struct range){0, 1};
    done(t);
    levels_are(&t->c[BLOCK_EVENT_TIME], "043", "443");
    assert_int_equal(t->c[BLOCK_EVENT_TIME].v.i64[0], 500000);
    assert_int_equal(t->c[BLOCK_EVENT_TIME].v.i64[1], -1000000);
    assert_int_equal(t->c[BLOCK_EVENT_DROPPED].v.i32[1], -1);
    levels_are(&t->c[BLOCK_EVENT_ATTRS], "0543", "5543");
    levels_are(&t->c[BLOCK_EVENT_ATTRS + BLOCK_ATTR_STRING], "0543", "6543");
    levels_are(&t->c[BLOCK_EVENT_ATTRS + BLOCK_ATTR_INT], "0543", "5643");
    STRINGS_ARE(&t->c[BLOCK_EVENT_ATTRS], "http.method", "k");
    levels_are(&t->c[BLOCK_LINK_SPAN_ID], "03", "34");
    levels_are(&t->c[BLOCK_LINK_ATTRS + BLOCK_ATTR_STRING], "03", "36");
    STRINGS_ARE(&t->c[BLOCK_LINK_TRACE_ID], "0123456789abcdef");
    STRINGS_ARE(&t->c[BLOCK_LINK_TRACE_STATE], "a=b");
}

/* ---- text ---- */

static void bad_utf8_is_replaced_in_every_string_column(void **state)
{
    struct fixture *t = *state;
    add_resource(t, ATTRS(t, {SLICE("service.name"), text("s\xff")}), true);
    add_scope(t, "\xc3");
    struct span *sp = add_span(t, 1, "rootroot", "");
    sp->name = SLICE("a\xe6\x97");
    sp->trace_state = SLICE("\xf0\x9f\x98\x80 fine");
    sp->status_message = SLICE("\x80\x80");
    sp->attrs =
        ATTRS(t, {SLICE("k\xff"), text("v\xff")}, {SLICE("k\xfe"), text("v\xfe")},
              {SLICE("k\xef\xbf\xbd"), text("größe")}, {SLICE("http.url"), text("\xed\xa0\x80")});
    done(t);
    STRINGS_ARE(&t->c[BLOCK_RESOURCE_SERVICE], "s\xef\xbf\xbd");
    STRINGS_ARE(&t->c[BLOCK_STATS_SERVICE], "s\xef\xbf\xbd");
    STRINGS_ARE(&t->c[BLOCK_ROOT_SERVICE], "s\xef\xbf\xbd");
    STRINGS_ARE(&t->c[BLOCK_SCOPE_NAME], "\xef\xbf\xbd");
    STRINGS_ARE(&t->c[BLOCK_SPAN_NAME], "a\xef\xbf\xbd\xef\xbf\xbd");
    STRINGS_ARE(&t->c[BLOCK_SPAN_TRACE_STATE], "\xf0\x9f\x98\x80 fine");
    STRINGS_ARE(&t->c[BLOCK_SPAN_STATUS_MESSAGE], "\xef\xbf\xbd\xef\xbf\xbd");
    /* Different bad strings that are repaired to the same are one entry. */
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_KEY), "k\xef\xbf\xbd", "k\xef\xbf\xbd", "k\xef\xbf\xbd");
    assert_int_equal(span_attr(t, BLOCK_ATTR_KEY)->dict_count, 1);
    STRINGS_ARE(span_attr(t, BLOCK_ATTR_STRING), "v\xef\xbf\xbd", "v\xef\xbf\xbd", "größe");
    assert_int_equal(span_attr(t, BLOCK_ATTR_STRING)->dict_count, 2);
    STRINGS_ARE(&t->c[BLOCK_SPAN_HTTP_URL], "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        if (t->c[i].type != COLUMN_BYTES || i == BLOCK_TRACE_ID)
            continue;
        for (uint32_t k = 0; k < t->c[i].dict_count; k++)
            assert_true(utf8_valid(t->c[i].dict[k]));
    }
}

static void a_dictionary_holds_each_string_once_at_any_length(void **state)
{
    struct fixture *t = *state;
    enum { N = 3000 };
    char *long_text = arena_alloc(t->a, 2 * N);
    memset(long_text, 'x', 2 * N);
    plain_span(t, 1);
    for (uint32_t i = 0; i < 2 * N; i++) {
        struct span *sp = add_span(t, 1, "child...", "rootroot");
        sp->name = slice_of(long_text + i % N, i % N); /* lengths 0 to N-1, twice */
    }
    done(t);
    const struct column *c = &t->c[BLOCK_SPAN_NAME];
    assert_int_equal(c->dict_count, N + 1);
    for (uint32_t i = 0; i < 2 * N; i++)
        assert_int_equal(c->dict[c->v.idx[i + 1]].len, i % N);
}

static void strings_that_differ_in_one_byte_are_told_apart(void **state)
{
    struct fixture *t = *state;
    plain_span(t, 1);
    uint32_t count = 1;
    for (size_t n = 1; n < 70; n++) {
        for (size_t at = 0; at < n; at++) {
            char *s = arena_alloc(t->a, n);
            memset(s, 'a', n);
            s[at] = 'b';
            /* The same key with one value after another: each is compared with the last. */
            add_span(t, 1, "child...", "rootroot")->attrs =
                ATTRS(t, {slice_of(s, n), {.type = VALUE_STRING, .str = slice_of(s, n)}},
                      {SLICE("same"), {.type = VALUE_STRING, .str = slice_of(s, n)}});
            count++;
        }
    }
    done(t);
    const struct column *c = span_attr(t, BLOCK_ATTR_STRING);
    assert_int_equal(span_attr(t, BLOCK_ATTR_KEY)->dict_count, count);
    assert_int_equal(c->dict_count, count - 1);
    for (uint32_t i = 0; i < c->values; i += 2) {
        struct slice key = column_bytes(span_attr(t, BLOCK_ATTR_KEY), i);
        assert_true(slice_eq(column_bytes(c, i), key));
        assert_true(slice_eq(column_bytes(c, i + 1), key));
    }
}

/* ---- the trace as a whole ---- */

static void the_last_root_names_the_trace(void **state)
{
    struct fixture *t = *state;
    add_resource(t, ATTRS(t, {SLICE("service.name"), text("one")}), true);
    add_scope(t, "");
    add_span(t, 1, "root-one", "");
    add_resource(t, ATTRS(t, {SLICE("service.name"), text("two")}), true);
    add_scope(t, "");
    add_span(t, 1, "root-two", "");
    add_span(t, 1, "child...", "root-two");
    add_span(t, 2, "rootless", "missing.");

    add_resource(
        t, ATTRS(t, {SLICE("service.name"), number(3)}, {SLICE("service.name"), text("x")}), true);
    add_scope(t, "");
    add_span(t, 3, "intname.", "");

    add_resource(t, (struct range){0}, false); /* no resource was sent */
    add_scope(t, "");
    add_span(t, 4, "nothing.", "");
    done(t);
    STRINGS_ARE(&t->c[BLOCK_ROOT_NAME], "root-two", "", "intname.", "");
    STRINGS_ARE(&t->c[BLOCK_ROOT_SERVICE], "two", "", "", "");
}

static void times_are_those_of_the_trace(void **state)
{
    struct fixture *t = *state;
    struct span *sp = plain_span(t, 1);
    sp->start_unix_ns = 500;
    sp->end_unix_ns = 900;
    sp = add_span(t, 1, "child...", "rootroot");
    sp->start_unix_ns = 400;
    sp->end_unix_ns = 300; /* ends before it starts */
    sp = plain_span(t, 2);
    sp->start_unix_ns = 0; /* counts as unset: the next one's start takes its place */
    sp->end_unix_ns = 50;
    add_span(t, 2, "child...", "rootroot")->start_unix_ns = 7000;
    done(t);
    const int64_t *start = t->c[BLOCK_TRACE_START].v.i64, *end = t->c[BLOCK_TRACE_END].v.i64;
    assert_int_equal(start[0], 400);
    assert_int_equal(end[0], 900);
    assert_int_equal(t->c[BLOCK_TRACE_DURATION].v.i64[0], 500);
    assert_int_equal(start[1], 7000);
    assert_int_equal(end[1], 50);
    assert_int_equal(t->c[BLOCK_TRACE_DURATION].v.i64[1], 50 - 7000);
    assert_int_equal(t->c[BLOCK_SPAN_DURATION].v.i64[1], -100);
    uint64_t first, last;
    shredder_times(t->s, &first, &last);
    assert_int_equal(first, 400);
    assert_int_equal(last, 900);
}

static void service_stats_count_spans_and_errors_once_per_service(void **state)
{
    struct fixture *t = *state;
    static const char *const services[] = {"b", "a", "b", "", "a"};
    for (uint8_t trace = 1; trace <= 2; trace++) {
        for (int i = trace - 1; i < 5; i++) {
            add_resource(t,
                         *services[i] ? ATTRS(t, {SLICE("service.name"), text(services[i])})
                                      : (struct range){0},
                         true);
            add_scope(t, "");
            add_span(t, trace, "one.....", "");
            add_span(t, trace, "two.....", "")->status_code = i % 2 ? 2 : 1;
        }
    }
    done(t);
    levels_are(&t->c[BLOCK_STATS_SERVICE], "011011", "111111");
    STRINGS_ARE(&t->c[BLOCK_STATS_SERVICE], "b", "a", "", "a", "b", "");
    static const int32_t spans[] = {4, 4, 2, 4, 2, 2}, errors[] = {0, 1, 1, 1, 0, 1};
    assert_memory_equal(t->c[BLOCK_STATS_SPANS].v.i32, spans, sizeof spans);
    assert_memory_equal(t->c[BLOCK_STATS_ERRORS].v.i32, errors, sizeof errors);
}

/* ---- the shredder itself ---- */

static void a_reset_shredder_is_as_good_as_a_new_one(void **state)
{
    struct fixture *t = *state;
    struct rng r = {.state = 11};
    struct err err;
    for (int round = 0; round < 20; round++) {
        span_batch_reset(&t->b);
        random_traces(&r, t->a, &t->b, 1 + (uint32_t)rng_below(&r, 20));
        assert_int_equal(shredder_reset(t->s, NULL, 0, &err), 0);
        done(t);
        struct shredder *fresh = shredder_make(NULL, 0);
        shred_batch(fresh, &t->b);
        const struct column *want = shredder_columns(fresh);
        for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
            if (!column_same(&t->c[i], &want[i]))
                fail_msg("round %d: %s differs", round, block_leaves[i].path);
            assert_int_equal(t->c[i].dict_count, want[i].dict_count);
        }
        assert_int_equal(shredder_bytes(t->s), shredder_bytes(fresh));
        shredder_free(fresh);
    }
}

static void the_estimate_is_near_the_size_tempo_came_to(void **state)
{
    struct fixture *t = *state;
    const char *path = tempo_blocks[TEMPO_BLOCKS - 1];
    struct slice file = file_read(path);
    struct arena *a = arena_new((size_t)512 << 20);
    struct parquet_file *f;
    struct err err;
    assert_int_equal(file_open(file, a, &f, &err), 0);
    struct column *columns = columns_of(file, f, 0, a);
    assert_int_equal(block_assemble(columns, NULL, 0, 0, columns[0].rows, a, &t->b, &err), 0);
    done(t);
    assert_in_range(shredder_bytes(t->s), file.len / 2, file.len * 2);
    arena_free(a);
    slice_free(file);
}

/* One trace of 200,000 spans, each in a resource of its own: nothing may be quadratic. */
static void a_huge_trace_takes_linear_time(void **state)
{
    struct fixture *t = *state;
    enum { N = 200000 };
    for (uint32_t i = 0; i < N; i++) {
        uint64_t *id = arena_alloc(t->a, 8);
        *id = i + 1;
        add_resource(t, ATTRS(t, {SLICE("service.name"), text(arena_printf(t->a, "svc%u", i / 2))}),
                     true);
        add_scope(t, "");
        struct span *sp = add_span(t, 1, "", "");
        sp->span_id = slice_of(id, 8);
        if (i)
            sp->parent_span_id = t->b.spans.at[i - 1].span_id;
    }
    done(t);
    assert_int_equal(t->c[BLOCK_SPAN_NESTED_RIGHT].v.i32[0], 2 * N);
    assert_int_equal(t->c[BLOCK_STATS_SERVICE].values, N / 2);
}

static void lists_keep_what_vparquet4_has_columns_for(void **state)
{
    (void)state;
    struct block_dedicated list[40] = {
        {.scope = BLOCK_SCOPE_EVENT, .name = SLICE("event")},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("int"), .type = BLOCK_DEDICATED_INT},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("array"), .is_array = true},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("blob"), .is_blob = true},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.url")},
        {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("k8s.pod.name")},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("cluster")}, /* of resources alone */
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("cluster")},
        {.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("http.url")},
        {.scope = BLOCK_SCOPE_SPAN, .name = SLICE("http.status_code")}, /* whose column has ints */
    };
    static const char names[] = "abcdefghijklmnopqrstuvwxyz";
    size_t count = 10;
    for (int i = 0; i < 12; i++)
        list[count++] =
            (struct block_dedicated){.scope = BLOCK_SCOPE_SPAN, .name = slice_of(names + i, 1)};
    list[count++] = (struct block_dedicated){.scope = BLOCK_SCOPE_RESOURCE, .name = SLICE("last")};
    count = shred_dedicated(list, count, list);
    assert_int_equal(count, 12);
    assert_true(slice_eq(list[0].name, SLICE("cluster")) && list[0].scope == BLOCK_SCOPE_SPAN);
    assert_true(slice_eq(list[1].name, SLICE("http.url")) && list[1].scope == BLOCK_SCOPE_RESOURCE);
    assert_true(slice_eq(list[2].name, SLICE("http.status_code")));
    assert_true(slice_eq(list[3].name, SLICE("a")));
    assert_true(slice_eq(list[10].name, SLICE("h"))); /* the tenth of spans */
    assert_true(slice_eq(list[11].name, SLICE("last")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_shredder_has_empty_columns),
        TEST(a_trace_without_spans_is_a_row_without_resources),
        TEST(levels_follow_resources_scopes_and_spans),
        TEST(trace_ids_are_told_in_hex_without_leading_zeros),
        TEST(each_kind_of_value_has_its_column),
        TEST(resource_names_go_to_their_columns_as_strings_only),
        TEST(span_names_go_to_their_columns_by_kind),
        TEST(dedicated_columns_are_filled_by_position_and_scope),
        TEST(events_and_links_have_attributes_of_their_own),
        TEST(bad_utf8_is_replaced_in_every_string_column),
        TEST(a_dictionary_holds_each_string_once_at_any_length),
        TEST(strings_that_differ_in_one_byte_are_told_apart),
        TEST(the_last_root_names_the_trace),
        TEST(times_are_those_of_the_trace),
        TEST(service_stats_count_spans_and_errors_once_per_service),
        TEST(a_reset_shredder_is_as_good_as_a_new_one),
        TEST(the_estimate_is_near_the_size_tempo_came_to),
        TEST(a_huge_trace_takes_linear_time),
        cmocka_unit_test(lists_keep_what_vparquet4_has_columns_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
