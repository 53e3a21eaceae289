//! Clusters (`envoy.config.cluster.v3`): how to reach one upstream service.

use crate::{
    EndpointGroup, Http1Options, Http2Options, HttpCommon, Metadata, Str, UpstreamTls, Value,
};
use base::OriginId;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: Str,
    pub alt_stat_name: Str,
    pub discovery: Discovery,
    /// `None` is 5 s.
    pub connect_timeout: Option<Duration>,
    pub lb: LoadBalancer,
    pub lb_common: LbCommon,
    pub breakers: CircuitBreakers,
    pub outliers: Option<OutlierDetection>,
    pub protocol: UpstreamProtocol,
    pub http1: Http1Options,
    pub http2: Http2Options,
    pub common: HttpCommon,
    /// Encryption of all connections, unless a match below applies.
    pub tls: Option<UpstreamTls>,
    /// First match by endpoint metadata wins (`transport_socket_matches`).
    pub tls_matches: Vec<TlsMatch>,
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Source addresses of connections (`upstream_bind_config`), as 127.0.0.6 and ::6 for inbound clusters:
    /// the first one of the endpoint's family.
    pub bind_sources: Vec<std::net::IpAddr>,
    pub per_connection_buffer_limit: Option<u32>,
    pub close_connections_on_host_health_failure: bool,
    pub metadata: Metadata,
    pub origin: OriginId,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    pub fn new(name: impl Into<Str>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            alt_stat_name: "".into(),
            discovery,
            connect_timeout: None,
            lb: LoadBalancer::RoundRobin { slow_start: None },
            lb_common: LbCommon::default(),
            breakers: CircuitBreakers::default(),
            outliers: None,
            protocol: UpstreamProtocol::Http1,
            http1: Http1Options::default(),
            http2: Http2Options::default(),
            common: HttpCommon::default(),
            tls: None,
            tls_matches: Vec::new(),
            proxy_protocol: None,
            tcp_keepalive: None,
            bind_sources: Vec::new(),
            per_connection_buffer_limit: None,
            close_connections_on_host_health_failure: false,
            metadata: Metadata::new(),
            origin: OriginId::NONE,
        }
    }
}

/// Where the endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    Static(Vec<EndpointGroup>),
    /// Every resolved address is an endpoint.
    StrictDns {
        groups: Vec<EndpointGroup>,
        refresh: Option<Duration>,
        respect_ttl: bool,
        family: DnsFamily,
    },
    /// One endpoint: the first address of the newest answer.
    LogicalDns {
        groups: Vec<EndpointGroup>,
        refresh: Option<Duration>,
        respect_ttl: bool,
        family: DnsFamily,
    },
    /// By EDS, under this service name (empty: the cluster's name).
    Eds(Str),
    /// Wherever the downstream connection was going.
    OriginalDst,
    /// The host that each request names, looked up when it is (a dynamic forward proxy).
    ByHost(DnsCache),
}

/// Look-ups that a cluster and the filter before it share (`DnsCacheConfig`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DnsCache {
    /// The same in both.
    pub name: Str,
    pub refresh: Option<Duration>,
    pub family: DnsFamily,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsFamily {
    #[default]
    Auto,
    V4Only,
    V6Only,
    V4Preferred,
    All,
}

/// The protocol spoken to endpoints (`HttpProtocolOptions.upstream_protocol_options`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    #[default]
    Http1,
    Http2,
    /// The protocol of the request (`use_downstream_protocol_config`).
    Downstream,
    /// By ALPN (`auto_config`).
    Auto,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LoadBalancer {
    RoundRobin {
        slow_start: Option<SlowStart>,
    },
    LeastRequest {
        choices: Option<u32>,
        /// How much requests under way count against a weight; `None` is 1.
        bias: Option<f64>,
        slow_start: Option<SlowStart>,
    },
    Random,
    RingHash {
        min_size: Option<u64>,
        max_size: Option<u64>,
    },
    Maglev {
        table_size: Option<u64>,
    },
    /// CLUSTER_PROVIDED, for original destination.
    ClusterProvided,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    pub window: Duration,
    pub aggression: Option<f64>,
    /// Percent; `None` is 10.
    pub min_weight_percent: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LbCommon {
    /// Percent of healthy endpoints below which all are used; `None` is 50, zero is never.
    pub panic_threshold: Option<f64>,
    pub locality: LocalityMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalityMode {
    #[default]
    None,
    Weighted,
    ZoneAware,
}

/// Thresholds of the default priority; `None` is Envoy's default (1024, retries 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CircuitBreakers {
    pub max_connections: Option<u32>,
    pub max_pending_requests: Option<u32>,
    pub max_requests: Option<u32>,
    pub max_retries: Option<u32>,
    pub track_remaining: bool,
    pub retry_budget: Option<RetryBudget>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Thousandths of a percent.
    pub percent_milli: Option<u32>,
    pub min_concurrency: Option<u32>,
}

/// `None` is Envoy's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    pub consecutive_5xx: Option<u32>,
    pub interval: Option<Duration>,
    pub base_ejection_time: Option<Duration>,
    pub max_ejection_time: Option<Duration>,
    pub max_ejection_percent: Option<u32>,
    pub enforcing_consecutive_5xx: Option<u32>,
    pub consecutive_gateway_failure: Option<u32>,
    pub enforcing_consecutive_gateway_failure: Option<u32>,
    pub split_external_local_origin_errors: bool,
    pub consecutive_local_origin_failure: Option<u32>,
    pub enforcing_consecutive_local_origin_failure: Option<u32>,
    pub enforcing_success_rate: Option<u32>,
    pub success_rate_minimum_hosts: Option<u32>,
    pub success_rate_request_volume: Option<u32>,
    pub success_rate_stdev_factor: Option<u32>,
    /// As `enforcing_success_rate`, of failures that are seen from here, where these are told apart.
    pub enforcing_local_origin_success_rate: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TlsMatch {
    pub name: Str,
    /// All must equal the endpoint's metadata under `envoy.transport_socket_match`; none matches all.
    pub criteria: std::collections::BTreeMap<Str, Value>,
    /// `None` is plaintext.
    pub tls: Option<UpstreamTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    pub probes: Option<u32>,
    pub time: Option<u32>,
    pub interval: Option<u32>,
}
