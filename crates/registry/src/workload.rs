//! Workloads: what runs at an address. Pods, and the WorkloadEntries of machines.

use api::Pod;
use base::Labels;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The pod's or the entry's name; empty when nothing is known of an address.
    pub name: String,
    pub namespace: String,
    pub labels: Labels,
    pub service_account: String,
    pub node: String,
    pub locality: Locality,
    /// The Deployment (or its like) that it belongs to.
    pub workload_name: String,
    pub addresses: Vec<IpAddr>,
    /// Named container ports.
    pub ports: Vec<(String, u16)>,
    pub ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub sub_zone: String,
}

impl Locality {
    /// `region/zone/subzone`, or with dots as in labels, which may not hold slashes.
    pub fn parse(text: &str) -> Locality {
        let separator = if text.contains('/') { '/' } else { '.' };
        let mut parts = text.splitn(3, separator).map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Locality { region: next(), zone: next(), sub_zone: next() }
    }

    /// That a workload's own label says, which counts before its node's.
    pub(crate) fn of_own_labels(labels: &Labels) -> Option<Locality> {
        let own = ["istio-locality", "topology.istio.io/locality"];
        own.iter().find_map(|k| labels.get(*k)).map(|l| Locality::parse(l))
    }

    pub(crate) fn of_labels(labels: &Labels) -> Locality {
        let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Locality {
            region: get("topology.kubernetes.io/region"),
            zone: get("topology.kubernetes.io/zone"),
            sub_zone: get("topology.istio.io/subzone"),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Locality::default()
    }

    /// What a label about topology says of something that stands here, on this node; `None` for
    /// other labels, and for what is not known.
    pub fn label<'a>(&'a self, key: &str, node: &'a str) -> Option<&'a str> {
        let value = match key {
            "topology.kubernetes.io/region" => &self.region,
            "topology.kubernetes.io/zone" => &self.zone,
            "topology.istio.io/subzone" => &self.sub_zone,
            "topology.istio.io/cluster" => CLUSTER,
            "kubernetes.io/hostname" => node,
            _ => return None,
        };
        Some(value).filter(|v| !v.is_empty())
    }
}

/// The name that the one cluster goes by.
pub const CLUSTER: &str = "Kubernetes";

/// The label of pods whose sidecar ends mutual TLS.
pub const TAKES_MTLS: (&str, &str) = ("security.istio.io/tlsMode", "istio");

impl Workload {
    /// Whether its sidecar takes mesh mTLS.
    pub fn takes_mtls(&self) -> bool {
        self.labels.get(TAKES_MTLS.0).is_some_and(|m| m == TAKES_MTLS.1)
    }

    /// The service account that it runs as. A pod that names none has its namespace's `default`.
    pub fn account(&self) -> &str {
        match self.service_account.as_str() {
            "" if !self.node.is_empty() => "default",
            named => named,
        }
    }

    /// Label `service.istio.io/canonical-name`, else what stands in for it.
    pub fn canonical_name(&self) -> &str {
        let keys = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
        keys.iter().find_map(|k| self.labels.get(*k)).unwrap_or(&self.workload_name)
    }

    pub fn canonical_revision(&self) -> &str {
        let keys = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
        keys.iter().find_map(|k| self.labels.get(*k)).map_or("latest", String::as_str)
    }

    /// One of its labels; those about topology follow from where it runs.
    pub fn label(&self, key: &str) -> Option<&str> {
        let own = || self.labels.get(key).map(String::as_str);
        self.locality.label(key, &self.node).or_else(own)
    }

    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(n, _)| n == name).map(|(_, port)| *port)
    }

    /// A pod that has an address and has not ended. Its node's labels say where it stands, unless
    /// its own do.
    pub(crate) fn of_pod(pod: &Pod, node_labels: Option<&Labels>) -> Option<Workload> {
        if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") || pod.spec.host_network {
            return None;
        }
        let mut addresses: Vec<IpAddr> =
            pod.status.pod_ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect();
        if addresses.is_empty() {
            addresses.extend(pod.status.pod_ip.parse::<IpAddr>().ok());
        }
        if addresses.is_empty() {
            return None;
        }
        let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
        let ports = containers
            .flat_map(|c| &c.ports)
            .filter(|p| !p.name.is_empty())
            .map(|p| (p.name.clone(), p.container_port))
            .collect();
        let labels = pod.metadata.labels.clone();
        let of_node = || node_labels.map(Locality::of_labels);
        let locality = Locality::of_own_labels(&labels).or_else(of_node);
        Some(Workload {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            service_account: pod.spec.service_account_name.clone(),
            node: pod.spec.node_name.clone(),
            locality: locality.unwrap_or_default(),
            workload_name: owner_name(pod),
            addresses,
            ports,
            ready: pod.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True"),
            labels,
        })
    }

    /// What stands for an address that nobody describes.
    pub(crate) fn unknown(namespace: &str) -> Workload {
        Workload { namespace: namespace.to_owned(), ..Workload::default() }
    }
}

/// The name of the Deployment behind a pod's ReplicaSet; of any other owner, its own.
fn owner_name(pod: &Pod) -> String {
    let owners = &pod.metadata.owner_references;
    let Some(owner) = owners.iter().find(|o| o.controller).or(owners.first()) else {
        return pod.metadata.name.clone();
    };
    let hash = pod.metadata.labels.get("pod-template-hash");
    let deployment = hash.and_then(|h| owner.name.strip_suffix(h.as_str())?.strip_suffix('-'));
    match deployment {
        Some(name) if owner.kind == "ReplicaSet" => name.to_owned(),
        _ => owner.name.clone(),
    }
}

/// Workloads by address.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    pub version: u64,
    by_ip: HashMap<IpAddr, Arc<Workload>>,
}

impl Workloads {
    pub(crate) fn index(version: u64, all: impl Iterator<Item = Arc<Workload>>) -> Workloads {
        let mut by_ip = HashMap::new();
        for workload in all {
            for ip in &workload.addresses {
                by_ip.insert(*ip, workload.clone());
            }
        }
        Workloads { version, by_ip }
    }

    pub fn at(&self, ip: IpAddr) -> Option<&Arc<Workload>> {
        self.by_ip.get(&ip)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Arc<Workload>)> {
        self.by_ip.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_known_by_its_deployment_and_its_nodes_zone() {
        let pod = json!({
            "metadata": {"name": "reviews-v1-5b7-x", "namespace": "default",
                "labels": {"app": "reviews", "version": "v1", "pod-template-hash": "5b7"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "reviews-v1-5b7", "controller": true}]},
            "spec": {"serviceAccountName": "bookinfo-reviews",
                "containers": [{"name": "reviews", "ports": [{"name": "web", "containerPort": 9080}]}]},
            "status": {"phase": "Running", "podIP": "10.1.0.4"}
        });
        let pod: Pod = api::decode("Pod", &pod).unwrap().object;
        let node = Labels::from([("topology.kubernetes.io/region".into(), "eu".into())]);
        let workload = Workload::of_pod(&pod, Some(&node)).unwrap();
        assert_eq!(workload.workload_name, "reviews-v1");
        assert_eq!(workload.canonical_revision(), "v1");
        assert_eq!(workload.locality.region, "eu");
        assert_eq!(workload.port_named("web"), Some(9080));
    }

    #[test]
    fn localities() {
        let l = Locality::parse("eu.a.1");
        assert_eq!((l.region.as_str(), l.zone.as_str(), l.sub_zone.as_str()), ("eu", "a", "1"));
        assert_eq!(Locality::parse("eu/a/1"), l);
        assert_eq!(Locality::parse("eu").zone, "");
    }
}
