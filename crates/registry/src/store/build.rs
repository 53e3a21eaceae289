//! From tables to a snapshot: what did not change since the last one is taken over.

use super::Store;
use crate::endpoints::{self, ServiceEndpoints};
use crate::entry::{self, Machine};
use crate::ingress;
use crate::item::Table;
use crate::{
    AuthorizationPolicies, Collection, DestinationRules, EndpointIndex, Item, PeerAuthentications,
    RequestAuthentications, Service, Services, Sidecars, Snapshot, Workload, Workloads,
};
use api::EndpointSlice;
use base::Host;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Whose endpoints may have changed since the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// Kubernetes services by namespace and name.
    services: HashSet<(String, String)>,
    addresses: HashSet<IpAddr>,
    machines: bool,
}

impl Stale {
    pub fn slice(&mut self, slice: Option<&EndpointSlice>) {
        if let Some(slice) = slice
            && let Some(service) = slice.service()
        {
            self.services.insert((slice.metadata.namespace.clone(), service.to_owned()));
        }
    }

    pub fn workload(&mut self, workload: Option<&Workload>) {
        self.addresses.extend(workload.iter().flat_map(|w| &w.addresses));
    }

    /// Entries of machines come and go rarely: then every selector is asked again.
    pub fn machine(&mut self) {
        self.machines = true;
    }

    /// The services that it is about, where nothing else can be concerned.
    fn only_named(&self) -> Option<&HashSet<(String, String)>> {
        (self.addresses.is_empty() && !self.machines).then_some(&self.services)
    }

    /// `selecting`: hosts of ServiceEntries that take workloads by their labels.
    fn touches(
        &self,
        service: &Service,
        old: &ServiceEndpoints,
        selecting: &HashSet<&Host>,
    ) -> bool {
        if self.machines || !service.kubernetes {
            // A selector may take workloads that it did not have before.
            return self.machines
                || !self.addresses.is_empty() && selecting.contains(&service.host);
        }
        let by_name = (service.namespace.to_string(), service.name.to_string());
        self.services.contains(&by_name)
            || (!self.addresses.is_empty()
                && old.instances.iter().any(|i| match &i.address {
                    endpoints::InstanceAddress::Ip(ip) => self.addresses.contains(ip),
                    _ => false,
                }))
    }
}

