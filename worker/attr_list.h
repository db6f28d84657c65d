/* Attributes of the generic lists: where those of one name stand, and their values as vectors. */
#ifndef WORKER_ATTR_LIST_H
#define WORKER_ATTR_LIST_H

#include "worker/scan.h"

/* The first of the seven leaves of a level's attribute list, or -1. */
int attr_first_leaf(enum traceql_level level);

/* Definition level from which on an element of the level is there; also the repetition level of a
 * further one. */
uint8_t element_def(enum traceql_level level);
/* Repetition level of a further attribute of the same element. */
uint8_t attr_rep(enum traceql_level level);

/* Occurrences of one key: slots of the list (entries of its key column) and whose they are. */
struct occurrences {
    uint32_t *slot;  /* ascending */
    uint32_t *owner; /* element of the level, ascending; NULL: nobody asked */
    uint32_t count;
};

/* The key column must be there (scan_need). elements: how many the level has, which the column must
 * have as well; UINT32_MAX: owners are not asked for. Lives in the window's arena. */
int attr_occurrences(struct scan *s, enum traceql_level level, struct slice name, uint32_t elements,
                     struct occurrences *out, struct err *err);
/* The values that one of the list's columns, which must be there, has for the occurrences; which is
 * one of enum block_attr_leaf. Owners are occurrences, NULL where each has one value. */
int attr_values(struct scan *s, enum traceql_level level, int which, const struct occurrences *occ,
                struct traceql_values *out, struct err *err);

#endif
