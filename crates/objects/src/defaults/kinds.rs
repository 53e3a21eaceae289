//! Defaults of the other kinds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{each, set, spec, with_template};
use crate::meta::{as_map, at, child, metadata, name, text, uid};

pub fn service(object: &mut Value) {
    let spec = spec(object);
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return;
    }
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec.get("sessionAffinity") == Some(&json!("ClientIP")) {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    for port in each(spec.get_mut("ports")) {
        set(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        let absent = port.get("targetPort").is_none_or(|t| *t == json!(0) || *t == json!(""));
        if absent {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

/// `stringData` is written into `data`.
pub fn secret(object: &mut Value) {
    let map = as_map(object);
    set(map, "type", json!("Opaque"));
    if let Some(Value::Object(strings)) = map.shift_remove("stringData") {
        let data = child(object, "data");
        for (key, value) in strings {
            let bytes = value.as_str().unwrap_or_default();
            data.insert(key, STANDARD.encode(bytes).into());
        }
    }
}

pub fn namespace(object: &mut Value) {
    let own = name(object).to_owned();
    if !own.is_empty() {
        let labels = metadata(object).entry("labels").or_insert_with(|| json!({}));
        as_map(labels).insert("kubernetes.io/metadata.name".to_owned(), own.into());
    }
    if at(object, &["metadata", "deletionTimestamp"]).is_none() {
        set(spec(object), "finalizers", json!(["kubernetes"]));
    }
}

pub fn replication_controller(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    set(spec(object), "replicas", json!(1));
    if let Some(labels) = labels {
        set(spec(object), "selector", labels);
    }
    with_template(object, &["spec", "template"]);
}

pub fn deployment(object: &mut Value) {
    let spec = spec(object);
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    if let Some(strategy) = spec.get_mut("strategy") {
        let strategy = as_map(strategy);
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            set(strategy, "rollingUpdate", json!({}));
            let rolling = strategy.entry("rollingUpdate").or_insert(Value::Null);
            set(as_map(rolling), "maxSurge", json!("25%"));
            set(as_map(rolling), "maxUnavailable", json!("25%"));
        }
    }
    with_template(object, &["spec", "template"]);
}

pub fn daemon_set(object: &mut Value) {
    let spec = spec(object);
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    if let Some(strategy) = spec.get_mut("updateStrategy") {
        let strategy = as_map(strategy);
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            let rolling = strategy.entry("rollingUpdate").or_insert(Value::Null);
            set(as_map(rolling), "maxSurge", json!(0));
            set(as_map(rolling), "maxUnavailable", json!(1));
        }
    }
    with_template(object, &["spec", "template"]);
}

pub fn stateful_set(object: &mut Value) {
    let spec = spec(object);
    set(spec, "replicas", json!(1));
    set(spec, "serviceName", json!(""));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    set(spec, "updateStrategy", json!({}));
    if let Some(strategy) = spec.get_mut("updateStrategy") {
        let strategy = as_map(strategy);
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            let rolling = strategy.entry("rollingUpdate").or_insert(Value::Null);
            set(as_map(rolling), "partition", json!(0));
        }
    }
    with_template(object, &["spec", "template"]);
}

pub fn job(object: &mut Value) {
    let spec = spec(object);
    job_spec(spec);
    with_template(object, &["spec", "template"]);
}

fn job_spec(spec: &mut serde_json::Map<String, Value>) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    set(spec, "backoffLimit", json!(6));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
}

/// A job selects its pods by its uid.
pub fn job_on_create(object: &mut Value) {
    if at(object, &["spec", "manualSelector"]) == Some(&json!(true)) {
        return;
    }
    let (name, uid) = (name(object).to_owned(), uid(object).to_owned());
    let spec = spec(object);
    spec.insert(
        "selector".to_owned(),
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
    );
    let Some(template) = spec.get_mut("template") else { return };
    let labels = metadata(template).entry("labels").or_insert_with(|| json!({}));
    let labels = as_map(labels);
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.insert(format!("{prefix}controller-uid"), uid.clone().into());
        labels.insert(format!("{prefix}job-name"), name.clone().into());
    }
}

pub fn cron_job(object: &mut Value) {
    let spec = spec(object);
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    with_template(object, &["spec", "jobTemplate", "spec", "template"]);
}

pub fn network_policy(object: &mut Value) {
    let egress = at(object, &["spec", "egress"]).is_some();
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    set(spec(object), "policyTypes", types);
}

pub fn endpoints(object: &mut Value) {
    for subset in each(object.get_mut("subsets")) {
        for port in each(subset.get_mut("ports")) {
            set(port, "protocol", json!("TCP"));
        }
    }
}

pub fn endpoint_slice(object: &mut Value) {
    for port in each(object.get_mut("ports")) {
        set(port, "protocol", json!("TCP"));
        set(port, "name", json!(""));
    }
}

pub fn binding(object: &mut Value) {
    const RBAC: &str = "rbac.authorization.k8s.io";
    if object.get("roleRef").is_some() {
        set(child(object, "roleRef"), "apiGroup", json!(RBAC));
    }
    for subject in each(object.get_mut("subjects")) {
        if subject.get("kind") != Some(&json!("ServiceAccount")) {
            set(subject, "apiGroup", json!(RBAC));
        }
    }
}

pub fn webhooks(object: &mut Value, mutating: bool) {
    for webhook in each(object.get_mut("webhooks")) {
        set(webhook, "failurePolicy", json!("Fail"));
        set(webhook, "matchPolicy", json!("Equivalent"));
        set(webhook, "namespaceSelector", json!({}));
        set(webhook, "objectSelector", json!({}));
        set(webhook, "timeoutSeconds", json!(10));
        if mutating {
            set(webhook, "reinvocationPolicy", json!("Never"));
        }
        for rule in each(webhook.get_mut("rules")) {
            set(rule, "scope", json!("*"));
        }
        let service = webhook.get_mut("clientConfig").and_then(|c| c.get_mut("service"));
        if let Some(service) = service {
            set(as_map(service), "port", json!(443));
        }
    }
}

pub fn crd(object: &mut Value) {
    let kind = text(object, &["spec", "names", "kind"]).unwrap_or_default().to_owned();
    let spec = spec(object);
    set(spec, "conversion", json!({"strategy": "None"}));
    if !kind.is_empty()
        && let Some(names) = spec.get_mut("names")
    {
        set(as_map(names), "singular", kind.to_lowercase().into());
        set(as_map(names), "listKind", format!("{kind}List").into());
    }
}
