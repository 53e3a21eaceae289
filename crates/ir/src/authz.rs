//! External authorization: another service says which requests may pass.

use crate::{Fraction, MetadataMatch, Str, StringMatch};
use std::time::Duration;

/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtAuthz {
    pub service: AuthzService,
    /// Requests pass while the service does not answer.
    pub failure_mode_allow: bool,
    /// Those that pass for that reason say so.
    pub failure_mode_allow_header: bool,
    pub body: Option<AuthzBody>,
    /// The route is looked for again where the service has changed the request.
    pub clear_route_cache: bool,
    /// `None` is 403.
    pub status_on_error: Option<u16>,
    pub validate_mutations: bool,
    /// Namespaces of dynamic metadata that the service gets.
    pub metadata_context: Vec<Str>,
    /// `None` is everybody.
    pub enabled: Option<Fraction>,
    pub enabled_metadata: Option<MetadataMatch>,
    /// Who is not asked about is refused.
    pub deny_at_disable: bool,
    pub include_peer_certificate: bool,
    pub include_tls_session: bool,
    pub stat_prefix: Str,
    /// Headers that the service gets; `None`: all by gRPC, the necessary ones by HTTP.
    pub allowed_headers: Option<Vec<StringMatch>>,
    pub disallowed_headers: Vec<StringMatch>,
    /// `None` is true.
    pub charge_cluster: Option<bool>,
    /// Lines of one name stay apart.
    pub raw_headers: bool,
    /// `None` is true.
    pub ingest_metadata: Option<bool>,
    /// Zero is without limit.
    pub max_denied_body: u32,
}

impl ExtAuthz {
    /// Asked about all requests, told what it needs, and failing closed.
    pub fn asking(service: AuthzService) -> Self {
        Self {
            service,
            failure_mode_allow: false,
            failure_mode_allow_header: false,
            body: None,
            clear_route_cache: false,
            status_on_error: None,
            validate_mutations: false,
            metadata_context: Vec::new(),
            enabled: None,
            enabled_metadata: None,
            deny_at_disable: false,
            include_peer_certificate: false,
            include_tls_session: false,
            stat_prefix: "".into(),
            allowed_headers: None,
            disallowed_headers: Vec::new(),
            charge_cluster: None,
            raw_headers: false,
            ingest_metadata: None,
            max_denied_body: 0,
        }
    }
}

/// `envoy.extensions.filters.network.ext_authz.v3.ExtAuthz`: of connections.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkAuthz {
    pub service: GrpcAuthz,
    /// Connections pass while the service does not answer.
    pub failure_mode_allow: bool,
    /// Which connections are asked about, by what a filter has said; `None` is all.
    pub enabled_metadata: Option<MetadataMatch>,
    pub include_peer_certificate: bool,
    pub include_tls_session: bool,
    pub stat_prefix: Str,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AuthzService {
    Grpc(GrpcAuthz),
    Http(Box<HttpAuthz>),
}

impl AuthzService {
    pub fn cluster(&self) -> &Str {
        match self {
            AuthzService::Grpc(grpc) => &grpc.cluster,
            AuthzService::Http(http) => &http.cluster,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcAuthz {
    pub cluster: Str,
    /// `None` is 200 ms.
    pub timeout: Option<Duration>,
}

/// `HttpService` of the filter.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpAuthz {
    pub uri: Str,
    pub cluster: Str,
    pub timeout: Option<Duration>,
    pub path_prefix: Str,
    pub path_override: Str,
    pub allowed_headers: Option<Vec<StringMatch>>,
    pub headers_to_add: Vec<(Str, Str)>,
    /// Of the answer: what the upstream gets in place of its own, and beside its own.
    pub upstream: Vec<StringMatch>,
    pub upstream_append: Vec<StringMatch>,
    /// What the client gets with a refusal, and with an answer.
    pub client: Vec<StringMatch>,
    pub client_on_success: Vec<StringMatch>,
    pub metadata: Vec<StringMatch>,
}

/// `BufferSettings`: the service gets the body, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthzBody {
    pub max: u32,
    /// The beginning of a body that is longer; else such a request is refused.
    pub partial: bool,
    pub as_bytes: bool,
}

/// `CheckSettings` of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthzSettings {
    pub context: Vec<(Str, Str)>,
    pub no_body: bool,
    pub body: Option<AuthzBody>,
    pub service: Option<AuthzService>,
}
