/* The credential chain against a small server that plays STS, the container endpoint and the
 * instance metadata service. The environment is the test's own. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "objstore/s3_credentials.h"
#include "tests/support/fake_s3.h"
#include "tests/support/objstore_support.h"

struct var {
    const char *name, *value;
};

struct world {
    struct var vars[12];
    char dir[256], path[300], url[300];
    struct fake_s3 *server;
    struct http_client *http;
    struct s3_credentials_chain *chain;
    uint64_t unix_ns, mono_ns; /* the clock, turned by the test */
    struct clock clock;
    struct s3_credentials got;
    struct err err;
    /* What the server plays. */
    int status;
    const char *body;
    unsigned keys_given;
    char expires[40];
};

static const char *env_of(void *ctx, const char *name)
{
    const struct world *w = ctx;
    for (size_t i = 0; i < 12 && w->vars[i].name; i++) {
        if (strcmp(w->vars[i].name, name) == 0)
            return w->vars[i].value;
    }
    return NULL;
}

static uint64_t clock_unix(const struct clock *c)
{
    return ((struct world *)c->ctx)->unix_ns;
}

static uint64_t clock_mono(const struct clock *c)
{
    return ((struct world *)c->ctx)->mono_ns;
}

#define JSON                                                                                       \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"TK\","    \
    "\"Expiration\":\"%s\"}"
#define STS                                                                                        \
    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"            \
    "<SessionToken>TK</SessionToken><SecretAccessKey>SK</SecretAccessKey>"                         \
    "<Expiration>%s</Expiration><AccessKeyId>AK</AccessKeyId></Credentials>"                       \
    "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"

static void play(void *ctx, const struct fake_s3_request *req, unsigned index,
                 struct fake_s3_answer *a)
{
    static char text[2048];
    struct world *w = ctx;
    (void)index;
    a->status = w->status;
    if (strcmp(req->target, "/latest/api/token") == 0) {
        a->body = SLICE("imds-token");
        return;
    }
    if (strcmp(req->target, "/latest/meta-data/iam/security-credentials/") == 0) {
        a->body = w->body && w->body[0] == '/' ? slice_cstr(w->body + 1) : SLICE("my-role\n");
        return;
    }
    w->keys_given++;
    bool sts = strcmp(req->method, "POST") == 0;
    if (w->body)
        snprintf(text, sizeof text, "%s", w->body);
    else if (sts)
        snprintf(text, sizeof text, STS, w->expires);
    else
        snprintf(text, sizeof text, JSON, w->expires);
    a->body = slice_cstr(text);
}

static void set(struct world *w)
{
    *w = (struct world){.status = 200, .unix_ns = UINT64_C(1700000000) * NS_PER_S};
    w->mono_ns = clock_mono_ns(&clock_system);
    w->clock = (struct clock){clock_unix, clock_mono, w};
    snprintf(w->expires, sizeof w->expires, "2023-11-14T23:13:20Z"); /* an hour on */
    scratch_dir_make(w->dir);
    w->server = fake_s3_start(play, w);
    struct http_client_opts opts = {.clock = &clock_system};
    assert_int_equal(http_client_new(&opts, &w->http, NULL), 0);
    w->vars[0] = (struct var){"AWS_EC2_METADATA_DISABLED", "true"};
}

static void add_var(struct world *w, const char *name, const char *value)
{
    for (size_t i = 0; i < 12; i++) {
        if (!w->vars[i].name || strcmp(w->vars[i].name, name) == 0) {
            w->vars[i] = (struct var){name, value};
            return;
        }
    }
    fail();
}

