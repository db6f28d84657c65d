/* Endpoints: how a bucket is named in a URL, and what redirects may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "objstore/s3_endpoint.h"

static int make(struct s3_endpoint *ep, const char *endpoint, const char *bucket,
                const char *region, bool insecure, bool path)
{
    struct s3_endpoint_opts opts = {slice_cstr(bucket), slice_cstr(endpoint), slice_cstr(region),
                                    insecure, path};
    struct err err = {.msg = ""};
    int rc = s3_endpoint_init(ep, &opts, &err);
    assert_true(rc == 0 || err.msg[0]);
    return rc;
}

static void assert_path(const struct s3_endpoint *ep, const char *key, const char *want)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(s3_endpoint_path(ep, slice_cstr(key), &b), 0);
    assert_true(slice_eq(buf_view(&b), slice_cstr(want)));
    buf_clear(&b);
}

static void endpoints_become_host_style_and_region(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *bucket, *region;
        bool insecure, force;
        const char *host, *path, *want_region;
        bool https;
    } cases[] = {
        {"", "b", "", false, false, "b.s3.us-east-1.amazonaws.com", "/k", "us-east-1", true},
        {"", "b", "eu-west-1", false, false, "b.s3.eu-west-1.amazonaws.com", "/k", "eu-west-1",
         true},
        {"", "b", "cn-north-1", false, false, "b.s3.cn-north-1.amazonaws.com.cn", "/k",
         "cn-north-1", true},
        {"s3.eu-west-1.amazonaws.com", "b", "", false, false, "b.s3.eu-west-1.amazonaws.com", "/k",
         "eu-west-1", true},
        {"s3.dualstack.us-west-2.amazonaws.com", "b", "", false, false,
         "b.s3.dualstack.us-west-2.amazonaws.com", "/k", "us-west-2", true},
        {"s3-us-west-2.amazonaws.com", "b", "", false, false, "b.s3-us-west-2.amazonaws.com", "/k",
         "us-west-2", true},
        {"https://s3.amazonaws.com/", "b", "", false, false, "b.s3.amazonaws.com", "/k",
         "us-east-1", true},
        {"s3.amazonaws.com", "dotted.b", "", false, false, "s3.amazonaws.com", "/dotted.b/k",
         "us-east-1", true},
        {"s3.amazonaws.com", "dotted.b", "", true, false, "dotted.b.s3.amazonaws.com", "/k",
         "us-east-1", false},
        {"s3.amazonaws.com", "b", "", false, true, "s3.amazonaws.com", "/b/k", "us-east-1", true},
        {"s3.amazonaws.com:8443", "b", "", false, false, "s3.amazonaws.com:8443", "/b/k",
         "us-east-1", true},
        {"minio:9000", "b", "", true, false, "minio:9000", "/b/k", "us-east-1", false},
        {"http://minio:80", "b", "", false, false, "minio", "/b/k", "us-east-1", false},
        {"https://minio:443", "b", "", true, false, "minio", "/b/k", "us-east-1", true},
        {"http://127.0.0.1:7480", "b", "home", false, false, "127.0.0.1:7480", "/b/k", "home",
         false},
        {"[::1]:9000", "b", "", true, false, "[::1]:9000", "/b/k", "us-east-1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct s3_endpoint ep;
        assert_int_equal(make(&ep, cases[i].endpoint, cases[i].bucket, cases[i].region,
                              cases[i].insecure, cases[i].force),
                         0);
        assert_string_equal(ep.host, cases[i].host);
        assert_string_equal(ep.region, cases[i].want_region);
        assert_int_equal(ep.https, cases[i].https);
        assert_path(&ep, "k", cases[i].path);
    }
}

static void bad_settings_are_refused(void **state)
{
    (void)state;
    struct s3_endpoint ep;
    assert_int_equal(make(&ep, "", "", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "", "a/b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "", "b", "eu west", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "host/path", "b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "user@host", "b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "http://", "b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "ftp://host", "b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "host\r\nX: y", "b", "", false, false), ERR_INVALID);
    char longest[400];
    memset(longest, 'h', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(make(&ep, longest, "b", "", false, false), ERR_INVALID);
    assert_int_equal(make(&ep, "", longest, "", false, false), ERR_INVALID);
}

static void a_learned_region_moves_aws_hosts_only(void **state)
{
    (void)state;
    struct s3_endpoint ep;
    make(&ep, "s3.amazonaws.com", "b", "", false, false);
    assert_true(s3_endpoint_learn_region(&ep, SLICE("eu-west-1")));
    assert_string_equal(ep.host, "b.s3.eu-west-1.amazonaws.com");
    assert_false(s3_endpoint_learn_region(&ep, SLICE("eu-west-1")));
    assert_false(s3_endpoint_learn_region(&ep, SLICE("x.evil.example")));
    assert_false(s3_endpoint_learn_region(&ep, SLICE("")));
    assert_string_equal(ep.region, "eu-west-1");

    make(&ep, "minio:9000", "b", "", true, false);
    assert_true(s3_endpoint_learn_region(&ep, SLICE("home")));
    assert_string_equal(ep.host, "minio:9000");
    assert_string_equal(ep.region, "home");
}

static void a_location_is_followed_but_never_down_to_http(void **state)
{
    (void)state;
    struct s3_endpoint ep;
    make(&ep, "s3.amazonaws.com", "b", "", false, false);
    assert_false(s3_endpoint_learn_location(&ep, SLICE("http://b.s3.amazonaws.com/k")));
    assert_false(s3_endpoint_learn_location(&ep, SLICE("/relative")));
    assert_false(s3_endpoint_learn_location(&ep, SLICE("https://user@host/k")));
    assert_false(s3_endpoint_learn_location(&ep, SLICE("https:///k")));
    assert_string_equal(ep.host, "b.s3.amazonaws.com");
    assert_true(s3_endpoint_learn_location(&ep, SLICE("https://b.s3-eu.amazonaws.com/k?x=1")));
    assert_string_equal(ep.host, "b.s3-eu.amazonaws.com");
    assert_path(&ep, "k", "/k");
    assert_true(s3_endpoint_learn_location(&ep, SLICE("https://other:1234/b/k")));
    assert_string_equal(ep.host, "other:1234");
    assert_path(&ep, "k", "/b/k");
    assert_false(s3_endpoint_learn_location(&ep, SLICE("https://other:1234/b?list-type=2")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_become_host_style_and_region),
        cmocka_unit_test(bad_settings_are_refused),
        cmocka_unit_test(a_learned_region_moves_aws_hosts_only),
        cmocka_unit_test(a_location_is_followed_but_never_down_to_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
