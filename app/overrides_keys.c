/* Keys of the limits of a tenant. The same rows read overrides.defaults and the entries of the file
 * of tenants. */
#include "app/app_config_keys_priv.h"

#define LIMIT(f) .offset = offsetof(struct overrides_limits, f)

#define NO_GENERATOR "metrics are not generated yet"
#define NO_LIVE_TRACES                                                                             \
    "spans go to the bucket as they come, there are no live traces; ingest.max_buffered_bytes "    \
    "bounds the memory"
#define NO_UNSAFE_HINTS "no hint here is unsafe"
#define LOCAL_RATE "each process limits by itself"

/* ---- parquet_dedicated_columns ---- */

#define COLUMN(f) .offset = offsetof(struct app_dedicated_column, f)
static const struct config_key dedicated_keys[] = {
    {.path = "scope",
     .type = CONFIG_STRING,
     COLUMN(scope),
     .preset = "span",
     .choices = "span|resource|event"},
    {.path = "name", .type = CONFIG_STRING, COLUMN(name)},
    {.path = "type",
     .type = CONFIG_STRING,
     COLUMN(type),
     .preset = "string",
     .choices = "string|int"},
    IGNORED("options", NULL),
};
const struct config_table app_dedicated_table = {
    .keys = dedicated_keys,
    .count = COUNT(dedicated_keys),
    .item_size = sizeof(struct app_dedicated_column),
};

/* ---- scoped ---- */

static const struct config_key scoped_keys[] = {
    {.path = "ingestion.rate_limit_bytes",
     .type = CONFIG_BYTES,
     LIMIT(rate_limit_bytes),
     .preset = "30000000",
     .flag = "distributor.ingestion-rate-limit-bytes",
     .help = "Bytes a second that a tenant may send."},
    {.path = "ingestion.burst_size_bytes",
     .type = CONFIG_BYTES,
     LIMIT(burst_size_bytes),
     .preset = "30000000",
     .flag = "distributor.ingestion-burst-size-bytes",
     .help = "Bytes that a tenant may send at once."},
    {.path = "ingestion.max_attribute_bytes",
     .type = CONFIG_BYTES,
     LIMIT(max_attribute_bytes),
     .help = "In place of distributor.max_attribute_bytes; 0 leaves that."},
    {.path = "ingestion.retry_info_enabled",
     .type = CONFIG_BOOL,
     LIMIT(retry_info_enabled),
     .preset = "true",
     .help = "Tell a client that is refused for a limit when to come back."},
    IGNORED_BECAUSE("ingestion.rate_strategy", "local", LOCAL_RATE),
    IGNORED_BECAUSE("ingestion.max_traces_per_user", "10000", NO_LIVE_TRACES),
    IGNORED_BECAUSE("ingestion.max_global_traces_per_user", NULL, NO_LIVE_TRACES),
    IGNORED("ingestion.tenant_shard_size", NULL),
    IGNORED("ingestion.artificial_delay", NULL),
    {.path = "global.max_bytes_per_trace",
     .type = CONFIG_BYTES,
     LIMIT(max_bytes_per_trace),
     .preset = "5000000",
     .help = "Largest trace that is returned whole; all of it is stored. 0 is no limit."},
    {.path = "read.max_bytes_per_tag_values_query",
     .type = CONFIG_BYTES,
     LIMIT(max_bytes_per_tag_values_query),
     .preset = "1000000",
     .help = "Bytes of tag names or values returned at most, the rest is left out; 0 returns all."},
    {.path = "read.max_blocks_per_tag_values_query",
     .type = CONFIG_INT,
     LIMIT(max_blocks_per_tag_values_query),
     .preset = "0",
     .help = "Newest blocks asked for tag names or values at most; 0 asks all."},
    {.path = "read.max_search_duration",
     .type = CONFIG_DURATION,
     LIMIT(max_search_duration_ns),
     .help = "In place of query_frontend.search.max_duration; 0 leaves that."},
    {.path = "read.max_metrics_duration",
     .type = CONFIG_DURATION,
     LIMIT(max_metrics_duration_ns),
     .help = "In place of query_frontend.metrics.max_duration; 0 leaves that."},
    IGNORED_BECAUSE("read.unsafe_query_hints", NULL, NO_UNSAFE_HINTS),
    IGNORED("read.max_condition_groups_per_tag_query", "100"),
    IGNORED("read.left_pad_trace_ids", NULL),
    IGNORED("read.metrics_spanonly_fetch", NULL),
    {.path = "compaction.block_retention",
     .type = CONFIG_DURATION,
     LIMIT(block_retention_ns),
     .help = "In place of compactor.compaction.block_retention; 0 leaves that."},
    {.path = "compaction.compaction_window",
     .type = CONFIG_DURATION,
     LIMIT(compaction_window_ns),
     .help = "In place of compactor.compaction.compaction_window; 0 leaves that."},
    {.path = "compaction.compaction_disabled",
     .type = CONFIG_BOOL,
     LIMIT(compaction_disabled),
     .help = "Leave the tenant's blocks as they are."},
    {.path = "storage.parquet_dedicated_columns",
     .type = CONFIG_ITEMS,
     LIMIT(parquet_dedicated_columns),
     .table = &app_dedicated_table,
     .help = "In place of storage.trace.block.parquet_dedicated_columns, where there are any."},
    IGNORED_BECAUSE("metrics_generator", NULL, NO_GENERATOR),
    IGNORED("forwarders", NULL),
    IGNORED("cost_attribution", NULL),
};
TABLE(overrides_scoped_table, scoped_keys);

