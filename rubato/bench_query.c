/* rubato bench query: questions to a server of its own in a child process, over HTTP as clients ask
 * them. Beside each answer's time stands what the server spent for it: processor time, bytes read,
 * and memory at the peak. A fixed loop is timed in the same run, so that figures of different
 * machines can be compared. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "rubato/bench.h"
#include "rubato/bench_server.h"
#include "rubato/http_tool.h"

#define ANSWER_BYTES_MAX ((size_t)512 << 20)
#define TRACE_IDS 200
#define REPEATS_MAX 10000

static const struct question {
    const char *name;
    const char *path;
    const char *q;
    const char *more; /* further parameters */
    bool ranged;      /* a metrics query over all the data's time */
} questions[] = {
    {"status code 503", "/api/search", "{ span.http.status_code = 503 }", "limit=1000", false},
    {"url by regex", "/api/search", "{ span.http.url =~ \".*product/4242.*\" }", "limit=1000",
     false},
    {"amount, any scope", "/api/search", "{ .app.order.amount > 999.9 }", "limit=1000", false},
    {"checkout >> failed db", "/api/search",
     "{ resource.service.name = \"checkout\" } >> { span.db.system = \"postgresql\" && status = "
     "error }",
     "limit=1000", false},
    {"errors, more than 4", "/api/search", "{ status = error } | count() > 4", "limit=1000", false},
    {"rate by service", "/api/metrics/query_range", "{} | rate() by (resource.service.name)", NULL,
     true},
    {"quantiles by service", "/api/metrics/query_range",
     "{} | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)", NULL, true},
    {"avg length by method", "/api/metrics/query_range",
     "{} | avg_over_time(span.http.response_content_length) by (span.http.method)", NULL, true},
    {"values of user_agent", "/api/v2/search/tag/span.http.user_agent/values", NULL, NULL, false},
    {"not there at all", "/api/search", "{ span.http.url = \"nothing\" }", "limit=20", false},
    {"slowest, 20", "/api/search", "{ duration > 1s }", "limit=20", false},
    {"trace by id", "/api/traces/", NULL, NULL, false},
};
enum { QUESTIONS = sizeof questions / sizeof questions[0] };

struct figures {
    uint64_t p50_ns, p95_ns, cpu_ns;
    uint64_t bytes_read, answer_bytes, peak_bytes;
};

struct bench {
    bool json;
    const char *only;
    uint64_t spans; /* of the data; 0: not known */
    unsigned repeats;
    struct bench_server_opts server_opts;
    struct bench_server server;
    uint64_t start_s, end_s;
    char (*ids)[33]; /* of traces that are there */
    unsigned id_count;
    uint64_t loop_ns;
    struct figures figures[QUESTIONS];
};

static int usage(FILE *to)
{
    fputs(
        "usage: rubato bench query [--json] [--spans N] [--repeat N] [--only TEXT]\n"
        "                          [--endpoint HOST:PORT] [STORE [TENANT]]\n"
        "\n"
        "Asks a server of its own a dozen questions. STORE is a directory or s3://BUCKET[/PREFIX]\n"
        "with credentials from the environment; without one, data of the built-in shop is made\n"
        "once and kept in the cache directory.\n"
        "\n"
        "  --json         one JSON object instead of the table\n"
        "  --spans N      size of the shop's data (5000000); with STORE: for spans a second\n"
        "  --repeat N     how often each question is asked (15)\n"
        "  --only TEXT    only questions with TEXT in their names\n"
        "  --endpoint H   of the S3 store\n",
        to);
    return to == stdout ? 0 : 2;
}

/* ---- the machine ---- */

