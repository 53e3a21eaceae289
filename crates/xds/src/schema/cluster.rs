//! Clusters and endpoints (`envoy.config.cluster.v3`, `envoy.config.endpoint.v3`). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::core::{
    ADDRESS, BIND_CONFIG, COMMON_HTTP_OPTIONS, CONFIG_SOURCE, HTTP1_OPTIONS, HTTP2_OPTIONS,
    LOCALITY, METADATA, PERCENT, TCP_KEEPALIVE, TRANSPORT_SOCKET,
};
use super::row::*;
use super::{Enum, Message};

pub static CLUSTER: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster",
    &[
        yes(1, "name", STRING),
        yes(2, "type", enumeration(&CLUSTER_DISCOVERY_TYPE)).choice(1),
        yes(3, "eds_cluster_config", msg(&EDS_CLUSTER_CONFIG)),
        yes(4, "connect_timeout", DURATION),
        yes(5, "per_connection_buffer_limit_bytes", UINT32_VALUE),
        yes(6, "lb_policy", enumeration(&CLUSTER_LB_POLICY)),
        no(8, "health_checks").many(),
        no(9, "max_requests_per_connection"),
        yes(10, "circuit_breakers", msg(&CIRCUIT_BREAKERS)),
        yes(13, "http_protocol_options", msg(&HTTP1_OPTIONS)),
        yes(14, "http2_protocol_options", msg(&HTTP2_OPTIONS)),
        yes(16, "dns_refresh_rate", DURATION),
        yes(17, "dns_lookup_family", enumeration(&CLUSTER_DNS_LOOKUP_FAMILY)),
        no(18, "dns_resolvers").many(),
        yes(19, "outlier_detection", msg(&OUTLIER_DETECTION)),
        fine(20, "cleanup_interval", "a matter of efficiency, not of behaviour"),
        yes(21, "upstream_bind_config", msg(&BIND_CONFIG)),
        no(22, "lb_subset_config"),
        yes(23, "ring_hash_lb_config", msg(&RING_HASH)).choice(2),
        yes(24, "transport_socket", msg(&TRANSPORT_SOCKET)),
        yes(25, "metadata", msg(&METADATA)),
        fine(26, "protocol_selection", "replaced by HttpProtocolOptions"),
        yes(27, "common_lb_config", msg(&COMMON_LB)),
        yes(28, "alt_stat_name", STRING),
        yes(29, "common_http_protocol_options", msg(&COMMON_HTTP_OPTIONS)),
        yes(30, "upstream_connection_options", msg(&UPSTREAM_CONNECTION)),
        yes(31, "close_connections_on_host_health_failure", BOOL),
        fine(32, "ignore_health_on_host_removal", "there are no active health checks"),
        yes(33, "load_assignment", msg(&CLUSTER_LOAD_ASSIGNMENT)),
        no(34, "original_dst_lb_config").choice(2),
        yes(36, "typed_extension_protocol_options", ANY).map(),
        yes(37, "least_request_lb_config", msg(&LEAST_REQUEST)).choice(2),
        yes(38, "cluster_type", msg(&CUSTOM_CLUSTER_TYPE)).choice(1),
        yes(39, "respect_dns_ttl", BOOL),
        fine(
            40,
            "filters",
            "only Istio's metadata exchange may stand there, which adds labels to metrics",
        )
        .of(msg(&CLUSTER_FILTER))
        .many(),
        no(41, "load_balancing_policy"),
        no(42, "lrs_server"),
        yes(43, "transport_socket_matches", msg(&SOCKET_MATCH)).many(),
        fine(44, "dns_failure_refresh_rate", "failed queries are repeated with back-off"),
        no(45, "use_tcp_for_dns_lookups"),
        no(46, "upstream_http_protocol_options"),
        fine(47, "track_timeout_budgets", "only names statistics"),
        no(48, "upstream_config"),
        fine(49, "track_cluster_stats", "only names statistics"),
        no(50, "preconnect_policy"),
        no(51, "connection_pool_per_downstream_connection"),
        yes(52, "maglev_lb_config", msg(&MAGLEV)).choice(2),
        no(53, "dns_resolution_config"),
        fine(54, "wait_for_warm_on_init", "a configuration is published when it is complete"),
        no(55, "typed_dns_resolver_config"),
        yes(56, "round_robin_lb_config", msg(&ROUND_ROBIN)).choice(2),
        no(57, "lrs_report_endpoint_metrics").many(),
        fine(58, "dns_jitter", "queries are spread anyway"),
        no(59, "transport_socket_matcher"),
    ],
);

