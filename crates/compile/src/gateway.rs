//! A gateway: the servers of all Gateway objects that select it, merged by the port that its pod
//! listens on, with the VirtualServices that bind to them.

mod auto;
mod hosts;
mod servers;
mod tls;

pub(crate) use tls::context_of as tls_context;

use crate::authentication::Tokens;
use crate::authorization::Guard;
use crate::build::Build;
use crate::chains::without_overlaps;
use crate::cluster::{self, Clusters};
use crate::half::Part;
use crate::http::{Side, manager, speak_web};
use crate::outbound::{empty_listener, tcp_chain_of, with_options};
use crate::route::{Place, destinations, tcp_routes, tls_routes};
use crate::scope::Scope;
use crate::{log, names};
use api::MeshConfig;
use base::{Host, OriginId};
use ir::{
    Address, ChainMatch, FilterChain, Inspector, Listener, ListenerFilters, Preamble, RouteConfig,
    RouteSource, Str, TcpDestination, Terminal,
};
pub use servers::listening_port;
use servers::{Bound, PortGroup, Transport};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(crate) fn compile(b: &mut Build<'_>) -> Part {
    let scope = Scope::of_gateway(b.world, b.proxy);
    let groups = servers::of(b);
    let all = groups.iter().flat_map(|g| &g.servers);
    let guard = Guard::of(b, all.into_iter().any(|s| !s.transport.is_http()));
    let tokens = Tokens::of(b);
    let mut part = Part::default();
    for group in &groups {
        if let Some(mut listener) = listener(b, &scope, group) {
            guard.stand_in(&mut listener.chains);
            tokens.stand_in(&mut listener.chains);
            part.listeners.push(Arc::new(listener));
        }
        part.routes.extend(route_configs(b, &scope, group));
    }
    part.served = part.routes.iter().flat_map(|r| served(r)).collect();
    let clusters = clusters(b, &scope, &groups, guard.asks);
    part.hosts = clusters.assignments.iter().map(|a| a.service.host.clone()).collect();
    part.clusters = clusters.list;
    part.assignments = clusters.assignments;
    part
}

/// The domains that have routes.
fn served(config: &RouteConfig) -> impl Iterator<Item = Str> {
    let hosts = config.virtual_hosts.iter().filter(|h| !h.routes.is_empty());
    hosts.flat_map(|h| &h.domains).map(|d| format!("{}/{d}", config.name).into())
}

/// Those that the routes of the gateway lead to and who is asked about access, and no others.
fn clusters(
    b: &mut Build<'_>,
    scope: &Scope,
    groups: &[PortGroup],
    asked: Option<Host>,
) -> Clusters {
    let mut hosts: BTreeSet<Host> = asked.into_iter().collect();
    for bound in groups.iter().flat_map(|g| &g.servers) {
        for item in bound.routes(b) {
            for (destination, namespace) in destinations(b.world, &item) {
                hosts.extend(Host::resolve(&destination.host, &namespace, &b.world.domain));
            }
        }
    }
    let mut clusters = Clusters::default();
    let mut done: BTreeSet<Host> = BTreeSet::new();
    for host in &hosts {
        let Some(service) = scope.service(host).cloned() else { continue };
        let service = cluster::follow_alias(b, scope, service);
        if done.insert(service.host.clone()) {
            cluster::of_service(b, &service, &mut clusters);
        }
    }
    for bound in groups.iter().flat_map(|g| &g.servers).filter(|s| s.is_auto()) {
        auto::clusters(b, scope, bound, &mut clusters);
    }
    clusters.list.push(cluster::black_hole());
    clusters
}

fn listener(b: &mut Build<'_>, scope: &Scope, group: &PortGroup) -> Option<Listener> {
    let mut chains = Vec::new();
    if group.servers.iter().any(|s| s.transport == Transport::Http) {
        chains.push(http_chain(b, group, group.http_route_name(), ChainMatch::default()));
    }
    for bound in &group.servers {
        match bound.transport {
            Transport::Http => {}
            Transport::HttpsTerminated => chains.extend(https_chain(b, group, bound)),
            Transport::TlsTerminated => chains.extend(terminated_tcp(b, scope, bound)),
            Transport::Passthrough => chains.extend(passthrough(b, scope, bound)),
            Transport::Tcp => chains.extend(tcp(b, scope, bound, None)),
        }
    }
    let chains = without_overlaps(b, chains);
    if chains.is_empty() {
        return None;
    }
    let detects = group.servers.iter().any(|s| s.transport.is_tls());
    let mesh = &b.world.mesh.config;
    let second = b.proxy.second_wildcard().filter(|_| group.bind.is_none());
    let name = names::listener(group.ip, group.port);
    Some(Listener {
        additional_addresses: second
            .into_iter()
            .map(|ip| Address::Ip(SocketAddr::new(ip, group.port)))
            .collect(),
        bind_to_port: true,
        filters: ListenerFilters {
            tls_inspector: detects.then(Inspector::default),
            proxy_protocol: preamble(mesh),
            ..ListenerFilters::default()
        },
        chains,
        access_log: log::of_listener(mesh),
        origin: group.servers.first().map_or(OriginId::NONE, |s| s.origin),
        ..empty_listener(name, group.ip, group.port)
    })
}

