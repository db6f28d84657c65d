/* Columns of text. */
#include "rubato/query_table.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <wchar.h>

#include "base/text.h"

#define LIMIT_CELL_BYTES ((size_t)1 << 16)

/* ---- characters ---- */

/* Bytes of the character that s begins with, 0: it is none. */
static size_t character(struct slice s, uint32_t *rune)
{
    static const uint8_t lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t n = 0;
    while (n == 0 || (n < 4 && utf8_prefix(s, n) != n))
        n++;
    if (s.len < n || utf8_prefix(s, n) != n)
        return 0;
    *rune = s.ptr[0] & lead[n];
    for (size_t i = 1; i < n; i++)
        *rune = *rune << 6 | (s.ptr[i] & 0x3f);
    return n;
}

static bool steers(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

int text_put_printable(struct buf *out, struct slice s)
{
    int rc = 0;
    while (s.len && rc == 0) {
        uint32_t c;
        size_t n = character(s, &c);
        if (n == 0 || (steers(c) && c < 0x80))
            rc = buf_printf(out, "\\x%02x", s.ptr[0]);
        else if (steers(c))
            rc = buf_printf(out, "\\u%04x", c);
        else
            rc = buf_append(out, s.ptr, n);
        s = slice_from(s, n ? n : 1);
    }
    return rc;
}

/* The thread's locale while widths are asked for: wcwidth knows no other way. */
struct utf8_locale {
    locale_t utf8, was;
};

static struct utf8_locale utf8_begin(void)
{
    struct utf8_locale l = {.utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)};
    if (l.utf8)
        l.was = uselocale(l.utf8);
    return l;
}

static void utf8_end(struct utf8_locale *l)
{
    if (!l->utf8)
        return;
    uselocale(l->was);
    freelocale(l->utf8);
}

static size_t columns_of(struct slice s)
{
    size_t columns = 0;
    while (s.len) {
        uint32_t c = 0;
        size_t n = character(s, &c);
        int w = n ? wcwidth((wchar_t)c) : 1;
        columns += w < 0 ? 1 : (size_t)w;
        s = slice_from(s, n ? n : 1);
    }
    return columns;
}

size_t text_columns(struct slice s)
{
    struct utf8_locale l = utf8_begin();
    size_t columns = columns_of(s);
    utf8_end(&l);
    return columns;
}

/* ---- tables ---- */

void table_init(struct table *t, struct arena *a, const char *const *heads, uint32_t columns,
                unsigned right)
{
    *t = (struct table){.arena = a, .heads = heads, .columns = columns, .right = right};
}

void table_clear(struct table *t)
{
    vec_free(&t->cells);
    vec_free(&t->tones);
}

void table_cell(struct table *t, struct slice text)
{
    struct slice kept;
    struct buf b;
    buf_init(&b, LIMIT_CELL_BYTES);
    bool begins = t->cells.count % t->columns == 0;
    if (text_put_printable(&b, text) < 0 || !arena_slice(t->arena, buf_view(&b), &kept) ||
        !vec_push(&t->cells, kept) || (begins && !vec_push(&t->tones, NULL)))
        t->failed = true;
    buf_clear(&b);
}

void table_printf(struct table *t, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    table_cell(t, slice_cstr(text));
}

void table_tone(struct table *t, const char *tone)
{
    if (t->tones.count)
        t->tones.at[t->tones.count - 1] = tone;
}

uint32_t table_rows(const struct table *t)
{
    return t->cells.count / t->columns;
}

static int spaces(struct buf *out, size_t n)
{
    int rc = 0;
    while (n-- && rc == 0)
        rc = buf_u8(out, ' ');
    return rc;
}

/* Nothing stands behind the last cell. */
static int print_row(const struct table *t, const struct slice *cells, const size_t *widths,
                     const char *tone, struct buf *out)
{
    int rc = tone ? buf_printf(out, "\033[%sm", tone) : 0;
    uint32_t last = t->columns - 1;
    while (last && cells[last].len == 0)
        last--;
    for (uint32_t i = 0; i <= last && rc == 0; i++) {
        size_t pad = widths[i] - columns_of(cells[i]);
        bool right = t->right >> i & 1;
        rc = i ? buf_str(out, "  ") : 0;
        rc = rc < 0 ? rc : spaces(out, right ? pad : 0);
        rc = rc < 0 ? rc : buf_slice(out, cells[i]);
        rc = rc < 0 ? rc : spaces(out, right || i == last ? 0 : pad);
    }
    rc = rc < 0 || !tone ? rc : buf_str(out, "\033[0m");
    return rc < 0 ? rc : buf_u8(out, '\n');
}

static int print_rows(const struct table *t, const struct slice *heads, size_t *widths, bool colour,
                      struct buf *out)
{
    uint32_t rows = table_rows(t);
    for (uint32_t i = 0; i < t->columns; i++)
        widths[i] = columns_of(heads[i]);
    for (uint32_t i = 0; i < rows * t->columns; i++) {
        size_t w = columns_of(t->cells.at[i]);
        if (w > widths[i % t->columns])
            widths[i % t->columns] = w;
    }
    int rc = print_row(t, heads, widths, colour ? TONE_BOLD : NULL, out);
    for (uint32_t i = 0; i < rows && rc == 0; i++)
        rc = print_row(t, &t->cells.at[(size_t)i * t->columns], widths,
                       colour ? t->tones.at[i] : NULL, out);
    return rc;
}

int table_print(const struct table *t, bool colour, struct buf *out)
{
    struct slice *heads = arena_array(t->arena, struct slice, t->columns);
    size_t *widths = arena_alloc_array(t->arena, t->columns, sizeof *widths);
    if (t->failed || !heads || !widths)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < t->columns; i++)
        heads[i] = slice_cstr(t->heads[i]);
    struct utf8_locale l = utf8_begin();
    int rc = print_rows(t, heads, widths, colour, out);
    utf8_end(&l);
    return rc;
}
