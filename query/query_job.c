/* From calls to jobs and back. */
#include "query/query_job.h"

const char *query_kind_name(enum query_kind kind)
{
    switch (kind) {
    case QUERY_SEARCH:
        return "search";
    case QUERY_LEGACY:
        return "search by tags";
    case QUERY_TAGS:
        return "tags";
    case QUERY_METRICS:
        return "metrics";
    case QUERY_FIND_TRACE:
        return "trace by id";
    }
    return "unknown";
}

int query_job_run(const struct query_worker *w, const struct query_job *job, struct arena *a,
                  struct query_result *out, struct err *err)
{
    const struct query_source *source = &job->source;
    uint64_t deadline = job->deadline_mono_ns;
    switch (job->kind) {
    case QUERY_SEARCH:
        return w->search(w->self, source, &job->search, deadline, a, &out->search, err);
    case QUERY_LEGACY:
        return w->legacy(w->self, source, &job->legacy, deadline, a, &out->search, err);
    case QUERY_TAGS:
        return w->tags(w->self, source, &job->tags, deadline, a, &out->tags, err);
    case QUERY_METRICS:
        return w->metrics(w->self, source, &job->metrics, deadline, a, &out->metrics, err);
    case QUERY_FIND_TRACE:
        return w->find_trace(w->self, source, job->trace_id, deadline, a, &out->trace, err);
    }
    return err_set(err, ERR_INTERNAL, "a job of unknown kind %d", (int)job->kind);
}

/* ---- calls ---- */

static int dispatch(void *self, const struct query_job *job, struct arena *a,
                    struct query_result *out, struct err *err)
{
    const struct query_dispatch *d = self;
    return d->run(d->self, job, a, out, err);
}

static int call_search(void *self, const struct query_source *source,
                       const struct query_search *search, uint64_t deadline_mono_ns,
                       struct arena *a, struct query_search_result *out, struct err *err)
{
    const struct query_job job = {.kind = QUERY_SEARCH,
                                  .source = *source,
                                  .search = *search,
                                  .deadline_mono_ns = deadline_mono_ns};
    struct query_result r = {0};
    int rc = dispatch(self, &job, a, &r, err);
    *out = r.search;
    return rc;
}

static int call_legacy(void *self, const struct query_source *source,
                       const struct query_legacy *legacy, uint64_t deadline_mono_ns,
                       struct arena *a, struct query_search_result *out, struct err *err)
{
    const struct query_job job = {.kind = QUERY_LEGACY,
                                  .source = *source,
                                  .legacy = *legacy,
                                  .deadline_mono_ns = deadline_mono_ns};
    struct query_result r = {0};
    int rc = dispatch(self, &job, a, &r, err);
    *out = r.search;
    return rc;
}

static int call_tags(void *self, const struct query_source *source, const struct query_tags *tags,
                     uint64_t deadline_mono_ns, struct arena *a, struct query_tags_result *out,
                     struct err *err)
{
    const struct query_job job = {
        .kind = QUERY_TAGS, .source = *source, .tags = *tags, .deadline_mono_ns = deadline_mono_ns};
    struct query_result r = {0};
    int rc = dispatch(self, &job, a, &r, err);
    *out = r.tags;
    return rc;
}

static int call_metrics(void *self, const struct query_source *source,
                        const struct query_metrics *metrics, uint64_t deadline_mono_ns,
                        struct arena *a, struct query_metrics_result *out, struct err *err)
{
    const struct query_job job = {.kind = QUERY_METRICS,
                                  .source = *source,
                                  .metrics = *metrics,
                                  .deadline_mono_ns = deadline_mono_ns};
    struct query_result r = {0};
    int rc = dispatch(self, &job, a, &r, err);
    *out = r.metrics;
    return rc;
}

static int call_find_trace(void *self, const struct query_source *source, const uint8_t id[16],
                           uint64_t deadline_mono_ns, struct arena *a,
                           struct query_trace_result *out, struct err *err)
{
    struct query_job job = {
        .kind = QUERY_FIND_TRACE, .source = *source, .deadline_mono_ns = deadline_mono_ns};
    struct query_result r = {.trace = *out};
    memcpy(job.trace_id, id, sizeof job.trace_id);
    int rc = dispatch(self, &job, a, &r, err);
    *out = r.trace;
    return rc;
}

struct query_worker query_dispatch_worker(struct query_dispatch *d)
{
    return (struct query_worker){.search = call_search,
                                 .legacy = call_legacy,
                                 .tags = call_tags,
                                 .metrics = call_metrics,
                                 .find_trace = call_find_trace,
                                 .self = d};
}
