//! The route configurations of a sidecar's outbound side, put together from virtual hosts of which
//! each is made anew only when what it is made from changes.

use super::virtual_hosts::{
    config, domains, of_rule, of_service, other_hosts, routes_at, serves, virtual_host_name,
};
use crate::build::Build;
use crate::cluster::is_same;
use crate::kept::Said;
use crate::names;
use crate::route::{Delegates, delegates};
use crate::scope::{Scope, rule_of};
use api::VirtualService;
use base::Host;
use ir::{RouteConfig, Str, VirtualHost};
use registry::{Item, Resolution, Rule, Service};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// One route configuration, and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct PortRoutes {
    layout: Arc<Layout>,
    /// In the order of the layout.
    hosts: Arc<[OfService]>,
    /// Hosts that only VirtualServices have.
    others: Arc<[OfRule]>,
    /// All other hosts, where nothing takes those already.
    rest: Option<Arc<VirtualHost>>,
    pub config: Arc<RouteConfig>,
}

/// The services of a port and the names that each answers to, in the order of their virtual hosts.
#[derive(Debug)]
struct Layout {
    port: u16,
    entries: Vec<(Arc<Service>, Vec<Str>)>,
    /// All names, in lower case.
    taken: HashSet<String>,
    hosts: HashSet<Host>,
}

#[derive(Clone, Debug)]
struct OfService {
    rules: Option<Rules>,
    /// Of the destination, where no VirtualService is about the service.
    policy: Option<Arc<Rule>>,
    host: Arc<VirtualHost>,
    said: Arc<Said>,
}

#[derive(Clone, Debug)]
struct OfRule {
    rules: Rules,
    hosts: Vec<Arc<VirtualHost>>,
    said: Arc<Said>,
}

/// A VirtualService and those that it delegates to.
#[derive(Clone, Debug)]
struct Rules {
    item: Arc<Item<VirtualService>>,
    delegates: Delegates,
}

/// What earlier configurations of the same names may be compared with.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'a> {
    Nothing,
    /// Services and destinations' policies may have changed.
    Comparable(&'a BTreeMap<Str, PortRoutes>),
    /// Nothing but VirtualServices has changed.
    Settled(&'a BTreeMap<Str, PortRoutes>),
}

impl<'a> Earlier<'a> {
    fn of(self, name: &str) -> Option<&'a PortRoutes> {
        match self {
            Earlier::Nothing => None,
            Earlier::Comparable(all) | Earlier::Settled(all) => all.get(name),
        }
    }

    fn is_settled(self) -> bool {
        matches!(self, Earlier::Settled(_))
    }
}

/// All that the services of the scope need: one for each HTTP port, and one for each service and
/// port whose protocol is detected.
pub(super) fn all(
    b: &mut Build<'_>,
    scope: &Scope,
    ports: impl Iterator<Item = u16>,
    detected: &[(Arc<Service>, u16)],
    earlier: Earlier<'_>,
) -> BTreeMap<Str, PortRoutes> {
    let mut out = BTreeMap::new();
    for port in ports {
        let name: Str = port.to_string().into();
        let last = earlier.of(&name);
        let layout = match last.filter(|_| earlier.is_settled()) {
            Some(last) => last.layout.clone(),
            None => Arc::new(Layout::of_port(b, scope, port)),
        };
        out.insert(name.clone(), routes(b, scope, name, layout, last, earlier));
    }
    for (service, port) in detected {
        let name = names::host_port(service.host.as_str(), *port);
        let last = earlier.of(&name);
        let layout = match last.filter(|_| earlier.is_settled()) {
            Some(last) => last.layout.clone(),
            None => Arc::new(Layout::of_detected(service, *port)),
        };
        out.insert(name.clone(), routes(b, scope, name, layout, last, earlier));
    }
    out
}

impl Layout {
    /// No domain may stand twice; the older service keeps it.
    fn of_port(b: &Build<'_>, scope: &Scope, port: u16) -> Layout {
        let mut services: Vec<&Arc<Service>> = scope
            .services()
            .filter(|s| serves(s, port) && scope.spots.serve(port, &s.host))
            .collect();
        services.sort_by(|a, b| (&a.created, &a.host).cmp(&(&b.created, &b.host)));
        let mut taken = HashSet::new();
        let mut entries: Vec<(Arc<Service>, Vec<Str>)> = Vec::with_capacity(services.len());
        for service in &services {
            let mut names = domains(b, service);
            names.retain(|d| taken.insert(d.to_ascii_lowercase()));
            if !names.is_empty() {
                entries.push(((*service).clone(), names));
            }
        }
        entries.sort_by_cached_key(|(service, _)| virtual_host_name(&service.host, port));
        let hosts = services.into_iter().map(|s| s.host.clone()).collect();
        Layout { port, entries, taken, hosts }
    }

