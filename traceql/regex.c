/* Regular expressions: literals by hand, the rest by PCRE2.
 *
 * PCRE2 backtracks and RE2 does not, so a pattern that RE2 takes in its stride may cost PCRE2 time
 * without end. Matching therefore starts with the compiled backtracking matcher on a budget of
 * steps; when that is spent, the value is matched again by PCRE2's other matcher, which follows all
 * alternatives at once. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "traceql/regex.h"

#include <pcre2.h>
#include <stdlib.h>

#include "base/text.h"
#include "traceql/regex_syntax.h"
#include "traceql/traceql_limits.h"

/* Ints of scratch for the matcher that does not backtrack, at first and at most. */
#define WORKSPACE_FIRST ((size_t)1000)
#define WORKSPACE_LARGEST ((size_t)256 << 10)

struct regex {
    enum regex_way way;
    struct regex_literals literals;
    struct slice pattern;
    pcre2_code *code;
    pcre2_code *grouped; /* for the matcher that does not backtrack; made when first needed */
    pcre2_match_data *data;
    pcre2_match_context *context;
    int *workspace;
    size_t workspace_count;
    struct buf cleaned; /* a value whose bytes were no UTF-8 */
};

enum regex_way regex_way(const struct regex *re)
{
    return re->way;
}

static void regex_clear(void *ctx)
{
    struct regex *re = ctx;
    regex_literals_clear(&re->literals);
    pcre2_code_free(re->code);
    pcre2_code_free(re->grouped);
    pcre2_match_data_free(re->data);
    pcre2_match_context_free(re->context);
    free(re->workspace);
    buf_clear(&re->cleaned);
    *re = (struct regex){0};
}

/* ---- compiling ---- */

static int compile_text(struct slice text, struct slice pattern, pcre2_code **out, struct err *err)
{
    int code;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return err_set(err, ERR_NOMEM, "no memory for a regular expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    *out = pcre2_compile(text.ptr, text.len,
                         PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOLLAR_ENDONLY |
                             PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C,
                         &code, &offset, context);
    pcre2_compile_context_free(context);
    if (*out)
        return 0;
    char shown[100];
    PCRE2_UCHAR what[120] = "";
    pcre2_get_error_message(code, what, sizeof what);
    return err_set(err, ERR_INVALID, "error parsing regexp: %s: `%s`", (const char *)what,
                   text_escape(pattern, 60, shown, sizeof shown));
}

/* RE2's pattern as PCRE2's, for the whole value. */
static int compile(struct slice pattern, enum regex_form form, pcre2_code **out, struct err *err)
{
    struct buf text;
    /* A character becomes "(?:\x{ff})" at most, a class \s some more; the rest is the frame. */
    buf_init(&text, pattern.len * 32 + 64);
    int rc = buf_str(&text, "\\A(?:");
    if (rc < 0)
        err_set(err, (enum err_code)rc, "no memory for a regular expression");
    rc = rc < 0 ? rc : regex_translate(pattern, form, &text, err);
    if (rc == 0 && (rc = buf_str(&text, ")\\z")) < 0)
        err_set(err, (enum err_code)rc, "no memory for a regular expression");
    rc = rc < 0 ? rc : compile_text(buf_view(&text), pattern, out, err);
    buf_clear(&text);
    return rc;
}

int regex_check(struct slice pattern, struct err *err)
{
    pcre2_code *code = NULL;
    int rc = compile(pattern, REGEX_FORM_PLAIN, &code, err);
    pcre2_code_free(code);
    return rc;
}

/* Is the pattern made of literals, and which way are they compared? */
static bool choose_way(struct regex *re, struct slice pattern)
{
    struct regex_literals *l = &re->literals;
    if (!regex_as_literals(pattern, l))
        return false;
    /* `.` stands for no newline, so a literal with one needs to be looked at more closely. */
    bool any = l->any_before || l->any_after;
    if (any && slice_find(l->list[0], '\n') < l->list[0].len)
        return false;
    re->way = !any                            ? REGEX_EXACT
              : l->any_before && l->any_after ? REGEX_CONTAINS
              : l->any_after                  ? REGEX_PREFIX
                                              : REGEX_SUFFIX;
    return true;
}

