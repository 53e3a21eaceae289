//! Rate limits. One row a field: `yes` is honoured, `fine` is harmless and says why, `no` is refused.

use super::core::{GRPC_SERVICE, HEADER_VALUE_OPTION, RUNTIME_FRACTIONAL_PERCENT};
use super::route::HEADER_MATCHER;
use super::row::*;
use super::{Enum, Message};

pub static LOCAL_RATE_LIMIT: Message = Message::plain(
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    &[
        yes(1, "stat_prefix", STRING),
        yes(2, "status", msg(&HTTP_STATUS)),
        yes(3, "token_bucket", msg(&TOKEN_BUCKET)),
        yes(4, "filter_enabled", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        yes(5, "filter_enforced", msg(&RUNTIME_FRACTIONAL_PERCENT)),
        yes(6, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(8, "descriptors", msg(&LOCAL_DESCRIPTOR)).many(),
        yes(9, "stage", UINT32),
        yes(10, "request_headers_to_add_when_not_enforced", msg(&HEADER_VALUE_OPTION)).many(),
        no(11, "local_rate_limit_per_downstream_connection"),
        yes(12, "enable_x_ratelimit_headers", enumeration(&RATE_LIMIT_HEADERS)),
        yes(13, "vh_rate_limits", enumeration(&VH_RATE_LIMITS)),
        yes(14, "always_consume_default_token_bucket", BOOL_VALUE),
        yes(15, "rate_limited_as_resource_exhausted", BOOL),
        no(16, "local_cluster_rate_limit"),
        yes(17, "rate_limits", msg(&RATE_LIMIT)).many(),
        fine(18, "max_dynamic_descriptors", "descriptors here have no wildcards"),
        no(19, "enable_retry_after_header"),
    ],
);

pub static GLOBAL_RATE_LIMIT: Message = Message::plain(
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    &[
        yes(1, "domain", STRING),
        yes(2, "stage", UINT32),
        yes(3, "request_type", STRING),
        yes(4, "timeout", DURATION),
        yes(5, "failure_mode_deny", BOOL),
        yes(6, "rate_limited_as_resource_exhausted", BOOL),
        yes(7, "rate_limit_service", msg(&RATE_LIMIT_SERVICE)),
        no(8, "enable_x_ratelimit_headers"),
        yes(9, "disable_x_envoy_ratelimited_header", BOOL),
        yes(10, "rate_limited_status", msg(&HTTP_STATUS)),
        yes(11, "response_headers_to_add", msg(&HEADER_VALUE_OPTION)).many(),
        yes(12, "status_on_error", msg(&HTTP_STATUS)),
        fine(13, "stat_prefix", "only names statistics"),
        no(14, "filter_enabled"),
        no(15, "filter_enforced"),
        no(16, "failure_mode_deny_percent"),
        yes(17, "rate_limits", msg(&RATE_LIMIT)).many(),
        fine(18, "metadata_namespace", "nothing here reads dynamic metadata of the service"),
        no(19, "enable_retry_after_header"),
    ],
);

pub static RATE_LIMIT_SERVICE: Message = Message::plain(
    "envoy.config.ratelimit.v3.RateLimitServiceConfig",
    &[
        yes(2, "grpc_service", msg(&GRPC_SERVICE)),
        fine(4, "transport_api_version", "there is only version 3"),
    ],
);

pub static HTTP_STATUS: Message =
    Message::plain("envoy.type.v3.HttpStatus", &[yes(1, "code", INT32)]);

pub static TOKEN_BUCKET: Message = Message::plain(
    "envoy.type.v3.TokenBucket",
    &[
        yes(1, "max_tokens", UINT32),
        yes(2, "tokens_per_fill", UINT32_VALUE),
        yes(3, "fill_interval", DURATION),
    ],
);

pub static LOCAL_DESCRIPTOR: Message = Message::plain(
    "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor",
    &[
        yes(1, "entries", msg(&DESCRIPTOR_ENTRY)).many(),
        yes(2, "token_bucket", msg(&TOKEN_BUCKET)),
        no(3, "shadow_mode"),
    ],
);

pub static DESCRIPTOR_ENTRY: Message = Message::plain(
    "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry",
    &[yes(1, "key", STRING), yes(2, "value", STRING)],
);

pub static RATE_LIMIT: Message = Message::plain(
    "envoy.config.route.v3.RateLimit",
    &[
        yes(1, "stage", UINT32_VALUE),
        fine(2, "disable_key", "there is no runtime to disable it by"),
        yes(3, "actions", msg(&RATE_LIMIT_ACTION)).many(),
        no(4, "limit"),
        no(5, "hits_addend"),
        no(6, "apply_on_stream_done"),
    ],
);

pub static RATE_LIMIT_ACTION: Message = Message::plain(
    "envoy.config.route.v3.RateLimit.Action",
    &[
        no(1, "source_cluster").choice(1),
        yes(2, "destination_cluster", msg(&DESTINATION_CLUSTER)).choice(1),
        yes(3, "request_headers", msg(&RATE_LIMIT_HEADER)).choice(1),
        yes(4, "remote_address", msg(&REMOTE_ADDRESS)).choice(1),
        yes(5, "generic_key", msg(&GENERIC_KEY)).choice(1),
        yes(6, "header_value_match", msg(&HEADER_VALUE_MATCH)).choice(1),
        no(7, "dynamic_metadata").choice(1),
        no(8, "metadata").choice(1),
        no(9, "extension").choice(1),
        no(10, "masked_remote_address").choice(1),
        no(11, "query_parameter_value_match").choice(1),
        no(12, "query_parameters").choice(1),
        no(13, "remote_address_match").choice(1),
    ],
);

pub static DESTINATION_CLUSTER: Message =
    Message::plain("envoy.config.route.v3.RateLimit.Action.DestinationCluster", &[]);

pub static REMOTE_ADDRESS: Message =
    Message::plain("envoy.config.route.v3.RateLimit.Action.RemoteAddress", &[]);

pub static RATE_LIMIT_HEADER: Message = Message::plain(
    "envoy.config.route.v3.RateLimit.Action.RequestHeaders",
    &[
        yes(1, "header_name", STRING),
        yes(2, "descriptor_key", STRING),
        yes(3, "skip_if_absent", BOOL),
    ],
);

pub static GENERIC_KEY: Message = Message::plain(
    "envoy.config.route.v3.RateLimit.Action.GenericKey",
    &[yes(1, "descriptor_value", STRING), yes(2, "descriptor_key", STRING), no(3, "default_value")],
);

pub static HEADER_VALUE_MATCH: Message = Message::plain(
    "envoy.config.route.v3.RateLimit.Action.HeaderValueMatch",
    &[
        yes(1, "descriptor_value", STRING),
        yes(2, "expect_match", BOOL_VALUE),
        yes(3, "headers", msg(&HEADER_MATCHER)).many(),
        yes(4, "descriptor_key", STRING),
        no(5, "default_value"),
    ],
);

pub static RATE_LIMIT_HEADERS: Enum = Enum::new(
    "envoy.extensions.common.ratelimit.v3.XRateLimitHeadersRFCVersion",
    &[(0, "OFF"), (1, "DRAFT_VERSION_03")],
);

pub static VH_RATE_LIMITS: Enum = Enum::new(
    "envoy.extensions.common.ratelimit.v3.VhRateLimitsOptions",
    &[(0, "OVERRIDE"), (1, "INCLUDE"), (2, "IGNORE")],
);

/// Every message of this file.
pub(super) static ALL: &[&Message] = &[
    &LOCAL_RATE_LIMIT,
    &GLOBAL_RATE_LIMIT,
    &RATE_LIMIT_SERVICE,
    &HTTP_STATUS,
    &TOKEN_BUCKET,
    &LOCAL_DESCRIPTOR,
    &DESCRIPTOR_ENTRY,
    &RATE_LIMIT,
    &RATE_LIMIT_ACTION,
    &DESTINATION_CLUSTER,
    &REMOTE_ADDRESS,
    &RATE_LIMIT_HEADER,
    &GENERIC_KEY,
    &HEADER_VALUE_MATCH,
];
