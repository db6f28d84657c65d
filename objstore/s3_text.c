/* URI encoding, dates, ETags and ranges, as S3 writes them. */
#include "objstore/s3_text.h"

#include <stdio.h>
#include <time.h>

#include "base/text.h"

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

int s3_uri_encode(struct buf *b, struct slice s, bool keep_slash)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        uint8_t escaped[] = {'%', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15]};
        bool plain = is_unreserved(c) || (keep_slash && c == '/');
        int rc = plain ? buf_u8(b, c) : buf_append(b, escaped, sizeof escaped);
        if (rc < 0)
            return rc;
    }
    return 0;
}

size_t s3_uri_decode(uint8_t *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = s[i] == '+' ? ' ' : s[i];
        if (c == '%' && len - i > 2 && hex_decode(slice_of(s + i + 1, 2), &c))
            i += 2;
        s[n++] = c;
    }
    return n;
}

void s3_time_amz(uint64_t unix_s, char out[17])
{
    struct tm tm;
    time_t t = (time_t)unix_s;
    if (!gmtime_r(&t, &tm) || strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm) != 16)
        memcpy(out, "19700101T000000Z", 17); /* a year of five digits */
}

static bool digits(const char *p, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        *out = *out * 10 + (p[i] - '0');
    }
    return true;
}

bool s3_time_parse_http(struct slice s, uint64_t *unix_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *p = (const char *)s.ptr;
    if (s.len != 29 || memcmp(p + 3, ", ", 2) != 0 || memcmp(p + 25, " GMT", 4) != 0 ||
        p[7] != ' ' || p[11] != ' ' || p[16] != ' ' || p[19] != ':' || p[22] != ':')
        return false;
    struct tm tm = {0};
    int year;
    if (!digits(p + 5, 2, &tm.tm_mday) || !digits(p + 12, 4, &year) ||
        !digits(p + 17, 2, &tm.tm_hour) || !digits(p + 20, 2, &tm.tm_min) ||
        !digits(p + 23, 2, &tm.tm_sec))
        return false;
    while (tm.tm_mon < 12 && memcmp(months + 3 * tm.tm_mon, p + 8, 3) != 0)
        tm.tm_mon++;
    if (tm.tm_mon == 12 || year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year = year - 1900;
    *unix_s = (uint64_t)timegm(&tm);
    return true;
}

void s3_etag_copy(struct slice header, char *out, size_t out_size)
{
    if (slice_starts(header, SLICE("W/")))
        header = slice_from(header, 2);
    if (header.len >= 2 && header.ptr[0] == '"' && header.ptr[header.len - 1] == '"')
        header = slice_of(header.ptr + 1, header.len - 2);
    size_t n = header.len < out_size ? header.len : 0;
    if (n)
        memcpy(out, header.ptr, n);
    out[n] = 0;
}

bool s3_content_range_parse(struct slice s, uint64_t *from, uint64_t *to, uint64_t *total,
                            bool *no_range)
{
    if (!slice_starts(s, SLICE("bytes ")))
        return false;
    s = slice_from(s, 6);
    size_t slash = slice_find(s, '/');
    struct slice span = slice_of(s.ptr, slash);
    if (slash == s.len || !parse_u64(slice_from(s, slash + 1), total))
        return false;
    *from = *to = 0;
    *no_range = slice_eq(span, SLICE("*"));
    if (*no_range)
        return true;
    size_t dash = slice_find(span, '-');
    uint64_t last;
    if (dash == span.len || !parse_u64(slice_of(span.ptr, dash), from) ||
        !parse_u64(slice_from(span, dash + 1), &last) || last < *from || last >= *total)
        return false;
    *to = last + 1;
    return true;
}
