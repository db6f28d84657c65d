/* Protobuf by hand and by table: what is written is read, what is broken is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/proto.h"

struct sample {
    uint8_t small;
    uint32_t half;
    uint64_t whole, hash;
    size_t size;
    int32_t i32;
    int64_t i64;
    bool flag;
    double real;
    struct slice text;
    uint8_t id[16];
};

#define AT(m) offsetof(struct sample, m)
PROTO_TABLE(sample_table, {1, PROTO_U8, AT(small)}, {2, PROTO_U32, AT(half)},
            {3, PROTO_U64, AT(whole)}, {4, PROTO_FIXED64, AT(hash)}, {5, PROTO_SIZE, AT(size)},
            {6, PROTO_I32, AT(i32)}, {7, PROTO_I64, AT(i64)}, {8, PROTO_BOOL, AT(flag)},
            {9, PROTO_F64, AT(real)}, {16, PROTO_BYTES, AT(text)}, {2000, PROTO_ID16, AT(id)});

static int read_sample(struct slice bytes, struct sample *out)
{
    struct cursor c = cursor_of(bytes);
    struct proto_field f;
    int rc;
    while ((rc = proto_next(&c, &f, NULL)) == 0) {
        rc = proto_get_table(&sample_table, &f, out, NULL);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static void a_table_reads_what_it_wrote(void **state)
{
    (void)state;
    struct sample in = {.small = 255,
                        .half = UINT32_MAX,
                        .whole = UINT64_MAX,
                        .hash = 1,
                        .size = 300,
                        .i32 = INT32_MIN,
                        .i64 = INT64_MIN,
                        .flag = true,
                        .real = -0.0,
                        .text = SLICE("a\0b")};
    for (int i = 0; i < 16; i++)
        in.id[i] = (uint8_t)i;
    struct buf b;
    buf_init(&b, 1 << 16);
    struct proto_writer w = {.out = &b};
    proto_put_table(&w, &sample_table, &in);
    assert_int_equal(w.rc, 0);
    struct sample out = {0};
    assert_int_equal(read_sample(buf_view(&b), &out), 0);
    assert_int_equal(out.small, in.small);
    assert_int_equal(out.half, in.half);
    assert_true(out.whole == in.whole && out.hash == in.hash && out.size == in.size);
    assert_true(out.i32 == in.i32 && out.i64 == in.i64 && out.flag);
    assert_true(__builtin_signbit(out.real) && out.real == 0);
    assert_true(slice_eq(out.text, in.text));
    assert_memory_equal(out.id, in.id, 16);
    for (size_t n = 0; n < b.len; n++) { /* cut anywhere: refused, or fewer fields */
        struct sample part = {0};
        int rc = read_sample(slice_of(b.ptr, n), &part);
        assert_true(rc == 0 || rc == ERR_CORRUPT);
    }
    buf_clear(&b);
}

static void zero_is_not_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    struct proto_writer w = {.out = &b};
    proto_put_table(&w, &sample_table, &(struct sample){0});
    assert_int_equal(w.rc, 0);
    assert_int_equal(b.len, 0);
    buf_clear(&b);
}

static void messages_of_any_length_nest(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 128, 129, 16380, 16384, 20000, 70000};
    static uint8_t fill[70000];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        struct proto_writer w = {.out = &b};
        size_t outer = proto_begin(&w, 1), inner = proto_begin(&w, 2);
        proto_put_bytes(&w, 3, slice_of(fill, sizes[i]));
        proto_end(&w, inner);
        proto_put_u64(&w, 4, 7);
        proto_end(&w, outer);
        proto_put_u64(&w, 5, 8);
        assert_int_equal(w.rc, 0);
        struct cursor c = cursor_of(buf_view(&b));
        struct proto_field f, g, h;
        assert_int_equal(proto_next(&c, &f, NULL), 0);
        struct cursor in = cursor_of(f.bytes);
        assert_int_equal(proto_next(&in, &g, NULL), 0);
        assert_int_equal(g.number, 2);
        struct cursor deep = cursor_of(g.bytes);
        assert_int_equal(proto_next(&deep, &h, NULL), 0);
        assert_int_equal(h.bytes.len, sizes[i]);
        assert_int_equal(proto_next(&deep, &h, NULL), 1);
        assert_int_equal(proto_next(&in, &g, NULL), 0);
        assert_true(g.num == 7);
        assert_int_equal(proto_next(&in, &g, NULL), 1);
        assert_int_equal(proto_next(&c, &f, NULL), 0);
        assert_true(f.number == 5 && f.num == 8);
        assert_int_equal(proto_count(buf_view(&b), 1), 1);
        assert_int_equal(proto_count(buf_view(&b), 5), 0);
        buf_clear(&b);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x08\x80\x02", 3},             /* 256 in 8 bits */
        {"\x10\x80\x80\x80\x80\x10", 6}, /* 2^32 in 32 */
        {"\x0a\x00", 2},                 /* bytes for a number */
        {"\x48\x01", 2},                 /* a varint for a double */
        {"\x82\x7d\x01\x00", 4},         /* an id of one byte */
        {"\x00\x01", 2},                 /* field 0 */
        {"\x0b", 1},                     /* a group */
        {"\x82\x01\x05xx", 5},           /* longer than what is there */
        {"\x30\xff\xff\xff\xff\x1f", 6}, /* past 32 signed bits */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sample s = {0};
        assert_int_equal(read_sample(slice_of(bad[i].bytes, bad[i].len), &s), ERR_CORRUPT);
    }
    struct sample s = {0};
    assert_int_equal(read_sample(slice_of("\xf8\x7f\x01\x08\x05", 5), &s),
                     0); /* unknown: skipped */
    assert_int_equal(s.small, 5);
}

static void a_full_buffer_ends_the_writing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 130);
    struct proto_writer w = {.out = &b};
    static const uint8_t fill[126];
    size_t begun = proto_begin(&w, 1);
    proto_put_bytes(&w, 2, slice_of(fill, sizeof fill));
    assert_int_equal(w.rc, 0);
    proto_end(&w, begun); /* needs one byte more than there is */
    assert_int_equal(w.rc, ERR_LIMIT);
    proto_put_u64(&w, 3, 1);
    assert_int_equal(w.rc, ERR_LIMIT);
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_reads_what_it_wrote),
        cmocka_unit_test(zero_is_not_written),
        cmocka_unit_test(messages_of_any_length_nest),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_full_buffer_ends_the_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
