/* What the S3 driver makes of servers that fail: a scripted server on loopback answers wrong, late,
 * or not at all; sends elsewhere; loses answers; breaks listings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/unit/objstore/s3_stage.h"

/* ---- answers that pass ---- */

static void a_500_is_tried_again(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 500, .body = SLICE(XML("InternalError"))},
        {.status = 200, .body = SLICE("hello")});
    assert_int_equal(get(&t, 5000), 0);
    assert_out(&t, "hello");
    assert_int_equal(fake_s3_count(t.server), 2);
    strike(&t);
}

static void every_passing_answer_is_tried_again(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 502}, {.status = 503}, {.status = 504}, {.status = 429}, {.status = 408},
        {.status = 400, .body = SLICE(XML("RequestTimeout"))}, {.status = 0},
        {.status = 200, .body = SLICE("hello")});
    assert_int_equal(get(&t, 20000), 0);
    assert_out(&t, "hello");
    assert_int_equal(fake_s3_count(t.server), 8);
    strike(&t);
}

static void slow_down_to_the_end_is_unavailable_by_the_deadline(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 503, .body = SLICE(XML("SlowDown"))});
    uint64_t start = clock_mono_ns(&clock_system);
    assert_int_equal(get(&t, 700), ERR_UNAVAILABLE);
    assert_true(clock_mono_ns(&clock_system) - start < 1500 * NS_PER_MS);
    assert_true(fake_s3_count(t.server) >= 2);
    assert_non_null(strstr(t.err.msg, "SlowDown"));
    assert_non_null(strstr(t.err.msg, "'key' (s3 bucket at 127.0.0.1:"));
    strike(&t);
}

static void tries_end_after_ten(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 500});
    assert_int_equal(get(&t, 60000), ERR_IO);
    assert_int_equal(fake_s3_count(t.server), 10);
    strike(&t);
}

static void a_server_that_hangs_is_a_timeout_at_the_deadline(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.hang = true});
    uint64_t start = clock_mono_ns(&clock_system);
    assert_int_equal(get(&t, 300), ERR_TIMEOUT);
    assert_in_range(clock_mono_ns(&clock_system) - start, 299 * NS_PER_MS, 1500 * NS_PER_MS);
    assert_int_equal(objstore_put(t.store, SLICE("k"), SLICE("v"), 0, in_ms(100), &t.err),
                     ERR_TIMEOUT);
    strike(&t);
}

static void a_server_that_stopped_is_an_error_by_the_deadline(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 200, .body = SLICE("x")});
    assert_int_equal(get(&t, 1000), 0);
    fake_s3_stop(t.server);
    t.server = NULL;
    assert_int_equal(get(&t, 500), ERR_IO);
    assert_int_equal(t.out.len, 0);
    strike(&t);
}

static void connections_closed_between_requests_do_no_harm(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
    for (int i = 0; i < 5; i++)
        assert_int_equal(objstore_put(t.store, SLICE("k"), SLICE("body"), 0, in_ms(3000), NULL), 0);
    for (unsigned i = 0; i < fake_s3_count(t.server); i++)
        assert_true(slice_eq(buf_view(&fake_s3_at(t.server, i)->body), SLICE("body")));
    strike(&t);
}

/* ---- answers that do not pass ---- */

static void denied_is_final(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 403, .body = SLICE(XML("AccessDenied"))});
    assert_int_equal(get(&t, 5000), ERR_DENIED);
    assert_non_null(strstr(t.err.msg, "AccessDenied"));
    assert_int_equal(fake_s3_count(t.server), 1);
    strike(&t);
}

static void an_expired_configured_token_is_final(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 400, .body = SLICE(XML("ExpiredToken"))});
    assert_int_equal(get(&t, 5000), ERR_DENIED);
    assert_int_equal(fake_s3_count(t.server), 1);
    strike(&t);
}

static void a_missing_bucket_is_not_a_missing_key(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 404, .body = SLICE(XML("NoSuchBucket"))},
        {.status = 404, .body = SLICE(XML("NoSuchKey"))});
    assert_int_equal(get(&t, 5000), ERR_IO);
    assert_int_equal(get(&t, 5000), ERR_NOTFOUND);
    strike(&t);
}

