/* The write path's parts, shared by its files: receive.c (requests), push.c (checks), flush.c
 * (segments), builder.c (blocks), rate.c. */
#ifndef INGEST_INGEST_PRIV_H
#define INGEST_INGEST_PRIV_H

#include <pthread.h>

#include "base/pool.h"
#include "base/vec.h"
#include "ingest/ingest.h"
#include "ingest/ingest_limits.h"
#include "otlp/otlp.h"

struct rate {
    uint64_t bytes_per_s, burst_bytes;
};

/* One request from its arrival to its answer. */
struct push {
    struct pool_task task;
    struct ingest *in;
    struct net_request *req;
    bool json; /* HTTP with a JSON body: answered in JSON */
    struct slice tenant;
    struct rate rate;           /* the tenant's limits at this moment */
    size_t attribute_bytes_max; /* 0: none */
    bool retry_info;            /* a limit's refusal says when to come back */
    struct slice encoding; /* Content-Encoding of body while it is as it came; empty: none */
    struct slice body;  /* protobuf to store: in the request, or in own */
    size_t reserved;    /* bytes of shared.buffered_bytes that are this push's */
    struct buf own;     /* decompressed or encoded anew */
    uint32_t spans;     /* that are stored */
    uint32_t rejected;
    char message[256];  /* why some were rejected */
    uint64_t start_unix_ns, end_unix_ns;
    VEC(uint64_t) traces; /* fingerprints */
    struct push *next;
};

/* What checking a request needs and the next request can use again. */
struct push_scratch {
    struct span_batch batch;
    VEC(uint32_t) good; /* indices of spans that may be stored */
    struct push_scratch *next;
};

/* Pushes that become one segment. */
struct flush {
    struct push *first, **last;
    size_t bytes;
    uint32_t count;
    uint64_t due_mono_ns;
};

struct rate_limiter;

struct ingest {
    struct ingest_opts opts;
    struct log log;
    struct {
        struct metrics_family *accepted, *refused; /* receiver, transport */
        struct metrics_family *spans, *bytes;      /* tenant */
        struct metrics_family *discarded;          /* reason, tenant */
        struct metrics_family *truncated;          /* tenant */
        struct histogram *push_seconds, *flush_seconds, *flush_bytes, *build_seconds;
        struct counter *flushed, *failed_flushes, *backpressure, *built_spans, *failed_builds;
        struct gauge *buffered, *queue;
    } m;
    struct pool *decoders;
    struct rate_limiter *rate;
    struct log_limit refused_lines;

    pthread_t flushers[LIMIT_FLUSHERS];
    uint32_t flusher_count;
    pthread_t builder;
    bool builder_started;

    struct {
        pthread_mutex_t mu;
        pthread_cond_t work; /* something to flush, build or stop */
        pthread_cond_t idle; /* a flush or a build is done */
        struct flush open;
        size_t buffered_bytes; /* received and not answered */
        uint32_t flushing;     /* flushes in flight */
        uint32_t building;
        bool draining;         /* flush at once, take no more */
        bool build_now;
        bool stop;
        struct push_scratch *scratch; /* not in use now */
    } shared; /* hold mu */
};

/* receive.c: net handlers, ctx is the ingest. */
void ingest_http(void *ctx, struct net_request *req);
void ingest_grpc(void *ctx, struct net_request *req);
/* Answers and frees. */
void push_succeed(struct push *p);
void push_fail(struct push *p, int rc, const char *text, bool retry);

/* push.c: checks a decoded request; sets body, spans, times, fingerprints. On failure *reason is
 * the label of the discard metric (static), or NULL. */
int push_check(struct push *p, const char **reason, struct err *err);
void push_scratch_free(struct push_scratch *s); /* and those behind it; NULL is fine */

/* flush.c */
/* Makes room for a request of that many bytes, to be held until its answer. False: the buffer is
 * full. One request is always taken, however large: the receivers bound it. */
bool flush_reserve(struct ingest *in, struct push *p, size_t bytes);
void flush_release(struct ingest *in, struct push *p);
/* Adds to the open batch, or answers when the process is stopping. */
void flush_push(struct ingest *in, struct push *p);
void *flush_thread(void *arg);

/* builder.c */
void *builder_thread(void *arg);

/* rate.c */
int rate_limiter_new(struct rate_limiter **out, struct err *err);
void rate_limiter_free(struct rate_limiter *r);
/* Takes bytes from the tenant's bucket or refuses with Tempo's text. The limit is that of this
 * moment. *retry: false when the request could never pass. */
int rate_limiter_take(struct rate_limiter *r, struct slice tenant, const struct rate *limit,
                      uint64_t bytes, uint64_t now_ns, bool *retry, struct err *err);

#endif