    /// The address led here, so whatever Host the client writes is meant for this service.
    fn of_detected(service: &Arc<Service>, port: u16) -> Layout {
        Layout {
            port,
            entries: vec![(service.clone(), vec!["*".into()])],
            taken: HashSet::from(["*".to_owned()]),
            hosts: HashSet::new(),
        }
    }

    fn takes_all(&self) -> bool {
        self.taken.contains("*")
    }

    /// The hosts of a VirtualService that no service has here: they are reached on the ports that
    /// its other hosts have, and on 80.
    fn without_service<'i>(&self, item: &'i Item<VirtualService>) -> Vec<&'i Host> {
        let served = |host: &Host| match host.is_wildcard() {
            true => self.hosts.iter().any(|s| host.covers(s)),
            false => self.hosts.contains(host),
        };
        let others: Vec<&Host> = item.hosts.iter().filter(|h| !served(h)).collect();
        if self.port != 80 && others.len() == item.hosts.len() { Vec::new() } else { others }
    }
}

fn routes(
    b: &mut Build<'_>,
    scope: &Scope,
    name: Str,
    layout: Arc<Layout>,
    last: Option<&PortRoutes>,
    earlier: Earlier<'_>,
) -> PortRoutes {
    let hosts = of_services(b, scope, &layout, last, earlier);
    let others = if layout.takes_all() {
        Vec::new()
    } else {
        of_rules(b, scope, &layout, last.filter(|_| earlier.is_settled()))
    };
    let takes_all = layout.takes_all()
        || others
            .iter()
            .flat_map(|o| &o.hosts)
            .any(|h| matches!(&h.domains[..], [d] if &**d == "*"));
    let rest = (!takes_all).then(|| pooled(b, other_hosts(b, scope)));
    if let Some(last) = last.filter(|l| l.is_made_of(&hosts, &others, rest.as_ref())) {
        // The same, though perhaps for other reasons, of which other things are to be said.
        let config = last.config.clone();
        return PortRoutes { layout, hosts: hosts.into(), others: others.into(), rest, config };
    }
    let mut list: Vec<Arc<VirtualHost>> = hosts.iter().map(|h| h.host.clone()).collect();
    let mut taken: HashSet<Str> = HashSet::new();
    for host in others.iter().flat_map(|o| &o.hosts) {
        let [domain] = host.domains.as_slice() else { continue };
        if !layout.taken.contains(&domain.to_ascii_lowercase()) && taken.insert(domain.clone()) {
            list.push(host.clone());
        }
    }
    if !taken.is_empty() {
        list.sort_by(|a, b| a.name.cmp(&b.name));
    }
    list.extend(rest.clone());
    let mut config = Arc::new(config(name.clone(), list));
    b.pools.routes.share_by(&name, &mut config, is_of_the_same_hosts);
    PortRoutes { layout, hosts: hosts.into(), others: others.into(), rest, config }
}

