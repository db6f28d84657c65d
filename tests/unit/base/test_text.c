/* Text forms of bytes: hex, base64, UUIDs, UTF-8, JSON strings, escaping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/text.h"

static void assert_buf(struct buf *b, const char *want)
{
    assert_int_equal(b->len, strlen(want));
    assert_memory_equal(b->ptr, want, b->len);
    buf_clear(b);
}

static void hex_goes_both_ways_and_refuses_what_is_not_hex(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x1f, 0xab, 0xff};
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_hex(&b, slice_of(bytes, sizeof bytes)), 0);
    assert_buf(&b, "001fabff");
    uint8_t back[4];
    assert_true(hex_decode(SLICE("001FabfF"), back));
    assert_memory_equal(back, bytes, 4);
    assert_false(hex_decode(SLICE("abc"), back));
    const char *bad[] = {"0g", "g0", "0`", "0@", "0/", "0:", "0G", " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(hex_decode(slice_cstr(bad[i]), back));
    buf_init(&b, 7);
    assert_int_equal(buf_hex(&b, slice_of(bytes, 4)), ERR_LIMIT);
    assert_int_equal(b.len, 0);
}

static void base64_gives_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    const char *pairs[][2] = {{"", ""},
                              {"f", "Zg=="},
                              {"fo", "Zm8="},
                              {"foo", "Zm9v"},
                              {"foob", "Zm9vYg=="},
                              {"fooba", "Zm9vYmE="},
                              {"foobar", "Zm9vYmFy"},
                              {"\xfb\xff\xfe", "+//+"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(buf_base64(&b, slice_cstr(pairs[i][0])), 0);
        assert_buf(&b, pairs[i][1]);
        assert_true(buf_base64_decode(&b, slice_cstr(pairs[i][1])));
        assert_buf(&b, pairs[i][0]);
    }
}

static void base64_takes_the_url_alphabet_and_missing_padding(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(buf_base64_decode(&b, SLICE("-__-")));
    assert_buf(&b, "\xfb\xff\xfe");
    assert_true(buf_base64_decode(&b, SLICE("Zm8")));
    assert_buf(&b, "fo");
    assert_true(buf_base64_decode(&b, SLICE("Zg")));
    assert_buf(&b, "f");
}

static void base64_refuses_what_is_not_base64_and_appends_nothing(void **state)
{
    (void)state;
    const char *bad[] = {"Z",        "Zm9vY", "Zg=",   "Zg===", "=",        "==",   "====",
                         "Zm9v====", "Zm 9",  "Zm9v=", "Z===",  "Zm8=Zm8=", "Zm\n9"};
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_str(&b, "kept"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (buf_base64_decode(&b, slice_cstr(bad[i])))
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(b.len, 4);
    }
    buf_clear(&b);
}

static void uuid_goes_both_ways_and_is_strict(void **state)
{
    (void)state;
    const char *text = "b2f1a0c4-0123-4567-89ab-cdef01234567";
    uint8_t id[16];
    char out[37];
    assert_true(uuid_parse(slice_cstr(text), id));
    assert_int_equal(id[0], 0xb2);
    assert_int_equal(id[15], 0x67);
    uuid_format(id, out);
    assert_string_equal(out, text);
    for (size_t i = 0; i < 36; i++) {
        char broken[37];
        memcpy(broken, text, 37);
        broken[i] = 'x';
        assert_false(uuid_parse(slice_cstr(broken), id));
        assert_false(uuid_parse(slice_of(text, i), id));
    }
    uuid_format(id, out);
    assert_string_equal(out, text); /* a failed parse wrote nothing */
}

static void utf8_takes_well_formed_sequences_only(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "plain",
                          "\xc2\x80",
                          "\xdf\xbf",
                          "\xe0\xa0\x80",
                          "\xed\x9f\xbf",
                          "\xee\x80\x80",
                          "\xf0\x90\x80\x80",
                          "\xf4\x8f\xbf\xbf",
                          "eight by\xe2\x82\xac and more"};
    const char *bad[] = {"\x80",      "\xc0\x80",         "\xc1\xbf",         "\xc2",
                         "\xc2g",     "\xe0\x9f\xbf",     "\xed\xa0\x80",     "\xe2\x82",
                         "\xe2\x82g", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                         "\xff",      "\xf0\x90\x80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(utf8_valid(slice_cstr(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (utf8_valid(slice_cstr(bad[i])))
            fail_msg("bad[%zu] was taken", i);
        assert_int_equal(utf8_prefix(slice_cstr(bad[i]), 10), 0);
    }
}

static void utf8_prefix_never_cuts_a_character(void **state)
{
    (void)state;
    struct slice s = SLICE("aé€😀z"); /* 1 + 2 + 3 + 4 + 1 bytes */
    const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < sizeof want / sizeof want[0]; max++)
        assert_int_equal(utf8_prefix(s, max), want[max]);
}

static void json(const char *in, size_t len, const char *want)
{
    struct buf b;
    buf_init(&b, 10000);
    assert_int_equal(buf_json_string(&b, slice_of(in, len)), 0);
    assert_buf(&b, want);
}

