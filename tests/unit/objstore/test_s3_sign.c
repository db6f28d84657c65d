/* Signatures against AWS's published vectors: the general test suite, and the examples of the S3
 * API reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "objstore/s3_sign.h"
#include "objstore/s3_text.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- the general suite ---- */

struct suite_case {
    char name[128];
    bool normalize, has_body;
    char lines[2048]; /* the texts that the slices below point into */
    size_t used;
    struct slice method, path;
    struct s3_pair query[16], headers[16];
    size_t query_count, header_count;
    char payload_hash[65], hash[65], signature[65];
};

static struct slice keep(struct suite_case *c, struct slice s)
{
    assert_true(c->used + s.len <= sizeof c->lines);
    memcpy(c->lines + c->used, s.ptr, s.len);
    c->used += s.len;
    return slice_of(c->lines + c->used - s.len, s.len);
}

static struct slice decoded(struct suite_case *c, struct slice s)
{
    struct slice copy = keep(c, s);
    copy.len = s3_uri_decode((uint8_t *)(uintptr_t)copy.ptr, copy.len);
    return copy;
}

static void add_query(struct suite_case *c, struct slice query)
{
    while (query.len) {
        size_t n = slice_find(query, '&');
        struct slice pair = slice_of(query.ptr, n);
        size_t eq = slice_find(pair, '=');
        assert_true(c->query_count < 16);
        c->query[c->query_count++] = (struct s3_pair){decoded(c, slice_of(pair.ptr, eq)),
                                                      decoded(c, slice_from(pair, eq + 1))};
        query = slice_from(query, n + 1);
    }
}

static void add_request_line(struct suite_case *c, struct slice line)
{
    size_t space = slice_find(line, ' ');
    c->method = keep(c, slice_of(line.ptr, space));
    struct slice target = slice_from(line, space + 1);
    assert_true(slice_ends(target, SLICE(" HTTP/1.1")));
    target.len -= 9;
    size_t mark = slice_find(target, '?');
    c->path = keep(c, slice_of(target.ptr, mark));
    add_query(c, slice_from(target, mark + 1));
}

static void add_header(struct suite_case *c, struct slice name, struct slice value)
{
    assert_true(c->header_count < 16);
    c->headers[c->header_count++] = (struct s3_pair){keep(c, name), keep(c, value)};
}

static void add_header_line(struct suite_case *c, struct slice line)
{
    if (line.ptr[0] == ' ') {
        /* Continues the header before it, which lies last in the text. */
        struct slice *value = &c->headers[c->header_count - 1].value;
        keep(c, line);
        value->len += line.len;
        return;
    }
    size_t colon = slice_find(line, ':');
    add_header(c, slice_of(line.ptr, colon), slice_from(line, colon + 1));
}

static void begin_case(struct suite_case *c, struct slice line)
{
    *c = (struct suite_case){.name = ""};
    char mode[32], token[1024];
    char text[2048];
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(line));
    int n = sscanf(text, "case %127s %31s %1023s", c->name, mode, token);
    assert_true(n >= 2);
    c->normalize = strcmp(mode, "normalize") == 0;
    memcpy(c->payload_hash, EMPTY_HASH, sizeof EMPTY_HASH);
    add_header(c, SLICE("X-Amz-Date"), SLICE("20150830T123600Z"));
    if (n == 3)
        add_header(c, SLICE("X-Amz-Security-Token"), slice_cstr(token));
}

