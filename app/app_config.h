/* The configuration of all programs: Tempo's keys where Tempo has the idea, our own where not.
 *
 * struct app_config mirrors the file: cfg.storage.trace.s3.bucket is storage.trace.s3.bucket. The
 * one table of all keys, honoured and not, is in app_config_keys.c. Read-only after app_start. */
#ifndef APP_APP_CONFIG_H
#define APP_APP_CONFIG_H

#include "base/config.h"

enum app_role {
    APP_INGEST = 1 << 0,
    APP_FRONTEND = 1 << 1,
    APP_WORKER = 1 << 2,
    APP_COMPACTOR = 1 << 3,
};

struct app_receiver {
    bool present;
    struct slice endpoint;
    uint64_t message_bytes_max;     /* one request body, or one gRPC message */
    uint64_t max_recv_msg_size_mib; /* as written; folded into message_bytes_max */
};

/* One of storage.trace.block.parquet_dedicated_columns. */
struct app_dedicated_column {
    struct slice scope; /* span, resource, event */
    struct slice name;
    struct slice type; /* string, int */
};

/* What is promised of a query: a time, or bytes a second. 0: no such promise. */
struct app_slo {
    int64_t duration_ns;
    uint64_t throughput_bytes;
};

/* What a tenant may do: overrides.defaults, and what overrides.h makes of it for one tenant. 0 is no
 * limit, or what another key says, except for the rate: a rate of 0 refuses everything. */
struct overrides_limits {
    /* ingestion */
    uint64_t rate_limit_bytes, burst_size_bytes;
    uint64_t max_attribute_bytes; /* 0: distributor.max_attribute_bytes */
    bool retry_info_enabled;
    /* read */
    uint64_t max_bytes_per_tag_values_query;
    int64_t max_blocks_per_tag_values_query;
    int64_t max_search_duration_ns;  /* 0: query_frontend.search.max_duration */
    int64_t max_metrics_duration_ns; /* 0: query_frontend.metrics.max_duration */
    /* compaction */
    int64_t block_retention_ns;   /* 0: compactor.compaction.block_retention */
    int64_t compaction_window_ns; /* 0: compactor.compaction.compaction_window */
    bool compaction_disabled;
    /* global */
    uint64_t max_bytes_per_trace;
    /* storage; empty: storage.trace.block.parquet_dedicated_columns */
    struct config_items parquet_dedicated_columns; /* struct app_dedicated_column */
};

struct app_config {
    /* The command line alone. */
    struct {
        struct slice config_file;
        bool expand_env, verify, version, help;
    } flags;
    struct slice target;
    unsigned roles; /* enum app_role, from target */
    bool multitenancy_enabled;
    bool stream_over_http_enabled;
    struct slice http_api_prefix; /* "" or "/tempo", never with a '/' at its end */
    int64_t shutdown_delay_ns;
    struct {
        struct slice http_listen_address; /* "" is all interfaces */
        uint16_t http_listen_port;
        struct slice grpc_listen_address;
        uint16_t grpc_listen_port;
        struct slice log_level;
        struct slice log_format;
        int64_t graceful_shutdown_timeout_ns;
    } server;
    struct {
        bool receivers_present;
        struct {
            bool present;
            struct app_receiver grpc, http;
        } otlp;
        uint64_t max_attribute_bytes;
        int64_t retry_after_on_resource_exhausted_ns;
    } distributor;
    struct {
        int64_t flush_window_ns;
        uint64_t flush_bytes;
        uint64_t max_buffered_bytes;
        int64_t put_timeout_ns;
    } ingest;
    struct {
        int64_t window_ns;
        uint64_t max_bytes;
        int64_t linger_ns;
    } block_builder;
    struct {
        bool disabled;
        struct {
            int64_t block_retention_ns, compacted_block_retention_ns;
            int64_t compaction_window_ns, compaction_cycle_ns;
            int64_t max_compaction_objects;
            uint64_t max_block_bytes;
            int64_t min_input_blocks, max_input_blocks;
        } compaction;
    } compactor;
    struct {
        struct overrides_limits defaults;
        struct slice per_tenant_override_config; /* "": none */
        int64_t per_tenant_override_period_ns;
    } overrides;
    struct {
        struct {
            struct slice backend; /* local, s3 */
            struct {
                struct slice path;
            } local;
            struct {
                struct slice bucket, endpoint, region, access_key, secret_key, session_token,
                    prefix;
                bool insecure, forcepathstyle, tls_insecure_skip_verify, signature_v2;
                uint64_t part_size;
            } s3;
            struct {
                double bloom_filter_false_positive;
                uint64_t bloom_filter_shard_size_bytes;
                uint64_t parquet_row_group_size_bytes;
                struct config_items parquet_dedicated_columns; /* struct app_dedicated_column */
            } block;
            int64_t blocklist_poll_ns;
            int64_t blocklist_poll_tenant_index_builders;
        } trace;
    } storage;
    struct {
        int64_t max_concurrent_queries;
        struct {
            struct slice frontend_address; /* empty: none */
            int64_t dns_lookup_ns;
            struct slice secret;
        } frontend_worker;
    } querier;
    struct {
        uint64_t max_query_expression_size_bytes;
        uint64_t max_query_memory_bytes;
        int64_t api_timeout_ns; /* 0: none */
        bool multi_tenant_queries_enabled;
        int64_t max_outstanding_per_tenant;  /* 0: any number */
        struct config_strings url_deny_list; /* regular expressions */
        uint64_t max_grpc_streaming_packet_size;
        struct {
            int64_t default_result_limit;
            int64_t max_result_limit; /* 0: none */
            int64_t max_duration_ns;  /* 0: none */
            int64_t max_spans_per_span_set;
            int64_t default_spans_per_span_set;
            struct app_slo slo, metadata_slo;
        } search;
        struct {
            struct app_slo slo;
        } trace_by_id;
        struct {
            int64_t max_duration_ns;     /* 0: none */
            int64_t max_exemplars;
            int64_t max_intervals;       /* 0: none */
            int64_t max_response_series; /* 0: none */
            struct app_slo slo;
        } metrics;
        struct {
            int64_t in_process; /* -1: twice the processors */
            int64_t min_workers, max_workers, slots_per_worker;
            uint64_t max_memory_bytes; /* of one; 0: any */
            bool remote;
            int64_t max_remote_slots;
            struct slice secret;
        } workers;
    } query_frontend;
};

/* All keys and flags. */
extern const struct config_table app_config_table;

/* Reads flags and, when they name one, the file; folds what depends on other keys and checks it.
 * cfg and *out are good until config_free(*out). Returns 0, ERR_INVALID for flags (err says which),
 * ERR_CORRUPT for a file with faults (the notes of *out say which) or the error of reading it. *out
 * is set in each of these cases; it is NULL only after ERR_NOMEM. */
int app_config_load(int argc, char *const *argv, config_env_fn *env, void *env_ctx,
                    struct app_config *cfg, struct config **out, struct err *err);

/* Roles of a -target text; 0 and the unknown name in *bad when there is one. */
unsigned app_config_roles(struct slice target, struct slice *bad);

#endif
