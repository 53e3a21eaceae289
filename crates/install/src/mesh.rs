//! The ConfigMaps that the control plane reads: the mesh configuration and the injection values.

use crate::{Values, meta, values::overlay};
use serde_json::{Value, json};

pub(crate) fn config_maps(values: &Values) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta(values, "istio", "istiod"),
            "data": {"mesh": yaml(&mesh(values)), "meshNetworks": "networks: {}\n"}}),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta(values, "istio-sidecar-injector", "sidecar-injector"),
            "data": {
                "config": "policy: enabled\ndefaultTemplates: [sidecar]\n",
                "values": pretty(&values.for_injection())}}),
    ]
}

fn mesh(values: &Values) -> Value {
    let mut mesh = json!({
        "accessLogFile": "/dev/stdout",
        "defaultConfig": {
            "discoveryAddress": format!("istiod.{}.svc:15012", values.namespace),
        },
        "enablePrometheusMerge": true,
        "rootNamespace": values.namespace,
        "trustDomain": values.trust_domain,
    });
    overlay(&mut mesh, &values.mesh);
    mesh
}

/// Block YAML: people edit this ConfigMap by hand.
fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value).unwrap_or_else(|_| value.to_string())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
