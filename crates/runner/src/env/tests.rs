//! What containers see of their environment.

use super::*;
use serde_json::json;
use std::sync::Arc;

struct Fixed(Vec<IpAddr>);

impl Sources for Fixed {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        (name == "settings").then(|| [("mode".to_owned(), b"fast".to_vec())].into())
    }
    fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        (name == "keys").then(|| [("token".to_owned(), b"t0".to_vec())].into())
    }
    fn services(&self, namespace: &str) -> Vec<ServiceEnv> {
        let name = if namespace == "default" { "kubernetes" } else { "my-db" };
        let ports = vec![(Some("https".to_owned()), 443)];
        vec![ServiceEnv { name: name.into(), ip: "10.96.0.1".parse().unwrap(), ports }]
    }
    fn node_ip(&self) -> IpAddr {
        "10.244.0.1".parse().unwrap()
    }
    fn pod_ips(&self) -> &[IpAddr] {
        &self.0
    }
}

fn environment(env: Value) -> Result<BTreeMap<String, String>, EnvError> {
    let object = Arc::new(json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u", "labels": {"app": "web"},
            "annotations": {"note": "a \"quoted\" word"}},
        "spec": {"containers": [{"name": "web", "env": env,
            "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}},
                        {"secretRef": {"name": "absent", "optional": true}}],
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}]}
    }));
    let pod = Pod::read(&object).unwrap();
    let sources = Fixed(vec!["10.244.0.7".parse().unwrap(), "fd00::7".parse().unwrap()]);
    let image = [("PATH".to_owned(), "/usr/bin".to_owned())];
    build(&pod, &pod.spec.containers[0], &image, &sources).map(|env| env.into_iter().collect())
}

#[test]
fn values_come_from_everywhere_and_refer_to_earlier_ones() {
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let env = environment(json!([
        {"name": "IP", "valueFrom": field("status.podIP")},
        {"name": "IPS", "valueFrom": field("status.podIPs")},
        {"name": "APP", "valueFrom": field("metadata.labels['app']")},
        {"name": "NOTE", "valueFrom": field("metadata.annotations")},
        {"name": "URL", "value": "http://$(IP):80/$(NOPE)/$$(IP)"},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": true}}},
        {"name": "EMPTY"},
    ]))
    .unwrap();
    for (name, value) in [
        ("PATH", "/usr/bin"),
        ("HOSTNAME", "web-1"),
        ("CFG_mode", "fast"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ("MY_DB_SERVICE_HOST", "10.96.0.1"),
        ("IP", "10.244.0.7"),
        ("IPS", "10.244.0.7,fd00::7"),
        ("APP", "web"),
        ("NOTE", "note=\"a \\\"quoted\\\" word\""),
        ("URL", "http://10.244.0.7:80/$(NOPE)/$(IP)"),
        ("CPU", "2"),
        ("MEM", "64"),
        ("TOKEN", "t0"),
        ("EMPTY", ""),
    ] {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!env.contains_key("GONE"));
}

#[test]
fn what_is_missing_is_named() {
    let missing = |env: Value| environment(env).unwrap_err().to_string();
    let key = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no"}}}]);
    assert_eq!(missing(key), "couldn't find key no in secret shop/keys");
    let object =
        json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "x"}}}]);
    assert_eq!(missing(object), "configmap \"no\" not found");
}

#[test]
fn quantities_are_numbers() {
    for (text, value) in [("500m", 0.5), ("1Gi", 1073741824.0), ("2k", 2000.0), ("3", 3.0)] {
        assert_eq!(quantity(&json!(text)), Some(value), "{text}");
    }
    assert_eq!(quantity(&json!("much")), None);
}