/// Who stands in front of the gateways says whom it speaks for.
fn preamble(mesh: &MeshConfig) -> Option<Preamble> {
    let topology = mesh.default_config.gateway_topology.as_ref()?;
    topology.proxy_protocol.map(|_| Preamble::default())
}

fn http_chain(b: &Build<'_>, group: &PortGroup, route: Str, matches: ChainMatch) -> FilterChain {
    let stat_prefix = format!("outbound_{}_{}", group.ip, group.port).into();
    let routes = RouteSource::Rds(route);
    let mut manager = manager(&b.world.mesh.config, b.proxy, Side::Gateway, stat_prefix, routes);
    if group.servers.iter().any(|s| s.server.port.protocol.eq_ignore_ascii_case("GRPC-WEB")) {
        speak_web(&mut manager);
    }
    FilterChain { matches, ..FilterChain::new(Terminal::Http(Box::new(manager))) }
}

/// Connections that ask for one of the server's hosts.
fn by_sni(bound: &Bound) -> ChainMatch {
    ChainMatch {
        transport_protocol: "tls".into(),
        server_names: bound.server_names(),
        ..ChainMatch::default()
    }
}

fn https_chain(b: &mut Build<'_>, group: &PortGroup, bound: &Bound) -> Option<FilterChain> {
    let context = match tls::context(b.world, bound, true) {
        Ok(context) => context,
        Err(finding) => {
            b.say(&bound.gateway.object, *finding);
            return None;
        }
    };
    let mut chain = http_chain(b, group, bound.https_route_name(), by_sni(bound));
    chain.tls = Some(context);
    chain.origin = bound.origin;
    Some(chain)
}

fn terminated_tcp(b: &mut Build<'_>, scope: &Scope, bound: &Bound) -> Vec<FilterChain> {
    match tls::context(b.world, bound, false) {
        Ok(context) => {
            let mut chains = tcp(b, scope, bound, Some(by_sni(bound)));
            chains.iter_mut().for_each(|c| c.tls = Some(context.clone()));
            chains
        }
        Err(finding) => {
            b.say(&bound.gateway.object, *finding);
            Vec::new()
        }
    }
}

/// TLS that goes on to the destination that its server name chooses.
fn passthrough(b: &mut Build<'_>, scope: &Scope, bound: &Bound) -> Vec<FilterChain> {
    if bound.is_auto() {
        return auto::chains(b, scope, bound);
    }
    let gateways = [bound.gateway_name()];
    let mut chains = Vec::new();
    for item in bound.routes(b) {
        let place = place(scope, &gateways, bound);
        for route in tls_routes(b, &place, &item) {
            let takes = |sni: &&Str| {
                Host::parse(sni).is_ok_and(|h| bound.hosts.iter().any(|s| s.host.overlaps(&h)))
            };
            let names: Vec<Str> = route.sni.iter().filter(takes).cloned().collect();
            if names.is_empty() && !route.sni.is_empty() {
                continue;
            }
            let mut chain = with_options(tcp_chain(b, route.to, route.origin), route.options);
            chain.matches.transport_protocol = "tls".into();
            chain.matches.server_names = names;
            chain.matches.destination_ranges = route.subnets;
            chains.push(chain);
        }
    }
    chains
}

fn tcp(
    b: &mut Build<'_>,
    scope: &Scope,
    bound: &Bound,
    matches: Option<ChainMatch>,
) -> Vec<FilterChain> {
    let gateways = [bound.gateway_name()];
    let mut chains = Vec::new();
    for item in bound.routes(b) {
        let place = place(scope, &gateways, bound);
        for route in tcp_routes(b, &place, &item) {
            let mut chain = with_options(tcp_chain(b, route.to, route.origin), route.options);
            chain.matches = matches.clone().unwrap_or_default();
            chain.matches.destination_ranges = route.subnets;
            chains.push(chain);
        }
    }
    chains
}

fn tcp_chain(b: &Build<'_>, to: TcpDestination, origin: OriginId) -> FilterChain {
    let stat_prefix = match &to {
        TcpDestination::Cluster(name) => name.clone(),
        TcpDestination::Weighted(list) => list.first().map_or("".into(), |c| c.name.clone()),
    };
    FilterChain { origin, ..tcp_chain_of(b, "", Side::Gateway, stat_prefix, to) }
}

fn place<'a>(scope: &'a Scope, gateways: &'a [String], bound: &Bound) -> Place<'a> {
    Place { scope, gateways, port: bound.server_port, tls: bound.transport.is_tls() }
}

/// One for all plaintext HTTP servers of the port, and one for each HTTPS server.
fn route_configs(b: &mut Build<'_>, scope: &Scope, group: &PortGroup) -> Vec<Arc<RouteConfig>> {
    let mut configs = Vec::new();
    let plain: Vec<&Bound> =
        group.servers.iter().filter(|s| s.transport == Transport::Http).collect();
    if !plain.is_empty() {
        configs.push(hosts::route_config(b, scope, group, group.http_route_name(), &plain));
    }
    for bound in group.servers.iter().filter(|s| s.transport == Transport::HttpsTerminated) {
        configs.push(hosts::route_config(b, scope, group, bound.https_route_name(), &[bound]));
    }
    configs.into_iter().map(Arc::new).collect()
}

/// The address that a server binds to.
fn bind_address(b: &Build<'_>, written: &str) -> Option<IpAddr> {
    if written.is_empty() { Some(b.proxy.wildcard()) } else { written.parse().ok() }
}
