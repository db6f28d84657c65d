/* The list of denied URLs: regular expressions of RE2's syntax, not anchored. */
#include "frontend/deny.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/text.h"
#include "traceql/regex.h"

/* All patterns, compiled. Hit: the start fails. */
#define LIMIT_DENY_BYTES ((size_t)16 << 20)
/* Of the URL that is shown back. */
#define SHOWN_BYTES 120

struct deny_list {
    struct arena *arena;
    struct regex **at;
    size_t count;
    pthread_mutex_t mu; /* an expression serves one thread at a time */
};

static int compile(struct deny_list *d, struct slice pattern, struct err *err)
{
    char shown[SHOWN_BYTES * 4 + 8];
    const char *anywhere = arena_printf(d->arena, "(?s:.*)(?:%.*s)(?s:.*)", SLICE_ARGS(pattern));
    int rc = regex_check(pattern, err); /* by itself: it must not end our parentheses */
    if (rc == 0)
        rc = anywhere ? regex_new(slice_cstr(anywhere), d->arena, &d->at[d->count], err)
                      : arena_err(d->arena, err, "a pattern");
    if (rc == 0)
        d->count++;
    else if (err)
        return err_wrap(err, "query_frontend.url_deny_list: \"%s\"",
                        text_escape(pattern, SHOWN_BYTES, shown, sizeof shown));
    return rc;
}

int deny_list_new(const struct config_strings *patterns, struct deny_list **out, struct err *err)
{
    struct deny_list *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(err, ERR_NOMEM, "no memory for the list of denied URLs");
    pthread_mutex_init(&d->mu, NULL);
    d->arena = arena_new(LIMIT_DENY_BYTES);
    d->at = d->arena ? arena_array(d->arena, struct regex *, patterns->count) : NULL;
    int rc = d->at ? 0 : err_set(err, ERR_NOMEM, "no memory for the list of denied URLs");
    for (size_t i = 0; i < patterns->count && rc == 0; i++)
        rc = compile(d, patterns->at[i], err);
    if (rc < 0) {
        deny_list_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

void deny_list_free(struct deny_list *d)
{
    if (!d)
        return;
    arena_free(d->arena);
    pthread_mutex_destroy(&d->mu);
    free(d);
}

/* An expression that gives up has not cleared the URL. */
static bool any_matches(struct deny_list *d, struct slice url)
{
    bool hit = false;
    pthread_mutex_lock(&d->mu);
    for (size_t i = 0; i < d->count && !hit; i++)
        hit = regex_match(d->at[i], url, &hit, NULL) < 0 || hit;
    pthread_mutex_unlock(&d->mu);
    return hit;
}

int deny_list_check(struct deny_list *d, struct slice path, struct slice query, struct err *err)
{
    char shown[SHOWN_BYTES * 4 + 8];
    struct buf url;
    if (d->count == 0)
        return 0;
    buf_init(&url, path.len + query.len + 1);
    int rc = buf_slice(&url, path);
    if (rc == 0 && query.len)
        rc = buf_u8(&url, '?');
    rc = rc < 0 ? rc : buf_slice(&url, query);
    if (rc < 0)
        rc = err_set(err, rc, "no memory to look at the URL");
    else if (any_matches(d, buf_view(&url)))
        rc = err_set(err, ERR_INVALID,
                     "Invalid request %s. This query has been identified as one that destabilizes "
                     "our system. Contact your system administrator for more information",
                     text_escape(buf_view(&url), SHOWN_BYTES, shown, sizeof shown));
    buf_clear(&url);
    return rc;
}
