/* Buffers grow up to their maximum and no further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"

static void appends_up_to_the_maximum_and_no_further(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_u8(&b, (uint8_t)i), 0);
    assert_int_equal(buf_u8(&b, 0), ERR_LIMIT);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_LIMIT);
    assert_int_equal(b.len, 1000);
    assert_true(b.cap <= 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b.ptr[i], (uint8_t)i);
    buf_clear(&b);
    assert_null(b.ptr);
    assert_int_equal(buf_str(&b, "again"), 0);
    buf_clear(&b);
}

static void a_failed_append_changes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_str(&b, "abc"), 0);
    assert_int_equal(buf_str(&b, "de"), ERR_LIMIT);
    assert_int_equal(buf_u32le(&b, 1), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "%d", 12), ERR_LIMIT);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.ptr, "abc", 3);
    buf_clear(&b);
}

static void numbers_are_written_in_both_orders(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_u32le(&b, 0x01020304), 0);
    assert_int_equal(buf_u32be(&b, 0x01020304), 0);
    assert_int_equal(buf_u64le(&b, UINT64_C(0x0102030405060708)), 0);
    assert_int_equal(buf_u64be(&b, UINT64_C(0x0102030405060708)), 0);
    const uint8_t want[] = {4, 3, 2, 1, 1, 2, 3, 4, 8, 7, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6, 7, 8};
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.ptr, want, sizeof want);
    buf_clear(&b);
}

static void printf_takes_short_and_long_texts(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(buf_printf(&b, "<%s>", "x"), 0);
    assert_int_equal(buf_printf(&b, "%05000d", 7), 0);
    assert_int_equal(b.len, 5003);
    assert_memory_equal(b.ptr, "<x>0000", 7);
    assert_int_equal(b.ptr[5002], '7');
    buf_clear(&b);
}

static void take_moves_the_storage_out(void **state)
{
    (void)state;
    struct buf b;
    uint8_t *bytes;
    size_t len;
    buf_init(&b, 100);
    assert_int_equal(buf_str(&b, "moved"), 0);
    buf_take(&b, &bytes, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(bytes, "moved", 5);
    assert_null(b.ptr);
    assert_int_equal(b.len + b.cap, 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_up_to_the_maximum_and_no_further),
        cmocka_unit_test(a_failed_append_changes_nothing),
        cmocka_unit_test(numbers_are_written_in_both_orders),
        cmocka_unit_test(printf_takes_short_and_long_texts),
        cmocka_unit_test(take_moves_the_storage_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
