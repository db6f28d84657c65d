/* AnyValues and links from protobuf, written here by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "block/value_proto.h"
#include "tests/support/otlp_support.h"

#define DEPTH 8

struct message {
    struct buf bytes, inner;
    struct span_batch batch;
    struct value value;
    struct err err;
};

static void begin(struct message *m)
{
    *m = (struct message){.err = {0}};
    buf_init(&m->bytes, SIZE_MAX / 2);
    buf_init(&m->inner, SIZE_MAX / 2);
}

static void end(struct message *m)
{
    buf_clear(&m->bytes);
    buf_clear(&m->inner);
    span_batch_clear(&m->batch);
}

static int parse(struct message *m)
{
    span_batch_reset(&m->batch);
    return value_proto_parse(buf_view(&m->bytes), DEPTH, &m->batch, &m->value, &m->err);
}

static int parse_links(struct message *m)
{
    span_batch_reset(&m->batch);
    return links_proto_parse(buf_view(&m->bytes), DEPTH, &m->batch, &m->err);
}

/* ---- values ---- */

static void scalars_are_read(void **state)
{
    (void)state;
    struct message m;
    const double d = -0.5;
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    begin(&m);

    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_NONE);

    support_pb_bytes(&m.bytes, 1, SLICE("text"));
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_STRING);
    assert_true(slice_eq(m.value.str, SLICE("text")));

    buf_reset(&m.bytes);
    support_pb_varint(&m.bytes, 2, 1);
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_BOOL);
    assert_true(m.value.b);

    buf_reset(&m.bytes);
    support_pb_varint(&m.bytes, 3, (uint64_t)INT64_MIN);
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_INT);
    assert_true(m.value.i64 == INT64_MIN);

    buf_reset(&m.bytes);
    support_pb_fixed64(&m.bytes, 4, bits);
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_DOUBLE);
    assert_memory_equal(&m.value.f64, &d, sizeof d);

    buf_reset(&m.bytes);
    support_pb_bytes(&m.bytes, 7, SLICE("\x00\x01\xfe"));
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_BYTES);
    assert_true(slice_eq(m.value.str, SLICE("\x00\x01\xfe")));
    end(&m);
}

static void the_last_value_that_is_set_wins(void **state)
{
    (void)state;
    struct message m;
    begin(&m);
    support_pb_bytes(&m.bytes, 1, SLICE("first"));
    support_pb_varint(&m.bytes, 3, 7);
    support_pb_fixed32(&m.bytes, 99, 1); /* unknown ones do not count */
    support_pb_bytes(&m.bytes, 100, SLICE("x"));
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_INT);
    assert_int_equal(m.value.i64, 7);
    end(&m);
}

/* {"a":["x",["y"]],"b":nothing} */
static void put_nested(struct message *m)
{
    struct buf y, list, attr;
    buf_init(&y, 4096);
    buf_init(&list, 4096);
    buf_init(&attr, 4096);
    support_pb_bytes(&y, 1, SLICE("y"));
    support_pb_wrap(&y, 1, 1); /* an ArrayValue's element */
    support_pb_wrap(&y, 5, 1); /* an AnyValue that is the array */
    support_pb_bytes(&list, 1, SLICE("\x0a\x01x"));
    support_pb_bytes(&list, 1, buf_view(&y));
    support_pb_wrap(&list, 5, 1);
    support_pb_bytes(&attr, 2, buf_view(&list)); /* the value before its key */
    support_pb_bytes(&attr, 1, SLICE("a"));
    support_pb_bytes(&m->inner, 1, buf_view(&attr));
    support_pb_bytes(&m->inner, 1,
                     SLICE("\x0a\x01"
                           "b"));
    support_pb_bytes(&m->bytes, 6, buf_view(&m->inner));
    buf_clear(&y);
    buf_clear(&list);
    buf_clear(&attr);
}

static void lists_nest(void **state)
{
    (void)state;
    struct message m;
    begin(&m);
    put_nested(&m);
    assert_int_equal(parse(&m), 0);
    assert_int_equal(m.value.type, VALUE_KVLIST);
    assert_int_equal(m.value.list.count, 2);
    const struct attr *at = &m.batch.attrs.at[m.value.list.first];
    assert_true(slice_eq(at[0].key, SLICE("a")));
    assert_true(slice_eq(at[1].key, SLICE("b")));
    assert_int_equal(at[1].value.type, VALUE_NONE);
    assert_int_equal(at[0].value.type, VALUE_ARRAY);
    assert_int_equal(at[0].value.list.count, 2);
    const struct value *v = &m.batch.values.at[at[0].value.list.first];
    assert_true(slice_eq(v[0].str, SLICE("x")));
    assert_int_equal(v[1].type, VALUE_ARRAY);
    assert_int_equal(v[1].list.count, 1);
    assert_true(slice_eq(m.batch.values.at[v[1].list.first].str, SLICE("y")));
    end(&m);
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    for (unsigned depth = 0; depth < 2000; depth = depth < 12 ? depth + 1 : depth * 5) {
        struct message m;
        begin(&m);
        support_pb_varint(&m.bytes, 3, 1);
        for (unsigned i = 0; i < depth; i++) {
            support_pb_wrap(&m.bytes, 1, 1);
            support_pb_wrap(&m.bytes, 5, 1);
        }
        assert_int_equal(parse(&m), depth > DEPTH ? ERR_LIMIT : 0);
        end(&m);
    }
}

