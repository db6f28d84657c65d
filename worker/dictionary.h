/* Only what a column's dictionary holds: names and most texts are asked for without the question
 * which span has them, and a condition that no entry fulfils need not be looked for. */
#ifndef WORKER_DICTIONARY_H
#define WORKER_DICTIONARY_H

#include "worker/scan.h"

/* Dictionaries of the row group's leaves, without rows. has_dict false: the column has none, or it
 * does not hold all values; then they are to be found in the column. A leaf that the file lacks has
 * an empty dictionary. All that is missing is fetched in one parallel wave: of a large chunk no
 * more than the dictionary. Writers that start a dictionary and give it up half-way, which neither
 * Tempo nor Rubato does, are not known by their files. */
int scan_dictionaries(struct scan *s, const int *leaves, size_t count, struct column *out,
                      struct err *err);

#endif
