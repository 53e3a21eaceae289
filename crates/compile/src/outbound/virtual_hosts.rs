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
use registry::{Resolution, Service};
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
    let mut services: Vec<&Arc<Service>> = scope.services().filter(|s| serves(s, port)).collect();
    services.sort_by(|a, b| (&a.created, &a.host).cmp(&(&b.created, &b.host)));
    let mut hosts: Vec<VirtualHost> =
        services.into_iter().map(|s| of_service(b, scope, s, port)).collect();
    hosts.extend(without_service(b, scope, port));
    let mut taken = HashSet::new();
    for host in &mut hosts {
        host.domains.retain(|d| taken.insert(d.to_ascii_lowercase()));
    }
    hosts.retain(|h| !h.domains.is_empty());
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    if !taken.contains("*") {
        hosts.push(other_hosts(scope));
    }
    hosts
}

fn serves(service: &Service, port: u16) -> bool {
    let speaks = |p: Protocol| p.is_http() || p == Protocol::Undeclared;
    service.port(port).is_some_and(|p| speaks(p.protocol))
}

fn of_service(b: &mut Build<'_>, scope: &Scope, service: &Arc<Service>, port: u16) -> VirtualHost {
    let routed = scope.route_of(&service.host).cloned();
    let mut routes = match routed {
        Some(item) if !item.spec.http.is_empty() => {
            let gateways = [VirtualService::MESH.to_owned()];
            let place = Place { scope, gateways: &gateways, port, listener_port: port };
            http_routes(b, &place, &item)
        }
        _ => vec![default_route(b, &follow_alias(b, scope, service.clone()), port)],
    };
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

/// Hosts of VirtualServices that no service has; they are reached as plain HTTP on port 80.
fn without_service(b: &mut Build<'_>, scope: &Scope, port: u16) -> Vec<VirtualHost> {
    let mut hosts = Vec::new();
    if port != 80 {
        return hosts;
    }
    for item in scope.routes() {
        if item.spec.http.is_empty() {
            continue;
        }
        for host in item.hosts.iter().filter(|h| !has_service(scope, h)) {
            let gateways = [VirtualService::MESH.to_owned()];
            let place = Place { scope, gateways: &gateways, port, listener_port: port };
            let routes = http_routes(b, &place, item);
            let origin = b.origin(&item.object, "spec.hosts");
            let name = names::host_port(host.as_str(), port);
            hosts.push(virtual_host(name, vec![host.as_str().into()], routes, origin));
        }
    }
    hosts
}

fn has_service(scope: &Scope, host: &Host) -> bool {
    if host.is_wildcard() {
        scope.services().any(|s| host.covers(&s.host))
    } else {
        scope.service(host).is_some()
    }
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
    let whole = |(ip, bits): &&(std::net::IpAddr, u8)| {
        *bits == if ip.is_ipv4() { 32 } else { 128 } && b.proxy.speaks(*ip)
    };
    names.extend(service.addresses.iter().filter(whole).map(|(ip, _)| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    names.into_iter().map(Str::from).collect()
}

/// Requests to hosts that nothing describes go where they were going, or are refused.
fn other_hosts(scope: &Scope) -> VirtualHost {
    let (name, route) = match scope.outbound {
        OutboundMode::RegistryOnly => ("block_all", blocked()),
        OutboundMode::AllowAny | OutboundMode::AllowAnyDynamicDns => {
            ("allow_any", plain_route("allow_any", names::PASSTHROUGH.into(), "".into()))
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
