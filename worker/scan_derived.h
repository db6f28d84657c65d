/* What no column holds but can be told from some. */
#ifndef WORKER_SCAN_DERIVED_H
#define WORKER_SCAN_DERIVED_H

#include "worker/scan.h"

/* How many children each span has in its trace (what is needed for it is fetched). After
 * scan_maps. */
int child_counts(struct scan *s, struct traceql_values *out, struct err *err);

/* A byte per element: has it an attribute of the generic list, whatever its name? key: the list's
 * key column, in which a new element begins below repetition level rep and is there from definition
 * level def on. */
int attr_holders(struct scan *s, const struct column *key, uint8_t rep, uint8_t def,
                 uint32_t elements, const uint8_t **out, struct err *err);

#endif
