//! The HTTP connection manager and the HTTP filters. One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::core::{
    COMMON_HTTP_OPTIONS, CONFIG_SOURCE, CUSTOM_TAG, DATA_SOURCE, FRACTIONAL_PERCENT, GRPC_SERVICE,
    HEADER_VALUE_OPTION, HTTP1_OPTIONS, HTTP2_OPTIONS, PERCENT, RUNTIME_FRACTIONAL_PERCENT,
    STRING_MATCHER,
};
use super::log::{ACCESS_LOG, ACCESS_LOG_FILTER, SUBSTITUTION_FORMAT};
use super::route::{HEADER_MATCHER, ROUTE_CONFIGURATION};
use super::row::*;
use super::{Enum, Message};

pub static HTTP_CONNECTION_MANAGER: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    &[
        yes(1, "codec_type", enumeration(&HTTP_CONNECTION_MANAGER_CODEC_TYPE)),
        yes(2, "stat_prefix", STRING),
        yes(3, "rds", msg(&RDS)).choice(1),
        yes(4, "route_config", msg(&ROUTE_CONFIGURATION)).choice(1),
        yes(5, "http_filters", msg(&HTTP_FILTER)).many(),
        no(6, "add_user_agent"),
        yes(7, "tracing", msg(&TRACING)),
        yes(8, "http_protocol_options", msg(&HTTP1_OPTIONS)),
        yes(9, "http2_protocol_options", msg(&HTTP2_OPTIONS)),
        yes(10, "server_name", STRING),
        yes(12, "drain_timeout", DURATION),
        yes(13, "access_log", msg(&ACCESS_LOG)).many(),
        yes(14, "use_remote_address", BOOL_VALUE),
        yes(15, "generate_request_id", BOOL_VALUE),
        yes(
            16,
            "forward_client_cert_details",
            enumeration(&HTTP_CONNECTION_MANAGER_FORWARD_CLIENT_CERT_DETAILS),
        ),
        yes(17, "set_current_client_cert_details", msg(&CLIENT_CERT_DETAILS)),
        yes(18, "proxy_100_continue", BOOL),
        yes(19, "xff_num_trusted_hops", UINT32),
        no(20, "represent_ipv4_remote_address_as_ipv4_mapped_ipv6"),
        yes(21, "skip_xff_append", BOOL),
        yes(22, "via", STRING),
        yes(23, "upgrade_configs", msg(&HCM_UPGRADE)).many(),
        yes(24, "stream_idle_timeout", DURATION),
        no(25, "internal_address_config"),
        fine(
            26,
            "delayed_close_timeout",
            "a connection is closed once its last response has been flushed",
        ),
        yes(28, "request_timeout", DURATION),
        yes(29, "max_request_headers_kb", UINT32_VALUE),
        yes(30, "normalize_path", BOOL_VALUE),
        no(31, "scoped_routes").choice(1),
        yes(32, "preserve_external_request_id", BOOL),
        yes(33, "merge_slashes", BOOL),
        yes(
            34,
            "server_header_transformation",
            enumeration(&HTTP_CONNECTION_MANAGER_SERVER_HEADER_TRANSFORMATION),
        ),
        yes(35, "common_http_protocol_options", msg(&COMMON_HTTP_OPTIONS)),
        yes(36, "request_id_extension", msg(&REQUEST_ID_EXTENSION)),
        yes(37, "always_set_request_id_in_response", BOOL),
        yes(38, "local_reply_config", msg(&LOCAL_REPLY_CONFIG)),
        yes(39, "strip_matching_host_port", BOOL),
        yes(40, "stream_error_on_invalid_http_message", BOOL_VALUE),
        yes(41, "request_headers_timeout", DURATION),
        yes(42, "strip_any_host_port", BOOL).choice(2),
        no(43, "path_normalization_options"),
        no(44, "http3_protocol_options"),
        yes(
            45,
            "path_with_escaped_slashes_action",
            enumeration(&HTTP_CONNECTION_MANAGER_PATH_WITH_ESCAPED_SLASHES_ACTION),
        ),
        no(46, "original_ip_detection_extensions").many(),
        yes(47, "strip_trailing_host_dot", BOOL),
        no(48, "scheme_header_transformation"),
        no(49, "proxy_status_config"),
        no(50, "typed_header_validation_config"),
        no(51, "append_x_forwarded_port"),
        no(52, "early_header_mutation_extensions").many(),
        fine(53, "add_proxy_protocol_connection_state", "nothing here reads that state"),
        no(54, "access_log_flush_interval"),
        no(55, "flush_access_log_on_new_request"),
        no(56, "access_log_options"),
        no(57, "append_local_overload"),
        no(58, "http1_safe_max_connection_duration"),
        no(59, "stream_flush_timeout"),
        no(60, "forward_client_cert_matcher"),
    ],
);

pub static RDS: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
    &[yes(1, "config_source", msg(&CONFIG_SOURCE)), yes(2, "route_config_name", STRING)],
);