static void what_is_not_http_is_corrupt(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.raw = "SSH-2.0-OpenSSH_9.2\r\n"});
    assert_int_equal(get(&t, 2000), ERR_CORRUPT);
    strike(&t);
}

static void a_proxys_page_is_shown_escaped(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 405, .body = SLICE("<html>no\x1b[31m way</html>")});
    assert_int_equal(get(&t, 2000), ERR_IO);
    assert_non_null(strstr(t.err.msg, "no\\x1b[31m way"));
    strike(&t);
}

static void a_head_past_its_limit_is_refused(void **state)
{
    (void)state;
    static char headers[90000];
    size_t n = 0;
    for (int i = 0; i < 80; i++)
        n += (size_t)snprintf(headers + n, sizeof headers - n, "X-%d: %01000d\r\n", i, 0);
    struct fake_s3_answer a = {.status = 200, .headers = headers, .body = SLICE("x")};
    struct stage t;
    set(&t, &a, 1);
    assert_int_equal(get(&t, 2000), ERR_LIMIT);
    strike(&t);
}

/* ---- clock, region, host ---- */

static void a_skewed_clock_is_mended_once_and_stays_mended(void **state)
{
    (void)state;
    struct stage t;
    SET(&t,
        {.status = 403,
         .headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         .body = SLICE(XML("RequestTimeTooSkewed"))},
        {.status = 200, .body = SLICE("x")},
        {.status = 403,
         .headers = "Date: Mon, 07 Nov 1994 08:49:37 GMT\r\n",
         .body = SLICE(XML("RequestTimeTooSkewed"))});
    assert_int_equal(get(&t, 5000), 0);
    assert_int_equal(fake_s3_count(t.server), 2);
    assert_true(
        slice_starts(fake_s3_header(fake_s3_at(t.server, 1), "x-amz-date"), SLICE("19941106T084")));
    assert_int_equal(get(&t, 5000), ERR_DENIED);
    assert_int_equal(fake_s3_count(t.server), 4); /* one more try, no more */
    assert_true(
        slice_starts(fake_s3_header(fake_s3_at(t.server, 2), "x-amz-date"), SLICE("19941106T084")));
    assert_true(
        slice_starts(fake_s3_header(fake_s3_at(t.server, 3), "x-amz-date"), SLICE("19941107T084")));
    strike(&t);
}

static bool signed_for(struct stage *t, unsigned index, const char *region)
{
    char want[100];
    snprintf(want, sizeof want, "/%s/s3/aws4_request", region);
    struct slice a = fake_s3_header(fake_s3_at(t->server, index), "Authorization");
    return memmem(a.ptr, a.len, want, strlen(want)) != NULL;
}

static void a_region_is_learned_and_kept(void **state)
{
    (void)state;
    static const struct fake_s3_answer moved[] = {{.status = 301,
                                                   .headers = "x-amz-bucket-region: eu-west-1\r\n",
                                                   .body = SLICE(XML("PermanentRedirect"))},
                                                  {.status = 200, .body = SLICE("x")}};
    static const struct fake_s3_answer malformed[] = {
        {.status = 400,
         .body = SLICE("<Error><Code>AuthorizationHeaderMalformed</Code>"
                       "<Region>eu-west-1</Region></Error>")},
        {.status = 200, .body = SLICE("x")}};
    const struct fake_s3_answer *const scripts[] = {moved, malformed};
    for (int i = 0; i < 2; i++) {
        struct stage t;
        set(&t, scripts[i], 2);
        assert_int_equal(get(&t, 5000), 0);
        assert_int_equal(get(&t, 5000), 0);
        assert_int_equal(fake_s3_count(t.server), 3);
        assert_true(signed_for(&t, 0, "us-east-1"));
        assert_true(signed_for(&t, 1, "eu-west-1"));
        assert_true(signed_for(&t, 2, "eu-west-1"));
        strike(&t);
    }
}

static void a_head_learns_the_region_from_the_header_alone(void **state)
{
    (void)state;
    struct stage t;
    struct objstore_info info;
    SET(&t, {.status = 400, .headers = "x-amz-bucket-region: eu-west-1\r\n"},
        {.status = 200, .claim = true, .claim_bytes = 7});
    assert_int_equal(objstore_head(t.store, SLICE("key"), in_ms(2000), &info, &t.err), 0);
    assert_int_equal(info.bytes, 7);
    assert_true(signed_for(&t, 1, "eu-west-1"));
    strike(&t);
}

