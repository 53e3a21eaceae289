//! A pod as the runner reads it: the fields that it honours, with Kubernetes' defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

/// A pod object and what we understood of it.
#[derive(Debug, Clone)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub meta: Meta,
    pub spec: PodSpec,
    pub object: Arc<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub deletion_timestamp: Option<String>,
    pub deletion_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
    pub restart_policy: RestartPolicy,
    pub termination_grace_period_seconds: Option<i64>,
    pub active_deadline_seconds: Option<i64>,
    pub service_account_name: Option<String>,
    pub node_name: Option<String>,
    pub hostname: Option<String>,
    pub subdomain: Option<String>,
    pub host_aliases: Vec<HostAlias>,
    pub dns_policy: Option<String>,
    pub dns_config: Option<DnsConfig>,
    pub enable_service_links: Option<bool>,
    pub security_context: PodSecurity,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostAlias {
    pub ip: String,
    pub hostnames: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsConfig {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<DnsOption>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DnsOption {
    pub name: String,
    pub value: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurity {
    pub run_as_non_root: Option<bool>,
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub fs_group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    pub sysctls: Vec<NameValue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NameValue {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    pub env: Vec<Env>,
    pub env_from: Vec<EnvFrom>,
    pub ports: Vec<Port>,
    pub volume_mounts: Vec<VolumeMount>,
    pub restart_policy: Option<RestartPolicy>,
    pub liveness_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
    pub lifecycle: Lifecycle,
    pub security_context: Security,
    pub resources: Resources,
}

impl Container {
    /// An init container that keeps running beside the others.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(RestartPolicy::Always)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Env {
    pub name: String,
    pub value: Option<String>,
    pub value_from: Option<ValueFrom>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueFrom {
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub config_map_key_ref: Option<KeyRef>,
    pub secret_key_ref: Option<KeyRef>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    pub field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldRef {
    pub container_name: Option<String>,
    pub resource: String,
    pub divisor: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KeyRef {
    pub name: String,
    pub key: String,
    pub optional: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    pub prefix: String,
    pub config_map_ref: Option<Source>,
    pub secret_ref: Option<Source>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// A Secret volume spells it `secretName`.
    #[serde(alias = "secretName")]
    pub name: String,
    pub optional: bool,
    pub items: Option<Vec<Item>>,
    pub default_mode: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Item {
    pub key: String,
    pub path: String,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    pub name: Option<String>,
    pub container_port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    pub sub_path: Option<String>,
    pub sub_path_expr: Option<String>,
    pub read_only: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    #[serde(flatten)]
    pub action: Action,
    pub initial_delay_seconds: Option<u32>,
    pub period_seconds: Option<u32>,
    pub timeout_seconds: Option<u32>,
    pub success_threshold: Option<u32>,
    pub failure_threshold: Option<u32>,
    pub termination_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    pub post_start: Option<Action>,
    pub pre_stop: Option<Action>,
}

/// What a probe or a hook does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Action {
    pub exec: Option<ExecAction>,
    pub http_get: Option<HttpGet>,
    pub tcp_socket: Option<TcpSocket>,
    pub grpc: Option<Grpc>,
    pub sleep: Option<Sleep>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGet {
    pub host: Option<String>,
    pub path: Option<String>,
    pub port: Value,
    pub scheme: Option<String>,
    pub http_headers: Vec<NameValue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TcpSocket {
    pub host: Option<String>,
    pub port: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Grpc {
    pub port: u16,
    pub service: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Sleep {
    pub seconds: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    pub allow_privilege_escalation: Option<bool>,
    pub run_as_non_root: Option<bool>,
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub privileged: bool,
    pub read_only_root_filesystem: bool,
    pub capabilities: Capabilities,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub limits: BTreeMap<String, Value>,
    pub requests: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub empty_dir: Option<Value>,
    pub config_map: Option<Source>,
    pub secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<Downward>,
    pub projected: Option<Projected>,
    /// Whatever else stands there.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Downward {
    pub items: Vec<DownwardItem>,
    pub default_mode: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardItem {
    pub path: String,
    pub field_ref: Option<FieldRef>,
    pub resource_field_ref: Option<ResourceFieldRef>,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Projected {
    pub sources: Vec<ProjectedSource>,
    pub default_mode: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedSource {
    pub config_map: Option<Source>,
    pub secret: Option<Source>,
    #[serde(rename = "downwardAPI")]
    pub downward_api: Option<Downward>,
    pub service_account_token: Option<TokenSource>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenSource {
    pub audience: Option<String>,
    pub expiration_seconds: Option<u64>,
    pub path: String,
}

impl Pod {
    /// Reads a pod object; the error names the field that is not as it should be.
    pub fn read(object: &Arc<Value>) -> Result<Pod, serde_json::Error> {
        let part = |name: &str| without_nulls(object.get(name).unwrap_or(&Value::Null));
        let text = |name: &str| {
            let found = object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        Ok(Pod {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            meta: serde_json::from_value(part("metadata"))?,
            spec: serde_json::from_value(part("spec"))?,
            object: object.clone(),
        })
    }

    /// Init containers first, then the others: the order in which they start.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.init_containers.iter().chain(&self.spec.containers)
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers().find(|c| c.name == name)
    }

    pub fn is_deleted(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// How long a container may take to end.
    pub fn grace_seconds(&self) -> i64 {
        let asked = self.meta.deletion_grace_period_seconds;
        asked.or(self.spec.termination_grace_period_seconds).unwrap_or(30).max(0)
    }

    /// A port by number or by the name that the container gave it.
    pub fn port(&self, container: &Container, port: &Value) -> Option<u16> {
        match port {
            Value::Number(n) => n.as_u64().and_then(|n| n.try_into().ok()),
            Value::String(name) => {
                let own = container.ports.iter().find(|p| p.name.as_deref() == Some(name));
                own.map(|p| p.container_port).or_else(|| name.parse().ok())
            }
            _ => None,
        }
    }
}

/// A field that is null is a field that is absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k.clone(), without_nulls(v))).collect())
        }
        Value::Array(all) => Value::Array(all.iter().map(without_nulls).collect()),
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_are_absent_and_named_ports_are_found() {
        let object = Arc::new(json!({
            "metadata": {"namespace": "default", "name": "web", "uid": "1", "labels": null},
            "spec": {"containers": [{"name": "web", "env": null,
                "ports": [{"name": "http", "containerPort": 8080}],
                "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5}}]}
        }));
        let pod = Pod::read(&object).unwrap();
        let web = &pod.spec.containers[0];
        assert_eq!(pod.port(web, &json!("http")), Some(8080));
        assert_eq!(pod.port(web, &json!(15021)), Some(15021));
        assert_eq!(pod.port(web, &json!("grpc")), None);
        assert!(web.liveness_probe.as_ref().unwrap().action.http_get.is_some());
    }
}
