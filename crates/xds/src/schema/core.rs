//! Messages that many others share (`envoy.config.core.v3`, `envoy.type.*`). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::row::*;
use super::{Enum, Message};

pub static ADDRESS: Message = Message::plain(
    "envoy.config.core.v3.Address",
    &[
        yes(1, "socket_address", msg(&SOCKET_ADDRESS)).choice(1),
        yes(2, "pipe", msg(&PIPE)).choice(1),
        no(3, "envoy_internal_address").choice(1),
    ],
);

pub static SOCKET_ADDRESS: Message = Message::plain(
    "envoy.config.core.v3.SocketAddress",
    &[
        yes(1, "protocol", enumeration(&SOCKET_ADDRESS_PROTOCOL)),
        yes(2, "address", STRING),
        yes(3, "port_value", UINT32).choice(1),
        no(4, "named_port").choice(1),
        no(5, "resolver_name"),
        fine(6, "ipv4_compat", "IPv4 peers of a dual-stack socket are shown as IPv4 anyway"),
        no(7, "network_namespace_filepath"),
    ],
);

pub static PIPE: Message = Message::plain(
    "envoy.config.core.v3.Pipe",
    &[yes(1, "path", STRING), fine(2, "mode", "the socket gets the process's umask")],
);

pub static CIDR_RANGE: Message = Message::plain(
    "envoy.config.core.v3.CidrRange",
    &[yes(1, "address_prefix", STRING), yes(2, "prefix_len", UINT32_VALUE)],
);

pub static LOCALITY: Message = Message::plain(
    "envoy.config.core.v3.Locality",
    &[yes(1, "region", STRING), yes(2, "zone", STRING), yes(3, "sub_zone", STRING)],
);

pub static METADATA: Message = Message::plain(
    "envoy.config.core.v3.Metadata",
    &[
        yes(1, "filter_metadata", STRUCT).map(),
        fine(2, "typed_filter_metadata", "nothing here reads typed metadata").map(),
    ],
);

pub static DATA_SOURCE: Message = Message::plain(
    "envoy.config.core.v3.DataSource",
    &[
        yes(1, "filename", STRING).choice(1),
        yes(2, "inline_bytes", BYTES).choice(1),
        yes(3, "inline_string", STRING).choice(1),
        no(4, "environment_variable").choice(1),
        fine(5, "watched_directory", "files are watched by their own path"),
    ],
);

pub static HEADER_VALUE: Message = Message::plain(
    "envoy.config.core.v3.HeaderValue",
    &[yes(1, "key", STRING), yes(2, "value", STRING), yes(3, "raw_value", BYTES)],
);

pub static HEADER_VALUE_OPTION: Message = Message::plain(
    "envoy.config.core.v3.HeaderValueOption",
    &[
        yes(1, "header", msg(&HEADER_VALUE)),
        yes(2, "append", BOOL_VALUE),
        yes(3, "append_action", enumeration(&HEADER_VALUE_OPTION_HEADER_APPEND_ACTION)),
        yes(4, "keep_empty_value", BOOL),
    ],
);

pub static RUNTIME_FRACTIONAL_PERCENT: Message = Message::plain(
    "envoy.config.core.v3.RuntimeFractionalPercent",
    &[yes(1, "default_value", msg(&FRACTIONAL_PERCENT)), yes(2, "runtime_key", STRING)],
);

pub static RUNTIME_UINT32: Message = Message::plain(
    "envoy.config.core.v3.RuntimeUInt32",
    &[
        yes(2, "default_value", UINT32),
        fine(3, "runtime_key", "runtime is not read; the default counts"),
    ],
);

pub static TRANSPORT_SOCKET: Message = Message::plain(
    "envoy.config.core.v3.TransportSocket",
    &[yes(1, "name", STRING), yes(3, "typed_config", ANY).choice(1)],
);