static void json_strings_are_escaped_as_go_does(void **state)
{
    (void)state;
    json("", 0, "\"\"");
    json("plain", 5, "\"plain\"");
    json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    json("<a href=&>", 10, "\"\\u003ca href=\\u0026\\u003e\"");
    json("\n\r\t\b\f\0\x1f\x7f", 8, "\"\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\"");
    json("é€😀", 9, "\"é€😀\"");
    json("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9, "\"\\u2028\\u2029\xe2\x80\xaa\"");
    json("a\xff\xc2z", 4, "\"a\\ufffd\\ufffdz\"");
    json("\xe2\x82", 2, "\"\\ufffd\\ufffd\"");
}

/* One byte at a time, without the run copying of the real one. */
static void json_slow(struct buf *b, struct slice s)
{
    assert_int_equal(buf_u8(b, '"'), 0);
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '"' || c == '\\')
            assert_int_equal(buf_printf(b, "\\%c", c), 0);
        else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f')
            assert_int_equal(buf_printf(b, "\\%c", "btn_fr"[c - 8]), 0);
        else if (c < 0x20 || c == '<' || c == '>' || c == '&')
            assert_int_equal(buf_printf(b, "\\u%04x", c), 0);
        else if (c >= 0x80)
            assert_int_equal(buf_str(b, "\\ufffd"), 0);
        else
            assert_int_equal(buf_u8(b, c), 0);
    }
    assert_int_equal(buf_u8(b, '"'), 0);
}

static void json_strings_agree_with_the_slow_form_at_all_lengths_and_offsets(void **state)
{
    (void)state;
    struct rng rng = {7};
    struct buf fast, slow;
    buf_init(&fast, 1000);
    buf_init(&slow, 1000);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        size_t from = rng_below(&rng, 16), len = rng_below(&rng, 48);
        uint64_t rare = rng_below(&rng, 12) + 1;
        for (size_t i = 0; i < sizeof bytes; i++) {
            /* Mostly letters; bytes from 0x80 are lone continuation bytes, so each one is bad. */
            uint8_t odd = (uint8_t)rng_below(&rng, 0xc0);
            bytes[i] = rng_below(&rng, rare) ? (uint8_t)('a' + i % 26) : odd;
        }
        buf_reset(&fast);
        buf_reset(&slow);
        assert_int_equal(buf_json_string(&fast, slice_of(bytes + from, len)), 0);
        json_slow(&slow, slice_of(bytes + from, len));
        assert_int_equal(fast.len, slow.len);
        assert_memory_equal(fast.ptr, slow.ptr, fast.len);
    }
    buf_clear(&fast);
    buf_clear(&slow);
}

static void json_string_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (size_t max = 1; max < 12; max++) {
        struct buf b;
        buf_init(&b, max);
        assert_int_equal(buf_u8(&b, '['), 0);
        assert_int_equal(buf_json_string(&b, SLICE("ab\x01zz")), ERR_LIMIT);
        assert_int_equal(b.len, 1);
        buf_clear(&b);
    }
}

static void escaped_text_is_cut_at_a_character_and_marked(void **state)
{
    (void)state;
    char out[64];
    assert_string_equal(text_escape(SLICE("plain é"), 100, out, sizeof out), "plain é");
    assert_string_equal(text_escape(SLICE("a\nb\"c\\\x01\xff\x7f"), 100, out, sizeof out),
                        "a\\nb\\\"c\\\\\\x01\\xff\\x7f");
    assert_string_equal(text_escape(SLICE("\xc2\x9b"), 100, out, sizeof out), "\\xc2\\x9b");
    assert_string_equal(text_escape(SLICE("abcdef"), 3, out, sizeof out), "abc…");
    assert_string_equal(text_escape(SLICE("abé"), 3, out, sizeof out), "ab…");
    assert_string_equal(text_escape(SLICE(""), 3, out, sizeof out), "");
    assert_string_equal(text_escape(slice_of(NULL, 0), 3, out, sizeof out), "");
}

static void escaped_text_stays_inside_any_buffer(void **state)
{
    (void)state;
    struct slice s = SLICE("ab\xff"
                           "cé\ndefgh");
    for (size_t size = 1; size < 40; size++) {
        char *out = malloc(size);
        assert_non_null(out);
        text_escape(s, 100, out, size);
        assert_true(strlen(out) < size);
        assert_true(utf8_valid(slice_cstr(out)));
        free(out);
    }
    char one = 'x';
    text_escape(s, 100, &one, 0);
    assert_int_equal(one, 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_goes_both_ways_and_refuses_what_is_not_hex),
        cmocka_unit_test(base64_gives_the_vectors_of_rfc_4648),
        cmocka_unit_test(base64_takes_the_url_alphabet_and_missing_padding),
        cmocka_unit_test(base64_refuses_what_is_not_base64_and_appends_nothing),
        cmocka_unit_test(uuid_goes_both_ways_and_is_strict),
        cmocka_unit_test(utf8_takes_well_formed_sequences_only),
        cmocka_unit_test(utf8_prefix_never_cuts_a_character),
        cmocka_unit_test(json_strings_are_escaped_as_go_does),
        cmocka_unit_test(json_strings_agree_with_the_slow_form_at_all_lengths_and_offsets),
        cmocka_unit_test(json_string_that_does_not_fit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(escaped_text_is_cut_at_a_character_and_marked),
        cmocka_unit_test(escaped_text_stays_inside_any_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
