//! The one writer: takes objects as they come, keeps what is derived from them up to date, and hands
//! out snapshots.

mod build;
mod slices;

use crate::automatic::{self, Allocation};
use crate::entry;
use crate::ingress::Translated;
use crate::item::Table;
use crate::snapshot::Mesh;
use crate::{Collection, ExportTo, Item, KeySets, KeySource, Service, Snapshot, Workload};
use api::{
    AuthorizationPolicy, ConfigMap, DestinationRule, EndpointSlice, EnvoyFilter, Gateway, Ingress,
    IngressClass, Kind, MeshConfig, Node, Object, PeerAuthentication, Pod, RequestAuthentication,
    ServiceEntry, Sidecar, VirtualService, WorkloadEntry, decode,
};
use base::{Finding, Host, Labels, ObjectRef};
use build::Stale;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slices::Slices;
use std::sync::Arc;

/// What a change touches, from nothing to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing that any proxy could notice.
    Nothing,
    /// Endpoints or workloads: no new names, only where they lead.
    Endpoints,
    Configuration,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub change: Change,
    pub findings: Vec<Finding>,
}

pub struct Store {
    domain: Arc<str>,
    root: String,
    revision: u64,
    virtual_services: Table<Item<VirtualService>>,
    destination_rules: Table<Item<DestinationRule>>,
    gateways: Table<Item<Gateway>>,
    sidecars: Table<Item<Sidecar>>,
    envoy_filters: Table<Item<EnvoyFilter>>,
    peer_authentications: Table<Item<PeerAuthentication>>,
    authorization_policies: Table<Item<AuthorizationPolicy>>,
    request_authentications: Table<Item<RequestAuthentication>>,
    key_sets: Arc<KeySets>,
    service_entries: Table<Item<ServiceEntry>>,
    machines: Table<Object<WorkloadEntry>>,
    services: Table<Service>,
    slices: Slices,
    ingresses: Table<Ingress>,
    ingress_classes: Table<IngressClass>,
    translated: Translated,
    pods: Table<Pod>,
    workloads: Table<Workload>,
    nodes: Table<Labels>,
    mesh: Arc<Mesh>,
    last: Option<Arc<Snapshot>>,
    stale: Stale,
}

impl Store {
    /// For a cluster of this DNS domain (`cluster.local`), with istiod in the root namespace
    /// (`istio-system`).
    pub fn new(domain: &str, root: &str) -> Store {
        let config = MeshConfig { root_namespace: root.to_owned(), ..MeshConfig::default() };
        Store {
            domain: domain.into(),
            root: root.to_owned(),
            revision: 0,
            virtual_services: Table::default(),
            destination_rules: Table::default(),
            gateways: Table::default(),
            sidecars: Table::default(),
            envoy_filters: Table::default(),
            peer_authentications: Table::default(),
            authorization_policies: Table::default(),
            request_authentications: Table::default(),
            key_sets: Arc::default(),
            service_entries: Table::default(),
            machines: Table::default(),
            services: Table::default(),
            slices: Slices::default(),
            ingresses: Table::default(),
            ingress_classes: Table::default(),
            translated: Translated::default(),
            pods: Table::default(),
            workloads: Table::default(),
            nodes: Table::default(),
            mesh: Arc::new(Mesh::new(0, config)),
            last: None,
            stale: Stale::default(),
        }
    }

    /// Creates or replaces an object. One that cannot be read replaces nothing: what was there
    /// before stays in force, and the finding says so.
    pub fn apply(&mut self, kind: Kind, object: &Value) -> Applied {
        let applied = self.try_apply(kind, object);
        applied.unwrap_or_else(|finding| {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
            let about = ObjectRef::new(kind.name(), text("namespace"), text("name"));
            Applied { change: Change::Nothing, findings: vec![finding.about(about)] }
        })
    }

