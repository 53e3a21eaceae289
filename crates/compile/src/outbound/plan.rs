//! Which addresses and ports are listened on for whom. HTTP services share the wildcard address of
//! their port, since the Host header tells them apart; others need an address of their own, or the
//! oldest of them gets the port.

use crate::build::Build;
use crate::cluster::{TcpOptions, follow_alias, tcp_options};
use crate::names;
use crate::route::{L4Route, Place, tcp_routes, tls_routes};
use crate::scope::{Scope, Spot};
use api::{Protocol, VirtualService};
use base::{Finding, OriginId};
use ir::{Cidr, Str, TcpDestination};
use registry::{InstanceAddress, Resolution, Service, ServicePort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub binds: BTreeMap<(IpAddr, u16), Bind>,
    /// Ports that have a route configuration of their own, for all HTTP services on it.
    pub http_ports: BTreeSet<u16>,
    /// Services whose port is detected, each with a route configuration of its own.
    pub detected: Vec<(Arc<Service>, u16)>,
}

/// What is served at one address and port.
#[derive(Debug, Default)]
pub(super) struct Bind {
    /// The name of the route configuration.
    pub http: Option<Str>,
    pub tls: Vec<L4Route>,
    pub tcp: Vec<TcpChain>,
    /// The socket is a real one, since connections are not captured.
    pub bound: bool,
    pub origin: OriginId,
}

#[derive(Debug)]
pub(super) struct TcpChain {
    pub subnets: Vec<Cidr>,
    pub to: TcpDestination,
    pub options: TcpOptions,
    pub origin: OriginId,
}

impl Plan {
    pub fn of(b: &mut Build<'_>, scope: &Scope) -> Plan {
        let mut plan = Plan::default();
        // The oldest first: on a conflict it keeps the port.
        let mut services: Vec<&Arc<Service>> = scope.services().collect();
        services.sort_by(|a, b| (&a.created, &a.host).cmp(&(&b.created, &b.host)));
        for service in services {
            for port in &service.ports {
                let spot = scope.spots.at(port.number, &service.host);
                match spot.protocol.unwrap_or(port.protocol) {
                    _ if port.protocol == Protocol::Udp => {}
                    p if p.is_http() => plan.add_http(b, spot, port.number),
                    Protocol::Undeclared => plan.add_detected(b, scope, service, port),
                    _ => plan.add_tcp(b, scope, service, port),
                }
            }
        }
        plan
    }

    fn add_http(&mut self, b: &Build<'_>, spot: Spot, port: u16) {
        if b.is_reserved(port) {
            return;
        }
        self.http_ports.insert(port);
        let everywhere = || [Some(b.proxy.wildcard()), b.proxy.second_wildcard()];
        let ips = spot.ip.map_or_else(everywhere, |ip| [Some(ip), None]);
        for ip in ips.into_iter().flatten() {
            let bind = self.binds.entry((ip, port)).or_default();
            bind.bound = spot.bound;
            bind.http.get_or_insert_with(|| Str::from(port.to_string()));
        }
    }

    fn add_detected(
        &mut self,
        b: &mut Build<'_>,
        scope: &Scope,
        service: &Arc<Service>,
        port: &ServicePort,
    ) {
        let addresses = addresses(b, service, port);
        let spot = scope.spots.at(port.number, &service.host);
        if addresses.is_empty() || spot.ip.is_some() {
            // Without an address the Host header is all there is.
            self.add_http(b, spot, port.number);
            return;
        }
        self.detected.push((service.clone(), port.number));
        let route = names::host_port(service.host.as_str(), port.number);
        let (tls, tcp) = l4(b, scope, service, port);
        let origin = b.origin(&service.object, "spec.ports");
        for ip in addresses {
            let bind = self.binds.entry((ip, port.number)).or_default();
            bind.origin = origin;
            bind.http.get_or_insert_with(|| route.clone());
            bind.tls.extend(tls.iter().cloned());
            bind.add_tcp(&tcp);
        }
    }

    fn add_tcp(
        &mut self,
        b: &mut Build<'_>,
        scope: &Scope,
        service: &Arc<Service>,
        port: &ServicePort,
    ) {
        let spot = scope.spots.at(port.number, &service.host);
        let own = if spot.ip.is_some() { Vec::new() } else { addresses(b, service, port) };
        let (mut tls, tcp) = l4(b, scope, service, port);
        let origin = b.origin(&service.object, "spec.ports");
        let ranges = ranges(service);
        let shared = own.is_empty();
        if shared && service.kubernetes && spot.ip.is_none() {
            // A headless service without endpoints: there is nothing to listen on.
            return;
        }
        let places = if shared { vec![spot.ip.unwrap_or(b.proxy.wildcard())] } else { own };
        if shared && b.is_reserved(port.number) {
            return;
        }
        if shared && port.protocol.is_tls() && tls.is_empty() {
            tls.extend(by_server_name(b, service, port, origin));
        }
        for ip in places {
            let bind = self.binds.entry((ip, port.number)).or_default();
            (bind.origin, bind.bound) = (origin, spot.bound);
            if shared && port.protocol.is_tls() {
                bind.tls.extend(tls.iter().cloned());
                continue;
            }
            bind.tls.extend(tls.iter().cloned());
            let chains: Vec<TcpChain> = tcp.iter().map(|c| c.within(&ranges)).collect();
            if !bind.add_tcp(&chains) {
                let say = format!(
                    "TCP port {} has no address of its own, and an older service has the port; \
                     give the service addresses",
                    port.number
                );
                b.say(&service.object, Finding::warning("spec.ports", say));
            }
        }
    }
}

