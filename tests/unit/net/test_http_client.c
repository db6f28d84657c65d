/* The HTTP client against a scripted server on loopback. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http_client.h"
#include "net/http_client_limits.h"
#include "tests/support/fake_s3.h"

struct stage {
    struct fake_s3_answer answer;
    struct fake_s3 *server;
    struct http_client *client;
    char url[128];
};

static void play(void *ctx, const struct fake_s3_request *req, unsigned index,
                 struct fake_s3_answer *a)
{
    (void)req, (void)index;
    *a = ((struct stage *)ctx)->answer;
}

static void set(struct stage *t, uint32_t connections, struct fake_s3_answer answer)
{
    *t = (struct stage){.answer = answer};
    t->server = fake_s3_start(play, t);
    struct http_client_opts opts = {.connections_max = connections};
    assert_int_equal(http_client_new(&opts, &t->client, NULL), 0);
    snprintf(t->url, sizeof t->url, "%s/a/../b?q=secret", fake_s3_url(t->server));
}

static void strike(struct stage *t)
{
    http_client_free(t->client);
    fake_s3_stop(t->server);
}

static uint64_t in_ms(uint64_t ms)
{
    return clock_mono_ns(&clock_system) + ms * NS_PER_MS;
}

static struct http_call call_to(struct stage *t, const char *method)
{
    struct http_call call = {.method = method, .url = t->url, .deadline_mono_ns = in_ms(5000)};
    buf_init(&call.out, 1 << 20);
    return call;
}

static void a_get_brings_status_head_and_body(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0,
        (struct fake_s3_answer){
            .status = 201, .headers = "X-One:  a b \r\nx-ONE: second\r\n", .body = SLICE("hello")});
    struct http_call call = call_to(&t, "GET");
    const char *headers[] = {"X-Mine: 1", NULL};
    call.headers = headers;
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_int_equal(call.status, 201);
    assert_true(slice_eq(buf_view(&call.out), SLICE("hello")));
    assert_true(slice_eq(http_call_header(&call, "x-one"), SLICE("a b")));
    assert_null(http_call_header(&call, "x-two").ptr);
    const struct fake_s3_request *r = fake_s3_at(t.server, 0);
    assert_string_equal(r->target, "/a/../b?q=secret"); /* the path stays as it was given */
    assert_true(slice_eq(fake_s3_header(r, "X-Mine"), SLICE("1")));
    http_call_clear(&call);
    strike(&t);
}

static void put_and_post_send_the_body_without_asking_first(void **state)
{
    (void)state;
    struct stage t;
    static const char *const methods[] = {"PUT", "POST"};
    set(&t, 0, (struct fake_s3_answer){.status = 200});
    for (unsigned i = 0; i < 2; i++) {
        struct http_call call = call_to(&t, methods[i]);
        call.body = SLICE("the body");
        assert_int_equal(http_client_run(t.client, &call), 0);
        const struct fake_s3_request *r = fake_s3_at(t.server, i);
        assert_string_equal(r->method, methods[i]);
        assert_true(slice_eq(buf_view(&r->body), SLICE("the body")));
        assert_null(fake_s3_header(r, "Expect").ptr);
        assert_null(fake_s3_header(r, "Content-Type").ptr);
        assert_null(fake_s3_header(r, "Transfer-Encoding").ptr);
        http_call_clear(&call);
    }
    strike(&t);
}

static void an_empty_body_has_length_zero(void **state)
{
    (void)state;
    struct stage t;
    static const char *const methods[] = {"PUT", "POST"};
    set(&t, 0, (struct fake_s3_answer){.status = 200});
    for (unsigned i = 0; i < 2; i++) {
        struct http_call call = call_to(&t, methods[i]);
        assert_int_equal(http_client_run(t.client, &call), 0);
        assert_true(
            slice_eq(fake_s3_header(fake_s3_at(t.server, i), "Content-Length"), SLICE("0")));
        http_call_clear(&call);
    }
    strike(&t);
}

static void a_large_body_arrives_whole(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 200});
    size_t n = (8 << 20) + 7;
    uint8_t *body = malloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (uint8_t)(i * 31 >> 3);
    struct http_call call = call_to(&t, "PUT");
    call.body = slice_of(body, n);
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_true(slice_eq(buf_view(&fake_s3_at(t.server, 0)->body), call.body));
    http_call_clear(&call);
    free(body);
    strike(&t);
}

static void a_head_has_no_body_and_a_delete_keeps_its_name(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 200, .claim = true, .claim_bytes = 123456789});
    struct http_call call = call_to(&t, "HEAD");
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_int_equal(call.out.len, 0);
    assert_true(slice_eq(http_call_header(&call, "content-length"), SLICE("123456789")));
    http_call_clear(&call);
    t.answer = (struct fake_s3_answer){.status = 204};
    call = call_to(&t, "DELETE");
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_string_equal(fake_s3_at(t.server, 1)->method, "DELETE");
    http_call_clear(&call);
    strike(&t);
}