static void what_is_not_the_message_is_corrupt(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        SLICE("\x0a"), /* no length */
        SLICE("\x0a\x05"
              "abc"),                      /* cut off */
        SLICE("\x0a\xff\xff\xff\xff\x0f"), /* 4 GiB */
        SLICE("\x08\x01"),                 /* a string that is a number */
        SLICE("\x11"
              "12345678"),  /* a bool of 8 bytes */
        SLICE("\x1a\x01x"), /* an int that is text */
        SLICE("\x21"
              "1234"), /* half a double */
        SLICE("\x25"
              "1234"),                 /* a float */
        SLICE("\x2a\x02\x08\x01"),     /* an array whose element is a number */
        SLICE("\x32\x03\x0a\x01\x08"), /* a key that is cut off */
        SLICE("\x0b\x0c"),             /* a group */
        SLICE("\x02\x00"),             /* field 0 */
        SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        SLICE("{\"stringValue\":\"x\"}"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct message m;
        begin(&m);
        assert_int_equal(buf_slice(&m.bytes, bad[i]), 0);
        if (parse(&m) != ERR_CORRUPT)
            fail_msg("message %zu is taken", i);
        assert_non_null(strstr(m.err.msg, "protobuf: "));
        end(&m);
    }
}

/* ---- links ---- */

static void put_link(struct message *m)
{
    buf_reset(&m->inner);
    support_pb_bytes(&m->inner, 4, SLICE("\x0a\x01k\x12\x02\x18\x05"));
    support_pb_bytes(&m->inner, 1, SLICE("0123456789abcdef"));
    support_pb_varint(&m->inner, 5, 3);
    support_pb_bytes(&m->inner, 2, SLICE("01234567"));
    support_pb_bytes(&m->inner, 4, SLICE("\x0a\x01l"));
    support_pb_bytes(&m->inner, 3, SLICE("state"));
    support_pb_fixed32(&m->inner, 6, 0x101);
    support_pb_varint(&m->inner, 77, 1);
    support_pb_bytes(&m->bytes, 1, buf_view(&m->inner));
}

static void links_are_read(void **state)
{
    (void)state;
    struct message m;
    begin(&m);
    assert_int_equal(parse_links(&m), 0);
    assert_int_equal(m.batch.links.count, 0);
    put_link(&m);
    support_pb_bytes(&m.bytes, 1, SLICE(""));
    assert_int_equal(parse_links(&m), 0);
    assert_int_equal(m.batch.links.count, 2);
    const struct link *k = m.batch.links.at;
    assert_true(slice_eq(k[0].trace_id, SLICE("0123456789abcdef")));
    assert_true(slice_eq(k[0].span_id, SLICE("01234567")));
    assert_true(slice_eq(k[0].trace_state, SLICE("state")));
    assert_int_equal(k[0].dropped_attrs, 3);
    assert_int_equal(k[0].flags, 0x101);
    assert_int_equal(k[0].attrs.count, 2);
    const struct attr *a = &m.batch.attrs.at[k[0].attrs.first];
    assert_true(slice_eq(a[0].key, SLICE("k")));
    assert_int_equal(a[0].value.i64, 5);
    assert_true(slice_eq(a[1].key, SLICE("l")));
    assert_int_equal(a[1].value.type, VALUE_NONE);
    assert_int_equal(k[1].trace_id.len + k[1].attrs.count, 0);
    end(&m);
}

static void links_before_a_fault_are_there(void **state)
{
    (void)state;
    struct message m;
    begin(&m);
    put_link(&m);
    size_t good = m.bytes.len;
    put_link(&m);
    for (size_t cut = good + 1; cut < 2 * good; cut++) {
        m.bytes.len = cut;
        assert_int_equal(parse_links(&m), ERR_CORRUPT);
        assert_int_equal(m.batch.links.count, 1);
    }
    end(&m);
}

/* ---- hostile bytes ---- */

static void every_cut_and_flip_is_survived(void **state)
{
    (void)state;
    struct rng r = {.state = 1};
    for (int links = 0; links < 2; links++) {
        struct message m;
        begin(&m);
        if (links)
            put_link(&m);
        else
            put_nested(&m);
        struct slice whole = buf_view(&m.bytes);
        for (int round = 0; round < 20000; round++) {
            /* In storage of exactly its size, so that the sanitizer sees a step too far. */
            size_t n = round < 300 ? (size_t)round % (whole.len + 1) : whole.len;
            uint8_t *copy = malloc(n);
            if (n) {
                assert_non_null(copy);
                memcpy(copy, whole.ptr, n);
            }
            for (uint64_t i = rng_below(&r, 3); n && round >= 300 && i < 3; i++)
                copy[rng_below(&r, n)] = (uint8_t)rng_next(&r);
            span_batch_reset(&m.batch);
            struct slice bytes = slice_of(copy, n);
            int rc = links ? links_proto_parse(bytes, DEPTH, &m.batch, &m.err)
                           : value_proto_parse(bytes, DEPTH, &m.batch, &m.value, &m.err);
            assert_true(rc == 0 || rc == ERR_CORRUPT);
            assert_in_range(m.batch.attrs.count + m.batch.values.count + m.batch.links.count, 0,
                            2 * n);
            free(copy);
        }
        end(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_read),
        cmocka_unit_test(the_last_value_that_is_set_wins),
        cmocka_unit_test(lists_nest),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(what_is_not_the_message_is_corrupt),
        cmocka_unit_test(links_are_read),
        cmocka_unit_test(links_before_a_fault_are_there),
        cmocka_unit_test(every_cut_and_flip_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
