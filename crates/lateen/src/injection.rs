//! Injection by hand (`lateen kube-inject`): the installation's own settings where a cluster answers,
//! the defaults of the release elsewhere, and the same pure function as the webhook.

use crate::cli::Global;
use crate::cli::remote::Remote;
use anyhow::{Result, bail};
use inject::{Context, Outcome, ProxyConfig, Values};
use serde_json::{Value, json};

pub struct Settings {
    mesh: Value,
    values: Values,
    proxy_configs: Vec<ProxyConfig>,
    nodes_run_native: bool,
    namespace: String,
}

/// From the ConfigMaps `istio` and `istio-sidecar-injector`.
pub async fn settings(global: &Global) -> Result<Settings> {
    let Ok(remote) = Remote::open(global).await else { return Ok(defaults(global)) };
    let path = format!("/api/v1/namespaces/{}/configmaps", global.istio_namespace);
    let injector = remote.connection.get(&format!("{path}/istio-sidecar-injector")).await;
    let mesh = remote.connection.get(&format!("{path}/istio")).await;
    let (Ok(injector), Ok(mesh)) = (injector, mesh) else {
        eprintln!("Warning: no control plane in {}: the defaults are used", global.istio_namespace);
        return Ok(defaults(global));
    };
    let values = serde_json::from_str(injector.body["data"]["values"].as_str().unwrap_or("{}"))?;
    let mesh = serde_yaml_ng::from_str(mesh.body["data"]["mesh"].as_str().unwrap_or("{}"))?;
    let configs = remote.connection.get("/apis/networking.istio.io/v1beta1/proxyconfigs").await;
    let configs = configs.map(|c| c.body).unwrap_or_default();
    let configs = configs["items"].as_array().into_iter().flatten();
    let proxy_configs = configs.map(ProxyConfig::from_json).collect();
    let nodes = remote.connection.get("/api/v1/nodes").await;
    let nodes_run_native = nodes.is_ok_and(|nodes| all_run_native(&nodes.body));
    let values = Values::from_json(&values);
    Ok(Settings { mesh, values, proxy_configs, nodes_run_native, namespace: remote.namespace })
}

fn all_run_native(nodes: &Value) -> bool {
    let nodes = nodes["items"].as_array().into_iter().flatten();
    inject::nodes_run_native(
        nodes.map(|n| n["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default()),
    )
}

fn defaults(global: &Global) -> Settings {
    Settings {
        mesh: json!({}),
        values: Values::from_json(&json!({})),
        proxy_configs: Vec::new(),
        nodes_run_native: false,
        namespace: global.namespace.clone().unwrap_or_else(|| "default".into()),
    }
}

/// The document with a sidecar in its pod template; other documents as they are.
pub fn inject_document(document: Value, settings: &Settings) -> Result<Value> {
    let ctx = Context {
        namespace: &settings.namespace,
        // Whoever injects by hand means it, whatever the namespace says.
        namespace_labels: None,
        mesh: &settings.mesh,
        values: &settings.values,
        proxy_configs: &settings.proxy_configs,
        nodes_run_native: settings.nodes_run_native,
        revision: "default",
        owner: None,
    };
    match inject::inject_document(&document, &ctx) {
        Outcome::Injected(new) => Ok(new),
        Outcome::Unchanged(_) => Ok(document),
        Outcome::Refused(findings) => {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            bail!("{} {name}: {}", document["kind"].as_str().unwrap_or_default(), lines.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_gets_a_sidecar_and_a_service_passes_through() {
        let settings = defaults(&Global::default());
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
            "spec": { "template": { "metadata": { "labels": { "app": "a" } },
                "spec": { "containers": [{ "name": "a", "image": "x" }] } } },
        });
        let injected = inject_document(deployment, &settings).unwrap();
        let containers = injected["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert!(containers.iter().any(|c| c["name"] == "istio-proxy"), "{injected}");
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" } });
        assert_eq!(inject_document(service.clone(), &settings).unwrap(), service);
    }
}