impl Bind {
    /// False when connections could not be told from those of an older service.
    fn add_tcp(&mut self, chains: &[TcpChain]) -> bool {
        let taken = |c: &TcpChain| self.tcp.iter().any(|t| t.subnets == c.subnets);
        if chains.iter().any(taken) {
            return false;
        }
        self.tcp.extend(chains.iter().map(|c| c.within(&[])));
        true
    }
}

impl TcpChain {
    /// The same, for these ranges where it has none of its own.
    fn within(&self, ranges: &[Cidr]) -> TcpChain {
        let subnets = if self.subnets.is_empty() { ranges } else { &self.subnets };
        TcpChain {
            subnets: subnets.to_vec(),
            to: self.to.clone(),
            options: self.options.clone(),
            origin: self.origin,
        }
    }
}

/// The addresses that belong to the service alone: its virtual ones, or those of its endpoints where
/// the client chooses among them.
fn addresses(b: &Build<'_>, service: &Service, port: &ServicePort) -> Vec<IpAddr> {
    let speaks = |ip: &IpAddr| b.proxy.speaks(*ip);
    if service.resolution != Resolution::Headless {
        return b.proxy.whole_addresses(service).filter(speaks).collect();
    }
    let known = b.world.endpoints.get(&service.key());
    let instances = known.iter().flat_map(|e| &e.instances);
    let mut ips: Vec<IpAddr> = instances
        .filter(|i| i.ready && *i.port_name == *port.name && i.port == port.number)
        .filter_map(|i| match &i.address {
            InstanceAddress::Ip(ip) => Some(*ip),
            _ => None,
        })
        .filter(speaks)
        // There the application itself listens; a captured connection to it never comes by here.
        .filter(|ip| !(b.proxy.uncaptured && b.proxy.ips.contains(ip)))
        .collect();
    ips.dedup();
    ips
}

/// Address ranges of ServiceEntries.
fn ranges(service: &Service) -> Vec<Cidr> {
    let part = |(ip, bits): &&(IpAddr, u8)| *bits < if ip.is_ipv4() { 32 } else { 128 };
    service
        .addresses
        .iter()
        .filter(part)
        .map(|(base, bits)| Cidr { base: *base, bits: *bits })
        .collect()
}

/// TLS that is passed on by the name that the client asks for.
fn by_server_name(
    b: &Build<'_>,
    service: &Service,
    port: &ServicePort,
    origin: OriginId,
) -> Option<L4Route> {
    let cluster = names::outbound_cluster(port.number, "", service.host.as_str());
    Some(L4Route {
        sni: vec![service.host.as_str().into()],
        subnets: Vec::new(),
        to: TcpDestination::Cluster(cluster),
        options: tcp_options(b, service, port.number, ""),
        origin,
    })
}

/// Where connections to the service go: by its VirtualService, else to its cluster.
fn l4(
    b: &mut Build<'_>,
    scope: &Scope,
    service: &Arc<Service>,
    port: &ServicePort,
) -> (Vec<L4Route>, Vec<TcpChain>) {
    let gateways = [VirtualService::MESH.to_owned()];
    let place = Place { scope, gateways: &gateways, port: port.number, tls: false };
    let (mut tls, mut tcp) = (Vec::new(), Vec::new());
    if let Some(item) = scope.rules_of(&service.host).map(|r| r.item().clone()) {
        tls = tls_routes(b, &place, &item);
        tcp = tcp_routes(b, &place, &item);
    }
    let mut chains: Vec<TcpChain> = tcp
        .into_iter()
        .map(|r| TcpChain { subnets: r.subnets, to: r.to, options: r.options, origin: r.origin })
        .collect();
    if !chains.iter().any(|c| c.subnets.is_empty()) {
        let target = follow_alias(b, scope, service.clone());
        let cluster = names::outbound_cluster(port.number, "", target.host.as_str());
        let origin = b.origin(&service.object, "spec.ports");
        let to = TcpDestination::Cluster(cluster);
        let options = tcp_options(b, &target, port.number, "");
        chains.push(TcpChain { subnets: Vec::new(), to, options, origin });
    }
    (tls, chains)
}