pub static CLUSTER_FILTER: Message = Message::plain(
    "envoy.config.cluster.v3.Filter",
    &[
        fine(1, "name", "a label; the type decides").of(STRING),
        yes(2, "typed_config", ANY),
        no(3, "config_discovery"),
    ],
);

pub static EDS_CLUSTER_CONFIG: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
    &[yes(1, "eds_config", msg(&CONFIG_SOURCE)), yes(2, "service_name", STRING)],
);

pub static SLOW_START: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.SlowStartConfig",
    &[
        yes(1, "slow_start_window", DURATION),
        yes(2, "aggression", msg(&RUNTIME_DOUBLE)),
        yes(3, "min_weight_percent", msg(&PERCENT)),
    ],
);

pub static RUNTIME_DOUBLE: Message = Message::plain(
    "envoy.config.core.v3.RuntimeDouble",
    &[
        yes(1, "default_value", DOUBLE),
        fine(2, "runtime_key", "runtime is not read; the default counts").of(STRING),
    ],
);

pub static ROUND_ROBIN: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig",
    &[yes(1, "slow_start_config", msg(&SLOW_START))],
);

pub static LEAST_REQUEST: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
    &[
        yes(1, "choice_count", UINT32_VALUE),
        yes(2, "active_request_bias", msg(&RUNTIME_DOUBLE)),
        yes(3, "slow_start_config", msg(&SLOW_START)),
    ],
);

pub static RING_HASH: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.RingHashLbConfig",
    &[
        yes(1, "minimum_ring_size", UINT64_VALUE),
        no(3, "hash_function"),
        yes(4, "maximum_ring_size", UINT64_VALUE),
    ],
);

pub static MAGLEV: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.MaglevLbConfig",
    &[yes(1, "table_size", UINT64_VALUE)],
);

pub static COMMON_LB: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.CommonLbConfig",
    &[
        yes(1, "healthy_panic_threshold", msg(&PERCENT)),
        yes(2, "zone_aware_lb_config", msg(&ZONE_AWARE)).choice(1),
        yes(3, "locality_weighted_lb_config", msg(&LOCALITY_WEIGHTED)).choice(1),
        fine(4, "update_merge_window", "each update is one new table"),
        fine(5, "ignore_new_hosts_until_first_hc", "there are no active health checks"),
        no(6, "close_connections_on_host_set_change"),
        no(7, "consistent_hashing_lb_config"),
        no(8, "override_host_status"),
    ],
);

pub static ZONE_AWARE: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
    &[no(1, "routing_enabled"), no(2, "min_cluster_size"), no(3, "fail_traffic_on_panic")],
);

pub static LOCALITY_WEIGHTED: Message =
    Message::plain("envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig", &[]);

pub static CIRCUIT_BREAKERS: Message = Message::plain(
    "envoy.config.cluster.v3.CircuitBreakers",
    &[yes(1, "thresholds", msg(&THRESHOLDS)).many(), no(2, "per_host_thresholds").many()],
);

pub static THRESHOLDS: Message = Message::plain(
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
    &[
        yes(1, "priority", enumeration(&ROUTING_PRIORITY)),
        yes(2, "max_connections", UINT32_VALUE),
        yes(3, "max_pending_requests", UINT32_VALUE),
        yes(4, "max_requests", UINT32_VALUE),
        yes(5, "max_retries", UINT32_VALUE),
        yes(6, "track_remaining", BOOL),
        no(7, "max_connection_pools"),
        yes(8, "retry_budget", msg(&RETRY_BUDGET)),
    ],
);

