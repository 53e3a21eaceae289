//! Defaults of pods and pod templates.

use serde_json::{Map, Value, json};

use super::{each, set};
use crate::meta::{as_map, at, items, metadata};

/// Mode 0644 of files in volumes.
const FILE_MODE: i64 = 0o644;

pub fn pod(object: &mut Value) {
    let pod_spec = super::spec(object);
    spec(pod_spec);
    set(pod_spec, "enableServiceLinks", json!(true));
    for key in ["initContainers", "containers"] {
        for container in each(pod_spec.get_mut(key)) {
            requests_from_limits(container);
        }
    }
}

/// A new pod waits, and knows its quality-of-service class.
pub fn on_create(object: &mut Value) {
    let class = qos_class(object);
    metadata(object).shift_remove("deletionTimestamp");
    as_map(object).insert("status".to_owned(), json!({"phase": "Pending", "qosClass": class}));
}

pub fn spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    let account = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned();
    if let Some(account) = account {
        set(spec, "serviceAccountName", account.clone());
        spec.insert("serviceAccount".to_owned(), account);
    }
    for key in ["initContainers", "containers"] {
        each(spec.get_mut(key)).for_each(container);
    }
    each(spec.get_mut("volumes")).for_each(volume);
}

fn container(container: &mut Map<String, Value>) {
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if floating(image) { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", json!(policy));
    for port in each(container.get_mut("ports")) {
        set(port, "protocol", json!("TCP"));
    }
    for variable in each(container.get_mut("env")) {
        let field = variable.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef"));
        if let Some(field) = field {
            set(as_map(field), "apiVersion", json!("v1"));
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = container.get_mut(key) {
            probe(as_map(value));
        }
    }
    let hooks = container.get_mut("lifecycle").and_then(Value::as_object_mut);
    for hook in hooks.into_iter().flat_map(|h| h.values_mut()) {
        http_get(as_map(hook));
    }
}

/// Whether an image's tag may move: `:latest` or none, and no digest.
fn floating(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Map<String, Value>) {
    set(probe, "timeoutSeconds", json!(1));
    set(probe, "periodSeconds", json!(10));
    set(probe, "successThreshold", json!(1));
    set(probe, "failureThreshold", json!(3));
    http_get(probe);
    if let Some(grpc) = probe.get_mut("grpc") {
        set(as_map(grpc), "service", json!(""));
    }
}

fn http_get(action: &mut Map<String, Value>) {
    if let Some(get) = action.get_mut("httpGet") {
        set(as_map(get), "path", json!("/"));
        set(as_map(get), "scheme", json!("HTTP"));
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(key) {
            let source = as_map(source);
            set(source, "defaultMode", json!(FILE_MODE));
            downward(source);
            for projected in each(source.get_mut("sources")) {
                if let Some(token) = projected.get_mut("serviceAccountToken") {
                    set(as_map(token), "expirationSeconds", json!(3600));
                }
                if let Some(api) = projected.get_mut("downwardAPI") {
                    downward(as_map(api));
                }
            }
        }
    }
    if let Some(path) = volume.get_mut("hostPath") {
        set(as_map(path), "type", json!(""));
    }
}

fn downward(source: &mut Map<String, Value>) {
    for item in each(source.get_mut("items")) {
        if let Some(field) = item.get_mut("fieldRef") {
            set(as_map(field), "apiVersion", json!("v1"));
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let limits = container.get("resources").and_then(|r| r.get("limits")).cloned();
    let Some(Value::Object(limits)) = limits else { return };
    let Some(resources) = container.get_mut("resources") else { return };
    let requests = crate::meta::child(resources, "requests");
    for (key, value) in limits {
        set(requests, &key, value);
    }
}

fn qos_class(pod: &Value) -> &'static str {
    let containers = ["initContainers", "containers"].iter();
    let containers: Vec<&Value> =
        containers.flat_map(|key| items(pod, &["spec", key]).iter()).collect();
    let has = |c: &Value, part: &str| {
        at(c, &["resources", part]).and_then(Value::as_object).is_some_and(|m| !m.is_empty())
    };
    if !containers.iter().any(|c| has(c, "requests") || has(c, "limits")) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = at(c, &["resources", "limits", resource]);
            limit.is_some() && limit == at(c, &["resources", "requests", resource])
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
