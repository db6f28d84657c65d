/* Content codings: round trips, every truncation, flipped bytes, bombs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/random.h"
#include "net/net_server.h"
#include "net/snappy_frame.h"

static const char *const codings[] = {"gzip", "zlib", "deflate", "zstd", "snappy", "lz4"};
enum { CODINGS = sizeof codings / sizeof codings[0] };

static void snappy_chunk(struct buf *out, uint8_t type, uint32_t crc, struct slice data)
{
    buf_u32le(out, (uint32_t)(data.len + 4) << 8 | type);
    buf_u32le(out, crc);
    buf_slice(out, data);
}

static void snappy_pack(struct slice in, struct buf *out)
{
    buf_append(out, "\xff\x06\0\0sNaPpY", 10);
    buf_append(out, "\xfe\x02\0\0\0\0", 6); /* padding */
    while (in.len) {
        struct slice part = slice_of(in.ptr, in.len < 65536 ? in.len : 65536);
        in = slice_from(in, part.len);
        size_t n = snappy_max_compressed_length(part.len);
        char *packed = malloc(n);
        assert_int_equal(snappy_compress((const char *)part.ptr, part.len, packed, &n), SNAPPY_OK);
        bool pays = n < part.len;
        snappy_chunk(out, pays ? 0 : 1, snappy_frame_crc(part), pays ? slice_of(packed, n) : part);
        free(packed);
    }
}

/* Packs with the libraries' own encoders. */
static void pack(const char *coding, struct slice in, struct buf *out)
{
    size_t room = in.len + in.len / 8 + 4096;
    if (strcmp(coding, "snappy") == 0) {
        snappy_pack(in, out);
        return;
    }
    assert_int_equal(buf_reserve(out, room), 0);
    uint8_t *to = out->ptr + out->len;
    if (strcmp(coding, "gzip") == 0) {
        assert_int_equal(net_gzip(in, out, NULL), 0);
    } else if (strcmp(coding, "zstd") == 0) {
        ZSTD_CCtx *z = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
        size_t n = ZSTD_compress2(z, to, room, in.ptr, in.len);
        assert_false(ZSTD_isError(n));
        ZSTD_freeCCtx(z);
        out->len += n;
    } else if (strcmp(coding, "lz4") == 0) {
        LZ4F_preferences_t p = {.frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled}};
        size_t n = LZ4F_compressFrame(to, room, in.ptr, in.len, &p);
        assert_false(LZ4F_isError(n));
        out->len += n;
    } else {
        uLongf n = room;
        assert_int_equal(compress(to, &n, in.ptr, in.len), Z_OK);
        out->len += n;
    }
}

static void fill(uint8_t *to, size_t n, bool random)
{
    struct rng r = {7};
    for (size_t i = 0; i < n; i++)
        to[i] =
            random ? (uint8_t)rng_next(&r) : (uint8_t)("span attributes "[i % 16] + i / 999 % 3);
}

static void every_coding_round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 16384, 65536, 65537, 1000000};
    static uint8_t text[1000000];
    for (size_t c = 0; c < CODINGS; c++) {
        for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
            size_t n = sizes[i / 2];
            struct buf packed;
            struct buf plain;
            struct err err = {0};
            fill(text, n, i % 2);
            buf_init(&packed, 2 << 20);
            buf_init(&plain, n + 1); /* one byte is there already, and no room to spare */
            buf_u8(&plain, '>');
            pack(codings[c], slice_of(text, n), &packed);
            int rc = net_content_decode(slice_cstr(codings[c]), buf_view(&packed), &plain, &err);
            if (rc < 0)
                print_error("%s\n", err.msg);
            assert_int_equal(rc, 0);
            assert_true(slice_eq(slice_from(buf_view(&plain), 1), slice_of(text, n)));
            buf_clear(&plain);
            buf_clear(&packed);
        }
    }
}

