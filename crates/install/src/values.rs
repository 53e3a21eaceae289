//! What an installation can be told.

use serde_json::{Map, Value, json};

/// Which parts are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The definitions of the kinds only.
    Empty,
    /// The control plane.
    Minimal,
    /// The control plane and an ingress gateway.
    Default,
    /// With an egress gateway too.
    Demo,
}

impl Profile {
    /// As users name it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Empty => "empty",
            Profile::Minimal => "minimal",
            Profile::Default => "default",
            Profile::Demo => "demo",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "empty" => Ok(Profile::Empty),
            "minimal" => Ok(Profile::Minimal),
            "default" => Ok(Profile::Default),
            "demo" => Ok(Profile::Demo),
            _ => Err(format!("there is no profile {s:?}; use default, demo, minimal or empty")),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub namespace: String,
    pub revision: String,
    pub hub: String,
    pub tag: String,
    pub trust_domain: String,
    pub cluster_domain: String,
    pub cluster_id: String,
    /// `lateen` or `envoy`.
    pub data_plane: String,
    /// Serve discovery without TLS on 15010 too: for stock Envoy on a machine of one's own.
    pub plaintext_discovery: bool,
    /// Fields laid over the mesh configuration.
    pub mesh: Map<String, Value>,
    /// Laid over the values that injection reads.
    pub injection: Map<String, Value>,
    /// Gateways of the profile that are left out, by name.
    pub without: Vec<String>,
    /// Fixed node ports of the ingress gateway by port name; others are given by the cluster.
    pub ingress_node_ports: Vec<(String, u16)>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            namespace: "istio-system".into(),
            revision: "default".into(),
            hub: "lateen.dev".into(),
            tag: env!("CARGO_PKG_VERSION").into(),
            trust_domain: "cluster.local".into(),
            cluster_domain: "cluster.local".into(),
            cluster_id: "Kubernetes".into(),
            data_plane: "lateen".into(),
            plaintext_discovery: false,
            mesh: Map::new(),
            injection: Map::new(),
            without: Vec::new(),
            ingress_node_ports: Vec::new(),
        }
    }
}

impl Values {
    /// The image of one of our programs.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.hub, self.tag)
    }

    /// `values` of the ConfigMap that injection reads.
    pub(crate) fn for_injection(&self) -> Value {
        let mut values = json!({
            "global": {
                "hub": self.hub,
                "tag": self.tag,
                "istioNamespace": self.namespace,
                "multiCluster": {"clusterName": self.cluster_id},
                "dataPlane": self.data_plane,
                "proxy": {"image": "proxyv2", "clusterDomain": self.cluster_domain},
            },
            "sidecarInjectorWebhook": {"rewriteAppHTTPProbe": true},
        });
        overlay(&mut values, &self.injection);
        values
    }
}

/// Lays `over` onto `base`: objects field by field, all else whole.
pub(crate) fn overlay(base: &mut Value, over: &Map<String, Value>) {
    for (key, value) in over {
        match value {
            Value::Object(inner) if base[key].is_object() => overlay(&mut base[key], inner),
            other => base[key] = other.clone(),
        }
    }
}
