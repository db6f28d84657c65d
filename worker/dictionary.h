/* Only what a column's dictionary holds: names and most texts are asked for without the question
 * which span has them. */
#ifndef WORKER_DICTIONARY_H
#define WORKER_DICTIONARY_H

#include "worker/scan.h"

/* Columns of the leaves in out, in which either dict is complete (has_dict), or the whole column is
 * there. Of a large chunk no more than the dictionary and one page are fetched; all in at most two
 * parallel waves. Writers that start a dictionary and give it up half-way, which neither Tempo nor
 * Rubato does, are not known by their files. */
int scan_dictionaries(struct scan *s, const int *leaves, size_t count, struct column *out,
                      struct err *err);

#endif
