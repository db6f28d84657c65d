/* Charts of characters.
 *
 * A canvas of cells holds a fixed number of dots each: 2 x 4 in braille, one in plain text. Points
 * that follow one another are joined by a line from dot to dot, so that a chart with more points
 * than dots shows the range of each dot's points. */
#include "rubato/query_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WIDTH_LEAST 30
#define WIDTH_MOST 400
#define HEIGHT_LEAST 6
#define HEIGHT_MOST 60
#define LABEL_BYTES 24

struct cell {
    uint8_t dots;   /* bits, as braille numbers them */
    uint8_t series; /* the last that drew here */
};

struct canvas {
    struct cell *cells;
    unsigned columns, rows;  /* cells */
    unsigned dots_x, dots_y; /* of a cell */
};

struct scale {
    double low, high, step; /* labels at low, low + step, … high */
};

/* ---- numbers ---- */

char chart_mark(uint32_t i)
{
    return "*+ox#@%&"[i % CHART_SERIES_MAX];
}

const char *chart_tone(uint32_t i)
{
    static const char *const tones[CHART_SERIES_MAX] = {"36", "33", "35", "32",
                                                        "34", "31", "96", "93"};
    return tones[i % CHART_SERIES_MAX];
}

void chart_number(double v, char out[24])
{
    static const struct {
        double of;
        const char *unit;
    } units[] = {{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        double by = units[i].of == 1e4 ? 1e3 : units[i].of;
        if (fabs(v) >= units[i].of && fabs(v) < 1e18) {
            snprintf(out, 24, "%.4g%s", v / by, units[i].unit);
            return;
        }
    }
    snprintf(out, 24, "%.4g", v == 0 ? 0 : v); /* no minus before a zero */
}

/* A step of 1, 2, 2.5 or 5 times a power of ten that is not smaller. */
static double nice_step(double least)
{
    static const double steps[] = {1, 2, 2.5, 5, 10};
    double power = pow(10, floor(log10(least)));
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i] * power >= least * (1 - 1e-9))
            return steps[i] * power;
    }
    return 10 * power;
}

/* False: no point is a number. The scale begins at zero where nothing is below it. */
static bool find_scale(const struct chart *c, unsigned rows, struct scale *out)
{
    double low = INFINITY, high = -INFINITY;
    for (uint32_t s = 0; s < c->count; s++) {
        for (uint32_t i = 0; i < c->points; i++) {
            double v = c->series[s][i];
            if (!isfinite(v) || fabs(v) > 1e300)
                continue;
            low = fmin(low, v);
            high = fmax(high, v);
        }
    }
    if (low > high)
        return false;
    low = fmin(low, 0);
    high = fmax(high, 0);
    if (high - low < 1e-300)
        high = low + 1;
    out->step = nice_step((high - low) / fmax(2, floor(rows / 3.0)));
    out->low = floor(low / out->step + 1e-9) * out->step;
    out->high = ceil(high / out->step - 1e-9) * out->step;
    return true;
}

/* ---- the canvas ---- */

