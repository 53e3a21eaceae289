//! Istio's part of telemetry: workloads tell each other who they are, and both ends count requests and
//! connections under Istio's labels.

use crate::record::Record;
use crate::runtime::{ManagerRt, TcpRt};
use crate::view::ClusterState;
use crate::worker::Worker;
use ir::{Str, Value};
use policy::format::Identities;
use policy::peer::{self, Workload};
use policy::{Flags, Stream};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use telemetry::{
    Peer, Reporter, RequestCells, RequestLabels, Security, SetCache, TcpCells, TcpLabels,
};
use wire::{Fields, Head, RequestHead};

/// The node that this proxy belongs to.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub id: String,
    pub metadata: BTreeMap<Str, Value>,
}

impl Node {
    /// From a node's metadata as JSON.
    pub fn from_json(id: &str, metadata: &serde_json::Value) -> Self {
        let metadata = match value(metadata) {
            Value::Struct(fields) => fields,
            _ => BTreeMap::new(),
        };
        Self { id: id.to_owned(), metadata }
    }
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => Value::Number(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Value::String(s.as_str().into()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(value).collect()),
        serde_json::Value::Object(fields) => {
            Value::Struct(fields.iter().map(|(k, v)| (k.as_str().into(), value(v))).collect())
        }
    }
}

/// A workload that was met, under a number that is never used again.
#[derive(Debug, Default)]
pub struct Known {
    id: u32,
    peer: Peer,
}

/// What one worker knows of workloads, and the counters it has looked up.
#[derive(Debug)]
pub struct Memory {
    own: Rc<Known>,
    /// The headers that tell peers about us.
    told: Option<(String, String)>,
    known: RefCell<HashMap<Box<[u8]>, Rc<Known>>>,
    next: std::cell::Cell<u32>,
    requests: RefCell<SetCache<RequestKey, RequestCells>>,
    connections: RefCell<SetCache<TcpKey, TcpCells>>,
}

/// Workloads that are remembered; beyond that memory begins anew.
const REMEMBERED: usize = 4096;

#[derive(Debug, PartialEq, Eq, Hash)]
struct TcpKey {
    reporter: Reporter,
    cluster: Option<Str>,
    flags: Flags,
    source: u32,
    destination: u32,
    security: Security,
    identities: Option<Rc<Identities>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RequestKey {
    common: TcpKey,
    code: u16,
    grpc: bool,
    grpc_status: Option<u32>,
    /// The host, where it names the service.
    host: Option<Box<[u8]>>,
}

/// The service that a cluster leads to, as its metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub host: Str,
    pub name: Str,
    pub namespace: Str,
}

impl Service {
    pub fn of(cluster: &ir::Cluster) -> Option<Self> {
        let Value::List(services) = cluster.metadata.get("istio")?.get("services")? else {
            return None;
        };
        let text = |key: &str| services.first()?.get(key)?.as_str().map(Str::from);
        Some(Self {
            host: text("host")?,
            name: text("name").unwrap_or_default(),
            namespace: text("namespace").unwrap_or_default(),
        })
    }
}

fn known(id: u32, workload: Workload) -> Rc<Known> {
    let peer = Peer {
        workload: workload.workload,
        namespace: workload.namespace,
        canonical_service: workload.canonical_service,
        canonical_revision: workload.canonical_revision,
        app: workload.app,
        version: workload.version,
        cluster: workload.cluster,
        principal: "".into(),
    };
    Rc::new(Known { id, peer })
}

impl Memory {
    pub fn new(node: Option<&Node>) -> Self {
        let own = node.map(|n| Workload::from_metadata(&n.metadata)).unwrap_or_default();
        Self {
            own: known(1, own),
            told: node.map(|n| (peer::header(&n.metadata), n.id.clone())),
            known: RefCell::default(),
            next: std::cell::Cell::new(2),
            requests: RefCell::default(),
            connections: RefCell::default(),
        }
    }

    fn meet(&self, said: &[u8], read: impl FnOnce() -> Option<Workload>) -> Option<Rc<Known>> {
        let mut all = self.known.borrow_mut();
        if let Some(found) = all.get(said) {
            return Some(found.clone());
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let id = self.next.get();
        self.next.set(id.wrapping_add(1).max(2));
        let new = known(id, read()?);
        all.insert(said.into(), new.clone());
        Some(new)
    }

    /// Takes what a peer says of itself out of a head.
    fn take(&self, fields: &mut Fields) -> (bool, Option<Rc<Known>>) {
        let said = fields.get(peer::METADATA);
        let met = said.and_then(|said| self.meet(said, || Workload::from_header(said)));
        let spoke = fields.remove(peer::ID) | fields.remove(peer::METADATA);
        (spoke, met)
    }

    fn tell(&self, fields: &mut Fields) {
        if let Some((metadata, id)) = &self.told {
            fields.set(peer::METADATA, metadata.as_bytes());
            fields.set(peer::ID, id.as_bytes());
        }
    }
}

/// The workloads at both ends of a request.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    downstream: Option<Rc<Known>>,
    upstream: Option<Rc<Known>>,
    /// The client told of itself, so it wants to know of us.
    asked: bool,
}

