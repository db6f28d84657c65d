/* The write path's life: metrics, threads, receivers, the orderly end. */
#include "ingest/ingest.h"

#include <stdlib.h>

#include "ingest/ingest_limits.h"
#include "ingest/ingest_priv.h"

#include <unistd.h>

static void register_metrics(struct ingest *in, struct metrics *m)
{
    static const char *const by_receiver[] = {"receiver", "transport"};
    static const char *const by_tenant[] = {"tenant"};
    static const char *const by_reason[] = {"reason", "tenant"};
    static const double seconds[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
    static const double flush_seconds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
    static const double flush_bytes[] = {1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20};
    in->m.accepted = metrics_counter_family(m, "tempo_receiver_accepted_spans",
                                            "Spans that were stored.", by_receiver, 2);
    in->m.refused = metrics_counter_family(m, "tempo_receiver_refused_spans",
                                           "Spans of requests that were refused.", by_receiver, 2);
    in->m.spans = metrics_counter_family(m, "tempo_distributor_spans_received_total",
                                         "Spans received per tenant.", by_tenant, 1);
    in->m.bytes = metrics_counter_family(m, "tempo_distributor_bytes_received_total",
                                         "Protobuf bytes received per tenant.", by_tenant, 1);
    in->m.discarded = metrics_counter_family(m, "tempo_discarded_spans_total",
                                             "The total number of samples that were discarded.",
                                             by_reason, 2);
    in->m.truncated = metrics_counter_family(m, "tempo_distributor_attributes_truncated_total",
                                             "Attribute keys and values that were cut.", by_tenant,
                                             1);
    in->m.push_seconds =
        metrics_histogram(m, "tempo_distributor_push_duration_seconds",
                          "Time from a request's arrival to its acknowledgement.", seconds,
                          sizeof seconds / sizeof *seconds);
    in->m.flush_seconds = metrics_histogram(m, "tempo_ingester_flush_duration_seconds",
                                            "Time to store a segment.", flush_seconds,
                                            sizeof flush_seconds / sizeof *flush_seconds);
    in->m.flush_bytes =
        metrics_histogram(m, "tempo_ingester_flush_size_bytes", "Size of a segment.", flush_bytes,
                          sizeof flush_bytes / sizeof *flush_bytes);
    in->m.build_seconds = metrics_histogram(m, "block_builder_build_duration_seconds",
                                            "Time to turn segments into blocks.", flush_seconds,
                                            sizeof flush_seconds / sizeof *flush_seconds);
    in->m.flushed =
        metrics_counter(m, "tempo_ingester_blocks_flushed_total", "Segments stored.");
    in->m.failed_flushes = metrics_counter(m, "tempo_ingester_failed_flushes_total",
                                           "Segments that could not be stored.");
    in->m.backpressure = metrics_counter(m, "ingest_backpressure_total",
                                         "Requests refused because the buffer was full.");
    in->m.built_spans =
        metrics_counter(m, "block_builder_spans_total", "Spans written to blocks.");
    in->m.failed_builds = metrics_counter(m, "block_builder_failures_total",
                                          "Builds that failed and are tried again.");
    in->m.buffered =
        metrics_gauge(m, "ingest_buffer_bytes", "Bytes received and not acknowledged yet.");
    in->m.queue = metrics_gauge(m, "tempo_ingester_flush_queue_length", "Flushes in flight.");
}

int ingest_new(const struct ingest_opts *opts, struct ingest **out, struct err *err)
{
    struct ingest *in = calloc(1, sizeof *in);
    if (!in)
        return err_set(err, ERR_NOMEM, "no memory for the write path");
    const struct app *app = opts->app;
    in->opts = *opts;
    in->log = log_room(app->log, "ingest");
    register_metrics(in, app->metrics);
    pthread_mutex_init(&in->shared.mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&in->shared.work, &attr);
    pthread_cond_init(&in->shared.idle, &attr);
    pthread_condattr_destroy(&attr);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int rc = pool_new("decode", cpus > 0 ? (uint32_t)cpus : 2, &in->decoders, err);
    if (rc == 0)
        rc = rate_limiter_new(&in->rate, err);
    if (rc < 0) {
        ingest_free(in);
        return rc;
    }
    *out = in;
    return 0;
}

static int listen_one(struct ingest *in, const struct app_receiver *r, unsigned protocol,
                      net_handler_fn *handler, const char *name, struct err *err)
{
    if (!r->present)
        return 0;
    const struct net_listener_opts opts = {.address = r->endpoint,
                                           .protocols = protocol,
                                           .body_bytes_max = r->message_bytes_max,
                                           .handler = handler,
                                           .ctx = in};
    uint16_t port;
    int rc = net_server_listen(in->opts.app->server, &opts, &port, err);
    if (rc == 0)
        LOG_INFO(&in->log, "receiver listens", KV_STR("receiver", name),
                 KV_SLICE("address", r->endpoint), KV_U64("port", port));
    return rc;
}

static int start_thread(pthread_t *t, const char *name, void *(*fn)(void *), struct ingest *in,
                        struct err *err)
{
    int rc = pthread_create(t, NULL, fn, in);
    if (rc)
        return err_set(err, ERR_UNAVAILABLE, "cannot start thread %s: %s", name, strerror(rc));
    pthread_setname_np(*t, name);
    return 0;
}

int ingest_start(struct ingest *in, struct err *err)
{
    const struct app_config *cfg = &in->opts.app->cfg;
    int rc = 0;
    while (rc == 0 && in->flusher_count < LIMIT_FLUSHERS) {
        rc = start_thread(&in->flushers[in->flusher_count], "flush", flush_thread, in, err);
        if (rc == 0)
            in->flusher_count++;
    }
    if (rc == 0 && in->opts.build) {
        rc = start_thread(&in->builder, "builder", builder_thread, in, err);
        in->builder_started = rc == 0;
    }
    if (rc == 0)
        rc = listen_one(in, &cfg->distributor.otlp.grpc, NET_LISTEN_GRPC, ingest_grpc, "otlp/grpc",
                        err);
    if (rc == 0)
        rc = listen_one(in, &cfg->distributor.otlp.http, NET_LISTEN_HTTP1, ingest_http,
                        "otlp/http", err);
    return rc;
}

void ingest_stop(struct ingest *in)
{
    pool_free(in->decoders); /* runs what is queued: it lands in the open batch */
    in->decoders = NULL;
    pthread_mutex_lock(&in->shared.mu);
    in->shared.draining = true;
    pthread_cond_broadcast(&in->shared.work);
    while (in->flusher_count && (in->shared.open.first || in->shared.flushing))
        pthread_cond_wait(&in->shared.idle, &in->shared.mu);
    in->shared.stop = true;
    pthread_cond_broadcast(&in->shared.work);
    pthread_cond_broadcast(&in->shared.idle);
    pthread_mutex_unlock(&in->shared.mu);
    for (uint32_t i = 0; i < in->flusher_count; i++)
        pthread_join(in->flushers[i], NULL);
    in->flusher_count = 0;
    if (in->builder_started)
        pthread_join(in->builder, NULL);
    in->builder_started = false;
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    ingest_stop(in);
    rate_limiter_free(in->rate);
    push_scratch_free(in->shared.scratch);
    pthread_cond_destroy(&in->shared.work);
    pthread_cond_destroy(&in->shared.idle);
    pthread_mutex_destroy(&in->shared.mu);
    free(in);
}

int ingest_build_all(struct ingest *in, uint64_t deadline_mono_ns, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&in->shared.mu);
    in->shared.build_now = true;
    pthread_cond_broadcast(&in->shared.idle);
    while (in->shared.build_now && rc == 0) {
        struct timespec ts = {.tv_sec = (time_t)(deadline_mono_ns / NS_PER_S),
                              .tv_nsec = (long)(deadline_mono_ns % NS_PER_S)};
        if (pthread_cond_timedwait(&in->shared.idle, &in->shared.mu, &ts))
            rc = err_set(err, ERR_TIMEOUT, "the build is not done in time");
    }
    pthread_mutex_unlock(&in->shared.mu);
    return rc;
}
