/* Times on the command line. */
#ifndef RUBATO_QUERY_TIME_H
#define RUBATO_QUERY_TIME_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

/* RFC 3339, unix seconds (with a fraction too), unix nanoseconds (more than 10 digits), "now",
 * "now-1h30m", "now+5m". */
bool query_time_parse(struct slice text, int64_t now_ns, int64_t *out_ns);

struct query_range {
    bool given;
    int64_t start_ns, end_ns;
};

/* --since, --start and --end; NULL: not given. An end that is left out is now, a start an hour
 * before the end. Nothing given: no range. ERR_INVALID says which text is no time, that --since and
 * --start exclude each other, or that the start is not before the end. */
int query_range_parse(const char *since, const char *start, const char *end, int64_t now_ns,
                      struct query_range *out, struct err *err);

#endif
