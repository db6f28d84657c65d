/* Time series drawn with characters: braille dots, or one mark a series where dots of several
 * series could not be told apart. */
#ifndef RUBATO_QUERY_CHART_H
#define RUBATO_QUERY_CHART_H

#include "base/arena.h"
#include "base/buf.h"

/* More are not drawn: there are no more marks and colours. */
#define CHART_SERIES_MAX 8

struct chart {
    const double *const *series; /* each has `points` numbers; NaN and infinities are gaps */
    uint32_t count;
    uint32_t points;
    int64_t start_ms, step_ms; /* of the first point, and between two */
    unsigned width, height;    /* characters, labels included; cut to what is sensible */
    bool colour;               /* braille in colours; else marks */
};

/* The mark of a series in plain charts, and its colour. i < CHART_SERIES_MAX. */
char chart_mark(uint32_t i);
const char *chart_tone(uint32_t i);

/* Lines of text; nothing when there is nothing to draw. */
int chart_print(const struct chart *c, struct arena *a, struct buf *out);

/* Three to four digits and a unit: 0, 0.25, 12.5k, 3M, 1.5e-07. */
void chart_number(double v, char out[24]);

#endif
