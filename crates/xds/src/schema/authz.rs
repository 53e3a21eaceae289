//! External authorization, and matchers of what filters say of a request. One row a field: `yes` is
//! honoured, `fine` is harmless and says why, `no` is refused.

use super::Message;
use super::core::{
    API_VERSION, GRPC_SERVICE, HEADER_VALUE, RUNTIME_FRACTIONAL_PERCENT, STRING_MATCHER,
};
use super::rate_limit::HTTP_STATUS;
use super::row::*;

pub static EXT_AUTHZ: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    &[
        yes(1, "grpc_service", msg(&GRPC_SERVICE)).choice(1),
        yes(2, "failure_mode_allow", BOOL),
        yes(3, "http_service", msg(&AUTHZ_HTTP)).choice(1),
        yes(5, "with_request_body", msg(&AUTHZ_BODY)),
        yes(6, "clear_route_cache", BOOL),
        yes(7, "status_on_error", msg(&HTTP_STATUS)),
        yes(8, "metadata_context_namespaces", STRING).many(),
        yes(9, "filter_enabled", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        yes(10, "include_peer_certificate", BOOL),
        yes(11, "deny_at_disable", msg(&RUNTIME_FLAG)),
        fine(12, "transport_api_version", "there is only version 3").of(enumeration(&API_VERSION)),
        yes(13, "stat_prefix", STRING),
        yes(14, "filter_enabled_metadata", msg(&METADATA_MATCHER)),
        no(15, "bootstrap_metadata_labels_key"),
        no(16, "typed_metadata_context_namespaces").many(),
        yes(17, "allowed_headers", msg(&LIST_STRING_MATCHER)),
        yes(18, "include_tls_session", BOOL),
        yes(19, "failure_mode_allow_header_add", BOOL),
        yes(20, "charge_cluster_response_stats", BOOL_VALUE),
        no(21, "route_metadata_context_namespaces").many(),
        no(22, "route_typed_metadata_context_namespaces").many(),
        yes(23, "encode_raw_headers", BOOL),
        yes(24, "validate_mutations", BOOL),
        yes(25, "disallowed_headers", msg(&LIST_STRING_MATCHER)),
        no(26, "decoder_header_mutation_rules"),
        yes(27, "enable_dynamic_metadata_ingestion", BOOL_VALUE),
        no(28, "filter_metadata"),
        no(29, "emit_filter_state_stats"),
        yes(30, "max_denied_response_body_bytes", UINT32),
        no(31, "enforce_response_header_limits"),
        no(32, "shadow_mode"),
        fine(33, "emit_client_span", "questions of the proxy's own have no spans"),
    ],
);

pub static NETWORK_AUTHZ: Message = Message::plain(
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
    &[
        yes(1, "stat_prefix", STRING),
        yes(2, "grpc_service", msg(&GRPC_SERVICE)),
        yes(3, "failure_mode_allow", BOOL),
        yes(4, "include_peer_certificate", BOOL),
        fine(5, "transport_api_version", "there is only version 3").of(enumeration(&API_VERSION)),
        yes(6, "filter_enabled_metadata", msg(&METADATA_MATCHER)),
        no(7, "bootstrap_metadata_labels_key"),
        yes(8, "include_tls_session", BOOL),
        fine(9, "send_tls_alert_on_denial", "connections that are refused are reset"),
    ],
);

pub static AUTHZ_HTTP: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.HttpService",
    &[
        yes(1, "server_uri", msg(&HTTP_URI)),
        yes(2, "path_prefix", STRING),
        yes(7, "authorization_request", msg(&AUTHZ_REQUEST)),
        yes(8, "authorization_response", msg(&AUTHZ_RESPONSE)),
        no(9, "retry_policy"),
        yes(10, "path_override", STRING),
    ],
);

pub static HTTP_URI: Message = Message::plain(
    "envoy.config.core.v3.HttpUri",
    &[yes(1, "uri", STRING), yes(2, "cluster", STRING).choice(1), yes(3, "timeout", DURATION)],
);

pub static AUTHZ_REQUEST: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest",
    &[
        yes(1, "allowed_headers", msg(&LIST_STRING_MATCHER)),
        yes(2, "headers_to_add", msg(&HEADER_VALUE)).many(),
    ],
);

