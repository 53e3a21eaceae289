//! Routes (`envoy.config.route.v3`). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::authz::METADATA_MATCHER;
use super::core::{
    DATA_SOURCE, HEADER_VALUE_OPTION, INT64_RANGE, METADATA, REGEX_MATCHER, REGEX_REWRITE,
    RUNTIME_FRACTIONAL_PERCENT, STRING_MATCHER,
};
use super::rate_limit::RATE_LIMIT;
use super::row::*;
use super::{Enum, Message};

pub static ROUTE_CONFIGURATION: Message = Message::plain(
    "envoy.config.route.v3.RouteConfiguration",
    &[
        yes(1, "name", STRING),
        yes(2, "virtual_hosts", msg(&VIRTUAL_HOST)).many(),
        no(3, "internal_only_headers").many(),
        yes(4, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(5, "response_headers_to_remove", STRING).many(),
        yes(6, "request_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(7, "validate_clusters", BOOL_VALUE),
        yes(8, "request_headers_to_remove", STRING).many(),
        no(9, "vhds"),
        yes(10, "most_specific_header_mutations_wins", BOOL),
        yes(11, "max_direct_response_body_size_bytes", UINT32_VALUE),
        no(12, "cluster_specifier_plugins").many(),
        no(13, "request_mirror_policies").many(),
        yes(14, "ignore_port_in_host_matching", BOOL),
        no(15, "ignore_path_parameters_in_path_matching"),
        no(16, "typed_per_filter_config").map(),
        fine(17, "metadata", "nothing here reads it"),
        no(18, "vhost_header"),
    ],
);

pub static VIRTUAL_HOST: Message = Message::plain(
    "envoy.config.route.v3.VirtualHost",
    &[
        yes(1, "name", STRING),
        yes(2, "domains", STRING).many(),
        yes(3, "routes", msg(&ROUTE)).many(),
        yes(4, "require_tls", enumeration(&VIRTUAL_HOST_TLS_REQUIREMENT_TYPE)),
        fine(5, "virtual_clusters", "only names statistics").many(),
        yes(6, "rate_limits", msg(&RATE_LIMIT)).many(),
        yes(7, "request_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        no(8, "cors"),
        yes(10, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(11, "response_headers_to_remove", STRING).many(),
        yes(13, "request_headers_to_remove", STRING).many(),
        yes(14, "include_request_attempt_count", BOOL),
        yes(15, "typed_per_filter_config", ANY).map(),
        yes(16, "retry_policy", msg(&RETRY_POLICY)),
        no(17, "hedge_policy"),
        no(18, "per_request_buffer_limit_bytes"),
        yes(19, "include_attempt_count_in_response", BOOL),
        no(20, "retry_policy_typed_config"),
        no(21, "matcher"),
        no(22, "request_mirror_policies").many(),
        no(23, "include_is_timeout_retry_header"),
        yes(24, "metadata", msg(&METADATA)),
        no(25, "request_body_buffer_limit"),
    ],
);

pub static FILTER_CONFIG: Message = Message::plain(
    "envoy.config.route.v3.FilterConfig",
    &[yes(1, "config", ANY), yes(2, "is_optional", BOOL), yes(3, "disabled", BOOL)],
);

pub static ROUTE: Message = Message::plain(
    "envoy.config.route.v3.Route",
    &[
        yes(1, "match", msg(&ROUTE_MATCH)),
        yes(2, "route", msg(&ROUTE_ACTION)).choice(1),
        yes(3, "redirect", msg(&REDIRECT_ACTION)).choice(1),
        yes(4, "metadata", msg(&METADATA)),
        yes(5, "decorator", msg(&DECORATOR)),
        yes(7, "direct_response", msg(&DIRECT_RESPONSE)).choice(1),
        yes(9, "request_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(10, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(11, "response_headers_to_remove", STRING).many(),
        yes(12, "request_headers_to_remove", STRING).many(),
        yes(13, "typed_per_filter_config", ANY).map(),
        yes(14, "name", STRING),
        no(15, "tracing"),
        no(16, "per_request_buffer_limit_bytes"),
        no(17, "filter_action").choice(1),
        yes(18, "non_forwarding_action", msg(&NON_FORWARDING_ACTION)).choice(1),
        yes(19, "stat_prefix", STRING),
        no(20, "request_body_buffer_limit"),
    ],
);

pub static DECORATOR: Message = Message::plain(
    "envoy.config.route.v3.Decorator",
    &[yes(1, "operation", STRING), no(2, "propagate")],
);

pub static NON_FORWARDING_ACTION: Message =
    Message::plain("envoy.config.route.v3.NonForwardingAction", &[]);

pub static ROUTE_MATCH: Message = Message::plain(
    "envoy.config.route.v3.RouteMatch",
    &[
        yes(1, "prefix", STRING).choice(1),
        yes(2, "path", STRING).choice(1),
        yes(4, "case_sensitive", BOOL_VALUE),
        yes(6, "headers", msg(&HEADER_MATCHER)).many(),
        yes(7, "query_parameters", msg(&QUERY_MATCHER)).many(),
        yes(8, "grpc", msg(&GRPC_MATCH)),
        yes(9, "runtime_fraction", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        yes(10, "safe_regex", msg(&REGEX_MATCHER)).choice(1),
        no(11, "tls_context"),
        yes(12, "connect_matcher", msg(&CONNECT_MATCHER)).choice(1),
        yes(13, "dynamic_metadata", msg(&METADATA_MATCHER)).many(),
        yes(14, "path_separated_prefix", STRING).choice(1),
        no(15, "path_match_policy").choice(1),
        no(16, "filter_state").many(),
    ],
);

pub static CONNECT_MATCHER: Message =
    Message::plain("envoy.config.route.v3.RouteMatch.ConnectMatcher", &[]);

pub static GRPC_MATCH: Message =
    Message::plain("envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions", &[]);

pub static HEADER_MATCHER: Message = Message::plain(
    "envoy.config.route.v3.HeaderMatcher",
    &[
        yes(1, "name", STRING),
        yes(4, "exact_match", STRING).choice(1),
        yes(6, "range_match", msg(&INT64_RANGE)).choice(1),
        yes(7, "present_match", BOOL).choice(1),
        yes(8, "invert_match", BOOL),
        yes(9, "prefix_match", STRING).choice(1),
        yes(10, "suffix_match", STRING).choice(1),
        yes(11, "safe_regex_match", msg(&REGEX_MATCHER)).choice(1),
        yes(12, "contains_match", STRING).choice(1),
        yes(13, "string_match", msg(&STRING_MATCHER)).choice(1),
        yes(14, "treat_missing_header_as_empty", BOOL),
    ],
);

pub static QUERY_MATCHER: Message = Message::plain(
    "envoy.config.route.v3.QueryParameterMatcher",
    &[
        yes(1, "name", STRING),
        yes(5, "string_match", msg(&STRING_MATCHER)).choice(1),
        yes(6, "present_match", BOOL).choice(1),
    ],
);

pub static ROUTE_ACTION: Message = Message::plain(
    "envoy.config.route.v3.RouteAction",
    &[
        yes(1, "cluster", STRING).choice(1),
        yes(2, "cluster_header", STRING).choice(1),
        yes(3, "weighted_clusters", msg(&WEIGHTED_CLUSTER)).choice(1),
        yes(4, "metadata_match", msg(&METADATA)),
        yes(5, "prefix_rewrite", STRING),
        yes(6, "host_rewrite_literal", STRING).choice(2),
        yes(7, "auto_host_rewrite", BOOL_VALUE).choice(2),
        yes(8, "timeout", DURATION),
        yes(9, "retry_policy", msg(&RETRY_POLICY)),
        no(11, "priority"),
        yes(13, "rate_limits", msg(&RATE_LIMIT)).many(),
        yes(14, "include_vh_rate_limits", BOOL_VALUE),
        yes(15, "hash_policy", msg(&HASH_POLICY)).many(),
        yes(17, "cors", msg(&CORS_POLICY)),
        yes(
            20,
            "cluster_not_found_response_code",
            enumeration(&ROUTE_ACTION_CLUSTER_NOT_FOUND_RESPONSE_CODE),
        ),
        yes(23, "max_grpc_timeout", DURATION),
        yes(24, "idle_timeout", DURATION),
        yes(25, "upgrade_configs", msg(&ROUTE_UPGRADE)).many(),
        no(26, "internal_redirect_action"),
        no(27, "hedge_policy"),
        yes(28, "grpc_timeout_offset", DURATION),
        yes(29, "host_rewrite_header", STRING).choice(2),
        yes(30, "request_mirror_policies", msg(&MIRROR_POLICY)).many(),
        no(31, "max_internal_redirects"),
        yes(32, "regex_rewrite", msg(&REGEX_REWRITE)),
        no(33, "retry_policy_typed_config"),
        no(34, "internal_redirect_policy"),
        yes(35, "host_rewrite_path_regex", msg(&REGEX_REWRITE)).choice(2),
        yes(36, "max_stream_duration", msg(&MAX_STREAM_DURATION)),
        no(37, "cluster_specifier_plugin").choice(1),
        yes(38, "append_x_forwarded_host", BOOL),
        no(39, "inline_cluster_specifier_plugin").choice(1),
        no(40, "early_data_policy"),
        no(41, "path_rewrite_policy"),
        no(42, "flush_timeout"),
        no(44, "host_rewrite").choice(2),
        no(45, "path_rewrite"),
    ],
);

pub static MAX_STREAM_DURATION: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.MaxStreamDuration",
    &[
        yes(1, "max_stream_duration", DURATION),
        yes(2, "grpc_timeout_header_max", DURATION),
        yes(3, "grpc_timeout_header_offset", DURATION),
    ],
);

pub static ROUTE_UPGRADE: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.UpgradeConfig",
    &[yes(1, "upgrade_type", STRING), yes(2, "enabled", BOOL_VALUE), no(3, "connect_config")],
);

pub static MIRROR_POLICY: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.RequestMirrorPolicy",
    &[
        yes(1, "cluster", STRING),
        yes(3, "runtime_fraction", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        yes(4, "trace_sampled", BOOL_VALUE),
        no(5, "cluster_header"),
        yes(6, "disable_shadow_host_suffix_append", BOOL),
        no(7, "request_headers_mutations").many(),
        no(8, "host_rewrite_literal"),
    ],
);

pub static HASH_POLICY: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy",
    &[
        yes(1, "header", msg(&HASH_HEADER)).choice(1),
        yes(2, "cookie", msg(&HASH_COOKIE)).choice(1),
        yes(3, "connection_properties", msg(&HASH_CONNECTION)).choice(1),
        yes(4, "terminal", BOOL),
        yes(5, "query_parameter", msg(&HASH_QUERY)).choice(1),
        yes(6, "filter_state", msg(&HASH_FILTER_STATE)).choice(1),
    ],
);

pub static HASH_HEADER: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.Header",
    &[yes(1, "header_name", STRING), no(2, "regex_rewrite")],
);

pub static HASH_COOKIE: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.Cookie",
    &[
        yes(1, "name", STRING),
        yes(2, "ttl", DURATION),
        yes(3, "path", STRING),
        yes(4, "attributes", msg(&COOKIE_ATTRIBUTE)).many(),
    ],
);

pub static COOKIE_ATTRIBUTE: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute",
    &[yes(1, "name", STRING), yes(2, "value", STRING)],
);

