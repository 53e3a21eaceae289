//! Listeners and what stands in them (`envoy.config.listener.v3`, listener and network filters). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::core::{ADDRESS, CIDR_RANGE, INT32_RANGE, METADATA, TRANSPORT_SOCKET};
use super::log::ACCESS_LOG;
use super::row::*;
use super::{Enum, Message};

pub static LISTENER: Message = Message::plain(
    "envoy.config.listener.v3.Listener",
    &[
        yes(1, "name", STRING),
        yes(2, "address", msg(&ADDRESS)),
        yes(3, "filter_chains", msg(&FILTER_CHAIN)).many(),
        yes(4, "use_original_dst", BOOL_VALUE),
        yes(5, "per_connection_buffer_limit_bytes", UINT32_VALUE),
        yes(6, "metadata", msg(&METADATA)),
        no(7, "deprecated_v1"),
        fine(8, "drain_type", "listeners drain when they change, are removed and at shutdown"),
        yes(9, "listener_filters", msg(&LISTENER_FILTER)).many(),
        yes(10, "transparent", BOOL_VALUE),
        no(11, "freebind"),
        fine(12, "tcp_fast_open_queue_length", "a matter of efficiency, not of behaviour"),
        no(13, "socket_options").many(),
        yes(15, "listener_filters_timeout", DURATION),
        yes(16, "traffic_direction", enumeration(&TRAFFIC_DIRECTION)),
        yes(17, "continue_on_listener_filters_timeout", BOOL),
        no(18, "udp_listener_config"),
        no(19, "api_listener"),
        fine(20, "connection_balance_config", "placement on workers is ours to choose"),
        fine(21, "reuse_port", "replaced by enable_reuse_port"),
        yes(22, "access_log", msg(&ACCESS_LOG)).many(),
        fine(24, "tcp_backlog_size", "a matter of efficiency, not of behaviour"),
        yes(25, "default_filter_chain", msg(&FILTER_CHAIN)),
        yes(26, "bind_to_port", BOOL_VALUE),
        no(27, "internal_listener").choice(1),
        fine(28, "stat_prefix", "only names statistics"),
        yes(29, "enable_reuse_port", BOOL_VALUE),
        no(30, "enable_mptcp"),
        no(31, "ignore_global_conn_limit"),
        no(32, "filter_chain_matcher"),
        yes(33, "additional_addresses", msg(&ADDITIONAL_ADDRESS)).many(),
        fine(
            34,
            "max_connections_to_accept_per_socket_event",
            "a matter of efficiency, not of behaviour",
        ),
        fine(35, "bypass_overload_manager", "overload limits are per process"),
        no(36, "fcds_config"),
    ],
);

pub static ADDITIONAL_ADDRESS: Message = Message::plain(
    "envoy.config.listener.v3.AdditionalAddress",
    &[yes(1, "address", msg(&ADDRESS)), no(2, "socket_options")],
);

pub static LISTENER_FILTER: Message = Message::plain(
    "envoy.config.listener.v3.ListenerFilter",
    &[
        fine(1, "name", "a label; the type decides").of(STRING),
        yes(3, "typed_config", ANY).choice(1),
        yes(4, "filter_disabled", msg(&LISTENER_FILTER_PREDICATE)),
        no(5, "config_discovery").choice(1),
    ],
);

pub static LISTENER_FILTER_PREDICATE: Message = Message::plain(
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate",
    &[
        yes(1, "or_match", msg(&LISTENER_FILTER_PREDICATE_SET)).choice(1),
        no(2, "and_match").choice(1),
        no(3, "not_match").choice(1),
        no(4, "any_match").choice(1),
        yes(5, "destination_port_range", msg(&INT32_RANGE)).choice(1),
    ],
);

pub static LISTENER_FILTER_PREDICATE_SET: Message = Message::plain(
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet",
    &[yes(1, "rules", msg(&LISTENER_FILTER_PREDICATE)).many()],
);

pub static FILTER_CHAIN: Message = Message::plain(
    "envoy.config.listener.v3.FilterChain",
    &[
        yes(1, "filter_chain_match", msg(&FILTER_CHAIN_MATCH)),
        yes(3, "filters", msg(&FILTER)).many(),
        no(4, "use_proxy_proto"),
        yes(5, "metadata", msg(&METADATA)),
        yes(6, "transport_socket", msg(&TRANSPORT_SOCKET)),
        yes(7, "name", STRING),
        yes(9, "transport_socket_connect_timeout", DURATION),
    ],
);

pub static FILTER_CHAIN_MATCH: Message = Message::plain(
    "envoy.config.listener.v3.FilterChainMatch",
    &[
        yes(3, "prefix_ranges", msg(&CIDR_RANGE)).many(),
        no(4, "address_suffix"),
        no(5, "suffix_len"),
        yes(6, "source_prefix_ranges", msg(&CIDR_RANGE)).many(),
        yes(7, "source_ports", UINT32).many(),
        yes(8, "destination_port", UINT32_VALUE),
        yes(9, "transport_protocol", STRING),
        yes(10, "application_protocols", STRING).many(),
        yes(11, "server_names", STRING).many(),
        yes(12, "source_type", enumeration(&FILTER_CHAIN_MATCH_CONNECTION_SOURCE_TYPE)),
        yes(13, "direct_source_prefix_ranges", msg(&CIDR_RANGE)).many(),
    ],
);

pub static FILTER: Message = Message::plain(
    "envoy.config.listener.v3.Filter",
    &[
        fine(1, "name", "a label; the type decides").of(STRING),
        yes(4, "typed_config", ANY).choice(1),
        no(5, "config_discovery").choice(1),
    ],
);

