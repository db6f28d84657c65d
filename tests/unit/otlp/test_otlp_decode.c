/* The protobuf decoder: every field, every order, and bytes that are no request. */
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
    struct span_batch batch;
    struct buf a, b, c, d; /* for messages in messages */
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    buf_init(&f->a, (size_t)64 << 20);
    buf_init(&f->b, (size_t)64 << 20);
    buf_init(&f->c, (size_t)64 << 20);
    buf_init(&f->d, (size_t)64 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    span_batch_clear(&f->batch);
    buf_clear(&f->a);
    buf_clear(&f->b);
    buf_clear(&f->c);
    buf_clear(&f->d);
    free(f);
    return 0;
}

static int decode(struct fixture *f, struct slice body)
{
    span_batch_reset(&f->batch);
    f->err = (struct err){0};
    return otlp_decode(body, &f->batch, &f->err);
}

#define DECODE(f, literal) decode((f), SLICE(literal))

static void check_fails(struct fixture *f, struct slice body, enum err_code code, const char *msg)
{
    assert_int_equal(decode(f, body), code);
    assert_int_equal(f->err.code, code);
    assert_string_equal(f->err.msg, msg);
}

#define FAILS(f, literal, msg) check_fails((f), SLICE(literal), ERR_INVALID, (msg))

/* A span as the only one of a request. */
static int decode_span(struct fixture *f, struct slice span)
{
    buf_reset(&f->d);
    support_pb_bytes(&f->d, 2, span);
    support_pb_wrap(&f->d, 2, 1);
    support_pb_wrap(&f->d, 1, 1);
    return decode(f, buf_view(&f->d));
}

/* An AnyValue as the only attribute of the only span. */
static int decode_value(struct fixture *f, struct slice value)
{
    struct buf span;
    buf_init(&span, (size_t)64 << 20);
    support_pb_bytes(&span, 2, value);
    support_pb_wrap(&span, 9, 1);
    int rc = decode_span(f, buf_view(&span));
    buf_clear(&span);
    return rc;
}

static const struct value *only_value(const struct fixture *f)
{
    assert_int_equal(f->batch.spans.count, 1);
    assert_int_equal(f->batch.spans.at[0].attrs.count, 1);
    return &f->batch.attrs.at[f->batch.spans.at[0].attrs.first].value;
}

/* ---- what arrives ---- */

static void an_empty_request_has_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decode(f, slice_of(NULL, 0)), 0);
    assert_int_equal(f->batch.resources.count, 0);
    assert_int_equal(DECODE(f, "\x0a\x00"), 0);
    assert_int_equal(f->batch.resources.count, 1);
    assert_false(f->batch.resources.at[0].present);
    assert_int_equal(f->batch.spans.count, 0);
}

static void every_field_of_a_span_arrives(void **state)
{
    struct fixture *f = *state;
    struct buf *s = &f->a;
    support_pb_bytes(s, 1, SLICE("0123456789abcdef"));
    support_pb_bytes(s, 2, SLICE("spanid01"));
    support_pb_bytes(s, 3, SLICE("a=b"));
    support_pb_bytes(s, 4, SLICE("parent01"));
    support_pb_bytes(s, 5, SLICE("GET \xff/")); /* no UTF-8: kept */
    support_pb_varint(s, 6, 2);
    support_pb_fixed64(s, 7, UINT64_C(1795557535638463488));
    support_pb_fixed64(s, 8, UINT64_MAX);
    support_pb_varint(s, 10, 11);
    support_pb_varint(s, 12, 12);
    support_pb_varint(s, 14, UINT64_C(0x100000005)); /* cut to 32 bits */
    support_pb_fixed32(s, 16, 0x301);
    support_pb_bytes(&f->b, 2, SLICE("broken"));
    support_pb_varint(&f->b, 3, 2);
    support_pb_bytes(s, 15, buf_view(&f->b));
    assert_int_equal(decode_span(f, buf_view(s)), 0);
    const struct span *span = &f->batch.spans.at[0];
    assert_memory_equal(span->trace_id, "0123456789abcdef", 16);
    assert_true(slice_eq(span->span_id, SLICE("spanid01")));
    assert_true(slice_eq(span->parent_span_id, SLICE("parent01")));
    assert_true(slice_eq(span->trace_state, SLICE("a=b")));
    assert_true(slice_eq(span->name, SLICE("GET \xff/")));
    assert_int_equal(span->kind, 2);
    assert_true(span->start_unix_ns == UINT64_C(1795557535638463488));
    assert_true(span->end_unix_ns == UINT64_MAX);
    assert_int_equal(span->dropped_attrs, 11);
    assert_int_equal(span->dropped_events, 12);
    assert_int_equal(span->dropped_links, 5);
    assert_int_equal(span->flags, 0x301);
    assert_int_equal(span->status_code, 2);
    assert_true(slice_eq(span->status_message, SLICE("broken")));
    assert_int_equal(span->attrs.count + span->events.count + span->links.count, 0);
    assert_false(f->batch.scopes.at[span->scope].present);
}

