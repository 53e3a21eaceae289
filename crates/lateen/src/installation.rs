//! The mesh on the embedded cluster: `lateen up` applies the manifests of a profile (`default` where none is named) and waits
//! until control plane and gateway are ready. What is installed in this version already is left alone,
//! and the mesh configuration, which users edit, is never written over.

use crate::cli::Global;
use crate::cli::manifest;
use crate::cli::remote::Remote;
use crate::cluster_cli::Progress;
use anyhow::{Result, bail};
use install::{Profile, Values, Wishes};
use k8s::connection::ConnectError;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A machine on which this takes longer has something wrong with it.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// What the user asks for; what is not named is as it is installed, or as it comes.
#[derive(Debug, Default)]
pub struct Wanted {
    pub data_plane: Option<String>,
    pub profile: Option<Profile>,
    /// Of a file; it says everything that it does not name to be as it comes.
    pub wishes: Option<Wishes>,
}

/// Installs the mesh into the cluster of this kubeconfig, unless it is there; a data plane that is named
/// replaces the one that is installed.
pub async fn install(kubeconfig: &Path, wanted: &Wanted, progress: &Progress) -> Result<()> {
    let global = Global {
        kubeconfig: Some(kubeconfig.to_owned()),
        istio_namespace: "istio-system".into(),
        ..Global::default()
    };
    let mut remote = Remote::open(&global).await?;
    // Nobody but this machine reaches the embedded cluster, so stock Envoy may come without TLS.
    let mut values = Values { plaintext_discovery: true, ..Values::default() };
    let injection = find(&remote, INJECTION).await?;
    let named = wanted.data_plane.clone();
    if let Some(data_plane) = named.or_else(|| injection.as_ref().and_then(data_plane_of)) {
        values.data_plane = data_plane;
    }
    let of_file = wanted.wishes.as_ref();
    let profile = match wanted.profile.or(of_file.and_then(|w| w.profile)) {
        Some(profile) => profile,
        None => installed_profile(&remote).await?.unwrap_or(Profile::Default),
    };
    match of_file {
        Some(wishes) => wishes.fill(&mut values),
        None if wanted.profile.is_none() => values.without = installed_without(&remote).await?,
        None => {}
    }
    let manifests = install::manifests(profile, &values);
    let asked = wanted.data_plane.is_some() || of_file.is_some();
    if asked || !is_installed(&remote, profile, &manifests).await? {
        progress.say("installing the mesh");
        for object in &manifests {
            let kept = is_mesh_configuration(object) && values.mesh.is_empty();
            if !(kept && find(&remote, MESH_CONFIGURATION).await?.is_some()) {
                manifest::apply_object(&mut remote, object).await?;
            }
        }
    }
    for name in deployments(&manifests) {
        progress.say(&format!("waiting for {name}"));
        ready(&remote, name).await?;
    }
    Ok(())
}

async fn installed_profile(remote: &Remote) -> Result<Option<Profile>> {
    let mut runs = Vec::new();
    for name in [EGRESS, INGRESS, CONTROL_PLANE] {
        if find(remote, &deployment(name)).await?.is_some() {
            runs.push(name);
        }
    }
    let namespace = find(remote, NAMESPACE).await?;
    Ok(profile_of(namespace.as_ref().and_then(recorded), &runs))
}

/// The gateways that were left out.
async fn installed_without(remote: &Remote) -> Result<Vec<String>> {
    let namespace = find(remote, NAMESPACE).await?.unwrap_or_default();
    let names = namespace["metadata"]["annotations"][install::WITHOUT].as_str().unwrap_or_default();
    Ok(names.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect())
}

const EGRESS: &str = "istio-egressgateway";
const INGRESS: &str = "istio-ingressgateway";
const CONTROL_PLANE: &str = "istiod";

/// The profile that was installed last; where none is recorded, what runs tells it.
fn profile_of(recorded: Option<&str>, runs: &[&str]) -> Option<Profile> {
    let by_what_runs = || {
        let signs = [
            (EGRESS, Profile::Demo),
            (INGRESS, Profile::Default),
            (CONTROL_PLANE, Profile::Minimal),
        ];
        signs.into_iter().find(|(name, _)| runs.contains(name)).map(|(_, profile)| profile)
    };
    recorded.and_then(|name| name.parse().ok()).or_else(by_what_runs)
}

fn recorded(namespace: &Value) -> Option<&str> {
    namespace["metadata"]["annotations"][install::PROFILE].as_str()
}