static void a_body_past_its_maximum_is_a_limit(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 200, .body = SLICE("0123456789")});
    struct http_call call = call_to(&t, "GET");
    call.out.max = 9;
    assert_int_equal(http_client_run(t.client, &call), ERR_LIMIT);
    assert_non_null(strstr(call.err.msg, "larger than 9 bytes"));
    http_call_clear(&call);
    call = call_to(&t, "GET");
    call.out.max = 10;
    assert_int_equal(http_client_run(t.client, &call), 0);
    http_call_clear(&call);
    strike(&t);
}

static void failures_go_to_their_own_buffer_and_are_cut(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 500, .body = SLICE("0123456789")});
    struct http_call call = call_to(&t, "GET");
    call.out.max = 0;
    call.fail.max = 4;
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_int_equal(call.out.len, 0);
    assert_true(slice_eq(buf_view(&call.fail), SLICE("0123")));
    /* A call may be used again without clearing. */
    t.answer = (struct fake_s3_answer){.status = 200, .body = SLICE("")};
    assert_int_equal(http_client_run(t.client, &call), 0);
    assert_int_equal(call.fail.len, 0);
    assert_int_equal(call.status, 200);
    http_call_clear(&call);
    strike(&t);
}

static void a_cut_body_is_an_error_that_keeps_what_came(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0,
        (struct fake_s3_answer){
            .status = 200, .body = SLICE("0123456789"), .cut = true, .cut_at = 4});
    struct http_call call = call_to(&t, "GET");
    assert_int_equal(http_client_run(t.client, &call), ERR_IO);
    assert_int_equal(call.status, 200);
    assert_true(slice_eq(buf_view(&call.out), SLICE("0123")));
    assert_true(slice_eq(http_call_header(&call, "Content-Length"), SLICE("10")));
    http_call_clear(&call);
    strike(&t);
}

static void a_call_ends_at_its_deadline(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.hang = true});
    struct http_call call = call_to(&t, "GET");
    uint64_t start = clock_mono_ns(&clock_system);
    call.deadline_mono_ns = in_ms(150);
    assert_int_equal(http_client_run(t.client, &call), ERR_TIMEOUT);
    assert_in_range(clock_mono_ns(&clock_system) - start, 149 * NS_PER_MS, 1200 * NS_PER_MS);
    assert_non_null(strstr(call.err.msg, "deadline"));
    assert_null(strstr(call.err.msg, "secret")); /* no query in texts */
    http_call_clear(&call);
    strike(&t);
}

static void a_deadline_that_has_passed_sends_nothing(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 200});
    struct http_call call = call_to(&t, "GET");
    call.deadline_mono_ns = 1;
    assert_int_equal(http_client_run(t.client, &call), ERR_TIMEOUT);
    assert_int_equal(fake_s3_count(t.server), 0);
    http_call_clear(&call);
    strike(&t);
}

static void a_stall_ends_a_call_before_its_deadline(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.hang = true});
    struct http_call call = call_to(&t, "GET");
    call.stall_timeout_ms = 100;
    uint64_t start = clock_mono_ns(&clock_system);
    assert_int_equal(http_client_run(t.client, &call), ERR_TIMEOUT);
    assert_in_range(clock_mono_ns(&clock_system) - start, 99 * NS_PER_MS, 1500 * NS_PER_MS);
    assert_non_null(strstr(call.err.msg, "nothing moved"));
    http_call_clear(&call);
    strike(&t);
}

static void bad_urls_and_what_is_not_http_are_named(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.raw = "SSH-2.0-x\r\n"});
    struct http_call call = call_to(&t, "GET");
    assert_int_equal(http_client_run(t.client, &call), ERR_CORRUPT);
    static const char *const urls[] = {"", "ftp://127.0.0.1/", "file:///etc/passwd", "http://"};
    for (size_t i = 0; i < 4; i++) {
        call.url = urls[i];
        assert_int_equal(http_client_run(t.client, &call), ERR_INVALID);
    }
    call.url = "http://127.0.0.1:1/"; /* nobody listens */
    assert_int_equal(http_client_run(t.client, &call), ERR_IO);
    http_call_clear(&call);
    strike(&t);
}

static void a_head_past_its_limit_is_refused(void **state)
{
    (void)state;
    static char headers[LIMIT_HTTP_HEAD_BYTES + 2000];
    size_t n = 0;
    while (n < LIMIT_HTTP_HEAD_BYTES)
        n += (size_t)snprintf(headers + n, sizeof headers - n, "X: %01000d\r\n", 0);
    struct stage t;
    set(&t, 0, (struct fake_s3_answer){.status = 200, .headers = headers});
    struct http_call call = call_to(&t, "GET");
    assert_int_equal(http_client_run(t.client, &call), ERR_LIMIT);
    http_call_clear(&call);
    strike(&t);
}