pub static HASH_CONNECTION: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties",
    &[yes(1, "source_ip", BOOL)],
);

pub static HASH_QUERY: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter",
    &[yes(1, "name", STRING)],
);

pub static HASH_FILTER_STATE: Message = Message::plain(
    "envoy.config.route.v3.RouteAction.HashPolicy.FilterState",
    &[yes(1, "key", STRING)],
);

pub static CORS_POLICY: Message = Message::plain(
    "envoy.config.route.v3.CorsPolicy",
    &[
        yes(2, "allow_methods", STRING),
        yes(3, "allow_headers", STRING),
        yes(4, "expose_headers", STRING),
        yes(5, "max_age", STRING),
        yes(6, "allow_credentials", BOOL_VALUE),
        yes(9, "filter_enabled", msg(&RUNTIME_FRACTIONAL_PERCENT)).choice(1),
        fine(10, "shadow_enabled", "shadow policies only count"),
        yes(11, "allow_origin_string_match", msg(&STRING_MATCHER)).many(),
        no(12, "allow_private_network_access"),
        yes(13, "forward_not_matching_preflights", BOOL_VALUE),
    ],
);

pub static WEIGHTED_CLUSTER: Message = Message::plain(
    "envoy.config.route.v3.WeightedCluster",
    &[
        yes(1, "clusters", msg(&CLUSTER_WEIGHT)).many(),
        no(2, "runtime_key_prefix"),
        fine(3, "total_weight", "the sum of the weights is the total"),
        no(4, "header_name").choice(1),
        no(5, "use_hash_policy").choice(1),
    ],
);

