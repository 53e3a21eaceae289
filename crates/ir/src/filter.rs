//! Filters as a closed set: HTTP filters in their order, and the network filters before a terminal one.

use crate::{
    AccessLog, AuthzSettings, Compressor, Cors, DnsCache, ExtAuthz, Fraction, GlobalRateLimit,
    HeaderMatch, HeaderToMetadata, JwtAuthn, JwtPerRoute, LocalRateLimit, NetworkAuthz, Rbac, Str,
    WeightedCluster,
};
use base::OriginId;
use std::time::Duration;

/// One filter of the chain under the name the configuration gives it (routes refer to it by name).
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFilter {
    pub name: Str,
    pub config: HttpFilterConfig,
    /// `disabled`: only routes that configure it run it.
    pub disabled: bool,
    pub origin: OriginId,
}

/// Configuration of a filter, in the chain or of one route (`typed_per_filter_config`).
#[derive(Clone, Debug, PartialEq)]
pub enum HttpFilterConfig {
    Fault(Box<Fault>),
    /// In the chain it carries no policy of its own; the policy is the route's.
    Cors(Option<Box<Cors>>),
    GrpcStats {
        emit_filter_state: bool,
    },
    GrpcWeb,
    LocalRateLimit(Box<LocalRateLimit>),
    RateLimit(Box<GlobalRateLimit>),
    Rbac(Box<Rbac>),
    ExtAuthz(Box<ExtAuthz>),
    /// Requests wait here until they are whole; longer ones are refused.
    Buffer(u32),
    HeaderToMetadata(Box<HeaderToMetadata>),
    JwtAuthn(Box<JwtAuthn>),
    /// Route-level: which requirement of [`HttpFilterConfig::JwtAuthn`] counts here.
    JwtPerRoute(JwtPerRoute),
    Compressor(Box<Compressor>),
    /// Route-level: what is said of [`HttpFilterConfig::ExtAuthz`] here.
    AuthzSettings(Box<AuthzSettings>),
    /// Looks up the hosts of requests that go to clusters of [`crate::Discovery::ByHost`].
    ByHost(DnsCache),
    /// `istio.alpn`: the ALPN offered upstream follows the protocol of the request.
    IstioAlpn,
    /// Metrics of Istio (`istio.stats`).
    IstioStats(IstioStats),
    /// Exchange of workload metadata with the peer (`istio.metadata_exchange`).
    PeerMetadata(PeerMetadata),
    /// Route-level: the filter is off here.
    Disabled,
    /// Known to do nothing that a client can see; kept so that encoding gives it back.
    Inert {
        type_url: Str,
        value: bytes::Bytes,
    },
}

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    pub delay: Option<FaultDelay>,
    pub abort: Option<FaultAbort>,
    pub upstream_cluster: Str,
    pub headers: Vec<HeaderMatch>,
    pub max_active_faults: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultDelay {
    pub duration: Duration,
    pub fraction: Fraction,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultAbort {
    pub status: AbortStatus,
    pub fraction: Fraction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbortStatus {
    Http(u16),
    Grpc(u32),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct IstioStats {
    /// Report as the destination (inbound) instead of as the source.
    pub destination: bool,
    pub disable_host_header_fallback: bool,
    pub tcp_reporting: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerMetadata {
    pub downstream_discovery: bool,
    pub upstream_discovery: bool,
    pub downstream_propagation: bool,
    pub upstream_propagation: bool,
}

/// A filter that looks at a connection before its terminal filter gets it.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkFilter {
    IstioStats(IstioStats),
    /// Peer metadata by the ALPN `istio-peer-exchange`.
    MetadataExchange {
        protocol: Str,
    },
    /// Resets after this many connections a second; `envoy.filters.network.connection_limit`.
    ConnectionLimit {
        max: u64,
        delay: Option<Duration>,
    },
    Rbac(Box<Rbac>),
    ExtAuthz(Box<NetworkAuthz>),
    Inert {
        type_url: Str,
        value: bytes::Bytes,
    },
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpProxy {
    pub stat_prefix: Str,
    pub to: TcpDestination,
    pub access_log: Vec<AccessLog>,
    /// `None` is 1 h, zero is never.
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    /// `None` is 1.
    pub max_connect_attempts: Option<u32>,
    pub hash_source_ip: bool,
    /// `host:port` that the upstream is asked to CONNECT to, before any byte.
    pub tunnel: Option<Str>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TcpDestination {
    Cluster(Str),
    Weighted(Vec<WeightedCluster>),
}
