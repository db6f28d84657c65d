/* S3's XML: what it says, and what it must not do to us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "objstore/objstore_limits.h"
#include "objstore/s3_xml.h"

static const char page_text[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>"
    "<Prefix>t%2F</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>true</IsTruncated><NextContinuationToken>1a&amp;b=</NextContinuationToken>"
    "<Contents><Key>t/a+b%2Bc%25.txt</Key><LastModified>2024-05-06T07:08:09.123Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>18446744073709551615</Size>"
    "<Owner><ID>x</ID><Key>not this one</Key></Owner><StorageClass>STANDARD</StorageClass>"
    "</Contents>"
    "<Contents><Key>t/%C3%A9</Key><Size>0</Size></Contents>"
    "<CommonPrefixes><Prefix>t/dir/</Prefix></CommonPrefixes>"
    "<EncodingType>url</EncodingType></ListBucketResult>";

static int read_list(struct slice doc, struct arena *a, struct s3_list_page *page)
{
    struct err err = {.msg = ""};
    int rc = s3_xml_list(doc, a, page, &err);
    assert_true(rc == 0 || err.msg[0]);
    return rc;
}

static void a_page_is_read_whole(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct s3_list_page page;
    assert_int_equal(read_list(slice_cstr(page_text), a, &page), 0);
    assert_true(page.truncated);
    assert_true(slice_eq(page.token, SLICE("1a&b=")));
    assert_int_equal(page.entries.count, 3);
    assert_true(slice_eq(page.entries.at[0].key, SLICE("t/a b+c%.txt")));
    assert_true(page.entries.at[0].bytes == UINT64_MAX);
    assert_int_equal(page.entries.at[0].modified_unix_ns, UINT64_C(1714979289123000000));
    assert_true(slice_eq(page.entries.at[1].key, SLICE("t/\xc3\xa9")));
    assert_false(page.entries.at[1].is_prefix);
    assert_true(slice_eq(page.entries.at[2].key, SLICE("t/dir/")));
    assert_true(page.entries.at[2].is_prefix);
    vec_free(&page.entries);
    arena_free(a);
}

static void keys_stay_as_they_are_without_an_encoding_type(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct s3_list_page page;
    struct slice doc = SLICE("<s:ListBucketResult xmlns:s=\"x\"><s:Contents><s:Key>a+b%2F</s:Key>"
                             "<s:Size>1</s:Size></s:Contents></s:ListBucketResult>");
    assert_int_equal(read_list(doc, a, &page), 0);
    assert_false(page.truncated);
    assert_true(slice_eq(page.entries.at[0].key, SLICE("a+b%2F")));
    vec_free(&page.entries);
    arena_free(a);
}

static void a_page_cut_at_any_byte_is_corrupt(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct s3_list_page page;
    for (size_t n = 0; n < sizeof page_text - 1; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
        memcpy(exact, page_text, n);
        assert_int_equal(read_list(slice_of(exact, n), a, &page), ERR_CORRUPT);
        vec_free(&page.entries);
        free(exact);
        arena_reset(a);
    }
    arena_free(a);
}

static void a_page_with_any_byte_flipped_does_no_harm(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct s3_list_page page;
    char text[sizeof page_text];
    for (size_t i = 0; i < sizeof page_text - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, page_text, sizeof text);
            text[i] = (char)(text[i] ^ (1 << bit));
            int rc = read_list(slice_of(text, sizeof text - 1), a, &page);
            assert_true(rc == 0 || rc == ERR_CORRUPT);
            vec_free(&page.entries);
            arena_reset(a);
        }
    }
    arena_free(a);
}

static void what_is_no_listing_is_corrupt(void **state)
{
    (void)state;
    static const char *const docs[] = {
        "",
        "x",
        "<html/>",
        "<Error><Code>SlowDown</Code></Error>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key></Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>18446744073709551616</Size></Contents>"
        "</ListBucketResult>",
        "<!DOCTYPE a><ListBucketResult/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><ListBucketResult/>",
        "<ListBucketResult/><more/>",
    };
    for (size_t i = 0; i < sizeof docs / sizeof docs[0]; i++) {
        struct arena *a = arena_new(1 << 20);
        struct s3_list_page page;
        if (read_list(slice_cstr(docs[i]), a, &page) != ERR_CORRUPT)
            fail_msg("taken: %s", docs[i]);
        vec_free(&page.entries);
        arena_free(a);
    }
}

static void depth_text_and_size_have_limits(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 20);
    struct s3_list_page page;
    struct buf b;
    buf_init(&b, LIMIT_S3_XML_BYTES + 100);
    buf_str(&b, "<ListBucketResult>");
    for (int i = 0; i < 100000; i++)
        buf_str(&b, "<a>");
    assert_int_equal(read_list(buf_view(&b), a, &page), ERR_CORRUPT);
    vec_free(&page.entries);

    buf_reset(&b);
    buf_str(&b, "<ListBucketResult><Name>");
    for (size_t i = 0; i <= LIMIT_S3_XML_TEXT_BYTES; i++)
        buf_u8(&b, 'x');
    buf_str(&b, "</Name></ListBucketResult>");
    assert_int_equal(read_list(buf_view(&b), a, &page), ERR_CORRUPT);
    vec_free(&page.entries);

    buf_reset(&b);
    buf_reserve(&b, LIMIT_S3_XML_BYTES + 1);
    memset(b.ptr, ' ', LIMIT_S3_XML_BYTES + 1);
    b.len = LIMIT_S3_XML_BYTES + 1;
    assert_int_equal(read_list(buf_view(&b), a, &page), ERR_CORRUPT);
    vec_free(&page.entries);
    buf_clear(&b);
    arena_free(a);
}

static void a_page_that_does_not_fit_its_arena_is_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(48);
    struct s3_list_page page;
    assert_int_equal(read_list(slice_cstr(page_text), a, &page), ERR_LIMIT);
    vec_free(&page.entries);
    arena_free(a);
}

static void errors_are_taken_apart(void **state)
{
    (void)state;
    struct s3_error e;
    s3_xml_error(SLICE("<?xml version=\"1.0\"?><Error><Code>PermanentRedirect</Code><Message>go "
                       "&lt;there&gt;</Message><Endpoint>b.s3-eu.amazonaws.com</Endpoint>"
                       "<Region>eu-west-1</Region><ActualObjectSize>7</ActualObjectSize></Error>"),
                 &e);
    assert_string_equal(e.code, "PermanentRedirect");
    assert_string_equal(e.message, "go <there>");
    assert_string_equal(e.endpoint, "b.s3-eu.amazonaws.com");
    assert_string_equal(e.region, "eu-west-1");
    assert_string_equal(e.size, "7");
    s3_xml_error(SLICE("<ErrorResponse xmlns=\"x\"><Error><Code>AccessDenied</Code></Error>"
                       "</ErrorResponse>"),
                 &e);
    assert_string_equal(e.code, "AccessDenied");
}

static void what_is_no_error_leaves_the_fields_empty(void **state)
{
    (void)state;
    static const char *const docs[] = {
        "", "503 busy", "<html><Code>SlowDown</Code></html>", "<Error><Code>SlowDown</Code>",
        "<Error><Message>m</Message></Error>",
        /* longer than any code: not cut to another one */
        "<Error><Code>SlowDownSlowDownSlowDownSlowDownSlowDownSlowDownSlowDownSlowDown</Code>"
        "</Error>"};
    for (size_t i = 0; i < sizeof docs / sizeof docs[0]; i++) {
        struct s3_error e;
        memset(&e, 'x', sizeof e);
        s3_xml_error(slice_cstr(docs[i]), &e);
        assert_string_equal(e.code, "");
        assert_string_equal(e.region, "");
    }
}

