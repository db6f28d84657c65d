/* Takes jobs from links and runs them: the worker's side of query/job_link.h. One thread a link,
 * each the caller's own; one more thread listens to those that run a job for a cancel, and says
 * that they are alive. */
#ifndef WORKER_JOB_SERVER_H
#define WORKER_JOB_SERVER_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "query/query_codec.h"

struct job_server;

struct job_server_opts {
    struct query_worker worker;
    struct catalog *catalog; /* lends the sections of jobs about live spans */
    const struct log *log;
    struct metrics *metrics; /* may be NULL */
    const struct clock *clock;
};

int job_server_new(const struct job_server_opts *opts, struct job_server **out, struct err *err);
/* After job_server_stop, and when all calls of job_server_serve have returned. NULL is fine. */
void job_server_free(struct job_server *s);

/* Serves the link, a stream socket, which it takes and closes at the end: when the other side
 * closes it or breaks the protocol (err tells), or after job_server_stop or *leave, which may be
 * NULL. */
int job_server_serve(struct job_server *s, int fd, const atomic_bool *leave, struct err *err);

/* No more jobs: links that wait are left at once, the others after their job. Any thread. */
void job_server_stop(struct job_server *s);
bool job_server_stopping(const struct job_server *s);

#endif
