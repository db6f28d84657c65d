/* Traces of the program itself, by the standard variables of OpenTelemetry's SDKs:
 * OTEL_TRACES_EXPORTER (otlp, none), OTEL_EXPORTER_OTLP_[TRACES_]{ENDPOINT, HEADERS, TIMEOUT,
 * COMPRESSION, PROTOCOL}, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER[_ARG],
 * OTEL_BSP_*, OTEL_SDK_DISABLED. As in Tempo there is no tracer unless OTEL_TRACES_EXPORTER or one
 * of the endpoints is set. Spans are sent as OTLP/HTTP protobuf by a thread of their own.
 *
 *   struct selftrace_span span;
 *   selftrace_request(tracer, req, "search", &span);
 *   selftrace_text(&span, "tenant", tenant);
 *   …
 *   selftrace_end(&span, NULL);
 *
 * A span lives on its owner's stack, one thread at a time, and is copied into a bounded queue at
 * its end; when that is full the span is dropped and counted. Nothing here blocks, and all of it is
 * fine with a tracer that is NULL. */
#ifndef APP_SELFTRACE_H
#define APP_SELFTRACE_H

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/net_server.h"

struct selftrace;

struct selftrace_opts {
    config_env_fn *env;
    void *env_ctx;
    const char *service; /* unless OTEL_SERVICE_NAME says otherwise */
    const char *version;
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
};

/* *out is NULL when no variable asks for a tracer. ERR_INVALID names a variable that cannot be
 * honoured, in Tempo's words for an unknown exporter. */
int selftrace_new(const struct selftrace_opts *opts, struct selftrace **out, struct err *err);
/* Sends what there is, for at most five seconds. All spans have ended. NULL is fine. */
void selftrace_free(struct selftrace *t);

/* Attributes of a span, and bytes of all their texts; more is left out, or cut. */
#define SELFTRACE_ATTRS 8
#define SELFTRACE_TEXT_BYTES 480

struct selftrace_span {
    struct selftrace *tracer; /* NULL: nothing is recorded */
    uint8_t trace_id[16], id[8], parent[8];
    bool has_parent, failed;
    bool server; /* of a request; else inside */
    const char *name;
    uint64_t start_unix_ns, end_unix_ns;
    struct {
        const char *key;
        bool is_text;
        uint16_t at, len; /* in text */
        int64_t number;
    } attrs[SELFTRACE_ATTRS];
    uint8_t attr_count;
    uint16_t text_len, message_at, message_len;
    char text[SELFTRACE_TEXT_BYTES];
};

/* The span of a request, below the one that its traceparent names. name is static. */
void selftrace_request(struct selftrace *t, const struct net_request *req, const char *name,
                       struct selftrace_span *out);
/* A span below another, of any thread. */
void selftrace_child(const struct selftrace_span *parent, const char *name,
                     struct selftrace_span *out);
/* Keys are static. */
void selftrace_text(struct selftrace_span *s, const char *key, struct slice value);
void selftrace_number(struct selftrace_span *s, const char *key, int64_t value);
/* error: NULL, or why it failed. */
void selftrace_end(struct selftrace_span *s, const char *error);

#endif
