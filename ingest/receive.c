/* OTLP over HTTP and gRPC: transport checks, the decoding threads, and answers in the request's own
 * encoding. */
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/text.h"
#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

static const char protobuf_type[] = "application/x-protobuf";
static const char json_type[] = "application/json";
static const char buffer_full[] =
    "ingest buffer is full: the store is slower than the input";

static uint32_t retry_ms(const struct ingest *in)
{
    int64_t ns = in->opts.app->cfg.distributor.retry_after_on_resource_exhausted_ns;
    if (ns <= 0)
        return 0;
    /* +-20 %, so that refused clients do not come back together. */
    uint8_t r;
    random_bytes(&r, 1);
    uint64_t ms = (uint64_t)ns / NS_PER_MS;
    return (uint32_t)(ms * 4 / 5 + ms * 2 / 5 * r / 255);
}

static void push_free(struct push *p)
{
    flush_release(p->in, p);
    buf_clear(&p->own);
    vec_free(&p->traces);
    free(p);
}

static void count_spans(struct push *p, struct metrics_family *f, uint64_t n)
{
    const struct slice labels[] = {SLICE("otlp/otlp_receiver"),
                                   p->req->proto == NET_GRPC ? SLICE("grpc") : SLICE("http")};
    counter_add(metrics_counter_with(f, labels), n);
}

void push_succeed(struct push *p)
{
    struct ingest *in = p->in;
    struct buf body;
    buf_init(&body, 4096);
    count_spans(p, in->m.accepted, p->spans);
    histogram_observe(in->m.push_seconds, (double)(clock_mono_ns(in->opts.app->clock) -
                                                   p->req->received_mono_ns) /
                                              (double)NS_PER_S);
    struct slice message = slice_cstr(p->message);
    int rc = p->json ? otlp_response_json(p->rejected, message, &body)
                     : otlp_response_encode(p->rejected, message, &body);
    (void)rc; /* 4 KiB hold it */
    if (p->req->proto == NET_GRPC) {
        net_reply_grpc(p->req, 0, slice_of(NULL, 0), slice_of(NULL, 0), &body);
    } else {
        struct net_reply r = {
            .status = 200, .content_type = p->json ? json_type : protobuf_type, .body = body};
        net_reply(p->req, &r, false);
    }
    push_free(p);
}

/* The receivers' map from gRPC codes to HTTP. */
static int http_of_grpc(int code)
{
    switch (code) {
    case 1:
    case 4:
    case 10:
    case 11:
    case 14:
    case 15:
        return 503;
    case 8:
        return 429;
    case 3:
        return 400;
    case 16:
        return 401;
    case 7:
        return 403;
    case 12:
        return 404;
    default:
        return 500;
    }
}

static void reply_status(struct net_request *req, bool json, int http, int code, struct slice text,
                         uint32_t delay_ms)
{
    struct buf body;
    buf_init(&body, 8192);
    if (req->proto == NET_GRPC) {
        if (delay_ms)
            otlp_status_encode(code, text, delay_ms, &body);
        net_reply_grpc(req, code, text, buf_view(&body), NULL);
        buf_clear(&body);
        return;
    }
    if (json)
        otlp_status_json(code, text, delay_ms, &body);
    else
        otlp_status_encode(code, text, delay_ms, &body);
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", (delay_ms + 999) / 1000);
    const struct net_header after = {SLICE("retry-after"), slice_cstr(seconds)};
    struct net_reply r = {.status = http,
                          .content_type = json ? json_type : protobuf_type,
                          .headers = delay_ms ? &after : NULL,
                          .header_count = delay_ms ? 1 : 0,
                          .body = body};
    net_reply(req, &r, false);
}

void push_fail(struct push *p, int rc, const char *text, bool retry)
{
    struct ingest *in = p->in;
    int code = err_code_grpc(rc), http = http_of_grpc(code);
    if (rc == ERR_LIMIT)
        http = 413;
    uint64_t suppressed;
    if (log_limit_allow(&in->refused_lines, clock_mono_ns(in->opts.app->clock), NS_PER_S, 10,
                        &suppressed))
        LOG_WARN(&in->log, "request refused", KV_SLICE("tenant", p->tenant),
                 KV_SLICE("peer", p->req->peer), KV_I64("code", code), KV_STR("err", text),
                 KV_U64("suppressed", suppressed));
    reply_status(p->req, p->json, http, code, slice_cstr(text), retry ? retry_ms(in) : 0);
    push_free(p);
}

/* ---- decoding threads ---- */

/* Undoes the Content-Encoding; what the body grows by is reserved as well. */
static int unpack(struct push *p, struct err *err)
{
    struct ingest *in = p->in;
    if (p->encoding.len == 0)
        return 0;
    buf_init(&p->own, (size_t)in->opts.app->cfg.distributor.otlp.http.message_bytes_max);
    int rc = net_content_decode(p->encoding, p->body, &p->own, err);
    if (rc == ERR_LIMIT)
        return err_set(err, rc, "http: request body too large");
    if (rc < 0)
        return err->code = ERR_INVALID;
    size_t more = p->own.len > p->body.len ? p->own.len - p->body.len : 0;
    p->body = buf_view(&p->own);
    return flush_reserve(in, p, more) ? 0 : err_set(err, ERR_UNAVAILABLE, "%s", buffer_full);
}

