/* Numbers and durations from the front of a text. Private to the room and its tests. */
#ifndef TRACEQL_LEX_NUMBER_H
#define TRACEQL_LEX_NUMBER_H

#include "base/slice.h"

enum number_kind { NUMBER_INT, NUMBER_FLOAT, NUMBER_DURATION };

struct number {
    enum number_kind kind;
    size_t bytes; /* how much of the text it took */
    int64_t i64;  /* INT, DURATION in ns */
    double f64;
};

/* text starts with a digit, or a dot and a digit. False: what, of `size` bytes, says why not. */
bool number_scan(struct slice text, struct number *out, char *what, size_t size);

#endif