static void redirects_in_a_circle_end(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 301, .headers = "x-amz-bucket-region: a-1\r\n"},
        {.status = 301, .headers = "x-amz-bucket-region: b-1\r\n"},
        {.status = 301, .headers = "x-amz-bucket-region: a-1\r\n"},
        {.status = 301, .headers = "x-amz-bucket-region: b-1\r\n"},
        {.status = 301, .headers = "x-amz-bucket-region: a-1\r\n"},
        {.status = 301, .headers = "x-amz-bucket-region: b-1\r\n"},
        {.status = 200, .body = SLICE("x")});
    assert_int_equal(get(&t, 5000), ERR_IO);
    assert_true(fake_s3_count(t.server) <= 6);
    strike(&t);
}

static void a_region_that_is_no_name_is_not_taken(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 301, .headers = "x-amz-bucket-region: evil/../x\r\n"});
    assert_int_equal(get(&t, 5000), ERR_IO);
    assert_int_equal(fake_s3_count(t.server), 1);
    strike(&t);
}

static void a_temporary_redirect_keeps_method_and_body(void **state)
{
    (void)state;
    static const struct fake_s3_answer ok = {.status = 200};
    struct script there = {&ok, 1};
    struct fake_s3 *other = fake_s3_start(play, &there);
    char headers[200];
    snprintf(headers, sizeof headers, "Location: %s/bucket/k\r\n", fake_s3_url(other));
    struct fake_s3_answer away = {.status = 307, .headers = headers};
    struct stage t;
    set(&t, &away, 1);
    assert_int_equal(objstore_put(t.store, SLICE("k"), SLICE("body"), 0, in_ms(3000), &t.err), 0);
    assert_int_equal(objstore_put(t.store, SLICE("k"), SLICE("two"), 0, in_ms(3000), &t.err), 0);
    assert_int_equal(fake_s3_count(t.server), 1);
    assert_int_equal(fake_s3_count(other), 2);
    assert_string_equal(fake_s3_at(other, 0)->method, "PUT");
    assert_string_equal(fake_s3_at(other, 0)->target, "/bucket/k");
    assert_true(slice_eq(buf_view(&fake_s3_at(other, 0)->body), SLICE("body")));
    char host[100];
    snprintf(host, sizeof host, "%s", fake_s3_url(other) + 7);
    assert_true(slice_eq(fake_s3_header(fake_s3_at(other, 0), "Host"), slice_cstr(host)));
    strike(&t);
    fake_s3_stop(other);
}

/* ---- create-if-absent ---- */

static int put_new(struct stage *t, const char *body)
{
    return objstore_put(t->store, SLICE("key"), slice_cstr(body), OBJSTORE_IF_ABSENT, in_ms(5000),
                        &t->err);
}

static void an_own_try_whose_answer_was_lost_is_success(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 0}, {.status = 412, .body = SLICE(XML("PreconditionFailed"))},
        {.status = 200, .body = SLICE("mine")});
    assert_int_equal(put_new(&t, "mine"), 0);
    assert_header(&t, 0, "If-None-Match", "*");
    assert_header(&t, 1, "If-None-Match", "*");
    assert_string_equal(fake_s3_at(t.server, 2)->method, "GET");
    strike(&t);
}

static void another_writers_object_is_exists(void **state)
{
    (void)state;
    static const struct fake_s3_answer other[] = {{.status = 412},
                                                  {.status = 200, .body = SLICE("them")}};
    static const struct fake_s3_answer longer[] = {{.status = 304},
                                                   {.status = 200, .body = SLICE("mine and more")}};
    static const struct fake_s3_answer empty[] = {{.status = 412}, {.status = 200}};
    const struct fake_s3_answer *const scripts[] = {other, longer, empty};
    for (int i = 0; i < 3; i++) {
        struct stage t;
        set(&t, scripts[i], 2);
        int rc = put_new(&t, "mine");
        if (rc != ERR_EXISTS)
            fail_msg("script %d: %d %s", i, rc, t.err.msg);
        strike(&t);
    }
}

static void an_object_gone_before_it_was_compared_is_written_again(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 412}, {.status = 404, .body = SLICE(XML("NoSuchKey"))}, {.status = 200});
    assert_int_equal(put_new(&t, "mine"), 0);
    assert_int_equal(fake_s3_count(t.server), 3);
    strike(&t);
}

