//! Trust: the authority's roots are put where proxies and the cluster's API look for them, and the
//! control plane's own certificate is signed by it.

use crate::authority::Authority;
use crate::world::World;
use crate::{Options, StartError};
use base::TrustDomain;
use ca::Names;
use k8s::{Client, Resource};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tls::{Credential, CredentialSource, Trust, TrustSource};
use tokio::sync::watch;

const CONFIG_MAP: &str = "istio-ca-root-cert";
/// The control plane's own certificate is renewed well before a proxy's would be.
const SERVING_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The mesh's trust domain and then its aliases, which later changes of the ConfigMap do not change for a
/// running mesh.
pub(crate) async fn trust_domains(
    client: &Client,
    options: &Options,
) -> Result<(String, Arc<[TrustDomain]>), StartError> {
    let namespace = Some(options.namespace.as_str());
    let map = client.get(&Resource::CONFIG_MAP, namespace, "istio").await?.unwrap_or_default();
    let mesh: Value = serde_yaml_ng::from_str(map["data"]["mesh"].as_str().unwrap_or_default())
        .unwrap_or_default();
    let domain = mesh["trustDomain"].as_str().filter(|d| !d.is_empty());
    let own = domain.unwrap_or(&options.cluster_domain).to_owned();
    let aliases = mesh["trustDomainAliases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let aliases = aliases.iter().filter_map(Value::as_str);
    let all = [own.as_str()].into_iter().chain(aliases).map(|d| TrustDomain(d.into())).collect();
    Ok((own, all))
}

/// A certificate for the control plane's own servers.
pub(crate) async fn serving(
    authority: &Authority,
    options: &Options,
) -> Result<Credential, StartError> {
    let names = Names::Server(options.dns_names());
    let nobody = base::SpiffeId::new("cluster.local", &options.namespace, "istiod");
    let (csr, key) = tls::request(&nobody)?;
    let mut issued = authority.issue(&csr, names, SERVING_LIFE).await?;
    // Who connects has the roots.
    issued.chain.pop();
    Ok(Credential::from_pem(&issued.chain.concat(), &key)?)
}

/// Renews the serving certificate at half of its life and whenever another root signs, and lets in whom
/// the roots of the moment vouch for; for ever.
pub(crate) async fn keep_serving(
    authority: Authority,
    options: Options,
    source: CredentialSource,
    trust: TrustSource,
) {
    let mut roots = authority.follow();
    loop {
        tokio::select! {
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(SERVING_LIFE / 2) => {}
        }
        match Trust::from_pem(&authority.roots()) {
            Ok(roots) => trust.replace(roots),
            Err(error) => tracing::error!(%error, "clients are still checked by the roots before"),
        }
        match serving(&authority, &options).await {
            Ok(credential) => source.replace(credential),
            Err(error) => {
                tracing::error!(%error, "the control plane's certificate was not renewed")
            }
        }
    }
}

/// Keeps the roots in every namespace, and looks again from time to time since anybody may delete them.
pub(crate) async fn distribute(
    client: Client,
    authority: Authority,
    mut worlds: watch::Receiver<Option<World>>,
) {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut roots = authority.follow();
    loop {
        let wanted: BTreeSet<String> = match &*worlds.borrow_and_update() {
            Some(world) => world.facts.meshed_namespaces().into_iter().map(str::to_owned).collect(),
            None => BTreeSet::new(),
        };
        done.retain(|n| wanted.contains(n));
        roots.mark_unchanged();
        let root_pem = authority.roots();
        let mut all = true;
        for namespace in wanted.difference(&done.clone()) {
            match put_root(&client, namespace, &root_pem).await {
                Ok(()) => drop(done.insert(namespace.clone())),
                Err(error) => {
                    all = false;
                    tracing::warn!(%error, "the root certificate was not written");
                }
            }
        }
        let pause = if all { LOOK_AGAIN } else { Duration::from_secs(1) };
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            changed = roots.changed() => match changed {
                Ok(()) => done.clear(),
                Err(_) => return,
            },
            () = tokio::time::sleep(pause) => if all { done.clear() },
        }
    }
}

