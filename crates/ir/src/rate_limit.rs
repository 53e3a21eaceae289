//! Rate limits: token buckets of the proxy itself, and the descriptors that routes make of a request.

use crate::{Fraction, HeaderAdd, HeaderMatch, Str};
use std::time::Duration;

/// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalRateLimit {
    pub stat_prefix: Str,
    /// `None` is 429, and so is what is below 400.
    pub status: Option<u16>,
    /// Of all requests; without it nothing is limited but what descriptors name.
    pub bucket: Option<TokenBucket>,
    /// Whose share of requests is counted; `None` is nobody's.
    pub enabled: Option<Fraction>,
    /// Whose share of what is over the limit is refused; `None` is nobody's.
    pub enforced: Option<Fraction>,
    /// Added to a refusal.
    pub response_headers: Vec<HeaderAdd>,
    /// Added to a request over the limit that is let through.
    pub request_headers: Vec<HeaderAdd>,
    pub descriptors: Vec<LimitDescriptor>,
    /// Only rules of this stage make descriptors.
    pub stage: u32,
    pub vh_rate_limits: VhRateLimits,
    /// Requests of descriptors count for the whole, too; `None` is yes.
    pub always_consume_default: Option<bool>,
    /// `x-ratelimit-limit`, `-remaining` and `-reset`, as draft 03 has them.
    pub ratelimit_headers: bool,
    pub resource_exhausted: bool,
    /// In place of the routes' own rules.
    pub rate_limits: Vec<RateLimit>,
}

/// `envoy.extensions.filters.http.ratelimit.v3.RateLimit`: another service says who is over a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalRateLimit {
    pub domain: Str,
    /// Of the service, which speaks gRPC.
    pub cluster: Str,
    /// Only rules of this stage make descriptors.
    pub stage: u32,
    /// `None` is 20 ms.
    pub timeout: Option<Duration>,
    /// Without an answer of the service requests are refused.
    pub failure_mode_deny: bool,
    /// `None` is 429, and so is what is below 400.
    pub status: Option<u16>,
    /// `None` is 500.
    pub status_on_error: Option<u16>,
    /// Added to a refusal.
    pub response_headers: Vec<HeaderAdd>,
    /// Refusals do not say `x-envoy-ratelimited`.
    pub silent: bool,
    pub resource_exhausted: bool,
    /// In place of the routes' own rules.
    pub rate_limits: Vec<RateLimit>,
}

/// Whether the virtual host's rules count beside those of the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VhRateLimits {
    /// Only where the route has none.
    #[default]
    Override,
    Include,
    Ignore,
}

/// `envoy.type.v3.TokenBucket`; it begins full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    pub max: u32,
    pub per_fill: u32,
    pub interval: Duration,
}

/// Requests with exactly these entries have a bucket of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitDescriptor {
    pub entries: Vec<(Str, Str)>,
    pub bucket: TokenBucket,
}

/// `envoy.config.route.v3.RateLimit`: each action makes an entry; if one makes none there is no descriptor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateLimit {
    pub stage: u32,
    pub actions: Vec<RateLimitAction>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RateLimitAction {
    DestinationCluster,
    RequestHeader {
        header: Str,
        key: Str,
        /// Without the header there is still a descriptor, without this entry.
        skip_if_absent: bool,
    },
    RemoteAddress,
    GenericKey {
        /// Empty is `generic_key`.
        key: Str,
        value: Str,
    },
    HeaderValueMatch {
        /// Empty is `header_match`.
        key: Str,
        value: Str,
        expect: bool,
        headers: Vec<HeaderMatch>,
    },
}
