/* Cursors: no read passes the end, and a failed one moves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cursor.h"

static void numbers_are_read_in_both_orders(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct slice s = slice_of(bytes, sizeof bytes);
    struct cursor c = cursor_of(s);
    uint32_t u32;
    uint64_t u64;
    assert_true(cursor_u32le(&c, &u32) && u32 == 0x04030201);
    assert_true(cursor_u32be(&c, &u32) && u32 == 0x05060708);
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(cursor_offset(&c), 8);
    c = cursor_of(s);
    assert_true(cursor_u64le(&c, &u64) && u64 == UINT64_C(0x0807060504030201));
    c = cursor_of(s);
    assert_true(cursor_u64be(&c, &u64) && u64 == UINT64_C(0x0102030405060708));
}

static void a_failed_read_leaves_the_cursor_where_it_was(void **state)
{
    (void)state;
    for (size_t len = 0; len < 8; len++) {
        uint8_t *bytes =
            malloc(len + 1); /* exactly sized, so that the sanitizer sees a step over */
        assert_non_null(bytes);
        memset(bytes, 0xff, len + 1);
        bytes = realloc(bytes, len ? len : 1);
        struct cursor c = cursor_of(slice_of(bytes, len));
        uint32_t u32;
        uint64_t u64;
        struct slice s;
        if (len < 4)
            assert_false(cursor_u32le(&c, &u32) || cursor_u32be(&c, &u32));
        assert_false(cursor_u64le(&c, &u64) || cursor_u64be(&c, &u64));
        assert_false(cursor_varint(&c, &u64));
        assert_false(cursor_varint_bytes(&c, &s));
        assert_false(cursor_bytes(&c, len + 1, &s));
        assert_false(cursor_bytes(&c, SIZE_MAX, &s));
        assert_false(cursor_skip(&c, len + 1));
        assert_int_equal(cursor_offset(&c), 0);
        assert_true(cursor_bytes(&c, len, &s));
        assert_int_equal(s.len, len);
        uint8_t u8;
        assert_false(cursor_u8(&c, &u8));
        free(bytes);
    }
    struct cursor empty = cursor_of(slice_of(NULL, 0));
    uint64_t u64;
    assert_false(cursor_varint(&empty, &u64));
    assert_int_equal(cursor_left(&empty), 0);
}

static void varints_go_both_ways(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    for (int shift = 0; shift < 64; shift++) {
        for (uint64_t step = 0; step < 3; step++) {
            uint64_t v = (UINT64_C(1) << shift) - 1 + step, back;
            buf_reset(&b);
            assert_int_equal(buf_varint(&b, v), 0);
            struct cursor c = cursor_of(buf_view(&b));
            assert_true(cursor_varint(&c, &back) && back == v);
            assert_int_equal(cursor_left(&c), 0);
            for (size_t n = 0; n < b.len; n++) {
                c = cursor_of(slice_of(b.ptr, n));
                assert_false(cursor_varint(&c, &back));
                assert_int_equal(cursor_offset(&c), 0);
            }
        }
    }
    buf_clear(&b);
}

static void varints_that_do_not_fit_64_bits_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[12];
    memset(bytes, 0xff, sizeof bytes);
    uint64_t v;
    bytes[9] = 1;
    struct cursor c = cursor_of(slice_of(bytes, 10));
    assert_true(cursor_varint(&c, &v) && v == UINT64_MAX);
    bytes[9] = 2;
    c = cursor_of(slice_of(bytes, 10));
    assert_false(cursor_varint(&c, &v));
    bytes[9] = 0x81;
    c = cursor_of(slice_of(bytes, 12));
    assert_false(cursor_varint(&c, &v));
    assert_int_equal(cursor_offset(&c), 0);
}

static void a_claimed_length_past_the_end_is_refused(void **state)
{
    (void)state;
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x'};
    const uint8_t one_short[] = {3, 'a', 'b'};
    struct slice s;
    struct cursor c = cursor_of(slice_of(huge, sizeof huge));
    assert_false(cursor_varint_bytes(&c, &s));
    assert_int_equal(cursor_offset(&c), 0);
    c = cursor_of(slice_of(one_short, sizeof one_short));
    assert_false(cursor_varint_bytes(&c, &s));
    assert_int_equal(cursor_offset(&c), 0);
}

static void zigzag_goes_both_ways(void **state)
{
    (void)state;
    const int64_t values[] = {0, -1, 1, -2, INT64_MAX, INT64_MIN};
    const uint64_t coded[] = {0, 1, 2, 3, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_true(zigzag_encode(values[i]) == coded[i]);
        assert_true(zigzag_decode(coded[i]) == values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_in_both_orders),
        cmocka_unit_test(a_failed_read_leaves_the_cursor_where_it_was),
        cmocka_unit_test(varints_go_both_ways),
        cmocka_unit_test(varints_that_do_not_fit_64_bits_are_refused),
        cmocka_unit_test(a_claimed_length_past_the_end_is_refused),
        cmocka_unit_test(zigzag_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
