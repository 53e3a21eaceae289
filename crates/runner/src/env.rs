//! A container's environment and the text that pods may know about themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::pod::{Container, EnvFrom, KeyRef, Pod, ResourceFieldRef, ValueFrom};

/// What the runner knows beside the pod: configuration objects of its namespace, and the node.
pub trait Sources {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>>;
    /// Cluster addresses and first ports of the services in a namespace.
    fn services(&self, namespace: &str) -> Vec<ServiceEnv>;
    fn node_ip(&self) -> IpAddr;
    fn pod_ips(&self) -> &[IpAddr];
}

/// A service as containers learn about it from their environment.
#[derive(Debug, Clone)]
pub struct ServiceEnv {
    pub name: String,
    pub ip: IpAddr,
    pub ports: Vec<(Option<String>, u16)>,
}

/// A name that stands for nothing; the container waits with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    #[error("unsupported fieldPath {0:?}")]
    NoField(String),
}

/// The environment of a container, in order; later entries win.
pub fn build(
    pod: &Pod,
    container: &Container,
    image: &[(String, String)],
    sources: &dyn Sources,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut env = Environment(image.to_vec());
    for service in sources.services("default").iter().filter(|s| s.name == "kubernetes") {
        env.service(service);
    }
    if pod.spec.enable_service_links.unwrap_or(true) {
        let namespace = sources.services(&pod.namespace);
        namespace.iter().filter(|s| s.name != "kubernetes").for_each(|s| env.service(s));
    }
    env.set("HOSTNAME", hostname(pod));
    for from in &container.env_from {
        for (key, value) in all_of(from, sources)? {
            env.set(&format!("{}{key}", from.prefix), value);
        }
    }
    for one in &container.env {
        let value = match (&one.value, &one.value_from) {
            (Some(text), _) => Some(env.expand(text)),
            (None, Some(from)) => value_from(pod, container, from, sources)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.set(&one.name, value);
        }
    }
    Ok(env.0)
}

