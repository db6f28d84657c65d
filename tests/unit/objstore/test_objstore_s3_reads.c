/* Reads from S3 servers that cut, lie about, or change what they send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/objstore/s3_stage.h"

/* ---- reading: cut and wrong answers ---- */

static void a_cut_body_is_resumed_where_it_broke(void **state)
{
    (void)state;
    struct stage t;
    SET(&t,
        {.status = 200,
         .headers = "ETag: \"e1\"\r\n",
         .body = SLICE("0123456789"),
         .cut = true,
         .cut_at = 4},
        {.status = 206,
         .headers = "ETag: \"e1\"\r\nContent-Range: bytes 4-9/10\r\n",
         .body = SLICE("456789")});
    assert_int_equal(get(&t, 5000), 0);
    assert_out(&t, "0123456789");
    assert_header(&t, 0, "Range", NULL);
    assert_header(&t, 1, "Range", "bytes=4-9");
    assert_header(&t, 1, "If-Match", "\"e1\"");
    strike(&t);
}

static void an_object_that_changed_is_read_from_its_start(void **state)
{
    (void)state;
    struct stage t;
    SET(&t,
        {.status = 200,
         .headers = "ETag: \"e1\"\r\n",
         .body = SLICE("0123456789"),
         .cut = true,
         .cut_at = 4},
        {.status = 412, .body = SLICE(XML("PreconditionFailed"))},
        {.status = 200,
         .headers = "ETag: \"e2\"\r\n",
         .body = SLICE("abcdefghij"),
         .cut = true,
         .cut_at = 2},
        {.status = 206, /* a server that does not know If-Match */
         .headers = "ETag: \"e3\"\r\nContent-Range: bytes 2-9/10\r\n",
         .body = SLICE("CDEFGHIJ")},
        {.status = 200, .headers = "ETag: \"e3\"\r\n", .body = SLICE("ABCDEFGHIJ")});
    assert_int_equal(get(&t, 9000), 0);
    assert_out(&t, "ABCDEFGHIJ");
    assert_header(&t, 2, "Range", NULL);
    assert_header(&t, 4, "Range", NULL);
    strike(&t);
}

/* Serves "0123456789" with ranges as it should be, but cuts every first answer of a test. */
struct honest {
    size_t cut_at;
    unsigned cuts;
};

static void serve_ranges(void *ctx, const struct fake_s3_request *req, unsigned index,
                         struct fake_s3_answer *a)
{
    (void)index;
    static char headers[128];
    struct honest *h = ctx;
    unsigned long long from = 0, to = 9, n;
    char range[64];
    struct slice r = fake_s3_header(req, "Range");
    snprintf(range, sizeof range, "%.*s", SLICE_ARGS(r));
    if (sscanf(range, "bytes=-%llu", &n) == 1)
        from = n < 10 ? 10 - n : 0;
    else if (r.len)
        assert_int_equal(sscanf(range, "bytes=%llu-%llu", &from, &to), 2);
    if (to > 9)
        to = 9;
    snprintf(headers, sizeof headers, "ETag: \"e\"\r\nContent-Range: bytes %llu-%llu/10\r\n", from,
             to);
    a->status = r.len ? 206 : 200;
    a->headers = headers;
    a->body = slice_of("0123456789" + from, (size_t)(to - from + 1));
    if (h->cuts) {
        h->cuts--;
        a->cut = true;
        a->cut_at = h->cut_at;
    }
}

static void every_kind_of_read_survives_a_cut_at_every_byte(void **state)
{
    (void)state;
    static const struct {
        enum objstore_range range;
        uint64_t offset, bytes;
        const char *want;
    } cases[] = {
        {OBJSTORE_WHOLE, 0, 0, "0123456789"},
        {OBJSTORE_RANGE, 2, 6, "234567"},
        {OBJSTORE_RANGE, 7, 50, "789"},
        {OBJSTORE_SUFFIX, 0, 4, "6789"},
    };
    struct honest h = {0};
    struct fake_s3 *server = fake_s3_start(serve_ranges, &h);
    struct objstore *store = open_store(fake_s3_url(server), NULL);
    for (size_t i = 0; i < 4; i++) {
        for (size_t cut = 0; cut < strlen(cases[i].want); cut++) {
            struct objstore_get g = {.key = SLICE("key"),
                                     .range = cases[i].range,
                                     .offset = cases[i].offset,
                                     .bytes = cases[i].bytes};
            struct err err = {.msg = ""};
            buf_init(&g.out, 10);
            h = (struct honest){cut, 2};
            if (objstore_get_many(store, &g, 1, in_ms(5000), &err) != 0)
                fail_msg("case %zu, cut at %zu: %s", i, cut, err.msg);
            assert_true(slice_eq(buf_view(&g.out), slice_cstr(cases[i].want)));
            assert_int_equal(g.object_bytes, 10);
            buf_clear(&g.out);
        }
    }
    objstore_free(store);
    fake_s3_stop(server);
}

static void a_body_shorter_than_announced_to_the_end_is_an_error(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 200,
             .body = SLICE("0123"),
             .claim = true,
             .claim_bytes = 10,
             .cut = true,
             .cut_at = 4});
    assert_int_equal(get(&t, 400), ERR_IO);
    assert_int_equal(t.out.len, 0);
    strike(&t);
}

