//! EndpointSlices of a Service: one per address family and set of ports, at most 100 addresses each.
//! Names are a function of the Service and the slice's place, so a repeated write hits the same one.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::backends::{Backend, Family, families};
use super::{HEADLESS, MANAGED_BY, OURS, SERVICE_NAME};
use crate::hash::template_hash;
use crate::read;

const LARGEST: usize = 100;

pub fn of(service: &Value, backends: &[Backend]) -> Vec<Value> {
    families(service).into_iter().flat_map(|family| of_family(service, family, backends)).collect()
}

fn of_family(service: &Value, family: Family, backends: &[Backend]) -> Vec<Value> {
    let mut groups: BTreeMap<String, Vec<&Backend>> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| backend.family == family) {
        groups.entry(json!(backend.ports).to_string()).or_default().push(backend);
    }
    let mut groups: Vec<Vec<&Backend>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    if groups.is_empty() {
        // A Service without backends has an empty slice: known, and known to be empty.
        groups.push(Vec::new());
    }
    let chunks = groups.iter().flat_map(|group| match group.as_slice() {
        [] => vec![&[][..]],
        group => group.chunks(LARGEST).collect(),
    });
    chunks
        .enumerate()
        .map(|(index, chunk)| {
            let ports = chunk.first().map_or(Value::Null, |backend| json!(backend.ports));
            let endpoints = chunk.iter().map(|backend| endpoint(backend)).collect();
            slice(service, OURS, family, index, endpoints, ports)
        })
        .collect()
}

pub fn slice(
    service: &Value,
    manager: &str,
    family: Family,
    index: usize,
    endpoints: Vec<Value>,
    ports: Value,
) -> Value {
    let place = json!([read::name(service), manager, family.name(), index]);
    let hash = template_hash(&place, 0);
    let prefix: String = read::name(service).chars().take(56).collect();
    let mut labels = read::labels_at(service, "/metadata/labels");
    labels.insert(SERVICE_NAME.to_owned(), json!(read::name(service)));
    labels.insert(MANAGED_BY.to_owned(), json!(manager));
    if read::text(service, "/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{prefix}-{}", &hash[..5]),
            "namespace": read::namespace(service),
            "labels": labels,
            "ownerReferences": [read::controller_reference(service)],
        },
        "addressType": family.name(),
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn endpoint(backend: &Backend) -> Value {
    let mut value = Map::new();
    value.insert("addresses".to_owned(), json!([backend.address]));
    value.insert(
        "conditions".to_owned(),
        json!({
            "ready": backend.ready,
            "serving": backend.serving,
            "terminating": backend.terminating,
        }),
    );
    if let Some(hostname) = &backend.hostname {
        value.insert("hostname".to_owned(), json!(hostname));
    }
    if !backend.node.is_empty() {
        value.insert("nodeName".to_owned(), json!(backend.node));
    }
    value.insert("targetRef".to_owned(), backend.target.clone());
    Value::Object(value)
}
