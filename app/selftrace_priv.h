/* What the files of the tracer share. */
#ifndef APP_SELFTRACE_PRIV_H
#define APP_SELFTRACE_PRIV_H

#include <pthread.h>

#include "app/selftrace.h"
#include "base/arena.h"
#include "base/vec.h"
#include "net/http_client.h"

/* Of everything that the variables say. */
#define LIMIT_SELFTRACE_MEMORY ((size_t)1 << 20)

struct selftrace_pair {
    struct slice key, value;
};

enum selftrace_sampler { SELFTRACE_ALL, SELFTRACE_NONE, SELFTRACE_RATIO };

struct selftrace_config {
    struct arena *arena;
    bool on;
    const char *url;
    VEC(const char *) headers; /* "name: value", then NULL */
    VEC(struct selftrace_pair) resource;
    bool gzip;
    uint64_t timeout_ms, delay_ms;
    uint32_t queue_max, batch_max;
    enum selftrace_sampler sampler; /* of a trace that begins here */
    bool parent_based;              /* a parent decides where there is one */
    uint64_t ratio;                 /* of 2^63 */
};

/* selftrace_env.c. Sets on; the rest only when it is on. clear in any case. */
int selftrace_config_read(const struct selftrace_opts *opts, struct selftrace_config *c,
                          struct err *err);
void selftrace_config_clear(struct selftrace_config *c);

struct selftrace {
    struct selftrace_config config;
    struct log log;
    const struct clock *clock;
    struct counter *exported, *dropped, *failed;
    struct http_client *client;
    struct log_limit complaints;
    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    /* hold mu */
    struct selftrace_span *queue; /* a ring of config.queue_max */
    uint32_t first, count;
    bool stop;
};

/* selftrace_export.c: takes spans from the queue and sends them, until stop. */
void *selftrace_thread(void *arg);
/* The request's body for these spans. */
int selftrace_encode(const struct selftrace_config *c, const struct selftrace_span *spans,
                     uint32_t count, struct buf *out, struct err *err);

#endif