pub static TYPED_EXTENSION_CONFIG: Message = Message::plain(
    "envoy.config.core.v3.TypedExtensionConfig",
    &[yes(1, "name", STRING), yes(2, "typed_config", ANY)],
);

pub static CONFIG_SOURCE: Message = Message::plain(
    "envoy.config.core.v3.ConfigSource",
    &[
        no(1, "path").choice(1),
        yes(2, "api_config_source", msg(&API_CONFIG_SOURCE)).choice(1),
        yes(3, "ads", msg(&AGGREGATED_CONFIG_SOURCE)).choice(1),
        fine(4, "initial_fetch_timeout", "how long to wait is the proxy's decision").of(DURATION),
        no(5, "self").choice(1),
        yes(6, "resource_api_version", enumeration(&API_VERSION)),
        no(7, "authorities").many(),
        no(8, "path_config_source").choice(1),
    ],
);

pub static AGGREGATED_CONFIG_SOURCE: Message =
    Message::plain("envoy.config.core.v3.AggregatedConfigSource", &[]);

pub static SELF_CONFIG_SOURCE: Message =
    Message::plain("envoy.config.core.v3.SelfConfigSource", &[no(1, "transport_api_version")]);

pub static API_CONFIG_SOURCE: Message = Message::plain(
    "envoy.config.core.v3.ApiConfigSource",
    &[
        yes(1, "api_type", enumeration(&API_CONFIG_SOURCE_API_TYPE)),
        no(2, "cluster_names").many(),
        no(3, "refresh_delay"),
        yes(4, "grpc_services", msg(&GRPC_SERVICE)).many(),
        fine(5, "request_timeout", "requests are streams"),
        fine(6, "rate_limit_settings", "requests are bounded by acknowledgements"),
        yes(7, "set_node_on_first_message_only", BOOL),
        yes(8, "transport_api_version", enumeration(&API_VERSION)),
        no(9, "config_validators").many(),
    ],
);

pub static GRPC_SERVICE: Message = Message::plain(
    "envoy.config.core.v3.GrpcService",
    &[
        yes(1, "envoy_grpc", msg(&ENVOY_GRPC)).choice(1),
        no(2, "google_grpc").choice(1),
        yes(3, "timeout", DURATION),
        no(5, "initial_metadata").many(),
        no(6, "retry_policy"),
    ],
);

pub static ENVOY_GRPC: Message = Message::plain(
    "envoy.config.core.v3.GrpcService.EnvoyGrpc",
    &[
        yes(1, "cluster_name", STRING),
        fine(2, "authority", "the host in the cluster's name is the authority").of(STRING),
        no(3, "retry_policy"),
        no(4, "max_receive_message_length"),
        no(5, "skip_envoy_headers"),
    ],
);

pub static COMMON_HTTP_OPTIONS: Message = Message::plain(
    "envoy.config.core.v3.HttpProtocolOptions",
    &[
        yes(1, "idle_timeout", DURATION),
        yes(2, "max_headers_count", UINT32_VALUE),
        yes(3, "max_connection_duration", DURATION),
        yes(4, "max_stream_duration", DURATION),
        yes(
            5,
            "headers_with_underscores_action",
            enumeration(&HTTP_PROTOCOL_OPTIONS_HEADERS_WITH_UNDERSCORES_ACTION),
        ),
        yes(6, "max_requests_per_connection", UINT32_VALUE),
        no(7, "max_response_headers_kb"),
    ],
);

pub static HTTP1_OPTIONS: Message = Message::plain(
    "envoy.config.core.v3.Http1ProtocolOptions",
    &[
        yes(1, "allow_absolute_url", BOOL_VALUE),
        yes(2, "accept_http_10", BOOL),
        yes(3, "default_host_for_http_10", STRING),
        yes(4, "header_key_format", msg(&HEADER_KEY_FORMAT)),
        yes(5, "enable_trailers", BOOL),
        yes(6, "allow_chunked_length", BOOL),
        no(7, "override_stream_error_on_invalid_http_message"),
        no(8, "send_fully_qualified_url"),
        fine(9, "use_balsa_parser", "which parser reads HTTP/1 is ours to choose"),
        no(10, "allow_custom_methods"),
        no(11, "ignore_http_11_upgrade").many(),
    ],
);