pub static RETRY_BUDGET: Message = Message::plain(
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget",
    &[yes(1, "budget_percent", msg(&PERCENT)), yes(2, "min_retry_concurrency", UINT32_VALUE)],
);

pub static OUTLIER_DETECTION: Message = Message::plain(
    "envoy.config.cluster.v3.OutlierDetection",
    &[
        yes(1, "consecutive_5xx", UINT32_VALUE),
        yes(2, "interval", DURATION),
        yes(3, "base_ejection_time", DURATION),
        yes(4, "max_ejection_percent", UINT32_VALUE),
        yes(5, "enforcing_consecutive_5xx", UINT32_VALUE),
        yes(6, "enforcing_success_rate", UINT32_VALUE),
        yes(7, "success_rate_minimum_hosts", UINT32_VALUE),
        yes(8, "success_rate_request_volume", UINT32_VALUE),
        yes(9, "success_rate_stdev_factor", UINT32_VALUE),
        yes(10, "consecutive_gateway_failure", UINT32_VALUE),
        yes(11, "enforcing_consecutive_gateway_failure", UINT32_VALUE),
        yes(12, "split_external_local_origin_errors", BOOL),
        yes(13, "consecutive_local_origin_failure", UINT32_VALUE),
        yes(14, "enforcing_consecutive_local_origin_failure", UINT32_VALUE),
        yes(15, "enforcing_local_origin_success_rate", UINT32_VALUE),
        no(16, "failure_percentage_threshold"),
        no(17, "enforcing_failure_percentage"),
        no(18, "enforcing_failure_percentage_local_origin"),
        no(19, "failure_percentage_minimum_hosts"),
        no(20, "failure_percentage_request_volume"),
        yes(21, "max_ejection_time", DURATION),
        fine(22, "max_ejection_time_jitter", "ejections end at different times anyway"),
        no(23, "successful_active_health_check_uneject_host"),
        no(24, "monitors").many(),
        no(25, "always_eject_one_host"),
    ],
);

pub static SOCKET_MATCH: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.TransportSocketMatch",
    &[
        yes(1, "name", STRING),
        yes(2, "match", STRUCT),
        yes(3, "transport_socket", msg(&TRANSPORT_SOCKET)),
    ],
);

pub static UPSTREAM_CONNECTION: Message = Message::plain(
    "envoy.config.cluster.v3.UpstreamConnectionOptions",
    &[
        yes(1, "tcp_keepalive", msg(&TCP_KEEPALIVE)),
        no(2, "set_local_interface_name_on_upstream_connections"),
        no(3, "happy_eyeballs_config"),
    ],
);

pub static UPSTREAM_HTTP: Message = Message::plain(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    &[
        yes(1, "common_http_protocol_options", msg(&COMMON_HTTP_OPTIONS)),
        yes(2, "upstream_http_protocol_options", msg(&UPSTREAM_HTTP_COMMON)),
        yes(3, "explicit_http_config", msg(&EXPLICIT_HTTP)).choice(1),
        yes(4, "use_downstream_protocol_config", msg(&DOWNSTREAM_HTTP)).choice(1),
        yes(5, "auto_config", msg(&AUTO_HTTP)).choice(1),
        no(6, "http_filters").many(),
        no(7, "header_validation_config"),
        no(8, "outlier_detection"),
        no(9, "request_mirror_policies").many(),
        no(10, "hash_policy").many(),
        no(11, "retry_policy"),
    ],
);

pub static UPSTREAM_HTTP_COMMON: Message = Message::plain(
    "envoy.config.core.v3.UpstreamHttpProtocolOptions",
    &[
        yes(1, "auto_sni", BOOL),
        yes(2, "auto_san_validation", BOOL),
        no(3, "override_auto_sni_header"),
    ],
);

