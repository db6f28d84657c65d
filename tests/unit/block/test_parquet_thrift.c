/* Thrift compact: written values read back, bytes are as other programs write them, and hostile
 * bytes end in an error. */
#include "parquet_support.h"

#include "block/block_limits.h"

static void fields_read_back_as_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    struct thrift_writer w = thrift_writer_of(&b);
    thrift_put_bool(&w, 1, true);
    thrift_put_i8(&w, 2, -3);
    thrift_put_i16(&w, 3, INT16_MIN);
    thrift_put_i32(&w, 4, INT32_MIN);
    thrift_put_i64(&w, 19, INT64_MIN);
    thrift_put_binary(&w, 20, SLICE("abc"));
    thrift_put_struct(&w, 21);
    thrift_put_i32(&w, 1, 7);
    thrift_put_stop(&w);
    thrift_put_list(&w, 22, THRIFT_I32, 20);
    for (int i = 0; i < 20; i++)
        thrift_put_elem_int(&w, i - 10);
    thrift_put_list(&w, 23, THRIFT_FALSE, 2);
    thrift_put_elem_bool(&w, true);
    thrift_put_elem_bool(&w, false);
    thrift_put_stop(&w);
    assert_int_equal(w.rc, 0);

    struct err err = {0};
    struct thrift_reader r = thrift_reader_of(buf_view(&b), "test", &err);
    struct thrift_field f = {0}, g = {0}, elem;
    bool v;
    int64_t n;
    int32_t n32;
    uint32_t count;
    struct slice s;
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_bool(&r, &f, &v), 0);
    assert_true(v);
    static const int64_t want[] = {-3, INT16_MIN, INT32_MIN, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(thrift_next(&r, &f), 0);
        assert_int_equal(f.id, i < 3 ? i + 2 : 19);
        assert_int_equal(thrift_i64(&r, &f, &n), 0);
        assert_true(n == want[i]);
    }
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_binary(&r, &f, &s), 0);
    assert_true(slice_eq(s, SLICE("abc")));
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_struct(&r, &f), 0);
    assert_int_equal(thrift_next(&r, &g), 0);
    assert_int_equal(thrift_i32(&r, &g, &n32), 0);
    assert_int_equal(n32, 7);
    assert_int_equal(thrift_next(&r, &g), 1);
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_list(&r, &f, THRIFT_I32, &elem, &count), 0);
    assert_int_equal(count, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(thrift_i32(&r, &elem, &n32), 0);
        assert_int_equal(n32, i - 10);
    }
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_list(&r, &f, THRIFT_TRUE, &elem, &count), 0);
    assert_int_equal(thrift_elem_bool(&r, &v), 0);
    assert_true(v);
    assert_int_equal(thrift_elem_bool(&r, &v), 0);
    assert_false(v);
    assert_int_equal(thrift_next(&r, &f), 1);
    assert_int_equal(cursor_left(&r.cur), 0);

    /* Skipping all of it arrives at the same end; cut anywhere, it fails. */
    struct thrift_field whole = {.type = THRIFT_STRUCT};
    r = thrift_reader_of(buf_view(&b), "test", &err);
    assert_int_equal(thrift_skip(&r, &whole), 0);
    assert_int_equal(cursor_left(&r.cur), 0);
    for (size_t cut = 0; cut < b.len; cut++) {
        r = thrift_reader_of(slice_of(b.ptr, cut), "test", &err);
        assert_int_equal(thrift_skip(&r, &whole), ERR_CORRUPT);
    }
    buf_clear(&b);
}

/* From the specification: a page header of Tempo. */
static void page_header_is_byte_for_byte_what_tempo_writes(void **state)
{
    (void)state;
    static const uint8_t tempo[] = {0x15, 0x06, 0x15, 0x9c, 0x03, 0x15, 0x9c, 0x03, 0x15, 0xcc,
                                    0xc3, 0xe0, 0xeb, 0x04, 0x4c, 0x15, 0x16, 0x15, 0x00, 0x15,
                                    0x16, 0x15, 0x0c, 0x15, 0x00, 0x15, 0x00, 0x12, 0x00, 0x00};
    struct page_header h;
    struct err err = {0};
    struct thrift_reader r = thrift_reader_of(slice_of(tempo, sizeof tempo), "page header", &err);
    assert_int_equal(page_header_decode(&r, &h), 0);
    assert_int_equal(h.type, PAGE_DATA_V2);
    assert_int_equal(h.uncompressed_bytes, 206);
    assert_int_equal(h.compressed_bytes, 206);
    assert_int_equal(h.crc, 0x26bc10e6);
    assert_int_equal(h.num_values, 11);
    assert_int_equal(h.num_rows, 11);
    assert_int_equal(h.encoding, PARQUET_DELTA_LENGTH_BYTE_ARRAY);
    assert_false(h.is_compressed);
    struct buf b;
    buf_init(&b, 256);
    assert_int_equal(page_header_encode(&h, &b), 0);
    assert_int_equal(b.len, sizeof tempo);
    assert_memory_equal(b.ptr, tempo, sizeof tempo);
    for (size_t cut = 0; cut < sizeof tempo; cut++) {
        r = thrift_reader_of(slice_of(tempo, cut), "page header", &err);
        assert_int_equal(page_header_decode(&r, &h), ERR_CORRUPT);
    }
    buf_clear(&b);
}

