//! One connection to a Kubernetes API server for the command line: plain requests with JSON bodies,
//! discovery of kinds, and the streaming sub-resources of pods.

use bytes::Bytes;
use futures::AsyncBufRead;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, LogParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};

/// A client of one cluster.
#[derive(Clone)]
pub struct Connection {
    client: kube::Client,
    namespace: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no kubeconfig: {0}. Is the mesh up (`lateen up`), or is KUBECONFIG set?")]
    Kubeconfig(String),
    #[error("cannot reach the cluster: {0}")]
    Unreachable(String),
    #[error("{message}")]
    Status { code: u16, reason: String, message: String },
    #[error("the cluster's answer is not JSON: {0}")]
    Answer(String),
}

/// What the server answered, with its `Warning` headers.
pub struct Reply {
    pub body: Value,
    pub warnings: Vec<String>,
}

/// One kind as the server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindInfo {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl KindInfo {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path of the collection, in `namespace` where the kind lives in one.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        match namespace.filter(|_| self.namespaced) {
            Some(ns) => format!("{root}/{}/namespaces/{ns}/{}", self.api_version(), self.plural),
            None => format!("{root}/{}/{}", self.api_version(), self.plural),
        }
    }
}

impl Connection {
    /// By the given kubeconfig, else by `KUBECONFIG`, `~/.kube/config` or the pod's own account.
    pub async fn open(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Connection, ConnectError> {
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
        let fail = |e: &dyn std::fmt::Display| ConnectError::Kubeconfig(e.to_string());
        let config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|e| fail(&e))?;
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|e| fail(&e))?
            }
            None if context.is_some() => {
                kube::Config::from_kubeconfig(&options).await.map_err(|e| fail(&e))?
            }
            None => kube::Config::infer().await.map_err(|e| fail(&e))?,
        };
        let namespace = config.default_namespace.clone();
        let client = kube::Client::try_from(config).map_err(|e| fail(&e))?;
        Ok(Connection { client, namespace })
    }

    /// The namespace that the kubeconfig's context names.
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    pub async fn get(&self, path: &str) -> Result<Reply, ConnectError> {
        self.send("GET", path, "application/json", None).await
    }

    /// The server's own table for a list or an object (`kubectl get` without `-o`).
    pub async fn get_table(&self, path: &str) -> Result<Reply, ConnectError> {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        self.exchange("GET", path, accept, None).await
    }

    pub async fn delete(&self, path: &str) -> Result<Reply, ConnectError> {
        self.send("DELETE", path, "application/json", None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, ConnectError> {
        self.send("POST", path, "application/json", Some(body)).await
    }

    /// Server-side apply as the field manager `lateen`.
    pub async fn apply(
        &self,
        path: &str,
        object: &Value,
        force: bool,
    ) -> Result<Reply, ConnectError> {
        let path = format!("{path}?fieldManager=lateen&force={force}&fieldValidation=Strict");
        self.send("PATCH", &path, "application/apply-patch+yaml", Some(object)).await
    }

    pub async fn merge_patch(&self, path: &str, patch: &Value) -> Result<Reply, ConnectError> {
        self.send("PATCH", path, "application/merge-patch+json", Some(patch)).await
    }

    /// Plain text, as debug endpoints behind the API server's proxy answer it.
    pub async fn get_text(&self, path: &str) -> Result<String, ConnectError> {
        let request = build("GET", path, "*/*", None)?;
        self.client.request_text(request).await.map_err(error_of)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ConnectError> {
        self.exchange(method, path, "application/json", body.map(|b| (content_type, b))).await
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Reply, ConnectError> {
        let request = build(method, path, accept, body)?.map(kube::client::Body::from);
        let response = self.client.send(request).await.map_err(error_of)?;
        let (head, body) = response.into_parts();
        let warnings = head.headers.get_all("warning").iter().filter_map(|w| w.to_str().ok());
        let warnings = warnings.map(warning_text).collect();
        let bytes = body.collect_bytes().await.map_err(error_of)?;
        let value = read_json(&bytes)?;
        if head.status.is_success() {
            return Ok(Reply { body: value, warnings });
        }
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let message = match text("message") {
            m if m.is_empty() => format!("the server answered {}", head.status),
            m => m,
        };
        Err(ConnectError::Status { code: head.status.as_u16(), reason: text("reason"), message })
    }

    /// Everything that the server offers, newest version of each kind first.
    pub async fn kinds(&self) -> Result<Vec<KindInfo>, ConnectError> {
        let mut kinds = Vec::new();
        let core = self.get("/api/v1").await?.body;
        read_kinds("", "v1", &core, &mut kinds);
        let groups = self.get("/apis").await?.body;
        for group in groups["groups"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().unwrap_or_default();
            let preferred = group["preferredVersion"]["version"].as_str().unwrap_or_default();
            let versions = group["versions"].as_array().into_iter().flatten();
            let others = versions.filter_map(|v| v["version"].as_str()).filter(|v| *v != preferred);
            for version in std::iter::once(preferred).chain(others) {
                let list = self.get(&format!("/apis/{name}/{version}")).await?.body;
                read_kinds(name, version, &list, &mut kinds);
            }
        }
        Ok(kinds)
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        params: &LogParams,
    ) -> Result<impl AsyncBufRead + use<>, ConnectError> {
        self.pods(namespace).log_stream(pod, params).await.map_err(error_of)
    }

    /// Runs a command in a container; see [`kube::api::AttachedProcess`] for its streams.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        command: &[String],
        stdin: bool,
        tty: bool,
    ) -> Result<kube::api::AttachedProcess, ConnectError> {
        let params = AttachParams {
            container: container.map(str::to_owned),
            stdin,
            stdout: true,
            // A terminal has one output stream.
            stderr: !tty,
            tty,
            ..AttachParams::default()
        };
        self.pods(namespace).exec(pod, command, &params).await.map_err(error_of)
    }

    /// A byte stream to a port of a pod.
    pub async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, ConnectError> {
        let mut forwarder =
            self.pods(namespace).portforward(pod, &[port]).await.map_err(error_of)?;
        forwarder.take_stream(port).ok_or_else(|| {
            ConnectError::Unreachable(format!("the server opened no stream to port {port}"))
        })
    }
}

fn build(
    method: &str,
    path: &str,
    accept: &str,
    body: Option<(&str, &Value)>,
) -> Result<http::Request<Vec<u8>>, ConnectError> {
    let mut builder = http::Request::builder().method(method).uri(path).header("accept", accept);
    let mut bytes = Vec::new();
    if let Some((content_type, value)) = body {
        builder = builder.header("content-type", content_type);
        bytes = serde_json::to_vec(value).map_err(|e| ConnectError::Answer(e.to_string()))?;
    }
    builder.body(bytes).map_err(|e| ConnectError::Unreachable(format!("{path}: {e}")))
}

fn read_json(bytes: &Bytes) -> Result<Value, ConnectError> {
    serde_json::from_slice(bytes).map_err(|_| {
        ConnectError::Answer(String::from_utf8_lossy(bytes).chars().take(200).collect())
    })
}

/// The text of `299 - "text"`.
fn warning_text(header: &str) -> String {
    let text = header.split_once('"').map_or(header, |(_, rest)| rest.trim_end_matches('"'));
    text.replace("\\\"", "\"")
}

fn error_of(e: kube::Error) -> ConnectError {
    match e {
        kube::Error::Api(status) => ConnectError::Status {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
        },
        other => ConnectError::Unreachable(chain(&other)),
    }
}

/// An error with all its causes: the outermost alone rarely says what was wrong.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn read_kinds(group: &str, version: &str, list: &Value, into: &mut Vec<KindInfo>) {
    let strings = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    for resource in list["resources"].as_array().into_iter().flatten() {
        let text = |field: &str| resource[field].as_str().unwrap_or_default().to_owned();
        if text("name").contains('/') {
            continue;
        }
        into.push(KindInfo {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text("kind"),
            plural: text("name"),
            singular: text("singularName"),
            short_names: strings(&resource["shortNames"]),
            categories: strings(&resource["categories"]),
            namespaced: resource["namespaced"].as_bool().unwrap_or(false),
            verbs: strings(&resource["verbs"]),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_read_from_discovery_without_subresources() {
        let list = json!({ "resources": [
            { "name": "virtualservices", "singularName": "virtualservice", "kind": "VirtualService",
              "namespaced": true, "shortNames": ["vs"], "categories": ["istio-io"], "verbs": ["get", "list"] },
            { "name": "virtualservices/status", "kind": "VirtualService", "namespaced": true },
        ]});
        let mut kinds = Vec::new();
        read_kinds("networking.istio.io", "v1", &list, &mut kinds);
        assert_eq!(kinds.len(), 1);
        assert_eq!(
            kinds[0].path(Some("default")),
            "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
        );
        assert_eq!(kinds[0].path(None), "/apis/networking.istio.io/v1/virtualservices");
    }

    #[test]
    fn warnings_lose_their_wrapping() {
        assert_eq!(warning_text("299 - \"use \\\"v1\\\" instead\""), "use \"v1\" instead");
    }
}
