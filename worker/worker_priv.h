/* The worker's parts, shared by its files. */
#ifndef WORKER_WORKER_PRIV_H
#define WORKER_WORKER_PRIV_H

#include <pthread.h>

#include "worker/footer_cache.h"
#include "worker/worker.h"

struct scan_memory;

struct worker {
    struct worker_opts opts;
    struct log log;
    struct footer_cache *footers;
    struct live_cache *live;
    struct counter *row_groups, *bytes;

    pthread_mutex_t mu;
    struct scan_memory *memories; /* hold mu; of jobs that are done, for the next ones */
    uint32_t jobs;                /* hold mu; that have one */
};

/* worker_search.c */
int worker_search(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
/* worker_legacy.c */
int worker_legacy(void *self, const struct query_source *source, const struct query_legacy *legacy,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
/* worker_tags.c */
int worker_tags(void *self, const struct query_source *source, const struct query_tags *tags,
                uint64_t deadline_mono_ns, struct arena *a, struct query_tags_result *out,
                struct err *err);
/* worker_metrics.c */
int worker_metrics(void *self, const struct query_source *source,
                   const struct query_metrics *metrics, uint64_t deadline_mono_ns, struct arena *a,
                   struct query_metrics_result *out, struct err *err);
/* worker_trace.c */
int worker_find_trace(void *self, const struct query_source *source, const uint8_t id[16],
                      uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                      struct err *err);

#endif