pub static EXPLICIT_HTTP: Message = Message::plain(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
    &[
        yes(1, "http_protocol_options", msg(&HTTP1_OPTIONS)).choice(1),
        yes(2, "http2_protocol_options", msg(&HTTP2_OPTIONS)).choice(1),
        no(3, "http3_protocol_options").choice(1),
    ],
);

pub static DOWNSTREAM_HTTP: Message = Message::plain(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
    &[
        yes(1, "http_protocol_options", msg(&HTTP1_OPTIONS)),
        yes(2, "http2_protocol_options", msg(&HTTP2_OPTIONS)),
        no(3, "http3_protocol_options"),
    ],
);

pub static AUTO_HTTP: Message = Message::plain(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
    &[
        yes(1, "http_protocol_options", msg(&HTTP1_OPTIONS)),
        yes(2, "http2_protocol_options", msg(&HTTP2_OPTIONS)),
        no(3, "http3_protocol_options"),
        no(4, "alternate_protocols_cache_options"),
    ],
);

pub static CLUSTER_LOAD_ASSIGNMENT: Message = Message::plain(
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    &[
        yes(1, "cluster_name", STRING),
        yes(2, "endpoints", msg(&LOCALITY_ENDPOINTS)).many(),
        yes(4, "policy", msg(&LOAD_POLICY)),
        no(5, "named_endpoints").map(),
    ],
);

pub static LOAD_POLICY: Message = Message::plain(
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
    &[
        no(2, "drop_overloads").many(),
        yes(3, "overprovisioning_factor", UINT32_VALUE),
        no(4, "endpoint_stale_after"),
        yes(6, "weighted_priority_health", BOOL),
    ],
);

pub static LOCALITY_ENDPOINTS: Message = Message::plain(
    "envoy.config.endpoint.v3.LocalityLbEndpoints",
    &[
        yes(1, "locality", msg(&LOCALITY)),
        yes(2, "lb_endpoints", msg(&LB_ENDPOINT)).many(),
        yes(3, "load_balancing_weight", UINT32_VALUE),
        yes(5, "priority", UINT32),
        fine(6, "proximity", "not read by Envoy either"),
        no(7, "load_balancer_endpoints").choice(1),
        no(8, "leds_cluster_locality_config").choice(1),
        fine(9, "metadata", "nothing here reads it"),
    ],
);

pub static LB_ENDPOINT: Message = Message::plain(
    "envoy.config.endpoint.v3.LbEndpoint",
    &[
        yes(1, "endpoint", msg(&ENDPOINT)).choice(1),
        yes(2, "health_status", enumeration(&HEALTH_STATUS)),
        yes(3, "metadata", msg(&METADATA)),
        yes(4, "load_balancing_weight", UINT32_VALUE),
        no(5, "endpoint_name").choice(1),
    ],
);

pub static ENDPOINT: Message = Message::plain(
    "envoy.config.endpoint.v3.Endpoint",
    &[
        yes(1, "address", msg(&ADDRESS)),
        fine(2, "health_check_config", "there are no active health checks"),
        yes(3, "hostname", STRING),
        no(4, "additional_addresses").many(),
    ],
);

pub static CUSTOM_CLUSTER_TYPE: Message = Message::plain(
    "envoy.config.cluster.v3.Cluster.CustomClusterType",
    &[
        fine(1, "name", "the type of the configuration says what it is").of(STRING),
        yes(2, "typed_config", ANY),
    ],
);

pub static DYNAMIC_CLUSTER: Message = Message::plain(
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
    &[
        yes(1, "dns_cache_config", msg(&DNS_CACHE)).choice(1),
        no(2, "allow_insecure_cluster_options"),
        no(3, "allow_coalesced_connections"),
        no(4, "sub_clusters_config").choice(1),
    ],
);

