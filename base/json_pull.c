/* The pull parser: tokens, strings with escapes, and protobuf's forms of scalars.
 *
 * A library's tree would cost an allocation per node of a text that is read once, from front to
 * back, and whose size a stranger chose. */
#include "base/json_pull.h"

#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/text.h"

int json_fail(struct json_pull *j, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(j->err, ERR_INVALID, "%s at byte %zu", what, (size_t)(j->ptr - j->start));
}

static int fail_expected(struct json_pull *j, const char *expected)
{
    if (j->ptr == j->end)
        return json_fail(j, "unexpected EOF, expected %s", expected);
    char found[16];
    return json_fail(j, "expected %s, found '%s'", expected,
                     text_escape(slice_of(j->ptr, 1), 1, found, sizeof found));
}

static void skip_space(struct json_pull *j)
{
    while (j->ptr != j->end &&
           (*j->ptr == ' ' || *j->ptr == '\n' || *j->ptr == '\t' || *j->ptr == '\r'))
        j->ptr++;
}

static bool take(struct json_pull *j, uint8_t c)
{
    skip_space(j);
    if (j->ptr == j->end || *j->ptr != c)
        return false;
    j->ptr++;
    return true;
}

static int take_word(struct json_pull *j, struct slice word)
{
    if (!slice_starts(slice_of(j->ptr, (size_t)(j->end - j->ptr)), word))
        return json_fail(j, "expected %s", (const char *)word.ptr);
    j->ptr += word.len;
    return 0;
}

int json_peek(struct json_pull *j, enum json_type *type)
{
    skip_space(j);
    if (j->ptr == j->end)
        return fail_expected(j, "a value");
    switch (*j->ptr) {
    case '{':
        *type = JSON_OBJECT;
        return 0;
    case '[':
        *type = JSON_ARRAY;
        return 0;
    case '"':
        *type = JSON_STRING;
        return 0;
    case 't':
    case 'f':
        *type = JSON_BOOL;
        return 0;
    case 'n':
        *type = JSON_NULL;
        return 0;
    default:
        if (*j->ptr != '-' && (*j->ptr < '0' || *j->ptr > '9'))
            return fail_expected(j, "a value");
        *type = JSON_NUMBER;
        return 0;
    }
}

int json_null(struct json_pull *j)
{
    skip_space(j);
    return take_word(j, SLICE("null"));
}

/* Peeks; for null, takes it and says so with 1. */
static int peek_unless_null(struct json_pull *j, enum json_type *type)
{
    int rc = json_peek(j, type);
    if (rc < 0 || *type != JSON_NULL)
        return rc;
    rc = json_null(j);
    return rc < 0 ? rc : 1;
}

/* ---- strings ---- */

/* The text between the quotes as it stands, and whether it has escapes. */
static int string_raw(struct json_pull *j, struct slice *raw, bool *escapes)
{
    if (!take(j, '"'))
        return fail_expected(j, "a string");
    const uint8_t *p = j->ptr;
    *escapes = false;
    for (; p != j->end && *p != '"'; p++) {
        if (*p < 0x20) {
            j->ptr = p;
            return json_fail(j, "control character 0x%02x in a string", *p);
        }
        if (*p == '\\') {
            *escapes = true;
            if (++p == j->end)
                break;
        }
    }
    if (p == j->end) {
        j->ptr = p;
        return json_fail(j, "unexpected EOF in a string");
    }
    *raw = slice_of(j->ptr, (size_t)(p - j->ptr));
    j->ptr = p + 1;
    return 0;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (uint8_t)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (uint8_t)(0xe0 | c >> 12);
        } else {
            *out++ = (uint8_t)(0xf0 | c >> 18);
            *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (uint8_t)(0x80 | (c & 0x3f));
    return out;
}

/* The four digits of \uXXXX at p. */
static bool hex4(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    uint8_t bytes[2];
    if (end - p < 4 || !hex_decode(slice_of(p, 4), bytes))
        return false;
    *out = (uint32_t)bytes[0] << 8 | bytes[1];
    return true;
}

/* \uXXXX at p, which points behind the u: two of them for a surrogate pair. A half pair becomes
 * U+FFFD, as in Go. NULL: not four hex digits. */
