//! Who is connected, what each was sent and has acknowledged: for debug pages and for the status of
//! objects.

use base::{Finding, ObjectRef};
use compile::Proxy;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use xds::server::{Desired, Status};

/// A status does not become a book.
const MAX_FINDINGS: usize = 20;

/// All open streams.
pub(crate) struct Book {
    entries: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
    changed: watch::Sender<u64>,
}

struct Entry {
    proxy: Proxy,
    cluster_id: String,
    version: String,
    /// The protocol: `delta` or `sotw`.
    dialect: &'static str,
    /// By type: nonces last sent and last acknowledged, and the last refusal.
    sync: Vec<(ir::Kind, Status)>,
    resources: Arc<Desired>,
    findings: Arc<[Finding]>,
    applied: Applied,
}

/// How far a proxy has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The revision of the configuration that it was last told.
    pub told: u64,
    /// The newest revision that it holds whole.
    pub acked: u64,
    /// Why a newer one is held back.
    pub waits_for: Vec<String>,
}

impl Default for Book {
    fn default() -> Self {
        let entries = Mutex::default();
        Self { entries, next: AtomicU64::new(1), changed: watch::Sender::new(0) }
    }
}

impl Entry {
    /// The agent's own stream beside that of a data plane that knows nothing of names.
    fn is_for_names(&self) -> bool {
        let mut watched =
            self.sync.iter().filter(|(_, s)| s.watched).map(|(kind, _)| *kind).peekable();
        watched.peek().is_some() && watched.all(|kind| kind == ir::Kind::Names)
    }
}

/// An open stream; closing it takes it off the book.
pub(crate) struct Page<'a> {
    book: &'a Book,
    pub id: u64,
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        self.book.lock().remove(&self.id);
        self.book.ring();
    }
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn open(&self, proxy: &Proxy, metadata: &Value, dialect: &'static str) -> Page<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let entry = Entry {
            proxy: proxy.clone(),
            cluster_id: text("CLUSTER_ID"),
            version: text("ISTIO_VERSION"),
            dialect,
            sync: Vec::new(),
            resources: Arc::default(),
            findings: Arc::default(),
            applied: Applied::default(),
        };
        self.lock().insert(id, entry);
        self.ring();
        Page { book: self, id }
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn standings(&self) -> Vec<Applied> {
        self.lock().values().filter(|e| !e.is_for_names()).map(|e| e.applied.clone()).collect()
    }

    /// What was said about objects while compiling for any proxy, each thing once.
    pub fn findings(&self) -> HashMap<ObjectRef, Vec<Finding>> {
        let mut all: HashMap<ObjectRef, Vec<Finding>> = HashMap::new();
        for finding in self.lock().values().flat_map(|e| e.findings.iter()) {
            let Some(about) = &finding.object else { continue };
            let known = all.entry(about.clone()).or_default();
            if known.len() < MAX_FINDINGS && !known.contains(finding) {
                known.push(finding.clone());
            }
        }
        all
    }

    /// As `istioctl proxy-status` reads it.
    pub fn syncz(&self) -> Value {
        let entries = self.lock();
        let row = |e: &Entry| {
            let mut row = Map::new();
            row.insert("proxy".into(), e.proxy.name.as_str().into());
            row.insert("cluster_id".into(), e.cluster_id.as_str().into());
            row.insert("istio_version".into(), e.version.as_str().into());
            row.insert("proxy_type".into(), format!("{:?}", e.proxy.kind).to_lowercase().into());
            for (kind, status) in e.sync.iter().filter(|(_, s)| s.watched) {
                let name = name_of(*kind);
                // A proxy that came back with all it needs was sent nothing, and is in step.
                let resumed = status.sent_nonce.is_empty() && e.applied.acked == e.applied.told;
                let nonce = |n: &str| if resumed { "resumed".to_owned() } else { n.to_owned() };
                row.insert(format!("{name}_sent"), nonce(&status.sent_nonce).into());
                row.insert(format!("{name}_acked"), nonce(&status.acked_nonce).into());
            }
            Value::Object(row)
        };
        entries.values().filter(|e| !e.is_for_names()).map(row).collect()
    }

    pub fn connections(&self) -> Value {
        let entries = self.lock();
        let row = |(id, e): (&u64, &Entry)| {
            let refusals: BTreeMap<_, _> =
                e.sync.iter().filter_map(|(k, s)| Some((name_of(*k), s.error.as_ref()?))).collect();
            json!({"connectionId": format!("{}-{id}", e.proxy.id), "protocol": e.dialect,
                "told": e.applied.told, "acked": e.applied.acked,
                "waitsFor": e.applied.waits_for, "refused": refusals})
        };
        entries.iter().map(row).collect()
    }

    fn resources(&self, proxy: &str) -> Option<Arc<Desired>> {
        let entries = self.lock();
        let found = entries.values().find(|e| e.proxy.name == proxy || e.proxy.id == proxy)?;
        Some(found.resources.clone())
    }

    /// What a proxy's DNS is to answer; nothing where that is not ours.
    pub fn names(&self, proxy: &str) -> Option<Value> {
        let resources = self.resources(proxy)?;
        let key = ir::ResourceKey::new(ir::Kind::Names, "");
        let table = resources.get(&key);
        let json = table.and_then(|t| xds::to_json(&xds::type_url_of(key.kind), &t.bytes));
        Some(json.unwrap_or_else(|| json!({})))
    }

    /// What a proxy is to hold, resource by resource, as Envoy prints it.
    pub fn config_dump(&self, proxy: &str) -> Option<Value> {
        let resources = self.resources(proxy)?;
        let mut by_type: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, encoded) in resources.iter() {
            // Keys travel only to the proxy that they are for; names have a page of their own.
            if matches!(key.kind, ir::Kind::Secret | ir::Kind::Names) {
                continue;
            }
            let url = xds::type_url_of(key.kind);
            let json = xds::to_json(&url, &encoded.bytes);
            by_type.entry(url).or_default().extend(json);
        }
        let configs: Vec<Value> = by_type
            .into_iter()
            .map(|(url, resources)| json!({"@type": url, "resources": resources}))
            .collect();
        Some(json!({"configs": configs}))
    }
}

impl Page<'_> {
    fn with(&self, f: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.book.lock().get_mut(&self.id) {
            f(entry);
        }
    }

    /// What the proxy is to hold, and what there is to say about it.
    pub fn planned(&self, resources: Arc<Desired>, findings: Arc<[Finding]>) {
        self.with(|e| (e.resources, e.findings) = (resources, findings));
    }

    /// How far it has come.
    pub fn progress(&self, sync: Vec<(ir::Kind, Status)>, applied: Applied) {
        let mut changed = false;
        self.with(|e| {
            changed = e.applied != applied;
            (e.sync, e.applied) = (sync, applied);
        });
        if changed {
            self.book.ring();
        }
    }
}

/// As syncz names the types.
fn name_of(kind: ir::Kind) -> &'static str {
    match kind {
        ir::Kind::Cluster => "cluster",
        ir::Kind::Endpoints => "endpoint",
        ir::Kind::Listener => "listener",
        ir::Kind::Route => "route",
        ir::Kind::Secret => "secret",
        ir::Kind::Names => "names",
    }
}

/// As metrics name the types.
pub(crate) fn short(kind: ir::Kind) -> &'static str {
    match kind {
        ir::Kind::Cluster => "cds",
        ir::Kind::Endpoints => "eds",
        ir::Kind::Listener => "lds",
        ir::Kind::Route => "rds",
        ir::Kind::Secret => "sds",
        ir::Kind::Names => "nds",
    }
}
