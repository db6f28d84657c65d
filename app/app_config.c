/* Loads the configuration: flags, file, flags again, then what depends on more than one key. */
#include "app/app_config.h"

#include "base/text.h"

/* The collector's default for one gRPC message. */
#define GRPC_MESSAGE_BYTES (UINT64_C(4) << 20)
/* Past this a receiver could be made to hold any memory: 4 GiB. */
#define MESSAGE_BYTES_MAX (UINT64_C(4) << 30)

/* Of a value that is shown back. */
#define SHOWN_BYTES 60

static const struct {
    const char *name;
    unsigned roles;
} targets[] = {
    {"all", APP_INGEST | APP_FRONTEND | APP_WORKER | APP_COMPACTOR},
    {"scalable-single-binary", APP_INGEST | APP_FRONTEND | APP_WORKER | APP_COMPACTOR},
    {"ingest", APP_INGEST},
    {"distributor", APP_INGEST},
    {"ingester", APP_INGEST},
    {"live-store", APP_INGEST},
    {"block-builder", APP_INGEST},
    {"frontend", APP_FRONTEND},
    {"query-frontend", APP_FRONTEND},
    {"worker", APP_WORKER},
    {"querier", APP_WORKER},
    {"compactor", APP_COMPACTOR},
    {"backend-scheduler", APP_COMPACTOR},
    {"backend-worker", APP_COMPACTOR},
};

unsigned app_config_roles(struct slice target, struct slice *bad)
{
    unsigned roles = 0;
    for (struct slice left = target;;) {
        struct slice name = slice_of(left.ptr, slice_find(left, ','));
        unsigned found = 0;
        for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
            if (slice_eq(name, slice_cstr(targets[i].name)))
                found = targets[i].roles;
        }
        if (!found) {
            *bad = name;
            return 0;
        }
        roles |= found;
        if (name.len == left.len)
            return roles;
        left = slice_from(left, name.len + 1);
    }
}

/* ---- what depends on other keys ---- */

static void fold_receivers(struct config *c, struct app_config *cfg)
{
    struct app_receiver *grpc = &cfg->distributor.otlp.grpc, *http = &cfg->distributor.otlp.http;
    if (!cfg->distributor.receivers_present) {
        /* Tempo then serves OTLP/gRPC and Jaeger; we serve OTLP in both forms. */
        grpc->present = http->present = true;
    } else if (cfg->distributor.otlp.present && !grpc->present && !http->present) {
        config_add_fault(c, "distributor.receivers.otlp",
                         "expected protocols with grpc, http or both, found neither");
    }
    grpc->message_bytes_max = GRPC_MESSAGE_BYTES;
    if (grpc->max_recv_msg_size_mib > MESSAGE_BYTES_MAX >> 20)
        config_add_fault(c, "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
                         "expected at most 4096, found %llu",
                         (unsigned long long)grpc->max_recv_msg_size_mib);
    else if (grpc->max_recv_msg_size_mib)
        grpc->message_bytes_max = grpc->max_recv_msg_size_mib << 20;
    if (http->message_bytes_max == 0)
        http->message_bytes_max = UINT64_C(20) << 20; /* as the collector takes 0 */
    if (http->message_bytes_max > MESSAGE_BYTES_MAX)
        config_add_fault(c, "distributor.receivers.otlp.protocols.http.max_request_body_size",
                         "expected at most 4GiB, found %llu bytes",
                         (unsigned long long)http->message_bytes_max);
}

static void fold_prefix(struct config *c, struct app_config *cfg)
{
    struct slice *prefix = &cfg->http_api_prefix;
    char shown[SHOWN_BYTES * 4];
    while (prefix->len && prefix->ptr[prefix->len - 1] == '/')
        prefix->len--;
    if (prefix->len && prefix->ptr[0] != '/')
        config_add_fault(c, "http_api_prefix", "expected a path such as /tempo, found \"%s\"",
                         text_escape(*prefix, SHOWN_BYTES, shown, sizeof shown));
}

static void fold_target(struct config *c, struct app_config *cfg)
{
    struct slice bad = {0};
    char shown[SHOWN_BYTES * 4];
    cfg->roles = app_config_roles(cfg->target, &bad);
    if (cfg->roles)
        return;
    if (slice_eq(bad, SLICE("metrics-generator")))
        config_add_fault(c, "target", "\"metrics-generator\" is not served yet");
    else
        config_add_fault(c, "target",
                         "expected all or a comma list of ingest, frontend, worker and "
                         "compactor, found \"%s\"",
                         text_escape(bad, SHOWN_BYTES, shown, sizeof shown));
}

/* ---- checks ---- */

static void at_least_one(struct config *c, const char *path, uint64_t value, const char *what)
{
    if (value == 0)
        config_add_fault(c, path, "expected %s, found 0", what);
}

static void fits_u32(struct config *c, const char *path, int64_t value)
{
    if (value < 0 || value > UINT32_MAX)
        config_add_fault(c, path, "expected an integer from 0 to %lu, found %lld",
                         (unsigned long)UINT32_MAX, (long long)value);
}