static void a_conflict_with_another_write_is_tried_again(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 409, .body = SLICE(XML("ConditionalRequestConflict"))}, {.status = 200});
    assert_int_equal(put_new(&t, "mine"), 0);
    assert_int_equal(fake_s3_count(t.server), 2);
    strike(&t);
}

static void a_comparison_that_fails_is_no_verdict(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 412}, {.status = 403, .body = SLICE(XML("AccessDenied"))});
    assert_int_equal(put_new(&t, "mine"), ERR_DENIED);
    strike(&t);
}

/* A store that ignores If-None-Match: it takes every PUT and gives the last body back. */
struct careless {
    char body[64];
};

static void take_all(void *ctx, const struct fake_s3_request *req, unsigned index,
                     struct fake_s3_answer *a)
{
    (void)index;
    struct careless *c = ctx;
    if (strcmp(req->method, "PUT") == 0)
        snprintf(c->body, sizeof c->body, "%.*s", SLICE_ARGS(buf_view(&req->body)));
    else if (strcmp(req->method, "GET") == 0)
        a->body = slice_cstr(c->body);
    else
        a->status = 204;
}

static void the_probe_finds_a_store_without_create_if_absent(void **state)
{
    (void)state;
    struct careless c = {""};
    struct objstore_caps caps = {true};
    struct err err;
    struct fake_s3 *server = fake_s3_start(take_all, &c);
    struct objstore *store = open_store(fake_s3_url(server), NULL);
    assert_int_equal(objstore_probe(store, &caps, in_ms(5000), &err), 0);
    assert_false(caps.create_if_absent);
    unsigned n = fake_s3_count(server);
    assert_string_equal(fake_s3_at(server, n - 1)->method, "DELETE");
    /* From then on the driver looks before it writes. */
    assert_int_equal(
        objstore_put(store, SLICE("k"), SLICE("mine"), OBJSTORE_IF_ABSENT, in_ms(5000), &err),
        ERR_EXISTS);
    assert_string_equal(c.body, "second");
    objstore_free(store);
    fake_s3_stop(server);
}

/* ---- multipart ---- */

struct multipart_script {
    struct fake_s3_answer complete[3]; /* to the first completions; the last goes on */
    unsigned completes, aborts, parts;
    int part_status;
    uint64_t head_bytes; /* of the finished object; 0: 404 */
    const char *head_headers;
};

static void play_multipart(void *ctx, const struct fake_s3_request *req, unsigned index,
                           struct fake_s3_answer *a)
{
    (void)index;
    struct multipart_script *m = ctx;
    bool post = strcmp(req->method, "POST") == 0;
    if (post && strstr(req->target, "?uploads=")) {
        a->body = SLICE("<InitiateMultipartUploadResult><UploadId>id&amp;1</UploadId>"
                        "</InitiateMultipartUploadResult>");
    } else if (strcmp(req->method, "PUT") == 0) {
        assert_non_null(strstr(req->target, "uploadId=id%261"));
        m->parts++;
        a->status = m->part_status ? m->part_status : 200;
        a->headers = "ETag: \"part\"\r\n";
    } else if (post) {
        *a = m->complete[m->completes < 2 ? m->completes : 2];
        m->completes++;
    } else if (strcmp(req->method, "DELETE") == 0) {
        m->aborts++;
        a->status = 204;
    } else {
        a->status = m->head_bytes ? 200 : 404;
        a->claim = true;
        a->claim_bytes = m->head_bytes;
        a->headers = m->head_headers;
    }
}

#define COMPLETED                                                                                  \
    {                                                                                              \
        .status = 200, .body = SLICE("  \n<CompleteMultipartUploadResult xmlns=\"x\"/>")           \
    }

static int put_large(struct multipart_script *m, size_t bytes, uint64_t ms, struct err *err)
{
    struct fake_s3 *server = fake_s3_start(play_multipart, m);
    struct objstore *store = open_store(fake_s3_url(server), NULL);
    uint8_t *body = calloc(1, bytes);
    int rc = objstore_put(store, SLICE("key"), slice_of(body, bytes), 0, in_ms(ms), err);
    free(body);
    objstore_free(store);
    fake_s3_stop(server);
    return rc;
}