async fn put_root(client: &Client, namespace: &str, root_pem: &str) -> Result<(), k8s::Error> {
    let r = &Resource::CONFIG_MAP;
    let data = json!({"root-cert.pem": root_pem});
    match client.get(r, Some(namespace), CONFIG_MAP).await? {
        Some(map) if map["data"]["root-cert.pem"] == root_pem => Ok(()),
        Some(_) => {
            let patch = json!({"data": data});
            client.merge_patch(r, Some(namespace), CONFIG_MAP, None, &patch).await
        }
        None => {
            let map = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CONFIG_MAP, "namespace": namespace,
                    "labels": {"istio.io/config": "true"}},
                "data": data});
            match client.create(r, map).await {
                Err(e) if !e.is_conflict() && !e.is_not_found() => Err(e),
                _ => Ok(()),
            }
        }
    }
}

/// Keeps the bundle right in the webhook configurations of this revision, and lets validation
/// refuse once it can answer.
pub(crate) async fn patch_webhooks(client: Client, options: Options, authority: Authority) {
    const LOOK_AGAIN: Duration = Duration::from_secs(30);
    let mut roots = authority.follow();
    loop {
        let mut all = true;
        roots.mark_unchanged();
        let root_pem = authority.roots();
        for r in [&Resource::MUTATING_WEBHOOK, &Resource::VALIDATING_WEBHOOK] {
            if let Err(error) = patch_kind(&client, r, &options, &root_pem).await {
                all = false;
                tracing::warn!(%error, "webhooks do not know the root yet");
            }
        }
        let pause = if all { LOOK_AGAIN } else { Duration::from_secs(1) };
        tokio::select! {
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn patch_kind(
    client: &Client,
    r: &Resource,
    options: &Options,
    root_pem: &str,
) -> Result<(), k8s::Error> {
    for config in client.list(r).await? {
        let Some(webhooks) = with_bundle(&config, options, root_pem) else { continue };
        let name = config["metadata"]["name"].as_str().unwrap_or_default();
        // The version makes the patch fail where somebody else wrote in between.
        let patch = json!({
            "metadata": {"resourceVersion": config["metadata"]["resourceVersion"]},
            "webhooks": webhooks});
        match client.merge_patch(r, None, name, None, &patch).await {
            Err(e) if !e.is_conflict() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// The webhooks of `config` that lead to us, corrected; `None` when nothing is to be done.
fn with_bundle(config: &Value, options: &Options, root_pem: &str) -> Option<Value> {
    use base64::Engine;
    let bundle = base64::engine::general_purpose::STANDARD.encode(root_pem);
    let mut webhooks = config["webhooks"].clone();
    let mut changed = false;
    let mut set = |slot: &mut Value, value: &str| {
        if *slot != value {
            *slot = value.into();
            changed = true;
        }
    };
    for hook in webhooks.as_array_mut()? {
        let service = &hook["clientConfig"]["service"];
        let ours = service["namespace"] == options.namespace
            && service["name"].as_str().is_some_and(|n| n.starts_with("istiod"));
        let revision = &config["metadata"]["labels"]["istio.io/rev"];
        if !ours || revision.as_str().is_some_and(|r| r != options.revision) {
            continue;
        }
        set(&mut hook["clientConfig"]["caBundle"], &bundle);
        if config["kind"] == "ValidatingWebhookConfiguration" {
            set(&mut hook["failurePolicy"], "Fail");
        }
    }
    changed.then_some(webhooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(kind: &str, namespace: &str, revision: &str) -> Value {
        json!({"kind": kind, "metadata": {"name": "x", "labels": {"istio.io/rev": revision}},
            "webhooks": [{"name": "a", "failurePolicy": "Ignore",
                "clientConfig": {"service": {"name": "istiod", "namespace": namespace}}}]})
    }

    #[test]
    fn our_webhooks_get_the_root_once_and_others_are_left_alone() {
        let options = Options::from_env(|_| None);
        let kind = "ValidatingWebhookConfiguration";
        let mut ours = config(kind, "istio-system", "default");
        let fixed = with_bundle(&ours, &options, "root").unwrap();
        assert_eq!(fixed[0]["clientConfig"]["caBundle"], "cm9vdA==");
        assert_eq!(fixed[0]["failurePolicy"], "Fail");
        ours["webhooks"] = fixed;
        assert_eq!(with_bundle(&ours, &options, "root"), None);
        assert!(with_bundle(&ours, &options, "another root").is_some());
        assert_eq!(with_bundle(&config(kind, "elsewhere", "default"), &options, "root"), None);
        assert_eq!(with_bundle(&config(kind, "istio-system", "canary"), &options, "root"), None);
        let injector = config("MutatingWebhookConfiguration", "istio-system", "default");
        assert_eq!(with_bundle(&injector, &options, "root").unwrap()[0]["failurePolicy"], "Ignore");
    }
}
