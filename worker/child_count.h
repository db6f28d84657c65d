/* How many children each span has. */
#ifndef WORKER_CHILD_COUNT_H
#define WORKER_CHILD_COUNT_H

#include "worker/scan.h"

/* One number a span, from the nested-set numbers (which are fetched): spans that are not part of
 * their trace's tree have no children that are known. After scan_maps. */
int child_counts(struct scan *s, struct traceql_values *out, struct err *err);

#endif
