/* A server in a child process, to be asked and watched. */
#ifndef RUBATO_BENCH_SERVER_H
#define RUBATO_BENCH_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "net/http_client.h"

struct bench_server_opts {
    const char *store;    /* a directory, or s3://bucket[/prefix] */
    const char *tenant;   /* NULL: the server has but one */
    const char *endpoint; /* of S3; NULL: Amazon's */
};

struct bench_server {
    pid_t pid; /* 0: none */
    uint16_t http_port;
    char dir[64]; /* of its configuration */
    char tenant_header[200];
    const char *headers[2];
    struct http_client *http;
};

/* Starts a frontend and worker and waits until they are ready. This process must not have threads
 * yet. bench_server_stop is due whatever comes back. */
int bench_server_start(const struct bench_server_opts *opts, struct bench_server *s,
                       struct err *err);
void bench_server_stop(struct bench_server *s);

/* A port of the loopback that nobody listens on; 0: there is none. */
uint16_t bench_free_port(void);
/* Waits, ten seconds at most, until the server there answers /ready. */
int bench_wait_ready(struct http_client *c, uint16_t http_port, struct err *err);

uint64_t bench_server_cpu_ns(const struct bench_server *s); /* all its threads, since its start */
void bench_server_reset_peak(const struct bench_server *s);
uint64_t bench_server_peak(const struct bench_server *s); /* bytes in memory, since the reset */

#endif