static void events_and_links_arrive(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        buf_reset(&f->b);
        support_pb_fixed64(&f->b, 1, 100 + i);
        support_pb_bytes(&f->b, 2, SLICE("ev"));
        support_pb_bytes(&f->b, 3, SLICE("\x0a\x01k\x12\x02\x18\x05"));
        support_pb_varint(&f->b, 4, i);
        support_pb_bytes(&f->a, 11, buf_view(&f->b));
        buf_reset(&f->b);
        support_pb_bytes(&f->b, 1, SLICE("fedcba9876543210"));
        support_pb_bytes(&f->b, 2, SLICE("linkid01"));
        support_pb_bytes(&f->b, 3, SLICE("x=y"));
        support_pb_bytes(&f->b, 4, SLICE("\x0a\x01l\x12\x03\x0a\x01v"));
        support_pb_varint(&f->b, 5, i);
        support_pb_fixed32(&f->b, 6, 256);
        support_pb_bytes(&f->a, 13, buf_view(&f->b));
    }
    assert_int_equal(decode_span(f, buf_view(&f->a)), 0);
    const struct span *s = &f->batch.spans.at[0];
    assert_int_equal(s->events.count, 3);
    assert_int_equal(s->links.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct event *e = &f->batch.events.at[s->events.first + i];
        assert_int_equal(e->time_unix_ns, 100 + i);
        assert_int_equal(e->dropped_attrs, i);
        assert_int_equal(e->attrs.count, 1);
        assert_int_equal(f->batch.attrs.at[e->attrs.first].value.i64, 5);
        const struct link *l = &f->batch.links.at[s->links.first + i];
        assert_true(slice_eq(l->trace_id, SLICE("fedcba9876543210")));
        assert_true(slice_eq(l->span_id, SLICE("linkid01")));
        assert_true(slice_eq(l->trace_state, SLICE("x=y")));
        assert_int_equal(l->flags, 256);
        assert_int_equal(l->dropped_attrs, i);
        assert_true(slice_eq(f->batch.attrs.at[l->attrs.first].key, SLICE("l")));
    }
}

