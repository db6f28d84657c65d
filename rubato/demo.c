/* rubato demo: a minute of shop traffic to a running server, then three questions and their
 * answers, so that a newcomer sees something real at once. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "otlp/otlp.h"
#include "rubato/http_tool.h"
#include "rubato/shop.h"
#include "rubato/tools.h"

struct demo {
    const char *send, *ask, *tenant;
    unsigned seconds, traces_per_second;
    char tenant_header[200];
    const char *post_headers[4], *get_headers[3];
    struct http_client *http;
    struct arena *arena;
    struct span_batch batch;
    struct shop shop;
    uint64_t sent_traces, sent_spans;
};

static int usage(FILE *to)
{
    fputs("usage: rubato demo [--send URL] [--ask URL] [--tenant ID] [--seconds N] [--rate N]\n"
          "\n"
          "Sends synthetic shop traffic (services, errors, events, links) to a running server,\n"
          "then asks three questions and prints the answers.\n"
          "\n"
          "  --send URL     OTLP/HTTP receiver (http://localhost:4318)\n"
          "  --ask URL      query API (http://localhost:3200)\n"
          "  --tenant ID    sent as X-Scope-OrgID (none)\n"
          "  --seconds N    how long to send (60)\n"
          "  --rate N       traces a second (20)\n",
          to);
    return to == stdout ? 0 : 2;
}

static int send_second(struct demo *d, struct err *err)
{
    span_batch_reset(&d->batch);
    arena_reset(d->arena);
    uint64_t now = clock_unix_ns(&clock_system);
    for (unsigned i = 0; i < d->traces_per_second; i++) {
        if (!shop_trace(&d->shop, now + i * (NS_PER_S / d->traces_per_second) - 2 * NS_PER_S,
                        d->arena, &d->batch))
            return err_set(err, ERR_NOMEM, "no memory for the demo's traces");
    }
    uint32_t n = d->batch.spans.count;
    uint32_t *order = arena_array(d->arena, uint32_t, n);
    if (!order)
        return arena_err(d->arena, err, "the demo's traces");
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    const struct trace all = {&d->batch, order, n};
    struct buf body, url;
    buf_init(&body, (size_t)64 << 20);
    buf_init(&url, 4096);
    int rc = otlp_encode(&all, &body);
    rc = rc < 0 ? rc : buf_printf(&url, "%s/v1/traces", d->send);
    rc = rc < 0 ? rc : buf_u8(&url, 0);
    if (rc < 0)
        err_set(err, rc, "no memory for the demo's traces");
    else
        rc = tool_post(d->http, (const char *)url.ptr, d->post_headers, buf_view(&body), err);
    buf_clear(&body);
    buf_clear(&url);
    d->sent_traces += d->traces_per_second;
    d->sent_spans += n;
    return rc;
}

/* ---- questions ---- */

static const char *text_of(const cJSON *o, const char *key, const char *otherwise)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(v) ? v->valuestring : otherwise;
}

static void print_traces(const cJSON *doc)
{
    const cJSON *traces = cJSON_GetObjectItemCaseSensitive(doc, "traces"), *t;
    int shown = 0;
    cJSON_ArrayForEach(t, traces)
    {
        if (shown++ == 5)
            break;
        const cJSON *ms = cJSON_GetObjectItemCaseSensitive(t, "durationMs");
        const cJSON *set = cJSON_GetObjectItemCaseSensitive(t, "spanSet");
        const cJSON *matched = cJSON_GetObjectItemCaseSensitive(set, "matched");
        printf("    %-32s %-12s %-22s %5d ms  %d span%s matched\n", text_of(t, "traceID", "?"),
               text_of(t, "rootServiceName", "?"), text_of(t, "rootTraceName", "?"),
               cJSON_IsNumber(ms) ? ms->valueint : 0,
               cJSON_IsNumber(matched) ? matched->valueint : 0,
               cJSON_IsNumber(matched) && matched->valueint == 1 ? "" : "s");
    }
    int all = cJSON_GetArraySize(traces);
    if (all > 5)
        printf("    … and %d more\n", all - 5);
    if (all == 0)
        printf("    nothing\n");
}