static void push_run(struct pool_task *task)
{
    struct push *p = (struct push *)task;
    struct ingest *in = p->in;
    struct err err = {0};
    const char *reason = NULL;
    int rc = unpack(p, &err);
    if (rc == 0)
        rc = push_check(p, &reason, &err);
    if (rc < 0) {
        bool retry = rc == ERR_UNAVAILABLE || (reason && strcmp(reason, "rate_limited") == 0);
        if (reason && rc == ERR_EXHAUSTED)
            reason = "rate_limited";
        if (reason) {
            uint32_t spans = p->spans + p->rejected;
            const struct slice labels[] = {slice_cstr(reason), p->tenant};
            counter_add(metrics_counter_with(in->m.discarded, labels), spans);
            count_spans(p, in->m.refused, spans);
        }
        /* gRPC's own decoder says internal where HTTP says invalid. */
        if (p->req->proto == NET_GRPC && rc == ERR_INVALID && !reason) {
            char text[sizeof err.msg];
            snprintf(text, sizeof text, "grpc: error unmarshalling request: %.440s", err.msg);
            push_fail(p, ERR_CORRUPT, text, false);
            return;
        }
        push_fail(p, rc, err.msg, retry);
        return;
    }
    if (p->spans == 0) { /* nothing to store */
        push_succeed(p);
        return;
    }
    counter_add(metrics_counter_with(in->m.spans, &p->tenant), p->spans);
    counter_add(metrics_counter_with(in->m.bytes, &p->tenant), p->body.len);
    flush_push(in, p);
}

/* The tenant and room in the buffer, then to a decoding thread. Takes req. */
static void push_start(struct ingest *in, struct net_request *req, bool json,
                       struct slice encoding)
{
    struct push *p = calloc(1, sizeof *p);
    if (!p) {
        reply_status(req, json, 503, 14, SLICE("no memory for a request"), retry_ms(in));
        return;
    }
    *p = (struct push){.task = {push_run, NULL},
                       .in = in,
                       .req = req,
                       .json = json,
                       .encoding = encoding,
                       .body = req->body};
    struct err err = {0};
    int rc = app_tenant(in->opts.app, req, &p->tenant, &err);
    if (rc < 0) {
        push_fail(p, rc, err.msg, false);
        return;
    }
    if (!flush_reserve(in, p, p->body.len)) {
        push_fail(p, ERR_UNAVAILABLE, buffer_full, true);
        return;
    }
    pool_submit(in->decoders, &p->task);
}

/* ---- gRPC ---- */

void ingest_grpc(void *ctx, struct net_request *req)
{
    static const char service[] = "/opentelemetry.proto.collector.trace.v1.TraceService/";
    struct ingest *in = ctx;
    struct slice prefix = slice_of(service, sizeof service - 1);
    struct slice method = slice_from(req->path, prefix.len);
    char text[256];
    if (!slice_starts(req->path, prefix) || !slice_eq(method, SLICE("Export"))) {
        char shown[128];
        struct slice path = slice_from(req->path, 1);
        size_t slash = slice_find(path, '/');
        if (slice_starts(req->path, prefix))
            snprintf(text, sizeof text,
                     "unknown method %s for service "
                     "opentelemetry.proto.collector.trace.v1.TraceService",
                     text_escape(method, 60, shown, sizeof shown));
        else if (slash == 0 || path.len == 0)
            snprintf(text, sizeof text, "malformed method name: \"%s\"",
                     text_escape(req->path, 60, shown, sizeof shown));
        else
            snprintf(text, sizeof text, "unknown service %s",
                     text_escape(slice_of(path.ptr, slash), 60, shown, sizeof shown));
        reply_status(req, false, 404, 12, slice_cstr(text), 0);
        return;
    }
    if (req->body_rc < 0) {
        bool later = req->body_rc == ERR_UNAVAILABLE;
        reply_status(req, false, 400, err_code_grpc(req->body_rc), slice_cstr(req->body_err.msg),
                     later ? retry_ms(in) : 0);
        return;
    }
    push_start(in, req, false, slice_of(NULL, 0));
}

/* ---- HTTP ---- */

/* The media type without parameters, surrounding blanks cut. */
static struct slice media_type(struct slice header)
{
    struct slice t = slice_of(header.ptr, slice_find(header, ';'));
    while (t.len && (t.ptr[0] == ' ' || t.ptr[0] == '\t'))
        t = slice_from(t, 1);
    while (t.len && (t.ptr[t.len - 1] == ' ' || t.ptr[t.len - 1] == '\t'))
        t.len--;
    return t;
}

static bool check_http(struct net_request *req, bool *json)
{
    if (!slice_eq(req->path, SLICE("/v1/traces"))) {
        net_reply_text(req, 404, SLICE("404 page not found\n"));
        return false;
    }
    if (!slice_eq(req->method, SLICE("POST"))) {
        net_reply_text(req, 405, SLICE("405 method not allowed, supported: [POST]"));
        return false;
    }
    struct slice type = media_type(net_request_header(req, "content-type"));
    *json = slice_eq_nocase(type, slice_cstr(json_type));
    if (!*json && !slice_eq_nocase(type, slice_cstr(protobuf_type))) {
        net_reply_text(req, 415,
                       SLICE("415 unsupported media type, supported: [application/json, "
                             "application/x-protobuf]"));
        return false;
    }
    return true;
}

void ingest_http(void *ctx, struct net_request *req)
{
    struct ingest *in = ctx;
    bool json;
    if (!check_http(req, &json))
        return;
    if (req->body_rc == ERR_UNAVAILABLE) {
        reply_status(req, json, 503, 14, slice_cstr(req->body_err.msg), retry_ms(in));
        return;
    }
    if (req->body_rc < 0) {
        reply_status(req, json, 413, 8, SLICE("http: request body too large"), 0);
        return;
    }
    struct slice encoding = net_request_header(req, "content-encoding");
    if (slice_eq_nocase(encoding, SLICE("identity")))
        encoding = slice_of(NULL, 0);
    push_start(in, req, json, encoding);
}