static void a_200_with_an_error_does_not_complete_an_upload(void **state)
{
    (void)state;
    struct err err = {.msg = ""};
    struct multipart_script m = {
        .complete = {{.status = 200, .body = SLICE(XML("InternalError"))},
                     {.status = 200, .body = SLICE("   ")}, /* cut before it said anything */
                     COMPLETED}};
    assert_int_equal(put_large(&m, (5 << 20) + 1, 9000, &err), 0);
    assert_int_equal(m.completes, 3);
    assert_int_equal(m.parts, 2);
    assert_int_equal(m.aborts, 0);

    struct multipart_script bad = {
        .complete = {{.status = 200, .body = SLICE(XML("InvalidPart"))}}};
    assert_int_equal(put_large(&bad, (5 << 20) + 1, 9000, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "InvalidPart"));
    assert_int_equal(bad.completes, 1);
    assert_int_equal(bad.aborts, 1);
}

static void a_completion_whose_answer_was_lost_is_success(void **state)
{
    (void)state;
    struct err err = {.msg = ""};
    struct fake_s3_answer gone = {.status = 404, .body = SLICE(XML("NoSuchUpload"))};
    struct multipart_script m = {.complete = {{.status = 0}, gone, gone},
                                 .head_bytes = (5 << 20) + 1,
                                 .head_headers =
                                     "Last-Modified: Fri, 01 Jan 2100 00:00:00 GMT\r\n"};
    assert_int_equal(put_large(&m, (5 << 20) + 1, 9000, &err), 0);

    struct multipart_script older = m; /* what stands there is from before */
    older.completes = older.parts = older.aborts = 0;
    older.head_headers = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert_int_equal(put_large(&older, (5 << 20) + 1, 9000, &err), ERR_IO);

    struct multipart_script never = {.complete = {{.status = 0}, gone, gone}};
    assert_int_equal(put_large(&never, (5 << 20) + 1, 9000, &err), ERR_IO);
    assert_int_equal(never.aborts, 1);
}

static void a_part_that_fails_aborts_the_upload(void **state)
{
    (void)state;
    struct err err = {.msg = ""};
    struct multipart_script m = {.part_status = 403};
    assert_int_equal(put_large(&m, 45 << 20, 9000, &err), ERR_DENIED);
    assert_non_null(strstr(err.msg, ": part ")); /* whichever came back first */
    assert_int_equal(m.aborts, 1);
    assert_int_equal(m.completes, 0);
    assert_true(m.parts < 9); /* stopped sending */
}

static void a_streamed_upload_reports_a_failed_part(void **state)
{
    (void)state;
    struct multipart_script m = {.part_status = 403};
    struct fake_s3 *server = fake_s3_start(play_multipart, &m);
    struct objstore *store = open_store(fake_s3_url(server), NULL);
    struct objstore_upload *u;
    struct err err = {.msg = ""};
    static uint8_t body[1 << 20];
    assert_int_equal(objstore_upload_begin(store, SLICE("key"), in_ms(9000), &u, &err), 0);
    int rc = 0;
    for (int i = 0; i < 40 && rc == 0; i++)
        rc = objstore_upload_write(u, slice_of(body, sizeof body), &err);
    assert_int_equal(rc, ERR_DENIED);
    objstore_upload_abort(u);
    assert_int_equal(m.aborts, 1);
    objstore_free(store);
    fake_s3_stop(server);
}

/* ---- listing ---- */

static int count_item(void *ctx, const struct objstore_list_item *item)
{
    (void)item;
    ++*(int *)ctx;
    return 0;
}

static int list(struct stage *t, int *count)
{
    *count = 0;
    return objstore_list(t->store, SLICE(""), SLICE(""), false, count_item, count, in_ms(3000),
                         &t->err);
}

#define KEY(k) "<Contents><Key>" k "</Key><Size>1</Size></Contents>"
#define PAGE(more, inner)                                                                          \
    "<ListBucketResult><IsTruncated>" more "</IsTruncated>" inner "</ListBucketResult>"

