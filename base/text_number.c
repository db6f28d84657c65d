/* Text forms of numbers, durations and times, in Go's spelling, because that is what the clients of
 * the API and the writers of configuration files use. strtod and printf are called in the "C"
 * locale: no program of ours calls setlocale. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define SECOND ((int64_t)NS_PER_S)

/* ---- integers and floats ---- */

bool parse_u64(struct slice in, uint64_t *out)
{
    uint64_t v = 0;
    if (in.len == 0)
        return false;
    for (size_t i = 0; i < in.len; i++) {
        unsigned digit = (unsigned)in.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool parse_i64(struct slice in, int64_t *out)
{
    bool negative = in.len && in.ptr[0] == '-';
    if (in.len && (in.ptr[0] == '-' || in.ptr[0] == '+'))
        in = slice_from(in, 1);
    uint64_t v;
    if (!parse_u64(in, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool parse_f64(struct slice in, double *out)
{
    /* The longest exact decimal of a double has 1075 digits; what is longer is refused. */
    char text[1100];
    if (in.len == 0 || in.len >= sizeof text || in.ptr[0] <= ' ')
        return false;
    memcpy(text, in.ptr, in.len);
    text[in.len] = 0;
    char *end;
    double v = strtod(text, &end);
    if (end != text + in.len)
        return false;
    *out = v;
    return true;
}

/* Shortest digits of a finite v > 0 that read back, without trailing zeros, and the exponent of the
 * first one. */
static int shortest_digits(double v, char digits[20], int *exponent)
{
    char text[40];
    /* Any decimal of 15 digits survives the way through a normal double, so the search starts
     * there and trailing zeros are dropped; subnormals have fewer digits to give. */
    for (int precision = v < DBL_MIN ? 0 : 14; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (precision == 16 || strtod(text, NULL) == v)
            break;
    }
    int n = 0;
    const char *p = text;
    for (; *p && *p != 'e'; p++) {
        if (*p != '.')
            digits[n++] = *p;
    }
    *exponent = (int)strtol(p + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static void format_exponent(const char *digits, int n, int exponent, char *out)
{
    *out++ = digits[0];
    if (n > 1) {
        *out++ = '.';
        memcpy(out, digits + 1, (size_t)n - 1);
        out += n - 1;
    }
    snprintf(out, 8, "e%+d", exponent);
}

static void format_plain(const char *digits, int n, int exponent, char *out)
{
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = -1; i > exponent; i--)
            *out++ = '0';
    }
    int point = exponent < 0 ? -1 : exponent + 1; /* a point stands before this digit */
    int last = n > point ? n : point;
    for (int i = 0; i < last; i++) {
        if (i == point)
            *out++ = '.';
        *out++ = i < n ? digits[i] : '0';
    }
    *out = 0;
}

void format_f64_json(double v, char out[40])
{
    if (isnan(v)) {
        memcpy(out, "NaN", sizeof "NaN");
        return;
    }
    if (signbit(v))
        *out++ = '-';
    v = fabs(v);
    if (isinf(v)) {
        memcpy(out, "Infinity", sizeof "Infinity");
        return;
    }
    if (v < 1e15 && v == (double)(uint64_t)v) {
        snprintf(out, 24, "%llu", (unsigned long long)v);
        return;
    }
    char digits[20] = {0};
    int exponent;
    int n = shortest_digits(v, digits, &exponent);
    if (v < 1e-6 || v >= 1e21)
        format_exponent(digits, n, exponent, out);
    else
        format_plain(digits, n, exponent, out);
}

/* ---- durations ---- */

static const struct {
    const char *name;
    uint64_t ns;
} duration_units[] = {
    {"ns", 1},           {"us", 1000},    {"\xc2\xb5s", 1000}, /* U+00B5, micro sign */
    {"\xce\xbcs", 1000},                                       /* U+03BC, Greek mu */
    {"ms", NS_PER_MS},   {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

static size_t count_digits(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        n++;
    return n;
}

/* A fraction ".ddd" of a unit, cut to whole nanoseconds. Digits past the 18th cannot matter. */
static uint64_t fraction_of_unit(struct slice digits, uint64_t unit)
{
    uint64_t value = 0, scale = 1;
    for (size_t i = 0; i < digits.len && i < 18; i++) {
        value = value * 10 + (uint64_t)(digits.ptr[i] - '0');
        scale *= 10;
    }
    return (uint64_t)((unsigned __int128)value * unit / scale);
}

/* One "1.5h" from the front of *in, added to *total. */
static bool parse_duration_part(struct slice *in, uint64_t *total)
{
    struct slice s = *in;
    uint64_t whole = 0;
    struct slice fraction = {0};
    size_t n = count_digits(s);
    if (n && !parse_u64(slice_of(s.ptr, n), &whole))
        return false;
    bool any = n > 0;
    s = slice_from(s, n);
    if (s.len && s.ptr[0] == '.') {
        s = slice_from(s, 1);
        fraction = slice_of(s.ptr, count_digits(s));
        any = any || fraction.len;
        s = slice_from(s, fraction.len);
    }
    size_t unit_len = 0;
    while (unit_len < s.len && s.ptr[unit_len] != '.' &&
           (s.ptr[unit_len] < '0' || s.ptr[unit_len] > '9'))
        unit_len++;
    for (size_t i = 0; any && i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (!slice_eq(slice_of(s.ptr, unit_len), slice_cstr(duration_units[i].name)))
            continue;
        uint64_t ns;
        if (__builtin_mul_overflow(whole, duration_units[i].ns, &ns) ||
            __builtin_add_overflow(ns, fraction_of_unit(fraction, duration_units[i].ns), &ns) ||
            __builtin_add_overflow(*total, ns, total))
            return false;
        *in = slice_from(s, unit_len);
        return true;
    }
    return false;
}

bool parse_duration(struct slice in, int64_t *ns)
{
    bool negative = in.len && in.ptr[0] == '-';
    if (in.len && (in.ptr[0] == '-' || in.ptr[0] == '+'))
        in = slice_from(in, 1);
    if (slice_eq(in, SLICE("0"))) {
        *ns = 0;
        return true;
    }
    if (in.len == 0)
        return false;
    uint64_t total = 0;
    while (in.len) {
        if (!parse_duration_part(&in, &total) || total > (uint64_t)INT64_MAX + negative)
            return false;
    }
    *ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return true;
}

/* Prometheus' durations: "1w", "1d12h", "90s", units from large to small. */
bool parse_prometheus_duration(struct slice in, int64_t *ns)
{
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"y", INT64_C(31536000) * SECOND},
                 {"w", INT64_C(604800) * SECOND},
                 {"d", INT64_C(86400) * SECOND},
                 {"h", INT64_C(3600) * SECOND},
                 {"ms", 1000000},
                 {"m", INT64_C(60) * SECOND},
                 {"s", SECOND}};
    size_t n = sizeof units / sizeof units[0];
    int64_t total = 0;
    bool any = false;
    while (in.len) {
        size_t digits = 0, k = 0;
        uint64_t v;
        while (digits < in.len && in.ptr[digits] >= '0' && in.ptr[digits] <= '9')
            digits++;
        if (digits == 0 || !parse_u64(slice_of(in.ptr, digits), &v))
            return false;
        in = slice_from(in, digits);
        while (k < n && !slice_starts(in, slice_cstr(units[k].unit)))
            k++;
        int64_t part;
        if (k == n || v > INT64_MAX || __builtin_mul_overflow((int64_t)v, units[k].ns, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
        in = slice_from(in, slice_cstr(units[k].unit).len);
        any = true;
    }
    *ns = total;
    return any && total > 0;
}

/* "value" units and a fraction of `digits` decimal digits, trailing zeros dropped. */
static void format_fraction(uint64_t whole, uint64_t fraction, int digits, const char *unit,
                            char *out, size_t out_size)
{
    while (digits && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    if (digits)
        snprintf(out, out_size, "%llu.%0*llu%s", (unsigned long long)whole, digits,
                 (unsigned long long)fraction, unit);
    else
        snprintf(out, out_size, "%llu%s", (unsigned long long)whole, unit);
}

void format_duration(int64_t ns, char out[40])
{
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    char *end = out + 40;
    if (ns < 0)
        *out++ = '-';
    if (v == 0)
        memcpy(out, "0s", sizeof "0s");
    else if (v < 1000)
        format_fraction(v, 0, 0, "ns", out, (size_t)(end - out));
    else if (v < NS_PER_MS)
        format_fraction(v / 1000, v % 1000, 3, "µs", out, (size_t)(end - out));
    else if (v < NS_PER_S)
        format_fraction(v / NS_PER_MS, v % NS_PER_MS, 6, "ms", out, (size_t)(end - out));
    else {
        uint64_t s = v / NS_PER_S;
        if (s >= 3600)
            out += snprintf(out, (size_t)(end - out), "%lluh", (unsigned long long)(s / 3600));
        if (s >= 60)
            out += snprintf(out, (size_t)(end - out), "%llum", (unsigned long long)(s / 60 % 60));
        format_fraction(s % 60, v % NS_PER_S, 9, "s", out, (size_t)(end - out));
    }
}

/* ---- times ---- */

void time_format_rfc3339(uint64_t unix_ns, char out[36])
{
    time_t seconds = (time_t)(unix_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, 36, "%Y-%m-%dT%H:%M:%S", &tm);
    unsigned fraction_ns = (unsigned)(unix_ns % NS_PER_S);
    if (fraction_ns) {
        n += (size_t)snprintf(out + n, 36 - n, ".%09u", fraction_ns);
        while (out[n - 1] == '0')
            n--;
    }
    out[n] = 'Z';
    out[n + 1] = 0;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from 1 March, so that
 * the leap day is the last one. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* n digits from the front of *s, then the byte `after` (0: none), with the value in [min, max]. */
static bool take_number(struct slice *s, size_t n, char after, int64_t min, int64_t max,
                        int64_t *out)
{
    uint64_t v;
    size_t need = n + (after != 0);
    if (s->len < need || !parse_u64(slice_of(s->ptr, n), &v))
        return false;
    if ((after && s->ptr[n] != (uint8_t)after) || (int64_t)v < min || (int64_t)v > max)
        return false;
    *out = (int64_t)v;
    *s = slice_from(*s, need);
    return true;
}

static bool take_zone(struct slice *s, int64_t *offset_s)
{
    *offset_s = 0;
    if (s->len == 0)
        return false;
    uint8_t sign = s->ptr[0];
    *s = slice_from(*s, 1);
    if (sign == 'Z' || sign == 'z')
        return true;
    int64_t hours, minutes;
    if ((sign != '+' && sign != '-') || !take_number(s, 2, ':', 0, 23, &hours) ||
        !take_number(s, 2, 0, 0, 59, &minutes))
        return false;
    *offset_s = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
    return true;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    if (month == 2)
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

bool time_parse_rfc3339(struct slice in, uint64_t *unix_ns)
{
    int64_t year, month, day, hour, minute, second, offset_s;
    uint64_t fraction_ns = 0;
    if (!take_number(&in, 4, '-', 0, 9999, &year) || !take_number(&in, 2, '-', 1, 12, &month) ||
        !take_number(&in, 2, 0, 1, days_in_month(year, month), &day))
        return false;
    if (in.len == 0 || (in.ptr[0] != 'T' && in.ptr[0] != 't'))
        return false;
    in = slice_from(in, 1);
    if (!take_number(&in, 2, ':', 0, 23, &hour) || !take_number(&in, 2, ':', 0, 59, &minute) ||
        !take_number(&in, 2, 0, 0, 59, &second))
        return false;
    if (in.len && in.ptr[0] == '.') {
        in = slice_from(in, 1);
        struct slice digits = slice_of(in.ptr, count_digits(in));
        if (digits.len == 0)
            return false;
        fraction_ns = fraction_of_unit(digits, NS_PER_S);
        in = slice_from(in, digits.len);
    }
    if (!take_zone(&in, &offset_s) || in.len)
        return false;
    int64_t seconds =
        days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    if (seconds < 0) {
        *unix_ns = 0;
        return true;
    }
    uint64_t ns;
    if (__builtin_mul_overflow((uint64_t)seconds, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, fraction_ns, &ns))
        return false;
    *unix_ns = ns;
    return true;
}

bool parse_timestamp(struct slice in, int64_t *ns)
{
    double seconds;
    uint64_t t;
    if (slice_find(in, '.') < in.len && parse_f64(in, &seconds)) {
        if (!(seconds >= 0 && seconds < 9e9))
            return false;
        double whole = floor(seconds);
        *ns = (int64_t)whole * SECOND + (int64_t)round((seconds - whole) * 1000) * 1000000;
        return true;
    }
    if (parse_u64(in, &t)) {
        if (in.len <= 10 ? t > INT64_MAX / SECOND : t > INT64_MAX)
            return false;
        *ns = in.len <= 10 ? (int64_t)t * SECOND : (int64_t)t;
        return true;
    }
    if (!time_parse_rfc3339(in, &t) || t > INT64_MAX)
        return false;
    *ns = (int64_t)t;
    return true;
}
