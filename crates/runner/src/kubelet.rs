//! The node at work: follows the API, keeps a worker for each pod, and answers for logs, programs
//! and connections inside pods. What it decides is decided in `lifecycle`; here it is done.

mod action;
mod logs;
mod network;
mod node;
mod plan;
mod probes;
mod serve;
mod sources;
mod terminal;
mod volumes;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use apiserver::{Change, Client};
use serde_json::Value;
use tokio::sync::{broadcast::error::RecvError, watch};

pub use network::{HostSide, NoHost};
pub use serve::PodAccess;

use crate::images::UserImages;
use crate::services::text;
use crate::shim::client::Shim;

/// How this node is made.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub name: String,
    /// Pods, their volumes and their logs live below it.
    pub state: PathBuf,
    /// Runs a shim, with the pod's directory as one more argument.
    pub shim_command: Vec<PathBuf>,
    pub node_ips: Vec<IpAddr>,
    pub dns_ip: IpAddr,
    pub domain: String,
    pub service_blocks: Vec<(IpAddr, u8)>,
    /// Pods get IPv6 addresses as well.
    pub dual_stack: bool,
    /// Load balancers get an address that the host can reach.
    pub load_balancers: bool,
    /// Where the node's relay to the outside listens, if there is one.
    pub outbound_relay: Option<u16>,
    /// Real Envoy, for proxies that run it.
    pub envoy: Option<PathBuf>,
}

/// What all workers share.
struct Shared {
    config: NodeConfig,
    client: Client,
    addresses: Mutex<BTreeSet<u16>>,
    /// Running pods by (namespace, name), for whoever asks for their logs.
    pods: Mutex<BTreeMap<(String, String), Running>>,
    /// Raised whenever a ConfigMap or Secret changes.
    content: watch::Sender<u64>,
}

#[derive(Clone)]
struct Running {
    uid: String,
    shim: Option<Shim>,
    /// (container, attempt, still running)
    attempts: Vec<(String, u32, bool)>,
}

/// A node that runs pods; clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Shared>);

impl Node {
    pub fn new(config: NodeConfig, client: Client) -> Self {
        let (content, _) = watch::channel(0);
        Node(Arc::new(Shared {
            config,
            client,
            addresses: Mutex::default(),
            pods: Mutex::default(),
            content,
        }))
    }

    /// Runs pods until the process ends.
    pub async fn run(self, host: Arc<dyn HostSide>) {
        let shared = self.0;
        // Subscribed before anything is listed, so nothing falls between.
        let mut events = shared.client.subscribe();
        node::register(&shared).await;
        tokio::spawn(node::heartbeat(shared.clone()));
        tokio::spawn(network::follow(shared.clone(), host));
        let mut workers = Workers { shared: shared.clone(), by_uid: BTreeMap::new() };
        workers.remove_strangers().await;
        workers.relist();
        loop {
            match events.recv().await {
                Ok(event) if event.resource.0.is_empty() => match event.resource.1.as_str() {
                    "pods" => workers.pod(event.change, &event.object),
                    "configmaps" | "secrets" => shared.content.send_modify(|n| *n += 1),
                    _ => {}
                },
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => workers.relist(),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// One task for each pod of this node.
struct Workers {
    shared: Arc<Shared>,
    by_uid: BTreeMap<String, watch::Sender<Option<Arc<Value>>>>,
}

impl Workers {
    fn pod(&mut self, change: Change, object: &Arc<Value>) {
        let uid = text(object, "/metadata/uid");
        if text(object, "/spec/nodeName") != self.shared.config.name {
            return;
        }
        let gone = change == Change::Deleted;
        match self.by_uid.get(uid) {
            Some(worker) if gone => {
                worker.send_replace(None);
                self.by_uid.remove(uid);
            }
            Some(worker) => {
                worker.send_replace(Some(object.clone()));
            }
            None if gone => {}
            None => {
                let (tell, told) = watch::channel(Some(object.clone()));
                self.by_uid.insert(uid.to_owned(), tell);
                tokio::spawn(worker::run(self.shared.clone(), told));
            }
        }
    }

    fn relist(&mut self) {
        let pods = self.shared.client.list("", "pods", None);
        let known: BTreeSet<&str> = pods.iter().map(|p| text(p, "/metadata/uid")).collect();
        self.by_uid.retain(|uid, worker| {
            let keep = known.contains(uid.as_str());
            if !keep {
                worker.send_replace(None);
            }
            keep
        });
        for pod in &pods {
            self.pod(Change::Modified, pod);
        }
        self.shared.content.send_modify(|n| *n += 1);
    }

    /// Ends what runs for pods that no longer exist, and notes the addresses of the others.
    async fn remove_strangers(&self) {
        let pods = self.shared.client.list("", "pods", None);
        let known: BTreeSet<&str> = pods.iter().map(|p| text(p, "/metadata/uid")).collect();
        let Ok(entries) = std::fs::read_dir(self.shared.pods_directory()) else { return };
        for directory in entries.flatten().map(|e| e.path()) {
            let uid = directory.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let running = Shim::find(&directory);
            if known.contains(uid) {
                if let Some((_, sandbox)) = running {
                    self.shared.take_address(&sandbox.ips);
                }
                continue;
            }
            if let Some((shim, _)) = running {
                shim.destroy().await;
            }
            if let Err(e) = std::fs::remove_dir_all(&directory) {
                tracing::warn!("{}: {e}", directory.display());
            }
        }
    }
}

/// Pods are 10.244.0.0/16 (and fd00:10:244::/112), the node is number 1 in it.
const POD_NET: [u8; 2] = [10, 244];
const POD_NET_V6: [u16; 7] = [0xfd00, 0x10, 0x244, 0, 0, 0, 0];
const FIRST: u16 = 2;
const LAST: u16 = 0xfffe;

/// The addresses of the pod with a number.
fn pod_ips(number: u16, dual_stack: bool) -> Vec<IpAddr> {
    let [high, low] = number.to_be_bytes();
    let mut ips = vec![IpAddr::V4(Ipv4Addr::new(POD_NET[0], POD_NET[1], high, low))];
    if dual_stack {
        let [a, b, c, d, e, f, g] = POD_NET_V6;
        ips.push(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, number)));
    }
    ips
}

fn number_of(ips: &[IpAddr]) -> Option<u16> {
    match ips.first()? {
        IpAddr::V4(v4) => {
            let [_, _, high, low] = v4.octets();
            Some(u16::from_be_bytes([high, low]))
        }
        IpAddr::V6(_) => None,
    }
}

impl Shared {
    fn pods_directory(&self) -> PathBuf {
        self.config.state.join("pods")
    }

    /// A number that no pod has, and that was not the last one given up.
    fn give_address(&self) -> Option<u16> {
        let mut taken = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let after = taken.last().map_or(FIRST, |n| n.saturating_add(1));
        let free = (after..=LAST).chain(FIRST..LAST).find(|n| !taken.contains(n))?;
        taken.insert(free);
        Some(free)
    }

    fn take_address(&self, ips: &[IpAddr]) {
        let mut taken = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(number_of(ips));
    }

    fn return_address(&self, ips: &[IpAddr]) {
        let mut taken = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = number_of(ips) {
            taken.remove(&number);
        }
    }

    fn node_ip(&self) -> IpAddr {
        self.config.node_ips.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The user's own image map; read anew for each container, since `image map` writes it.
    fn images(&self) -> UserImages {
        let text = std::fs::read(self.config.state.join("images.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn note(&self, object: &Value, kind: &str, reason: &str, message: &str) {
        self.client.record_event(object, kind, reason, message, "kubelet");
    }
}