static void the_first_element_of_a_name_counts(void **state)
{
    (void)state;
    char id[8], root[16];
    struct s3_xml_want want = {"UploadId", id, sizeof id};
    assert_int_equal(s3_xml_read(SLICE("<R><UploadId>one</UploadId><UploadId>two</UploadId></R>"),
                                 &want, 1, root, sizeof root, NULL),
                     0);
    assert_string_equal(id, "one");
    assert_string_equal(root, "R");
    assert_int_equal(
        s3_xml_read(SLICE("<R><UploadId>12345678</UploadId></R>"), &want, 1, NULL, 0, NULL), 0);
    assert_string_equal(id, ""); /* does not fit: not taken in part */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_read_whole),
        cmocka_unit_test(keys_stay_as_they_are_without_an_encoding_type),
        cmocka_unit_test(a_page_cut_at_any_byte_is_corrupt),
        cmocka_unit_test(a_page_with_any_byte_flipped_does_no_harm),
        cmocka_unit_test(what_is_no_listing_is_corrupt),
        cmocka_unit_test(depth_text_and_size_have_limits),
        cmocka_unit_test(a_page_that_does_not_fit_its_arena_is_refused),
        cmocka_unit_test(errors_are_taken_apart),
        cmocka_unit_test(what_is_no_error_leaves_the_fields_empty),
        cmocka_unit_test(the_first_element_of_a_name_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
