//! The mesh on the embedded cluster: `lateen up` applies the manifests of the default profile and waits
//! until control plane and gateway are ready. What is installed in this version already is left alone,
//! and the mesh configuration, which users edit, is never written over.

use crate::cli::Global;
use crate::cli::manifest;
use crate::cli::remote::Remote;
use crate::cluster_cli::Progress;
use anyhow::{Result, bail};
use install::{Profile, Values};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A machine on which this takes longer has something wrong with it.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// Installs the mesh into the cluster of this kubeconfig, unless it is there; a data plane that is named
/// replaces the one that is installed.
pub async fn install(
    kubeconfig: &Path,
    data_plane: Option<&str>,
    progress: &Progress,
) -> Result<()> {
    let global = Global {
        kubeconfig: Some(kubeconfig.to_owned()),
        istio_namespace: "istio-system".into(),
        ..Global::default()
    };
    let mut remote = Remote::open(&global).await?;
    // Nobody but this machine reaches the embedded cluster, so stock Envoy may come without TLS.
    let mut values = Values { plaintext_discovery: true, ..Values::default() };
    if let Some(data_plane) = data_plane {
        values.data_plane = data_plane.to_owned();
    }
    // The gateway is applied last, so all else is there when it is.
    let gateway = remote.connection.get(&deployment("istio-ingressgateway")).await;
    let installed = gateway.is_ok_and(|g| image_of(&g.body) == Some(&values.image("proxyv2")));
    if !installed || data_plane.is_some() {
        progress.say("installing the mesh");
        for object in install::manifests(Profile::Default, &values) {
            if !(is_mesh_configuration(&object) && exists(&remote, MESH_CONFIGURATION).await) {
                manifest::apply_object(&mut remote, &object).await?;
            }
        }
    }
    for name in ["istiod", "istio-ingressgateway"] {
        progress.say(&format!("waiting for {name}"));
        ready(&remote, name).await?;
    }
    Ok(())
}

const MESH_CONFIGURATION: &str = "/api/v1/namespaces/istio-system/configmaps/istio";

fn is_mesh_configuration(object: &Value) -> bool {
    object["kind"] == "ConfigMap" && object["metadata"]["name"] == "istio"
}

async fn exists(remote: &Remote, path: &str) -> bool {
    remote.connection.get(path).await.is_ok()
}

fn deployment(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/istio-system/deployments/{name}")
}

fn image_of(deployment: &Value) -> Option<&str> {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str()
}

async fn ready(remote: &Remote, name: &str) -> Result<()> {
    let path = deployment(name);
    let begun = Instant::now();
    loop {
        let deployment = remote.connection.get(&path).await?.body;
        if is_available(&deployment) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "{name} is not ready after {} s; `lateen describe pods -n istio-system -l app={name}` and \
                 `lateen logs -n istio-system deploy/{name}` tell why",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All of its newest pods serve.
fn is_available(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && number("updatedReplicas") >= wanted
        && number("replicas") == number("updatedReplicas")
        && number("availableReplicas") >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_old_status_does_not_make_a_new_deployment_ready() {
        let deployment = |observed: u64, available: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": {
                "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
                "availableReplicas": available}})
        };
        assert!(is_available(&deployment(2, 1)));
        assert!(!is_available(&deployment(1, 1)));
        assert!(!is_available(&deployment(2, 0)));
        assert!(!is_available(&json!({"metadata": {"generation": 1}})));
    }
}
