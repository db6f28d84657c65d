/* What the driver for signature 2 refuses, and what it does when the server fails: the contract
 * itself is test_objstore_contract.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/objstore_support.h"

static int make(const struct objstore_s3_opts *opts, struct err *err)
{
    struct objstore_env env = {.clock = &clock_system};
    struct objstore *s = NULL;
    int rc = objstore_libs3_new(opts, &env, &s, err);
    objstore_free(rc == 0 ? s : NULL);
    return rc;
}

static const struct objstore_s3_opts good = {
    .bucket = {(const uint8_t *)"b", 1},
    .endpoint = {(const uint8_t *)"http://127.0.0.1:1", 18},
    .access_key = {(const uint8_t *)"key", 3},
    .secret_key = {(const uint8_t *)"secret", 6},
};

static void settings_that_it_cannot_serve_are_refused_by_name(void **state)
{
    (void)state;
    struct err err = {.msg = ""};
    struct objstore_s3_opts o = good;
    assert_int_equal(make(&o, &err), 0);
    o.endpoint = SLICE("https://127.0.0.1:1");
    assert_int_equal(make(&o, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "certificate"));
    o.tls_insecure_skip_verify = true;
    assert_int_equal(make(&o, &err), 0);
    o = good;
    o.secret_key = SLICE("");
    assert_int_equal(make(&o, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "secret_key"));
    o = good;
    o.session_token = SLICE("token");
    assert_int_equal(make(&o, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "session_token"));
    o = good;
    o.prefix = SLICE("with space");
    assert_int_equal(make(&o, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "space"));
}

static void nobody_there_is_an_error_before_the_deadline_and_names_the_key(void **state)
{
    (void)state;
    struct objstore_env env = {.clock = &clock_system};
    struct objstore *s;
    struct err err = {.msg = ""};
    struct buf out;
    uint64_t start = clock_mono_ns(&clock_system);
    assert_int_equal(objstore_libs3_new(&good, &env, &s, &err), 0);
    buf_init(&out, 100);
    int rc = objstore_get(s, SLICE("a/b"), start + 300 * NS_PER_MS, &out, &err);
    assert_true(rc == ERR_TIMEOUT || rc == ERR_IO);
    assert_true(clock_mono_ns(&clock_system) - start < 2 * NS_PER_S);
    assert_non_null(strstr(err.msg, "a/b"));
    buf_clear(&out);
    objstore_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_it_cannot_serve_are_refused_by_name),
        cmocka_unit_test(nobody_there_is_an_error_before_the_deadline_and_names_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
