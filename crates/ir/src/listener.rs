//! Listeners and the choice of a filter chain (`envoy.config.listener.v3`).

use crate::{
    AccessLog, Address, Cidr, DownstreamTls, HttpManager, Metadata, NetworkFilter, Str, TcpProxy,
};
use base::OriginId;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub name: Str,
    pub address: Address,
    pub additional_addresses: Vec<Address>,
    /// False: only reached through `use_original_dst` of another listener.
    pub bind_to_port: bool,
    /// Hand a captured connection to the listener of its original destination, where there is one.
    pub use_original_dst: bool,
    pub filters: ListenerFilters,
    pub chains: Vec<FilterChain>,
    pub default_chain: Option<FilterChain>,
    /// Logs connections that no chain accepted.
    pub access_log: Vec<AccessLog>,
    pub direction: Direction,
    pub per_connection_buffer_limit: Option<u32>,
    pub transparent: bool,
    pub reuse_port: Option<bool>,
    pub metadata: Metadata,
    pub origin: OriginId,
}

impl Listener {
    /// One that binds and has no chain yet.
    pub fn new(name: impl Into<Str>, address: Address) -> Listener {
        Listener {
            name: name.into(),
            address,
            additional_addresses: Vec::new(),
            bind_to_port: true,
            use_original_dst: false,
            filters: ListenerFilters::default(),
            chains: Vec::new(),
            default_chain: None,
            access_log: Vec::new(),
            direction: Direction::Unspecified,
            per_connection_buffer_limit: None,
            transparent: false,
            reuse_port: None,
            metadata: Metadata::new(),
            origin: OriginId::NONE,
        }
    }

    /// Bytes that may wait in one direction of one connection.
    pub fn buffer_limit(&self) -> u32 {
        self.per_connection_buffer_limit.unwrap_or(1 << 20)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    #[default]
    Unspecified,
    Inbound,
    Outbound,
}

/// What is looked at before a chain is chosen (`envoy.extensions.filters.listener`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerFilters {
    pub original_dst: bool,
    pub tls_inspector: Option<Inspector>,
    pub http_inspector: Option<Inspector>,
    pub proxy_protocol: Option<Preamble>,
    /// How long to wait for the first bytes; `None` is Envoy's 15 s, zero is for ever.
    pub timeout: Option<Duration>,
    /// After the timeout go on with what is known instead of closing.
    pub continue_on_timeout: bool,
}

/// The PROXY protocol, versions 1 and 2, before anything else on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// `allow_requests_without_proxy_protocol`: a connection without it is its client's own.
    pub optional: bool,
}

/// An inspector, and the destination ports on which it does not look (`filter_disabled`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspector {
    /// Half-open ranges `[start, end)`.
    pub disabled_ports: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    pub name: Str,
    pub matches: ChainMatch,
    pub tls: Option<DownstreamTls>,
    /// In the order they stand in the configuration, before the terminal filter.
    pub network: Vec<NetworkFilter>,
    pub terminal: Terminal,
    /// `transport_socket_connect_timeout`: for the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    pub metadata: Metadata,
    pub origin: OriginId,
}

impl FilterChain {
    /// One that takes every connection, in plaintext.
    pub fn new(terminal: Terminal) -> FilterChain {
        FilterChain {
            name: "".into(),
            matches: ChainMatch::default(),
            tls: None,
            network: Vec::new(),
            terminal,
            handshake_timeout: None,
            metadata: Metadata::new(),
            origin: OriginId::NONE,
        }
    }
}

/// The last filter of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminal {
    Http(Box<HttpManager>),
    Tcp(Box<TcpProxy>),
    /// An empty chain, or one without a terminal filter: the connection is closed.
    Close,
}

/// `FilterChainMatch`: empty lists match anything. The most specific match wins, criterion by
/// criterion, in the order of the fields below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChainMatch {
    pub destination_port: Option<u16>,
    pub destination_ranges: Vec<Cidr>,
    /// SNI: exact or `*.suffix`, lower case.
    pub server_names: Vec<Str>,
    /// `raw_buffer` or `tls`; empty matches both.
    pub transport_protocol: Str,
    /// ALPN, or what the HTTP inspector found: `http/1.0`, `http/1.1`, `h2c`.
    pub application_protocols: Vec<Str>,
    pub direct_source_ranges: Vec<Cidr>,
    pub source_type: SourceType,
    pub source_ranges: Vec<Cidr>,
    pub source_ports: Vec<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceType {
    #[default]
    Any,
    SameIpOrLoopback,
    External,
}
