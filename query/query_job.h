/* A job as one thing, whatever its kind, so that it can wait in a queue, go to another process and
 * be tried again. */
#ifndef QUERY_QUERY_JOB_H
#define QUERY_QUERY_JOB_H

#include "query/query.h"

enum query_kind {
    QUERY_SEARCH = 1,
    QUERY_LEGACY,
    QUERY_TAGS,
    QUERY_METRICS,
    QUERY_FIND_TRACE,
};

/* Plain pointers: what they point to lives longer than the job. */
struct query_job {
    enum query_kind kind;
    struct query_source source;
    union {
        struct query_search search;
        struct query_legacy legacy;
        struct query_tags tags;
        struct query_metrics metrics;
        uint8_t trace_id[16];
    };
    uint64_t deadline_mono_ns;
};

struct query_result {
    union {
        struct query_search_result search; /* QUERY_SEARCH, QUERY_LEGACY */
        struct query_tags_result tags;
        struct query_metrics_result metrics;
        struct query_trace_result trace; /* batch is the caller's, set before the job runs */
    };
};

/* Asks the worker's function of the job's kind. */
int query_job_run(const struct query_worker *w, const struct query_job *job, struct arena *a,
                  struct query_result *out, struct err *err);

/* A query_worker whose functions make a job of each call and hand it to run. */
struct query_dispatch {
    int (*run)(void *self, const struct query_job *job, struct arena *a, struct query_result *out,
               struct err *err);
    void *self;
};
/* d must outlive the worker. */
struct query_worker query_dispatch_worker(struct query_dispatch *d);

/* "search", "tags", … */
const char *query_kind_name(enum query_kind kind);

#endif
