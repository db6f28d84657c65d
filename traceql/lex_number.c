/* Numbers as Go's scanner reads them, and durations in Prometheus' and in Go's form. */
#include "traceql/lex_number.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"

struct spelling {
    size_t len;
    char prefix; /* 'x', 'o', 'b', '0' or 0 */
    bool is_float;
    bool has_underscore;
};

static int digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Digits and underscores from *at on; letters count as digits in base 16 alone. Returns how many
 * digits there are, and in *bad the first that the base does not have. */
static size_t scan_digits(struct slice s, size_t *at, unsigned base, bool *underscore, uint8_t *bad)
{
    size_t digits = 0;
    for (; *at < s.len; (*at)++) {
        uint8_t c = s.ptr[*at];
        if (c == '_') {
            *underscore = true;
            continue;
        }
        if (digit_value(c) >= (base == 16 ? 16 : 10))
            break;
        if ((unsigned)digit_value(c) >= base && !*bad)
            *bad = c;
        digits++;
    }
    return digits;
}

/* Every underscore stands between two digits, or between a base's prefix and a digit. */
static bool underscores_fit(struct slice s, char prefix)
{
    bool digit = false; /* something that an underscore may follow */
    for (size_t i = prefix && prefix != '0' ? 2 : 0; i < s.len; i++) {
        bool start = prefix && prefix != '0' && i == 2;
        if (s.ptr[i] == '_') {
            bool next = i + 1 < s.len && digit_value(s.ptr[i + 1]) < 16;
            if (!(digit || start) || !next)
                return false;
            digit = false;
        } else {
            digit = digit_value(s.ptr[i]) < 16;
        }
    }
    return true;
}

static const char *base_name(char prefix)
{
    return prefix == 'x' ? "hexadecimal" : prefix == 'b' ? "binary" : prefix ? "octal" : "decimal";
}

static bool scan_exponent(struct slice s, struct spelling *sp, char *what, size_t size)
{
    uint8_t e = sp->len < s.len ? s.ptr[sp->len] | 0x20 : 0;
    if (e != 'e' && e != 'p') {
        if (sp->prefix == 'x' && sp->is_float) {
            snprintf(what, size, "hexadecimal mantissa requires a 'p' exponent");
            return false;
        }
        return true;
    }
    bool hex = sp->prefix == 'x';
    if (e == 'e' ? (sp->prefix && sp->prefix != '0') : !hex) {
        snprintf(what, size, "'%c' exponent requires %s mantissa", s.ptr[sp->len],
                 e == 'e' ? "decimal" : "hexadecimal");
        return false;
    }
    sp->len++;
    if (sp->len < s.len && (s.ptr[sp->len] == '+' || s.ptr[sp->len] == '-'))
        sp->len++;
    uint8_t bad = 0;
    sp->is_float = true;
    if (scan_digits(s, &sp->len, 10, &sp->has_underscore, &bad) == 0) {
        snprintf(what, size, "exponent has no digits");
        return false;
    }
    return true;
}

/* How far the number goes, by Go's rules. */
static bool scan_spelling(struct slice s, struct spelling *sp, char *what, size_t size)
{
    unsigned base = 10;
    size_t digits = 0;
    uint8_t bad = 0;
    if (s.ptr[0] == '0') {
        uint8_t c = s.len > 1 ? s.ptr[1] | 0x20 : 0;
        bool marked = c == 'x' || c == 'o' || c == 'b';
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        sp->prefix = marked ? (char)c : '0';
        sp->len = marked ? 2 : 1;
        digits = !marked;
    }
    if (s.ptr[0] != '.')
        digits += scan_digits(s, &sp->len, base, &sp->has_underscore, &bad);
    if (sp->len < s.len && s.ptr[sp->len] == '.') {
        if (sp->prefix == 'o' || sp->prefix == 'b') {
            snprintf(what, size, "invalid radix point in %s literal", base_name(sp->prefix));
            return false;
        }
        sp->is_float = true;
        sp->len++;
        digits += scan_digits(s, &sp->len, base == 16 ? 16 : 10, &sp->has_underscore, &bad);
    }
    if (digits == 0) {
        snprintf(what, size, "%s literal has no digits", base_name(sp->prefix));
        return false;
    }
    if (!scan_exponent(s, sp, what, size))
        return false;
    if (!sp->is_float && bad) {
        snprintf(what, size, "invalid digit '%c' in %s literal", bad, base_name(sp->prefix));
        return false;
    }
    if (sp->has_underscore && !underscores_fit(slice_of(s.ptr, sp->len), sp->prefix)) {
        snprintf(what, size, "'_' must separate successive digits");
        return false;
    }
    return true;
}