/// A request has come: what the client says of itself is for us, not for the upstream.
pub fn receive(manager: &ManagerRt, record: &mut Record) {
    if manager.peers.as_ref().is_some_and(|p| p.downstream_discovery) {
        let memory = &record.worker.istio;
        let (asked, downstream) = memory.take(&mut record.heads.request.fields);
        record.peers = Peers { asked, downstream, upstream: None };
    }
}

/// A request is about to be sent.
pub fn send(manager: &ManagerRt, record: &mut Record) {
    if manager.peers.as_ref().is_some_and(|p| p.upstream_propagation) {
        record.worker.istio.tell(&mut record.heads.request.fields);
    }
}

/// An endpoint was picked: it may be known before it says anything.
pub fn picked(manager: &ManagerRt, record: &mut Record, workload: Option<&str>) {
    if manager.stats_filter.is_some()
        && let Some(text) = workload
    {
        let memory = &record.worker.istio;
        record.peers.upstream = memory.meet(text.as_bytes(), || Workload::from_endpoint(text));
    }
}

/// An answer has come.
pub fn answered(manager: &ManagerRt, record: &mut Record) {
    let Some(rules) = &manager.peers else { return };
    let memory = &record.worker.istio;
    let fields = &mut record.heads.response.fields;
    if rules.upstream_discovery {
        let (_, upstream) = memory.take(fields);
        record.peers.upstream = upstream.or(record.peers.upstream.take());
    }
    if rules.downstream_propagation && record.peers.asked {
        memory.tell(fields);
    }
}

/// Unless the cluster's metadata says that its servers are not of the mesh.
pub fn takes_alpn(cluster: &ir::Cluster) -> bool {
    let said = cluster.metadata.get("istio").and_then(|m| m.get("alpn_override"));
    said.and_then(Value::as_str) != Some("false")
}

