//! The snapshot loop: watch events go into the registry, which has this one writer; snapshots come
//! out, when the debounce says so. Beside the registry stand the facts that injection and the
//! distribution of roots need.

use crate::credentials::Material;
use crate::debounce::Debounce;
use crate::env::SystemEnv;
use crate::keys;
use crate::metrics::Metrics;
use api::Kind;
use base::{Env, Finding, ObjectRef};
use k8s::{Change, Resource};
use registry::{Allocation, Services, Snapshot, Store};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What is published: the snapshot, and everything else that follows from the same objects.
#[derive(Clone, Debug)]
pub struct World {
    /// Counts the worlds that were published.
    pub sequence: u64,
    pub snapshot: Arc<Snapshot>,
    pub facts: Arc<Facts>,
    /// What could not be read, by object.
    pub findings: Arc<HashMap<ObjectRef, Vec<Finding>>>,
    /// Addresses that are to be written into ServiceEntries.
    pub allocations: Arc<[Allocation]>,
}

/// Objects beside the registry's.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Labels by namespace; a namespace that is going is not among them.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The mesh configuration as JSON.
    pub mesh: Value,
    pub injection: inject::Values,
    pub proxy_configs: Vec<inject::ProxyConfig>,
    /// The kubelet's version by node.
    pub kubelets: BTreeMap<String, String>,
    /// TLS material by (namespace, name).
    pub secrets: BTreeMap<(String, String), Arc<Material>>,
    /// Where Ingresses, and Services of the control plane's namespace, are said to be reached.
    pub balancers: BTreeMap<ObjectRef, Value>,
    /// Every configuration object, for its status.
    pub objects: BTreeMap<ObjectRef, Age>,
}

/// How old a configuration object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    pub generation: i64,
    /// The first world that has it as it is now.
    pub since: u64,
}

/// The collections that are watched.
pub(crate) fn resources() -> Vec<Resource> {
    Kind::ALL.into_iter().map(resource_of).collect()
}

pub(crate) fn resource_of(kind: Kind) -> Resource {
    let resource = Resource::named(kind.group(), kind.version(), kind.name(), kind.plural());
    if kind.is_namespaced() { resource } else { resource.cluster_wide() }
}

/// Reads changes and publishes worlds until the changes end.
pub(crate) async fn run(
    mut loader: Loader,
    mut changes: mpsc::Receiver<Change>,
    mut keys: mpsc::Receiver<keys::News>,
    metrics: Arc<Metrics>,
    publish: watch::Sender<Option<World>>,
) {
    let env = SystemEnv::default();
    let mut debounce = Debounce::default();
    loop {
        let due = debounce.due().filter(|_| loader.is_complete());
        let pause = due.map(|due| due.since(env.now()));
        let next = tokio::select! {
            biased;
            () = sleep_or_forever(pause) => {
                let world = loader.world();
                count(&metrics, &world);
                publish.send_replace(Some(world));
                debounce.published(env.now());
                continue;
            }
            Some((source, found)) = keys.recv() => {
                debounce.note(loader.store.put_keys(source, found.as_deref()), env.now());
                continue;
            }
            next = changes.recv() => next,
        };
        let Some(change) = next else { return };
        debounce.note(loader.take(change), env.now());
        // What came together is published together.
        while let Ok(change) = changes.try_recv() {
            debounce.note(loader.take(change), env.now());
        }
    }
}

fn count(metrics: &Metrics, world: &World) {
    let snapshot = &world.snapshot;
    metrics.gauge("pilot_services", &[], snapshot.services.len() as f64);
    metrics.gauge("pilot_virt_services", &[], snapshot.virtual_services.len() as f64);
}

