//! What a proxy sees of the world: the services it may address and the VirtualServices that apply to
//! it, by visibility and by the Sidecar object it obeys.

mod egress;
mod rules;

use crate::Proxy;
use api::{OutboundMode, VirtualService};
use base::{Host, ObjectRef};
pub(crate) use egress::Spot;
use egress::{Egress, Spots};
use registry::{Item, Rule, Service, Snapshot};
pub(crate) use rules::{RuleSet, Rules, Turn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One service for each host, in the order of hosts.
pub(crate) type ServiceMap = BTreeMap<Host, Arc<Service>>;

pub(crate) struct Scope {
    services: Arc<ServiceMap>,
    /// For sidecars.
    rules: Arc<RuleSet>,
    pub outbound: OutboundMode,
    /// Where traffic goes that nothing describes, if it may go anywhere, and who wrote that.
    pub egress_proxy: Option<(api::Destination, ObjectRef)>,
    pub spots: Spots,
    turn: Turn,
}

/// Of an earlier scope.
#[derive(Clone, Copy)]
pub(crate) struct Earlier<'a> {
    pub services: &'a Arc<ServiceMap>,
    pub rules: &'a RuleSet,
}

impl Scope {
    /// The services that a sidecar may reach without any rule that leads to them.
    pub fn reachable(world: &Snapshot, proxy: &Proxy) -> ServiceMap {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        Egress::of(world, proxy, sidecar.map(|s| &s.spec)).services(world, proxy)
    }

    /// Of a sidecar that may reach these. `last`: what an earlier one of the same kind had, if
    /// nothing but VirtualServices has changed since.
    pub fn of_sidecar(
        world: &Snapshot,
        proxy: &Proxy,
        reachable: Arc<ServiceMap>,
        last: Option<Earlier<'_>>,
    ) -> Scope {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        let egress = Egress::of(world, proxy, sidecar.map(|s| &s.spec));
        let bound = world.virtual_services.iter().filter(|v| {
            binds_to_mesh(&v.spec)
                && world.sees_route(v, &proxy.namespace)
                && v.hosts.iter().any(|h| egress.takes_overlapping(v.namespace(), h))
        });
        let rules = RuleSet::of(world, bound);
        let turn = last.map(|l| rules.since(l.rules)).unwrap_or_default();
        let mut services = reachable;
        // Where no rule led anywhere else before, those that are as they were do not now.
        let plain = last.filter(|l| Arc::ptr_eq(l.services, &services)).is_some();
        let news = rules.iter().filter(|r| !plain || !turn.is_kept(r.item()));
        for rules in news {
            add_destinations(world, proxy, rules.item(), &mut services);
        }
        let written = sidecar.and_then(|s| s.spec.outbound_traffic_policy.as_ref());
        let policy = written.unwrap_or(&world.mesh.config.outbound_traffic_policy);
        let proxied = sidecar.filter(|_| policy.mode != OutboundMode::RegistryOnly);
        let egress_proxy =
            proxied.and_then(|s| Some((policy.egress_proxy.clone()?, s.object.clone())));
        if let Some((to, object)) = &egress_proxy {
            add(world, proxy, &to.host, &object.namespace, &mut services);
        }
        let spec = sidecar.map(|s| &s.spec);
        let spots = Spots::of(proxy, spec, &egress, services.values());
        let outbound = policy.mode;
        let mut scope =
            Scope { services, rules: Arc::new(rules), outbound, egress_proxy, spots, turn };
        if let Some(last) = last {
            scope.unite(last.services);
        }
        scope
    }

    /// Of a gateway: every service exported to its namespace.
    pub fn of_gateway(world: &Snapshot, proxy: &Proxy) -> Scope {
        Scope {
            services: Arc::new(
                Egress { world, own: &proxy.namespace, rules: None }.services(world, proxy),
            ),
            rules: Arc::default(),
            outbound: OutboundMode::RegistryOnly,
            egress_proxy: None,
            spots: Spots::default(),
            turn: Turn::default(),
        }
    }

    /// Takes these in place of its own, which they are equal to.
    fn unite(&mut self, services: &Arc<ServiceMap>) {
        let own = &self.services;
        let same = || own.values().zip(services.values()).all(|(a, b)| Arc::ptr_eq(a, b));
        if Arc::ptr_eq(own, services) || own.len() == services.len() && same() {
            self.services = services.clone();
        }
    }

    pub fn service_map(&self) -> &Arc<ServiceMap> {
        &self.services
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn service(&self, host: &Host) -> Option<&Arc<Service>> {
        self.services.get(host)
    }

    pub fn rule_set(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What became of the rules since the earlier scope.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The rules for a host: those of the most specific VirtualService, then of the oldest.
    pub fn rules_of(&self, host: &Host) -> Option<&Rules> {
        self.rules.of_host(host)
    }
}

/// Whether a sidecar knows a host, and if not, who keeps it from it.
#[derive(Clone, Debug)]
pub enum Visibility {
    Seen(Arc<Service>),
    /// The service is there, and this Sidecar imports it not, or without this port.
    NotImported(Arc<Service>, ObjectRef),
    /// The service is there, for other namespaces.
    NotExported(Arc<Service>),
    /// No service has the host.
    Unknown,
}

/// For a service at a host, or at the port of one.
pub fn visibility(world: &Snapshot, proxy: &Proxy, host: &Host, port: u16) -> Visibility {
    let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
    let reachable = Arc::new(Scope::reachable(world, proxy));
    let scope = Scope::of_sidecar(world, proxy, reachable, None);
    let all = world.services.of_host(host);
    let Some(any) = all.first() else { return Visibility::Unknown };
    let visible = pick(world, host, &proxy.namespace, |_| true);
    match (scope.service(host), visible, sidecar) {
        (Some(seen), Some(whole), Some(sidecar))
            if seen.port(port).is_none() && whole.port(port).is_some() =>
        {
            Visibility::NotImported(whole.clone(), sidecar.object.clone())
        }
        (Some(seen), _, _) => Visibility::Seen(seen.clone()),
        (None, Some(service), Some(sidecar)) => {
            Visibility::NotImported(service.clone(), sidecar.object.clone())
        }
        _ => Visibility::NotExported(any.clone()),
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

/// Adds what an imported route leads to, which need not be listed.
fn add_destinations(
    world: &Snapshot,
    proxy: &Proxy,
    route: &Item<VirtualService>,
    services: &mut Arc<ServiceMap>,
) {
    for (destination, namespace) in crate::route::destinations(world, route) {
        add(world, proxy, &destination.host, &namespace, services);
    }
}

/// Adds the service that a destination written in `namespace` means.
fn add(
    world: &Snapshot,
    proxy: &Proxy,
    host: &str,
    namespace: &str,
    services: &mut Arc<ServiceMap>,
) {
    let Ok(host) = Host::resolve(host, namespace, &world.domain) else { return };
    if services.contains_key(&host) {
        return;
    }
    if let Some(service) = pick(world, &host, &proxy.namespace, |_| true) {
        Arc::make_mut(services).insert(host, service.clone());
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