/* A loop of dependent multiplications and additions: what one core does, whatever its memory. */
static uint64_t loop_ns(void)
{
    uint64_t best = UINT64_MAX;
    for (int run = 0; run < 5; run++) {
        uint64_t start = clock_mono_ns(&clock_system), x = (uint64_t)run + 1;
        for (uint32_t i = 0; i < 20000000; i++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
            __asm__ volatile("" : "+r"(x));
        }
        uint64_t took = clock_mono_ns(&clock_system) - start;
        best = took < best ? took : best;
    }
    return best;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ---- asking ---- */

static int make_url(struct bench *b, const struct question *q, unsigned round, struct buf *url)
{
    int rc = buf_printf(url, "http://127.0.0.1:%u%s", b->server.http_port, q->path);
    if (rc == 0 && slice_ends(slice_cstr(q->path), SLICE("/traces/")))
        rc = buf_str(url, b->ids[round % b->id_count]);
    if (rc == 0 && q->q)
        rc = tool_url_param(url, "q", slice_cstr(q->q));
    if (rc == 0 && q->more)
        rc = buf_printf(url, "&%s", q->more);
    if (rc == 0 && q->ranged)
        rc = buf_printf(url, "&start=%llu&end=%llu&step=60s", (unsigned long long)b->start_s,
                        (unsigned long long)b->end_s);
    return rc < 0 ? rc : buf_u8(url, 0);
}

static int ask(struct bench *b, const struct question *q, unsigned round, struct buf *out,
               struct err *err)
{
    struct buf url;
    buf_init(&url, 8192);
    int rc = make_url(b, q, round, &url);
    if (rc < 0)
        err_set(err, rc, "no memory for a question");
    if (rc == 0)
        rc = tool_get(b->server.http, (const char *)url.ptr, b->server.headers, out, err);
    buf_clear(&url);
    return rc;
}

/* metrics.inspectedBytes of an answer; 0 where there is none. */
static uint64_t inspected(struct slice answer)
{
    uint64_t bytes = 0;
    cJSON *doc = cJSON_ParseWithLength((const char *)answer.ptr, answer.len);
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(doc, "metrics");
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(m, "inspectedBytes");
    if (cJSON_IsString(v) && !parse_u64(slice_cstr(v->valuestring), &bytes))
        bytes = 0;
    cJSON_Delete(doc);
    return bytes;
}

static int measure(struct bench *b, const struct question *q, struct figures *f, struct err *err)
{
    uint64_t took[REPEATS_MAX] = {0};
    struct buf out;
    unsigned rounds = strcmp(q->path, "/api/traces/") == 0 ? b->repeats * 10 : b->repeats;
    rounds = rounds < REPEATS_MAX ? rounds : REPEATS_MAX;
    buf_init(&out, ANSWER_BYTES_MAX);
    int rc = ask(b, q, 0, &out, err); /* warms the caches */
    f->bytes_read = rc == 0 ? inspected(buf_view(&out)) : 0;
    f->answer_bytes = out.len;
    bench_server_reset_peak(&b->server);
    uint64_t cpu = bench_server_cpu_ns(&b->server);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        buf_reset(&out);
        uint64_t start = clock_mono_ns(&clock_system);
        rc = ask(b, q, i, &out, err);
        took[i] = clock_mono_ns(&clock_system) - start;
    }
    buf_clear(&out);
    if (rc < 0)
        return err_wrap(err, "%s", q->name);
    f->cpu_ns = (bench_server_cpu_ns(&b->server) - cpu) / rounds;
    f->peak_bytes = bench_server_peak(&b->server);
    qsort(took, rounds, sizeof *took, compare_u64);
    f->p50_ns = took[rounds / 2];
    f->p95_ns = took[rounds * 19 / 20 < rounds ? rounds * 19 / 20 : 0];
    return 0;
}

/* Ids of some traces, and the time of the newest and oldest of these where it is not known. */
static int find_traces(struct bench *b, struct err *err)
{
    static const struct question any = {"any traces", "/api/search", "{}", "limit=200", false};
    struct buf out;
    buf_init(&out, ANSWER_BYTES_MAX);
    int rc = ask(b, &any, 0, &out, err);
    cJSON *doc = rc == 0 ? cJSON_ParseWithLength((const char *)out.ptr, out.len) : NULL;
    const cJSON *traces = cJSON_GetObjectItemCaseSensitive(doc, "traces"), *t;
    uint64_t first_s = UINT64_MAX, last_s = 0;
    cJSON_ArrayForEach(t, traces)
    {
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(t, "traceID");
        const cJSON *start = cJSON_GetObjectItemCaseSensitive(t, "startTimeUnixNano");
        uint64_t ns;
        if (cJSON_IsString(id) && b->id_count < TRACE_IDS)
            snprintf(b->ids[b->id_count++], sizeof *b->ids, "%s", id->valuestring);
        if (cJSON_IsString(start) && parse_u64(slice_cstr(start->valuestring), &ns)) {
            first_s = ns / NS_PER_S < first_s ? ns / NS_PER_S : first_s;
            last_s = ns / NS_PER_S > last_s ? ns / NS_PER_S : last_s;
        }
    }
    cJSON_Delete(doc);
    buf_clear(&out);
    if (rc == 0 && b->id_count == 0)
        rc = err_set(err, ERR_NOTFOUND, "the store has no traces of tenant %s",
                     b->server_opts.tenant);
    if (rc == 0 && !b->end_s) {
        b->start_s = first_s - BENCH_RANGE_S / 2;
        b->end_s = last_s + BENCH_RANGE_S / 2;
    }
    return rc;
}

/* ---- the report ---- */

static bool wanted(const struct bench *b, size_t i)
{
    return !b->only || strstr(questions[i].name, b->only);
}

static double spans_per_s(const struct bench *b, const struct figures *f)
{
    return f->p50_ns ? (double)b->spans * 1e9 / (double)f->p50_ns : 0;
}