static void write_file(struct world *w, const char *text)
{
    snprintf(w->path, sizeof w->path, "%s/file", w->dir);
    FILE *f = fopen(w->path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int ask(struct world *w)
{
    if (!w->chain) {
        struct s3_credentials_opts opts = {.region = SLICE("eu-west-1"),
                                           .http = w->http,
                                           .clock = &w->clock,
                                           .getenv = env_of,
                                           .getenv_ctx = w};
        assert_int_equal(s3_credentials_chain_new(&opts, &w->chain, NULL), 0);
    }
    return s3_credentials_get(w->chain, w->mono_ns + 3 * NS_PER_S, &w->got, &w->err);
}

static void assert_got(struct world *w, const char *source, const char *access, const char *secret,
                       const char *token)
{
    int rc = ask(w);
    if (rc < 0)
        fail_msg("%s", w->err.msg);
    assert_string_equal(s3_credentials_source(w->chain), source);
    assert_string_equal(w->got.access_key, access);
    assert_string_equal(w->got.secret_key, secret);
    assert_string_equal(w->got.session_token, token);
}

static void strike(struct world *w)
{
    s3_credentials_chain_free(w->chain);
    http_client_free(w->http);
    fake_s3_stop(w->server);
    scratch_dir_remove(w->dir);
}

/* ---- local sources ---- */

static void configured_keys_win(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    add_var(&w, "AWS_ACCESS_KEY_ID", "env");
    add_var(&w, "AWS_SECRET_ACCESS_KEY", "env");
    struct s3_credentials_opts opts = {.access_key = SLICE("conf"),
                                       .secret_key = SLICE("secret"),
                                       .http = w.http,
                                       .getenv = env_of,
                                       .getenv_ctx = &w};
    assert_int_equal(s3_credentials_chain_new(&opts, &w.chain, NULL), 0);
    assert_got(&w, "configuration", "conf", "secret", "");
    assert_false(s3_credentials_rejected(w.chain, w.got.generation));
    assert_got(&w, "configuration", "conf", "secret", "");
    strike(&w);
}

static void half_a_pair_and_overlong_keys_are_refused(void **state)
{
    (void)state;
    struct s3_credentials_chain *c;
    struct err err;
    char longest[LIMIT_CREDENTIALS_KEY_BYTES + 1];
    memset(longest, 'k', sizeof longest);
    struct s3_credentials_opts half = {.access_key = SLICE("a")};
    assert_int_equal(s3_credentials_chain_new(&half, &c, &err), ERR_INVALID);
    struct s3_credentials_opts over = {.access_key = slice_of(longest, sizeof longest),
                                       .secret_key = SLICE("s")};
    assert_int_equal(s3_credentials_chain_new(&over, &c, &err), ERR_INVALID);
    struct s3_credentials_opts control = {.access_key = SLICE("a\r\nX-Evil: 1"),
                                          .secret_key = SLICE("s")};
    assert_int_equal(s3_credentials_chain_new(&control, &c, &err), ERR_INVALID);
    assert_null(strstr(err.msg, "Evil"));
}

static void the_environment_has_several_spellings(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        {"AWS_ACCESS_KEY", "AWS_SECRET_KEY"},
        {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
        {"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"},
    };
    for (size_t i = 0; i < 4; i++) {
        struct world w;
        set(&w);
        add_var(&w, names[i][0], "ak");
        add_var(&w, names[i][1], "sk");
        add_var(&w, "AWS_SESSION_TOKEN", "tk");
        assert_got(&w, "environment", "ak", "sk", i < 2 ? "tk" : "");
        strike(&w);
    }
}

static void a_profile_is_found_in_the_shared_file(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    write_file(&w, "# comment\n[default]\naws_access_key_id=dak\naws_secret_access_key = dsk\n\n"
                   "; other\r\n[ other ]\r\n AWS_ACCESS_KEY_ID = oak \r\n"
                   "aws_secret_access_key=os=k\r\naws_session_token=otk\r\nregion = x\r\n"
                   "[third]\naws_access_key_id = tak\n");
    add_var(&w, "AWS_SHARED_CREDENTIALS_FILE", w.path);
    assert_got(&w, "shared file", "dak", "dsk", "");
    s3_credentials_chain_free(w.chain);
    w.chain = NULL;
    add_var(&w, "AWS_PROFILE", "other");
    assert_got(&w, "shared file", "oak", "os=k", "otk");
    s3_credentials_chain_free(w.chain);
    w.chain = NULL;
    add_var(&w, "AWS_PROFILE", "third");
    assert_int_equal(ask(&w), ERR_DENIED);
    assert_non_null(strstr(w.err.msg, "profile 'third'"));
    strike(&w);
}

static void a_named_file_that_is_missing_is_an_error(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    add_var(&w, "AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials");
    assert_int_equal(ask(&w), ERR_INVALID);
    assert_non_null(strstr(w.err.msg, "/nonexistent/credentials"));
    strike(&w);
}

static void odd_shared_files_do_no_harm(void **state)
{
    (void)state;
    static const char *const files[] = {"",
                                        "[",
                                        "]",
                                        "[default",
                                        "[]",
                                        "=",
                                        "[default]\n=\n===\n",
                                        "[default]\naws_access_key_id",
                                        "[default]\naws_access_key_id=\naws_secret_access_key=\n"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct world w;
        set(&w);
        write_file(&w, files[i]);
        add_var(&w, "AWS_SHARED_CREDENTIALS_FILE", w.path);
        assert_int_equal(ask(&w), ERR_DENIED);
        strike(&w);
    }
}

static void without_any_source_every_one_is_named(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    assert_int_equal(ask(&w), ERR_DENIED);
    assert_non_null(strstr(w.err.msg, "environment"));
    assert_non_null(strstr(w.err.msg, "web identity"));
    assert_non_null(strstr(w.err.msg, "shared file"));
    assert_non_null(strstr(w.err.msg, "container endpoint"));
    assert_non_null(strstr(w.err.msg, "instance metadata"));
    strike(&w);
}

/* ---- web identity ---- */

static void set_web_identity(struct world *w)
{
    write_file(w, "a+jwt/token=\n");
    add_var(w, "AWS_WEB_IDENTITY_TOKEN_FILE", w->path);
    add_var(w, "AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    add_var(w, "AWS_ROLE_SESSION_NAME", "me");
    add_var(w, "AWS_ENDPOINT_URL_STS", fake_s3_url(w->server));
}

static void a_web_identity_is_traded_at_sts(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_web_identity(&w);
    assert_got(&w, "web identity", "AK", "SK", "TK");
    assert_int_equal(w.got.expires_unix_ns, UINT64_C(1700003600) * NS_PER_S);
    const struct fake_s3_request *r = fake_s3_at(w.server, 0);
    assert_string_equal(r->method, "POST");
    assert_true(slice_eq(buf_view(&r->body),
                         SLICE("Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                               "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me"
                               "&WebIdentityToken=a%2Bjwt%2Ftoken%3D")));
    assert_null(fake_s3_header(r, "Authorization").ptr);
    strike(&w);
}

static void a_refusal_by_sts_is_final_and_named(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_web_identity(&w);
    w.status = 403;
    w.body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    assert_int_equal(ask(&w), ERR_DENIED);
    assert_non_null(strstr(w.err.msg, "web identity"));
    assert_non_null(strstr(w.err.msg, "AccessDenied"));
    assert_null(strstr(w.err.msg, "jwt"));
    assert_int_equal(fake_s3_count(w.server), 1);
    strike(&w);
}

/* ---- container ---- */

static void the_container_endpoint_gets_its_token(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    snprintf(w.url, sizeof w.url, "%s/v1/credentials", fake_s3_url(w.server));
    add_var(&w, "AWS_CONTAINER_CREDENTIALS_FULL_URI", w.url);
    add_var(&w, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "env-token");
    assert_got(&w, "container endpoint", "AK", "SK", "TK");
    assert_true(
        slice_eq(fake_s3_header(fake_s3_at(w.server, 0), "Authorization"), SLICE("env-token")));
    /* The file is read anew each time: the token in it is rotated. */
    write_file(&w, "file-token\n");
    add_var(&w, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", w.path);
    assert_true(s3_credentials_rejected(w.chain, w.got.generation));
    assert_got(&w, "container endpoint", "AK", "SK", "TK");
    assert_true(
        slice_eq(fake_s3_header(fake_s3_at(w.server, 1), "Authorization"), SLICE("file-token")));
    strike(&w);
}

static void a_container_url_off_this_host_needs_https(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://example.com/x", "http://127.0.0.1.example.com/",
                                       "http://169.254.170.20/", "ftp://127.0.0.1/",
                                       "http://localhostx/"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct world w;
        set(&w);
        add_var(&w, "AWS_CONTAINER_CREDENTIALS_FULL_URI", urls[i]);
        add_var(&w, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "hidden");
        assert_int_equal(ask(&w), ERR_INVALID);
        assert_null(strstr(w.err.msg, "hidden"));
        strike(&w);
    }
}

static void a_relative_container_uri_must_be_a_path(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    add_var(&w, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/");
    assert_int_equal(ask(&w), ERR_INVALID);
    strike(&w);
}

/* ---- instance metadata ---- */

static void set_instance(struct world *w)
{
    add_var(w, "AWS_EC2_METADATA_DISABLED", "");
    add_var(w, "AWS_EC2_METADATA_SERVICE_ENDPOINT", fake_s3_url(w->server));
}

static void the_metadata_service_is_asked_in_version_two(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_instance(&w);
    assert_got(&w, "instance metadata", "AK", "SK", "TK");
    assert_int_equal(fake_s3_count(w.server), 3);
    assert_string_equal(fake_s3_at(w.server, 0)->method, "PUT");
    assert_true(
        fake_s3_header(fake_s3_at(w.server, 0), "X-aws-ec2-metadata-token-ttl-seconds").len > 0);
    for (unsigned i = 1; i < 3; i++)
        assert_true(slice_eq(fake_s3_header(fake_s3_at(w.server, i), "X-aws-ec2-metadata-token"),
                             SLICE("imds-token")));
    assert_string_equal(fake_s3_at(w.server, 2)->target,
                        "/latest/meta-data/iam/security-credentials/my-role");
    strike(&w);
}

static void answers_that_are_no_credentials_are_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "{",
        "{\"AccessKeyId\":\"AK\"}",
        "{\"AccessKeyId\":1,\"SecretAccessKey\":2}",
        "{\"AccessKeyId\":\"A\\r\\nX: y\",\"SecretAccessKey\":\"SK\"}",
        "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Expiration\":\"soon\"}",
        "{\"Code\":\"Failed\",\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\"}",
        "//../../etc\n", /* a role that leads elsewhere */
        "/\n",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct world w;
        set(&w);
        set_instance(&w);
        w.body = bodies[i];
        int rc = ask(&w);
        if (rc != ERR_CORRUPT && rc != ERR_DENIED)
            fail_msg("body %zu: %d %s", i, rc, w.err.msg);
        strike(&w);
    }
}

/* ---- in time ---- */

static void keys_are_kept_and_fetched_again_five_minutes_early(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_instance(&w);
    assert_got(&w, "instance metadata", "AK", "SK", "TK");
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(&w), 0);
    w.unix_ns += 53 * 60 * NS_PER_S; /* seven minutes left */
    assert_int_equal(ask(&w), 0);
    assert_int_equal(w.keys_given, 1);
    w.unix_ns += 121 * NS_PER_S; /* less than five */
    snprintf(w.expires, sizeof w.expires, "2023-11-15T23:13:20Z");
    uint64_t generation = w.got.generation;
    assert_int_equal(ask(&w), 0);
    assert_int_equal(w.keys_given, 2);
    assert_true(w.got.generation > generation);
    assert_int_equal(w.got.expires_unix_ns, UINT64_C(1700090000) * NS_PER_S);
    strike(&w);
}

static void old_keys_go_on_when_fetching_fails(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_instance(&w);
    assert_int_equal(ask(&w), 0);
    w.unix_ns += 58 * 60 * NS_PER_S;
    w.status = 500;
    unsigned before = fake_s3_count(w.server);
    assert_got(&w, "instance metadata", "AK", "SK", "TK");
    unsigned after = fake_s3_count(w.server);
    assert_true(after > before);
    for (int i = 0; i < 10; i++) /* no storm: the failure is remembered for a while */
        assert_int_equal(ask(&w), 0);
    assert_int_equal(fake_s3_count(w.server), after);
    w.status = 200;
    w.mono_ns += LIMIT_CREDENTIALS_AGAIN_NS + 1;
    snprintf(w.expires, sizeof w.expires, "2023-11-15T23:13:20Z");
    assert_int_equal(ask(&w), 0);
    assert_int_equal(w.got.expires_unix_ns, UINT64_C(1700090000) * NS_PER_S);
    strike(&w);
}

static void a_failure_is_remembered_for_a_while(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_instance(&w);
    w.status = 404;
    assert_int_equal(ask(&w), ERR_DENIED);
    unsigned n = fake_s3_count(w.server);
    assert_int_equal(ask(&w), ERR_DENIED);
    assert_true(w.err.msg[0] != 0);
    assert_int_equal(fake_s3_count(w.server), n);
    strike(&w);
}

struct asker {
    struct world *w;
    int rc;
    pthread_t thread;
    struct s3_credentials got;
};

static void *ask_in_thread(void *ctx)
{
    struct asker *a = ctx;
    struct err err;
    a->rc = s3_credentials_get(a->w->chain, a->w->mono_ns + 3 * NS_PER_S, &a->got, &err);
    return NULL;
}

static void many_threads_fetch_once(void **state)
{
    (void)state;
    struct world w;
    set(&w);
    set_instance(&w);
    struct s3_credentials_opts opts = {
        .http = w.http, .clock = &w.clock, .getenv = env_of, .getenv_ctx = &w};
    assert_int_equal(s3_credentials_chain_new(&opts, &w.chain, NULL), 0);
    struct asker *askers = calloc(16, sizeof *askers);
    for (int i = 0; i < 16; i++) {
        askers[i].w = &w;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_in_thread, &askers[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].rc, 0);
        assert_string_equal(askers[i].got.secret_key, "SK");
    }
    assert_int_equal(w.keys_given, 1);
    free(askers);
    strike(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configured_keys_win),
        cmocka_unit_test(half_a_pair_and_overlong_keys_are_refused),
        cmocka_unit_test(the_environment_has_several_spellings),
        cmocka_unit_test(a_profile_is_found_in_the_shared_file),
        cmocka_unit_test(a_named_file_that_is_missing_is_an_error),
        cmocka_unit_test(odd_shared_files_do_no_harm),
        cmocka_unit_test(without_any_source_every_one_is_named),
        cmocka_unit_test(a_web_identity_is_traded_at_sts),
        cmocka_unit_test(a_refusal_by_sts_is_final_and_named),
        cmocka_unit_test(the_container_endpoint_gets_its_token),
        cmocka_unit_test(a_container_url_off_this_host_needs_https),
        cmocka_unit_test(a_relative_container_uri_must_be_a_path),
        cmocka_unit_test(the_metadata_service_is_asked_in_version_two),
        cmocka_unit_test(answers_that_are_no_credentials_are_refused),
        cmocka_unit_test(keys_are_kept_and_fetched_again_five_minutes_early),
        cmocka_unit_test(old_keys_go_on_when_fetching_fails),
        cmocka_unit_test(a_failure_is_remembered_for_a_while),
        cmocka_unit_test(many_threads_fetch_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
