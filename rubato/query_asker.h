/* Who answers the tool's questions: a server over HTTP, or catalogue, worker and frontend in this
 * process, straight on a store. Both take the same request and give the same answer. */
#ifndef RUBATO_QUERY_ASKER_H
#define RUBATO_QUERY_ASKER_H

#include "base/buf.h"
#include "base/err.h"
#include "rubato/tool_store.h"

struct query_asker;

struct query_asker_opts {
    const char *program; /* for what is said on the way */
    const char *addr;    /* "http://localhost:3200", without scheme too */
    const char *store;   /* instead of addr */
    struct tool_store_opts store_opts;
    const char *tenant; /* NULL: none is named */
    bool progress;      /* stderr is a terminal */
};

/* A store is opened for reading only, and its listing waited for. */
int query_asker_new(const struct query_asker_opts *opts, struct query_asker **out, struct err *err);
void query_asker_free(struct query_asker *a); /* NULL is fine */

/* target: path and query, "/api/search?q=%7B%7D", percent-encoded. Appends the body, whatever the
 * status is. Fails when there is no answer. */
int query_ask(struct query_asker *a, struct slice target, int *status, struct buf *body,
              struct err *err);

#endif
