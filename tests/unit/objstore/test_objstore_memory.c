/* The memory driver beyond the contract, and the scripted store on top of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/scripted_store.h"

static const struct objstore_env env = {.clock = &clock_system};

struct pair {
    struct objstore *inner, *store;
    struct err err;
};

static void set(struct pair *p, const struct scripted_step *steps, size_t count)
{
    *p = (struct pair){.inner = NULL};
    assert_int_equal(objstore_memory_new(&env, &p->inner, NULL), 0);
    assert_int_equal(scripted_store_new(p->inner, steps, count, &env, &p->store, NULL), 0);
}

static void strike(struct pair *p)
{
    objstore_free(p->store);
    objstore_free(p->inner);
}

static int put(struct objstore *s, const char *key, const char *body, unsigned flags)
{
    return objstore_put(s, slice_cstr(key), slice_cstr(body), flags, 0, NULL);
}

static int get(struct objstore *s, const char *key, char *text, size_t size)
{
    struct buf out;
    buf_init(&out, size);
    int rc = objstore_get(s, slice_cstr(key), 0, &out, NULL);
    snprintf(text, size, "%.*s", SLICE_ARGS(buf_view(&out)));
    buf_clear(&out);
    return rc;
}

static void bodies_and_keys_are_copied(void **state)
{
    (void)state;
    struct objstore *s;
    char key[] = "key", body[] = "body", text[16];
    assert_int_equal(objstore_memory_new(&env, &s, NULL), 0);
    assert_int_equal(put(s, key, body, 0), 0);
    key[0] = body[0] = 'x';
    assert_int_equal(get(s, "key", text, sizeof text), 0);
    assert_string_equal(text, "body");
    objstore_free(s);
}

static void every_write_has_another_etag(void **state)
{
    (void)state;
    struct objstore *s;
    struct objstore_info one, two;
    assert_int_equal(objstore_memory_new(&env, &s, NULL), 0);
    assert_int_equal(put(s, "k", "a", 0), 0);
    assert_int_equal(objstore_head(s, SLICE("k"), 0, &one, NULL), 0);
    assert_int_equal(put(s, "k", "a", 0), 0);
    assert_int_equal(objstore_head(s, SLICE("k"), 0, &two, NULL), 0);
    assert_string_not_equal(one.etag, two.etag);
    objstore_free(s);
}

static void many_objects_inserted_backwards_are_listed_forwards(void **state)
{
    (void)state;
    struct objstore *s;
    char key[16], text[16];
    assert_int_equal(objstore_memory_new(&env, &s, NULL), 0);
    for (int i = 999; i >= 0; i--) {
        snprintf(key, sizeof key, "%03d", i);
        assert_int_equal(put(s, key, key, 0), 0);
    }
    for (int i = 0; i < 1000; i += 3) {
        snprintf(key, sizeof key, "%03d", i);
        assert_int_equal(objstore_delete(s, slice_cstr(key), 0, NULL), 0);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%03d", i);
        assert_int_equal(get(s, key, text, sizeof text), i % 3 ? 0 : ERR_NOTFOUND);
        assert_string_equal(text, i % 3 ? key : "");
    }
    objstore_free(s);
}

/* ---- the script ---- */

static void the_nth_call_fails_and_the_others_pass(void **state)
{
    (void)state;
    const struct scripted_step steps[] = {
        {.op = OBJSTORE_OP_PUT, .nth = 2, .action = SCRIPTED_FAIL, .rc = ERR_UNAVAILABLE}};
    struct pair p;
    char text[16];
    set(&p, steps, 1);
    assert_int_equal(put(p.store, "a", "1", 0), 0);
    assert_int_equal(put(p.store, "b", "2", 0), ERR_UNAVAILABLE);
    assert_int_equal(put(p.store, "c", "3", 0), 0);
    assert_int_equal(get(p.inner, "b", text, sizeof text), ERR_NOTFOUND);
    assert_int_equal(scripted_store_calls(p.store, OBJSTORE_OP_PUT), 3);
    strike(&p);
}

