/* RE2's syntax, read and written out again for PCRE2. Private to the room and its tests. */
#ifndef TRACEQL_REGEX_SYNTAX_H
#define TRACEQL_REGEX_SYNTAX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum regex_form {
    REGEX_FORM_PLAIN,
    /* Each character and class in a group of its own: PCRE2's matcher that does not backtrack
     * counts the repetitions of a bare one, and takes cubic time where they are nested. */
    REGEX_FORM_GROUPED,
};

/* Appends to out a PCRE2 pattern (UTF, no other options) that matches what RE2's `pattern` does.
 * ERR_INVALID with RE2's reason. */
ERR_MUST_CHECK int regex_translate(struct slice pattern, enum regex_form form, struct buf *out,
                                   struct err *err);

/* A pattern that is one or more literals, perhaps with `.*` around: `foo.*`, `a|b|c`. */
struct regex_literals {
    bool any_before, any_after; /* .*; then count is 1 */
    struct slice *list;         /* in bytes */
    uint32_t count;
    struct buf bytes; /* what list points into */
};

/* True when the (valid) pattern is of this form. The caller clears in any case. */
bool regex_as_literals(struct slice pattern, struct regex_literals *out);
void regex_literals_clear(struct regex_literals *l);

#endif
