/* Maps of Tempo's that stand in several places of its configuration. Nothing in them is used here:
 * they are known so that only what is really unknown is told. */
#include "app/app_config_keys_priv.h"

static const struct config_key kv_keys[] = {
    /* Some components default to "", some to memberlist: only a real store deserves a warning. */
    IGNORED("store", "memberlist"), IGNORED("prefix", "collectors/"), IGNORED("consul", NULL),
    IGNORED("etcd", NULL),          IGNORED("multi", NULL),
};
static TABLE(kv_table, kv_keys);

static const struct config_key ring_keys[] = {
    IGNORED_MAP("kvstore", kv_table),
    IGNORED("heartbeat_period", "5s"),
    IGNORED("heartbeat_timeout", "1m"),
    IGNORED("instance_id", NULL),
    IGNORED("instance_interface_names", NULL),
    IGNORED("instance_port", NULL),
    IGNORED("instance_addr", NULL),
    IGNORED("instance_zone", NULL),
    IGNORED("instance_availability_zone", NULL),
    IGNORED("enable_inet6", NULL),
    IGNORED("wait_stability_min_duration", "1m"),
    IGNORED("wait_stability_max_duration", "5m"),
    IGNORED("wait_active_instance_timeout", "10m"),
    IGNORED("replication_factor", "1"),
    IGNORED("zone_awareness_enabled", NULL),
    IGNORED("excluded_zones", NULL),
    IGNORED("min_partition_owners_count", "1"),
    IGNORED("min_partition_owners_duration", "10s"),
    IGNORED("delete_inactive_partition_after", "13h"),
};
TABLE(ring_table, ring_keys);

static const struct config_key lifecycler_keys[] = {
    IGNORED_MAP("ring", ring_table),
    IGNORED("num_tokens", "128"),
    IGNORED("heartbeat_period", "5s"),
    IGNORED("heartbeat_timeout", "1m"),
    IGNORED("observe_period", NULL),
    IGNORED("join_after", NULL),
    IGNORED("min_ready_duration", "15s"),
    IGNORED("interface_names", NULL),
    IGNORED("enable_inet6", NULL),
    IGNORED("final_sleep", NULL),
    IGNORED("tokens_file_path", NULL),
    IGNORED("availability_zone", NULL),
    IGNORED("unregister_on_shutdown", "true"),
    IGNORED("readiness_check_ring_health", "true"),
    IGNORED("address", NULL),
    IGNORED("port", NULL),
    IGNORED("id", NULL),
};
TABLE(lifecycler_table, lifecycler_keys);

static const struct config_key grpc_client_keys[] = {
    IGNORED("max_recv_msg_size", "104857600"),
    IGNORED("max_send_msg_size", "104857600"),
    IGNORED("grpc_compression", NULL),
    IGNORED("rate_limit", NULL),
    IGNORED("rate_limit_burst", NULL),
    IGNORED("backoff_on_ratelimits", NULL),
    IGNORED("backoff_config", NULL),
    IGNORED("initial_stream_window_size", "63KiB1023B"),
    IGNORED("initial_connection_window_size", "63KiB1023B"),
    IGNORED("connect_timeout", "5s"),
    IGNORED("connect_backoff_base_delay", "1s"),
    IGNORED("connect_backoff_max_delay", "5s"),
    IGNORED("cluster_validation", NULL),
    REFUSED("tls_enabled", "false", NO_INTERNAL_TLS),
    REFUSED("tls_cert_path", NULL, NO_INTERNAL_TLS),
    REFUSED("tls_key_path", NULL, NO_INTERNAL_TLS),
    REFUSED("tls_ca_path", NULL, NO_INTERNAL_TLS),
    REFUSED("tls_server_name", NULL, NO_INTERNAL_TLS),
    REFUSED("tls_insecure_skip_verify", "false", NO_INTERNAL_TLS),
    REFUSED("tls_cipher_suites", NULL, NO_INTERNAL_TLS),
    REFUSED("tls_min_version", NULL, NO_INTERNAL_TLS),
};
TABLE(grpc_client_table, grpc_client_keys);

static const struct config_key client_keys[] = {
    IGNORED("pool_config", NULL),
    IGNORED("remote_timeout", "5s"),
    IGNORED_MAP("grpc_client_config", grpc_client_table),
};
TABLE(client_table, client_keys);

static const struct config_key memberlist_keys[] = {
    IGNORED("node_name", NULL),
    IGNORED("randomize_node_name", "true"),
    IGNORED("stream_timeout", "2s"),
    IGNORED("retransmit_factor", "2"),
    IGNORED("pull_push_interval", "30s"),
    IGNORED("gossip_interval", "1s"),
    IGNORED("gossip_nodes", "2"),
    IGNORED("gossip_to_dead_nodes_time", "30s"),
    IGNORED("dead_node_reclaim_time", NULL),
    IGNORED("compression_enabled", NULL),
    IGNORED("notify_interval", NULL),
    IGNORED("advertise_addr", NULL),
    IGNORED("advertise_port", "7946"),
    IGNORED("cluster_label", NULL),
    IGNORED("cluster_label_verification_disabled", NULL),
    IGNORED("join_members", NULL),
    IGNORED("min_join_backoff", "1s"),
    IGNORED("max_join_backoff", "1m"),
    IGNORED("max_join_retries", "10"),
    IGNORED("abort_if_cluster_join_fails", NULL),
    IGNORED("abort_if_cluster_fast_join_fails", NULL),
    IGNORED("abort_if_cluster_fast_join_fails_min_nodes", "1"),
    IGNORED("rejoin_interval", NULL),
    IGNORED("rejoin_seed_nodes", NULL),
    IGNORED("left_ingesters_timeout", "5m"),
    IGNORED("obsolete_entries_timeout", "30s"),
    IGNORED("leave_timeout", "20s"),
    IGNORED("broadcast_timeout_for_local_updates_on_shutdown", "10s"),
    IGNORED("message_history_buffer_bytes", NULL),
    IGNORED("received_messages_queue_size", "1024"),
    IGNORED("watch_prefix_buffer_size", "128"),
    IGNORED("bind_addr", NULL),
    IGNORED("bind_port", "7946"),
    IGNORED("packet_dial_timeout", "2s"),
    IGNORED("packet_write_timeout", "5s"),
    IGNORED("max_concurrent_writes", "3"),
    IGNORED("acquire_writer_timeout", "250ms"),
    IGNORED("zone_aware_routing", NULL),
    IGNORED("propagation_delay_tracker", NULL),
    /* Nothing gossips, so there is nothing to protect. */
    IGNORED("tls_enabled", NULL),
    IGNORED("tls_cert_path", NULL),
    IGNORED("tls_key_path", NULL),
    IGNORED("tls_ca_path", NULL),
    IGNORED("tls_server_name", NULL),
    IGNORED("tls_insecure_skip_verify", NULL),
    IGNORED("tls_cipher_suites", NULL),
    IGNORED("tls_min_version", NULL),
};
TABLE(memberlist_table, memberlist_keys);

static const struct config_key span_log_keys[] = {
    IGNORED("enabled", NULL),
    IGNORED("include_all_attributes", NULL),
    IGNORED("filter_by_status_error", NULL),
};
TABLE(span_log_table, span_log_keys);

static const struct config_key usage_keys[] = {
    IGNORED_BECAUSE("reporting_enabled", "false", "nothing is reported to anyone"),
    IGNORED("leader", NULL),
    IGNORED("prefix", NULL),
    IGNORED("backoff", NULL),
    IGNORED("usage_stats_url", NULL),
    IGNORED("proxy_url", NULL),
};
TABLE(usage_table, usage_keys);
