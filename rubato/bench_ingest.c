/* rubato bench ingest: replays OTLP requests to a server of its own in a child process and reports
 * what that process spent, from the receiver to the finished blocks. The sender's cost is not in
 * the figures, though it shares the processors. */
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/vec.h"
#include "otlp/otlp.h"
#include "rubato/bench.h"
#include "rubato/bench_server.h"
#include "rubato/frames.h"
#include "rubato/http_tool.h"
#include "rubato/serve.h"

/* Requests under way at once: enough to fill segments instead of waiting for the flush window. */
#define SENDERS 64

struct bench {
    unsigned rounds;
    bool keep;
    char dir[64];
    uint16_t http_port, otlp_port;
    struct buf frames;
    VEC(struct slice) requests;
    uint64_t spans_per_round, bytes_per_round;
    struct http_client *http;
    pid_t server;

    pthread_mutex_t mu;
    uint64_t next;        /* hold mu: request to send */
    struct err first_err; /* hold mu */
};

static int usage(FILE *to)
{
    fputs("usage: rubato bench ingest [--rounds N] [--keep] FILE…\n"
          "\n"
          "FILE holds OTLP requests, each a 4-byte big-endian length and a protobuf\n"
          "ExportTraceServiceRequest; .zst is decompressed. Trace ids differ from round to round.\n"
          "\n"
          "  --rounds N   how often the files are replayed (as often as makes a million spans)\n"
          "  --keep       keep the blocks, and say where they are\n",
          to);
    return to == stdout ? 0 : 2;
}

/* ---- input ---- */

static int load(struct bench *b, char **files, int count, struct err *err)
{
    struct span_batch batch = {0};
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = frames_read_file(files[i], &b->frames, err);
    struct cursor c = cursor_of(buf_view(&b->frames));
    struct slice request;
    while (rc == 0 && (rc = frames_next(&c, &request, err)) == 0) {
        if (!vec_push(&b->requests, request))
            rc = err_set(err, ERR_NOMEM, "no memory for the frames");
        if (rc == 0) {
            span_batch_reset(&batch);
            rc = otlp_decode(request, &batch, err);
            b->spans_per_round += batch.spans.count;
            b->bytes_per_round += request.len;
        }
    }
    rc = rc > 0 ? 0 : rc;
    span_batch_clear(&batch);
    if (rc == 0 && b->spans_per_round == 0)
        rc = err_set(err, ERR_INVALID, "there are no spans in the files");
    return rc;
}

/* ---- the server ---- */

static int write_config(struct bench *b, char *path, size_t path_size, struct err *err)
{
    snprintf(path, path_size, "%s/bench.yaml", b->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(err, ERR_IO, "%s: %m", path);
    fprintf(f,
            "server:\n  http_listen_address: 127.0.0.1\n  http_listen_port: %u\n"
            "  grpc_listen_address: 127.0.0.1\n  grpc_listen_port: 0\n"
            "  log_level: warn\n"
            "distributor:\n  receivers:\n    otlp:\n      protocols:\n        http:\n"
            "          endpoint: 127.0.0.1:%u\n"
            "storage:\n  trace:\n    backend: local\n    local:\n      path: %s/data\n"
            "overrides:\n  defaults:\n    ingestion:\n      rate_limit_bytes: 1000000000000\n"
            "      burst_size_bytes: 1000000000000\n",
            b->http_port, b->otlp_port, b->dir);
    return fclose(f) == 0 ? 0 : err_set(err, ERR_IO, "%s: %m", path);
}

static int start_server(struct bench *b, struct err *err)
{
    char path[128], flag[160];
    b->http_port = bench_free_port();
    b->otlp_port = bench_free_port();
    int rc = write_config(b, path, sizeof path, err);
    if (rc < 0)
        return rc;
    snprintf(flag, sizeof flag, "-config.file=%s", path);
    fflush(NULL);
    b->server = fork();
    if (b->server < 0)
        return err_set(err, ERR_UNAVAILABLE, "fork: %m");
    if (b->server == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        char name[] = "rubato";
        char *argv[] = {name, flag, NULL};
        exit(serve(2, argv, "rubato", 0));
    }
    return 0;
}

/* ---- the sender ---- */

/* The request with trace ids of this round. */
static int of_round(struct slice request, uint64_t round, struct span_batch *batch,
                    uint32_t **order, struct buf *out, struct err *err)
{
    span_batch_reset(batch);
    int rc = otlp_decode(request, batch, err);
    if (rc < 0)
        return rc;
    uint32_t *grown = realloc(*order, batch->spans.count * sizeof **order);
    if (!grown)
        return err_set(err, ERR_NOMEM, "no memory for a request");
    *order = grown;
    uint64_t mix = round * UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t i = 0; i < batch->spans.count; i++) {
        for (size_t k = 0; k < 8; k++)
            batch->spans.at[i].trace_id[k] ^= (uint8_t)(mix >> (8 * k));
        grown[i] = i;
    }
    const struct trace all = {batch, grown, batch->spans.count};
    buf_reset(out);
    rc = otlp_encode(&all, out);
    return rc < 0 ? err_set(err, rc, "no memory for a request") : 0;
}