/* ---- flat: Tempo's names before there were scopes ---- */

#define FLAT(p, t, f, scoped)                                                                      \
    {                                                                                              \
        .path = p, .type = t, LIMIT(f), .instead = scoped                                          \
    }

static const struct config_key flat_keys[] = {
    FLAT("ingestion_rate_limit_bytes", CONFIG_BYTES, rate_limit_bytes,
         "ingestion.rate_limit_bytes"),
    FLAT("ingestion_burst_size_bytes", CONFIG_BYTES, burst_size_bytes,
         "ingestion.burst_size_bytes"),
    FLAT("ingestion_max_attribute_bytes", CONFIG_BYTES, max_attribute_bytes,
         "ingestion.max_attribute_bytes"),
    FLAT("ingestion_retry_info_enabled", CONFIG_BOOL, retry_info_enabled,
         "ingestion.retry_info_enabled"),
    FLAT("max_bytes_per_trace", CONFIG_BYTES, max_bytes_per_trace, "global.max_bytes_per_trace"),
    FLAT("max_bytes_per_tag_values_query", CONFIG_BYTES, max_bytes_per_tag_values_query,
         "read.max_bytes_per_tag_values_query"),
    FLAT("max_blocks_per_tag_values_query", CONFIG_INT, max_blocks_per_tag_values_query,
         "read.max_blocks_per_tag_values_query"),
    FLAT("max_search_duration", CONFIG_DURATION, max_search_duration_ns,
         "read.max_search_duration"),
    FLAT("max_metrics_duration", CONFIG_DURATION, max_metrics_duration_ns,
         "read.max_metrics_duration"),
    FLAT("block_retention", CONFIG_DURATION, block_retention_ns, "compaction.block_retention"),
    FLAT("compaction_window", CONFIG_DURATION, compaction_window_ns,
         "compaction.compaction_window"),
    FLAT("compaction_disabled", CONFIG_BOOL, compaction_disabled, "compaction.compaction_disabled"),
    {.path = "parquet_dedicated_columns",
     .type = CONFIG_ITEMS,
     LIMIT(parquet_dedicated_columns),
     .table = &app_dedicated_table,
     .instead = "storage.parquet_dedicated_columns"},
    IGNORED_BECAUSE("ingestion_rate_strategy", "local", LOCAL_RATE),
    IGNORED("ingestion_tenant_shard_size", NULL),
    IGNORED("ingestion_artificial_delay", NULL),
    IGNORED_BECAUSE("max_traces_per_user", "10000", NO_LIVE_TRACES),
    IGNORED_BECAUSE("max_global_traces_per_user", NULL, NO_LIVE_TRACES),
    IGNORED_BECAUSE("unsafe_query_hints", NULL, NO_UNSAFE_HINTS),
    IGNORED("forwarders", NULL),
    IGNORED("cost_attribution", NULL),
    IGNORED_BECAUSE("metrics_generator_*", NULL, NO_GENERATOR),
};
TABLE(overrides_flat_table, flat_keys);