pub static HEADER_KEY_FORMAT: Message = Message::plain(
    "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat",
    &[
        yes(1, "proper_case_words", msg(&PROPER_CASE_WORDS)).choice(1),
        yes(8, "stateful_formatter", msg(&TYPED_EXTENSION_CONFIG)).choice(1),
    ],
);

pub static PROPER_CASE_WORDS: Message = Message::plain(
    "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords",
    &[],
);

pub static HTTP2_OPTIONS: Message = Message::plain(
    "envoy.config.core.v3.Http2ProtocolOptions",
    &[
        fine(1, "hpack_table_size", "a matter of efficiency, not of behaviour"),
        yes(2, "max_concurrent_streams", UINT32_VALUE),
        yes(3, "initial_stream_window_size", UINT32_VALUE),
        yes(4, "initial_connection_window_size", UINT32_VALUE),
        yes(5, "allow_connect", BOOL),
        no(6, "allow_metadata"),
        fine(7, "max_outbound_frames", "ours has fixed bounds against floods"),
        fine(8, "max_outbound_control_frames", "ours has fixed bounds against floods"),
        fine(
            9,
            "max_consecutive_inbound_frames_with_empty_payload",
            "ours has fixed bounds against floods",
        ),
        fine(10, "max_inbound_priority_frames_per_stream", "ours has fixed bounds against floods"),
        fine(
            11,
            "max_inbound_window_update_frames_per_data_frame_sent",
            "ours has fixed bounds against floods",
        ),
        no(12, "stream_error_on_invalid_http_messaging"),
        no(13, "custom_settings_parameters").many(),
        no(14, "override_stream_error_on_invalid_http_message"),
        yes(15, "connection_keepalive", msg(&KEEPALIVE_SETTINGS)),
        fine(16, "use_oghttp2_codec", "which parser reads HTTP/2 is ours to choose"),
        no(17, "max_metadata_size"),
    ],
);

pub static KEEPALIVE_SETTINGS: Message = Message::plain(
    "envoy.config.core.v3.KeepaliveSettings",
    &[
        yes(1, "interval", DURATION),
        yes(2, "timeout", DURATION),
        fine(3, "interval_jitter", "pings are spread anyway"),
        no(4, "connection_idle_interval"),
    ],
);

pub static TCP_KEEPALIVE: Message = Message::plain(
    "envoy.config.core.v3.TcpKeepalive",
    &[
        yes(1, "keepalive_probes", UINT32_VALUE),
        yes(2, "keepalive_time", UINT32_VALUE),
        yes(3, "keepalive_interval", UINT32_VALUE),
    ],
);

pub static EXTRA_SOURCE_ADDRESS: Message = Message::plain(
    "envoy.config.core.v3.ExtraSourceAddress",
    &[yes(1, "address", msg(&SOCKET_ADDRESS)), no(2, "socket_options")],
);

pub static BIND_CONFIG: Message = Message::plain(
    "envoy.config.core.v3.BindConfig",
    &[
        yes(1, "source_address", msg(&SOCKET_ADDRESS)),
        no(2, "freebind"),
        no(3, "socket_options").many(),
        no(4, "additional_source_addresses").many(),
        yes(5, "extra_source_addresses", msg(&EXTRA_SOURCE_ADDRESS)).many(),
        no(6, "local_address_selector"),
    ],
);

pub static PROXY_PROTOCOL_CONFIG: Message = Message::plain(
    "envoy.config.core.v3.ProxyProtocolConfig",
    &[
        yes(1, "version", enumeration(&PROXY_PROTOCOL_CONFIG_VERSION)),
        no(2, "pass_through_tlvs"),
        no(3, "added_tlvs").many(),
    ],
);

