/* Regular expressions with RE2's syntax and meaning, always matched against the whole value.
 *
 * PCRE2 is the engine. A pattern is read by our own parser of RE2's grammar and written out in
 * PCRE2's, so that what RE2 lacks (back-references, look-around, possessive and atomic groups,
 * recursion, …) is refused, and what both have means what RE2 means by it. Patterns that are only
 * literals, with `.*` in front or behind, never reach the engine. */
#ifndef TRACEQL_REGEX_H
#define TRACEQL_REGEX_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct regex; /* one thread at a time: it holds the engine's scratch memory */

/* Lives in the arena. ERR_INVALID with RE2's reason: "missing argument to repetition operator:
 * `*`". */
ERR_MUST_CHECK int regex_new(struct slice pattern, struct arena *a, struct regex **out,
                             struct err *err);
/* As regex_new, and nothing is kept. */
ERR_MUST_CHECK int regex_check(struct slice pattern, struct err *err);

/* ERR_LIMIT: the match took more than its steps or memory. */
ERR_MUST_CHECK int regex_match(struct regex *re, struct slice value, bool *out, struct err *err);

/* How the pattern is matched, for tests and `explain`. */
enum regex_way { REGEX_EXACT, REGEX_PREFIX, REGEX_SUFFIX, REGEX_CONTAINS, REGEX_ENGINE };
enum regex_way regex_way(const struct regex *re);

#endif