/// The workload that an endpoint's metadata names.
pub fn workload_of(endpoint: &ir::Endpoint) -> Option<Str> {
    match endpoint.metadata.get("istio")?.get("workload")? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Counts a finished request.
pub fn count(manager: &ManagerRt, record: &Record) {
    let Some(filter) = &manager.stats_filter else { return };
    if record.stream.status == 0 && record.stream.flags.is_empty() {
        return;
    }
    let worker = &record.worker;
    let memory = &worker.istio;
    let request = &record.heads.request;
    let service = record.cluster.as_ref().and_then(|c| c.service.as_ref());
    let by_host = service.is_none() && !filter.disable_host_header_fallback;
    let ends = Ends::new(memory, filter.destination, &record.peers);
    let grpc = request.get(b"content-type").is_some_and(|c| c.starts_with(b"application/grpc"));
    let common = ends.key(filter.destination, record.cluster.as_deref(), &record.stream);
    let key = RequestKey {
        common,
        code: record.stream.status,
        grpc,
        grpc_status: record.grpc_status.filter(|_| grpc),
        host: by_host.then(|| request.authority().into()),
    };
    let registry = &worker.shared.registry;
    let cells = memory.requests.borrow_mut().get(key, || {
        let host = String::from_utf8_lossy(request.authority());
        let host = if by_host { &*host } else { "" };
        let flags = record.stream.flags.to_string();
        let meant = meant(&record.stream).unwrap_or_else(|| "".into());
        let ends = ends.with_principals(filter.destination, &record.stream);
        let common = ends.labels(
            filter.destination,
            record.cluster.as_deref(),
            host,
            &flags,
            &meant,
            &record.stream,
        );
        let (code, grpc_status) = (record.stream.status, record.grpc_status.filter(|_| grpc));
        RequestLabels { common, code, grpc_status, grpc }.cells(registry)
    });
    let shard = &worker.shard;
    shard.inc(cells.requests);
    let took = record.stream.duration.unwrap_or_default().as_millis() as u64;
    shard.observe(cells.duration_ms, took);
    shard.observe(cells.request_bytes, record.stream.bytes_received);
    shard.observe(cells.response_bytes, record.stream.bytes_sent);
}

/// The counters of one TCP connection, if they are wanted.
pub fn connection(
    worker: &Worker,
    proxy: &TcpRt,
    upstream: Option<(&ClusterState, Option<Str>)>,
    stream: &Stream,
) -> Option<TcpCells> {
    let filter = proxy.stats_filter.as_ref()?;
    let memory = &worker.istio;
    let (cluster, workload) = upstream.unzip();
    let peer = workload
        .flatten()
        .and_then(|text| memory.meet(text.as_bytes(), || Workload::from_endpoint(&text)));
    let peers = Peers { upstream: peer, ..Peers::default() };
    let ends = Ends::new(memory, filter.destination, &peers);
    let key = ends.key(filter.destination, cluster, stream);
    let registry = &worker.shared.registry;
    let cells = memory.connections.borrow_mut().get(key, || {
        let flags = stream.flags.to_string();
        let meant = meant(stream).unwrap_or_else(|| "".into());
        let ends = ends.with_principals(filter.destination, stream);
        ends.labels(filter.destination, cluster, "", &flags, &meant, stream).cells(registry)
    });
    Some(cells)
}

/// Who asked whom.
struct Ends {
    source: Rc<Known>,
    destination: Rc<Known>,
}

impl Ends {
    fn new(memory: &Memory, inbound: bool, peers: &Peers) -> Self {
        let or_unknown = |peer: &Option<Rc<Known>>| peer.clone().unwrap_or_default();
        if inbound {
            Self { source: or_unknown(&peers.downstream), destination: memory.own.clone() }
        } else {
            Self { source: memory.own.clone(), destination: or_unknown(&peers.upstream) }
        }
    }

    fn key(&self, inbound: bool, cluster: Option<&ClusterState>, stream: &Stream) -> TcpKey {
        TcpKey {
            reporter: reporter(inbound),
            cluster: cluster.map(|c| c.config.name.clone()).or_else(|| meant(stream)),
            flags: stream.flags,
            source: self.source.id,
            destination: self.destination.id,
            security: security(inbound, stream),
            identities: identities(inbound, stream).cloned(),
        }
    }

    /// With what certificates have proved.
    fn with_principals(&self, inbound: bool, stream: &Stream) -> Self {
        let identities = identities(inbound, stream);
        let named = |known: &Rc<Known>, principal: Option<&Str>| match principal {
            None => known.clone(),
            Some(name) => {
                let peer = Peer { principal: name.clone(), ..known.peer.clone() };
                Rc::new(Known { id: known.id, peer })
            }
        };
        let (local, remote) = (identities.map(|i| &i.local), identities.map(|i| &i.remote));
        let (source, destination) = if inbound { (remote, local) } else { (local, remote) };
        Self {
            source: named(&self.source, source),
            destination: named(&self.destination, destination),
        }
    }

    fn labels<'a>(
        &'a self,
        inbound: bool,
        cluster: Option<&'a ClusterState>,
        host: &'a str,
        flags: &'a str,
        meant: &'a str,
        stream: &Stream,
    ) -> TcpLabels<'a> {
        let service = cluster.and_then(|c| c.service.as_ref());
        let meant = cluster.map_or(meant, |c| &*c.config.name);
        TcpLabels {
            reporter: reporter(inbound),
            source: &self.source.peer,
            destination: &self.destination.peer,
            service: service.map_or(host, |s| &s.host),
            service_name: service.map_or(meant, |s| &s.name),
            service_namespace: service.map_or("", |s| &s.namespace),
            flags,
            security: security(inbound, stream),
        }
    }
}

/// The cluster that was meant and has no endpoints, as the one that refuses; requests to unknown hosts
/// are refused by their route.
fn meant(stream: &Stream) -> Option<Str> {
    match &stream.route {
        Some(route) if &**route == "block_all" => Some("BlackHoleCluster".into()),
        _ => stream.cluster.clone(),
    }
}

fn reporter(inbound: bool) -> Reporter {
    if inbound { Reporter::Destination } else { Reporter::Source }
}

/// Of the connection that joins the two proxies.
fn identities(inbound: bool, stream: &Stream) -> Option<&Rc<Identities>> {
    let ends = if inbound { &stream.downstream } else { &stream.upstream };
    ends.as_ref()?.identities.as_ref()
}

/// Only the destination knows whether the client proved who it is.
fn security(inbound: bool, stream: &Stream) -> Security {
    let proved = stream.peer.as_ref().is_some_and(|p| !p.certificate_hash.is_empty());
    match (inbound, proved) {
        (false, _) => Security::Unknown,
        (true, true) => Security::MutualTls,
        (true, false) => Security::None,
    }
}