/// Of sidecars' route configurations all else is alike. Equal hosts are one, so that none is looked into.
fn is_of_the_same_hosts(a: &RouteConfig, b: &RouteConfig) -> bool {
    let (a, b) = (&a.virtual_hosts, &b.virtual_hosts);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn pooled(b: &mut Build<'_>, host: VirtualHost) -> Arc<VirtualHost> {
    let mut host = Arc::new(host);
    b.pools.hosts.share(&host.name.clone(), &mut host);
    host
}

impl PortRoutes {
    fn is_made_of(
        &self,
        hosts: &[OfService],
        others: &[OfRule],
        rest: Option<&Arc<VirtualHost>>,
    ) -> bool {
        let old = self.others.iter().flat_map(|o| &o.hosts);
        let new = others.iter().flat_map(|o| &o.hosts);
        self.hosts.len() == hosts.len()
            && self.hosts.iter().zip(hosts).all(|(a, b)| Arc::ptr_eq(&a.host, &b.host))
            && old.clone().count() == new.clone().count()
            && old.zip(new).all(|(a, b)| Arc::ptr_eq(a, b))
            && self.rest.as_ref().map(Arc::as_ptr) == rest.map(Arc::as_ptr)
    }

    pub fn said(&self) -> impl Iterator<Item = &Said> {
        let hosts = self.hosts.iter().map(|h| &*h.said);
        hosts.chain(self.others.iter().map(|o| &*o.said))
    }
}

fn of_services(
    b: &mut Build<'_>,
    scope: &Scope,
    layout: &Layout,
    last: Option<&PortRoutes>,
    earlier: Earlier<'_>,
) -> Vec<OfService> {
    let by_host: HashMap<&Host, usize> = match last.filter(|_| !earlier.is_settled()) {
        Some(last) => last.layout.entries.iter().map(|(s, _)| &s.host).zip(0..).collect(),
        None => HashMap::new(),
    };
    let mut out = Vec::with_capacity(layout.entries.len());
    for (at, (service, names)) in layout.entries.iter().enumerate() {
        let rules = scope.route_of(&service.host).map(|item| Rules::of(b, item));
        let known = match (last, earlier.is_settled()) {
            (None, _) => None,
            (Some(last), true) => last.hosts.get(at).filter(|k| same(&k.rules, &rules)),
            (Some(last), false) => by_host.get(&service.host).and_then(|at| {
                let (old, old_names) = &last.layout.entries[*at];
                let known = &last.hosts[*at];
                let alike = is_same(old, service) && old_names == names;
                (alike && known.holds_without_rules(b, service, &rules)).then_some(known)
            }),
        };
        out.push(match known {
            Some(known) => known.clone(),
            None => OfService::new(b, scope, layout.port, service, names, rules),
        });
    }
    out
}

fn same(a: &Option<Rules>, b: &Option<Rules>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.is(b),
        _ => false,
    }
}

impl Rules {
    fn of(b: &Build<'_>, item: &Arc<Item<VirtualService>>) -> Rules {
        Rules { item: item.clone(), delegates: delegates(b.world, item) }
    }

    fn is(&self, other: &Rules) -> bool {
        let one = |d: &Option<Arc<Item<VirtualService>>>| d.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.item, &other.item)
            && self.delegates.iter().map(one).eq(other.delegates.iter().map(one))
    }
}

impl OfService {
    fn new(
        b: &mut Build<'_>,
        scope: &Scope,
        port: u16,
        service: &Arc<Service>,
        names: &[Str],
        rules: Option<Rules>,
    ) -> OfService {
        b.work.virtual_hosts += 1;
        let item = rules.as_ref().map(|r| &r.item);
        let host = of_service(b, scope, service, item, port, names.to_vec());
        let host = pooled(b, host);
        let policy = rule_of(b.world, b.proxy, service).cloned();
        OfService { rules, policy, host, said: Arc::new(b.said()) }
    }

    /// Where rules are, anything may have changed that they lead to.
    fn holds_without_rules(&self, b: &Build<'_>, service: &Service, rules: &Option<Rules>) -> bool {
        let policy = rule_of(b.world, b.proxy, service);
        self.rules.is_none()
            && rules.is_none()
            && !matches!(service.resolution, Resolution::Alias(_))
            && self.policy.as_ref().map(Arc::as_ptr) == policy.map(Arc::as_ptr)
    }
}

/// `last`: made from the same services and policies.
fn of_rules(
    b: &mut Build<'_>,
    scope: &Scope,
    layout: &Layout,
    last: Option<&PortRoutes>,
) -> Vec<OfRule> {
    let old = last.map_or(&[][..], |l| &l.others);
    let known: HashMap<*const Item<VirtualService>, &OfRule> =
        old.iter().map(|o| (Arc::as_ptr(&o.rules.item), o)).collect();
    let mut out = Vec::new();
    for item in scope.routes() {
        let hosts = layout.without_service(item);
        if hosts.is_empty() {
            continue;
        }
        let rules = Rules::of(b, item);
        if let Some(same) = known.get(&Arc::as_ptr(item)).filter(|k| k.rules.is(&rules)) {
            out.push((*same).clone());
            continue;
        }
        b.work.virtual_hosts += hosts.len() as u64;
        let routes = routes_at(b, scope, item, layout.port);
        let hosts = if routes.is_empty() { Vec::new() } else { hosts };
        let hosts: Vec<_> = hosts
            .into_iter()
            .map(|h| of_rule(b, item, h, layout.port, &routes))
            .collect::<Vec<_>>();
        let hosts = hosts.into_iter().map(|h| pooled(b, h)).collect();
        out.push(OfRule { rules, hosts, said: Arc::new(b.said()) });
    }
    out
}