static void a_lost_answer_hides_a_done_write(void **state)
{
    (void)state;
    const struct scripted_step steps[] = {{.op = OBJSTORE_OP_PUT,
                                           .nth = 1,
                                           .key_contains = "wal/",
                                           .action = SCRIPTED_LOSE_ANSWER,
                                           .rc = ERR_TIMEOUT}};
    struct pair p;
    set(&p, steps, 1);
    assert_int_equal(put(p.store, "other", "1", 0), 0);
    assert_int_equal(put(p.store, "wal/1", "1", OBJSTORE_IF_ABSENT), ERR_TIMEOUT);
    assert_int_equal(put(p.store, "wal/1", "1", OBJSTORE_IF_ABSENT), 0); /* our own */
    assert_int_equal(put(p.store, "wal/1", "2", OBJSTORE_IF_ABSENT), ERR_EXISTS);
    strike(&p);
}

static void a_cut_body_is_shorter_than_it_was(void **state)
{
    (void)state;
    const struct scripted_step steps[] = {
        {.op = OBJSTORE_OP_GET, .nth = 0, .action = SCRIPTED_CUT_BODY, .cut_at = 3}};
    struct pair p;
    char text[16];
    set(&p, steps, 1);
    assert_int_equal(put(p.store, "k", "123456", 0), 0);
    assert_int_equal(get(p.store, "k", text, sizeof text), 0);
    assert_string_equal(text, "123");
    strike(&p);
}

static void steal(void *ctx)
{
    assert_int_equal(put(ctx, "lease", "theirs", OBJSTORE_IF_ABSENT), 0);
}

static void a_race_can_be_made_certain(void **state)
{
    (void)state;
    struct pair p;
    struct scripted_step steps[] = {
        {.op = OBJSTORE_OP_PUT, .nth = 1, .action = SCRIPTED_CALL, .before = steal}};
    set(&p, steps, 1);
    steps[0].before_ctx = p.inner;
    assert_int_equal(put(p.store, "lease", "mine", OBJSTORE_IF_ABSENT), ERR_EXISTS);
    strike(&p);
}

static void uploads_follow_the_script_too(void **state)
{
    (void)state;
    const struct scripted_step steps[] = {
        {.op = OBJSTORE_OP_POST, .nth = 2, .action = SCRIPTED_FAIL, .rc = ERR_IO},
        {.op = OBJSTORE_OP_PUT, .nth = 1, .action = SCRIPTED_FAIL, .rc = ERR_IO}};
    struct pair p;
    struct objstore_upload *u;
    struct objstore_info info;
    set(&p, steps, 2);
    assert_int_equal(objstore_upload_begin(p.store, SLICE("k"), 0, &u, NULL), 0);
    assert_int_equal(objstore_upload_write(u, SLICE("a"), NULL), 0);
    assert_int_equal(objstore_upload_write(u, SLICE("b"), NULL), ERR_IO);
    objstore_upload_abort(u);
    assert_int_equal(objstore_upload_begin(p.store, SLICE("k"), 0, &u, NULL), 0);
    assert_int_equal(objstore_upload_finish(u, NULL), ERR_IO);
    assert_int_equal(objstore_head(p.store, SLICE("k"), 0, &info, NULL), ERR_NOTFOUND);
    assert_int_equal(objstore_upload_begin(p.store, SLICE("k"), 0, &u, NULL), 0);
    assert_int_equal(objstore_upload_finish(u, NULL), 0);
    assert_int_equal(objstore_head(p.store, SLICE("k"), 0, &info, NULL), 0);
    strike(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_and_keys_are_copied),
        cmocka_unit_test(every_write_has_another_etag),
        cmocka_unit_test(many_objects_inserted_backwards_are_listed_forwards),
        cmocka_unit_test(the_nth_call_fails_and_the_others_pass),
        cmocka_unit_test(a_lost_answer_hides_a_done_write),
        cmocka_unit_test(a_cut_body_is_shorter_than_it_was),
        cmocka_unit_test(a_race_can_be_made_certain),
        cmocka_unit_test(uploads_follow_the_script_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