/* ---- durations ---- */

/* Prometheus' form: whole numbers, each unit at most once, largest first. */
static bool prometheus_duration(struct slice s, int64_t *ns)
{
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"y", INT64_C(365) * 86400 * (int64_t)NS_PER_S},
                 {"w", INT64_C(7) * 86400 * (int64_t)NS_PER_S},
                 {"d", INT64_C(86400) * (int64_t)NS_PER_S},
                 {"h", INT64_C(3600) * (int64_t)NS_PER_S},
                 {"m", INT64_C(60) * (int64_t)NS_PER_S},
                 {"s", (int64_t)NS_PER_S},
                 {"ms", (int64_t)NS_PER_MS}};
    int64_t total = 0;
    size_t next = 0;
    while (s.len) {
        size_t digits = 0, letters;
        while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
            digits++;
        for (letters = 0; digits + letters < s.len; letters++) {
            uint8_t c = s.ptr[digits + letters];
            if (c < 'a' || c > 'z')
                break;
        }
        struct slice unit = slice_of(s.ptr + digits, letters);
        while (next < sizeof units / sizeof units[0] &&
               !slice_eq(unit, slice_cstr(units[next].unit)))
            next++;
        int64_t n;
        if (next == sizeof units / sizeof units[0] || !parse_i64(slice_of(s.ptr, digits), &n) ||
            __builtin_mul_overflow(n, units[next].ns, &n) ||
            __builtin_add_overflow(total, n, &total))
            return false;
        next++;
        s = slice_from(s, digits + letters);
    }
    *ns = total;
    return true;
}

/* What may belong to a duration: digits, dots, and letters of its units. */
static size_t duration_suffix(struct slice s, size_t at)
{
    size_t from = at;
    while (at < s.len) {
        uint8_t c = s.ptr[at];
        if (c == 0xc2 && at + 1 < s.len && s.ptr[at + 1] == 0xb5) /* µ, U+00B5 */
            at += 2;
        else if ((c >= '0' && c <= '9') || (c && strchr(".nsumhdwy", c)))
            at++;
        else
            break;
    }
    return at - from;
}

/* ---- values ---- */

static bool scan_float(struct slice s, const struct spelling *sp, double *out)
{
    if (!sp->has_underscore)
        return parse_f64(s, out) && !isinf(*out);
    char plain[512];
    if (sp->prefix != 'x' || s.len > sizeof plain)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '_')
            plain[n++] = (char)s.ptr[i];
    }
    return parse_f64(slice_of(plain, n), out) && !isinf(*out);
}

static bool all_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return s.len > 0;
}

bool number_scan(struct slice text, struct number *out, char *what, size_t size)
{
    struct spelling sp = {0};
    if (!scan_spelling(text, &sp, what, size))
        return false;
    struct slice s = slice_of(text.ptr, sp.len);
    size_t suffix = duration_suffix(text, sp.len);
    if (suffix) {
        struct slice whole = slice_of(text.ptr, sp.len + suffix);
        if (prometheus_duration(whole, &out->i64) || parse_duration(whole, &out->i64)) {
            out->kind = NUMBER_DURATION;
            out->bytes = whole.len;
            return true;
        }
    }
    out->bytes = sp.len;
    out->kind = sp.is_float ? NUMBER_FLOAT : NUMBER_INT;
    bool fits = sp.is_float ? scan_float(s, &sp, &out->f64) : parse_i64(s, &out->i64);
    if (!fits) {
        char shown[80];
        bool range = sp.is_float ? !sp.has_underscore : all_digits(s);
        snprintf(what, size, "strconv.%s: parsing \"%s\": %s", sp.is_float ? "ParseFloat" : "Atoi",
                 text_escape(s, 40, shown, sizeof shown),
                 range ? "value out of range" : "invalid syntax");
    }
    return fits;
}