static void no_coding_is_a_copy(void **state)
{
    (void)state;
    struct buf out;
    struct err err;
    buf_init(&out, 3);
    assert_int_equal(net_content_decode(SLICE(""), SLICE("abc"), &out, &err), 0);
    assert_true(slice_eq(buf_view(&out), SLICE("abc")));
    assert_int_equal(net_content_decode(SLICE(""), SLICE("d"), &out, &err), ERR_LIMIT);
    buf_clear(&out);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static uint8_t text[3000];
    fill(text, sizeof text, false);
    for (size_t c = 0; c < CODINGS; c++) {
        struct buf packed;
        buf_init(&packed, 2 << 20);
        pack(codings[c], slice_of(text, sizeof text), &packed);
        for (size_t n = 0; n < packed.len; n++) {
            struct buf plain;
            struct err err = {0};
            buf_init(&plain, sizeof text);
            /* A copy of exactly that size, so that a sanitizer sees a read past it. */
            uint8_t *cut = malloc(n ? n : 1);
            memcpy(cut, packed.ptr, n);
            int rc = net_content_decode(slice_cstr(codings[c]), slice_of(cut, n), &plain, &err);
            /* Framed snappy has no end mark: after a whole chunk it is just a shorter stream. */
            bool at_chunk = strcmp(codings[c], "snappy") == 0 && (n == 10 || n == 16);
            assert_int_equal(rc, at_chunk ? 0 : ERR_CORRUPT);
            if (rc < 0)
                assert_true(slice_starts(slice_cstr(err.msg), slice_cstr(codings[c])));
            free(cut);
            buf_clear(&plain);
        }
        buf_clear(&packed);
    }
}

static void flipped_bits_never_pass_for_the_original(void **state)
{
    (void)state;
    static uint8_t text[2000];
    fill(text, sizeof text, false);
    for (size_t c = 0; c < CODINGS; c++) {
        struct buf packed;
        buf_init(&packed, 2 << 20);
        pack(codings[c], slice_of(text, sizeof text), &packed);
        for (size_t bit = 0; bit < 8 * packed.len; bit++) {
            struct buf plain;
            buf_init(&plain, 100000);
            packed.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = net_content_decode(slice_cstr(codings[c]), buf_view(&packed), &plain, NULL);
            packed.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
            /* Some bits mean nothing (gzip's time, padding); then the text must be right. A snappy
             * chunk whose type became "skippable" is skipped, as the format says. */
            bool skipped = strcmp(codings[c], "snappy") == 0 && plain.len == 0;
            if (rc == 0 && !skipped)
                assert_true(slice_eq(buf_view(&plain), slice_of(text, sizeof text)));
            buf_clear(&plain);
        }
        buf_clear(&packed);
    }
}

static void bombs_stop_at_the_limit(void **state)
{
    (void)state;
    const size_t bomb = (size_t)8 << 20;
    uint8_t *zeros = calloc(1, bomb);
    for (size_t c = 0; c < CODINGS; c++) {
        static const size_t limits[] = {0, 1, 1000, 65536, ((size_t)8 << 20) - 1};
        struct buf packed;
        buf_init(&packed, 2 << 20);
        if (strcmp(codings[c], "gzip") == 0)
            assert_int_equal(net_gzip(slice_of(zeros, bomb), &packed, NULL), 0);
        else if (strcmp(codings[c], "snappy") == 0)
            snappy_pack(slice_of(zeros, bomb), &packed);
        else {
            packed.max = bomb * 2;
            pack(codings[c], slice_of(zeros, bomb), &packed);
        }
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
            struct buf plain;
            struct err err = {0};
            buf_init(&plain, limits[i]);
            assert_int_equal(
                net_content_decode(slice_cstr(codings[c]), buf_view(&packed), &plain, &err),
                ERR_LIMIT);
            assert_true(plain.cap <= limits[i]);
            assert_non_null(strstr(err.msg, "bytes after decompression"));
            buf_clear(&plain);
        }
        buf_clear(&packed);
    }
    free(zeros);
}

