//! What injection knows beside the pod: its namespace, the mesh configuration, the installation's values.

use crate::ProxyConfig;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that a decision about one pod may depend on.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    pub namespace: &'a str,
    /// The labels that gate automatic injection; `None` when the user asks for injection by hand.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// The mesh configuration (`mesh` of the ConfigMap `istio`) as JSON.
    pub mesh: &'a Value,
    pub values: &'a Values,
    /// Of all namespaces.
    pub proxy_configs: &'a [ProxyConfig],
    /// Every node starts native sidecars in order: what `auto` comes to.
    pub nodes_run_native: bool,
    /// `default` unless several control planes live side by side.
    pub revision: &'a str,
    /// Who made the pod, where the pod does not say it (a template of a Deployment in a file).
    pub owner: Option<Owner>,
}

/// The workload that a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

/// The installation's values, under Istio's names in the ConfigMap `istio-sidecar-injector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    pub image: String,
    pub pull_policy: Option<String>,
    pub istio_namespace: String,
    pub cluster_domain: String,
    pub cluster_id: String,
    pub network: String,
    pub mesh_id: String,
    pub log_level: String,
    pub component_log_level: String,
    pub status_port: u16,
    pub include_ip_ranges: String,
    pub exclude_ip_ranges: String,
    pub include_inbound_ports: String,
    pub exclude_inbound_ports: String,
    pub include_outbound_ports: String,
    pub exclude_outbound_ports: String,
    /// `requests` and `limits` of the proxy container.
    pub resources: Value,
    pub rewrite_probes: bool,
    /// Inject where the namespace says nothing.
    pub namespaces_by_default: bool,
    /// `None` is `auto`: wherever the nodes can.
    pub native_sidecar: Option<bool>,
    /// `lateen`, or `envoy` to run Envoy under our agent.
    pub data_plane: String,
    /// Label selectors as in Kubernetes; a match never injects, or always.
    pub never: Vec<Value>,
    pub always: Vec<Value>,
}

impl Values {
    /// Reads `values` of the ConfigMap; what is absent has its default.
    pub fn from_json(v: &Value) -> Self {
        let (global, proxy) = (&v["global"], &v["global"]["proxy"]);
        let webhook = &v["sidecarInjectorWebhook"];
        let or = |value: &Value, default: &str| text(value).unwrap_or_else(|| default.to_owned());
        let selectors = |key: &str| webhook[key].as_array().cloned().unwrap_or_default();
        Self {
            image: image(global),
            pull_policy: text(&global["imagePullPolicy"]),
            istio_namespace: or(&global["istioNamespace"], "istio-system"),
            cluster_domain: or(&proxy["clusterDomain"], "cluster.local"),
            cluster_id: or(&global["multiCluster"]["clusterName"], "Kubernetes"),
            network: or(&global["network"], ""),
            mesh_id: or(&global["meshID"], ""),
            log_level: or(&proxy["logLevel"], "warning"),
            component_log_level: or(&proxy["componentLogLevel"], "misc:error"),
            status_port: number(&proxy["statusPort"]).unwrap_or(15020),
            include_ip_ranges: or(&proxy["includeIPRanges"], "*"),
            exclude_ip_ranges: or(&proxy["excludeIPRanges"], ""),
            include_inbound_ports: or(&proxy["includeInboundPorts"], "*"),
            exclude_inbound_ports: or(&proxy["excludeInboundPorts"], ""),
            include_outbound_ports: or(&proxy["includeOutboundPorts"], ""),
            exclude_outbound_ports: or(&proxy["excludeOutboundPorts"], ""),
            resources: if proxy["resources"].is_object() {
                proxy["resources"].clone()
            } else {
                serde_json::json!({
                    "requests": {"cpu": "10m", "memory": "16Mi"},
                    "limits": {"cpu": "2000m", "memory": "1024Mi"}})
            },
            rewrite_probes: webhook["rewriteAppHTTPProbe"].as_bool().unwrap_or(true),
            namespaces_by_default: webhook["enableNamespacesByDefault"].as_bool().unwrap_or(false),
            native_sidecar: switch(&v["pilot"]["env"]["ENABLE_NATIVE_SIDECARS"]),
            data_plane: or(&global["dataPlane"], "lateen"),
            never: selectors("neverInjectSelector"),
            always: selectors("alwaysInjectSelector"),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::from_json(&Value::Null)
    }
}

fn text(v: &Value) -> Option<String> {
    match v {
        Value::String(s) if !s.is_empty() => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

fn number(v: &Value) -> Option<u16> {
    text(v)?.parse().ok()
}

fn switch(v: &Value) -> Option<bool> {
    v.as_bool().or_else(|| v.as_str()?.parse().ok())
}

/// Whether kubelets of these versions run sidecars among the init containers as released (since 1.33);
/// without a node nobody knows.
pub fn nodes_run_native<'a>(kubelets: impl IntoIterator<Item = &'a str>) -> bool {
    let mut kubelets = kubelets.into_iter().peekable();
    kubelets.peek().is_some() && kubelets.all(|v| minor(v).is_some_and(|v| v >= (1, 33)))
}

/// `v1.33.0-rc.1` is (1, 33).
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let digits = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major, digits.parse().ok()?))
}

/// `hub/image:tag`; an image that is a path already stands for itself.
fn image(global: &Value) -> String {
    let name = text(&global["proxy"]["image"]).unwrap_or_else(|| "proxyv2".to_owned());
    if name.contains('/') {
        return name;
    }
    let hub = text(&global["hub"]).unwrap_or_else(|| "lateen.dev".to_owned());
    match text(&global["tag"]) {
        Some(tag) => format!("{hub}/{name}:{tag}"),
        None => format!("{hub}/{name}"),
    }
}
