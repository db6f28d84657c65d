/* The worker's parts, shared by its files. */
#ifndef WORKER_WORKER_PRIV_H
#define WORKER_WORKER_PRIV_H

#include "worker/footer_cache.h"
#include "worker/worker.h"

struct worker {
    struct worker_opts opts;
    struct log log;
    struct footer_cache *footers;
    struct live_cache *live;
    struct counter *row_groups, *bytes;
};

/* worker_search.c */
int worker_search(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
/* worker_trace.c */
int worker_find_trace(void *self, const struct query_source *source, const uint8_t id[16],
                      uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                      struct err *err);

#endif