    fn try_apply(&mut self, kind: Kind, object: &Value) -> Result<Applied, Box<Finding>> {
        match kind {
            Kind::VirtualService => self.apply_virtual_service(object),
            Kind::DestinationRule => self.apply_destination_rule(object),
            Kind::ServiceEntry => self.apply_service_entry(object),
            Kind::Gateway => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.gateways, item, findings))
            }
            Kind::Sidecar => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.sidecars, item, findings))
            }
            Kind::EnvoyFilter => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.envoy_filters, item, findings))
            }
            Kind::PeerAuthentication => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.peer_authentications, item, findings))
            }
            Kind::AuthorizationPolicy => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.authorization_policies, item, findings))
            }
            Kind::RequestAuthentication => {
                let (item, findings) = read_item(kind, self.revision + 1, object)?;
                Ok(put(&mut self.revision, &mut self.request_authentications, item, findings))
            }
            Kind::WorkloadEntry => self.apply_machine(object),
            Kind::Ingress => self.apply_ingress(object),
            Kind::IngressClass => self.apply_ingress_class(object),
            Kind::Service => self.apply_service(object),
            Kind::EndpointSlice => self.apply_slice(object),
            Kind::Pod => self.apply_pod(object),
            Kind::Node => self.apply_node(object),
            Kind::ConfigMap => self.apply_config_map(object),
            Kind::Namespace | Kind::Secret | Kind::WorkloadGroup | Kind::ProxyConfig => {
                Ok(quiet(Change::Nothing))
            }
        }
    }

    /// The automatic addresses of ServiceEntries that are still to be written into their status.
    pub fn allocations(&self) -> Vec<Allocation> {
        automatic::missing(&Collection::of(&self.service_entries))
    }

    /// The keys that were fetched from a place; `None`: there are none any more.
    pub fn put_keys(&mut self, source: KeySource, keys: Option<&str>) -> Change {
        let next = self.revision + 1;
        if !Arc::make_mut(&mut self.key_sets).put(next, source, keys) {
            return Change::Nothing;
        }
        self.revision = next;
        Change::Configuration
    }

    /// Removes an object.
    pub fn delete(&mut self, kind: Kind, namespace: &str, name: &str) -> Change {
        let next = self.revision + 1;
        let (gone, change) = match kind {
            Kind::VirtualService => (
                drop_from(&mut self.virtual_services, next, namespace, name),
                Change::Configuration,
            ),
            Kind::DestinationRule => (
                drop_from(&mut self.destination_rules, next, namespace, name),
                Change::Configuration,
            ),
            Kind::ServiceEntry => {
                (drop_from(&mut self.service_entries, next, namespace, name), Change::Configuration)
            }
            Kind::Gateway => {
                (drop_from(&mut self.gateways, next, namespace, name), Change::Configuration)
            }
            Kind::Sidecar => {
                (drop_from(&mut self.sidecars, next, namespace, name), Change::Configuration)
            }
            Kind::EnvoyFilter => {
                (drop_from(&mut self.envoy_filters, next, namespace, name), Change::Configuration)
            }
            Kind::PeerAuthentication => (
                drop_from(&mut self.peer_authentications, next, namespace, name),
                Change::Configuration,
            ),
            Kind::AuthorizationPolicy => (
                drop_from(&mut self.authorization_policies, next, namespace, name),
                Change::Configuration,
            ),
            Kind::RequestAuthentication => (
                drop_from(&mut self.request_authentications, next, namespace, name),
                Change::Configuration,
            ),
            Kind::Ingress => {
                (drop_from(&mut self.ingresses, next, namespace, name), Change::Configuration)
            }
            Kind::IngressClass => {
                (drop_from(&mut self.ingress_classes, next, "", name), Change::Configuration)
            }
            Kind::Service => {
                (drop_from(&mut self.services, next, namespace, name), Change::Configuration)
            }
            Kind::WorkloadEntry => {
                self.stale.machine();
                (drop_from(&mut self.machines, next, namespace, name), Change::Endpoints)
            }
            Kind::EndpointSlice => {
                let gone = self.slices.remove(next, namespace, name);
                self.stale.slice(gone.as_deref());
                (gone.is_some(), Change::Endpoints)
            }
            Kind::Pod => {
                drop_from(&mut self.pods, next, namespace, name);
                let gone = self.workloads.remove(next, namespace, name);
                self.stale.workload(gone.as_deref());
                (gone.is_some(), Change::Endpoints)
            }
            Kind::Node => (drop_from(&mut self.nodes, next, "", name), Change::Endpoints),
            Kind::ConfigMap => return self.forget_mesh(namespace, name),
            Kind::Namespace | Kind::Secret | Kind::WorkloadGroup | Kind::ProxyConfig => {
                (false, Change::Nothing)
            }
        };
        if !gone {
            return Change::Nothing;
        }
        self.revision = next;
        change
    }

    fn apply_virtual_service(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let (mut item, findings) = read_item(Kind::VirtualService, self.revision + 1, object)?;
        let spec: &VirtualService = &item.spec;
        item.hosts = resolve_all(&spec.hosts, item.namespace(), &self.domain);
        item.export_to = ExportTo::parse(spec.export_to.iter().map(String::as_str));
        Ok(put(&mut self.revision, &mut self.virtual_services, item, findings))
    }

    fn apply_destination_rule(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let (mut item, findings) = read_item(Kind::DestinationRule, self.revision + 1, object)?;
        let spec: &DestinationRule = &item.spec;
        item.hosts = resolve_all([&spec.host], item.namespace(), &self.domain);
        item.export_to = ExportTo::parse(spec.export_to.iter().map(String::as_str));
        Ok(put(&mut self.revision, &mut self.destination_rules, item, findings))
    }

    fn apply_service_entry(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let (mut item, findings) = read_item(Kind::ServiceEntry, self.revision + 1, object)?;
        item.hosts = entry::hosts(&item.spec);
        item.spec.allocated = entry::allocated(object);
        item.export_to = ExportTo::parse(item.spec.export_to.iter().map(String::as_str));
        Ok(put(&mut self.revision, &mut self.service_entries, item, findings))
    }

    fn apply_machine(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let mut read: Object<WorkloadEntry> = decode("WorkloadEntry", object)?.object;
        read.spec.unhealthy = entry::is_unhealthy(object);
        let (namespace, name) = (read.metadata.namespace.clone(), read.metadata.name.clone());
        if self.machines.get(&namespace, &name).is_some_and(|old| old.spec == read.spec) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        self.stale.machine();
        self.machines.insert(self.revision, &namespace, &name, read);
        Ok(quiet(Change::Endpoints))
    }

    fn apply_service(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let read: api::Service = decode("Service", object)?.object;
        let service = Service::of_kubernetes(self.revision + 1, &read, &self.domain)
            .map_err(|e| Box::new(Finding::error("metadata.name", e.to_string())))?;
        let (namespace, name) = (&read.metadata.namespace, &read.metadata.name);
        let same =
            |old: &Arc<Service>| Service { version: service.version, ..(**old).clone() } == service;
        if self.services.get(namespace, name).is_some_and(same) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        self.services.insert(self.revision, namespace, name, service);
        Ok(quiet(Change::Configuration))
    }

    fn apply_ingress(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let read: Ingress = decode("Ingress", object)?.object;
        let (namespace, name) = (read.metadata.namespace.clone(), read.metadata.name.clone());
        let same = |old: &Arc<Ingress>| {
            old.spec == read.spec && old.metadata.annotations == read.metadata.annotations
        };
        if self.ingresses.get(&namespace, &name).is_some_and(same) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        self.ingresses.insert(self.revision, &namespace, &name, read);
        Ok(quiet(Change::Configuration))
    }

    fn apply_ingress_class(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let read: IngressClass = decode("IngressClass", object)?.object;
        let name = read.metadata.name.clone();
        if self.ingress_classes.get("", &name).is_some_and(|old| old.spec == read.spec) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        self.ingress_classes.insert(self.revision, "", &name, read);
        Ok(quiet(Change::Configuration))
    }

    fn apply_slice(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let read: EndpointSlice = decode("EndpointSlice", object)?.object;
        let (namespace, name) = (read.metadata.namespace.clone(), read.metadata.name.clone());
        let same = |old: &Arc<EndpointSlice>| {
            (&old.endpoints, &old.ports, old.service())
                == (&read.endpoints, &read.ports, read.service())
        };
        if self.slices.get(&namespace, &name).is_some_and(same) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        let before = self.slices.get(&namespace, &name).cloned();
        self.stale.slice(before.as_deref());
        self.stale.slice(Some(&read));
        self.slices.insert(self.revision, read);
        Ok(quiet(Change::Endpoints))
    }

    fn apply_pod(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let pod: Pod = decode("Pod", object)?.object;
        let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        let node = self.nodes.get("", &pod.spec.node_name).map(|n| &**n);
        let workload = Workload::of_pod(&pod, node);
        let old = self.workloads.get(&namespace, &name);
        let change = if old.map(|w| &**w) == workload.as_ref() {
            Change::Nothing
        } else {
            self.revision += 1;
            self.stale.workload(old.map(|w| &**w));
            self.stale.workload(workload.as_ref());
            match workload {
                Some(w) => self.workloads.insert(self.revision, &namespace, &name, w),
                None => drop(self.workloads.remove(self.revision, &namespace, &name)),
            }
            Change::Endpoints
        };
        self.pods.insert(self.revision, &namespace, &name, pod);
        Ok(quiet(change))
    }

    fn apply_node(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let node: Node = decode("Node", object)?.object;
        let (name, labels) = (node.metadata.name, node.metadata.labels);
        if self.nodes.get("", &name).is_some_and(|old| **old == labels) {
            return Ok(quiet(Change::Nothing));
        }
        self.revision += 1;
        let on_node: Vec<Arc<Pod>> =
            self.pods.map.values().filter(|p| p.spec.node_name == name).cloned().collect();
        for pod in on_node {
            let meta = &pod.metadata;
            if let Some(w) = Workload::of_pod(&pod, Some(&labels)) {
                self.stale.workload(Some(&w));
                self.workloads.insert(self.revision, &meta.namespace, &meta.name, w);
            }
        }
        self.nodes.insert(self.revision, "", &name, labels);
        Ok(quiet(Change::Endpoints))
    }

    fn apply_config_map(&mut self, object: &Value) -> Result<Applied, Box<Finding>> {
        let map: ConfigMap = decode("ConfigMap", object)?.object;
        if map.metadata.namespace != self.root || map.metadata.name != MESH_CONFIG_MAP {
            return Ok(quiet(Change::Nothing));
        }
        let yaml = map.data.get("mesh").map_or("", String::as_str);
        let (mut config, findings) = MeshConfig::parse(yaml);
        config.root_namespace.clone_from(&self.root);
        let about = ObjectRef::new("ConfigMap", &map.metadata.namespace, &map.metadata.name);
        let findings = findings.into_iter().map(|f| f.about(about.clone())).collect();
        Ok(Applied { change: self.set_mesh(config), findings })
    }

    fn forget_mesh(&mut self, namespace: &str, name: &str) -> Change {
        if namespace != self.root || name != MESH_CONFIG_MAP {
            return Change::Nothing;
        }
        let root_namespace = self.root.clone();
        self.set_mesh(MeshConfig { root_namespace, ..MeshConfig::default() })
    }

    fn set_mesh(&mut self, config: MeshConfig) -> Change {
        if self.mesh.config == config {
            return Change::Nothing;
        }
        self.revision += 1;
        self.mesh = Arc::new(Mesh::new(self.revision, config));
        Change::Configuration
    }
}

