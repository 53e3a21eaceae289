//! Applications that speak xDS themselves, with our agent and no proxy beside them: what they are told by their
//! environment and find in volumes that the agent fills, as Istio's template `grpc-agent` has it.

use crate::pod::{PROXY, list_mut, name};
use serde_json::{Value, json};

/// Where the agent puts the bootstrap and its socket, and the workload's certificates.
pub(crate) const CONFIGURATION: &str = "/etc/istio/proxy";
const CERTIFICATES: &str = "/var/lib/istio/data";

/// Of the agent.
pub(crate) fn env() -> Vec<Value> {
    let set = |(name, value): (&str, &str)| json!({"name": name, "value": value});
    let all = [
        ("ISTIO_META_GENERATOR", "grpc"),
        ("OUTPUT_CERTS", CERTIFICATES),
        ("GRPC_XDS_BOOTSTRAP", &bootstrap()),
        ("DISABLE_ENVOY", "true"),
    ];
    all.into_iter().map(set).collect()
}

fn bootstrap() -> String {
    format!("{CONFIGURATION}/grpc-bootstrap.json")
}

/// Tells every container of the application where its bootstrap is; what it says itself stays.
pub(crate) fn prepare(pod: &mut Value) {
    for container in list_mut(&mut pod["spec"], "containers").iter_mut() {
        if name(container) == PROXY {
            continue;
        }
        for (variable, value) in [
            ("GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", "true"),
            ("GRPC_XDS_BOOTSTRAP", bootstrap().as_str()),
        ] {
            add(container, "env", "name", json!({"name": variable, "value": value}));
        }
        for (volume, path) in [("istio-data", CERTIFICATES), ("istio-envoy", CONFIGURATION)] {
            let mount = json!({"name": volume, "mountPath": path, "readOnly": true});
            add(container, "volumeMounts", "mountPath", mount);
        }
    }
}

fn add(container: &mut Value, list: &str, key: &str, item: Value) {
    let list = list_mut(container, list);
    if !list.iter().any(|known| known[key] == item[key]) {
        list.push(item);
    }
}
