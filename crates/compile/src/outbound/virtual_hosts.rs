//! Virtual hosts of a sidecar's outbound side: one for each service of a port, under all the names
//! that its clients may use, and those of hosts that only VirtualServices have.

use crate::build::Build;
use crate::cluster::follow_alias;
use crate::names;
use crate::route::{Place, default_route, http_routes, plain_route};
use crate::scope::Scope;
use api::{OutboundMode, Protocol, VirtualService};
use base::{Host, OriginId};
use ir::{
    Action, DirectResponse, HeaderOps, Metadata, PathMatch, Route, RouteConfig, RouteMatch, Str,
    VirtualHost,
};
use registry::{Item, Resolution, Service};
use std::sync::Arc;

/// Bytes that a direct response may have.
const MAX_DIRECT_BODY: u32 = 1 << 20;

pub(crate) fn config(name: Str, virtual_hosts: Vec<Arc<VirtualHost>>) -> RouteConfig {
    RouteConfig {
        name,
        virtual_hosts,
        ignore_port_in_host_matching: true,
        max_direct_response_body: Some(MAX_DIRECT_BODY),
        validate_clusters: Some(false),
        ..RouteConfig::default()
    }
}

pub(super) fn serves(service: &Service, port: u16) -> bool {
    let speaks = |p: Protocol| p.is_http() || p == Protocol::Undeclared;
    service.port(port).is_some_and(|p| speaks(p.protocol))
}

pub(super) fn virtual_host_name(host: &Host, port: u16) -> Str {
    names::host_port(host.as_str(), port)
}

/// `item`: the VirtualService that is about the service.
pub(super) fn of_service(
    b: &mut Build<'_>,
    scope: &Scope,
    service: &Arc<Service>,
    item: Option<&Arc<Item<VirtualService>>>,
    port: u16,
    domains: Vec<Str>,
) -> VirtualHost {
    let mut routes = match item {
        Some(item) => routes_at(b, scope, item, port),
        None => Vec::new(),
    };
    if routes.is_empty() {
        // No rule is about this client and port: the service is reached as if there were none.
        routes.push(default_route(b, &follow_alias(b, scope, service.clone()), port));
    }
    routes.shrink_to_fit();
    let origin = b.origin(&service.object, "spec.ports");
    virtual_host(virtual_host_name(&service.host, port), domains, routes, origin)
}

/// Of a host that no service has.
pub(super) fn of_rule(
    b: &mut Build<'_>,
    item: &Item<VirtualService>,
    host: &Host,
    port: u16,
    routes: &[Route],
) -> VirtualHost {
    let origin = b.origin(&item.object, "spec.hosts");
    let domains = vec![host.as_str().into()];
    virtual_host(virtual_host_name(host, port), domains, routes.to_vec(), origin)
}

pub(crate) fn virtual_host(
    name: Str,
    domains: Vec<Str>,
    routes: Vec<Route>,
    origin: OriginId,
) -> VirtualHost {
    VirtualHost {
        name,
        domains,
        routes,
        include_attempt_count: true,
        origin,
        ..VirtualHost::default()
    }
}

pub(super) fn routes_at(
    b: &mut Build<'_>,
    scope: &Scope,
    item: &Arc<Item<VirtualService>>,
    port: u16,
) -> Vec<Route> {
    let gateways = [VirtualService::MESH.to_owned()];
    http_routes(b, &Place { scope, gateways: &gateways, port, tls: false }, item)
}

/// The names of a service: its host, the short forms that resolve in the client's namespace, and its
/// addresses.
pub(super) fn domains(b: &Build<'_>, service: &Service) -> Vec<Str> {
    let host = service.host.as_str();
    let mut names = vec![host.to_owned()];
    let suffix = format!(".{}.svc.{}", service.namespace, b.world.domain);
    if let Some(name) = host.strip_suffix(&suffix).filter(|_| service.kubernetes) {
        if *service.namespace == *b.proxy.namespace {
            names.push(name.to_owned());
        }
        names.push(format!("{name}.{}.svc", service.namespace));
        names.push(format!("{name}.{}", service.namespace));
        // As resolvers write a name that is complete.
        names.push(format!("{host}."));
    }
    if service.resolution == Resolution::Headless {
        // Its pods have names too.
        names.extend(names.clone().iter().map(|n| format!("*.{n}")));
    }
    let reached = b.proxy.whole_addresses(service).filter(|ip| b.proxy.speaks(*ip));
    names.extend(reached.map(|ip| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    names.into_iter().map(Str::from).collect()
}

/// Requests to hosts that nothing describes go where they were going, or are refused.
pub(super) fn other_hosts(b: &Build<'_>, scope: &Scope) -> VirtualHost {
    let (name, route) = match scope.outbound {
        OutboundMode::RegistryOnly => ("block_all", blocked()),
        OutboundMode::AllowAny | OutboundMode::AllowAnyDynamicDns => {
            ("allow_any", plain_route("allow_any", super::fallback(b, scope), "".into()))
        }
    };
    virtual_host(name.into(), vec!["*".into()], vec![route], OriginId::NONE)
}

fn blocked() -> Route {
    Route {
        name: "block_all".into(),
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        action: Action::Direct(DirectResponse { status: 502, body: Default::default() }),
        headers: HeaderOps::default(),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: Metadata::new(),
        stat_prefix: "".into(),
        origin: OriginId::NONE,
    }
}
