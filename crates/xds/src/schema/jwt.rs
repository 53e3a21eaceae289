//! Tokens that requests carry. One row a field: `yes` is honoured, `fine` is harmless and says why, `no` is
//! refused.

use super::Message;
use super::core::DATA_SOURCE;
use super::route::ROUTE_MATCH;
use super::row::*;

pub static JWT_AUTHN: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    &[
        yes(1, "providers", msg(&JWT_PROVIDER)).map(),
        yes(2, "rules", msg(&JWT_RULE)).many(),
        no(3, "filter_state_rules"),
        yes(4, "bypass_cors_preflight", BOOL),
        yes(5, "requirement_map", msg(&JWT_REQUIREMENT)).map(),
        yes(6, "strip_failure_response", BOOL),
        fine(7, "stat_prefix", "only names statistics"),
    ],
);

pub static JWT_PROVIDER: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider",
    &[
        yes(1, "issuer", STRING),
        yes(2, "audiences", STRING).many(),
        no(3, "remote_jwks").choice(1),
        yes(4, "local_jwks", msg(&DATA_SOURCE)).choice(1),
        yes(5, "forward", BOOL),
        yes(6, "from_headers", msg(&JWT_HEADER)).many(),
        yes(7, "from_params", STRING).many(),
        yes(8, "forward_payload_header", STRING),
        yes(9, "payload_in_metadata", STRING),
        yes(10, "clock_skew_seconds", UINT32),
        yes(11, "pad_forward_payload_header", BOOL),
        yes(12, "jwt_cache_config", msg(&JWT_CACHE)),
        yes(13, "from_cookies", STRING).many(),
        yes(14, "header_in_metadata", STRING),
        yes(15, "claim_to_headers", msg(&JWT_CLAIM_TO_HEADER)).many(),
        yes(16, "failed_status_in_metadata", STRING),
        yes(17, "clear_route_cache", BOOL),
        yes(18, "normalize_payload_in_metadata", msg(&JWT_NORMALIZE)),
        no(19, "subjects"),
        no(20, "require_expiration"),
        no(21, "max_lifetime"),
    ],
);

pub static JWT_NORMALIZE: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload",
    &[yes(1, "space_delimited_claims", STRING).many()],
);

pub static JWT_CACHE: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtCacheConfig",
    &[
        yes(1, "jwt_cache_size", UINT32),
        fine(2, "jwt_max_token_size", "the bytes that are kept have a bound of their own"),
    ],
);

pub static JWT_HEADER: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtHeader",
    &[yes(1, "name", STRING), yes(2, "value_prefix", STRING)],
);

pub static JWT_CLAIM_TO_HEADER: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader",
    &[yes(1, "header_name", STRING), yes(2, "claim_name", STRING), no(3, "claim_path").many()],
);

pub static JWT_RULE: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.RequirementRule",
    &[
        yes(1, "match", msg(&ROUTE_MATCH)),
        yes(2, "requires", msg(&JWT_REQUIREMENT)).choice(1),
        yes(3, "requirement_name", STRING).choice(1),
    ],
);

pub static JWT_REQUIREMENT: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement",
    &[
        yes(1, "provider_name", STRING).choice(1),
        yes(2, "provider_and_audiences", msg(&JWT_AUDIENCES)).choice(1),
        yes(3, "requires_any", msg(&JWT_ANY)).choice(1),
        yes(4, "requires_all", msg(&JWT_ALL)).choice(1),
        yes(5, "allow_missing_or_failed", msg(&JWT_EMPTY)).choice(1),
        yes(6, "allow_missing", msg(&JWT_EMPTY)).choice(1),
        no(7, "extract_only_without_validation").choice(1),
    ],
);

pub static JWT_AUDIENCES: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences",
    &[yes(1, "provider_name", STRING), yes(2, "audiences", STRING).many()],
);

pub static JWT_ANY: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList",
    &[yes(1, "requirements", msg(&JWT_REQUIREMENT)).many()],
);

pub static JWT_ALL: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList",
    &[yes(1, "requirements", msg(&JWT_REQUIREMENT)).many()],
);

pub static JWT_EMPTY: Message = Message::plain("google.protobuf.Empty", &[]);

pub static JWT_PER_ROUTE: Message = Message::plain(
    "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
    &[yes(1, "disabled", BOOL).choice(1), yes(2, "requirement_name", STRING).choice(1)],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &JWT_AUTHN,
    &JWT_PROVIDER,
    &JWT_NORMALIZE,
    &JWT_CACHE,
    &JWT_HEADER,
    &JWT_CLAIM_TO_HEADER,
    &JWT_RULE,
    &JWT_REQUIREMENT,
    &JWT_AUDIENCES,
    &JWT_ANY,
    &JWT_ALL,
    &JWT_EMPTY,
    &JWT_PER_ROUTE,
];