static void a_truncated_page_without_a_token_goes_on_after_the_last_key(void **state)
{
    (void)state;
    struct stage t;
    int count;
    SET(&t, {.status = 200, .body = SLICE(PAGE("true", KEY("a") KEY("b c")))},
        {.status = 200, .body = SLICE(PAGE("false", KEY("d")))});
    assert_int_equal(list(&t, &count), 0);
    assert_int_equal(count, 3);
    assert_non_null(strstr(fake_s3_at(t.server, 1)->target, "start-after=b%20c"));
    strike(&t);
}

static void listings_that_break_the_order_are_corrupt(void **state)
{
    (void)state;
    static const struct fake_s3_answer answers[][2] = {
        {{.status = 200, .body = SLICE(PAGE("true", KEY("a") KEY("b")))},
         {.status = 200, .body = SLICE(PAGE("true", KEY("b")))}},
        {{.status = 200,
          .body = SLICE(PAGE("true", KEY("a") "<NextContinuationToken>t</NextContinuationToken>"))},
         {.status = 200,
          .body =
              SLICE(PAGE("true", KEY("a") "<NextContinuationToken>t</NextContinuationToken>"))}},
        {{.status = 200, .body = SLICE(PAGE("true", ""))}, {.status = 200}},
        {{.status = 200, .body = SLICE("<html/>")}, {.status = 200}},
        {{.status = 200, .body = SLICE("<ListBucketResult><Contents>")}, {.status = 200}},
        {{.status = 200, .body = SLICE("")}, {.status = 200}},
        {{.status = 200,
          .body = SLICE("<!DOCTYPE x [<!ENTITY a \"b\">]>" PAGE("false", KEY("&a;")))},
         {.status = 200}},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct stage t;
        int count;
        set(&t, answers[i], 2);
        int rc = list(&t, &count);
        if (rc != ERR_CORRUPT)
            fail_msg("listing %zu: %d", i, rc);
        strike(&t);
    }
}

static void a_listing_that_is_cut_is_asked_for_again(void **state)
{
    (void)state;
    struct stage t;
    int count;
    SET(&t,
        {.status = 200, .body = SLICE(PAGE("false", KEY("a") KEY("b"))), .cut = true, .cut_at = 70},
        {.status = 200, .body = SLICE(PAGE("false", KEY("a") KEY("b")))});
    assert_int_equal(list(&t, &count), 0);
    assert_int_equal(count, 2);
    strike(&t);
}

static void objects_whose_names_are_no_keys_are_passed_over(void **state)
{
    (void)state;
    struct stage t;
    int count;
    SET(&t, {.status = 200,
             .body = SLICE(PAGE("false", KEY("a/") KEY("a//b") KEY("a/../c") KEY("good")))});
    assert_int_equal(list(&t, &count), 0);
    assert_int_equal(count, 1);
    strike(&t);
}

/* ---- TLS ---- */

static int put_over_tls(struct fake_s3 *server, bool skip_verify, struct err *err)
{
    struct objstore_s3_opts opts = {
        .bucket = SLICE("bucket"),
        .endpoint = slice_cstr(fake_s3_url(server)),
        .access_key = SLICE("AKIDEXAMPLE"),
        .secret_key = SLICE(SECRET),
        .tls_insecure_skip_verify = skip_verify,
    };
    struct objstore_env env = {.clock = &clock_system};
    struct objstore *s;
    assert_int_equal(objstore_s3_new(&opts, &env, &s, NULL), 0);
    int rc = objstore_put(s, SLICE("k"), SLICE("v"), 0, in_ms(3000), err);
    objstore_free(s);
    return rc;
}

static void over_tls_the_certificate_is_checked_and_the_body_not_hashed(void **state)
{
    (void)state;
    static const struct fake_s3_answer ok = {.status = 200};
    struct script script = {&ok, 1};
    struct fake_s3 *server = fake_s3_start_tls(play, &script);
    struct err err = {.msg = ""};
    assert_int_equal(put_over_tls(server, false, &err), ERR_DENIED);
    assert_non_null(strstr(err.msg, "certificate"));
    assert_int_equal(fake_s3_count(server), 0);
    assert_int_equal(put_over_tls(server, true, &err), 0);
    const struct fake_s3_request *r = fake_s3_at(server, 0);
    assert_true(slice_eq(fake_s3_header(r, "x-amz-content-sha256"), SLICE("UNSIGNED-PAYLOAD")));
    assert_true(slice_eq(buf_view(&r->body), SLICE("v")));
    fake_s3_stop(server);
}

