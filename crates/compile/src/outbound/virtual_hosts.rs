//! Route configurations of a sidecar's outbound side: a virtual host for each service of a port,
//! under all the names that its clients may use.

use super::plan::Plan;
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
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes that a direct response may have.
const MAX_DIRECT_BODY: u32 = 1 << 20;

pub(super) fn route_configs(
    b: &mut Build<'_>,
    scope: &Scope,
    plan: &Plan,
) -> Vec<Arc<RouteConfig>> {
    let mut configs = Vec::new();
    for port in &plan.http_ports {
        let hosts = of_port(b, scope, *port);
        configs.push(Arc::new(config(port.to_string().into(), hosts)));
    }
    for (service, port) in &plan.detected {
        let mut host = of_service(b, scope, service, *port);
        // The address led here, so whatever Host the client writes is meant for this service.
        host.domains = vec!["*".into()];
        let name = names::host_port(service.host.as_str(), *port);
        configs.push(Arc::new(config(name, vec![host])));
    }
    configs
}

pub(crate) fn config(name: Str, virtual_hosts: Vec<VirtualHost>) -> RouteConfig {
    RouteConfig {
        name,
        virtual_hosts,
        ignore_port_in_host_matching: true,
        max_direct_response_body: Some(MAX_DIRECT_BODY),
        validate_clusters: Some(false),
        ..RouteConfig::default()
    }
}

/// All services on a port, and what is to become of other hosts. No domain may stand twice; the
/// older service keeps it.
fn of_port(b: &mut Build<'_>, scope: &Scope, port: u16) -> Vec<VirtualHost> {
    let mut services: Vec<&Arc<Service>> =
        scope.services().filter(|s| serves(s, port) && scope.spots.serve(port, &s.host)).collect();
    services.sort_by(|a, b| (&a.created, &a.host).cmp(&(&b.created, &b.host)));
    let mut hosts: Vec<VirtualHost> =
        services.iter().map(|s| of_service(b, scope, s, port)).collect();
    hosts.extend(without_service(b, scope, &services, port));
    let mut taken = HashSet::new();
    for host in &mut hosts {
        host.domains.retain(|d| taken.insert(d.to_ascii_lowercase()));
    }
    hosts.retain(|h| !h.domains.is_empty());
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    if !taken.contains("*") {
        hosts.push(other_hosts(b, scope));
    }
    hosts
}

fn serves(service: &Service, port: u16) -> bool {
    let speaks = |p: Protocol| p.is_http() || p == Protocol::Undeclared;
    service.port(port).is_some_and(|p| speaks(p.protocol))
}

fn of_service(b: &mut Build<'_>, scope: &Scope, service: &Arc<Service>, port: u16) -> VirtualHost {
    let mut routes = match scope.route_of(&service.host).cloned() {
        Some(item) => routes_at(b, scope, &item, port),
        None => Vec::new(),
    };
    if routes.is_empty() {
        // No rule is about this client and port: the service is reached as if there were none.
        routes.push(default_route(b, &follow_alias(b, scope, service.clone()), port));
    }
    routes.shrink_to_fit();
    let origin = b.origin(&service.object, "spec.ports");
    let name = names::host_port(service.host.as_str(), port);
    virtual_host(name, domains(b, service), routes, origin)
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

fn routes_at(
    b: &mut Build<'_>,
    scope: &Scope,
    item: &Arc<Item<VirtualService>>,
    port: u16,
) -> Vec<Route> {
    let gateways = [VirtualService::MESH.to_owned()];
    http_routes(b, &Place { scope, gateways: &gateways, port, tls: false }, item)
}

/// Hosts of VirtualServices that no service has on this port: they are reached on the ports that the
/// other hosts of their VirtualService have, and on 80.
fn without_service(
    b: &mut Build<'_>,
    scope: &Scope,
    services: &[&Arc<Service>],
    port: u16,
) -> Vec<VirtualHost> {
    let named: HashSet<&Host> = services.iter().map(|s| &s.host).collect();
    let served = |host: &Host| match host.is_wildcard() {
        true => services.iter().any(|s| host.covers(&s.host)),
        false => named.contains(host),
    };
    let mut hosts = Vec::new();
    for item in scope.routes() {
        let others: Vec<&Host> = item.hosts.iter().filter(|h| !served(h)).collect();
        if others.is_empty() || (port != 80 && others.len() == item.hosts.len()) {
            continue;
        }
        let routes = routes_at(b, scope, item, port);
        if routes.is_empty() {
            continue;
        }
        let origin = b.origin(&item.object, "spec.hosts");
        hosts.extend(others.into_iter().map(|host| {
            let name = names::host_port(host.as_str(), port);
            virtual_host(name, vec![host.as_str().into()], routes.clone(), origin)
        }));
    }
    hosts
}

/// The names of a service: its host, the short forms that resolve in the client's namespace, and its
/// addresses.
fn domains(b: &Build<'_>, service: &Service) -> Vec<Str> {
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
    let whole = |(ip, bits): &(std::net::IpAddr, u8)| {
        *bits == if ip.is_ipv4() { 32 } else { 128 } && b.proxy.speaks(*ip)
    };
    names.extend(b.proxy.addresses(service).into_iter().filter(whole).map(|(ip, _)| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    names.into_iter().map(Str::from).collect()
}

/// Requests to hosts that nothing describes go where they were going, or are refused.
fn other_hosts(b: &Build<'_>, scope: &Scope) -> VirtualHost {
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