static void connections_are_used_again(void **state)
{
    (void)state;
    struct stage t;
    set(&t, 1, (struct fake_s3_answer){.status = 200, .body = SLICE("x")});
    uint64_t start = clock_mono_ns(&clock_system);
    for (int i = 0; i < 50; i++) {
        struct http_call call = call_to(&t, "GET");
        assert_int_equal(http_client_run(t.client, &call), 0);
        http_call_clear(&call);
    }
    assert_true(clock_mono_ns(&clock_system) - start < 5 * NS_PER_S);
    assert_int_equal(fake_s3_connections(t.server), 1);
    strike(&t);
}

/* ---- many at once ---- */

struct crowd {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct http_client *client;
    unsigned done, again;
    int rcs[16]; /* by -rc */
};

static void count_done(struct http_call *call)
{
    struct crowd *c = call->user;
    pthread_mutex_lock(&c->mu);
    bool again = c->again > 0;
    if (again)
        c->again--;
    c->done++;
    c->rcs[-call->rc]++;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mu);
    if (again) {
        buf_reset(&call->out);
        http_client_submit(c->client, call); /* a callback may submit */
    }
}

static void wait_for(struct crowd *c, unsigned n)
{
    pthread_mutex_lock(&c->mu);
    while (c->done < n)
        pthread_cond_wait(&c->cond, &c->mu);
    pthread_mutex_unlock(&c->mu);
}

static void more_calls_than_connections_wait_their_turn(void **state)
{
    (void)state;
    struct stage t;
    struct crowd c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 60, {0}};
    set(&t, 4, (struct fake_s3_answer){.status = 200, .body = SLICE("x")});
    c.client = t.client;
    struct http_call calls[100];
    for (int i = 0; i < 100; i++) {
        calls[i] = call_to(&t, "GET");
        calls[i].done = count_done;
        calls[i].user = &c;
        http_client_submit(t.client, &calls[i]);
    }
    wait_for(&c, 160);
    assert_int_equal(c.rcs[0], 160);
    assert_in_range(fake_s3_connections(t.server), 1, 4);
    for (int i = 0; i < 100; i++)
        http_call_clear(&calls[i]);
    strike(&t);
}

static void calls_that_wait_end_at_their_deadline_too(void **state)
{
    (void)state;
    struct stage t;
    struct crowd c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, {0}};
    set(&t, 1, (struct fake_s3_answer){.hang = true});
    struct http_call calls[10];
    for (int i = 0; i < 10; i++) {
        calls[i] = call_to(&t, "GET");
        calls[i].deadline_mono_ns = in_ms(100);
        calls[i].done = count_done;
        calls[i].user = &c;
        http_client_submit(t.client, &calls[i]);
    }
    uint64_t start = clock_mono_ns(&clock_system);
    wait_for(&c, 10);
    assert_true(clock_mono_ns(&clock_system) - start < 2 * NS_PER_S);
    assert_int_equal(c.rcs[-ERR_TIMEOUT], 10);
    for (int i = 0; i < 10; i++)
        http_call_clear(&calls[i]);
    strike(&t);
}

static void freeing_the_client_cancels_what_is_under_way(void **state)
{
    (void)state;
    struct stage t;
    struct crowd c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 3, {0}};
    set(&t, 2, (struct fake_s3_answer){.hang = true});
    c.client = t.client;
    struct http_call calls[6];
    for (int i = 0; i < 6; i++) {
        calls[i] = call_to(&t, "GET");
        calls[i].done = count_done;
        calls[i].user = &c;
        http_client_submit(t.client, &calls[i]);
    }
    http_client_free(t.client);
    t.client = NULL;
    assert_int_equal(c.done, 9); /* three submitted again from their callback */
    assert_int_equal(c.rcs[-ERR_CANCELLED], 9);
    for (int i = 0; i < 6; i++)
        http_call_clear(&calls[i]);
    fake_s3_stop(t.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_brings_status_head_and_body),
        cmocka_unit_test(put_and_post_send_the_body_without_asking_first),
        cmocka_unit_test(an_empty_body_has_length_zero),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(a_head_has_no_body_and_a_delete_keeps_its_name),
        cmocka_unit_test(a_body_past_its_maximum_is_a_limit),
        cmocka_unit_test(failures_go_to_their_own_buffer_and_are_cut),
        cmocka_unit_test(a_cut_body_is_an_error_that_keeps_what_came),
        cmocka_unit_test(a_call_ends_at_its_deadline),
        cmocka_unit_test(a_deadline_that_has_passed_sends_nothing),
        cmocka_unit_test(a_stall_ends_a_call_before_its_deadline),
        cmocka_unit_test(bad_urls_and_what_is_not_http_are_named),
        cmocka_unit_test(a_head_past_its_limit_is_refused),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(more_calls_than_connections_wait_their_turn),
        cmocka_unit_test(calls_that_wait_end_at_their_deadline_too),
        cmocka_unit_test(freeing_the_client_cancels_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
