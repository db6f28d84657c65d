/* Text forms of bytes: hex, base64, UUIDs, UTF-8, JSON strings, and escaping for logs.
 *
 * Numbers, durations and times are in text_number.c. The JSON writer is on the path of every
 * answer, so it looks at eight bytes at once and copies runs. */
#include "base/text.h"

#include "base/cursor.h"

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void hex_encode(struct slice in, char *out)
{
    for (size_t i = 0; i < in.len; i++) {
        *out++ = hex_digits[in.ptr[i] >> 4];
        *out++ = hex_digits[in.ptr[i] & 15];
    }
}

bool hex_decode(struct slice in, uint8_t *out)
{
    if (in.len % 2)
        return false;
    for (size_t i = 0; i < in.len; i += 2) {
        int high = hex_value(in.ptr[i]), low = hex_value(in.ptr[i + 1]);
        if (high < 0 || low < 0)
            return false;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return true;
}

int buf_hex(struct buf *b, struct slice in)
{
    if (in.len > SIZE_MAX / 2)
        return ERR_LIMIT;
    int rc = buf_reserve(b, in.len * 2);
    if (rc < 0)
        return rc;
    if (in.len) {
        hex_encode(in, (char *)b->ptr + b->len);
        b->len += in.len * 2;
    }
    return 0;
}

int buf_base64(struct buf *b, struct slice in)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (in.len / 3 >= SIZE_MAX / 4)
        return ERR_LIMIT;
    int rc = buf_reserve(b, (in.len + 2) / 3 * 4);
    if (rc < 0 || in.len == 0)
        return rc;
    uint8_t *out = b->ptr + b->len;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t v = (uint32_t)in.ptr[i] << 16;
        v |= left > 1 ? (uint32_t)in.ptr[i + 1] << 8 : 0;
        v |= left > 2 ? (uint32_t)in.ptr[i + 2] : 0;
        *out++ = (uint8_t)alphabet[v >> 18];
        *out++ = (uint8_t)alphabet[v >> 12 & 63];
        *out++ = left > 1 ? (uint8_t)alphabet[v >> 6 & 63] : '=';
        *out++ = left > 2 ? (uint8_t)alphabet[v & 63] : '=';
    }
    b->len = (size_t)(out - b->ptr);
    return 0;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

bool buf_base64_decode(struct buf *b, struct slice in)
{
    size_t digits = in.len;
    while (digits && in.len - digits < 2 && in.ptr[digits - 1] == '=')
        digits--;
    /* Padding may be left out, but what is there must complete the last group of four. */
    if (digits % 4 == 1 || (digits != in.len && in.len % 4 != 0))
        return false;
    if (buf_reserve(b, digits / 4 * 3 + 2) < 0)
        return false;
    uint8_t *out = b->ptr + b->len;
    uint32_t bits = 0;
    for (size_t i = 0; i < digits; i++) {
        int v = base64_value(in.ptr[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 == 3) {
            *out++ = (uint8_t)(bits >> 16);
            *out++ = (uint8_t)(bits >> 8);
            *out++ = (uint8_t)bits;
        }
    }
    if (digits % 4 == 2)
        *out++ = (uint8_t)(bits >> 4);
    if (digits % 4 == 3) {
        *out++ = (uint8_t)(bits >> 10);
        *out++ = (uint8_t)(bits >> 2);
    }
    b->len = (size_t)(out - b->ptr);
    return true;
}

static bool uuid_dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const uint8_t id[16], char out[37])
{
    for (size_t i = 0; i < 16; i++) {
        if (uuid_dash_before(i))
            *out++ = '-';
        hex_encode(slice_of(id + i, 1), out);
        out += 2;
    }
    *out = 0;
}

bool uuid_parse(struct slice in, uint8_t id[16])
{
    if (in.len != 36)
        return false;
    uint8_t bytes[16];
    const uint8_t *p = in.ptr;
    for (size_t i = 0; i < 16; i++) {
        if (uuid_dash_before(i) && *p++ != '-')
            return false;
        if (!hex_decode(slice_of(p, 2), bytes + i))
            return false;
        p += 2;
    }
    memcpy(id, bytes, sizeof bytes);
    return true;
}

/* ---- UTF-8 ---- */

/* Bytes of the valid sequence at p, or 0. Over-long forms, surrogates and what lies past U+10FFFF
 * are not valid. */
static size_t utf8_sequence(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < n)
        return 0;
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

#define EACH_BYTE(v) (UINT64_C(0x0101010101010101) * (v))

size_t utf8_prefix(struct slice s, size_t max)
{
    const uint8_t *p = s.ptr, *end = slice_end(s);
    const uint8_t *stop = s.len > max ? s.ptr + max : end;
    while (p != stop) {
        while ((size_t)(stop - p) >= 8 && !(load_u64le(p) & EACH_BYTE(0x80)))
            p += 8;
        if (p == stop)
            break;
        size_t n = utf8_sequence(p, end);
        if (n == 0 || n > (size_t)(stop - p))
            break;
        p += n;
    }
    return (size_t)(p - s.ptr);
}