static void check_columns(struct config *c, const char *path, const struct config_items *items)
{
    const struct app_dedicated_column *columns = items->at;
    for (size_t i = 0; i < items->count; i++) {
        if (columns[i].name.len == 0)
            config_add_fault(c, path, "expected a name in item %zu, found nothing", i + 1);
    }
}

static void check_storage(struct config *c, const struct app_config *cfg)
{
    bool local = slice_eq(cfg->storage.trace.backend, SLICE("local"));
    if (!local && cfg->storage.trace.s3.bucket.len == 0)
        config_add_fault(c, "storage.trace.s3.bucket",
                         "expected the name of a bucket, found nothing");
    if (local && cfg->storage.trace.local.path.len == 0)
        config_add_fault(c, "storage.trace.local.path", "expected a directory, found nothing");
    unsigned all = APP_INGEST | APP_FRONTEND | APP_WORKER | APP_COMPACTOR;
    if (local && cfg->roles && cfg->roles != all)
        config_add_note(c, false,
                        "storage.trace.backend: local with a target other than all: other "
                        "processes see the data only if they share the directory");
    double fp = cfg->storage.trace.block.bloom_filter_false_positive;
    if (!(fp > 0 && fp < 1))
        config_add_fault(c, "storage.trace.block.bloom_filter_false_positive",
                         "expected a number between 0 and 1, found %g", fp);
    at_least_one(c, "storage.trace.block.bloom_filter_shard_size_bytes",
                 cfg->storage.trace.block.bloom_filter_shard_size_bytes, "a size");
    if (cfg->storage.trace.block.bloom_filter_shard_size_bytes > UINT32_MAX)
        config_add_fault(
            c, "storage.trace.block.bloom_filter_shard_size_bytes",
            "expected at most %lu, found %llu", (unsigned long)UINT32_MAX,
            (unsigned long long)cfg->storage.trace.block.bloom_filter_shard_size_bytes);
    at_least_one(c, "storage.trace.block.parquet_row_group_size_bytes",
                 cfg->storage.trace.block.parquet_row_group_size_bytes, "a size");
    at_least_one(c, "storage.trace.blocklist_poll", (uint64_t)cfg->storage.trace.blocklist_poll_ns,
                 "a duration");
    check_columns(c, "storage.trace.block.parquet_dedicated_columns",
                  &cfg->storage.trace.block.parquet_dedicated_columns);
    check_columns(c, "overrides.defaults.storage.parquet_dedicated_columns",
                  &cfg->overrides.defaults.parquet_dedicated_columns);
    at_least_one(c, "overrides.per_tenant_override_period",
                 (uint64_t)cfg->overrides.per_tenant_override_period_ns, "a duration");
}

static void check_ingest(struct config *c, const struct app_config *cfg)
{
    at_least_one(c, "ingest.flush_window", (uint64_t)cfg->ingest.flush_window_ns, "a duration");
    at_least_one(c, "ingest.put_timeout", (uint64_t)cfg->ingest.put_timeout_ns, "a duration");
    at_least_one(c, "ingest.flush_bytes", cfg->ingest.flush_bytes, "a size");
    at_least_one(c, "block_builder.window", (uint64_t)cfg->block_builder.window_ns, "a duration");
    at_least_one(c, "block_builder.max_bytes", cfg->block_builder.max_bytes, "a size");
    if (cfg->ingest.max_buffered_bytes < cfg->ingest.flush_bytes)
        config_add_fault(c, "ingest.max_buffered_bytes",
                         "expected at least ingest.flush_bytes (%llu), found %llu",
                         (unsigned long long)cfg->ingest.flush_bytes,
                         (unsigned long long)cfg->ingest.max_buffered_bytes);
}

static void check_compaction(struct config *c, const struct app_config *cfg)
{
    enum { INPUTS_MOST = 32 };
    int64_t poll = cfg->storage.trace.blocklist_poll_ns;
    int64_t dead = cfg->compactor.compaction.compacted_block_retention_ns;
    int64_t least = cfg->compactor.compaction.min_input_blocks;
    int64_t most = cfg->compactor.compaction.max_input_blocks;
    if (cfg->compactor.compaction.compaction_window_ns < 1000000000)
        config_add_fault(c, "compactor.compaction.compaction_window",
                         "expected a duration of at least 1s, found less");
    if (cfg->block_builder.linger_ns < 1000000000)
        config_add_fault(c, "block_builder.linger", "expected a duration of at least 1s, found less");
    at_least_one(c, "compactor.compaction.compaction_cycle",
                 (uint64_t)cfg->compactor.compaction.compaction_cycle_ns, "a duration");
    at_least_one(c, "compactor.compaction.max_block_bytes",
                 cfg->compactor.compaction.max_block_bytes, "a size");
    if (cfg->compactor.compaction.max_compaction_objects < 1)
        config_add_fault(c, "compactor.compaction.max_compaction_objects",
                         "expected a number above 0, found %lld",
                         (long long)cfg->compactor.compaction.max_compaction_objects);
    if (least < 2 || least > most || most > INPUTS_MOST)
        config_add_fault(c, "compactor.compaction.max_input_blocks",
                         "expected 2 <= min_input_blocks <= max_input_blocks <= %d, found %lld and "
                         "%lld",
                         INPUTS_MOST, (long long)least, (long long)most);
    if (cfg->compactor.compaction.block_retention_ns < poll)
        config_add_note(c, false,
                        "compactor.compaction.block_retention is shorter than "
                        "storage.trace.blocklist_poll: blocks go before all have seen them");
    if (dead < poll)
        config_add_note(c, false,
                        "compactor.compaction.compacted_block_retention is shorter than "
                        "storage.trace.blocklist_poll: queries may miss blocks that they know");
}