static void check_case(struct suite_case *c)
{
    struct s3_sign_request req = {
        .method = c->method,
        .path = c->path,
        .normalize_path = c->normalize,
        .query = c->query,
        .query_count = c->query_count,
        .headers = c->headers,
        .header_count = c->header_count,
        .payload_hash = slice_cstr(c->payload_hash),
        .region = SLICE("us-east-1"),
        .service = SLICE("service"),
        .access_key = SLICE("AKIDEXAMPLE"),
        .secret_key = SLICE("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        .unix_s = 1440938160,
    };
    struct buf out;
    char hash[65];
    buf_init(&out, 8192);
    assert_int_equal(s3_sign(&req, &out, hash, NULL), 0);
    buf_u8(&out, 0);
    if (strcmp(hash, c->hash) != 0 || !strstr((char *)out.ptr, c->signature))
        fail_msg("%s: canonical hash %s, expected %s; %s", c->name, hash, c->hash, out.ptr);
    buf_clear(&out);
}

static unsigned run_suite(FILE *f)
{
    static struct suite_case c;
    char text[4096];
    unsigned count = 0;
    bool first = false;
    while (fgets(text, sizeof text, f)) {
        struct slice line = slice_of(text, strcspn(text, "\n"));
        if (slice_starts(line, SLICE("case "))) {
            begin_case(&c, line);
            first = true;
        } else if (slice_starts(line, SLICE("> "))) {
            if (first)
                add_request_line(&c, slice_from(line, 2));
            else
                add_header_line(&c, slice_from(line, 2));
            first = false;
        } else if (slice_starts(line, SLICE("body "))) {
            s3_sha256_hex(slice_from(line, 5), c.payload_hash);
            add_header(&c, SLICE("X-Amz-Content-Sha256"), slice_cstr(c.payload_hash));
        } else if (slice_starts(line, SLICE("hash "))) {
            memcpy(c.hash, line.ptr + 5, 64);
        } else if (slice_starts(line, SLICE("signature "))) {
            memcpy(c.signature, line.ptr + 10, 64);
            check_case(&c);
            count++;
        }
    }
    return count;
}

static void the_published_suite_signs_as_published(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/objstore/sigv4_suite.txt", "r");
    assert_non_null(f);
    assert_int_equal(run_suite(f), 38);
    fclose(f);
}

/* ---- the S3 API reference ---- */

static void check_s3(struct s3_sign_request req, const char *signature)
{
    req.region = SLICE("us-east-1");
    req.service = SLICE("s3");
    req.access_key = SLICE("AKIAIOSFODNN7EXAMPLE");
    req.secret_key = SLICE("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    req.unix_s = 1369353600; /* 2013-05-24T00:00:00Z */
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(s3_sign(&req, &out, NULL, NULL), 0);
    buf_u8(&out, 0);
    assert_non_null(strstr((char *)out.ptr, signature));
    assert_non_null(strstr((char *)out.ptr,
                           "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
    buf_clear(&out);
}

#define HOST                                                                                       \
    {                                                                                              \
        SLICE("host"), SLICE("examplebucket.s3.amazonaws.com")                                     \
    }
#define DATE                                                                                       \
    {                                                                                              \
        SLICE("x-amz-date"), SLICE("20130524T000000Z")                                             \
    }
#define EMPTY                                                                                      \
    {                                                                                              \
        SLICE("x-amz-content-sha256"), SLICE(EMPTY_HASH)                                           \
    }

static void the_s3_get_object_example_signs_as_published(void **state)
{
    (void)state;
    struct s3_pair headers[] = {HOST, {SLICE("Range"), SLICE("bytes=0-9")}, EMPTY, DATE};
    check_s3((struct s3_sign_request){.method = SLICE("GET"),
                                      .path = SLICE("/test.txt"),
                                      .headers = headers,
                                      .header_count = 4,
                                      .payload_hash = SLICE(EMPTY_HASH)},
             "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void the_s3_put_object_example_signs_as_published(void **state)
{
    (void)state;
    char hash[65];
    s3_sha256_hex(SLICE("Welcome to Amazon S3."), hash);
    struct s3_pair headers[] = {
        {SLICE("Date"), SLICE("Fri, 24 May 2013 00:00:00 GMT")},
        HOST,
        DATE,
        {SLICE("x-amz-storage-class"), SLICE("REDUCED_REDUNDANCY")},
        {SLICE("x-amz-content-sha256"), slice_cstr(hash)},
    };
    check_s3((struct s3_sign_request){.method = SLICE("PUT"),
                                      .path = SLICE("/test$file.text"),
                                      .headers = headers,
                                      .header_count = 5,
                                      .payload_hash = slice_cstr(hash)},
             "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void the_s3_lifecycle_example_signs_as_published(void **state)
{
    (void)state;
    struct s3_pair headers[] = {HOST, DATE, EMPTY};
    struct s3_pair query[] = {{SLICE("lifecycle"), SLICE("")}};
    check_s3((struct s3_sign_request){.method = SLICE("GET"),
                                      .path = SLICE("/"),
                                      .query = query,
                                      .query_count = 1,
                                      .headers = headers,
                                      .header_count = 3,
                                      .payload_hash = SLICE(EMPTY_HASH)},
             "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void the_s3_list_example_signs_as_published(void **state)
{
    (void)state;
    struct s3_pair headers[] = {HOST, DATE, EMPTY};
    struct s3_pair query[] = {{SLICE("prefix"), SLICE("J")}, {SLICE("max-keys"), SLICE("2")}};
    check_s3((struct s3_sign_request){.method = SLICE("GET"),
                                      .path = SLICE("/"),
                                      .query = query,
                                      .query_count = 2,
                                      .headers = headers,
                                      .header_count = 3,
                                      .payload_hash = SLICE(EMPTY_HASH)},
             "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* ---- limits ---- */

static void too_many_pairs_are_refused(void **state)
{
    (void)state;
    struct s3_pair pairs[S3_SIGN_PAIRS + 1];
    for (size_t i = 0; i <= S3_SIGN_PAIRS; i++)
        pairs[i] = (struct s3_pair){SLICE("a"), SLICE("b")};
    struct s3_sign_request req = {.method = SLICE("GET"),
                                  .path = SLICE("/"),
                                  .query = pairs,
                                  .query_count = S3_SIGN_PAIRS + 1};
    struct buf out;
    struct err err;
    buf_init(&out, 4096);
    assert_int_equal(s3_sign(&req, &out, NULL, &err), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_clear(&out);
}

static void a_secret_longer_than_any_is_refused(void **state)
{
    (void)state;
    char secret[600];
    memset(secret, 'x', sizeof secret);
    struct s3_sign_request req = {
        .method = SLICE("GET"), .path = SLICE("/"), .secret_key = slice_of(secret, sizeof secret)};
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(s3_sign(&req, &out, NULL, NULL), ERR_INVALID);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_suite_signs_as_published),
        cmocka_unit_test(the_s3_get_object_example_signs_as_published),
        cmocka_unit_test(the_s3_put_object_example_signs_as_published),
        cmocka_unit_test(the_s3_lifecycle_example_signs_as_published),
        cmocka_unit_test(the_s3_list_example_signs_as_published),
        cmocka_unit_test(too_many_pairs_are_refused),
        cmocka_unit_test(a_secret_longer_than_any_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
