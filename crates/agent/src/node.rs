//! Who the proxy is towards the control plane: node id and metadata, from what injection put into
//! its environment and its volumes.

use serde_json::{Map, Value, json};
use std::net::Ipv6Addr;

/// Sidecar of a workload, or a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Sidecar,
    Router,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Sidecar => "sidecar",
            Role::Router => "router",
        }
    }
}

/// A discovery node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: String,
    pub cluster: String,
    pub metadata: Value,
}

/// Where the facts come from: environment variables, and the downward-API files.
pub struct Sources<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// All variables, for those whose names carry metadata.
    pub variables: &'a [(String, String)],
    pub labels: &'a str,
    pub annotations: &'a str,
    /// Further addresses of the pod: injection tells the first one only.
    pub addresses: &'a [String],
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} is not set; the pod was not injected properly")]
pub struct Missing(pub &'static str);

impl Node {
    pub fn read(role: Role, domain: &str, from: &Sources) -> Result<Node, Missing> {
        let get =
            |name: &'static str| (from.env)(name).filter(|v| !v.is_empty()).ok_or(Missing(name));
        let (pod, namespace, ip) = (get("POD_NAME")?, get("POD_NAMESPACE")?, get("INSTANCE_IP")?);
        let first_ip = ip.split(',').next().unwrap_or_default();
        let ips = from.addresses.iter().filter(|a| !ip.split(',').any(|i| i == a.as_str()));
        let ips = std::iter::once(ip.as_str()).chain(ips.map(String::as_str));
        let ips = ips.collect::<Vec<_>>().join(",");
        // `$(POD_NAMESPACE)` is expanded by the node; by hand it may be missing altogether.
        let domain = match domain.is_empty() {
            true => format!("{namespace}.svc.cluster.local"),
            false => domain.to_owned(),
        };
        let labels = downward(from.labels);
        let metadata = metadata(from, &pod, &namespace, &ips, &labels);
        let app = text(&labels, "service.istio.io/canonical-name")
            .or_else(|| text(&labels, "app"))
            .unwrap_or("istio-proxy");
        Ok(Node {
            id: format!("{}~{first_ip}~{pod}.{namespace}~{domain}", role.name()),
            cluster: format!("{app}.{namespace}"),
            metadata,
        })
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str()
}

fn metadata(
    from: &Sources,
    pod: &str,
    namespace: &str,
    ips: &str,
    labels: &Map<String, Value>,
) -> Value {
    let mut meta = Map::new();
    let env = |name: &str| (from.env)(name).filter(|v| !v.is_empty());
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            meta.insert(key.to_owned(), value.into());
        }
    };
    set("NAME", Some(pod.to_owned()));
    set("NAMESPACE", Some(namespace.to_owned()));
    set("INSTANCE_IPS", Some(ips.to_owned()));
    set("SERVICE_ACCOUNT", env("SERVICE_ACCOUNT"));
    set("ISTIO_VERSION", Some(env!("CARGO_PKG_VERSION").to_owned()));
    set("PILOT_SAN", env("ISTIO_META_PILOT_SAN"));
    set("ENVOY_STATUS_PORT", Some("15021".to_owned()));
    set("ENVOY_PROMETHEUS_PORT", Some("15090".to_owned()));
    meta.insert("LABELS".into(), Value::Object(labels.clone()));
    let annotations = downward(from.annotations);
    // The last-applied configuration and our own status are of no use to the control plane.
    let kept = annotations.into_iter().filter(|(k, _)| {
        !k.starts_with("kubectl.kubernetes.io/") && k != "sidecar.istio.io/status"
    });
    meta.insert("ANNOTATIONS".into(), Value::Object(kept.collect()));
    if let Some(config) = env("PROXY_CONFIG").and_then(|c| serde_json::from_str(&c).ok()) {
        meta.insert("PROXY_CONFIG".into(), config);
    }
    for (name, value) in from.variables {
        if let Some(key) = name.strip_prefix("ISTIO_META_") {
            meta.insert(key.to_owned(), value.as_str().into());
        } else if let Some(key) = name.strip_prefix("ISTIO_METAJSON_") {
            merge_json(&mut meta, key, value);
        }
    }
    json!(meta)
}