const MESH_CONFIG_MAP: &str = "istio";

fn quiet(change: Change) -> Applied {
    Applied { change, findings: Vec::new() }
}

fn read_item<T>(
    kind: Kind,
    version: u64,
    object: &Value,
) -> Result<(Item<T>, Vec<Finding>), Box<Finding>>
where
    T: Default + DeserializeOwned,
{
    let read = decode::<Object<T>>(kind.name(), object)?;
    Ok((Item::new(version, kind.name(), read.object), read.findings))
}

/// Stores an item unless it says the same as the one that is there.
fn put<T: PartialEq>(
    revision: &mut u64,
    table: &mut Table<Item<T>>,
    item: Item<T>,
    findings: Vec<Finding>,
) -> Applied {
    let (namespace, name) = (item.namespace().to_owned(), item.name().to_owned());
    let same = |old: &Arc<Item<T>>| {
        let (a, b) = (&old.metadata, &item.metadata);
        old.spec == item.spec
            && a.creation_timestamp == b.creation_timestamp
            && a.labels == b.labels
            && a.annotations == b.annotations
    };
    let about = item.object.clone();
    let findings = findings.into_iter().map(|f| f.about(about.clone())).collect();
    if table.get(&namespace, &name).is_some_and(same) {
        return Applied { change: Change::Nothing, findings };
    }
    *revision += 1;
    table.insert(*revision, &namespace, &name, item);
    Applied { change: Change::Configuration, findings }
}

fn drop_from<T>(table: &mut Table<T>, version: u64, namespace: &str, name: &str) -> bool {
    table.remove(version, namespace, name).is_some()
}

fn resolve_all<'a>(
    names: impl IntoIterator<Item = &'a String>,
    namespace: &str,
    domain: &str,
) -> Vec<Host> {
    names.into_iter().filter_map(|n| Host::resolve(n, namespace, domain).ok()).collect()
}
