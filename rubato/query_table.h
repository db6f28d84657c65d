/* Text for a terminal: what came from others made harmless, and columns. */
#ifndef RUBATO_QUERY_TABLE_H
#define RUBATO_QUERY_TABLE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"

/* ANSI attributes; NULL is plain. */
#define TONE_BOLD "1"
#define TONE_BAD "31"

/* Appends the text with what would steer a terminal escaped: controls, line and direction marks,
 * bytes that are no UTF-8. */
int text_put_printable(struct buf *out, struct slice s);
/* Columns that UTF-8 text takes on a terminal. */
size_t text_columns(struct slice s);

/* Rows of cells, printed as wide as the widest cell of each column. A failure is kept and told by
 * table_print, so that filling it needs no checks. */
struct table {
    struct arena *arena;
    const char *const *heads;
    uint32_t columns;
    unsigned right;          /* bits: columns aligned to the right */
    VEC(struct slice) cells; /* printable, row by row */
    VEC(const char *) tones; /* a row's */
    bool failed;
};

/* heads: static, columns of them. Cells live in the arena. */
void table_init(struct table *t, struct arena *a, const char *const *heads, uint32_t columns,
                unsigned right);
void table_clear(struct table *t);
/* The next cell; the text is made printable. */
void table_cell(struct table *t, struct slice text);
__attribute__((format(printf, 2, 3))) void table_printf(struct table *t, const char *fmt, ...);
/* How the row of the last cell looks; static. */
void table_tone(struct table *t, const char *tone);
uint32_t table_rows(const struct table *t);
/* ERR_NOMEM, ERR_LIMIT: something did not fit. */
int table_print(const struct table *t, bool colour, struct buf *out);

#endif
