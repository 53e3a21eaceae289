//! Listeners: of clients one for each name that they call (A27), of servers one for each address that they
//! listen on (A36), with who must come by mutual TLS (A29) and who is let in (A41).

use super::cluster::{of_workload, socket, socket_address};
use super::{any, encoded, raw};
use crate::codec;
use crate::server::Encoded;
use ir::{
    Config, FilterChain, HttpFilterConfig, HttpManager, Kind, Permission, Principal, Rbac,
    RbacAction, RbacRules, ResourceKey, Str, Terminal,
};
use proto::envoy::envoy::config::core::v3 as core;
use proto::envoy::envoy::config::listener::v3 as pb;
use proto::envoy::envoy::config::route::v3 as routes;
use proto::envoy::envoy::extensions::filters::http::fault::v3::HttpFault;
use proto::envoy::envoy::extensions::filters::http::router::v3::Router;
use proto::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use proto::envoy::envoy::extensions::transport_sockets::tls::v3 as tls;
use proto::envoy::google::protobuf::BoolValue;
use std::net::SocketAddr;

/// Before the address, in the names that servers ask for.
pub(super) const INBOUND: &str = "xds.istio.io/grpc/lds/inbound/";

const HTTP_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: (&str, &str) =
    ("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router");
const FAULT: (&str, &str) =
    ("envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault");
const RBAC: (&str, &str) =
    ("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC");
const TLS_DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

/// From the stream that this comes by.
pub(super) fn from_here() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// The route configuration of a virtual host, which is `host:port`.
pub(super) fn route_name(virtual_host: &str) -> String {
    let (host, port) = virtual_host.rsplit_once(':').unwrap_or((virtual_host, "80"));
    format!("outbound|{port}||{host}")
}

/// The host and port of a route configuration.
pub(super) fn host_of_route(name: &str) -> Option<(String, u16)> {
    let (port, host) = name.strip_prefix("outbound|")?.split_once("||")?;
    Some((host.to_ascii_lowercase(), port.parse().ok()?))
}

pub(super) fn of_client(name: &Str, virtual_host: &str) -> Encoded {
    let route = route_name(virtual_host);
    let by_name = hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
        config_source: Some(from_here()),
        route_config_name: route.clone(),
    });
    let filters = vec![filter(FAULT, any(FAULT.1, &HttpFault::default())), router()];
    let listener = pb::Listener {
        name: name.to_string(),
        api_listener: Some(pb::ApiListener {
            api_listener: Some(any(HTTP_MANAGER, &manager(by_name, filters))),
        }),
        ..Default::default()
    };
    encoded(&listener, vec![ResourceKey::new(Kind::Route, route)])
}

fn manager(
    routes: hcm::http_connection_manager::RouteSpecifier,
    http_filters: Vec<hcm::HttpFilter>,
) -> hcm::HttpConnectionManager {
    hcm::HttpConnectionManager { route_specifier: Some(routes), http_filters, ..Default::default() }
}

fn router() -> hcm::HttpFilter {
    filter(ROUTER, any(ROUTER.1, &Router::default()))
}