static void put_dot(struct canvas *v, unsigned x, unsigned y, uint8_t series)
{
    static const uint8_t braille[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    struct cell *cell = &v->cells[(size_t)(y / v->dots_y) * v->columns + x / v->dots_x];
    cell->dots |= v->dots_x == 1 ? 1 : braille[y % v->dots_y][x % v->dots_x];
    cell->series = series;
}

static void put_line(struct canvas *v, int x0, int y0, int x1, int y1, uint8_t series)
{
    int dx = abs(x1 - x0), dy = -abs(y1 - y0), sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1;
    for (int error = dx + dy;;) {
        put_dot(v, (unsigned)x0, (unsigned)y0, series);
        if (x0 == x1 && y0 == y1)
            return;
        int twice = 2 * error;
        if (twice >= dy) {
            error += dy;
            x0 += sx;
        }
        if (twice <= dx) {
            error += dx;
            y0 += sy;
        }
    }
}

static void draw_series(struct canvas *v, const struct chart *c, const struct scale *s,
                        uint32_t series)
{
    int width = (int)(v->columns * v->dots_x), height = (int)(v->rows * v->dots_y);
    int last_x = -1, last_y = 0;
    for (uint32_t i = 0; i < c->points; i++) {
        double value = c->series[series][i];
        if (!isfinite(value) || fabs(value) > 1e300) {
            last_x = -1;
            continue;
        }
        double share = c->points > 1 ? (double)i / (c->points - 1) : 0.5;
        int x = (int)lround(share * (width - 1));
        int y = (int)lround((s->high - value) / (s->high - s->low) * (height - 1));
        if (last_x < 0)
            put_line(v, x, y, x, y, (uint8_t)series);
        else
            put_line(v, last_x, last_y, x, y, (uint8_t)series);
        last_x = x;
        last_y = y;
    }
}

static int print_mark(const struct cell *cell, struct buf *out)
{
    return buf_u8(out, cell->dots ? (uint8_t)chart_mark(cell->series) : ' ');
}

/* *tone: the series whose colour is on, -1 for none. */
static int print_braille(const struct cell *cell, int *tone, struct buf *out)
{
    const uint8_t utf8[3] = {0xe2, (uint8_t)(0xa0 | cell->dots >> 6),
                             (uint8_t)(0x80 | (cell->dots & 0x3f))};
    int rc = 0;
    if (cell->dots == 0)
        return buf_u8(out, ' ');
    if (*tone != cell->series)
        rc = buf_printf(out, "\033[%sm", chart_tone(cell->series));
    *tone = cell->series;
    return rc < 0 ? rc : buf_append(out, utf8, sizeof utf8);
}

/* ---- axes ---- */

/* The label that belongs on that row, empty for most. */
static void row_label(const struct scale *s, unsigned row, unsigned rows, char out[LABEL_BYTES])
{
    int steps = (int)lround((s->high - s->low) / s->step);
    out[0] = 0;
    for (int i = 0; i <= steps; i++) {
        if ((unsigned)lround((double)(steps - i) / steps * (rows - 1)) == row)
            chart_number(s->low + i * s->step, out);
    }
}

static int print_rows(const struct canvas *v, const struct chart *c, const struct scale *s,
                      int label_width, struct buf *out)
{
    int rc = 0;
    for (unsigned row = 0; row < v->rows && rc == 0; row++) {
        char label[LABEL_BYTES];
        const struct cell *cells = &v->cells[(size_t)row * v->columns];
        unsigned end = v->columns;
        int tone = -1;
        row_label(s, row, v->rows, label);
        while (end && cells[end - 1].dots == 0)
            end--;
        const char *axis = c->colour ? label[0] ? "┤" : "│" : label[0] ? "+" : "|";
        rc = buf_printf(out, "%*s %s", label_width, label, axis);
        for (unsigned i = 0; i < end && rc == 0; i++)
            rc = c->colour ? print_braille(&cells[i], &tone, out) : print_mark(&cells[i], out);
        rc = rc < 0 ? rc : buf_str(out, tone < 0 ? "\n" : "\033[0m\n");
    }
    return rc;
}

static void time_label(int64_t ms, int64_t range_ms, char out[LABEL_BYTES])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&s, &tm) ||
        strftime(out, LABEL_BYTES, range_ms < 86400000 ? "%H:%M:%S" : "%m-%d %H:%M", &tm) == 0)
        out[0] = 0;
}

/* The line below, and the times of the first, the middle and the last point. */
static int print_times(const struct canvas *v, const struct chart *c, int label_width,
                       struct buf *out)
{
    int64_t range = c->step_ms * (int64_t)(c->points - 1);
    char first[LABEL_BYTES], middle[LABEL_BYTES], last[LABEL_BYTES];
    int rc = buf_printf(out, "%*s %s", label_width, "", c->colour ? "└" : "+");
    for (unsigned i = 0; i < v->columns && rc == 0; i++)
        rc = buf_str(out, c->colour ? "─" : "-");
    time_label(c->start_ms, range, first);
    time_label(c->start_ms + range / 2, range, middle);
    time_label(c->start_ms + range, range, last);
    int room = (int)v->columns, n = (int)strlen(first), half = (room - n) / 2;
    rc = rc < 0 ? rc : buf_printf(out, "\n%*s", label_width + 2, "");
    if (rc < 0)
        return rc;
    if (c->points < 2 || room < 2 * n + 2)
        return buf_printf(out, "%s UTC\n", c->points < 2 ? middle : first);
    if (room < 3 * n + 4)
        return buf_printf(out, "%s%*s UTC\n", first, room - n, last);
    return buf_printf(out, "%s%*s%*s UTC\n", first, half, middle, room - n - half, last);
}

static unsigned clamp(unsigned v, unsigned least, unsigned most)
{
    return v < least ? least : v > most ? most : v;
}

int chart_print(const struct chart *c, struct arena *a, struct buf *out)
{
    struct chart cut = *c;
    struct scale scale;
    int label_width = 0;
    if (cut.count > CHART_SERIES_MAX)
        cut.count = CHART_SERIES_MAX;
    struct canvas v = {.rows = clamp(c->height, HEIGHT_LEAST, HEIGHT_MOST) - 2,
                       .dots_x = c->colour ? 2 : 1,
                       .dots_y = c->colour ? 4 : 1};
    if (!find_scale(&cut, v.rows, &scale))
        return 0;
    for (unsigned row = 0; row < v.rows; row++) {
        char label[LABEL_BYTES];
        row_label(&scale, row, v.rows, label);
        int n = (int)strlen(label);
        label_width = n > label_width ? n : label_width;
    }
    /* The axis stands between label and canvas; " UTC" comes behind the last time. */
    v.columns = clamp(c->width, WIDTH_LEAST, WIDTH_MOST) - (unsigned)label_width - 6;
    v.cells = arena_zalloc(a, (size_t)v.columns * v.rows * sizeof *v.cells);
    if (!v.cells)
        return ERR_LIMIT;
    for (uint32_t i = cut.count; i-- > 0;) /* the first lies on top */
        draw_series(&v, &cut, &scale, i);
    int rc = print_rows(&v, &cut, &scale, label_width, out);
    return rc < 0 ? rc : print_times(&v, &cut, label_width, out);
}
