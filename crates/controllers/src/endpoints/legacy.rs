//! The older Endpoints object: written from the same backends, and, where a user writes it for a
//! Service without a selector, mirrored into slices.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::backends::{Backend, Family, families};
use super::{HEADLESS, MIRRORED, slices};
use crate::read;

pub fn endpoints(service: &Value, backends: &[Backend]) -> Value {
    let primary = families(service)[0];
    let mut groups: BTreeMap<String, Subset> = BTreeMap::new();
    for backend in backends.iter().filter(|b| b.family == primary) {
        let group = groups.entry(json!(backend.ports).to_string());
        let subset = group.or_insert_with(|| Subset::new(&backend.ports));
        if backend.ready {
            subset.ready.push(address(backend));
        } else if !backend.terminating {
            subset.not_ready.push(address(backend));
        }
    }
    let subsets: Vec<Value> = groups.into_values().filter_map(Subset::into_json).collect();
    let mut labels = read::labels_at(service, "/metadata/labels");
    labels.insert("endpoints.kubernetes.io/managed-by".to_owned(), json!("endpoint-controller"));
    if read::text(service, "/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": read::name(service),
            "namespace": read::namespace(service),
            "labels": labels,
        },
        "subsets": subsets,
    })
}

/// The addresses that share one set of ports.
struct Subset<'a> {
    ready: Vec<Value>,
    not_ready: Vec<Value>,
    ports: &'a [Value],
}

impl<'a> Subset<'a> {
    fn new(ports: &'a [Value]) -> Subset<'a> {
        Subset { ready: Vec::new(), not_ready: Vec::new(), ports }
    }

    fn into_json(self) -> Option<Value> {
        if self.ready.is_empty() && self.not_ready.is_empty() {
            return None;
        }
        let mut value = Map::new();
        let ports = self.ports.to_vec();
        for (field, list) in
            [("addresses", self.ready), ("notReadyAddresses", self.not_ready), ("ports", ports)]
        {
            if !list.is_empty() {
                value.insert(field.to_owned(), Value::Array(list));
            }
        }
        Some(Value::Object(value))
    }
}

fn address(backend: &Backend) -> Value {
    let mut value = Map::new();
    value.insert("ip".to_owned(), json!(backend.address));
    if let Some(hostname) = &backend.hostname {
        value.insert("hostname".to_owned(), json!(hostname));
    }
    if !backend.node.is_empty() {
        value.insert("nodeName".to_owned(), json!(backend.node));
    }
    value.insert("targetRef".to_owned(), backend.target.clone());
    Value::Object(value)
}

/// Slices that say what a user's Endpoints object says.
pub fn mirror(service: &Value, endpoints: &Value) -> Vec<Value> {
    let mut slices = Vec::new();
    for subset in read::list(endpoints, "/subsets") {
        for family in [Family::V4, Family::V6] {
            let ready = mirrored(subset, "/addresses", family, true);
            let not_ready = mirrored(subset, "/notReadyAddresses", family, false);
            let all: Vec<Value> = ready.chain(not_ready).collect();
            if !all.is_empty() {
                let ports = Value::Array(read::list(subset, "/ports").iter().map(named).collect());
                let index = slices.len();
                slices.push(slices::slice(service, MIRRORED, family, index, all, ports));
            }
        }
    }
    slices
}

fn mirrored<'a>(
    subset: &'a Value,
    list: &str,
    family: Family,
    ready: bool,
) -> impl Iterator<Item = Value> + 'a {
    let addresses = read::list(subset, list).iter();
    let addresses = addresses.filter(move |a| Family::of(read::text(a, "/ip")) == Some(family));
    addresses.map(move |address| {
        let mut value = Map::new();
        value.insert("addresses".to_owned(), json!([read::text(address, "/ip")]));
        value.insert("conditions".to_owned(), json!({"ready": ready}));
        for field in ["hostname", "nodeName", "targetRef"] {
            if let Some(part) = address.get(field).filter(|part| !part.is_null()) {
                value.insert(field.to_owned(), part.clone());
            }
        }
        Value::Object(value)
    })
}

/// A slice's port always has a name and a protocol.
fn named(port: &Value) -> Value {
    let mut port = port.clone();
    if port.get("name").is_none_or(Value::is_null) {
        port["name"] = json!("");
    }
    if port.get("protocol").is_none_or(Value::is_null) {
        port["protocol"] = json!("TCP");
    }
    port
}