/// A variable whose value is an object adds to what is there.
fn merge_json(meta: &mut Map<String, Value>, key: &str, text: &str) {
    match (meta.get_mut(key), serde_json::from_str(text)) {
        (Some(Value::Object(old)), Ok(Value::Object(new))) => old.extend(new),
        (_, Ok(value)) => drop(meta.insert(key.to_owned(), value)),
        (_, Err(_)) => {}
    }
}

/// The addresses of scope global in `/proc/net/if_inet6`, where each line begins with one in 32 digits and
/// has its scope in the fourth place.
pub fn global_addresses(if_inet6: &str) -> Vec<String> {
    const GLOBAL: &str = "00";
    let read = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let digits = (fields.get(3) == Some(&GLOBAL)).then(|| fields[0])?;
        let ip = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
        // The proxy's own source address, on the loopback link.
        (ip.segments()[..6] != [0; 6]).then(|| ip.to_string())
    };
    if_inet6.lines().filter_map(read).collect()
}

/// Labels or annotations as the downward API writes them: `key="value"` by line, the value quoted
/// as a Go string, which JSON reads for all that Kubernetes writes.
pub fn downward(file: &str) -> Map<String, Value> {
    let lines = file.lines().filter_map(|line| line.split_once('='));
    lines
        .filter_map(|(key, quoted)| {
            let value: String = serde_json::from_str(quoted).ok()?;
            Some((key.to_owned(), value.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Vec<(String, String)> {
        [
            ("POD_NAME", "reviews-v1-abc"),
            ("POD_NAMESPACE", "default"),
            ("INSTANCE_IP", "10.244.0.7"),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
            ("ISTIO_METAJSON_LABELS", r#"{"extra": "1"}"#),
            ("PROXY_CONFIG", r#"{"concurrency": 2}"#),
            ("SERVICE_ACCOUNT", "bookinfo-reviews"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec()
    }

    fn read(variables: &[(String, String)], domain: &str) -> Result<Node, Missing> {
        let env = |name: &str| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let labels = "app=\"reviews\"\nversion=\"v1\"\nquoted=\"a\\\"b\"\n";
        let annotations = "kubectl.kubernetes.io/x=\"long\"\nmine=\"1\"\n";
        let addresses = &["fd00::7".to_owned()];
        let from = Sources { env: &env, variables, labels, annotations, addresses };
        Node::read(Role::Sidecar, domain, &from)
    }

    #[test]
    fn the_node_is_what_the_pod_says() {
        let node = read(&variables(), "default.svc.cluster.local").unwrap();
        assert_eq!(node.id, "sidecar~10.244.0.7~reviews-v1-abc.default~default.svc.cluster.local");
        assert_eq!(node.cluster, "reviews.default");
        let m = &node.metadata;
        assert_eq!(
            m["LABELS"],
            json!({"app": "reviews", "version": "v1", "quoted": "a\"b", "extra": "1"})
        );
        assert_eq!(m["ANNOTATIONS"], json!({"mine": "1"}));
        assert_eq!(m["CLUSTER_ID"], "Kubernetes");
        assert_eq!(m["INSTANCE_IPS"], "10.244.0.7,fd00::7");
        assert_eq!(m["PROXY_CONFIG"]["concurrency"], 2);
        assert_eq!(read(&variables(), "").unwrap().id, node.id);
    }

    #[test]
    fn global_addresses_are_those_that_others_can_reach() {
        let lines = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            00000000000000000000000000000006 01 80 00 80       lo\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
            fd000010024400010000000000000007 04 40 00 82     eth0\n";
        assert_eq!(global_addresses(lines), ["fd00:10:244:1::7"]);
    }

    #[test]
    fn a_pod_that_does_not_say_where_it_is_is_refused() {
        for name in ["POD_NAME", "POD_NAMESPACE", "INSTANCE_IP"] {
            let rest: Vec<_> = variables().into_iter().filter(|(k, _)| k != name).collect();
            assert_eq!(read(&rest, "").unwrap_err().0, name);
        }
    }
}