pub static NODE: Message = Message::plain(
    "envoy.config.core.v3.Node",
    &[
        yes(1, "id", STRING),
        yes(2, "cluster", STRING),
        yes(3, "metadata", STRUCT),
        yes(4, "locality", msg(&LOCALITY)),
        fine(6, "user_agent_name", "says who asks"),
        fine(7, "user_agent_version", "says who asks").choice(1),
        fine(8, "user_agent_build_version", "says who asks").choice(1),
        fine(9, "extensions", "says what the asker can do").many(),
        fine(10, "client_features", "says what the asker can do").many(),
        fine(11, "listening_addresses", "says where the asker listens").many(),
        no(12, "dynamic_parameters").map(),
    ],
);

pub static PERCENT: Message = Message::plain("envoy.type.v3.Percent", &[yes(1, "value", DOUBLE)]);

pub static FRACTIONAL_PERCENT: Message = Message::plain(
    "envoy.type.v3.FractionalPercent",
    &[
        yes(1, "numerator", UINT32),
        yes(2, "denominator", enumeration(&FRACTIONAL_PERCENT_DENOMINATOR_TYPE)),
    ],
);

pub static INT64_RANGE: Message =
    Message::plain("envoy.type.v3.Int64Range", &[yes(1, "start", INT64), yes(2, "end", INT64)]);

pub static INT32_RANGE: Message =
    Message::plain("envoy.type.v3.Int32Range", &[yes(1, "start", INT32), yes(2, "end", INT32)]);

pub static STRING_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.StringMatcher",
    &[
        yes(1, "exact", STRING).choice(1),
        yes(2, "prefix", STRING).choice(1),
        yes(3, "suffix", STRING).choice(1),
        yes(5, "safe_regex", msg(&REGEX_MATCHER)).choice(1),
        yes(6, "ignore_case", BOOL),
        yes(7, "contains", STRING).choice(1),
        no(8, "custom").choice(1),
    ],
);

pub static REGEX_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.RegexMatcher",
    &[fine(1, "google_re2", "RE2 is the only engine").choice(1), yes(2, "regex", STRING)],
);

pub static REGEX_REWRITE: Message = Message::plain(
    "envoy.type.matcher.v3.RegexMatchAndSubstitute",
    &[yes(1, "pattern", msg(&REGEX_MATCHER)), yes(2, "substitution", STRING)],
);

pub static CUSTOM_TAG: Message = Message::plain(
    "envoy.type.tracing.v3.CustomTag",
    &[
        yes(1, "tag", STRING),
        yes(2, "literal", msg(&CUSTOM_TAG_LITERAL)).choice(1),
        yes(3, "environment", msg(&CUSTOM_TAG_ENVIRONMENT)).choice(1),
        yes(4, "request_header", msg(&CUSTOM_TAG_HEADER)).choice(1),
        no(5, "metadata").choice(1),
        no(6, "value").choice(1),
    ],
);

pub static CUSTOM_TAG_LITERAL: Message =
    Message::plain("envoy.type.tracing.v3.CustomTag.Literal", &[yes(1, "value", STRING)]);

pub static CUSTOM_TAG_ENVIRONMENT: Message = Message::plain(
    "envoy.type.tracing.v3.CustomTag.Environment",
    &[yes(1, "name", STRING), yes(2, "default_value", STRING)],
);

pub static CUSTOM_TAG_HEADER: Message = Message::plain(
    "envoy.type.tracing.v3.CustomTag.Header",
    &[yes(1, "name", STRING), yes(2, "default_value", STRING)],
);

pub static TYPED_STRUCT: Message = Message::plain(
    "xds.type.v3.TypedStruct",
    &[yes(1, "type_url", STRING), yes(2, "value", STRUCT)],
);

pub static PRESERVE_CASE: Message = Message::plain(
    "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
    &[
        no(1, "forward_reason_phrase"),
        fine(2, "formatter_type_on_envoy_headers", "a matter of efficiency, not of behaviour"),
    ],
);

