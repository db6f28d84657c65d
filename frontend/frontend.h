/* The public query API: parse and check a request, split it into jobs over blocks and live spans,
 * fan out to workers, merge, answer. Shapes and texts: docs/api.md. */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "app/app.h"
#include "catalog/catalog.h"
#include "query/query.h"

struct frontend;
struct pools;

struct frontend_opts {
    struct app *app;         /* configuration, tenants, log, metrics, clock */
    struct catalog *catalog;
    struct query_worker worker;
    struct pools *pools; /* for /api/scaling; NULL: there is none */
    uint32_t request_threads; /* requests answered at once; 0: 16 */
    uint32_t job_threads;     /* jobs run at once; 0: twice the processors */
};

int frontend_new(const struct frontend_opts *opts, struct frontend **out, struct err *err);
void frontend_free(struct frontend *f); /* finishes what is under way; NULL is fine */

/* A net_handler_fn (ctx is the frontend) for every path below /api/ that is not the process's
 * own. */
void frontend_handle(void *ctx, struct net_request *req);

/* The same for who has no socket: method, path, query and headers are looked at. Blocks until the
 * answer is there, appends it (or the error's text) to body and returns the HTTP status. Any
 * thread. */
int frontend_ask(struct frontend *f, struct net_request *req, struct buf *body);

#endif