pub static CLUSTER_WEIGHT: Message = Message::plain(
    "envoy.config.route.v3.WeightedCluster.ClusterWeight",
    &[
        yes(1, "name", STRING),
        yes(2, "weight", UINT32_VALUE),
        yes(3, "metadata_match", msg(&METADATA)),
        yes(4, "request_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(5, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(6, "response_headers_to_remove", STRING).many(),
        yes(9, "request_headers_to_remove", STRING).many(),
        yes(10, "typed_per_filter_config", ANY).map(),
        yes(11, "host_rewrite_literal", STRING).choice(1),
        no(12, "cluster_header"),
    ],
);

pub static RETRY_POLICY: Message = Message::plain(
    "envoy.config.route.v3.RetryPolicy",
    &[
        yes(1, "retry_on", STRING),
        yes(2, "num_retries", UINT32_VALUE),
        yes(3, "per_try_timeout", DURATION),
        yes(4, "retry_priority", msg(&RETRY_PRIORITY)),
        yes(5, "retry_host_predicate", msg(&RETRY_HOST_PREDICATE)).many(),
        yes(6, "host_selection_retry_max_attempts", INT64),
        yes(7, "retriable_status_codes", UINT32).many(),
        yes(8, "retry_back_off", msg(&RETRY_BACK_OFF)),
        yes(9, "retriable_headers", msg(&HEADER_MATCHER)).many(),
        no(10, "retriable_request_headers").many(),
        no(11, "rate_limited_retry_back_off"),
        no(12, "retry_options_predicates").many(),
        yes(13, "per_try_idle_timeout", DURATION),
    ],
);

pub static RETRY_BACK_OFF: Message = Message::plain(
    "envoy.config.route.v3.RetryPolicy.RetryBackOff",
    &[yes(1, "base_interval", DURATION), yes(2, "max_interval", DURATION)],
);

pub static RETRY_HOST_PREDICATE: Message = Message::plain(
    "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
    &[yes(1, "name", STRING), yes(3, "typed_config", ANY).choice(1)],
);

pub static RETRY_PRIORITY: Message = Message::plain(
    "envoy.config.route.v3.RetryPolicy.RetryPriority",
    &[yes(1, "name", STRING), yes(3, "typed_config", ANY).choice(1)],
);

pub static PREVIOUS_HOSTS: Message =
    Message::plain("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", &[]);

pub static PREVIOUS_PRIORITIES: Message = Message::plain(
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    &[yes(1, "update_frequency", INT32)],
);

pub static REDIRECT_ACTION: Message = Message::plain(
    "envoy.config.route.v3.RedirectAction",
    &[
        yes(1, "host_redirect", STRING),
        yes(2, "path_redirect", STRING).choice(1),
        yes(3, "response_code", enumeration(&REDIRECT_ACTION_REDIRECT_RESPONSE_CODE)),
        yes(4, "https_redirect", BOOL).choice(2),
        yes(5, "prefix_rewrite", STRING).choice(1),
        yes(6, "strip_query", BOOL),
        yes(7, "scheme_redirect", STRING).choice(2),
        yes(8, "port_redirect", UINT32),
        yes(9, "regex_rewrite", msg(&REGEX_REWRITE)).choice(1),
    ],
);

pub static DIRECT_RESPONSE: Message = Message::plain(
    "envoy.config.route.v3.DirectResponseAction",
    &[yes(1, "status", UINT32), yes(2, "body", msg(&DATA_SOURCE)), no(3, "body_format")],
);

pub static REDIRECT_ACTION_REDIRECT_RESPONSE_CODE: Enum = Enum::new(
    "envoy.config.route.v3.RedirectAction.RedirectResponseCode",
    &[
        (0, "MOVED_PERMANENTLY"),
        (1, "FOUND"),
        (2, "SEE_OTHER"),
        (3, "TEMPORARY_REDIRECT"),
        (4, "PERMANENT_REDIRECT"),
    ],
);

pub static ROUTE_ACTION_CLUSTER_NOT_FOUND_RESPONSE_CODE: Enum = Enum::new(
    "envoy.config.route.v3.RouteAction.ClusterNotFoundResponseCode",
    &[(0, "SERVICE_UNAVAILABLE"), (1, "NOT_FOUND"), (2, "INTERNAL_SERVER_ERROR")],
);

pub static VIRTUAL_HOST_TLS_REQUIREMENT_TYPE: Enum = Enum::new(
    "envoy.config.route.v3.VirtualHost.TlsRequirementType",
    &[(0, "NONE"), (1, "EXTERNAL_ONLY"), (2, "ALL")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &ROUTE_CONFIGURATION,
    &VIRTUAL_HOST,
    &FILTER_CONFIG,
    &ROUTE,
    &DECORATOR,
    &NON_FORWARDING_ACTION,
    &ROUTE_MATCH,
    &CONNECT_MATCHER,
    &GRPC_MATCH,
    &HEADER_MATCHER,
    &QUERY_MATCHER,
    &ROUTE_ACTION,
    &MAX_STREAM_DURATION,
    &ROUTE_UPGRADE,
    &MIRROR_POLICY,
    &HASH_POLICY,
    &HASH_HEADER,
    &HASH_COOKIE,
    &COOKIE_ATTRIBUTE,
    &HASH_CONNECTION,
    &HASH_QUERY,
    &HASH_FILTER_STATE,
    &CORS_POLICY,
    &WEIGHTED_CLUSTER,
    &CLUSTER_WEIGHT,
    &RETRY_POLICY,
    &RETRY_BACK_OFF,
    &RETRY_HOST_PREDICATE,
    &RETRY_PRIORITY,
    &PREVIOUS_HOSTS,
    &PREVIOUS_PRIORITIES,
    &REDIRECT_ACTION,
    &DIRECT_RESPONSE,
];
