//! A case as it is written: what it is about, what runs where, what is asked, and the objects.

use crate::support;
use base::Finding;
use registry::Store;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

pub struct Case {
    pub title: String,
    pub source: String,
    pub asks: Vec<Ask>,
    /// Parts of what there must be to say.
    pub warns: Vec<String>,
    pub store: Store,
}

/// The first document of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    title: String,
    source: String,
    #[serde(default)]
    workloads: Vec<Workload>,
    asks: Vec<Ask>,
    #[serde(default)]
    warns: Vec<String>,
}

/// A pod that is ready; the Services that select it have it as an endpoint.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    ip: String,
    labels: BTreeMap<String, String>,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    unready: bool,
}

/// One request or connection, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The namespace of the client.
    #[serde(default = "default_namespace")]
    pub from: String,
    /// Its labels; with `gateway: true` those of the gateway that is asked.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub gateway: bool,
    /// Where the client runs, as `region/zone/subzone`, and its node.
    #[serde(default)]
    pub locality: String,
    #[serde(default)]
    pub node: String,
    /// `http://host:port/path`.
    #[serde(default)]
    pub get: String,
    #[serde(default = "default_method")]
    pub method: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Bytes without meaning, to this `host:port`.
    #[serde(default)]
    pub tcp: String,
    /// TLS to this `host:port`, with this server name.
    #[serde(default)]
    pub tls: String,
    #[serde(default)]
    pub sni: String,
    /// In place of the address that the host has.
    #[serde(default)]
    pub to: String,
    pub gets: String,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_method() -> String {
    "GET".to_owned()
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} {:?} ", self.from, self.labels)?;
        write!(f, "{}{}{} {:?}", self.get, self.tcp, self.tls, self.headers)
    }
}

impl Case {
    pub fn read(text: &str) -> Case {
        let (head, objects) = text.split_once("\n---\n").expect("a head, then objects");
        let head: Head = serde_yaml_ng::from_str(head).unwrap_or_else(|e| panic!("{e} in {head}"));
        let mut store = support::store();
        support::apply(&mut store, objects);
        for workload in &head.workloads {
            add_pod(&mut store, workload);
        }
        for service in support::documents(objects).iter().filter(|o| o["kind"] == "Service") {
            add_slice(&mut store, service, &head.workloads);
        }
        let Head { title, source, asks, warns, .. } = head;
        Case { title, source, asks, warns, store }
    }

    /// What there is to say about the configuration of a client in the default namespace.
    pub fn findings(&mut self) -> Vec<String> {
        let client = support::sidecar("default", "client", "v1", "10.255.0.1");
        let said = compile::compile(&self.store.snapshot(), &client).findings;
        said.iter().map(Finding::to_string).collect()
    }
}

fn add_pod(store: &mut Store, w: &Workload) {
    let name = format!("pod-{}", w.ip.replace(['.', ':'], "-"));
    let object = json!({
        "metadata": {"name": name, "namespace": w.namespace, "labels": w.labels},
        "spec": {"nodeName": w.node},
        "status": {"phase": "Running", "podIP": w.ip,
            "conditions": [{"type": "Ready", "status": if w.unready { "False" } else { "True" }}]}
    });
    store.apply(api::Kind::Pod, &object);
}

fn add_slice(store: &mut Store, service: &Value, workloads: &[Workload]) {
    let namespace = service["metadata"]["namespace"].as_str().unwrap_or("default");
    let Some(selector) = service["spec"]["selector"].as_object() else { return };
    let selected = |w: &&Workload| {
        w.namespace == namespace
            && selector.iter().all(|(k, v)| w.labels.get(k).map(String::as_str) == v.as_str())
    };
    let endpoints = workloads
        .iter()
        .filter(selected)
        .map(|w| json!({"addresses": [w.ip], "conditions": {"ready": !w.unready}}));
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().map(|p| {
        let target = if p["targetPort"].is_u64() { &p["targetPort"] } else { &p["port"] };
        json!({"name": p["name"], "port": target})
    });
    let name = &service["metadata"]["name"];
    let object = json!({
        "metadata": {"name": name, "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    });
    store.apply(api::Kind::EndpointSlice, &object);
}
