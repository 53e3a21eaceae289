//! The route configurations of a sidecar's outbound side, put together from virtual hosts of which
//! each is made anew only when what it is made from changes.

use super::virtual_hosts::{
    config, domains, of_rule, of_service, other_hosts, routes_at, serves, virtual_host_name,
};
use crate::build::Build;
use crate::cluster::is_same;
use crate::kept::Said;
use crate::names;
use crate::scope::{Rules, Scope, rule_of};
use api::VirtualService;
use base::Host;
use ir::{RouteConfig, Str, VirtualHost};
use registry::{Item, Resolution, Rule, Service};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// One route configuration, and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct PortRoutes {
    layout: Arc<Layout>,
    /// In the order of the layout.
    hosts: Arc<[Arc<OfService>]>,
    /// Hosts that only VirtualServices have.
    others: Arc<[OfRule]>,
    /// All other hosts, where nothing takes those already.
    rest: Option<Arc<VirtualHost>>,
    /// What there is to say about them.
    said: Vec<Arc<Said>>,
    pub config: Arc<RouteConfig>,
}

/// The services of a port and the names that each answers to, in the order of their virtual hosts.
#[derive(Debug)]
struct Layout {
    port: u16,
    entries: Vec<(Arc<Service>, Vec<Str>)>,
    places: HashMap<Host, usize>,
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

/// What earlier configurations of the same names may be compared with.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'a> {
    Nothing,
    /// Services and destinations' policies may have changed.
    Comparable(&'a BTreeMap<Str, Arc<PortRoutes>>),
    /// Nothing but VirtualServices has changed; which, the scope knows.
    Settled(&'a BTreeMap<Str, Arc<PortRoutes>>),
}

impl<'a> Earlier<'a> {
    fn of(self, name: &str) -> Option<&'a Arc<PortRoutes>> {
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
) -> BTreeMap<Str, Arc<PortRoutes>> {
    let mut out = BTreeMap::new();
    for port in ports {
        let name: Str = port.to_string().into();
        let layout = |b: &Build<'_>| Layout::of_port(b, scope, port);
        out.insert(name.clone(), one(b, scope, name, layout, earlier));
    }
    for (service, port) in detected {
        let name = names::host_port(service.host.as_str(), *port);
        let layout = |_: &Build<'_>| Layout::of_detected(service, *port);
        out.insert(name.clone(), one(b, scope, name, layout, earlier));
    }
    out
}

fn one(
    b: &mut Build<'_>,
    scope: &Scope,
    name: Str,
    layout: impl FnOnce(&Build<'_>) -> Layout,
    earlier: Earlier<'_>,
) -> Arc<PortRoutes> {
    match earlier.of(&name) {
        Some(last) if earlier.is_settled() => renewed(b, scope, name, last),
        last => {
            let layout = Arc::new(layout(b));
            let hosts = of_services(b, scope, &layout, last.map(|l| &**l));
            let others = of_rules(b, scope, &layout, None);
            put_together(b, scope, name, layout, hosts.into(), others, last)
        }
    }
}

/// Those of the same services and policies: only what changed rules are about is made anew.
fn renewed(b: &mut Build<'_>, scope: &Scope, name: Str, last: &Arc<PortRoutes>) -> Arc<PortRoutes> {
    let layout = last.layout.clone();
    let mut hosts = last.hosts.clone();
    for at in layout.places_of(&scope.turn().hosts) {
        let (service, names) = &layout.entries[at];
        let rules = scope.rules_of(&service.host);
        if !same(&hosts[at].rules, rules) {
            let fresh = OfService::new(b, scope, layout.port, service, names, rules.cloned());
            Arc::make_mut(&mut hosts)[at] = Arc::new(fresh);
        }
    }
    let others = match scope.turn().hosts.is_empty() {
        true => last.others.clone(),
        false => of_rules(b, scope, &layout, Some(last)),
    };
    put_together(b, scope, name, layout, hosts, others, Some(last))
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
        let places = entries.iter().map(|(s, _)| s.host.clone()).zip(0..).collect();
        Layout { port, entries, places, taken, hosts }
    }

    /// The address led here, so whatever Host the client writes is meant for this service.
    fn of_detected(service: &Arc<Service>, port: u16) -> Layout {
        Layout {
            port,
            entries: vec![(service.clone(), vec!["*".into()])],
            places: HashMap::from([(service.host.clone(), 0)]),
            taken: HashSet::from(["*".to_owned()]),
            hosts: HashSet::new(),
        }
    }

    /// The entries of services that these hosts may be about.
    fn places_of(&self, hosts: &HashSet<Host>) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        for host in hosts {
            match host.is_wildcard() {
                true => {
                    let covered =
                        self.entries.iter().zip(0..).filter(|(e, _)| host.covers(&e.0.host));
                    places.extend(covered.map(|(_, at)| at));
                }
                false => places.extend(self.places.get(host)),
            }
        }
        places
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

fn put_together(
    b: &mut Build<'_>,
    scope: &Scope,
    name: Str,
    layout: Arc<Layout>,
    hosts: Arc<[Arc<OfService>]>,
    others: Arc<[OfRule]>,
    last: Option<&Arc<PortRoutes>>,
) -> Arc<PortRoutes> {
    let any = |o: &OfRule| o.hosts.iter().any(|h| matches!(&h.domains[..], [d] if &**d == "*"));
    let takes_all = layout.takes_all() || others.iter().any(any);
    let rest = (!takes_all).then(|| pooled(b, other_hosts(b, scope)));
    let is_last = |l: &&Arc<PortRoutes>| {
        let same = Arc::ptr_eq(&l.layout, &layout) && Arc::ptr_eq(&l.hosts, &hosts);
        same && Arc::ptr_eq(&l.others, &others) && l.has_rest(rest.as_ref())
    };
    if let Some(last) = last.filter(is_last) {
        return last.clone();
    }
    let config = match last.filter(|l| l.is_made_of(&hosts, &others, rest.as_ref())) {
        // The same, though perhaps for other reasons, of which other things are to be said.
        Some(last) => last.config.clone(),
        None => {
            let mut list = virtual_hosts(&layout, &hosts, &others);
            list.extend(rest.clone());
            let mut config = Arc::new(config(name.clone(), list));
            b.pools.routes.share_by(&name, &mut config, is_of_the_same_hosts);
            config
        }
    };
    let said = hosts.iter().map(|h| &h.said).chain(others.iter().map(|o| &o.said));
    let said = said.filter(|s| !s.is_empty()).cloned().collect();
    Arc::new(PortRoutes { layout, hosts, others, rest, said, config })
}

/// Of services and of rules, in the order of their names.
fn virtual_hosts(
    layout: &Layout,
    hosts: &[Arc<OfService>],
    others: &[OfRule],
) -> Vec<Arc<VirtualHost>> {
    let mut list: Vec<Arc<VirtualHost>> = Vec::with_capacity(hosts.len() + 1);
    list.extend(hosts.iter().map(|h| h.host.clone()));
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
    list
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
    fn has_rest(&self, rest: Option<&Arc<VirtualHost>>) -> bool {
        self.rest.as_ref().map(Arc::as_ptr) == rest.map(Arc::as_ptr)
    }

    fn is_made_of(
        &self,
        hosts: &[Arc<OfService>],
        others: &[OfRule],
        rest: Option<&Arc<VirtualHost>>,
    ) -> bool {
        let old = self.others.iter().flat_map(|o| &o.hosts);
        let new = others.iter().flat_map(|o| &o.hosts);
        self.hosts.len() == hosts.len()
            && self.hosts.iter().zip(hosts).all(|(a, b)| Arc::ptr_eq(&a.host, &b.host))
            && old.clone().count() == new.clone().count()
            && old.zip(new).all(|(a, b)| Arc::ptr_eq(a, b))
            && self.has_rest(rest)
    }

    pub fn said(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().map(|s| &**s)
    }
}

/// `last`: services and policies may have changed since.
fn of_services(
    b: &mut Build<'_>,
    scope: &Scope,
    layout: &Layout,
    last: Option<&PortRoutes>,
) -> Vec<Arc<OfService>> {
    let mut out = Vec::with_capacity(layout.entries.len());
    for (service, names) in &layout.entries {
        let rules = scope.rules_of(&service.host);
        let known = last.and_then(|last| {
            let at = *last.layout.places.get(&service.host)?;
            let ((old, old_names), known) = (&last.layout.entries[at], &last.hosts[at]);
            let alike = is_same(old, service) && old_names == names;
            (alike && known.holds_without_rules(b, service, rules)).then(|| known.clone())
        });
        out.push(known.unwrap_or_else(|| {
            Arc::new(OfService::new(b, scope, layout.port, service, names, rules.cloned()))
        }));
    }
    out
}

fn same(a: &Option<Rules>, b: Option<&Rules>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.is(b),
        _ => false,
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
        let item = rules.as_ref().map(Rules::item);
        let host = of_service(b, scope, service, item, port, names.to_vec());
        let host = pooled(b, host);
        let policy = rule_of(b.world, b.proxy, service).cloned();
        OfService { rules, policy, host, said: Arc::new(b.said()) }
    }

    /// Where rules are, anything may have changed that they lead to.
    fn holds_without_rules(&self, b: &Build<'_>, service: &Service, rules: Option<&Rules>) -> bool {
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
) -> Arc<[OfRule]> {
    if layout.takes_all() {
        return Arc::default();
    }
    let old = last.map_or(&[][..], |l| &l.others);
    let known: HashMap<*const Item<VirtualService>, &OfRule> =
        old.iter().map(|o| (Arc::as_ptr(o.rules.item()), o)).collect();
    let mut out = Vec::new();
    for rules in scope.rule_set().iter() {
        let item = rules.item();
        if last.is_some() && scope.turn().is_kept(item) {
            // Without one it had no host of its own before, either.
            out.extend(known.get(&Arc::as_ptr(item)).map(|same| (*same).clone()));
            continue;
        }
        let hosts = layout.without_service(item);
        if hosts.is_empty() {
            continue;
        }
        b.work.virtual_hosts += hosts.len() as u64;
        let routes = routes_at(b, scope, item, layout.port);
        let hosts = if routes.is_empty() { Vec::new() } else { hosts };
        let hosts = hosts
            .into_iter()
            .map(|h| of_rule(b, item, h, layout.port, &routes))
            .collect::<Vec<_>>();
        let hosts = hosts.into_iter().map(|h| pooled(b, h)).collect();
        out.push(OfRule { rules: rules.clone(), hosts, said: Arc::new(b.said()) });
    }
    out.into()
}