pub static HTTP_FILTER: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    &[
        yes(1, "name", STRING),
        yes(4, "typed_config", ANY).choice(1),
        no(5, "config_discovery").choice(1),
        yes(6, "is_optional", BOOL),
        yes(7, "disabled", BOOL),
    ],
);

pub static REQUEST_ID_EXTENSION: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
    &[yes(1, "typed_config", ANY)],
);

pub static CLIENT_CERT_DETAILS: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
    &[
        yes(1, "subject", BOOL_VALUE),
        yes(3, "cert", BOOL),
        yes(4, "dns", BOOL),
        yes(5, "uri", BOOL),
        yes(6, "chain", BOOL),
    ],
);

pub static LOCAL_REPLY_CONFIG: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
    &[
        yes(1, "mappers", msg(&RESPONSE_MAPPER)).many(),
        yes(2, "body_format", msg(&SUBSTITUTION_FORMAT)),
    ],
);

pub static RESPONSE_MAPPER: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper",
    &[
        yes(1, "filter", msg(&ACCESS_LOG_FILTER)),
        yes(2, "status_code", UINT32_VALUE),
        yes(3, "body", msg(&DATA_SOURCE)),
        yes(4, "body_format_override", msg(&SUBSTITUTION_FORMAT)),
        yes(5, "headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
    ],
);

pub static HCM_UPGRADE: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
    &[yes(1, "upgrade_type", STRING), no(2, "filters").many(), yes(3, "enabled", BOOL_VALUE)],
);

pub static TRACING: Message = Message::plain(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing",
    &[
        yes(3, "client_sampling", msg(&PERCENT)),
        yes(4, "random_sampling", msg(&PERCENT)),
        yes(5, "overall_sampling", msg(&PERCENT)),
        no(6, "verbose"),
        yes(7, "max_path_tag_length", UINT32_VALUE),
        yes(8, "custom_tags", msg(&CUSTOM_TAG)).many(),
        yes(9, "provider", msg(&TRACING_HTTP)),
        no(10, "spawn_upstream_span"),
        no(11, "operation"),
        no(12, "upstream_operation"),
    ],
);

pub static UUID_REQUEST_ID: Message = Message::plain(
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    &[
        fine(1, "pack_trace_reason", "one digit of a generated id"),
        fine(2, "use_request_id_for_trace_sampling", "the decision travels in the trace headers"),
    ],
);

pub static TRACING_HTTP: Message = Message::plain(
    "envoy.config.trace.v3.Tracing.Http",
    &[yes(1, "name", STRING), yes(3, "typed_config", ANY).choice(1)],
);

pub static ZIPKIN: Message = Message::plain(
    "envoy.config.trace.v3.ZipkinConfig",
    &[
        yes(1, "collector_cluster", STRING),
        yes(2, "collector_endpoint", STRING),
        fine(3, "trace_id_128bit", "ids are 128 bits"),
        fine(4, "shared_span_context", "spans are not shared"),
        fine(5, "collector_endpoint_version", "spans are sent as JSON"),
        fine(6, "collector_hostname", "the cluster's name is the host"),
        fine(7, "split_spans_for_request", "each hop has its own span"),
        no(8, "trace_context_option"),
        no(9, "collector_service"),
    ],
);

pub static OPEN_TELEMETRY: Message = Message::plain(
    "envoy.config.trace.v3.OpenTelemetryConfig",
    &[
        yes(1, "grpc_service", msg(&GRPC_SERVICE)),
        yes(2, "service_name", STRING),
        no(3, "http_service"),
        no(4, "resource_detectors").many(),
        no(5, "sampler"),
        fine(6, "max_cache_size", "the queue has its own bound"),
    ],
);

pub static ROUTER: Message = Message::plain(
    "envoy.extensions.filters.http.router.v3.Router",
    &[
        fine(1, "dynamic_stats", "only names statistics"),
        fine(2, "start_child_span", "each hop has one span"),
        no(3, "upstream_log").many(),
        yes(4, "suppress_envoy_headers", BOOL),
        no(5, "strict_check_headers").many(),
        no(6, "respect_expected_rq_timeout"),
        fine(7, "suppress_grpc_request_failure_code_stats", "only names statistics"),
        no(8, "upstream_http_filters").many(),
        no(9, "upstream_log_options"),
    ],
);

pub static HTTP_FAULT: Message = Message::plain(
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    &[
        yes(1, "delay", msg(&FAULT_DELAY)),
        yes(2, "abort", msg(&FAULT_ABORT)),
        yes(3, "upstream_cluster", STRING),
        yes(4, "headers", msg(&HEADER_MATCHER)).many(),
        no(5, "downstream_nodes").many(),
        yes(6, "max_active_faults", UINT32_VALUE),
        no(7, "response_rate_limit"),
        no(8, "delay_percent_runtime"),
        no(9, "abort_percent_runtime"),
        no(10, "delay_duration_runtime"),
        no(11, "abort_http_status_runtime"),
        no(12, "max_active_faults_runtime"),
        no(13, "response_rate_limit_percent_runtime"),
        no(14, "abort_grpc_status_runtime"),
        no(15, "disable_downstream_cluster_stats"),
        no(16, "filter_metadata"),
    ],
);