pub static ORIGINAL_DST: Message =
    Message::plain("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", &[]);

pub static TLS_INSPECTOR: Message = Message::plain(
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    &[
        no(1, "enable_ja3_fingerprinting"),
        fine(2, "initial_read_buffer_size", "a matter of efficiency, not of behaviour"),
        no(3, "enable_ja4_fingerprinting"),
        no(4, "close_connection_on_client_hello_parsing_errors"),
        fine(5, "max_client_hello_size", "the first 16 KiB are looked at"),
    ],
);

pub static HTTP_INSPECTOR: Message =
    Message::plain("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", &[]);

pub static PROXY_PROTOCOL: Message = Message::plain(
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    &[
        no(1, "rules").many(),
        yes(2, "allow_requests_without_proxy_protocol", BOOL),
        no(3, "pass_through_tlvs"),
        no(4, "disallowed_versions").many(),
        fine(5, "stat_prefix", "only names statistics"),
        no(6, "tlv_location"),
    ],
);

pub static TCP_PROXY: Message = Message::plain(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    &[
        yes(1, "stat_prefix", STRING),
        yes(2, "cluster", STRING).choice(1),
        no(3, "downstream_idle_timeout"),
        no(4, "upstream_idle_timeout"),
        yes(5, "access_log", msg(&ACCESS_LOG)).many(),
        yes(7, "max_connect_attempts", UINT32_VALUE),
        yes(8, "idle_timeout", DURATION),
        no(9, "metadata_match"),
        yes(10, "weighted_clusters", msg(&TCP_WEIGHTED)).choice(1),
        yes(11, "hash_policy", msg(&TCP_HASH_POLICY)).many(),
        yes(12, "tunneling_config", msg(&TUNNELING)),
        yes(13, "max_downstream_connection_duration", DURATION),
        no(14, "on_demand"),
        no(15, "access_log_flush_interval"),
        no(16, "flush_access_log_on_connected"),
        no(17, "access_log_options"),
        no(18, "backoff_options"),
        no(19, "proxy_protocol_tlvs").many(),
        no(20, "max_downstream_connection_duration_jitter_percentage"),
        no(21, "upstream_connect_mode"),
        no(22, "max_early_data_bytes"),
    ],
);

pub static TUNNELING: Message = Message::plain(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig",
    &[
        yes(1, "hostname", STRING),
        no(2, "use_post"),
        no(3, "headers_to_add").many(),
        no(4, "propagate_response_headers"),
        no(5, "post_path"),
        no(6, "propagate_response_trailers"),
        no(7, "request_id_extension"),
    ],
);

pub static TCP_WEIGHTED: Message = Message::plain(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
    &[yes(1, "clusters", msg(&TCP_CLUSTER_WEIGHT)).many()],
);

pub static TCP_CLUSTER_WEIGHT: Message = Message::plain(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
    &[yes(1, "name", STRING), yes(2, "weight", UINT32), yes(3, "metadata_match", msg(&METADATA))],
);

pub static TCP_HASH_POLICY: Message = Message::plain(
    "envoy.type.v3.HashPolicy",
    &[yes(1, "source_ip", msg(&TCP_HASH_SOURCE_IP)).choice(1), no(2, "filter_state").choice(1)],
);

pub static TCP_HASH_SOURCE_IP: Message = Message::plain("envoy.type.v3.HashPolicy.SourceIp", &[]);

pub static CONNECTION_LIMIT: Message = Message::plain(
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    &[
        fine(1, "stat_prefix", "only names statistics").of(STRING),
        yes(2, "max_connections", UINT64_VALUE),
        yes(3, "delay", DURATION),
        no(4, "runtime_enabled"),
    ],
);

pub static MONGO_PROXY: Message = Message::plain(
    "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
    &[
        fine(1, "stat_prefix", "only names statistics"),
        fine(2, "access_log", "the filter is left out: it only watches"),
        no(3, "delay"),
        fine(4, "emit_dynamic_metadata", "the filter is left out: it only watches"),
        fine(5, "commands", "the filter is left out: it only watches").many(),
    ],
);

pub static FILTER_CHAIN_MATCH_CONNECTION_SOURCE_TYPE: Enum = Enum::new(
    "envoy.config.listener.v3.FilterChainMatch.ConnectionSourceType",
    &[(0, "ANY"), (1, "SAME_IP_OR_LOOPBACK"), (2, "EXTERNAL")],
);

pub static TRAFFIC_DIRECTION: Enum = Enum::new(
    "envoy.config.core.v3.TrafficDirection",
    &[(0, "UNSPECIFIED"), (1, "INBOUND"), (2, "OUTBOUND")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &LISTENER,
    &ADDITIONAL_ADDRESS,
    &LISTENER_FILTER,
    &LISTENER_FILTER_PREDICATE,
    &LISTENER_FILTER_PREDICATE_SET,
    &FILTER_CHAIN,
    &FILTER_CHAIN_MATCH,
    &FILTER,
    &ORIGINAL_DST,
    &TLS_INSPECTOR,
    &HTTP_INSPECTOR,
    &PROXY_PROTOCOL,
    &TCP_PROXY,
    &TCP_WEIGHTED,
    &TUNNELING,
    &TCP_CLUSTER_WEIGHT,
    &TCP_HASH_POLICY,
    &TCP_HASH_SOURCE_IP,
    &CONNECTION_LIMIT,
    &MONGO_PROXY,
];
