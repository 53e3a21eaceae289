//! The Node object, its heartbeat, and the endpoints of the API server itself.

use std::sync::Arc;
use std::time::Duration;

use apiserver::Ref;
use serde_json::{Value, json};

use super::Shared;
use crate::status;

const HEARTBEAT: Duration = Duration::from_secs(120);
const API_PORT: u16 = 6443;

/// Shows the node as ready, and the API server behind the service `kubernetes`.
pub async fn register(shared: &Shared) {
    let name = &shared.config.name;
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(), "node-role.kubernetes.io/control-plane": "",
        }},
        "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
    });
    let reference = cluster_object("", "nodes", name, None);
    if shared.client.get(&reference).is_none() {
        say_failure("the Node", shared.client.create(node).await);
    }
    let patch = json!({ "status": node_status(shared) });
    say_failure("the Node", shared.client.merge_patch(&reference, Some("status"), patch).await);
    endpoints(shared).await;
    beat(shared).await;
}

/// Keeps the lease and the node's conditions from looking abandoned.
pub async fn heartbeat(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        beat(&shared).await;
    }
}

async fn beat(shared: &Shared) {
    let name = &shared.config.name;
    let now = format!("{:.6}", jiff::Timestamp::now());
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 360, "renewTime": now});
    let reference = cluster_object("coordination.k8s.io", "leases", name, Some("kube-node-lease"));
    if shared.client.get(&reference).is_some() {
        let patch = json!({ "spec": spec });
        return say_failure("the Lease", shared.client.merge_patch(&reference, None, patch).await);
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec,
    });
    say_failure("the Lease", shared.client.create(lease).await);
}

/// `kubernetes` leads to the API server on the node's own address.
async fn endpoints(shared: &Shared) {
    let ip = shared.node_ip().to_string();
    let port = json!([{"name": "https", "port": API_PORT, "protocol": "TCP"}]);
    let legacy = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": ip}], "ports": port}],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": port,
    });
    for (group, resource, object) in
        [("", "endpoints", legacy), ("discovery.k8s.io", "endpointslices", slice)]
    {
        let reference = cluster_object(group, resource, "kubernetes", Some("default"));
        let done = match shared.client.get(&reference) {
            Some(_) => shared.client.merge_patch(&reference, None, object).await,
            None => shared.client.create(object).await,
        };
        say_failure("the endpoints of the API server", done);
    }
}

fn node_status(shared: &Shared) -> Value {
    let now = status::time(jiff::Timestamp::now().as_millisecond());
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let capacity =
        json!({"cpu": cpus.to_string(), "memory": format!("{}Ki", memory_kib()), "pods": "500"});
    let mut addresses: Vec<Value> = shared
        .config
        .node_ips
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": shared.config.name}));
    json!({
        "capacity": capacity, "allocatable": capacity, "addresses": addresses,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough process numbers"),
            condition("Ready", "True", "KubeletReady", "the node runs pods"),
        ],
        "nodeInfo": {
            "architecture": architecture(), "operatingSystem": "linux",
            "osImage": os_image(), "kernelVersion": kernel(), "machineID": "", "systemUUID": "",
            "bootID": "", "containerRuntimeVersion": concat!("lateen://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": "v1.33.0", "kubeProxyVersion": "",
        },
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

fn memory_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("MemTotal:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn cluster_object(group: &str, resource: &str, name: &str, namespace: Option<&str>) -> Ref {
    Ref {
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

fn say_failure<T>(what: &str, result: Result<T, apiserver::ApiError>) {
    if let Err(e) = result {
        tracing::warn!("{what}: {}", e.message);
    }
}