static const uint8_t *unescape_unicode(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    uint32_t c, low = 0;
    if (!hex4(p, end, &c))
        return NULL;
    p += 4;
    if (c >= 0xd800 && c < 0xe000) {
        bool pair = c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
                    hex4(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000;
        if (pair)
            p += 6;
        c = pair ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    }
    *out = c;
    return p;
}

/* Undoes the escapes of raw into out, which holds raw.len bytes: no escape is shorter than what it
 * stands for. Returns the bytes written, or -1. */
static ptrdiff_t unescape(struct slice raw, uint8_t *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t *o = out;
    const uint8_t *end = raw.ptr + raw.len;
    for (const uint8_t *p = raw.ptr; p != end;) {
        if (*p != '\\') {
            *o++ = *p++;
            continue;
        }
        if (++p == end)
            return -1;
        uint8_t c = *p++;
        if (c == 'u') {
            uint32_t unicode;
            p = unescape_unicode(p, end, &unicode);
            if (!p)
                return -1;
            o = put_utf8(o, unicode);
            continue;
        }
        const char *at = memchr(from, c, sizeof from - 1);
        if (!at)
            return -1;
        *o++ = (uint8_t)to[at - from];
    }
    return o - out;
}

static int string_value(struct json_pull *j, struct slice *out)
{
    struct slice raw;
    bool escapes = false;
    int rc = string_raw(j, &raw, &escapes);
    if (rc < 0)
        return rc;
    if (!escapes) {
        *out = raw;
        return 0;
    }
    uint8_t *bytes = arena_alloc(j->arena, raw.len);
    if (!bytes)
        return arena_err(j->arena, j->err, "a JSON string");
    ptrdiff_t n = unescape(raw, bytes);
    if (n < 0)
        return json_fail(j, "bad escape in the string that ends");
    *out = slice_of(bytes, (size_t)n);
    return 0;
}

int json_string(struct json_pull *j, struct slice *out)
{
    enum json_type type;
    int rc = peek_unless_null(j, &type);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return string_value(j, out);
}

/* ---- containers ---- */

/* Opens the container, or steps over the comma: 0 for an item, 1 at the end. */
static int iter_next(struct json_pull *j, struct json_iter *it, uint8_t open, uint8_t close)
{
    if (!it->open) {
        enum json_type type;
        int rc = peek_unless_null(j, &type);
        if (rc != 0)
            return rc;
        if (!take(j, open))
            return fail_expected(j, open == '{' ? "{" : "[");
        if (j->depth >= j->depth_max)
            return err_set(j->err, ERR_LIMIT, "JSON nested more than %u deep at byte %zu",
                           j->depth_max, (size_t)(j->ptr - j->start));
        j->depth++;
        it->open = true;
    }
    if (take(j, close)) {
        j->depth--;
        return 1;
    }
    if (it->filled && !take(j, ','))
        return fail_expected(j, close == '}' ? "',' or '}'" : "',' or ']'");
    it->filled = true;
    return 0;
}

int json_object_next(struct json_pull *j, struct json_iter *it, struct slice *key)
{
    int rc = iter_next(j, it, '{', '}');
    if (rc != 0)
        return rc;
    rc = string_value(j, key);
    if (rc == 0 && !take(j, ':'))
        rc = fail_expected(j, "':'");
    return rc;
}

int json_array_next(struct json_pull *j, struct json_iter *it)
{
    return iter_next(j, it, '[', ']');
}

int json_end(struct json_pull *j)
{
    skip_space(j);
    return j->ptr == j->end ? 0 : fail_expected(j, "the end");
}

/* ---- numbers ---- */

static void skip_digits(struct json_pull *j)
{
    while (j->ptr != j->end && *j->ptr >= '0' && *j->ptr <= '9')
        j->ptr++;
}

static bool at_digit(const struct json_pull *j)
{
    return j->ptr != j->end && *j->ptr >= '0' && *j->ptr <= '9';
}

/* JSON's grammar, so no sign but '-', no leading zero, digits on both sides of the point. */
static int number_text(struct json_pull *j, struct slice *out)
{
    skip_space(j);
    const uint8_t *start = j->ptr;
    if (j->ptr != j->end && *j->ptr == '-')
        j->ptr++;
    if (!at_digit(j))
        return fail_expected(j, "a digit");
    if (*j->ptr == '0')
        j->ptr++;
    else
        skip_digits(j);
    if (j->ptr != j->end && *j->ptr == '.') {
        j->ptr++;
        if (!at_digit(j))
            return fail_expected(j, "a digit");
        skip_digits(j);
    }
    if (j->ptr != j->end && (*j->ptr == 'e' || *j->ptr == 'E')) {
        j->ptr++;
        if (j->ptr != j->end && (*j->ptr == '+' || *j->ptr == '-'))
            j->ptr++;
        if (!at_digit(j))
            return fail_expected(j, "a digit");
        skip_digits(j);
    }
    *out = slice_of(start, (size_t)(j->ptr - start));
    return 0;
}

/* A number's text, bare or in quotes: 0, 1 for null. */
static int number_or_string(struct json_pull *j, struct slice *out)
{
    enum json_type type;
    int rc = peek_unless_null(j, &type);
    if (rc != 0)
        return rc;
    if (type == JSON_STRING)
        return string_value(j, out);
    if (type == JSON_NUMBER)
        return number_text(j, out);
    return fail_expected(j, "a number");
}

static int fail_number(struct json_pull *j, struct slice text, const char *type)
{
    char shown[64];
    return json_fail(j, "\"%s\" is no %s", text_escape(text, 40, shown, sizeof shown), type);
}

int json_i64(struct json_pull *j, int64_t *out)
{
    struct slice text;
    int rc = number_or_string(j, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    /* Whole numbers may also be written as 1e3 or 5.0. */
    double v;
    if (text.len && text.ptr[0] != '+' && parse_i64(text, out))
        return 0;
    if (!parse_f64(text, &v) || v != trunc(v) || fabs(v) >= 0x1p63)
        return fail_number(j, text, "64-bit integer");
    *out = (int64_t)v;
    return 0;
}

int json_u64(struct json_pull *j, uint64_t *out)
{
    struct slice text;
    int rc = number_or_string(j, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    double v;
    if (parse_u64(text, out))
        return 0;
    if (!parse_f64(text, &v) || v != trunc(v) || v < 0 || v >= 0x1p64)
        return fail_number(j, text, "unsigned 64-bit integer");
    *out = (uint64_t)v;
    return 0;
}

int json_i32(struct json_pull *j, int32_t *out)
{
    int64_t v = *out;
    int rc = json_i64(j, &v);
    if (rc < 0)
        return rc;
    if (v < INT32_MIN || v > INT32_MAX)
        return json_fail(j, "%lld is no 32-bit integer", (long long)v);
    *out = (int32_t)v;
    return 0;
}

int json_u32(struct json_pull *j, uint32_t *out)
{
    uint64_t v = *out;
    int rc = json_u64(j, &v);
    if (rc < 0)
        return rc;
    if (v > UINT32_MAX)
        return json_fail(j, "%llu is no unsigned 32-bit integer", (unsigned long long)v);
    *out = (uint32_t)v;
    return 0;
}

int json_f64(struct json_pull *j, double *out)
{
    struct slice text;
    int rc = number_or_string(j, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    double v;
    if (slice_eq(text, SLICE("NaN"))) {
        *out = NAN;
        return 0;
    }
    if (slice_eq(text, SLICE("Infinity")) || slice_eq(text, SLICE("-Infinity"))) {
        *out = text.ptr[0] == '-' ? -INFINITY : INFINITY;
        return 0;
    }
    if (!parse_f64(text, &v) || !isfinite(v))
        return fail_number(j, text, "double");
    *out = v;
    return 0;
}

/* ---- other scalars ---- */

int json_bool(struct json_pull *j, bool *out)
{
    enum json_type type;
    int rc = peek_unless_null(j, &type);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (type != JSON_BOOL)
        return fail_expected(j, "true or false");
    bool v = *j->ptr == 't';
    rc = take_word(j, v ? SLICE("true") : SLICE("false"));
    if (rc == 0)
        *out = v;
    return rc;
}

int json_bytes(struct json_pull *j, struct slice *out)
{
    struct slice text = {0};
    int rc = json_string(j, &text);
    if (rc < 0)
        return rc;
    if (!text.ptr)
        return 0;
    size_t room = text.len / 4 * 3 + 8;
    struct buf bytes = {.ptr = arena_alloc(j->arena, room), .cap = room, .max = room};
    if (!bytes.ptr)
        return arena_err(j->arena, j->err, "a JSON bytes value");
    if (!buf_base64_decode(&bytes, text))
        return json_fail(j, "bad base64 in the string that ends");
    *out = buf_view(&bytes);
    return 0;
}

int json_skip(struct json_pull *j)
{
    enum json_type type;
    struct json_iter it = {0};
    struct slice text;
    bool ignored;
    int rc = json_peek(j, &type);
    if (rc < 0)
        return rc;
    switch (type) {
    case JSON_NULL:
        return json_null(j);
    case JSON_BOOL:
        return json_bool(j, &ignored);
    case JSON_NUMBER:
        return number_text(j, &text);
    case JSON_STRING:
        return string_value(j, &text); /* its escapes are checked as well */
    case JSON_ARRAY:
        while ((rc = json_array_next(j, &it)) == 0 && (rc = json_skip(j)) == 0)
            ;
        return rc < 0 ? rc : 0;
    case JSON_OBJECT:
        while ((rc = json_object_next(j, &it, &text)) == 0 && (rc = json_skip(j)) == 0)
            ;
        return rc < 0 ? rc : 0;
    }
    return 0;
}

bool json_key_is(struct slice key, const char *camel)
{
    size_t i = 0;
    for (; *camel; camel++) {
        if (i < key.len && key.ptr[i] == (uint8_t)*camel) {
            i++;
            continue;
        }
        if (*camel < 'A' || *camel > 'Z' || key.len - i < 2 || key.ptr[i] != '_' ||
            key.ptr[i + 1] != (uint8_t)(*camel + ('a' - 'A')))
            return false;
        i += 2;
    }
    return i == key.len;
}