static bool take_next(struct bench *b, uint64_t *at)
{
    pthread_mutex_lock(&b->mu);
    bool more = b->next < (uint64_t)b->rounds * b->requests.count && b->first_err.code == 0;
    *at = b->next++;
    pthread_mutex_unlock(&b->mu);
    return more;
}

static void *sender(void *arg)
{
    static const char *const headers[] = {"Content-Type: application/x-protobuf", NULL};
    struct bench *b = arg;
    struct span_batch batch = {0};
    uint32_t *order = NULL;
    struct buf body;
    char url[64];
    buf_init(&body, (size_t)64 << 20);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces", b->otlp_port);
    for (uint64_t at; take_next(b, &at);) {
        struct err err = {0};
        struct slice request = b->requests.at[at % b->requests.count];
        int rc = of_round(request, at / b->requests.count, &batch, &order, &body, &err);
        /* A full buffer asks to come again: that is the protocol, not a failure. */
        for (int tries = 0; rc == 0 && tries < 200; tries++) {
            rc = tool_post(b->http, url, headers, buf_view(&body), &err);
            if (rc != ERR_UNAVAILABLE)
                break;
            usleep(50000);
            if (tries < 199)
                rc = 0;
        }
        if (rc < 0) {
            pthread_mutex_lock(&b->mu);
            b->first_err = err;
            pthread_mutex_unlock(&b->mu);
        }
    }
    buf_clear(&body);
    span_batch_clear(&batch);
    free(order);
    return NULL;
}

static int send_all(struct bench *b, struct err *err)
{
    pthread_t threads[SENDERS];
    unsigned n = 0;
    while (n < SENDERS && pthread_create(&threads[n], NULL, sender, b) == 0)
        n++;
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (b->first_err.code) {
        *err = b->first_err;
        return err->code;
    }
    return n ? 0 : err_set(err, ERR_UNAVAILABLE, "cannot start a sender");
}

static uint64_t metric_value(struct slice text, const char *name)
{
    size_t n = strlen(name);
    for (const uint8_t *p = text.ptr, *end = text.ptr + text.len; p < end;) {
        const uint8_t *line_end = memchr(p, '\n', (size_t)(end - p));
        line_end = line_end ? line_end : end;
        uint64_t v;
        if ((size_t)(line_end - p) > n + 1 && memcmp(p, name, n) == 0 && p[n] == ' ' &&
            parse_u64(slice_of(p + n + 1, (size_t)(line_end - p) - n - 1), &v))
            return v;
        p = line_end + 1;
    }
    return 0;
}

static int wait_built(struct bench *b, uint64_t spans, struct err *err)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/metrics", b->http_port);
    for (int i = 0; i < 1200; i++) {
        struct buf out;
        buf_init(&out, (size_t)16 << 20);
        int rc = tool_get(b->http, url, NULL, &out, err);
        uint64_t built = metric_value(buf_view(&out), "block_builder_spans_total");
        buf_clear(&out);
        if (rc < 0)
            return rc;
        if (built >= spans)
            return 0;
        usleep(100000);
    }
    return err_set(err, ERR_TIMEOUT, "the blocks are not finished in two minutes");
}

