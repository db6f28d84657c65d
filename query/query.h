/* What a frontend asks of a worker, and what comes back: the jobs and results of a query. Plain
 * data in an arena, so that a codec can put them on a wire later; the vtable at the end is what a
 * pool of workers looks like from above. */
#ifndef QUERY_QUERY_H
#define QUERY_QUERY_H

#include "base/arena.h"
#include "block/block_meta.h"
#include "block/span.h"
#include "catalog/catalog.h"
#include "traceql/traceql.h"

/* ---- search ---- */

struct query_attr {
    struct slice key;
    const struct traceql_value *values; /* one, or the elements of an array */
    uint32_t count;
};

struct query_span {
    struct slice id; /* bytes as stored */
    struct slice name; /* empty unless the query shows names */
    uint64_t start_unix_ns;
    uint64_t duration_ns;
    struct query_attr *attrs;
    uint32_t attr_count;
};

struct query_spanset {
    struct query_span *spans; /* the first spss of them */
    uint32_t span_count;
    uint32_t matched; /* all of them */
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
    uint32_t spans_per_set;
    uint64_t start_unix_ns, end_unix_ns; /* trace must overlap [start, end]; end 0: any time */
};

struct query_search_result {
    struct query_trace *traces; /* in storage order */
    uint32_t trace_count;
    uint64_t inspected_bytes;
    uint32_t inspected_traces;
};

/* ---- trace by id ---- */

struct query_trace_result {
    struct span_batch *batch; /* spans of the trace are appended, and perhaps others' spans */
    uint64_t inspected_bytes;
};

/* ---- a pool of workers ---- */

/* One piece of a query's data: a block, or the tenant's live sections. */
struct query_source {
    struct slice tenant;
    struct catalog_block *block;      /* or NULL: live */
    const struct catalog_view *view;  /* live: its sections */
};

struct query_worker {
    /* Both block; results live in the arena, which also keeps alive what they point into. */
    int (*search)(void *self, const struct query_source *source, const struct query_search *search,
                  uint64_t deadline_mono_ns, struct arena *a, struct query_search_result *out,
                  struct err *err);
    int (*find_trace)(void *self, const struct query_source *source, const uint8_t id[16],
                      uint64_t deadline_mono_ns, struct arena *a, struct query_trace_result *out,
                      struct err *err);
    void *self;
};

#endif