pub static API_CONFIG_SOURCE_API_TYPE: Enum = Enum::new(
    "envoy.config.core.v3.ApiConfigSource.ApiType",
    &[
        (0, "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE"),
        (1, "REST"),
        (2, "GRPC"),
        (3, "DELTA_GRPC"),
        (5, "AGGREGATED_GRPC"),
        (6, "AGGREGATED_DELTA_GRPC"),
    ],
);

pub static API_VERSION: Enum =
    Enum::new("envoy.config.core.v3.ApiVersion", &[(0, "AUTO"), (1, "V2"), (2, "V3")]);

pub static FRACTIONAL_PERCENT_DENOMINATOR_TYPE: Enum = Enum::new(
    "envoy.type.v3.FractionalPercent.DenominatorType",
    &[(0, "HUNDRED"), (1, "TEN_THOUSAND"), (2, "MILLION")],
);

pub static HEADER_VALUE_OPTION_HEADER_APPEND_ACTION: Enum = Enum::new(
    "envoy.config.core.v3.HeaderValueOption.HeaderAppendAction",
    &[
        (0, "APPEND_IF_EXISTS_OR_ADD"),
        (1, "ADD_IF_ABSENT"),
        (2, "OVERWRITE_IF_EXISTS_OR_ADD"),
        (3, "OVERWRITE_IF_EXISTS"),
    ],
);

pub static HTTP_PROTOCOL_OPTIONS_HEADERS_WITH_UNDERSCORES_ACTION: Enum = Enum::new(
    "envoy.config.core.v3.HttpProtocolOptions.HeadersWithUnderscoresAction",
    &[(0, "ALLOW"), (1, "REJECT_REQUEST"), (2, "DROP_HEADER")],
);

pub static PROXY_PROTOCOL_CONFIG_VERSION: Enum =
    Enum::new("envoy.config.core.v3.ProxyProtocolConfig.Version", &[(0, "V1"), (1, "V2")]);

pub static SOCKET_ADDRESS_PROTOCOL: Enum =
    Enum::new("envoy.config.core.v3.SocketAddress.Protocol", &[(0, "TCP"), (1, "UDP")]);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &ADDRESS,
    &SOCKET_ADDRESS,
    &PIPE,
    &CIDR_RANGE,
    &LOCALITY,
    &METADATA,
    &DATA_SOURCE,
    &HEADER_VALUE,
    &HEADER_VALUE_OPTION,
    &RUNTIME_FRACTIONAL_PERCENT,
    &RUNTIME_UINT32,
    &TRANSPORT_SOCKET,
    &TYPED_EXTENSION_CONFIG,
    &CONFIG_SOURCE,
    &AGGREGATED_CONFIG_SOURCE,
    &SELF_CONFIG_SOURCE,
    &API_CONFIG_SOURCE,
    &GRPC_SERVICE,
    &ENVOY_GRPC,
    &COMMON_HTTP_OPTIONS,
    &HTTP1_OPTIONS,
    &HEADER_KEY_FORMAT,
    &PROPER_CASE_WORDS,
    &HTTP2_OPTIONS,
    &KEEPALIVE_SETTINGS,
    &TCP_KEEPALIVE,
    &BIND_CONFIG,
    &EXTRA_SOURCE_ADDRESS,
    &PROXY_PROTOCOL_CONFIG,
    &NODE,
    &PERCENT,
    &FRACTIONAL_PERCENT,
    &INT64_RANGE,
    &INT32_RANGE,
    &STRING_MATCHER,
    &REGEX_MATCHER,
    &REGEX_REWRITE,
    &CUSTOM_TAG,
    &CUSTOM_TAG_LITERAL,
    &CUSTOM_TAG_ENVIRONMENT,
    &CUSTOM_TAG_HEADER,
    &TYPED_STRUCT,
    &PRESERVE_CASE,
];