async fn sleep_or_forever(pause: Option<std::time::Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// The writer: registry and facts.
pub(crate) struct Loader {
    store: Store,
    namespace: String,
    facts: Arc<Facts>,
    findings: Arc<HashMap<ObjectRef, Vec<Finding>>>,
    missing: HashSet<Resource>,
    sequence: u64,
    allocations: Arc<[Allocation]>,
    /// Of which `allocations` was made.
    services: Option<Arc<Services>>,
}

impl Loader {
    /// Worlds are published once all of `expected` have been told completely.
    pub fn new(domain: &str, namespace: &str, expected: &[Resource]) -> Self {
        Self {
            store: Store::new(domain, namespace),
            namespace: namespace.to_owned(),
            facts: Arc::default(),
            findings: Arc::default(),
            missing: expected.iter().copied().collect(),
            sequence: 0,
            allocations: Arc::default(),
            services: None,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    pub fn world(&mut self) -> World {
        self.sequence += 1;
        let snapshot = self.store.snapshot();
        if !self.services.as_ref().is_some_and(|last| Arc::ptr_eq(last, &snapshot.services)) {
            self.allocations = self.store.allocations().into();
            self.services = Some(snapshot.services.clone());
        }
        World {
            sequence: self.sequence,
            snapshot,
            facts: self.facts.clone(),
            findings: self.findings.clone(),
            allocations: self.allocations.clone(),
        }
    }

    /// Takes a change in, and says what it touches.
    pub fn take(&mut self, change: Change) -> registry::Change {
        match change {
            Change::Synced(resource) => {
                self.missing.remove(&resource);
                // The first world is due when the last collection is complete.
                if self.missing.is_empty() {
                    registry::Change::Endpoints
                } else {
                    registry::Change::Nothing
                }
            }
            Change::Apply { resource, object } => self.apply(resource, &object),
            Change::Delete { resource, namespace, name } => self.delete(resource, namespace, name),
        }
    }

    fn apply(&mut self, resource: Resource, object: &Value) -> registry::Change {
        let Some(kind) = Kind::of(&resource.api_version(), resource.kind) else {
            return registry::Change::Nothing;
        };
        let applied = self.store.apply(kind, object);
        let meta = &object["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&meta["namespace"]), text(&meta["name"]));
        let about = ObjectRef::new(kind.name(), &namespace, &name);
        self.note_findings(about.clone(), applied.findings);
        let noted = self.note_fact(kind, &namespace, &name, object);
        if kind.group() == "networking.istio.io" {
            let generation = meta["generation"].as_i64().unwrap_or(0);
            let known = self.facts.objects.get(&about);
            let unchanged = known.filter(|_| applied.change == registry::Change::Nothing);
            let since = unchanged.map_or(self.sequence + 1, |age| age.since);
            Arc::make_mut(&mut self.facts).objects.insert(about, Age { generation, since });
        }
        applied.change.max(noted)
    }

    fn note_findings(&mut self, about: ObjectRef, findings: Vec<Finding>) {
        if findings.is_empty() && !self.findings.contains_key(&about) {
            return;
        }
        let all = Arc::make_mut(&mut self.findings);
        if findings.is_empty() {
            all.remove(&about);
        } else {
            all.insert(about, findings);
        }
    }

    fn note_fact(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> registry::Change {
        match kind {
            Kind::Namespace => self.note_namespace(name, object),
            Kind::ConfigMap if namespace == self.namespace => self.note_config_map(name, object),
            Kind::Secret => self.note_secret(namespace, name, object),
            Kind::Node => self.note_node(name, object),
            Kind::Service if namespace == self.namespace => {
                self.note_balancer(kind, namespace, name, object)
            }
            Kind::Ingress => self.note_balancer(kind, namespace, name, object),
            Kind::ProxyConfig => self.note_proxy_config(Some(object), namespace, name),
            _ => registry::Change::Nothing,
        }
    }

    fn note_namespace(&mut self, name: &str, object: &Value) -> registry::Change {
        let facts = Arc::make_mut(&mut self.facts);
        if object["metadata"]["deletionTimestamp"].is_string() {
            facts.namespaces.remove(name);
        } else {
            facts.namespaces.insert(name.to_owned(), strings(&object["metadata"]["labels"]));
        }
        registry::Change::Endpoints
    }

    fn note_config_map(&mut self, name: &str, object: &Value) -> registry::Change {
        let text = |key: &str| object["data"][key].as_str().unwrap_or_default();
        let facts = Arc::make_mut(&mut self.facts);
        match name {
            "istio" => facts.mesh = serde_yaml_ng::from_str(text("mesh")).unwrap_or_default(),
            "istio-sidecar-injector" => {
                // JSON is YAML, and people edit it as either.
                let values: Value = serde_yaml_ng::from_str(text("values")).unwrap_or_default();
                facts.injection = inject::Values::from_json(&values);
            }
            _ => return registry::Change::Nothing,
        }
        registry::Change::Endpoints
    }

    fn note_balancer(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> registry::Change {
        let about = ObjectRef::new(kind.name(), namespace, name);
        let shown = &object["status"]["loadBalancer"];
        if self.facts.balancers.get(&about) == Some(shown) {
            return registry::Change::Nothing;
        }
        let facts = Arc::make_mut(&mut self.facts);
        facts.balancers.insert(about, shown.clone());
        registry::Change::Endpoints
    }

    /// Nodes say how they are every few seconds; only another kubelet is news.
    fn note_node(&mut self, name: &str, object: &Value) -> registry::Change {
        let version = &object["status"]["nodeInfo"]["kubeletVersion"];
        let version = version.as_str().unwrap_or_default();
        if self.facts.kubelets.get(name).is_some_and(|known| known == version) {
            return registry::Change::Nothing;
        }
        let facts = Arc::make_mut(&mut self.facts);
        facts.kubelets.insert(name.to_owned(), version.to_owned());
        registry::Change::Endpoints
    }

    fn note_proxy_config(
        &mut self,
        object: Option<&Value>,
        namespace: &str,
        name: &str,
    ) -> registry::Change {
        let all = &mut Arc::make_mut(&mut self.facts).proxy_configs;
        all.retain(|c| c.name() != name || c.namespace() != namespace);
        all.extend(object.map(inject::ProxyConfig::from_json));
        registry::Change::Endpoints
    }

    /// Only what has to do with TLS is kept.
    fn note_secret(&mut self, namespace: &str, name: &str, object: &Value) -> registry::Change {
        let key = (namespace.to_owned(), name.to_owned());
        let known = self.facts.secrets.get(&key);
        if known.is_some_and(|known| known.is_of(object)) {
            return registry::Change::Nothing;
        }
        let read = Material::read(object);
        if known.is_none() && read.is_none() {
            return registry::Change::Nothing;
        }
        let secrets = &mut Arc::make_mut(&mut self.facts).secrets;
        match read {
            Some(material) => drop(secrets.insert(key, Arc::new(material))),
            None => drop(secrets.remove(&key)),
        }
        registry::Change::Endpoints
    }

    fn delete(&mut self, resource: Resource, namespace: String, name: String) -> registry::Change {
        let Some(kind) = Kind::of(&resource.api_version(), resource.kind) else {
            return registry::Change::Nothing;
        };
        let about = ObjectRef::new(kind.name(), &namespace, &name);
        self.note_findings(about.clone(), Vec::new());
        let facts = Arc::make_mut(&mut self.facts);
        facts.objects.remove(&about);
        facts.balancers.remove(&about);
        let gone = match kind {
            Kind::Namespace => facts.namespaces.remove(&name).is_some(),
            Kind::Secret => facts.secrets.remove(&(namespace.clone(), name.clone())).is_some(),
            Kind::Node => facts.kubelets.remove(&name).is_some(),
            _ => false,
        };
        let noted = match kind {
            Kind::ProxyConfig => self.note_proxy_config(None, &namespace, &name),
            _ if gone => registry::Change::Endpoints,
            _ => registry::Change::Nothing,
        };
        self.store.delete(kind, &namespace, &name).max(noted)
    }
}

impl Facts {
    /// The namespaces that get the root certificate.
    pub(crate) fn meshed_namespaces(&self) -> BTreeSet<&str> {
        const CLUSTER: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
        self.namespaces.keys().map(String::as_str).filter(|n| !CLUSTER.contains(n)).collect()
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests;