fn deployments(manifests: &[Value]) -> impl Iterator<Item = &str> {
    let all = manifests.iter().filter(|o| o["kind"] == "Deployment");
    all.filter_map(|o| o["metadata"]["name"].as_str())
}

/// The profile is recorded, and what comes last of it is there in this version, and so is all before it.
async fn is_installed(remote: &Remote, profile: Profile, manifests: &[Value]) -> Result<bool> {
    let namespace = find(remote, NAMESPACE).await?;
    if namespace.as_ref().and_then(recorded) != Some(profile.name()) {
        return Ok(false);
    }
    let Some(last) = manifests.iter().rfind(|o| o["kind"] == "Deployment") else {
        return Ok(false);
    };
    let name = last["metadata"]["name"].as_str().unwrap_or_default();
    let there = find(remote, &deployment(name)).await?;
    let ports = |d: &Value| d["spec"]["template"]["spec"]["containers"][0]["ports"].clone();
    Ok(there.is_some_and(|d| image_of(&d) == image_of(last) && ports(&d) == ports(last)))
}

const NAMESPACE: &str = "/api/v1/namespaces/istio-system";
const MESH_CONFIGURATION: &str = "/api/v1/namespaces/istio-system/configmaps/istio";
const INJECTION: &str = "/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector";

fn is_mesh_configuration(object: &Value) -> bool {
    object["kind"] == "ConfigMap" && object["metadata"]["name"] == "istio"
}

/// The object, if there is one. The cluster process may have been killed a moment ago: no answer does
/// not mean that nothing is installed.
async fn find(remote: &Remote, path: &str) -> Result<Option<Value>> {
    let begun = Instant::now();
    loop {
        match remote.connection.get(path).await {
            Ok(reply) => return Ok(Some(reply.body)),
            Err(ConnectError::Status { code: 404, .. }) => return Ok(None),
            Err(ConnectError::Unreachable(_)) if begun.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The data plane that is installed, which stays if no other is named.
fn data_plane_of(injection: &Value) -> Option<String> {
    let values = injection["data"]["values"].as_str()?;
    let values: Value = serde_yaml_ng::from_str(values).ok()?;
    values["global"]["dataPlane"].as_str().map(str::to_owned)
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
        let deployment = find(remote, &path).await?;
        if deployment.as_ref().is_some_and(is_available) {
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
    fn the_data_plane_that_is_installed_is_read_from_what_was_installed() {
        let values = Values { data_plane: "envoy".into(), ..Values::default() };
        let all = install::manifests(Profile::Default, &values);
        let injection = all.iter().find(|o| {
            o["kind"] == "ConfigMap" && o["metadata"]["name"] == "istio-sidecar-injector"
        });
        assert_eq!(injection.and_then(data_plane_of).as_deref(), Some("envoy"));
        assert_eq!(data_plane_of(&json!({})), None);
    }

    #[test]
    fn the_profile_is_the_one_that_is_recorded_else_what_runs_tells_it() {
        let table: [(Option<&str>, &[&str], Option<Profile>); 7] = [
            (None, &[], None),
            (None, &[CONTROL_PLANE], Some(Profile::Minimal)),
            (None, &[INGRESS, CONTROL_PLANE], Some(Profile::Default)),
            (None, &[EGRESS, INGRESS, CONTROL_PLANE], Some(Profile::Demo)),
            // An installation that was cut off, and one that was larger before.
            (Some("default"), &[CONTROL_PLANE], Some(Profile::Default)),
            (Some("minimal"), &[EGRESS, INGRESS, CONTROL_PLANE], Some(Profile::Minimal)),
            (Some("unheard of"), &[CONTROL_PLANE], Some(Profile::Minimal)),
        ];
        for (recorded, runs, expected) in table {
            assert_eq!(profile_of(recorded, runs), expected, "{recorded:?} {runs:?}");
        }
    }

    #[test]
    fn what_is_installed_records_its_profile_first() {
        for profile in [Profile::Empty, Profile::Minimal, Profile::Default, Profile::Demo] {
            let all = install::manifests(profile, &Values::default());
            assert_eq!(all[0]["kind"], "Namespace");
            assert_eq!(profile_of(recorded(&all[0]), &[]), Some(profile));
            let names: Vec<&str> = deployments(&all).collect();
            assert!(profile == Profile::Empty || profile_of(None, &names) == Some(profile));
        }
    }

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
