/* A worker's life. */
#include <stdlib.h>

#include "worker/scan_source.h"
#include "worker/worker_priv.h"

int worker_new(const struct worker_opts *opts, struct worker **out, struct err *err)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NOMEM, "no memory for a worker");
    w->opts = *opts;
    pthread_mutex_init(&w->mu, NULL);
    w->log = log_room(opts->log, "worker");
    w->row_groups =
        metrics_counter(opts->metrics, "worker_row_groups_total", "Row groups scanned.");
    w->bytes = metrics_counter(opts->metrics, "worker_inspected_bytes_total",
                               "Bytes of blocks and segments read for queries.");
    size_t cache = opts->footer_cache_bytes ? opts->footer_cache_bytes : (size_t)64 << 20;
    int rc = footer_cache_new(cache, &w->footers, err);
    if (rc == 0)
        rc = live_cache_new(opts->catalog, opts->clock, &w->live, err);
    if (rc < 0) {
        worker_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    footer_cache_free(w->footers);
    live_cache_free(w->live);
    scan_memories_free(w);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

struct query_worker worker_interface(struct worker *w)
{
    return (struct query_worker){.search = worker_search,
                                 .legacy = worker_legacy,
                                 .tags = worker_tags,
                                 .metrics = worker_metrics,
                                 .find_trace = worker_find_trace,
                                 .self = w};
}
