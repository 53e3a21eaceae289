//! The rim between served versions and the stored one: one stored object under all versions.

mod crd;
mod ingress;

use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Served};
use crate::meta::{as_map, at, child, join_api_version, text};

/// An object as the server stores it.
pub fn to_storage(kind: &Kind, served: &Served, mut object: Value) -> Value {
    let legacy = (served.group.as_str(), served.version.as_str());
    if legacy != (kind.group.as_str(), kind.storage_version.as_str()) && !kind.custom {
        match kind.kind.as_str() {
            "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => workload(&mut object),
            "Ingress" => ingress::to_v1(&mut object),
            "CustomResourceDefinition" => crd::to_v1(&mut object),
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                webhooks(&mut object)
            }
            "HorizontalPodAutoscaler" if served.version == "v1" => autoscaler_to_v2(&mut object),
            "Event" => event_to_core(&mut object),
            _ => {}
        }
    }
    let map = as_map(&mut object);
    map.insert("apiVersion".to_owned(), kind.storage_api_version().into());
    map.insert("kind".to_owned(), kind.kind.clone().into());
    object
}

/// A stored object under a served version.
pub fn from_storage(kind: &Kind, served: &Served, object: &Value) -> Value {
    let mut object = object.clone();
    let version = (served.group.as_str(), served.version.as_str());
    if version != (kind.group.as_str(), kind.storage_version.as_str()) && !kind.custom {
        match kind.kind.as_str() {
            "Ingress" => ingress::from_v1(&mut object),
            "CustomResourceDefinition" => crd::from_v1(&mut object),
            "HorizontalPodAutoscaler" if served.version == "v1" => autoscaler_from_v2(&mut object),
            "Event" => event_from_core(&mut object),
            _ => {}
        }
    }
    let map = as_map(&mut object);
    map.insert("apiVersion".to_owned(), join_api_version(&served.group, &served.version).into());
    map.insert("kind".to_owned(), kind.kind.clone().into());
    object
}

/// Old workloads may leave the selector to the template's labels, and know fields that are gone.
fn workload(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    spec.shift_remove("rollbackTo");
    spec.shift_remove("templateGeneration");
    if let (None, Some(labels)) = (spec.get("selector"), labels) {
        spec.insert("selector".to_owned(), json!({"matchLabels": labels}));
    }
}

/// The defaults of v1beta1 webhooks differ from today's, so they are written out.
fn webhooks(object: &mut Value) {
    let Some(Value::Array(list)) = object.get_mut("webhooks") else { return };
    for webhook in list {
        let map = as_map(webhook);
        for (key, value) in [
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Exact")),
            ("timeoutSeconds", json!(30)),
            ("sideEffects", json!("None")),
            ("admissionReviewVersions", json!(["v1beta1"])),
        ] {
            map.entry(key).or_insert(value);
        }
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    if let Some(percent) = spec.shift_remove("targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
}

fn autoscaler_from_v2(object: &mut Value) {
    let percent = object
        .pointer("/spec/metrics/0/resource/target/averageUtilization")
        .filter(|_| object.pointer("/spec/metrics/0/resource/name") == Some(&json!("cpu")))
        .cloned();
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    spec.shift_remove("metrics");
    spec.shift_remove("behavior");
    if let Some(percent) = percent {
        spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
    }
}

/// (core, events.k8s.io) names of the same fields.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn event_to_core(object: &mut Value) {
    rename(as_map(object), EVENT_FIELDS.iter().map(|(core, new)| (*new, *core)));
}

fn event_from_core(object: &mut Value) {
    rename(as_map(object), EVENT_FIELDS.iter().copied());
}

fn rename<'a>(map: &mut Map<String, Value>, names: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in names {
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

/// Takes a value out of an object and puts it under another name.
fn take(map: &mut Map<String, Value>, from: &str, to: &str) {
    rename(map, std::iter::once((from, to)));
}

fn string(value: &Value, key: &str) -> Option<String> {
    text(value, &[key]).map(str::to_owned)
}

#[cfg(test)]
mod tests;