pub static AUTHZ_RESPONSE: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse",
    &[
        yes(1, "allowed_upstream_headers", msg(&LIST_STRING_MATCHER)),
        yes(2, "allowed_client_headers", msg(&LIST_STRING_MATCHER)),
        yes(3, "allowed_upstream_headers_to_append", msg(&LIST_STRING_MATCHER)),
        yes(4, "allowed_client_headers_on_success", msg(&LIST_STRING_MATCHER)),
        yes(5, "dynamic_metadata_from_headers", msg(&LIST_STRING_MATCHER)),
    ],
);

pub static AUTHZ_BODY: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.BufferSettings",
    &[
        yes(1, "max_request_bytes", UINT32),
        yes(2, "allow_partial_message", BOOL),
        yes(3, "pack_as_bytes", BOOL),
    ],
);

pub static AUTHZ_PER_ROUTE: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
    &[yes(1, "disabled", BOOL).choice(1), yes(2, "check_settings", msg(&CHECK_SETTINGS)).choice(1)],
);

pub static CHECK_SETTINGS: Message = Message::plain(
    "envoy.extensions.filters.http.ext_authz.v3.CheckSettings",
    &[
        yes(1, "context_extensions", STRING).map(),
        yes(2, "disable_request_body_buffering", BOOL),
        yes(3, "with_request_body", msg(&AUTHZ_BODY)),
        yes(4, "grpc_service", msg(&GRPC_SERVICE)).choice(1),
        yes(5, "http_service", msg(&AUTHZ_HTTP)).choice(1),
        fine(6, "emit_client_span", "questions of the proxy's own have no spans"),
    ],
);

pub static RUNTIME_FLAG: Message = Message::plain(
    "envoy.config.core.v3.RuntimeFeatureFlag",
    &[
        yes(1, "default_value", BOOL_VALUE),
        fine(2, "runtime_key", "runtime is not read; the default counts").of(STRING),
    ],
);

pub static LIST_STRING_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.ListStringMatcher",
    &[yes(1, "patterns", msg(&STRING_MATCHER)).many()],
);

pub static METADATA_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.MetadataMatcher",
    &[
        yes(1, "filter", STRING),
        yes(2, "path", msg(&METADATA_SEGMENT)).many(),
        yes(3, "value", msg(&VALUE_MATCHER)),
        yes(4, "invert", BOOL),
    ],
);

pub static METADATA_SEGMENT: Message = Message::plain(
    "envoy.type.matcher.v3.MetadataMatcher.PathSegment",
    &[yes(1, "key", STRING).choice(1)],
);

pub static VALUE_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.ValueMatcher",
    &[
        yes(1, "null_match", msg(&NULL_MATCH)).choice(1),
        no(2, "double_match").choice(1),
        yes(3, "string_match", msg(&STRING_MATCHER)).choice(1),
        yes(4, "bool_match", BOOL).choice(1),
        yes(5, "present_match", BOOL).choice(1),
        yes(6, "list_match", msg(&LIST_MATCHER)).choice(1),
        yes(7, "or_match", msg(&OR_MATCHER)).choice(1),
    ],
);

pub static NULL_MATCH: Message =
    Message::plain("envoy.type.matcher.v3.ValueMatcher.NullMatch", &[]);

pub static LIST_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.ListMatcher",
    &[yes(1, "one_of", msg(&VALUE_MATCHER)).choice(1)],
);

pub static OR_MATCHER: Message = Message::plain(
    "envoy.type.matcher.v3.OrMatcher",
    &[yes(1, "value_matchers", msg(&VALUE_MATCHER)).many()],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &EXT_AUTHZ,
    &NETWORK_AUTHZ,
    &AUTHZ_HTTP,
    &HTTP_URI,
    &AUTHZ_REQUEST,
    &AUTHZ_RESPONSE,
    &AUTHZ_BODY,
    &AUTHZ_PER_ROUTE,
    &CHECK_SETTINGS,
    &RUNTIME_FLAG,
    &LIST_STRING_MATCHER,
    &METADATA_MATCHER,
    &METADATA_SEGMENT,
    &VALUE_MATCHER,
    &NULL_MATCH,
    &LIST_MATCHER,
    &OR_MATCHER,
];
