/* The receivers' answers, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "otlp/otlp.h"

#define RETRY_INFO "type.googleapis.com/google.rpc.RetryInfo" /* 40 bytes */

static void check_bytes(struct buf *out, struct slice want)
{
    assert_int_equal(out->len, want.len);
    assert_memory_equal(out->ptr, want.ptr, want.len);
    buf_reset(out);
}

static void a_status_is_code_message_details(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(otlp_status_encode(3, SLICE("bad"), 0, &out), 0);
    check_bytes(&out, SLICE("\x08\x03\x12\x03"
                            "bad"));
    assert_int_equal(otlp_status_encode(8, SLICE("slow"), 5000, &out), 0);
    check_bytes(
        &out, SLICE("\x08\x08\x12\x04slow\x1a\x30\x0a\x28" RETRY_INFO "\x12\x04\x0a\x02\x08\x05"));
    /* 1.25 s: 250,000,000 ns */
    assert_int_equal(otlp_status_encode(14, SLICE(""), 1250, &out), 0);
    check_bytes(&out, SLICE("\x08\x0e\x1a\x35\x0a\x28" RETRY_INFO
                            "\x12\x09\x0a\x07\x08\x01\x10\x80\xe5\x9a\x77"));
    /* The longest delay there is. */
    assert_int_equal(otlp_status_encode(14, SLICE(""), UINT32_MAX, &out), 0);
    /* code; details, type URL, value, delay; 4,294,967 s in 4 bytes, 295,000,000 ns in 5 */
    assert_int_equal(out.len, 2 + 2 + 42 + 2 + 2 + 5 + 6);
    buf_clear(&out);
}

static void a_status_in_json_has_its_details_as_any(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(otlp_status_json(3, SLICE("bad \"id\""), 0, &out), 0);
    check_bytes(&out, SLICE("{\"code\":3,\"message\":\"bad \\\"id\\\"\"}"));
    assert_int_equal(otlp_status_json(8, SLICE("RATE_LIMITED: x"), 5000, &out), 0);
    check_bytes(&out, SLICE("{\"code\":8,\"message\":\"RATE_LIMITED: x\",\"details\":[{\"typeUrl\":"
                            "\"" RETRY_INFO "\",\"value\":\"CgIIBQ==\"}]}"));
    buf_clear(&out);
}

static void a_response_without_rejections_has_two_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(otlp_response_encode(0, SLICE(""), &out), 0);
    check_bytes(&out, SLICE("\x0a\x00"));
    assert_int_equal(otlp_response_json(0, SLICE(""), &out), 0);
    check_bytes(&out, SLICE("{\"partialSuccess\":{}}"));
    buf_clear(&out);
}

static void a_response_counts_what_was_rejected(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(otlp_response_encode(300, SLICE("too large"), &out), 0);
    check_bytes(&out, SLICE("\x0a\x0e\x08\xac\x02\x12\x09too large"));
    assert_int_equal(otlp_response_encode(0, SLICE("note"), &out), 0);
    check_bytes(&out, SLICE("\x0a\x06\x12\x04note"));
    assert_int_equal(otlp_response_json(300, SLICE("too <large>"), &out), 0);
    check_bytes(&out, SLICE("{\"partialSuccess\":{\"rejectedSpans\":\"300\",\"errorMessage\":"
                            "\"too \\u003clarge\\u003e\"}}"));
    assert_int_equal(otlp_response_json(0, SLICE("note"), &out), 0);
    check_bytes(&out, SLICE("{\"partialSuccess\":{\"errorMessage\":\"note\"}}"));
    buf_clear(&out);
}

static void what_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct buf out;
    for (size_t max = 1; max < 14; max++) {
        buf_init(&out, max);
        assert_int_equal(buf_u8(&out, 'a'), 0);
        assert_int_equal(otlp_status_encode(8, SLICE("slow"), 1000, &out), ERR_LIMIT);
        assert_int_equal(otlp_status_json(8, SLICE("slow"), 1000, &out), ERR_LIMIT);
        assert_int_equal(otlp_response_encode(300, SLICE("too large"), &out), ERR_LIMIT);
        assert_int_equal(otlp_response_json(300, SLICE("too large"), &out), ERR_LIMIT);
        assert_int_equal(out.len, 1);
        buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_is_code_message_details),
        cmocka_unit_test(a_status_in_json_has_its_details_as_any),
        cmocka_unit_test(a_response_without_rejections_has_two_bytes),
        cmocka_unit_test(a_response_counts_what_was_rejected),
        cmocka_unit_test(what_does_not_fit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