impl Store {
    /// The world as it is now. What did not change since the last call is the same `Arc`.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(last) = self.last.as_ref().filter(|s| s.version == self.revision) {
            return last.clone();
        }
        let last = self.last.take();
        let last = last.as_deref();
        let services = self.build_services(last);
        let workloads = self.build_workloads(last);
        let peers = self.build_peers(last);
        self.translate_ingresses();
        let snapshot = Arc::new(Snapshot {
            version: self.revision,
            domain: self.domain.clone(),
            mesh: self.mesh.clone(),
            endpoints: self.build_endpoints(last, &services, &workloads, &peers),
            peer_authentications: peers,
            authorization_policies: self.build_authorization(last),
            request_authentications: self.build_authentication(last),
            key_sets: self.key_sets.clone(),
            services,
            workloads,
            virtual_services: collect_with(
                &self.virtual_services,
                (self.translated.version, &self.translated.routes),
                last.map(|l| &l.virtual_services),
            ),
            destination_rules: self.build_rules(last),
            gateways: collect_with(
                &self.gateways,
                (self.translated.version, &self.translated.gateways),
                last.map(|l| &l.gateways),
            ),
            ingresses: self.translated.claimed.clone(),
            sidecars: self.build_sidecars(last),
            envoy_filters: collect(&self.envoy_filters, last.map(|l| &l.envoy_filters)),
        });
        self.last = Some(snapshot.clone());
        snapshot
    }

    /// Anew only if something of it changed.
    fn translate_ingresses(&mut self) {
        let source = ingress::Source {
            ingresses: &self.ingresses,
            classes: &self.ingress_classes,
            services: &self.services,
            mesh: &self.mesh.config,
            root: &self.root,
            domain: &self.domain,
        };
        let version = source.version(self.mesh.version);
        if version != self.translated.version {
            self.translated = source.translate(version);
        }
    }

    fn build_services(&self, last: Option<&Snapshot>) -> Arc<Services> {
        let version = self.services.version.max(self.service_entries.version);
        if let Some(same) = last.map(|l| &l.services).filter(|s| s.version == version) {
            return same.clone();
        }
        let mut all: Vec<Arc<Service>> = self.services.map.values().cloned().collect();
        let mut known: HashSet<_> = all.iter().map(|s| s.key()).collect();
        for item in Collection::of(&self.service_entries).iter() {
            for service in entry::services(item) {
                if known.insert(service.key()) {
                    all.push(Arc::new(service));
                } else if let Some(older) = all.iter_mut().find(|s| s.key() == service.key()) {
                    add_ports(older, &service);
                }
            }
        }
        Arc::new(Services::index(version, all))
    }

    fn build_workloads(&self, last: Option<&Snapshot>) -> Arc<Workloads> {
        let version = self.workloads.version;
        match last.map(|l| &l.workloads).filter(|w| w.version == version) {
            Some(same) => same.clone(),
            None => Arc::new(Workloads::index(version, self.workloads.map.values().cloned())),
        }
    }

    fn build_rules(&self, last: Option<&Snapshot>) -> Arc<DestinationRules> {
        let version = self.destination_rules.version.max(self.mesh.version);
        if let Some(same) = last.map(|l| &l.destination_rules).filter(|r| r.version == version) {
            return same.clone();
        }
        let items = Collection::of(&self.destination_rules);
        let export = &self.mesh.destination_rule_export;
        let last = last.map(|l| &*l.destination_rules);
        Arc::new(DestinationRules::index(version, &self.root, export, items.iter(), last))
    }

    fn build_sidecars(&self, last: Option<&Snapshot>) -> Arc<Sidecars> {
        let version = self.sidecars.version;
        match last.map(|l| &l.sidecars).filter(|s| s.version == version) {
            Some(same) => same.clone(),
            None => Arc::new(Sidecars::of(version, &self.root, &self.sidecars)),
        }
    }

    fn build_peers(&self, last: Option<&Snapshot>) -> Arc<PeerAuthentications> {
        let version = self.peer_authentications.version;
        match last.map(|l| &l.peer_authentications).filter(|p| p.version == version) {
            Some(same) => same.clone(),
            None => {
                let all = Collection::of(&self.peer_authentications);
                Arc::new(PeerAuthentications::index(&self.root, &all))
            }
        }
    }

    fn build_authorization(&self, last: Option<&Snapshot>) -> Arc<AuthorizationPolicies> {
        let version = self.authorization_policies.version;
        match last.map(|l| &l.authorization_policies).filter(|p| p.version == version) {
            Some(same) => same.clone(),
            None => {
                let all = Collection::of(&self.authorization_policies);
                Arc::new(AuthorizationPolicies::index(&self.root, &all))
            }
        }
    }

    fn build_authentication(&self, last: Option<&Snapshot>) -> Arc<RequestAuthentications> {
        let version = self.request_authentications.version;
        match last.map(|l| &l.request_authentications).filter(|p| p.version == version) {
            Some(same) => same.clone(),
            None => {
                let all = Collection::of(&self.request_authentications);
                Arc::new(RequestAuthentications::index(&self.root, &all))
            }
        }
    }

    fn build_endpoints(
        &mut self,
        last: Option<&Snapshot>,
        services: &Arc<Services>,
        workloads: &Workloads,
        peers: &PeerAuthentications,
    ) -> Arc<EndpointIndex> {
        let mut stale = std::mem::take(&mut self.stale);
        // A policy may be about any workload.
        stale.machines |= last.is_some_and(|l| l.peer_authentications.version != peers.version);
        let versions = [
            self.slices.version(),
            self.machines.version,
            self.workloads.version,
            services.version,
            peers.version,
        ];
        let version = versions.into_iter().max().unwrap_or(0);
        if let Some(same) = last.map(|l| &l.endpoints).filter(|e| e.version == version) {
            return same.clone();
        }
        let entries = self.service_entries.map.values();
        let selecting: HashSet<&Host> =
            entries.filter(|i| i.spec.workload_selector.is_some()).flat_map(|i| &i.hosts).collect();
        let mut identities = last.map_or(0, |l| l.endpoints.identities);
        let mut fresh = |service: &Service, old: Option<&Arc<ServiceEndpoints>>| {
            let mut instances = self.instances(service, workloads);
            instances.iter_mut().for_each(|i| i.secure(peers));
            if let Some(same) = old.filter(|old| old.instances == instances) {
                return same.clone();
            }
            let known = old.map(|old| &old.identities);
            let new = ServiceEndpoints::new(version, instances, known);
            if known.is_none_or(|known| !Arc::ptr_eq(known, &new.identities)) {
                identities = version;
            }
            Arc::new(new)
        };
        let Some(last) = last else {
            let by_service = services.iter().map(|s| (s.key(), fresh(s, None))).collect();
            return Arc::new(EndpointIndex { version, identities, by_service });
        };
        let mut by_service = last.endpoints.by_service.clone();
        let same_services = Arc::ptr_eq(&last.services, services);
        let named = same_services.then(|| stale.only_named()).flatten();
        let candidates: Vec<&Arc<Service>> = match named {
            Some(names) => names.iter().filter_map(|(ns, n)| services.named(ns, n)).collect(),
            None => services.iter().collect(),
        };
        for service in candidates {
            let key = service.key();
            let old = last.endpoints.get(&key);
            let same = same_services
                || last.services.get(&key).is_some_and(|known| Arc::ptr_eq(known, service));
            if !old.is_some_and(|old| same && !stale.touches(service, old, &selecting)) {
                by_service.insert(key, fresh(service, old));
            }
        }
        if !same_services {
            for gone in last.services.iter().map(|s| s.key()).filter(|k| services.get(k).is_none())
            {
                by_service.remove(&gone);
            }
        }
        Arc::new(EndpointIndex { version, identities, by_service })
    }

    /// All endpoints of a service.
    fn instances(&self, service: &Service, workloads: &Workloads) -> Vec<endpoints::Instance> {
        if !service.kubernetes {
            return self.entry_instances(service);
        }
        let mut all = endpoints::of_slices(service, self.slices.of(service), workloads);
        all.extend(self.selected_machines(service));
        endpoints::sort(&mut all);
        all
    }

    /// WorkloadEntries of its namespace that a Kubernetes service selects, as it would pods.
    fn selected_machines(&self, service: &Service) -> Vec<endpoints::Instance> {
        let here =
            self.machines.map.values().filter(|m| *m.metadata.namespace == *service.namespace);
        let machines = here.map(|m| Machine {
            name: &m.metadata.name,
            namespace: &m.metadata.namespace,
            entry: &m.spec,
        });
        let taken = machines.filter(|m| entry::takes(&service.selector, &m.entry.labels));
        taken.flat_map(|m| m.instances(service)).collect()
    }

    /// Of all ServiceEntries of its namespace that name the host.
    fn entry_instances(&self, service: &Service) -> Vec<endpoints::Instance> {
        let mut all = Vec::new();
        let of_namespace = |namespace: &str| *namespace == *service.namespace;
        for item in self.service_entries.map.values() {
            if !of_namespace(item.namespace()) || !item.hosts.contains(&service.host) {
                continue;
            }
            let pods = self.workloads.map.values().filter(|w| of_namespace(&w.namespace));
            let machines =
                self.machines.map.values().filter(|m| of_namespace(&m.metadata.namespace)).map(
                    |m| Machine {
                        name: &m.metadata.name,
                        namespace: &m.metadata.namespace,
                        entry: &m.spec,
                    },
                );
            all.extend(entry::instances(service, &item.spec, pods, machines));
        }
        endpoints::sort(&mut all);
        all
    }
}

fn collect<T>(table: &Table<Item<T>>, last: Option<&Arc<Collection<T>>>) -> Arc<Collection<T>> {
    match last.filter(|l| l.version == table.version) {
        Some(same) => same.clone(),
        None => Arc::new(Collection::of(table)),
    }
}

/// With what was made of other kinds.
fn collect_with<T>(
    table: &Table<Item<T>>,
    (version, more): (u64, &[Arc<Item<T>>]),
    last: Option<&Arc<Collection<T>>>,
) -> Arc<Collection<T>> {
    match last.filter(|l| l.version == table.version.max(version)) {
        Some(same) => same.clone(),
        None => Arc::new(Collection::with(table, version, more)),
    }
}

/// A younger ServiceEntry of the same host and namespace adds the ports that the older lacks.
fn add_ports(older: &mut Arc<Service>, younger: &Service) {
    let new = younger.ports.iter().filter(|p| older.port(p.number).is_none());
    let new: Vec<_> = new.cloned().collect();
    if older.kubernetes || new.is_empty() {
        return;
    }
    let service = Arc::make_mut(older);
    service.version = service.version.max(younger.version);
    service.ports.extend(new);
}