static int ask(struct demo *d, const char *what, const char *q, struct err *err)
{
    struct buf url, out;
    buf_init(&url, 8192);
    buf_init(&out, (size_t)64 << 20);
    int rc = buf_printf(&url, "%s/api/search", d->ask);
    rc = rc < 0 ? rc : tool_url_param(&url, "q", slice_cstr(q));
    rc = rc < 0 ? rc : buf_u8(&url, 0);
    if (rc == 0) {
        printf("\n%s\n  %s\n  curl -G %s/api/search --data-urlencode 'q=%s'%s%s\n", what, q,
               d->ask, q, d->tenant ? " -H " : "", d->tenant ? d->tenant_header : "");
        rc = tool_get(d->http, (const char *)url.ptr, d->get_headers, &out, err);
    }
    if (rc == 0) {
        cJSON *doc = cJSON_ParseWithLength((const char *)out.ptr, out.len);
        if (doc)
            print_traces(doc);
        else
            rc = err_set(err, ERR_CORRUPT, "%s did not answer with JSON", d->ask);
        cJSON_Delete(doc);
    }
    buf_clear(&url);
    buf_clear(&out);
    return rc;
}

static int run(struct demo *d, struct err *err)
{
    static const struct {
        const char *what, *q;
    } questions[] = {
        {"What failed?", "{ status = error }"},
        {"Where does checkout take longer than 100 ms?",
         "{ resource.service.name = \"checkout\" && duration > 100ms }"},
        {"Which traces are slower than a second from end to end?",
         "{ name = \"POST /checkout\" && duration > 1s }"},
    };
    printf("sending %u traces a second to %s for %u s\n", d->traces_per_second, d->send,
           d->seconds);
    for (unsigned s = 0; s < d->seconds; s++) {
        uint64_t next = clock_mono_ns(&clock_system) + NS_PER_S;
        int rc = send_second(d, err);
        if (rc < 0)
            return rc;
        printf("\r%llu traces, %llu spans acknowledged", (unsigned long long)d->sent_traces,
               (unsigned long long)d->sent_spans);
        fflush(stdout);
        uint64_t now = clock_mono_ns(&clock_system);
        if (s + 1 < d->seconds && now < next) {
            struct timespec ts = {.tv_nsec = (long)(next - now)};
            if (next - now >= NS_PER_S)
                ts = (struct timespec){1, 0};
            nanosleep(&ts, NULL);
        }
    }
    printf("\n");
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        int rc = ask(d, questions[i].what, questions[i].q, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int tool_demo(int argc, char **argv)
{
    static const struct option options[] = {
        {"send", required_argument, NULL, 's'},    {"ask", required_argument, NULL, 'a'},
        {"tenant", required_argument, NULL, 't'},  {"seconds", required_argument, NULL, 'n'},
        {"rate", required_argument, NULL, 'r'},    {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct demo d = {.send = "http://localhost:4318",
                     .ask = "http://localhost:3200",
                     .seconds = 60,
                     .traces_per_second = 20,
                     .shop = {.rng = {clock_unix_ns(&clock_system)}}};
    uint64_t number;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            d.send = optarg;
            break;
        case 'a':
            d.ask = optarg;
            break;
        case 't':
            d.tenant = optarg;
            break;
        case 'n':
        case 'r':
            if (!parse_u64(slice_cstr(optarg), &number) || number == 0 || number > 100000) {
                fprintf(stderr, "rubato demo: %s is not a number from 1 to 100000\n", optarg);
                return 2;
            }
            *(c == 'n' ? &d.seconds : &d.traces_per_second) = (unsigned)number;
            break;
        case 'h':
            return usage(stdout);
        default:
            return usage(stderr);
        }
    }
    if (optind < argc)
        return usage(stderr);
    snprintf(d.tenant_header, sizeof d.tenant_header, "X-Scope-OrgID:%s",
             d.tenant ? d.tenant : "");
    d.post_headers[0] = "Content-Type: application/x-protobuf";
    d.post_headers[1] = d.tenant ? d.tenant_header : NULL;
    d.get_headers[0] = d.tenant ? d.tenant_header : NULL;
    struct err err = {0};
    d.arena = arena_new((size_t)256 << 20);
    int rc = d.arena ? http_client_new(&(struct http_client_opts){.clock = &clock_system}, &d.http,
                                       &err)
                     : err_set(&err, ERR_NOMEM, "no memory");
    if (rc == 0)
        rc = run(&d, &err);
    if (rc < 0)
        fprintf(stderr, "\nrubato demo: %s\n", err.msg);
    http_client_free(d.http);
    span_batch_clear(&d.batch);
    arena_free(d.arena);
    return rc < 0 ? 1 : 0;
}