static void report_table(const struct bench *b)
{
    printf("fixed loop %.1f ms; %llu spans\n\n%-24s %9s %9s %7s %9s %9s %9s %8s\n",
           (double)b->loop_ns / 1e6, (unsigned long long)b->spans, "question", "p50 ms", "p95 ms",
           "loops", "CPU ms", "Mspans/s", "read MB", "peak MB");
    for (size_t i = 0; i < QUESTIONS; i++) {
        const struct figures *f = &b->figures[i];
        if (wanted(b, i))
            printf("%-24s %9.2f %9.2f %7.2f %9.2f %9.1f %9.2f %8.0f\n", questions[i].name,
                   (double)f->p50_ns / 1e6, (double)f->p95_ns / 1e6,
                   (double)f->p50_ns / (double)b->loop_ns, (double)f->cpu_ns / 1e6,
                   spans_per_s(b, f) / 1e6, (double)f->bytes_read / 1e6,
                   (double)f->peak_bytes / 1e6);
    }
}

static void report_json(const struct bench *b)
{
    const char *sep = "";
    printf("{\"loopMs\":%.3f,\"spans\":%llu,\"questions\":[", (double)b->loop_ns / 1e6,
           (unsigned long long)b->spans);
    for (size_t i = 0; i < QUESTIONS; i++) {
        const struct figures *f = &b->figures[i];
        if (!wanted(b, i))
            continue;
        printf("%s{\"name\":\"%s\",\"p50Ms\":%.3f,\"p95Ms\":%.3f,\"loops\":%.3f,\"cpuMs\":%.3f,"
               "\"spansPerSecond\":%.0f,\"bytesRead\":%llu,\"answerBytes\":%llu,"
               "\"peakBytes\":%llu}",
               sep, questions[i].name, (double)f->p50_ns / 1e6, (double)f->p95_ns / 1e6,
               (double)f->p50_ns / (double)b->loop_ns, (double)f->cpu_ns / 1e6, spans_per_s(b, f),
               (unsigned long long)f->bytes_read, (unsigned long long)f->answer_bytes,
               (unsigned long long)f->peak_bytes);
        sep = ",";
    }
    printf("]}\n");
}

/* ---- ---- */

static int run(struct bench *b, struct err *err)
{
    b->loop_ns = loop_ns();
    b->ids = calloc(TRACE_IDS, sizeof *b->ids);
    int rc = b->ids ? find_traces(b, err) : err_set(err, ERR_NOMEM, "no memory for trace ids");
    for (size_t i = 0; i < QUESTIONS && rc == 0; i++) {
        if (wanted(b, i))
            rc = measure(b, &questions[i], &b->figures[i], err);
    }
    if (rc == 0 && b->json)
        report_json(b);
    else if (rc == 0)
        report_table(b);
    free(b->ids);
    return rc;
}

/* 0: go on; 1 or 2: the exit status; -1: help was asked for. */
static int take_args(int argc, char **argv, struct bench *b)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"spans", required_argument, NULL, 's'},
                                            {"repeat", required_argument, NULL, 'r'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"endpoint", required_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t number;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h') {
            usage(stdout);
            return -1;
        }
        if (c == 'j')
            b->json = true;
        else if (c == 'o')
            b->only = optarg;
        else if (c == 'e')
            b->server_opts.endpoint = optarg;
        else if (c == 's' && parse_u64(slice_cstr(optarg), &number) && number &&
                 number <= UINT64_C(1000000000))
            b->spans = number;
        else if (c == 'r' && parse_u64(slice_cstr(optarg), &number) && number &&
                 number <= REPEATS_MAX / 10)
            b->repeats = (unsigned)number;
        else
            return usage(stderr);
    }
    if (argc - optind > 2)
        return usage(stderr);
    b->server_opts.store = optind < argc ? argv[optind] : NULL;
    b->server_opts.tenant = optind + 1 < argc ? argv[optind + 1] : NULL;
    return 0;
}

int bench_query(int argc, char **argv)
{
    struct bench b = {.repeats = 15};
    struct err err = {0};
    char dir[4096];
    int rc = take_args(argc, argv, &b);
    if (rc != 0)
        return rc < 0 ? 0 : rc;
    if (!b.server_opts.store) {
        b.spans = b.spans ? b.spans : 5000000;
        b.server_opts.store = dir;
        b.server_opts.tenant = BENCH_TENANT;
        b.start_s = BENCH_START_S;
        b.end_s = BENCH_START_S + BENCH_RANGE_S;
        rc = bench_data(b.spans, dir, sizeof dir, &err);
        malloc_trim(0); /* what is left of it would count as the server's */
    }
    if (rc == 0)
        rc = bench_server_start(&b.server_opts, &b.server, &err);
    if (rc == 0)
        rc = run(&b, &err);
    bench_server_stop(&b.server);
    if (rc < 0)
        fprintf(stderr, "rubato bench: %s\n", err.msg);
    return rc < 0 ? 1 : 0;
}