bool utf8_valid(struct slice s)
{
    return utf8_prefix(s, s.len) == s.len;
}

/* ---- JSON ---- */

/* High bit set in each byte of v that is zero; exact for the lowest one, which is all we ask. */
static inline uint64_t zero_bytes(uint64_t v)
{
    return (v - EACH_BYTE(1)) & ~v & EACH_BYTE(0x80);
}

/* Whether one of eight bytes is a control, '"', '\\', '<', '>', '&' or not ASCII. '<' and '>'
 * differ in one bit, so one comparison serves both. */
static inline bool json_needs_care(uint64_t v)
{
    uint64_t control = (v - EACH_BYTE(0x20)) & ~v & EACH_BYTE(0x80);
    return ((v & EACH_BYTE(0x80)) | control | zero_bytes(v ^ EACH_BYTE('"')) |
            zero_bytes(v ^ EACH_BYTE('\\')) | zero_bytes((v | EACH_BYTE(2)) ^ EACH_BYTE('>')) |
            zero_bytes(v ^ EACH_BYTE('&'))) != 0;
}

static inline bool json_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

/* The escape for a byte below 0x80, written to out; its length. */
static size_t json_escape(uint8_t c, char out[6])
{
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i < sizeof letters - 1; i += 2) {
        if (c == (uint8_t)letters[i]) {
            out[0] = '\\';
            out[1] = letters[i + 1];
            return 2;
        }
    }
    memcpy(out, "\\u00", 4);
    out[4] = hex_digits[c >> 4];
    out[5] = hex_digits[c & 15];
    return 6;
}

static bool is_line_separator(const uint8_t *p, size_t n)
{
    return n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8;
}

int buf_json_string(struct buf *b, struct slice s)
{
    const uint8_t *p = s.ptr, *end = slice_end(s);
    size_t len_before = b->len;
    int rc = s.len < SIZE_MAX - 2 ? buf_reserve(b, s.len + 2) : ERR_LIMIT;
    if (rc < 0)
        return rc;
    rc = buf_u8(b, '"');
    while (rc == 0 && p != end) {
        const uint8_t *run = p;
        char escape[6];
        size_t escape_len = 0;
        size_t skip = 1;
        while (p != end) {
            while ((size_t)(end - p) >= 8 && !json_needs_care(load_u64le(p)))
                p += 8;
            while (p != end && json_plain(*p))
                p++;
            if (p == end)
                break;
            if (*p < 0x80) {
                escape_len = json_escape(*p, escape);
                break;
            }
            skip = utf8_sequence(p, end);
            if (skip == 0 || is_line_separator(p, skip)) {
                memcpy(escape, skip == 0 ? "\\ufffd" : p[2] & 1 ? "\\u2029" : "\\u2028", 6);
                escape_len = 6;
                skip = skip ? skip : 1;
                break;
            }
            p += skip;
            skip = 1;
        }
        rc = buf_append(b, run, (size_t)(p - run));
        if (rc == 0 && escape_len) {
            rc = buf_append(b, escape, escape_len);
            p += skip;
        }
    }
    if (rc == 0)
        rc = buf_u8(b, '"');
    if (rc < 0)
        b->len = len_before;
    return rc;
}

/* ---- logs ---- */

/* The escaped form of what stands at p (one byte or one UTF-8 sequence); *used source bytes. */
static size_t escape_one(const uint8_t *p, const uint8_t *end, char out[4], size_t *used)
{
    size_t n = utf8_sequence(p, end);
    bool c1_control = n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
    *used = 1;
    if (n > 1 && !c1_control) {
        memcpy(out, p, n);
        *used = n;
        return n;
    }
    uint8_t c = *p;
    if (n == 1 && c >= 0x20 && c != 0x7f && c != '"' && c != '\\') {
        out[0] = (char)c;
        return 1;
    }
    out[0] = '\\';
    out[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : (char)c;
    if (c == '\n' || c == '\r' || c == '\t' || c == '"' || c == '\\')
        return 2;
    out[1] = 'x';
    out[2] = hex_digits[c >> 4];
    out[3] = hex_digits[c & 15];
    return 4;
}

char *text_escape(struct slice s, size_t max, char *out, size_t out_size)
{
    static const char ellipsis[] = "…";
    const size_t mark = sizeof ellipsis - 1;
    if (out_size == 0)
        return out;
    size_t at = 0;
    size_t fits = 0; /* the longest length that leaves room for the ellipsis */
    const uint8_t *p = s.ptr, *end = slice_end(s);
    const uint8_t *stop = s.len > max ? s.ptr + max : end;
    while (p != stop) {
        char one[4];
        size_t used;
        size_t n = escape_one(p, end, one, &used);
        if (used > (size_t)(stop - p) || at + n + 1 > out_size)
            break;
        memcpy(out + at, one, n);
        at += n;
        p += used;
        if (at + mark + 1 <= out_size)
            fits = at;
    }
    if (p != end) {
        at = fits;
        if (at + mark + 1 <= out_size) {
            memcpy(out + at, ellipsis, mark);
            at += mark;
        }
    }
    out[at] = 0;
    return out;
}
