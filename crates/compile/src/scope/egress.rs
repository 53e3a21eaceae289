//! The egress side of a Sidecar: which hosts it lets through, on which ports, and where it listens for them.

use super::pick;
use crate::Proxy;
use api::{CaptureMode, EgressListener, Protocol, Sidecar};
use base::Host;
use registry::{Service, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Where a sidecar listens for its application's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Instead of the addresses of services and the wildcard.
    pub ip: Option<IpAddr>,
    /// Connections are not captured: the socket is a real one.
    pub bound: bool,
    pub protocol: Option<Protocol>,
}

/// The spots of ports with a listener of their own, and of all others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spots {
    own: HashMap<u16, Own>,
    rest: Spot,
}

/// A port with a listener of its own, and the hosts that it alone serves.
#[derive(Clone, Debug)]
struct Own {
    spot: Spot,
    hosts: HashSet<Host>,
}

impl Spots {
    pub fn of<'a>(
        proxy: &Proxy,
        sidecar: Option<&Sidecar>,
        egress: &Egress<'_>,
        services: impl Iterator<Item = &'a Arc<Service>> + Clone,
    ) -> Spots {
        let spot = |listener: &EgressListener| {
            let bound = proxy.uncaptured || listener.capture_mode == CaptureMode::None;
            let protocol = listener.port.as_ref().and_then(|p| Protocol::parse(&p.protocol));
            let ip = listener.bind.parse().ok();
            Spot { ip: ip.or_else(|| bound.then(|| proxy.loopback())), bound, protocol }
        };
        let mut spots = Spots { rest: spot(&EgressListener::default()), ..Spots::default() };
        for listener in sidecar.iter().flat_map(|s| &s.egress) {
            match port_of(listener) {
                Some(port) => {
                    let by = |s: &&Arc<Service>| egress.imports_by(port, s);
                    let hosts = services.clone().filter(by).map(|s| s.host.clone()).collect();
                    spots.own.entry(port).or_insert(Own { spot: spot(listener), hosts });
                }
                None => spots.rest = spot(listener),
            }
        }
        spots
    }

    pub fn at(&self, port: u16, host: &Host) -> Spot {
        let own = self.own.get(&port).filter(|o| o.hosts.contains(host));
        own.map_or(self.rest, |o| o.spot)
    }

    /// Whether the routes of the port are for the host, too.
    pub fn serve(&self, port: u16, host: &Host) -> bool {
        self.own.get(&port).is_none_or(|o| o.hosts.contains(host))
    }
}

/// The hosts that a Sidecar lets through; without one, all.
pub(crate) struct Egress<'a> {
    pub world: &'a Snapshot,
    pub own: &'a str,
    pub rules: Option<Vec<EgressHost<'a>>>,
}

pub(crate) struct EgressHost<'a> {
    namespace: &'a str,
    host: Host,
    excluded: bool,
    /// Only this port of the services.
    port: Option<u16>,
}

impl<'a> Egress<'a> {
    pub fn of(world: &'a Snapshot, proxy: &'a Proxy, sidecar: Option<&'a Sidecar>) -> Egress<'a> {
        let written = sidecar.map(|s| s.egress.as_slice()).filter(|e| !e.is_empty());
        let rules = written.map(|e| e.iter().flat_map(egress_hosts).collect());
        Egress { world, own: &proxy.namespace, rules }
    }

    /// The ports of the service that are let through; `Some(None)` is all.
    fn ports(&self, namespace: &str, host: &Host) -> Option<Option<HashSet<u16>>> {
        let Some(rules) = &self.rules else { return Some(None) };
        let fits = |r: &&EgressHost<'_>| self.names(r, namespace) && r.host.covers(host);
        let fitting: Vec<&EgressHost<'_>> = rules.iter().filter(fits).collect();
        if fitting.is_empty() || fitting.iter().any(|r| r.excluded) {
            return None;
        }
        Some(fitting.iter().map(|r| r.port).collect())
    }

    pub fn takes_overlapping(&self, namespace: &str, host: &Host) -> bool {
        let Some(rules) = &self.rules else { return true };
        let fits =
            |r: &EgressHost<'_>| !r.excluded && self.names(r, namespace) && r.host.overlaps(host);
        rules.iter().any(fits)
    }

    /// By the listener of this port.
    fn imports_by(&self, port: u16, service: &Service) -> bool {
        let fits = |r: &EgressHost<'_>| {
            r.port == Some(port)
                && !r.excluded
                && self.names(r, &service.namespace)
                && r.host.covers(&service.host)
        };
        self.rules.iter().flatten().any(fits)
    }

    fn names(&self, rule: &EgressHost<'_>, namespace: &str) -> bool {
        match rule.namespace {
            "*" => true,
            "." => namespace == self.own,
            "~" => false,
            name => name == namespace,
        }
    }

    pub fn services(&self, world: &Snapshot, proxy: &Proxy) -> BTreeMap<Host, Arc<Service>> {
        let mut seen = BTreeMap::new();
        let named = self.rules.as_ref().filter(|r| r.iter().all(|r| !r.host.is_wildcard()));
        let all: Box<dyn Iterator<Item = &Arc<Service>>> = match named {
            // A scope of a few names must not cost a walk through all services.
            Some(rules) => {
                Box::new(rules.iter().flat_map(|r| self.world.services.of_host(&r.host)))
            }
            None => Box::new(self.world.services.iter()),
        };
        for service in all {
            if seen.contains_key(&service.host) || service.ports.is_empty() {
                continue;
            }
            let takes = |s: &Service| self.ports(&s.namespace, &s.host).is_some();
            let Some(best) = pick(world, &service.host, &proxy.namespace, takes) else { continue };
            let ports = self.ports(&best.namespace, &best.host).flatten();
            seen.insert(service.host.clone(), only_ports(best, ports));
        }
        seen
    }
}

fn only_ports(service: &Arc<Service>, ports: Option<HashSet<u16>>) -> Arc<Service> {
    let Some(ports) = ports else { return service.clone() };
    let mut narrowed = (**service).clone();
    narrowed.ports.retain(|p| ports.contains(&p.number));
    Arc::new(narrowed)
}

/// `namespace/host`, where `~` before the host excludes it.
fn egress_hosts(listener: &EgressListener) -> impl Iterator<Item = EgressHost<'_>> {
    let port = port_of(listener);
    listener.hosts.iter().filter_map(move |written| {
        let (namespace, host) = written.split_once('/')?;
        let (excluded, host) = match host.strip_prefix('~') {
            Some(host) => (true, host),
            None => (false, host),
        };
        Some(EgressHost { namespace, host: Host::parse(host).ok()?, excluded, port })
    })
}

fn port_of(listener: &EgressListener) -> Option<u16> {
    let port = listener.port.as_ref().and_then(|p| u16::try_from(p.number).ok());
    port.filter(|p| *p != 0)
}