static void members_may_follow_but_garbage_may_not(void **state)
{
    (void)state;
    static const struct {
        const char *coding;
        bool joins;
    } cases[] = {{"gzip", true}, {"zlib", false}, {"deflate", false},
                 {"zstd", true}, {"lz4", true},   {"snappy", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf packed;
        struct buf plain;
        struct slice coding = slice_cstr(cases[i].coding);
        buf_init(&packed, 1 << 20);
        buf_init(&plain, 1000);
        pack(cases[i].coding, SLICE("hello "), &packed);
        size_t one = packed.len;
        pack(cases[i].coding, SLICE("world"), &packed);
        assert_int_equal(net_content_decode(coding, buf_view(&packed), &plain, NULL),
                         cases[i].joins ? 0 : ERR_CORRUPT);
        if (cases[i].joins)
            assert_true(slice_eq(buf_view(&plain), SLICE("hello world")));
        for (size_t garbage = 1; garbage < 20; garbage++) {
            packed.len = one;
            for (size_t k = 0; k < garbage; k++)
                buf_u8(&packed, (uint8_t)('A' + k));
            buf_reset(&plain);
            assert_int_equal(net_content_decode(coding, buf_view(&packed), &plain, NULL),
                             ERR_CORRUPT);
        }
        buf_clear(&plain);
        buf_clear(&packed);
    }
}

static void errors_say_it_in_known_words(void **state)
{
    (void)state;
    static const struct {
        const char *coding;
        const char *body;
        int rc;
        const char *text;
    } cases[] = {
        {"br", "x", ERR_UNSUPPORTED, "unsupported Content-Encoding: br"},
        {"identity", "x", ERR_UNSUPPORTED, "unsupported Content-Encoding: identity"},
        {"a\nb", "x", ERR_UNSUPPORTED, "unsupported Content-Encoding: a\\nb"},
        {"gzip", "not gzip", ERR_CORRUPT, "gzip: invalid header"},
        {"gzip", "n", ERR_CORRUPT, "gzip: invalid header"},
        {"gzip", "\x1f\x8b", ERR_CORRUPT, "gzip: unexpected EOF"},
        {"gzip", "", ERR_CORRUPT, "gzip: unexpected EOF"},
        {"zlib", "not zlib", ERR_CORRUPT, "zlib: invalid header"},
        {"deflate", "not zlib", ERR_CORRUPT, "deflate: invalid header"},
        {"snappy", "not snappy", ERR_CORRUPT, "snappy: invalid header"},
        {"snappy", "", ERR_CORRUPT, "snappy: unexpected EOF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out;
        struct err err = {0};
        buf_init(&out, 1000);
        assert_int_equal(
            net_content_decode(slice_cstr(cases[i].coding), slice_cstr(cases[i].body), &out, &err),
            cases[i].rc);
        assert_string_equal(err.msg, cases[i].text);
        buf_clear(&out);
    }
}

static void snappy_chunks_are_checked(void **state)
{
    (void)state;
    static uint8_t big[65537];
    static const struct slice text = SLICE("chunk");
    struct {
        uint8_t type;
        uint32_t crc;
        struct slice data;
        const char *why;
    } cases[] = {
        {1, 1, text, "snappy: invalid checksum (chunk at byte 10)"},
        {1,
         snappy_frame_crc(slice_of(big, sizeof big)),
         {big, sizeof big},
         "snappy: more than 65536 bytes in a chunk (chunk at byte 10)"},
        {0,
         1,
         {(const uint8_t *)"\xff\xff\xff\xff\x0f", 5},
         "snappy: more than 65536 bytes in a chunk (chunk at byte 10)"},
        {0, 1, {NULL, 0}, "snappy: corrupt input (chunk at byte 10)"},
        {2, 1, text, "snappy: unknown chunk (chunk at byte 10)"},
        {0x7f, 1, text, "snappy: unknown chunk (chunk at byte 10)"},
        {0xff, 1, text, "snappy: invalid header (chunk at byte 10)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf in;
        struct buf out;
        struct err err = {0};
        buf_init(&in, 1 << 20);
        buf_init(&out, 1 << 20);
        buf_append(&in, "\xff\x06\0\0sNaPpY", 10);
        snappy_chunk(&in, cases[i].type, cases[i].crc, cases[i].data);
        assert_int_equal(snappy_frame_decode(buf_view(&in), &out, &err), ERR_CORRUPT);
        assert_string_equal(err.msg, cases[i].why);
        buf_clear(&in);
        buf_clear(&out);
    }
    /* RFC 3720's test: 32 zero bytes, unmasked 0x8a9136aa. */
    uint32_t crc = snappy_frame_crc(slice_of(big, 32)) - 0xa282ead8;
    assert_int_equal((crc << 15 | crc >> 17), 0x8a9136aa);
}

static void gzip_keeps_to_the_buffers_maximum(void **state)
{
    (void)state;
    static uint8_t noise[10000];
    struct buf out;
    struct err err = {0};
    fill(noise, sizeof noise, true);
    buf_init(&out, 5000);
    buf_str(&out, "keep");
    assert_int_equal(net_gzip(slice_of(noise, sizeof noise), &out, &err), ERR_LIMIT);
    assert_true(slice_eq(buf_view(&out), SLICE("keep")));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coding_round_trips),
        cmocka_unit_test(no_coding_is_a_copy),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(flipped_bits_never_pass_for_the_original),
        cmocka_unit_test(bombs_stop_at_the_limit),
        cmocka_unit_test(members_may_follow_but_garbage_may_not),
        cmocka_unit_test(errors_say_it_in_known_words),
        cmocka_unit_test(snappy_chunks_are_checked),
        cmocka_unit_test(gzip_keeps_to_the_buffers_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
