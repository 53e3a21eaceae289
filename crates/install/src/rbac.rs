//! Who may do what: the control plane reads configuration and reviews tokens, gateways read their secrets.

use crate::{Values, meta};
use serde_json::{Value, json};

pub(crate) fn objects(values: &Values) -> Vec<Value> {
    let ns = &values.namespace;
    let control = format!("istiod-clusterrole-{ns}");
    let reader = format!("istio-reader-clusterrole-{ns}");
    vec![
        account(values, "istiod", "istiod"),
        account(values, "istio-reader-service-account", "istio-reader"),
        cluster_role(values, &control, control_rules()),
        cluster_role(values, &reader, reader_rules()),
        cluster_binding(values, &control, "istiod"),
        cluster_binding(values, &reader, "istio-reader-service-account"),
        role(values, "istiod", namespace_rules()),
        binding(values, "istiod", "istiod"),
    ]
}

pub(crate) fn account(values: &Values, name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(values, name, app)})
}

pub(crate) fn role(values: &Values, name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": meta(values, name, "istiod"),
        "rules": rules})
}

pub(crate) fn binding(values: &Values, name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": meta(values, name, "istiod"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [subject(values, account)]})
}

fn cluster_role(values: &Values, name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": cluster_meta(values, name),
        "rules": rules})
}

fn cluster_binding(values: &Values, role: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": cluster_meta(values, role),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject(values, account)]})
}

fn subject(values: &Values, account: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": account, "namespace": values.namespace})
}

/// Objects of the whole cluster have no namespace.
pub(crate) fn cluster_meta(values: &Values, name: &str) -> Value {
    let mut meta = meta(values, name, "istiod");
    if let Some(fields) = meta.as_object_mut() {
        fields.remove("namespace");
    }
    meta
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

const READ: [&str; 3] = ["get", "list", "watch"];
const MESH_GROUPS: [&str; 5] = [
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
    "rbac.istio.io",
];

fn control_rules() -> Value {
    Value::Array(vec![
        rule(
            &["admissionregistration.k8s.io"],
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(&MESH_GROUPS, &["*"], &READ),
        rule(&MESH_GROUPS[..4], &["*/status"], &["get", "update", "patch"]),
        rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &READ),
        rule(&[""], &["pods", "nodes", "services", "namespaces", "endpoints", "secrets"], &READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], &READ),
        rule(&["networking.k8s.io"], &["ingresses", "ingressclasses"], &READ),
        rule(&["networking.k8s.io"], &["ingresses/status"], &["get", "update", "patch"]),
        // The root certificate goes into every namespace.
        rule(&[""], &["configmaps"], &["get", "list", "watch", "create", "update", "patch"]),
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
    ])
}

fn reader_rules() -> Value {
    Value::Array(vec![
        rule(&MESH_GROUPS, &["*"], &READ),
        rule(
            &[""],
            &[
                "endpoints",
                "pods",
                "services",
                "nodes",
                "replicationcontrollers",
                "namespaces",
                "secrets",
            ],
            &READ,
        ),
        rule(&["apps"], &["replicasets"], &READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], &READ),
    ])
}

/// What the control plane may do in its own namespace only.
fn namespace_rules() -> Value {
    Value::Array(vec![
        rule(&[""], &["secrets"], &["create", "get", "watch", "list", "update", "delete", "patch"]),
        rule(&["coordination.k8s.io"], &["leases"], &["get", "create", "update", "patch"]),
    ])
}