pub static FAULT_DELAY: Message = Message::plain(
    "envoy.extensions.filters.common.fault.v3.FaultDelay",
    &[
        yes(3, "fixed_delay", DURATION).choice(1),
        yes(4, "percentage", msg(&FRACTIONAL_PERCENT)),
        no(5, "header_delay").choice(1),
    ],
);

pub static FAULT_ABORT: Message = Message::plain(
    "envoy.extensions.filters.http.fault.v3.FaultAbort",
    &[
        yes(2, "http_status", UINT32).choice(1),
        yes(3, "percentage", msg(&FRACTIONAL_PERCENT)),
        no(4, "header_abort").choice(1),
        yes(5, "grpc_status", UINT32).choice(1),
    ],
);

pub static CORS_FILTER: Message = Message::plain("envoy.extensions.filters.http.cors.v3.Cors", &[]);

pub static CORS_FILTER_POLICY: Message = Message::plain(
    "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    &[
        yes(1, "allow_origin_string_match", msg(&STRING_MATCHER)).many(),
        yes(2, "allow_methods", STRING),
        yes(3, "allow_headers", STRING),
        yes(4, "expose_headers", STRING),
        yes(5, "max_age", STRING),
        yes(6, "allow_credentials", BOOL_VALUE),
        yes(7, "filter_enabled", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        fine(8, "shadow_enabled", "shadow policies only count"),
        no(9, "allow_private_network_access"),
        yes(10, "forward_not_matching_preflights", BOOL_VALUE),
    ],
);

pub static DYNAMIC_FILTER: Message = Message::plain(
    "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    &[
        yes(1, "dns_cache_config", msg(&super::DNS_CACHE)).choice(1),
        no(2, "save_upstream_address"),
        no(3, "sub_cluster_config").choice(1),
        no(4, "allow_dynamic_host_from_filter_state"),
    ],
);

pub static GRPC_STATS: Message = Message::plain(
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    &[
        yes(1, "emit_filter_state", BOOL),
        fine(2, "individual_method_stats_allowlist", "only names statistics").choice(1),
        fine(3, "stats_for_all_methods", "only names statistics").choice(1),
        fine(4, "enable_upstream_stats", "only names statistics"),
        fine(5, "replace_dots_in_grpc_service_name", "only names statistics"),
    ],
);

pub static GRPC_WEB: Message =
    Message::plain("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", &[]);

pub static ALTERNATE_PROTOCOLS_CACHE: Message = Message::plain(
    "envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig",
    &[fine(1, "alternate_protocols_cache_options", "HTTP/3 is not spoken to upstreams")],
);

pub static HTTP_CONNECTION_MANAGER_CODEC_TYPE: Enum = Enum::new(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.CodecType",
    &[(0, "AUTO"), (1, "HTTP1"), (2, "HTTP2"), (3, "HTTP3")],
);

pub static HTTP_CONNECTION_MANAGER_FORWARD_CLIENT_CERT_DETAILS: Enum = Enum::new(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertDetails",
    &[
        (0, "SANITIZE"),
        (1, "FORWARD_ONLY"),
        (2, "APPEND_FORWARD"),
        (3, "SANITIZE_SET"),
        (4, "ALWAYS_FORWARD_ONLY"),
    ],
);

pub static HTTP_CONNECTION_MANAGER_PATH_WITH_ESCAPED_SLASHES_ACTION: Enum = Enum::new(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.PathWithEscapedSlashesAction",
    &[
        (0, "IMPLEMENTATION_SPECIFIC_DEFAULT"),
        (1, "KEEP_UNCHANGED"),
        (2, "REJECT_REQUEST"),
        (3, "UNESCAPE_AND_REDIRECT"),
        (4, "UNESCAPE_AND_FORWARD"),
    ],
);

pub static HTTP_CONNECTION_MANAGER_SERVER_HEADER_TRANSFORMATION: Enum = Enum::new(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ServerHeaderTransformation",
    &[(0, "OVERWRITE"), (1, "APPEND_IF_ABSENT"), (2, "PASS_THROUGH")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &DYNAMIC_FILTER,
    &HTTP_CONNECTION_MANAGER,
    &RDS,
    &HTTP_FILTER,
    &REQUEST_ID_EXTENSION,
    &CLIENT_CERT_DETAILS,
    &LOCAL_REPLY_CONFIG,
    &RESPONSE_MAPPER,
    &HCM_UPGRADE,
    &TRACING,
    &UUID_REQUEST_ID,
    &TRACING_HTTP,
    &ZIPKIN,
    &OPEN_TELEMETRY,
    &ROUTER,
    &HTTP_FAULT,
    &FAULT_DELAY,
    &FAULT_ABORT,
    &CORS_FILTER,
    &CORS_FILTER_POLICY,
    &GRPC_STATS,
    &GRPC_WEB,
    &ALTERNATE_PROTOCOLS_CACHE,
];
