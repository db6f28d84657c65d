/* The frontend's parts, shared by its files. */
#ifndef FRONTEND_FRONTEND_PRIV_H
#define FRONTEND_FRONTEND_PRIV_H

#include "app/selftrace.h"
#include "base/pool.h"
#include "frontend/accounting.h"
#include "frontend/fair_pool.h"
#include "frontend/frontend.h"
#include "frontend/frontend_limits.h"

struct admission;
struct deny_list;

struct frontend {
    struct frontend_opts opts;
    struct log log;
    struct accounting accounting;
    struct admission *admission;
    struct deny_list *denied;
    struct fair_pool *requests, *jobs;
};

/* What its tenants allow a query; 0: no limit. */
struct query_limits {
    int64_t search_duration_ns, metrics_duration_ns;
    uint64_t trace_bytes, tag_bytes;
    int64_t tag_blocks;
};

/* A request while it is answered: one thread, one arena. */
struct query {
    struct frontend *frontend;
    struct net_request *req;    /* what is asked; of a call, in HTTP's terms */
    struct net_request *client; /* who waits for the answer: req, or a call; NULL: no connection */
    uint64_t streamed_mono_ns;  /* the last message of a stream, or its beginning */
    struct slice tenant; /* as it was named: "a", "a|b" */
    struct slice tenants[LIMIT_QUERY_TENANTS]; /* each once, in order */
    size_t tenant_count;
    struct query_limits limits;
    struct query_account account;
    struct selftrace_span span;
    uint64_t deadline_mono_ns;
    struct arena_budget memory; /* of the next and of all its jobs' results */
    struct arena *arena;
    enum fair_class class;      /* of its jobs */
    uint64_t job_bytes;         /* what one of them reads, about */
    struct query_cancel cancel; /* its jobs end when the client has gone */
};

enum { GRPC_UNKNOWN = 2, GRPC_DEADLINE_EXCEEDED = 4 };

/* An answer in the making. */
struct answer {
    int status;
    int grpc_status; /* of a call; 0: what follows from status */
    const char *content_type;
    struct buf body;
};

/* ---- tenants.c ---- */

/* Sets the tenants and their limits. As app_tenants fails. */
int query_tenants(struct query *q, struct err *err);

/* All that the query's tenants have at this moment. */
struct query_data {
    struct catalog_view *views; /* of q->tenants */
    size_t view_count;
    struct query_source *live; /* of each tenant that has live spans */
    size_t live_count;
    struct query_source *blocks; /* of all, newest end time first */
    size_t block_count;
};

/* In the query's arena; release before it goes. On failure there is nothing to release. */
int query_data_acquire(struct query *q, struct query_data *out, struct err *err);
void query_data_release(struct query_data *d);

/* ---- what is asked ---- */

/* frontend.c: the whole answer to a query that has begun; the body is the caller's. */
void answer_query(struct query *q, struct answer *a);
/* The error's text becomes the answer. */
void answer_error(struct query *q, int rc, struct answer *a, const struct err *err);
/* grpc_api.c: the same for a call of tempopb.StreamingQuerier, whose answer may be sent in parts.
 */
void answer_call(struct query *q, struct answer *a);
/* What is left of the answer; takes the call back. */
void send_call(struct query *q, struct answer *a);

/* trace_api.c: v2 for /api/v2/traces/. id is the path's last segment as sent. */
int trace_api(struct query *q, bool v2, struct slice id, struct answer *out, struct err *err);
/* metrics_api.c */
int metrics_api(struct query *q, bool instant, struct answer *out, struct err *err);
/* metrics_summary.c */
int metrics_summary_api(struct query *q, struct answer *out, struct err *err);
/* search_api.c */
int search_api(struct query *q, struct answer *out, struct err *err);
/* legacy_search.c: minDuration and maxDuration, checked in any case, and without q the tags, given
 * as "tags" or, when there is no range of time either, as parameters of their own. */
int legacy_params(struct query *q, bool has_q, bool has_range, struct query_legacy *out,
                  struct err *err);
/* tags_api.c: whether the path is one of a question about tags, which is then answered, with *rc.
 */
bool tags_api(struct query *q, struct slice path, struct answer *out, int *rc, struct err *err);

/* Whether nobody waits for the answer any more. */
bool query_abandoned(const struct query *q);
/* Whether it is a gRPC call, which may get messages before the answer. */
static inline bool query_streams(const struct query *q)
{
    return q->client && q->client->proto == NET_GRPC;
}

/* ---- parameters ---- */

/* The decoded value in the arena; false: absent or empty. */
bool query_param(struct query *q, const char *name, struct slice *out);
/* Unix seconds. Absent: 0. ERR_INVALID "invalid start: …". */
int query_param_seconds(struct query *q, const char *name, uint64_t *out, struct err *err);
/* A decimal number; absent: the default. ERR_INVALID "invalid limit: …". */
int query_param_count(struct query *q, const char *name, bool zero_is_default, uint32_t fallback,
                      uint32_t *out, struct err *err);
/* ERR_INVALID for a query text longer than configured. */
int query_check_text(const struct query *q, struct slice text, struct err *err);
/* ERR_INVALID when a range, in seconds, is longer than that. */
int query_check_range(const struct query *q, uint64_t start_s, uint64_t end_s, uint64_t range_s,
                      struct err *err);
/* Whether the client wants protobuf, over HTTP. */
bool query_accepts_protobuf(const struct net_request *req);

/* ---- fan-out ---- */

/* A job of the query, as it shows in the query's trace. */
void query_job_begin(const struct query *q, const struct query_source *source,
                     struct selftrace_span *span);
void query_job_end(struct selftrace_span *span, int rc, const struct err *err,
                   uint64_t inspected_bytes);

/* Runs run(job i) for all i < count on the job pool and waits. */
int query_fan_out(struct query *q, size_t count, void (*run)(void *ctx, size_t i), void *ctx,
                  struct err *err);

/* search_merge.c: another fragment of the trace: earliest start, longest duration, first root, and
 * their services and spansets. False: the arena is full. */
bool search_merge(struct arena *a, struct query_trace *into, const struct query_trace *t);
#endif