static void on_plain_http_the_body_is_hashed(void **state)
{
    (void)state;
    struct stage t;
    SET(&t, {.status = 200});
    assert_int_equal(objstore_put(t.store, SLICE("k"), SLICE("abc"), 0, in_ms(3000), &t.err), 0);
    assert_header(&t, 0, "x-amz-content-sha256",
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    strike(&t);
}

/* ---- secrets ---- */

static void neither_log_nor_error_texts_tell_the_secret(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    struct log log = {.fd = fileno(f), .level = LOG_LEVEL_DEBUG, .room = "test"};
    static const struct fake_s3_answer answers[] = {
        {.status = 500},
        {.status = 301, .headers = "x-amz-bucket-region: eu-west-1\r\n"},
        {.status = 403,
         .headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         .body = SLICE(XML("RequestTimeTooSkewed"))},
        {.status = 403, .body = SLICE(XML("SignatureDoesNotMatch"))}};
    struct script script = {answers, 4};
    struct fake_s3 *server = fake_s3_start(play, &script);
    struct objstore *store = open_store(fake_s3_url(server), &log);
    struct err err = {.msg = ""};
    assert_int_equal(objstore_put(store, SLICE("k"), SLICE("v"), 0, in_ms(3000), &err), ERR_DENIED);
    objstore_free(store);
    fake_s3_stop(server);
    static char text[65536];
    rewind(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    assert_true(n > 0);
    assert_null(strstr(text, "wJalr"));
    assert_null(strstr(text, "Signature="));
    assert_null(strstr(err.msg, "wJalr"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_500_is_tried_again),
        cmocka_unit_test(every_passing_answer_is_tried_again),
        cmocka_unit_test(slow_down_to_the_end_is_unavailable_by_the_deadline),
        cmocka_unit_test(tries_end_after_ten),
        cmocka_unit_test(a_server_that_hangs_is_a_timeout_at_the_deadline),
        cmocka_unit_test(a_server_that_stopped_is_an_error_by_the_deadline),
        cmocka_unit_test(connections_closed_between_requests_do_no_harm),
        cmocka_unit_test(denied_is_final),
        cmocka_unit_test(an_expired_configured_token_is_final),
        cmocka_unit_test(a_missing_bucket_is_not_a_missing_key),
        cmocka_unit_test(what_is_not_http_is_corrupt),
        cmocka_unit_test(a_proxys_page_is_shown_escaped),
        cmocka_unit_test(a_head_past_its_limit_is_refused),
        cmocka_unit_test(a_skewed_clock_is_mended_once_and_stays_mended),
        cmocka_unit_test(a_region_is_learned_and_kept),
        cmocka_unit_test(a_head_learns_the_region_from_the_header_alone),
        cmocka_unit_test(redirects_in_a_circle_end),
        cmocka_unit_test(a_region_that_is_no_name_is_not_taken),
        cmocka_unit_test(a_temporary_redirect_keeps_method_and_body),
        cmocka_unit_test(an_own_try_whose_answer_was_lost_is_success),
        cmocka_unit_test(another_writers_object_is_exists),
        cmocka_unit_test(an_object_gone_before_it_was_compared_is_written_again),
        cmocka_unit_test(a_conflict_with_another_write_is_tried_again),
        cmocka_unit_test(a_comparison_that_fails_is_no_verdict),
        cmocka_unit_test(the_probe_finds_a_store_without_create_if_absent),
        cmocka_unit_test(a_200_with_an_error_does_not_complete_an_upload),
        cmocka_unit_test(a_completion_whose_answer_was_lost_is_success),
        cmocka_unit_test(a_part_that_fails_aborts_the_upload),
        cmocka_unit_test(a_streamed_upload_reports_a_failed_part),
        cmocka_unit_test(a_truncated_page_without_a_token_goes_on_after_the_last_key),
        cmocka_unit_test(listings_that_break_the_order_are_corrupt),
        cmocka_unit_test(a_listing_that_is_cut_is_asked_for_again),
        cmocka_unit_test(objects_whose_names_are_no_keys_are_passed_over),
        cmocka_unit_test(over_tls_the_certificate_is_checked_and_the_body_not_hashed),
        cmocka_unit_test(on_plain_http_the_body_is_hashed),
        cmocka_unit_test(neither_log_nor_error_texts_tell_the_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
