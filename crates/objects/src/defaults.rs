//! What a user may leave out and sees filled in afterwards.

mod kinds;
mod pod;

use serde_json::{Map, Value, json};

use crate::meta::{as_map, at};

/// Fills in the defaults of a built-in kind, in its stored version.
pub fn fill(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::pod(object),
        ("", "Service") => kinds::service(object),
        ("", "Secret") => kinds::secret(object),
        ("", "Namespace") => kinds::namespace(object),
        ("", "ReplicationController") => kinds::replication_controller(object),
        ("", "PersistentVolumeClaim") => set(spec(object), "volumeMode", json!("Filesystem")),
        ("", "Endpoints") => kinds::endpoints(object),
        ("", "PodTemplate") => with_template(object, &["template"]),
        ("apps", "Deployment") => kinds::deployment(object),
        ("apps", "ReplicaSet") => {
            set(spec(object), "replicas", json!(1));
            with_template(object, &["spec", "template"]);
        }
        ("apps", "DaemonSet") => kinds::daemon_set(object),
        ("apps", "StatefulSet") => kinds::stateful_set(object),
        ("batch", "Job") => kinds::job(object),
        ("batch", "CronJob") => kinds::cron_job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => set(spec(object), "minReplicas", json!(1)),
        ("networking.k8s.io", "NetworkPolicy") => kinds::network_policy(object),
        ("discovery.k8s.io", "EndpointSlice") => kinds::endpoint_slice(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            kinds::binding(object)
        }
        ("storage.k8s.io", "StorageClass") => {
            set(as_map(object), "reclaimPolicy", json!("Delete"));
            set(as_map(object), "volumeBindingMode", json!("Immediate"));
        }
        ("admissionregistration.k8s.io", kind) => {
            kinds::webhooks(object, kind == "MutatingWebhookConfiguration");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => kinds::crd(object),
        _ => {}
    }
}

/// What a built-in kind gets once, when it is created and has its uid.
pub fn on_create(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::on_create(object),
        ("", "Namespace") => {
            as_map(object).insert("status".to_owned(), json!({"phase": "Active"}));
        }
        ("", "PersistentVolumeClaim" | "PersistentVolume") => {
            as_map(object).insert("status".to_owned(), json!({"phase": "Pending"}));
        }
        ("", "Service") => {
            as_map(object).insert("status".to_owned(), json!({"loadBalancer": {}}));
        }
        ("batch", "Job") => kinds::job_on_create(object),
        _ => {}
    }
}

fn set(map: &mut Map<String, Value>, key: &str, value: Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value);
    }
}

fn spec(object: &mut Value) -> &mut Map<String, Value> {
    crate::meta::child(object, "spec")
}

/// Pod defaults of a template.
fn with_template(object: &mut Value, path: &[&str]) {
    if at(object, path).is_none() {
        return;
    }
    let template = path.iter().try_fold(object, |value, key| value.get_mut(*key));
    if let Some(template) = template.filter(|t| t.get("spec").is_some()) {
        pod::spec(crate::meta::child(template, "spec"));
    }
}

fn each(value: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    value.and_then(Value::as_array_mut).into_iter().flatten().map(as_map)
}

#[cfg(test)]
mod tests;
