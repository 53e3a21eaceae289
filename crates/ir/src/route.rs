//! Routes (`envoy.config.route.v3`): which virtual host, which route, and what then.

use crate::{
    Fraction, HeaderOps, HttpFilterConfig, Metadata, MetadataMatch, RateLimit, Str, StringMatch,
};
use base::OriginId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteConfig {
    pub name: Str,
    /// Shared with the versions of this configuration that came before.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    pub headers: HeaderOps,
    pub ignore_port_in_host_matching: bool,
    pub most_specific_header_mutations_wins: bool,
    /// Bytes; `None` is 4096.
    pub max_direct_response_body: Option<u32>,
    /// `None` is true for routes that come by RDS: an unknown cluster is then a 503 at run time.
    pub validate_clusters: Option<bool>,
    pub origin: OriginId,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualHost {
    pub name: Str,
    /// `host`, `host:port`, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<Str>,
    pub routes: Vec<Route>,
    pub require_tls: RequireTls,
    pub headers: HeaderOps,
    pub retry: Option<RetryPolicy>,
    pub include_attempt_count: bool,
    pub include_attempt_count_in_response: bool,
    pub per_filter: Vec<(Str, HttpFilterConfig)>,
    pub rate_limits: Vec<RateLimit>,
    pub metadata: Metadata,
    pub origin: OriginId,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequireTls {
    #[default]
    No,
    ExternalOnly,
    All,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: Str,
    pub matches: RouteMatch,
    pub action: Action,
    pub headers: HeaderOps,
    /// `decorator.operation`: the span's name.
    pub decorator: Str,
    pub per_filter: Vec<(Str, HttpFilterConfig)>,
    pub metadata: Metadata,
    pub stat_prefix: Str,
    pub origin: OriginId,
}

/// All conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    pub path: PathMatch,
    pub ignore_case: bool,
    pub headers: Vec<HeaderMatch>,
    pub query: Vec<QueryMatch>,
    /// Only gRPC requests (content-type application/grpc).
    pub grpc: bool,
    pub runtime_fraction: Option<Fraction>,
    /// On what filters have said; it counts once a filter has a request routed again.
    pub metadata: Vec<MetadataMatch>,
}

impl RouteMatch {
    pub fn path(path: PathMatch) -> Self {
        Self {
            path,
            ignore_case: false,
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
            runtime_fraction: None,
            metadata: Vec::new(),
        }
    }
}

/// On the path without its query string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    Prefix(Str),
    Exact(Str),
    /// The whole path must match.
    Regex(Str),
    /// `/a` matches `/a` and `/a/b`, not `/ab`.
    PathSeparatedPrefix(Str),
    /// CONNECT requests only.
    Connect,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Lower case; `:method`, `:authority`, `:path`, `:scheme` too.
    pub name: Str,
    pub condition: HeaderCondition,
    pub invert: bool,
    pub missing_as_empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderCondition {
    Present(bool),
    Value(StringMatch),
    /// Half-open range of a decimal integer.
    Range(i64, i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    pub name: Str,
    /// `None`: the parameter is there, with whatever value.
    pub value: Option<StringMatch>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Forward(Box<Forward>),
    Redirect(Redirect),
    Direct(DirectResponse),
    /// `non_forwarding_action`, for proxyless clients.
    NonForwarding,
}

/// `RouteAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    pub to: Destination,
    /// Status when the cluster does not exist; `None` is 503.
    pub cluster_not_found: Option<u16>,
    pub prefix_rewrite: Str,
    pub regex_rewrite: Option<RegexRewrite>,
    pub host_rewrite: HostRewrite,
    pub append_x_forwarded_host: bool,
    /// `None` is 15 s, zero is none.
    pub timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    pub max_stream: Option<MaxStream>,
    pub grpc_timeout: Option<GrpcTimeout>,
    pub retry: Option<RetryPolicy>,
    pub mirrors: Vec<Mirror>,
    pub hash: Vec<HashPolicy>,
    pub upgrades: Vec<crate::Upgrade>,
    pub metadata_match: Metadata,
    pub cors: Option<Cors>,
    /// What makes descriptors for filters that limit rates.
    pub rate_limits: Vec<RateLimit>,
    /// The virtual host's rules, too.
    pub include_vh_rate_limits: bool,
}

impl Forward {
    pub fn to(to: Destination) -> Self {
        Self {
            to,
            cluster_not_found: None,
            prefix_rewrite: "".into(),
            regex_rewrite: None,
            host_rewrite: HostRewrite::None,
            append_x_forwarded_host: false,
            timeout: None,
            idle_timeout: None,
            max_stream: None,
            grpc_timeout: None,
            retry: None,
            mirrors: Vec::new(),
            hash: Vec::new(),
            upgrades: Vec::new(),
            metadata_match: Metadata::new(),
            cors: None,
            rate_limits: Vec::new(),
            include_vh_rate_limits: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    Cluster(Str),
    /// The cluster whose name this request header holds.
    ClusterHeader(Str),
    /// Chosen at random in proportion to the weights.
    Weighted(Vec<WeightedCluster>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCluster {
    pub name: Str,
    pub weight: u32,
    pub headers: HeaderOps,
    pub host_rewrite: Str,
    pub metadata_match: Metadata,
    pub per_filter: Vec<(Str, HttpFilterConfig)>,
    pub origin: OriginId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegexRewrite {
    pub pattern: Str,
    /// RE2 substitution: `\1` is the first group.
    pub substitution: Str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostRewrite {
    None,
    Literal(Str),
    /// The host name of the chosen endpoint.
    Auto,
    Header(Str),
    PathRegex(RegexRewrite),
}

/// Limits of whole streams. Where they are there, `timeout` has no effect, in Envoy as here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MaxStream {
    pub max_stream_duration: Option<Duration>,
    pub grpc_timeout_header_max: Option<Duration>,
    pub grpc_timeout_header_offset: Option<Duration>,
}

/// The older `max_grpc_timeout` and `grpc_timeout_offset`: gRPC requests say themselves how long they may
/// take, up to `max` (zero: without limit); `timeout` holds for all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GrpcTimeout {
    pub max: Option<Duration>,
    pub offset: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Conditions as in `retry_on`, in order.
    pub on: Vec<Str>,
    /// `None` is 1.
    pub num_retries: Option<u32>,
    pub per_try_timeout: Option<Duration>,
    pub per_try_idle_timeout: Option<Duration>,
    pub retriable_status_codes: Vec<u32>,
    pub retriable_headers: Vec<HeaderMatch>,
    /// `None` is 25 ms, and at most ten times the base.
    pub backoff: Option<Backoff>,
    /// `envoy.retry_host_predicates.previous_hosts`.
    pub avoid_previous_hosts: bool,
    pub host_selection_max_attempts: i64,
    /// `envoy.retry_priorities.previous_priorities`: update frequency.
    pub previous_priorities: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    pub base: Duration,
    pub max: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    pub cluster: Str,
    pub fraction: Option<Fraction>,
    pub trace_sampled: Option<bool>,
    pub disable_shadow_host_suffix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashPolicy {
    pub source: HashSource,
    pub terminal: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashSource {
    Header(Str),
    /// Generated and set when absent if there is a time to live; zero is a session cookie.
    Cookie {
        name: Str,
        path: Str,
        ttl: Option<Duration>,
        attributes: Vec<(Str, Str)>,
    },
    SourceIp,
    Query(Str),
    FilterState(Str),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cors {
    pub allow_origins: Vec<StringMatch>,
    pub allow_methods: Str,
    pub allow_headers: Str,
    pub expose_headers: Str,
    pub max_age: Str,
    pub allow_credentials: Option<bool>,
    pub enabled: Option<Fraction>,
    /// `None` is true: preflights that match no origin go upstream.
    pub forward_not_matching_preflights: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirect {
    pub https: bool,
    pub scheme: Str,
    pub host: Str,
    pub port: u32,
    pub path: RedirectPath,
    pub code: RedirectCode,
    pub strip_query: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum RedirectPath {
    #[default]
    Keep,
    /// May hold a query string of its own, which then replaces the request's.
    Replace(Str),
    Prefix(Str),
    Regex(RegexRewrite),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RedirectCode {
    #[default]
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RedirectCode {
    pub fn status(self) -> u16 {
        match self {
            RedirectCode::MovedPermanently => 301,
            RedirectCode::Found => 302,
            RedirectCode::SeeOther => 303,
            RedirectCode::TemporaryRedirect => 307,
            RedirectCode::PermanentRedirect => 308,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct DirectResponse {
    pub status: u16,
    pub body: Bytes,
}