int regex_new(struct slice pattern, struct arena *a, struct regex **out, struct err *err)
{
    struct regex *re = arena_zalloc(a, sizeof *re);
    if (!re)
        return arena_err(a, err, "a regular expression");
    if (!arena_on_reset(a, regex_clear, re))
        return err_set(err, ERR_NOMEM, "no memory for a regular expression");
    int rc = compile(pattern, REGEX_FORM_PLAIN, &re->code, err);
    if (rc < 0)
        return rc;
    if (!arena_slice(a, pattern, &re->pattern))
        return arena_err(a, err, "a regular expression");
    *out = re;
    if (choose_way(re, pattern))
        return 0;
    regex_literals_clear(&re->literals);
    re->way = REGEX_ENGINE;
    re->data = pcre2_match_data_create(1, NULL);
    re->context = pcre2_match_context_create(NULL);
    if (!re->data || !re->context)
        return err_set(err, ERR_NOMEM, "no memory for a regular expression");
    pcre2_set_match_limit(re->context, TRACEQL_LIMIT_REGEX_STEPS);
    pcre2_set_heap_limit(re->context, TRACEQL_LIMIT_REGEX_HEAP_KIB);
    /* Without the compiler (no executable memory) the interpreter does the same, slower. */
    (void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE);
    return 0;
}

/* ---- matching ---- */

/* A compiled pattern takes at least so many bytes for each state that its matching can be in. */
#define BYTES_PER_STATE 4.0

/* The matcher that follows all alternatives at once; its scratch grows until it fits. */
static int match_without_backtracking(struct regex *re, struct slice value)
{
    size_t size = 0;
    if (!re->grouped && compile(re->pattern, REGEX_FORM_GROUPED, &re->grouped, NULL) < 0)
        return PCRE2_ERROR_MATCHLIMIT; /* too large when spelled out so */
    pcre2_pattern_info(re->grouped, PCRE2_INFO_SIZE, &size);
    double states = (double)size / BYTES_PER_STATE;
    if (states * states * (double)value.len > TRACEQL_LIMIT_REGEX_WORK)
        return PCRE2_ERROR_MATCHLIMIT;
    for (;;) {
        if (re->workspace_count) {
            int rc = pcre2_dfa_match(re->grouped, value.ptr, value.len, 0, PCRE2_NO_UTF_CHECK,
                                     re->data, re->context, re->workspace, re->workspace_count);
            if (rc != PCRE2_ERROR_DFA_WSSIZE || re->workspace_count >= WORKSPACE_LARGEST)
                return rc;
        }
        size_t count = re->workspace_count ? re->workspace_count * 4 : WORKSPACE_FIRST;
        int *more = realloc(re->workspace, count * sizeof *more);
        if (!more)
            return PCRE2_ERROR_NOMEMORY;
        re->workspace = more;
        re->workspace_count = count;
    }
}

/* RE2 reads a byte that is no UTF-8 as U+FFFD. */
static int clean(struct regex *re, struct slice value, struct slice *out)
{
    if (utf8_valid(value)) {
        *out = value.ptr ? value : SLICE("");
        return 0;
    }
    buf_clear(&re->cleaned);
    if (value.len > SIZE_MAX / 4)
        return ERR_LIMIT;
    buf_init(&re->cleaned, value.len * 3);
    while (value.len) {
        size_t good = utf8_prefix(value, value.len);
        int rc = buf_append(&re->cleaned, value.ptr, good);
        if (rc == 0 && good < value.len)
            rc = buf_str(&re->cleaned, "\xef\xbf\xbd");
        if (rc < 0)
            return rc;
        value = slice_from(value, good + 1);
    }
    *out = buf_view(&re->cleaned);
    return 0;
}

static int match_engine(struct regex *re, struct slice value, bool *out, struct err *err)
{
    struct slice subject;
    int rc = clean(re, value, &subject);
    if (rc < 0)
        return err_set(err, (enum err_code)rc, "no memory for matching a regular expression");
    rc = pcre2_match(re->code, subject.ptr, subject.len, 0, PCRE2_NO_UTF_CHECK, re->data,
                     re->context);
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_JIT_STACKLIMIT ||
        rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT)
        rc = match_without_backtracking(re, subject);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        PCRE2_UCHAR what[120] = "";
        pcre2_get_error_message(rc, what, sizeof what);
        return err_set(err, ERR_LIMIT, "regular expression on a value of %zu bytes: %s", value.len,
                       (const char *)what);
    }
    *out = rc >= 0;
    return 0;
}

static bool match_literals(const struct regex *re, struct slice value)
{
    const struct regex_literals *l = &re->literals;
    struct slice lit = l->list[0];
    if (re->way == REGEX_EXACT) {
        for (uint32_t i = 0; i < l->count; i++) {
            if (slice_eq(value, l->list[i]))
                return true;
        }
        return false;
    }
    bool found = re->way == REGEX_PREFIX ? slice_starts(value, lit)
                 : re->way == REGEX_SUFFIX
                     ? slice_ends(value, lit)
                     : lit.len == 0 || (value.len >= lit.len &&
                                        memmem(value.ptr, value.len, lit.ptr, lit.len) != NULL);
    return found && slice_find(value, '\n') == value.len;
}

int regex_match(struct regex *re, struct slice value, bool *out, struct err *err)
{
    if (re->way == REGEX_ENGINE)
        return match_engine(re, value, out, err);
    *out = match_literals(re, value);
    return 0;
}
