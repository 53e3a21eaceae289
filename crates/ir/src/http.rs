//! The HTTP connection manager (`envoy.extensions.filters.network.http_connection_manager.v3`).

use crate::{AccessLog, HttpFilter, LocalReply, RouteConfig, Str};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct HttpManager {
    pub stat_prefix: Str,
    pub codec: Codec,
    pub routes: RouteSource,
    /// In order, without the router, which is always last.
    pub filters: Vec<HttpFilter>,
    pub access_log: Vec<AccessLog>,
    pub local_reply: Option<LocalReply>,

    pub use_remote_address: bool,
    pub xff_num_trusted_hops: u32,
    pub skip_xff_append: bool,
    pub via: Str,
    pub server_name: Str,
    pub server_header: ServerHeader,
    pub forward_client_cert: ForwardClientCert,
    pub set_client_cert: ClientCertDetails,
    /// `None` is true.
    pub generate_request_id: Option<bool>,
    pub preserve_external_request_id: bool,
    pub always_set_request_id_in_response: bool,
    pub proxy_100_continue: bool,
    pub suppress_envoy_headers: bool,

    pub normalize_path: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
    pub strip_host_port: StripPort,
    pub strip_trailing_host_dot: bool,

    pub http1: Http1Options,
    pub http2: Http2Options,
    pub common: HttpCommon,
    /// `None` is 5 min, zero is never.
    pub stream_idle_timeout: Option<Duration>,
    pub request_timeout: Option<Duration>,
    pub request_headers_timeout: Option<Duration>,
    /// Time between the shutdown notice and the last GOAWAY; `None` is 5 s.
    pub drain_timeout: Option<Duration>,
    /// `None` is 60.
    pub max_request_headers_kb: Option<u32>,
    pub upgrades: Vec<Upgrade>,
    pub tracing: Option<Tracing>,
    pub stream_error_on_invalid_http_messages: Option<bool>,
}

impl HttpManager {
    /// A manager with Envoy's defaults.
    pub fn new(stat_prefix: impl Into<Str>, routes: RouteSource) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            codec: Codec::Auto,
            routes,
            filters: Vec::new(),
            access_log: Vec::new(),
            local_reply: None,
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            skip_xff_append: false,
            via: "".into(),
            server_name: "".into(),
            server_header: ServerHeader::Overwrite,
            forward_client_cert: ForwardClientCert::Sanitize,
            set_client_cert: ClientCertDetails::default(),
            generate_request_id: None,
            preserve_external_request_id: false,
            always_set_request_id_in_response: false,
            proxy_100_continue: false,
            suppress_envoy_headers: false,
            normalize_path: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::KeepUnchanged,
            strip_host_port: StripPort::No,
            strip_trailing_host_dot: false,
            http1: Http1Options::default(),
            http2: Http2Options::default(),
            common: HttpCommon::default(),
            stream_idle_timeout: None,
            request_timeout: None,
            request_headers_timeout: None,
            drain_timeout: None,
            max_request_headers_kb: None,
            upgrades: Vec::new(),
            tracing: None,
            stream_error_on_invalid_http_messages: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    #[default]
    Auto,
    Http1,
    Http2,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RouteSource {
    Inline(Arc<RouteConfig>),
    /// The name of a route configuration that comes by RDS.
    Rds(Str),
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServerHeader {
    #[default]
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardClientCert {
    #[default]
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCertDetails {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

/// `path_with_escaped_slashes_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    #[default]
    KeepUnchanged,
    RejectRequest,
    UnescapeAndRedirect,
    UnescapeAndForward,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StripPort {
    #[default]
    No,
    Matching,
    Any,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Http1Options {
    pub allow_absolute_url: Option<bool>,
    pub accept_http_10: bool,
    pub default_host_for_http_10: Str,
    pub header_case: HeaderCase,
    pub enable_trailers: bool,
    pub allow_chunked_length: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeaderCase {
    #[default]
    Lower,
    ProperCaseWords,
    Preserve,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Http2Options {
    pub max_concurrent_streams: Option<u32>,
    pub initial_stream_window: Option<u32>,
    pub initial_connection_window: Option<u32>,
    pub allow_connect: bool,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Option<Duration>,
}

/// `core.v3.HttpProtocolOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpCommon {
    /// `None` is 1 h, zero is never.
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    pub max_stream_duration: Option<Duration>,
    /// `None` is 100.
    pub max_headers_count: Option<u32>,
    /// Zero is without limit.
    pub max_requests_per_connection: u32,
    pub underscores: Underscores,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Underscores {
    #[default]
    Allow,
    RejectRequest,
    DropHeader,
}

/// `UpgradeConfig`; `CONNECT` is one too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upgrade {
    pub kind: Str,
    pub enabled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Percent, 0 to 100.
    pub client_sampling: Option<f64>,
    pub random_sampling: Option<f64>,
    pub overall_sampling: Option<f64>,
    pub max_path_tag_length: Option<u32>,
    pub provider: Option<TracingProvider>,
    pub custom_tags: Vec<TracingTag>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TracingProvider {
    Zipkin { cluster: Str, endpoint: Str },
    OpenTelemetry { cluster: Str, service_name: Str },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TracingTag {
    pub tag: Str,
    pub source: TagSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagSource {
    Literal(Str),
    Environment { name: Str, default: Str },
    RequestHeader { name: Str, default: Str },
}