/* ---- the report ---- */

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F && slice_ends(slice_cstr(path), SLICE("/data.parquet")))
        printf("block            %11lld bytes\n", (long long)st->st_size);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void report(const struct bench *b, double seconds, double built_seconds,
                   const struct rusage *ru)
{
    double spans = (double)b->spans_per_round * b->rounds;
    double mb = (double)b->bytes_per_round * b->rounds / 1e6;
    double cpu = (double)ru->ru_utime.tv_sec + (double)ru->ru_utime.tv_usec / 1e6 +
                 (double)ru->ru_stime.tv_sec + (double)ru->ru_stime.tv_usec / 1e6;
    nftw(b->dir, add_size, 16, FTW_PHYS);
    printf("spans            %11.0f\n", spans);
    printf("acknowledged in  %11.2f s    %.0f spans/s, %.1f MB/s\n", seconds, spans / seconds,
           mb / seconds);
    printf("in blocks after  %11.2f s\n", built_seconds);
    printf("server CPU       %11.2f s    %.2f CPU seconds per million spans\n", cpu,
           cpu * 1e6 / spans);
    printf("server memory    %11.1f MB peak\n", (double)ru->ru_maxrss / 1024);
}

static int run(struct bench *b, struct err *err)
{
    uint64_t start = clock_mono_ns(&clock_system);
    int rc = send_all(b, err);
    uint64_t sent = clock_mono_ns(&clock_system);
    if (rc == 0)
        rc = wait_built(b, b->spans_per_round * b->rounds, err);
    uint64_t built = clock_mono_ns(&clock_system);
    struct rusage ru = {0};
    int status;
    kill(b->server, SIGTERM);
    wait4(b->server, &status, 0, &ru);
    b->server = 0;
    if (rc == 0)
        report(b, (double)(sent - start) / 1e9, (double)(built - start) / 1e9, &ru);
    return rc;
}

int bench_ingest(int argc, char **argv)
{
    static const struct option options[] = {{"rounds", required_argument, NULL, 'n'},
                                            {"keep", no_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {0};
    uint64_t number;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h')
            return usage(stdout);
        if (c == 'k')
            b.keep = true;
        else if (c == 'n' && parse_u64(slice_cstr(optarg), &number) && number && number < 1000000)
            b.rounds = (unsigned)number;
        else
            return usage(stderr);
    }
    if (optind == argc)
        return usage(stderr);
    struct err err = {0};
    pthread_mutex_init(&b.mu, NULL);
    buf_init(&b.frames, FRAMES_BYTES_MAX);
    snprintf(b.dir, sizeof b.dir, "/tmp/rubato-bench-XXXXXX");
    int rc = mkdtemp(b.dir) ? 0 : err_set(&err, ERR_IO, "%s: %m", b.dir);
    if (rc == 0)
        rc = load(&b, argv + optind, argc - optind, &err);
    if (rc == 0 && !b.rounds)
        b.rounds = (unsigned)((1000000 + b.spans_per_round - 1) / b.spans_per_round);
    if (rc == 0)
        rc = start_server(&b, &err); /* before this process has threads */
    if (rc == 0)
        rc = http_client_new(
            &(struct http_client_opts){.connections_max = SENDERS, .clock = &clock_system}, &b.http,
            &err);
    if (rc == 0)
        rc = bench_wait_ready(b.http, b.http_port, &err);
    if (rc == 0)
        rc = run(&b, &err);
    if (b.server > 0) {
        kill(b.server, SIGKILL);
        waitpid(b.server, NULL, 0);
    }
    if (rc < 0)
        fprintf(stderr, "rubato bench: %s\n", err.msg);
    if (b.keep)
        printf("kept in %s/data\n", b.dir);
    else
        nftw(b.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    http_client_free(b.http);
    vec_free(&b.requests);
    buf_clear(&b.frames);
    return rc < 0 ? 1 : 0;
}