static void every_kind_of_value_arrives(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(decode_value(f, SLICE("")), 0);
    assert_int_equal(only_value(f)->type, VALUE_NONE);
    assert_int_equal(decode_value(f, SLICE("\x0a\x00")), 0);
    assert_int_equal(only_value(f)->type, VALUE_STRING);
    assert_int_equal(only_value(f)->str.len, 0);
    assert_int_equal(decode_value(f, SLICE("\x0a\x02hi")), 0);
    assert_true(slice_eq(only_value(f)->str, SLICE("hi")));
    assert_int_equal(decode_value(f, SLICE("\x10\x01")), 0);
    assert_int_equal(only_value(f)->type, VALUE_BOOL);
    assert_true(only_value(f)->b);
    assert_int_equal(decode_value(f, SLICE("\x10\x00")), 0);
    assert_false(only_value(f)->b);
    assert_int_equal(decode_value(f, SLICE("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), 0);
    assert_int_equal(only_value(f)->type, VALUE_INT);
    assert_true(only_value(f)->i64 == -1);
    assert_int_equal(decode_value(f, SLICE("\x21\x00\x00\x00\x00\x00\x00\xe0\x3f")), 0);
    assert_int_equal(only_value(f)->type, VALUE_DOUBLE);
    assert_true(only_value(f)->f64 == 0.5);
    assert_int_equal(decode_value(f, SLICE("\x3a\x02\x00\xff")), 0);
    assert_int_equal(only_value(f)->type, VALUE_BYTES);
    assert_true(slice_eq(only_value(f)->str, SLICE("\x00\xff")));
    assert_int_equal(decode_value(f, SLICE("\x2a\x00")), 0);
    assert_int_equal(only_value(f)->type, VALUE_ARRAY);
    assert_int_equal(only_value(f)->list.count, 0);
    assert_int_equal(decode_value(f, SLICE("\x32\x00")), 0);
    assert_int_equal(only_value(f)->type, VALUE_KVLIST);
    /* [1, ["x"], true] */
    assert_int_equal(
        decode_value(f, SLICE("\x2a\x11\x0a\x02\x18\x01\x0a\x07\x2a\x05\x0a\x03\x0a\x01x"
                              "\x0a\x02\x10\x01")),
        0);
    assert_int_equal(only_value(f)->type, VALUE_ARRAY);
    assert_int_equal(only_value(f)->list.count, 3);
    const struct value *v = &f->batch.values.at[only_value(f)->list.first];
    assert_int_equal(v[0].i64, 1);
    assert_int_equal(v[1].type, VALUE_ARRAY);
    assert_true(slice_eq(f->batch.values.at[v[1].list.first].str, SLICE("x")));
    assert_true(v[2].b);
    /* The oneof's last field counts. */
    assert_int_equal(decode_value(f, SLICE("\x18\x05\x0a\x01x\x10\x00")), 0);
    assert_int_equal(only_value(f)->type, VALUE_BOOL);
}

/* The plain form of an attribute and the general one must agree. */
static void attributes_read_the_same_in_every_encoding(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct slice attr;
        enum value_type type;
        int64_t num;
    } cases[] = {
        {SLICE("\x0a\x01k\x12\x02\x18\x05"), VALUE_INT, 5},
        {SLICE("\x12\x02\x18\x05\x0a\x01k"), VALUE_INT, 5},                 /* value first */
        {SLICE("\x0a\x81\x00k\x12\x02\x18\x05"), VALUE_INT, 5},             /* long length */
        {SLICE("\x0a\x01k\x12\x82\x00\x18\x05"), VALUE_INT, 5},             /* long length */
        {SLICE("\x0a\x01k\x12\x03\x18\x85\x00"), VALUE_INT, 5},             /* long number */
        {SLICE("\x0a\x01k\x12\x02\x18\x05\x18\x01"), VALUE_INT, 5},         /* unknown field 3 */
        {SLICE("\x0a\x01k\x12\x04\x18\x07\x18\x05"), VALUE_INT, 5},         /* twice in one value */
        {SLICE("\x0a\x01k\x12\x02\x18\x07\x12\x02\x18\x05"), VALUE_INT, 5}, /* two values */
        {SLICE("\x0a\x01k\x12\x02\x18\x05\x12\x00"), VALUE_INT, 5},   /* merged with nothing */
        {SLICE("\x0a\x02zz\x0a\x01k\x12\x02\x18\x05"), VALUE_INT, 5}, /* two keys */
        {SLICE("\x0a\x01k\x12\x03\x10\x81\x00"), VALUE_BOOL, 1},
        {SLICE("\x0a\x01k\x12\x03\x10\x80\x02"), VALUE_BOOL, 1},
        {SLICE("\x0a\x01k\x12\x00"), VALUE_NONE, 0},
        {SLICE("\x0a\x01k"), VALUE_NONE, 0},
        {SLICE("\x0a\x01k\x12\x05\x0a\x03xyz"), VALUE_STRING, 3},
        {SLICE("\x0a\x01k\x12\x06\x0a\x83\x00xyz"), VALUE_STRING, 3},
        {SLICE("\x0a\x01k\x12\x07\x0a\x03xyz\x40\x01"), VALUE_STRING, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_reset(&f->a);
        support_pb_bytes(&f->a, 9, cases[i].attr);
        if (decode_span(f, buf_view(&f->a)) < 0)
            fail_msg("case %zu: %s", i, f->err.msg);
        const struct value *v = only_value(f);
        assert_true(slice_eq(f->batch.attrs.at[0].key, SLICE("k")));
        assert_int_equal(v->type, cases[i].type);
        if (v->type == VALUE_INT)
            assert_int_equal(v->i64, cases[i].num);
        else if (v->type == VALUE_BOOL)
            assert_int_equal(v->b, cases[i].num);
        else if (v->type == VALUE_STRING)
            assert_int_equal(v->str.len, cases[i].num);
    }
}

static void zero_ids_are_no_ids(void **state)
{
    struct fixture *f = *state;
    support_pb_bytes(&f->a, 1, SLICE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    support_pb_bytes(&f->a, 2, SLICE("\0\0\0\0\0\0\0\0"));
    support_pb_bytes(&f->a, 4, SLICE("\0\0\0\0\0\0\0\0"));
    support_pb_bytes(&f->b, 1, SLICE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    support_pb_bytes(&f->b, 2, SLICE(""));
    support_pb_bytes(&f->a, 13, buf_view(&f->b));
    assert_int_equal(decode_span(f, buf_view(&f->a)), 0);
    const struct span *s = &f->batch.spans.at[0];
    assert_memory_equal(s->trace_id, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(s->span_id.len, 0);
    assert_int_equal(s->parent_span_id.len, 0);
    assert_int_equal(f->batch.links.at[0].trace_id.len, 0);
}

/* ---- order ---- */

static void put_attr(struct buf *out, uint32_t field, const char *key)
{
    struct buf kv;
    buf_init(&kv, 1000);
    support_pb_bytes(&kv, 1, slice_cstr(key));
    support_pb_bytes(&kv, 2, SLICE("\x18\x01"));
    support_pb_bytes(out, field, buf_view(&kv));
    buf_clear(&kv);
}

static void check_keys(const struct fixture *f, struct range attrs, const char *keys)
{
    assert_int_equal(attrs.count, strlen(keys));
    for (uint32_t i = 0; i < attrs.count; i++)
        assert_true(slice_eq(f->batch.attrs.at[attrs.first + i].key, slice_of(keys + i, 1)));
}

static void interleaved_lists_are_not_mixed_up(void **state)
{
    struct fixture *f = *state;
    /* attribute, event with attributes, attribute, link with one, key-value list, attribute */
    struct buf *s = &f->a;
    put_attr(s, 9, "a");
    put_attr(&f->b, 3, "x");
    put_attr(&f->b, 3, "y");
    support_pb_bytes(s, 11, buf_view(&f->b));
    put_attr(s, 9, "b");
    buf_reset(&f->b);
    put_attr(&f->b, 4, "z");
    support_pb_bytes(s, 13, buf_view(&f->b));
    buf_reset(&f->b);
    put_attr(&f->b, 1, "p");
    put_attr(&f->b, 1, "q");
    support_pb_wrap(&f->b, 6, 1); /* AnyValue.kvlist_value */
    buf_reset(&f->c);
    support_pb_bytes(&f->c, 1, SLICE("c"));
    support_pb_bytes(&f->c, 2, buf_view(&f->b));
    support_pb_bytes(s, 9, buf_view(&f->c));
    put_attr(s, 9, "d");
    support_pb_bytes(s, 11, SLICE(""));
    put_attr(s, 9, "e");
    assert_int_equal(decode_span(f, buf_view(s)), 0);
    const struct span *span = &f->batch.spans.at[0];
    check_keys(f, span->attrs, "abcde");
    assert_int_equal(span->events.count, 2);
    check_keys(f, f->batch.events.at[span->events.first].attrs, "xy");
    check_keys(f, f->batch.events.at[span->events.first + 1].attrs, "");
    check_keys(f, f->batch.links.at[span->links.first].attrs, "z");
    const struct value *list = &f->batch.attrs.at[span->attrs.first + 2].value;
    assert_int_equal(list->type, VALUE_KVLIST);
    check_keys(f, list->list, "pq");
}

static void resource_and_scope_may_follow_their_spans(void **state)
{
    struct fixture *f = *state;
    /* ResourceSpans: resource {a}, scope_spans {span, scope {s, x}, span, scope {version, y}},
     * scope_spans {}, resource {b, dropped 3} */
    put_attr(&f->a, 1, "a");
    support_pb_wrap(&f->a, 1, 1);

    support_pb_bytes(&f->b, 2, SLICE("\x2a\x03one\x4a\x07\x0a\x01m\x12\x02\x18\x01"));
    support_pb_bytes(&f->c, 1, SLICE("s"));
    put_attr(&f->c, 3, "x");
    support_pb_bytes(&f->b, 1, buf_view(&f->c));
    support_pb_bytes(&f->b, 2, SLICE("\x2a\x03two"));
    buf_reset(&f->c);
    support_pb_bytes(&f->c, 2, SLICE("v1"));
    put_attr(&f->c, 3, "y");
    support_pb_bytes(&f->b, 1, buf_view(&f->c));
    support_pb_bytes(&f->a, 2, buf_view(&f->b));
    support_pb_bytes(&f->a, 2, SLICE(""));

    buf_reset(&f->c);
    put_attr(&f->c, 1, "b");
    support_pb_varint(&f->c, 2, 3);
    support_pb_bytes(&f->a, 1, buf_view(&f->c));
    support_pb_bytes(&f->a, 3, SLICE("http://schema"));
    support_pb_wrap(&f->a, 1, 1);
    /* A second resource that has nothing. */
    support_pb_bytes(&f->a, 1, SLICE("\x12\x04\x12\x02\x2a\x00"));
    assert_int_equal(decode(f, buf_view(&f->a)), 0);

    assert_int_equal(f->batch.resources.count, 2);
    const struct resource *r = &f->batch.resources.at[0];
    assert_true(r->present);
    assert_int_equal(r->dropped_attrs, 3);
    check_keys(f, r->attrs, "ab");
    assert_int_equal(r->scopes.first, 0);
    assert_int_equal(r->scopes.count, 2);
    assert_false(r[1].present);
    assert_int_equal(r[1].scopes.first, 2);
    assert_int_equal(r[1].scopes.count, 1);
    const struct scope *s = &f->batch.scopes.at[0];
    assert_true(s->present);
    assert_true(slice_eq(s->name, SLICE("s")));
    assert_true(slice_eq(s->version, SLICE("v1")));
    check_keys(f, s->attrs, "xy");
    assert_int_equal(s->resource, 0);
    assert_int_equal(s->spans.first, 0);
    assert_int_equal(s->spans.count, 2);
    assert_false(s[1].present);
    assert_int_equal(s[1].spans.count, 0);
    assert_int_equal(s[2].resource, 1);
    assert_int_equal(s[2].spans.first, 2);
    assert_int_equal(f->batch.spans.count, 3);
    assert_int_equal(f->batch.spans.at[1].scope, 0);
    assert_int_equal(f->batch.spans.at[2].scope, 2);
    check_keys(f, f->batch.spans.at[0].attrs, "m");
}

static void a_body_is_appended_to_what_is_there(void **state)
{
    struct fixture *f = *state;
    static const char body[] =
        "\x0a\x11\x12\x0f\x12\x0d\x2a\x00\x4a\x09\x0a\x01k\x12\x04\x2a\x02\x0a\x00";
    struct slice s = slice_of(body, sizeof body - 1);
    assert_int_equal(decode(f, s), 0);
    assert_int_equal(otlp_decode(s, &f->batch, &f->err), 0);
    assert_int_equal(f->batch.spans.count, 2);
    assert_int_equal(f->batch.spans.at[1].scope, 1);
    assert_int_equal(f->batch.scopes.at[1].resource, 1);
    assert_int_equal(f->batch.spans.at[1].attrs.first, 1);
    assert_int_equal(f->batch.attrs.at[1].value.list.first, 1);
}

/* ---- what is refused ---- */

static void unknown_fields_are_skipped(void **state)
{
    struct fixture *f = *state;
    support_pb_varint(&f->a, 100, 5);
    support_pb_fixed64(&f->a, 101, 5);
    support_pb_bytes(&f->a, 536870911, SLICE("\xff\xff")); /* the largest number */
    support_pb_fixed32(&f->a, 103, 5);
    support_pb_bytes(&f->a, 5, SLICE("n"));
    assert_int_equal(decode_span(f, buf_view(&f->a)), 0);
    assert_true(slice_eq(f->batch.spans.at[0].name, SLICE("n")));
    assert_int_equal(DECODE(f, "\x10\x01\x1a\x01x\x25\0\0\0\0\x29\0\0\0\0\0\0\0\0"), 0);
    assert_int_equal(f->batch.resources.count, 0);
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    struct fixture *f = *state;
    FAILS(f, "\x0f", "proto: illegal wireType 7 at byte 0");
    FAILS(f, "\x0e", "proto: illegal wireType 6 at byte 0");
    FAILS(f, "\x0b", "proto: illegal wireType 3 at byte 0");
    FAILS(f, "\x0a\x02\x12\x00\x0c", "proto: illegal wireType 4 at byte 4");
    FAILS(f, "\x00\x01", "proto: illegal tag 0 (wire type 0) at byte 0");
    FAILS(f, "\xf8\xff\xff\xff\x7f\x01", "proto: illegal tag 4294967295 (wire type 0) at byte 0");
    FAILS(f, "\x0a", "unexpected EOF at byte 1");
    FAILS(f, "\x8a", "unexpected EOF at byte 0");
    FAILS(f, "\x0a\x01", "unexpected EOF at byte 1");
    FAILS(f, "\x0a\x80", "unexpected EOF at byte 1");
    FAILS(f, "\x0a\x02\x12\x01", "unexpected EOF at byte 3");
    FAILS(f, "\x11\0\0\0\0\0\0\0", "unexpected EOF at byte 1");
    FAILS(f, "\x15\0\0\0", "unexpected EOF at byte 1");
    FAILS(f, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "proto: integer overflow at byte 1");
    FAILS(f, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
          "proto: integer overflow at byte 1");
    FAILS(f, "hello", "proto: illegal wireType 4 at byte 2");
    FAILS(f, "{\"resourceSpans\":[]}", "proto: illegal wireType 3 at byte 0");
}

static void known_fields_have_their_wire_type(void **state)
{
    struct fixture *f = *state;
    FAILS(f, "\x08\x01", "proto: wrong wireType = 0 for field ResourceSpans at byte 0");
    FAILS(f, "\x0a\x02\x10\x01", "proto: wrong wireType = 0 for field ScopeSpans at byte 2");
    FAILS(f, "\x0a\x02\x08\x01", "proto: wrong wireType = 0 for field Resource at byte 2");
    static const struct {
        struct slice span;
        const char *field;
    } cases[] = {
        {SLICE("\x08\x01"), "0 for field TraceId"},
        {SLICE("\x10\x01"), "0 for field SpanId"},
        {SLICE("\x18\x01"), "0 for field TraceState"},
        {SLICE("\x20\x01"), "0 for field ParentSpanId"},
        {SLICE("\x28\x01"), "0 for field Name"},
        {SLICE("\x32\x00"), "2 for field Kind"},
        {SLICE("\x38\x01"), "0 for field StartTimeUnixNano"},
        {SLICE("\x40\x01"), "0 for field EndTimeUnixNano"},
        {SLICE("\x48\x01"), "0 for field Attributes"},
        {SLICE("\x52\x00"), "2 for field DroppedAttributesCount"},
        {SLICE("\x58\x01"), "0 for field Events"},
        {SLICE("\x62\x00"), "2 for field DroppedEventsCount"},
        {SLICE("\x68\x01"), "0 for field Links"},
        {SLICE("\x72\x00"), "2 for field DroppedLinksCount"},
        {SLICE("\x78\x01"), "0 for field Status"},
        {SLICE("\x80\x01\x01"), "0 for field Flags"},
        {SLICE("\x7a\x02\x10\x01"), "0 for field Message"},
        {SLICE("\x7a\x02\x1a\x00"), "2 for field Code"},
        {SLICE("\x5a\x02\x08\x01"), "0 for field TimeUnixNano"},
        {SLICE("\x6a\x02\x30\x01"), "0 for field Flags"},
        {SLICE("\x4a\x02\x08\x01"), "0 for field Key"},
        {SLICE("\x4a\x02\x10\x01"), "0 for field Value"},
        {SLICE("\x4a\x04\x12\x02\x08\x01"), "0 for field StringValue"},
        {SLICE("\x4a\x04\x12\x02\x12\x00"), "2 for field BoolValue"},
        {SLICE("\x4a\x04\x12\x02\x1a\x00"), "2 for field IntValue"},
        {SLICE("\x4a\x04\x12\x02\x22\x00"), "2 for field DoubleValue"},
        {SLICE("\x4a\x04\x12\x02\x28\x00"), "0 for field ArrayValue"},
        {SLICE("\x4a\x04\x12\x02\x30\x00"), "0 for field KvlistValue"},
        {SLICE("\x4a\x04\x12\x02\x38\x00"), "0 for field BytesValue"},
        {SLICE("\x4a\x06\x12\x04\x2a\x02\x08\x00"), "0 for field Values"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(decode_span(f, cases[i].span), ERR_INVALID);
        char want[100];
        snprintf(want, sizeof want, "proto: wrong wireType = %s at byte ", cases[i].field);
        if (strncmp(f->err.msg, want, strlen(want)) != 0)
            fail_msg("%s against %s", f->err.msg, want);
    }
}

static void ids_have_their_lengths(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct slice span;
        const char *msg;
    } cases[] = {
        {SLICE("\x0a\x01x"), "unmarshal: invalid TraceID length at byte 6"},
        {SLICE("\x0a\x11xxxxxxxxxxxxxxxxx"), "unmarshal: invalid TraceID length at byte 6"},
        {SLICE("\x12\x07xxxxxxx"), "unmarshal: invalid SpanID length at byte 6"},
        {SLICE("\x22\x09xxxxxxxxx"), "unmarshal: invalid SpanID length at byte 6"},
        {SLICE("\x6a\x03\x0a\x01x"), "unmarshal: invalid TraceID length at byte 8"},
        {SLICE("\x6a\x03\x12\x01x"), "unmarshal: invalid SpanID length at byte 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(decode_span(f, cases[i].span), ERR_INVALID);
        assert_string_equal(f->err.msg, cases[i].msg);
    }
}

/* An AnyValue of that many levels, written from its end in storage. */
static struct slice nested_value(struct buf *storage, unsigned levels, bool kvlist)
{
    buf_reset(storage);
    assert_int_equal(buf_reserve(storage, 200000), 0);
    uint8_t *end = storage->ptr + 200000, *p = end;
    *--p = 1; /* bool_value true */
    *--p = 2 << 3;
    for (unsigned level = 1; level < levels; level++) {
        /* value in KeyValue, it or AnyValue in values, that in AnyValue */
        const uint8_t fields[] = {2, 1, kvlist ? 6 : 5};
        for (unsigned i = kvlist ? 0 : 1; i < 3; i++) {
            size_t bytes = (size_t)(end - p);
            *--p = (uint8_t)(bytes >> 14);
            *--p = (uint8_t)(0x80 | (bytes >> 7 & 0x7f));
            *--p = (uint8_t)(0x80 | (bytes & 0x7f));
            *--p = (uint8_t)(fields[i] << 3 | 2);
        }
    }
    return slice_of(p, (size_t)(end - p));
}

static void depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    static const unsigned depths[] = {64, 65, 9000};
    for (unsigned n = 0; n < 6; n++) {
        unsigned depth = depths[n / 2];
        int rc = decode_value(f, nested_value(&f->a, depth, n % 2));
        assert_int_equal(rc, depth == 64 ? 0 : ERR_LIMIT);
        if (rc)
            assert_non_null(strstr(f->err.msg, "nested more than 64 deep at byte "));
    }
}

static void claims_cost_nothing(void **state)
{
    struct fixture *f = *state;
    struct span_batch fresh = {0};
    /* 1 GiB, and the largest length there is, in each kind of message. */
    static const char claim[] = "\x80\x80\x80\x80\x04",
                      most[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    FAILS(f, "\x0a\x80\x80\x80\x80\x04", "unexpected EOF at byte 1");
    FAILS(f, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "unexpected EOF at byte 1");
    assert_int_equal(otlp_decode(SLICE("\x0a\x80\x80\x80\x80\x04"), &fresh, &f->err), ERR_INVALID);
    assert_int_equal(fresh.resources.cap + fresh.attrs.cap + fresh.values.cap, 0);
    static const uint8_t tags[] = {0x0a, 0x12, 0x2a, 0x4a, 0x5a, 0x6a, 0x7a};
    for (size_t i = 0; i < sizeof tags; i++) {
        for (unsigned n = 0; n < 2; n++) {
            buf_reset(&f->a);
            assert_int_equal(buf_u8(&f->a, tags[i]), 0);
            assert_int_equal(buf_str(&f->a, n ? most : claim), 0);
            assert_int_equal(decode_span(f, buf_view(&f->a)), ERR_INVALID);
            assert_string_equal(f->err.msg, "unexpected EOF at byte 7");
        }
    }
    span_batch_clear(&fresh);
}

static void almost_empty_messages_do_not_fill_the_memory(void **state)
{
    struct fixture *f = *state;
    /* 2 bytes each: spans, events, links, attributes. */
    static const uint8_t tags[] = {0x12, 0x5a, 0x6a, 0x4a};
    for (size_t t = 0; t < sizeof tags; t++) {
        struct span_batch fresh = {0};
        buf_reset(&f->a);
        for (unsigned i = 0; i < 500000; i++) {
            assert_int_equal(buf_u8(&f->a, tags[t]), 0);
            assert_int_equal(buf_u8(&f->a, 0), 0);
        }
        support_pb_wrap(&f->a, 2, tags[t] == 0x12 ? 1 : 2);
        support_pb_wrap(&f->a, 1, 1);
        assert_int_equal(otlp_decode(buf_view(&f->a), &fresh, &f->err), ERR_LIMIT);
        assert_non_null(strstr(f->err.msg, "almost empty messages"));
        span_batch_clear(&fresh);
    }
    /* A list of empty values is odd, but no attack. */
    buf_reset(&f->a);
    for (unsigned i = 0; i < 500000; i++) {
        assert_int_equal(buf_u8(&f->a, 0x0a), 0);
        assert_int_equal(buf_u8(&f->a, 0), 0);
    }
    support_pb_wrap(&f->a, 5, 1);
    assert_int_equal(decode_value(f, buf_view(&f->a)), 0);
    assert_int_equal(only_value(f)->list.count, 500000);
}

/* ---- damaged requests ---- */

/* Decodes from storage of exactly that size, so that a read past the end shows. */
static int decode_exact(struct fixture *f, struct slice s)
{
    uint8_t *copy = malloc(s.len + 1);
    assert_non_null(copy);
    memcpy(copy, s.ptr, s.len);
    int rc = decode(f, slice_of(copy, s.len));
    /* Whatever it is, it can be walked. */
    uint32_t *order = malloc((f->batch.spans.count + 1) * sizeof *order);
    if (rc == 0) {
        struct trace t = support_whole_batch(&f->batch, order);
        buf_reset(&f->c);
        assert_int_equal(otlp_encode(&t, &f->c), 0);
    } else {
        assert_true(rc == ERR_INVALID || rc == ERR_LIMIT);
        assert_true(f->err.msg[0] != 0);
    }
    free(order);
    free(copy);
    return rc;
}

static void cut_and_flipped_requests_do_no_harm(void **state)
{
    struct fixture *f = *state;
    support_read_file("tests/data/otlp/edge.frames", &f->a);
    struct slice left = buf_view(&f->a), request;
    uint64_t noise = 1;
    for (unsigned n = 0; support_next_frame(&left, &request); n++) {
        if (request.len > 2500)
            continue;
        for (size_t cut = 0; cut < request.len; cut++)
            decode_exact(f, slice_of(request.ptr, cut));
        assert_int_equal(decode_exact(f, request), 0);
        buf_reset(&f->b);
        assert_int_equal(buf_slice(&f->b, request), 0);
        for (size_t at = 0; at < request.len; at++) {
            uint8_t was = f->b.ptr[at];
            noise = noise * UINT64_C(6364136223846793005) + 1;
            f->b.ptr[at] = was ^ (uint8_t)(1 << (at % 8));
            decode_exact(f, buf_view(&f->b));
            f->b.ptr[at] = (uint8_t)(noise >> 56);
            decode_exact(f, buf_view(&f->b));
            f->b.ptr[at] = was;
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_request_has_nothing),
        TEST(every_field_of_a_span_arrives),
        TEST(events_and_links_arrive),
        TEST(every_kind_of_value_arrives),
        TEST(attributes_read_the_same_in_every_encoding),
        TEST(zero_ids_are_no_ids),
        TEST(interleaved_lists_are_not_mixed_up),
        TEST(resource_and_scope_may_follow_their_spans),
        TEST(a_body_is_appended_to_what_is_there),
        TEST(unknown_fields_are_skipped),
        TEST(bytes_that_are_no_message_are_refused),
        TEST(known_fields_have_their_wire_type),
        TEST(ids_have_their_lengths),
        TEST(depth_is_bounded),
        TEST(claims_cost_nothing),
        TEST(almost_empty_messages_do_not_fill_the_memory),
        TEST(cut_and_flipped_requests_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