fn filter((name, _): (&str, &str), config: proto::envoy::google::protobuf::Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// `None` where nothing is known of such a port: a server then does not open it.
pub(super) fn of_server(config: &Config, name: &Str, at: SocketAddr) -> Option<Encoded> {
    let (chain, manager) = chain(config, at.port())?;
    let listener = pb::Listener {
        name: name.to_string(),
        address: Some(socket_address(at)),
        filter_chains: vec![pb::FilterChain {
            filters: vec![pb::Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(pb::filter::ConfigType::TypedConfig(any(
                    HTTP_MANAGER,
                    &served(manager, chain.tls.is_some()),
                ))),
            }],
            transport_socket: chain.tls.is_some().then(|| socket(TLS_DOWNSTREAM, &mutual())),
            name: if chain.tls.is_some() { "mtls" } else { "plaintext" }.to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Some(encoded(&listener, Vec::new()))
}

/// How requests come to a port: in plaintext wherever that is admitted, since servers cannot tell it from TLS.
fn chain(config: &Config, port: u16) -> Option<(&FilterChain, &HttpManager)> {
    let inbound = config.listeners.iter().find(|l| &*l.name == "virtualInbound")?;
    let of = |port: Option<u16>| {
        let mut chains: Vec<_> = inbound
            .chains
            .iter()
            .filter(|c| c.matches.destination_port == port)
            .filter_map(|c| match &c.terminal {
                Terminal::Http(manager) => Some((c, &**manager)),
                _ => None,
            })
            .collect();
        chains.sort_by_key(|(c, _)| c.tls.is_some());
        chains.into_iter().next()
    };
    let declared = inbound.chains.iter().any(|c| c.matches.destination_port == Some(port));
    of(if declared { Some(port) } else { None })
}

/// Names of clients are not looked at here, which gRPC refuses; the roots are those of the mesh.
fn mutual() -> tls::DownstreamTlsContext {
    tls::DownstreamTlsContext {
        common_tls_context: Some(of_workload(&[])),
        require_client_certificate: Some(BoolValue { value: true }),
        ..Default::default()
    }
}

/// `proven`: clients show who they are.
fn served(of: &HttpManager, proven: bool) -> hcm::HttpConnectionManager {
    let rules = of.filters.iter().filter_map(|f| match &f.config {
        HttpFilterConfig::Rbac(rbac) => rules(rbac, proven),
        // Questions that gRPC cannot ask are answered by no.
        HttpFilterConfig::ExtAuthz(_) | HttpFilterConfig::JwtAuthn(_) => Some(nobody()),
        // These let nobody in whom they would keep out by themselves.
        HttpFilterConfig::Fault(_)
        | HttpFilterConfig::Cors(_)
        | HttpFilterConfig::GrpcStats { .. }
        | HttpFilterConfig::GrpcWeb
        | HttpFilterConfig::LocalRateLimit(_)
        | HttpFilterConfig::RateLimit(_)
        | HttpFilterConfig::Buffer(_)
        | HttpFilterConfig::HeaderToMetadata(_)
        | HttpFilterConfig::Compressor(_)
        | HttpFilterConfig::AuthzSettings(_)
        | HttpFilterConfig::JwtPerRoute(_)
        | HttpFilterConfig::ByHost(_)
        | HttpFilterConfig::IstioAlpn
        | HttpFilterConfig::IstioStats(_)
        | HttpFilterConfig::PeerMetadata(_)
        | HttpFilterConfig::Disabled
        | HttpFilterConfig::Inert { .. } => None,
    });
    let rules = rules.enumerate().map(|(at, rbac)| hcm::HttpFilter {
        name: format!("{}-{at}", RBAC.0),
        ..filter(RBAC, raw(RBAC.1, codec::encode_rbac(&rbac).to_vec()))
    });
    let here = routes::Route {
        r#match: Some(routes::RouteMatch {
            path_specifier: Some(routes::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        action: Some(routes::route::Action::NonForwardingAction(routes::NonForwardingAction {})),
        ..Default::default()
    };
    let all = routes::VirtualHost {
        name: "inbound".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![here],
        ..Default::default()
    };
    let config = routes::RouteConfiguration {
        name: "inbound".to_owned(),
        virtual_hosts: vec![all],
        ..Default::default()
    };
    let inline = hcm::http_connection_manager::RouteSpecifier::RouteConfig(config);
    manager(inline, rules.chain([router()]).collect())
}

/// What is enforced. Rules of which gRPC could not judge a part let nobody in, and so do those that keep
/// somebody out by name where nobody has one.
fn rules(rbac: &Rbac, proven: bool) -> Option<Rbac> {
    let rules = rbac.rules.as_ref()?;
    let blind = !proven && rules.action == RbacAction::Deny;
    let can = rules.policies.values().all(|p| {
        p.permissions.iter().all(knows_permission)
            && p.principals.iter().all(knows_principal)
            && !(blind && p.principals.iter().any(names_somebody))
    });
    let kept = || Rbac { rules: Some(rules.clone()), ..Rbac::default() };
    Some(if can { kept() } else { nobody() })
}

/// What no policy allows is denied, and there is none.
fn nobody() -> Rbac {
    Rbac { rules: Some(RbacRules::default()), ..Rbac::default() }
}

fn knows_permission(of: &Permission) -> bool {
    match of {
        Permission::All(list) | Permission::OneOf(list) => list.iter().all(knows_permission),
        Permission::Not(one) => knows_permission(one),
        Permission::PathTemplate(_) | Permission::Metadata(_) | Permission::ServerName(_) => false,
        Permission::Any
        | Permission::Header(_)
        | Permission::Path(_)
        | Permission::DestinationIp(_)
        | Permission::DestinationPort(_) => true,
        Permission::DestinationPorts(..) => false,
    }
}

fn names_somebody(of: &Principal) -> bool {
    match of {
        Principal::All(list) | Principal::OneOf(list) => list.iter().any(names_somebody),
        Principal::Not(one) => names_somebody(one),
        Principal::Authenticated(_) => true,
        _ => false,
    }
}

fn knows_principal(of: &Principal) -> bool {
    match of {
        Principal::All(list) | Principal::OneOf(list) => list.iter().all(knows_principal),
        Principal::Not(one) => knows_principal(one),
        Principal::Metadata(_) => false,
        Principal::Any
        | Principal::Authenticated(_)
        | Principal::SourceIp(_)
        | Principal::DirectRemoteIp(_)
        | Principal::RemoteIp(_)
        | Principal::Header(_)
        | Principal::Path(_) => true,
    }
}
