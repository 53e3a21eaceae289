//! Who a request says that it comes from: tokens and what is required of them
//! (`envoy.extensions.filters.http.jwt_authn.v3`).

use crate::{RouteMatch, Str};
use std::collections::BTreeMap;

/// `JwtAuthentication`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwtAuthn {
    pub providers: BTreeMap<Str, JwtProvider>,
    /// The first that matches a request counts; where none does, nothing is required.
    pub rules: Vec<JwtRule>,
    /// Requirements that routes name.
    pub named: BTreeMap<Str, JwtRequirement>,
    /// Preflights of browsers carry no tokens and need none.
    pub bypass_cors_preflight: bool,
    /// Refusals do not say why.
    pub strip_failure_response: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JwtRule {
    pub matches: RouteMatch,
    pub requires: JwtNeed,
}

/// What a rule asks of the requests that it matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JwtNeed {
    #[default]
    Nothing,
    These(JwtRequirement),
    /// One of [`JwtAuthn::named`].
    Named(Str),
}

/// `JwtRequirement`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum JwtRequirement {
    /// Nothing is required.
    #[default]
    Nothing,
    Provider(Str),
    ProviderAndAudiences(Str, Vec<Str>),
    Any(Vec<JwtRequirement>),
    All(Vec<JwtRequirement>),
    AllowMissingOrFailed,
    AllowMissing,
}

/// Of a route: `PerRouteConfig` that is not `disabled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JwtPerRoute {
    /// One of [`JwtAuthn::named`].
    pub requirement: Str,
}

/// Who issues tokens, where they stand, and what becomes of what they say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwtProvider {
    /// Empty is any.
    pub issuer: Str,
    pub audiences: Vec<Str>,
    /// The key set, as text.
    pub keys: Str,
    /// The token stays in the request.
    pub forward: bool,
    pub from_headers: Vec<JwtHeader>,
    pub from_params: Vec<Str>,
    pub from_cookies: Vec<Str>,
    /// Gets the claims as they were sent.
    pub forward_payload_header: Str,
    pub pad_forward_payload_header: bool,
    /// Under which name the claims are in the metadata of the request.
    pub payload_in_metadata: Str,
    /// Of these claims the texts become lists of words there.
    pub space_delimited_claims: Vec<Str>,
    pub header_in_metadata: Str,
    pub failed_status_in_metadata: Str,
    /// 0 is 60.
    pub clock_skew_seconds: u32,
    /// How many verified tokens are kept; `Some(0)` is 100.
    pub cache_size: Option<u32>,
    pub claim_to_headers: Vec<JwtClaimHeader>,
    pub clear_route_cache: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JwtHeader {
    /// Lower case.
    pub name: Str,
    pub prefix: Str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JwtClaimHeader {
    /// Lower case.
    pub header: Str,
    /// Dots lead into objects.
    pub claim: Str,
}