static void in_range(struct config *c, const char *path, int64_t v, int64_t min, int64_t max)
{
    if (v < min || v > max)
        config_add_fault(c, path, "expected %lld to %lld, found %lld", (long long)min,
                         (long long)max, (long long)v);
}

static void check_workers(struct config *c, const struct app_config *cfg)
{
    in_range(c, "query_frontend.workers.in_process", cfg->query_frontend.workers.in_process, -1,
             1024);
    in_range(c, "query_frontend.workers.min_workers", cfg->query_frontend.workers.min_workers, 0,
             256);
    in_range(c, "query_frontend.workers.max_workers", cfg->query_frontend.workers.max_workers, 0,
             256);
    in_range(c, "query_frontend.workers.slots_per_worker",
             cfg->query_frontend.workers.slots_per_worker, 1, 64);
    in_range(c, "query_frontend.workers.max_remote_slots",
             cfg->query_frontend.workers.max_remote_slots, 1, 4096);
    in_range(c, "querier.max_concurrent_queries", cfg->querier.max_concurrent_queries, 1, 1024);
    at_least_one(c, "querier.frontend_worker.dns_lookup_duration",
                 (uint64_t)cfg->querier.frontend_worker.dns_lookup_ns, "a duration");
}

static void check_query(struct config *c, const struct app_config *cfg)
{
    check_workers(c, cfg);
    fits_u32(c, "query_frontend.search.default_result_limit",
             cfg->query_frontend.search.default_result_limit);
    fits_u32(c, "query_frontend.search.max_result_limit",
             cfg->query_frontend.search.max_result_limit);
    fits_u32(c, "query_frontend.search.max_spans_per_span_set",
             cfg->query_frontend.search.max_spans_per_span_set);
    fits_u32(c, "query_frontend.search.default_spans_per_span_set",
             cfg->query_frontend.search.default_spans_per_span_set);
    if (cfg->query_frontend.max_query_memory_bytes < (uint64_t)1 << 20)
        config_add_fault(c, "query_frontend.max_query_memory_bytes",
                         "expected at least 1 MiB, found %llu bytes",
                         (unsigned long long)cfg->query_frontend.max_query_memory_bytes);
    at_least_one(c, "query_frontend.max_grpc_streaming_packet_size",
                 cfg->query_frontend.max_grpc_streaming_packet_size, "a size");
}

static bool has_fault(const struct config *c)
{
    for (size_t i = 0; i < config_note_count(c); i++) {
        if (config_note_at(c, i).fault)
            return true;
    }
    return false;
}

int app_config_load(int argc, char *const *argv, config_env_fn *env, void *env_ctx,
                    struct app_config *cfg, struct config **out, struct err *err)
{
    *out = NULL;
    *cfg = (struct app_config){0};
    int rc = config_new(&app_config_table, cfg, out, err);
    if (rc < 0)
        return rc;
    struct config *c = *out;
    rc = config_parse_flags(c, argc, argv, err);
    if (rc < 0)
        return rc;
    if (cfg->flags.config_file.len) {
        const char *path = (const char *)cfg->flags.config_file.ptr;
        rc = config_read_file(c, path, cfg->flags.expand_env ? env : NULL, env_ctx, err);
        if (rc == ERR_INVALID && !has_fault(c))
            config_add_note(c, true, "%s", err ? err->msg : "${VAR} cannot be expanded");
        else if (rc < 0 && rc != ERR_INVALID)
            return rc;
        /* The flags have been understood once, so they are now; they win over the file. */
        rc = config_apply_flags(c, err);
        if (rc < 0)
            return rc;
    } else {
        /* A server that somebody just tries out is not for the whole network. */
        if (!config_is_set(c, "server.http_listen_address"))
            cfg->server.http_listen_address = SLICE("localhost");
        cfg->server.grpc_listen_address = SLICE("localhost");
    }
    fold_receivers(c, cfg);
    fold_prefix(c, cfg);
    fold_target(c, cfg);
    check_storage(c, cfg);
    check_ingest(c, cfg);
    check_compaction(c, cfg);
    check_query(c, cfg);
    if (has_fault(c))
        return err_set(err, ERR_CORRUPT, "the configuration has faults");
    return 0;
}