static int skip_bytes(uint8_t type, const void *bytes, size_t n)
{
    struct err err = {0};
    struct thrift_reader r = thrift_reader_of(slice_of(bytes, n), "test", &err);
    struct thrift_field f = {.id = 1, .type = type};
    int rc = thrift_skip(&r, &f);
    if (rc < 0)
        assert_true(strstr(err.msg, "at byte") != NULL);
    return rc;
}

static void nesting_bombs_are_refused(void **state)
{
    (void)state;
    static uint8_t bomb[100000];
    memset(bomb, 0x19, sizeof bomb); /* lists of one list */
    assert_int_equal(skip_bytes(THRIFT_LIST, bomb, sizeof bomb), ERR_CORRUPT);
    memset(bomb, 0x1c, sizeof bomb); /* structs in structs */
    assert_int_equal(skip_bytes(THRIFT_STRUCT, bomb, sizeof bomb), ERR_CORRUPT);
    for (size_t i = 0; i < sizeof bomb; i += 2) { /* maps of maps */
        bomb[i] = 1;
        bomb[i + 1] = 0xbb;
    }
    assert_int_equal(skip_bytes(THRIFT_MAP, bomb, sizeof bomb), ERR_CORRUPT);
    uint8_t deep[2 * LIMIT_THRIFT_DEPTH];
    memset(deep, 0x1c, LIMIT_THRIFT_DEPTH - 1);
    memset(deep + LIMIT_THRIFT_DEPTH - 1, 0, LIMIT_THRIFT_DEPTH);
    assert_int_equal(skip_bytes(THRIFT_STRUCT, deep, 2 * LIMIT_THRIFT_DEPTH - 1), 0);
}

static void counts_beyond_the_bytes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(skip_bytes(THRIFT_LIST, "\xf8\xff\xff\xff\xff\x0f", 6), ERR_CORRUPT);
    assert_int_equal(skip_bytes(THRIFT_MAP, "\xff\xff\xff\xff\x0f\x88", 6), ERR_CORRUPT);
    assert_int_equal(skip_bytes(THRIFT_BINARY, "\xff\xff\xff\xff\x0f", 5), ERR_CORRUPT);
    assert_int_equal(skip_bytes(THRIFT_BINARY, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10),
                     ERR_CORRUPT);
    assert_int_equal(skip_bytes(13, "\0", 1), ERR_CORRUPT);
    /* Booleans take a byte in lists, none in structs. */
    assert_int_equal(skip_bytes(THRIFT_LIST, "\x21\x01\x00", 3), 0);
    assert_int_equal(skip_bytes(THRIFT_LIST, "\x21\x01", 2), ERR_CORRUPT);
    assert_int_equal(skip_bytes(THRIFT_STRUCT, "\x11\x12\x00", 3), 0);
}

static void values_of_a_wrong_type_or_range_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct thrift_reader r = thrift_reader_of(SLICE("\x15\x01\x00"), "test", &err);
    struct thrift_field f = {0};
    struct slice s;
    uint32_t n;
    assert_int_equal(thrift_next(&r, &f), 0);
    assert_int_equal(thrift_binary(&r, &f, &s), ERR_CORRUPT);
    assert_int_equal(thrift_u32(&r, &f, &n), ERR_CORRUPT); /* -1 */
    assert_true(strstr(err.msg, "field 1 is -1") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_read_back_as_written),
        cmocka_unit_test(page_header_is_byte_for_byte_what_tempo_writes),
        cmocka_unit_test(nesting_bombs_are_refused),
        cmocka_unit_test(counts_beyond_the_bytes_are_refused),
        cmocka_unit_test(values_of_a_wrong_type_or_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
