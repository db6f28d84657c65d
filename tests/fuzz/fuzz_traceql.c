/* Fuzz target: query text. What parses prints, the printed text parses to the same query, and its
 * evaluation can be prepared. */
#include <assert.h>
#include <stdlib.h>

#include "traceql/traceql.h"
#include "traceql/traceql_limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_BYTES ((size_t)64 << 20)
/* Exact text is longer than what was written: parentheses, quotes, escapes. */
#define TEXT_MAX ((size_t)4 << 20)

static struct buf printed(const struct traceql_query *q, bool exact)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    int rc = exact ? traceql_query_print_exact(q, &b) : traceql_query_print(q, &b);
    assert(rc == 0);
    return b;
}

static void check_printing(const struct traceql_query *q, struct arena *a)
{
    struct buf once = printed(q, true), canonical = printed(q, false);
    struct traceql_query *again;
    struct err err = {0};
    /* Parentheses may take what was just short enough past the limits of length and nesting. */
    int rc = traceql_parse(buf_view(&once), a, &again, &err);
    if (rc == 0) {
        struct buf twice = printed(again, true), same = printed(again, false);
        assert(slice_eq(buf_view(&once), buf_view(&twice)));
        assert(slice_eq(buf_view(&canonical), buf_view(&same)));
        assert(traceql_field_count(q) == traceql_field_count(again));
        assert(traceql_query_needs_all(q) == traceql_query_needs_all(again));
        buf_clear(&twice);
        buf_clear(&same);
    } else {
        assert(rc == ERR_LIMIT || strstr(err.msg, "nested") ||
               once.len > TRACEQL_LIMIT_QUERY_BYTES);
    }
    buf_clear(&once);
    buf_clear(&canonical);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(ARENA_BYTES);
    struct traceql_query *q;
    struct traceql_eval *e;
    struct err err = {0};
    assert(a);
    int rc = traceql_parse(slice_of(data, size), a, &q, &err);
    if (rc < 0) {
        assert(rc == ERR_INVALID || rc == ERR_LIMIT);
        assert(err.code == (enum err_code)rc && err.msg[0]);
    } else {
        check_printing(q, a);
        rc = traceql_eval_new(q, a, &e, &err);
        assert(rc == 0 || rc == ERR_UNSUPPORTED || rc == ERR_INVALID || rc == ERR_LIMIT);
    }
    arena_free(a);
    return 0;
}
