//! The cluster that a command talks to: which kubeconfig, which namespace, and what a word such as
//! `vs` or `deploy` means there.

use super::{Global, print};
use anyhow::{Context, Result, anyhow, bail};
use k8s::connection::{Connection, KindInfo};
use serde_json::Value;
use std::path::PathBuf;

pub struct Remote {
    pub connection: Connection,
    pub namespace: String,
    kinds: Vec<KindInfo>,
}

/// One object, or all of a kind, as `TYPE NAME`, `TYPE/NAME` or `TYPE` say it.
pub struct Target {
    pub kind: KindInfo,
    pub name: Option<String>,
}

impl Remote {
    pub async fn open(global: &Global) -> Result<Remote> {
        let kubeconfig = kubeconfig(global);
        let connection = Connection::open(kubeconfig.as_deref(), global.context.as_deref()).await?;
        let namespace =
            global.namespace.clone().unwrap_or_else(|| connection.default_namespace().to_owned());
        Ok(Remote { connection, namespace, kinds: Vec::new() })
    }

    /// All kinds of the cluster, asked for once.
    pub async fn kinds(&mut self) -> Result<&[KindInfo]> {
        if self.kinds.is_empty() {
            self.kinds = self.connection.kinds().await?;
        }
        Ok(&self.kinds)
    }

    /// The kind that a word means: plural, singular, kind, short name, each also with `.group`.
    pub async fn kind_named(&mut self, word: &str) -> Result<KindInfo> {
        let wanted = word.to_lowercase();
        let kinds = self.kinds().await?;
        let (name, group) =
            wanted.split_once('.').map_or((wanted.as_str(), None), |(n, g)| (n, Some(g)));
        let says = |k: &&KindInfo| {
            group
                .is_none_or(|g| k.group.starts_with(g) || g.starts_with(&format!("{}.", k.version)))
                && (k.plural == name
                    || k.singular == name
                    || k.kind.to_lowercase() == name
                    || k.short_names.iter().any(|s| s == name))
        };
        if let Some(kind) = kinds.iter().find(says) {
            return Ok(kind.clone());
        }
        let hint = print::did_you_mean(name, kinds.iter().map(|k| k.plural.as_str()));
        let hint = hint.map(|h| format!(", did you mean {h:?}?")).unwrap_or_default();
        bail!("the server doesn't have a resource type {word:?}{hint}")
    }

    /// The kind of a manifest.
    pub async fn kind_of(&mut self, object: &Value) -> Result<KindInfo> {
        let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let (Some(version), Some(kind)) = (version, kind) else {
            bail!("a document has no apiVersion or no kind");
        };
        let find = |kinds: &[KindInfo]| {
            kinds.iter().find(|k| k.kind == kind && k.api_version() == version).cloned()
        };
        if let Some(found) = find(self.kinds().await?) {
            return Ok(found);
        }
        // A CustomResourceDefinition applied a moment ago brings new kinds.
        self.kinds.clear();
        find(self.kinds().await?)
            .ok_or_else(|| anyhow!("no matches for kind {kind:?} in version {version:?}"))
    }

    /// `pod x`, `pod/x`, `pods`, `vs,dr`.
    pub async fn targets(&mut self, words: &[String]) -> Result<Vec<Target>> {
        let Some(first) = words.first() else {
            bail!("say what: a kind such as `pods`, or `pod/NAME`")
        };
        let mut targets = Vec::new();
        if first.contains('/') {
            for word in words {
                let (kind, name) =
                    word.split_once('/').with_context(|| format!("{word:?} is not KIND/NAME"))?;
                targets.push(Target {
                    kind: self.kind_named(kind).await?,
                    name: Some(name.to_owned()),
                });
            }
            return Ok(targets);
        }
        for word in first.split(',') {
            let kinds = if word == "all" { ALL.to_vec() } else { vec![word] };
            for kind in kinds {
                let kind = self.kind_named(kind).await?;
                if words.len() == 1 {
                    targets.push(Target { kind, name: None });
                } else {
                    let named =
                        |name: &String| Target { kind: kind.clone(), name: Some(name.clone()) };
                    targets.extend(words[1..].iter().map(named));
                }
            }
        }
        Ok(targets)
    }

    /// A pod by `NAME`, `NAME.NAMESPACE`, or by a workload or Service that has pods (`deploy/NAME`).
    pub async fn pod(&mut self, word: &str) -> Result<(String, String)> {
        if let Some((kind, name)) = word.split_once('/') {
            let kind = self.kind_named(kind).await?;
            if kind.kind == "Pod" {
                return Ok((self.namespace.clone(), name.to_owned()));
            }
            let path = format!("{}/{name}", kind.path(Some(&self.namespace)));
            let object = self.connection.get(&path).await?.body;
            let labels = match kind.kind.as_str() {
                "Service" | "ReplicationController" => &object["spec"]["selector"],
                _ => &object["spec"]["selector"]["matchLabels"],
            };
            return self.first_pod(labels).await.with_context(|| format!("no pod of {word}"));
        }
        match word.split_once('.') {
            Some((pod, namespace)) => Ok((namespace.to_owned(), pod.to_owned())),
            None => Ok((self.namespace.clone(), word.to_owned())),
        }
    }

    /// The first running pod with these labels.
    async fn first_pod(&self, labels: &Value) -> Result<(String, String)> {
        let pairs = labels.as_object().into_iter().flatten();
        let selector: Vec<String> =
            pairs.map(|(k, v)| format!("{k}%3D{}", v.as_str().unwrap_or_default())).collect();
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector={}",
            self.namespace,
            selector.join(",")
        );
        let list = self.connection.get(&path).await?.body;
        let pods = list["items"].as_array().into_iter().flatten();
        let running = |p: &&Value| {
            p["status"]["phase"] == "Running" && p["metadata"]["deletionTimestamp"].is_null()
        };
        let pod = pods.into_iter().find(running).context("none is running")?;
        Ok((
            self.namespace.clone(),
            pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        ))
    }
}

/// What `all` stands for.
const ALL: [&str; 8] = [
    "pods",
    "replicationcontrollers",
    "services",
    "daemonsets",
    "deployments",
    "replicasets",
    "statefulsets",
    "jobs",
];

/// `--kubeconfig`, `$KUBECONFIG`, then the mesh on this machine, then the user's own.
fn kubeconfig(global: &Global) -> Option<PathBuf> {
    if global.kubeconfig.is_some()
        || std::env::var_os("KUBECONFIG").is_some()
        || global.context.is_some()
    {
        return global.kubeconfig.clone();
    }
    let local = crate::state::directory(global.state.as_deref()).join("kubeconfig");
    local.is_file().then_some(local)
}