pub static DNS_CACHE: Message = Message::plain(
    "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig",
    &[
        yes(1, "name", STRING),
        yes(2, "dns_lookup_family", enumeration(&CLUSTER_DNS_LOOKUP_FAMILY)),
        yes(3, "dns_refresh_rate", DURATION),
        fine(4, "host_ttl", "names are looked up for each connection, and not kept"),
        fine(5, "max_hosts", "names are looked up for each connection, and not kept"),
        fine(
            6,
            "dns_failure_refresh_rate",
            "names are looked up for each connection, and not kept",
        ),
        no(7, "dns_cache_circuit_breaker"),
        no(8, "use_tcp_for_dns_lookups"),
        no(9, "dns_resolution_config"),
        no(10, "preresolve_hostnames").many(),
        no(11, "dns_query_timeout"),
        no(12, "typed_dns_resolver_config"),
        no(13, "key_value_config"),
        fine(14, "dns_min_refresh_rate", "names are looked up for each connection, and not kept"),
        no(15, "disable_dns_refresh_on_failure"),
    ],
);

pub static CLUSTER_DISCOVERY_TYPE: Enum = Enum::new(
    "envoy.config.cluster.v3.Cluster.DiscoveryType",
    &[(0, "STATIC"), (1, "STRICT_DNS"), (2, "LOGICAL_DNS"), (3, "EDS"), (4, "ORIGINAL_DST")],
);

pub static CLUSTER_DNS_LOOKUP_FAMILY: Enum = Enum::new(
    "envoy.config.cluster.v3.Cluster.DnsLookupFamily",
    &[(0, "AUTO"), (1, "V4_ONLY"), (2, "V6_ONLY"), (3, "V4_PREFERRED"), (4, "ALL")],
);

pub static CLUSTER_LB_POLICY: Enum = Enum::new(
    "envoy.config.cluster.v3.Cluster.LbPolicy",
    &[
        (0, "ROUND_ROBIN"),
        (1, "LEAST_REQUEST"),
        (2, "RING_HASH"),
        (3, "RANDOM"),
        (5, "MAGLEV"),
        (6, "CLUSTER_PROVIDED"),
        (7, "LOAD_BALANCING_POLICY_CONFIG"),
    ],
);

pub static HEALTH_STATUS: Enum = Enum::new(
    "envoy.config.core.v3.HealthStatus",
    &[
        (0, "UNKNOWN"),
        (1, "HEALTHY"),
        (2, "UNHEALTHY"),
        (3, "DRAINING"),
        (4, "TIMEOUT"),
        (5, "DEGRADED"),
    ],
);

pub static ROUTING_PRIORITY: Enum =
    Enum::new("envoy.config.core.v3.RoutingPriority", &[(0, "DEFAULT"), (1, "HIGH")]);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &CUSTOM_CLUSTER_TYPE,
    &DYNAMIC_CLUSTER,
    &DNS_CACHE,
    &CLUSTER,
    &CLUSTER_FILTER,
    &EDS_CLUSTER_CONFIG,
    &SLOW_START,
    &RUNTIME_DOUBLE,
    &ROUND_ROBIN,
    &LEAST_REQUEST,
    &RING_HASH,
    &MAGLEV,
    &COMMON_LB,
    &ZONE_AWARE,
    &LOCALITY_WEIGHTED,
    &CIRCUIT_BREAKERS,
    &THRESHOLDS,
    &RETRY_BUDGET,
    &OUTLIER_DETECTION,
    &SOCKET_MATCH,
    &UPSTREAM_CONNECTION,
    &UPSTREAM_HTTP,
    &UPSTREAM_HTTP_COMMON,
    &EXPLICIT_HTTP,
    &DOWNSTREAM_HTTP,
    &AUTO_HTTP,
    &CLUSTER_LOAD_ASSIGNMENT,
    &LOAD_POLICY,
    &LOCALITY_ENDPOINTS,
    &LB_ENDPOINT,
    &ENDPOINT,
];
