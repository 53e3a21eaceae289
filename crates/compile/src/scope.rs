//! What a proxy sees of the world: the services it may address and the VirtualServices that apply to
//! it, by visibility and by the Sidecar object it obeys.

use crate::Proxy;
use api::{EgressListener, OutboundMode, Sidecar, VirtualService};
use base::Host;
use registry::{Item, Rule, Service, Snapshot};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub(crate) struct Scope {
    /// One for each host, in the order of hosts.
    services: BTreeMap<Host, Arc<Service>>,
    /// For sidecars, oldest first.
    routes: Vec<Arc<Item<VirtualService>>>,
    exact: HashMap<Host, usize>,
    wildcards: Vec<(Host, usize)>,
    pub outbound: OutboundMode,
}

impl Scope {
    /// Of a sidecar.
    pub fn of_sidecar(world: &Snapshot, proxy: &Proxy) -> Scope {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        let egress = Egress::of(world, proxy, sidecar.map(|s| &s.spec));
        let routes: Vec<_> = world
            .virtual_services
            .iter()
            .filter(|v| binds_to_mesh(&v.spec) && world.sees_route(v, &proxy.namespace))
            .filter(|v| v.hosts.iter().any(|h| egress.takes_overlapping(v.namespace(), h)))
            .cloned()
            .collect();
        let mut services = egress.services(world, proxy);
        add_destinations(world, proxy, &routes, &mut services);
        let written = sidecar.and_then(|s| s.spec.outbound_traffic_policy.as_ref());
        let mesh = &world.mesh.config.outbound_traffic_policy;
        let mut scope = Scope {
            services,
            routes,
            exact: HashMap::new(),
            wildcards: Vec::new(),
            outbound: written.unwrap_or(mesh).mode,
        };
        scope.index_routes();
        scope
    }

    /// Of a gateway: every service exported to its namespace.
    pub fn of_gateway(world: &Snapshot, proxy: &Proxy) -> Scope {
        Scope {
            services: Egress { world, own: &proxy.namespace, rules: None }.services(world, proxy),
            routes: Vec::new(),
            exact: HashMap::new(),
            wildcards: Vec::new(),
            outbound: OutboundMode::RegistryOnly,
        }
    }

    /// Of several VirtualServices with one host the oldest counts.
    fn index_routes(&mut self) {
        for (index, route) in self.routes.iter().enumerate() {
            for host in &route.hosts {
                if host.is_wildcard() {
                    self.wildcards.push((host.clone(), index));
                } else {
                    self.exact.entry(host.clone()).or_insert(index);
                }
            }
        }
        self.wildcards.sort_by(|a, b| a.0.by_specificity(&b.0).then(a.1.cmp(&b.1)));
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn service(&self, host: &Host) -> Option<&Arc<Service>> {
        self.services.get(host)
    }

    pub fn routes(&self) -> &[Arc<Item<VirtualService>>] {
        &self.routes
    }

    /// The VirtualService for a host: the most specific, then the oldest.
    pub fn route_of(&self, host: &Host) -> Option<&Arc<Item<VirtualService>>> {
        let covering = || self.wildcards.iter().find(|(w, _)| w.covers(host)).map(|(_, i)| i);
        self.exact.get(host).or_else(covering).map(|i| &self.routes[*i])
    }
}

/// The DestinationRule that the proxy uses for a service.
pub(crate) fn rule_of<'a>(
    world: &'a Snapshot,
    proxy: &Proxy,
    service: &Service,
) -> Option<&'a Arc<Rule>> {
    let rules = &world.destination_rules;
    rules.find(&proxy.namespace, &proxy.labels, &service.namespace, &service.host)
}

fn binds_to_mesh(spec: &VirtualService) -> bool {
    let in_match = |gateways: &[String]| gateways.iter().any(|g| g == VirtualService::MESH);
    spec.gateways().any(|g| g == VirtualService::MESH)
        || spec.http.iter().flat_map(|h| &h.r#match).any(|m| in_match(&m.gateways))
}

/// Adds what the imported routes lead to, which need not be listed.
fn add_destinations(
    world: &Snapshot,
    proxy: &Proxy,
    routes: &[Arc<Item<VirtualService>>],
    services: &mut BTreeMap<Host, Arc<Service>>,
) {
    for route in routes {
        for (destination, namespace) in crate::route::destinations(world, route) {
            let host = Host::resolve(&destination.host, &namespace, &world.domain);
            let Ok(host) = host else { continue };
            if services.contains_key(&host) {
                continue;
            }
            if let Some(service) = pick(world, &host, &proxy.namespace, |_| true) {
                services.insert(host, service.clone());
            }
        }
    }
}

/// Of the services of a host that are visible: the proxy's own namespace's, else Kubernetes' own,
/// else the oldest.
fn pick<'a>(
    world: &'a Snapshot,
    host: &Host,
    from: &str,
    takes: impl Fn(&Service) -> bool,
) -> Option<&'a Arc<Service>> {
    let visible = |s: &&Arc<Service>| world.sees_service(s, from) && takes(s);
    let all = || world.services.of_host(host).iter().filter(visible);
    all()
        .find(|s| *s.namespace == *from)
        .or_else(|| all().find(|s| s.kubernetes))
        .or_else(|| all().next())
}

/// The hosts that the `egress` of a Sidecar lets through; without one, all.
struct Egress<'a> {
    world: &'a Snapshot,
    own: &'a str,
    rules: Option<Vec<EgressHost<'a>>>,
}

struct EgressHost<'a> {
    namespace: &'a str,
    host: Host,
    excluded: bool,
    /// Only this port of the services.
    port: Option<u16>,
}

impl<'a> Egress<'a> {
    fn of(world: &'a Snapshot, proxy: &'a Proxy, sidecar: Option<&'a Sidecar>) -> Egress<'a> {
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

    fn takes_overlapping(&self, namespace: &str, host: &Host) -> bool {
        let Some(rules) = &self.rules else { return true };
        let fits =
            |r: &EgressHost<'_>| !r.excluded && self.names(r, namespace) && r.host.overlaps(host);
        rules.iter().any(fits)
    }

    fn names(&self, rule: &EgressHost<'_>, namespace: &str) -> bool {
        match rule.namespace {
            "*" => true,
            "." => namespace == self.own,
            "~" => false,
            name => name == namespace,
        }
    }

    fn services(&self, world: &Snapshot, proxy: &Proxy) -> BTreeMap<Host, Arc<Service>> {
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
    let port = listener.port.as_ref().and_then(|p| u16::try_from(p.number).ok());
    let port = port.filter(|p| *p != 0);
    listener.hosts.iter().filter_map(move |written| {
        let (namespace, host) = written.split_once('/')?;
        let (excluded, host) = match host.strip_prefix('~') {
            Some(host) => (true, host),
            None => (false, host),
        };
        Some(EgressHost { namespace, host: Host::parse(host).ok()?, excluded, port })
    })
}
