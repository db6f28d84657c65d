/* What a frontend asks of a worker, and what comes back: the jobs and results of a query. Plain
 * data in an arena, so that a codec can put them on a wire later; the vtable at the end is what a
 * pool of workers looks like from above. */
#ifndef QUERY_QUERY_H
#define QUERY_QUERY_H

#include "base/arena.h"
#include "block/block_meta.h"
#include "block/span.h"
#include "catalog/catalog.h"
#include "traceql/metrics.h"
#include "traceql/traceql.h"

/* ---- what a job did ---- */

/* Where a job's time goes. */
enum query_step {
    QUERY_STEP_FOOTER,   /* footers and indexes of the block: read and decoded */
    QUERY_STEP_FETCH,    /* column bytes from the store */
    QUERY_STEP_DECODE,   /* pages to columns */
    QUERY_STEP_EVALUATE, /* conditions, structure, pipelines, metrics */
    QUERY_STEP_RESULTS,  /* what is shown: its columns are counted above */
    QUERY_STEP_LIVE,     /* segments that are in no block yet: made into columns */
    QUERY_STEPS
};

/* Filled always, it costs nothing. Plain numbers that add up over jobs; "skipped" is what the
 * question would have to look at if nothing excluded it. */
struct query_stats {
    uint32_t row_groups, row_groups_skipped; /* the live columns count as one */
    uint32_t columns;                        /* chunks of which anything was decoded */
    uint64_t traces, spans;                  /* in the row groups looked at */
    uint64_t spans_skipped;                  /* estimated by rows, where a row group is skipped */
    uint64_t pages, pages_skipped;
    uint64_t bytes_read, bytes_skipped; /* as stored */
    uint64_t requests;                  /* ranges asked of the store */
    uint64_t step_ns[QUERY_STEPS];      /* of all threads of the job together */
};

/* total += part */
void query_stats_add(struct query_stats *total, const struct query_stats *part);
/* "footer", "fetch", …; "?" for no step. */
const char *query_step_name(enum query_step step);

/* ---- search ---- */

struct query_attr {
    struct slice key;
    const struct traceql_value *values; /* one, or the elements of an array */
    uint32_t count;
};

struct query_span {
    struct slice id;   /* bytes as stored */
    struct slice name; /* empty unless the query shows it */
    uint64_t start_unix_ns;
    uint64_t duration_ns;
    struct query_attr *attrs;
    uint32_t attr_count;
};

struct query_spanset {
    struct query_span *spans; /* the first spss of them */
    uint32_t span_count;
    uint32_t matched;         /* all of them */
    struct query_attr *attrs; /* of by() and aggregates; NIL values too */
    uint32_t attr_count;
};

struct query_service {
    struct slice name;
    uint32_t span_count;
    uint32_t error_count;
};

struct query_trace {
    uint8_t id[16];
    struct slice root_service, root_name; /* empty: no root */
    uint64_t start_unix_ns;
    uint64_t duration_ns;
    struct query_service *services;
    uint32_t service_count;
    struct query_spanset *sets;
    uint32_t set_count;
};

struct query_search {
    const struct traceql_query *query; /* shared, read-only */
    uint32_t limit;                    /* distinct traces after which a job may stop */
    bool most_recent;                  /* not the first `limit` that are found: the newest */
    uint32_t spans_per_set;
    uint64_t start_unix_ns, end_unix_ns; /* trace must overlap [start, end]; end 0: any time */
};

struct query_search_result {
    struct query_trace *traces; /* in storage order */
    uint32_t trace_count;
    uint64_t inspected_bytes;
    uint32_t inspected_traces;
    struct query_stats stats;
};

/* Search by tags, without TraceQL: a trace matches when it fulfils all of them, whichever of its
 * spans do, but those that have no column of their own on one resource together. The results are
 * of the same form, without spansets and services. */
struct query_pair {
    struct slice key, value;
};

struct query_legacy {
    const struct query_pair *tags;
    uint32_t tag_count;
    uint64_t min_duration_ns, max_duration_ns; /* of the trace; 0: any */
    uint32_t limit;                            /* as in query_search */
    uint64_t start_unix_ns, end_unix_ns;       /* the same */
};

/* ---- tags: names of attributes, and the values of one ---- */

/* A name, or a value. */
struct query_tag {
    uint8_t level; /* names: enum traceql_level of the attribute; values: 0 */
    struct traceql_value value;
};

struct query_tags {
    bool names;      /* else values */
    unsigned levels; /* bits 1 << enum traceql_level: where to look for names, or the attribute */
    enum traceql_intrinsic intrinsic; /* values of this one, */
    struct slice name;                /* or of this attribute */
    /* NULL: all that is stored, numbers as numbers. Else a query of one filter: what the spans that
     * match it have, status, kind and durations as such. */
    const struct traceql_query *filter;
    uint64_t bytes_max; /* of the texts, after which a job may stop; 0: none */
};

struct query_tags_result {
    struct query_tag *tags; /* distinct, in the order of query_tag_cmp */
    uint32_t count;
    uint64_t inspected_bytes;
    bool truncated; /* bytes_max was met */
    struct query_stats stats;
};

/* ---- metrics ---- */

struct query_metrics {
    const struct traceql_query *query; /* shared, read-only */
    struct traceql_metrics_grid grid;
    uint32_t exemplars; /* at most so many; 0: none */
};

struct query_metrics_result {
    struct traceql_metrics *metrics; /* to be merged; in the job's arena */
    uint64_t inspected_bytes;
    uint64_t inspected_spans;
    struct query_stats stats;
};

/* ---- trace by id ---- */

struct query_trace_result {
    struct span_batch *batch; /* spans of the trace are appended, and perhaps others' spans */
    uint64_t inspected_bytes;
    struct query_stats stats;
};

/* ---- a pool of workers ---- */

/* Whether nobody waits for a job's result any more: it was told, or who asked has gone. */
struct query_cancel {
    atomic_bool told;
    bool (*gone)(const void *asker); /* may be NULL; any thread */
    const void *asker;
};

static inline bool query_cancel_wanted(const struct query_cancel *c)
{
    return atomic_load_explicit(&c->told, memory_order_relaxed) || (c->gone && c->gone(c->asker));
}

/* One piece of a query's data: a block or some of its row groups, or the tenant's live sections. A
 * trace is found in the whole block, whatever the row groups. */
struct query_source {
    struct slice tenant;
    struct catalog_block *block;     /* or NULL: live */
    const struct catalog_view *view; /* live: its sections */
    /* Of a block: row groups [first, end); end 0: all. */
    uint32_t row_group_first, row_group_end;
    const struct query_cancel *cancel; /* NULL: never */
};

/* Looked at before each row group; a job that is cancelled fails with ERR_CANCELLED. */
static inline bool query_is_cancelled(const struct query_source *s)
{
    return s->cancel && query_cancel_wanted(s->cancel);
}

struct query_worker {
    /* All block; results live in the arena, which also keeps alive what they point into. */
    int (*search)(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
    int (*legacy)(void *self, const struct query_source *source, const struct query_legacy *legacy,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
    int (*tags)(void *self, const struct query_source *source, const struct query_tags *tags,
                uint64_t deadline_mono_ns, struct arena *a, struct query_tags_result *out,
                struct err *err);
    int (*metrics)(void *self, const struct query_source *source,
                   const struct query_metrics *metrics, uint64_t deadline_mono_ns, struct arena *a,
                   struct query_metrics_result *out, struct err *err);
    int (*find_trace)(void *self, const struct query_source *source, const uint8_t id[16],
                      uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                      struct err *err);
    void *self;
};

#endif