/// Replaces `$(NAME)` by the variable's value; `$$` is one dollar, unknown names stay.
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|r| r.split_once(')'))
        {
            match env.iter().rev().find(|(k, _)| k == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&rest[..name.len() + 3]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// The pod's host name: its own wish, or its name as far as a label goes.
pub fn hostname(pod: &Pod) -> String {
    let name = pod.spec.hostname.as_deref().unwrap_or(&pod.name);
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        self.0.retain(|(k, _)| k != name);
        self.0.push((name.to_owned(), value));
    }

    fn expand(&self, text: &str) -> String {
        expand(text, &self.0)
    }

    fn service(&mut self, service: &ServiceEnv) {
        let Some((_, first)) = service.ports.first() else { return };
        let name = shell_name(&service.name);
        let ip = service.ip;
        self.set(&format!("{name}_SERVICE_HOST"), ip.to_string());
        self.set(&format!("{name}_SERVICE_PORT"), first.to_string());
        self.set(&format!("{name}_PORT"), format!("tcp://{ip}:{first}"));
        for (port_name, port) in &service.ports {
            if let Some(port_name) = port_name {
                let key = format!("{name}_SERVICE_PORT_{}", shell_name(port_name));
                self.set(&key, port.to_string());
            }
            let prefix = format!("{name}_PORT_{port}_TCP");
            self.set(&prefix, format!("tcp://{ip}:{port}"));
            self.set(&format!("{prefix}_PROTO"), "tcp".to_owned());
            self.set(&format!("{prefix}_PORT"), port.to_string());
            self.set(&format!("{prefix}_ADDR"), ip.to_string());
        }
    }
}

fn shell_name(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

fn all_of(from: &EnvFrom, sources: &dyn Sources) -> Result<Vec<(String, String)>, EnvError> {
    let (kind, source, found) = match (&from.config_map_ref, &from.secret_ref) {
        (Some(s), _) => ("configmap", s, sources.config_map(&s.name)),
        (None, Some(s)) => ("secret", s, sources.secret(&s.name)),
        (None, None) => return Ok(vec![]),
    };
    match found {
        Some(data) => Ok(data.into_iter().map(|(k, v)| (k, text(v))).collect()),
        None if source.optional => Ok(vec![]),
        None => Err(EnvError::NoObject { kind, name: source.name.clone() }),
    }
}

fn value_from(
    pod: &Pod,
    container: &Container,
    from: &ValueFrom,
    sources: &dyn Sources,
) -> Result<Option<String>, EnvError> {
    if let Some(field) = &from.field_ref {
        return self::field(pod, &field.field_path, sources).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return Ok(Some(resource_field(pod, container, resource)));
    }
    if let Some(key) = &from.config_map_key_ref {
        return key_of(pod, "configmap", key, sources.config_map(&key.name));
    }
    match &from.secret_key_ref {
        Some(key) => key_of(pod, "secret", key, sources.secret(&key.name)),
        None => Ok(None),
    }
}

fn key_of(
    pod: &Pod,
    kind: &'static str,
    wanted: &KeyRef,
    found: Option<BTreeMap<String, Vec<u8>>>,
) -> Result<Option<String>, EnvError> {
    let Some(mut data) = found else {
        let missing = EnvError::NoObject { kind, name: wanted.name.clone() };
        return if wanted.optional { Ok(None) } else { Err(missing) };
    };
    match data.remove(&wanted.key) {
        Some(value) => Ok(Some(text(value))),
        None if wanted.optional => Ok(None),
        None => Err(EnvError::NoKey {
            kind,
            namespace: pod.namespace.clone(),
            name: wanted.name.clone(),
            key: wanted.key.clone(),
        }),
    }
}

/// What a field path of the downward API says.
pub fn field(pod: &Pod, path: &str, sources: &dyn Sources) -> Result<String, EnvError> {
    let ips = || sources.pod_ips().iter().map(IpAddr::to_string).collect::<Vec<_>>();
    let keyed = |map: &BTreeMap<String, String>, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    let text = match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.clone(),
        "metadata.labels" => pairs(&pod.meta.labels),
        "metadata.annotations" => pairs(&pod.meta.annotations),
        "spec.nodeName" => pod.spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => {
            pod.spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned())
        }
        "status.hostIP" | "status.hostIPs" => sources.node_ip().to_string(),
        "status.podIP" => ips().into_iter().next().unwrap_or_default(),
        "status.podIPs" => ips().join(","),
        _ => keyed(&pod.meta.labels, "metadata.labels")
            .or_else(|| keyed(&pod.meta.annotations, "metadata.annotations"))
            .ok_or_else(|| EnvError::NoField(path.to_owned()))?,
    };
    Ok(text)
}

/// Labels or annotations as the downward API writes them.
fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n")
}

/// A resource of a container, in units of the divisor, rounded up.
pub fn resource_field(pod: &Pod, container: &Container, wanted: &ResourceFieldRef) -> String {
    let of = wanted.container_name.as_deref().and_then(|n| pod.container(n)).unwrap_or(container);
    let (kind, name) = wanted.resource.split_once('.').unwrap_or(("limits", &wanted.resource));
    let listed = if kind == "requests" { &of.resources.requests } else { &of.resources.limits };
    // Without a limit the node's capacity is the limit.
    let unlimited = || if name == "cpu" { cpus() } else { 0.0 };
    let amount = listed.get(name).and_then(quantity).unwrap_or_else(unlimited);
    let divisor = wanted.divisor.as_ref().and_then(quantity).filter(|d| *d > 0.0).unwrap_or(1.0);
    format!("{}", (amount / divisor).ceil() as i64)
}

fn cpus() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// A Kubernetes quantity (`500m`, `1Gi`, `2`) as a number.
pub fn quantity(value: &Value) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1048576.0),
        ("Gi", 1073741824.0),
        ("Ti", 1099511627776.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    let text = match value {
        Value::Number(n) => return n.as_f64(),
        Value::String(text) => text.trim(),
        _ => return None,
    };
    let suffixed = SUFFIXES.iter().find_map(|(s, f)| Some((text.strip_suffix(s)?, *f)));
    let (number, factor) = suffixed.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|n| n * factor)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