static void a_range_shorter_than_it_says_to_the_end_is_an_error(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 206, .headers = "Content-Range: bytes 0-9/10\r\n", .body = SLICE("0123")});
    struct objstore_get g = {.key = SLICE("key"), .range = OBJSTORE_RANGE, .bytes = 10};
    buf_init(&g.out, 10);
    int rc = objstore_get_many(t.store, &g, 1, in_ms(400), &t.err);
    /* Resumed at byte 4, the same answer is another range than asked for. */
    assert_int_equal(rc, ERR_CORRUPT);
    assert_int_equal(g.out.len, 0);
    strike(&t);
}

static void answers_that_are_not_the_range_asked_for_are_corrupt(void **state)
{
    (void)state;
    static const struct fake_s3_answer answers[] = {
        {.status = 206, .body = SLICE("0123")},
        {.status = 206, .headers = "Content-Range: bytes 1-4/10\r\n", .body = SLICE("1234")},
        {.status = 206, .headers = "Content-Range: bytes 0-2/10\r\n", .body = SLICE("012")},
        {.status = 206, .headers = "Content-Range: bytes 0-3/3\r\n", .body = SLICE("0123")},
        {.status = 206, .headers = "Content-Range: bytes 0-3/*\r\n", .body = SLICE("0123")},
        {.status = 206, .headers = "Content-Range: bytes */10\r\n", .body = SLICE("0123")},
        {.status = 206,
         .headers = "Content-Range: bytes 0-99999999999999999999/10\r\n",
         .body = SLICE("0123")},
        {.status = 200, .body = SLICE("0123456789")},
        {.status = 200, .body = SLICE("01234"), .no_length = true},
        {.status = 416, .headers = "Content-Range: bytes */10\r\n"},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct stage t;
        set(&t, &answers[i], 1);
        int rc = get_range(&t, 0, 4);
        if (rc != ERR_CORRUPT)
            fail_msg("answer %zu: %d %s", i, rc, t.err.msg);
        assert_int_equal(fake_s3_count(t.server), 1);
        assert_int_equal(t.out.len, 0);
        strike(&t);
    }
}

static void a_whole_object_is_fine_where_the_range_covers_it(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 200, .body = SLICE("0123")});
    assert_int_equal(get_range(&t, 0, 10), 0);
    assert_out(&t, "0123");
    strike(&t);
}

static void a_206_to_a_whole_read_is_corrupt(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 206, .headers = "Content-Range: bytes 0-3/10\r\n", .body = SLICE("0123")});
    assert_int_equal(get(&t, 2000), ERR_CORRUPT);
    strike(&t);
}

static void past_the_end_the_size_is_found_one_way_or_another(void **state)
{
    (void)state;
    static const struct fake_s3_answer head[] = {
        {.status = 416, .headers = "Content-Range: bytes */10\r\n"}};
    static const struct fake_s3_answer xml[] = {
        {.status = 416,
         .body = SLICE("<Error><Code>InvalidRange</Code><ActualObjectSize>10</ActualObjectSize>"
                       "</Error>")}};
    static const struct fake_s3_answer ask[] = {{.status = 416, .body = SLICE(XML("InvalidRange"))},
                                                {.status = 200, .claim = true, .claim_bytes = 10}};
    const struct script scripts[] = {{head, 1}, {xml, 1}, {ask, 2}};
    for (int i = 0; i < 3; i++) {
        struct stage t;
        set(&t, scripts[i].answers, scripts[i].count);
        struct objstore_get g = {
            .key = SLICE("key"), .range = OBJSTORE_RANGE, .offset = 10, .bytes = 5};
        buf_init(&g.out, 5);
        assert_int_equal(objstore_get_many(t.store, &g, 1, in_ms(2000), &t.err), 0);
        assert_int_equal(g.object_bytes, 10);
        assert_int_equal(g.out.len, 0);
        assert_int_equal(fake_s3_count(t.server), scripts[i].count);
        strike(&t);
    }
}

static void a_claimed_gigabyte_is_not_believed(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 200,
             .body = SLICE("0123"),
             .claim = true,
             .claim_bytes = UINT64_MAX / 4,
             .cut = true,
             .cut_at = 4});
    int rc = get(&t, 300);
    assert_true(rc == ERR_IO || rc == ERR_LIMIT);
    assert_true(t.out.cap <= 1 << 20);
    strike(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_body_is_resumed_where_it_broke),
        cmocka_unit_test(an_object_that_changed_is_read_from_its_start),
        cmocka_unit_test(every_kind_of_read_survives_a_cut_at_every_byte),
        cmocka_unit_test(a_body_shorter_than_announced_to_the_end_is_an_error),
        cmocka_unit_test(a_range_shorter_than_it_says_to_the_end_is_an_error),
        cmocka_unit_test(answers_that_are_not_the_range_asked_for_are_corrupt),
        cmocka_unit_test(a_whole_object_is_fine_where_the_range_covers_it),
        cmocka_unit_test(a_206_to_a_whole_read_is_corrupt),
        cmocka_unit_test(past_the_end_the_size_is_found_one_way_or_another),
        cmocka_unit_test(a_claimed_gigabyte_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
