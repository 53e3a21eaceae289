//! Envoy's own definitions as the judge of our schema: what we write, a reader generated from Envoy's
//! .proto files reads, and it keeps every field. A number or type that is wrong in the schema would be
//! dropped or refused there.

use super::*;
use proto::envoy::envoy as e;
use proto::envoy::envoy::extensions as x;

/// Writes the bytes anew as the given generated type.
fn through<T: prost::Message + Default>(bytes: &Bytes) -> Bytes {
    T::decode(bytes.clone())
        .unwrap_or_else(|e| panic!("Envoy cannot read it: {e}"))
        .encode_to_vec()
        .into()
}

/// Reads bytes as a generated type and writes them anew.
type Judge = fn(&Bytes) -> Bytes;

/// The generated type of a message that may stand in an `Any`; `None` for Istio's own.
static JUDGES: &[(&str, Judge)] = &[
    ("envoy.config.cluster.v3.Cluster", through::<e::config::cluster::v3::Cluster>),
    (
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        through::<e::config::endpoint::v3::ClusterLoadAssignment>,
    ),
    ("envoy.config.listener.v3.Listener", through::<e::config::listener::v3::Listener>),
    (
        "envoy.config.route.v3.RouteConfiguration",
        through::<e::config::route::v3::RouteConfiguration>,
    ),
    ("envoy.config.route.v3.FilterConfig", through::<e::config::route::v3::FilterConfig>),
    ("envoy.config.trace.v3.ZipkinConfig", through::<e::config::trace::v3::ZipkinConfig>),
    (
        "envoy.config.trace.v3.OpenTelemetryConfig",
        through::<e::config::trace::v3::OpenTelemetryConfig>,
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        through::<x::transport_sockets::tls::v3::Secret>,
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        through::<x::transport_sockets::tls::v3::DownstreamTlsContext>,
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        through::<x::transport_sockets::tls::v3::UpstreamTlsContext>,
    ),
    (
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        through::<x::transport_sockets::raw_buffer::v3::RawBuffer>,
    ),
    (
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        through::<x::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport>,
    ),
    (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        through::<x::upstreams::http::v3::HttpProtocolOptions>,
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        through::<x::filters::network::http_connection_manager::v3::HttpConnectionManager>,
    ),
    (
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        through::<x::filters::network::tcp_proxy::v3::TcpProxy>,
    ),
    (
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        through::<x::filters::network::connection_limit::v3::ConnectionLimit>,
    ),
    (
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        through::<x::filters::network::rbac::v3::Rbac>,
    ),
    ("envoy.extensions.filters.http.rbac.v3.RBAC", through::<x::filters::http::rbac::v3::Rbac>),
    (
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        through::<x::filters::http::rbac::v3::RbacPerRoute>,
    ),
    (
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
        through::<x::path::r#match::uri_template::v3::UriTemplateMatchConfig>,
    ),
    (
        "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
        through::<x::filters::network::mongo_proxy::v3::MongoProxy>,
    ),
    (
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
        through::<x::filters::listener::original_dst::v3::OriginalDst>,
    ),
    (
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        through::<x::filters::listener::tls_inspector::v3::TlsInspector>,
    ),
    (
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
        through::<x::filters::listener::http_inspector::v3::HttpInspector>,
    ),
    (
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        through::<x::filters::listener::proxy_protocol::v3::ProxyProtocol>,
    ),
    (
        "envoy.extensions.filters.http.router.v3.Router",
        through::<x::filters::http::router::v3::Router>,
    ),
    (
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        through::<x::filters::http::fault::v3::HttpFault>,
    ),
    (
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        through::<x::filters::http::ext_authz::v3::ExtAuthz>,
    ),
    (
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        through::<x::filters::http::ext_authz::v3::ExtAuthzPerRoute>,
    ),
    (
        "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
        through::<x::filters::network::ext_authz::v3::ExtAuthz>,
    ),
    (
        "envoy.extensions.filters.http.compressor.v3.Compressor",
        through::<x::filters::http::compressor::v3::Compressor>,
    ),
    (
        "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
        through::<x::filters::http::compressor::v3::CompressorPerRoute>,
    ),
    (
        "envoy.extensions.compression.gzip.compressor.v3.Gzip",
        through::<x::compression::gzip::compressor::v3::Gzip>,
    ),
    (
        "envoy.extensions.filters.http.buffer.v3.Buffer",
        through::<x::filters::http::buffer::v3::Buffer>,
    ),
    (
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        through::<x::filters::http::buffer::v3::BufferPerRoute>,
    ),
    (
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        through::<x::filters::http::jwt_authn::v3::JwtAuthentication>,
    ),
    (
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
        through::<x::filters::http::jwt_authn::v3::PerRouteConfig>,
    ),
    (
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
        through::<x::filters::http::header_to_metadata::v3::Config>,
    ),
    ("envoy.extensions.filters.http.cors.v3.Cors", through::<x::filters::http::cors::v3::Cors>),
    (
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        through::<x::filters::http::cors::v3::CorsPolicy>,
    ),
    (
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        through::<x::clusters::dynamic_forward_proxy::v3::ClusterConfig>,
    ),
    (
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
        through::<x::filters::http::dynamic_forward_proxy::v3::FilterConfig>,
    ),
    (
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        through::<x::filters::http::grpc_stats::v3::FilterConfig>,
    ),
    (
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
        through::<x::filters::http::grpc_web::v3::GrpcWeb>,
    ),
    (
        "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
        through::<x::filters::http::ratelimit::v3::RateLimit>,
    ),
    (
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        through::<x::filters::http::local_ratelimit::v3::LocalRateLimit>,
    ),
    (
        "envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig",
        through::<x::filters::http::alternate_protocols_cache::v3::FilterConfig>,
    ),
    (
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        through::<x::access_loggers::file::v3::FileAccessLog>,
    ),
    (
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        through::<x::access_loggers::stream::v3::StdoutAccessLog>,
    ),
    (
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        through::<x::access_loggers::stream::v3::StderrAccessLog>,
    ),
    (
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        through::<x::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig>,
    ),
    (
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        through::<x::retry::host::previous_hosts::v3::PreviousHostsPredicate>,
    ),
    (
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        through::<x::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig>,
    ),
];

fn judge(name: &str) -> Option<Judge> {
    JUDGES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
}

/// Whether Envoy's definitions keep all of this message, and of every typed message within it.
fn agree(msg: &Msg, seed: u64) {
    let ours = write_wire(msg);
    let own = ["stats.", "io.istio.", "istio.", "envoy.tcp.metadataexchange."];
    match judge(msg.ty.name) {
        Some(judge) => {
            let out = RefCell::new(Vec::new());
            let theirs = read_wire(msg.ty, judge(&ours), &Path::root("", &out));
            assert_eq!(theirs, *msg, "seed {seed}");
        }
        None => {
            assert!(own.iter().any(|p| msg.ty.name.starts_with(p)), "no judge for {}", msg.ty.name)
        }
    }
    msg.iter().for_each(|(_, v)| inner(v, seed));
}

fn inner(value: &Val, seed: u64) {
    match value {
        Val::Any(Any::Known(m)) => agree(m, seed),
        Val::Msg(m) => m.iter().for_each(|(_, v)| inner(v, seed)),
        Val::List(l) => l.iter().for_each(|v| inner(v, seed)),
        Val::Map(m) => m.values().for_each(|v| inner(v, seed)),
        _ => {}
    }
}

#[test]
fn envoy_keeps_every_field_that_we_write() {
    for seed in 0..SEEDS {
        agree(&tree(&Gen::seeded(seed).resource()), seed);
    }
}
