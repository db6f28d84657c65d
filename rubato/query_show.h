/* Answers of the API for people: tables, trees, charts. */
#ifndef RUBATO_QUERY_SHOW_H
#define RUBATO_QUERY_SHOW_H

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct query_screen {
    unsigned width;  /* characters */
    unsigned height; /* lines of a chart */
    bool colour;     /* a terminal: colours and braille; else plain text */
};

/* What an answer is shown by. Appends to out; everything else lives in the arena. ERR_NOTFOUND: a
 * trace that is not there. Other errors: no memory. Members that are missing, or of another type
 * than the API's, are shown as nothing. */
typedef int(query_show_fn)(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                           struct buf *out, struct err *err);

query_show_fn query_show_search, query_show_tags, query_show_values; /* query_show.c */
query_show_fn query_show_range, query_show_instant;                  /* query_series.c */
query_show_fn query_show_trace;                                      /* query_trace.c */

/* query_explain.c: JSON of any shape as an indented tree. */
int query_show_tree(const cJSON *value, struct buf *out);
/* The lines of a query's text to which "line N, col M" of the message points, with a caret under
 * the column; nothing when it points nowhere. */
int query_show_caret(struct slice text, struct slice message, struct buf *out);

/* ---- members of answers ---- */

/* "" when it is no string. */
struct slice json_text(const cJSON *object, const char *name);
/* A number, or a string of one, as protobuf's JSON has 64-bit ones; 0 when it is neither. */
uint64_t json_count(const cJSON *object, const char *name);
/* An AnyValue as text: strings as they are, or in quotes. */
int json_any_value(const cJSON *value, bool quoted, struct buf *out);

/* A duration with three or four digits. out holds 40. */
void short_duration(uint64_t ns, char out[40]);
/* "2026-01-02 03:04:05.678Z" */
void short_time(uint64_t unix_ns, char out[40]);

#endif
